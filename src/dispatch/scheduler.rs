//! Which message goes where, and when: the state machine of the data plane. Pure: no I/O, the time is an argument.
//!
//! What happens arrives as a call; what is to be done is left in [`Scheduler::take_actions`] and [`Scheduler::plan`].
//! Messages flow: feeder → `prepared` → the queue of the picked server → `plan` (a claim) → `committed` → the wire →
//! `outcome` → the next `plan`. Nothing leaves before its claim is durable.

mod commits;
mod routing;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    campaign::{CampaignRun, Phase, Trouble},
    lane::Lane,
    limits::Limiter,
    moves::Moves,
    prepared::{End, Ended, InFlight, Prepared, RenderFailure},
    retry, route,
};
use crate::{
    providers::{Delivered, Failure, Outcome, Outgoing},
    resources::{Key, Reason, campaign::WhenOutcomeIsUnknown},
};

/// Messages of a campaign that wait, rendered, for a server: enough to keep the wire busy, little enough to hold in memory.
const WAITING_MAX: usize = 256;
/// Outcomes that are worth a commit of their own.
const OUTCOMES_WORTH_A_COMMIT: usize = 64;
/// Outcomes wait no longer than this for company, milliseconds.
const OUTCOME_AGE_MAX_MS: i64 = 3;
/// Claims wait no longer than this for the rest of the wire to be answered, milliseconds. A commit costs an fsync, however
/// few messages it is for: on a fast wire everything in flight is answered within this time, and one commit serves all.
const CLAIMS_WAIT_MS: i64 = 1;
/// Before a source that failed for now is read again, milliseconds.
const TRY_AGAIN_MS: i64 = 15_000;
/// Deferred messages fetched from the ledger at a time.
pub const DUE_MAX: usize = 64;

/// What the scheduler wants done.
#[derive(Debug)]
pub enum Action {
    /// Find or begin the run in the ledger, then call [`Scheduler::opened`].
    Open(usize),
    /// Start a feeder thread for the campaign (once [`Scheduler::may_start_feeder`]), then call [`Scheduler::feeder_started`].
    Feed(usize),
    /// Ask the feeder for so many more messages.
    More(usize, usize),
    /// Stop the feeder, and give back what it had leased from the ledger. True: deferred messages are being fetched for it,
    /// and these are to be given back as well. No feeder may start before.
    Unfeed(usize, bool),
    /// Fetch deferred messages that are due.
    FetchDue(usize),
    /// Hand a batch to a server.
    Deliver(usize, Vec<Outgoing>),
    /// Tell the control plane that a server failed.
    ServerFailed(Key, Failure, u64),
    /// A closed run was edited: count the rows that its audience has now and that are not mailed.
    CountAdded(usize),
    /// Everything of the run has an end: close it in the ledger.
    Close(usize),
}

/// A claim to be committed.
#[derive(Debug)]
pub struct PlannedClaim {
    /// The campaign's index.
    pub campaign: usize,
    /// The feeder that it came from.
    pub feeding: u64,
    /// The server's index.
    pub lane: usize,
    /// The message.
    pub message: Prepared,
}

/// What goes into the next commit.
#[derive(Debug, Default)]
pub struct Planned {
    /// Outcomes first.
    pub outcomes: Vec<Ended>,
    /// Then claims.
    pub claims: Vec<PlannedClaim>,
}

/// The state machine.
pub struct Scheduler {
    ledger_seed: u64,
    /// Campaign runs by index; none where one was retired.
    pub(super) campaigns: Vec<Option<CampaignRun>>,
    pub(super) campaign_index: BTreeMap<Key, usize>,
    pub(super) lanes: Vec<Lane>,
    pub(super) lane_keys: Vec<Key>,
    pub(super) lane_index: BTreeMap<Key, usize>,
    pub(super) limiters: BTreeMap<Arc<str>, Limiter>,
    in_flight: Vec<Option<InFlight>>,
    free_tokens: Vec<usize>,
    /// Claims whose outcome is not durable yet.
    unresolved: usize,
    pending: Vec<Ended>,
    pending_since_ms: i64,
    /// Since when claims wait for company.
    ready_since_ms: Option<i64>,
    first_lane: usize,
    moves: Moves,
    /// When a plan's limit lets a message through that waits for nothing else.
    plan_reopens_ms: i64,
    /// How long a commit takes.
    pub(super) commit_time: Duration,
    actions: Vec<Action>,
    stopping: bool,
}

impl Scheduler {
    /// An empty scheduler. `usage` is what left in past minutes, by limiter key.
    #[must_use]
    pub fn new(ledger_seed: u64) -> Self {
        Self {
            ledger_seed,
            campaigns: Vec::new(),
            campaign_index: BTreeMap::new(),
            lanes: Vec::new(),
            lane_keys: Vec::new(),
            lane_index: BTreeMap::new(),
            limiters: BTreeMap::new(),
            in_flight: Vec::new(),
            free_tokens: Vec::new(),
            unresolved: 0,
            pending: Vec::new(),
            pending_since_ms: 0,
            ready_since_ms: None,
            first_lane: 0,
            moves: Moves::default(),
            plan_reopens_ms: i64::MAX,
            commit_time: Duration::from_millis(1),
            actions: Vec::new(),
            stopping: false,
        }
    }

    /// What is to be done since the last call.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Claims and outcomes that are not durable yet, and messages on the wire.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.unresolved + self.pending.len()
    }

    /// Nothing new is claimed from now on; what is on the wire ends.
    pub fn stop(&mut self) {
        self.stopping = true;
        for index in 0..self.campaigns.len() {
            self.unfeed(index);
        }
    }

    // ── what the control plane wants ──

    /// The run was found or begun in the ledger.
    pub fn opened(&mut self, index: usize, opened: super::campaign::Opened) {
        if let Some(campaign) = self.campaigns.get_mut(index).and_then(Option::as_mut) {
            campaign.open(opened);
        }
        self.feed(index);
    }

    fn feed(&mut self, index: usize) {
        if self.stopping {
            return;
        }
        if let Some(campaign) = self.campaigns[index].as_mut()
            && campaign.phase == Phase::Resting
            && !campaign.order.hold
            && campaign.trouble.is_none()
            && !campaign.retired
        {
            campaign.phase = Phase::Feeding;
            campaign.feeding += 1;
            campaign.audience_done = false;
            campaign.requested = 0;
            campaign.preparing = 0;
            // What was fetched and not sent was given back, and may be due already.
            campaign.next_due_ms = (campaign.counts.deferred > 0).then_some(0);
            self.actions.push(Action::Feed(index));
        }
    }

    /// Whether what a feeder reads from the ledger is all there: a recipient whose template failed and who is not
    /// written yet would be met again as a new one. (The caller sees to it that no commit is under way.)
    #[must_use]
    pub fn may_start_feeder(&self, index: usize) -> bool {
        !self.pending.iter().any(|ended| ended.campaign == index && ended.seq.is_none())
    }

    /// The feeder runs and can be asked.
    pub fn feeder_started(&mut self, index: usize) {
        if let Some(campaign) = self.campaigns[index].as_mut() {
            campaign.has_feeder = campaign.phase == Phase::Feeding;
        }
    }

    fn unfeed(&mut self, index: usize) {
        let Some(campaign) = self.campaigns[index].as_mut() else { return };
        if campaign.phase != Phase::Feeding {
            return;
        }
        campaign.phase = Phase::Resting;
        campaign.feeding += 1;
        campaign.unassigned.clear();
        campaign.waiting = 0;
        campaign.has_feeder = false;
        let fetching = std::mem::take(&mut campaign.fetching);
        for lane in &mut self.lanes {
            drop(lane.turns.drain(Some(index)));
        }
        self.actions.push(Action::Unfeed(index, fetching));
    }

    // ── what the feeder brings ──

    /// Whether an event of a feeder is of the one that runs now.
    #[must_use]
    pub fn is_current(&self, index: usize, feeding: u64) -> bool {
        self.campaign(index).is_some_and(|campaign| campaign.feeding == feeding && campaign.phase == Phase::Feeding)
    }

    /// Rendered messages; `requested` of them had been asked for with [`Action::More`].
    pub fn prepared(&mut self, index: usize, messages: Vec<Prepared>, requested: usize, due: usize) {
        if let Some(campaign) = self.campaigns[index].as_mut() {
            campaign.requested = campaign.requested.saturating_sub(requested);
            campaign.preparing = campaign.preparing.saturating_sub(due);
            campaign.waiting += messages.len();
        }
        for message in messages {
            self.place(index, message);
        }
    }

    /// A recipient whose template failed.
    pub fn render_failed(&mut self, index: usize, failed: RenderFailure, now_ms: i64) {
        let RenderFailure { seq, was_deferred, recipient, attempt, message } = failed;
        if let Some(campaign) = self.campaigns[index].as_mut() {
            // A claim of an earlier process may have been mailed, whatever its template does now.
            let count = if seq.is_some() && !was_deferred { &mut campaign.counts.unknown } else { &mut campaign.counts.render_failed };
            *count += 1;
            campaign.unsettled += 1;
            if was_deferred {
                campaign.counts.deferred = campaign.counts.deferred.saturating_sub(1);
            }
            let max = campaign.order.max_render_errors;
            if campaign.counts.render_failed > max && campaign.trouble.is_none() {
                campaign.trouble = Some(Trouble {
                    reason: Reason::TooManyRenderErrors,
                    message: format!(
                        "The templates of more than {max} recipients failed; the last: {message}. Mend the template or the data, or raise content.maxRenderErrors; the rest is then mailed."
                    ),
                    transient: false,
                });
                campaign.try_again_ms = None;
            }
        }
        self.note_ended(
            Ended { campaign: index, seq, recipient, attempt, lane: None, end: End::RenderFailed, reply: Some(message) },
            now_ms,
        );
        if self.campaign(index).is_some_and(|campaign| campaign.trouble.is_some()) {
            self.unfeed(index);
        }
    }

    /// The audience cannot be read on.
    pub fn feeder_failed(&mut self, index: usize, trouble: Trouble, now_ms: i64) {
        if let Some(campaign) = self.campaigns[index].as_mut() {
            campaign.try_again_ms = trouble.transient.then_some(now_ms + TRY_AGAIN_MS);
            campaign.trouble = Some(trouble);
        }
        self.unfeed(index);
    }

    fn place(&mut self, index: usize, message: Prepared) {
        let Some(campaign) = self.campaigns[index].as_mut() else { return };
        match route::pick(campaign.seed, &message.recipient, message.attempt, &campaign.eligible) {
            Some(lane) => self.lanes[lane.id].turns.push(&campaign.namespace, index, message),
            None => campaign.unassigned.push_back(message),
        }
    }

    // ── what the wire brings ──

    /// The outcome of one message.
    pub fn outcome(&mut self, delivered: Delivered, now_ms: i64) {
        let token = usize::try_from(delivered.message.token).unwrap_or(usize::MAX);
        let Some(flight) = self.in_flight.get_mut(token).and_then(Option::take) else { return };
        self.free_tokens.push(token);
        let lane = &mut self.lanes[flight.lane];
        lane.in_flight -= 1;
        lane.last_sign_of_life_ms = now_ms;
        lane.window.note(now_ms, delivered.round_trip);
        let Some(campaign) = self.campaigns[flight.campaign].as_mut() else { return };
        campaign.in_flight -= 1;
        let order = campaign.order.clone();
        let (end, reply, failure) = match delivered.outcome {
            Outcome::Accepted { reply } => {
                campaign.counts.accepted += 1;
                *campaign.accepted_by_lane.entry(flight.lane).or_default() += 1;
                lane.accepted += 1;
                (End::Accepted, Some(reply), None)
            }
            Outcome::Refused(refusal) if refusal.is_permanent => {
                campaign.counts.rejected += 1;
                (End::Rejected, Some(refusal.reply), None)
            }
            Outcome::Refused(refusal) => {
                let delay = retry::delay(&order.retry, self.ledger_seed, &flight.recipient, flight.attempt, refusal.retry_after);
                (campaign.defer(&flight, delay, now_ms, false), Some(refusal.reply), None)
            }
            Outcome::ServerFailed(failure) if self.moves.note(flight.campaign, flight.seq, failure.reason) => {
                // It broke line after line: perhaps the message itself is the cause, and must not wander for ever.
                let delay = retry::delay(&order.retry, self.ledger_seed, &flight.recipient, flight.attempt, None);
                let end = campaign.defer(&flight, delay, now_ms, false);
                (end, Some(failure.message.clone()), Some(failure))
            }
            Outcome::ServerFailed(failure) => {
                campaign.counts.deferred += 1;
                (End::Returned { fields: flight.fields.clone() }, Some(failure.message.clone()), Some(failure))
            }
            Outcome::Unknown(failure) => {
                let end = match order.when_outcome_is_unknown {
                    WhenOutcomeIsUnknown::Skip => {
                        campaign.counts.unknown += 1;
                        End::Unknown
                    }
                    WhenOutcomeIsUnknown::Resend => {
                        let delay = retry::delay(&order.retry, self.ledger_seed, &flight.recipient, flight.attempt, None);
                        campaign.counts.resent += u64::from(delay.is_some());
                        campaign.defer(&flight, delay, now_ms, true)
                    }
                };
                (end, Some(failure.message.clone()), Some(failure))
            }
        };
        if let Some(failure) = failure
            && flight.claimed_ms >= lane.readmitted_ms
        {
            self.fail_lane(flight.lane, failure);
        }
        self.note_ended(
            Ended {
                campaign: flight.campaign,
                seq: Some(flight.seq),
                recipient: flight.recipient,
                attempt: flight.attempt,
                lane: Some(flight.lane),
                end,
                reply,
            },
            now_ms,
        );
    }

    /// A call of `deliver` ended, and its connection is free.
    pub fn delivery_ended(&mut self, lane: usize, batch_max: usize) {
        self.lanes[lane].deliveries -= 1;
        self.lanes[lane].batch_max = batch_max.max(1);
    }

    /// How many messages a server takes in one go, as its extensions tell.
    pub fn set_batch_max(&mut self, lane: usize, batch_max: usize) {
        self.lanes[lane].batch_max = batch_max.max(1);
    }

    fn note_ended(&mut self, ended: Ended, now_ms: i64) {
        if self.pending.is_empty() {
            self.pending_since_ms = now_ms;
        }
        self.pending.push(ended);
    }

    fn fail_lane(&mut self, index: usize, failure: Failure) {
        let lane = &mut self.lanes[index];
        // One incident is told once: the rest of the wire may follow.
        if lane.acknowledged == lane.failures {
            lane.failures += 1;
            let failures = lane.failures;
            self.actions.push(Action::ServerFailed(self.lane_keys[index].clone(), failure, failures));
            self.settle_lane(index);
        }
    }

    // ── the ledger ──

    /// Deferred messages were fetched (`count` of them are being prepared); `next_due_ms` is when the next one is due.
    pub fn due_fetched(&mut self, index: usize, count: usize, next_due_ms: Option<i64>) {
        if let Some(campaign) = self.campaigns[index].as_mut() {
            campaign.fetching = false;
            campaign.preparing += count;
            campaign.next_due_ms = match (campaign.next_due_ms, next_due_ms) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
    }

    // ── time ──

    /// What time alone brings: windows that reopen, messages that are due, servers that give no sign of life.
    pub fn tick(&mut self, now_ms: i64) {
        for index in 0..self.lanes.len() {
            if self.lanes[index].exhausted_until.is_some_and(|until| until <= now_ms) {
                self.lanes[index].exhausted_until = None;
                self.settle_lanes(now_ms);
            }
            let lane = &self.lanes[index];
            if lane.deliveries > 0 && lane.is_eligible() && now_ms - lane.last_sign_of_life_ms > lane.stall_after_ms {
                let message = format!(
                    "Messages handed to {} get no answer. It is tested now, and used again once a test succeeds.",
                    self.lane_keys[index]
                );
                self.fail_lane(index, Failure::new(Reason::Stalling, message));
            }
        }
        if self.stopping {
            return;
        }
        for index in 0..self.campaigns.len() {
            let Some(campaign) = self.campaigns[index].as_mut() else { continue };
            if campaign.try_again_ms.is_some_and(|at| at <= now_ms) {
                campaign.try_again_ms = None;
                campaign.trouble = None;
                self.feed(index);
                continue;
            }
            if campaign.phase != Phase::Feeding || !campaign.has_feeder {
                continue;
            }
            let can_send = !campaign.eligible.is_empty();
            let held = campaign.waiting + campaign.requested;
            let is_due = campaign.next_due_ms.is_some_and(|due| due <= now_ms);
            // However many are due: no more in memory than the audience may have there.
            if can_send && is_due && !campaign.fetching && campaign.preparing == 0 && campaign.waiting <= WAITING_MAX {
                campaign.fetching = true;
                campaign.next_due_ms = None;
                self.actions.push(Action::FetchDue(index));
            }
            if can_send && !campaign.audience_done && held <= WAITING_MAX / 2 {
                let more = WAITING_MAX - held;
                campaign.requested += more;
                self.actions.push(Action::More(index, more));
            }
            if campaign.is_drained() && !campaign.closing {
                campaign.closing = true;
                self.actions.push(Action::Close(index));
            }
        }
    }

    /// The run could not be closed after all: messages are still deferred.
    pub fn not_closed(&mut self, index: usize, next_due_ms: Option<i64>) {
        if let Some(campaign) = self.campaigns[index].as_mut() {
            campaign.closing = false;
            campaign.next_due_ms = campaign.next_due_ms.or(next_due_ms);
        }
    }

    /// The run is closed in the ledger.
    pub fn closed(&mut self, index: usize, now_ms: i64) {
        self.unfeed(index);
        if let Some(campaign) = self.campaigns[index].as_mut() {
            campaign.phase = Phase::Closed;
            campaign.completed_ms = Some(now_ms);
        }
    }

    /// When [`Self::tick`] or [`Self::plan`] should be called again, if nothing else happens.
    #[must_use]
    pub fn wake_at(&self, now_ms: i64) -> i64 {
        let mut wake = self.plan_reopens_ms.min(now_ms + 1000);
        if !self.pending.is_empty() {
            wake = wake.min(self.pending_since_ms + OUTCOME_AGE_MAX_MS);
        }
        if self.ready_since_ms.is_some() {
            wake = wake.min(now_ms + CLAIMS_WAIT_MS);
        }
        for lane in &self.lanes {
            wake = lane.exhausted_until.map_or(wake, |until| wake.min(until));
            if !lane.turns.is_empty() && lane.not_before_ms > now_ms {
                wake = wake.min(lane.not_before_ms);
            }
        }
        for campaign in self.campaigns.iter().flatten().filter(|campaign| campaign.phase == Phase::Feeding && !campaign.eligible.is_empty())
        {
            // What is due already waits for something that happens, not for a time.
            wake = campaign.next_due_ms.filter(|due| *due > now_ms).map_or(wake, |due| wake.min(due));
        }
        wake.max(now_ms + 1)
    }

    // ── who may be picked ──

    /// The campaign of a message on the wire, for the simulation.
    #[cfg(test)]
    pub(super) fn in_flight_campaign(&self, token: u64) -> usize {
        usize::try_from(token).ok().and_then(|token| self.in_flight[token].as_ref()).map_or(usize::MAX, |flight| flight.campaign)
    }

    pub(super) fn campaign(&self, index: usize) -> Option<&CampaignRun> {
        self.campaigns.get(index).and_then(Option::as_ref)
    }

    pub(super) fn campaign_mut(&mut self, index: usize) -> Option<&mut CampaignRun> {
        self.campaigns.get_mut(index).and_then(Option::as_mut)
    }
}
