//! The CustomResourceDefinitions of the three kinds, made from their types.
//!
//! The schema of each is structural: `anyOf`, `oneOf` and `null` of schemars are simplified. It holds every
//! bound and rule that one object must meet, and no default of a spec (those live in code and show in status).

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{Campaign, GROUP, Kind, Plan, SendingServer, VERSION};

/// The path of a part of the condition `Ready`.
macro_rules! ready {
    ($part:literal) => {
        concat!(".status.conditions[?(@.type==\"Ready\")].", $part)
    };
}

/// A column of `kubectl get`.
struct Column {
    heading: &'static str,
    /// Where it is read.
    path: &'static str,
    /// Whether only `-o wide` shows it.
    is_wide: bool,
}

impl Column {
    const fn new(heading: &'static str, path: &'static str) -> Self {
        Self { heading, path, is_wide: false }
    }

    const fn wide(heading: &'static str, path: &'static str) -> Self {
        Self { heading, path, is_wide: true }
    }
}

/// What a kind is called, and how it is listed.
struct Names {
    singular: &'static str,
    short: &'static str,
    about: &'static str,
    columns: &'static [Column],
}

/// Our kinds.
pub const CUSTOM_KINDS: &[&str] = &[SendingServer::KIND, Plan::KIND, Campaign::KIND];

const SERVER: Names = Names {
    singular: "sendingserver",
    short: "mfs",
    about: "One way to send messages, with its limits and its probe.",
    columns: &[
        Column::new("Type", ".status.provider"),
        Column::new("State", ".status.state"),
        Column::new("Reason", ready!("reason")),
        Column::new("Used", ".status.used"),
        Column::wide("Address", ".status.address"),
        Column::wide("Message", ready!("message")),
    ],
};

const PLAN: Names = Names {
    singular: "plan",
    short: "mfp",
    about: "Which servers an operator grants, to which namespaces.",
    columns: &[
        Column::new("Active", ".status.active"),
        Column::new("Ready", ready!("status")),
        Column::new("Reason", ready!("reason")),
        Column::new("Campaigns", ".status.campaigns"),
    ],
};

const CAMPAIGN: Names = Names {
    singular: "campaign",
    short: "mfc",
    about: "One message to an audience, through the servers that a plan grants.",
    columns: &[
        Column::new("Phase", ".status.state"),
        Column::new("Sent", ".status.sent"),
        Column::new("Failed", ".status.failed"),
        Column::new("Time Left", ".status.timeLeft"),
        Column::wide("Rollout", ".status.rollout.progress"),
        Column::new("Reason", ready!("reason")),
        Column::wide("Plan", ".spec.planRef.name"),
        Column::wide("Run", ".status.run"),
        Column::wide("Message", ready!("message")),
    ],
};

/// What a kind is for, in a sentence.
#[must_use]
pub fn about(kind: &str) -> Option<&'static str> {
    names(kind).map(|names| names.about)
}

fn names(kind: &str) -> Option<&'static Names> {
    match kind {
        SendingServer::KIND => Some(&SERVER),
        Plan::KIND => Some(&PLAN),
        Campaign::KIND => Some(&CAMPAIGN),
        _ => None,
    }
}

/// The structural schema of one of our kinds; none for another.
#[must_use]
pub fn structural(kind: &str) -> Option<Value> {
    let (mut schema, names) = match kind {
        SendingServer::KIND => (inlined::<SendingServer>(), &SERVER),
        Plan::KIND => (inlined::<Plan>(), &PLAN),
        Campaign::KIND => (inlined::<Campaign>(), &CAMPAIGN),
        _ => return None,
    };
    make_plain(&mut schema);
    let object = schema.as_object_mut()?;
    object.insert("description".to_owned(), names.about.into());
    object.insert("required".to_owned(), json!(["spec"]));
    let properties = object.get_mut("properties")?.as_object_mut()?;
    // The API server has its own schema of metadata, and allows none here.
    properties.insert("metadata".to_owned(), json!({"type": "object"}));
    // The status of an object that cannot be read has conditions and little else.
    if let Some(status) = properties.get_mut("status").and_then(Value::as_object_mut) {
        status.insert("required".to_owned(), json!(["conditions"]));
    }
    if let Some(conditions) = properties.get_mut("status").and_then(|status| status.pointer_mut("/properties/conditions")) {
        open_conditions(conditions);
    }
    Some(schema)
}

/// Conditions are a map by type, and their types and reasons are not enumerated: a controller may be newer than its CRDs.
fn open_conditions(conditions: &mut Value) {
    for field in ["type", "reason"] {
        let schema = conditions.pointer_mut(&format!("/items/properties/{field}")).and_then(Value::as_object_mut);
        if let Some(schema) = schema {
            schema.remove("enum");
            schema.insert("maxLength".to_owned(), 316.into());
            if let Some(Value::String(about)) = schema.get_mut("description") {
                about.truncate(about.find("\n\n").unwrap_or(about.len()));
            }
        }
    }
    if let Some(conditions) = conditions.as_object_mut() {
        conditions.insert("x-kubernetes-list-type".to_owned(), "map".into());
        conditions.insert("x-kubernetes-list-map-keys".to_owned(), json!(["type"]));
    }
}

fn inlined<K: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<K>()
        .to_value()
}

/// Makes a schema structural.
fn make_plain(schema: &mut Value) {
    let Value::Object(object) = schema else { return };
    merge_optional(object);
    merge_words(object);
    if let Some(Value::Array(types)) = object.get("type") {
        let plain = types.iter().find(|name| *name != "null").cloned();
        object.insert("type".to_owned(), plain.unwrap_or_default());
    }
    for keyword in ["$schema", "title", "default"] {
        object.shift_remove(keyword);
    }
    if object.get("additionalProperties") == Some(&Value::Bool(false)) {
        object.shift_remove("additionalProperties");
    }
    match object.get("format").and_then(Value::as_str) {
        Some("uint8" | "uint16" | "uint32" | "uint64") => {
            object.insert("format".to_owned(), "int64".into());
        }
        Some("int64" | "double") | None => {}
        Some(_) => {
            object.shift_remove("format");
        }
    }
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        properties.values_mut().for_each(make_plain);
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(below) = object.get_mut(keyword) {
            make_plain(below);
        }
    }
}

/// `anyOf` of a schema and null becomes the schema; the field's own description is the better one.
fn merge_optional(object: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = object.get("anyOf") else { return };
    let Some(choice) = choices.iter().find(|choice| choice.get("type") != Some(&json!("null"))).cloned() else { return };
    object.shift_remove("anyOf");
    for (key, value) in choice.as_object().into_iter().flatten() {
        object.entry(key.clone()).or_insert_with(|| value.clone());
    }
}

/// `oneOf` of words becomes `enum`, and what each word means goes into the description.
fn merge_words(object: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = object.get("oneOf") else { return };
    let Some(words) = choices.iter().map(|choice| choice.get("const").cloned()).collect::<Option<Vec<_>>>() else { return };
    let meaning = |choice: &Value| Some(format!("- `{}`: {}", choice.get("const")?.as_str()?, choice.get("description")?.as_str()?));
    let meanings = choices.iter().filter_map(meaning).collect::<Vec<_>>().join("\n");
    let about = object.get("description").and_then(Value::as_str).unwrap_or_default();
    let description = format!("{about}\n\n{meanings}");
    object.shift_remove("oneOf");
    object.insert("type".to_owned(), "string".into());
    object.insert("enum".to_owned(), Value::Array(words));
    object.insert("description".to_owned(), description.into());
}

/// The reason in the status that an object has until the controller writes one, as in the Gateway API: tools that wait for
/// health take an object without conditions for a healthy one.
pub const UNSEEN_REASON: &str = "Pending";

fn unseen() -> Value {
    let ready = json!({
        "type": "Ready",
        "status": "Unknown",
        "reason": UNSEEN_REASON,
        "message": "No controller has seen this object yet. If this lasts, check that Mailfleet runs and watches this namespace.",
        "lastTransitionTime": "1970-01-01T00:00:00Z",
    });
    json!({"conditions": [ready]})
}

/// The whole CustomResourceDefinition of one of our kinds; none for another.
#[must_use]
pub fn definition(kind: &str) -> Option<Value> {
    let names = names(kind)?;
    let plural = format!("{}s", names.singular);
    let age = json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"});
    let column = |Column { heading, path, is_wide }: &Column| {
        // Only a count that is a number in status is one here: the others are texts like 1200/2000.
        let kind = if *path == ".status.campaigns" { "integer" } else { "string" };
        let mut column = json!({"name": heading, "type": kind, "jsonPath": path});
        if *is_wide && let Some(column) = column.as_object_mut() {
            column.insert("priority".to_owned(), 1.into());
        }
        column
    };
    let columns: Vec<Value> = names.columns.iter().map(column).chain([age]).collect();
    let mut schema = structural(kind)?;
    schema.pointer_mut("/properties/status")?.as_object_mut()?.insert("default".to_owned(), unseen());
    Some(json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{GROUP}")},
        "spec": {
            "group": GROUP,
            "names": {
                "categories": ["mailfleet"],
                "kind": kind,
                "listKind": format!("{kind}List"),
                "plural": plural,
                "shortNames": [names.short],
                "singular": names.singular,
            },
            "scope": "Namespaced",
            "versions": [{
                "name": VERSION,
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": columns,
                "schema": {"openAPIV3Schema": schema},
            }],
        },
    }))
}

#[cfg(test)]
mod tests;
