//! Templates of Go and what they become.

use super::{Data, Options, Value, ValueKind, path, translate};

/// Fields as a program may have them: `.Who` is text, `.Bag` has anything, `.Constant` is the same for everybody.
#[derive(Default)]
struct Sample;

impl Data for Sample {
    fn field(&mut self, path: &[String]) -> Result<(Value, Option<String>), String> {
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        match &*names {
            ["Who"] | ["In", "Who"] => Ok((Value::new("who", ValueKind::Operand), None)),
            ["Bag", rest @ ..] => {
                Ok((Value::new(if rest.is_empty() { "bag".to_owned() } else { self::path("bag", rest) }, ValueKind::Field), None))
            }
            ["Constant"] => Ok((Value::constant("a & b"), None)),
            ["Off"] => Ok((Value::new("false", ValueKind::Operand), None)),
            ["Nested"] => Ok((Value::constant("no object"), None)),
            _ => Err("no counterpart".to_owned()),
        }
    }

    fn is_object(&self, path: &[String]) -> bool {
        path.is_empty() || path == ["In"]
    }

    fn function(&mut self, name: &str, arguments: &[Value]) -> Option<Result<(Value, Option<String>), String>> {
        match (name, arguments) {
            ("Page", []) => Some(Ok((Value::new("page", ValueKind::Url), None))),
            ("Own", []) => Some(Ok((Value::new("\"https://x/\" ~ who", ValueKind::Url), None))),
            ("Pixel", []) => Some(Ok((Value::new("\"\"", ValueKind::Nothing), Some("no pixel".to_owned())))),
            ("L.T", [Value { kind: ValueKind::Constant(key), .. }]) => Some(Ok((Value::constant(&format!("<{key}>")), None))),
            ("Safe", [value]) => Some(Ok((Value::new(format!("{}|safe", value.operand()), ValueKind::Markup), None))),
            _ => None,
        }
    }
}

fn html(source: &str) -> String {
    let options = Options { is_html: true, is_layout: true };
    translate(source, options, &mut Sample).map_or_else(|fault| format!("line {}: {}", fault.line, fault.what), |done| done.text)
}

fn text(source: &str) -> String {
    let options = Options { is_html: false, is_layout: false };
    translate(source, options, &mut Sample).map_or_else(|fault| format!("line {}: {}", fault.line, fault.what), |done| done.text)
}

#[test]
fn what_means_the_same_is_carried_over() {
    for (go, jinja) in [
        ("Hello {{ .Who }}!", "Hello {{ who }}!"),
        ("{{.Bag.city}}", "{{ bag.city|default(\"\") }}"),
        ("{{ $.Who }} {{ .Constant }}", "{{ who }} a & b"),
        ("a {{- .Who -}} \n b", "a{{ who }}b"),
        ("{{/* note */}}x", "{# note #}x"),
        ("{{ .Who | upper }}", "{{ who|upper }}"),
        ("{{ upper .Who | lower }}", "{{ who|upper|lower }}"),
        ("{{ .Bag.x | default \"friend\" }}", "{{ bag.x|default(\"friend\", true) }}"),
        ("{{ printf \"%s, %d%%\" .Who 3 }}", "{{ who ~ \", \" ~ 3 ~ \"%\" }}"),
        (
            "{{ if .Bag.a }}A{{ else if eq .Who \"b\" \"c\" }}B{{ else }}C{{ end }}",
            "{% if bag.a %}A{% else %}{% if who == \"b\" or who == \"c\" %}B{% else %}C{% endif %}{% endif %}",
        ),
        ("{{ if and .Bag.a (not .Bag.b) }}x{{ end }}", "{% if bag.a and (not bag.b) %}x{% endif %}"),
        ("{{ if gt (len .Bag.list) 2 }}x{{ end }}", "{% if bag.list|length > 2 %}x{% endif %}"),
        (
            "{{ with .Bag.a }}<{{ . }}{{ .b }}>{{ else }}-{{ end }}",
            "{% if bag.a %}<{{ bag.a|default(\"\") }}{{ bag.a.b|default(\"\") }}>{% else %}-{% endif %}",
        ),
        ("{{ with .In }}{{ .Who }}{{ end }}", "{{ who }}"),
        (
            "{{ $x := .Who }}{{ $x }}{{ $x = upper $x }}{{ $x }}",
            "{% set var1_x = who %}{{ var1_x|default(\"\") }}{% set var1_x = var1_x|upper %}{{ var1_x|default(\"\") }}",
        ),
        ("{{ index .Bag.list 0 }}", "{{ bag.list[0]|default(\"\") }}"),
        ("{{ (index .Bag \"a b\").c }}", "{{ bag[\"a b\"].c|default(\"\") }}"),
        ("{{ define \"x\" }}[{{ .Who }}]{{ end }}{{ template \"x\" . }}", "[{{ who }}]"),
        ("{{ Page }}{{ Page . }}", "{{ page }}{{ page }}"),
        ("{{ L.T \"a\" }}", "<a>"),
        ("{{ \"a\\n\\\"b\\\"\" }}", "a\n\"b\""),
        ("{{ `raw\\n` }}", "raw\\n"),
        ("{{ replace \"a\" \"b\" .Who }}", "{{ who|replace(\"a\", \"b\") }}"),
        ("{{ ternary \"x\" \"y\" .Bag.on }}", "{{ (\"x\" if bag.on else \"y\")|default(\"\") }}"),
        ("{{ or .Bag.a .Bag.b }}", "{{ (bag.a or bag.b)|default(\"\") }}"),
        ("{{ .Bag.a.b.c }}", "{{ ((bag.a|default({})).b|default({})).c|default(\"\") }}"),
        ("{{ if eq .Bag.plan \"pro\" }}x{{ end }}", "{% if bag.plan|default(none) == \"pro\" %}x{% endif %}"),
        ("{{ if .Off }}x{{ end }}", "{% if false %}x{% endif %}"),
        (
            "{{ with .Constant }}{{ . }}{{ end }}",
            "{% set var1_with = \"a & b\" %}{% if var1_with %}{{ var1_with|default(\"\") }}{% endif %}",
        ),
        (
            "{{ $x := 1 }}{{ $y := 2 }}{{ if $x = .Bag.a }}x{{ end }}",
            "{% set var1_x = 1 %}{% set var2_y = 2 %}{% set var1_x = bag.a %}{% if var1_x %}x{% endif %}",
        ),
        ("{{ contains \"a\" .Who }}", "{{ \"a\" in who }}"),
        ("{{ join \", \" .Bag.list }}", "{{ bag.list|join(\", \") }}"),
        // What Jinja would take for a tag is text.
        ("{% x %} {# y #} { z }", "{{ \"{\" }}% x %} {{ \"{\" }}# y #} { z }"),
        ("a{", "a{{ \"{\" }}"),
    ] {
        assert_eq!(text(go), jinja, "{go}");
    }
}

#[test]
fn values_are_escaped_by_their_place() {
    for (go, jinja) in [
        ("<p title=\"{{ .Who }}\">{{ .Who }}</p>", "<p title=\"{{ who }}\">{{ who }}</p>"),
        ("<p>{{ .Constant }}{{ L.T \"a\" }}</p>", "<p>a &amp; b&lt;a&gt;</p>"),
        ("<a href=\"https://x.example/?q={{ .Who }}\">", "<a href=\"https://x.example/?q={{ who|urlencode }}\">"),
        ("<a href=\"https://x.example/?q={{ .Constant }}\">", "<a href=\"https://x.example/?q={{ \"a & b\"|urlencode }}\">"),
        ("<a href=\"{{ Page }}\">", "<a href=\"{{ page }}\">"),
        ("<a href=\"https://x.example/?u={{ Page }}\">", "<a href=\"https://x.example/?u={{ page|urlencode }}\">"),
        ("<a href=\"https://x.example/?q={{ .Who | urlquery }}\">", "<a href=\"https://x.example/?q={{ who|urlencode }}\">"),
        (
            "<a href=\"https://x.example/?q={{ Own | urlquery }}\">",
            "<a href=\"https://x.example/?q={{ (\"https://x/\" ~ who)|urlencode }}\">",
        ),
        ("<style>a{} /* note </style><p>Hello</p>", "<style>a{}  </style><p>Hello</p>"),
        (
            "<a href='{{ .Bag.url }}'>",
            "<a href='{# check: Go lets only http, https and mailto through as the beginning of a URL #}{{ bag.url|default(\"\") }}'>",
        ),
        ("{{ Safe .Bag.html }}", "{{ bag.html|safe }}"),
        (
            "<b>x</b><!-- note {{ .Who }} -->y",
            "<b>x</b>{# not carried over: a value in a comment, which Go escapes in a way that Jinja has not #}{{ not_carried_over }}y",
        ),
        ("a<!-- note -->b", "ab"),
        ("<style>a{/* x */b:c}</style>{{ .Who }}", "<style>a{ b:c}</style>{{ who }}"),
        ("<title>{{ .Who }}</title><p>", "<title>{{ who }}</title><p>"),
        ("x{{ Pixel }}", "x{# check: no pixel #}"),
        ("<body>{{ template \"content\" . }}</body>", "<body>{% block content %}{% endblock %}</body>"),
        ("<a {{ if .Bag.x }}href=\"{{ Page }}\"{{ end }}>{{ .Who }}</a>", "<a {% if bag.x %}href=\"{{ page }}\"{% endif %}>{{ who }}</a>"),
    ] {
        assert_eq!(html(go), jinja, "{go}");
    }
}

#[test]
fn what_has_no_counterpart_prints_a_field_that_nobody_has() {
    for (go, why) in [
        ("{{ .Other }}", "no counterpart"),
        ("{{ sha256sum .Who }}", "the function `sha256sum` has no counterpart"),
        ("{{ printf \"%05d\" 3 }}", "`printf` with the format"),
        ("{{ .Bag.f 3 }}", "a method with arguments"),
        ("<script>var a = {{ .Who }};</script>", "in a script"),
        ("<a onclick=\"f({{ .Who }})\">", "in a script"),
        ("<a title={{ .Who }}>", "without quotes"),
        ("{{ range .Bag.list }}{{ $x = . }}{{ end }}", "is not declared"),
        ("{{ $x := 1 }}{{ range .Bag.list }}{{ $x = . }}{{ end }}", "within a loop"),
        ("{{ template \"gone\" . }}", "is not there"),
        ("{{ template \"content\" . }}{{ template \"content\" . }}", "more than once"),
        ("{{ if sha256sum .Who }}x{{ end }}", "the function `sha256sum`"),
        ("{{ define \"x\" }}{{ template \"x\" . }}{{ end }}{{ template \"x\" . }}", "nested too deep"),
    ] {
        let done = translate(go, Options { is_html: true, is_layout: true }, &mut Sample).expect("a template");
        assert!(done.text.contains("{{ not_carried_over }}"), "{go}: {}", done.text);
        assert!(done.remarks.iter().any(|remark| remark.is_lost && remark.what.contains(why)), "{go}: {:?}", done.remarks);
    }
}

#[test]
fn what_is_no_template_is_told_with_its_line() {
    for (go, fault) in [
        ("a\n{{ .Who", "line 2: an action is not closed"),
        ("a\n{{ if .Who }}\nb", "line 2: `{{ if }}` has no `{{ end }}`"),
        ("{{ end }}", "line 1: `{{ end }}` belongs to nothing"),
        ("{{ (.Who }}", "a bracket is not closed"),
        ("{{ \"a }}", "a string is not closed"),
        ("{{ .Who | }}", "a command is missing"),
        ("{{ & }}", "`&` is not expected"),
    ] {
        let said = text(go);
        assert!(said.contains(fault), "{go}: {said}");
    }
}

#[test]
fn lines_of_remarks_are_those_of_the_source() {
    let done = translate(
        "a\nb\n\n{{ .Other }}\n{{ if .Bag.x }}\n{{ .Other }}{{ end }}",
        Options { is_html: false, is_layout: false },
        &mut Sample,
    );
    let lines: Vec<usize> = done.expect("a template").remarks.iter().map(|remark| remark.line).collect();
    assert_eq!(lines, [4, 6]);
}

#[test]
fn what_names_itself_ever_more_often_ends() {
    // Ten times ten times ten … of nothing.
    let mut go = "{{ define \"t0\" }}{{ end }}".to_owned();
    for level in 1..=9 {
        let calls = format!("{{{{ template \"t{}\" . }}}}", level - 1).repeat(10);
        go.push_str(&format!("{{{{ define \"t{level}\" }}}}{calls}{{{{ end }}}}"));
    }
    go.push_str("{{ template \"t9\" . }}");
    let done = translate(&go, Options { is_html: false, is_layout: false }, &mut Sample).expect("a template");
    assert!(done.text.ends_with("{{ not_carried_over }}") && done.remarks.last().is_some_and(|last| last.what.contains("longer than")));
}

fn value(json: &serde_json::Value) -> minijinja::Value {
    use serde_json::Value as Json;
    match json {
        Json::Object(map) => minijinja::Value::from_pairs(map.iter().map(|(name, inner)| (name.clone(), value(inner)))),
        Json::Array(list) => list.iter().map(value).collect::<Vec<_>>().into(),
        Json::String(text) => text.clone().into(),
        Json::Number(number) => number.as_i64().unwrap_or_default().into(),
        Json::Bool(is) => (*is).into(),
        Json::Null => ().into(),
    }
}

#[test]
fn translations_print_what_go_prints() {
    // By the rules of the engine that sends: what is undefined is neither printed nor compared.
    let data = value(
        &serde_json::json!({"who": "Ann", "bag": {"city": "Oslo", "list": [{"name": "x", "items": [1, 2]}, {"name": "y", "items": [3]}], "address": {"zip": "0150"}}}),
    );
    for (go, printed) in [
        ("{{ range $i, $x := .Bag.list }}{{ $i }}:{{ $x.name }} {{ else }}none{{ end }}", "0:x 1:y "),
        ("{{ range $i, $x := .Bag.list }}{{ range $x.items }}{{ $i }}{{ . }} {{ end }}{{ end }}", "01 02 13 "),
        ("{{ range .Bag.gone }}x{{ else }}none{{ end }}", "none"),
        ("{{ with upper .Who }}{{ . }}{{ end }}", "ANN"),
        ("{{ with .Constant }}{{ . }}{{ end }}", "a & b"),
        ("{{ with .Bag.gone }}{{ . }}{{ else }}-{{ end }}", "-"),
        ("{{ .Bag.gone }}{{ .Bag.gone.city }}{{ .Bag.address.zip }}", "0150"),
        ("{{ .Bag.gone.city | default \"x\" }}", "x"),
        ("{{ or .Bag.nick .Bag.gone }}{{ or .Bag.nick .Bag.city }}", "Oslo"),
        ("{{ if eq .Bag.plan \"pro\" }}pro{{ else }}free{{ end }}", "free"),
        ("{{ if ne .Bag.city \"Oslo\" }}away{{ else }}here{{ end }}", "here"),
        ("{{ if .Off }}SALE{{ end }}.", "."),
        ("{{ coalesce .Bag.gone .Bag.city \"?\" }}", "Oslo"),
        ("{{ (index .Bag \"city\") | upper }}", "OSLO"),
    ] {
        let jinja = text(go);
        let mut environment = minijinja::Environment::new();
        environment.set_undefined_behavior(minijinja::UndefinedBehavior::SemiStrict);
        minijinja_contrib::add_to_environment(&mut environment);
        let said = environment.render_str(&jinja, data.clone()).unwrap_or_else(|error| panic!("{go}: {jinja}: {error:#}"));
        assert_eq!(said, printed, "{go}: {jinja}");
    }
}
