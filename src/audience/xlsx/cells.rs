//! The cells of a sheet, row by row.

use serde_json::Value;

use super::{
    super::ROW_MAX,
    archive::{Archive, Fault},
    number::{Format, value},
    texts::{Texts, rich_text},
    workbook::Workbook,
    xml::{Event, Xml, attribute, unescaped},
};

/// The most bytes of a sheet.
const PART_MAX: u64 = if cfg!(test) { 4 << 20 } else { 4 << 30 };
/// The rows that a sheet has.
const ROWS_MAX: u32 = 1_048_576;
/// The columns that are read: as many as of a table.
const COLUMNS_MAX: usize = 4096;

/// The rows of a sheet.
pub(super) struct Rows<'a> {
    xml: Xml,
    texts: Texts,
    workbook: &'a Workbook,
    /// The number of the last row.
    row: u32,
    is_over: bool,
}

/// A row that has anything.
pub(super) struct Row {
    /// Its number, from 1.
    pub number: u32,
    /// Its cells, up to the last that has anything.
    pub cells: Vec<Value>,
}

/// What a cell holds, as its type says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number(Format),
    Shared,
    Text,
    Bool,
    /// An error, such as `#N/A`.
    Nothing,
}

impl Kind {
    /// What a cell of this type and style holds.
    fn of(workbook: &Workbook, kind: Option<&str>, style: Option<&str>) -> Self {
        match kind {
            None | Some("n") => {
                let style = style.and_then(|style| style.parse::<usize>().ok()).unwrap_or(0);
                Self::Number(workbook.formats.get(style).copied().unwrap_or(Format::Plain))
            }
            Some("s") => Self::Shared,
            Some("b") => Self::Bool,
            Some("e") => Self::Nothing,
            // A formula's text (`str`), an own one (`inlineStr`), a date as ISO 8601 has it (`d`).
            Some(_) => Self::Text,
        }
    }
}

fn corrupt(what: &str) -> Fault {
    Fault::Unusable(format!("the workbook is corrupt ({what}); save it again"))
}

impl<'a> Rows<'a> {
    /// Reads the rows of a part.
    pub fn new(archive: &Archive, part: &str, texts: Texts, workbook: &'a Workbook) -> Result<Self, Fault> {
        Ok(Self { xml: Xml::new(archive.part(part, PART_MAX)?, part), texts, workbook, row: 0, is_over: false })
    }

    /// The next row that has anything, of no more than so many columns.
    pub fn next(&mut self, columns: usize) -> Result<Option<Row>, Fault> {
        let (mut cells, mut column, mut bytes) = (Vec::new(), 0, 0);
        while !self.is_over {
            match self.xml.next()? {
                Event::Start(start) => match start.local_name().as_ref() {
                    "row" => {
                        let number = attribute(&start, "r")?.map(|number| number.parse::<u32>());
                        let number = number.unwrap_or(Ok(self.row + 1)).ok().filter(|number| (self.row + 1..=ROWS_MAX).contains(number));
                        self.row = number.ok_or_else(|| corrupt("its rows are not in their order"))?;
                        (column, bytes) = (0, 0);
                    }
                    "c" => {
                        if let Some(reference) = attribute(&start, "r")? {
                            column = column_of(&reference).ok_or_else(|| corrupt("a cell has no column"))?;
                        }
                        let kind = Kind::of(self.workbook, attribute(&start, "t")?.as_deref(), attribute(&start, "s")?.as_deref());
                        let value = self.cell(kind)?;
                        if column < columns.min(COLUMNS_MAX) && !is_nothing(&value) {
                            bytes += value.as_str().map_or(0, str::len);
                            if bytes > ROW_MAX {
                                return Err(Fault::Unusable(format!("row {} is longer than {ROW_MAX} bytes; shorten it", self.row)));
                            }
                            cells.resize(cells.len().max(column + 1), Value::Null);
                            cells[column] = value;
                        }
                        column += 1;
                    }
                    _ => {}
                },
                Event::End(name) => match &*name {
                    "row" if !cells.is_empty() => return Ok(Some(Row { number: self.row, cells })),
                    "sheetData" => self.is_over = true,
                    _ => {}
                },
                Event::Eof => return Err(corrupt("a sheet does not end")),
                Event::Text(_) | Event::Other => {}
            }
        }
        // To the end of the part, where it turns out whether it is the one that was packed.
        while !matches!(self.xml.next()?, Event::Eof) {}
        Ok(None)
    }

    /// The value of a cell that began: of a formula the one that was computed last.
    fn cell(&mut self, kind: Kind) -> Result<Value, Fault> {
        let (mut found, mut text) = (Value::Null, None::<String>);
        loop {
            let is_own_text = match self.xml.next()? {
                Event::Start(start) => match start.local_name().as_ref() {
                    "v" => {
                        text = Some(String::new());
                        false
                    }
                    "is" => true,
                    _ => false,
                },
                Event::Text(more) => {
                    if let Some(text) = &mut text {
                        text.push_str(&more);
                        if text.len() > ROW_MAX {
                            return Err(Fault::Unusable(format!("a cell is longer than {ROW_MAX} bytes; shorten it")));
                        }
                    }
                    false
                }
                Event::End(name) => match &*name {
                    "v" => {
                        if let Some(text) = text.take() {
                            found = self.value(kind, &text)?;
                        }
                        false
                    }
                    "c" => return Ok(found),
                    _ => false,
                },
                Event::Eof => return Err(corrupt("a cell does not end")),
                Event::Other => false,
            };
            if is_own_text {
                found = rich_text(&mut self.xml, "is")?.into();
            }
        }
    }

    fn value(&mut self, kind: Kind, text: &str) -> Result<Value, Fault> {
        Ok(match kind {
            _ if text.is_empty() => Value::Null,
            Kind::Number(format) => value(text, format, self.workbook.is_1904).unwrap_or_else(|| text.into()),
            Kind::Shared => {
                let index = text.trim().parse().map_err(|_| corrupt("a cell refers to no text"))?;
                self.texts.get(index)?.ok_or_else(|| corrupt("a cell refers to a missing text"))?.into()
            }
            Kind::Text => unescaped(text).into(),
            Kind::Bool => matches!(text.trim(), "1" | "true" | "TRUE").into(),
            Kind::Nothing => Value::Null,
        })
    }
}

/// Whether a cell has nothing to read.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        _ => false,
    }
}

/// The column of a reference such as `AB17`, from 0.
fn column_of(reference: &str) -> Option<usize> {
    let letters = reference.bytes().take_while(u8::is_ascii_alphabetic);
    let number = letters.take(4).fold(0, |number, letter| number * 26 + usize::from(letter.to_ascii_uppercase() - b'A') + 1);
    number.checked_sub(1)
}
