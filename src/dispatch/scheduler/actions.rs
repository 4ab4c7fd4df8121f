//! What the scheduler asks its task to do, and what a write to the ledger holds and changes. Plain data.

use std::sync::Arc;

use crate::{
    dispatch::{
        calls::CallId,
        index::{CampaignIx, LaneIx},
        receivers::Passing,
        stages::{DomainUse, ReadyMessage, Settled},
    },
    ledger::{Resumption, RolloutChange},
    providers::Outgoing,
    resources::{Bar, Blocker, Key, fate::Fate},
};

/// What the scheduler asks its task to do.
#[derive(Debug)]
pub enum Action {
    /// Find or begin the run in the ledger, then call [`super::Scheduler::opened`].
    Open(CampaignIx),
    /// Start a feeder for the campaign before carrying out the next action, then call [`super::Scheduler::feeder_started`].
    StartFeeder(CampaignIx),
    /// Write this to the ledger in one transaction, then call [`super::Scheduler::committed`] or [`super::Scheduler::commit_failed`].
    Commit(Planned),
    /// Ask the feeder for more messages.
    RequestRows {
        /// Whose feeder.
        campaign: CampaignIx,
        /// How many.
        count: usize,
        /// Whose people are passed over.
        passing: Option<Arc<Passing>>,
    },
    /// Ask the feeder for one recipient, out of turn.
    Seek {
        /// Whose feeder.
        campaign: CampaignIx,
        /// The domain outside which it is.
        domain: Arc<str>,
    },
    /// Stop the feeder and return its leases to the ledger, then call [`super::Scheduler::released`]. Messages that are being fetched for
    /// it are returned as well when they arrive, followed by another such call.
    StopFeeder(CampaignIx),
    /// Fetch deferred messages that are due.
    FetchDue {
        /// Of which run.
        campaign: CampaignIx,
        /// The most to fetch.
        most: usize,
    },
    /// Hand messages to a server as a new call.
    Deliver {
        /// The server.
        lane: LaneIx,
        /// The id of the call.
        call: CallId,
        /// The messages.
        batch: Vec<Outgoing>,
    },
    /// Hand a message to a call that is in progress.
    Ahead {
        /// The server.
        lane: LaneIx,
        /// The id of the call.
        call: CallId,
        /// What the call is handed now; its claim is durable.
        message: Outgoing,
    },
    /// Report to the control plane that a server failed.
    ServerFailed {
        /// Which one; it is out of use until the control plane has acknowledged the failure.
        server: Key,
        /// The cause.
        failure: Blocker,
        /// The number of its failures, with this one.
        failures: u64,
    },
    /// A closed run was edited: count the rows of its audience that were added since and are not mailed.
    CountAdded(CampaignIx),
    /// Call [`super::Scheduler::audience_touched`] once the audience's file has changed.
    WatchAudience(CampaignIx),
    /// Every recipient of the run has a final outcome: close it in the ledger.
    Close(CampaignIx),
    /// Carry out a resumption of the run, then call [`super::Scheduler::resumed`].
    Resume {
        /// Whose run.
        campaign: CampaignIx,
        /// What was requested.
        resumption: Resumption,
    },
    /// Change the rollout of the run, then call [`super::Scheduler::rollout_changed`], or [`super::Scheduler::rollout_not_changed`].
    ChangeRollout {
        /// Whose run.
        campaign: CampaignIx,
        /// The step that was sent to its end, or the one that begins.
        change: RolloutChange,
    },
    /// The scheduler has removed the campaign: forget what is kept for it.
    Forget(CampaignIx),
    /// The scheduler has removed the server: forget what is kept for it.
    ForgetServer(LaneIx),
}

/// A claim to be committed.
#[derive(Debug)]
pub struct PlannedClaim {
    /// The campaign's index.
    pub campaign: CampaignIx,
    /// The epoch of the feeder that it came from.
    pub feeder_epoch: u64,
    /// The server's index.
    pub lane: LaneIx,
    /// The limit for its receiving domain that it counts towards.
    pub domain: Option<DomainUse>,
    /// What is claimed; it leaves once the claim is durable.
    pub message: ReadyMessage,
}

/// A server that is to be out of use for a campaign.
#[derive(Debug)]
pub struct PlannedBar {
    /// The campaign's index.
    pub campaign: CampaignIx,
    /// The server's index.
    pub lane: LaneIx,
    /// Why.
    pub bar: Bar,
}

/// The contents of the next commit.
#[derive(Debug, Default)]
pub struct Planned {
    /// Outcomes, written first.
    pub outcomes: Vec<Settled>,
    /// Claims, written after them.
    pub claims: Vec<PlannedClaim>,
    /// Servers that are out of use for a campaign.
    pub bars: Vec<PlannedBar>,
    /// Messages that were written in a different minute from that of their claim, or not at all.
    pub usage_moves: Vec<UsageMove>,
    /// When this was planned, milliseconds: the time of the claims.
    pub at_ms: i64,
}

/// A correction of usage: a message counts towards limits in the minute of its claim until it is known when it was written.
#[derive(Clone, Debug)]
pub struct UsageMove {
    /// The campaign's index.
    pub campaign: CampaignIx,
    /// The server's index.
    pub lane: LaneIx,
    /// The key of the limit for its receiving domain.
    pub domain: Option<Arc<str>>,
    /// The minute of its claim, counted since 1970.
    pub from_minute: i64,
    /// The minute in which its last byte was written; `None` if certainly none of its content was.
    pub to_minute: Option<i64>,
}

/// A change in the number of a campaign's messages of one fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FateChange {
    /// The campaign's index.
    pub campaign: CampaignIx,
    /// Whose number changes.
    pub fate: Fate,
    /// The server, for a final outcome that has one.
    pub lane: Option<LaneIx>,
    /// The difference, which may be negative.
    pub by: i64,
}

/// The changes that a write to the ledger made in the counts of campaigns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CountChanges {
    /// By fate.
    pub fates: Vec<FateChange>,
    /// Campaign, and the number of messages that were resent though the outcome of the previous attempt is unknown.
    pub resent: Vec<(CampaignIx, i64)>,
}
