//! The JSON Schema of every kind: one form for validation, one for editors.
//!
//! Both come from the same types as the CRDs, so that a file has one verdict everywhere. For validation the
//! schema is inlined, and what schemars writes as `oneOf` and `anyOf` is made plain, so that a fault is told at
//! the value that is wrong. No default appears in either: defaults live in code and show in status.

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{API_VERSION, Campaign, Kind, Plan, SendingServer};

/// Where the editors' schema will be found.
pub const SCHEMA_ID: &str = "https://mailfleet.dev/schemas/mailfleet.schema.json";

/// Every kind that a folder may hold, those of Kubernetes last.
pub const KINDS: &[&str] = &["SendingServer", "Plan", "Campaign", "Secret", "ConfigMap", "Namespace"];

/// The schema by which a document of this kind is judged; none for a kind that Mailfleet does not read.
#[must_use]
pub fn for_validation(kind: &str) -> Option<Value> {
    let mut schema = match kind {
        SendingServer::KIND => inlined::<SendingServer>(),
        Plan::KIND => inlined::<Plan>(),
        Campaign::KIND => inlined::<Campaign>(),
        _ => return kubernetes_kind(kind),
    };
    make_plain(&mut schema, true);
    ignore_status(&mut schema);
    Some(schema)
}

fn inlined<K: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<K>()
        .to_value()
}

/// `status` is Mailfleet's to write, and whatever stands there in a file is ignored.
fn ignore_status(schema: &mut Value) {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("status".to_owned(), json!({"description": "Written by Mailfleet; what a file says here is ignored."}));
    }
}

/// Turns `oneOf` of constants into `enum`, and `anyOf` of a schema and null into the schema, with null kept or not.
fn make_plain(schema: &mut Value, keep_null: bool) {
    let Value::Object(object) = schema else {
        if let Value::Array(items) = schema {
            items.iter_mut().for_each(|item| make_plain(item, keep_null));
        }
        return;
    };
    if let Some(Value::Array(choices)) = object.get("anyOf")
        && let [choice, Value::Object(null)] = choices.as_slice()
        && null.get("type") == Some(&json!("null"))
    {
        let choice = choice.clone();
        object.remove("anyOf");
        for (key, value) in choice.as_object().into_iter().flatten() {
            // The field's own description is the better one.
            object.entry(key.clone()).or_insert_with(|| value.clone());
        }
        make_plain(schema, keep_null);
        if keep_null && let Value::Object(object) = schema {
            allow_null(object);
        }
        return;
    }
    if keep_null
        && let Some(Value::Array(choices)) = object.get("oneOf")
        && let Some(names) = choices.iter().map(|choice| choice.get("const").cloned()).collect::<Option<Vec<_>>>()
    {
        object.remove("oneOf");
        object.insert("enum".to_owned(), Value::Array(names));
    }
    if !keep_null && let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    for value in object.values_mut() {
        make_plain(value, keep_null);
    }
}

fn allow_null(schema: &mut Map<String, Value>) {
    match schema.get_mut("type") {
        Some(Value::String(name)) => {
            let name = name.clone();
            schema.insert("type".to_owned(), json!([name, "null"]));
        }
        Some(Value::Array(types)) if !types.contains(&json!("null")) => types.push(json!("null")),
        _ => {}
    }
    if let Some(Value::Array(names)) = schema.get_mut("enum")
        && !names.contains(&Value::Null)
    {
        names.push(Value::Null);
    }
}

/// The kinds of Kubernetes itself that a folder may hold beside ours: as much of them as Mailfleet reads.
fn kubernetes_kind(kind: &str) -> Option<Value> {
    let metadata = SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<super::Metadata>()
        .to_value();
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
        "metadata": metadata,
    });
    if let (Some(properties), Value::Object(own)) = (properties.as_object_mut(), own) {
        properties.extend(own);
    }
    let mut schema =
        json!({"type": "object", "properties": properties, "required": ["apiVersion", "kind", "metadata"], "additionalProperties": false});
    make_plain(&mut schema, true);
    Some(schema)
}

/// The schema for editors: of one kind, or of any of them, told apart by `kind` so that messages are about that kind.
/// None for a kind that Mailfleet does not read.
#[must_use]
pub fn for_editors(kind: Option<&str>) -> Option<Value> {
    if kind.is_some_and(|kind| !KINDS.contains(&kind)) {
        return None;
    }
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let mut definitions = Map::new();
    let kinds: Vec<&str> = KINDS.iter().copied().filter(|name| kind.is_none_or(|kind| kind == *name)).collect();
    for name in &kinds {
        definitions.insert((*name).to_owned(), editor_kind(name, &mut generator)?);
    }
    for (name, definition) in generator.take_definitions(true) {
        definitions.entry(name).or_insert(definition);
    }
    let mut definitions = Value::Object(definitions);
    make_plain(&mut definitions, false);
    let body = if let Some(kind) = kind { json!({"$ref": format!("#/$defs/{kind}")}) } else { any_kind(&kinds) };
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": kind.map_or_else(|| "Mailfleet".to_owned(), |kind| format!("Mailfleet {kind}")),
        "description": "Sending servers, plans and campaigns as Mailfleet reads them, and the Secrets, ConfigMaps and Namespaces beside them.",
    });
    if let (Some(schema), Value::Object(body)) = (schema.as_object_mut(), body) {
        schema.extend(body);
        schema.insert("$defs".to_owned(), only_used(&body_of(schema), &definitions));
    }
    Some(schema)
}

fn body_of(schema: &Map<String, Value>) -> Value {
    Value::Object(schema.clone())
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

fn editor_kind(kind: &str, generator: &mut SchemaGenerator) -> Option<Value> {
    let (mut schema, version, about) = match kind {
        SendingServer::KIND => (SendingServer::json_schema(generator).to_value(), API_VERSION, "One way to hand messages over."),
        Plan::KIND => (Plan::json_schema(generator).to_value(), API_VERSION, "Which servers an operator grants, to which namespaces."),
        Campaign::KIND => {
            (Campaign::json_schema(generator).to_value(), API_VERSION, "One message to an audience, through the servers of a plan.")
        }
        "Secret" => {
            (kubernetes_kind(kind)?, "v1", "Values that do not belong in git. Mailfleet also reads --secrets-dir and the environment.")
        }
        "ConfigMap" => (kubernetes_kind(kind)?, "v1", "Texts that campaigns may refer to."),
        _ => (kubernetes_kind(kind)?, "v1", "A customer, and the labels that plans select by."),
    };
    ignore_status(&mut schema);
    let object = schema.as_object_mut()?;
    object.insert("title".to_owned(), json!(kind));
    object.insert("description".to_owned(), json!(about));
    let properties = object.get_mut("properties")?.as_object_mut()?;
    properties.insert("apiVersion".to_owned(), json!({"const": version, "description": format!("Always `{version}`.")}));
    properties.insert("kind".to_owned(), json!({"const": kind, "description": about}));
    Some(schema)
}

/// The definitions that can be reached from `body`.
fn only_used(body: &Value, definitions: &Value) -> Value {
    let mut used = Map::new();
    let mut open = vec![body.clone()];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(object) => {
                if let Some(Value::String(reference)) = object.get("$ref")
                    && let Some(name) = reference.strip_prefix("#/$defs/")
                    && !used.contains_key(name)
                    && let Some(definition) = definitions.get(name)
                {
                    used.insert(name.to_owned(), definition.clone());
                    open.push(definition.clone());
                }
                open.extend(object.into_iter().map(|(_, value)| value));
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    used.sort_keys();
    Value::Object(used)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keywords(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                for (key, value) in object {
                    // Fields of the YAML are below `properties`, and may have any name.
                    if key == "properties" || key == "$defs" {
                        value.as_object().into_iter().flatten().for_each(|(_, value)| keywords(value, found));
                    } else {
                        found.push(key.clone());
                        keywords(value, found);
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| keywords(item, found)),
            _ => {}
        }
    }

    #[test]
    fn no_default_appears_and_validation_is_plain() {
        for kind in KINDS {
            let schema = for_validation(kind).expect(kind);
            let mut found = Vec::new();
            keywords(&schema, &mut found);
            for keyword in ["default", "oneOf", "anyOf", "allOf", "$ref"] {
                assert!(!found.contains(&keyword.to_owned()), "{kind}: {keyword}");
            }
            jsonschema::validator_for(&schema).expect(kind);
        }
        let mut found = Vec::new();
        keywords(&for_editors(None).expect("every kind"), &mut found);
        assert!(!found.contains(&"default".to_owned()));
        assert!(for_validation("Deployment").is_none() && for_editors(Some("Deployment")).is_none());
    }

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
    }
}
