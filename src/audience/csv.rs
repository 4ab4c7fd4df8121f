//! CSV with a header line (RFC 4180): double quotes, and CRLF, LF or CR. The address is in the column `email`.
//!
//! Columns are separated by commas, by what Excel's `sep=` line says, or by what the spec says.
//! The parser is csv-core's and not csv's, because only there can a row be bounded: an opening quote that is never closed
//! would otherwise read the rest of the file into memory as one row.

use std::sync::Arc;

use csv_core::ReadRecordResult;

use super::{
    Address, Blocker, Fields, ROW_MAX, Recipient, Row,
    columns::{Columns, Renamed},
    source::{FileVersion, Source},
    unreadable,
};

/// How a table is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Columns whose header is not the name of the field.
    pub columns: Renamed,
    /// What separates the columns; when absent, a comma or what Excel's `sep=` says.
    pub delimiter: Option<u8>,
    /// The encoding of the text; UTF-8 when absent.
    pub charset: Option<&'static encoding_rs::Encoding>,
}

/// The most fields in a row.
const FIELDS_MAX: usize = 4096;
/// Initial capacity for fields: there are many tables, and most have few columns.
const FIELDS_FIRST: usize = 32;

/// A table being read.
pub(super) struct Table {
    source: Source,
    layout: Layout,
    parser: csv_core::Reader,
    columns: Arc<Columns>,
    /// The fields of the row, one after the other.
    text: Vec<u8>,
    /// Where each field ends in `text`.
    ends: Vec<usize>,
    fields: usize,
    short_ends: Vec<u32>,
    /// The current line, from 1: by LF, CRLF or CR.
    line: u64,
    /// The last byte was a CR: an LF that follows belongs to it.
    is_after_cr: bool,
}

impl Table {
    /// Reads the header line.
    pub(super) fn open(source: Source, layout: &Layout) -> Result<Self, Blocker> {
        let mut table = Self {
            source,
            layout: layout.clone(),
            parser: parser(layout.delimiter.unwrap_or(b',')),
            columns: Arc::new(Columns { names: Vec::new(), email: 0 }),
            text: vec![0; 1024],
            ends: vec![0; FIELDS_FIRST],
            fields: 0,
            short_ends: Vec::new(),
            line: 1,
            is_after_cr: false,
        };
        table.columns = Arc::new(table.header()?);
        Ok(table)
    }

    /// Where the bytes come from.
    pub(super) const fn source(&mut self) -> &mut Source {
        &mut self.source
    }

    /// The version of the file, where it is one.
    pub(super) const fn version(&self) -> Option<FileVersion> {
        self.source.version()
    }

    /// The names of the columns that have one.
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.named()
    }

    fn header(&mut self) -> Result<Columns, Blocker> {
        let error = |source: &Source, why: &str| unreadable(format!("{}: {why}", source.place()));
        let missing = "it is empty; the first line must name the columns, one of them `email`";
        if self.read_record()?.is_none() {
            return Err(error(&self.source, missing));
        }
        if let Some(divider) = self.excels_line().map_err(|why| error(&self.source, why))? {
            (self.parser, self.layout.delimiter) = (parser(divider), Some(divider));
            if self.read_record()?.is_none() {
                return Err(error(&self.source, missing));
            }
        }
        let not_in_charset = || error(&self.source, &format!("the header line {}", not_in(self.layout.charset)));
        let text = std::str::from_utf8(&self.text[..self.length()]).map_err(|_| not_in_charset())?;
        let mut names: Vec<Box<str>> = Vec::with_capacity(self.fields);
        let mut start = 0;
        for &end in &self.ends[..self.fields] {
            names.push(text.get(start..end).ok_or_else(not_in_charset)?.trim().into());
            start = end;
        }
        let no_table = self.no_table(&names, text);
        Columns::of(names, &self.layout.columns).map_err(|why| error(&self.source, no_table.as_deref().unwrap_or(&why)))
    }

    /// What separates the columns, where the first line is the one that Excel writes to say so.
    fn excels_line(&self) -> Result<Option<u8>, &'static str> {
        let line = &self.text[..self.length()];
        let Some(said) = line.get(..4).filter(|start| start.eq_ignore_ascii_case(b"sep=")).map(|_| &line[4..]) else { return Ok(None) };
        match (self.fields, said) {
            (1, [divider]) if divider.is_ascii() && !divider.is_ascii_alphanumeric() && *divider != b'"' => Ok(Some(*divider)),
            // It separates the columns of this very line.
            (2, []) => Ok(Some(self.layout.delimiter.unwrap_or(b','))),
            _ => Err("the first line is Excel's `sep=` without a single character after it; remove the line, or correct it"),
        }
    }

    /// What a file is whose first line is no header, in words.
    fn no_table(&self, names: &[Box<str>], text: &str) -> Option<String> {
        let first = names.first().map_or("", |name| &**name);
        let used = char::from(self.layout.delimiter.unwrap_or(b','));
        let divider = [',', ';', '\t', '|'].into_iter().find(|divider| names.len() == 1 && first.contains(*divider));
        Some(if text.contains('\0') {
            "it seems to be UTF-16; save it as UTF-8, or write `charset: utf-16le`".to_owned()
        } else if let Some(divider) = divider {
            let (by, written) = match divider {
                '\t' => ("tabs".to_owned(), "\\t".to_owned()),
                ',' => ("commas".to_owned(), ",".to_owned()),
                _ => (format!("`{divider}`"), divider.to_string()),
            };
            match self.layout.delimiter {
                None => format!("the columns are separated by {by}; use commas, or write `delimiter: \"{written}\"`"),
                Some(_) => format!("the columns are separated by {by}, and not by `{}`; correct `delimiter`", used.escape_default()),
            }
        } else if names.iter().any(|name| Address::parse(name).is_ok()) {
            // Nobody's address belongs in a status.
            "the first line is already a row; add a header line before it that names the columns, one of them `email`".to_owned()
        } else if first.starts_with('<') {
            "it is an HTML or XML page, not a table; perhaps a login or error page".to_owned()
        } else {
            return None;
        })
    }

    pub(super) fn next_row(&mut self) -> Result<Option<Row>, Blocker> {
        let Some(line) = self.read_record()? else { return Ok(None) };
        Ok(Some(self.row().map_or_else(|why| Row::Bad { line, why }, Row::Recipient)))
    }

    /// Passes a row, and says whether there was one.
    pub(super) fn skip_row(&mut self) -> Result<bool, Blocker> {
        Ok(self.read_record()?.is_some())
    }

    fn row(&mut self) -> Result<Recipient, String> {
        let wanted = self.columns.names.len();
        // What follows the last comma, in a file where every row ends with one.
        while self.fields > wanted && self.ends[self.fields - 1] == self.ends[self.fields - 2] {
            self.fields -= 1;
        }
        // Nor does a row need a column that the header separates but does not name.
        let named = self.columns.names.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1);
        if (named..wanted).contains(&self.fields) {
            let length = self.length();
            self.ends[self.fields..wanted].fill(length);
            self.fields = wanted;
        }
        if self.fields != wanted {
            let fields = if self.fields == 1 { "field" } else { "fields" };
            return Err(format!("the row has {} {fields} and the header has {wanted}", self.fields));
        }
        let not_in_charset = || format!("the row {}", not_in(self.layout.charset));
        let text = std::str::from_utf8(&self.text[..self.length()]).map_err(|_| not_in_charset())?;
        self.short_ends.clear();
        for &end in &self.ends[..self.fields] {
            // A character may only look valid because two broken fields are adjacent.
            if !text.is_char_boundary(end) {
                return Err(not_in_charset());
            }
            self.short_ends.push(u32::try_from(end).map_err(|_| "the row is too long".to_owned())?);
        }
        let email = self.columns.email;
        let start = if email == 0 { 0 } else { self.ends[email - 1] };
        let address = Address::parse(text[start..self.ends[email]].trim_ascii())?;
        Ok(Recipient { fields: Fields::from_table(address.clone(), &self.columns, text, &self.short_ends), address })
    }

    fn length(&self) -> usize {
        if self.fields == 0 { 0 } else { self.ends[self.fields - 1] }
    }

    /// Reads the next row that is not blank into `text` and `ends`, and returns the line where it starts.
    fn read_record(&mut self) -> Result<Option<u64>, Blocker> {
        self.skip_line_ends()?;
        let line = self.line;
        let (mut written, mut fields) = (0, 0);
        let mut line_ended = false;
        loop {
            let mut block = self.source.fill()?;
            let at_end = block.is_empty();
            if at_end && !line_ended {
                // csv-core silently ends an open quote at the end. Only inside one does it take a line break for text.
                block = b"\n";
            }
            let (result, read, more, ends) = self.parser.read_record(block, &mut self.text[written..], &mut self.ends[fields..]);
            if !at_end {
                count_lines(&block[..read], &mut self.line, &mut self.is_after_cr);
                self.source.consume(read);
            }
            let fail = |what: String| unreadable(format!("{}, line {line}: {what}. Fix that row", self.source.place()));
            let too_long = |what: String| fail(format!("{what}; perhaps a quote is opened there but never closed"));
            if at_end && !line_ended && read > 0 {
                line_ended = true;
                if more > 0 {
                    return Err(fail("a quote is opened there but never closed, so everything that follows is one row".to_owned()));
                }
            }
            written += more;
            fields += ends;
            match result {
                ReadRecordResult::Record => {
                    self.fields = fields;
                    return Ok(Some(line));
                }
                ReadRecordResult::End => return Ok(None),
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.text.len() >= ROW_MAX => {
                    return Err(too_long(format!("the row is longer than {ROW_MAX} bytes")));
                }
                ReadRecordResult::OutputFull => self.text.resize(self.text.len() * 2, 0),
                ReadRecordResult::OutputEndsFull if self.ends.len() >= FIELDS_MAX => {
                    return Err(too_long(format!("the row has more than {FIELDS_MAX} fields")));
                }
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
            }
        }
    }

    /// Skips blank lines and what is left of a CRLF, so that a row's line is the one where its text starts.
    fn skip_line_ends(&mut self) -> Result<(), Blocker> {
        loop {
            let block = self.source.fill()?;
            let length = block.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            let more = length > 0 && length == block.len();
            count_lines(&block[..length], &mut self.line, &mut self.is_after_cr);
            self.source.consume(length);
            if !more {
                return Ok(());
            }
        }
    }
}

/// Counts line ends, whichever of the three a file uses.
fn count_lines(bytes: &[u8], line: &mut u64, is_after_cr: &mut bool) {
    for at in memchr::memchr2_iter(b'\r', b'\n', bytes) {
        let belongs_to_cr = bytes[at] == b'\n' && if at == 0 { *is_after_cr } else { bytes[at - 1] == b'\r' };
        *line += u64::from(!belongs_to_cr);
    }
    if let Some(last) = bytes.last() {
        *is_after_cr = *last == b'\r';
    }
}

fn parser(delimiter: u8) -> csv_core::Reader {
    csv_core::ReaderBuilder::new().delimiter(delimiter).build()
}

/// Said of a text that is not in the charset.
fn not_in(charset: Option<&'static encoding_rs::Encoding>) -> String {
    charset.map_or_else(
        || "is not UTF-8; save the file as CSV in UTF-8, or write its `charset`, such as `windows-1252`".to_owned(),
        |charset| format!("is not in {}; correct `charset`", charset.name().to_ascii_lowercase()),
    )
}
