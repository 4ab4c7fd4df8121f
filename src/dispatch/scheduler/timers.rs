//! What time alone brings about, and when the scheduler is to be called again. Pure.

use super::{Blocker, CLAIMS_WAIT_MS, CampaignIx, CampaignRun, OUTCOME_AGE_MAX_MS, Phase, Reason, Rendered, Scheduler};

impl Scheduler {
    /// Timers: windows that reopen, messages that are due, servers that do not answer.
    pub(super) fn tick(&mut self, now_ms: i64) {
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
        self.keep_hours(now_ms);
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
        let with_hours = self.campaigns.values().filter(|campaign| campaign.intent.hours.is_some() && !campaign.is_retired);
        wake = with_hours.map(CampaignRun::hours_wake_ms).filter(|at| *at > now_ms).fold(wake, i64::min);
        wake.max(now_ms + 1)
    }
}
