//! Opening the database: the lock on the state folder, the schema, the settings, the version.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{OpenFlags, config::DbConfig};

use super::{
    LedgerOptions, LedgerPlace, Synchronous,
    database::{Connection, Session},
    error::{Fault, LedgerError, LedgerErrorKind},
    meta::{self, ARRIVING, MOVED_AT, MOVED_TO},
    migrations::{self, VERSION},
};
use crate::{feedback::EventKind, resources::fate::Fate};

/// Marks the file as a ledger ("MFlt").
const APPLICATION_ID: i64 = 0x4d46_6c74;
/// The database's name in the state folder.
pub(super) const DATABASE: &str = "ledger.db";
/// The database with what SQLite keeps beside it: its log, and the index of that.
pub const DATABASE_FILES: [&str; 3] = [DATABASE, "ledger.db-wal", "ledger.db-shm"];
/// The number of fates that this program knows: a ledger with more was written by a newer one.
const FATES: i64 = Fate::ALL[Fate::ALL.len() - 1].number() + 1;
/// Compiled statements that a connection keeps; there are fewer in this program.
const STATEMENTS_MAX: usize = 128;
const LOCK: &str = "lock";
/// Attempts to lock it, and the pause between two.
const LOCK_TRIES: u32 = 3;
const LOCK_AGAIN: Duration = Duration::from_millis(10);
pub(super) const SCHEMA: &str = include_str!("schema.sql");

/// Whether a state folder has a ledger.
#[must_use]
pub fn has_ledger(state_dir: &Path) -> bool {
    database(state_dir).exists()
}

/// The database's file in a state folder.
pub(super) fn database(state_dir: &Path) -> PathBuf {
    state_dir.join(DATABASE)
}

/// Creates the folder if it is absent, accessible only to its owner, since the ledger holds people's addresses.
pub(super) fn make_state_dir(state_dir: &Path) -> Result<(), LedgerError> {
    DirBuilder::new().recursive(true).mode(0o700).create(state_dir).map_err(|e| LedgerError::from_io(state_dir, &e))
}

/// Whether a process sends from this state folder now. The lock is tested and left at once; a process that starts in that moment waits.
#[must_use]
pub fn is_in_use(state_dir: &Path) -> bool {
    File::open(state_dir.join(LOCK)).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Locks the state folder for this process. The lock ends when the file is closed, even if the process is killed.
pub(super) fn lock(state_dir: &Path) -> Result<File, LedgerError> {
    let path = state_dir.join(LOCK);
    let at = |e: std::io::Error| LedgerError::from_io(&path, &e);
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o644).open(&path).map_err(at)?;
    // Whoever only asks [`is_in_use`] holds it for a moment.
    let tries = (0..LOCK_TRIES).map(|turn| {
        if turn > 0 {
            std::thread::sleep(LOCK_AGAIN);
        }
        file.try_lock()
    });
    let locked = tries.into_iter().find(|tried| !matches!(tried, Err(TryLockError::WouldBlock)));
    match locked.unwrap_or(Err(TryLockError::WouldBlock)) {
        Ok(()) => {
            file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(at)?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // The holder is needed only for the message.
            let _ = file.take(32).read_to_string(&mut holder);
            let holder = holder.trim();
            let holder = if holder.is_empty() { "another process".to_owned() } else { format!("process {holder}") };
            let dir = state_dir.display();
            Err(LedgerError::new(
                LedgerErrorKind::InUse,
                format!(
                    "the state folder {dir} is in use by {holder}: two processes may not send from one ledger; stop that one, or choose another folder with --state"
                ),
            ))
        }
        Err(TryLockError::Error(e)) => Err(at(e)),
    }
}

/// A connection that may write, with the schema in place.
pub(super) fn open_writer(path: &Path, options: LedgerOptions) -> Result<Connection, LedgerError> {
    // Created before SQLite would do so with the process's umask; its -wal and -shm get the permissions of this file.
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(|e| LedgerError::from_io(path, &e))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let connection = rusqlite::Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(options.busy_timeout)?;
        keep_statements(&connection)?;
        let connection = Connection::Sqlite(connection);
        prepare_writer(&connection, options)?;
        Ok(connection)
    };
    open().map_err(|fault: Fault| fault.at(&path.display()))
}

/// Compiles each statement once. Without the planner's stability guarantee SQLite compiles one again whenever a parameter changes that
/// might make another plan better, which for a comparison with any column is each time; there are no statistics here that it could use.
fn keep_statements(connection: &rusqlite::Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

fn prepare_writer(connection: &Connection, options: LedgerOptions) -> Result<(), Fault> {
    let found = check_version(connection)?;
    let mode: String = connection.value("PRAGMA journal_mode = WAL", ())?;
    if mode != "wal" {
        return Err(LedgerError::new(
            LedgerErrorKind::Io,
            format!("the ledger's file system does not support write-ahead logging (journal mode {mode}); choose a folder on a local disk with --state"),
        )
        .into());
    }
    let synchronous = match options.synchronous {
        Synchronous::Full => "FULL",
        Synchronous::Normal => "NORMAL",
    };
    // The writer runs checkpoints between two jobs, so that no commit waits for one. The log keeps its file, since an fsync of
    // overwritten blocks is much cheaper than one of a growing file.
    connection.execute_batch(&format!(
        "PRAGMA synchronous = {synchronous}; PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -8192;"
    ))?;
    match found {
        Some(version) if version < VERSION => migrations::migrate(connection, version)?,
        Some(_) => {}
        None => make(connection)?,
    }
    if meta::number(connection, "fates")? < FATES {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        write_views(connection)?;
        connection.execute_batch("COMMIT")?;
    }
    Ok(())
}

fn make(connection: &Connection) -> Result<(), Fault> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    // Another process may have been faster, between the check and the lock.
    if is_empty(connection)? {
        connection.execute_batch(SCHEMA)?;
        connection.execute_batch(&format!("PRAGMA application_id = {APPLICATION_ID}"))?;
        fill(connection)?;
    }
    connection.execute_batch("COMMIT")?;
    Ok(())
}

/// What a ledger begins with, in tables that are empty.
pub(super) fn fill(connection: &Connection) -> Result<(), Fault> {
    for (key, number) in [("schema", VERSION), ("seed", i64::from_ne_bytes(random()?)), ("epoch", 0), ("fates", 0)] {
        meta::set(connection, key, number)?;
    }
    write_views(connection)
}

/// Replaces the views with those of this program's table of fates.
fn write_views(connection: &Connection) -> Result<(), Fault> {
    connection.execute_batch("DROP VIEW IF EXISTS recipients; DROP VIEW IF EXISTS campaigns; DROP VIEW IF EXISTS feedback_events;")?;
    connection.execute_batch(&views(match connection {
        Connection::Sqlite(_) => |column: &str| format!("strftime('%Y-%m-%dT%H:%M:%fZ', {column} / 1000.0, 'unixepoch')"),
        Connection::Postgres(_) => |column: &str| format!("iso({column})"),
    }))?;
    meta::set(connection, "fates", FATES)
}

/// The views for users, with a word and a sum for each fate.
fn views(time: fn(&str) -> String) -> String {
    let words: String = Fate::ALL.iter().map(|fate| format!(" WHEN {} THEN '{fate}'", fate.number())).collect();
    let kinds: String = EventKind::ALL.iter().map(|kind| format!(" WHEN {} THEN '{kind}'", kind.number())).collect();
    let sums: String = Fate::ALL
        .iter()
        .map(|fate| format!("    coalesce(sum(c.count) FILTER (WHERE c.state = {}), 0) AS {},\n", fate.number(), fate.column()))
        .collect();
    let [updated, next, started, closed, at] =
        ["m.updated_at_ms", "m.next_attempt_at_ms", "r.started_at_ms", "r.closed_at_ms", "e.at_ms"].map(time);
    format!(
        "CREATE VIEW recipients AS
SELECT r.namespace, r.campaign, r.run, m.recipient, CASE m.state{words} END AS state, m.attempt, s.name AS server,
    {updated} AS time,
    {next} AS next_attempt,
    m.resent, m.reply
FROM messages m
JOIN runs r ON r.id = m.run_id
LEFT JOIN servers s ON s.id = m.server_id;

CREATE VIEW campaigns AS
SELECT r.namespace, r.campaign, r.run, CASE WHEN r.closed_at_ms IS NULL THEN 'Open' ELSE 'Completed' END AS state,
{sums}    r.resent, r.delivered, r.soft_bounced, r.bounced, r.complained, r.unsubscribed, r.total, r.duplicates, r.excluded, r.bad_rows,
    {started} AS started,
    {closed} AS completed
FROM runs r
LEFT JOIN counts c ON c.run_id = r.id
GROUP BY r.id;

CREATE VIEW feedback_events AS
SELECT r.namespace, r.campaign, r.run, coalesce(m.recipient, e.person) AS recipient, CASE e.kind{kinds} END AS event, s.name AS server,
    {at} AS time, e.source, e.detail
FROM events e
JOIN runs r ON r.id = e.run_id
LEFT JOIN messages m ON m.run_id = e.run_id AND m.partition = e.partition AND m.seq = e.seq
LEFT JOIN servers s ON s.id = e.server_id;
"
    )
}

fn is_empty(connection: &Connection) -> Result<bool, Fault> {
    connection.value("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)", ())
}

/// Whether the schema of a ledger in PostgreSQL has this table.
pub(super) fn has_table(connection: &Connection, name: &str) -> Result<bool, Fault> {
    connection.value("SELECT to_regclass(?1) IS NOT NULL", [name])
}

/// The version of the schema, `None` for an empty database; an error if it is not a ledger that this version can use.
pub(super) fn check_version(connection: &Connection) -> Result<Option<i64>, Fault> {
    let name = connection.name().to_owned();
    let is_ledger = match connection {
        Connection::Sqlite(_) if is_empty(connection)? => return Ok(None),
        Connection::Sqlite(_) => connection.value::<i64>("PRAGMA application_id", ())? == APPLICATION_ID,
        Connection::Postgres(_) if !has_table(connection, "meta")? => return Ok(None),
        Connection::Postgres(_) => has_table(connection, "senders")?,
    };
    if !is_ledger {
        return Err(LedgerError::new(
            LedgerErrorKind::Corrupt,
            format!("{name} is a database of another program, not a ledger; choose another state folder with --state"),
        )
        .into());
    }
    let version = meta::number(connection, "schema")?;
    if version > VERSION {
        return Err(LedgerError::new(
            LedgerErrorKind::NewerVersion,
            format!("{name} was written by a newer version of Mailfleet (schema {version}, this one knows {VERSION}); use that version"),
        )
        .into());
    }
    if version == VERSION && meta::number(connection, "fates")? > FATES {
        return Err(LedgerError::new(
            LedgerErrorKind::NewerVersion,
            format!("{name} was written by a newer version of Mailfleet, which knows more outcomes than this one; use that version"),
        )
        .into());
    }
    Ok(Some(version))
}

/// Raises the epoch: no earlier process can write to this ledger any more.
pub(super) fn take_over(connection: &Connection) -> Result<i64, Fault> {
    let epoch = meta::number(connection, "epoch")? + 1;
    meta::set(connection, "epoch", epoch)?;
    Ok(epoch)
}

/// Makes the directory entries of new files durable.
pub(super) fn sync_dir(state_dir: &Path) -> Result<(), LedgerError> {
    File::open(state_dir).and_then(|dir| dir.sync_all()).map_err(|e| LedgerError::from_io(state_dir, &e))
}

/// The identity of the file at a path, to detect that it was moved or deleted under an open connection.
pub(super) fn identity(path: &Path) -> Result<(u64, u64), LedgerError> {
    std::fs::metadata(path).map(|m| (m.dev(), m.ino())).map_err(|e| LedgerError::from_io(path, &e))
}

/// Refuses a ledger that was moved, since what it knows is old, and one that is being filled.
pub(super) fn refuse_moved(connection: &Connection) -> Result<(), Fault> {
    let name = connection.name();
    let message = if let Some(from) = meta::text(connection, ARRIVING)? {
        format!("the ledger at {name} does not hold everything yet: it was being moved from {from}; repeat `mailfleet ledger move`")
    } else if let Some(to) = meta::text(connection, MOVED_TO)? {
        let option = if to.contains("://") { "--ledger" } else { "--state" };
        if meta::text(connection, MOVED_AT)?.is_some() {
            format!("the ledger at {name} was moved to {to}: name that with {option}")
        } else {
            format!("the ledger at {name} was being moved to {to}, and has not arrived: repeat `mailfleet ledger move`")
        }
    } else {
        return Ok(());
    };
    Err(LedgerError::new(LedgerErrorKind::Moved, message).into())
}

/// A connection for reading, to wherever the ledger is.
pub(super) fn open_at(location: &LedgerPlace) -> Result<Connection, LedgerError> {
    let connection = open_at_even_if_moved(location)?;
    refuse_moved(&connection).map_err(|fault| fault.at(location))?;
    Ok(connection)
}

/// A connection for reading, also to a ledger that was moved.
pub(super) fn open_at_even_if_moved(location: &LedgerPlace) -> Result<Connection, LedgerError> {
    let Some(place) = location.database() else { return open_reader(&database(location.state_dir())) };
    let connection = Connection::Postgres(Box::new(Session::open(place, false)?));
    match check_version(&connection).map_err(|fault| fault.at(place))? {
        Some(VERSION) => Ok(connection),
        Some(version) => Err(LedgerError::new(
            LedgerErrorKind::OlderVersion,
            format!(
                "the ledger at {place} was written by an older version of Mailfleet (schema {version}, this one reads {VERSION}); `mailfleet run` migrates it"
            ),
        )),
        None => Err(LedgerError::new(LedgerErrorKind::Missing, format!("there is no ledger at {place}: nothing was sent from it yet"))),
    }
}

/// A read-only connection. It works beside a writer, without one, and in a folder that is not writable.
pub(super) fn open_reader(path: &Path) -> Result<Connection, LedgerError> {
    if !path.try_exists().map_err(|e| LedgerError::from_io(path, &e))? {
        return Err(LedgerError::new(
            LedgerErrorKind::Missing,
            format!("there is no ledger at {}; give the --state that `mailfleet run` was started with", path.display()),
        ));
    }
    let opened = try_reader(path, path);
    if !matches!(&opened, Err(e) if e.kind == LedgerErrorKind::NotPermitted) {
        return opened;
    }
    // Write-ahead logging needs a file beside the database even for reading, unless it is known that nobody writes. If that file
    // cannot be created and no log is left, nobody does.
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    if std::fs::metadata(&log).is_ok_and(|m| m.len() > 0) {
        return Err(LedgerError::new(
            LedgerErrorKind::NotPermitted,
            format!(
                "{} cannot be read here, since its log was not merged and the folder is read-only; copy the folder to where it can be written",
                path.display()
            ),
        ));
    }
    open_immutable(path)
}

/// A connection to a database that nobody writes to.
pub(super) fn open_immutable(path: &Path) -> Result<Connection, LedgerError> {
    try_reader(Path::new(&format!("file:{}?immutable=1", uri_path(path))), path)
}

fn try_reader(open: &Path, path: &Path) -> Result<Connection, LedgerError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let ready = || {
        let connection = rusqlite::Connection::open_with_flags(open, flags)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        keep_statements(&connection)?;
        let connection = Connection::Sqlite(connection);
        Ok((check_version(&connection)?, connection))
    };
    let (version, connection) = ready().map_err(|fault: Fault| fault.at(&path.display()))?;
    match version {
        Some(VERSION) => Ok(connection),
        Some(version) => Err(LedgerError::new(
            LedgerErrorKind::OlderVersion,
            format!(
                "{} was written by an older version of Mailfleet (schema {version}, this one reads {VERSION}); `mailfleet run` with this state folder migrates it",
                path.display()
            ),
        )),
        None => Err(LedgerError::new(LedgerErrorKind::Missing, format!("{} is empty: nothing was sent from it yet", path.display()))),
    }
}

/// A path as part of a `file:` URI (RFC 3986, 2.1).
fn uri_path(path: &Path) -> String {
    let mut uri = String::new();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => uri.push(char::from(*byte)),
            _ => {
                let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
                uri.extend(['%', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
    uri
}

/// Random bytes from the system.
pub(super) fn random<const N: usize>() -> Result<[u8; N], LedgerError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| LedgerError::new(LedgerErrorKind::Io, format!("the system provides no random bytes ({e})")))?;
    Ok(bytes)
}
