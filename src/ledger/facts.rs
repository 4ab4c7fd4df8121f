//! The facts that decisions depend on and only the ledger knows: generations of objects, runs, counts.
//!
//! A process that sends asks its [`Ledger`], which records what is new. One that only wants to know the effect of a change asks
//! [`RecordedFacts`], which takes no lock, raises no epoch, writes nothing, and works beside a process that sends.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    Generation, Ledger, LedgerError, LedgerErrorKind, LedgerPlace, LedgerReader, RunCounts, RunId, RunKey, RunRecord, SentAlike,
    ServerRecord, SpecHash, StandingOf, generations,
};
use crate::feedback::Complaints;

/// The ledger's knowledge, as decisions need it.
pub trait Facts: Send + Sync {
    /// The generation of each spec: recorded by a [`Ledger`], predicted by a reader.
    ///
    /// # Errors
    /// When the database cannot be read, or cannot be written where that is needed.
    fn generations(&self, specs: Vec<SpecHash>, now_ms: i64) -> impl Future<Output = Result<Vec<Generation>, LedgerError>> + Send;

    /// The record of each run; `None` for one that never began.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn runs(&self, keys: Vec<RunKey>) -> impl Future<Output = Result<Vec<Option<RunRecord>>, LedgerError>> + Send;

    /// The campaigns that sent alike, for each run that is asked for; of those of one kind, all within the same time.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn alike(&self, asked: Vec<SentAlike>) -> impl Future<Output = Result<Vec<Arc<[String]>>, LedgerError>> + Send;

    /// What was reported as spam, and how much was accepted, of the runs of each namespace that are open or were closed since.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn complaints(&self, since_ms: i64) -> impl Future<Output = Result<BTreeMap<String, Complaints>, LedgerError>> + Send;

    /// The number of messages of a run by fate.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn counts(&self, run: RunId) -> impl Future<Output = Result<RunCounts, LedgerError>> + Send;

    /// What is known of servers, by name: the pauses and requests of all, and the results of those that are asked for.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn standings(&self, asked: Vec<StandingOf>) -> impl Future<Output = Result<BTreeMap<String, ServerRecord>, LedgerError>> + Send;
}

impl Facts for Ledger {
    async fn generations(&self, specs: Vec<SpecHash>, now_ms: i64) -> Result<Vec<Generation>, LedgerError> {
        self.record_generations(specs, now_ms).await
    }

    async fn runs(&self, keys: Vec<RunKey>) -> Result<Vec<Option<RunRecord>>, LedgerError> {
        self.find_runs(keys).await
    }

    async fn alike(&self, asked: Vec<SentAlike>) -> Result<Vec<Arc<[String]>>, LedgerError> {
        Self::alike(self, asked).await
    }

    async fn complaints(&self, since_ms: i64) -> Result<BTreeMap<String, Complaints>, LedgerError> {
        Self::complaints(self, since_ms).await
    }

    async fn counts(&self, run: RunId) -> Result<RunCounts, LedgerError> {
        Self::counts(self, run).await
    }

    async fn standings(&self, asked: Vec<StandingOf>) -> Result<BTreeMap<String, ServerRecord>, LedgerError> {
        Self::standings(self, asked).await
    }
}

/// The facts in a state folder, read-only. From a folder without a ledger nothing has been sent.
#[derive(Clone, Debug)]
pub struct RecordedFacts {
    reader: Option<Arc<Mutex<LedgerReader>>>,
}

impl RecordedFacts {
    /// Opens the ledger of a state folder for reading, if there is one. Blocking.
    ///
    /// # Errors
    /// As [`LedgerReader::open`], except that a missing ledger is not an error.
    pub fn open(location: impl Into<LedgerPlace>) -> Result<Self, LedgerError> {
        match LedgerReader::open(location) {
            Ok(reader) => Ok(Self { reader: Some(Arc::new(Mutex::new(reader))) }),
            Err(error) if error.kind == LedgerErrorKind::Missing => Ok(Self { reader: None }),
            Err(error) => Err(error),
        }
    }

    /// The facts where no ledger is at hand.
    #[must_use]
    pub const fn none() -> Self {
        Self { reader: None }
    }

    /// Asks on a thread that may block; returns `absent` if there is no ledger.
    async fn ask<T: Send + 'static>(
        &self,
        absent: T,
        question: impl FnOnce(&LedgerReader) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let Some(reader) = self.reader.clone() else { return Ok(absent) };
        let asked = tokio::task::spawn_blocking(move || question(&reader.lock().unwrap_or_else(PoisonError::into_inner)));
        asked.await.map_err(|_| LedgerError::closed())?
    }
}

impl Facts for RecordedFacts {
    async fn generations(&self, specs: Vec<SpecHash>, now_ms: i64) -> Result<Vec<Generation>, LedgerError> {
        let absent = vec![generations::first(now_ms); specs.len()];
        self.ask(absent, move |reader| reader.read(|connection| generations::predicted(connection, &specs, now_ms))).await
    }

    async fn runs(&self, keys: Vec<RunKey>) -> Result<Vec<Option<RunRecord>>, LedgerError> {
        let absent = vec![None; keys.len()];
        self.ask(absent, move |reader| reader.read(|connection| super::runs::find_runs(connection, &keys))).await
    }

    async fn alike(&self, asked: Vec<SentAlike>) -> Result<Vec<Arc<[String]>>, LedgerError> {
        let absent = vec![Arc::default(); asked.len()];
        self.ask(absent, move |reader| reader.read(|connection| generations::alike(connection, &asked))).await
    }

    async fn complaints(&self, since_ms: i64) -> Result<BTreeMap<String, Complaints>, LedgerError> {
        self.ask(BTreeMap::new(), move |reader| reader.read(|connection| super::events::complaints(connection, since_ms))).await
    }

    async fn counts(&self, run: RunId) -> Result<RunCounts, LedgerError> {
        self.ask(RunCounts::default(), move |reader| reader.read(|connection| super::runs::counts(connection, run))).await
    }

    async fn standings(&self, asked: Vec<StandingOf>) -> Result<BTreeMap<String, ServerRecord>, LedgerError> {
        self.ask(BTreeMap::new(), move |reader| reader.read(|connection| super::standing::standings(connection, &asked))).await
    }
}
