//! The queue of writes: statuses, events and finalizers, one write of an object at a time, when the API server can be reached.
//! Of many statuses of one object only the newest is written; [`StatusPolicy`] says when.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kube::Client;
use serde_json::Value;
use tokio::{sync::Notify, task::JoinSet, time::Instant};

use super::{
    events::Publisher,
    policy::StatusPolicy,
    repeated::{Said, WriteErrors},
    writes::{AsJson, Failed, Id, StatusVersion, Write, Written, hash_of, perform},
};
use crate::{
    backoff::chance,
    resources::{Campaign, Condition, Key, Kind as _},
};

/// Writes at a time.
const WRITES_MAX: usize = 8;
/// The longest sleep while nothing is due.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// Between two looks at whether everything is written.
const IDLE_CHECK: Duration = Duration::from_millis(100);

/// Writes to the cluster. Cheap to clone.
#[derive(Clone)]
pub struct ClusterStatuses {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    publisher: Publisher,
    queue: Mutex<WriteQueue>,
    /// Something became due.
    wake: Notify,
    idle: Notify,
}

impl Shared {
    fn new(client: Client, instance: &str) -> Arc<Self> {
        let publisher = Publisher::new(client.clone(), instance);
        Arc::new(Self { client, publisher, queue: Mutex::default(), wake: Notify::new(), idle: Notify::new() })
    }

    fn queue(&self) -> MutexGuard<'_, WriteQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct WriteQueue {
    objects: BTreeMap<Id, Queued>,
    /// When which object is looked at next, the earliest first.
    schedule: BTreeSet<(Instant, Id)>,
    writing: usize,
}

#[derive(Default)]
struct Queued {
    policy: StatusPolicy,
    /// Its place in the schedule.
    at: Option<Instant>,
}

impl WriteQueue {
    /// Tells the policy of an object what happened, and schedules the object anew; whether that changed the schedule. An object
    /// with another UID begins anew.
    fn update(&mut self, id: Id, uid: &str, happened: impl FnOnce(&mut StatusPolicy)) -> bool {
        let queued = self.objects.entry(id.clone()).or_default();
        if queued.policy.uid != uid {
            queued.policy = StatusPolicy::new(uid);
        }
        happened(&mut queued.policy);
        self.reschedule(id)
    }

    fn reschedule(&mut self, id: Id) -> bool {
        let Some(queued) = self.objects.get_mut(&id) else { return false };
        let at = queued.policy.due_at();
        let before = std::mem::replace(&mut queued.at, at);
        if before == at {
            return false;
        }
        if let Some(before) = before {
            self.schedule.remove(&(before, id.clone()));
        }
        self.schedule.extend(at.map(|at| (at, id)));
        true
    }

    fn remove(&mut self, id: &Id) {
        if let Some(at) = self.objects.remove(id).and_then(|queued| queued.at) {
            self.schedule.remove(&(at, id.clone()));
        }
    }

    /// Up to `room` writes that are due, and when the next one is.
    fn take(&mut self, room: usize, now: Instant) -> (Vec<Write>, Option<Instant>) {
        let mut writes = Vec::new();
        while writes.len() < room
            && let Some((_, id)) = self.schedule.first().filter(|(at, _)| *at <= now).cloned()
        {
            let Some(queued) = self.objects.get_mut(&id) else {
                self.schedule.pop_first();
                continue;
            };
            if let Some(due) = queued.policy.take(now) {
                writes.push(Write { id: id.clone(), uid: queued.policy.uid.clone(), due });
            }
            self.reschedule(id);
        }
        self.writing += writes.len();
        (writes, self.schedule.first().map(|(at, _)| *at))
    }

    /// Notes what came of a write, and logs a fault once.
    fn note(&mut self, written: Written, errors: &mut WriteErrors, now: Instant) {
        self.writing -= 1;
        let Some(queued) = self.objects.get_mut(&written.id).filter(|queued| queued.policy.uid == written.uid) else { return };
        queued.policy.on_written(&written, now, chance());
        let (kind, key) = &written.id;
        match &written.result {
            Ok(()) => {
                // One write that succeeds says nothing of another that does not.
                if errors.are_open() && self.objects.values().all(|queued| queued.policy.failures == 0) {
                    errors.over();
                }
            }
            Err(Failed::Gone) => return self.remove(&written.id),
            Err(Failed::Later { why, .. }) => {
                // Whatever the cause of each: statuses cannot be written.
                if let Said::Now { times } = errors.away.say("statuses", now) {
                    tracing::warn!(kind, name = %key, why, times, "a status cannot be written now; the newest is kept and retried");
                }
            }
            Err(Failed::Refused { why, .. }) => {
                if let Said::Now { times } = errors.refusal(kind, key, why, now) {
                    tracing::error!(kind, name = %key, why, times, "the API server refuses the status; update the CRDs and the permissions of the service account");
                }
            }
        }
        self.reschedule(written.id);
    }
}

impl ClusterStatuses {
    /// Starts to write for this client; `instance` is named in events.
    #[must_use]
    pub fn start(client: Client, instance: &str) -> Self {
        let shared = Shared::new(client, instance);
        tokio::spawn(work(shared.clone()));
        Self { shared }
    }

    fn update(&self, kind: &'static str, key: &Key, uid: &str, happened: impl FnOnce(&mut StatusPolicy)) {
        let is_new = self.shared.queue().update((kind, key.clone()), uid, happened);
        if is_new {
            self.shared.wake.notify_one();
        }
    }

    /// A new status of an object.
    pub(crate) fn put(
        &self,
        kind: &'static str,
        key: &Key,
        uid: &str,
        status: Arc<dyn AsJson>,
        before: Option<&[Condition]>,
        conditions: &[Condition],
    ) {
        self.update(kind, key, uid, |policy| policy.on_status(kind, status, before, conditions, Instant::now()));
    }

    /// A status that an earlier process wrote, and that is right as it stands.
    pub(crate) fn note_standing(&self, kind: &'static str, key: &Key, uid: &str, status: Arc<dyn AsJson>) {
        let hash = hash_of(Some(&status.as_json()));
        self.update(kind, key, uid, |policy| policy.on_standing(status, hash, Instant::now()));
    }

    /// Whether a campaign is being sent.
    pub(crate) fn note_sending(&self, key: &Key, uid: &str, is_sending: bool) {
        self.update(Campaign::KIND, key, uid, |policy| policy.on_sending(is_sending, Instant::now()));
    }

    /// An object as the API server has it.
    pub(super) fn seen(
        &self,
        kind: &'static str,
        key: &Key,
        uid: &str,
        resource_version: u64,
        status: Option<&Value>,
        has_finalizer: bool,
    ) {
        let seen = StatusVersion { hash: hash_of(status), resource_version };
        self.update(kind, key, uid, |policy| policy.on_seen(kind, seen, has_finalizer, Instant::now()));
    }

    /// An object is gone.
    pub(super) fn gone(&self, kind: &'static str, key: &Key) {
        self.shared.queue().remove(&(kind, key.clone()));
    }

    /// Waits until nothing is left to be written, for `grace` at most.
    pub(crate) async fn flush(&self, grace: Duration) {
        let _ = tokio::time::timeout(grace, async {
            loop {
                let idle = self.shared.idle.notified();
                {
                    let queue = self.shared.queue();
                    if queue.writing == 0 && !queue.objects.values().any(|queued| queued.policy.is_due()) {
                        return;
                    }
                }
                // Looked at again in any case: the signal may have come too early.
                let _ = tokio::time::timeout(IDLE_CHECK, idle).await;
            }
        })
        .await;
    }
}

async fn work(shared: Arc<Shared>) {
    let mut writes: JoinSet<Written> = JoinSet::new();
    let mut errors = WriteErrors::default();
    loop {
        let (due, next) = shared.queue().take(WRITES_MAX - writes.len(), Instant::now());
        for write in due {
            writes.spawn(perform(shared.client.clone(), shared.publisher.clone(), write));
        }
        if writes.is_empty() {
            shared.idle.notify_waiters();
        }
        let until = next.unwrap_or_else(|| Instant::now() + SLEEP_MAX);
        tokio::select! {
            Some(written) = writes.join_next() => {
                if let Ok(written) = written {
                    shared.queue().note(written, &mut errors, Instant::now());
                }
            }
            () = shared.wake.notified() => {}
            () = tokio::time::sleep_until(until), if writes.len() < WRITES_MAX => {}
        }
    }
}

#[cfg(test)]
#[path = "statuses_tests.rs"]
mod tests;
