//! Where a ledger is.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{database::DatabasePlace, schema, tenure};

/// Where a ledger is: in a state folder, or in a database. The state folder has the files of this process in both cases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerPlace {
    state_dir: PathBuf,
    database: Option<Arc<DatabasePlace>>,
}

impl LedgerPlace {
    /// In a database, with the files of this process in a state folder.
    pub fn in_database(place: DatabasePlace, state_dir: impl Into<PathBuf>) -> Self {
        Self { state_dir: state_dir.into(), database: Some(Arc::new(place)) }
    }

    /// The folder of this process's files.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// Whether a process sends from it now, as far as can be told.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        let Some(place) = &self.database else { return schema::is_in_use(&self.state_dir) };
        tenure::is_held(place).unwrap_or(true)
    }

    /// The database, where it is not in the folder.
    #[must_use]
    pub const fn database(&self) -> Option<&Arc<DatabasePlace>> {
        self.database.as_ref()
    }
}

impl<P: Into<PathBuf>> From<P> for LedgerPlace {
    fn from(state_dir: P) -> Self {
        Self { state_dir: state_dir.into(), database: None }
    }
}

impl fmt::Display for LedgerPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.database {
            Some(place) => write!(f, "{place}"),
            None => write!(f, "{}", schema::database(&self.state_dir).display()),
        }
    }
}
