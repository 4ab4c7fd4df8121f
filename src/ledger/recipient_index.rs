//! The index that keeps a recipient unique within a run, for one pass over the audience.
//!
//! It can always be rebuilt from the messages, so it need not be durable, but it must not grow in memory: a hash table in an
//! unnamed file, 16 bytes per recipient, one read and one write per lookup. A B-tree would cost three times as much, and without a
//! journal could not continue after a full disk; here a failed write changes nothing.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    fs::{self, File, OpenOptions},
    hash::Hasher,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, PoisonError},
};

use rusqlite::{Connection, OptionalExtension, params};
use siphasher::sip128::{Hasher128, SipHasher13};

use super::{
    Lookup, RunId,
    error::{Fault, LedgerError},
    schema,
    suppressions::hashes,
};
use crate::{audience::canonical, feedback::Person, resources::fate::Fate, token::Keys};

const SLOT: usize = 16;
const BUCKET_SLOTS: usize = 16;
const BUCKET: usize = SLOT * BUCKET_SLOTS;
/// Buckets of the first table, as a power of two: room for 180,000 recipients in a sparse file of 4 MiB. Small in tests, so that
/// tables grow.
const FIRST_BITS: u32 = if cfg!(test) { 4 } else { 14 };
/// A table has two to this power times the buckets of the previous one.
const GROWTH_BITS: u32 = if cfg!(test) { 2 } else { 4 };
/// Buckets of the largest table, as a power of two (3 billion recipients).
const MAX_BITS: u32 = 28;
/// The number of rows read from the ledger at a time, so that no long read holds up checkpoints of its log.
const ROWS_AT_A_TIME: i64 = 50_000;

/// The most indices that are built at a time: each has a connection to the ledger meanwhile, which takes some 150 KB.
const BUILT_AT_A_TIME: usize = 8;

/// The beginning and the end of the file's name, for the moment in which it has one.
const PREFIX: &str = "seen-";
const SUFFIX: &str = ".tmp";

/// The recipient is in the ledger; no row of this pass has named it yet.
const RECORDED: u8 = 1;
/// A row of this pass has named the recipient.
const READ: u8 = 2;

/// The recipients of one run, for one pass over its audience. Never shared: it belongs to the reader of the audience.
#[derive(Debug)]
pub struct RecipientIndex {
    path: PathBuf,
    keys: (u64, u64),
    /// The last one is the newest and the largest; new recipients go there.
    tables: Vec<Table>,
    /// Claims of an earlier process to be resent whose recipient has not been read yet: no more than were once in flight.
    to_resend: HashMap<u128, (u64, u32)>,
    /// Messages to people who have another one under another spelling, which only older ledgers hold: not sent.
    duplicates: HashSet<u64>,
    /// The duplicates that would have been resent.
    unsent_duplicates: Vec<u64>,
    /// People of this run who were forgotten, by what stands for them.
    forgotten: HashSet<String>,
    /// The namespace and the keys by which they are known.
    known_by: Option<(String, Keys)>,
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

#[derive(Debug)]
struct Table {
    file: File,
    bits: u32,
    used: u64,
}

/// The messages to one person.
#[derive(Debug, Default)]
struct Messages {
    /// Whether one of them was sent or given up.
    is_decided: bool,
    /// Those without a final outcome, in the order of claiming.
    open: Vec<u64>,
}

/// Where a hash is, or where it would go in the last table.
enum Place {
    Found { table: usize, offset: u64, tag: u8 },
    Free { offset: u64 },
}

impl RecipientIndex {
    /// Builds the index from the messages of the run, once a slot is free.
    pub(super) fn build(state_dir: &Path, run: RunId, epoch: i64, keys: Option<Keys>, builders: &Builders) -> Result<Self, LedgerError> {
        let _builder = builders.enter();
        let database = schema::database(state_dir);
        let ledger = schema::open_reader(&database)?;
        let key: [u8; 16] = schema::random()?;
        let (low, high) = key.split_at(8);
        let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
        let last: Option<i64> = ledger
            .query_row("SELECT max(seq) FROM messages WHERE run_id = ?1 AND partition = 0", [run.0], |row| row.get(0))
            .map_err(|e| LedgerError::from_sql(&database, &e))?;
        let mut index = Self {
            path: state_dir.join(format!("{PREFIX}{}-{:016x}{SUFFIX}", run.0, number(low))),
            keys: (number(low), number(high)),
            tables: Vec::new(),
            to_resend: HashMap::new(),
            duplicates: HashSet::new(),
            unsent_duplicates: Vec::new(),
            forgotten: HashSet::new(),
            known_by: None,
        };
        if let Some(keys) = keys {
            let namespace = ledger.query_row("SELECT namespace FROM runs WHERE id = ?1", [run.0], |row| row.get(0));
            index.known_by = namespace.optional().map_err(|e| LedgerError::from_sql(&database, &e))?.map(|namespace| (namespace, keys));
        }
        index.add_table(last.unwrap_or(0).cast_unsigned())?;
        let (mut after, mut several) = (0, HashMap::new());
        while let Some(read) = index.load(&ledger, run, epoch, after, &mut several).map_err(|fault| fault.at(&database))? {
            after = read;
        }
        if !several.is_empty() {
            index.choose(&ledger, run, epoch, several).map_err(|fault| fault.at(&database))?;
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
        let mut statement = ledger.prepare_cached(
            "SELECT seq, recipient, state, epoch, attempt, next_attempt_at_ms IS NULL FROM messages
             WHERE run_id = ?1 AND partition = 0 AND seq > ?2 ORDER BY seq LIMIT ?3",
        )?;
        let mut rows = statement.query(params![run.0, after, ROWS_AT_A_TIME])?;
        let mut last = None;
        while let Some(row) = rows.next()? {
            let seq: i64 = row.get(0)?;
            last = Some(seq);
            let recipient = row
                .get_ref(1)?
                .as_str()
                .map_err(|e| rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::new(e)))?;
            if recipient.starts_with(Person::MARK) && !recipient.contains('@') {
                self.forgotten.insert(recipient.to_owned());
                continue;
            }
            let hash = self.hash(recipient);
            let is_left = match Fate::from_number(row.get(2)?) {
                Some(Fate::Claimed) => row.get::<_, i64>(3)? != epoch,
                // An operator had it resent, or its template failed; its fields were not kept.
                Some(Fate::Deferred) => row.get(5)?,
                _ => false,
            };
            if is_left {
                match self.to_resend.entry(hash) {
                    Entry::Vacant(entry) => _ = entry.insert((seq.cast_unsigned(), row.get(4)?)),
                    Entry::Occupied(_) => self.unsent_duplicates.push(seq.cast_unsigned()),
                }
            }
            // Not sorted first, although neighbors would share pages: the kernel would read ahead in large folios, and Linux walks
            // a whole folio at each small write (measured: every later lookup costs four times as much).
            match self.find(hash)? {
                Place::Free { offset } => self.add(hash, offset, RECORDED)?,
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
            let mut statement = ledger.prepare_cached(
                "SELECT seq, recipient, state, epoch FROM messages WHERE run_id = ?1 AND partition = 0 AND seq > ?2 ORDER BY seq LIMIT ?3",
            )?;
            let mut rows = statement.query(params![run.0, after, ROWS_AT_A_TIME])?;
            let before = after;
            while let Some(row) = rows.next()? {
                after = row.get(0)?;
                let Some(messages) = several.get_mut(&self.hash(&row.get::<_, String>(1)?)) else { continue };
                match Fate::from_number(row.get(2)?) {
                    Some(Fate::Claimed) if row.get::<_, i64>(3)? == epoch => messages.is_decided = true,
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
            let Some((seq, _)) = self.to_resend.get(&hash) else { continue };
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
        let hash = self.hash(recipient);
        match self.find(hash)? {
            Place::Free { offset } => {
                self.add(hash, offset, READ)?;
                Ok(if self.is_forgotten(recipient) { Lookup::Claimed } else { Lookup::New })
            }
            Place::Found { tag: READ, .. } => Ok(Lookup::Duplicate),
            Place::Found { table, offset, .. } => {
                self.write(table, offset, hash, READ)?;
                Ok(self.to_resend.remove(&hash).map_or(Lookup::Claimed, |(seq, attempt)| Lookup::Resend { seq, attempt }))
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
        Ok(match self.find(self.hash(recipient))? {
            Place::Found { tag, .. } => Some(tag == READ),
            Place::Free { .. } => None,
        })
    }

    /// Claims to be resent that no row of the audience matched: for [`super::Ledger::audience_read`], once it was read to its end.
    #[must_use]
    pub fn unmatched(&self) -> Vec<u64> {
        let mut seqs: Vec<u64> = self.to_resend.values().map(|&(seq, _)| seq).chain(self.unsent_duplicates.iter().copied()).collect();
        seqs.sort_unstable();
        seqs
    }

    /// The low byte is left free for the tag; 120 bits of a keyed hash do not collide.
    fn hash(&self, recipient: &str) -> u128 {
        let mut hasher = SipHasher13::new_with_keys(self.keys.0, self.keys.1);
        hasher.write(canonical(recipient).as_bytes());
        hasher.finish128().as_u128() & !0xff
    }

    fn find(&self, hash: u128) -> Result<Place, LedgerError> {
        let mut free = 0;
        for (table, searched) in self.tables.iter().enumerate() {
            match searched.find(hash).map_err(|e| LedgerError::from_io(&self.path, &e))? {
                (offset, Some(tag)) => return Ok(Place::Found { table, offset, tag }),
                (offset, None) => free = offset,
            }
        }
        Ok(Place::Free { offset: free })
    }

    /// Adds a hash that is in none of the tables. Space is made first: a failure must leave no trace of the recipient.
    fn add(&mut self, hash: u128, mut offset: u64, tag: u8) -> Result<(), LedgerError> {
        if self.tables.last().is_none_or(Table::is_full) {
            self.add_table(0)?;
            if let Place::Free { offset: free } = self.find(hash)? {
                offset = free;
            }
        }
        self.write(self.tables.len() - 1, offset, hash, tag)?;
        if let Some(table) = self.tables.last_mut() {
            table.used += 1;
        }
        Ok(())
    }

    fn write(&self, table: usize, offset: u64, hash: u128, tag: u8) -> Result<(), LedgerError> {
        let Some(table) = self.tables.get(table) else { return Ok(()) };
        table.file.write_all_at(&(hash | u128::from(tag)).to_le_bytes(), offset).map_err(|e| LedgerError::from_io(&self.path, &e))
    }

    /// Adds a table 16 times as large as the last one: entries are never moved, so that growing causes no pause, and two tables
    /// suffice for three million recipients.
    fn add_table(&mut self, expected: u64) -> Result<(), LedgerError> {
        let mut bits = self.tables.last().map_or(FIRST_BITS, |table| (table.bits + GROWTH_BITS).min(MAX_BITS));
        while bits < MAX_BITS && capacity(bits) < expected.saturating_mul(2) {
            bits += 1;
        }
        let make = || {
            let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&self.path)?;
            // Without a name it vanishes with the process, however that ends.
            fs::remove_file(&self.path)?;
            file.set_len((BUCKET as u64) << bits)?;
            Ok(file)
        };
        let file = make().map_err(|e| LedgerError::from_io(&self.path, &e))?;
        self.tables.push(Table { file, bits, used: 0 });
        Ok(())
    }
}

/// Removes files of a process that was killed between creating a file and unlinking it.
pub(super) fn remove_leftovers(state_dir: &Path) -> Result<(), LedgerError> {
    let at = |e: std::io::Error| LedgerError::from_io(state_dir, &e);
    for entry in fs::read_dir(state_dir).map_err(at)? {
        let entry = entry.map_err(at)?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX)) {
            fs::remove_file(entry.path()).map_err(at)?;
        }
    }
    Ok(())
}

impl Table {
    fn is_full(&self) -> bool {
        self.used >= capacity(self.bits)
    }

    /// The offset of the hash with its tag, or the offset where it would go.
    fn find(&self, hash: u128) -> std::io::Result<(u64, Option<u8>)> {
        let buckets = 1_u64 << self.bits;
        let home = u64::try_from(hash >> (128 - self.bits)).unwrap_or(0);
        let mut bytes = [0; BUCKET];
        for step in 0..buckets {
            let start = ((home + step) % buckets) * BUCKET as u64;
            self.file.read_exact_at(&mut bytes, start)?;
            for (slot, offset) in bytes.as_chunks::<SLOT>().0.iter().zip((start..).step_by(SLOT)) {
                let entry = u128::from_le_bytes(*slot);
                if entry == 0 {
                    return Ok((offset, None));
                }
                if entry & !0xff == hash {
                    return Ok((offset, Some(slot[0])));
                }
            }
        }
        Err(std::io::Error::other("the index is full"))
    }
}

/// How many entries a table takes before its buckets overflow too often.
const fn capacity(bits: u32) -> u64 {
    (BUCKET_SLOTS as u64 * 7 / 10) << bits
}
