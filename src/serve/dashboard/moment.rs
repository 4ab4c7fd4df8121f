//! What pages are made of, as plain data: what the engine shows, and what the ledger knows. Pure.

use crate::{
    engine::View,
    feedback::Judged,
    ledger::{Failure, HistoryRow},
    present::words::Commands,
    resources::Condition,
    serve::ProcessPhase,
};

/// One moment of the process.
#[derive(Clone)]
pub struct Moment {
    /// What the process is doing.
    pub phase: ProcessPhase,
    /// What the engine shows.
    pub view: View,
    /// Milliseconds since 1970.
    pub now_ms: i64,
    /// How commands in texts are completed.
    pub commands: Commands,
    /// Whether addresses of recipients may be shown.
    pub shows_recipients: bool,
}

/// What a page needs of the ledger; empty where it was not asked for.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// What came of messages by the hour.
    pub hours: Vec<(i64, Judged)>,
    /// What came of messages by the day.
    pub days: Vec<(i64, Judged)>,
    /// What changed, the newest first.
    pub history: Vec<HistoryRow>,
    /// Whether there is more of the history.
    pub has_more: bool,
    /// Messages of a campaign's run that were not accepted, the newest first.
    pub failures: Vec<Failure>,
    /// Why the ledger cannot be read.
    pub problem: Option<String>,
}

impl Moment {
    /// A text, without the names of recipients unless they may be shown.
    pub fn text(&self, text: &str) -> String {
        if self.shows_recipients { text.to_owned() } else { masked(text) }
    }

    /// Conditions for people, as `mailfleet get` has them: their commands are completed, and nothing is said twice.
    pub fn told(&self, conditions: &[Condition]) -> Vec<Condition> {
        let told = |condition: &Condition| {
            let message = self.text(&self.commands.in_text(&condition.message)).into();
            Condition { message, ..condition.clone() }
        };
        conditions.iter().map(told).collect()
    }
}

/// A text in which each address has but its first letter and its domain: `a***@example.com`.
pub fn masked(text: &str) -> String {
    let is_part = |c: char| c.is_alphanumeric() || ".!#$%&'*+/=?^_`{|}~-".contains(c);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('@') {
        let (before, after) = rest.split_at(at);
        let start = before.char_indices().rev().take_while(|(_, c)| is_part(*c)).last().map_or(at, |(start, _)| start);
        let is_address = start < at && after[1..].starts_with(|c: char| c.is_alphanumeric() || c == '[');
        match before[start..].chars().next() {
            Some(first) if is_address => {
                out.push_str(&before[..start]);
                out.push(first);
                out.push_str("***@");
            }
            // A quoted local part.
            _ if before.ends_with('"') => {
                let open = before[..at - 1].rfind('"').unwrap_or(0);
                out.push_str(&before[..open]);
                out.push_str("***@");
            }
            _ => {
                out.push_str(before);
                out.push('@');
            }
        }
        rest = &after[1..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_masked_and_other_texts_are_not() {
        for (text, expected) in [
            ("ann@example.com", "a***@example.com"),
            ("550 5.1.1 <ann.lee+x@example.com>: no such user", "550 5.1.1 <a***@example.com>: no such user"),
            ("ann@a.example, bob@b.example", "a***@a.example, b***@b.example"),
            ("an \"odd one\"@example.com", "an ***@example.com"),
            ("at noon @ the office, or a@ b", "at noon @ the office, or a@ b"),
            ("müller@exämple.de", "m***@exämple.de"),
            ("", ""),
            ("@", "@"),
        ] {
            assert_eq!(masked(text), expected);
        }
    }
}
