//! A document as an API server keeps it, before it is judged.

use serde_json::{Map, Value};

use crate::meta::whole::{integer, near_integer};

/// Drops nulls of known fields (they are not nullable, and so count as absent), and writes whole numbers as integers, as
/// every client that is written in Go does. Metadata is read into Go's structs, where null is the empty value.
pub(super) fn normalise(json: &mut Value, schema: &Value) {
    if let Some(metadata) = json.get_mut("metadata").and_then(Value::as_object_mut) {
        clean_metadata(metadata, schema);
    }
    walk(json, schema);
}

fn walk(json: &mut Value, schema: &Value) {
    match json {
        Value::Object(object) => {
            let of = |name: &str| schema.get("properties").and_then(|p| p.get(name)).or_else(|| schema.get("additionalProperties"));
            object.retain(|name, value| !value.is_null() || of(name).is_none_or(|schema| !schema.is_object() || is_nullable(schema)));
            for (name, value) in object.iter_mut() {
                if let Some(schema) = of(name) {
                    walk(value, schema);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                items.iter_mut().for_each(|item| walk(item, schema));
            }
        }
        Value::Number(number) if is_integer(schema) || is_either(schema) => {
            let whole = if is_either(schema) { near_integer } else { integer };
            // Bounds are those of the number as it is written.
            let is_within = |number: &f64| schema.get("maximum").and_then(Value::as_f64).is_none_or(|most| *number <= most);
            if let Some(whole) = number.as_f64().filter(|_| number.is_f64()).filter(is_within).and_then(whole) {
                *json = whole.into();
            }
        }
        _ => {}
    }
}

fn is_integer(schema: &Value) -> bool {
    schema.get("type").is_some_and(|kind| kind == "integer")
}

/// Whether it is an integer or a text.
fn is_either(schema: &Value) -> bool {
    schema.get("x-kubernetes-int-or-string").is_some_and(|either| either == true)
}

fn is_nullable(schema: &Value) -> bool {
    schema.get("type").and_then(Value::as_array).is_some_and(|types| types.iter().any(|name| name == "null"))
}

fn clean_metadata(metadata: &mut Map<String, Value>, schema: &Value) {
    for field in ["labels", "annotations"] {
        for value in metadata.get_mut(field).and_then(Value::as_object_mut).into_iter().flat_map(|texts| texts.values_mut()) {
            if value.is_null() {
                *value = Value::String(String::new());
            }
        }
    }
    let is_known = |name: &str| schema.pointer("/properties/metadata/properties").and_then(|known| known.get(name)).is_some();
    metadata.retain(|name, value| !(value.is_null() && is_known(name) || name == "namespace" && value == ""));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::normalise;

    #[test]
    fn null_is_absent_and_whole_numbers_are_integers() {
        let schema = json!({"type": "object", "properties": {
            "a": {"type": "integer"}, "b": {"type": "array", "items": {"type": "integer"}}, "c": {"type": "number"},
            "d": {"type": "object", "properties": {}, "x-kubernetes-preserve-unknown-fields": true},
            "e": {"type": "object", "additionalProperties": {"type": "string"}}, "f": {"x-kubernetes-int-or-string": true, "maximum": 9},
            "metadata": {"properties": {"uid": {}, "annotations": {}}},
        }});
        for (before, after) in [
            (json!({"a": null, "x": null}), json!({"x": null})),
            (json!({"a": 2.0, "b": [1.0, 1.5, null, 1e300], "c": 2.0}), json!({"a": 2, "b": [1, 1.5, null, 1e300], "c": 2.0})),
            (json!({"a": -0.0, "f": -0.0}), json!({"a": 0, "f": 0})),
            (json!({"f": 2.0}), json!({"f": 2})),
            // As an API server has it, and where a text cannot be it has not.
            (json!({"f": 3.000_000_000_3, "a": 3.000_000_000_3}), json!({"f": 3, "a": 3.000_000_000_3})),
            (json!({"f": 3.000_000_03}), json!({"f": 3.000_000_03})),
            (json!({"f": 9.000_000_000_3}), json!({"f": 9.000_000_000_3})),
            (json!({"f": "5%"}), json!({"f": "5%"})),
            (json!({"d": {"x": null, "y": 1.0}, "e": {"x": null, "y": "z"}}), json!({"d": {"x": null, "y": 1.0}, "e": {"y": "z"}})),
            (
                json!({"metadata": {"namespace": "", "uid": null, "labels": {"a": null}, "annotations": null, "x": null}}),
                json!({"metadata": {"labels": {"a": ""}, "x": null}}),
            ),
        ] {
            let mut json = before.clone();
            normalise(&mut json, &schema);
            assert_eq!(json, after, "{before}");
        }
    }
}
