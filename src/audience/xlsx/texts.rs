//! The texts that the cells of a workbook share, in a file without a name: a sheet may have millions of them.

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    os::unix::fs::FileExt as _,
};

use super::{
    super::ROW_MAX,
    archive::{Archive, Fault},
    xml::{Event, Xml, attribute, unescaped},
};

/// The most bytes of the part.
const PART_MAX: u64 = if cfg!(test) { 1 << 20 } else { 1 << 30 };
/// The most texts: the place of each is held in memory, 8 bytes.
const TEXTS_MAX: usize = if cfg!(test) { 10_000 } else { 4 << 20 };
/// What is read at a time, bytes: cells mostly refer to one text after the other.
const BLOCK: u64 = 64 << 10;

/// Shared texts.
#[derive(Debug)]
pub(super) struct Texts {
    file: File,
    /// Where each ends.
    ends: Vec<u64>,
    block: Vec<u8>,
    block_at: u64,
}

impl Texts {
    /// Copies them into a file.
    pub fn read(archive: &Archive, part: &str, file: File) -> Result<Self, Fault> {
        let mut xml = Xml::new(archive.part(part, PART_MAX)?, part);
        let mut out = BufWriter::new(&file);
        let (mut ends, mut end) = (Vec::new(), 0);
        while let Some(text) = next_text(&mut xml)? {
            out.write_all(text.as_bytes())?;
            end += text.len() as u64;
            ends.push(end);
            if ends.len() > TEXTS_MAX {
                return Err(Fault::Unusable(format!("its cells have more than {TEXTS_MAX} different texts; save the sheet as CSV")));
            }
        }
        out.flush()?;
        drop(out);
        Ok(Self { file, ends, block: Vec::new(), block_at: 0 })
    }

    /// No texts.
    pub fn none(file: File) -> Self {
        Self { file, ends: Vec::new(), block: Vec::new(), block_at: 0 }
    }

    /// The text with this index.
    pub fn get(&mut self, index: usize) -> io::Result<Option<&str>> {
        let Some(end) = self.ends.get(index).copied() else { return Ok(None) };
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        if start < self.block_at || end > self.block_at + self.block.len() as u64 {
            let length = BLOCK.max(end - start).min(self.ends.last().copied().unwrap_or(0) - start);
            self.block.resize(usize::try_from(length).map_err(io::Error::other)?, 0);
            self.file.read_exact_at(&mut self.block, start)?;
            self.block_at = start;
        }
        let at = |offset: u64| usize::try_from(offset - self.block_at).map_err(io::Error::other);
        std::str::from_utf8(&self.block[at(start)?..at(end)?]).map(Some).map_err(io::Error::other)
    }
}

/// The next text of the part.
fn next_text(xml: &mut Xml) -> Result<Option<String>, Fault> {
    loop {
        match xml.next()? {
            Event::Start(start) if start.local_name().as_ref() == "si" => return rich_text(xml, "si").map(Some),
            Event::Eof => return Ok(None),
            _ => {}
        }
    }
}

/// The text of an element that began, in one piece or in several of different looks; without the readings above it.
pub(super) fn rich_text(xml: &mut Xml, element: &str) -> Result<String, Fault> {
    let (mut whole, mut piece) = (String::new(), None::<(String, bool)>);
    let mut in_reading = false;
    loop {
        match xml.next()? {
            Event::Start(start) => match start.local_name().as_ref() {
                "rPh" => in_reading = true,
                "t" if !in_reading => piece = Some((String::new(), attribute(&start, "space")?.is_some_and(|space| space == "preserve"))),
                _ => {}
            },
            Event::Text(text) => {
                if let Some((piece, _)) = &mut piece {
                    piece.push_str(&text);
                    if whole.len() + piece.len() > ROW_MAX {
                        return Err(Fault::Unusable(format!("a text is longer than {ROW_MAX} bytes; shorten it")));
                    }
                }
            }
            Event::End(name) => match &*name {
                "rPh" => in_reading = false,
                "t" => {
                    if let Some((text, is_kept)) = piece.take() {
                        let text = if is_kept { &text } else { text.trim_matches([' ', '\t', '\r', '\n']) };
                        whole.push_str(&unescaped(text));
                    }
                }
                name if name == element => return Ok(whole),
                _ => {}
            },
            Event::Eof => return Err(Fault::Unusable("the workbook is corrupt (a text does not end); save it again".to_owned())),
            Event::Other => {}
        }
    }
}
