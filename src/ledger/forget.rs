//! Removes what is known of a person; a keyed hash stays, so that the person is not mailed again.

use std::{ops::ControlFlow, sync::Arc};

use super::{
    Changes, Ledger, LedgerError, LedgerReader, RunId,
    database::{Connection, params},
    error::Fault,
    history,
    suppressions::{self, hashes},
    writer::Writer,
};
use crate::{
    audience::canonical,
    feedback::{Person, Suppression, SuppressionReason},
    resources::fate::Fate,
    token::Keys,
};

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Messages whose address, reply and fields are gone.
    pub messages: u64,
    /// Messages without a final outcome, which this process may be about to send: they end as `Suppressed`, and are removed by asking
    /// again.
    pub open: u64,
    /// Events whose address or words are gone.
    pub events: u64,
    /// Bad rows that named the address.
    pub bad_rows: u64,
    /// Entries of the list of people who are not mailed, each of which is a hash now.
    pub suppressions: u64,
}

impl Ledger {
    /// Removes what is known of a person in one namespace, or in all of them, and keeps a keyed hash instead, by which the person is
    /// not mailed again. The database is rewritten, so that nothing of it is left in its file or its log; sending waits meanwhile.
    ///
    /// # Errors
    /// Then something may have been removed already; asking again removes the rest.
    pub async fn forget(&self, address: &str, namespace: Option<&str>, keys: Keys, now_ms: i64) -> Result<Forgotten, LedgerError> {
        let person = canonical(address).into_owned();
        let shared = Arc::clone(&self.shared);
        let (wanted, only) = (person.clone(), namespace.map(str::to_owned));
        let search = move || shared.ask(|reader| find(reader, &wanted, only.as_deref()));
        let checked = keys.clone();
        self.call(move |writer| writer.check_keys(&checked)).await?;
        self.set_keys(keys.clone()).await?;
        // First of all nobody claims a message of the person any more; then all messages are searched, beside the writer.
        let (named, only, known) = (person.clone(), namespace.map(str::to_owned), keys.clone());
        let suppressions = self.call(move |writer| writer.suppress_forgotten(&named, only.as_deref(), &known, now_ms)).await?;
        let found = tokio::task::spawn_blocking(search).await.map_err(|_| LedgerError::closed())??;
        let forgotten = self.call(move |writer| writer.erase(&person, &keys, &found, now_ms)).await?;
        Ok(Forgotten { suppressions, ..forgotten })
    }
}

/// What of the ledger is about a person.
struct Found {
    messages: Vec<(RunId, String, u64)>,
    /// Runs of the namespaces that were asked for, with their namespace.
    runs: Vec<(RunId, String)>,
}

fn find(reader: &LedgerReader, person: &str, namespace: Option<&str>) -> Result<Found, LedgerError> {
    let mut found = Found { messages: Vec::new(), runs: Vec::new() };
    for run in reader.runs()? {
        let (id, key) = (run.record.id, run.record.key);
        if namespace.is_some_and(|namespace| namespace != key.namespace) {
            continue;
        }
        reader.recipients(id, &[], |row| {
            if canonical(&row.recipient) == person {
                found.messages.push((id, key.namespace.clone(), row.seq));
            }
            ControlFlow::Continue(())
        })?;
        found.runs.push((id, key.namespace));
    }
    Ok(found)
}

/// What stands for a person in a namespace from now on.
fn hash(keys: &Keys, namespace: &str, person: &str) -> Result<String, Fault> {
    hashes(keys, namespace, person).next().ok_or_else(|| Fault::conflict(format_args!("there is no key to hash the address with")))
}

impl Writer {
    /// Puts a hash of the person on the list, in each namespace that has runs or a list, and takes the address off it.
    fn suppress_forgotten(&mut self, person: &str, namespace: Option<&str>, keys: &Keys, now_ms: i64) -> Result<u64, LedgerError> {
        let (added, removed) = self.book.transaction(|connection| {
            let mut statement = connection.prepare(
                "SELECT namespace FROM runs WHERE ?1 IS NULL OR namespace = ?1 UNION
                 SELECT namespace FROM suppressions WHERE ?1 IS NULL OR namespace = ?1 UNION SELECT ?1 WHERE ?1 IS NOT NULL",
            )?;
            let namespaces: Vec<String> = statement.all([namespace], |row| row.get(0))?;
            let (mut added, mut removed) = (Vec::new(), 0);
            for namespace in namespaces {
                removed += connection.execute("DELETE FROM suppressions WHERE namespace = ?1 AND person = ?2", [&namespace, person])?;
                let suppression = Suppression {
                    person: Person::read(hash(keys, &namespace, person)?),
                    namespace: namespace.into(),
                    topic: None,
                    reason: SuppressionReason::Forgotten,
                    at_ms: now_ms,
                    source: "forget".into(),
                    detail: String::new(),
                };
                suppressions::add(connection, &suppression)?;
                added.push(suppression);
            }
            Ok((added, removed))
        })?;
        self.note_suppressed(added.iter());
        Ok(removed)
    }

    fn erase(&mut self, person: &str, keys: &Keys, found: &Found, now_ms: i64) -> Result<Forgotten, LedgerError> {
        self.book.read(Connection::overwrite_what_is_deleted)?;
        let begun: Vec<RunId> = self.runs.keys().copied().collect();
        let forgotten = self.book.transaction(|connection| {
            let mut forgotten = Forgotten::default();
            let mut changes = Changes::default();
            for (run, namespace, seq) in &found.messages {
                let hash = hash(keys, namespace, person)?;
                erase_message(connection, (*run, *seq), &hash, begun.contains(run), now_ms, &mut changes, &mut forgotten)?;
            }
            changes.write(connection)?;
            for (run, namespace) in &found.runs {
                let hash = hash(keys, namespace, person)?;
                // Somebody who was forgotten before, and written to again, may have an event of the same kind.
                connection.execute(
                    "DELETE FROM events WHERE run_id = ?1 AND person = ?3 AND EXISTS (SELECT 1 FROM events known WHERE known.run_id = ?1
                        AND known.person = ?2 AND known.partition = events.partition AND known.seq = events.seq AND known.kind = events.kind)",
                    params![run.0, person, hash],
                )?;
                forgotten.events += connection
                    .execute("UPDATE events SET person = ?3, detail = '' WHERE run_id = ?1 AND person = ?2", params![run.0, person, hash])?;
                // What is wrong with a row may quote it in any spelling.
                forgotten.bad_rows += connection
                    .execute("DELETE FROM bad_rows WHERE run_id = ?1 AND instr(lower(what), ?2) > 0", params![run.0, person])?;
            }
            // A condition may quote a reply, and a reply the address.
            history::erase(connection, person)?;
            Ok(forgotten)
        })?;
        self.rewrite()?;
        Ok(forgotten)
    }

    /// Rewrites the database and empties its log, so that nothing that was removed is left in either.
    fn rewrite(&mut self) -> Result<(), LedgerError> {
        self.book.read(|connection| {
            if connection.rewrite()? {
                return Ok(());
            }
            Err(Fault::conflict(format_args!(
                "the address is removed from the ledger, but its log could not be emptied while another program reads the ledger; end that program, and repeat the command"
            )))
        })
    }
}

/// Takes the address, the reply and the fields from a message. One that is not over yet may be in this process's memory, if its run was
/// begun: then only its next attempt is prevented, by the list.
fn erase_message(
    connection: &Connection,
    (run, seq): (RunId, u64),
    hash: &str,
    is_begun: bool,
    now_ms: i64,
    changes: &mut Changes,
    forgotten: &mut Forgotten,
) -> Result<(), Fault> {
    let Some(row) = super::commit::row(connection, run, seq)? else { return Ok(()) };
    let mut fate = row.fate;
    if !fate.is_final() {
        if is_begun {
            forgotten.open += 1;
            return Ok(());
        }
        fate = if row.may_have_been_mailed() { Fate::Unknown } else { Fate::Suppressed };
        changes.add(run, row.fate, None, -1);
        changes.add(run, fate, row.server.filter(|_| fate == Fate::Unknown), 1);
    }
    let updated_at = if fate == row.fate { None } else { Some(now_ms) };
    connection
        .prepare(
            "UPDATE messages SET recipient = ?3, reply = NULL, fields = NULL, refusals = NULL, state = ?4, next_attempt_at_ms = NULL,
                updated_at_ms = coalesce(?5, updated_at_ms)
             WHERE run_id = ?1 AND partition = 0 AND seq = ?2",
        )?
        .execute(params![run.0, seq.cast_signed(), hash, fate.number(), updated_at])?;
    forgotten.messages += 1;
    forgotten.events += connection
        .prepare("UPDATE events SET detail = '' WHERE run_id = ?1 AND partition = 0 AND seq = ?2")?
        .execute(params![run.0, seq.cast_signed()])?;
    Ok(())
}
