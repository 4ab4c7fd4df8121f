//! Messages for receiving domains without room: how many of them wait in memory, and how nobody waits behind them.
//!
//! A server's limit for a receiver may let through a few messages an hour of a list that has a million. So of each receiver without
//! room only a few wait; the feeder passes over its other people, and the audience is read again for them when there is room. What is
//! passed over is not in the ledger, and so it is met again. After the first reading only such people are left, and nobody else is
//! looked for: an audience is read about once for each receiver that it has too many of, and not once for each message.
//! Deferred messages are in the ledger: those for which there is no room go back there until it is their turn.

use std::{collections::BTreeSet, sync::Arc};

use super::{Disposition, Phase, ReadyMessage, Scheduler, Settled, Weighting};
use crate::{
    dispatch::{
        index::{CampaignIx, LaneIx},
        lane::Lane,
        receivers::{Receiver, Receivers},
    },
    routing::Routing,
};

/// A deferred message for a receiver without room is looked at again after this time at the latest, milliseconds: there may be other
/// servers by then.
const LOOK_AGAIN_MAX_MS: f64 = 86_400_000.0;
/// A receiver whose window reopens within this time is not made room for, milliseconds.
const SOON_MS: i64 = 1_000;

/// What the servers of a campaign have room for.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Messages beside those that wait for a server.
    messages: u64,
    /// Until when longer windows keep it shut, milliseconds; `None` if they do not.
    pub until_ms: Option<i64>,
    /// The average time between two messages, milliseconds; 0 without a limit.
    pub gap_ms: f64,
}

impl Scheduler {
    /// Learns which domains servers limit, and tells anew what the waiting messages count towards.
    pub(super) fn apply_receivers(&mut self, routing: &Routing) {
        let receivers = Receivers::new(routing.servers.values().flat_map(|server| &*server.per_domain));
        if receivers == *self.receivers {
            return;
        }
        self.receivers = Arc::new(receivers);
        for campaign in self.campaigns.values_mut() {
            campaign.backlog.forget_receivers();
        }
        let (receivers, campaigns) = (&self.receivers, &mut self.campaigns);
        let turns = self.lanes.values_mut().map(|lane| &mut lane.turns).chain([&mut self.unplaced]);
        for (index, message) in turns.flat_map(super::Turns::messages_mut) {
            message.receiver = receivers.of(&message.recipient);
            if let Some(campaign) = campaigns.get_mut(&index) {
                campaign.backlog.add(message);
            }
        }
    }

    /// Looks at the limits for receiving domains, if there are any.
    pub(super) fn look_for_domains(&mut self, now_ms: i64) {
        if self.receivers.is_empty() {
            return;
        }
        self.rooms.clear();
        self.lanes.values_mut().filter(|lane| lane.domains.is_some()).for_each(|lane| lane.look_at_limits(now_ms));
    }

    /// What the servers of a campaign have room for.
    pub(in crate::dispatch) fn room_for(&mut self, index: CampaignIx, receiver: &Receiver, now_ms: i64) -> Option<Room> {
        let campaign = self.campaigns.get(&index)?;
        let is_strict = campaign.intent.weighting == Weighting::Strict;
        let key = (campaign.eligible.set_hash(), is_strict, receiver.clone());
        if let Some(known) = self.rooms.get(&key) {
            return Some(*known);
        }
        let (mut sum, mut least, mut until, mut shut, mut all) = (0_u64, u64::MAX, None::<i64>, 0, 0);
        let (mut per_ms, mut longest, mut is_free) = (0.0, 0.0_f64, false);
        for (lane, _) in campaign.eligible.servers() {
            let Some(lane) = self.lanes.get_mut(&lane.id) else { continue };
            let room = lane.domain_room(receiver);
            (sum, least, all) = (sum.saturating_add(room), least.min(room), all + 1);
            let Some(domains) = &mut lane.domains else {
                is_free = true;
                continue;
            };
            if let Some(at) = domains.exhausted_until(receiver, now_ms) {
                until = Some(until.map_or(at, |until| until.min(at)));
                shut += 1;
            }
            match domains.gap_ms(receiver) {
                Some(gap) => {
                    per_ms += 1.0 / gap;
                    longest = longest.max(gap);
                }
                None => is_free = true,
            }
        }
        let gap_ms = match (is_strict, is_free) {
            (true, _) => longest,
            (false, false) if per_ms > 0.0 => 1.0 / per_ms,
            _ => 0.0,
        };
        let until_ms = until.filter(|_| is_strict || shut == all);
        let room = Room { messages: if is_strict { least } else { sum }, until_ms, gap_ms };
        self.rooms.insert(key, room);
        Some(room)
    }

    /// The rendered messages that may wait; the others are put aside.
    pub(super) fn without_crowd(
        &mut self,
        index: CampaignIx,
        messages: Vec<ReadyMessage>,
        are_due: bool,
        now_ms: i64,
    ) -> Vec<ReadyMessage> {
        if self.receivers.is_empty() {
            return messages;
        }
        let mut kept = Vec::with_capacity(messages.len());
        for message in messages {
            // A claim of an earlier process that is sent again is no new one.
            let may_go = message.seq.is_none() || are_due;
            match message.receiver.clone().filter(|receiver| may_go && self.is_crowded(index, receiver, now_ms)) {
                Some(receiver) => self.put_aside(index, message, &receiver, now_ms),
                None => kept.push(message),
            }
        }
        kept
    }

    /// Whether more messages for a receiver wait than should.
    fn is_crowded(&mut self, index: CampaignIx, receiver: &Receiver, now_ms: i64) -> bool {
        let Some(room) = self.room_for(index, receiver, now_ms) else { return false };
        self.campaigns
            .get(&index)
            .is_some_and(|campaign| campaign.backlog.of(receiver) as u64 > room.messages.saturating_add(campaign.backlog.quota() as u64))
    }

    /// A message waits elsewhere than in memory: in the audience, or in the ledger.
    fn put_aside(&mut self, index: CampaignIx, message: ReadyMessage, receiver: &Receiver, now_ms: i64) {
        let room = self.room_for(index, receiver, now_ms);
        let Some(campaign) = self.campaigns.get_mut(&index) else { return };
        campaign.backlog.remove(&message);
        if message.seq.is_none() {
            campaign.backlog.leave(receiver);
            return;
        }
        // One after the other, as fast as the windows will let them through.
        let opens_ms = room.and_then(|room| room.until_ms).unwrap_or(now_ms).max(now_ms);
        #[allow(clippy::cast_possible_truncation)]
        let gap_ms = room.map_or(0.0, |room| room.gap_ms).clamp(1.0, LOOK_AGAIN_MAX_MS).ceil() as i64;
        #[allow(clippy::cast_possible_truncation)]
        let at_ms = campaign.backlog.slot(receiver, opens_ms, gap_ms, now_ms + LOOK_AGAIN_MAX_MS as i64);
        campaign.tally.unsettled += 1;
        let refusals = message.refusals.to_json();
        let ended = Settled {
            campaign: index,
            seq: message.seq,
            recipient: message.recipient,
            lane: None,
            is_of_claim: false,
            disposition: Disposition::Returned { at_ms, fields: message.fields, refusals },
            reply: None,
            suppresses: false,
        };
        self.note_ended(ended, now_ms);
    }

    /// Learns of whom enough wait, and puts aside those that keep everybody else out of memory.
    pub(super) fn look_at_crowd(&mut self, index: CampaignIx, now_ms: i64) {
        let Some(campaign) = self.campaigns.get(&index) else { return };
        let receivers = campaign.backlog.receivers();
        if receivers.is_empty() {
            return;
        }
        let mut only_room = 0_u64;
        let is_full = campaign.backlog.is_half_full();
        for receiver in receivers {
            let Some(room) = self.room_for(index, &receiver, now_ms) else { continue };
            let Some(campaign) = self.campaigns.get_mut(&index) else { return };
            let backlog = &mut campaign.backlog;
            let waiting = backlog.of(&receiver);
            let most = room.messages.saturating_add(backlog.quota() as u64);
            if waiting as u64 >= most {
                backlog.pass(&receiver, true);
            } else if (waiting as u64).saturating_mul(2) <= most {
                // Not for each single place: half of them first.
                backlog.pass(&receiver, false);
            }
            if !backlog.passes(&receiver) && backlog.only.as_ref().is_some_and(|only| only.contains(&receiver)) {
                only_room = only_room.saturating_add(most.saturating_sub(waiting as u64));
            }
            let is_shut = room.until_ms.is_some_and(|until| until > now_ms + SOON_MS);
            if is_full && is_shut && waiting > backlog.quota() {
                let excess = waiting - backlog.quota();
                self.make_room(index, &receiver, excess, now_ms);
            }
        }
        if let Some(campaign) = self.campaigns.get_mut(&index) {
            let requested = campaign.feeder.requested as u64;
            let room = if campaign.backlog.only.is_some() { only_room.saturating_sub(requested) } else { u64::MAX };
            campaign.backlog.only_room = usize::try_from(room).unwrap_or(usize::MAX);
        }
    }

    /// Puts aside messages that came while there was room, and find none any more.
    fn make_room(&mut self, index: CampaignIx, receiver: &Receiver, excess: usize, now_ms: i64) {
        let is_one = |campaign: CampaignIx, message: &ReadyMessage| {
            campaign == index && message.receiver.as_ref() == Some(receiver) && (message.seq.is_none() || message.since_ms.is_some())
        };
        let mut taken = self.unplaced.take_last(excess, is_one);
        for lane in self.lanes.values_mut().filter(|lane| lane.domain_room(receiver) == 0) {
            taken.extend(lane.turns.take_last(excess - taken.len(), is_one));
        }
        for (_, message) in taken {
            self.put_aside(index, message, receiver, now_ms);
        }
    }

    /// The feeder passed over people of these receivers.
    pub fn passed_over(&mut self, index: CampaignIx, receivers: BTreeSet<Receiver>) {
        if let Some(campaign) = self.campaigns.get_mut(&index) {
            campaign.backlog.passed_over.extend(receivers);
        }
    }

    /// Whether the audience is to be read again: it was read to its end, and somebody who was passed over may wait now.
    pub(super) fn reads_again(&mut self, index: CampaignIx) -> bool {
        #[cfg(test)]
        if self.mutant == Some(super::Mutant::PassedOverAreForgotten)
            && let Some(campaign) = self.campaigns.get_mut(&index)
        {
            campaign.backlog.passed_over.clear();
        }
        self.campaigns.get(&index).is_some_and(|campaign| {
            campaign.phase == Phase::Feeding
                && campaign.audience.is_read
                && campaign.feeder.owes_nothing()
                && !campaign.eligible.is_empty()
                && campaign.backlog.wants_passed_over()
        })
    }

    /// Reads the audience again, for those who were passed over. Rendered messages that wait are among them.
    pub(super) fn read_again(&mut self, index: CampaignIx) {
        let Some(campaign) = self.campaigns.get(&index) else { return };
        let only = campaign.backlog.only_for_another_reading().filter(|_| campaign.hours.asleep.is_none());
        self.unfeed(index);
        if let Some(campaign) = self.campaigns.get_mut(&index) {
            campaign.backlog.only = only;
        }
        self.feed(index);
    }

    // ── at one server ──

    /// Moves messages for receivers whose longer windows are used up at a server to others, unless shares are strict.
    pub(super) fn move_on_by_domain(&mut self, index: LaneIx, now_ms: i64) {
        let campaigns = &self.campaigns;
        let is_strict = |campaign: CampaignIx| campaigns.get(&campaign).is_some_and(|run| run.intent.weighting == Weighting::Strict);
        let Some(Lane { turns, domains: Some(domains), .. }) = self.lanes.get_mut(&index) else { return };
        let moved =
            turns.take_last(usize::MAX, |campaign, message| domains.is_exhausted(message.receiver.as_ref()) && !is_strict(campaign));
        for (campaign, message) in moved.into_iter().rev() {
            self.place(campaign, message, now_ms);
        }
    }

    /// If every message that waits for a server is for a receiver without room there, it is not asked again before one has room.
    pub(super) fn rest_for_domains(&mut self, index: LaneIx) {
        let Some(Lane { turns, domains: Some(domains), .. }) = self.lanes.get_mut(&index) else { return };
        let again = turns.messages().map(|message| domains.again_ms(message.receiver.as_ref()));
        let until = again.collect::<Option<Vec<i64>>>().and_then(|again| again.into_iter().min());
        domains.waits_until_ms = until.unwrap_or(0);
    }
}
