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
    change::{Change, WatchStep},
    options::Scope,
    references::References,
    statuses::ClusterStatuses,
    store::{ObjectStore, Taken},
    watches,
};
use crate::{
    resources::{Campaign, Plan, SendingServer},
    source::{Snapshot, implied_labels},
};

/// Changes within this time of each other make one snapshot: what is applied together is seen together.
const QUIET: Duration = Duration::from_millis(50);
/// The longest wait for quiet, and for Secrets and ConfigMaps that new objects name.
const TOGETHER_MAX: Duration = Duration::from_millis(400);

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
            Change::Referred { step, is_secret, named } => {
                match (step, named) {
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
                    self.servers.release(&named, &self.references);
                    self.campaigns.release(&named, &self.references);
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
        self.incomplete == 0 && !self.servers.is_waiting() && !self.campaigns.is_waiting()
    }

    fn snapshot(&mut self) -> Arc<Snapshot> {
        self.references.forget_unused();
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
