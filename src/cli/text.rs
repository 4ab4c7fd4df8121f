//! Lines for people, on standard error.

use super::screen;

/// Writes one line to standard error, above the progress that is drawn there. A closed standard error is no reason to fail.
pub fn report(line: &str) {
    screen::print(format!("mailfleet: {line}\n").as_bytes());
}

/// `1,234,567`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 fault`, `2 faults`.
#[must_use]
pub fn counted(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}
