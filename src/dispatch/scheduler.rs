//! Which message goes where, and when: the state machine of the data plane. Pure: no I/O, the time is an argument.
//!
//! Events arrive as method calls; [`Scheduler::step`] returns what is to be done, and in which order. Messages flow: feeder →
//! `prepared` → the queue of the picked server → `plan` (a claim) → `committed` → the wire → `outcome` → the next `plan`. Nothing
//! leaves before its claim is durable.
//!
//! Indices of campaigns and servers are never reused in a process, so that a late answer reaches nobody else.

mod actions;
mod asked;
mod commits;
mod crowding;
mod feeding;
mod held;
mod hours;
#[cfg(test)]
mod kept;
mod outcomes;
mod placing;
mod rollout;
mod routing;
mod session;
mod timers;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

pub use self::actions::{Action, CountChanges, FateChange, Planned, PlannedBar, PlannedClaim, UsageMove};
use self::crowding::Room;
use super::{
    campaign::{
        CampaignRun,
        picking::{Pick, WithHeadroom},
        record::Opened,
    },
    guard::domain_of,
    index::{CampaignIx, LaneIx},
    lane::{Lane, LaneRef},
    limits::Limiter,
    receivers::{Receiver, Receivers},
    rendered::Rendered,
    reroutes::Reroutes,
    route::EligibleSet,
    stages::{Disposition, InFlight, ReadyMessage, RenderFailure, Settled},
    turns::Turns,
};
use crate::{
    feedback::MessageReference,
    report::{Phase, Timing},
    resources::{Blocker, Key, Reason, campaign::Weighting},
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
    /// The servers that the control plane no longer has, until nothing of them is under way.
    gone: Vec<LaneIx>,
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
    /// How long each took.
    pub(super) commits: Timing,
    /// How long servers took to answer, by their type.
    pub(super) round_trips: BTreeMap<&'static str, Timing>,
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
    /// A message that waits is sent though the hours of its recipient have ended.
    HoursAreJudgedAtReading,
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
            gone: Vec::new(),
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
            commits: Timing::default(),
            round_trips: BTreeMap::new(),
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

    /// A run.
    #[must_use]
    pub fn campaign(&self, index: CampaignIx) -> Option<&CampaignRun> {
        self.campaigns.get(&index)
    }

    pub(super) fn campaign_mut(&mut self, index: CampaignIx) -> Option<&mut CampaignRun> {
        self.campaigns.get_mut(&index)
    }
}
