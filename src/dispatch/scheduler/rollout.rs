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
        let reached = self.record.rollout.as_ref().filter(|reached| !reached.is_all())?;
        Some(Sample::new(self.seed, reached.share))
    }

    /// Whether everybody of the step was tried once: what is left of it waits for another attempt.
    fn is_step_sent(&self) -> bool {
        self.record.is_within_step()
            && self.phase == Phase::Feeding
            && self.audience.outside > 0
            && self.has_met_everybody()
            && self.guards.held.is_empty()
            && self.has_nothing_under_way()
            && !self.feeder.is_seeking
    }

    /// Whether nobody of it can have been claimed.
    fn is_untouched(&self) -> bool {
        !self.record.has_sent && self.tally.is_untouched()
    }
}

impl Scheduler {
    /// Notes in the ledger that the step was sent, once it was.
    pub(super) fn note_step(&mut self, index: CampaignIx) {
        let Some(campaign) = self.campaigns.get_mut(&index).filter(|campaign| campaign.is_step_sent() && !campaign.record.is_stepping)
        else {
            return;
        };
        if let Some(reached) = &campaign.record.rollout {
            campaign.record.is_stepping = true;
            self.actions.push(Action::ChangeRollout { campaign: index, change: RolloutChange::Sent(reached.share) });
        }
    }

    /// Begins the step that the control plane says is due, unless it has begun.
    pub(super) fn step_if_due(&mut self, index: CampaignIx) {
        let Some(campaign) = self.campaigns.get_mut(&index) else { return };
        let (Some(next), Some(reached)) = (&campaign.intent.rollout.next, &campaign.record.rollout) else { return };
        if campaign.phase == Phase::Opening || campaign.record.is_stepping || reached.share != next.from || campaign.is_retired {
            return;
        }
        campaign.record.is_stepping = true;
        self.actions.push(Action::ChangeRollout { campaign: index, change: RolloutChange::Next(next.clone()) });
    }

    /// The ledger has changed the rollout, or has left it as it was: `reached` is where it is.
    pub fn rollout_changed(&mut self, index: CampaignIx, reached: Option<Reached>) {
        let Some(campaign) = self.campaigns.get_mut(&index) else { return };
        campaign.record.is_stepping = false;
        let has_grown =
            campaign.sample().is_some_and(|sample| Some(sample) != reached.as_ref().map(|to| Sample::new(campaign.seed, to.share)));
        campaign.record.rollout = reached;
        if has_grown {
            // The audience is read again: those who are new to the sample are met there.
            self.unfeed(index);
            self.feed(index);
        }
    }

    /// The ledger could not be asked: the same again.
    pub fn rollout_not_changed(&mut self, index: CampaignIx) {
        if let Some(campaign) = self.campaigns.get_mut(&index) {
            campaign.record.is_stepping = false;
        }
        self.step_if_due(index);
    }

    /// Opens a run again that has mailed nobody and got steps since it was opened; returns whether it does.
    pub(super) fn begins_rollout(&mut self, index: CampaignIx) -> bool {
        let Some(campaign) = self.campaigns.get_mut(&index) else { return false };
        let is_wanted = campaign.intent.rollout.first.is_some() && campaign.record.rollout.is_none();
        if !is_wanted
            || !campaign.is_untouched()
            || !matches!(campaign.phase, Phase::Resting | Phase::Feeding)
            || campaign.record.is_resuming
        {
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
