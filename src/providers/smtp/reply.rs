//! Replies of a server (RFC 5321, 4.2): read from a bounded buffer, at most 64 lines of 2 KiB each.
//!
//! A reply borrows from reused buffers, so that the usual `250` costs no allocation.

use crate::providers::{
    sanitize::{self, KEPT_CHARS_MAX},
    scrub::Scrubber,
};

/// The longest line that is read, in bytes, line end included (RFC 5321 requires 512).
pub const LINE_BYTES_MAX: usize = 2048;
/// The most lines of one reply.
pub const LINES_MAX: usize = 64;

const BUFFER_BYTES: usize = 8 * 1024;

/// Input that is not SMTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Garbage {
    /// A line longer than [`LINE_BYTES_MAX`].
    LineTooLong,
    /// A reply of more lines than [`LINES_MAX`].
    TooManyLines,
    /// A line that does not start with a code, or not with the code of the line before.
    NoCode,
    /// An unsolicited reply, or one of a kind that does not fit the command.
    OutOfTurn,
}

impl Garbage {
    /// In words, after "the server".
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LineTooLong => "sent a line longer than 2048 bytes",
            Self::TooManyLines => "sent a reply of more than 64 lines",
            Self::NoCode => "answered with something that is not SMTP",
            Self::OutOfTurn => "answered out of turn",
        }
    }
}

/// A reply, all its lines.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// The reply code, 200 to 599.
    pub code: u16,
    /// The lines without their codes, joined by `\n`, for interpretation. What is shown to anybody is [`Reply::kept`] or
    /// [`Reply::quoted`].
    pub text: &'a [u8],
    /// Keeps the session's secrets out of what is shown.
    pub scrubber: &'a Scrubber,
}

impl Reply<'_> {
    /// Whether the first digit is 2.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// Whether the first digit is 5.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// The code and the lines, joined by spaces, without our secrets and control characters, at most [`KEPT_CHARS_MAX`] characters.
    #[must_use]
    pub fn kept(&self) -> String {
        let mut kept = String::with_capacity(4 + self.text.len().min(KEPT_CHARS_MAX));
        kept.push_str(&self.code.to_string());
        if !self.text.is_empty() {
            kept.push(' ');
        }
        let text = String::from_utf8_lossy(self.text);
        let text = self.scrubber.scrub(&text);
        if text.len() + 4 <= KEPT_CHARS_MAX && text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            kept.push_str(&text);
        } else {
            kept.extend(sanitize::readable(&text).take(KEPT_CHARS_MAX - 4));
        }
        kept
    }

    /// The same for a condition's message, which must be stable: words that look like ids or times become `…`.
    #[must_use]
    pub fn quoted(&self) -> String {
        sanitize::stable(&self.kept())
    }

    /// The enhanced status code (RFC 3463) at the start of the text, if there is one: `5.7.1`.
    #[must_use]
    pub fn enhanced(&self) -> Option<&str> {
        let word = self.text.split(|byte| matches!(byte, b' ' | b'\n')).next()?;
        let word = std::str::from_utf8(word).ok()?;
        let mut parts = word.split('.');
        let is_number = |part: Option<&str>| part.is_some_and(|p| (1..=3).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()));
        (is_number(parts.next()) && is_number(parts.next()) && is_number(parts.next()) && parts.next().is_none()).then_some(word)
    }
}

/// Bytes that are not parsed yet, and the reply being assembled.
#[derive(Debug)]
pub struct Replies {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    code: u16,
    lines: usize,
    text: Vec<u8>,
    is_whole: bool,
    /// What [`Replies::has_reply`] found and was not yet taken.
    ready: Option<Result<u16, Garbage>>,
    scrubber: Scrubber,
}

impl Replies {
    /// Nothing has come yet.
    #[must_use]
    pub fn new(scrubber: Scrubber) -> Self {
        let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        Self { buffer, start: 0, end: 0, code: 0, lines: 0, text: Vec::new(), is_whole: true, ready: None, scrubber }
    }

    /// Where the next bytes go; never empty after [`Replies::next_reply`] gave none.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.buffer[self.end..]
    }

    /// Says how many bytes were put there.
    pub fn filled(&mut self, bytes: usize) {
        self.end = (self.end + bytes).min(self.buffer.len());
    }

    /// Whether no byte waits, and no reply is begun.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end && self.is_whole && self.ready.is_none()
    }

    /// Whether [`Replies::next_reply`] has something to return, a whole reply or garbage.
    pub fn has_reply(&mut self) -> bool {
        self.ready = self.ready.or_else(|| self.advance().transpose());
        self.ready.is_some()
    }

    /// The next whole reply; none when more bytes are needed.
    ///
    /// # Errors
    /// When the bytes are not SMTP.
    pub fn next_reply(&mut self) -> Result<Option<Reply<'_>>, Garbage> {
        let ready = match self.ready.take() {
            Some(ready) => Some(ready?),
            None => self.advance()?,
        };
        Ok(ready.map(|code| Reply { code, text: &self.text, scrubber: &self.scrubber }))
    }

    fn advance(&mut self) -> Result<Option<u16>, Garbage> {
        loop {
            let waiting = &self.buffer[self.start..self.end];
            let Some(length) = memchr::memchr(b'\n', waiting) else {
                return if waiting.len() >= LINE_BYTES_MAX { Err(Garbage::LineTooLong) } else { Ok(None) };
            };
            if length >= LINE_BYTES_MAX {
                return Err(Garbage::LineTooLong);
            }
            let line = waiting[..length].strip_suffix(b"\r").unwrap_or(&waiting[..length]);
            let (code, is_last, text) = split(line).ok_or(Garbage::NoCode)?;
            if self.is_whole {
                self.text.clear();
                self.text.shrink_to(LINE_BYTES_MAX);
                (self.lines, self.code) = (0, code);
            } else if code != self.code {
                return Err(Garbage::NoCode);
            } else {
                self.text.push(b'\n');
            }
            self.lines += 1;
            if self.lines > LINES_MAX {
                return Err(Garbage::TooManyLines);
            }
            self.text.extend_from_slice(text);
            self.start += length + 1;
            self.is_whole = is_last;
            if is_last {
                return Ok(Some(self.code));
            }
        }
    }
}

fn split(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (&[a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9'], rest) = line.split_first_chunk::<3>()? else { return None };
    let code = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
    match rest.split_first() {
        None => Some((code, true, rest)),
        Some((b' ', text)) => Some((code, true, text)),
        Some((b'-', text)) => Some((code, false, text)),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Garbage, LINE_BYTES_MAX, Replies, Reply, Scrubber};

    /// Feeds the input in pieces of each size and returns the replies as `code text`.
    fn read(input: &[u8], piece: usize) -> Result<Vec<(u16, String)>, Garbage> {
        let (mut replies, mut read) = (Replies::new(Scrubber::default()), Vec::new());
        for bytes in input.chunks(piece) {
            replies.space()[..bytes.len()].copy_from_slice(bytes);
            replies.filled(bytes.len());
            while let Some(reply) = replies.next_reply()? {
                read.push((reply.code, String::from_utf8_lossy(reply.text).into_owned()));
            }
        }
        Ok(read)
    }

    #[test]
    fn reads_replies_however_they_are_cut() {
        let input = b"220 a ESMTP\r\n250-a\r\n250-SIZE 10\r\n250 HELP\r\n354\n250 \r\n421 4.3.2 bye\r\n";
        for piece in [1, 2, 3, 7, 13, 100] {
            let read = read(input, piece).unwrap();
            let texts: Vec<_> = read.iter().map(|(code, text)| (*code, text.as_str())).collect();
            assert_eq!(texts, [(220, "a ESMTP"), (250, "a\nSIZE 10\nHELP"), (354, ""), (250, ""), (421, "4.3.2 bye")], "{piece}");
        }
    }

    #[test]
    fn refuses_what_is_not_smtp() {
        let long = vec![b'2'; LINE_BYTES_MAX];
        let many = "250-x\r\n".repeat(65).into_bytes();
        for (input, garbage) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], Garbage::NoCode),
            (b"\x16\x03\x01\r\n", Garbage::NoCode),
            (b"150 preliminary\r\n", Garbage::NoCode),
            (b"25\r\n", Garbage::NoCode),
            (b"250:x\r\n", Garbage::NoCode),
            (b"250-a\r\n550 b\r\n", Garbage::NoCode),
            (&long, Garbage::LineTooLong),
            (&many, Garbage::TooManyLines),
        ] {
            assert_eq!(read(input, 1), Err(garbage), "{:?}", String::from_utf8_lossy(&input[..20.min(input.len())]));
            assert_eq!(read(input, 64), Err(garbage));
        }
    }

    #[test]
    fn keeps_a_bounded_clean_text() {
        let kept = |text: &str| Reply { code: 250, text: text.as_bytes(), scrubber: &Scrubber::default() }.kept();
        assert_eq!(kept("2.0.0 Ok: queued as 4F1"), "250 2.0.0 Ok: queued as 4F1");
        assert_eq!(kept("a\x1b[31m\nb\u{202e}é"), "250 a[31m bé");
        assert_eq!(kept(&"é".repeat(400)).chars().count(), 250);
        assert_eq!(kept(&"e".repeat(400)).chars().count(), 250);
    }

    #[test]
    fn quotes_without_what_changes() {
        for (text, quoted) in [
            (
                "5.7.8 Bad credentials https://support.example.com/?p=B a1-20020a05600c4f.23 - gsmtp",
                "535 5.7.8 Bad credentials https://support.example.com/?p=B … - gsmtp",
            ),
            ("4.7.0 [192.168.100.200] too many from 2001:db8::1234:5678", "535 4.7.0 [192.168.100.200] too many from 2001:db8::1234:5678"),
            ("closing at 12:04:55 for user1234@example.com", "535 closing at … for user1234@example.com"),
        ] {
            assert_eq!(Reply { code: 535, text: text.as_bytes(), scrubber: &Scrubber::default() }.quoted(), quoted);
        }
    }

    #[test]
    fn finds_the_enhanced_code() {
        for (text, enhanced) in
            [("5.7.1 no", Some("5.7.1")), ("no 5.7.1", None), ("1.2.3.4 x", None), ("4.2.10\nx", Some("4.2.10")), ("", None)]
        {
            assert_eq!(Reply { code: 550, text: text.as_bytes(), scrubber: &Scrubber::default() }.enhanced(), enhanced);
        }
    }
}
