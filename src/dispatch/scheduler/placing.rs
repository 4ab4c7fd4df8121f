//! Picks the server that a message waits for among those with room in their limits, and again when that changes.

use std::collections::BTreeSet;

use super::{CampaignRun, Disposition, LaneRef, Pick, ReadyMessage, Scheduler, Settled, Weighting};
use crate::dispatch::{index::CampaignIx, receivers::Receiver};

impl Scheduler {
    /// Whether a message that was first claimed at `since_ms` must be given up at this time (RFC 5321, section 4.5.4.1).
    pub(super) fn is_overdue(&self, index: CampaignIx, since_ms: i64, at_ms: i64) -> bool {
        self.campaign(index).is_some_and(|campaign| at_ms - since_ms > campaign.intent.work.retry.deadline.as_millis())
    }

    /// Puts a message into the queue of a server.
    pub(super) fn place(&mut self, index: CampaignIx, message: ReadyMessage, now_ms: i64) {
        if message.seq.is_some() && message.since_ms.is_some_and(|since| self.is_overdue(index, since, now_ms)) {
            return self.expire(index, message, now_ms);
        }
        let Some(campaign) = self.campaigns.get_mut(&index) else { return };
        if let Some(lane) = campaign.lane_on_trial(&message) {
            let namespace = campaign.namespace.clone();
            if let Some(lane) = self.lanes.get_mut(&lane).filter(|lane| lane.is_eligible()) {
                lane.turns.push_front(&namespace, index, message);
                return;
            }
        }
        let lanes = &self.lanes;
        let receiver = message.receiver.as_ref();
        match campaign.pick(&message, &mut self.with_headroom, |lane| lanes.get(&lane).is_some_and(|lane| lane.has_room_for(receiver))) {
            Pick::Server(lane) => {
                if let Some(lane) = self.lanes.get_mut(&lane) {
                    lane.placed(receiver);
                    lane.turns.push(&campaign.namespace, index, message);
                }
            }
            Pick::Waits => self.unplaced.push(&campaign.namespace, index, message),
            Pick::Nobody => self.put_back(index, message, now_ms),
        }
    }

    pub(super) fn look_at_limits(&mut self, now_ms: i64) {
        self.lanes.values_mut().for_each(|lane| lane.look_at_limits(now_ms));
    }

    /// Places waiting messages where there is room now, round robin by namespace, then by campaign.
    pub(super) fn place_waiting(&mut self, now_ms: i64) {
        if self.unplaced.is_empty() {
            return;
        }
        self.look_at_limits(now_ms);
        // Receivers for whom no server of a list has room: as long as nothing is given back, that stays so.
        let mut shut: BTreeSet<(u64, Receiver)> = BTreeSet::new();
        loop {
            let (lanes, campaigns) = (&self.lanes, &self.campaigns);
            let has_room = |lane: &LaneRef| lanes.get(&lane.id).is_some_and(|lane| lane.headroom > 0);
            let mut has_domain_room = |campaign: &CampaignRun, receiver: &Receiver| {
                let key = (campaign.eligible.set_hash(), receiver.clone());
                if shut.contains(&key) {
                    return false;
                }
                let mut open = campaign.eligible.servers().iter().filter_map(|(lane, _)| lanes.get(&lane.id));
                let is_open = open.any(|lane| lane.has_room_for(Some(receiver)));
                if !is_open {
                    shut.insert(key);
                }
                is_open
            };
            let is_strict = |campaign: &CampaignRun| campaign.intent.weighting == Weighting::Strict;
            let found = self.unplaced.pop(
                |campaign| {
                    campaigns
                        .get(&campaign)
                        .is_some_and(|campaign| campaign.eligible.servers().iter().any(|(lane, _)| is_strict(campaign) || has_room(lane)))
                },
                |campaign, message| {
                    campaigns.get(&campaign).is_some_and(|campaign| {
                        if let Some(receiver) = &message.receiver
                            && !is_strict(campaign)
                            && !has_domain_room(campaign, receiver)
                        {
                            return false;
                        }
                        let open = || campaign.eligible.servers().iter().filter(|(lane, _)| !message.refusals.names(&lane.name));
                        message.refusals.is_empty()
                            || open().next().is_none()
                            || open().any(|(lane, _)| {
                                is_strict(campaign)
                                    || (has_room(lane)
                                        && lanes.get(&lane.id).is_some_and(|lane| lane.has_room_for(message.receiver.as_ref())))
                            })
                    })
                },
            );
            let Some((index, message)) = found else { return };
            self.place(index, message, now_ms);
        }
    }

    /// Gives up a message that no server accepted in time.
    fn expire(&mut self, index: CampaignIx, message: ReadyMessage, now_ms: i64) {
        let Some(campaign) = self.campaigns.get_mut(&index) else { return };
        campaign.backlog.remove(&message);
        campaign.tally.unsettled += 1;
        let (seq, recipient) = (message.seq, message.recipient);
        let ended = Settled {
            campaign: index,
            seq,
            recipient,
            lane: None,
            is_of_claim: false,
            disposition: Disposition::Expired,
            reply: None,
            suppresses: false,
        };
        self.note_ended(ended, now_ms);
    }
}
