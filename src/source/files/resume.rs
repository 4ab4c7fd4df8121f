//! Requests to resume a campaign, left in the state folder by the command line for the process that sends.
//!
//! A request replaces the annotation: the object's file is not changed. It is removed once it has been handled.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::resources::Key;

/// The folder within the state folder.
const FOLDER: &str = "resume";
/// Requests that are read: more than people make by hand.
const REQUESTS_MAX: usize = 10_000;
/// Bytes of one that are read.
const BYTES_MAX: u64 = 64 * 1024;

#[derive(Serialize, Deserialize)]
struct Request {
    namespace: String,
    campaign: String,
    value: String,
}

/// Requests by campaign: the value of the annotation, and the file.
pub type Requests = BTreeMap<Key, (String, PathBuf)>;

/// The requests in a state folder. One that cannot be read is logged and left there.
#[must_use]
pub fn read(state_dir: &Path) -> Requests {
    let mut requests = Requests::new();
    let Ok(entries) = fs::read_dir(state_dir.join(FOLDER)) else { return requests };
    for entry in entries.filter_map(Result::ok).take(REQUESTS_MAX) {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "json") || entry.metadata().map_or(0, |m| m.len()) > BYTES_MAX {
            continue;
        }
        let read = fs::read_to_string(&path).map_err(|error| error.to_string());
        match read.and_then(|text| serde_json::from_str::<Request>(&text).map_err(|error| error.to_string())) {
            Ok(request) => drop(requests.insert(Key::new(request.namespace, request.campaign), (request.value, path))),
            Err(error) => tracing::warn!(path = %path.display(), "a request to resume cannot be read: {error}"),
        }
    }
    requests
}

/// When the folder of requests last changed, to notice a new one cheaply.
#[must_use]
pub fn changed_at(state_dir: &Path) -> Option<std::time::SystemTime> {
    fs::metadata(state_dir.join(FOLDER)).and_then(|metadata| metadata.modified()).ok()
}

/// Leaves a request, atomically.
///
/// # Errors
/// When the state folder cannot be written.
pub fn leave(state_dir: &Path, key: &Key, value: &str) -> io::Result<()> {
    let folder = state_dir.join(FOLDER);
    fs::create_dir_all(&folder)?;
    let request = Request { namespace: key.namespace.to_string(), campaign: key.name.to_string(), value: value.to_owned() };
    let text = serde_json::to_string(&request).map_err(io::Error::other)?;
    // Names can be longer than those of files.
    let name = uuid::Uuid::new_v4();
    let unfinished = folder.join(format!("{name}.tmp"));
    fs::write(&unfinished, text)?;
    fs::rename(&unfinished, folder.join(format!("{name}.json")))
}

/// Removes a request that was handled.
pub fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "a handled request to resume cannot be removed");
    }
}
