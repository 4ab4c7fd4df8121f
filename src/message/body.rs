//! Bodies (RFC 2045, 2046): line ends, transfer encodings, multipart. What is written is always 7-bit.

use super::{header::HEX, id};

/// The longest line that is written unencoded (RFC 5322, 2.1.1).
const LINE_MAX: usize = 998;
/// The longest line of quoted-printable, its soft break included (RFC 2045, 6.7).
const QUOTED_LINE_MAX: usize = 76;

/// Writes the content headers and the body: one part, or text and HTML as alternatives; `content` is what their boundary is made of.
pub(super) fn write(out: &mut Vec<u8>, content: u64, text: Option<&str>, html: Option<&str>) {
    let (text, html) = match (text, html) {
        (Some(text), Some(html)) => (text, html),
        (Some(text), None) => return part(out, b"text/plain", text),
        (None, html) => return part(out, b"text/html", html.unwrap_or_default()),
    };
    let boundary = (0..)
        .map(|attempt| id::boundary(content, attempt))
        .find(|boundary| [text, html].iter().all(|body| memchr::memmem::find(body.as_bytes(), boundary.as_bytes()).is_none()))
        .unwrap_or_default();
    let boundary = boundary.as_bytes();
    out.extend_from_slice(b"Content-Type: multipart/alternative;\r\n boundary=\"");
    out.extend_from_slice(boundary);
    out.extend_from_slice(b"\"\r\n\r\n");
    for (kind, body) in [(&b"text/plain"[..], text), (&b"text/html"[..], html)] {
        out.extend_from_slice(b"--");
        out.extend_from_slice(boundary);
        out.extend_from_slice(b"\r\n");
        part(out, kind, body);
    }
    out.extend_from_slice(b"--");
    out.extend_from_slice(boundary);
    out.extend_from_slice(b"--\r\n");
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
