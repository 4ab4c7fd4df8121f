//! Which ways to write an address are one person's, and which are none.

use super::*;

#[test]
fn all_spellings_of_an_address_have_one_key() {
    for (key, ways) in [
        (
            "ann@xn--mnchen-3ya.example",
            &["ann@münchen.example", "Ann@MÜNCHEN.example", "ann@mu\u{308}nchen.example", "ann@XN--MNCHEN-3YA.example"][..],
        ),
        ("ann@example.com", &["\"ann\"@example.com", "\"a\\n\\n\"@Example.COM", "ANN@example.com", "ann@ｅｘａｍｐｌｅ。com"]),
        ("rené@example.com", &["rene\u{301}@example.com", "RENÉ@example.com", "\"rené\"@example.com"]),
        ("\"a b\"@example.com", &["\"A b\"@example.com", "\"a\\ b\"@example.com"]),
        ("\"a,\\\"b\"@example.com", &["\"a,\\\"b\"@EXAMPLE.com"]),
    ] {
        assert_eq!(canonical(key), key, "a key is its own key");
        for way in ways {
            assert_eq!(canonical(way), key, "{way}");
        }
    }
    assert!(matches!(canonical("ann.b+c@example.com"), Cow::Borrowed(_)), "the usual one costs nothing");
    assert_ne!(canonical("a.nn@example.com"), canonical("ann@example.com"));
}

#[test]
fn keys_of_addresses_with_letters_that_change() {
    for (one, other) in [
        // A dot does not end a word, so that the usual lower case of the first has the other sigma.
        ("ΝΊΚΟΣ.Α@example.com", "νίκος.α@example.com"),
        ("ΝΊΚΟΣ@example.com", "νίκος@example.com"),
        ("İ@example.com", "i\u{307}@example.com"),
        ("\"e\\\u{301}\"@example.com", "é@example.com"),
        ("\u{212a}@example.com", "k@example.com"),
        ("ann@ΟΔΌΣ", "ann@οδόσ"),
        ("FOO", "foo"),
        ("FOO@", "foo@"),
    ] {
        assert_eq!(canonical(one), canonical(other), "{one} and {other}");
    }
    assert_ne!(canonical("FOO"), canonical("FOO@"), "what is no address gets no `@`");
    assert_ne!(canonical("ann@οδός"), canonical("ann@οδόσ"), "two domains");
}

#[test]
fn a_key_is_its_own_key_whatever_it_is_made_of() {
    // A bar stands between them.
    const PIECES: &str = "a|B|ß|ẞ|İ|ı|I|Σ|ς|σ|é|e|E|\u{301}|\u{307}|\u{323}|\u{345}|\u{338}|ᾼ|Ω|\u{2126}|\u{212a}|\u{212b}|\
        \u{958}|\u{fb1d}|\u{ac00}|\u{1100}|\u{1161}|\u{11a8}|Ⴀ|Ꭰ|ǅ|ﬁ|９|@|＠|\"|\"|\\|.|。|-|－|\u{20}|,|<|=|\
        xn--|xn--mnchen-3ya|XN--|3ya|\u{200d}|\u{ad}|א|١|😀|\0|\u{7f}|\u{80}|\
        aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let pieces: Vec<&str> = PIECES.split('|').collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % bound as u64).expect("small")
    };
    let mut parsed = 0;
    for _ in 0..12_000 {
        let mut text = String::new();
        for _ in 0..draw(9) {
            match draw(12) {
                0 => text.extend(char::from_u32(u32::try_from(draw(0x11_0000)).expect("small"))),
                _ => text.push_str(pieces[draw(pieces.len())]),
            }
        }
        if draw(3) == 0 {
            text.push_str("@example.com");
        }
        let key = canonical(&text);
        assert_eq!(canonical(&key), key, "{text:?}");
        if let Ok(address) = Address::parse(&text) {
            parsed += 1;
            assert_eq!(canonical(address.as_str()), key, "{text:?}");
            assert_eq!(canonical(&address.to_wire()), key, "{text:?} on the wire");
            assert_eq!(Address::parse(address.as_str()).as_ref(), Ok(&address), "{text:?}");
        }
    }
    assert!(parsed > 300, "{parsed} of them were addresses");
    // All letters of the planes whose letters have other forms, and a sample of the others.
    let planes = (0..0x2_0000).chain(0x2_f000..0x3_0000).chain(0xe_0000..0xe_1000).chain((0x2_0000..=0x10_ffff).step_by(251));
    for letter in planes.filter_map(char::from_u32) {
        for text in [format!("a{letter}@{letter}x"), format!("\"\\{letter}\"@x")] {
            let key = canonical(&text);
            assert_eq!(canonical(&key), key, "{text:?}");
        }
    }
}

#[test]
fn a_labels_are_the_encoding_of_a_name() {
    for (domain, is_good) in [
        ("xn--mnchen-3ya.example", true),
        ("www.XN--MNCHEN-3YA.example", true),
        ("xn--ls8h.example", true),
        ("xn--fa-hia.example", true),
        ("xn--mgbh0fb.xn--kgbechtv", true),
        ("r3---sn.example", true),
        // Nothing is encoded, rubbish, plain letters, a capital that would be encoded small, and a composed letter in two.
        ("xn--", false),
        ("xn--.example", false),
        ("xn--a.example", false),
        ("xn--rubbish-99999999999.example", false),
        ("example.xn--abc-", false),
        ("example.xn--abc", false),
        ("xn--mnchen-psa.example", false),
        ("xn--munchen-gie.example", false),
        ("münchen.xn--a", false),
    ] {
        let read = Address::parse(&format!("ann@{domain}"));
        assert_eq!(read.is_ok(), is_good, "{domain}: {read:?}");
    }
    let why = Address::parse("ann@xn--a.example").expect_err("nothing");
    assert_eq!(why, "a part of the domain starts with `xn--` but encodes no name (RFC 5891): write the domain in its own script");
}

#[test]
fn lengths_are_those_of_the_wire() {
    let domain = |labels: usize, last: usize| format!("{}{}", format!("{}.", "d".repeat(63)).repeat(labels), "e".repeat(last));
    for (address, is_good) in [
        (format!("{}@{}", "a".repeat(64), domain(2, 61)), true),
        (format!("{}@{}", "a".repeat(64), domain(2, 62)), false),
        (format!("a@{}", domain(3, 60)), true),
        (format!("a@{}", domain(3, 61)), false),
        (format!("a@{}.com", "d".repeat(64)), false),
        (format!("a@{}.com", "ü".repeat(50)), true),
        (format!("a@{}.com", "ü".repeat(70)), false),
        ("me@－lead.com".to_owned(), false),
        ("me@lead－.com".to_owned(), false),
        ("me@le－ad.com".to_owned(), true),
    ] {
        assert_eq!(Address::parse(&address).is_ok(), is_good, "{address}: {:?}", Address::parse(&address));
    }
}
