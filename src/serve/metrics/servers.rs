//! Metrics of single servers and plans, and of the types of servers.

use std::{collections::BTreeMap, fmt};

use super::{Moment, catalog, process::is_under_way, writing::Writer};
use crate::{
    decide::ServerDecision,
    engine::ProbeOutcome,
    report::ServerReport,
    resources::{Condition, ConditionStatus, ConditionType, Duration, Key, Percent, condition},
};

/// A server that has series of its own.
struct Shown<'a> {
    name: String,
    key: &'a Key,
    server: &'a ServerDecision,
    /// What the data plane says of it; it has only servers that some campaign may use, or has used.
    report: Option<&'a ServerReport>,
}

pub(super) const STATUSES: [(&str, ConditionStatus); 3] =
    [("True", ConditionStatus::True), ("False", ConditionStatus::False), ("Unknown", ConditionStatus::Unknown)];

/// The word of the reason why an object is ready, or is not.
pub(super) fn reason(conditions: &[Condition]) -> Option<&'static str> {
    condition::find(conditions, ConditionType::Ready).map(|ready| ready.reason.as_str())
}

/// A share from 0 to 1.
pub(super) fn ratio(percent: Percent) -> f64 {
    f64::from(percent.thousandths()) / f64::from(Percent::ALL.thousandths())
}

impl Moment {
    pub(super) fn servers(&self, writer: &mut Writer) -> fmt::Result {
        let (decision, report) = (&self.view.decision, &self.view.report);
        let shown = decision.servers.iter().take(super::SERVERS_MAX);
        let shown: Vec<Shown> =
            shown.map(|(key, server)| Shown { name: key.to_string(), key, server, report: report.servers.get(key) }).collect();
        states(writer, &shown)?;
        let campaigns = self.campaigns_by_server();
        let mut family = writer.begin(&catalog::SERVER_CAMPAIGNS)?;
        for one in &shown {
            family.gauge(&[&one.name], campaigns.get(one.key).copied().unwrap_or(0))?;
        }
        traffic(writer, &shown)?;
        limits(writer, &shown)?;
        warmups(writer, &shown)?;
        came_back(writer, &shown)?;
        self.by_type(writer)
    }

    /// How many campaigns under way may use each server.
    fn campaigns_by_server(&self) -> BTreeMap<&Key, u64> {
        let under_way = self.view.decision.campaigns.values().filter(|campaign| is_under_way(campaign.status.state));
        // Campaigns of one plan share one list, which is walked once.
        let mut lists: BTreeMap<*const Key, (&[Key], u64)> = BTreeMap::new();
        for intent in under_way.filter_map(|campaign| campaign.intent.as_ref()) {
            lists.entry(intent.candidates.as_ptr()).or_insert((&intent.candidates, 0)).1 += 1;
        }
        let mut counts = BTreeMap::new();
        for (servers, campaigns) in lists.into_values() {
            for server in servers {
                *counts.entry(server).or_default() += campaigns;
            }
        }
        counts
    }

    fn by_type(&self, writer: &mut Writer) -> fmt::Result {
        let mut probes = writer.begin(&catalog::PROBES)?;
        for ((provider, outcome), timing) in &self.view.measured.probes {
            let result = if *outcome == ProbeOutcome::Succeeded { "Succeeded" } else { "Failed" };
            probes.histogram(&[provider, result], timing)?;
        }
        let mut round_trips = writer.begin(&catalog::ROUND_TRIPS)?;
        self.view.report.round_trips.iter().try_for_each(|(provider, timing)| round_trips.histogram(&[provider], timing))
    }

    pub(super) fn plans(&self, writer: &mut Writer) -> fmt::Result {
        let plans = self.view.decision.plans.iter().take(super::PLANS_MAX);
        let plans: Vec<_> = plans.map(|(key, plan)| (key.to_string(), plan)).collect();
        let mut active = writer.begin(&catalog::PLAN_ACTIVE)?;
        plans.iter().try_for_each(|(name, plan)| active.gauge(&[name], plan.servers_active))?;
        let mut granted = writer.begin(&catalog::PLAN_GRANTED)?;
        plans.iter().try_for_each(|(name, plan)| granted.gauge(&[name], plan.servers_granted))?;
        let mut campaigns = writer.begin(&catalog::PLAN_CAMPAIGNS)?;
        plans.iter().try_for_each(|(name, plan)| campaigns.gauge(&[name], plan.campaigns))
    }
}

fn states(writer: &mut Writer, shown: &[Shown]) -> fmt::Result {
    let mut info = writer.begin(&catalog::SERVER)?;
    shown.iter().try_for_each(|one| info.info(&[&one.name, &one.server.status.provider]))?;
    let mut active = writer.begin(&catalog::SERVER_ACTIVE)?;
    shown.iter().try_for_each(|one| active.gauge(&[&one.name], u32::from(one.server.active)))?;
    let mut reasons = writer.begin(&catalog::SERVER_REASON)?;
    for one in shown {
        if let Some(reason) = reason(&one.server.status.conditions) {
            reasons.gauge(&[&one.name, reason], 1_u32)?;
        }
    }
    let mut conditions = writer.begin(&catalog::SERVER_CONDITION)?;
    for one in shown {
        for condition in &one.server.status.conditions {
            let kind = format!("{:?}", condition.kind);
            conditions.one_of(&[&one.name, &kind], STATUSES.map(|(word, status)| (word, status == condition.status)))?;
        }
    }
    Ok(())
}

/// What is known of servers that campaigns use.
fn traffic(writer: &mut Writer, shown: &[Shown]) -> fmt::Result {
    let used: Vec<(&str, &ServerReport)> = shown.iter().filter_map(|one| Some((one.name.as_str(), one.report?))).collect();
    let mut messages = writer.begin(&catalog::SERVER_MESSAGES)?;
    for (name, report) in &used {
        let answers = &report.answers;
        for (outcome, count) in [
            ("Accepted", report.accepted),
            ("Refused", answers.refused),
            ("Deferred", answers.deferred),
            ("Failed", answers.failed),
            ("Unknown", answers.unknown),
        ] {
            messages.counter(&[name, outcome], count)?;
        }
    }
    let mut failures = writer.begin(&catalog::SERVER_FAILURES)?;
    used.iter().try_for_each(|(name, report)| failures.counter(&[name], report.failures))?;
    let mut in_flight = writer.begin(&catalog::SERVER_IN_FLIGHT)?;
    used.iter().try_for_each(|(name, report)| in_flight.gauge(&[name], report.in_flight as u64))?;
    let mut connections = writer.begin(&catalog::SERVER_CONNECTIONS)?;
    used.iter().try_for_each(|(name, report)| connections.gauge(&[name], report.connections))?;
    let mut throttled = writer.begin(&catalog::SERVER_THROTTLED)?;
    used.iter().try_for_each(|(name, report)| throttled.gauge(&[name], u32::from(report.rests || report.slowed_to.is_some())))
}

fn limits(writer: &mut Writer, shown: &[Shown]) -> fmt::Result {
    let mut limits = writer.begin(&catalog::SERVER_LIMIT)?;
    for one in shown {
        for rate in &one.server.status.effective.rates {
            limits.gauge(&[&one.name, &rate.per.to_string()], rate.messages)?;
        }
    }
    let mut used = writer.begin(&catalog::SERVER_USED)?;
    for one in shown {
        for (per_ms, count) in one.report.iter().flat_map(|report| &report.used) {
            let window = Duration::from_millis(u64::try_from(*per_ms).unwrap_or(0));
            used.gauge(&[&one.name, &window.to_string()], *count)?;
        }
    }
    let mut left = writer.begin(&catalog::SERVER_LEFT)?;
    for one in shown {
        if let Some(count) = one.report.and_then(|report| report.limit_left) {
            left.gauge(&[&one.name], count)?;
        }
    }
    Ok(())
}

fn warmups(writer: &mut Writer, shown: &[Shown]) -> fmt::Result {
    let warm: Vec<_> = shown.iter().filter_map(|one| Some((one.name.as_str(), one.server.status.warmup.as_ref()?))).collect();
    let mut limit = writer.begin(&catalog::WARMUP_LIMIT)?;
    warm.iter().try_for_each(|(name, warmup)| limit.gauge(&[name], warmup.limit))?;
    let mut used = writer.begin(&catalog::WARMUP_USED)?;
    for (name, warmup) in &warm {
        if let Some(count) = warmup.used {
            used.gauge(&[name], count)?;
        }
    }
    let mut step = writer.begin(&catalog::WARMUP_STEP)?;
    warm.iter().try_for_each(|(name, warmup)| step.gauge(&[name], warmup.step))?;
    let mut steps = writer.begin(&catalog::WARMUP_STEPS)?;
    warm.iter().try_for_each(|(name, warmup)| steps.gauge(&[name], warmup.steps))?;
    let mut held = writer.begin(&catalog::WARMUP_HELD)?;
    warm.iter().try_for_each(|(name, warmup)| held.gauge(&[name], warmup.days_not_counted))
}

fn came_back(writer: &mut Writer, shown: &[Shown]) -> fmt::Result {
    let judged: Vec<_> = shown.iter().filter_map(|one| Some((one.name.as_str(), one.server.status.came_back.as_ref()?))).collect();
    let mut bounces = writer.begin(&catalog::BOUNCES)?;
    judged.iter().try_for_each(|(name, came_back)| bounces.gauge(&[name], ratio(came_back.bounce_percent)))?;
    let mut complaints = writer.begin(&catalog::COMPLAINTS)?;
    judged.iter().try_for_each(|(name, came_back)| complaints.gauge(&[name], ratio(came_back.complaint_percent)))?;
    let mut paused = writer.begin(&catalog::PAUSED)?;
    judged.iter().try_for_each(|(name, came_back)| paused.gauge(&[name], came_back.paused.len() as u64))
}
