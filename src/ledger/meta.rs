//! The table `meta`: numbers of the ledger itself, such as the version of its schema.

use rusqlite::{Connection, OptionalExtension};

use super::error::{Fault, LedgerError, LedgerErrorKind};

/// A number, which every ledger has.
pub(super) fn number(connection: &Connection, key: &str) -> Result<i64, Fault> {
    let value = connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?.query_row([key], |row| row.get(0)).optional()?;
    value.ok_or_else(|| {
        let name = connection.path().unwrap_or("the ledger");
        Fault::Ledger(LedgerError::new(
            LedgerErrorKind::Corrupt,
            format!("{name} is damaged: its table `meta` has no `{key}`; restore it from a backup"),
        ))
    })
}
