//! From a judged document to a typed object.

use std::{collections::BTreeMap, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::{
    resources::{Campaign, Kind, NAME_LABEL, Plan, SendingServer, from_json, secret::SecretValue},
    source::secrets::{ConfigMapData, SecretData},
    yaml::{Fault, FieldPath, Node},
};

/// Bytes of all values of a Secret or ConfigMap (Kubernetes' own limit).
const DATA_MAX: usize = 1024 * 1024;

/// What a document is.
#[derive(Clone, Debug)]
pub(super) enum Body {
    Server(Arc<SendingServer>),
    Plan(Arc<Plan>),
    Campaign(Arc<Campaign>),
    Secret(SecretData),
    ConfigMap(ConfigMapData),
    Namespace(BTreeMap<String, String>),
    Broken { message: String, document: Arc<Value> },
}

/// The typed form of a document, when there is nothing wrong with it.
pub(super) fn body(kind: &str, json: &Value, node: &Node, problems: &mut Vec<Fault>) -> Option<Body> {
    match kind {
        SendingServer::KIND => typed(json, node, problems).map(|server| Body::Server(Arc::new(server))),
        Plan::KIND => typed(json, node, problems).map(|plan| Body::Plan(Arc::new(plan))),
        Campaign::KIND => typed(json, node, problems).map(|campaign| Body::Campaign(Arc::new(campaign))),
        "Secret" => Some(Body::Secret(secret(json, node, problems))),
        "ConfigMap" => Some(Body::ConfigMap(config_map(json, node, problems))),
        "Namespace" => Some(Body::Namespace(labels(json))),
        _ => None,
    }
}

/// The type reads what the verdict accepts; a fault here is a difference between the two, and a bug.
fn typed<K: Kind>(json: &Value, node: &Node, problems: &mut Vec<Fault>) -> Option<K> {
    if !problems.is_empty() {
        return None;
    }
    match from_json(json) {
        Ok(object) => Some(object),
        Err(error) => {
            let path = FieldPath::parse(&error.path);
            problems.push(Fault { at: node.locate(&path), path, message: error.why });
            None
        }
    }
}

fn entries<'a>(json: &'a Value, field: &str) -> impl Iterator<Item = (&'a String, &'a str)> {
    json.get(field).and_then(Value::as_object).into_iter().flatten().filter_map(|(key, value)| Some((key, value.as_str()?)))
}

fn decoded(json: &Value, field: &str, node: &Node, problems: &mut Vec<Fault>) -> Vec<(String, Vec<u8>)> {
    let mut values = Vec::new();
    for (key, text) in entries(json, field) {
        let packed: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
        if let Ok(bytes) = STANDARD.decode(packed.as_bytes()) {
            values.push((key.clone(), bytes));
        } else {
            let path = FieldPath::parse(field).key(key);
            let instead = if field == "data" { "; encode it, or move it to `stringData` as it is" } else { "; encode it" };
            problems.push(Fault { at: node.locate(&path), path, message: format!("this is not base64{instead}") });
        }
    }
    values
}

fn check_keys(fields: &[&str], json: &Value, node: &Node, problems: &mut Vec<Fault>) {
    for field in fields {
        for (key, _) in entries(json, field) {
            if key.is_empty() || key.len() > 253 || !key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) {
                let path = FieldPath::parse(field).key(key);
                problems.push(Fault {
                    at: node.locate_key(&path),
                    path,
                    message: "a key may contain letters, digits, `-`, `_` and `.`".to_owned(),
                });
            }
        }
    }
}

fn check_size(total: usize, node: &Node, problems: &mut Vec<Fault>) {
    if total > DATA_MAX {
        let message = format!("the values are {total} bytes in total, and Kubernetes allows {DATA_MAX}; use a file instead");
        let path = FieldPath::parse("data");
        problems.push(Fault { at: node.locate_key(&path), path, message });
    }
}

fn secret(json: &Value, node: &Node, problems: &mut Vec<Fault>) -> SecretData {
    check_keys(&["data", "stringData"], json, node, problems);
    let mut data: BTreeMap<String, Vec<u8>> = decoded(json, "data", node, problems).into_iter().collect();
    data.extend(entries(json, "stringData").map(|(key, text)| (key.clone(), text.as_bytes().to_vec())));
    check_size(data.values().map(Vec::len).sum(), node, problems);
    data.into_iter().map(|(key, value)| (key, SecretValue::new(value))).collect()
}

fn config_map(json: &Value, node: &Node, problems: &mut Vec<Fault>) -> ConfigMapData {
    check_keys(&["data", "binaryData"], json, node, problems);
    let mut data: ConfigMapData = entries(json, "data").map(|(key, text)| (key.clone(), Arc::from(text.as_bytes()))).collect();
    for (key, bytes) in decoded(json, "binaryData", node, problems) {
        if data.contains_key(&key) {
            let path = FieldPath::parse("binaryData").key(&key);
            problems.push(Fault { at: node.locate_key(&path), path, message: format!("`{key}` is also in `data`; keep one of them") });
        }
        data.insert(key, bytes.into());
    }
    check_size(data.values().map(|value| value.len()).sum(), node, problems);
    data
}

fn labels(json: &Value) -> BTreeMap<String, String> {
    let labels = json.pointer("/metadata/labels").and_then(Value::as_object).into_iter().flatten();
    let mut labels: BTreeMap<String, String> = labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
    if let Some(name) = json.pointer("/metadata/name").and_then(Value::as_str) {
        // As the API server does, whatever the file says: no namespace may claim another's name.
        labels.insert(NAME_LABEL.to_owned(), name.to_owned());
    }
    labels
}
