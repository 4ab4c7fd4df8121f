//! Applies what the control plane wants: servers and campaigns come, change and go, and determine which servers may be picked.

use std::{collections::BTreeSet, sync::Arc};

use super::{Action, Scheduler};
use crate::dispatch::index::{CampaignIx, LaneIx};
use crate::{
    dispatch::{campaign::CampaignRun, domains::DomainLimits, lane::Lane, limits::Limiter, route::EligibleSet, stages::ReadyMessage},
    report::Phase,
    resources::Key,
    routing::{CampaignIntent, Routing, ServerIntent},
};

impl Scheduler {
    /// Adopts a new routing table. `past` returns what was sent in each minute, by the key of a limit.
    pub fn apply(&mut self, routing: &Routing, now_ms: i64, past: impl Fn(&str) -> Vec<(i64, u64)>) {
        self.apply_receivers(routing);
        for (key, intent) in &routing.servers {
            self.apply_server(key, intent, now_ms, &past);
        }
        self.gone.clear();
        for (index, lane) in self.lanes.iter_mut().filter(|(_, lane)| !routing.servers.contains_key(&lane.key)) {
            lane.routed = false;
            self.gone.push(*index);
        }
        let retired: Vec<Key> = self.campaign_index.keys().filter(|key| !routing.campaigns.contains_key(*key)).cloned().collect();
        for key in retired {
            self.retire(&key);
        }
        for (key, intent) in &routing.campaigns {
            #[cfg(test)]
            let overflowing = Arc::new(CampaignIntent { weighting: crate::resources::campaign::Weighting::Overflow, ..(**intent).clone() });
            #[cfg(test)]
            let intent = if self.mutant == Some(super::Mutant::OverflowIgnoresStrict) { &overflowing } else { intent };
            self.apply_campaign(key, intent, now_ms, &past);
        }
        self.settle_lanes(now_ms);
        self.forget_gone_lanes();
        self.forget_limiters(routing);
    }

    fn apply_server(&mut self, key: &Key, intent: &ServerIntent, now_ms: i64, past: &impl Fn(&str) -> Vec<(i64, u64)>) {
        let next = &mut self.next_index;
        let index = *self.lane_index.entry(key.clone()).or_insert_with(|| {
            *next += 1;
            LaneIx::new(*next)
        });
        let lane = self.lanes.entry(index).or_insert_with(|| {
            let mut lane = Lane::new(key, index, now_ms);
            // It may have been deleted and applied again: the control plane knows the failures of its predecessor.
            lane.failures = intent.acknowledged_failures;
            for campaign in self.campaigns.values_mut() {
                let has_accepted = campaign.tally.was_accepted_by(&lane.reference.name);
                campaign.guards.lane_came(&lane.reference, has_accepted);
            }
            lane
        });
        let name = lane.reference.name.clone();
        let changed = lane.rates.as_ref() != Some(&intent.rates);
        lane.connections.set(intent.connections.map(|count| count as usize));
        lane.in_flight_max = intent.in_flight_max.map_or(usize::MAX, |count| count as usize);
        lane.return_path.clone_from(&intent.return_path);
        lane.names_messages = intent.names_messages;
        lane.provider = intent.provider;
        lane.host.clone_from(&intent.host);
        lane.stall_after_ms = intent.stall_after.as_millis();
        lane.is_on_trial = intent.is_on_trial;
        let was = lane.is_eligible();
        lane.routed = intent.routed;
        lane.acknowledged = intent.acknowledged_failures;
        if !was && lane.is_eligible() {
            lane.readmitted_ms = now_ms;
            lane.last_sign_of_life_ms = now_ms;
        }
        if changed {
            lane.rates = Some(intent.rates.clone());
            lane.limiter = Limiter::renewed(&intent.rates, &past(&name), &lane.limiter, now_ms);
        }
        let domains = (&*name, &intent.per_domain);
        lane.domains = DomainLimits::renewed(lane.domains.take(), domains, &self.receivers, now_ms, past);
        lane.limiter.set_warmup(intent.warmup_today);
        lane.not_before_ms = 0;
    }

    fn apply_campaign(&mut self, key: &Key, intent: &Arc<CampaignIntent>, now_ms: i64, past: &impl Fn(&str) -> Vec<(i64, u64)>) {
        for limits in intent.shared_limits() {
            if self.shared_limiters.get(&limits.key).is_none_or(|known| !known.is_of(&limits.rates)) {
                let before = self.shared_limiters.remove(&limits.key).unwrap_or_default();
                let renewed = Limiter::renewed(&limits.rates, &past(&limits.key), &before, now_ms);
                self.shared_limiters.insert(limits.key.clone(), renewed);
            }
        }
        if let Some(&index) = self.campaign_index.get(key)
            && let Some(campaign) = self.campaigns.get_mut(&index)
        {
            if campaign.intent.work.run == intent.work.run {
                let changed = campaign.intent.work.work_hash != intent.work.work_hash;
                // Messages that are rendered already were checked against the previous grants.
                let has_other_senders = campaign.intent.senders != intent.senders;
                // And against the previous hours.
                let has_other_hours = campaign.intent.hours != intent.hours;
                campaign.intent = intent.clone();
                if has_other_hours {
                    self.renew_hours(index, now_ms);
                }
                let Some(campaign) = self.campaigns.get_mut(&index) else { return };
                if changed {
                    campaign.blocked.clear();
                    campaign.blocked.audience_read();
                    campaign.forget_senders();
                    if campaign.phase == Phase::Closed && intent.work.reopen > campaign.record.reopen {
                        campaign.phase = Phase::Opening;
                        campaign.record.completed_ms = None;
                        self.actions.push(Action::Open(index));
                        return;
                    }
                    if campaign.phase == Phase::Closed {
                        self.actions.push(Action::CountAdded(index));
                    }
                }
                if (changed || has_other_senders || has_other_hours || intent.hold) && campaign.phase == Phase::Feeding {
                    self.unfeed(index);
                }
                if changed {
                    self.resume_after_edit(index);
                }
                if self.begins_rollout(index) {
                    return;
                }
                self.resume_if_asked(index);
                self.step_if_due(index);
                self.feed(index);
                return;
            }
            self.retire(key);
        }
        self.next_index += 1;
        let index = CampaignIx::new(self.next_index);
        self.campaigns.insert(index, CampaignRun::new(key, intent.clone(), self.ledger_seed));
        self.campaign_index.insert(key.clone(), index);
        self.actions.push(Action::Open(index));
    }

    fn retire(&mut self, key: &Key) {
        if let Some(index) = self.campaign_index.remove(key) {
            self.unfeed(index);
            if let Some(campaign) = self.campaigns.get_mut(&index) {
                campaign.is_retired = true;
            }
            self.forget_retired(index);
        }
    }

    /// Removes a retired campaign once everything of it is durable; its feeder was stopped before.
    pub(super) fn forget_retired(&mut self, index: CampaignIx) {
        if self.campaigns.get(&index).is_some_and(|campaign| campaign.is_retired && campaign.tally.unsettled == 0) {
            self.campaigns.remove(&index);
            self.reroutes.forget(index);
            self.forget_feeder(index);
            self.pending_bars.retain(|bar| bar.campaign != index);
            self.actions.push(Action::Forget(index));
        }
    }

    /// Removes the servers that the control plane no longer has and of which nothing is under way. What became of their messages is
    /// written for them, so each stays until that is durable.
    pub(super) fn forget_gone_lanes(&mut self) {
        if self.gone.is_empty() || self.is_committing {
            return;
        }
        let (over, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.gone).into_iter().partition(|index| self.is_over_at(*index));
        self.gone = gone;
        for index in over {
            let Some(lane) = self.lanes.remove(&index) else { continue };
            self.lane_index.remove(&lane.key);
            for campaign in self.campaigns.values_mut() {
                campaign.lane_went(index, &lane.key);
            }
            self.actions.push(Action::ForgetServer(index));
        }
    }

    /// Whether nothing waits for the server, is in flight there, or waits to be written of it.
    fn is_over_at(&self, index: LaneIx) -> bool {
        self.lanes.get(&index).is_none_or(|lane| lane.calls.is_empty() && lane.in_flight == 0 && lane.turns.is_empty())
            && !self.pending.iter().any(|ended| ended.lane == Some(index))
            && !self.pending_bars.iter().any(|bar| bar.lane == index)
            && !self.pending_usage.iter().any(|moved| moved.lane == index)
    }

    /// Drops the limiters of plans and campaigns that nobody uses any more.
    fn forget_limiters(&mut self, routing: &Routing) {
        let used: BTreeSet<&Arc<str>> =
            routing.campaigns.values().flat_map(|intent| intent.shared_limits()).map(|limits| &limits.key).collect();
        self.shared_limiters.retain(|key, _| used.contains(key));
    }

    /// A lane changed: if it may not be picked any more, servers are picked again for its queue.
    pub(super) fn settle_lane(&mut self, index: LaneIx, now_ms: i64) {
        self.fit_campaigns(now_ms);
        let moved = match self.lanes.get_mut(&index) {
            Some(lane) if !lane.is_eligible() => lane.turns.drain(None),
            _ => return,
        };
        for (campaign, message) in moved {
            self.place(campaign, message, now_ms);
        }
    }

    pub(super) fn settle_lanes(&mut self, now_ms: i64) {
        self.fit_campaigns(now_ms);
        let mut moved: Vec<(CampaignIx, ReadyMessage)> = Vec::new();
        let campaigns = &self.campaigns;
        for (index, lane) in &mut self.lanes {
            if lane.turns.is_empty() {
                continue;
            }
            if !lane.is_eligible() {
                moved.extend(lane.turns.drain(None));
                continue;
            }
            // A campaign may have lost the right to a server that others still use.
            let keeps = |campaign: &CampaignRun| campaign.eligible.servers().iter().any(|(lane, _)| lane.id == *index);
            let lost: Vec<CampaignIx> =
                lane.turns.campaigns().filter(|campaign| campaigns.get(campaign).is_some_and(|c| !keeps(c))).collect();
            for campaign in lost {
                moved.extend(lane.turns.drain(Some(campaign)));
            }
        }
        for (campaign, message) in moved {
            self.place(campaign, message, now_ms);
        }
    }

    pub(super) fn fit_campaigns(&mut self, now_ms: i64) {
        for lane in self.lanes.values_mut() {
            lane.users = 0;
        }
        for campaign in self.campaigns.values().filter(|campaign| !campaign.is_retired && !campaign.intent.hold) {
            for index in campaign.intent.servers.iter().filter_map(|(key, _)| self.lane_index.get(key)) {
                if let Some(lane) = self.lanes.get_mut(index) {
                    lane.users += 1;
                }
            }
        }
        self.with_headroom.clear();
        self.alike.clear();
        let indices: Vec<CampaignIx> = self.campaigns.keys().copied().collect();
        for index in indices {
            self.fit_campaign(index, now_ms);
        }
        self.look_at_limits(now_ms);
        self.place_waiting(now_ms);
    }

    /// Determines the servers that one campaign may use now.
    pub(super) fn fit_campaign(&mut self, index: CampaignIx, now_ms: i64) {
        let Some(campaign) = self.campaigns.get_mut(&index).filter(|campaign| !campaign.is_retired && !campaign.intent.hold) else {
            return;
        };
        let (lanes, lane_index, guards, servers) = (&self.lanes, &self.lane_index, &campaign.guards, &campaign.intent.servers);
        let fitting = || {
            let eligible = servers.iter().filter_map(|(key, weight)| {
                let index = lane_index.get(key)?;
                let lane = lanes.get(index)?;
                (lane.is_eligible() && guards.is_open_at(*index, now_ms)).then(|| (lane.reference.clone(), *weight))
            });
            EligibleSet::new(eligible)
        };
        campaign.eligible = if guards.are_open(now_ms) {
            self.alike.entry(servers.as_ptr().addr()).or_insert_with(|| (servers.clone(), fitting())).1.clone()
        } else {
            fitting()
        };
    }
}
