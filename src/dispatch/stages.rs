//! The stages of a message in the data plane: ready to be claimed, in flight, settled. Pure.

use std::sync::Arc;

use super::{
    calls::CallId,
    index::{CampaignIx, LaneIx},
    refusals::Refusals,
};
use crate::{audience::Fields, ledger};

/// A rendered message that waits to be claimed.
#[derive(Debug)]
pub struct ReadyMessage {
    /// Its row in the ledger; none for a recipient who was never claimed.
    pub seq: Option<u64>,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// The recipient, as the ledger knows it.
    pub recipient: Arc<str>,
    /// The same for the envelope: an international domain in its ASCII form.
    pub rcpt_to: Arc<str>,
    /// When it was claimed first, milliseconds; none for one that was not, or whose first attempt is not known to have failed.
    pub since_ms: Option<i64>,
    /// The template fields, to be kept in the ledger while the message is deferred.
    pub fields: Fields,
    /// The servers that refused it.
    pub refusals: Refusals,
    /// The message.
    pub content: Arc<[u8]>,
    /// See [`crate::providers::Outgoing::needs_8bit`].
    pub needs_8bit: bool,
    /// See [`crate::providers::Outgoing::needs_smtputf8`].
    pub needs_smtputf8: bool,
}

/// A recipient whose template failed.
#[derive(Debug)]
pub struct RenderFailure {
    /// Its row, for one that was claimed before.
    pub seq: Option<u64>,
    /// Whether it was deferred.
    pub was_deferred: bool,
    /// The recipient.
    pub recipient: Arc<str>,
    /// What failed.
    pub message: String,
}

/// A message on the wire: claimed, without an outcome.
#[derive(Debug)]
pub struct InFlight {
    /// The campaign's index.
    pub campaign: CampaignIx,
    /// The server's index.
    pub lane: LaneIx,
    /// The call of `deliver` that it went with.
    pub call: CallId,
    /// Its row in the ledger.
    pub seq: u64,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// The recipient, for messages.
    pub recipient: Arc<str>,
    /// The template fields.
    pub fields: Fields,
    /// The servers that refused it.
    pub refusals: Refusals,
    /// When it was claimed, milliseconds.
    pub claimed_ms: i64,
    /// When it was claimed first, milliseconds.
    pub since_ms: i64,
}

/// What became of a message, to be written to the ledger.
#[derive(Debug)]
pub struct Settled {
    /// The campaign's index.
    pub campaign: CampaignIx,
    /// Its row; none for a recipient that never was claimed.
    pub seq: Option<u64>,
    /// The recipient.
    pub recipient: Arc<str>,
    /// The server's index; none for what no server's answer led to.
    pub lane: Option<LaneIx>,
    /// Whether it ends a claim, which counts as one without an outcome until this is durable.
    pub is_of_claim: bool,
    /// What became of it.
    pub disposition: Disposition,
    /// The server's reply, or what went wrong.
    pub reply: Option<String>,
}

/// What becomes of a message, with its fields as they are in memory.
pub type Disposition = ledger::Disposition<Fields>;
