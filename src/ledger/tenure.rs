//! Who sends from a ledger in PostgreSQL: a process holds a lease, and each of its transactions proves that it still does.
//!
//! A transaction begins by counting itself in the process's row of `senders`, under the number that it must have. Whoever takes over
//! writes to that row too, so that one of the two waits for the other, whatever clocks say. The number also tells, when the end of a
//! transaction was not heard of, whether that was applied. Whoever asks changes the row's `line` first, so that what was still on its way
//! by the old one can never be applied afterwards; asking again gives the same answer.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    database::{Connection, DatabasePlace, Ended, Session, params, tables},
    error::{Fault, LedgerError, LedgerErrorKind},
    migrations, schema,
};

/// How long a process that is not heard of is thought to live. It is extended by each transaction.
pub(super) const LEASE: Duration = Duration::from_secs(10);
/// How often a process that writes nothing is heard of.
pub(super) const BEAT: Duration = Duration::from_secs(3);
/// How often it is looked whether a lease has ended.
const LOOK: Duration = Duration::from_millis(250);
/// After a connection did not come about, the next one is not tried for so long.
const CONNECT_AGAIN: Duration = Duration::from_millis(500);
/// Transactions that were undecided of which the answer is kept: only a group commit is asked for, and there is one.
const FOUND_MAX: usize = 64;
/// The lock under which tables are made and processes begin; any number that nobody else uses.
const DOOR: i64 = 0x4d46_6c74;

/// Tables that only a ledger with a database of its own has. id: an epoch. where_at: the process, for people; origin: what its machine
/// tells it by, for others on it. commits: transactions so far. line: how often the end of one was asked for.
const SENDERS: &str = "CREATE TABLE senders (
    id BIGINT PRIMARY KEY,
    where_at TEXT NOT NULL,
    origin TEXT NOT NULL,
    commits BIGINT NOT NULL,
    line BIGINT NOT NULL,
    lease_until_ms BIGINT NOT NULL,
    ended BOOLEAN NOT NULL
);
CREATE FUNCTION instr(text TEXT, part TEXT) RETURNS BIGINT IMMUTABLE LANGUAGE SQL AS 'SELECT CAST(strpos($1, $2) AS BIGINT)';
CREATE FUNCTION iso(at_ms BIGINT) RETURNS TEXT IMMUTABLE LANGUAGE SQL
    AS 'SELECT to_char(to_timestamp($1 / 1000.0) AT TIME ZONE ''UTC'', ''YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'')';";
/// The time by the clock of the database, which is the only one that leases go by.
const NOW_MS: &str = "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)";

/// A lease that this process holds.
pub(super) struct Tenure {
    place: Arc<DatabasePlace>,
    /// Transactions that are known to be applied.
    commits: Cell<i64>,
    /// How often the end of a transaction was asked for.
    line: Cell<i64>,
    /// The transaction whose end was not heard of, until it is known whether it was applied.
    undecided: Cell<Option<Transaction>>,
    /// What was found of such transactions, until somebody asks.
    found: RefCell<BTreeMap<Transaction, bool>>,
    /// When the last connection did not come about.
    failed: Cell<Option<Instant>>,
    /// Why this process writes and reads no more, once that is so: nothing may be decided by what it reads.
    over: RefCell<Option<LedgerError>>,
}

/// A transaction of this process: its `line`, and its number. One that was not applied leaves its number to the next.
pub(super) type Transaction = (i64, i64);

/// What a person is told of the process that sends, and when its lease ends by the database's clock.
struct Holder {
    id: i64,
    where_at: String,
    origin: String,
    left_ms: i64,
}

impl Tenure {
    /// Makes the tables where there are none, waits for the lease of a process that was killed, and begins; returns the epoch too.
    pub(super) fn open(place: &Arc<DatabasePlace>) -> Result<(Self, Connection, i64), LedgerError> {
        let connection = Connection::Postgres(Box::new(Session::open(place, true)?));
        let name = place.to_string();
        let epoch = make(&connection, place).and_then(|()| begin(&connection, &name)).map_err(|fault| fault.at(&name))?;
        let tenure = Self {
            place: Arc::clone(place),
            commits: Cell::new(0),
            line: Cell::new(0),
            undecided: Cell::new(None),
            found: RefCell::default(),
            failed: Cell::new(None),
            over: RefCell::default(),
        };
        Ok((tenure, connection, epoch))
    }

    /// A connection that can be asked: the one that is there, or a new one where its line was lost.
    pub(super) fn reconnect(&self, connection: &mut Connection) -> Result<(), LedgerError> {
        if let Some(why) = &*self.over.borrow() {
            return Err(why.clone());
        }
        if connection.is_usable() {
            return Ok(());
        }
        if self.failed.get().is_some_and(|at| at.elapsed() < CONNECT_AGAIN) {
            let message = format!("the ledger at {} cannot be reached; sending resumes when it answers", self.place);
            return Err(LedgerError::new(LedgerErrorKind::Unreachable, message));
        }
        match Session::open(&self.place, true) {
            Ok(session) => {
                self.failed.set(None);
                *connection = Connection::Postgres(Box::new(session));
                Ok(())
            }
            Err(error) => {
                self.failed.set(Some(Instant::now()));
                Err(error)
            }
        }
    }

    /// The transaction of which it is not known whether it was applied.
    pub(super) const fn undecided(&self) -> Option<Transaction> {
        self.undecided.get()
    }

    /// Whether this transaction was applied, which was undecided.
    pub(super) fn was_applied(&self, connection: &mut Connection, epoch: i64, transaction: Transaction) -> Result<bool, Fault> {
        self.decide(connection, epoch)?;
        // Whatever ended since then has asked for it, and left the answer.
        let found = self.found.borrow_mut().remove(&transaction);
        found.ok_or_else(|| Fault::conflict(format_args!("nobody asked whether transaction {} was applied", transaction.1)))
    }

    /// Finds out whether the transaction that ended while the line was lost was applied; from then on it cannot be.
    fn decide(&self, connection: &mut Connection, epoch: i64) -> Result<(), Fault> {
        let Some((line, number)) = self.undecided.get() else { return Ok(()) };
        self.reconnect(connection)?;
        let counted = connection.row(
            &format!(
                "UPDATE senders SET line = line + 1, lease_until_ms = {NOW_MS} + ?2 WHERE id = ?1 AND NOT ended RETURNING commits, line"
            ),
            [epoch, lease_ms()],
            |row| Ok((row.get::<i64>(0)?, row.get::<i64>(1)?)),
        )?;
        let Some((commits, next_line)) = counted else { return Err(self.superseded()) };
        if commits != number && commits != number + 1 {
            return Err(self.forgot());
        }
        let mut found = self.found.borrow_mut();
        if found.len() >= FOUND_MAX {
            found.pop_first();
        }
        found.insert((line, number), commits > number);
        self.commits.set(commits);
        self.line.set(next_line);
        self.undecided.set(None);
        Ok(())
    }

    /// Runs `work` in one transaction of the process of this epoch.
    pub(super) fn transaction<T>(
        &self,
        connection: &mut Connection,
        epoch: i64,
        work: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.reconnect(connection)?;
        self.decide(connection, epoch)?;
        let Connection::Postgres(session) = &*connection else {
            return Err(Fault::conflict("a file has no lease"));
        };
        let (number, line, lease) = (self.commits.get(), self.line.get(), lease_ms());
        session.begin(&format!(
            "UPDATE senders SET commits = commits + 1, lease_until_ms = {NOW_MS} + {lease}
             WHERE id = {epoch} AND commits = {number} AND line = {line} AND NOT ended"
        ));
        let ended = work(connection).map(|value| (value, session.commit()));
        let fault = match ended {
            Ok((value, Ended::Applied)) => {
                self.commits.set(number + 1);
                return Ok(value);
            }
            Ok((_, Ended::Undecided(fault))) => {
                connection.give_up();
                self.undecided.set(Some((line, number)));
                return Err(Fault::Ledger(LedgerError::new(LedgerErrorKind::Undecided, fault.at(&self.place).message)));
            }
            Ok((_, Ended::RolledBack(fault))) | Err(fault) => fault,
        };
        let is_refused = session.is_refused();
        session.roll_back();
        if !is_refused {
            return Err(fault);
        }
        let is_ended = connection.row("SELECT ended FROM senders WHERE id = ?1", [epoch], |row| row.get::<bool>(0))?;
        Err(if is_ended == Some(false) { self.forgot() } else { self.superseded() })
    }

    /// Gives the lease back. Where that fails, it ends by itself.
    pub(super) fn close(&self, connection: &mut Connection, epoch: i64) {
        if self.decide(connection, epoch).is_ok() {
            let _ = connection.execute("UPDATE senders SET ended = TRUE WHERE id = ?1", [epoch]);
        }
    }

    /// Another process has taken over.
    fn superseded(&self) -> Fault {
        self.ends(format!("another process has taken over the ledger at {}; this one sends no more", self.place))
    }

    /// The database no longer has what it told as durable.
    fn forgot(&self) -> Fault {
        self.ends(format!(
            "the database at {} has lost commits that it had told as durable (a failover to a standby that was behind, or a restored backup): this process sends no more. Bring them back; a restart without them mails those people again",
            self.place
        ))
    }

    fn ends(&self, why: String) -> Fault {
        let error = LedgerError::new(LedgerErrorKind::Superseded, why);
        *self.over.borrow_mut() = Some(error.clone());
        Fault::Ledger(error)
    }
}

fn lease_ms() -> i64 {
    i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX)
}

/// Makes the schema and its tables, unless they are there.
fn make(connection: &Connection, place: &DatabasePlace) -> Result<(), Fault> {
    match schema::check_version(connection)? {
        Some(version) if version < migrations::VERSION => {
            return Err(Fault::Ledger(LedgerError::new(
                LedgerErrorKind::OlderVersion,
                format!(
                    "the ledger at {place} was written by an older version of Mailfleet (schema {version}), from which there is no way to this one; use that version, or name another schema"
                ),
            )));
        }
        Some(_) => return Ok(()),
        None => {}
    }
    alone(connection, || {
        // Another process may have been faster.
        if schema::has_table(connection, "meta")? {
            return Ok(());
        }
        if connection.row("SELECT 1 FROM pg_namespace WHERE nspname = ?1", [place.schema()], |_| Ok(()))?.is_none() {
            connection.execute_batch(&format!("CREATE SCHEMA {}", place.schema()))?;
        }
        connection.execute_batch(&tables(schema::SCHEMA))?;
        connection.execute_batch(SENDERS)?;
        schema::fill(connection)
    })
}

/// Runs `work` in one transaction, while no other process makes tables or begins.
fn alone<T>(connection: &Connection, work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    connection.execute_batch("BEGIN")?;
    let done = connection.execute(&format!("SELECT pg_advisory_xact_lock({DOOR})"), ()).and_then(|_| work());
    if done.is_err() {
        let _ = connection.execute_batch("ROLLBACK");
        return done;
    }
    connection.execute_batch("COMMIT").and(done)
}

/// Begins to send, once nobody else does.
fn begin(connection: &Connection, name: &str) -> Result<i64, Fault> {
    let (mut known, mut is_told): (Option<Holder>, bool) = (None, false);
    loop {
        let holder = match alone(connection, || try_begin(connection))? {
            Ok(epoch) => return Ok(epoch),
            Err(holder) => holder,
        };
        // A lease that was extended since the last look: the process lives.
        let lives = known.as_ref().is_some_and(|known| known.id != holder.id || known.left_ms < holder.left_ms);
        if lives {
            return Err(Fault::Ledger(LedgerError::new(
                LedgerErrorKind::InUse,
                format!(
                    "the ledger at {name} is in use by {}: stop that process, or name another schema in the URL of --ledger",
                    holder.where_at
                ),
            )));
        }
        if !is_told {
            is_told = true;
            let seconds = holder.left_ms.div_euclid(1000) + 1;
            tracing::info!(
                "{} sent from this ledger and did not say that it ended; waiting {seconds} s for its lease to end",
                holder.where_at
            );
        }
        known = Some(holder);
        std::thread::sleep(LOOK);
    }
}

/// Begins unless somebody else sends, who is returned then.
fn try_begin(connection: &Connection) -> Result<Result<i64, Holder>, Fault> {
    let holders: Vec<Holder> = connection.all(
        &format!("SELECT id, where_at, origin, lease_until_ms - {NOW_MS} FROM senders WHERE NOT ended ORDER BY lease_until_ms DESC"),
        (),
        |row| Ok(Holder { id: row.get(0)?, where_at: row.get(1)?, origin: row.get(2)?, left_ms: row.get(3)? }),
    )?;
    for holder in holders {
        let is_gone = is_gone(&holder.origin);
        if holder.left_ms > 0 && !is_gone {
            return Ok(Err(holder));
        }
        // It waits for a transaction of theirs that is under way, which may extend the lease; later ones find that they are over.
        let ended = connection.execute(
            &format!("UPDATE senders SET ended = TRUE WHERE id = ?1 AND NOT ended AND (?2 = 1 OR lease_until_ms <= {NOW_MS})"),
            params![holder.id, is_gone],
        )?;
        if ended == 0 {
            return Ok(Err(holder));
        }
    }
    let epoch = schema::take_over(connection)?;
    connection.execute(
        &format!("INSERT INTO senders (id, where_at, origin, commits, line, lease_until_ms, ended) VALUES (?1, ?2, ?3, 0, 0, {NOW_MS} + ?4, FALSE)"),
        params![epoch, where_at(), origin(std::process::id()), lease_ms()],
    )?;
    connection.execute("DELETE FROM senders WHERE ended AND id < ?1 - 1000", [epoch])?;
    Ok(Ok(epoch))
}

/// Whether a process holds the lease now.
pub(super) fn is_held(place: &Arc<DatabasePlace>) -> Result<bool, Fault> {
    let connection = Connection::Postgres(Box::new(Session::open(place, false)?));
    if schema::check_version(&connection)?.is_none() {
        return Ok(false);
    }
    connection.value(&format!("SELECT EXISTS (SELECT 1 FROM senders WHERE NOT ended AND lease_until_ms > {NOW_MS})"), ())
}

/// This process for people.
fn where_at() -> String {
    let host = rustix::system::uname();
    format!("process {} on {}", std::process::id(), host.nodename().to_string_lossy())
}

/// What tells a process from all others: the start of its machine, its namespace of processes, its number, and when it began.
fn origin(pid: u32) -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = fs::read_link("/proc/self/ns/pid").map(|path| path.display().to_string()).unwrap_or_default();
    format!("{} {namespace} {pid} {}", boot.trim(), began(pid).unwrap_or_default())
}

/// When a process of this machine began, in ticks since its start; `None` where there is none.
fn began(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold anything; the 20th field behind it is meant (proc_pid_stat(5)).
    stat.rsplit_once(')')?.1.split_whitespace().nth(19).map(str::to_owned)
}

/// Whether a process of this machine is certainly gone. Of other machines nothing is known.
fn is_gone(theirs: &str) -> bool {
    let pid = theirs.split(' ').nth(2).and_then(|pid| pid.parse().ok());
    let mine = origin(std::process::id());
    let place = |text: &str| text.splitn(3, ' ').take(2).map(str::to_owned).collect::<Vec<_>>();
    let is_here = place(theirs) == place(&mine) && !theirs.starts_with(' ');
    let Some(pid) = pid.filter(|_| is_here) else { return false };
    let is_there = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).map(rustix::process::test_kill_process);
    match is_there {
        Some(Err(rustix::io::Errno::SRCH)) => true,
        // Another process may have its number by now, if that can be seen.
        Some(_) => began(pid).is_some() && origin(pid) != theirs,
        None => false,
    }
}
