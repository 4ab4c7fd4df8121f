//! What only the process that sends will know, as it is taken here: each server passes its test, each Secret and file that is not at hand
//! is there, and audiences have as many people as were counted.

use std::{collections::BTreeMap, sync::Arc};

use super::{Audience, Past};
use crate::{
    decide::{CampaignInput, Decision, InLedger, Observations, ProbeResult, ServerObservation, World, decide},
    report::{CampaignReport, Expected, Phase, Report, Waiting},
    resources::{Blocker, Duration, Key, Reason, campaign::CampaignState},
    routing::Work,
};

/// Starts in the future for which it is worked out how long campaigns take.
const STARTS_MAX: usize = 50;

/// What stands in the way of a campaign's content on the machine that compares, and not where it is sent: a Secret, or a file that does
/// not belong in git.
fn is_elsewhere(blocker: &Blocker) -> bool {
    matches!(
        blocker.reason,
        Reason::FileNotFound
            | Reason::SecretNotFound
            | Reason::SecretKeyNotFound
            | Reason::ConfigMapNotFound
            | Reason::ConfigMapKeyNotFound
    )
}

/// Takes what is not at hand as there; returns for which campaigns, and what is missing.
pub fn fill(world: &mut World) -> BTreeMap<Key, Blocker> {
    let mut missing = BTreeMap::new();
    for (key, input) in &mut world.campaigns {
        let Some(blocker) = input.work.as_ref().err().filter(|blocker| is_elsewhere(blocker)).cloned() else { continue };
        let spec = &input.object.spec;
        input.work = Ok(Arc::new(Work::of(spec, 0, spec.from.address.as_str().into())));
        missing.insert(key.clone(), blocker);
    }
    missing
}

/// An audience that is known on one side counts for the other too, where the specs say the same of it.
pub fn share_audiences(old: (&World, &mut BTreeMap<Key, Audience>), new: (&World, &mut BTreeMap<Key, Audience>)) {
    for (key, input) in &old.0.campaigns {
        let is_same = new.0.campaigns.get(key).is_some_and(|other| other.object.spec.audience == input.object.spec.audience);
        let (Some(before), Some(after)) = (old.1.get_mut(key), new.1.get_mut(key)) else { continue };
        match (&before, &after) {
            (Audience::NotKnown(_), Audience::Counted(_) | Audience::MoreThan(_)) if is_same => *before = after.clone(),
            (Audience::Counted(_) | Audience::MoreThan(_), Audience::NotKnown(_)) if is_same => *after = before.clone(),
            _ => {}
        }
    }
}

/// What would be observed if each server passed its test, and each audience had been counted.
#[must_use]
pub fn observations(world: &World, audiences: &BTreeMap<Key, Audience>, past: &Past, now_ms: i64) -> Observations {
    let mut observed = Observations::default();
    for (key, input) in &world.servers {
        let mut observation = ServerObservation { server_hash: input.built.clone().unwrap_or_default(), ..ServerObservation::default() };
        observation.note_probe(ProbeResult::NotProbeable, now_ms, now_ms, &input.object.spec.probe());
        observed.servers.insert(key.clone(), observation);
    }
    let reports = world.campaigns.iter().filter_map(|(key, input)| {
        let Some(Audience::Counted(recipients)) = audiences.get(key) else { return None };
        Some((key.clone(), report(key, input, *recipients, past)?))
    });
    observed.report = Arc::new(Report { campaigns: reports.collect(), ..Report::default() });
    observed
}

/// A run as the data plane would report it once it has counted its audience; none of a run that is over, or of which nothing is known.
fn report(key: &Key, input: &CampaignInput, recipients: u64, past: &Past) -> Option<CampaignReport> {
    if !matches!(input.in_ledger, InLedger::Absent | InLedger::Begun) {
        return None;
    }
    let run = input.object.spec.run();
    let known = past.run(key, run).filter(|_| input.in_ledger == InLedger::Begun);
    if input.in_ledger == InLedger::Begun && known.is_none() {
        return None;
    }
    let known = known.cloned().unwrap_or_default();
    Some(CampaignReport {
        run: run.to_owned(),
        work_hash: input.work.as_ref().map_or(0, |work| work.work_hash),
        phase: Phase::Resting,
        counts: known.counts,
        accepted: BTreeMap::new(),
        expected: Some(Expected { recipients, is_estimate: false }),
        per_second: None,
        gap_ms: None,
        waiting: Waiting::No,
        last_hours_ms: None,
        without_zone: None,
        without_variant: None,
        blocker: None,
        unread_since_ms: None,
        started_ms: (input.in_ledger == InLedger::Begun).then_some(known.started_ms),
        completed_ms: None,
        added_later: None,
        reopen: input.reopened,
        has_sent: known.has_sent,
        bars: BTreeMap::new(),
        resume_handled: input.resume_handled.clone(),
        rollout: input.rollout.clone(),
    })
}

/// About how long each campaign takes by its limits, where that can be told: from now on, or from its start.
#[must_use]
pub fn times(world: &World, decision: &Decision, observed: &Observations) -> BTreeMap<Key, Duration> {
    let left = |decision: &Decision, key: &Key| decision.campaigns.get(key)?.status.time_left;
    let mut times: BTreeMap<Key, Duration> =
        decision.campaigns.keys().filter_map(|key| Some((key.clone(), left(decision, key)?))).collect();
    let mut starts: BTreeMap<i64, Vec<&Key>> = BTreeMap::new();
    for (key, campaign) in decision.campaigns.iter().filter(|(_, campaign)| campaign.status.state == CampaignState::Scheduled) {
        let when = world.campaigns.get(key).and_then(|input| input.when.as_ref().ok()?.start.as_ref());
        if let Some(start) = when.filter(|_| campaign.status.started_at.is_none()) {
            starts.entry(start.at_ms).or_default().push(key);
        }
    }
    for (at_ms, keys) in starts.into_iter().take(STARTS_MAX) {
        let then = decide(world, observed, at_ms);
        times.extend(keys.into_iter().filter_map(|key| Some((key.clone(), left(&then, key)?))));
    }
    times
}
