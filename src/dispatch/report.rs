//! The scheduler's report to the control plane. Pure.

use std::collections::BTreeMap;

use super::{
    campaign::CampaignRun,
    index::{CampaignIx, LaneIx},
    rate::Rate,
    scheduler::Scheduler,
};
use crate::{
    ledger::LedgerError,
    report::{Bar, CampaignReport, Phase, Report, ServerReport, Waiting},
    resources::Key,
};

/// A retry that is due sooner than this does not count as waiting, milliseconds: the state would flip with every small batch.
const RETRY_SOON_MS: i64 = 3000;

impl Scheduler {
    /// Reports the state now.
    pub fn report(&mut self, now_ms: i64, ledger_problem: Option<LedgerError>) -> Report {
        let commit_time = self.commit_time;
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        // Once for each server, though many campaigns need it.
        let mut exhausted = BTreeMap::new();
        let servers = self
            .lanes
            .iter_mut()
            .map(|(index, lane)| {
                let exhausted_until = lane.exhausted_until_ms(now_ms);
                exhausted.extend(exhausted_until.map(|until| (*index, until)));
                let report = ServerReport {
                    limit_left: lane.limiter.left(now_ms),
                    used: lane.limiter.used(now_ms),
                    warmup_left: lane.limiter.warmup_left(now_ms),
                    exhausted_until,
                    rests: lane.pace.rests_long(),
                    rests_since: lane.rests_since(),
                    slowed_to: lane.pace.rate(),
                    in_flight: lane.in_flight,
                    connections: count(lane.connections.now()),
                    in_flight_max: count(lane.bound(commit_time)),
                    accepted: lane.accepted,
                    failures: lane.failures,
                };
                (lane.key.clone(), report)
            })
            .collect();
        let mut campaigns = BTreeMap::new();
        for (key, &index) in &self.campaign_index {
            let per_second = self.campaigns.get_mut(&index).and_then(|campaign| per_second(campaign, now_ms));
            let plan = self.campaign(index).and_then(|campaign| campaign.intent.plan_limits.clone());
            let plan_until =
                plan.and_then(|limits| self.plan_limiters.get_mut(&limits.key).and_then(|limiter| limiter.exhausted_until(now_ms)));
            if let Some(report) = self.campaign_report(index, plan_until, &exhausted, now_ms) {
                campaigns.insert(key.clone(), CampaignReport { per_second, ..report });
            }
        }
        let commit_micros = u64::try_from(self.commit_time.as_micros()).unwrap_or(u64::MAX);
        Report { campaigns, servers, ledger_problem, unresolved: self.unsettled(), commit_micros }
    }

    fn campaign_report(
        &self,
        index: CampaignIx,
        plan_until: Option<i64>,
        exhausted: &BTreeMap<LaneIx, i64>,
        now_ms: i64,
    ) -> Option<CampaignReport> {
        let campaign = self.campaign(index)?;
        let accepted = campaign.accepted.iter().filter_map(|(name, count)| Some((Key::parse(name)?, *count))).collect();
        let mut counts = campaign.counts.clone();
        counts.sending = campaign.in_flight as u64;
        Some(CampaignReport {
            run: campaign.intent.work.run.clone(),
            fingerprint: campaign.intent.work.fingerprint,
            phase: campaign.phase,
            counts,
            accepted,
            expected: campaign.expected(),
            per_second: None,
            waiting: self.waiting(index, plan_until, exhausted, now_ms),
            blocker: campaign.blocker.clone(),
            started_ms: campaign.started_ms,
            completed_ms: campaign.completed_ms,
            added_later: campaign.added_later,
            reopen: campaign.reopen,
            has_sent: campaign.has_sent || campaign.in_flight > 0,
            bars: self.bars(campaign),
            resume_handled: campaign.resume_handled.clone(),
        })
    }

    fn bars(&self, campaign: &CampaignRun) -> BTreeMap<Key, Bar> {
        let here = campaign.guards.iter().filter_map(|(lane, guard)| Some((self.lanes.get(lane)?.key.clone(), guard.bar.clone()?)));
        let elsewhere = campaign.bars_elsewhere.iter().filter_map(|(name, bar)| Some((Key::parse(name)?, bar.clone())));
        here.chain(elsewhere).collect()
    }

    fn waiting(&self, index: CampaignIx, plan_until: Option<i64>, exhausted: &BTreeMap<LaneIx, i64>, now_ms: i64) -> Waiting {
        let Some(campaign) = self.campaign(index) else { return Waiting::No };
        if campaign.phase != Phase::Feeding || campaign.in_flight > 0 {
            return Waiting::No;
        }
        if let Some(until) = plan_until {
            return Waiting::ForLimits(until);
        }
        if campaign.eligible.is_empty() {
            let usable = campaign
                .intent
                .servers
                .iter()
                .filter_map(|(key, _)| self.lane_index.get(key))
                .filter(|lane| campaign.bar_at(**lane).is_none());
            let lanes: Vec<_> = usable.filter(|index| self.lanes.contains_key(index)).collect();
            if let Some((_, message)) =
                campaign.last_refusal.as_ref().filter(|_| lanes.iter().any(|lane| !campaign.is_open_at(**lane, now_ms)))
            {
                return Waiting::ForRefusal(message.clone());
            }
            return Waiting::ForServer;
        }
        // Only if no server takes anything: what one cannot take goes to the others.
        let until: Option<Vec<i64>> = campaign.eligible.servers().iter().map(|(lane, _)| exhausted.get(&lane.id).copied()).collect();
        if let Some(until) = until.and_then(|until| until.into_iter().min()).filter(|until| *until > now_ms + RETRY_SOON_MS) {
            return Waiting::ForLimits(until);
        }
        match campaign.next_due_ms {
            Some(due) if due > now_ms + RETRY_SOON_MS && campaign.audience_done && campaign.waiting == 0 && campaign.preparing == 0 => {
                Waiting::ForRetry(due)
            }
            _ => Waiting::No,
        }
    }
}

/// The recent rate; one that rests begins anew.
fn per_second(campaign: &mut CampaignRun, now_ms: i64) -> Option<f64> {
    if campaign.phase != Phase::Feeding {
        campaign.rate = Rate::default();
        return None;
    }
    campaign.rate.now(now_ms, campaign.counts.ended())
}
