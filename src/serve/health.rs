//! The health of the process, for probes and metrics.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

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
}

impl Health {
    /// Of a starting process, whose engine is visible through `view`.
    #[must_use]
    pub fn new(view: watch::Receiver<View>) -> Self {
        Self { phase: Arc::new(watch::channel(ProcessPhase::Starting).0), view }
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
