//! Files mode: paths of the command line become snapshots, once or for as long as they are watched.

mod assemble;
mod beside;
mod cross;
mod document;
mod explain;
#[cfg(test)]
mod folder_tests;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod hash;
mod ignored;
mod io;
mod listed;
mod locate;
mod masked;
mod options;
mod read;
pub mod requests;
mod scan;
mod size;
pub mod status;
pub(super) mod status_writer;
mod verdict;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use assemble::{Objects, SourceFile};
use beside::resolve_beside;
pub use beside::{PathProblem, Purpose, resolve_path, resolve_within};
use cross::Target;
use document::FileContent;
use hash::hash;
pub use ignored::IGNORE_FILE;
pub(crate) use io::{read_bounded, written_at};
pub(crate) use locate::{at_quote, field_finding, line_finding};
pub(crate) use masked::is_secret;
pub use options::Options;
use scan::{Scan, Scanned};
pub use status::StatusFolder;

use super::{
    finding::{Finding, Severity},
    secrets::{SecretData, SecretStore},
    snapshot::{Counts, Snapshot},
};
use crate::resources::Key;

/// A file that has not been written or renamed for this long is complete. A writer that pauses for longer has to write another
/// file and rename it into place.
pub const SETTLED_AFTER: Duration = Duration::from_secs(1);
/// The longest wait for files that are being written; after that they are held back, and everything else is used.
const HOLD_MAX: Duration = Duration::from_secs(30);
/// Files and folders that are looked at in folders of layouts and parts, in all.
const PARTS_SEEN_MAX: usize = 2_000;
/// Levels of folders in them.
const PARTS_DEPTH_MAX: usize = 8;

/// The files, and what is remembered of them between two scans.
#[derive(Debug)]
pub struct Files {
    paths: Vec<PathBuf>,
    options: Options,
    /// Files by path: the hash of their text, and what it says.
    read: BTreeMap<PathBuf, (u128, Arc<FileContent>)>,
    /// The content of each file when it was last used.
    used: BTreeMap<PathBuf, Arc<FileContent>>,
    /// Files that were written for longer than [`HOLD_MAX`], and have not settled since.
    restless: BTreeSet<PathBuf>,
    /// The longest wait for files that are being written.
    hold_max: Duration,
    world: Objects,
    secrets_dir: Arc<BTreeMap<Key, SecretData>>,
    folders: BTreeSet<PathBuf>,
}

impl Files {
    /// Files of which nothing is read yet.
    #[must_use]
    pub fn new(paths: &[PathBuf], options: &Options) -> Self {
        Self {
            paths: paths.to_vec(),
            options: options.clone(),
            read: BTreeMap::new(),
            used: BTreeMap::new(),
            restless: BTreeSet::new(),
            hold_max: HOLD_MAX,
            world: Objects::new(),
            secrets_dir: Arc::default(),
            folders: BTreeSet::new(),
        }
    }

    /// Reads everything once.
    #[must_use]
    pub fn load_once(paths: &[PathBuf], options: &Options) -> Snapshot {
        Self::new(paths, options).load()
    }

    /// Reads everything again; where the options say so, it waits for files that are being written. A file with the same text is not
    /// parsed again.
    pub fn load(&mut self) -> Snapshot {
        let began = Instant::now();
        loop {
            let mut scan = self.scan();
            self.load_secrets(&mut scan);
            let mut written = std::mem::take(&mut scan.others);
            written.extend(scan.files.iter().filter_map(|scanned| Some((scanned.file.clone(), scanned.written_at?))));
            let sources = self.sources(&mut scan);
            let unsettled = if self.options.settles { unsettled(&sources, &written) } else { BTreeMap::new() };
            self.restless.retain(|file| unsettled.contains_key(file));
            let wait = unsettled.iter().filter(|(file, _)| !self.restless.contains(*file)).map(|(_, left)| *left).max();
            match wait {
                Some(left) if began.elapsed() < self.hold_max => std::thread::sleep(left),
                _ => {
                    self.restless.extend(unsettled.into_keys());
                    return self.assemble(scan, sources);
                }
            }
        }
    }

    fn assemble(&mut self, mut scan: Scan, sources: Vec<SourceFile>) -> Snapshot {
        let sources = self.without_files_of_people(self.without_restless(sources, &mut scan));
        self.used = sources.iter().filter_map(|source| Some((source.file.clone(), source.content.as_ref().ok()?.clone()))).collect();
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
                findings.push(Finding::of_file(Severity::Warning, path, "no .yaml, .yml or .json file was found here"));
            }
        }
        findings.append(&mut scan.findings);
        findings.extend(assemble::cross_findings(&world, &snapshot, self.options.plan_namespace.as_deref()));
        findings.sort_by(|a, b| (&a.file, a.line, a.column, a.severity, &a.field).cmp(&(&b.file, b.line, b.column, b.severity, &b.field)));
        snapshot.findings = findings;
        snapshot.written = written_for_contents(&sources);
        self.world = world;
        self.folders = scan.folders;
        snapshot
    }

    /// A file that never settles keeps the content that was last used.
    fn without_restless(&self, sources: Vec<SourceFile>, scan: &mut Scan) -> Vec<SourceFile> {
        let held = |mut source: SourceFile| {
            if self.restless.contains(&source.file) {
                let message = format!(
                    "this file keeps being written, and its new content is not used; write to another file and rename it, or stop writing for {} s",
                    SETTLED_AFTER.as_secs()
                );
                scan.findings.push(Finding::of_file(Severity::Fault, &source.file, message));
                source.content = Ok(self.used.get(&source.file)?.clone());
            }
            Some(source)
        };
        sources.into_iter().filter_map(held).collect()
    }

    /// A JSON file that a campaign names as its audience holds recipients and not objects, unless it ever held objects.
    fn without_files_of_people(&self, sources: Vec<SourceFile>) -> Vec<SourceFile> {
        let named: BTreeSet<PathBuf> = files_named(&sources, |purpose| purpose == Purpose::JsonLines).collect();
        let holds_objects = |source: &SourceFile| {
            source.content.as_ref().is_ok_and(|content| content.mentions_objects)
                || self.world.values().any(|held| held.is_of(&source.file))
        };
        let is_of_people =
            |source: &SourceFile| source.file.canonicalize().is_ok_and(|real| named.contains(&real)) && !holds_objects(source);
        if named.is_empty() { sources } else { sources.into_iter().filter(|source| !is_of_people(source)).collect() }
    }

    fn load_secrets(&mut self, scan: &mut Scan) {
        let Some(dir) = &self.options.secrets_dir else { return };
        match scan::scan_secrets(dir, scan) {
            Ok(secrets) => self.secrets_dir = secrets,
            // The last ones stay: a mount may be away for a moment.
            Err(words) => scan.findings.push(Finding::of_file(Severity::Fault, dir, words)),
        }
    }

    /// Reads all files; the text of one is taken apart before the next is read.
    fn scan(&mut self) -> Scan {
        let known = std::mem::take(&mut self.read);
        scan::scan(&self.paths, &self.options, &mut |file, text| {
            let hash = hash(text.as_bytes());
            let content = match known.get(file) {
                Some((known, content)) if *known == hash => content.clone(),
                _ => Arc::new(document::read_text(file, text)),
            };
            self.read.insert(file.to_owned(), (hash, content.clone()));
            content
        })
    }

    fn sources(&self, scan: &mut Scan) -> Vec<SourceFile> {
        let holds_objects = |path: &&PathBuf| self.read.get(*path).is_some_and(|(_, content)| content.mentions_objects);
        let by_name = self.paths.iter().filter(holds_objects);
        let closed = self.options.secrets_dir.iter().chain(by_name);
        let closed: Arc<[PathBuf]> = closed.filter_map(|path| path.canonicalize().ok()).collect();
        let source = |Scanned { file, root, content, .. }| SourceFile { file, root, closed: closed.clone(), content };
        std::mem::take(&mut scan.files).into_iter().map(source).collect()
    }

    /// The folders to watch, as of the last scan.
    pub(super) fn folders(&self) -> &BTreeSet<PathBuf> {
        &self.folders
    }

    /// The state folder, whose changes are ignored.
    pub(super) fn state_dir(&self) -> Option<&Path> {
        self.options.state_dir.as_deref()
    }
}

/// How much longer files must stay unchanged before they are used: files of objects, and bodies that campaigns name.
fn unsettled(sources: &[SourceFile], written: &BTreeMap<PathBuf, SystemTime>) -> BTreeMap<PathBuf, Duration> {
    let left = |file: &Path, at: SystemTime| Some((file.to_owned(), settles_in(at)?));
    let mut found: BTreeMap<PathBuf, Duration> = written.iter().filter_map(|(file, at)| left(file, *at)).collect();
    let bodies = files_named(sources, |purpose| purpose == Purpose::Body);
    found.extend(bodies.filter_map(|file| left(&file, written_at(&file)?)));
    found
}

/// How much longer a file that was written at that time must stay unchanged; none when it is complete. A time far in the future
/// counts as complete.
pub(crate) fn settles_in(written_at: SystemTime) -> Option<Duration> {
    let now = SystemTime::now();
    match now.duration_since(written_at) {
        Ok(age) => SETTLED_AFTER.checked_sub(age).filter(|left| !left.is_zero()),
        Err(ahead) => (ahead.duration() < SETTLED_AFTER).then_some(SETTLED_AFTER),
    }
}

/// When the files were written that contents are made of.
fn written_for_contents(sources: &[SourceFile]) -> BTreeMap<PathBuf, SystemTime> {
    let mut left = PARTS_SEEN_MAX;
    let folders = files_named(sources, |purpose| purpose == Purpose::Templates).collect::<BTreeSet<_>>();
    let parts: Vec<PathBuf> = folders.iter().flat_map(|folder| files_below(folder, PARTS_DEPTH_MAX, &mut left)).collect();
    let files = files_named(sources, |purpose| matches!(purpose, Purpose::Body | Purpose::Attachment));
    files.chain(parts).filter_map(|file| Some((written_at(&file)?, file))).map(|(at, file)| (file, at)).collect()
}

/// The files below a folder, so many levels deep, and no more than are left.
fn files_below(folder: &Path, levels: usize, left: &mut usize) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if *left == 0 {
            break;
        }
        *left -= 1;
        let path = entry.path();
        if !path.is_dir() {
            found.push(path);
        } else if levels > 0 {
            found.extend(files_below(&path, levels - 1, left));
        }
    }
    found
}

/// The files that campaigns name for a purpose, symlinks resolved.
fn files_named(sources: &[SourceFile], is_wanted: impl Fn(Purpose) -> bool) -> impl Iterator<Item = PathBuf> {
    let documents = sources.iter().filter_map(|source| Some((source, source.content.as_ref().ok()?)));
    let documents = documents.flat_map(|(source, content)| content.documents.iter().map(move |document| (source, document)));
    documents.flat_map(move |(source, document)| {
        let is_wanted = &is_wanted;
        let named = document.references.iter().filter_map(move |reference| match &reference.target {
            Target::File(path, purpose) if is_wanted(*purpose) => resolve_beside(&source.place(document), path, *purpose).ok(),
            _ => None,
        });
        named.collect::<Vec<_>>()
    })
}

#[cfg(test)]
mod tests;
