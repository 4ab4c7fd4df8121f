//! What a mail that came back says: a report of deliveries, a complaint, an automatic answer, or nothing of the kind. Pure.
//!
//! The forms are tried from the strictest to the loosest: a spam report (RFC 5965), a delivery status notification (RFC 3464,
//! RFC 6533), an automatic answer (RFC 3834), and then the bounces of systems that follow no form, whose words are a table.
//! Whatever a mail holds, reading it takes bounded time and no recursion over what it nests.

pub mod arf;
pub mod auto;
pub mod dsn;
pub mod fields;
pub mod reply;
pub mod unformed;

#[cfg(test)]
mod tests;

use mail_parser::{Encoding, Message, MessageParser, MessagePart, MimeHeaders, PartType};

use fields::Fields;

/// The bytes of a mail that are looked at: reports stand before the copy of the original.
pub const READ_MAX: usize = 512 * 1024;
/// Occurrences of `Content-Type` that are looked at: each level of nesting needs one, and nested parts are freed by recursion.
const TYPES_MAX: usize = 100;
/// How deep a report may stand within forwarded messages.
const DEPTH_MAX: usize = 3;
/// Characters of a text that are searched for a bounce without form.
const TEXT_MAX: usize = 16 * 1024;

/// What kind of mail it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It says what became of a message: a bounce, a delay, a delivery.
    Report,
    /// The recipient, or their provider, calls the message spam (RFC 5965: `abuse`, `fraud` and their like).
    Complaint,
    /// A report of another kind that says nothing of the recipient: a failed authentication, `not-spam`.
    OtherReport,
    /// An automatic answer: an absence, a receipt.
    AutoReply,
    /// A filter asks the sender to prove that somebody is there.
    Challenge,
    /// None of these.
    Other,
}

/// What a mail says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What kind of mail it is.
    pub kind: Kind,
    /// For [`Kind::Report`]: what became of each recipient; for [`Kind::Complaint`] whose complaint it is, where that is told.
    pub recipients: Vec<Recipient>,
    /// The Message-ID of the message that it is about, without angle brackets.
    pub original_id: Option<String>,
    /// Addresses that may be a return path of ours: those that it was sent to, and the envelope sender of the original.
    pub addresses: Vec<String>,
    /// `Subject`, decoded; empty where it has none.
    pub subject: String,
    /// Its own Message-ID, without angle brackets.
    pub id: Option<String>,
    /// When it was written, milliseconds since 1970.
    pub at_ms: Option<i64>,
    /// Whether a program wrote it: it has no sender, or says so.
    pub is_automatic: bool,
    /// Whether it has a sender in its envelope, or its envelope is not known: reports have none (RFC 5321, 4.5.5).
    pub has_sender: bool,
}

/// What became of a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The address, as the report gives it.
    pub address: Option<String>,
    /// What was done.
    pub action: Action,
    /// The status code and the other side's words, in one line.
    pub detail: String,
    /// For [`Action::Failed`]: the address takes no mail and will not.
    pub is_hard: bool,
}

/// What was done with a message for a recipient (RFC 3464, 2.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It was given up.
    Failed,
    /// It is still being tried.
    Delayed,
    /// It reached the mailbox, and nothing more is reported of it.
    Delivered,
    /// It was handed on to something that reports no more.
    HandedOn,
}

/// Reads a mail. `envelope` are the recipients to whom it was handed over, where that is known.
#[must_use]
pub fn read(raw: &[u8], envelope: &[&str]) -> Reading {
    let raw = bounded(raw);
    let header = Fields::of_header(raw);
    let mut addresses: Vec<String> = envelope.iter().map(|address| (*address).to_owned()).collect();
    for name in ["delivered-to", "x-original-to", "envelope-to", "to"] {
        addresses.extend(header.all(name).flat_map(fields::addresses));
    }
    let parsed = MessageParser::default().parse(raw);
    let mut reading = Reading {
        kind: Kind::Other,
        recipients: Vec::new(),
        original_id: None,
        addresses,
        subject: parsed.as_ref().and_then(|message| message.subject()).unwrap_or_default().chars().take(1000).collect(),
        id: header.get("message-id").and_then(fields::message_id),
        at_ms: parsed.as_ref().and_then(|message| message.date()).map(|date| date.to_timestamp().saturating_mul(1000)),
        is_automatic: auto::is_automatic(&header),
        has_sender: !auto::has_null_sender(&header),
    };
    if let Some(message) = &parsed {
        judge(message, &header, &mut reading, 0);
    }
    reading.addresses.truncate(64);
    reading
}

/// The beginning of a mail that is looked at.
fn bounded(raw: &[u8]) -> &[u8] {
    let raw = &raw[..raw.len().min(READ_MAX)];
    let word = b"content-type";
    let mut types =
        memchr::memchr2_iter(b'c', b'C', raw).filter(|at| raw.get(*at..at + word.len()).is_some_and(|is| is.eq_ignore_ascii_case(word)));
    types.nth(TYPES_MAX).map_or(raw, |at| &raw[..at])
}

fn judge(message: &Message<'_>, header: &Fields, reading: &mut Reading, depth: usize) -> bool {
    if let Some(original) = original(message) {
        reading.original_id = original.get("message-id").and_then(fields::message_id);
        reading.addresses.extend(original.all("return-path").flat_map(fields::addresses));
    }
    if arf::read(message, header, reading) || dsn::read(message, reading) {
        return true;
    }
    let text = text(message);
    if let Some(kind) = auto::read(header, &text) {
        reading.kind = kind;
        return true;
    }
    if unformed::read(header, &text, reading) {
        return true;
    }
    // A person forwards a bounce, or a bounce bounced.
    if depth < DEPTH_MAX {
        for part in &message.parts {
            let Some(raw) = inner_raw(message, part).filter(|_| holds_report(part)) else { continue };
            let within = Fields::of_header(raw);
            let inner = MessageParser::default().parse(raw);
            if inner.is_some_and(|inner| judge(&inner, &within, reading, depth + 1)) {
                reading.addresses.extend(within.all("to").chain(within.all("delivered-to")).flat_map(fields::addresses));
                return true;
            }
        }
    }
    false
}

/// Whether a message within this one is a report.
fn holds_report(part: &MessagePart<'_>) -> bool {
    const TYPES: &[&str] = &["delivery-status", "global-delivery-status", "feedback-report"];
    matches!(&part.body, PartType::Message(inner) if inner.parts.iter().take(8).any(|part| is_of_type(part, TYPES)))
}

/// The bytes of a message within this one, which must be the outermost of what was parsed.
fn inner_raw<'a>(message: &'a Message<'_>, part: &'a MessagePart<'_>) -> Option<&'a [u8]> {
    match &part.body {
        PartType::Message(inner) if part.encoding != Encoding::None => Some(inner.raw_message()),
        PartType::Message(_) => {
            let (from, to) = (usize::try_from(part.offset_body).ok()?, usize::try_from(part.offset_end).ok()?);
            message.raw_message().get(from..to.max(from))
        }
        _ => None,
    }
}

/// Whether a part is `message/` one of these.
fn is_of_type(part: &MessagePart<'_>, subtypes: &[&str]) -> bool {
    part.content_type().is_some_and(|kind| {
        kind.ctype().eq_ignore_ascii_case("message")
            && kind.subtype().is_some_and(|subtype| subtypes.iter().any(|wanted| subtype.eq_ignore_ascii_case(wanted)))
    })
}

/// The content of a part as text.
fn content(part: &MessagePart<'_>) -> String {
    match &part.body {
        PartType::Text(text) | PartType::Html(text) => text.to_string(),
        PartType::Binary(bytes) | PartType::InlineBinary(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        PartType::Message(inner) => String::from_utf8_lossy(inner.raw_message()).into_owned(),
        PartType::Multipart(_) => String::new(),
    }
}

/// The header of the message that a report is about, where a part holds it.
fn original(message: &Message<'_>) -> Option<Fields> {
    message.parts.iter().skip(1).find_map(|part| match &part.body {
        PartType::Message(_) => inner_raw(message, part).map(Fields::of_header),
        _ if is_of_type(part, &["rfc822", "global", "rfc822-headers", "global-headers", "delivery-status-headers"]) => {
            Some(Fields::of_header(content(part).as_bytes()))
        }
        _ if part
            .content_type()
            .is_some_and(|kind| kind.subtype().is_some_and(|subtype| subtype.eq_ignore_ascii_case("rfc822-headers"))) =>
        {
            Some(Fields::of_header(content(part).as_bytes()))
        }
        _ => None,
    })
}

/// What a person would read of a mail: its first texts.
fn text(message: &Message<'_>) -> String {
    let mut text = String::new();
    for position in 0..message.text_body_count().min(3) {
        if let Some(body) = message.body_text(position) {
            text.push_str(&body);
            text.push('\n');
        }
    }
    // A multipart whose boundary is not there, or another than it says.
    if text.trim().is_empty()
        && let Some(whole) = message.parts.first()
    {
        text = content(whole);
    }
    let end = text.char_indices().nth(TEXT_MAX).map_or(text.len(), |(at, _)| at);
    text.truncate(end);
    text
}
