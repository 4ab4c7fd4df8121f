//! The documents against the program: what it can say and read is documented, and what is documented is there.

use std::{collections::BTreeSet, fs, path::Path};

use clap::CommandFactory as _;
use mailfleet::{
    cli::{Cli, schema::schema_text},
    resources::{ConditionType, Reason, campaign::CampaignState},
    source::{Files, Options, Severity},
};
use schemars::schema_for;
use serde_json::Value;

use super::{File, files};

/// The documents beside the source.
pub fn at_the_root() -> Vec<File> {
    ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| File::new(name, &read(name))).into()
}

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Everything that stands as code in a document: in backticks, or in a fence.
fn code_of(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
        } else if is_fenced {
            found.push(line.to_owned());
        } else {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

/// The reference of the three kinds.
fn reference() -> Vec<String> {
    let pages = ["servers", "plans", "campaigns", "api/sendingserver", "api/plan", "api/campaign"];
    pages.iter().flat_map(|name| code_of(&read(&format!("docs/{name}.md")))).collect()
}

fn words_of(code: &[String]) -> BTreeSet<&str> {
    code.iter().flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric())).filter(|word| !word.is_empty()).collect()
}

/// Those of `needed` that no document has.
fn missing<'a>(needed: impl IntoIterator<Item = &'a str>, has: impl Fn(&str) -> bool) -> Vec<&'a str> {
    needed.into_iter().filter(|word| !has(word)).collect()
}

fn constants(schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect(schema, &mut BTreeSet::new(), &mut found);
    found
}

/// The names of all fields, and the words that values may be.
fn collect(schema: &Value, fields: &mut BTreeSet<String>, constants: &mut Vec<String>) {
    match schema {
        Value::Object(object) => {
            for (key, value) in object {
                match (key.as_str(), value) {
                    ("properties", Value::Object(properties)) => fields.extend(properties.keys().cloned()),
                    ("const", Value::String(word)) => constants.push(word.clone()),
                    ("enum", Value::Array(words)) => constants.extend(words.iter().filter_map(Value::as_str).map(str::to_owned)),
                    _ => {}
                }
                collect(value, fields, constants);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, fields, constants)),
        _ => {}
    }
}

#[test]
fn every_reason_and_condition_is_documented() {
    let reference = reference();
    let has = |word: &str| reference.iter().any(|code| code == word);
    assert_eq!(missing(Reason::ALL.iter().map(|reason| reason.as_str()), has), Vec::<&str>::new(), "reasons");
    for (what, schema) in [("conditions", schema_for!(ConditionType)), ("states", schema_for!(CampaignState))] {
        let words = constants(&schema.to_value());
        assert!(words.len() > 4, "{what}: {words:?}");
        assert_eq!(missing(words.iter().map(String::as_str), has), Vec::<&str>::new(), "{what}");
    }
    assert_eq!(missing(["NoSuchReason"], has), ["NoSuchReason"]);
}

#[test]
fn every_field_and_value_is_documented() {
    let schema: Value = serde_json::from_str(&schema_text(None).expect("the schema")).expect("JSON");
    let (mut fields, mut values) = (BTreeSet::new(), Vec::new());
    collect(&schema, &mut fields, &mut values);
    assert!(fields.len() > 80 && values.len() > 20, "{} fields, {} values", fields.len(), values.len());
    let reference = reference();
    let documented = words_of(&reference);
    let has =
        |word: &str| word.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty()).all(|part| documented.contains(part));
    assert_eq!(missing(fields.iter().map(String::as_str), has), Vec::<&str>::new(), "fields");
    assert_eq!(missing(values.iter().map(String::as_str), has), Vec::<&str>::new(), "values");
    assert_eq!(missing(["noSuchField"], has), ["noSuchField"]);
}

#[test]
fn examples_are_good_and_name_the_schema() {
    let mut examples = files("examples", &["yaml"]);
    // Those are the tools' own objects; tests/gitops.py has them read by the tools.
    examples.retain(|file| !file.path.starts_with("examples/gitops/"));
    // The fleet that the quick starts of GitOps begin with is one, in two folders.
    let whole = ["examples", "examples/gitops/mail"].map(|folder| Path::new(env!("CARGO_MANIFEST_DIR")).join(folder));
    let paths = examples.iter().map(|file| Path::new(env!("CARGO_MANIFEST_DIR")).join(&file.path)).chain(whole);
    for path in paths {
        let snapshot = Files::load_once(std::slice::from_ref(&path), &Options::default());
        // Those of single server types are judged with them, in tests/reference/providers.rs.
        let is_whole = !path.to_string_lossy().contains("examples/providers/");
        assert!(!is_whole || !snapshot.campaigns.is_empty(), "{} has no campaign", path.display());
        for finding in snapshot.findings.iter().filter(|finding| finding.severity != Severity::Note) {
            // Passwords are not committed, and that is all that is missing.
            let is_secret = finding.severity == Severity::Warning && finding.message.contains("no Secret");
            // What Kustomize makes of files is not there before; its configuration, and that of CI and Compose, is no object.
            let is_kustomize = finding.to_string().contains("examples/gitops/")
                && ["no ConfigMap", "no apiVersion and kind"].iter().any(|words| finding.message.contains(words));
            assert!(is_secret || is_kustomize, "{finding}");
        }
    }
    for file in &examples {
        let named = file.text.lines().next().and_then(|line| line.strip_prefix("# yaml-language-server: $schema="));
        let named = named.unwrap_or_else(|| panic!("{} does not name the schema in its first line", file.path));
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let schema = read(&format!("{folder}/{named}"));
        assert!(Some(schema) == schema_text(None).ok(), "{}: {named} is not the schema", file.path);
    }
}

/// What is wrong with a command line of a document.
fn command_fault(line: &str) -> Option<String> {
    let line = line.trim().trim_start_matches("$ ");
    let rest = line.strip_prefix("mailfleet ")?;
    // What comes behind a pipe is another's.
    let rest = rest.split(" | ").next().unwrap_or(rest);
    let mut words = rest.split([' ', '|', '\n']).filter(|word| !word.is_empty()).take_while(|word| !word.starts_with('#') && *word != "&&");
    let name = words.next()?;
    let cli = Cli::command();
    if name.starts_with('-') {
        return None;
    }
    let Some(mut command) = cli.find_subcommand(name) else { return Some(format!("`{line}`: there is no command {name}")) };
    if command.has_subcommands() {
        // Named as a whole.
        let within = words.next()?;
        let Some(found) = command.find_subcommand(within) else { return Some(format!("`{line}`: {name} has no command {within}")) };
        command = found;
    }
    for word in words {
        let Some(flag) = word.strip_prefix("--").map(|flag| flag.split('=').next().unwrap_or(flag)) else { continue };
        let flag = flag.trim_end_matches([',', ']', '.', ')']);
        if !command.get_arguments().any(|argument| argument.get_long() == Some(flag)) && flag != "help" {
            return Some(format!("`{line}`: {name} has no --{flag}"));
        }
    }
    None
}

#[test]
fn documents_name_commands_that_exist() {
    let mut commands = 0;
    let mut faults = Vec::new();
    for document in at_the_root().into_iter().chain(files("docs", &["md"])) {
        for code in code_of(&document.text) {
            commands += usize::from(code.trim().trim_start_matches("$ ").starts_with("mailfleet "));
            faults.extend(command_fault(&code).map(|fault| format!("{}: {fault}", document.path)));
        }
    }
    assert!(commands > 20, "only {commands} commands");
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    assert!(command_fault("mailfleet sned x").is_some() && command_fault("$ mailfleet run x --onse").is_some());
    assert!(command_fault("mailfleet plugin fix x").is_some() && command_fault("mailfleet plugin check x --tokenfile y").is_some());
    assert_eq!(command_fault("$ mailfleet run x --once --state s  # --nothing"), None);
}

/// What `kubectl` would take for another operator's kind: our plurals, singulars and short names without the group.
fn short_kinds(line: &str) -> Vec<String> {
    let Some((_, command)) = line.split_once("kubectl ") else { return Vec::new() };
    // What stands behind a pipe, a code's end or a comment is no argument.
    let command = command.split(['|', '`', '#']).next().unwrap_or_default();
    // What stands behind `exec POD --` is another command's.
    let command = command.split(" -- ").next().unwrap_or_default();
    let is_ours =
        |word: &&str| ["campaign", "campaigns", "mfc", "sendingserver", "sendingservers", "mfs", "plan", "plans", "mfp"].contains(word);
    let mut found = Vec::new();
    for word in command.split(' ').filter(|word| !word.starts_with('-') && !word.contains('=')) {
        // `campaign/spring`, `campaigns,plans`, `campaigns`.
        let kinds = word.split('/').next().unwrap_or(word);
        found.extend(
            kinds
                .split(',')
                .filter(is_ours)
                .map(|kind| format!("`{line}`: {kind} may be another operator's; write {kind}.mailfleet.dev with the plural")),
        );
    }
    found
}

#[test]
fn every_suite_and_script_is_explained() {
    let text = read("CONTRIBUTING.md");
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| ")).collect();
    let suites =
        files("tests", &["py"]).into_iter().filter_map(|file| Some(file.path.strip_prefix("tests/")?.strip_suffix(".py")?.to_owned()));
    let suites: Vec<String> = suites.filter(|name| !name.contains('/')).map(|name| format!("`{name}`")).collect();
    let scripts = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts")).expect("scripts");
    let scripts = scripts.map(|entry| format!("scripts/{}", entry.expect("an entry").file_name().to_string_lossy()));
    let names: Vec<String> = suites.into_iter().chain(scripts).collect();
    assert!(names.len() > 30, "{names:?}");
    let names_it = |row: &&str, name: &str| row.split(['|', ',', ' ']).any(|word| word == name);
    let missing: Vec<&String> = names.iter().filter(|name| !rows.iter().any(|row| names_it(row, name))).collect();
    assert!(missing.is_empty(), "CONTRIBUTING.md has no row for {missing:?}");
}

#[test]
fn commands_of_kubectl_name_kinds_in_full() {
    let mut commands = 0;
    let mut faults = Vec::new();
    let texts = at_the_root().into_iter().chain(files("docs", &["md"])).chain(files("charts", &["md", "txt", "tpl", "yaml"]));
    for file in texts.chain(files("examples", &["md", "yaml"])).chain(files("src", &["rs", "tpl"])) {
        for line in file.text.lines().filter(|line| line.contains("kubectl ")) {
            commands += 1;
            faults.extend(short_kinds(line.trim()).into_iter().map(|fault| format!("{}: {fault}", file.path)));
        }
    }
    assert!(commands > 20, "only {commands} commands");
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    for bad in [
        "$ kubectl delete campaigns,plans --all",
        "kubectl -n a get mfs",
        "see `kubectl wait campaign/spring`",
        "kubectl describe plan pro",
    ] {
        assert!(!short_kinds(bad).is_empty(), "{bad}");
    }
    for good in
        ["kubectl get mailfleet", "kubectl delete plans.mailfleet.dev --all", "kubectl apply -f plans.yaml", "`kubectl get` shows plans"]
    {
        assert_eq!(short_kinds(good), Vec::<String>::new());
    }
}

/// The anchors that a document has, as forges and the book make them of its headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut is_fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
        }
        let Some((marks, title)) = line.split_once(' ').filter(|(marks, _)| !is_fenced && marks.bytes().all(|byte| byte == b'#')) else {
            continue;
        };
        if (1..=6).contains(&marks.len()) {
            // Of a link, its text.
            let title =
                title.replace('[', "").split("](").map(|part| part.split_once(')').map_or(part, |(_, rest)| rest)).collect::<String>();
            let title = if line.contains("](") { title } else { line.trim_start_matches('#').trim().to_owned() };
            let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            found.insert(kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect());
        }
    }
    found
}

/// The targets of links, without those in fences and backticks.
fn targets(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut is_fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
        }
        if !is_fenced {
            found.extend(line.split("](").skip(1).filter_map(|rest| rest.split(')').next()));
        }
    }
    found
}

/// What is wrong with the links of a document: to files, to headings, and in form.
fn link_faults(file: &File) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(&file.path);
    let folder = folder.parent().expect("a folder");
    let mut faults = Vec::new();
    for target in targets(&file.text) {
        if let Some(host) = target.split_once("://").map(|(_, rest)| rest) {
            let is_good =
                target.starts_with("http") && !host.starts_with(['/', '.']) && host.contains('.') && !target.contains([' ', '<', '>']);
            if !is_good {
                faults.push(format!("{}: {target} is no address", file.path));
            }
            continue;
        }
        let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
        let path = folder.join(path);
        if !target.starts_with('#') && !path.exists() {
            faults.push(format!("{}: the link to {target} leads nowhere", file.path));
        } else if !anchor.is_empty() {
            let text = if target.starts_with('#') { file.text.clone() } else { fs::read_to_string(&path).unwrap_or_default() };
            if !anchors(&text).contains(anchor) {
                faults.push(format!("{}: {target} names no heading", file.path));
            }
        }
    }
    faults
}

#[test]
fn links_lead_somewhere() {
    let documents = at_the_root().into_iter().chain(files("docs", &["md"])).chain(files("charts", &["md"]));
    let faults: Vec<String> = documents.flat_map(|file| link_faults(&file)).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    let of = |text: &str| link_faults(&File::new("docs/x.md", text));
    assert_eq!(of("[a](ledger.md) [b](nowhere.md)").len(), 1);
    assert_eq!(of("# A head, line\n[a](#a-head-line) [b](#other) [c](ledger.md#the-views) [d](ledger.md#nothing)").len(), 2);
    assert_eq!(of("[a](https://example.com/x) [b](https:///x)\n```\n[c](nowhere.md)\n```\n").len(), 1);
}

/// Each bound in the table of ARCHITECTURE.md is there, and so is the test that reaches it.
#[test]
fn bounds_of_the_table_are_reached_by_their_tests() {
    let sources = files("src", &["rs"]);
    let of_suites = files("tests", &["rs"]);
    let tests: String = sources.iter().chain(&of_suites).map(|file| file.text.as_str()).collect();
    let rows = read("ARCHITECTURE.md");
    let rows: Vec<Vec<String>> = rows
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains("_MAX`") || line.contains("`FUEL`"))
        .map(|line| line.split('`').skip(1).step_by(2).map(str::to_owned).collect())
        .collect();
    let mut problems = Vec::new();
    if rows.len() < 20 {
        problems.push(format!("only {} bounds are in the table", rows.len()));
    }
    for row in rows {
        let [place, constant, test] = &row[..] else {
            problems.push(format!("{row:?} is not a place, a constant and a test"));
            continue;
        };
        let is_there = sources.iter().any(|file| file.path.ends_with(place.as_str()) && file.text.contains(&format!("const {constant}: ")));
        if !is_there {
            problems.push(format!("{place} has no {constant}"));
        }
        if !tests.contains(&format!("fn {test}()")) {
            problems.push(format!("there is no test {test} for {constant}"));
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

/// What is wrong with the last column of the threat model's tables: each of its words names a test.
fn unshown(text: &str, is_test: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut faults = Vec::new();
    for row in text.lines().filter(|line| line.starts_with("| ") && !line.ends_with("| shown by |")) {
        let cell = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        let names: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        if names.is_empty() {
            faults.push(format!("no test is named: {row}"));
        }
        faults.extend(names.into_iter().filter(|name| !is_test(name)).map(|name| format!("there is no test {name}: {row}")));
    }
    faults
}

#[test]
fn each_line_of_the_threat_model_is_shown_by_a_test() {
    let rust: String = files("src", &["rs"]).into_iter().chain(files("tests", &["rs"])).map(|file| file.text).collect();
    let fuzzed: Vec<String> = files("fuzz/fuzz_targets", &["rs"]).into_iter().map(|file| file.path).collect();
    let suites = files("tests", &["py"]);
    let is_test = |name: &str| match name.split_once(": ") {
        // A suite may have its cases in a folder beside it, as kubernetes has in tests/kube.
        Some((suite, case)) => {
            let is_of = |path: &str| path == format!("tests/{suite}.py") || suite == "kubernetes" && path.starts_with("tests/kube/");
            let here: Vec<&File> = suites.iter().filter(|file| is_of(&file.path)).collect();
            here.into_iter().any(|file| file.text.contains(&format!("def {case}(")))
        }
        None => rust.contains(&format!("fn {name}()")) || fuzzed.contains(&format!("fuzz/fuzz_targets/{name}.rs")),
    };
    let text = read("docs/threat-model.md");
    assert!(text.lines().filter(|line| line.starts_with("| ")).count() > 50, "the tables are elsewhere");
    let faults = unshown(&text, &is_test);
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    for bad in
        ["| a | b |", "| a | `nothing` |", "| a | `tenants: nothing` |", "| a | `nothing: each_others_from` |", "| a | `yaml`, `nothing` |"]
    {
        assert_eq!(unshown(bad, &is_test).len(), 1, "{bad}");
    }
}
