//! What reaches the collector: changes of the streams, and what was fetched.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde_json::Value;

use crate::{
    resources::{Campaign, Key, Kind, Plan, SendingServer},
    source::secrets::{ConfigMapData, SecretData},
};

/// A change that reaches the collector.
pub(super) enum Change {
    Server(WatchStep, Option<Observed<SendingServer>>),
    Plan(WatchStep, Option<Observed<Plan>>),
    Campaign(WatchStep, Option<Observed<Campaign>>),
    Namespace(WatchStep, Option<(String, BTreeMap<String, String>)>),
    /// The metadata of a Secret or ConfigMap changed.
    Referred {
        step: WatchStep,
        /// Whether it is the stream of Secrets.
        is_secret: bool,
        named: Option<DataRef>,
    },
    Fetched(DataRef, Content),
}

/// The place of a change in its stream, as in kube's `watcher::Event`.
pub(super) enum WatchStep {
    /// A list of the namespace, or of the whole cluster, begins.
    Begin(Option<String>),
    /// An object of the list.
    Listed,
    /// The list is complete.
    End(Option<String>),
    /// An object was created or changed.
    Changed,
    /// An object was deleted.
    Gone,
    /// The object of a stream that only has one.
    Sole,
}

/// An object as the API server sent it.
pub(super) struct Observed<K> {
    pub key: Key,
    pub uid: String,
    pub resource_version: u64,
    pub deleting: bool,
    pub generation: i64,
    pub has_finalizer: bool,
    /// The object, or why it cannot be read.
    pub object: Result<Arc<K>, String>,
    /// Its status; none before a controller wrote one.
    pub status: Option<Value>,
    /// What it refers to.
    pub named: Vec<DataRef>,
}

impl<K> fmt::Debug for Observed<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.key)
    }
}

/// A Secret or a ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DataRef {
    pub is_secret: bool,
    pub key: Key,
}

impl DataRef {
    pub fn secret(namespace: &str, name: &str) -> Self {
        Self { is_secret: true, key: Key::new(namespace, name) }
    }

    pub fn config_map(namespace: &str, name: &str) -> Self {
        Self { is_secret: false, key: Key::new(namespace, name) }
    }
}

/// What was fetched.
#[derive(Clone, PartialEq)]
pub(super) enum Content {
    Secret(SecretData),
    ConfigMap(ConfigMapData),
    /// It does not exist.
    Absent,
    /// It may not be read, and why.
    Forbidden(String),
}

/// A kind of object that refers to Secrets or ConfigMaps.
pub(super) trait HasDataRefs: Kind {
    /// The Secrets and ConfigMaps that it names.
    fn data_refs(&self) -> Vec<DataRef>;
}

impl HasDataRefs for SendingServer {
    fn data_refs(&self) -> Vec<DataRef> {
        let mut named: Vec<DataRef> =
            self.spec.secrets().into_iter().map(|needed| DataRef::secret(self.namespace(), &needed.key.name)).collect();
        named.sort();
        named.dedup();
        named
    }
}

impl HasDataRefs for Plan {
    fn data_refs(&self) -> Vec<DataRef> {
        Vec::new()
    }
}

impl HasDataRefs for Campaign {
    fn data_refs(&self) -> Vec<DataRef> {
        let secrets = self.spec.secrets();
        let secrets = secrets.iter().map(|needed| DataRef::secret(self.namespace(), &needed.key.name));
        let config_maps = self.spec.config_maps().map(|name| DataRef::config_map(self.namespace(), name));
        let mut named: Vec<DataRef> = secrets.chain(config_maps).collect();
        named.sort();
        named.dedup();
        named
    }
}
