//! The collector, with what an API server would say written out. Nothing answers: every fetch stays open.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;
use crate::{
    resources::secret::SecretValue,
    source::{
        Origin,
        cluster::{
            change::{Content, DataRef, Observed},
            objects,
            tests::client_to_nowhere,
        },
    },
};

fn collector() -> Collector {
    let client = client_to_nowhere();
    let (changes, _) = mpsc::channel(16);
    Collector {
        servers: ObjectStore::default(),
        plans: ObjectStore::default(),
        campaigns: ObjectStore::default(),
        namespaces: BTreeMap::new(),
        namespaces_listed: None,
        references: References::new(client.clone(), changes),
        statuses: ClusterStatuses::start(client, "test"),
        incomplete: 0,
    }
}

fn server(namespace: &str, name: &str, generation: i64, smtp: Value) -> Change {
    seen(WatchStep::Changed, namespace, name, generation, smtp)
}

fn seen(listing: WatchStep, namespace: &str, name: &str, generation: i64, smtp: Value) -> Change {
    let object = json!({
        "apiVersion": "mailfleet.dev/v1alpha1", "kind": "SendingServer",
        "metadata": {"name": name, "namespace": namespace, "uid": "u1", "resourceVersion": "7", "generation": generation},
        "spec": {"provider": {"smtp": smtp}},
    });
    Change::Server(listing, objects::read(serde_json::from_value(object).expect("an object")))
}

fn names(collector: &mut Collector) -> Vec<String> {
    collector.snapshot().servers.keys().map(ToString::to_string).collect()
}

#[tokio::test]
async fn an_object_is_shown_once_what_it_names_is_known() {
    let mut collector = collector();
    let login = json!({"host": "a.example.com", "auth": {"secretRef": {"name": "login"}}});
    assert!(!collector.take(server("shop", "a", 1, login.clone())));
    assert!(!collector.is_complete() && names(&mut collector).is_empty());
    let named = DataRef::secret("shop", "login");
    let secret = Content::Secret(BTreeMap::from([("username".to_owned(), SecretValue::new("ann"))]));
    assert!(collector.take(Change::Fetched(named.clone(), secret.clone())));
    assert!(collector.is_complete());
    assert_eq!(names(&mut collector), ["shop/a"]);
    assert!(collector.snapshot().secrets.get("shop", "login", "username").is_ok());

    // The same again changes nothing; neither does our own status.
    assert!(!collector.take(Change::Fetched(named.clone(), secret)));
    assert!(!collector.take(server("shop", "a", 1, login.clone())));

    // What may not be read any more stays in use; what is gone does not.
    assert!(!collector.take(Change::Fetched(named.clone(), Content::Forbidden("no".to_owned()))));
    assert!(collector.snapshot().secrets.get("shop", "login", "username").is_ok());
    assert!(collector.take(Change::Fetched(named, Content::Absent)));
    let missing = collector.snapshot().secrets.get("shop", "login", "username").expect_err("it is gone");
    assert!(!missing.secret_exists && missing.to_string().contains("kubectl"), "{missing}");

    // A newer version waits for its own Secret, and the old one stays meanwhile.
    let other = json!({"host": "b.example.com", "auth": {"secretRef": {"name": "other"}}});
    assert!(!collector.take(server("shop", "a", 2, other)));
    assert_eq!(collector.snapshot().servers.values().next().expect("a server").object.generation(), 1);
}

#[tokio::test]
async fn objects_that_share_what_they_name_wait_for_the_rest_of_it_each() {
    let mut collector = collector();
    let known = |name: &str| Change::Fetched(DataRef::secret("shop", name), Content::Absent);
    let with = |login: &str, ca: &str| json!({"host": "a.example.com", "auth": {"secretRef": {"name": login}}, "caRef": {"name": ca, "key": "ca.crt"}});
    for (name, ca) in [("a", "ca-1"), ("b", "ca-1"), ("c", "ca-2")] {
        assert!(!collector.take(server("shop", name, 1, with("login", ca))));
    }
    collector.take(known("login"));
    assert_eq!(names(&mut collector), [""; 0]);
    collector.take(known("ca-1"));
    assert_eq!(names(&mut collector), ["shop/a", "shop/b"]);
    assert!(!collector.is_complete());
    // A newer version that waits for something else is not shown by what the older one waited for.
    collector.take(server("shop", "c", 2, with("login", "ca-3")));
    collector.take(known("ca-2"));
    assert_eq!(names(&mut collector), ["shop/a", "shop/b"]);
    collector.take(known("ca-3"));
    assert_eq!(names(&mut collector), ["shop/a", "shop/b", "shop/c"]);
    assert!(collector.is_complete());

    // What nothing names any more is forgotten, and fetched again for whoever names it next.
    let gone = seen(WatchStep::Gone, "shop", "c", 2, with("login", "ca-3"));
    assert!(collector.take(gone));
    assert_eq!(names(&mut collector), ["shop/a", "shop/b"]);
    assert!(!collector.take(server("shop", "d", 1, with("login", "ca-3"))), "it waits");
    assert!(collector.take(server("shop", "e", 1, with("login", "ca-1"))), "what others still name is known");
    assert!(!collector.is_complete());
    collector.take(seen(WatchStep::Gone, "shop", "d", 1, with("login", "ca-3")));
    assert!(collector.is_complete(), "nobody waits for what is gone");
}

#[tokio::test]
async fn snapshots_share_the_kinds_that_did_not_change() {
    let mut collector = collector();
    collector.take(server("shop", "a", 1, json!({"host": "a.example.com"})));
    let (first, second) = (collector.snapshot(), collector.snapshot());
    assert!(Arc::ptr_eq(&first.servers, &second.servers));
    collector.take(server("shop", "b", 1, json!({"host": "a.example.com"})));
    let third = collector.snapshot();
    assert!(Arc::ptr_eq(&first.plans, &third.plans) && !Arc::ptr_eq(&first.servers, &third.servers));
    assert_eq!((first.servers.len(), third.servers.len()), (1, 2));
}

#[tokio::test]
async fn an_object_that_cannot_be_read_keeps_its_last_good_version() {
    let mut collector = collector();
    assert!(collector.take(server("shop", "bad", 1, json!({"port": "x"}))));
    let broken = &collector.snapshot().broken;
    assert_eq!((broken.len(), broken[0].key.to_string().as_str()), (1, "shop/bad"));
    assert!(broken[0].message.starts_with("spec.provider"), "{}", broken[0].message);

    assert!(collector.take(server("shop", "bad", 2, json!({"host": "a.example.com"}))));
    assert!(collector.snapshot().broken.is_empty());
    assert!(collector.take(server("shop", "bad", 3, json!({"hoist": "a.example.com"}))));
    let snapshot = collector.snapshot();
    let kept = snapshot.servers.values().next().expect("the last good version");
    assert_eq!(kept.object.generation(), 2);
    assert!(matches!(&kept.origin, Origin::Cluster(place) if place.generation == 3), "the newest is known: {:?}", kept.origin);
    assert!(kept.stale.as_ref().is_some_and(|why| why.contains("hoist")), "{:?}", kept.stale);
}

#[tokio::test]
async fn a_list_read_anew_removes_what_is_gone_in_its_namespace_only() {
    let mut collector = collector();
    let smtp = || json!({"host": "a.example.com"});
    for (namespace, name) in [("shop", "a"), ("shop", "b"), ("bakery", "c")] {
        collector.take(server(namespace, name, 1, smtp()));
    }
    let scope = || Some("shop".to_owned());
    collector.take(Change::Server(WatchStep::Begin(scope()), None));
    collector.take(seen(WatchStep::Listed, "shop", "b", 1, smtp()));
    assert_eq!(names(&mut collector).len(), 3, "nothing goes before the list is whole");
    collector.take(Change::Server(WatchStep::End(scope()), None));
    assert_eq!(names(&mut collector), ["bakery/c", "shop/b"]);
}

#[tokio::test]
async fn every_secret_that_a_server_needs_is_fetched() {
    let object = json!({
        "apiVersion": "mailfleet.dev/v1alpha1", "kind": "SendingServer",
        "metadata": {"name": "relay", "namespace": "shop"},
        "spec": {
            "provider": {"smtp": {
                "host": "smtp.example.com",
                "auth": {"secretRef": {"name": "login"}},
                "caRef": {"name": "ca", "key": "ca.crt"},
            }},
            "identity": {"dkim": [{"domain": "example.com", "selector": "s1", "privateKeyRef": {"name": "signing", "key": "tls.key"}}]},
        },
    });
    let observed: Observed<SendingServer> = objects::read(serde_json::from_value(object).expect("an object")).expect("it has a name");
    let needed = observed.object.expect("a server").spec.secrets();
    let needed: BTreeSet<DataRef> = needed.iter().map(|needed| DataRef::secret("shop", &needed.key.name)).collect();
    assert_eq!((observed.named.into_iter().collect::<BTreeSet<_>>(), needed.len()), (needed, 3));
}
