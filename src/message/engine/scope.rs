//! What a template sees: a recipient, or for the trial run one who has every field.

use std::{fmt, sync::Arc};

use minijinja::{
    Error, ErrorKind, State, Value,
    value::{Enumerator, Object},
};

use crate::{
    audience::Fields,
    message::{LINK, words},
};

/// What a template sees: the recipient's fields by name, all of them as `fields`, `campaign`, and `unsubscribe_url` where there is a
/// link. A recipient's field takes precedence.
#[derive(Debug)]
pub(in crate::message) struct Root {
    pub(in crate::message) fields: Fields,
    pub(in crate::message) campaign: Value,
    pub(in crate::message) link: Option<Value>,
}

impl Root {
    fn value(&self, name: &str) -> Option<Value> {
        self.fields.value(name).or_else(|| match name {
            "campaign" => Some(self.campaign.clone()),
            "fields" => Some(self.fields.to_value()),
            LINK => self.link.clone(),
            _ => None,
        })
    }
}

impl Object for Root {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.value(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.value(key)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let link = self.link.as_ref().map(|_| LINK);
        Enumerator::Values(self.fields.names().chain(["campaign", "fields"]).chain(link).map(Value::from).collect())
    }
}

/// A recipient who has every field, for the trial run. Each field has fields again, to a limited depth: a filter
/// that walks through a value must come to an end.
#[derive(Debug)]
pub(super) struct Anything(pub(super) u8);

impl Object for Anything {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        // The engine looks up its own functions only where there is no such field.
        if matches!(key.as_str(), Some("dict" | "namespace" | "range")) {
            return None;
        }
        Some(self.0.checked_sub(1).map_or_else(|| Value::from("sample"), |levels| Value::from_object(Self(levels))))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(vec![Value::from("sample")])
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, name: &str, _: &[Value]) -> Result<Value, Error> {
        let sample = || self.0.checked_sub(1).map_or_else(|| Value::from("sample"), |levels| Value::from_object(Self(levels)));
        match name {
            "items" => Ok(Value::from(vec![Value::from(vec![Value::from("sample"), sample()])])),
            _ if words::METHODS.contains(&name) => Ok(sample()),
            _ => Err(Error::new(ErrorKind::UnknownMethod, format!("there is no method `{name}`"))),
        }
    }

    // No field is a function.
    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, _: &[Value]) -> Result<Value, Error> {
        Err(Error::from(ErrorKind::UnknownFunction))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sample")
    }
}
