//! Which message goes where, and when: the state machine of the data plane. Pure: no I/O, the time is an argument.
//!
//! What happens arrives as a call; what is to be done, and in which order, [`Scheduler::step`] says.
//! Messages flow: feeder → `prepared` → the queue of the picked server → `plan` (a claim) → `committed` → the wire →
//! `outcome` → the next `plan`. Nothing leaves before its claim is durable.
//!
//! Campaigns and servers have numbers that are never used again in a process, so that a late answer finds nobody else.

mod commits;
mod held;
mod outcomes;
mod routing;
mod session;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    calls::CallId,
    campaign::{CampaignRun, Opened, Phase, Pick, Trouble},
    guard::domain_of,
    lane::{Lane, LaneRef},
    limits::Limiter,
    moves::Moves,
    prepared::{End, Ended, InFlight, Prepared, RenderFailure},
    refusals::Bar,
    turns::Turns,
};
use crate::{
    ledger::Resumption,
    providers::{Failure, Outgoing},
    resources::{Key, Reason, campaign::Weighting, fate::Fate},
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
/// Before a failed commit is tried again, milliseconds.
const LEDGER_RETRY_MS: i64 = 1_000;
/// Deferred messages fetched from the ledger at a time.
pub const DUE_MAX: usize = 64;

/// What the scheduler wants done.
#[derive(Debug)]
pub enum Action {
    /// Find or begin the run in the ledger, then call [`Scheduler::opened`].
    Open(usize),
    /// Start a feeder thread for the campaign, before what comes next, then call [`Scheduler::feeder_started`].
    Feed(usize),
    /// Write this to the ledger in one transaction, then call [`Scheduler::committed`] or [`Scheduler::commit_failed`].
    Commit(Planned),
    /// Ask the feeder for so many more messages.
    More(usize, usize),
    /// Ask the feeder for one recipient of another domain, out of turn.
    Seek(usize, Arc<str>),
    /// Stop the feeder, and give back what it had leased from the ledger, then call [`Scheduler::released`]. What is being fetched for
    /// it is to be given back as well when it comes, with a call of its own.
    Unfeed(usize),
    /// Fetch deferred messages that are due.
    FetchDue(usize),
    /// Hand a batch to a server, as a call of this number.
    Deliver(usize, CallId, Vec<Outgoing>),
    /// Hand a message to a call that is under way at a server.
    Ahead(usize, CallId, Outgoing),
    /// Tell the control plane that a server failed.
    ServerFailed(Key, Failure, u64),
    /// A closed run was edited: count the rows that its audience has now and that are not mailed.
    CountAdded(usize),
    /// Everything of the run has a final outcome: close it in the ledger.
    Close(usize),
    /// Carry out what a person asked of the run, then call [`Scheduler::resumed`].
    Resume(usize, Resumption),
    /// The run is gone from here: forget what is kept for it.
    Forget(usize),
    /// The server is gone from here: forget what is kept for it.
    ForgetServer(usize),
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
    /// Servers that are out of use for a campaign: campaign, server, why.
    pub bars: Vec<(usize, usize, Bar)>,
}

/// What a write to the ledger changed in the counts of campaigns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CountChanges {
    /// Campaign, fate, the server for a final outcome that has one, and so many more or less.
    pub fates: Vec<(usize, Fate, Option<usize>, i64)>,
    /// Campaign, and messages sent again though the outcome of the try before is unknown.
    pub resent: Vec<(usize, i64)>,
}

/// The state machine.
pub struct Scheduler {
    ledger_seed: u64,
    pub(super) campaigns: BTreeMap<usize, CampaignRun>,
    pub(super) campaign_index: BTreeMap<Key, usize>,
    pub(super) lanes: BTreeMap<usize, Lane>,
    pub(super) lane_index: BTreeMap<Key, usize>,
    /// The next number of a campaign or server.
    next_index: usize,
    /// Of namespaces on their plans, by key.
    pub(super) plan_limiters: BTreeMap<Arc<str>, Limiter>,
    /// Rendered messages for which no server is eligible, or none whose limits have room.
    unplaced: Turns,
    in_flight: Vec<Option<InFlight>>,
    free_tokens: Vec<usize>,
    /// Claims whose outcome is not durable yet.
    unresolved: usize,
    pending: Vec<Ended>,
    pending_bars: Vec<(usize, usize, Bar)>,
    pending_since_ms: i64,
    /// Since when claims wait for company.
    ready_since_ms: Option<i64>,
    /// Whose turn it is to claim first.
    first_lane: usize,
    moves: Moves,
    /// When a plan's limit lets a message through that waits for nothing else.
    plan_reopens_ms: i64,
    /// How long a commit takes.
    pub(super) commit_time: Duration,
    actions: Vec<Action>,
    /// Campaigns whose feeder is to start.
    feeds: Vec<usize>,
    /// What is being given back to the ledger; no feeder starts before.
    releasing: usize,
    is_committing: bool,
    /// When a failed commit is tried again, milliseconds.
    commit_again_ms: Option<i64>,
    stopping: bool,
    /// A mistake on purpose, which the simulation has to find.
    #[cfg(test)]
    pub(super) mutant: Option<Mutant>,
}

/// Mistakes on purpose.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutant {
    /// A message is handed over before its claim is durable.
    ContentBeforeCommit,
    /// What is given back to the ledger once counts as given back twice.
    LeaseGivenBackTwice,
    /// What a commit changed is counted twice.
    CountAppliedTwice,
    /// A window does not count what is claimed and not known to be written.
    WindowForgetsInFlight,
    /// What limits do not let a server take goes to others though shares are strict.
    OverflowIgnoresStrict,
}

impl Scheduler {
    /// An empty scheduler.
    #[must_use]
    pub fn new(ledger_seed: u64) -> Self {
        Self {
            ledger_seed,
            campaigns: BTreeMap::new(),
            campaign_index: BTreeMap::new(),
            lanes: BTreeMap::new(),
            lane_index: BTreeMap::new(),
            next_index: 0,
            plan_limiters: BTreeMap::new(),
            unplaced: Turns::default(),
            in_flight: Vec::new(),
            free_tokens: Vec::new(),
            unresolved: 0,
            pending: Vec::new(),
            pending_bars: Vec::new(),
            pending_since_ms: 0,
            ready_since_ms: None,
            first_lane: 0,
            moves: Moves::default(),
            plan_reopens_ms: i64::MAX,
            commit_time: Duration::from_millis(1),
            actions: Vec::new(),
            feeds: Vec::new(),
            releasing: 0,
            is_committing: false,
            commit_again_ms: None,
            stopping: false,
            #[cfg(test)]
            mutant: None,
        }
    }

    /// Claims and outcomes that are not durable yet, and messages on the wire.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.unresolved + self.pending.len()
    }

    /// Nothing new is claimed from now on; what is on the wire ends.
    pub fn stop(&mut self) {
        self.stopping = true;
        let indices: Vec<usize> = self.campaigns.keys().copied().collect();
        for index in indices {
            self.unfeed(index);
        }
    }

    // ── what the control plane wants ──

    /// The run was found or begun in the ledger.
    pub fn opened(&mut self, index: usize, opened: Opened, now_ms: i64) {
        let lanes = &self.lane_index;
        let lane_of = |name: &str| name.split_once('/').and_then(|(namespace, name)| lanes.get(&Key::new(namespace, name)).copied());
        let Some(campaign) = self.campaigns.get_mut(&index) else { return };
        campaign.open(opened, lane_of);
        self.judge_held_anew(index, now_ms);
        self.stop_if_barred(index, now_ms);
        self.fit_campaigns(now_ms);
        self.resume_after_edit(index);
        self.resume_if_asked(index);
        self.feed(index);
    }

    fn feed(&mut self, index: usize) {
        if self.stopping {
            return;
        }
        if let Some(campaign) = self.campaigns.get_mut(&index)
            && campaign.phase == Phase::Resting
            && !campaign.order.hold
            && campaign.trouble.is_none()
            && !campaign.retired
            && !campaign.is_resuming
        {
            campaign.phase = Phase::Feeding;
            campaign.feeding += 1;
            campaign.audience_done = false;
            campaign.requested = 0;
            campaign.preparing = 0;
            // What was fetched and not sent was given back, and may be due already.
            campaign.next_due_ms = (campaign.counts.deferred > 0).then_some(0);
            self.want_feeder(index);
        }
    }

    /// The feeder runs and can be asked.
    pub fn feeder_started(&mut self, index: usize) {
        if let Some(campaign) = self.campaigns.get_mut(&index) {
            campaign.has_feeder = campaign.phase == Phase::Feeding;
        }
    }

    fn unfeed(&mut self, index: usize) {
        let Some(campaign) = self.campaigns.get_mut(&index) else { return };
        if campaign.phase != Phase::Feeding {
            return;
        }
        campaign.phase = Phase::Resting;
        campaign.feeding += 1;
        campaign.waiting = 0;
        campaign.has_feeder = false;
        campaign.is_seeking = false;
        let fetching = std::mem::take(&mut campaign.fetching);
        drop(self.unplaced.drain(Some(index)));
        for lane in self.lanes.values_mut() {
            drop(lane.turns.drain(Some(index)));
        }
        self.releasing += 1 + usize::from(fetching);
        self.actions.push(Action::Unfeed(index));
    }

    /// A trouble stops the campaign, or makes it wait.
    fn stop_for(&mut self, index: usize, trouble: Trouble, now_ms: i64) {
        if let Some(campaign) = self.campaigns.get_mut(&index) {
            campaign.try_again_ms = trouble.transient.then_some(now_ms + trouble.try_again_ms.unwrap_or(TRY_AGAIN_MS));
            campaign.trouble = Some(trouble);
        }
        self.unfeed(index);
    }

    // ── what the feeder brings ──

    /// Whether an event of a feeder is of the one that runs now.
    #[must_use]
    pub fn is_current(&self, index: usize, feeding: u64) -> bool {
        self.campaign(index).is_some_and(|campaign| campaign.feeding == feeding && campaign.phase == Phase::Feeding)
    }

    /// Rendered messages; `requested` of them had been asked for with [`Action::More`], `due` deferred ones were handled.
    pub fn prepared(&mut self, index: usize, messages: Vec<Prepared>, requested: usize, due: usize, now_ms: i64) {
        if let Some(campaign) = self.campaigns.get_mut(&index) {
            campaign.requested = campaign.requested.saturating_sub(requested);
            campaign.preparing = campaign.preparing.saturating_sub(due);
            campaign.waiting += messages.len();
        }
        self.look_at_limits(now_ms);
        for message in messages {
            self.place(index, message, now_ms);
        }
    }

    /// A recipient whose template failed.
    pub fn render_failed(&mut self, index: usize, failed: RenderFailure, now_ms: i64) {
        let RenderFailure { seq, was_deferred, recipient, message } = failed;
        let mut trouble = None;
        if let Some(campaign) = self.campaigns.get_mut(&index) {
            campaign.unsettled += 1;
            // A claim of an earlier process may have been mailed, whatever its template does now.
            if seq.is_none() || was_deferred {
                campaign.render_failures += 1;
            }
            let max = campaign.order.max_render_errors;
            if campaign.counts.render_failed + campaign.render_failures > max && campaign.trouble.is_none() {
                trouble = Some(Trouble::lasting(
                    Reason::TooManyRenderErrors,
                    format!(
                        "The templates of more than {max} recipients failed; the last: {message}. Fix the template or the data, or raise content.maxRenderErrors; the rest is then mailed."
                    ),
                ));
            }
        }
        let ended = Ended { campaign: index, seq, recipient, lane: None, is_of_claim: false, end: End::RenderFailed, reply: Some(message) };
        self.note_ended(ended, now_ms);
        if let Some(trouble) = trouble {
            self.stop_for(index, trouble, now_ms);
        }
    }

    /// A deferred recipient is gone from the audience.
    pub fn withdrawn(&mut self, index: usize, seq: u64, recipient: Arc<str>, now_ms: i64) {
        if let Some(campaign) = self.campaigns.get_mut(&index) {
            campaign.unsettled += 1;
        }
        let ended = Ended { campaign: index, seq: Some(seq), recipient, lane: None, is_of_claim: false, end: End::Withdrawn, reply: None };
        self.note_ended(ended, now_ms);
    }

    /// The audience cannot be read on.
    pub fn feeder_failed(&mut self, index: usize, trouble: Trouble, now_ms: i64) {
        self.stop_for(index, trouble, now_ms);
    }

    /// The audience that could not be read by this feeder is another one now.
    pub fn audience_touched(&mut self, index: usize, feeding: u64) {
        let Some(campaign) = self.campaigns.get_mut(&index).filter(|campaign| campaign.feeding == feeding) else { return };
        let is_of_audience = |trouble: &Trouble| matches!(trouble.reason, Reason::AudienceUnreadable | Reason::FileNotFound);
        if campaign.trouble.as_ref().is_some_and(is_of_audience) {
            campaign.trouble = None;
            self.feed(index);
        }
    }

    /// Whether a message that was claimed first at `since_ms` is to be given up at this time (RFC 5321, 4.5.4.1).
    pub(super) fn is_overdue(&self, index: usize, since_ms: i64, at_ms: i64) -> bool {
        self.campaign(index).is_some_and(|campaign| at_ms - since_ms > campaign.order.retry.deadline.as_millis())
    }

    /// Puts a message into the queue of a server.
    fn place(&mut self, index: usize, message: Prepared, now_ms: i64) {
        if message.seq.is_some() && message.since_ms.is_some_and(|since| self.is_overdue(index, since, now_ms)) {
            return self.expire(index, message, now_ms);
        }
        let Some(campaign) = self.campaigns.get_mut(&index) else { return };
        if let Some(lane) = campaign.lane_on_trial(&message) {
            let namespace = campaign.namespace.clone();
            if let Some(lane) = self.lanes.get_mut(&lane).filter(|lane| lane.is_eligible()) {
                lane.turns.push_front(&namespace, index, message);
                return;
            }
        }
        let lanes = &self.lanes;
        match campaign.pick(&message, |lane| lanes.get(&lane).is_some_and(|lane| lane.headroom > 0)) {
            Pick::Server(lane) => {
                if let Some(lane) = self.lanes.get_mut(&lane) {
                    lane.headroom = lane.headroom.saturating_sub(u64::from(lane.headroom != u64::MAX));
                    lane.turns.push(&campaign.namespace, index, message);
                }
            }
            Pick::Waits => self.unplaced.push(&campaign.namespace, index, message),
            Pick::Nobody => self.put_back(index, message, now_ms),
        }
    }

    fn look_at_limits(&mut self, now_ms: i64) {
        self.lanes.values_mut().for_each(|lane| lane.look_at_limits(now_ms));
    }

    /// Places what waits where there is room now: by turns of namespaces, then of campaigns.
    pub(super) fn place_waiting(&mut self, now_ms: i64) {
        if self.unplaced.is_empty() {
            return;
        }
        self.look_at_limits(now_ms);
        loop {
            let (lanes, campaigns) = (&self.lanes, &self.campaigns);
            let has_room = |lane: &LaneRef| lanes.get(&lane.id).is_some_and(|lane| lane.headroom > 0);
            let is_strict = |campaign: &CampaignRun| campaign.order.weighting == Weighting::Strict;
            let found = self.unplaced.pop(
                |campaign| {
                    campaigns
                        .get(&campaign)
                        .is_some_and(|campaign| campaign.eligible.servers().iter().any(|(lane, _)| is_strict(campaign) || has_room(lane)))
                },
                |campaign, message| {
                    campaigns.get(&campaign).is_some_and(|campaign| {
                        let open = || campaign.eligible.servers().iter().filter(|(lane, _)| !message.refusals.names(&lane.name));
                        message.refusals.is_empty()
                            || open().next().is_none()
                            || open().any(|(lane, _)| is_strict(campaign) || has_room(lane))
                    })
                },
            );
            let Some((index, message)) = found else { return };
            self.place(index, message, now_ms);
        }
    }

    /// A message that nobody could be made to take in time is given up.
    fn expire(&mut self, index: usize, message: Prepared, now_ms: i64) {
        let Some(campaign) = self.campaigns.get_mut(&index) else { return };
        campaign.waiting = campaign.waiting.saturating_sub(1);
        campaign.unsettled += 1;
        let (seq, recipient) = (message.seq, message.recipient);
        let ended = Ended { campaign: index, seq, recipient, lane: None, is_of_claim: false, end: End::Expired, reply: None };
        self.note_ended(ended, now_ms);
    }

    fn note_ended(&mut self, ended: Ended, now_ms: i64) {
        if self.pending.is_empty() {
            self.pending_since_ms = now_ms;
        }
        self.pending.push(ended);
    }

    // ── the ledger ──

    /// What a write changed: the only way in which counts change.
    pub fn apply_changes(&mut self, changes: &CountChanges) {
        for &(index, fate, lane, by) in &changes.fates {
            let Some(campaign) = self.campaigns.get_mut(&index) else { continue };
            let count = campaign.counts.of_mut(fate);
            *count = count.saturating_add_signed(by);
            if fate == Fate::Accepted
                && let Some(lane) = lane.and_then(|lane| self.lanes.get(&lane))
            {
                let accepted = campaign.accepted.entry(lane.lane.name.clone()).or_default();
                *accepted = accepted.saturating_add_signed(by);
            }
        }
        for (index, by) in &changes.resent {
            if let Some(campaign) = self.campaigns.get_mut(index) {
                campaign.counts.resent = campaign.counts.resent.saturating_add_signed(*by);
            }
        }
    }

    /// Deferred messages were fetched (`count` of them are being prepared); `next_due_ms` is when the next one is due.
    pub fn due_fetched(&mut self, index: usize, count: usize, next_due_ms: Option<i64>) {
        if let Some(campaign) = self.campaigns.get_mut(&index) {
            campaign.fetching = false;
            campaign.preparing += count;
            campaign.next_due_ms = match (campaign.next_due_ms, next_due_ms) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
    }

    /// The run could not be closed after all: messages are still deferred.
    pub fn not_closed(&mut self, index: usize, next_due_ms: Option<i64>) {
        if let Some(campaign) = self.campaigns.get_mut(&index) {
            campaign.closing = false;
            campaign.next_due_ms = campaign.next_due_ms.or(next_due_ms);
        }
    }

    /// The run is closed in the ledger.
    pub fn closed(&mut self, index: usize, now_ms: i64) {
        self.unfeed(index);
        if let Some(campaign) = self.campaigns.get_mut(&index) {
            campaign.phase = Phase::Closed;
            campaign.closing = false;
            campaign.completed_ms = Some(now_ms);
        }
        self.resume_if_asked(index);
    }

    // ── time ──

    /// What time alone brings: windows that reopen, messages that are due, servers that give no sign of life.
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
        has_woken |= self.campaigns.values_mut().any(CampaignRun::has_rested(now_ms));
        if has_woken {
            self.settle_lanes(now_ms);
        }
        for index in stalled {
            let Some(lane) = self.lanes.get(&index) else { continue };
            let message =
                format!("Messages handed to {} get no answer. It is being probed, and will be used again once a probe succeeds.", lane.key);
            self.fail_lane(index, Failure::new(Reason::Stalling, message), now_ms);
        }
        if self.stopping {
            return;
        }
        let indices: Vec<usize> = self.campaigns.keys().copied().collect();
        for index in indices {
            self.tick_campaign(index, now_ms);
        }
    }

    fn tick_campaign(&mut self, index: usize, now_ms: i64) {
        let Some(campaign) = self.campaigns.get_mut(&index) else { return };
        if campaign.try_again_ms.is_some_and(|at| at <= now_ms) {
            campaign.try_again_ms = None;
            campaign.trouble = None;
            self.feed(index);
            return;
        }
        if campaign.phase != Phase::Feeding || !campaign.has_feeder {
            return;
        }
        let on_trial: Vec<_> = campaign
            .guards
            .iter()
            .filter(|(_, guard)| guard.in_flight == 0 && guard.is_on_trial())
            .filter_map(|(lane, guard)| Some((*lane, guard.trial_domain()?)))
            .collect();
        for (lane, domain) in on_trial {
            self.seek(index, lane, domain, now_ms);
        }
        self.request_more(index, now_ms);
    }

    /// Asks the feeder for what may be sent, and closes a run of which nothing is left.
    fn request_more(&mut self, index: usize, now_ms: i64) {
        let Some(campaign) = self.campaigns.get_mut(&index).filter(|campaign| campaign.phase == Phase::Feeding) else { return };
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
            // What is held and may go nowhere else waits for a person.
            if self.settle_held(index, now_ms) {
                return;
            }
            let Some(campaign) = self.campaigns.get_mut(&index) else { return };
            campaign.closing = true;
            self.actions.push(Action::Close(index));
        }
    }

    /// When [`Self::step`] should be called again, if nothing else happens.
    #[must_use]
    pub fn wake_at(&mut self, now_ms: i64) -> i64 {
        if let Some(at) = self.commit_again_ms.filter(|at| *at > now_ms) {
            return at;
        }
        let mut wake = self.plan_reopens_ms.min(now_ms + 1000);
        wake = self.step_at(now_ms).into_iter().fold(wake, i64::min);
        if !self.pending.is_empty() {
            wake = wake.min(self.pending_since_ms + OUTCOME_AGE_MAX_MS);
        }
        if self.ready_since_ms.is_some() {
            wake = wake.min(now_ms + CLAIMS_WAIT_MS);
        }
        let has_unplaced = !self.unplaced.is_empty();
        for lane in self.lanes.values_mut() {
            wake = lane.wakes_at_ms().into_iter().fold(wake, i64::min);
            if !lane.turns.is_empty() && lane.not_before_ms > now_ms {
                wake = wake.min(lane.not_before_ms);
            }
            if has_unplaced && lane.is_eligible() {
                wake = lane.reopens_at_ms(now_ms).into_iter().fold(wake, i64::min);
            }
        }
        let feeding = self.campaigns.values().filter(|campaign| campaign.phase == Phase::Feeding && !campaign.eligible.is_empty());
        for campaign in feeding {
            // What is due already waits for something that happens, not for a time.
            wake = campaign.next_due_ms.filter(|due| *due > now_ms).map_or(wake, |due| wake.min(due));
        }
        wake.max(now_ms + 1)
    }

    /// The campaign of a message on the wire, for the simulation.
    #[cfg(test)]
    pub(super) fn in_flight_campaign(&self, token: u64) -> usize {
        usize::try_from(token).ok().and_then(|token| self.in_flight[token].as_ref()).map_or(usize::MAX, |flight| flight.campaign)
    }

    /// The campaign and row of a message on the wire, for the simulation.
    #[cfg(test)]
    pub(super) fn in_flight_row(&self, token: u64) -> Option<(usize, u64)> {
        let flight = usize::try_from(token).ok().and_then(|token| self.in_flight.get(token)?.as_ref())?;
        Some((flight.campaign, flight.seq))
    }

    /// The messages of a campaign on the wire, for the simulation.
    #[cfg(test)]
    pub(super) fn tokens_of(&self, campaign: usize) -> Vec<u64> {
        let flights = (0..).zip(&self.in_flight);
        flights.filter(|(_, flight)| flight.as_ref().is_some_and(|flight| flight.campaign == campaign)).map(|(token, _)| token).collect()
    }

    pub(super) fn campaign(&self, index: usize) -> Option<&CampaignRun> {
        self.campaigns.get(&index)
    }

    pub(super) fn campaign_mut(&mut self, index: usize) -> Option<&mut CampaignRun> {
        self.campaigns.get_mut(&index)
    }
}
