//! A text without what can separate the letters of a secret, and with its escapes resolved; and where in the
//! text each byte of that comes from.

use std::ops::Range;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// For each byte of a view, where in the text it comes from.
pub struct Spans(Vec<(u32, u32)>);

impl Spans {
    /// Where `length` bytes from `at` on come from.
    pub fn range(&self, at: usize, length: usize) -> Range<usize> {
        let start = self.0.get(at).map_or(0, |span| span.0);
        let end = self.0.get((at + length).saturating_sub(1)).map_or(start, |span| span.1);
        start as usize..end as usize
    }
}

/// One reading of a text.
pub struct View {
    /// Without spaces, lowercased.
    pub lower: Vec<u8>,
    /// Without spaces, with `+` and `/` for the two digits that base64url writes differently.
    pub base64: Vec<u8>,
    /// The same, lowercased.
    pub base64_lower: Vec<u8>,
    /// Where the bytes of these come from.
    pub spans: Spans,
    /// Letters and digits only, lowercased.
    pub bare: Vec<u8>,
    pub bare_spans: Spans,
    /// Hexadecimal digits only, lowercased, without the `0x` before them.
    pub hex: Vec<u8>,
    pub hex_spans: Spans,
}

/// Bytes, and where each of them comes from.
type Mapped = Vec<(u8, (u32, u32))>;

/// How often escapes are resolved: an escape can itself be escaped.
const DEPTH_MAX: usize = 3;
/// Views of one text. Only a text that mixes all kinds of escapes has more.
const VIEWS_MAX: usize = 24;

impl View {
    /// Calls `look` with the text as it is, and with its escapes resolved, each kind separately: what is an escape in JSON can be a
    /// letter of a secret that is written in HTML.
    pub fn each(text: &str, mut look: impl FnMut(&Self)) {
        let mut mapped: Mapped = Vec::with_capacity(text.len());
        for (start, c) in text.char_indices() {
            let span = (narrow(start), narrow(start + c.len_utf8()));
            mapped.extend(c.encode_utf8(&mut [0; 4]).bytes().map(|byte| (byte, span)));
        }
        look(&Self::of(&mapped));
        let (mut seen, mut level) = (1, vec![mapped]);
        for _ in 0..DEPTH_MAX {
            let mut next: Vec<Mapped> = Vec::new();
            for mapped in &level {
                let further = Escapes::ALL.into_iter().filter_map(|kind| resolved(mapped, kind));
                for resolved in further.take(VIEWS_MAX.saturating_sub(seen)) {
                    if next.contains(&resolved) {
                        continue;
                    }
                    seen += 1;
                    look(&Self::of(&resolved));
                    next.push(resolved);
                }
            }
            level = next;
        }
    }

    fn of(mapped: &Mapped) -> Self {
        let dense = dense(mapped);
        let lower: Vec<u8> = dense.iter().map(|(byte, _)| byte.to_ascii_lowercase()).collect();
        let standard = |byte: u8| match byte {
            b'-' => b'+',
            b'_' => b'/',
            byte => byte,
        };
        let base64: Vec<u8> = dense.iter().map(|(byte, _)| standard(*byte)).collect();
        let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || !byte.is_ascii();
        let bare: Mapped = dense.iter().filter(|(byte, _)| is_bare(*byte)).map(|(byte, span)| (byte.to_ascii_lowercase(), *span)).collect();
        let mut hex: Mapped = Vec::new();
        let mut at = 0;
        while let Some((byte, span)) = dense.get(at) {
            if *byte == b'0' && dense.get(at + 1).is_some_and(|(next, _)| next.eq_ignore_ascii_case(&b'x')) {
                at += 2;
                continue;
            }
            if byte.is_ascii_hexdigit() {
                hex.push((byte.to_ascii_lowercase(), *span));
            }
            at += 1;
        }
        let parts = |mapped: Mapped| -> (Vec<u8>, Spans) {
            let (bytes, spans) = mapped.into_iter().unzip();
            (bytes, Spans(spans))
        };
        let (bare, bare_spans) = parts(bare);
        let (hex, hex_spans) = parts(hex);
        let base64_lower = base64.to_ascii_lowercase();
        Self { lower, base64, base64_lower, spans: parts(dense).1, bare, bare_spans, hex, hex_spans }
    }
}

/// A secret as [`View::lower`] would show it.
pub fn normal(text: &str) -> String {
    text.chars().filter(|c| !is_ignored(*c)).map(|c| c.to_ascii_lowercase()).collect()
}

/// A secret as [`View::bare`] would show it.
pub fn bare(text: &str) -> String {
    normal(text).chars().filter(|c| c.is_ascii_alphanumeric() || !c.is_ascii()).collect()
}

/// A text as a JSON string without its quotes.
pub fn json_escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted.get(1..quoted.len() - 1).unwrap_or_default().to_owned()
}

/// All but the unreserved characters (RFC 3986, 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A text in which all but letters, digits and `-._~` is percent-encoded.
pub fn percent_encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// Spaces, and invisible characters.
fn is_ignored(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// The bytes without spaces and invisible characters, and without the enhanced code that each line of a reply repeats.
fn dense(mapped: &Mapped) -> Mapped {
    let mut dense = Mapped::with_capacity(mapped.len());
    let mut at = 0;
    while at < mapped.len() {
        let (byte, _) = mapped[at];
        let length = if byte.is_ascii() { 1 } else { width(byte).min(mapped.len() - at) };
        let is_dropped = if byte.is_ascii() {
            is_ignored(char::from(byte))
        } else {
            let one: Vec<u8> = mapped[at..at + length].iter().map(|(byte, _)| *byte).collect();
            std::str::from_utf8(&one).is_ok_and(|one| one.chars().all(is_ignored))
        };
        if !is_dropped {
            dense.extend_from_slice(&mapped[at..at + length]);
        }
        at += length;
        if byte == b'\n' {
            at += enhanced_code(&mapped[at..]);
        }
    }
    dense
}

/// The length of the character that this byte begins; 1 where it begins none.
const fn width(byte: u8) -> usize {
    match byte {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf7 => 4,
        _ => 1,
    }
}

/// The length of an enhanced status code (RFC 3463) and of the space after it, 0 where there is none.
fn enhanced_code(mapped: &[(u8, (u32, u32))]) -> usize {
    let mut at = 0;
    for part in 0..3 {
        let digits = mapped[at..].iter().take(3).take_while(|(byte, _)| byte.is_ascii_digit()).count();
        let end = mapped.get(at + digits).map(|(byte, _)| *byte);
        if digits == 0 || end != Some(if part == 2 { b' ' } else { b'.' }) {
            return 0;
        }
        at += digits + 1;
    }
    at
}

/// A kind of escape.
#[derive(Clone, Copy)]
enum Escapes {
    /// Of URLs (RFC 3986, 2.1).
    Percent,
    /// Of JSON and C.
    Backslash,
    /// A character reference of HTML.
    Entity,
    /// Of quoted-printable (RFC 2045, 6.7).
    Equals,
}

impl Escapes {
    const ALL: [Self; 4] = [Self::Percent, Self::Backslash, Self::Entity, Self::Equals];

    const fn sign(self) -> u8 {
        match self {
            Self::Percent => b'%',
            Self::Backslash => b'\\',
            Self::Entity => b'&',
            Self::Equals => b'=',
        }
    }
}

/// The bytes with their escapes of one kind resolved; none when there are none.
fn resolved(mapped: &Mapped, kind: Escapes) -> Option<Mapped> {
    if !mapped.iter().any(|(byte, _)| *byte == kind.sign()) {
        return None;
    }
    let mut out = Mapped::with_capacity(mapped.len());
    let (mut at, mut has_some) = (0, false);
    while at < mapped.len() {
        let Some((c, length)) = Some(mapped[at].0).filter(|byte| *byte == kind.sign()).and_then(|_| escape(&mapped[at..])) else {
            out.push(mapped[at]);
            at += 1;
            continue;
        };
        has_some = true;
        let span = (mapped[at].1.0, mapped[at + length - 1].1.1);
        match c {
            Escaped::Nothing => {}
            Escaped::Byte(byte) => out.push((byte, span)),
            Escaped::Char(c) => out.extend(c.encode_utf8(&mut [0; 4]).bytes().map(|byte| (byte, span))),
        }
        at += length;
    }
    has_some.then_some(out)
}

enum Escaped {
    Nothing,
    Byte(u8),
    Char(char),
}

/// The escape that begins here, and its length.
fn escape(mapped: &[(u8, (u32, u32))]) -> Option<(Escaped, usize)> {
    let byte = |at: usize| mapped.get(at).map(|(byte, _)| *byte);
    let digits = |at: usize, count: usize| -> Option<u32> {
        let text: Option<String> = (at..at + count).map(|at| byte(at).filter(u8::is_ascii_hexdigit).map(char::from)).collect();
        u32::from_str_radix(&text?, 16).ok()
    };
    let one = |at: usize| digits(at, 2).and_then(|value| u8::try_from(value).ok()).map(Escaped::Byte);
    match (byte(0)?, byte(1)?) {
        // A soft line break; and line ends and the like, of which nothing is left, as of the characters themselves.
        (b'=', b'\r') if byte(2) == Some(b'\n') => Some((Escaped::Nothing, 3)),
        (b'=', b'\n') | (b'\\', b'n' | b'r' | b't' | b'b' | b'f') => Some((Escaped::Nothing, 2)),
        (b'%' | b'=', _) => Some((one(1)?, 3)),
        (b'\\', b'x') => Some((one(2)?, 4)),
        (b'\\', b'u') => {
            let first = digits(2, 4)?;
            if let Some(c) = char::from_u32(first) {
                return Some((Escaped::Char(c), 6));
            }
            let second = digits(8, 4).filter(|_| byte(6) == Some(b'\\') && byte(7) == Some(b'u'))?;
            let c = char::decode_utf16([u16::try_from(first).ok()?, u16::try_from(second).ok()?]).next()?.ok()?;
            Some((Escaped::Char(c), 12))
        }
        (b'\\', other) if other.is_ascii_punctuation() => Some((Escaped::Byte(other), 2)),
        (b'&', _) => entity(mapped),
        _ => None,
    }
}

/// The longest reference to a character, with `&` and `;`.
const ENTITY_MAX: usize = 10;

/// A reference to a character of HTML: by number, or one of those that escaping makes.
fn entity(mapped: &[(u8, (u32, u32))]) -> Option<(Escaped, usize)> {
    let end = mapped.iter().take(ENTITY_MAX).position(|(byte, _)| *byte == b';')?;
    let name: String = mapped[1..end].iter().map(|(byte, _)| char::from(*byte)).collect();
    let c = match (name.as_str(), name.strip_prefix('#')) {
        (_, Some(number)) => {
            let hex = number.strip_prefix(['x', 'X']).map(|number| u32::from_str_radix(number, 16));
            char::from_u32(hex.unwrap_or_else(|| number.parse()).ok()?)?
        }
        ("amp", _) => '&',
        ("lt", _) => '<',
        ("gt", _) => '>',
        ("quot", _) => '"',
        ("apos", _) => '\'',
        _ => return None,
    };
    Some((Escaped::Char(c), end + 1))
}

fn narrow(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
