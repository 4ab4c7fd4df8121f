//! What rows become, from every kind of source, and what is said when a source fails.

mod fetched;
mod login;
mod pages;
mod tables;
mod workbooks;

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpListener,
    sync::Arc,
};

use serde_json::json;
use tokio::runtime::Runtime;

use super::{Address, Blocker, Fields, Input, Location, NamedFile, ROW_MAX, Reader, Recipient, Row, count_rows};
use crate::{
    egress::{Egress, NotAllowed},
    resources::Reason,
};

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

/// Every row as a line of text: `ann@example.com {json}` or `line 3: why`; an error ends it.
fn told(input: &Input) -> Vec<String> {
    let runtime = runtime();
    let reader = match Reader::open(input, runtime.handle()) {
        Ok(reader) => reader,
        Err(error) => return vec![format!("error: {error}")],
    };
    let unit = reader.unit().clone();
    reader
        .map(|row| match row {
            Ok(Row::Recipient(Recipient { address, fields })) => format!("{address} {}", fields.to_json()),
            Ok(Row::Bad { line, why }) => format!("{}: {why}", unit.at(line)),
            Err(error) => format!("error: {error}"),
        })
        .collect()
}

fn bytes(data: impl AsRef<[u8]>) -> Location {
    Location::Bytes(Arc::from(data.as_ref()))
}

fn csv(data: impl AsRef<[u8]>) -> Vec<String> {
    told(&Input::csv(bytes(data)))
}

fn lines(data: impl AsRef<[u8]>) -> Vec<String> {
    told(&Input::JsonLines(bytes(data)))
}

#[test]
fn addresses_that_are_taken() {
    let long_local = format!("{}@example.com", "a".repeat(64));
    let cases = [
        ("ann@example.com", "ann@example.com"),
        ("Ann.B+tag@Example.COM", "Ann.B+tag@example.com"),
        ("a@localhost", "a@localhost"),
        ("o'hara_/!#$%&*=?^`{|}~-@a-b.example", "o'hara_/!#$%&*=?^`{|}~-@a-b.example"),
        ("\"a b@c\"@example.com", "\"a b@c\"@example.com"),
        (r#""a\"b\\"@example.com"#, r#""a\"b\\"@example.com"#),
        ("jörg@Bücher.Example", "jörg@bücher.example"),
        ("用户@例子.测试", "用户@例子.测试"),
        (&long_local, &long_local),
    ];
    for (text, wanted) in cases {
        let address = Address::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
        assert_eq!(address.as_str(), wanted);
        assert_eq!(format!("{}@{}", address.local(), address.domain()), wanted);
        assert_eq!(Address::parse(address.as_str()).as_ref(), Ok(&address), "an address stays what it is");
    }
    assert_eq!(Address::parse("a@Bücher.example").expect("good").to_wire(), "a@xn--bcher-kva.example");
    assert_eq!(Address::parse("jörg@bücher.example").expect("good").to_wire(), "jörg@xn--bcher-kva.example");
}

#[test]
fn addresses_that_are_refused() {
    let cases = [
        ("", "the address is empty"),
        ("ann", "there is no `@`"),
        ("@example.com", "nothing before"),
        ("ann@", "domain after the `@` is missing"),
        ("a@b@c.example", "more than one `@`"),
        ("a b@example.com", "a space"),
        ("a@exam ple.com", "a space"),
        ("Ann <ann@example.com>", "put only the address"),
        ("<ann@example.com>", "put only the address"),
        ("a@x.example,b@x.example", "more than one `@`"),
        ("a;b@x.example", "only one address"),
        (".a@example.com", "a dot may not be first, last or doubled"),
        ("a.@example.com", "a dot may not be first, last or doubled"),
        ("a..b@example.com", "a dot may not be first, last or doubled"),
        ("a@.example.com", "empty part"),
        ("a@example..com", "empty part"),
        ("a@example.com.", "empty part"),
        ("a@-x.example", "hyphen"),
        ("a@x-.example", "hyphen"),
        ("a@x_y.example", "`_` is not allowed"),
        ("a@[192.0.2.1]", "an address literal (an IP address after the `@`) is not supported"),
        ("a@[IPv6:2001:db8::1]", "an address literal (an IP address after the `@`) is not supported"),
        ("a@192.0.2.1", "an address literal (an IP address after the `@`) is not supported"),
        ("a\r\nBcc: b@example.com", "invisible"),
        ("a@example.com\r\nRCPT TO:<b@example.com>", "put only the address"),
        ("a@example.com\n", "(U+000A)"),
        ("a\0@example.com", "(U+0000)"),
        ("a\u{200b}@example.com", "(U+200B)"),
        ("a\u{a0}@example.com", "(U+00A0)"),
        ("a@ex\u{200b}ample.com", "(U+200B)"),
        ("a@x\u{ff20}y.example", "more than one `@`"),
        ("\"a\"b\"@example.com", "needs a backslash"),
        ("\"a@example.com", "no closing quote"),
        ("\"a\\\"@example.com", "no closing quote"),
        ("\"@example.com", "no closing quote"),
        ("\"a\nb\"@example.com", "(U+000A)"),
    ];
    for (text, wanted) in cases {
        let why = Address::parse(text).expect_err(text);
        assert!(why.contains(wanted), "{text:?}: {why}");
    }
    for text in [
        format!("{}@example.com", "a".repeat(65)),
        format!("a@{}.com", "b".repeat(64)),
        format!("a@{}com", "b.".repeat(130)),
        "a".repeat(400),
    ] {
        assert!(Address::parse(&text).expect_err(&text).contains("longer"));
    }
}

#[test]
fn csv_rows() {
    let cases: &[(&str, &[u8], &[&str])] = &[
        ("plain", b"email,name\na@x.example,Ann\n", &[r#"a@x.example {"email":"a@x.example","name":"Ann"}"#]),
        ("no newline at the end, any column order", b"name,email\nAnn,a@x.example", &[r#"a@x.example {"name":"Ann","email":"a@x.example"}"#]),
        (
            "byte order mark, case, spaces, CRLF",
            b"\xef\xbb\xbf EMail , First Name\r\n A@X.example ,Ann\r\n\r\nb@x.example,\r\n",
            &[r#"A@x.example {"email":"A@x.example","First Name":"Ann"}"#, r#"b@x.example {"email":"b@x.example","First Name":""}"#],
        ),
        ("quotes", b"email,n\na@x.example,\"one, \"\"two\"\"\nthree\"\n", &[r#"a@x.example {"email":"a@x.example","n":"one, \"two\"\nthree"}"#]),
        (
            "bad rows with their lines, in CRLF and after a quoted line break",
            b"email,n\r\na@x.example,\"1\r\n2\"\r\n\r\nb@x.example\r\nc@x.example,1,2\r\n,4\r\nnobody,5\r\nd@x.example,\xff\r\ne@x.example,ok\r\n",
            &[
                "a@x.example {\"email\":\"a@x.example\",\"n\":\"1\\r\\n2\"}",
                "line 5: the row has 1 field and the header has 2",
                "line 6: the row has 3 fields and the header has 2",
                "line 7: the address is empty",
                "line 8: there is no `@` in it",
                "line 9: the row is not UTF-8; save the file as CSV in UTF-8, or write its `charset`, such as `windows-1252`",
                r#"e@x.example {"email":"e@x.example","n":"ok"}"#,
            ],
        ),
        ("a character broken over two fields", b"email,a,b\na@x.example,\xc3,\xa9\n", &["line 2: the row is not UTF-8; save the file as CSV in UTF-8, or write its `charset`, such as `windows-1252`"]),
        (
            "a header that ends with commas, and rows with and without them",
            b"email,n,,\na@x.example,1\nb@x.example,2,\nc@x.example,3,,\nd@x.example\ne@x.example,5,,,,\n",
            &[
                r#"a@x.example {"email":"a@x.example","n":"1"}"#,
                r#"b@x.example {"email":"b@x.example","n":"2"}"#,
                r#"c@x.example {"email":"c@x.example","n":"3"}"#,
                "line 5: the row has 1 field and the header has 4",
                r#"e@x.example {"email":"e@x.example","n":"5"}"#,
            ],
        ),
        (
            "one column, with a comma or without one in either line",
            b"email,\nann@example.com\nbob@example.com,\n",
            &[r#"ann@example.com {"email":"ann@example.com"}"#, r#"bob@example.com {"email":"bob@example.com"}"#],
        ),
        (
            "one column, and rows with needless commas",
            b"email\nann@example.com,\nbob@example.com,,\ncy@example.com,x\n",
            &[
                r#"ann@example.com {"email":"ann@example.com"}"#,
                r#"bob@example.com {"email":"bob@example.com"}"#,
                "line 4: the row has 2 fields and the header has 1",
            ],
        ),
        (
            "bad rows with their lines, in CR and in a mixture",
            b"email,n\ra@x.example,1\rnobody,2\r\rb@x.example,\"3\r3\"\rnobody,4\r\nnobody,5\n\nnobody,6\r",
            &[
                r#"a@x.example {"email":"a@x.example","n":"1"}"#,
                "line 3: there is no `@` in it",
                "b@x.example {\"email\":\"b@x.example\",\"n\":\"3\\r3\"}",
                "line 7: there is no `@` in it",
                "line 8: there is no `@` in it",
                "line 10: there is no `@` in it",
            ],
        ),
        ("unnamed columns are not fields", b"email,,\na@x.example,1,2\n", &[r#"a@x.example {"email":"a@x.example"}"#]),
        (
            "a quote that is never closed loses nobody in silence",
            b"email,n\na@x.example,1\nb@x.example,\"2\nc@x.example,3\n",
            &[
                r#"a@x.example {"email":"a@x.example","n":"1"}"#,
                "error: the audience, line 3: a quote is opened there but never closed, so everything that follows is one row. Fix that row",
            ],
        ),
        ("a quote opened by the last byte", b"email,n\na@x.example,\"", &["error: the audience, line 2: a quote is opened there but never closed, so everything that follows is one row. Fix that row"]),
        ("a quote closed by the last byte", b"email,n\na@x.example,\"1\"", &[r#"a@x.example {"email":"a@x.example","n":"1"}"#]),
        ("an empty field at the end", b"email,n\na@x.example,", &[r#"a@x.example {"email":"a@x.example","n":""}"#]),
        ("header only", b"email\n", &[]),
        ("empty", b"", &["error: the audience: it is empty; the first line must name the columns, one of them `email`"]),
        ("no such column", b"mail,name\n", &["error: the audience: there is no column `email`; the columns are `mail`, `name`; if `mail` holds the addresses, rename it, or write `columns: {email: \"mail\"}`"]),
        ("semicolons", b"email;name\n", &["error: the audience: the columns are separated by `;`; use commas, or write `delimiter: \";\"`"]),
        ("twice", b"email,Email\n", &["error: the audience: there is more than one column `email`"]),
        ("another twice", b"email,a,a\n", &["error: the audience: there is more than one column `a`"]),
        ("header not UTF-8", b"email,\xff\n", &["error: the audience: the header line is not UTF-8; save the file as CSV in UTF-8, or write its `charset`, such as `windows-1252`"]),
        ("UTF-16 without its mark", b"e\0m\0", &["error: the audience: it seems to be UTF-16; save it as UTF-8, or write `charset: utf-16le`"]),
        ("Excel's first line", b"sep=,\r\nemail,n\r\na@x.example,1\r\nnobody,2\r\n", &[r#"a@x.example {"email":"a@x.example","n":"1"}"#, "line 4: there is no `@` in it"]),
        ("Excel's first line, in quotes", b"\"sep=;\"\nemail;n\na@x.example;1\n", &[r#"a@x.example {"email":"a@x.example","n":"1"}"#]),
        ("Excel's first line, for tabs", b"\xef\xbb\xbfSEP=\t\nemail\tn\na@x.example\t1,2;3\n", &[r#"a@x.example {"email":"a@x.example","n":"1,2;3"}"#]),
        ("Excel's first line without a sign", b"sep=\nemail\n", &["error: the audience: the first line is Excel's `sep=` without a single character after it; remove the line, or correct it"]),
        ("Excel's first line alone", b"sep=;\n", &["error: the audience: it is empty; the first line must name the columns, one of them `email`"]),
        ("a workbook", b"PK\x03\x04\x14\0", &["error: the audience: it is an Excel workbook (.xlsx) or another zip archive, not a table; name it as `xlsx`, or save it as CSV (UTF-8)"]),
        ("UTF-16", b"\xff\xfee\0m\0", &["error: the audience: it is UTF-16; save it as UTF-8, or write `charset: utf-16le`"]),
    ];
    for (name, data, wanted) in cases {
        assert_eq!(csv(data), *wanted, "{name}");
    }
}

#[test]
fn a_csv_row_has_a_bound() {
    let mut data = b"email,n\na@x.example,1\nb@x.example,\"never closed\n".to_vec();
    data.extend_from_slice(&b"c@x.example,2\n".repeat(ROW_MAX / 10));
    let rows = csv(&data);
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(rows[1].starts_with("error: the audience, line 3: the row is longer than 1048576 bytes; perhaps a quote"), "{}", rows[1]);
    let rows = csv(format!("email,n\na@x.example,{}\n", ",".repeat(5000)));
    assert!(rows[0].contains("line 2: the row has more than 4096 fields"), "{rows:?}");
    let long = "x".repeat(ROW_MAX / 2);
    assert_eq!(csv(format!("email,n\na@x.example,{long}\n")), [format!(r#"a@x.example {{"email":"a@x.example","n":"{long}"}}"#)]);
}

#[test]
fn json_lines_rows() {
    let long = format!("{{\"email\":\"a@x.example\",\"n\":\"{}\"}}\n{{\"email\":\"b@x.example\"}}\n", "x".repeat(ROW_MAX));
    let cases: &[(&str, &[u8], &[&str])] = &[
        (
            "kinds of values",
            b"\xef\xbb\xbf{\"email\":\" a@X.example \",\"n\":1.5,\"big\":18446744073709551615,\"l\":[1,{\"k\":null}],\"none\":null}\r\n",
            &[r#"a@x.example {"email":"a@x.example","n":1.5,"big":18446744073709551615,"l":[1,{"k":null}]}"#],
        ),
        (
            "bad lines do not harm the next",
            b"\n  \n{\"email\":\"a@x.example\"\n[]\n{\"email\":1}\n{\"name\":\"Ann\"}\n{\"email\":\"\"}\n\xff{}\n{\"email\":\"a@x.example\"}",
            &[
                "line 3: the line ends before its JSON object does: put one whole object on each line",
                "line 4: the line is not a JSON object: put one object on each line, without a list around them",
                "line 5: `email` is not a string",
                "line 6: there is no field `email`",
                "line 7: the address is empty",
                "line 8: the line is not UTF-8",
                r#"a@x.example {"email":"a@x.example"}"#,
            ],
        ),
        (
            "the address under its name in any case, when there is only one such name",
            b"{\"Email\":\"a@x.example\",\"n\":1}\n{\"EMAIL\":\"b@x.example\"}\n{\"Email\":\"c@x.example\",\"email\":\"d@x.example\"}\n{\"Email\":\"e@x.example\",\"EMAIL\":\"f@x.example\"}\n",
            &[
                r#"a@x.example {"n":1,"email":"a@x.example"}"#,
                r#"b@x.example {"email":"b@x.example"}"#,
                r#"d@x.example {"Email":"c@x.example","email":"d@x.example"}"#,
                "line 4: there is no field `email`",
            ],
        ),
        ("too long", long.as_bytes(), &["line 1: the line is longer than 1048576 bytes", r#"b@x.example {"email":"b@x.example"}"#]),
        ("empty", b"", &[]),
    ];
    for (name, data, wanted) in cases {
        assert_eq!(lines(data), *wanted, "{name}");
    }
}

#[test]
fn rows_in_place() {
    let row = |value: serde_json::Value| serde_json::from_value(value).expect("an object");
    let input = Input::Inline(vec![row(json!({"email": "a@X.example", "n": 1})), row(json!({"name": "Ann"}))]);
    assert_eq!(told(&input), [r#"a@x.example {"email":"a@x.example","n":1}"#, "line 2: there is no field `email`"]);
}

#[test]
fn fields_survive_a_round_trip() {
    let runtime = runtime();
    let input = Input::csv(bytes("name,email,x\nAnn,A@X.Example,\u{1f600}\n"));
    let Some(Ok(Row::Recipient(recipient))) = Reader::open(&input, runtime.handle()).expect("opens").next() else { panic!("a recipient") };
    let again = Fields::from_json(&recipient.fields.to_json()).expect("what to_json wrote");
    assert_eq!(again.to_json(), recipient.fields.to_json());
    assert_eq!(again.address(), &recipient.address);
    for name in ["name", "email", "x", "", "missing", "Name"] {
        assert_eq!(again.get(name), recipient.fields.get(name), "{name}");
    }
    assert_eq!(again.get("email").as_deref(), Some("A@x.example"));
    for bad in ["", "[]", "{}", r#"{"email":1}"#, r#"{"email":"x"}"#] {
        assert!(Fields::from_json(bad).is_err(), "{bad}");
    }
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(data).expect("memory");
    encoder.finish().expect("memory")
}

#[test]
fn packed_sources() {
    let (first, second): (&[u8], &[u8]) = (b"email\na@x.example\nb@x.", b"example\n");
    let wanted = [r#"a@x.example {"email":"a@x.example"}"#, r#"b@x.example {"email":"b@x.example"}"#];
    let zstd = |data: &[u8]| zstd::encode_all(data, 3).expect("memory");
    let skippable = b"\x50\x2a\x4d\x18\x02\0\0\0hi".to_vec();
    let packed = [
        ("gzip of two members", [gzip(first), gzip(second)].concat()),
        ("zstd of two frames", [zstd(first), zstd(second)].concat()),
        ("zstd after a skippable frame", [skippable, zstd(first), zstd(second)].concat()),
    ];
    for (name, data) in packed {
        assert_eq!(csv(&data), wanted, "{name}");
    }
    let whole = [first, second].concat();
    for (name, packed) in [("gzip", gzip(&whole)), ("zstd", zstd(&whole))] {
        assert_eq!(csv(&packed), wanted, "{name}");
        for length in 4..packed.len() {
            let rows = csv(&packed[..length]);
            let last = rows.last().expect("an error at least");
            assert!(last.starts_with("error: the audience: it ends too early"), "{name} cut after {length} of {}: {rows:?}", packed.len());
        }
    }
    let mut broken = gzip(&whole);
    let middle = broken.len() / 2;
    broken[middle] ^= 0xff;
    assert!(csv(&broken).last().expect("an error").starts_with("error: the audience: it "));
    let rows = csv([gzip(&whole), b"garbage after the end".to_vec()].concat());
    assert!(rows.last().expect("an error").starts_with("error: "), "{rows:?}");
}

#[test]
fn rows_over_many_blocks() {
    let mut data = String::from("email,n\n");
    let mut json = String::new();
    for i in 0..20_000 {
        data.push_str(&format!("person{i}@example.com,\"number, {i}\"\r\n"));
        json.push_str(&format!("{{\"email\":\"person{i}@example.com\",\"n\":\"number, {i}\"}}\n"));
    }
    let wanted: Vec<String> =
        (0..20_000).map(|i| format!(r#"person{i}@example.com {{"email":"person{i}@example.com","n":"number, {i}"}}"#)).collect();
    assert_eq!(csv(&data), wanted);
    assert_eq!(lines(&json), wanted);
    let runtime = runtime();
    let mut reader = Reader::open(&Input::csv(bytes(gzip(data.as_bytes()))), runtime.handle()).expect("opens");
    let mut before = 0.0;
    for row in reader.by_ref().take(10_000) {
        row.expect("a row");
    }
    for progress in [reader.progress().expect("known"), (reader.by_ref().count() > 0).then(|| reader.progress()).flatten().expect("known")]
    {
        assert!(progress > before && progress <= 1.0, "{progress}");
        before = progress;
    }
    assert!((before - 1.0).abs() < f64::EPSILON);
    let mut reader = Reader::open(&Input::csv(bytes(&data)), runtime.handle()).expect("opens");
    assert_eq!(reader.estimate(1), None, "hardly anything was read");
    let rows = reader.by_ref().take(10_000).count() as u64;
    let estimate = reader.estimate(rows).expect("enough was read");
    assert!((19_000..21_000).contains(&estimate), "{estimate} of 20,000");
}

#[test]
fn files() {
    let folder = std::env::temp_dir().join(format!("mailfleet-audience-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("people.csv");
    std::fs::write(&file, gzip(b"email\na@x.example\n")).expect("a file");
    let named = |path: std::path::PathBuf| Location::File(NamedFile::new(path.clone(), move || Ok(path.clone())));
    assert_eq!(told(&Input::csv(named(file))), [r#"a@x.example {"email":"a@x.example"}"#]);
    let runtime = runtime();
    // Counted ahead: rows, usable or not, and not lines.
    let count = |input: &Input| count_rows(input, None::<fn(&str) -> bool>, runtime.handle());
    let quoted = folder.join("quoted.csv.gz");
    std::fs::write(&quoted, gzip(b"email,note\na@x.example,\"two\nlines\"\n\nno address,\nb@x.example,")).expect("a file");
    assert_eq!(count(&Input::csv(named(quoted))), Some(3));
    assert_eq!(count(&Input::JsonLines(bytes("{\"email\":\"a@x.example\"}\n\nnot JSON\n"))), Some(2));
    assert_eq!(count(&Input::Inline(vec![BTreeMap::new(); 4])), Some(4));
    // Without some people.
    let but = |input: &Input| count_rows(input, Some(|address: &str| address.starts_with("a@")), runtime.handle());
    let quoted = Input::csv(named(folder.join("quoted.csv.gz")));
    assert_eq!((count(&quoted), but(&quoted)), (Some(3), Some(2)));
    let row = |address: &str| BTreeMap::from([("email".to_owned(), address.into())]);
    assert_eq!(but(&Input::Inline(vec![row("a@x.example"), row("b@x.example"), BTreeMap::new()])), Some(2));
    assert_eq!(count(&Input::csv(named(folder.join("missing.csv")))), None);
    assert_eq!(count(&Input::csv(at("http://127.0.0.1:1/", Egress::Everywhere))), None);
    let open = |path| Reader::open(&Input::csv(named(path)), runtime.handle()).expect_err("fails");
    let missing = open(folder.join("missing.csv"));
    assert_eq!((missing.reason, missing.needs_person), (Reason::FileNotFound, true));
    assert!(missing.message.ends_with("missing.csv: there is no such file"), "{missing}");
    assert!(open(folder.clone()).message.ends_with(": it is not a file"));
    std::fs::remove_dir_all(&folder).expect("removed");
}

/// Repeats a text without an end, and counts what was read.
struct Endless(&'static [u8], usize);

impl std::io::Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        for (index, byte) in buffer.iter_mut().enumerate() {
            *byte = self.0[(self.1 + index) % self.0.len()];
        }
        self.1 += buffer.len();
        assert!(self.1 < 4 << 30, "it is read for ever");
        Ok(buffer.len())
    }
}

#[test]
fn an_endless_useless_audience_is_not_read_forever() {
    let packed = |text: &'static [u8], bytes: u64| {
        let mut out = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("an encoder");
        out.write_all(b"email\n").expect("written");
        std::io::copy(&mut std::io::Read::take(Endless(text, 0), bytes), &mut out).expect("written");
        Location::Bytes(out.finish().expect("packed").into())
    };
    let runtime = runtime();
    for (input, words) in [
        (Input::csv(packed(b"nobody\n", 1 << 20)), "rows cannot be used (the last, line"),
        (Input::JsonLines(packed(b"{}\n", 1 << 20)), "rows cannot be used"),
        (Input::csv(packed(b"\n", 70 << 20)), "64 MiB without a row"),
        (Input::JsonLines(packed(b"x", 70 << 20)), "64 MiB without a row"),
        (Input::JsonLines(packed(b" \n", 70 << 20)), "64 MiB without a row"),
    ] {
        let mut reader = Reader::open(&input, runtime.handle()).expect("it opens");
        reader.useless.max = 20_000;
        let error = reader.last().expect("an end").expect_err("an error");
        assert!(error.message.contains(words) && error.needs_person && error.message.len() < 400, "{error}");
    }
    let mut useless = super::Useless::default();
    for _ in 0..12_000 {
        useless.useful();
    }
    assert!((0..1_200_000).all(|_| !useless.is_too_much(10)), "a large list may have many");
    assert!((0..200).any(|_| useless.is_too_much(10)));
}

/// Answers each connection with the next of `answers`, and gives the base URL.
fn serve(answers: Vec<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let base = format!("http://user:pass@{}", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        for answer in answers {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                request.push(byte[0]);
            }
            // The other side may be gone already; what it makes of the answer is what is judged.
            let _ = stream.write_all(&answer);
        }
    });
    base
}

fn at(url: &str, egress: Egress) -> Location {
    Location::Url(super::Remote { url: url.to_owned(), egress, login: None })
}

fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes(), body].concat()
}

fn fetch(answers: Vec<Vec<u8>>) -> (Vec<String>, Option<Blocker>) {
    let base = serve(answers);
    let runtime = runtime();
    let mut rows = Vec::new();
    let reader = match Reader::open(&Input::csv(at(&format!("{base}/people.csv?token=secret#x"), Egress::Everywhere)), runtime.handle()) {
        Ok(reader) => reader,
        Err(error) => return (rows, Some(error)),
    };
    for row in reader {
        match row {
            Ok(Row::Recipient(recipient)) => rows.push(recipient.address.to_string()),
            Ok(Row::Bad { why, .. }) => rows.push(why),
            Err(error) => return (rows, Some(error)),
        }
    }
    (rows, None)
}

#[test]
fn urls() {
    let body = b"email\na@x.example\nb@x.example\n";
    let length = format!("200 OK\r\nContent-Length: {}", body.len());
    let packed = gzip(body);
    let good = [
        vec![answer(&length, body)],
        vec![answer("200 OK\r\nTransfer-Encoding: chunked", b"8\r\nemail\na@\r\n15\r\nx.example\nb@x.example\r\n0\r\n\r\n")],
        vec![answer(&format!("200 OK\r\nContent-Type: application/gzip\r\nContent-Length: {}", packed.len()), &packed)],
        vec![answer("302 Found\r\nLocation: /other\r\nContent-Length: 0", b""), answer(&length, body)],
    ];
    for answers in good {
        let shown = String::from_utf8_lossy(&answers[0]).into_owned();
        assert_eq!(fetch(answers), (vec!["a@x.example".to_owned(), "b@x.example".to_owned()], None), "{shown}");
    }
    let redirect = answer("302 Found\r\nLocation: /again\r\nContent-Length: 0", b"");
    let bad = [
        (vec![answer("404 Not Found\r\nContent-Length: 0", b"")], false, "the server answered 404 Not Found"),
        (vec![answer("503 Service Unavailable\r\nContent-Length: 0", b"")], true, "the server answered 503"),
        (vec![answer("200 OK\r\nContent-Length: 100", body)], true, "it cannot be read"),
        (vec![answer("200 OK\r\nTransfer-Encoding: chunked", b"6\r\nemail\n\r\n")], true, "it cannot be read"),
        (vec![answer("200 OK", &packed[..packed.len() - 3])], true, "it ends too early"),
        (vec![redirect; 8], false, "redirects more than 5 times"),
        (vec![b"not HTTP at all\r\n\r\n".to_vec()], true, "no answer: invalid HTTP version"),
    ];
    for (answers, transient, wanted) in bad {
        let (_, error) = fetch(answers);
        let error = error.unwrap_or_else(|| panic!("no error: {wanted}"));
        assert!(
            error.message.starts_with("http://127.0.0.1:") && error.message.contains("/people.csv: ") && error.message.contains(wanted),
            "{error}"
        );
        assert_eq!((error.reason, error.needs_person), (Reason::AudienceUnreadable, !transient), "{error}");
        for secret in ["user", "pass", "token", "secret"] {
            assert!(!error.message.contains(secret), "{error}");
        }
    }
    let runtime = runtime();
    for (url, wanted) in
        [("ftp://user:pass@example.com/x", "only http and https"), ("nonsense", "the URL is invalid"), ("http://127.0.0.1:1/x", "onnect")]
    {
        let error = Reader::open(&Input::csv(at(url, Egress::Everywhere)), runtime.handle()).expect_err(url);
        assert!(error.message.contains(wanted) && !error.message.contains("pass"), "{error}");
    }
}

#[test]
fn urls_that_may_not_be_contacted() {
    let runtime = runtime();
    let open = |url: &str| Reader::open(&Input::csv(at(url, Egress::PublicOnly)), runtime.handle()).map(|_| ());
    // Somebody listens there, and nobody may be able to tell.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("set");
    let port = listener.local_addr().expect("bound").port();
    let said = |error: Blocker| (error.reason, error.message.split_once(": the host has ").map(|(_, what)| what.to_owned()));
    let wanted = said(open("http://10.0.0.1/people.csv").expect_err("private"));
    assert!(
        wanted.0 == Reason::AddressNotAllowed && wanted.1.as_ref().is_some_and(|what| what.starts_with("no public address")),
        "{wanted:?}"
    );
    let hosts = ["127.0.0.1", "localhost", "LOCALHOST.", "2130706433", "0x7f.1", "017700000001", "127.1", "[::1]", "[::ffff:127.0.0.1]"];
    for host in hosts.into_iter().chain(["169.254.169.254", "[fd00:ec2::254]", "0", "no-such-name.invalid"]) {
        for scheme in ["http", "https"] {
            let error = open(&format!("{scheme}://user:pass@{host}:{port}/people.csv?token=secret")).expect_err(host);
            assert!(!error.message.contains("pass") && !error.message.contains("secret"), "{error}");
            assert_eq!(said(error), wanted, "{host}");
        }
    }
    assert!(listener.accept().is_err(), "somebody was contacted");
}

#[test]
fn redirects_that_may_not_be_followed() {
    let runtime = runtime();
    let cases = [("http://127.0.0.1:1/", true), ("http://localhost:1/", false), ("http://169.254.169.254/latest/", true)];
    for (target, is_literal) in cases {
        let redirect = answer(&format!("302 Found\r\nLocation: {target}\r\nContent-Length: 0"), b"");
        // The first host plays one with a public address.
        let base = serve(vec![redirect]).replace("user:pass@127.0.0.1", "people.example");
        let (host, port) = base.trim_start_matches("http://").split_once(':').expect("host and port");
        let here = format!("127.0.0.1:{port}").parse().expect("an address");
        let client = super::http::builder(Egress::PublicOnly, false, None).resolve(host, here).build().expect("a client");
        let error = runtime.block_on(async { client.get(&base).send().await }).expect_err(target);
        assert!(crate::egress::client::is_not_allowed(&error), "{target}: {error:?}");
        assert_eq!(error.is_redirect(), is_literal, "{target}");
        assert!(!NotAllowed.to_string().contains("127"));
    }
}
