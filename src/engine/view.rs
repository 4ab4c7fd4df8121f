//! What of the engine is visible from outside: for progress, health checks and metrics.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::Webhooks;
use crate::{
    decide::{Decision, ProbeResult},
    report::{Report, Timing},
    resources::{Campaign, Plan, SendingServer},
    source::{ByName, Snapshot},
};

/// The part of the engine's state that is visible from outside.
#[derive(Clone, Default)]
pub struct View {
    /// The latest decision.
    pub decision: Arc<Decision>,
    /// The latest counts.
    pub report: Arc<Report>,
    /// When it was decided.
    pub turned_at: Option<Instant>,
    /// How long turns took, and probes.
    pub measured: Measured,
    /// What was read last.
    pub config: ConfigRead,
    /// Where the calls of vendors are taken.
    pub webhooks: Arc<Webhooks>,
    /// The objects, as they were read last.
    pub objects: Objects,
}

/// The objects of a source, shared with it; without their Secrets.
#[derive(Clone, Default)]
pub struct Objects {
    /// The sending servers.
    pub servers: ByName<SendingServer>,
    /// The plans.
    pub plans: ByName<Plan>,
    /// The campaigns.
    pub campaigns: ByName<Campaign>,
}

/// How long the work of the control plane took, since the process started.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Turns, including their lookups.
    pub turns: Timing,
    /// The longest turn.
    pub longest_turn: Duration,
    /// Probes, by the type of the server and what came of them.
    pub probes: BTreeMap<(&'static str, ProbeOutcome), Timing>,
}

/// What came of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeOutcome {
    /// The server would take messages.
    Succeeded,
    /// It cannot be used.
    Failed,
}

impl ProbeOutcome {
    /// None where a server cannot be probed without sending.
    pub(super) fn of(result: &ProbeResult) -> Option<Self> {
        match result {
            ProbeResult::Succeeded => Some(Self::Succeeded),
            ProbeResult::Failed(_) => Some(Self::Failed),
            ProbeResult::NotProbeable => None,
        }
    }
}

impl Measured {
    /// Counts a turn.
    pub(crate) fn turned(&mut self, took: Duration) {
        self.turns.note(took);
        self.longest_turn = self.longest_turn.max(took);
    }
}

/// What the engine knows of its objects' source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigRead {
    /// When objects were read last, because something had changed.
    pub read_at: Option<SystemTime>,
    /// When that was last without any fault.
    pub good_at: Option<SystemTime>,
    /// Objects whose newest version cannot be used, by kind: those with an older one, which is used meanwhile, and those without.
    pub broken: BTreeMap<&'static str, usize>,
    /// Faults of files, those of the objects included.
    pub faults: usize,
}

impl ConfigRead {
    /// What is known after a further snapshot.
    pub(super) fn after(&self, snapshot: &Snapshot, now: SystemTime) -> Self {
        let broken =
            [("SendingServer", stale(&snapshot.servers)), ("Plan", stale(&snapshot.plans)), ("Campaign", stale(&snapshot.campaigns))];
        let never = |kind: &str| snapshot.broken.iter().filter(|broken| broken.kind == kind).count();
        let broken = broken.into_iter().map(|(kind, stale)| (kind, stale + never(kind))).collect();
        let read = Self { read_at: Some(now), good_at: self.good_at, broken, faults: snapshot.faults().count() };
        Self { good_at: if read.is_good() { Some(now) } else { self.good_at }, ..read }
    }

    /// Whether what was read last had no fault.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.faults == 0 && self.broken.values().all(|count| *count == 0)
    }
}

fn stale<K>(objects: &ByName<K>) -> usize {
    objects.values().filter(|object| object.stale.is_some()).count()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::source::{Finding, Severity};

    #[test]
    fn a_fault_is_told_until_it_is_fixed_and_the_last_good_read_stays_known() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let good = ConfigRead::default().after(&Snapshot::default(), at(1));
        assert!(good.is_good());
        let fault = Finding::of_file(Severity::Fault, Path::new("a.yaml"), "this is no YAML");
        let broken = good.after(&Snapshot { findings: vec![fault], ..Snapshot::default() }, at(2));
        assert_eq!((broken.is_good(), broken.faults, broken.read_at, broken.good_at), (false, 1, Some(at(2)), Some(at(1))));
        let fixed = broken.after(&Snapshot::default(), at(3));
        assert_eq!((fixed.is_good(), fixed.good_at), (true, Some(at(3))));
    }
}
