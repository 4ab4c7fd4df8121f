//! The contents of the next commit of the ledger, and what follows from it. Only a durable claim puts a message on the wire.

use std::{collections::BTreeMap, time::Duration};

use super::{Action, CLAIMS_WAIT_MS, CountChanges, OUTCOME_AGE_MAX_MS, OUTCOMES_WORTH_A_COMMIT, Planned, PlannedClaim, Scheduler};
use crate::dispatch::index::{CampaignIx, LaneIx};
use crate::{
    dispatch::{
        calls::Handover,
        guard::{Guard, domain_of},
        lane::Lane,
        limits::Allowance,
        stages::{Disposition, InFlight},
        window::CLAIMS_MAX,
    },
    providers::{Carriage, Outgoing},
    resources::campaign::Weighting,
};

/// The part of a server's connections that one plan uses.
struct Seats {
    /// Connections without a call.
    free: usize,
    carriage: Carriage,
    /// Messages that go alone, each on its own connection.
    alone: usize,
    /// Messages that may share a connection.
    together: usize,
}

impl Seats {
    fn has_one(&self) -> bool {
        self.free > self.alone + self.together.div_ceil(self.carriage.batch)
    }

    /// The capacity that is used, in messages that could have gone together.
    fn taken(&self) -> usize {
        self.together + self.alone * self.carriage.each()
    }

    fn note(&mut self, goes_alone: bool) {
        *(if goes_alone { &mut self.alone } else { &mut self.together }) += 1;
    }
}

impl Scheduler {
    /// The contents of the next commit, or `None` if it is better to wait.
    pub(super) fn plan(&mut self, now_ms: i64) -> Option<Planned> {
        let worth = self.pending.len() >= OUTCOMES_WORTH_A_COMMIT
            || (!self.pending.is_empty() && now_ms - self.pending_since_ms >= OUTCOME_AGE_MAX_MS)
            || (!self.pending.is_empty() && self.unresolved <= self.pending.len())
            || !self.pending_bars.is_empty();
        let mut claims = Vec::new();
        if !self.stopping {
            self.place_waiting(now_ms);
        }
        if !self.stopping && self.may_claim(now_ms) {
            self.ready_since_ms = None;
            self.shared_reopens_ms = i64::MAX;
            let mut room = self.window_room();
            let is_windowed = |lane: &&Lane| lane.users > 0 && lane.is_eligible() && lane.carriage.is_windowed;
            let users = self.lanes.values().filter(is_windowed).count().max(1);
            let share = (CLAIMS_MAX / users).max(1);
            let turns: Vec<LaneIx> =
                self.lanes.range(self.first_lane..).chain(self.lanes.range(..self.first_lane)).map(|(id, _)| *id).collect();
            for index in &turns {
                self.claim_from(*index, share, &mut room, now_ms, &mut claims);
            }
            self.first_lane = turns.get(1).copied().unwrap_or(LaneIx::FIRST);
        }
        if claims.is_empty() && !worth {
            return None;
        }
        #[cfg(test)]
        if self.mutant == Some(super::Mutant::ContentBeforeCommit)
            && let Some(PlannedClaim { lane, message, .. }) = claims.first()
        {
            let (rcpt_to, content) = (message.rcpt_to.clone(), message.content.clone());
            let (mail_from, run) = (rcpt_to.clone(), std::sync::Arc::default());
            let early = Outgoing {
                token: u64::MAX,
                mail_from,
                rcpt_to,
                content,
                needs_8bit: false,
                needs_smtputf8: false,
                run,
                signature: None,
                reference: None,
            };
            self.actions.push(Action::Deliver { lane: *lane, call: 0, batch: vec![early] });
        }
        let outcomes = std::mem::take(&mut self.pending);
        let bars = std::mem::take(&mut self.pending_bars);
        self.unresolved += claims.len();
        let usage_moves = std::mem::take(&mut self.pending_usage);
        Some(Planned { outcomes, claims, bars, usage_moves, at_ms: now_ms })
    }

    /// Whether to make claims now, rather than wait a moment so that one commit serves more of them.
    pub(super) fn may_claim(&mut self, now_ms: i64) -> bool {
        if self.lanes.values().all(|lane| lane.turns.is_empty() || !lane.is_eligible() || now_ms < lane.waits_until_ms()) {
            self.ready_since_ms = None;
            return false;
        }
        if self.lanes.values().all(|lane| lane.in_flight == 0) || self.lanes.values().any(|lane| lane.is_mostly_idle(now_ms)) {
            self.ready_since_ms = None;
            return true;
        }
        now_ms - *self.ready_since_ms.get_or_insert(now_ms) >= CLAIMS_WAIT_MS
    }

    /// The number of claims that may be made for servers that have whole batches on the wire at once. What a server that was taken
    /// out of use still holds does not count: it must not keep the others from sending until its reply timeout, and its own window
    /// bounds it.
    fn window_room(&self) -> usize {
        let windowed = || self.lanes.values().filter(|lane| lane.carriage.is_windowed);
        let needed: usize = windowed().map(|lane| lane.window.probing(self.commit_time)).sum();
        let out: usize = windowed().filter(|lane| lane.is_eligible()).map(|lane| lane.in_flight).sum();
        needed.max(CLAIMS_MAX).saturating_sub(out)
    }

    pub(super) fn claim_from(&mut self, index: LaneIx, share: usize, room: &mut usize, now_ms: i64, claims: &mut Vec<PlannedClaim>) {
        let Some(lane) = self.lanes.get_mut(&index) else { return };
        if lane.turns.is_empty() || !lane.is_eligible() || now_ms < lane.waits_until_ms() {
            lane.connections.look(false, now_ms);
            return;
        }
        let (carriage, connections) = (lane.carriage, lane.connections.now());
        let size = lane.window_size(self.commit_time, share);
        let free = size.saturating_sub(lane.in_flight);
        let in_calls = lane.calls.room(carriage, connections);
        // Full once this plan is made: there is a message for every free place, and nothing else limits them.
        lane.connections.look(lane.turns.len() >= in_calls && free >= in_calls, now_ms);
        let mut wanted = free.min(in_calls);
        if carriage.is_windowed {
            wanted = wanted.min(*room);
            // Not piecemeal: half a window or a whole batch, unless fewer are left.
            if wanted < carriage.batch.min((size / 2).max(1)).min(lane.turns.len()) {
                return;
            }
        }
        if wanted == 0 {
            return;
        }
        let mut seats = Seats { free: connections.saturating_sub(lane.calls.len()), carriage, alone: 0, together: 0 };
        let allowed = match (lane.limiter.allowance(now_ms), lane.pace.allowance(now_ms)) {
            (Allowance::Now(count), Ok(paced)) => usize::try_from(count.min(paced)).unwrap_or(usize::MAX),
            (Allowance::Now(_), Err(at)) => return lane.not_before_ms = at,
            (Allowance::At(at), paced) => return lane.not_before_ms = at.max(paced.err().unwrap_or(at)),
            (Allowance::ExhaustedUntil(at), _) => {
                lane.not_before_ms = at;
                // An edit made the window smaller, or messages that did not leave were put back: others take what waits for it.
                return self.move_on(index, now_ms);
            }
        };
        let has_domains = lane.domains.is_some();
        if lane.domains.as_mut().is_some_and(|domains| domains.begin(now_ms)) {
            self.move_on_by_domain(index, now_ms);
        }
        let mut taken = 0;
        while taken < wanted.min(allowed) && seats.taken() < in_calls {
            let Some((campaign, message)) = self.next_of(index, now_ms, seats.has_one()) else { break };
            let Some(run) = self.campaigns.get_mut(&campaign) else { continue };
            run.backlog.remove(&message);
            run.tally.unsettled += 1;
            let guard = run.guards.of_mut(index);
            guard.in_flight += 1;
            seats.note(guard.is_careful());
            for limits in run.intent.shared_limits() {
                if let Some(limiter) = self.shared_limiters.get_mut(&limits.key) {
                    limiter.claim(now_ms, 1);
                }
            }
            let lane = if has_domains { self.lanes.get_mut(&index) } else { None };
            let domains = lane.and_then(|lane| lane.domains.as_mut());
            let domain = domains.and_then(|domains| {
                #[cfg(test)]
                domains.set_forgets_in_flight(self.mutant == Some(super::Mutant::DomainForgetsInFlight));
                domains.claim(message.receiver.as_ref(), now_ms)
            });
            claims.push(PlannedClaim { campaign, feeder_epoch: run.feeder.epoch, lane: index, domain, message });
            taken += 1;
        }
        if taken < wanted.min(allowed) {
            self.rest_for_domains(index);
        }
        if carriage.is_windowed {
            *room -= taken;
        }
        // Counted on the lane at once, so that the same plan cannot overdraw it.
        if let Some(lane) = self.lanes.get_mut(&index) {
            lane.in_flight += taken;
            lane.limiter.claim(now_ms, taken as u64);
            #[cfg(test)]
            lane.limiter.set_forgets_in_flight(self.mutant == Some(super::Mutant::WindowForgetsInFlight));
            lane.pace.claim(now_ms, taken as u64);
        }
    }

    /// Moves what waits for a server without room in its limits to others, unless shares are strict.
    pub(super) fn move_on(&mut self, index: LaneIx, now_ms: i64) {
        let Some(lane) = self.lanes.get_mut(&index) else { return };
        lane.headroom = 0;
        let campaigns = &self.campaigns;
        let is_strict = |campaign: &CampaignIx| campaigns.get(campaign).is_some_and(|run| run.intent.weighting == Weighting::Strict);
        let moving: Vec<CampaignIx> = lane.turns.campaigns().filter(|campaign| !is_strict(campaign)).collect();
        let moved: Vec<_> = moving.into_iter().flat_map(|campaign| lane.turns.drain(Some(campaign))).collect();
        for (campaign, message) in moved {
            self.place(campaign, message, now_ms);
        }
    }

    /// The next message that a server may take: of a campaign with room in its plan's limits and at this server.
    fn next_of(&mut self, index: LaneIx, now_ms: i64, has_seat: bool) -> Option<(CampaignIx, crate::dispatch::stages::ReadyMessage)> {
        let (campaigns, limiters, reopens_ms) = (&self.campaigns, &mut self.shared_limiters, &mut self.shared_reopens_ms);
        let Lane { turns, domains, .. } = self.lanes.get_mut(&index)?;
        #[cfg(test)]
        if self.mutant == Some(super::Mutant::DomainBlocksTheQueue)
            && let Some(domains) = domains
            && turns.messages().next().is_some_and(|first| !domains.allows(first.receiver.as_ref()))
        {
            return None;
        }
        turns.pop(
            |campaign| {
                let run = campaigns.get(&campaign);
                let guard = run.and_then(|run| run.guards.by_lane.get(&index));
                if guard.is_some_and(|guard| guard.room() == 0) || (!has_seat && guard.is_none_or(Guard::is_careful)) {
                    return false;
                }
                let mut shared = run.into_iter().flat_map(|run| run.intent.shared_limits());
                shared.all(|limits| match limiters.get_mut(&limits.key).map(|limiter| limiter.allowance(now_ms)) {
                    None | Some(Allowance::Now(_)) => true,
                    Some(Allowance::At(at) | Allowance::ExhaustedUntil(at)) => {
                        *reopens_ms = at.min(*reopens_ms);
                        false
                    }
                })
            },
            |campaign, message| {
                if domains.as_ref().is_some_and(|domains| !domains.allows(message.receiver.as_ref())) {
                    return false;
                }
                let guard = campaigns.get(&campaign).and_then(|run| run.guards.by_lane.get(&index));
                guard.is_none_or(|guard| !guard.is_on_trial() || guard.takes(&domain_of(&message.recipient)))
            },
        )
    }

    /// The commit is durable: `seqs` are the rows of the claims (`None` for recipients who are suppressed), `changes` what it changed.
    /// Only now do messages leave.
    pub fn committed(&mut self, planned: Planned, seqs: &[Option<u64>], changes: &CountChanges, took: Duration, now_ms: i64) {
        self.commit_ended(true, now_ms);
        self.commit_time = (self.commit_time * 7 + took) / 8;
        self.commits.note(took);
        self.unresolved -= planned.outcomes.iter().filter(|ended| ended.is_of_claim).count();
        self.apply_changes(changes);
        #[cfg(test)]
        if self.mutant == Some(super::Mutant::CountAppliedTwice) {
            self.apply_changes(changes);
        }
        let mut by_lane: BTreeMap<LaneIx, [Vec<Outgoing>; 2]> = BTreeMap::new();
        for (claim, seq) in planned.claims.into_iter().zip(seqs) {
            let Some(seq) = *seq else {
                self.not_claimed(&claim, now_ms);
                continue;
            };
            let PlannedClaim { campaign: index, lane: lane_id, domain, message, .. } = claim;
            let Some(campaign) = self.campaigns.get_mut(&index) else { continue };
            campaign.tally.in_flight += 1;
            let lane = self.lanes.get(&lane_id);
            let goes_alone = campaign.guards.by_lane.get(&lane_id).is_some_and(Guard::is_careful) || lane.is_some_and(Lane::is_careful);
            let reference = campaign.record.reference(self.ledger_id, seq);
            let return_path = lane.and_then(|lane| lane.return_path.as_deref());
            let named = reference.zip(self.return_paths.as_ref()).zip(return_path.filter(|_| lane.is_some_and(|lane| lane.names_messages)));
            let mail_from = match named {
                Some(((reference, paths), domain)) => paths.address(reference, domain),
                None => campaign.mail_from(lane_id, return_path),
            };
            let token = self.free_tokens.pop().unwrap_or_else(|| {
                self.in_flight.push(None);
                self.in_flight.len() - 1
            });
            self.in_flight[token] = Some(InFlight {
                campaign: index,
                lane: lane_id,
                call: 0,
                seq,
                attempt: message.attempt,
                recipient: message.recipient.clone(),
                fields: message.fields,
                refusals: message.refusals,
                domain,
                claimed_ms: planned.at_ms,
                since_ms: message.since_ms.unwrap_or(planned.at_ms),
            });
            by_lane.entry(lane_id).or_default()[usize::from(goes_alone)].push(Outgoing {
                token: token as u64,
                mail_from,
                rcpt_to: message.rcpt_to,
                content: message.content,
                needs_8bit: message.needs_8bit,
                needs_smtputf8: message.needs_smtputf8,
                run: campaign.label.clone(),
                signature: None,
                reference,
            });
        }
        for (index, [together, alone]) in by_lane {
            self.hand_over(index, together, alone, now_ms);
        }
        for ended in planned.outcomes {
            let Some(campaign) = self.campaigns.get_mut(&ended.campaign) else { continue };
            campaign.tally.unsettled -= 1;
            // Only now: due messages are fetched from the ledger, which did not know of this one before.
            match ended.disposition {
                Disposition::Deferred { at_ms, .. } | Disposition::Resend { at_ms, .. } | Disposition::Returned { at_ms, .. } => {
                    campaign.feeder.note_due(at_ms);
                }
                Disposition::Released => campaign.feeder.note_due(now_ms),
                Disposition::RenderFailed => campaign.tally.render_failure_recorded(),
                _ => {}
            }
            self.forget_retired(ended.campaign);
        }
        self.forget_gone_lanes();
    }

    /// Hands durable claims to the server.
    fn hand_over(&mut self, index: LaneIx, together: Vec<Outgoing>, alone: Vec<Outgoing>, now_ms: i64) {
        let Some(lane) = self.lanes.get_mut(&index) else { return };
        // Claims that waited for the ledger were not in flight.
        if lane.calls.is_empty() {
            lane.last_sign_of_life_ms = now_ms;
        }
        for handover in lane.calls.hand_over(alone, together, lane.carriage, lane.connections.now()) {
            let (call, messages) = match &handover {
                Handover::Begin { call, batch } => (*call, &batch[..]),
                Handover::Ahead { call, message } => (*call, std::slice::from_ref(message)),
            };
            for message in messages {
                if let Some(flight) = usize::try_from(message.token).ok().and_then(|token| self.in_flight[token].as_mut()) {
                    flight.call = call;
                }
            }
            self.actions.push(match handover {
                Handover::Begin { call, batch } => Action::Deliver { lane: index, call, batch },
                Handover::Ahead { call, message } => Action::Ahead { lane: index, call, message },
            });
        }
    }

    /// The commit failed and nothing of it is in the ledger: outcomes wait, and claims go back to the head of their queues.
    pub fn commit_failed(&mut self, planned: Planned, now_ms: i64) {
        self.commit_ended(false, now_ms);
        let later = std::mem::replace(&mut self.pending, planned.outcomes);
        self.pending.extend(later);
        let later = std::mem::replace(&mut self.pending_bars, planned.bars);
        self.pending_bars.extend(later);
        self.pending_usage.extend(planned.usage_moves);
        for claim in planned.claims.into_iter().rev() {
            self.not_claimed(&claim, now_ms);
            let (Some(lane), Some(campaign)) = (self.lanes.get_mut(&claim.lane), self.campaigns.get_mut(&claim.campaign)) else { continue };
            if campaign.feeder.epoch == claim.feeder_epoch {
                campaign.backlog.add(&claim.message);
                lane.turns.push_front(&campaign.namespace, claim.campaign, claim.message);
            }
        }
        // A server that went meanwhile takes nothing more.
        if !self.gone.is_empty() {
            self.settle_lanes(now_ms);
            self.forget_gone_lanes();
        }
    }

    /// Takes back what planning a claim counted: it was not made.
    fn not_claimed(&mut self, claim: &PlannedClaim, now_ms: i64) {
        self.unresolved -= 1;
        let Some(lane) = self.lanes.get_mut(&claim.lane) else { return };
        lane.in_flight -= 1;
        lane.limiter.put_back(now_ms, 1);
        if let (Some(domains), Some(counts)) = (&mut lane.domains, &claim.domain) {
            domains.put_back(counts, now_ms);
        }
        let Some(campaign) = self.campaigns.get_mut(&claim.campaign) else { return };
        campaign.tally.unsettled -= 1;
        campaign.guards.landed(claim.lane);
        for limits in campaign.intent.shared_limits() {
            if let Some(limiter) = self.shared_limiters.get_mut(&limits.key) {
                limiter.put_back(now_ms, 1);
            }
        }
        self.forget_retired(claim.campaign);
    }
}
