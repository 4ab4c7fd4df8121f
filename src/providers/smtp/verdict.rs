//! What a reply to MAIL, RCPT or the content means for the message and for the server. Pure.

use std::time::Duration;

use super::{extensions::Extensions, failure::Place, failure::is_throttling, reply::Reply};
use crate::{
    providers::{Failure, Outcome, Outgoing, envelope},
    resources::Reason,
};

/// The end of a message that cannot be sent to a server with these extensions; none when it can.
///
/// Content that needs 8BITMIME is deferred where a server lacks it: the pick that follows may find one that has it,
/// and the server itself is not at fault.
#[must_use]
pub fn unsendable(message: &Outgoing, extensions: &Extensions) -> Option<Outcome> {
    let rejected = |reply: String| Some(Outcome::rejected(reply));
    if let Some(outcome) = envelope::unsendable(message) {
        return Some(outcome);
    }
    if needs_smtputf8(message) && !extensions.has_smtputf8 {
        return rejected("550 5.6.7 not sent: the address needs SMTPUTF8, which the server does not offer".to_owned());
    }
    if message.needs_8bit && !extensions.has_8bitmime {
        let reply = "451 5.6.3 not sent: the content needs 8BITMIME, which the server does not offer".to_owned();
        return Some(Outcome::deferred(reply, Some(Duration::ZERO)));
    }
    match extensions.size_max {
        Some(max) if message.content.len() as u64 > max => {
            rejected(format!("552 5.3.4 not sent: {} bytes, and the server takes {max} at most", message.content.len()))
        }
        _ => None,
    }
}

/// Whether the message must be announced with SMTPUTF8 (RFC 6531, 3.4).
#[must_use]
pub fn needs_smtputf8(message: &Outgoing) -> bool {
    message.needs_smtputf8 || !message.recipient.is_ascii() || !message.mail_from.is_ascii()
}

/// MAIL was refused: that is about us, unless it is about the message's size.
#[must_use]
pub fn mail(reply: Reply<'_>, place: &Place) -> Outcome {
    if reply.code == 552 || reply.enhanced() == Some("5.3.4") {
        return Outcome::rejected(reply.kept());
    }
    let what = format!("the server answered MAIL FROM with `{}`", reply.quoted());
    Outcome::ServerFailed(match reply.code {
        400..=499 => place.sending(Reason::Throttled, &what, "It is tried again; if this lasts, lower limits.rates."),
        500..=504 | 555 => place.sending(Reason::ProtocolError, &what, "The server does not follow SMTP; ask its operator."),
        530 | 534 | 535 | 538 => {
            for_person(place.sending(Reason::AuthenticationFailed, &what, "Give auth with a Secret that the server accepts."))
        }
        _ => for_person(place.sending(
            Reason::SenderRefused,
            &what,
            "Let the server accept the campaign's from.address (or identity.returnPath).",
        )),
    })
}

/// RCPT was refused: that is about the recipient, unless the server says that it does not know us.
#[must_use]
pub fn recipient(reply: Reply<'_>, address: &str, place: &Place) -> Outcome {
    let what = || format!("the server answered RCPT TO with `{}`", reply.quoted());
    match reply.code {
        _ if is_used_up(reply) => Outcome::ServerFailed(place.sending(Reason::QuotaExceeded, &what(), USED_UP)),
        400..=499 => deferred(reply),
        500 | 502 | 503 => {
            Outcome::ServerFailed(place.sending(Reason::ProtocolError, &what(), "The server does not follow SMTP; ask its operator."))
        }
        530 | 534 | 535 | 538 => Outcome::ServerFailed(for_person(place.sending(
            Reason::AuthenticationFailed,
            &what(),
            "Give auth with a Secret that the server accepts.",
        ))),
        _ if refuses_relay(reply, address) => {
            let what = "the server does not relay for us: it refused a recipient with `Relay access denied` or the like";
            Outcome::ServerFailed(for_person(place.sending(
                Reason::SenderRefused,
                what,
                "Log in (auth), or let the server know this machine.",
            )))
        }
        _ => Outcome::rejected(reply.kept()),
    }
}

/// DATA, BDAT or the content was refused: that is about the message, unless the server does not know the command.
#[must_use]
pub fn content(reply: Reply<'_>, place: &Place) -> Outcome {
    match reply.code {
        _ if is_used_up(reply) => {
            let what = format!("the server answered the content with `{}`", reply.quoted());
            Outcome::ServerFailed(place.sending(Reason::QuotaExceeded, &what, USED_UP))
        }
        400..=499 => deferred(reply),
        500..=504 => {
            let what = format!("the server answered the content with `{}`", reply.quoted());
            Outcome::ServerFailed(place.sending(Reason::ProtocolError, &what, "The server does not follow SMTP; ask its operator."))
        }
        _ => Outcome::rejected(reply.kept()),
    }
}

/// 421: the server closes the connection, and takes nothing that it has not accepted (RFC 5321, 3.8).
#[must_use]
pub fn closing(reply: Reply<'_>, place: &Place) -> Failure {
    let what = format!("the server closed the session with `{}`", reply.quoted());
    if is_throttling(reply) {
        return place.sending(Reason::Throttled, &what, "Lower limits.rates, limits.connections or limits.messagesPerConnection.");
    }
    place.sending(Reason::ServiceNotAvailable, &what, "It is tried again; if this lasts, ask the server's operator.")
}

const USED_UP: &str = "Wait until the account may send again, or raise its limit.";

/// Whether the account's quota is used up, as Gmail and Amazon SES say it. That is neither the recipient's fault nor gone by
/// the next attempt.
fn is_used_up(reply: Reply<'_>) -> bool {
    reply.mentions("sending limit exceeded") || reply.mentions("sending quota exceeded") || reply.mentions("daily message quota exceeded")
}

fn for_person(failure: Failure) -> Failure {
    failure.for_person()
}

fn deferred(reply: Reply<'_>) -> Outcome {
    Outcome::deferred(reply.kept(), None)
}

/// Whether the server says, in the words of Postfix, Exim or Sendmail, that it relays for others and not for us.
/// Taken for the recipient's fault it would end every recipient of a campaign. Only the start of the text counts: a
/// verification of one recipient at a next server is quoted further on.
fn refuses_relay(reply: Reply<'_>, address: &str) -> bool {
    let text = String::from_utf8_lossy(reply.text);
    let mut text = text.trim_start();
    if let Some(code) = reply.enhanced() {
        text = text.trim_start_matches(code).trim_start();
    }
    if let Some(rest) = text.strip_prefix('<').and_then(|rest| rest.strip_prefix(address)).and_then(|rest| rest.strip_prefix('>')) {
        text = rest.trim_start_matches([':', '.', ' ']);
    }
    let text = text.to_ascii_lowercase();
    reply.is_permanent()
        && ["relay access denied", "relay not permitted", "relaying denied", "relaying not allowed"].iter().any(|w| text.starts_with(w))
}
