//! The ledger: the only authority on who was mailed.
//!
//! A message leaves only after its claim is durable: [`Ledger::commit`] writes the outcomes that have become known and the next
//! claims in one transaction. One thread owns the database (SQLite in WAL mode, `ledger.db` in the state folder); [`Ledger`] is the
//! handle to it, [`LedgerReader`] reads beside it, [`RecipientIndex`] keeps recipients unique within a run, and [`Facts`] is what
//! decisions ask of either. The schema is documented for users in docs/ledger.md.

mod aging;
mod audit;
mod book;
mod commit;
mod database;
mod error;
mod events;
mod facts;
mod folder;
mod forget;
mod generations;
mod hash_file;
mod held;
mod history;
mod jobs;
mod keys;
mod mailed;
mod meta;
mod migrations;
mod people;
mod place;
mod reader;
mod recipient_index;
mod records;
mod results;
mod rollouts;
mod runs;
mod schema;
mod sizes;
mod standing;
mod suppressions;
mod tables;
mod tenure;
#[cfg(test)]
mod tests;
mod transfer;
mod writer;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    ops::ControlFlow,
    sync::{Arc, Mutex, PoisonError, RwLock},
    thread::JoinHandle,
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use crate::{
    feedback::{Complaints, Event, PauseChange, Suppression},
    resources::{Bar, campaign::OutcomeState, rollout::Reached},
    token::Keys,
};

pub use audit::{Checked, check_ledger};
pub use database::DatabasePlace;
pub use error::{LedgerError, LedgerErrorKind};
pub use events::EventsReceipt;
pub use facts::{Facts, RecordedFacts};
pub use forget::Forgotten;
pub use hash_file::AddressSet;
pub use history::{Failure, HistoryOf, HistoryRow, Transition};
use jobs::Jobs;
pub use people::{EventRow, Known};
pub use place::LedgerPlace;
pub use reader::{LedgerReader, RecipientRow, RunSummary};
use recipient_index::Builders;
pub use recipient_index::RecipientIndex;
pub use records::{
    AudienceRead, BadRow, Changes, Claim, Commit, CommitReceipt, CountChange, Disposition, DueMessage, Generation, HeldMessage, Lookup,
    NewBar, OutcomeRecord, Resumption, RolloutChange, RunCounts, RunId, RunKey, RunRecord, RunStart, SentAlike, ServerCounts, ServerDay,
    ServerId, SpecHash, UnresolvedClaim, Usage, UsageMove, domain_key,
};
pub use results::Results;
pub use schema::{DATABASE_FILES, has_ledger};
pub use sizes::{Sizes, TableSize, sizes};
pub use standing::{ServerRecord, StandingOf};
pub use transfer::{Moved, move_ledger};
use writer::{Job, Writer};

/// How many requests may wait for the writing thread.
const QUEUE: usize = 64;

/// When a commit counts as durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// After an fsync: it survives a power failure.
    #[default]
    Full,
    /// Once the operating system has it: it survives a crash of the process, but not always one of the machine.
    Normal,
}

/// How the ledger is opened.
#[derive(Clone, Copy, Debug)]
pub struct LedgerOptions {
    /// When a commit counts as durable.
    pub synchronous: Synchronous,
    /// How long a call waits for a locked database before it fails.
    pub busy_timeout: Duration,
}

impl Default for LedgerOptions {
    fn default() -> Self {
        Self { synchronous: Synchronous::Full, busy_timeout: Duration::from_secs(5) }
    }
}

/// The handle to this process's ledger. Cheap to clone; dropping the last clone closes the database, and waits for that.
///
/// Calls have no timeout: if one were abandoned half-way, it would be unknown whether it was applied. They wait for a lock for
/// [`LedgerOptions::busy_timeout`], and for the disk as long as it takes. For the same reason the future of a writing call should
/// not be dropped before it completes.
#[derive(Clone)]
pub struct Ledger {
    shared: Arc<Shared>,
}

struct Shared {
    jobs: Option<Jobs>,
    thread: Option<JoinHandle<()>>,
    location: LedgerPlace,
    seed: u64,
    epoch: i64,
    servers: RwLock<HashMap<Arc<str>, ServerId>>,
    builders: Builders,
    keys: RwLock<Option<Keys>>,
    /// A reader of a database elsewhere, for whoever asks next: a connection to it is dear.
    reader: Mutex<Option<LedgerReader>>,
}

impl Ledger {
    /// Locks the state folder, opens the ledger in it (created if absent) and takes it over: an earlier process that is still
    /// running can no longer write to it. Blocking.
    ///
    /// # Errors
    /// `InUse` when another process has the folder, `NewerVersion`, `Corrupt`, `Locked`, `Full`, `NotPermitted`, `Io`.
    pub fn open(location: impl Into<LedgerPlace>, options: LedgerOptions) -> Result<Self, LedgerError> {
        let location = location.into();
        let mut writer = Writer::open(&location, options)?;
        if location.database().is_some() {
            transfer::check_nothing_is_left_behind(&location, &mut writer.book)?;
        }
        let seed = writer.seed;
        let epoch = writer.book.epoch;
        let (jobs, waiting) = mpsc::channel(QUEUE);
        if location.database().is_some() {
            jobs::beat(jobs.downgrade())?;
        }
        let thread = std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || writer.work(waiting))
            .map_err(|e| LedgerError::new(LedgerErrorKind::Io, format!("the ledger's thread could not be started ({e})")))?;
        Ok(Self { shared: Arc::new(Shared::new(location, seed, epoch, Jobs::Thread(jobs), Some(thread))) })
    }

    /// Opens the ledger of a folder for simulated time: jobs are carried out by whoever asks, each with a `pause` before and after it.
    #[cfg(test)]
    pub(crate) fn simulated(
        location: impl Into<LedgerPlace>,
        options: LedgerOptions,
        pause: Box<dyn Fn() -> Duration + Send + Sync>,
    ) -> Result<Self, LedgerError> {
        let location = location.into();
        let writer = Writer::open(&location, options)?;
        let (seed, epoch) = (writer.seed, writer.book.epoch);
        Ok(Self { shared: Arc::new(Shared::new(location, seed, epoch, Jobs::Asker(Box::new(Mutex::new(writer)), pause), None)) })
    }

    /// The ledger's random seed, on which every pick of a server depends. It never changes.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.shared.seed
    }

    /// Records the specs as they were read, and returns the generation of each.
    ///
    /// # Errors
    /// Then nothing was recorded; see [`LedgerError::is_transient`].
    pub async fn record_generations(&self, specs: Vec<SpecHash>, now_ms: i64) -> Result<Vec<Generation>, LedgerError> {
        self.call(move |writer| writer.record_generations(&specs, now_ms)).await
    }

    /// The id of a server, by `namespace/name`; it never changes.
    ///
    /// # Errors
    /// When a new name cannot be written.
    pub async fn server_id(&self, name: &str) -> Result<ServerId, LedgerError> {
        if let Some(id) = self.shared.servers.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(*id);
        }
        let name: Arc<str> = name.into();
        let asked = Arc::clone(&name);
        let id = self.call(move |writer| writer.server_id(&asked)).await?;
        self.shared.servers.write().unwrap_or_else(PoisonError::into_inner).insert(name, id);
        Ok(id)
    }

    /// The record of a run; `None` if it never began.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn find_run(&self, key: &RunKey) -> Result<Option<RunRecord>, LedgerError> {
        let key = key.clone();
        self.call(move |writer| writer.book.read(|connection| runs::find_run(connection, &key))).await
    }

    /// The records of many runs, in one call.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn find_runs(&self, keys: Vec<RunKey>) -> Result<Vec<Option<RunRecord>>, LedgerError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.call(move |writer| writer.book.read(|connection| runs::find_runs(connection, &keys))).await
    }

    /// The campaigns that sent alike, for each run that is asked for; of those of one kind, all within the same time.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn alike(&self, asked: Vec<SentAlike>) -> Result<Vec<Arc<[String]>>, LedgerError> {
        self.call(move |writer| writer.book.read(|connection| generations::alike(connection, &asked))).await
    }

    /// Begins a run, or continues it. Claims that an earlier process left without an outcome become `Unknown` (`Skip`), or are
    /// resent (`Resend`): at once as due messages if their fields are stored, otherwise when [`RecipientIndex::look_up`] finds
    /// their recipient. Messages that [`Ledger::due`] returned before may be returned again. Recipients whose template failed are
    /// retried in the same way, unless the run is closed. Claims left without an outcome count as written now, for their server and
    /// their plan.
    ///
    /// # Errors
    /// Then nothing was changed; see [`LedgerError::is_transient`].
    pub async fn begin_run(&self, key: &RunKey, start: RunStart, now_ms: i64) -> Result<RunRecord, LedgerError> {
        let key = key.clone();
        self.call(move |writer| writer.begin_run(&key, &start, now_ms)).await
    }

    /// Writes a group commit. On success it is durable; otherwise nothing of it was applied, and the same commit may be retried
    /// (pass an `Arc` to keep it). With `Undecided` it may have been applied: the same `Arc` must be passed until that is known.
    ///
    /// # Errors
    /// `Full`, `Locked` and `Io` recover, or an operator fixes them; `Superseded`: this process must stop sending; `Conflict`: the
    /// commit contradicts the ledger and will never succeed.
    pub async fn commit(&self, commit: impl Into<Arc<Commit>>) -> Result<CommitReceipt, LedgerError> {
        let commit = commit.into();
        self.call(move |writer| writer.commit(&commit)).await
    }

    /// Deferred messages that are due, oldest first, `limit` at most. They are leased: they are not returned again until they have
    /// been claimed, deferred or returned, or [`Ledger::release`] has released them.
    ///
    /// # Errors
    /// `Conflict` when the run was not begun; when the database cannot be read.
    pub async fn due(&self, run: RunId, now_ms: i64, limit: usize) -> Result<Vec<DueMessage>, LedgerError> {
        self.call(move |writer| writer.due(run, now_ms, limit)).await
    }

    /// Releases due messages that were not handled after all.
    ///
    /// # Errors
    /// `Conflict` when the run was not begun.
    pub async fn release(&self, run: RunId, seqs: Vec<u64>) -> Result<(), LedgerError> {
        self.call(move |writer| {
            let state = writer.run(run)?;
            for seq in &seqs {
                state.leased.remove(seq);
            }
            Ok(())
        })
        .await
    }

    /// Releases every due message of a run that was leased and is neither claimed nor deferred again.
    ///
    /// # Errors
    /// `Conflict` when the run was not begun.
    pub async fn release_all(&self, run: RunId) -> Result<(), LedgerError> {
        self.call(move |writer| {
            writer.run(run)?.leased.clear();
            Ok(())
        })
        .await
    }

    /// When the next deferred message that is not leased is due, in milliseconds since 1970.
    ///
    /// # Errors
    /// `Conflict` when the run was not begun; when the database cannot be read.
    pub async fn next_due(&self, run: RunId) -> Result<Option<i64>, LedgerError> {
        self.call(move |writer| writer.next_due(run)).await
    }

    /// Records that the audience was read to its end. `unmatched`, from [`RecipientIndex::unmatched`], are claims of an earlier
    /// process with an unknown outcome that no row of the audience can resend: they become `Unknown`.
    ///
    /// # Errors
    /// Then nothing was changed; see [`LedgerError::is_transient`].
    pub async fn audience_read(&self, run: RunId, read: AudienceRead, unmatched: Vec<u64>, now_ms: i64) -> Result<Changes, LedgerError> {
        self.call(move |writer| writer.audience_read(run, read, &unmatched, now_ms)).await
    }

    /// Closes a run: rows added to the audience later are not mailed. Closing it again changes nothing. `reopen` is the current
    /// `spec.reopen`: only a larger number reopens the run.
    ///
    /// # Errors
    /// `Conflict` while a message has no final outcome; see [`LedgerError::is_transient`].
    pub async fn close_run(&self, run: RunId, reopen: u64, now_ms: i64) -> Result<(), LedgerError> {
        self.call(move |writer| writer.close_run(run, reopen, now_ms)).await
    }

    /// Lifts guards, retries or rejects held messages, and schedules messages of unknown outcome to be resent, as an operator
    /// requested. A closed run is reopened if anything of it has to be mailed; no recipients are added to it.
    ///
    /// # Errors
    /// `Conflict` when the run was not begun; in any case nothing was changed; see [`LedgerError::is_transient`].
    pub async fn resume(&self, run: RunId, resumption: Resumption, now_ms: i64) -> Result<Changes, LedgerError> {
        self.call(move |writer| writer.resume(run, &resumption, now_ms)).await
    }

    /// Notes that a step of a run's rollout was sent, or begins the next one; returns where the rollout is then. A change that no longer
    /// follows from where it is changes nothing.
    ///
    /// # Errors
    /// `Conflict` when the run was not begun; in any case nothing was changed; see [`LedgerError::is_transient`].
    pub async fn change_rollout(&self, run: RunId, change: RolloutChange, now_ms: i64) -> Result<Option<Reached>, LedgerError> {
        self.call(move |writer| writer.change_rollout(run, &change, now_ms)).await
    }

    /// The servers that are out of use for a run, by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn bars(&self, run: RunId) -> Result<BTreeMap<Arc<str>, Bar>, LedgerError> {
        self.call(move |writer| writer.book.read(|connection| held::bars(connection, run))).await
    }

    /// Messages of a run that are held, in the order of claiming, `limit` at most.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn held(&self, run: RunId, limit: usize) -> Result<Vec<HeldMessage>, LedgerError> {
        self.call(move |writer| writer.book.read(|connection| held::held(connection, run, limit))).await
    }

    /// The number of messages of a run by fate. Cheap: the sums are kept beside the messages.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn counts(&self, run: RunId) -> Result<RunCounts, LedgerError> {
        self.call(move |writer| writer.book.read(|connection| runs::counts(connection, run))).await
    }

    /// Records rows of the audience that could not be used: the first 1,000 of a run, each once however often it is read.
    ///
    /// # Errors
    /// Then nothing was recorded; see [`LedgerError::is_transient`].
    pub async fn record_bad_rows(&self, run: RunId, rows: Vec<BadRow>) -> Result<(), LedgerError> {
        self.call(move |writer| writer.record_bad_rows(run, &rows)).await
    }

    /// Messages that each server sent on each UTC day of the last five years.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn days(&self) -> Result<Vec<ServerDay>, LedgerError> {
        self.call(move |writer| writer.book.read(runs::days)).await
    }

    /// The number of messages by key and by the minute (since 1970) in which they were written, or claimed as long as that is
    /// unknown, from `minute` on. Those older than two days are counted in the last minute of their hour.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn usage_since(&self, minute: i64) -> Result<Vec<Usage>, LedgerError> {
        self.call(move |writer| writer.book.read(|connection| runs::usage_since(connection, minute))).await
    }

    /// The claims of an earlier process without an outcome: they may have been written until it ended.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn unresolved_claims(&self) -> Result<Vec<UnresolvedClaim>, LedgerError> {
        self.call(|writer| writer.book.read(runs::unresolved_claims)).await
    }

    /// Records what came back, all of it or nothing; it is durable when this returns. An event that was recorded before changes
    /// nothing.
    ///
    /// # Errors
    /// Then nothing was recorded; see [`LedgerError::is_transient`].
    pub async fn record_events(&self, events: Vec<Event>, now_ms: i64) -> Result<EventsReceipt, LedgerError> {
        let (events, concerned) = self.concerned(events).await?;
        self.call(move |writer| writer.record_events(&events, &concerned, now_ms)).await
    }

    /// Finds out whom the events without a message concern, beside the thread that writes.
    async fn concerned(&self, events: Vec<Event>) -> Result<(Vec<Event>, mailed::Concerned), LedgerError> {
        if !mailed::is_asked_for(&events) {
            return Ok((events, mailed::Concerned::new()));
        }
        let shared = Arc::clone(&self.shared);
        let reading = move || {
            let concerned = shared.ask(|reader| mailed::concerned(reader, &events, None))?;
            Ok((events, concerned))
        };
        tokio::task::spawn_blocking(reading).await.map_err(|_| LedgerError::closed())?
    }

    /// Records that pauses of servers begin and end; each is durable when this returns. Whatever is there already changes nothing.
    ///
    /// # Errors
    /// Then some of them may not be recorded; see [`LedgerError::is_transient`].
    pub async fn change_pauses(&self, changes: Vec<PauseChange>, now_ms: i64) -> Result<(), LedgerError> {
        self.call(move |writer| writer.change_pauses(&changes, now_ms)).await
    }

    /// What is known of servers, by name: the pauses and requests of all, and the results of those that are asked for. It is read
    /// beside the thread that writes, which sums of many namespaces must not hold up.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn standings(&self, asked: Vec<StandingOf>) -> Result<BTreeMap<String, ServerRecord>, LedgerError> {
        let shared = Arc::clone(&self.shared);
        let reading = move || shared.ask(|reader| reader.read(|connection| standing::standings(connection, &asked)));
        tokio::task::spawn_blocking(reading).await.map_err(|_| LedgerError::closed())?
    }

    /// Sets the keys by which people who were forgotten are known.
    ///
    /// # Errors
    /// When the ledger is closed.
    pub async fn set_keys(&self, keys: Keys) -> Result<(), LedgerError> {
        *self.shared.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(keys.clone());
        self.call(move |writer| {
            writer.keys = Some(keys);
            Ok(())
        })
        .await
    }

    /// Adds people to those who are not mailed; returns how many entries are new.
    ///
    /// # Errors
    /// Then nothing was added; see [`LedgerError::is_transient`].
    pub async fn suppress(&self, suppressions: Vec<Suppression>) -> Result<u64, LedgerError> {
        self.call(move |writer| writer.suppress(&suppressions)).await
    }

    /// Removes entries of the same namespace, person, topic and reason; returns how many there were.
    ///
    /// # Errors
    /// Then nothing was removed; see [`LedgerError::is_transient`].
    pub async fn unsuppress(&self, suppressions: Vec<Suppression>) -> Result<u64, LedgerError> {
        self.call(move |writer| writer.unsuppress(&suppressions)).await
    }

    /// The index of recipients, for one pass over the audience of a run that was begun. Blocking: about a second for a million
    /// messages. Recipients that an earlier pass found `New` or `Resend` must have been claimed or dropped before: the index knows
    /// only what is in the ledger.
    ///
    /// # Errors
    /// When the ledger cannot be read or the index cannot be written.
    pub fn recipient_index(&self, run: RunId) -> Result<RecipientIndex, LedgerError> {
        let keys = self.shared.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        RecipientIndex::build(&self.shared.location, run, self.shared.epoch, keys, &self.shared.builders)
    }

    /// What was reported as spam, and how much was accepted, by the namespace of runs that are open or were closed since.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn complaints(&self, since_ms: i64) -> Result<BTreeMap<String, Complaints>, LedgerError> {
        self.call(move |writer| writer.complaints(since_ms)).await
    }

    /// An empty set of addresses, in a file of the state folder without a name.
    ///
    /// # Errors
    /// When no file can be made there.
    pub fn address_set(&self) -> Result<AddressSet, LedgerError> {
        AddressSet::new(self.shared.location.state_dir())
    }

    /// The addresses of a run whose recipients have one of `states`: first by outcome, in the order of their claims, and then by what came
    /// back; `None` where the ledger has no such run. Blocking. Reading ends beyond `max`, with one more than that.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn recipients_of(&self, key: &RunKey, states: &[OutcomeState], max: usize) -> Result<Option<Vec<String>>, LedgerError> {
        let mut people = Vec::new();
        let is_there = self.each_recipient_of(key, states, |address| {
            people.push(address);
            if people.len() > max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(is_there.then_some(people))
    }

    /// Passes each of these addresses to `each`, until it breaks; returns whether the ledger has such a run. Blocking.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn each_recipient_of(
        &self,
        key: &RunKey,
        states: &[OutcomeState],
        each: impl FnMut(String) -> ControlFlow<()>,
    ) -> Result<bool, LedgerError> {
        self.shared.ask(|reader| {
            let Some(run) = reader.run(key)? else { return Ok(false) };
            reader.recipients_in(run.record.id, states, each)?;
            Ok(true)
        })
    }

    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |writer: &mut Writer| {
            // The caller may be gone; the job is carried out all the same.
            let _ = answer.send(work(writer));
        });
        self.shared.jobs.as_ref().ok_or_else(LedgerError::closed)?.have_done(job).await?;
        answered.await.map_err(|_| LedgerError::closed())?
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("location", &self.shared.location).finish_non_exhaustive()
    }
}

impl Shared {
    fn new(location: LedgerPlace, seed: u64, epoch: i64, jobs: Jobs, thread: Option<JoinHandle<()>>) -> Self {
        Self {
            jobs: Some(jobs),
            thread,
            location,
            seed,
            epoch,
            servers: RwLock::default(),
            builders: Builders::default(),
            keys: RwLock::default(),
            reader: Mutex::default(),
        }
    }

    /// Asks beside the thread that writes. It blocks.
    fn ask<T>(&self, question: impl FnOnce(&LedgerReader) -> Result<T, LedgerError>) -> Result<T, LedgerError> {
        let kept = || self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let reader = kept().take().filter(LedgerReader::is_usable);
        let reader = reader.map_or_else(|| LedgerReader::open(self.location.clone()), Ok)?;
        let answer = question(&reader);
        if self.location.database().is_some() && reader.is_usable() {
            *kept() = Some(reader);
        }
        answer
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported; nothing is left to save here.
            let _ = thread.join();
        }
    }
}
