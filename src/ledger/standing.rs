//! What came of the messages of each server, and the pauses of servers of which too much came back.

use std::collections::{BTreeMap, HashMap};

use super::{
    Changes, RunId,
    database::{Connection, Row, Value, params},
    error::{Fault, LedgerError},
    writer::{RunState, Writer},
};
use crate::{
    feedback::{Change, Judged, Pause, PauseChange, Returned, Standing},
    meta::Reason,
    resources::{Key, fate::Fate, resume::Handled},
};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 86_400_000;

/// Adds to the row of an hour, or of what followed a pause that ended within it.
const ADD: &str = "INSERT INTO results (server_id, from_ms, namespace, accepted, rejected, bounced, complained)
    VALUES (?1, coalesce((SELECT max(ended_at_ms) FROM pauses
        WHERE server_id = ?1 AND namespace IN ('', ?2) AND ended_at_ms <= ?3 AND ended_at_ms > ?3 - ?3 % 3600000), ?3 - ?3 % 3600000),
        ?2, ?4, ?5, ?6, ?7)
    ON CONFLICT (server_id, from_ms, namespace) DO UPDATE SET accepted = results.accepted + excluded.accepted,
        rejected = results.rejected + excluded.rejected, bounced = results.bounced + excluded.bounced,
        complained = results.complained + excluded.complained";

/// The results of a server since a time, each namespace's from when its last pause ended, or the server's.
const SINCE: &str = "SELECT namespace, CAST(sum(accepted) AS BIGINT), CAST(sum(rejected) AS BIGINT), CAST(sum(bounced) AS BIGINT),
        CAST(sum(complained) AS BIGINT) FROM results
    WHERE server_id = ?1 AND from_ms >= ?2 AND from_ms >= coalesce((SELECT max(ended_at_ms) FROM pauses p
        WHERE p.server_id = ?1 AND p.namespace IN ('', results.namespace)), 0)
    GROUP BY namespace";

/// What is asked of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingOf {
    /// `namespace/name` of the server.
    pub server: String,
    /// From when on its results are wanted, milliseconds since 1970; not when absent.
    pub since_ms: Option<i64>,
    /// From which UTC day on, counted since 1970, the results of whole days are wanted; not when absent.
    pub since_day: Option<i64>,
}

impl StandingOf {
    /// What is asked of a server from when on: its results, and those of whole days.
    #[must_use]
    pub fn new(server: &Key, (since_ms, since_day): (Option<i64>, Option<i64>)) -> Self {
        Self { server: server.to_string(), since_ms, since_day }
    }
}

/// What the ledger knows of a server beside its messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerRecord {
    /// How it does.
    pub standing: Standing,
    /// Requests to resume it that were carried out.
    pub resume_handled: Handled,
}

impl Writer {
    /// Begins and ends pauses, all or none.
    pub(super) fn change_pauses(&mut self, changes: &[PauseChange], now_ms: i64) -> Result<(), LedgerError> {
        for change in changes {
            let server = self.server_id(&change.server.to_string())?.0;
            self.book.transaction(|connection| apply(connection, server, &change.what, now_ms))?;
        }
        Ok(())
    }
}

/// Begins or ends pauses of a server.
pub(super) fn apply(connection: &Connection, server: i64, change: &Change, now_ms: i64) -> Result<(), Fault> {
    match change {
        Change::Begins(pause) => {
            connection.execute(
                "INSERT INTO pauses (server_id, namespace, since_ms, reason, message, ends_at_ms) SELECT ?1, ?2, ?3, ?4, ?5, ?6
                 WHERE NOT EXISTS (SELECT 1 FROM pauses WHERE server_id = ?1 AND namespace = ?2 AND (ended_at_ms IS NULL OR since_ms = ?3))",
                params![
                    server,
                    pause.namespace.as_deref().unwrap_or_default(),
                    now_ms,
                    pause.reason.as_str(),
                    pause.message,
                    pause.ends_at_ms
                ],
            )?;
        }
        Change::End => {
            connection.execute(
                "UPDATE pauses SET ended_at_ms = ?2 WHERE server_id = ?1 AND ended_at_ms IS NULL AND ends_at_ms <= ?2",
                [server, now_ms],
            )?;
        }
        Change::Resumes { token, namespace } => {
            connection.execute(
                "UPDATE pauses SET ended_at_ms = coalesce(ended_at_ms, ?2), by_person = 1
                 WHERE server_id = ?1 AND by_person = 0 AND (?3 IS NULL OR namespace = ?3)",
                params![server, now_ms, namespace],
            )?;
            let known: Option<String> = connection.value("SELECT resume_handled FROM servers WHERE id = ?1", [server])?;
            let mut handled = Handled::read(known.as_deref().unwrap_or_default());
            handled.note(token);
            connection.execute("UPDATE servers SET resume_handled = ?2 WHERE id = ?1", params![server, handled.text()])?;
        }
    }
    Ok(())
}

/// Notes the outcomes of a commit: one row for each server and namespace, whatever the number of messages.
pub(super) fn note_outcomes(connection: &Connection, changes: &Changes, runs: &HashMap<RunId, RunState>, now_ms: i64) -> Result<(), Fault> {
    for change in changes.counts.iter().filter(|change| change.by > 0) {
        let by = change.by.cast_unsigned();
        let judged = match change.fate {
            Fate::Accepted => Judged { accepted: by, ..Judged::default() },
            Fate::Rejected => Judged { rejected: by, ..Judged::default() },
            _ => continue,
        };
        if let (Some(server), Some(run)) = (change.server, runs.get(&change.run_id)) {
            note(connection, server.0, &run.namespace, judged, now_ms)?;
        }
    }
    Ok(())
}

/// Adds to what came of the messages that a server took at this time.
pub(super) fn note(connection: &Connection, server: i64, namespace: &str, judged: Judged, at_ms: i64) -> Result<(), Fault> {
    let Judged { accepted, rejected, bounced, complained } = judged;
    let count = |number: u64| number.cast_signed();
    let (accepted, rejected, bounced, complained) = (count(accepted), count(rejected), count(bounced), count(complained));
    connection.post(ADD, params![server, namespace, at_ms, accepted, rejected, bounced, complained])
}

/// Makes one row of the hours of each day before `by_day`, keeps one of the pauses that began on it, and forgets those before `kept`;
/// both milliseconds since 1970, at the start of a day.
pub(super) fn roll(connection: &Connection, by_day: i64, kept: i64) -> Result<(), Fault> {
    connection.execute("DELETE FROM results WHERE from_ms < ?1", [kept])?;
    connection.execute("DELETE FROM pauses WHERE ended_at_ms < ?1", [kept])?;
    // A server may be paused and come back by itself for as long as nobody looks.
    connection.execute(
        "DELETE FROM pauses WHERE ended_at_ms < ?1 AND EXISTS (SELECT 1 FROM pauses later WHERE later.server_id = pauses.server_id
            AND later.namespace = pauses.namespace AND later.since_ms > pauses.since_ms
            AND later.since_ms / 86400000 = pauses.since_ms / 86400000)",
        [by_day],
    )?;
    connection.execute(
        "INSERT INTO results (server_id, from_ms, namespace, accepted, rejected, bounced, complained)
         SELECT server_id, from_ms / 86400000 * 86400000, namespace, CAST(sum(accepted) AS BIGINT), CAST(sum(rejected) AS BIGINT),
            CAST(sum(bounced) AS BIGINT), CAST(sum(complained) AS BIGINT)
         FROM results WHERE from_ms < ?1 AND from_ms % 86400000 <> 0 GROUP BY 1, 2, 3
         ON CONFLICT (server_id, from_ms, namespace) DO UPDATE SET accepted = results.accepted + excluded.accepted,
            rejected = results.rejected + excluded.rejected, bounced = results.bounced + excluded.bounced,
            complained = results.complained + excluded.complained",
        [by_day],
    )?;
    connection.execute("DELETE FROM results WHERE from_ms < ?1 AND from_ms % 86400000 <> 0", [by_day])?;
    Ok(())
}

/// What is known of servers: the pauses and requests of all, and the results of those that are asked for.
pub(super) fn standings(connection: &Connection, asked: &[StandingOf]) -> Result<BTreeMap<String, ServerRecord>, Fault> {
    let mut records: BTreeMap<String, ServerRecord> = BTreeMap::new();
    let mut statement = connection.prepare("SELECT name, resume_handled FROM servers WHERE resume_handled IS NOT NULL")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        records.entry(row.get(0)?).or_default().resume_handled = Handled::read(&row.get::<String>(1)?);
    }
    drop(rows);
    pauses(connection, &mut records)?;
    // Of most servers of a large fleet nothing is asked.
    let asked = asked.iter().filter(|asked| asked.since_ms.is_some() || asked.since_day.is_some() || records.contains_key(&asked.server));
    let asked: Vec<&StandingOf> = asked.collect();
    let names = asked.iter().map(|asked| params![asked.server].to_vec());
    let ids: Vec<Option<i64>> = connection.row_of_each("SELECT id FROM servers WHERE name = ?1", names, |row| row.get(0))?;
    let known: Vec<(i64, &StandingOf)> = ids.into_iter().zip(asked).filter_map(|(id, asked)| Some((id?, asked))).collect();
    results(connection, &known, &mut records)?;
    days(connection, &known, &mut records)?;
    for (id, StandingOf { server, .. }) in known {
        let standing = &mut records.entry(server.clone()).or_default().standing;
        // Few have returned from a pause.
        if let Some(returned) = &mut standing.returned {
            returned.taken = taken(connection, id, returned.at_ms)?;
        }
    }
    Ok(records)
}

/// Adds the pauses that hold, and what is to be known of earlier ones.
fn pauses(connection: &Connection, records: &mut BTreeMap<String, ServerRecord>) -> Result<(), Fault> {
    let mut statement = connection.prepare(
        "SELECT s.name, p.namespace, p.since_ms, p.reason, p.message, p.ends_at_ms, p.ended_at_ms, p.by_person
         FROM pauses p JOIN servers s ON s.id = p.server_id ORDER BY p.server_id, p.namespace, p.since_ms",
    )?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let standing = &mut records.entry(row.get(0)?).or_default().standing;
        let namespace: String = row.get(1)?;
        let (since_ms, ended_at_ms): (i64, Option<i64>) = (row.get(2)?, row.get(6)?);
        let is_whole = namespace.is_empty();
        if is_whole {
            standing.paused_on.insert(since_ms.div_euclid(DAY_MS));
            let by_itself = ended_at_ms.filter(|_| matches!(row.get(7), Ok(false)));
            standing.returned = by_itself.map(|at_ms| Returned { at_ms, taken: 0 });
        }
        if ended_at_ms.is_none() {
            standing.pauses.push(Pause {
                namespace: (!is_whole).then(|| namespace.into()),
                reason: Reason::from_name(&row.get::<String>(3)?).unwrap_or(Reason::BounceRateTooHigh),
                message: row.get(4)?,
                ends_at_ms: row.get(5)?,
            });
        }
    }
    Ok(())
}

/// Adds the results of servers of which they are asked.
fn results(connection: &Connection, known: &[(i64, &StandingOf)], records: &mut BTreeMap<String, ServerRecord>) -> Result<(), Fault> {
    let asked: Vec<(i64, &StandingOf, i64)> =
        known.iter().filter_map(|(id, asked)| Some((*id, *asked, asked.since_ms?.div_euclid(HOUR_MS) * HOUR_MS))).collect();
    let each = asked.iter().map(|(id, _, since_ms)| vec![Value::Integer(*id), Value::Integer(*since_ms)]);
    let found = connection.all_of_each(SINCE, each, |row| Ok((row.get::<String>(0)?.into(), judged(row)?)))?;
    for ((_, asked, _), found) in asked.iter().zip(found) {
        records.entry(asked.server.clone()).or_default().standing.results = found.into_iter().collect();
    }
    Ok(())
}

/// Adds the days of servers of which they are asked.
fn days(connection: &Connection, known: &[(i64, &StandingOf)], records: &mut BTreeMap<String, ServerRecord>) -> Result<(), Fault> {
    let asked: Vec<(i64, &StandingOf, i64)> =
        known.iter().filter_map(|(id, asked)| Some((*id, *asked, asked.since_day?.saturating_mul(DAY_MS)))).collect();
    let each = asked.iter().map(|(id, _, from_ms)| vec![Value::Integer(*id), Value::Integer(*from_ms)]);
    let found = connection.all_of_each(
        "SELECT from_ms / 86400000, CAST(sum(accepted) AS BIGINT), CAST(sum(rejected) AS BIGINT), CAST(sum(bounced) AS BIGINT),
            CAST(sum(complained) AS BIGINT) FROM results
         WHERE server_id = ?1 AND from_ms >= ?2 GROUP BY 1",
        each,
        |row| Ok((row.get(0)?, judged(row)?)),
    )?;
    for ((_, asked, _), found) in asked.iter().zip(found) {
        records.entry(asked.server.clone()).or_default().standing.days = found.into_iter().collect();
    }
    Ok(())
}

/// The four sums behind the first column.
pub(super) fn judged(row: &Row<'_>) -> Result<Judged, Fault> {
    let count = |at: usize| Ok::<_, Fault>(row.get::<i64>(at)?.max(0).cast_unsigned());
    Ok(Judged { accepted: count(1)?, rejected: count(2)?, bounced: count(3)?, complained: count(4)? })
}

fn taken(connection: &Connection, server: i64, since_ms: i64) -> Result<u64, Fault> {
    let taken: i64 = connection.value(
        "SELECT CAST(coalesce(sum(accepted + rejected), 0) AS BIGINT) FROM results WHERE server_id = ?1 AND from_ms >= ?2",
        [server, since_ms],
    )?;
    Ok(taken.max(0).cast_unsigned())
}
