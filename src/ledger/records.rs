//! The ledger's vocabulary: runs, claims, outcomes and queries about them. Plain data.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use crate::feedback::{FeedbackCounts, Judged};
use crate::resources::{
    Key, Percent,
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

/// One group commit: the outcomes that have become known and the next claims. All of it is applied, or nothing.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// Outcomes, which are written before the claims.
    pub outcomes: Vec<OutcomeRecord>,
    /// Claims of the messages that leave next.
    pub claims: Vec<Claim>,
    /// Servers that are out of use for a run from now on.
    pub guards: Vec<Guard>,
    /// Messages that count towards limits in a different minute from that of their claim.
    pub usage_moves: Vec<UsageMove>,
    /// The time, in milliseconds since 1970.
    pub now_ms: i64,
}

/// A message counts towards limits in the minute of its claim until it is known when it was written.
#[derive(Clone, Debug)]
pub struct UsageMove {
    /// The usage keys of its claim.
    pub usage_keys: Arc<[Arc<str>]>,
    /// The minute of its claim, counted since 1970.
    pub from_minute: i64,
    /// The minute in which its last byte was written; `None` if certainly none of its content was.
    pub to_minute: Option<i64>,
}

/// The right to send one message once. It must be durable before the message leaves.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The run, begun in this process.
    pub run_id: RunId,
    /// `None` for a recipient who is not in the ledger yet; otherwise another attempt, or a move to another server.
    pub seq: Option<u64>,
    /// The address as it is in the audience. On the wire its domain may be in A-labels (`rcpt_to`).
    pub recipient: Arc<str>,
    /// The number of the attempt, from 1. A move keeps it.
    pub attempt: u32,
    /// The server that was picked.
    pub server: ServerId,
    /// What the recipient may have unsubscribed from, beside everything.
    pub topic: Option<Arc<str>>,
    /// The keys whose usage it counts towards; one list, shared by all claims of a server and namespace.
    pub usage_keys: Arc<[Arc<str>]>,
}

/// What became of one message that was claimed, deferred or held.
#[derive(Clone, Debug)]
pub struct OutcomeRecord {
    /// The run, begun in this process.
    pub run_id: RunId,
    /// `None` for a recipient who was never claimed ([`Disposition::may_begin`]): a row is added.
    pub seq: Option<u64>,
    /// The address; read only if `seq` is `None`.
    pub recipient: Arc<str>,
    /// Its outcome.
    pub disposition: Disposition,
    /// The server; `None` keeps that of the claim.
    pub server: Option<ServerId>,
    /// The server's reply; 250 characters are kept. `None` keeps the previous one.
    pub reply: Option<String>,
    /// The server rejected it because there is no such mailbox: the address is suppressed.
    pub suppresses: bool,
}

/// The outcome of a claim. `F` is the form of its template fields: JSON in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disposition<F = String> {
    /// A server accepted it.
    Accepted,
    /// Permanently refused.
    Rejected,
    /// All attempts are used up, or the deadline has passed.
    Expired,
    /// It may or may not have been sent, and is not resent (`whenOutcomeIsUnknown: Skip`).
    Unknown,
    /// The template failed for it; the reply says why.
    RenderFailed,
    /// Removed from the audience.
    Withdrawn,
    /// Temporarily refused; the next attempt is at this time.
    Deferred {
        /// When to retry, in milliseconds since 1970.
        at_ms: i64,
        /// The recipient's template fields, kept until its final outcome.
        fields: F,
    },
    /// It may or may not have been sent, and is resent (`whenOutcomeIsUnknown: Resend`).
    Resend {
        /// When to retry, in milliseconds since 1970.
        at_ms: i64,
        /// The recipient's template fields, kept until its final outcome.
        fields: F,
    },
    /// Certainly not accepted, and waits again: the attempt does not count.
    Returned {
        /// When it may be sent, in milliseconds since 1970.
        at_ms: i64,
        /// The recipient's template fields, kept until its final outcome.
        fields: F,
        /// The servers that refused it, if any, as JSON.
        refusals: Option<String>,
    },
    /// Refused by a server that seems to refuse the whole campaign. Waits until that is known, or for an operator.
    Held {
        /// The recipient's template fields, kept until its final outcome.
        fields: F,
        /// The servers that refused it, as JSON.
        refusals: String,
    },
    /// No longer held: it goes to another server at once.
    Released,
}

impl<F> Disposition<F> {
    /// The fate of the message afterwards.
    #[must_use]
    pub const fn fate(&self) -> Fate {
        match self {
            Self::Accepted => Fate::Accepted,
            Self::Rejected => Fate::Rejected,
            Self::Expired => Fate::Expired,
            Self::Unknown => Fate::Unknown,
            Self::RenderFailed => Fate::RenderFailed,
            Self::Withdrawn => Fate::Withdrawn,
            Self::Deferred { .. } | Self::Resend { .. } | Self::Returned { .. } | Self::Released => Fate::Deferred,
            Self::Held { .. } => Fate::Held,
        }
    }

    /// Whether a recipient who was never claimed may have this outcome.
    #[must_use]
    pub const fn may_begin(&self) -> bool {
        matches!(self, Self::RenderFailed)
    }

    /// Whether a message of fate `from` may have this outcome.
    #[must_use]
    pub const fn may_follow(&self, from: Fate) -> bool {
        match from {
            Fate::Claimed => !matches!(self, Self::Withdrawn | Self::Released),
            Fate::Deferred => !matches!(self, Self::Accepted | Self::Unknown | Self::Resend { .. } | Self::Released),
            Fate::Held => matches!(self, Self::Rejected | Self::Released),
            _ => false,
        }
    }

    /// The same outcome, with its fields converted.
    pub fn map<G>(&self, fields_of: impl FnOnce(&F) -> G) -> Disposition<G> {
        match self {
            Self::Accepted => Disposition::Accepted,
            Self::Rejected => Disposition::Rejected,
            Self::Expired => Disposition::Expired,
            Self::Unknown => Disposition::Unknown,
            Self::RenderFailed => Disposition::RenderFailed,
            Self::Withdrawn => Disposition::Withdrawn,
            Self::Deferred { at_ms, fields } => Disposition::Deferred { at_ms: *at_ms, fields: fields_of(fields) },
            Self::Resend { at_ms, fields } => Disposition::Resend { at_ms: *at_ms, fields: fields_of(fields) },
            Self::Returned { at_ms, fields, refusals } => {
                Disposition::Returned { at_ms: *at_ms, fields: fields_of(fields), refusals: refusals.clone() }
            }
            Self::Held { fields, refusals } => Disposition::Held { fields: fields_of(fields), refusals: refusals.clone() },
            Self::Released => Disposition::Released,
        }
    }
}

/// A server that is out of use for a run, for all recipients, until an operator resumes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The run, begun in this process.
    pub run_id: RunId,
    /// The one that refused.
    pub server: ServerId,
    /// The condition's reason.
    pub reason: String,
    /// The condition's message.
    pub message: String,
    /// A hash of what was sent: a different spec may be accepted.
    pub spec_hash: u64,
}

/// A guard as read from the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownGuard {
    /// `namespace/name` of the server.
    pub server: String,
    /// The condition's reason.
    pub reason: String,
    /// The condition's message.
    pub message: String,
    /// A hash of what was sent.
    pub spec_hash: u64,
}

/// A message that is held.
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

/// A change in the number of messages of one fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountChange {
    /// Whose count changes.
    pub run_id: RunId,
    /// Which of its counts.
    pub fate: Fate,
    /// The server, for a final outcome that has one.
    pub server: Option<ServerId>,
    /// The difference, which may be negative.
    pub by: i64,
}

/// The changes made by a write. Counts change in no other way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Changes of counts by run, fate and server.
    pub counts: Vec<CountChange>,
    /// The number of messages that are resent although the outcome of an attempt is unknown, by run.
    pub resent: Vec<(RunId, i64)>,
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

/// The result of a commit.
#[derive(Clone, Debug)]
pub struct CommitReceipt {
    /// The numbers of the claims in their runs, in the order of the claims; `None` for a recipient who is suppressed, whose message
    /// has its final outcome.
    pub seqs: Vec<Option<u64>>,
    /// The changes that it made.
    pub changes: Changes,
    /// How long the write and the fsync took; the in-flight window depends on it.
    pub took: Duration,
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
