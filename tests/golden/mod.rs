//! `mailfleet diff` on pairs of folders: what it says of each is kept beside them, as text, Markdown and JSON.
//!
//! `UPDATE_GOLDEN=1 cargo test` rewrites the outputs; read them as a user would before committing.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::kept::check_golden;

fn diff(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailfleet"));
    // No ledger of this machine, and no variable of it, is part of what is kept.
    command.arg("diff").args(arguments).args(["--state", "no-state"]).current_dir(folder);
    command.env_remove("MAILFLEET_STATE").output().expect("the program runs")
}

fn scenarios() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir("tests/golden").expect("the folder").map(|entry| entry.expect("an entry").path()).collect();
    found.retain(|path| path.is_dir());
    found.sort();
    found
}

#[test]
fn every_change_has_its_words() {
    let scenarios = scenarios();
    assert!(scenarios.len() >= 8, "only {} scenarios", scenarios.len());
    let mut failures = Vec::new();
    for scenario in scenarios {
        for (format, file) in [("text", "diff.txt"), ("markdown", "diff.md"), ("json", "diff.json")] {
            let output = diff(&scenario, &["old", "new", "--exit-code", "-o", format]);
            let said = String::from_utf8(output.stdout).expect("UTF-8");
            let errors = String::from_utf8(output.stderr).expect("UTF-8");
            let code = output.status.code().unwrap_or(-1);
            assert!(errors.is_empty() && [0, 2, 10, 11].contains(&code), "{}: exit {code}\n{errors}", scenario.display());
            // The exit code stands where it breaks no format.
            let now = if format == "text" { format!("{said}\nexit {code}\n") } else { said };
            failures.extend(check_golden(&scenario.join(file), &now).err());
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn scripts_get_what_the_page_promises() {
    let page = fs::read_to_string("docs/diff.md").expect("the page");
    for scenario in scenarios() {
        let output = diff(&scenario, &["old", "new", "-o", "json"]);
        assert_eq!(output.status.code(), Some(0), "{}: without --exit-code it can be made", scenario.display());
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let mut keys: Vec<String> = report.as_object().expect("an object").keys().cloned().collect();
        for list in ["dangers", "objects", "campaigns", "conditions", "needs"] {
            for item in report[list].as_array().expect(list) {
                keys.extend(item.as_object().expect("an object").keys().cloned());
            }
        }
        for danger in report["dangers"].as_array().expect("dangers") {
            keys.push(danger["rule"].as_str().expect("a rule").to_owned());
        }
        let missing: Vec<&String> = keys.iter().filter(|key| !page.contains(&format!("`{key}`"))).collect();
        assert!(missing.is_empty(), "docs/diff.md does not name {missing:?}");
    }
}

#[test]
fn what_cannot_be_compared_is_told() {
    let folder = Path::new("tests/golden/weights");
    for (old, new, words) in [
        ("nowhere", "new", "nowhere does not exist"),
        ("-", "-", "standard input can be one side only"),
        ("git:", "new", "give a branch, a tag or a commit"),
        ("old/../diff.txt", "new", "nothing of old/../diff.txt can be read"),
    ] {
        let output = diff(folder, &[old, new]);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && errors.contains(words), "{old} {new}: {:?} {errors}", output.status.code());
    }
}
