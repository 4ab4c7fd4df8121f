//! What goes into the next commit of the ledger, and what follows from it. Only a durable claim puts a message on the wire.

use std::{collections::BTreeMap, time::Duration};

use super::{Action, CLAIMS_WAIT_MS, OUTCOME_AGE_MAX_MS, OUTCOMES_WORTH_A_COMMIT, Planned, PlannedClaim, Scheduler};
use crate::{
    dispatch::{
        lane::batches,
        limits::Allowance,
        prepared::{End, InFlight},
        window::CLAIMS_MAX,
    },
    providers::Outgoing,
};

impl Scheduler {
    /// What the next commit holds, or nothing when it is better to wait.
    pub fn plan(&mut self, now_ms: i64) -> Option<Planned> {
        let worth = self.pending.len() >= OUTCOMES_WORTH_A_COMMIT
            || (!self.pending.is_empty() && now_ms - self.pending_since_ms >= OUTCOME_AGE_MAX_MS)
            || (!self.pending.is_empty() && self.unresolved <= self.pending.len());
        let mut claims = Vec::new();
        if !self.stopping && self.may_claim(now_ms) {
            self.ready_since_ms = None;
            self.plan_reopens_ms = i64::MAX;
            // What a server that was taken out still holds is not to keep the others from sending until its reply timeout: its
            // round trip is that long, so the bound is as well.
            let stuck: usize = self.lanes.iter().filter(|lane| !lane.is_eligible()).map(|lane| lane.in_flight).sum();
            let mut room =
                (self.claims_max() + stuck).saturating_sub(self.unresolved - self.pending.iter().filter(|e| e.lane.is_some()).count());
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
    pub(super) fn may_claim(&mut self, now_ms: i64) -> bool {
        if self.lanes.iter().all(|lane| lane.turns.is_empty() || !lane.is_eligible() || now_ms < lane.not_before_ms) {
            self.ready_since_ms = None;
            return false;
        }
        if self.lanes.iter().all(|lane| lane.in_flight == 0) {
            return true;
        }
        now_ms - *self.ready_since_ms.get_or_insert(now_ms) >= CLAIMS_WAIT_MS
    }

    pub(super) fn claims_max(&self) -> usize {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let needed: usize = self.lanes.iter().map(|lane| (1.25 * lane.window.needed(self.commit_time)).ceil() as usize).sum();
        needed.max(CLAIMS_MAX)
    }

    pub(super) fn claim_from(&mut self, index: usize, share: usize, room: &mut usize, now_ms: i64, claims: &mut Vec<PlannedClaim>) {
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
            let (campaigns, limiters, reopens_ms) = (&self.campaigns, &mut self.limiters, &mut self.plan_reopens_ms);
            let next = self.lanes[index].turns.pop(|campaign| {
                let plan = campaigns[campaign].as_ref().and_then(|c| c.order.plan_limits.as_ref());
                match plan.and_then(|(key, _)| limiters.get_mut(key)).map(|limiter| limiter.allowance(now_ms)) {
                    None | Some(Allowance::Now(_)) => true,
                    Some(Allowance::At(at) | Allowance::ExhaustedUntil(at)) => {
                        *reopens_ms = at.min(*reopens_ms);
                        false
                    }
                }
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
                run: campaign.label.clone(),
            });
        }
        for (index, messages) in by_lane {
            let lane = &mut self.lanes[index];
            // Claims that waited for the ledger were not on the wire.
            if lane.deliveries == 0 {
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
}
