//! A server's words, made safe to show and to keep.

use std::net::IpAddr;

/// Characters that are kept of a reply.
pub const KEPT_CHARS_MAX: usize = 250;

/// The text on one line, without the characters by which a server could forge what a person reads: control characters,
/// invisible and direction-changing ones.
pub fn readable(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars()
        .map(|c| if c == '\n' { ' ' } else { c })
        .filter(|c| !c.is_control() && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
}

/// The same words on every attempt, as a condition's message needs them: what looks like an id or a time becomes `…`.
#[must_use]
pub fn stable(text: &str) -> String {
    let words = text.split(' ').filter(|word| !word.is_empty());
    words.map(|word| if is_ephemeral(word) { "…" } else { word }).collect::<Vec<_>>().join(" ")
}

fn is_ephemeral(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let is_address = bare.parse::<IpAddr>().is_ok() || word.contains('@') || word.contains("://");
    let is_time = digits >= 4 && bare.matches(':').count() == 2;
    is_time && !bare.contains("::") || digits >= 4 && bare.len() >= 8 && !is_address
}
