//! The template fields of one recipient: a row of the audience, cheap to clone and read by templates directly.
//!
//! Column names are shared between the rows of a file, and nothing is converted into a map. `email` is always there
//! and is the address as mail systems compare it. A JSON `null` counts as a missing field.

use std::{borrow::Cow, sync::Arc};

use minijinja::{
    Value,
    value::{Enumerator, Object},
};
use serde_json::Map;

use super::{
    Address,
    columns::{Columns, EMAIL},
};

/// The fields of one recipient.
#[derive(Clone, Debug)]
pub struct Fields(Arc<Row>);

#[derive(Debug)]
struct Row {
    email: Address,
    cells: Cells,
}

#[derive(Debug)]
enum Cells {
    /// A row of a table: all cells in one string, with the end of each.
    Table { columns: Arc<Columns>, text: Box<str>, ends: Box<[u32]> },
    /// A JSON object; its `email` is not read.
    Json(Map<String, serde_json::Value>),
}

impl Fields {
    pub(crate) fn from_table(email: Address, columns: &Arc<Columns>, text: &str, ends: &[u32]) -> Self {
        Self(Arc::new(Row { email, cells: Cells::Table { columns: Arc::clone(columns), text: text.into(), ends: ends.into() } }))
    }

    pub(crate) fn from_object(email: Address, object: Map<String, serde_json::Value>) -> Self {
        Self(Arc::new(Row { email, cells: Cells::Json(object) }))
    }

    /// The value of a field as text; a number or a list as JSON. `None` when it is missing or `null`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        match self.0.cell(name)? {
            Cell::Text(text) => Some(Cow::Borrowed(text)),
            Cell::Json(value) => Some(Cow::Owned(value.to_string())),
        }
    }

    /// The names of the fields in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.names()
    }

    /// The fields as one JSON object, from which [`Fields::from_json`] makes the same fields.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut object = Map::new();
        for name in self.0.names() {
            let value = match self.0.cell(name) {
                Some(Cell::Text(text)) => serde_json::Value::from(text),
                Some(Cell::Json(value)) => value.clone(),
                None => continue,
            };
            object.insert(name.to_owned(), value);
        }
        serde_json::Value::Object(object).to_string()
    }

    /// Reads what [`Fields::to_json`] wrote.
    ///
    /// # Errors
    /// When it is not a JSON object with an address in `email`; the message says what is wrong.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let object: Map<String, serde_json::Value> = serde_json::from_str(text).map_err(|error| format!("not a JSON object: {error}"))?;
        let email = match object.get(EMAIL) {
            Some(serde_json::Value::String(text)) => Address::parse(text.trim_ascii())?,
            Some(_) => return Err("`email` is not a string".to_owned()),
            None => return Err("there is no field `email`".to_owned()),
        };
        Ok(Self::from_object(email, object))
    }

    /// The address that the row mails.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.0.email
    }

    /// One field as a template value.
    pub(crate) fn value(&self, name: &str) -> Option<Value> {
        self.0.value(name)
    }

    /// All fields as a template value.
    pub(crate) fn to_value(&self) -> Value {
        Value::from_dyn_object(Arc::clone(&self.0))
    }
}

enum Cell<'a> {
    Text(&'a str),
    Json(&'a serde_json::Value),
}

impl Row {
    fn cell(&self, name: &str) -> Option<Cell<'_>> {
        if name == EMAIL {
            return Some(Cell::Text(self.email.as_str()));
        }
        match &self.cells {
            Cells::Table { columns, text, ends } => {
                if name.is_empty() {
                    return None;
                }
                let index = columns.names.iter().position(|column| **column == *name)?;
                let start = if index == 0 { 0 } else { *ends.get(index - 1)? as usize };
                text.get(start..*ends.get(index)? as usize).map(Cell::Text)
            }
            Cells::Json(object) => match object.get(name)? {
                serde_json::Value::Null => None,
                serde_json::Value::String(text) => Some(Cell::Text(text)),
                value => Some(Cell::Json(value)),
            },
        }
    }

    fn value(&self, name: &str) -> Option<Value> {
        Some(match self.cell(name)? {
            Cell::Text(text) => Value::from(text),
            Cell::Json(value) => from_json(value),
        })
    }

    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match &self.cells {
            Cells::Table { columns, .. } => Box::new(columns.names.iter().map(|name| &**name).filter(|name| !name.is_empty())),
            Cells::Json(object) => Box::new(object.keys().map(String::as_str)),
        }
    }
}

/// A JSON value as a template value. The depth is bounded by the parser that read it.
fn from_json(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(yes) => Value::from(*yes),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::from(number),
            (None, Some(number)) => Value::from(number),
            (None, None) => Value::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => Value::from(items.iter().map(from_json).collect::<Vec<_>>()),
        serde_json::Value::Object(object) => Value::from_pairs(object.iter().map(|(name, value)| (name.as_str(), from_json(value)))),
    }
}

impl Object for Row {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.value(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.value(key)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.names().map(Value::from).collect())
    }
}
