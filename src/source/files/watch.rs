//! Watches the folders, and reads everything again after any change.
//!
//! Folders are watched, never files, so that replacing a file or swapping a symlink is seen like any other change.
//! A watch belongs to an inode: it is renewed when the path leads to another folder. Events may be lost, so everything is also
//! read every minute.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
    },
    time::{Duration, Instant, SystemTime},
};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher, event::AccessKind};
use tokio::sync::watch;

use super::{Files, Options};
use crate::source::Snapshot;

/// No event for this long before a scan.
const QUIET: Duration = Duration::from_millis(200);
/// The longest wait for that.
const QUIET_MAX: Duration = Duration::from_secs(2);
/// Between two scans when no event comes.
const RESCAN: Duration = Duration::from_secs(60);
/// The same when some folder cannot be watched.
const RESCAN_UNWATCHED: Duration = Duration::from_secs(5);
/// How soon the thread notices that all receivers are gone.
const STOP_CHECK: Duration = Duration::from_millis(500);

impl Files {
    /// Reads everything, and again whenever something changed, until every receiver is dropped. A snapshot is sent
    /// only when it differs from the last one.
    ///
    /// # Errors
    /// When the thread that watches cannot be started.
    pub fn watch(paths: &[PathBuf], options: &Options) -> io::Result<(Arc<Snapshot>, watch::Receiver<Arc<Snapshot>>)> {
        start(Self::new(paths, options))
    }
}

/// Scans once, and starts the thread for all later scans.
fn start(mut files: Files) -> io::Result<(Arc<Snapshot>, watch::Receiver<Arc<Snapshot>>)> {
    // One pending event is enough: a scan sees everything.
    let (wake, woken) = sync_channel(1);
    let state_dir = files.state_dir().map(|state_dir| state_dir.canonicalize().unwrap_or_else(|_| state_dir.to_owned()));
    let mut watches = Watches::new(move |event: notify::Result<notify::Event>| {
        if event.as_ref().map_or(true, |event| matters(event, state_dir.as_deref())) {
            let _ = wake.try_send(());
        }
    });
    let mut snapshot = Arc::new(files.load());
    let mut is_complete = watches.renew(&files);
    // Changes between that scan and the first watch sent no event.
    snapshot = newer(&mut files, &snapshot).unwrap_or(snapshot);
    let first = snapshot.clone();
    let (sender, receiver) = watch::channel(snapshot.clone());
    std::thread::Builder::new().name("files".to_owned()).spawn(move || {
        while wait_for_change(&woken, &sender, if is_complete { RESCAN } else { RESCAN_UNWATCHED }) {
            if let Some(changed) = newer(&mut files, &snapshot) {
                snapshot = changed;
                sender.send_replace(snapshot.clone());
            }
            let new_watches = watches.len();
            is_complete = watches.renew(&files);
            // A folder that is watched only now may have changed since it was read.
            if watches.len() != new_watches
                && let Some(changed) = newer(&mut files, &snapshot)
            {
                snapshot = changed;
                sender.send_replace(snapshot.clone());
            }
        }
    })?;
    Ok((first, receiver))
}

fn newer(files: &mut Files, last: &Arc<Snapshot>) -> Option<Arc<Snapshot>> {
    let snapshot = files.load();
    (snapshot != **last).then(|| Arc::new(snapshot))
}

/// Reading causes events too, and so does the state folder, all the time.
fn matters(event: &notify::Event, state_dir: Option<&Path>) -> bool {
    let is_read = match event.kind {
        EventKind::Access(AccessKind::Close(mode)) => mode != notify::event::AccessMode::Write,
        EventKind::Access(_) => true,
        _ => false,
    };
    let is_state = |path: &PathBuf| state_dir.is_some_and(|state_dir| path.starts_with(state_dir));
    !is_read && (event.paths.is_empty() || !event.paths.iter().all(is_state))
}

/// Waits for an event and the quiet after it, or for the time of the next scan. False when all receivers are gone.
fn wait_for_change(woken: &Receiver<()>, sender: &watch::Sender<Arc<Snapshot>>, rescan: Duration) -> bool {
    let next_look = Instant::now() + rescan;
    loop {
        if sender.is_closed() {
            return false;
        }
        let left = next_look.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        match woken.recv_timeout(left.min(STOP_CHECK)) {
            Ok(()) => break,
            Err(RecvTimeoutError::Timeout) => {}
            // Without a watcher there is only the clock.
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(left.min(STOP_CHECK)),
        }
    }
    let latest = Instant::now() + QUIET_MAX;
    while Instant::now() < latest && woken.recv_timeout(QUIET).is_ok() {}
    true
}

/// The watches, each with the identity of the folder that it was set on.
struct Watches {
    watcher: Option<RecommendedWatcher>,
    set: BTreeMap<PathBuf, Identity>,
    /// Watches that were ever set.
    count: u64,
    has_complained: bool,
}

impl Watches {
    fn new(on_event: impl Fn(notify::Result<notify::Event>) + Send + 'static) -> Self {
        let watcher = notify::recommended_watcher(on_event);
        if let Err(error) = &watcher {
            tracing::warn!(%error, "folders cannot be watched; reading them every {RESCAN_UNWATCHED:?} instead");
        }
        Self { watcher: watcher.ok(), set: BTreeMap::new(), count: 0, has_complained: false }
    }

    fn len(&self) -> u64 {
        self.count
    }

    /// Renews the watches, and drops those of folders that are gone or replaced. False when one cannot be set.
    fn renew(&mut self, files: &Files) -> bool {
        let Some(watcher) = &mut self.watcher else { return false };
        let mut is_complete = true;
        self.set.retain(|folder, identity| {
            let is_kept = files.folders().contains(folder) && folder_identity(folder) == Some(*identity);
            if !is_kept {
                // It fails where the folder is gone, and the watch with it.
                let _ = watcher.unwatch(folder);
            }
            is_kept
        });
        for folder in files.folders() {
            let Some(identity) = folder_identity(folder) else { continue };
            // Even where there is one already, at the cost of a system call: a new folder may have reused the inode of a removed one,
            // and two paths to one folder share a watch, which ends with either of them.
            match watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => self.count += u64::from(self.set.insert(folder.clone(), identity).is_none()),
                Err(error) => {
                    is_complete = false;
                    if !self.has_complained {
                        self.has_complained = true;
                        tracing::warn!(folder = %folder.display(), %error, "a folder cannot be watched; reading them every {RESCAN_UNWATCHED:?} instead");
                    }
                }
            }
        }
        is_complete
    }
}

/// Device, inode and creation time of a folder, as far as the system knows them.
type Identity = (u64, u64, Option<SystemTime>);

fn folder_identity(folder: &Path) -> Option<Identity> {
    let metadata = std::fs::metadata(folder).ok()?;
    #[cfg(unix)]
    let (device, inode) = {
        use std::os::unix::fs::MetadataExt;
        (metadata.dev(), metadata.ino())
    };
    #[cfg(not(unix))]
    let (device, inode) = (0, 0);
    Some((device, inode, metadata.created().ok()))
}
