//! Lines for people: on standard error, and below tables.

use std::io::{self, Write as _};

use super::{json_log, screen};
pub use crate::present::words::{Commands, STATE_DEFAULT, STATE_VARIABLE, quoted};

/// Writes one line to standard error, above the progress that is drawn there; on a terminal it is wrapped between words. A closed
/// standard error is no reason to fail.
pub fn report(line: &str) {
    if json_log::is_on() {
        return screen::print(json_log::said(line).as_bytes());
    }
    screen::say(&format!("mailfleet: {line}"));
}

/// Writes one line to standard output; on a terminal it is wrapped between words. A closed standard output does not undo what is told.
pub fn say(line: &str) {
    let _ = io::stdout().lock().write_all(block(line).as_bytes());
}

/// What is told where output could not be printed; whoever reads it may have had enough of it.
///
/// # Errors
/// When it could not be written otherwise, in words that begin with `what`.
pub fn printed(result: io::Result<()>, what: &str) -> Result<(), String> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(format!("{what} cannot be printed: {error}")),
        _ => Ok(()),
    }
}

/// A line and its end for standard output: on a terminal it is wrapped between words, and what is wrapped is indented.
#[must_use]
pub fn block(line: &str) -> String {
    screen::Line::plain(line).block(screen::stdout_columns(), false)
}

/// A sentence for standard output: wrapped where that is a terminal, else one line.
#[must_use]
pub fn paragraph(text: &str) -> String {
    screen::stdout_columns().map_or_else(|| text.to_owned(), |columns| screen::wrapped(text, columns).join("\n"))
}
