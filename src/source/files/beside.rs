//! The files that documents name: bodies and audiences, beside their own file.

use std::{
    io,
    path::{Component, Path, PathBuf},
};

use super::{io::io_words, status::STATE_MARKER};
use crate::source::{FilePlace, Origin};

/// Why a path in a document cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathProblem {
    /// It is not there.
    #[error("the file `{path}` does not exist; paths are relative to the folder of {beside}")]
    NotFound {
        /// The path as written.
        path: String,
        /// The folder that it is relative to.
        beside: String,
    },
    /// It is outside the root folder.
    #[error(
        "the file `{path}` is outside the folder that is read; move it into the folder, or give the common parent folder on the command line"
    )]
    Outside {
        /// The path as written.
        path: String,
    },
    /// It is outside the folder of layouts and parts.
    #[error("the file `{path}` is a symlink that leads out of the folder of `content.templates`; copy the file into the folder")]
    OutsideTemplates {
        /// The path as written.
        path: String,
    },
    /// There are no files in a cluster.
    #[error("`{path}` is a path, and a cluster has no files; put the text into a ConfigMap and name it with configMapRef, or give a url")]
    InCluster {
        /// The path as written.
        path: String,
    },
    /// It holds what must not be mailed.
    #[error("the file `{path}` cannot be used: {why}")]
    Private {
        /// The path as written.
        path: String,
        /// The cause, and what to do.
        why: &'static str,
    },
    /// It is not a file, or cannot be read.
    #[error("the file `{path}` cannot be used: {cause}")]
    Unusable {
        /// The path as written.
        path: String,
        /// What the system said.
        cause: String,
    },
}

/// What a file is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A text of a message.
    Body,
    /// A folder of layouts and parts.
    Templates,
    /// A file that goes with a message.
    Attachment,
    /// A table of recipients.
    Csv,
    /// A workbook of recipients.
    Xlsx,
    /// Recipients as JSON Lines.
    JsonLines,
    /// A database of recipients.
    Sqlite,
}

/// The file that a document names: relative to the document's own file, with all symlinks resolved inside the root folder.
///
/// # Errors
/// When it does not exist, is not a file, is outside, or holds what must not be mailed.
pub fn resolve_path(origin: &Origin, path: &str, purpose: Purpose) -> Result<PathBuf, PathProblem> {
    match origin {
        Origin::File(place) => resolve_beside(place, path, purpose),
        Origin::Cluster(_) => Err(PathProblem::InCluster { path: path.to_owned() }),
    }
}

/// The same for a document in a file.
pub(crate) fn resolve_beside(origin: &FilePlace, path: &str, purpose: Purpose) -> Result<PathBuf, PathProblem> {
    let outside = || PathProblem::Outside { path: path.to_owned() };
    let unusable = |cause: String| PathProblem::Unusable { path: path.to_owned(), cause };
    let private = |why| Err(PathProblem::Private { path: path.to_owned(), why });
    let root = origin.root.canonicalize().map_err(|error| unusable(io_words(&error)))?;
    let folder = origin.file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Decided before the file system is read, so that the answer does not reveal what exists outside.
    let depth = folder.strip_prefix(&origin.root).map_or(0, |below| below.components().count());
    if climbs_above(Path::new(path), depth) {
        return Err(outside());
    }
    // By the path alone, so that the answer does not reveal which files exist.
    if is_hidden(Path::new(path)) {
        return private(HIDDEN);
    }
    if holds_objects(Path::new(path), purpose) {
        return private(OBJECTS);
    }
    let resolved = match folder.join(path).canonicalize() {
        Ok(resolved) => resolved,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(PathProblem::NotFound { path: path.to_owned(), beside: origin.below_root().display().to_string() });
        }
        Err(error) => return Err(unusable(io_words(&error))),
    };
    if !resolved.starts_with(&root) {
        return Err(outside());
    }
    if origin.closed.iter().any(|closed| resolved.starts_with(closed)) || is_state(&resolved, &root) {
        return private("it belongs to Mailfleet itself (state, Secrets, or a file of objects), and is never mailed");
    }
    // Where the document is behind a symlink, its siblings are no more hidden than the document.
    let home = folder.canonicalize().map_err(|error| unusable(io_words(&error)))?;
    let shared = home.components().zip(resolved.components()).take_while(|(one, other)| one == other).count();
    if is_hidden(&resolved.components().skip(shared).collect::<PathBuf>()) {
        return private(HIDDEN);
    }
    if holds_objects(&resolved, purpose) {
        return private(OBJECTS);
    }
    match purpose {
        Purpose::Templates if !resolved.is_dir() => Err(unusable("it is not a folder".to_owned())),
        Purpose::Templates => Ok(resolved),
        _ if !resolved.is_file() => Err(unusable("it is not a regular file".to_owned())),
        _ => Ok(resolved),
    }
}

/// A file in a folder that a document names, and in no other, wherever symlinks lead.
///
/// # Errors
/// As [`resolve_path`] does.
pub fn resolve_within(origin: &Origin, folder: &str, name: &str) -> Result<PathBuf, PathProblem> {
    let path = format!("{}/{name}", folder.trim_end_matches('/'));
    let home = resolve_path(origin, folder, Purpose::Templates)?;
    let file = resolve_path(origin, &path, Purpose::Body)?;
    if file.starts_with(home) { Ok(file) } else { Err(PathProblem::OutsideTemplates { path }) }
}

const HIDDEN: &str =
    "a name that begins with a dot is hidden, and hidden files are never mailed; copy it under another name if you want it mailed";
const OBJECTS: &str = "YAML and JSON may hold objects such as Secrets, and are never mailed; use another extension, like .html or .txt, and .csv or .jsonl for an audience";

/// Whether a name in the path is hidden. Kubernetes puts what it mounts behind names that begin with two dots.
fn is_hidden(path: &Path) -> bool {
    let mut names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.as_encoded_bytes()),
        _ => None,
    });
    names.any(|name| name.starts_with(b".") && !name.starts_with(b".."))
}

/// Whether a file of this name is read as a source of objects. JSON Lines are often called .json, and a Secret is not JSON Lines.
fn holds_objects(path: &Path, purpose: Purpose) -> bool {
    path.extension().is_some_and(|extension| match extension.to_ascii_lowercase().as_encoded_bytes() {
        b"yaml" | b"yml" => true,
        b"json" => purpose != Purpose::JsonLines,
        _ => false,
    })
}

/// Whether a folder in the path, below the root, is a state folder.
fn is_state(path: &Path, root: &Path) -> bool {
    path.ancestors().skip(1).take_while(|folder| folder.starts_with(root)).any(|folder| folder.join(STATE_MARKER).exists())
}

fn climbs_above(path: &Path, depth: usize) -> bool {
    let mut level = Some(depth);
    for component in path.components() {
        level = match component {
            Component::Normal(_) => level.map(|level| level + 1),
            Component::ParentDir => level.and_then(|level| level.checked_sub(1)),
            Component::CurDir => level,
            Component::RootDir | Component::Prefix(_) => None,
        };
        if level.is_none() {
            return true;
        }
    }
    false
}
