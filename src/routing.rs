//! The desired state of the data plane: through which servers it sends, how fast, and what each campaign sends. Pure.
//!
//! Plain data that can be compared and serialized. The clients of servers, and the templates and audiences of campaigns, are looked
//! up by key where they are used.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Serialize, Serializer};

use crate::hours::Hours;
use crate::resources::{
    CampaignSpec, CountOrPercent, Duration, Key, Percent, Rate,
    campaign::{EffectiveRetry, OutcomeState, OutcomesAudience, Weighting, WhenOutcomeIsUnknown, WhenRenderFails, WhenRowIsBad},
    resume::Resume,
    rollout::NextStep,
    senders::Senders,
    unsubscribe::Unsubscribe,
};

/// The desired state: what is sent, and through which servers.
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

/// The desired state of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerIntent {
    /// Whether it may be picked: Active, and not taken out by a send failure.
    pub routed: bool,
    /// The number of failures that the control plane knew of when it routed.
    pub acknowledged_failures: u64,
    /// It is Inactive because sending failed, and is tried with a single message.
    pub is_on_trial: bool,
    /// Its type: the key under `spec.provider`.
    pub provider: &'static str,
    /// Its host: refusals by two servers with the same host count as one opinion of a recipient.
    pub host: Arc<str>,
    /// Its rate limits.
    pub rates: Vec<Rate>,
    /// Its limits for receiving domains.
    pub per_domain: Arc<[DomainIntent]>,
    /// Today's warm-up limit.
    pub warmup_today: Option<u64>,
    /// How many connections it may have at a time; `None` for as many as make it faster.
    pub connections: Option<u32>,
    /// The most messages without an outcome at a time, if bounded.
    pub in_flight_max: Option<u32>,
    /// The domain of the envelope sender, if the server requires its own.
    pub return_path: Option<Arc<str>>,
    /// Whether the envelope sender names the message, since what comes back by mail is read.
    pub names_messages: bool,
    /// The records of the DKIM keys that sign.
    pub signing: Arc<[String]>,
    /// After this long without any answer the server is treated as failed.
    pub stall_after: Duration,
}

/// The desired state of a campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CampaignIntent {
    /// What is sent.
    pub work: Arc<Work>,
    /// Whether nothing new is sent (suspended, stopped, no server); messages in flight still get their outcome.
    pub hold: bool,
    /// The servers that are granted, chosen and Active (or on trial), with their weights.
    pub servers: Arc<[(Key, u32)]>,
    /// Whether messages that a server's limits do not admit go to the others.
    pub weighting: Weighting,
    /// The servers that are granted and chosen, Active or not: a recipient whom one of them may yet accept is not given up.
    pub candidates: Arc<[Key]>,
    /// A person's request to resume the run, if it is not carried out yet.
    pub resume: Option<Resume>,
    /// In which steps a run is mailed, and whether one is due.
    pub rollout: RolloutIntent,
    /// Limits of the namespace on its plan.
    pub plan_limits: Option<SharedLimits>,
    /// Limits of the campaign itself.
    pub own_limits: Option<SharedLimits>,
    /// The hours in which it may send; at any time if absent.
    pub hours: Option<Arc<Hours>>,
    /// The domains that it may be sent from; all if absent.
    pub senders: Option<Senders>,
    /// A domain at which people can unsubscribe by mail: the return path of one of its servers, whose mail is read.
    pub mail_domain: Option<Arc<str>>,
}

/// What is wanted of a rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutIntent {
    /// The share with which a run that has mailed nobody begins; everybody when absent.
    pub first: Option<Percent>,
    /// A person's request to promote, if it is not carried out yet.
    pub promote: Option<String>,
    /// The step that is due.
    pub next: Option<NextStep>,
}

impl CampaignIntent {
    /// The limits beside those of servers.
    pub fn shared_limits(&self) -> impl Iterator<Item = &SharedLimits> {
        self.plan_limits.iter().chain(&self.own_limits)
    }
}

/// What a run sends, apart from its template and its audience.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Work {
    /// The run's name.
    pub run: String,
    /// Changes whenever anything changes that messages are made of, including the template and the audience.
    pub work_hash: u64,
    /// The From address, as it goes into the envelope.
    pub from_address: Arc<str>,
    /// When and how often a deferred message is retried.
    pub retry: EffectiveRetry,
    /// What happens to a message that may or may not have gone out.
    pub when_outcome_is_unknown: WhenOutcomeIsUnknown,
    /// How many recipients' templates may fail, as a count or a percentage.
    pub max_render_errors: CountOrPercent,
    /// What happens at the end if some of them failed.
    pub when_render_fails: WhenRenderFails,
    /// How many rows may be unusable, as a count or a percentage.
    pub max_bad_rows: CountOrPercent,
    /// What happens at the end if some rows were unusable.
    pub when_row_is_bad: WhenRowIsBad,
    /// The people of another run who are mailed, or to whom the audience is limited.
    pub outcomes: Option<OutcomesOf>,
    /// A completed run with a smaller number is reopened for the rows that it does not know.
    pub reopen: u64,
    /// What its recipients may unsubscribe from; everything when absent.
    pub topic: Option<Arc<str>>,
    /// Whether a body shows how to unsubscribe.
    pub shows_unsubscribing: bool,
    /// What attachments add to each message, bytes.
    pub attached_bytes: u64,
    /// Whether the HTML shows files that go with it.
    pub has_inline: bool,
}

impl Work {
    /// What a spec says of it, with the address as it goes into the envelope; no body shows how to unsubscribe, and nothing is attached.
    #[must_use]
    pub fn of(spec: &CampaignSpec, work_hash: u64, from_address: Arc<str>) -> Self {
        Self {
            run: spec.run().to_owned(),
            work_hash,
            from_address,
            retry: spec.retry(),
            when_outcome_is_unknown: spec.when_outcome_is_unknown(),
            max_render_errors: spec.content.max_render_errors(),
            when_render_fails: spec.content.when_render_fails(),
            max_bad_rows: spec.audience.max_bad_rows(),
            when_row_is_bad: spec.audience.when_row_is_bad(),
            outcomes: spec.audience.outcomes.as_ref().map(OutcomesOf::of),
            reopen: spec.reopen(),
            topic: spec.unsubscribe.as_ref().and_then(Unsubscribe::topic).map(Into::into),
            shows_unsubscribing: false,
            attached_bytes: 0,
            has_inline: false,
        }
    }
}

/// People of another run of the namespace, by outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OutcomesOf {
    /// The campaign's name.
    pub campaign: String,
    /// The name of that run.
    pub run: String,
    /// Whoever has one of these is meant.
    pub states: Vec<OutcomeState>,
}

impl OutcomesOf {
    /// What an audience of outcomes refers to.
    #[must_use]
    pub fn of(audience: &OutcomesAudience) -> Self {
        Self { campaign: audience.campaign.clone(), run: audience.run().to_owned(), states: audience.states.clone() }
    }
}

/// A server's limits for some receiving domains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DomainIntent {
    /// The domains that it names, in A-labels and lowercase.
    pub domains: Vec<Arc<str>>,
    /// The windows that they share.
    pub rates: Vec<Rate>,
}

/// Limits that several campaigns, or all servers of one, share: of a namespace on a plan, or of a campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SharedLimits {
    /// The key under which messages are counted for them.
    pub key: Arc<str>,
    /// The windows.
    pub rates: Vec<Rate>,
}

/// A map by `namespace/name`, as JSON has it.
fn by_name<T: Serialize, S: Serializer>(map: &BTreeMap<Key, T>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(map.iter().map(|(key, value)| (key.to_string(), value)))
}
