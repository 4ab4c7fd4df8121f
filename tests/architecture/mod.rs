//! The invariants of ARCHITECTURE.md, checked against the source; and the documents, checked against the program.
//!
//! A rule is a function from a file to complaints. [`every_rule_can_fail`] feeds each of them what it forbids, so that none
//! of them is true of everything.

mod chart;
mod crates;
mod documents;
mod gitops;
mod rust;
mod tower;

use std::{
    fs,
    path::{Path, PathBuf},
};

use rust::{code, names, without_tests};

/// A file of the repository.
pub struct File {
    /// From the repository's root, with `/`.
    pub path: String,
    pub text: String,
}

impl File {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    fn is_test(&self) -> bool {
        self.path.contains("/tests/")
            || self.path == "src/test_support.rs"
            || self.path.ends_with("/tests.rs")
            || self.path.ends_with("_tests.rs")
    }

    /// Its code outside tests.
    fn code(&self) -> String {
        if self.is_test() { String::new() } else { without_tests(&code(&self.text)) }
    }

    fn is_in(&self, rooms: &[&str]) -> bool {
        rooms.iter().any(|room| {
            let below = self.path.strip_prefix("src/").unwrap_or_default();
            below == *room || below == format!("{room}.rs") || below.strip_prefix(room).is_some_and(|rest| rest.starts_with('/'))
        })
    }
}

pub fn files(folder: &str, endings: &[&str]) -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| endings.iter().any(|ending| extension == *ending)) {
                let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                found.push(File::new(&path.strip_prefix(root).expect("below the root").to_string_lossy().replace('\\', "/"), &text));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "{folder} has no {endings:?}");
    found
}

/// Whether the head of a file says that nothing happens there but computing: no I/O, no clock, no chance; time and seeds are
/// arguments. What the root of a room says holds for every file of it.
fn says_pure(file: &File) -> bool {
    let head = file.text.lines().map_while(|line| line.strip_prefix("//!"));
    head.flat_map(|line| line.split(' ')).any(|word| matches!(word, "Pure." | "Pure:"))
}

/// The files that are pure by their own word, or by that of a room that they are in.
fn pure(files: &[File]) -> Vec<&File> {
    let rooms: Vec<&str> = files.iter().filter(|file| says_pure(file)).map(|file| module(&file.path)).collect();
    let is_within = |path: &str, room: &str| path.strip_prefix(room).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    files.iter().filter(|file| rooms.iter().any(|room| is_within(module(&file.path), room))).collect()
}

/// A file's path as a module: without `src/`, `.rs` and `/mod`.
fn module(path: &str) -> &str {
    let path = path.strip_prefix("src/").unwrap_or(path);
    let path = path.strip_suffix(".rs").unwrap_or(path);
    path.strip_suffix("/mod").unwrap_or(path)
}

/// What none of these names.
const IMPURE: &[&str] = &[
    "std::fs",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "ToSocketAddrs",
    "std::env",
    "std::process",
    "std::thread",
    "tokio",
    "reqwest",
    "rusqlite",
    "SystemTime::now",
    "Timestamp::now",
    "Zoned::now",
    "Instant::now",
    "SteadyClock",
    "rand",
    "getrandom",
    "gethostname",
];

fn purity(file: &File) -> Vec<String> {
    let code = file.code();
    IMPURE.iter().filter(|path| names(&code, path)).map(|path| format!("is pure, and names {path}")).collect()
}

/// What may be named only in some rooms.
const BORDERS: &[(&str, &[&str], &str)] = &[
    ("StatusFolder", &["source", "engine"], "only the source writes status, when the engine says so"),
    (
        "TcpStream",
        &["providers", "sink", "serve", "bounces", "audience/sql", "ledger/database"],
        "only providers speak to mail servers; the sink plays one, serve answers, bounces takes what comes back, audience/sql asks databases, and the ledger may be in one",
    ),
    ("TcpSocket", &["providers", "sink"], "only providers speak to mail servers; the sink plays one"),
    ("UdpSocket", &[], "nothing speaks UDP"),
    (
        "TcpListener",
        &["sink", "serve", "bounces/listener"],
        "only the sink, the admin endpoint, the public listener and that for bounces listen",
    ),
    ("hyper", &["serve"], "only serve answers HTTP"),
    ("axum", &["serve"], "only serve answers HTTP"),
    ("maud", &["serve/dashboard"], "only the dashboard makes pages of many parts"),
    ("prometheus_client", &["serve"], "metrics are made where they are asked for"),
    (
        "reqwest",
        &["audience", "egress", "forge", "providers", "traces"],
        "audiences are fetched, vendors and forges asked and traces sent by HTTP, and egress says where",
    ),
    (
        "rusqlite",
        &["ledger", "audience/sql/sqlite.rs"],
        "only the ledger says who was mailed; a campaign's own database is read in one place",
    ),
    ("tokio_postgres", &["audience/sql/postgres.rs", "ledger"], "databases are asked for audiences, and keep the ledger"),
    ("kube", &["source/cluster"], "Kubernetes' client stays at the border"),
    ("k8s_openapi", &["source/cluster"], "Kubernetes' client stays at the border"),
    ("lookup_host", &["egress", "providers"], "names are resolved where addresses are judged"),
    ("hickory_resolver", &["dns"], "records are looked up where they are judged"),
    ("toml", &["import"], "TOML is what other programs write"),
    ("notify", &["source/files/watch.rs"], "only the source watches files"),
    ("cel", &["source/files/verdict"], "rules are evaluated where documents are judged"),
    ("jsonschema", &["source"], "schemas are evaluated where documents are judged"),
    (
        "crate::ledger",
        &["ledger", "report", "people", "dispatch", "engine", "present", "serve/dashboard", "simulate", "cli"],
        "who was mailed is asked of the ledger by dispatch and engine; people keeps lists in a file as the ledger does; present and the dashboard show what it knows",
    ),
    ("crate::source", &["source", "engine", "cli", "fuzzing"], "what the source reads reaches the others as plain data"),
    (
        "crate::dispatch",
        &["dispatch", "engine", "simulate"],
        "the control plane knows what is wanted and what is reported, and not how it is done",
    ),
    ("crate::engine", &["engine", "serve", "cli"], "nothing below the engine knows of it"),
    ("crate::cli", &["cli"], "nothing below the command line knows of it"),
];

fn borders(file: &File) -> Vec<String> {
    let code = file.code();
    let crossed = BORDERS.iter().filter(|(path, rooms, _)| !file.is_in(rooms) && names(&code, path));
    crossed.map(|(path, rooms, why)| format!("names {path}, which belongs to {rooms:?}: {why}")).collect()
}

/// What ends the process, or prints past the command line.
const FORBIDDEN: &[&str] = &[
    ".unwrap()",
    ".expect(",
    "panic!",
    "todo!",
    "unimplemented!",
    "unreachable!",
    "dbg!",
    "println!",
    "eprintln!",
    "print!",
    "eprint!",
    "unsafe",
    "std::process::exit",
];

fn no_panics(file: &File) -> Vec<String> {
    // `#![forbid(unsafe_code)]` is one word, and stays.
    let code = file.code();
    FORBIDDEN.iter().filter(|word| names(&code, word)).map(|word| format!("uses {word} outside tests")).collect()
}

const LINES_MAX: usize = 600;
/// Longer files, how long, and why.
const LONG: &[(&str, usize, &str)] = &[];

fn shape(file: &File) -> Vec<String> {
    let mut complaints = Vec::new();
    let max = LONG.iter().find(|(path, ..)| *path == file.path).map_or(LINES_MAX, |(_, max, _)| *max);
    let lines = file.text.lines().count();
    if lines > max {
        complaints.push(format!("has {lines} lines, and {max} are the most: split it"));
    }
    if !file.is_test() && !file.text.starts_with("//! ") {
        complaints.push("begins without `//!`: say what it is for".to_owned());
    }
    complaints
}

/// Characters that nobody sees, and that are in no text of ours.
fn is_unseen(character: char) -> bool {
    (character.is_control() && character != '\n')
        || matches!(character, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn clean(file: &File) -> Vec<String> {
    let mut complaints = Vec::new();
    for (number, line) in (1..).zip(file.text.split('\n')) {
        if let Some(character) = line.chars().find(|c| is_unseen(*c)) {
            complaints.push(format!("line {number} holds {character:?}"));
        }
        if line.ends_with(' ') {
            complaints.push(format!("line {number} ends with a space"));
        }
    }
    if !file.text.is_empty() && !file.text.ends_with('\n') {
        complaints.push("ends without a line end".to_owned());
    }
    complaints
}

/// From a file to what is wrong with it.
type Rule = fn(&File) -> Vec<String>;

fn check<'a>(files: impl IntoIterator<Item = &'a File>, rule: Rule) {
    let complaints: Vec<String> =
        files.into_iter().flat_map(|file| rule(file).into_iter().map(|what| format!("{}: {what}", file.path))).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

fn source() -> Vec<File> {
    files("src", &["rs"])
}

#[test]
fn pure_files_do_no_io_and_know_no_clock_and_no_chance() {
    let source = source();
    let pure = pure(&source);
    for room in ["resources", "report", "routing", "decide", "message", "dispatch/scheduler"] {
        assert!(pure.iter().any(|file| module(&file.path) == room), "{room} does not say any more that it is pure");
    }
    check(pure, purity);
}

#[test]
fn rooms_stand_above_each_other_without_a_circle() {
    let circle = tower::circle(&tower::arrows(&source()));
    assert!(circle.is_empty(), "these rooms name each other in a circle: {circle:#?}");
}

/// Files of a room that name each other in a circle, and why they may.
const CIRCLES: &[(&str, &str, &str)] = &[
    ("message/mjml/element", "message/mjml/head", "the head takes what its body needs, and gives it attributes"),
    ("message/mjml/element", "message/mjml/navbar", "elements render those that stand in them"),
    ("message/mjml/element", "message/mjml/simple", "elements render those that stand in them"),
    ("message/mjml/element", "message/mjml/social", "elements render those that stand in them"),
];

#[test]
fn files_of_a_room_stand_above_each_other_without_a_circle() {
    let mut arrows = tower::arrows_within(&source());
    for (above, below, why) in CIRCLES {
        let there = |from: &str, to: &str| arrows.get(from).is_some_and(|named| named.contains_key(to));
        assert!(there(above, below) && there(below, above), "{above} and {below} are no circle any more: take them off the list ({why})");
        arrows.entry((*below).to_owned()).or_default().remove(*above);
    }
    let circle = tower::circle(&arrows);
    assert!(circle.is_empty(), "these files name each other in a circle: {circle:#?}");
}

#[test]
fn every_room_keeps_to_its_borders() {
    check(&source(), borders);
}

#[test]
fn nothing_panics_or_prints_outside_tests() {
    check(&source(), no_panics);
    for root in ["src/lib.rs", "src/main.rs"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(root)).expect(root);
        assert!(code(&text).contains("#![forbid(unsafe_code)]"), "{root} does not forbid unsafe code");
    }
}

#[test]
fn files_say_what_they_are_for_and_stay_short() {
    check(&source(), shape);
    let source = source();
    for (path, _, why) in LONG {
        let file = source.iter().find(|file| file.path == *path).unwrap_or_else(|| panic!("{path} is gone: take it off the list"));
        assert!(file.text.lines().count() > LINES_MAX, "{path} is short now: take it off the list ({why})");
    }
}

#[test]
fn texts_hold_nothing_unseen() {
    for (folder, endings) in [
        ("src", &["rs", "sql"][..]),
        ("tests/architecture", &["rs"]),
        ("docs", &["md"]),
        ("examples", &["yaml", "html", "csv"]),
        ("schemas", &["json"]),
        ("charts", &["yaml", "json", "md", "tpl", "txt"]),
        ("crds", &["yaml"]),
    ] {
        check(&files(folder, endings), clean);
    }
    check(&documents::at_the_root(), clean);
}

#[test]
fn every_rule_can_fail() {
    let mut cases: Vec<(Rule, File)> = Vec::new();
    for path in IMPURE {
        cases.push((purity, File::new("src/decide/servers.rs", &format!("//! x\nfn f() {{ let a = {path}::x(); }}\n"))));
        cases.push((purity, File::new("src/dispatch/lane.rs", &format!("//! x\nuse {path};\n"))));
    }
    cases.push((purity, File::new("src/message/mod.rs", "//! x\nuse std::{collections::BTreeMap, fs};\n")));
    for (path, _, _) in BORDERS {
        cases.push((borders, File::new("src/message/text.rs", &format!("//! x\nuse {path}::x;\n"))));
    }
    cases.push((borders, File::new("src/decide/mod.rs", "//! x\nuse crate::{resources::Key, source::Snapshot};\n")));
    for word in FORBIDDEN {
        let before = if word.starts_with('.') { "x" } else { "" };
        cases.push((no_panics, File::new("src/source/read.rs", &format!("//! x\nfn f() {{ {before}{word}(1); }}\n"))));
    }
    cases.push((shape, File::new("src/engine.rs", "use std::io;\n")));
    cases.push((shape, File::new("src/engine.rs", &format!("//! x\n{}", "\n".repeat(LINES_MAX)))));
    cases.push((shape, File::new("src/dispatch/sender.rs", &format!("//! x\n{}", "\n".repeat(700)))));
    for text in ["a \n", "a\tb\n", "a\r\n", "\u{200b}\n", "a"] {
        cases.push((clean, File::new("README.md", text)));
    }
    for (rule, file) in &cases {
        assert!(!rule(file).is_empty(), "nothing is said of {}: {:?}", file.path, file.text);
    }
    let heads = [
        ("src/a/mod.rs", "//! x. Pure.\n"),
        ("src/a/b.rs", "//! y\n"),
        ("src/c.rs", "//! Purely x\n"),
        ("src/c/d.rs", "//! x\n//! Pure: y\n"),
        ("src/ab.rs", "//! x\n\n/// Pure.\n"),
    ];
    let heads: Vec<File> = heads.iter().map(|(path, text)| File::new(path, text)).collect();
    assert_eq!(pure(&heads).iter().map(|file| &*file.path).collect::<Vec<_>>(), ["src/a/mod.rs", "src/a/b.rs", "src/c/d.rs"]);
    // And none of them complains of everything.
    let good = File::new(
        "src/decide/mod.rs",
        "//! No tokio, no unwrap() here.\n\n/// Never `panic!`.\npub fn f() -> &'static str {\n    \"tokio\"\n}\n\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n",
    );
    for rule in [purity as Rule, borders, no_panics, shape, clean] {
        assert_eq!(rule(&good), Vec::<String>::new());
    }
}
