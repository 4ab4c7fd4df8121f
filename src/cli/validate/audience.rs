//! The recipients of a campaign, and the lists of people who are not mailed, as far as they can be looked at before anything is sent:
//! local sources, and not all of a long one.

use std::{collections::BTreeSet, path::PathBuf};

use crate::{
    audience::{Input, Reader, Row, Unit},
    message::{Census, Chooser},
    meta::bound::{counted, grouped},
    resources::{Blocker, CountOrPercent},
    source::{FilePlace, Finding, Severity, field_finding},
};

/// Rows that are looked at.
const ROWS_MAX: u64 = 100_000;
/// Stored bytes that are looked at.
const BYTES_MAX: u64 = 16 << 20;
/// Bad rows that are listed one by one.
const LISTED_MAX: usize = 3;

/// The field that names the field of the audience by which variants are chosen.
pub(in crate::cli) const VARIANT_FIELD: &str = "spec.content.variantField";

/// What the beginning of an audience says.
#[derive(Debug, Default)]
pub(in crate::cli) struct Recipients {
    /// The fields that templates may name, where they are known for every row.
    pub fields: Option<Vec<String>>,
    /// Why it cannot be read.
    problem: Option<Blocker>,
    usable: u64,
    bad: u64,
    /// The first bad rows: line, and what is wrong.
    listed: Vec<(u64, String)>,
    /// The file, as people call it, where it is one.
    file: Option<PathBuf>,
    /// The field that names the source: `spec.audience.csv`.
    field: String,
    /// Whether the rows are in the spec.
    is_inline: bool,
    /// Whether the ledger has them.
    is_recorded: bool,
    /// What the numbers of its rows count.
    unit: Unit,
    /// Whether all rows were looked at.
    is_whole: bool,
    /// Who of them gets which variant.
    census: Census,
}

impl Recipients {
    /// How many rows of the beginning can be used.
    pub fn usable(&self) -> u64 {
        self.usable
    }

    /// Reads the beginning of the source below a field (`spec.audience`), and counts who gets which variant.
    pub fn read(input: &Input, below: &str, chooser: &Chooser, runtime: &tokio::runtime::Handle) -> Self {
        let kind = match input {
            Input::Csv(..) => "csv",
            Input::Xlsx(_) => "xlsx",
            Input::JsonLines(_) => "jsonLines",
            Input::Json(_) => "json",
            Input::Sql(_) => "sql",
            Input::Inline(_) => "inline",
            Input::Recorded => "outcomes",
        };
        let file = input.file().map(|file| file.name().to_owned());
        let (field, is_inline) = (format!("{below}.{kind}"), matches!(input, Input::Inline(_)));
        let mut recipients = Self { file, field, is_inline, ..Self::default() };
        if matches!(input, Input::Recorded) {
            // Who is in another run only the ledger knows, and of them it keeps the address alone.
            return Self { fields: Some(vec!["email".to_owned()]), is_recorded: true, ..recipients };
        }
        match Reader::open(input, runtime) {
            Ok(reader) => recipients.take(reader, chooser),
            Err(problem) => recipients.problem = Some(problem),
        }
        recipients
    }

    fn take(&mut self, mut reader: Reader, chooser: &Chooser) {
        self.unit = reader.unit().clone();
        self.fields = reader.columns().map(|names| names.into_iter().map(str::to_owned).collect());
        let mut seen = BTreeSet::new();
        let is_table = self.fields.is_some();
        let mut is_whole = true;
        while let Some(row) = reader.next() {
            match row {
                Ok(Row::Recipient(recipient)) => {
                    self.usable += 1;
                    self.census.add(&chooser.choose(&recipient.fields));
                    if !is_table {
                        seen.extend(recipient.fields.names().filter(|name| recipient.fields.get(name).is_some()).map(str::to_owned));
                    }
                }
                Ok(Row::Bad { line, why }) => {
                    self.bad += 1;
                    if self.listed.len() < LISTED_MAX {
                        self.listed.push((line, why));
                    }
                }
                Err(problem) => self.problem = Some(problem),
            }
            if self.usable + self.bad >= ROWS_MAX || reader.read() >= BYTES_MAX {
                is_whole = false;
                break;
            }
        }
        self.is_whole = is_whole && self.problem.is_none();
        // A row of JSON that was not looked at may have any field.
        if !is_table && is_whole && self.problem.is_none() && self.usable > 0 {
            self.fields = Some(seen.into_iter().collect());
        }
    }

    /// What is wrong with an audience, at its file or at the field that holds it.
    pub fn findings(&self, place: &FilePlace) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.unreadable(place).into_iter().collect();
        if self.problem.is_none() && self.usable == 0 && !self.is_recorded {
            let what = if self.bad == 0 { "it has no rows, so nobody would be mailed" } else { "none of its rows can be used" };
            findings.push(self.finding(Severity::Fault, None, what.to_owned(), place));
        }
        findings.extend(self.bad_rows("nobody is mailed for this row", place));
        findings
    }

    /// What is wrong with a list of people who are not mailed. One without anybody is none.
    pub fn findings_of_list(&self, max: CountOrPercent, place: &FilePlace) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.unreadable(place).into_iter().collect();
        if self.problem.is_none() && max.is_exceeded(self.bad, self.usable + self.bad) {
            let what = format!(
                "it cannot be sent: {} cannot be used, and maxBadRows is {max}: nobody is mailed until it is known who is excluded; fix the list, or raise its maxBadRows",
                counted(self.bad, "row", "rows")
            );
            findings.push(self.finding(Severity::Fault, None, what, place));
        }
        findings.extend(self.bad_rows("nobody is excluded by this row", place));
        findings
    }

    /// Who gets no variant though the field that chooses one has a value, and which variant nobody gets.
    pub fn findings_of_variants(&self, chooser: &Chooser, place: &FilePlace) -> Vec<Finding> {
        let Some(field) = chooser.field().filter(|_| self.usable > 0) else { return Vec::new() };
        let (mut findings, census) = (Vec::new(), &self.census);
        let mut note = |severity, what: String| findings.push(field_finding(severity, place, VARIANT_FIELD, None, what).0);
        if census.unmatched() > 0 {
            let (severity, nobody) = if census.of_variants() == 0 && self.is_whole {
                (Severity::Warning, "; nobody gets a variant: no value is the name of one")
            } else {
                (Severity::Note, "")
            };
            let what = format!(
                "of {} {} a value in `{field}` that matches no variant, and {} the content itself: {}{nobody}",
                counted(self.usable, "recipient", "recipients"),
                if census.unmatched() == 1 { "1 has".to_owned() } else { format!("{} have", grouped(census.unmatched())) },
                if census.unmatched() == 1 { "gets" } else { "get" },
                census.values_named(),
            );
            note(severity, what);
        }
        let unused: Vec<String> = chooser.names().filter(|name| census.of(name) == 0).map(|name| format!("`{name}`")).collect();
        if self.is_whole && !unused.is_empty() && census.of_variants() > 0 {
            let variants = if unused.len() == 1 { "variant" } else { "variants" };
            note(Severity::Note, format!("nobody in the audience gets the {variants} {}", unused.join(", ")));
        }
        findings
    }

    fn unreadable(&self, place: &FilePlace) -> Option<Finding> {
        let problem = self.problem.as_ref()?;
        let named = self.file.as_ref().map_or_else(|| "the audience".to_owned(), |file| file.display().to_string());
        let what = problem.message.strip_prefix(&named).unwrap_or(&problem.message);
        let (line, what) = match what.strip_prefix(", line ").and_then(|rest| rest.split_once(": ")) {
            Some((line, what)) => (line.parse().ok(), what),
            None => (None, what.strip_prefix(": ").unwrap_or(what)),
        };
        Some(self.finding(Severity::Fault, line, what.to_owned(), place))
    }

    fn bad_rows(&self, meaning: &str, place: &FilePlace) -> Vec<Finding> {
        let mut findings = Vec::new();
        if self.bad > LISTED_MAX as u64 {
            let what = format!("{} rows cannot be used; the first {LISTED_MAX} are listed", self.bad);
            findings.push(self.finding(Severity::Warning, None, what, place));
        }
        for (line, why) in &self.listed {
            findings.push(self.finding(Severity::Warning, usize::try_from(*line).ok(), format!("{meaning}: {why}"), place));
        }
        findings
    }

    fn finding(&self, severity: Severity, line: Option<usize>, what: String, place: &FilePlace) -> Finding {
        let field = &self.field;
        let finding = match (&self.file, line) {
            // A workbook has no lines.
            (Some(file), Some(row)) if self.unit != Unit::Line => {
                Finding::of_file(severity, file, format!("{}: {what}", self.unit.at(row as u64)))
            }
            // An address belongs in no log: the line is not shown.
            (Some(file), Some(line)) => Finding { line, column: 1, ..Finding::of_file(severity, file, what) },
            (Some(file), None) => Finding::of_file(severity, file, what),
            (None, Some(row)) if self.is_inline => {
                return field_finding(severity, place, &format!("{field}[{}]", row.saturating_sub(1)), None, what).0;
            }
            (None, Some(line)) => {
                return field_finding(severity, place, field, None, format!("{}: {what}", self.unit.at(line as u64))).0;
            }
            (None, None) => return field_finding(severity, place, field, None, what).0,
        };
        Finding { field: Some(field.clone()), ..finding }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::audience::Location;

    fn read(text: &str) -> Recipients {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        Recipients::read(&Input::JsonLines(Location::Bytes(text.as_bytes().into())), "spec.audience", &Chooser::default(), runtime.handle())
    }

    #[test]
    fn a_long_audience_is_not_read_to_its_end() {
        let row = |number: u64| format!("{{\"email\": \"p{number}@example.com\", \"a\": 1}}\n");
        let mut text = String::new();
        for number in 0..ROWS_MAX - 1 {
            write!(text, "{}", row(number)).expect("a text");
        }
        assert_eq!(read(&text).fields, Some(vec!["a".to_owned(), "email".to_owned()]));
        text.push_str(&row(ROWS_MAX));
        text.push_str("not JSON\n");
        let recipients = read(&text);
        assert_eq!((recipients.usable, recipients.bad), (ROWS_MAX, 0));
        assert_eq!(recipients.fields, None, "a row further down may have any field");
    }
}
