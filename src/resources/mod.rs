//! What users write: the three kinds as plain data, their schema and their conditions. Pure.

pub(crate) mod audience;
pub mod campaign;
pub(crate) mod content;
pub mod crd;
pub(crate) mod dkim;
pub mod fate;
pub(crate) mod feedback;
pub mod hours;
pub(crate) mod json_pages;
pub mod mailbox_providers;
pub(crate) mod outcomes;
pub(crate) mod pause_when;
pub(crate) mod plan;
pub(crate) mod resume;
pub(crate) mod rollout;
pub(crate) mod schema;
pub(crate) mod senders;
pub(crate) mod sending_server;
pub(crate) mod server_table;
pub(crate) mod sql;
pub(crate) mod stop_when;
pub(crate) mod table;
pub(crate) mod unsubscribe;
pub(crate) mod url_auth;
pub(crate) mod vendor_fields;
pub(crate) mod webhook;
pub(crate) mod workbook;

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::meta::rule::Rule;
pub use crate::meta::{
    Bar, Blocker, Condition, ConditionStatus, ConditionType, CountOrPercent, Duration, Key, KeyRef, LocalRef, Percent, Rate, Reason,
    pattern, secret,
};
pub(crate) use crate::meta::{bound, condition, rule};
pub use campaign::{Campaign, CampaignSpec};
pub use dkim::SigningKey;
pub use plan::{Plan, PlanSpec};
pub use sending_server::{SendingServer, SendingServerSpec};

/// The API group of the three kinds.
pub const GROUP: &str = "mailfleet.dev";
/// The version of the three kinds.
pub const VERSION: &str = "v1alpha1";
/// Group and version of the three kinds, as documents name them.
pub const API_VERSION: &str = "mailfleet.dev/v1alpha1";
/// The namespace of an object that names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// The annotations that are acted on; others of an object are not read.
pub const ANNOTATIONS: [&str; 2] = [resume::ANNOTATION, rollout::ANNOTATION];

/// The largest weight of a server (the bound of the Gateway API).
const WEIGHT_MAX: u32 = 1_000_000;
/// The weight of a server to which nobody gives one.
pub const WEIGHT_DEFAULT: u32 = 1;
/// The label that every namespace has: its name.
pub const NAME_LABEL: &str = "kubernetes.io/metadata.name";
/// On a campaign in a cluster while it sends: a deletion waits for the messages on the wire.
pub const FINALIZER: &str = "mailfleet.dev/sending";

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
    /// Annotations; Mailfleet reads `mailfleet.dev/resume` of a campaign or a server.
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
    // Shared by all copies of the object.
    pub spec: Arc<S>,
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
    /// The object's metadata.
    fn metadata(&self) -> &Metadata;
    /// The same, to set generation and creation time.
    fn metadata_mut(&mut self) -> &mut Metadata;
}

/// Why an object cannot be read into its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The field that does not fit: `spec.limits.rates[0].per`.
    pub path: String,
    /// What is wrong with it.
    pub why: String,
}

/// Reads an object into its type.
///
/// # Errors
/// The field that does not fit, and why.
pub fn from_json<K: Kind>(json: &Value) -> Result<K, Unreadable> {
    // Only an object that cannot be read is worth the time and the memory of code that follows the path of each field.
    K::deserialize(json).or_else(|_| {
        serde_path_to_error::deserialize(json)
            .map_err(|error| Unreadable { path: error.path().to_string(), why: error.inner().to_string() })
    })
}

macro_rules! kinds {
    ($($name:ident $plural:literal),*) => { $(
        impl Kind for $name {
            const KIND: &'static str = stringify!($name);
            const PLURAL: &'static str = $plural;
            fn metadata(&self) -> &Metadata { &self.metadata }
            fn metadata_mut(&mut self) -> &mut Metadata { &mut self.metadata }
        }
    )* };
}
kinds!(SendingServer "sendingservers", Plan "plans", Campaign "campaigns");

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
