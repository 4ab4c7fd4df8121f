//! What is sent to no server of any type. Pure.

use super::{Blocker, Outcome, Outgoing, Refusal, Scope};
use crate::meta::Reason;

/// The longest address that is sent, in bytes (RFC 5321, 4.5.3.1: 64 and 255, and the `@`).
pub const ADDRESS_BYTES_MAX: usize = 320;

/// The outcome of a message whose envelope is invalid; none when it can be sent.
#[must_use]
pub fn unsendable(message: &Outgoing) -> Option<Outcome> {
    for (address, is_recipient) in [(&message.rcpt_to, true), (&message.mail_from, false)] {
        let what = if is_recipient { "recipient" } else { "sender" };
        let rejected = |reply: String| {
            if is_recipient {
                return Some(Outcome::rejected(reply));
            }
            // The same for all recipients: it must be final for none of them.
            let cause =
                format!("Sending failed: {}. Correct the campaign's from.address.", reply.trim_start_matches("553 5.1.3 not sent: "));
            let cause = Blocker::passing(Reason::SenderRefused, cause).for_person();
            Some(Refusal::permanent(Scope::Sender, reply).because(cause).into())
        };
        let has_forbidden = address.bytes().any(|byte| byte < 0x20 || matches!(byte, b'<' | b'>' | 0x7f));
        if has_forbidden || address.chars().any(char::is_control) || is_recipient && address.is_empty() {
            return rejected(format!("553 5.1.3 not sent: the {what} is not an address"));
        }
        if address.len() > ADDRESS_BYTES_MAX {
            return rejected(format!("553 5.1.3 not sent: the {what} is longer than {ADDRESS_BYTES_MAX} bytes"));
        }
    }
    None
}
