//! Who carries out what is asked of the writer, and how a lease is kept meanwhile.

#[cfg(test)]
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::mpsc;

#[cfg(test)]
use super::writer::Writer;
use super::{
    error::{LedgerError, LedgerErrorKind},
    tenure,
    writer::Job,
};

/// Who carries out jobs.
pub(super) enum Jobs {
    /// The writing thread.
    Thread(mpsc::Sender<Job>),
    /// Whoever asks, in simulated time, where nothing may happen beside anything else; a job begins and ends after pauses.
    #[cfg(test)]
    Asker(Box<Mutex<Writer>>, Box<dyn Fn() -> Duration + Send + Sync>),
}

impl Jobs {
    /// Has a job done; its answer goes through its own channel.
    ///
    /// # Errors
    /// When the writing thread has ended.
    pub(super) async fn have_done(&self, job: Job) -> Result<(), LedgerError> {
        match self {
            Self::Thread(jobs) => jobs.send(job).await.map_err(|_| LedgerError::closed())?,
            #[cfg(test)]
            Self::Asker(writer, pause) => {
                tokio::time::sleep(pause()).await;
                writer.lock().unwrap_or_else(PoisonError::into_inner).carry_out(job);
                tokio::time::sleep(pause()).await;
            }
        }
        Ok(())
    }
}

/// Has the writing thread heard of for as long as the ledger is open.
pub(super) fn beat(jobs: mpsc::WeakSender<Job>) -> Result<(), LedgerError> {
    let beating = move || {
        std::thread::sleep(tenure::BEAT);
        while let Some(open) = jobs.upgrade() {
            let beat: Job = Box::new(|writer| {
                if let Err(error) = writer.book.beat() {
                    tracing::debug!(%error, "the lease of the ledger was not extended");
                }
            });
            // A full queue is heard of by itself.
            let _ = open.try_send(beat);
            drop(open);
            std::thread::sleep(tenure::BEAT);
        }
    };
    let started = std::thread::Builder::new().name("ledger-lease".to_owned()).spawn(beating);
    started.map(drop).map_err(|e| LedgerError::new(LedgerErrorKind::Io, format!("the ledger's thread could not be started ({e})")))
}
