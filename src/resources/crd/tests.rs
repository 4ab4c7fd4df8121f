//! What every schema must be like, walked field by field.

use serde_json::{Map, Value, json};

use super::*;

/// Keywords that a schema of ours may have.
const KEYWORDS: &[&str] = &[
    "type",
    "description",
    "properties",
    "required",
    "items",
    "additionalProperties",
    "enum",
    "format",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "x-kubernetes-int-or-string",
    "minItems",
    "maxItems",
    "maxProperties",
    "x-kubernetes-validations",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-preserve-unknown-fields",
];

fn walk(schema: &Value, path: &str, visit: &mut dyn FnMut(&Map<String, Value>, &str)) {
    let object = schema.as_object().unwrap_or_else(|| panic!("{path} is no schema"));
    visit(object, path);
    for (name, schema) in object.get("properties").and_then(Value::as_object).into_iter().flatten() {
        walk(schema, &format!("{path}.{name}"), visit);
    }
    for (keyword, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(schema) = object.get(keyword) {
            walk(schema, &format!("{path}{mark}"), visit);
        }
    }
}

/// What is wrong with a schema, by path.
fn complaints(schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(schema, "", &mut |object, path| {
        let mut complain = |what: String| found.push(format!("{path}: {what}"));
        let has = |keyword: &str| object.contains_key(keyword);
        for keyword in object.keys().filter(|keyword| !KEYWORDS.contains(&keyword.as_str())) {
            complain(format!("the keyword {keyword}"));
        }
        let is_field = path.rsplit('.').next().is_some_and(|last| !last.ends_with("[]") && !last.ends_with("{}"));
        // An API server allows no description of the metadata.
        if is_field && !has("description") && path != ".metadata" {
            complain("no description".to_owned());
        }
        let bounds: &[&str] = match object.get("type").and_then(Value::as_str) {
            Some("string") if has("enum") => &[],
            Some("string") => &["maxLength"],
            Some("integer" | "number") => &["minimum", "maximum"],
            Some("array") => &["maxItems", "items"],
            Some("object") if has("additionalProperties") => &["maxProperties"],
            Some("object" | "boolean") => &[],
            None if has("x-kubernetes-int-or-string") => &["minimum", "maximum", "maxLength", "pattern"],
            other => return complain(format!("the type {other:?}")),
        };
        if path.starts_with(".spec") {
            bounds.iter().filter(|bound| !has(bound)).for_each(|bound| complain(format!("no {bound}")));
        }
        if object.get("type") == Some(&json!("integer")) && object.get("format") != Some(&json!("int64")) {
            // Without it an API server takes 1.000000001 for an integer.
            complain("an integer without the format int64".to_owned());
        }
        if object.get("type") == Some(&json!("string")) && has("format") {
            // With one an API server takes a list for a text.
            complain("a text with a format".to_owned());
        }
        if path.rsplit('.').next().is_some_and(|name| name.contains("__") || name.contains(['-', '/'])) {
            complain("a name that a rule would have to escape".to_owned());
        }
        for rule in object.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
            let text = |key: &str| rule[key].as_str().unwrap_or_default();
            if text("message").is_empty() || text("message").contains('\n') {
                complain(format!("a rule without a message of one line: {rule}"));
            }
            if let Some(field) = text("fieldPath").strip_prefix('.')
                && field.split('.').try_fold(&Value::Object(object.clone()), |at, name| at["properties"].get(name)).is_none()
            {
                complain(format!("a rule at a field that is not there: {field}"));
            }
        }
    });
    found
}

#[test]
fn every_field_is_described_and_bounded() {
    for kind in CUSTOM_KINDS {
        assert_eq!(complaints(&structural(kind).expect(kind)), Vec::<String>::new(), "{kind}");
    }
    assert!(structural("Secret").is_none() && definition("Secret").is_none());
}

#[test]
fn what_is_wrong_is_found() {
    let spec = |schema: Value| json!({"type": "object", "properties": {"spec": {"type": "object", "description": "x", "properties": {"a": schema}}}});
    for (schema, complaint) in [
        (json!({"type": "string", "description": "x"}), ".spec.a: no maxLength"),
        (json!({"type": "string", "maxLength": 1}), ".spec.a: no description"),
        (json!({"type": "boolean", "description": "x", "default": true}), ".spec.a: the keyword default"),
        (json!({"type": ["string", "null"], "description": "x"}), ".spec.a: the type None"),
        (
            json!({"type": "array", "maxItems": 1, "items": {"type": "integer", "format": "int64", "minimum": 1}, "description": "x"}),
            ".spec.a[]: no maximum",
        ),
        (json!({"type": "string", "maxLength": 1, "description": "x", "format": "date"}), ".spec.a: a text with a format"),
        (json!({"type": "integer", "minimum": 1, "maximum": 1}), ".spec.a: an integer without the format int64"),
        (
            json!({"type": "object", "description": "x", "properties": {}, "x-kubernetes-validations": [{"rule": "true", "message": "x", "fieldPath": ".b"}]}),
            ".spec.a: a rule at a field that is not there: b",
        ),
    ] {
        let found = complaints(&spec(schema));
        assert!(found.contains(&complaint.to_owned()), "{complaint}: {found:?}");
    }
}

#[test]
fn printer_columns_name_fields_of_the_schema() {
    for kind in CUSTOM_KINDS {
        let schema = structural(kind).expect(kind);
        for Column { heading, path, .. } in names(kind).expect(kind).columns {
            let first: Vec<&str> = path.split(['.', '[']).filter(|part| !part.is_empty()).take(2).collect();
            let is_known = schema.pointer(&format!("/properties/{}/properties/{}", first[0], first[1])).is_some();
            assert!(is_known, "{kind}: {heading} {path}");
        }
    }
}
