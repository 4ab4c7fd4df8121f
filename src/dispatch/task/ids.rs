//! The ledger's ids of campaigns and servers.

use std::collections::BTreeMap;

use super::{Changes, CountChanges, FateChange, RunId, ServerId};
use crate::dispatch::index::{CampaignIx, LaneIx};

/// Which run a campaign has in the ledger, which id a server has, and the reverse.
#[derive(Default)]
pub(super) struct LedgerIds {
    runs: BTreeMap<CampaignIx, RunId>,
    /// A campaign that was deleted and applied again has the run of its predecessor.
    campaigns: BTreeMap<RunId, Vec<CampaignIx>>,
    servers: BTreeMap<LaneIx, ServerId>,
    lanes: BTreeMap<ServerId, LaneIx>,
}

impl LedgerIds {
    /// The run of a campaign, once it is open.
    pub(super) fn run(&self, campaign: CampaignIx) -> Option<RunId> {
        self.runs.get(&campaign).copied()
    }

    /// The id of a server, once something was claimed for it.
    pub(super) fn server(&self, lane: LaneIx) -> Option<ServerId> {
        self.servers.get(&lane).copied()
    }

    /// The run of a campaign is open.
    pub(super) fn add_run(&mut self, campaign: CampaignIx, run: RunId) {
        self.runs.insert(campaign, run);
        let campaigns = self.campaigns.entry(run).or_default();
        if !campaigns.contains(&campaign) {
            campaigns.push(campaign);
        }
    }

    /// The ledger knows a server by this id.
    pub(super) fn add_server(&mut self, lane: LaneIx, server: ServerId) {
        self.servers.insert(lane, server);
        self.lanes.insert(server, lane);
    }

    /// The scheduler has removed the campaign.
    pub(super) fn forget_campaign(&mut self, campaign: CampaignIx) {
        if let Some(run) = self.runs.remove(&campaign)
            && let Some(campaigns) = self.campaigns.get_mut(&run)
        {
            campaigns.retain(|known| *known != campaign);
            if campaigns.is_empty() {
                self.campaigns.remove(&run);
            }
        }
    }

    /// The scheduler has removed the server.
    pub(super) fn forget_server(&mut self, lane: LaneIx) {
        if let Some(server) = self.servers.remove(&lane) {
            self.lanes.remove(&server);
        }
    }

    /// The sizes of what is kept, by name.
    #[cfg(test)]
    pub(super) fn kept(&self) -> Vec<(&'static str, usize)> {
        let Self { runs, campaigns, servers, lanes } = self;
        vec![("runs", runs.len()), ("campaigns of runs", campaigns.len()), ("servers", servers.len()), ("lanes of servers", lanes.len())]
    }

    /// Translates the changes of a write into the scheduler's indices.
    pub(super) fn translate(&self, changes: &Changes) -> CountChanges {
        let campaign = |run: RunId| self.campaigns.get(&run).into_iter().flatten().copied();
        let fates = changes.counts.iter().flat_map(|change| {
            let lane = change.server.and_then(|server| self.lanes.get(&server).copied());
            campaign(change.run_id).map(move |campaign| FateChange { campaign, fate: change.fate, lane, by: change.by })
        });
        let resent = changes.resent.iter().flat_map(|(run, by)| campaign(*run).map(move |index| (index, *by)));
        CountChanges { fates: fates.collect(), resent: resent.collect() }
    }
}
