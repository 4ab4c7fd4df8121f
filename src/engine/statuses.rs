//! The statuses as they were last decided and written, and when the next may be written.
//!
//! A change of anything but counters is written at once; a change of counters alone at most every 5 seconds.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use crate::{
    decide::{Decision, World},
    meta::command::with_options,
    resources::{
        Campaign, Condition, ConditionStatus, ConditionType, Key, Kind, Object, Plan, Reason, SendingServer,
        campaign::{CampaignState, CampaignStatus, RecipientCounts},
        condition,
        plan::PlanStatus,
        rollout::RolloutStatus,
        sending_server::{CameBack, DomainUsed, SendingServerStatus, WarmupStatus},
        server_table::ServerTable,
    },
    source::{Broken, Origin, Snapshot, Sourced, StatusSink, StatusWrite},
};

/// The interval between two writes of counters alone, milliseconds.
const COUNTERS_EVERY_MS: i64 = 5000;

/// What the three statuses have in common.
trait Status: Clone + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static {
    fn conditions(&self) -> &[Condition];
    fn conditions_mut(&mut self) -> &mut Vec<Condition>;
    fn observed_generation_mut(&mut self) -> &mut i64;
    /// Whether the two are equal apart from what changes with every message.
    fn is_same_but_for_counters(&self, other: &Self) -> bool;
}

impl Status for SendingServerStatus {
    fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    fn conditions_mut(&mut self) -> &mut Vec<Condition> {
        &mut self.conditions
    }

    fn observed_generation_mut(&mut self) -> &mut i64 {
        &mut self.observed_generation
    }

    fn is_same_but_for_counters(&self, other: &Self) -> bool {
        let shape = |status: &Self| Self {
            used: None,
            per_domain: status.per_domain.iter().map(|domain| DomainUsed { used: None, ..domain.clone() }).collect(),
            warmup: status.warmup.clone().map(|warmup| WarmupStatus { used: None, ..warmup }),
            came_back: status.came_back.clone().map(CameBack::without_counts),
            ..status.clone()
        };
        shape(self) == shape(other)
    }
}

impl Status for PlanStatus {
    fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    fn conditions_mut(&mut self) -> &mut Vec<Condition> {
        &mut self.conditions
    }

    fn observed_generation_mut(&mut self) -> &mut i64 {
        &mut self.observed_generation
    }

    fn is_same_but_for_counters(&self, other: &Self) -> bool {
        self == other
    }
}

impl Status for CampaignStatus {
    fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    fn conditions_mut(&mut self) -> &mut Vec<Condition> {
        &mut self.conditions
    }

    fn observed_generation_mut(&mut self) -> &mut i64 {
        &mut self.observed_generation
    }

    fn is_same_but_for_counters(&self, other: &Self) -> bool {
        let shape = |status: &Self| Self {
            recipients: RecipientCounts::default(),
            sent: String::new(),
            failed: 0,
            time_left: None,
            // That it is known, and whether it is an estimate, is written at once.
            expected_total: status.expected_total.map(|_| 0),
            servers: ServerTable::default(),
            rollout: status.rollout.as_ref().map(RolloutStatus::without_counters),
            ..status.clone()
        };
        self.servers.is_same_but_for_counters(&other.servers) && shape(self) == shape(other)
    }
}

/// The status of one object.
struct Kept<K, S> {
    object: Arc<K>,
    origin: Origin,
    /// As last decided; the times of its conditions count.
    decided: Option<Arc<S>>,
    /// As last written, and when, milliseconds: 0 if an earlier process wrote it.
    written: Option<(Arc<S>, i64)>,
    /// The conditions written by an earlier process, if that status cannot be read completely.
    old_conditions: Vec<Condition>,
}

/// The statuses of one kind.
struct StatusCache<K, S>(BTreeMap<Key, Kept<K, S>>);

impl<K, S> Default for StatusCache<K, S> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

/// The status of an object that was never valid.
struct KeptBroken {
    broken: Broken,
    /// As last written.
    conditions: Vec<Condition>,
    is_written: bool,
}

/// The statuses of all objects.
pub struct Statuses {
    sink: StatusSink,
    servers: StatusCache<SendingServer, SendingServerStatus>,
    plans: StatusCache<Plan, PlanStatus>,
    campaigns: StatusCache<Campaign, CampaignStatus>,
    broken: BTreeMap<(&'static str, Key), KeptBroken>,
    wake_at_ms: i64,
    /// Whether the files of objects that were deleted while no process ran have been looked for.
    is_swept: bool,
}

impl Statuses {
    /// Statuses that are written to this sink.
    pub fn new(sink: StatusSink) -> Self {
        Self {
            sink,
            servers: StatusCache::default(),
            plans: StatusCache::default(),
            campaigns: StatusCache::default(),
            broken: BTreeMap::new(),
            wake_at_ms: i64::MAX,
            is_swept: false,
        }
    }

    /// The status of a campaign as it was last decided.
    pub fn campaign(&self, key: &Key) -> Option<Arc<CampaignStatus>> {
        self.campaigns.0.get(key).and_then(|kept| kept.decided.clone())
    }

    /// Whether they are those of objects in a cluster.
    pub fn are_in_cluster(&self) -> bool {
        matches!(self.sink, StatusSink::Cluster(_))
    }

    /// When a delayed write is due.
    pub fn wake_at_ms(&self) -> i64 {
        self.wake_at_ms
    }

    /// Forgets what is known about objects that were deleted and created again under the same name: in a cluster their UID differs.
    pub fn forget_replaced(&mut self, snapshot: &Snapshot) {
        forget(&mut self.servers, &snapshot.servers);
        forget(&mut self.plans, &snapshot.plans);
        forget(&mut self.campaigns, &snapshot.campaigns);
    }

    /// Adopts the previous statuses of objects seen for the first time, and forgets objects that are gone.
    pub fn note_objects(&mut self, snapshot: &Snapshot, world: &World) {
        let in_cluster = self.are_in_cluster();
        let mut gone = note(&mut self.servers, snapshot.servers.iter(), |key| world.servers.get(key).map(|i| i.object.clone()), in_cluster);
        gone.extend(note(&mut self.plans, snapshot.plans.iter(), |key| world.plans.get(key).map(|i| i.object.clone()), in_cluster));
        let object = |key: &Key| world.campaigns.get(key).map(|input| input.object.clone());
        gone.extend(note(&mut self.campaigns, snapshot.campaigns.iter(), object, in_cluster));
        for (key, input) in &world.campaigns {
            if let (Some(kept), Some(previous)) = (self.campaigns.0.get_mut(key), &input.previous) {
                kept.decided.get_or_insert_with(|| previous.clone());
            }
        }
        let mut old = std::mem::take(&mut self.broken);
        for broken in &snapshot.broken {
            let id = (broken.kind, broken.key.clone());
            gone.retain(|gone| *gone != id);
            let kept = old.remove(&id).map_or_else(
                || KeptBroken { broken: broken.clone(), conditions: conditions_of(broken.previous_status.as_deref()), is_written: false },
                |known| KeptBroken { is_written: known.is_written && known.broken == *broken, broken: broken.clone(), ..known },
            );
            self.broken.insert(id, kept);
        }
        let is_known =
            |servers: &StatusCache<_, _>, plans: &StatusCache<_, _>, campaigns: &StatusCache<_, _>, id: &(&'static str, Key)| match id.0 {
                SendingServer::KIND => servers.0.contains_key(&id.1),
                Plan::KIND => plans.0.contains_key(&id.1),
                _ => campaigns.0.contains_key(&id.1),
            };
        gone.extend(old.into_keys().filter(|id| !is_known(&self.servers, &self.plans, &self.campaigns, id)));
        for (kind, key) in gone {
            self.sink.remove(kind, &key);
        }
        self.sweep();
    }

    /// Removes, once, the files of objects that were deleted while no process ran.
    fn sweep(&mut self) {
        if std::mem::replace(&mut self.is_swept, true) {
            return;
        }
        let there = match self.sink.objects() {
            Ok(there) => there,
            Err(error) => return tracing::warn!(%error, "the status folder cannot be read"),
        };
        let broken: BTreeSet<(&str, &Key)> = self.broken.keys().map(|(kind, key)| (*kind, key)).collect();
        for (kind, key) in there {
            let kinds = [SendingServer::KIND, Plan::KIND, Campaign::KIND];
            let Some(kind) = kinds.into_iter().find(|known| *known == kind) else { continue };
            let is_kept = broken.contains(&(kind, &key))
                || match kind {
                    SendingServer::KIND => self.servers.0.contains_key(&key),
                    Plan::KIND => self.plans.0.contains_key(&key),
                    _ => self.campaigns.0.contains_key(&key),
                };
            if !is_kept {
                self.sink.remove(kind, &key);
            }
        }
    }

    /// Sets the times of the conditions in a decision: those of the previous decision for conditions that have not changed.
    pub fn date(&self, snapshot: &Snapshot, decision: &mut Decision, now_ms: i64) {
        for (key, server) in &mut decision.servers {
            date(&self.servers, key, &mut server.status, snapshot.servers.get(key), now_ms);
        }
        for (key, status) in &mut decision.plans {
            date(&self.plans, key, status, snapshot.plans.get(key), now_ms);
        }
        for (key, campaign) in &mut decision.campaigns {
            date(&self.campaigns, key, &mut campaign.status, snapshot.campaigns.get(key), now_ms);
        }
    }

    /// Writes what has changed in a decision whose conditions have their times; `flush` writes counters too, however recent the
    /// last write.
    pub fn write(&mut self, snapshot: &Snapshot, decision: &Decision, now_ms: i64, flush: bool) {
        self.wake_at_ms = i64::MAX;
        let mut turn = Turn { sink: &self.sink, now_ms, flush, wake_at_ms: i64::MAX };
        for (key, server) in &decision.servers {
            turn.put(&mut self.servers, key, server.status.clone(), snapshot.servers.get(key));
        }
        for (key, status) in &decision.plans {
            turn.put(&mut self.plans, key, status.clone(), snapshot.plans.get(key));
        }
        for (key, campaign) in &decision.campaigns {
            let sourced = snapshot.campaigns.get(key);
            turn.put(&mut self.campaigns, key, campaign.status.clone(), sourced);
            if let Some(sourced) = sourced {
                let status = &campaign.status;
                let begun = campaign.intent.is_some() && status.started_at.is_some();
                let is_sending = status.recipients.sending > 0
                    || (begun && !sourced.origin.is_deleting() && matches!(status.state, CampaignState::Sending | CampaignState::Waiting));
                // At the very end nothing is in flight any more.
                self.sink.note_sending(key, &sourced.origin, is_sending && !flush);
            }
        }
        for kept in self.broken.values_mut() {
            if !std::mem::replace(&mut kept.is_written, true) {
                turn.put_broken(&kept.broken, &mut kept.conditions);
            }
        }
        self.wake_at_ms = turn.wake_at_ms;
    }

    /// Waits until everything has been written, for `grace` at most.
    pub async fn flush(&self, grace: std::time::Duration) {
        self.sink.flush(grace).await;
    }
}

fn forget<K: Kind, S>(cache: &mut StatusCache<K, S>, objects: &BTreeMap<Key, Sourced<K>>) {
    cache.0.retain(|key, kept| objects.get(key).is_none_or(|sourced| kept.origin.is_same_object(&sourced.origin)));
}

/// Adopts new objects of one kind; returns those that are gone.
fn note<'a, K: Kind + PartialEq, S: Status>(
    cache: &mut StatusCache<K, S>,
    objects: impl Iterator<Item = (&'a Key, &'a Sourced<K>)>,
    object: impl Fn(&Key) -> Option<Arc<K>>,
    in_cluster: bool,
) -> Vec<(&'static str, Key)> {
    let mut there = BTreeSet::new();
    for (key, sourced) in objects {
        let Some(object) = object(key) else { continue };
        there.insert(key);
        if let Some(kept) = cache.0.get_mut(key) {
            // A status file shows metadata and spec too.
            if !in_cluster && !Arc::ptr_eq(&kept.object, &object) && *kept.object != *object {
                kept.written = None;
            }
            kept.object = object;
            kept.origin.clone_from(&sourced.origin);
        } else {
            let kept = taken_over(object, sourced, in_cluster);
            cache.0.insert(key.clone(), kept);
        }
    }
    let gone: Vec<Key> = cache.0.keys().filter(|key| !there.contains(key)).cloned().collect();
    gone.into_iter()
        .map(|key| {
            cache.0.remove(&key);
            (K::KIND, key)
        })
        .collect()
}

fn conditions_of(status: Option<&serde_json::Value>) -> Vec<Condition> {
    status.and_then(|status| status.get("conditions")).and_then(|old| serde_json::from_value(old.clone()).ok()).unwrap_or_default()
}

fn taken_over<K, S: Status>(object: Arc<K>, sourced: &Sourced<K>, in_cluster: bool) -> Kept<K, S> {
    let previous = sourced.previous_status.as_deref();
    let old_conditions = conditions_of(previous);
    // In a cluster a status that is already there need not be written again; the status folder compares bytes itself.
    let status = previous.filter(|_| in_cluster).and_then(|status| serde_json::from_value::<S>(status.clone()).ok());
    Kept { object, origin: sourced.origin.clone(), decided: None, written: status.map(|status| (Arc::new(status), 0)), old_conditions }
}

/// Sets the times of the conditions in one status.
fn date<K: Kind, S: Status>(cache: &StatusCache<K, S>, key: &Key, status: &mut S, sourced: Option<&Sourced<K>>, now_ms: i64) {
    let (Some(kept), Some(sourced)) = (cache.0.get(key), sourced) else { return };
    let old = kept.decided.as_deref().map_or(kept.old_conditions.as_slice(), Status::conditions);
    let mut wanted = std::mem::take(status.conditions_mut());
    if let Origin::Cluster(_) = &sourced.origin {
        for condition in &mut wanted {
            if let Cow::Owned(message) = with_options(&condition.message, &["resume", "promote"], "--kubernetes") {
                condition.message = message.into();
            }
        }
    }
    *status.conditions_mut() = condition::merge(old, wanted, kept.object.metadata().generation.unwrap_or(0), whole_second(now_ms));
    // A version that cannot be read was judged too. If it were left out, it would seem to be in progress forever, and never Failed.
    if let Origin::Cluster(place) = &sourced.origin
        && sourced.stale.is_some()
    {
        *status.observed_generation_mut() = place.generation;
    }
}

fn whole_second(now_ms: i64) -> Timestamp {
    Timestamp::from_millisecond(now_ms - now_ms.rem_euclid(1000)).unwrap_or_default()
}

/// One round of writing.
struct Turn<'a> {
    sink: &'a StatusSink,
    now_ms: i64,
    flush: bool,
    wake_at_ms: i64,
}

impl Turn<'_> {
    fn put<S: Status, P: Serialize + PartialEq>(
        &mut self,
        cache: &mut StatusCache<Object<P, S>, S>,
        key: &Key,
        status: S,
        sourced: Option<&Sourced<Object<P, S>>>,
    ) where
        Object<P, S>: Kind,
    {
        let (Some(kept), Some(sourced)) = (cache.0.get_mut(key), sourced) else { return };
        if let Some((written, at_ms)) = &mut kept.written {
            if **written == status {
                if *at_ms == 0 {
                    // Only once; counters may be written as soon as they change.
                    *at_ms = 1;
                    self.sink.note_standing(<Object<P, S> as Kind>::KIND, key, &sourced.origin, written.clone());
                }
                kept.decided = Some(written.clone());
                return;
            }
            let due = *at_ms + COUNTERS_EVERY_MS;
            if due > self.now_ms && !self.flush && written.is_same_but_for_counters(&status) {
                self.wake_at_ms = self.wake_at_ms.min(due);
                kept.decided = Some(Arc::new(status));
                return;
            }
        }
        let object = kept.object.clone();
        let status = Arc::new(status);
        let shown = object.clone();
        self.sink.write(StatusWrite {
            kind: <Object<P, S> as Kind>::KIND,
            key,
            origin: &sourced.origin,
            metadata: &object.metadata,
            spec: Box::new(move || json!(shown.spec)),
            status: status.clone(),
            before: kept.written.as_ref().map(|(written, _)| written.conditions()),
            now: status.conditions(),
        });
        kept.decided = Some(status.clone());
        kept.written = Some((status, self.now_ms));
    }

    fn put_broken(&self, broken: &Broken, conditions: &mut Vec<Condition>) {
        let of = |kind, status| Condition::new(kind, status, Reason::Unreadable, broken.message.clone());
        let wanted = vec![of(ConditionType::Ready, ConditionStatus::False), of(ConditionType::Stalled, ConditionStatus::True)];
        let generation = if let Origin::Cluster(place) = &broken.origin { place.generation } else { 0 };
        let now = condition::merge(conditions, wanted, generation, whole_second(self.now_ms));
        self.sink.write_broken(broken, (!conditions.is_empty()).then_some(conditions), &now);
        *conditions = now;
    }
}
