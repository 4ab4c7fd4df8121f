//! What should hold: functions over the whole world. Pure: no I/O, no clock, no chance; time is an argument.
//!
//! [`decide`] reads everything that is wanted and everything that was observed, and answers in data: the status of each
//! object, the probes that are due, and what the dispatcher may do. The engine turns that into I/O.

pub mod campaigns;
pub mod grants;
pub mod observe;
pub mod plans;
mod routing;
mod senders;
pub mod servers;
mod warmup;

use std::{collections::BTreeMap, sync::Arc};

pub use observe::{Observations, ProbeResult, ServerObservation};

use crate::{
    resources::{
        Blocker, Campaign, Key, Plan, SendingServer,
        campaign::{CampaignStatus, RecipientCounts},
        plan::PlanStatus,
        resume::Handled,
        sending_server::SendingServerStatus,
    },
    routing::{CampaignIntent, Routing, Work},
};

/// Everything that people want, with what it refers to already looked up.
#[derive(Clone, Default)]
pub struct World {
    /// Servers.
    pub servers: BTreeMap<Key, ServerInput>,
    /// Plans.
    pub plans: BTreeMap<Key, PlanInput>,
    /// Campaigns.
    pub campaigns: BTreeMap<Key, CampaignInput>,
    /// The labels of namespaces.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// The only namespace whose plans count; every one when absent.
    pub plan_namespace: Option<String>,
}

impl World {
    /// The plans that count.
    pub fn counting_plans(&self) -> impl Iterator<Item = (&Key, &PlanInput)> {
        self.plans.iter().filter(|(key, _)| self.plan_counts(key))
    }

    /// Whether a plan of this name counts.
    #[must_use]
    pub fn plan_counts(&self, key: &Key) -> bool {
        self.plan_namespace.as_ref().is_none_or(|namespace| **namespace == *key.namespace)
    }
}

/// A server and what was looked up for it.
#[derive(Clone)]
pub struct ServerInput {
    /// The object.
    pub object: Arc<SendingServer>,
    /// A fingerprint of spec and secrets, or why it cannot be spoken to.
    pub built: Result<u64, Blocker>,
    /// Why the newest version could not be read, when this is an older one.
    pub stale: Option<String>,
}

/// A plan.
#[derive(Clone)]
pub struct PlanInput {
    /// The object.
    pub object: Arc<Plan>,
    /// Why the newest version could not be read, when this is an older one.
    pub stale: Option<String>,
}

/// What the ledger knows of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InLedger {
    /// It could not be asked.
    #[default]
    Unasked,
    /// Nothing.
    Absent,
    /// It has begun.
    Begun,
    /// Every recipient has a final outcome.
    Closed,
}

/// How a closed run ended, as the ledger has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Recipients by what became of them.
    pub counts: RecipientCounts,
    /// Messages that each server took.
    pub accepted: BTreeMap<Key, u64>,
    /// When the run began, milliseconds.
    pub started_ms: i64,
    /// When every recipient had a final outcome, milliseconds.
    pub closed_ms: Option<i64>,
}

/// A campaign and what was looked up for it.
#[derive(Clone)]
pub struct CampaignInput {
    /// The object.
    pub object: Arc<Campaign>,
    /// What it sends, or why that cannot be made.
    pub work: Result<Arc<Work>, Blocker>,
    /// What it sent last, while a newer version cannot be made: a run that has begun is kept with it.
    pub last_work: Option<Arc<Work>>,
    /// Why the newest version could not be read, when this is an older one.
    pub stale: Option<String>,
    /// What the ledger knows of the run that the spec names.
    pub in_ledger: InLedger,
    /// Why the ledger cannot be asked, and will not recover automatically.
    pub ledger_problem: Option<String>,
    /// How it ended, for a closed run: status must not depend on the dispatcher's having looked.
    pub recorded: Option<Recorded>,
    /// The status that was written last, by this process or the one before.
    pub previous: Option<Arc<CampaignStatus>>,
    /// What a person asks, as the value of the annotation or as the command line left it.
    pub resume: Option<String>,
    /// Such values that the ledger has as carried out.
    pub resume_handled: Handled,
    /// Somebody deletes it: messages in flight end, nothing new is sent.
    pub deleting: bool,
}

impl CampaignInput {
    /// A campaign that was just applied: the ledger has no run of it, and there is no status.
    #[must_use]
    pub fn new(object: Arc<Campaign>, work: Result<Arc<Work>, Blocker>) -> Self {
        Self {
            object,
            work,
            last_work: None,
            stale: None,
            in_ledger: InLedger::Absent,
            ledger_problem: None,
            recorded: None,
            previous: None,
            resume: None,
            resume_handled: Handled::default(),
            deleting: false,
        }
    }

    /// What it sends, or sent last.
    #[must_use]
    pub fn known_work(&self) -> Option<&Arc<Work>> {
        self.work.as_ref().ok().or(self.last_work.as_ref())
    }
}

/// What should be done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// Servers.
    pub servers: BTreeMap<Key, ServerDecision>,
    /// The statuses of plans; conditions without times.
    pub plans: BTreeMap<Key, PlanStatus>,
    /// Campaigns.
    pub campaigns: BTreeMap<Key, CampaignDecision>,
    /// What the data plane is to do.
    pub routing: Routing,
    /// When to decide again if nothing changes, milliseconds.
    pub wake_at_ms: i64,
}

impl Decision {
    /// What still holds once this process has ended, and no other sends: the campaigns that were well wait for the next start.
    pub fn rest(&mut self) {
        self.campaigns.values_mut().for_each(|campaign| campaigns::rest(&mut campaign.status));
    }
}

/// What holds of a server.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerDecision {
    /// The status; conditions without times.
    pub status: SendingServerStatus,
    /// Whether it is Active.
    pub active: bool,
    /// Whether the dispatcher may pick it: Active, and not taken out by a send failure.
    pub routed: bool,
    /// When it is to be probed, milliseconds; never for one that may not be.
    pub probe_at_ms: Option<i64>,
    /// Whether it is Inactive since its sends fail, and may be tried with one message.
    pub on_trial: bool,
    /// Whether its probes are as good or bad as they will be: not about to be repeated for the first time.
    pub settled: bool,
    /// When to decide again: the next probe, or the end of the pause after a send failure.
    pub wake_at_ms: Option<i64>,
    /// What stands in the way of its being Active, in words; empty when nothing does.
    pub why_inactive: String,
}

/// What holds of a campaign.
#[derive(Clone, Debug, PartialEq)]
pub struct CampaignDecision {
    /// The status; conditions without times.
    pub status: CampaignStatus,
    /// What the data plane is to do; none while the run may not be touched, or nothing is known of what it sends.
    pub intent: Option<Arc<CampaignIntent>>,
}

/// Decides over the whole world.
#[must_use]
pub fn decide(world: &World, observed: &Observations, now_ms: i64) -> Decision {
    let ownership = grants::ownership(world);
    let mut decision = Decision { wake_at_ms: now_ms + 60_000, ..Decision::default() };
    for (key, input) in &world.servers {
        let server = servers::decide(key, input, &ownership, observed, now_ms);
        decision.wake_at_ms = server.wake_at_ms.map_or(decision.wake_at_ms, |at| decision.wake_at_ms.min(at));
        decision.servers.insert(key.clone(), server);
    }
    let mut choices = campaigns::Choices::new(world, &ownership, &decision.servers, observed);
    for (key, input) in &world.campaigns {
        let (campaign, wake_at_ms) = campaigns::decide(key, input, &mut choices, now_ms);
        decision.wake_at_ms = wake_at_ms.map_or(decision.wake_at_ms, |at| decision.wake_at_ms.min(at));
        decision.campaigns.insert(key.clone(), campaign);
    }
    for (key, input) in &world.plans {
        decision.plans.insert(key.clone(), plans::decide(key, input, world, &decision.servers));
    }
    decision.routing = routing::routing(world, &decision.servers, &decision.campaigns, observed, now_ms);
    decision
}
