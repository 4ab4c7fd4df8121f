//! What was carried over, with a doubt or not at all, each with its place in the source and what to do. Pure.

use serde::Serialize;

/// The most findings that are kept; the rest is counted.
const FINDINGS_MAX: usize = 10_000;

/// What became of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It was carried over as it is.
    CarriedOver,
    /// It was carried over, and a person should look at it.
    Check,
    /// It was not carried over.
    NotCarriedOver,
}

impl Outcome {
    /// All of them, those that need a person first.
    pub const ALL: [Self; 3] = [Self::NotCarriedOver, Self::Check, Self::CarriedOver];

    /// Its heading.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::CarriedOver => "Carried over",
            Self::Check => "Carried over, to be checked",
            Self::NotCarriedOver => "Not carried over",
        }
    }
}

/// A line of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What became of it.
    pub outcome: Outcome,
    /// Where it is in the source.
    pub place: String,
    /// What is to be said.
    pub what: String,
    /// What a person should do; empty where there is nothing to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub to_do: String,
}

/// All that is to be said of an import.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What was read, for people.
    pub source: String,
    /// The findings, in the order in which they were made.
    pub findings: Vec<Finding>,
    /// How many more there were.
    pub left_out: usize,
    /// How many of these were not carried over.
    pub left_out_lost: usize,
}

impl Report {
    /// Adds a finding.
    pub fn add(&mut self, outcome: Outcome, place: impl Into<String>, what: impl Into<String>, to_do: impl Into<String>) {
        let finding = Finding { outcome, place: place.into(), what: what.into(), to_do: to_do.into() };
        // The same on many lines of a template is said of each line; of one place it is said once.
        if self.findings.contains(&finding) {
            return;
        }
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.left_out += 1;
            self.left_out_lost += usize::from(outcome == Outcome::NotCarriedOver);
        }
    }

    /// Something was carried over.
    pub fn carried(&mut self, place: impl Into<String>, what: impl Into<String>) {
        self.add(Outcome::CarriedOver, place, what, "");
    }

    /// Something was carried over, and should be looked at.
    pub fn check(&mut self, place: impl Into<String>, what: impl Into<String>, to_do: impl Into<String>) {
        self.add(Outcome::Check, place, what, to_do);
    }

    /// Something was not carried over.
    pub fn lost(&mut self, place: impl Into<String>, what: impl Into<String>, to_do: impl Into<String>) {
        self.add(Outcome::NotCarriedOver, place, what, to_do);
    }

    /// The findings of an outcome.
    pub fn of(&self, outcome: Outcome) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.outcome == outcome)
    }

    /// How many there are of an outcome.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> usize {
        self.of(outcome).count()
    }

    /// The report for people, as Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = format!("# Import from {}\n", self.source);
        for outcome in Outcome::ALL {
            let count = self.count(outcome);
            if count == 0 {
                continue;
            }
            out.push_str(&format!("\n## {} ({count})\n\n", outcome.words()));
            let has_to_do = self.of(outcome).any(|finding| !finding.to_do.is_empty());
            out.push_str(if has_to_do { "| where | what | to do |\n|---|---|---|\n" } else { "| where | what |\n|---|---|\n" });
            for Finding { place, what, to_do, .. } in self.of(outcome) {
                let (place, what, to_do) = (cell(place), cell(what), cell(to_do));
                out.push_str(&if has_to_do { format!("| {place} | {what} | {to_do} |\n") } else { format!("| {place} | {what} |\n") });
            }
        }
        if self.left_out > 0 {
            out.push_str(&format!("\n{} more findings are left out.\n", self.left_out));
        }
        out
    }

    /// The report for people, a line for each finding.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for outcome in Outcome::ALL {
            let count = self.count(outcome);
            if count > 0 {
                lines.push(format!("{} ({count}):", outcome.words()));
            }
            for Finding { place, what, to_do, .. } in self.of(outcome) {
                let to_do = if to_do.is_empty() { String::new() } else { format!("; {to_do}") };
                lines.push(format!("  {}: {}{}", one_line(place), one_line(what), one_line(&to_do)));
            }
        }
        if self.left_out > 0 {
            lines.push(format!("{} more findings are left out.", self.left_out));
        }
        lines
    }
}

/// Text of a source is shown on one line, and moves nothing on a terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Text of a source in a cell of a table.
pub(super) fn cell(text: &str) -> String {
    one_line(text).replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;")
}
