//! Who is mailed: tables, workbooks, JSON, queries and inline lists, read as a stream and never held whole.
//!
//! A [`Reader`] is an iterator for a thread that may block. An unusable row comes out as [`Row::Bad`] with
//! its line, and reading goes on; a [`Blocker`] ends it. A source that ends too early is always an error, since
//! a silent end would look like a complete campaign.

mod address;
mod charset;
mod columns;
mod csv;
mod fields;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod http;
mod input;
mod json_lines;
mod login;
pub mod pages;
mod source;
mod spool;
pub mod sql;
pub mod xlsx;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
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
pub use input::{Input, Location, NamedFile, Remote, Version};
pub use login::{Credential, Login};
pub use source::FileVersion;
pub(crate) use source::changed;

use crate::{
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
        /// The line where it starts, from 1; in an inline list, its position from 1; and what else a [`Unit`] counts.
        line: u64,
        /// What is wrong, without the row's data beyond what is needed to fix it.
        why: String,
    },
}

/// An audience that cannot be read, or not to its end, until a person fixes it. Messages hold no credentials and no query strings.
fn unreadable(message: impl Into<String>) -> Blocker {
    Blocker::lasting(Reason::AudienceUnreadable, message)
}

/// What the number of a row counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// Lines of a text, or rows of a list or query.
    #[default]
    Line,
    /// Rows of a sheet of this name.
    Row(String),
    /// Items of a list of JSON.
    Item,
}

impl Unit {
    /// Where a row is, in words.
    #[must_use]
    pub fn at(&self, number: u64) -> String {
        match self {
            Self::Line => format!("line {number}"),
            Self::Row(sheet) => format!("sheet \"{sheet}\", row {number}"),
            Self::Item => format!("item {number}"),
        }
    }

    /// A row, in a word.
    const fn word(&self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Row(_) => "row",
            Self::Item => "item",
        }
    }
}

/// An audience that is being read, row by row. It blocks: keep it off the threads of the runtime.
pub struct Reader {
    rows: Rows,
    unit: Unit,
    progress: Arc<Progress>,
    ended: bool,
    useless: Useless,
    /// Keeps the credentials out of what is quoted: whoever is asked for the audience may return them in it.
    scrubber: Scrubber,
}

/// Rows that bring nobody new. Beyond a bound they end the reading: an endless audience would otherwise be read forever.
#[derive(Debug)]
pub(crate) struct Useless {
    useful: u64,
    others: u64,
    /// Useless rows that the audience may have whatever else it has.
    pub(crate) max: u64,
}

impl Default for Useless {
    fn default() -> Self {
        Self { useful: 0, others: 0, max: Self::MAX }
    }
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
        self.others += 1 + bytes / Self::ROW;
        self.others > self.max && self.others / Self::FOR_EACH > self.useful
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
        Input::Sql(_) | Input::Recorded => return None,
        input if input.remote().is_some() => return None,
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
    /// Lines of a spool, of which each has these fields, where that is known.
    Spooled(json_lines::Lines, Option<Vec<String>>),
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
        let spooled = |(head, rows): (spool::Head, spool::Spool), unit: Unit, version| {
            let source = source::Source::of(rows, head.place, version, &progress);
            (Rows::Spooled(json_lines::Lines::new(source, unit.word()), head.fields), unit)
        };
        let (rows, unit) = match input {
            Input::Csv(location, layout) => (Rows::Csv(Box::new(table(location, layout).map_err(clean)?)), Unit::Line),
            Input::Xlsx(sheet) => {
                let (head, rows, version) = xlsx::open(sheet, runtime, &progress, &scrubber).map_err(clean)?;
                let unit = Unit::Row(head.sheet.clone().unwrap_or_default());
                spooled((head, rows), unit, version)
            }
            Input::JsonLines(location) => {
                let unit = Unit::Line;
                (Rows::JsonLines(json_lines::Lines::new(source(location, None).map_err(clean)?, unit.word())), unit)
            }
            Input::Json(pages) => spooled(pages::open(pages, runtime, &progress, &scrubber).map_err(clean)?, Unit::Item, None),
            Input::Sql(query) => spooled(sql::open(query, runtime, &progress, &scrubber).map_err(clean)?, Unit::Line, None),
            Input::Recorded => (Rows::Inline(Vec::new().into_iter().enumerate()), Unit::Line),
            Input::Inline(rows) => {
                progress.total.store(rows.len() as u64, Ordering::Relaxed);
                (Rows::Inline(rows.clone().into_iter().enumerate()), Unit::Line)
            }
        };
        Ok(Self { rows, unit, progress, ended: false, useless: Useless::default(), scrubber })
    }

    /// What the numbers of its rows count.
    #[must_use]
    pub const fn unit(&self) -> &Unit {
        &self.unit
    }

    /// The version of the file that is read, where it is one.
    #[must_use]
    pub fn version(&self) -> Option<FileVersion> {
        match &self.rows {
            Rows::Csv(table) => table.version(),
            Rows::JsonLines(lines) | Rows::Spooled(lines, _) => lines.version(),
            Rows::Inline(_) => None,
        }
    }

    /// The names of a table's columns, as templates read them; other sources have none that hold for every row.
    #[must_use]
    pub fn columns(&self) -> Option<Vec<&str>> {
        match &self.rows {
            Rows::Csv(table) => Some(table.columns().collect()),
            Rows::Spooled(_, Some(fields)) => Some(fields.iter().map(String::as_str).collect()),
            Rows::JsonLines(_) | Rows::Spooled(_, None) | Rows::Inline(_) => None,
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
            Rows::JsonLines(lines) | Rows::Spooled(lines, _) => Some(lines.source()),
            Rows::Inline(_) => None,
        }
    }

    /// Passes a row, and says whether there was one.
    fn skip_row(&mut self) -> Result<bool, Blocker> {
        match &mut self.rows {
            Rows::Csv(table) => table.skip_row(),
            Rows::JsonLines(lines) | Rows::Spooled(lines, _) => lines.skip_row(),
            Rows::Inline(rows) => Ok(rows.next().is_some()),
        }
    }

    fn next_row(&mut self) -> Result<Option<Row>, Blocker> {
        match &mut self.rows {
            Rows::Csv(table) => table.next_row(),
            Rows::JsonLines(lines) | Rows::Spooled(lines, _) => lines.next_row(),
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
                let what = format!("cannot be used (the last, {}: {why})", self.unit.at(*line));
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

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("progress", &self.progress()).finish_non_exhaustive()
    }
}
