//! How long texts for people may be, and how numbers stand in them: the one place that truncates and groups. Pure.
//!
//! An API server refuses a longer text, and with it the whole status or Event.

use std::borrow::Cow;

/// A condition's message, bytes: what Kubernetes allows in `metav1.Condition`, counted there in characters.
pub const MESSAGE_MAX: usize = 32_768;
/// Why a campaign's status says that a server gets no message, bytes. A status has up to 1,000 servers, and an API server stores 1.5 MiB
/// of an object.
pub const WHY_NOT_MAX: usize = 512;
/// The note of an Event, bytes.
pub const NOTE_MAX: usize = 1024;
/// Reason, action and reporting instance of an Event, bytes.
pub const EVENT_WORD_MAX: usize = 128;
/// Names listed in one sentence, and sentences in one message; the rest is counted.
pub const LISTED_MAX: usize = 10;

/// Marks what was left out.
const MORE: char = '…';

/// The text, or as much of it as fits into `max` bytes, with an ellipsis at its end.
#[must_use]
pub fn bounded(text: Cow<'_, str>, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return text;
    }
    let mut end = max.saturating_sub(MORE.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Cow::Owned(format!("{}{MORE}", &text[..end]))
}

/// The first `chars` characters.
#[must_use]
pub fn shortened(text: &str, chars: usize) -> &str {
    if text.len() <= chars {
        return text;
    }
    text.char_indices().nth(chars).map_or(text, |(end, _)| text.get(..end).unwrap_or(text))
}

/// Names for a sentence: `a, b and 1,490 more`.
#[must_use]
pub fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names = names.into_iter();
    let shown = names.by_ref().take(LISTED_MAX).collect::<Vec<_>>().join(", ");
    match names.count() {
        0 => shown,
        more => format!("{shown} and {} more", grouped(more)),
    }
}

/// A number in a text for people: `19,905`. Scripts get it without commas.
#[must_use]
pub fn grouped(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or(u64::MAX).to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The next number that reads well on an axis: 1, 2 or 5 with zeros; 1 at the least.
#[must_use]
pub fn round_up(number: u64) -> u64 {
    let mut unit = 1_u64;
    loop {
        for step in [1, 2, 5] {
            let round = unit.saturating_mul(step);
            if round >= number {
                return round;
            }
        }
        unit = unit.saturating_mul(10);
    }
}

/// A number and its noun: `1 row`, `12 rows`, `19,905 rows`.
#[must_use]
pub fn counted(count: impl TryInto<u64>, one: &str, several: &str) -> String {
    let count = count.try_into().unwrap_or(u64::MAX);
    format!("{} {}", grouped(count), if count == 1 { one } else { several })
}

/// A rate in words, rounded to two digits so that it does not keep changing.
#[must_use]
pub fn rate_in_words(per_second: f64) -> String {
    let (count, unit) = match per_second {
        1.0.. => (per_second, "second"),
        _ if per_second * 60.0 >= 1.0 => (per_second * 60.0, "minute"),
        _ => (per_second * 3600.0, "hour"),
    };
    let digits = 10_f64.powf((count.max(1.0).log10().floor() - 1.0).max(0.0));
    format!("about {} a {unit}", (count / digits).round() * digits)
}

/// Sentences for one message, each about one of several: the first ones, and how many more `what` there are.
#[must_use]
pub fn told(sentences: impl IntoIterator<Item = String>, what: &str) -> String {
    let mut sentences = sentences.into_iter();
    let mut told = sentences.by_ref().take(LISTED_MAX).collect::<Vec<_>>().join(" ");
    match sentences.count() {
        0 => {}
        more => told.push_str(&format!(" The same or another cause applies to {} more {what}.", grouped(more))),
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(bounded("short".into(), 5), "short");
        assert_eq!(bounded("longer".into(), 5), "lo…");
        for max in 3..40 {
            let cut = bounded("ä€😀".repeat(9).into(), max);
            assert!(cut.len() <= max && cut.ends_with(MORE), "{max}: {cut}");
        }
    }

    #[test]
    fn numbers_are_grouped_and_agree_with_their_noun() {
        assert_eq!([0_u64, 999, 1000, 19_905, 1_234_567].map(grouped), ["0", "999", "1,000", "19,905", "1,234,567"]);
        assert_eq!(counted(1_u64, "row", "rows"), "1 row");
        assert_eq!(counted(1000_usize, "row", "rows"), "1,000 rows");
    }

    #[test]
    fn many_names_and_sentences_are_counted() {
        let names: Vec<String> = (0..1500).map(|number| format!("relay-{number}")).collect();
        assert_eq!(listed(["a", "b"]), "a, b");
        assert_eq!(told(["One.".to_owned(), "Two.".to_owned()], "servers"), "One. Two.");
        let causes = told(names.iter().map(|name| format!("{name}: no.")), "servers");
        assert!(causes.ends_with("relay-9: no. The same or another cause applies to 1,490 more servers."), "{causes}");
        assert!(listed(names.iter().map(String::as_str)).ends_with("relay-9 and 1,490 more"));
        assert_eq!(listed(names.iter().take(LISTED_MAX).map(String::as_str)).matches("relay").count(), LISTED_MAX);
    }
}
