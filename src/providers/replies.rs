//! What servers and vendors answer, and whom it is about: a table, and the look-up in it. Pure.
//!
//! A refusal's stage says little: Postfix holds back its objections to the client, its name and the sender until RCPT
//! (`smtpd_delay_reject`; RFC 5321, 3.3 allows it), and vendors judge the sender after the content. So words and enhanced codes
//! come first, in the order of the table, and what is in no line says nothing about the recipient.
//!
//! - `words`: the answer's words, without the addresses and names that servers quote.
//! - `line`: what a line of the table is.
//! - `status`: enhanced status codes.
//! - `sender`, `client`, `account`, `rate`, `content`, `recipient`, `service`: the lines, each with its source.
//!
//! Only refusals are looked up, so that an accepted message costs nothing here.

mod account;
mod client;
mod content;
mod line;
mod rate;
mod recipient;
mod sender;
mod service;
mod status;
#[cfg(test)]
mod tests;
mod words;

use self::words::Words;
pub use self::{
    line::{Cause, Line},
    status::{Status, codes_before},
};
use super::{Answer, Fault, Meaning, Scope};
use crate::meta::Reason;

/// All causes, in the order in which they are looked up.
///
/// Lines about a sender, a client or an account come before those about a recipient, since the former are said with the
/// codes of the latter, and hardly ever the other way round.
pub const TABLE: &[&[Cause]] = &[
    recipient::FIRST,
    content::FIRST,
    sender::CAUSES,
    client::CAUSES,
    account::CAUSES,
    rate::CAUSES,
    content::CAUSES,
    recipient::CAUSES,
    service::CAUSES,
    sender::CODES,
    client::CODES,
    content::CODES,
    recipient::CODES,
    service::CODES,
];

fn cause_of(answer: &Answer<'_>, words: &Words) -> Option<&'static Cause> {
    TABLE.iter().copied().flatten().find(|cause| cause.lines.iter().any(|line| line.fits(answer, words)))
}

/// What an answer means, where its code or its words are known.
#[must_use]
pub fn meaning(answer: &Answer<'_>) -> Option<Meaning> {
    let words = Words::of(answer);
    let meaning = cause_of(answer, &words)?.meaning;
    // "No such user" about the sender alone is about the sender: a server that verifies both uses the same words.
    if meaning.fault == Fault::Refused(Scope::Recipient) && words.quotes_sender_only() {
        return Some(sender::UNKNOWN.meaning);
    }
    Some(meaning)
}

/// Whether an answer says that the address takes no mail and will not: no such mailbox, no such domain, a mailbox that is closed for
/// good. `None` where neither its code nor its words are known, or where they leave it open.
#[must_use]
pub fn says_takes_none(answer: &Answer<'_>) -> Option<bool> {
    let status = answer.enhanced.and_then(Status::parse);
    if answer.code / 100 == 4 || status.is_some_and(|status| status.class == 4 || status.is_not_of_the_address()) {
        return Some(false);
    }
    let takes_none = meaning(answer)?.takes_none;
    // RFC 5321, 4.2.3: no such mailbox, no access, or policy.
    let is_open = answer.words.to_lowercase().contains("mailbox unavailable") && status.is_none_or(|status| status.subject != 1);
    (!takes_none || !is_open).then_some(takes_none)
}

/// What a refusal of MAIL means that is in no line: this server does not accept this sender.
#[must_use]
pub fn unknown_of_mail() -> Meaning {
    Meaning {
        fault: Fault::Refused(Scope::Sender),
        reason: Reason::SenderRefused,
        advice: "Have the server accept the campaign's from.address (or identity.returnPath).",
        needs_person: true,
        retry_after: None,
        ends_session: false,
        takes_none: false,
    }
}
