//! Feeders: when one starts and stops, what it is asked for, and what it brings.

use std::sync::Arc;

use super::{Action, Blocker, DUE_MAX, Disposition, Opened, Phase, ReadyMessage, RenderFailure, Scheduler, Settled};
use crate::dispatch::{campaign::CampaignRun, index::CampaignIx, lane::Lane};
use crate::{
    ledger::AudienceRead,
    report::{WithoutVariant, WithoutZone},
    resources::Key,
};

impl Scheduler {
    /// The run was found or begun in the ledger.
    pub fn opened(&mut self, index: CampaignIx, opened: Opened, now_ms: i64) {
        let lanes = &self.lane_index;
        let lane_of = |name: &str| name.split_once('/').and_then(|(namespace, name)| lanes.get(&Key::new(namespace, name)).copied());
        let Some(campaign) = self.campaigns.get_mut(&index) else { return };
        for limits in campaign.intent.shared_limits() {
            // The limiters of servers have counted these since the start.
            if let Some(limiter) = self.shared_limiters.get_mut(&limits.key) {
                limiter.remember(now_ms.div_euclid(60_000), opened.left, now_ms);
            }
        }
        campaign.open(opened, lane_of);
        self.renew_hours(index, now_ms);
        self.judge_held_anew(index, now_ms);
        self.stop_if_barred(index, now_ms);
        // Only this one: when two thousand are opened, none of them has to fit all the others.
        self.fit_campaign(index, now_ms);
        self.resume_after_edit(index);
        self.resume_if_asked(index);
        self.step_if_due(index);
        self.feed(index);
    }

    pub(super) fn feed(&mut self, index: CampaignIx) {
        if self.stopping {
            return;
        }
        if let Some(campaign) = self.campaigns.get_mut(&index)
            && campaign.phase == Phase::Resting
            && !campaign.intent.hold
            && campaign.blocked.by.is_none()
            && !campaign.is_retired
            && !campaign.record.is_resuming
            && !campaign.hours.is_shut
        {
            campaign.phase = Phase::Feeding;
            campaign.audience.is_read = false;
            campaign.feeder.begin(campaign.tally.counts.deferred > 0);
            self.want_feeder(index);
        }
    }

    /// The feeder is running and takes requests.
    pub fn feeder_started(&mut self, index: CampaignIx) {
        if let Some(campaign) = self.campaigns.get_mut(&index) {
            campaign.feeder.is_running = campaign.phase == Phase::Feeding;
            self.has_more_to_do = true;
        }
    }

    pub(super) fn unfeed(&mut self, index: CampaignIx) {
        let Some(campaign) = self.campaigns.get_mut(&index) else { return };
        if campaign.phase != Phase::Feeding {
            return;
        }
        campaign.phase = Phase::Resting;
        campaign.backlog.clear();
        campaign.hours.asleep = None;
        let was_fetching = campaign.feeder.stop();
        drop(self.unplaced.drain(Some(index)));
        for lane in self.lanes.values_mut() {
            drop(lane.turns.drain(Some(index)));
        }
        self.releasing += 1 + usize::from(was_fetching);
        self.actions.push(Action::StopFeeder(index));
    }

    /// Stops the campaign for a blocker, or makes it wait if the blocker is transient.
    pub(super) fn stop_for(&mut self, index: CampaignIx, blocker: Blocker, now_ms: i64) {
        if let Some(campaign) = self.campaigns.get_mut(&index) {
            campaign.blocked.stop(blocker, now_ms);
        }
        self.unfeed(index);
    }

    /// Whether an event comes from the feeder that is running now.
    #[must_use]
    pub fn is_current(&self, index: CampaignIx, feeder_epoch: u64) -> bool {
        self.campaign(index).is_some_and(|campaign| campaign.feeder.epoch == feeder_epoch && campaign.phase == Phase::Feeding)
    }

    /// Takes rendered messages; `requested` of them had been asked for with [`Action::RequestRows`], `due` deferred ones were
    /// handled.
    pub fn prepared(&mut self, index: CampaignIx, mut messages: Vec<ReadyMessage>, requested: usize, due: usize, now_ms: i64) {
        if let Some(campaign) = self.campaigns.get_mut(&index) {
            if requested > 0 && !messages.is_empty() {
                campaign.blocked.audience_read();
            }
            campaign.feeder.brought(&messages, requested, due);
            for message in &mut messages {
                message.receiver = self.receivers.of(&message.recipient);
                campaign.backlog.add(message);
            }
        }
        // A share is judged from 100 recipients on, whoever the hundredth is.
        let blocker = self.campaigns.get(&index).filter(|run| run.blocked.by.is_none()).and_then(CampaignRun::too_many_render_errors);
        if let Some(blocker) = blocker {
            return self.stop_until_fixed(index, blocker, now_ms);
        }
        self.look_at_limits(now_ms);
        self.rooms.clear();
        let is_sought = requested == 0 && due == 0;
        let messages = if is_sought { messages } else { self.without_crowd(index, messages, due > 0, now_ms) };
        for message in messages {
            self.place(index, message, now_ms);
        }
    }

    /// A recipient whose template failed.
    pub fn render_failed(&mut self, index: CampaignIx, failed: RenderFailure, now_ms: i64) {
        let RenderFailure { seq, was_deferred, recipient, message } = failed;
        let mut blocker = None;
        if let Some(campaign) = self.campaigns.get_mut(&index) {
            campaign.tally.unsettled += 1;
            // A claim of an earlier process may have been mailed, whatever its template does now.
            campaign.tally.render_failed(seq.is_none() || was_deferred, &message);
            if campaign.blocked.by.is_none() {
                blocker = campaign.too_many_render_errors();
            }
        }
        let ended = Settled {
            campaign: index,
            seq,
            recipient,
            lane: None,
            is_of_claim: false,
            disposition: Disposition::RenderFailed,
            reply: Some(message),
            suppresses: false,
        };
        self.note_ended(ended, now_ms);
        if let Some(blocker) = blocker {
            self.stop_until_fixed(index, blocker, now_ms);
        }
    }

    /// Stops the campaign until its spec, its content or its audience changes.
    fn stop_until_fixed(&mut self, index: CampaignIx, blocker: Blocker, now_ms: i64) {
        self.stop_for(index, blocker, now_ms);
        self.actions.push(Action::WatchAudience(index));
    }

    /// A deferred recipient is gone from the audience.
    pub fn withdrawn(&mut self, index: CampaignIx, seq: u64, recipient: Arc<str>, now_ms: i64) {
        if let Some(campaign) = self.campaigns.get_mut(&index) {
            campaign.tally.unsettled += 1;
        }
        let ended = Settled {
            campaign: index,
            seq: Some(seq),
            recipient,
            lane: None,
            is_of_claim: false,
            disposition: Disposition::Withdrawn,
            reply: None,
            suppresses: false,
        };
        self.note_ended(ended, now_ms);
    }

    /// The audience cannot be read any further.
    pub fn feeder_failed(&mut self, index: CampaignIx, blocker: Blocker, now_ms: i64) {
        let blocker = match self.campaigns.get_mut(&index) {
            Some(campaign) => campaign.blocked.not_read(blocker, now_ms),
            None => blocker,
        };
        self.stop_for(index, blocker, now_ms);
    }

    /// Something of the audience could be read.
    pub fn audience_opened(&mut self, index: CampaignIx) {
        if let Some(campaign) = self.campaigns.get_mut(&index) {
            campaign.blocked.audience_opened();
        }
    }

    /// All rows of the audience are counted.
    pub fn audience_counted(&mut self, index: CampaignIx, rows: u64) {
        if let Some(campaign) = self.campaigns.get_mut(&index) {
            campaign.audience.counted(rows);
        }
    }

    /// The audience was read to its end: how many people are not in the sample of the rollout's step, which rows are bad, and who has no
    /// zone or variant.
    pub fn audience_ended(
        &mut self,
        index: CampaignIx,
        read: AudienceRead,
        outside: u64,
        bad_rows_named: String,
        without: (Option<WithoutZone>, Option<WithoutVariant>),
    ) {
        let Some(campaign) = self.campaigns.get_mut(&index) else { return };
        campaign.audience.ended(outside, bad_rows_named, without);
        campaign.blocked.audience_read();
        campaign.feeder.requested = 0;
        campaign.tally.audience_ended(read);
    }

    /// The audience file that this feeder read, or could not read, has changed.
    pub fn audience_touched(&mut self, index: CampaignIx, feeder_epoch: u64) {
        let Some(campaign) = self.campaigns.get_mut(&index).filter(|campaign| campaign.feeder.epoch == feeder_epoch) else { return };
        if campaign.phase == Phase::Closed {
            self.actions.push(Action::CountAdded(index));
            return;
        }
        let Some(reason) = campaign.blocked.by.as_ref().map(|blocker| blocker.reason) else { return };
        if reason.is_of_rows() {
            campaign.blocked.by = None;
            self.retry_failed_templates(index);
            self.feed(index);
        }
    }

    /// Deferred messages were fetched (`count` of them are being prepared); `next_due_ms` is when the next one is due.
    pub fn due_fetched(&mut self, index: CampaignIx, count: usize, next_due_ms: Option<i64>) {
        if let Some(campaign) = self.campaigns.get_mut(&index) {
            campaign.feeder.fetched(count, next_due_ms);
        }
    }

    /// Requests from the feeder what may be sent, and closes a run of which nothing is left.
    pub(super) fn request_more(&mut self, index: CampaignIx, now_ms: i64) {
        let Some(campaign) = self.campaigns.get_mut(&index).filter(|campaign| campaign.phase == Phase::Feeding) else { return };
        let can_send = !campaign.eligible.is_empty();
        let held = campaign.backlog.messages + campaign.feeder.requested;
        let is_due = campaign.feeder.is_due(now_ms);
        let lanes = &self.lanes;
        let room = || {
            let servers = campaign.eligible.servers().iter();
            servers.filter_map(|(lane, _)| lanes.get(&lane.id)).map(Lane::room).sum()
        };
        let most = self.rendered.most(campaign.as_feeding(held), room);
        // Who was passed over is met again also once nothing is limited any more.
        if !self.receivers.is_empty() || !campaign.backlog.passed_over.is_empty() {
            campaign.backlog.set_most(most.max(1));
            self.look_at_crowd(index, now_ms);
            if self.reads_again(index) {
                return self.read_again(index);
            }
        }
        let Some(campaign) = self.campaigns.get_mut(&index) else { return };
        let held = campaign.backlog.messages + campaign.feeder.requested;
        // However many are due, they get no more memory than the audience may have.
        if can_send && is_due && campaign.feeder.prepares_nothing() && most > 0 && campaign.backlog.messages <= most {
            campaign.feeder.fetch();
            self.actions.push(Action::FetchDue { campaign: index, most: most.min(DUE_MAX) });
        }
        if can_send && !campaign.audience.is_read && most > 0 && held <= most / 2 && campaign.backlog.has_others() {
            let more = if campaign.backlog.only.is_some() { campaign.backlog.only_room.min(most - held) } else { most - held };
            if more == 0 {
                return;
            }
            self.rendered.ask(campaign.as_feeding(held), more);
            self.last_asked = index;
            campaign.feeder.requested += more;
            let passing = campaign.backlog.passing(&self.receivers);
            self.actions.push(Action::RequestRows { campaign: index, count: more, passing });
        }
        if campaign.record.rollout.is_some() {
            self.note_step(index);
        }
        let Some(campaign) = self.campaigns.get_mut(&index) else { return };
        if campaign.is_drained() && !campaign.record.is_closing {
            // Held messages that no other server may take wait for a person.
            if self.settle_held(index, now_ms) {
                return;
            }
            let Some(campaign) = self.campaigns.get_mut(&index) else { return };
            // The others are mailed in the steps to come.
            if campaign.audience.outside > 0 && campaign.sample().is_some() {
                return;
            }
            if let Some(blocker) = campaign.unfinished() {
                return self.stop_until_fixed(index, blocker, now_ms);
            }
            campaign.record.is_closing = true;
            self.actions.push(Action::Close(index));
        }
    }
}
