//! Whether a campaign may send, through which servers, and what its status says. Pure.

use std::sync::Arc;

use self::{
    candidates::{own_limits, plan_limits, weighting},
    limits::Pace,
    rollout::Rollout,
    run::Run,
    verdict::Case,
};
use super::{CampaignDecision, CampaignInput, World, bulk, pauses, senders};
use crate::{
    resources::{Condition, ConditionStatus, ConditionType, Key, Rate, Reason, campaign::CampaignState, server_table::ServerTable},
    routing::{CampaignIntent, Work},
};

pub(super) mod candidates;
mod choices;
mod fit;
mod limits;
mod rollout;
mod run;
mod status;
mod stop;
mod table;
#[cfg(test)]
mod tests;
mod verdict;

pub use choices::Choices;
pub(super) use status::rest;

/// Decides on one campaign; the second value is when to decide again, milliseconds.
#[must_use]
pub fn decide<'a>(key: &'a Key, input: &'a CampaignInput, choices: &mut Choices<'a>, now_ms: i64) -> (CampaignDecision, Option<i64>) {
    let spec = &input.object.spec;
    let (world, observed) = (choices.world, choices.observed);
    let run = Run::of(input, observed.report.campaigns.get(key));
    let (servers, plan_key) = choices.servers_of(key, input, run.report);
    let rollout = Rollout::of(key, input, &run, now_ms);
    let rollout = rollout.as_ref();
    let verdict = Case { key, input, run: &run, rollout, servers: &servers, observed, campaigns: &world.campaigns, now_ms }.verdict();
    let weighting = weighting(spec, &plan_key, world);
    let mail_domain = servers.usable.iter().find_map(|server| mail_domain(world, server));
    let hours = input.when.as_ref().ok().and_then(|when| when.hours.as_ref());
    let intent = |hold: bool, work: &Arc<Work>| CampaignIntent {
        work: work.clone(),
        hold,
        servers: servers.routed.clone(),
        weighting,
        candidates: servers.usable.clone(),
        resume: run.resume.clone(),
        rollout: Rollout::intent(input, rollout, verdict.may_step),
        plan_limits: plan_limits(key, &plan_key, world),
        own_limits: own_limits(key, spec),
        hours: hours.cloned(),
        senders: senders::held_to(key, &plan_key, world, &servers.candidates),
        mail_domain: mail_domain.clone(),
    };
    let intent = verdict.hold.zip(input.known_work()).map(|(hold, work)| Arc::new(intent(hold, work)));
    let shared = [plan_limits(key, &plan_key, world), own_limits(key, spec)];
    let shared: Vec<Rate> = shared.into_iter().flatten().flat_map(|limits| limits.rates).collect();
    let left = run.left().map(|left| rollout.map_or(left, |rollout| rollout.left(left)));
    let pace = Pace::of(&run, left, verdict.state, weighting, &servers.limits, (&shared, hours.map(|hours| &**hours)), now_ms);
    let rows = choices.rows_of(&servers, pace.by.as_ref(), input);
    let mut table = ServerTable::new(rows, table::counts(&servers.candidates, run.accepted()));
    if let Some(previous) = &input.previous {
        table = table.keeping_counts_of(&previous.servers);
    }
    let mut status = status::status(key, input, &run, &verdict, (table, weighting), &pace);
    status.rollout = rollout.map(|rollout| rollout.status(status.state == CampaignState::Stopped));
    let is_warned = status.state != CampaignState::Completed;
    let warning = is_warned.then(|| senders::warning(key, spec, &plan_key, world, &servers.candidates)).flatten();
    status
        .conditions
        .extend(warning.map(|words| Condition::new(ConditionType::SenderAllowed, ConditionStatus::False, Reason::SenderNotAllowed, words)));
    status.conditions.extend(pauses::of_campaign(servers.paused()).filter(|_| is_warned));
    // An estimate may go up and down.
    let recipients = status.total().filter(|(_, is_estimate)| !is_estimate).map(|(total, _)| total);
    let of_bulk = (is_warned && crate::bulk::is_bulk(spec, recipients)).then(|| {
        let shows_link = input.known_work().map(|work| work.shows_unsubscribing);
        let complaints = world.complaints.get(&*key.namespace).copied();
        bulk::condition(spec, recipients, shows_link, servers.say(world, observed), complaints)
    });
    status.conditions.extend(of_bulk.flatten());
    let is_probed = verdict.reason() == Reason::NoEligibleServer && servers.is_pending;
    let is_looked_at = is_probed || (run.is_closed && intent.is_some() && run.added_later().is_none());
    let waits_for_person = verdict.reason() == Reason::RolloutWaiting && rollout.is_some_and(Rollout::waits_for_person);
    (CampaignDecision { status, intent, is_looked_at, waits_for_person, mail_domain }, verdict.wake_at_ms)
}

/// The return path of a server whose mail is read, so that a mail to it unsubscribes.
fn mail_domain(world: &World, server: &Key) -> Option<Arc<str>> {
    let spec = &world.servers.get(server)?.object.spec;
    let feedback = spec.feedback.as_ref()?;
    let is_read = feedback.mailbox.is_some() || (feedback.bounces.is_some() && world.listens_for_bounces);
    spec.identity.as_ref().filter(|_| is_read)?.return_path.as_deref().map(Into::into)
}
