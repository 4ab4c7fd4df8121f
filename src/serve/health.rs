//! The health of the process, for probes and metrics.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::Instant,
};

use super::disk::{self, DiskUsage};
use crate::engine::View;

/// The engine decides every few seconds even when nothing happens; one that has not for this long hangs.
const TURN_MAX: Duration = Duration::from_secs(60);

/// What the process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessPhase {
    /// It reads its configuration, and opens its cluster and ledger.
    Starting,
    /// Another process leads; this one takes over when that one stops.
    StandingBy,
    /// It decides and sends, or is about to.
    Leading,
    /// It was told to stop; messages on the wire finish.
    Stopping,
}

/// The health of the process. Clones share it.
#[derive(Clone)]
pub struct Health {
    phase: Arc<watch::Sender<ProcessPhase>>,
    view: watch::Receiver<View>,
    disk: watch::Receiver<Option<DiskUsage>>,
    /// Metrics are written by one at a time.
    scrapes: Arc<Semaphore>,
    started_at: SystemTime,
}

impl Health {
    /// Of a starting process, whose engine is visible through `view`.
    #[must_use]
    pub fn new(view: watch::Receiver<View>) -> Self {
        let (phase, disk) = (Arc::new(watch::channel(ProcessPhase::Starting).0), watch::channel(None).1);
        Self { phase, view, disk, scrapes: Arc::new(Semaphore::new(1)), started_at: SystemTime::now() }
    }

    /// The same, which knows the room of the ledger as well: of these files in a state folder.
    #[must_use]
    pub fn with_disk(self, state_dir: PathBuf, files: &'static [&'static str]) -> Self {
        let (told, disk) = watch::channel(None);
        tokio::spawn(disk::follow(state_dir, files, told));
        Self { disk, ..self }
    }

    /// The process enters a phase. `Stopping` is the last one.
    pub fn enter(&self, phase: ProcessPhase) {
        self.phase.send_if_modified(|now| {
            let changes = *now != phase && *now != ProcessPhase::Stopping;
            if changes {
                *now = phase;
            }
            changes
        });
    }

    /// What the process is doing.
    #[must_use]
    pub fn phase(&self) -> ProcessPhase {
        *self.phase.borrow()
    }

    /// The engine's latest view.
    pub(super) fn view(&self) -> View {
        self.view.borrow().clone()
    }

    /// The room of the ledger, once it is known.
    pub(super) fn disk(&self) -> Option<DiskUsage> {
        *self.disk.borrow()
    }

    /// When the process started.
    pub(super) fn started_at(&self) -> SystemTime {
        self.started_at
    }

    /// Waits for its turn to write metrics.
    pub(super) async fn scrapes(&self) -> Option<OwnedSemaphorePermit> {
        // It is never closed.
        self.scrapes.clone().acquire_owned().await.ok()
    }

    /// Whether a restart would not help.
    ///
    /// # Errors
    /// What hangs, in words.
    pub fn live(&self, now: Instant) -> Result<(), String> {
        let turned_at = self.view.borrow().turned_at;
        match (self.phase(), turned_at) {
            (ProcessPhase::Leading, Some(at)) if now.saturating_duration_since(at) > TURN_MAX => {
                Err(format!("the engine has not decided anything for more than {} s", TURN_MAX.as_secs()))
            }
            // Before the first turn it waits for an API server or a ledger, and a restart brings neither.
            _ => Ok(()),
        }
    }

    /// Whether it does its work, or stands by to do it.
    ///
    /// # Errors
    /// What it waits for, in words.
    pub fn ready(&self) -> Result<(), &'static str> {
        match self.phase() {
            ProcessPhase::Starting => Err("starting"),
            ProcessPhase::Leading if self.view.borrow().turned_at.is_none() => Err("leading; the objects are not all read yet"),
            ProcessPhase::StandingBy | ProcessPhase::Leading => Ok(()),
            ProcessPhase::Stopping => Err("stopping"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_is_well() {
        let (sender, view) = watch::channel(View::default());
        let health = Health::new(view);
        let start = Instant::now();
        let states = |health: &Health, after: u64| (health.live(start + Duration::from_secs(after)).is_ok(), health.ready().is_ok());
        assert_eq!(states(&health, 0), (true, false), "starting");
        health.enter(ProcessPhase::StandingBy);
        assert_eq!(states(&health, 1000), (true, true), "a standby has no turns");
        health.enter(ProcessPhase::Leading);
        assert_eq!(states(&health, 1000), (true, false), "waits for its first turn");
        sender.send_replace(View { turned_at: Some(start), ..View::default() });
        assert_eq!(states(&health, 60), (true, true));
        assert_eq!(states(&health, 61), (false, true), "hangs");
        sender.send_replace(View { turned_at: Some(start + Duration::from_secs(50)), ..View::default() });
        assert_eq!(states(&health, 61), (true, true), "turns again");
        health.enter(ProcessPhase::Stopping);
        health.enter(ProcessPhase::Leading);
        assert_eq!(health.phase(), ProcessPhase::Stopping, "stopping is the last one");
        assert_eq!(states(&health, 1000), (true, false), "it may take its time to stop");
    }
}
