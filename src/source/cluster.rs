//! A cluster as the source: the three kinds, watched, with the Secrets and ConfigMaps that they name; and statuses on the objects.
//!
//! The files, in the order of the data, are listed in [`super`]. Only this room knows Kubernetes' client.

mod change;
mod collector;
mod connect;
mod events;
mod lease;
mod objects;
mod options;
mod others;
mod policy;
mod proxy;
mod read;
mod references;
mod repeated;
mod request;
mod served;
mod statuses;
mod store;
mod watches;
mod writes;

use std::sync::Arc;

pub use kube::Client;
use tokio::sync::watch;

pub use connect::connect;
pub use lease::{Lease, acquire};
pub use options::{LeaseOptions, Scope};
pub use read::{Wanted, find_objects, snapshot};
pub use served::differences;
pub use statuses::ClusterStatuses;
pub use writes::{AsJson, annotate};

use super::snapshot::Snapshot;

/// Watches the cluster for as long as the receiver lives. Returns with the first snapshot, once everything is there.
pub async fn watch(client: &Client, scope: &Scope, statuses: &ClusterStatuses) -> watch::Receiver<Arc<Snapshot>> {
    let (changes, incoming) = tokio::sync::mpsc::channel(4096);
    watches::start(client, scope, &changes);
    collector::start(client.clone(), scope, changes, incoming, statuses.clone()).await
}

#[cfg(test)]
mod tests {
    use kube::Config;

    use super::Client;

    /// A client to a port where nothing listens.
    pub(super) fn client_to_nowhere() -> Client {
        Client::try_from(Config::new("http://127.0.0.1:1".parse().expect("a URL"))).expect("a client")
    }
}
