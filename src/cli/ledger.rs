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
    ledger::{
        Checked, Ledger, LedgerErrorKind, LedgerOptions, LedgerPlace, LedgerReader, Moved, TableSize, check_ledger, move_ledger, sizes,
    },
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
    after_help = "Exit codes:\n  0  done; nothing is wrong\n  1  `check` found something\n  2  usage error, or the ledger cannot be used\n\nExamples:\n  mailfleet ledger check\n  mailfleet ledger stats -o json\n  mailfleet ledger move --from .mailfleet --to postgres://mailfleet@db.example.com/mail --to-password-file password"
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

/// Options of `move`. Nothing is taken from the environment: which of the two is which must be certain.
#[derive(Args, Debug)]
#[command(
    after_help = "A place is a state folder, or a URL: postgres://USER:PASSWORD@HOST/DATABASE. The new one must not know of any run. Everything moves: who was mailed, what came back, who is not mailed, and the random seed, so that each run goes on as it would have. Nothing is sent from either place until the move is complete; one that was interrupted is repeated with the same words. Files of the state folder that are no part of the ledger (keys, outboxes) stay where they are.\n\nExamples:\n  mailfleet ledger move --from .mailfleet --to postgres://mailfleet@db.example.com/mail --to-password-file password\n  mailfleet ledger move --from postgres://mailfleet@db.example.com/mail --from-password-file password --to other"
)]
pub struct MoveArgs {
    /// Where it is.
    #[arg(long, value_name = "URL|DIR", value_parser = super::ledger_args::secret)]
    pub from: SecretValue,
    /// The password of --from, in a file.
    #[arg(long, value_name = "FILE")]
    pub from_password_file: Option<PathBuf>,
    /// Where to.
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
    text::printed(tables::checked().print(args.output, &mut io::stdout().lock(), all), "the table")?;
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
    text::printed(tables::sizes().print(args.output, &mut io::stdout().lock(), sizes.tables), "the table")?;
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
    // Where there is no ledger, none is made.
    match LedgerReader::open(location.clone()) {
        Err(error) if error.kind != LedgerErrorKind::OlderVersion => return Err(error.to_string()),
        _ => {}
    }
    drop(Ledger::open(location.clone(), LedgerOptions::default()).map_err(|error| error.to_string())?);
    let sizes = sizes(&location).map_err(|error| error.to_string())?;
    text::say(&format!("{location} has schema {}, which is that of this version", sizes.schema));
    Ok(ExitCode::SUCCESS)
}

fn move_to(args: MoveArgs) -> Result<ExitCode, String> {
    let from = place("--from", args.from, args.from_password_file)?;
    let to = place("--to", args.to, args.to_password_file)?;
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
    let moved = move_ledger(&from, &to, told);
    // It may not be there.
    let _ = std::fs::remove_dir(scratch());
    let moved: Moved = moved.map_err(|error| error.to_string())?;
    if moved.is_repeated {
        text::say(&format!("the ledger was moved to {to} already"));
        return Ok(ExitCode::SUCCESS);
    }
    let tables: Vec<String> = moved.tables.iter().map(|(table, rows)| format!("{} of {table}", grouped(*rows))).collect();
    let what = if tables.is_empty() { "nothing, since it was empty".to_owned() } else { listed(tables.iter().map(String::as_str)) };
    text::say(&format!("moved {from} to {to} in {:.1} s: {what}", begun.elapsed().as_secs_f64()));
    let from_now_on = if to.database().is_some() { "Give --ledger to every command from now on" } else { KEYS_TOO };
    text::say(&format!("Nothing is sent from the old place any more. {from_now_on}; keep the old one until the new one is backed up."));
    Ok(ExitCode::SUCCESS)
}

/// The state folder of a database that is one of the two: a move keeps nothing there.
fn scratch() -> PathBuf {
    std::env::temp_dir().join(format!("mailfleet-move-{}", std::process::id()))
}

/// One of the two places of a move.
fn place(option: &str, words: SecretValue, password_file: Option<PathBuf>) -> Result<LedgerPlace, String> {
    let text = words.expose_text().unwrap_or_default();
    if text.contains("://") {
        let there = LedgerArgs { ledger: Some(words), ledger_password_file: password_file };
        return there.location_of(option, &scratch());
    }
    // A password would be printed as a part of the folder's name.
    if text.is_empty() || text.starts_with("postgres") || text.contains('@') {
        return Err(format!("{option} is neither a folder nor a URL: write DIR, or postgres://USER:PASSWORD@HOST/DATABASE"));
    }
    if password_file.is_some() {
        return Err(format!("{option}-password-file is for a URL, and {option} names a folder"));
    }
    Ok(PathBuf::from(text).into())
}
