//! The data plane's report to the control plane: counts, and why something waits. Plain data. Pure.

mod timing;

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    hours::Zone,
    ledger::LedgerError,
    resources::{Bar, Blocker, Duration, Key, campaign::RecipientCounts, resume::Handled, rollout::Reached},
};

pub use timing::Timing;

/// The state of the data plane at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Each campaign that the data plane has.
    pub campaigns: BTreeMap<Key, CampaignReport>,
    /// Each server that the data plane has.
    pub servers: BTreeMap<Key, ServerReport>,
    /// Messages that servers sent on each UTC day before today, the oldest first, by server: of all that the ledger knows.
    pub days: Arc<BTreeMap<Key, Vec<DayUsed>>>,
    /// Why the ledger cannot be written, if it cannot.
    pub ledger_problem: Option<LedgerError>,
    /// Claims without an outcome.
    pub unresolved: usize,
    /// How long commits took.
    pub commits: Timing,
    /// From the end of a message, or a call, to the answer, by the type of the server.
    pub round_trips: BTreeMap<&'static str, Timing>,
}

/// What a server sent on a UTC day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayUsed {
    /// The day, counted since 1970.
    pub day: i64,
    /// How many it sent on it.
    pub messages: u64,
}

/// The phase of a run in the dispatcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The run is being opened in the ledger.
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
    /// Sending through its servers failed, and they are being probed.
    ForServer,
    /// Its servers' or its namespace's limits are used up until this time, milliseconds.
    ForLimits(i64),
    /// All that waits is for receiving domains for which no server has room.
    ForDomains {
        /// When the first of them has room again, milliseconds.
        until_ms: i64,
        /// Which ones.
        domains: Vec<Arc<str>>,
    },
    /// Everybody who is left is in a zone where it is outside the sending hours.
    ForHours {
        /// When they begin for the first of them, milliseconds.
        until_ms: i64,
        /// The zone of that person.
        zone: Zone,
    },
    /// All that is left is deferred until this time, milliseconds.
    ForRetry(i64),
    /// Its servers refuse it temporarily, with this message.
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

/// Recipients who have no time zone of their own, though each should have one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WithoutZone {
    /// How many.
    pub recipients: u64,
    /// A value that is no zone, if any of them has one.
    pub example: Option<String>,
}

/// Recipients whose value matches no variant of the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WithoutVariant {
    /// How many.
    pub recipients: u64,
    /// The value of the first of them.
    pub example: String,
}

/// A run of a campaign.
#[derive(Clone, Debug, PartialEq)]
pub struct CampaignReport {
    /// The run's name.
    pub run: String,
    /// The hash of the work that this report is about.
    pub work_hash: u64,
    /// How far its run has come.
    pub phase: Phase,
    /// Recipients by fate.
    pub counts: RecipientCounts,
    /// Messages that each server accepted.
    pub accepted: BTreeMap<Key, u64>,
    /// How many recipients the audience should have, before it has been read to its end.
    pub expected: Option<Expected>,
    /// Recipients who recently got a final outcome, per second; `None` while nothing is fed, and before anybody had one in this process.
    pub per_second: Option<f64>,
    /// The average time between two messages that limits for receiving domains leave, milliseconds, once only people of such domains
    /// are left in the audience.
    pub gap_ms: Option<f64>,
    /// Whether it sends nothing now because of a limit, a retry or a server, and until when.
    pub waiting: Waiting,
    /// When the hours of the last of those begin who are not mailed before, milliseconds.
    pub last_hours_ms: Option<i64>,
    /// Who has no time zone of their own, once the audience was read.
    pub without_zone: Option<WithoutZone>,
    /// Whose value matches no variant, once the audience was read.
    pub without_variant: Option<WithoutVariant>,
    /// What stops it.
    pub blocker: Option<Blocker>,
    /// Since when reading its audience has failed again and again for now, milliseconds.
    pub unread_since_ms: Option<i64>,
    /// When the run began, milliseconds.
    pub started_ms: Option<i64>,
    /// When every recipient had a final outcome, milliseconds.
    pub completed_ms: Option<i64>,
    /// Rows that were added to the audience after completion; `None` until they are counted.
    pub added_later: Option<u64>,
    /// How often it was reopened on purpose.
    pub reopen: u64,
    /// Whether a message of it may have left: one is claimed, or a claim did not come back unsent.
    pub has_sent: bool,
    /// Servers that are out of use for it until a person acts, and why.
    pub bars: BTreeMap<Key, Bar>,
    /// The requests to resume that were carried out.
    pub resume_handled: Handled,
    /// How far its rollout has come, as of when the data plane last changed it.
    pub rollout: Option<Reached>,
}

/// What the data plane says of a server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerReport {
    /// Messages left in its longer windows.
    pub limit_left: Option<u64>,
    /// Messages in each of its longer windows, by the window's length in milliseconds.
    pub used: Vec<(i64, u64)>,
    /// The limits for receiving domains, in the order of the spec.
    pub domains: Vec<DomainReport>,
    /// Messages left of today's warm-up.
    pub warmup_left: Option<u64>,
    /// Until when its longer windows or warm-up are used up, or it asked to rest, milliseconds.
    pub exhausted_until: Option<i64>,
    /// Whether it rests for ten seconds or more because it was given too much.
    pub rests: bool,
    /// Why it rests after an unknown outcome, in words; `None` if it does not.
    pub rests_since: Option<Arc<str>>,
    /// The rate that it is given since it reported too much, messages per second.
    pub slowed_to: Option<f64>,
    /// Messages in flight.
    pub in_flight: usize,
    /// How many connections it may have at a time now.
    pub connections: u32,
    /// The most messages in flight at a time, steady enough for display.
    pub in_flight_max: u32,
    /// Messages that it has accepted since the process started.
    pub accepted: u64,
    /// What else it answered since the process started.
    pub answers: Answers,
    /// Failures that the dispatcher has counted since the process started.
    pub failures: u64,
}

/// Messages that a server did not accept, since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Refused for good: for their recipient, or for the sender or the content.
    pub refused: u64,
    /// Refused for now.
    pub deferred: u64,
    /// Certainly not sent, since the server failed.
    pub failed: u64,
    /// Without an answer that says whether they were sent.
    pub unknown: u64,
}

/// A server's limit for receiving domains.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DomainReport {
    /// Messages in each of its longer windows, by the window's length in milliseconds.
    pub used: Vec<(i64, u64)>,
    /// Until when its longer windows are used up, milliseconds.
    pub exhausted_until: Option<i64>,
}

impl DomainReport {
    /// Messages in the longer window of this length; 0 if it does not count yet.
    #[must_use]
    pub fn used_in(&self, per: Duration) -> u64 {
        self.used.iter().find(|(per_ms, _)| *per_ms == per.as_millis()).map_or(0, |(_, used)| *used)
    }
}

impl ServerReport {
    /// Messages in the longer window of this length; 0 if it does not count yet.
    #[must_use]
    pub fn used_in(&self, per: Duration) -> u64 {
        self.used.iter().find(|(per_ms, _)| *per_ms == per.as_millis()).map_or(0, |(_, used)| *used)
    }
}
