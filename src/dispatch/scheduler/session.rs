//! The order of actions: what is done when, and what waits for what. The task that carries them out only reports back.

use super::{Action, LEDGER_RETRY_MS, Phase, Scheduler};
use crate::dispatch::index::CampaignIx;

impl Scheduler {
    /// Returns what is to be done now, in this order.
    pub fn step(&mut self, now_ms: i64) -> Vec<Action> {
        self.has_more_to_do = false;
        self.tick(now_ms);
        // Before the next commit: under load there always is one, and another campaign would never start.
        self.start_feeders();
        if !self.is_committing && self.commit_again_ms.is_none_or(|at| at <= now_ms) {
            if let Some(planned) = self.plan(now_ms) {
                self.is_committing = true;
                self.actions.push(Action::Commit(planned));
            } else if self.unsettled() == 0 {
                // What could not be written is no longer needed: nothing is held against the ledger.
                self.commit_again_ms = None;
            }
        }
        std::mem::take(&mut self.actions)
    }

    /// A feeder reads the run's recipients from the ledger, so it starts only while no commit is in progress, and after everything
    /// that was leased to its predecessor has been returned. A recipient whose template failed and who is not in the ledger yet
    /// would be taken for a new one, and a message that goes back to the ledger would be fetched from it once more.
    fn start_feeders(&mut self) {
        if !self.may_feed() {
            return;
        }
        for index in std::mem::take(&mut self.feeds) {
            if self.campaign(index).is_none_or(|campaign| campaign.phase != Phase::Feeding) {
                continue;
            }
            if self.pending.iter().any(|ended| ended.campaign == index && (ended.seq.is_none() || !ended.is_of_claim)) {
                self.feeds.push(index);
            } else {
                self.actions.push(Action::StartFeeder(index));
            }
        }
    }

    /// Starts a feeder for the campaign as soon as one may start.
    pub(super) fn want_feeder(&mut self, index: CampaignIx) {
        if !self.feeds.contains(&index) {
            self.feeds.push(index);
        }
    }

    /// What was leased from the ledger, or fetched too late, has been returned.
    pub fn released(&mut self) {
        self.releasing = self.releasing.saturating_sub(1);
        #[cfg(test)]
        if self.mutant == Some(super::Mutant::LeaseGivenBackTwice) {
            self.releasing = self.releasing.saturating_sub(1);
        }
    }

    /// The last commit failed, and none has succeeded since.
    #[must_use]
    pub fn is_ledger_failing(&self) -> bool {
        self.commit_again_ms.is_some()
    }

    /// Whether it was stopped, and nothing is outstanding any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.stopping && self.unsettled() == 0 && !self.is_committing
    }

    /// Whether a feeder waits only for the next step, and not for another event.
    pub(super) fn may_feed(&self) -> bool {
        !self.feeds.is_empty() && !self.is_committing && self.releasing == 0
    }

    pub(super) fn commit_ended(&mut self, is_durable: bool, now_ms: i64) {
        self.is_committing = false;
        self.commit_again_ms = (!is_durable).then_some(now_ms + LEDGER_RETRY_MS);
    }

    pub(super) fn forget_feeder(&mut self, index: CampaignIx) {
        self.feeds.retain(|waiting| *waiting != index);
    }
}
