//! The rate that a server is observed to take: it rests when it reports that it is given too much, is then given the rate that it
//! took, and after a while a little more. Pure.

use super::schedule::{self, Schedule};

/// The first and the longest rest after a server reports too much and names no time, milliseconds: doubled while nothing is
/// accepted in between.
const REST_MS: i64 = 1_000;
const REST_MAX_MS: i64 = 300_000;
/// A rest of this length or more is reported, milliseconds.
const LONG_REST_MS: i64 = 10_000;
/// It is given this fraction of the rate that it took.
const SHARE: f64 = 0.95;
/// One report lowers the rate to this fraction of what it took before at least, however little it was measured to take: a moment in
/// which nothing was given to it, as on a busy machine, must not count as a server that takes little.
const LESS_AT_LEAST: f64 = 0.7;
/// More is tried after this time, milliseconds: doubled while the server takes no more than before, up to the maximum.
const HOLD_MS: i64 = 10_000;
const HOLD_MAX_MS: i64 = 300_000;
/// The factor by which the rate is raised.
const MORE: f64 = 1.1;
/// A rate within this factor of the last one counts as the same.
const ALIKE: f64 = 1.15;
/// Once its rate exceeds what it took by this factor, it is no longer limited.
const FORGET_AT: f64 = 4.0;
/// The shortest time over which a rate is measured, milliseconds.
const MEASURE_MIN_MS: i64 = 1_000;

/// What is known about the rate that a server takes.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    /// The end of its rest, milliseconds; [`Pace::wake`] ends the rest.
    rests_until_ms: Option<i64>,
    /// The length of its last rest, milliseconds; 0 before the first.
    rest_ms: i64,
    /// When it last reported too much, milliseconds; reports about messages claimed before that say nothing new.
    told_ms: i64,
    /// Nothing has been accepted since a rest began: a single message is sent to find out whether it takes any.
    is_trying: bool,
    /// Messages accepted since `since_ms`, to measure the rate that it takes.
    accepted: u64,
    since_ms: i64,
    limit: Option<Limit>,
}

/// The rate that it is given.
#[derive(Clone, Copy, Debug)]
struct Limit {
    /// Messages per millisecond.
    rate: f64,
    /// The rate that it took when it last reported too much, messages per millisecond.
    took: f64,
    hold_ms: i64,
    more_at_ms: i64,
    schedule: Schedule,
}

impl Pace {
    /// Notes that a message was accepted.
    pub fn accepted(&mut self, now_ms: i64) {
        if self.accepted == 0 && self.since_ms == 0 {
            self.since_ms = now_ms;
        }
        self.accepted += 1;
        self.is_trying = false;
    }

    /// Notes that the server reported too much, for a message claimed at `claimed_ms`, and asked for a rest of `asked_ms`.
    pub fn throttled(&mut self, asked_ms: i64, claimed_ms: i64, now_ms: i64) {
        if claimed_ms <= self.told_ms {
            // The other messages in flight, part of the same incident.
            if let Some(until) = &mut self.rests_until_ms {
                *until = (*until).max(self.told_ms + asked_ms);
            }
            return;
        }
        // Where single messages were refused as well, a longer window of the server was full, over which the rate is measured rightly.
        let rested_once = self.rest_ms <= REST_MS;
        self.rest_ms = if self.is_trying { (self.rest_ms * 2).min(REST_MAX_MS) } else { REST_MS };
        self.rests_until_ms = Some(now_ms + self.rest_ms.max(asked_ms));
        self.told_ms = now_ms;
        self.is_trying = true;
        if self.accepted > 0 {
            let elapsed_ms = now_ms - self.since_ms;
            #[allow(clippy::cast_precision_loss)]
            let measured = self.accepted as f64 / elapsed_ms.max(MEASURE_MIN_MS) as f64;
            let took = match self.limit {
                // Reported right after more was tried: it still takes what it took.
                Some(limit) if elapsed_ms < MEASURE_MIN_MS => limit.took,
                Some(limit) if rested_once => measured.max(limit.took * LESS_AT_LEAST),
                _ => measured,
            };
            let hold_ms = match self.limit {
                Some(limit) if took < limit.took * ALIKE && took > limit.took / ALIKE => (limit.hold_ms * 2).min(HOLD_MAX_MS),
                _ => HOLD_MS,
            };
            self.limit = Some(Limit { rate: took * SHARE, took, hold_ms, more_at_ms: now_ms + hold_ms, schedule: Schedule::default() });
            (self.accepted, self.since_ms) = (0, now_ms);
        }
    }

    /// Ends a rest that is over by now, and returns whether there was one. Also raises the rate when that is due.
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

    /// The end of its rest, milliseconds.
    #[must_use]
    pub fn rests_until_ms(&self) -> Option<i64> {
        self.rests_until_ms
    }

    /// Whether its rest is long enough to be reported: ten seconds or more.
    #[must_use]
    pub fn rests_long(&self) -> bool {
        self.rests_until_ms.is_some_and(|until| until - self.told_ms >= LONG_REST_MS)
    }

    /// Whether it is sent a single message, to find out whether it takes any.
    #[must_use]
    pub fn is_trying(&self) -> bool {
        self.is_trying
    }

    /// The rate that it is given, messages per second; `None` if it is not limited.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        self.limit.map(|limit| limit.rate * 1000.0)
    }

    /// The number of messages that may wait for it: as many as it takes in a quarter of a second, and at least two.
    #[must_use]
    pub fn queue_max(&self) -> u64 {
        self.limit.map_or(u64::MAX, |limit| schedule::queue_max(limit.gap_ms()))
    }

    /// How many messages may leave now.
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

    /// Simulates a server that takes `per` messages in each period of `window_ms` and refuses the rest, given as much as the pace
    /// allows, at most 20 at a time, each answered after `trip_ms`. Returns how many were taken and refused, and how long it took.
    fn give(messages: u64, per: u64, window_ms: i64, trip_ms: i64) -> (u64, u64, i64) {
        give_with_stalls(messages, per, window_ms, trip_ms, |_| false)
    }

    /// The same on a machine that does nothing in the milliseconds in which `is_stalled`.
    fn give_with_stalls(messages: u64, per: u64, window_ms: i64, trip_ms: i64, is_stalled: impl Fn(i64) -> bool) -> (u64, u64, i64) {
        let mut pace = Pace::default();
        let (mut now, mut taken, mut refused) = (1_000_000, 0, 0);
        let mut wire: std::collections::VecDeque<(i64, i64)> = std::collections::VecDeque::new();
        let mut bucket = (0, 0);
        while taken < messages {
            now += 1;
            if is_stalled(now) {
                continue;
            }
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
    fn a_machine_that_stalls_does_not_make_a_server_slow() {
        // A quarter of a second in each one to four, at 40 different moments: a tenth of the time on average.
        for offset in 0..40 {
            let is_stalled = |now: i64| (now + offset * 61) % 2_500 < 250 && (now / 2_500 + offset) % 3 != 0;
            let (_, refused, took) = give_with_stalls(1000, 140, 1000, 5, is_stalled);
            #[allow(clippy::cast_precision_loss)]
            let times = took as f64 * 140.0 / 1_000_000.0;
            println!("offset {offset}: {refused} refused, {times:.2} of the ideal time");
            assert!(times < 2.0 && refused < 60, "offset {offset}: {times:.2} of the ideal time, {refused} refused");
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
