//! The room that the ledger takes, and what is left of its file system. It is looked at beside everything else: a file system may hang.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::sync::watch;

/// The interval between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The room of a ledger, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DiskUsage {
    /// The files of the ledger.
    pub ledger: u64,
    /// What others than root may still fill.
    pub free: u64,
    /// The whole file system.
    pub size: u64,
}

impl DiskUsage {
    /// How things are in a state folder with these files of the ledger; `None` if it cannot be looked at.
    fn of(state_dir: &Path, files: &[&str]) -> Option<Self> {
        let disk = rustix::fs::statvfs(state_dir).ok()?;
        let sizes = files.iter().filter_map(|name| std::fs::metadata(state_dir.join(name)).ok()).map(|file| file.len());
        Some(Self {
            ledger: sizes.sum(),
            free: disk.f_bavail.saturating_mul(disk.f_frsize),
            size: disk.f_blocks.saturating_mul(disk.f_frsize),
        })
    }
}

/// Looks again and again, one look at a time, for as long as somebody wants to know.
pub(super) async fn follow(state_dir: PathBuf, files: &'static [&'static str], told: watch::Sender<Option<DiskUsage>>) {
    while !told.is_closed() {
        let folder = state_dir.clone();
        let looked = tokio::task::spawn_blocking(move || DiskUsage::of(&folder, files)).await;
        told.send_replace(looked.ok().flatten());
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_is_counted_with_its_log() {
        let folder = std::env::temp_dir().join(format!("mailfleet-disk-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("ledger.db"), [0; 100]).expect("a file");
        std::fs::write(folder.join("ledger.db-wal"), [0; 20]).expect("a file");
        std::fs::write(folder.join("another"), [0; 7]).expect("a file");
        let usage = DiskUsage::of(&folder, &["ledger.db", "ledger.db-wal", "ledger.db-shm"]).expect("a file system");
        std::fs::remove_dir_all(&folder).expect("it can be removed");
        assert_eq!(usage.ledger, 120);
        assert!(usage.free <= usage.size && usage.size > 0, "{usage:?}");
        assert_eq!(DiskUsage::of(&folder, &[]), None, "a folder that is gone");
    }
}
