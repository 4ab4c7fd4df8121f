//! The feeders of campaigns, and what is kept of the audiences that they read.

use std::{collections::BTreeMap, io};

use tokio::{runtime::Handle, sync::mpsc, task::AbortHandle};

use super::{Asking, Feeder, FeederEvent, FeederSpec, Ledger, Request, Threads, Versions, feeder};
use crate::dispatch::index::CampaignIx;

/// The audiences of campaigns, by index.
pub(super) struct Audiences {
    feeders: BTreeMap<CampaignIx, Asking<Feeder>>,
    /// The threads on which feeders run.
    threads: Threads,
    /// Claims of an earlier process that match no row.
    unmatched: BTreeMap<CampaignIx, Vec<u64>>,
    /// The versions of what was read to its end, and of the lists beside it.
    versions: BTreeMap<CampaignIx, Versions>,
    /// The watches on files that could not be read.
    watches: BTreeMap<CampaignIx, AbortHandle>,
}

impl Audiences {
    /// With so many threads for feeders.
    pub(super) fn new(threads: usize) -> Self {
        Self {
            feeders: BTreeMap::new(),
            threads: Threads::new(threads, Handle::current()),
            unmatched: BTreeMap::new(),
            versions: BTreeMap::new(),
            watches: BTreeMap::new(),
        }
    }

    /// Starts a feeder.
    pub(super) fn start(&mut self, spec: FeederSpec, ledger: Ledger, events: mpsc::UnboundedSender<FeederEvent>) -> io::Result<()> {
        let campaign = spec.campaign;
        let requests = feeder::start(spec, ledger, Handle::current(), events, &self.threads)?;
        self.feeders.insert(campaign, requests);
        Ok(())
    }

    /// Asks the feeder of a campaign, if it has one.
    pub(super) fn ask(&self, campaign: CampaignIx, request: Request) {
        if let Some(feeder) = self.feeders.get(&campaign) {
            feeder.ask(request);
        }
    }

    /// Stops the feeder of a campaign.
    pub(super) fn stop(&mut self, campaign: CampaignIx) {
        self.feeders.remove(&campaign);
    }

    /// Stops all feeders.
    pub(super) fn stop_all(&mut self) {
        self.feeders.clear();
    }

    /// An audience was read to its end.
    pub(super) fn ended(&mut self, campaign: CampaignIx, unmatched: Vec<u64>, versions: Versions) {
        self.unmatched.insert(campaign, unmatched);
        self.versions.insert(campaign, versions);
    }

    /// Claims of an earlier process that match no row of the audience.
    pub(super) fn unmatched(&self, campaign: CampaignIx) -> Vec<u64> {
        self.unmatched.get(&campaign).cloned().unwrap_or_default()
    }

    /// The versions of the audience that was read to its end.
    pub(super) fn versions(&self, campaign: CampaignIx) -> Option<Versions> {
        self.versions.get(&campaign).cloned()
    }

    /// Watches an audience; a campaign has one watch.
    pub(super) fn watch(&mut self, campaign: CampaignIx, watch: AbortHandle) {
        if let Some(old) = self.watches.insert(campaign, watch) {
            old.abort();
        }
    }

    /// The sizes of what is kept, by name.
    #[cfg(test)]
    pub(super) fn kept(&self) -> Vec<(&'static str, usize)> {
        let Self { feeders, threads: _, unmatched, versions, watches } = self;
        let audiences = [("feeders", feeders.len()), ("unmatched", unmatched.len()), ("versions", versions.len())];
        audiences.into_iter().chain([("watches", watches.len())]).collect()
    }

    /// The scheduler has removed the campaign.
    pub(super) fn forget(&mut self, campaign: CampaignIx) {
        self.stop(campaign);
        self.unmatched.remove(&campaign);
        self.versions.remove(&campaign);
        if let Some(watch) = self.watches.remove(&campaign) {
            watch.abort();
        }
    }
}
