//! What servers took, in stretches of time that suit a table and a picture. Pure.

use std::collections::BTreeMap;

use crate::{
    resources::{Duration, Key},
    simulate::{HOUR_MS, MINUTE_MS, Simulated},
};

const DAY_MS: i64 = 24 * HOUR_MS;
/// Stretches of time that are shown, at the most.
const STRETCHES_MAX: i64 = 62;
/// Lengths of stretches, the shortest first, in milliseconds, and in words.
const LENGTHS: [(i64, &str); 7] = [
    (MINUTE_MS, "in each minute"),
    (5 * MINUTE_MS, "in each five minutes"),
    (15 * MINUTE_MS, "in each quarter of an hour"),
    (HOUR_MS, "in each hour"),
    (6 * HOUR_MS, "in each six hours"),
    (DAY_MS, "on each day"),
    (7 * DAY_MS, "in each week"),
];
/// From this length on, a table is by day.
const BY_DAY_MS: i64 = 2 * DAY_MS;
/// Accepted messages by stretch of time and server.
pub struct Stretches {
    length_ms: i64,
    words: &'static str,
    /// The servers, those that took most first.
    pub servers: Vec<Key>,
    /// The start of each stretch, and what each server took in it.
    pub rows: Vec<(i64, Vec<u64>)>,
}

impl Stretches {
    /// In stretches of a length that suits the whole.
    pub fn of(simulated: &Simulated) -> Self {
        let (first, last) = simulated.span_ms();
        let whole = last - first;
        let fits = |length: i64| if whole > BY_DAY_MS { length >= DAY_MS } else { true } && whole / length < STRETCHES_MAX;
        let (length_ms, words) = LENGTHS.into_iter().find(|(length, _)| fits(*length)).unwrap_or((7 * DAY_MS, "in each week"));
        let by_time = simulated.by_server(length_ms);
        let mut sums: BTreeMap<Key, u64> = BTreeMap::new();
        for (server, count) in by_time.values().flatten() {
            *sums.entry(server.clone()).or_default() += count;
        }
        let mut servers: Vec<(Key, u64)> = sums.into_iter().collect();
        servers.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let servers: Vec<Key> = servers.into_iter().map(|(server, _)| server).collect();
        let none = BTreeMap::new();
        let mut rows = Vec::new();
        if let (Some(first), Some(last)) = (by_time.keys().next(), by_time.keys().next_back()) {
            // Stretches in which nothing was sent are there too.
            let mut at = *first;
            while at <= *last {
                let counts = by_time.get(&at).unwrap_or(&none);
                rows.push((at, servers.iter().map(|server| counts.get(server).copied().unwrap_or(0)).collect()));
                at += length_ms;
            }
        }
        Self { length_ms, words, servers, rows }
    }

    /// Whether nothing was sent.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// `in each hour`.
    pub const fn words(&self) -> &'static str {
        self.words
    }

    /// The heading of the times.
    pub const fn heading(&self) -> &'static str {
        if self.length_ms >= DAY_MS { "day" } else { "from" }
    }

    /// How a stretch is called.
    pub fn name(&self, from_ms: i64) -> String {
        let moment = moment(from_ms);
        let (day, time) = moment.split_at_checked(10).unwrap_or((&moment, ""));
        if self.length_ms >= DAY_MS { day.to_owned() } else { format!("{day} {}", time.get(1..6).unwrap_or_default()) }
    }

    /// What all servers took in each stretch.
    pub fn totals(&self) -> impl Iterator<Item = u64> {
        self.rows.iter().map(|(_, counts)| counts.iter().sum())
    }
}

/// A moment in RFC 3339, to the second.
pub fn moment(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms).map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default()
}

/// A length of time, milliseconds, in words.
pub fn length(ms: i64) -> String {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0)).in_words()
}
