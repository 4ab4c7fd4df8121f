//! A cluster as the source: the three kinds, watched, with the Secrets and ConfigMaps that they name; and statuses on the objects.
//!
//! - `watches`: the streams of the API server. - `collector`: what they say becomes snapshots. - `objects`: one object, read.
//! - `references`: the Secrets and ConfigMaps that are named, and no others. - `statuses`: status, events and finalizers,
//!   written when the API server can be reached. - `lease`: one leader. - `served`: whether the CRDs are those of this version.
//!   Only this room knows Kubernetes' client.

mod collector;
mod events;
pub mod lease;
mod objects;
mod references;
mod served;
mod statuses;
mod watches;
mod writes;

use std::{path::PathBuf, sync::Arc, time::Duration};

pub use kube::Client;
use kube::{Config, config::KubeConfigOptions};
use tokio::sync::watch;

pub use lease::{Lease, LeaseOptions};
pub use served::differences;
pub use statuses::ClusterStatuses;
pub use writes::annotate_campaign;

use super::Snapshot;

/// The name under which Mailfleet writes (`managedFields`).
pub const FIELD_MANAGER: &str = "mailfleet";
/// On a campaign while it sends: its deletion waits for what is on the wire.
pub const FINALIZER: &str = "mailfleet.dev/sending";

/// For a connection to the API server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For one request that is no watch.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// What is watched.
#[derive(Clone, Debug, Default)]
pub struct ClusterOptions {
    /// A kubeconfig file; absent: `KUBECONFIG`, `~/.kube/config`, or the service account of the pod.
    pub kubeconfig: Option<PathBuf>,
    /// Only these namespaces; all when empty.
    pub namespaces: Vec<String>,
}

/// Why the cluster cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// There is no way to it.
    #[error("no cluster can be reached: {0}. Give --kubeconfig FILE, set KUBECONFIG, or run as a pod with a service account.")]
    NoConfig(String),
    /// The client could not be made.
    #[error("the client for the cluster cannot be set up: {0}")]
    Client(#[source] kube::Error),
}

/// A client for the cluster. It does not connect yet.
///
/// # Errors
/// When there is no configuration, or it cannot be used.
pub async fn connect(options: &ClusterOptions) -> Result<Client, ClusterError> {
    let mut config = match &options.kubeconfig {
        Some(path) => {
            let file = kube::config::Kubeconfig::read_from(path).map_err(|error| ClusterError::NoConfig(error.to_string()))?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .map_err(|error| ClusterError::NoConfig(error.to_string()))?
        }
        None => Config::infer().await.map_err(|error| ClusterError::NoConfig(error.to_string()))?,
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.write_timeout = Some(REQUEST_TIMEOUT);
    Client::try_from(config).map_err(ClusterError::Client)
}

/// The namespaces that are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    Cluster,
    /// These.
    Namespaces(Vec<String>),
}

impl Scope {
    /// The scope of `--namespace` and `--plan-namespace`: where plans count is watched too.
    #[must_use]
    pub fn new(namespaces: &[String], plan_namespace: Option<&str>) -> Self {
        if namespaces.is_empty() {
            return Self::Cluster;
        }
        let mut all: Vec<String> = namespaces.iter().cloned().chain(plan_namespace.map(str::to_owned)).collect();
        all.sort();
        all.dedup();
        Self::Namespaces(all)
    }
}

/// Watches the cluster for as long as the receiver lives. Returns with the first snapshot, once everything is there.
pub async fn watch(client: &Client, scope: &Scope, statuses: &ClusterStatuses) -> watch::Receiver<Arc<Snapshot>> {
    let (changes, incoming) = tokio::sync::mpsc::channel(4096);
    watches::start(client, scope, &changes);
    collector::start(client.clone(), scope, changes, incoming, statuses.clone()).await
}

#[cfg(test)]
mod tests {
    use super::{Client, Config};

    /// A client to a port where nothing listens.
    pub(super) fn client_to_nowhere() -> Client {
        Client::try_from(Config::new("http://127.0.0.1:1".parse().expect("a URL"))).expect("a client")
    }
}
