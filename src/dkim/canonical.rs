//! The canonical form `relaxed` (RFC 6376, 3.4.2 and 3.4.4), without a copy of what is as it should be.

use aws_lc_rs::digest::{Context, SHA256};

/// Bytes that are gathered before they are hashed, and the longest run that is.
const GATHERED: usize = 4096;
const GATHERED_RUN_MAX: usize = 512;
/// Bytes that are looked at together.
const CHUNK: usize = 64;

/// The hash of a body in its canonical form (`bh=`), SHA-256.
#[must_use]
pub fn body_hash(body: &[u8]) -> [u8; 32] {
    hash_of(&[], body)
}

/// The same of a body in pieces. None is copied, unless one ends in the middle of a line or the last one is empty lines.
#[must_use]
pub fn body_hash_of(pieces: &[&[u8]]) -> [u8; 32] {
    match pieces.split_last() {
        Some((last, lines)) if lines.iter().all(|piece| piece.ends_with(b"\r\n")) && end_of_body(last) > 0 => hash_of(lines, last),
        _ => body_hash(&pieces.concat()),
    }
}

/// The hash of whole lines and what follows them.
fn hash_of(lines: &[&[u8]], last: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    let mut gathered = [0_u8; GATHERED];
    let mut length = 0;
    let mut hash_run = |run: &[u8]| {
        // A call for each run of a body with many lines would cost as much as the hash.
        if run.len() > GATHERED_RUN_MAX || length + run.len() > GATHERED {
            context.update(&gathered[..length]);
            length = 0;
        }
        if run.len() > GATHERED_RUN_MAX {
            context.update(run);
        } else {
            gathered[length..length + run.len()].copy_from_slice(run);
            length += run.len();
        }
    };
    lines.iter().for_each(|piece| relaxed_lines(piece, &mut hash_run));
    relaxed_body(last, &mut hash_run);
    context.update(&gathered[..length]);
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Gives a body in its canonical form, in runs: spaces in a line become one, those at its end and empty lines at the body's end go, and
/// what is left ends with a line end.
pub fn relaxed_body(body: &[u8], mut out: impl FnMut(&[u8])) {
    let body = &body[..end_of_body(body)];
    if body.is_empty() {
        return;
    }
    relaxed_lines(body, &mut out);
    out(b"\r\n");
}

/// The same of lines in the middle of a body, which do not end with a space.
fn relaxed_lines(body: &[u8], mut out: impl FnMut(&[u8])) {
    let (mut start, mut at) = (0, 0);
    loop {
        at += unchanged(&body[at..]);
        // They do not end with a space, so that each has a successor.
        let is_changed = |pair: &[u8]| pair[0] == b'\t' || pair[0] == b' ' && pair[1] <= b' ';
        let Some(distance) = body[at..].windows(2).position(is_changed) else { break };
        let first = at + distance;
        let spaces = body[first..].iter().take_while(|byte| is_space(**byte)).count();
        at = first + spaces;
        let is_at_line_end = body[at..].starts_with(b"\r\n");
        if !is_at_line_end && body[first] == b' ' {
            // The first of them stays.
            out(&body[start..=first]);
        } else {
            out(&body[start..first]);
            if !is_at_line_end {
                out(b" ");
            }
        }
        start = at;
    }
    out(&body[start..]);
}

/// Where a body ends without the spaces and line ends at its end.
fn end_of_body(body: &[u8]) -> usize {
    let mut end = body.len();
    loop {
        end -= body[..end].iter().rev().take_while(|byte| is_space(**byte)).count();
        match body[..end].strip_suffix(b"\r\n") {
            Some(rest) => end = rest.len(),
            None => return end,
        }
    }
}

/// How many bytes at the start hold no tab, and no space before another or before a line end; a multiple of the chunk.
fn unchanged(bytes: &[u8]) -> usize {
    let next = bytes.get(1..).unwrap_or_default();
    // Whole chunks without a branch for each byte, which the compiler turns into vector instructions.
    let is_unchanged = |(chunk, next): &(&[u8], &[u8])| {
        let is_changed = |byte: u8, next: u8| u8::from(byte == b'\t') | (u8::from(byte == b' ') & u8::from(next <= b' '));
        chunk.iter().zip(*next).fold(0, |any, (byte, next)| any | is_changed(*byte, *next)) == 0
    };
    bytes.chunks_exact(CHUNK).zip(next.chunks_exact(CHUNK)).take_while(is_unchanged).count() * CHUNK
}

/// Writes a header field in its canonical form, without a line end: the name in lower case, unfolded, spaces become one. `field` is the
/// whole field; a line end at its end is left out.
pub fn relaxed_field(field: &[u8], out: &mut Vec<u8>) {
    let colon = field.iter().position(|byte| *byte == b':').unwrap_or(field.len());
    let (name, value) = field.split_at(colon);
    out.extend(name.trim_ascii().iter().map(u8::to_ascii_lowercase));
    out.push(b':');
    let mut rest = value.get(1..).unwrap_or_default();
    let mut is_first = true;
    while !rest.is_empty() {
        // Line ends within a field are folds, before a space.
        let spaces = rest.iter().take_while(|byte| is_space(**byte) || matches!(byte, b'\r' | b'\n')).count();
        rest = &rest[spaces..];
        let length = rest.iter().position(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).unwrap_or(rest.len());
        if length > 0 && !std::mem::take(&mut is_first) {
            out.push(b' ');
        }
        out.extend_from_slice(&rest[..length]);
        rest = &rest[length..];
    }
}
