//! Errors of the ledger: messages for display, and kinds that decide what happens next.

use std::{error::Error, fmt, io, path::Path};

use rusqlite::ErrorCode;

/// What failed, where, and what to do about it; nothing of the failed call was applied, unless its kind says `Undecided`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct LedgerError {
    /// The kind of cause, which decides what happens next.
    pub kind: LedgerErrorKind,
    /// The message for display. Stable as long as the cause is the same.
    pub message: String,
}

/// The causes that callers distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LedgerErrorKind {
    /// The disk is full. Sending resumes when there is space.
    Full,
    /// Another connection has locked the database. Sending resumes when that one ends.
    Locked,
    /// Reading or writing failed, or the file was moved.
    Io,
    /// The database cannot be reached. Sending resumes when it answers.
    Unreachable,
    /// The line to the database was lost while a write ended: whether it was applied is known once it can be reached. The same call
    /// must be repeated.
    Undecided,
    /// The log was moved, replaced or deleted while it was open: only a restart helps.
    LogLost,
    /// The file is not a ledger, or is damaged.
    Corrupt,
    /// There is no permission to open or write the file or its folder.
    NotPermitted,
    /// Another process uses this state folder.
    InUse,
    /// A newer version of Mailfleet wrote it.
    NewerVersion,
    /// An older version wrote it, and a reader cannot migrate it.
    OlderVersion,
    /// The ledger was moved to another place.
    Moved,
    /// Another process has taken over the ledger: this one must stop sending.
    Superseded,
    /// The request contradicts the ledger (a second outcome for one claim, a run that was not begun).
    Conflict,
    /// There is no ledger in this folder.
    Missing,
    /// The ledger of this process was closed.
    Closed,
}

impl LedgerError {
    pub(super) fn new(kind: LedgerErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(super) fn closed() -> Self {
        Self::new(LedgerErrorKind::Closed, "the ledger of this process is closed")
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self.kind,
            LedgerErrorKind::Full
                | LedgerErrorKind::Locked
                | LedgerErrorKind::Io
                | LedgerErrorKind::Unreachable
                | LedgerErrorKind::Undecided
                | LedgerErrorKind::NotPermitted
        )
    }

    /// Whether only an operator can fix it. False when another process has the ledger: that one reports the status.
    #[must_use]
    pub fn needs_person(&self) -> bool {
        use LedgerErrorKind as Kind;
        !self.is_transient() && !matches!(self.kind, Kind::Superseded | Kind::Closed | Kind::InUse)
    }

    /// Converts an error of the file system at `path`.
    pub(super) fn from_io(path: &Path, error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => LedgerErrorKind::Full,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => LedgerErrorKind::NotPermitted,
            _ => LedgerErrorKind::Io,
        };
        let message = match error.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
                format!("{} is not a folder, or is below a file; choose another state folder with --state", path.display())
            }
            io::ErrorKind::IsADirectory => format!("{} is a folder where a file should be; move it away", path.display()),
            io::ErrorKind::FileTooLarge => format!(
                "{} has reached the size limit of this process or of its file system ({error}); raise `ulimit -f`, or choose another state folder with --state",
                path.display()
            ),
            _ => message_of(kind, &path.display(), &error.to_string()),
        };
        Self::new(kind, message)
    }

    /// Converts an error of PostgreSQL, or of the line to it.
    pub(super) fn from_postgres(name: &impl fmt::Display, error: &tokio_postgres::Error) -> Self {
        use LedgerErrorKind as Kind;
        let Some(database) = error.as_db_error() else {
            let cause = cause(error);
            return Self::new(Kind::Unreachable, format!("the ledger at {name}: the connection was lost ({cause})"));
        };
        let (code, said) = (database.code().code(), database.message());
        let kind = match code {
            "53100" => Kind::Full,
            // Of a lock, of a statement that took too long, of two transactions that wait for each other.
            "55P03" | "57014" | "40P01" | "40001" | "23505" => Kind::Locked,
            "25P02" | "25P03" => Kind::Unreachable,
            // The first two are of a statement that was compiled on another connection.
            "26000" | "42P05" | "28000" | "28P01" | "3D000" | "3F000" | "42501" | "25006" | "0A000" => Kind::NotPermitted,
            _ if ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class)) => Kind::Unreachable,
            _ => Kind::Corrupt,
        };
        let message = match kind {
            _ if matches!(code, "26000" | "42P05") => {
                format!(
                    "{name} is a connection pool in transaction mode, which cannot be used ({said}); name the database itself in the URL of --ledger"
                )
            }
            Kind::Full => format!("the disk of the database {name} is full: {said}; make room; sending then resumes automatically"),
            Kind::Locked => {
                format!("the database {name} is busy: {said}; end the program that holds it up; sending then resumes automatically")
            }
            Kind::NotPermitted => format!("the database {name} refuses: {said}; check user, password and grants in the URL of --ledger"),
            Kind::Unreachable => format!("the database {name} is not available: {said}; sending resumes when it is"),
            _ => format!(
                "{name} is not a ledger or is damaged (SQLSTATE {code}: {said}); restore it from a backup, or name another schema in the URL of --ledger"
            ),
        };
        Self::new(kind, message)
    }

    /// Converts an error of SQLite about the file of this name.
    pub(super) fn from_sql(name: &impl fmt::Display, error: &rusqlite::Error) -> Self {
        use LedgerErrorKind as Kind;
        let kind = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Kind::Full,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Kind::Locked,
            Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly | ErrorCode::CannotOpen) => Kind::NotPermitted,
            Some(ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory) => Kind::Io,
            // The file is damaged or no database at all, or a table or value was not written by this program.
            _ => Kind::Corrupt,
        };
        Self::new(kind, message_of(kind, name, &error.to_string()))
    }
}

/// The last cause of an error, which says what happened.
fn cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn message_of(kind: LedgerErrorKind, path: &impl fmt::Display, cause: &str) -> String {
    use LedgerErrorKind as Kind;
    match kind {
        Kind::Full => format!("the disk is full: {path} cannot be written; make room; sending then resumes automatically"),
        Kind::Locked => {
            format!("{path} is locked by another program (a transaction in a database client?); end it; sending then resumes automatically")
        }
        Kind::Corrupt => format!(
            "{path} is not a ledger or is damaged ({cause}); restore it from a backup, or choose another state folder (which does not know who was mailed before)"
        ),
        Kind::NotPermitted => {
            format!("{path} cannot be opened or written ({cause}); check owner and permissions of the file and its folder")
        }
        _ => format!("{path} cannot be read or written ({cause}); check the disk"),
    }
}

/// An error that does not yet know which file it is about.
#[derive(Debug)]
pub(super) enum Fault {
    Sql(rusqlite::Error),
    Postgres(tokio_postgres::Error),
    Ledger(LedgerError),
}

impl Fault {
    pub(super) fn conflict(message: impl fmt::Display) -> Self {
        Self::Ledger(LedgerError::new(LedgerErrorKind::Conflict, format!("the ledger refused a write that contradicts it: {message}")))
    }

    pub(super) fn at(self, name: &impl fmt::Display) -> LedgerError {
        match self {
            Self::Sql(error) => LedgerError::from_sql(name, &error),
            Self::Postgres(error) => LedgerError::from_postgres(name, &error),
            Self::Ledger(error) => error,
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

impl From<LedgerError> for Fault {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}
