//! `mailfleet check` on campaigns with something that hurts: what it says of each is kept beside them.
//!
//! `UPDATE_GOLDEN=1 cargo test` rewrites the outputs; read them as a user would before committing.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use crate::kept::check_golden;

fn check(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailfleet"));
    command.arg("check").args(arguments).output().expect("the program runs")
}

fn names() -> Vec<String> {
    let text = fs::read_to_string("tests/check/campaigns.yaml").expect("the campaigns");
    text.lines().filter_map(|line| Some(line.strip_prefix("metadata: {name: ")?.trim_end_matches('}').to_owned())).collect()
}

#[test]
fn every_bad_campaign_has_its_words() {
    let names = names();
    assert!(names.len() >= 20, "only {} campaigns", names.len());
    let mut failures = Vec::new();
    for name in names {
        let output = check(&[&name, "tests/check", "-o", "wide"]);
        let said = String::from_utf8(output.stdout).expect("UTF-8");
        let errors = String::from_utf8(output.stderr).expect("UTF-8");
        let code = output.status.code();
        assert!(said.contains("warning ") || said.contains("note "), "{name} is good:\n{said}{errors}");
        let now = format!("{said}{errors}exit {}\n", code.unwrap_or(-1));
        let path = Path::new("tests/check").join(format!("{name}.txt"));
        failures.extend(check_golden(&path, &now).err());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn every_example_is_good() {
    for (name, path) in [
        ("hello", "examples/minimal.yaml"),
        ("spring", "examples/relays.yaml"),
        ("welcome", "examples/tenancy.yaml"),
        ("welcome", "examples/languages.yaml"),
        ("bakery/december", "examples/kubernetes"),
    ] {
        let output = check(&[name, path, "--strict", "--all"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{name}: {said}{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn scripts_get_one_object_for_each_finding_and_an_exit_code() {
    let output = check(&["links-without-tls", "tests/check", "-o", "json"]);
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let row = &rows[0];
    assert_eq!((&row["severity"], &row["check"], &row["messages"]), (&"warning".into(), &"insecure-link".into(), &2.into()));
    assert_eq!(output.status.code(), Some(1));
    // Notes fail on request alone.
    for (arguments, code) in
        [(&["shortened", "tests/check"][..], 0), (&["shortened", "tests/check", "--strict"], 1), (&["nobody", "tests/check"], 2)]
    {
        assert_eq!(check(arguments).status.code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn a_sample_is_of_the_whole_audience_and_the_same_each_time() {
    let folder = std::env::temp_dir().join(format!("mailfleet-check-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let rows: String = (0..5_000).map(|number| format!("{number}@example.com,{}\n", if number < 2_500 { "Ann" } else { "" })).collect();
    fs::write(folder.join("people.csv"), format!("email,name\n{rows}{rows}")).expect("the audience");
    let campaign = "{apiVersion: mailfleet.dev/v1alpha1, kind: Campaign, metadata: {name: spring}, spec: {planRef: {name: p}, from: {address: a@shop.example}, subject: \"Hi {{ name }}\", content: {text: Hello}, audience: {csv: {path: people.csv}}}}";
    fs::write(folder.join("campaign.yaml"), campaign).expect("the campaign");
    let path = folder.to_str().expect("UTF-8");
    let said = |more: &[&str]| {
        let output = check(&[&["spring", path, "-o", "json"], more].concat());
        let rows: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let row = rows.as_array().expect("rows").iter().find(|row| row["check"] == "empty-field").cloned().expect("the field");
        row["messages"].as_u64().expect("a number")
    };
    let few = said(&["--sample", "200"]);
    assert!((60..=140).contains(&few), "{few} of 200, of which half are without a name");
    assert_eq!(said(&["--sample", "200"]), few);
    assert_eq!(said(&["--all"]), 2_500, "each address once");
    fs::remove_dir_all(&folder).expect("the folder goes");
}
