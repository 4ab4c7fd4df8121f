//! How many connections a server may have at a time. Pure.
//!
//! If the spec sets no number, it adapts: while every connection is busy and messages wait, more are tried, and kept if they make
//! the server faster. Whatever the spec says, once a server refuses another connection it keeps those that it has.

use crate::resources::sending_server::{CONNECTIONS_AT_FIRST, CONNECTIONS_MAX};

const MAX: usize = CONNECTIONS_MAX as usize;
const START: usize = CONNECTIONS_AT_FIRST as usize;
/// The number of answers on each connection over which a rate is measured, and the shortest and the longest time for it,
/// milliseconds.
const ANSWERS_EACH: u64 = 3;
const PERIOD_MIN_MS: i64 = 100;
const PERIOD_MAX_MS: i64 = 10_000;
/// The fraction of the ideal gain that additional connections must bring to be kept.
const GAIN_MIN: f64 = 0.1;
/// The wait before more connections are tried again after they brought nothing or were refused, milliseconds.
const TRY_MORE_MS: i64 = 60_000;

/// The connections of one server.
#[derive(Clone, Debug)]
pub struct Connections {
    /// The number in the spec; `None` if it adapts.
    fixed: Option<usize>,
    /// The number if it adapts.
    adapted: usize,
    /// The number of connections that the server took before it refused another.
    refused_above: Option<usize>,
    /// When one more than `refused_above` is tried, milliseconds.
    more_at_ms: i64,
    period: Period,
    /// The smaller number of connections before the last increase, and its rate in answers per millisecond.
    before: Option<(usize, f64)>,
    /// No more are tried before this time, milliseconds.
    settled_until_ms: i64,
}

/// The period over which a rate is measured.
#[derive(Clone, Copy, Debug, Default)]
struct Period {
    begun_ms: i64,
    answers: u64,
    /// How much of it every connection was busy while messages waited, milliseconds.
    full_ms: i64,
    /// When the last look was, if it found every connection busy, milliseconds.
    full_since_ms: Option<i64>,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            fixed: None,
            adapted: START,
            refused_above: None,
            more_at_ms: 0,
            period: Period::default(),
            before: None,
            settled_until_ms: 0,
        }
    }
}

impl Connections {
    /// Sets the number in the spec; with `None` it adapts.
    pub fn set(&mut self, fixed: Option<usize>) {
        self.fixed = fixed;
    }

    /// How many connections it may have at a time now.
    #[must_use]
    pub fn now(&self) -> usize {
        let wanted = self.fixed.unwrap_or(self.adapted);
        self.refused_above.map_or(wanted, |most| most.min(wanted))
    }

    /// Notes that the server refused another connection in addition to the `open` ones. Returns false if none was open.
    pub fn refused(&mut self, open: usize, now_ms: i64) -> bool {
        let open = open.min(self.now());
        if open == 0 {
            return false;
        }
        self.refused_above = Some(open);
        self.more_at_ms = now_ms + TRY_MORE_MS;
        self.adapted = self.adapted.min(open.max(1));
        self.before = None;
        true
    }

    /// Allows one connection more than the server took, after a while.
    pub fn wake(&mut self, now_ms: i64) {
        if let Some(most) = &mut self.refused_above
            && self.more_at_ms <= now_ms
        {
            *most += 1;
            self.more_at_ms = now_ms + TRY_MORE_MS;
            if *most >= self.fixed.unwrap_or(MAX) {
                self.refused_above = None;
            }
        }
    }

    /// Counts an answer to a message.
    pub fn answered(&mut self) {
        self.period.answers += 1;
    }

    /// Notes whether every connection is busy now while messages wait that may go, and adapts the number.
    pub fn look(&mut self, is_full: bool, now_ms: i64) {
        if self.fixed.is_some() {
            return;
        }
        let period = &mut self.period;
        if let Some(since) = period.full_since_ms.take() {
            period.full_ms += now_ms - since;
        }
        if is_full {
            period.full_since_ms = Some(now_ms);
        }
        let length = now_ms - period.begun_ms;
        let is_enough = period.answers >= ANSWERS_EACH * self.adapted as u64 && length >= PERIOD_MIN_MS;
        if !is_enough && length < PERIOD_MAX_MS {
            return;
        }
        // A period in which a limit, the audience or the ledger set the pace says nothing about the server.
        let is_telling = is_enough && period.full_ms * 10 >= length * 8;
        #[allow(clippy::cast_precision_loss)]
        let rate = period.answers as f64 / length.max(1) as f64;
        *period = Period { begun_ms: now_ms, full_since_ms: period.full_since_ms, ..Period::default() };
        if is_telling {
            self.judge(rate, now_ms);
        }
    }

    fn judge(&mut self, rate: f64, now_ms: i64) {
        if let Some((fewer, slower)) = self.before {
            #[allow(clippy::cast_precision_loss)]
            let hoped = self.adapted as f64 / fewer as f64 - 1.0;
            if rate < slower * (1.0 + GAIN_MIN * hoped) {
                (self.adapted, self.before) = (fewer, None);
                self.settled_until_ms = now_ms + TRY_MORE_MS;
                return;
            }
        }
        let most = self.refused_above.unwrap_or(MAX).min(MAX);
        if self.adapted >= most || now_ms < self.settled_until_ms {
            self.before = None;
            return;
        }
        self.before = Some((self.adapted, rate));
        self.adapted = (self.adapted * 2).min(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Simulates a server that takes 80 ms per message on each connection, and at most `at_most` messages a second over all of
    /// them.
    fn settle(connections: &mut Connections, at_most: f64, refuses_above: usize, for_ms: i64) -> Vec<usize> {
        let mut credit = 0.0;
        let mut seen = vec![connections.now()];
        for now_ms in 1_000_000..1_000_000 + for_ms {
            connections.wake(now_ms);
            if connections.now() > refuses_above {
                connections.refused(refuses_above, now_ms);
            }
            #[allow(clippy::cast_precision_loss)]
            let rate = (connections.now() as f64 / 80.0).min(at_most / 1000.0);
            credit += rate;
            while credit >= 1.0 {
                credit -= 1.0;
                connections.answered();
            }
            connections.look(true, now_ms);
            if seen.last() != Some(&connections.now()) {
                seen.push(connections.now());
            }
        }
        seen
    }

    #[test]
    fn it_grows_while_that_makes_the_server_faster() {
        assert_eq!(settle(&mut Connections::default(), 1e9, 99, 4_000), [4, 8, 16, 20]);
        let seen = settle(&mut Connections::default(), 60.0, 99, 30_000);
        assert_eq!(seen, [4, 8, 16, 8], "60 a second need five connections, and sixteen bring nothing");
        let seen = settle(&mut Connections::default(), 120.0, 99, 30_000);
        assert_eq!(seen, [4, 8, 16, 20, 16]);
    }

    #[test]
    fn it_shrinks_when_the_server_objects_and_tries_again_later() {
        let mut connections = Connections::default();
        assert_eq!(settle(&mut connections, 1e9, 3, 50_000), [4, 3]);
        connections.wake(1_000_000 + 61_000);
        assert_eq!(connections.now(), 3, "one more is allowed, and not yet wanted");
        assert!(!Connections::default().refused(0, 5), "it refuses the first: that is no limit");
    }

    #[test]
    fn what_the_spec_says_is_kept_unless_the_server_refuses() {
        let mut connections = Connections::default();
        connections.set(Some(50));
        assert_eq!(settle(&mut connections, 10.0, 99, 20_000), [50]);
        assert!(connections.refused(7, 1_000_000));
        assert_eq!(connections.now(), 7);
        connections.wake(1_060_000);
        assert_eq!(connections.now(), 8);
    }

    #[test]
    fn a_server_that_has_little_to_do_stays_as_it_is() {
        let mut connections = Connections::default();
        for now_ms in 0..60_000 {
            connections.answered();
            connections.look(now_ms % 2 == 0, now_ms);
        }
        assert_eq!(connections.now(), START);
    }
}
