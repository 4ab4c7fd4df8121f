//! `mailfleet ledger`: the ledger as a whole.

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
    process::ExitCode,
    time::Instant,
};

use clap::{Args, Subcommand};

use super::{
    exit::EXIT_CONFIGURATION,
    ledger_args::{LedgerArgs, StateArgs},
    present::{OutputFormat, tables},
    text,
};
use crate::{
    ledger::{Checked, Ledger, LedgerOptions, LedgerPlace, Moved, TableSize, check_ledger, move_ledger, sizes},
    meta::{
        bound::{counted, grouped, listed},
        secret::SecretValue,
    },
};

/// How many more rows of a table are copied before the next line says so.
const ROWS_BETWEEN_LINES: u64 = 500_000;

/// What follows a move to a folder: `keys` sign the links in mails that were sent, and know who was forgotten.
const KEYS_TOO: &str = "Copy the file `keys` of the old state folder into the new one, and give --state to every command from now on";

/// Checks the ledger, tells how large it is, brings its tables up to date, and moves it to another folder or database.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes:\n  0  done; nothing is wrong\n  1  `check` found something\n  2  usage error, or the ledger cannot be used\n\nExamples:\n  mailfleet ledger check\n  mailfleet ledger stats -o json\n  mailfleet ledger move --state state --to postgres://mailfleet@db.example.com/mail --to-password-file password"
)]
pub struct LedgerCommandArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: LedgerCommand,
}

/// What `mailfleet ledger` does.
#[derive(Subcommand, Debug)]
pub enum LedgerCommand {
    /// Compare what the ledger has written twice, and what refers to each other. A process may be sending meanwhile.
    Check(TableArgs),
    /// Show how many rows each table has, and how much room it takes.
    Stats(TableArgs),
    /// Bring the tables of an older version up to date, while nothing sends; `mailfleet run` does it too.
    Migrate(StateArgs),
    /// Move the ledger to another state folder or database, while nothing sends. The old one is not sent from any more.
    Move(MoveArgs),
}

/// Options of `check` and `stats`.
#[derive(Args, Debug)]
pub struct TableArgs {
    #[command(flatten)]
    pub state: StateArgs,
    /// The output format.
    #[arg(long, short, value_enum, default_value_t = OutputFormat::Table)]
    pub output: OutputFormat,
}

/// Options of `move`.
#[derive(Args, Debug)]
#[command(
    after_help = "The other place must not know of any run. Everything moves: who was mailed, what came back, who is not mailed, and the random seed, so that each run goes on as it would have. A move that was interrupted is repeated with the same words. Files of the state folder that are no part of the ledger (keys, outboxes) stay where they are.\n\nExamples:\n  mailfleet ledger move --state state --to postgres://mailfleet@db.example.com/mail --to-password-file password\n  mailfleet ledger move --ledger postgres://mailfleet@db.example.com/mail --ledger-password-file password --to other-state"
)]
pub struct MoveArgs {
    #[command(flatten)]
    pub state: StateArgs,
    /// Where to: postgres://USER:PASSWORD@HOST/DATABASE, or a state folder.
    #[arg(long, value_name = "URL|DIR", value_parser = super::ledger_args::secret)]
    pub to: SecretValue,
    /// The password of --to, in a file.
    #[arg(long, value_name = "FILE")]
    pub to_password_file: Option<PathBuf>,
}

pub fn ledger(args: LedgerCommandArgs) -> ExitCode {
    let done = match args.command {
        LedgerCommand::Check(args) => check(&args),
        LedgerCommand::Stats(args) => stats(&args),
        LedgerCommand::Migrate(args) => migrate(&args),
        LedgerCommand::Move(args) => move_to(args),
    };
    done.unwrap_or_else(|message| {
        text::report(&message);
        ExitCode::from(EXIT_CONFIGURATION)
    })
}

fn check(args: &TableArgs) -> Result<ExitCode, String> {
    let location = args.state.location()?;
    let (mut all, shows) = (Vec::new(), io::stderr().is_terminal());
    let told = |checked: Checked| {
        if shows {
            text::report(&format!("checked {}", checked.what));
        }
        all.push(checked);
    };
    check_ledger(&location, told).map_err(|error| error.to_string())?;
    let wrong = all.iter().filter(|checked| checked.wrong > 0).count();
    printed(tables::checked().print(args.output, &mut io::stdout().lock(), all))?;
    if wrong == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    text::report(&format!("{location}: {} not agree", counted(wrong as u64, "comparison does", "comparisons do")));
    Ok(ExitCode::FAILURE)
}

fn stats(args: &TableArgs) -> Result<ExitCode, String> {
    let location = args.state.location()?;
    let sizes = sizes(&location).map_err(|error| error.to_string())?;
    let sum = sizes.tables.iter().fold((0, 0), |(rows, bytes), TableSize { rows: more, bytes: by, .. }| (rows + more, bytes + by));
    printed(tables::sizes().print(args.output, &mut io::stdout().lock(), sizes.tables))?;
    if args.output == OutputFormat::Table {
        let (rows, bytes) = sum;
        text::say(&format!(
            "\n{location}: {}, {}; schema {}; opened to send {}",
            counted(rows, "row", "rows"),
            tables::room(bytes),
            sizes.schema,
            counted(sizes.epoch.max(0).cast_unsigned(), "time", "times")
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn migrate(args: &StateArgs) -> Result<ExitCode, String> {
    let location = args.location()?;
    if !location.is_there() {
        return Err(format!("there is no ledger at {location}: nothing to bring up to date"));
    }
    drop(Ledger::open(location.clone(), LedgerOptions::default()).map_err(|error| error.to_string())?);
    let sizes = sizes(&location).map_err(|error| error.to_string())?;
    text::say(&format!("{location} has schema {}, which is that of this version", sizes.schema));
    Ok(ExitCode::SUCCESS)
}

fn move_to(args: MoveArgs) -> Result<ExitCode, String> {
    let from = args.state.location()?;
    let to = destination(args.to, args.to_password_file, &args.state)?;
    let begun = Instant::now();
    let mut told_of = (String::new(), 0);
    let told = |table: &str, rows: u64| {
        if told_of.0 != table {
            told_of = (table.to_owned(), 0);
        }
        if rows >= told_of.1 + ROWS_BETWEEN_LINES {
            told_of.1 = rows;
            text::report(&format!("{} of {table} copied", counted(rows, "row", "rows")));
        }
    };
    let moved: Moved = move_ledger(&from, &to, told).map_err(|error| error.to_string())?;
    let tables: Vec<String> = moved.tables.iter().map(|(table, rows)| format!("{} of {table}", grouped(*rows))).collect();
    let what = if tables.is_empty() { "nothing, since it was empty".to_owned() } else { listed(tables.iter().map(String::as_str)) };
    text::say(&format!("moved {from} to {to} in {:.1} s: {what}", begun.elapsed().as_secs_f64()));
    let from_now_on = if to.database().is_some() { "Give --ledger to every command from now on" } else { KEYS_TOO };
    text::say(&format!("Nothing is sent from the old place any more. {from_now_on}; keep the old one until the new one is backed up."));
    Ok(ExitCode::SUCCESS)
}

/// Where a ledger is moved to.
fn destination(to: SecretValue, password_file: Option<PathBuf>, state: &StateArgs) -> Result<LedgerPlace, String> {
    let words = to.expose_text().unwrap_or_default();
    if words.contains("://") {
        let there = LedgerArgs { ledger: Some(to), ledger_password_file: password_file };
        return there.location_of("--to", &state.state);
    }
    if words.is_empty() {
        return Err("--to names no place: write a URL, or a folder".to_owned());
    }
    Ok(PathBuf::from(words).into())
}

/// Whoever reads the output may have enough of it.
fn printed(result: io::Result<()>) -> Result<(), String> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(format!("the table cannot be printed: {error}")),
        _ => Ok(()),
    }
}
