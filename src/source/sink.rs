//! Where statuses are written: to files of the state folder, or to the objects in a cluster.

use std::{io, path::Path, sync::Arc};

use serde_json::{Value, json};

use super::{
    cluster::{AsJson, ClusterStatuses},
    files::status_writer::StatusWriter,
    snapshot::{Broken, Origin},
};
use crate::resources::{API_VERSION, Campaign, Condition, Key, Kind as _, Metadata, SendingServer};

/// A status to be written.
pub struct StatusWrite<'a> {
    /// `SendingServer`, `Plan` or `Campaign`.
    pub kind: &'static str,
    /// The object's name.
    pub key: &'a Key,
    /// Where the object comes from.
    pub origin: &'a Origin,
    /// Its metadata; only files repeat it.
    pub metadata: &'a Metadata,
    /// Its spec; only files repeat it.
    pub spec: Box<dyn Fn() -> Value + Send>,
    /// The status, shared until it is written.
    pub status: Arc<dyn AsJson>,
    /// The conditions as they were written last.
    pub before: Option<&'a [Condition]>,
    /// The conditions in `status`.
    pub now: &'a [Condition],
}

/// Where statuses are written.
pub enum StatusSink {
    /// Files mode. A thread writes and retries; nothing fails here.
    Folder(StatusWriter),
    /// A cluster. A task writes and retries; nothing fails here.
    Cluster(ClusterStatuses),
}

impl StatusSink {
    /// The status files of a state folder.
    ///
    /// # Errors
    /// When the folder cannot be made or read: what to do.
    pub fn open_folder(state_dir: &Path) -> Result<Self, String> {
        StatusWriter::start(state_dir).map(Self::Folder).map_err(|cause| {
            let state_dir = state_dir.display();
            format!("the status folder in {state_dir} cannot be used: {cause}. Check its owner and mode, and the free disk space.")
        })
    }

    /// Has a status written.
    pub fn write(&self, write: StatusWrite<'_>) {
        match self {
            Self::Folder(folder) => {
                let StatusWrite { kind, key, spec, status, .. } = write;
                let (metadata, namespace) = (write.metadata.clone(), key.namespace.clone());
                let make = move || {
                    let mut metadata = json!(metadata);
                    if let Some(metadata) = metadata.as_object_mut() {
                        metadata.entry("namespace").or_insert_with(|| (&*namespace).into());
                    }
                    json!({"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec(), "status": status.as_json()})
                };
                folder.write(kind, key, Box::new(make));
            }
            Self::Cluster(cluster) => {
                if let Origin::Cluster(place) = write.origin {
                    cluster.put(write.kind, write.key, &place.uid, write.status, write.before, write.now);
                }
            }
        }
    }

    /// Has the status of an object written that never had a valid version; in files mode with the document as it is.
    pub fn write_broken(&self, broken: &Broken, before: Option<&[Condition]>, now: &[Condition]) {
        let mut status = match broken.previous_status.as_deref() {
            Some(Value::Object(previous)) => Value::Object(previous.clone()),
            _ => json!({}),
        };
        status["conditions"] = json!(now);
        if let Origin::Cluster(place) = &broken.origin {
            status["observedGeneration"] = json!(place.generation);
        }
        if let Some(state) = state_of_broken(broken.kind) {
            status["state"] = json!(state);
        }
        match (self, &broken.origin) {
            (Self::Folder(folder), _) => {
                let mut value = (*broken.document).clone();
                if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
                    metadata.insert("namespace".to_owned(), (&*broken.key.namespace).into());
                }
                if let Some(object) = value.as_object_mut() {
                    object.insert("status".to_owned(), status);
                }
                folder.write(broken.kind, &broken.key, Box::new(move || value.clone()));
            }
            (Self::Cluster(cluster), Origin::Cluster(place)) => {
                cluster.put(broken.kind, &broken.key, &place.uid, Arc::new(status), before, now);
            }
            (Self::Cluster(_), Origin::File(_)) => {}
        }
    }

    /// Notes that an earlier process already wrote this status: it is restored when somebody else overwrites it.
    pub fn note_standing(&self, kind: &'static str, key: &Key, origin: &Origin, status: Arc<dyn AsJson>) {
        if let (Self::Cluster(cluster), Origin::Cluster(place)) = (self, origin) {
            cluster.note_standing(kind, key, &place.uid, status);
        }
    }

    /// Notes whether the campaign is being sent: in a cluster it then has a finalizer, so that deletion waits for messages on the wire.
    pub fn note_sending(&self, key: &Key, origin: &Origin, is_sending: bool) {
        if let (Self::Cluster(cluster), Origin::Cluster(place)) = (self, origin) {
            cluster.note_sending(key, &place.uid, is_sending);
        }
    }

    /// Forgets a deleted object, and removes its file.
    pub fn remove(&self, kind: &'static str, key: &Key) {
        if let Self::Folder(folder) = self {
            folder.remove(kind, key);
        }
    }

    /// The objects that have a status file.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn objects(&self) -> io::Result<Vec<(String, Key)>> {
        match self {
            Self::Folder(folder) => folder.folder().objects(),
            Self::Cluster(_) => Ok(Vec::new()),
        }
    }

    /// Waits until everything was written, for `grace` at most.
    pub async fn flush(&self, grace: std::time::Duration) {
        match self {
            Self::Folder(folder) => folder.flush(grace).await,
            Self::Cluster(cluster) => cluster.flush(grace).await,
        }
    }
}

/// The state of an object that never had a valid version: nothing is done with it. Plans have none.
fn state_of_broken(kind: &str) -> Option<&'static str> {
    match kind {
        SendingServer::KIND => Some("Inactive"),
        Campaign::KIND => Some("Stopped"),
        _ => None,
    }
}
