//! Who was mailed through a server, by address and namespace: for events that name no message.
//!
//! The ledger has no index of addresses, which each claim would pay for. Such events are few, since messages carry a reference
//! wherever a vendor takes one; so all messages of the server's runs are read for a batch of them, beside the thread that writes,
//! and for a bounded time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    LedgerError, LedgerReader,
    database::{Connection, params},
    error::Fault,
};
use crate::{
    audience::canonical,
    feedback::{Event, MessageIdentity},
    meta::Key,
    resources::fate::Fate,
};

/// How long messages are read for one batch of events; some vendors wait 10 s for an answer.
const TIME_MAX: Duration = Duration::from_secs(3);
/// The number of rows read at a time: a slow reader must not hold up checkpoints of the writer's log.
const ROWS_AT_A_TIME: i64 = 4096;

/// In which namespaces people are left out of whom an event without a message came, by server and person.
pub(super) type Concerned = BTreeMap<(Key, String), BTreeSet<Arc<str>>>;

/// The recipient of an event that names one.
pub(super) fn person(event: &Event) -> Option<String> {
    event.recipient.as_deref().filter(|address| address.contains('@')).map(|address| canonical(address).into_owned())
}

/// Whom the events that name no message are about, by the server that told it.
fn sought(events: &[Event]) -> BTreeMap<Key, BTreeSet<String>> {
    let mut sought: BTreeMap<Key, BTreeSet<String>> = BTreeMap::new();
    for event in events.iter().filter(|event| event.kind.suppresses().is_some()) {
        if let (MessageIdentity::VendorId { server, .. } | MessageIdentity::Recipient { server }, Some(person)) =
            (&event.message, person(event))
        {
            sought.entry(server.clone()).or_default().insert(person);
        }
    }
    sought
}

/// Whether some of these events name no message, so that [`concerned`] has something to find.
pub(super) fn is_asked_for(events: &[Event]) -> bool {
    !sought(events).is_empty()
}

/// Finds the namespaces that mailed these people through the server. Where none did, it is the server's own, whose account the
/// person knows. Where there is no time to find out, it is every namespace whose campaigns the server has sent: nobody is mailed
/// against their word.
///
/// # Errors
/// When the database cannot be read.
pub(super) fn concerned(reader: &LedgerReader, events: &[Event], time_max: Option<Duration>) -> Result<Concerned, LedgerError> {
    let until = Instant::now() + time_max.unwrap_or(TIME_MAX);
    let mut concerned = Concerned::new();
    for (server, people) in sought(events) {
        let found = reader.read(|connection| Search { connection, until }.of_server(&server, &people))?;
        concerned.extend(found.into_iter().map(|(person, namespaces)| ((server.clone(), person), namespaces)));
    }
    Ok(concerned)
}

/// A run that a server has sent messages of.
struct SentRun {
    id: i64,
    namespace: Arc<str>,
    server: i64,
}

struct Search<'a> {
    connection: &'a Connection,
    until: Instant,
}

type Found = BTreeMap<String, BTreeSet<Arc<str>>>;

impl Search<'_> {
    fn of_server(&self, server: &Key, people: &BTreeSet<String>) -> Result<Found, Fault> {
        let own: Arc<str> = Arc::from(&*server.namespace);
        let runs = self.runs(&server.to_string())?;
        let mut found: Found = people.iter().map(|person| (person.clone(), BTreeSet::new())).collect();
        // Whatever is found, it can be no other.
        if runs.iter().any(|run| run.namespace != own) && !self.read(&runs, &mut found)? {
            let all: BTreeSet<Arc<str>> = runs.iter().map(|run| run.namespace.clone()).collect();
            found.values_mut().for_each(|namespaces| namespaces.clone_from(&all));
        }
        for namespaces in found.values_mut().filter(|namespaces| namespaces.is_empty()) {
            namespaces.insert(own.clone());
        }
        Ok(found)
    }

    /// The runs that a server has sent, the newest first.
    fn runs(&self, server: &str) -> Result<Vec<SentRun>, Fault> {
        let mut statement = self.connection.prepare(
            "SELECT DISTINCT r.id, r.namespace, s.id FROM servers s JOIN counts c ON c.server_id = s.id JOIN runs r ON r.id = c.run_id
             WHERE s.name = ?1 ORDER BY r.id DESC",
        )?;
        statement.all([server], |row| Ok(SentRun { id: row.get(0)?, namespace: row.get::<String>(1)?.into(), server: row.get(2)? }))
    }

    /// Reads the messages of these runs; returns whether there was time for all of them.
    fn read(&self, runs: &[SentRun], found: &mut Found) -> Result<bool, Fault> {
        for run in runs {
            let mut after = 0;
            // Who is known to have been mailed in a namespace is not looked for in its older runs.
            while found.values().any(|namespaces| !namespaces.contains(&run.namespace)) {
                if Instant::now() >= self.until {
                    return Ok(false);
                }
                let Some(last) = self.stretch(run, after, found)? else { break };
                after = last;
            }
        }
        Ok(true)
    }

    /// Reads some rows of a run; returns the number of the last, or `None` if there were no more.
    fn stretch(&self, run: &SentRun, after: i64, found: &mut Found) -> Result<Option<i64>, Fault> {
        let mut statement = self.connection.prepare(
            "SELECT seq, recipient, state, server_id FROM messages WHERE run_id = ?1 AND partition = 0 AND seq > ?2 ORDER BY seq LIMIT ?3",
        )?;
        let mut rows = statement.query(params![run.id, after, ROWS_AT_A_TIME])?;
        let mut last = None;
        while let Some(row) = rows.next()? {
            last = Some(row.get(0)?);
            let is_mailed = matches!(Fate::from_number(row.get(2)?), Some(Fate::Claimed | Fate::Accepted | Fate::Unknown));
            if is_mailed && row.get::<Option<i64>>(3)? == Some(run.server) {
                let recipient = row.text(1).unwrap_or_default();
                if let Some(namespaces) = found.get_mut(&*canonical(recipient)) {
                    namespaces.insert(run.namespace.clone());
                }
            }
        }
        Ok(last)
    }
}
