//! Sending hours: nothing is claimed outside of them.
//!
//! Where they hold for the whole campaign, it rests until they begin. Where each recipient has a zone of their own, the feeder passes
//! over those for whom it is not the time; they are not in the ledger, and are met when the audience is read again, as soon as the
//! hours of some of them begin. So an audience is read once for each time at which hours begin somewhere, and whatever its size,
//! nobody is kept in memory.

use super::{CampaignRun, Disposition, Phase, ReadyMessage, Scheduler, Settled};
use crate::dispatch::{
    index::CampaignIx,
    stages::{Asleep, Later},
};

impl CampaignRun {
    /// When its hours require something, milliseconds.
    pub(in crate::dispatch) fn hours_wake_ms(&self) -> i64 {
        self.hours.wake_ms().min(if self.phase == Phase::Feeding { self.backlog.closes_ms } else { i64::MAX })
    }
}

impl Scheduler {
    /// The hours of a campaign may be others than before.
    pub(super) fn renew_hours(&mut self, index: CampaignIx, now_ms: i64) {
        if let Some(campaign) = self.campaigns.get_mut(&index) {
            campaign.hours.renew(campaign.intent.hours.as_deref(), now_ms);
        }
    }

    /// Lets campaigns rest outside their hours and go on within them.
    pub(super) fn keep_hours(&mut self, now_ms: i64) {
        let with_hours = |(index, campaign): (&CampaignIx, &CampaignRun)| campaign.intent.hours.is_some().then_some(*index);
        let indices: Vec<CampaignIx> = self.campaigns.iter().filter_map(with_hours).collect();
        for index in indices {
            let Some(campaign) = self.campaigns.get_mut(&index) else { continue };
            campaign.hours.look(campaign.intent.hours.as_deref(), now_ms);
            if campaign.hours.is_shut {
                self.unfeed(index);
                continue;
            }
            if campaign.phase == Phase::Feeding && campaign.backlog.closes_ms <= now_ms {
                self.put_closed_aside(index, now_ms);
            }
            let Some(campaign) = self.campaigns.get(&index) else { continue };
            if campaign.hours.has_woken(now_ms) {
                self.unfeed(index);
            }
            self.feed(index);
        }
    }

    /// Takes messages out of memory whose recipients' hours have ended.
    fn put_closed_aside(&mut self, index: CampaignIx, now_ms: i64) {
        #[cfg(test)]
        if self.mutant == Some(super::Mutant::HoursAreJudgedAtReading) {
            return;
        }
        let is_closed = |campaign: CampaignIx, message: &ReadyMessage| {
            campaign == index && message.window.as_ref().is_some_and(|window| window.closes_ms <= now_ms)
        };
        let mut taken = Vec::new();
        let mut closes_ms = i64::MAX;
        for turns in self.lanes.values_mut().map(|lane| &mut lane.turns).chain([&mut self.unplaced]) {
            taken.extend(turns.take_last(usize::MAX, is_closed));
            let left = turns.messages_mut().filter(|(campaign, _)| *campaign == index);
            closes_ms = left.filter_map(|(_, message)| message.window.as_ref()).map(|window| window.closes_ms).fold(closes_ms, i64::min);
        }
        if let Some(campaign) = self.campaigns.get_mut(&index) {
            campaign.backlog.closes_ms = closes_ms;
        }
        for (_, message) in taken {
            self.put_to_sleep(index, message, now_ms);
        }
    }

    /// A message waits elsewhere than in memory until the hours of its recipient begin: in the ledger if it was deferred, and otherwise
    /// in the audience.
    fn put_to_sleep(&mut self, index: CampaignIx, message: ReadyMessage, now_ms: i64) {
        let Some(campaign) = self.campaigns.get_mut(&index) else { return };
        campaign.backlog.remove(&message);
        let Some(window) = message.window else { return };
        match message.seq.filter(|_| message.since_ms.is_some()) {
            Some(seq) => {
                let (recipient, fields) = (message.recipient, message.fields);
                self.later(index, Later { seq, recipient, fields, refusals: message.refusals.to_json(), at_ms: window.opens_ms }, now_ms);
            }
            None => campaign.hours.note_asleep(Asleep::new(window.opens_ms, window.zone)),
        }
    }

    /// The feeder passed over people for whom it is not the time.
    pub fn passed_asleep(&mut self, index: CampaignIx, asleep: Asleep) {
        if let Some(campaign) = self.campaigns.get_mut(&index) {
            campaign.hours.note_asleep(asleep);
        }
    }

    /// A deferred message was due while it was not the time for its recipient: it goes back to the ledger until it is.
    pub fn later(&mut self, index: CampaignIx, later: Later, now_ms: i64) {
        let Some(campaign) = self.campaigns.get_mut(&index) else { return };
        campaign.tally.unsettled += 1;
        let Later { seq, recipient, fields, refusals, at_ms } = later;
        let ended = Settled {
            campaign: index,
            seq: Some(seq),
            recipient,
            lane: None,
            is_of_claim: false,
            disposition: Disposition::Returned { at_ms, fields, refusals },
            reply: None,
            suppresses: false,
        };
        self.note_ended(ended, now_ms);
    }
}
