//! What those who carry out the scheduler's actions ask of it.

use std::sync::Arc;

use super::Scheduler;
use crate::{
    dispatch::index::{CampaignIx, LaneIx},
    resources::Key,
    routing::SharedLimits,
};

/// The key of a server's limits, and those of a campaign's plan and of its own, where there are any.
pub type LimitKeys = (Arc<str>, [Option<Arc<str>>; 2]);

impl Scheduler {
    /// The keys of the limits that a message of a campaign counts towards at a server.
    #[must_use]
    pub fn limit_keys(&self, campaign: CampaignIx, lane: LaneIx) -> LimitKeys {
        let intent = self.campaign(campaign).map(|campaign| &campaign.intent);
        let key = |limits: &Option<SharedLimits>| limits.as_ref().map(|limits| limits.key.clone());
        let shared = intent.map_or([None, None], |intent| [key(&intent.plan_limits), key(&intent.own_limits)]);
        let name = self.lanes.get(&lane).map(|lane| lane.reference.name.clone()).unwrap_or_default();
        (name, shared)
    }

    /// The server with this index.
    #[must_use]
    pub fn server_of(&self, lane: LaneIx) -> Option<&Key> {
        self.lanes.get(&lane).map(|lane| &lane.key)
    }

    /// All servers.
    pub fn servers(&self) -> impl Iterator<Item = LaneIx> {
        self.lanes.keys().copied()
    }

    /// Messages that a server has accepted since the start.
    #[must_use]
    pub fn accepted_by(&self, server: &Key) -> u64 {
        self.lane_index.get(server).and_then(|lane| self.lanes.get(lane)).map_or(0, |lane| lane.accepted)
    }
}
