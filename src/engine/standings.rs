//! Judges servers by what comes back, and has the pauses that follow recorded before they have an effect.

use std::time::Duration;

use tokio::time::Instant;

use super::Engine;
use crate::{
    decide::{World, pauses},
    feedback::{Change, PauseChange},
};

/// The shortest time between two readings.
const AGAIN: Duration = Duration::from_secs(1);
/// A reading rests this many times as long as it took, so that it takes no more than a fiftieth of a core.
const RESTS: u32 = 50;

/// When the standings of servers were read, and how that went.
#[derive(Debug, Default)]
pub(super) struct Standings {
    read_at: Option<Instant>,
    took: Duration,
    /// The last failure, which is told once.
    failure: Option<String>,
}

impl Standings {
    fn is_due(&self, world: &World) -> bool {
        let rest = AGAIN.max(self.took.saturating_mul(RESTS));
        let is_judged = || {
            let mut servers = world.servers.values();
            servers.any(|input| input.object.spec.pause_when().is_some() || input.past.standing.returned.is_some())
        };
        self.read_at.is_none_or(|at| at.elapsed() >= rest) && is_judged()
    }

    fn note<T, E: std::fmt::Display>(&mut self, doing: &str, result: Result<T, E>) -> bool {
        let failure = result.err().map(|error| error.to_string());
        if let Some(error) = failure.as_ref().filter(|error| self.failure.as_ref() != Some(error)) {
            tracing::warn!(error, "{doing}");
        }
        let is_good = failure.is_none();
        self.failure = failure;
        is_good
    }
}

impl Engine {
    /// Reads what came back, if that is due, and records the pauses of servers that begin or end.
    pub(super) async fn judge_servers(&mut self) {
        let now_ms = self.clock.now_ms();
        if self.standings.is_due(&self.world) {
            self.read_standings(now_ms).await;
        }
        let changes = pauses::changes(&self.world, now_ms);
        if changes.is_empty() {
            return;
        }
        let written = self.lookup.change_pauses(changes.clone(), now_ms).await;
        if self.standings.note("pauses of servers could not be recorded", written) {
            changes.iter().for_each(tell);
            self.read_standings(now_ms).await;
        }
    }

    async fn read_standings(&mut self, now_ms: i64) {
        let began = Instant::now();
        let read = self.lookup.renew_standings(&mut self.world, now_ms).await;
        self.standings.note("the feedback of servers could not be read", read);
        self.standings.read_at = Some(Instant::now());
        self.standings.took = began.elapsed();
    }
}

fn tell(change: &PauseChange) {
    let server = &change.server;
    match &change.what {
        Change::Begins(pause) => {
            let namespace = pause.namespace.as_deref().unwrap_or("all");
            tracing::warn!(%server, namespace, reason = %pause.reason, "paused: {}", pause.message);
        }
        Change::End => tracing::info!(%server, "the pause is over; the server is given a small share at first"),
        Change::Resumes { token, .. } => tracing::info!(%server, token, "a request to resume was carried out"),
    }
}
