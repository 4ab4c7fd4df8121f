//! Header fields whose values have a grammar: only phrases, comments and plain text become encoded words (RFC 2047, 5);
//! addresses, URLs, ids and tokens stay as they are.

use super::header;
use crate::audience::Address;

/// What a field's value consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grammar {
    /// Plain text (RFC 5322, 2.2.1).
    Text,
    /// A phrase and an id in angle brackets (RFC 2919, 3).
    ListId,
    /// URLs in angle brackets, with comments (RFC 2369, 2).
    Urls,
    /// Mailboxes (RFC 5322, 3.4).
    Mailboxes,
    /// Phrases (RFC 5322, 3.6.5).
    Phrases,
    /// Ids, words and numbers: nothing that can be encoded.
    Tokens,
}

/// The grammar of a field. Fields outside the standards are plain text.
pub(super) fn grammar(name: &str) -> Grammar {
    match &*name.to_ascii_lowercase() {
        "list-id" => Grammar::ListId,
        "list-help" | "list-subscribe" | "list-post" | "list-owner" | "list-archive" | "archived-at" => Grammar::Urls,
        "sender"
        | "errors-to"
        | "disposition-notification-to"
        | "return-receipt-to"
        | "mail-followup-to"
        | "mail-reply-to"
        | "x-envelope-from"
        | "x-original-to"
        | "resent-from"
        | "resent-sender"
        | "resent-to"
        | "resent-cc"
        | "abuse-reports-to"
        | "x-report-abuse-to"
        | "apparently-to"
        | "delivered-to" => Grammar::Mailboxes,
        "keywords" => Grammar::Phrases,
        "in-reply-to"
        | "references"
        | "resent-message-id"
        | "supersedes"
        | "obsoletes"
        | "feedback-id"
        | "precedence"
        | "auto-submitted"
        | "x-auto-response-suppress"
        | "importance"
        | "priority"
        | "x-priority"
        | "x-msmail-priority"
        | "sensitivity"
        | "expires"
        | "expiry-date"
        | "reply-by"
        | "resent-date"
        | "require-recipient-valid-since"
        | "autosubmitted"
        | "authentication-results"
        | "arc-authentication-results"
        | "tls-required"
        | "deferred-delivery"
        | "x-entity-ref-id"
        | "accept-language"
        | "cfbl-address"
        | "cfbl-feedback-id" => Grammar::Tokens,
        _ => Grammar::Text,
    }
}

/// Writes a field with its line end. The value must be clean and not empty.
///
/// # Errors
/// What of the value cannot be in such a field.
pub(super) fn field(out: &mut Vec<u8>, name: &str, grammar: Grammar, value: &str) -> Result<(), String> {
    if grammar == Grammar::Text {
        header::unstructured(out, name, value);
        return Ok(());
    }
    if value.split(' ').any(|word| word.len() > header::WORD_MAX) {
        return Err(format!("`{name}` has a word of more than {} bytes, which does not fit on a line", header::WORD_MAX));
    }
    let start = out.len();
    out.extend_from_slice(name.as_bytes());
    out.push(b':');
    if value.is_ascii() {
        header::fold(out, name.len() + 1, value);
    } else {
        let mut writer = Writer { out, field: name };
        let written = match grammar {
            Grammar::ListId => writer.list_id(value),
            Grammar::Urls => writer.each(value, Writer::url),
            Grammar::Mailboxes => writer.each(value, Writer::mailbox),
            Grammar::Phrases => writer.each(value, |writer, pieces| {
                writer.phrase(&words(pieces));
                Ok(())
            }),
            Grammar::Tokens | Grammar::Text => Err(writer.no_place(value)),
        };
        if let Err(why) = written {
            out.truncate(start);
            return Err(why);
        }
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// A piece of a structured value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'a> {
    /// Outside of everything else.
    Words(&'a str),
    /// Within double quotes, as written.
    Quoted(&'a str),
    /// Within angle brackets.
    Angle(&'a str),
    /// Within parentheses, which may be nested.
    Comment(&'a str),
    Comma,
}

fn pieces<'a>(value: &'a str) -> Vec<Piece<'a>> {
    let bytes = value.as_bytes();
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut position = 0;
    while let Some(&byte) = bytes.get(position) {
        let (end, make): (usize, fn(&'a str) -> Piece<'a>) = match byte {
            b'"' => (quoted_end(bytes, position), Piece::Quoted),
            b'<' => (memchr::memchr(b'>', &bytes[position..]).map_or(bytes.len(), |at| position + at), Piece::Angle),
            b'(' => (comment_end(bytes, position), Piece::Comment),
            b',' => (position, |_| Piece::Comma),
            _ => {
                position += 1;
                continue;
            }
        };
        if !value[start..position].trim().is_empty() {
            pieces.push(Piece::Words(value[start..position].trim()));
        }
        pieces.push(make(value.get(position + 1..end).unwrap_or_default()));
        position = (end + 1).min(bytes.len());
        start = position;
    }
    if !value[start..].trim().is_empty() {
        pieces.push(Piece::Words(value[start..].trim()));
    }
    pieces
}

fn quoted_end(bytes: &[u8], start: usize) -> usize {
    let mut position = start + 1;
    while let Some(&byte) = bytes.get(position) {
        match byte {
            b'"' => return position,
            b'\\' => position += 2,
            _ => position += 1,
        }
    }
    bytes.len()
}

fn comment_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut position = start;
    while let Some(&byte) = bytes.get(position) {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b'\\' => position += 1,
            _ => {}
        }
        if depth == 0 {
            return position;
        }
        position += 1;
    }
    bytes.len()
}

/// The words of a phrase, without quotes and backslashes.
fn words(pieces: &[Piece<'_>]) -> String {
    let word = |piece: &Piece<'_>| match piece {
        Piece::Words(words) => Some((*words).to_owned()),
        Piece::Quoted(text) => {
            let mut plain = String::new();
            let mut characters = text.chars();
            while let Some(character) = characters.next() {
                plain.extend(if character == '\\' { characters.next() } else { Some(character) });
            }
            Some(plain)
        }
        _ => None,
    };
    pieces.iter().filter_map(word).collect::<Vec<_>>().join(" ")
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    field: &'a str,
}

impl Writer<'_> {
    fn no_place(&self, what: &str) -> String {
        let what: String = what.chars().take(60).collect();
        format!("`{}` cannot contain characters outside ASCII, as in `{what}`", self.field)
    }

    /// The current column.
    fn column(&self) -> usize {
        self.out.iter().rev().position(|byte| *byte == b'\n').unwrap_or(self.out.len())
    }

    /// A space, and a new line before what would not fit.
    fn token(&mut self, text: &str) {
        let fits = self.column() + 1 + text.len() <= 76;
        self.out.extend_from_slice(if fits { b" " } else { b"\r\n " });
        self.out.extend_from_slice(text.as_bytes());
    }

    fn phrase(&mut self, text: &str) {
        if !text.is_empty() {
            self.out.push(b' ');
            let column = self.column();
            header::phrase(self.out, column, text);
        }
    }

    fn comment(&mut self, text: &str) {
        if text.is_ascii() {
            self.token(&format!("({text})"));
        } else {
            self.out.extend_from_slice(b"\r\n (");
            header::encoded_words(self.out, 2, text);
            self.out.extend_from_slice(if self.column() < 76 { b")" } else { b"\r\n )" });
        }
    }

    /// Each part between commas.
    fn each(&mut self, value: &str, write: impl Fn(&mut Self, &[Piece<'_>]) -> Result<(), String>) -> Result<(), String> {
        let pieces = pieces(value);
        let parts = pieces.split(|piece| *piece == Piece::Comma).filter(|part| !part.is_empty());
        for (index, part) in parts.enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            write(self, part)?;
        }
        Ok(())
    }

    fn list_id(&mut self, value: &str) -> Result<(), String> {
        let pieces = pieces(value);
        let Some(at) = pieces.iter().position(|piece| matches!(piece, Piece::Angle(_))) else {
            return Err(format!("`{}` needs its id in angle brackets after the text, as in `News <news.example.com>`", self.field));
        };
        self.phrase(&words(&pieces[..at]));
        for piece in &pieces[at..] {
            match piece {
                Piece::Angle(id) if id.is_ascii() => self.token(&format!("<{id}>")),
                Piece::Comment(text) => self.comment(text),
                Piece::Angle(text) | Piece::Words(text) | Piece::Quoted(text) => return Err(self.no_place(text)),
                Piece::Comma => return Err(format!("`{}` is a single id, without a comma after it", self.field)),
            }
        }
        Ok(())
    }

    fn url(&mut self, part: &[Piece<'_>]) -> Result<(), String> {
        for piece in part {
            match piece {
                Piece::Angle(url) => self.token(&format!("<{}>", header::escape_url(url))),
                Piece::Comment(text) => self.comment(text),
                Piece::Words(text) if text.is_ascii() => self.token(text),
                Piece::Words(text) | Piece::Quoted(text) => return Err(self.no_place(text)),
                Piece::Comma => {}
            }
        }
        Ok(())
    }

    fn mailbox(&mut self, part: &[Piece<'_>]) -> Result<(), String> {
        let angle = part.iter().position(|piece| matches!(piece, Piece::Angle(_)));
        let (name, address) = match angle.map(|at| (at, part[at])) {
            Some((at, Piece::Angle(address))) => (words(&part[..at]), address.to_owned()),
            _ => (String::new(), words(part)),
        };
        let parsed =
            Address::parse(&address).map_err(|why| format!("`{}` names `{address}`, which is not an address: {why}", self.field))?;
        let wire = parsed.to_wire();
        if !wire.is_ascii() {
            return Err(self.no_place(&address));
        }
        self.out.push(b' ');
        let column = self.column();
        header::mailbox(self.out, column, &header::clean_name(&name), &wire);
        for piece in part {
            if let Piece::Comment(text) = piece {
                self.comment(text);
            }
        }
        Ok(())
    }
}
