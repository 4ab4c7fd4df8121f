//! Requests to resume or promote a campaign, or to resume a server, left in the state folder by the command line for the process that sends.
//!
//! A request replaces the annotation: the object's file is not changed. It is removed once it has been handled.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::resources::Key;

/// What a person asked for by a command, which waits in the state folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// That a stopped campaign is resumed.
    Resume,
    /// That a paused server is used again.
    ResumeServer,
    /// That the next step of a rollout begins.
    Promote,
}

impl Asked {
    const ALL: [Self; 3] = [Self::Resume, Self::ResumeServer, Self::Promote];

    /// The folder within the state folder.
    const fn folder(self) -> &'static str {
        match self {
            Self::Resume => "resume",
            Self::ResumeServer => "resume-server",
            Self::Promote => "promote",
        }
    }
}

/// Requests that are read: more than people make by hand.
const REQUESTS_MAX: usize = 10_000;
/// Bytes of one that are read.
const BYTES_MAX: u64 = 64 * 1024;

#[derive(Serialize, Deserialize)]
struct Request {
    namespace: String,
    #[serde(alias = "campaign")]
    name: String,
    value: String,
}

/// What is requested of campaigns, or of servers, by their names.
pub type Requests = BTreeMap<Key, Pending>;

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
                tracing::warn!(path = %file.display(), %error, "a handled request cannot be removed");
            }
        }
    }
}

/// The requests in a state folder, of each campaign or server the newest. One that cannot be read is logged and left there.
#[must_use]
pub fn read(state_dir: &Path, asked: Asked) -> Requests {
    let Ok(entries) = fs::read_dir(state_dir.join(asked.folder())) else { return Requests::new() };
    let mut found = Vec::new();
    for entry in entries.filter_map(Result::ok).take(REQUESTS_MAX) {
        let (path, metadata) = (entry.path(), entry.metadata());
        if path.extension().is_none_or(|extension| extension != "json") || metadata.as_ref().map_or(0, fs::Metadata::len) > BYTES_MAX {
            continue;
        }
        let read = fs::read_to_string(&path).map_err(|error| error.to_string());
        match read.and_then(|text| serde_json::from_str::<Request>(&text).map_err(|error| error.to_string())) {
            Ok(request) => found.push((metadata.and_then(|metadata| metadata.modified()).ok(), path, request)),
            Err(error) => tracing::warn!(path = %path.display(), "a request cannot be read: {error}"),
        }
    }
    found.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    let mut requests = Requests::new();
    for (_, file, request) in found {
        let pending = requests.entry(Key::new(request.namespace, request.name)).or_default();
        pending.value = request.value;
        pending.files.push(file);
    }
    requests
}

/// When the folders of requests last changed, to notice a new one cheaply.
#[must_use]
pub fn changed_at(state_dir: &Path) -> [Option<std::time::SystemTime>; 3] {
    Asked::ALL.map(|asked| fs::metadata(state_dir.join(asked.folder())).and_then(|metadata| metadata.modified()).ok())
}

/// Leaves a request, atomically.
///
/// # Errors
/// When the state folder cannot be written.
pub fn leave(state_dir: &Path, asked: Asked, key: &Key, value: &str) -> io::Result<()> {
    let folder = state_dir.join(asked.folder());
    fs::create_dir_all(&folder)?;
    let request = Request { namespace: key.namespace.to_string(), name: key.name.to_string(), value: value.to_owned() };
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
            leave(&folder, Asked::Resume, &key, value).expect("written");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert!(read(&folder, Asked::Promote).is_empty(), "they ask for something else");
        let requests = read(&folder, Asked::Resume);
        assert_eq!(requests[&key].value, "2");
        requests[&key].remove();
        assert!(read(&folder, Asked::Resume).is_empty(), "an older one would resume a later stop");
        fs::remove_dir_all(&folder).expect("removed");
    }
}
