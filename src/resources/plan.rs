//! `Plan`: which servers an operator grants, to which namespaces.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Condition, Key, LabelSelector, Object, Rate, WEIGHT_DEFAULT, WEIGHT_MAX, campaign::Weighting, pattern, rule::Rule, senders::Senders,
    sending_server::RATES_DIFFER,
};

/// A plan.
pub type Plan = Object<PlanSpec, PlanStatus>;

/// What a plan grants.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanSpec {
    /// The granted servers of the plan's own namespace, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub servers: Vec<PlanServer>,
    /// More servers of the plan's namespace, by label; each has weight 1 unless `servers` names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_selector: Option<LabelSelector>,
    /// The namespaces that may use the plan; only its own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<AllowedNamespaces>,
    /// When present, these namespaces may run servers of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_servers: Option<OwnServers>,
    /// The domains that namespaces may send from through the granted servers: in From, Reply-To and other header fields that name a sender; none when absent. With `--plan-namespace` they bind campaigns of other namespaces; otherwise, and in that namespace itself, a campaign only gets a warning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub sender_domains: Vec<SenderDomains>,
    /// Whether a campaign may choose among the servers; `Allowed` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub narrowing: Option<Narrowing>,
    /// Whether a server that has reached its limits passes its share on to the others, for campaigns that do not set it; `Overflow` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weighting: Option<Weighting>,
    /// Limits for each namespace that uses the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<PlanLimits>,
}

impl PlanSpec {
    /// Whether a campaign may choose among the servers.
    #[must_use]
    pub fn narrowing(&self) -> Narrowing {
        self.narrowing.unwrap_or(Narrowing::Allowed)
    }

    /// The domains that a namespace may send from by this plan, whose name is `plan`; `namespaces` has the labels of all.
    #[must_use]
    pub fn senders(&self, plan: &Key, namespace: &str, namespaces: &BTreeMap<String, BTreeMap<String, String>>) -> Senders {
        let entries = self.sender_domains.iter().filter(|entry| {
            let is_selected = |selector: &LabelSelector| selector.matches_namespace(namespace, namespaces);
            entry.namespaces.iter().any(|named| named == namespace) || entry.namespace_selector.as_ref().is_some_and(is_selected)
        });
        Senders::new(plan.clone(), namespace, entries.flat_map(|entry| &entry.domains))
    }
}

/// A granted server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanServer {
    /// The server's name, in the plan's namespace.
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::NAME))]
    pub name: String,
    /// Its share is its weight divided by the sum of the weights of all eligible servers; 1 when absent, 0 sends nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = WEIGHT_MAX))]
    pub weight: Option<u32>,
}

impl PlanServer {
    /// Its weight.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.weight.unwrap_or(WEIGHT_DEFAULT)
    }
}

/// Which namespaces may use a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    Rule::new("self.from != 'Selector' || has(self.selector)", "`from: Selector` needs a selector, for example {matchLabels: {tier: pro}}")
        .at(".selector").required(),
    Rule::new("self.from == 'Selector' || !has(self.selector)", "a selector needs `from: Selector`; change `from`, or remove the selector")
        .at(".selector").forbidden(),
]))]
pub struct AllowedNamespaces {
    /// `Same` (the plan's own), `All`, or `Selector`.
    pub from: NamespacesFrom,
    /// With `from: Selector`: labels of the namespaces. A namespace always has the label `kubernetes.io/metadata.name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// Domains that namespaces may send from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [Rule::new(
    "[has(self.namespaces), has(self.namespaceSelector)].exists_one(given, given)",
    "exactly one of `namespaces` and `namespaceSelector` is needed",
)]))]
pub struct SenderDomains {
    /// The domains, each without its subdomains.
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 253), regex(pattern = pattern::DOMAIN)), extend("x-kubernetes-list-type" = "set"))]
    pub domains: Vec<String>,
    /// The namespaces, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 63), regex(pattern = pattern::NAMESPACE)), extend("x-kubernetes-list-type" = "set"))]
    pub namespaces: Vec<String>,
    /// The namespaces, by label; an empty selector selects all. A namespace always has the label `kubernetes.io/metadata.name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
}

/// Which namespaces are meant, as in the Gateway API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NamespacesFrom {
    /// The plan's own namespace.
    Same,
    /// Every namespace.
    All,
    /// Those whose labels match the selector.
    Selector,
}

/// Customers' own servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OwnServers {
    /// How many a namespace may have.
    #[schemars(range(min = 0, max = 10_000))]
    pub max: u32,
}

/// Whether a campaign may choose among the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Narrowing {
    /// It may choose.
    Allowed,
    /// It may not: the operator manages the pool.
    Forbidden,
}

/// Limits for each namespace that uses a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [RATES_DIFFER]))]
pub struct PlanLimits {
    /// Windows that all apply, each of a different length.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub rates: Vec<Rate>,
}

/// The observed state of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanStatus {
    /// The generation that this status is about.
    pub observed_generation: i64,
    /// Active out of all granted servers: `2/3`.
    #[serde(default)]
    pub active: String,
    /// Granted servers that are Active.
    pub servers_active: u32,
    /// Granted servers.
    pub servers_granted: u32,
    /// Each granted server.
    pub servers: Vec<PlanServerStatus>,
    /// Campaigns that use the plan.
    pub campaigns: u32,
    /// Why, in detail.
    pub conditions: Vec<Condition>,
}

/// The state of a granted server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanServerStatus {
    /// The server's name.
    pub name: String,
    /// Its weight.
    pub weight: u32,
    /// `Active`, `Inactive`, or `NotFound`.
    pub state: String,
}
