//! Where an audience is read from, as the caller resolved and allowed it.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Blocker, Credential, FileVersion, Layout, Login, pages, sql, xlsx};
use crate::egress::Egress;

/// A file by the name that a campaign gives it. Symlinks in its path may be swapped at any time, as mounts of ConfigMaps and git-sync
/// do, so the name is resolved each time, by whoever created this.
#[derive(Clone)]
pub struct NamedFile {
    name: PathBuf,
    resolve: Arc<dyn Fn() -> Result<PathBuf, Blocker> + Send + Sync>,
}

impl NamedFile {
    /// A file known to users as `name`; `resolve` says where it is now, or why it must not be read.
    pub fn new(name: PathBuf, resolve: impl Fn() -> Result<PathBuf, Blocker> + Send + Sync + 'static) -> Self {
        Self { name, resolve: Arc::new(resolve) }
    }

    /// The name, for people.
    #[must_use]
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// Where it is now.
    ///
    /// # Errors
    /// When it is not there, or must not be read.
    pub fn resolve(&self) -> Result<PathBuf, Blocker> {
        (self.resolve)()
    }
}

impl fmt::Debug for NamedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NamedFile").field(&self.name).finish()
    }
}

/// Where the bytes are.
#[derive(Clone, Debug)]
pub enum Location {
    /// A file; nothing but a regular one is read.
    File(NamedFile),
    /// An http or https URL.
    Url(Remote),
    /// Bytes that are already in memory.
    Bytes(Arc<[u8]>),
}

/// An audience that is fetched.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Its http or https URL.
    pub url: String,
    /// Where connections may go.
    pub egress: Egress,
    /// What requests carry, where the URL needs it.
    pub login: Option<Login>,
}

/// What an audience is read with or from: when it is another one, an audience that could not be read may be readable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    /// When the file was last changed, and what else tells two of its states apart.
    File(FileVersion),
    /// The credential of a URL.
    Credential(Credential),
    /// What a database is reached with.
    Database(sql::Key),
}

/// An audience, resolved and allowed by the caller.
#[derive(Clone)]
pub enum Input {
    /// A table with a header line.
    Csv(Location, Layout),
    /// A sheet of a workbook.
    Xlsx(Box<xlsx::Sheet>),
    /// One JSON object per line.
    JsonLines(Location),
    /// The answers of an API.
    Json(Box<pages::Pages>),
    /// A database query.
    Sql(Box<sql::Query>),
    /// None of its own: the people of another run, whom the ledger has.
    Recorded,
    /// Rows within the campaign itself.
    Inline(Vec<BTreeMap<String, serde_json::Value>>),
}

impl Input {
    /// A table as most are written: in UTF-8, with commas.
    #[must_use]
    pub fn csv(location: Location) -> Self {
        Self::Csv(location, Layout::default())
    }

    /// Whether it is on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.remote().is_none() && !matches!(self.database(), Some(sql::Database::Server(..)))
    }

    /// Whether the fields of its rows are texts, as in a table: they have no attributes.
    #[must_use]
    pub const fn has_texts(&self) -> bool {
        matches!(self, Self::Csv(..) | Self::Xlsx(_))
    }

    /// The URL that it is fetched from.
    pub(super) fn remote(&self) -> Option<&Remote> {
        match (self, self.location()) {
            (Self::Json(pages), _) => Some(&pages.remote),
            (_, Some(Location::Url(remote))) => Some(remote),
            _ => None,
        }
    }

    fn location(&self) -> Option<&Location> {
        match self {
            Self::Csv(location, _) | Self::JsonLines(location) => Some(location),
            Self::Xlsx(sheet) => Some(&sheet.location),
            Self::Json(_) | Self::Sql(_) | Self::Recorded | Self::Inline(_) => None,
        }
    }

    pub(super) const fn database(&self) -> Option<&sql::Database> {
        if let Self::Sql(query) = self { Some(&query.database) } else { None }
    }

    /// The file that it is read from, where it is one.
    #[must_use]
    pub fn file(&self) -> Option<&NamedFile> {
        self.location().and_then(|location| if let Location::File(file) = location { Some(file) } else { None })
    }

    /// Whether [`Input::version`] may ever give one.
    #[must_use]
    pub fn has_version(&self) -> bool {
        match self.remote() {
            Some(remote) => remote.login.is_some(),
            None => self.database().is_some() || self.file().is_some(),
        }
    }

    /// What it would be read with or from now; none where that is missing, or has no version.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        if let Some(remote) = self.remote() {
            return remote.login.as_ref()?.credential().ok().map(Version::Credential);
        }
        match self.database() {
            Some(sql::Database::Server(access, _)) => access.key().ok().map(Version::Database),
            Some(sql::Database::Sqlite(file)) => FileVersion::of(file).map(Version::File),
            None => FileVersion::of(self.file()?).map(Version::File),
        }
    }
}

/// The ledger keeps hashes of these words: what a plain table was called stays.
impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Csv(location, layout) if *layout == Layout::default() => f.debug_tuple("Csv").field(location).finish(),
            Self::Csv(location, layout) => f.debug_tuple("Csv").field(location).field(layout).finish(),
            Self::Xlsx(sheet) => f.debug_tuple("Xlsx").field(sheet).finish(),
            Self::JsonLines(location) => f.debug_tuple("JsonLines").field(location).finish(),
            Self::Json(pages) => f.debug_tuple("Json").field(pages).finish(),
            Self::Sql(query) => f.debug_tuple("Sql").field(query).finish(),
            Self::Recorded => f.write_str("Recorded"),
            Self::Inline(rows) => f.debug_tuple("Inline").field(rows).finish(),
        }
    }
}
