//! One object of the API server, read into its type. Pure.

use std::sync::Arc;

use jiff::Timestamp;
use kube::core::DynamicObject;
use serde_json::{Map, Value};

use super::change::{HasDataRefs, Observed};
use crate::resources::{self, ANNOTATIONS, API_VERSION, FINALIZER, Key, Kind, Metadata, Object, Unreadable, crd::UNSEEN_REASON};

/// Reads an object; none when it has no name, which an API server never sends.
pub(super) fn read<S, T>(seen: DynamicObject) -> Option<Observed<Object<S, T>>>
where
    Object<S, T>: HasDataRefs,
{
    let kind = <Object<S, T> as Kind>::KIND;
    let DynamicObject { metadata, data, .. } = seen;
    let key = Key::new(metadata.namespace?, metadata.name?);
    let mut data = if let Value::Object(data) = data { data } else { Map::new() };
    let status = data.remove("status");
    let wanted = Metadata {
        name: key.name.to_string(),
        namespace: Some(key.namespace.to_string()),
        labels: metadata.labels.unwrap_or_default(),
        // No others are read: kubectl keeps the whole object in one.
        annotations: metadata.annotations.unwrap_or_default().into_iter().filter(|(name, _)| ANNOTATIONS.contains(&&**name)).collect(),
        generation: metadata.generation,
        creation_timestamp: metadata.creation_timestamp.and_then(|at| Timestamp::from_second(at.0.as_second()).ok()),
    };
    let whole = Map::from_iter([
        ("apiVersion".to_owned(), Value::from(API_VERSION)),
        ("kind".to_owned(), Value::from(kind)),
        ("metadata".to_owned(), serde_json::to_value(&wanted).unwrap_or_default()),
        ("spec".to_owned(), data.remove("spec").unwrap_or_default()),
    ]);
    let object = resources::from_json::<Object<S, T>>(&Value::Object(whole)).map(Arc::new).map_err(|error| unreadable(&error));
    Some(Observed {
        uid: metadata.uid.unwrap_or_default(),
        resource_version: metadata.resource_version.and_then(|version| version.parse().ok()).unwrap_or(0),
        deleting: metadata.deletion_timestamp.is_some(),
        generation: metadata.generation.unwrap_or(0),
        has_finalizer: metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER),
        named: object.as_ref().map(|object| object.data_refs()).unwrap_or_default(),
        object,
        status: status.filter(|status| !status.is_null() && !is_unseen(status)),
        key,
    })
}

/// Whether no controller has written this status: it is the CRD's default.
fn is_unseen(status: &Value) -> bool {
    status.pointer("/conditions/0/reason").is_some_and(|reason| reason == UNSEEN_REASON)
}

fn unreadable(error: &Unreadable) -> String {
    format!(
        "{}: {}. This object was accepted under the schema of another version; write the field as this version requires, and update the CRDs (`mailfleet crds`).",
        error.path, error.why
    )
}
