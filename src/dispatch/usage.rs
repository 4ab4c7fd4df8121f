//! What counts towards limits: messages by limiter key and minute, of this process and previous ones.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    days::Days,
    index::{CampaignIx, LaneIx},
};
use crate::{ledger::Usage, report::DayUsed, resources::Key};

/// The longest window that a rate may have: 31 days, plus a minute.
pub const USAGE_MINUTES: i64 = 31 * 24 * 60 + 1;

/// The messages that count towards limits, by key and minute.
type Past = BTreeMap<String, Vec<(i64, u64)>>;
/// The limiter keys that a claim counts towards, by server, plan, campaign with limits of its own, and receiving domain.
type UsageKeys = BTreeMap<(LaneIx, [Option<Arc<str>>; 3]), Arc<[Arc<str>]>>;

/// What was sent and when, for limiters that are rebuilt after an edit, and the keys under which it is kept.
pub struct UsageBook {
    past: Past,
    days: Days,
    keys: UsageKeys,
    /// The key of the own limits of each campaign that has some.
    own_limits: BTreeMap<CampaignIx, Arc<str>>,
}

impl UsageBook {
    /// What the ledger knows.
    pub fn new(usage: Vec<Usage>, days: Days) -> Self {
        let mut past = Past::new();
        for Usage { key, minute, messages } in usage {
            past.entry(key).or_default().push((minute, messages));
        }
        Self { past, days, keys: UsageKeys::new(), own_limits: BTreeMap::new() }
    }

    /// The messages under a key, by minute.
    pub fn past(&self, key: &str) -> Vec<(i64, u64)> {
        self.past.get(key).cloned().unwrap_or_default()
    }

    /// What servers sent on the days that are over.
    pub fn completed_days(&mut self, now_ms: i64) -> Arc<BTreeMap<Key, Vec<DayUsed>>> {
        self.days.completed(now_ms)
    }

    /// The keys under which a claim of a campaign at a server counts; `more` are those of the plan, of the campaign's own limits and of
    /// the receiving domain.
    pub fn keys(&mut self, campaign: CampaignIx, lane: (LaneIx, Arc<str>), more: [Option<Arc<str>>; 3]) -> Arc<[Arc<str>]> {
        if let Some(own) = &more[1] {
            self.own_limits.entry(campaign).or_insert_with(|| own.clone());
        }
        let (lane, name) = lane;
        self.keys.entry((lane, more.clone())).or_insert_with(|| std::iter::once(name).chain(more.into_iter().flatten()).collect()).clone()
    }

    /// Forgets the keys of a campaign with limits of its own, which is still there.
    pub fn forget_campaign(&mut self, campaign: CampaignIx) {
        if let Some(own) = self.own_limits.remove(&campaign) {
            self.keys.retain(|(_, [_, known, _]), _| known.as_ref() != Some(&own));
        }
    }

    /// Forgets the keys of a server.
    pub fn forget_server(&mut self, lane: LaneIx) {
        self.keys.retain(|(of, _), _| *of != lane);
    }

    /// The sizes of what is kept of campaigns and servers, by name. What was sent outlives both: their successors have the same limits.
    #[cfg(test)]
    pub fn kept(&self) -> Vec<(&'static str, usize)> {
        let Self { past: _, days: _, keys, own_limits } = self;
        vec![("usage keys", keys.len()), ("own limits", own_limits.len())]
    }

    /// Notes messages under all keys of a claim.
    pub fn note(&mut self, keys: &[Arc<str>], minute: i64, by: i64) {
        for key in keys {
            self.add(key, minute, by);
        }
        // The first is the server.
        if let Some(server) = keys.first() {
            self.days.note(server, minute, by);
        }
    }

    /// Adds to the counts of a key, which are ordered by minute except for messages that were written earlier; a count is never below
    /// 0.
    pub fn add(&mut self, key: &str, minute: i64, by: i64) {
        let past = &mut self.past;
        if !past.contains_key(key) {
            // Keys come and go with servers, campaigns and receiving domains. Looking at all of them whenever their number has doubled
            // costs little for each that is added.
            if past.len().is_power_of_two() {
                past.retain(|_, counts| counts.iter().rev().any(|(known, _)| *known > minute - USAGE_MINUTES));
            }
            past.insert(key.to_owned(), Vec::new());
        }
        let Some(counts) = past.get_mut(key) else { return };
        if let Some((_, count)) = counts.iter_mut().rev().find(|(known, _)| *known == minute) {
            *count = count.saturating_add_signed(by);
        } else if by > 0 {
            // Once a minute, drop what no window reaches any more.
            counts.retain(|(old, _)| *old > minute - USAGE_MINUTES);
            counts.push((minute, by.unsigned_abs()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_no_window_reaches_any_more_are_forgotten() {
        let mut book = UsageBook::new(Vec::new(), Days::new(Vec::new()));
        for day in 0..400 {
            // A campaign a day with a limit of its own, and a server that sends every day.
            let minute = day * 24 * 60;
            book.add(&format!("campaign {day}"), minute, 5);
            book.add("relay", minute, 5);
        }
        assert!(book.past.len() <= 64, "{} keys", book.past.len());
        assert_eq!(book.past("relay").len(), 32, "what a window still reaches is there");
        assert!((368..400).all(|day| book.past.contains_key(&format!("campaign {day}"))));
        // One that is taken back before it was counted leaves nothing.
        book.add("gone", 0, -1);
        assert!(book.past["gone"].is_empty());
    }
}
