//! The JSON Schema of every kind: one form for validation, one for editors.
//!
//! Both are made from the structural schema of the CRD, so that a file has one verdict everywhere. What an API
//! server does beside the schema (unknown fields, metadata, a status that is dropped) is written into the form for validation.

use serde_json::{Map, Value, json};

use super::{API_VERSION, crd};

/// Where the editors' schema will be found.
pub const SCHEMA_ID: &str = "https://mailfleet.dev/schemas/mailfleet.schema.json";

/// Every kind that a folder may hold, those of Kubernetes last.
pub const KINDS: &[&str] = &["SendingServer", "Plan", "Campaign", "Secret", "ConfigMap", "Namespace"];

/// The fields of the metadata that people write.
const WRITTEN_METADATA: &[&str] = &["name", "namespace", "labels", "annotations"];

/// The definition of a value in which no field has a name.
const NAMELESS: &str = "nameless";

/// The schema by which a document of this kind is judged; none for a kind that Mailfleet does not read.
#[must_use]
pub fn for_validation(kind: &str) -> Option<Value> {
    let Some(mut schema) = crd::structural(kind) else { return kubernetes_kind(kind) };
    close(&mut schema);
    let properties = schema.get_mut("properties")?.as_object_mut()?;
    properties.insert("metadata".to_owned(), object_meta());
    if let Some(status) = properties.get_mut("status") {
        keep_names(status);
    }
    let root = schema.as_object_mut()?;
    root.insert("required".to_owned(), json!(["apiVersion", "kind", "metadata", "spec"]));
    root.insert(
        "$defs".to_owned(),
        json!({NAMELESS: {"properties": {}, "additionalProperties": false, "items": {"$ref": format!("#/$defs/{NAMELESS}")}}}),
    );
    Some(schema)
}

/// A field that the schema does not know is refused (`fieldValidation=Strict`, kubectl's own choice).
fn close(schema: &mut Value) {
    let Value::Object(object) = schema else { return };
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        properties.values_mut().for_each(close);
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(below) = object.get_mut(keyword) {
            close(below);
        }
    }
    if object.contains_key("x-kubernetes-int-or-string") {
        object.insert("type".to_owned(), json!(["integer", "string"]));
    }
    let is_open = object.contains_key("additionalProperties") || object.contains_key("x-kubernetes-preserve-unknown-fields");
    if object.get("type") == Some(&json!("object")) && !is_open {
        object.insert("additionalProperties".to_owned(), false.into());
        object.entry("properties").or_insert_with(|| json!({}));
    }
}

/// A status is dropped on the way in, whatever its values are; only names that are not in the schema are refused.
fn keep_names(schema: &mut Value) {
    let Value::Object(object) = schema else { return };
    object.retain(|keyword, _| ["properties", "items", "additionalProperties", "description"].contains(&keyword.as_str()));
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        properties.values_mut().for_each(keep_names);
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(below) = object.get_mut(keyword) {
            keep_names(below);
        }
    }
    // Values are looked into whatever their type should be.
    if !object.contains_key("properties") && !object.contains_key("additionalProperties") {
        object.insert("properties".to_owned(), json!({}));
        object.insert("additionalProperties".to_owned(), false.into());
    } else if object.contains_key("properties") {
        object.insert("additionalProperties".to_owned(), false.into());
    }
    object.entry("items").or_insert_with(|| json!({"$ref": format!("#/$defs/{NAMELESS}")}));
}

/// Kubernetes' own object metadata, as its reader takes it: every field may be null. Its further rules are in the verdict.
fn object_meta() -> Value {
    let text = |about: &str| json!({"type": ["string", "null"], "description": about});
    let number = || json!({"type": ["integer", "null"], "description": "Set by the source, never by a person."});
    let texts =
        |about: &str| json!({"type": ["object", "null"], "description": about, "additionalProperties": {"type": ["string", "null"]}});
    let plain = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), json!({"type": ["string", "null"]}))).collect::<Map<_, _>>();
    let list = |fields: Map<String, Value>| {
        json!({
            "type": ["array", "null"],
            "description": "Kubernetes' own; Mailfleet does not read it.",
            "items": {"type": ["object", "null"], "properties": fields, "additionalProperties": false},
        })
    };
    let mut owner = plain(&["apiVersion", "kind", "name", "uid"]);
    owner.extend(["controller", "blockOwnerDeletion"].map(|name| (name.to_owned(), json!({"type": ["boolean", "null"]}))));
    let mut managed = plain(&["apiVersion", "fieldsType", "manager", "operation", "subresource", "time"]);
    managed.insert("fieldsV1".to_owned(), json!({}));
    json!({
        "type": "object",
        "description": "Name, namespace, labels.",
        "properties": {
            "name": text("The name: lowercase letters, digits, `-` and `.` (RFC 1123), 253 characters at most."),
            "namespace": text("The customer that the object belongs to; `default` when absent."),
            "labels": texts("Labels, for selectors."),
            "annotations": texts("Annotations; Mailfleet reads `mailfleet.dev/resume` of a campaign."),
            "generateName": text("Kubernetes' own; Mailfleet does not read it."),
            "generation": number(),
            "creationTimestamp": text("When the object was first seen. Set by the source, never by a person."),
            "deletionTimestamp": text("Kubernetes' own; Mailfleet does not read it."),
            "deletionGracePeriodSeconds": number(),
            "resourceVersion": text("Kubernetes' own; Mailfleet does not read it."),
            "selfLink": text("Kubernetes' own; Mailfleet does not read it."),
            "uid": text("Kubernetes' own; Mailfleet does not read it."),
            "finalizers": {
                "type": ["array", "null"],
                "description": "Kubernetes' own; Mailfleet does not read it.",
                "items": {"type": ["string", "null"]},
            },
            "ownerReferences": list(owner),
            "managedFields": list(managed),
        },
        "required": ["name"],
        "additionalProperties": false,
    })
}

/// The kinds of Kubernetes itself that a folder may hold beside ours: as much of them as Mailfleet reads.
fn kubernetes_kind(kind: &str) -> Option<Value> {
    let texts = |about: &str| json!({"type": ["object", "null"], "description": about, "additionalProperties": {"type": "string"}});
    let own = match kind {
        "Secret" => json!({
            "type": {"type": ["string", "null"], "description": "Kubernetes' type of the Secret; Mailfleet does not read it."},
            "immutable": {"type": ["boolean", "null"], "description": "Mailfleet does not read it."},
            "data": texts("Values in base64, by key."),
            "stringData": texts("Values as they are, by key; they win over `data`."),
        }),
        "ConfigMap" => json!({
            "immutable": {"type": ["boolean", "null"], "description": "Mailfleet does not read it."},
            "data": texts("Texts, by key."),
            "binaryData": texts("Values in base64, by key."),
        }),
        "Namespace" => json!({
            "spec": {"description": "Mailfleet does not read it."},
            "status": {"description": "Mailfleet does not read it."},
        }),
        _ => return None,
    };
    let mut properties = json!({
        "apiVersion": {"type": "string", "description": "Always `v1`."},
        "kind": {"type": "string", "description": kind},
        "metadata": object_meta(),
    });
    if let (Some(properties), Value::Object(own)) = (properties.as_object_mut(), own) {
        properties.extend(own);
    }
    Some(json!({"type": "object", "properties": properties, "required": ["apiVersion", "kind", "metadata"], "additionalProperties": false}))
}

/// The schema for editors: of one kind, or of any of them, told apart by `kind` so that messages are about that kind.
/// None for a kind that Mailfleet does not read.
#[must_use]
pub fn for_editors(kind: Option<&str>) -> Option<Value> {
    if kind.is_some_and(|kind| !KINDS.contains(&kind)) {
        return None;
    }
    let kinds: Vec<&str> = KINDS.iter().copied().filter(|name| kind.is_none_or(|kind| kind == *name)).collect();
    let mut definitions = Map::new();
    for name in &kinds {
        definitions.insert((*name).to_owned(), editor_kind(name)?);
    }
    let body = if let Some(kind) = kind { json!({"$ref": format!("#/$defs/{kind}")}) } else { any_kind(&kinds) };
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": kind.map_or_else(|| "Mailfleet".to_owned(), |kind| format!("Mailfleet {kind}")),
        "description": "Sending servers, plans and campaigns as Mailfleet reads them, and the Secrets, ConfigMaps and Namespaces beside them.",
    });
    if let (Some(schema), Value::Object(body)) = (schema.as_object_mut(), body) {
        schema.extend(body);
        schema.insert("$defs".to_owned(), Value::Object(definitions));
    }
    Some(schema)
}

fn any_kind(kinds: &[&str]) -> Value {
    let branches: Vec<Value> = kinds
        .iter()
        .map(|kind| json!({"if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]}, "then": {"$ref": format!("#/$defs/{kind}")}}))
        .collect();
    json!({
        "type": "object",
        "properties": {
            "apiVersion": {"type": "string", "enum": [API_VERSION, "v1"], "description": "`mailfleet.dev/v1alpha1`; `v1` for Secret, ConfigMap and Namespace."},
            "kind": {"type": "string", "enum": kinds, "description": "What the document is."},
            "metadata": {"type": "object", "description": "Name, namespace, labels."},
        },
        "required": ["apiVersion", "kind", "metadata"],
        "allOf": branches,
    })
}

fn editor_kind(kind: &str) -> Option<Value> {
    let (version, about) = match kind {
        "Secret" => ("v1", "Values that do not belong in git. Mailfleet also reads --secrets-dir and the environment."),
        "ConfigMap" => ("v1", "Texts that campaigns may refer to."),
        "Namespace" => ("v1", "A customer, and the labels that plans select by."),
        _ => (API_VERSION, crd::about(kind)?),
    };
    let mut schema = for_validation(kind)?;
    for_people(&mut schema);
    let object = schema.as_object_mut()?;
    object.shift_remove("$defs");
    object.insert("title".to_owned(), json!(kind));
    object.insert("description".to_owned(), json!(about));
    let properties = object.get_mut("properties")?.as_object_mut()?;
    properties.insert("apiVersion".to_owned(), json!({"const": version, "description": format!("Always `{version}`.")}));
    properties.insert("kind".to_owned(), json!({"const": kind, "description": about}));
    if let Some(Value::Object(metadata)) = properties.get_mut("metadata") {
        // Editors offer what people write, and let the rest stand.
        metadata.shift_remove("additionalProperties");
        if let Some(Value::Object(fields)) = metadata.get_mut("properties") {
            fields.retain(|name, _| WRITTEN_METADATA.contains(&name.as_str()));
        }
    }
    if crd::about(kind).is_some() {
        properties.insert("status".to_owned(), json!({"description": "Written by Mailfleet; what a file says here is ignored."}));
    }
    Some(schema)
}

/// Without null, which nobody writes on purpose, and without what only an API server reads.
fn for_people(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.retain(|keyword, _| !keyword.starts_with("x-kubernetes-"));
            if let Some(Value::Array(types)) = object.get("type")
                && let Some(only) = types.iter().find(|name| *name != "null").cloned()
            {
                object.insert("type".to_owned(), only);
            }
            object.values_mut().for_each(for_people);
        }
        Value::Array(items) => items.iter_mut().for_each(for_people),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn editors_are_told_by_the_kind() {
        let schema = for_editors(None).expect("every kind");
        let validator = jsonschema::validator_for(&schema).expect("a schema");
        let good = json!({"apiVersion": "mailfleet.dev/v1alpha1", "kind": "Plan", "metadata": {"name": "pro"}, "spec": {"servers": [{"name": "a"}]}});
        assert!(validator.is_valid(&good));
        let bad = json!({"apiVersion": "mailfleet.dev/v1alpha1", "kind": "Plan", "metadata": {"name": "pro"}, "spec": {"server": []}});
        let errors: Vec<String> = validator.iter_errors(&bad).map(|error| error.instance_path().to_string()).collect();
        assert_eq!(errors, ["/spec"]);
        assert!(!validator.is_valid(&json!({"apiVersion": "v1", "kind": "Plan", "metadata": {"name": "pro"}, "spec": {}})));
        assert!(
            validator
                .is_valid(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}, "stringData": {"password": "x"}}))
        );
        assert!(for_validation("Deployment").is_none() && for_editors(Some("Deployment")).is_none());
    }
}
