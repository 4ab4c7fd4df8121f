//! Makes snapshots of the changes.
//!
//! An object that names a Secret or ConfigMap is shown once that was fetched, so that no status reports an existing Secret as
//! missing. Many changes make one snapshot.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use kube::Client;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    change::{Change, DataRef, HasDataRefs, Observed, WatchStep},
    options::Scope,
    references::References,
    statuses::ClusterStatuses,
    watches,
};
use crate::{
    resources::{Campaign, Key, Plan, SendingServer},
    source::{Broken, ClusterPlace, Origin, Snapshot, Sourced, implied_labels},
};

/// Changes within this time of each other make one snapshot: what is applied together is seen together.
const QUIET: Duration = Duration::from_millis(50);
/// The longest wait for quiet, and for Secrets and ConfigMaps that new objects name.
const TOGETHER_MAX: Duration = Duration::from_millis(400);

struct Entry<K> {
    /// The version in snapshots.
    shown: Option<Sourced<K>>,
    /// A newer version that waits for the Secrets and ConfigMaps it names.
    held: Option<Sourced<K>>,
    broken: Option<Broken>,
    uid: String,
    named: Vec<DataRef>,
}

/// The objects of one kind.
struct ObjectStore<K> {
    entries: BTreeMap<Key, Entry<K>>,
    listed: BTreeMap<Option<String>, BTreeSet<Key>>,
    /// How many objects wait for what they name.
    held: usize,
}

impl<K> Default for ObjectStore<K> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), listed: BTreeMap::new(), held: 0 }
    }
}

impl<K: HasDataRefs + PartialEq> ObjectStore<K> {
    /// Takes a change, and returns whether snapshots show it or a list is now complete.
    fn take(&mut self, listing: WatchStep, seen: Option<Observed<K>>, references: &mut References, statuses: &ClusterStatuses) -> Taken {
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
                    self.remove(&key);
                    statuses.gone(K::KIND, &key);
                }
                Taken::Complete
            }
            (WatchStep::Gone, Some(seen)) => {
                statuses.gone(K::KIND, &seen.key);
                if self.remove(&seen.key) { Taken::Shown } else { Taken::Nothing }
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

    fn remove(&mut self, key: &Key) -> bool {
        let removed = self.entries.remove(key);
        self.held -= usize::from(removed.as_ref().is_some_and(|entry| entry.held.is_some()));
        removed.is_some()
    }

    fn put(&mut self, seen: Observed<K>, references: &mut References, statuses: &ClusterStatuses) -> Taken {
        let Observed { key, uid, resource_version, deleting, generation, has_finalizer, object, status, named } = seen;
        statuses.seen(K::KIND, &key, &uid, resource_version, status.as_ref(), has_finalizer);
        let old = self.entries.get_mut(&key).filter(|entry| entry.uid == uid);
        let origin = Origin::Cluster(Arc::new(ClusterPlace { uid: uid.clone(), deleting, generation }));
        let newest = old.as_ref().and_then(|entry| entry.held.as_ref().or(entry.shown.as_ref()));
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
        let mut broken = None;
        let sourced = match object {
            Ok(object) => Some(Sourced { object, origin, stale: None, previous_status: previous_status.clone() }),
            Err(why) => {
                if let Some(good) = newest.cloned() {
                    Some(Sourced { stale: Some(why), origin, ..good })
                } else {
                    broken =
                        Some(Broken { kind: K::KIND, key: key.clone(), message: why, document: Arc::default(), origin, previous_status });
                    None
                }
            }
        };
        let is_known = references.ask(&named);
        if old.is_none() {
            self.remove(&key);
        }
        let entry = self.entries.entry(key).or_insert_with(|| Entry { shown: None, held: None, broken: None, uid, named: Vec::new() });
        self.held -= usize::from(entry.held.is_some());
        // What a broken version refers to is unknown; the valid one still refers to the same.
        if broken.is_none() && sourced.as_ref().is_some_and(|sourced| sourced.stale.is_none()) {
            entry.named = named;
        }
        entry.broken = broken;
        if is_known {
            entry.shown = sourced;
            entry.held = None;
            Taken::Shown
        } else {
            entry.held = sourced;
            self.held += usize::from(entry.held.is_some());
            Taken::Nothing
        }
    }

    /// Shows versions that waited, if everything they name is now known.
    fn release(&mut self, references: &References) {
        for entry in self.entries.values_mut() {
            if entry.held.is_some() && references.knows(&entry.named) {
                entry.shown = entry.held.take();
                self.held -= 1;
            }
        }
    }

    fn shown(&self) -> BTreeMap<Key, Sourced<K>> {
        self.entries.iter().filter_map(|(key, entry)| Some((key.clone(), entry.shown.clone()?))).collect()
    }

    fn broken(&self) -> impl Iterator<Item = Broken> {
        self.entries.values().filter_map(|entry| entry.broken.clone())
    }

    fn named(&self) -> impl Iterator<Item = &DataRef> {
        self.entries.values().flat_map(|entry| &entry.named)
    }
}

enum Taken {
    Nothing,
    Shown,
    Complete,
}

struct Collector {
    servers: ObjectStore<SendingServer>,
    plans: ObjectStore<Plan>,
    campaigns: ObjectStore<Campaign>,
    namespaces: BTreeMap<String, BTreeMap<String, String>>,
    namespaces_listed: Option<BTreeSet<String>>,
    references: References,
    statuses: ClusterStatuses,
    incomplete: usize,
}

impl Collector {
    /// Takes a change; whether the next snapshot differs.
    fn take(&mut self, change: Change) -> bool {
        let taken = match change {
            Change::Server(listing, seen) => self.servers.take(listing, seen, &mut self.references, &self.statuses),
            Change::Plan(listing, seen) => self.plans.take(listing, seen, &mut self.references, &self.statuses),
            Change::Campaign(listing, seen) => self.campaigns.take(listing, seen, &mut self.references, &self.statuses),
            Change::Namespace(listing, namespace) => self.take_namespace(listing, namespace),
            Change::Referred(listing, is_secret, named) => {
                match (listing, named) {
                    // Changes during an interruption of the watch are not reported one by one.
                    (WatchStep::End(_), _) => self.references.touched_all(is_secret),
                    (WatchStep::Changed | WatchStep::Gone, Some(named)) => self.references.touched(&named),
                    _ => {}
                }
                Taken::Nothing
            }
            Change::Fetched(named, content) => {
                let is_new = self.references.fetched(&named, content);
                if is_new {
                    self.servers.release(&self.references);
                    self.plans.release(&self.references);
                    self.campaigns.release(&self.references);
                }
                if is_new { Taken::Shown } else { Taken::Nothing }
            }
        };
        if matches!(taken, Taken::Complete) {
            self.incomplete = self.incomplete.saturating_sub(1);
        }
        !matches!(taken, Taken::Nothing)
    }

    fn take_namespace(&mut self, listing: WatchStep, namespace: Option<(String, BTreeMap<String, String>)>) -> Taken {
        match (listing, namespace) {
            (WatchStep::Begin(_), _) => self.namespaces_listed = Some(BTreeSet::new()),
            (WatchStep::End(_), _) => {
                let listed = self.namespaces_listed.take().unwrap_or_default();
                self.namespaces.retain(|name, _| listed.contains(name));
                return Taken::Complete;
            }
            (WatchStep::Gone, Some((name, _))) => {
                self.namespaces.remove(&name);
                return Taken::Shown;
            }
            (listing, Some((name, mut labels))) => {
                labels.extend(implied_labels(&name));
                if let Some(listed) = &mut self.namespaces_listed {
                    listed.insert(name.clone());
                }
                let is_new = self.namespaces.get(&name) != Some(&labels);
                let is_first = self.namespaces.insert(name, labels).is_none();
                if matches!(listing, WatchStep::Sole) && is_first {
                    return Taken::Complete;
                }
                return if is_new { Taken::Shown } else { Taken::Nothing };
            }
            (_, None) => {}
        }
        Taken::Nothing
    }

    /// Takes a change and those that follow it closely; whether the next snapshot differs.
    async fn take_burst(&mut self, first: Change, incoming: &mut mpsc::Receiver<Change>) -> bool {
        let end = Instant::now() + TOGETHER_MAX;
        let mut quiet = Instant::now() + QUIET;
        let mut differs = self.take(first);
        loop {
            let until = if self.is_complete() { end.min(quiet) } else { end };
            let Ok(Some(change)) = tokio::time::timeout_at(until, incoming.recv()).await else { return differs };
            // Our own statuses come back too, and change nothing.
            if self.take(change) {
                (differs, quiet) = (true, Instant::now() + QUIET);
            }
            // An uninterrupted stream never times out.
            if Instant::now() >= until {
                return differs;
            }
        }
    }

    /// Whether everything was read once.
    fn is_complete(&self) -> bool {
        self.incomplete == 0 && self.servers.held == 0 && self.campaigns.held == 0
    }

    fn snapshot(&mut self) -> Arc<Snapshot> {
        let needed = self.servers.named().chain(self.campaigns.named()).collect();
        self.references.retain(&needed);
        let (secrets, config_maps) = self.references.stores();
        Arc::new(Snapshot {
            servers: self.servers.shown(),
            plans: self.plans.shown(),
            campaigns: self.campaigns.shown(),
            namespaces: self.namespaces.clone(),
            secrets,
            config_maps,
            broken: self.servers.broken().chain(self.plans.broken()).chain(self.campaigns.broken()).collect(),
            ..Snapshot::default()
        })
    }
}

/// Collects until the receiver is dropped; returns with the first snapshot of everything.
pub(super) async fn start(
    client: Client,
    scope: &Scope,
    changes: mpsc::Sender<Change>,
    mut incoming: mpsc::Receiver<Change>,
    statuses: ClusterStatuses,
) -> watch::Receiver<Arc<Snapshot>> {
    let mut collector = Collector {
        servers: ObjectStore::default(),
        plans: ObjectStore::default(),
        campaigns: ObjectStore::default(),
        namespaces: BTreeMap::new(),
        namespaces_listed: None,
        references: References::new(client, changes),
        statuses,
        incomplete: watches::streams(scope),
    };
    while !collector.is_complete() {
        // `References` holds a sender, so the channel never closes.
        if let Some(change) = incoming.recv().await {
            collector.take(change);
        }
    }
    let (sender, receiver) = watch::channel(collector.snapshot());
    tokio::spawn(async move {
        while let Some(change) = incoming.recv().await {
            let differs = collector.take_burst(change, &mut incoming).await;
            if differs && sender.send(collector.snapshot()).is_err() {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
#[path = "collector_tests.rs"]
mod tests;
