//! The cases, by what is bad: the audience, its source, the content, the ledger.

use std::{
    fs::{self, Permissions},
    io::{Read as _, Write as _},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::Duration,
};

use mailfleet::ledger::{Ledger, LedgerOptions};

use super::Case;

/// The case that root can only show without capabilities.
pub const NOT_WRITABLE: &str = "state-not-writable";

pub fn all() -> Vec<Case> {
    let mut cases = tables();
    cases.extend(packed());
    cases.extend(json_lines());
    cases.extend(urls());
    cases.extend(contents());
    cases.extend(ledgers());
    cases
}

fn table(name: &'static str, bytes: impl Into<Vec<u8>>) -> Case {
    Case { name, audience: "{csv: {path: people.csv}}".to_owned(), files: vec![("people.csv", bytes.into())], ..Case::default() }
}

fn tables() -> Vec<Case> {
    let long_row = format!("email,name\na@example.com,Ann\nb@example.com,\"Bo\n{}", "c@example.com,Cy\n".repeat(70_000));
    let addresses = [
        "no-at-sign",
        "",
        "@example.com",
        "ann@",
        "an n@example.com",
        "ann@@example.com",
        "ann@example..com",
        ".ann@example.com",
        "ann@-example.com",
        "Ann <ann@example.com>",
        "ann@example.com;bo@example.com",
        "ann\u{200b}@example.com",
        "ann@[127.0.0.1]",
        "ann@exam_ple.com",
        "mailto:ann@example.com",
    ];
    let long = format!("{}@example.com", "x".repeat(65));
    let bad_addresses = format!("email\ngood@example.com\n{}\n{long}\n", addresses.map(|address| format!("\"{address}\"")).join("\n"));
    vec![
        table("csv-no-email-column", "mail,name\na@example.com,Ann\n"),
        table("csv-semicolons", "email;name\na@example.com;Ann\n"),
        table("csv-is-a-workbook", b"PK\x03\x04\x14\0\x06\0[Content_Types].xml"),
        table("csv-is-an-old-workbook", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
        table("csv-excel-sep", "sep=,\nemail,name\na@example.com,Ann\n"),
        table("csv-excel-sep-semicolon", "sep=;\nemail;name\na@example.com;Ann\n"),
        table("csv-empty", ""),
        table("csv-no-header", "a@example.com,Ann\nb@example.com,Bo\n"),
        table("csv-two-email-columns", "email,Email\na@example.com,b@example.com\n"),
        table("csv-header-only", "email,name\n"),
        table("csv-row-not-utf-8", b"email,name\na@example.com,Ann\nb@example.com,Zo\xeb\nc@example.com,Cy\n"),
        table("csv-utf-16", b"\xff\xfee\0m\0a\0i\0l\0\n\0"),
        table("csv-unclosed-quote", "email,name\na@example.com,Ann\nb@example.com,\"Bo\nc@example.com,Cy\n"),
        table("csv-unclosed-quote-long", long_row),
        table("csv-wrong-number-of-fields", "email,name\na@example.com\nb@example.com,Bo,extra\nc@example.com,Cy\n"),
        table("csv-bad-addresses", bad_addresses),
        table("csv-duplicates", "email,name\na@example.com,Ann\na@EXAMPLE.com,Ann again\nA@example.com,Another\nb@example.com,Bo\n"),
        Case { spoil: Some(remove_audience), ..table("csv-missing", "email\na@example.com\n") },
        Case { spoil: Some(audience_becomes_folder), ..table("csv-is-a-folder", "") },
    ]
}

fn audience(state: &Path) -> std::path::PathBuf {
    state.with_file_name("config").join("people.csv")
}

fn remove_audience(state: &Path) {
    fs::remove_file(audience(state)).expect("removed");
}

fn audience_becomes_folder(state: &Path) {
    fs::remove_file(audience(state)).expect("removed");
    fs::create_dir(audience(state)).expect("made");
}

fn people(count: usize) -> Vec<u8> {
    let mut rows = b"email,number\n".to_vec();
    for number in 0..count {
        let _ = writeln!(rows, "reader{number}@example.com,{}", number.wrapping_mul(0x9e37_79b9));
    }
    rows
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("a vector takes all");
    encoder.finish().expect("a vector takes all")
}

fn packed() -> Vec<Case> {
    let whole = gzip(&people(10));
    let cut = whole[..whole.len() - 12].to_vec();
    let mut wrong_sum = whole.clone();
    let at = wrong_sum.len() - 6;
    wrong_sum[at] ^= 0xff;
    let garbage = [&whole[..10], &[0xff; 200][..]].concat();
    let zstd = zstd::encode_all(&people(10)[..], 3).expect("a vector takes all");
    vec![
        table("gzip-cut-off", cut),
        table("gzip-wrong-checksum", wrong_sum),
        table("gzip-garbage-within", garbage),
        table("gzip-of-garbage", gzip(&[0x00, 0xfe, 0x80, 0x07, 0x9f, 0x13, 0x37].repeat(50))),
        table("zstd-cut-off", &zstd[..zstd.len() - 9]),
    ]
}

fn json_lines() -> Vec<Case> {
    let lines = r#"{"email": "a@example.com", "name": "Ann"}
{"email": "b@example.com", "name": "Bo"
{"mail": "c@example.com"}
{"email": 7}
["d@example.com"]
not JSON at all
{"email": "e@example.com", "name": "Eve",}

{"email": "f@example.com"}
"#;
    let case = |name, text: &str| Case {
        name,
        audience: "{jsonLines: {path: people.jsonl}}".to_owned(),
        files: vec![("people.jsonl", text.as_bytes().to_vec())],
        ..Case::default()
    };
    vec![
        case("json-lines-broken-lines", lines),
        case("json-lines-one-list", "[\n  {\"email\": \"a@example.com\"},\n  {\"email\": \"b@example.com\"}\n]\n"),
    ]
}

/// An audience at a server that gives every connection the same response and closes it; without one, connections are refused.
fn url(name: &'static str, answer: Option<&'static str>) -> Case {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    if let Some(answer) = answer {
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
    }
    Case {
        name,
        audience: format!("{{csv: {{url: 'http://127.0.0.1:{port}/people.csv?key=secret'}}}}"),
        varying: vec![(port.to_string(), "PORT")],
        ..Case::default()
    }
}

fn urls() -> Vec<Case> {
    vec![
        url("url-refused", None),
        url("url-404", Some("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")),
        url("url-503", Some("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")),
        url("url-cut-short", Some("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nConnection: close\r\n\r\nemail\na@example.com\n")),
        url("url-not-http", Some("220 mail.example.com ESMTP\r\n")),
        url(
            "url-a-page",
            Some("HTTP/1.1 200 OK\r\nContent-Length: 45\r\nConnection: close\r\n\r\n<html><body>Please <b>log in</b></body></html>"),
        ),
        url("url-redirect-loop", Some("HTTP/1.1 302 Found\r\nLocation: /again.csv\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")),
    ]
}

fn contents() -> Vec<Case> {
    let case = |name, content| Case { name, content, ..Case::default() };
    let named = "{inline: [{email: a@example.com, name: Ann}, {email: b@example.com}, {email: c@example.com, name: Cy}]}";
    let many: Vec<String> = (0..8).map(|number| format!("{{email: r{number}@example.com}}")).collect();
    let injecting = r#"{inline: [{email: a@example.com, name: "Ann\r\nBcc: victim@example.com\r\n\r\nBuy now"}, {email: b@example.com, name: "Bo\nBcc: victim@example.com"}]}"#;
    vec![
        case("template-syntax", "subject: Hello\n  content: {text: 'Dear {{ name }'}"),
        case("template-unclosed-block", "subject: Hello\n  content: {text: 'Dear {% if name %}{{ name }}'}"),
        case("template-unknown-filter", "subject: 'Hello {{ email | capitalise }}'\n  content: {text: Dear reader}"),
        case("template-unknown-function", "subject: Hello\n  content: {text: 'Dear {{ today() }}'}"),
        case("template-include", "subject: Hello\n  content: {text: '{% include \"/etc/passwd\" %}'}"),
        Case {
            audience: named.to_owned(),
            ..case("template-missing-field-in-one-row", "subject: Hello\n  content: {text: 'Dear {{ name }}'}")
        },
        Case {
            audience: format!("{{inline: [{}, {{email: z@example.com, name: Zoe}}]}}", many.join(", ")),
            ..case("template-more-failures-than-allowed", "subject: Hello\n  content: {text: 'Dear {{ name }}', maxRenderErrors: 3}")
        },
        case(
            "template-endless-loop",
            "subject: Hello\n  content: {text: '{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}'}",
        ),
        case("template-subject-too-long", "subject: '{% for a in range(9000) %}too long {% endfor %}'\n  content: {text: Dear reader}"),
        case("mjml-broken", "subject: Hello\n  content: {mjml: '<mjml><mj-body><mj-section><mj-text>Hello</mj-body></mjml>'}"),
        case("mjml-is-html", "subject: Hello\n  content: {mjml: '<html><body>Hello</body></html>'}"),
        Case {
            files: vec![("body.html", b"Caf\xe9".to_vec())],
            ..case("body-not-utf-8", "subject: Hello\n  content: {htmlFrom: {path: body.html}}")
        },
        case("body-missing", "subject: Hello\n  content: {htmlFrom: {path: body.html}}"),
        Case {
            audience: injecting.to_owned(),
            shown_headers: &["Subject:", "Bcc:", "To:"],
            ..case("header-injection", "subject: 'Hello {{ name }}'\n  content: {text: Dear reader}")
        },
    ]
}

fn database(state: &Path) -> std::path::PathBuf {
    fs::create_dir_all(state).expect("a folder");
    state.join("ledger.db")
}

fn sql(state: &Path, text: &str) {
    rusqlite::Connection::open(database(state)).expect("a database").execute_batch(text).expect(text);
}

fn lose_ledger(state: &Path) {
    for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        let _ = fs::remove_file(state.join(name));
    }
}

/// The test process holds it through another handle until it ends.
fn hold(state: &Path) {
    std::mem::forget(Ledger::open(state, LedgerOptions::default()).expect("a ledger"));
}

fn ledgers() -> Vec<Case> {
    let case = |name, spoil: fn(&Path)| Case { name, spoil: Some(spoil), ..Case::default() };
    vec![
        case("ledger-is-garbage", |state| fs::write(database(state), "This is no database. ".repeat(500)).expect("written")),
        Case {
            after_a_run: true,
            ..case("ledger-overwritten-in-part", |state| {
                let mut bytes = fs::read(database(state)).expect("a ledger");
                let end = bytes.len().min(40_000);
                bytes[2000..end].fill(0xff);
                fs::write(database(state), bytes).expect("written");
            })
        },
        Case {
            after_a_run: true,
            ..case("ledger-cut-off", |state| {
                let bytes = fs::read(database(state)).expect("a ledger");
                fs::write(database(state), &bytes[..5000]).expect("written");
            })
        },
        Case { after_a_run: true, ..case("ledger-newer-version", |state| sql(state, "UPDATE meta SET value = 99 WHERE key = 'schema'")) },
        case("ledger-of-another-program", |state| sql(state, "CREATE TABLE notes (text TEXT)")),
        case("ledger-is-a-folder", |state| fs::create_dir_all(state.join("ledger.db")).expect("a folder")),
        Case { varying: vec![(format!("process {}", std::process::id()), "process NUMBER")], ..case("state-in-use", hold) },
        case("state-is-a-file", |state| fs::write(state, "a file").expect("written")),
        Case { after_a_run: true, ..case("ledger-missing", lose_ledger) },
        Case {
            after_a_run: true,
            ..case("status-file-broken", |state| {
                fs::write(state.join("status/default/Campaign/hello.yaml"), "status: [unclosed\n").expect("written");
            })
        },
    ]
}

pub fn not_writable() -> Case {
    fn spoil(state: &Path) {
        fs::create_dir_all(state).expect("a folder");
        fs::set_permissions(state, Permissions::from_mode(0o500)).expect("its owner");
    }
    Case { name: NOT_WRITABLE, spoil: Some(spoil), ..Case::default() }
}
