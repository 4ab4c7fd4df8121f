//! A set of addresses by a keyed hash of their canonical form, in an unnamed file: however many there are, no more memory.
//!
//! It can always be made again, so it need not be durable: a hash table, 16 bytes per address, one read and one write per lookup. A
//! B-tree would cost three times as much, and without a journal could not continue after a full disk; here a failed write changes
//! nothing.

use std::{
    fs::{self, File, OpenOptions},
    hash::Hasher,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use siphasher::sip128::{Hasher128, SipHasher13};

use super::{error::LedgerError, schema};
use crate::audience::canonical;

const SLOT: usize = 16;
const BUCKET_SLOTS: usize = 16;
const BUCKET: usize = SLOT * BUCKET_SLOTS;
/// Buckets of the first table, as a power of two: room for 180,000 addresses in a sparse file of 4 MiB. Small in tests, so that
/// tables grow.
const FIRST_BITS: u32 = if cfg!(test) { 4 } else { 14 };
/// A table has two to this power times the buckets of the previous one.
const GROWTH_BITS: u32 = if cfg!(test) { 2 } else { 4 };
/// Buckets of the largest table, as a power of two (3 billion addresses).
const MAX_BITS: u32 = 28;

/// The beginning and the end of the file's name, for the moment in which it has one.
const PREFIX: &str = "seen-";
const SUFFIX: &str = ".tmp";

/// Hashes of addresses, each with a tag of one byte that is not 0.
#[derive(Debug)]
pub(super) struct HashFile {
    path: PathBuf,
    keys: (u64, u64),
    /// The last one is the newest and the largest; new hashes go there.
    tables: Vec<Table>,
}

#[derive(Debug)]
struct Table {
    file: File,
    bits: u32,
    used: u64,
}

/// Where a hash is, or where it would go in the last table.
pub(super) enum Place {
    /// It is there.
    Found {
        /// Which of the tables, from 0.
        table: usize,
        /// Where it is in the table's file, bytes.
        offset: u64,
        /// Some bits of its hash, so that most others are told apart without reading them.
        tag: u8,
    },
    /// It is not.
    Free {
        /// Where it would go in the last table's file, bytes.
        offset: u64,
    },
}

impl HashFile {
    /// An empty one in this folder, for about so many addresses; `name` tells its file from others.
    pub(super) fn new(folder: &Path, name: impl std::fmt::Display, expected: u64) -> Result<Self, LedgerError> {
        let key: [u8; 16] = schema::random()?;
        let (low, high) = key.split_at(8);
        let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
        let path = folder.join(format!("{PREFIX}{name}-{:016x}{SUFFIX}", number(low)));
        let mut made = Self { path, keys: (number(low), number(high)), tables: Vec::new() };
        made.add_table(expected)?;
        Ok(made)
    }

    /// The low byte is left free for the tag; 120 bits of a keyed hash do not collide.
    pub(super) fn hash(&self, address: &str) -> u128 {
        let mut hasher = SipHasher13::new_with_keys(self.keys.0, self.keys.1);
        hasher.write(canonical(address).as_bytes());
        hasher.finish128().as_u128() & !0xff
    }

    /// Looks for a hash in all tables; if it is in none, says where in the newest one it would be added.
    pub(super) fn find(&self, hash: u128) -> Result<Place, LedgerError> {
        let mut free = 0;
        for (table, searched) in self.tables.iter().enumerate() {
            match searched.find(hash).map_err(|e| LedgerError::from_io(&self.path, &e))? {
                (offset, Some(tag)) => return Ok(Place::Found { table, offset, tag }),
                (offset, None) => free = offset,
            }
        }
        Ok(Place::Free { offset: free })
    }

    /// Adds a hash that is in none of the tables. Space is made first: a failure must leave no trace of the address.
    pub(super) fn add(&mut self, hash: u128, mut offset: u64, tag: u8) -> Result<(), LedgerError> {
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

    /// Gives the hash at this place another tag.
    pub(super) fn write(&self, table: usize, offset: u64, hash: u128, tag: u8) -> Result<(), LedgerError> {
        let Some(table) = self.tables.get(table) else { return Ok(()) };
        table.file.write_all_at(&(hash | u128::from(tag)).to_le_bytes(), offset).map_err(|e| LedgerError::from_io(&self.path, &e))
    }

    /// Adds a table 16 times as large as the last one: entries are never moved, so that growing causes no pause, and two tables
    /// suffice for three million addresses.
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
        Err(std::io::Error::other("the table of addresses is full"))
    }
}

/// How many entries a table takes before its buckets overflow too often.
const fn capacity(bits: u32) -> u64 {
    (BUCKET_SLOTS as u64 * 7 / 10) << bits
}

/// A set of addresses, compared in their canonical form as everywhere.
#[derive(Debug)]
pub struct AddressSet {
    file: HashFile,
    count: u64,
}

impl AddressSet {
    /// The tag of a hash that is in the set.
    const IN_IT: u8 = 1;

    /// An empty set in a folder.
    ///
    /// # Errors
    /// When no file can be made there.
    pub fn new(folder: &Path) -> Result<Self, LedgerError> {
        Ok(Self { file: HashFile::new(folder, "set", 0)?, count: 0 })
    }

    /// Adds an address; returns whether it is new.
    ///
    /// # Errors
    /// When the file cannot be read or written. Then nothing has changed.
    pub fn add(&mut self, address: &str) -> Result<bool, LedgerError> {
        let hash = self.file.hash(address);
        let Place::Free { offset } = self.file.find(hash)? else { return Ok(false) };
        self.file.add(hash, offset, Self::IN_IT)?;
        self.count += 1;
        Ok(true)
    }

    /// Whether an address is in it.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn contains(&self, address: &str) -> Result<bool, LedgerError> {
        Ok(matches!(self.file.find(self.file.hash(address))?, Place::Found { .. }))
    }

    /// How many addresses are in it.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_people_and_not_spellings() {
        let folder = std::env::temp_dir().join(format!("mailfleet-set-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let mut set = AddressSet::new(&folder).expect("a set");
        // Many tables, since those of tests are small.
        for number in 0..2_000 {
            set.add(&format!("Person{number}@Example.com")).expect("added");
            set.add(&format!("person{number}@example.com")).expect("again");
        }
        assert_eq!(set.count(), 2_000);
        let has = |address: &str| set.contains(address).expect("checked");
        assert!((0..2_000).all(|number| has(&format!("PERSON{number}@example.com"))));
        assert!(!(2_000..3_000).any(|number| has(&format!("person{number}@example.com"))));
        assert!(fs::read_dir(&folder).expect("a folder").next().is_none(), "its files have no names");
        fs::remove_dir(&folder).expect("empty");
    }
}
