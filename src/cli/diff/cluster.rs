//! A cluster as the old side: its objects, and the new side as it would be there after an apply.
//!
//! What an apply leaves alone is on both sides: objects that the folder does not hold (unless they are pruned), labels that others set, and
//! Secrets and ConfigMaps of other tools.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use clap::Args;

use super::side::Loaded;
use crate::{
    compare::{Past, RunPast},
    decide::{InLedger, Recorded, World},
    resources::{
        ANNOTATIONS, Campaign, Key, Kind, Metadata, Object, Plan, SendingServer,
        campaign::{CampaignState, CampaignStatus},
    },
    source::{
        Broken, ByName, ConfigMapStore, Snapshot, Sourced,
        cluster::{self, Scope, Wanted},
    },
};

/// Which objects of which cluster are compared with.
#[derive(Args, Clone, Debug)]
pub struct ClusterArgs {
    /// Compare with what is in the cluster; the only side that is given is the new one. What it does not hold stays as it is.
    #[arg(long)]
    pub kubernetes: bool,
    /// With --kubernetes: the kubeconfig file. Default: KUBECONFIG, ~/.kube/config, or the pod's service account.
    #[arg(long, value_name = "FILE", requires = "kubernetes")]
    pub kubeconfig: Option<std::path::PathBuf>,
    /// With --kubernetes: compare only this namespace; repeatable. Default: all.
    #[arg(long = "namespace", short, value_name = "NAMESPACE", requires = "kubernetes")]
    pub namespaces: Vec<String>,
    /// With --kubernetes: what the new side does not hold is removed, as Flux and Argo CD do when they prune.
    #[arg(long, requires = "kubernetes")]
    pub prune: bool,
}

impl ClusterArgs {
    /// No cluster.
    #[must_use]
    pub const fn none() -> Self {
        Self { kubernetes: false, kubeconfig: None, namespaces: Vec::new(), prune: false }
    }
}

/// Reads the cluster, and makes of the new side what would be there after an apply.
///
/// # Errors
/// In words for people, when the cluster does not show its objects.
pub async fn load(args: &ClusterArgs, new: &mut Loaded) -> Result<Loaded, String> {
    let client = cluster::connect(args.kubeconfig.as_deref().map(Path::new)).await.map_err(|error| error.to_string())?;
    let scope = Scope::new(&args.namespaces, None);
    keep_within(&scope, &mut new.snapshot);
    let wanted = Wanted {
        secrets: named_secrets(&new.snapshot).chain(new.snapshot.secrets.documents().keys().cloned()).collect(),
        namespaces: new.snapshot.namespaces.keys().cloned().collect(),
        config_maps: named_config_maps(&new.snapshot).chain(new.snapshot.config_maps.iter().map(|(key, _)| key.clone())).collect(),
    };
    let (old, left_out) = cluster::snapshot(&client, &scope, &wanted).await?;
    apply(&old, &mut new.snapshot, args.prune);
    Ok(Loaded::of_cluster(old, left_out))
}

fn named_secrets(snapshot: &Snapshot) -> impl Iterator<Item = Key> {
    let of_servers = snapshot.servers.iter().flat_map(|(key, server)| of(key, server.object.spec.secrets()));
    let of_campaigns = snapshot.campaigns.iter().flat_map(|(key, campaign)| of(key, campaign.object.spec.secrets()));
    of_servers.chain(of_campaigns)
}

fn of(key: &Key, needed: Vec<crate::resources::sending_server::NeededSecret>) -> Vec<Key> {
    needed.into_iter().map(|needed| Key::new(&*key.namespace, needed.key.name)).collect()
}

fn named_config_maps(snapshot: &Snapshot) -> impl Iterator<Item = Key> {
    let named = |(key, campaign): (&Key, &Sourced<Campaign>)| {
        campaign.object.spec.config_maps().map(|name| Key::new(&*key.namespace, name)).collect::<Vec<_>>()
    };
    snapshot.campaigns.iter().flat_map(named)
}

/// Leaves out of the new side what is in other namespaces.
fn keep_within(scope: &Scope, new: &mut Snapshot) {
    let Scope::Namespaces(names) = scope else { return };
    let is_in = |key: &Key| names.iter().any(|name| *name == *key.namespace);
    Arc::make_mut(&mut new.servers).retain(|key, _| is_in(key));
    Arc::make_mut(&mut new.plans).retain(|key, _| is_in(key));
    Arc::make_mut(&mut new.campaigns).retain(|key, _| is_in(key));
    new.broken.retain(|broken| is_in(&broken.key));
}

/// What an apply of the new side would leave in the cluster.
fn apply(old: &Snapshot, new: &mut Snapshot, prunes: bool) {
    overlay(&old.servers, &mut new.servers, prunes, &new.broken);
    overlay(&old.plans, &mut new.plans, prunes, &new.broken);
    overlay(&old.campaigns, &mut new.campaigns, prunes, &new.broken);
    if !prunes {
        let is_held = |broken: &&Broken| match broken.kind {
            SendingServer::KIND => new.servers.contains_key(&broken.key),
            Plan::KIND => new.plans.contains_key(&broken.key),
            _ => new.campaigns.contains_key(&broken.key),
        };
        let is_broken = |broken: &&Broken| new.broken.iter().any(|other| (other.kind, &other.key) == (broken.kind, &broken.key));
        let left: Vec<Broken> = old.broken.iter().filter(|broken| !is_held(broken) && !is_broken(broken)).cloned().collect();
        new.broken.extend(left);
    }
    // A namespace that is in no document stays as it is, and one that is keeps the labels of others.
    for (name, labels) in &mut new.namespaces {
        if let Some(known) = old.namespaces.get(name) {
            let mut merged = known.clone();
            merged.extend(labels.clone());
            *labels = merged;
        }
    }
    for (name, labels) in &old.namespaces {
        new.namespaces.entry(name.clone()).or_insert_with(|| labels.clone());
    }
    let mut maps: BTreeMap<_, _> = old.config_maps.iter().map(|(key, data)| (key.clone(), data.clone())).collect();
    maps.extend(new.config_maps.iter().map(|(key, data)| (key.clone(), data.clone())));
    new.config_maps = ConfigMapStore::new(maps);
    new.secrets = new.secrets.clone().with_others(old.secrets.documents());
}

/// The objects of a kind as an apply leaves them.
fn overlay<S: Clone, T: Clone>(old: &ByName<Object<S, T>>, new: &mut ByName<Object<S, T>>, prunes: bool, broken: &[Broken])
where
    Object<S, T>: Kind,
{
    let new = Arc::make_mut(new);
    for (key, sourced) in new.iter_mut() {
        let mut object = (*sourced.object).clone();
        object.metadata.annotations.retain(|name, _| ANNOTATIONS.contains(&name.as_str()));
        if let Some(was) = old.get(key) {
            keep_others(&was.object.metadata, &mut object.metadata);
            sourced.previous_status.clone_from(&was.previous_status);
        }
        sourced.object = Arc::new(object);
    }
    for (key, sourced) in old.iter() {
        let is_broken = broken.iter().any(|broken| broken.key == *key && broken.kind == <Object<S, T> as Kind>::KIND);
        if !prunes && !is_broken && !new.contains_key(key) {
            new.insert(key.clone(), sourced.clone());
        }
    }
}

/// Labels and annotations that only the cluster's object has are others', and stay.
fn keep_others(was: &Metadata, new: &mut Metadata) {
    for (name, value) in &was.labels {
        new.labels.entry(name.clone()).or_insert_with(|| value.clone());
    }
    for (name, value) in &was.annotations {
        new.annotations.entry(name.clone()).or_insert_with(|| value.clone());
    }
}

/// The status of a campaign in the cluster, if a controller has written one for the run that its spec names.
fn status_of(sourced: &Sourced<Campaign>) -> Option<CampaignStatus> {
    let status: CampaignStatus = serde_json::from_value((**sourced.previous_status.as_ref()?).clone()).ok()?;
    let has_begun = status.started_at.is_some() || status.recipients.ended() > 0;
    has_begun.then_some(status)
}

/// What the statuses of a cluster say of the runs that have begun: the ledger is where the controller is.
#[must_use]
pub fn past(old: &Snapshot) -> Past {
    let runs = old.campaigns.iter().filter_map(|(key, sourced)| {
        let status = status_of(sourced)?;
        let run = RunPast {
            has_sent: status.recipients.accepted > 0,
            is_closed: status.state == CampaignState::Completed,
            started_ms: status.started_at.map_or(0, jiff::Timestamp::as_millisecond),
            counts: status.recipients,
        };
        Some(((key.clone(), status.run), run))
    });
    Past { is_known: true, runs: runs.collect() }
}

/// Takes over into a side what the statuses say of its runs.
pub fn note_runs(world: &mut World, past: &Past) {
    for (key, input) in &mut world.campaigns {
        let Some(run) = past.run(key, input.object.spec.run()) else {
            input.in_ledger = InLedger::Absent;
            continue;
        };
        input.in_ledger = if run.is_closed { InLedger::Closed } else { InLedger::Begun };
        input.has_sent = run.has_sent;
        input.recorded = run.is_closed.then(|| Recorded {
            counts: run.counts.clone(),
            accepted: BTreeMap::new(),
            started_ms: run.started_ms,
            closed_ms: input.previous.as_ref().and_then(|status| status.completed_at).map(jiff::Timestamp::as_millisecond),
        });
    }
}
