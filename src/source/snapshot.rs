//! What a source gives: every object at one moment, with where it comes from.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use serde::Serialize;

use super::{
    finding::{Finding, Severity},
    secrets::{ConfigMapStore, SecretStore},
};
use crate::resources::{Campaign, Key, NAME_LABEL, Plan, SendingServer};

/// The objects of a kind, by name; shared by the snapshots between which none of them changed.
pub type ByName<K> = Arc<BTreeMap<Key, Sourced<K>>>;

/// Every object of a source at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// The sending servers, by name.
    pub servers: ByName<SendingServer>,
    /// The plans, by name.
    pub plans: ByName<Plan>,
    /// The campaigns, by name.
    pub campaigns: ByName<Campaign>,
    /// Namespaces that a document names, and their labels; `kubernetes.io/metadata.name` is always among them.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// Secrets: of a cluster, or of the three places in files mode.
    pub secrets: SecretStore,
    /// The ConfigMaps that campaigns may name.
    pub config_maps: ConfigMapStore,
    /// When the files were written last that campaigns name: bodies, attachments, layouts and parts. A change of one makes another snapshot.
    pub written: BTreeMap<PathBuf, SystemTime>,
    /// Objects that never had a valid version, so that their status can say why.
    pub broken: Vec<Broken>,
    /// Findings about files, in the order of files and lines; none in a cluster.
    pub findings: Vec<Finding>,
    /// How much was read.
    pub counts: Counts,
}

impl Snapshot {
    /// Whether no object was found, good or bad.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
            && self.plans.is_empty()
            && self.campaigns.is_empty()
            && self.broken.is_empty()
            && self.faults().next().is_none()
    }

    /// Findings that are faults.
    pub fn faults(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Fault)
    }
}

/// The labels of a namespace of which nothing else is known.
#[must_use]
pub fn implied_labels(namespace: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(NAME_LABEL.to_owned(), namespace.to_owned())])
}

/// How much was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Files read.
    pub files: usize,
    /// Documents in them, including those of other groups.
    pub documents: usize,
}

/// An object and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Sourced<K> {
    /// The object: the newest valid version.
    pub object: Arc<K>,
    /// Where it comes from.
    pub origin: Origin,
    /// Present when the newest version is broken and this is the last good one: why, with file and line.
    pub stale: Option<String>,
    /// The status that the object had when it was first seen by this process.
    pub previous_status: Option<Arc<serde_json::Value>>,
}

/// Where an object comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A document in a file.
    File(Arc<FilePlace>),
    /// An object in a cluster.
    Cluster(Arc<ClusterPlace>),
}

impl Origin {
    /// The file, in files mode.
    #[must_use]
    pub fn file(&self) -> Option<&FilePlace> {
        match self {
            Self::File(place) => Some(place),
            Self::Cluster(_) => None,
        }
    }

    /// Whether the other is the same object, and not one that was created again under the same name. In files only the name counts.
    #[must_use]
    pub fn is_same_object(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Cluster(one), Self::Cluster(other)) => one.uid == other.uid,
            _ => true,
        }
    }

    /// Whether the object is being deleted and waits for its finalizers.
    #[must_use]
    pub fn is_deleting(&self) -> bool {
        matches!(self, Self::Cluster(place) if place.deleting)
    }
}

/// An object in a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterPlace {
    /// The object's UID: a different one is a different object of the same name.
    pub uid: String,
    /// Whether it has a deletion timestamp.
    pub deleting: bool,
    /// The generation of its newest version, which may be one that cannot be read.
    pub generation: i64,
}

/// The place of an object in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePlace {
    /// The file, as found below the root.
    pub file: PathBuf,
    /// The line of the document, from 1.
    pub line: usize,
    /// The folder given on the command line, or the folder of the file given there.
    pub root: PathBuf,
    /// Files and folders that no document may name, symlinks resolved: the folder of Secrets, and files of objects that were given by
    /// name. State folders are known by their marker.
    pub closed: Arc<[PathBuf]>,
}

impl FilePlace {
    /// The file relative to its root, for statuses, which are the same on every machine.
    #[must_use]
    pub fn below_root(&self) -> &Path {
        self.file.strip_prefix(&self.root).unwrap_or(&self.file)
    }
}

impl fmt::Display for FilePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// An object that never had a valid version.
#[derive(Clone, Debug, PartialEq)]
pub struct Broken {
    /// `SendingServer`, `Plan` or `Campaign`.
    pub kind: &'static str,
    /// Its namespace and name.
    pub key: Key,
    /// Its faults, with file and line.
    pub message: String,
    /// The document as it stands.
    pub document: Arc<serde_json::Value>,
    /// Where it comes from.
    pub origin: Origin,
    /// Its previous status: what was sent under this name stays known.
    pub previous_status: Option<Arc<serde_json::Value>>,
}
