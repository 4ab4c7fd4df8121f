//! The index that keeps a recipient unique within a run, for one pass over the audience.
//!
//! It can always be rebuilt from the messages, so it need not be durable, but it must not grow in memory: a [`HashFile`].

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::{Condvar, Mutex, PoisonError},
};

use super::{
    LedgerPlace, Lookup, RunId,
    database::{Connection, params},
    error::{Fault, LedgerError},
    hash_file::{HashFile, Place},
    schema,
    suppressions::hashes,
};
use crate::{audience::canonical, feedback::Person, resources::fate::Fate, token::Keys};

/// The number of rows read from the ledger at a time, so that no long read holds up checkpoints of its log.
const ROWS_AT_A_TIME: i64 = 50_000;

/// The most indices that are built at a time: each has a connection to the ledger meanwhile, which takes some 150 KB.
const BUILT_AT_A_TIME: usize = 8;

/// The recipient is in the ledger; no row of this pass has named it yet.
const RECORDED: u8 = 1;
/// A row of this pass has named the recipient.
const READ: u8 = 2;

/// The recipients of one run, for one pass over its audience. Never shared: it belongs to the reader of the audience.
#[derive(Debug)]
pub struct RecipientIndex {
    file: HashFile,
    /// Claims of an earlier process to be resent whose recipient has not been read yet: no more than were once in flight.
    to_resend: HashMap<u128, Unresolved>,
    /// Messages to people who have another one under another spelling, which only older ledgers hold: not sent.
    duplicates: HashSet<u64>,
    /// The duplicates that would have been resent.
    unsent_duplicates: Vec<u64>,
    /// People of this run who were forgotten, by what stands for them.
    forgotten: HashSet<String>,
    /// The namespace and the keys by which they are known.
    known_by: Option<(String, Keys)>,
}

/// A claim without an outcome.
#[derive(Clone, Copy, Debug)]
struct Unresolved {
    /// Its row.
    seq: u64,
    /// Which attempt it was.
    attempt: u32,
}

/// Bounds how many indices are built at a time.
#[derive(Debug, Default)]
pub(super) struct Builders {
    busy: Mutex<usize>,
    is_free: Condvar,
}

impl Builders {
    /// Waits for a slot, and takes it.
    fn enter(&self) -> Builder<'_> {
        let busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let mut busy = self.is_free.wait_while(busy, |busy| *busy >= BUILT_AT_A_TIME).unwrap_or_else(PoisonError::into_inner);
        *busy += 1;
        Builder(self)
    }
}

/// A slot for building; dropping it frees the slot.
struct Builder<'a>(&'a Builders);

impl Drop for Builder<'_> {
    fn drop(&mut self) {
        *self.0.busy.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.is_free.notify_one();
    }
}

/// The messages to one person.
#[derive(Debug, Default)]
struct Messages {
    /// Whether one of them was sent or given up.
    is_decided: bool,
    /// Those without a final outcome, in the order of claiming.
    open: Vec<u64>,
}

impl RecipientIndex {
    /// Builds the index from the messages of the run, once a slot is free.
    pub(super) fn build(
        location: &LedgerPlace,
        run: RunId,
        epoch: i64,
        keys: Option<Keys>,
        builders: &Builders,
    ) -> Result<Self, LedgerError> {
        let _builder = builders.enter();
        let (ledger, database) = (schema::open_at(location)?, location);
        let last: Option<i64> = ledger
            .value("SELECT max(seq) FROM messages WHERE run_id = ?1 AND partition = 0", [run.0])
            .map_err(|fault| fault.at(database))?;
        let mut index = Self {
            file: HashFile::new(location.state_dir(), run.0, last.unwrap_or(0).cast_unsigned())?,
            to_resend: HashMap::new(),
            duplicates: HashSet::new(),
            unsent_duplicates: Vec::new(),
            forgotten: HashSet::new(),
            known_by: None,
        };
        if let Some(keys) = keys {
            let namespace = ledger.row("SELECT namespace FROM runs WHERE id = ?1", [run.0], |row| row.get(0));
            index.known_by = namespace.map_err(|fault| fault.at(database))?.map(|namespace| (namespace, keys));
        }
        let (mut after, mut several) = (0, HashMap::new());
        while let Some(read) = index.load(&ledger, run, epoch, after, &mut several).map_err(|fault| fault.at(database))? {
            after = read;
        }
        if !several.is_empty() {
            index.choose(&ledger, run, epoch, several).map_err(|fault| fault.at(database))?;
        }
        Ok(index)
    }

    /// Loads the next messages after `after`; returns the last number read, or `None` at the end. People with several messages go
    /// into `several`.
    fn load(
        &mut self,
        ledger: &Connection,
        run: RunId,
        epoch: i64,
        after: i64,
        several: &mut HashMap<u128, Messages>,
    ) -> Result<Option<i64>, Fault> {
        let mut statement = ledger.prepare(
            "SELECT seq, recipient, state, epoch, attempt, next_attempt_at_ms IS NULL FROM messages
             WHERE run_id = ?1 AND partition = 0 AND seq > ?2 ORDER BY seq LIMIT ?3",
        )?;
        let mut rows = statement.query(params![run.0, after, ROWS_AT_A_TIME])?;
        let mut last = None;
        while let Some(row) = rows.next()? {
            let seq: i64 = row.get(0)?;
            last = Some(seq);
            let recipient = row.text(1)?;
            if recipient.starts_with(Person::MARK) && !recipient.contains('@') {
                self.forgotten.insert(recipient.to_owned());
                continue;
            }
            let hash = self.file.hash(recipient);
            let is_left = match Fate::from_number(row.get(2)?) {
                Some(Fate::Claimed) => row.get::<i64>(3)? != epoch,
                // An operator had it resent, or its template failed; its fields were not kept.
                Some(Fate::Deferred) => row.get(5)?,
                _ => false,
            };
            if is_left {
                match self.to_resend.entry(hash) {
                    Entry::Vacant(entry) => _ = entry.insert(Unresolved { seq: seq.cast_unsigned(), attempt: row.get(4)? }),
                    Entry::Occupied(_) => self.unsent_duplicates.push(seq.cast_unsigned()),
                }
            }
            // Not sorted first, although neighbors would share pages: the kernel would read ahead in large folios, and Linux walks
            // a whole folio at each small write (measured: every later lookup costs four times as much).
            match self.file.find(hash)? {
                Place::Free { offset } => self.file.add(hash, offset, RECORDED)?,
                Place::Found { .. } => _ = several.entry(hash).or_default(),
            }
        }
        Ok(last)
    }

    /// Older ledgers distinguished addresses by spelling. Of a person with several messages, one is still sent, or none if one
    /// already was. This reads the messages a second time, which a newer ledger never needs.
    fn choose(&mut self, ledger: &Connection, run: RunId, epoch: i64, mut several: HashMap<u128, Messages>) -> Result<(), Fault> {
        let mut after: i64 = 0;
        loop {
            let mut statement = ledger.prepare(
                "SELECT seq, recipient, state, epoch FROM messages WHERE run_id = ?1 AND partition = 0 AND seq > ?2 ORDER BY seq LIMIT ?3",
            )?;
            let mut rows = statement.query(params![run.0, after, ROWS_AT_A_TIME])?;
            let before = after;
            while let Some(row) = rows.next()? {
                after = row.get(0)?;
                let Some(messages) = several.get_mut(&self.file.hash(&row.get::<String>(1)?)) else { continue };
                match Fate::from_number(row.get(2)?) {
                    Some(Fate::Claimed) if row.get::<i64>(3)? == epoch => messages.is_decided = true,
                    Some(Fate::Claimed | Fate::Deferred | Fate::Held) => messages.open.push(after.cast_unsigned()),
                    // These mailed nobody.
                    Some(Fate::Withdrawn | Fate::RenderFailed) | None => {}
                    Some(_) => messages.is_decided = true,
                }
            }
            if after == before {
                break;
            }
        }
        for (hash, messages) in several {
            self.duplicates.extend(messages.open.iter().skip(usize::from(!messages.is_decided)));
            let Some(Unresolved { seq, .. }) = self.to_resend.get(&hash) else { continue };
            if self.duplicates.contains(seq) {
                self.unsent_duplicates.push(*seq);
                self.to_resend.remove(&hash);
            }
        }
        Ok(())
    }

    /// What to do with a row of the audience. Addresses are compared in their `audience::canonical` form, not as written.
    ///
    /// # Errors
    /// When the file cannot be read or written. Then nothing has changed, and the same call may be repeated.
    pub fn look_up(&mut self, recipient: &str) -> Result<Lookup, LedgerError> {
        let hash = self.file.hash(recipient);
        match self.file.find(hash)? {
            Place::Free { offset } => {
                self.file.add(hash, offset, READ)?;
                Ok(if self.is_forgotten(recipient) { Lookup::Claimed } else { Lookup::New })
            }
            Place::Found { tag: READ, .. } => Ok(Lookup::Duplicate),
            Place::Found { table, offset, .. } => {
                self.file.write(table, offset, hash, READ)?;
                Ok(self.to_resend.remove(&hash).map_or(Lookup::Claimed, |Unresolved { seq, attempt }| Lookup::Resend { seq, attempt }))
            }
        }
    }

    /// Whether the run knows the person by a hash alone.
    fn is_forgotten(&self, recipient: &str) -> bool {
        let Some((namespace, keys)) = self.known_by.as_ref().filter(|_| !self.forgotten.is_empty()) else { return false };
        hashes(keys, namespace, &canonical(recipient)).any(|hash| self.forgotten.contains(&hash))
    }

    /// Whether the same person has another message, so that this one is not sent.
    #[must_use]
    pub fn is_duplicate(&self, seq: u64) -> bool {
        self.duplicates.contains(&seq)
    }

    /// Whether this pass has read a row for the recipient; `None` if neither the ledger nor this pass knows it.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn was_read(&self, recipient: &str) -> Result<Option<bool>, LedgerError> {
        Ok(match self.file.find(self.file.hash(recipient))? {
            Place::Found { tag, .. } => Some(tag == READ),
            Place::Free { .. } => None,
        })
    }

    /// Claims to be resent that no row of the audience matched: for [`super::Ledger::audience_read`], once it was read to its end.
    #[must_use]
    pub fn unmatched(&self) -> Vec<u64> {
        let mut seqs: Vec<u64> = self.to_resend.values().map(|claim| claim.seq).chain(self.unsent_duplicates.iter().copied()).collect();
        seqs.sort_unstable();
        seqs
    }
}
