//! Spreads messages evenly over time, with a short burst after a pause. Pure.

/// The longest burst after a pause, as time in the schedule, milliseconds: bursts stay short, and a sender that wakes late on a
/// busy machine catches up.
const BURST_MS: f64 = 50.0;
/// No more messages wait for a paced server than leave in this time, so that campaigns take turns, milliseconds.
const QUEUE_MS: f64 = 250.0;

/// The time up to which messages are scheduled. The gap between them may change; what is scheduled stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct Schedule {
    until_ms: f64,
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
impl Schedule {
    /// How many messages may leave now, at least 1, with this gap between two.
    ///
    /// # Errors
    /// The time at which the next may leave.
    pub fn allowance(self, gap_ms: f64, now_ms: i64) -> Result<u64, i64> {
        let ahead_ms = self.until_ms - now_ms as f64;
        if ahead_ms > 0.0 {
            return Err(now_ms + (ahead_ms.ceil() as i64).max(1));
        }
        // As many as it has fallen behind, but never more than a short burst.
        Ok(((-ahead_ms).min(BURST_MS) / gap_ms) as u64 + 1)
    }

    /// Counts messages that are claimed now.
    pub fn claim(&mut self, gap_ms: f64, now_ms: i64, count: u64) {
        self.until_ms = self.until_ms.max(now_ms as f64 - BURST_MS) + gap_ms * count as f64;
    }

    /// Takes back messages that were claimed last and did not leave.
    pub fn put_back(&mut self, gap_ms: f64, count: u64) {
        self.until_ms -= gap_ms * count as f64;
    }
}

/// The number of messages that may wait with this gap between two: as many as leave in a quarter of a second, and at least two.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub fn queue_max(gap_ms: f64) -> u64 {
    ((QUEUE_MS / gap_ms) as u64).max(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_gives_a_short_burst_and_no_more() {
        let mut schedule = Schedule::default();
        assert_eq!(schedule.allowance(5.0, 1_000_000), Ok(11), "50 ms behind, and one");
        schedule.claim(5.0, 1_000_000, 11);
        assert_eq!(schedule.allowance(5.0, 1_000_000), Err(1_000_005));
        assert_eq!(schedule.allowance(5.0, 1_000_005), Ok(1));
        schedule.put_back(5.0, 2);
        assert_eq!(schedule.allowance(5.0, 1_000_000), Ok(2));
        assert_eq!((queue_max(5.0), queue_max(1_000.0)), (50, 2));
    }
}
