//! docs/cli.md, made of the same descriptions as `--help` and the manual pages.

use std::{fmt::Write as _, fs};

use clap::{Command, CommandFactory as _};
use mailfleet::cli::Cli;

const PAGE: &str = "docs/cli.md";
/// Of a line, so that a page needs no scrolling.
const COLUMNS: usize = 100;

const HEAD: &str = "# Commands

What each command's `--help` prints; this page is generated from the source.
`mailfleet man` prints the same as manual pages, and `mailfleet completions SHELL` completes words for bash, zsh and fish.
[operations.md](operations.md) explains the commands that run a fleet, and has all [exit codes](operations.md#exit-codes).
";

/// A command and those below it, each with the words that call it.
fn write(command: &mut Command, words: &str, page: &mut String) {
    let help = command.render_long_help().to_string();
    let help: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
    write!(page, "\n## {words}\n\n```text\n{}\n```\n", help.join("\n")).expect("a string");
    for below in command.get_subcommands_mut().filter(|below| below.get_name() != "help" && !below.is_hide_set()) {
        let words = format!("{words} {}", below.get_name());
        write(below, &words, page);
    }
}

fn page() -> String {
    let mut command = Cli::command().term_width(COLUMNS).disable_help_subcommand(true);
    command.build();
    let mut page = HEAD.to_owned();
    write(&mut command, "mailfleet", &mut page);
    page
}

#[test]
fn the_committed_page_has_the_help_of_every_command() {
    let now = page();
    let missing: Vec<String> = Cli::command()
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(|command| format!("\n## mailfleet {}\n", command.get_name()))
        .filter(|head| !now.contains(head))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    let is_fresh = fs::read_to_string(PAGE).unwrap_or_default() == now;
    if !is_fresh {
        fs::write(PAGE, now).expect(PAGE);
    }
    assert!(is_fresh, "{PAGE} was stale and is rewritten; commit it");
}
