//! Bytes of a file, a URL or memory, unpacked on the fly: gzip and zstd are recognized by their first bytes.
//!
//! Only one block is in memory at a time. A body that ends before its Content-Length, a gzip file without its trailer
//! and a zstd frame that is cut off are errors.

use std::{
    fs::{File, Metadata},
    io::{self, BufRead, BufReader, Cursor, Read},
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::runtime::Handle;

use super::{Blocker, Location, NamedFile, Progress, charset::Decoded, http};
use crate::{providers::scrub::Scrubber, resources::Reason};

/// A file written this recently may be incomplete, or be written again within one tick of its clock.
const SETTLED_AFTER: Duration = Duration::from_secs(1);
/// The longest wait for a file to settle.
const SETTLE_MAX: Duration = Duration::from_secs(30);
/// Unpacked bytes without a row.
const WITHOUT_ROW_MAX: u64 = 64 * 1024 * 1024;
/// One read from the source, in bytes: a page, since each of many feeders holds one.
const BLOCK: usize = 4 * 1024;
/// The largest window of a zstd frame, as a power of two: 32 MiB. `zstd -19` needs 8 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 25;

/// An audience as unpacked bytes, one block at a time.
pub(super) struct Source {
    reader: Box<dyn BufRead + Send>,
    place: String,
    transient: bool,
    version: Option<FileVersion>,
    /// Unpacked bytes since the last row.
    of_row: u64,
}

impl Source {
    /// Opens it, in UTF-8 or in a charset; `scrubber` learns what must not be quoted.
    pub(super) fn open(
        location: &Location,
        charset: Option<&'static encoding_rs::Encoding>,
        runtime: &Handle,
        progress: &Arc<Progress>,
        scrubber: &Scrubber,
    ) -> Result<Self, Blocker> {
        Self::unpacked(open_raw(location, runtime, progress, scrubber)?, charset, progress)
    }

    /// The same of bytes that are open.
    fn unpacked(raw: Raw, charset: Option<&'static encoding_rs::Encoding>, progress: &Arc<Progress>) -> Result<Self, Blocker> {
        let Raw { reader, place, transient, version } = raw;
        let counted = Counted { reader, progress: Arc::clone(progress) };
        let reader = unpack(counted).map_err(|error| unreadable(&place, transient, &error))?;
        let mut source = Self { reader, place, transient, version, of_row: 0 };
        source.refuse_workbooks()?;
        match charset {
            Some(charset) => source.reader = Box::new(Decoded::new(source.reader, charset)),
            None => source.pass_byte_order_mark()?,
        }
        Ok(source)
    }

    /// What a reader brings, as if it were a file or an answer.
    #[cfg(any(test, fuzzing))]
    pub(super) fn fuzzed(
        reader: impl Read + Send + 'static,
        charset: Option<&'static encoding_rs::Encoding>,
        progress: &Arc<Progress>,
    ) -> Result<Self, Blocker> {
        let raw = Raw { reader: Box::new(reader), place: "audience".to_owned(), transient: false, version: None };
        Self::unpacked(raw, charset, progress)
    }

    /// What another reader brings: rows of a query or of a file of this version, which are already in UTF-8.
    pub(super) fn of(rows: impl Read + Send + 'static, place: String, version: Option<FileVersion>, progress: &Arc<Progress>) -> Self {
        let counted = Counted { reader: Box::new(rows), progress: Arc::clone(progress) };
        let reader = Box::new(BufReader::with_capacity(BLOCK, counted));
        Self { reader, place, transient: true, version, of_row: 0 }
    }

    /// Where it comes from, in words, without credentials.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// The version of the file, where it is one.
    pub(super) const fn version(&self) -> Option<FileVersion> {
        self.version
    }

    /// A row ends here: returns its bytes, with the blank lines before it.
    pub(super) const fn end_row(&mut self) -> u64 {
        std::mem::replace(&mut self.of_row, 0)
    }

    /// The next bytes; empty at the end.
    pub(super) fn fill(&mut self) -> Result<&[u8], Blocker> {
        if self.of_row > WITHOUT_ROW_MAX {
            let mib = WITHOUT_ROW_MAX / 1024 / 1024;
            return Err(super::unreadable(format!(
                "{}: {mib} MiB without a row (blank, or a single line); reading stopped, fix the audience",
                self.place
            )));
        }
        loop {
            // Twice, because the borrow of a loop's result would outlive the retry.
            match self.reader.fill_buf() {
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(&self.place, self.transient, &error)),
            }
        }
        self.reader.fill_buf().map_err(|error| unreadable(&self.place, self.transient, &error))
    }

    /// Consumes bytes of the last [`Source::fill`].
    pub(super) fn consume(&mut self, length: usize) {
        self.reader.consume(length);
        self.of_row += length as u64;
    }

    fn refuse_workbooks(&mut self) -> Result<(), Blocker> {
        let start = self.fill()?;
        let kind = match start {
            [b'P', b'K', 3, 4, ..] => {
                Some(("an Excel workbook (.xlsx) or another zip archive", "name it as `xlsx`, or save it as CSV (UTF-8)"))
            }
            [0xd0, 0xcf, 0x11, 0xe0, ..] => Some(("an old Excel workbook (.xls)", "save it as CSV (UTF-8)")),
            _ => None,
        };
        if let Some((kind, to_do)) = kind {
            return Err(super::unreadable(format!("{}: it is {kind}, not a table; {to_do}", self.place)));
        }
        Ok(())
    }

    fn pass_byte_order_mark(&mut self) -> Result<(), Blocker> {
        let start = self.fill()?;
        let charset = if start.starts_with(b"\xff\xfe") { "utf-16le" } else { "utf-16be" };
        if start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff") {
            return Err(super::unreadable(format!("{}: it is UTF-16; save it as UTF-8, or write `charset: {charset}`", self.place)));
        }
        if start.starts_with(b"\xef\xbb\xbf") {
            self.consume(3);
        }
        Ok(())
    }
}

/// The stored bytes of a location.
pub(super) struct Raw {
    /// The bytes.
    pub reader: Box<dyn Read + Send>,
    /// Where they come from, in words, without credentials.
    pub place: String,
    /// Whether what goes wrong may pass.
    transient: bool,
    /// The version of the file, where it is one.
    pub version: Option<FileVersion>,
}

impl Raw {
    /// What keeps it from being read.
    pub(super) fn failed(&self, error: &io::Error) -> Blocker {
        unreadable(&self.place, self.transient, error)
    }
}

/// Opens a location; `scrubber` learns what must not be quoted.
pub(super) fn open_raw(location: &Location, runtime: &Handle, progress: &Progress, scrubber: &Scrubber) -> Result<Raw, Blocker> {
    Ok(match location {
        Location::File(named) => {
            let file = open_file(named, progress)?;
            let version = Some(file.version);
            Raw { reader: Box::new(file), place: named.name().display().to_string(), transient: false, version }
        }
        Location::Url(remote) => {
            let (place, body) = http::open(remote, runtime, progress, scrubber)?;
            Raw { reader: Box::new(body), place, transient: true, version: None }
        }
        Location::Bytes(bytes) => {
            progress.total.store(bytes.len() as u64, Ordering::Relaxed);
            Raw { reader: Box::new(Cursor::new(Arc::clone(bytes))), place: "the audience".to_owned(), transient: false, version: None }
        }
    })
}

/// Identifies a version of a file: an edit in place gives another one, and so does another file under its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileVersion {
    device: u64,
    inode: u64,
    size: u64,
    modified_ns: i128,
    changed_ns: i128,
}

impl FileVersion {
    /// The version that currently has the name; none when there is no such file.
    #[must_use]
    pub fn of(file: &NamedFile) -> Option<Self> {
        std::fs::metadata(file.resolve().ok()?).ok().map(|metadata| Self::from_metadata(&metadata))
    }

    /// The version that is currently at a path.
    #[must_use]
    pub fn at(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|metadata| Self::from_metadata(&metadata))
    }

    fn from_metadata(metadata: &Metadata) -> Self {
        let ns = |seconds: i64, nanoseconds: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// How long it must stay unchanged before it is read; none when it is complete. A time in the future says nothing.
    fn settles_in(&self) -> Option<Duration> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let age = i128::try_from(now).unwrap_or(i128::MAX) - self.changed_ns;
        let left = SETTLED_AFTER.as_nanos().cast_signed() - age.max(0);
        (left > 0 && age > -SETTLED_AFTER.as_nanos().cast_signed()).then(|| Duration::from_nanos(u64::try_from(left).unwrap_or(0)))
    }
}

/// A file of which one version is read: after an edit, reading gives an error and no data.
struct OneVersion {
    file: File,
    version: FileVersion,
}

impl Read for OneVersion {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        // After the read: what an edit left in the buffer is not passed on. At the end as well.
        if FileVersion::from_metadata(&self.file.metadata()?) == self.version {
            return Ok(length);
        }
        Err(io::Error::other(Changed))
    }
}

/// Why what another reader brings ends too early.
#[derive(Debug)]
pub(super) struct Failed(pub Blocker);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Failed {}

/// The file was edited while it was read.
#[derive(Debug)]
struct Changed;

impl std::fmt::Display for Changed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("it changed while it was read")
    }
}

impl std::error::Error for Changed {}

/// The error of an audience that is no longer the one that was read.
pub(crate) fn changed(place: impl std::fmt::Display) -> Blocker {
    let message = format!("{place}: it changed while in use; it is read again from the start, and nobody is mailed twice");
    Blocker::passing(Reason::AudienceChanged, message)
}

fn unreadable(place: &str, transient: bool, error: &io::Error) -> Blocker {
    if error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Changed>) {
        return changed(place);
    }
    if let Some(Failed(blocker)) = error.get_ref().and_then(|error| error.downcast_ref()) {
        return blocker.clone();
    }
    let message = match error.kind() {
        io::ErrorKind::UnexpectedEof => format!("{place}: it ends too early; it was cut off in transit, or is still being written"),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => format!("{place}: it is corrupt ({error}); create or copy it again"),
        io::ErrorKind::PermissionDenied => format!("{place}: no permission to read it"),
        _ => format!("{place}: it cannot be read: {error}"),
    };
    Blocker { needs_person: !transient, ..super::unreadable(message) }
}

fn open_file(named: &NamedFile, progress: &Progress) -> Result<OneVersion, Blocker> {
    let name = named.name().display();
    let fail = |error: &io::Error| {
        if error.kind() == io::ErrorKind::NotFound {
            return Blocker::lasting(Reason::FileNotFound, format!("{name}: there is no such file"));
        }
        unreadable(&name.to_string(), false, error)
    };
    let began = Instant::now();
    loop {
        let path = named.resolve()?;
        // Checked before it is opened: a named pipe would block forever.
        let metadata = std::fs::metadata(&path).map_err(|error| fail(&error))?;
        if !metadata.is_file() {
            return Err(super::unreadable(format!("{name}: it is not a file")));
        }
        let file = File::open(&path).map_err(|error| fail(&error))?;
        let metadata = file.metadata().map_err(|error| fail(&error))?;
        let version = FileVersion::from_metadata(&metadata);
        match version.settles_in() {
            None => {
                progress.total.store(metadata.len(), Ordering::Relaxed);
                return Ok(OneVersion { file, version });
            }
            Some(_) if began.elapsed() > SETTLE_MAX => return Err(changed(name)),
            Some(left) => std::thread::sleep(left),
        }
    }
}

fn unpack(mut raw: Counted) -> io::Result<Box<dyn BufRead + Send>> {
    let mut magic = Vec::with_capacity(4);
    (&mut raw).take(4).read_to_end(&mut magic)?;
    let kind: [u8; 4] = std::array::from_fn(|i| magic.get(i).copied().unwrap_or(0));
    // The first block is short when it is only these bytes, so that the parsers never see a broken byte order mark.
    let packed = BufReader::with_capacity(BLOCK, Whole(Cursor::new(magic).chain(raw)));
    Ok(match kind {
        [0x1f, 0x8b, ..] => Box::new(BufReader::with_capacity(BLOCK, Whole(flate2::bufread::MultiGzDecoder::new(packed)))),
        // A frame, or a skippable frame as parallel compressors write first (RFC 8878, 3.1).
        [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Box::new(BufReader::with_capacity(BLOCK, Whole(decoder)))
        }
        _ => Box::new(packed),
    })
}

/// Reads until the block is full, so that a block is only short at the end.
struct Whole<R>(R);

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut length = 0;
        while length < buffer.len() {
            match self.0.read(&mut buffer[length..]) {
                Ok(0) => break,
                Ok(more) => length += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // What was read before an error is dropped: the error ends the reading anyway.
                Err(error) => return Err(error),
            }
        }
        Ok(length)
    }
}

/// Counts the stored bytes.
struct Counted {
    reader: Box<dyn Read + Send>,
    progress: Arc<Progress>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buffer)?;
        self.progress.done.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}
