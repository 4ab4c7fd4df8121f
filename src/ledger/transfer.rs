//! A ledger moves to another place, while nothing sends: every row of it, and what it is.
//!
//! First the new one is marked, then the old one, and only the rows take the mark off the new one: there is no moment in which both could
//! be sent from, nor one in which the new one could be that does not hold everything. A move that was interrupted is repeated.

use super::{
    LedgerOptions, LedgerPlace,
    book::Book,
    database::{Connection, Kind, Value},
    error::{Fault, LedgerError, LedgerErrorKind},
    meta::{self, ARRIVING, MOVED_AT, MOVED_TO},
    schema,
    tables::{self, Table},
};

/// Rows that are read and written at a time.
const PAGE: i64 = 2000;
/// What of `meta` describes the ledger and not its place, beside the epoch.
const KEPT: [&str; 2] = ["seed", "keys"];

/// What was moved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// The rows of each table that had any.
    pub tables: Vec<(&'static str, u64)>,
    /// Everything was there already: an earlier move was complete.
    pub is_repeated: bool,
}

impl Moved {
    /// By an earlier move.
    fn before() -> Self {
        Self { is_repeated: true, ..Self::default() }
    }

    /// All rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|(_, rows)| rows).sum()
    }
}

/// Moves everything that a ledger knows to another place, and marks the old one, from which nothing is sent any more. `told` hears of a
/// table's name and of how many of its rows are copied.
///
/// # Errors
/// When one of the two is in use, cannot be read or written, or the other place has a ledger that knows something already. Then the old
/// one is as it was, or both are marked and nothing is sent from either until the move is repeated.
pub fn move_ledger(from: &LedgerPlace, to: &LedgerPlace, mut told: impl FnMut(&str, u64)) -> Result<Moved, LedgerError> {
    if same(from, to) {
        return Err(conflict(format!("the ledger is at {from} already")));
    }
    // Where there is no ledger, none is made.
    drop(schema::open_at_even_if_moved(from)?);
    let mut old = Book::open_even_if_moved(from, LedgerOptions::default())?;
    match old.read(|connection| Ok((meta::text(connection, MOVED_TO)?, meta::text(connection, MOVED_AT)?)))? {
        (Some(place), _) if place != name_for_ever(to) => {
            // The other move may have been completed there, and be in use.
            Err(conflict(format!("the ledger at {from} was to be moved to {place}: repeat that, and move it on from there")))
        }
        (_, Some(_)) => arrived(to).and_then(|is_there| {
            let gone = || conflict(format!("the ledger at {from} was moved to {to}, which knows nobody now: bring its database back"));
            if is_there { Ok(Moved::before()) } else { Err(gone()) }
        }),
        (moved_to, None) => {
            let mut new = Book::open_even_if_moved(to, LedgerOptions::default())?;
            fill((&mut old, from, moved_to.is_some()), (&mut new, to), &mut told)
        }
    }
}

fn conflict(message: String) -> LedgerError {
    LedgerError::new(LedgerErrorKind::Conflict, message)
}

/// Whether a ledger that was moved to a place is there.
fn arrived(to: &LedgerPlace) -> Result<bool, LedgerError> {
    match schema::open_at(to) {
        Ok(connection) => knows_anything(&connection).map_err(|fault| fault.at(to)),
        Err(error) if error.kind == LedgerErrorKind::Missing => Ok(false),
        Err(error) => Err(error),
    }
}

/// Fills the new ledger with what the old one knows, both of which are marked meanwhile; the old one may be from an earlier try.
fn fill(
    (old, from, is_marked): (&mut Book, &LedgerPlace, bool),
    (new, to): (&mut Book, &LedgerPlace),
    told: &mut impl FnMut(&str, u64),
) -> Result<Moved, LedgerError> {
    if new.read(|connection| meta::text(connection, ARRIVING))?.is_none() {
        let seed = old.read(|connection| meta::number(connection, "seed"))?;
        let (runs, others) = new.read(|connection| Ok((knows_runs(connection)?, knows_anything(connection)?)))?;
        if is_marked && others && new.read(|connection| meta::number(connection, "seed"))? == seed {
            // It was complete, and ended before that was noted.
            old.transaction(note_moved)?;
            return Ok(Moved::before());
        }
        if runs {
            return Err(conflict(format!(
                "the ledger at {to} knows of runs already, and two ledgers cannot be made one; name an empty schema or folder"
            )));
        }
        if others {
            return Err(conflict(format!(
                "the ledger at {to} has a list of people who are not mailed: export it with `mailfleet suppressions export`, name an empty schema or folder, and import it there once the ledger has moved"
            )));
        }
        // Whoever opens the new one before it is complete would send from a ledger that knows nobody.
        new.transaction(|connection| meta::set_text(connection, ARRIVING, &name_for_ever(from)))?;
    }
    // The mark is durable before the rows are.
    old.transaction(|connection| meta::set_text(connection, MOVED_TO, &name_for_ever(to)))?;
    let copied = new.transaction(|target| old.read(|source| copy(source, target, told)).map_err(Fault::Ledger));
    let copied = match copied {
        Err(error) if error.kind == LedgerErrorKind::Undecided => match new.undecided().map(|ended| new.was_applied(ended)) {
            Some(Ok(true)) => Ok(Moved::before()),
            Some(Ok(false)) => Err(error),
            // Both stay marked.
            Some(Err(_)) | None => return Err(LedgerError { message: format!("{}; repeat the move", error.message), ..error }),
        },
        copied => copied,
    };
    if copied.is_ok() {
        old.transaction(note_moved)?;
    } else {
        // Nothing is there: both are what they were. What cannot be told them now is settled by the next try.
        let _ = new.transaction(|connection| meta::remove(connection, ARRIVING));
        let _ = old.transaction(|connection| meta::remove(connection, MOVED_TO));
    }
    copied
}

/// Notes in the old ledger that everything has arrived.
fn note_moved(connection: &Connection) -> Result<(), Fault> {
    meta::set_text(connection, MOVED_AT, &jiff::Timestamp::now().to_string())
}

/// What the old ledger calls the new place, wherever a command is run later: the URL without its password, or the whole path of the
/// folder.
fn name_for_ever(place: &LedgerPlace) -> String {
    if place.database().is_some() {
        return place.to_string();
    }
    let folder = place.state_dir();
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()).display().to_string()
}

/// Whether two places are one.
fn same(from: &LedgerPlace, to: &LedgerPlace) -> bool {
    match (from.database(), to.database()) {
        (None, None) => {
            let real = |place: &LedgerPlace| std::fs::canonicalize(place.state_dir()).unwrap_or_else(|_| place.state_dir().to_owned());
            real(from) == real(to)
        }
        (Some(from), Some(to)) => from.to_string() == to.to_string(),
        _ => false,
    }
}

/// Whether a ledger knows of anybody: who was mailed, or who is not to be.
fn knows_anything(connection: &Connection) -> Result<bool, Fault> {
    connection.value("SELECT EXISTS (SELECT 1 FROM runs) OR EXISTS (SELECT 1 FROM suppressions)", ())
}

fn knows_runs(connection: &Connection) -> Result<bool, Fault> {
    connection.value("SELECT EXISTS (SELECT 1 FROM runs)", ())
}

/// Refuses a new ledger in a database while one of the state folder knows of people: they would be mailed again.
pub(super) fn check_nothing_is_left_behind(location: &LedgerPlace, book: &mut Book) -> Result<(), LedgerError> {
    if !schema::has_ledger(location.state_dir()) || book.read(knows_runs)? {
        return Ok(());
    }
    let beside = LedgerPlace::from(location.state_dir());
    let left = schema::open_at_even_if_moved(&beside)?;
    let known = knows_anything(&left).and_then(|knows| Ok((knows, meta::text(&left, MOVED_TO)?)));
    let dir = location.state_dir().display();
    match known.map_err(|fault| fault.at(&beside))? {
        (false, _) => Ok(()),
        (true, Some(place)) => Err(conflict(format!(
            "the ledger at {location} is new, and that of {dir} was moved to {place}: name that, or another folder with --state"
        ))),
        (true, None) => Err(conflict(format!(
            "the ledger at {location} is new, and {beside} knows who was mailed: move that with `mailfleet ledger move --from {dir} --to URL`, or name another folder with --state"
        ))),
    }
}

/// Copies all rows, and compares how many there are then.
fn copy(source: &Connection, target: &Connection, told: &mut impl FnMut(&str, u64)) -> Result<Moved, Fault> {
    source.allow_long_questions()?;
    target.allow_long_questions()?;
    let mut moved = Moved::default();
    // A new ledger has nothing but what its opening wrote, none of which counts.
    let tables = tables::all();
    for table in &tables {
        target.execute(&format!("DELETE FROM {}", table.name), ())?;
    }
    for key in KEPT {
        if let Some(text) = meta::text(source, key)? {
            meta::set_text(target, key, &text)?;
        }
    }
    // Each process of either was of another epoch than the next one is.
    let epoch = meta::number(source, "epoch")?.max(meta::number(target, "epoch")?);
    meta::set(target, "epoch", epoch)?;
    meta::remove(target, ARRIVING)?;
    for table in &tables {
        let rows = copy_table(source, target, table, told)?;
        let count = |connection: &Connection| connection.value::<i64>(&format!("SELECT count(*) FROM {}", table.name), ());
        let (left, arrived) = (count(source)?, count(target)?);
        if arrived != left {
            return Err(Fault::conflict(format_args!("{arrived} of {left} rows of {} have arrived", table.name)));
        }
        if rows > 0 {
            moved.tables.push((table.name, rows));
        }
        if table.columns.first().is_some_and(|(column, _)| *column == "id") {
            target.number_on(table.name)?;
        }
    }
    Ok(moved)
}

/// A row, column by column.
type Cells = Vec<Cell>;

enum Cell {
    Integer(Option<i64>),
    Text(Option<String>),
}

impl Cell {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Integer(Some(number)) => Value::Integer(*number),
            Self::Text(Some(text)) => Value::Text(text),
            Self::Integer(None) => Value::Null(Kind::Integer),
            Self::Text(None) => Value::Null(Kind::Text),
        }
    }
}

fn copy_table(source: &Connection, target: &Connection, table: &Table, told: &mut impl FnMut(&str, u64)) -> Result<u64, Fault> {
    let (columns, key) = (Table::list(&table.columns), Table::list(table.key()));
    let first = format!("SELECT {columns} FROM {} ORDER BY {key} LIMIT {PAGE}", table.name);
    let next = format!("SELECT {columns} FROM {} WHERE ({key}) > ({}) ORDER BY {key} LIMIT {PAGE}", table.name, parameters(table.key));
    let (mut page, mut rows) = (read(source, &first, &[], table)?, 0_u64);
    while let Some(last) = page.last() {
        rows += page.len() as u64;
        write(target, table, &page)?;
        told(table.name, rows);
        let after: Vec<Value<'_>> = last.iter().take(table.key).map(Cell::value).collect();
        page = read(source, &next, &after, table)?;
    }
    Ok(rows)
}

/// `?1, ?2, ?3`
fn parameters(count: usize) -> String {
    let numbers: Vec<String> = (1..=count).map(|number| format!("?{number}")).collect();
    numbers.join(", ")
}

fn read(connection: &Connection, sql: &str, after: &[Value<'_>], table: &Table) -> Result<Vec<Cells>, Fault> {
    connection.all(sql, after, |row| {
        let cell = |(index, (_, kind)): (usize, &(_, Kind))| match kind {
            Kind::Integer => Ok(Cell::Integer(row.get(index)?)),
            Kind::Text => Ok(Cell::Text(row.get(index)?)),
        };
        table.columns.iter().enumerate().map(cell).collect()
    })
}

fn write(connection: &Connection, table: &Table, rows: &[Cells]) -> Result<(), Fault> {
    let (columns, numbers) = (Table::list(&table.columns), parameters(table.columns.len()));
    if matches!(connection, Connection::Postgres(_)) {
        let integers: Vec<Vec<Option<i64>>> =
            each_column(table, rows, |cell| if let Cell::Integer(number) = cell { *number } else { None });
        let texts: Vec<Vec<Option<&str>>> =
            each_column(table, rows, |cell| if let Cell::Text(text) = cell { text.as_deref() } else { None });
        let of = |(at, (_, kind)): (usize, &(_, Kind))| match kind {
            Kind::Integer => Value::Integers(&integers[at]),
            Kind::Text => Value::Texts(&texts[at]),
        };
        let values: Vec<Value<'_>> = table.columns.iter().enumerate().map(of).collect();
        let insert = format!("INSERT INTO {} ({columns}) SELECT * FROM unnest({numbers})", table.name);
        return connection.execute(&insert, &*values).map(drop);
    }
    let mut insert = connection.prepare(&format!("INSERT INTO {} ({columns}) VALUES ({numbers})", table.name))?;
    for row in rows {
        let values: Vec<Value<'_>> = row.iter().map(Cell::value).collect();
        insert.execute(&*values)?;
    }
    Ok(())
}

fn each_column<'r, T>(table: &Table, rows: &'r [Cells], of: impl Fn(&'r Cell) -> T + Copy) -> Vec<Vec<T>> {
    (0..table.columns.len()).map(|at| rows.iter().filter_map(|row| row.get(at)).map(of).collect()).collect()
}
