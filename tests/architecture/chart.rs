//! The chart against the program: copies of the CRDs, versions, arguments, and a README that names every value.

use std::{fs, path::Path};

use clap::CommandFactory as _;
use mailfleet::cli::Cli;
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn updating() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some()
}

/// Writes `wanted` when texts are to be renewed, and compares it otherwise.
fn golden(name: &str, wanted: &str) {
    if updating() {
        fs::write(root().join(name), wanted).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    assert!(
        fs::read_to_string(root().join(name)).is_ok_and(|text| text == wanted),
        "{name} is stale: UPDATE_GOLDEN=1 cargo test --test main"
    );
}

fn names_in(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut names: Vec<String> = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn the_chart_has_the_crds() {
    let names = names_in("crds");
    assert_eq!(names.len(), 3, "{names:?}");
    for name in &names {
        let crd = read(&format!("crds/{name}"));
        // The template adds labels and an annotation there, by text: YAML that went through Helm loses its large integers.
        assert_eq!(crd.matches("\nmetadata:\n").count(), 1, "{name}");
        assert!(!crd.contains("\n  annotations:\n") && !crd.contains("\n  labels:\n"), "{name}: the template adds these");
        golden(&format!("charts/mailfleet/files/crds/{name}"), &crd);
    }
    assert_eq!(names_in("charts/mailfleet/files/crds"), names, "the chart has a CRD that is gone");
}

#[test]
fn the_chart_has_the_version_of_the_program() {
    let chart: Value = serde_saphyr::from_str(&read("charts/mailfleet/Chart.yaml")).expect("YAML");
    assert_eq!((&chart["version"], &chart["appVersion"]), (&env!("CARGO_PKG_VERSION").into(), &env!("CARGO_PKG_VERSION").into()));
}

/// The arguments that a template gives, without their values.
fn arguments(template: &str) -> Vec<String> {
    let lines = template.lines().filter_map(|line| line.trim().strip_prefix("- --"));
    lines.map(|argument| argument.split('=').next().unwrap_or(argument).to_owned()).collect()
}

#[test]
fn the_chart_gives_arguments_that_exist() {
    let arguments = arguments(&read("charts/mailfleet/templates/deployment.yaml"));
    assert!(arguments.len() > 8, "{arguments:?}");
    let cli = Cli::command();
    let run = cli.find_subcommand("run").expect("a command");
    for argument in arguments {
        assert!(run.get_arguments().any(|known| known.get_long() == Some(argument.as_str())), "run has no --{argument}");
    }
}

/// A value that the README describes: its path, default and meaning.
fn values(path: &str, default: &Value, schema: &Value, found: &mut Vec<(String, String, String)>) {
    let inner = schema.get("properties").and_then(Value::as_object);
    let Some(inner) = inner else {
        let meaning = schema["description"].as_str().unwrap_or_else(|| panic!("{path} has no description in values.schema.json"));
        found.push((path.to_owned(), default.to_string(), meaning.to_owned()));
        return;
    };
    let defaults = default.as_object().unwrap_or_else(|| panic!("{path} is no object in values.yaml"));
    for (name, default) in defaults {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let schema = inner.get(name).unwrap_or_else(|| panic!("{path} is not in values.schema.json"));
        values(&path, default, schema, found);
    }
    for name in inner.keys().filter(|name| !["global", "enabled"].contains(&name.as_str())) {
        assert!(defaults.contains_key(name), "{path}.{name} is in values.schema.json and not in values.yaml");
    }
}

#[test]
fn the_readme_of_the_chart_names_every_value() {
    let defaults: Value = serde_saphyr::from_str(&read("charts/mailfleet/values.yaml")).expect("YAML");
    let schema: Value = serde_json::from_str(&read("charts/mailfleet/values.schema.json")).expect("JSON");
    let mut found = Vec::new();
    values("", &defaults, &schema, &mut found);
    assert!(found.len() > 40, "{found:?}");
    let mut table = "| value | default | meaning |\n|---|---|---|\n".to_owned();
    for (path, default, meaning) in &found {
        table.push_str(&format!("| `{path}` | `{default}` | {meaning} |\n"));
    }
    let readme = read("charts/mailfleet/README.md");
    let (head, rest) = readme.split_once("-->\n").expect("the first mark");
    let (_, tail) = rest.split_once("<!-- end of values -->").expect("the last mark");
    golden("charts/mailfleet/README.md", &format!("{head}-->\n{table}<!-- end of values -->{tail}"));
}

#[test]
fn the_templates_use_every_value() {
    let defaults: Value = serde_saphyr::from_str(&read("charts/mailfleet/values.yaml")).expect("YAML");
    let templates: String =
        names_in("charts/mailfleet/templates").iter().map(|name| read(&format!("charts/mailfleet/templates/{name}"))).collect();
    let mut unused = Vec::new();
    for (name, value) in defaults.as_object().expect("an object") {
        let inner: Vec<String> = match value.as_object() {
            // Those that are given on as they are.
            Some(inner) if !templates.contains(&format!("toYaml .Values.{name} ")) => {
                inner.keys().map(|key| format!("{name}.{key}")).collect()
            }
            _ => vec![name.clone()],
        };
        unused.extend(inner.into_iter().filter(|path| !templates.contains(&format!(".Values.{path}"))));
    }
    assert_eq!(unused, Vec::<String>::new());
}
