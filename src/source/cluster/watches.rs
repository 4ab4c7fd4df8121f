//! The streams of the API server: the three kinds, namespaces, and the metadata of Secrets and ConfigMaps.
//!
//! A stream that fails is retried with a growing, jittered delay; what was seen stays in use meanwhile. After the API server was
//! unavailable, everything is listed anew: it may come back with another history (a restored or new etcd), and a watch from a
//! version that this history has not reached would stay silent until it does.

use std::{collections::BTreeMap, fmt::Debug, time::Duration};

use futures::{Stream, StreamExt as _};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Namespace, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, ResourceExt as _,
    core::{NamespaceResourceScope, PartialObjectMeta, Status},
    runtime::watcher::{self, Event},
};
use serde::de::DeserializeOwned;
use tokio::{sync::mpsc, time::Instant};

use super::{
    change::{Change, DataRef, HasDataRefs, Observed, WatchStep},
    objects,
    options::Scope,
    repeated::{Repeated, Said},
    request::{PAGE, ours},
};
use crate::{
    backoff::{Backoff, jittered},
    resources::{Key, Kind, Object},
};

/// A watch ends and restarts after this time, seconds; a dead connection is noticed by then.
const WATCH_SECS: u32 = 120;
/// After a stream failed. Short, so that status catches up soon after the API server is back. kube's own backoff belongs to one
/// stream, and a stream that is begun anew would begin with its first delay again.
const RETRY: Backoff = Backoff { first: Duration::from_millis(250), max: Duration::from_secs(4) };
/// Between two reads of the labels of a namespace that may not be watched.
const NAMESPACE_EVERY: Duration = Duration::from_secs(30);

/// How many streams must be complete before the first snapshot.
pub(super) fn streams(scope: &Scope) -> usize {
    match scope {
        Scope::Cluster => 4,
        Scope::Namespaces(namespaces) => 4 * namespaces.len(),
    }
}

/// Starts every stream.
pub(super) fn start(client: &Client, scope: &Scope, changes: &mpsc::Sender<Change>) {
    let namespaces: Vec<Option<&str>> = match scope {
        Scope::Cluster => vec![None],
        Scope::Namespaces(namespaces) => namespaces.iter().map(|namespace| Some(namespace.as_str())).collect(),
    };
    for namespace in namespaces {
        kind::<_, _>(client, namespace, changes, Change::Server);
        kind::<_, _>(client, namespace, changes, Change::Plan);
        kind::<_, _>(client, namespace, changes, Change::Campaign);
        metadata::<Secret>(client, namespace, changes, true);
        metadata::<ConfigMap>(client, namespace, changes, false);
        match namespace {
            None => all_namespaces(client, changes),
            Some(namespace) => one_namespace(client, namespace, changes),
        }
    }
}

fn config() -> watcher::Config {
    watcher::Config::default().page_size(PAGE).timeout(WATCH_SECS)
}

/// Makes a change of an object of one kind.
type ToChange<K> = fn(WatchStep, Option<Observed<K>>) -> Change;

fn kind<S, T>(client: &Client, namespace: Option<&str>, changes: &mpsc::Sender<Change>, change: ToChange<Object<S, T>>)
where
    Object<S, T>: HasDataRefs,
    S: Send + Sync + 'static,
    T: Send + Sync + 'static,
{
    let (kind, plural) = (<Object<S, T> as Kind>::KIND, <Object<S, T> as Kind>::PLURAL);
    let api = ours(client, (kind, plural), namespace);
    let scope = namespace.map(str::to_owned);
    let stream = move || watcher::watcher(api.clone(), config());
    tokio::spawn(follow(stream, changes.clone(), plural, scope, move |listing, object| change(listing, object.and_then(objects::read))));
}

fn metadata<K>(client: &Client, namespace: Option<&str>, changes: &mpsc::Sender<Change>, is_secret: bool)
where
    K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let api: Api<PartialObjectMeta<K>> = match namespace {
        None => Api::all(client.clone()),
        Some(namespace) => Api::namespaced(client.clone(), namespace),
    };
    let stream = move || watcher::watcher(api.clone(), config());
    let scope = namespace.map(str::to_owned);
    let plural = if is_secret { "secrets" } else { "configmaps" };
    tokio::spawn(follow(stream, changes.clone(), plural, scope, move |step, object| {
        let key = object.and_then(|object| Some(Key::new(object.metadata.namespace?, object.metadata.name?)));
        Change::Referred { step, is_secret, named: key.map(|key| DataRef { is_secret, key }) }
    }));
}

fn all_namespaces(client: &Client, changes: &mpsc::Sender<Change>) {
    let api = Api::<PartialObjectMeta<Namespace>>::all(client.clone());
    let stream = move || watcher::watcher(api.clone(), config());
    tokio::spawn(follow(stream, changes.clone(), "namespaces", None, |listing, object| {
        Change::Namespace(listing, object.map(|object| labels(object.metadata)))
    }));
}

fn labels(metadata: ObjectMeta) -> (String, BTreeMap<String, String>) {
    (metadata.name.unwrap_or_default(), metadata.labels.unwrap_or_default())
}

/// With `--namespace` the account can only read those namespaces: a Role cannot grant watching a single one.
fn one_namespace(client: &Client, namespace: &str, changes: &mpsc::Sender<Change>) {
    let (api, name, changes) = (Api::<Namespace>::all(client.clone()), namespace.to_owned(), changes.clone());
    tokio::spawn(async move {
        let mut is_told = false;
        loop {
            let found = api.get_metadata(&name).await;
            let every = match found {
                Ok(found) => {
                    let change = Change::Namespace(WatchStep::Sole, Some((name.clone(), found.labels().clone())));
                    if changes.send(change).await.is_err() {
                        return;
                    }
                    NAMESPACE_EVERY
                }
                Err(kube::Error::Api(status)) if status.code == 403 || status.code == 404 => {
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::warn!(namespace = %name, "its labels cannot be read ({}); assuming that it has none", status.message);
                    }
                    if changes.send(Change::Namespace(WatchStep::Sole, Some((name.clone(), BTreeMap::new())))).await.is_err() {
                        return;
                    }
                    NAMESPACE_EVERY
                }
                Err(_) => RETRY.max,
            };
            tokio::time::sleep(every).await;
        }
    });
}

async fn follow<K: Debug + Clone, S: Stream<Item = watcher::Result<Event<K>>>>(
    begin: impl Fn() -> S,
    changes: mpsc::Sender<Change>,
    plural: &'static str,
    scope: Option<String>,
    change: impl Fn(WatchStep, Option<K>) -> Change,
) {
    let mut stream = std::pin::pin!(begin());
    let mut failures = 0_u32;
    let mut trouble = Repeated::default();
    while let Some(event) = stream.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                tell(&error, plural, scope.as_deref(), &mut trouble);
                if status_of(&error).is_none_or(|status| status.code >= 500) {
                    stream.set(begin());
                }
                failures = failures.saturating_add(1);
                tokio::time::sleep(jittered(RETRY.delay(failures))).await;
                continue;
            }
        };
        // The start of a list proves nothing: the API server has not answered yet.
        if !matches!(event, Event::Init) {
            failures = 0;
            if let Some(times) = trouble.over() {
                tracing::warn!(kind = plural, times, "the API server can be watched again");
            }
        }
        let change = match event {
            Event::Init => change(WatchStep::Begin(scope.clone()), None),
            Event::InitApply(object) => change(WatchStep::Listed, Some(object)),
            Event::InitDone => change(WatchStep::End(scope.clone()), None),
            Event::Apply(object) => change(WatchStep::Changed, Some(object)),
            Event::Delete(object) => change(WatchStep::Gone, Some(object)),
        };
        if changes.send(change).await.is_err() {
            return;
        }
    }
}

/// The API server's answer; none when it could not be reached.
fn status_of(error: &watcher::Error) -> Option<&Status> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status)) | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => {
            Some(status)
        }
        watcher::Error::WatchError(status) => Some(status),
        _ => None,
    }
}

/// Logs what is wrong once, until it is something else, and counts it.
fn tell(error: &watcher::Error, plural: &str, scope: Option<&str>, trouble: &mut Repeated) {
    let place = scope.map_or_else(|| "the whole cluster".to_owned(), |namespace| format!("namespace {namespace}"));
    let words = match status_of(error).map(|status| status.code) {
        // The version is too old: the list is read again, which is normal.
        Some(410) => return,
        Some(403) => format!(
            "the service account is not allowed to list and watch {plural} in {place}; grant it these verbs, or restrict Mailfleet with --namespace"
        ),
        Some(404) => {
            format!("the API server does not know {plural}; install the CRDs: `mailfleet crds | kubectl apply --server-side -f -`")
        }
        Some(401) => "the API server rejects the credentials; they may have expired".to_owned(),
        _ => "the API server cannot be reached; what was read last stays in use, and sending continues".to_owned(),
    };
    if let Said::Now { times } = trouble.say(&words, Instant::now()) {
        tracing::warn!(kind = plural, %error, times, "{words}");
    }
}
