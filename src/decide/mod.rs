//! Decides what should hold: functions over the whole world. Pure: no I/O, no clock, no randomness; time is an argument.
//!
//! [`decide`] takes the complete desired and observed state, and answers in data: the status of each object, the probes that are
//! due, and what the dispatcher may do. The engine turns that into I/O.

pub(crate) mod bulk;
pub(crate) mod campaigns;
pub(crate) mod feedback;
pub(crate) mod grants;
pub(crate) mod identity;
pub(crate) mod observe;
pub mod pauses;
pub(crate) mod plans;
mod routing;
mod senders;
pub(crate) mod servers;
mod signing;
pub(crate) mod warmup;

use std::{collections::BTreeMap, sync::Arc};

pub use feedback::WebhookObservation;
pub use identity::IdentityObservation;
pub use observe::{Observations, ProbeResult, ServerObservation};

use self::warmup::Progress;
use crate::{
    dns::Subject,
    feedback::{Complaints, FeedbackCounts, Judged, Standing},
    hours::When,
    resources::{
        Blocker, Campaign, ConditionType, Key, Plan, SendingServer,
        campaign::{CampaignStatus, RecipientCounts},
        condition,
        plan::PlanStatus,
        resume::Handled,
        rollout::Reached,
        sending_server::SendingServerStatus,
    },
    routing::{CampaignIntent, Routing, Work},
};

/// The complete desired state, with everything that it refers to already looked up.
#[derive(Clone, Default)]
pub struct World {
    /// Every server that could be read once, used or not.
    pub servers: BTreeMap<Key, ServerInput>,
    /// Every plan that could be read once.
    pub plans: BTreeMap<Key, PlanInput>,
    /// Every campaign that could be read once.
    pub campaigns: BTreeMap<Key, CampaignInput>,
    /// The labels of namespaces.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// The only namespace whose plans count; all namespaces if absent.
    pub plan_namespace: Option<String>,
    /// Whether this process listens for bounces.
    pub listens_for_bounces: bool,
    /// What was reported as spam of each namespace's last runs.
    pub complaints: Arc<BTreeMap<String, Complaints>>,
}

impl World {
    /// The plans by which campaigns may be granted servers: with a plan namespace, only those in it.
    pub fn counting_plans(&self) -> impl Iterator<Item = (&Key, &PlanInput)> {
        self.plans.iter().filter(|(key, _)| self.plan_counts(key))
    }

    /// Whether a plan with this key counts.
    #[must_use]
    pub fn plan_counts(&self, key: &Key) -> bool {
        self.plan_namespace.as_ref().is_none_or(|namespace| **namespace == *key.namespace)
    }
}

/// A server and what was looked up for it.
#[derive(Clone)]
pub struct ServerInput {
    /// The last version that could be read.
    pub object: Arc<SendingServer>,
    /// The hash of spec and Secrets, or why the server has no handle.
    pub built: Result<u64, Blocker>,
    /// What DNS must confirm of its identity; `None` without one.
    pub identity: Option<Arc<Subject>>,
    /// Why the newest version could not be read, if this is an older one.
    pub stale: Option<String>,
    /// What the ledger knows of it.
    pub past: ServerPast,
}

impl ServerInput {
    /// A server that was just applied: nothing was sent through it.
    #[must_use]
    pub fn new(object: Arc<SendingServer>, built: Result<u64, Blocker>) -> Self {
        Self { object, built, identity: None, stale: None, past: ServerPast::default() }
    }
}

/// What the ledger knows of a server, and what a person asks of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerPast {
    /// How it does by what comes back.
    pub standing: Standing,
    /// A person's request to resume it, as the value of the annotation or from the command line.
    pub resume: Option<String>,
    /// Requests that are carried out.
    pub resume_handled: Handled,
}

/// What is known of a plan before a decision.
#[derive(Clone)]
pub struct PlanInput {
    /// The last version that could be read.
    pub object: Arc<Plan>,
    /// Why the newest version could not be read, if this is an older one.
    pub stale: Option<String>,
}

/// What the ledger knows about a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InLedger {
    /// The ledger could not be read.
    #[default]
    Unasked,
    /// The ledger has no such run.
    Absent,
    /// It has begun, and somebody has no final outcome yet.
    Begun,
    /// Every recipient has a final outcome.
    Closed,
}

/// How a closed run ended, according to the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Recipients by fate.
    pub counts: RecipientCounts,
    /// Messages that each server accepted.
    pub accepted: BTreeMap<Key, u64>,
    /// When the run began, milliseconds.
    pub started_ms: i64,
    /// When every recipient had a final outcome, milliseconds.
    pub closed_ms: Option<i64>,
}

/// A campaign and what was looked up for it.
#[derive(Clone)]
pub struct CampaignInput {
    /// The last version that could be read.
    pub object: Arc<Campaign>,
    /// What it sends, or why that cannot be prepared.
    pub work: Result<Arc<Work>, Blocker>,
    /// When it is sent, or what is wrong with its times.
    pub when: Result<When, Blocker>,
    /// What it last sent, while a newer version cannot be prepared: a run that has begun is kept with it.
    pub last_work: Option<Arc<Work>>,
    /// Why the newest version could not be read, if this is an older one.
    pub stale: Option<String>,
    /// What the ledger knows about the run that the spec names.
    pub in_ledger: InLedger,
    /// Why the ledger cannot be read, if it will not recover automatically.
    pub ledger_problem: Option<String>,
    /// How it ended, for a closed run: status must not depend on whether the dispatcher has opened the run.
    pub recorded: Option<Recorded>,
    /// The status that was last written, by this process or the previous one.
    pub previous: Option<Arc<CampaignStatus>>,
    /// A person's request to resume, as the value of the annotation or from the command line.
    pub resume: Option<String>,
    /// Requests that are carried out, according to the ledger.
    pub resume_handled: Handled,
    /// A person's request to promote, as the value of the annotation or from the command line.
    pub promote: Option<String>,
    /// How far the rollout of the run has come, according to the ledger; `None` for one without.
    pub rollout: Option<Reached>,
    /// How often the run was reopened on purpose, according to the ledger.
    pub reopened: u64,
    /// Whether a message of the run may have left, according to the ledger.
    pub has_sent: bool,
    /// What came back of the run, according to the ledger.
    pub feedback: FeedbackCounts,
    /// What the run had when a person resumed it last, according to the ledger: it is judged by what came since.
    pub judged_from: Judged,
    /// A campaign that is gone and had the same audience and message, or a part of it: this may be it, renamed.
    pub renamed_from: Option<String>,
    /// Whether it is being deleted: messages in flight still get their outcome, nothing new is sent.
    pub deleting: bool,
}

impl CampaignInput {
    /// A campaign that was just applied: the ledger has no run for it, and it has no status.
    #[must_use]
    pub fn new(object: Arc<Campaign>, work: Result<Arc<Work>, Blocker>) -> Self {
        Self {
            object,
            work,
            when: Ok(When::default()),
            last_work: None,
            stale: None,
            in_ledger: InLedger::Absent,
            ledger_problem: None,
            recorded: None,
            previous: None,
            resume: None,
            resume_handled: Handled::default(),
            promote: None,
            rollout: None,
            feedback: FeedbackCounts::default(),
            judged_from: Judged::default(),
            reopened: 0,
            has_sent: false,
            renamed_from: None,
            deleting: false,
        }
    }

    /// What it sends, or last sent.
    #[must_use]
    pub fn known_work(&self) -> Option<&Arc<Work>> {
        self.work.as_ref().ok().or(self.last_work.as_ref())
    }
}

/// The decision over the whole world.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// One decision for each server of the world.
    pub servers: BTreeMap<Key, ServerDecision>,
    /// The statuses of plans; conditions without times.
    pub plans: BTreeMap<Key, PlanStatus>,
    /// One decision for each campaign of the world.
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

/// What is shown of a server, and whether and how it is used.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerDecision {
    /// The status; conditions without times.
    pub status: SendingServerStatus,
    /// Whether it is Active.
    pub active: bool,
    /// Whether the dispatcher may pick it: Active, and not taken out by a send failure.
    pub routed: bool,
    /// Where its warm-up is; `None` without one.
    pub warmup: Option<Progress>,
    /// When it is to be probed, milliseconds; `None` if it may not be.
    pub probe_at_ms: Option<i64>,
    /// When the DNS records of its identity are to be looked up, milliseconds; `None` if they are not to be.
    pub look_at_ms: Option<i64>,
    /// The records of the DKIM keys that sign.
    pub signing: Vec<String>,
    /// Whether it is Inactive because sending failed, and may be tried with one message.
    pub on_trial: bool,
    /// Whether its state is settled, rather than open until its first failed probes have been repeated.
    pub settled: bool,
    /// When to decide again: the next probe, or the end of the pause after a send failure.
    pub wake_at_ms: Option<i64>,
    /// Why it is not Active, in words; empty if it is.
    pub why_inactive: String,
    /// Whether its mailbox is read: whether or not it is used now, bounces of what it sent come back for days.
    pub reads_mailbox: bool,
}

impl ServerDecision {
    /// Whether its first probe, or the first lookup of its DNS records, has not ended yet.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        condition::find(&self.status.conditions, ConditionType::Ready).is_some_and(|ready| ready.reason.is_of_start())
    }
}

/// What is shown of a campaign, and what the data plane is to do for it.
#[derive(Clone, Debug, PartialEq)]
pub struct CampaignDecision {
    /// The status; conditions without times.
    pub status: CampaignStatus,
    /// What the data plane is to do; `None` while it must not touch the run, or nothing is known about what the run sends.
    pub intent: Option<Arc<CampaignIntent>>,
    /// Whether more is about to be known of a run that is over: the rows that were added since, or what its servers say now.
    pub is_looked_at: bool,
    /// Whether nothing happens any more until a person promotes its rollout.
    pub waits_for_person: bool,
    /// A domain at which people can unsubscribe by mail, whether or not it sends now.
    pub mail_domain: Option<Arc<str>>,
}

/// Decides over the whole world.
#[must_use]
pub fn decide(world: &World, observed: &Observations, now_ms: i64) -> Decision {
    let ownership = grants::ownership(world);
    let mut decision = Decision { wake_at_ms: now_ms + 60_000, ..Decision::default() };
    for (key, input) in &world.servers {
        let server = servers::decide(key, input, &ownership, observed, world.listens_for_bounces, now_ms);
        decision.wake_at_ms = server.wake_at_ms.map_or(decision.wake_at_ms, |at| decision.wake_at_ms.min(at));
        decision.servers.insert(key.clone(), server);
    }
    let mut choices = campaigns::Choices::new(world, &ownership, &decision.servers, observed, now_ms);
    for (key, input) in &world.campaigns {
        let (campaign, wake_at_ms) = campaigns::decide(key, input, &mut choices, now_ms);
        decision.wake_at_ms = wake_at_ms.map_or(decision.wake_at_ms, |at| decision.wake_at_ms.min(at));
        decision.campaigns.insert(key.clone(), campaign);
    }
    let campaigns = plans::campaigns(world);
    for (key, input) in &world.plans {
        let campaigns = campaigns.get(key).copied().unwrap_or(0);
        decision.plans.insert(key.clone(), plans::decide(key, input, campaigns, world, &decision.servers));
    }
    decision.routing = routing::routing(world, &decision.servers, &decision.campaigns, observed);
    decision
}
