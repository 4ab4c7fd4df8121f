//! How long to wait before a failed operation is retried.
//!
//! [`Backoff`] and [`spread`] are pure: if randomness has to be reproducible, the caller draws it from a seed. [`jittered`] draws
//! it from the system.

use std::time::Duration;

/// An exponential backoff: the delay doubles with each consecutive failure.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The delay after the first failure.
    pub first: Duration,
    /// The longest delay, or `first` if that is longer.
    pub max: Duration,
}

/// Doublings after which no delay grows further: a second becomes twelve days.
const DOUBLINGS_MAX: u32 = 20;

impl Backoff {
    /// The delay after this many consecutive failures, from 1.
    #[must_use]
    pub fn delay(self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(DOUBLINGS_MAX);
        self.first.saturating_mul(1 << doublings).min(self.max.max(self.first))
    }
}

/// Lengthens or shortens a delay by up to `part` (0.2: a fifth), so that many clients do not come back at once. `chance` is from 0
/// to 1.
#[must_use]
pub fn spread(delay: Duration, part: f64, chance: f64) -> Duration {
    delay.mul_f64(1.0 - part + 2.0 * part * chance)
}

/// A delay in milliseconds, lengthened or shortened by up to a tenth.
#[must_use]
pub fn spread_ms(delay_ms: i64, chance: f64) -> i64 {
    let delay = Duration::from_millis(u64::try_from(delay_ms).unwrap_or(0));
    i64::try_from(spread(delay, 0.1, chance).as_millis()).unwrap_or(i64::MAX)
}

/// A delay, randomly lengthened or shortened by up to a fifth.
#[must_use]
pub fn jittered(delay: Duration) -> Duration {
    spread(delay, 0.2, chance())
}

/// A random number from 0 to 1.
#[must_use]
pub fn chance() -> f64 {
    // The system is asked rather than a generator of `rand`, which panics where the system has nothing to seed it with. Without
    // randomness there is no jitter; nothing else depends on it.
    f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_doubles_up_to_its_bound() {
        let backoff = Backoff { first: Duration::from_secs(2), max: Duration::from_secs(30) };
        let delays: Vec<u64> = (0..7).map(|failures| backoff.delay(failures).as_secs()).collect();
        assert_eq!(delays, [2, 2, 4, 8, 16, 30, 30]);
        assert_eq!(backoff.delay(u32::MAX).as_secs(), 30);
        let long = Backoff { first: Duration::from_secs(60), max: Duration::from_secs(30) };
        assert_eq!(long.delay(5).as_secs(), 60, "a first delay above the bound stays");
    }

    #[test]
    fn a_delay_is_spread_to_both_sides() {
        let second = Duration::from_secs(1);
        for (chance, wanted) in [(0.0, 800), (0.5, 1000), (1.0, 1200)] {
            assert_eq!(spread(second, 0.2, chance).as_millis(), wanted, "{chance}");
        }
        for _ in 0..100 {
            let delay = jittered(second);
            assert!((800..=1200).contains(&delay.as_millis()), "{delay:?}");
        }
    }
}
