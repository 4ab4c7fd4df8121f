//! Values of attributes: numbers as JavaScript reads and prints them, sizes with units, and how a value is written into HTML.

use super::super::tags;

/// The whole number at the start, as JavaScript's `parseInt` reads it; NaN where there is none.
pub(super) fn int(text: &str) -> f64 {
    let text = text.trim_start();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let length = digits.bytes().take_while(u8::is_ascii_digit).count();
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    // There is no minus zero in what is printed.
    digits[..length].parse::<f64>().map_or(f64::NAN, |number| sign * number + 0.0)
}

/// The number at the start, as JavaScript's `parseFloat` reads it (without exponents); NaN where there is none.
pub(super) fn float(text: &str) -> f64 {
    let text = text.trim_start();
    let sign = usize::from(text.starts_with(['-', '+']));
    let mut point = false;
    let length =
        text[sign..].bytes().take_while(|byte| byte.is_ascii_digit() || (*byte == b'.' && !std::mem::replace(&mut point, true))).count();
    text[..sign + length].parse().unwrap_or(f64::NAN)
}

/// What follows the last digit of a size, `px` where nothing does.
pub(super) fn unit(size: &str) -> &str {
    let after = size.rfind(|c: char| c.is_ascii_digit()).map_or(0, |at| at + 1);
    match size[after..].trim_start_matches(['.', ',']) {
        "" => "px",
        unit => unit,
    }
}

/// A size and its unit; only per cent may have a fraction, and only where `fraction` says so.
pub(super) fn size(size: &str, fraction: bool) -> (f64, &str) {
    let unit = unit(size);
    (if unit == "%" && fraction { float(size) } else { int(size) }, unit)
}

/// One side of a shorthand such as `padding`, in whole units.
pub(super) fn side(shorthand: &str, side: Side) -> f64 {
    let parts: Vec<&str> = shorthand.split_whitespace().take(4).collect();
    let index = match (parts.len(), side) {
        (2 | 3, Side::Left | Side::Right) | (4, Side::Right) => 1,
        (3 | 4, Side::Bottom) => 2,
        (4, Side::Left) => 3,
        _ => 0,
    };
    int(parts.get(index).unwrap_or(&"0"))
}

/// A side of a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Top,
    Right,
    Bottom,
    Left,
}

impl Side {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Top => "top",
            Self::Right => "right",
            Self::Bottom => "bottom",
            Self::Left => "left",
        }
    }
}

/// The width of a border: the first number of it that stands alone or at its start.
pub(super) fn border(value: &str) -> f64 {
    let found = value.split(' ').find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    found.map_or(0.0, int)
}

/// Rounded to six places, and without the zeros at the end.
pub(super) fn six(number: f64) -> f64 {
    format!("{number:.6}").parse().unwrap_or(number)
}

/// Rounded as JavaScript's `Math.round` does it: halves go up.
pub(super) fn round(number: f64) -> f64 {
    (number + 0.5).floor()
}

/// The attributes that have a value, each with a space before it.
pub(super) fn attributes(list: &[(&str, Option<&str>)]) -> String {
    let mut out = String::new();
    for (name, value) in list.iter().filter_map(|(name, value)| Some((name, (*value)?))) {
        out.push(' ');
        out.push_str(name);
        out.push_str("=\"");
        quoted(&mut out, value);
        out.push('"');
    }
    out
}

/// The declarations that have a value, as the `style` attribute takes them.
pub(super) fn style(list: &[(&str, Option<&str>)]) -> String {
    list.iter().filter_map(|(name, value)| Some(format!("{name}:{};", (*value)?))).collect()
}

/// Writes a value for between double quotes. Entities stay as they were written, and so do template tags, whose own
/// quotes are gone before anybody reads the HTML.
pub(super) fn quoted(out: &mut String, value: &str) {
    let mut position = 0;
    while position < value.len() {
        let tag = tags::next(value, position);
        let end = tag.map_or(value.len(), |tag| tag.start);
        out.push_str(&value[position..end].replace('"', "&quot;"));
        position = end;
        if let Some(tag) = tag {
            out.push_str(&value[tag.start..tag.end]);
            position = tag.end;
        }
    }
}

/// Each class with a suffix, for the tables that only Outlook reads.
pub(super) fn suffixed(classes: Option<&str>, suffix: &str) -> String {
    let classes = classes.unwrap_or_default();
    if classes.is_empty() {
        String::new()
    } else {
        classes.split(' ').map(|class| format!("{class}-{suffix}")).collect::<Vec<_>>().join(" ")
    }
}

/// `#abc` as `#aabbcc`: some mail programs know only the long form.
pub(super) fn long_colour(value: &str) -> Option<String> {
    let digits = value.strip_prefix('#').filter(|digits| digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_alphanumeric()))?;
    Some(std::iter::once('#').chain(digits.chars().flat_map(|digit| [digit, digit])).collect())
}
