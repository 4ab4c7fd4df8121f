//! Which paths are left out: `--exclude`, and `.mailfleetignore`, which is read as git reads its `.gitignore`.

use std::path::{Path, PathBuf};

use ignore::{
    Match,
    gitignore::{Gitignore, GitignoreBuilder},
};

use super::io::{io_words, read_bounded};
use crate::source::{Finding, Severity};

/// The file whose patterns apply in its folder and below.
pub const IGNORE_FILE: &str = ".mailfleetignore";
/// Bytes of such a file.
const IGNORE_FILE_MAX: u64 = 256 * 1024;

/// The patterns that apply at one point of a walk.
pub(super) struct Ignored {
    /// Those of the command line, which take precedence.
    excluded: (PathBuf, Gitignore),
    /// Those of each folder on the path, the deepest last.
    folders: Vec<(PathBuf, Gitignore)>,
}

impl Ignored {
    /// What the command line leaves out below `root`.
    pub(super) fn new(root: &Path, exclude: &[String], findings: &mut Vec<Finding>) -> Self {
        let mut builder = GitignoreBuilder::new("");
        for pattern in exclude {
            if let Err(error) = builder.add_line(None, pattern) {
                findings.push(Finding::of_file(
                    Severity::Fault,
                    root,
                    format!("--exclude `{pattern}` is not a gitignore pattern: {error}"),
                ));
            }
        }
        Self { excluded: (root.to_owned(), built(&builder)), folders: Vec::new() }
    }

    /// Reads the patterns of a folder that is walked now; [`Ignored::leave`] forgets them.
    ///
    /// # Errors
    /// When the patterns cannot be read, so that it is unknown what is left out.
    pub(super) fn enter(&mut self, folder: &Path, findings: &mut Vec<Finding>) -> Result<(), String> {
        let path = folder.join(IGNORE_FILE);
        let mut builder = GitignoreBuilder::new("");
        if path.symlink_metadata().is_ok() {
            let bytes = read_bounded(&path, IGNORE_FILE_MAX)
                .map_err(|error| format!("{IGNORE_FILE} cannot be read: {}", io_words(&error)))?
                .ok_or_else(|| format!("{IGNORE_FILE} is larger than {} KiB", IGNORE_FILE_MAX / 1024))?;
            let text = String::from_utf8_lossy(&bytes);
            for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
                // As git does on a last line that has no end.
                if let Err(error) = builder.add_line(None, line.strip_suffix('\r').unwrap_or(line)) {
                    let message = format!("this is not a gitignore pattern, and has no effect: {error}");
                    findings.push(Finding { line: index + 1, column: 1, ..Finding::of_file(Severity::Warning, &path, message) });
                }
            }
        }
        self.folders.push((folder.to_owned(), built(&builder)));
        Ok(())
    }

    /// Forgets the patterns of the folder that the walk leaves.
    pub(super) fn leave(&mut self) {
        self.folders.pop();
    }

    /// Whether a path is left out. The nearest patterns decide, and within one file the last one that matches.
    pub(super) fn has(&self, path: &Path, is_folder: bool) -> bool {
        let near_first = std::iter::once(&self.excluded).chain(self.folders.iter().rev());
        let judged = near_first.filter(|(_, patterns)| !patterns.is_empty()).map(|(folder, patterns)| {
            // Relative, so that it does not matter how the folder was written.
            path.strip_prefix(folder).map_or(Match::None, |below| patterns.matched(below, is_folder))
        });
        judged.into_iter().find(|judged| !judged.is_none()).is_some_and(|judged| judged.is_ignore())
    }
}

/// Patterns that were accepted line by line build without error.
fn built(builder: &GitignoreBuilder) -> Gitignore {
    builder.build().unwrap_or_else(|_| Gitignore::empty())
}
