//! The thread that writes: its connection, its transactions, and the housekeeping between two jobs.
//!
//! SQLite allows one writer at a time anyway; a dedicated thread needs no lock, no pool and no blocked runtime thread.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tokio::sync::mpsc;

use super::{
    Changes, Commit, LedgerOptions, LedgerPlace, RunId,
    book::Book,
    error::{LedgerError, LedgerErrorKind},
    meta,
    tenure::Transaction,
};
use crate::{feedback::Suppression, token::Keys};

/// A job for the writer; its answer goes through its own channel.
pub(super) type Job = Box<dyn FnOnce(&mut Writer) + Send>;

/// The number of jobs between two checks of the log's length.
const JOBS_BETWEEN_LOOKS: u32 = 16;
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

/// What a group commit has written.
pub(super) struct Written {
    pub(super) seqs: Vec<Option<u64>>,
    pub(super) changes: Changes,
    pub(super) dead: Vec<Suppression>,
    pub(super) taken_up: Vec<(RunId, u64)>,
    pub(super) begun: Vec<RunId>,
}

/// A group commit that may have been applied.
pub(super) struct Undecided {
    pub(super) commit: Arc<Commit>,
    pub(super) written: Written,
    pub(super) transaction: Transaction,
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
    /// The commit of which it is not known whether it was applied.
    pub(super) undecided: Option<Undecided>,
}

impl Writer {
    /// Takes a ledger over.
    pub(super) fn open(location: &LedgerPlace, options: LedgerOptions) -> Result<Self, LedgerError> {
        let mut book = Book::open(location, options)?;
        let seed = book.read(|connection| meta::number(connection, "seed"))?.cast_unsigned();
        Ok(Self { book, runs: HashMap::new(), now_ms: 0, seed, keys: None, jobs: 0, rolled_hour: 0, undecided: None })
    }

    /// Runs jobs until all handles are gone.
    pub(super) fn work(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(job) = jobs.blocking_recv() {
            self.carry_out(job);
        }
    }

    /// Does a job, and what is to be tidied up after it.
    pub(super) fn carry_out(&mut self, job: Job) {
        job(self);
        self.tidy();
    }

    /// Housekeeping outside of jobs. A failure costs space, not correctness, so it is logged and retried.
    fn tidy(&mut self) {
        self.jobs += 1;
        if self.jobs.is_multiple_of(JOBS_BETWEEN_LOOKS)
            && let Err(error) = self.book.tidy()
        {
            tracing::warn!(%error, "the ledger's log could not be merged");
        }
        let hour = self.now_ms / 3_600_000;
        if hour > self.rolled_hour {
            self.rolled_hour = hour;
            if let Err(error) = self.book.roll_usage(self.now_ms / 60_000) {
                tracing::warn!(%error, "old usage could not be summed up");
            }
        }
    }

    /// Refuses to hand out what a commit may have changed of which it is not known yet whether it was applied.
    pub(super) fn check_decided(&self) -> Result<(), LedgerError> {
        if self.undecided.is_none() {
            return Ok(());
        }
        Err(LedgerError::new(
            LedgerErrorKind::Unreachable,
            "the ledger's last commit is being looked up; sending resumes when that is done",
        ))
    }

    /// The state of a run that was begun.
    pub(super) fn run(&mut self, run: RunId) -> Result<&mut RunState, LedgerError> {
        self.runs.get_mut(&run).ok_or_else(|| not_begun(run))
    }
}

pub(super) fn not_begun(run: RunId) -> LedgerError {
    LedgerError::new(LedgerErrorKind::Conflict, format!("run {} was not begun in this process", run.0))
}
