//! A client for the cluster, from a kubeconfig or as a pod.

use std::{path::Path, time::Duration};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use super::{proxy, request::REQUEST_TIMEOUT};

/// For a connection to the API server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the cluster cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// There is no usable configuration.
    #[error("no cluster is configured: {0}. Use --kubeconfig FILE, set KUBECONFIG, or run in a pod with a service account.")]
    NoConfig(String),
    /// The client could not be created.
    #[error("the client for the cluster cannot be created: {0}")]
    Client(#[source] kube::Error),
}

/// A client for the cluster, which does not connect yet. Without `kubeconfig`: `KUBECONFIG`, `~/.kube/config`, or the service account
/// of the pod.
///
/// # Errors
/// When there is no configuration, or it cannot be used.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, ClusterError> {
    let read = match kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let from_file = match read {
        Ok(file) => of_kubeconfig(file).await,
        Err(error) => Err(words_of(&error)),
    };
    let mut config = match from_file {
        Ok(config) => config,
        Err(why) if kubeconfig.is_some() => return Err(ClusterError::NoConfig(why)),
        Err(why) => Config::incluster().map_err(|error| ClusterError::NoConfig(format!("{why}; and in a pod: {error}")))?,
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
