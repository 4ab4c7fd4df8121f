//! What an IMAP server says (RFC 9051, 7; RFC 3501, 7), as far as a mailbox of bounces needs it: bytes in, responses out. Pure.
//!
//! The server may be a customer's. Lines, literals and numbers have bounds, and nothing is read by recursion: of what a server may
//! nest (envelopes, structures of bodies) nothing is asked for, and nothing is looked at.

/// A line of a response without its literals, bytes: a search over a hundred thousand mails.
const LINE_MAX: usize = 1024 * 1024;
/// Numbers of one search.
const FOUND_MAX: usize = 150_000;

/// What a server says in IMAP, as far as it is of use: the end of a command, or what came before that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// A command has ended.
    Ended {
        /// The tag of the command.
        tag: String,
        /// Whether it succeeded.
        is_ok: bool,
        /// The words after the status, without CR and LF.
        text: String,
    },
    /// `+`: the server waits for more of the command.
    GoOn,
    /// What the server can do.
    Capabilities(Vec<String>),
    /// `* OK [UIDVALIDITY n]`.
    Validity(u32),
    /// How many mails the folder holds.
    Exists(u32),
    /// The UIDs that a search found.
    Found(Vec<u32>),
    /// A mail, or as much of it as was asked for.
    Mail {
        /// The number by which its folder knows it for good (UID).
        uid: u32,
        /// The content; absent where the server has none.
        content: Option<Vec<u8>>,
    },
    /// The server is logged in to already.
    Known,
    /// The server ends the connection, and why.
    Bye(String),
    /// Anything else.
    Other,
}

/// A response that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is longer than any that is asked for.
    #[error("sent more than was asked for")]
    TooLong,
    /// It is not IMAP.
    #[error("does not speak IMAP")]
    NoImap,
}

/// Takes bytes apart into responses.
#[derive(Debug)]
pub struct Decoder {
    buffer: Vec<u8>,
    literal_max: usize,
    /// What was read of the current response.
    line: Vec<u8>,
    literal: Option<Vec<u8>>,
    /// Bytes that are missing of a literal.
    missing: usize,
}

impl Decoder {
    /// For literals of at most this many bytes.
    #[must_use]
    pub const fn new(literal_max: usize) -> Self {
        Self { buffer: Vec::new(), literal_max, line: Vec::new(), literal: None, missing: 0 }
    }

    /// Adds what came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether nothing is left over.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.line.is_empty()
    }

    /// The next response, once it is whole.
    ///
    /// # Errors
    /// Then nothing that follows can be read.
    pub fn response(&mut self) -> Result<Option<Response>, Unreadable> {
        loop {
            if self.missing > 0 {
                let part = self.missing.min(self.buffer.len());
                if let Some(literal) = &mut self.literal {
                    literal.extend(self.buffer.drain(..part));
                }
                self.missing -= part;
                if self.missing > 0 {
                    return Ok(None);
                }
            }
            let Some(end) = memchr::memchr(b'\n', &self.buffer) else {
                return if self.line.len() + self.buffer.len() > LINE_MAX { Err(Unreadable::TooLong) } else { Ok(None) };
            };
            if self.line.len() + end > LINE_MAX {
                return Err(Unreadable::TooLong);
            }
            let part: Vec<u8> = self.buffer.drain(..=end).collect();
            let part = part.strip_suffix(b"\r\n").or(part.strip_suffix(b"\n")).unwrap_or(&part);
            self.line.extend_from_slice(part);
            if let Some(size) = literal_size(part) {
                if size > self.literal_max || self.literal.is_some() {
                    return Err(Unreadable::TooLong);
                }
                (self.literal, self.missing) = (Some(Vec::with_capacity(size)), size);
                continue;
            }
            let (line, literal) = (std::mem::take(&mut self.line), self.literal.take());
            return read(&String::from_utf8_lossy(&line), literal).map(Some);
        }
    }
}

/// The size of the literal that a line announces at its end: `{123}`.
fn literal_size(line: &[u8]) -> Option<usize> {
    let inner = line.strip_suffix(b"}")?;
    let open = memchr::memrchr(b'{', inner)?;
    let digits = std::str::from_utf8(&inner[open + 1..]).ok()?;
    let digits = digits.strip_suffix('+').unwrap_or(digits);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(usize::MAX))
}

fn read(line: &str, literal: Option<Vec<u8>>) -> Result<Response, Unreadable> {
    if line == "+" || line.starts_with("+ ") {
        return Ok(Response::GoOn);
    }
    let (tag, rest) = line.split_once(' ').ok_or(Unreadable::NoImap)?;
    let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
    let upper = word.to_ascii_uppercase();
    if tag != "*" {
        let is_tag = !tag.is_empty() && tag.len() <= 16 && tag.bytes().all(|b| b.is_ascii_alphanumeric());
        return match upper.as_str() {
            "OK" | "NO" | "BAD" if is_tag => Ok(Response::Ended { tag: tag.to_owned(), is_ok: upper == "OK", text: after.to_owned() }),
            _ => Err(Unreadable::NoImap),
        };
    }
    Ok(match upper.as_str() {
        "CAPABILITY" => Response::Capabilities(words(after)),
        "OK" => code(after),
        "PREAUTH" => Response::Known,
        "BYE" => Response::Bye(after.to_owned()),
        "SEARCH" => Response::Found(after.split_ascii_whitespace().filter_map(|word| word.parse().ok()).take(FOUND_MAX).collect()),
        _ => {
            let number = word.parse::<u32>().ok();
            let kind = after.split(' ').next().unwrap_or_default().to_ascii_uppercase();
            match (number, kind.as_str()) {
                (Some(count), "EXISTS") => Response::Exists(count),
                (Some(_), "FETCH") => mail(after, literal),
                _ => Response::Other,
            }
        }
    })
}

fn words(text: &str) -> Vec<String> {
    text.split_ascii_whitespace().take(200).map(str::to_ascii_uppercase).collect()
}

/// The code of `* OK [CODE] words`.
fn code(text: &str) -> Response {
    let Some((code, _)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) else { return Response::Other };
    let (name, value) = code.split_once(' ').unwrap_or((code, ""));
    match name.to_ascii_uppercase().as_str() {
        "UIDVALIDITY" => value.trim().parse().map_or(Response::Other, Response::Validity),
        "CAPABILITY" => Response::Capabilities(words(value)),
        _ => Response::Other,
    }
}

/// `FETCH (UID 7 BODY[]<0> {12}...)`: a literal, or a quoted text for a very short mail.
fn mail(text: &str, literal: Option<Vec<u8>>) -> Response {
    let upper = text.to_ascii_uppercase();
    let uid = upper.match_indices("UID ").find_map(|(at, word)| {
        let is_apart = at.checked_sub(1).is_none_or(|before| matches!(upper.as_bytes()[before], b' ' | b'('));
        let digits: String = upper[at + word.len()..].chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok().filter(|_| is_apart)
    });
    let Some(uid) = uid else { return Response::Other };
    let Some(at) = upper.find("BODY[]") else { return Response::Other };
    let quoted = || {
        let value = text[at..].split_once(' ').map_or("", |(_, value)| value).strip_prefix('"')?;
        let (mut out, mut is_escaped) = (Vec::new(), false);
        for byte in value.bytes() {
            match byte {
                b'\\' if !is_escaped => is_escaped = true,
                b'"' if !is_escaped => return Some(out),
                byte => {
                    is_escaped = false;
                    out.push(byte);
                }
            }
        }
        None
    };
    Response::Mail { uid, content: literal.or_else(quoted) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[u8], piece: usize) -> Result<Vec<Response>, Unreadable> {
        let (mut decoder, mut found) = (Decoder::new(100), Vec::new());
        for part in input.chunks(piece) {
            decoder.push(part);
            while let Some(response) = decoder.response()? {
                found.push(response);
            }
        }
        Ok(found)
    }

    const TALK: &[u8] = b"* OK [CAPABILITY IMAP4rev1 idle] hi\r\n+ go on\r\n* 3 EXISTS\r\n* OK [UIDVALIDITY 17] ok\r\n* SEARCH 4 5 6\r\n* SEARCH\r\n\
            * 1 FETCH (FLAGS (\\Seen) UID 4 BODY[]<0> {7}\r\na\r\nb)\r\n)\r\n* 2 FETCH (BODY[] \"x\\\"y\" UID 5)\r\n* 2 FETCH (UID 6 BODY[] NIL)\r\n\
            * 2 EXPUNGE\r\na7 OK done\r\nA8 NO [TRYCREATE] no folder\r\n* BYE tired\r\n";

    #[test]
    fn responses_are_read_however_they_are_cut() {
        let wanted = [
            Response::Capabilities(vec!["IMAP4REV1".to_owned(), "IDLE".to_owned()]),
            Response::GoOn,
            Response::Exists(3),
            Response::Validity(17),
            Response::Found(vec![4, 5, 6]),
            Response::Found(vec![]),
            Response::Mail { uid: 4, content: Some(b"a\r\nb)\r\n".to_vec()) },
            Response::Mail { uid: 5, content: Some(b"x\"y".to_vec()) },
            Response::Mail { uid: 6, content: None },
            Response::Other,
            Response::Ended { tag: "a7".to_owned(), is_ok: true, text: "done".to_owned() },
            Response::Ended { tag: "A8".to_owned(), is_ok: false, text: "[TRYCREATE] no folder".to_owned() },
            Response::Bye("tired".to_owned()),
        ];
        for piece in 1..TALK.len() {
            assert_eq!(all(TALK, piece).expect("readable"), wanted, "{piece}");
        }
    }

    #[test]
    fn what_is_too_long_or_no_imap_ends_it() {
        assert_eq!(all(b"* 1 FETCH (UID 1 BODY[] {101}\r\n", 9), Err(Unreadable::TooLong));
        assert_eq!(all(b"* 1 FETCH (UID 1 BODY[] {99999999999999999999}\r\n", 9), Err(Unreadable::TooLong));
        assert_eq!(all(b"* 1 FETCH (UID 1 BODY[] {1}\r\na X {1}\r\nb)\r\n", 9), Err(Unreadable::TooLong), "one literal is asked for");
        assert_eq!(all(&vec![b'('; LINE_MAX + 2], 4096), Err(Unreadable::TooLong));
        for bad in ["HTTP/1.1 400 Bad\r\n", "\r\n", "220 smtp ESMTP\r\n", "x\r\n"] {
            assert_eq!(all(bad.as_bytes(), 100), Err(Unreadable::NoImap), "{bad}");
        }
    }

    #[test]
    fn an_altered_talk_is_bounded_and_read_the_same_in_all_pieces() {
        let mut read = 0;
        for seed in 0..5_000_u64 {
            let mut count = 0;
            let mut chance = |below: usize| {
                count += 1;
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
                let picked = (crate::chance::jitter(seed, "altered", count) * below as f64) as usize;
                picked.min(below.saturating_sub(1))
            };
            let mut talk = TALK.to_vec();
            for _ in 0..=chance(4) {
                if talk.is_empty() {
                    break;
                }
                let at = chance(talk.len());
                match chance(4) {
                    0 => talk[at] = u8::try_from(chance(256)).expect("a byte"),
                    1 => drop(talk.drain(at..(at + chance(30)).min(talk.len()))),
                    2 => talk.truncate(at.max(1)),
                    _ => {
                        let copy = talk[at..(at + chance(60)).min(talk.len())].to_vec();
                        talk.splice(at..at, copy).for_each(drop);
                    }
                }
            }
            let whole = all(&talk, talk.len().max(1));
            for response in whole.iter().flatten() {
                match response {
                    Response::Mail { content, .. } => {
                        assert!(content.as_ref().is_none_or(|content| content.len() <= talk.len()), "seed {seed}");
                    }
                    Response::Found(found) => assert!(found.len() <= talk.len(), "seed {seed}"),
                    _ => {}
                }
            }
            read += usize::from(whole.is_ok());
            for piece in [1, 13] {
                assert_eq!(all(&talk, piece), whole, "seed {seed} in pieces of {piece}");
            }
        }
        assert!(read > 500, "{read} of them are read: the others reach nothing");
    }

    #[test]
    fn whatever_a_server_says_is_bounded() {
        let pieces: &[&[u8]] = &[
            b"* ",
            b"1 FETCH (",
            b"UID ",
            b"BODY[] ",
            b"{",
            b"}",
            b"99",
            b"\r\n",
            b"\n",
            b"\"",
            b"\\",
            b"+ ",
            b"m1 OK",
            b"\xff",
            b"SEARCH ",
            b")",
            b"[",
            b"]",
            b"\0",
        ];
        for seed in 0..5_000_u64 {
            let mut decoder = Decoder::new(50);
            for count in 0..60 {
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
                let at = (crate::chance::jitter(seed, "imap", count) * pieces.len() as f64) as usize;
                decoder.push(pieces[at.min(pieces.len() - 1)]);
                match decoder.response() {
                    Ok(Some(Response::Mail { content: Some(content), .. })) => assert!(content.len() <= 600, "seed {seed}"),
                    Ok(_) => {}
                    Err(_) => break,
                }
            }
        }
    }
}
