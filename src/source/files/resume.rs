//! Requests to resume a campaign or a server, left in the state folder by the command line for the process that sends.
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    campaign: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    value: String,
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A campaign.
    Campaign,
    /// A server.
    Server,
}

/// What is requested of campaigns and servers, by their names.
#[derive(Debug, Default)]
pub struct Requests {
    /// Of campaigns.
    pub campaigns: BTreeMap<Key, Pending>,
    /// Of servers.
    pub servers: BTreeMap<Key, Pending>,
}

impl Requests {
    /// Whether nothing is requested.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.campaigns.is_empty() && self.servers.is_empty()
    }
}

/// The newest request of a campaign or a server.
#[derive(Debug, Default)]
pub struct Pending {
    /// The value of the annotation.
    pub value: String,
    /// Its file, and those of the requests that it replaces.
    files: Vec<PathBuf>,
}

impl Pending {
    /// Removes it, and what it replaced, once it was handled.
    pub fn remove(&self) {
        for file in &self.files {
            if let Err(error) = fs::remove_file(file)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %file.display(), %error, "a handled request to resume cannot be removed");
            }
        }
    }
}

/// The requests in a state folder, of each campaign and server the newest. One that cannot be read is logged and left there.
#[must_use]
pub fn read(state_dir: &Path) -> Requests {
    let Ok(entries) = fs::read_dir(state_dir.join(FOLDER)) else { return Requests::default() };
    let mut found = Vec::new();
    for entry in entries.filter_map(Result::ok).take(REQUESTS_MAX) {
        let (path, metadata) = (entry.path(), entry.metadata());
        if path.extension().is_none_or(|extension| extension != "json") || metadata.as_ref().map_or(0, fs::Metadata::len) > BYTES_MAX {
            continue;
        }
        let read = fs::read_to_string(&path).map_err(|error| error.to_string());
        match read.and_then(|text| serde_json::from_str::<Request>(&text).map_err(|error| error.to_string())) {
            Ok(request) => found.push((metadata.and_then(|metadata| metadata.modified()).ok(), path, request)),
            Err(error) => tracing::warn!(path = %path.display(), "a request to resume cannot be read: {error}"),
        }
    }
    found.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    let mut requests = Requests::default();
    for (_, file, request) in found {
        let (map, name) = match (request.campaign, request.server) {
            (Some(campaign), None) => (&mut requests.campaigns, campaign),
            (None, Some(server)) => (&mut requests.servers, server),
            _ => {
                tracing::warn!(path = %file.display(), "a request to resume names no campaign or server");
                continue;
            }
        };
        let pending = map.entry(Key::new(request.namespace, name)).or_default();
        pending.value = request.value;
        pending.files.push(file);
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
pub fn leave(state_dir: &Path, subject: Subject, key: &Key, value: &str) -> io::Result<()> {
    let folder = state_dir.join(FOLDER);
    fs::create_dir_all(&folder)?;
    let name = |of| (of == subject).then(|| key.name.to_string());
    let request = Request {
        namespace: key.namespace.to_string(),
        campaign: name(Subject::Campaign),
        server: name(Subject::Server),
        value: value.to_owned(),
    };
    let text = serde_json::to_string(&request).map_err(io::Error::other)?;
    // Names can be longer than those of files.
    let name = uuid::Uuid::new_v4();
    let unfinished = folder.join(format!("{name}.tmp"));
    fs::write(&unfinished, text)?;
    fs::rename(&unfinished, folder.join(format!("{name}.json")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_requests_the_newest_holds_and_none_stays() {
        let folder = std::env::temp_dir().join(format!("mailfleet-requests-{}", std::process::id()));
        let key = Key::new("shop", "spring");
        for value in ["1 held=Reject", "2"] {
            leave(&folder, Subject::Campaign, &key, value).expect("written");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        leave(&folder, Subject::Server, &key, "3").expect("written");
        let requests = read(&folder);
        assert_eq!((&*requests.campaigns[&key].value, &*requests.servers[&key].value), ("2", "3"));
        requests.campaigns[&key].remove();
        requests.servers[&key].remove();
        assert!(read(&folder).is_empty(), "an older one would resume a later stop");
        fs::remove_dir_all(&folder).expect("removed");
    }
}
