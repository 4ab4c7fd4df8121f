//! What campaigns say: templates of a customer, fields of an audience that anybody may have filled, and pages that are inspected.

#![allow(clippy::missing_panics_doc)] // What does not hold is a panic.

use std::sync::LazyLock;

use jiff::Timestamp;
use mail_parser::{Message, MessageParser};

use crate::{
    audience::Recipient,
    inspect,
    message::{Content, RenderContext, Template},
    properties::failed,
    resources::campaign::{Header, Mailbox},
};

const ID: &str = "00112233445566778899aabbccddeeff@news.example.com";
/// The longest line of a message, without its end (RFC 5322, 2.1.1).
const LINE_MAX: usize = 998;
/// The fields of a message of [`fields`], in their order.
const FIELDS: &[&str] = &["From", "To", "Subject", "Date", "Message-ID", "List-Unsubscribe", "X-Campaign", "MIME-Version", "Content-Type"];

fn content(text: Option<&str>) -> Content {
    let from = Mailbox { name: Some("Example News".to_owned()), address: "news@news.example.com".to_owned() };
    Content { text: text.map(Into::into), ..Content::bare(from, "Hello") }
}

fn context(message_id: &str) -> RenderContext<'_> {
    RenderContext { message_id, date: Timestamp::UNIX_EPOCH, campaign: "spring", senders: None, link: None }
}

/// The message of a recipient, which is the same each time, and fit for every server.
fn rendered(template: &Template, recipient: &Recipient) -> Option<Vec<u8>> {
    let first = template.render(recipient, &context(ID)).ok()?;
    let whole = first.content.whole().into_owned();
    let again = template.render(recipient, &context(ID));
    assert!(again.is_ok_and(|again| again.content.whole() == whole), "it is another message the second time");
    assert!(first.needs_8bit || whole.is_ascii(), "bytes above 127 without a word");
    for line in whole.split_inclusive(|byte| *byte == b'\n') {
        let Some(line) = line.strip_suffix(b"\r\n") else { failed(&format!("a line ends without CRLF: {line:?}")) };
        assert!(line.len() <= LINE_MAX && !line.contains(&b'\r') && !line.contains(&0), "{:?}", String::from_utf8_lossy(line));
    }
    Some(whole)
}

/// Templates: the first letter says where it stands (`h`tml, `m`jml, `s`ubject, a field `x`, the text).
pub fn templates(data: &[u8]) {
    static RECIPIENT: LazyLock<Result<Recipient, String>> = LazyLock::new(|| {
        let fields = r#"{"email":"ann@example.com","name":"Ann <b>","a":[1],"b":[2,"x"],"deep":[[[[[[1]]]]]],"x":{"x":{"y":[1,2]}},"long":"x y z","not":null}"#;
        Recipient::from_json(fields)
    });
    let Some((place, template)) = data.split_first() else { return };
    let template = String::from_utf8_lossy(template);
    let mut content = content(Some("Hello"));
    match place {
        b'h' => (content.html, content.text) = (Some((*template).into()), None),
        b'm' => (content.mjml, content.text) = (Some((*template).into()), None),
        b's' => content.subject = template.into_owned(),
        b'x' => content.headers.push(Header { name: "X-A".to_owned(), value: template.into_owned() }),
        _ => content.text = Some((*template).into()),
    }
    let template = match Template::compile(&content) {
        Ok(template) => template,
        Err(faults) => {
            assert!(!faults.is_empty(), "it is refused, and nobody is told why");
            return;
        }
    };
    if let Ok(recipient) = &*RECIPIENT
        && let Some(message) = rendered(&template, recipient)
    {
        parsed(&message, |message| {
            let names: Vec<&str> = message.headers().iter().map(mail_parser::Header::name).collect();
            assert!(names.starts_with(&["From", "To", "Subject", "Date", "Message-ID"]), "{names:?}");
        });
    }
}

fn parsed(message: &[u8], look: impl FnOnce(&Message<'_>)) {
    let parsed = MessageParser::default().parse(message);
    assert!(parsed.is_some(), "nobody can read {:?}", String::from_utf8_lossy(message));
    if let Some(parsed) = &parsed {
        look(parsed);
    }
}

/// Fields that an audience brings, in every place in which a template may print them: none gets out of its header field, its element or
/// its attribute, and the message has the parts and the sender that it always has.
pub fn fields(data: &[u8]) {
    static TEMPLATE: LazyLock<Option<Template>> = LazyLock::new(|| {
        let html = "<html><body><p title=\"{{ name }}\" class='{{ name }}'>Dear {{ name }}</p><a href=\"https://example.com/?q={{ name|urlencode }}\">x</a></body></html>";
        let content = Content {
            from: Mailbox { name: Some("{{ name }}".to_owned()), address: "news@news.example.com".to_owned() },
            subject: "Hello {{ name }}".to_owned(),
            html: Some(html.into()),
            headers: vec![Header { name: "X-Campaign".to_owned(), value: "to {{ name }}".to_owned() }],
            unsubscribe_url: Some("https://example.com/u/{{ name|urlencode }}".to_owned()),
            preheader: Some("For {{ name }}".to_owned()),
            ..content(Some("Dear {{ name }}"))
        };
        Template::compile(&content).ok()
    });
    let Some(template) = &*TEMPLATE else { failed("the template does not compile") };
    let name = String::from_utf8_lossy(data);
    let json = serde_json::json!({"email": "ann@example.com", "name": name}).to_string();
    let Ok(recipient) = Recipient::from_json(&json) else { failed(&json) };
    let Some(message) = rendered(template, &recipient) else { return };
    parsed(&message, |message| {
        let names: Vec<&str> = message.headers().iter().map(mail_parser::Header::name).collect();
        // A field whose value is empty is left out.
        let mut rest = FIELDS.iter();
        assert!(names.iter().all(|name| rest.any(|known| known.eq_ignore_ascii_case(name))), "{names:?} of {name:?}");
        let address = |list: Option<&mail_parser::Address<'_>>| {
            let addresses: Vec<_> =
                list.into_iter().flat_map(|list| list.iter()).filter_map(|one| one.address()).map(str::to_owned).collect();
            addresses.join(" ")
        };
        assert!(address(message.from()) == "news@news.example.com", "{:?} of {name:?}", message.from());
        assert!(address(message.to()) == "ann@example.com", "{:?} of {name:?}", message.to());
        assert!(message.text_body_count() == 1 && message.html_body_count() == 1 && message.attachment_count() == 0, "{name:?}");
        let html = message.body_html(0).unwrap_or_default();
        let count = |sign: char| html.matches(sign).count();
        // The preheader's element is there only where it says something.
        assert!(matches!((count('<'), count('>')), (8, 8) | (10, 10)), "{html}");
        assert!(html.contains("</a></body></html>"), "{html}");
        let attributes = html.split("<p title=").nth(1).and_then(|rest| rest.split('>').next()).unwrap_or_default();
        assert!(attributes.matches('"').count() == 2 && attributes.matches('\'').count() == 2, "{attributes}");
    });
}

/// A page as `mailfleet check` inspects it: the same concerns each time, in their order, and none of them a page long.
pub fn inspected(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let message = inspect::Message { subject: text.lines().next().unwrap_or_default(), text: &text, html: Some(&text) };
    let concerns = inspect::inspect(&message);
    assert!(concerns.is_sorted(), "{concerns:?}");
    assert!(concerns.iter().all(|concern| concern.what.chars().count() <= 400), "{concerns:?}");
    assert!(concerns == inspect::inspect(&message), "other concerns the second time");
}
