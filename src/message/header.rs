//! Header fields (RFC 5322): values that data cannot break out of, encoded words (RFC 2047), folding.
//!
//! Everything that a template prints into a header goes through [`clean`] first: no control character gets further.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::audience::{Address, Recipient, is_atext};

/// Where lines are folded (RFC 5322, 2.1.1).
const LINE: usize = 78;
/// The longest line with an encoded word (RFC 2047, 2).
const ENCODED_LINE: usize = 76;
/// A word longer than this is encoded, so that no line reaches 998.
pub(super) const WORD_MAX: usize = 900;
/// The longest encoded word (RFC 2047, 2).
const ENCODED_WORD_MAX: usize = 75;
/// A longer display name from data is left out.
const NAME_MAX: usize = 256;
/// The longest name of a custom field.
const FIELD_NAME_MAX: usize = 60;

/// Fields that Mailfleet writes itself, or that do not belong in a mailing, and why or what to do instead.
pub(super) const RESERVED: &[(&str, &str)] = &[
    ("from", "use `spec.from`"),
    ("reply-to", "use `spec.replyTo`"),
    ("sender", "use `spec.from`"),
    ("subject", "use `spec.subject`"),
    ("list-unsubscribe", "use `spec.unsubscribe`"),
    ("list-unsubscribe-post", "use `spec.unsubscribe`"),
    ("to", "it is the recipient"),
    ("cc", "every recipient gets a message of their own"),
    ("bcc", "every recipient gets a message of their own"),
    ("date", "Mailfleet writes it"),
    ("message-id", "Mailfleet writes it"),
    ("mime-version", "Mailfleet writes it"),
    ("dkim-signature", "Mailfleet or the server writes it"),
    ("received", "servers write it"),
    ("return-path", "servers write it"),
];

/// What is wrong with the name of a custom field, if anything (RFC 5322, 3.6.8).
pub(super) fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > FIELD_NAME_MAX {
        return Err(format!("a header's name has 1 to {FIELD_NAME_MAX} characters"));
    }
    if !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':') {
        return Err("a header's name has only visible ASCII characters and no colon".to_owned());
    }
    let lower = name.to_ascii_lowercase();
    if lower.starts_with("content-") {
        return Err("this header cannot be set: Mailfleet writes it".to_owned());
    }
    match RESERVED.iter().find(|(reserved, _)| *reserved == lower) {
        Some((_, instead)) => Err(format!("this header cannot be set: {instead}")),
        None => Ok(()),
    }
}

/// The value without control characters and line separators (a space each) and without spaces around it.
pub(super) fn clean(value: &str) -> Cow<'_, str> {
    let breaks = |character: char| character.is_control() || matches!(character, '\u{2028}' | '\u{2029}');
    let trimmed = value.trim_matches([' ', '\t', '\r', '\n']);
    let suspicious = trimmed.bytes().any(|byte| byte < b' ' || byte == 0x7f || byte == 0xc2 || byte == 0xe2);
    if !suspicious || !trimmed.contains(breaks) {
        return Cow::Borrowed(trimmed);
    }
    // A CRLF is one break and becomes one space.
    let spaced = trimmed.replace("\r\n", "\n").replace(breaks, " ");
    Cow::Owned(spaced.trim_matches(' ').to_owned())
}

/// A display name: clean, and with runs of spaces collapsed, as every address parser does.
pub(super) fn clean_name(name: &str) -> Cow<'_, str> {
    let name = clean(name);
    if name.contains("  ") { Cow::Owned(name.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")) } else { name }
}

/// Writes an unstructured field (RFC 5322, 3.6.5) with its line end. The value must be clean.
pub(super) fn unstructured(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.push(b':');
    if is_plain(value) {
        fold(out, name.len() + 1, value);
    } else {
        out.push(b' ');
        encoded_words(out, name.len() + 2, value);
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes `Name <address>` or the address alone; `column` is the current column. The name must be clean.
pub(super) fn mailbox(out: &mut Vec<u8>, column: usize, name: &str, address: &str) {
    if name.is_empty() {
        out.extend_from_slice(address.as_bytes());
        return;
    }
    let start = out.len();
    phrase(out, column, name);
    let line = out[start..].iter().rev().position(|byte| *byte == b'\n').unwrap_or(column + out.len() - start);
    let line_max = if out[start..].ends_with(b"?=") { ENCODED_LINE } else { LINE };
    out.extend_from_slice(if line + address.len() + 3 > line_max { b"\r\n <" } else { b" <" });
    out.extend_from_slice(address.as_bytes());
    out.push(b'>');
}

/// Writes a phrase (RFC 5322, 3.2.5): atoms, a quoted string, or encoded words. It must be clean.
pub(super) fn phrase(out: &mut Vec<u8>, column: usize, name: &str) {
    if !name.is_ascii() || name.len() > LINE - 14 || name.contains("=?") {
        encoded_words(out, column, name);
    } else if name.bytes().all(|byte| is_atext(byte) || byte == b' ') {
        out.extend_from_slice(name.as_bytes());
    } else {
        out.push(b'"');
        for byte in name.bytes() {
            if matches!(byte, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(byte);
        }
        out.push(b'"');
    }
}

/// Writes a field with one mailbox. `name` must be clean.
pub(super) fn mailbox_field(out: &mut Vec<u8>, field: &str, name: &str, address: &Address) {
    out.extend_from_slice(field.as_bytes());
    out.extend_from_slice(b": ");
    mailbox(out, field.len() + 2, name, &address.to_wire());
    out.extend_from_slice(b"\r\n");
}

/// What is not allowed in a URL (RFC 3986), in addition to non-ASCII.
const NOT_IN_URL: &AsciiSet =
    &CONTROLS.add(b' ').add(b'<').add(b'>').add(b'"').add(b'\\').add(b'^').add(b'`').add(b'{').add(b'|').add(b'}');

/// Makes a URL fit for angle brackets.
pub(super) fn escape_url(url: &str) -> Cow<'_, str> {
    utf8_percent_encode(url, NOT_IN_URL).into()
}

/// The digits of quoted-printable and of the Q encoding.
pub(super) const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Whether a value needs no encoding: ASCII, no word too long for a line, nothing that reads as an encoded word.
fn is_plain(value: &str) -> bool {
    value.is_ascii()
        && memchr::memmem::find(value.as_bytes(), b"=?").is_none()
        && (value.len() <= WORD_MAX || value.split(' ').all(|word| word.len() <= WORD_MAX) && !value.contains(&" ".repeat(40)))
}

/// Writes words, each with the space before it, and breaks lines between them.
pub(super) fn fold(out: &mut Vec<u8>, start: usize, value: &str) {
    if value.is_empty() {
        return;
    }
    let bytes = value.as_bytes();
    if start + 1 + bytes.len() <= LINE {
        out.push(b' ');
        out.extend_from_slice(bytes);
        return;
    }
    let mut column = start;
    let mut position = 0;
    while position < bytes.len() {
        let spaces = bytes[position..].iter().take_while(|byte| **byte == b' ').count();
        let word = memchr::memchr(b' ', &bytes[position + spaces..]).unwrap_or(bytes.len() - position - spaces);
        let end = position + spaces + word;
        let first = position == 0;
        if !first && column + spaces + word > LINE {
            out.extend_from_slice(b"\r\n");
            column = 0;
        }
        if first {
            out.push(b' ');
            column += 1;
        }
        out.extend_from_slice(&bytes[position..end]);
        column += end - position;
        position = end;
    }
}

/// Writes encoded words, one per line, in the encoding that suits. No character is split.
pub(super) fn encoded_words(out: &mut Vec<u8>, column: usize, value: &str) {
    let quoted: usize = value.bytes().map(q_length).sum();
    let base64 = value.len().div_ceil(3) * 4;
    // The Q encoding is readable in the source, and filters distrust needless base64: so it may be a bit longer.
    let quoted = quoted * 2 <= base64 * 3;
    // `=?utf-8?Q?` and `?=`.
    let overhead = 12;
    let mut room = ENCODED_WORD_MAX.min(ENCODED_LINE.saturating_sub(column)).saturating_sub(overhead);
    if room < 16 {
        out.extend_from_slice(b"\r\n ");
        room = ENCODED_WORD_MAX - overhead;
    }
    let mut rest = value;
    loop {
        let mut length = 0;
        let mut used = 0;
        for character in rest.chars() {
            let size = character.len_utf8();
            let next = if quoted {
                used + rest.as_bytes()[length..length + size].iter().map(|b| q_length(*b)).sum::<usize>()
            } else {
                (length + size).div_ceil(3) * 4
            };
            if next > room {
                break;
            }
            used = next;
            length += size;
        }
        let (word, after) = rest.split_at(length);
        out.extend_from_slice(if quoted { b"=?utf-8?Q?" } else { b"=?utf-8?B?" });
        if quoted {
            for &byte in word.as_bytes() {
                match byte {
                    b' ' => out.push(b'_'),
                    _ if q_length(byte) == 1 => out.push(byte),
                    _ => out.extend_from_slice(&[b'=', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
                }
            }
        } else {
            out.extend_from_slice(STANDARD.encode(word).as_bytes());
        }
        out.extend_from_slice(b"?=");
        if after.is_empty() {
            return;
        }
        out.extend_from_slice(b"\r\n ");
        room = ENCODED_WORD_MAX - overhead;
        rest = after;
    }
}

/// The length of a byte in the Q encoding, with the characters that a display name allows (RFC 2047, 5 (3)).
const fn q_length(byte: u8) -> usize {
    if byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'!' | b'*' | b'+' | b'-' | b'/') { 1 } else { 3 }
}

/// Writes the To field: the recipient, with their field `name` as display name where it is a text of reasonable length.
pub(super) fn to(out: &mut Vec<u8>, recipient: &Recipient, address: &str) {
    let name = match recipient.fields.get("name") {
        // A number or a list is nobody's name; it comes owned.
        Some(Cow::Borrowed(name)) if name.len() <= NAME_MAX => clean_name(name),
        _ => Cow::Borrowed(""),
    };
    out.extend_from_slice(b"To: ");
    mailbox(out, 4, &name, address);
    out.extend_from_slice(b"\r\n");
}
