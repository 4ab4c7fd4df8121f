use super::*;
use crate::chance::jitter;

fn keys(text: &[(u8, u8)]) -> Keys {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let lines: String = text.iter().map(|(id, byte)| format!("{id} {}\n", STANDARD.encode([*byte; 32]))).collect();
    Keys::parse(&lines).unwrap()
}

fn subscription(namespace: &str, topic: Option<&str>, address: &str) -> Subscription {
    Subscription { namespace: namespace.into(), topic: topic.map(Into::into), address: address.into(), run: None }
}

#[test]
fn a_token_says_who_and_what_and_is_the_same_each_time() {
    let tokens = Tokens::new(&keys(&[(1, 7)]));
    let longest = format!("{}@{}.example", "ä".repeat(32), "ö".repeat(450));
    for one in [
        subscription("default", None, "ann@example.com"),
        subscription("default", Some("offers"), "ann@example.com"),
        subscription("shop", Some("a"), "a@b"),
        Subscription { run: Some((7, 0)), ..subscription("shop", None, "a@b") },
        Subscription { run: Some((u32::MAX, u32::MAX)), ..subscription("shop", None, "a@b") },
        subscription(&"n".repeat(63), Some(&"t".repeat(63)), &longest),
    ] {
        let token = tokens.make(&one).unwrap();
        assert_eq!(tokens.read(&token), Some(one.clone()));
        assert_eq!(Tokens::new(&keys(&[(1, 7)])).make(&one), Some(token.clone()), "the same in another process");
        assert_eq!(tokens.read(&token.to_ascii_uppercase()), Some(one.clone()), "a mail system may change the case");
        assert!(token.bytes().all(|b| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b)), "{token}");
        assert!(!token.contains("ann"), "{token}");
    }
    let two = [subscription("a", Some("b"), "c@d"), subscription("ab", None, "c@d"), subscription("a", None, "bc@d")];
    let made: std::collections::BTreeSet<_> = two.iter().map(|one| tokens.make(one).unwrap()).collect();
    assert_eq!(made.len(), two.len(), "names have bounds");
    assert_eq!(tokens.make(&subscription(&"n".repeat(256), None, "a@b")), None);
}

#[test]
fn an_older_key_still_reads_and_a_removed_one_does_not() {
    let one = subscription("default", None, "ann@example.com");
    let old = Tokens::new(&keys(&[(1, 1)])).make(&one).unwrap();
    let rotated = Tokens::new(&keys(&[(2, 2), (1, 1)]));
    let new = rotated.make(&one).unwrap();
    assert_ne!(old, new);
    assert_eq!((rotated.read(&old), rotated.read(&new)), (Some(one.clone()), Some(one)));
    assert_eq!(Tokens::new(&keys(&[(2, 2)])).read(&old), None);
    assert_eq!(Tokens::new(&keys(&[(1, 2)])).read(&old), None, "another key of that number");
    assert_eq!(Tokens::new(&Keys::sample()).read(&old), None);
}

/// Each single letter altered, each beginning and end cut off, parts of two tokens, tokens of other keys and versions.
#[test]
fn forged_and_altered_tokens_say_nothing() {
    let tokens = Tokens::new(&keys(&[(1, 7), (2, 8)]));
    let others = [Tokens::new(&keys(&[(1, 9)])), Tokens::new(&Keys::sample())];
    let mut tried = 0_u32;
    let mut refuse = |token: &str| {
        tried += 1;
        assert_eq!(tokens.read(token), None, "{token}");
    };
    for number in 0..36_u64 {
        let one = subscription("shop", (number % 2 == 0).then_some("offers"), &format!("person{number}@example.com"));
        let token = tokens.make(&one).unwrap();
        let namesake = tokens.make(&subscription("other", one.topic.as_deref(), &one.address)).unwrap();
        for other in &others {
            refuse(&other.make(&one).unwrap());
        }
        for at in 0..token.len() {
            for letter in BASE32_NOPAD.specification().symbols.to_ascii_lowercase().chars() {
                let altered = format!("{}{letter}{}", &token[..at], &token[at + 1..]);
                if altered != token {
                    refuse(&altered);
                }
            }
            refuse(&token[..at]);
            refuse(&token[at + 1..]);
            refuse(&format!("{}{}", &token[..at], &token[at + 1..]));
            if token[..at] != namesake[..at] && token[at..] != namesake[at..] {
                refuse(&format!("{}{}", &token[..at], &namesake[at..]));
            }
        }
        for more in ["a", "aa", "=", " ", "/", "%61", "1", "ä", "\0"] {
            refuse(&format!("{token}{more}"));
            refuse(&format!("{more}{token}"));
        }
        refuse(&format!("{token}{token}"));
    }
    assert!(tried > 100_000, "{tried}");
}

#[test]
fn random_bytes_and_texts_are_no_tokens() {
    let tokens = Tokens::new(&keys(&[(1, 7)]));
    for seed in 0..50_000_u64 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let byte = |at: u64| (jitter(seed, "bytes", at) * 256.0) as u8;
        let length = u64::from(byte(1_000)) % 90;
        let mut bytes: Vec<u8> = (0..length).map(byte).collect();
        if seed % 2 == 0 && bytes.len() > 1 {
            (bytes[0], bytes[1]) = (VERSION, 1);
        }
        assert_eq!(tokens.read(&BASE32_NOPAD.encode(&bytes)), None);
        assert_eq!(tokens.read(&String::from_utf8_lossy(&bytes)), None);
        // What a token could hold if it were sealed: any bytes at all, and no panic.
        if let Some(one) = Subscription::from_bytes(&bytes) {
            let written = one.to_bytes().unwrap();
            assert_eq!((Subscription::from_bytes(&written), &written[8..]), (Some(one), &bytes[8..]));
        }
    }
    assert_eq!(tokens.read(&"a".repeat(1 << 20)), None);
}

#[test]
fn links_and_mails_carry_the_token() {
    let one = subscription("default", None, "ann@example.com");
    let keys = keys(&[(1, 7)]);
    let links = Links::new(&keys, "https://news.example.com/".parse().unwrap());
    let (url, mail) = links.make(&one, Some("b.example")).unwrap();
    let token = url.strip_prefix("https://news.example.com/u/v1/").unwrap();
    assert_eq!(Tokens::new(&keys).read(token), Some(one.clone()));
    let sample = Links::sample(None).make(&one, None).unwrap().0;
    assert_eq!(Tokens::new(&keys).read(sample.strip_prefix("https://mailfleet.invalid/u/v1/").unwrap()), None);

    assert_eq!(mail, Some(format!("mailto:unsubscribe@b.example?subject={token}")), "it fits into no local part");
    assert_eq!(token_of_mail("unsubscribe", &format!(" Re:  {token} ")), Some(token));
    let short = "a".repeat(52);
    let local = format!("unsubscribe-{short}");
    assert_eq!((mailto(&short, "b.example"), local.len()), (format!("mailto:{local}@b.example"), 64));
    assert_eq!(mailto(&"a".repeat(53), "b.example"), format!("mailto:unsubscribe@b.example?subject={}", "a".repeat(53)));
    assert_eq!(token_of_mail(&local.to_ascii_uppercase(), "Hello"), Some(&*"A".repeat(52)));
    for (local, subject) in [("news", token), ("unsub", token), ("unsubscribed", token), ("unsubscribe", " "), ("ünsubscribe", token)] {
        assert_eq!(token_of_mail(local, subject), None, "{local}");
    }
}
