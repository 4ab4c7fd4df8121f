//! JSON Lines: one object per line, the address in `email`. An unusable line does not affect the next one.

use serde_json::{Map, Value};

use super::{
    Address, Blocker, Fields, ROW_MAX, Recipient, Row,
    columns::EMAIL,
    source::{FileVersion, Source},
};

/// The lines of a source.
pub(super) struct Lines {
    source: Source,
    line: u64,
    /// What people call a line.
    word: &'static str,
    /// A line that spans two blocks of the source.
    buffer: Vec<u8>,
}

impl Lines {
    /// The lines of a source, which people call by this word.
    pub(super) const fn new(source: Source, word: &'static str) -> Self {
        Self { source, line: 0, word, buffer: Vec::new() }
    }

    /// Where the bytes come from.
    pub(super) const fn source(&mut self) -> &mut Source {
        &mut self.source
    }

    /// The version of the file, where it is one.
    pub(super) const fn version(&self) -> Option<FileVersion> {
        self.source.version()
    }

    pub(super) fn next_row(&mut self) -> Result<Option<Row>, Blocker> {
        Ok(match self.next_line()? {
            None => None,
            Some(true) => Some(Row::Bad { line: self.line, why: format!("the {} is longer than {ROW_MAX} bytes", self.word) }),
            Some(false) => Some(parse(self.line, self.word, self.buffer.trim_ascii())),
        })
    }

    /// Passes a row, and says whether there was one.
    pub(super) fn skip_row(&mut self) -> Result<bool, Blocker> {
        Ok(self.next_line()?.is_some())
    }

    /// Reads the next line that is not blank into the buffer; whether it is too long for that.
    fn next_line(&mut self) -> Result<Option<bool>, Blocker> {
        loop {
            self.buffer.clear();
            let mut too_long = false;
            let mut seen = false;
            loop {
                let block = self.source.fill()?;
                if block.is_empty() {
                    break;
                }
                seen = true;
                let end = memchr::memchr(b'\n', block);
                let part = &block[..end.unwrap_or(block.len())];
                too_long |= self.buffer.len() + part.len() > ROW_MAX;
                if !too_long {
                    self.buffer.extend_from_slice(part);
                }
                let used = end.map_or(block.len(), |end| end + 1);
                self.source.consume(used);
                if end.is_some() {
                    break;
                }
            }
            if !seen {
                return Ok(None);
            }
            self.line += 1;
            if too_long || !self.buffer.trim_ascii().is_empty() {
                return Ok(Some(too_long));
            }
        }
    }
}

fn parse(line: u64, word: &str, text: &[u8]) -> Row {
    let bad = |why: String| Row::Bad { line, why };
    let Ok(text) = std::str::from_utf8(text) else { return bad("the line is not UTF-8".to_owned()) };
    if !text.starts_with('{') {
        let to_do = if word == "line" { ": put one object on each line, without a list around them" } else { "" };
        return bad(format!("the {word} is not a JSON object{to_do}"));
    }
    match serde_json::from_str::<Map<String, Value>>(text) {
        Ok(object) => recipient(line, object),
        // The position is within the line; serde_json's own line is always 1.
        Err(error) if error.is_eof() => bad("the line ends before its JSON object does: put one whole object on each line".to_owned()),
        Err(error) => {
            let message = error.to_string();
            let what = message.rsplit_once(" at line ").map_or(&*message, |(what, _)| what);
            bad(format!("the line is not JSON: {what} at column {}", error.column()))
        }
    }
}

/// The recipient of a JSON object.
pub(super) fn recipient(line: u64, mut object: Map<String, Value>) -> Row {
    // As in a table, ignoring case.
    if !object.contains_key(EMAIL) {
        let names: Vec<&String> = object.keys().filter(|name| name.eq_ignore_ascii_case(EMAIL)).collect();
        if let [name] = names[..] {
            let name = name.clone();
            if let Some(value) = object.remove(&name) {
                object.insert(EMAIL.to_owned(), value);
            }
        }
    }
    let address = match object.get(EMAIL) {
        Some(Value::String(text)) => Address::parse(text.trim_ascii()),
        Some(_) => Err("`email` is not a string".to_owned()),
        None => Err("there is no field `email`".to_owned()),
    };
    match address {
        Ok(address) => Row::Recipient(Recipient { fields: Fields::from_object(address.clone(), object), address }),
        Err(why) => Row::Bad { line, why },
    }
}
