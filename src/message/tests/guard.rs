//! What a template may hold, and that measuring changes nothing of what it prints.

use super::{Content, RenderError, Template, content, header, try_render};
use crate::{
    audience::Recipient,
    message::guard::{as_written, guarded},
};

fn fault(template: &str) -> String {
    let faults = Template::compile(&Content { text: Some(template.into()), ..content() }).err().unwrap_or_default();
    faults.into_iter().map(|fault| fault.to_string()).collect::<Vec<_>>().join("; ")
}

fn rendered(template: &str) -> Result<String, RenderError> {
    let json = r#"{"email":"a@x.example","name":"Ann","plan":"pro","price":3,"qty":4,"list":["x","y"],"map":{"a":1,"b":[2]},"rows":[{"n":1,"t":"p"},{"n":2,"t":"q"}]}"#;
    let message = try_render(&Content { text: Some(template.into()), ..content() }, &Recipient::from_json(json).expect("good"))?;
    let text = String::from_utf8(message.content.whole().into_owned()).expect("UTF-8");
    Ok(text.split_once("\r\n\r\n").expect("a body").1.trim_end().replace("\r\n", "\n"))
}

#[test]
fn nested_or_long_templates_are_faults_with_their_line() {
    let cases = [
        (
            "x\n{{ SIGNS1 }}",
            "spec.content.text: line 2: an expression has more than 250 words and signs without a comma; split it with `{% set %}`",
        ),
        (
            "{{ 1TERMS }}",
            "spec.content.text: line 1: an expression has more than 250 words and signs without a comma; split it with `{% set %}`",
        ),
        ("\n\n{{ OPEN1CLOSE }}", "spec.content.text: line 3: more than 30 brackets are nested; split the expression with `{% set %}`"),
        ("BLOCKSENDS", "spec.content.text: line 1: more than 60 blocks are nested, counting each `elif`; look up in a map instead"),
        (
            "{% if 1 %}ELIFS{% endif %}",
            "spec.content.text: line 1: more than 60 blocks are nested, counting each `elif`; look up in a map instead",
        ),
        (
            "{{ 'LONG' }}",
            "spec.content.text: line 1: a tag has a text, name or number of 70002 bytes, and 65536 is the maximum; put text outside tags",
        ),
        ("TAGS", "spec.content.text: line 1: there are more than 20000 tags; loop over a list instead"),
        (
            "{{ [ELEMENTS] }}",
            "spec.content.text: line 1: the template's tags have more than 200000 words and signs; put data into the audience's fields",
        ),
        ("{% set a, b.c = 1, 2 %}", "spec.content.text: line 1: `{% set %}` sets an attribute among other targets; use a tag for each"),
        (
            "{% set if = [1] %}{{ if == if }}",
            "spec.content.text: line 1: `if` is a keyword of the template language and cannot be a name; to read a field of that name, write `fields.if`",
        ),
        (
            "{{ 1 + not }}",
            "spec.content.text: line 1: `not` is a keyword of the template language and cannot be a name; to read a field of that name, write `fields.not`",
        ),
    ];
    for (template, wanted) in cases {
        let template = template
            .replace("SIGNS", &"-".repeat(7300))
            .replace("TERMS", &"+1".repeat(30_000))
            .replace("OPEN", &"(".repeat(31))
            .replace("CLOSE", &")".repeat(31))
            .replace("BLOCKS", &"{% if 1 %}".repeat(61))
            .replace("ENDS", &"{% endif %}".repeat(61))
            .replace("ELIFS", &"{% elif 1 %}".repeat(60))
            .replace("LONG", &"x".repeat(70_000))
            .replace("TAGS", &"{{ 1 }}".repeat(20_001))
            .replace("ELEMENTS", &"1,".repeat(100_001));
        assert_eq!(fault(&template), wanted);
    }
    let digits = fault(&format!("{{{{ {} }}}}", "9".repeat(1_000_000)));
    assert!(digits.len() < 500 && digits.starts_with("spec.content.text: "), "{digits}");
}

#[test]
fn what_is_shared_or_cyclic_fails_for_its_recipients() {
    let doubled = |setup: &str, again: &str| format!("{setup}{}", again.repeat(40));
    let list = doubled("{% set a = [1] %}", "{% set a = [a, a] %}");
    let other = list.replace(" a ", " b ").replace("[a, a]", "[b, b]");
    let attribute = doubled("{% set ns = namespace(x=[1]) %}", "{% set ns.x = [ns.x, ns.x] %}");
    let much = "spec.content.text: line 1: it needs too much computation or prints too much";
    let single = "spec.content.text: line 1: invalid operation: a list or a map can neither be multiplied nor be an attribute of a namespace; use a text or a number, or `{% for %}`";
    let cases = [
        (format!("{list}{{{{ a }}}}"), much),
        (format!("{list}{other}{{{{ a == b }}}}"), much),
        (format!("{list}{other}{{% if a is eq b %}}{{% endif %}}"), much),
        (format!("{list}{{{{ a|upper }}}}"), much),
        (format!("{list}{{{{ a|tojson }}}}"), much),
        (format!("{list}{{{{ a|join }}}}"), much),
        (format!("{list}{{{{ a.count([1]) }}}}"), much),
        (doubled("{% set a = [] + [] %}", "{% set a = a + a %}") + "{{ a == [1] }}{{ [1] * 3 }}", single),
        (attribute, single),
        ("{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}".to_owned(), single),
        ("{{ [1] * 1000000000 }}".to_owned(), single),
        (
            "{{ [[1], [2]]|tojson(indent=1000000) }}".to_owned(),
            "spec.content.text: line 1: invalid operation: `tojson` indents by 16 at most, at `tojson(indent=1000000)`",
        ),
        (
            "{{ [1]|tojson(17) }}".to_owned(),
            "spec.content.text: line 1: invalid operation: `tojson` indents by 16 at most, at `tojson(17)`",
        ),
        ("{{ 1000000000 * list }}".to_owned(), single),
        (
            format!("{{% set a = [1] %}}{}{{{{ a }}}}", "{% set a = [a] %}".repeat(70)),
            "spec.content.text: line 1: invalid operation: more than 64 lists and maps are nested",
        ),
    ];
    for (template, wanted) in cases {
        let error = rendered(&template).expect_err(&template[template.len().saturating_sub(60)..]).to_string();
        assert_eq!(error, wanted, "{}", &template[template.len().saturating_sub(80)..]);
    }
}

#[test]
fn ordinary_templates_print_unchanged() {
    let cases = [
        ("{{ name }}", "Ann"),
        (
            "{{ price * qty }} {{ 2 * price * -qty }} {{ price ** 2 * qty + 1 }} {{ (price + 1) * (qty) }} {{ 'ab' * 2 }}",
            "12 -24 37 16 abab",
        ),
        (
            "{% if plan == 'pro' and not qty == 3 %}yes{% endif %}{% if 'x' in list %}in{% endif %}{% if 'z' not in list %}out{% endif %}",
            "yesinout",
        ),
        ("{% if plan in ('a', 'pro') %}1{% endif %}{{ 'a' if plan == 'pro' else 'b' }}{{ missing | default('none') }}", "1anone"),
        (
            "{% set ns = namespace(total=0, all='') %}{% for row in rows %}{% set ns.total = ns.total + row.n * 2 %}{% set ns.all = ns.all ~ row.t %}{% endfor %}{{ ns.total }}{{ ns.all }}",
            "6pq",
        ),
        (
            "{% macro m(a, b='x', c=list) %}{{ a }}{{ b }}{{ c[0] }}{% endmacro %}{{ m(1) }}{{ m(1, b=name) }}{{ m(a=2, c=[3]) }}",
            "1xx1Annx2x3",
        ),
        ("{% macro m() %}<{{ caller(1, 2) }}>{% endmacro %}{% call(a, b) m() %}{{ a + b }}{% endcall %}", "<3>"),
        ("{% for a, b in map.items() %}{{ a }}{{ b }}{% endfor %}{% for (a, b) in [(1, 2)] %}{{ a ~ b }}{% endfor %}", "a1b[2]12"),
        ("{% set a, b = 1, 2 %}{{ b - a }}{% set (c, d) = [a, b] %}{{ c / d }}{% with e = a + b, f = e %}{{ e }}{% endwith %}", "10.53"),
        ("{% filter upper|replace('A', name) %}ab{% endfilter %}{% set t | upper %}x{{ name }}{% endset %}{{ t }}", "AnnBXANN"),
        (
            "{{ rows | map(attribute='n') | sum }}{{ rows | selectattr('n', 'eq', 2) | map(attribute='t') | join }}{{ list | length > 1 }}",
            "3qTrue",
        ),
        ("{{ (list + ['z']) | join(',') }}{{ list[0:1] }}{{ {'a': {'b': list}}.a.b[-1] }}{{ map['a'] }}", "x,y,z['x']y1"),
        (
            "{{ qty is divisibleby 2 }}{{ qty is not odd }}{{ qty is eq 4 and price is lt qty }}{{ 'x' is in list }}{{ name is defined and missing is not defined }}",
            "TrueTrueTrueTrueTrue",
        ),
        ("{% for i in range(3) if i != 1 %}{{ i }}{{ ',' if not loop.last }}{% else %}none{% endfor %}{{ range(2) | list }}", "0,2[0, 1]"),
        ("{{ '%s is %d' | format(name, qty) }}{{ dict(a=name, **map).b }}{{ name[1:] ~ '' ~ name.lower() }}", "Ann is 4[2]nnann"),
    ];
    for (template, wanted) in cases {
        let run = guarded(template).expect("allowed").run;
        let bare = |text: &str| text.replace(['(', ')'], "");
        assert_eq!(bare(&as_written(&run)), bare(template), "only brackets and measures are put in");
        assert_eq!(rendered(template).expect(template), wanted, "{run}");
    }
    // What is printed alone is run as it is written.
    for template in ["Dear {{ name }}, {{ a.b.c }}", "{% if name %}{{ name }}{% endif %}", "{% for row in rows %}{{ row.n }}{% endfor %}"] {
        assert_eq!(guarded(template).map(|guarded| guarded.run).as_deref(), Ok(template));
    }
}

#[test]
fn headers_are_judged_as_bodies_are() {
    let made = Content { text: Some("x".into()), headers: vec![header("X-A", &format!("{{{{ {}1 }}}}", "- ".repeat(9000)))], ..content() };
    let faults = Template::compile(&made).expect_err("too deep");
    assert_eq!(faults[0].path, "spec.headers[0].value");
}
