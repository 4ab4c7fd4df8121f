//! The table `meta`: numbers of the ledger itself, such as the version of its schema.

use super::{
    database::{Connection, params},
    error::{Fault, LedgerError, LedgerErrorKind},
};

/// The entry that says where the ledger was moved to.
pub(super) const MOVED_TO: &str = "moved_to";
/// When everything had arrived there.
pub(super) const MOVED_AT: &str = "moved_at";
/// In a ledger that is being filled: from where.
pub(super) const ARRIVING: &str = "arriving_from";

const KEEP: &str = "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";

/// Changes a number.
pub(super) fn set(connection: &Connection, key: &str, number: i64) -> Result<(), Fault> {
    match connection {
        Connection::Sqlite(_) => connection.execute(KEEP, params![key, number])?,
        Connection::Postgres(_) => connection.execute(KEEP, params![key, number.to_string()])?,
    };
    Ok(())
}

/// Changes a text.
pub(super) fn set_text(connection: &Connection, key: &str, text: &str) -> Result<(), Fault> {
    connection.execute(KEEP, [key, text]).map(drop)
}

/// Removes an entry.
pub(super) fn remove(connection: &Connection, key: &str) -> Result<(), Fault> {
    connection.execute("DELETE FROM meta WHERE key = ?1", [key]).map(drop)
}

/// An entry as text, if it is there.
pub(super) fn text(connection: &Connection, key: &str) -> Result<Option<String>, Fault> {
    connection.row("SELECT CAST(value AS TEXT) FROM meta WHERE key = ?1", [key], |row| row.get(0))
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
