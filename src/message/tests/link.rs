//! Links by which people unsubscribe: ours, one's own, and what templates may print of them.

use super::*;
use crate::message::{Link, fields_named, missing_fields};

const LINK: &str = "https://news.example.com/u/v1/abc";

fn made(content: &Content, recipient: &Recipient, url: Option<&str>) -> Result<String, RenderError> {
    rendered(content, recipient, url.map(|url| Link { url, mailto: None }))
}

fn rendered(content: &Content, recipient: &Recipient, link: Option<Link<'_>>) -> Result<String, RenderError> {
    let template = Template::compile(content).expect("good");
    let date = jiff::Timestamp::UNIX_EPOCH;
    let context = RenderContext { message_id: ID, date, campaign: "spring", senders: None, link };
    template.render(recipient, &context).map(|rendered| String::from_utf8(rendered.content.whole().into_owned()).expect("UTF-8"))
}

/// Everything that a message says, unfolded and decoded, as far as these tests need it.
fn said(message: &str) -> String {
    message.replace("=\r\n", "").replace("=3D", "=")
}

#[test]
fn our_link_is_in_the_header_and_wherever_a_template_prints_it() {
    let content = Content {
        html: Some("<a href=\"{{ unsubscribe_url }}\">Leave</a>".into()),
        headers: vec![header("X-Leave", "{{ unsubscribe_url }}")],
        one_click: true,
        ..content()
    };
    assert!(Template::compile(&content).expect("good").needs_link());
    let message = said(&made(&content, &ann(), Some(LINK)).expect("a message"));
    let field = format!("\r\nList-Unsubscribe: <{LINK}>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n");
    assert!(message.contains(&field), "{message}");
    assert!(message.contains(&format!("\r\nX-Leave: {LINK}\r\n")), "{message}");
    assert!(message.contains(&format!("Leave ({LINK})")), "the text: {message}");
    let html = message.replace("&#x2f;", "/");
    assert!(html.contains(&format!("<a href=\"{LINK}\">Leave</a>")), "{html}");

    // RFC 8058 knows https alone.
    let message = made(&content, &ann(), Some("http://127.0.0.1:8080/u/v1/abc")).expect("a message");
    assert!(message.contains("\r\nList-Unsubscribe: <http://127.0.0.1:8080/u/v1/abc>\r\n"), "{message}");
    assert!(!message.contains("List-Unsubscribe-Post"), "{message}");
}

#[test]
fn an_address_stands_beside_our_page_and_no_other() {
    let link = Some(Link { url: LINK, mailto: Some("mailto:unsubscribe@b.example?subject=abc") });
    let ours = Content { text: Some("{{ unsubscribe_url }}".into()), one_click: true, ..content() };
    let message = rendered(&ours, &ann(), link).expect("a message");
    let both = format!(
        "\r\nList-Unsubscribe: <{LINK}>,\r\n <mailto:unsubscribe@b.example?subject=abc>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    );
    assert!(message.contains(&both) && message.ends_with(&format!("\r\n\r\n{LINK}\r\n")), "{message}");
    let page = Content { unsubscribe_url: Some("https://x.example/".to_owned()), ..ours };
    assert!(rendered(&page, &ann(), link).expect("a message").contains("List-Unsubscribe: <https://x.example/>\r\n"));
}

#[test]
fn nothing_is_made_without_the_link_that_it_needs() {
    let content = Content { text: Some("Hello".into()), one_click: true, ..content() };
    let long = format!("https://x.example/{}", "a".repeat(950));
    for (link, told) in
        [(None, "this recipient has no unsubscribe link"), (Some("x"), "it must come out as"), (Some(&*long), "longer than 950 characters")]
    {
        let error = made(&content, &ann(), link).expect_err("no link");
        assert!(error.path == "spec.unsubscribe.oneClick" && error.message.contains(told), "{error}");
    }
    let without = Content { one_click: false, ..content };
    assert!(!Template::compile(&without).expect("good").needs_link());
    assert!(!made(&without, &ann(), Some(LINK)).expect("a message").contains("List-Unsubscribe"));
}

#[test]
fn ones_own_page_is_the_link_too_and_a_field_of_that_name_comes_first() {
    let page = |url: &str| Content {
        text: Some("Leave: {{ unsubscribe_url }}".into()),
        unsubscribe_url: Some(url.to_owned()),
        one_click: true,
        ..content()
    };
    let message = made(&page("https://x.example/ä?u={{ name }}"), &ann(), Some(LINK)).expect("a message");
    assert!(
        message.contains("<https://x.example/%C3%A4?u=Ann>") && message.contains("Leave: https://x.example/%C3%A4?u=Ann\r\n"),
        "{message}"
    );
    let own = recipient(&[("name", "Ann"), ("unsubscribe_url", "https://y.example/1")]);
    let message = made(&page("{{ unsubscribe_url }}"), &own, Some(LINK)).expect("a message");
    assert!(message.contains("<https://y.example/1>") && message.contains("Leave: https://y.example/1\r\n"), "{message}");
    let error = made(&page("{{ unsubscribe_url }}"), &ann(), Some(LINK)).expect_err("it cannot name itself");
    assert_eq!(error.path, "spec.unsubscribe.url");
}

#[test]
fn a_template_that_prints_a_link_that_is_not_there_is_a_fault() {
    let faults = |content: &Content, known: &[&str]| {
        let named = fields_named(content);
        missing_fields(&named, known, true).into_iter().map(|fault| format!("{}: {}", fault.path, fault.message)).collect::<Vec<_>>()
    };
    let content = Content { text: Some("\n{{ unsubscribe_url }}".into()), ..content() };
    let told = faults(&content, &["email", "name"]);
    assert!(
        matches!(&told[..], [one] if one.starts_with("spec.content.text: line 2: `unsubscribe_url` is the unsubscribe link") && one.contains("oneClick")),
        "{told:?}"
    );
    assert_eq!(faults(&content, &["email", "name", "unsubscribe_url"]), Vec::<String>::new(), "the audience has it");
    let ours = Content { one_click: true, ..content.clone() };
    assert_eq!(faults(&ours, &["email", "name"]), Vec::<String>::new());
    let page = Content { unsubscribe_url: Some("https://x.example/{{ unsubscribe_url }}".into()), ..content.clone() };
    let told = faults(&page, &["email", "name"]);
    assert!(matches!(&told[..], [one] if one.starts_with("spec.unsubscribe.url: line 1: the audience has no field")), "{told:?}");
    let optional = Content { text: Some("{% if unsubscribe_url %}{{ unsubscribe_url }}{% endif %}".into()), ..content };
    assert_eq!(faults(&optional, &["email", "name"]), Vec::<String>::new());
    assert!(!made(&optional, &ann(), None).expect("a message").contains("http"));
}
