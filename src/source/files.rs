//! Files mode: paths of the command line become snapshots, once or for as long as they are watched.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::Hasher,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use siphasher::sip128::{Hasher128, SipHasher13};
use tokio::sync::watch;

use super::{
    Counts, Finding, SecretStore, Severity, Snapshot,
    assemble::{self, Source, World},
    document::{self, FileContent},
    scan::{self, Scan},
    secrets::{self, SecretData},
    status,
};
use crate::resources::{Key, secret::SecretValue};

/// What is read beside the paths.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Secrets as `<namespace>/<name>/<key>` files.
    pub secrets_dir: Option<PathBuf>,
    /// The only namespace whose plans count, where that is known.
    pub plan_namespace: Option<String>,
    /// The state folder: never read as a source, and asked for the previous status of objects seen first.
    pub state_dir: Option<PathBuf>,
    /// The variables that may hold Secrets; [`Options::of_process`] takes those of this process.
    pub environment: Arc<BTreeMap<String, SecretValue>>,
}

impl Options {
    /// Options with the variables of this process.
    #[must_use]
    pub fn of_process(secrets_dir: Option<PathBuf>, state_dir: Option<PathBuf>) -> Self {
        Self { secrets_dir, state_dir, environment: Arc::new(secrets::variables_of_process()), plan_namespace: None }
    }
}

/// The files, and what is remembered of them between two looks.
#[derive(Debug)]
pub struct Files {
    paths: Vec<PathBuf>,
    options: Options,
    /// Files by path: the hash of their text, and what it says.
    read: BTreeMap<PathBuf, (u128, Arc<FileContent>)>,
    world: World,
    secrets_dir: Arc<BTreeMap<Key, SecretData>>,
    folders: BTreeSet<PathBuf>,
}

impl Files {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(paths: &[PathBuf], options: &Options) -> Self {
        Self {
            paths: paths.to_vec(),
            options: options.clone(),
            read: BTreeMap::new(),
            world: World::new(),
            secrets_dir: Arc::default(),
            folders: BTreeSet::new(),
        }
    }

    /// Reads everything once.
    #[must_use]
    pub fn load_once(paths: &[PathBuf], options: &Options) -> Snapshot {
        Self::new(paths, options).load()
    }

    /// Reads everything, and again whenever something changed, until every receiver is dropped. A snapshot is sent
    /// only when it differs from the last one.
    ///
    /// # Errors
    /// When the thread that watches cannot be started.
    pub fn watch(paths: &[PathBuf], options: &Options) -> io::Result<(Arc<Snapshot>, watch::Receiver<Arc<Snapshot>>)> {
        super::watch::start(Self::new(paths, options))
    }

    /// Reads everything again. Files whose text is the same are not parsed again.
    pub fn load(&mut self) -> Snapshot {
        let mut scan = scan::scan(&self.paths, self.options.state_dir.as_deref());
        self.load_secrets(&mut scan);
        let sources = self.read_files(&mut scan);
        let state_dir = self.options.state_dir.as_deref();
        let previous = |kind: &str, key: &Key| state_dir.and_then(|state_dir| status::read_previous_status(state_dir, kind, key));
        let (world, mut findings) = assemble::assemble(&sources, &scan.unreadable, &self.world, previous);
        let (mut snapshot, documents) = assemble::snapshot(&world);
        snapshot.secrets = SecretStore::new(self.secrets_dir.clone(), Arc::new(documents), self.options.environment.clone());
        snapshot.counts = Counts {
            files: sources.len(),
            documents: sources.iter().filter_map(|source| source.content.as_ref().ok()).map(|content| content.count).sum(),
        };
        if sources.is_empty() && scan.findings.is_empty() {
            for path in &self.paths {
                findings.push(Finding::of_file(Severity::Warning, path, "there is no .yaml, .yml or .json file here"));
            }
        }
        findings.append(&mut scan.findings);
        findings.extend(assemble::cross_findings(&world, &snapshot, self.options.plan_namespace.as_deref()));
        findings.sort_by(|a, b| (&a.file, a.line, a.column, a.severity, &a.field).cmp(&(&b.file, b.line, b.column, b.severity, &b.field)));
        snapshot.findings = findings;
        self.world = world;
        self.folders = scan.folders;
        snapshot
    }

    fn load_secrets(&mut self, scan: &mut Scan) {
        let Some(dir) = &self.options.secrets_dir else { return };
        match scan::scan_secrets(dir, scan) {
            Ok(secrets) => self.secrets_dir = secrets,
            // The last ones stay: a mount may be away for a moment.
            Err(words) => scan.findings.push(Finding::of_file(Severity::Fault, dir, words)),
        }
    }

    fn read_files(&mut self, scan: &mut Scan) -> Vec<Source> {
        let mut read = BTreeMap::new();
        let sources = std::mem::take(&mut scan.files).into_iter().map(|scanned| {
            let content = scanned.text.map(|text| {
                let hash = hash(text.as_bytes());
                let content = match self.read.get(&scanned.file) {
                    Some((known, content)) if *known == hash => content.clone(),
                    _ => Arc::new(document::read_text(&scanned.file, &text)),
                };
                read.insert(scanned.file.clone(), (hash, content.clone()));
                content
            });
            Source { file: scanned.file, root: scanned.root, content }
        });
        let sources = sources.collect();
        self.read = read;
        sources
    }

    /// The folders whose changes matter, as of the last look.
    pub(super) fn folders(&self) -> &BTreeSet<PathBuf> {
        &self.folders
    }

    /// The state folder, whose changes do not matter.
    pub(super) fn state_dir(&self) -> Option<&Path> {
        self.options.state_dir.as_deref()
    }
}

/// A hash that tells two texts apart; not a secret one.
pub(super) fn hash(bytes: &[u8]) -> u128 {
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    hasher.finish128().as_u128()
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
