//! Keys of lists are unique: `x-kubernetes-list-type` of `map` and `set`.

use std::collections::HashMap;

use serde_json::Value;

use super::breach::{Breach, children};
use crate::yaml::{FieldPath, Step};

/// Adds what is twice in a list that must not have it twice.
pub(super) fn breaches(schema: &Value, json: &Value, path: &FieldPath, found: &mut Vec<Breach>) {
    if let (Value::Array(items), Some(kind)) = (json, schema.get("x-kubernetes-list-type").and_then(Value::as_str)) {
        let keys = || schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let mut seen: HashMap<String, usize> = HashMap::new();
        for (index, item) in items.iter().enumerate() {
            let key = match kind {
                "set" => item.to_string(),
                "map" => keys().map(|key| item.get(key).unwrap_or(&Value::Null).to_string()).collect::<Vec<_>>().join(","),
                _ => continue,
            };
            let at = path.with(Step::Index(index));
            match (seen.get(&key), keys().next()) {
                (None, _) => drop(seen.insert(key, index)),
                (Some(first), Some(field)) => {
                    let given: Vec<String> = keys().map(|key| item.get(key).unwrap_or(&Value::Null).to_string()).collect();
                    let words = format!("{} is already given by {path}[{first}]; name it once", given.join(" with "));
                    found.push(Breach::new(at.key(field), words));
                }
                (Some(first), None) => found.push(Breach::new(at, format!("{item} is already given by {path}[{first}]; keep one of them"))),
            }
        }
    }
    for (schema, json, path) in children(schema, json, path) {
        breaches(schema, json, &path, found);
    }
}
