//! How large a finding and an object may be.

use serde_json::Value;

use crate::source::Severity;

/// Characters of a finding's message, and of its field: a file may hold a number of a million digits.
const MESSAGE_MAX: usize = 1000;
/// Bytes of an object as JSON that an API server stores: etcd's 1.5 MiB, less what the API server adds to the object.
const OBJECT_MAX: usize = 1536 * 1024 - 4 * 1024;
/// Bytes of annotations that an API server takes; `kubectl apply` puts the whole object into one.
const ANNOTATIONS_MAX: usize = 256 * 1024;
/// The name of that annotation.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The finding about an object's size, if any.
pub(super) fn judge(json: &Value) -> Option<(Severity, String)> {
    let size = stored_size(json);
    if size > OBJECT_MAX {
        let message = format!(
            "this object is {size} bytes as JSON, and Kubernetes stores at most {OBJECT_MAX}; move texts into files or ConfigMaps, named by htmlFrom, textFrom or mjmlFrom"
        );
        return Some((Severity::Fault, message));
    }
    (size > ANNOTATIONS_MAX - LAST_APPLIED.len()).then(|| {
        let message = format!(
            "this object is {size} bytes as JSON, and `kubectl apply` handles at most {ANNOTATIONS_MAX}; use `kubectl apply --server-side`"
        );
        (Severity::Note, message)
    })
}

/// A text in at most [`MESSAGE_MAX`] characters.
pub(super) fn bounded(text: &str) -> String {
    match text.char_indices().nth(MESSAGE_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The bytes of a value as an API server stores it: compact JSON as Go writes it, with HTML's signs as six characters each.
fn stored_size(json: &Value) -> usize {
    let text = |text: &str| {
        let of = |c: char| match c {
            '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => 6,
            c => c.len_utf8(),
        };
        2 + text.chars().map(of).sum::<usize>()
    };
    match json {
        Value::String(value) => text(value),
        Value::Array(items) => items.iter().map(|item| stored_size(item) + 1).sum::<usize>().max(1) + 1,
        Value::Object(fields) => fields.iter().map(|(key, value)| text(key) + stored_size(value) + 2).sum::<usize>().max(1) + 1,
        other => other.to_string().len(),
    }
}
