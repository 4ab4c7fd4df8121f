//! What comes back after a message was accepted: bounces, complaints, deliveries and unsubscriptions, as the facts that they are.
//!
//! Whoever takes feedback in (a webhook, a bounce listener, a mailbox, the unsubscribe page) reads it into an [`Event`]; the ledger
//! matches it to a message, counts it and suppresses the recipient where the event says so. Pure.

use std::sync::Arc;

use crate::meta::Key;

/// One thing that happened to a message or a recipient after the message was handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// Which message it is about, as far as the sender of the feedback says.
    pub message: MessageIdentity,
    /// The recipient's address as the feedback gives it; the ledger knows it when the message is known.
    pub recipient: Option<Arc<str>>,
    /// When it happened, milliseconds since 1970; absent where the feedback does not say.
    pub at_ms: Option<i64>,
    /// The sender's own identity of the event, by which the same event delivered twice counts once; absent where it has none.
    pub id: Option<String>,
    /// The enhanced status code (RFC 3463) or reply code and the other side's words, at most 250 characters, without secrets.
    pub detail: String,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// The receiving server took it (a vendor's word; RFC 3464 `Action: delivered`).
    Delivered,
    /// It was not delivered, for a reason that may pass, or one that says nothing of the recipient (5.7.x, content, reputation).
    SoftBounce,
    /// The recipient's address takes no mail and will not: no such mailbox, no such domain.
    HardBounce,
    /// The recipient, or their provider, reported it as spam (RFC 5965).
    Complaint,
    /// The recipient asked for no more mail.
    Unsubscribed,
}

/// What identifies the message of an event, from the most exact to the least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageIdentity {
    /// A token of our own, authenticated: its row in the ledger.
    Reference(MessageReference),
    /// A vendor's id of the message, as its reply had it when it was accepted by this server.
    VendorId {
        /// The `SendingServer`.
        server: Key,
        /// The id.
        id: String,
    },
    /// Its Message-ID, without angle brackets.
    MessageId(String),
    /// Nothing but the recipient is known.
    Nothing,
}

/// The row of a message in a ledger. It fits into the local part of an address (VERP) and into a vendor's metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MessageReference {
    /// Which ledger: a random number that it was born with, so that another's feedback is not taken for ours.
    pub ledger: u32,
    /// The run's number in the ledger.
    pub run: u32,
    /// The partition of the run.
    pub partition: u16,
    /// The message's number in the partition.
    pub seq: u32,
}
