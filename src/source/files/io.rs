//! Reading files that others may change at any moment.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Attempts to read a file that changes meanwhile.
const READS_MAX: usize = 5;

/// The bytes of one version of a file; none when there are more than `max`.
pub(crate) fn read_bounded(path: &Path, max: u64) -> io::Result<Option<Vec<u8>>> {
    for _ in 0..READS_MAX {
        // Asked before opening: opening a pipe would wait for a writer.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let file = File::open(path)?;
        let version =
            |metadata: &Metadata| (metadata.len(), metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec());
        let metadata = file.metadata()?;
        let before = version(&metadata);
        // With room for the end of the file to be seen; a size that is a lie is found when it is read.
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len().min(max) + 1).unwrap_or(0));
        (&file).take(max + 1).read_to_end(&mut bytes)?;
        if version(&file.metadata()?) == before {
            return Ok((bytes.len() as u64 <= max).then_some(bytes));
        }
    }
    Err(io::Error::other("it keeps changing"))
}

/// When a file was last written or renamed: `ctime`, since tools that copy files set the modification time.
pub(crate) fn written_at(file: &Path) -> Option<SystemTime> {
    let metadata = fs::metadata(file).ok()?;
    let since = Duration::new(u64::try_from(metadata.ctime()).ok()?, u32::try_from(metadata.ctime_nsec()).ok()?);
    Some(UNIX_EPOCH + since)
}

/// An I/O error in words that are the same on every system.
pub(crate) fn io_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "it does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "no permission; check the owner and mode".to_owned(),
        _ => error.to_string(),
    }
}
