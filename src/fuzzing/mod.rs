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

use std::fmt::Debug;

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

/// Fails where a branch must not be reached.
#[allow(clippy::panic)] // A failed property is a panic: this room is in no program.
pub(crate) fn failed(why: &str) -> ! {
    std::panic::panic_any(why.to_owned())
}

/// Asserts that a text is fit for a status, a log and the ledger: bounded, and without characters that steer a terminal.
pub(crate) fn assert_shown(what: &str, text: &str, max: usize) {
    assert!(text.chars().count() <= max, "{what} has {} characters: {text:?}", text.chars().count());
    assert!(!text.chars().any(char::is_control), "{what} has a control character: {text:?}");
}

/// Asserts that two readings are one.
pub(crate) fn assert_same<T: PartialEq + Debug>(whole: &T, pieces: &T, what: &str) {
    assert!(whole == pieces, "{what}: in pieces it is another:\n{whole:?}\n{pieces:?}");
}

/// The sizes of pieces in which an input is read again; the last depends on the input.
pub(crate) fn pieces(data: &[u8]) -> [usize; 3] {
    [1, 7, 1 + usize::from(data.first().copied().unwrap_or(0))]
}

/// Reads bytes as many at a time as it is told to.
#[derive(Debug)]
pub(crate) struct Piecewise {
    data: std::io::Cursor<Vec<u8>>,
    size: usize,
}

impl Piecewise {
    /// Over these bytes.
    pub(crate) fn new(data: &[u8], size: usize) -> Self {
        Self { data: std::io::Cursor::new(data.to_vec()), size: size.max(1) }
    }
}

impl std::io::Read for Piecewise {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let length = into.len().min(self.size);
        std::io::Read::read(&mut self.data, &mut into[..length])
    }
}
