//! The world of a snapshot: each object with its generation, and with the result of looking up everything that it refers to. Pure.

use std::{collections::BTreeMap, sync::Arc};

use super::facts::LedgerFacts;
use crate::{
    decide::{CampaignInput, PlanInput, ServerInput, ServerPast, World},
    dns::Subject,
    hours::When,
    ledger::{Generation, LedgerError},
    resources::{Blocker, CampaignSpec, Key, Kind, campaign::CampaignStatus, resume, rollout},
    routing::Work,
    source::{Snapshot, Sourced},
};

/// What a campaign sends.
pub struct KnownWork {
    /// What it sends now, or why that cannot be prepared.
    pub now: Result<Arc<Work>, Blocker>,
    /// What it last sent.
    pub last: Option<Arc<Work>>,
}

/// What was looked up for the objects of a snapshot.
pub struct Found<'a> {
    /// What the ledger knows.
    pub facts: &'a LedgerFacts,
    /// For each server: the hash of what a probe tests, or why it has no handle.
    pub servers: BTreeMap<Key, Result<u64, Blocker>>,
    /// For each server with an identity: what DNS must confirm of it.
    pub identities: BTreeMap<Key, Arc<Subject>>,
    /// What each campaign sends.
    pub work: &'a dyn Fn(&Key) -> KnownWork,
    /// When a campaign is sent, or what is wrong with its times.
    pub when: &'a dyn Fn(&CampaignSpec) -> Result<When, Blocker>,
    /// The status of a campaign as this process last decided it.
    pub status: &'a dyn Fn(&Key) -> Option<Arc<CampaignStatus>>,
    /// A request from the command line to resume a campaign.
    pub resume: &'a dyn Fn(&Key) -> Option<String>,
    /// A request from the command line to resume a server.
    pub resume_server: &'a dyn Fn(&Key) -> Option<String>,
    /// A request from the command line to promote a campaign.
    pub promote: &'a dyn Fn(&Key) -> Option<String>,
}

/// Builds the world of a snapshot. `plan_namespace` is the only namespace whose plans count; `listens_for_bounces` whether this
/// process has a listener for bounces.
pub fn world(snapshot: &Snapshot, plan_namespace: Option<&str>, listens_for_bounces: bool, mut found: Found<'_>) -> World {
    let plan_namespace = plan_namespace.map(str::to_owned);
    let mut world = World {
        namespaces: snapshot.namespaces.clone(),
        plan_namespace,
        listens_for_bounces,
        complaints: found.facts.complaints.clone(),
        ..World::default()
    };
    for (key, sourced) in snapshot.servers.iter() {
        let Some(built) = found.servers.remove(key) else { continue };
        let object = dated(key, sourced, found.facts);
        let record = found.facts.servers.get(key).cloned().unwrap_or_default();
        let of_annotation = || object.metadata.annotations.get(resume::ANNOTATION).cloned();
        let asked = (found.resume_server)(key).filter(|value| !record.resume_handled.has(value));
        let past = ServerPast { standing: record.standing, resume: asked.or_else(of_annotation), resume_handled: record.resume_handled };
        let (identity, stale) = (found.identities.remove(key), sourced.stale.clone());
        world.servers.insert(key.clone(), ServerInput { object, built, identity, stale, past });
    }
    for (key, sourced) in snapshot.plans.iter() {
        let object = dated(key, sourced, found.facts);
        world.plans.insert(key.clone(), PlanInput { object, stale: sourced.stale.clone() });
    }
    let lasting = found.facts.problem.as_ref().filter(|problem| LedgerError::needs_person(problem));
    for (key, sourced) in snapshot.campaigns.iter() {
        let object = dated(key, sourced, found.facts);
        let run = found.facts.runs.get(key).cloned().unwrap_or_default();
        let work = (found.work)(key);
        let of_annotation = |name| object.metadata.annotations.get(name).cloned();
        let is_promoted = |value: &String| run.rollout.as_ref().is_some_and(|reached| reached.promote_handled.has(value));
        let promote = (found.promote)(key).filter(|value| !is_promoted(value)).or_else(|| of_annotation(rollout::ANNOTATION));
        let input = CampaignInput {
            when: (found.when)(&object.spec),
            last_work: work.last,
            stale: sourced.stale.clone(),
            in_ledger: run.in_ledger,
            ledger_problem: lasting.map(|problem| problem.message.clone()),
            recorded: run.recorded,
            feedback: run.feedback,
            judged_from: run.judged_from,
            previous: (found.status)(key).or_else(|| status_of_file(sourced)),
            resume: (found.resume)(key).filter(|value| !run.resume_handled.has(value)).or_else(|| of_annotation(resume::ANNOTATION)),
            promote,
            rollout: run.rollout,
            resume_handled: run.resume_handled,
            reopened: run.reopen,
            has_sent: run.has_sent,
            renamed_from: run.renamed_from,
            deleting: sourced.origin.is_deleting(),
            ..CampaignInput::new(object.clone(), work.now)
        };
        world.campaigns.insert(key.clone(), input);
    }
    world
}

fn status_of_file<K>(sourced: &Sourced<K>) -> Option<Arc<CampaignStatus>> {
    let status = sourced.previous_status.as_ref()?;
    serde_json::from_value((**status).clone()).ok().map(Arc::new)
}

/// The object with its generation and creation time: objects from files have neither, and get them from the ledger.
fn dated<K: Kind>(key: &Key, sourced: &Sourced<K>, facts: &LedgerFacts) -> Arc<K> {
    let Some(Generation { number, created_at_ms }) = facts.generations.get(&(K::KIND, key.clone())) else { return sourced.object.clone() };
    let mut object = (*sourced.object).clone();
    let metadata = object.metadata_mut();
    metadata.generation = Some(*number);
    metadata.creation_timestamp = jiff::Timestamp::from_millisecond(created_at_ms - created_at_ms.rem_euclid(1000)).ok();
    Arc::new(object)
}
