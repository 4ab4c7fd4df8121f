//! Status files: whole, quiet, and readable by others.

use std::{fs, process::Command};

use serde_json::{Value, json};

use super::*;
use crate::source::files::folder_tests::{Folder, write_status};

#[path = "../../../tests/skipped/mod.rs"]
mod skipped;

fn object(message: &str) -> Value {
    json!({"status": {"state": "Active", "message": message}, "kind": "Plan", "spec": {"servers": []}, "apiVersion": "mailfleet.dev/v1alpha1",
           "metadata": {"name": "pro"}})
}

#[test]
fn writes_only_what_differs_and_in_order() {
    let folder = Folder::new();
    let key = Key::new("acme", "pro");
    let status = StatusFolder::open(folder.path()).expect("it opens");
    let file = folder.at("status/acme/Plan/pro.yaml");
    assert!(write_status(&status, "Plan", &key, &object("a")).expect("written"));
    let text = fs::read_to_string(&file).expect("a file");
    let order: Vec<usize> =
        ["apiVersion:", "kind:", "metadata:", "spec:", "status:"].iter().map(|part| text.find(part).expect(part)).collect();
    assert!(order.is_sorted(), "{text}");
    let before = fs::metadata(&file).expect("a file").modified().expect("a time");
    assert!(!write_status(&status, "Plan", &key, &object("a")).expect("the same"));
    drop(status);

    // Another process: what is on disk counts.
    folder.write("status/acme/Plan/.tmp-pro.yaml", "half");
    let status = StatusFolder::open(folder.path()).expect("it opens");
    assert!(!folder.at("status/acme/Plan/.tmp-pro.yaml").exists());
    assert!(!write_status(&status, "Plan", &key, &object("a")).expect("the same"));
    assert_eq!(fs::metadata(&file).expect("a file").modified().expect("a time"), before);
    assert!(write_status(&status, "Plan", &key, &object("b")).expect("written"));
    assert_eq!(read_previous_status(folder.path(), "Plan", &key), Some(json!({"state": "Active", "message": "b"})));
    assert_eq!((status.remove("Plan", &key).expect("gone"), status.remove("Plan", &key).expect("gone")), (true, false));
    assert_eq!(read_previous_status(folder.path(), "Plan", &key), None);
    assert!(write_status(&status, "Plan", &key, &object("b")).expect("written again"));
}

#[test]
fn a_broken_file_is_replaced() {
    let folder = Folder::new();
    let key = Key::new("acme", "pro");
    let status = StatusFolder::open(folder.path()).expect("it opens");
    folder.write("status/acme/Plan/pro.yaml", "a: [");
    assert_eq!(read_previous_status(folder.path(), "Plan", &key), None);
    assert!(write_status(&status, "Plan", &key, &object("a")).expect("written"));
    assert_eq!(read_previous_status(folder.path(), "Plan", &key), Some(json!({"state": "Active", "message": "a"})));
}

#[test]
fn no_name_leads_out_of_the_folder() {
    let folder = Folder::new();
    let status = StatusFolder::open(&folder.at("state")).expect("it opens");
    for key in [Key::new("..", "a"), Key::new("a", "../../b"), Key::new("", "a"), Key::new("a/b", "c")] {
        assert!(write_status(&status, "Plan", &key, &object("a")).is_err(), "{key}");
        assert!(status.remove("Plan", &key).is_err() && read_previous_status(&folder.at("state"), "Plan", &key).is_none(), "{key}");
    }
}

/// Texts that YAML could read as something else, or lose a part of.
fn nasty() -> Value {
    let long = "word ".repeat(60);
    let texts = [
        "",
        " ",
        "  lead",
        "trail  ",
        "yes",
        "No",
        "on",
        "null",
        "~",
        "true",
        "0777",
        "0o17",
        "1_000",
        "12:30",
        "1e3",
        ".inf",
        ".nan",
        "-",
        "--- a",
        "...",
        "a: b",
        "a :b",
        "# c",
        "a #b",
        "'q'",
        "\"q\"",
        "it's",
        "\\n",
        "\ttab",
        "a\tb",
        "line\ntwo",
        "line\ntwo\n",
        "\n",
        "\n\n",
        "\nlead",
        "  indented\nthen not",
        "trail \nspace",
        "cr\r\nlf",
        "\u{0}",
        "\u{7f}",
        "\u{85}",
        "\u{2028}",
        "\u{feff}bom",
        "é",
        "😀",
        "{a}",
        "[a]",
        "@a",
        "`a`",
        "%a",
        "&a",
        "*a",
        "!a",
        "|",
        ">",
        "?",
        "? a",
        "- a",
        ",",
        "=",
        "<<",
        "2026-12-01",
        "2026-12-01T08:00:00Z",
        "450 4.7.1 <a@b>: x; y",
        &long,
        "a\n\n\nb\n\n",
        "key:\n  - x",
        "%YAML 1.2",
        "\u{1b}[31m",
    ];
    let keys: serde_json::Map<String, Value> =
        texts.iter().filter(|text| !text.contains('\n')).enumerate().map(|(index, text)| ((*text).to_owned(), json!(index))).collect();
    json!({"texts": texts.as_slice(), "keys": keys, "nested": {"list": [["a", []], {}, {"deep": [{"x": long}]}]},
           "numbers": [0, -1, 1.5, 1e30, u64::MAX, i64::MIN], "others": [true, null]})
}

#[test]
fn nasty_texts_come_back() {
    let object = json!({"apiVersion": "mailfleet.dev/v1alpha1", "status": nasty()});
    let text = to_yaml(&object).expect("YAML");
    let back: Value = serde_saphyr::from_str(&text).expect("its own reader");
    assert_eq!(back, object);
    let documents = crate::yaml::parse(&text);
    let problems: Vec<_> =
        documents.iter().flat_map(|document| document.problems.iter().chain(&document.scalars).chain(&document.syntax)).collect();
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(documents[0].root.to_json(), object);
}

#[test]
fn nasty_texts_come_back_in_python() {
    let object = nasty();
    let folder = Folder::new();
    folder.write("a.yaml", to_yaml(&object).expect("YAML"));
    let script = "import json,sys\ntry:\n import yaml\nexcept ImportError:\n sys.exit(9)\nprint(json.dumps(yaml.safe_load(open(sys.argv[1],encoding='utf-8'))))";
    let output = Command::new("python3").args(["-c", script]).arg(folder.at("a.yaml")).output().expect("python3 is installed");
    if output.status.code() == Some(9) {
        return skipped::skip("nasty_texts_come_back_in_python", "PyYAML (Debian: python3-yaml)");
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let back: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(back, object);
}

#[test]
fn the_longest_names_have_a_file_too() {
    let folder = Folder::new();
    let status = StatusFolder::open(folder.path()).expect("it opens");
    let mut expected = Vec::new();
    for length in [240, 241, 246, 250, 251, 253] {
        for end in ["a", "b"] {
            let key = Key::new("acme", format!("{}{end}", "n".repeat(length - 1)));
            let object = json!({"kind": "Plan", "metadata": {"name": &*key.name}, "status": {"state": end}});
            assert!(write_status(&status, "Plan", &key, &object).unwrap_or_else(|error| panic!("{length}: {error}")));
            assert_eq!(read_previous_status(folder.path(), "Plan", &key), Some(json!({"state": end})), "{length}");
            expected.push(("Plan".to_owned(), key));
        }
    }
    let mut found = status.objects().expect("they are listed");
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    for (kind, key) in &found {
        assert!(status.remove(kind, key).expect("removed"));
    }
    assert_eq!(status.objects().expect("none"), Vec::new());
}
