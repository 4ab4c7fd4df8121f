//! Whether a campaign may be sent from the domains that it names, according to its plan's grants. Pure.
//!
//! With a plan namespace a customer is held to what the plan grants: otherwise whoever is granted a server could send as anybody.
//! Where everybody may write plans, and for campaigns in the plan namespace itself, a violation is only reported: whoever writes
//! the campaign could write the grant as well. How a namespace uses its own servers is its own affair.

use super::{Blocker, World, campaigns::candidates::Candidate};
use crate::resources::{
    CampaignSpec, Key, Plan, Reason,
    senders::{Says, Senders, foreign},
};

/// Whether a campaign is held to the grants of a plan: it is a customer's, and uses servers of the plan.
fn is_held(key: &Key, world: &World, candidates: &[Candidate]) -> bool {
    world.plan_namespace.as_ref().is_some_and(|plans| **plans != *key.namespace) && goes_through_plan(candidates)
}

fn goes_through_plan(candidates: &[Candidate]) -> bool {
    candidates.iter().any(|candidate| candidate.is_of_plan && candidate.is_wanted())
}

/// What this plan grants a campaign.
fn granted(key: &Key, plan_key: &Key, plan: &Plan, world: &World) -> Senders {
    plan.spec.senders(plan_key, &key.namespace, &world.namespaces)
}

/// Why the campaign may not be sent, if it names a domain that is not granted, or would give orders to a vendor of the plan's
/// servers: why those servers are unfit for it, and the problem. The output of its templates is judged when they are rendered.
pub fn problem(key: &Key, spec: &CampaignSpec, plan_key: &Key, world: &World, candidates: &[Candidate]) -> Option<(String, Blocker)> {
    let senders = held_to(key, plan_key, world, candidates)?;
    let (field, says, words) = foreign(spec, &senders)?;
    let not_let = if says == Says::Order { "control a vendor with" } else { "send from the domain in" };
    let unfit = format!("plan {plan_key} does not allow the campaign to {not_let} {field}");
    Some((unfit, Blocker::lasting(Reason::SenderNotAllowed, format!("{field}: {words}"))))
}

/// The domains that the campaign is held to; `None` if it is not held to any.
pub fn held_to(key: &Key, plan_key: &Key, world: &World, candidates: &[Candidate]) -> Option<Senders> {
    let plan = world.plans.get(plan_key).filter(|_| is_held(key, world, candidates))?;
    Some(granted(key, plan_key, &plan.object, world))
}

/// The warning for a campaign that is not held to the domains that its plan grants, and is sent from another one.
pub fn warning(key: &Key, spec: &CampaignSpec, plan_key: &Key, world: &World, candidates: &[Candidate]) -> Option<String> {
    let plan = world.plans.get(plan_key).filter(|plan| !plan.object.spec.sender_domains.is_empty())?;
    if is_held(key, world, candidates) || !goes_through_plan(candidates) {
        return None;
    }
    let (field, says, words) = foreign(spec, &granted(key, plan_key, &plan.object, world))?;
    // Whoever writes the campaign of an operator may give orders to the operator's vendor.
    (says != Says::Order).then(|| format!("{field}: {words}"))
}
