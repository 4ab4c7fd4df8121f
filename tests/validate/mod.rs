//! `mailfleet validate` on bad input: each file's whole output is kept beside it.
//!
//! `UPDATE_GOLDEN=1 cargo test` rewrites the outputs; read them as a user would before committing.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::kept::check_golden;
use mailfleet::{
    cli::{
        crds::crd_text,
        schema::schema_text,
        validate::{load, print_json, print_text},
    },
    resources::crd::CUSTOM_KINDS,
    source::{Files, Options, Severity},
};

fn output_of(path: &Path) -> String {
    let snapshot = load(&[path.to_owned()], &Options::default());
    let mut out = Vec::new();
    print_text(&mut out, &snapshot).expect("a vector takes all");
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn every_bad_input_has_its_message() {
    let folder = Path::new("tests/validate/bad");
    let mut inputs: Vec<PathBuf> = fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path()).collect();
    inputs.retain(|path| path.extension().is_none_or(|extension| extension != "txt"));
    inputs.sort();
    assert!(inputs.len() >= 25, "only {} inputs", inputs.len());
    let mut failures = Vec::new();
    for input in inputs {
        let output = output_of(&input);
        assert!(output.contains(": fault: ") || output.contains(": warning: "), "{} is good:\n{output}", input.display());
        failures.extend(check_golden(&input.with_extension("txt"), &output).err());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn the_good_folder_has_no_fault_and_no_warning() {
    let snapshot = load(&["tests/validate/good".into()], &Options::default());
    let findings: Vec<String> =
        snapshot.findings.iter().filter(|finding| finding.severity != Severity::Note).map(ToString::to_string).collect();
    assert_eq!(findings, Vec::<String>::new());
    assert_eq!((snapshot.servers.len(), snapshot.plans.len(), snapshot.campaigns.len()), (3, 2, 4));
}

#[test]
fn the_committed_schema_is_the_one_of_the_types() {
    let path = Path::new("schemas/mailfleet.schema.json");
    let now = schema_text(None).expect("every kind");
    let kept = fs::read_to_string(path).unwrap_or_default();
    if kept != now {
        fs::create_dir_all("schemas").expect("the folder");
        fs::write(path, now).expect("the file");
        panic!("{} was stale and is rewritten; commit it", path.display());
    }
}

#[test]
fn the_committed_definitions_are_those_of_the_types() {
    let mut stale = Vec::new();
    for kind in CUSTOM_KINDS {
        let path = format!("crds/{}s.yaml", kind.to_lowercase());
        let now = crd_text(kind).expect(kind);
        if fs::read_to_string(&path).unwrap_or_default() != now {
            fs::create_dir_all("crds").expect("the folder");
            fs::write(&path, now).expect("the file");
            stale.push(path);
        }
    }
    assert_eq!(fs::read_dir("crds").expect("the folder").count(), CUSTOM_KINDS.len());
    assert!(stale.is_empty(), "{stale:?} were stale and are rewritten; commit them");
}

#[test]
fn editors_get_the_same_verdict_on_the_good_folder() {
    let schema: serde_json::Value = serde_json::from_str(&schema_text(None).expect("every kind")).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    for entry in fs::read_dir("tests/validate/good").expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("the file");
        for document in serde_saphyr::from_multiple::<serde_json::Value>(&text).expect("YAML") {
            if document["kind"] == "Deployment" {
                continue;
            }
            let errors: Vec<String> = validator.iter_errors(&document).map(|error| format!("{}: {error}", error.instance_path())).collect();
            assert!(errors.is_empty(), "{}: {errors:?}", path.display());
        }
    }
}

#[test]
fn scripts_get_the_same_as_json() {
    let snapshot = Files::load_once(&["tests/validate/bad/42-references.yaml".into()], &Options::default());
    let mut out = Vec::new();
    print_json(&mut out, &snapshot).expect("a vector takes all");
    let report: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
    assert_eq!((&report["documents"], &report["faults"]), (&3.into(), &0.into()));
    let finding =
        report["findings"].as_array().expect("a list").iter().find(|finding| finding["field"] == "spec.planRef.name").expect("it is told");
    assert_eq!((&finding["line"], &finding["column"], &finding["severity"]), (&17.into(), &19.into(), &"warning".into()));
    assert_eq!(finding["resource"], "Campaign acme/hello");
}

#[test]
fn content_that_cannot_be_sent_is_a_fault() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("unsendable-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("latin1.html"), b"<p>Gr\xfc\xdfe</p>").expect("a file");
    std::fs::write(folder.join("marked.html"), "\u{feff}<p>Hi</p>").expect("a file");
    std::fs::write(folder.join("wrong.mjml"), "<mjml>\n<mj-body>\n<mj-nothing/></mj-body></mjml>").expect("a file");
    let faults = |from: &str, more: &str| {
        let spec = format!(
            "{{planRef: {{name: p}}, from: {from}, subject: Hi, audience: {{inline: [{{email: b@example.com, name: Bo, agent: Al}}]}}, {more}}}"
        );
        let text = format!("apiVersion: mailfleet.dev/v1alpha1\nkind: Campaign\nmetadata: {{name: spring}}\nspec: {spec}\n");
        std::fs::write(folder.join("campaign.yaml"), text).expect("a file");
        let snapshot = Files::load_once(std::slice::from_ref(&folder), &Options::default());
        assert_eq!(snapshot.faults().map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new(), "{from}, {more}");
        let found = mailfleet::cli::validate::campaign_findings(&snapshot);
        assert!(found.iter().all(|finding| finding.severity == Severity::Fault && finding.line > 0));
        found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let sender = "{name: News, address: a@example.com}";
    for good in ["content: {text: 'Hi {{ name }}'}", "content: {htmlFrom: {path: marked.html}}", "content: {htmlFrom: {path: absent.html}}"]
    {
        assert_eq!(faults(sender, good), "", "{good}");
    }
    assert_eq!(faults("{name: '{{ agent }} at Example', address: a@example.com}", "content: {text: Hi}"), "");
    let cases = [
        (
            sender,
            "content: {text: '{{ name | nofilter }}'}",
            "Campaign default/spring: spec.content.text: it cannot be sent: unknown filter",
        ),
        (
            sender,
            "content: {mjmlFrom: {path: wrong.mjml}}",
            "wrong.mjml:3:1: fault: Campaign default/spring: spec.content.mjmlFrom: it cannot be sent: MJML has no element `mj-nothing`",
        ),
        (sender, "content: {htmlFrom: {path: latin1.html}}", "spec.content.htmlFrom: it cannot be sent: the file is not UTF-8"),
        (
            sender,
            "content: {text: Hi}, headers: [{name: References, value: <ä@b>}]",
            "spec.headers[0].value: it cannot be sent: `References` cannot contain characters outside ASCII",
        ),
        ("{name: '{{ agent', address: a@example.com}", "content: {text: Hi}", "spec.from.name: it cannot be sent: syntax error"),
        (
            "{address: '{{x}}@example.com'}",
            "content: {text: Hi}",
            "spec.from.address: it cannot be sent: the address is the same for everybody",
        ),
    ];
    for (from, more, wanted) in cases {
        let found = faults(from, more);
        assert!(found.contains(wanted), "{more}: {found}");
    }
    std::fs::remove_dir_all(&folder).expect("removed");
}
