//! The thread that writes status files, so that the engine never waits for a disk.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::status::StatusFolder;
use crate::resources::Key;

/// Before a failed write is retried.
const AGAIN: Duration = Duration::from_secs(5);
/// Objects that are written together with one sync; each keeps a file open until then.
const BATCH_MAX: usize = 512;
/// Between two looks at whether everything is written.
const IDLE_CHECK: Duration = Duration::from_millis(5);
/// The least time to flush at the end of the process, for a slow disk.
const FLUSH_MIN: Duration = Duration::from_secs(30);

/// Makes the object that a file shows. Called on the thread, one object at a time: it can be many times larger than what it is made
/// of.
pub(crate) type Make = Box<dyn Fn() -> Value + Send>;

/// The wanted state of a file.
enum Wanted {
    /// It shows this object.
    Made(Make),
    /// It does not exist.
    Removed,
}

#[derive(Default)]
struct Queue {
    /// The newest wanted state of each object.
    wanted: BTreeMap<(&'static str, Key), Wanted>,
    is_busy: bool,
    is_closed: bool,
    /// No attempt before, because the last write failed.
    not_before: Option<Instant>,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Shared {
    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The handle to the thread. Dropping it writes what is left.
pub struct StatusWriter {
    folder: Arc<StatusFolder>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl StatusWriter {
    /// Starts the thread over an open folder.
    ///
    /// # Errors
    /// When the folder cannot be opened, or the system gives no thread.
    pub fn start(state_dir: &Path) -> io::Result<Self> {
        let folder = Arc::new(StatusFolder::open(state_dir)?);
        let shared = Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new() });
        let (its_folder, its_shared) = (folder.clone(), shared.clone());
        let thread = std::thread::Builder::new().name("statuses".to_owned()).spawn(move || work(&its_folder, &its_shared))?;
        Ok(Self { folder, shared, thread: Some(thread) })
    }

    /// Has an object's file written soon; of several calls the last one counts.
    pub(crate) fn write(&self, kind: &'static str, key: &Key, make: Make) {
        self.want(kind, key, Wanted::Made(make));
    }

    /// Has the file of a deleted object removed.
    pub(crate) fn remove(&self, kind: &'static str, key: &Key) {
        self.want(kind, key, Wanted::Removed);
    }

    fn want(&self, kind: &'static str, key: &Key, wanted: Wanted) {
        self.shared.queue().wanted.insert((kind, key.clone()), wanted);
        self.shared.changed.notify_one();
    }

    /// The folder that is written.
    pub(crate) fn folder(&self) -> &StatusFolder {
        &self.folder
    }

    /// Waits until everything is written, for `grace` at most, or what a slow disk may take.
    pub(crate) async fn flush(&self, grace: Duration) {
        let until = Instant::now() + grace.max(FLUSH_MIN);
        loop {
            let is_done = {
                let queue = self.shared.queue();
                // What cannot be written now has been tried, and is not waited for.
                !queue.is_busy && (queue.wanted.is_empty() || queue.not_before.is_some())
            };
            if is_done || Instant::now() >= until {
                return;
            }
            tokio::time::sleep(IDLE_CHECK).await;
        }
    }
}

impl Drop for StatusWriter {
    fn drop(&mut self) {
        self.shared.queue().is_closed = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic there was already reported.
            let _ = thread.join();
        }
    }
}

fn work(folder: &StatusFolder, shared: &Shared) {
    let mut is_failing = false;
    while let Some(batch) = next(shared) {
        let failed = write_batch(folder, batch);
        if let Some((kind, key, error)) = failed.first().map(|(id, _, error)| (id.0, &id.1, error)) {
            if !std::mem::replace(&mut is_failing, true) {
                tracing::error!(%error, kind, name = %key, count = failed.len(), "status files could not be written; retrying");
            }
        } else {
            is_failing = false;
        }
        let mut queue = shared.queue();
        queue.is_busy = false;
        queue.not_before = is_failing.then(|| Instant::now() + AGAIN);
        for (id, wanted, _) in failed {
            queue.wanted.entry(id).or_insert(wanted);
        }
    }
}

type Batch = Vec<((&'static str, Key), Wanted)>;

/// Waits for the next batch; none at the end.
fn next(shared: &Shared) -> Option<Batch> {
    let mut queue = shared.queue();
    loop {
        if queue.is_closed && (queue.wanted.is_empty() || queue.not_before.is_some()) {
            return None;
        }
        let pause = queue.not_before.map(|at| at.saturating_duration_since(Instant::now())).filter(|pause| !pause.is_zero());
        if queue.wanted.is_empty() || (pause.is_some() && !queue.is_closed) {
            let waited = shared.changed.wait_timeout(queue, pause.unwrap_or(AGAIN));
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
            continue;
        }
        queue.is_busy = true;
        let mut batch = Batch::new();
        while batch.len() < BATCH_MAX
            && let Some(entry) = queue.wanted.pop_first()
        {
            batch.push(entry);
        }
        return Some(batch);
    }
}

/// Writes and removes files; returns what failed, and why.
fn write_batch(folder: &StatusFolder, batch: Batch) -> Vec<((&'static str, Key), Wanted, io::Error)> {
    let mut failed = Vec::new();
    let mut made = Vec::new();
    for (id, wanted) in batch {
        match wanted {
            Wanted::Removed => {
                if let Err(error) = folder.remove(id.0, &id.1) {
                    failed.push((id, Wanted::Removed, error));
                }
            }
            Wanted::Made(make) => made.push((id, make)),
        }
    }
    let results = folder.write_all(made.iter().map(|((kind, key), make)| (*kind, key, make())));
    for ((id, make), result) in made.into_iter().zip(results) {
        if let Err(error) = result {
            failed.push((id, Wanted::Made(make), error));
        }
    }
    failed
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;
    use crate::source::files::folder_tests::Folder;

    #[tokio::test]
    async fn many_are_written_beside_whoever_asks_and_the_last_word_counts() {
        const COUNT: usize = 5000;
        let folder = Folder::new();
        let writer = StatusWriter::start(folder.path()).expect("it starts");
        let keys: Vec<Key> = (0..COUNT).map(|n| Key::new("acme", format!("plan-{n}"))).collect();
        let began = Instant::now();
        for state in ["Old", "New"] {
            for key in &keys {
                let name = key.name.to_string();
                writer.write("Plan", key, Box::new(move || json!({"metadata": {"name": name}, "status": {"state": state}})));
            }
        }
        let asked = began.elapsed();
        writer.flush(Duration::from_secs(1)).await;
        assert!(asked < Duration::from_secs(1), "whoever asks waits {asked:?}");
        let files = folder.at("status/acme/Plan");
        assert_eq!(fs::read_dir(&files).expect("the folder").count(), COUNT);
        for key in &keys {
            assert!(fs::read_to_string(files.join(format!("{}.yaml", key.name))).expect("a file").contains("New"), "{key}");
        }
        for key in &keys[1..] {
            writer.remove("Plan", key);
        }
        drop(writer);
        assert_eq!(fs::read_dir(&files).expect("the folder").count(), 1);
    }

    #[tokio::test]
    async fn what_could_not_be_written_is_written_later() {
        let folder = Folder::new();
        let writer = StatusWriter::start(folder.path()).expect("it starts");
        let key = Key::new("acme", "pro");
        // A file stands where the folder should be.
        folder.write("status/acme", "x");
        writer.write("Plan", &key, Box::new(|| json!({"status": {"state": "Active"}})));
        writer.flush(Duration::from_secs(1)).await;
        assert!(folder.at("status/acme").is_file());
        fs::remove_file(folder.at("status/acme")).expect("removed");
        let until = Instant::now() + AGAIN * 2;
        while !folder.at("status/acme/Plan/pro.yaml").exists() {
            assert!(Instant::now() < until, "it is not tried again");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
