//! Walks the folders, reads YAML and JSON, and the files of `--secrets-dir`.
//!
//! Hidden names are skipped, which is also what makes Kubernetes' mounts work: the visible names are symlinks
//! into `..data`, and the folder behind it is never walked itself.
//!
//! The walk is ours, and not that of the crate `ignore`, which reads the patterns: symlinks are followed within the root alone, a folder
//! whose patterns cannot be read is left out whole, what cannot be read is a finding at its place, and each folder that was entered is
//! watched.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, Metadata},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use super::{
    document::FileContent,
    ignored::{IGNORE_FILE, Ignored},
    io::{io_words, read_bounded, written_at},
    options::Options,
    status::STATE_MARKER,
};
use crate::{
    resources::{Key, secret::SecretValue},
    source::{Finding, Severity, secrets::SecretData},
};

/// Bytes of one YAML or JSON file.
pub const FILE_MAX: u64 = 4 * 1024 * 1024;
/// Bytes of standard input or a pipe: what a tool prints of a whole folder.
pub const PIPE_MAX: u64 = 64 * 1024 * 1024;
/// Bytes of one file of `--secrets-dir`.
pub const SECRET_FILE_MAX: u64 = 1024 * 1024;
/// Levels of folders.
const DEPTH_MAX: usize = 32;
/// Files of one scan.
const FILES_MAX: usize = 100_000;

/// What takes a file's text apart as soon as it is read, so that of all files one text is held at a time.
pub(super) type Reader<'a> = dyn FnMut(&Path, &str) -> Arc<FileContent> + 'a;

/// A file that was read.
#[derive(Debug)]
pub(super) struct Scanned {
    /// As found below the root.
    pub file: PathBuf,
    /// The folder given, or that of the file given.
    pub root: PathBuf,
    /// What it says, or why it was not read.
    pub content: Result<Arc<FileContent>, String>,
    /// When the file was written last, where it is one.
    pub written_at: Option<SystemTime>,
}

/// What a scan found.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub files: Vec<Scanned>,
    pub findings: Vec<Finding>,
    /// Folders to watch.
    pub folders: BTreeSet<PathBuf>,
    /// Paths below which nothing could be read, and why: what was there stays.
    pub unreadable: Vec<(PathBuf, String)>,
    /// Files that were read and are no source of objects, and when they were written.
    pub others: BTreeMap<PathBuf, SystemTime>,
    seen: BTreeSet<PathBuf>,
}

/// Walks the paths given on the command line.
pub(super) fn scan(paths: &[PathBuf], options: &Options, reader: &mut Reader<'_>) -> Scan {
    let mut scan = Scan::default();
    let state_dir = options.state_dir.as_deref().and_then(|state_dir| state_dir.canonicalize().ok());
    for path in paths {
        if options.pipes && path == Path::new("-") {
            scan.pipe(Path::new("standard input"), &mut io::stdin().lock(), reader);
            continue;
        }
        watch_links(path, &mut scan.folders);
        let found = fs::metadata(path).and_then(|metadata| {
            if options.pipes && !metadata.is_dir() && !metadata.is_file() {
                scan.pipe(path, &mut File::open(path)?, reader);
            } else if metadata.is_dir() {
                let real_root = path.canonicalize()?;
                let ignored = Ignored::new(path, &options.exclude, &mut scan.findings);
                let state_dir = state_dir.as_deref();
                Walk { root: path, real_root: &real_root, state_dir, ignored, scan: &mut scan, reader: &mut *reader }.folder(path, 0);
            } else {
                let root = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
                let real = path.canonicalize()?;
                if scan.seen.insert(real.clone()) {
                    scan.file(path, root, read_text(&real), reader);
                }
            }
            Ok(())
        });
        if let Err(error) = found {
            let words = format!("this path cannot be read: {}", io_words(&error));
            scan.findings.push(Finding::of_file(Severity::Fault, path, words.clone()));
            scan.unreadable.push((path.clone(), format!("{}: {words}", path.display())));
        }
    }
    scan
}

impl Scan {
    /// Reads what comes out of a pipe, to its end.
    fn pipe(&mut self, name: &Path, from: &mut impl Read, reader: &mut Reader<'_>) {
        if !self.seen.insert(name.to_owned()) {
            return;
        }
        let mut bytes = Vec::new();
        let text = match from.take(PIPE_MAX + 1).read_to_end(&mut bytes) {
            Ok(length) if length as u64 > PIPE_MAX => Err(format!("the input is larger than {} MiB; split it", PIPE_MAX / 1024 / 1024)),
            Ok(_) => as_text(bytes),
            Err(error) => Err(format!("the input cannot be read: {}", io_words(&error))),
        };
        let content = text.map(|text| reader(name, &text));
        self.files.push(Scanned { file: name.to_owned(), root: Path::new(".").to_owned(), content, written_at: None });
    }

    /// Notes a file below a folder, or that of the file given: its text, or why there is none.
    fn file(&mut self, file: &Path, root: &Path, text: Result<String, String>, reader: &mut Reader<'_>) {
        let content = text.map(|text| reader(file, &text));
        self.files.push(Scanned { file: file.to_owned(), root: root.to_owned(), content, written_at: written_at(file) });
    }
}

/// The folders in which a path, or a symlink on the way, may be replaced.
fn watch_links(path: &Path, folders: &mut BTreeSet<PathBuf>) {
    const LINKS_MAX: usize = 16;
    let mut link = path.to_owned();
    for _ in 0..LINKS_MAX {
        let parent = link.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
        let nearest = parent.ancestors().find(|ancestor| ancestor.is_dir()).unwrap_or(Path::new(".")).to_owned();
        folders.insert(nearest);
        match fs::read_link(&link) {
            Ok(target) => link = parent.join(target),
            Err(_) => return,
        }
    }
}

struct Walk<'a> {
    root: &'a Path,
    real_root: &'a Path,
    state_dir: Option<&'a Path>,
    ignored: Ignored,
    scan: &'a mut Scan,
    reader: &'a mut Reader<'a>,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &Path, depth: usize) {
        let Ok(real) = folder.canonicalize() else { return };
        if !self.may_enter(folder, &real)
            || self.state_dir == Some(&real)
            || real.join(STATE_MARKER).exists()
            || !self.scan.seen.insert(real)
        {
            return;
        }
        self.scan.folders.insert(folder.to_owned());
        if depth >= DEPTH_MAX {
            let words = format!("folders are nested more than {DEPTH_MAX} levels deep here; what is below is not read");
            self.scan.findings.push(Finding::of_file(Severity::Fault, folder, words));
            return;
        }
        let names = fs::read_dir(folder)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<Vec<_>>>());
        let mut names = match names {
            Ok(names) => names,
            Err(error) => {
                return self.unreadable(folder, format!("this folder cannot be read: {}", io_words(&error)));
            }
        };
        let patterns = folder.join(IGNORE_FILE);
        self.scan.others.extend(written_at(&patterns).map(|at| (patterns, at)));
        if let Err(words) = self.ignored.enter(folder, &mut self.scan.findings) {
            return self.unreadable(folder, format!("nothing in this folder is read: {words}"));
        }
        names.sort();
        for name in names.iter().filter(|name| !name.as_encoded_bytes().starts_with(b".")) {
            let path = folder.join(name);
            let is_wanted = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml" || extension == "json");
            match fs::metadata(&path) {
                found if (is_wanted || found.is_ok()) && self.ignored.has(&path, found.as_ref().is_ok_and(Metadata::is_dir)) => {}
                Ok(metadata) if metadata.is_dir() => self.folder(&path, depth + 1),
                Ok(metadata) if is_wanted && metadata.is_file() => self.file(&path),
                Err(error) if is_wanted => {
                    let cause = if path.is_symlink() { "the symlink is broken".to_owned() } else { io_words(&error) };
                    let text = Err(format!("this file cannot be read: {cause}"));
                    self.scan.file(&path, self.root, text, self.reader);
                }
                _ => {}
            }
        }
        self.ignored.leave();
    }

    fn unreadable(&mut self, folder: &Path, words: String) {
        self.scan.unreadable.push((folder.to_owned(), format!("{}: {words}", folder.display())));
        self.scan.findings.push(Finding::of_file(Severity::Fault, folder, words));
    }

    fn may_enter(&mut self, path: &Path, real: &Path) -> bool {
        let is_inside = real.starts_with(self.real_root);
        if !is_inside {
            let words =
                "this symlink points outside the folder, and is not followed; copy its target, or give that path on the command line";
            self.scan.findings.push(Finding::of_file(Severity::Fault, path, words));
        }
        is_inside
    }

    fn file(&mut self, path: &Path) {
        let Ok(real) = path.canonicalize() else { return };
        if path.is_symlink() {
            watch_links(path, &mut self.scan.folders);
        }
        if !self.may_enter(path, &real) || !self.scan.seen.insert(real) {
            return;
        }
        if self.scan.files.len() >= FILES_MAX {
            if self.scan.files.len() == FILES_MAX {
                let words = format!("there are more than {FILES_MAX} files; this one and those after it are not read");
                self.scan.file(path, self.root, Err(words), self.reader);
            }
            return;
        }
        self.scan.file(path, self.root, read_text(path), self.reader);
    }
}

fn read_text(path: &Path) -> Result<String, String> {
    let bytes = read_bounded(path, FILE_MAX)
        .map_err(|error| format!("this file cannot be read: {}", io_words(&error)))?
        .ok_or_else(|| format!("this file is larger than {} MiB; split it", FILE_MAX / 1024 / 1024))?;
    as_text(bytes)
}

fn as_text(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("this file is not UTF-8: line {line} has an invalid byte; save the file as UTF-8")
    })
}

/// Reads `<namespace>/<name>/<key>` below `--secrets-dir`.
///
/// # Errors
/// When the folder itself cannot be read.
pub(super) fn scan_secrets(dir: &Path, scan: &mut Scan) -> Result<Arc<BTreeMap<Key, SecretData>>, String> {
    watch_links(dir, &mut scan.folders);
    let names = |folder: &Path, scan: &mut Scan| -> io::Result<Vec<String>> {
        scan.folders.insert(folder.to_owned());
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            match entry?.file_name().into_string() {
                Ok(name) if name.starts_with('.') => {}
                Ok(name) => names.push(name),
                Err(name) => scan.findings.push(Finding::of_file(Severity::Fault, &folder.join(name), "this name is not UTF-8")),
            }
        }
        names.sort();
        Ok(names)
    };
    let words = |error: &io::Error| format!("this folder cannot be read: {}", io_words(error));
    let mut secrets = BTreeMap::new();
    for namespace in names(dir, scan).map_err(|error| words(&error))?.into_iter().filter(|name| dir.join(name).is_dir()) {
        let folder = dir.join(&namespace);
        let secret_names = names(&folder, scan).unwrap_or_else(|error| {
            scan.findings.push(Finding::of_file(Severity::Fault, &folder, words(&error)));
            Vec::new()
        });
        for name in secret_names.into_iter().filter(|name| folder.join(name).is_dir()) {
            let folder = folder.join(&name);
            match names(&folder, scan) {
                Ok(keys) => {
                    secrets.insert(Key::new(&*namespace, name), secret_files(&folder, keys, scan));
                }
                Err(error) => scan.findings.push(Finding::of_file(Severity::Fault, &folder, words(&error))),
            }
        }
    }
    Ok(Arc::new(secrets))
}

fn secret_files(folder: &Path, keys: Vec<String>, scan: &mut Scan) -> SecretData {
    let mut data = SecretData::new();
    for key in keys {
        let path = folder.join(&key);
        if path.is_dir() {
            continue;
        }
        scan.others.extend(written_at(&path).map(|at| (path.clone(), at)));
        match read_bounded(&path, SECRET_FILE_MAX) {
            Ok(Some(bytes)) => {
                data.insert(key, SecretValue::new(bytes));
            }
            Ok(None) => scan.findings.push(Finding::of_file(Severity::Fault, &path, "this secret is larger than 1 MiB")),
            Err(error) => {
                scan.findings.push(Finding::of_file(Severity::Fault, &path, format!("this secret cannot be read: {}", io_words(&error))));
            }
        }
    }
    data
}
