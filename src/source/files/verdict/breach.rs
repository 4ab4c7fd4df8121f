//! A fault at a field, before its place in the file is known; and the fields below one.

use serde_json::Value;

use crate::yaml::{Fault, FieldPath, Node, Step};

/// Something that is wrong at a field, before its place in the file is known.
#[derive(Debug)]
pub(super) struct Breach {
    pub path: FieldPath,
    pub message: String,
    /// It is about the key and not about the value.
    of_key: bool,
}

impl Breach {
    pub fn new(path: FieldPath, message: impl Into<String>) -> Self {
        Self { path, message: message.into(), of_key: false }
    }

    pub fn of_key(path: FieldPath, message: impl Into<String>) -> Self {
        Self { path, message: message.into(), of_key: true }
    }

    pub fn at(self, node: &Node) -> Fault {
        let at = if self.of_key { node.locate_key(&self.path) } else { node.locate(&self.path) };
        Fault { at, path: self.path, message: self.message }
    }
}

/// The schemas of the values right below one, and the values.
pub(super) fn children<'a>(schema: &'a Value, json: &'a Value, path: &FieldPath) -> Vec<(&'a Value, &'a Value, FieldPath)> {
    match json {
        Value::Object(object) => {
            let of = |name: &str| schema.get("properties").and_then(|p| p.get(name)).or_else(|| schema.get("additionalProperties"));
            object.iter().filter_map(|(name, value)| Some((of(name)?, value, path.key(name)))).collect()
        }
        Value::Array(items) => match schema.get("items") {
            Some(schema) => items.iter().enumerate().map(|(index, value)| (schema, value, path.with(Step::Index(index)))).collect(),
            None => Vec::new(),
        },
        _ => Vec::new(),
    }
}
