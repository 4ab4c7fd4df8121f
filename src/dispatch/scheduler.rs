//! Which message goes where, and when: the state machine of the data plane. Pure: no I/O, the time is an argument.
//!
//! What happens arrives as a call; what is to be done is left in [`Scheduler::take_actions`] and [`Scheduler::plan`].
//! Messages flow: feeder → `prepared` → the queue of the picked server → `plan` (a claim) → `committed` → the wire →
//! `outcome` → the next `plan`. Nothing leaves before its claim is durable.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{
    Order, RouteServer, Routing,
    campaign::{CampaignRun, Phase, Trouble},
    lane::{Lane, LaneRef, Turns, batches},
    limits::{Allowance, Limiter},
    prepared::{End, Ended, InFlight, Prepared},
    retry, route,
    window::{CLAIMS_MAX, FlightWindow},
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
/// Between two looks at whether a plan's limit lets more through, milliseconds.
const PLAN_LIMIT_LOOK_MS: i64 = 10;
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

    /// Takes over a new routing table. `limiter` makes a limiter that remembers the past.
    pub fn apply(&mut self, routing: &Routing, now_ms: i64, mut limiter: impl FnMut(&str, &[crate::resources::Rate]) -> Limiter) {
        for (key, route) in &routing.servers {
            self.apply_server(key, route, now_ms, &mut limiter);
        }
        for index in 0..self.lanes.len() {
            if !routing.servers.contains_key(&self.lane_keys[index]) {
                self.lanes[index].routed = false;
            }
        }
        let gone: Vec<Key> = self.campaign_index.keys().filter(|key| !routing.campaigns.contains_key(*key)).cloned().collect();
        for key in gone {
            self.retire(&key);
        }
        for (key, order) in &routing.campaigns {
            self.apply_order(key, order, &mut limiter);
        }
        self.settle_lanes(now_ms);
    }

    fn apply_server(&mut self, key: &Key, route: &RouteServer, now_ms: i64, limiter: &mut impl FnMut(&str, &[crate::resources::Rate]) -> Limiter) {
        let index = *self.lane_index.entry(key.clone()).or_insert_with(|| {
            let id = self.lanes.len();
            self.lane_keys.push(key.clone());
            self.lanes.push(Lane {
                lane: LaneRef { name: key.to_string().into(), id },
                turns: Turns::default(),
                window: FlightWindow::default(),
                connections: 1,
                return_path: None,
                routed: false,
                failures: 0,
                acknowledged: 0,
                readmitted_ms: now_ms,
                exhausted_until: None,
                not_before_ms: 0,
                in_flight: 0,
                deliveries: 0,
                last_sign_of_life_ms: now_ms,
                stall_after_ms: 10_000,
                accepted: 0,
                users: 0,
                batch_max: 1,
                fingerprint: 0,
            });
            id
        });
        let name = self.lanes[index].lane.name.clone();
        let known = self.limiters.contains_key(&name);
        let lane = &mut self.lanes[index];
        let changed = lane.fingerprint != route.limits_fingerprint || !known;
        lane.fingerprint = route.limits_fingerprint;
        lane.connections = route.connections as usize;
        lane.return_path.clone_from(&route.return_path);
        lane.stall_after_ms = route.stall_after.as_millis();
        let was = lane.is_eligible();
        lane.routed = route.routed;
        lane.acknowledged = route.acknowledged_failures;
        if !was && lane.is_eligible() {
            lane.readmitted_ms = now_ms;
            lane.last_sign_of_life_ms = now_ms;
        }
        if changed {
            let mut fresh = limiter(&name, &route.rates);
            fresh.set_warmup(route.warmup_today);
            self.limiters.insert(name, fresh);
            self.lanes[index].exhausted_until = None;
            self.lanes[index].not_before_ms = 0;
        } else if let Some(limiter) = self.limiters.get_mut(&name)
            && limiter.set_warmup(route.warmup_today)
        {
            self.lanes[index].exhausted_until = None;
        }
    }

    fn apply_order(&mut self, key: &Key, order: &Arc<Order>, limiter: &mut impl FnMut(&str, &[crate::resources::Rate]) -> Limiter) {
        if let Some((name, rates)) = &order.plan_limits
            && self.limiters.get(name).is_none_or(|known| !known.is_of(rates))
        {
            let fresh = limiter(name, rates);
            self.limiters.insert(name.clone(), fresh);
        }
        if let Some(&index) = self.campaign_index.get(key)
            && let Some(campaign) = &mut self.campaigns[index]
        {
            if campaign.order.run == order.run {
                let changed = campaign.order.fingerprint != order.fingerprint;
                campaign.order = order.clone();
                if changed {
                    campaign.trouble = None;
                    campaign.try_again_ms = None;
                    campaign.mail_from.clear();
                }
                if (changed || order.hold) && campaign.phase == Phase::Feeding {
                    self.unfeed(index);
                }
                self.feed(index);
                return;
            }
            self.retire(key);
        }
        let index = self.campaigns.len();
        self.campaigns.push(Some(CampaignRun::new(key, order.clone(), self.ledger_seed)));
        self.campaign_index.insert(key.clone(), index);
        self.actions.push(Action::Open(index));
    }

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

    fn retire(&mut self, key: &Key) {
        if let Some(index) = self.campaign_index.remove(key) {
            self.unfeed(index);
            if let Some(campaign) = &mut self.campaigns[index] {
                campaign.retired = true;
            }
            self.forget_retired(index);
        }
    }

    /// A retired campaign goes when everything of it is durable; its feeder was stopped before.
    fn forget_retired(&mut self, index: usize) {
        if self.campaigns[index].as_ref().is_some_and(|campaign| campaign.retired && campaign.unsettled == 0) {
            self.campaigns[index] = None;
        }
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
    pub fn render_failed(&mut self, index: usize, seq: Option<u64>, was_deferred: bool, recipient: Arc<str>, attempt: u32, message: String, now_ms: i64) {
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
                    message: format!("The templates of more than {max} recipients failed; the last: {message}. Mend the template or the data, or raise content.maxRenderErrors; the rest is then mailed."),
                    transient: false,
                });
                campaign.try_again_ms = None;
            }
        }
        self.note_ended(Ended { campaign: index, seq, recipient, attempt, lane: None, end: End::RenderFailed, reply: Some(message) }, now_ms);
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
            Outcome::RecipientRejected { reply } => {
                campaign.counts.rejected += 1;
                (End::Rejected, Some(reply), None)
            }
            Outcome::Deferred { reply, retry_after } => {
                let seed = self.ledger_seed;
                (campaign.defer(&flight, retry::delay(&order.retry, seed, &flight.recipient, flight.attempt, retry_after), now_ms, false), Some(reply), None)
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
            Ended { campaign: flight.campaign, seq: Some(flight.seq), recipient: flight.recipient, attempt: flight.attempt, lane: Some(flight.lane), end, reply },
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

    /// What the next commit holds, or nothing when it is better to wait.
    pub fn plan(&mut self, now_ms: i64) -> Option<Planned> {
        let worth = self.pending.len() >= OUTCOMES_WORTH_A_COMMIT
            || (!self.pending.is_empty() && now_ms - self.pending_since_ms >= OUTCOME_AGE_MAX_MS)
            || (!self.pending.is_empty() && self.unresolved <= self.pending.len());
        let mut claims = Vec::new();
        if !self.stopping && self.may_claim(now_ms) {
            self.ready_since_ms = None;
            let mut room = self.claims_max().saturating_sub(self.unresolved - self.pending.iter().filter(|e| e.lane.is_some()).count());
            let users = self.lanes.iter().filter(|lane| lane.users > 0 && lane.is_eligible()).count().max(1);
            let share = (CLAIMS_MAX / users).max(1);
            for step in 0..self.lanes.len() {
                let index = (self.first_lane + step) % self.lanes.len();
                self.claim_from(index, share, &mut room, now_ms, &mut claims);
            }
            self.first_lane = self.first_lane.wrapping_add(1) % self.lanes.len().max(1);
        }
        if claims.is_empty() && !worth {
            return None;
        }
        let outcomes = std::mem::take(&mut self.pending);
        self.unresolved += claims.len();
        Some(Planned { outcomes, claims })
    }

    /// Whether claims should be made now, or wait a moment so that one commit serves more of them.
    fn may_claim(&mut self, now_ms: i64) -> bool {
        if self.lanes.iter().all(|lane| lane.turns.is_empty() || !lane.is_eligible() || now_ms < lane.not_before_ms) {
            self.ready_since_ms = None;
            return false;
        }
        if self.lanes.iter().all(|lane| lane.in_flight == 0) {
            return true;
        }
        now_ms - *self.ready_since_ms.get_or_insert(now_ms) >= CLAIMS_WAIT_MS
    }

    fn claims_max(&self) -> usize {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let needed: usize = self.lanes.iter().map(|lane| (1.25 * lane.window.needed(self.commit_time)).ceil() as usize).sum();
        needed.max(CLAIMS_MAX)
    }

    fn claim_from(&mut self, index: usize, share: usize, room: &mut usize, now_ms: i64, claims: &mut Vec<PlannedClaim>) {
        let lane = &self.lanes[index];
        if lane.turns.is_empty() || !lane.is_eligible() || now_ms < lane.not_before_ms {
            return;
        }
        let size = lane.window.size(self.commit_time, share);
        let free = size.saturating_sub(lane.in_flight);
        let connections = lane.connections.saturating_sub(lane.deliveries);
        let wanted = free.min(connections.saturating_mul(lane.batch_max)).min(*room);
        // Not in dribs and drabs: half a window or a whole batch, unless fewer are left.
        if wanted == 0 || wanted < lane.batch_max.min((size / 2).max(1)).min(lane.turns.len()) {
            return;
        }
        let name = lane.lane.name.clone();
        let allowed = match self.limiters.get_mut(&name).map_or(Allowance::Now(u64::MAX), |limiter| limiter.allowance(now_ms)) {
            Allowance::Now(count) => usize::try_from(count).unwrap_or(usize::MAX),
            Allowance::At(at) => {
                self.lanes[index].not_before_ms = at;
                return;
            }
            Allowance::ExhaustedUntil(until) => {
                self.lanes[index].exhausted_until = Some(until);
                self.settle_lane(index);
                return;
            }
        };
        let mut taken = 0;
        for _ in 0..wanted.min(allowed) {
            let (campaigns, limiters) = (&self.campaigns, &mut self.limiters);
            let next = self.lanes[index].turns.pop(|campaign| {
                campaigns[campaign].as_ref().and_then(|c| c.order.plan_limits.as_ref()).is_none_or(|(key, _)| {
                    limiters.get_mut(key).is_none_or(|limiter| matches!(limiter.allowance(now_ms), Allowance::Now(_)))
                })
            });
            let Some((campaign, message)) = next else { break };
            let Some(run) = self.campaigns[campaign].as_mut() else { continue };
            run.waiting -= 1;
            run.unsettled += 1;
            if let Some((key, _)) = &run.order.plan_limits
                && let Some(limiter) = self.limiters.get_mut(key)
            {
                limiter.take(now_ms, 1);
            }
            claims.push(PlannedClaim { campaign, feeding: run.feeding, lane: index, message });
            taken += 1;
        }
        *room -= taken;
        // Counted on the lane at once, so that the same plan cannot overdraw it.
        self.lanes[index].in_flight += taken;
        if let Some(limiter) = self.limiters.get_mut(&name) {
            limiter.take(now_ms, taken as u64);
        }
    }

    /// The commit is durable: `seqs` are the rows of the claims. Only now do messages leave.
    pub fn committed(&mut self, planned: Planned, seqs: &[u64], took: Duration, now_ms: i64) {
        self.commit_time = (self.commit_time * 7 + took) / 8;
        self.unresolved -= planned.outcomes.iter().filter(|ended| ended.lane.is_some()).count();
        let mut by_lane: BTreeMap<usize, Vec<Outgoing>> = BTreeMap::new();
        for (claim, seq) in planned.claims.into_iter().zip(seqs) {
            let PlannedClaim { campaign: index, lane, message, .. } = claim;
            let Some(campaign) = self.campaigns[index].as_mut() else { continue };
            campaign.in_flight += 1;
            if message.was_deferred {
                campaign.counts.deferred = campaign.counts.deferred.saturating_sub(1);
            } else if message.seq.is_some() {
                campaign.counts.resent += 1;
            }
            let mail_from = campaign.mail_from(lane, self.lanes[lane].return_path.as_deref());
            let token = self.free_tokens.pop().unwrap_or_else(|| {
                self.in_flight.push(None);
                self.in_flight.len() - 1
            });
            self.in_flight[token] = Some(InFlight {
                campaign: index,
                lane,
                seq: *seq,
                attempt: message.attempt,
                recipient: message.recipient.clone(),
                fields: message.fields,
                claimed_ms: now_ms,
            });
            by_lane.entry(lane).or_default().push(Outgoing {
                token: token as u64,
                mail_from,
                recipient: message.envelope_to,
                content: message.content,
                needs_8bit: message.needs_8bit,
                needs_smtputf8: message.needs_smtputf8,
            });
        }
        for (index, messages) in by_lane {
            let lane = &mut self.lanes[index];
            if lane.in_flight == messages.len() {
                lane.last_sign_of_life_ms = now_ms;
            }
            for batch in batches(messages, lane.batch_max) {
                lane.deliveries += 1;
                self.actions.push(Action::Deliver(index, batch));
            }
        }
        for ended in planned.outcomes {
            let Some(campaign) = self.campaigns[ended.campaign].as_mut() else { continue };
            campaign.unsettled -= 1;
            // Only now: the ledger is asked for what is due, and knew nothing of it before.
            match ended.end {
                End::Deferred { at_ms, .. } => campaign.note_due(at_ms),
                End::Returned { .. } => campaign.note_due(now_ms),
                _ => {}
            }
            self.forget_retired(ended.campaign);
        }
    }

    /// The commit failed and nothing of it is in the ledger: outcomes wait, and claims go back to the head of their queue.
    pub fn commit_failed(&mut self, planned: Planned, now_ms: i64) {
        self.unresolved -= planned.claims.len();
        let later = std::mem::replace(&mut self.pending, planned.outcomes);
        self.pending.extend(later);
        for claim in planned.claims.into_iter().rev() {
            let lane = &mut self.lanes[claim.lane];
            lane.in_flight -= 1;
            let name = &lane.lane.name;
            let Some(campaign) = self.campaigns[claim.campaign].as_mut() else { continue };
            campaign.unsettled -= 1;
            for counted in std::iter::once(name).chain(campaign.order.plan_limits.as_ref().map(|(key, _)| key)) {
                if let Some(limiter) = self.limiters.get_mut(counted) {
                    limiter.put_back(now_ms, 1);
                }
            }
            if campaign.feeding == claim.feeding {
                campaign.waiting += 1;
                lane.turns.push_front(&campaign.namespace, claim.campaign, claim.message);
            }
            self.forget_retired(claim.campaign);
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
            if lane.in_flight > 0 && lane.is_eligible() && now_ms - lane.last_sign_of_life_ms > lane.stall_after_ms {
                let message = format!("Messages handed to {} get no answer. It is tested now, and used again once a test succeeds.", self.lane_keys[index]);
                self.fail_lane(index, Failure { reason: Reason::Stalling, message, needs_person: false });
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
        let mut wake = now_ms + 1000;
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
        for campaign in self.campaigns.iter().flatten().filter(|campaign| campaign.phase == Phase::Feeding && !campaign.eligible.is_empty()) {
            // What is due already waits for something that happens, not for a time.
            wake = campaign.next_due_ms.filter(|due| *due > now_ms).map_or(wake, |due| wake.min(due));
            if campaign.order.plan_limits.is_some() && campaign.waiting > 0 {
                wake = wake.min(now_ms + PLAN_LIMIT_LOOK_MS);
            }
        }
        wake.max(now_ms + 1)
    }

    // ── who may be picked ──

    /// A lane changed: its queue is picked anew where it may not be picked any more.
    fn settle_lane(&mut self, index: usize) {
        self.fit_campaigns();
        if !self.lanes[index].is_eligible() {
            for (campaign, message) in self.lanes[index].turns.drain(None) {
                self.place(campaign, message);
            }
        }
    }

    fn settle_lanes(&mut self, _now_ms: i64) {
        self.fit_campaigns();
        for index in 0..self.lanes.len() {
            let moved: Vec<(usize, Prepared)> = if self.lanes[index].is_eligible() {
                // A campaign may have lost the right to a server that others still use.
                let lost: Vec<usize> = (0..self.campaigns.len())
                    .filter(|campaign| self.campaign(*campaign).is_some_and(|c| !c.eligible.servers().iter().any(|(lane, _)| lane.id == index)))
                    .collect();
                lost.into_iter().flat_map(|campaign| self.lanes[index].turns.drain(Some(campaign))).collect()
            } else {
                self.lanes[index].turns.drain(None)
            };
            for (campaign, message) in moved {
                self.place(campaign, message);
            }
        }
    }

    fn fit_campaigns(&mut self) {
        for lane in &mut self.lanes {
            lane.users = 0;
        }
        let mut freed: Vec<(usize, VecDeque<Prepared>)> = Vec::new();
        for (index, campaign) in self.campaigns.iter_mut().enumerate() {
            let Some(campaign) = campaign else { continue };
            if campaign.retired || campaign.order.hold {
                continue;
            }
            let lanes = &mut self.lanes;
            let eligible = campaign.order.servers.iter().filter_map(|(key, weight)| {
                let lane = &mut lanes[*self.lane_index.get(key)?];
                lane.users += 1;
                lane.is_eligible().then(|| (lane.lane.clone(), *weight))
            });
            campaign.eligible = route::EligibleSet::new(eligible);
            if !campaign.eligible.is_empty() && !campaign.unassigned.is_empty() {
                freed.push((index, std::mem::take(&mut campaign.unassigned)));
            }
        }
        for (index, messages) in freed {
            for message in messages {
                self.place(index, message);
            }
        }
    }

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
