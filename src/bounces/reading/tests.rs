//! What real systems write, in tests/bounces, and what no system would.

use std::{fs, path::Path, time::Instant};

use super::*;
use crate::chance::jitter;

/// A mail of tests/bounces.
struct Case {
    name: String,
    wanted: Vec<String>,
    raw: Vec<u8>,
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bounces");
    let mut files: Vec<_> = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).expect("text");
        for part in text.split("\n=== ").skip(1) {
            let (name, rest) = part.split_once('\n').expect("a name");
            let (mut wanted, mut mail) = (Vec::new(), rest);
            while let Some((line, after)) = mail.strip_prefix("= ").and_then(|rest| rest.split_once('\n')) {
                mail = after;
                if !line.starts_with("source: ") {
                    wanted.push(line.to_owned());
                }
            }
            cases.push(Case { name: name.to_owned(), wanted, raw: mail.replace('\n', "\r\n").into_bytes() });
        }
    }
    cases
}

/// A reading as the files write it.
fn told(reading: &Reading) -> Vec<String> {
    let address = |recipient: &Recipient| recipient.address.clone().unwrap_or("-".to_owned());
    match reading.kind {
        Kind::Report => {
            let word = |one: &Recipient| match (one.action, one.is_hard) {
                (Action::Failed, true) => "HardBounce".to_owned(),
                (Action::Failed, false) => "SoftBounce".to_owned(),
                (action, _) => format!("{action:?}"),
            };
            reading.recipients.iter().map(|one| format!("{} {}", word(one), address(one))).collect()
        }
        Kind::Complaint => reading.recipients.iter().map(|one| format!("Complaint {}", address(one))).collect(),
        kind => vec![format!("{kind:?}")],
    }
}

#[test]
fn what_real_systems_write_is_read_right() {
    let cases = cases();
    assert!(cases.len() >= 80, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let told = told(&read(&case.raw, &[]));
        let is_hard = |line: &String| line.starts_with("HardBounce");
        assert!(
            told.iter().filter(|line| is_hard(line)).all(|line| case.wanted.contains(line)),
            "{}: a wrong hard bounce: {told:?}",
            case.name
        );
        if told != case.wanted {
            wrong.push(format!("{}: {told:?}, not {:?}", case.name, case.wanted));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn the_message_that_a_report_is_about_is_found() {
    for case in cases().iter().filter(|case| String::from_utf8_lossy(&case.raw).contains("Message-ID: <n7.42@shop.example>")) {
        let reading = read(&case.raw, &["bounce-abc@b.example"]);
        if matches!(reading.kind, Kind::Report | Kind::Complaint) {
            assert_eq!(reading.original_id.as_deref(), Some("n7.42@shop.example"), "{}", case.name);
        }
        assert_eq!(reading.addresses[0], "bounce-abc@b.example");
    }
}

/// Alters a mail at a few places.
fn altered(raw: &[u8], seed: u64) -> Vec<u8> {
    const PIECES: &[&[u8]] = &[
        b"\r\n",
        b"\n\n",
        b":",
        b";",
        b"<",
        b">",
        b"@",
        b"--=_b1",
        b"--=_b1--",
        b"((((((((",
        b"\xff\xfe",
        b"\0",
        b"550 5.1.1 ",
        b"5.1.1",
        b"Status: ",
        b"Content-Type: message/rfc822\r\n\r\n",
        b"Content-Type: multipart/digest; boundary=x\r\n\r\n--x\r\n\r\n",
        b"=?utf-8?q?=41?=",
        b"\\x{10FFFF}",
        b"\\x{",
        b"99999999999999999999",
        "ü".as_bytes(),
        b"Final-Recipient: rfc822;",
        b"Content-Transfer-Encoding: base64\r\n",
    ];
    let (mut bytes, mut number) = (raw.to_vec(), 0);
    let mut chance = |below: usize| {
        number += 1;
        let share = jitter(seed, "fuzz", number);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let picked = (share * below as f64) as usize;
        picked.min(below.saturating_sub(1))
    };
    for _ in 0..=chance(6) {
        let at = chance(bytes.len().max(1)).min(bytes.len());
        let end = (at + chance(40)).min(bytes.len());
        match chance(5) {
            0 => drop(bytes.drain(at..end)),
            1 => bytes.splice(at..at, PIECES[chance(PIECES.len())].iter().copied()).for_each(drop),
            2 => {
                let copy = bytes[at..end].to_vec();
                let to = chance(bytes.len().max(1)).min(bytes.len());
                bytes.splice(to..to, copy).for_each(drop);
            }
            3 => bytes.truncate(at),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = u8::try_from(chance(256)).unwrap_or(0);
                }
            }
        }
    }
    bytes
}

#[test]
fn altered_mails_are_read_within_their_time() {
    let cases = cases();
    let mut longest = std::time::Duration::ZERO;
    for seed in 0..2_000_u64 {
        let case = &cases[usize::try_from(seed).expect("small") % cases.len()];
        let raw = altered(&case.raw, seed);
        let began = Instant::now();
        let reading = read(&raw, &["bounce-abc@b.example"]);
        let took = began.elapsed();
        assert!(reading.recipients.len() <= 100 && reading.recipients.iter().all(|one| one.detail.chars().count() <= 250), "seed {seed}");
        longest = longest.max(took);
        assert!(took.as_secs() < 2, "seed {seed} took {took:?}");
    }
    println!("the longest took {longest:?}");
}

#[test]
fn what_is_nested_or_endless_is_read_within_its_time() {
    let nested = "Content-Type: message/rfc822\r\n\r\n".repeat(20_000);
    let digests = (0..10_000).map(|n| format!("Content-Type: multipart/digest; boundary=b{n}\r\n\r\n--b{n}\r\n\r\n")).collect::<String>();
    let reports = format!(
        "From: MAILER-DAEMON@x\r\nContent-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n{}",
        "Final-Recipient: rfc822;u@example.com\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 x\r\n\r\n".repeat(5_000)
    );
    let words = format!(
        "Return-Path: <>\r\nFrom: MAILER-DAEMON@x\r\n\r\nThe message could not be delivered:\r\n{}",
        "<u@example.com>: 550 5.1.1 no such user\r\n".repeat(10_000)
    );
    let codes = format!("Return-Path: <>\r\nFrom: MAILER-DAEMON@x\r\n\r\nThe message could not be delivered: {}", "550 ".repeat(100_000));
    let header = format!("From: MAILER-DAEMON@x\r\n{}\r\nx", "To: a@b\r\n".repeat(50_000));
    let line = "a@".repeat(250_000);
    for (what, text) in [
        ("nested", nested),
        ("digests", digests),
        ("reports", reports),
        ("words", words),
        ("codes", codes),
        ("header", header),
        ("line", line),
    ] {
        let began = Instant::now();
        let reading = read(text.as_bytes(), &[]);
        assert!(began.elapsed().as_secs() < 10, "{what} took {:?}", began.elapsed());
        assert!(reading.recipients.len() <= 100 && reading.addresses.len() <= 64, "{what}");
    }
}

#[test]
fn nothing_is_read_out_of_nothing() {
    for raw in ["", "\r\n", "x", "From:\r\n\r\n"] {
        let reading = read(raw.as_bytes(), &[]);
        assert_eq!((reading.kind, reading.recipients.len()), (Kind::Other, 0), "{raw:?}");
    }
}

/// The parser of mails asserts that a message within a message comes to its end, which a stranger's mail need not: a release goes on
/// with what was read, and so must a debug build (`profile.dev.package.mail-parser`).
#[test]
fn a_message_within_a_message_that_does_not_end_is_read() {
    let raw = include_bytes!("../../../fuzz/corpus/mails/message-within-that-has-no-header");
    let reading = read(raw, &[]);
    assert_eq!((reading.kind, reading.recipients.len()), (Kind::Report, 1), "{reading:?}");
    assert!(reading.recipients[0].is_hard, "{reading:?}");
}
