//! What is found in messages, and what is not.

use super::*;

fn of(html: &str) -> Vec<(Check, String)> {
    let concerns = inspect(&Message { subject: "News", text: "Hello there", html: Some(html) });
    let concerns = concerns.into_iter().map(|concern| (concern.check, concern.what));
    // Each of these pieces lacks one.
    concerns.filter(|(check, _)| *check != Check::NoPreheader).collect()
}

fn checks(html: &str) -> Vec<Check> {
    of(html).into_iter().map(|(check, _)| check).collect()
}

const WORDS: &str = "The quick brown fox jumps over the lazy dog, and then it rests in the sun until it is evening.";

#[test]
fn each_check_has_its_rule_and_its_row_in_the_document() {
    let page = include_str!("../../docs/check.md");
    let mut names = std::collections::BTreeSet::new();
    for (index, rule) in RULES.iter().enumerate() {
        assert_eq!(rule.check as usize, index, "{}", rule.name);
        assert_eq!(rule.check.rule().name, rule.name);
        assert!(names.insert(rule.name), "{} stands twice", rule.name);
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| {} | {} |", rule.name, if rule.is_warning { "warning" } else { "note" })));
        assert!(
            row.is_some_and(|row| row.ends_with(&format!("| {} |", rule.fix))),
            "docs/check.md lacks the row of {}: {}",
            rule.name,
            rule.fix
        );
    }
    let rows = page.lines().filter(|line| line.starts_with("| ") && (line.contains("| warning |") || line.contains("| note |")));
    assert_eq!(rows.count(), RULES.len() + 1, "those of RULES, and that of documents");
}

#[test]
fn a_good_message_has_nothing() {
    let html = format!(
        "<!DOCTYPE html><html><head><title>{{{{ not shown }}}}</title><style>p {{ color: red }}</style></head><body><p style=\"margin: 0; font-family: 'A;B', serif\">{WORDS} 100%% {{ }} ${{}}</p><a href=\"https://shop.example/x?a=1\">Shop</a> <a href='mailto:a@shop.example'>a@shop.example</a> <a href=\"#top\">up</a> <a href='https://click.shop.example/1'>https://shop.example/sale</a><img src=\"https://shop.example/a.png\" alt=\"\"><img src='https://shop.example/open.gif' width=1 height=\"1\"><!--[if mso]><v:rect style=\"position:absolute\"></v:rect><![endif]--></body></html>"
    );
    assert_eq!(of(&html), []);
    assert_eq!(inspect(&Message { subject: "Größe & more", text: "ä", html: None }), []);
}

#[test]
fn subjects_and_texts_are_looked_at() {
    let of = |subject: &str, text: &str| {
        inspect(&Message { subject, text, html: None }).into_iter().map(|concern| concern.check).collect::<Vec<_>>()
    };
    assert_eq!(of("  ", "Hi"), [Check::NoSubject]);
    assert_eq!(of("Hi", " \n--\n"), [Check::NoText]);
    assert_eq!(of(&"ü".repeat(70), "Hi"), []);
    assert_eq!(of(&"ü".repeat(71), "Hi"), [Check::LongSubject]);
    for placeholder in ["{{ name }}", "{{name|title}}", "{% if vip %}", "*|FNAME|*", "${first_name}", "%%First Name%%", "[%name%]"] {
        assert_eq!(of(&format!("Dear {placeholder}"), "Hi"), [Check::Placeholder], "{placeholder}");
        assert_eq!(of("Hi", &format!("Dear {placeholder},")), [Check::Placeholder], "{placeholder}");
    }
    for text in
        ["{{", "{{ }}", "50 %% of {x}", "a*|b", "${}", "{{ this is no name but goes on and on and on until nobody reads it any more }}"]
    {
        assert_eq!(of("Hi", text), if text.chars().any(char::is_alphanumeric) { vec![] } else { vec![Check::NoText] }, "{text}");
    }
}

#[test]
fn preheaders_are_looked_at() {
    let of = |html: &str| {
        let concerns = inspect(&Message { subject: "Spring is here!", text: "Hello there", html: Some(html) });
        concerns.into_iter().map(|concern| concern.check).collect::<Vec<_>>()
    };
    let with = |preheader: &str| format!("<html><body><div style=\"display:none;opacity:0\">{preheader}</div><p>{WORDS}</p></body></html>");
    assert_eq!(of(&format!("<p>{WORDS}</p>")), [Check::NoPreheader]);
    assert_eq!(of(&with("New roses in the shop")), [], "how it is hidden hurts nobody");
    assert_eq!(of(&with(" &#8199;&#65279;&#847; &zwnj;&nbsp;&shy; ")), [Check::NoPreheader], "nothing but what fills it up");
    assert_eq!(of(&format!("<p>{WORDS}</p><div style='display:none'>x</div>")), [Check::NoPreheader], "what stands below is none");
    assert_eq!(of(&with("SPRING is here, and so are roses")), [Check::RepeatedSubject]);
    assert_eq!(of(&with(&"ü".repeat(140))), []);
    assert_eq!(of(&with(&"ü".repeat(141))), [Check::LongPreheader]);
    assert_eq!(of(&with("Dear {{ name }}")), [Check::Placeholder]);
    for hides in ["style='max-height:0px; overflow:hidden'", "style=\"DISPLAY: none !important\"", "hidden", "style='visibility:hidden'"] {
        let html = format!("<div {hides}><div>New</div> roses</div><p>{WORDS}</p>");
        assert_eq!(html::read(&html).preheader, "New roses", "{hides}");
        assert_eq!(of(&html), [], "{hides}");
    }
    for shown in [
        "<img hidden src='https://a.example/a.png' alt='x'>",
        "<div style='max-height:0'>New</div>",
        "<div/>",
        "<p style='display:block'>New</p>",
    ] {
        assert_eq!(html::read(&format!("{shown}<p>{WORDS}</p>")).preheader, "", "{shown}");
    }
}

#[test]
fn links_and_images_are_looked_at() {
    for (html, wanted) in [
        ("<a href='http://shop.example/'>x</a>", Some(Check::InsecureLink)),
        ("<a href='/sale'>x</a>", Some(Check::BrokenLink)),
        ("<a href=''>x</a>", Some(Check::BrokenLink)),
        ("<a href='#'>x</a>", Some(Check::BrokenLink)),
        ("<a href='javascript:void(0)'>x</a>", Some(Check::BrokenLink)),
        ("<a href='https:///x'>x</a>", Some(Check::BrokenLink)),
        ("<a href='https://localhost:8080/x'>x</a>", Some(Check::BrokenLink)),
        ("<a href='http://192.168.1.4/x'>x</a>", Some(Check::BrokenLink)),
        ("<a href='https://[fe80::1]/x'>x</a>", Some(Check::BrokenLink)),
        ("<a href='https://preview.shop.test/x'>x</a>", Some(Check::BrokenLink)),
        ("<A HREF=\"https://evil.example/\"><b>www.shop.example</b></A>", Some(Check::MisleadingLink)),
        ("<a href='https://evilshop.example/'>https://shop.example</a>", Some(Check::MisleadingLink)),
        ("<a href='https://www.shop.example/'>http://shop.example</a>", None),
        ("<a href='https://shop.example/'>index.html</a>", None),
        ("<a href='https://bit.ly/x'>x</a>", Some(Check::Shortener)),
        ("<a href='https://shop.example/?n={{ name }}'>x</a>", Some(Check::Placeholder)),
        ("<a href='https://shop.example/?n=%7B%7Bname%7D%7D'>x</a>", Some(Check::Placeholder)),
        ("<a name='x'>x</a>", None),
        ("<a href='tel:+4930123'>x</a>", None),
        ("<img src='https://shop.example/a.png'>", Some(Check::NoAlt)),
        ("<img alt='x' src='http://shop.example/a.png'>", Some(Check::BrokenImage)),
        ("<img alt='x' src='a.png'>", Some(Check::BrokenImage)),
        ("<img alt='x'>", Some(Check::BrokenImage)),
        ("<img alt='x' src='data:image/png;base64,AAAA'>", Some(Check::BrokenImage)),
        ("<img alt='x' src='cid:logo'>", None),
        ("<img alt='x' src='https://shop.example/a.WebP?v=1'>", Some(Check::ImageFormat)),
        ("<script>alert('{{ x }}')</script>", Some(Check::Removed)),
        ("<p onclick='x()'>a</p>", Some(Check::Removed)),
        ("<iframe src='https://shop.example'></iframe>", Some(Check::Removed)),
    ] {
        assert_eq!(checks(&format!("<p>{WORDS}</p>{html}")), wanted.into_iter().collect::<Vec<_>>(), "{html}");
    }
    assert_eq!(checks("<img alt='Sale!' src='https://shop.example/a.png'><p>View it</p>"), [Check::ImagesOnly]);
}

#[test]
fn what_outlook_and_gmail_drop_is_named() {
    let outlook = |list: &str| (Check::Outlook, format!("Outlook on Windows ignores {list}"));
    let gmail = |list: &str| (Check::Gmail, format!("Gmail ignores {list}"));
    for (html, wanted) in [
        ("<p style='border-radius: 4px; color: red'>x</p>", vec![outlook("border-radius")]),
        ("<p style='POSITION:absolute'>x</p>", vec![outlook("position"), gmail("position")]),
        ("<div style='display: inline-flex'>x</div>", vec![outlook("display: flex")]),
        ("<div style='display: block; background: linear-gradient(red; blue)'>x</div>", vec![outlook("gradients")]),
        ("<p style='font-size: 1.2rem; width: 3remote'>x</p>", vec![outlook("the unit rem")]),
        ("<p style='width: 50%; margin: 4premium'>x</p>", vec![]),
        (
            "<style>/* position: x */ @import url(x); @media (max-width: 9px) { a:hover { color: red } p { float: left } }</style>",
            vec![outlook(":hover, @media, float"), gmail("@import")],
        ),
        ("<style>a:link{color:red}</style>", vec![gmail(":link")]),
        ("<svg></svg><form></form>", vec![outlook("<form>, <svg>"), gmail("<svg>")]),
    ] {
        assert_eq!(of(&format!("<p>{WORDS}</p>{html}")), wanted, "{html}");
    }
}

#[test]
fn gmail_clips_from_102_kb_on() {
    let page = |size: usize| format!("<p>{}</p>", "word ".repeat(size / 5));
    assert_eq!(checks(&page(CLIPPED_FROM - 10)), []);
    assert_eq!(checks(&page(CLIPPED_FROM + 10)), [Check::Clipped]);
}

/// A number below `count` that looks like chance.
fn pick(seed: u64, at: u64, count: usize) -> usize {
    let mut hasher = siphasher::sip::SipHasher13::new();
    std::hash::Hash::hash(&(seed, at), &mut hasher);
    usize::try_from(std::hash::Hasher::finish(&hasher) % count as u64).expect("it is small")
}

#[test]
fn whatever_stands_in_html_is_read_to_its_end() {
    let parts = [
        "<",
        ">",
        "<a href='",
        "</a",
        "<style>",
        "</style>",
        "<!--",
        "-->",
        "{",
        "}",
        "@",
        ":",
        ";",
        "\"",
        "(",
        "img ",
        "é",
        "/*",
        "*/",
        "{{x}}",
    ];
    for number in 0..2_000_u64 {
        let html: String = (0..40).map(|at| parts[pick(number, at, parts.len())]).collect();
        let _ = of(&html);
    }
}

#[test]
fn the_most_frequent_comes_first_and_what_is_too_much_is_counted() {
    let mut tally = Tally::default();
    for number in 0..2_000 {
        let mut concerns = vec![Concern::of(Check::BrokenLink, format!("link {number:04}"))];
        if number % 2 == 0 {
            concerns.push(Concern::of(Check::BrokenLink, "all"));
        }
        concerns.push(Concern { check: Check::Clipped, what: "long".to_owned(), size: Some(200_000 + number) });
        tally.add(&format!("{number}@b.example"), concerns);
    }
    let counted = tally.counted();
    assert_eq!(tally.messages(), 2_000);
    assert_eq!((counted[0].check, &*counted[0].what, counted[0].messages), (Check::Clipped, "long (198 KB at the most)", 2_000));
    assert_eq!(counted[0].example.as_deref(), Some("1999@b.example"));
    assert_eq!((&*counted[1].what, counted[1].messages, counted[1].example.as_deref()), ("all", 1_000, Some("0@b.example")));
    assert_eq!(&*counted[2].what, "link 0000");
    let last = counted.last().expect("some");
    assert_eq!((&*last.what, last.messages, last.example.as_deref()), ("and at least 990 more of this kind", 1_991, None));
    assert_eq!(counted.len(), 12);
}
