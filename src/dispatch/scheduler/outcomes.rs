//! The outcome of each message, and what follows for the recipient, the campaign and the server.

use super::{Blocker, Disposition, InFlight, Reason, Scheduler, Settled, UsageMove, domain_of};
use crate::dispatch::index::{CampaignIx, LaneIx};
use crate::{
    dispatch::{
        calls::CallId,
        campaign::{CampaignRun, guards::Held},
        guard::{Judgement, Suspect},
        likeness::Likeness,
        refusals::{Ground, RefusedBy},
        retry,
    },
    providers::{Carriage, Delivered, Outcome, Refusal, Scope},
    report::Answers,
    resources::{Bar, campaign::WhenOutcomeIsUnknown},
};

/// Counts what a server answered; what it accepts, it counts itself.
fn count(answers: &mut Answers, outcome: &Outcome) {
    match outcome {
        Outcome::Accepted { .. } => {}
        Outcome::Refused(refusal) if refusal.is_permanent => answers.refused += 1,
        Outcome::Refused(_) => answers.deferred += 1,
        Outcome::ServerFailed(_) => answers.failed += 1,
        Outcome::Unknown(_) => answers.unknown += 1,
    }
}

impl Scheduler {
    /// The call in which a message was handed over.
    pub fn call_of(&self, delivered: &Delivered) -> Option<(LaneIx, CallId)> {
        let token = usize::try_from(delivered.message.token).ok()?;
        self.in_flight.get(token)?.as_ref().map(|flight| (flight.lane, flight.call))
    }

    /// Takes the outcome of one message.
    pub fn outcome(&mut self, delivered: Delivered, now_ms: i64) {
        let token = usize::try_from(delivered.message.token).unwrap_or(usize::MAX);
        let Some(flight) = self.in_flight.get_mut(token).and_then(Option::take) else { return };
        self.free_tokens.push(token);
        let written_ms = written_ms(&delivered, now_ms);
        let (from_minute, to_minute) = (flight.claimed_ms.div_euclid(60_000), written_ms.map(|at| at.div_euclid(60_000)));
        #[cfg(test)]
        let to_minute = if self.mutant == Some(super::Mutant::UsageStaysAtItsClaim) { Some(from_minute) } else { to_minute };
        if to_minute != Some(from_minute) {
            let domain = flight.domain.as_ref().map(|domain| domain.key.clone());
            self.pending_usage.push(UsageMove { campaign: flight.campaign, lane: flight.lane, domain, from_minute, to_minute });
        }
        if let Some(lane) = self.lanes.get_mut(&flight.lane) {
            lane.in_flight -= 1;
            lane.last_sign_of_life_ms = now_ms;
            lane.window.note(now_ms, delivered.round_trip, delivered.signing);
            lane.calls.answered(flight.call);
            count(&mut lane.answers, &delivered.outcome);
            if let Some(took) = delivered.round_trip {
                self.round_trips.entry(lane.provider).or_default().note(took);
            }
            lane.limiter.settle(written_ms, now_ms);
            if let (Some(domains), Some(counts)) = (&mut lane.domains, &flight.domain) {
                domains.settle(counts, written_ms, now_ms);
            }
            lane.connections.answered();
        }
        if let Some(campaign) = self.campaigns.get_mut(&flight.campaign) {
            campaign.tally.in_flight -= 1;
            campaign.guards.landed(flight.lane);
            for limits in campaign.intent.shared_limits() {
                if let Some(limiter) = self.shared_limiters.get_mut(&limits.key) {
                    limiter.settle(written_ms, now_ms);
                }
            }
        }
        match delivered.outcome {
            Outcome::Accepted { reply } => self.accepted(flight, reply, now_ms),
            Outcome::Refused(refusal) => self.refused(flight, *refusal, now_ms),
            Outcome::ServerFailed(failure) => self.server_failed(flight, failure, now_ms),
            Outcome::Unknown(failure) => self.unknown(flight, failure, now_ms),
        }
    }

    fn end_flight(&mut self, flight: InFlight, end: Disposition, reply: Option<String>, now_ms: i64) {
        self.settle_flight(flight, end, reply, false, now_ms);
    }

    /// `suppresses`: the server said that there is no such mailbox.
    fn settle_flight(&mut self, flight: InFlight, end: Disposition, reply: Option<String>, suppresses: bool, now_ms: i64) {
        let ended = Settled {
            campaign: flight.campaign,
            seq: Some(flight.seq),
            recipient: flight.recipient,
            lane: Some(flight.lane),
            is_of_claim: true,
            disposition: end,
            reply,
            suppresses,
        };
        self.note_ended(ended, now_ms);
    }

    fn accepted(&mut self, flight: InFlight, reply: String, now_ms: i64) {
        let (index, lane_id, claimed_ms) = (flight.campaign, flight.lane, flight.claimed_ms);
        if let Some(lane) = self.lanes.get_mut(&lane_id) {
            lane.accepted += 1;
            lane.pace.accepted(now_ms);
            lane.caution = None;
            lane.is_on_trial = false;
        }
        self.end_flight(flight, Disposition::Accepted, Some(reply), now_ms);
        let Some(guard) = self.campaigns.get_mut(&index).and_then(|campaign| campaign.guards.by_lane.get_mut(&lane_id)) else { return };
        if guard.is_at_rest() {
            return;
        }
        let suspects = guard.accepted(claimed_ms);
        self.reject_held(index, &suspects, now_ms);
    }

    /// The server works, but does not take this message.
    fn refused(&mut self, flight: InFlight, refusal: Refusal, now_ms: i64) {
        if let Some(lane) = self.lanes.get_mut(&flight.lane) {
            lane.caution = None;
        }
        match (refusal.scope, refusal.is_permanent) {
            (Scope::Recipient, true) => {
                let suppresses = refusal.is_of_no_mailbox();
                self.settle_flight(flight, Disposition::Rejected, Some(refusal.reply), suppresses, now_ms);
            }
            (Scope::Message, _) => self.refused_message(flight, refusal, now_ms),
            (Scope::Sender | Scope::Content, false) => {
                let asked_ms = millis(refusal.retry_after);
                if let Some(campaign) = self.campaigns.get_mut(&flight.campaign) {
                    campaign.guards.of_mut(flight.lane).rest(asked_ms, now_ms);
                    campaign.guards.last_refusal = refusal.cause.as_ref().map(|cause| (cause.reason, cause.message.clone()));
                }
                self.return_flight(flight, refusal.reply, now_ms);
                self.settle_lanes(now_ms);
            }
            (Scope::Recipient | Scope::Unclear, false) => {
                let end = self.deferred(&flight, refusal.retry_after, now_ms, false);
                self.end_flight(flight, end, Some(refusal.reply), now_ms);
            }
            (Scope::Sender | Scope::Content | Scope::Unclear, true) => self.refused_campaign(flight, refusal, now_ms),
        }
    }

    /// A message that one server cannot take goes to one that can.
    fn refused_message(&mut self, mut flight: InFlight, refusal: Refusal, now_ms: i64) {
        let Some(refused) = self.refused_by(&flight, &refusal) else { return };
        flight.refusals.add(refused);
        let has_other = self
            .campaign(flight.campaign)
            .is_some_and(|campaign| campaign.intent.candidates.iter().any(|candidate| !flight.refusals.names(&candidate.to_string())));
        if has_other {
            self.return_flight(flight, refusal.reply, now_ms);
        } else {
            let told = flight.refusals.told();
            self.end_flight(flight, Disposition::Rejected, Some(told), now_ms);
        }
    }

    fn refused_by(&self, flight: &InFlight, refusal: &Refusal) -> Option<RefusedBy> {
        let lane = self.lanes.get(&flight.lane)?;
        Some(RefusedBy {
            server: lane.reference.name.to_string(),
            host: lane.host.to_string(),
            ground: Ground::of(refusal.scope),
            reply: refusal.reply.clone(),
        })
    }

    /// A permanent refusal, perhaps not because of the recipient.
    fn refused_campaign(&mut self, mut flight: InFlight, refusal: Refusal, now_ms: i64) {
        let Some(refused) = self.refused_by(&flight, &refusal) else { return };
        flight.refusals.add(refused);
        let (index, lane_id, seq) = (flight.campaign, flight.lane, flight.seq);
        let recipient = flight.recipient.clone();
        let refusals = flight.refusals.clone();
        let domain = domain_of(&recipient);
        let is_over = refusals.are_two_opinions();
        let guard = self.campaigns.get_mut(&index).map(|campaign| campaign.guards.of_mut(lane_id));
        let Some(guard) = guard else { return };
        let is_known = guard.bar.is_some();
        let end = if is_over || (refusal.scope == Scope::Unclear && !is_known && guard.is_settled(&domain)) {
            Disposition::Rejected
        } else {
            Disposition::Held { fields: flight.fields.clone(), refusals: refusals.to_json().unwrap_or_default() }
        };
        let is_held = end.fate() == crate::resources::fate::Fate::Held;
        let judgement = match refusal.scope {
            _ if is_known => Judgement::Waits,
            Scope::Sender => Judgement::Refuses(1),
            _ if guard.is_settled(&domain) => Judgement::Waits,
            _ => guard.refused(Suspect { seq, domain, likeness: Likeness::of(&refusal.reply, &recipient), refused_ms: now_ms }),
        };
        if is_held && let Some(campaign) = self.campaigns.get_mut(&index) {
            campaign.guards.held.insert(seq, Held { recipient, lane: Some(lane_id), refusals });
        }
        self.end_flight(flight, end, Some(refusal.reply.clone()), now_ms);
        if is_known && is_held {
            self.judge_held_anew(index, now_ms);
        }
        self.follow(index, lane_id, judgement, refusal.cause, &refusal.reply, now_ms);
    }

    /// Acts on a judgement of the guard.
    pub(super) fn follow(
        &mut self,
        index: CampaignIx,
        lane: LaneIx,
        judgement: Judgement,
        cause: Option<Blocker>,
        reply: &str,
        now_ms: i64,
    ) {
        match judgement {
            Judgement::Waits => {}
            Judgement::Wants(domain) => self.seek(index, lane, domain, now_ms),
            Judgement::Refuses(count) => {
                let Some(server) = self.lanes.get(&lane).map(|lane| lane.key.to_string()) else { return };
                let known = self.campaign(index).map(|campaign| (campaign.intent.work.work_hash, campaign.key.as_arguments()));
                let Some((work_hash, arguments)) = known else { return };
                let bar = match cause {
                    Some(cause) => Bar { reason: cause.reason, message: cause.message, work_hash },
                    None => Bar {
                        reason: Reason::RefusedAlike,
                        message: format!(
                            "Server {server} refused {count} recipients of this campaign in the same way: `{}`. It is not used for this run until an operator acts: fix the cause, then run `mailfleet resume {arguments} --held Retry`, or with --held Reject if the recipients are at fault.",
                            crate::providers::stable(reply)
                        ),
                        work_hash,
                    },
                };
                self.bar(index, lane, bar, now_ms);
            }
        }
    }

    fn deferred(&mut self, flight: &InFlight, asked: Option<std::time::Duration>, now_ms: i64, is_unknown: bool) -> Disposition {
        let seed = self.ledger_seed;
        let delay = self
            .campaign(flight.campaign)
            .and_then(|campaign| retry::delay(&campaign.intent.work.retry, seed, &flight.recipient, flight.attempt, asked))
            .filter(|delay| !self.is_overdue(flight.campaign, flight.since_ms, now_ms + millis(Some(*delay))));
        CampaignRun::defer(flight, delay, now_ms, is_unknown)
    }

    /// The message was certainly not accepted, and goes to another server: the attempt does not count.
    fn return_flight(&mut self, flight: InFlight, reply: String, now_ms: i64) {
        if self.is_overdue(flight.campaign, flight.since_ms, now_ms) {
            return self.end_flight(flight, Disposition::Expired, Some(reply), now_ms);
        }
        let end = Disposition::Returned { at_ms: now_ms, fields: flight.fields.clone(), refusals: flight.refusals.to_json() };
        self.end_flight(flight, end, Some(reply), now_ms);
    }

    fn server_failed(&mut self, flight: InFlight, failure: Blocker, now_ms: i64) {
        let (lane_id, claimed_ms) = (flight.lane, flight.claimed_ms);
        if failure.reason == Reason::Throttled {
            return self.throttled(flight, failure, now_ms);
        }
        if self.reroutes.note(flight.campaign, flight.seq, failure.reason) {
            // It broke one connection after another: perhaps the message itself is the cause, and must not wander forever.
            let end = self.deferred(&flight, None, now_ms, false);
            self.end_flight(flight, end, Some(failure.message.clone()), now_ms);
        } else {
            self.return_flight(flight, failure.message.clone(), now_ms);
        }
        let is_fewer = failure.is_connection_limit()
            && self.lanes.get_mut(&lane_id).is_some_and(|lane| {
                // The connection that was refused is among them.
                lane.connections.refused(lane.calls.len().saturating_sub(1), now_ms)
            });
        if !is_fewer && self.lanes.get(&lane_id).is_some_and(|lane| claimed_ms >= lane.readmitted_ms) {
            self.fail_lane(lane_id, failure, now_ms);
        }
    }

    /// The server works, but is given too much: it rests, and is then given what it takes. That costs nobody an attempt.
    fn throttled(&mut self, flight: InFlight, failure: Blocker, now_ms: i64) {
        let (lane_id, claimed_ms) = (flight.lane, flight.claimed_ms);
        self.return_flight(flight, failure.message, now_ms);
        if let Some(lane) = self.lanes.get_mut(&lane_id) {
            lane.pace.throttled(millis(failure.retry_after), claimed_ms, now_ms);
            self.move_on(lane_id, now_ms);
        }
    }

    fn unknown(&mut self, flight: InFlight, failure: Blocker, now_ms: i64) {
        let (lane_id, claimed_ms) = (flight.lane, flight.claimed_ms);
        let skips = self.campaign(flight.campaign).is_none_or(|c| c.intent.work.when_outcome_is_unknown == WhenOutcomeIsUnknown::Skip);
        let end = if skips { Disposition::Unknown } else { self.deferred(&flight, None, now_ms, true) };
        self.end_flight(flight, end, Some(failure.message.clone()), now_ms);
        if let Some(lane) = self.lanes.get_mut(&lane_id) {
            lane.note_unknown(millis(failure.retry_after), &failure.message, now_ms);
        }
        self.settle_lane(lane_id, now_ms);
        if self.lanes.get(&lane_id).is_some_and(|lane| claimed_ms >= lane.readmitted_ms) {
            self.fail_lane(lane_id, failure, now_ms);
        }
    }

    /// A call of `deliver` ended, and its connection is free.
    pub fn call_ended(&mut self, lane: LaneIx, call: CallId) {
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.calls.ended(call);
        }
        self.forget_gone_lanes();
    }

    /// Sets how messages are handed to a server, according to its extensions.
    pub fn set_carriage(&mut self, lane: LaneIx, carriage: Carriage) {
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.carriage = carriage;
        }
    }

    pub(super) fn fail_lane(&mut self, index: LaneIx, failure: Blocker, now_ms: i64) {
        let Some(lane) = self.lanes.get_mut(&index) else { return };
        // One incident is reported once: the other messages in flight may follow.
        if lane.acknowledged == lane.failures {
            lane.failures += 1;
            let action = super::Action::ServerFailed { server: lane.key.clone(), failure, failures: lane.failures };
            self.actions.push(action);
            self.settle_lane(index, now_ms);
        }
    }
}

/// When the last byte of a message was written, for windows; `None` if certainly none of it was.
fn written_ms(delivered: &Delivered, now_ms: i64) -> Option<i64> {
    match (&delivered.outcome, delivered.round_trip) {
        (Outcome::ServerFailed(_), None) => None,
        (_, round_trip) => Some(now_ms - millis(round_trip)),
    }
}

fn millis(duration: Option<std::time::Duration>) -> i64 {
    duration.map_or(0, |duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4))
}
