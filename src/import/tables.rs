//! Which tables and columns a database has, so that older and newer versions of a program are read as far as they go. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::facts::text;

/// The query for all columns of the database that is asked: `table_name`, `column_name`.
#[must_use]
pub fn columns_query(is_postgres: bool) -> String {
    let schema = if is_postgres { "table_schema = current_schema()" } else { "table_schema = database()" };
    format!("SELECT table_name AS table_name, column_name AS column_name FROM information_schema.columns WHERE {schema} ORDER BY 1, 2")
}

/// Tables with their columns.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    columns: BTreeMap<String, BTreeSet<String>>,
    prefix: String,
}

impl Tables {
    /// Adds a row of the query.
    pub fn take(&mut self, row: &Map<String, Value>) {
        self.columns.entry(text(row, "table_name").to_owned()).or_default().insert(text(row, "column_name").to_owned());
    }

    /// The tables whose name begins with this; names are given without it from then on.
    #[must_use]
    pub fn with_prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// Whether a table is there.
    #[must_use]
    pub fn has(&self, table: &str) -> bool {
        self.columns.contains_key(&self.name(table))
    }

    /// Whether a column is there.
    #[must_use]
    pub fn has_column(&self, table: &str, column: &str) -> bool {
        self.columns.get(&self.name(table)).is_some_and(|columns| columns.contains(column))
    }

    /// The columns of a table.
    pub fn columns(&self, table: &str) -> impl Iterator<Item = &str> {
        self.columns.get(&self.name(table)).into_iter().flatten().map(String::as_str)
    }

    /// The full name of a table.
    #[must_use]
    pub fn name(&self, table: &str) -> String {
        format!("{}{table}", self.prefix)
    }

    /// A table's rows as objects of those of the wanted columns that are there, for MySQL and MariaDB.
    #[must_use]
    pub fn objects(&self, part: &str, table: &str, wanted: &[&str], condition: &str) -> Option<String> {
        let columns: Vec<String> =
            wanted.iter().filter(|column| self.has_column(table, column)).map(|c| format!("'{c}', t.`{c}`")).collect();
        let condition = if condition.is_empty() { String::new() } else { format!(" WHERE {condition}") };
        (!columns.is_empty()).then(|| {
            format!("SELECT '{part}' AS part, JSON_OBJECT({}) AS facts FROM `{}` t{condition}", columns.join(", "), self.name(table))
        })
    }

    /// What is said where tables are missing: which of them, and what the database is probably.
    ///
    /// # Errors
    /// The sentence.
    pub fn require(&self, program: &str, tables: &[&str]) -> Result<(), String> {
        let missing: Vec<String> = tables.iter().filter(|table| !self.has(table)).map(|table| format!("`{}`", self.name(table))).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let what = if self.columns.is_empty() {
            "the database has no tables that this user may see".to_owned()
        } else {
            format!("the database has no table {}", missing.join(", "))
        };
        Err(format!("{what}: it is not that of {program}, or its user may not read them"))
    }
}
