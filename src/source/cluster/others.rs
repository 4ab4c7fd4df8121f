//! Other controllers of the same objects: two with separate ledgers would mail everybody twice.
//!
//! Replicas of one installation share a Lease. Another installation has another one, and so each Lease has a label, and says
//! which namespaces its holder watches. Before a controller begins, it looks for Leases of other installations that watch one of its
//! namespaces, and does nothing while one is held. With `--namespace` its rights may end at those namespaces, and Leases elsewhere
//! are not seen.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
        coordination::v1::Lease as LeaseObject,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
};
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
    /// What both watch, for people.
    shared: String,
}

/// The Leases of other installations, and since when each is unchanged.
pub(super) struct Others {
    client: Client,
    options: LeaseOptions,
    seen: BTreeMap<(String, String), (String, Instant)>,
    /// Whether Leases may be listed in the whole cluster; none before that is known.
    sees_all: Option<bool>,
    told: Repeated,
}

impl Others {
    pub fn new(client: &Client, options: &LeaseOptions) -> Self {
        Self { client: client.clone(), options: options.clone(), seen: BTreeMap::new(), sees_all: None, told: Repeated::default() }
    }

    /// The other running installation that came first; none where there is no other, or Leases may not be listed.
    ///
    /// # Errors
    /// When the API server cannot be reached.
    pub async fn rival(&mut self) -> Result<Option<Rival>, String> {
        let found = self.find_rival().await;
        if found.is_err() {
            // The others could not renew their Leases either: each one's duration begins anew.
            self.seen.clear();
        }
        found
    }

    async fn find_rival(&mut self) -> Result<Option<Rival>, String> {
        let sees_all = self.options.scope == Scope::Cluster || self.sees_all().await?;
        let places = match &self.options.scope {
            Scope::Namespaces(namespaces) if !sees_all => {
                let all: BTreeSet<&String> = namespaces.iter().chain([&self.options.namespace]).collect();
                all.into_iter().cloned().map(Some).collect()
            }
            _ => vec![None],
        };
        let (mut leases, mut unseen) = (Vec::new(), Vec::new());
        for place in places {
            match self.leases(place.as_deref()).await? {
                Some(found) => leases.extend(found),
                None => unseen.push(place.map_or_else(|| "in the whole cluster".to_owned(), |name| format!("in the namespace {name}"))),
            }
        }
        if !unseen.is_empty() {
            let words = format!(
                "the service account may not list leases {}, so a second controller of the same objects would not be noticed; bring its roles up to date",
                unseen.join(", ")
            );
            if let Said::Now { .. } = self.told.say(&words, Instant::now()) {
                tracing::warn!("{words}");
            }
        }
        Ok(self.judge(leases, Instant::now()))
    }

    /// Whether Leases may be listed in the whole cluster. Asked once, so that no request is refused.
    async fn sees_all(&mut self) -> Result<bool, String> {
        if let Some(sees_all) = self.sees_all {
            return Ok(sees_all);
        }
        let attributes = ResourceAttributes {
            group: Some("coordination.k8s.io".to_owned()),
            resource: Some("leases".to_owned()),
            verb: Some("list".to_owned()),
            ..ResourceAttributes::default()
        };
        let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..SelfSubjectAccessReviewSpec::default() };
        let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
        let api = Api::<SelfSubjectAccessReview>::all(self.client.clone());
        let sees_all = match tokio::time::timeout(REQUEST_TIMEOUT, api.create(&PostParams::default(), &review)).await {
            Ok(Ok(answer)) => answer.status.is_some_and(|status| status.allowed),
            // Nobody may ask in this cluster.
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => false,
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("the API server does not answer".to_owned()),
        };
        self.sees_all = Some(sees_all);
        Ok(sees_all)
    }

    /// The Leases of controllers, in a namespace or in all; none where they may not be listed.
    async fn leases(&self, namespace: Option<&str>) -> Result<Option<Vec<LeaseObject>>, String> {
        let client = self.client.clone();
        let api = namespace.map_or_else(|| Api::<LeaseObject>::all(client.clone()), |name| Api::namespaced(client.clone(), name));
        let parameters = ListParams::default().labels(LABEL).limit(LEASES_MAX);
        match tokio::time::timeout(REQUEST_TIMEOUT, api.list(&parameters)).await {
            Ok(Ok(leases)) => Ok(Some(leases.items)),
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => Ok(None),
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
            // Without the annotation, assume the whole cluster.
            let watches = lease.metadata.annotations.as_ref().and_then(|all| all.get(WATCHES)).map_or("*", String::as_str);
            let Some(shared) = self.options.scope.shared_with(watches) else { continue };
            let version = lease.metadata.resource_version.unwrap_or_default();
            let since = self.seen.get(&place).filter(|(known, _)| *known == version).map_or(now, |(_, since)| *since);
            seen.insert(place.clone(), (version, since));
            let spec = lease.spec.unwrap_or_default();
            let duration = Duration::from_secs(u64::try_from(spec.lease_duration_seconds.unwrap_or(15)).unwrap_or(15));
            if let Some(holder) = spec.holder_identity.filter(|holder| !holder.is_empty())
                && now.saturating_duration_since(since) < duration
            {
                rivals.push(Rival { since: spec.acquire_time.map(|time| time.0), place, holder, shared });
            }
        }
        self.seen = seen;
        rivals.into_iter().min()
    }

    /// Logs once that another installation is running.
    pub fn tell(&mut self, rival: &Rival) {
        let Rival { place: (namespace, name), holder, shared, .. } = rival;
        let words = format!(
            "{holder} already watches objects of {shared} (Lease {namespace}/{name}); this process does nothing while it does, because two controllers would mail everybody twice. Uninstall one of them, or give each its own namespaces (--namespace, the chart's `namespaces`)"
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
        others_of(Scope::Cluster)
    }

    fn others_of(scope: Scope) -> Others {
        let options = LeaseOptions {
            namespace: "mail".to_owned(),
            name: "mailfleet".to_owned(),
            duration: Duration::from_secs(15),
            identity: "me".to_owned(),
            scope,
        };
        Others::new(&client_to_nowhere(), &options)
    }

    fn lease(namespace: &str, holder: &str, version: &str, acquired_secs: i64) -> LeaseObject {
        lease_of(&Scope::Cluster, namespace, holder, version, acquired_secs)
    }

    fn lease_of(scope: &Scope, namespace: &str, holder: &str, version: &str, acquired_secs: i64) -> LeaseObject {
        let mut metadata = ObjectMeta {
            name: Some("mailfleet".to_owned()),
            namespace: Some(namespace.to_owned()),
            resource_version: Some(version.to_owned()),
            ..ObjectMeta::default()
        };
        mark(&mut metadata, scope);
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
    async fn no_lease_expires_while_the_api_server_is_away() {
        let (mut others, begin) = (others(), Instant::now());
        let held = || vec![lease("try", "x", "2", 5)];
        assert!(others.judge(held(), begin).is_some());
        others.rival().await.expect_err("the API server is away");
        assert!(others.judge(held(), begin + Duration::from_secs(60)).is_some(), "it could not renew either");
        assert_eq!(others.judge(held(), begin + Duration::from_secs(75)), None, "it did not renew although it could");
    }

    #[tokio::test]
    async fn whoever_watches_none_of_the_same_namespaces_is_no_rival() {
        let of = |names: &[&str]| Scope::new(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(), None);
        let many: Vec<String> = (0..2000).map(|number| format!("a-namespace-with-a-long-name-{number}")).collect();
        let cases = [
            (of(&[]), of(&[]), Some("this cluster")),
            (of(&[]), of(&["a"]), Some("this cluster")),
            (of(&["a"]), of(&[]), Some("this cluster")),
            (of(&["a"]), of(&["ab", "b"]), None),
            (of(&["a", "b", "c"]), of(&["b", "c", "d"]), Some("the namespace b, c")),
            // The annotation is cut off.
            (of(&["z"]), Scope::new(&many, None), Some("this cluster")),
        ];
        for (ours, theirs, shared) in cases {
            let rival = others_of(ours.clone()).judge(vec![lease_of(&theirs, "try", "x", "1", 1)], Instant::now());
            assert_eq!(rival.as_ref().map(|rival| &*rival.shared), shared, "{ours:?} beside {theirs:?}");
        }
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
