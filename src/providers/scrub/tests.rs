//! Every form in which a server can give a secret back, with the text around it left alone.

use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

use super::*;

const SECRETS: &[&str] = &[
    "correct-Horse7",
    "p@ss \"word\" / <1>",
    "SG.x1Y2z3-_abcdef.GHIJKLmnop_qrstuv-wxyz0123",
    "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLE==",
    "пароль-Größe42",
    "abcd efgh ijkl mnop",
    "w\\rd&<42>%x=41\\u0041",
    "k3y!",
];

fn hex(text: &str, between: &str, before: &str) -> String {
    text.bytes().map(|byte| format!("{before}{byte:02x}")).collect::<Vec<_>>().join(between)
}

fn halves(text: &str) -> (&str, &str) {
    text.split_at(text.floor_char_boundary(text.len() / 2))
}

/// The secret in every form, each with a name.
pub fn forms(secret: &str) -> Vec<(&'static str, String)> {
    let (a, b) = halves(secret);
    let encoded = STANDARD.encode(secret);
    let plain = format!("\0ann@shop.example\0{secret}");
    let mut forms = vec![
        ("raw", secret.to_owned()),
        ("capitals", secret.to_uppercase()),
        ("small", secret.to_lowercase()),
        ("two lines", format!("{a}\n{b}")),
        ("two lines with codes", format!("{a}\n5.7.1 {b}")),
        ("invisible between", format!("{a}\u{200b}{b}")),
        ("control between", format!("{a}\u{1}{b}")),
        ("base64", encoded.clone()),
        ("base64, unpadded", STANDARD_NO_PAD.encode(secret)),
        ("base64 for URLs", URL_SAFE.encode(secret)),
        ("base64 for URLs, unpadded", URL_SAFE_NO_PAD.encode(secret)),
        ("base64 twice", STANDARD.encode(&encoded)),
        ("AUTH PLAIN", STANDARD.encode(&plain)),
        ("AUTH PLAIN, two lines", STANDARD.encode(&plain).split_at(19).0.to_owned() + "\r\n" + STANDARD.encode(&plain).split_at(19).1),
        ("AUTH PLAIN for URLs", URL_SAFE_NO_PAD.encode(&plain)),
        ("AUTH PLAIN, percent-encoded", view::percent_encoded(&STANDARD.encode(&plain))),
        ("AUTH PLAIN in hexadecimal", hex(&STANDARD.encode(&plain), "", "")),
        ("Basic", format!("Basic {}", STANDARD.encode(format!("api:{secret}")))),
        ("Basic, once more", STANDARD.encode(format!("Authorization: Basic {}", STANDARD.encode(format!("api:{secret}"))))),
        ("XOAUTH2", STANDARD.encode(format!("user=ann@shop.example\x01auth=Bearer {secret}\x01\x01"))),
        ("percent-encoded", view::percent_encoded(secret)),
        ("percent-encoded throughout", hex(secret, "%", "").replacen("", "%", 1)),
        ("percent-encoded twice", view::percent_encoded(&view::percent_encoded(secret))),
        ("quoted-printable", format!("={}", hex(secret, "=", "").to_uppercase())),
        ("JSON", view::json_escaped(secret)),
        ("JSON, twice", view::json_escaped(&view::json_escaped(secret))),
        ("JSON, by number", secret.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()),
        ("HTML, by number", secret.chars().map(|c| format!("&#{};", u32::from(c))).collect()),
        ("HTML", secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")),
        ("hexadecimal", hex(secret, "", "")),
        ("hexadecimal, capitals", hex(secret, "", "").to_uppercase()),
        ("hexadecimal with colons", hex(secret, ":", "")),
        ("hexadecimal, as C", hex(secret, ", ", "0x")),
        ("escapes of C", hex(secret, "", "\\x")),
        ("form", view::percent_encoded(secret).replace("%20", "+")),
    ];
    if view::bare(secret).len() >= BARE_MIN {
        forms.push(("base64, small", encoded.to_lowercase()));
        forms.push(("spelt", secret.chars().flat_map(|c| [c, '-']).collect()));
        forms.push(("two fields", format!("{a}\": \"{b}")));
    }
    forms
}

#[test]
fn strikes_out_every_form_and_nothing_else() {
    for secret in SECRETS {
        let scrubber = Scrubber::from(vec![SecretValue::new(format!("{secret}\n"))]);
        for (name, form) in forms(secret) {
            for (before, after) in [("", ""), ("550 5.7.8 you sent ", " and that is wrong"), ("<b>", "</b>")] {
                let text = format!("{before}{form}{after}");
                let scrubbed = scrubber.scrub(&text);
                let left = scrubbed.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
                let is_clean = left.is_some_and(|left| {
                    let rest = left.replace(STRUCK, "").replace("Basic ", "");
                    // Of a spelt secret or of base64 in two pieces a sign may stay behind.
                    left.contains(STRUCK) && rest.chars().filter(|c| c.is_alphanumeric()).count() <= 2
                });
                let is_word = name.starts_with("AUTH PLAIN") || name.starts_with("XOAUTH2") || name == "Basic, once more";
                let is_clean = is_clean || is_word && !holds(&scrubbed, secret);
                assert!(is_clean, "{secret}, {name}: `{text}` became `{scrubbed}`");
            }
        }
    }
}

/// Whether one of the secret's forms is still there, as a person would look for it.
fn holds(text: &str, secret: &str) -> bool {
    let dense: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    forms(secret).iter().any(|(_, form)| dense.contains(&form.split_whitespace().collect::<String>()))
        || base64_parts(secret.as_bytes()).iter().any(|part| dense.contains(part.as_str()))
}

#[test]
fn leaves_other_words_alone() {
    let scrubber = Scrubber::from(vec![SecretValue::new("correct-Horse7"), SecretValue::new("abc"), SecretValue::new("")]);
    for text in [
        "250 2.0.0 Ok: queued as 4F1B2C3D",
        "535 5.7.8 Username and Password not accepted",
        "abc: a secret of three letters is not struck out, since that would show it",
        "the correct horse, 7 of them",
        "",
        "é\u{200b}%zz%4\\u12 &#xffffff; &unknown;=",
    ] {
        assert_eq!(scrubber.scrub(text), if text.contains("horse") { "the ***, 7 of them".replace(", 7", "") } else { text.to_owned() });
    }
    assert_eq!(Scrubber::default().scrub("correct-Horse7"), "correct-Horse7");
}

#[test]
fn a_cut_leaves_no_part_of_a_secret() {
    let secret = "correct-Horse7-Battery";
    let scrubber = Scrubber::from(vec![SecretValue::new(secret)]);
    for length in TEXT_MAX - 2 * secret.len()..TEXT_MAX + 2 {
        // What is not shown to people would bring the end to the front.
        let text = format!("{}{secret} and more{}", "\u{1}".repeat(length), " ".repeat(100));
        let scrubbed = scrubber.scrub(&text);
        assert!(!scrubbed.contains("corr"), "{length}");
    }
}

#[test]
fn learns_tokens_and_forgets_the_oldest() {
    let scrubber = Scrubber::default();
    let same = scrubber.clone();
    for count in 0..=LEARNED_MAX {
        scrubber.learn(&SecretValue::new(format!("token-number-{count:04}")));
    }
    assert_eq!(same.scrub("token-number-0000 token-number-0001 token-number-0008"), "token-number-0000 *** ***");
    assert_eq!(format!("{same:?}"), "Scrubber");
}
