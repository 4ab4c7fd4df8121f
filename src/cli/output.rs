//! What several commands print: the forms of `-o`, aligned tables, Markdown tables.

use std::io::{self, Write};

use clap::ValueEnum;
use serde_json::{Map, Value};

/// The forms of output that `-o` chooses from. A command takes those that it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Lines or a table for people.
    #[default]
    Table,
    /// The same with further columns.
    Wide,
    /// JSON, for scripts.
    Json,
    /// YAML.
    Yaml,
    /// A table in Markdown.
    Markdown,
}

/// Prints aligned columns without borders: headings in capitals, two spaces between columns, none at line ends.
///
/// # Errors
/// When the output cannot be written.
pub fn print_table(out: &mut impl Write, headings: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let widths = widths(headings, rows);
    print_aligned(out, &widths, &[headings.iter().map(|heading| heading.to_uppercase()).collect()])?;
    print_aligned(out, &widths, rows)
}

/// How wide each column has to be, characters.
fn widths(headings: &[&str], rows: &[Vec<String>]) -> Vec<usize> {
    let mut widths: Vec<usize> = headings.iter().map(|heading| heading.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(one_line(cell).chars().count());
        }
    }
    widths
}

fn print_aligned(out: &mut impl Write, widths: &[usize], rows: &[Vec<String>]) -> io::Result<()> {
    for row in rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{:<width$}", one_line(cell))).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// A table too long to be held in memory, printed piece by piece: its headings once, and its columns as wide as the first piece
/// needs. For machines each row is an object, whose values may be other than text.
pub struct LongTable<'a> {
    format: OutputFormat,
    headings: &'a [&'a str],
    widths: Vec<usize>,
    is_begun: bool,
}

impl<'a> LongTable<'a> {
    /// A table with these headings, of which nothing is printed yet.
    #[must_use]
    pub const fn new(format: OutputFormat, headings: &'a [&'a str]) -> Self {
        Self { format, headings, widths: Vec::new(), is_begun: false }
    }

    /// Prints the next rows; the first call prints the headings as well.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn print(&mut self, out: &mut impl Write, rows: &[Vec<Value>]) -> io::Result<()> {
        if matches!(self.format, OutputFormat::Json | OutputFormat::Yaml) {
            let dash = if self.format == OutputFormat::Yaml { "- " } else { "" };
            return rows.iter().try_for_each(|row| {
                let object: Map<String, Value> =
                    self.headings.iter().map(|heading| (*heading).to_owned()).zip(row.iter().cloned()).collect();
                writeln!(out, "{dash}{}", Value::Object(object))
            });
        }
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(text).collect()).collect();
        match (self.format == OutputFormat::Markdown, std::mem::replace(&mut self.is_begun, true)) {
            (true, false) => print_markdown(out, self.headings, &rows),
            (true, true) => print_markdown_rows(out, &rows),
            (false, false) => {
                self.widths = widths(self.headings, &rows);
                print_table(out, self.headings, &rows)
            }
            (false, true) => print_aligned(out, &self.widths, &rows),
        }
    }
}

/// Prints a table in Markdown (GitHub's form), with `|` in cells escaped.
///
/// # Errors
/// When the output cannot be written.
pub fn print_markdown(out: &mut impl Write, headings: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    writeln!(out, "| {} |", headings.join(" | "))?;
    writeln!(out, "|{}", "---|".repeat(headings.len()))?;
    print_markdown_rows(out, rows)
}

fn print_markdown_rows(out: &mut impl Write, rows: &[Vec<String>]) -> io::Result<()> {
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| one_line(cell).replace('\\', "\\\\").replace('|', "\\|")).collect();
        writeln!(out, "| {} |", cells.join(" | "))?;
    }
    Ok(())
}

/// A cell is one line, and sends nothing to the terminal but text.
fn one_line(cell: &str) -> String {
    cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// `1 fault`, `2 faults`.
#[must_use]
pub fn counted(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned_and_safe() {
        let rows = vec![vec!["ses-eu".to_owned(), "Active".to_owned()], vec!["a".to_owned(), "x|y\n\u{1b}[31m".to_owned()]];
        let mut table = Vec::new();
        print_table(&mut table, &["Name", "State"], &rows).expect("a vector takes all");
        assert_eq!(String::from_utf8(table).expect("text"), "NAME    STATE\nses-eu  Active\na       x|y  [31m\n");
        let mut table = Vec::new();
        print_markdown(&mut table, &["Name", "State"], &rows).expect("a vector takes all");
        assert_eq!(String::from_utf8(table).expect("text"), "| Name | State |\n|---|---|\n| ses-eu | Active |\n| a | x\\|y  [31m |\n");
    }

    #[test]
    fn a_long_table_has_its_headings_once_and_numbers_stay_numbers() {
        let printed = |format| {
            let (mut out, mut table) = (Vec::new(), LongTable::new(format, &["recipient", "tries"]));
            for who in ["ann@example.com", "b@example.com"] {
                table.print(&mut out, &[vec![who.into(), 2.into()]]).expect("a vector takes all");
            }
            String::from_utf8(out).expect("text")
        };
        assert_eq!(printed(OutputFormat::Table), "RECIPIENT        TRIES\nann@example.com  2\nb@example.com    2\n");
        assert_eq!(printed(OutputFormat::Markdown), "| recipient | tries |\n|---|---|\n| ann@example.com | 2 |\n| b@example.com | 2 |\n");
        assert_eq!(
            printed(OutputFormat::Json),
            "{\"recipient\":\"ann@example.com\",\"tries\":2}\n{\"recipient\":\"b@example.com\",\"tries\":2}\n"
        );
        assert!(printed(OutputFormat::Yaml).starts_with("- {\"recipient\""));
    }
}
