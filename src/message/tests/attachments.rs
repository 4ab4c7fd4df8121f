//! Files that go with messages: how they stand in them, their names, and their bounds.

use std::sync::Arc;

use super::{content, recipient, try_render};
use crate::message::{Attachment, Content, FILE_MAX, FileBytes, Template};

fn file(filename: &str, inline: Option<&str>, bytes: &[u8]) -> Attachment {
    let file = Some(FileBytes::new(Arc::from(bytes)));
    Attachment { filename: filename.to_owned(), content_type: None, inline: inline.map(str::to_owned), file }
}

fn with(attachments: Vec<Attachment>) -> Content {
    Content { text: Some("Hi".into()), html: Some("<p>Hi</p>".into()), attachments, ..content() }
}

/// The types of a message's parts in their order, with the ends of those that hold others.
fn shape(message: &str) -> Vec<&str> {
    let lines = message.lines().filter_map(|line| line.strip_prefix("Content-Type: ").or_else(|| line.strip_prefix("--=_")));
    lines
        .filter(|line| line.ends_with("--") || line.contains('/'))
        .map(|line| line.trim_end_matches(';'))
        .map(|line| if line.ends_with("--") { "end" } else { line })
        .collect()
}

#[test]
fn files_stand_around_what_the_html_shows_and_that_around_the_text() {
    let invitation = b"BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\n";
    let text = "text/plain; charset=utf-8";
    let html = "text/html; charset=utf-8";
    let cases: [(Vec<Attachment>, &[&str]); 4] = [
        (vec![file("a.pdf", None, b"x")], &["multipart/mixed", "multipart/alternative", text, html, "end", "application/pdf", "end"]),
        (vec![file("a.png", Some("a"), b"x")], &["multipart/related", "multipart/alternative", text, html, "end", "image/png", "end"]),
        (
            vec![file("a.png", Some("a"), b"x"), file("a.pdf", None, b"x")],
            &[
                "multipart/mixed",
                "multipart/related",
                "multipart/alternative",
                text,
                html,
                "end",
                "image/png",
                "end",
                "application/pdf",
                "end",
            ],
        ),
        (
            vec![file("a.ics", None, invitation)],
            &["multipart/mixed", "multipart/alternative", text, html, "text/calendar", "end", "application/ics", "end"],
        ),
    ];
    for (attachments, wanted) in cases {
        let rendered = try_render(&with(attachments), &recipient(&[("name", "Ann")])).expect("a message");
        let whole = rendered.content.whole().into_owned();
        let message = String::from_utf8(whole).expect("ASCII");
        assert_eq!(shape(&message), wanted, "{message}");
    }
}

#[test]
fn all_messages_share_the_encoded_file() {
    let content = with(vec![file("{{ name }}.bin", None, &vec![7; 100_000])]);
    let template = Template::compile(&content).expect("good");
    let context = crate::message::RenderContext {
        message_id: "1@x.example",
        date: jiff::Timestamp::UNIX_EPOCH,
        campaign: "c",
        senders: None,
        link: None,
    };
    let made = |name: &str| template.render(&recipient(&[("name", name)]), &context).expect("a message").content;
    let (one, other) = (made("Ann"), made("J\u{f6}rg"));
    assert!(one.shared().zip(other.shared()).all(|(one, other)| Arc::ptr_eq(one, other)) && one.shared().len() == 1);
    assert!(one.own().len() < 2_000 && one.len() > 130_000 && template.attached_bytes() == (one.len() - one.own().len()) as u64);
    assert!(template.cost() > 130_000, "what is held for a campaign counts");
}

#[test]
fn names_are_safe_and_readable() {
    let long = "\u{e4}".repeat(300) + ".pdf";
    for (name, wanted) in [
        ("a b.pdf", "; filename=\"a b.pdf\""),
        ("J\u{f6}rg.pdf", "; filename*=utf-8''J%C3%B6rg.pdf"),
        ("../../etc/\\x.pdf", "; filename=\"_.._etc__x.pdf\""),
        ("a\"b\r\nX: y.pdf", "; filename=\"a\\\"b X_ y.pdf\""),
        ("", "; filename=\"attachment\""),
        (&long, "; filename*0*=utf-8''%C3%A4"),
    ] {
        let rendered = try_render(&with(vec![file("{{ name }}", None, b"x")]), &recipient(&[("name", name)])).expect("a message");
        let message = String::from_utf8(rendered.content.whole().into_owned()).expect("ASCII");
        let head = message.replace(";\r\n ", "; ");
        assert!(head.contains(wanted), "{name:?}: {head}");
        assert!(message.lines().all(|line| line.len() <= 78), "{message}");
        let read = mail_parser::MessageParser::default().parse(message.as_bytes()).expect("a message");
        let read = mail_parser::MimeHeaders::attachment_name(read.attachments().next().expect("a file")).expect("a name").to_owned();
        assert!(read.chars().count() <= 200 && !read.contains(['/', '\\', '\r', '\n']), "{read}");
    }
}

#[test]
fn what_cannot_be_attached_is_a_fault() {
    let faults = |attachments: Vec<Attachment>| {
        let faults = Template::compile(&with(attachments)).err().unwrap_or_default();
        faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let typed = |content_type: &str| Attachment { content_type: Some(content_type.to_owned()), ..file("a", None, b"") };
    let large = vec![0; FILE_MAX];
    for (attachments, wanted) in [
        (
            vec![file("a", Some("x"), b""), file("b", Some("x"), b"")],
            "spec.content.attachments[1].inline: another attachment has the id `x`",
        ),
        (vec![file("{{ a", None, b"")], "spec.content.attachments[0].filename: "),
        (vec![file(" . ", None, b"")], "spec.content.attachments[0].filename: the file has no name"),
        (vec![typed("nothing")], "spec.content.attachments[0].contentType: `nothing` is not a media type"),
        (vec![file("a", None, &[&large[..], b"x"].concat())], "spec.content.attachments[0]: the file is larger than 25 MiB"),
        (
            vec![file("a", None, &large), file("b", None, &large)],
            "spec.content.attachments[1]: all attachments together are larger than 28 MiB",
        ),
    ] {
        let said = faults(attachments);
        assert!(said.starts_with(wanted), "{said}");
    }
}

/// The ledger keeps a hash of this text: without attachments it is what it was before there were any.
#[test]
fn a_content_without_attachments_reads_as_it_did() {
    let plain = Content { attachments: Vec::new(), ..content() };
    assert!(format!("{plain:?}").ends_with("unsubscribe_url: None, one_click: false }"));
    let attached = format!("{:?}", with(vec![file("a", None, b"x")]));
    assert!(attached.contains("attachments: [Attachment") && attached.contains("1 bytes"), "{attached}");
    assert_ne!(attached, format!("{:?}", with(vec![file("a", None, b"y")])));
}
