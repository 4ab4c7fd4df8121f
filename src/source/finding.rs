//! Remarks about files.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::{Serialize, Serializer};

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The document is not used.
    Fault,
    /// The document is used, but is probably not what was meant.
    Warning,
    /// For information only.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fault => "fault",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// A remark about a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Whether it is a fault.
    pub severity: Severity,
    /// The file or folder.
    #[serde(serialize_with = "shown_path")]
    pub file: PathBuf,
    /// The line, from 1; 0 when it is about the file as a whole.
    pub line: usize,
    /// The column in characters, from 1; 0 when it is about the file as a whole.
    pub column: usize,
    /// `SendingServer default/ses-eu`, where it is known.
    pub resource: Option<String>,
    /// `spec.provider.smtp.port`, where it is about a field.
    pub field: Option<String>,
    /// What is wrong and what to do.
    pub message: String,
    /// The line of the file; absent where it could show a secret.
    #[serde(skip)]
    pub excerpt: Option<String>,
}

fn shown_path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

impl Finding {
    /// A finding about a file as a whole.
    pub(crate) fn of_file(severity: Severity, file: &Path, message: impl Into<String>) -> Self {
        Self { severity, file: file.to_owned(), line: 0, column: 0, resource: None, field: None, message: message.into(), excerpt: None }
    }

    /// `file:line:column`, or the file alone.
    #[must_use]
    pub fn place(&self) -> String {
        match self.line {
            0 => self.file.display().to_string(),
            line => format!("{}:{line}:{}", self.file.display(), self.column),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: ", self.place(), self.severity)?;
        for part in [&self.resource, &self.field].into_iter().flatten() {
            write!(f, "{part}: ")?;
        }
        f.write_str(&self.message)
    }
}
