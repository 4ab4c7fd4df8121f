//! How commands show rows: one description of a table, from which the text, the Markdown, the JSON and the YAML are made.
//!
//! [`tables`] describes the tables. Rows are typed; a table says for each column how it is called and what stands in it.

pub mod tables;

use std::{borrow::Cow, io, io::Write};

use clap::ValueEnum;
use serde_json::{Map, Value};

use super::screen;

/// The narrowest last column that is wrapped; with less room the terminal wraps the line.
const LAST_COLUMN_MIN: usize = 20;
/// Rows that are held back to find out how wide the columns must be; a million recipients are not held in memory.
const ROWS_AT_A_TIME: usize = 1000;

/// The forms of output that `-o` chooses from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// A table for people.
    #[default]
    Table,
    /// The table with all of its columns.
    Wide,
    /// One JSON document, for scripts.
    Json,
    /// JSON Lines, one object per line; with --recipients, an audience.
    JsonLines,
    /// YAML.
    Yaml,
    /// The wide table in Markdown.
    Markdown,
}

/// One column of a table of `R`s.
struct Column<R> {
    /// The key in JSON and YAML.
    key: Cow<'static, str>,
    /// The heading for people.
    heading: Cow<'static, str>,
    /// Whether the plain table leaves it out.
    is_wide: bool,
    cell: Box<dyn Fn(&R) -> Value>,
}

/// The description of a table of `R`s.
pub struct Table<R> {
    columns: Vec<Column<R>>,
}

impl<R> Table<R> {
    /// A table without columns.
    #[must_use]
    pub const fn empty() -> Self {
        Self { columns: Vec::new() }
    }

    /// Adds a column: its key for scripts, its heading for people, and its cell. `null` means that there is no value.
    #[must_use]
    pub fn column<V: Into<Value>>(
        mut self,
        key: impl Into<Cow<'static, str>>,
        heading: impl Into<Cow<'static, str>>,
        cell: impl Fn(&R) -> V + 'static,
    ) -> Self {
        let (key, heading) = (key.into(), heading.into());
        self.columns.push(Column { key, heading, is_wide: false, cell: Box::new(move |row| cell(row).into()) });
        self
    }

    /// Adds a column that the plain table leaves out.
    #[must_use]
    pub fn wide<V: Into<Value>>(
        self,
        key: impl Into<Cow<'static, str>>,
        heading: impl Into<Cow<'static, str>>,
        cell: impl Fn(&R) -> V + 'static,
    ) -> Self {
        let mut table = self.column(key, heading, cell);
        if let Some(column) = table.columns.last_mut() {
            column.is_wide = true;
        }
        table
    }

    /// Prints all rows.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn print(&self, format: OutputFormat, out: &mut impl Write, rows: impl IntoIterator<Item = R>) -> io::Result<()> {
        let mut printer = self.printer(format, out);
        rows.into_iter().try_for_each(|row| printer.row(&row))?;
        printer.finish()
    }

    /// Prints rows one by one, for tables too long to be held in memory.
    pub fn printer<'a, W: Write>(&'a self, format: OutputFormat, out: &'a mut W) -> Printer<'a, R, W> {
        let columns = self.columns.iter().filter(|column| format != OutputFormat::Table || !column.is_wide).collect();
        // Markdown is not for a terminal's width.
        let terminal = if matches!(format, OutputFormat::Table | OutputFormat::Wide) { screen::stdout_columns() } else { None };
        Printer { columns, format, out, held: Vec::new(), widths: Vec::new(), is_begun: false, terminal }
    }
}

/// A table that is being printed: its headings once, and its columns as wide as the first rows need.
pub struct Printer<'a, R, W> {
    columns: Vec<&'a Column<R>>,
    format: OutputFormat,
    out: &'a mut W,
    held: Vec<Vec<String>>,
    widths: Vec<usize>,
    is_begun: bool,
    /// The width that the last column is wrapped to.
    terminal: Option<usize>,
}

impl<R, W: Write> Printer<'_, R, W> {
    /// Prints a row, at once or with those that follow.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn row(&mut self, row: &R) -> io::Result<()> {
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        match self.format {
            OutputFormat::Json => write!(self.out, "{}\n{}", if is_first { "[" } else { "," }, self.object(row)),
            OutputFormat::JsonLines => writeln!(self.out, "{}", self.object(row)),
            OutputFormat::Yaml => {
                let item = serde_saphyr::to_string(&[self.object(row)]).map_err(|error| io::Error::other(error.to_string()))?;
                self.out.write_all(item.as_bytes())
            }
            OutputFormat::Table | OutputFormat::Wide | OutputFormat::Markdown => {
                self.held.push(self.columns.iter().map(|column| one_line(&text(&(column.cell)(row)))).collect());
                if self.held.len() < ROWS_AT_A_TIME { Ok(()) } else { self.flush() }
            }
        }
    }

    /// Prints what is left.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        match (self.format, self.is_begun) {
            (OutputFormat::Json, true) => writeln!(self.out, "\n]"),
            (OutputFormat::Json | OutputFormat::Yaml, false) => writeln!(self.out, "[]"),
            (OutputFormat::JsonLines | OutputFormat::Yaml, _) => Ok(()),
            (OutputFormat::Table | OutputFormat::Wide | OutputFormat::Markdown, _) => self.flush(),
        }
    }

    fn object(&self, row: &R) -> Value {
        let fields = self.columns.iter().map(|column| (column.key.clone().into_owned(), (column.cell)(row)));
        Value::Object(fields.filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>())
    }

    fn flush(&mut self) -> io::Result<()> {
        let rows = std::mem::take(&mut self.held);
        let is_first = self.widths.is_empty();
        if is_first {
            self.widths = self.columns.iter().map(|column| column.heading.chars().count()).collect();
            for row in &rows {
                for (width, cell) in self.widths.iter_mut().zip(row) {
                    *width = (*width).max(cell.chars().count());
                }
            }
        }
        if self.format == OutputFormat::Markdown {
            if is_first {
                let headings: Vec<&str> = self.columns.iter().map(|column| &*column.heading).collect();
                writeln!(self.out, "| {} |\n|{}", headings.join(" | "), "---|".repeat(headings.len()))?;
            }
            let escaped = |cell: &String| cell.replace('\\', "\\\\").replace('|', "\\|");
            return rows.iter().try_for_each(|row| writeln!(self.out, "| {} |", row.iter().map(escaped).collect::<Vec<_>>().join(" | ")));
        }
        let headings = self.columns.iter().map(|column| column.heading.to_uppercase()).collect();
        let lines = is_first.then_some(headings).into_iter().chain(rows);
        let before: usize = self.widths.iter().rev().skip(1).map(|width| width + 2).sum();
        let last_width = self.terminal.and_then(|columns| columns.checked_sub(before)).filter(|left| *left >= LAST_COLUMN_MIN);
        for mut line in lines.collect::<Vec<Vec<String>>>() {
            let last = line.pop().unwrap_or_default();
            let mut parts = last_width.map_or_else(|| vec![last.clone()], |width| screen::wrapped(&last, width)).into_iter();
            line.push(parts.next().unwrap_or_default());
            let cells: Vec<String> = line.iter().zip(&self.widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            writeln!(self.out, "{}", cells.join("  ").trim_end())?;
            for part in parts {
                writeln!(self.out, "{:before$}{part}", "")?;
            }
        }
        Ok(())
    }
}

/// A value for people.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(is_so) => if *is_so { "yes" } else { "no" }.to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(several) if several.is_empty() => "-".to_owned(),
        Value::Array(several) => several.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Object(keys) if keys.is_empty() => "-".to_owned(),
        Value::Object(keys) => keys.keys().cloned().collect::<Vec<_>>().join(", "),
        Value::Number(number) => number.to_string(),
    }
}

/// A cell is one line, and sends nothing to the terminal but text.
fn one_line(cell: &str) -> String {
    cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people() -> Table<(&'static str, u32)> {
        Table::empty()
            .column("email", "recipient", |row: &(&str, u32)| row.0)
            .column("attempts", "attempts", |row: &(&str, u32)| row.1)
            .column("isNew", "new", |row: &(&str, u32)| (row.1 < 2).then_some(true))
            .wide("note", "a note", |_| "x|y\n\u{1b}[31m")
    }

    fn printed(format: OutputFormat, rows: &[(&'static str, u32)]) -> String {
        let mut out = Vec::new();
        people().print(format, &mut out, rows.iter().copied()).expect("a vector takes all");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn one_description_makes_every_form() {
        let rows = [("ann@example.com", 1), ("b@example.com", 12)];
        for (format, expected) in [
            (OutputFormat::Table, "RECIPIENT        ATTEMPTS  NEW\nann@example.com  1         yes\nb@example.com    12        -\n"),
            (
                OutputFormat::Wide,
                "RECIPIENT        ATTEMPTS  NEW  A NOTE\nann@example.com  1         yes  x|y  [31m\nb@example.com    12        -    x|y  [31m\n",
            ),
            (
                OutputFormat::Markdown,
                "| recipient | attempts | new | a note |\n|---|---|---|---|\n| ann@example.com | 1 | yes | x\\|y  [31m |\n| b@example.com | 12 | - | x\\|y  [31m |\n",
            ),
        ] {
            assert_eq!(printed(format, &rows), expected, "{format:?}");
        }
        let json: Value = serde_json::from_str(&printed(OutputFormat::Json, &rows)).expect("one document");
        assert_eq!(json[0]["attempts"], 1, "numbers are numbers");
        assert_eq!(json[1].get("isNew"), None, "what is absent has no key");
        assert_eq!(json.as_array().map(Vec::len), Some(2));
        let lines = printed(OutputFormat::JsonLines, &rows);
        assert!(lines.lines().all(|line| line.starts_with("{\"email\":\"") && line.ends_with('}')), "{lines}");
        let yaml = printed(OutputFormat::Yaml, &rows);
        assert!(yaml.starts_with("- email: ann@example.com\n  attempts: 1\n"), "{yaml}");
        assert_eq!(serde_saphyr::from_str::<Value>(&yaml).expect("YAML"), json);
    }

    #[test]
    fn a_table_without_rows_is_still_a_table() {
        assert_eq!(printed(OutputFormat::Table, &[]), "RECIPIENT  ATTEMPTS  NEW\n");
        assert_eq!(printed(OutputFormat::Json, &[]), "[]\n");
        assert_eq!(printed(OutputFormat::Yaml, &[]), "[]\n");
        assert_eq!(printed(OutputFormat::JsonLines, &[]), "");
    }

    #[test]
    fn a_long_table_has_its_headings_once() {
        let rows: Vec<_> = (0..2_500).map(|n| ("ann@example.com", n)).collect();
        for format in [OutputFormat::Table, OutputFormat::Markdown] {
            let text = printed(format, &rows);
            assert_eq!(text.to_lowercase().matches("attempts").count(), 1, "{format:?}");
            assert_eq!(text.matches("ann@").count(), 2_500, "{format:?}");
        }
    }
}
