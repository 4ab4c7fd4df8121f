//! Collects the text of HTML: separators of words and lines are held back until something follows.

use super::super::entities::{entity, second};

/// Collects the text; white space is held back until something follows it.
#[derive(Default)]
pub(super) struct Writer {
    pub(super) text: String,
    pub(super) space: bool,
    pub(super) newlines: usize,
    pub(super) keep_spaces: bool,
    /// The lists that are open, the innermost last.
    pub(super) lists: Vec<List>,
    /// A list item's marker is written, and its text follows on the same line.
    pub(super) is_marked: bool,
    /// How many `<pre>` are open.
    pub(super) pre: usize,
    /// Nothing of the `<pre>` has come yet: a line break there is not part of it (HTML, 13.2.6.4.7).
    pub(super) pre_starts: bool,
}

#[derive(Debug)]
pub(super) struct List {
    /// The number of the next item, in a numbered list.
    pub(super) next: Option<i64>,
    pub(super) is_begun: bool,
}

impl Writer {
    pub(super) fn break_line(&mut self, newlines: usize) {
        if self.is_marked {
            return;
        }
        self.space = false;
        self.newlines = self.newlines.max(newlines);
    }

    /// Starts a line with a list item's marker.
    pub(super) fn item(&mut self, number: Option<i64>) {
        self.is_marked = false;
        self.newlines = self.newlines.max(1);
        let depth = self.lists.len();
        let mark = match self.lists.last_mut() {
            Some(list) => {
                // The content of earlier items is no reason for a blank line.
                self.newlines = if list.is_begun { 1 } else { self.newlines };
                list.is_begun = true;
                list.next.as_mut().map(|next| {
                    *next = number.unwrap_or(*next);
                    *next = next.saturating_add(1);
                    format!("{}.", next.saturating_sub(1))
                })
            }
            None => None,
        };
        self.push(&"  ".repeat(depth.saturating_sub(1).min(8)));
        self.push(mark.as_deref().unwrap_or("-"));
        self.space = true;
        self.is_marked = true;
    }

    /// Writes the character of an entity.
    fn character(&mut self, character: char, source: &str) {
        self.push(character.encode_utf8(&mut [0; 4]));
        if !matches!(source, "&amp;" | "&lt;" | "&gt;" | "&quot;") && !source.starts_with("&#") {
            self.text.extend(second(source));
        }
    }

    /// Writes text verbatim, with its entities decoded.
    pub(super) fn verbatim(&mut self, text: &str) {
        let text = text.replace("\r\n", "\n");
        let text = if std::mem::take(&mut self.pre_starts) { text.strip_prefix('\n').unwrap_or(&text) } else { &text };
        let mut rest = text;
        while let Some(at) = rest.find('&') {
            self.push(&rest[..at]);
            let (decoded, length) = entity(&rest[at..], false);
            match decoded {
                Some(character) => self.character(character, &rest[at..at + length]),
                None => self.push(&rest[at..at + length]),
            }
            rest = &rest[at + length..];
        }
        self.push(rest);
        // A line break at its end belongs to the end of the block.
        if self.text.ends_with('\n') {
            let line = self.text.trim_end_matches('\n').len();
            self.newlines = self.newlines.max(self.text.len() - line);
            self.text.truncate(line);
        }
    }

    pub(super) fn push(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        self.flush();
        self.is_marked = false;
        self.text.push_str(text);
    }

    /// A statement prints nothing, and what precedes it stays before it.
    pub(super) fn push_mark(&mut self, mark: &str) {
        self.flush();
        self.text.push_str(mark);
    }

    pub(super) fn flush(&mut self) {
        if !self.text.is_empty() {
            if self.newlines > 0 {
                self.text.extend(std::iter::repeat_n('\n', self.newlines));
            } else if self.space {
                self.text.push(' ');
            }
        }
        (self.space, self.newlines) = (false, 0);
    }
}

/// Writes text with its entities decoded and its white space collapsed. `None` when it would read as a template tag.
pub(super) fn words(writer: &mut Writer, text: &str, template: bool) -> Option<()> {
    let mut position = 0;
    while position < text.len() {
        let rest = &text[position..];
        let length = rest.bytes().take_while(|byte| *byte != b'&' && !byte.is_ascii_whitespace()).count();
        if length > 0 {
            writer.push(&rest[..length]);
            position += length;
        } else if rest.starts_with('&') {
            let (decoded, length) = entity(rest, writer.keep_spaces);
            match decoded {
                Some('\u{a0}' | ' ') if !writer.keep_spaces => writer.space = true,
                // Joiners between two letters are part of the text (Persian, Hindi, emoji sequences).
                Some(joiner @ ('\u{200c}' | '\u{200d}')) if !writer.space && writer.newlines == 0 && is_joined(&rest[length..]) => {
                    writer.push(joiner.encode_utf8(&mut [0; 4]));
                }
                // Characters that only affect the layout of HTML.
                Some('\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{34f}' | '\u{feff}') => {}
                Some('{' | '}' | '%' | '#') if template => return None,
                Some(character) => writer.character(character, &rest[..length]),
                None => writer.push(&rest[..length]),
            }
            position += length;
        } else {
            if writer.keep_spaces {
                writer.text.push(' ');
            } else {
                writer.space |= writer.newlines == 0;
            }
            position += 1;
        }
    }
    Some(())
}

/// Whether what follows a joiner can be joined.
fn is_joined(rest: &str) -> bool {
    let next = if rest.starts_with('&') { entity(rest, false).0 } else { rest.chars().next() };
    next.is_some_and(|next| {
        !next.is_ascii() && !next.is_whitespace() && !matches!(next, '\u{ad}' | '\u{34f}' | '\u{200b}'..='\u{200d}' | '\u{feff}')
    })
}
