//! Character references of HTML: numbers, and the names that people use in mail.

/// The character of an entity at the start, and the length of its source; of an unknown one only the `&`.
pub(super) fn entity(text: &str) -> (Option<char>, usize) {
    let Some(end) = text.bytes().take(12).position(|byte| byte == b';') else { return (None, 1) };
    let name = &text[1..end];
    let decoded = if let Some(number) = name.strip_prefix('#') {
        let code = number.strip_prefix(['x', 'X']).map_or_else(|| number.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok());
        code.and_then(char::from_u32).filter(|character| !character.is_control())
    } else {
        ENTITIES.iter().find(|(entity, _)| *entity == name).map(|(_, character)| *character)
    };
    if decoded.is_some() { (decoded, end + 1) } else { (None, 1) }
}

/// The named characters that mail uses.
#[rustfmt::skip]
const ENTITIES: &[(&str, char)] = &[
    ("amp", '&'), ("lt", '<'), ("gt", '>'), ("quot", '"'), ("apos", '\''), ("nbsp", '\u{a0}'), ("copy", '©'), ("reg", '®'), ("trade", '™'),
    ("hellip", '…'), ("mdash", '—'), ("ndash", '–'), ("lsquo", '‘'), ("rsquo", '’'), ("ldquo", '“'), ("rdquo", '”'), ("sbquo", '‚'),
    ("bdquo", '„'), ("laquo", '«'), ("raquo", '»'), ("lsaquo", '‹'), ("rsaquo", '›'), ("bull", '•'), ("middot", '·'), ("euro", '€'),
    ("pound", '£'), ("yen", '¥'), ("cent", '¢'), ("sect", '§'), ("para", '¶'), ("deg", '°'), ("plusmn", '±'), ("times", '×'), ("divide", '÷'),
    ("frac12", '½'), ("sup2", '²'), ("rarr", '→'), ("larr", '←'), ("uarr", '↑'), ("darr", '↓'), ("check", '✓'), ("hearts", '♥'),
    ("zwnj", '\u{200c}'), ("zwj", '\u{200d}'), ("shy", '\u{ad}'), ("ensp", ' '), ("emsp", ' '), ("thinsp", ' '), ("iexcl", '¡'),
    ("iquest", '¿'), ("szlig", 'ß'), ("auml", 'ä'), ("ouml", 'ö'), ("uuml", 'ü'), ("Auml", 'Ä'), ("Ouml", 'Ö'), ("Uuml", 'Ü'), ("aacute", 'á'),
    ("eacute", 'é'), ("iacute", 'í'), ("oacute", 'ó'), ("uacute", 'ú'), ("Eacute", 'É'), ("agrave", 'à'), ("egrave", 'è'), ("igrave", 'ì'),
    ("ograve", 'ò'), ("ugrave", 'ù'), ("acirc", 'â'), ("ecirc", 'ê'), ("icirc", 'î'), ("ocirc", 'ô'), ("ucirc", 'û'), ("euml", 'ë'), ("iuml", 'ï'),
    ("ntilde", 'ñ'), ("atilde", 'ã'), ("otilde", 'õ'), ("ccedil", 'ç'), ("aring", 'å'), ("aelig", 'æ'), ("oslash", 'ø'), ("oelig", 'œ'),
];
