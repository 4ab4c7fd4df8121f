//! The crates that a build compiles, as `cargo tree` lists them: none twice, and no more of them than today.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

/// Crates of the program on Linux, those that only compile others included. More of them cost every first build: raise it on purpose.
const CRATES_MAX: usize = 384;

/// Crates that are there in two versions, and why that cannot be helped today.
const TWICE: &[(&str, &str)] = &[
    ("base64", "0.22 for k8s-openapi and tower-http 0.7; 0.23 for reqwest, hyper-util and kube-client"),
    ("bit-set", "0.8 for fancy-regex under jsonschema; 0.11 for antlr4rust under cel"),
    ("bit-vec", "with bit-set"),
    ("fallible-iterator", "0.2 for postgres-protocol; 0.3 for rusqlite"),
    ("getrandom", "0.3 for ahash; 0.4 for uuid; 0.2 compiles a random constant under reqsign"),
    ("hashbrown", "0.16 for kube-runtime; 0.14 for rust-ini under reqsign"),
    ("rand", "0.9 for opentelemetry_sdk; 0.10 for hickory-net and others"),
    ("rand_core", "with rand"),
    ("syn", "2 for the macros of tracing, strum and mail-parser; compiles only"),
    ("tower-http", "0.6 for reqwest; 0.7 for kube-client"),
];

/// Families that were replaced, since they took a tenth of a build.
const REPLACED: &[(&str, &str)] = &[
    ("aws-sdk-", "reqsign-aws-v4 signs the calls of src/providers/ses.rs"),
    ("aws-config", "reqsign-aws-v4 finds credentials"),
    ("aws-smithy-", "the generated SDKs are built on it"),
];

/// The crates of a tree: name and version, with the lists of features with which each is compiled; macros of the compiler may have
/// another than the program.
type Crates = BTreeMap<(String, String), BTreeSet<String>>;

/// Reads the output of `cargo tree --prefix none --format '{p}|{f}'`.
fn read(text: &str) -> Crates {
    let mut crates = Crates::new();
    for line in text.lines() {
        let Some((package, features)) = line.split_once('|') else { continue };
        let mut words = package.split(' ');
        let (Some(name), Some(version)) = (words.next(), words.next()) else { continue };
        let features = features.trim_end_matches(" (*)").to_owned();
        // The program itself has other edges in its tests.
        if name != "mailfleet" {
            crates.entry((name.to_owned(), version.to_owned())).or_default().insert(features);
        }
    }
    crates
}

fn complaints(program: &Crates, with_tests: &Crates, max: usize, twice: &[(&str, &str)]) -> Vec<String> {
    let mut found = Vec::new();
    if program.len() > max {
        found.push(format!("{} crates, {max} at most", program.len()));
    }
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, version) in program.keys() {
        versions.entry(name).or_default().push(version);
        if let Some((_, instead)) = REPLACED.iter().find(|(family, _)| name.starts_with(family)) {
            found.push(format!("{name} is back: {instead}"));
        }
    }
    versions.retain(|_, versions| versions.len() > 1);
    for (name, versions) in &versions {
        if !twice.iter().any(|(known, _)| known == name) {
            found.push(format!("{name} is there as {}: `cargo tree -i {name}` says for whom", versions.join(" and ")));
        }
    }
    for (name, _) in twice {
        if !versions.contains_key(name) {
            found.push(format!("{name} is there once: remove it from the list"));
        }
    }
    for (package @ (name, version), features) in program {
        for more in with_tests.get(package).into_iter().flatten().filter(|more| !features.contains(*more)) {
            found.push(format!("tests compile {name} {version} again, with `{more}`: let Cargo.toml say so for both"));
        }
    }
    found
}

/// The tree along these edges.
fn tree(edges: &str) -> Crates {
    // Of one system, whatever this one is, so that the numbers mean the same everywhere.
    let words =
        ["tree", "--locked", "--offline", "--target", "x86_64-unknown-linux-gnu", "--prefix", "none", "--format", "{p}|{f}", "--edges"];
    let output = Command::new(env!("CARGO")).args(words).arg(edges).current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    read(&String::from_utf8_lossy(&output.stdout))
}

#[test]
fn no_crate_is_compiled_twice_or_without_need() {
    let found = complaints(&tree("normal,build"), &tree("normal,build,dev"), CRATES_MAX, TWICE);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_complaint_about_crates_can_be_made() {
    let program = read(
        "mailfleet v0.1.0 (/here)|\nsyn v2.0.1 (proc-macro)|full\nsyn v3.0.1 (proc-macro)|full (*)\naws-sdk-sesv2 v1.0.0|\ntokio v1.0.0|net\n",
    );
    let with_tests = read("mailfleet v0.1.0 (/here)|\ntokio v1.0.0|net,test-util\nrcgen v1.0.0|\n");
    let found = complaints(&program, &with_tests, 3, &[("memchr", "")]);
    let wanted = [
        "4 crates, 3 at most",
        "aws-sdk-sesv2 is back",
        "syn is there as v2.0.1 and v3.0.1",
        "memchr is there once",
        "with `net,test-util`",
    ];
    assert_eq!(found.len(), wanted.len(), "{found:?}");
    for words in wanted {
        assert!(found.iter().any(|one| one.contains(words)), "{words}: {found:?}");
    }
}
