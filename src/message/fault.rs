//! A fault of a campaign's content, at a field.

use std::fmt;

/// Something in the content that cannot work for any recipient.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The field's path: `spec.content.html`, `spec.headers[2].value`.
    pub path: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl Fault {
    /// A fault at a field.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}
