//! Who is not mailed: the list, and the look-up of each claim in it.

use super::{
    Claim,
    database::{Connection, Row, params},
    error::{Fault, LedgerError},
    writer::{RunState, Suppressing, Writer},
};
use crate::{
    audience::canonical,
    feedback::{Person, Suppression},
    meta::bound::shortened,
    token::Keys,
};

/// The most characters of a detail that are kept.
const DETAIL_CHARS: usize = 250;
/// What keys are derived for.
const PURPOSE: &str = "forgotten person";
/// The bytes of a hash that are kept.
const HASH_BYTES: usize = 16;

impl Suppressing {
    pub(super) fn of(connection: &Connection, namespace: &str) -> Result<Self, Fault> {
        let anybody = connection.value("SELECT EXISTS (SELECT 1 FROM suppressions WHERE namespace = ?1)", [namespace])?;
        let forgotten = connection.value(
            "SELECT EXISTS (SELECT 1 FROM suppressions WHERE namespace = ?1 AND person >= 'forgotten:' AND person < 'forgotten;')",
            [namespace],
        )?;
        Ok(Self { anybody, forgotten })
    }

    fn note(&mut self, person: &Person) {
        self.anybody = true;
        self.forgotten |= matches!(person, Person::Forgotten(_));
    }
}

impl Writer {
    /// Remembers that people of these namespaces are suppressed now.
    pub(super) fn note_suppressed<'a>(&mut self, added: impl Iterator<Item = &'a Suppression>) {
        for suppression in added {
            for state in self.runs.values_mut().filter(|state| state.namespace == suppression.namespace) {
                state.suppressing.note(&suppression.person);
            }
        }
    }

    /// Adds to the list; returns how many were not in it.
    pub(super) fn suppress(&mut self, suppressions: &[Suppression]) -> Result<u64, LedgerError> {
        let added = self.book.transaction(|connection| {
            let mut added = 0;
            for suppression in suppressions {
                added += u64::from(add(connection, suppression)?);
            }
            Ok(added)
        })?;
        self.note_suppressed(suppressions.iter());
        Ok(added)
    }

    /// Removes from the list what has the same namespace, person, topic and reason; returns how many there were.
    pub(super) fn unsuppress(&mut self, suppressions: &[Suppression]) -> Result<u64, LedgerError> {
        self.book.transaction(|connection| {
            let mut removed = 0;
            let mut statement =
                connection.prepare("DELETE FROM suppressions WHERE namespace = ?1 AND person = ?2 AND topic = ?3 AND reason = ?4")?;
            for suppression in suppressions {
                let Suppression { namespace, person, topic, reason, .. } = suppression;
                let (person, topic) = (person.text(), topic.as_deref().unwrap_or_default());
                removed += statement.execute(params![namespace, person, topic, reason.as_str()])?;
            }
            Ok(removed)
        })
    }
}

/// Adds a suppression, unless it is there; returns whether it was added.
pub(super) fn add(connection: &Connection, suppression: &Suppression) -> Result<bool, Fault> {
    let Suppression { namespace, person, topic, reason, at_ms, source, detail } = suppression;
    let mut statement = connection.prepare(
        "INSERT INTO suppressions (namespace, person, topic, reason, at_ms, source, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT DO NOTHING",
    )?;
    let topic = topic.as_deref().unwrap_or_default();
    let added = statement.execute(params![
        namespace.as_ref(),
        person.text(),
        topic,
        reason.as_str(),
        at_ms,
        source.as_ref(),
        shortened(detail, DETAIL_CHARS)
    ])?;
    Ok(added == 1)
}

/// Why the recipient of a claim is not mailed, and what stands for a person who was forgotten; `None` if nothing speaks against it.
pub(super) fn why(
    connection: &Connection,
    run: &RunState,
    keys: Option<&Keys>,
    claim: &Claim,
) -> Result<Option<(String, Option<String>)>, Fault> {
    let person = canonical(&claim.recipient);
    let mut names = vec![person.clone().into_owned()];
    if run.suppressing.forgotten {
        names.extend(keys.into_iter().flat_map(|keys| hashes(keys, &run.namespace, &person)));
    }
    let mut statement = connection.prepare(
        "SELECT reason, topic, at_ms, source FROM suppressions WHERE namespace = ?1 AND person = ?2 AND (topic = '' OR topic = ?3) LIMIT 1",
    )?;
    for name in names {
        let mut rows = statement.query(params![run.namespace.as_ref(), &name, claim.topic.as_deref()])?;
        if let Some(row) = rows.next()? {
            let words = words(&row)?;
            return Ok(Some((words, (name != person).then_some(name))));
        }
    }
    Ok(None)
}

fn words(row: &Row<'_>) -> Result<String, Fault> {
    let (reason, topic, at_ms, source): (String, String, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
    let of = if topic.is_empty() { String::new() } else { format!(" from topic {topic}") };
    let day = jiff::Timestamp::from_millisecond(at_ms).map(|at| at.strftime("%Y-%m-%d").to_string()).unwrap_or_default();
    Ok(format!("{reason}{of} since {day} ({source}); not mailed"))
}

/// What stands for an address whose person was forgotten, by each key: first that of the key for what is new.
pub(super) fn hashes<'a>(keys: &'a Keys, namespace: &'a str, person: &'a str) -> impl Iterator<Item = String> + 'a {
    keys.ids().filter_map(move |id| {
        let mac = keys.mac(id, PURPOSE, format!("{namespace}\0{person}").as_bytes())?;
        let hex: String = mac.iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect();
        Some(format!("{}{id}:{hex}", Person::MARK))
    })
}

/// A suppression as read from the ledger: namespace, person, topic, reason, `at_ms`, source, detail.
pub(super) fn read(row: &Row<'_>) -> Result<Option<Suppression>, Fault> {
    let (topic, reason): (String, String) = (row.get(2)?, row.get(3)?);
    // A reason of a newer version is not known here.
    let Ok(reason) = reason.parse() else { return Ok(None) };
    Ok(Some(Suppression {
        namespace: row.get::<String>(0)?.into(),
        person: Person::read(row.get(1)?),
        topic: Some(topic).filter(|topic| !topic.is_empty()).map(Into::into),
        reason,
        at_ms: row.get(4)?,
        source: row.get::<String>(5)?.into(),
        detail: row.get(6)?,
    }))
}
