//! The steps of a rollout: when one is sent, and how the next one begins.
//!
//! Whoever is not in the sample of the step is not claimed, and so is met again when the audience is read for the next one.

use super::{Action, CampaignRun, Phase, Scheduler};
use crate::{
    dispatch::{index::CampaignIx, sample::Sample},
    ledger::RolloutChange,
    resources::rollout::Reached,
};

impl CampaignRun {
    /// The part of the audience that may be mailed; everybody when `None`.
    #[must_use]
    pub fn sample(&self) -> Option<Sample> {
        let reached = self.rollout.as_ref().filter(|reached| !reached.is_all())?;
        Some(Sample::new(self.seed, reached.share))
    }

    /// Whether everybody of the step was tried once: what is left of it waits for another attempt.
    fn is_step_sent(&self) -> bool {
        self.rollout.as_ref().is_some_and(|reached| !reached.is_all() && reached.sent_ms.is_none())
            && self.phase == Phase::Feeding
            && self.outside > 0
            && self.audience_done
            && self.passed_over.is_empty()
            && self.held.is_empty()
            && self.waiting == 0
            && self.requested == 0
            && self.preparing == 0
            && self.unsettled == 0
            && !self.fetching
            && !self.is_seeking
    }

    /// Whether nobody of it can have been claimed.
    fn is_untouched(&self) -> bool {
        !self.has_sent && self.unsettled == 0 && self.in_flight == 0 && self.counts.ended() + self.counts.deferred + self.counts.held == 0
    }
}

impl Scheduler {
    /// Notes in the ledger that the step was sent, once it was.
    pub(super) fn note_step(&mut self, index: CampaignIx) {
        let Some(campaign) = self.campaigns.get_mut(&index).filter(|campaign| campaign.is_step_sent() && !campaign.is_stepping) else {
            return;
        };
        if let Some(reached) = &campaign.rollout {
            campaign.is_stepping = true;
            self.actions.push(Action::ChangeRollout { campaign: index, change: RolloutChange::Sent(reached.share) });
        }
    }

    /// Begins the step that the control plane says is due, unless it has begun.
    pub(super) fn step_if_due(&mut self, index: CampaignIx) {
        let Some(campaign) = self.campaigns.get_mut(&index) else { return };
        let (Some(next), Some(reached)) = (&campaign.intent.rollout.next, &campaign.rollout) else { return };
        if campaign.phase == Phase::Opening || campaign.is_stepping || reached.share != next.from || campaign.retired {
            return;
        }
        campaign.is_stepping = true;
        self.actions.push(Action::ChangeRollout { campaign: index, change: RolloutChange::Next(next.clone()) });
    }

    /// The ledger has changed the rollout, or has left it as it was: `reached` is where it is.
    pub fn rollout_changed(&mut self, index: CampaignIx, reached: Option<Reached>) {
        let Some(campaign) = self.campaigns.get_mut(&index) else { return };
        campaign.is_stepping = false;
        let has_grown =
            campaign.sample().is_some_and(|sample| Some(sample) != reached.as_ref().map(|to| Sample::new(campaign.seed, to.share)));
        campaign.rollout = reached;
        if has_grown {
            // The audience is read again: those who are new to the sample are met there.
            self.unfeed(index);
            self.feed(index);
        }
    }

    /// The ledger could not be asked: the same again.
    pub fn rollout_not_changed(&mut self, index: CampaignIx) {
        if let Some(campaign) = self.campaigns.get_mut(&index) {
            campaign.is_stepping = false;
        }
        self.step_if_due(index);
    }

    /// Opens a run again that has mailed nobody and got steps since it was opened; returns whether it does.
    pub(super) fn begins_rollout(&mut self, index: CampaignIx) -> bool {
        let Some(campaign) = self.campaigns.get_mut(&index) else { return false };
        let is_wanted = campaign.intent.rollout.first.is_some() && campaign.rollout.is_none();
        if !is_wanted || !campaign.is_untouched() || !matches!(campaign.phase, Phase::Resting | Phase::Feeding) || campaign.is_resuming {
            return false;
        }
        self.unfeed(index);
        if let Some(campaign) = self.campaigns.get_mut(&index) {
            campaign.phase = Phase::Opening;
            self.actions.push(Action::Open(index));
        }
        true
    }
}
