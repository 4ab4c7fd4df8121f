//! What servers sent on each UTC day, for warm-up. Pure.

use std::{collections::BTreeMap, sync::Arc};

use crate::{ledger::ServerDay, report::DayUsed, resources::Key};

const DAY_MINUTES: i64 = 24 * 60;

/// The days of each server.
#[derive(Debug, Default)]
pub struct Days {
    by_server: BTreeMap<Key, BTreeMap<i64, u64>>,
    /// The days before `shown_on`, as they are reported.
    shown: Arc<BTreeMap<Key, Vec<DayUsed>>>,
    shown_on: i64,
    has_changed: bool,
}

impl Days {
    /// The days that the ledger knows.
    pub fn new(known: impl IntoIterator<Item = ServerDay>) -> Self {
        let mut days = Self::default();
        for ServerDay { server, day, messages } in known {
            if let Some(key) = Key::parse(&server) {
                *days.by_server.entry(key).or_default().entry(day).or_default() += messages;
            }
        }
        days
    }

    /// Adds to the messages of a server in a minute since 1970.
    pub fn note(&mut self, server: &str, minute: i64, by: i64) {
        let Some(key) = Key::parse(server) else { return };
        let day = minute.div_euclid(DAY_MINUTES);
        let messages = self.by_server.entry(key).or_default().entry(day).or_default();
        *messages = messages.saturating_add_signed(by);
        self.has_changed |= day < self.shown_on;
    }

    /// The days that are over.
    pub fn completed(&mut self, now_ms: i64) -> Arc<BTreeMap<Key, Vec<DayUsed>>> {
        let today = now_ms.div_euclid(DAY_MINUTES * 60_000);
        if self.has_changed || today != self.shown_on {
            (self.has_changed, self.shown_on) = (false, today);
            let over = |days: &BTreeMap<i64, u64>| {
                let over = days.range(..today);
                over.map(|(day, messages)| DayUsed { day: *day, messages: *messages }).collect()
            };
            let shown: BTreeMap<Key, Vec<DayUsed>> = self.by_server.iter().map(|(key, days)| (key.clone(), over(days))).collect();
            if *self.shown != shown {
                self.shown = Arc::new(shown);
            }
        }
        self.shown.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_told_once_it_is_over() {
        let (server, key) = ("shop/relay", Key::new("shop", "relay"));
        let known = |(day, messages)| ServerDay { server: server.to_owned(), day, messages };
        let mut days = Days::new([(10, 5), (11, 7)].map(known));
        let day = |days: &mut Days, day: i64| {
            let all = days.completed(day * 86_400_000 + 1).get(&key).cloned().unwrap_or_default();
            all.into_iter().map(|day| (day.day, day.messages)).collect::<Vec<_>>()
        };
        assert_eq!(day(&mut days, 11), [(10, 5)]);
        days.note(server, 11 * 1440 + 3, 2);
        assert_eq!(day(&mut days, 12), [(10, 5), (11, 9)]);
        // One that was claimed before midnight was written after it.
        days.note(server, 11 * 1440 + 1439, -1);
        days.note(server, 12 * 1440, 1);
        assert_eq!(day(&mut days, 12), [(10, 5), (11, 8)]);
        let same = days.completed(12 * 86_400_000 + 5);
        assert!(Arc::ptr_eq(&same, &days.completed(12 * 86_400_000 + 6)), "nothing changed");
    }
}
