//! Held messages, servers that are out of use for a campaign, and how both end.

use std::sync::Arc;

use super::{Action, Blocker, Disposition, Phase, PlannedBar, ReadyMessage, Reason, Scheduler, Settled};
use crate::dispatch::index::{CampaignIx, LaneIx};
use crate::{
    dispatch::{
        campaign::{CampaignRun, guards::Held},
        guard::{Suspect, domain_of},
        likeness::Likeness,
        refusals::Ground,
    },
    ledger::Resumption,
    resources::{
        Bar, Key,
        resume::{Resume, ResumeHeld},
    },
};

/// The wait before a message that no server may take now is looked at again, milliseconds.
const LOOK_AGAIN_MS: i64 = 30_000;

impl CampaignRun {
    /// The server that waits for a recipient in another domain, if this message is for one.
    pub(super) fn lane_on_trial(&self, message: &ReadyMessage) -> Option<LaneIx> {
        if self.guards.by_lane.values().all(|guard| !guard.is_on_trial()) {
            return None;
        }
        let domain = domain_of(&message.recipient);
        let is_usable =
            |lane: LaneIx| self.eligible.servers().iter().any(|(known, _)| known.id == lane && !message.refusals.names(&known.name));
        let mut waiting =
            self.guards.by_lane.iter().filter(|(_, guard)| guard.is_on_trial() && guard.takes(&domain) && guard.in_flight == 0);
        waiting.find(|(lane, _)| is_usable(**lane)).map(|(lane, _)| *lane)
    }
}

impl Scheduler {
    /// Takes the server out of use for the campaign until a person acts. Its held messages go to others, if there are any.
    pub(super) fn bar(&mut self, index: CampaignIx, lane: LaneIx, bar: Bar, now_ms: i64) {
        let Some(campaign) = self.campaigns.get_mut(&index) else { return };
        let guard = campaign.guards.of_mut(lane);
        guard.clear();
        if guard.bar.is_some() {
            return;
        }
        guard.bar = Some(bar.clone());
        self.pending_bars.push(PlannedBar { campaign: index, lane, bar });
        if self.pending.is_empty() {
            self.pending_since_ms = now_ms;
        }
        self.settle_lanes(now_ms);
        self.judge_held_anew(index, now_ms);
        self.stop_if_barred(index, now_ms);
    }

    /// Whether a server is out of use for the campaign until a person acts.
    fn is_barred(&self, campaign: &CampaignRun, server: &Key) -> bool {
        match self.lane_index.get(server) {
            Some(lane) => campaign.guards.bar_at(*lane).is_some(),
            None => campaign.guards.is_barred_elsewhere(server),
        }
    }

    /// Whether the campaign may use a server that has not refused a held message and is not out of use.
    fn has_another(&self, index: CampaignIx, seq: u64) -> bool {
        let Some((campaign, held)) = self.campaign(index).and_then(|campaign| Some((campaign, campaign.guards.held.get(&seq)?))) else {
            return false;
        };
        campaign
            .intent
            .candidates
            .iter()
            .any(|candidate| !self.is_barred(campaign, candidate) && !held.refusals.names(&candidate.to_string()))
    }

    /// Judges held messages again, after a start or when a server went out of use: unclear refusals by a server that is still used
    /// make suspects; of the rest, what may go to another server is released, and what may not waits for a person.
    pub(super) fn judge_held_anew(&mut self, index: CampaignIx, now_ms: i64) {
        let Some(campaign) = self.campaign(index) else { return };
        let mut released = Vec::new();
        let mut suspects = Vec::new();
        for (seq, held) in &campaign.guards.held {
            let is_barred = held.lane.is_none_or(|lane| campaign.guards.bar_at(lane).is_some());
            let last = held.refusals.last();
            match (is_barred, held.lane, last) {
                (false, Some(lane), Some(refused)) if refused.ground == Ground::Unclear => {
                    let likeness = Likeness::of(&refused.reply, &held.recipient);
                    suspects.push((lane, Suspect { seq: *seq, domain: domain_of(&held.recipient), likeness, refused_ms: 0 }));
                }
                _ if self.has_another(index, *seq) => released.push(*seq),
                _ => {}
            }
        }
        for seq in released {
            self.end_held(index, seq, Disposition::Released, now_ms);
        }
        let Some(campaign) = self.campaigns.get_mut(&index) else { return };
        for (lane, suspect) in suspects {
            campaign.guards.of_mut(lane).know(suspect);
        }
    }

    pub(super) fn reject_held(&mut self, index: CampaignIx, seqs: &[u64], now_ms: i64) {
        for seq in seqs {
            self.end_held(index, *seq, Disposition::Rejected, now_ms);
        }
    }

    fn end_held(&mut self, index: CampaignIx, seq: u64, end: Disposition, now_ms: i64) {
        let Some(campaign) = self.campaigns.get_mut(&index) else { return };
        let Some(held) = campaign.guards.held.remove(&seq) else { return };
        campaign.tally.unsettled += 1;
        let ended = Settled {
            campaign: index,
            seq: Some(seq),
            recipient: held.recipient,
            lane: held.lane,
            is_of_claim: false,
            disposition: end,
            reply: None,
            suppresses: false,
        };
        self.note_ended(ended, now_ms);
    }

    /// Judges the suspects, since everything else in the run has a final outcome. True if the run cannot be closed yet.
    pub(super) fn settle_held(&mut self, index: CampaignIx, now_ms: i64) -> bool {
        let Some(campaign) = self.campaigns.get_mut(&index) else { return false };
        if campaign.guards.held.is_empty() {
            return false;
        }
        let mut suspects = Vec::new();
        for guard in campaign.guards.by_lane.values_mut() {
            let has_accepted = guard.has_accepted;
            suspects.extend(guard.clear().into_iter().map(|seq| (seq, has_accepted)));
        }
        for (seq, has_accepted) in &suspects {
            // A server that accepted nobody has said nothing about the recipient: another one may know better.
            let end = if !has_accepted && self.has_another(index, *seq) { Disposition::Released } else { Disposition::Rejected };
            self.end_held(index, *seq, end, now_ms);
        }
        if suspects.is_empty() {
            self.stop_held(index, now_ms);
        }
        true
    }

    /// Stops a campaign if all of its servers are out of use for it.
    pub(super) fn stop_if_barred(&mut self, index: CampaignIx, now_ms: i64) {
        let Some(campaign) = self.campaign(index) else { return };
        let candidates = &campaign.intent.candidates;
        if candidates.is_empty() || !candidates.iter().all(|candidate| self.is_barred(campaign, candidate)) {
            return;
        }
        self.stop_held(index, now_ms);
    }

    fn stop_held(&mut self, index: CampaignIx, now_ms: i64) {
        let Some(campaign) = self.campaign(index) else { return };
        let bars: Vec<&Bar> = campaign.guards.bars().collect();
        let reason = bars.first().map_or(Reason::RefusedAlike, |bar| bar.reason);
        let told = bars.iter().map(|bar| bar.message.as_str()).collect::<Vec<_>>().join(" ");
        let message = format!(
            "No server accepts this campaign any more; no recipient was given up. {told} Then run `mailfleet resume {} --held Retry` (or --held Reject); a change of the spec retries too.",
            campaign.key.as_arguments()
        );
        self.stop_for(index, Blocker::lasting(reason, message), now_ms);
    }

    /// No server may take this message now: it waits in the ledger, or is given up if none ever may.
    pub(super) fn put_back(&mut self, index: CampaignIx, message: ReadyMessage, now_ms: i64) {
        let Some(campaign) = self.campaign(index) else { return };
        let open: Vec<&Key> =
            campaign.intent.candidates.iter().filter(|candidate| !message.refusals.names(&candidate.to_string())).collect();
        let (has_none, are_barred) = (open.is_empty(), open.iter().all(|candidate| self.is_barred(campaign, candidate)));
        let Some(campaign) = self.campaigns.get_mut(&index) else { return };
        campaign.backlog.remove(&message);
        campaign.tally.unsettled += 1;
        let refusals = message.refusals.to_json();
        let (end, reply) = match refusals {
            _ if has_none && message.refusals.are_all_of_the_message() => (Disposition::Rejected, Some(message.refusals.told())),
            Some(refusals) if are_barred => {
                let lane = message
                    .refusals
                    .last()
                    .and_then(|refused| refused.server.split_once('/'))
                    .and_then(|(namespace, name)| self.lane_index.get(&Key::new(namespace, name)).copied());
                if let Some(seq) = message.seq {
                    let held = Held { recipient: message.recipient.clone(), lane, refusals: message.refusals.clone() };
                    campaign.guards.held.insert(seq, held);
                }
                (Disposition::Held { fields: message.fields.clone(), refusals }, None)
            }
            refusals => (Disposition::Returned { at_ms: now_ms + LOOK_AGAIN_MS, fields: message.fields.clone(), refusals }, None),
        };
        let ended = Settled {
            campaign: index,
            seq: message.seq,
            recipient: message.recipient,
            lane: None,
            is_of_claim: false,
            disposition: end,
            reply,
            suppresses: false,
        };
        self.note_ended(ended, now_ms);
        self.stop_if_barred(index, now_ms);
    }

    // ── a recipient in another domain ──

    /// Looks for a recipient outside `domain` for a server: among the waiting messages, or further on in the audience.
    pub(super) fn seek(&mut self, index: CampaignIx, lane_id: LaneIx, domain: Arc<str>, now_ms: i64) {
        let is_other = |message: &ReadyMessage| domain_of(&message.recipient) != domain;
        let Some(lane) = self.lanes.get(&lane_id) else { return };
        let Some(campaign) = self.campaigns.get(&index) else { return };
        // One is on its way, and is judged when its outcome arrives.
        if lane.turns.has(index, is_other) || campaign.phase != Phase::Feeding {
            return;
        }
        let elsewhere = self.lanes.iter().find(|(_, lane)| lane.turns.has(index, is_other)).map(|(id, _)| *id);
        if let Some(elsewhere) = elsewhere {
            let found = self
                .lanes
                .get_mut(&elsewhere)
                .and_then(|lane| lane.turns.pop(|campaign| campaign == index, |_, message| is_other(message)));
            if let Some((_, message)) = found {
                self.place(index, message, now_ms);
            }
            return;
        }
        if let Some((_, message)) = self.unplaced.pop(|campaign| campaign == index, |_, message| is_other(message)) {
            return self.place(index, message, now_ms);
        }
        let Some(campaign) = self.campaigns.get_mut(&index) else { return };
        if campaign.audience.is_read && campaign.feeder.requested == 0 {
            self.nobody_else(index, now_ms);
        } else if !campaign.feeder.is_seeking {
            campaign.feeder.is_seeking = true;
            self.actions.push(Action::Seek { campaign: index, domain });
        }
    }

    /// The audience, as far as it was searched, has nobody in another domain.
    pub fn nobody_else(&mut self, index: CampaignIx, now_ms: i64) {
        let Some(campaign) = self.campaigns.get_mut(&index) else { return };
        campaign.feeder.is_seeking = false;
        let judged: Vec<_> = campaign
            .guards
            .by_lane
            .iter_mut()
            .filter(|(_, guard)| guard.is_on_trial())
            .map(|(lane, guard)| (*lane, guard.nobody_else(), guard.last_seq()))
            .collect();
        for (lane, judgement, last) in judged {
            let reply =
                last.and_then(|seq| self.campaign(index)?.guards.held.get(&seq)?.refusals.last().map(|refused| refused.reply.clone()));
            self.follow(index, lane, judgement, None, &reply.unwrap_or_default(), now_ms);
        }
    }

    /// The feeder found somebody in another domain; the message itself arrives through [`Scheduler::prepared`].
    pub fn sought(&mut self, index: CampaignIx) {
        if let Some(campaign) = self.campaigns.get_mut(&index) {
            campaign.feeder.is_seeking = false;
        }
    }

    // ── resumption ──

    /// Carries out what a person requested, unless that was done already.
    pub(super) fn resume_if_asked(&mut self, index: CampaignIx) {
        let Some(campaign) = self.campaigns.get(&index) else { return };
        let Some(resume) = &campaign.intent.resume else { return };
        if campaign.phase == Phase::Opening || campaign.record.is_resuming || campaign.record.resume_handled.has(&resume.token) {
            return;
        }
        self.resume(index, resumption(resume));
    }

    /// Resumes a campaign with bars of an older spec: a change of the spec lifts them.
    pub(super) fn resume_after_edit(&mut self, index: CampaignIx) {
        let Some(campaign) = self.campaigns.get(&index) else { return };
        if campaign.guards.bars().any(|bar| bar.work_hash != campaign.intent.work.work_hash) {
            self.resume(index, Resumption { token: None, held: Some(ResumeHeld::Retry), resends_unknown: false });
        } else {
            self.retry_failed_templates(index);
        }
    }

    /// Retries recipients whose template failed with what was fixed, unless the run has completed without them.
    pub(super) fn retry_failed_templates(&mut self, index: CampaignIx) {
        let has_failed = |campaign: &CampaignRun| campaign.phase != Phase::Closed && campaign.tally.render_failed_so_far() > 0;
        if self.campaigns.get(&index).is_some_and(has_failed) {
            self.resume(index, Resumption { token: None, held: None, resends_unknown: false });
        }
    }

    fn resume(&mut self, index: CampaignIx, resumption: Resumption) {
        self.unfeed(index);
        if let Some(campaign) =
            self.campaigns.get_mut(&index).filter(|campaign| campaign.phase != Phase::Opening && !campaign.record.is_resuming)
        {
            campaign.record.is_resuming = true;
            self.actions.push(Action::Resume { campaign: index, resumption });
        }
    }

    /// The ledger has carried out a resumption. `is_open`: the run has something to send.
    pub fn resumed(&mut self, index: CampaignIx, resumption: &Resumption, is_open: bool, now_ms: i64) {
        let Some(campaign) = self.campaigns.get_mut(&index) else { return };
        campaign.record.is_resuming = false;
        if let Some(token) = &resumption.token {
            campaign.record.resume_handled.note(token);
        }
        if resumption.held.is_some() {
            campaign.guards.lift_all();
        }
        campaign.blocked.clear();
        if campaign.phase == Phase::Closed && is_open {
            campaign.phase = Phase::Resting;
            campaign.record.reopened();
        }
        self.settle_lanes(now_ms);
        self.feed(index);
    }

    /// The resumption failed; it is requested again.
    pub fn not_resumed(&mut self, index: CampaignIx) {
        if let Some(campaign) = self.campaigns.get_mut(&index) {
            campaign.record.is_resuming = false;
        }
        self.resume_if_asked(index);
    }
}

/// Translates a person's request into a resumption in the ledger.
fn resumption(resume: &Resume) -> Resumption {
    Resumption { token: Some(resume.token.clone()), held: Some(resume.held), resends_unknown: resume.resends_unknown }
}
