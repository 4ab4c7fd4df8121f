//! The objects of a kind, from their status files or from a cluster: for commands that look.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    cli::present::tables::Shown,
    meta::nearest,
    resources::{DEFAULT_NAMESPACE, Reason, crd::UNSEEN_REASON},
    source::{cluster, status},
};

/// An object as its status file holds it, or the API server.
pub struct Found {
    pub value: Value,
    /// The status file; none in a cluster.
    path: Option<PathBuf>,
}

impl Found {
    /// When the status was written, to the second.
    pub fn written_at(&self) -> Option<jiff::Timestamp> {
        let modified = std::fs::metadata(self.path.as_ref()?).and_then(|metadata| metadata.modified()).ok()?;
        jiff::Timestamp::try_from(modified).ok().and_then(|at| jiff::Timestamp::from_second(at.as_second()).ok())
    }

    /// Its name and its status.
    ///
    /// # Errors
    /// Why there is no status to be shown: the object was never valid, or the status is not one that this version writes.
    pub fn shown<S: DeserializeOwned>(&self) -> Result<Shown<S>, String> {
        let word = |field: &str| self.value["metadata"][field].as_str().unwrap_or_default().to_owned();
        let status = S::deserialize(&self.value["status"]).map_err(|error| {
            if let Some(why) = self.never_valid() {
                return format!("{} {} in namespace {}: {why}", word_of(&self.value["kind"]), word("name"), word("namespace"));
            }
            let object = format!("{} {} in namespace {}", word_of(&self.value["kind"]), word("name"), word("namespace"));
            match &self.path {
                _ if self.is_unseen() => {
                    format!("{object}: no controller has seen it yet; is `mailfleet run --kubernetes` running, and for this namespace?")
                }
                Some(path) => {
                    let path = path.display();
                    format!("{path} has a status that this version does not know ({error}); `mailfleet run` with this --state rewrites it")
                }
                None => format!("{object} has a status that this version does not know ({error}); use the version of the controller"),
            }
        })?;
        Ok(Shown { namespace: word("namespace"), name: word("name"), status })
    }
}

impl Found {
    /// Whether no controller of the cluster has written a status: there is none, or the CRD's default.
    fn is_unseen(&self) -> bool {
        let status = &self.value["status"];
        self.path.is_none() && (status.is_null() || status.pointer("/conditions/0/reason").is_some_and(|reason| reason == UNSEEN_REASON))
    }

    /// Why an object that was never valid is not used; its status is conditions alone.
    fn never_valid(&self) -> Option<&str> {
        let conditions = self.value["status"]["conditions"].as_array()?;
        let ready =
            conditions.iter().find(|condition| condition["type"] == "Ready" && condition["reason"] == Reason::Unreadable.as_str())?;
        ready["message"].as_str()
    }
}

fn word_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Says that an object is not there, and where else one of this name is, if it is anywhere.
#[must_use]
pub fn not_found(state_dir: &Path, kind: &str, name: &str, namespace: &str) -> String {
    match &namespaces_of(state_dir, kind, name)[..] {
        [] => {
            let folder = state_dir.join("status").join(namespace).join(kind);
            let names: Vec<String> = names_in(&folder).unwrap_or_default();
            let names = names.iter().filter_map(|file| file.strip_suffix(".yaml"));
            let near = nearest(name, names).map(|near| format!("; did you mean `{near}`?"));
            let ask = || format!(" in {}. Was `mailfleet run` started with this --state?", state_dir.join("status").display());
            format!("no {kind} {name}{}", near.unwrap_or_else(ask))
        }
        [one] => format!("no {kind} {name} in namespace {namespace}; there is one in namespace {one}: add `-n {one}`"),
        several => format!(
            "no {kind} {name} in namespace {namespace}; there is one in each of the namespaces {}: choose with `-n`",
            several.join(", ")
        ),
    }
}

/// The namespaces that have an object of this kind and name.
fn namespaces_of(state_dir: &Path, kind: &str, name: &str) -> Vec<String> {
    let root = state_dir.join("status");
    let has_it = |namespace: &String| root.join(namespace).join(kind).join(status::file_name(name)).is_file();
    names_in(&root).unwrap_or_default().into_iter().filter(has_it).collect()
}

/// The objects of a kind, by namespace and name.
///
/// # Errors
/// When a file cannot be read; the message names it.
pub fn objects(state_dir: &Path, kind: &str, namespace: Option<&str>, name: Option<&str>) -> Result<Vec<Found>, String> {
    let root = state_dir.join("status");
    let mut objects = Vec::new();
    let namespaces = match (namespace, name) {
        (Some(namespace), _) => vec![namespace.to_owned()],
        (None, Some(_)) => vec![DEFAULT_NAMESPACE.to_owned()],
        (None, None) => names_in(&root)?,
    };
    for namespace in namespaces {
        let folder = root.join(&namespace).join(kind);
        for file in names_in(&folder)? {
            if file.strip_suffix(".yaml").is_none() || name.is_some_and(|name| file != status::file_name(name)) {
                continue;
            }
            let path = folder.join(&file);
            let unreadable = |error: &dyn std::fmt::Display| format!("{} cannot be read: {error}", path.display());
            let text = std::fs::read_to_string(&path).map_err(|error| unreadable(&error))?;
            let value = serde_saphyr::from_str(&text).map_err(|error| unreadable(&error))?;
            objects.push(Found { value, path: Some(path) });
        }
    }
    Ok(objects)
}

/// The objects of a kind in a cluster, by namespace and name.
///
/// # Errors
/// In words for people, when there is no cluster, or it does not show them.
pub async fn objects_in_cluster(
    kubeconfig: Option<&Path>,
    kind: &str,
    namespace: Option<&str>,
    name: Option<&str>,
) -> Result<Vec<Found>, String> {
    let client = cluster::connect(kubeconfig).await.map_err(|error| error.to_string())?;
    let namespace = namespace.or_else(|| name.map(|_| DEFAULT_NAMESPACE));
    let found = cluster::find_objects(&client, kind, namespace, name).await?;
    Ok(found.into_iter().map(|value| Found { value, path: None }).collect())
}

/// The names in a folder, in order; none when it is not there.
fn names_in(folder: &Path) -> Result<Vec<String>, String> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{} cannot be read: {error}", folder.display())),
    };
    let mut names: Vec<String> = entries.filter_map(Result::ok).filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}
