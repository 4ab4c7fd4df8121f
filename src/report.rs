//! What the data plane tells the control plane: counts, and why something waits. Plain data. Pure.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    ledger::LedgerError,
    resources::{Blocker, Duration, Key, Reason, campaign::RecipientCounts, resume::Handled},
};

/// The state of the data plane at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Campaigns.
    pub campaigns: BTreeMap<Key, CampaignReport>,
    /// Servers.
    pub servers: BTreeMap<Key, ServerReport>,
    /// Why the ledger cannot be written, while that is so.
    pub ledger_problem: Option<LedgerError>,
    /// Claims without an outcome.
    pub unresolved: usize,
    /// How long a commit takes, microseconds.
    pub commit_micros: u64,
}

/// Where a run stands within the dispatcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The ledger is asked for the run.
    Opening,
    /// Nothing is fed: held, stopped by a problem, or being changed.
    Resting,
    /// A feeder reads the audience.
    Feeding,
    /// Every recipient has a final outcome.
    Closed,
}

/// What a run waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Nothing: it sends.
    No,
    /// Its servers failed at sending and are being tested.
    ForServer,
    /// Its servers' or its namespace's limits are used up until then, milliseconds.
    ForLimits(i64),
    /// All that is left is deferred until then, milliseconds.
    ForRetry(i64),
    /// Its servers refuse it for now, in these words.
    ForRefusal(String),
}

/// How many recipients an audience should have, before it has been read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Rows that were counted or estimated, less those found to be useless so far.
    pub recipients: u64,
    /// Estimated from how much of the source was read.
    pub is_estimate: bool,
}

/// A run of a campaign.
#[derive(Clone, Debug, PartialEq)]
pub struct CampaignReport {
    /// The run's name.
    pub run: String,
    /// The fingerprint of the order that this is about.
    pub fingerprint: u64,
    /// Where it stands.
    pub phase: Phase,
    /// Recipients by what became of them.
    pub counts: RecipientCounts,
    /// Messages that each server took.
    pub accepted: BTreeMap<Key, u64>,
    /// How many recipients the audience should have, before it has been read to its end.
    pub expected: Option<Expected>,
    /// What it waits for.
    pub waiting: Waiting,
    /// What stops it.
    pub blocker: Option<Blocker>,
    /// When the run began, milliseconds.
    pub started_ms: Option<i64>,
    /// When every recipient had a final outcome, milliseconds.
    pub completed_ms: Option<i64>,
    /// Rows that were added after completion.
    pub added_later: u64,
    /// Servers that may not be used for it until a person acts, and why.
    pub bars: BTreeMap<Key, Bar>,
    /// The requests to resume that were carried out.
    pub resume_handled: Handled,
}

/// A server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerReport {
    /// Messages left in its longer windows.
    pub limit_left: Option<u64>,
    /// Messages in each of its longer windows, by the window's length in milliseconds.
    pub used: Vec<(i64, u64)>,
    /// Messages left of today's warm-up.
    pub warmup_left: Option<u64>,
    /// Its longer windows or warm-up are used up until then, or it asked for a rest, milliseconds.
    pub exhausted_until: Option<i64>,
    /// Whether it rests for ten seconds or more since it was given too much.
    pub rests: bool,
    /// Why it rests, in words, when it does since an outcome was unknown.
    pub rests_since: Option<Arc<str>>,
    /// The messages a second that it is given, since it said that it was given too much.
    pub slowed_to: Option<f64>,
    /// Messages in flight.
    pub in_flight: usize,
    /// Connections at a time now.
    pub connections: u32,
    /// The most messages in flight at a time, steady enough to be shown.
    pub in_flight_max: u32,
    /// Messages that it took since the process began.
    pub accepted: u64,
    /// Failures that the dispatcher counted since the process began.
    pub failures: u64,
}

impl ServerReport {
    /// Messages in the window of this length, one of the longer ones; 0 in one that does not count yet.
    #[must_use]
    pub fn used_in(&self, per: Duration) -> u64 {
        self.used.iter().find(|(per_ms, _)| *per_ms == per.as_millis()).map_or(0, |(_, used)| *used)
    }
}

/// Why a server may not carry a campaign, until a person acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    /// The condition's reason.
    pub reason: Reason,
    /// The condition's message.
    pub message: String,
    /// The fingerprint of what was sent: a change of the spec lifts it.
    pub fingerprint: u64,
}
