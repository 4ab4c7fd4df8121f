//! What templates understand, and what is said of what they do not.

use super::{Content, Recipient, Template, content, recipient, render};

fn see(template: &str, json: &str) -> String {
    let message = render(&Content { text: Some(template.into()), ..content() }, &Recipient::from_json(json).expect("good"));
    message.split_once("\r\n\r\n").expect("a body").1.trim_end().replace("\r\n", "\n")
}

#[test]
fn what_jinja_knows() {
    let json = r#"{"email":"a@x.example","name":"ann Lee","map":{"z":1,"a":2},"list":["x","y","z"],"day":"2026-12-01","html":"<b>a</b> &amp; b","link":"a/b"}"#;
    let cases = [
        ("{% for k, v in map.items() %}{{ k }}{{ v }}{% endfor %}", "z1a2"),
        ("{% for k, v in fields.items() %}{{ k }} {% endfor %}", "email name map list day html link"),
        ("{% for k in map %}{{ k }}{% endfor %}{{ map.keys()|list }}", "za['z', 'a']"),
        ("{{ name.upper() }} {{ name.title() }} {{ name.replace('ann', 'Bo') }} {{ name.split(' ')[1] }}", "ANN LEE Ann Lee Bo Lee Lee"),
        ("{% if name.startswith('ann') %}yes{% endif %}{{ ', '.join(list) }}{{ map.get('q', 7) }}", "yesx, y, z7"),
        ("{% for i in list %}{{ loop.previtem | default('-') }}{{ i }}{{ loop.nextitem | default('-') }} {% endfor %}", "-xy xyz yz-"),
        ("{% for i in list %}{% if i == 'z' %}{% break %}{% endif %}{% if i == 'x' %}{% continue %}{% endif %}{{ i }}{% endfor %}", "y"),
        ("{{ 'one two three four' | truncate(9, leeway=0) }}", "one..."),
        ("{{ 'one two three four' | truncate(length=9, end='~', leeway=0) }}", "one two~"),
        ("{{ html | striptags }}", "a & b"),
        ("{{ 'one two three' | wordwrap(7) }}", "one two\nthree"),
        ("{{ day | dateformat(format='long') }}", "December 1 2026"),
        ("{% for i in list %}{{ loop.cycle('o', 'e') }}{% endfor %}", "oeo"),
    ];
    for (template, wanted) in cases {
        assert_eq!(see(template, json), wanted, "{template}");
    }
}

#[test]
fn links_keep_their_slashes() {
    let fields = recipient(&[("name", "Ann"), ("url", "https://x.example/a?b=1&c=<2>"), ("list", "x")]);
    let html = "<a href=\"{{ url }}\">{{ url | e }}</a>{{ [url] }}{{ url | escape | safe }}{{ '<b>' | safe }}{{ '\\'' }}";
    let message = render(&Content { html: Some(html.into()), text: Some("t".into()), ..content() }, &fields);
    let link = "https://x.example/a?b=1&amp;c=&lt;2&gt;";
    let wanted = format!("<a href=\"{link}\">{link}</a>[&#x27;{link}&#x27;]{link}<b>&#x27;");
    assert!(message.replace("=\r\n", "").contains(&wanted), "{message}");
}

#[test]
fn unknown_words_are_reported_before_anybody_is_mailed() {
    let cases = [
        ("{{ name | truncate(3) }}\n{{ name | nofilter }}", "line 2: unknown filter `nofilter`"),
        ("{% if x is nosuch %}{% endif %}", "line 1: unknown test"),
        ("{{ name | round }}{% if x is not nosuch %}{% endif %}", "line 1: unknown test `nosuch`"),
        ("{{ name.casefold() }}", "line 1: unknown method"),
        ("{{ name | round }}\n{{ name.casefold() }}", "line 2: unknown method `casefold`"),
        ("{{ name | round }}{{ (name).format_map(x) }}", "line 1: unknown method `format_map`"),
        // It would print as much as one likes.
        ("{{ '{:>900000000}'.format('x') }}", "line 1: unknown method `format`"),
        ("{{ now() }}", "line 1: unknown function `now`"),
        ("{{ name | round }}\n{{ cycler('a', 'b') }}", "line 2: unknown function `cycler`"),
        ("{% filter nofilter %}x{% endfilter %}", "line 1: unknown filter `nofilter`"),
        ("{{ 'x' | upper(1) }}", "line 1: too many arguments"),
        ("{{ 'x' | replace }}", "line 1: missing argument"),
    ];
    for (template, wanted) in cases {
        let faults = Template::compile(&Content { text: Some(template.into()), ..content() }).expect_err(wanted);
        assert!(faults[0].to_string().contains(wanted), "{template}: {faults:?}");
    }
    for good in [
        "{{ 'a | nofilter is nosuch' }}{# | nofilter #}",
        "{{ x.is.b }}",
        "{% if x is defined and x is not none %}{% endif %}",
        "{% if (x) and not (y) or z in (1, 2) %}{% endif %}",
        "{% macro f(a) %}{{ a }}{% if caller %}{{ caller() }}{% endif %}{% endmacro %}{{ f(1) }}{% call f(2) %}x{% endcall %}",
        "{% for i in range(3) %}{% endfor %}{{ dict(a=1) }}",
    ] {
        assert!(Template::compile(&Content { text: Some(good.into()), ..content() }).is_ok(), "{good}");
    }
}

#[test]
fn text_that_is_no_template_is_recognized() {
    let cases = [
        ("<style>a{%b}</style>", "CSS or JavaScript that is not a template needs a space between the two characters"),
        ("<p>x</p><script>var a={{b:1}}</script>", "CSS or JavaScript that is not a template"),
        ("<style>a{}</style>{{#if x}}a{{/if}}", "it looks like Handlebars or Mustache"),
        ("{{{name}}}", "it looks like Handlebars or Mustache"),
        ("{{> part}}", "it looks like Handlebars or Mustache"),
    ];
    for (source, wanted) in cases {
        let faults = Template::compile(&Content { html: Some(source.into()), ..content() }).expect_err(wanted);
        assert!(faults[0].message.contains(wanted), "{source}: {faults:?}");
    }
    let plain = Template::compile(&Content { html: Some("<style>a{}</style>{{ x".into()), ..content() }).expect_err("not closed");
    assert!(plain[0].message.ends_with("`{{ x` is not closed"), "{plain:?}");
    for fine in ["<script>{\"a\":{\"b\":1}}</script>", "@media x{a{width:100%}}", "{ {", "}}%}#}"] {
        assert!(Template::compile(&Content { html: Some(fine.into()), ..content() }).is_ok(), "{fine}");
    }
}

#[test]
fn nothing_vanishes_in_a_comment() {
    let cases = [
        ("a\n{# never closed", "line 2: `{#` begins a comment, and no `#}` ends it; where it is CSS or plain text, write `{ #`"),
        ("order {#12}\nlost\n{# note #}", "line 1: `{#` begins a comment, and another `{#` is inside it, on line 3"),
        ("{#}", "line 1: `{#` begins a comment, and no `#}` ends it"),
    ];
    for (source, wanted) in cases {
        for content in [Content { text: Some(source.into()), ..content() }, Content { html: Some(source.into()), ..content() }] {
            let faults = Template::compile(&content).expect_err(wanted);
            assert!(faults[0].to_string().contains(wanted), "{source}: {faults:?}");
        }
    }
    let fine = [
        ("<style>a{#b c{x:y}}</style>", "<style>a{ #b c{x:y}}</style>"),
        ("<style>@media x{#a{b:c}}@media y{#d,#e{f:g}}</style>", "<style>@media x{ #a{b:c}}@media y{ #d,#e{f:g}}</style>"),
        ("<STYLE\ntype=x>a{#-b{x:y}}</STYLE>", "<STYLE\ntype=x>a{ #-b{x:y}}</STYLE>"),
        ("<style>a{# note #}b{#note#}c{#- n -#}</style>", "<style>abc</style>"),
        ("<style>a{{ '{#x{' }}</style>", "<style>a{#x{</style>"),
        ("x{# note #}y", "xy"),
    ];
    for (source, wanted) in fine {
        let message = render(&Content { html: Some(source.into()), text: Some("t".into()), ..content() }, &recipient(&[("name", "Ann")]));
        assert!(message.replace("\r\n", "\n").contains(wanted), "{source}: {message}");
    }
}

#[test]
fn a_byte_order_mark_is_not_text() {
    for content in [
        Content { text: Some("\u{feff}Hello {{ name }}".into()), ..content() },
        Content { html: Some("\u{feff}<p>Hello {{ name }}</p>".into()), ..content() },
        Content {
            mjml: Some(format!("\u{feff}{}", "<mjml><mj-body><mj-raw>Hello {{ name }}</mj-raw></mj-body></mjml>").into()),
            ..content()
        },
    ] {
        let message = render(&content, &recipient(&[("name", "Ann")]));
        assert!(message.contains("Hello Ann") && message.is_ascii() && !message.contains("=EF=BB=BF"), "{message}");
    }
}
