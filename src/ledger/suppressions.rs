//! Who is not mailed: the list, and the look-up of each claim in it.

use std::collections::HashMap;

use super::{
    Claim, RunId,
    database::{Connection, Row, Value},
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
const ADD: &str = "INSERT INTO suppressions (namespace, person, topic, reason, at_ms, source, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
    ON CONFLICT DO NOTHING";
/// The columns of its key.
const KEY_COLUMNS: usize = 4;
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
        let people: Vec<String> = suppressions.iter().map(|suppression| suppression.person.text()).collect();
        let added = self.book.transaction(|connection| {
            let each = suppressions.iter().zip(&people).map(|(suppression, person)| columns(suppression, person));
            let added = connection.row_of_each(&format!("{ADD} RETURNING 1"), each, |_| Ok(()))?;
            Ok(added.iter().flatten().count() as u64)
        })?;
        self.note_suppressed(suppressions.iter());
        Ok(added)
    }

    /// Removes from the list what has the same namespace, person, topic and reason; returns how many there were.
    pub(super) fn unsuppress(&mut self, suppressions: &[Suppression]) -> Result<u64, LedgerError> {
        let people: Vec<String> = suppressions.iter().map(|suppression| suppression.person.text()).collect();
        self.book.transaction(|connection| {
            let each = suppressions.iter().zip(&people).map(|(suppression, person)| {
                let mut values = columns(suppression, person);
                values.truncate(KEY_COLUMNS);
                values
            });
            let remove = "DELETE FROM suppressions WHERE namespace = ?1 AND person = ?2 AND topic = ?3 AND reason = ?4 RETURNING 1";
            let removed = connection.row_of_each(remove, each, |_| Ok(()))?;
            Ok(removed.iter().flatten().count() as u64)
        })
    }
}

/// Adds a suppression, unless it is there; returns whether it was added.
pub(super) fn add(connection: &Connection, suppression: &Suppression) -> Result<bool, Fault> {
    Ok(connection.execute(ADD, &*columns(suppression, &suppression.person.text()))? == 1)
}

/// A suppression as the columns of its table, of which the first four are the key; `person` is its text.
fn columns<'s>(suppression: &'s Suppression, person: &'s str) -> Vec<Value<'s>> {
    let Suppression { namespace, topic, reason, at_ms, source, detail, .. } = suppression;
    let key = [&**namespace, person, topic.as_deref().unwrap_or_default(), reason.as_str()].map(Value::Text);
    let others = [Value::Integer(*at_ms), Value::Text(source), Value::Text(shortened(detail, DETAIL_CHARS))];
    key.into_iter().chain(others).collect()
}

/// Why the recipient of a claim is not mailed.
pub(super) struct NotMailed {
    pub why: String,
    /// What stands for a person who was forgotten.
    pub hash: Option<String>,
}

/// A claim whose recipient is looked up, by the address and, where people were forgotten, by what would stand for it.
struct Asked<'a> {
    namespace: &'a str,
    person: String,
    hashes: Vec<String>,
    topic: &'a str,
}

impl<'a> Asked<'a> {
    fn new(run: &'a RunState, keys: Option<&Keys>, claim: &'a Claim) -> Self {
        let (namespace, person) = (&*run.namespace, canonical(&claim.recipient).into_owned());
        let keys = keys.filter(|_| run.suppressing.forgotten);
        let hashes = keys.into_iter().flat_map(|keys| hashes(keys, namespace, &person)).collect();
        Self { namespace, person, hashes, topic: claim.topic.as_deref().unwrap_or_default() }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.person).chain(&self.hashes).map(String::as_str)
    }

    /// What a row that was found for a name means: reason, topic, `at_ms`, source, from this column on.
    fn found(&self, name: &str, row: &Row<'_>, from: usize) -> Result<NotMailed, Fault> {
        Ok(NotMailed { why: words(row, from)?, hash: (name != self.person).then(|| name.to_owned()) })
    }
}

/// Why the recipients of claims are not mailed: for each claim, `None` if nothing speaks against it.
pub(super) fn why(
    connection: &Connection,
    runs: &HashMap<RunId, RunState>,
    keys: Option<&Keys>,
    claims: &[Claim],
) -> Result<Vec<Option<NotMailed>>, Fault> {
    let asked = claims.iter().map(|claim| {
        let run = runs.get(&claim.run_id).filter(|run| run.suppressing.anybody)?;
        Some(Asked::new(run, keys, claim))
    });
    let asked: Vec<Option<Asked<'_>>> = asked.collect();
    if asked.iter().all(Option::is_none) {
        return Ok(asked.iter().map(|_| None).collect());
    }
    if matches!(connection, Connection::Postgres(_)) { why_together(connection, &asked) } else { why_one_by_one(connection, &asked) }
}

fn why_one_by_one(connection: &Connection, asked: &[Option<Asked<'_>>]) -> Result<Vec<Option<NotMailed>>, Fault> {
    let mut statement = connection.prepare(
        "SELECT reason, topic, at_ms, source FROM suppressions WHERE namespace = ?1 AND person = ?2 AND (topic = '' OR topic = ?3) LIMIT 1",
    )?;
    let mut why = |asked: &Asked<'_>| {
        for name in asked.names() {
            if let Some(found) = statement.row([asked.namespace, name, asked.topic], |row| asked.found(name, row, 0))? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    };
    asked.iter().map(|asked| asked.as_ref().map_or(Ok(None), &mut why)).collect()
}

/// The same by one statement, where each has its price.
fn why_together(connection: &Connection, asked: &[Option<Asked<'_>>]) -> Result<Vec<Option<NotMailed>>, Fault> {
    let mut found: Vec<Option<NotMailed>> = asked.iter().map(|_| None).collect();
    let (mut numbers, mut namespaces, mut names, mut topics) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (number, asked) in (0_i64..).zip(asked) {
        for (asked, name) in asked.iter().flat_map(|asked| asked.names().map(move |name| (asked, name))) {
            numbers.push(Some(number));
            namespaces.push(Some(asked.namespace));
            names.push(Some(name));
            topics.push(Some(asked.topic));
        }
    }
    let columns = [Value::Integers(&numbers), Value::Texts(&namespaces), Value::Texts(&names), Value::Texts(&topics)];
    let rows: Vec<(usize, NotMailed)> = connection.all(
        "SELECT o.number, o.person, s.reason, s.topic, s.at_ms, s.source
         FROM unnest(?1, ?2, ?3, ?4) AS o (number, namespace, person, topic)
         JOIN suppressions AS s ON s.namespace = o.namespace AND s.person = o.person AND (s.topic = '' OR s.topic = o.topic)",
        columns,
        |row| {
            let number = usize::try_from(row.count(0)?).unwrap_or(usize::MAX);
            let asked = asked.get(number).and_then(Option::as_ref);
            let asked = asked.ok_or_else(|| Fault::conflict(format_args!("claim {number} was never looked up")))?;
            Ok((number, asked.found(row.text(1)?, row, 2)?))
        },
    )?;
    for (number, why) in rows {
        found[number].get_or_insert(why);
    }
    Ok(found)
}

fn words(row: &Row<'_>, from: usize) -> Result<String, Fault> {
    let (reason, topic, source): (String, String, String) = (row.get(from)?, row.get(from + 1)?, row.get(from + 3)?);
    let at_ms = row.get(from + 2)?;
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
