//! Which server, how fast, what on failure.
//!
//! The data plane. `route`, `limits`, `warmup`, `retry`, `guard`, `window` and `scheduler` are pure; `feeder` reads the audience and
//! renders, on the threads of `feeders`; `sender` is the one task that ties them to the ledger and to the servers. The control
//! plane hands in a [`Routing`] and reads a [`Report`].

pub mod calls;
pub mod campaign;
pub mod connections;
pub mod feeder;
pub mod feeders;
pub mod guard;
pub mod index;
pub mod lane;
pub mod likeness;
pub mod limits;
pub mod moves;
pub mod pace;
pub mod prepared;
pub mod refusals;
pub mod rendered;
pub mod report;
pub mod retry;
pub mod route;
pub mod schedule;
pub mod scheduler;
pub mod sender;
pub mod turns;
pub mod warmup;
pub mod window;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

pub use report::{CampaignReport, Report, ServerReport};
pub use sender::{Dispatch, Event};

use crate::{
    audience::Input,
    ledger::Resumption,
    message::Template,
    providers::Server,
    resources::{
        Duration, Key, Rate,
        campaign::{EffectiveRetry, Weighting, WhenOutcomeIsUnknown},
        senders::Senders,
    },
};

/// What the control plane wants sent, and through which servers.
#[derive(Clone, Default)]
pub struct Routing {
    /// Every server that exists.
    pub servers: BTreeMap<Key, RouteServer>,
    /// Every campaign whose run may be looked at.
    pub campaigns: BTreeMap<Key, Arc<Order>>,
}

/// A server in the routing table.
#[derive(Clone)]
pub struct RouteServer {
    /// How it is spoken to; none while its spec or secrets are not good.
    pub server: Option<Arc<dyn Server>>,
    /// Whether it may be picked: Active, and not taken out by a send failure.
    pub routed: bool,
    /// The failures that the control plane knew of when it routed.
    pub acknowledged_failures: u64,
    /// It is Inactive since its sends fail, and is tried with one message alone.
    pub is_on_trial: bool,
    /// The host behind it: two servers of one host are one opinion of a recipient.
    pub host: Arc<str>,
    /// Its windows.
    pub rates: Vec<Rate>,
    /// Changes when the windows do.
    pub limits_fingerprint: u64,
    /// Today's warm-up limit.
    pub warmup_today: Option<u64>,
    /// Connections at a time; none: as many as make it faster.
    pub connections: Option<u32>,
    /// Messages without an outcome at a time, where that is bounded.
    pub in_flight_max: Option<u32>,
    /// The domain of the envelope sender.
    pub return_path: Option<Arc<str>>,
    /// After so long without any answer the server is suspected.
    pub stall_after: Duration,
}

/// What the control plane wants of a campaign.
#[derive(Clone)]
pub struct Order {
    /// The run's name.
    pub run: String,
    /// Changes when anything does that messages are made of.
    pub fingerprint: u64,
    /// True: nothing new is sent (suspended, stopped, no server); what is on the wire ends.
    pub hold: bool,
    /// The servers that it may use now, with their weights.
    pub servers: Arc<[(Key, u32)]>,
    /// Whether what a server's limits do not let it take goes to the others.
    pub weighting: Weighting,
    /// The servers that are granted and chosen, Active or not: whoever one of them may yet take is not given up.
    pub candidates: Arc<[Key]>,
    /// What a person asks of a run that was stopped.
    pub resume: Option<Resumption>,
    /// To whom.
    pub input: Input,
    /// What.
    pub template: Arc<Template>,
    /// The From address.
    pub from_address: Arc<str>,
    /// Further tries.
    pub retry: EffectiveRetry,
    /// What happens to a message that may or may not have gone out.
    pub when_outcome_is_unknown: WhenOutcomeIsUnknown,
    /// Recipients whose templates may fail.
    pub max_render_errors: u64,
    /// Limits of the namespace on its plan: the key under which they are counted, and the windows.
    pub plan_limits: Option<(Arc<str>, Vec<Rate>)>,
    /// The domains that it may be sent from; all when absent.
    pub senders: Option<Senders>,
}
