//! Commands and contents as bytes on the wire. Pure.

use super::{extensions::Extensions, verdict};
use crate::providers::Outgoing;

/// MAIL with the parameters that the server supports (RFC 1870, 6152, 6531).
pub fn write_mail(out: &mut Vec<u8>, message: &Outgoing, extensions: &Extensions) {
    out.extend_from_slice(b"MAIL FROM:<");
    out.extend_from_slice(message.mail_from.as_bytes());
    out.push(b'>');
    if extensions.has_size {
        out.extend_from_slice(b" SIZE=");
        write_number(out, message.size() as u64);
    }
    if message.needs_8bit {
        out.extend_from_slice(b" BODY=8BITMIME");
    }
    if verdict::needs_smtputf8(message) {
        out.extend_from_slice(b" SMTPUTF8");
    }
    out.extend_from_slice(b"\r\n");
}

/// A number in decimal, without an allocation.
pub fn write_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// Copies a piece of a content, with an additional dot at the start of each line that starts with one (RFC 5321, 4.5.2).
/// A line starts after any LF, so that no server can be made to see an end where we see none.
pub fn write_dot_stuffed(out: &mut Vec<u8>, piece: &[u8], is_line_start: bool) {
    if piece.first() == Some(&b'.') && is_line_start {
        out.push(b'.');
    }
    let mut copied = 0;
    for found in memchr::memmem::find_iter(piece, b"\n.") {
        out.extend_from_slice(&piece[copied..=found]);
        out.push(b'.');
        copied = found + 1;
    }
    out.extend_from_slice(&piece[copied..]);
}

#[cfg(test)]
mod tests {
    use super::{write_dot_stuffed, write_number};

    #[test]
    fn stuffs_dots_wherever_the_content_is_cut() {
        for (content, stuffed) in [
            ("a\r\n.b\r\n..\r\nc.d\r\n", "a\r\n..b\r\n...\r\nc.d\r\n"),
            (".\r\n.\r\n", "..\r\n..\r\n"),
            ("x\n.\n.\r\n", "x\n..\n..\r\n"),
            ("\n.\n.\n.", "\n..\n..\n.."),
            ("", ""),
        ] {
            for piece in 1..=content.len().max(1) {
                let mut out = Vec::new();
                for offset in (0..content.len()).step_by(piece) {
                    let is_line_start = offset == 0 || content.as_bytes()[offset - 1] == b'\n';
                    write_dot_stuffed(&mut out, &content.as_bytes()[offset..content.len().min(offset + piece)], is_line_start);
                }
                assert_eq!(String::from_utf8_lossy(&out), stuffed, "in pieces of {piece}");
            }
        }
    }

    #[test]
    fn writes_numbers() {
        for number in [0, 7, 10, 5_120, u64::MAX] {
            let mut out = Vec::new();
            write_number(&mut out, number);
            assert_eq!(String::from_utf8_lossy(&out), number.to_string());
        }
    }
}
