//! Other controllers of the same objects: two with separate ledgers would mail everybody twice.
//!
//! Replicas of one installation share a Lease. Another installation has another one, so each Lease has a label, and an annotation
//! with the namespaces that its holder watches. A controller of the whole cluster looks for other Leases before it begins, and does
//! nothing while one is held. With `--namespace` its permissions end at those namespaces, and it does not look.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{api::coordination::v1::Lease as LeaseObject, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client, api::ListParams};
use tokio::time::Instant;

use super::{
    options::{LeaseOptions, Scope},
    repeated::{Repeated, Said},
    request::REQUEST_TIMEOUT,
};
use crate::resources::bound::bounded;

/// The label of every Lease of a controller.
const LABEL: &str = "mailfleet.dev/controller";
/// The annotation with the watched namespaces.
const WATCHES: &str = "mailfleet.dev/watches";
/// Its longest value, bytes; all annotations of an object share 256 KiB.
const WATCHES_MAX: usize = 32 * 1024;
/// Leases in one answer; there are as many as installations.
const LEASES_MAX: u32 = 500;

/// Marks our own Lease.
pub(super) fn mark(metadata: &mut ObjectMeta, scope: &Scope) {
    metadata.labels.get_or_insert_default().insert(LABEL.to_owned(), "true".to_owned());
    let watches = bounded(scope.as_annotation().into(), WATCHES_MAX).into_owned();
    metadata.annotations.get_or_insert_default().insert(WATCHES.to_owned(), watches);
}

/// Another installation that is running.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rival {
    /// When it acquired its Lease.
    since: Option<Timestamp>,
    /// Namespace and name of its Lease.
    place: (String, String),
    holder: String,
}

/// The Leases of other installations, and since when each is unchanged.
pub(super) struct Others {
    client: Client,
    options: LeaseOptions,
    seen: BTreeMap<(String, String), (String, Instant)>,
    told: Repeated,
}

impl Others {
    pub fn new(client: &Client, options: &LeaseOptions) -> Self {
        Self { client: client.clone(), options: options.clone(), seen: BTreeMap::new(), told: Repeated::default() }
    }

    /// The other running installation that came first; none where there is no other, or Leases may not be listed.
    ///
    /// # Errors
    /// When the API server cannot be reached.
    pub async fn rival(&mut self) -> Result<Option<Rival>, String> {
        if self.options.scope != Scope::Cluster {
            return Ok(None);
        }
        let api = Api::<LeaseObject>::all(self.client.clone());
        let parameters = ListParams::default().labels(LABEL).limit(LEASES_MAX);
        match tokio::time::timeout(REQUEST_TIMEOUT, api.list(&parameters)).await {
            Ok(Ok(leases)) => Ok(self.judge(leases.items, Instant::now())),
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                let words = "the service account is not allowed to list leases in the whole cluster, so a second controller of the same objects would not be noticed; update its ClusterRole";
                if let Said::Now { .. } = self.told.say(words, Instant::now()) {
                    tracing::warn!("{words}");
                }
                Ok(None)
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the API server does not answer".to_owned()),
        }
    }

    /// The running installation that came first. By our own clock, a Lease that does not change for its whole duration has expired.
    fn judge(&mut self, leases: Vec<LeaseObject>, now: Instant) -> Option<Rival> {
        let mut rivals = Vec::new();
        let mut seen = BTreeMap::new();
        for lease in leases {
            let place = (lease.metadata.namespace.unwrap_or_default(), lease.metadata.name.unwrap_or_default());
            if place.0 == self.options.namespace && place.1 == self.options.name {
                continue;
            }
            let version = lease.metadata.resource_version.unwrap_or_default();
            let since = self.seen.get(&place).filter(|(known, _)| *known == version).map_or(now, |(_, since)| *since);
            seen.insert(place.clone(), (version, since));
            let spec = lease.spec.unwrap_or_default();
            let duration = Duration::from_secs(u64::try_from(spec.lease_duration_seconds.unwrap_or(15)).unwrap_or(15));
            if let Some(holder) = spec.holder_identity.filter(|holder| !holder.is_empty())
                && now.saturating_duration_since(since) < duration
            {
                rivals.push(Rival { since: spec.acquire_time.map(|time| time.0), place, holder });
            }
        }
        self.seen = seen;
        rivals.into_iter().min()
    }

    /// Logs once that another installation is running.
    pub fn tell(&mut self, rival: &Rival) {
        let Rival { place: (namespace, name), holder, .. } = rival;
        let words = format!(
            "{holder} already watches this cluster (Lease {namespace}/{name}); this process does nothing meanwhile, because two would mail everybody twice. Uninstall one of them, or restrict each to its own namespaces (--namespace, the chart's `namespaces`)"
        );
        if let Said::Now { .. } = self.told.say(&words, Instant::now()) {
            tracing::warn!("{words}");
        }
    }

    /// Of two that began at the same moment, whether the other was first. Both compare the same two Leases.
    pub fn was_first(&self, rival: &Rival, acquired: Option<Timestamp>) -> bool {
        let ours = (acquired, &self.options.namespace, &self.options.name);
        (rival.since, &rival.place.0, &rival.place.1) < ours
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{api::coordination::v1::LeaseSpec, apimachinery::pkg::apis::meta::v1::MicroTime};

    use super::*;
    use crate::source::cluster::tests::client_to_nowhere;

    fn others() -> Others {
        let options = LeaseOptions {
            namespace: "mail".to_owned(),
            name: "mailfleet".to_owned(),
            duration: Duration::from_secs(15),
            identity: "me".to_owned(),
            scope: Scope::Cluster,
        };
        Others::new(&client_to_nowhere(), &options)
    }

    fn lease(namespace: &str, holder: &str, version: &str, acquired_secs: i64) -> LeaseObject {
        let mut metadata = ObjectMeta {
            name: Some("mailfleet".to_owned()),
            namespace: Some(namespace.to_owned()),
            resource_version: Some(version.to_owned()),
            ..ObjectMeta::default()
        };
        mark(&mut metadata, &Scope::Cluster);
        let acquire_time = Timestamp::from_second(acquired_secs).ok().map(MicroTime);
        let spec =
            LeaseSpec { holder_identity: Some(holder.to_owned()), lease_duration_seconds: Some(15), acquire_time, ..LeaseSpec::default() };
        LeaseObject { metadata, spec: Some(spec) }
    }

    #[tokio::test]
    async fn only_a_lease_that_lives_is_another_controller() {
        let (mut others, begin) = (others(), Instant::now());
        let at = |secs: u64| begin + Duration::from_secs(secs);
        assert_eq!(others.judge(vec![lease("mail", "another replica", "1", 1)], at(0)), None, "our own Lease is not another's");
        assert_eq!(others.judge(vec![lease("try", "", "1", 1)], at(0)), None, "it was given up");
        let found = others.judge(vec![lease("try", "x", "2", 5), lease("old", "y", "2", 3)], at(0)).expect("two others");
        assert_eq!(found.holder, "y", "who leads longest comes first");
        assert!(others.judge(vec![lease("try", "x", "2", 5)], at(14)).is_some());
        assert_eq!(others.judge(vec![lease("try", "x", "2", 5)], at(15)), None, "it died");
        assert!(others.judge(vec![lease("try", "x", "3", 5)], at(16)).is_some(), "it lives after all");
    }

    #[tokio::test]
    async fn of_two_at_once_one_is_first() {
        let (mut others, now) = (others(), Instant::now());
        let mut rival = |secs| others.judge(vec![lease("a", "x", "1", secs)], now).expect("another");
        let (earlier, same, later) = (rival(9), rival(10), rival(11));
        let ours = Timestamp::from_second(10).ok();
        assert_eq!([earlier, same, later].map(|rival| others.was_first(&rival, ours)), [true, true, false]);
    }
}
