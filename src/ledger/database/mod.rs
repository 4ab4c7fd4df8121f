//! The database behind a ledger, as the SQL of this room sees it.
//!
//! Each statement is written once, in the part of SQL that SQLite and PostgreSQL read alike: parameters are `?1`, numbers are 64 bits
//! wide, texts are compared byte by byte, truth is asked for and never stored. What one of the two does better by other statements
//! (a group commit, housekeeping) asks which one it is.

mod housekeeping;
mod postgres;

use std::{borrow::Cow, sync::Arc};

pub use self::postgres::DatabasePlace;
pub(super) use self::postgres::{Ended, IS_OPEN, Session, tables};
use self::postgres::{Integer, Truth};
use super::error::Fault;

/// A connection to a ledger's database.
#[derive(Debug)]
pub(super) enum Connection {
    /// A file of the state folder.
    Sqlite(rusqlite::Connection),
    /// A database elsewhere.
    Postgres(Box<Session>),
}

/// A statement that is executed several times.
pub(super) enum Statement<'c> {
    Sqlite(rusqlite::CachedStatement<'c>),
    /// With the rows of its last execution.
    Postgres(&'c Session, Box<str>, Vec<tokio_postgres::Row>),
}

/// The rows of a query, one after the other.
pub(super) enum Rows<'s> {
    Sqlite(rusqlite::Rows<'s>),
    Postgres(std::slice::Iter<'s, tokio_postgres::Row>),
}

/// A row of a query.
pub(super) enum Row<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
    Postgres(&'r tokio_postgres::Row),
}

/// What a parameter is, even where it has no value: PostgreSQL must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    Text,
}

/// The value of a parameter.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Integer(i64),
    Text(&'a str),
    Null(Kind),
    /// One for each of many rows, which PostgreSQL takes apart by `unnest`.
    Integers(&'a [Option<i64>]),
    /// The same of texts.
    Texts(&'a [Option<&'a str>]),
}

/// What can be a parameter.
pub(super) trait ToValue {
    const KIND: Kind;
    fn to_value(&self) -> Value<'_>;
}

/// The parameters of one execution.
pub(super) trait Values {
    /// Hands them to `to`.
    fn pass<T>(&self, to: impl FnOnce(&[Value<'_>]) -> T) -> T;
}

/// What can be read from a column.
pub(super) trait Column: Sized {
    fn of_sqlite(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<Self>;
    fn of_postgres(row: &tokio_postgres::Row, index: usize) -> Result<Self, tokio_postgres::Error>;
}

/// Parameters of different types.
macro_rules! params {
    ($($value:expr),* $(,)?) => { [$($crate::ledger::database::ToValue::to_value(&$value)),*] };
}
pub(super) use params;

impl Connection {
    /// Several statements without parameters.
    pub(super) fn execute_batch(&self, sql: &str) -> Result<(), Fault> {
        match self {
            Self::Sqlite(connection) => Ok(connection.execute_batch(sql)?),
            Self::Postgres(session) => session.execute_batch(sql),
        }
    }

    /// What errors call the database.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Sqlite(connection) => connection.path().unwrap_or("the ledger"),
            Self::Postgres(session) => &session.name,
        }
    }

    /// Whether it can be asked: the line to a database elsewhere may be lost.
    pub(super) fn is_usable(&self) -> bool {
        match self {
            Self::Sqlite(_) => true,
            Self::Postgres(session) => !session.is_lost(),
        }
    }

    /// Has it asked no more, as if its line were lost.
    pub(super) fn give_up(&self) {
        if let Self::Postgres(session) = self {
            session.give_up();
        }
    }

    /// A statement, compiled once for each connection.
    pub(super) fn prepare(&self, sql: &str) -> Result<Statement<'_>, Fault> {
        match self {
            Self::Sqlite(connection) => Ok(Statement::Sqlite(connection.prepare_cached(sql)?)),
            Self::Postgres(session) => Ok(Statement::Postgres(session, sql.into(), Vec::new())),
        }
    }

    /// Executes a statement; returns how many rows it changed.
    pub(super) fn execute(&self, sql: &str, values: impl Values) -> Result<u64, Fault> {
        self.prepare(sql)?.execute(values)
    }

    /// Executes a statement of which nobody needs to know what it changed. A database elsewhere gets it with what comes next, where its
    /// error shows too.
    pub(super) fn post(&self, sql: &str, values: impl Values) -> Result<(), Fault> {
        match self {
            Self::Sqlite(_) => self.execute(sql, values).map(drop),
            Self::Postgres(session) => values.pass(|values| session.post(sql, values)),
        }
    }

    /// Every row of a query that changes nothing unless [`IS_OPEN`] holds. A database elsewhere gets it together with the beginning of
    /// the transaction.
    pub(super) fn all_open<T, C: FromIterator<T>>(
        &self,
        sql: &str,
        values: impl Values,
        mut read: impl FnMut(&Row<'_>) -> Result<T, Fault>,
    ) -> Result<C, Fault> {
        match self {
            Self::Sqlite(_) => self.all(sql, values, read),
            Self::Postgres(session) => {
                let rows = values.pass(|values| session.query_open(sql, values))?;
                rows.iter().map(|row| read(&Row::Postgres(row))).collect()
            }
        }
    }

    /// The first row of a query, if there is one.
    pub(super) fn row<T>(
        &self,
        sql: &str,
        values: impl Values,
        read: impl FnOnce(&Row<'_>) -> Result<T, Fault>,
    ) -> Result<Option<T>, Fault> {
        self.prepare(sql)?.row(values, read)
    }

    /// Every row of a query for each of many lists of values. A database elsewhere gets them together.
    pub(super) fn all_of_each<'v, T>(
        &self,
        sql: &str,
        each: impl IntoIterator<Item = Vec<Value<'v>>>,
        mut read: impl FnMut(&Row<'_>) -> Result<T, Fault>,
    ) -> Result<Vec<Vec<T>>, Fault> {
        match self {
            Self::Sqlite(_) => {
                let mut statement = self.prepare(sql)?;
                each.into_iter().map(|values| statement.all(&*values, &mut read)).collect()
            }
            Self::Postgres(session) => {
                let each: Vec<Vec<Value<'v>>> = each.into_iter().collect();
                let found = session.query_each(sql, &each)?;
                found.iter().map(|rows| rows.iter().map(|row| read(&Row::Postgres(row))).collect()).collect()
            }
        }
    }

    /// The first row, if there is one, of a query for each of many lists of values.
    pub(super) fn row_of_each<'v, T>(
        &self,
        sql: &str,
        each: impl IntoIterator<Item = Vec<Value<'v>>>,
        read: impl FnMut(&Row<'_>) -> Result<T, Fault>,
    ) -> Result<Vec<Option<T>>, Fault> {
        let found = self.all_of_each(sql, each, read)?;
        Ok(found.into_iter().map(|rows| rows.into_iter().next()).collect())
    }

    /// The row of a query that always has one.
    pub(super) fn value<T: Column>(&self, sql: &str, values: impl Values) -> Result<T, Fault> {
        let found = self.row(sql, values, |row| row.get(0))?;
        found.ok_or_else(|| Fault::conflict(format_args!("a row that is always there is missing")))
    }

    /// Every row of a query.
    pub(super) fn all<T, C: FromIterator<T>>(
        &self,
        sql: &str,
        values: impl Values,
        read: impl FnMut(&Row<'_>) -> Result<T, Fault>,
    ) -> Result<C, Fault> {
        self.prepare(sql)?.all(values, read)
    }
}

impl Statement<'_> {
    pub(super) fn execute(&mut self, values: impl Values) -> Result<u64, Fault> {
        match self {
            Self::Sqlite(statement) => Ok(values.pass(|values| statement.execute(rusqlite::params_from_iter(values)))? as u64),
            Self::Postgres(session, sql, _) => values.pass(|values| session.execute(sql, values)),
        }
    }

    pub(super) fn query(&mut self, values: impl Values) -> Result<Rows<'_>, Fault> {
        match self {
            Self::Sqlite(statement) => Ok(Rows::Sqlite(values.pass(|values| statement.query(rusqlite::params_from_iter(values)))?)),
            Self::Postgres(session, sql, rows) => {
                *rows = values.pass(|values| session.query(sql, values))?;
                Ok(Rows::Postgres(rows.iter()))
            }
        }
    }

    pub(super) fn row<T>(&mut self, values: impl Values, read: impl FnOnce(&Row<'_>) -> Result<T, Fault>) -> Result<Option<T>, Fault> {
        let mut rows = self.query(values)?;
        rows.next()?.map(|row| read(&row)).transpose()
    }

    pub(super) fn all<T, C: FromIterator<T>>(
        &mut self,
        values: impl Values,
        mut read: impl FnMut(&Row<'_>) -> Result<T, Fault>,
    ) -> Result<C, Fault> {
        let mut rows = self.query(values)?;
        std::iter::from_fn(|| rows.next().transpose().map(|row| row.and_then(|row| read(&row)))).collect()
    }
}

impl Rows<'_> {
    pub(super) fn next(&mut self) -> Result<Option<Row<'_>>, Fault> {
        match self {
            Self::Sqlite(rows) => Ok(rows.next()?.map(Row::Sqlite)),
            Self::Postgres(rows) => Ok(rows.next().map(Row::Postgres)),
        }
    }
}

impl Row<'_> {
    /// The value of a column, counted from 0.
    pub(super) fn get<T: Column>(&self, index: usize) -> Result<T, Fault> {
        match self {
            Self::Sqlite(row) => Ok(T::of_sqlite(row, index)?),
            Self::Postgres(row) => Ok(T::of_postgres(row, index)?),
        }
    }

    /// The text of a column, without a copy.
    pub(super) fn text(&self, index: usize) -> Result<&str, Fault> {
        match self {
            Self::Sqlite(row) => Ok(row
                .get_ref(index)?
                .as_str()
                .map_err(|error| rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, Box::new(error)))?),
            Self::Postgres(row) => Ok(row.try_get(index)?),
        }
    }

    /// A count, which is never below 0.
    pub(super) fn count(&self, index: usize) -> Result<u64, Fault> {
        Ok(self.get::<i64>(index)?.max(0).cast_unsigned())
    }
}

/// Columns of PostgreSQL that are read as another type first, and those that are read as they are.
macro_rules! columns {
    ($($column:ty $(: $read:ty, $convert:expr)?);* $(;)?) => {
        $(impl Column for $column {
            fn of_sqlite(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<Self> {
                row.get(index)
            }
            fn of_postgres(row: &tokio_postgres::Row, index: usize) -> Result<Self, tokio_postgres::Error> {
                columns!(@read row, index $(, $read, $convert)?)
            }
        })*
    };
    (@read $row:ident, $index:ident) => { $row.try_get($index) };
    (@read $row:ident, $index:ident, $read:ty, $convert:expr) => { $row.try_get::<_, $read>($index).map($convert) };
}
columns! {
    i64: Integer, Integer::number;
    Option<i64>: Option<Integer>, |found| found.map(Integer::number);
    u32: Integer, Integer::small;
    Option<u32>: Option<Integer>, |found| found.map(Integer::small);
    bool: Truth, Truth::holds;
    String;
    Option<String>;
}

macro_rules! integers {
    ($($integer:ty),*) => {
        $(impl ToValue for $integer {
            const KIND: Kind = Kind::Integer;
            fn to_value(&self) -> Value<'_> {
                Value::Integer(i64::from(*self))
            }
        })*
    };
}
integers!(i64, i32, u32, bool);

impl ToValue for str {
    const KIND: Kind = Kind::Text;
    fn to_value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl ToValue for String {
    const KIND: Kind = Kind::Text;
    fn to_value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl ToValue for Arc<str> {
    const KIND: Kind = Kind::Text;
    fn to_value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl ToValue for Cow<'_, str> {
    const KIND: Kind = Kind::Text;
    fn to_value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl<T: ToValue + ?Sized> ToValue for &T {
    const KIND: Kind = T::KIND;
    fn to_value(&self) -> Value<'_> {
        (**self).to_value()
    }
}

impl<T: ToValue> ToValue for Option<T> {
    const KIND: Kind = T::KIND;
    fn to_value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null(T::KIND), ToValue::to_value)
    }
}

impl Values for () {
    fn pass<T>(&self, to: impl FnOnce(&[Value<'_>]) -> T) -> T {
        to(&[])
    }
}

impl<const N: usize> Values for [Value<'_>; N] {
    fn pass<T>(&self, to: impl FnOnce(&[Value<'_>]) -> T) -> T {
        to(self)
    }
}

impl Values for &[Value<'_>] {
    fn pass<T>(&self, to: impl FnOnce(&[Value<'_>]) -> T) -> T {
        to(self)
    }
}

impl<V: ToValue, const N: usize> Values for [V; N] {
    fn pass<T>(&self, to: impl FnOnce(&[Value<'_>]) -> T) -> T {
        to(&self.each_ref().map(ToValue::to_value))
    }
}

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        use rusqlite::types::{ToSqlOutput, ValueRef};
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Null(_) => ValueRef::Null,
            Self::Integers(_) | Self::Texts(_) => {
                return Err(rusqlite::Error::ToSqlConversionFailure("SQLite takes one row at a time".into()));
            }
        }))
    }
}
