//! The tables of `schema.sql` as data, for what goes through all of them. Pure.

use super::{database::Kind, schema};

/// A table of a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub name: &'static str,
    pub columns: Vec<(&'static str, Kind)>,
    /// How many of the columns, from the first on, are its key.
    pub key: usize,
}

impl Table {
    /// The names of columns, as SQL lists them.
    pub(super) fn list(columns: &[(&'static str, Kind)]) -> String {
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        names.join(", ")
    }

    /// The columns of the key.
    pub(super) fn key(&self) -> &[(&'static str, Kind)] {
        &self.columns[..self.key.min(self.columns.len())]
    }
}

/// Every table but `meta`, which holds what a ledger is and not what is in it.
pub(super) fn all() -> Vec<Table> {
    let mut tables = Vec::new();
    for statement in schema::SCHEMA.split("\nCREATE TABLE ").skip(1) {
        let Some((name, rest)) = statement.split_once(" (\n") else { continue };
        let Some((body, _)) = rest.split_once("\n)") else { continue };
        let (mut columns, mut key) = (Vec::new(), 1);
        for line in body.lines().map(|line| line.trim().trim_end_matches(',')) {
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("PRIMARY"), _) => key = line.matches(',').count() + 1,
                (Some("UNIQUE") | None, _) => {}
                (Some(column), Some("INTEGER")) => columns.push((column, Kind::Integer)),
                (Some(column), _) => columns.push((column, Kind::Text)),
            }
        }
        if name != "meta" {
            tables.push(Table { name, columns, key });
        }
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_of_the_schema_is_known_with_its_key() {
        let tables = all();
        assert_eq!(tables.len(), schema::SCHEMA.matches("CREATE TABLE").count() - 1);
        for table in &tables {
            let key = format!("PRIMARY KEY ({})", Table::list(table.key()));
            let alone = format!("{} INTEGER PRIMARY KEY", table.key()[0].0);
            let text = schema::SCHEMA.split(&format!("CREATE TABLE {} (", table.name)).nth(1).expect("its text");
            let text = text.split("\n)").next().expect("its end");
            assert!(text.contains(&key) || (table.key == 1 && text.contains(&alone)), "{}: {key}", table.name);
        }
        let messages = tables.iter().find(|table| table.name == "messages").expect("messages");
        assert_eq!((messages.key, messages.columns.len()), (3, 15));
        assert_eq!(messages.columns[3], ("recipient", Kind::Text));
    }
}
