//! The objects of both sides as documents that can be compared: with the files that campaigns name, and without any value of a Secret.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};
use siphasher::sip::SipHasher13;

use crate::{
    compare::{Identity, ObjectKind, objects::Documents},
    resources::{Campaign, Key, Metadata, NAME_LABEL},
    source::{ByName, Origin, Purpose, SecretData, Snapshot, Sourced, read_bounded, resolve_path},
};

/// A larger file is compared by its size alone.
const FILE_MAX: u64 = 32 << 20;

/// The documents of both sides.
pub fn documents(old: &Snapshot, new: &Snapshot) -> (Documents, Documents) {
    let (mut before, mut after) = (of_snapshot(old), of_snapshot(new));
    secrets(old.secrets.documents(), new.secrets.documents(), &mut before, &mut after);
    (before, after)
}

fn of_snapshot(snapshot: &Snapshot) -> Documents {
    let mut documents = Documents::new();
    add(ObjectKind::SendingServer, &snapshot.servers, &mut documents);
    add(ObjectKind::Plan, &snapshot.plans, &mut documents);
    add(ObjectKind::Campaign, &snapshot.campaigns, &mut documents);
    for (key, campaign) in snapshot.campaigns.iter() {
        let files = files(campaign);
        let identity = Identity { kind: ObjectKind::Campaign, key: key.clone() };
        if let Some(Value::Object(document)) = documents.get_mut(&identity)
            && !files.is_empty()
        {
            document.insert("files".to_owned(), Value::Object(files));
        }
    }
    for broken in &snapshot.broken {
        let kind = ObjectKind::of_ours(broken.kind);
        let document = &broken.document;
        let section = |name: &str| document.pointer(name).cloned().filter(|value| !value.is_null());
        let mut shown = Map::new();
        for (name, pointer) in [("labels", "/metadata/labels"), ("annotations", "/metadata/annotations"), ("spec", "/spec")] {
            if let Some(value) = section(pointer) {
                put(&mut shown, name, value);
            }
        }
        documents.insert(Identity { kind, key: broken.key.clone() }, Value::Object(shown));
    }
    for (name, labels) in &snapshot.namespaces {
        let labels: BTreeMap<&String, &String> = labels.iter().filter(|(label, _)| *label != NAME_LABEL).collect();
        let identity = Identity { kind: ObjectKind::Namespace, key: Key::new("", name.as_str()) };
        documents.insert(identity, json!({"metadata": {"labels": labels}}));
    }
    for (key, data) in snapshot.config_maps.iter() {
        let data: Map<String, Value> = data.iter().map(|(name, value)| (name.clone(), content(value).into())).collect();
        documents.insert(Identity { kind: ObjectKind::ConfigMap, key: key.clone() }, json!({"data": data}));
    }
    documents
}

fn add<S: Serialize, T>(kind: ObjectKind, objects: &ByName<crate::resources::Object<S, T>>, documents: &mut Documents) {
    for (key, sourced) in objects.iter() {
        let Metadata { labels, annotations, .. } = &sourced.object.metadata;
        let mut shown = Map::new();
        for (name, values) in [("labels", labels), ("annotations", annotations)] {
            if !values.is_empty() {
                put(&mut shown, name, json!(values));
            }
        }
        put(&mut shown, "spec", serde_json::to_value(&sourced.object.spec).unwrap_or_default());
        documents.insert(Identity { kind, key: key.clone() }, Value::Object(shown));
    }
}

/// Puts labels and annotations below `metadata`, and a spec at the top.
fn put(document: &mut Map<String, Value>, name: &str, value: Value) {
    if name == "spec" {
        document.insert(name.to_owned(), value);
        return;
    }
    let metadata = document.entry("metadata").or_insert_with(|| json!({}));
    if let Value::Object(metadata) = metadata {
        metadata.insert(name.to_owned(), value);
    }
}

/// The texts and files of a campaign's messages, by their paths as it names them; of what is not there, nothing is said here.
fn files(campaign: &Sourced<Campaign>) -> Map<String, Value> {
    let (spec, origin) = (&campaign.object.spec, &campaign.origin);
    let bodies = spec.content.bodies_elsewhere().filter_map(|(_, source)| Some((source.path.clone()?, Purpose::Body)));
    let attachments = spec.content.attachments.iter().filter_map(|file| Some((file.path.clone()?, Purpose::Attachment)));
    let mut named: BTreeMap<String, Purpose> = bodies.chain(attachments).collect();
    let templates = spec.content.templates.as_ref().and_then(|templates| templates.path.as_deref());
    for name in templates.into_iter().flat_map(|folder| parts(origin, folder)) {
        named.insert(name, Purpose::Body);
    }
    let read = |(path, purpose): (String, Purpose)| {
        let file = resolve_path(origin, &path, purpose).ok()?;
        let shown = match read_bounded(&file, FILE_MAX).ok()? {
            Some(bytes) => content(&bytes),
            None => format!("{} bytes", std::fs::metadata(&file).ok()?.len()),
        };
        Some((path, Value::String(shown)))
    };
    named.into_iter().filter_map(read).collect()
}

/// The files right in the folder of layouts and parts, and in the folders of it.
fn parts(origin: &Origin, folder: &str) -> Vec<String> {
    const LEVELS_MAX: usize = 8;
    const PARTS_MAX: usize = 2_000;
    let Ok(home) = resolve_path(origin, folder, Purpose::Templates) else { return Vec::new() };
    let (mut found, mut open) = (Vec::new(), vec![(home.clone(), 0)]);
    while let Some((at, level)) = open.pop() {
        for entry in std::fs::read_dir(&at).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && level < LEVELS_MAX {
                open.push((path, level + 1));
            } else if let Some(below) = path.strip_prefix(&home).ok().and_then(|below| below.to_str())
                && found.len() < PARTS_MAX
            {
                found.push(format!("{}/{below}", folder.trim_end_matches('/')));
            }
        }
    }
    found
}

/// A text as it is, and anything else by its size and a hash.
fn content(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => text.to_owned(),
        _ => format!("{} bytes, {:08x}", bytes.len(), SipHasher13::new().hash(bytes) >> 32),
    }
}

/// Which keys the Secrets have, and which of them differ: no value, and nothing that is made of one.
fn secrets(old: &BTreeMap<Key, SecretData>, new: &BTreeMap<Key, SecretData>, before: &mut Documents, after: &mut Documents) {
    let keys = |data: &SecretData, version: &dyn Fn(&String) -> u8| {
        let keys: Map<String, Value> = data.keys().map(|key| (key.clone(), version(key).into())).collect();
        json!({"data": keys})
    };
    for (key, data) in old {
        before.insert(Identity { kind: ObjectKind::Secret, key: key.clone() }, keys(data, &|_| 1));
    }
    for (key, data) in new {
        let was = old.get(key);
        let version = |name: &String| if was.and_then(|was| was.get(name)) == data.get(name) { 1 } else { 2 };
        after.insert(Identity { kind: ObjectKind::Secret, key: key.clone() }, keys(data, &version));
    }
}

/// `Campaign shop/spring`; a namespace has no namespace.
pub fn titled(kind: ObjectKind, namespace: &str, name: &str) -> String {
    if namespace.is_empty() { format!("{} {name}", kind.as_str()) } else { format!("{} {namespace}/{name}", kind.as_str()) }
}
