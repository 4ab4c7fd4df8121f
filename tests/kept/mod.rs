//! Texts that are kept beside what makes them. `UPDATE_GOLDEN=1 cargo test` rewrites them; read them as a user would before committing.

use std::{fs, path::Path};

/// Whether the kept texts are to be rewritten.
fn is_update() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1")
}

/// Compares with a kept text; `UPDATE_GOLDEN=1` replaces it.
pub fn check_golden(path: &Path, actual: &str) -> Result<(), String> {
    let kept = fs::read_to_string(path).unwrap_or_default();
    if kept == actual {
        return Ok(());
    }
    if is_update() {
        return fs::write(path, actual).map_err(|error| error.to_string());
    }
    Err(format!("{} differs; UPDATE_GOLDEN=1 rewrites it.\n--- kept\n{kept}\n--- now\n{actual}", path.display()))
}
