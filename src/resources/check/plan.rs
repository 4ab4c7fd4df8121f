//! The rules of a `Plan`.

use std::collections::BTreeMap;

use super::{Fault, check_rates, check_selector};
use crate::resources::{Plan, plan::NamespacesFrom};

/// Adds the faults of a plan: servers named twice, a selector that does not fit `from`, limits.
pub fn check_plan(plan: &Plan, faults: &mut Vec<Fault>) {
    let spec = &plan.spec;
    let mut seen = BTreeMap::new();
    for (index, server) in spec.servers.iter().enumerate() {
        if let Some(first) = seen.insert(server.name.as_str(), index) {
            faults.push(Fault::new(
                format!("spec.servers[{index}].name"),
                format!("the server `{}` is already named by spec.servers[{first}]; name it once, with its whole weight", server.name),
            ));
        }
    }
    if let Some(selector) = &spec.server_selector {
        check_selector(selector, "spec.serverSelector", faults);
    }
    if let Some(allowed) = &spec.allowed_namespaces {
        match (allowed.from, &allowed.selector) {
            (NamespacesFrom::Selector, None) => {
                faults.push(Fault::new(
                    "spec.allowedNamespaces.selector",
                    "`from: Selector` needs a selector, for example {matchLabels: {tier: pro}}",
                ));
            }
            (NamespacesFrom::Selector, Some(selector)) => check_selector(selector, "spec.allowedNamespaces.selector", faults),
            (_, Some(_)) => faults.push(Fault::new(
                "spec.allowedNamespaces.selector",
                format!("a selector needs `from: Selector`, and `from` is {:?}; change `from`, or remove the selector", allowed.from),
            )),
            (_, None) => {}
        }
    }
    if let Some(limits) = &spec.limits {
        check_rates(&limits.rates, "spec.limits.rates", faults);
    }
}
