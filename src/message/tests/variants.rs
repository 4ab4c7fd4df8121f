//! Variants and preheaders: who gets which, what a variant inherits, and what cannot be sent.

use std::sync::Arc;

use super::{Content, Template, ann, content, headers, random, recipient, render};
use crate::{
    audience::Recipient,
    message::{Census, Choice, Chooser, FileBytes, RenderContext, Variant, fields_named, unreachable_images},
};

fn variant(name: &str) -> Variant {
    Variant { name: name.to_owned(), ..Variant::default() }
}

/// English with HTML and text, German with bodies of its own, and premium, which differs in its subject alone.
fn letters() -> Content {
    Content {
        subject: "Spring, {{ name }}".to_owned(),
        preheader: Some("Roses & more for {{ name }}".to_owned()),
        html: Some("<html><body><p>Dear {{ name }}</p></body></html>".into()),
        text: Some("Dear {{ name }}".into()),
        variant_field: Some("language".to_owned()),
        variants: vec![
            Variant {
                subject: Some("Frühling, {{ name }}".to_owned()),
                preheader: Some("Rosen für {{ name }}".to_owned()),
                html: Some("<p>Hallo {{ name }}</p>".into()),
                ..variant("de")
            },
            Variant { subject: Some("First for you".to_owned()), ..variant("premium") },
        ],
        ..content()
    }
}

fn speaking(language: &str) -> Recipient {
    recipient(&[("name", "Ann"), ("language", language)])
}

/// A field of a message, its words decoded.
fn field(message: &str, name: &str) -> Option<String> {
    let parsed = mail_parser::MessageParser::default().parse(message.as_bytes()).expect("a message");
    match name {
        "Subject" => parsed.subject().map(str::to_owned),
        _ => headers(message).iter().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(": ")?.to_owned())),
    }
}

fn bodies(message: &str) -> (String, String) {
    let parsed = mail_parser::MessageParser::default().parse(message.as_bytes()).expect("a message");
    let lines = |text: Option<std::borrow::Cow<'_, str>>| text.unwrap_or_default().replace("\r\n", "\n");
    (lines(parsed.body_text(0)), lines(parsed.body_html(0)))
}

fn faults(content: &Content) -> Vec<String> {
    Template::compile(content).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[test]
fn each_gets_the_variant_of_their_value_and_others_the_content() {
    let content = letters();
    for (value, subject, language) in [
        ("de", "Frühling, Ann", Some("de")),
        (" DE ", "Frühling, Ann", Some("de")),
        ("de-AT", "Frühling, Ann", Some("de")),
        ("de_CH", "Frühling, Ann", Some("de")),
        ("de-Latn-1996", "Frühling, Ann", Some("de")),
        ("Premium", "First for you", None),
        ("en", "Spring, Ann", None),
        ("deu", "Spring, Ann", None),
        ("", "Spring, Ann", None),
    ] {
        let message = render(&content, &speaking(value));
        assert_eq!(field(&message, "Subject").as_deref(), Some(subject), "{value}");
        assert_eq!(field(&message, "Content-Language").as_deref(), language, "{value}");
    }
    assert_eq!(field(&render(&content, &ann()), "Subject").as_deref(), Some("Spring, Ann"), "without the field");
    let english = Content { variants: vec![variant("en")], ..letters() };
    let message = render(&english, &speaking("en-GB"));
    assert_eq!((field(&message, "Subject"), field(&message, "Content-Language")), (Some("Spring, Ann".to_owned()), Some("en".to_owned())));
    assert_eq!(field(&render(&english, &speaking("it")), "Content-Language"), None, "the language of the content is not known");
    let numbers = Content { variants: vec![Variant { subject: Some("Five".to_owned()), ..variant("5") }], ..letters() };
    let five = Recipient::from_json(r#"{"email":"a@example.com","name":"Ann","language":5}"#).expect("good");
    assert_eq!(field(&render(&numbers, &five), "Subject").as_deref(), Some("Five"));
}

#[test]
fn a_letter_is_whole_in_its_language() {
    let content = letters();
    let (text, html) = bodies(&render(&content, &speaking("de")));
    assert_eq!(text.trim(), "Hallo Ann", "made from its own HTML, and not the content's text");
    assert!(html.contains("<p>Hallo Ann</p>") && html.contains(">Rosen für Ann\n&#8199;"), "{html}");
    assert!(!html.contains("Dear") && !html.contains("Roses"), "{html}");
    let (text, html) = bodies(&render(&content, &speaking("premium")));
    assert_eq!(text.trim(), "Dear Ann");
    assert!(html.contains("<body>\n<div style=\"display:none") && html.contains("Roses &amp; more for Ann"), "{html}");
    assert!(!text.contains("Roses"), "no text body has the preheader");
}

#[test]
fn a_preheader_is_text_and_may_come_out_empty() {
    let with = |preheader: &str| Content { preheader: Some(preheader.to_owned()), html: Some("<p>Hi</p>".into()), ..content() };
    let html = |content: &Content, name: &str| bodies(&render(content, &recipient(&[("name", name)]))).1;
    let attacked = html(&with("{{ name | safe }}"), "</div><script>x</script>\r\nBcc: x");
    assert!(attacked.contains("&lt;&#x2f;div&gt;&lt;script&gt;") && !attacked.contains("<script"), "{attacked}");
    assert_eq!(html(&with("{% if name == 'Bo' %}New{% endif %}"), "Ann").trim(), "<p>Hi</p>");
    let mjml = Content { mjml: Some("<mjml><mj-body><mj-raw><p>Hi</p></mj-raw></mj-body></mjml>".into()), html: None, ..with("New") };
    let page = html(&mjml, "Ann");
    let body = page.find("<body").expect("a body");
    assert!(page[body..].split_once('>').expect("a tag").1.starts_with("\n<div style=\"display:none"), "{page}");
}

#[test]
fn what_would_mix_languages_or_lose_a_body_is_a_fault() {
    let with = |change: fn(&mut Content)| {
        let mut content = letters();
        change(&mut content);
        faults(&content)
    };
    type Change = fn(&mut Content);
    let cases: [(Change, &str); 13] = [
        (|c| c.variants[0].preheader = None, "spec.content.variants.de.preheader: the content has a preheader, and this variant"),
        (
            |c| (c.variants[0].html, c.variants[0].text) = (None, Some("Hallo".into())),
            "spec.content.variants.de: the content has an HTML body, and this variant has none",
        ),
        (|c| c.variants[1].name = "DE".to_owned(), "spec.content.variants: `de` and `DE` are the same variant"),
        (|c| c.variants[1].name = "Default".to_owned(), "spec.content.variants: `Default` is what the content itself is called"),
        (|c| c.variants[1].name = "de.AT".to_owned(), "spec.content.variants: `de.AT` is not the name of a variant"),
        (|c| c.variants[1].name = "x".repeat(64), "is not the name of a variant: letters and digits"),
        (|c| c.variants[1].name = String::new(), "spec.content.variants: `` is not the name of a variant"),
        (|c| c.variants[0].html = Some("<p>\n{{ name</p>".into()), "spec.content.variants.de.html: line 2: syntax error"),
        (
            |c| c.variants[1].subject = Some("{{ name | nofilter }}".to_owned()),
            "spec.content.variants.premium.subject: line 1: unknown filter",
        ),
        (|c| c.variants[0].mjml = Some("<mjml></mjml>".into()), "spec.content.variants.de: `html` and `mjml` are mutually exclusive"),
        (|c| c.preheader = Some("{% if %}".to_owned()), "spec.content.preheader: line 1: syntax error"),
        (|c| (c.html, c.variants) = (None, Vec::new()), "spec.content.preheader: there is no HTML body to put it into"),
        (
            |c| {
                let mjml = "<mjml><mj-head><mj-preview>Neu</mj-preview></mj-head><mj-body><mj-raw>x</mj-raw></mj-body></mjml>";
                (c.variants[0].html, c.variants[0].mjml) = (None, Some(mjml.into()));
            },
            "spec.content.variants.de.preheader: the MJML has an <mj-preview>, which is a preheader as well",
        ),
    ];
    for (change, wanted) in cases {
        let found = with(change);
        assert!(found.iter().any(|fault| fault.contains(wanted)), "{wanted}: {found:?}");
    }
    // An <mj-preview> is a preheader too.
    let found = with(|c| {
        let mjml = "<mjml><mj-head><mj-preview>Neu</mj-preview></mj-head><mj-body><mj-raw>x</mj-raw></mj-body></mjml>";
        (c.variants[0].html, c.variants[0].mjml, c.variants[0].preheader) = (None, Some(mjml.into()), None);
    });
    assert_eq!(found, Vec::<String>::new());
    let found = with(|c| {
        let mjml = "<mjml><mj-head><mj-preview>New</mj-preview></mj-head><mj-body><mj-raw>x</mj-raw></mj-body></mjml>";
        (c.html, c.mjml, c.preheader) = (None, Some(mjml.into()), None);
        c.variants[1].preheader = Some("First".to_owned());
    });
    assert_eq!(
        found,
        ["spec.content.variants.premium.preheader: the MJML has an <mj-preview>, which is a preheader as well; keep one of the two"]
    );
}

#[test]
fn values_are_escaped_in_the_html_of_a_variant() {
    let attacked = recipient(&[("name", "<b>"), ("language", "de")]);
    let (text, html) = bodies(&render(&letters(), &attacked));
    assert!(html.contains("<p>Hallo &lt;b&gt;</p>"), "{html}");
    assert_eq!(text.trim(), "Hallo <b>");
}

#[test]
fn fields_and_images_of_variants_are_looked_at() {
    let mut content = letters();
    content.variants[0].html = Some("<p>{{ anrede }}</p>\n<img src=\"logo.png\"><img src='cid:logo'>".into());
    let named: Vec<(String, String)> = fields_named(&content).into_iter().map(|field| (field.path, field.name)).collect();
    for wanted in
        [("spec.content.variants.de.html", "anrede"), ("spec.content.variants.de.preheader", "name"), ("spec.content.preheader", "name")]
    {
        assert!(named.contains(&(wanted.0.to_owned(), wanted.1.to_owned())), "{wanted:?}: {named:?}");
    }
    let images: Vec<String> = unreachable_images(&content).iter().map(ToString::to_string).collect();
    assert!(images.iter().any(|fault| fault.starts_with("spec.content.variants.de.html: line 2: the image `logo.png`")), "{images:?}");
    assert!(images.iter().any(|fault| fault.starts_with("spec.content.variants.de.html: line 2: `cid:logo`")), "{images:?}");
    let template = Template::compile(&letters()).expect("good");
    assert!(template.prints("spec.subject", None) && !template.prints("spec.subject", Some("de")));
    assert!(template.prints("spec.content.html", Some("premium")) && !template.prints("spec.content.text", Some("de")));
    assert!(!template.prints("spec.content.variants.de.html", None) && template.prints("spec.from.name", Some("de")));
}

#[test]
fn a_field_that_one_variant_lacks_fails_for_its_recipients_alone() {
    let mut content = letters();
    content.variants[0].subject = Some("{{ anrede }}".to_owned());
    let template = Template::compile(&content).expect("good");
    let context = RenderContext { message_id: "a@b", date: jiff::Timestamp::UNIX_EPOCH, campaign: "c", senders: None, link: None };
    let error = template.render(&speaking("de"), &context).expect_err("no such field");
    assert_eq!(error.path, "spec.content.variants.de.subject");
    assert!(template.render(&speaking("en"), &context).is_ok());
    assert!(template.render_variant(None, &speaking("de"), &context).is_ok(), "as another variant on request");
}

#[test]
fn files_are_encoded_once_for_all_variants() {
    let file = crate::message::Attachment {
        filename: "a.bin".to_owned(),
        content_type: None,
        inline: None,
        file: Some(FileBytes::new(Arc::from(vec![7; 1 << 20]))),
    };
    let content = Content { attachments: vec![file], ..letters() };
    let template = Template::compile(&content).expect("good");
    let context = RenderContext { message_id: "a@b", date: jiff::Timestamp::UNIX_EPOCH, campaign: "c", senders: None, link: None };
    let shared = |language: &str| {
        let rendered = template.render(&speaking(language), &context).expect("renders");
        let shared = rendered.content.inserts().map(|(_, shared)| Arc::as_ptr(shared)).collect::<Vec<_>>();
        assert_eq!(shared.len(), 1);
        shared[0]
    };
    assert!(std::ptr::eq(shared("de"), shared("en")));
    let one = Template::compile(&Content { variants: Vec::new(), ..content.clone() }).expect("good").cost();
    assert!(template.cost() < one + (8 << 10), "{} and {one}", template.cost());
}

#[test]
fn the_description_of_a_content_without_any_is_as_it_was() {
    let plain = format!("{:?}", Content { text: Some("Hi".into()), ..content() });
    assert!(!plain.contains("preheader") && !plain.contains("variant"), "{plain}");
    let differ = [letters(), Content { variant_field: Some("lang".to_owned()), ..letters() }, {
        let mut content = letters();
        content.variants[0].html = Some("<p>Hallo, {{ name }}</p>".into());
        content
    }];
    let described: std::collections::BTreeSet<String> = differ.iter().map(|content| format!("{content:?}")).collect();
    assert_eq!(described.len(), differ.len(), "each difference is seen");
}

#[test]
fn what_templates_hold_together_is_bounded() {
    // Each is within the bounds of a template; forty of them are not.
    let body: Arc<str> = "{{a}}".repeat(19_000).into();
    let large = |index: usize| Variant {
        subject: Some("x".to_owned()),
        html: Some(body.clone()),
        text: Some(body.clone()),
        ..variant(&format!("v{index}"))
    };
    let content = |count: usize| Content { preheader: None, variants: (0..count).map(large).collect(), ..letters() };
    assert_eq!(faults(&content(3)), Vec::<String>::new());
    let found = faults(&content(40));
    assert!(found[0].contains("the templates of the campaign need more than 128 MiB of memory"), "{found:?}");
}

/// The lookup of RFC 4647 as its words have it, over lists of subtags.
fn looked_up(names: &[String], range: &str) -> Option<usize> {
    let parts = |text: &str| text.to_lowercase().replace('_', "-").split('-').map(str::to_owned).collect::<Vec<_>>();
    let mut range = parts(range);
    while !range.is_empty() {
        if let Some(found) = names.iter().position(|name| parts(name) == range) {
            return Some(found);
        }
        range.pop();
        if range.last().is_some_and(|last| last.len() == 1) {
            range.pop();
        }
    }
    None
}

#[test]
fn values_are_looked_up_as_rfc_4647_does() {
    const PARTS: [&str; 10] = ["de", "DE", "at", "AT", "Latn", "x", "a", "1996", "zh", "hant"];
    let mut found = 0;
    for seed in 0..5_000_u64 {
        let mut pick = random(seed);
        let mut tag = |most: usize| {
            let mark = ["-", "_"][pick(2)];
            (0..=pick(most)).map(|_| PARTS[pick(PARTS.len())]).collect::<Vec<_>>().join(mark)
        };
        let mut names: Vec<String> = Vec::new();
        for _ in 0..6 {
            let name = tag(3);
            if !names.iter().any(|other| Chooser::are_same(other, &name)) {
                names.push(name);
            }
        }
        let chooser = Chooser::new(Some("language"), names.iter().map(String::as_str));
        for _ in 0..10 {
            let value = tag(6);
            let wanted = looked_up(&names, &value);
            assert_eq!(chooser.place(&value), wanted, "seed {seed}: {value} among {names:?}");
            let choice = chooser.choose(&speaking(&value).fields);
            assert_eq!(choice.variant(), wanted.map(|place| names[place].as_str()), "seed {seed}: {value}");
            found += usize::from(wanted.is_some());
        }
    }
    assert!(found > 1_000, "only {found} were found");
    let chooser = Chooser::new(Some("language"), ["a"]);
    let endless = "a-".repeat(500_000);
    assert_eq!(chooser.choose(&speaking(&endless).fields), Choice::Unmatched(endless[..40].to_owned()), "no long work for a long value");
    assert_eq!(Chooser::new(None, ["de"]).choose(&speaking("de").fields), Choice::Content, "without a field nobody chooses");
}

#[test]
fn a_census_counts_everybody_and_names_the_most_frequent() {
    let chooser = Chooser::new(Some("language"), ["de", "fr"]);
    let mut census = Census::default();
    let people = [("de", 5), ("de-AT", 2), ("fr", 1), ("", 3), ("it", 4), ("Deutsch", 2), ("es", 1), ("pl", 1)];
    for (value, count) in people {
        (0..count).for_each(|_| census.add(&chooser.choose(&speaking(value).fields)));
    }
    assert_eq!((census.of("de"), census.of("fr"), census.of("it"), census.of_variants()), (7, 1, 0, 8));
    assert_eq!((census.of_content(), census.unmatched()), (11, 8));
    assert_eq!(census.values_named(), "`it` (4), `Deutsch` (2), `es` (1), others");
    (0..3_000).for_each(|number| census.add(&chooser.choose(&speaking(&format!("q{number}")).fields)));
    assert_eq!(census.unmatched(), 3_008, "also of values that are not kept apart");
}
