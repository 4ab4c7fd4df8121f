//! A state folder as the place of a ledger: its lock, and the database's file, which must stay where it is.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use super::{
    LedgerOptions,
    database::Connection,
    error::{Fault, LedgerError, LedgerErrorKind},
    hash_file, meta, schema,
};

/// The length of the log, in pages (16 MiB), at which it is merged into the database.
const CHECKPOINT_PAGES: i64 = 4000;

/// A folder that this process has locked.
pub(super) struct Folder {
    path: PathBuf,
    identity: (u64, u64),
    /// The identities of the log and its index, which SQLite keeps beside the database.
    log: [(PathBuf, (u64, u64)); 2],
    _lock: File,
}

impl Folder {
    /// Locks the folder, opens the database and takes it over; returns its epoch too.
    pub(super) fn open(state_dir: &Path, options: LedgerOptions) -> Result<(Self, Connection, i64), LedgerError> {
        schema::make_state_dir(state_dir)?;
        let lock = schema::lock(state_dir)?;
        hash_file::remove_leftovers(state_dir)?;
        let path = schema::database(state_dir);
        let connection = schema::open_writer(&path, options)?;
        let epoch = schema::take_over(&connection).map_err(|fault| fault.at(&path.display()))?;
        schema::sync_dir(state_dir)?;
        let identity = schema::identity(&path)?;
        let beside = |ending: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(ending);
            let name = PathBuf::from(name);
            schema::identity(&name).map(|identity| (name, identity))
        };
        let log = [beside("-wal")?, beside("-shm")?];
        Ok((Self { path, identity, log, _lock: lock }, connection, epoch))
    }

    /// Runs `work` in one transaction of the process of this epoch.
    pub(super) fn transaction<T>(
        &self,
        connection: &Connection,
        epoch: i64,
        work: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.check_in_place(connection)?;
        if !connection.is_autocommit() {
            // An earlier rollback failed (a broken disk); nothing may be added to what it left behind.
            connection.execute("ROLLBACK", ())?;
        }
        connection.execute("BEGIN IMMEDIATE", ())?;
        let result = self
            .check_epoch(connection, epoch)
            .and_then(|()| work(connection))
            .and_then(|value| connection.execute("COMMIT", ()).map(|_| value));
        if result.is_err() && !connection.is_autocommit() {
            // SQLite may have rolled back already; a failure here shows up again at the next BEGIN.
            let _ = connection.execute("ROLLBACK", ());
        }
        result
    }

    /// If the file or its log was deleted or replaced, this process would write to one that no restart finds.
    fn check_in_place(&self, connection: &Connection) -> Result<(), LedgerError> {
        let is_in_place = |path: &Path, known: (u64, u64)| schema::identity(path).is_ok_and(|identity| identity == known);
        if !is_in_place(&self.path, self.identity) {
            return Err(LedgerError::new(
                LedgerErrorKind::Io,
                format!("{} was moved, replaced or deleted while in use; put it back, or restart Mailfleet", self.path.display()),
            ));
        }
        let Some((lost, _)) = self.log.iter().find(|(path, identity)| !is_in_place(path, *identity)) else { return Ok(()) };
        // This process still has the content of the log, which must not be lost with it.
        let saved = connection.row("PRAGMA wal_checkpoint(PASSIVE)", (), |row| Ok(row.get::<i64>(1)? == row.get::<i64>(2)?));
        let lost = lost.display();
        let message = match saved {
            Ok(Some(true)) => format!(
                "{lost} was moved, replaced or deleted while in use; its content was saved into {}. Restart Mailfleet; nothing is sent until then.",
                self.path.display()
            ),
            _ => format!(
                "{lost} was moved, replaced or deleted while in use, and its content cannot be saved; put it back, copy {} and its log to a safe place, and restart Mailfleet. Nothing is sent until then.",
                self.path.display()
            ),
        };
        Err(LedgerError::new(LedgerErrorKind::LogLost, message))
    }

    fn check_epoch(&self, connection: &Connection, epoch: i64) -> Result<(), Fault> {
        if meta::number(connection, "epoch")? == epoch {
            return Ok(());
        }
        Err(Fault::Ledger(LedgerError::new(
            LedgerErrorKind::Superseded,
            format!("another process has taken over {}; this one sends no more", self.path.display()),
        )))
    }

    /// Merges the log into the database once it is long.
    pub(super) fn merge_log(connection: &Connection) -> Result<(), Fault> {
        let pages: Option<i64> = connection.row("PRAGMA wal_checkpoint(NOOP)", (), |row| row.get(1))?;
        if pages.is_some_and(|pages| pages >= CHECKPOINT_PAGES) {
            connection.row("PRAGMA wal_checkpoint(PASSIVE)", (), |_| Ok(()))?;
        }
        Ok(())
    }
}
