//! Who may use what: plans, namespaces, and customers' own servers. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{Blocker, World};
use crate::resources::{
    Key, Plan, Reason, WEIGHT_DEFAULT,
    plan::{NamespacesFrom, PlanSpec},
};

/// Who owns a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// The operator's: a plan of its namespace grants it.
    Operator,
    /// A customer's own server, which is allowed.
    Own,
    /// A customer's own server, which is not allowed: it is neither probed nor used.
    Refused(Blocker),
}

/// Whether a plan may be used from a namespace.
#[must_use]
pub fn allows(plan: &Plan, namespace: &str, namespaces: &BTreeMap<String, BTreeMap<String, String>>) -> bool {
    match plan.spec.allowed_namespaces.as_ref().map(|allowed| (allowed.from, allowed.selector.as_ref())) {
        None | Some((NamespacesFrom::Same, _)) => plan.namespace() == namespace,
        Some((NamespacesFrom::All, _)) => true,
        Some((NamespacesFrom::Selector, selector)) => selector.is_some_and(|selector| selector.matches_namespace(namespace, namespaces)),
    }
}

/// The servers that a plan grants, with their weights, by name; including those that do not exist.
#[must_use]
pub fn granted(plan: &PlanSpec, namespace: &str, world: &World) -> BTreeMap<Key, u32> {
    let mut granted: BTreeMap<Key, u32> = BTreeMap::new();
    if let Some(selector) = &plan.server_selector {
        let selected =
            world.servers.iter().filter(|(key, server)| *key.namespace == *namespace && selector.matches(&server.object.metadata.labels));
        granted.extend(selected.map(|(key, _)| (key.clone(), WEIGHT_DEFAULT)));
    }
    granted.extend(plan.servers.iter().map(|server| (Key::new(namespace, server.name.as_str()), server.weight())));
    granted
}

/// The ownership of every server in the world.
#[must_use]
pub fn ownership(world: &World) -> BTreeMap<Key, Ownership> {
    let operators: BTreeSet<Key> =
        world.counting_plans().flat_map(|(key, plan)| granted(&plan.object.spec, &key.namespace, world).into_keys()).collect();
    let mut own: BTreeMap<&str, Vec<&Key>> = BTreeMap::new();
    let mut ownership = BTreeMap::new();
    for key in world.servers.keys() {
        if operators.contains(key) {
            ownership.insert(key.clone(), Ownership::Operator);
        } else {
            own.entry(&*key.namespace).or_default().push(key);
        }
    }
    for (namespace, mut keys) in own {
        keys.sort_by_key(|key| (world.servers[*key].object.metadata.creation_timestamp, (*key).clone()));
        let max = own_servers_max(world, namespace);
        for (position, key) in keys.iter().enumerate() {
            let verdict = match max {
                None => Ownership::Refused(Blocker::lasting(
                    Reason::NotAllowedByPlan,
                    format!(
                        "No plan in namespace {namespace} grants this server, and no plan that allows the namespace has ownServers. Name it in a plan's servers, or set ownServers in a plan."
                    ),
                )),
                Some(max) if position >= max as usize => Ownership::Refused(Blocker::lasting(
                    Reason::OverMaximum,
                    format!(
                        "Namespace {namespace} has {} servers of its own, but its plans allow {max}; the oldest are used. Delete one, or raise ownServers.max.",
                        keys.len()
                    ),
                )),
                Some(_) => Ownership::Own,
            };
            ownership.insert((*key).clone(), verdict);
        }
    }
    ownership
}

/// The largest maximum among the plans that allow a namespace; `None` if none of them lets it run its own servers.
fn own_servers_max(world: &World, namespace: &str) -> Option<u32> {
    let plans = world.counting_plans().map(|(_, plan)| &plan.object).filter(|plan| allows(plan, namespace, &world.namespaces));
    plans.filter_map(|plan| plan.spec.own_servers.as_ref()).map(|own| own.max).max()
}
