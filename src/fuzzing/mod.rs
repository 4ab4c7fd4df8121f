//! One function for each reader of what strangers write, which asserts what must hold of any input.
//!
//! libFuzzer calls them (`fuzz/`, by scripts/fuzz), and so do the tests, with the same corpus and mutations of it, so that each change
//! meets them. This room is in no other build. A function takes bytes, and a property that does not hold is an assertion that fails.
//! Each entry point names its own function, so that no other reader is linked, and counted by libFuzzer after each run.
//! What a run may cost is bounded from outside: scripts/fuzz gives each input ten seconds and the process 2 GiB.

mod back;
mod calls;
mod content;
mod documents;
#[cfg(test)]
mod tests;

pub use self::{
    back::{conversation, imap, mails, tokens},
    calls::{scrubbed, sns, webhooks},
    content::{fields, inspected, templates},
    documents::yaml,
};
pub use crate::{
    audience::{
        fuzzing::{csv, json_lines, workbook},
        pages::fuzzing::page,
        sql::fuzzing::mysql_rows,
    },
    providers::smtp::fuzzing::smtp_replies,
    source::files::fuzzing::{documents, secrets},
};

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
    target("conversation", conversation, 100),
    target("csv", csv, 100),
    target("documents", documents, 20),
    target("fields", fields, 50),
    target("imap", imap, 200),
    target("inspected", inspected, 100),
    target("json_lines", json_lines, 100),
    target("mails", mails, 20),
    target("mysql_rows", mysql_rows, 500),
    target("page", page, 100),
    target("scrubbed", scrubbed, 100),
    target("secrets", secrets, 50),
    target("smtp_replies", smtp_replies, 30),
    target("sns", sns, 100),
    target("templates", templates, 20),
    target("tokens", tokens, 100),
    target("webhooks", webhooks, 50),
    target("workbook", workbook, 10),
    target("yaml", yaml, 50),
];
