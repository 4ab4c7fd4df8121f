//! Paths that documents name; and a folder for the tests of this room.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::Value;

use super::{PathProblem, Purpose, StatusFolder, resolve_path};
use crate::{
    resources::Key,
    source::{FilePlace, Origin},
};

/// A folder of a test's own, removed at its end.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("mailfleet-source-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a folder");
        Self(path.canonicalize().expect("its real path"))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file in place, with the folders above it.
    pub(super) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.at(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(path, text).expect("a file");
    }

    /// Replaces a file as editors and git do: written beside, renamed.
    pub(super) fn replace(&self, name: &str, text: &str) {
        self.write(".beside", text);
        fs::rename(self.at(".beside"), self.at(name)).expect("a rename");
    }

    /// Points a symlink elsewhere as Kubernetes does: a new one, renamed over the old.
    pub(super) fn link(&self, target: &str, name: &str) {
        let beside = self.at("..link_tmp");
        symlink(target, &beside).expect("a symlink");
        fs::rename(beside, self.at(name)).expect("a rename");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let result: io::Result<()> = fs::remove_dir_all(&self.0);
        drop(result);
    }
}

/// Writes one status.
pub(super) fn write_status(status: &StatusFolder, kind: &str, key: &Key, object: &Value) -> io::Result<bool> {
    status.write_all([(kind, key, object)]).pop().expect("one object, one result")
}

#[test]
fn a_named_path_stays_inside_the_root() {
    let folder = Folder::new();
    folder.write("root/a/campaign.yaml", "");
    folder.write("root/a/people.csv", "");
    folder.write("root/shared/body.html", "");
    folder.write("outside.txt", "");
    symlink(folder.at("outside.txt"), folder.at("root/a/link.txt")).expect("a symlink");
    symlink("../shared/body.html", folder.at("root/a/body.html")).expect("a symlink");
    let origin = Origin::File(std::sync::Arc::new(FilePlace {
        file: folder.at("root/a/campaign.yaml"),
        line: 1,
        root: folder.at("root"),
        closed: std::sync::Arc::default(),
    }));
    let absolute = folder.at("root/a/people.csv").display().to_string();
    for (path, expected) in [
        ("people.csv", Ok("root/a/people.csv")),
        ("./../a/people.csv", Ok("root/a/people.csv")),
        ("../shared/body.html", Ok("root/shared/body.html")),
        ("body.html", Ok("root/shared/body.html")),
        ("nowhere.csv", Err("does not exist")),
        ("../shared", Err("not a regular file")),
        ("link.txt", Err("outside")),
        ("../../outside.txt", Err("outside")),
        ("../../nowhere.txt", Err("outside")),
        ("/etc/passwd", Err("outside")),
        (absolute.as_str(), Err("outside")),
    ] {
        let found = resolve_path(&origin, path, Purpose::Csv);
        match expected {
            Ok(expected) => assert_eq!(found, Ok(folder.at(expected)), "{path}"),
            Err(words) => {
                let problem = found.expect_err(path);
                assert!(problem.to_string().contains(words), "{path}: {problem}");
                assert_eq!(matches!(problem, PathProblem::Outside { .. }), words == "outside", "{path}");
            }
        }
    }
}
