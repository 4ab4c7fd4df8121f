//! Tests that cannot run here. The library's own tests include this file too.

use std::{fs::OpenOptions, io::Write as _};

/// Records that `test` cannot run because `missing` is not here. With `CI=true` that is a failure; otherwise it goes to standard error
/// and into the file that `MAILFLEET_SKIPPED` names, from which `make test` writes its summary.
pub fn skip(test: &str, missing: &str) {
    let line = format!("cargo-test: {test}: needs {missing}\n");
    assert!(std::env::var_os("CI").is_none_or(|value| value != "true"), "skipped, and CI=true: {line}");
    // Not `eprintln!`, which the test harness captures.
    let _ = write!(std::io::stderr().lock(), "skipped {line}");
    if let Some(path) = std::env::var_os("MAILFLEET_SKIPPED") {
        let mut file = OpenOptions::new().create(true).append(true).open(path).expect("the file of skipped tests");
        file.write_all(line.as_bytes()).expect("a line");
    }
}
