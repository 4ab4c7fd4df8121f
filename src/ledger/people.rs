//! What the ledger knows of one person, and who is not mailed: for people who ask.

use std::ops::ControlFlow;

use super::{
    LedgerError, LedgerReader, RecipientRow, RunKey,
    database::{Connection, params},
    error::Fault,
    suppressions::{self, hashes},
};
use crate::{
    audience::canonical,
    feedback::{EventKind, Person, Suppression},
    token::Keys,
};

/// The number of rows read at a time: a slow reader must not hold up checkpoints of the writer's log.
const ROWS_AT_A_TIME: i64 = 4096;

/// Something that the ledger knows of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// A message, as it stands.
    Message {
        /// The run in which it was claimed.
        run: RunKey,
        /// Where it stands.
        message: RecipientRow,
    },
    /// Something that came back.
    Event {
        /// The run whose message it is about.
        run: RunKey,
        /// What happened.
        event: EventRow,
    },
    /// A reason not to mail the person.
    Suppression(Suppression),
}

/// An event of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// What happened.
    pub kind: EventKind,
    /// Through which server the message was sent.
    pub server: Option<String>,
    /// When it happened, in milliseconds since 1970.
    pub at_ms: i64,
    /// Who told it.
    pub source: String,
    /// What was said.
    pub detail: String,
}

impl LedgerReader {
    /// Passes each suppression to `each`, by namespace and person, until it breaks.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn suppressions(&self, namespace: Option<&str>, mut each: impl FnMut(Suppression) -> ControlFlow<()>) -> Result<(), LedgerError> {
        let mut after = (String::new(), String::new(), String::new(), String::new());
        loop {
            let is_over = self.read(|connection| {
                let mut statement = connection.prepare(
                    "SELECT namespace, person, topic, reason, at_ms, source, detail FROM suppressions
                     WHERE (namespace, person, topic, reason) > (?1, ?2, ?3, ?4) AND (?5 IS NULL OR namespace = ?5)
                     ORDER BY namespace, person, topic, reason LIMIT ?6",
                )?;
                let mut rows = statement.query(params![after.0, after.1, after.2, after.3, namespace, ROWS_AT_A_TIME])?;
                let mut is_over = true;
                while let Some(row) = rows.next()? {
                    is_over = false;
                    after = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
                    if let Some(suppression) = suppressions::read(&row)?
                        && each(suppression).is_break()
                    {
                        return Ok(true);
                    }
                }
                Ok(is_over)
            })?;
            if is_over {
                return Ok(());
            }
        }
    }

    /// The suppressions of a person in a namespace, by topic and reason.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn suppressions_of(&self, namespace: &str, person: &Person) -> Result<Vec<Suppression>, LedgerError> {
        self.read(|connection| of_person(connection, namespace, &person.text()))
    }

    /// Everything about a person, by run, the oldest first, and suppressions at the end. It reads all messages, since there is no
    /// index of addresses. With keys, a person who was forgotten is found too.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn known(&self, address: &str, namespace: Option<&str>, keys: Option<&Keys>) -> Result<Vec<Known>, LedgerError> {
        let person = canonical(address);
        let mut known = Vec::new();
        let mut namespaces = Vec::new();
        for run in self.runs()? {
            let key = run.record.key;
            if namespace.is_some_and(|namespace| namespace != key.namespace) {
                continue;
            }
            if !namespaces.contains(&key.namespace) {
                namespaces.push(key.namespace.clone());
            }
            let is_it = |recipient: &str| recipient.len() >= 3 && canonical(recipient) == person;
            let mut messages = Vec::new();
            self.recipients(run.record.id, &[], |row| {
                if is_it(&row.recipient) {
                    messages.push(row);
                }
                ControlFlow::Continue(())
            })?;
            let mut events = self.read(|connection| events(connection, run.record.id.0, 0, &person))?;
            for row in messages {
                let seq = row.seq.cast_signed();
                known.push(Known::Message { run: key.clone(), message: row });
                events.extend(self.read(|connection| self::events(connection, run.record.id.0, seq, ""))?);
            }
            events.sort_by_key(|event| event.at_ms);
            known.extend(events.into_iter().map(|event| Known::Event { run: key.clone(), event }));
        }
        self.read(|connection| {
            let mut statement = connection.prepare("SELECT DISTINCT namespace FROM suppressions WHERE ?1 IS NULL OR namespace = ?1")?;
            let more: Vec<String> = statement.all([namespace], |row| row.get(0))?;
            namespaces.extend(more.into_iter().filter(|name| !namespaces.contains(name)).collect::<Vec<_>>());
            namespaces.sort();
            for namespace in &namespaces {
                let hashes = keys.into_iter().flat_map(|keys| hashes(keys, namespace, &person));
                for name in std::iter::once(person.clone().into_owned()).chain(hashes) {
                    known.extend(of_person(connection, namespace, &name)?.into_iter().map(Known::Suppression));
                }
            }
            Ok(())
        })?;
        Ok(known)
    }
}

fn of_person(connection: &Connection, namespace: &str, person: &str) -> Result<Vec<Suppression>, Fault> {
    let mut statement = connection.prepare(
        "SELECT namespace, person, topic, reason, at_ms, source, detail FROM suppressions
         WHERE namespace = ?1 AND person = ?2 ORDER BY topic, reason",
    )?;
    let found: Vec<Option<Suppression>> = statement.all([namespace, person], suppressions::read)?;
    Ok(found.into_iter().flatten().collect())
}

/// The events of a message, or of a person of whom the run knows no message in particular.
fn events(connection: &Connection, run: i64, seq: i64, person: &str) -> Result<Vec<EventRow>, Fault> {
    let mut statement = connection.prepare(
        "SELECT e.kind, s.name, e.at_ms, e.source, e.detail FROM events e LEFT JOIN servers s ON s.id = e.server_id
         WHERE e.run_id = ?1 AND e.partition = 0 AND e.seq = ?2 AND e.person = ?3",
    )?;
    let rows: Vec<Option<EventRow>> = statement.all(params![run, seq, person], |row| {
        let (kind, server, at_ms) = (row.get::<i64>(0)?, row.get(1)?, row.get(2)?);
        let (source, detail) = (row.get(3)?, row.get(4)?);
        Ok(EventKind::from_number(kind).map(|kind| EventRow { kind, server, at_ms, source, detail }))
    })?;
    Ok(rows.into_iter().flatten().collect())
}
