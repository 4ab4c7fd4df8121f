//! Audiences as anybody may send them, for [`crate::fuzzing`]: read whole and in pieces of the source, and what must hold of each row.

#![allow(clippy::missing_panics_doc)] // What does not hold is a panic.

use std::sync::{Arc, OnceLock};

use encoding_rs::Encoding;
use flate2::Crc;
use tokio::runtime::{Builder, Handle, Runtime};

use super::{
    Address, Input, Layout, Location, Progress, Reader, Recipient, Row, Rows, Unit, Useless, csv, json_lines,
    source::Source,
    xlsx::{Folder, Sheet},
};
use crate::{
    properties::{Piecewise, assert_same, assert_shown, pieces},
    providers::scrub::Scrubber,
};

/// The longest reason why a row cannot be used, characters: it quotes no more than an address.
const WHY_MAX: usize = 600;

/// A row as it is compared.
fn told(row: Result<Row, super::Blocker>) -> String {
    match row {
        Ok(Row::Recipient(Recipient { address, fields })) => {
            let json = fields.to_json();
            assert_shown("an address", address.as_str(), 400);
            assert!(Address::parse(address.as_str()) == Ok(address.clone()), "{address} is another address when it is read again");
            let again = Recipient::from_json(&json);
            assert!(again.as_ref().is_ok_and(|again| again.fields.to_json() == json && again.address == address), "{json}: {again:?}");
            format!("{address} {json}")
        }
        Ok(Row::Bad { line, why }) => {
            assert!(why.chars().count() <= WHY_MAX, "{why:?} is long");
            format!("{line}: {why}")
        }
        Err(blocker) => format!("error: {}", blocker.message),
    }
}

/// How a source gives its bytes.
#[derive(Clone, Copy)]
enum Way {
    /// As a file or an answer, whose bytes arrive in pieces of this size: unpacked, decoded, in whole blocks.
    Opened(usize, Option<&'static Encoding>),
    /// In pieces of this size, as they are.
    Cut(usize),
}

/// Every row that a source gives.
fn rows(data: &[u8], way: Way, open: impl FnOnce(Source) -> Result<Rows, super::Blocker>) -> Vec<String> {
    let progress = Arc::new(Progress::default());
    let source = match way {
        Way::Opened(size, charset) => Source::fuzzed(Piecewise::new(data, size), charset, &progress),
        Way::Cut(size) => Ok(Source::of(Piecewise::new(data, size), "audience".to_owned(), None, &progress)),
    };
    let rows = match source.and_then(open) {
        Ok(rows) => rows,
        Err(blocker) => return vec![told(Err(blocker))],
    };
    let (useless, scrubber) = (Useless::default(), Scrubber::default());
    Reader { rows, unit: Unit::Line, progress, ended: false, useless, scrubber }.map(told).collect()
}

/// The same rows in whatever pieces they come.
fn in_pieces(data: &[u8], charset: Option<&'static Encoding>, open: impl Fn(Source) -> Result<Rows, super::Blocker>) -> Vec<String> {
    let whole = rows(data, Way::Opened(usize::MAX, charset), &open);
    let cut = rows(data, Way::Cut(usize::MAX), &open);
    for size in pieces(data) {
        assert_same(&whole, &rows(data, Way::Opened(size, charset), &open), "an audience");
        // csv-core knows a byte order mark where it comes at once, which `Way::Opened` sees to.
        assert!(data.starts_with(b"\xef") || rows(data, Way::Cut(size), &open) == cut, "cut into {size} bytes it is not {cut:?}");
    }
    whole
}

/// Tables: by the first byte with another delimiter, or in another charset. Each way of cutting them gives the same rows.
pub fn csv(data: &[u8]) {
    let delimiter = data.first().copied().filter(|byte| matches!(byte, b';' | b'\t' | b'|'));
    let charset = if data.starts_with(b"\xff\xfe") { Some(encoding_rs::UTF_16LE) } else { None };
    let layout = Layout { delimiter, charset, ..Layout::default() };
    let rows = in_pieces(data, charset, |source| csv::Table::open(source, &layout).map(|table| Rows::Csv(Box::new(table))));
    let lines = data.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
    let is_packed = data.starts_with(b"\x1f\x8b") || data.get(1..4).is_some_and(|magic| matches!(magic, b"\xb5\x2f\xfd" | b"\x2a\x4d\x18"));
    assert!(is_packed || charset.is_some() || rows.len() <= lines + 2, "{} rows of {lines} lines", rows.len());
}

/// JSON Lines. A line that cannot be used changes nothing about the next.
pub fn json_lines(data: &[u8]) {
    let open = |source| Ok(Rows::JsonLines(json_lines::Lines::new(source, "line")));
    in_pieces(data, None, open);
    let after = [data, b"\n{\"email\": \"last@example.com\"}\n"].concat();
    let last = rows(&after, Way::Cut(usize::MAX), open).pop();
    assert!(last.as_ref().is_some_and(|last| last.starts_with("last@example.com ")), "the last line was lost: {last:?}");
}

/// Workbooks: whole archives, and rows of a sheet that are put into one. What a small archive brings is bounded by what is in it.
pub fn workbook(data: &[u8]) {
    let archive = if data.starts_with(b"PK") { data.to_vec() } else { archive(data) };
    let location = Location::Bytes(archive.clone().into());
    let sheet = Sheet { location, name: None, columns: super::columns::Renamed::default(), folder: Folder(std::env::temp_dir()) };
    let Ok(reader) = Reader::open(&Input::Xlsx(Box::new(sheet)), handle()) else { return };
    let mut before = 0;
    for row in reader {
        if let Ok(Row::Bad { line, .. }) = &row {
            assert!(*line > before, "row {line} comes after row {before}");
            before = *line;
        }
        told(row);
    }
}

fn handle() -> &'static Handle {
    static RUNTIME: OnceLock<Option<Runtime>> = OnceLock::new();
    static NONE: OnceLock<Handle> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| Builder::new_multi_thread().worker_threads(1).enable_all().build().ok());
    NONE.get_or_init(|| runtime.as_ref().map_or_else(Handle::current, |runtime| runtime.handle().clone()))
}

/// A workbook of one sheet with these rows, whose parts are stored as they are.
fn archive(rows: &[u8]) -> Vec<u8> {
    const KIND: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    let related = |kind: &str, target: &str, id: &str| {
        format!("<Relationships><Relationship Id=\"{id}\" Type=\"{KIND}/{kind}\" Target=\"{target}\"/></Relationships>")
    };
    let sheet = [b"<worksheet><sheetData>", rows, b"</sheetData></worksheet>"].concat();
    let workbook = format!("<workbook xmlns:r=\"{KIND}\"><sheets><sheet name=\"a\" sheetId=\"1\" r:id=\"s\"/></sheets></workbook>");
    let parts = [
        ("_rels/.rels", related("officeDocument", "xl/workbook.xml", "b").into_bytes()),
        ("xl/_rels/workbook.xml.rels", related("worksheet", "worksheets/a.xml", "s").into_bytes()),
        ("xl/workbook.xml", workbook.into_bytes()),
        ("xl/worksheets/a.xml", sheet),
    ];
    let size = |length: usize| u32::try_from(length).unwrap_or(0).to_le_bytes();
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in &parts {
        let mut crc = Crc::new();
        crc.update(content);
        let fixed = [
            &[20, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
            &crc.sum().to_le_bytes(),
            &size(content.len()),
            &size(content.len()),
            &size(name.len())[..2],
            &[0, 0],
        ]
        .concat();
        directory.extend([&b"PK\x01\x02\x14\0"[..], &fixed, &[0; 10], &size(out.len()), name.as_bytes()].concat());
        out.extend([&b"PK\x03\x04"[..], &fixed, name.as_bytes(), content].concat());
    }
    let at = size(out.len());
    let count = &size(parts.len())[..2];
    let end = [&b"PK\x05\x06\0\0\0\0"[..], count, count, &size(directory.len()), &at, &[0, 0]].concat();
    out.extend(directory);
    out.extend(end);
    out
}
