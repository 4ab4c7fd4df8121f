//! A message as people read it: its fields, its bodies, and the files with it.

use mail_parser::MimeHeaders as _;

use crate::message::Rendered;

/// A message, taken apart for people.
pub(in crate::cli) struct Parts {
    pub headers: Vec<(String, String)>,
    pub text: String,
    pub html: Option<String>,
}

/// The fields that are shown first, in this order; those that the campaign adds follow.
const SHOWN: &[&str] = &["From", "Reply-To", "To", "Subject", "List-Unsubscribe", "List-Unsubscribe-Post"];
/// Fields that are not shown: of the real message they are others, or they say how it is encoded.
const NOT_SHOWN: &[&str] = &["Date", "Message-ID", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"];

impl Parts {
    /// Takes a message apart.
    pub fn of(rendered: &Rendered) -> Option<Self> {
        Self::read(&rendered.content.whole())
    }

    /// The same without what it shares with others, the bytes of its files: each has its line, and is empty.
    pub fn without_files(rendered: &Rendered) -> Option<Self> {
        Self::read(rendered.content.own())
    }

    fn read(content: &[u8]) -> Option<Self> {
        let message = mail_parser::MessageParser::default().parse(content)?;
        let first = SHOWN.iter().filter_map(|name| Some(((*name).to_owned(), shown(&message, name)?)));
        let is_left = |name: &str| !SHOWN.iter().chain(NOT_SHOWN).any(|known| known.eq_ignore_ascii_case(name));
        let others = message.headers().iter().filter(|field| is_left(field.name.as_str())).filter_map(|field| {
            let part = |from: u32, to: u32| content.get(from as usize..to as usize).map(String::from_utf8_lossy);
            let name = part(field.offset_field, field.offset_start)?;
            let value = part(field.offset_start, field.offset_end)?;
            Some((name.trim_end_matches([':', ' ']).to_owned(), decoded(&one_line(&value))))
        });
        let lines = |text: std::borrow::Cow<'_, str>| text.replace("\r\n", "\n");
        Some(Self {
            headers: first.chain(others).chain(files(&message)).collect(),
            text: message.body_text(0).map(lines).unwrap_or_default(),
            html: message.html_bodies().next().filter(|part| part.is_text_html()).and_then(|_| message.body_html(0)).map(lines),
        })
    }
}

/// The files of a message, each in a line.
fn files(message: &mail_parser::Message<'_>) -> Vec<(String, String)> {
    let named = message.parts.iter().filter_map(|part| Some((part, part.attachment_name()?)));
    let line = |(part, name): (&mail_parser::MessagePart<'_>, &str)| {
        let kind = part.content_type().map_or("", |kind| kind.ctype());
        let of = part.content_type().and_then(|kind| kind.subtype()).unwrap_or_default();
        let size = in_words(part.contents().len());
        match part.content_id() {
            Some(id) => ("Inline".to_owned(), format!("{name} ({kind}/{of}, {size}), shown as cid:{}", id.trim_matches(['<', '>']))),
            None => ("Attachment".to_owned(), format!("{name} ({kind}/{of}, {size})")),
        }
    };
    named.map(line).collect()
}

/// A size as people read it.
fn in_words(bytes: usize) -> String {
    match bytes {
        0..=999 => format!("{bytes} bytes"),
        1_000..=999_999 => format!("{} kB", bytes.div_ceil(1_000)),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000),
    }
}

fn shown(message: &mail_parser::Message<'_>, name: &str) -> Option<String> {
    let mailboxes = |address: &mail_parser::Address<'_>| {
        let one = |mailbox: &mail_parser::Addr<'_>| {
            let address = mailbox.address().unwrap_or_default();
            mailbox.name().map_or_else(|| address.to_owned(), |name| format!("{name} <{address}>"))
        };
        address.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    match name {
        "From" => message.from().map(mailboxes),
        "Reply-To" => message.reply_to().map(mailboxes),
        "To" => message.to().map(mailboxes),
        "Subject" => message.subject().map(str::to_owned),
        _ => message.header_raw(name).map(one_line),
    }
}

/// A field's value with its encoded words (RFC 2047) as people read them.
fn decoded(value: &str) -> String {
    let field = format!("Subject: {value}\r\n\r\n");
    let read = mail_parser::MessageParser::default().parse_headers(field.as_bytes());
    read.and_then(|read| read.subject().map(str::to_owned)).unwrap_or_else(|| value.to_owned())
}

/// A field's value without its folding.
fn one_line(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}
