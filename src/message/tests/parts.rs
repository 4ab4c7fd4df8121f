//! Layouts and parts: what they print, how they fail, and what they may cost.

use std::time::Instant;

use super::{Content, ann, content, random, render, try_render};
use crate::message::{Parts, Template, fields_named, missing_fields, misspelt_fields};

/// A content with parts, as they are read of a folder with these files.
fn with_parts(content: Content, files: &[(&str, &str)]) -> Content {
    let parts = Parts::read(&content, |name, max| {
        let (_, text) = files.iter().find(|(file, _)| *file == name).ok_or("does not exist in the folder `parts`")?;
        if text.len() > max { Err(format!("is larger than {max} bytes")) } else { Ok((*text).into()) }
    });
    Content { parts: Some(parts), ..content }
}

fn html(source: &str, files: &[(&str, &str)]) -> Content {
    with_parts(Content { html: Some(source.into()), text: Some("t".into()), ..content() }, files)
}

fn text(source: &str, files: &[(&str, &str)]) -> Content {
    with_parts(Content { text: Some(source.into()), ..content() }, files)
}

fn mjml(source: &str, files: &[(&str, &str)]) -> Content {
    let document = format!("<mjml><mj-body>{source}</mj-body></mjml>");
    with_parts(Content { mjml: Some(document.into()), text: Some("t".into()), ..content() }, files)
}

fn faults(content: &Content) -> Vec<String> {
    Template::compile(content).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

/// The part of a message of this type, decoded.
fn part(message: &str, subtype: &str) -> String {
    let parsed = mail_parser::MessageParser::default().parse(message.as_bytes()).expect("a message");
    let body = if subtype == "html" { parsed.body_html(0) } else { parsed.body_text(0) };
    body.expect("a body").trim_end().replace("\r\n", "\n")
}

fn printed(content: &Content) -> String {
    let subtype = if content.html.is_some() || content.mjml.is_some() { "html" } else { "plain" };
    part(&render(content, &ann()), subtype)
}

const LAYOUT: &str = "<h1>{% block title %}News{% endblock %}</h1>{% block body %}{% endblock %}{% include \"parts/footer.html\" %}";
const FOOTER: &str = "<p>Bye, {{ name }}</p>";

#[test]
fn layouts_parts_and_macros_print_what_jinja_prints() {
    let files: &[(&str, &str)] = &[
        ("layout.html", LAYOUT),
        ("parts/footer.html", FOOTER),
        ("shop.html", "{% extends \"layout.html\" %}{% block title %}Shop: {{ super() }}{% endblock %}"),
        ("macros.html", "{% macro button(to, says='Go') %}<a href=\"{{ to }}\">{{ says }}</a>{% endmacro %}{% set year = 2026 %}"),
        ("row.html", "[{{ loop.index }}{{ row }}]"),
        ("marked.html", "\u{feff}marked"),
    ];
    let cases = [
        ("{% extends 'layout.html' %}{% block body %}<p>{{ name }}</p>{% endblock %}", "<h1>News</h1><p>Ann</p><p>Bye, Ann</p>"),
        ("{% extends 'shop.html' %}{% block title %}{{ super() }}!{% endblock %}", "<h1>Shop: News!</h1><p>Bye, Ann</p>"),
        ("{% extends \"layout.html\" %}{% block body %}{{ self.title() }}{% endblock %}", "<h1>News</h1>News<p>Bye, Ann</p>"),
        ("{% import 'macros.html' as shop %}{{ shop.button('/a', says=name) }} {{ shop.year }}", "<a href=\"/a\">Ann</a> 2026"),
        ("{% from 'macros.html' import button as go, year %}{{ go('/a') }}{{ year }}", "<a href=\"/a\">Go</a>2026"),
        ("{% from 'macros.html' import button with context %}{{ button('<') }}", "<a href=\"&lt;\">Go</a>"),
        ("{% for row in ['a', '&'] %}{% include 'row.html' %}{% endfor %}", "[1a][2&amp;]"),
        ("{% if name == 'Ann' %}{% include 'marked.html' %}{% else %}{% include 'row.html' %}{% endif %}", "marked"),
        ("{%- include 'marked.html' without context -%}  x", "markedx"),
        ("{% set name = '<b>' %}{% include 'parts/footer.html' %}", "<p>Bye, &lt;b&gt;</p>"),
        ("{% block alone %}{{ name }}{% endblock alone %}", "Ann"),
    ];
    for (source, wanted) in cases {
        let content = html(source, files);
        assert_eq!(faults(&content), [""; 0], "{source}");
        assert_eq!(printed(&content), wanted, "{source}");
    }
}

#[test]
fn a_part_is_escaped_where_it_is_named_in_html_and_nowhere_else() {
    let files: &[(&str, &str)] = &[("who.txt", "{{ who }}"), ("m.html", "{% macro m(x) %}{{ x }}{% endmacro %}")];
    let both = "{% set who = '<Ann & Bob>' %}{% include 'who.txt' %}{% from 'm.html' import m %}{{ m(who) }}";
    let content = Content { html: Some(both.into()), text: Some(both.into()), subject: both.to_owned(), ..content() };
    let message = render(&with_parts(content, files), &ann());
    assert_eq!(part(&message, "html"), "&lt;Ann &amp; Bob&gt;&lt;Ann &amp; Bob&gt;");
    assert_eq!(part(&message, "plain"), "<Ann & Bob><Ann & Bob>");
    assert!(message.contains("Subject: <Ann & Bob><Ann & Bob>\r\n"), "{message}");
}

#[test]
fn a_text_is_made_of_html_with_parts() {
    let files: &[(&str, &str)] = &[("layout.html", LAYOUT), ("parts/footer.html", FOOTER)];
    let source = "{% extends 'layout.html' %}{% block body %}<p>See <a href='https://x.example/'>this</a></p>{% endblock %}";
    let content = with_parts(Content { html: Some(source.into()), ..content() }, files);
    assert_eq!(part(&render(&content, &ann()), "plain"), "News\n\nSee this (https://x.example/)\n\nBye, Ann");
}

#[test]
fn mjml_includes_mjml_html_and_css() {
    let files: &[(&str, &str)] = &[
        ("header.mjml", "<mj-section><mj-column><mj-include path=\"hello.mjml\"/></mj-column></mj-section>"),
        ("hello.mjml", "<mj-text>Hello {{ name }}{% if name == 'Ann' %}!{% endif %}</mj-text>"),
        ("whole.mjml", "<mjml><mj-head><mj-title>T {{ name }}</mj-title></mj-head><mj-body><mj-section></mj-section></mj-body></mjml>"),
        ("raw.html", "<p class=\"own\">{{ name }}</p>"),
        ("own.css", ".own { color: red } @media screen{#a b{margin:0}}"),
        ("inline.css", ".own { padding: 3px }"),
        ("bye.html", "Bye {{ name }}"),
    ];
    let content = mjml(
        "<mj-include path='header.mjml' /><mj-include path=\"raw.html\" type=\"html\"></mj-include><mj-include path='whole.mjml'/>\
         <mj-include path='own.css' type='css' /><mj-include path='inline.css' type='css' css-inline='inline' />\
         <mj-section><mj-column><mj-text>{% include 'bye.html' %}</mj-text></mj-column></mj-section>",
        files,
    );
    assert_eq!(faults(&content), [""; 0]);
    let html = printed(&content);
    for wanted in ["Hello Ann!", "<title>T Ann</title>", "padding: 3px", ".own { color: red }", ">Ann</p>", "Bye Ann"] {
        assert!(html.contains(wanted), "{wanted} is missing: {html}");
    }
    // What is included stands where it would if it were written there.
    let written =
        mjml("<mj-section><mj-column><mj-text>Hello {{ name }}{% if name == 'Ann' %}!{% endif %}</mj-text></mj-column></mj-section>", &[]);
    assert_eq!(printed(&mjml("<mj-include path='header.mjml' />", files)), printed(&written));
}

#[test]
fn what_is_wrong_is_told_where_it_is() {
    let files: &[(&str, &str)] = &[
        ("open.html", "<p>\n{% if name %}"),
        ("unknown.html", "one\n{{ name | shout }}"),
        ("a.html", "x\n{% include 'b.html' %}"),
        ("b.html", "{% include 'c.html' %}"),
        ("c.html", "\n\n{% include 'a.html' %}"),
        ("gone.html", "{% include 'nowhere.html' %}"),
        ("bad.mjml", "<mj-section>\n<mj-column><mj-txt/></mj-column></mj-section>"),
        ("tag.mjml", "<mj-section><mj-column>\n\n{% if x %}</mj-column></mj-section>{% endif %}"),
        ("ring.mjml", "<mj-include path='ring.mjml'/>"),
        ("closes.mjml", "\n</mj-section>"),
        ("leaves.mjml", "<mj-section>"),
        ("alone.html", "{{ super() }}"),
        ("top.html", "{% block body %}{% block inner %}{% endblock %}{% endblock %}"),
        ("middle.html", "{% extends 'top.html' %}\nlost"),
    ];
    let field = "spec.content.templates";
    let cases = [
        (html("{% include 'open.html' %}", files), format!("{field}[\"open.html\"]: line 2: syntax error")),
        (html("{% include 'unknown.html' %}", files), format!("{field}[\"unknown.html\"]: line 2: unknown filter `shout`")),
        (html("{% include 'a.html' %}", files), format!("{field}[\"c.html\"]: line 3: parts cannot contain themselves: a.html → b.html → c.html → a.html")),
        (html("\n{% include 'none.html' %}", files), "spec.content.html: line 2: the part `none.html` does not exist".to_owned()),
        (html("{% include 'gone.html' %}", files), format!("{field}[\"gone.html\"]: line 1: the part `nowhere.html` does not exist")),
        (html("{% include name %}", files), "spec.content.html: line 1: `{% include %}` takes the name of one part, in quotes".to_owned()),
        (html("{% include ['a.html', 'b.html'] %}", files), "takes the name of one part, in quotes".to_owned()),
        (html("{% include 'a' ~ '.html' %}", files), "takes the name of one part, in quotes".to_owned()),
        (html("{% include 'marked' if name %}", files), "the part `marked` does not exist".to_owned()),
        (html("{% include 'unknown.html' if name %}", files), "takes the name of one part, in quotes".to_owned()),
        (html("{% import 'unknown.html' as ns.x %}", files), "takes the name of one part, in quotes".to_owned()),
        (html("{% include 'unknown.html' ignore missing %}", files), "remove `ignore missing`".to_owned()),
        (html("{% include '../a.html' %}", files), "`../a.html` is not the name of a part".to_owned()),
        (html("{% include '/etc/passwd' %}", files), "`/etc/passwd` is not the name of a part".to_owned()),
        (html("{% include 'a/./b' %}", files), "is not the name of a part".to_owned()),
        (html("{% include '.env' %}", files), "`.env` is hidden".to_owned()),
        (html("{% include 'a\\\\b' %}", files), "is not the name of a part".to_owned()),
        (html("{{ 'a' | part__ }}", files), "unknown filter `part__`".to_owned()),
        (html("{{ super() }}", files), "cannot super outside of block".to_owned()),
        (html("{% block a %}{{ super() }}{% endblock %}", files), "no parent block exists".to_owned()),
        (html("{{ self.none() }}", files), "block 'none' not found".to_owned()),
        (html("{% extends 'top.html' %}\n{% block bdy %}x{% endblock %}", files), "spec.content.html: line 2: the layout `top.html` has no block `bdy`, so that this one would be missing; it has `body`, `inner`; did you mean `body`?".to_owned()),
        (html("{% extends 'top.html' %}\n\n text", files), "spec.content.html: line 3: this is outside of every block of a template that extends `top.html`".to_owned()),
        (html("{% extends 'top.html' %}{{ name }}", files), "line 1: this is outside of every block".to_owned()),
        (html("{% extends 'middle.html' %}{% block inner %}x{% endblock %}", files), format!("{field}[\"middle.html\"]: line 2: this is outside of every block")),
        (html("{{ button() }}", files), "spec.content.html: line 1: unknown function".to_owned()),
        (mjml("<mj-include path='bad.mjml'/>", files), format!("{field}[\"bad.mjml\"]: line 2: MJML has no element `mj-txt`")),
        (mjml("<mj-include path='tag.mjml'/>", files), format!("{field}[\"tag.mjml\"]: line 3: template tags between elements")),
        (mjml("<mj-include path='ring.mjml'/>", files), "parts cannot contain themselves: ring.mjml → ring.mjml".to_owned()),
        (mjml("<mj-include path='closes.mjml'/>", files), format!("{field}[\"closes.mjml\"]: line 2: </mj-section> closes nothing")),
        (mjml("<mj-include path='leaves.mjml'/>", files), format!("{field}[\"leaves.mjml\"]: line 1: <mj-section> is not closed")),
        (mjml("<mj-include path='none.mjml'/>", files), "spec.content.mjml: line 1: the part `none.mjml` does not exist".to_owned()),
        (mjml("<mj-include path='../x.mjml'/>", files), "`../x.mjml` is not the name of a part".to_owned()),
        (mjml("<mj-include path='{{ name }}'/>", files), "spec.content.mjml: line 1: ".to_owned()),
        (mjml("<mj-include />", files), "needs the name of a part".to_owned()),
        (mjml("<mj-include path='bad.mjml' type='exe' />", files), "has no type `exe`".to_owned()),
        (mjml("{% extends 'a.html' %}", files), "`{% extends %}` cannot be used in MJML".to_owned()),
    ];
    for (content, wanted) in cases {
        let told = faults(&content);
        assert_eq!(told.len(), 1, "{wanted}: {told:?}");
        assert!(told[0].contains(&wanted), "{wanted} is not in {told:?}");
    }
    let without = |content: Content| faults(&Content { parts: None, ..content });
    for tag in ["extends 'x'", "include 'x'", "import 'x' as x", "from 'x' import x"] {
        let told = without(html(&format!("\n{{% {tag} %}}"), &[]));
        assert!(told[0].starts_with("spec.content.html: line 2: ") && told[0].contains("`content.templates`"), "{told:?}");
    }
    assert!(without(mjml("<mj-include path='x.mjml'/>", &[]))[0].contains("`content.templates`"));
}

#[test]
fn a_part_that_fails_for_a_recipient_is_named() {
    let files: &[(&str, &str)] = &[
        ("layout.html", "<p>\n{% block b %}{% endblock %}</p>"),
        ("needs.html", "\n\n{{ city }}"),
        ("m.html", "{% macro m() %}\n{{ none.x }}{% endmacro %}"),
    ];
    for (source, path, line) in [
        ("{% include 'needs.html' %}", "spec.content.templates[\"needs.html\"]", 3),
        (
            "{% extends 'layout.html' %}\n{% block b %}\n{% include 'needs.html' %}{% endblock %}",
            "spec.content.templates[\"needs.html\"]",
            3,
        ),
        ("{% extends 'layout.html' %}\n{% block b %}{{ city }}{% endblock %}", "spec.content.html", 2),
        ("{% from 'm.html' import m %}{{ m() }}", "spec.content.templates[\"m.html\"]", 2),
    ] {
        let error = try_render(&html(source, files), &ann()).expect_err(source);
        assert_eq!(error.path, path, "{error}");
        assert!(error.message.starts_with(&format!("line {line}: ")), "{error}");
    }
}

#[test]
fn the_fields_of_parts_are_compared_with_the_audience() {
    let files: &[(&str, &str)] = &[
        (
            "layout.html",
            "{{ shop }}\n{% block top %}{{ replaced }}{% endblock %}{% block end %}{{ kept }}{% endblock %}{% include 'foot.html' %}",
        ),
        ("foot.html", "{{ given }}{% if maybe %}{{ maybe }}{% endif %}\n{{ footer }}"),
        ("m.html", "{% macro used(x) %}{{ x }}{{ of_used }}{% endmacro %}{% macro other() %}{{ of_other }}{% endmacro %}"),
        ("x.mjml", "<mj-section><mj-column><mj-text>\n{{ in_mjml }}</mj-text></mj-column></mj-section>"),
    ];
    let source = "{% extends 'layout.html' %}{% set given = 1 %}{% import 'm.html' as m %}{% block top %}{{ own }}{{ m.used(1) }}{{ super_ }}{% endblock %}";
    let content = html(source, files);
    let named = fields_named(&content);
    let mut needed: Vec<String> = named
        .iter()
        .filter(|field| !field.is_optional && field.path != "spec.subject")
        .map(|field| format!("{}:{}", field.name, field.line))
        .collect();
    needed.sort();
    assert_eq!(needed, ["footer:2", "kept:2", "of_used:1", "own:1", "shop:1", "super_:1"]);
    assert!(named.iter().any(|field| field.name == "of_other" && field.is_optional));
    assert!(!named.iter().any(|field| field.name == "replaced" || field.name == "given"));
    let missing = missing_fields(&named, &["email", "name", "shop", "kept", "own", "of_used", "super_"], true);
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert!(
        missing[0].to_string().starts_with("spec.content.templates[\"foot.html\"]: line 2: the audience has no field `footer`"),
        "{missing:?}"
    );
    let misspelt = misspelt_fields(&named, &["email", "name", "maybee"]);
    assert!(misspelt.iter().any(|fault| fault.path.contains("foot.html") && fault.message.contains("`maybee`")), "{misspelt:?}");

    let named = fields_named(&mjml("<mj-include path='x.mjml'/>", files));
    let found = named.iter().find(|field| field.name == "in_mjml").expect("it is found");
    assert_eq!((found.path.as_str(), found.line), ("spec.content.templates[\"x.mjml\"]", 2));
    let with_super = "{% extends 'layout.html' %}{% block top %}{{ super() }}{% endblock %}";
    assert!(fields_named(&html(with_super, files)).iter().any(|field| field.name == "replaced" && !field.is_optional));
}

#[test]
fn parts_are_part_of_what_is_sent() {
    let one = html("{% include 'a.html' %}", &[("a.html", "one")]);
    let other = html("{% include 'a.html' %}", &[("a.html", "other")]);
    assert_ne!(format!("{one:?}"), format!("{other:?}"), "the ledger keeps a hash of it");
    assert!(!format!("{:?}", Content { text: Some("t".into()), ..content() }).contains("parts"), "as before there were any");
    assert!(one.bodies().all(|bodies| bodies.contains(&"one")), "a link for unsubscribing may be in a part");
}

#[test]
fn parts_have_bounds() {
    // As many, as deep, and as large as there may be.
    let chain = |length: usize| -> Vec<(String, String)> {
        let part = |number| {
            (format!("p{number}"), if number + 1 < length { format!("{{% include 'p{}' %}}", number + 1) } else { "end".to_owned() })
        };
        (0..length).map(part).collect()
    };
    let borrowed = |files: &[(String, String)]| -> Vec<(String, String)> { files.to_vec() };
    let made = |source: &str, files: &[(String, String)]| {
        let files = borrowed(files);
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (&**name, &**text)).collect();
        html(source, &files)
    };
    assert_eq!(printed(&made("{% include 'p0' %}", &chain(10))), "end");
    let told = faults(&made("{% include 'p0' %}", &chain(11)));
    assert!(told[0].contains("parts are nested more than 10 deep: p0 → p1"), "{told:?}");
    // A chain of which the end was looked at before.
    let told = faults(&made("{% include 'p5' %}{% include 'p0' %}", &chain(11)));
    assert!(told.iter().any(|told| told.contains("parts are nested more than 10 deep")), "{told:?}");

    let many = |count: usize| -> (String, Vec<(String, String)>) {
        let names: String = (0..count).map(|number| format!("{{% include 'p{number}' %}}")).collect();
        (names, (0..count).map(|number| (format!("p{number}"), ".".to_owned())).collect())
    };
    let (source, files) = many(100);
    assert_eq!(printed(&made(&source, &files)).len(), 100);
    let (source, files) = many(101);
    assert_eq!(
        faults(&made(&source, &files)),
        ["spec.content.templates: the templates name more than 100 parts; put what belongs together into one"]
    );

    let large = vec![("p0".to_owned(), "x".repeat(1 << 20)), ("p1".to_owned(), "x".repeat(1 << 20)), ("p2".to_owned(), "x".to_owned())];
    assert_eq!(faults(&made("{% include 'p0' %}{% include 'p1' %}", &large)), [""; 0]);
    let told = faults(&made("{% include 'p0' %}{% include 'p1' %}{% include 'p2' %}", &large));
    assert!(told[0].contains("the part `p2` is larger than 0 bytes"), "{told:?}");
    let told = faults(&made("{% include 'p0' %}", &[("p0".to_owned(), "x".repeat((1 << 20) + 1))]));
    assert!(told[0].contains("the part `p0` is larger than 1048576 bytes"), "{told:?}");

    // Together they may hold what one template may.
    let tags = vec![("p0".to_owned(), "{{a}}".repeat(12_000)), ("p1".to_owned(), "{{a}}".repeat(12_000))];
    let told = faults(&made("{% include 'p0' %}{% include 'p1' %}", &tags));
    assert!(told[0].contains("more than 20000 tags"), "{told:?}");
    let blocks = |from: usize| (from..from + 60).map(|number| format!("{{% block b{number} %}}{{% endblock %}}")).collect::<String>();
    let told = faults(&made("{% include 'p0' %}{% include 'p1' %}", &[("p0".to_owned(), blocks(0)), ("p1".to_owned(), blocks(60))]));
    assert!(told[0].contains("more than 100 `{% block %}`s"), "{told:?}");
    let told = faults(&html(&format!("{}{}", blocks(0), blocks(60)), &[]));
    assert!(told[0].contains("more than 100 `{% block %}`s"), "{told:?}");
}

/// Parts that double what comes of the one before: each costs little, and 2ⁿ of them would not.
#[test]
fn bombs_of_parts_cost_what_their_recipient_pays() {
    let twice = |tag: &dyn Fn(usize) -> String, last: &str| -> Vec<(String, String)> {
        (0..10).map(|number| (format!("p{number}"), if number < 9 { tag(number + 1).repeat(40) } else { last.to_owned() })).collect()
    };
    let include = |number: usize| format!("{{% include 'p{number}' %}}");
    let supers = |number: usize| format!("{{% extends 'p{number}' %}}{{% block b %}}{}{{% endblock %}}", "{{ super() }}".repeat(40));
    let layouts: Vec<(String, String)> = (0..10)
        .map(|number| (format!("p{number}"), if number < 9 { supers(number + 1) } else { "{% block b %}x{% endblock %}".to_owned() }))
        .collect();
    let imports = |number: usize| format!("{{% import 'p{number}' as m{number} %}}");
    let blocks: String = (0..90).map(|number| format!("{{% block b{number} %}}{{% endblock %}}")).collect();
    type Files = Vec<(String, String)>;
    let cases: Vec<(&str, String, Files)> = vec![
        ("includes", include(0), twice(&include, "x")),
        ("includes of nothing", include(0), twice(&include, "")),
        ("imports", imports(0), twice(&imports, "{% macro m() %}{% endmacro %}")),
        ("supers", "{% extends 'p0' %}".to_owned(), layouts),
        ("blocks", format!("{{% for i in range(100000) %}}{}{{% endfor %}}", include(0)), vec![("p0".to_owned(), blocks.clone())]),
        (
            "macros beside blocks",
            format!("{blocks}{{% from 'p0' import m %}}{{% for i in range(100000) %}}{{{{ m() }}}}{{% endfor %}}"),
            vec![("p0".to_owned(), "{% macro m() %}{% endmacro %}".to_owned())],
        ),
        ("itself", "{% block b %}{{ self.b() }}{% endblock %}".to_owned(), Vec::new()),
        (
            "a macro that includes itself by its caller",
            "{% from 'p0' import m %}{{ m(m) }}".to_owned(),
            vec![
                ("p0".to_owned(), "{% macro m(f) %}{% include 'p1' %}{% endmacro %}".to_owned()),
                ("p1".to_owned(), "{{ f(f) }}".to_owned()),
            ],
        ),
        (
            "modules of modules",
            format!(
                "{{% set y = 1 %}}{{% set s = namespace(x=1) %}}{}{{{{ [m, m] | string }}}}",
                "{% import 'p0' as m %}{% set y = [m, m] %}".repeat(60)
            ),
            vec![("p0".to_owned(), "{% set z = [y, y] %}".to_owned())],
        ),
    ];
    for (what, source, files) in cases {
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (&**name, &**text)).collect();
        let began = Instant::now();
        let content = html(&source, &files);
        let named = fields_named(&content).len();
        if let Ok(template) = Template::compile(&content) {
            let date = jiff::Timestamp::UNIX_EPOCH;
            let context = crate::message::RenderContext { message_id: "a@b", date, campaign: "c", senders: None, link: None };
            template.render(&ann(), &context).expect_err(what);
        }
        let took = began.elapsed();
        assert!(took < std::time::Duration::from_secs(100) && named < 100, "{what} took {took:?}");
    }
    // MJML is put together before anybody pays: it has a bound of its own.
    let include = |number: usize| format!("<mj-include path='p{number}'/>");
    let files = twice(&include, "<mj-section><mj-column></mj-column></mj-section>");
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (&**name, &**text)).collect();
    let began = Instant::now();
    let content = mjml(&include(0), &files);
    assert!(faults(&content)[0].contains("what is included has more than 1048576 bytes"), "{:?}", faults(&content));
    let _ = fields_named(&content);
    assert!(began.elapsed() < std::time::Duration::from_secs(100), "{:?}", began.elapsed());
}

/// Pieces in any order: whatever they make is compiled, refused or rendered, and ends.
#[test]
fn parts_of_any_shape_end() {
    const PIECES: &[&str] = &[
        "{% include 'a' %}",
        "{% include 'b' %}",
        "{% extends 'a' %}",
        "{% extends 'c' %}",
        "{% import 'b' as m %}",
        "{% from 'c' import m, x as y %}",
        "{% block p %}",
        "{% block q scoped %}",
        "{% endblock %}",
        "{{ super() }}",
        "{{ self.p() }}",
        "{{ m() }}",
        "{{ m.x(1) }}",
        "{% macro m(x=1) %}",
        "{% endmacro %}",
        "{% for i in [1, 2, 3] %}",
        "{% endfor %}",
        "{% if name %}",
        "{% endif %}",
        "{% set x = [x, m] %}",
        "{% include %}",
        "{% include 'a' with context %}",
        "{% include 'a' ignore missing %}",
        "{% from 'a' import %}",
        "{% import 'a' %}",
        "<mj-include path='a' />",
        "<mj-include path=\"b\" type='html'>",
        "<mj-section>",
        "</mj-section>",
        "text {{ name }}",
    ];
    let mut random = random(7);
    let mut rendered = 0;
    for _ in 0..600 {
        let mut piece = || (0..=random(6)).map(|_| PIECES[random(PIECES.len())]).collect::<String>();
        let (source, a, b, c) = (piece(), piece(), piece(), piece());
        let files = [("a", &*a), ("b", &*b), ("c", &*c)];
        for content in [html(&source, &files), text(&source, &files), mjml(&source, &files)] {
            let _ = fields_named(&content);
            if let Ok(template) = Template::compile(&content) {
                let date = jiff::Timestamp::UNIX_EPOCH;
                let context = crate::message::RenderContext { message_id: "a@b", date, campaign: "c", senders: None, link: None };
                rendered += usize::from(template.render(&ann(), &context).is_ok());
            }
        }
    }
    assert!(rendered > 4, "some of them are good: {rendered}");
}
