//! The words of the ledger: runs, claims, outcomes and what is told about them. Plain data.

use std::{fmt, sync::Arc, time::Duration};

use crate::resources::{
    Key,
    fate::{Fate, FateCounts},
    resume::Handled,
};

/// A run in this ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub(super) i64);

/// A server in this ledger; [`super::Ledger::server_id`] gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub(super) i64);

/// What a run is known by. Not by uid: a campaign that was deleted and applied again is the same run.
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

/// What becomes of claims whose process ended before their outcome was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownPolicy {
    /// They are unknown for good: at most once.
    Skip,
    /// They are sent again: at least once.
    Resend,
}

/// What is known of a run. Times in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRecord {
    /// The run's number in this ledger.
    pub id: RunId,
    /// What it is known by.
    pub key: RunKey,
    /// When it began.
    pub started_at_ms: i64,
    /// When its audience was last read to the end.
    pub audience_read_at_ms: Option<i64>,
    /// Usable rows of the audience, duplicates not counted; known once it was read to the end.
    pub total: Option<u64>,
    /// Rows whose address had been there before.
    pub duplicates: u64,
    /// Rows that could not be used.
    pub bad_rows: u64,
    /// When every recipient had a final outcome and the run was closed.
    pub closed_at_ms: Option<i64>,
    /// Whether it was closed once and resumed for its unknown recipients: nobody is added to it.
    pub is_reopened: bool,
    /// Requests to resume that were carried out, or that the run began with.
    pub resume_handled: Handled,
    /// Claims of an earlier process without an outcome that this `begin_run` found: now unknown (Skip) or to be sent again (Resend).
    pub left_without_outcome: u64,
}

/// One group commit: the outcomes that became known and the claims that come next. All of it or nothing.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// Written first.
    pub outcomes: Vec<OutcomeRecord>,
    /// Written after the outcomes.
    pub claims: Vec<Claim>,
    /// Servers that are out of use for a run from now on.
    pub guards: Vec<Guard>,
    /// Messages that count for limits in another minute than that of their claim.
    pub usage_moves: Vec<UsageMove>,
    /// The time, in milliseconds since 1970.
    pub now_ms: i64,
}

/// A message counts for limits in the minute of its claim, until it is known when it was written.
#[derive(Clone, Debug)]
pub struct UsageMove {
    /// The keys of its claim.
    pub usage_keys: Arc<[Arc<str>]>,
    /// The minute of its claim, since 1970.
    pub from_minute: i64,
    /// The minute of its last byte written; none: certainly nothing of its content was.
    pub to_minute: Option<i64>,
}

/// The right to send one message once. It must be durable before the message leaves.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The run, begun in this process.
    pub run_id: RunId,
    /// None: a recipient who is not in the ledger yet. Some: a further try, or a move to another server.
    pub seq: Option<u64>,
    /// The address, as it is mailed.
    pub recipient: Arc<str>,
    /// Which try it is, from 1. A move keeps the number.
    pub attempt: u32,
    /// The server that was picked.
    pub server: ServerId,
    /// The keys whose usage it counts for; one list shared by all claims of a server and namespace.
    pub usage_keys: Arc<[Arc<str>]>,
}

/// What became of one message that was claimed, deferred or held.
#[derive(Clone, Debug)]
pub struct OutcomeRecord {
    /// The run, begun in this process.
    pub run_id: RunId,
    /// None only with [`Disposition::RenderFailed`], for a recipient who was never claimed: a row is added.
    pub seq: Option<u64>,
    /// The address; read only when `seq` is None.
    pub recipient: Arc<str>,
    /// What became of it.
    pub disposition: Disposition,
    /// The server; None keeps that of the claim.
    pub server: Option<ServerId>,
    /// The server's words; 250 characters are kept. None keeps those of before.
    pub reply: Option<String>,
}

/// What becomes of a message. `F` is how its template fields are held: as JSON in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disposition<F = String> {
    /// A server took it.
    Accepted,
    /// It was refused for good.
    Rejected,
    /// All tries are used up.
    Expired,
    /// It may or may not have gone out, and is not sent again (`whenOutcomeIsUnknown: Skip`).
    Unknown,
    /// Its template failed; the reply says why.
    RenderFailed,
    /// It is gone from the audience.
    Withdrawn,
    /// Refused for now: a further try at this time.
    Deferred {
        /// When to try again, in milliseconds since 1970.
        at_ms: i64,
        /// The recipient's template fields, kept until its final outcome.
        fields: F,
    },
    /// It may or may not have gone out, and is sent again (`whenOutcomeIsUnknown: Resend`).
    Resend {
        /// When to try again, in milliseconds since 1970.
        at_ms: i64,
        /// The recipient's template fields, kept until its final outcome.
        fields: F,
    },
    /// Certainly not taken, and waits again: the try does not count.
    Returned {
        /// From when on it may go, in milliseconds since 1970.
        at_ms: i64,
        /// The recipient's template fields, kept until its final outcome.
        fields: F,
        /// The servers that refused it, where there are any.
        refusals: Option<String>,
    },
    /// Refused by a server that seems to refuse the whole campaign. Waits for what is found out, or for a person.
    Held {
        /// The recipient's template fields, kept until its final outcome.
        fields: F,
        /// The servers that refused it.
        refusals: String,
    },
    /// Held no more: it goes to another server at once.
    Released,
}

impl<F> Disposition<F> {
    /// Where the message is afterwards.
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

    /// Whether a recipient who was never claimed may take it.
    #[must_use]
    pub const fn may_begin(&self) -> bool {
        matches!(self, Self::RenderFailed)
    }

    /// Whether a message of this fate may take it.
    #[must_use]
    pub const fn may_follow(&self, from: Fate) -> bool {
        match from {
            Fate::Claimed => !matches!(self, Self::Withdrawn | Self::Released),
            Fate::Deferred => !matches!(self, Self::Accepted | Self::Unknown | Self::Resend { .. } | Self::Released),
            Fate::Held => matches!(self, Self::Rejected | Self::Released),
            _ => false,
        }
    }

    /// The same with its fields held in another way.
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

/// A server that is out of use for a run, whoever the recipient is, until a person resumes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The run, begun in this process.
    pub run_id: RunId,
    /// The server.
    pub server: ServerId,
    /// The condition's reason.
    pub reason: String,
    /// The condition's message.
    pub message: String,
    /// A hash of what was sent: another spec may fare better.
    pub spec_hash: u64,
}

/// A guard as it is found again.
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
    /// The servers that refused it, as they were written.
    pub refusals: String,
}

/// What a person asks of a run that was stopped, or that has recipients of unknown outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumption {
    /// The request itself, which is carried out once; none: a change of the spec, which can be.
    pub token: Option<String>,
    /// What becomes of held messages.
    pub held: HeldFate,
    /// Whether messages of unknown outcome are mailed again.
    pub resends_unknown: bool,
}

/// What becomes of held messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeldFate {
    /// They are tried again.
    #[default]
    Retry,
    /// They are rejected.
    Reject,
}

/// A change of the number of messages of one fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountChange {
    /// The run.
    pub run_id: RunId,
    /// The fate.
    pub fate: Fate,
    /// The server, for a final outcome that has one.
    pub server: Option<ServerId>,
    /// So many more, or less.
    pub by: i64,
}

/// What a write changed: the only way in which counts change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// By run, fate and server.
    pub counts: Vec<CountChange>,
    /// Messages that are sent again though the outcome of the try before is unknown.
    pub resent: Vec<(RunId, i64)>,
}

/// What a commit gave.
#[derive(Clone, Debug)]
pub struct CommitReceipt {
    /// The numbers of the claims, in their order.
    pub seqs: Vec<u64>,
    /// What it changed.
    pub changes: Changes,
    /// How long writing and fsync took, for the size of the window in flight.
    pub took: Duration,
}

/// A deferred message whose time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueMessage {
    /// Its number in the run.
    pub seq: u64,
    /// The address.
    pub recipient: String,
    /// Tries made so far; the next claim has one more.
    pub attempt: u32,
    /// The template fields that were kept.
    pub fields: Option<String>,
    /// The servers that refused it, as they were written.
    pub refusals: Option<String>,
    /// When it was claimed first, milliseconds.
    pub since_ms: Option<i64>,
}

/// How many messages of a run have which fate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunCounts {
    /// All of them.
    pub fates: FateCounts,
    /// How often a message was sent again though the outcome of the try before is unknown.
    pub resent: u64,
    /// Those with a final outcome by server, in the order of names; servers without any are absent.
    pub per_server: Vec<ServerCounts>,
}

/// What became of the messages of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerCounts {
    /// `namespace/name`.
    pub server: String,
    /// Its final outcomes.
    pub fates: FateCounts,
}

/// What an audience held, read to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AudienceRead {
    /// Usable rows, duplicates not counted.
    pub total: u64,
    /// Rows whose address had been there before.
    pub duplicates: u64,
    /// Rows that could not be used.
    pub bad_rows: u64,
}

/// A row of an audience that could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// The line in the source, from 1; 0 when it has none.
    pub line: u64,
    /// What is wrong; 500 characters are kept.
    pub what: String,
}

/// The spec of an object as its source read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecHash {
    /// `SendingServer`, `Plan` or `Campaign`.
    pub kind: String,
    /// Its namespace and name.
    pub key: Key,
    /// A hash of the parsed spec that is the same in every process and version.
    pub spec_hash: u64,
}

/// The generation of an object whose source does not count them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation {
    /// From 1; it rises when the spec's hash changes, also across deletion.
    pub number: i64,
    /// When the object was first read, in milliseconds since 1970.
    pub created_at_ms: i64,
}

/// What to do with a row of the audience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Not in the ledger: to be mailed.
    New,
    /// In the ledger, and read for the first time in this pass: nothing to do.
    Claimed,
    /// Its outcome is unknown, and it is to be sent again: the policy is Resend, or an operator asked for it.
    Resend {
        /// Its number in the run, for the claim.
        seq: u64,
        /// The attempt whose outcome is unknown.
        attempt: u32,
    },
    /// An earlier row of this pass has the same recipient.
    Duplicate,
}
