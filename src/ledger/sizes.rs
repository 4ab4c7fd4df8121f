//! How much is in a ledger, and how much room it takes.

use super::{
    LedgerPlace,
    database::Connection,
    error::{Fault, LedgerError},
    meta, schema,
    tables::{self, Table},
};

/// What a table holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSize {
    /// Its name.
    pub table: &'static str,
    /// Its rows.
    pub rows: u64,
    /// The room that it takes with its indexes, bytes.
    pub bytes: u64,
}

/// What a ledger holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// The version of its tables.
    pub schema: i64,
    /// How often a process has begun to send from it.
    pub epoch: i64,
    /// Its tables, the largest first.
    pub tables: Vec<TableSize>,
}

/// How much is in a ledger. All of it is read.
///
/// # Errors
/// When it cannot be read.
pub fn sizes(location: &LedgerPlace) -> Result<Sizes, LedgerError> {
    let connection = schema::open_at(location)?;
    connection.allow_long_questions().and_then(|()| read(&connection)).map_err(|fault| fault.at(location))
}

fn read(connection: &Connection) -> Result<Sizes, Fault> {
    let bytes = match connection {
        Connection::Sqlite(_) => {
            "SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE name IN (SELECT name FROM sqlite_schema WHERE tbl_name = ?1)"
        }
        Connection::Postgres(_) => "SELECT coalesce(pg_total_relation_size(to_regclass(?1)), 0)",
    };
    let size = |Table { name, .. }: &Table| {
        let rows: i64 = connection.value(&format!("SELECT count(*) FROM {name}"), ())?;
        let bytes: i64 = connection.value(bytes, [*name])?;
        Ok(TableSize { table: name, rows: rows.cast_unsigned(), bytes: bytes.cast_unsigned() })
    };
    let mut tables: Vec<TableSize> = tables::all().iter().map(size).collect::<Result<_, Fault>>()?;
    tables.sort_by_key(|table| (std::cmp::Reverse(table.bytes), table.table));
    Ok(Sizes { schema: meta::number(connection, "schema")?, epoch: meta::number(connection, "epoch")?, tables })
}
