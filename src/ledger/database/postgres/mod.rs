//! PostgreSQL as a ledger's database, by tokio-postgres.
//!
//! The threads of this room wait for its answers as they wait for a disk. One thread of the process moves the bytes of all connections.

mod connect;
mod place;
mod translate;
mod turn;

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    fmt,
    time::Duration,
};

use bytes::BytesMut;
use futures::FutureExt as _;
use tokio_postgres::{
    Client, Error,
    error::SqlState,
    types::{FromSql, IsNull, ToSql, Type, to_sql_checked},
};

pub use self::place::DatabasePlace;
pub(in crate::ledger) use self::translate::tables;
use self::{
    connect::wait,
    translate::translated,
    turn::{Posted, in_order, in_turn, parameters},
};
use super::{Kind, Value};
use crate::ledger::error::{Fault, LedgerError, LedgerErrorKind};

/// How long a statement is waited for: a little longer than the database lets it run.
const ANSWER_TIMEOUT: Duration = connect::STATEMENT_TIMEOUT.saturating_add(Duration::from_secs(10));

/// The same of a question that goes through everything.
const LONG: Duration = Duration::from_secs(24 * 3600);
/// Executions of a statement that are on their way at a time.
const EACH_MAX: usize = 256;

/// A connection, with its compiled statements.
pub(in crate::ledger) struct Session {
    /// What errors call the database.
    pub(super) name: String,
    client: Client,
    statements: RefCell<HashMap<Box<str>, tokio_postgres::Statement>>,
    /// Whether nothing more is asked here: an answer did not come, or the database takes no writes any more.
    is_given_up: Cell<bool>,
    /// How long an answer is waited for.
    patience: Cell<Duration>,
    /// How the transaction begins.
    opening: RefCell<Opening>,
    /// What is sent with the next statement that is waited for.
    posted: RefCell<Vec<Posted>>,
}

/// How a transaction begins: with a statement that must change one row.
#[derive(Default)]
enum Opening {
    /// There is none, or it did.
    #[default]
    Done,
    /// It was not sent yet.
    Due(String),
    /// It changed none.
    Refused,
}

/// How a transaction ended that was to be committed.
pub(in crate::ledger) enum Ended {
    Applied,
    /// Nothing of it happened.
    RolledBack(Fault),
    /// That cannot be told: the line was lost.
    Undecided(Fault),
}

/// Set while a transaction is open that began as it should. Whatever is sent with the beginning asks for it.
pub(in crate::ledger) const IS_OPEN: &str = "current_setting('mailfleet.is_open', true) = 'yes'";

impl Session {
    /// Opens a connection; `writes` says whether it is one that finds rows by their keys alone.
    pub(in crate::ledger) fn open(place: &DatabasePlace, writes: bool) -> Result<Self, LedgerError> {
        let name = place.to_string();
        let late = |late| LedgerError::new(LedgerErrorKind::Unreachable, format!("the ledger at {place}: {late}"));
        let client = wait(ANSWER_TIMEOUT, connect::open(place, writes)).map_err(late)??;
        Ok(Self {
            name,
            client,
            statements: RefCell::default(),
            is_given_up: Cell::new(false),
            patience: Cell::new(ANSWER_TIMEOUT),
            opening: RefCell::default(),
            posted: RefCell::default(),
        })
    }

    /// Whether the line is lost: nothing more can be asked.
    pub(in crate::ledger) fn is_lost(&self) -> bool {
        self.is_given_up.get() || self.client.is_closed()
    }

    /// A line that is lost is noticed all the same.
    pub(super) fn allow_long_questions(&self) -> Result<(), Fault> {
        self.execute_batch("SET statement_timeout = 0")?;
        self.patience.set(LONG);
        Ok(())
    }

    pub(super) fn give_up(&self) {
        self.is_given_up.set(true);
    }

    /// Begins a transaction, by a statement that must change one row; it is sent with what comes next.
    pub(in crate::ledger) fn begin(&self, opening: &str) {
        self.posted.borrow_mut().clear();
        *self.opening.borrow_mut() = Opening::Due(format!("BEGIN; SET LOCAL mailfleet.is_open = 'yes'; {opening}"));
    }

    /// Whether the transaction that was begun last changed no row at its beginning.
    pub(in crate::ledger) fn is_refused(&self) -> bool {
        matches!(*self.opening.borrow(), Opening::Refused)
    }

    /// Ends a transaction, together with what was posted in it.
    pub(in crate::ledger) fn commit(&self) -> Ended {
        if let Err(fault) = self.open_now() {
            return Ended::RolledBack(fault);
        }
        let posted = self.posted.take();
        let (before, committed) = match self.waited(in_turn(self.sent(&posted), self.client.batch_execute("COMMIT"))) {
            Ok(answers) => answers,
            Err(fault) => return Ended::Undecided(fault),
        };
        match (before, committed) {
            (Ok(_), Some(Ok(()))) => Ended::Applied,
            // It was never sent, or the database refused one of the statements before it: then it can only have rolled back.
            (Err(error), None) => Ended::RolledBack(self.noted(error)),
            (Err(error), _) if is_refusal(&error) => Ended::RolledBack(self.noted(error)),
            // Whatever is said: a database that goes down may have applied it all the same.
            (Err(error), _) | (_, Some(Err(error))) => Ended::Undecided(self.noted(error)),
            (Ok(_), None) => Ended::Undecided(Fault::conflict("a transaction ended without an answer")),
        }
    }

    /// Ends a transaction of which nothing is to stay. A line that is lost rolls back by itself, and would have to be waited for.
    pub(in crate::ledger) fn roll_back(&self) {
        self.posted.borrow_mut().clear();
        let was_sent = !matches!(self.opening.replace(Opening::Done), Opening::Due(_));
        if was_sent && !self.is_lost() {
            let _ = self.answered(self.client.batch_execute("ROLLBACK"));
        }
    }

    pub(super) fn execute_batch(&self, sql: &str) -> Result<(), Fault> {
        self.open_now()?;
        self.together(self.client.batch_execute(sql))
    }

    pub(super) fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<u64, Fault> {
        self.open_now()?;
        let statement = self.statement(sql, values)?;
        self.together(self.client.execute(&statement, &parameters(values)))
    }

    pub(super) fn query(&self, sql: &str, values: &[Value<'_>]) -> Result<Vec<tokio_postgres::Row>, Fault> {
        self.open_now()?;
        let statement = self.statement(sql, values)?;
        self.together(self.client.query(&statement, &parameters(values)))
    }

    /// A query that changes nothing unless [`IS_OPEN`] holds: it is sent together with the beginning of the transaction.
    pub(in crate::ledger) fn query_open(&self, sql: &str, values: &[Value<'_>]) -> Result<Vec<tokio_postgres::Row>, Fault> {
        let statement = self.statement(sql, values)?;
        self.open_with(self.client.query(&statement, &parameters(values)))
    }

    /// A query once for each list of values, some hundred at a time.
    pub(super) fn query_each(&self, sql: &str, each: &[Vec<Value<'_>>]) -> Result<Vec<Vec<tokio_postgres::Row>>, Fault> {
        self.open_now()?;
        let mut found = Vec::with_capacity(each.len());
        for some in each.chunks(EACH_MAX) {
            let Some(first) = some.first() else { continue };
            let statement = self.statement(sql, first)?;
            let values: Vec<_> = some.iter().map(|values| parameters(values)).collect();
            let sent = values.iter().map(|values| self.client.query(&statement, values).boxed()).collect();
            let answers = self.together(async { in_order(sent).await.into_iter().collect::<Result<Vec<_>, _>>() })?;
            found.extend(answers);
        }
        Ok(found)
    }

    /// Has a statement sent with the next one that is waited for, or once many wait.
    pub(in crate::ledger) fn post(&self, sql: &str, values: &[Value<'_>]) -> Result<(), Fault> {
        let statement = self.statement(sql, values)?;
        let waiting = {
            let mut posted = self.posted.borrow_mut();
            posted.push(Posted::new(statement, values));
            posted.len()
        };
        if waiting < EACH_MAX {
            return Ok(());
        }
        self.open_now()?;
        self.together(std::future::ready(Ok(())))
    }

    /// Sends the beginning of the transaction, unless that was done.
    fn open_now(&self) -> Result<(), Fault> {
        if matches!(*self.opening.borrow(), Opening::Due(_)) { self.open_with(std::future::ready(Ok(()))) } else { Ok(()) }
    }

    /// Sends the beginning of the transaction, if that is due, and `next` behind it.
    fn open_with<T>(&self, next: impl Future<Output = Result<T, Error>>) -> Result<T, Fault> {
        let Opening::Due(opening) = self.opening.take() else { return self.together(next) };
        let (changed, answer) = self.waited(in_turn(vec![Box::pin(turn::changed(&self.client, &opening))], next))?;
        if changed.map_err(|error| self.noted(error))? != 1 {
            *self.opening.borrow_mut() = Opening::Refused;
            return Err(Fault::conflict("a transaction began after its process had ended"));
        }
        self.answer(answer)
    }

    /// Sends what was posted, and `next` behind it.
    fn together<T>(&self, next: impl Future<Output = Result<T, Error>>) -> Result<T, Fault> {
        let posted = self.posted.take();
        let (before, answer) = self.waited(in_turn(self.sent(&posted), next))?;
        before.map_err(|error| self.noted(error))?;
        self.answer(answer)
    }

    /// The answer to what was sent behind statements that were answered well.
    fn answer<T>(&self, answer: Option<Result<T, Error>>) -> Result<T, Fault> {
        let answer = answer.ok_or_else(|| Fault::conflict("a statement was not sent"))?;
        answer.map_err(|error| self.noted(error))
    }

    fn sent<'p>(&'p self, posted: &'p [Posted]) -> Vec<turn::Before<'p>> {
        posted.iter().map(|posted| posted.send(&self.client)).collect()
    }

    /// A statement, compiled once. Its parameters have the types of the first values that it is given: they never change.
    fn statement(&self, sql: &str, values: &[Value<'_>]) -> Result<tokio_postgres::Statement, Fault> {
        if let Some(known) = self.statements.borrow().get(sql) {
            return Ok(known.clone());
        }
        let types: Vec<Type> = values.iter().map(Value::type_of).collect();
        let statement = self.answered(self.client.prepare_typed(&translated(sql), &types))?;
        self.statements.borrow_mut().insert(sql.into(), statement.clone());
        Ok(statement)
    }

    fn answered<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Fault> {
        self.waited(answer)?.map_err(|error| self.noted(error))
    }

    /// Waits for an answer; where none comes in time, nothing more is asked.
    fn waited<T>(&self, answer: impl Future<Output = T>) -> Result<T, Fault> {
        wait(self.patience.get(), answer).map_err(|late| {
            self.give_up();
            LedgerError::new(LedgerErrorKind::Unreachable, format!("the ledger at {}: {late}", self.name)).into()
        })
    }

    /// Takes note of what an error says about the connection.
    fn noted(&self, error: Error) -> Fault {
        // A primary that became a standby keeps its connections.
        if error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION) {
            self.give_up();
        }
        error.into()
    }
}

#[cfg(test)]
impl Session {
    /// What several statements return, as texts.
    pub(in crate::ledger) fn ask(&self, sql: &str) -> Vec<String> {
        use tokio_postgres::SimpleQueryMessage::Row;
        let answers = wait(ANSWER_TIMEOUT, self.client.simple_query(sql)).expect("in time").expect(sql);
        let of_row =
            |row: &tokio_postgres::SimpleQueryRow| (0..row.len()).map(|at| row.get(at).unwrap_or("-")).collect::<Vec<_>>().join(" ");
        answers.iter().filter_map(|answer| if let Row(row) = answer { Some(of_row(row)) } else { None }).collect()
    }
}

/// Whether the database refused a statement, and goes on: what ends a connection may be about whatever was sent last.
fn is_refusal(error: &Error) -> bool {
    error.as_db_error().is_some_and(|database| database.severity() == "ERROR")
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Value<'_> {
    fn type_of(&self) -> Type {
        match self {
            Self::Integer(_) | Self::Null(Kind::Integer) => Type::INT8,
            Self::Text(_) | Self::Null(Kind::Text) => Type::TEXT,
            Self::Integers(_) => Type::INT8_ARRAY,
            Self::Texts(_) => Type::TEXT_ARRAY,
        }
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Integer(number) => out.extend_from_slice(&number.to_be_bytes()),
            // A text of PostgreSQL cannot hold a zero byte.
            Self::Text(text) if text.contains('\0') => out.extend_from_slice(text.replace('\0', "\u{fffd}").as_bytes()),
            Self::Text(text) => out.extend_from_slice(text.as_bytes()),
            Self::Null(_) => return Ok(IsNull::Yes),
            Self::Integers(numbers) => return numbers.to_sql(&Type::INT8_ARRAY, out),
            Self::Texts(texts) if texts.iter().flatten().any(|text| text.contains('\0')) => {
                let readable: Vec<Option<String>> = texts.iter().map(|text| text.map(|text| text.replace('\0', "\u{fffd}"))).collect();
                return readable.to_sql(&Type::TEXT_ARRAY, out);
            }
            Self::Texts(texts) => return texts.to_sql(&Type::TEXT_ARRAY, out),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// A truth, as a query's own or as a column's number.
pub(super) struct Truth(bool);

impl Truth {
    pub(super) const fn holds(self) -> bool {
        self.0
    }
}

impl<'a> FromSql<'a> for Truth {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw.iter().any(|byte| *byte != 0)))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::BOOL || Integer::accepts(ty)
    }
}

/// A whole number of any width.
pub(super) struct Integer(i64);

impl Integer {
    pub(super) const fn number(self) -> i64 {
        self.0
    }

    /// As a number that is never large; what is larger than all of them is the largest.
    pub(super) fn small(self) -> u32 {
        u32::try_from(self.0).unwrap_or(if self.0 < 0 { 0 } else { u32::MAX })
    }
}

impl<'a> FromSql<'a> for Integer {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        let number = match raw.len() {
            8 => i64::from_be_bytes(raw.try_into()?),
            4 => i64::from(i32::from_be_bytes(raw.try_into()?)),
            2 => i64::from(i16::from_be_bytes(raw.try_into()?)),
            length => return Err(format!("a number of {length} bytes").into()),
        };
        Ok(Self(number))
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::INT8 | Type::INT4 | Type::INT2)
    }
}
