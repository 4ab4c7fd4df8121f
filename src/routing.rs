//! What the control plane wants of the data plane: through which servers, how fast, and what of which campaign. Pure.
//!
//! Plain data that can be compared and written down. How a server is spoken to, and the template and the audience of a campaign, are
//! looked up by their keys where they are used.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Serialize, Serializer};

use crate::resources::{
    CountOrPercent, Duration, Key, Rate,
    campaign::{EffectiveRetry, Weighting, WhenOutcomeIsUnknown, WhenRenderFails, WhenRowIsBad},
    resume::Resume,
    senders::Senders,
};

/// What the control plane wants sent, and through which servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Routing {
    /// Every server that a campaign may use, or has used.
    #[serde(serialize_with = "by_name")]
    pub servers: BTreeMap<Key, ServerIntent>,
    /// Every campaign whose run may be looked at.
    #[serde(serialize_with = "by_name")]
    pub campaigns: BTreeMap<Key, Arc<CampaignIntent>>,
}

/// What the control plane wants of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerIntent {
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CampaignIntent {
    /// What is sent.
    pub work: Arc<Work>,
    /// True: nothing new is sent (suspended, stopped, no server); messages in flight end.
    pub hold: bool,
    /// The servers that are granted, chosen and Active (or on trial), with their weights.
    pub servers: Arc<[(Key, u32)]>,
    /// Whether what a server's limits do not let it take goes to the others.
    pub weighting: Weighting,
    /// The servers that are granted and chosen, Active or not: whoever one of them may yet take is not given up.
    pub candidates: Arc<[Key]>,
    /// What a person asks of the run, and is not carried out yet.
    pub resume: Option<Resume>,
    /// Limits of the namespace on its plan.
    pub plan_limits: Option<PlanLimits>,
    /// The domains that it may be sent from; all when absent.
    pub senders: Option<Senders>,
}

/// What a run sends, but for its template and its audience.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Work {
    /// The run's name.
    pub run: String,
    /// Changes when anything does that messages are made of, the template and the audience included.
    pub fingerprint: u64,
    /// The From address, as it goes into the envelope.
    pub from_address: Arc<str>,
    /// When and how often a deferred message is tried again.
    pub retry: EffectiveRetry,
    /// What happens to a message that may or may not have gone out.
    pub when_outcome_is_unknown: WhenOutcomeIsUnknown,
    /// Recipients whose templates may fail.
    pub max_render_errors: CountOrPercent,
    /// What happens at the end when some failed.
    pub when_render_fails: WhenRenderFails,
    /// Rows that may be unusable.
    pub max_bad_rows: CountOrPercent,
    /// What happens at the end when some were.
    pub when_row_is_bad: WhenRowIsBad,
    /// A completed run that was reopened less often is reopened for the rows that it does not know.
    pub reopen: u64,
}

/// Limits of a namespace on a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlanLimits {
    /// The key under which messages are counted for them.
    pub key: Arc<str>,
    /// The windows.
    pub rates: Vec<Rate>,
}

/// A map by `namespace/name`, as JSON has it.
fn by_name<T: Serialize, S: Serializer>(map: &BTreeMap<Key, T>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(map.iter().map(|(key, value)| (key.to_string(), value)))
}
