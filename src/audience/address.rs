//! An address as mail systems compare it: the local part as written, the domain without case.
//!
//! The rules are those of RFC 5321, 4.1.2, and RFC 6531, 3.3, without what mailings do not use: no address literals,
//! no comments, no route. Every refusal says what is wrong in words that a person with a spreadsheet can act on.

use std::{borrow::Cow, fmt, sync::Arc};

use icu_normalizer::ComposingNormalizerBorrowed;

/// The longest local part, in octets (RFC 5321, 4.5.3.1.1).
const LOCAL_MAX: usize = 64;
/// The longest domain, in octets: 255 in the DNS (RFC 1035, 2.3.4), where the lengths of labels and the root count as well.
const DOMAIN_MAX: usize = 253;
/// The longest address, in octets: a path has 256, with its angle brackets (RFC 5321, 4.5.3.1.3).
const ADDRESS_MAX: usize = 254;
/// The longest label of a domain, in octets (RFC 1035, 2.3.4).
const LABEL_MAX: usize = 63;

/// An address as mail systems compare it: local part as written, domain lowercased. ASCII or UTF-8 (RFC 6531).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(Arc<str>);

impl Address {
    /// Reads a bare address, for example `ann@example.com`.
    ///
    /// # Errors
    /// What is wrong with it, as half a sentence: `the domain is missing`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("the address is empty".to_owned());
        }
        // In its own script a domain may be longer than on the wire, which is judged below.
        if text.len() > 4 * ADDRESS_MAX || text.is_ascii() && text.len() > ADDRESS_MAX {
            return Err(format!("the address is longer than {ADDRESS_MAX} bytes"));
        }
        if text.ends_with('>') && text.contains('<') {
            return Err("put only the address here, without a name and angle brackets".to_owned());
        }
        // A domain never contains an `@`, so the last one is the separator even when a quoted local part has its own.
        let Some(at) = memchr::memrchr(b'@', text.as_bytes()) else { return Err("there is no `@` in it".to_owned()) };
        let (local, domain) = (&text[..at], &text[at + 1..]);
        check_local(local)?;
        let wire = check_domain(domain)?;
        if local.len() + 1 + wire > ADDRESS_MAX {
            return Err(format!("the address is longer than {ADDRESS_MAX} bytes"));
        }
        if domain.bytes().any(|byte| byte.is_ascii_uppercase() || byte >= 0x80) {
            // Letter by letter, as UTS 46 does: a `Σ` at the end of a word does not become the final sigma, which is another domain.
            let domain: String = domain.chars().flat_map(char::to_lowercase).collect();
            return Ok(Self(format!("{local}@{domain}").into()));
        }
        Ok(Self(text.into()))
    }

    /// As it is stored and compared.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the last `@`.
    #[must_use]
    pub fn local(&self) -> &str {
        &self.0[..self.at()]
    }

    /// The part after the last `@`, lowercased.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.0[self.at() + 1..]
    }

    /// The address as it goes over the wire, in headers and in the envelope: an international domain in A-labels
    /// (RFC 5890), so that only a local part outside ASCII needs SMTPUTF8.
    #[must_use]
    pub fn to_wire(&self) -> Cow<'_, str> {
        if self.domain().is_ascii() {
            return Cow::Borrowed(&self.0);
        }
        match idna::domain_to_ascii(self.domain()) {
            Ok(domain) => Cow::Owned(format!("{}@{domain}", self.local())),
            Err(_) => Cow::Borrowed(&self.0),
        }
    }

    fn at(&self) -> usize {
        memchr::memrchr(b'@', self.0.as_bytes()).unwrap_or(0)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `atext` of RFC 5321, without what RFC 6531 adds.
pub(crate) const fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'/' | b'=' | b'?' | b'^'..=b'`' | b'{'..=b'~')
}

fn check_local(local: &str) -> Result<(), String> {
    if local.is_empty() {
        return Err("there is nothing before the `@`".to_owned());
    }
    if local.len() > LOCAL_MAX {
        return Err(format!("the part before the `@` is longer than {LOCAL_MAX} bytes"));
    }
    if let Some(quoted) = local.strip_prefix('"') {
        return check_quoted(quoted);
    }
    if local.starts_with('.') || local.ends_with('.') || local.contains("..") {
        return Err("before the `@` a dot may not be first, last or doubled".to_owned());
    }
    for character in local.chars() {
        if character.is_ascii() {
            match u8::try_from(character) {
                Ok(byte) if byte == b'.' || is_atext(byte) => {}
                _ => return Err(refused(character)),
            }
        } else if !is_visible(character) {
            return Err(refused(character));
        }
    }
    Ok(())
}

/// What follows the opening quote (RFC 5321, `Quoted-string`).
fn check_quoted(quoted: &str) -> Result<(), String> {
    let open = || "the quoted part before the `@` has no closing quote".to_owned();
    let body = quoted.strip_suffix('"').ok_or_else(open)?;
    let mut escaped = false;
    for character in body.chars() {
        match character {
            _ if character.is_control() => return Err(refused(character)),
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return Err("a quote inside the quoted part needs a backslash before it".to_owned()),
            _ if !character.is_ascii() && !is_visible(character) => return Err(refused(character)),
            _ => escaped = false,
        }
    }
    if escaped { Err(open()) } else { Ok(()) }
}

/// Checks a domain, and returns its length on the wire.
fn check_domain(domain: &str) -> Result<usize, String> {
    if domain.is_empty() {
        return Err("the domain after the `@` is missing".to_owned());
    }
    if domain.is_ascii() && domain.len() > DOMAIN_MAX {
        return Err(format!("the domain is longer than {DOMAIN_MAX} bytes"));
    }
    if domain.starts_with('[') || domain.parse::<std::net::Ipv4Addr>().is_ok() {
        return Err("an address literal (an IP address after the `@`) is not supported: use a domain".to_owned());
    }
    for label in domain.split('.') {
        if label.is_empty() {
            return Err("the domain has an empty part: a dot is first, last or doubled".to_owned());
        }
        if label.is_ascii() {
            check_label(label)?;
        }
        let bad = |character: &char| {
            if character.is_ascii() { !character.is_ascii_alphanumeric() && *character != '-' } else { !is_visible(*character) }
        };
        if let Some(character) = label.chars().find(bad) {
            return Err(refused(character));
        }
    }
    if !domain.is_ascii() {
        let ascii = idna::domain_to_ascii(domain).map_err(|_| "the international domain is invalid (RFC 5891)".to_owned())?;
        // Mapping may yield what the ASCII rules reject (a full-width `@` becomes `@`, a full-width hyphen a hyphen).
        if ascii.len() > DOMAIN_MAX || ascii.split('.').any(|label| label.is_empty() || label.len() > LABEL_MAX) {
            return Err("the international domain is too long".to_owned());
        }
        ascii.split('.').try_for_each(check_label)?;
        if let Some(character) = ascii.chars().find(|character| !character.is_ascii_alphanumeric() && !matches!(character, '-' | '.')) {
            return Err(refused(character));
        }
        return Ok(ascii.len());
    }
    Ok(domain.len())
}

/// A label of a domain on the wire (RFC 1123, 2.1).
fn check_label(label: &str) -> Result<(), String> {
    if label.len() > LABEL_MAX {
        return Err(format!("a part of the domain is longer than {LABEL_MAX} bytes"));
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err("a part of the domain starts or ends with a hyphen".to_owned());
    }
    if label.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("xn--")) && !is_a_label(label) {
        return Err("a part of the domain starts with `xn--` but encodes no name (RFC 5891): write the domain in its own script".to_owned());
    }
    Ok(())
}

/// Whether a label that starts with `xn--` is the only encoding of an encodable name (RFC 5891, 5.4).
fn is_a_label(label: &str) -> bool {
    let (name, decoded) = idna::domain_to_unicode(label);
    decoded.is_ok() && !name.is_ascii() && idna::domain_to_ascii(&name).is_ok_and(|encoded| encoded.eq_ignore_ascii_case(label))
}

/// What all spellings of one person's address have in common: the key under which a person is mailed once.
///
/// The local part is in NFC and lowercased, and unquoted where quoting is unnecessary (RFC 5321, 4.1.2: a quoted
/// string and its dot-string are equivalent); the domain is in A-labels (RFC 5891, 4), lowercased. Servers may tell local
/// parts apart by case, though hardly any does (RFC 5321, 2.4): mail goes to the address as it was written.
/// The key of a key is the key itself, even for what is not an address.
#[must_use]
pub fn canonical(address: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii() && !byte.is_ascii_uppercase() && !matches!(byte, b'"' | b'\\');
    if address.bytes().all(is_plain) {
        return Cow::Borrowed(address);
    }
    Cow::Owned(match address.rsplit_once('@') {
        Some((local, domain)) => format!("{}@{}", canonical_local(local), canonical_domain(domain)),
        None => canonical_local(address),
    })
}

fn canonical_local(local: &str) -> String {
    let Some(quoted) = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return folded(local) };
    let mut content = String::with_capacity(quoted.len());
    let mut is_escaped = false;
    for character in quoted.chars() {
        if character == '\\' && !is_escaped {
            is_escaped = true;
        } else {
            content.push(character);
            is_escaped = false;
        }
    }
    // Before it is checked: both the length and adjacent characters are those of the key.
    let content = folded(&content);
    if check_local(&content).is_ok() && !content.starts_with('"') {
        return content;
    }
    format!("\"{}\"", content.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Lowercased and in NFC, each of which can undo the other. Letter by letter, and with one small sigma: which of the two a word has
/// depends on what follows, and its capital is the same.
fn folded(text: &str) -> String {
    let nfc = ComposingNormalizerBorrowed::new_nfc();
    let lower: String =
        nfc.normalize(text).chars().flat_map(char::to_lowercase).map(|letter| if letter == 'ς' { 'σ' } else { letter }).collect();
    nfc.normalize(&lower).into_owned()
}

fn canonical_domain(domain: &str) -> String {
    // A full-width `@` would split the key elsewhere.
    let to_ascii = |domain: &str| idna::domain_to_ascii(domain).ok().filter(|ascii| !ascii.contains('@'));
    to_ascii(domain).unwrap_or_else(|| {
        let lower = domain.to_lowercase();
        to_ascii(&lower).unwrap_or(lower)
    })
}

/// Outside ASCII: no spaces, no control characters and no invisible characters.
fn is_visible(character: char) -> bool {
    !character.is_control()
        && !character.is_whitespace()
        && !matches!(character, '\u{ad}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fffd}')
}

fn refused(character: char) -> String {
    match character {
        ' ' => "it contains a space".to_owned(),
        '@' => "it contains more than one `@`".to_owned(),
        ',' | ';' => format!("it contains `{character}`: put only one address"),
        '<' | '>' => "put only the address here, without a name and angle brackets".to_owned(),
        _ if character.is_ascii_graphic() || (!character.is_ascii() && is_visible(character)) => {
            format!("`{character}` is not allowed there")
        }
        _ => format!("it contains an invisible character (U+{:04X})", u32::from(character)),
    }
}

#[cfg(test)]
mod tests;
