//! What users write: the three kinds as plain data, their schema and their conditions. No I/O.

pub mod bound;
pub mod campaign;
pub mod condition;
pub mod crd;
pub mod duration;
pub mod fate;
pub mod pattern;
pub mod plan;
pub mod resume;
pub mod rule;
pub mod schema;
pub mod secret;
pub mod senders;
pub mod sending_server;
pub mod server_table;
pub mod vendor_fields;

use std::{collections::BTreeMap, fmt, sync::Arc};

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use campaign::{Campaign, CampaignSpec};
pub use condition::{Condition, ConditionStatus, ConditionType, Reason};
pub use duration::Duration;
pub use plan::{Plan, PlanSpec};
use rule::Rule;
pub use sending_server::{SendingServer, SendingServerSpec};

/// The API group of the three kinds.
pub const GROUP: &str = "mailfleet.dev";
/// The version of the three kinds.
pub const VERSION: &str = "v1alpha1";
/// Group and version of the three kinds, as documents name them.
pub const API_VERSION: &str = "mailfleet.dev/v1alpha1";
/// The namespace of an object that names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// The largest weight of a server (the bound of the Gateway API).
const WEIGHT_MAX: u32 = 1_000_000;
/// The label that every namespace has: its name.
pub const NAME_LABEL: &str = "kubernetes.io/metadata.name";
/// On a campaign in a cluster while it sends: a deletion waits for the messages on the wire.
pub const FINALIZER: &str = "mailfleet.dev/sending";

/// The name of a namespaced object. It is the key of many tables, so a copy is two pointers.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// The customer.
    pub namespace: Arc<str>,
    /// The object's name within it.
    pub name: Arc<str>,
}

impl Key {
    /// A key from its two parts.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The part of Kubernetes' object metadata that Mailfleet reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The name: a DNS label or subdomain (RFC 1123), 253 characters at most.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// The customer that the object belongs to; `default` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
    /// Labels, for selectors.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations; Mailfleet reads `mailfleet.dev/resume` of a campaign.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Counts the changes of the spec, from 1. Set by the source, never by a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// When the object was first seen. Set by the source, never by a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub creation_timestamp: Option<Timestamp>,
}

/// An object of one of the three kinds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[serde(bound(deserialize = "S: DeserializeOwned, T: DeserializeOwned"))]
pub struct Object<S, T> {
    /// Always `mailfleet.dev/v1alpha1`.
    pub api_version: String,
    /// `SendingServer`, `Plan` or `Campaign`.
    pub kind: String,
    /// Name, namespace, labels.
    pub metadata: Metadata,
    /// The desired state; a person writes it.
    pub spec: S,
    /// The observed state; Mailfleet writes it, and ignores it in files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<T>,
}

impl<S, T> Object<S, T> {
    /// The object's key.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::new(self.namespace(), self.metadata.name.as_str())
    }

    /// The object's namespace, `default` when it names none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE)
    }

    /// The generation as set by the source; 0 before that.
    #[must_use]
    pub fn generation(&self) -> i64 {
        self.metadata.generation.unwrap_or(0)
    }
}

/// What is common to the types of the three kinds.
pub trait Kind: Clone + Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// `SendingServer`, `Plan` or `Campaign`.
    const KIND: &'static str;
    /// `sendingservers`, `plans` or `campaigns`.
    const PLURAL: &'static str;
    /// The object's metadata, for the source to set generation and creation time.
    fn metadata_mut(&mut self) -> &mut Metadata;
}

macro_rules! kinds {
    ($($name:ident $plural:literal),*) => { $(
        impl Kind for $name {
            const KIND: &'static str = stringify!($name);
            const PLURAL: &'static str = $plural;
            fn metadata_mut(&mut self) -> &mut Metadata { &mut self.metadata }
        }
    )* };
}
kinds!(SendingServer "sendingservers", Plan "plans", Campaign "campaigns");

/// A reference to an object in the same namespace, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LocalRef {
    /// The object's name.
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::NAME))]
    pub name: String,
}

/// A reference to one key of a Secret or ConfigMap in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyRef {
    /// The Secret's or ConfigMap's name.
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::NAME))]
    pub name: String,
    /// The key within it.
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::KEY))]
    pub key: String,
}

/// A number of messages in a window of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [Rule::new(
    "duration(self.per) >= duration('100ms') && duration(self.per) <= duration('744h')",
    "this must be from 100ms to 744h (31 days)",
).at(".per")]))]
pub struct Rate {
    /// The most messages in any window of length `per`.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub messages: u64,
    /// The length of the window, 100ms to 744h (31 days). A window of up to 1m paces sending; a longer one, once used up, takes the server out until it reopens.
    pub per: Duration,
}

/// A Kubernetes label selector. An empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelSelector {
    /// Labels that must be present with exactly these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "match_labels")]
    pub match_labels: BTreeMap<String, String>,
    /// Requirements that must all hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub match_expressions: Vec<LabelRequirement>,
}

/// One requirement of a label selector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    Rule::new("!(self.operator in ['In', 'NotIn']) || has(self.values) && size(self.values) > 0", "the operators In and NotIn need at least one value")
        .at(".values").required(),
    Rule::new("self.operator in ['In', 'NotIn'] || !has(self.values) || size(self.values) == 0", "the operators Exists and DoesNotExist take no values; remove them, or use In or NotIn")
        .at(".values").forbidden(),
]))]
pub struct LabelRequirement {
    /// The label.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// How it is compared.
    pub operator: LabelOperator,
    /// The values of `In` and `NotIn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 63)))]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LabelOperator {
    /// The value is one of `values`.
    In,
    /// The value is none of `values`, or the label is absent.
    NotIn,
    /// The label is present.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

fn match_labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "maxProperties": 64, "additionalProperties": {"type": "string", "maxLength": 63}})
}

impl LabelSelector {
    /// Whether it selects a namespace, by its labels and by [`NAME_LABEL`].
    #[must_use]
    pub fn matches_namespace(&self, namespace: &str, namespaces: &BTreeMap<String, BTreeMap<String, String>>) -> bool {
        let mut labels = namespaces.get(namespace).cloned().unwrap_or_default();
        labels.insert(NAME_LABEL.to_owned(), namespace.to_owned());
        self.matches(&labels)
    }

    /// Whether it selects an object with these labels.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| {
                let value = labels.get(&requirement.key);
                match requirement.operator {
                    LabelOperator::In => value.is_some_and(|v| requirement.values.contains(v)),
                    LabelOperator::NotIn => value.is_none_or(|v| !requirement.values.contains(v)),
                    LabelOperator::Exists => value.is_some(),
                    LabelOperator::DoesNotExist => value.is_none(),
                }
            })
    }
}
