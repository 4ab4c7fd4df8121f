//! Numbers of cells as people see them: whole ones without a point, postal codes with their zeros, dates as ISO 8601 has them. Pure.

use jiff::{
    SignedDuration,
    civil::{Date, DateTime, date},
};
use serde_json::{Number, Value};

/// How a number is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// As a number.
    Plain,
    /// With zeros before it, up to so many digits.
    Padded(u8),
    /// As a date, a time, or both.
    Moment,
    /// As hours, minutes and seconds that go on after a day.
    Span,
}

impl Format {
    /// The format of a code, such as `dd/mm/yyyy` (ECMA-376, part 1, 18.8.30).
    pub fn of(code: &str) -> Self {
        // What holds for positive numbers.
        let code = code.split(';').next().unwrap_or_default();
        if (2..=20).contains(&code.len()) && code.bytes().all(|byte| byte == b'0') {
            return Self::Padded(u8::try_from(code.len()).unwrap_or(u8::MAX));
        }
        let mut characters = code.chars();
        while let Some(character) = characters.next() {
            match character.to_ascii_lowercase() {
                '"' => _ = characters.by_ref().find(|character| *character == '"'),
                // The next character is shown, or gives a width.
                '\\' | '_' | '*' => _ = characters.next(),
                '[' => {
                    let inside: String = characters.by_ref().take_while(|character| *character != ']').collect();
                    let inside = inside.to_ascii_lowercase();
                    if !inside.is_empty() && ["h", "m", "s"].iter().any(|unit| inside.bytes().all(|byte| unit.as_bytes() == [byte])) {
                        return Self::Span;
                    }
                }
                'd' | 'm' | 'y' | 'h' | 's' => return Self::Moment,
                _ => {}
            }
        }
        Self::Plain
    }

    /// A format that is not in the file, by its number; those for East Asian dates included.
    pub fn built_in(id: &str) -> Self {
        match id.parse::<u32>() {
            Ok(14..=22 | 27..=36 | 45 | 47 | 50..=58) => Self::Moment,
            Ok(46) => Self::Span,
            _ => Self::Plain,
        }
    }
}

/// A number as a field; none where it is none.
pub(super) fn value(text: &str, format: Format, is_1904: bool) -> Option<Value> {
    let number: f64 = text.trim().parse().ok().filter(|number: &f64| number.is_finite())?;
    match format {
        Format::Plain => {}
        Format::Padded(digits) => {
            if let Some(whole) = whole(number).filter(|whole| *whole >= 0) {
                return Some(format!("{whole:0width$}", width = usize::from(digits)).into());
            }
        }
        Format::Moment => {
            if let Some(moment) = moment(number, is_1904) {
                return Some(moment.into());
            }
        }
        Format::Span => {
            if let Some(seconds) = whole((number * DAY_SECONDS).round()).filter(|seconds| *seconds >= 0) {
                return Some(format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60).into());
            }
        }
    }
    Some(match whole(number) {
        Some(whole) => whole.into(),
        // Spreadsheets compute with 17 digits, and show 15.
        None => Number::from_f64(format!("{number:.14e}").parse().unwrap_or(number)).map_or(Value::Null, Value::Number),
    })
}

const DAY_SECONDS: f64 = 86_400.0;

/// A number without a fraction that is exact.
#[allow(clippy::cast_possible_truncation)]
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 1e15).then_some(number as i64)
}

/// A number of days as a date, a time of day, or both.
fn moment(number: f64, is_1904: bool) -> Option<String> {
    let milliseconds = whole((number * DAY_SECONDS * 1000.0).round())?;
    let days = milliseconds.div_euclid(86_400_000);
    // From half a second on it is another one: a time is a fraction of a day, which is seldom exact.
    let time = SignedDuration::from_secs((milliseconds.rem_euclid(86_400_000) + 500) / 1000);
    let day: Date = match (is_1904, days) {
        (true, 0..) => date(1904, 1, 1),
        // Excel takes 1900 for a leap year, and day 60 for its 29 February.
        (false, 0..60) => date(1899, 12, 31),
        (false, 60..) => date(1899, 12, 30),
        _ => return None,
    };
    let at: DateTime = day.to_datetime(jiff::civil::Time::midnight());
    let at = at.checked_add(SignedDuration::from_hours(24 * days)).ok()?.checked_add(time).ok()?;
    Some(match (at.time() == jiff::civil::Time::midnight(), number < 1.0) {
        (_, true) if number > 0.0 => at.time().strftime("%H:%M:%S").to_string(),
        (true, _) => at.date().to_string(),
        _ => at.strftime("%Y-%m-%dT%H:%M:%S").to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_how_numbers_are_shown() {
        let cases = [
            ("General", Format::Plain),
            ("0.00", Format::Plain),
            ("#,##0.00\\ \"days\"", Format::Plain),
            ("[Red]0.00", Format::Plain),
            ("[$€-407]#,##0", Format::Plain),
            ("_-* #,##0_-", Format::Plain),
            ("@", Format::Plain),
            ("0", Format::Plain),
            ("00000", Format::Padded(5)),
            ("00000;[Red]-00000", Format::Padded(5)),
            ("dd/mm/yyyy", Format::Moment),
            ("YYYY\\-MM\\-DD", Format::Moment),
            ("[$-409]d\\-mmm\\-yy;@", Format::Moment),
            ("h:mm AM/PM", Format::Moment),
            ("[h]:mm:ss", Format::Span),
            ("[MM]:SS", Format::Span),
        ];
        for (code, wanted) in cases {
            assert_eq!(Format::of(code), wanted, "{code}");
        }
        for (id, wanted) in
            [("0", Format::Plain), ("14", Format::Moment), ("46", Format::Span), ("49", Format::Plain), ("x", Format::Plain)]
        {
            assert_eq!(Format::built_in(id), wanted, "{id}");
        }
    }

    #[test]
    fn numbers_are_as_people_see_them() {
        let cases = [
            ("1067", Format::Plain, false, "1067"),
            ("1067.0", Format::Plain, false, "1067"),
            ("1067", Format::Padded(5), false, "\"01067\""),
            ("-5", Format::Padded(5), false, "-5"),
            ("0.30000000000000004", Format::Plain, false, "0.3"),
            ("12.5", Format::Plain, false, "12.5"),
            ("491701234567", Format::Plain, false, "491701234567"),
            ("1E3", Format::Plain, false, "1000"),
            ("1", Format::Moment, false, "\"1900-01-01\""),
            ("59", Format::Moment, false, "\"1900-02-28\""),
            ("61", Format::Moment, false, "\"1900-03-01\""),
            ("45943", Format::Moment, false, "\"2025-10-13\""),
            ("45943.541", Format::Moment, false, "\"2025-10-13T12:59:02\""),
            ("45943.999999999", Format::Moment, false, "\"2025-10-14\""),
            ("0.354166666666667", Format::Moment, false, "\"08:30:00\""),
            ("44481", Format::Moment, true, "\"2025-10-13\""),
            ("-1", Format::Moment, false, "-1"),
            ("99999999999", Format::Moment, false, "99999999999"),
            ("1.10416666666667", Format::Span, false, "\"26:30:00\""),
        ];
        for (text, format, is_1904, wanted) in cases {
            assert_eq!(value(text, format, is_1904).expect(text).to_string(), wanted, "{text} {format:?}");
        }
        assert!(value("ten", Format::Plain, false).is_none() && value("1e999", Format::Plain, false).is_none());
    }
}
