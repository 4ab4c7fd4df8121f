//! The database of another program, asked by the clients that audiences have: over TLS, in a transaction that only reads.

use std::{fs, time::Duration};

use serde_json::{Map, Value};
use tokio::runtime::Handle;

use super::DatabaseArgs;
use crate::{
    audience::sql::{Asked, DatabaseKind, kind, read},
    import::{Tables, columns_query},
    meta::secret::SecretValue,
};

pub use crate::audience::sql::DatabaseKind as Kind;

/// A database.
pub struct Reader {
    url: SecretValue,
    authorities: Option<SecretValue>,
    timeout: Duration,
    kind: DatabaseKind,
}

impl Reader {
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// When the URL or the file with certificates cannot be used.
    pub fn new(url: SecretValue, args: &DatabaseArgs) -> Result<Self, String> {
        let (kind, _) = kind(&url)?;
        let authorities = match &args.ca {
            None => None,
            Some(path) => {
                Some(SecretValue::new(fs::read(path).map_err(|error| format!("{}: the file cannot be read: {error}", path.display()))?))
            }
        };
        Ok(Self { url, authorities, timeout: args.timeout.std(), kind })
    }

    /// The URL, for the Secret that campaigns need.
    pub fn url(&self) -> &str {
        self.url.expose_text().unwrap_or_default()
    }

    /// Whether it is what a program uses.
    ///
    /// # Errors
    /// When it is not.
    pub fn require(&self, kind: DatabaseKind, program: &str) -> Result<(), String> {
        let scheme = match kind {
            DatabaseKind::Postgres => "postgres://",
            DatabaseKind::MySql => "mysql://",
        };
        if self.kind == kind {
            Ok(())
        } else {
            Err(format!("{program} keeps its data in another kind of database; its URL begins with `{scheme}`"))
        }
    }

    /// A message about the database.
    pub fn named(&self, what: &str) -> String {
        match kind(&self.url) {
            Ok((_, name)) => format!("database {name}: {what}"),
            Err(_) => what.to_owned(),
        }
    }

    /// Its tables and columns.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn tables(&self) -> Result<Tables, String> {
        let mut tables = Tables::default();
        self.rows(columns_query(self.kind == DatabaseKind::Postgres), |row| {
            tables.take(&row);
            Ok(())
        })?;
        Ok(tables)
    }

    /// The rows of a query.
    ///
    /// # Errors
    /// When it cannot be read, or `take` refuses one.
    pub fn rows(&self, query: String, take: impl FnMut(Map<String, Value>) -> Result<(), String>) -> Result<(), String> {
        let folder = std::env::temp_dir();
        let asked = Asked { url: self.url.clone(), authorities: self.authorities.clone(), query, timeout: self.timeout, folder: &folder };
        read(asked, &Handle::current(), take).map_err(|blocker| blocker.message)
    }
}
