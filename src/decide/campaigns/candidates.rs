//! The servers that a campaign might use, and why not others. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::{
        World,
        grants::{self, Ownership},
    },
    fit::Load,
};
use crate::{
    feedback::Pause,
    resources::{
        Bar, Blocker, CampaignSpec, Key, Plan, Reason, WEIGHT_DEFAULT,
        campaign::{CampaignServer, Weighting},
        plan::Narrowing,
        senders::canonical,
    },
    routing::SharedLimits,
};

/// A server that a campaign might use.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The server's key.
    pub key: Key,
    /// Its share of the picks, relative to those of the others.
    pub weight: u32,
    /// Whether the plan grants it, or it is the namespace's own server and the plan allows that.
    pub granted: bool,
    /// Whether the campaign chooses it.
    pub chosen: bool,
    /// Why it may not carry this campaign although it is granted and chosen.
    pub unfit: Option<String>,
    /// Whether that is because of what its messages hold.
    pub is_too_much: bool,
    /// Why it is out of use for the campaign until a person acts.
    pub bar: Option<Bar>,
    /// Why the campaign's namespace is not sent through it, because too much of what that sent came back.
    pub paused: Option<Pause>,
    /// Whether it is a server of the plan, and not the namespace's own.
    pub is_of_plan: bool,
}

impl Candidate {
    /// Whether the campaign is meant to go through it.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.granted && self.chosen && self.weight > 0
    }
}

/// The part of a campaign that determines its servers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Choice<'a> {
    /// The plan that the campaign names.
    pub plan: Key,
    /// The campaign's namespace.
    pub namespace: &'a str,
    /// The servers that the campaign names.
    pub servers: Option<&'a [CampaignServer]>,
    /// The domain of its From address.
    pub domain: String,
    /// What its messages hold.
    pub load: Load,
}

impl<'a> Choice<'a> {
    /// The choice of a campaign.
    pub(super) fn of(key: &'a Key, spec: &'a CampaignSpec, load: Load) -> Self {
        let domain = spec.from.address.rsplit_once('@').map_or("", |(_, domain)| domain).to_lowercase();
        Self { plan: plan_key(key, spec), namespace: &key.namespace, servers: spec.servers.as_deref(), domain, load }
    }
}

/// The key and windows of the campaign's own limits, which no key of a server or a plan equals.
pub(super) fn own_limits(key: &Key, spec: &CampaignSpec) -> Option<SharedLimits> {
    let rates = spec.limits.as_ref()?.rates.clone();
    (!rates.is_empty()).then(|| SharedLimits { key: format!("campaign {key}").into(), rates })
}

/// The key and windows of the plan's limits for the campaign's namespace.
pub(super) fn plan_limits(key: &Key, plan_key: &Key, world: &World) -> Option<SharedLimits> {
    let rates = world.plans.get(plan_key)?.object.spec.limits.as_ref()?.rates.clone();
    (!rates.is_empty()).then(|| SharedLimits { key: format!("plan {plan_key} for {}", key.namespace).into(), rates })
}

/// Whether shares are strict: as the campaign says, otherwise as its plan does.
pub(super) fn weighting(spec: &CampaignSpec, plan_key: &Key, world: &World) -> Weighting {
    let of_plan = || world.plans.get(plan_key).and_then(|plan| plan.object.spec.weighting);
    spec.weighting.or_else(of_plan).unwrap_or_default()
}

fn plan_key(key: &Key, spec: &CampaignSpec) -> Key {
    spec.plan_ref.key(&key.namespace)
}

pub(super) type Unresolved = (Vec<Candidate>, Blocker);

/// Every server that a campaign might use, or why the plan and the spec do not fit together. Nothing of the spec counts but
/// `choice`.
pub(super) fn candidates(choice: &Choice<'_>, world: &World, ownership: &BTreeMap<Key, Ownership>) -> Result<Vec<Candidate>, Unresolved> {
    let (plan_key, namespace) = (&choice.plan, choice.namespace);
    let plan = world
        .plans
        .get(plan_key)
        .filter(|_| world.plan_counts(plan_key))
        .map(|plan| &plan.object)
        .filter(|plan| grants::allows(plan, namespace, &world.namespaces));
    let Some(plan) = plan else {
        // A foreign plan that exists and one that does not exist give the same message.
        let message = format!(
            "There is no plan {plan_key} that namespace {namespace} may use. Name another plan in spec.planRef, or ask the operator to allow the namespace."
        );
        return Err((Vec::new(), Blocker::lasting(Reason::PlanNotFound, message)));
    };
    let of_plan = grants::granted(&plan.spec, &plan_key.namespace, world);
    let mut rows = named(choice, world, ownership, plan, &of_plan)?;
    rows.iter_mut().for_each(|row| row.is_of_plan = row.granted && of_plan.contains_key(&row.key));
    Ok(rows)
}

/// Every server that the campaign might use through a plan that allows its namespace.
fn named(
    choice: &Choice<'_>,
    world: &World,
    ownership: &BTreeMap<Key, Ownership>,
    plan: &Plan,
    of_plan: &BTreeMap<Key, u32>,
) -> Result<Vec<Candidate>, Unresolved> {
    let (plan_key, namespace) = (&choice.plan, choice.namespace);
    // Shares the keys of the servers, so that each name is held once.
    let there = |(server, weight): (&Key, &u32)| Some((world.servers.get_key_value(server)?.0.clone(), *weight));
    let mut pool: BTreeMap<Key, u32> = of_plan.iter().filter_map(there).collect();
    let granted = pool.clone();
    let mut own: Vec<Key> = Vec::new();
    if plan.spec.own_servers.is_some() {
        own.extend(
            ownership
                .iter()
                .filter(|(server, owner)| *server.namespace == *namespace && **owner == Ownership::Own)
                .map(|(server, _)| server.clone()),
        );
        pool.extend(own.iter().map(|server| (server.clone(), WEIGHT_DEFAULT)));
    }
    let Some(chosen) = choice.servers else {
        if pool.is_empty() {
            let message = format!("Plan {plan_key} grants no server that exists. Add one to the plan.");
            return Err((Vec::new(), Blocker::lasting(Reason::NoServers, message)));
        }
        let all = pool.into_iter().map(|(server, weight)| candidate(server, weight, true, choice, world)).collect::<Vec<_>>();
        return some_weight(all, "the plan's servers");
    };
    let mut rows: BTreeMap<Key, Candidate> =
        pool.keys().map(|server| (server.clone(), candidate(server.clone(), 0, false, choice, world))).collect();
    if plan.spec.narrowing() == Narrowing::Forbidden {
        let message = format!(
            "Plan {plan_key} has narrowing: Forbidden, and the campaign sets spec.servers. Remove spec.servers, or use another plan."
        );
        return Err((rows.into_values().collect(), Blocker::lasting(Reason::NarrowingForbidden, message)));
    }
    let mut problem = None;
    for (position, named) in chosen.iter().enumerate() {
        let fits = |server: &&Key| {
            *server.name == *named.name && named.namespace.as_ref().is_none_or(|namespace| **namespace == *server.namespace)
        };
        let found: Vec<&Key> = pool.keys().filter(fits).collect();
        match found.as_slice() {
            [server] => {
                rows.insert((*server).clone(), candidate((*server).clone(), named.weight(), true, choice, world));
            }
            [] => {
                let names = granted.keys().chain(&own).map(ToString::to_string).collect::<BTreeSet<_>>();
                let names = names.into_iter().collect::<Vec<_>>().join(", ");
                let wanted = named.namespace.as_ref().map_or_else(|| named.name.clone(), |namespace| format!("{namespace}/{}", named.name));
                let message = format!(
                    "spec.servers[{position}]: plan {plan_key} does not grant server {wanted} to namespace {namespace}. It grants: {}.",
                    if names.is_empty() { "none" } else { &names }
                );
                problem.get_or_insert(Blocker::lasting(Reason::ServerNotGranted, message));
                let absent = Key::new(named.namespace.as_deref().unwrap_or(namespace), named.name.as_str());
                rows.entry(absent.clone()).or_insert(Candidate {
                    key: absent,
                    weight: named.weight(),
                    granted: false,
                    chosen: true,
                    unfit: None,
                    is_too_much: false,
                    bar: None,
                    paused: None,
                    is_of_plan: false,
                });
            }
            [_, ..] => {
                let message = format!(
                    "spec.servers[{position}]: {} is both a server of the plan and one of the namespace's own. Say which with spec.servers[{position}].namespace: {} or {namespace}.",
                    named.name, plan_key.namespace
                );
                problem.get_or_insert(Blocker::lasting(Reason::AmbiguousServer, message));
            }
        }
    }
    let rows: Vec<Candidate> = rows.into_values().collect();
    match problem {
        Some(problem) => Err((rows, problem)),
        None => some_weight(rows, "spec.servers"),
    }
}

fn some_weight(rows: Vec<Candidate>, whose: &str) -> Result<Vec<Candidate>, Unresolved> {
    if rows.iter().any(|row| row.chosen && row.weight > 0) {
        return Ok(rows);
    }
    Err((
        rows,
        Blocker::lasting(
            Reason::NoWeight,
            format!("All weights of {whose} are 0, so nothing can be sent. Give at least one a weight of 1 or more."),
        ),
    ))
}

fn candidate(key: Key, weight: u32, chosen: bool, choice: &Choice<'_>, world: &World) -> Candidate {
    let domain = &choice.domain;
    let domains =
        world.servers.get(&key).and_then(|server| server.object.spec.identity.as_ref()).map_or(&[][..], |identity| &identity.domains[..]);
    let unfit = (!domains.is_empty() && !domains.iter().any(|allowed| canonical(allowed) == canonical(domain)))
        .then(|| format!("its identity.domains do not include {domain}"));
    let paused = world.servers.get(&key).and_then(|server| server.past.standing.of_namespace(choice.namespace)).cloned();
    Candidate { key, weight, granted: true, chosen, unfit, is_too_much: false, bar: None, paused, is_of_plan: false }
}
