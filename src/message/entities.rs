//! Character references of HTML (HTML, 13.2.5.72): numbers, and all the names that HTML knows.

use mail_parser::decoders::html::add_html_token;

/// The longest name of an entity is `CounterClockwiseContourIntegral`.
const NAME_MAX: usize = 32;

/// The text of an entity at the start, and the length of its source; of an unknown one only the `&`. In an attribute a
/// name without `;` is part of a URL such as `?a=1&copy=2`.
pub(super) fn entity(text: &str, is_attribute: bool) -> (Option<char>, usize) {
    let bytes = text.as_bytes();
    if bytes.get(1) == Some(&b'#') {
        return number(text);
    }
    let length = bytes[1..].iter().take(NAME_MAX).take_while(|byte| byte.is_ascii_alphanumeric()).count();
    if bytes.get(1 + length) == Some(&b';')
        && let Some(character) = named(&text[1..=length])
    {
        return (Some(character), length + 2);
    }
    // Legacy names work without the `;`, and the longest that matches is meant.
    let old = (2..=length.min(6)).rev().find(|length| OLD.contains(&&text[1..=*length]));
    let next = |length: usize| bytes.get(1 + length).is_some_and(|next| next.is_ascii_alphanumeric() || *next == b'=');
    match old.filter(|length| !is_attribute || !next(*length)) {
        Some(length) => (named(&text[1..=length]), length + 1),
        None => (None, 1),
    }
}

/// The second character of an entity that is two.
pub(super) fn second(source: &str) -> Option<char> {
    let name = source.strip_prefix('&')?.strip_suffix(';')?;
    PAIRS.iter().find(|(_, names)| names.split(' ').any(|other| other == name)).map(|(second, _)| *second)
}

/// A number after `&#`, with or without the `;`.
fn number(text: &str) -> (Option<char>, usize) {
    let (start, radix) = if text[2..].starts_with(['x', 'X']) { (3, 16) } else { (2, 10) };
    let digits = text[start..].chars().take_while(|c| c.is_digit(radix)).count();
    let Ok(code) = u32::from_str_radix(&text[start..start + digits], radix) else { return (None, 1) };
    // Numbers of Windows-1252 are read as such (HTML, 13.2.5.80).
    let code = match code {
        0x80..=0x9f => WINDOWS[(code - 0x80) as usize],
        _ => code,
    };
    let end = start + digits + usize::from(text[start + digits..].starts_with(';'));
    match char::from_u32(code) {
        Some('\t' | '\n' | '\r' | '\u{c}') => (Some(' '), end),
        Some(character) if !character.is_control() => (Some(character), end),
        _ => (None, 1),
    }
}

/// The character of a name, from the table of the library that reads mail.
fn named(name: &str) -> Option<char> {
    // What every mail has.
    match name {
        "nbsp" => return Some('\u{a0}'),
        "amp" => return Some('&'),
        "lt" => return Some('<'),
        "gt" => return Some('>'),
        "quot" => return Some('"'),
        _ => {}
    }
    let mut text = String::new();
    add_html_token(&mut text, format!("&{name};").as_bytes(), false);
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some('\t' | '\n'), None) => Some(' '),
        (Some(character), None) => Some(character),
        // It is unknown, and came back unchanged.
        _ => None,
    }
}

/// What the numbers 128 to 159 mean (HTML, 13.2.5.80).
const WINDOWS: [u32; 32] = [
    0x20ac, 0x81, 0x201a, 0x192, 0x201e, 0x2026, 0x2020, 0x2021, 0x2c6, 0x2030, 0x160, 0x2039, 0x152, 0x8d, 0x17d, 0x8f, 0x90, 0x2018,
    0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x2dc, 0x2122, 0x161, 0x203a, 0x153, 0x9d, 0x17e, 0x178,
];

/// Names of two characters, by the second one: the table only has the first.
#[rustfmt::skip]
const PAIRS: &[(char, &str)] = &[
    ('j', "fjlig"),
    ('\u{331}', "race"),
    ('\u{333}', "acE"),
    ('\u{338}', "NotEqualTilde NotGreaterFullEqual NotGreaterGreater NotGreaterSlantEqual NotHumpDownHump NotHumpEqual \
        NotLeftTriangleBar NotLessLess NotLessSlantEqual NotNestedGreaterGreater NotNestedLessLess NotPrecedesEqual \
        NotRightTriangleBar NotSquareSubset NotSquareSuperset NotSucceedsEqual NotSucceedsTilde nGg nGtv nLl nLtv napE \
        napid nbump nbumpe ncongdot nedot nesim ngE ngeqq ngeqslant nges nlE nleqq nleqslant nles notinE notindot \
        npart npre npreceq nrarrc nrarrw nsce nsubE nsubseteqq nsucceq nsupE nsupseteqq"),
    ('\u{200a}', "ThickSpace"),
    ('\u{20d2}', "NotSubset NotSuperset nGt nLt nang nsubset nsupset nvap nvge nvgt nvle nvlt nvltrie nvrtrie nvsim vnsub vnsup"),
    ('\u{20e5}', "bne bnequiv nparsl"),
    ('\u{fe00}', "caps cups gesl gvertneqq gvnE lates lesg lvertneqq lvnE smtes sqcaps sqcups varsubsetneq varsubsetneqq \
        varsupsetneq varsupsetneqq vsubnE vsubne vsupnE vsupne"),
];

/// Names that work without `;` (HTML, 13.5).
#[rustfmt::skip]
const OLD: &[&str] = &[
    "AElig", "AMP", "Aacute", "Acirc", "Agrave", "Aring", "Atilde", "Auml", "COPY", "Ccedil", "ETH", "Eacute", "Ecirc", "Egrave", "Euml",
    "GT", "Iacute", "Icirc", "Igrave", "Iuml", "LT", "Ntilde", "Oacute", "Ocirc", "Ograve", "Oslash", "Otilde", "Ouml", "QUOT", "REG",
    "THORN", "Uacute", "Ucirc", "Ugrave", "Uuml", "Yacute", "aacute", "acirc", "acute", "aelig", "agrave", "amp", "aring", "atilde",
    "auml", "brvbar", "ccedil", "cedil", "cent", "copy", "curren", "deg", "divide", "eacute", "ecirc", "egrave", "eth", "euml", "frac12",
    "frac14", "frac34", "gt", "iacute", "icirc", "iexcl", "igrave", "iquest", "iuml", "laquo", "lt", "macr", "micro", "middot", "nbsp",
    "not", "ntilde", "oacute", "ocirc", "ograve", "ordf", "ordm", "oslash", "otilde", "ouml", "para", "plusmn", "pound", "quot", "raquo",
    "reg", "sect", "shy", "sup1", "sup2", "sup3", "szlig", "thorn", "times", "uacute", "ucirc", "ugrave", "uml", "uuml", "yacute", "yen",
    "yuml",
];
