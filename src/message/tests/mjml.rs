//! MJML: what comes out, and what is refused. tests/mjml.py compares with npm's own.

use super::{super::mjml, Content, content, recipient, render};

/// A document that includes nothing.
fn to_html(source: &str) -> Result<String, String> {
    mjml::to_html(source, &|_| None).map_err(|fault| fault.message)
}

fn html(source: &str) -> String {
    to_html(source).unwrap_or_else(|why| panic!("{why}: {source}"))
}

/// A column with something in it.
fn column(inner: &str) -> String {
    format!("<mjml><mj-body><mj-section><mj-column>{inner}</mj-column></mj-section></mj-body></mjml>")
}

#[test]
fn mjml_keeps_the_tags() {
    let source = r#"<mjml><mj-head><mj-title>{{ subject | default("a < b") }}</mj-title><mj-preview>Hi {{ name }}</mj-preview></mj-head><mj-body>
<mj-section><mj-column>
<mj-text>Voilà > là, <b title="é">é</b>. Hello {{ name | default("friend") }}, {% if a < b && c %}yes{% endif %}</mj-text>
<mj-button href="{{ url | default("https://x.example/?a=1&b=2") }}">Go {{ "{{" }}</mj-button>
<mj-image src="https://x.example/{{ id }}.png" alt="{{ alt }}" />
<mj-raw>{% for i in list %}</mj-raw><mj-text>{{ i }}</mj-text><mj-raw>{% endfor %}</mj-raw>
</mj-column></mj-section></mj-body></mjml>"#;
    let html = to_html(source).unwrap_or_else(|why| panic!("{why}"));
    for tag in [
        r#"<title>{{ subject | default("a < b") }}</title>"#,
        r#"Hello {{ name | default("friend") }}, {% if a < b && c %}yes{% endif %}"#,
        r#"href="{{ url | default("https://x.example/?a=1&b=2") }}""#,
        "Go {{ \"{{\" }}",
        "src=\"https://x.example/{{ id }}.png\"",
        "Voilà > là, <b title=\"é\">é</b>.",
        "{% for i in list %}",
        "{{ i }}",
        "{% endfor %}",
    ] {
        assert!(html.contains(tag), "{tag}: {html}");
    }
    assert!(html.find("{% for").expect("there") < html.find("{{ i }}").expect("there") && html.find("{{ i }}") < html.find("{% endfor"));
}

#[test]
fn mjml_may_be_nested() {
    let nested = format!("{}x{}", "<div>".repeat(90), "</div>".repeat(90));
    let source = format!("<mjml><mj-body><mj-section><mj-column><mj-text>{nested}</mj-text></mj-column></mj-section></mj-body></mjml>");
    assert!(to_html(&source).unwrap_or_else(|why| panic!("{why}")).contains(&nested));
}

#[test]
fn values_stay_as_they_are_written() {
    let values = [
        ("alt=\"I ❤\u{fe0f} you\"", "alt=\"I ❤\u{fe0f} you\""),
        ("href=\"https://x.example/समाचार?a=1&b=2\"", "href=\"https://x.example/समाचार?a=1&b=2\""),
        ("alt=\"e\u{301} tab\there\"", "alt=\"e\u{301} tab\there\""),
        ("alt=\"two\nlines\"", "alt=\"two\nlines\""),
        ("alt=\"a < b &amp; c > d\"", "alt=\"a < b &amp; c > d\""),
        ("alt='say \"hi\"'", "alt=\"say &quot;hi&quot;\""),
        ("title='{{ \"a\" | upper }}'", "title=\"{{ \"a\" | upper }}\""),
    ];
    for (written, wanted) in values {
        let html = html(&column(&format!("<mj-image src=\"x.png\" {written} />")));
        assert!(html.contains(wanted), "{written}: {html}");
    }
    let font = html(&column("<mj-text font-family='\"Open Sans\", Arial'>x</mj-text>"));
    assert!(font.contains("font-family:&quot;Open Sans&quot;, Arial;") && font.contains("css?family=Open+Sans"), "{font}");
    assert!(html(&column("<mj-image src=\"x.png\" />")).contains("<img alt=\"\" src=\"x.png\""));
}

#[test]
fn html_passes_through() {
    for inner in [
        "<p style=\"color:red;\n  margin:0\">a</p>",
        "<td width=50>x</td>",
        "<p>a<p>b",
        "<b title=\"I ❤\u{fe0f} you\">&copy; &unknown; &</b>",
        "a < b <br> 1 <2",
        "<span data-x='{\"a\": 1}'>x</span>",
        "<!-- </mj-text> -->x",
        "<style>.a > b{color:red}</style>",
        "<a href=\"{{ \"</mj-text>\" }}\">x</a>",
    ] {
        for name in ["mj-text", "mj-table", "mj-raw", "mj-button"] {
            let html = html(&column(&format!("<{name}>\n{inner}\n</{name}>")));
            assert!(html.contains(inner), "{name}: {inner}: {html}");
        }
    }
}

#[test]
fn ids_are_unique_and_the_same_every_time() {
    let twice = |inner: &str| {
        let source = column(&inner.repeat(2));
        assert_eq!(html(&source), html(&source));
        html(&source)
    };
    let bars = twice("<mj-navbar hamburger=\"hamburger\"><mj-navbar-link href=\"/a\">a</mj-navbar-link></mj-navbar>");
    let carousels = twice("<mj-carousel><mj-carousel-image src=\"a.png\" /></mj-carousel>");
    for (html, many) in [(bars, 2), (carousels, 2)] {
        let ids: Vec<&str> = html.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(ids.len() == many && ids[0] != ids[1], "{ids:?}");
    }
}

#[test]
fn rules_are_inlined() {
    let page = |css: &str, inner: &str| {
        let source =
            column(inner).replace("<mj-body>", &format!("<mj-head><mj-style inline=\"inline\">{css}</mj-style></mj-head><mj-body>"));
        to_html(&source)
    };
    let cases = [
        ("a{color:red}", "<a href=\"#\">x</a>", "<a href=\"#\" style=\"color: red;\">x"),
        ("a{color:red;margin:0}", "<a style=\"color:blue\">x</a>", "<a style=\"color: red; margin: 0; color: blue;\">x"),
        ("a{color:red !important}", "<a style=\"color:blue\">x</a>", "<a style=\"color: red;\">x"),
        (".k{color:blue} a{color:red}", "<a class=\"k\">x</a>", "<a class=\"k\" style=\"color: blue;\">x"),
        ("p > a, i{top:0}", "<p><a>x</a><b><a>y</a></b></p>", "<p><a style=\"top: 0;\">x</a><b><a>y</a></b></p>"),
        ("p + p{top:0}", "<p>x<p>y", "<p>x<p style=\"top: 0;\">y"),
        ("i{font-family:\"Open Sans\"}", "<i>x</i>", "<i style=\"font-family: 'Open Sans';\">x"),
        ("a{color:{{ c }}}", "<a>x</a>", "<a style=\"color: {{ c }};\">x"),
        ("a{color:red}", "<a style=\"{{ s }};top:0\">x</a>", "<a style=\"color: red; {{ s }}; top: 0;\">x"),
    ];
    for (css, inner, wanted) in cases {
        let html = page(css, &format!("<mj-text>{inner}</mj-text>")).unwrap_or_else(|why| panic!("{css}: {why}"));
        let wanted = wanted.replace("color: red; margin: 0; color: blue;", "margin: 0; color: blue;");
        assert!(html.contains(&wanted), "{css}: {inner}: {html}");
    }
    let faults = [
        ("a:hover{color:red}", "line 1: `a:hover` cannot be inlined; put it into an <mj-style> without `inline`"),
        ("@media print{a{color:red}}", "line 1: `@media print` cannot be inlined"),
        ("a{color:red", "line 1: the block of `a` is not closed"),
        ("a{b{color:red}}", "contains a block"),
    ];
    for (css, wanted) in faults {
        let why = page(css, "<mj-text>x</mj-text>").expect_err(wanted);
        assert!(why.contains(wanted), "{css}: {why}");
    }
    // So many comparisons would hold up everybody else.
    let deep = format!("<mj-text>{}</mj-text>", "<b>".repeat(3_000));
    assert!(page(&format!("q {} {{top:0}}", "b ".repeat(12)), &deep).is_err_and(|why| why.contains("too much work")));
}

#[test]
fn content_that_would_be_lost_is_a_fault() {
    let cases = [
        ("<mjml></mjml>".to_owned(), "there is no <mj-body>"),
        ("<mjml>\n<mj-body>\n</mj-body></mjml>".to_owned(), "line 2: the <mj-body> has no content"),
        ("<mjml><mj-body></mj-body><mj-body></mj-body></mjml>".to_owned(), "line 1: there is a second <mj-body>"),
        (column("\ntext"), "line 2: text is not allowed there in MJML"),
        (column("\n\n<p>x</p>"), "line 3: MJML has no element `p`, or does not allow it there; HTML belongs in <mj-text>"),
        (column("\n<mj-text>x</mj-button>"), "line 2: <mj-text> is not closed"),
        (
            column("<mj-image src=\"x\">\n<mj-text>x</mj-text>"),
            "line 2: the element `mj-text` is not allowed there in MJML, only in <mj-column> or <mj-hero>",
        ),
        (column("<mj-image src=\"x\" width=\"{{ w }}px\" />"), "line 1: `width` of <mj-image> is used in calculations"),
        (column("<mj-text padding=\"{{ p }}\">x</mj-text>"), "line 1: `padding` of <mj-text> is used in calculations"),
        (column("<mj-image src=\"x\" width=\"wide\" />"), "line 1: `width` of <mj-image> is not a size"),
        (column("<mj-text {% if x %}color=\"red\"{% endif %}>x</mj-text>"), "a template tag is allowed in an attribute's value"),
        (column("<mj-text background-color=\"{{ c }}\">x</mj-text>"), "line 1: `{{ c }}` is where MJML prints nothing"),
        (column("<mj-carousel></mj-carousel>"), "line 1: a <mj-carousel> has 1 to 50 images"),
        (column("<mj-include path=\"x.mjml\" />"), "line 1: there is no part `x.mjml`"),
        (column("{{ x }}"), "line 1: template tags between elements belong in <mj-raw>"),
        ("<mjml><mj-raw>x</mj-raw><mj-body><mj-raw>y</mj-raw></mj-body></mjml>".to_owned(), "is outside <mj-body>"),
        ("text".to_owned(), "line 1: text is not allowed there"),
        ("<mjml><mj-body><mj-section>".to_owned(), "line 1: <mj-section> is not closed"),
        (column("<mj-text>x"), "line 1: <mj-text> is not closed"),
        (column("<mj-hero mode=\"fluid-height\"></mj-hero>"), "the element `mj-hero` is not allowed there"),
    ];
    for (source, wanted) in cases {
        let why = to_html(&source).expect_err(wanted);
        assert!(why.contains(wanted), "{wanted}: {why}");
    }
}

#[test]
fn a_css_id_is_not_a_comment() {
    let css = "@media only screen{#outlook a{padding:0}}";
    let note = "{# a note #}";
    let mjml = format!(
        "<mjml><mj-head><mj-style>{css}</mj-style></mj-head><mj-body><mj-section><mj-column><mj-text>shown</mj-text>{note}</mj-column></mj-section></mj-body></mjml>"
    );
    let page = format!("<style type=\"text/css\">{css}{note}</style><p>shown</p>{note}<p>end</p>");
    for content in [Content { mjml: Some(mjml.into()), ..content() }, Content { html: Some(page.into()), ..content() }] {
        let message = render(&content, &recipient(&[("name", "Ann")])).replace("=\r\n", "");
        assert!(
            message.contains("@media only screen{ #outlook a{padding:0}}") && message.contains("shown") && !message.contains("note"),
            "{message}"
        );
    }
}

/// What one customer writes must not hold up all others.
#[test]
fn hostile_documents_end_soon() {
    let start = std::time::Instant::now();
    let many = |piece: &str| piece.repeat((1 << 20) / piece.len());
    let styled = |css: &str, inner: &str| {
        column(&format!("<mj-text>{inner}</mj-text>"))
            .replace("<mj-body>", &format!("<mj-head><mj-style inline=\"inline\">{css}</mj-style></mj-head><mj-body>"))
    };
    let half = |piece: &str| piece.repeat((1 << 19) / piece.len());
    let documents = [
        column(&many("<mj-button/>")),
        column(&many("<mj-carousel><mj-carousel-image/><mj-carousel-image/><mj-carousel-image/></mj-carousel>")),
        column(&format!("<mj-text {}>x</mj-text>", many("a=b "))),
        column(&format!("<mj-text>{}", many("<mj-raw>"))),
        column(&format!("<mj-text>{}{}</mj-text>", half("<mj-raw>"), half("</mj-table>"))),
        column(&format!("<mj-text>{}</mj-text>", many("<style>"))),
        styled("i{top:0}", &format!("{}{}", half("<b>"), half("</i>"))),
        styled(&format!("*{{{}}}", (0..20_000).map(|n| format!("a{n}:0;")).collect::<String>()), &half("<b>")),
        styled(&format!("{}{{top:0}}", half("b ")), &half("<b>")),
        styled(&half("b{top:0}"), &half("<b>")),
        styled(&"b>".repeat(30), "x"),
        many("<mjml>"),
        many("<"),
        many("{{"),
        many("<mj-style>{#a"),
        format!(
            "<mjml><mj-head>{}</mj-head><mj-body><mj-raw>x</mj-raw></mj-body></mjml>",
            (0..20_000).map(|n| format!("<mj-font name=\"f{n}\" href=\"x\"/>")).collect::<String>()
        ),
    ];
    for document in documents {
        let _ = to_html(&document);
        let _ = super::Template::compile(&Content { mjml: Some(document.into()), ..content() });
    }
    // A hundred times what it takes in a release build.
    assert!(start.elapsed().as_secs() < 100, "{:?}", start.elapsed());
}
