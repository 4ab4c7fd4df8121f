//! What changed of objects, and when: conditions, states and specs, for the dashboard. Nothing is decided by it.
//!
//! It is bounded: of each object the newest rows are kept, and of all objects together the newest.

use super::{
    Ledger, LedgerReader, RunId,
    database::{Connection, Row, Value, params},
    error::{Fault, LedgerError},
    writer::Writer,
};
use crate::{
    audience::canonical,
    feedback::Judged,
    meta::bound,
    resources::{Key, fate::Fate},
};

/// Rows of one object that are kept.
const OF_OBJECT_MAX: i64 = 200;
/// Rows of all objects that are kept.
const ROWS_MAX: i64 = 200_000;
/// The bytes of a message that are kept.
const MESSAGE_MAX: usize = 2000;
/// The newest messages of a run among which failures are looked for.
const LOOKED_AT_MAX: i64 = 5_000;
/// The characters from which on a word at the end of a message may be an address that was cut off.
const CUT_MIN: usize = 4;
const HOUR_MS: i64 = 3_600_000;

/// Something that changed of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// When it was noticed, milliseconds since 1970.
    pub at_ms: i64,
    /// `SendingServer`, `Plan` or `Campaign`.
    pub kind: String,
    /// The object.
    pub key: Key,
    /// The generation of its spec.
    pub generation: i64,
    /// What changed: the type of a condition, `Spec`, or `Object`.
    pub what: String,
    /// What it is now: the status of the condition; `Added`, `Changed` or `Removed`.
    pub status: String,
    /// The state of the object then, where it has one.
    pub state: String,
    /// Why, as one word.
    pub reason: String,
    /// Why, in words; of a spec, the fields that changed, one a line.
    pub message: String,
}

/// A row of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryRow {
    /// Its number: later rows have larger ones.
    pub id: i64,
    /// What changed.
    pub transition: Transition,
}

/// Which rows of the history are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryOf {
    /// Those of this object, by kind and key; of all when absent.
    pub object: Option<(String, Key)>,
    /// Those of objects of this kind.
    pub kind: Option<String>,
    /// Those about this: the type of a condition, `Spec` or `Object`.
    pub what: Option<String>,
    /// Those of objects whose `namespace/name` contains this text.
    pub text: Option<String>,
    /// Those before this row.
    pub before: Option<i64>,
}

/// A message of a run that was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The address.
    pub recipient: String,
    /// What became of it.
    pub fate: Fate,
    /// `namespace/name` of the last server.
    pub server: Option<String>,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// The server's reply, or why the template failed.
    pub reply: Option<String>,
}

impl Ledger {
    /// Records what changed; all of it or nothing.
    ///
    /// # Errors
    /// When it cannot be written; nothing that is sent depends on it.
    pub async fn note_transitions(&self, transitions: Vec<Transition>) -> Result<(), LedgerError> {
        self.call(move |writer| writer.note_transitions(&transitions)).await
    }
}

impl Writer {
    fn note_transitions(&mut self, transitions: &[Transition]) -> Result<(), LedgerError> {
        self.book.transaction(|connection| write(connection, transitions, OF_OBJECT_MAX, ROWS_MAX))
    }
}

fn write(connection: &Connection, transitions: &[Transition], of_object: i64, all: i64) -> Result<(), Fault> {
    for one in transitions {
        let (namespace, name) = (&*one.key.namespace, &*one.key.name);
        let Transition { at_ms, kind, generation, what, status, state, reason, .. } = one;
        let message = bound::bounded(one.message.as_str().into(), MESSAGE_MAX);
        connection.post(
            "INSERT INTO history (at_ms, kind, namespace, name, generation, what, status, state, reason, message)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![at_ms, kind, namespace, name, generation, what, status, state, reason, message],
        )?;
        connection.post(
            "DELETE FROM history WHERE kind = ?1 AND namespace = ?2 AND name = ?3 AND id <= (SELECT id FROM history
                WHERE kind = ?1 AND namespace = ?2 AND name = ?3 ORDER BY id DESC LIMIT 1 OFFSET ?4)",
            params![kind, namespace, name, of_object],
        )?;
    }
    connection.post("DELETE FROM history WHERE id <= (SELECT max(id) FROM history) - ?1", [all])
}

/// Takes a person's address out of what was recorded, however it is written there; `person` is the canonical form.
pub(super) fn erase(connection: &Connection, person: &str) -> Result<u64, Fault> {
    let mut statement = connection.prepare("SELECT id, message FROM history WHERE message <> ''")?;
    let mut rows = statement.query(())?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        if is_named(row.text(1).unwrap_or_default(), person) {
            found.push(row.get::<i64>(0)?);
        }
    }
    let mut update = connection.prepare("UPDATE history SET message = '' WHERE id = ?1")?;
    for id in &found {
        update.execute([id])?;
    }
    Ok(found.len() as u64)
}

/// Whether a message names a person: as a word of it, or as its last word, which may have been cut off.
fn is_named(message: &str, person: &str) -> bool {
    let is_part = |c: char| !(c.is_whitespace() || c.is_control() || "<>()[]{},;:\"'`‹›«»„“”…|".contains(c));
    let mut words = message.split(|c: char| !is_part(c)).filter(|word| !word.is_empty());
    let is_them = |word: &str| word.contains('@') && canonical(word.trim_matches('.')) == person;
    let cut = message.rsplit(|c: char| !is_part(c)).next().unwrap_or_default().to_lowercase();
    let is_start = cut.len() >= CUT_MIN && person.starts_with(&*cut);
    is_start || message.to_lowercase().contains(person) || words.any(is_them)
}

const COLUMNS: &str = "id, at_ms, kind, namespace, name, generation, what, status, state, reason, message";

fn row(row: &Row<'_>) -> Result<HistoryRow, Fault> {
    let key = Key::new(row.get::<String>(3)?, row.get::<String>(4)?);
    let transition = Transition {
        at_ms: row.get(1)?,
        kind: row.get(2)?,
        key,
        generation: row.get(5)?,
        what: row.get(6)?,
        status: row.get(7)?,
        state: row.get(8)?,
        reason: row.get(9)?,
        message: row.get(10)?,
    };
    Ok(HistoryRow { id: row.get(0)?, transition })
}

impl LedgerReader {
    /// The newest rows of the history that are wanted, the newest first, `limit` at most.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn history(&self, of: &HistoryOf, limit: usize) -> Result<Vec<HistoryRow>, LedgerError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let (before, object) = (of.before.unwrap_or(i64::MAX), of.object.as_ref());
        let mut values = params![before, limit].to_vec();
        let mut clauses = vec!["id < ?1".to_owned()];
        let wanted = [
            ("kind", object.map(|(kind, _)| &**kind)),
            ("namespace", object.map(|(_, key)| &*key.namespace)),
            ("name", object.map(|(_, key)| &*key.name)),
            ("kind", of.kind.as_deref()),
            ("what", of.what.as_deref()),
        ];
        for (column, value) in wanted {
            if let Some(value) = value {
                values.push(Value::Text(value));
                clauses.push(format!("{column} = ?{}", values.len()));
            }
        }
        if let Some(text) = &of.text {
            values.push(Value::Text(text));
            clauses.push(format!("instr(lower(namespace || '/' || name), lower(?{})) > 0", values.len()));
        }
        let sql = format!("SELECT {COLUMNS} FROM history WHERE {} ORDER BY id DESC LIMIT ?2", clauses.join(" AND "));
        self.read(|connection| {
            let mut statement = connection.prepare(&sql)?;
            statement.all(&*values, row)
        })
    }

    /// The newest row of each thing of each object.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn newest_of_all(&self) -> Result<Vec<Transition>, LedgerError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM history WHERE id IN (SELECT max(id) FROM history GROUP BY kind, namespace, name, what) ORDER BY id"
        );
        self.read(|connection| {
            let mut statement = connection.prepare(&sql)?;
            statement.all((), |found| Ok(row(found)?.transition))
        })
    }

    /// What came of messages, by the hour (its start, milliseconds since 1970) in which a server took them: through one server, or through all.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn by_hour(&self, since_ms: i64, server: Option<&str>) -> Result<Vec<(i64, Judged)>, LedgerError> {
        self.sums(HOUR_MS, since_ms, server)
    }

    /// The same by the UTC day.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn by_day(&self, since_ms: i64, server: Option<&str>) -> Result<Vec<(i64, Judged)>, LedgerError> {
        self.sums(24 * HOUR_MS, since_ms, server)
    }

    fn sums(&self, per_ms: i64, since_ms: i64, server: Option<&str>) -> Result<Vec<(i64, Judged)>, LedgerError> {
        self.read(|connection| {
            // By server, so that only the rows of that time are read.
            let mut statement = connection.prepare(
                "SELECT r.from_ms / ?1 * ?1 AS at, CAST(sum(r.accepted) AS BIGINT), CAST(sum(r.rejected) AS BIGINT),
                    CAST(sum(r.bounced) AS BIGINT), CAST(sum(r.complained) AS BIGINT)
                 FROM servers s CROSS JOIN results r WHERE r.server_id = s.id AND r.from_ms >= ?2
                    AND (?3 IS NULL OR s.name = ?3) GROUP BY 1 ORDER BY 1",
            )?;
            statement.all(params![per_ms, since_ms, server], |row| Ok((row.get(0)?, super::standing::judged(row)?)))
        })
    }

    /// Messages of a run that were not accepted, among its newest, the newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn failures(&self, run: RunId) -> Result<Vec<Failure>, LedgerError> {
        let wanted = [Fate::Rejected, Fate::Expired, Fate::Unknown, Fate::RenderFailed, Fate::Held, Fate::Deferred];
        let wanted = wanted.into_iter().fold(0_i64, |bits, fate| bits | 1 << fate.number());
        self.read(|connection| {
            let mut statement = connection.prepare(
                "SELECT m.recipient, m.state, s.name, m.updated_at_ms, m.reply FROM messages m LEFT JOIN servers s ON s.id = m.server_id
                 WHERE m.run_id = ?1 AND m.partition = 0 AND ((?2 >> CAST(m.state AS INTEGER)) & 1) = 1
                    AND m.seq > (SELECT coalesce(max(seq), 0) FROM messages WHERE run_id = ?1 AND partition = 0) - ?3
                 ORDER BY m.seq DESC",
            )?;
            let mut rows = statement.query(params![run.0, wanted, LOOKED_AT_MAX])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let Some(fate) = Fate::from_number(row.get(1)?) else { continue };
                found.push(Failure { recipient: row.get(0)?, fate, server: row.get(2)?, at_ms: row.get(3)?, reply: row.get(4)? });
            }
            Ok(found)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transition(name: &str, number: i64) -> Transition {
        Transition {
            at_ms: number,
            kind: "SendingServer".into(),
            key: Key::new("ops", name),
            generation: 1,
            what: "Ready".into(),
            status: "False".into(),
            state: "Inactive".into(),
            reason: "TimedOut".into(),
            message: format!("{number} {}", "x".repeat(3 * MESSAGE_MAX)),
        }
    }

    #[test]
    fn the_newest_rows_of_an_object_and_of_all_are_kept() {
        let connection = Connection::in_memory().expect("a database");
        for number in 0..30 {
            write(&connection, &[transition("a", number), transition(&format!("b{number}"), number)], 5, 20).expect("written");
        }
        let ask = |sql: &str| connection.value::<i64>(sql, ()).expect("a number");
        assert_eq!(ask("SELECT count(*) FROM history WHERE name = 'a'"), 5);
        assert_eq!(ask("SELECT min(at_ms) FROM history WHERE name = 'a'"), 25);
        assert!(ask("SELECT count(*) FROM history") <= 20, "{}", ask("SELECT count(*) FROM history"));
        assert!(ask("SELECT max(length(message)) FROM history") <= i64::try_from(MESSAGE_MAX).expect("small"));
    }

    #[test]
    fn who_is_forgotten_is_in_no_message() {
        let connection = Connection::in_memory().expect("a database");
        let said = |message: &str| Transition { message: message.into(), ..transition("a", 1) };
        let named = [
            "550 <Ann@Example.com> is gone",
            "‹MÜLLER@exämple.de› is gone",
            "gone: müller@xn--exmple-cua.de.",
            "this was cut off behind müller@xn--ex",
        ];
        write(&connection, &named.map(said), 50, 50).expect("written");
        write(&connection, &[said("550 <bob@example.com> is gone"), said("a mül is a mill")], 50, 50).expect("written");
        assert_eq!(erase(&connection, "ann@example.com").expect("erased"), 1);
        assert_eq!(erase(&connection, "müller@xn--exmple-cua.de").expect("erased"), 3);
        let left: String = connection.value("SELECT group_concat(message) FROM history", ()).expect("a text");
        assert!(left.contains("bob@") && left.contains("mill") && !left.to_lowercase().contains("ann@"), "{left}");
    }
}
