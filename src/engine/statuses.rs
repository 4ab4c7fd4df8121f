//! The statuses as they were written last, and when the next may be written.
//!
//! A change of anything but a counter is written at once; counters alone at most every 5 seconds. The folder itself
//! writes nothing when the text is the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    decide::{Decision, World},
    resources::{
        API_VERSION, Campaign, Condition, Key, Kind, Object, Plan, SendingServer,
        campaign::{CampaignStatus, RecipientCounts},
        condition,
    },
    source::{Broken, Snapshot, StatusFolder},
};

/// Between two writes of counters alone, milliseconds.
const COUNTERS_EVERY_MS: i64 = 5000;
/// Before a failed write is tried again, milliseconds.
const WRITE_AGAIN_MS: i64 = 5000;

/// The statuses.
pub struct Statuses {
    folder: StatusFolder,
    conditions: BTreeMap<(&'static str, Key), Vec<Condition>>,
    campaigns: BTreeMap<Key, CampaignStatus>,
    /// What was written last: without counters, and when.
    written: BTreeMap<(&'static str, Key), (u64, u64, i64)>,
    /// Whose last write failed: told once, however often it is tried.
    failing: BTreeSet<(&'static str, Key)>,
    broken: Vec<Broken>,
    wake_at_ms: i64,
    /// Whether files of objects that went while no process ran were looked for.
    is_swept: bool,
}

impl Statuses {
    /// Statuses in a folder.
    pub fn new(folder: StatusFolder) -> Self {
        Self {
            folder,
            conditions: BTreeMap::new(),
            campaigns: BTreeMap::new(),
            written: BTreeMap::new(),
            failing: BTreeSet::new(),
            broken: Vec::new(),
            wake_at_ms: i64::MAX,
            is_swept: false,
        }
    }

    /// The status of a campaign as it was decided last.
    pub fn campaign(&self, key: &Key) -> Option<CampaignStatus> {
        self.campaigns.get(key).cloned()
    }

    /// When a held-back write is due.
    pub fn wake_at_ms(&self) -> i64 {
        self.wake_at_ms
    }

    /// Takes over the previous statuses of objects seen first, and forgets objects that are gone.
    pub fn note_objects(&mut self, snapshot: &Snapshot, world: &World) {
        fn previous<K: Kind>(conditions: &mut BTreeMap<(&'static str, Key), Vec<Condition>>, key: &Key, status: Option<&Arc<Value>>) {
            let old = status.and_then(|status| status.get("conditions")).and_then(|old| serde_json::from_value(old.clone()).ok());
            if let Some(old) = old {
                conditions.entry((K::KIND, key.clone())).or_insert(old);
            }
        }
        for (key, sourced) in &snapshot.servers {
            previous::<SendingServer>(&mut self.conditions, key, sourced.previous_status.as_ref());
        }
        for (key, sourced) in &snapshot.plans {
            previous::<Plan>(&mut self.conditions, key, sourced.previous_status.as_ref());
        }
        for (key, sourced) in &snapshot.campaigns {
            previous::<Campaign>(&mut self.conditions, key, sourced.previous_status.as_ref());
            if let Some(previous) = world.campaigns.get(key).and_then(|input| input.previous.clone()) {
                self.campaigns.entry(key.clone()).or_insert(previous);
            }
        }
        self.broken.clone_from(&snapshot.broken);
        let kept: BTreeSet<(&'static str, Key)> = world
            .servers
            .keys()
            .map(|key| (SendingServer::KIND, key.clone()))
            .chain(world.plans.keys().map(|key| (Plan::KIND, key.clone())))
            .chain(world.campaigns.keys().map(|key| (Campaign::KIND, key.clone())))
            .chain(self.broken.iter().map(|broken| (broken.kind, broken.key.clone())))
            .collect();
        self.sweep(&kept);
        let gone: Vec<(&'static str, Key)> = self.written.keys().filter(|id| !kept.contains(id)).cloned().collect();
        for id in gone {
            if let Err(error) = self.folder.remove(id.0, &id.1) {
                tracing::warn!(%error, kind = id.0, name = %id.1, "the status of a deleted object could not be removed");
            }
            self.written.remove(&id);
            self.failing.remove(&id);
            self.conditions.remove(&id);
            if id.0 == Campaign::KIND {
                self.campaigns.remove(&id.1);
            }
        }
    }

    /// Removes, once, the files of objects that went while no process ran.
    fn sweep(&mut self, kept: &BTreeSet<(&'static str, Key)>) {
        if std::mem::replace(&mut self.is_swept, true) {
            return;
        }
        let there = match self.folder.objects() {
            Ok(there) => there,
            Err(error) => return tracing::warn!(%error, "the status folder cannot be read"),
        };
        for (kind, key) in there {
            if !kept.iter().any(|(kept_kind, kept_key)| *kept_kind == kind && *kept_key == key)
                && let Err(error) = self.folder.remove(&kind, &key)
            {
                tracing::warn!(%error, kind, name = %key, "the status of a deleted object could not be removed");
            }
        }
    }

    /// Writes what changed; `flush` writes counters too, however young the last write.
    pub fn write(&mut self, world: &World, decision: &Decision, now_ms: i64, flush: bool) {
        self.wake_at_ms = i64::MAX;
        for (key, server) in &decision.servers {
            let Some(input) = world.servers.get(key) else { continue };
            let mut status = server.status.clone();
            status.conditions = self.timed(SendingServer::KIND, key, status.conditions, input.object.generation(), now_ms);
            self.put(&*input.object, key, &status, &status, now_ms, flush);
        }
        for (key, status) in &decision.plans {
            let Some(input) = world.plans.get(key) else { continue };
            let mut status = status.clone();
            status.conditions = self.timed(Plan::KIND, key, status.conditions, input.object.generation(), now_ms);
            self.put(&*input.object, key, &status, &status, now_ms, flush);
        }
        for (key, campaign) in &decision.campaigns {
            let Some(input) = world.campaigns.get(key) else { continue };
            let mut status = campaign.status.clone();
            status.conditions = self.timed(Campaign::KIND, key, status.conditions, input.object.generation(), now_ms);
            self.campaigns.insert(key.clone(), status.clone());
            let shape = without_counters(&status);
            self.put(&*input.object, key, &status, &shape, now_ms, flush);
        }
        for broken in self.broken.clone() {
            self.put_broken(&broken, now_ms);
        }
    }

    fn timed(&mut self, kind: &'static str, key: &Key, wanted: Vec<Condition>, generation: i64, now_ms: i64) -> Vec<Condition> {
        let now = Timestamp::from_millisecond(now_ms - now_ms.rem_euclid(1000)).unwrap_or_default();
        let old = self.conditions.entry((kind, key.clone())).or_default();
        let timed = condition::merge(old, wanted, generation, now);
        old.clone_from(&timed);
        timed
    }

    fn put<S: Serialize, T>(
        &mut self,
        object: &Object<S, T>,
        key: &Key,
        status: &impl Serialize,
        shape: &impl Serialize,
        now_ms: i64,
        flush: bool,
    ) where
        Object<S, T>: Kind,
    {
        let kind = <Object<S, T> as Kind>::KIND;
        let text = |value: &dyn Fn() -> serde_json::Result<String>| value().unwrap_or_default();
        let spec = text(&|| serde_json::to_string(&(&object.metadata, &object.spec)));
        let whole = super::lookup::hash(&(spec.clone() + &text(&|| serde_json::to_string(status))));
        let shape = super::lookup::hash(&(spec + &text(&|| serde_json::to_string(shape))));
        let id = (kind, key.clone());
        if let Some((old_whole, old_shape, at_ms)) = self.written.get(&id) {
            if *old_whole == whole {
                return;
            }
            let due = at_ms + COUNTERS_EVERY_MS;
            if *old_shape == shape && due > now_ms && !flush {
                self.wake_at_ms = self.wake_at_ms.min(due);
                return;
            }
        }
        let mut metadata = json!(object.metadata);
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.entry("namespace").or_insert_with(|| key.namespace.clone().into());
        }
        let value = json!({"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": object.spec, "status": status});
        self.store(id, &value, (whole, shape), now_ms);
    }

    fn put_broken(&mut self, broken: &Broken, now_ms: i64) {
        use crate::resources::{ConditionStatus, ConditionType, Reason};
        let of = |kind, status| Condition::new(kind, status, Reason::Unreadable, broken.message.as_str());
        let wanted = vec![of(ConditionType::Ready, ConditionStatus::False), of(ConditionType::Stalled, ConditionStatus::True)];
        let conditions = self.timed(broken.kind, &broken.key, wanted, 0, now_ms);
        let mut value = (*broken.document).clone();
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("namespace".to_owned(), broken.key.namespace.as_str().into());
        }
        if let Some(object) = value.as_object_mut() {
            object.insert("status".to_owned(), json!({"conditions": conditions}));
        }
        let whole = super::lookup::hash(&value.to_string());
        let id = (broken.kind, broken.key.clone());
        if self.written.get(&id).is_none_or(|(old, _, _)| *old != whole) {
            self.store(id, &value, (whole, whole), now_ms);
        }
    }

    fn store(&mut self, id: (&'static str, Key), value: &Value, (whole, shape): (u64, u64), now_ms: i64) {
        match self.folder.write(id.0, &id.1, value) {
            Ok(_) => {
                self.failing.remove(&id);
                self.written.insert(id, (whole, shape, now_ms));
            }
            Err(error) => {
                if !self.failing.contains(&id) {
                    tracing::error!(%error, kind = id.0, name = %id.1, "a status file could not be written; it is tried again until it can");
                    self.failing.insert(id);
                }
                self.wake_at_ms = self.wake_at_ms.min(now_ms + WRITE_AGAIN_MS);
            }
        }
    }
}

/// A campaign's status with what changes at every message left out.
fn without_counters(status: &CampaignStatus) -> CampaignStatus {
    let mut shape = status.clone();
    shape.recipients = RecipientCounts::default();
    for server in &mut shape.servers {
        server.accepted = 0;
        server.limit_left = None;
        server.warmup_left = None;
    }
    shape
}
