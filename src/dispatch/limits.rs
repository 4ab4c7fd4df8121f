//! Limits: how many messages may leave now. Pure: the time is an argument, in milliseconds since 1970.
//!
//! Every window is strict: in no stretch of its length do more than `messages` leave. Windows up to a minute pace
//! (the message waits); a longer one, once used up, takes the server out until it reopens.

use std::collections::VecDeque;

use crate::resources::Rate;

/// Windows up to this length pace; longer ones take the server out, milliseconds.
pub const PACING_WINDOW_MAX_MS: i64 = 60_000;
/// A window counts in so many parts; it reopens in steps of that grain.
const PARTS: i64 = 64;
/// How much of a pacing window may leave in one go, as time: bursts stay short.
const BURST_MS: i64 = 20;
const DAY_MS: i64 = 86_400_000;

/// A sliding window over counted parts.
#[derive(Clone, Debug)]
struct Window {
    messages: u64,
    per_ms: i64,
    part_ms: i64,
    parts: VecDeque<(i64, u64)>,
    used: u64,
}

impl Window {
    fn new(rate: Rate) -> Self {
        let per_ms = rate.per.as_millis().max(1);
        Self { messages: rate.messages, per_ms, part_ms: (per_ms / PARTS).max(1), parts: VecDeque::new(), used: 0 }
    }

    /// The time at which a part's last possible message has left the window.
    fn expiry(&self, part_start: i64) -> i64 {
        part_start + self.part_ms + self.per_ms
    }

    fn forget(&mut self, now_ms: i64) {
        while let Some(&(start, count)) = self.parts.front() {
            if self.expiry(start) > now_ms {
                break;
            }
            self.used -= count;
            self.parts.pop_front();
        }
    }

    fn left(&mut self, now_ms: i64) -> u64 {
        self.forget(now_ms);
        self.messages.saturating_sub(self.used)
    }

    fn take(&mut self, at_ms: i64, count: u64) {
        let start = at_ms.div_euclid(self.part_ms) * self.part_ms;
        self.used += count;
        match self.parts.back_mut() {
            // A clock that steps back is counted in the newest part: the window never forgets early.
            Some((last, counted)) if *last >= start => *counted += count,
            _ => self.parts.push_back((start, count)),
        }
    }

    /// Takes back what was counted last and did not leave.
    fn put_back(&mut self, mut count: u64) {
        while let Some((_, counted)) = self.parts.back_mut() {
            let taken = count.min(*counted);
            *counted -= taken;
            count -= taken;
            self.used -= taken;
            if count == 0 {
                break;
            }
            self.parts.pop_back();
        }
    }

    /// When at least one message may leave again.
    fn reopens_at(&self) -> i64 {
        let mut excess = (self.used + 1).saturating_sub(self.messages);
        for &(start, count) in &self.parts {
            if excess == 0 {
                break;
            }
            excess = excess.saturating_sub(count);
            if excess == 0 {
                return self.expiry(start);
            }
        }
        i64::MIN
    }
}

/// What a limiter says of the next messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// So many may leave now (at least 1).
    Now(u64),
    /// The next may leave at this time: wait.
    At(i64),
    /// A longer window or warm-up is used up until this time: pick another.
    ExhaustedUntil(i64),
}

/// All windows of a server, or of a namespace on a plan.
#[derive(Clone, Debug, Default)]
pub struct Limiter {
    rates: Vec<Rate>,
    pacing: Vec<Window>,
    long: Vec<Window>,
    /// The smallest gap between messages that the pacing windows ask for, and the time the schedule has run up to.
    gap_ms: f64,
    scheduled_ms: f64,
    warmup_limit: Option<u64>,
    day: i64,
    used_today: u64,
}

impl Limiter {
    /// A limiter of these windows.
    #[must_use]
    pub fn new(rates: &[Rate]) -> Self {
        let (pacing, long): (Vec<Window>, Vec<Window>) =
            rates.iter().map(|rate| Window::new(*rate)).partition(|window| window.per_ms <= PACING_WINDOW_MAX_MS);
        #[allow(clippy::cast_precision_loss)]
        let gap_ms = pacing.iter().map(|window| window.per_ms as f64 / window.messages as f64).fold(0.0, f64::max);
        Self { rates: rates.to_vec(), pacing, long, gap_ms, ..Self::default() }
    }

    /// Whether it is of these windows.
    #[must_use]
    pub fn is_of(&self, rates: &[Rate]) -> bool {
        self.rates == rates
    }

    /// Sets today's warm-up limit; `None` when warm-up is over or not asked for. True when that is a change.
    pub fn set_warmup(&mut self, limit: Option<u64>) -> bool {
        std::mem::replace(&mut self.warmup_limit, limit) != limit
    }

    /// Counts what left in a minute before this process began, at the latest moment that it can have left.
    pub fn remember(&mut self, minute: i64, count: u64, now_ms: i64) {
        let at_ms = (minute * 60_000 + 59_999).min(now_ms);
        for window in self.pacing.iter_mut().chain(&mut self.long) {
            window.take(at_ms, count);
        }
        self.roll_day(now_ms);
        if at_ms.div_euclid(DAY_MS) == self.day {
            self.used_today += count;
        }
    }

    /// What may leave now.
    pub fn allowance(&mut self, now_ms: i64) -> Allowance {
        if let Some(until) = self.exhausted_until(now_ms) {
            return Allowance::ExhaustedUntil(until);
        }
        let mut left = self.long.iter_mut().map(|window| window.left(now_ms)).min().unwrap_or(u64::MAX);
        if let Some(limit) = self.warmup_limit {
            left = left.min(limit.saturating_sub(self.used_today));
        }
        for window in &mut self.pacing {
            match window.left(now_ms) {
                0 => return Allowance::At(window.reopens_at()),
                free => left = left.min(free),
            }
        }
        if self.gap_ms > 0.0 {
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            {
                let ahead = self.scheduled_ms - now_ms as f64;
                if ahead > 0.0 {
                    return Allowance::At(now_ms + (ahead.ceil() as i64).max(1));
                }
                // What the schedule has fallen behind, but never more than a short burst.
                let behind = (-ahead).min(BURST_MS as f64);
                left = left.min((behind / self.gap_ms) as u64 + 1);
            }
        }
        Allowance::Now(left.max(1))
    }

    /// The time until which a longer window or warm-up is used up, if one is.
    pub fn exhausted_until(&mut self, now_ms: i64) -> Option<i64> {
        self.roll_day(now_ms);
        let mut until = None;
        for window in &mut self.long {
            if window.left(now_ms) == 0 {
                until = until.max(Some(window.reopens_at()));
            }
        }
        if self.warmup_limit.is_some_and(|limit| self.used_today >= limit) {
            until = until.max(Some((self.day + 1) * DAY_MS));
        }
        until
    }

    /// Counts messages that leave now.
    pub fn take(&mut self, now_ms: i64, count: u64) {
        self.roll_day(now_ms);
        self.used_today += count;
        for window in self.pacing.iter_mut().chain(&mut self.long) {
            window.take(now_ms, count);
        }
        #[allow(clippy::cast_precision_loss)]
        {
            let start = self.scheduled_ms.max((now_ms - BURST_MS) as f64);
            self.scheduled_ms = start + self.gap_ms * count as f64;
        }
    }

    /// Takes back messages that were counted last and did not leave.
    pub fn put_back(&mut self, now_ms: i64, count: u64) {
        self.roll_day(now_ms);
        self.used_today = self.used_today.saturating_sub(count);
        for window in self.pacing.iter_mut().chain(&mut self.long) {
            window.put_back(count);
        }
        #[allow(clippy::cast_precision_loss)]
        {
            self.scheduled_ms -= self.gap_ms * count as f64;
        }
    }

    /// Messages left in the longer windows; none without such windows.
    pub fn left(&mut self, now_ms: i64) -> Option<u64> {
        self.long.iter_mut().map(|window| window.left(now_ms)).min()
    }

    /// Messages in each of the longer windows, by its length in milliseconds.
    pub fn used(&mut self, now_ms: i64) -> Vec<(i64, u64)> {
        let used = |window: &mut Window| {
            window.forget(now_ms);
            (window.per_ms, window.used)
        };
        self.long.iter_mut().map(used).collect()
    }

    /// Messages left of today's warm-up; none without warm-up.
    pub fn warmup_left(&mut self, now_ms: i64) -> Option<u64> {
        self.roll_day(now_ms);
        self.warmup_limit.map(|limit| limit.saturating_sub(self.used_today))
    }

    fn roll_day(&mut self, now_ms: i64) {
        let day = now_ms.div_euclid(DAY_MS);
        if day != self.day {
            self.day = day;
            self.used_today = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::Duration;

    fn rate(messages: u64, per: &str) -> Rate {
        Rate { messages, per: per.parse::<Duration>().expect("a duration") }
    }

    /// Sends as fast as the limiter lets, and returns the times.
    fn drain(limiter: &mut Limiter, from_ms: i64, to_ms: i64) -> Vec<i64> {
        let mut now = from_ms;
        let mut times = Vec::new();
        while now < to_ms {
            match limiter.allowance(now) {
                Allowance::Now(count) => {
                    limiter.take(now, count);
                    times.extend((0..count).map(|_| now));
                }
                Allowance::At(at) | Allowance::ExhaustedUntil(at) => {
                    assert!(at > now, "time must move on: {at} after {now}");
                    now = at;
                }
            }
        }
        times
    }

    fn most_in_any(times: &[i64], per_ms: i64) -> u64 {
        let mut first = 0;
        (0..times.len())
            .map(|last| {
                while times[last] - times[first] >= per_ms {
                    first += 1;
                }
                (last - first + 1) as u64
            })
            .max()
            .unwrap_or(0)
    }

    #[test]
    fn no_stretch_of_a_window_has_more_than_it_allows_and_little_is_wasted() {
        let start = 1_764_000_000_123;
        for (messages, per, run_ms) in [
            (14, "1s", 30_000),
            (1, "1s", 20_000),
            (1000, "1s", 10_000),
            (600, "1m", 300_000),
            (100, "1h", 20_000_000),
            (7, "10s", 100_000),
        ] {
            let mut limiter = Limiter::new(&[rate(messages, per)]);
            let times = drain(&mut limiter, start, start + run_ms);
            let per_ms = rate(messages, per).per.as_millis();
            assert!(most_in_any(&times, per_ms) <= messages, "{messages}/{per}: {}", most_in_any(&times, per_ms));
            #[allow(clippy::cast_precision_loss)]
            let used = times.len() as f64 / (messages as f64 * run_ms as f64 / per_ms as f64);
            assert!(used > 0.9, "{messages}/{per}: only {used:.3} of the limit is used");
        }
    }

    #[test]
    fn several_windows_hold_at_once() {
        let start = 1_764_000_000_000;
        let mut limiter = Limiter::new(&[rate(14, "1s"), rate(100, "1h")]);
        let times = drain(&mut limiter, start, start + 3_000_000);
        assert_eq!((most_in_any(&times, 1000) <= 14, times.len()), (true, 100));
        assert!(matches!(limiter.allowance(start + 3_000_000), Allowance::ExhaustedUntil(at) if at > start + 3_600_000));
    }

    #[test]
    fn a_restart_forgets_nothing() {
        let now = 1_764_000_030_000;
        let mut limiter = Limiter::new(&[rate(10, "1m"), rate(50, "24h")]);
        limiter.remember(now / 60_000, 10, now);
        limiter.remember(now / 60_000 - 300, 39, now);
        assert!(matches!(limiter.allowance(now), Allowance::At(at) if at >= now + 60_000));
        assert_eq!(limiter.left(now), Some(1));
    }

    #[test]
    fn what_did_not_leave_is_not_counted() {
        let start = 1_764_000_000_000;
        let mut limiter = Limiter::new(&[rate(10, "1m"), rate(50, "24h")]);
        assert!(limiter.set_warmup(Some(30)) && !limiter.set_warmup(Some(30)));
        limiter.take(start, 4);
        for now in (start + 10..start + 60_000).step_by(1000) {
            limiter.take(now, 3);
            limiter.put_back(now, 3);
        }
        assert_eq!((limiter.left(start + 60_000), limiter.warmup_left(start + 60_000)), (Some(46), Some(26)));
        assert_eq!(drain(&mut limiter, start + 62_000, start + 121_000).len(), 10);
    }

    #[test]
    fn warm_up_closes_at_its_limit_and_reopens_with_the_utc_day() {
        let midnight = 20_000 * DAY_MS;
        let mut limiter = Limiter::new(&[]);
        limiter.set_warmup(Some(50));
        let times = drain(&mut limiter, midnight + 1000, midnight + 2000);
        assert_eq!((times.len(), limiter.warmup_left(midnight + 3000)), (50, Some(0)));
        assert_eq!(limiter.allowance(midnight + 3000), Allowance::ExhaustedUntil(midnight + DAY_MS));
        assert_eq!(limiter.warmup_left(midnight + DAY_MS), Some(50));
    }
}
