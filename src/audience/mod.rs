//! Who is mailed: CSV, JSON Lines and inline lists, read as a stream and never held whole.
//!
//! A [`Reader`] is an iterator for a thread that may block. An unusable row comes out as [`Row::Bad`] with
//! its line, and reading goes on; a [`Blocker`] ends it. A source that ends too early is always an error, since
//! a silent end would look like a complete campaign.

mod address;
mod charset;
mod columns;
mod csv;
mod fields;
mod http;
mod json_lines;
mod login;
mod source;
pub mod sql;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

pub(crate) use address::is_atext;
pub use address::{Address, canonical};
pub use csv::Layout;
pub use fields::Fields;
pub(crate) use http::fetch;
pub use login::{Credential, Login};
pub use source::FileVersion;
pub(crate) use source::changed;

use crate::{
    egress::Egress,
    meta::{Blocker, Reason},
    providers::scrub::Scrubber,
};

/// The longest row, in bytes.
pub(crate) const ROW_MAX: usize = 1 << 20;

/// The longest audience that is counted ahead, in unpacked bytes.
const COUNT_MAX: u64 = 4 << 30;
/// Stored bytes from which on the size of the rest is estimated: buffers are ahead of the rows.
const ESTIMATE_FROM: u64 = 64 * 1024;

/// One person to mail.
#[derive(Clone, Debug)]
pub struct Recipient {
    /// Where the mail goes.
    pub address: Address,
    /// What templates may use; `email` is among them.
    pub fields: Fields,
}

impl Recipient {
    /// A recipient from what [`Fields::to_json`] wrote.
    ///
    /// # Errors
    /// As [`Fields::from_json`].
    pub fn from_json(text: &str) -> Result<Self, String> {
        let fields = Fields::from_json(text)?;
        Ok(Self { address: fields.address().clone(), fields })
    }
}

/// What a row turned out to be.
#[derive(Clone, Debug)]
pub enum Row {
    /// A usable row.
    Recipient(Recipient),
    /// An unusable row.
    Bad {
        /// The line where it starts, from 1; in an inline list, its position from 1.
        line: u64,
        /// What is wrong, without the row's data beyond what is needed to fix it.
        why: String,
    },
}

/// A file by the name that a campaign gives it. Symlinks in its path may be swapped at any time, as mounts of ConfigMaps and git-sync
/// do, so the name is resolved each time, by whoever created this.
#[derive(Clone)]
pub struct NamedFile {
    name: PathBuf,
    resolve: Arc<dyn Fn() -> Result<PathBuf, Blocker> + Send + Sync>,
}

impl NamedFile {
    /// A file known to users as `name`; `resolve` says where it is now, or why it must not be read.
    pub fn new(name: PathBuf, resolve: impl Fn() -> Result<PathBuf, Blocker> + Send + Sync + 'static) -> Self {
        Self { name, resolve: Arc::new(resolve) }
    }

    /// The name, for people.
    #[must_use]
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// Where it is now.
    ///
    /// # Errors
    /// When it is not there, or must not be read.
    pub fn resolve(&self) -> Result<PathBuf, Blocker> {
        (self.resolve)()
    }
}

impl fmt::Debug for NamedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NamedFile").field(&self.name).finish()
    }
}

/// Where the bytes are.
#[derive(Clone, Debug)]
pub enum Location {
    /// A file; nothing but a regular one is read.
    File(NamedFile),
    /// An http or https URL.
    Url(Remote),
    /// Bytes that are already in memory.
    Bytes(Arc<[u8]>),
}

/// An audience that is fetched.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Its http or https URL.
    pub url: String,
    /// Where connections may go.
    pub egress: Egress,
    /// What requests carry, where the URL needs it.
    pub login: Option<Login>,
}

/// What an audience is read with or from: when it is another one, an audience that could not be read may be readable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    /// When the file was last changed, and what else tells two of its states apart.
    File(FileVersion),
    /// The credential of a URL.
    Credential(Credential),
    /// What a database is reached with.
    Database(sql::Key),
}

/// An audience, resolved and allowed by the caller.
#[derive(Clone)]
pub enum Input {
    /// A table with a header line.
    Csv(Location, Layout),
    /// One JSON object per line.
    JsonLines(Location),
    /// A query of a database.
    Sql(Box<sql::Query>),
    /// None of its own: the people of another run, whom the ledger has.
    Recorded,
    /// Rows within the campaign itself.
    Inline(Vec<BTreeMap<String, serde_json::Value>>),
}

/// An audience that cannot be read, or not to its end, until a person fixes it. Messages hold no credentials and no query strings.
fn unreadable(message: impl Into<String>) -> Blocker {
    Blocker::lasting(Reason::AudienceUnreadable, message)
}

impl Input {
    /// A table as most are written: in UTF-8, with commas.
    #[must_use]
    pub fn csv(location: Location) -> Self {
        Self::Csv(location, Layout::default())
    }

    /// Whether it is on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        let is_url = matches!(self, Self::Csv(Location::Url(..), _) | Self::JsonLines(Location::Url(..)));
        !is_url && !matches!(self.database(), Some(sql::Database::Server(..)))
    }

    const fn location(&self) -> Option<&Location> {
        match self {
            Self::Csv(location, _) | Self::JsonLines(location) => Some(location),
            Self::Sql(_) | Self::Recorded | Self::Inline(_) => None,
        }
    }

    const fn database(&self) -> Option<&sql::Database> {
        if let Self::Sql(query) = self { Some(&query.database) } else { None }
    }

    /// The file that it is read from, where it is one.
    #[must_use]
    pub fn file(&self) -> Option<&NamedFile> {
        self.location().and_then(|location| if let Location::File(file) = location { Some(file) } else { None })
    }

    /// Whether [`Input::version`] may ever give one.
    #[must_use]
    pub fn has_version(&self) -> bool {
        match self.location() {
            None => self.database().is_some(),
            Some(Location::File(_)) => true,
            Some(Location::Url(remote)) => remote.login.is_some(),
            _ => false,
        }
    }

    /// What it would be read with or from now; none where that is missing, or has no version.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        match self.database() {
            Some(sql::Database::Server(access, _)) => return access.key().ok().map(Version::Database),
            Some(sql::Database::Sqlite(file)) => return FileVersion::of(file).map(Version::File),
            None => {}
        }
        match self.location()? {
            Location::File(file) => FileVersion::of(file).map(Version::File),
            Location::Url(remote) => remote.login.as_ref()?.credential().ok().map(Version::Credential),
            Location::Bytes(_) => None,
        }
    }
}

/// An audience that is being read, row by row. It blocks: keep it off the threads of the runtime.
pub struct Reader {
    rows: Rows,
    progress: Arc<Progress>,
    ended: bool,
    useless: Useless,
    /// Keeps the credentials out of what is quoted: whoever is asked for the audience may return them in it.
    scrubber: Scrubber,
}

/// Rows that bring nobody new. Beyond a bound they end the reading: an endless audience would otherwise be read forever.
#[derive(Debug, Default)]
pub(crate) struct Useless {
    useful: u64,
    useless: u64,
}

impl Useless {
    /// Useless rows that any audience may have.
    const MAX: u64 = 1_000_000;
    /// Longer ones count as several of this many bytes.
    const ROW: u64 = 1024;
    /// Beyond those, this many for each useful row.
    const FOR_EACH: u64 = 100;

    /// Counts a useful row.
    pub(crate) const fn useful(&mut self) {
        self.useful += 1;
    }

    /// Counts a useless row and its bytes, and says whether there are too many.
    pub(crate) const fn is_too_much(&mut self, bytes: u64) -> bool {
        self.useless += 1 + bytes / Self::ROW;
        self.useless > Self::MAX && self.useless / Self::FOR_EACH > self.useful
    }
}

/// The error of an audience with hardly any recipients; `what` says what its rows are.
pub(crate) fn endless(place: impl fmt::Display, what: &str) -> Blocker {
    unreadable(format!("{place}: more than {} rows {what}, and hardly any are usable; reading stopped, fix the audience", Useless::MAX))
}

/// Counts the rows of an audience, usable or not, except those of people who are `left_out`; `None` for a URL, which is not fetched
/// twice, when it cannot be read, and when it is longer than [`COUNT_MAX`]. Blocking: well within a second for a million rows where
/// nobody is left out, and some seconds where the rows have to be taken apart for that.
#[must_use]
pub fn count_rows(input: &Input, left_out: Option<impl Fn(&str) -> bool>, runtime: &tokio::runtime::Handle) -> Option<u64> {
    match input {
        Input::Inline(rows) if left_out.is_none() => return Some(rows.len() as u64),
        Input::Sql(_) | Input::Recorded | Input::Csv(Location::Url(..), _) | Input::JsonLines(Location::Url(..)) => return None,
        _ => {}
    }
    let mut reader = Reader::open(input, runtime).ok()?;
    let (mut rows, mut bytes) = (0, 0);
    loop {
        rows += match &left_out {
            None if reader.skip_row().ok()? => 1,
            None => break,
            Some(is_left_out) => match reader.next_row().ok()? {
                Some(Row::Recipient(recipient)) => u64::from(!is_left_out(recipient.address.as_str())),
                Some(Row::Bad { .. }) => 1,
                None => break,
            },
        };
        bytes += reader.source().map_or(0, source::Source::end_row);
        if bytes > COUNT_MAX {
            return None;
        }
    }
    Some(rows)
}

enum Rows {
    Csv(Box<csv::Table>),
    JsonLines(json_lines::Lines),
    /// Lines of which each has these fields.
    Sql(json_lines::Lines, Vec<String>),
    Inline(std::iter::Enumerate<std::vec::IntoIter<BTreeMap<String, serde_json::Value>>>),
}

/// How far the source is read: bytes as they are stored (compressed), or rows of a list.
#[derive(Debug, Default)]
struct Progress {
    done: AtomicU64,
    /// Bytes or rows in all; 0 when that is not known.
    total: AtomicU64,
}

impl Reader {
    /// Opens an audience; the header line of a table is read. `runtime` drives the network I/O of a URL.
    ///
    /// # Errors
    /// When the file or URL cannot be opened, or the header has no column `email`.
    pub fn open(input: &Input, runtime: &tokio::runtime::Handle) -> Result<Self, Blocker> {
        let (progress, scrubber) = (Arc::new(Progress::default()), Scrubber::default());
        let source = |location, charset| source::Source::open(location, charset, runtime, &progress, &scrubber);
        let table = |location, layout: &Layout| csv::Table::open(source(location, layout.charset)?, layout);
        let clean = |blocker: Blocker| Blocker { message: scrubber.scrub(&blocker.message).into_owned(), ..blocker };
        let rows = match input {
            Input::Csv(location, layout) => Rows::Csv(Box::new(table(location, layout).map_err(clean)?)),
            Input::JsonLines(location) => Rows::JsonLines(json_lines::Lines::new(source(location, None).map_err(clean)?)),
            Input::Sql(query) => {
                let opened = sql::open(query, runtime, &progress, &scrubber).map_err(clean)?;
                Rows::Sql(json_lines::Lines::new(source::Source::of(opened.rows, opened.place, &progress)), opened.fields)
            }
            Input::Recorded => Rows::Inline(Vec::new().into_iter().enumerate()),
            Input::Inline(rows) => {
                progress.total.store(rows.len() as u64, Ordering::Relaxed);
                Rows::Inline(rows.clone().into_iter().enumerate())
            }
        };
        Ok(Self { rows, progress, ended: false, useless: Useless::default(), scrubber })
    }

    /// The version of the file that is read, where it is one.
    #[must_use]
    pub fn version(&self) -> Option<FileVersion> {
        match &self.rows {
            Rows::Csv(table) => table.version(),
            Rows::JsonLines(lines) => lines.version(),
            Rows::Sql(..) | Rows::Inline(_) => None,
        }
    }

    /// The names of a table's columns, as templates read them; other sources have none that hold for every row.
    #[must_use]
    pub fn columns(&self) -> Option<Vec<&str>> {
        match &self.rows {
            Rows::Csv(table) => Some(table.columns().collect()),
            Rows::Sql(_, fields) => Some(fields.iter().map(String::as_str).collect()),
            Rows::JsonLines(_) | Rows::Inline(_) => None,
        }
    }

    /// How much of the source is read, in stored (compressed) bytes, or in rows of an inline list.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.progress.done.load(Ordering::Relaxed)
    }

    /// The number of recipients of the source in all, where it has brought this many so far; `None` when its size is unknown or little was read.
    #[must_use]
    pub fn estimate(&self, recipients: u64) -> Option<u64> {
        let (done, total) = (self.progress.done.load(Ordering::Relaxed), self.progress.total.load(Ordering::Relaxed));
        let estimate = u128::from(recipients) * u128::from(total.max(done)) / u128::from(done.max(1));
        (total > 0 && done >= ESTIMATE_FROM && recipients > 0).then(|| u64::try_from(estimate).unwrap_or(u64::MAX))
    }

    /// How much of the source is read, from 0 to 1, by its stored (compressed) size; `None` when the size is unknown.
    fn progress(&self) -> Option<f64> {
        let total = self.progress.total.load(Ordering::Relaxed);
        #[allow(clippy::cast_precision_loss)]
        (total > 0).then(|| (self.progress.done.load(Ordering::Relaxed) as f64 / total as f64).min(1.0))
    }

    /// The source of the rows; an inline list has none.
    const fn source(&mut self) -> Option<&mut source::Source> {
        match &mut self.rows {
            Rows::Csv(table) => Some(table.source()),
            Rows::JsonLines(lines) | Rows::Sql(lines, _) => Some(lines.source()),
            Rows::Inline(_) => None,
        }
    }

    /// Passes a row, and says whether there was one.
    fn skip_row(&mut self) -> Result<bool, Blocker> {
        match &mut self.rows {
            Rows::Csv(table) => table.skip_row(),
            Rows::JsonLines(lines) | Rows::Sql(lines, _) => lines.skip_row(),
            Rows::Inline(rows) => Ok(rows.next().is_some()),
        }
    }

    fn next_row(&mut self) -> Result<Option<Row>, Blocker> {
        match &mut self.rows {
            Rows::Csv(table) => table.next_row(),
            Rows::JsonLines(lines) | Rows::Sql(lines, _) => lines.next_row(),
            Rows::Inline(rows) => {
                let Some((index, row)) = rows.next() else { return Ok(None) };
                self.progress.done.fetch_add(1, Ordering::Relaxed);
                Ok(Some(json_lines::recipient(index as u64 + 1, row.into_iter().collect())))
            }
        }
    }
}

impl Iterator for Reader {
    type Item = Result<Row, Blocker>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let mut row = self.next_row().transpose();
        let bytes = self.source().map_or(0, source::Source::end_row);
        match &row {
            Some(Ok(Row::Recipient(_))) => self.useless.useful(),
            Some(Ok(Row::Bad { line, why })) if self.useless.is_too_much(bytes) => {
                let what = format!("cannot be used (the last, line {line}: {why})");
                let place = self.source().map_or("the audience", |source| source.place());
                row = Some(Err(endless(place, &what)));
            }
            _ => {}
        }
        match &mut row {
            Some(Ok(Row::Bad { why, .. })) => *why = self.scrubber.scrub(why).into_owned(),
            Some(Err(blocker)) => blocker.message = self.scrubber.scrub(&blocker.message).into_owned(),
            _ => {}
        }
        // After an error nothing that follows can be trusted.
        self.ended = !matches!(row, Some(Ok(_)));
        row
    }
}

/// The ledger keeps hashes of these words: what a plain table was called stays.
impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Csv(location, layout) if *layout == Layout::default() => f.debug_tuple("Csv").field(location).finish(),
            Self::Csv(location, layout) => f.debug_tuple("Csv").field(location).field(layout).finish(),
            Self::JsonLines(location) => f.debug_tuple("JsonLines").field(location).finish(),
            Self::Sql(query) => f.debug_tuple("Sql").field(query).finish(),
            Self::Recorded => f.write_str("Recorded"),
            Self::Inline(rows) => f.debug_tuple("Inline").field(rows).finish(),
        }
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("progress", &self.progress()).finish_non_exhaustive()
    }
}
