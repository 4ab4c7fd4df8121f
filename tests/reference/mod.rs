//! The reference pages, `docs/api/*.md`: generated from the types, committed, and never stale.

mod cli;
mod metrics;
mod providers;
mod replies;
mod shown;

use std::{fmt::Write as _, fs, path::Path};

use mailfleet::resources::{ConditionType, Reason, crd, pattern};
use schemars::{JsonSchema, schema_for};
use serde_json::Value;

/// A kind, the document that shows it best, and the page that explains it.
const PAGES: &[(&str, &str, &str, &str)] = &[
    ("SendingServer", "examples/relays.yaml", "relay-b", "servers.md"),
    ("Plan", "examples/tenancy.yaml", "pro", "plans.md"),
    ("Campaign", "examples/relays.yaml", "spring", "campaigns.md"),
];

/// Reasons that begin a group of the table in `condition.rs`, and the kinds that the group is about.
const GROUPS: &[(Reason, &[&str])] = &[
    (Reason::Active, &["SendingServer"]),
    (Reason::InvalidSpec, &["SendingServer", "Plan", "Campaign"]),
    (Reason::SecretNotFound, &["SendingServer", "Campaign"]),
    (Reason::ConfigMapNotFound, &["Campaign"]),
    (Reason::NotAllowedByPlan, &["SendingServer"]),
    (Reason::ServersActive, &["Plan"]),
    (Reason::PlanNotFound, &["Campaign"]),
    (Reason::Read, &["Campaign"]),
];

/// Reasons that a kind shares with the group of another.
const SHARED: &[(Reason, &str)] = &[
    (Reason::NotProbedYet, "Campaign"),
    (Reason::NoServers, "Campaign"),
    (Reason::BounceRateTooHigh, "SendingServer"),
    (Reason::ComplaintRateTooHigh, "SendingServer"),
];

fn is_about(reason: Reason, kind: &str) -> bool {
    let group = GROUPS.iter().rev().find(|(first, _)| *first <= reason);
    group.is_some_and(|(_, kinds)| kinds.contains(&kind)) || SHARED.contains(&(reason, kind))
}

/// The values of an enum, with the doc comment of each.
fn words<T: JsonSchema>() -> Vec<(String, String)> {
    let schema = schema_for!(T).to_value();
    let text = |choice: &Value, key: &str| choice[key].as_str().unwrap_or_default().to_owned();
    schema["oneOf"].as_array().expect("choices").iter().map(|choice| (text(choice, "const"), text(choice, "description"))).collect()
}

/// What a reason means, and what to do.
fn meaning_and_deed(about: &str) -> (&str, &str) {
    about.rsplit_once(". ").unwrap_or_else(|| panic!("this does not say what to do: {about}"))
}

/// The text of a condition begins with the kinds that it is about.
fn condition_of<'a>(about: &'a str, kind: &str) -> Option<&'a str> {
    match about.split_once(": ") {
        Some((kinds, text)) if kinds.starts_with("A ") => {
            let word = if kind == "SendingServer" { "server" } else { "campaign" };
            (kind != "Plan" && kinds.contains(word)).then_some(text)
        }
        Some(("Files", text)) => Some(text),
        _ => Some(about),
    }
}

fn number(value: &Value) -> String {
    let text = value.to_string();
    let text = text.strip_suffix(".0").unwrap_or(&text);
    let groups: Vec<&str> = text.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).expect("digits")).collect();
    if text.bytes().all(|byte| byte.is_ascii_digit()) { groups.join(",") } else { text.to_owned() }
}

/// What is before the first of these marks; all of it where there is none.
fn before_any<'a>(text: &'a str, marks: &[&str]) -> &'a str {
    let first = marks.iter().filter_map(|mark| text.find(mark)).min();
    &text[..first.unwrap_or(text.len())]
}

/// The noun for what a text must be: `name` for "is not a name: …".
fn noun(pattern: &str) -> String {
    let meaning = pattern::meaning(pattern).unwrap_or_else(|| panic!("{pattern} has no meaning"));
    let meaning = meaning.strip_prefix("is not a").map(|rest| rest.strip_prefix('n').unwrap_or(rest).trim_start());
    meaning.map_or_else(|| "text".to_owned(), |rest| before_any(rest, &[": ", "; ", ", "]).to_owned())
}

fn type_of(schema: &Value) -> String {
    match schema["type"].as_str() {
        Some("string") => match (&schema["enum"], schema["pattern"].as_str()) {
            (Value::Array(words), _) => {
                words.iter().map(|word| format!("`{}`", word.as_str().unwrap_or_default())).collect::<Vec<_>>().join(", ")
            }
            (_, Some(pattern)) => noun(pattern),
            _ => "text".to_owned(),
        },
        Some("integer") => "whole number".to_owned(),
        Some("number") => "number".to_owned(),
        Some("boolean") => "`true`, `false`".to_owned(),
        Some("array") => format!(
            "list of {}",
            if schema["items"]["type"] == "object" { "mappings".to_owned() } else { plural(&type_of(&schema["items"])) }
        ),
        _ if schema["x-kubernetes-int-or-string"] == true && schema["pattern"] == pattern::PERCENT => {
            "whole number, or percentage such as `\"0.1\"`".to_owned()
        }
        _ if schema["x-kubernetes-int-or-string"] == true => "whole number, or percentage such as `5%`".to_owned(),
        _ if schema["additionalProperties"]["type"] == "object" => "mapping to mappings".to_owned(),
        _ if schema["additionalProperties"].is_object() => format!("mapping to {}", type_of(&schema["additionalProperties"])),
        _ => "mapping".to_owned(),
    }
}

fn plural(noun: &str) -> String {
    // Values of an enum are none of many.
    if noun.starts_with('`') {
        return noun.to_owned();
    }
    // Only the head takes the plural: names at a vendor, URLs that can be fetched.
    let head = before_any(noun, &[" at ", " as ", " inside ", " like ", " of ", " that "]);
    format!("{head}{}{}", if head.ends_with('s') { "es" } else { "s" }, &noun[head.len()..])
}

fn bounds_of(schema: &Value) -> String {
    let between = |low: &str, high: &str, unit: &str| match (&schema[low], &schema[high]) {
        (Value::Null, Value::Null) => None,
        (Value::Null, high) => Some(format!("at most {}{unit}", number(high))),
        (low, Value::Null) => Some(format!("at least {}{unit}", number(low))),
        (low, high) if low == high && low == 1 => Some(format!("1{}", unit.trim_end_matches('s'))),
        (low, high) => Some(format!("{} to {}{unit}", number(low), number(high))),
    };
    let keys = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let keys: Vec<String> = keys.map(|key| format!("`{key}`")).collect();
    let once = match (schema["x-kubernetes-list-type"].as_str(), &keys[..]) {
        (Some("set"), _) => Some("each once".to_owned()),
        (Some("map"), [_, ..]) => Some(format!("each {} once", keys.join(" with "))),
        _ => None,
    };
    // The pattern of these bounds their length.
    let is_formed = [pattern::DURATION, pattern::DATE, pattern::TIME_OR_LOCAL].iter().any(|form| schema["pattern"] == *form);
    let length =
        if is_formed || schema["x-kubernetes-int-or-string"] == true { None } else { between("minLength", "maxLength", " characters") };
    let bounds = [
        between("minimum", "maximum", ""),
        length,
        between("minItems", "maxItems", " entries"),
        between("minProperties", "maxProperties", " keys"),
        once,
    ];
    bounds.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// The default in a description: `5m` of "…; 5m when absent."
fn default_of(about: &str) -> &str {
    let Some((before, _)) = about.split_once(" when absent") else { return "" };
    let start = [". ", "; ", ", ", ": "].iter().filter_map(|mark| before.rfind(mark).map(|at| at + mark.len())).max().unwrap_or(0);
    let default = &before[start..];
    // "…; when absent it follows the encryption" tells what follows, and not a value.
    let is_sentence = default.ends_with(" when absent") || default.ends_with(';') || default.starts_with("The ");
    if is_sentence { "" } else { default }
}

fn cell(text: &str) -> String {
    let mut paragraphs = text.split("\n\n");
    let first = paragraphs.next().unwrap_or_default().replace('\n', " ");
    let words: Vec<&str> =
        paragraphs.flat_map(str::lines).filter_map(|line| line.strip_prefix("- ")).map(|line| line.trim_end_matches('.')).collect();
    let words = if words.is_empty() { String::new() } else { format!(" {}.", words.join("; ")) };
    format!("{first}{words}").replace('|', "\\|")
}

/// A row for every field below a schema.
fn rows(schema: &Value, path: &str, has_bounds: bool, out: &mut String) {
    let required = |name: &str| schema["required"].as_array().is_some_and(|names| names.iter().any(|other| other == name));
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let about = below["description"].as_str().unwrap_or_default();
        let kind = type_of(below);
        if has_bounds {
            let default = if required(name) { "**required**" } else { default_of(about.split("\n\n").next().unwrap_or_default()) };
            writeln!(out, "| `{path}` | {kind} | {} | {default} | {} |", bounds_of(below), cell(about)).expect("a string");
        } else {
            writeln!(out, "| `{path}` | {kind} | {} |", cell(about)).expect("a string");
        }
        rows(below, &path, has_bounds, out);
        rows(&below["items"], &format!("{path}[]"), has_bounds, out);
        rows(&below["additionalProperties"], &format!("{path}.NAME"), has_bounds, out);
    }
}

/// Every rule below a schema, with the field that it is reported at.
fn rules(schema: &Value, path: &str, out: &mut String) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let (field, message) = (rule["fieldPath"].as_str().unwrap_or_default(), rule["message"].as_str().unwrap_or_default());
        writeln!(out, "- `{path}{field}`: {message}.").expect("a string");
    }
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        rules(below, &format!("{path}.{name}"), out);
    }
    for (keyword, mark) in [("items", "[]"), ("additionalProperties", ".NAME")] {
        if schema[keyword].is_object() {
            rules(&schema[keyword], &format!("{path}{mark}"), out);
        }
    }
}

fn example(file: &str, kind: &str, name: &str) -> String {
    let text = fs::read_to_string(file).expect(file);
    let is_it = |document: &&str| document.contains(&format!("kind: {kind}\n")) && document.contains(&format!("name: {name},"));
    let document = text.split("---\n").find(is_it).unwrap_or_else(|| panic!("{file} has no {kind} {name}"));
    let lines = document.lines().skip_while(|line| line.starts_with('#'));
    lines.map(|line| format!("{line}\n")).collect()
}

fn page(kind: &str, file: &str, name: &str, explained: &str) -> String {
    let schema = crd::structural(kind).expect(kind);
    let (spec, status) = (&schema["properties"]["spec"], &schema["properties"]["status"]);
    let mut out = format!("# {kind}: reference\n\n{}\n", crd::about(kind).expect(kind));
    let mut add = |text: &str| out.push_str(text);
    add(&format!("[{explained}](../{explained}) explains it; this page is generated from the source and has every field.\n\n"));
    add(&format!("```yaml\n{}```\n\n", example(file, kind, name)));
    add("## spec\n\n| field | type | bounds | default | meaning |\n|---|---|---|---|---|\n");
    let mut part = String::new();
    rows(spec, "", true, &mut part);
    add(&part);
    part.clear();
    rules(spec, "spec", &mut part);
    add("\nRules beyond types and bounds, with the message at the field that breaks one:\n\n");
    add(&part);
    add("\n## status\n\nWritten by Mailfleet; a status in a file is ignored.\n\n| field | type | meaning |\n|---|---|---|\n");
    part.clear();
    rows(status, "", false, &mut part);
    add(&part);
    add("\n### Conditions\n\n| condition | meaning |\n|---|---|\n");
    for (word, about) in words::<ConditionType>() {
        if let Some(about) = condition_of(&about, kind) {
            let (first, rest) = about.split_at(1);
            add(&format!("| `{word}` | {}{rest} |\n", first.to_uppercase()));
        }
    }
    add("\n### Reasons\n\nThe message of a condition has the details.\n\n| reason | meaning | what to do |\n|---|---|---|\n");
    let all = words::<Reason>();
    for reason in Reason::ALL.iter().filter(|reason| is_about(**reason, kind)) {
        let about = &all.iter().find(|(word, _)| word == reason.as_str()).expect("its words").1;
        let (meaning, deed) = meaning_and_deed(about);
        add(&format!("| `{reason}` | {meaning}. | {deed} |\n"));
    }
    out
}

#[test]
fn the_committed_pages_are_those_of_the_types() {
    let mut stale = Vec::new();
    for (kind, file, name, explained) in PAGES {
        let path = format!("docs/api/{}.md", kind.to_lowercase());
        let now = page(kind, file, name, explained);
        if fs::read_to_string(&path).unwrap_or_default() != now {
            fs::create_dir_all("docs/api").expect("the folder");
            fs::write(&path, now).expect("the file");
            stale.push(path);
        }
    }
    assert_eq!(fs::read_dir(Path::new("docs/api")).expect("the folder").count(), PAGES.len());
    assert!(stale.is_empty(), "{stale:?} were stale and are rewritten; commit them");
}

#[test]
fn every_reason_stands_on_a_page_and_says_what_to_do() {
    let all = words::<Reason>();
    assert_eq!(all.len(), Reason::ALL.len());
    for reason in Reason::ALL {
        assert!(PAGES.iter().any(|(kind, ..)| is_about(*reason, kind)), "{reason} is on no page");
    }
    for (word, about) in &all {
        let (meaning, deed) = meaning_and_deed(about);
        assert!(!meaning.is_empty() && deed.ends_with('.'), "{word}: {about}");
    }
    assert!(std::panic::catch_unwind(|| meaning_and_deed("Only what it is.").0.to_owned()).is_err());
}

#[test]
fn defaults_are_found_in_descriptions() {
    for (about, default) in [
        ("Connections at a time; 10 when absent.", "10"),
        ("`StartTls` when absent. There is no other.", "`StartTls`"),
        ("A person's switch, true when absent. False means Inactive.", "true"),
        ("The port; when absent it follows the encryption.", ""),
        ("How the next page is found; when absent, there is one.", ""),
        ("Just a field.", ""),
    ] {
        assert_eq!(default_of(about), default, "{about}");
    }
}

#[test]
fn the_type_of_a_text_is_the_noun_of_what_it_must_be() {
    for (pattern, wanted, many) in [
        (pattern::NAME, "name", "names"),
        (pattern::UNSUBSCRIBE_URL, "URL of one line", "URLs of one line"),
        (pattern::URL, "URL that can be fetched", "URLs that can be fetched"),
        (pattern::INNER_PATH, "folder inside the state folder", "folders inside the state folder"),
        (pattern::IP, "IP address", "IP addresses"),
        (pattern::TIME_OF_DAY, "time of day", "times of day"),
        (pattern::LABEL, "name at a vendor", "names at a vendor"),
        (pattern::FOLDER_NAME, "folder as an IMAP server lists it", "folders as an IMAP server lists it"),
        // "has several lines; …" has no noun.
        (pattern::ONE_LINE, "text", "texts"),
    ] {
        assert_eq!(noun(pattern), wanted);
        assert_eq!(plural(wanted), many);
    }
    assert_eq!(plural("`Mon`, `Tue`"), "`Mon`, `Tue`");
}

#[test]
fn an_address_within_a_noun_does_not_end_it() {
    assert_eq!(before_any("URL like https://example.com, or a path", &[": ", "; ", ", "]), "URL like https://example.com");
    assert_eq!(before_any("name: letters, digits", &[": ", "; ", ", "]), "name");
    assert_eq!(before_any("run", &[": "]), "run");
}
