//! The table of picks: why each server was or was not picked. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    super::{Observations, ServerDecision},
    candidates::Candidate,
};
use crate::resources::{
    Key, Reason,
    bound::{WHY_NOT_MAX, bounded, listed},
    condition,
    condition::ConditionType,
    server_table::{CampaignServerStatus, ServerTable},
};

/// The rows of the table: why each server was or was not picked. They do not include what a campaign has sent through the servers.
pub(super) fn rows(
    candidates: &[Candidate],
    servers: &BTreeMap<Key, ServerDecision>,
    observed: &Observations,
) -> impl Iterator<Item = CampaignServerStatus> {
    let may = move |candidate: &Candidate| {
        candidate.granted
            && candidate.chosen
            && candidate.unfit.is_none()
            && candidate.bar.is_none()
            && candidate.paused.is_none()
            && servers.get(&candidate.key).is_some_and(|server| server.routed)
            && observed
                .report
                .servers
                .get(&candidate.key)
                .is_none_or(|server| server.exhausted_until.is_none() && server.rests_since.is_none())
    };
    let total: u64 = candidates.iter().filter(|candidate| may(candidate)).map(|candidate| u64::from(candidate.weight)).sum();
    candidates.iter().map(move |candidate| {
        let server = servers.get(&candidate.key);
        let load = observed.report.servers.get(&candidate.key);
        let weight = if may(candidate) { u64::from(candidate.weight) } else { 0 };
        let tenths = (weight * 1000 + total / 2).checked_div(total).unwrap_or(0);
        CampaignServerStatus {
            server: candidate.key.to_string().into(),
            granted: candidate.granted,
            chosen: candidate.chosen && candidate.weight > 0,
            // A server that the namespace may not use looks as if it did not exist.
            enabled: candidate.granted && server.is_some_and(|server| !has_reason(server, Reason::Disabled)),
            active: candidate.granted && server.is_some_and(|server| server.active),
            weight: candidate.weight,
            share_percent: format!("{}.{}", tenths / 10, tenths % 10).into(),
            limit_left: candidate.granted.then(|| load.and_then(|load| load.limit_left)).flatten(),
            warmup_left: candidate.granted.then(|| load.and_then(|load| load.warmup_left)).flatten(),
            accepted: 0,
            why_not: bounded(why_not(candidate, server, load).into(), WHY_NOT_MAX).into(),
        }
    })
}

/// What a campaign has sent through each of these candidates, which are ordered by key.
pub(super) fn counts(candidates: &[Candidate], accepted: Option<&BTreeMap<Key, u64>>) -> Vec<u64> {
    let mut counts = vec![0; candidates.len()];
    for (server, count) in accepted.into_iter().flatten() {
        let at = candidates.binary_search_by(|candidate| candidate.key.cmp(server));
        if let Some(known) = at.ok().and_then(|at| counts.get_mut(at)) {
            *known = *count;
        }
    }
    counts
}

/// Shares are compared with weights from this number of messages of a run on.
const TELLING_MIN: u64 = 500;

/// The servers that got more than twice the share of their weight because the limits of others were used up, in words; `None` if
/// shares hold.
pub(super) fn overflow(table: &ServerTable) -> Option<String> {
    if table.accepted() < TELLING_MIN {
        return None;
    }
    let used = || table.iter().filter(|row| row.granted && row.chosen);
    let (weights, accepted): (u64, u64) = used().fold((0, 0), |(w, a), row| (w + u64::from(row.weight), a + row.accepted));
    if accepted < TELLING_MIN || used().any(|row| !row.active) {
        return None;
    }
    // In steps of five, so that the message does not keep changing.
    let percent = |part: u64, whole: u64| (part * 20 + whole / 2) / whole.max(1) * 5;
    let told: Vec<String> = used()
        .filter(|row| u128::from(row.accepted) * u128::from(weights) > 2 * u128::from(row.weight) * u128::from(accepted))
        .map(|row| {
            let (took, should) = (percent(row.accepted, accepted), percent(u64::from(row.weight), weights));
            format!("{} accepted {took}% although its weight is {should}%", row.server)
        })
        .collect();
    (!told.is_empty()).then(|| told.join("; "))
}

fn has_reason(server: &ServerDecision, reason: Reason) -> bool {
    condition::find(&server.status.conditions, ConditionType::Ready).is_some_and(|ready| ready.reason == reason)
}

fn why_not(candidate: &Candidate, server: Option<&ServerDecision>, load: Option<&crate::report::ServerReport>) -> String {
    if !candidate.granted {
        return "not granted by the plan, and not an own server".to_owned();
    }
    if !candidate.chosen {
        return "not named in spec.servers".to_owned();
    }
    if candidate.weight == 0 {
        return "its weight is 0".to_owned();
    }
    if let Some(unfit) = &candidate.unfit {
        return unfit.clone();
    }
    if let Some(bar) = &candidate.bar {
        return format!("it refuses this campaign: {}", bar.reason);
    }
    if let Some(paused) = &candidate.paused {
        return format!("paused for the namespace: {}", paused.message);
    }
    let Some(server) = server else { return "it does not exist".to_owned() };
    if !server.active {
        return format!("Inactive: {}", server.why_inactive);
    }
    if !server.routed {
        return "a send failed; it is probed before it is used again".to_owned();
    }
    if load.is_some_and(|load| load.rests_since.is_some()) {
        return "the outcome of a message is unknown; it is paused, and then tried with a single message".to_owned();
    }
    match load.and_then(|load| load.exhausted_until) {
        Some(_) if load.is_some_and(|load| load.rests) => "it reports too many messages, and is paused".to_owned(),
        Some(until) => {
            let until = Timestamp::from_millisecond(until).map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default();
            format!("its limit is used up until {until}")
        }
        None => {
            let reports = load.map_or(&[][..], |load| &load.domains[..]);
            let limits = server.status.per_domain.iter().zip(reports).filter(|(_, report)| report.exhausted_until.is_some());
            let domains: Vec<&str> = limits.flat_map(|(limit, _)| &limit.domains).map(String::as_str).collect();
            if domains.is_empty() {
                String::new()
            } else {
                format!("its limit for {} is used up; messages for other domains are sent", listed(domains.into_iter()))
            }
        }
    }
}
