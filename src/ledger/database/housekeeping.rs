//! What each database is told beside the SQL that both read: pragmas, and the removal of what was deleted.

use super::{super::error::Fault, Connection};

impl Connection {
    /// The tables of a ledger, in memory: for simulations and tests.
    pub(in crate::ledger) fn in_memory() -> Result<Self, Fault> {
        let connection = rusqlite::Connection::open_in_memory()?;
        connection.execute_batch(include_str!("../schema.sql"))?;
        Ok(Self::Sqlite(connection))
    }

    /// Whether no transaction is open, as far as that is asked: PostgreSQL ends what a lost line left behind.
    pub(in crate::ledger) fn is_autocommit(&self) -> bool {
        match self {
            Self::Sqlite(connection) => connection.is_autocommit(),
            Self::Postgres(_) => true,
        }
    }

    /// From now on a question may take as long as it takes.
    pub(in crate::ledger) fn allow_long_questions(&self) -> Result<(), Fault> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(session) => session.allow_long_questions(),
        }
    }

    /// Rows that get numbers of their own get those behind the ones that are there.
    pub(in crate::ledger) fn number_on(&self, table: &str) -> Result<(), Fault> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(session) => session.execute_batch(&format!(
                "SELECT setval(pg_get_serial_sequence('{table}', 'id'), coalesce((SELECT max(id) FROM {table}), 0) + 1, false)"
            )),
        }
    }

    /// From now on what is deleted is overwritten.
    pub(in crate::ledger) fn overwrite_what_is_deleted(&self) -> Result<(), Fault> {
        match self {
            Self::Sqlite(connection) => Ok(connection.execute_batch("PRAGMA secure_delete = ON")?),
            Self::Postgres(_) => Ok(()),
        }
    }

    /// Rewrites the database and empties its log, so that nothing that was removed is left in either. False: somebody reads the log.
    pub(in crate::ledger) fn rewrite(&self) -> Result<bool, Fault> {
        match self {
            Self::Sqlite(connection) => {
                connection.flush_prepared_statement_cache();
                connection.execute_batch("VACUUM")?;
                let is_busy: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
                Ok(!is_busy)
            }
            // Rows that no transaction sees any more are taken away; what stood there is overwritten by later rows.
            Self::Postgres(session) => {
                ["messages", "events", "suppressions", "bad_rows", "history"]
                    .into_iter()
                    .try_for_each(|table| session.execute_batch(&format!("VACUUM {table}")))?;
                Ok(true)
            }
        }
    }
}
