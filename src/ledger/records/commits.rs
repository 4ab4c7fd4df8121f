//! What a commit writes, and what it changes. Plain data.

use std::{sync::Arc, time::Duration};

use super::{NewBar, RunId, ServerId};
use crate::resources::fate::Fate;

/// One group commit: the outcomes that have become known and the next claims. All of it is applied, or nothing.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// Outcomes, which are written before the claims.
    pub outcomes: Vec<OutcomeRecord>,
    /// Claims of the messages that leave next.
    pub claims: Vec<Claim>,
    /// Servers that are out of use for a run from now on.
    pub bars: Vec<NewBar>,
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
    /// What became of it; which outcomes may follow its fate, [`Disposition::may_follow`] says.
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

/// A change in the number of messages of one fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountChange {
    /// Whose count changes.
    pub run_id: RunId,
    /// The fate that messages got or left.
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
