//! What comes back after a message was accepted: bounces, complaints, deliveries and unsubscriptions.
//!
//! Whoever takes feedback in (a webhook, a bounce listener, a mailbox, the unsubscribe page) reads it into [`Event`]s and gives them
//! to the [`Intake`]; the ledger matches them to messages, counts them, and suppresses recipients where they say so. An answer to
//! the other side waits until the events are durable.

mod event;
mod intake;
mod standing;
mod suppression;

pub use event::{Complaints, Event, EventKind, FeedbackCounts, Judged, MessageIdentity, MessageReference};
pub use intake::{Batch, Intake, NotTaken};
pub use standing::{Change, Pause, PauseChange, Returned, Standing};
pub use suppression::{Person, Suppression, SuppressionReason};
