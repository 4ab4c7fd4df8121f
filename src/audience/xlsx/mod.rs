//! A sheet of an Excel workbook as an audience: its first row names the columns.
//!
//! A workbook is a zip archive of XML, and may come from anybody: a megabyte may unpack to a terabyte, and one attribute may claim
//! a billion texts. So it is read as a stream, from a copy in a file without a name: parts are bounded by what their directory says and
//! by what comes, the texts that cells share lie in a second file, and rows go through a [`spool`]. What is in memory is one row.

mod archive;
mod cells;
mod number;
mod texts;
mod workbook;
mod xml;

use std::{
    fs::File,
    io::{self, Read, Seek as _, Write as _},
    path::PathBuf,
    sync::Arc,
};

use serde_json::{Map, Value};
use tokio::runtime::Handle;

use self::{
    archive::{ARCHIVE_MAX, Archive, Fault},
    cells::{Row, Rows},
    texts::Texts,
    workbook::Workbook,
};
use super::{
    Blocker, Location, Progress,
    columns::Renamed,
    source::{self, FileVersion},
    spool::{self, Head, Sink, Spool, Words},
    unreadable,
};
use crate::providers::scrub::Scrubber;

/// A sheet to read.
#[derive(Clone, Debug)]
pub struct Sheet {
    /// Where the workbook is.
    pub location: Location,
    /// The sheet's name; the first that is not hidden when absent.
    pub name: Option<String>,
    /// Columns whose header is not the name of the field.
    pub columns: Renamed,
    /// Where rows are kept while they are read.
    pub folder: Folder,
}

/// A folder for files without a name. It prints as nothing: where rows are kept is not part of what is read.
#[derive(Clone)]
pub struct Folder(pub PathBuf);

impl std::fmt::Debug for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("-")
    }
}

/// How messages speak of a workbook.
const WORDS: Words = Words {
    source: "the sheet",
    columns: "",
    shorter: "shorten it, or remove columns",
    fewer: "remove columns or rows",
    doing: "reading a workbook",
};

/// Opens a workbook, and returns once the columns of its sheet are known. It blocks. `scrubber` learns what must not be quoted.
pub(super) fn open(
    sheet: &Sheet,
    runtime: &Handle,
    progress: &Arc<Progress>,
    scrubber: &Scrubber,
) -> Result<(Head, Spool, Option<FileVersion>), Blocker> {
    let folder = &sheet.folder.0;
    // Of the copy nobody wants to know how far it is.
    let raw = source::open_raw(&sheet.location, runtime, &Progress::default(), scrubber)?;
    let (place, version) = (raw.place.clone(), raw.version);
    let unnamed = || spool::unnamed(folder).map_err(|error| spool::no_file(folder, &error));
    let (copy, length) = copied(raw, unnamed()?)?;
    let texts = unnamed()?;
    let wanted = sheet.name.clone();
    let work = move |sink: &mut Sink| {
        let place = sink.place().to_owned();
        read(sink, (copy, length), texts, wanted.as_deref()).map_err(|stop| match stop {
            Stop::Blocked(blocker) => blocker,
            Stop::Fault(Fault::Unusable(why)) => unreadable(format!("{place}: {why}")),
            Stop::Fault(Fault::Io(error)) => Blocker { needs_person: false, ..unreadable(format!("{place}: it cannot be read: {error}")) },
        })
    };
    let (head, rows) = spool::start(folder, (&place, WORDS), &sheet.columns, progress, work)?;
    Ok((head, rows, version))
}

/// Copies a workbook into a file, if it is one.
fn copied(mut raw: source::Raw, mut file: File) -> Result<(File, u64), Blocker> {
    let mut start = Vec::new();
    (&mut raw.reader).take(8).read_to_end(&mut start).map_err(|error| raw.failed(&error))?;
    let is_old = start.starts_with(&[0xd0, 0xcf, 0x11, 0xe0]);
    if !is_old && !start.starts_with(b"PK") {
        let what = match &start[..] {
            [] => "it is empty",
            [b'<', ..] => "it is an HTML or XML page, not a workbook; perhaps a login or error page",
            _ => "it is not an Excel workbook (.xlsx); if it is a text table, name it as `csv`",
        };
        return Err(unreadable(format!("{}: {what}", raw.place)));
    }
    let kept = |error: io::Error| Blocker {
        needs_person: false,
        ..unreadable(format!("{}: the workbook cannot be kept in the state folder: {error}", raw.place))
    };
    file.write_all(&start).map_err(kept)?;
    let (mut length, mut block) = (start.len() as u64, vec![0; 64 << 10]);
    let mut is_encrypted = false;
    loop {
        let read = raw.reader.read(&mut block).map_err(|error| raw.failed(&error))?;
        if read == 0 {
            break;
        }
        length += read as u64;
        if length > ARCHIVE_MAX {
            let mib = ARCHIVE_MAX >> 20;
            return Err(unreadable(format!("{}: the workbook has more than {mib} MiB; save the sheet as CSV", raw.place)));
        }
        // Its directory has the name in UTF-16; of two blocks that part it, the next entry's is enough.
        is_encrypted |= is_old && memchr::memmem::find(&block[..read], b"E\0n\0c\0r\0y\0p\0t\0").is_some();
        file.write_all(&block[..read]).map_err(kept)?;
    }
    if is_old {
        let what = if is_encrypted {
            "it is protected by a password; save it without one"
        } else {
            "it is an old Excel workbook (.xls); save it as .xlsx"
        };
        return Err(unreadable(format!("{}: {what}", raw.place)));
    }
    file.rewind().map_err(kept)?;
    Ok((file, length))
}

/// What ends the reading of a workbook.
enum Stop {
    Fault(Fault),
    Blocked(Blocker),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Blocker> for Stop {
    fn from(blocker: Blocker) -> Self {
        Self::Blocked(blocker)
    }
}

/// Reads the sheet, and passes its rows on.
fn read(sink: &mut Sink, (file, length): (File, u64), texts: File, wanted: Option<&str>) -> Result<(), Stop> {
    let closed = sink.closed();
    let archive = Archive::open(file, length)?;
    let workbook = Workbook::read(&archive)?;
    let sheet = workbook.sheet(wanted)?;
    let texts = match &workbook.texts {
        Some(part) => Texts::read(&archive, part, texts)?,
        None => Texts::none(texts),
    };
    let mut rows = Rows::new(&archive, &sheet.part, texts, &workbook)?;
    sink.set_sheet(&sheet.name);
    let empty = || unreadable(format!("{}: it is empty; the first row must name the columns, one of them `email`", sink.place()));
    let header = rows.next(usize::MAX)?.ok_or_else(empty)?;
    let names: Vec<Box<str>> = header.cells.iter().map(|cell| text_of(cell).trim().into()).collect();
    let is_title = names.iter().filter(|name| !name.is_empty()).count() == 1;
    let columns = sink.begin(names).map_err(|blocker| {
        let title = format!("; if row {} is a title, delete it, since the first row must name the columns", header.number);
        Blocker { message: format!("{}{}", blocker.message, if is_title { &*title } else { "" }), ..blocker }
    })?;
    let mut passed = 0;
    while let Some(Row { number, cells }) = rows.next(columns.names.len())? {
        let cells = cells.into_iter().chain(std::iter::repeat(Value::Null));
        let named = columns.names.iter().zip(cells).filter(|(name, _)| !name.is_empty());
        // An empty cell is an empty text, as in CSV.
        let of_cell = |cell: Value| if cell.is_null() { String::new().into() } else { cell };
        let object: Map<String, Value> = named.map(|(name, cell)| (name.to_string(), of_cell(cell))).collect();
        if object.values().all(|cell| cell == "") {
            // Only columns without a name have anything.
            continue;
        }
        // A row's number is that of its line.
        while passed + 1 < number {
            sink.pass()?;
            passed += 1;
        }
        sink.row(&Value::Object(object).to_string())?;
        passed += 1;
        if closed.is_cancelled() {
            break;
        }
    }
    Ok(())
}

/// A cell of the header, as text.
fn text_of(cell: &Value) -> String {
    match cell {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
