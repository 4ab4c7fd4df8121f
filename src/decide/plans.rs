//! What a plan grants now. Pure.

use std::collections::BTreeMap;

use super::{PlanInput, ServerDecision, World, grants, servers::tell_when_stale};
use crate::resources::{
    Condition, ConditionStatus, ConditionType, Key, Reason,
    bound::listed,
    plan::{PlanServerStatus, PlanStatus},
};

/// How many campaigns name each plan.
#[must_use]
pub fn campaigns(world: &World) -> BTreeMap<Key, u32> {
    let mut campaigns = BTreeMap::new();
    for campaign in world.campaigns.values() {
        *campaigns.entry(campaign.object.spec.plan_ref.key(campaign.object.namespace())).or_default() += 1;
    }
    campaigns
}

/// Decides on one plan, which so many campaigns name.
#[must_use]
pub fn decide(key: &Key, input: &PlanInput, campaigns: u32, world: &World, servers: &BTreeMap<Key, ServerDecision>) -> PlanStatus {
    let granted = grants::granted(&input.object.spec, &key.namespace, world);
    let rows: Vec<PlanServerStatus> = granted
        .iter()
        .map(|(server, weight)| {
            let state = match servers.get(server) {
                Some(decision) if decision.active => "Active",
                Some(_) => "Inactive",
                None => "NotFound",
            };
            PlanServerStatus { name: server.name.to_string(), weight: *weight, state: state.to_owned() }
        })
        .collect();
    let count = |state: &str| rows.iter().filter(|row| row.state == state).count();
    let names = |state: &str| listed(rows.iter().filter(|row| row.state == state).map(|row| row.name.as_str()));
    let active = count("Active");
    let mut conditions = Vec::new();
    let mut not_ready = |reason, message: String, stalled| {
        conditions.push(Condition::new(ConditionType::Ready, ConditionStatus::False, reason, message.clone()));
        let kind = if stalled { ConditionType::Stalled } else { ConditionType::Reconciling };
        conditions.push(Condition::new(kind, ConditionStatus::True, reason, message));
    };
    if let Some(namespace) = world.plan_namespace.as_ref().filter(|namespace| ***namespace != *key.namespace) {
        let message = format!("Only plans in namespace {namespace} are used; this one grants nothing. Ask the operator for a plan there.");
        not_ready(Reason::NotThePlanNamespace, message, true);
    } else if rows.is_empty() {
        if input.object.spec.own_servers.is_some() {
            conditions.push(Condition::new(
                ConditionType::Ready,
                ConditionStatus::True,
                Reason::NoServers,
                "The plan grants no server; its namespaces use their own.",
            ));
        } else {
            not_ready(Reason::NoServers, "The plan grants no server. Name some in spec.servers, or set ownServers.".to_owned(), true);
        }
    } else if count("NotFound") > 0 {
        let message =
            format!("Not found in namespace {}: {}. Create them, or remove them from spec.servers.", key.namespace, names("NotFound"));
        if active > 0 {
            conditions.push(Condition::new(ConditionType::Ready, ConditionStatus::True, Reason::ServersActive, message.clone()));
            conditions.push(Condition::new(ConditionType::Stalled, ConditionStatus::True, Reason::ServerNotFound, message));
        } else {
            not_ready(Reason::ServerNotFound, message, true);
        }
    } else if active == 0 {
        not_ready(
            Reason::NoActiveServer,
            format!("None of the granted servers is Active; see their status: {}.", names("Inactive")),
            false,
        );
    } else {
        let message = match count("Inactive") {
            0 => "All granted servers are Active.".to_owned(),
            _ => format!("Some granted servers are Inactive; see their status: {}.", names("Inactive")),
        };
        conditions.push(Condition::new(ConditionType::Ready, ConditionStatus::True, Reason::ServersActive, message));
    }
    tell_when_stale(&mut conditions, input.stale.as_deref());
    PlanStatus {
        observed_generation: input.object.generation(),
        active: format!("{active}/{}", rows.len()),
        servers_active: u32::try_from(active).unwrap_or(u32::MAX),
        servers_granted: u32::try_from(rows.len()).unwrap_or(u32::MAX),
        servers: rows,
        campaigns,
        conditions,
    }
}
