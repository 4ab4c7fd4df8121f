//! Where objects come from and where status goes: files mode.
//!
//! A folder of YAML becomes a [`Snapshot`]: the typed objects, the Secrets and ConfigMaps they may refer to, and
//! every finding with its place. A broken file stops nothing else; its objects keep their last good version.
//! Only this room writes status ([`status::StatusFolder`]).

mod assemble;
mod beside;
pub mod cluster;
mod cross;
mod document;
mod explain;
pub mod files;
mod ignored;
mod listed;
mod parse;
mod parting;
mod path;
mod read;
pub mod resume;
mod scalar;
mod scan;
pub mod secrets;
pub mod sink;
mod size;
mod spacing;
pub mod status;
mod status_writer;
mod verdict;
mod watch;
mod yaml;

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Serialize, Serializer};

use crate::resources::{Campaign, Key, Plan, SendingServer};

pub(crate) use beside::resolve_beside;
pub use beside::{PathProblem, Purpose, resolve_path};
pub(crate) use files::settles_in;
pub use files::{Files, Options, SETTLED_AFTER};
pub use ignored::IGNORE_FILE;
pub(crate) use scan::{read_bounded, written_at};
pub use secrets::{ConfigMapStore, SecretMissing, SecretStore, secret_variable};
pub use sink::{StatusSink, StatusWrite};
pub use status::StatusFolder;
pub use verdict::object;

/// The whole world as the files tell it, at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// The sending servers.
    pub servers: BTreeMap<Key, Sourced<SendingServer>>,
    /// The plans.
    pub plans: BTreeMap<Key, Sourced<Plan>>,
    /// The campaigns.
    pub campaigns: BTreeMap<Key, Sourced<Campaign>>,
    /// Namespaces that a document names, and their labels; `kubernetes.io/metadata.name` is always among them.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// Secrets of all three sources.
    pub secrets: SecretStore,
    /// ConfigMaps.
    pub config_maps: ConfigMapStore,
    /// Objects that never had a good version, so that their status can say why.
    pub broken: Vec<Broken>,
    /// All that is to be said about the files, in the order of files and lines.
    pub findings: Vec<Finding>,
    /// How much was read.
    pub counts: Counts,
}

impl Snapshot {
    /// Findings that are faults.
    pub fn faults(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Fault)
    }

    /// The labels of a namespace; one that no document names has the implied label alone.
    #[must_use]
    pub fn namespace_labels(&self, namespace: &str) -> BTreeMap<String, String> {
        self.namespaces.get(namespace).cloned().unwrap_or_else(|| implied_labels(namespace))
    }
}

/// The label that every namespace has.
pub const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// The labels of a namespace that nothing else is known of.
#[must_use]
pub fn implied_labels(namespace: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(NAME_LABEL.to_owned(), namespace.to_owned())])
}

/// How much was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Files.
    pub files: usize,
    /// Documents in them, those of other groups included.
    pub documents: usize,
}

/// An object and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Sourced<K> {
    /// The object: the newest good version.
    pub object: Arc<K>,
    /// Where it stands.
    pub origin: Origin,
    /// Present when the newest version is broken and this is the last good one: why, with file and line.
    pub stale: Option<String>,
    /// The status that the object had when it was first seen by this process.
    pub previous_status: Option<Arc<serde_json::Value>>,
}

/// Where an object comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file.
    File(Arc<FilePlace>),
    /// A cluster.
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

    /// Whether the other is the same object, and not one that was made again under the same name. Files go by name alone.
    #[must_use]
    pub fn is_same_object(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Cluster(one), Self::Cluster(other)) => one.uid == other.uid,
            _ => true,
        }
    }

    /// Whether somebody deletes the object, and it is still there for its finalizers.
    #[must_use]
    pub fn is_deleting(&self) -> bool {
        matches!(self, Self::Cluster(place) if place.deleting)
    }
}

/// An object in a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterPlace {
    /// The object's UID: another one of the same name is another object.
    pub uid: String,
    /// Whether it has a deletion timestamp.
    pub deleting: bool,
    /// The generation of its newest version, which may be one that cannot be read.
    pub generation: i64,
}

/// Where an object stands in a file.
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

impl fmt::Display for FilePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// An object that never had a good version.
#[derive(Clone, Debug, PartialEq)]
pub struct Broken {
    /// `SendingServer`, `Plan` or `Campaign`.
    pub kind: &'static str,
    /// Its namespace and name.
    pub key: Key,
    /// All its faults, with file and line.
    pub message: String,
    /// The document as it stands.
    pub document: Arc<serde_json::Value>,
    /// Where it stands.
    pub origin: Origin,
    /// Its status before: what was sent under this name stays known.
    pub previous_status: Option<Arc<serde_json::Value>>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The document is not used.
    Fault,
    /// It is used, and is probably not what was meant.
    Warning,
    /// For information.
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

/// Something to be said about a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
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

/// An I/O error in words that are the same on every machine.
pub(crate) fn io_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "it is not there".to_owned(),
        io::ErrorKind::PermissionDenied => "no permission; check the owner and mode".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
