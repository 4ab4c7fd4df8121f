//! docs/providers.md, made from the types, their examples and the tables of answers; and that all of these agree.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path};

use mailfleet::{
    providers::{Provider as _, ProviderSpec},
    resources::{Reason, crd},
    source::{Files, Options},
};
use serde_json::Value;

use super::{meaning_and_deed, rows, rules, words};
use crate::answers::{self, Row, Table};

const PAGE: &str = "docs/providers.md";

/// The schema of a type.
fn schema_of(name: &str) -> Value {
    let schema = crd::structural("SendingServer").expect("the kind");
    schema["properties"]["spec"]["properties"]["provider"]["properties"][name].clone()
}

/// Whether a type is an HTTP service, so that what it answers has a table.
fn has_answers(schema: &Value) -> bool {
    let properties = &schema["properties"];
    properties["endpoint"].is_object() || properties["url"].is_object()
}

fn status(row: &Row) -> String {
    row.status.map_or_else(|| "none".to_owned(), |status| status.to_string())
}

fn answer_rows(title: &str, rows: &[Row], out: &mut String) {
    writeln!(out, "\n| {title} | status | outcome | reason |\n|---|---|---|---|").expect("a string");
    for row in rows {
        let reason = row.reason.as_ref().map(|reason| format!("`{reason}`")).unwrap_or_default();
        let waits = row.after.map(|after| format!(", pauses {after} s as asked")).unwrap_or_default();
        let person = if row.person { ", Stalled" } else { "" };
        writeln!(out, "| {} | {} | {}{waits}{person} | {reason} |", row.when, status(row), row.outcome).expect("a string");
    }
}

fn section(name: &str, table: Option<&Table>) -> String {
    let (_, about, info) = ProviderSpec::TYPES.iter().find(|(key, ..)| *key == name).expect("a type");
    let schema = schema_of(name);
    let example = fs::read_to_string(format!("examples/providers/{name}.yaml"))
        .unwrap_or_else(|error| panic!("examples/providers/{name}.yaml: {error}"));
    let example: String = example.lines().skip_while(|line| line.starts_with('#')).map(|line| format!("{line}\n")).collect();
    let mut out = format!("\n## {name}\n\n**{}.** {about}\n\n```yaml\n{example}```\n\n", info.title);
    if info.secret_keys.is_empty() {
        out.push_str("It needs no Secret.\n");
    } else {
        let keys: Vec<String> = info.secret_keys.iter().map(|(key, what)| format!("`{key}`, {what}")).collect();
        writeln!(out, "Its Secret holds {}.", keys.join("; ")).expect("a string");
    }
    writeln!(out, "A probe: {}.\nMessages: {}.\nWho [signs](dkim.md) them: {}.\n", info.probe, info.carries, info.signs).expect("a string");
    out.push_str("| field | type | bounds | default | meaning |\n|---|---|---|---|---|\n");
    rows(&schema, "", true, &mut out);
    let mut breaches = String::new();
    rules(&schema, name, &mut breaches);
    if !breaches.is_empty() {
        write!(out, "\nRules beyond types and bounds:\n\n{breaches}").expect("a string");
    }
    if let Some(table) = table {
        answer_rows("response to a message", &table.deliver, &mut out);
        answer_rows("response to a probe", &table.probe, &mut out);
        let sources: Vec<&str> = table.sources.iter().map(String::as_str).collect();
        writeln!(out, "\nSources: {}.", sources.join("; ")).expect("a string");
    }
    out
}

fn page() -> String {
    let tables = answers::tables();
    let mut out = String::from(
        "# Types of sending servers\n\n\
         A SendingServer has exactly one key under `spec.provider`, which is its type.\n\
         `mailfleet get types` prints this list, `mailfleet test FILE` tests a server, and `--send-to ADDRESS` sends one real message.\n\
         This page is generated from the source, the examples, and the tables of vendors' responses that the tests use.\n\n\
         | type | what | keys of the Secret |\n|---|---|---|\n",
    );
    for (name, _, info) in ProviderSpec::TYPES {
        writeln!(out, "| [`{name}`](#{}) | {} | {} |", name.to_lowercase(), info.title, info.secret_keys_in_words("`")).expect("a string");
    }
    out.push_str(
        "\n## How responses are handled\n\n\
         Every type maps its vendor's response to one outcome; nothing else of the response is used.\n\n\
         | outcome | what happens next |\n|---|---|\n\
         | Accepted | The vendor has the message. The ledger has the vendor's ID of it. |\n\
         | RecipientRejected | The recipient is permanently refused; it is counted, and the campaign continues. |\n\
         | RecipientDeferred | It is retried later, and counts as an attempt. |\n\
         | MessageRejected | The vendor cannot accept this message (its size or form): it goes to a server that can. |\n\
         | ContentRejected, SenderRejected | The vendor refuses the campaign's content or From address: the campaign continues through its other servers, and a condition says why. |\n\
         | UnclearRejected | A refusal that is in no table: it counts against the server for this campaign; by itself it rejects no recipient. |\n\
         | ServerFailed | The message was certainly not accepted: it goes to another server at once, and this one is probed. When the vendor asks for a pause (Retry-After), and for `Throttled` and `QuotaExceeded`, the server is paused and stays Active. |\n\
         | Unknown | The request may have arrived, and there was no definite response: `whenOutcomeIsUnknown` decides, and it is counted. |\n\n\
         A refusal that is in no table counts as the server's fault, not the recipient's: a configuration mistake must not reject every recipient of a campaign.\n\
         A response of 500 in the vendor's own form is a refusal; 502, 504 and the web page of a gateway in between leave the outcome unknown.\n\
         Redirects are not followed, responses are read up to 1 MiB, and every call has a timeout.\n\n\
         Reasons of these responses:\n\n| reason | meaning | what to do |\n|---|---|---|\n",
    );
    let used: BTreeSet<String> =
        tables.values().flat_map(|table| table.deliver.iter().chain(&table.probe)).filter_map(|row| row.reason.clone()).collect();
    let all = words::<Reason>();
    for reason in Reason::ALL.iter().filter(|reason| used.contains(reason.as_str())) {
        let about = &all.iter().find(|(word, _)| word == reason.as_str()).expect("its words").1;
        let (meaning, deed) = meaning_and_deed(about);
        writeln!(out, "| `{reason}` | {meaning}. | {deed} |").expect("a string");
    }
    for (name, ..) in ProviderSpec::TYPES {
        out.push_str(&section(name, tables.get(*name)));
    }
    out
}

#[test]
fn the_committed_page_of_types_is_theirs() {
    let now = page();
    if fs::read_to_string(PAGE).unwrap_or_default() != now {
        fs::write(PAGE, now).expect("the file");
        panic!("{PAGE} was stale and is rewritten; commit it");
    }
}

#[test]
fn table_schema_examples_answers_and_document_agree() {
    let types: BTreeSet<String> = ProviderSpec::TYPES.iter().map(|(key, ..)| (*key).to_owned()).collect();
    let stems = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).expect("the folder");
        let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
        names.filter_map(|name| name.strip_suffix(".yaml").map(str::to_owned)).collect()
    };
    assert_eq!(stems("examples/providers"), types, "examples/providers has one file for each type");
    let schema = crd::structural("SendingServer").expect("the kind");
    let in_schema =
        schema["properties"]["spec"]["properties"]["provider"]["properties"].as_object().expect("types").keys().cloned().collect();
    assert_eq!(types, in_schema);
    let with_answers: BTreeSet<String> = types.iter().filter(|name| has_answers(&schema_of(name))).cloned().collect();
    assert!(with_answers.len() >= 6);
    assert_eq!(stems("tests/answers"), with_answers, "tests/answers has a table for each HTTP service");
    let document = fs::read_to_string(PAGE).expect(PAGE);
    let headings: BTreeSet<String> = document.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_owned).collect();
    assert!(types.is_subset(&headings), "{headings:?}");
    // The live judges name the types that they judge.
    let judges = ["tests/providers.py", "tests/parts/vendors.py", "tests/ses.py", "tests/plugin.py", "tests/gmail.py"];
    let judged: String = judges.iter().filter_map(|path| fs::read_to_string(path).ok()).collect();
    for name in &with_answers {
        assert!(judged.contains(&format!("\"{name}\"")), "none of {judges:?} judges {name}");
    }
}

#[test]
fn examples_of_types_are_good_and_of_their_type() {
    for (name, ..) in ProviderSpec::TYPES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/providers/{name}.yaml"));
        let snapshot = Files::load_once(std::slice::from_ref(&path), &Options::default());
        let server = snapshot.servers.values().next().unwrap_or_else(|| panic!("{} has no server", path.display()));
        assert_eq!(server.object.spec.provider.type_name(), *name);
        assert!(!server.object.spec.provider.address().is_empty());
        let faults: Vec<String> = snapshot.faults().map(ToString::to_string).collect();
        assert!(faults.is_empty(), "{faults:?}");
    }
}
