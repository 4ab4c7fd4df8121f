//! How commands show rows: one description of a table, from which the text, the Markdown, the JSON and the YAML are made.
//!
//! The tables themselves are described in [`crate::present`].

mod fit;
pub mod markdown;

use std::{io, io::Write};

use clap::ValueEnum;
use serde_json::{Map, Value};
use unicode_width::UnicodeWidthStr as _;

use super::screen;
use crate::present::{Column, NAME_MIN, is_empty, one_line, text};
pub use crate::present::{Table, tables};
use fit::{GAP, Layout, Shape, fit, folded, padded};

/// What a column of names gets beyond its widest cell on a terminal, where more rows follow than were looked at.
const SLACK: usize = 8;
/// Rows that are held back to find out how wide the columns must be; a million recipients are not held in memory.
const ROWS_AT_A_TIME: usize = 1000;

/// The forms of output that `-o` chooses from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// A table for people.
    #[default]
    Table,
    /// The table with all of its columns; where the terminal is too narrow, a block of lines for each row.
    Wide,
    /// One JSON document, for scripts.
    Json,
    /// JSON Lines, one object per line.
    JsonLines,
    /// YAML.
    Yaml,
    /// The wide table in Markdown.
    Markdown,
}

impl<R> Table<R> {
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
        // Markdown is not for a terminal's width.
        let terminal = if matches!(format, OutputFormat::Table | OutputFormat::Wide) { screen::stdout_columns() } else { None };
        self.printer_for(terminal, format, out)
    }

    /// Prints for a terminal of that width.
    fn printer_for<'a, W: Write>(&'a self, terminal: Option<usize>, format: OutputFormat, out: &'a mut W) -> Printer<'a, R, W> {
        let columns = self.columns.iter().filter(|column| format != OutputFormat::Table || !column.is_wide).collect();
        Printer { columns, format, out, held: Vec::new(), layout: None, has_values: Vec::new(), is_begun: false, terminal }
    }
}

/// A table that is being printed: its headings once, and its columns as wide as the first rows need.
pub struct Printer<'a, R, W> {
    columns: Vec<&'a Column<R>>,
    format: OutputFormat,
    out: &'a mut W,
    held: Vec<Vec<String>>,
    /// Which columns there are, and how wide; decided by the first rows.
    layout: Option<Layout>,
    /// For each column, whether one of the first rows has a value in it.
    has_values: Vec<bool>,
    is_begun: bool,
    /// The width that the table is to fit into.
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
                let values: Vec<Value> = self.columns.iter().map(|column| (column.cell)(row)).collect();
                self.has_values.resize(values.len(), false);
                for ((has_value, value), column) in self.has_values.iter_mut().zip(&values).zip(&self.columns) {
                    *has_value |= !(is_empty(value) || column.is_quiet && value.as_u64() == Some(0));
                }
                let cells = self.columns.iter().zip(&values).map(|(column, value)| one_line(&text(value, column.is_name)));
                self.held.push(cells.collect());
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
            (OutputFormat::Table | OutputFormat::Wide | OutputFormat::Markdown, _) => {
                if self.layout.is_none() || !self.held.is_empty() {
                    self.flush()?;
                }
                self.say_what_is_left_out()
            }
        }
    }

    fn object(&self, row: &R) -> Value {
        let fields = self.columns.iter().map(|column| (column.key.clone().into_owned(), (column.cell)(row)));
        Value::Object(fields.filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>())
    }

    fn flush(&mut self) -> io::Result<()> {
        let rows = std::mem::take(&mut self.held);
        let first = self.layout.is_none().then(|| self.columns.iter().map(|column| column.heading.to_uppercase()).collect::<Vec<_>>());
        let layout = match self.layout.take() {
            Some(layout) => layout,
            None => self.fit(&rows),
        };
        if self.format == OutputFormat::Markdown {
            if first.is_some() {
                let headings: Vec<&str> = self.columns.iter().map(|column| &*column.heading).collect();
                writeln!(self.out, "| {} |\n|{}", headings.join(" | "), "---|".repeat(headings.len()))?;
            }
            let cells = |row: &Vec<String>| row.iter().map(|cell| markdown::cell(cell)).collect::<Vec<_>>().join(" | ");
            rows.iter().try_for_each(|row| writeln!(self.out, "| {} |", cells(row)))?;
        } else {
            match &layout {
                Layout::Lines { columns, is_fitted, .. } => {
                    first.iter().chain(&rows).try_for_each(|row| self.write_line(row, columns, *is_fitted))?;
                }
                Layout::Blocks { columns, heading, cell } => {
                    for (place, row) in rows.iter().enumerate() {
                        if place > 0 || first.is_none() {
                            writeln!(self.out)?;
                        }
                        self.write_block(row, columns, *heading, *cell)?;
                    }
                }
            }
        }
        self.layout = Some(layout);
        Ok(())
    }

    fn fit(&self, rows: &[Vec<String>]) -> Layout {
        let shape = |(place, column): (usize, &&Column<R>)| {
            let heading = column.heading.width();
            let widest = rows.iter().filter_map(|row| row.get(place)).map(|cell| cell.width()).max().unwrap_or(0);
            let is_empty = !rows.is_empty() && !self.has_values.get(place).copied().unwrap_or(false);
            let is_begun = self.terminal.is_some() && rows.len() >= ROWS_AT_A_TIME && column.wraps_from == Some(NAME_MIN);
            let widest = widest + if is_begun { SLACK } else { 0 };
            Shape { width: widest.max(heading), heading, wraps_from: column.wraps_from, rank: column.rank, is_empty }
        };
        let shapes: Vec<Shape> = self.columns.iter().enumerate().map(shape).collect();
        fit(&shapes, self.terminal, self.format == OutputFormat::Wide)
    }

    /// One row, of as many lines as its cells are folded into.
    fn write_line(&mut self, row: &[String], columns: &[(usize, usize)], is_fitted: bool) -> io::Result<()> {
        let cell = |place: usize| row.get(place).map_or("", String::as_str);
        let fold = |(place, width): &(usize, usize)| if is_fitted { folded(cell(*place), *width) } else { vec![cell(*place).into()] };
        let cells: Vec<_> = columns.iter().map(fold).collect();
        for line in 0..cells.iter().map(Vec::len).max().unwrap_or(0) {
            let parts = columns.iter().zip(&cells).map(|((_, width), cell)| padded(cell.get(line).map_or("", |part| part), *width));
            writeln!(self.out, "{}", parts.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end())?;
        }
        Ok(())
    }

    /// One row, a line for each cell.
    fn write_block(&mut self, row: &[String], columns: &[usize], heading: usize, width: usize) -> io::Result<()> {
        for place in columns {
            let name = self.columns.get(*place).map_or_else(String::new, |column| column.heading.to_uppercase());
            for (line, part) in folded(row.get(*place).map_or("", String::as_str), width).iter().enumerate() {
                let name = padded(if line == 0 { &name } else { "" }, heading + GAP);
                writeln!(self.out, "{}", format!("{name}{part}").trim_end())?;
            }
        }
        Ok(())
    }

    /// Says which columns had no room.
    fn say_what_is_left_out(&mut self) -> io::Result<()> {
        let Some(Layout::Lines { left_out, .. }) = &self.layout else { return Ok(()) };
        if left_out.is_empty() {
            return Ok(());
        }
        let headings: Vec<&str> = left_out.iter().filter_map(|place| self.columns.get(*place)).map(|column| &*column.heading).collect();
        let note = format!("(no room for {}; -o wide has all columns)", headings.join(", "));
        for line in folded(&note, self.terminal.unwrap_or(usize::MAX)) {
            writeln!(self.out, "{line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
