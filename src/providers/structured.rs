//! A message taken apart, for vendors that take no MIME: fields, bodies and attachments, with nothing lost.
//!
//! Header fields that a vendor writes itself (Date, MIME-Version, Content-*) are left to it.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mail_parser::{Address, Message, MessageParser, MessagePart, MimeHeaders, PartType};

use super::Outgoing;
use crate::meta::{Pieces, pieces::Shared};

/// What stands in for a shared part while a message is read; its number follows.
const SHARED: &[u8] = b"a shared part of mailfleet: ";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// The name that people see.
    pub name: Option<String>,
    /// Without angle brackets.
    pub address: String,
}

/// A file in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    pub name: String,
    pub content_type: String,
    pub content: FileContent,
    /// The id by which HTML refers to it, without angle brackets.
    pub content_id: Option<String>,
    /// Whether it is shown within the text.
    pub is_inline: bool,
}

/// The bytes of a file in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileContent {
    /// Decoded.
    Own(Vec<u8>),
    /// As all messages of a campaign hold it: in lines of base64.
    Shared(Arc<Shared>),
}

impl FileContent {
    /// In base64, without line ends.
    #[must_use]
    pub fn base64(&self) -> String {
        match self {
            Self::Own(bytes) => STANDARD.encode(bytes),
            Self::Shared(shared) => {
                let mut text = String::with_capacity(shared.bytes().len());
                let lines = shared.bytes().split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
                // It is ASCII.
                lines.for_each(|line| text.push_str(std::str::from_utf8(line).unwrap_or_default()));
                text
            }
        }
    }
}

/// A message taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Structured {
    /// Who people see as the sender.
    pub from: Mailbox,
    /// The mailboxes of Reply-To.
    pub reply_to: Vec<Mailbox>,
    /// The recipient: the envelope's address, with its name from the To field.
    pub to: Mailbox,
    /// Decoded.
    pub subject: String,
    /// The text body, decoded.
    pub text: Option<String>,
    /// The HTML body, decoded.
    pub html: Option<String>,
    /// Every other field, in its order: unfolded, and encoded as it was (RFC 2047), so that it is ASCII.
    pub headers: Vec<(String, String)>,
    pub attachments: Vec<Attachment>,
    /// The Message-ID, without angle brackets.
    pub message_id: String,
}

/// Fields that have a member of their own, or that the vendor writes.
const OWN: &[&str] = &["from", "to", "cc", "bcc", "subject", "reply-to", "message-id", "date", "mime-version", "return-path", "sender"];

impl Structured {
    /// Takes a message apart.
    ///
    /// # Errors
    /// Why it cannot be, as a reply for the ledger.
    pub fn read(outgoing: &Outgoing) -> Result<Self, String> {
        let unreadable = |what: &str| format!("550 5.6.0 not sent: the message {what}");
        let content = with_stand_ins(&outgoing.content);
        let message = MessageParser::default().parse(&content[..]).ok_or_else(|| unreadable("cannot be read"))?;
        let from = mailboxes(message.from()).into_iter().next().ok_or_else(|| unreadable("has no From"))?;
        let to_name =
            mailboxes(message.to()).into_iter().find(|to| to.address.eq_ignore_ascii_case(&outgoing.rcpt_to)).and_then(|to| to.name);
        let text: String = message
            .text_bodies()
            .filter(|part| stands_in_for(part).is_none())
            .filter_map(|part| if let PartType::Text(text) = &part.body { Some(text.as_ref()) } else { None })
            .collect();
        let html: String = message
            .html_bodies()
            .filter_map(|part| if let PartType::Html(html) = &part.body { Some(html.as_ref()) } else { None })
            .collect();
        Ok(Self {
            from,
            reply_to: mailboxes(message.reply_to()),
            to: Mailbox { name: to_name, address: outgoing.rcpt_to.to_string() },
            subject: message.subject().unwrap_or_default().to_owned(),
            text: Some(text).filter(|text| !text.is_empty()),
            html: Some(html).filter(|html| !html.is_empty()),
            headers: other_headers(&message),
            attachments: attachments(&message, &outgoing.content),
            message_id: message.message_id().unwrap_or_default().to_owned(),
        })
    }

    /// Why a vendor that shows no files within the text cannot carry it, as a reply for the ledger.
    ///
    /// # Errors
    /// When the HTML shows a file that goes with it.
    pub fn without_inline(&self, vendor: &str) -> Result<(), String> {
        if self.attachments.iter().any(|file| file.is_inline) {
            return Err(format!("550 5.6.0 not sent: {vendor} does not accept inline images"));
        }
        Ok(())
    }

    /// The same for a vendor that takes no message without a body.
    ///
    /// # Errors
    /// Why it cannot be sent, as a reply for the ledger.
    pub fn with_body(outgoing: &Outgoing, vendor: &str) -> Result<Self, String> {
        let read = Self::read(outgoing)?;
        if read.text.is_none() && read.html.is_none() {
            return Err(format!("550 5.6.0 not sent: {vendor} does not accept a message without a body"));
        }
        Ok(read)
    }

    /// A name and an address in the syntax of RFC 5322, for vendors that take them so; the name is not encoded.
    #[must_use]
    pub fn full(mailbox: &Mailbox) -> String {
        match &mailbox.name {
            None => mailbox.address.clone(),
            Some(name) => {
                let quoted: String = name.chars().flat_map(|c| if matches!(c, '"' | '\\') { vec!['\\', c] } else { vec![c] }).collect();
                format!("\"{quoted}\" <{}>", mailbox.address)
            }
        }
    }
}

/// The first Message-ID of a message, without taking it apart; without angle brackets.
#[must_use]
pub fn message_id(content: &[u8]) -> String {
    let head = content.split(|byte| *byte == b'\n').take_while(|line| !line.trim_ascii().is_empty());
    let mut is_next = false;
    for line in head {
        let line = String::from_utf8_lossy(line);
        let value = match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("message-id") => value,
            _ if is_next => &line,
            _ => continue,
        };
        let value = value.trim();
        is_next = value.is_empty();
        if !is_next {
            return value.trim_start_matches('<').trim_end_matches('>').to_owned();
        }
    }
    String::new()
}

fn mailboxes(address: Option<&Address<'_>>) -> Vec<Mailbox> {
    let list = address.map(|address| address.clone().into_list()).unwrap_or_default();
    let mailbox = |addr: mail_parser::Addr<'_>| {
        let name = addr.name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        Some(Mailbox { name, address: addr.address?.into_owned() })
    };
    list.into_iter().filter_map(mailbox).collect()
}

fn other_headers(message: &Message<'_>) -> Vec<(String, String)> {
    let is_other = |name: &str| !OWN.contains(&name.to_ascii_lowercase().as_str()) && !name.to_ascii_lowercase().starts_with("content-");
    let unfolded = |value: &str| value.split(['\r', '\n']).map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    // As they are written: the parser normalizes the names that it knows.
    let raw = |from: u32, to: u32| {
        let bytes = message.raw_message().get(from as usize..to as usize).unwrap_or_default();
        String::from_utf8_lossy(bytes).into_owned()
    };
    let fields =
        message.headers().iter().map(|field| (raw(field.offset_field, field.offset_start), raw(field.offset_start, field.offset_end)));
    let fields = fields.map(|(name, value)| (name.trim_end_matches([':', ' ', '\t']).to_owned(), unfolded(&value)));
    fields.filter(|(name, _)| is_other(name)).collect()
}

/// A message with its shared parts by their numbers: what is in them is not read for each message.
fn with_stand_ins(content: &Pieces) -> std::borrow::Cow<'_, [u8]> {
    if content.shared().len() == 0 {
        return content.whole();
    }
    let (own, mut whole, mut start) = (content.own(), Vec::with_capacity(content.own().len() + 512), 0);
    for (number, (at, _)) in content.inserts().enumerate() {
        whole.extend_from_slice(&own[start..at]);
        whole.extend_from_slice(STANDARD.encode([SHARED, number.to_string().as_bytes()].concat()).as_bytes());
        whole.extend_from_slice(b"\r\n");
        start = at;
    }
    whole.extend_from_slice(&own[start..]);
    whole.into()
}

/// The number of the shared part that this one stands for.
fn stands_in_for(part: &MessagePart<'_>) -> Option<usize> {
    std::str::from_utf8(part.contents().strip_prefix(SHARED)?).ok()?.parse().ok()
}

/// The files of a message, each once: an invitation stands beside text and HTML as well, where its type says more.
fn attachments(message: &Message<'_>, content: &Pieces) -> Vec<Attachment> {
    let own = message.attachments().filter(|part| stands_in_for(part).is_none());
    let mut found: Vec<Attachment> = own.enumerate().map(|(number, part)| attachment(part, number)).collect();
    let shared: Vec<&Arc<Shared>> = content.shared().collect();
    for part in &message.parts {
        let Some(file) = stands_in_for(part).and_then(|number| shared.get(number)) else { continue };
        let read = Attachment { content: FileContent::Shared((*file).clone()), ..attachment(part, found.len()) };
        match found.iter_mut().find(|known| matches!(&known.content, FileContent::Shared(known) if Arc::ptr_eq(known, file))) {
            Some(invitation) if invitation.content_type.starts_with("text/calendar") => invitation.name = read.name,
            _ => found.push(read),
        }
    }
    found
}

fn attachment(part: &MessagePart<'_>, number: usize) -> Attachment {
    let content_type = part.content_type().map_or_else(
        || {
            if part.is_text_html() {
                "text/html".to_owned()
            } else if part.is_text() {
                "text/plain".to_owned()
            } else {
                "application/octet-stream".to_owned()
            }
        },
        |kind| {
            let essence = format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or("octet-stream")).to_ascii_lowercase();
            // By its method an invitation is one.
            let method = kind.attribute("method").filter(|_| essence == "text/calendar");
            method.map_or(essence.clone(), |method| format!("{essence}; charset=utf-8; method={method}"))
        },
    );
    let is_inline =
        part.content_disposition().is_some_and(mail_parser::ContentType::is_inline) || matches!(part.body, PartType::InlineBinary(_));
    let content = match &part.body {
        PartType::Message(message) => message.raw_message().to_vec(),
        _ => part.contents().to_vec(),
    };
    Attachment {
        name: part.attachment_name().map_or_else(|| format!("attachment-{}", number + 1), str::to_owned),
        content_type,
        content: FileContent::Own(content),
        content_id: part.content_id().map(|id| id.trim_matches(['<', '>']).to_owned()),
        is_inline: is_inline && part.content_id().is_some(),
    }
}
