//! Reads a ledger without taking it over: for `get`, beside a running process or without one.

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc};

use super::{
    BadRow, LedgerPlace, RunCounts, RunId, RunKey, RunRecord, ServerDay, Usage,
    database::{Connection, params},
    error::{Fault, LedgerError},
    held, runs, schema,
};
use crate::resources::{Bar, campaign::OutcomeState, fate::Fate};

/// The number of rows read at a time: a slow reader must not hold up checkpoints of the writer's log.
const ROWS_AT_A_TIME: i64 = 4096;

/// A read-only ledger. It takes no lock.
#[derive(Debug)]
pub struct LedgerReader {
    connection: Connection,
    name: String,
}

/// A run and its progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunSummary {
    /// Its identity, its times and what is known of its audience.
    pub record: RunRecord,
    /// The number of messages by fate.
    pub counts: RunCounts,
}

/// What became of one recipient of a run so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientRow {
    /// Its number in the run: the order in which recipients were first claimed.
    pub seq: u64,
    /// The address.
    pub recipient: String,
    /// What has become of it.
    pub fate: Fate,
    /// Attempts made so far.
    pub attempt: u32,
    /// `namespace/name` of the last server.
    pub server: Option<String>,
    /// When the state last changed, in milliseconds since 1970.
    pub updated_at_ms: i64,
    /// When the next attempt is due, in milliseconds since 1970.
    pub next_attempt_at_ms: Option<i64>,
    /// How often it was resent although the outcome of an attempt was unknown.
    pub resent: u32,
    /// The server's reply, or why the template failed.
    pub reply: Option<String>,
}

impl LedgerReader {
    /// Opens the ledger of a state folder.
    ///
    /// # Errors
    /// `Missing` if there is none, `Corrupt` or `NewerVersion` if it cannot be understood, `NotPermitted` without permission to
    /// read.
    pub fn open(location: impl Into<LedgerPlace>) -> Result<Self, LedgerError> {
        let location = location.into();
        Ok(Self { connection: schema::open_at(&location)?, name: location.to_string() })
    }

    /// Whether it can be asked again.
    pub(super) fn is_usable(&self) -> bool {
        self.connection.is_usable()
    }

    /// All runs, in the order in which they began.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn runs(&self) -> Result<Vec<RunSummary>, LedgerError> {
        self.read(|connection| runs::all_runs(connection)?.into_iter().map(|record| summary(connection, record)).collect())
    }

    /// Servers that are out of use for a run, by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn bars(&self, run: RunId) -> Result<BTreeMap<Arc<str>, Bar>, LedgerError> {
        held::bars(&self.connection, run).map_err(|fault| fault.at(&self.name))
    }

    /// What servers sent on each UTC day.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn days(&self) -> Result<Vec<ServerDay>, LedgerError> {
        runs::days(&self.connection).map_err(|fault| fault.at(&self.name))
    }

    /// What counts towards limits, from this minute since 1970 on.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn usage_since(&self, minute: i64) -> Result<Vec<Usage>, LedgerError> {
        runs::usage_since(&self.connection, minute).map_err(|fault| fault.at(&self.name))
    }

    /// One run.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn run(&self, key: &RunKey) -> Result<Option<RunSummary>, LedgerError> {
        self.read(|connection| runs::find_run(connection, key)?.map(|record| summary(connection, record)).transpose())
    }

    /// Passes each recipient of a run to `each`, in order, until it breaks; only those with one of `fates`, unless that is empty.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn recipients(&self, run: RunId, fates: &[Fate], mut each: impl FnMut(RecipientRow) -> ControlFlow<()>) -> Result<(), LedgerError> {
        let fates = fates.iter().fold(0_i64, |bits, fate| bits | 1 << fate.number());
        let mut after = 0;
        while let Some(last) = self.read(|connection| stretch(connection, run, fates, after, &mut each))? {
            after = last;
        }
        Ok(())
    }

    /// Passes the address of each recipient with one of `states` to `each`, until it breaks: first those with such an outcome, in the order
    /// of their claims, and then the others of whom such an event came, each once.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn recipients_in(
        &self,
        run: RunId,
        states: &[OutcomeState],
        mut each: impl FnMut(String) -> ControlFlow<()>,
    ) -> Result<(), LedgerError> {
        let fates: Vec<Fate> = states.iter().filter_map(|state| state.fate()).collect();
        let mut flow = ControlFlow::Continue(());
        if !fates.is_empty() {
            self.recipients(run, &fates, |row| {
                flow = each(row.recipient);
                flow
            })?;
        }
        let kinds = states.iter().filter_map(|state| state.event()).fold(0_i64, |bits, kind| bits | 1 << kind.number());
        if flow.is_break() || kinds == 0 {
            return Ok(());
        }
        let fates = fates.iter().fold(0_i64, |bits, fate| bits | 1 << fate.number());
        self.read(|connection| {
            // An event that names no message has its person's address, which may be that of one with a message.
            let mut statement = connection.prepare(
                "SELECT DISTINCT coalesce(m.recipient, e.person) FROM events e
                 LEFT JOIN messages m ON m.run_id = e.run_id AND m.partition = e.partition AND m.seq = e.seq AND e.seq > 0
                 WHERE e.run_id = ?1 AND ((?2 >> CAST(e.kind AS INTEGER)) & 1) = 1
                    AND coalesce((?3 >> CAST(m.state AS INTEGER)) & 1, 0) = 0 AND (m.seq IS NOT NULL OR e.person <> '')",
            )?;
            let mut rows = statement.query(params![run.0, kinds, fates])?;
            while let Some(row) = rows.next()? {
                if each(row.get(0)?).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// The rows of the audience that could not be used, by line; the first 1,000 are kept.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn bad_rows(&self, run: RunId) -> Result<Vec<BadRow>, LedgerError> {
        self.read(|connection| {
            let mut statement = connection.prepare("SELECT line, what FROM bad_rows WHERE run_id = ?1 ORDER BY line, what")?;
            statement.all([run.0], |row| Ok(BadRow { line: row.get::<i64>(0)?.cast_unsigned(), what: row.get(1)? }))
        })
    }

    pub(super) fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, LedgerError> {
        work(&self.connection).map_err(|fault| fault.at(&self.name))
    }
}

fn summary(connection: &Connection, record: RunRecord) -> Result<RunSummary, Fault> {
    let counts = runs::counts(connection, record.id)?;
    Ok(RunSummary { record, counts })
}

/// Reads a stretch of rows of a run; returns the last number read, or `None` if there are no more rows or the caller has enough.
fn stretch(
    connection: &Connection,
    run: RunId,
    fates: i64,
    after: i64,
    each: &mut impl FnMut(RecipientRow) -> ControlFlow<()>,
) -> Result<Option<i64>, Fault> {
    // Fates are filtered here and not in the query, so that each query is short however few rows match.
    let mut statement = connection.prepare(
        "SELECT m.seq, m.state, m.recipient, m.attempt, s.name, m.updated_at_ms, m.next_attempt_at_ms, m.resent, m.reply
         FROM messages m LEFT JOIN servers s ON s.id = m.server_id WHERE m.run_id = ?1 AND m.partition = 0 AND m.seq > ?2 ORDER BY m.seq LIMIT ?3",
    )?;
    let mut rows = statement.query(params![run.0, after, ROWS_AT_A_TIME])?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(0)?;
        last = Some(seq);
        let Some(fate) = Fate::from_number(row.get(1)?) else { continue };
        if fates != 0 && fates & 1 << fate.number() == 0 {
            continue;
        }
        let found = RecipientRow {
            seq: seq.cast_unsigned(),
            recipient: row.get(2)?,
            fate,
            attempt: row.get(3)?,
            server: row.get(4)?,
            updated_at_ms: row.get(5)?,
            next_attempt_at_ms: row.get(6)?,
            resent: row.get(7)?,
            reply: row.get(8)?,
        };
        if each(found).is_break() {
            return Ok(None);
        }
    }
    Ok(last)
}
