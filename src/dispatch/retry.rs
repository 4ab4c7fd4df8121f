//! When a deferred message is retried. Pure.

use std::time::Duration;

use crate::{
    backoff::{Backoff, spread},
    chance::jitter,
    resources::campaign::EffectiveRetry,
};

/// The longest wait between two attempts.
const DELAY_MAX: Duration = Duration::from_secs(24 * 3600);

/// The wait after attempt number `attempt`, or `None` if it was the last: doubling from the initial delay up to a day, with a
/// jitter of a fifth so that not all are retried at once, and never shorter than the server asks for (up to a day).
#[must_use]
pub fn delay(retry: &EffectiveRetry, seed: u64, recipient: &str, attempt: u32, server_says: Option<Duration>) -> Option<Duration> {
    if attempt >= retry.attempts {
        return None;
    }
    let backoff = Backoff { first: retry.initial_delay.std(), max: DELAY_MAX };
    let spread = spread(backoff.delay(attempt), 0.2, jitter(seed, recipient, u64::from(attempt)));
    Some(server_says.map_or(spread, |says| says.min(DELAY_MAX).max(spread)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_spreads_and_ends() {
        let retry = EffectiveRetry {
            attempts: 4,
            initial_delay: crate::resources::Duration::from_secs(60),
            deadline: crate::resources::Duration::from_secs(432_000),
        };
        for (attempt, center) in [(1, 60.0), (2, 120.0), (3, 240.0)] {
            let delay = delay(&retry, 7, "a@example.com", attempt, None).expect("a further try").as_secs_f64();
            assert!((center * 0.8..=center * 1.2).contains(&delay), "{attempt}: {delay}");
        }
        assert_eq!(delay(&retry, 7, "a@example.com", 4, None), None);
        assert_eq!(delay(&retry, 7, "a@example.com", 1, Some(Duration::from_secs(900))), Some(Duration::from_secs(900)));
        let all: std::collections::BTreeSet<_> = (0..50).map(|i| delay(&retry, 7, &format!("u{i}@example.com"), 1, None)).collect();
        assert!(all.len() > 40, "no two recipients alike");
    }
}
