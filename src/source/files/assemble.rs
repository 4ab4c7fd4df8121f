//! What all files say together: duplicates, last good versions, and the snapshot. Pure.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;

use super::{
    cross::{self, Reference},
    document::{Document, FileContent},
    read::Body,
};
use crate::{
    resources::{Campaign, Key, Kind, Plan, SendingServer},
    source::{Broken, ConfigMapStore, FilePlace, Finding, Origin, Severity, Snapshot, Sourced, secrets::SecretData},
};

/// An object's identity.
pub(super) type Identity = (&'static str, Key);

/// An object that is in use.
#[derive(Clone, Debug)]
pub(super) struct Held {
    body: Body,
    origin: Arc<FilePlace>,
    stale: Option<String>,
    previous_status: Option<Arc<Value>>,
    references: Vec<Reference>,
    resource: String,
}

/// The objects in use, by identity.
pub(super) type Objects = BTreeMap<Identity, Held>;

/// A file as it was read this time.
pub(super) struct SourceFile {
    pub file: PathBuf,
    pub root: PathBuf,
    /// What its documents may not name.
    pub closed: Arc<[PathBuf]>,
    /// The content, or why there is none.
    pub content: Result<Arc<FileContent>, String>,
}

impl SourceFile {
    /// Where a document of it stands.
    pub fn place(&self, document: &Document) -> FilePlace {
        FilePlace { file: self.file.clone(), line: document.at.line, root: self.root.clone(), closed: self.closed.clone() }
    }

    /// The same for a status: file and line, relative to the root.
    fn below_root(&self, document: &Document) -> String {
        format!("{}:{}", self.place(document).below_root().display(), document.at.line)
    }
}

/// The objects in use from now on, and the findings that only all files together give.
pub(super) fn assemble(
    sources: &[SourceFile],
    unreadable: &[(PathBuf, String)],
    last: &Objects,
    previous_status: impl Fn(&str, &Key) -> Option<Value>,
) -> (Objects, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut places: BTreeMap<Identity, Vec<(&SourceFile, &Document)>> = BTreeMap::new();
    for source in sources {
        match &source.content {
            Ok(content) => {
                findings.extend(content.findings.iter().cloned());
                for document in &content.documents {
                    places.entry((document.kind, document.key.clone())).or_default().push((source, document));
                }
            }
            Err(words) => findings.push(Finding::of_file(Severity::Fault, &source.file, words.clone())),
        }
    }
    let mut world = Objects::new();
    for (identity, documents) in places {
        if documents.len() > 1 {
            findings.extend(duplicates(&documents));
        }
        let old = last.get(&identity);
        let (source, document) = documents[0];
        let origin = Arc::new(source.place(document));
        let broken = match (&document.body, documents.get(1)) {
            (_, Some((other, second))) => {
                Some(format!("{} is defined twice: {} and {}", document.resource(), source.below_root(document), other.below_root(second)))
            }
            (Body::Broken { message, .. }, None) => Some(relative(message, &source.root)),
            _ => None,
        };
        let held = match (broken, old) {
            (Some(words), Some(old)) if !matches!(old.body, Body::Broken { .. }) => Held { stale: Some(words), ..old.clone() },
            (broken, old) => Held {
                body: broken.map_or_else(|| document.body.clone(), |message| never_good(message, &document.body)),
                origin,
                stale: None,
                previous_status: match old {
                    Some(old) => old.previous_status.clone(),
                    None => previous_status(identity.0, &identity.1).map(Arc::new),
                },
                references: document.references.clone(),
                resource: document.resource(),
            },
        };
        world.insert(identity, held);
    }
    for (identity, old) in last {
        if !world.contains_key(identity)
            && !matches!(old.body, Body::Broken { .. })
            && let Some(words) = why_unread(&old.origin.file, sources, unreadable)
        {
            let words = relative(&words, &old.origin.root);
            world.insert(identity.clone(), Held { stale: Some(words), ..old.clone() });
        }
    }
    (world, findings)
}

/// Words that begin with a file, relative to its root: what a status says is the same on every machine.
fn relative(words: &str, root: &Path) -> String {
    words.strip_prefix(&format!("{}/", root.display())).unwrap_or(words).to_owned()
}

fn never_good(message: String, body: &Body) -> Body {
    let document = match body {
        Body::Broken { document, .. } => document.clone(),
        Body::Server(object) => as_json(&**object),
        Body::Plan(object) => as_json(&**object),
        Body::Campaign(object) => as_json(&**object),
        Body::Secret(_) | Body::ConfigMap(_) | Body::Namespace(_) => Arc::new(Value::Null),
    };
    Body::Broken { message, document }
}

fn as_json<T: serde::Serialize>(object: &T) -> Arc<Value> {
    Arc::new(serde_json::to_value(object).unwrap_or_default())
}

/// Why an object of this file may still be meant though no document has its name.
fn why_unread(file: &Path, sources: &[SourceFile], unreadable: &[(PathBuf, String)]) -> Option<String> {
    let of_file = sources.iter().find(|source| source.file == file).and_then(|source| match &source.content {
        Ok(content) => content.unnamed.clone(),
        Err(words) => Some(format!("{}: {words}", file.display())),
    });
    of_file.or_else(|| unreadable.iter().find(|(path, _)| file.starts_with(path)).map(|(_, words)| words.clone()))
}

/// The first document has the name; each further one is a fault.
fn duplicates(documents: &[(&SourceFile, &Document)]) -> Vec<Finding> {
    let Some(((first, taken), others)) = documents.split_first() else { return Vec::new() };
    let finding = |(source, document): &(&SourceFile, &Document)| Finding {
        severity: Severity::Fault,
        file: source.file.clone(),
        line: document.at.line,
        column: document.at.column,
        resource: Some(document.resource()),
        field: None,
        message: format!(
            "this name is taken by the document at {}:{}; rename or remove one of them, or leave one out with --exclude or a .mailfleetignore",
            first.file.display(),
            taken.at.line
        ),
        excerpt: document.excerpt.clone(),
    };
    others.iter().map(finding).collect()
}

/// The snapshot of these objects; secrets of other sources, counts and findings are filled in by the caller.
pub(super) fn snapshot(world: &Objects) -> (Snapshot, BTreeMap<Key, SecretData>) {
    let mut snapshot = Snapshot::default();
    let (mut secrets, mut config_maps) = (BTreeMap::new(), BTreeMap::new());
    for ((kind, key), held) in world {
        match &held.body {
            Body::Server(object) => drop(Arc::make_mut(&mut snapshot.servers).insert(key.clone(), held.sourced(object))),
            Body::Plan(object) => drop(Arc::make_mut(&mut snapshot.plans).insert(key.clone(), held.sourced(object))),
            Body::Campaign(object) => drop(Arc::make_mut(&mut snapshot.campaigns).insert(key.clone(), held.sourced(object))),
            Body::Secret(data) => drop(secrets.insert(key.clone(), data.clone())),
            Body::ConfigMap(data) => drop(config_maps.insert(key.clone(), data.clone())),
            Body::Namespace(labels) => drop(snapshot.namespaces.insert(key.name.to_string(), labels.clone())),
            Body::Broken { message, document } => {
                let kinds = [SendingServer::KIND, Plan::KIND, Campaign::KIND];
                if let Some(kind) = kinds.into_iter().find(|known| known == kind) {
                    let (message, document, origin) = (message.clone(), document.clone(), Origin::File(held.origin.clone()));
                    let previous_status = held.previous_status.clone();
                    snapshot.broken.push(Broken { kind, key: key.clone(), message, document, origin, previous_status });
                }
            }
        }
    }
    snapshot.config_maps = ConfigMapStore::new(config_maps);
    (snapshot, secrets)
}

/// Findings about references between objects, once the snapshot has everything else.
pub(super) fn cross_findings(world: &Objects, snapshot: &Snapshot, plan_namespace: Option<&str>) -> Vec<Finding> {
    let fresh = world.iter().filter(|(_, held)| held.stale.is_none());
    fresh
        .flat_map(|((_, key), held)| {
            let judge = |reference| cross::judge(reference, key, &held.resource, &held.origin, snapshot, plan_namespace);
            held.references.iter().filter_map(judge)
        })
        .collect()
}

impl Held {
    /// Whether it stands in this file.
    pub fn is_of(&self, file: &Path) -> bool {
        self.origin.file == file
    }

    fn sourced<K>(&self, object: &Arc<K>) -> Sourced<K> {
        Sourced {
            object: object.clone(),
            origin: Origin::File(self.origin.clone()),
            stale: self.stale.clone(),
            previous_status: self.previous_status.clone(),
        }
    }
}
