//! What a simulation brings: who sent how much when, how each campaign ended, and what happened on the way. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::resources::{
    Key,
    campaign::{CampaignState, RecipientCounts},
};

/// An hour, milliseconds.
pub const HOUR_MS: i64 = 3_600_000;
/// A minute, milliseconds.
pub const MINUTE_MS: i64 = 60_000;
/// So long from the start minutes are told apart; then hours are.
const MINUTES_FOR_MS: i64 = 48 * HOUR_MS;
/// Happenings that are kept.
pub const HAPPENINGS_MAX: usize = if cfg!(test) { 50 } else { 1_000 };

/// All that a simulation brings.
#[derive(Clone, Debug, Default)]
pub struct Simulated {
    /// When it began, milliseconds since 1970.
    pub from_ms: i64,
    /// When it ended: nothing happened from then on, or it was told to go no further.
    pub to_ms: i64,
    /// Whether campaigns were still under way at the end.
    pub is_cut: bool,
    /// The campaigns.
    pub campaigns: BTreeMap<Key, CampaignResult>,
    /// Messages that servers accepted, by the start of the minute or, after two days, of the hour, milliseconds, and by campaign and server.
    pub taken: BTreeMap<i64, BTreeMap<(Key, Key), u64>>,
    /// What happened, in order.
    pub happenings: Vec<Happening>,
    /// How many more happened than are kept.
    pub more_happenings: u64,
    /// Steps of the state machine.
    pub steps: u64,
}

/// How a campaign went.
#[derive(Clone, Debug, Default)]
pub struct CampaignResult {
    /// People of its audience.
    pub people: u64,
    /// Its state at the end.
    pub state: Option<CampaignState>,
    /// Why: the message of its condition Ready, or of what stalls it.
    pub why: String,
    /// When its first message was claimed, milliseconds.
    pub started_ms: Option<i64>,
    /// When everybody had a final outcome, milliseconds.
    pub completed_ms: Option<i64>,
    /// When a server took its last message, milliseconds.
    pub last_ms: Option<i64>,
    /// Whether nothing happens any more until a person promotes its rollout.
    pub waits_for_person: bool,
    /// Its people by outcome.
    pub counts: RecipientCounts,
    /// What its servers were to take and took, by name.
    pub servers: BTreeMap<Key, ServerResult>,
}

/// What a server took of a campaign.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ServerResult {
    /// Its share by its weight among the servers that were picked at first, percent; none where it was not among them.
    pub weight_percent: Option<f64>,
    /// Messages that it accepted.
    pub accepted: u64,
}

impl CampaignResult {
    /// Messages that all of its servers accepted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.servers.values().map(|server| server.accepted).sum()
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Happening {
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// The kind of the object: `SendingServer` or `Campaign`.
    pub kind: &'static str,
    /// Its namespace and name.
    pub object: String,
    /// What became of it: `Active`, `Inactive`, or a campaign's state.
    pub state: String,
    /// Why, in words.
    pub why: String,
}

impl Simulated {
    /// Adds what happened.
    pub(super) fn happened(&mut self, happening: Happening) {
        if self.happenings.len() < HAPPENINGS_MAX {
            self.happenings.push(happening);
        } else {
            self.more_happenings += 1;
        }
    }

    /// Counts a message that a server accepted.
    pub(super) fn accepted(&mut self, campaign: &Key, server: &Key, at_ms: i64) {
        let length_ms = if at_ms - self.from_ms < MINUTES_FOR_MS { MINUTE_MS } else { HOUR_MS };
        let counts = self.taken.entry(at_ms.div_euclid(length_ms) * length_ms).or_default();
        let pair = (campaign.clone(), server.clone());
        *counts.entry(pair).or_default() += 1;
        if let Some(result) = self.campaigns.get_mut(campaign) {
            result.servers.entry(server.clone()).or_default().accepted += 1;
            result.last_ms = Some(at_ms);
        }
    }

    /// When servers took the first message and the last; the start where they took none.
    #[must_use]
    pub fn span_ms(&self) -> (i64, i64) {
        let last = self.campaigns.values().filter_map(|campaign| campaign.last_ms).max();
        (self.taken.keys().next().copied().unwrap_or(self.from_ms), last.unwrap_or(self.from_ms))
    }

    /// Messages that servers accepted, by the start of the stretch of this length, milliseconds, and by server.
    #[must_use]
    pub fn by_server(&self, length_ms: i64) -> BTreeMap<i64, BTreeMap<Key, u64>> {
        let mut found: BTreeMap<i64, BTreeMap<Key, u64>> = BTreeMap::new();
        for (from_ms, counts) in &self.taken {
            let of_stretch = found.entry(from_ms.div_euclid(length_ms) * length_ms).or_default();
            for ((_, server), count) in counts {
                *of_stretch.entry(server.clone()).or_default() += count;
            }
        }
        found
    }
}
