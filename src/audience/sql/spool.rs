//! The rows of a query on their way from the database to the campaign: a file without a name, one JSON object a line.
//!
//! A campaign is sent over hours, and no database likes a transaction, or a reader that slow. So the rows are fetched as fast as they
//! come, and read from here while that goes on: no more than a block of them is in memory, and the connection ends when the query does.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::Ordering,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::super::{
    Blocker, Progress, ROW_MAX,
    columns::{Columns, Renamed},
    source::Failed,
    unreadable,
};

/// The most that one query may bring, bytes.
pub(super) const SPOOL_MAX: u64 = if cfg!(test) { 1 << 20 } else { 4 << 30 };
/// Written at a time, bytes; less where rows come slowly.
const CHUNK: usize = 64 * 1024;
/// How long a row waits for others to be written with.
const CHUNK_AFTER: Duration = Duration::from_millis(200);
/// The beginning and the end of the file's name, for the moment in which it has one: those of the files that a start removes.
const NAME: (&str, &str) = ("seen-rows-", ".tmp");

/// What both sides see.
struct Shared {
    file: File,
    state: Mutex<State>,
    changed: Condvar,
    /// The reader is gone.
    closed: CancellationToken,
}

#[derive(Default)]
struct State {
    /// Bytes that can be read.
    written: u64,
    /// Whether all was written, or why not.
    end: Option<Result<(), Blocker>>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is a single assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes rows.
pub(super) struct Sink {
    shared: Arc<Shared>,
    progress: Arc<Progress>,
    renamed: Renamed,
    columns: SyncSender<Result<Vec<String>, Blocker>>,
    chunk: Vec<u8>,
    offset: u64,
    flushed: Instant,
    place: String,
}

/// Gives rows: a reader that waits for those that are still to come.
pub(super) struct Spool {
    shared: Arc<Shared>,
    offset: u64,
}

/// Says the fields, once they are known.
pub(super) type Fields = Receiver<Result<Vec<String>, Blocker>>;

/// Both ends of a file in this folder, and what will say the fields. `place` is what is read, for messages.
pub(super) fn spool(folder: &Path, place: &str, renamed: &Renamed, progress: &Arc<Progress>) -> Result<(Sink, Spool, Fields), Blocker> {
    let file = unnamed(folder).map_err(|error| {
        unreadable(format!(
            "{}: no file can be made there for the rows of the query: {error}. Give Mailfleet a folder that it may write",
            folder.display()
        ))
    })?;
    let shared = Arc::new(Shared { file, state: Mutex::default(), changed: Condvar::new(), closed: CancellationToken::new() });
    let (columns, receiver) = sync_channel(1);
    let sink = Sink {
        shared: Arc::clone(&shared),
        progress: Arc::clone(progress),
        renamed: renamed.clone(),
        columns,
        chunk: Vec::new(),
        offset: 0,
        flushed: Instant::now(),
        place: place.to_owned(),
    };
    Ok((sink, Spool { shared, offset: 0 }, receiver))
}

fn unnamed(folder: &Path) -> io::Result<File> {
    let mut key = [0; 16];
    getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
    let path = folder.join(format!("{}{:032x}{}", NAME.0, u128::from_be_bytes(key), NAME.1));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

impl Sink {
    /// The columns that the query gives, in their order, as fields.
    pub fn begin(&mut self, names: Vec<Box<str>>) -> Result<Columns, Blocker> {
        if names.is_empty() {
            return Err(unreadable(format!("{}: the query gives no rows; write a SELECT with a column `email`", self.place)));
        }
        let columns = Columns::of(names, &self.renamed).map_err(|why| unreadable(format!("{}: of the query, {why}", self.place)))?;
        // Whoever waits for it may be gone.
        let _ = self.columns.send(Ok(columns.named().map(str::to_owned).collect()));
        Ok(columns)
    }

    /// Adds a row, a JSON object.
    pub fn row(&mut self, object: &str) -> Result<(), Blocker> {
        if object.len() > ROW_MAX {
            return Err(unreadable(format!("{}: a row of the query is longer than {ROW_MAX} bytes; select fewer columns", self.place)));
        }
        self.chunk.extend_from_slice(object.as_bytes());
        self.chunk.push(b'\n');
        if self.chunk.len() >= CHUNK || self.flushed.elapsed() >= CHUNK_AFTER { self.flush() } else { Ok(()) }
    }

    /// Writes what is there.
    fn flush(&mut self) -> Result<(), Blocker> {
        let length = self.chunk.len() as u64;
        if self.offset + length > SPOOL_MAX {
            let mib = SPOOL_MAX / 1024 / 1024;
            return Err(unreadable(format!("{}: the query gives more than {mib} MiB; select fewer columns or rows", self.place)));
        }
        self.shared.file.write_all_at(&self.chunk, self.offset).map_err(|error| {
            let place = &self.place;
            Blocker {
                needs_person: false,
                ..unreadable(format!("{place}: the rows of the query cannot be kept in the state folder: {error}"))
            }
        })?;
        self.chunk.clear();
        self.offset += length;
        self.flushed = Instant::now();
        self.shared.state().written = self.offset;
        self.shared.changed.notify_all();
        Ok(())
    }

    /// Nobody reads any more.
    pub fn closed(&self) -> CancellationToken {
        self.shared.closed.clone()
    }

    /// All rows are there, or no more will come.
    pub fn end(mut self, result: Result<(), Blocker>) {
        let result = result.and_then(|()| self.flush());
        if let Err(blocker) = &result {
            // Of no effect where the columns are known.
            let _ = self.columns.try_send(Err(blocker.clone()));
        }
        self.progress.total.store(self.offset, Ordering::Relaxed);
        self.shared.state().end = Some(result);
        self.shared.changed.notify_all();
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // A panic in a client must not leave a reader that waits for ever.
        self.shared
            .state()
            .end
            .get_or_insert_with(|| Err(Blocker::internal(crate::meta::Reason::AudienceUnreadable, "reading a database")));
        self.shared.changed.notify_all();
    }
}

impl Read for Spool {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.shared.state();
        let available = loop {
            match (state.written - self.offset, &state.end) {
                (0, Some(Ok(()))) => return Ok(0),
                (0, Some(Err(blocker))) => return Err(io::Error::other(Failed(blocker.clone()))),
                (0, None) => state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                (available, _) => break available,
            }
        };
        drop(state);
        let length = usize::try_from(available).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.shared.file.read_at(&mut buffer[..length], self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.shared.closed.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make() -> (Sink, Spool, Fields) {
        spool(&std::env::temp_dir(), "db/shop", &Renamed::new(), &Arc::default()).expect("a file")
    }

    fn rest(spool: &mut Spool) -> (String, Option<io::Error>) {
        let mut bytes = Vec::new();
        let error = spool.read_to_end(&mut bytes).err();
        (String::from_utf8(bytes).expect("text"), error)
    }

    #[test]
    fn rows_are_read_while_others_come() {
        let (mut sink, mut spool, columns) = make();
        sink.begin(vec!["Email".into(), "name".into()]).expect("columns");
        assert_eq!(columns.recv().expect("told").expect("columns"), ["email", "name"]);
        let writer = std::thread::spawn(move || {
            for number in 0..5000 {
                sink.row(&format!("{{\"email\":\"p{number}@example.com\"}}")).expect("a row");
            }
            sink.end(Ok(()));
        });
        let (text, error) = rest(&mut spool);
        writer.join().expect("written");
        assert_eq!((text.lines().count(), text.lines().next(), error.is_none()), (5000, Some("{\"email\":\"p0@example.com\"}"), true));
    }

    #[test]
    fn what_came_before_a_failure_is_read_and_then_it() {
        let (mut sink, mut spool, _columns) = make();
        sink.begin(vec!["email".into()]).expect("columns");
        sink.row("{}").expect("a row");
        sink.flush().expect("written");
        sink.end(Err(unreadable("cut off")));
        let (text, error) = rest(&mut spool);
        let failed = error.expect("a failure").into_inner().expect("of ours").downcast::<Failed>().expect("a blocker");
        assert_eq!((&*text, &*failed.0.message), ("{}\n", "cut off"));
        // Whoever waits for columns hears of it as well, and so does the reader of a client that panicked.
        let (sink, _spool, columns) = make();
        sink.end(Err(unreadable("no connection")));
        assert_eq!(columns.recv().expect("told").expect_err("a failure").message, "no connection");
        let (sink, mut spool, columns) = make();
        drop(sink);
        assert!(columns.recv().is_err() && rest(&mut spool).1.is_some());
    }

    #[test]
    fn what_a_query_brings_has_a_bound() {
        let (mut sink, spool, _columns) = make();
        sink.begin(vec!["email".into()]).expect("columns");
        assert!(sink.row(&"x".repeat(ROW_MAX + 1)).expect_err("too long").message.contains("longer than 1048576 bytes"));
        let row = format!("{{\"email\":\"{}@example.com\"}}", "x".repeat(1000));
        let full = (0..).find_map(|_| sink.row(&row).err()).expect("a bound");
        assert!(full.needs_person && full.message.contains("more than 1 MiB"), "{}", full.message);
        assert!(sink.offset <= SPOOL_MAX && !sink.closed().is_cancelled());
        let closed = sink.closed();
        drop(spool);
        assert!(closed.is_cancelled(), "whoever asks the database hears of it");
    }
}
