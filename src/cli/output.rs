//! What several commands print: the forms of `-o`, aligned tables, Markdown tables.

use std::io::{self, Write};

use clap::ValueEnum;

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
    let mut widths: Vec<usize> = headings.iter().map(|heading| heading.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(one_line(cell).chars().count());
        }
    }
    let headings: Vec<String> = headings.iter().map(|heading| heading.to_uppercase()).collect();
    for row in std::iter::once(&headings).chain(rows) {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{:<width$}", one_line(cell))).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// Prints a table in Markdown (GitHub's form), with `|` in cells escaped.
///
/// # Errors
/// When the output cannot be written.
pub fn print_markdown(out: &mut impl Write, headings: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    writeln!(out, "| {} |", headings.join(" | "))?;
    writeln!(out, "|{}", "---|".repeat(headings.len()))?;
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
}
