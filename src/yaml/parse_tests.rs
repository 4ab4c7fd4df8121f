//! Trees, places, and what YAML leaves to its reader.

use serde_json::{Value, json};

use super::parse;
use crate::yaml::{Document, FieldPath, Position, lines};

fn one(text: &str) -> Document {
    let mut documents = parse(text);
    assert_eq!(documents.len(), 1, "{text}");
    documents.remove(0)
}

fn problems(document: &Document) -> Vec<String> {
    document.problems.iter().chain(&document.scalars).map(|p| format!("{}:{} {}: {}", p.at.line, p.at.column, p.path, p.message)).collect()
}

#[test]
fn values_are_those_of_the_core_schema() {
    for (text, expected) in [
        ("a: 1\nb: [x, 'y', \"\\u00e9\"]\n", json!({"a": 1, "b": ["x", "y", "é"]})),
        ("a: |\n  line\n  two\nb: >-\n  folded\n  text\n", json!({"a": "line\ntwo\n", "b": "folded text"})),
        ("a: !!str 12\nb: !!int \"7\"\nc: ! 0777\n", json!({"a": "12", "b": 7, "c": "0777"})),
        ("base: &b {x: 1, y2: 2}\nuse: {<<: *b, x: 3}\n", json!({"base": {"x": 1, "y2": 2}, "use": {"x": 3, "y2": 2}})),
        ("a: &a {x: 1}\nb: &b {x: 2, z: 2}\nc: {<<: [*a, *b]}\n", json!({"a": {"x": 1}, "b": {"x": 2, "z": 2}, "c": {"x": 1, "z": 2}})),
        ("k: &k key\n*k : value\n", json!({"k": "key", "key": "value"})),
        ("\u{feff}a: b\n", json!({"a": "b"})),
        ("1: a\ntrue: b\n", json!({"1": "a", "true": "b"})),
        ("{\"a\":1,\"b\":[true,null]}", json!({"a": 1, "b": [true, null]})),
        ("\"\": a\n", json!({"": "a"})),
        ("a:\n- b\n-\n", json!({"a": ["b", null]})),
    ] {
        let document = one(text);
        assert_eq!(document.root.to_json(), expected, "{text}");
        assert_eq!(problems(&document), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn every_value_knows_its_place() {
    let document = one("# é\nspec:\n  servers:\n    - name: a\n      weight: 7\n    - {name: \"é\", weight: x}\n  empty:\n");
    for (path, line, column) in [
        ("spec", 2, 1),
        ("spec.servers", 3, 3),
        ("spec.servers[0]", 4, 7),
        ("spec.servers[0].weight", 5, 15),
        ("spec.servers[1].weight", 6, 27),
        ("spec.servers[1].nowhere", 6, 7),
        ("spec.servers[5].name", 3, 3),
        ("spec.empty", 7, 3),
        ("nowhere.at.all", 2, 1),
    ] {
        assert_eq!(document.root.locate(&FieldPath::parse(path)), Position { line, column }, "{path}");
    }
    assert_eq!(document.root.path_of_pointer("/spec/servers/1/name").to_string(), "spec.servers[1].name");
}

#[test]
fn what_is_not_plain_is_told() {
    for (text, expected) in [
        ("a: 1\na: 2\na: 3\n", &["2:1 a: `a` is given twice", "3:1 a: `a` is given twice"][..]),
        ("a: &x [*x]\n", &["1:8 a[0]: this alias is inside its own anchor"]),
        ("? [a]\n: b\nc: d\n", &["1:3 : a key must be text"]),
        ("? {a: b}\n: {c: d}\ne: f\n", &["1:3 : a key must be text"]),
        ("~: a\n", &["1:1 : a key is missing"]),
        ("<<: a\nb: c\n", &["1:5 : `<<` merges mappings"]),
        ("a: !x b\n", &["1:7 a: the tag `!x` has no meaning"]),
        ("a: !!int x\n", &["1:10 a: this does not match the tag `!!int`"]),
        ("a: [yes]\n", &["1:5 a[0]: `yes` is true to some tools"]),
    ] {
        let found = problems(&one(text));
        assert_eq!(found.len(), expected.len(), "{text}: {found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{text}: {found}");
        }
    }
    assert_eq!(one("? [a]\n: [b]\nc: d\n").root.to_json(), json!({"c": "d"}));
    assert_eq!(one("a: 1\na: {b: 2}\nc: 3\n").root.to_json(), json!({"a": 1, "c": 3}));
}

#[test]
fn reading_goes_on_after_a_syntax_error() {
    let documents = parse("a: 1\n---\nb: [\n---\nc: 'x\n---\nd: 4\n---\ne: f: 5\n");
    let seen: Vec<(Value, Option<usize>)> = documents.iter().map(|d| (d.root.to_json(), d.syntax.as_ref().map(|s| s.at.line))).collect();
    assert_eq!(seen[0], (json!({"a": 1}), None));
    assert!(seen.contains(&(json!({"d": 4}), None)), "{seen:?}");
    assert_eq!(seen.iter().filter_map(|(_, line)| *line).collect::<Vec<_>>(), [3, 5, 9]);
}

#[test]
fn what_aliases_expand_to_is_bounded() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", [format!("*a{}", level - 1).as_str(); 10].join(", ")));
    }
    let mut merges = format!("a: &a {{{}}}\nb:\n", (0..1000).map(|key| format!("k{key}: 1")).collect::<Vec<_>>().join(", "));
    merges.push_str(&"- <<: *a\n".repeat(1000));
    let mut chain = "a0: &a0 [x]\n".to_owned();
    for level in 1..100 {
        chain.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    let wide = format!("kind: Plan\na: [{}]\n", "1,".repeat(600_000));
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    for (name, text) in [("bomb", bomb), ("merges", merges), ("chain", chain), ("wide", wide), ("deep", deep)] {
        let started = std::time::Instant::now();
        let document = one(&text);
        assert!(document.is_cut, "{name}");
        assert!(!document.problems.is_empty(), "{name}");
        assert!(document.root.size < 1000, "{name}");
        assert!(started.elapsed().as_secs() < 10, "{name}");
    }
}

/// Each was given to kubectl 1.36 too, which takes the first ones and refuses the others.
#[test]
fn what_kubectl_refuses_is_a_fault() {
    // Some of them are no YAML 1.2 either.
    let faults = |text: &str| {
        let document = one(text);
        problems(&document).iter().filter(|problem| problem.contains("kubectl")).count() + usize::from(document.syntax.is_some())
    };
    for good in [
        "b: |\n  foo\n  \tbar\n  \t\n",
        "b: |2\n  \tfoo\n",
        "a:\n  b: x\n   \ty\n",
        "a: x\t\nb:\tz\t# why\n",
        "b: \"a\n\tb\n\t\n c\"\n",
        "b: \"a\\\\/b\"\n",
        "b: |\n  - a:\tb\n     -\tc\n",
        "{\"a\":\t\"b\\/c\",\n\t\"d\": \"\\ud83d\\ude00\"}\n",
    ] {
        assert_eq!(faults(good), 0, "{good:?}");
    }
    for bad in [
        "b: |\n  foo\n\t\n  bar\n",
        "b: |\n  \tfoo\n",
        "b: |\n  \t\n  foo\n",
        "b: >\n  foo\n \t\nc: d\n",
        "a:\n\t\n  b: x\n",
        "b: \"x\"\n\t# why\nc: d\n",
        "a:\n  b: x\n  \ty\n",
        "a:\n  b: x\n\t\n    y\n",
        "b:\n- \tx\n",
        "b: \"a\\/b\"\n",
        "b: \"\\ud83d\\ude00\"\n",
    ] {
        assert_eq!(faults(bad), 1, "{bad:?}");
    }
    let document = one("a: 1\nb: \"x\n  y\\/z\"\nc: |\n  \td\n");
    let at: Vec<_> = document.problems.iter().map(|problem| (problem.at.line, problem.at.column)).collect();
    assert_eq!(at, [(3, 4), (5, 3)]);
}

#[test]
fn lines_are_counted_as_the_parser_counts_them() {
    let text = "# a\r#\r\na: 1 # b\rb: 2\n---\n#\r#\nc: [\n";
    assert_eq!(lines(text).collect::<Vec<_>>(), ["# a", "#", "a: 1 # b", "b: 2", "---", "#", "#", "c: ["]);
    let documents = parse(text);
    assert_eq!(documents[0].root.to_json(), json!({"a": 1, "b": 2}));
    assert_eq!(documents[0].root.locate(&FieldPath::parse("b")).line, 4);
    assert_eq!(documents[1].root.locate(&FieldPath::parse("c")).line, 8);
    assert_eq!(documents[1].syntax.as_ref().map(|fault| (8..=9).contains(&fault.at.line)), Some(true), "{:?}", documents[1].syntax);
}

/// What kubectl makes of each is in tests/files.py.
#[test]
fn documents_are_parted_as_kubectl_parts_them() {
    let roots = |text: &str| {
        let documents = parse(text);
        let told = |document: &Document| match &document.syntax {
            Some(problem) => Value::from(format!("{}: {}", problem.at.line, problem.message)),
            None => document.root.to_json(),
        };
        documents.iter().map(told).filter(|told| !told.is_null()).collect::<Vec<_>>()
    };
    let (a, b) = (json!({"a": 1}), json!({"b": 2}));
    for good in [
        "a: 1\n---\nb: 2\n",
        "---\n---\na: 1\n--- # comment\nb: 2\n---\n",
        "a: 1\n---\n\u{feff}b: 2\n",
        "a: 1\r\n---\r\nb: 2\r\n",
        "a: 1\n...\n---\nb: 2\n...\n# end\n",
        "---\t\na: 1\n---\u{a0}\nb: 2",
    ] {
        assert_eq!(roots(good), [a.clone(), b.clone()], "{good:?}");
    }
    for (text, expected) in [
        ("--- {a: 1}\n", vec![json!("1: kubectl allows only a comment after `---`; begin the document on the next line")]),
        ("a: 1\n---b\n", vec![a.clone(), json!("2: kubectl allows only a comment after `---`; begin the document on the next line")]),
        ("%YAML 1.1\n---\na: 1\n", vec![json!("1: kubectl refuses directives; remove this line"), a.clone()]),
        ("# c\n%TAG ! tag:x,2000:\n---\na: 1\n", vec![json!("2: kubectl refuses directives; remove this line"), a.clone()]),
        (
            "a: 1\n...\nb: 2\n",
            vec![a.clone(), json!("3: kubectl does not read this document: it ignores everything after `...`. Put a line `---` before it")],
        ),
        (
            "a: 1\r---\rb: 2\r",
            vec![a.clone(), json!("3: kubectl does not read this document: it ignores everything after `...`. Put a line `---` before it")],
        ),
        ("a: 1\n---\n...\n", vec![a.clone(), json!("3: kubectl refuses `...` without a document before it; remove this line")]),
    ] {
        assert_eq!(roots(text), expected, "{text:?}");
    }
    let text = "a: [\n---\nb: 2\n---\n@\n---\na: 1\n";
    let documents = parse(text);
    let faults: Vec<_> = documents.iter().map(|document| document.syntax.as_ref().map(|problem| problem.at.line)).collect();
    assert_eq!((documents.len(), faults[1], faults[3]), (4, None, None), "{faults:?}");
    assert_eq!((documents[1].root.to_json(), documents[3].root.to_json()), (b, a));
}

#[test]
fn line_separators_of_unicode_are_judged_as_kubectl_judges_them() {
    for good in
        ["t: \"a\u{2028}b\"\n", "t: 'a\u{2029}b'\n", "t: [\"\u{2028}\"]\n", "t: \"a\\u2028 b\\u0085\"\n", "{\"t\": \"a\u{2028} b\"}"]
    {
        assert_eq!(problems(&one(good)), Vec::<String>::new(), "{good:?}");
    }
    for (bad, place) in [
        ("t: a\u{2028}b\n", "1:5"),
        ("x: 1\nt: \"a\u{85}b\"\n", "2:6"),
        ("t: \"a\u{2028} b\"\n", "1:6"),
        ("t: \"a\u{2029}\n  b\"\n", "1:6"),
        ("t: |\n  a\u{2028}b\n", "2:4"),
        ("t: x # c\u{2028}  u: d\n", "1:9"),
        ("\"t\u{2028}u\": x\n", "1:3"),
    ] {
        let found = problems(&one(bad));
        assert!(found.len() == 1 && found[0].starts_with(place) && found[0].contains("line break"), "{bad:?}: {found:?}");
    }
}
