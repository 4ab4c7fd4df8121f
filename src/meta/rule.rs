//! Rules that types and bounds cannot express, in CEL, declared beside the types.
//!
//! They become `x-kubernetes-validations` of the CRDs; `validate` evaluates the same texts. Ours use only what both sides evaluate
//! alike: `has`, comparisons, `&&`, `||`, `!`, `?:`, `in`, `size`, `all`, `exists`, `exists_one`, `filter`,
//! `matches`, `lowerAscii`, and `duration` of a text. Times are not touched.

use serde::Serialize;

/// The keyword of a schema that holds rules.
pub const RULES: &str = "x-kubernetes-validations";

/// A rule on a value, its `self`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    #[serde(skip_serializing_if = "Option::is_none")]
    field_path: Option<&'static str>,
    message: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(rename = "rule")]
    expression: &'static str,
}

impl Rule {
    /// A rule, and the message for people when it is broken.
    #[must_use]
    pub const fn new(expression: &'static str, message: &'static str) -> Self {
        Self { field_path: None, message, reason: None, expression }
    }

    /// The field that the breach is reported at: `.servers` below the value.
    #[must_use]
    pub const fn at(mut self, field_path: &'static str) -> Self {
        self.field_path = Some(field_path);
        self
    }

    /// The breach is a value that must not be given.
    #[must_use]
    pub const fn forbidden(mut self) -> Self {
        self.reason = Some("FieldValueForbidden");
        self
    }

    /// The breach is a missing value.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.reason = Some("FieldValueRequired");
        self
    }
}
