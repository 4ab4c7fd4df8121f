//! The RFCs' examples, a canonical form made the simple way, and signatures checked by their public keys.

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{ED25519 as VERIFY_ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    canonical::{relaxed_body, relaxed_field},
    key::ED25519,
    *,
};
use crate::chance::jitter;

/// Keys that openssl made.
pub const RSA: &str = include_str!("keys/rsa8.pem");
/// The private key of RFC 8032, 7.1, test 1, of which RFC 8463, A.2 has the public half.
pub const EDWARDS: &str =
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";

fn key(pem: &str) -> std::sync::Arc<PrivateKey> {
    Ring::default().get(pem.as_bytes()).expect("a key")
}

fn body(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    relaxed_body(text, |run| out.extend_from_slice(run));
    out
}

fn field(text: &str) -> String {
    let mut out = Vec::new();
    relaxed_field(text.as_bytes(), &mut out);
    String::from_utf8(out).expect("text")
}

#[test]
fn the_examples_of_rfc_6376() {
    // 3.4.5.
    assert_eq!(field("A: X"), "a:X");
    assert_eq!(field("B : Y\t\r\n\tZ  "), "b:Y Z");
    assert_eq!(body(b" C \r\nD \t E\r\n\r\n\r\n"), b" C\r\nD E\r\n");
    // 3.4.4: an empty body stays empty.
    for empty in [&b""[..], b"\r\n", b"\r\n\r\n", b" \t\r\n \r\n", b"  "] {
        assert_eq!(body(empty), b"", "{empty:?}");
        assert_eq!(STANDARD.encode(body_hash(empty)), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }
    for (text, wanted) in [
        ("a", "a\r\n"),
        ("a\r\nb", "a\r\nb\r\n"),
        ("a \t b\t\r\n\t\r\n.\r\n", "a b\r\n\r\n.\r\n"),
        ("\ta\r\n", " a\r\n"),
        ("\r\n\r\na\r\n \r\n", "\r\n\r\na\r\n"),
    ] {
        assert_eq!(String::from_utf8_lossy(&body(text.as_bytes())), wanted, "{text:?}");
    }
}

#[test]
fn the_example_of_rfc_8463() {
    // A.2 and A.3: the message, the body's hash, and the signature, which for Ed25519 is always the same.
    let message = "From: Joe SixPack <joe@football.example.com>\r\nTo: Suzie Q <suzie@shopping.example.net>\r\nSubject: Is dinner ready?\r\nDate: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\nMessage-ID: <20030712040037.46341.5F8J@football.example.com>\r\n\r\nHi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n";
    let read = Content::read(message.as_bytes());
    let hash = STANDARD.encode(body_hash(read.body));
    assert_eq!(hash, "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=");
    let mut text = Vec::new();
    for line in [0, 1, 2, 3, 4].map(|line| message.split("\r\n").nth(line).expect("a line")) {
        relaxed_field(line.as_bytes(), &mut text);
        text.extend_from_slice(b"\r\n");
    }
    let own = format!(
        "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n d=football.example.com; i=@football.example.com;\r\n q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n subject : date : message-id : from : subject : date;\r\n bh={hash};\r\n b="
    );
    relaxed_field(own.as_bytes(), &mut text);
    let signature = key(EDWARDS).sign(&digest(&SHA256, &text)).expect("a signature");
    assert_eq!(STANDARD.encode(signature), "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==");
}

/// The canonical body as the RFC words it, step by step.
fn simply(text: &[u8]) -> Vec<u8> {
    let text: Vec<char> = text.iter().map(|byte| char::from(*byte)).collect();
    let text: String = text.into_iter().collect();
    let mut lines: Vec<String> = text.split("\r\n").map(str::to_owned).collect();
    for line in &mut lines {
        let trimmed = line.trim_end_matches([' ', '\t']).replace('\t', " ");
        *line = trimmed;
        while line.contains("  ") {
            *line = line.replace("  ", " ");
        }
    }
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    let text: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    text.chars().map(|c| u8::try_from(u32::from(c)).expect("a byte")).collect()
}

#[test]
fn bodies_are_as_the_rfc_words_it() {
    let mut count = 0;
    let mut pick = |most: f64| {
        count += 1;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let picked = (jitter(20_261_129, "bodies", count) * most) as usize;
        picked
    };
    let pieces: [&[u8]; 12] =
        [b" ", b" ", b"  ", b"\t", b"\r\n", b"\r\n", b"a", b"word", b"\xc3\xa9", b"a longer piece of text", b".", b"\r"];
    for _ in 0..3000 {
        let length = pick(120.0);
        let text: Vec<u8> = (0..length).flat_map(|_| pieces[pick(12.0)].to_vec()).collect();
        let wanted = simply(&text);
        assert_eq!(String::from_utf8_lossy(&body(&text)), String::from_utf8_lossy(&wanted), "{:?}", String::from_utf8_lossy(&text));
        assert_eq!(body_hash(&text), digest(&SHA256, &wanted).as_ref());
        // Wherever it is cut, at line ends and within lines.
        let mut cuts = [pick(120.0).min(text.len()), pick(120.0).min(text.len())];
        cuts.sort_unstable();
        let in_pieces = [&text[..cuts[0]], &text[cuts[0]..cuts[1]], &text[cuts[1]..]];
        assert_eq!(body_hash_of(&in_pieces), digest(&SHA256, &wanted).as_ref(), "{in_pieces:?}");
        let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
        assert_eq!(body_hash_of(&lines), digest(&SHA256, &wanted).as_ref(), "{lines:?}");
    }
    // Long runs go past the gathering.
    let long = [b"x".repeat(10_000), b" y\t\r\n".repeat(3000), b"z ".repeat(5000)].concat();
    assert_eq!(body_hash(&long), digest(&SHA256, &simply(&long)).as_ref());
}

/// The tag of a written signature.
fn tag(written: &str, name: &str) -> String {
    let found = written.split(';').find_map(|part| part.trim().trim_start_matches("DKIM-Signature: ").strip_prefix(&format!("{name}=")));
    found.unwrap_or_else(|| panic!("{name}= in {written}")).split_ascii_whitespace().collect()
}

/// Checks the first signature of a message as a receiver does, with a canonical form made the simple way.
fn verify(message: &str, key: &PrivateKey) -> Result<(), String> {
    let (head, text) = message.split_once("\r\n\r\n").ok_or("no body")?;
    let mut fields: Vec<String> = Vec::new();
    for line in head.split("\r\n") {
        match fields.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) => *last = format!("{last} {line}"),
            _ => fields.push(line.to_owned()),
        }
    }
    let plain = |field: &str| {
        let (name, value) = field.split_once(':').expect("a field");
        format!("{}:{}", name.trim().to_lowercase(), value.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
    };
    let own = fields.remove(0);
    if tag(&own, "bh") != STANDARD.encode(digest(&SHA256, &simply(text.as_bytes()))) {
        return Err("the body's hash".to_owned());
    }
    let mut covered = String::new();
    let mut left: Vec<String> = fields.iter().map(|field| plain(field)).collect();
    for name in tag(&own, "h").split(':') {
        let at = left.iter().rposition(|field| field.split(':').next() == Some(&name.to_lowercase()));
        if let Some(at) = at {
            covered.push_str(&format!("{}\r\n", left.remove(at)));
        }
    }
    let unsigned = &own[..own.rfind(" b=").expect("b=") + 3];
    covered.push_str(&plain(unsigned));
    let signature = STANDARD.decode(tag(&own, "b")).map_err(|error| error.to_string())?;
    let is_good = match key.algorithm() {
        Algorithm::RsaSha256 => UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public()).verify(covered.as_bytes(), &signature),
        Algorithm::Ed25519Sha256 => UnparsedPublicKey::new(&VERIFY_ED25519, key.public().strip_prefix(ED25519).expect("the key"))
            .verify(digest(&SHA256, covered.as_bytes()).as_ref(), &signature),
    };
    is_good.map_err(|_| format!("the signature over {covered}"))
}

const MESSAGE: &str = "From: \"Ann <b@c.example>, Shop\" <news@News.Example.com>\r\nTo: bob@example.net\r\nSubject: =?utf-8?B?w6k=?=\r\n =?utf-8?B?w6k=?=\r\nDate: Sun, 29 Nov 2026 08:00:00 +0000\r\nMessage-ID: <1@news.example.com>\r\nList-Unsubscribe: <https://example.com/u>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nX-Other: a\r\nX-Other: b\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nHello  there \r\n\r\n\r\n";

fn signed(message: &str, signer: &Signer, fields: &Fields) -> String {
    let read = Content::read(message.as_bytes());
    let mut out = Vec::new();
    let mut covered = Covered::default();
    read.cover(fields, &mut covered);
    signer.write(&mut covered, &body_hash(read.body), 1_790_000_000, &mut out).expect("a signature");
    out.extend_from_slice(message.as_bytes());
    String::from_utf8(out).expect("text")
}

#[test]
fn a_receiver_accepts_what_is_written_and_nothing_else() {
    for pem in [RSA, EDWARDS] {
        let key = key(pem);
        let signer = Signer::new("example.com", "s1", key.clone());
        for fields in [&Fields::UNTOUCHED, &Fields::REDATED] {
            let message = signed(MESSAGE, &signer, fields);
            assert_eq!(verify(&message, &key), Ok(()));
            let own = message.split("\r\nFrom:").next().expect("the signature");
            assert_eq!(
                ["v", "a", "c", "d", "s", "t"].map(|name| tag(own, name)),
                ["1", key.algorithm().as_str(), "relaxed/relaxed", "example.com", "s1", "1790000000"]
            );
            assert!(!own.contains("l=") && !own.contains("i=") && own.lines().all(|line| line.len() <= 78), "{own}");
            let covered: Vec<String> = tag(own, "h").split(':').map(str::to_owned).collect();
            let times = |name: &str| covered.iter().filter(|one| *one == name).count();
            assert_eq!(["From", "Subject", "To", "Reply-To", "Cc"].map(times), [2, 2, 2, 1, 1], "{own}");
            let is_untouched = *fields == Fields::UNTOUCHED;
            let once_more = if is_untouched { 2 } else { 1 };
            assert_eq!(["List-Unsubscribe", "List-Unsubscribe-Post", "Content-Type"].map(times), [once_more; 3], "{own}");
            assert_eq!(["Date", "Message-ID"].map(times), if is_untouched { [2, 2] } else { [0, 0] }, "{own}");
            assert_eq!(["List-Id", "X-Other", "Content-Transfer-Encoding"].map(times), [0, 0, 0], "{own}");
            for (what, change) in [
                ("a changed subject", message.replace("Subject: =?utf-8?B?w6k=", "Subject: =?utf-8?B?w6j=")),
                ("a changed body", message.replace("there", "where")),
                ("a second From", message.replace("To: bob", "From: eve@example.org\r\nTo: bob")),
                ("a Reply-To", message.replace("To: bob", "Reply-To: eve@example.org\r\nTo: bob")),
                ("another link to unsubscribe", message.replace("example.com/u", "example.org/u")),
                ("no link to unsubscribe", message.replace("List-Unsubscribe: <https://example.com/u>\r\n", "")),
            ] {
                assert_ne!(change, message, "{what}");
                assert!(verify(&change, &key).is_err(), "{what}");
            }
            let redated = message.replace("29 Nov", "30 Nov").replace("<1@", "<2@");
            assert_eq!(verify(&redated, &key).is_ok(), !is_untouched);
            // Spaces and folds may change on the way.
            let refolded =
                message.replace("Subject: =?utf-8?B?w6k=?=\r\n ", "subject:  =?utf-8?B?w6k=?= ").replace("Hello  there", "Hello\tthere  ");
            assert_eq!(verify(&refolded, &key), Ok(()));
        }
    }
}

#[test]
fn the_from_address_decides_who_signs() {
    for (from, wanted) in [
        ("From: a@b.example", Some("b.example")),
        ("from:a@B.Example.", Some("b.example")),
        ("From : Ann <a@b.example>", Some("b.example")),
        ("From: \"x <y@z.example>\" <a@b.example>", Some("b.example")),
        ("From: =?utf-8?B?w6k=?=\r\n <a@b.example>", Some("b.example")),
        ("From: a@b\u{fc}cher.example", Some("xn--bcher-kva.example")),
        ("From: nobody", None),
        ("Subject: From: a@b.example", None),
    ] {
        let message = format!("{from}\r\nTo: x@y.example\r\n\r\nbody");
        assert_eq!(Content::read(message.as_bytes()).from_domain().as_deref(), wanted, "{from}");
    }
    let signer = Signer::new("b.example", "s", key(EDWARDS));
    for (domain, fits) in [("b.example", true), ("a.b.example", true), ("ab.example", false), ("example", false), ("c.example", false)] {
        assert_eq!(signer.fits(domain), fits, "{domain}");
    }
}

#[test]
fn malformed_messages_are_read_somehow() {
    for message in ["", "\r\n", "\r\n\r\nbody", "no colon", " fold first\r\nFrom: a@b\r\n\r\n", "From: a@b", "From: a@b\r\n", ":\r\n\r\n"] {
        let read = Content::read(message.as_bytes());
        read.cover(&Fields::UNTOUCHED, &mut Covered::default());
        let _ = (read.from_domain(), body_hash(read.body));
    }
    let read = Content::read(b"From: a@b.example\r\n");
    assert_eq!((read.from_domain().as_deref(), read.body), (Some("b.example"), &b""[..]));
}

#[test]
fn a_key_that_cannot_sign_says_why() {
    for (pem, algorithm) in
        [(RSA, Algorithm::RsaSha256), (include_str!("keys/rsa1.pem"), Algorithm::RsaSha256), (EDWARDS, Algorithm::Ed25519Sha256)]
    {
        assert_eq!(key(pem).algorithm(), algorithm);
    }
    for (pem, why) in [
        ("", "is not a private key in PEM"),
        ("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n", "cannot be used"),
        (include_str!("keys/small.pem"), "is an RSA key of less than 2,048 bits"),
        (include_str!("keys/ec1.pem"), "is a key on an elliptic curve (EC)"),
        (include_str!("keys/ec8.pem"), "is a key on an elliptic curve (EC)"),
        (include_str!("keys/enc1.pem"), "is encrypted with a passphrase"),
        (include_str!("keys/enc8.pem"), "is encrypted with a passphrase"),
        (include_str!("keys/public.pem"), "is a public key, not the private key"),
        ("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", "is a certificate"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nMAA=\n-----END OPENSSH PRIVATE KEY-----\n", "OpenSSH"),
    ] {
        let told = PrivateKey::parse(pem.as_bytes()).expect_err(why);
        assert!(told.starts_with(why) || told.contains(why), "{told}");
        assert!(told.ends_with("without a passphrase"), "it says what is wanted: {told}");
    }
    assert_eq!(format!("{:?}", key(EDWARDS)), "PrivateKey(ed25519-sha256)");
    // Whoever uses a key, it is read once, and no longer than it is used.
    let ring = Ring::default();
    let (first, again) = (ring.get(RSA.as_bytes()).expect("a key"), ring.get(RSA.as_bytes()).expect("a key"));
    assert!(std::sync::Arc::ptr_eq(&first, &again));
    let weak = std::sync::Arc::downgrade(&first);
    drop((first, again));
    assert_eq!(weak.strong_count(), 0);
}
