//! Python's `email` package reads back what was written, for data that no sane person would enter.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Content, Mailbox, RenderContext, Template};
use crate::{
    audience::Recipient,
    message::header::{clean, clean_name},
};

const SCRIPT: &str = r#"
import base64, email, email.header, email.policy, json, sys

def body(message, kind):
    part = message.get_body((kind,))
    if part is None:
        return None
    return part.get_content().replace("\r\n", "\n").rstrip("\n")

def check(case):
    raw = base64.b64decode(case["message"])
    assert all(byte < 128 for byte in raw), "not 7-bit"
    assert raw.count(b"\n") == raw.count(b"\r\n") == raw.count(b"\r"), "line ends"
    assert max(map(len, raw.split(b"\r\n"))) <= 998, "long line"
    message = email.message_from_bytes(raw, policy=email.policy.SMTP)
    for part in message.walk():
        assert not part.defects, part.defects
        for name, value in part.items():
            assert not value.defects, (name, value.defects)
    # The new parser puts a space between adjacent encoded words of a phrase, against RFC 2047, 6.2; the old one does not.
    old = email.message_from_bytes(raw)
    def mailbox(name):
        (one,) = message[name].addresses
        display = one.display_name
        if old[name].startswith("=?"):
            display = str(email.header.make_header(email.header.decode_header(old[name].rsplit("<", 1)[0].strip())))
        return [display, one.addr_spec]
    got = {
        "names": message.keys(),
        "from": mailbox("From"),
        "replyTo": mailbox("Reply-To"),
        "to": mailbox("To"),
        "subject": str(message["Subject"]),
        "note": str(message["X-Note"]),
        "date": message["Date"].datetime.isoformat(),
        "id": str(message["Message-ID"]),
        "text": body(message, "plain"),
        "html": body(message, "html"),
    }
    for key, wanted in case["wanted"].items():
        assert got[key] == wanted, "%s: got %r, wanted %r" % (key, got[key], wanted)

bad = []
for index, line in enumerate(sys.stdin):
    case = json.loads(line)
    try:
        check(case)
    except Exception as error:
        bad.append("%d: %s: %s\n%s" % (index, type(error).__name__, error, base64.b64decode(case["message"]).decode("latin1")[:1500]))
print("checked", index + 1)
print("\n".join(bad[:5]))
sys.exit(1 if bad else 0)
"#;

/// Steele's and Vigna's splitmix64: enough for data, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % below as u64).expect("small")
    }

    fn text(&mut self, pieces: usize) -> String {
        const PIECES: &[&str] = &[
            "a",
            "Word",
            "hello ",
            " ",
            "  ",
            "\t",
            ",",
            ";",
            ":",
            ".",
            "@",
            "<",
            ">",
            "(",
            ")",
            "[",
            "]",
            "\\",
            "\"",
            "'",
            "=",
            "?",
            "=?",
            "?=",
            "_",
            "%",
            "&",
            "=?utf-8?Q?=41?=",
            "=?utf-8?B?QQ==?=",
            "=20",
            "=\n",
            "\n",
            "\r\n",
            "\r",
            "\n\n",
            "\n.\n",
            "\n..",
            " \n",
            "\t\n",
            "\nFrom x",
            "--=_",
            "--",
            "\u{0}",
            "\u{b}",
            "\u{c}",
            "\u{1b}",
            "\u{7f}",
            "\u{85}",
            "\u{2028}",
            "é",
            "ß",
            "日本",
            "\u{1f600}",
            "e\u{301}",
            "\u{200b}",
            "\u{feff}",
            "\u{202e}",
            "{{ email }}",
            "{% x %}",
            "<script>",
            "&amp;",
            "averylongwordwithoutanyspaceinit",
            "0123456789 0123456789 0123456789 0123456789 0123456789",
            "Bcc: b@evil.example",
            "\r\nBcc: b@evil.example\r\n\r\n",
        ];
        let count = self.next(pieces + 1);
        let mut text: String = (0..count).map(|_| PIECES[self.next(PIECES.len())]).collect();
        if self.next(40) == 0 {
            text.push_str(&"x".repeat(self.next(3000)));
        }
        text
    }
}

/// What a mail program shows of a body: its lines, whatever their ends were.
fn lines(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n").trim_end_matches('\n').to_owned()
}

fn escaped(text: &str) -> String {
    let pairs = [("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\"", "&quot;"), ("'", "&#x27;")];
    pairs.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

fn case(random: &mut Random) -> Value {
    let (name, subject, note, body) = (random.text(8), random.text(12), random.text(30), random.text(60));
    let (from, reply) = (random.text(5), random.text(5));
    let domain = ["example.com", "xn--bcher-kva.example", "localhost"][random.next(3)];
    let local = ["ann", "o'hara+x", "\"a b\"", "\"a@\\\"b,\""][random.next(4)];
    let address = format!("{local}@{domain}");
    let fields = json!({"email": address, "name": name, "subject": subject, "note": note, "body": body, "from": from, "reply": reply});
    let recipient = Recipient::from_json(&fields.to_string()).expect("good");
    let (text, html) = [(true, false), (false, true), (true, true)][random.next(3)];
    let content = Content {
        reply_to: Some(Mailbox { name: Some("{{ reply }}".to_owned()), address: "help@example.com".to_owned() }),
        text: text.then(|| "Hello\n{{ body }}".into()),
        html: html.then(|| "<p>{{ body }}</p>".into()),
        headers: vec![super::header("X-Note", "N{{ note }}")],
        ..Content::bare(Mailbox { name: Some("{{ from }}".to_owned()), address: "news@example.com".to_owned() }, "S{{ subject }}")
    };
    let template = Template::compile(&content).unwrap_or_else(|faults| panic!("{faults:?}"));
    let context = RenderContext {
        message_id: "abc@example.com",
        date: jiff::Timestamp::from_second(1_700_000_000).expect("in range"),
        campaign: "c",
        senders: None,
        link: None,
    };
    let rendered = template.render(&recipient, &context).unwrap_or_else(|error| panic!("{error}"));
    let shown = |name: &str| if name.len() > 256 { String::new() } else { clean_name(name).into_owned() };
    let mut wanted = json!({
        "from": [clean_name(&from), "news@example.com"],
        "replyTo": [clean_name(&reply), "help@example.com"],
        "to": [shown(&name), address],
        "subject": clean(&format!("S{subject}")),
        "note": clean(&format!("N{note}")),
        "date": "2023-11-14T22:13:20+00:00",
        "id": "<abc@example.com>",
        "html": html.then(|| lines(&format!("<p>{}</p>", escaped(&body)))),
    });
    if text {
        wanted["text"] = lines(&format!("Hello\n{body}")).into();
    }
    let names =
        ["From", "Reply-To", "To", "Subject", "Date", "Message-ID", "X-Note", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"];
    wanted["names"] = json!(names[..if html { 9 } else { 10 }]);
    json!({"message": STANDARD.encode(rendered.content.whole()), "wanted": wanted})
}

#[test]
fn python_reads_the_same() {
    let mut random = Random(7);
    let cases: String = (0..1000).map(|_| format!("{}\n", case(&mut random))).collect();
    let mut python =
        Command::new("python3").args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3 is installed");
    python.stdin.take().expect("piped").write_all(cases.as_bytes()).expect("python3 reads");
    let output = python.wait_with_output().expect("python3 ends");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}");
    assert!(told.starts_with("checked 1000"), "{told}");
}
