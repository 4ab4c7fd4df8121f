//! What people see of objects, whoever shows it: tables with their columns, sentences, and the commands that texts name.
//!
//! One description of a table, from which the command line makes text, Markdown, JSON and YAML, and the dashboard its pages; so what
//! `mailfleet get` says and what a page says cannot differ. Rows are typed; a table says for each column how it is called and what
//! stands in it.

pub mod promise;
pub mod tables;
pub mod words;

use std::borrow::Cow;

use serde_json::Value;

use crate::meta::bound::grouped;

/// The narrowest column of texts, which are wrapped between words.
pub const TEXT_MIN: usize = 20;
/// The narrowest column of names and addresses, which are wrapped within.
pub const NAME_MIN: usize = 30;

/// One column of a table of `R`s.
pub(crate) struct Column<R> {
    /// The key in JSON and YAML.
    pub(crate) key: Cow<'static, str>,
    /// The heading for people.
    pub(crate) heading: Cow<'static, str>,
    /// Whether the plain table leaves it out.
    pub(crate) is_wide: bool,
    /// From which width on it is wrapped to fit a terminal; `None` is never.
    pub(crate) wraps_from: Option<usize>,
    /// How readily the plain table leaves it out on a terminal that is too narrow; 0 is never.
    pub(crate) rank: u8,
    /// Whether its numbers are names of something, as those of lines are, and not grouped.
    pub(crate) is_name: bool,
    /// Whether a 0 in it says no more than an absent value.
    pub(crate) is_quiet: bool,
    pub(crate) cell: Box<dyn Fn(&R) -> Value>,
}

/// The description of a table of `R`s.
pub struct Table<R> {
    pub(crate) columns: Vec<Column<R>>,
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
        let cell = Box::new(move |row: &R| cell(row).into());
        self.columns.push(Column { key, heading, is_wide: false, wraps_from: None, rank: 0, is_name: false, is_quiet: false, cell });
        self
    }

    /// The column that was added last holds texts, which are wrapped where a terminal has not enough room.
    #[must_use]
    pub fn wraps(self) -> Self {
        self.with_last(|column| column.wraps_from = Some(TEXT_MIN))
    }

    /// The column that was added last holds names, of which only long ones are wrapped.
    #[must_use]
    pub fn folds(self) -> Self {
        self.with_last(|column| column.wraps_from = Some(NAME_MIN))
    }

    /// The plain table leaves the column that was added last out where a terminal has not enough room; of several, that of the highest
    /// rank first.
    #[must_use]
    pub fn spare(self, rank: u8) -> Self {
        self.with_last(|column| column.rank = rank)
    }

    /// The numbers in the column that was added last are not amounts.
    #[must_use]
    pub fn names(self) -> Self {
        self.with_last(|column| column.is_name = true)
    }

    /// In the column that was added last a 0 says nothing.
    #[must_use]
    pub fn quiet(self) -> Self {
        self.with_last(|column| column.is_quiet = true)
    }

    fn with_last(mut self, change: impl FnOnce(&mut Column<R>)) -> Self {
        self.columns.last_mut().map(change);
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
        self.column(key, heading, cell).with_last(|column| column.is_wide = true)
    }

    /// The headings of the columns, and whether each is wrapped where there is not enough room.
    pub fn headings(&self) -> impl Iterator<Item = (&str, bool)> {
        self.columns.iter().map(|column| (&*column.heading, column.wraps_from.is_some()))
    }

    /// The cells of a row as texts for people, in the order of the columns.
    pub fn cells(&self, row: &R) -> Vec<String> {
        self.columns.iter().map(|column| one_line(&text(&(column.cell)(row), column.is_name))).collect()
    }
}

/// A value for people.
pub(crate) fn text(value: &Value, is_name: bool) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(is_so) => if *is_so { "yes" } else { "no" }.to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(several) if several.is_empty() => "-".to_owned(),
        Value::Array(several) => several.iter().map(|one| text(one, is_name)).collect::<Vec<_>>().join(", "),
        Value::Object(keys) if keys.is_empty() => "-".to_owned(),
        Value::Object(keys) => keys.keys().cloned().collect::<Vec<_>>().join(", "),
        Value::Number(number) => number.as_u64().filter(|_| !is_name).map_or_else(|| number.to_string(), grouped),
    }
}

/// Whether a value says nothing.
pub(crate) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(_) | Value::Number(_) => false,
        Value::String(text) => text.is_empty(),
        Value::Array(several) => several.is_empty(),
        Value::Object(keys) => keys.is_empty(),
    }
}

/// A cell is one line, and sends nothing to the terminal but text.
pub(crate) fn one_line(cell: &str) -> String {
    cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
