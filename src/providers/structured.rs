//! A message taken apart, for vendors that take no MIME: fields, bodies and attachments, with nothing lost.
//!
//! Header fields that a vendor writes itself (Date, MIME-Version, Content-*) are left to it.

use mail_parser::{Address, Message, MessageParser, MessagePart, MimeHeaders, PartType};

use super::Outgoing;

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
    /// Decoded.
    pub content: Vec<u8>,
    /// The id by which HTML refers to it, without angle brackets.
    pub content_id: Option<String>,
    /// Whether it is shown within the text.
    pub is_inline: bool,
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
        let message = MessageParser::default().parse(&outgoing.content[..]).ok_or_else(|| unreadable("cannot be read"))?;
        let from = mailboxes(message.from()).into_iter().next().ok_or_else(|| unreadable("has no From"))?;
        let to_name =
            mailboxes(message.to()).into_iter().find(|to| to.address.eq_ignore_ascii_case(&outgoing.rcpt_to)).and_then(|to| to.name);
        let text: String = message
            .text_bodies()
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
            attachments: message.attachments().enumerate().map(|(number, part)| attachment(part, number)).collect(),
            message_id: message.message_id().unwrap_or_default().to_owned(),
        })
    }

    /// The same for a vendor that takes no message without a body.
    ///
    /// # Errors
    /// Why it cannot be sent, as a reply for the ledger.
    pub fn with_body(outgoing: &Outgoing, vendor: &str) -> Result<Self, String> {
        let read = Self::read(outgoing)?;
        if read.text.is_none() && read.html.is_none() {
            return Err(format!("550 5.6.0 not sent: {vendor} takes no message without a body"));
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
        |kind| format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or("octet-stream")),
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
        content,
        content_id: part.content_id().map(|id| id.trim_matches(['<', '>']).to_owned()),
        is_inline: is_inline && part.content_id().is_some(),
    }
}
