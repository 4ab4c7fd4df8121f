//! Which fields templates name, which of them they need, and what is said of one that the audience does not have.

use std::{collections::BTreeSet, fmt::Write as _};

use super::content;
use crate::{
    message::{Content, fields_named, missing_fields, misspelt_fields},
    resources::campaign::Mailbox,
};

/// The fields that a text needs, and after a `?` those that it allows to be missing.
fn named(template: &str) -> String {
    let content = Content { subject: "x".to_owned(), text: Some(template.into()), ..content() };
    let fields = fields_named(&content).into_iter().filter(|field| field.attribute.is_none());
    let (optional, needed): (Vec<_>, Vec<_>) = fields.partition(|field| field.is_optional);
    let mut out = String::new();
    for field in &needed {
        write!(out, "{}:{} ", field.line, field.name).expect("a text");
    }
    out.push('?');
    let names: BTreeSet<String> = optional.into_iter().map(|field| field.name).collect();
    for name in names.into_iter().filter(|name| !needed.iter().any(|field| field.name == *name)) {
        write!(out, " {name}").expect("a text");
    }
    out
}

#[test]
fn a_field_is_needed_where_its_absence_fails() {
    let cases = [
        ("no tag", "?"),
        ("{{ name }}", "1:name ?"),
        ("a\n{{ name }}\n{{ city | upper }}", "2:name 3:city ?"),
        ("{{ name ~ '!' }}{{ a + b }}", "1:a 1:b 1:name ?"),
        ("{% if lang == 'de' %}{{ a }}{% else %}{{ b }}{% endif %}", "1:a 1:b 1:lang ?"),
        (
            "{% for x in list if x.ok %}{{ x.a }} {{ loop.index }} {{ other }}{% else %}{{ none_of }}{% endfor %}",
            "1:list 1:none_of 1:other ?",
        ),
        ("{{ user.first }}", "1:user ?"),
        ("{{ fields.name }}{{ fields['First Name'] }}", "1:First Name 1:name ?"),
        ("{{ name[:1] }}{{ text.replace('a', b) }}", "1:b 1:name 1:text ?"),
        ("{% set n = name %}\n{{ n }}", "1:name ?"),
        ("{% with n = name %}{{ n }}{% endwith %}{{ n }}", "1:n 1:name ?"),
        ("{% if code in codes %}x{% endif %}", "1:code 1:codes ?"),
        ("{{ 'a' if vip else b }}", "1:b ? vip"),
        ("{{ name | default(other) }}", "1:other ? name"),
        ("{% filter upper %}{{ name }}{% endfilter %}", "1:name ?"),
        ("{% macro hello(n) %}{{ n }} {{ city }}{% endmacro %}{{ hello(name) }}", "1:city ? name"),
        ("{{ campaign }} {{ fields | length }} {% for i in range(3) %}{{ i }}{% endfor %}", "?"),
        ("{% raw %}{{ name }}{% endraw %}{# {{ city }} #}", "?"),
    ];
    for (template, wanted) in cases {
        assert_eq!(named(template), wanted, "{template}");
    }
}

#[test]
fn a_field_may_be_missing_where_the_template_allows_for_it() {
    let cases = [
        ("{{ name | default('friend') }}{{ city | d('here') | upper }}", "? city name"),
        ("{% if name %}Dear {{ name }}{% endif %}", "? name"),
        ("{% if name is defined %}{{ name }}{% else %}friend{% endif %}", "? name"),
        ("{% if not name %}friend{% else %}{{ name }}{% endif %}", "? name"),
        ("{% if name is undefined %}friend{% else %}{{ name }}{% endif %}", "? name"),
        ("{% if a and b %}{{ a }}{{ b }}{% endif %}", "? a b"),
        ("{% if a or b %}{{ a }}{% endif %}", "1:a ? b"),
        ("{% if name and name | length > 2 %}{{ name }}{% endif %}", "? name"),
        ("{{ name or 'friend' }}", "? name"),
        ("{{ name if name else 'friend' }}", "? name"),
        ("{% if name is not defined %}{% set name = 'friend' %}{% endif %}{{ name }}", "? name"),
        ("{% set n = name | default('friend') %}{{ n }}", "? name"),
        ("{% set n = name %}{% if n %}{{ n }}{% endif %}{{ n | default('x') }}", "? name"),
        ("{% if fields.name %}{{ name }}{% endif %}{% if fields.get('x') %}{{ x }}{% endif %}", "? name x"),
    ];
    for (template, wanted) in cases {
        assert_eq!(named(template), wanted, "{template}");
    }
}

/// What is said of templates for an audience with these fields.
fn missing(content: &Content, known: &[&str]) -> Vec<String> {
    missing_fields(&fields_named(content), known, true).iter().map(ToString::to_string).collect()
}

#[test]
fn a_field_that_nobody_has_is_a_fault_with_its_line() {
    let content = Content {
        subject: "Hello {{ nmae }}".to_owned(),
        html: Some("<p>\n{{ nmae }} {{ FirstName }}\n{{ nmae }}</p>".into()),
        ..content()
    };
    assert_eq!(
        missing(&content, &["email", "name", "First Name"]),
        [
            "spec.subject: line 1: the audience has no field `nmae`; did you mean `name`? Its fields are `email`, `name`, `First Name`. Where a field may be missing, write `{{ nmae | default(\"…\") }}`",
            "spec.content.html: line 2: the audience has no field `FirstName`; did you mean `fields[\"First Name\"]`? Its fields are `email`, `name`, `First Name`. Where a field may be missing, write `{{ FirstName | default(\"…\") }}`",
            "spec.content.html: line 2: the audience has no field `nmae`; did you mean `name`? Its fields are `email`, `name`, `First Name`. Where a field may be missing, write `{{ nmae | default(\"…\") }}`",
        ]
    );
    assert_eq!(missing(&content, &["email", "nmae", "FirstName"]), [""; 0]);
}

#[test]
fn a_misspelt_field_with_a_default_is_told_unless_the_other_is_named_too() {
    let said = |text: &str| {
        let content = Content { subject: "x".to_owned(), text: Some(text.into()), ..content() };
        misspelt_fields(&fields_named(&content), &["email", "name", "city"]).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let wanted = "spec.content.text: line 2: the audience has no field `nmae`; did you mean `name`?";
    assert_eq!(said("Hi\n{{ nmae | default('friend') }}{% if nmae %}x{% endif %}"), [wanted]);
    assert_eq!(said("{{ nmae | default('friend') }} {{ name }}"), [""; 0]);
    assert_eq!(said("{{ nmae }} {{ country | default('') }} {{ city }}"), [""; 0]);
}

/// One template for campaigns with and without a column: what only those get who have it needs nothing else either.
#[test]
fn what_a_missing_field_leaves_out_needs_nothing() {
    let content = Content {
        subject: "x".to_owned(),
        text: Some("{% if vip %}{{ code }}{% endif %}{% if name %}{{ city }}{% endif %}".into()),
        ..content()
    };
    assert_eq!(missing(&content, &["email"]), [""; 0]);
    let said = missing(&content, &["email", "vip", "name"]);
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("`city`") && said[1].contains("`code`"), "{said:?}");
}

#[test]
fn every_template_of_a_campaign_is_read() {
    let content = Content {
        reply_to: Some(Mailbox { name: Some("{{ b }}".to_owned()), address: "r@news.example.com".to_owned() }),
        html: Some("\u{feff}<style>@media screen{#outlook a{padding:0}}</style>\n{{ d }}".into()),
        text: Some("{{ e }}".into()),
        headers: vec![super::header("List-Id", "{{ f }}")],
        unsubscribe_url: Some("https://x.example/{{ g }}".to_owned()),
        ..Content::bare(Mailbox { name: Some("{{ a }}".to_owned()), address: "news@news.example.com".to_owned() }, "{{ c }}")
    };
    let paths: Vec<String> = fields_named(&content).iter().map(|field| format!("{}:{}:{}", field.path, field.line, field.name)).collect();
    assert_eq!(
        paths,
        [
            "spec.from.name:1:a",
            "spec.replyTo.name:1:b",
            "spec.subject:1:c",
            "spec.content.html:2:d",
            "spec.content.text:1:e",
            "spec.unsubscribe.url:1:g",
            "spec.headers[0].value:1:f"
        ]
    );
}

#[test]
fn what_cannot_be_read_names_nothing() {
    let nested = format!("{{{{ {}a{} }}}}", "(".repeat(5000), ")".repeat(5000));
    for template in ["{{ name }", "{% if x %}", "{{ a b }}", nested.as_str()] {
        assert_eq!(named(template), "?", "{template}");
    }
}

/// A template of a customer, walked by the process that sends for others.
#[test]
fn no_template_takes_long() {
    let doubled = "{% set x = x if c else x | default(x) %}".repeat(10_000) + "{{ x }}";
    let chained = format!("{{{{ {} }}}}", vec!["x"; 120].join(" and ")).repeat(800);
    let nested = format!(
        "{}{}{}",
        "{% if a1 and a2 and a3 and a4 and a5 and a6 %}".repeat(50),
        "{{ name }}\n".repeat(18_000),
        "{% endif %}".repeat(50)
    );
    let began = std::time::Instant::now();
    for template in [&doubled, &chained, &nested] {
        assert_ne!(named(template), "?", "{}", &template[..40]);
    }
    assert!(began.elapsed() < std::time::Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn a_column_has_no_attributes_and_an_object_may() {
    for (template, wanted) in [
        ("{{ name.first }}", Some("name.first")),
        ("{{ name['first'] | upper }}", Some("name.first")),
        ("a\n{{ fields.name.first ~ '!' }}", Some("name.first")),
        ("{% if name.first %}{{ name.first }}{% endif %}", None),
        ("{{ name.first | default(name) }}", None),
        ("{{ name.upper() }} {{ name }}", None),
        ("{% for x in name %}{{ x.first }}{% endfor %}", None),
        ("{% if name.first %}{{ nmae }}{% endif %}", None),
    ] {
        let content = Content { subject: "x".to_owned(), text: Some(template.into()), ..content() };
        let named = fields_named(&content);
        let of_texts = missing_fields(&named, &["email", "name", "nmae"], true);
        assert_eq!(of_texts.first().and_then(|fault| fault.quote.as_deref()), wanted, "{template}");
        assert_eq!(missing_fields(&named, &["email", "name", "nmae"], false), [], "{template}");
    }
    // What such a condition protects is compared with the header all the same.
    let content = Content { subject: "x".to_owned(), text: Some("{% if name.first %}{{ nmae }}{% endif %}".into()), ..content() };
    assert_eq!(missing_fields(&fields_named(&content), &["email", "name"], false).len(), 1);
}
