//! Statuses, events and finalizers on the objects: written by server-side apply, one object at a time, when the API server
//! can be reached. Of many statuses of one object only the newest is written.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{Hash as _, Hasher as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kube::{
    Client,
    api::{Patch, PatchParams},
    core::Request,
    runtime::events::{Event, Recorder, Reporter},
};
use serde::Deserialize;
use serde_json::{Value, json};
use siphasher::sip::SipHasher13;
use tokio::{sync::Notify, task::JoinSet, time::Instant};

use super::{
    FIELD_MANAGER, FINALIZER, REQUEST_TIMEOUT,
    events::{self, Told, When},
    objects::type_meta,
};
use crate::{
    resources::{Campaign, Condition, GROUP, Key, Kind as _, Plan, SendingServer, VERSION},
    source::sink::AsJson,
};

/// Writes at a time.
const WRITES_MAX: usize = 8;
/// After a failed write of an object: doubled with each further one.
const RETRY_FIRST: Duration = Duration::from_millis(250);
/// Low, so that statuses catch up soon after the API server is back.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// After a write that the API server refused: only a person or a change mends that.
const REFUSED_RETRY: Duration = Duration::from_secs(60);
/// What another object may still mend is told in an event after so long.
const LASTING: Duration = Duration::from_secs(30);
/// Between two repairs of a status that somebody else wrote.
const REPAIR_EVERY: Duration = Duration::from_secs(30);

type Id = (&'static str, Key);
type Requested = http::Request<Vec<u8>>;

/// Writes to the cluster. Cheap to clone.
#[derive(Clone)]
pub struct ClusterStatuses {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    recorder: Recorder,
    desk: Mutex<Desk>,
    news: Notify,
    idle: Notify,
}

#[derive(Default)]
struct Desk {
    objects: BTreeMap<Id, Object>,
    /// Those with something to write.
    due: BTreeSet<Id>,
    /// Those to be looked at later.
    later: BTreeSet<(Instant, Id)>,
    writing: usize,
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
    failures: u32,
    not_before: Option<Instant>,
    /// A hash of the status as it was written, and the version of the object then.
    written: Option<(u64, u64)>,
    repaired: Option<Instant>,
}

impl Object {
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
    pub fn start(client: Client, instance: String) -> Self {
        let reporter = Reporter { controller: "mailfleet.dev/controller".to_owned(), instance: Some(instance) };
        let recorder = Recorder::new(client.clone(), reporter);
        let shared = Arc::new(Shared { client, recorder, desk: Mutex::default(), news: Notify::new(), idle: Notify::new() });
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
            object.not_before = None;
            let until = object.note_news(before, now);
            desk.later.extend(until.map(|until| (until, (kind, key.clone()))));
            desk.due.insert((kind, key.clone()));
        }
        self.shared.news.notify_one();
    }

    /// Whether a campaign is being sent.
    pub(crate) fn note_sending(&self, key: &Key, uid: &str, is_sending: bool) {
        let is_new = {
            let mut desk = self.desk();
            let object = of(&mut desk, Campaign::KIND, key, uid);
            let is_new = std::mem::replace(&mut object.wants_finalizer, is_sending) != is_sending;
            if is_new {
                desk.due.insert((Campaign::KIND, key.clone()));
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
                object.has_finalizer = has_finalizer;
                is_due = object.has_finalizer != object.wants_finalizer;
            }
            // Somebody else wrote the status after us: it is put right, but never in a quick quarrel.
            if let Some((hash, written)) = object.written
                && version > written
                && !object.is_writing
                && !object.status_due
                && hash_of(status) != hash
                && object.repaired.is_none_or(|at| at.elapsed() >= REPAIR_EVERY)
            {
                object.repaired = Some(Instant::now());
                object.status_due = true;
                is_due = true;
            }
            if is_due {
                desk.due.insert((kind, key.clone()));
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
        desk.due.remove(&(kind, key.clone()));
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

fn hash_of(value: Option<&Value>) -> u64 {
    fn add(value: &Value, hasher: &mut SipHasher13) {
        match value {
            Value::Object(fields) => {
                // The API server sorts by name.
                let mut names: Vec<&String> = fields.keys().collect();
                names.sort();
                for name in names {
                    name.hash(hasher);
                    add(&fields[name], hasher);
                }
                1_u8.hash(hasher);
            }
            Value::Array(items) => {
                items.iter().for_each(|item| add(item, hasher));
                2_u8.hash(hasher);
            }
            other => other.to_string().hash(hasher),
        }
    }
    let mut hasher = SipHasher13::new();
    if let Some(value) = value {
        add(value, &mut hasher);
    }
    hasher.finish()
}

/// What is written of one object in one go.
struct Write {
    id: Id,
    uid: String,
    status: Option<Arc<dyn AsJson>>,
    finalizer: Option<bool>,
    events: Vec<Event>,
}

/// What came of it.
struct Written {
    id: Id,
    uid: String,
    status: Option<(u64, u64)>,
    finalizer: Option<bool>,
    result: Result<(), Failed>,
}

enum Failed {
    /// It is gone, or another one has its name.
    Gone,
    /// Try again, after so long where the API server says so.
    Later { after: Option<Duration>, why: String, is_internal: bool },
    /// The API server refuses it.
    Refused(String),
}

impl Failed {
    /// The API server cannot be reached.
    const fn away(why: String) -> Self {
        Self::Later { after: None, why, is_internal: false }
    }
}

async fn work(shared: Arc<Shared>) {
    let mut writes: JoinSet<Written> = JoinSet::new();
    let mut is_told = false;
    loop {
        let (due, next) = take_due(&shared, WRITES_MAX - writes.len());
        for write in due {
            writes.spawn(perform(shared.clone(), write));
        }
        if writes.is_empty() {
            shared.idle.notify_waiters();
        }
        let sleep = next.unwrap_or_else(|| Instant::now() + Duration::from_secs(60));
        tokio::select! {
            Some(written) = writes.join_next() => {
                if let Ok(written) = written {
                    note(&shared, written, &mut is_told);
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
    let Desk { objects, due, later, writing } = &mut *desk;
    let now = Instant::now();
    while let Some((_, id)) = later.first().filter(|(at, _)| *at <= now).cloned().and_then(|first| later.take(&first)) {
        if let Some(object) = objects.get_mut(&id) {
            object.tell_what_lasts(now);
            due.insert(id);
        }
    }
    let mut writes = Vec::new();
    while writes.len() < room
        && let Some(id) = due.pop_first()
    {
        let Some(object) = objects.get_mut(&id).filter(|object| object.is_due()) else { continue };
        if let Some(at) = object.not_before.filter(|at| *at > now) {
            later.insert((at, id));
            continue;
        }
        object.is_writing = true;
        let status = std::mem::take(&mut object.status_due).then(|| object.status.clone()).flatten();
        let finalizer = (object.has_finalizer != object.wants_finalizer).then_some(object.wants_finalizer);
        writes.push(Write { id, uid: object.uid.clone(), status, finalizer, events: std::mem::take(&mut object.events) });
    }
    *writing += writes.len();
    (writes, later.first().map(|(at, _)| *at))
}

fn note(shared: &Shared, written: Written, is_told: &mut bool) {
    let mut desk = shared.desk.lock().unwrap_or_else(PoisonError::into_inner);
    desk.writing -= 1;
    let Desk { objects, due, .. } = &mut *desk;
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
            if std::mem::take(is_told) {
                tracing::warn!("statuses can be written again");
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
            if !std::mem::replace(is_told, true) {
                tracing::warn!(kind, name = %key, why, "a status cannot be written now; it is tried again, and the newest is kept");
            }
        }
        Err(Failed::Refused(why)) => {
            again(object, REFUSED_RETRY);
            tracing::error!(kind, name = %key, why, "the API server refuses the status; bring the CRDs and the rights of the service account up to date");
        }
    }
    if object.is_due() {
        due.insert(written.id);
    }
}

#[derive(Deserialize)]
struct Answer {
    metadata: AnswerMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnswerMetadata {
    resource_version: String,
}

async fn perform(shared: Arc<Shared>, write: Write) -> Written {
    let Write { id, uid, status, finalizer, events } = write;
    let mut written = Written { id, uid, status: None, finalizer: None, result: Ok(()) };
    let (kind, key) = (written.id.0, written.id.1.clone());
    // The finalizer comes before the status that says so, and goes after the status that says why.
    if finalizer == Some(true) {
        match set_finalizer(&shared.client, &key, &written.uid, true).await {
            Ok(()) => written.finalizer = finalizer,
            Err(failed) => written.result = Err(failed),
        }
    }
    if let Some(status) = &status {
        match put_status(&shared.client, kind, &key, &written.uid, &status.as_json()).await {
            Ok(done) => written.status = Some(done),
            Err(failed) => written.result = Err(failed),
        }
    }
    if finalizer == Some(false) && written.result.is_ok() {
        match set_finalizer(&shared.client, &key, &written.uid, false).await {
            Ok(()) => written.finalizer = finalizer,
            Err(failed) => written.result = Err(failed),
        }
    }
    // Events are for people and may be lost; a status may not.
    if !matches!(written.result, Err(Failed::Gone)) {
        let regarding = events::regarding(kind, &key, &written.uid);
        for event in &events {
            let published = tokio::time::timeout(REQUEST_TIMEOUT, shared.recorder.publish(event, &regarding)).await;
            if let Ok(Err(error)) = published {
                tracing::debug!(%error, kind, name = %key, "an event could not be written");
            }
        }
    }
    written
}

async fn put_status(client: &Client, kind: &'static str, key: &Key, uid: &str, status: &Value) -> Result<(u64, u64), Failed> {
    let body = body(kind, key, uid, json!({}), Some(status));
    let resource = Request::new(path(kind, &key.namespace));
    let applied = resource.patch_subresource("status", &key.name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&body));
    let version = match send(client, applied).await {
        // An object whose spec does not fit the served schema cannot be applied to; its status can be merged.
        Err(Failed::Later { is_internal: true, .. }) => {
            let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
            send(client, resource.patch_subresource("status", &key.name, &parameters, &Patch::Merge(&body))).await?
        }
        sent => sent?,
    };
    Ok((hash_of(Some(status)), version))
}

async fn set_finalizer(client: &Client, key: &Key, uid: &str, wanted: bool) -> Result<(), Failed> {
    let metadata = if wanted { json!({"finalizers": [FINALIZER]}) } else { json!({}) };
    let body = body(Campaign::KIND, key, uid, metadata, None);
    let request = Request::new(path(Campaign::KIND, &key.namespace)).patch(
        &key.name,
        &PatchParams::apply(FIELD_MANAGER).force(),
        &Patch::Apply(&body),
    );
    send(client, request).await.map(|_| ())
}

fn body(kind: &str, key: &Key, uid: &str, mut metadata: Value, status: Option<&Value>) -> Value {
    // With the UID an object that is gone is not made again, and another of the same name is not touched.
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert("name".to_owned(), key.name.as_str().into());
        metadata.insert("namespace".to_owned(), key.namespace.as_str().into());
        metadata.insert("uid".to_owned(), uid.into());
    }
    let types = type_meta(kind);
    let mut body = json!({"apiVersion": types.api_version, "kind": types.kind, "metadata": metadata});
    if let (Some(body), Some(status)) = (body.as_object_mut(), status) {
        body.insert("status".to_owned(), status.clone());
    }
    body
}

fn path(kind: &str, namespace: &str) -> String {
    let plural = match kind {
        SendingServer::KIND => SendingServer::PLURAL,
        Plan::KIND => Plan::PLURAL,
        _ => Campaign::PLURAL,
    };
    format!("/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{plural}")
}

async fn send(client: &Client, request: Result<Requested, kube::core::request::Error>) -> Result<u64, Failed> {
    let request = request.map_err(|error| Failed::Refused(error.to_string()))?;
    match tokio::time::timeout(REQUEST_TIMEOUT, client.request::<Answer>(request)).await {
        Ok(Ok(answer)) => Ok(answer.metadata.resource_version.parse().unwrap_or(0)),
        Ok(Err(kube::Error::Api(status))) => {
            let after = status.details.as_ref().map(|details| details.retry_after_seconds).filter(|secs| *secs > 0);
            let after = after.map(|secs| Duration::from_secs(u64::from(secs.min(60))));
            match status.code {
                404 => Err(Failed::Gone),
                400 | 403 | 422 => Err(Failed::Refused(status.message.clone())),
                code => Err(Failed::Later { after, why: status.message.clone(), is_internal: code == 500 }),
            }
        }
        Ok(Err(error)) => Err(Failed::away(error.to_string())),
        Err(_) => Err(Failed::away("the API server gives no answer".to_owned())),
    }
}

#[cfg(test)]
#[path = "statuses_tests.rs"]
mod tests;
