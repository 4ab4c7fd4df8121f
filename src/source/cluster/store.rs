//! The objects of one kind as snapshots show them: the newest version of each whose Secrets and ConfigMaps are known.
//!
//! What a change costs does not depend on how many objects there are, but for one copy of the map where a snapshot still shares it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    change::{DataRef, HasDataRefs, Observed, WatchStep},
    references::References,
    statuses::ClusterStatuses,
};
use crate::{
    resources::Key,
    source::{Broken, ByName, ClusterPlace, Origin, Sourced},
};

struct Entry<K> {
    /// A newer version than the one in snapshots, which waits for the Secrets and ConfigMaps it names.
    held: Option<Sourced<K>>,
    uid: String,
    named: Vec<DataRef>,
}

/// The objects of one kind.
pub(super) struct ObjectStore<K> {
    entries: BTreeMap<Key, Entry<K>>,
    /// The versions in snapshots.
    shown: ByName<K>,
    /// Objects without any version that can be read.
    broken: BTreeMap<Key, Broken>,
    listed: BTreeMap<Option<String>, BTreeSet<Key>>,
    /// Whose held versions wait for what.
    waiting: BTreeMap<DataRef, BTreeSet<Key>>,
}

impl<K> Default for ObjectStore<K> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            shown: ByName::default(),
            broken: BTreeMap::new(),
            listed: BTreeMap::new(),
            waiting: BTreeMap::new(),
        }
    }
}

/// What a change means for the next snapshot.
pub(super) enum Taken {
    Nothing,
    /// It differs.
    Shown,
    /// A list is complete.
    Complete,
}

impl<K: HasDataRefs + PartialEq + Clone> ObjectStore<K> {
    /// Takes a change, and returns whether snapshots show it or a list is now complete.
    pub fn take(
        &mut self,
        listing: WatchStep,
        seen: Option<Observed<K>>,
        references: &mut References,
        statuses: &ClusterStatuses,
    ) -> Taken {
        match (listing, seen) {
            (WatchStep::Begin(scope), _) => {
                self.listed.insert(scope, BTreeSet::new());
                Taken::Nothing
            }
            (WatchStep::End(scope), _) => {
                let listed = self.listed.remove(&scope).unwrap_or_default();
                let is_in = |key: &Key| scope.as_ref().is_none_or(|namespace| *key.namespace == **namespace);
                let gone: Vec<Key> = self.entries.keys().filter(|key| is_in(key) && !listed.contains(key)).cloned().collect();
                for key in gone {
                    self.remove(&key, references);
                    statuses.gone(K::KIND, &key);
                }
                Taken::Complete
            }
            (WatchStep::Gone, Some(seen)) => {
                statuses.gone(K::KIND, &seen.key);
                if self.remove(&seen.key, references) { Taken::Shown } else { Taken::Nothing }
            }
            (WatchStep::Listed, Some(seen)) => {
                for listed in self.listed.values_mut() {
                    listed.insert(seen.key.clone());
                }
                self.put(seen, references, statuses)
            }
            (_, Some(seen)) => self.put(seen, references, statuses),
            (_, None) => Taken::Nothing,
        }
    }

    fn remove(&mut self, key: &Key, references: &mut References) -> bool {
        let Some(removed) = self.entries.remove(key) else { return false };
        if removed.held.is_some() {
            stop_waiting(&mut self.waiting, key, &removed.named);
        }
        references.drop_uses(&removed.named);
        self.broken.remove(key);
        if self.shown.contains_key(key) {
            Arc::make_mut(&mut self.shown).remove(key);
        }
        true
    }

    fn put(&mut self, seen: Observed<K>, references: &mut References, statuses: &ClusterStatuses) -> Taken {
        let Observed { key, uid, resource_version, deleting, generation, has_finalizer, object, status, named } = seen;
        statuses.seen(K::KIND, &key, &uid, resource_version, status.as_ref(), has_finalizer);
        let old = self.entries.get(&key).filter(|entry| entry.uid == uid);
        let origin = Origin::Cluster(Arc::new(ClusterPlace { uid: uid.clone(), deleting, generation }));
        let newest = old.and_then(|entry| entry.held.as_ref().or_else(|| self.shown.get(&key)));
        // Our own status, or another change that is not of the spec.
        if let (Ok(object), Some(newest)) = (&object, newest)
            && newest.object == *object
            && newest.origin == origin
            && newest.stale.is_none()
        {
            return Taken::Nothing;
        }
        let previous_status = match newest {
            Some(newest) => newest.previous_status.clone(),
            None => status.map(Arc::new),
        };
        let version = match object {
            Ok(object) => Ok(Sourced { object, origin, stale: None, previous_status }),
            Err(why) => match newest.cloned() {
                Some(good) => Ok(Sourced { stale: Some(why), origin, ..good }),
                None => Err(Broken { kind: K::KIND, key: key.clone(), message: why, document: Arc::default(), origin, previous_status }),
            },
        };
        if old.is_none() {
            self.remove(&key, references);
        }
        let entry = self.entries.entry(key.clone()).or_insert_with(|| Entry { held: None, uid, named: Vec::new() });
        if entry.held.take().is_some() {
            stop_waiting(&mut self.waiting, &key, &entry.named);
        }
        // What a broken version refers to is unknown; the valid one still refers to the same.
        if version.as_ref().is_ok_and(|sourced| sourced.stale.is_none()) {
            references.add_uses(&named);
            references.drop_uses(&std::mem::replace(&mut entry.named, named.clone()));
        }
        let is_known = references.ask(&named);
        match version {
            Err(broken) => {
                self.broken.insert(key, broken);
                if is_known { Taken::Shown } else { Taken::Nothing }
            }
            Ok(sourced) if is_known => {
                self.broken.remove(&key);
                Arc::make_mut(&mut self.shown).insert(key, sourced);
                Taken::Shown
            }
            Ok(sourced) => {
                self.broken.remove(&key);
                entry.held = Some(sourced);
                for awaited in references.unknown(&named) {
                    self.waiting.entry(awaited.clone()).or_default().insert(key.clone());
                }
                Taken::Nothing
            }
        }
    }

    /// Shows versions that waited for this one, if everything they name is now known.
    pub fn release(&mut self, fetched: &DataRef, references: &References) {
        for key in self.waiting.remove(fetched).unwrap_or_default() {
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            if references.unknown(&entry.named).next().is_none()
                && let Some(sourced) = entry.held.take()
            {
                Arc::make_mut(&mut self.shown).insert(key, sourced);
            }
        }
    }

    /// Whether an object waits for what it names.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The versions in snapshots.
    pub fn shown(&self) -> ByName<K> {
        self.shown.clone()
    }

    /// Objects without any version that can be read.
    pub fn broken(&self) -> impl Iterator<Item = Broken> {
        self.broken.values().cloned()
    }
}

/// An object waits no longer for these.
fn stop_waiting(waiting: &mut BTreeMap<DataRef, BTreeSet<Key>>, key: &Key, named: &[DataRef]) {
    for named in named {
        if let Some(keys) = waiting.get_mut(named) {
            keys.remove(key);
            if keys.is_empty() {
                waiting.remove(named);
            }
        }
    }
}
