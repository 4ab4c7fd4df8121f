//! A folder of a revision, read by `git` itself into a temporary folder.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder},
    io::{self, BufRead, BufReader, Read as _},
    os::unix::fs::{DirBuilderExt as _, symlink},
    path::{Component, Path, PathBuf},
    process::{Command, Stdio},
};

use crate::source::IGNORE_FILE;

/// Files that are read of a revision.
const FILES_MAX: usize = if cfg!(test) { 20 } else { 20_000 };
/// Bytes that are read of it in all.
const BYTES_MAX: u64 = if cfg!(test) { 1 << 16 } else { 256 << 20 };
/// Bytes of a file that is read: what is larger is an audience or a picture, and is taken as not there.
const FILE_MAX: u64 = if cfg!(test) { 1 << 14 } else { 32 << 20 };

/// A temporary folder, which goes with its value.
#[derive(Debug)]
pub struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    fn new() -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("mailfleet-diff-{}", uuid::Uuid::new_v4()));
        // Documents may be Secrets.
        DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Self(folder.canonicalize()?))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        // What cannot be removed now is the system's to clean up.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A folder or a file of a revision, as it was.
#[derive(Debug)]
pub struct Checkout {
    /// Where its files are.
    pub folder: TemporaryFolder,
    /// What of them was asked for.
    pub asked: PathBuf,
    /// The folder within the repository, as it was asked for.
    pub within: String,
    /// What was not read, and why.
    pub left_out: Vec<String>,
}

/// A repository, by its work tree.
#[derive(Clone, Debug)]
pub struct Repository {
    top: PathBuf,
}

impl Repository {
    /// The repository that a folder is in.
    ///
    /// # Errors
    /// When git is not there, or the folder is in none.
    pub fn of(folder: &Path) -> Result<Self, String> {
        let top = text(folder, &["rev-parse", "--show-toplevel"])
            .map_err(|why| format!("{} is in no git repository that can be read: {why}", shown(folder)))?;
        let top = PathBuf::from(top.trim_end_matches('\n'));
        Ok(Self { top: top.canonicalize().unwrap_or(top) })
    }

    /// A path of this machine as one within the repository.
    ///
    /// # Errors
    /// When it is outside.
    pub fn within(&self, path: &Path) -> Result<String, String> {
        let outside = || format!("{} is not in the repository {}; say which path is meant: git:REV:PATH", shown(path), self.top.display());
        let real = path.canonicalize().map_err(|error| format!("{} cannot be read: {error}", shown(path)))?;
        real.strip_prefix(&self.top).map_err(|_| outside())?.to_str().map(str::to_owned).ok_or_else(outside)
    }

    /// Reads a folder, or a file with what is beside it, as it was at a revision. It blocks.
    ///
    /// # Errors
    /// When the revision or the path is not there, or is too much.
    pub fn checkout(&self, revision: &str, path: &str) -> Result<Checkout, String> {
        if revision.is_empty() || revision.starts_with('-') {
            return Err(format!("git:{revision} names no revision; give a branch, a tag or a commit, such as git:main"));
        }
        let path = normal(path).ok_or_else(|| format!("`{path}` leads out of the repository {}", self.top.display()))?;
        let commit = text(&self.top, &["rev-parse", "--verify", "--quiet", &format!("{revision}^{{commit}}")]).map_err(|why| {
            format!(
                "the repository {} has no revision `{revision}`{}; in CI, fetch it first (a shallow clone has one commit: `git fetch --depth=1 origin main`, or fetch-depth: 0)",
                self.top.display(),
                if why.is_empty() { String::new() } else { format!(" ({why})") }
            )
        })?;
        let commit = commit.trim_end();
        let object = |path: &str| format!("{commit}:{path}");
        let kind = text(&self.top, &["cat-file", "-t", &object(&path)]).map_err(|_| {
            format!("revision `{revision}` has no `{path}`; give a path from the root of the repository: git:{revision}:PATH")
        })?;
        let (folder_path, file) = match kind.trim_end() {
            "tree" => (path.clone(), None),
            _ => match path.rsplit_once('/') {
                Some((folder, file)) => (folder.to_owned(), Some(file.to_owned())),
                None => (String::new(), Some(path.clone())),
            },
        };
        let listed = bytes(&self.top, &["ls-tree", "-r", "-l", "-z", "--full-tree", &object(&folder_path)])
            .map_err(|why| format!("`{path}` of revision `{revision}` cannot be listed: {why}"))?;
        let (entries, left_out) = entries(&listed)?;
        let folder = TemporaryFolder::new().map_err(|error| format!("no temporary folder can be made: {error}"))?;
        self.write(&entries, folder.path()).map_err(|error| format!("`{path}` of revision `{revision}` cannot be read: {error}"))?;
        let asked = file.map_or_else(|| folder.path().to_owned(), |file| folder.path().join(file));
        Ok(Checkout { folder, asked, within: folder_path, left_out })
    }

    /// Writes the files below a folder; symlinks come last, so that nothing is written through one.
    fn write(&self, entries: &[Entry], folder: &Path) -> io::Result<()> {
        let mut git =
            command(&self.top).args(["cat-file", "--batch"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let (Some(mut asks), Some(answers)) = (git.stdin.take(), git.stdout.take()) else {
            return Err(io::Error::other("git has no pipes"));
        };
        let mut answers = BufReader::new(answers);
        let mut links: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
        for entry in entries {
            let content = read_object(&mut asks, &mut answers, entry)?;
            let file = folder.join(&entry.path);
            if let Some(parent) = file.parent() {
                fs::create_dir_all(parent)?;
            }
            if entry.is_link {
                links.insert(file, PathBuf::from(String::from_utf8_lossy(&content).into_owned()));
            } else {
                fs::write(&file, content)?;
            }
        }
        drop(asks);
        git.wait()?;
        links.into_iter().try_for_each(|(link, target)| symlink(target, link))
    }
}

/// The content of a file.
fn read_object(asks: &mut impl io::Write, answers: &mut impl BufRead, entry: &Entry) -> io::Result<Vec<u8>> {
    writeln!(asks, "{}", entry.object)?;
    asks.flush()?;
    let mut head = String::new();
    answers.read_line(&mut head)?;
    let size: Option<u64> = head.trim_end().rsplit(' ').next().and_then(|size| size.parse().ok());
    let size = size.filter(|size| *size == entry.size).ok_or_else(|| io::Error::other(format!("git has no {}", entry.path.display())))?;
    let mut content = Vec::new();
    answers.by_ref().take(size).read_to_end(&mut content)?;
    let mut end = [0];
    answers.read_exact(&mut end)?;
    Ok(content)
}

/// A file of a revision.
#[derive(Debug)]
struct Entry {
    path: PathBuf,
    object: String,
    size: u64,
    is_link: bool,
}

/// The files that `git ls-tree -r -l -z` lists, without hidden ones; and what is left out.
fn entries(listed: &[u8]) -> Result<(Vec<Entry>, Vec<String>), String> {
    let (mut entries, mut left_out, mut total) = (Vec::new(), Vec::new(), 0_u64);
    for line in listed.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
        let Ok(line) = std::str::from_utf8(line) else {
            left_out.push("a file whose name is not UTF-8".to_owned());
            continue;
        };
        let Some((head, name)) = line.split_once('\t') else { continue };
        let words: Vec<&str> = head.split_ascii_whitespace().collect();
        let [mode, kind, object, size] = words[..] else { continue };
        let path = Path::new(name);
        let is_below = path.components().all(|component| matches!(component, Component::Normal(_)));
        let is_hidden = path.components().any(|component| {
            let name = component.as_os_str().as_encoded_bytes();
            name.starts_with(b".") && name != IGNORE_FILE.as_bytes()
        });
        if kind != "blob" || !is_below || is_hidden {
            if kind == "commit" {
                left_out.push(format!("{name}: it is a submodule"));
            }
            continue;
        }
        let size = size.parse::<u64>().unwrap_or(0);
        if size > FILE_MAX {
            left_out.push(format!("{name}: it is larger than {} MiB", FILE_MAX >> 20));
            continue;
        }
        total += size;
        if entries.len() == FILES_MAX || total > BYTES_MAX {
            return Err(format!(
                "there are more than {FILES_MAX} files or {} MiB; name the folder of the objects: git:REV:PATH",
                BYTES_MAX >> 20
            ));
        }
        entries.push(Entry { path: path.to_owned(), object: object.to_owned(), size, is_link: mode == "120000" });
    }
    Ok((entries, left_out))
}

/// A path within a repository without `.` and `..`; `None` where it leads out of it.
fn normal(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// `git`, which asks nobody and fetches nothing.
fn command(folder: &Path) -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(folder).stdin(Stdio::null());
    git.env("GIT_TERMINAL_PROMPT", "0").env("GIT_NO_LAZY_FETCH", "1").env("GIT_OPTIONAL_LOCKS", "0").env("LC_ALL", "C");
    git
}

fn bytes(folder: &Path, arguments: &[&str]) -> Result<Vec<u8>, String> {
    let output = command(folder).args(arguments).output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "git is not on the PATH; install it, or compare two folders".to_owned(),
        _ => format!("git cannot be run: {error}"),
    })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(said.lines().next().unwrap_or_default().trim_start_matches("fatal: ").to_owned())
}

fn text(folder: &Path, arguments: &[&str]) -> Result<String, String> {
    bytes(folder, arguments).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn shown(folder: &Path) -> String {
    if folder == Path::new(".") { "the current folder".to_owned() } else { folder.display().to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(lines: &[(&str, u64, &str)]) -> Vec<u8> {
        lines.iter().flat_map(|(mode, size, name)| format!("{mode} blob 0123 {size:>7}\t{name}\0").into_bytes()).collect()
    }

    #[test]
    fn what_is_read_of_a_revision_has_bounds() {
        let names: Vec<String> = (0..=FILES_MAX).map(|number| format!("{number}.yaml")).collect();
        let many: Vec<(&str, u64, &str)> = names.iter().map(|name| ("100644", 1, name.as_str())).collect();
        assert_eq!(entries(&listed(&many[..FILES_MAX])).expect("few enough").0.len(), FILES_MAX);
        assert!(entries(&listed(&many)).expect_err("one too many").contains("git:REV:PATH"));
        let large: Vec<(&str, u64, &str)> = (0..5).map(|number| ("100644", FILE_MAX, names[number].as_str())).collect();
        assert!(entries(&listed(&large[..4])).is_ok());
        assert!(entries(&listed(&large)).is_err(), "too much in all");
        let (kept, left_out) = entries(&listed(&[("100644", FILE_MAX + 1, "people.csv"), ("100644", 1, "a.yaml")])).expect("bounded");
        assert_eq!((kept.len(), left_out.len()), (1, 1));
    }

    #[test]
    fn nothing_is_written_outside_of_the_folder() {
        let lines = [
            ("100644", 1, "../escape.yaml"),
            ("100644", 1, "a/../../escape.yaml"),
            ("100644", 1, "/etc/x.yaml"),
            ("100644", 1, ".git/config"),
            ("100644", 1, "a/.hidden/x.yaml"),
            ("100644", 1, ".mailfleetignore"),
            ("120000", 1, "a/link.yaml"),
            ("100755", 1, "a/b.yaml"),
        ];
        let (kept, _) = entries(&listed(&lines)).expect("bounded");
        let kept: Vec<(String, bool)> = kept.iter().map(|entry| (entry.path.display().to_string(), entry.is_link)).collect();
        assert_eq!(kept, [(".mailfleetignore".to_owned(), false), ("a/link.yaml".to_owned(), true), ("a/b.yaml".to_owned(), false)]);
        assert_eq!(normal("./a//b/../c"), Some("a/c".to_owned()));
        assert_eq!(normal("a/../../b"), None);
    }
}
