//! What the control plane wants: servers and campaigns come, change and go; who may be picked follows from it.

use std::{collections::VecDeque, sync::Arc};

use super::{Action, Scheduler};
use crate::{
    dispatch::{
        Order, RouteServer, Routing,
        campaign::{CampaignRun, Phase},
        lane::{Lane, LaneRef, Turns},
        limits::Limiter,
        prepared::Prepared,
        route,
        window::FlightWindow,
    },
    resources::Key,
};

impl Scheduler {
    /// Takes over a new routing table. `limiter` makes a limiter that remembers the past.
    pub fn apply(&mut self, routing: &Routing, now_ms: i64, mut limiter: impl FnMut(&str, &[crate::resources::Rate]) -> Limiter) {
        for (key, route) in &routing.servers {
            self.apply_server(key, route, now_ms, &mut limiter);
        }
        for index in 0..self.lanes.len() {
            if !routing.servers.contains_key(&self.lane_keys[index]) {
                self.lanes[index].routed = false;
            }
        }
        let gone: Vec<Key> = self.campaign_index.keys().filter(|key| !routing.campaigns.contains_key(*key)).cloned().collect();
        for key in gone {
            self.retire(&key);
        }
        for (key, order) in &routing.campaigns {
            self.apply_order(key, order, &mut limiter);
        }
        self.settle_lanes(now_ms);
    }

    pub(super) fn apply_server(
        &mut self,
        key: &Key,
        route: &RouteServer,
        now_ms: i64,
        limiter: &mut impl FnMut(&str, &[crate::resources::Rate]) -> Limiter,
    ) {
        let index = *self.lane_index.entry(key.clone()).or_insert_with(|| {
            let id = self.lanes.len();
            self.lane_keys.push(key.clone());
            self.lanes.push(Lane {
                lane: LaneRef { name: key.to_string().into(), id },
                turns: Turns::default(),
                window: FlightWindow::default(),
                connections: 1,
                return_path: None,
                routed: false,
                failures: 0,
                acknowledged: 0,
                readmitted_ms: now_ms,
                exhausted_until: None,
                not_before_ms: 0,
                in_flight: 0,
                deliveries: 0,
                last_sign_of_life_ms: now_ms,
                stall_after_ms: 10_000,
                accepted: 0,
                users: 0,
                batch_max: 1,
                fingerprint: 0,
            });
            id
        });
        let name = self.lanes[index].lane.name.clone();
        let known = self.limiters.contains_key(&name);
        let lane = &mut self.lanes[index];
        let changed = lane.fingerprint != route.limits_fingerprint || !known;
        lane.fingerprint = route.limits_fingerprint;
        lane.connections = route.connections as usize;
        lane.return_path.clone_from(&route.return_path);
        lane.stall_after_ms = route.stall_after.as_millis();
        let was = lane.is_eligible();
        lane.routed = route.routed;
        lane.acknowledged = route.acknowledged_failures;
        if !was && lane.is_eligible() {
            lane.readmitted_ms = now_ms;
            lane.last_sign_of_life_ms = now_ms;
        }
        if changed {
            let mut fresh = limiter(&name, &route.rates);
            fresh.set_warmup(route.warmup_today);
            self.limiters.insert(name, fresh);
            self.lanes[index].exhausted_until = None;
            self.lanes[index].not_before_ms = 0;
        } else if let Some(limiter) = self.limiters.get_mut(&name)
            && limiter.set_warmup(route.warmup_today)
        {
            self.lanes[index].exhausted_until = None;
        }
    }

    pub(super) fn apply_order(
        &mut self,
        key: &Key,
        order: &Arc<Order>,
        limiter: &mut impl FnMut(&str, &[crate::resources::Rate]) -> Limiter,
    ) {
        if let Some((name, rates)) = &order.plan_limits
            && self.limiters.get(name).is_none_or(|known| !known.is_of(rates))
        {
            let fresh = limiter(name, rates);
            self.limiters.insert(name.clone(), fresh);
        }
        if let Some(&index) = self.campaign_index.get(key)
            && let Some(campaign) = &mut self.campaigns[index]
        {
            if campaign.order.run == order.run {
                let changed = campaign.order.fingerprint != order.fingerprint;
                campaign.order = order.clone();
                if changed {
                    campaign.trouble = None;
                    campaign.try_again_ms = None;
                    campaign.mail_from.clear();
                    if campaign.phase == Phase::Closed {
                        self.actions.push(Action::CountAdded(index));
                    }
                }
                if (changed || order.hold) && campaign.phase == Phase::Feeding {
                    self.unfeed(index);
                }
                self.feed(index);
                return;
            }
            self.retire(key);
        }
        let index = self.campaigns.len();
        self.campaigns.push(Some(CampaignRun::new(key, order.clone(), self.ledger_seed)));
        self.campaign_index.insert(key.clone(), index);
        self.actions.push(Action::Open(index));
    }

    pub(super) fn retire(&mut self, key: &Key) {
        if let Some(index) = self.campaign_index.remove(key) {
            self.unfeed(index);
            if let Some(campaign) = &mut self.campaigns[index] {
                campaign.retired = true;
            }
            self.forget_retired(index);
        }
    }

    /// A retired campaign goes when everything of it is durable; its feeder was stopped before.
    pub(super) fn forget_retired(&mut self, index: usize) {
        if self.campaigns[index].as_ref().is_some_and(|campaign| campaign.retired && campaign.unsettled == 0) {
            self.campaigns[index] = None;
        }
    }

    /// A lane changed: its queue is picked anew where it may not be picked any more.
    pub(super) fn settle_lane(&mut self, index: usize) {
        self.fit_campaigns();
        if !self.lanes[index].is_eligible() {
            for (campaign, message) in self.lanes[index].turns.drain(None) {
                self.place(campaign, message);
            }
        }
    }

    pub(super) fn settle_lanes(&mut self, _now_ms: i64) {
        self.fit_campaigns();
        for index in 0..self.lanes.len() {
            let moved: Vec<(usize, Prepared)> = if self.lanes[index].is_eligible() {
                // A campaign may have lost the right to a server that others still use.
                let lost: Vec<usize> = (0..self.campaigns.len())
                    .filter(|campaign| {
                        self.campaign(*campaign).is_some_and(|c| !c.eligible.servers().iter().any(|(lane, _)| lane.id == index))
                    })
                    .collect();
                lost.into_iter().flat_map(|campaign| self.lanes[index].turns.drain(Some(campaign))).collect()
            } else {
                self.lanes[index].turns.drain(None)
            };
            for (campaign, message) in moved {
                self.place(campaign, message);
            }
        }
    }

    pub(super) fn fit_campaigns(&mut self) {
        for lane in &mut self.lanes {
            lane.users = 0;
        }
        let mut freed: Vec<(usize, VecDeque<Prepared>)> = Vec::new();
        for (index, campaign) in self.campaigns.iter_mut().enumerate() {
            let Some(campaign) = campaign else { continue };
            if campaign.retired || campaign.order.hold {
                continue;
            }
            let lanes = &mut self.lanes;
            let eligible = campaign.order.servers.iter().filter_map(|(key, weight)| {
                let lane = &mut lanes[*self.lane_index.get(key)?];
                lane.users += 1;
                lane.is_eligible().then(|| (lane.lane.clone(), *weight))
            });
            campaign.eligible = route::EligibleSet::new(eligible);
            if !campaign.eligible.is_empty() && !campaign.unassigned.is_empty() {
                freed.push((index, std::mem::take(&mut campaign.unassigned)));
            }
        }
        for (index, messages) in freed {
            for message in messages {
                self.place(index, message);
            }
        }
    }
}
