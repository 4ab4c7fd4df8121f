//! Statuses, events and finalizers on the objects: written by server-side apply, one object at a time, when the API server
//! can be reached. Of many statuses of one object only the newest is written.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kube::{Client, runtime::events::Event};
use serde_json::Value;
use tokio::{sync::Notify, task::JoinSet, time::Instant};

use super::{
    events::{self, Publisher, Told, When},
    repeated::{Said, Troubles},
    writes::{Failed, Id, Write, Written, hash_of, perform},
};
use crate::{
    resources::{Campaign, Condition, ConditionType, Key, Kind as _, condition},
    source::sink::AsJson,
};

/// Writes at a time.
const WRITES_MAX: usize = 8;
/// After a failed write of an object: doubled with each further one.
const RETRY_FIRST: Duration = Duration::from_millis(250);
/// Low, so that statuses catch up soon after the API server is back.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// After a write that the API server refused: only a person or a change fixes that.
const REFUSED_RETRY: Duration = Duration::from_secs(60);
/// What another object may still fix is told in an event after so long.
const LASTING: Duration = Duration::from_secs(30);
/// What is true for a moment only (`Reconciling`) is not written when something else follows so soon: half as many writes.
const PASSING: Duration = Duration::from_secs(2);
/// What a new object lacks may come with the next ones of the same apply. Said at once, `Stalled` would make Flux give up.
const COMING: Duration = Duration::from_secs(5);
/// Before a status that somebody else wrote is put right once more: doubled each time, so that no quarrel becomes a storm.
/// The first time it is put right at once.
const REPAIR_FIRST: Duration = Duration::from_secs(2);
/// The longest that a foreign status stands.
const REPAIR_MAX: Duration = Duration::from_secs(30);
/// A quarrel is over when nobody else wrote for so long.
const QUARREL: Duration = Duration::from_secs(60);

/// Writes to the cluster. Cheap to clone.
#[derive(Clone)]
pub struct ClusterStatuses {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    publisher: Publisher,
    desk: Mutex<Desk>,
    news: Notify,
    idle: Notify,
}

#[derive(Default)]
struct Desk {
    objects: BTreeMap<Id, Object>,
    /// Those with something to write, in the order in which it came.
    due: VecDeque<Id>,
    /// Those to be looked at later.
    later: BTreeSet<(Instant, Id)>,
    writing: usize,
}

impl Desk {
    fn queue(&mut self, id: Id) {
        if let Some(object) = self.objects.get_mut(&id)
            && !std::mem::replace(&mut object.is_queued, true)
        {
            self.due.push_back(id);
        }
    }
}

#[derive(Default)]
struct Object {
    uid: String,
    /// What the status should be.
    status: Option<Arc<dyn AsJson>>,
    /// Whether it waits to be written.
    status_due: bool,
    events: Vec<Event>,
    /// What events, or a status before this process, have told.
    told: Option<Told>,
    is_known: bool,
    /// What is told if it lasts: since when.
    untold: Option<(Told, Event, Instant)>,
    /// Whether the finalizer is there, and whether it should be.
    has_finalizer: bool,
    wants_finalizer: bool,
    is_writing: bool,
    /// Whether it stands among those that are due.
    is_queued: bool,
    failures: u32,
    not_before: Option<Instant>,
    /// Since when a status that may soon be another one waits.
    passing: Option<Instant>,
    /// A hash of the status as it was written, and the version of the object then.
    written: Option<(u64, u64)>,
    /// The same as it was seen last: by the time a write is known to be done, somebody else may have written after it.
    seen: Option<(u64, u64)>,
    /// When a foreign status was put right last, and how often in this quarrel.
    repaired: Option<(Instant, u32)>,
}

impl Object {
    /// Puts a status right that somebody else wrote after us, soon; whether there is one.
    fn repair(&mut self) -> bool {
        let is_overwritten = matches!((self.seen, self.written), (Some((seen, at)), Some((written, ours))) if at > ours && seen != written);
        if !is_overwritten || self.is_writing || self.status_due || self.status.is_none() {
            return false;
        }
        let now = Instant::now();
        let (at, turn) = match self.repaired {
            Some((last, turns)) if last + QUARREL > now => {
                (now.max(last + (REPAIR_FIRST * 2_u32.saturating_pow(turns.min(16))).min(REPAIR_MAX)), turns.saturating_add(1))
            }
            _ => (now, 0),
        };
        self.repaired = Some((at, turn));
        self.status_due = true;
        self.not_before = Some(at);
        true
    }

    fn is_due(&self) -> bool {
        !self.is_writing && (self.status_due || !self.events.is_empty() || self.has_finalizer != self.wants_finalizer)
    }
}

impl Object {
    /// Makes an event of what is new, now or later: when to look again.
    fn note_news(&mut self, before: Option<&[Condition]>, conditions: &[Condition]) -> Option<Instant> {
        let now = Told::of(conditions)?;
        if !std::mem::replace(&mut self.is_known, true) {
            self.told = before.and_then(Told::of);
        }
        match events::when(self.told, now) {
            When::Never => {
                self.told = Some(now);
                self.untold = None;
                None
            }
            When::Now => {
                self.told = Some(now);
                self.untold = None;
                self.events.push(events::event(now, conditions));
                None
            }
            When::IfItLasts if self.untold.as_ref().is_some_and(|(told, _, _)| *told == now) => None,
            When::IfItLasts => {
                let until = Instant::now() + LASTING;
                self.untold = Some((now, events::event(now, conditions), until));
                Some(until)
            }
        }
    }

    /// Until when a status that may be another one soon is not written.
    fn may_pass(&mut self, kind: &str, before: Option<&[Condition]>, now: &[Condition]) -> Option<Instant> {
        let is_first = before.is_none() && self.written.is_none();
        let delay = if is_first && Told::of(now).is_some_and(Told::waits_for_others) {
            COMING
        } else if kind != Campaign::KIND && condition::find(now, ConditionType::Reconciling).is_some() {
            // Campaigns are reconciled for as long as they send.
            PASSING
        } else {
            return None;
        };
        let since = *self.passing.get_or_insert_with(Instant::now);
        Some(since + delay)
    }

    /// What has lasted long enough is told.
    fn tell_what_lasts(&mut self, at: Instant) {
        if let Some((told, event, _)) = self.untold.take_if(|(_, _, until)| *until <= at) {
            self.told = Some(told);
            self.events.push(event);
        }
    }
}

/// A delay, a fifth longer or shorter by chance.
pub(super) fn jittered(delay: Duration) -> Duration {
    let mut byte = [0_u8];
    // Without chance there is no jitter, and nothing else is lost.
    let _ = getrandom::fill(&mut byte);
    delay.mul_f64(0.8 + f64::from(byte[0]) / 255.0 * 0.4)
}

impl ClusterStatuses {
    /// Starts to write for this client; `instance` is named in events.
    #[must_use]
    pub fn start(client: Client, instance: &str) -> Self {
        let publisher = Publisher::new(client.clone(), instance);
        let shared = Arc::new(Shared { client, publisher, desk: Mutex::default(), news: Notify::new(), idle: Notify::new() });
        tokio::spawn(work(shared.clone()));
        Self { shared }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.shared.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new status of an object.
    pub(crate) fn put(
        &self,
        kind: &'static str,
        key: &Key,
        uid: &str,
        status: Arc<dyn AsJson>,
        before: Option<&[Condition]>,
        now: &[Condition],
    ) {
        {
            let mut desk = self.desk();
            let object = of(&mut desk, kind, key, uid);
            object.status = Some(status);
            object.status_due = true;
            object.not_before = object.may_pass(kind, before, now);
            let until = object.note_news(before, now);
            desk.later.extend(until.map(|until| (until, (kind, key.clone()))));
            desk.queue((kind, key.clone()));
        }
        self.shared.news.notify_one();
    }

    /// A status that an earlier process wrote, and that is right as it stands.
    pub(crate) fn note_standing(&self, kind: &'static str, key: &Key, uid: &str, status: Arc<dyn AsJson>) {
        let is_due = {
            let mut desk = self.desk();
            let object = of(&mut desk, kind, key, uid);
            // Written before any version that is seen now.
            object.written = Some((hash_of(Some(&status.as_json())), 0));
            object.status = Some(status);
            let is_due = object.repair();
            if is_due {
                desk.queue((kind, key.clone()));
            }
            is_due
        };
        if is_due {
            self.shared.news.notify_one();
        }
    }

    /// Whether a campaign is being sent.
    pub(crate) fn note_sending(&self, key: &Key, uid: &str, is_sending: bool) {
        let is_new = {
            let mut desk = self.desk();
            let object = of(&mut desk, Campaign::KIND, key, uid);
            let is_new = std::mem::replace(&mut object.wants_finalizer, is_sending) != is_sending;
            if is_new {
                desk.queue((Campaign::KIND, key.clone()));
            }
            is_new
        };
        if is_new {
            self.shared.news.notify_one();
        }
    }

    /// An object as the API server has it.
    pub(super) fn seen(&self, kind: &'static str, key: &Key, uid: &str, version: u64, status: Option<&Value>, has_finalizer: bool) {
        let mut is_due = false;
        {
            let mut desk = self.desk();
            let object = of(&mut desk, kind, key, uid);
            if !object.is_writing {
                // Only campaigns get it from us; on another kind it is somebody else's.
                object.has_finalizer = has_finalizer && kind == Campaign::KIND;
                is_due = object.has_finalizer != object.wants_finalizer;
            }
            object.seen = Some((hash_of(status), version));
            is_due |= object.repair();
            if is_due {
                desk.queue((kind, key.clone()));
            }
        }
        if is_due {
            self.shared.news.notify_one();
        }
    }

    /// An object is gone.
    pub(super) fn gone(&self, kind: &'static str, key: &Key) {
        let mut desk = self.desk();
        desk.objects.remove(&(kind, key.clone()));
    }

    /// Waits until nothing is left to be written, for `grace` at most.
    pub(crate) async fn flush(&self, grace: Duration) {
        let _ = tokio::time::timeout(grace, async {
            loop {
                let idle = self.shared.idle.notified();
                {
                    let desk = self.desk();
                    if desk.writing == 0 && !desk.objects.values().any(Object::is_due) {
                        return;
                    }
                }
                // What was left is looked at again, should the signal have come too early.
                let _ = tokio::time::timeout(Duration::from_millis(100), idle).await;
            }
        })
        .await;
    }
}

fn of<'a>(desk: &'a mut Desk, kind: &'static str, key: &Key, uid: &str) -> &'a mut Object {
    let object = desk.objects.entry((kind, key.clone())).or_default();
    if object.uid != uid {
        *object = Object { uid: uid.to_owned(), ..Object::default() };
    }
    object
}

async fn work(shared: Arc<Shared>) {
    let mut writes: JoinSet<Written> = JoinSet::new();
    let mut troubles = Troubles::default();
    loop {
        let (due, next) = take_due(&shared, WRITES_MAX - writes.len());
        for write in due {
            writes.spawn(perform(shared.client.clone(), shared.publisher.clone(), write));
        }
        if writes.is_empty() {
            shared.idle.notify_waiters();
        }
        let sleep = next.unwrap_or_else(|| Instant::now() + Duration::from_secs(60));
        tokio::select! {
            Some(written) = writes.join_next() => {
                if let Ok(written) = written {
                    note(&shared, written, &mut troubles);
                }
            }
            () = shared.news.notified() => {}
            () = tokio::time::sleep_until(sleep), if writes.len() < WRITES_MAX => {}
        }
    }
}

/// Writes that are due, and when the next one is.
fn take_due(shared: &Shared, room: usize) -> (Vec<Write>, Option<Instant>) {
    let mut desk = shared.desk.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    while desk.later.first().is_some_and(|(at, _)| *at <= now)
        && let Some((_, id)) = desk.later.pop_first()
    {
        if let Some(object) = desk.objects.get_mut(&id) {
            object.tell_what_lasts(now);
            desk.queue(id);
        }
    }
    let Desk { objects, due, later, writing } = &mut *desk;
    let mut writes = Vec::new();
    while writes.len() < room
        && let Some(id) = due.pop_front()
    {
        let Some(object) = objects.get_mut(&id) else { continue };
        object.is_queued = false;
        if !object.is_due() {
            continue;
        }
        if let Some(at) = object.not_before.filter(|at| *at > now) {
            later.insert((at, id));
            continue;
        }
        object.is_writing = true;
        object.passing = None;
        let status = std::mem::take(&mut object.status_due).then(|| object.status.clone()).flatten();
        let finalizer = (object.has_finalizer != object.wants_finalizer).then_some(object.wants_finalizer);
        writes.push(Write { id, uid: object.uid.clone(), status, finalizer, events: std::mem::take(&mut object.events) });
    }
    *writing += writes.len();
    (writes, later.first().map(|(at, _)| *at))
}

fn note(shared: &Shared, written: Written, troubles: &mut Troubles) {
    let mut desk = shared.desk.lock().unwrap_or_else(PoisonError::into_inner);
    desk.writing -= 1;
    let Desk { objects, .. } = &mut *desk;
    let Some(object) = objects.get_mut(&written.id).filter(|object| object.uid == written.uid) else { return };
    object.is_writing = false;
    if let Some(has) = written.finalizer {
        object.has_finalizer = has;
    }
    if written.status.is_some() {
        object.written = written.status;
    }
    let (kind, key) = &written.id;
    let again = |object: &mut Object, after: Duration| {
        object.status_due |= written.status.is_none() && object.status.is_some();
        object.not_before = Some(Instant::now() + jittered(after));
    };
    match written.result {
        Ok(()) => {
            object.failures = 0;
            object.not_before = None;
            object.repair();
            // One that goes well says nothing of another that does not.
            if troubles.are_open() && objects.values().all(|object| object.failures == 0) {
                troubles.over();
            }
        }
        Err(Failed::Gone) => {
            objects.remove(&written.id);
            return;
        }
        Err(Failed::Later { after, why, .. }) => {
            object.failures = object.failures.saturating_add(1);
            let delay = (RETRY_FIRST * 2_u32.saturating_pow(object.failures.min(16) - 1)).min(RETRY_MAX);
            again(object, after.unwrap_or(delay));
            // Whatever the cause of each: statuses cannot be written.
            if let Said::Now { times } = troubles.away.say("statuses", Instant::now()) {
                tracing::warn!(kind, name = %key, why, times, "a status cannot be written now; it is tried again, and the newest is kept");
            }
        }
        Err(Failed::Refused { why, .. }) => {
            object.failures = object.failures.saturating_add(1);
            again(object, REFUSED_RETRY);
            if let Said::Now { times } = troubles.refusal(kind, key, &why) {
                tracing::error!(kind, name = %key, why, times, "the API server refuses the status; bring the CRDs and the rights of the service account up to date");
            }
        }
    }
    if objects.get(&written.id).is_some_and(Object::is_due) {
        desk.queue(written.id);
    }
}

#[cfg(test)]
#[path = "statuses_tests.rs"]
mod tests;
