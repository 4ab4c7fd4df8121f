//! The thread that writes: its connection, its transactions, and the housekeeping between two jobs.
//!
//! SQLite allows one writer at a time anyway; a dedicated thread needs no lock, no pool and no blocked runtime thread.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::Connection;
use tokio::sync::mpsc;

use super::{
    LedgerOptions, RunId,
    error::{Fault, LedgerError, LedgerErrorKind},
    meta, schema,
};
use crate::token::Keys;

/// A job for the writer; its answer goes through its own channel.
pub(super) type Job = Box<dyn FnOnce(&mut Writer) + Send>;

/// The length of the log, in pages (16 MiB), at which it is merged into the database.
const CHECKPOINT_PAGES: i64 = 4000;
/// The number of jobs between two checks of the log's length.
const JOBS_BETWEEN_LOOKS: u32 = 16;
/// The database, as held by the writing thread.
pub(super) struct Book {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    identity: (u64, u64),
    /// The identities of the log and its index, which SQLite keeps beside the database.
    log: [(PathBuf, (u64, u64)); 2],
    pub(super) epoch: i64,
}

/// What is known of the suppressions of a namespace without looking any up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Suppressing {
    /// Somebody is suppressed.
    pub anybody: bool,
    /// Somebody is known by a hash alone.
    pub forgotten: bool,
}

/// The writer's state of a run that was begun in this process.
pub(super) struct RunState {
    /// The number of the next new message.
    pub(super) next_seq: u64,
    /// Deferred messages that were returned as due and not yet claimed or deferred again.
    pub(super) leased: HashSet<u64>,
    /// Claims of an earlier process that wait for their recipient to be read from the audience.
    pub(super) to_resend: HashSet<u64>,
    /// Whether it is noted that a message of it may have left.
    pub(super) has_sent: bool,
    /// The campaign's namespace.
    pub(super) namespace: Arc<str>,
    /// Whether anybody of the namespace is suppressed.
    pub(super) suppressing: Suppressing,
}

/// The state of the writing thread.
pub(super) struct Writer {
    pub(super) book: Book,
    pub(super) runs: HashMap<RunId, RunState>,
    pub(super) now_ms: i64,
    /// The ledger's random seed.
    pub(super) seed: u64,
    /// The keys by which people who were forgotten are known.
    pub(super) keys: Option<Keys>,
    jobs: u32,
    rolled_hour: i64,
    _lock: File,
}

impl Writer {
    /// Locks the folder, opens the database and takes it over.
    pub(super) fn open(state_dir: &Path, options: LedgerOptions) -> Result<Self, LedgerError> {
        schema::make_state_dir(state_dir)?;
        let lock = schema::lock(state_dir)?;
        super::hash_file::remove_leftovers(state_dir)?;
        let path = schema::database(state_dir);
        let connection = schema::open_writer(&path, options)?;
        let epoch = schema::take_over(&connection).map_err(|fault| fault.at(&path))?;
        schema::sync_dir(state_dir)?;
        let identity = schema::identity(&path)?;
        let beside = |ending: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(ending);
            let name = PathBuf::from(name);
            schema::identity(&name).map(|identity| (name, identity))
        };
        let log = [beside("-wal")?, beside("-shm")?];
        let book = Book { connection, path, identity, log, epoch };
        let seed = book.read(|connection| meta::number(connection, "seed"))?.cast_unsigned();
        Ok(Self { book, runs: HashMap::new(), now_ms: 0, seed, keys: None, jobs: 0, rolled_hour: 0, _lock: lock })
    }

    /// Runs jobs until all handles are gone.
    pub(super) fn work(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(job) = jobs.blocking_recv() {
            job(&mut self);
            self.tidy();
        }
    }

    /// Housekeeping outside of jobs. A failure costs space, not correctness, so it is logged and retried.
    fn tidy(&mut self) {
        self.jobs += 1;
        if self.jobs.is_multiple_of(JOBS_BETWEEN_LOOKS)
            && let Err(error) = self.book.checkpoint()
        {
            tracing::warn!(%error, path = %self.book.path.display(), "the ledger's log could not be merged");
        }
        let hour = self.now_ms / 3_600_000;
        if hour > self.rolled_hour {
            self.rolled_hour = hour;
            if let Err(error) = self.book.roll_usage(self.now_ms / 60_000) {
                tracing::warn!(%error, "old usage could not be summed up");
            }
        }
    }

    /// The state of a run that was begun.
    pub(super) fn run(&mut self, run: RunId) -> Result<&mut RunState, LedgerError> {
        self.runs.get_mut(&run).ok_or_else(|| not_begun(run))
    }
}

pub(super) fn not_begun(run: RunId) -> LedgerError {
    LedgerError::new(LedgerErrorKind::Conflict, format!("run {} was not begun in this process", run.0))
}

impl Book {
    /// Runs `work` in one transaction. It is durable when this returns, or nothing of it happened.
    pub(super) fn transaction<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, LedgerError> {
        self.check_in_place()?;
        if !self.connection.is_autocommit() {
            // An earlier rollback failed (a broken disk); nothing may be added to what it left behind.
            self.execute("ROLLBACK")?;
        }
        self.execute("BEGIN IMMEDIATE")?;
        let result = self
            .check_epoch()
            .and_then(|()| work(&self.connection))
            .map_err(|fault| fault.at(&self.path))
            .and_then(|value| self.execute("COMMIT").map(|()| value));
        if result.is_err() && !self.connection.is_autocommit() {
            // SQLite may have rolled back already; a failure here shows up again at the next BEGIN.
            let _ = self.execute("ROLLBACK");
        }
        result
    }

    /// Runs `work` for reading only.
    pub(super) fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, LedgerError> {
        work(&self.connection).map_err(|fault| fault.at(&self.path))
    }

    fn execute(&self, sql: &str) -> Result<(), LedgerError> {
        let run = || self.connection.prepare_cached(sql)?.execute([]);
        run().map(|_| ()).map_err(|e| LedgerError::from_sql(&self.path, &e))
    }

    /// If the file or its log was deleted or replaced, this process would write to one that no restart finds.
    fn check_in_place(&self) -> Result<(), LedgerError> {
        let is_in_place = |path: &Path, known: (u64, u64)| schema::identity(path).is_ok_and(|identity| identity == known);
        if !is_in_place(&self.path, self.identity) {
            return Err(LedgerError::new(
                LedgerErrorKind::Io,
                format!("{} was moved, replaced or deleted while in use; put it back, or restart Mailfleet", self.path.display()),
            ));
        }
        let Some((lost, _)) = self.log.iter().find(|(path, identity)| !is_in_place(path, *identity)) else { return Ok(()) };
        // This process still has the content of the log, which must not be lost with it.
        let saved =
            self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| Ok(row.get::<_, i64>(1)? == row.get::<_, i64>(2)?));
        let lost = lost.display();
        let message = match saved {
            Ok(true) => format!(
                "{lost} was moved, replaced or deleted while in use; its content was saved into {}. Restart Mailfleet; nothing is sent until then.",
                self.path.display()
            ),
            _ => format!(
                "{lost} was moved, replaced or deleted while in use, and its content cannot be saved; put it back, copy {} and its log to a safe place, and restart Mailfleet. Nothing is sent until then.",
                self.path.display()
            ),
        };
        Err(LedgerError::new(LedgerErrorKind::LogLost, message))
    }

    fn check_epoch(&self) -> Result<(), Fault> {
        let epoch = meta::number(&self.connection, "epoch")?;
        if epoch == self.epoch {
            return Ok(());
        }
        Err(Fault::Ledger(LedgerError::new(
            LedgerErrorKind::Superseded,
            format!("another process has taken over {}; this one sends no more", self.path.display()),
        )))
    }

    fn checkpoint(&self) -> rusqlite::Result<()> {
        let pages: i64 = self.connection.prepare_cached("PRAGMA wal_checkpoint(NOOP)")?.query_row([], |row| row.get(1))?;
        if pages >= CHECKPOINT_PAGES {
            self.connection.prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")?.query_row([], |_| Ok(()))?;
        }
        Ok(())
    }
}
