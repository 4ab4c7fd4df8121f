//! What servers think of a run: those that refuse it, those that rest from it, and the messages that are held for a clearer answer. Pure.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    dispatch::{guard::Guard, index::LaneIx, lane::LaneRef, refusals::Refusals},
    ledger::HeldMessage,
    resources::{Bar, Key, Reason},
};

/// A message that is held.
#[derive(Clone, Debug)]
pub struct Held {
    /// Whose message is held, as the ledger knows the address.
    pub recipient: Arc<str>,
    /// The server that refused it last.
    pub lane: Option<LaneIx>,
    /// All servers that refused it.
    pub refusals: Refusals,
}

/// The guards of a run's servers, and the messages that they hold.
#[derive(Debug, Default)]
pub struct Guards {
    /// The guard of each server, by index.
    pub by_lane: BTreeMap<LaneIx, Guard>,
    /// Bars of servers that are not in the routing (yet), by name.
    elsewhere: BTreeMap<Arc<str>, Bar>,
    /// Held messages, by row.
    pub held: BTreeMap<u64, Held>,
    /// The last temporary refusal of the whole campaign, for status.
    pub last_refusal: Option<(Reason, String)>,
}

impl Guards {
    /// Adopts the bars and held messages of the ledger; `lane_of` finds a server by its name.
    pub fn adopt(&mut self, bars: BTreeMap<Arc<str>, Bar>, held: Vec<HeldMessage>, lane_of: impl Fn(&str) -> Option<LaneIx>) {
        for (name, bar) in bars {
            match lane_of(&name) {
                Some(lane) => self.of_mut(lane).bar = Some(bar),
                None => drop(self.elsewhere.insert(name, bar)),
            }
        }
        for HeldMessage { seq, recipient, refusals } in held {
            let refusals = Refusals::from_json(Some(&refusals));
            let lane = refusals.last().and_then(|refused| lane_of(&refused.server));
            self.held.insert(seq, Held { recipient: recipient.into(), lane, refusals });
        }
    }

    /// The guard of a server.
    pub fn of_mut(&mut self, lane: LaneIx) -> &mut Guard {
        self.by_lane.entry(lane).or_default()
    }

    /// A server is in the routing again, or for the first time.
    pub fn lane_came(&mut self, lane: &LaneRef, has_accepted: bool) {
        let bar = self.elsewhere.remove(&lane.name);
        if bar.is_some() || has_accepted {
            let guard = self.of_mut(lane.id);
            (guard.bar, guard.has_accepted) = (bar, has_accepted);
        }
    }

    /// A server is in the routing no more: its bar is kept.
    pub fn lane_went(&mut self, lane: LaneIx, key: &Key) {
        if let Some(bar) = self.by_lane.remove(&lane).and_then(|guard| guard.bar) {
            self.elsewhere.insert(key.to_string().into(), bar);
        }
    }

    /// Whether a server may be picked for this campaign now.
    #[must_use]
    pub fn is_open_at(&self, lane: LaneIx, now_ms: i64) -> bool {
        self.by_lane.get(&lane).is_none_or(|guard| guard.is_open(now_ms))
    }

    /// Whether all of its servers may be picked now, as far as they are concerned.
    #[must_use]
    pub fn are_open(&self, now_ms: i64) -> bool {
        self.by_lane.values().all(|guard| guard.is_open(now_ms))
    }

    /// Why a server is out of use for this campaign until a person acts, if it is.
    #[must_use]
    pub fn bar_at(&self, lane: LaneIx) -> Option<&Bar> {
        self.by_lane.get(&lane).and_then(|guard| guard.bar.as_ref())
    }

    /// Whether a server that is not in the routing is out of use for this campaign.
    #[must_use]
    pub fn is_barred_elsewhere(&self, server: &Key) -> bool {
        self.elsewhere.contains_key(server.to_string().as_str())
    }

    /// All bars.
    pub fn bars(&self) -> impl Iterator<Item = &Bar> {
        self.by_lane.values().filter_map(|guard| guard.bar.as_ref()).chain(self.elsewhere.values())
    }

    /// The bars of servers that are not in the routing, by name.
    #[must_use]
    pub const fn bars_elsewhere(&self) -> &BTreeMap<Arc<str>, Bar> {
        &self.elsewhere
    }

    /// Ends rests that are over by now. True if there was one: servers have to be picked again.
    pub fn end_rests(&mut self, now_ms: i64) -> bool {
        let mut is_over = false;
        for guard in self.by_lane.values_mut().filter(|guard| guard.rests_until_ms > 0 && guard.rests_until_ms <= now_ms) {
            guard.rests_until_ms = 0;
            is_over = true;
        }
        is_over
    }

    /// A message in flight has its outcome, or did not leave.
    pub fn landed(&mut self, lane: LaneIx) {
        if let Some(guard) = self.by_lane.get_mut(&lane) {
            guard.in_flight = guard.in_flight.saturating_sub(1);
        }
    }

    /// A person wants all of it tried again: every server may be picked, and nothing is held.
    pub fn lift_all(&mut self) {
        self.held.clear();
        self.elsewhere.clear();
        for guard in self.by_lane.values_mut() {
            guard.clear();
            guard.bar = None;
            guard.rests_until_ms = 0;
        }
    }
}
