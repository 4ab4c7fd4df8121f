//! What a server turns out to take: it rests when it says that it is given too much, is then given what it took, and after a
//! while a little more. Pure.

use super::schedule::{self, Schedule};

/// The rest after a server has said so, where it names none: doubled while nothing is accepted in between, milliseconds.
const REST_MS: i64 = 1_000;
const REST_MAX_MS: i64 = 300_000;
/// A rest that people should see, milliseconds.
const LONG_REST_MS: i64 = 10_000;
/// What is given, of what it took.
const SHARE: f64 = 0.95;
/// More is tried after this time, milliseconds: doubled while the server takes no more than before, up to the longest.
const HOLD_MS: i64 = 10_000;
const HOLD_MAX_MS: i64 = 300_000;
/// How much more is tried.
const MORE: f64 = 1.1;
/// A rate within this factor of the last is the same.
const ALIKE: f64 = 1.15;
/// When it takes so much more than it did, nothing is known against it any more.
const FORGET_AT: f64 = 4.0;
/// The shortest time that a rate is taken over, milliseconds.
const MEASURE_MIN_MS: i64 = 1_000;

/// What is known of the rate that a server takes.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    /// It rests until then, milliseconds; the end is noticed by [`Pace::wake`].
    rests_until_ms: Option<i64>,
    /// How long it rested last; 0 before it had to.
    rest_ms: i64,
    /// When it last said that it is given too much; older messages say nothing new.
    told_ms: i64,
    /// Nothing was accepted since a rest began: one message is to show whether it takes any.
    is_trying: bool,
    /// Accepted since `since_ms`, for the rate that it takes.
    accepted: u64,
    since_ms: i64,
    limit: Option<Limit>,
}

/// The rate that it is given.
#[derive(Clone, Copy, Debug)]
struct Limit {
    /// Messages a millisecond.
    rate: f64,
    /// The rate that it took when it last said that it was given too much.
    took: f64,
    hold_ms: i64,
    more_at_ms: i64,
    schedule: Schedule,
}

impl Pace {
    /// A message was accepted.
    pub fn accepted(&mut self, now_ms: i64) {
        if self.accepted == 0 && self.since_ms == 0 {
            self.since_ms = now_ms;
        }
        self.accepted += 1;
        self.is_trying = false;
    }

    /// The server said that it is given too much, of a message that was claimed at `claimed_ms`; it asks for a rest of `asked_ms`.
    pub fn throttled(&mut self, asked_ms: i64, claimed_ms: i64, now_ms: i64) {
        if claimed_ms <= self.told_ms {
            // The rest of the wire, of the same incident.
            if let Some(until) = &mut self.rests_until_ms {
                *until = (*until).max(self.told_ms + asked_ms);
            }
            return;
        }
        self.rest_ms = if self.is_trying { (self.rest_ms * 2).min(REST_MAX_MS) } else { REST_MS };
        self.rests_until_ms = Some(now_ms + self.rest_ms.max(asked_ms));
        self.told_ms = now_ms;
        self.is_trying = true;
        if self.accepted > 0 {
            let elapsed_ms = now_ms - self.since_ms;
            #[allow(clippy::cast_precision_loss)]
            let took = match self.limit {
                // Told at once after more was tried: it takes what it took.
                Some(limit) if elapsed_ms < MEASURE_MIN_MS => limit.took,
                _ => self.accepted as f64 / elapsed_ms.max(MEASURE_MIN_MS) as f64,
            };
            let hold_ms = match self.limit {
                Some(limit) if took < limit.took * ALIKE && took > limit.took / ALIKE => (limit.hold_ms * 2).min(HOLD_MAX_MS),
                _ => HOLD_MS,
            };
            self.limit = Some(Limit { rate: took * SHARE, took, hold_ms, more_at_ms: now_ms + hold_ms, schedule: Schedule::default() });
            (self.accepted, self.since_ms) = (0, now_ms);
        }
    }

    /// A rest that is over at this time; true when there was one. And the time to try more.
    pub fn wake(&mut self, now_ms: i64) -> bool {
        if let Some(limit) = self.limit.as_mut().filter(|limit| limit.more_at_ms <= now_ms) {
            limit.rate *= MORE;
            limit.more_at_ms = now_ms + limit.hold_ms;
            let is_well = limit.rate > limit.took * FORGET_AT;
            (self.accepted, self.since_ms) = (0, now_ms);
            if is_well {
                self.limit = None;
            }
        }
        self.rests_until_ms.take_if(|until| *until <= now_ms).is_some()
    }

    /// Until when it rests.
    #[must_use]
    pub fn rests_until_ms(&self) -> Option<i64> {
        self.rests_until_ms
    }

    /// Whether it rests for so long that people should see it: ten seconds or more.
    #[must_use]
    pub fn rests_long(&self) -> bool {
        self.rests_until_ms.is_some_and(|until| until - self.told_ms >= LONG_REST_MS)
    }

    /// Whether one message alone is to show that it takes any.
    #[must_use]
    pub fn is_trying(&self) -> bool {
        self.is_trying
    }

    /// The messages a second that it is given; none where nothing is known against it.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        self.limit.map(|limit| limit.rate * 1000.0)
    }

    /// Messages that may wait for it: what it takes in a quarter of a second, and two at least.
    #[must_use]
    pub fn queue_max(&self) -> u64 {
        self.limit.map_or(u64::MAX, |limit| schedule::queue_max(limit.gap_ms()))
    }

    /// How many may leave now, or when the next may.
    ///
    /// # Errors
    /// The time at which the next may leave.
    pub fn allowance(&self, now_ms: i64) -> Result<u64, i64> {
        self.limit.map_or(Ok(u64::MAX), |limit| limit.schedule.allowance(limit.gap_ms(), now_ms))
    }

    /// Counts messages that are claimed now.
    pub fn claim(&mut self, now_ms: i64, count: u64) {
        if let Some(limit) = &mut self.limit {
            limit.schedule.claim(limit.gap_ms(), now_ms, count);
        }
    }
}

impl Limit {
    fn gap_ms(&self) -> f64 {
        1.0 / self.rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that takes `per` messages in each stretch of `window_ms` and refuses the rest, given as much as the pace lets,
    /// 20 at a time at most, each answered after `trip_ms`. How many were taken and refused, and how long it took.
    fn give(messages: u64, per: u64, window_ms: i64, trip_ms: i64) -> (u64, u64, i64) {
        let mut pace = Pace::default();
        let (mut now, mut taken, mut refused) = (1_000_000, 0, 0);
        let mut wire: std::collections::VecDeque<(i64, i64)> = std::collections::VecDeque::new();
        let mut bucket = (0, 0);
        while taken < messages {
            now += 1;
            pace.wake(now);
            while wire.front().is_some_and(|(at, _)| *at <= now) {
                let (_, claimed) = wire.pop_front().expect("one");
                if bucket.0 != now / window_ms {
                    bucket = (now / window_ms, 0);
                }
                if bucket.1 < per {
                    bucket.1 += 1;
                    taken += 1;
                    pace.accepted(now);
                } else {
                    refused += 1;
                    pace.throttled(0, claimed, now);
                }
            }
            if pace.rests_until_ms().is_some() {
                continue;
            }
            let most = if pace.is_trying() { 1 } else { 20 };
            while wire.len() < most
                && let Ok(1..) = pace.allowance(now)
            {
                pace.claim(now, 1);
                wire.push_back((now + trip_ms, now));
            }
        }
        (taken, refused, now - 1_000_000)
    }

    #[test]
    fn it_finds_the_rate_that_a_server_takes() {
        for (per, window_ms, trip_ms) in [(140, 1000, 1), (140, 1000, 80), (14, 1000, 20), (8400, 60_000, 5)] {
            let (taken, refused, took) = give(5000, per, window_ms, trip_ms);
            #[allow(clippy::cast_precision_loss)]
            let times = took as f64 * per as f64 / (5000 * window_ms) as f64;
            println!("{per} per {window_ms} ms at {trip_ms} ms: {refused} refused, {times:.2} of the ideal time");
            assert!(refused * 20 < taken, "{per}/{window_ms}: {refused} refused");
            // The first window of a minute is used up at once.
            assert!(window_ms > 1000 || times < 1.3, "{per}/{window_ms}: {times:.2} of the ideal time");
        }
    }

    #[test]
    fn a_server_that_takes_nothing_rests_for_longer_each_time_and_as_long_as_it_says() {
        let mut pace = Pace::default();
        let mut now = 1_000_000;
        let mut rests = Vec::new();
        for _ in 0..10 {
            pace.throttled(0, now, now);
            pace.throttled(0, now - 1, now + 1);
            let until = pace.rests_until_ms().expect("it rests");
            rests.push((until - now) / 1000);
            assert!(!pace.wake(until - 1) && pace.wake(until) && pace.is_trying());
            now = until + 1;
        }
        assert_eq!(rests, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
        pace.throttled(3_600_000, now, now);
        assert_eq!(pace.rests_until_ms(), Some(now + 3_600_000));
        assert_eq!(pace.rate(), None, "it took nothing, which says nothing of its rate");
    }

    #[test]
    fn what_was_known_against_it_is_forgotten_when_it_takes_more() {
        let mut pace = Pace::default();
        (0..100).for_each(|at| pace.accepted(1_000_000 + at * 10));
        pace.throttled(0, 1_001_000, 1_001_000);
        assert!(pace.rate().is_some_and(|rate| (90.0..100.0).contains(&rate)), "{:?}", pace.rate());
        let mut now = 1_001_000;
        while pace.rate().is_some() {
            now += 1000;
            pace.wake(now);
            pace.accepted(now);
        }
        assert!((100_000..600_000).contains(&(now - 1_001_000)), "after {} s", (now - 1_001_000) / 1000);
    }
}
