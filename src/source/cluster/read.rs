//! Objects as a cluster has them at one moment, for commands that look: nothing is watched, and nothing written.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt as _, api::ListParams, core::DynamicObject};
use serde_json::{Map, Value};

use super::{
    change::{Content, DataRef, HasDataRefs},
    objects,
    options::Scope,
    references,
    request::{PAGE, REQUEST_TIMEOUT, ours},
};
use crate::{
    resources::{API_VERSION, Campaign, Key, Kind, Object, Plan, SendingServer},
    source::{Broken, ByName, ClusterPlace, ConfigMapStore, Origin, SecretStore, Snapshot, Sourced, implied_labels},
};

/// Objects of a kind that are read.
const OBJECTS_MAX: usize = 100_000;

/// The objects of a kind as the API server has them, by namespace and name, without what it keeps for itself (`managedFields`).
///
/// # Errors
/// In words for people, when they cannot be read. Nobody of that name is no error.
pub async fn find_objects(client: &Client, kind: &str, namespace: Option<&str>, name: Option<&str>) -> Result<Vec<Value>, String> {
    let found = match (namespace, name) {
        (Some(namespace), Some(name)) => {
            let asked = api(client, kind, Some(namespace)).get_opt(name).await_within().await;
            asked.map_err(|error| refused(kind, Some(namespace), &error))?.into_iter().collect()
        }
        _ => listed(client, kind, namespace).await?,
    };
    Ok(found.into_iter().map(|object| whole(kind, object)).collect())
}

/// What a snapshot is to hold beside the objects and what they name, since somebody wants to compare it.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Secrets.
    pub secrets: BTreeSet<Key>,
    /// ConfigMaps.
    pub config_maps: BTreeSet<Key>,
    /// Namespaces whose labels are asked for.
    pub namespaces: BTreeSet<String>,
}

/// Everything of a scope at one moment, with the Secrets and ConfigMaps that are named there or wanted, and the labels of its namespaces.
/// The statuses are those that the objects have now. What may not be read is told beside it.
///
/// # Errors
/// In words for people, when the objects cannot be read.
pub async fn snapshot(client: &Client, scope: &Scope, wanted: &Wanted) -> Result<(Snapshot, Vec<String>), String> {
    let mut snapshot = Snapshot::default();
    let mut named: BTreeSet<DataRef> = BTreeSet::new();
    named.extend(wanted.secrets.iter().map(|key| DataRef::secret(&key.namespace, &key.name)));
    named.extend(wanted.config_maps.iter().map(|key| DataRef::config_map(&key.namespace, &key.name)));
    snapshot.servers = of_kind::<_, _>(client, scope, &mut snapshot.broken, &mut named).await?;
    snapshot.plans = of_kind::<_, _>(client, scope, &mut snapshot.broken, &mut named).await?;
    snapshot.campaigns = of_kind::<_, _>(client, scope, &mut snapshot.broken, &mut named).await?;
    snapshot.counts.documents = snapshot.servers.len() + snapshot.plans.len() + snapshot.campaigns.len() + snapshot.broken.len();

    let mut left_out = Vec::new();
    let (mut secrets, mut config_maps, mut forbidden) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for one in named {
        let content = match tokio::time::timeout(REQUEST_TIMEOUT, references::get(client, &one)).await {
            Ok(Ok(content)) => content,
            Ok(Err(error)) => return Err(format!("{} cannot be read: {error}", one.key)),
            Err(_) => return Err("the API server does not answer".to_owned()),
        };
        match content {
            Content::Secret(data) => {
                secrets.insert(one.key, data);
            }
            Content::ConfigMap(data) => {
                config_maps.insert(one.key, data);
            }
            Content::Absent => {}
            Content::Forbidden(_) => {
                let what = if one.is_secret { "Secret" } else { "ConfigMap" };
                left_out.push(format!("{what} {} (you may not get it)", one.key));
                if one.is_secret {
                    forbidden.insert(one.key, "you may not get it".to_owned());
                }
            }
        }
    }
    snapshot.secrets = SecretStore::of_cluster(secrets, forbidden);
    snapshot.config_maps = ConfigMapStore::new(config_maps);

    let keys = snapshot.servers.keys().chain(snapshot.plans.keys()).chain(snapshot.campaigns.keys());
    let names: BTreeSet<String> = keys.map(|key| key.namespace.to_string()).chain(wanted.namespaces.iter().cloned()).collect();
    for name in names {
        let found = Api::<Namespace>::all(client.clone()).get_metadata(&name).await_within().await;
        let mut labels = implied_labels(&name);
        match found {
            Ok(found) => labels.extend(found.labels().clone()),
            Err(Failed::Answer(kube::Error::Api(status))) if status.code == 404 => continue,
            Err(_) => left_out.push(format!("the labels of namespace {name} (you may not get it)")),
        }
        snapshot.namespaces.insert(name, labels);
    }
    Ok((snapshot, left_out))
}

/// The objects of a kind in a scope; what cannot be read goes to the others.
async fn of_kind<S, T>(
    client: &Client,
    scope: &Scope,
    broken: &mut Vec<Broken>,
    named: &mut BTreeSet<DataRef>,
) -> Result<ByName<Object<S, T>>, String>
where
    Object<S, T>: HasDataRefs,
{
    let kind = <Object<S, T> as Kind>::KIND;
    let mut found = Vec::new();
    match scope {
        Scope::Cluster => found.extend(listed(client, kind, None).await?),
        Scope::Namespaces(namespaces) => {
            for namespace in namespaces {
                found.extend(listed(client, kind, Some(namespace)).await?);
            }
        }
    }
    let mut objects = BTreeMap::new();
    for seen in found.into_iter().filter_map(objects::read::<S, T>) {
        let place = ClusterPlace { uid: seen.uid, deleting: seen.deleting, generation: seen.generation };
        let (origin, previous_status) = (Origin::Cluster(place.into()), seen.status.map(Into::into));
        named.extend(seen.named);
        match seen.object {
            Ok(object) => {
                objects.insert(seen.key, Sourced { object, origin, stale: None, previous_status });
            }
            Err(message) => {
                let document = std::sync::Arc::default();
                broken.push(Broken { kind, key: seen.key, message, document, origin, previous_status });
            }
        }
    }
    Ok(objects.into())
}

/// All objects of a kind, page by page.
async fn listed(client: &Client, kind: &str, namespace: Option<&str>) -> Result<Vec<DynamicObject>, String> {
    let api = api(client, kind, namespace);
    let (mut found, mut next) = (Vec::new(), None);
    loop {
        let page = ListParams { limit: Some(PAGE), continue_token: next.take(), ..ListParams::default() };
        let list = api.list(&page).await_within().await.map_err(|error| refused(kind, namespace, &error))?;
        found.extend(list.items);
        if found.len() > OBJECTS_MAX {
            return Err(format!("there are more than {OBJECTS_MAX} objects of the kind {kind}; choose a namespace with --namespace"));
        }
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => next = Some(token),
            None => break,
        }
    }
    found.sort_by_key(|object| (object.namespace(), object.name_any()));
    Ok(found)
}

fn api(client: &Client, kind: &str, namespace: Option<&str>) -> Api<DynamicObject> {
    let plural = match kind {
        SendingServer::KIND => SendingServer::PLURAL,
        Plan::KIND => Plan::PLURAL,
        _ => Campaign::PLURAL,
    };
    ours(client, (kind, plural), namespace)
}

/// Why a request failed.
enum Failed {
    Answer(kube::Error),
    Silence,
}

/// A request, within the time that all have.
trait AwaitWithin<T> {
    async fn await_within(self) -> Result<T, Failed>;
}

impl<T, F: Future<Output = kube::Result<T>>> AwaitWithin<T> for F {
    async fn await_within(self) -> Result<T, Failed> {
        match tokio::time::timeout(REQUEST_TIMEOUT, self).await {
            Ok(answer) => answer.map_err(Failed::Answer),
            Err(_) => Err(Failed::Silence),
        }
    }
}

fn refused(kind: &str, namespace: Option<&str>, error: &Failed) -> String {
    let place = namespace.map_or_else(|| "in the whole cluster".to_owned(), |namespace| format!("in namespace {namespace}"));
    match error {
        Failed::Silence => "the API server does not answer; check the kubeconfig's server and the network".to_owned(),
        Failed::Answer(kube::Error::Api(status)) => match status.code {
            401 => "the API server rejects the credentials; they may have expired".to_owned(),
            403 => format!(
                "you may not read {kind} objects {place}: {}. Ask for the verbs get and list, or choose --namespace.",
                status.message
            ),
            404 => format!(
                "the API server does not know the kind {kind}; install the CRDs: `mailfleet crds | kubectl apply --server-side -f -`"
            ),
            _ => format!("the API server refuses to show {kind} objects {place}: {}", status.message),
        },
        Failed::Answer(error) => format!("the API server cannot be reached: {error}"),
    }
}

/// An object in the order in which people read one.
fn whole(kind: &str, object: DynamicObject) -> Value {
    let DynamicObject { mut metadata, data, .. } = object;
    metadata.managed_fields = None;
    let mut data = if let Value::Object(data) = data { data } else { Map::new() };
    let mut whole = Map::from_iter([
        ("apiVersion".to_owned(), Value::from(API_VERSION)),
        ("kind".to_owned(), Value::from(kind)),
        ("metadata".to_owned(), serde_json::to_value(&metadata).unwrap_or_default()),
    ]);
    whole.extend(["spec", "status"].into_iter().filter_map(|part| Some((part.to_owned(), data.remove(part)?))));
    Value::Object(whole)
}
