//! SQLite, by rusqlite: a file beside the campaign, opened for reading alone.
//!
//! The query comes from whoever writes campaigns, and the file from anybody: neither may reach another file, or memory without a bound.

use std::time::{Duration as StdDuration, Instant};

use rusqlite::{Connection, OpenFlags, config::DbConfig, limits::Limit, types::ValueRef};
use serde_json::{Map, Number, Value};

use super::{
    super::{Blocker, NamedFile, ROW_MAX, unreadable},
    Query, Sink,
    client::{quoted, wrong_parameters},
    take_columns,
};
use crate::meta::Duration;

/// How long a writer of the file is waited for.
const BUSY_TIMEOUT: StdDuration = StdDuration::from_secs(5);
/// Steps of SQLite's machine between two looks at the clock.
const STEPS: i32 = 10_000;

/// Runs the query, and passes its rows on. It blocks.
pub(super) fn run(file: &NamedFile, query: &Query, sink: &mut Sink) -> Result<(), Blocker> {
    let (began, limit, closed) = (Instant::now(), query.timeout, sink.closed());
    let place = file.name().display();
    let fail = |error: rusqlite::Error| {
        if began.elapsed() >= limit {
            let limit = Duration::from(limit);
            return unreadable(format!("{place}: the query took longer than {limit}; make it faster, or raise `timeout`"));
        }
        unreadable(format!("{place}: SQLite refuses the query: {}", quoted(&error.to_string())))
    };
    let path = file.resolve()?;
    let mut connection =
        Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(fail)?;
    confine(&connection).map_err(fail)?;
    let stop = closed.clone();
    connection.progress_handler(STEPS, Some(move || stop.is_cancelled() || began.elapsed() >= limit)).map_err(fail)?;
    let mut statement = connection.prepare(&query.text).map_err(fail)?;
    // What gives no rows is not run: ATTACH reads, and would open another file.
    let columns = take_columns(sink, statement.column_names().map(Into::into).collect())?;
    if !statement.readonly() {
        return Err(unreadable(format!("{place}: the query writes; only a query that reads can be an audience")));
    }
    if statement.parameter_count() != query.parameters.len() {
        return Err(wrong_parameters(&place.to_string(), statement.parameter_count(), query.parameters.len()));
    }
    let mut rows = statement.query(rusqlite::params_from_iter(&query.parameters)).map_err(fail)?;
    while let Some(row) = rows.next().map_err(fail)? {
        let mut object = Map::with_capacity(columns.names.len());
        for (index, name) in columns.names.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            object.insert(name.to_string(), value(row.get_ref(index).map_err(fail)?));
        }
        sink.row(&Value::Object(object).to_string())?;
        if closed.is_cancelled() {
            break;
        }
    }
    Ok(())
}

/// Keeps it to this file, and to rows that may be mailed.
fn confine(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, i32::try_from(ROW_MAX).unwrap_or(i32::MAX))?;
    Ok(())
}

/// A value as JSON: a text, a number, nothing, or bytes in hexadecimal where they are no text.
fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => Number::from_f64(number).map_or(Value::Null, Value::Number),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => super::text(bytes).into(),
    }
}
