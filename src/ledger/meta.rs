//! The table `meta`: numbers of the ledger itself, such as the version of its schema.

use super::{
    database::{Connection, params},
    error::{Fault, LedgerError, LedgerErrorKind},
};

/// Changes a number.
pub(super) fn set(connection: &Connection, key: &str, number: i64) -> Result<(), Fault> {
    let keep = "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    match connection {
        Connection::Sqlite(_) => connection.execute(keep, params![key, number])?,
        Connection::Postgres(_) => connection.execute(keep, params![key, number.to_string()])?,
    };
    Ok(())
}

/// A number, which every ledger has.
pub(super) fn number(connection: &Connection, key: &str) -> Result<i64, Fault> {
    let value = connection.row("SELECT CAST(value AS BIGINT) FROM meta WHERE key = ?1", [key], |row| row.get(0))?;
    value.ok_or_else(|| {
        let name = connection.name();
        Fault::Ledger(LedgerError::new(
            LedgerErrorKind::Corrupt,
            format!("{name} is damaged: its table `meta` has no `{key}`; restore it from a backup"),
        ))
    })
}
