//! What comes out for which content and which data: golden messages, attacks, faults, and Python as a second reader.

mod attachments;
mod cost;
mod guard;
mod headers;
mod hostile;
mod images;
mod link;
mod markup;
mod mjml;
mod named;
mod parts;
mod python;
mod text;
mod variants;
mod words;

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use super::{Content, RenderContext, RenderError, Rendered, Template, message_id};
use crate::{
    audience::Recipient,
    resources::campaign::{Header, Mailbox},
};

const DATE: i64 = 1_796_112_000;
const ID: &str = "00112233445566778899aabbccddeeff@news.example.com";

fn content() -> Content {
    Content::bare(Mailbox { name: Some("Example News".to_owned()), address: "news@news.example.com".to_owned() }, "Hello {{ name }}")
}

fn header(name: &str, value: &str) -> Header {
    Header { name: name.to_owned(), value: value.to_owned() }
}

fn ann() -> Recipient {
    Recipient::from_json(r#"{"email":"ann@example.com","name":"Ann"}"#).expect("good")
}

fn try_render(content: &Content, recipient: &Recipient) -> Result<Rendered, RenderError> {
    let template = Template::compile(content).unwrap_or_else(|faults| panic!("{faults:?}"));
    let date = jiff::Timestamp::from_second(DATE).expect("in range");
    template.render(recipient, &RenderContext { message_id: ID, date, campaign: "spring", senders: None, link: None })
}

fn render(content: &Content, recipient: &Recipient) -> String {
    let rendered = try_render(content, recipient).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(rendered.needs_8bit, !rendered.content.whole().is_ascii());
    String::from_utf8(rendered.content.whole().into_owned()).expect("UTF-8")
}

fn recipient(fields: &[(&str, &str)]) -> Recipient {
    let mut object = serde_json::Map::new();
    object.insert("email".to_owned(), "ann@example.com".into());
    object.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())));
    Recipient::from_json(&serde_json::Value::Object(object).to_string()).expect("good")
}

/// The header section as unfolded lines.
fn headers(message: &str) -> Vec<String> {
    let (head, _) = message.split_once("\r\n\r\n").expect("a body");
    head.replace("\r\n ", " ").split("\r\n").map(str::to_owned).collect()
}

/// Choices that are the same for the same seed (Knuth's LCG).
fn random(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).expect("31 bits") % below
    }
}

#[test]
fn a_message_of_text() {
    let content = Content { text: Some("Hello {{ name }},\nbye.".into()), ..content() };
    let wanted = "From: Example News <news@news.example.com>\r\n\
        To: Ann <ann@example.com>\r\n\
        Subject: Hello Ann\r\n\
        Date: Tue, 1 Dec 2026 08:00:00 +0000\r\n\
        Message-ID: <00112233445566778899aabbccddeeff@news.example.com>\r\n\
        MIME-Version: 1.0\r\n\
        Content-Type: text/plain; charset=utf-8\r\n\
        Content-Transfer-Encoding: 7bit\r\n\
        \r\n\
        Hello Ann,\r\n\
        bye.\r\n";
    assert_eq!(render(&content, &ann()), wanted);
}

#[test]
fn a_message_with_everything() {
    let content = Content {
        from: Mailbox { name: Some("Müller, \"Co\"".to_owned()), address: "news@bücher.example".to_owned() },
        reply_to: Some(Mailbox { name: Some("Help, desk".to_owned()), address: "help@news.example.com".to_owned() }),
        subject: "Grüße, {{ name }}".to_owned(),
        html: Some("<p>Grüße, <b>{{ name }}</b>.\n<a href=\"https://x.example/?u={{ email|urlencode }}\">Read</a></p>\n".into()),
        headers: vec![header("List-Id", "<{{ campaign }}.news.example.com>"), header("X-Empty", "{{ missing | default('') }}")],
        unsubscribe_url: Some("https://x.example/u?e={{ email|urlencode }}".to_owned()),
        one_click: true,
        ..content()
    };
    let message = render(&content, &recipient(&[("name", "Ann <3")]));
    let boundary = message.split_once("boundary=\"").and_then(|(_, rest)| rest.split_once('"')).expect("a boundary").0.to_owned();
    assert!(boundary.starts_with("=_") && boundary.len() == 34);
    let wanted = "From: =?utf-8?Q?M=C3=BCller=2C_=22Co=22?= <news@xn--bcher-kva.example>\r\n\
        Reply-To: \"Help, desk\" <help@news.example.com>\r\n\
        To: \"Ann <3\" <ann@example.com>\r\n\
        Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe=2C_Ann_=3C3?=\r\n\
        Date: Tue, 1 Dec 2026 08:00:00 +0000\r\n\
        Message-ID: <00112233445566778899aabbccddeeff@news.example.com>\r\n\
        List-Unsubscribe: <https://x.example/u?e=ann%40example.com>\r\n\
        List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\
        List-Id: <spring.news.example.com>\r\n\
        MIME-Version: 1.0\r\n\
        Content-Type: multipart/alternative;\r\n boundary=\"BOUNDARY\"\r\n\
        \r\n\
        --BOUNDARY\r\n\
        Content-Type: text/plain; charset=utf-8\r\n\
        Content-Transfer-Encoding: quoted-printable\r\n\
        \r\n\
        Gr=C3=BC=C3=9Fe, Ann <3. Read (https://x.example/?u=3Dann%40example.com)\r\n\
        --BOUNDARY\r\n\
        Content-Type: text/html; charset=utf-8\r\n\
        Content-Transfer-Encoding: quoted-printable\r\n\
        \r\n\
        <p>Gr=C3=BC=C3=9Fe, <b>Ann &lt;3</b>.\r\n\
        <a href=3D\"https://x.example/?u=3Dann%40example.com\">Read</a></p>\r\n\
        --BOUNDARY--\r\n";
    assert_eq!(message.replace(&boundary, "BOUNDARY"), wanted);
    assert_eq!(render(&content, &recipient(&[("name", "Ann <3")])), message, "the same bytes every time");
}

#[test]
fn the_message_id_never_changes() {
    assert_eq!(message_id(42, "default", "spring", "first", "ann@example.com", "news.example.com"), GOLDEN_ID);
    let parts = [
        message_id(43, "default", "spring", "first", "ann@example.com", "news.example.com"),
        message_id(42, "defaults", "pring", "first", "ann@example.com", "news.example.com"),
        message_id(42, "default", "spring", "second", "ann@example.com", "news.example.com"),
        message_id(42, "default", "spring", "first", "bob@example.com", "news.example.com"),
    ];
    for (index, id) in parts.iter().enumerate() {
        assert!(id != GOLDEN_ID && !parts[..index].contains(id));
    }
    assert!(message_id(1, "a", "b", "c", "d", "bücher.example").ends_with("@xn--bcher-kva.example"));
}

const GOLDEN_ID: &str = "20bb7444d414eb189cdc62efbf3a9ef0@news.example.com";

#[test]
fn data_cannot_leave_its_header() {
    let content = Content {
        subject: "{{ x }}".to_owned(),
        text: Some("body".into()),
        headers: vec![header("X-Note", "a {{ x }} b")],
        unsubscribe_url: Some("https://x.example/?{{ x }}".to_owned()),
        one_click: true,
        ..content()
    };
    let attacks = [
        "a\r\nBcc: b@evil.example",
        "a\nBcc: b@evil.example",
        "a\rBcc: b@evil.example",
        "a\r\n\r\n<html>",
        "\r\n.\r\nMAIL FROM:<>",
        "a\0b",
        "a\u{85}Bcc: b",
        "a\u{2028}Bcc: b",
        "a\u{2029}Bcc: b",
        "a\u{b}b\u{c}c",
        "=?utf-8?Q?=0D=0ABcc:_b?=",
        "=?utf-8?B?DQpCY2M6IGI=?=",
        "\" <b@evil.example>, \"",
        "b@evil.example>",
        "b@evil.example,",
        "\\",
        "\\\"",
        "a\\\r\n",
        "(comment",
        "a\r\n\tBcc: b",
        "\u{202e}gro.elpmaxe",
        "{{ 7 * 7 }}",
        "{% raw %}",
        "x>, <https://evil.example",
    ];
    for attack in attacks {
        let message = render(&content, &recipient(&[("name", attack), ("x", attack)]));
        let headers = headers(&message);
        let names: Vec<&str> = headers.iter().map(|line| line.split_once(':').expect("a header").0).collect();
        let wanted = [
            "From",
            "To",
            "Subject",
            "Date",
            "Message-ID",
            "List-Unsubscribe",
            "List-Unsubscribe-Post",
            "X-Note",
            "MIME-Version",
            "Content-Type",
            "Content-Transfer-Encoding",
        ];
        assert_eq!(names, wanted, "{attack:?}: {message}");
        assert!(message.bytes().all(|byte| byte == b'\r' || byte == b'\n' || (b' '..=b'~').contains(&byte)), "{attack:?}: {message}");
        assert_eq!(message.matches('\n').count(), message.matches("\r\n").count(), "{attack:?}");
        assert_eq!(message.matches('\r').count(), message.matches("\r\n").count(), "{attack:?}");
        assert!(message.ends_with("\r\n\r\nbody\r\n"), "{attack:?}: {message}");
        assert!(headers[1].ends_with(" <ann@example.com>"), "{attack:?}: {message}");
        let url = headers[5].strip_prefix("List-Unsubscribe: <").and_then(|rest| rest.strip_suffix('>')).expect("a URL");
        assert!(!url.contains([' ', '<', '>']), "{attack:?}: {url}");
    }
}

#[test]
fn data_cannot_leave_its_html() {
    let html = "<p title=\"{{ name }}\">{{ name }}</p>".to_owned();
    let mjml = format!("<mjml><mj-body><mj-section><mj-column><mj-text>{html}</mj-text></mj-column></mj-section></mj-body></mjml>");
    let text = Some(Arc::<str>::from("plain {{ name }}"));
    for content in
        [Content { html: Some(html.into()), text: text.clone(), ..content() }, Content { mjml: Some(mjml.into()), text, ..content() }]
    {
        let message = render(&content, &recipient(&[("name", "\"><script>alert('x')</script>&")]));
        let html = message.split("Content-Type: text/html").nth(1).expect("an HTML part").replace("=\r\n", "");
        assert!(!html.contains("<script>"), "{html}");
        assert!(html.contains("&lt;script&gt;alert(&#x27;x&#x27;)"), "{html}");
        assert!(message.contains("\r\nplain \"><script>alert('x')</script>&\r\n"), "the text is not escaped: {message}");
    }
}

#[test]
fn line_ends_and_encodings() {
    let long = "x".repeat(999);
    let cases: &[(&str, &str, &str)] = &[
        ("a\nb\r\nc\rd\n\n", "7bit", "a\r\nb\r\nc\r\nd\r\n"),
        ("\n.\n..\nFrom x", "7bit", "\r\n.\r\n..\r\nFrom x\r\n"),
        ("a \t\n=", "7bit", "a \t\r\n=\r\n"),
        ("ä \nb\t\n \n=", "quoted-printable", "=C3=A4=20\r\nb=09\r\n=20\r\n=3D\r\n"),
        ("a\0b", "quoted-printable", "a=00b\r\n"),
        (&long[..998], "7bit", &format!("{}\r\n", &long[..998])),
        (&long, "quoted-printable", &format!("{}{}\r\n", format!("{}=\r\n", &long[..75]).repeat(13), &long[..24])),
        (&format!("{}é", &long[..74]), "quoted-printable", &format!("{}=\r\n=C3=A9\r\n", &long[..74])),
        (&format!("é{} ", &long[..67]), "quoted-printable", &format!("=C3=A9{}=\r\n=20\r\n", &long[..67])),
        ("", "7bit", "\r\n"),
    ];
    for (body, encoding, wanted) in cases {
        let message = render(&Content { text: Some("{{ x }}".into()), ..content() }, &recipient(&[("name", ""), ("x", body)]));
        let (head, written) = message.split_once("\r\n\r\n").expect("a body");
        assert!(head.ends_with(&format!("Content-Transfer-Encoding: {encoding}")), "{body:?}: {head}");
        // A template's own last line break is its file's, and not part of the value.
        assert_eq!(written, if *body == "a\nb\r\nc\rd\n\n" { "a\r\nb\r\nc\r\nd\r\n\r\n" } else { wanted }, "{body:?}");
        assert!(message.split("\r\n").all(|line| line.len() <= 998), "{body:?}");
    }
}

#[test]
fn a_boundary_is_in_no_body() {
    let content = Content { text: Some("{{ x }}".into()), html: Some("<p>x</p>".into()), ..content() };
    let hash = super::hash_of(&content);
    let own = super::id::boundary(hash, 0);
    let message = render(&content, &recipient(&[("name", "Ann"), ("x", &format!("--{own}--"))]));
    assert!(message.contains(&format!("boundary=\"{}\"", super::id::boundary(hash, 1))));
    // Otherwise everybody has the same, and so may share a body.
    let others = ["b", "c"].map(|x| render(&content, &recipient(&[("name", "Ann"), ("x", x)])));
    assert!(others.iter().all(|other| other.contains(&format!("boundary=\"{own}\""))));
}

#[test]
fn long_headers_are_folded() {
    let words = "word ".repeat(60);
    let emoji = "\u{1f600}".repeat(80);
    for (subject, name) in
        [(words.trim(), words.trim()), (&*emoji, "Ann"), (&"y".repeat(900), "Ann"), (&"y".repeat(1200), &*emoji), ("a  b", "a  b")]
    {
        let message = render(
            &Content { subject: "{{ x }}".to_owned(), text: Some("b".into()), ..content() },
            &recipient(&[("x", subject), ("name", name)]),
        );
        let (head, _) = message.split_once("\r\n\r\n").expect("a body");
        for line in head.split("\r\n") {
            assert!(line.len() <= 78 || line.contains(&"y".repeat(900)), "{line}");
            assert!(!line.trim().is_empty());
        }
    }
}

#[test]
fn international_addresses() {
    let text = Some(Arc::<str>::from("b"));
    let to = |address: &str| Recipient::from_json(&format!(r#"{{"email":"{address}","name":"Ann"}}"#)).expect("good");
    let domain = try_render(&Content { text: text.clone(), ..content() }, &to("ann@bücher.example")).expect("renders");
    assert!(!domain.needs_smtputf8 && !domain.needs_8bit);
    assert!(String::from_utf8(domain.content.whole().into_owned()).expect("ASCII").contains("\r\nTo: Ann <ann@xn--bcher-kva.example>\r\n"));
    let local = try_render(&Content { text: text.clone(), ..content() }, &to("jörg@bücher.example")).expect("renders");
    assert!(local.needs_smtputf8 && local.needs_8bit);
    assert!(String::from_utf8(local.content.whole().into_owned()).expect("UTF-8").contains("\r\nTo: Ann <jörg@xn--bcher-kva.example>\r\n"));
    let from = Mailbox { name: None, address: "jörg@example.com".to_owned() };
    assert!(try_render(&Content { from, text, ..content() }, &ann()).expect("renders").needs_smtputf8);
}

#[test]
fn faults_of_content() {
    let base = || Content { text: Some("t".into()), ..content() };
    let mailbox = |address: &str| Mailbox { name: None, address: address.to_owned() };
    let headed = |name: &str, value: &str| Content { headers: vec![header(name, value)], ..base() };
    let cases = [
        (Content { text: None, ..base() }, "spec.content: there is no body: set `html`, `mjml` or `text`"),
        (Content { html: Some("h".into()), mjml: Some("m".into()), ..base() }, "spec.content: `html` and `mjml` are mutually exclusive"),
        (Content { from: mailbox("news"), ..base() }, "spec.from.address: there is no `@` in it"),
        (
            Content { reply_to: Some(mailbox("A <a@b.example>")), ..base() },
            "spec.replyTo.address: put only the address here, without a name and angle brackets",
        ),
        (Content { subject: "{{ name".to_owned(), ..base() }, "spec.subject: line 1: syntax error"),
        (Content { text: Some("a\n{{ name | upperr }}".into()), ..base() }, "spec.content.text: line 2: unknown filter"),
        (Content { html: Some("a\n\n{% if x %}".into()), ..base() }, "spec.content.html: line 3: syntax error"),
        (
            Content { text: Some("{% include 'x' %}".into()), ..base() },
            "spec.content.text: line 1: `{% include %}` reads a part, and the campaign has none",
        ),
        (Content { text: Some("{{ 1 is nosuchtest }}".into()), ..base() }, "spec.content.text: line 1: unknown test"),
        (Content { text: Some("{{ nofunction() }}".into()), ..base() }, "spec.content.text: line 1: unknown function"),
        (Content { text: Some("{{ debug() }}".into()), ..base() }, "spec.content.text: line 1: unknown function"),
        (headed("X A", "v"), "spec.headers[0].name: a header's name has only visible ASCII characters and no colon"),
        (headed("X:A", "v"), "spec.headers[0].name: a header's name has only visible ASCII characters and no colon"),
        (headed("X\r\nBcc", "v"), "a header's name has only visible ASCII characters"),
        (headed("", "v"), "a header's name has 1 to 60 characters"),
        (headed("bcc", "v"), "spec.headers[0].name: this header cannot be set: every recipient"),
        (headed("content-type", "v"), "this header cannot be set: Mailfleet writes it"),
        (headed("DKIM-Signature", "v"), "this header cannot be set"),
        (headed("List-Unsubscribe", "v"), "this header cannot be set: use `spec.unsubscribe`"),
        (headed("X-A", "{{ a b }}"), "spec.headers[0].value: line 1: syntax error"),
        (
            Content { headers: ["X-A", "x-a"].map(|name| header(name, "")).into(), ..base() },
            "spec.headers[1].name: this header is already set",
        ),
        (Content { unsubscribe_url: Some("javascript:x".to_owned()), ..base() }, "spec.unsubscribe.url: the URL must start with https://"),
        (
            Content { mjml: Some("<mjml>\n<mj-body>\n<mj-nothing/></mj-body></mjml>".into()), ..base() },
            "spec.content.mjml: line 3: MJML has no element `mj-nothing`",
        ),
        (
            Content { mjml: Some("<mjml><mj-head>\n{# two\nlines #}<mj-text>x</mj-text></mj-head></mjml>".into()), ..base() },
            "spec.content.mjml: line 3: the element `mj-text` is not allowed there",
        ),
        (
            Content { mjml: Some("<mjml><mj-head>{% if x %}<mj-title>x</mj-title>{% endif %}</mj-head></mjml>".into()), ..base() },
            "spec.content.mjml: line 1: ",
        ),
        (
            Content { mjml: Some("<mjml><mj-body>\n<mj-section foo=\"{{ x }}\"></mj-section></mj-body></mjml>".into()), ..base() },
            "`{{ x }}` is in `foo`",
        ),
        (Content { mjml: Some("<p>x</p>".into()), ..base() }, "spec.content.mjml: "),
        (Content { mjml: Some("<mjml><mj-body>".into()), ..base() }, "spec.content.mjml: "),
        (Content { mjml: Some("<mjml>\n{{ x | nofilter }}</mjml>".into()), ..base() }, "spec.content.mjml: line 2: unknown filter"),
    ];
    for (content, wanted) in cases {
        let faults = Template::compile(&content).expect_err(wanted);
        assert!(faults.iter().any(|fault| fault.to_string().contains(wanted)), "{wanted}: {faults:?}");
    }
    let many = Content { from: mailbox("x"), subject: "{{".to_owned(), text: Some("{%".into()), ..headed("To", "x") };
    assert_eq!(Template::compile(&many).expect_err("faults").len(), 4, "all faults and not only the first");
}

#[test]
fn failures_of_one_recipient() {
    let body = |text: &str| Content { text: Some(text.into()), ..content() };
    let cases = [
        (
            body("a\n{{ city }}"),
            "spec.content.text: line 2: `city` needs a field that the recipient does not have; where it may be missing, write",
        ),
        (body("{{ name.first.second }}"), "first.second` needs a field"),
        (body("{{ nothing }}"), "`nothing` needs a field"),
        (body("{% for x in range(100000) %}{% for y in range(100000) %}{% endfor %}{% endfor %}"), "spec.content.text: line 1: "),
        (body("{% for x in range(9000) %}{{ 'x' * 800 }}{% endfor %}"), "it needs too much computation or prints too much"),
        (body("{% set x = 'x' * 5300000 %}{{ x }}"), "it needs too much computation"),
        (body("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"), "spec.content.text: line 1: "),
        (Content { subject: "{{ 'x' * 20000 }}".to_owned(), ..body("t") }, "spec.subject: it came out longer than 16384 bytes"),
        (Content { unsubscribe_url: Some("{{ name }}".to_owned()), ..body("t") }, "spec.unsubscribe.url: it must come out as an https://"),
        (
            Content { unsubscribe_url: Some("https://{{ 'x' * 2000 }}".to_owned()), ..body("t") },
            "spec.unsubscribe.url: it came out longer than 950",
        ),
    ];
    let ann = Recipient::from_json(r#"{"email":"ann@example.com","name":"Ann","nothing":null}"#).expect("good");
    for (content, wanted) in cases {
        let error = try_render(&content, &ann).expect_err(wanted);
        assert!(error.to_string().contains(wanted), "{wanted}: {error}");
    }
}

#[test]
fn what_templates_see() {
    let see = |template: &str| {
        let json = r#"{"email":"ann@Example.com","name":"Ann","n":3,"list":[1,{"k":"v"}],"null":null,"First Name":"A"}"#;
        let message = render(&Content { text: Some(template.into()), ..content() }, &Recipient::from_json(json).expect("good"));
        message.split_once("\r\n\r\n").expect("a body").1.trim_end().to_owned()
    };
    let cases = [
        ("{{ city | default('friend') }}{{ null | default('-') }}", "friend-"),
        ("{% if city %}a{% else %}b{% endif %}{% if city is defined %}c{% endif %}", "b"),
        ("{{ email }} {{ campaign }} {{ n + 1 }}", "ann@example.com spring 4"),
        ("{{ list[1].k }} {{ list | length }} {{ fields['First Name'] }}", "v 2 A"),
        ("{% for name in fields %}{{ name }},{% endfor %}", "email,name,n,list,null,First Name,"),
        ("{{ name | upper }} {{ '<' }}", "ANN <"),
    ];
    for (template, wanted) in cases {
        assert_eq!(see(template), wanted, "{template}");
    }
}

#[test]
fn mjml_becomes_both_bodies() {
    let mjml = "<mjml><mj-body><mj-section><mj-column><mj-text><p>Hello {{ name }}</p></mj-text>\
        <mj-button href=\"https://x.example/{{ n }}\">Go</mj-button></mj-column></mj-section></mj-body></mjml>";
    let message = render(&Content { mjml: Some(mjml.into()), ..content() }, &recipient(&[("name", "Ann & Bob"), ("n", "7")]));
    assert!(message.contains("\r\n\r\nHello Ann & Bob\r\n\r\nGo (https://x.example/7)\r\n--"), "{message}");
    assert!(message.replace("=\r\n", "").contains("<p>Hello Ann &amp; Bob</p>"), "{message}");
}

/// A template is shared between threads, and an audience is read on another one.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    const fn sent<T: Send>() {}
    shared::<Template>();
    shared::<Recipient>();
    sent::<crate::audience::Reader>();
};

/// No source takes longer; all 20,000 together take about a second in a debug build.
const SOURCE_MAX: Duration = Duration::from_secs(10);

/// Nothing that people or data write may make the converters panic or hang.
#[test]
fn no_source_panics() {
    let pieces = [
        "<",
        ">",
        "</",
        "/>",
        "<p",
        "<p>",
        "</p>",
        "<a href=",
        "\"",
        "'",
        "=",
        " ",
        "\n",
        "&",
        "&amp;",
        "&#x",
        "&#123;",
        ";",
        "<!--",
        "-->",
        "<script>",
        "</script",
        "<head>",
        "<body>",
        "<div hidden>",
        "style=\"display:none\"",
        "{{",
        "}}",
        "{%",
        "%}",
        "{#",
        "#}",
        "{% raw %}",
        "{% endraw %}",
        "{",
        "é",
        "日本",
        "x",
        "if ",
        "<mjml>",
        "<mj-body>",
        "<mj-text>",
        "</mj-text>",
        "</mj-body>",
        "</mjml>",
        "<style>",
        "<mj-style inline=inline>",
        "</mj-style>",
        "#a{b:c}",
        "<pre>",
        "<ol start=3>",
        "<li>",
        "<mj-section>",
        "<mj-column width=",
        "<mj-image />",
        "&eacute",
        "\\",
        "|safe",
    ];
    let mut random = random(1);
    let sources: Vec<String> = (0..20_000).map(|_| (0..random(40)).map(|_| pieces[random(pieces.len())]).collect()).collect();
    let (done, seen) = mpsc::channel();
    let tried = sources.clone();
    // On a thread of its own, so that one that hangs is named.
    let thread = std::thread::spawn(move || {
        for source in tried {
            convert(source);
            done.send(()).expect("the test waits");
        }
    });
    for source in &sources {
        match seen.recv_timeout(SOURCE_MAX) {
            Ok(()) => {}
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("no end within {SOURCE_MAX:?}: {source:?}"),
            Err(mpsc::RecvTimeoutError::Disconnected) => panic!("a panic in {source:?}: {:?}", thread.join()),
        }
    }
}

fn convert(source: String) {
    super::text::from_html(&source);
    super::text::from_template(&source);
    super::text::tidy(source.clone());
    // Most are no MJML; none may be more than refused.
    let _ = super::mjml::to_html(&source, &|_| None);
    let _ = Template::compile(&Content { html: Some(source.into()), ..content() });
}
