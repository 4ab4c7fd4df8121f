//! What the data plane tells the control plane: counts, and why something waits.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use super::index::{CampaignIx, LaneIx};
use super::{
    campaign::{CampaignRun, Phase, Trouble},
    refusals::Bar,
    scheduler::Scheduler,
};
use crate::{
    ledger::LedgerError,
    resources::{Duration, Key, campaign::RecipientCounts, resume::Handled},
};

/// The state of the data plane at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Campaigns.
    pub campaigns: BTreeMap<Key, CampaignReport>,
    /// Servers.
    pub servers: BTreeMap<Key, ServerReport>,
    /// Why the ledger cannot be written, while that is so.
    pub ledger_problem: Option<LedgerError>,
    /// Claims without an outcome.
    pub unresolved: usize,
    /// How long a commit takes, microseconds.
    pub commit_micros: u64,
}

/// A retry that comes sooner than this is no waiting, milliseconds: the state would flip with each small batch.
const RETRY_SOON_MS: i64 = 3000;

/// What a run waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Nothing: it sends.
    No,
    /// Its servers failed at sending and are being tested.
    ForServer,
    /// Its servers' or its namespace's limits are used up until then, milliseconds.
    ForLimits(i64),
    /// All that is left is deferred until then, milliseconds.
    ForRetry(i64),
    /// Its servers refuse it for now, in these words.
    ForRefusal(String),
}

/// A run of a campaign.
#[derive(Clone, Debug, PartialEq)]
pub struct CampaignReport {
    /// The run's name.
    pub run: String,
    /// The fingerprint of the order that this is about.
    pub fingerprint: u64,
    /// Where it stands.
    pub phase: Phase,
    /// Recipients by what became of them.
    pub counts: RecipientCounts,
    /// Messages that each server took.
    pub accepted: BTreeMap<Key, u64>,
    /// How much of the audience is read, 0 to 1.
    pub audience_progress: Option<f64>,
    /// Recipients that the audience has brought so far.
    pub audience_seen: u64,
    /// What it waits for.
    pub waiting: Waiting,
    /// What stops it.
    pub trouble: Option<Trouble>,
    /// When the run began, milliseconds.
    pub started_ms: Option<i64>,
    /// When every recipient had an end, milliseconds.
    pub completed_ms: Option<i64>,
    /// Rows that were added after completion.
    pub added_later: u64,
    /// Servers that may not be used for it until a person acts, and why.
    pub bars: BTreeMap<Key, Bar>,
    /// The requests to resume that were carried out.
    pub resume_handled: Handled,
}

/// A server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerReport {
    /// Messages left in its longer windows.
    pub limit_left: Option<u64>,
    /// Messages in each of its longer windows, by the window's length in milliseconds.
    pub used: Vec<(i64, u64)>,
    /// Messages left of today's warm-up.
    pub warmup_left: Option<u64>,
    /// Its longer windows or warm-up are used up until then, or it asked for a rest, milliseconds.
    pub exhausted_until: Option<i64>,
    /// Whether it rests for ten seconds or more since it was given too much.
    pub rests: bool,
    /// Why it rests, in words, when it does since an outcome was unknown.
    pub rests_since: Option<Arc<str>>,
    /// The messages a second that it is given, since it said that it was given too much.
    pub slowed_to: Option<f64>,
    /// Messages on the wire.
    pub in_flight: usize,
    /// Connections at a time now.
    pub connections: u32,
    /// The most messages on the wire at a time, steady enough to be shown.
    pub in_flight_max: u32,
    /// Messages that it took since the process began.
    pub accepted: u64,
    /// Whether the dispatcher picks it.
    pub eligible: bool,
    /// Failures that the dispatcher counted since the process began.
    pub failures: u64,
}

impl ServerReport {
    /// Messages in the window of this length, one of the longer ones; 0 in one that does not count yet.
    #[must_use]
    pub fn used_in(&self, per: Duration) -> u64 {
        self.used.iter().find(|(per_ms, _)| *per_ms == per.as_millis()).map_or(0, |(_, used)| *used)
    }
}

impl Scheduler {
    /// The state now.
    pub fn report(&mut self, now_ms: i64, ledger_problem: Option<LedgerError>) -> Report {
        let commit_time = self.commit_time;
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        // Of each server once, though many campaigns ask.
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
                    eligible: lane.is_eligible(),
                    failures: lane.failures,
                };
                (lane.key.clone(), report)
            })
            .collect();
        let mut campaigns = BTreeMap::new();
        for (key, &index) in &self.campaign_index {
            let plan = self.campaign(index).and_then(|campaign| campaign.order.plan_limits.clone());
            let plan_until =
                plan.and_then(|(name, _)| self.plan_limiters.get_mut(&name).and_then(|limiter| limiter.exhausted_until(now_ms)));
            if let Some(report) = self.campaign_report(index, plan_until, &exhausted, now_ms) {
                campaigns.insert(key.clone(), report);
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
        let accepted = campaign.accepted.iter().filter_map(|(name, count)| Some((key_of(name)?, *count))).collect();
        let mut counts = campaign.counts.clone();
        counts.sending = campaign.in_flight as u64;
        Some(CampaignReport {
            run: campaign.order.run.clone(),
            fingerprint: campaign.order.fingerprint,
            phase: campaign.phase,
            counts,
            accepted,
            audience_progress: campaign.audience_progress,
            audience_seen: campaign.audience_seen,
            waiting: self.waiting(index, plan_until, exhausted, now_ms),
            trouble: campaign.trouble.clone(),
            started_ms: campaign.started_ms,
            completed_ms: campaign.completed_ms,
            added_later: campaign.added_later,
            bars: self.bars(campaign),
            resume_handled: campaign.resume_handled.clone(),
        })
    }

    fn bars(&self, campaign: &CampaignRun) -> BTreeMap<Key, Bar> {
        let here = campaign.guards.iter().filter_map(|(lane, guard)| Some((self.lanes.get(lane)?.key.clone(), guard.bar.clone()?)));
        let elsewhere = campaign.bars_elsewhere.iter().filter_map(|(name, bar)| Some((key_of(name)?, bar.clone())));
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
                .order
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
        // Only where none takes anything: what one cannot take goes to the others.
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

/// The key of a server's name in the ledger.
fn key_of(name: &str) -> Option<Key> {
    name.split_once('/').map(|(namespace, name)| Key::new(namespace, name))
}

/// A clock that never steps back: wall time at the start, then the steady clock.
#[derive(Clone, Copy, Debug)]
pub struct SteadyClock {
    wall_ms: i64,
    started: Instant,
}

impl Default for SteadyClock {
    fn default() -> Self {
        Self { wall_ms: jiff::Timestamp::now().as_millisecond(), started: Instant::now() }
    }
}

impl SteadyClock {
    /// Milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.wall_ms + i64::try_from(self.started.elapsed().as_millis()).unwrap_or(0)
    }
}
