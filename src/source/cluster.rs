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
mod others;
mod proxy;
mod references;
mod repeated;
mod served;
mod statuses;
mod watches;
mod writes;

use std::{path::PathBuf, sync::Arc, time::Duration};

pub use kube::Client;
use kube::{
    Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};
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
    let read = match &options.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let from_file = match read {
        Ok(file) => of_kubeconfig(file).await,
        Err(error) => Err(words_of(&error)),
    };
    let mut config = match from_file {
        Ok(config) => config,
        Err(why) if options.kubeconfig.is_some() => return Err(ClusterError::NoConfig(why)),
        Err(why) => Config::incluster().map_err(|error| ClusterError::NoConfig(format!("{why}; and as a pod: {error}")))?,
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.write_timeout = Some(REQUEST_TIMEOUT);
    Client::try_from(config).map_err(ClusterError::Client)
}

async fn of_kubeconfig(file: Kubeconfig) -> Result<Config, String> {
    let context = file.contexts.iter().find(|context| Some(&context.name) == file.current_context.as_ref());
    let cluster = context.and_then(|context| context.context.as_ref()).map(|context| context.cluster.clone());
    let cluster = file.clusters.iter().find(|named| Some(&named.name) == cluster.as_ref());
    let own = cluster.and_then(|named| named.cluster.as_ref()).and_then(|cluster| cluster.proxy_url.clone());
    let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.map_err(|error| words_of(&error))?;
    let proxy = proxy::choose(own.as_deref(), &config.cluster_url, |name| std::env::var(name).ok());
    config.proxy_url = match proxy.map(|proxy| proxy.parse::<http::Uri>()) {
        None => None,
        Some(Ok(proxy)) => Some(proxy),
        // A proxy's URL may hold a password.
        Some(Err(error)) => {
            return Err(format!("the URL of the proxy for the API server (proxy-url, HTTPS_PROXY) cannot be read: {error}"));
        }
    };
    Ok(config)
}

fn words_of(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::ParseNoProxy(cause) => format!("NO_PROXY cannot be read: {cause}; leave out empty entries and spaces"),
        KubeconfigError::ParseProxyUrl(cause) => {
            format!("the URL of the proxy for the API server (proxy-url, HTTPS_PROXY) cannot be read: {cause}")
        }
        other => other.to_string(),
    }
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

    /// What is watched here and by whoever left this annotation on a Lease, for people; none where nothing is.
    fn shared_with(&self, annotation: &str) -> Option<String> {
        // A list that was cut off may have named anything.
        let is_known = annotation != "*" && !annotation.ends_with('…');
        let Self::Namespaces(own) = self else { return Some("this cluster".to_owned()) };
        if !is_known {
            return Some("this cluster".to_owned());
        }
        let both: Vec<&str> = annotation.split(',').filter(|name| own.iter().any(|own| own == name)).collect();
        (!both.is_empty()).then(|| format!("the namespace {}", both.join(", ")))
    }

    /// As a Lease tells it: `*`, or names with commas.
    fn as_annotation(&self) -> String {
        match self {
            Self::Cluster => "*".to_owned(),
            Self::Namespaces(namespaces) => namespaces.join(","),
        }
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
