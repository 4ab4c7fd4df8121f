//! What servers and vendors answer, and whom it is about: a table, and the look-up in it. Pure.
//!
//! A refusal's stage says little: Postfix holds back its objections to the client, its name and the sender until RCPT
//! (`smtpd_delay_reject`; RFC 5321, 3.3 allows it), and vendors judge the sender after the content. So words and enhanced codes
//! come first, in the order of the table, and what is in no line says nothing about the recipient.
//!
//! - `words`: the answer's words, without the addresses and names that servers quote.
//! - `line`: what a line of the table is.
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
#[cfg(test)]
mod tests;
mod words;

pub use self::line::{Cause, Line};
use self::words::Words;
use super::{Answer, Fault, Meaning, Scope, Stage};
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

/// The enhanced status codes of an address that takes no mail and will not (RFC 3463, 3.2): no such mailbox, no such host, an address
/// that cannot be one, a mailbox that moved away, a domain that takes no mail (RFC 7505).
const OF_NO_MAILBOX: &[&str] = &["5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10"];

/// Whether a permanent refusal of a recipient says that the address takes no mail and will not: by its enhanced code or, where it has
/// none, by words that are known for it.
#[must_use]
pub fn is_of_no_mailbox(reply: &str) -> bool {
    says_no_mailbox(reply) == Some(true)
}

/// The same; `None` where there is no enhanced code, and the words are not known.
#[must_use]
pub fn says_no_mailbox(reply: &str) -> Option<bool> {
    let is_code = |word: &&str| {
        let mut parts = word.split('.');
        let is_number =
            |part: Option<&str>| part.is_some_and(|part| !part.is_empty() && part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit()));
        is_number(parts.next()) && is_number(parts.next()) && is_number(parts.next()) && parts.next().is_none()
    };
    let mut words =
        reply.split(|c: char| c.is_whitespace() || matches!(c, '-' | '(' | ')' | '[' | ']' | ',' | ';' | ':' | '#' | '"' | '`'));
    let code = reply.get(..3).and_then(|code| code.parse().ok()).filter(|code| (500..600).contains(code)).unwrap_or(0);
    if let Some(enhanced) = words.find(is_code) {
        return Some(OF_NO_MAILBOX.contains(&enhanced));
    }
    let answer = Answer { stage: Stage::Recipient, code, enhanced: None, words: reply, sender: "", recipient: "" };
    cause_of(&answer, &Words::of(&answer)).map(|cause| recipient::OF_NO_MAILBOX.contains(&cause.title))
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
