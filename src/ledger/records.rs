//! The ledger's vocabulary: runs, claims, outcomes and queries about them. Plain data.

mod commits;

use std::{collections::HashMap, fmt, sync::Arc};

pub use self::commits::{Changes, Claim, Commit, CommitReceipt, CountChange, Disposition, OutcomeRecord, UsageMove};
use crate::feedback::{FeedbackCounts, Judged};
use crate::resources::{
    Bar, Key, Percent,
    campaign::{RecipientCounts, WhenOutcomeIsUnknown},
    fate::{Fate, FateCounts},
    resume::{Handled, ResumeHeld},
    rollout::{NextStep, Reached},
};

/// A run in this ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub(super) i64);

impl RunId {
    /// Its number in references to messages; `None` if it is too large for one.
    #[must_use]
    pub fn number(self) -> Option<u32> {
        u32::try_from(self.0).ok()
    }
}

/// A server in this ledger; returned by [`super::Ledger::server_id`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub(super) i64);

/// The identity of a run. Not the UID: a campaign that was deleted and applied again continues the same run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunKey {
    /// The campaign's namespace.
    pub namespace: String,
    /// The campaign's name.
    pub campaign: String,
    /// `spec.run`.
    pub run: String,
}

impl RunKey {
    /// A key from its three parts.
    pub fn new(namespace: impl Into<String>, campaign: impl Into<String>, run: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), campaign: campaign.into(), run: run.into() }
    }
}

impl fmt::Display for RunKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} run {}", self.namespace, self.campaign, self.run)
    }
}

/// The options for beginning or continuing a run.
#[derive(Clone, Debug, Default)]
pub struct RunStart {
    /// What becomes of claims that an earlier process left without an outcome.
    pub when_outcome_is_unknown: WhenOutcomeIsUnknown,
    /// A request to resume that is older than the run: it is not carried out.
    pub resume: Option<String>,
    /// `spec.reopen`: a closed run with a smaller number is reopened.
    pub reopen: u64,
    /// The keys of the plan's and the campaign's limits, towards which claims without an outcome count as written now.
    pub limits: Vec<Arc<str>>,
    /// What stands for each receiving domain that a server limits: claims to it count as written now as well.
    pub receivers: Arc<HashMap<Arc<str>, Arc<str>>>,
    /// What its recipients may unsubscribe from; everything when absent.
    pub topic: Option<Arc<str>>,
    /// The share of the first step of its rollout, for a run that has mailed nobody; `None` for everybody at once.
    pub rollout: Option<Percent>,
    /// A request to promote that is older than the run: it is not carried out.
    pub promote: Option<String>,
}

/// The key under which what a server sends to a receiving domain, or those that it stands for, is counted. No server's own key has a
/// space.
#[must_use]
pub fn domain_key(server: &str, receiver: &str) -> String {
    format!("{server} to {receiver}")
}

/// What is known of a run. Times in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRecord {
    /// The run's id in this ledger.
    pub id: RunId,
    /// Its namespace, campaign and name.
    pub key: RunKey,
    /// When it was first begun.
    pub started_at_ms: i64,
    /// When its audience was last read to the end.
    pub audience_read_at_ms: Option<i64>,
    /// Usable rows of the audience, without duplicates; known once it was read to the end.
    pub total: Option<u64>,
    /// Rows that repeat an address.
    pub duplicates: u64,
    /// Rows of people whom the campaign excludes.
    pub excluded: u64,
    /// Rows that could not be used.
    pub bad_rows: u64,
    /// When every recipient had a final outcome and the run was closed.
    pub closed_at_ms: Option<i64>,
    /// Whether it was closed once and resumed for its unknown recipients: no recipients are added to it.
    pub is_reopened: bool,
    /// Requests to resume that were carried out, or that are older than the run.
    pub resume_handled: Handled,
    /// How often it was reopened on purpose, as counted by `spec.reopen`.
    pub reopen: u64,
    /// Whether a message of it may have left: one is claimed, or a claim did not come back unsent.
    pub has_sent: bool,
    /// What came back of it.
    pub feedback: FeedbackCounts,
    /// What it had when a person resumed it last.
    pub judged_from: Judged,
    /// How far its rollout has come; `None` for a run that was begun without one.
    pub rollout: Option<Reached>,
    /// Claims without an outcome that this `begin_run` found from an earlier process: now unknown (Skip) or to be resent (Resend).
    pub left_without_outcome: u64,
}

/// A server that goes out of use for a run, for all recipients, until an operator resumes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBar {
    /// The run, begun in this process.
    pub run_id: RunId,
    /// The one that refused.
    pub server: ServerId,
    /// Why.
    pub bar: Bar,
}

/// A message that waits because its server seems to refuse the whole campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldMessage {
    /// Its number in the run.
    pub seq: u64,
    /// The address.
    pub recipient: String,
    /// The servers that refused it, as JSON.
    pub refusals: String,
}

/// An operator's request for a run that was stopped, or that has recipients of unknown outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumption {
    /// The request, which is carried out once; `None` for a change of the spec, which may recur.
    pub token: Option<String>,
    /// What becomes of held messages. `None`: they stay held, and servers that refuse the run stay out of use.
    pub held: Option<ResumeHeld>,
    /// Whether messages of unknown outcome are resent.
    pub resends_unknown: bool,
}

/// A change of a run's rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RolloutChange {
    /// Everybody of this share was mailed, or is tried again later.
    Sent(Percent),
    /// The next step begins.
    Next(NextStep),
}

/// Messages that count towards a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The key of the limit.
    pub key: String,
    /// The minute in which they were written, counted since 1970.
    pub minute: i64,
    /// How many.
    pub messages: u64,
}

/// What a server sent on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerDay {
    /// Its name with its namespace.
    pub server: String,
    /// The UTC day, counted since 1970.
    pub day: i64,
    /// How many it sent.
    pub messages: u64,
}

/// A claim of an earlier process without an outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnresolvedClaim {
    /// The name of the server with its namespace.
    pub server: String,
    /// The recipient's domain.
    pub domain: String,
}

/// A deferred message that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueMessage {
    /// Its number in the run.
    pub seq: u64,
    /// The address.
    pub recipient: String,
    /// Attempts made so far; the next claim counts one more.
    pub attempt: u32,
    /// The template fields that were kept.
    pub fields: Option<String>,
    /// The servers that refused it, as JSON.
    pub refusals: Option<String>,
    /// When it was first claimed, in milliseconds since 1970.
    pub since_ms: Option<i64>,
}

/// The number of messages of a run by fate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunCounts {
    /// The counts by fate.
    pub fates: FateCounts,
    /// How often a message was resent although the outcome of an attempt was unknown.
    pub resent: u64,
    /// Final outcomes by server, ordered by name; servers without any are absent.
    pub per_server: Vec<ServerCounts>,
}

impl RunCounts {
    /// These counts as status shows them, without those of the audience.
    #[must_use]
    pub fn recipients(&self) -> RecipientCounts {
        let mut shown = RecipientCounts { resent: self.resent, ..RecipientCounts::default() };
        for fate in Fate::ALL {
            *shown.of_mut(fate) = self.fates[fate];
        }
        shown
    }

    /// Messages that each server accepted, by the server's name; only servers that accepted any.
    pub fn accepted_by_server(&self) -> impl Iterator<Item = (&str, u64)> {
        self.per_server.iter().map(|server| (server.server.as_str(), server.fates[Fate::Accepted])).filter(|(_, count)| *count > 0)
    }
}

impl RunRecord {
    /// The counts of the run as status shows them, with those of its audience.
    #[must_use]
    pub fn recipients(&self, counts: &RunCounts) -> RecipientCounts {
        let Self { total, duplicates, excluded, bad_rows, .. } = *self;
        RecipientCounts { total, duplicates, excluded, bad_rows, ..counts.recipients() }
    }
}

impl AudienceRead {
    /// The counts of a run whose audience this is.
    #[must_use]
    pub fn recipients(&self, counts: &RunCounts) -> RecipientCounts {
        let Self { total, duplicates, excluded, bad_rows } = *self;
        RecipientCounts { total: Some(total), duplicates, excluded, bad_rows, ..counts.recipients() }
    }
}

/// The final outcomes of one server's messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerCounts {
    /// `namespace/name` of the server.
    pub server: String,
    /// The final outcomes of its messages.
    pub fates: FateCounts,
}

/// The totals of an audience that was read to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AudienceRead {
    /// Usable rows without duplicates.
    pub total: u64,
    /// Rows that repeat an address.
    pub duplicates: u64,
    /// Rows of people whom the campaign excludes.
    pub excluded: u64,
    /// Rows that could not be used.
    pub bad_rows: u64,
}

/// A row of an audience that could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// The line in the source, from 1; 0 if it has none.
    pub line: u64,
    /// What is wrong; 500 characters are kept.
    pub what: String,
}

/// The spec of an object as its source read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecHash {
    /// `SendingServer`, `Plan` or `Campaign`; another name for a hash of a part of one.
    pub kind: String,
    /// Its namespace and name.
    pub key: Key,
    /// A hash of the parsed spec, the same in every process and version.
    pub spec_hash: u64,
}

/// The question which other campaigns of the namespace, with a run of the same name, sent what was recorded with the same hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentAlike {
    /// The run of the campaign that asks.
    pub run: RunKey,
    /// What it sends.
    pub message: SpecHash,
    /// When the others' runs began at the earliest, milliseconds.
    pub since_ms: i64,
}

/// The generation of an object from a source that does not count generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Counted from 1; it is incremented whenever the spec's hash changes, even across deletion.
    pub number: i64,
    /// When the object was first read, in milliseconds since 1970.
    pub created_at_ms: i64,
}

/// What to do with a row of the audience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// It is not in the ledger: to be mailed.
    New,
    /// It is in the ledger, and read for the first time in this pass: nothing to do.
    Claimed,
    /// It is to be sent again: its outcome is unknown and the policy is Resend, or an operator requested it, or its template
    /// failed.
    Resend {
        /// Its number in the run, for the claim.
        seq: u64,
        /// The attempt whose outcome is unknown.
        attempt: u32,
    },
    /// An earlier row of this pass has the same recipient.
    Duplicate,
}
