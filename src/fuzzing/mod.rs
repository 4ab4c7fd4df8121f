//! One function for each reader of what strangers write, which asserts what must hold of any input.
//!
//! libFuzzer calls them (`fuzz/`, by scripts/fuzz), and so do the tests, with the same corpus and mutations of it, so that each change
//! meets them. This room is in no other build. A function takes bytes, and a property that does not hold is an assertion that fails.
//! What a run may cost is bounded from outside: scripts/fuzz gives each input ten seconds and the process 2 GiB.

mod back;
mod calls;
mod content;
mod documents;
#[cfg(test)]
mod tests;

use crate::properties::failed;

/// A target of the fuzzer.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which is that of its file in `fuzz/fuzz_targets` and of its folder in `fuzz/corpus`.
    pub name: &'static str,
    /// Reads an input, and asserts what holds.
    pub run: fn(&[u8]),
    /// Mutations of each input of the corpus that the tests run: readers that do much get few.
    pub mutations: usize,
}

const fn target(name: &'static str, run: fn(&[u8]), mutations: usize) -> Target {
    Target { name, run, mutations }
}

/// All of them.
pub const TARGETS: &[Target] = &[
    target("conversation", back::conversation, 100),
    target("csv", crate::audience::fuzzing::csv, 100),
    target("documents", crate::source::files::fuzzing::documents, 20),
    target("fields", content::fields, 50),
    target("imap", back::imap, 200),
    target("inspected", content::inspected, 100),
    target("json_lines", crate::audience::fuzzing::json_lines, 100),
    target("mails", back::mails, 20),
    target("mysql_rows", crate::audience::sql::fuzzing::mysql_rows, 500),
    target("page", crate::audience::pages::fuzzing::page, 100),
    target("scrubbed", calls::scrubbed, 100),
    target("secrets", crate::source::files::fuzzing::secrets, 50),
    target("smtp_replies", crate::providers::smtp::fuzzing::smtp_replies, 30),
    target("sns", calls::sns, 100),
    target("templates", content::templates, 20),
    target("tokens", back::tokens, 100),
    target("webhooks", calls::webhooks, 50),
    target("workbook", crate::audience::fuzzing::workbook, 10),
    target("yaml", documents::yaml, 50),
];

/// Runs the target of a name; what libFuzzer's entry points call.
///
/// # Panics
/// When something does not hold that must, and when there is no such target.
pub fn run(name: &str, data: &[u8]) {
    match TARGETS.iter().find(|target| target.name == name) {
        Some(target) => (target.run)(data),
        None => failed(&format!("there is no target {name}")),
    }
}
