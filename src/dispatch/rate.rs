//! How fast a run gets on: recipients with a final outcome per second, in this process. Pure.

use std::collections::VecDeque;

/// The shortest window, milliseconds.
const OVER_MS: i64 = 5000;
/// The longest, for campaigns that are sent slowly, milliseconds.
const OVER_MAX_MS: i64 = 300_000;
/// From this number of recipients on a shorter window says enough.
const ENOUGH: u64 = 20;
/// The time between two samples, milliseconds.
const SAMPLE_EVERY_MS: i64 = 1000;
/// The most samples that are kept: of more, every second one is dropped, so that the newest are the closest together.
const SAMPLES_MAX: usize = 64;
/// The shortest time after which there is a rate at all, milliseconds.
const FIRST_MS: i64 = 200;

/// The recent rate of a run.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    /// Numbers of recipients with a final outcome, with their times in milliseconds, oldest first.
    samples: VecDeque<(i64, u64)>,
}

impl Rate {
    /// The rate over the shortest window that says enough, per second and rounded to two digits so that it does not change all the
    /// time; `None` before anybody had an outcome. `ended` is the number of recipients with a final outcome at `now_ms`.
    pub fn now(&mut self, now_ms: i64, ended: u64) -> Option<f64> {
        if self.samples.back().is_none_or(|(at, _)| now_ms - at >= SAMPLE_EVERY_MS) {
            self.samples.push_back((now_ms, ended));
        }
        if self.samples.len() > SAMPLES_MAX {
            let mut is_kept = false;
            self.samples.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
        }
        while self.samples.len() > 2 && self.samples.front().is_some_and(|(at, _)| now_ms - at > OVER_MAX_MS) {
            self.samples.pop_front();
        }
        let says_enough = |(at, count): &&(i64, u64)| now_ms - at >= OVER_MS && ended.saturating_sub(*count) >= ENOUGH;
        let (at, count) = self.samples.iter().rev().find(says_enough).or(self.samples.front())?;
        let (took_ms, more) = (now_ms - at, ended.saturating_sub(*count));
        #[allow(clippy::cast_precision_loss)]
        let rate = more as f64 * 1000.0 / took_ms.max(1) as f64;
        let digits = 10_f64.powf(rate.max(f64::MIN_POSITIVE).log10().floor() - 1.0);
        (took_ms >= FIRST_MS && more > 0).then(|| (rate / digits).round() * digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_rates_are_measured_over_longer_windows() {
        let mut rate = Rate::default();
        assert_eq!(rate.now(0, 0), None);
        let mut last = None;
        for second in 1..=60_u32 {
            last = rate.now(i64::from(second) * 1000, u64::from(second) * 100);
        }
        assert_eq!(last, Some(100.0));
        // Now one in ten seconds: what was sent quickly is forgotten in the end.
        for second in 61..=500_u32 {
            last = rate.now(i64::from(second) * 1000, 6000 + u64::from(second - 60) / 10);
            assert!(rate.samples.len() <= SAMPLES_MAX, "{} samples", rate.samples.len());
        }
        assert!(last.is_some_and(|rate| (rate - 0.1).abs() < 1e-6), "{last:?}");
    }
}
