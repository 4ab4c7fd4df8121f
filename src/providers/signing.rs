//! Who signs the messages of a type of server. Pure.

use crate::dkim::Fields;

/// Who signs what a server carries (DKIM).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signing {
    /// Mailfleet does, with the server's keys; these header fields are covered.
    Ours(&'static Fields),
    /// The server's keys have no effect: why, as a sentence without its full stop.
    Theirs(&'static str),
}

/// For vendors that take no finished message.
pub const MADE_BY_VENDOR: Signing = Signing::Theirs("the vendor makes the message from its parts, and signs it itself");
/// For vendors that take a message apart and write it anew.
pub const REWRITTEN: Signing = Signing::Theirs("the vendor rebuilds the message, which breaks every signature, and signs it itself");
/// For vendors that are told to track who opens a message or follows its links.
pub const TRACKED: Signing =
    Signing::Theirs("the vendor changes links and images to track opens or clicks, which breaks every signature, and signs itself");
