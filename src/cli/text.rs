//! Lines for people, on standard error.

use std::io::Write as _;

/// One line on standard error. A closed standard error is no reason to fail.
pub fn tell(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "mailfleet: {line}");
}
