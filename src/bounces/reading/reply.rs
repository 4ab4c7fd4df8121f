//! Replies and status codes in texts, and whether they say that an address takes no mail and will not. Pure.
//!
//! A wrong hard bounce costs a reader, and a missed one a further try: whatever is not certainly about the recipient alone is soft.

use crate::providers::{Answer, Stage, Status, says_takes_none};

/// Bytes of a text that are judged.
const WORDS_MAX: usize = 1000;
/// Characters of a detail (as `Event::detail` has them).
const DETAIL_MAX: usize = 250;

/// A reply of a server within a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// The SMTP code, 400 to 559.
    pub code: Option<u16>,
    /// The enhanced code.
    pub status: Option<Status>,
    /// Everything from the code on.
    pub words: &'a str,
}

/// The first reply in a text: one with both codes if there is one.
#[must_use]
pub fn reply_in(text: &str) -> Option<Reply<'_>> {
    let text = cut(text, WORDS_MAX * 4);
    let mut first = None;
    for (at, code) in codes(text) {
        let rest = text[at + 3..].trim_start_matches([' ', '-', ',', ':', '#', '(', '\n', '\r', '\t']);
        let status = Status::parse(rest).filter(|status| u16::from(status.class) == code / 100);
        let reply = Reply { code: Some(code), status, words: cut(&text[at..], WORDS_MAX) };
        if status.is_some() {
            return Some(reply);
        }
        first = first.or(Some(reply));
    }
    let status = words(text).filter_map(|(at, word)| {
        let status = Status::parse(word.trim_start_matches(['(', '[', '#', '<', ':'])).filter(|status| status.class != 2)?;
        Some(Reply { code: None, status: Some(status), words: cut(&text[at..], WORDS_MAX) })
    });
    match (first, status.into_iter().next()) {
        (Some(reply), Some(found))
            if found.status.is_some_and(|status| Some(u16::from(status.class)) == reply.code.map(|code| code / 100)) =>
        {
            Some(Reply { status: found.status, ..reply })
        }
        (Some(reply), _) => Some(reply),
        (None, found) => found,
    }
}

/// Where three digits stand alone that may be a code of a refusal (RFC 5321, 4.2.1).
fn codes(text: &str) -> impl Iterator<Item = (usize, u16)> + '_ {
    let bytes = text.as_bytes();
    memchr::memchr2_iter(b'4', b'5', bytes).filter_map(move |at| {
        let digits = bytes.get(at..at + 3)?;
        let is_number = digits.iter().all(u8::is_ascii_digit) && digits[1] <= b'5';
        let before = at.checked_sub(1).map(|at| bytes[at]);
        let (after, then) = (bytes.get(at + 3), bytes.get(at + 4));
        let is_apart = before.is_none_or(|b| !b.is_ascii_alphanumeric() && !matches!(b, b'.' | b'-' | b'+' | b'/' | b'_' | b'@' | b'='))
            && after.is_none_or(|b| {
                matches!(b, b' ' | b'-' | b'\r' | b'\n' | b'\t' | b',' | b':' | b')' | b']' | b'\'' | b'"')
                    || *b == b'.' && then.is_none_or(|b| !b.is_ascii_digit())
            });
        let code = std::str::from_utf8(digits).ok()?.parse().ok()?;
        (is_number && is_apart).then_some((at, code))
    })
}

fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let start = text.as_ptr().addr();
    text.split_whitespace().map(move |word| (word.as_ptr().addr() - start, word))
}

/// The beginning of a text, at most this many bytes.
#[must_use]
pub fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Whether a permanent failure says that the address takes no mail and will not.
///
/// `status` is that of the report, `text` the words about the recipient; both may be absent or say little.
#[must_use]
pub fn is_hard(status: Option<Status>, text: &str, recipient: &str, sender: &str) -> bool {
    // Several lines of one reply each repeat the code.
    let text = cut(text, WORDS_MAX * 2);
    let reply = reply_in(text);
    let told = reply.and_then(|reply| reply.status);
    if status.is_some_and(|status| status.class != 5) || told.is_some_and(|status| status.class != 5) {
        return false;
    }
    if reply.and_then(|reply| reply.code).is_some_and(|code| code < 500) {
        return false;
    }
    // What the server said counts more than what the report makes of it.
    let judged = told.filter(|told| !told.is_generic()).or(status.filter(|status| !status.is_generic()));
    if judged.is_some_and(Status::is_not_of_the_address) || [told, status].into_iter().flatten().any(|status| status.subject == 7) {
        return false;
    }
    let lower = cut(text, WORDS_MAX).to_lowercase();
    if NOT_OF_THE_ADDRESS.iter().any(|words| lower.contains(words)) {
        return false;
    }
    let stage = if STAGES_OF_MAIL.iter().any(|words| lower.contains(words)) { Stage::Mail } else { Stage::Recipient };
    let code = reply.and_then(|reply| reply.code).unwrap_or(550);
    let enhanced = judged.map(|status| status.to_string());
    let words = reply.filter(|reply| reply.code.is_some()).map_or(text, |reply| reply.words.get(3..).unwrap_or_default());
    let words = cut(words.trim_start(), WORDS_MAX);
    let answer = Answer { stage, code, enhanced: enhanced.as_deref(), words, sender, recipient };
    says_takes_none(&answer) == Some(true)
}

/// Whether a line's reply is known to have another reason than that the address takes no mail.
#[must_use]
pub fn is_other(line: &str, recipient: &str, sender: &str) -> bool {
    let Some(reply) = reply_in(line) else { return false };
    let code = reply.code.unwrap_or(550);
    let enhanced = reply.status.map(|status| status.to_string());
    let words = cut(reply.words.get(3..).unwrap_or_default().trim_start(), WORDS_MAX);
    let answer = Answer { stage: Stage::Recipient, code, enhanced: enhanced.as_deref(), words, sender, recipient };
    says_takes_none(&answer) == Some(false)
}

/// The reply is one to MAIL, in the words of Postfix, Exim and qmail.
const STAGES_OF_MAIL: &[&str] =
    &["(in reply to mail from", "after mail from", "after pipelined mail from", "[mail_from]", "mail from command"];

/// Whatever else a text says: that it was given up because of time, or that it went in a circle.
const NOT_OF_THE_ADDRESS: &[&str] = &[
    "timed out",
    "timeout",
    "too long in the queue",
    "in the queue too long",
    "in queue too long",
    "retry time not reached",
    "retry timeout exceeded",
    "connection refused",
    "too many hops",
    "mail loop",
    "loops back",
    "mail forwarding loop",
];

/// Words for a person: one line without what could forge it, at most 250 characters.
#[must_use]
pub fn detail(status: Option<Status>, text: &str) -> String {
    let has_code = reply_in(text).is_some_and(|reply| reply.status.is_some());
    let status = status.filter(|_| !has_code).map(|status| format!("{status} ")).unwrap_or_default();
    let words = crate::providers::readable(cut(text, WORDS_MAX)).collect::<String>();
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = format!("{status}{words}");
    line.trim().chars().take(DETAIL_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_and_versions_and_addresses_are_none() {
        for (text, code, status) in [
            ("550 5.1.1 <u@example.com>: no", Some(550), Some("5.1.1")),
            ("host a[192.0.2.5] said: 550-5.1.1 gone", Some(550), Some("5.1.1")),
            ("said: 550 Unknown user (#5.5.0)", Some(550), Some("5.5.0")),
            ("ERROR_CODE :550, ERROR_CODE :5.1.1 <u@x.example>", Some(550), Some("5.1.1")),
            ("sorry (#5.1.1 - chkusr)", None, Some("5.1.1")),
            ("Exim 4.92.3 at port 587, 192.0.2.550, 4500 bytes, 599, a-550, x.550.y", None, None),
            ("on 2026-11-29 at 4:50", None, None),
            ("452 4.2.2 full", Some(452), Some("4.2.2")),
            ("550", Some(550), None),
        ] {
            let found = reply_in(text);
            assert_eq!(
                (found.and_then(|r| r.code), found.and_then(|r| r.status).map(|s| s.to_string())),
                (code, status.map(str::to_owned)),
                "{text}"
            );
        }
        for bad in ["", "5", "5.1", "5.1.1.1", "3.1.1", "5.8.1", "5.1.1000", "x5.1.1"] {
            assert_eq!(Status::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_what_is_certainly_of_the_address_is_hard() {
        let hard = |status: &str, text: &str| is_hard(Status::parse(status), text, "u@example.com", "bounce-x@b.example");
        for (status, text) in [
            ("5.1.1", ""),
            ("5.1.1", "550 5.1.1 <u@example.com>: Recipient address rejected: User unknown"),
            ("5.0.0", "550 No such user here"),
            ("5.0.0", "550 5.1.1 anything"),
            ("5.1.10", "550 5.1.10 RESOLVER.ADR.RecipientNotFound"),
            ("5.3.0", "553 5.3.0 <u@example.com>... No such user here"),
            ("5.2.1", "550 5.2.1 The email account that you tried to reach is disabled"),
            ("", "550 5.1.1 User unknown"),
            ("", "Sorry, no mailbox here by that name. (#5.1.1)"),
        ] {
            assert!(hard(status, text), "{status} {text}");
        }
        for (status, text) in [
            ("", ""),
            ("4.1.1", "550 5.1.1 User unknown"),
            ("5.1.1", "450 4.1.1 User unknown"),
            ("5.7.1", "550 5.7.1 no such user"),
            ("5.1.1", "550 5.7.1 User unknown, or so"),
            ("5.2.2", "552 5.2.2 Mailbox full"),
            ("5.1.1", "550 5.1.1 mailbox is full"),
            ("5.4.1", "550 5.4.1 Recipient address rejected: Access denied"),
            ("5.4.4", "Host or domain name not found"),
            ("5.0.0", "550 Message rejected as spam"),
            ("5.1.1", "550 5.1.1 blocked using zen.spamhaus.org"),
            ("5.1.8", "550 5.1.8 bad sender"),
            ("5.0.0", "550 5.1.1 User unknown (in reply to MAIL FROM command)"),
            ("5.0.0", "550 <bounce-x@b.example> no such user"),
            ("5.1.0", "Address rejected"),
            ("5.2.1", "550-5.2.1 The user you are trying to contact is receiving mail too quickly"),
            ("5.6.0", "554 5.6.0 no such user"),
            ("5.3.4", "552 5.3.4 no such user, message too big"),
            ("2.1.5", "user unknown"),
            ("", "retry timeout exceeded: unknown user"),
        ] {
            assert!(!hard(status, text), "{status} {text}");
        }
    }
}
