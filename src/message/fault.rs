//! A fault of a campaign's content, at a field.

use std::fmt;

/// Something in the content that cannot work for any recipient.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The field's path: `spec.content.html`, `spec.headers[2].value`.
    pub path: String,
    /// What is wrong, and what to write instead.
    pub message: String,
    /// The text of the template that is at fault, where it can be quoted: it is looked for in the line.
    pub quote: Option<String>,
    /// A part of the content is not there, or cannot be read: it may come without any change of the campaign.
    pub is_missing: bool,
}

impl Fault {
    /// A fault at a field.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), quote: None, is_missing: false }
    }

    /// The same, of something that is not there.
    pub(super) fn missing(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { is_missing: true, ..Self::new(path, message) }
    }

    /// The same, with the text that is at fault.
    #[must_use]
    pub fn quoting(self, quote: impl Into<String>) -> Self {
        Self { quote: Some(quote.into()), ..self }
    }

    /// The line of the template, where the message begins with it, and the rest of the message.
    #[must_use]
    pub fn line(&self) -> (Option<usize>, &str) {
        let parted = self.message.strip_prefix("line ").and_then(|rest| rest.split_once(": "));
        match parted.and_then(|(line, rest)| Some((line.parse().ok()?, rest))) {
            Some((line, rest)) => (Some(line), rest),
            None => (None, &self.message),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}
