//! The stages of a message in the data plane: ready to be claimed, in flight, settled. Pure.

use std::sync::Arc;

use super::{
    calls::CallId,
    index::{CampaignIx, LaneIx},
    receivers::Receiver,
    refusals::Refusals,
};
use crate::{audience::Fields, hours::Zone, ledger, meta::Pieces};

/// A rendered message that waits to be claimed.
#[derive(Debug)]
pub struct ReadyMessage {
    /// Its row in the ledger; `None` for a recipient who was never claimed.
    pub seq: Option<u64>,
    /// The number of the attempt, from 1. A move to another server keeps it.
    pub attempt: u32,
    /// The recipient, as the ledger knows it.
    pub recipient: Arc<str>,
    /// The recipient for the envelope: an internationalized domain in its ASCII form.
    pub rcpt_to: Arc<str>,
    /// Whose limits for receiving domains it counts towards; the scheduler finds it out.
    pub receiver: Option<Receiver>,
    /// The recipient's own sending hours, where each has their own.
    pub window: Option<Window>,
    /// When it was first claimed, milliseconds; `None` if it was not, or if its first attempt is not known to have failed.
    pub since_ms: Option<i64>,
    /// The template fields, kept in the ledger while the message is deferred.
    pub fields: Fields,
    /// The refusals of servers.
    pub refusals: Refusals,
    /// The rendered message.
    pub content: Pieces,
    /// See [`crate::providers::Outgoing::needs_8bit`].
    pub needs_8bit: bool,
    /// See [`crate::providers::Outgoing::needs_smtputf8`].
    pub needs_smtputf8: bool,
}

/// When a recipient's own sending hours end, and when they begin again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// When they end, milliseconds: it is not claimed from then on.
    pub closes_ms: i64,
    /// When they begin again, milliseconds.
    pub opens_ms: i64,
    /// By the clock of which zone.
    pub zone: Zone,
}

/// People who are not mailed before their own sending hours begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asleep {
    /// When the first hours begin, milliseconds.
    pub first_ms: i64,
    /// By the clock of which zone.
    pub zone: Zone,
    /// When the last hours begin, milliseconds.
    pub last_ms: i64,
}

impl Asleep {
    /// Somebody whose hours begin then.
    #[must_use]
    pub fn new(at_ms: i64, zone: Zone) -> Self {
        Self { first_ms: at_ms, zone, last_ms: at_ms }
    }

    /// Others, too.
    pub fn add(&mut self, others: Self) {
        self.last_ms = self.last_ms.max(others.last_ms);
        if others.first_ms < self.first_ms {
            (self.first_ms, self.zone) = (others.first_ms, others.zone);
        }
    }
}

/// A deferred message that waits for the hours of its recipient.
#[derive(Debug)]
pub struct Later {
    /// Its row.
    pub seq: u64,
    /// The address, as the ledger knows it.
    pub recipient: Arc<str>,
    /// The template fields.
    pub fields: Fields,
    /// The refusals of servers, as the ledger keeps them.
    pub refusals: Option<String>,
    /// When the hours begin, milliseconds.
    pub at_ms: i64,
}

/// What a claim counts towards beside its server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainUse {
    /// Whose recipient it is for.
    pub receiver: Receiver,
    /// The key under which the ledger counts it.
    pub key: Arc<str>,
}

/// A recipient whose template failed.
#[derive(Debug)]
pub struct RenderFailure {
    /// Its row, if it was claimed before.
    pub seq: Option<u64>,
    /// Whether an attempt was made before, after which it waited in the ledger.
    pub was_deferred: bool,
    /// The address, as the ledger knows it.
    pub recipient: Arc<str>,
    /// The error.
    pub message: String,
}

/// A message in flight: claimed, without an outcome.
#[derive(Debug)]
pub struct InFlight {
    /// The campaign's index.
    pub campaign: CampaignIx,
    /// The server's index.
    pub lane: LaneIx,
    /// The call of `deliver` that it belongs to.
    pub call: CallId,
    /// Its row in the ledger.
    pub seq: u64,
    /// The number of the attempt, from 1. A move to another server keeps it.
    pub attempt: u32,
    /// The address, as the ledger knows it.
    pub recipient: Arc<str>,
    /// The template fields.
    pub fields: Fields,
    /// The refusals of servers.
    pub refusals: Refusals,
    /// The limit for its receiving domain that it counts towards.
    pub domain: Option<DomainUse>,
    /// When it was claimed, milliseconds.
    pub claimed_ms: i64,
    /// When it was first claimed, milliseconds.
    pub since_ms: i64,
}

/// What became of a message, to be written to the ledger.
#[derive(Debug)]
pub struct Settled {
    /// The campaign's index.
    pub campaign: CampaignIx,
    /// Its row; `None` for a recipient who was never claimed.
    pub seq: Option<u64>,
    /// The address, as the ledger knows it.
    pub recipient: Arc<str>,
    /// The server's index; `None` if this does not follow from a server's answer.
    pub lane: Option<LaneIx>,
    /// Whether it ends a claim, which counts as unresolved until this is durable.
    pub is_of_claim: bool,
    /// What became of it.
    pub disposition: Disposition,
    /// The server's reply, or what went wrong.
    pub reply: Option<String>,
    /// The server rejected it because there is no such mailbox.
    pub suppresses: bool,
}

/// What becomes of a message, with its fields in their form in memory.
pub type Disposition = ledger::Disposition<Fields>;
