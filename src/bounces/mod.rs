//! What comes back by mail: bounces, spam reports, automatic answers, and requests to unsubscribe.
//!
//! - `reading`: what a mail says, without I/O.
//! - `feedback`: from a reading to events, by the return path or the Message-ID that it names, without I/O.
//! - `listener`: a server for SMTP and LMTP that takes such mail, and nothing else.
//! - `mailbox`: a mailbox that is read over IMAP.
//!
//! No mail is ever answered with mail.

pub mod feedback;
pub mod listener;
pub mod mailbox;
pub mod reading;

pub use feedback::Origin;
pub use listener::Listener;
#[cfg(test)]
pub(crate) use reading::read;
