//! Which message goes where, and when: the state machine of the data plane. Pure: no I/O, the time is an argument.
//!
//! Events arrive as method calls; [`Scheduler::step`] returns what is to be done, and in which order. Messages flow: feeder →
//! `prepared` → the queue of the picked server → `plan` (a claim) → `committed` → the wire → `outcome` → the next `plan`. Nothing
//! leaves before its claim is durable.
//!
//! Indices of campaigns and servers are never reused in a process, so that a late answer reaches nobody else.

mod commits;
mod crowding;
mod feeding;
mod held;
mod outcomes;
mod placing;
mod rollout;
mod routing;
mod session;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use self::crowding::Room;
use super::{
    calls::CallId,
    campaign::{
        CampaignRun,
        picking::{Pick, WithHeadroom},
        record::Opened,
    },
    guard::domain_of,
    index::{CampaignIx, LaneIx},
    lane::{Lane, LaneRef},
    limits::Limiter,
    receivers::{Passing, Receiver, Receivers},
    rendered::Rendered,
    reroutes::Reroutes,
    route::EligibleSet,
    stages::{Disposition, DomainUse, InFlight, ReadyMessage, RenderFailure, Settled},
    turns::Turns,
};
use crate::{
    feedback::MessageReference,
    ledger::{Resumption, RolloutChange},
    providers::Outgoing,
    report::{Bar, Phase},
    resources::{Blocker, Key, Reason, campaign::Weighting, fate::Fate},
    token::return_path::ReturnPaths,
};

/// Enough outcomes to justify their own commit.
const OUTCOMES_WORTH_A_COMMIT: usize = 64;
/// Outcomes wait no longer than this to be written together, milliseconds.
const OUTCOME_AGE_MAX_MS: i64 = 3;
/// Claims wait no longer than this for the other messages in flight to be answered, milliseconds. A commit costs an fsync, however
/// few messages it is for: on a fast connection everything in flight is answered within this time, and one commit serves all.
const CLAIMS_WAIT_MS: i64 = 1;
/// The wait before a failed commit is retried, milliseconds.
const LEDGER_RETRY_MS: i64 = 1_000;
/// The most deferred messages that are fetched from the ledger at a time.
const DUE_MAX: usize = 64;

/// What the scheduler asks its task to do.
#[derive(Debug)]
pub enum Action {
    /// Find or begin the run in the ledger, then call [`Scheduler::opened`].
    Open(CampaignIx),
    /// Start a feeder for the campaign before carrying out the next action, then call [`Scheduler::feeder_started`].
    StartFeeder(CampaignIx),
    /// Write this to the ledger in one transaction, then call [`Scheduler::committed`] or [`Scheduler::commit_failed`].
    Commit(Planned),
    /// Ask the feeder for more messages.
    RequestRows {
        /// Whose feeder.
        campaign: CampaignIx,
        /// How many.
        count: usize,
        /// Whose people are passed over.
        passing: Option<Arc<Passing>>,
    },
    /// Ask the feeder for one recipient, out of turn.
    Seek {
        /// Whose feeder.
        campaign: CampaignIx,
        /// The domain outside which it is.
        domain: Arc<str>,
    },
    /// Stop the feeder and return its leases to the ledger, then call [`Scheduler::released`]. Messages that are being fetched for
    /// it are returned as well when they arrive, followed by another such call.
    StopFeeder(CampaignIx),
    /// Fetch deferred messages that are due.
    FetchDue {
        /// Of which run.
        campaign: CampaignIx,
        /// The most to fetch.
        most: usize,
    },
    /// Hand messages to a server as a new call.
    Deliver {
        /// The server.
        lane: LaneIx,
        /// The id of the call.
        call: CallId,
        /// The messages.
        batch: Vec<Outgoing>,
    },
    /// Hand a message to a call that is in progress.
    Ahead {
        /// The server.
        lane: LaneIx,
        /// The id of the call.
        call: CallId,
        /// What the call is handed now; its claim is durable.
        message: Outgoing,
    },
    /// Report to the control plane that a server failed.
    ServerFailed {
        /// Which one; it is out of use until the control plane has acknowledged the failure.
        server: Key,
        /// The cause.
        failure: Blocker,
        /// The number of its failures, with this one.
        failures: u64,
    },
    /// A closed run was edited: count the rows of its audience that were added since and are not mailed.
    CountAdded(CampaignIx),
    /// Call [`Scheduler::audience_touched`] once the audience's file has changed.
    WatchAudience(CampaignIx),
    /// Every recipient of the run has a final outcome: close it in the ledger.
    Close(CampaignIx),
    /// Carry out a resumption of the run, then call [`Scheduler::resumed`].
    Resume {
        /// Whose run.
        campaign: CampaignIx,
        /// What was requested.
        resumption: Resumption,
    },
    /// Change the rollout of the run, then call [`Scheduler::rollout_changed`], or [`Scheduler::rollout_not_changed`].
    ChangeRollout {
        /// Whose run.
        campaign: CampaignIx,
        /// To what.
        change: RolloutChange,
    },
    /// The scheduler has removed the campaign: forget what is kept for it.
    Forget(CampaignIx),
    /// The scheduler has removed the server: forget what is kept for it.
    ForgetServer(LaneIx),
}

/// A claim to be committed.
#[derive(Debug)]
pub struct PlannedClaim {
    /// The campaign's index.
    pub campaign: CampaignIx,
    /// The epoch of the feeder that it came from.
    pub feeder_epoch: u64,
    /// The server's index.
    pub lane: LaneIx,
    /// The limit for its receiving domain that it counts towards.
    pub domain: Option<DomainUse>,
    /// What is claimed; it leaves once the claim is durable.
    pub message: ReadyMessage,
}

/// A server that is to be out of use for a campaign.
#[derive(Debug)]
pub struct PlannedBar {
    /// The campaign's index.
    pub campaign: CampaignIx,
    /// The server's index.
    pub lane: LaneIx,
    /// Why.
    pub bar: Bar,
}

/// The contents of the next commit.
#[derive(Debug, Default)]
pub struct Planned {
    /// Outcomes, written first.
    pub outcomes: Vec<Settled>,
    /// Claims, written after them.
    pub claims: Vec<PlannedClaim>,
    /// Servers that are out of use for a campaign.
    pub bars: Vec<PlannedBar>,
    /// Messages that were written in a different minute from that of their claim, or not at all.
    pub usage_moves: Vec<UsageMove>,
    /// When this was planned, milliseconds: the time of the claims.
    pub at_ms: i64,
}

/// A correction of usage: a message counts towards limits in the minute of its claim until it is known when it was written.
#[derive(Clone, Debug)]
pub struct UsageMove {
    /// The campaign's index.
    pub campaign: CampaignIx,
    /// The server's index.
    pub lane: LaneIx,
    /// The key of the limit for its receiving domain.
    pub domain: Option<Arc<str>>,
    /// The minute of its claim, counted since 1970.
    pub from_minute: i64,
    /// The minute in which its last byte was written; `None` if certainly none of its content was.
    pub to_minute: Option<i64>,
}

/// A change in the number of a campaign's messages of one fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FateChange {
    /// The campaign's index.
    pub campaign: CampaignIx,
    /// Whose number changes.
    pub fate: Fate,
    /// The server, for a final outcome that has one.
    pub lane: Option<LaneIx>,
    /// The difference, which may be negative.
    pub by: i64,
}

/// The changes that a write to the ledger made in the counts of campaigns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CountChanges {
    /// By fate.
    pub fates: Vec<FateChange>,
    /// Campaign, and the number of messages that were resent though the outcome of the previous attempt is unknown.
    pub resent: Vec<(CampaignIx, i64)>,
}

/// A list of granted servers with their weights, shared by the campaigns that have it.
type Granted = Arc<[(Key, u32)]>;

/// The state machine of the data plane.
pub struct Scheduler {
    ledger_seed: u64,
    /// What stands for the ledger in references to messages.
    ledger_id: u32,
    /// Makes envelope senders that name the message, where there are keys.
    pub(super) return_paths: Option<Arc<ReturnPaths>>,
    pub(super) campaigns: BTreeMap<CampaignIx, CampaignRun>,
    pub(super) campaign_index: BTreeMap<Key, CampaignIx>,
    pub(super) lanes: BTreeMap<LaneIx, Lane>,
    pub(super) lane_index: BTreeMap<Key, LaneIx>,
    /// The last index given to a campaign or server.
    next_index: u64,
    /// The limiters of namespaces on their plans, and of campaigns, by key.
    pub(super) shared_limiters: BTreeMap<Arc<str>, Limiter>,
    /// The receiving domains that some server limits.
    pub(super) receivers: Arc<Receivers>,
    /// Room for receivers, by the servers of a campaign and whether its shares are strict, as far as it was needed since the last look.
    pub(super) rooms: BTreeMap<(u64, bool, Receiver), Room>,
    /// Rendered messages for which no server is eligible, or none with room in its limits.
    unplaced: Turns,
    /// The sets of servers with room in their limits, shared by all campaigns.
    with_headroom: WithHeadroom,
    /// For each list of granted servers, by its address, the servers that may be picked now, shared by all campaigns that have this
    /// list and that none of its servers refuses. The list is kept too, so that its address is not reused.
    alike: BTreeMap<usize, (Granted, EligibleSet<LaneRef>)>,
    in_flight: Vec<Option<InFlight>>,
    free_tokens: Vec<usize>,
    /// Claims whose outcome is not durable yet.
    unresolved: usize,
    pending: Vec<Settled>,
    pending_bars: Vec<PlannedBar>,
    pending_usage: Vec<UsageMove>,
    pending_since_ms: i64,
    /// Since when claims wait to be committed together.
    ready_since_ms: Option<i64>,
    /// The lane whose turn it is to claim first.
    first_lane: LaneIx,
    reroutes: Reroutes,
    /// The waiting rendered messages of all campaigns.
    rendered: Rendered,
    /// The campaign whose feeder was last asked for messages.
    last_asked: CampaignIx,
    /// When a plan's or a campaign's limit next admits a message that waits for nothing else, milliseconds.
    shared_reopens_ms: i64,
    /// How long a commit takes, smoothed.
    pub(super) commit_time: Duration,
    actions: Vec<Action>,
    /// Campaigns whose feeder is to be started.
    feeds: Vec<CampaignIx>,
    /// How many returns of leases to the ledger are pending; no feeder starts before they are done.
    releasing: usize,
    is_committing: bool,
    /// The results of the last step's actions call for another step at once.
    has_more_to_do: bool,
    /// When a failed commit is retried, milliseconds.
    commit_again_ms: Option<i64>,
    stopping: bool,
    /// A deliberate mistake, which the simulation must find.
    #[cfg(test)]
    pub(super) mutant: Option<Mutant>,
}

/// Deliberate mistakes.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutant {
    /// A message is handed over before its claim is durable.
    ContentBeforeCommit,
    /// A lease that is returned to the ledger once counts as returned twice.
    LeaseGivenBackTwice,
    /// What a commit changed is counted twice.
    CountAppliedTwice,
    /// A window does not count messages that are claimed and not known to be written.
    WindowForgetsInFlight,
    /// The usage that is kept for the next start counts a message at its claim, whenever it was written.
    UsageStaysAtItsClaim,
    /// Messages that a server's limits do not admit go to others though shares are strict.
    OverflowIgnoresStrict,
    /// A message for a domain without room keeps those behind it from being claimed.
    DomainBlocksTheQueue,
    /// A message for a limited domain counts towards its window only once it is answered.
    DomainForgetsInFlight,
    /// The audience is not read again for those who were passed over.
    PassedOverAreForgotten,
}

impl Scheduler {
    /// An empty scheduler.
    #[must_use]
    pub fn new(ledger_seed: u64) -> Self {
        Self {
            ledger_seed,
            ledger_id: MessageReference::ledger_of(ledger_seed),
            return_paths: None,
            campaigns: BTreeMap::new(),
            campaign_index: BTreeMap::new(),
            lanes: BTreeMap::new(),
            lane_index: BTreeMap::new(),
            next_index: 0,
            shared_limiters: BTreeMap::new(),
            receivers: Arc::default(),
            rooms: BTreeMap::new(),
            unplaced: Turns::default(),
            with_headroom: WithHeadroom::default(),
            alike: BTreeMap::new(),
            in_flight: Vec::new(),
            free_tokens: Vec::new(),
            unresolved: 0,
            pending: Vec::new(),
            pending_bars: Vec::new(),
            pending_usage: Vec::new(),
            pending_since_ms: 0,
            ready_since_ms: None,
            first_lane: LaneIx::FIRST,
            reroutes: Reroutes::default(),
            rendered: Rendered::default(),
            last_asked: CampaignIx::new(0),
            shared_reopens_ms: i64::MAX,
            commit_time: Duration::from_millis(1),
            actions: Vec::new(),
            feeds: Vec::new(),
            releasing: 0,
            is_committing: false,
            has_more_to_do: false,
            commit_again_ms: None,
            stopping: false,
            #[cfg(test)]
            mutant: None,
        }
    }

    /// Claims and outcomes that are not durable yet, and messages in flight.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.unresolved + self.pending.len()
    }

    /// Claims nothing more from now on; messages in flight still get their outcome.
    pub fn stop(&mut self) {
        self.stopping = true;
        let indices: Vec<CampaignIx> = self.campaigns.keys().copied().collect();
        for index in indices {
            self.unfeed(index);
        }
    }

    fn note_ended(&mut self, ended: Settled, now_ms: i64) {
        if self.pending.is_empty() {
            self.pending_since_ms = now_ms;
        }
        if ended.is_of_claim
            && !matches!(ended.disposition, Disposition::Returned { .. })
            && let Some(campaign) = self.campaigns.get_mut(&ended.campaign)
        {
            campaign.record.has_sent = true;
        }
        self.pending.push(ended);
    }

    // ── the ledger ──

    /// Applies the changes of a write: the only way in which counts change.
    pub fn apply_changes(&mut self, changes: &CountChanges) {
        for &FateChange { campaign, fate, lane, by } in &changes.fates {
            let Some(campaign) = self.campaigns.get_mut(&campaign) else { continue };
            let lane = lane.and_then(|lane| self.lanes.get(&lane));
            campaign.tally.change(fate, by, lane.map(|lane| &lane.reference.name));
        }
        for (index, by) in &changes.resent {
            if let Some(campaign) = self.campaigns.get_mut(index) {
                campaign.tally.resend(*by);
            }
        }
    }

    /// The run could not be closed after all: messages are still deferred.
    pub fn not_closed(&mut self, index: CampaignIx, next_due_ms: Option<i64>) {
        if let Some(campaign) = self.campaigns.get_mut(&index) {
            campaign.record.is_closing = false;
            campaign.feeder.next_due_ms = campaign.feeder.next_due_ms.or(next_due_ms);
        }
    }

    /// The run is closed in the ledger.
    pub fn closed(&mut self, index: CampaignIx, now_ms: i64) {
        self.unfeed(index);
        if let Some(campaign) = self.campaigns.get_mut(&index) {
            campaign.phase = Phase::Closed;
            campaign.record.closed(campaign.intent.work.reopen, now_ms);
            campaign.audience.added_later = Some(0);
            // From now on rows that are added to the audience are reported.
            self.actions.push(Action::WatchAudience(index));
        }
        self.resume_if_asked(index);
    }

    // ── time ──

    /// Timers: windows that reopen, messages that are due, servers that do not answer.
    fn tick(&mut self, now_ms: i64) {
        let mut has_woken = false;
        let mut stalled = Vec::new();
        for (index, lane) in &mut self.lanes {
            has_woken |= lane.wake(now_ms);
            lane.connections.wake(now_ms);
            if !lane.calls.is_empty() && lane.is_eligible() && now_ms - lane.last_sign_of_life_ms > lane.stall_after_ms {
                stalled.push(*index);
            }
        }
        has_woken |= self.campaigns.values_mut().any(|campaign| campaign.guards.end_rests(now_ms));
        if has_woken {
            self.settle_lanes(now_ms);
        }
        for index in stalled {
            let Some(lane) = self.lanes.get(&index) else { continue };
            let message =
                format!("{} does not answer messages. It is being probed, and will be used again once a probe succeeds.", lane.key);
            self.fail_lane(index, Blocker::passing(Reason::Unresponsive, message), now_ms);
        }
        if self.stopping {
            return;
        }
        // Round robin: where there is not enough for all, the campaign after the last one asked comes first.
        let mut indices: Vec<CampaignIx> = self.campaigns.keys().copied().collect();
        indices.rotate_left(self.campaigns.range(..=self.last_asked).count());
        self.look_for_domains(now_ms);
        self.rendered = Rendered::default();
        for campaign in self.campaigns.values().filter(|campaign| campaign.feeder.is_running) {
            self.rendered.note(campaign.as_feeding(campaign.backlog.messages + campaign.feeder.asked()));
        }
        for index in indices {
            self.tick_campaign(index, now_ms);
        }
    }

    fn tick_campaign(&mut self, index: CampaignIx, now_ms: i64) {
        let Some(campaign) = self.campaigns.get_mut(&index) else { return };
        if campaign.blocked.has_waited(now_ms) {
            self.feed(index);
            return;
        }
        if campaign.phase != Phase::Feeding || !campaign.feeder.is_running {
            return;
        }
        let on_trial: Vec<_> = campaign
            .guards
            .by_lane
            .iter()
            .filter(|(_, guard)| guard.in_flight == 0 && guard.is_on_trial())
            .filter_map(|(lane, guard)| Some((*lane, guard.trial_domain()?)))
            .collect();
        for (lane, domain) in on_trial {
            self.seek(index, lane, domain, now_ms);
        }
        self.request_more(index, now_ms);
    }

    /// When [`Self::step`] should be called again, if nothing else happens.
    #[must_use]
    pub fn wake_at(&mut self, now_ms: i64) -> i64 {
        if self.has_more_to_do {
            return now_ms;
        }
        if let Some(at) = self.commit_again_ms.filter(|at| *at > now_ms) {
            return at;
        }
        let mut wake = self.shared_reopens_ms.min(now_ms + 1000);
        if self.may_feed() {
            wake = now_ms;
        }
        if !self.pending.is_empty() {
            wake = wake.min(self.pending_since_ms + OUTCOME_AGE_MAX_MS);
        }
        if self.ready_since_ms.is_some() {
            wake = wake.min(now_ms + CLAIMS_WAIT_MS);
        }
        let has_unplaced = !self.unplaced.is_empty();
        for lane in self.lanes.values_mut() {
            wake = lane.wakes_at_ms().into_iter().fold(wake, i64::min);
            if !lane.turns.is_empty() && lane.waits_until_ms() > now_ms {
                wake = wake.min(lane.waits_until_ms());
            }
            if has_unplaced && lane.is_eligible() {
                let of_domains = lane.domains.as_mut().and_then(|domains| domains.next_reopening(now_ms));
                wake = lane.reopens_at_ms(now_ms).into_iter().chain(of_domains).fold(wake, i64::min);
            }
        }
        let feeding = self.campaigns.values().filter(|campaign| campaign.phase == Phase::Feeding && !campaign.eligible.is_empty());
        for campaign in feeding {
            // What is already due waits for an event, not for a time.
            wake = campaign.feeder.next_due_ms.filter(|due| *due > now_ms).map_or(wake, |due| wake.min(due));
        }
        wake.max(now_ms + 1)
    }

    /// The campaign of a message in flight, for the simulation.
    #[cfg(test)]
    pub(super) fn in_flight_campaign(&self, token: u64) -> CampaignIx {
        usize::try_from(token)
            .ok()
            .and_then(|token| self.in_flight[token].as_ref())
            .map_or(CampaignIx::new(u64::MAX), |flight| flight.campaign)
    }

    /// The campaign and row of a message in flight, for the simulation.
    #[cfg(test)]
    pub(super) fn in_flight_row(&self, token: u64) -> Option<(CampaignIx, u64)> {
        let flight = usize::try_from(token).ok().and_then(|token| self.in_flight.get(token)?.as_ref())?;
        Some((flight.campaign, flight.seq))
    }

    /// The messages of a campaign in flight, for the simulation.
    #[cfg(test)]
    pub(super) fn tokens_of(&self, campaign: CampaignIx) -> Vec<u64> {
        let flights = (0..).zip(&self.in_flight);
        flights.filter(|(_, flight)| flight.as_ref().is_some_and(|flight| flight.campaign == campaign)).map(|(token, _)| token).collect()
    }

    pub(super) fn campaign(&self, index: CampaignIx) -> Option<&CampaignRun> {
        self.campaigns.get(&index)
    }

    pub(super) fn campaign_mut(&mut self, index: CampaignIx) -> Option<&mut CampaignRun> {
        self.campaigns.get_mut(&index)
    }
}
