//! The words that every room uses, as Kubernetes' `meta/v1` has them: keys and references, conditions and their reasons, durations,
//! rates, and what stands in the way. Pure.

pub(crate) mod blocker;
pub(crate) mod bound;
pub(crate) mod command;
pub(crate) mod condition;
pub(crate) mod count_or_percent;
pub(crate) mod duration;
pub(crate) mod link;
mod nearest;
pub(crate) mod net;
pub mod pattern;
pub(crate) mod percent;
pub mod pieces;
pub(crate) mod rule;
pub mod secret;
pub(crate) mod whole;

use std::{fmt, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use blocker::{Bar, Blocker};
pub use condition::{Condition, ConditionStatus, ConditionType, Reason};
pub use count_or_percent::CountOrPercent;
pub use duration::Duration;
pub use nearest::nearest;
pub use percent::Percent;
pub use pieces::Pieces;
use rule::Rule;

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

    /// What names it on a command line: `spring`, or `spring -n shop` outside the namespace `default`.
    #[must_use]
    pub fn as_arguments(&self) -> String {
        if &*self.namespace == "default" { self.name.to_string() } else { format!("{} -n {}", self.name, self.namespace) }
    }

    /// A key from `namespace/name`, as [`fmt::Display`] writes it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.split_once('/').map(|(namespace, name)| Self::new(namespace, name))
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
    /// The name of the Secret or ConfigMap.
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

/// Windows up to this length pace, milliseconds.
const PACING_WINDOW_MAX_MS: i64 = 60_000;

impl Rate {
    /// Whether it paces: messages are spread over it, and the server stays in use when it is used up.
    #[must_use]
    pub fn paces(&self) -> bool {
        self.per.as_millis() <= PACING_WINDOW_MAX_MS
    }
}
