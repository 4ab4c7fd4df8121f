//! Bodies (RFC 2045, 2046): line ends, transfer encodings, multipart. What is written is always 7-bit.

use std::sync::Arc;

use super::{attachments::Attached, header::HEX, id};
use crate::meta::pieces::Shared;

/// The longest line that is written unencoded (RFC 5322, 2.1.1).
const LINE_MAX: usize = 998;
/// The longest line of quoted-printable, its soft break included (RFC 2045, 6.7).
const QUOTED_LINE_MAX: usize = 76;

/// What a message's body consists of.
pub(super) struct Body<'a> {
    /// What boundaries are made of.
    pub content: u64,
    /// The text.
    pub text: &'a str,
    /// The HTML.
    pub html: Option<&'a str>,
    /// The files, with their names for the recipient.
    pub files: &'a [(&'a Attached, String)],
}

/// The parts that are nested in each other, from the inside.
#[derive(Clone, Copy)]
enum Level {
    /// The text in several forms.
    Alternative,
    /// What the HTML shows with it.
    Related,
    /// The files with it.
    Mixed,
}

/// Bytes that a message shares with others, and where they stand among its own.
pub(super) type Inserts = Vec<(usize, Arc<Shared>)>;

impl Body<'_> {
    /// Writes the content headers and the body: the text, with the HTML and invitations as alternatives, with images that belong to it
    /// around that, and files around all (RFC 2046, 5.1; RFC 2387). Returns the shared bytes, which are not written.
    pub fn write(&self, out: &mut Vec<u8>) -> Inserts {
        let mut inserts = Vec::new();
        let is_inline = |file: &&(&Attached, String)| file.0.inline.is_some();
        if self.files.iter().all(|file| is_inline(&file)) {
            self.related(out, &mut inserts);
            return inserts;
        }
        self.multipart(out, Level::Mixed, "", |out, open| {
            open(out);
            self.related(out, &mut inserts);
            for file in self.files.iter().filter(|file| !is_inline(file)) {
                open(out);
                self::file(out, file, &mut inserts);
            }
        });
        inserts
    }

    fn related(&self, out: &mut Vec<u8>, inserts: &mut Inserts) {
        let mut images = self.files.iter().filter(|(file, _)| file.inline.is_some()).peekable();
        if images.peek().is_none() {
            return self.alternative(out, inserts);
        }
        let kind = if self.is_single() { "text/plain" } else { "multipart/alternative" };
        self.multipart(out, Level::Related, &format!(";\r\n type=\"{kind}\""), |out, open| {
            open(out);
            self.alternative(out, inserts);
            for image in images {
                open(out);
                file(out, image, inserts);
            }
        });
    }

    /// Whether the text has no other form.
    fn is_single(&self) -> bool {
        self.html.is_none() && !self.files.iter().any(|(file, _)| file.is_invitation())
    }

    fn alternative(&self, out: &mut Vec<u8>, inserts: &mut Inserts) {
        if self.is_single() {
            return part(out, b"text/plain", self.text);
        }
        self.multipart(out, Level::Alternative, "", |out, open| {
            open(out);
            part(out, b"text/plain", self.text);
            if let Some(html) = self.html {
                open(out);
                part(out, b"text/html", html);
            }
            for (file, _) in self.files.iter().filter(|(file, _)| file.is_invitation()) {
                open(out);
                file.head_of_invitation(out);
                inserts.push((out.len(), file.encoded.clone()));
            }
        });
    }

    /// Writes a part with parts in it; each of those is begun by what `parts` is given.
    fn multipart(&self, out: &mut Vec<u8>, level: Level, more: &str, parts: impl FnOnce(&mut Vec<u8>, &dyn Fn(&mut Vec<u8>))) {
        let (name, salt) = match level {
            Level::Alternative => ("alternative", 0),
            Level::Related => ("related", 1 << 32),
            Level::Mixed => ("mixed", 2 << 32),
        };
        let is_within = |boundary: &str| {
            [Some(self.text), self.html]
                .into_iter()
                .flatten()
                .any(|body| memchr::memmem::find(body.as_bytes(), boundary.as_bytes()).is_some())
        };
        let boundary =
            (salt..).map(|attempt| id::boundary(self.content, attempt)).find(|boundary| !is_within(boundary)).unwrap_or_default();
        out.extend_from_slice(format!("Content-Type: multipart/{name}{more};\r\n boundary=\"{boundary}\"\r\n\r\n").as_bytes());
        parts(out, &|out| out.extend_from_slice(format!("--{boundary}\r\n").as_bytes()));
        out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    }
}

fn file(out: &mut Vec<u8>, (file, name): &(&Attached, String), inserts: &mut Inserts) {
    file.head(out, name);
    inserts.push((out.len(), file.encoded.clone()));
}

fn part(out: &mut Vec<u8>, kind: &[u8], body: &str) {
    // Without any line, the blank line after the headers would be taken for the boundary's own line break.
    let body = if body.is_empty() { "\n" } else { body };
    out.extend_from_slice(b"Content-Type: ");
    out.extend_from_slice(kind);
    out.extend_from_slice(b"; charset=utf-8\r\nContent-Transfer-Encoding: ");
    if is_seven_bit(body.as_bytes()) {
        out.extend_from_slice(b"7bit\r\n\r\n");
        each_line(body.as_bytes(), |line| {
            out.extend_from_slice(line);
            out.extend_from_slice(b"\r\n");
        });
    } else {
        out.extend_from_slice(b"quoted-printable\r\n\r\n");
        each_line(body.as_bytes(), |line| quoted_line(out, line));
    }
}

/// Whether a body needs no encoding: ASCII, no NUL, no line that is too long.
fn is_seven_bit(body: &[u8]) -> bool {
    if !body.is_ascii() || memchr::memchr(0, body).is_some() {
        return false;
    }
    if body.len() <= LINE_MAX {
        return true;
    }
    let mut start = 0;
    // A lone CR makes lines shorter, never longer: judging by LF alone errs on the safe side.
    for end in memchr::memchr_iter(b'\n', body).chain([body.len()]) {
        if end - start > LINE_MAX {
            return false;
        }
        start = end + 1;
    }
    true
}

/// Calls with each line without its end, be it CRLF, LF or CR.
fn each_line(body: &[u8], mut line: impl FnMut(&[u8])) {
    let mut start = 0;
    for at in memchr::memchr2_iter(b'\r', b'\n', body) {
        // The LF of a CRLF whose CR has already ended the line.
        if at < start {
            continue;
        }
        line(&body[start..at]);
        start = at + if body[at] == b'\r' && body.get(at + 1) == Some(&b'\n') { 2 } else { 1 };
    }
    if start < body.len() {
        line(&body[start..]);
    }
}

/// Writes one line in quoted-printable.
fn quoted_line(out: &mut Vec<u8>, line: &[u8]) {
    let mut column = 0;
    let mut position = 0;
    while position < line.len() {
        let room = (position + QUOTED_LINE_MAX - 1 - column).min(line.len());
        let run = literal_run(&line[position..room]);
        // A space at the end of a line is lost in transit, so it is encoded.
        let run = if position + run == line.len() && run > 0 && matches!(line[line.len() - 1], b' ' | b'\t') { run - 1 } else { run };
        out.extend_from_slice(&line[position..position + run]);
        position += run;
        column += run;
        let Some(&byte) = line.get(position) else { break };
        let last_space = position + 1 == line.len() && matches!(byte, b' ' | b'\t');
        if is_literal(byte) && !last_space {
            out.extend_from_slice(b"=\r\n");
            column = 0;
            continue;
        }
        if column + 3 > QUOTED_LINE_MAX - 1 {
            out.extend_from_slice(b"=\r\n");
            column = 0;
        }
        out.extend_from_slice(&[b'=', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        position += 1;
        column += 3;
    }
    out.extend_from_slice(b"\r\n");
}

/// How many bytes at the start need no encoding.
fn literal_run(bytes: &[u8]) -> usize {
    const CHUNK: usize = 16;
    // Whole chunks without a branch for each byte, which the compiler turns into vector instructions.
    let chunks = bytes.chunks_exact(CHUNK).take_while(|chunk| chunk.iter().fold(true, |all, byte| all & is_literal(*byte))).count() * CHUNK;
    chunks + bytes[chunks..].iter().take_while(|byte| is_literal(**byte)).count()
}

const fn is_literal(byte: u8) -> bool {
    matches!(byte, b' '..=b'<' | b'>'..=b'~' | b'\t')
}
