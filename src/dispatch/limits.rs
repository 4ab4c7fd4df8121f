//! Limits: how many messages may leave now. Pure: the time is an argument, in milliseconds since 1970.
//!
//! Every window is strict: no more than `messages` leave in any period of its length. A message counts from its claim. In a window
//! of more than ten seconds its time is when its last byte was written, or now as long as that is unknown, so that a slow server
//! slows sending down and never lets it exceed the limit; in a shorter window it is the time of the claim, and the gate of the
//! connections ([`crate::providers::gate`]) enforces the window by what is written. Windows of up to a minute also pace: messages
//! are spread over them.

use std::collections::VecDeque;

use super::schedule::{self, Schedule};
use crate::{providers::gate::GATED_MAX, resources::Rate};

/// If the gate enforces a window, messages are spread over it as if it were longer by this fraction of its length, and by no more
/// than this, milliseconds: twice what the gate adds, so that contents seldom wait there, and delays are caught up.
const MARGIN: i64 = 64;
const MARGIN_MAX_MS: i64 = 20;
/// A window is counted in this number of parts; it reopens in steps of one part.
const PARTS: i64 = 1024;
const DAY_MS: i64 = 86_400_000;

/// A sliding window over counted parts.
#[derive(Clone, Debug)]
struct Window {
    messages: u64,
    /// Whether a message counts at the time at which it is written, and as written now until then; otherwise it counts at the time
    /// of its claim.
    awaits_writing: bool,
    per_ms: i64,
    part_ms: i64,
    parts: VecDeque<(i64, u64)>,
    used: u64,
    /// Messages that are claimed and not known to be written.
    unwritten: u64,
    /// A deliberate mistake: messages that are not known to be written do not count.
    #[cfg(test)]
    forgets_in_flight: bool,
}

impl Window {
    fn new(rate: Rate) -> Self {
        let per_ms = rate.per.as_millis().max(1);
        let awaits_writing = rate.per.std() > GATED_MAX;
        let part_ms = (per_ms / PARTS).max(1);
        Self {
            messages: rate.messages,
            awaits_writing,
            per_ms,
            part_ms,
            parts: VecDeque::new(),
            used: 0,
            unwritten: 0,
            #[cfg(test)]
            forgets_in_flight: false,
        }
    }

    /// The time between two messages when they are spread over the window, milliseconds.
    #[allow(clippy::cast_precision_loss)]
    fn gap_ms(&self) -> f64 {
        let margin_ms = if self.awaits_writing { 0 } else { (self.per_ms / MARGIN).min(MARGIN_MAX_MS) };
        (self.per_ms + margin_ms) as f64 / self.messages as f64
    }

    /// When the last possible message of a part has left the window.
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
        #[cfg(test)]
        if self.forgets_in_flight {
            return self.messages.saturating_sub(self.used);
        }
        self.messages.saturating_sub(self.used + self.unwritten)
    }

    fn claim(&mut self, now_ms: i64, count: u64) {
        if self.awaits_writing {
            self.unwritten += count;
        } else {
            self.count(now_ms, count);
        }
    }

    /// Counts messages that left at this time, which may be a while ago.
    fn count(&mut self, at_ms: i64, count: u64) {
        let start = at_ms.div_euclid(self.part_ms) * self.part_ms;
        self.used += count;
        // Usually the newest part, or one a little older.
        let later = self.parts.iter().rev().take_while(|(other, _)| *other > start).count();
        let position = self.parts.len() - later;
        match position.checked_sub(1).and_then(|before| self.parts.get_mut(before)) {
            Some((same, counted)) if *same == start => *counted += count,
            _ => self.parts.insert(position, (start, count)),
        }
    }

    /// Notes that a claimed message was written at this time, or certainly was not.
    fn settle(&mut self, written_ms: Option<i64>, now_ms: i64) {
        if self.awaits_writing {
            // A limiter that was rebuilt has counted it by its claim.
            let Some(left) = self.unwritten.checked_sub(1) else { return };
            self.unwritten = left;
            if let Some(at_ms) = written_ms {
                self.count(at_ms.min(now_ms), 1);
            }
        } else if written_ms.is_none() {
            self.take_back(1);
        }
    }

    /// Takes back the last claims, which did not leave.
    fn put_back(&mut self, count: u64) {
        if self.awaits_writing {
            self.unwritten = self.unwritten.saturating_sub(count);
        } else {
            self.take_back(count);
        }
    }

    fn take_back(&mut self, mut count: u64) {
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

    /// When at least one message may leave again, unless an unwritten one is given up before.
    fn reopens_at(&self, now_ms: i64) -> i64 {
        let mut excess = (self.used + self.unwritten + 1).saturating_sub(self.messages);
        if excess == 0 {
            return i64::MIN;
        }
        for &(start, count) in &self.parts {
            excess = excess.saturating_sub(count);
            if excess == 0 {
                return self.expiry(start);
            }
        }
        now_ms + self.per_ms
    }
}

/// What a limiter says about the next messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// This many may leave now (at least 1).
    Now(u64),
    /// The next may leave at this time: wait.
    At(i64),
    /// A longer window or the warm-up is used up until this time.
    ExhaustedUntil(i64),
}

/// All windows of a server, or of a namespace on a plan.
#[derive(Clone, Debug, Default)]
pub struct Limiter {
    rates: Vec<Rate>,
    pacing: Vec<Window>,
    long: Vec<Window>,
    /// The smallest gap between messages that satisfies every pacing window, milliseconds.
    gap_ms: f64,
    schedule: Schedule,
    warmup_limit: Option<u64>,
    day: i64,
    used_today: u64,
    /// Messages that are claimed and not known to be written: whichever day it is, they may be written today.
    unwritten: u64,
}

impl Limiter {
    /// A limiter with these windows.
    #[must_use]
    pub fn new(rates: &[Rate]) -> Self {
        let (pacing, long): (Vec<Rate>, Vec<Rate>) = rates.iter().partition(|rate| rate.paces());
        let windows = |rates: Vec<Rate>| rates.into_iter().map(Window::new).collect();
        let (pacing, long): (Vec<Window>, Vec<Window>) = (windows(pacing), windows(long));
        let gap_ms = pacing.iter().map(Window::gap_ms).fold(0.0, f64::max);
        Self { rates: rates.to_vec(), pacing, long, gap_ms, ..Self::default() }
    }

    /// A limiter with these windows, which no gate of connections enforces: every message counts when it is written, whatever the
    /// window's length.
    #[must_use]
    pub fn ungated(rates: &[Rate]) -> Self {
        let mut limiter = Self::new(rates);
        limiter.windows().for_each(|window| window.awaits_writing = true);
        limiter.gap_ms = limiter.pacing.iter().map(Window::gap_ms).fold(0.0, f64::max);
        limiter
    }

    /// A limiter with these windows that knows what has left already; see [`Self::knowing`].
    #[must_use]
    pub fn renewed(rates: &[Rate], minutes: &[(i64, u64)], before: &Self, now_ms: i64) -> Self {
        Self::new(rates).knowing(minutes, before, now_ms)
    }

    /// The same limiter, which knows what has left already: by minute, and more finely as far as its predecessor counted. Otherwise an
    /// edit would count the whole minute as sent just now.
    #[must_use]
    pub fn knowing(self, minutes: &[(i64, u64)], before: &Self, now_ms: i64) -> Self {
        let mut limiter = self;
        let finest = before.pacing.iter().chain(&before.long).max_by_key(|window| window.per_ms);
        let since_ms = finest.map_or(i64::MAX, |window| now_ms - window.per_ms);
        for &(minute, count) in minutes {
            let (begin_ms, end_ms) = (minute * 60_000, minute * 60_000 + 60_000);
            if begin_ms < since_ms {
                let finer: u64 =
                    finest.into_iter().flat_map(|window| &window.parts).filter(|part| part.0 < end_ms).map(|part| part.1).sum();
                limiter.remember(minute, count.saturating_sub(finer), since_ms.min(now_ms));
            }
        }
        if let Some(finest) = finest {
            for &(start, count) in &finest.parts {
                let at_ms = (start + finest.part_ms - 1).min(now_ms);
                limiter.windows().for_each(|window| window.count(at_ms, count));
            }
            let unwritten = before.pacing.iter().chain(&before.long).map(|window| window.unwritten).max().unwrap_or(0);
            limiter.windows().filter(|window| window.awaits_writing).for_each(|window| window.unwritten = unwritten);
            (limiter.schedule, limiter.day, limiter.used_today) = (before.schedule, before.day, before.used_today);
        }
        limiter.unwritten = before.unwritten;
        limiter
    }

    /// Whether it was built with these windows.
    #[must_use]
    pub fn is_of(&self, rates: &[Rate]) -> bool {
        self.rates == rates
    }

    /// Sets today's warm-up limit; `None` if warm-up is over or not configured.
    pub fn set_warmup(&mut self, limit: Option<u64>) {
        self.warmup_limit = limit;
    }

    fn windows(&mut self) -> impl Iterator<Item = &mut Window> {
        self.pacing.iter_mut().chain(&mut self.long)
    }

    /// Counts messages that left in a minute before this process began, as of the latest moment at which they can have left.
    pub fn remember(&mut self, minute: i64, count: u64, now_ms: i64) {
        let at_ms = (minute * 60_000 + 59_999).min(now_ms);
        self.windows().for_each(|window| window.count(at_ms, count));
        self.roll_day(now_ms);
        if at_ms.div_euclid(DAY_MS) == self.day {
            self.used_today += count;
        }
    }

    #[cfg(test)]
    pub(super) fn set_forgets_in_flight(&mut self, forgets: bool) {
        self.windows().for_each(|window| window.forgets_in_flight = forgets);
    }

    /// Whether anything is limited.
    #[must_use]
    pub fn is_limiting(&self) -> bool {
        self.warmup_limit.is_some() || !self.pacing.is_empty() || !self.long.is_empty()
    }

    /// The number of messages that every window has room for, pacing aside.
    pub fn headroom(&mut self, now_ms: i64) -> u64 {
        let warmup = self.warmup_left(now_ms).unwrap_or(u64::MAX);
        self.windows().map(|window| window.left(now_ms)).fold(warmup, u64::min)
    }

    /// The number of messages that may wait for it: as many as leave in a quarter of a second, and at least two.
    #[must_use]
    pub fn queue_max(&self) -> u64 {
        if self.gap_ms > 0.0 { schedule::queue_max(self.gap_ms) } else { u64::MAX }
    }

    /// How many messages may leave now.
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
                0 => return Allowance::At(window.reopens_at(now_ms)),
                free => left = left.min(free),
            }
        }
        if self.gap_ms > 0.0 {
            match self.schedule.allowance(self.gap_ms, now_ms) {
                Err(at) => return Allowance::At(at),
                Ok(paced) => left = left.min(paced),
            }
        }
        Allowance::Now(left.max(1))
    }

    /// When every window has room again; `None` if all have room now.
    pub fn reopens_at(&mut self, now_ms: i64) -> Option<i64> {
        let warmup = (self.warmup_left(now_ms) == Some(0)).then_some((self.day + 1) * DAY_MS);
        let windows = self.windows().filter_map(|window| (window.left(now_ms) == 0).then(|| window.reopens_at(now_ms)));
        windows.chain(warmup).max()
    }

    /// Until when a longer window or the warm-up is used up, if one is.
    pub fn exhausted_until(&mut self, now_ms: i64) -> Option<i64> {
        self.roll_day(now_ms);
        let mut until = None;
        for window in &mut self.long {
            if window.left(now_ms) == 0 {
                until = until.max(Some(window.reopens_at(now_ms)));
            }
        }
        if self.warmup_limit.is_some_and(|limit| self.used_today >= limit) {
            until = until.max(Some((self.day + 1) * DAY_MS));
        }
        until
    }

    /// Counts messages that are claimed now.
    pub fn claim(&mut self, now_ms: i64, count: u64) {
        self.roll_day(now_ms);
        self.used_today += count;
        self.unwritten += count;
        self.windows().for_each(|window| window.claim(now_ms, count));
        self.schedule.claim(self.gap_ms, now_ms, count);
    }

    /// Notes when a claimed message was written; `None` if certainly none of its content was.
    pub fn settle(&mut self, written_ms: Option<i64>, now_ms: i64) {
        self.roll_day(now_ms);
        self.unwritten = self.unwritten.saturating_sub(1);
        if written_ms.is_none_or(|at_ms| at_ms.div_euclid(DAY_MS) < self.day) {
            self.used_today = self.used_today.saturating_sub(1);
        }
        self.windows().for_each(|window| window.settle(written_ms, now_ms));
    }

    /// Takes back messages that were claimed last and did not leave.
    pub fn put_back(&mut self, now_ms: i64, count: u64) {
        self.roll_day(now_ms);
        self.used_today = self.used_today.saturating_sub(count);
        self.unwritten = self.unwritten.saturating_sub(count);
        self.windows().for_each(|window| window.put_back(count));
        self.schedule.put_back(self.gap_ms, count);
    }

    /// Messages left in the longer windows; `None` if there are none.
    pub fn left(&mut self, now_ms: i64) -> Option<u64> {
        self.long.iter_mut().map(|window| window.left(now_ms)).min()
    }

    /// Messages in each of the longer windows, by its length in milliseconds.
    pub fn used(&mut self, now_ms: i64) -> Vec<(i64, u64)> {
        let used = |window: &mut Window| {
            window.forget(now_ms);
            (window.per_ms, window.used + window.unwritten)
        };
        self.long.iter_mut().map(used).collect()
    }

    /// Messages left of today's warm-up; `None` without warm-up.
    pub fn warmup_left(&mut self, now_ms: i64) -> Option<u64> {
        self.roll_day(now_ms);
        self.warmup_limit.map(|limit| limit.saturating_sub(self.used_today))
    }

    fn roll_day(&mut self, now_ms: i64) {
        let day = now_ms.div_euclid(DAY_MS);
        if day != self.day {
            self.day = day;
            self.used_today = self.unwritten;
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

    fn claim_and_write(limiter: &mut Limiter, now_ms: i64, count: u64) {
        limiter.claim(now_ms, count);
        (0..count).for_each(|_| limiter.settle(Some(now_ms), now_ms));
    }

    /// Sends as fast as the limiter allows, and returns the times.
    fn drain(limiter: &mut Limiter, from_ms: i64, to_ms: i64) -> Vec<i64> {
        let mut now = from_ms;
        let mut times = Vec::new();
        while now < to_ms {
            match limiter.allowance(now) {
                Allowance::Now(count) => {
                    claim_and_write(limiter, now, count);
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
            assert!(used > 0.97, "{messages}/{per}: only {used:.3} of the limit is used");
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
    fn an_edit_forgets_nothing_and_invents_nothing() {
        let start = 1_764_000_000_000;
        let mut limiter = Limiter::new(&[rate(50, "1s")]);
        let mut times = Vec::new();
        let mut minutes: Vec<(i64, u64)> = Vec::new();
        // Another limiter every 300 ms, over 90 s that span several minutes.
        for (number, now) in (start..start + 90_000).step_by(300).enumerate() {
            let sent = drain(&mut limiter, now, now + 300);
            for at in &sent {
                match minutes.last_mut() {
                    Some((minute, count)) if *minute == at / 60_000 => *count += 1,
                    _ => minutes.push((at / 60_000, 1)),
                }
            }
            times.extend(sent);
            limiter = Limiter::renewed(&[rate(50 - number as u64 % 2, "1s")], &minutes, &limiter, now + 300);
        }
        assert!(most_in_any(&times, 1000) <= 50, "{}", most_in_any(&times, 1000));
        assert!(times.len() > 90 * 45, "only {} of {}", times.len(), 90 * 50);
        let now = start + 90_000;
        let hour = Limiter::renewed(&[rate(10_000, "1h")], &minutes, &limiter, now).left(now).expect("a long window");
        assert_eq!(hour, 10_000 - times.len() as u64);
    }

    #[test]
    fn what_did_not_leave_is_not_counted() {
        let start = 1_764_000_000_000;
        let mut limiter = Limiter::new(&[rate(10, "1m"), rate(50, "24h")]);
        limiter.set_warmup(Some(30));
        claim_and_write(&mut limiter, start, 4);
        for now in (start + 10..start + 60_000).step_by(1000) {
            limiter.claim(now, 3);
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

    /// A server that holds each message for a while before it is written.
    #[test]
    fn a_slow_server_makes_it_slower_and_never_exceeds() {
        let start = 1_764_000_000_000;
        for hold_ms in [10, 5_000, 62_000, 200_000] {
            let mut limiter = Limiter::new(&[rate(5, "61s")]);
            let (mut times, mut held) = (Vec::new(), VecDeque::new());
            for now in (start..start + 2_000_000).step_by(10) {
                while held.front().is_some_and(|at: &i64| *at <= now) {
                    held.pop_front();
                    times.push(now);
                    limiter.settle(Some(now), now);
                }
                if let Allowance::Now(count) = limiter.allowance(now) {
                    limiter.claim(now, count);
                    held.extend((0..count).map(|_| now + hold_ms));
                }
            }
            assert!(most_in_any(&times, 61_000) <= 5, "{hold_ms}: {}", most_in_any(&times, 61_000));
            assert!(times.len() as u64 >= 4 * 2_000_000 / (61_000 + hold_ms.unsigned_abs()), "{hold_ms}: {}", times.len());
        }
    }

    #[test]
    fn what_was_certainly_not_written_is_given_back() {
        let start = 1_764_000_000_000;
        for per in ["1s", "1h"] {
            let mut limiter = Limiter::new(&[rate(10, per)]);
            limiter.claim(start, 10);
            assert_eq!((limiter.headroom(start), limiter.reopens_at(start).is_some()), (0, true), "{per}");
            limiter.settle(None, start + 5);
            limiter.settle(Some(start), start + 5);
            assert_eq!((limiter.headroom(start + 5), limiter.reopens_at(start + 5)), (1, None), "{per}");
        }
    }
}
