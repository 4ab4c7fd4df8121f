//! Lines for people, on standard error.

use std::io::Write as _;

/// Writes one line to standard error. A closed standard error is no reason to fail.
pub fn report(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "mailfleet: {line}");
}

/// `1 fault`, `2 faults`.
#[must_use]
pub fn counted(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}
