//! Rows on their way from where they are fetched or taken apart to the campaign: a file without a name, one JSON object a line.
//!
//! A campaign is sent over hours, and no database likes a transaction, or a reader that slow; nor does an API keep a cursor for so long,
//! or a workbook lie still. So the rows are fetched as fast as they come, and read from here while that goes on: no more than a block of
//! them is in memory, and the connection ends when the rows do.

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

use super::{
    Blocker, Progress, ROW_MAX,
    columns::{Columns, Renamed},
    source::Failed,
    unreadable,
};
use crate::meta::Reason;

/// The most that one audience may bring, bytes.
const SPOOL_MAX: u64 = if cfg!(test) { 1 << 20 } else { 4 << 30 };
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

/// What the rows are those of, in messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words {
    /// What brings them: "the query".
    pub source: &'static str,
    /// Before what is wrong with its columns: "of the query, ".
    pub columns: &'static str,
    /// How a row gets shorter: "select fewer columns".
    pub shorter: &'static str,
    /// How there are fewer of them: "select fewer columns or rows".
    pub fewer: &'static str,
    /// What happens on the thread: "reading a database".
    pub doing: &'static str,
}

/// What is known of rows before the first of them.
#[derive(Debug)]
pub(super) struct Head {
    /// The names of their fields, where every row has the same.
    pub fields: Option<Vec<String>>,
    /// Where they come from, for messages.
    pub place: String,
    /// The sheet of a workbook.
    pub sheet: Option<String>,
}

/// Takes rows.
pub(super) struct Sink {
    shared: Arc<Shared>,
    progress: Arc<Progress>,
    renamed: Renamed,
    head: SyncSender<Result<Head, Blocker>>,
    chunk: Vec<u8>,
    offset: u64,
    flushed: Instant,
    place: String,
    sheet: Option<String>,
    words: Words,
    /// Whether its rows are no recipients.
    takes_any: bool,
}

/// Gives rows: a reader that waits for those that are still to come.
pub(super) struct Spool {
    shared: Arc<Shared>,
    offset: u64,
}

/// Opens a file in this folder, and has its rows brought on a thread of its own, since what is asked may keep it waiting. It blocks
/// until the head is known. `place` is what is read, for messages.
pub(super) fn start(
    folder: &Path,
    (place, words): (&str, Words),
    renamed: &Renamed,
    progress: &Arc<Progress>,
    work: impl FnOnce(&mut Sink) -> Result<(), Blocker> + Send + 'static,
) -> Result<(Head, Spool), Blocker> {
    let (mut sink, spool, head) = open(folder, (place, words), renamed, progress)?;
    let thread = std::thread::Builder::new().name("audience-rows".to_owned()).stack_size(1 << 20);
    let started = thread.spawn(move || {
        let result = work(&mut sink);
        sink.end(result);
    });
    started.map_err(|error| Blocker { needs_person: false, ..unreadable(format!("{place}: no thread can be started: {error}")) })?;
    let head = head.recv().unwrap_or_else(|_| Err(Blocker::internal(Reason::AudienceUnreadable, words.doing)))?;
    Ok((head, spool))
}

/// Says the head, once it is known.
type Told = Receiver<Result<Head, Blocker>>;

/// Both ends of a file in this folder, and what will say the head.
fn open(folder: &Path, (place, words): (&str, Words), renamed: &Renamed, progress: &Arc<Progress>) -> Result<(Sink, Spool, Told), Blocker> {
    let shared = Arc::new(Shared {
        file: unnamed(folder).map_err(|error| no_file(folder, &error))?,
        state: Mutex::default(),
        changed: Condvar::new(),
        closed: CancellationToken::new(),
    });
    let (head, receiver) = sync_channel(1);
    let sink = Sink {
        shared: Arc::clone(&shared),
        progress: Arc::clone(progress),
        renamed: renamed.clone(),
        head,
        chunk: Vec::new(),
        offset: 0,
        flushed: Instant::now(),
        place: place.to_owned(),
        sheet: None,
        words,
        takes_any: false,
    };
    Ok((sink, Spool { shared, offset: 0 }, receiver))
}

/// Said where there can be no file in a folder.
pub(super) fn no_file(folder: &Path, error: &io::Error) -> Blocker {
    unreadable(format!(
        "{}: no file can be made there for the rows of the audience: {error}. Give Mailfleet a folder that it may write",
        folder.display()
    ))
}

/// A file of this folder that nobody else finds, and that is gone with the process.
pub(super) fn unnamed(folder: &Path) -> io::Result<File> {
    let mut key = [0; 16];
    getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
    let path = folder.join(format!("{}{:032x}{}", NAME.0, u128::from_be_bytes(key), NAME.1));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

impl Sink {
    /// The rows are those of this sheet.
    pub fn set_sheet(&mut self, name: &str) {
        self.place = format!("{}, sheet \"{name}\"", self.place);
        self.sheet = Some(name.to_owned());
    }

    /// Its rows are no recipients: they need no address.
    pub fn take_any(&mut self) {
        self.takes_any = true;
    }

    /// What is read, for messages.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The columns, in their order, as fields.
    pub fn begin(&mut self, names: Vec<Box<str>>) -> Result<Columns, Blocker> {
        if self.takes_any {
            let columns = Columns::of_any(names);
            self.say(None);
            return Ok(columns);
        }
        let (place, Words { columns, .. }) = (&self.place, self.words);
        let columns = Columns::of(names, &self.renamed).map_err(|why| unreadable(format!("{place}: {columns}{why}")))?;
        self.say(Some(columns.named().map(str::to_owned).collect()));
        Ok(columns)
    }

    /// The rows that follow have fields of their own.
    pub fn begin_without_columns(&mut self) {
        self.say(None);
    }

    fn say(&self, fields: Option<Vec<String>>) {
        // Whoever waits for it may be gone, and hears it once.
        let _ = self.head.try_send(Ok(Head { fields, place: self.place.clone(), sheet: self.sheet.clone() }));
    }

    /// Adds a row, a JSON object.
    pub fn row(&mut self, object: &str) -> Result<(), Blocker> {
        let (place, Words { source, shorter, .. }) = (&self.place, self.words);
        if object.len() > ROW_MAX {
            return Err(unreadable(format!("{place}: a row of {source} is longer than {ROW_MAX} bytes; {shorter}")));
        }
        self.chunk.extend_from_slice(object.as_bytes());
        self.pass()
    }

    /// Passes over a row, which still counts as one.
    pub fn pass(&mut self) -> Result<(), Blocker> {
        self.chunk.push(b'\n');
        if self.chunk.len() >= CHUNK || self.flushed.elapsed() >= CHUNK_AFTER { self.flush() } else { Ok(()) }
    }

    /// Writes what is there.
    pub fn flush(&mut self) -> Result<(), Blocker> {
        let length = self.chunk.len() as u64;
        let (place, Words { source, fewer, .. }) = (&self.place, self.words);
        if self.offset + length > SPOOL_MAX {
            let mib = SPOOL_MAX / 1024 / 1024;
            return Err(unreadable(format!("{place}: {source} returns more than {mib} MiB; {fewer}")));
        }
        self.shared.file.write_all_at(&self.chunk, self.offset).map_err(|error| Blocker {
            needs_person: false,
            ..unreadable(format!("{place}: the rows of {source} cannot be kept in the state folder: {error}"))
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
    fn end(mut self, result: Result<(), Blocker>) {
        let result = result.and_then(|()| self.flush());
        if let Err(blocker) = &result {
            // Of no effect where the head is known.
            let _ = self.head.try_send(Err(blocker.clone()));
        }
        self.progress.total.store(self.offset, Ordering::Relaxed);
        self.shared.state().end = Some(result);
        self.shared.changed.notify_all();
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // A panic on the thread must not leave a reader that waits for ever.
        let doing = self.words.doing;
        self.shared.state().end.get_or_insert_with(|| Err(Blocker::internal(Reason::AudienceUnreadable, doing)));
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

    const WORDS: Words = Words {
        source: "the query",
        columns: "of the query, ",
        shorter: "select fewer columns",
        fewer: "select fewer columns or rows",
        doing: "reading a database",
    };

    fn make() -> (Sink, Spool, Told) {
        open(&std::env::temp_dir(), ("db/shop", WORDS), &Renamed::new(), &Arc::default()).expect("a file")
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
        assert_eq!(columns.recv().expect("told").expect("columns").fields.expect("names"), ["email", "name"]);
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
