//! Whether the CRDs that the cluster serves are those of this version.
//!
//! An API server drops fields that its schema does not have, so a controller that is newer than the CRDs would silently lose parts
//! of specs and statuses. The schema is read from the OpenAPI document, which every account may read.

use std::collections::BTreeSet;

use kube::Client;
use serde_json::Value;

use super::request::REQUEST_TIMEOUT;
use crate::resources::{
    GROUP, VERSION,
    crd::{CUSTOM_KINDS, structural},
};

/// Fields named in one message.
const NAMED_MAX: usize = 4;

/// How the served CRDs differ from those of this version, one sentence per kind; empty when they do not.
pub async fn differences(client: &Client) -> Vec<String> {
    let request = http::Request::get(format!("/openapi/v3/apis/{GROUP}/{VERSION}")).body(Vec::new());
    let Ok(request) = request else { return Vec::new() };
    match tokio::time::timeout(REQUEST_TIMEOUT, client.request::<Value>(request)).await {
        Ok(Ok(document)) => CUSTOM_KINDS.iter().filter_map(|kind| judge(kind, &document)).collect(),
        Ok(Err(error)) => {
            tracing::debug!(%error, "the served schema cannot be read");
            Vec::new()
        }
        Err(_) => Vec::new(),
    }
}

fn judge(kind: &str, document: &Value) -> Option<String> {
    let served = document.pointer("/components/schemas")?.as_object()?.iter().find(|(name, _)| name.ends_with(&format!(".{kind}")))?.1;
    let (mut ours, mut theirs) = (BTreeSet::new(), BTreeSet::new());
    for part in ["spec", "status"] {
        fields(structural(kind)?.pointer(&format!("/properties/{part}"))?, part, &mut ours);
        if let Some(schema) = served.pointer(&format!("/properties/{part}")) {
            fields(schema, part, &mut theirs);
        }
    }
    let missing: Vec<&str> = ours.difference(&theirs).map(String::as_str).collect();
    let surplus: Vec<&str> = theirs.difference(&ours).map(String::as_str).collect();
    if !missing.is_empty() {
        return Some(format!(
            "The CRD of {kind} in this cluster is older than this version and lacks {}. The API server silently drops these fields. Update it: mailfleet crds | kubectl apply --server-side -f -",
            named(&missing)
        ));
    }
    (!surplus.is_empty()).then(|| {
        format!("The CRD of {kind} in this cluster is newer than this version, which does not know {}. Update Mailfleet.", named(&surplus))
    })
}

fn named(fields: &[&str]) -> String {
    let more = fields.len().saturating_sub(NAMED_MAX);
    let shown = fields[..fields.len() - more].join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more fields") }
}

/// The paths of all fields.
fn fields(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    found.insert(path.to_owned());
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        for (name, below) in properties {
            fields(below, &format!("{path}.{name}"), found);
        }
    }
    for below in ["items", "additionalProperties"] {
        if let Some(schema) = schema.get(below).filter(|schema| schema.is_object()) {
            fields(schema, path, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(kind: &str, schema: Value) -> Value {
        json!({"components": {"schemas": {format!("dev.mailfleet.v1alpha1.{kind}"): schema}}})
    }

    #[test]
    fn older_and_newer_schemas_are_told_apart() {
        for kind in CUSTOM_KINDS {
            let ours = structural(kind).expect("a schema");
            assert_eq!(judge(kind, &document(kind, ours.clone())), None);
            let mut older = ours.clone();
            let status = older.pointer_mut("/properties/status/properties").and_then(Value::as_object_mut).expect("a status");
            status.remove("conditions");
            let told = judge(kind, &document(kind, older)).expect("it is older");
            assert!(told.contains("older") && told.contains("status.conditions"), "{told}");
            let mut newer = ours;
            let spec = newer.pointer_mut("/properties/spec/properties").and_then(Value::as_object_mut).expect("a spec");
            spec.insert("colour".to_owned(), json!({"type": "string"}));
            let told = judge(kind, &document(kind, newer)).expect("it is newer");
            assert!(told.contains("newer") && told.contains("spec.colour"), "{told}");
        }
    }
}
