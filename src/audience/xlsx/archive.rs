//! A zip archive, as far as a workbook is one: the directory at its end, and parts that are stored or deflated.
//!
//! Nothing is believed of a part but what it turns out to be: its directory entry is a bound, and the bytes that come are counted and
//! summed up.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufReader, Read},
    os::unix::fs::FileExt as _,
    sync::Arc,
};

use flate2::{Crc, read::DeflateDecoder};

/// The largest archive, bytes.
pub(super) const ARCHIVE_MAX: u64 = if cfg!(test) { 1 << 20 } else { 256 << 20 };
/// The most parts, and the most bytes that their directory takes: workbooks have some dozens.
const PARTS_MAX: u64 = 10_000;
const DIRECTORY_MAX: u64 = 4 << 20;
/// The end of the directory without its comment, and with the longest.
const END: usize = 22;
const END_MAX: u64 = END as u64 + 0xffff;
/// What is read of a part at a time, bytes.
const BLOCK: usize = 16 << 10;

/// Why an archive cannot be read, in words after its name.
#[derive(Debug)]
pub(super) enum Fault {
    /// It is not as it should be, or too large.
    Unusable(String),
    /// The file cannot be read.
    Io(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn corrupt(what: &str) -> Fault {
    Fault::Unusable(format!("the workbook is corrupt ({what}); save it again"))
}

/// A part, as the directory has it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    header: u64,
    packed: u64,
    unpacked: u64,
    method: u16,
    crc: u32,
    is_encrypted: bool,
}

/// An archive whose directory was read.
#[derive(Debug)]
pub(super) struct Archive {
    file: Arc<File>,
    length: u64,
    /// By the name in lower case, without a slash at its beginning: some programs write other cases than they refer to.
    entries: HashMap<String, Entry>,
}

/// Fixed numbers of a header, little-endian.
fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let mut all = [0; 8];
    all[..N].copy_from_slice(bytes.get(at..at + N)?);
    Some(u64::from_le_bytes(all))
}

impl Archive {
    /// Reads the directory.
    pub fn open(file: File, length: u64) -> Result<Self, Fault> {
        let file = Arc::new(file);
        let tail_at = length.saturating_sub(END_MAX);
        let tail = read_at(&file, tail_at, length - tail_at)?;
        let end = tail.len().checked_sub(END).and_then(|last| (0..=last).rev().find(|at| tail[*at..].starts_with(b"PK\x05\x06")));
        let end = end.ok_or_else(|| corrupt("its end is missing"))?;
        let (mut count, mut size, mut at) = (number::<2>(&tail, end + 10), number::<4>(&tail, end + 12), number::<4>(&tail, end + 16));
        if count == Some(0xffff) || size == Some(0xffff_ffff) || at == Some(0xffff_ffff) {
            // Beyond what these fields hold, or by a program that always writes the longer form.
            let locator = end.checked_sub(20).filter(|at| tail[*at..].starts_with(b"PK\x06\x07"));
            let long_at = locator.and_then(|at| number::<8>(&tail, at + 8)).ok_or_else(|| corrupt("its directory is not found"))?;
            let long = read_at(&file, long_at, 56.min(length.saturating_sub(long_at)))?;
            if !long.starts_with(b"PK\x06\x06") {
                return Err(corrupt("its directory is not found"));
            }
            (count, size, at) = (number::<8>(&long, 32), number::<8>(&long, 40), number::<8>(&long, 48));
        }
        let (Some(count), Some(size), Some(at)) = (count, size, at) else { return Err(corrupt("its directory is not found")) };
        if count > PARTS_MAX || size > DIRECTORY_MAX {
            return Err(Fault::Unusable(format!(
                "it has {count} parts, and at most {PARTS_MAX} are allowed; no spreadsheet program wrote it"
            )));
        }
        let directory = read_at(&file, at, size)?;
        let entries = entries(&directory, count).ok_or_else(|| corrupt("its directory cannot be read"))?;
        Ok(Self { file, length, entries })
    }

    /// Whether there is such a part.
    pub fn has(&self, name: &str) -> bool {
        self.entries.contains_key(&plain(name))
    }

    /// Opens a part of at most so many unpacked bytes.
    pub fn part(&self, name: &str, max: u64) -> Result<Part, Fault> {
        let entry = self.entries.get(&plain(name)).ok_or_else(|| corrupt(&format!("it has no part `{name}`")))?;
        if entry.is_encrypted {
            return Err(Fault::Unusable("it is protected by a password; save it without one".to_owned()));
        }
        if entry.unpacked > max {
            return Err(too_large(name, max));
        }
        let header = read_at(&self.file, entry.header, 30.min(self.length.saturating_sub(entry.header)))?;
        let lengths = number::<2>(&header, 26).zip(number::<2>(&header, 28)).filter(|_| header.starts_with(b"PK\x03\x04"));
        let (name_length, extra_length) = lengths.ok_or_else(|| corrupt("a part is not where its directory says"))?;
        let at = entry.header + 30 + name_length + extra_length;
        let packed = Packed { file: Arc::clone(&self.file), at, left: entry.packed.min(self.length.saturating_sub(at)) };
        let reader: Box<dyn Read + Send> = match entry.method {
            0 => Box::new(packed),
            8 => Box::new(DeflateDecoder::new(BufReader::with_capacity(BLOCK, packed))),
            other => return Err(corrupt(&format!("a part is packed by method {other}"))),
        };
        Ok(Part { reader, left: entry.unpacked, crc: Crc::new(), wanted: entry.crc })
    }
}

/// The error of a part that is too large, or was packed to be.
pub(super) fn too_large(name: &str, max: u64) -> Fault {
    Fault::Unusable(format!("unpacked, its part `{name}` has more than {} MiB; save the sheet as CSV", max >> 20))
}

fn plain(name: &str) -> String {
    name.trim_start_matches('/').to_ascii_lowercase()
}

fn read_at(file: &File, at: u64, length: u64) -> Result<Vec<u8>, Fault> {
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, at).map_err(|_| corrupt("it ends too early"))?;
    Ok(bytes)
}

/// The entries of a directory.
fn entries(directory: &[u8], count: u64) -> Option<HashMap<String, Entry>> {
    let (mut entries, mut rest) = (HashMap::new(), directory);
    for _ in 0..count {
        if !rest.starts_with(b"PK\x01\x02") {
            return None;
        }
        let short = |at| number::<2>(rest, at);
        let long = |at| number::<4>(rest, at);
        let (flags, method, crc) = (short(8)?, short(10)?, long(16)?);
        let (mut packed, mut unpacked, mut header) = (long(20)?, long(24)?, long(42)?);
        let name_length = usize::try_from(short(28)?).ok()?;
        let extra_length = usize::try_from(short(30)?).ok()?;
        let comment_length = usize::try_from(short(32)?).ok()?;
        let name = String::from_utf8_lossy(rest.get(46..46 + name_length)?).into_owned();
        let extra = rest.get(46 + name_length..46 + name_length + extra_length)?;
        let mut longer = longer(extra);
        for field in [&mut unpacked, &mut packed, &mut header] {
            if *field == 0xffff_ffff {
                *field = number::<8>(longer, 0)?;
                longer = &longer[8..];
            }
        }
        let entry = Entry {
            header,
            packed,
            unpacked,
            method: u16::try_from(method).ok()?,
            crc: u32::try_from(crc).ok()?,
            is_encrypted: flags & 1 != 0,
        };
        entries.insert(plain(&name.replace('\\', "/")), entry);
        rest = rest.get(46 + name_length + extra_length + comment_length..)?;
    }
    Some(entries)
}

/// The numbers that did not fit into the header (ZIP64).
fn longer(mut extra: &[u8]) -> &[u8] {
    while let (Some(id), Some(length)) = (number::<2>(extra, 0), number::<2>(extra, 2)) {
        let end = 4 + usize::try_from(length).unwrap_or(usize::MAX - 4);
        let Some(field) = extra.get(4..end) else { break };
        if id == 1 {
            return field;
        }
        extra = &extra[end..];
    }
    &[]
}

/// The packed bytes of a part.
struct Packed {
    file: Arc<File>,
    at: u64,
    left: u64,
}

impl Read for Packed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(&mut buffer[..length], self.at)?;
        self.at += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

/// A part as it is unpacked: exactly the bytes that the directory has, or an error.
pub(super) struct Part {
    reader: Box<dyn Read + Send>,
    left: u64,
    crc: Crc,
    wanted: u32,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.crc.update(&buffer[..read]);
        match self.left.checked_sub(read as u64) {
            None => Err(io::Error::new(io::ErrorKind::InvalidData, "a part is longer than the directory says")),
            Some(left) if read == 0 && !buffer.is_empty() && (left > 0 || self.crc.sum() != self.wanted) => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "a part is not the one that was packed"))
            }
            Some(left) => {
                self.left = left;
                Ok(read)
            }
        }
    }
}
