//! How long something took, counted in buckets as a histogram of Prometheus has them.

use std::time::Duration;

/// The upper bounds of the buckets, microseconds; one more bucket holds what took longer.
const BOUNDS_MICROS: [u64; 17] = [
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
];

/// How long something took, each time since the process started: from half a millisecond to five minutes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    buckets: [u64; BOUNDS_MICROS.len() + 1],
    sum_micros: u64,
}

impl Timing {
    /// Counts one more.
    pub fn note(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MICROS.partition_point(|bound| *bound < micros);
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
        self.sum_micros = self.sum_micros.saturating_add(micros);
    }

    /// How often.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All of it together, seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        Duration::from_micros(self.sum_micros).as_secs_f64()
    }

    /// The upper bound of each bucket in seconds, and how often it took longer than the bound before and no longer than this one.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let bounds = BOUNDS_MICROS.iter().map(|micros| Duration::from_micros(*micros).as_secs_f64()).chain([f64::INFINITY]);
        bounds.zip(self.buckets.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_in_the_first_bucket_that_holds_it() {
        let mut timing = Timing::default();
        for micros in [0, 500, 501, 1_000_000, 300_000_000, 300_000_001] {
            timing.note(Duration::from_micros(micros));
        }
        let filled: Vec<_> = timing.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(0.0005, 2), (0.001, 1), (1.0, 1), (300.0, 1), (f64::INFINITY, 1)]);
        assert_eq!((timing.count(), timing.seconds()), (6, 601.001_002));
        timing.note(Duration::MAX);
        assert_eq!(timing.count(), 7, "nothing is too long to be counted");
    }
}
