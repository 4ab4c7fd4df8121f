//! When the status, the events and the finalizer of one object are written. Without I/O or chance: time and chance are arguments.
//!
//! What happens to the object goes in; [`StatusPolicy::due_at`] says when to look again, and [`StatusPolicy::take`] gives what is
//! written then.

use std::{sync::Arc, time::Duration};

use kube::runtime::events::Event;
use tokio::time::Instant;

use super::{
    events::{self, Announce, Readiness},
    writes::{AsJson, Due, Failed, StatusVersion, Written},
};
use crate::{
    backoff::{Backoff, spread},
    resources::{Campaign, Condition, ConditionType, Kind as _, condition},
};

/// After a failed write of an object. Short, so that statuses catch up soon after the API server is back.
const RETRY: Backoff = Backoff { first: Duration::from_millis(250), max: Duration::from_secs(5) };
/// After a write that the API server refused: only a person or a change fixes that.
const REFUSED_RETRY: Duration = Duration::from_secs(60);
/// A state that another object may still end is announced in an event once it has lasted so long.
pub(super) const LASTING: Duration = Duration::from_secs(30);
/// A status with `Reconciling`, soon followed by another, waits so long for that one: half as many writes.
pub(super) const TRANSIENT: Duration = Duration::from_secs(2);
/// What a new object lacks may come later in the same apply. Written at once, `Stalled` would make Flux give up.
pub(super) const SETTLING: Duration = Duration::from_secs(5);
/// Between two repairs of a status that somebody else keeps overwriting. The first repair is immediate.
const REPAIR: Backoff = Backoff { first: Duration::from_secs(2), max: Duration::from_secs(30) };
/// Somebody who has not overwritten a status for so long no longer does.
pub(super) const CONFLICT: Duration = Duration::from_secs(60);

/// The finalizer of a campaign.
#[derive(Clone, Copy, Default)]
struct Finalizer {
    is_present: bool,
    is_wanted: bool,
}

impl Finalizer {
    const fn is_due(self) -> bool {
        self.is_present != self.is_wanted
    }
}

/// Which changes of an object are announced in events.
#[derive(Default)]
struct Announcements {
    /// What was announced last, by an event or by a status of an earlier process; none at first.
    last: Option<Readiness>,
    has_begun: bool,
    /// What is announced if it lasts, and from when on.
    pending: Option<(Readiness, Event, Instant)>,
}

impl Announcements {
    /// The event of a change that is announced now.
    fn on_conditions(&mut self, before: Option<&[Condition]>, conditions: &[Condition], now: Instant) -> Option<Event> {
        let readiness = Readiness::of(conditions)?;
        if !std::mem::replace(&mut self.has_begun, true) {
            self.last = before.and_then(Readiness::of);
        }
        match events::announce(self.last, readiness) {
            Announce::IfItLasts => {
                if self.pending.as_ref().is_none_or(|(pending, _, _)| *pending != readiness) {
                    self.pending = Some((readiness, events::event(readiness, conditions), now + LASTING));
                }
                None
            }
            announce => {
                self.last = Some(readiness);
                self.pending = None;
                (announce == Announce::Now).then(|| events::event(readiness, conditions))
            }
        }
    }

    /// The event of what has lasted long enough.
    fn take_lasting(&mut self, now: Instant) -> Option<Event> {
        let (readiness, event, _) = self.pending.take_if(|(_, _, until)| *until <= now)?;
        self.last = Some(readiness);
        Some(event)
    }
}

/// One object: what should stand on it, what stands there, and what is to be written when.
#[derive(Default)]
pub(super) struct StatusPolicy {
    pub uid: String,
    /// What the status should be.
    status: Option<Arc<dyn AsJson>>,
    is_status_due: bool,
    events: Vec<Event>,
    announcements: Announcements,
    finalizer: Finalizer,
    is_writing: bool,
    /// Since when there has been something to write.
    due_since: Option<Instant>,
    /// Nothing is written before.
    not_before: Option<Instant>,
    /// Since when a status that another may soon replace has waited.
    transient_since: Option<Instant>,
    /// Failed writes in a row.
    pub failures: u32,
    /// The status as we wrote it last.
    written: Option<StatusVersion>,
    /// The status as it was seen last: by the time that a write is known to be done, somebody else may have written after it.
    seen: Option<StatusVersion>,
    /// When a foreign status was repaired last, and how often in this conflict.
    repaired: Option<(Instant, u32)>,
}

impl StatusPolicy {
    /// An object of which nothing is known.
    pub fn new(uid: &str) -> Self {
        Self { uid: uid.to_owned(), ..Self::default() }
    }

    /// The object has a new status; `before` are the conditions as they were written last.
    pub fn on_status(&mut self, kind: &str, status: Arc<dyn AsJson>, before: Option<&[Condition]>, conditions: &[Condition], now: Instant) {
        self.status = Some(status);
        self.is_status_due = true;
        self.not_before = self.wait(kind, before, conditions).map(|delay| *self.transient_since.get_or_insert(now) + delay);
        self.events.extend(self.announcements.on_conditions(before, conditions, now));
        self.note_due(now);
    }

    /// How long a status waits that another may soon replace.
    fn wait(&self, kind: &str, before: Option<&[Condition]>, conditions: &[Condition]) -> Option<Duration> {
        let is_first = before.is_none() && self.written.is_none();
        if is_first && Readiness::of(conditions).is_some_and(Readiness::depends_on_others) {
            Some(SETTLING)
        } else {
            // Campaigns are reconciled for as long as they send.
            let is_transient = kind != Campaign::KIND && condition::find(conditions, ConditionType::Reconciling).is_some();
            is_transient.then_some(TRANSIENT)
        }
    }

    /// An earlier process wrote this status, and it is right as it stands.
    pub fn on_standing(&mut self, status: Arc<dyn AsJson>, hash: u64, now: Instant) {
        // Older than any version that is seen now.
        self.written = Some(StatusVersion { hash, resource_version: 0 });
        self.status = Some(status);
        self.repair(now);
    }

    /// Whether the campaign is being sent.
    pub fn on_sending(&mut self, is_sending: bool, now: Instant) {
        self.finalizer.is_wanted = is_sending;
        self.note_due(now);
    }

    /// The object as the API server has it.
    pub fn on_seen(&mut self, kind: &str, seen: StatusVersion, has_finalizer: bool, now: Instant) {
        if !self.is_writing {
            // Only campaigns get it from us; on another kind it is somebody else's.
            self.finalizer.is_present = has_finalizer && kind == Campaign::KIND;
        }
        self.seen = Some(seen);
        self.repair(now);
        self.note_due(now);
    }

    /// A write ended. `chance`, from 0 to 1, spreads the next attempt.
    pub fn on_written(&mut self, written: &Written, now: Instant, chance: f64) {
        self.is_writing = false;
        if let Some(is_present) = written.finalizer {
            self.finalizer.is_present = is_present;
        }
        if written.status.is_some() {
            self.written = written.status;
        }
        let delay = match &written.result {
            Ok(()) => {
                self.failures = 0;
                self.not_before = None;
                self.repair(now);
                self.note_due(now);
                return;
            }
            Err(Failed::Gone) => return,
            Err(Failed::Refused { .. }) => {
                self.failures = self.failures.saturating_add(1);
                REFUSED_RETRY
            }
            Err(Failed::Later { after, .. }) => {
                self.failures = self.failures.saturating_add(1);
                after.unwrap_or(RETRY.delay(self.failures))
            }
        };
        self.is_status_due |= written.status.is_none() && self.status.is_some();
        self.not_before = Some(now + spread(delay, 0.2, chance));
        self.note_due(now);
    }

    /// Has a status written again, soon, that somebody else wrote over.
    fn repair(&mut self, now: Instant) {
        let is_overwritten = matches!(
            (self.seen, self.written),
            (Some(seen), Some(written)) if seen.resource_version > written.resource_version && seen.hash != written.hash
        );
        if !is_overwritten || self.is_writing || self.is_status_due || self.status.is_none() {
            return;
        }
        let (at, repairs) = match self.repaired {
            Some((last, repairs)) if last + CONFLICT > now => (now.max(last + REPAIR.delay(repairs)), repairs.saturating_add(1)),
            _ => (now, 1),
        };
        self.repaired = Some((at, repairs));
        self.is_status_due = true;
        self.not_before = Some(at);
        self.note_due(now);
    }

    fn note_due(&mut self, now: Instant) {
        if self.has_work() {
            self.due_since.get_or_insert(now);
        } else {
            self.due_since = None;
        }
    }

    fn has_work(&self) -> bool {
        self.is_status_due || !self.events.is_empty() || self.finalizer.is_due()
    }

    /// Whether there is something to write, now or later, that is not being written.
    pub fn is_due(&self) -> bool {
        !self.is_writing && self.has_work()
    }

    /// When to call [`Self::take`] next; none while nothing is due or a write is on its way.
    pub fn due_at(&self) -> Option<Instant> {
        if self.is_writing {
            return None;
        }
        let work = self.due_since.map(|since| self.not_before.map_or(since, |at| at.max(since)));
        let lasting = self.announcements.pending.as_ref().map(|(_, _, until)| *until);
        work.into_iter().chain(lasting).min()
    }

    /// What is written now. The caller hands the outcome to [`Self::on_written`].
    pub fn take(&mut self, now: Instant) -> Option<Due> {
        if self.is_writing {
            return None;
        }
        self.events.extend(self.announcements.take_lasting(now));
        self.note_due(now);
        if !self.has_work() || self.not_before.is_some_and(|at| at > now) {
            return None;
        }
        self.is_writing = true;
        self.due_since = None;
        self.transient_since = None;
        Some(Due {
            status: if std::mem::take(&mut self.is_status_due) { self.status.clone() } else { None },
            finalizer: self.finalizer.is_due().then_some(self.finalizer.is_wanted),
            events: std::mem::take(&mut self.events),
        })
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
