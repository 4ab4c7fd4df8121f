//! What is compared: a folder or a file, a revision of git, or standard input; and the objects that it holds.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use super::git::{Checkout, Repository};
use crate::{
    resources::{Campaign, Key, Kind, Plan, SendingServer},
    source::{Broken, ByName, Files, Finding, Options, Severity, Snapshot, Sourced},
};

/// Where a side comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A folder, a file or a pipe.
    Path(PathBuf),
    /// A revision of a git repository, and the path in it.
    Git(String, Option<String>),
    /// Standard input.
    Input,
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix("git:") else {
            return Ok(if text == "-" { Self::Input } else { Self::Path(PathBuf::from(text)) });
        };
        let (revision, path) = rest.split_once(':').map_or((rest, None), |(revision, path)| (revision, Some(path.to_owned())));
        if revision.is_empty() {
            return Err("give a branch, a tag or a commit: git:REV or git:REV:PATH, such as git:main:objects".to_owned());
        }
        Ok(Self::Git(revision.to_owned(), path))
    }
}

/// A side that is there.
#[derive(Debug)]
pub struct Found {
    /// How people call it.
    pub name: String,
    path: PathBuf,
    checkout: Option<Checkout>,
}

/// The objects of a side.
#[derive(Debug)]
pub struct Loaded {
    /// How people call it.
    pub name: String,
    /// Its objects.
    pub snapshot: Snapshot,
    /// What was not read, and why.
    pub left_out: Vec<String>,
    /// Files of a revision are there for as long as this is.
    checkout: Option<Checkout>,
}

/// Finds a side; a revision without a path has that of the other side. It blocks.
///
/// # Errors
/// When it is not there.
pub fn find(source: &Source, other: &Source) -> Result<Found, String> {
    match source {
        Source::Input => Ok(Found { name: "standard input".to_owned(), path: PathBuf::from("-"), checkout: None }),
        Source::Path(path) => {
            std::fs::metadata(path).map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => format!("{} does not exist", path.display()),
                _ => format!("{} cannot be read: {error}", path.display()),
            })?;
            Ok(Found { name: path.display().to_string(), path: path.clone(), checkout: None })
        }
        Source::Git(revision, path) => {
            let here = Path::new(".");
            let beside = match other {
                Source::Path(path) => path.as_path(),
                Source::Git(..) | Source::Input => here,
            };
            let folder = |path: &Path| if path.is_dir() { path.to_owned() } else { parent(path) };
            let (repository, path) = if let Some(path) = path {
                let repository = Repository::of(here).or_else(|why| Repository::of(&folder(beside)).map_err(|_| why))?;
                // Git's own way to say it: relative to the current folder.
                let from_here = path == "." || path.starts_with("./") || path.starts_with("../");
                let path = if from_here { format!("{}/{path}", repository.within(here)?) } else { path.clone() };
                (repository, path)
            } else {
                let repository = Repository::of(&folder(beside))?;
                let path = repository.within(beside)?;
                (repository, path)
            };
            let checkout = repository.checkout(revision, &path)?;
            let path = path.trim_start_matches("./").trim_end_matches('/');
            let name = if path.is_empty() { format!("git:{revision}") } else { format!("git:{revision}:{path}") };
            Ok(Found { name, path: checkout.asked.clone(), checkout: Some(checkout) })
        }
    }
}

fn parent(path: &Path) -> PathBuf {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

/// Reads the objects of a side. It blocks.
///
/// # Errors
/// When nothing of it can be read: its findings say why.
pub fn load(found: Found, options: &Options) -> Result<Loaded, Vec<Finding>> {
    let mut snapshot = Files::load_once(std::slice::from_ref(&found.path), options);
    let mut left_out = Vec::new();
    if let Some(checkout) = &found.checkout {
        left_out = checkout.left_out.iter().map(|what| format!("{what} ({})", found.name)).collect();
        let revision = found.name.splitn(3, ':').take(2).collect::<Vec<_>>().join(":");
        let named = |file: &Path| match file.strip_prefix(checkout.folder.path()) {
            Ok(below) => PathBuf::from(format!("{revision}:{}", Path::new(&checkout.within).join(below).display())),
            Err(_) => file.to_owned(),
        };
        let folder = format!("{}/", checkout.folder.path().display());
        for finding in &mut snapshot.findings {
            finding.file = named(&finding.file);
            finding.message = finding.message.replace(&folder, "");
        }
    }
    let holds_nothing = snapshot.servers.is_empty()
        && snapshot.plans.is_empty()
        && snapshot.campaigns.is_empty()
        && snapshot.broken.is_empty()
        && snapshot.namespaces.is_empty()
        && snapshot.secrets.documents().is_empty()
        && snapshot.config_maps.iter().next().is_none();
    if holds_nothing && snapshot.findings.iter().any(|finding| finding.severity == Severity::Fault) {
        return Err(snapshot.findings);
    }
    Ok(Loaded { name: found.name, snapshot, left_out, checkout: found.checkout })
}

impl Loaded {
    /// The objects of a cluster.
    pub fn of_cluster(snapshot: Snapshot, left_out: Vec<String>) -> Self {
        Self { name: "the cluster".to_owned(), snapshot, left_out, checkout: None }
    }

    /// Words about its objects, without the folder that they were read from: it is another one on the other side.
    pub fn without_folder(&self, words: &str) -> String {
        match &self.checkout {
            Some(checkout) => words.replace(&format!("{}/", checkout.folder.path().display()), ""),
            None => words.to_owned(),
        }
    }
}

/// What is broken on the new side stays as it was on the old one, as in a process that runs; returns what that is.
pub fn keep_what_was_good(old: &Snapshot, new: &mut Snapshot) -> Vec<(&'static str, Key)> {
    let broken = std::mem::take(&mut new.broken);
    let mut kept = Vec::new();
    for one in broken {
        let is_kept = match one.kind {
            SendingServer::KIND => keep(&one, &old.servers, &mut new.servers),
            Plan::KIND => keep(&one, &old.plans, &mut new.plans),
            Campaign::KIND => keep(&one, &old.campaigns, &mut new.campaigns),
            _ => false,
        };
        if is_kept {
            kept.push((one.kind, one.key));
        } else {
            new.broken.push(one);
        }
    }
    kept
}

fn keep<K: Clone>(broken: &Broken, old: &ByName<K>, new: &mut ByName<K>) -> bool {
    let Some(good) = old.get(&broken.key) else { return false };
    let kept = Sourced { stale: Some(broken.message.clone()), ..good.clone() };
    Arc::make_mut(new).insert(broken.key.clone(), kept);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_is_a_path_a_revision_or_standard_input() {
        let git = |revision: &str, path: Option<&str>| Source::Git(revision.to_owned(), path.map(str::to_owned));
        for (text, source) in [
            ("-", Source::Input),
            ("objects", Source::Path("objects".into())),
            ("./git:main", Source::Path("./git:main".into())),
            ("git:main", git("main", None)),
            ("git:origin/main:objects/all.yaml", git("origin/main", Some("objects/all.yaml"))),
            ("git:HEAD~1:", git("HEAD~1", Some(""))),
        ] {
            assert_eq!(text.parse(), Ok(source), "{text}");
        }
        assert!("git:".parse::<Source>().is_err() && "git::objects".parse::<Source>().is_err());
    }
}
