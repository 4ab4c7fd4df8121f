//! Many rows of a group commit by one statement, for PostgreSQL: each statement is a round trip, and has its price.

use std::collections::{HashMap, HashSet};

use super::{
    super::{
        RunId,
        database::{Connection, IS_OPEN, Value},
        error::Fault,
    },
    Row,
};
use crate::resources::fate::Fate;

/// A column of many rows.
enum Cells<'a> {
    Integers(Vec<Option<i64>>),
    Texts(Vec<Option<&'a str>>),
}

impl Cells<'_> {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Integers(numbers) => Value::Integers(numbers),
            Self::Texts(texts) => Value::Texts(texts),
        }
    }
}

/// A message that is added.
pub(super) struct NewRow<'a> {
    pub run: RunId,
    pub seq: u64,
    pub recipient: &'a str,
    pub state: i64,
    pub attempt: u32,
    pub server: Option<i64>,
    pub reply: Option<&'a str>,
}

/// What becomes of a message that was claimed.
#[derive(Clone, Copy)]
pub(super) struct EndedRow<'a> {
    pub run: RunId,
    pub seq: u64,
    pub state: i64,
    pub at_ms: Option<i64>,
    pub reply: Option<&'a str>,
    pub fields: Option<&'a str>,
    pub server: Option<i64>,
    pub resent: i64,
    pub uncounted: i64,
    pub refusals: Option<&'a str>,
}

/// Adds messages.
pub(super) fn append(connection: &Connection, rows: &[NewRow<'_>], now_ms: i64, epoch: i64) -> Result<(), Fault> {
    if rows.is_empty() {
        return Ok(());
    }
    let columns = [
        integers(rows, |row| Some(row.run.0)),
        integers(rows, |row| Some(row.seq.cast_signed())),
        texts(rows, |row| Some(row.recipient)),
        integers(rows, |row| Some(row.state)),
        integers(rows, |row| Some(row.attempt.into())),
        integers(rows, |row| row.server),
        texts(rows, |row| row.reply),
    ];
    post(
        connection,
        "INSERT INTO messages (run_id, partition, seq, recipient, state, attempt, server_id, updated_at_ms, resent, reply, epoch)
         SELECT run, 0, seq, recipient, state, attempt, server, ?1, 0, reply, ?2
         FROM unnest(?3, ?4, ?5, ?6, ?7, ?8, ?9) AS new (run, seq, recipient, state, attempt, server, reply)",
        &[now_ms, epoch],
        &columns,
    )
}

/// Writes what became of messages, of those that are still claimed; returns which these were.
pub(super) fn end(connection: &Connection, rows: &[EndedRow<'_>], now_ms: i64) -> Result<HashSet<(RunId, u64)>, Fault> {
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let columns = [
        integers(rows, |row| Some(row.run.0)),
        integers(rows, |row| Some(row.seq.cast_signed())),
        integers(rows, |row| Some(row.state)),
        integers(rows, |row| row.at_ms),
        texts(rows, |row| row.reply),
        texts(rows, |row| row.fields),
        integers(rows, |row| row.server),
        integers(rows, |row| Some(row.resent)),
        integers(rows, |row| Some(row.uncounted)),
        texts(rows, |row| row.refusals),
        // As columns, since a planner without statistics takes what is the same for all rows to leave one of them, and reads the table.
        integers(rows, |_| Some(0)),
        integers(rows, |_| Some(Fate::Claimed.number())),
    ];
    let values: Vec<Value<'_>> = std::iter::once(Value::Integer(now_ms)).chain(columns.iter().map(Cells::value)).collect();
    connection.all_open(
        &format!("UPDATE messages AS m SET state = o.state, updated_at_ms = ?1, next_attempt_at_ms = o.at_ms, reply = o.reply, fields = o.fields,
            server_id = o.server, resent = m.resent + o.resent,
            attempt = CASE WHEN m.attempt > o.uncounted THEN m.attempt - o.uncounted ELSE 0 END,
            refusals = CASE WHEN o.fields IS NULL THEN NULL ELSE coalesce(o.refusals, m.refusals) END,
            since_ms = CASE WHEN o.fields IS NULL THEN m.since_ms ELSE coalesce(m.since_ms, m.updated_at_ms) END
         FROM unnest(?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
            AS o (run, seq, state, at_ms, reply, fields, server, resent, uncounted, refusals, partition, was)
         WHERE m.run_id = o.run AND m.partition = o.partition AND m.seq = o.seq AND m.state = o.was AND {IS_OPEN}
         RETURNING m.run_id, m.seq"),
        &*values,
        |row| Ok((RunId(row.get(0)?), row.get::<i64>(1)?.cast_unsigned())),
    )
}

/// Messages as they are now, of those that are there.
pub(super) fn read(connection: &Connection, messages: impl Iterator<Item = (RunId, u64)>) -> Result<HashMap<(RunId, u64), Row>, Fault> {
    let messages: Vec<(RunId, u64)> = messages.collect();
    if messages.is_empty() {
        return Ok(HashMap::new());
    }
    let columns = [
        integers(&messages, |(run, _)| Some(run.0)),
        integers(&messages, |(_, seq)| Some(seq.cast_signed())),
        integers(&messages, |_| Some(0)),
    ];
    let values: Vec<Value<'_>> = columns.iter().map(Cells::value).collect();
    let found: Vec<Option<((RunId, u64), Row)>> = connection.all(
        "SELECT m.run_id, m.seq, m.state, m.server_id, m.epoch, m.resent FROM unnest(?1, ?2, ?3) AS o (run, seq, partition)
         JOIN messages AS m ON m.run_id = o.run AND m.partition = o.partition AND m.seq = o.seq",
        &*values,
        |row| {
            let key = (RunId(row.get(0)?), row.get::<i64>(1)?.cast_unsigned());
            Ok(Row::read(row, 2)?.map(|row| (key, row)))
        },
    )?;
    Ok(found.into_iter().flatten().collect())
}

/// Adds to sums, each of which is there once.
pub(super) fn add_counts(connection: &Connection, sums: &[(i64, i64, i64, i64)]) -> Result<(), Fault> {
    let columns = [
        integers(sums, |sum| Some(sum.0)),
        integers(sums, |sum| Some(sum.1)),
        integers(sums, |sum| Some(sum.2)),
        integers(sums, |sum| Some(sum.3)),
    ];
    // In one order, so that no two transactions wait for each other.
    post(
        connection,
        "INSERT INTO counts (run_id, state, server_id, count)
         SELECT run, state, server, by FROM unnest(?1, ?2, ?3, ?4) AS new (run, state, server, by) ORDER BY 1, 2, 3
         ON CONFLICT (run_id, state, server_id) DO UPDATE SET count = counts.count + excluded.count",
        &[],
        &columns,
    )
}

/// Adds to the usage of keys in minutes, each of which is there once.
pub(super) fn add_usage(connection: &Connection, sums: &[(&str, i64, i64)]) -> Result<(), Fault> {
    let columns = [texts(sums, |sum| Some(sum.0)), integers(sums, |sum| Some(sum.1)), integers(sums, |sum| Some(sum.2))];
    post(
        connection,
        "INSERT INTO usage (minute, key, count)
         SELECT minute, key, by FROM unnest(?1, ?2, ?3) AS new (key, minute, by) ORDER BY 1, 2
         ON CONFLICT (minute, key) DO UPDATE SET count = usage.count + excluded.count",
        &[],
        &columns,
    )
}

fn post(connection: &Connection, sql: &str, numbers: &[i64], columns: &[Cells<'_>]) -> Result<(), Fault> {
    let values: Vec<Value<'_>> = numbers.iter().map(|number| Value::Integer(*number)).chain(columns.iter().map(Cells::value)).collect();
    connection.post(sql, &*values)
}

fn integers<'a, T>(rows: &[T], of: impl Fn(&T) -> Option<i64>) -> Cells<'a> {
    Cells::Integers(rows.iter().map(of).collect())
}

fn texts<'a, T>(rows: &'a [T], of: impl Fn(&'a T) -> Option<&'a str>) -> Cells<'a> {
    Cells::Texts(rows.iter().map(of).collect())
}
