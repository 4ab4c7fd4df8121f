//! Header fields with a grammar, and display names that are templates.

use std::collections::BTreeSet;

use super::{Content, Mailbox, Recipient, Template, content, header, headers, random, recipient, render, try_render};
use crate::{message::header::RESERVED, resources::campaign::Header};

fn body() -> Content {
    Content { subject: "s".to_owned(), text: Some("b".into()), ..content() }
}

#[test]
fn only_text_is_encoded() {
    let cases = [
        ("List-Id", "Zürcher Nachrichten <news.example.ch>", "=?utf-8?Q?Z=C3=BCrcher_Nachrichten?= <news.example.ch>"),
        ("list-id", "\"Zürich \\\"a\\\"\" <news.example.ch>", "=?utf-8?Q?Z=C3=BCrich_=22a=22?= <news.example.ch>"),
        ("List-Id", "News <news.example.ch>", "News <news.example.ch>"),
        ("List-Id", "<spring.example.ch>", "<spring.example.ch>"),
        ("List-Id", "=?utf-8?Q?Z=C3=BC?= <news.example.ch>", "=?utf-8?Q?Z=C3=BC?= <news.example.ch>"),
        ("List-Help", "<https://x.example/hilfe?a=ü> (für alle)", "<https://x.example/hilfe?a=%C3%BC> (=?utf-8?Q?f=C3=BCr_alle?=)"),
        ("List-Archive", "<https://x.example/ä>, <mailto:a@x.example>", "<https://x.example/%C3%A4>, <mailto:a@x.example>"),
        ("List-Post", "NO (größer)", "NO (=?utf-8?Q?gr=C3=B6=C3=9Fer?=)"),
        ("Errors-To", "Zoë <zoe@x.example>, b@bücher.example", "=?utf-8?Q?Zo=C3=AB?= <zoe@x.example>, b@xn--bcher-kva.example"),
        ("Disposition-Notification-To", "\"Müller, A\" <m@x.example>", "=?utf-8?Q?M=C3=BCller=2C_A?= <m@x.example>"),
        ("Keywords", "früh, spring", "=?utf-8?Q?fr=C3=BCh?=, spring"),
        ("In-Reply-To", "<a@x.example>", "<a@x.example>"),
        ("Feedback-ID", "a:b:c:d", "a:b:c:d"),
        ("X-Note", "für <a@x.example>", "=?utf-8?Q?f=C3=BCr_=3Ca=40x=2Eexample=3E?="),
        ("Organization", "Müller", "=?utf-8?Q?M=C3=BCller?="),
    ];
    for (name, value, wanted) in cases {
        let message = render(&Content { headers: vec![header(name, value)], ..body() }, &recipient(&[("name", "Ann")]));
        assert!(headers(&message).contains(&format!("{name}: {wanted}")), "{name}: {value}: {message}");
    }
}

#[test]
fn a_value_that_a_field_cannot_hold_is_a_fault() {
    let cases = [
        ("List-Id", "Zürich", "spec.headers[0].value: `List-Id` needs its id in angle brackets"),
        ("List-Id", "News <zürich.example>", "`List-Id` cannot contain characters outside ASCII, as in `zürich.example`"),
        ("List-Archive", "über https://x.example", "`List-Archive` cannot contain characters outside ASCII"),
        ("Errors-To", "jörg@x.example", "`Errors-To` cannot contain characters outside ASCII"),
        ("Errors-To", "Zoë", "`Errors-To` names `Zoë`, which is not an address"),
        ("References", "<ä@x.example>", "`References` cannot contain characters outside ASCII"),
        ("Feedback-ID", "frühling:x", "`Feedback-ID` cannot contain characters outside ASCII"),
        ("Precedence", "bülk", "`Precedence` cannot contain characters outside ASCII"),
        ("References", &"x".repeat(910), "`References` has a word of more than 900 bytes"),
    ];
    for (name, value, wanted) in cases {
        let faults = Template::compile(&Content { headers: vec![header(name, value)], ..body() }).expect_err(wanted);
        assert!(faults.iter().any(|fault| fault.to_string().contains(wanted)), "{wanted}: {faults:?}");
        // What only data brings fails for the one recipient.
        let content = Content { headers: vec![header(name, "{{ x }}")], ..body() };
        let error = try_render(&content, &recipient(&[("x", value)])).expect_err(wanted);
        let wanted = wanted.strip_prefix("spec.headers[0].value: ").unwrap_or(wanted);
        assert!(error.message.contains(wanted) && error.path == "spec.headers[0].value", "{wanted}: {error}");
    }
}

#[test]
fn names_are_templates() {
    let mailbox = |name: &str, address: &str| Mailbox { name: Some(name.to_owned()), address: address.to_owned() };
    let named = Content {
        from: mailbox("{{ agent | default('Team') }} at Example", "news@example.com"),
        reply_to: Some(mailbox("{{ agent }}", "help@example.com")),
        ..body()
    };
    let cases = [
        ("Ann", "Ann at Example", "Ann"),
        ("Zoë", "=?utf-8?Q?Zo=C3=AB_at_Example?=", "=?utf-8?Q?Zo=C3=AB?="),
        ("A, B", "\"A, B at Example\"", "\"A, B\""),
        ("x\r\nBcc: b@evil.example", "\"x Bcc: b@evil.example at Example\"", "\"x Bcc: b@evil.example\""),
        ("\" <b@evil.example>, \"", "\"\\\" <b@evil.example>, \\\" at Example\"", "\"\\\" <b@evil.example>, \\\"\""),
        ("{{ 7 * 7 }}", "{{ 7 * 7 }} at Example", "{{ 7 * 7 }}"),
    ];
    for (agent, from, reply_to) in cases {
        let message = render(&named, &recipient(&[("agent", agent)]));
        let headers = headers(&message);
        assert_eq!(headers[0], format!("From: {from} <news@example.com>"), "{agent:?}");
        assert_eq!(headers[1], format!("Reply-To: {reply_to} <help@example.com>"), "{agent:?}");
        assert_eq!(headers.len(), 9, "{agent:?}: {message}");
    }
    let empty = Content { reply_to: None, from: mailbox("{{ agent }}", "news@example.com"), ..body() };
    assert!(render(&empty, &recipient(&[("agent", " ")])).starts_with("From: news@example.com\r\n"));
    let nobody = Recipient::from_json(r#"{"email":"ann@example.com"}"#).expect("good");
    let error = try_render(&empty, &nobody).expect_err("no such field");
    assert!(error.to_string().contains("spec.from.name: line 1: `agent` needs a field"), "{error}");
    let long = try_render(&empty, &recipient(&[("agent", &"x".repeat(20_000))])).expect_err("too long");
    assert!(long.to_string().contains("spec.from.name: it came out longer than 16384 bytes"), "{long}");
    for (content, wanted) in [
        (Content { from: mailbox("{{ name", "news@example.com"), ..body() }, "spec.from.name: line 1: syntax error"),
        (Content { from: mailbox("{{ name | nofilter }}", "news@example.com"), ..body() }, "spec.from.name: line 1: unknown filter"),
        (
            Content { from: mailbox("x", "{{name}}@example.com"), ..body() },
            "spec.from.address: the address is the same for everybody and cannot be a template",
        ),
        (Content { reply_to: Some(mailbox("x", "{%a%}@example.com")), ..body() }, "spec.replyTo.address: the address is the same"),
    ] {
        let faults = Template::compile(&content).expect_err(wanted);
        assert!(faults.iter().any(|fault| fault.to_string().contains(wanted)), "{wanted}: {faults:?}");
    }
}

/// RFC 2047, 2: a line with an encoded word has 76 characters at most.
#[test]
fn lines_with_encoded_words_are_short() {
    for length in 1..140 {
        for unit in ["ü", "x ", "日", "é a", "\u{1f600}"] {
            let value: String = unit.chars().cycle().take(length).chain(std::iter::once('ß')).collect();
            let content = Content {
                from: Mailbox { name: Some(value.clone()), address: "news@news.example.com".to_owned() },
                subject: value.clone(),
                headers: vec![
                    header("List-Id", &format!("{value} <news.example.ch>")),
                    header("X-A-Long-Name-Of-A-Field-That-Nobody-Would-Ever-Type-By-Hand", &value),
                    header("List-Help", &format!("<https://x.example/{}> ({value})", "a".repeat(length))),
                ],
                ..body()
            };
            let message = render(&content, &recipient(&[("name", &value)]));
            let head = message.split("\r\n\r\n").next().expect("a head");
            for line in head.split("\r\n").filter(|line| line.contains("=?")) {
                assert!(line.len() <= 76, "{}: {line}", line.len());
            }
        }
    }
}

/// Whatever people and data write, a header is refused, or is ASCII on lines that hold.
#[test]
fn no_value_panics() {
    let pieces = [
        "<",
        ">",
        "(",
        ")",
        "\"",
        "\\",
        ",",
        " ",
        "a",
        "ü",
        "日本",
        "a@x.example",
        "b@bücher.example",
        "https://x.example/ä",
        "=?",
        "?=",
        ":",
        ";",
        "NO",
    ];
    let mut random = random(7);
    let names = ["List-Id", "List-Help", "Errors-To", "Keywords", "References", "X-Note"];
    let mut written = 0;
    for _ in 0..20_000 {
        let value: String = (0..random(12)).map(|_| pieces[random(pieces.len())]).collect();
        let name = names[random(names.len())];
        let mut out = Vec::new();
        let result = crate::message::structured::field(&mut out, name, crate::message::structured::grammar(name), value.trim());
        if result.is_err() {
            assert!(out.is_empty(), "{name}: {value}");
            continue;
        }
        written += 1;
        let text = String::from_utf8(out).unwrap_or_else(|_| panic!("{name}: {value}: not UTF-8"));
        assert!(text.is_ascii() && text.ends_with("\r\n"), "{name}: {value}: {text}");
        for (index, line) in text.trim_end().split("\r\n").enumerate() {
            assert!(line.len() <= 998 && !line.contains(['\r', '\n']) && (index == 0) != line.starts_with(' '), "{name}: {value}: {text}");
        }
    }
    assert!(written > 5_000, "{written}");
}

#[test]
fn the_schema_rejects_the_fields_that_templates_may_not_set() {
    let schema = schemars::schema_for!(Header);
    let rule = schema.as_value()["x-kubernetes-validations"][0]["rule"].as_str().expect("a rule");
    let (listed, rest) = rule.split_once(" in [").and_then(|(_, rest)| rest.split_once(']')).expect("a list of names");
    let listed: BTreeSet<&str> = listed.split(", ").map(|name| name.trim_matches('\'')).collect();
    let reserved: BTreeSet<&str> = RESERVED.iter().map(|(name, _)| *name).collect();
    assert_eq!(listed, reserved);
    assert!(rest.contains("startsWith('content-')"), "{rest}");
    for name in reserved.into_iter().chain(["content-language"]) {
        for name in [name.to_owned(), name.to_ascii_uppercase()] {
            let faults = Template::compile(&Content { headers: vec![header(&name, "v")], ..body() }).expect_err(&name);
            let wanted = "spec.headers[0].name: this header cannot be set";
            assert!(faults.iter().any(|fault| fault.to_string().contains(wanted)), "{name}: {faults:?}");
        }
    }
}
