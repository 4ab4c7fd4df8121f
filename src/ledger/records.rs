//! The words of the ledger: runs, claims, outcomes and what is told about them. Plain data.

use std::{fmt, sync::Arc, time::Duration};

use crate::resources::Key;

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
    /// When every recipient had an end and the run was closed.
    pub closed_at_ms: Option<i64>,
    /// Why it was stopped, if it is.
    pub stopped: Option<Stopped>,
    /// Claims of an earlier process without an outcome that this `begin_run` found: now unknown (Skip) or to be sent again (Resend).
    pub left_without_outcome: u64,
}

/// Why a run was stopped: final until the campaign's generation is another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The campaign's generation that it was judged for.
    pub generation: i64,
    /// The condition's reason.
    pub reason: String,
    /// The condition's message.
    pub message: String,
}

/// The state of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageState {
    /// It may leave, or has left; no outcome yet.
    Claimed = 0,
    /// A server took it.
    Accepted = 1,
    /// It waits for a further try.
    Deferred = 2,
    /// It was refused for good.
    Rejected = 3,
    /// All tries are used up.
    Expired = 4,
    /// It may or may not have gone out, and is not sent again.
    Unknown = 5,
    /// Its template failed.
    RenderFailed = 6,
}

impl MessageState {
    /// All states, by their number.
    pub const ALL: [Self; 7] =
        [Self::Claimed, Self::Accepted, Self::Deferred, Self::Rejected, Self::Expired, Self::Unknown, Self::RenderFailed];

    /// The number in the database.
    #[must_use]
    pub const fn number(self) -> i64 {
        self as i64
    }

    /// The word in views and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Claimed => "Claimed",
            Self::Accepted => "Accepted",
            Self::Deferred => "Deferred",
            Self::Rejected => "Rejected",
            Self::Expired => "Expired",
            Self::Unknown => "Unknown",
            Self::RenderFailed => "RenderFailed",
        }
    }

    pub(super) fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.number() == number)
    }

    pub(super) const fn is_end(self) -> bool {
        !matches!(self, Self::Claimed | Self::Deferred)
    }
}

impl fmt::Display for MessageState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One group commit: the outcomes that became known and the claims that come next. All of it or nothing.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// Written first.
    pub outcomes: Vec<OutcomeRecord>,
    /// Written after the outcomes.
    pub claims: Vec<Claim>,
    /// The time, in milliseconds since 1970.
    pub now_ms: i64,
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

/// What became of one claimed or deferred message.
#[derive(Clone, Debug)]
pub struct OutcomeRecord {
    /// The run, begun in this process.
    pub run_id: RunId,
    /// None only with [`EndState::RenderFailed`], for a recipient who was never claimed: a row is added.
    pub seq: Option<u64>,
    /// The address; read only when `seq` is None.
    pub recipient: Arc<str>,
    /// What became of it.
    pub state: EndState,
    /// The server; None keeps that of the claim.
    pub server: Option<ServerId>,
    /// The server's words; 250 characters are kept.
    pub reply: Option<String>,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndState {
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
    /// Refused for now: a further try at this time.
    Deferred {
        /// When to try again, in milliseconds since 1970.
        next_attempt_at_ms: i64,
        /// The recipient's template fields, kept until its end.
        fields: String,
    },
    /// It may or may not have gone out, and is sent again (`whenOutcomeIsUnknown: Resend`).
    UnknownResend {
        /// When to try again, in milliseconds since 1970.
        next_attempt_at_ms: i64,
        /// The recipient's template fields, kept until its end.
        fields: String,
    },
    /// Certainly not sent, and waits again: the try does not count.
    Returned {
        /// The recipient's template fields, kept until its end.
        fields: String,
    },
}

impl EndState {
    pub(super) const fn state(&self) -> MessageState {
        match self {
            Self::Accepted => MessageState::Accepted,
            Self::Rejected => MessageState::Rejected,
            Self::Expired => MessageState::Expired,
            Self::Unknown => MessageState::Unknown,
            Self::RenderFailed => MessageState::RenderFailed,
            Self::Deferred { .. } | Self::UnknownResend { .. } | Self::Returned { .. } => MessageState::Deferred,
        }
    }
}

/// What a commit gave.
#[derive(Clone, Debug)]
pub struct CommitReceipt {
    /// The numbers of the claims, in their order.
    pub seqs: Vec<u64>,
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
}

/// How many messages of a run are where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunCounts {
    /// On the wire, or left without an outcome and to be sent again.
    pub claimed: u64,
    /// Taken by a server.
    pub accepted: u64,
    /// Waiting for a further try.
    pub deferred: u64,
    /// Refused for good.
    pub rejected: u64,
    /// All tries used up.
    pub expired: u64,
    /// May or may not have gone out, not sent again.
    pub unknown: u64,
    /// Template failed.
    pub render_failed: u64,
    /// How often a message was sent again though the outcome of the try before is unknown.
    pub resent: u64,
    /// By server, in the order of names; servers without an end are absent.
    pub per_server: Vec<ServerCounts>,
}

/// What became of the messages of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerCounts {
    /// `namespace/name`.
    pub server: String,
    /// Taken by the server.
    pub accepted: u64,
    /// Refused for good.
    pub rejected: u64,
    /// May or may not have gone out, not sent again.
    pub unknown: u64,
}

impl RunCounts {
    /// Messages that have an end.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.accepted + self.rejected + self.expired + self.unknown + self.render_failed
    }

    /// Messages that have none yet.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.claimed + self.deferred
    }
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
pub struct Problem {
    /// The line in the source, from 1; 0 when it has none.
    pub line: u64,
    /// What is wrong; 500 characters are kept.
    pub what: String,
}

/// An object as the source read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedObject {
    /// `SendingServer`, `Plan` or `Campaign`.
    pub kind: String,
    /// Its namespace and name.
    pub key: Key,
    /// A hash of the parsed spec that is the same in every process and version.
    pub spec_hash: u64,
}

/// What a reader of the audience does with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// Not in the ledger: to be mailed.
    New,
    /// In the ledger, and first seen in this pass: nothing to do.
    AlreadyClaimed,
    /// Claimed by an earlier process, outcome unknown, policy Resend: to be sent again now.
    Resend {
        /// Its number in the run, for the claim.
        seq: u64,
        /// The number of the try whose outcome is unknown.
        attempt: u32,
    },
    /// Seen before in this pass.
    Duplicate,
}
