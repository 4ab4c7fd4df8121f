//! Files that people write, and those that somebody else wrote for them, for [`crate::fuzzing`].

#![allow(clippy::missing_panics_doc)] // What does not hold is a panic.

use std::path::Path;

use super::{
    document::{FileContent, read_text},
    read::Body,
};
use crate::{
    properties::assert_same,
    source::{Finding, Severity},
    yaml,
};

/// What no finding may show.
const PASSWORD: &str = "Zq7-corr3ct-h0rse";
/// Findings of one severity, and the line that counts the rest.
const FINDINGS_MAX: usize = 3 * 1001;

/// Documents, parsed and judged as `mailfleet validate` does, in YAML and as JSON. A document is used or has a fault, never neither.
pub fn documents(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for name in ["a.yaml", "a.json"] {
        let content = read_text(Path::new(name), &text);
        bounded(&content.findings, &text);
        let faults = content.findings.iter().any(|finding| finding.severity == Severity::Fault);
        for document in &content.documents {
            if let Body::Broken { message, .. } = &document.body {
                assert!(faults && !message.is_empty(), "{} cannot be used, and nobody is told why", document.resource());
            }
        }
        assert!(faults || content.unnamed.is_none(), "{:?} has no fault", content.unnamed);
        assert_same(&shown(&content), &shown(&read_text(Path::new(name), &text)), "a second reading");
    }
}

/// A Secret whatever it holds beside its password: no finding shows that, wherever the YAML breaks.
pub fn secrets(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let within: String = text.split('\n').map(|line| format!("  {}\n", line.trim_end_matches('\r'))).collect();
    let text =
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: login}}\nstringData:\n  first: {PASSWORD}\n{within}  last: {PASSWORD}\n");
    let content = read_text(Path::new("a.yaml"), &text);
    bounded(&content.findings, &text);
    let told = shown(&content);
    assert!(!told.contains(PASSWORD), "{told}");
}

fn shown(content: &FileContent) -> String {
    let bodies: Vec<_> = content.documents.iter().map(|document| (document.resource(), &document.excerpt, document.at)).collect();
    format!("{:?} {:?} {} {bodies:?}", content.findings, content.unnamed, content.count)
}

fn bounded(findings: &[Finding], text: &str) {
    let lines = yaml::lines(text).count();
    assert!(findings.len() <= FINDINGS_MAX, "{} findings", findings.len());
    for finding in findings {
        assert!(finding.line <= lines + 1, "{finding:?} is behind the last of {lines} lines");
        // What is cut ends with a sign that says so.
        assert!(finding.message.chars().count() <= 1001 && !finding.message.is_empty(), "{finding:?}");
        assert!(finding.excerpt.as_ref().is_none_or(|line| line.chars().count() <= 200), "{finding:?}");
    }
}
