//! Bytes of a file, a URL or memory, unpacked on the way: gzip and zstd are known by their first bytes.
//!
//! Only one block is in memory at a time. A body that ends before its Content-Length, a gzip file without its trailer
//! and a zstd frame that is cut off are errors.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Cursor, Read},
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use tokio::runtime::Handle;

use super::{AudienceError, Location, Progress, http};
use crate::resources::Reason;

/// One read from the source, in bytes.
const BLOCK: usize = 64 * 1024;
/// The largest window of a zstd frame, as a power of two: 32 MiB. `zstd -19` needs 8 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 25;

/// Unpacked bytes.
pub(super) struct Source {
    reader: Box<dyn BufRead + Send>,
    place: String,
    transient: bool,
}

impl Source {
    pub(super) fn open(location: &Location, runtime: &Handle, progress: &Arc<Progress>) -> Result<Self, AudienceError> {
        let (place, transient, raw): (String, bool, Box<dyn Read + Send>) = match location {
            Location::File(path) => (path.display().to_string(), false, Box::new(open_file(path, progress)?)),
            Location::Url(url, egress) => {
                let (place, body) = http::open(url, *egress, runtime, progress)?;
                (place, true, Box::new(body))
            }
            Location::Bytes(bytes) => {
                progress.total.store(bytes.len() as u64, Ordering::Relaxed);
                ("the audience".to_owned(), false, Box::new(Cursor::new(Arc::clone(bytes))))
            }
        };
        let counted = Counted { reader: raw, progress: Arc::clone(progress) };
        let reader = unpack(counted).map_err(|error| unreadable(&place, transient, &error))?;
        let mut source = Self { reader, place, transient };
        source.pass_byte_order_mark()?;
        Ok(source)
    }

    /// Where it comes from, in words, without credentials.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// The next bytes; empty at the end.
    pub(super) fn fill(&mut self) -> Result<&[u8], AudienceError> {
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

    /// Passes bytes of the last [`Source::fill`].
    pub(super) fn consume(&mut self, length: usize) {
        self.reader.consume(length);
    }

    fn pass_byte_order_mark(&mut self) -> Result<(), AudienceError> {
        let start = self.fill()?;
        if start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff") {
            return Err(AudienceError::unreadable(format!("{}: it is UTF-16; save it as UTF-8", self.place)));
        }
        if start.starts_with(b"\xef\xbb\xbf") {
            self.consume(3);
        }
        Ok(())
    }
}

fn unreadable(place: &str, transient: bool, error: &io::Error) -> AudienceError {
    let message = match error.kind() {
        io::ErrorKind::UnexpectedEof => format!("{place}: it ends too early; it was cut off on the way, or is still being written"),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => format!("{place}: it is damaged ({error}); make or copy it again"),
        io::ErrorKind::PermissionDenied => format!("{place}: no permission to read it"),
        _ => format!("{place}: it cannot be read: {error}"),
    };
    AudienceError { reason: Reason::AudienceUnreadable, transient, message }
}

fn open_file(path: &Path, progress: &Progress) -> Result<File, AudienceError> {
    let fail = |error: &io::Error| {
        if error.kind() == io::ErrorKind::NotFound {
            return AudienceError {
                reason: Reason::FileNotFound,
                transient: false,
                message: format!("{}: there is no such file", path.display()),
            };
        }
        unreadable(&path.display().to_string(), false, error)
    };
    // Asked before it is opened: a named pipe would block for ever.
    let metadata = std::fs::metadata(path).map_err(|error| fail(&error))?;
    if !metadata.is_file() {
        return Err(AudienceError::unreadable(format!("{}: it is not a file", path.display())));
    }
    progress.total.store(metadata.len(), Ordering::Relaxed);
    File::open(path).map_err(|error| fail(&error))
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
