//! The XML of a part, event by event: none is longer than a row may be, and they nest only as deep as a workbook's do.

use std::{
    borrow::Cow,
    io::{self, BufRead, BufReader, Read},
};

use quick_xml::{XmlVersion, escape::resolve_predefined_entity, events::BytesStart};

use super::{
    super::ROW_MAX,
    archive::{Fault, Part},
};

/// What is read of a part at a time, bytes.
const BLOCK: usize = 16 << 10;
/// Elements within each other: a cell's text is in the seventh.
const DEPTH_MAX: usize = 100;

/// What comes next.
pub(super) enum Event<'a> {
    /// An element begins; an empty one ends with the next event.
    Start(BytesStart<'a>),
    /// The element of this local name ends.
    End(String),
    /// A piece of text: there may be several, one after the other.
    Text(String),
    /// Nothing of interest.
    Other,
    /// The part ends.
    Eof,
}

/// A part as XML.
pub(super) struct Xml {
    reader: quick_xml::Reader<Bounded>,
    buffer: Vec<u8>,
    depth: usize,
    name: String,
}

impl Xml {
    /// Reads a part of this name.
    pub fn new(part: Part, name: &str) -> Self {
        let bounded = Bounded { inner: BufReader::with_capacity(BLOCK, part), of_event: 0 };
        let mut reader = quick_xml::Reader::from_reader(bounded);
        let config = reader.config_mut();
        config.expand_empty_elements = true;
        config.check_end_names = false;
        Self { reader, buffer: Vec::new(), depth: 0, name: name.to_owned() }
    }

    /// The next event.
    pub fn next(&mut self) -> Result<Event<'_>, Fault> {
        self.buffer.clear();
        self.reader.get_mut().of_event = 0;
        let name = &self.name;
        let corrupt = |what: &str| Fault::Unusable(format!("the workbook is corrupt (`{name}`: {what}); save it again"));
        let event = self.reader.read_event_into(&mut self.buffer).map_err(|error| match error {
            quick_xml::Error::Io(error) if error.kind() != io::ErrorKind::InvalidData => {
                Fault::Io(io::Error::new(error.kind(), error.to_string()))
            }
            error => corrupt(&error.to_string()),
        })?;
        Ok(match event {
            quick_xml::events::Event::Start(start) => {
                self.depth += 1;
                if self.depth > DEPTH_MAX {
                    return Err(corrupt("elements nest too deep"));
                }
                Event::Start(start)
            }
            quick_xml::events::Event::End(end) => {
                self.depth = self.depth.saturating_sub(1);
                Event::End(end.local_name().into_inner().to_owned())
            }
            quick_xml::events::Event::Text(text) => Event::Text(text.xml10_content().into_owned()),
            quick_xml::events::Event::CData(text) => Event::Text(text.into_inner().into_owned()),
            quick_xml::events::Event::GeneralRef(reference) => {
                let character = reference.resolve_char_ref().map_err(|error| corrupt(&error.to_string()))?;
                let text = character.map(String::from);
                let text = text.or_else(|| resolve_predefined_entity(&reference).map(str::to_owned));
                Event::Text(text.ok_or_else(|| corrupt("it refers to an entity"))?)
            }
            // It could say what entities are, which no workbook does.
            quick_xml::events::Event::DocType(_) => return Err(corrupt("it has a document type")),
            quick_xml::events::Event::Eof => Event::Eof,
            _ => Event::Other,
        })
    }
}

/// An attribute by its local name.
pub(super) fn attribute<'a>(start: &'a BytesStart<'_>, name: &str) -> Result<Option<Cow<'a, str>>, Fault> {
    let corrupt = |error: &dyn std::fmt::Display| Fault::Unusable(format!("the workbook is corrupt ({error}); save it again"));
    for attribute in start.attributes().with_checks(false) {
        let attribute = attribute.map_err(|error| corrupt(&error))?;
        if attribute.key.local_name().as_ref() == name {
            return attribute.normalized_value(XmlVersion::Implicit1_0).map(Some).map_err(|error| corrupt(&error));
        }
    }
    Ok(None)
}

/// Text as it was typed: what XML cannot hold is written as `_x000D_`.
pub(super) fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains("_x") {
        return Cow::Borrowed(text);
    }
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find("_x") {
        let code = rest.get(at + 2..at + 6).filter(|_| rest[at + 6..].starts_with('_'));
        let character = code.and_then(|code| u32::from_str_radix(code, 16).ok()).and_then(char::from_u32);
        let (kept, after) = if character.is_some() { (at, at + 7) } else { (at + 2, at + 2) };
        out.push_str(&rest[..kept]);
        out.extend(character);
        rest = &rest[after..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// A reader that gives up where one event takes too much.
struct Bounded {
    inner: BufReader<Part>,
    of_event: usize,
}

impl BufRead for Bounded {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.of_event > ROW_MAX {
            let what = format!("a text or tag is longer than {ROW_MAX} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, length: usize) {
        self.of_event += length;
        self.inner.consume(length);
    }
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::unescaped;

    #[test]
    fn text_is_as_it_was_typed() {
        let cases = [
            ("plain", "plain"),
            ("a_x000D_b", "a\rb"),
            ("_x005F_x000D_", "_x000D_"),
            ("snake_xyz", "snake_xyz"),
            ("_x00e4", "_x00e4"),
            ("_xé€", "_xé€"),
            ("_xD800_", "_xD800_"),
        ];
        for (text, wanted) in cases {
            assert_eq!(unescaped(text), wanted, "{text}");
        }
    }
}
