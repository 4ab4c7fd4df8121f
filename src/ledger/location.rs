//! Where a ledger is.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{database::DatabasePlace, schema};

/// Where a ledger is: in a state folder, or in a database. The state folder has the files of this process in both cases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    state_dir: PathBuf,
    database: Option<Arc<DatabasePlace>>,
}

impl Location {
    /// In a database, with the files of this process in a state folder.
    pub fn in_database(place: DatabasePlace, state_dir: impl Into<PathBuf>) -> Self {
        Self { state_dir: state_dir.into(), database: Some(Arc::new(place)) }
    }

    /// The folder of this process's files.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// The database, where it is not in the folder.
    #[must_use]
    pub const fn database(&self) -> Option<&Arc<DatabasePlace>> {
        self.database.as_ref()
    }
}

impl<P: Into<PathBuf>> From<P> for Location {
    fn from(state_dir: P) -> Self {
        Self { state_dir: state_dir.into(), database: None }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.database {
            Some(place) => write!(f, "{place}"),
            None => write!(f, "{}", schema::database(&self.state_dir).display()),
        }
    }
}
