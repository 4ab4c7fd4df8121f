//! Kubernetes' rules for the metadata of every object, beyond its types.

use jiff::civil::Date;
use serde_json::Value;

use super::breach::Breach;
use crate::yaml::{FieldPath, Step};

/// The longest name of an object, and the longest prefix of a label (RFC 1123, subdomain).
const SUBDOMAIN_MAX: usize = 253;
/// The longest name of a namespace, and the longest name or value of a label (RFC 1123, label).
const LABEL_MAX: usize = 63;
/// Bytes of all annotations together.
const ANNOTATIONS_MAX: usize = 256 * 1024;

/// What is wrong with a document's metadata.
pub(super) fn faults(kind: &str, json: &Value) -> Vec<Breach> {
    let mut found = Vec::new();
    let Some(metadata) = json.get("metadata").filter(|metadata| metadata.is_object()) else { return found };
    let path = FieldPath::default().key("metadata");
    names(kind, metadata, &path, &mut found);
    labels(metadata, &path.key("labels"), &mut found);
    annotations(metadata, &path.key("annotations"), &mut found);
    finalizers(metadata, &path.key("finalizers"), &mut found);
    owners(metadata, &path.key("ownerReferences"), &mut found);
    for field in ["creationTimestamp", "deletionTimestamp"] {
        if let Some(text) = metadata.get(field).and_then(Value::as_str)
            && !is_go_time(text)
        {
            found.push(Breach::new(path.key(field), "this is not a time (RFC 3339); write it like 2026-12-01T08:00:00Z, or remove it"));
        }
    }
    found
}

fn names(kind: &str, metadata: &Value, path: &FieldPath, found: &mut Vec<Breach>) {
    if let Some(name) = metadata.get("name").and_then(Value::as_str) {
        let is_label = kind == "Namespace";
        if name.is_empty() {
            found.push(Breach::new(path.key("name"), "the text is empty"));
        } else if is_label && !is_dns_label(name) || !is_subdomain(name) {
            let shown = shown(name);
            let message = if is_label {
                format!(
                    "{shown} is not a name of a namespace: lowercase letters, digits and `-`, with a letter or digit at both ends, {LABEL_MAX} characters at most (RFC 1123)"
                )
            } else {
                format!(
                    "{shown} is not a name: lowercase letters, digits, `-` and `.`, each part with a letter or digit at both ends, {SUBDOMAIN_MAX} characters at most (RFC 1123)"
                )
            };
            found.push(Breach::new(path.key("name"), message));
        }
    }
    if let Some(prefix) = metadata.get("generateName").and_then(Value::as_str)
        && !prefix.is_empty()
        && !is_subdomain(&format!("{}a", prefix.strip_suffix('-').unwrap_or(prefix)))
    {
        found.push(Breach::new(path.key("generateName"), "this is not a valid prefix of a name; remove it, and write a name"));
    }
    if let Some(namespace) = metadata.get("namespace").and_then(Value::as_str) {
        if kind == "Namespace" {
            found.push(Breach::of_key(path.key("namespace"), "a Namespace has no namespace; remove this field"));
        } else if !is_dns_label(namespace) {
            let message = format!(
                "{} is not a namespace: lowercase letters, digits and `-`, with a letter or digit at both ends, {LABEL_MAX} characters at most (RFC 1123)",
                shown(namespace)
            );
            found.push(Breach::new(path.key("namespace"), message));
        }
    }
}

fn labels(metadata: &Value, path: &FieldPath, found: &mut Vec<Breach>) {
    for (key, value) in metadata.get("labels").and_then(Value::as_object).into_iter().flatten() {
        if !is_qualified_name(key) {
            found.push(Breach::of_key(path.key(key), KEY_WORDS));
        }
        let is_value = |text: &str| text.is_empty() || (text.len() <= LABEL_MAX && is_word(text));
        if value.as_str().is_some_and(|text| !is_value(text)) {
            let message = format!(
                "a label's value is empty or made of letters, digits, `-`, `_` and `.`, with a letter or digit at both ends, {LABEL_MAX} characters at most"
            );
            found.push(Breach::new(path.key(key), message));
        }
    }
}

fn annotations(metadata: &Value, path: &FieldPath, found: &mut Vec<Breach>) {
    let Some(annotations) = metadata.get("annotations").and_then(Value::as_object) else { return };
    for key in annotations.keys().filter(|key| !is_qualified_name(&key.to_lowercase())) {
        found.push(Breach::of_key(path.key(key), KEY_WORDS));
    }
    let size: usize = annotations.iter().map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
    if size > ANNOTATIONS_MAX {
        let message = format!("the annotations are {size} bytes in total, and at most {ANNOTATIONS_MAX} are allowed");
        found.push(Breach::of_key(path.clone(), message));
    }
}

fn finalizers(metadata: &Value, path: &FieldPath, found: &mut Vec<Breach>) {
    let list = || metadata.get("finalizers").and_then(Value::as_array).into_iter().flatten();
    for (index, finalizer) in list().enumerate() {
        if !is_qualified_name(finalizer.as_str().unwrap_or_default()) {
            found.push(Breach::new(path.with(Step::Index(index)), KEY_WORDS));
        }
    }
    if ["orphan", "foregroundDeletion"].iter().all(|name| list().any(|finalizer| finalizer == name)) {
        found.push(Breach::of_key(path.clone(), "`orphan` and `foregroundDeletion` exclude each other; keep one of them"));
    }
}

fn owners(metadata: &Value, path: &FieldPath, found: &mut Vec<Breach>) {
    let mut controllers: Vec<Value> = Vec::new();
    for (index, owner) in metadata.get("ownerReferences").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let at = path.with(Step::Index(index));
        let text = |field: &str| owner.get(field).and_then(Value::as_str).unwrap_or_default();
        let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
        // What has two slashes names no version.
        let version = if version.contains('/') { "" } else { version };
        for (field, value) in [("apiVersion", version), ("kind", text("kind")), ("name", text("name")), ("uid", text("uid"))] {
            if value.is_empty() {
                found.push(Breach::new(at.key(field), "this must not be empty in an owner's reference"));
            }
        }
        if group.is_empty() && version == "v1" && text("kind") == "Event" {
            found.push(Breach::new(at.clone(), "an Event cannot own anything"));
        }
        // The same reference twice is taken for one.
        let mut same = owner.clone();
        if let Some(same) = same.as_object_mut() {
            same.retain(|_, value| !value.is_null() && value != "");
            same.sort_keys();
        }
        if owner.get("controller") == Some(&Value::Bool(true)) && !controllers.contains(&same) {
            controllers.push(same);
        }
    }
    if controllers.len() > 1 {
        found.push(Breach::of_key(path.clone(), "only one owner can be the controller"));
    }
}

const KEY_WORDS: &str = "this must be a name of letters, digits, `-`, `_` and `.` (63 characters at most, a letter or digit at both ends), with a domain and `/` before it if need be, like example.com/pool";

fn shown(text: &str) -> String {
    const SHOWN_MAX: usize = 60;
    let short: String = text.chars().take(SHOWN_MAX).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!("`{}{more}`", short.replace(['\n', '\r'], " "))
}

fn is_dns_label(text: &str) -> bool {
    (1..=LABEL_MAX).contains(&text.len()) && is_small_label(text)
}

fn is_subdomain(text: &str) -> bool {
    (1..=SUBDOMAIN_MAX).contains(&text.len()) && text.split('.').all(is_small_label)
}

fn is_small_label(text: &str) -> bool {
    let is_end = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let bytes = text.as_bytes();
    is_end(bytes.first()) && is_end(bytes.last()) && bytes.iter().all(|byte| is_end(Some(byte)) || *byte == b'-')
}

/// Letters, digits, `-`, `_` and `.`, with a letter or digit at both ends.
fn is_word(text: &str) -> bool {
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    is_end(bytes.first()) && is_end(bytes.last()) && bytes.iter().all(|byte| is_end(Some(byte)) || b"-_.".contains(byte))
}

fn is_qualified_name(text: &str) -> bool {
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    prefix.is_none_or(is_subdomain) && name.len() <= LABEL_MAX && is_word(name)
}

/// RFC 3339 as Go's `time.Parse` reads it: capitals, and any number of digits of a second.
fn is_go_time(text: &str) -> bool {
    let Some((day, time)) = text.split_once('T') else { return false };
    let (clock, offset) = match time.strip_suffix('Z') {
        Some(clock) => (clock, None),
        None => match time.rfind(['+', '-']) {
            Some(at) => (&time[..at], Some(&time[at + 1..])),
            None => return false,
        },
    };
    let (clock, fraction) = clock.split_once(['.', ',']).map_or((clock, None), |(clock, fraction)| (clock, Some(fraction)));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_below = |text: &str, limit: u8| text.len() == 2 && is_digits(text) && text.parse::<u8>().is_ok_and(|number| number < limit);
    let parts: Vec<&str> = clock.split(':').collect();
    let is_clock = matches!(parts.as_slice(), [hour, minute, second] if is_below(hour, 24) && is_below(minute, 60) && is_below(second, 60));
    let is_offset =
        offset.is_none_or(|offset| offset.split_once(':').is_some_and(|(hour, minute)| is_below(hour, 25) && is_below(minute, 61)));
    day.len() == 10 && day.parse::<Date>().is_ok() && is_clock && is_offset && fraction.is_none_or(is_digits)
}
