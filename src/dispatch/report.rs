//! The scheduler's report to the control plane. Pure.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    campaign::CampaignRun,
    index::{CampaignIx, LaneIx},
    receivers::Receiver,
    scheduler::Scheduler,
};
use crate::{
    ledger::LedgerError,
    report::{CampaignReport, Phase, Report, ServerReport, Waiting},
    resources::{Bar, Key},
};

/// What limits for receiving domains mean for a campaign.
#[derive(Debug, Default)]
struct OfDomains {
    gap_ms: Option<f64>,
    /// Until when nobody who is left may be sent anything, and to whom that applies.
    until: Option<(i64, Vec<Receiver>)>,
}

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
                let domains = lane.domains.as_mut().map(|domains| domains.report(now_ms)).unwrap_or_default();
                let report = ServerReport {
                    domains,
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
                    answers: lane.answers,
                    failures: lane.failures,
                };
                (lane.key.clone(), report)
            })
            .collect();
        let mut campaigns = BTreeMap::new();
        let indices: Vec<(Key, CampaignIx)> = self.campaign_index.iter().map(|(key, index)| (key.clone(), *index)).collect();
        self.rooms.clear();
        for (key, index) in indices {
            let per_second =
                self.campaigns.get_mut(&index).and_then(|campaign| campaign.tally.per_second(campaign.phase == Phase::Feeding, now_ms));
            let shared_until = self.shared_until(index, now_ms);
            let domains = self.domains_of(index, now_ms);
            if let Some(report) = self.campaign_report(index, shared_until, (&exhausted, domains), now_ms) {
                campaigns.insert(key, CampaignReport { per_second, ..report });
            }
        }
        let (commits, round_trips) = (self.commits.clone(), self.round_trips.clone());
        Report { campaigns, servers, days: Arc::default(), ledger_problem, unresolved: self.unsettled(), commits, round_trips }
    }

    fn campaign_report(
        &self,
        index: CampaignIx,
        shared_until: Option<i64>,
        (exhausted, domains): (&BTreeMap<LaneIx, i64>, OfDomains),
        now_ms: i64,
    ) -> Option<CampaignReport> {
        let campaign = self.campaign(index)?;
        let accepted = campaign.tally.accepted().filter_map(|(name, count)| Some((Key::parse(name)?, count))).collect();
        let mut counts = campaign.tally.counts.clone();
        counts.sending = campaign.tally.in_flight as u64;
        Some(CampaignReport {
            run: campaign.intent.work.run.clone(),
            work_hash: campaign.intent.work.work_hash,
            phase: campaign.phase,
            counts,
            accepted,
            expected: campaign.expected(),
            per_second: None,
            gap_ms: domains.gap_ms,
            waiting: self.waiting(index, shared_until, exhausted, domains.until, now_ms),
            blocker: campaign.blocked.shown().cloned(),
            last_hours_ms: campaign.hours.asleep.as_ref().map(|asleep| asleep.last_ms),
            without_zone: campaign.audience.without_zone.clone(),
            without_variant: campaign.audience.without_variant.clone(),
            unread_since_ms: campaign.blocked.unread_since_ms(),
            started_ms: campaign.record.started_ms,
            completed_ms: campaign.record.completed_ms,
            added_later: campaign.audience.added_later,
            reopen: campaign.record.reopen,
            has_sent: campaign.record.has_sent || campaign.tally.in_flight > 0,
            bars: self.bars(campaign),
            resume_handled: campaign.record.resume_handled.clone(),
            rollout: campaign.record.rollout.clone(),
        })
    }

    /// Until when a longer window of its plan or of its own is used up.
    fn shared_until(&mut self, index: CampaignIx, now_ms: i64) -> Option<i64> {
        let limits = self.campaigns.get(&index)?.intent.shared_limits();
        limits.filter_map(|limits| self.shared_limiters.get_mut(&limits.key)?.exhausted_until(now_ms)).max()
    }

    /// What limits for receiving domains leave a campaign.
    fn domains_of(&mut self, index: CampaignIx, now_ms: i64) -> OfDomains {
        let none = OfDomains::default();
        let Some(campaign) = self.campaign(index).filter(|campaign| campaign.phase == Phase::Feeding) else { return none };
        let left = campaign.backlog.receivers_left();
        let is_read = campaign.audience.is_read || campaign.backlog.only.is_some();
        if left.is_empty() || !is_read || campaign.feeder.requested > 0 || !campaign.backlog.is_for_receivers_alone() {
            return none;
        }
        let rooms: Vec<_> = left.iter().filter_map(|receiver| self.room_for(index, receiver, now_ms)).collect();
        let per_ms: f64 = rooms.iter().map(|room| room.gap_ms).filter(|gap| *gap > 0.0).map(|gap| 1.0 / gap).sum();
        let is_limited = rooms.iter().all(|room| room.gap_ms > 0.0) && per_ms > 0.0;
        let until: Option<Vec<i64>> = rooms.iter().map(|room| room.until_ms).collect();
        let until = until.and_then(|until| until.into_iter().min());
        OfDomains { gap_ms: is_limited.then(|| 1.0 / per_ms), until: until.map(|until| (until, left.into_iter().collect())) }
    }

    fn bars(&self, campaign: &CampaignRun) -> BTreeMap<Key, Bar> {
        let here = campaign.guards.by_lane.iter().filter_map(|(lane, guard)| Some((self.lanes.get(lane)?.key.clone(), guard.bar.clone()?)));
        let elsewhere = campaign.guards.bars_elsewhere().iter().filter_map(|(name, bar)| Some((Key::parse(name)?, bar.clone())));
        here.chain(elsewhere).collect()
    }

    fn waiting(
        &self,
        index: CampaignIx,
        shared_until: Option<i64>,
        exhausted: &BTreeMap<LaneIx, i64>,
        domains: Option<(i64, Vec<Receiver>)>,
        now_ms: i64,
    ) -> Waiting {
        let Some(campaign) = self.campaign(index) else { return Waiting::No };
        if campaign.phase != Phase::Feeding || campaign.tally.in_flight > 0 {
            return Waiting::No;
        }
        if let Some(until) = shared_until {
            return Waiting::ForLimits(until);
        }
        if campaign.eligible.is_empty() {
            let usable = campaign
                .intent
                .servers
                .iter()
                .filter_map(|(key, _)| self.lane_index.get(key))
                .filter(|lane| campaign.guards.bar_at(**lane).is_none());
            let lanes: Vec<_> = usable.filter(|index| self.lanes.contains_key(index)).collect();
            if let Some((_, message)) =
                campaign.guards.last_refusal.as_ref().filter(|_| lanes.iter().any(|lane| !campaign.guards.is_open_at(**lane, now_ms)))
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
        if let Some((until_ms, domains)) = domains.filter(|(until_ms, _)| *until_ms > now_ms + RETRY_SOON_MS) {
            return Waiting::ForDomains { until_ms, domains };
        }
        if !campaign.audience.is_read || campaign.backlog.messages > 0 || campaign.feeder.preparing > 0 {
            return Waiting::No;
        }
        let due_ms = campaign.feeder.next_due_ms;
        match &campaign.hours.asleep {
            Some(asleep) if asleep.first_ms > now_ms + RETRY_SOON_MS && due_ms.is_none_or(|due| asleep.first_ms <= due) => {
                Waiting::ForHours { until_ms: asleep.first_ms, zone: asleep.zone.clone() }
            }
            _ => due_ms.filter(|due| *due > now_ms + RETRY_SOON_MS).map_or(Waiting::No, Waiting::ForRetry),
        }
    }
}
