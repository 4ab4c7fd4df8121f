//! The status folder: each object with its status, as a file that can be committed and reviewed.
//!
//! `<state>/status/<namespace>/<Kind>/<name>.yaml`. A file is replaced whole, and only when its bytes differ:
//! the caller keeps times stable (a time moves only when a status flips), so comparing bytes is enough. Many files are synced together, at the cost of one.

use std::{
    borrow::Borrow,
    collections::HashMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde_json::{Map, Value};

use super::hash::hash;
use crate::resources::Key;

/// The file that marks a state folder, which is never read as a source.
pub const STATE_MARKER: &str = ".mailfleet-state";
/// What git leaves out: everything but the statuses, and the marker without which a checkout would read them as objects.
const GITIGNORE: (&str, &str) = (
    ".gitignore",
    "# Mailfleet wrote this file once; edit it as you like.\n\
     # Never commit the ledger: it holds the address of everybody who was mailed, and git would\n\
     # take it back in time, which mails people twice. Statuses may be committed.\n\
     *\n\
     !/.gitignore\n\
     !/.mailfleet-state\n\
     !/status/\n\
     !/status/**\n\
     /status/**/.tmp-*\n",
);
/// Begins the names of files that are being written.
const TEMPORARY: &str = ".tmp-";
/// Names of objects that are longer do not fit into a file name (255 bytes) with its ending; a hash replaces their end.
const NAME_MAX: usize = 240;
/// What is kept of them, bytes.
const NAME_KEPT: usize = 200;
/// Precedes the hash; no object's name contains it.
const HASHED: char = '~';
/// From so many files on, the whole file system is made durable once, instead of each file alone.
const SYNC_TOGETHER: usize = 8;
/// Bytes of a status file that are read back.
const FILE_MAX: u64 = 16 * 1024 * 1024;
/// The order of an object's parts.
const ORDER: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];

/// The folder that status files are written to.
#[derive(Debug)]
pub struct StatusFolder {
    state_dir: PathBuf,
    /// The hash of what is known to be in each file.
    written: Mutex<HashMap<PathBuf, u128>>,
}

impl StatusFolder {
    /// Opens the folder, creates it if needed, and removes files that an earlier process left half-written.
    ///
    /// # Errors
    /// When it cannot be made or read.
    pub fn open(state_dir: &Path) -> io::Result<Self> {
        let status = state_dir.join("status");
        fs::create_dir_all(&status)?;
        let marker = state_dir.join(STATE_MARKER);
        if !marker.exists() {
            fs::write(marker, "This folder holds what Mailfleet knows; it is never read as a source of objects.\n")?;
        }
        write_gitignore(state_dir)?;
        for namespace in folders(&status)? {
            for kind in folders(&namespace)? {
                for entry in fs::read_dir(kind)? {
                    let entry = entry?;
                    if entry.file_name().as_encoded_bytes().starts_with(TEMPORARY.as_bytes()) {
                        fs::remove_file(entry.path())?;
                    }
                }
            }
        }
        Ok(Self { state_dir: state_dir.to_owned(), written: Mutex::default() })
    }

    /// Writes objects with their statuses; of each, false when its file already says just that. No more than one object is held in
    /// memory at a time.
    ///
    /// # Errors
    /// Of each object whose file cannot be written; the old file is then still whole.
    pub fn write_all<'a, V: Borrow<Value>>(&self, objects: impl IntoIterator<Item = (&'a str, &'a Key, V)>) -> Vec<io::Result<bool>> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let begun: Vec<io::Result<Option<Begun>>> =
            objects.into_iter().map(|(kind, key, object)| self.begin(&mut written, kind, key, object.borrow())).collect();
        let count = begun.iter().filter(|begun| matches!(begun, Ok(Some(_)))).count();
        let synced = if count >= SYNC_TOGETHER { sync_together(&self.state_dir) } else { None };
        let end = |begun: io::Result<Option<Begun>>| {
            let Some(begun) = begun? else { return Ok(false) };
            let is_durable = match &synced {
                Some(Ok(())) => Ok(()),
                Some(Err(error)) => Err(io::Error::new(error.kind(), error.to_string())),
                None => begun.file.sync_all(),
            };
            let result = is_durable.and_then(|()| fs::rename(&begun.temporary, &begun.path));
            if result.is_err() {
                let _ = fs::remove_file(&begun.temporary);
            }
            result?;
            written.insert(begun.path, begun.hash);
            Ok(true)
        };
        begun.into_iter().map(end).collect()
    }

    /// Writes the new file beside the old one; none when the content is the same.
    fn begin(&self, written: &mut HashMap<PathBuf, u128>, kind: &str, key: &Key, object: &Value) -> io::Result<Option<Begun>> {
        let path = status_path(&self.state_dir, kind, key)?;
        let text = to_yaml(object)?;
        let new = hash(text.as_bytes());
        let known = written.get(&path).copied().or_else(|| fs::read(&path).ok().map(|bytes| hash(&bytes)));
        if known == Some(new) {
            written.insert(path, new);
            return Ok(None);
        }
        let Some(folder) = path.parent() else { return Err(io::ErrorKind::InvalidInput.into()) };
        let temporary = folder.join(format!("{TEMPORARY}{:032x}", hash(path.as_os_str().as_encoded_bytes())));
        let create = || File::create(&temporary);
        let created = create().or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => fs::create_dir_all(folder).and_then(|()| create()),
            _ => Err(error),
        });
        let file = created.and_then(|mut file| file.write_all(text.as_bytes()).map(|()| file)).inspect_err(|_| {
            let _ = fs::remove_file(&temporary);
        })?;
        Ok(Some(Begun { path, temporary, file, hash: new }))
    }

    /// The kinds and names that have a file.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn objects(&self) -> io::Result<Vec<(String, Key)>> {
        let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        let mut objects = Vec::new();
        for namespace in folders(&self.state_dir.join("status"))? {
            for kind in folders(&namespace)? {
                for entry in fs::read_dir(&kind)? {
                    let path = entry?.path();
                    let mut stem = name(&path).and_then(|file| file.strip_suffix(".yaml").map(str::to_owned));
                    if stem.as_ref().is_some_and(|stem| stem.contains(HASHED)) {
                        let object = read(&path).ok().flatten();
                        stem = object.and_then(|object| Some(object.pointer("/metadata/name")?.as_str()?.to_owned()));
                    }
                    if let (Some(namespace), Some(kind), Some(stem)) = (name(&namespace), name(&kind), stem) {
                        objects.push((kind, Key::new(namespace, stem)));
                    }
                }
            }
        }
        Ok(objects)
    }

    /// Removes the file of an object that is gone. False when there was none.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, kind: &str, key: &Key) -> io::Result<bool> {
        let path = status_path(&self.state_dir, kind, key)?;
        self.written.lock().unwrap_or_else(PoisonError::into_inner).remove(&path);
        match fs::remove_file(path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The `status` of an object as it was last written, without touching the file.
pub(super) fn read_previous_status(state_dir: &Path, kind: &str, key: &Key) -> Option<Value> {
    let path = status_path(state_dir, kind, key).ok()?;
    let Ok(Some(Value::Object(mut object))) = read(&path) else { return None };
    object.shift_remove("status")
}

/// Writes what git leaves out, unless there is such a file: a person's own stays. A repository's root is no place for it: it would
/// leave out everything.
fn write_gitignore(state_dir: &Path) -> io::Result<()> {
    let (name, text) = GITIGNORE;
    let path = state_dir.join(name);
    if state_dir.join(".git").exists() {
        return Ok(());
    }
    match File::create_new(&path) {
        Ok(mut file) => file.write_all(text.as_bytes()).inspect_err(|_| {
            let _ = fs::remove_file(&path);
        }),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn status_path(state_dir: &Path, kind: &str, key: &Key) -> io::Result<PathBuf> {
    for part in [kind, &key.namespace, &key.name] {
        // Names are checked when they are read; this is the last check before the file system.
        if part.is_empty() || part.starts_with('.') || part.contains(['/', '\\', '\0']) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("`{part}` cannot be part of a file name")));
        }
    }
    Ok(state_dir.join("status").join(&*key.namespace).join(kind).join(file_name(&key.name)))
}

/// The file name of an object: the object's own name, as far as it fits.
#[must_use]
pub fn file_name(name: &str) -> String {
    match name.get(..NAME_KEPT) {
        Some(kept) if name.len() > NAME_MAX => format!("{kept}{HASHED}{:032x}.yaml", hash(name.as_bytes())),
        _ => format!("{name}.yaml"),
    }
}

/// A file that is written but not yet in place.
struct Begun {
    path: PathBuf,
    temporary: PathBuf,
    file: File,
    hash: u128,
}

/// Syncs everything that was written, where the system can do that in one call.
fn sync_together(folder: &Path) -> Option<io::Result<()>> {
    #[cfg(target_os = "linux")]
    return Some(File::open(folder).and_then(|folder| rustix::fs::syncfs(folder).map_err(io::Error::from)));
    #[cfg(not(target_os = "linux"))]
    {
        let _ = folder;
        None
    }
}

fn read(path: &Path) -> io::Result<Option<Value>> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Ok(metadata) if metadata.len() > FILE_MAX => return Err(io::Error::other("it is too large")),
        _ => {}
    }
    let text = fs::read_to_string(path)?;
    let object: Value = serde_saphyr::from_str(&text).map_err(|error| io::Error::other(error.to_string()))?;
    if object.is_object() { Ok(Some(object)) } else { Err(io::Error::other("it holds no object")) }
}

/// An object as YAML, its parts in the usual order.
///
/// # Errors
/// When it cannot be serialized.
pub fn to_yaml(object: &Value) -> io::Result<String> {
    let ordered = match object {
        Value::Object(parts) => {
            let known = ORDER.iter().filter_map(|name| parts.get_key_value(*name));
            let others = parts.iter().filter(|(name, _)| !ORDER.contains(&name.as_str()));
            Value::Object(known.chain(others).map(|(name, part)| (name.clone(), part.clone())).collect::<Map<_, _>>())
        }
        other => other.clone(),
    };
    serde_saphyr::to_string(&ordered).map_err(|error| io::Error::other(error.to_string()))
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
