//! A document as an API server keeps it, before it is judged.

use serde_json::{Map, Value};

/// What Go's JSON schema validation takes for a whole number: so near to one, in relation to its size.
const NEARNESS: f64 = 1e-9;
/// The largest number that a float still counts by ones (2^53 - 1).
const WHOLE_MAX: f64 = 9_007_199_254_740_991.0;

/// Drops nulls of known fields (they are not nullable, and so count as absent), and writes whole numbers as integers, as
/// every client that is written in Go does. Metadata is read into Go's structs, where null is the empty value.
///
/// A number that is only nearly whole passes for an integer too, and is made one; the rules see it as it was: then the
/// value before that is given back.
pub(super) fn normalise(json: &mut Value, schema: &Value) -> Option<Value> {
    if let Some(metadata) = json.get_mut("metadata").and_then(Value::as_object_mut) {
        clean_metadata(metadata);
    }
    let mut has_near = false;
    walk(json, schema, false, &mut has_near);
    has_near.then(|| {
        let before = json.clone();
        walk(json, schema, true, &mut has_near);
        before
    })
}

fn walk(json: &mut Value, schema: &Value, rounds: bool, has_near: &mut bool) {
    match json {
        Value::Object(object) => {
            let of = |name: &str| schema.get("properties").and_then(|p| p.get(name)).or_else(|| schema.get("additionalProperties"));
            object.retain(|name, value| !value.is_null() || of(name).is_none_or(|schema| !schema.is_object() || is_nullable(schema)));
            for (name, value) in object.iter_mut() {
                if let Some(schema) = of(name) {
                    walk(value, schema, rounds, has_near);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                items.iter_mut().for_each(|item| walk(item, schema, rounds, has_near));
            }
        }
        Value::Number(number) if schema.get("type").is_some_and(|kind| kind == "integer") && number.is_f64() => {
            match number.as_f64().and_then(whole) {
                Some((whole, is_exact)) if is_exact || rounds => *json = whole.into(),
                Some(_) => *has_near = true,
                None => {}
            }
        }
        _ => {}
    }
}

fn is_nullable(schema: &Value) -> bool {
    schema.get("type").and_then(Value::as_array).is_some_and(|types| types.iter().any(|name| name == "null"))
}

/// The integer that an API server takes this number for, and whether it is just that.
fn whole(number: f64) -> Option<(i64, bool)> {
    let nearest = number.trunc();
    let is_exact = number.fract() == 0.0;
    let is_near = nearest > 0.0 && (number - nearest) / (number + nearest) < NEARNESS;
    #[allow(clippy::cast_possible_truncation)]
    ((is_exact || is_near) && number.abs() <= WHOLE_MAX).then_some((nearest as i64, is_exact))
}

fn clean_metadata(metadata: &mut Map<String, Value>) {
    for field in ["labels", "annotations"] {
        for value in metadata.get_mut(field).and_then(Value::as_object_mut).into_iter().flat_map(|texts| texts.values_mut()) {
            if value.is_null() {
                *value = Value::String(String::new());
            }
        }
    }
    metadata.retain(|name, value| !(value.is_null() || (name == "namespace" && value == "")));
}

#[cfg(test)]
mod tests {
    use super::whole;

    #[test]
    fn whole_numbers_are_those_of_the_api_server() {
        for (number, expected) in [
            (1.0, Some((1, true))),
            (-3.0, Some((-3, true))),
            (-3.000_000_001, None),
            (0.0, Some((0, true))),
            (1e3, Some((1000, true))),
            (5.000_000_001, Some((5, false))),
            (1.5, None),
            (0.000_000_001, None),
            (4.999_999_999, None),
            (1e30, None),
        ] {
            assert_eq!(whole(number), expected, "{number}");
        }
    }
}
