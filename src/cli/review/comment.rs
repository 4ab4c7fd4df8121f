//! A review as one comment, within what a forge takes. Pure.

use super::messages::Message;
use crate::{
    cli::{
        diff::Report,
        present::markdown::escaped,
        test::{Tried, markdown, summary},
    },
    forge::COMMENT_MAX,
    meta::bound::{counted, grouped},
    source::{Finding, Severity},
};

/// Findings that are listed.
const FINDINGS_MAX: usize = 50;
/// Characters of a finding.
const FINDING_MAX: usize = 600;
/// Room for what is said of the rest.
const NOTE_MAX: usize = 300;

/// What was found.
pub struct Review {
    /// What is wrong with the documents.
    pub findings: Vec<Finding>,
    /// How many there are.
    pub documents: usize,
    /// The servers that change.
    pub servers: Servers,
    /// What the merge would do.
    pub compared: Report,
    /// The messages of campaigns that change.
    pub messages: Vec<Message>,
}

/// The servers that change.
pub struct Servers {
    /// Those that were tried.
    pub tried: Vec<Tried>,
    /// What is said of the others.
    pub notes: Vec<String>,
}

/// How much is shown; each level leaves more out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Everything,
    NoHtml,
    NoMessages,
    NoFields,
}

impl Level {
    const ALL: [Self; 4] = [Self::Everything, Self::NoHtml, Self::NoMessages, Self::NoFields];

    const fn left_out(self) -> &'static str {
        match self {
            Self::Everything => "",
            Self::NoHtml => "the HTML of messages",
            Self::NoMessages => "the messages",
            Self::NoFields => "the messages, and the fields of objects",
        }
    }
}

/// The mark by which the comment is found again.
#[must_use]
pub fn marker(label: &str) -> String {
    // A comment of HTML ends at two hyphens and an angle bracket.
    let label: String = label.chars().map(|c| if c.is_alphanumeric() || "./_ ".contains(c) { c } else { '_' }).take(100).collect();
    format!("<!-- mailfleet review: {label} -->")
}

impl Review {
    /// Whether a document cannot be used.
    #[must_use]
    pub fn has_faults(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Fault)
    }

    /// The comment, with the mark in its first line.
    #[must_use]
    pub fn comment(&self, label: &str) -> String {
        within(COMMENT_MAX, &marker(label), |level| self.body(level))
    }

    fn body(&self, level: Level) -> String {
        let mut out = format!("## {}\n\n", self.verdict());
        out.push_str("| | |\n|---|---|\n");
        for (what, result) in [
            ("documents", self.documents()),
            ("servers tried", summary(&self.servers.tried)),
            ("the merge", self.compared.line().trim_end_matches('.').to_owned()),
            ("messages that change", grouped(self.messages.len())),
        ] {
            out.push_str(&format!("| {what} | {result} |\n"));
        }
        out.push_str(&self.told_of_documents());
        out.push('\n');
        out.push_str(&markdown("###", &self.servers.tried, &self.servers.notes));
        out.push('\n');
        out.push_str(&self.compared.markdown(level < Level::NoFields));
        if !self.messages.is_empty() {
            out.push_str("\n### Messages that change\n\nMade for an invented person; what stands in ⟨⟩ is a field of the audience.\n");
            for message in &self.messages {
                match level {
                    Level::Everything => out.push_str(&format!("\n{}", message.text)),
                    Level::NoHtml => out.push_str(&format!("\n{}", message.short)),
                    Level::NoMessages | Level::NoFields => out.push_str(&format!("\n- {}", escaped(&message.campaign))),
                }
            }
        }
        out
    }

    /// What comes of it, in a line.
    fn verdict(&self) -> String {
        let (failed, dangerous) = (crate::cli::test::exit_code(&self.servers.tried) == 1, self.compared.dangerous());
        match () {
            () if self.has_faults() => "❌ Mailfleet: a document cannot be used".to_owned(),
            () if failed => "❌ Mailfleet: a server failed its test".to_owned(),
            () if dangerous > 0 => format!("⚠️ Mailfleet: {}", counted(dangerous, "dangerous change", "dangerous changes")),
            () => "✅ Mailfleet: nothing blocks the merge".to_owned(),
        }
    }

    fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    /// `12, no faults, 1 warning`.
    fn documents(&self) -> String {
        let (faults, warnings) = (self.count(Severity::Fault), self.count(Severity::Warning));
        let faults = if faults == 0 { "no faults".to_owned() } else { counted(faults, "fault", "faults") };
        let warnings = if warnings == 0 { String::new() } else { format!(", {}", counted(warnings, "warning", "warnings")) };
        format!("{}, {faults}{warnings}", grouped(self.documents))
    }

    /// Faults and warnings, the faults first.
    fn told_of_documents(&self) -> String {
        let mut told: Vec<&Finding> = self.findings.iter().filter(|finding| finding.severity != Severity::Note).collect();
        told.sort_by_key(|finding| finding.severity);
        if told.is_empty() {
            return String::new();
        }
        let mut out = "\n### Documents\n\n".to_owned();
        for finding in told.iter().take(FINDINGS_MAX) {
            let sign = if finding.severity == Severity::Fault { "❌" } else { "⚠️" };
            let words: String = finding.to_string().chars().take(FINDING_MAX).collect();
            out.push_str(&format!("- {sign} {}\n", escaped(&words)));
        }
        match told.len().saturating_sub(FINDINGS_MAX) {
            0 => {}
            more => out.push_str(&format!("- and {} more; `mailfleet validate` shows them\n", grouped(more))),
        }
        out
    }
}

/// The first that fits with its mark, of texts that show less and less; the last is cut at the end of a line.
fn within(max: usize, marker: &str, body: impl Fn(Level) -> String) -> String {
    let note = |what: &str| {
        format!("\n_Left out, because a comment has a maximum length: {what}. `mailfleet diff` and `mailfleet preview` show all of it._\n")
    };
    let mut last = String::new();
    for level in Level::ALL {
        let end = if level == Level::Everything { String::new() } else { note(level.left_out()) };
        last = format!("{marker}\n{}{end}", body(level));
        if last.len() <= max {
            return last;
        }
    }
    let room = max.saturating_sub(NOTE_MAX);
    let mut end = room.min(last.len());
    while !last.is_char_boundary(end) {
        end -= 1;
    }
    let kept = last[..end].rfind('\n').map_or("", |line| &last[..line]);
    let mut out = format!("{kept}\n");
    // What was open is closed, so that the note is no part of it.
    if kept.lines().filter(|line| line.starts_with("```")).count() % 2 == 1 {
        out.push_str("```\n");
    }
    if kept.matches("<details>").count() > kept.matches("</details>").count() {
        out.push_str("\n</details>\n");
    }
    out + &note("the rest of this, and the messages")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_one_comment_whatever_the_label() {
        assert_eq!(marker("mail/objects"), "<!-- mailfleet review: mail/objects -->");
        let hostile = marker("a --> <b>");
        assert!(hostile.matches("-->").count() == 1 && hostile.matches('<').count() == 1, "{hostile}");
    }

    #[test]
    fn what_is_too_long_is_left_out_in_turn() {
        let body = |sizes: [usize; 4]| move |level: Level| "line of text\n".repeat(sizes[level as usize]);
        let whole = within(1_000, "<!-- m -->", body([10, 9, 8, 7]));
        assert!(whole.starts_with("<!-- m -->\n") && !whole.contains("Left out"), "{whole}");
        for (sizes, words) in [
            ([100, 10, 9, 8], "the HTML of messages."),
            ([100, 90, 10, 9], "length: the messages."),
            ([100, 100, 100, 10], "the fields of objects."),
            ([100, 100, 100, 100], "the rest of this"),
        ] {
            let cut = within(1_000, "<!-- m -->", body(sizes));
            assert!(cut.len() <= 1_000 && cut.contains(words) && cut.starts_with("<!-- m -->\n"), "{words}: {cut}");
        }
        let fenced = within(1_000, "<!-- m -->", |_| format!("<details>\n```diff\n{}", "ä\n".repeat(900)));
        assert!(fenced.len() <= 1_000 && fenced.contains("```\n\n</details>\n\n_Left out"), "{fenced}");
    }
}
