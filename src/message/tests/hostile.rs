//! Templates that were written to hurt: none may end the process, take long or fill the memory, whatever they nest, share or repeat.
//!
//! They run in a child process, which is this test again: a stack overflow is an abort, and ends all tests otherwise.

use std::{
    fmt::Write as _,
    io::Write as _,
    process::Command,
    time::{Duration, Instant},
};

use super::*;
use crate::test_support::Chance;

/// Templates of an ordinary run; `MAILFLEET_HOSTILE` gives another number.
const CASES: u64 = 600;
/// The longest that one may take, compiled and rendered, in a debug build.
const SLOWEST: Duration = Duration::from_secs(1);
/// Memory of the child process at its peak, KiB.
const PEAK_KIB: u64 = 400 << 10;

const FILTERS: &[&str] = &[
    "safe",
    "escape",
    "e",
    "lower",
    "upper",
    "title",
    "capitalize",
    "replace('a', 'bbbbbbbbbbbbbbbb')",
    "length",
    "count",
    "dictsort",
    "items",
    "reverse",
    "trim",
    "join('----------')",
    "split('')",
    "lines",
    "default(1)",
    "d(b)",
    "round",
    "abs",
    "int",
    "float",
    "attr('x')",
    "first",
    "last",
    "min",
    "max",
    "sort",
    "list",
    "string",
    "bool",
    "batch(3)",
    "batch(1000000000, 'x')",
    "slice(3)",
    "slice(1000000000)",
    "sum",
    "sum(start=b)",
    "indent(1000000000)",
    "indent(4, true)",
    "select",
    "reject",
    "select('eq', b)",
    "selectattr('x')",
    "rejectattr('x', 'eq', b)",
    "map('upper')",
    "map('list')",
    "map(attribute='x')",
    "groupby('x')",
    "groupby(0)",
    "unique",
    "chain(b)",
    "zip(b)",
    "zip(b, b, b)",
    "pprint",
    "format(b)",
    "tojson",
    "tojson(indent=1000000)",
    "urlencode",
    "truncate(3)",
    "truncate(length=1000000000)",
    "striptags",
    "wordwrap(1)",
    "wordwrap(1000000000)",
    "wordwrap(1, wrapstring=b)",
    "filesizeformat",
    "pluralize",
    "dateformat('%9999999999d')",
    "timeformat",
    "datetimeformat(format=b)",
];
const TESTS: &[&str] = &[
    "undefined",
    "defined",
    "none",
    "safe",
    "escaped",
    "boolean",
    "odd",
    "even",
    "divisibleby 3",
    "number",
    "integer",
    "int",
    "float",
    "string",
    "sequence",
    "iterable",
    "mapping",
    "startingwith b",
    "endingwith(b)",
    "lower",
    "upper",
    "sameas b",
    "eq b",
    "equalto(b)",
    "== b",
    "ne b",
    "lt b",
    "lessthan(b)",
    "le b",
    "gt b",
    "greaterthan b",
    "ge(b)",
    "in b",
    "true",
    "false",
    "filter",
    "test",
];
const METHODS: &[&str] = &[
    "upper()",
    "lower()",
    "islower()",
    "isspace()",
    "isalnum()",
    "strip(b)",
    "lstrip()",
    "replace('a', b)",
    "replace('', 'aaaaaaaaaaaa')",
    "title()",
    "split()",
    "splitlines()",
    "capitalize()",
    "count(b)",
    "find(b)",
    "rfind('a')",
    "startswith(b)",
    "endswith(b)",
    "join(b)",
    "keys()",
    "values()",
    "items()",
    "get(b)",
    "x",
    "0",
    "x.x.x",
];
const OPERATORS: &[&str] =
    &["==", "!=", "<", "<=", ">", ">=", "in", "not in", "~", "+", "-", "*", "/", "//", "%", "**", "and", "or", "if", "== b ==", "< b in"];
/// What makes the value `NAME`, once and so many times over.
const VALUES: &[(&str, &str)] = &[
    ("{% set NAME = [1] %}", "{% set NAME = [NAME, NAME] %}"),
    ("{% set NAME = [] %}", "{% set NAME = NAME + NAME %}"),
    ("{% set NAME = [1] %}", "{% set NAME = NAME + NAME %}"),
    ("{% set NAME = {} %}", "{% set NAME = {'x': NAME, 'y': NAME} %}"),
    ("{% set NAME = {} %}", "{% set NAME = {NAME: NAME, 1: NAME} %}"),
    ("{% set NAME = {} %}", "{% set NAME = dict(x=NAME, y=NAME) %}"),
    ("{% set NAME = (1,) %}", "{% set NAME = (NAME, NAME) %}"),
    ("{% set NAME = (1,) %}", "{% set NAME = NAME, NAME, %}"),
    ("{% set NAME = (1,) %}", "{% set NAME = NAME + NAME %}"),
    ("{% set NAME = namespace(x=[1]) %}", "{% set NAME.x = [NAME.x, NAME.x] %}"),
    ("{% set NAME = namespace() %}", "{% set NAME.x = NAME %}"),
    ("{% set NAME = namespace() %}", "{% set NAME = namespace(x=NAME, y=NAME) %}"),
    ("{% set NAME = 'a<' %}", "{% set NAME = NAME ~ NAME %}"),
    ("{% set NAME = 'a b' %}", "{% set NAME = NAME * 1000 %}"),
    ("{% set NAME = [1] %}", "{% set NAME = NAME * 1000000 %}"),
    ("{% set NAME = [[1] * 1000000000] %}", ""),
    ("{% set NAME = range(100000) %}", "{% set NAME = NAME|list|reverse %}"),
    ("{% set NAME = [1] %}", "{% set NAME = NAME|zip(NAME)|list %}"),
    ("{% set NAME = [1] %}", "{% set NAME = NAME|zip(NAME) %}"),
    ("{% set NAME = [] %}", "{% set NAME = NAME|reverse %}"),
    ("{% set NAME = [] %}", "{% set NAME = NAME|chain(NAME) %}"),
    ("{% set NAME = {} %}", "{% set NAME = NAME|chain(NAME) %}"),
    ("{% set NAME = [1] %}", "{% set NAME = [NAME] %}"),
    ("{% set NAME = [1] %}", "{% set NAME = [NAME][:] %}"),
    ("{% set NAME = [1, 2] %}", "{% set NAME = NAME|batch(1)|list %}"),
    ("{% set NAME = [1] %}", "{% set NAME = [NAME, NAME]|map('list')|list %}"),
    ("{% set NAME = [1] %}", "{% with c = [NAME, NAME] %}{% set NAME = c %}{% endwith %}"),
    ("{% set NAME = [1] %}", "{% set NAME = [NAME if 1 else 2, NAME or 1] %}"),
    ("{% set NAME = fields %}", "{% set NAME = {'x': fields, 'y': NAME, 'z': NAME} %}"),
    ("{% set NAME = fields.deep %}", ""),
    ("{% set NAME = fields.wide %}", "{% set NAME = NAME + fields.wide %}"),
    ("{% set NAME = fields.long %}", "{% set NAME = [NAME, NAME] %}"),
    ("{% set NAME = 10 %}", "{% set NAME = NAME ** NAME %}"),
    ("{% set NAME %}aaaa {% endset %}", "{% set NAME %}{{ NAME }}{{ NAME }}{% endset %}"),
];
/// What recurses in the parser: before, again and again, the middle, and after.
const SHAPES: &[(&str, &str, &str, &str)] = &[
    ("{{ ", "-", "1", " }}"),
    ("{{ ", "- ", "a", " }}"),
    ("{{ ", "not ", "1", " }}"),
    ("{{ 1", "+1", "", " }}"),
    ("{{ 1", "*1", "", " }}"),
    ("{{ 1", "**1", "", " }}"),
    ("{{ 1", "~1", "", " }}"),
    ("{{ 1", " or 0", "", " }}"),
    ("{{ 1", " and 1", "", " }}"),
    ("{{ 1", " == 1", "", " }}"),
    ("{{ 1", " < 2 in [1]", "", " }}"),
    ("{{ 1", " if 1 else 1", "", " }}"),
    ("{{ 1", " if 1", "", " }}"),
    ("{{ 1", "|abs", "", " }}"),
    ("{{ 1", "|d(1)", "", " }}"),
    ("{{ 1", " is odd", "", " }}"),
    ("{{ 1", " is not odd", "", " }}"),
    ("{{ a", ".a", "", " }}"),
    ("{{ a", "[0]", "", " }}"),
    ("{{ a", "[::1]", "", " }}"),
    ("{{ a", "()", "", " }}"),
    ("{{ ", "(", "1", " }}"),
    ("{{ ", "[", "1", " }}"),
    ("{{ ", "{1:", "1", " }}"),
    ("{{ ", "a(", "1", " }}"),
    ("{{ ", "a[", "1", " }}"),
    ("{{ ", "1|d(", "1", " }}"),
    ("{{ ", "1 if 1 else ", "1", " }}"),
    ("{{ ", "1 is eq -", "1", " }}"),
    ("{{ 'a'", "'b'", "", " }}"),
    ("", "{% if 1 %}", "x", ""),
    ("{% if 1 %}", "{% elif 1 %}", "x", "{% endif %}"),
    ("", "{% for a in [1] %}", "x", ""),
    ("", "{% with a = 1 %}", "x", ""),
    ("", "{% macro a() %}", "x", ""),
    ("", "{% call a() %}", "x", ""),
    ("", "{% filter upper %}", "x", ""),
    ("", "{% set a %}", "x", ""),
    ("", "{% set a | upper %}", "x", ""),
    ("", "{% autoescape false %}", "x", ""),
    ("{% set ", "(", "a = 1", " %}"),
    ("{% set a", ".a", " = 1", " %}"),
    ("{% set a", ", a", " = 1", " %}"),
    ("{% for ", "(", "a in b", " %}{% endfor %}"),
    ("{% raw %}", "{%", "", "{% endraw %}"),
    ("", "{{", "", ""),
    ("", "{{ a }}", "", ""),
    ("", "{#", "", ""),
    ("{{ ", "9", "", " }}"),
    ("{{ 1.", "9", "", " }}"),
    ("{{ '", "x", "", "' }}"),
    ("{{ ", "x", "", " }}"),
    ("", "<mj-section>", "", ""),
    ("", "<p>", "x", ""),
];

impl Chance {
    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    fn value(&mut self, name: &str) -> String {
        let (first, again) = self.of(VALUES);
        let times = self.of(&[1, 5, 12, 25, 40, 64, 300, 3000]);
        let text = format!("{first}{}", again.repeat(times));
        text.replace("NAME", name)
    }

    fn expression(&mut self) -> String {
        match self.below(8) {
            0 => format!("a|{}", self.of(FILTERS)),
            1 => format!("a|{}|{}", self.of(FILTERS), self.of(FILTERS)),
            2 => format!("a is {}", self.of(TESTS)),
            3 => format!("a.{}", self.of(METHODS)),
            4 => format!("(a|{}).{}", self.of(FILTERS), self.of(METHODS)),
            5 => format!("a {} b {} a", self.of(OPERATORS), self.of(OPERATORS)),
            6 => format!("[a, b] {} [b, a]", self.of(OPERATORS)),
            _ => "a".to_owned(),
        }
    }

    fn used(&mut self) -> String {
        let expression = self.expression();
        match self.below(9) {
            0 => format!("{{% if {expression} %}}x{{% endif %}}"),
            1 => format!("{{% for x in {expression} %}}{{{{ x }}}}{{% endfor %}}"),
            2 => format!("{{% for x in range(9999) %}}{{% if {expression} %}}{{% endif %}}{{% endfor %}}"),
            3 => "{% for x in a recursive %}{{ x }}{{ loop(a) }}{% endfor %}".to_owned(),
            4 => format!("{{% set c = {expression} %}}{{{{ c == a }}}}{{{{ c }}}}"),
            5 => format!(
                "{{% macro m(x, n) %}}{{% if n %}}{{{{ m([x, x], n - 1) }}}}{{% else %}}{{% set a = x %}}{{{{ {expression} }}}}{{% endif %}}{{% endmacro %}}{{{{ m(a, 40) }}}}"
            ),
            6 => "{% macro m(x) %}{{ m([x, x]) }}{% endmacro %}{{ m(a) }}".to_owned(),
            7 => format!(
                "{{% set ns = namespace(v=a) %}}{{% for i in range(9999) %}}{{% set ns.v = {expression} %}}{{% set a = [ns.v, ns.v] %}}{{% endfor %}}{{{{ ns.v }}}}"
            ),
            _ => format!("{{{{ {expression} }}}}"),
        }
    }

    fn template(&mut self) -> String {
        if self.below(4) == 0 {
            let (before, again, middle, after) = self.of(SHAPES);
            let times = self.of(&[10, 40, 60, 149, 400, 3000, 30_000, 200_000]);
            let close: String = again.chars().rev().filter_map(|c| "([{".find(c).map(|at| [')', ']', '}'][at])).collect();
            let word = again.strip_prefix("{% ").and_then(|rest| rest.split(' ').next());
            let close = match word {
                Some("elif") => String::new(),
                Some(word) => format!("{{% end{word} %}}"),
                None if again.contains("{{") || again.contains("()") || again.contains("[0]") || again.contains("d(1)") => String::new(),
                None => close,
            };
            return format!("{before}{}{middle}{}{after}", again.repeat(times), close.repeat(times));
        }
        let mut text = self.value("a") + &self.value("b");
        for _ in 0..=self.below(2) {
            text += &self.used();
        }
        text
    }
}

fn content_of(template: String, place: usize) -> Content {
    let mut content =
        Content { text: Some("T".into()), ..Content::bare(Mailbox { name: None, address: "news@example.com".to_owned() }, "S") };
    match place {
        0 => content.subject = template,
        1 => content.from.name = Some(template),
        2 => content.unsubscribe_url = Some(format!("https://example.com/{template}")),
        3 => content.headers.push(Header { name: "X-A".to_owned(), value: template }),
        4 => content.text = Some(template.into()),
        5 => (content.html, content.text) = (Some(template.into()), None),
        6 => {
            let mjml =
                format!("<mjml><mj-body><mj-section><mj-column><mj-text>{template}</mj-text></mj-column></mj-section></mj-body></mjml>");
            (content.mjml, content.text) = (Some(mjml.into()), None);
        }
        _ => content.html = Some(template.into()),
    }
    content
}

fn hurt() -> Recipient {
    let mut deep = "1".to_owned();
    for _ in 0..100 {
        deep = format!("[{deep}]");
    }
    let wide = vec!["[1,2,3]"; 5000].join(",");
    let json = format!(
        r#"{{"email":"a@example.com","a":[1],"b":[2],"deep":{deep},"wide":[{wide}],"long":"{}","not":[1],"x":{{"x":{{}}}}}}"#,
        "<x ".repeat(20_000)
    );
    Recipient::from_json(&json).expect("a recipient")
}

/// What this thread has taken of a processor, so that a busy machine makes no difference; the time, where that is not known.
fn taken(begun: Instant) -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = stat.and_then(|stat| stat.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(|| begun.elapsed(), Duration::from_nanos)
}

/// The child: each template is said before it is tried.
fn try_all(seed: u64, cases: u64) {
    let (recipient, mut out) = (hurt(), std::io::stdout());
    let context =
        RenderContext { message_id: "x@example.com", date: jiff::Timestamp::UNIX_EPOCH, campaign: "c", senders: None, link: None };
    let begun = Instant::now();
    for case in 0..cases {
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(case.wrapping_mul(0xbf58_476d_1ce4_e5b9)) | 1);
        chance.below(2);
        let template = chance.template();
        let place = chance.below(8);
        let shown: String = template.chars().take(200).collect();
        let end: String = template.chars().skip(200.max(template.chars().count().saturating_sub(200))).collect();
        writeln!(out, "case {case} in {place}: {shown} … {end}").expect("a pipe");
        let content = content_of(template, place);
        let before = taken(begun);
        let what = match Template::compile(&content) {
            Ok(template) => match template.render(&recipient, &context) {
                Ok(rendered) => format!("{} bytes", rendered.content.len()),
                Err(error) => error.to_string(),
            },
            Err(faults) => faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        };
        let took = taken(begun).saturating_sub(before);
        writeln!(out, "  {} ms: {}", took.as_millis(), what.chars().take(400).collect::<String>()).expect("a pipe");
        assert!(what.len() < 2000, "a fault of {} bytes", what.len());
        assert!(took < SLOWEST, "it took {took:?}");
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().split(' ').next()?.parse::<u64>().ok());
    writeln!(out, "peak {} KiB", peak.unwrap_or(0)).expect("a pipe");
    assert!(peak.unwrap_or(0) < PEAK_KIB, "{peak:?} KiB");
}

#[test]
fn hostile_templates_affect_only_their_campaign() {
    let number = |name: &str, otherwise: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let (seed, cases) = (number("MAILFLEET_HOSTILE_SEED", 1), number("MAILFLEET_HOSTILE", CASES));
    if std::env::var_os("MAILFLEET_HOSTILE_CHILD").is_some() {
        return try_all(seed, cases);
    }
    let child = Command::new(std::env::current_exe().expect("this test"))
        .args(["message::tests::hostile::hostile_templates_affect_only_their_campaign", "--exact", "--nocapture", "--test-threads=1"])
        .env("MAILFLEET_HOSTILE_CHILD", "1")
        .output()
        .expect("a child");
    let said = String::from_utf8_lossy(&child.stdout);
    if std::env::var_os("MAILFLEET_HOSTILE_LOG").is_some() {
        std::fs::write(std::env::temp_dir().join("hostile.log"), said.as_bytes()).expect("a log");
    }
    let mut last = String::new();
    for line in said.lines().rev().take(4) {
        let _ = writeln!(last, "{line}");
    }
    assert!(child.status.success(), "seed {seed}: {}, after\n{last}\n{}", child.status, String::from_utf8_lossy(&child.stderr));
    assert!(said.contains("peak "), "the child tried nothing: {last}");
}
