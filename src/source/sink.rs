//! Where statuses go: files of the state folder, or the objects in a cluster.

use std::{io, path::Path, sync::Arc};

use serde::Serialize;
use serde_json::{Value, json};

use super::{Origin, StatusFolder, cluster::ClusterStatuses};
use crate::resources::{API_VERSION, Campaign, Condition, Key, Kind as _, Metadata, SendingServer};

/// A status that becomes JSON when it is written, and is shared until then.
pub trait AsJson: Send + Sync {
    /// As it is written.
    fn as_json(&self) -> Value;
}

impl<T: Serialize + Send + Sync> AsJson for T {
    fn as_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// A status to be written.
pub struct StatusWrite<'a> {
    /// `SendingServer`, `Plan` or `Campaign`.
    pub kind: &'static str,
    /// The object.
    pub key: &'a Key,
    /// Where the object comes from.
    pub origin: &'a Origin,
    /// Its metadata; only files show it again.
    pub metadata: &'a Metadata,
    /// Its spec; only files show it again.
    pub spec: &'a dyn Fn() -> Value,
    /// The status.
    pub status: Arc<dyn AsJson>,
    /// The conditions as they were written last.
    pub before: Option<&'a [Condition]>,
    /// The conditions now.
    pub now: &'a [Condition],
}

/// Where statuses go.
pub enum StatusSink {
    /// Files mode.
    Folder(StatusFolder),
    /// A cluster. Writes wait for the API server elsewhere, and never fail here.
    Cluster(ClusterStatuses),
}

impl StatusSink {
    /// The status files of a state folder.
    ///
    /// # Errors
    /// When the folder cannot be made or read: what to do.
    pub fn open_folder(state_dir: &Path) -> Result<Self, String> {
        StatusFolder::open(state_dir).map(Self::Folder).map_err(|cause| {
            let state_dir = state_dir.display();
            format!("the status folder below {state_dir} cannot be used: {cause}. Check its owner and mode, and the space on the disk.")
        })
    }

    /// Writes a status.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, write: StatusWrite<'_>) -> io::Result<()> {
        match self {
            Self::Folder(folder) => {
                let mut metadata = json!(write.metadata);
                if let Some(metadata) = metadata.as_object_mut() {
                    metadata.entry("namespace").or_insert_with(|| (&*write.key.namespace).into());
                }
                let value = json!({
                    "apiVersion": API_VERSION, "kind": write.kind, "metadata": metadata, "spec": (write.spec)(), "status": write.status.as_json(),
                });
                folder.write(write.kind, write.key, &value).map(|_| ())
            }
            Self::Cluster(cluster) => {
                if let Origin::Cluster(place) = write.origin {
                    cluster.put(write.kind, write.key, &place.uid, write.status, write.before, write.now);
                }
                Ok(())
            }
        }
    }

    /// Writes the status of an object that never had a good version; in files mode the document is shown as it stands.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_broken(&self, broken: &super::Broken, before: Option<&[Condition]>, now: &[Condition]) -> io::Result<()> {
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
                folder.write(broken.kind, &broken.key, &value).map(|_| ())
            }
            (Self::Cluster(cluster), Origin::Cluster(place)) => {
                cluster.put(broken.kind, &broken.key, &place.uid, Arc::new(status), before, now);
                Ok(())
            }
            (Self::Cluster(_), Origin::File(_)) => Ok(()),
        }
    }

    /// A status that stands there already, from before this process, and is as it should be: it is put right when somebody
    /// else overwrites it.
    pub fn note_standing(&self, kind: &'static str, key: &Key, origin: &Origin, status: Arc<dyn AsJson>) {
        if let (Self::Cluster(cluster), Origin::Cluster(place)) = (self, origin) {
            cluster.note_standing(kind, key, &place.uid, status);
        }
    }

    /// Whether the campaign is being sent: in a cluster it then has a finalizer, so that a deletion waits for what is on the wire.
    pub fn note_sending(&self, key: &Key, origin: &Origin, is_sending: bool) {
        if let (Self::Cluster(cluster), Origin::Cluster(place)) = (self, origin) {
            cluster.note_sending(key, &place.uid, is_sending);
        }
    }

    /// Forgets an object that is gone; its file goes too.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn remove(&self, kind: &str, key: &Key) -> io::Result<()> {
        match self {
            Self::Folder(folder) => folder.remove(kind, key).map(|_| ()),
            Self::Cluster(_) => Ok(()),
        }
    }

    /// The objects that have a status file.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn objects(&self) -> io::Result<Vec<(String, Key)>> {
        match self {
            Self::Folder(folder) => folder.objects(),
            Self::Cluster(_) => Ok(Vec::new()),
        }
    }

    /// Waits until everything was written, for `grace` at most.
    pub async fn flush(&self, grace: std::time::Duration) {
        if let Self::Cluster(cluster) = self {
            cluster.flush(grace).await;
        }
    }
}

/// The state of an object of which no version was ever good: nothing is done with it. Plans have none.
fn state_of_broken(kind: &str) -> Option<&'static str> {
    match kind {
        SendingServer::KIND => Some("Inactive"),
        Campaign::KIND => Some("Stopped"),
        _ => None,
    }
}
