//! `mailfleet suppressions`: who is not mailed.

use std::{
    io::{self, Read as _, Write},
    ops::ControlFlow,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use clap::{Args, Subcommand};

use super::{
    control,
    exit::EXIT_CONFIGURATION,
    ledger_args::StateArgs,
    present::{OutputFormat, tables},
    text,
};
use crate::{
    audience::{Address, Input, Location, NamedFile, Reader, Row, canonical},
    feedback::{Person, Suppression, SuppressionReason},
    ledger::LedgerReader,
    meta::bound::counted,
    resources::DEFAULT_NAMESPACE,
    serve::control::{Answer, Asked},
};

/// Entries that are sent to the process that sends at a time.
const ENTRIES_AT_A_TIME: usize = 1_000;
/// The most bytes that are read from standard input.
const INPUT_MAX: u64 = 256 << 20;
/// Bad rows that are named.
const BAD_ROWS_NAMED: usize = 10;
/// The columns of an exported file.
const COLUMNS: [&str; 7] = ["namespace", "email", "topic", "reason", "time", "source", "detail"];

/// Shows, adds, removes, imports or exports who is not mailed. Mailfleet adds hard bounces, complaints and unsubscriptions itself.
#[derive(Args, Debug)]
#[command(
    after_help = "A person on the list is not mailed by any campaign of the namespace, or of those with the topic; the recipient's state in the ledger is then Suppressed. While a process sends from the state folder, it makes the change; otherwise the ledger is opened.\n\nExit codes:\n  0  done\n  1  some rows of a file could not be used, or nothing was found to remove\n  2  usage error, or the ledger cannot be used\n\nExamples:\n  mailfleet suppressions list --reason Complaint\n  mailfleet suppressions add ann@example.com -n shop\n  mailfleet suppressions remove ann@example.com --reason HardBounce\n  mailfleet suppressions import do-not-mail.csv -n shop\n  mailfleet suppressions export > suppressions.csv"
)]
pub struct SuppressionsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: SuppressionsCommand,
}

/// What `mailfleet suppressions` does.
#[derive(Subcommand, Debug)]
pub enum SuppressionsCommand {
    /// Show who is not mailed.
    List(ListArgs),
    /// Add people.
    Add(AddArgs),
    /// Remove people: they are mailed again by the next run.
    Remove(RemoveArgs),
    /// Add the people of a CSV file with a column `email`; the columns `namespace`, `topic`, `reason`, `time`, `source` and `detail` are used if present.
    Import(ImportArgs),
    /// Print the list as CSV, as `import` reads it.
    Export(ExportArgs),
}

/// Options of `list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Only this namespace. Default: all.
    #[arg(long, short)]
    pub namespace: Option<String>,
    /// Only this reason.
    #[arg(long)]
    pub reason: Option<SuppressionReason>,
    /// The output format.
    #[arg(long, short, value_enum, default_value_t = OutputFormat::Table)]
    pub output: OutputFormat,
    #[command(flatten)]
    pub state: StateArgs,
}

/// Options of `add`.
#[derive(Args, Debug)]
pub struct AddArgs {
    /// Their addresses.
    #[arg(required = true, value_name = "ADDRESS")]
    pub addresses: Vec<String>,
    /// The namespace of the campaigns.
    #[arg(long, short, default_value = DEFAULT_NAMESPACE)]
    pub namespace: String,
    /// Only campaigns with this topic. Default: all.
    #[arg(long)]
    pub topic: Option<String>,
    /// Why.
    #[arg(long, default_value_t = SuppressionReason::Listed)]
    pub reason: SuppressionReason,
    #[command(flatten)]
    pub state: StateArgs,
}

/// Options of `remove`.
#[derive(Args, Debug)]
pub struct RemoveArgs {
    /// Their addresses.
    #[arg(required = true, value_name = "ADDRESS")]
    pub addresses: Vec<String>,
    /// The namespace of the campaigns.
    #[arg(long, short, default_value = DEFAULT_NAMESPACE)]
    pub namespace: String,
    /// Only this topic. Default: any topic.
    #[arg(long)]
    pub topic: Option<String>,
    /// Only this reason. Default: any reason.
    #[arg(long)]
    pub reason: Option<SuppressionReason>,
    #[command(flatten)]
    pub state: StateArgs,
}

/// Options of `import`.
#[derive(Args, Debug)]
pub struct ImportArgs {
    /// The file; `-` is standard input.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The namespace of rows without one.
    #[arg(long, short, default_value = DEFAULT_NAMESPACE)]
    pub namespace: String,
    /// The topic of rows without one. Default: all topics.
    #[arg(long)]
    pub topic: Option<String>,
    /// The reason of rows without one.
    #[arg(long, default_value_t = SuppressionReason::Listed)]
    pub reason: SuppressionReason,
    #[command(flatten)]
    pub state: StateArgs,
}

/// Options of `export`.
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// Only this namespace. Default: all.
    #[arg(long, short)]
    pub namespace: Option<String>,
    #[command(flatten)]
    pub state: StateArgs,
}

pub async fn run(args: SuppressionsArgs) -> ExitCode {
    let done = match args.command {
        SuppressionsCommand::List(args) => list(&args),
        SuppressionsCommand::Add(args) => add(args).await,
        SuppressionsCommand::Remove(args) => remove(args).await,
        SuppressionsCommand::Import(args) => import(args).await,
        SuppressionsCommand::Export(args) => export(&args),
    };
    done.unwrap_or_else(|message| {
        text::report(&message);
        ExitCode::from(EXIT_CONFIGURATION)
    })
}

fn list(args: &ListArgs) -> Result<ExitCode, String> {
    let reader = LedgerReader::open(args.state.location()?).map_err(|error| error.to_string())?;
    let (table, mut out) = (tables::suppressions(), io::stdout().lock());
    let mut printer = table.printer(args.output, &mut out);
    let mut printed = Ok(());
    let read = reader.suppressions(args.namespace.as_deref(), |suppression| {
        if args.reason.is_some_and(|reason| reason != suppression.reason) {
            return ControlFlow::Continue(());
        }
        printed = printer.row(&suppression);
        if printed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    read.map_err(|error| error.to_string())?;
    text::printed(printed.and_then(|()| printer.finish()), "the list")?;
    Ok(ExitCode::SUCCESS)
}

/// The canonical form of an address that a person typed.
fn person(address: &str) -> Result<Person, String> {
    let address = Address::parse(address).map_err(|why| format!("`{address}` is not a valid address: {why}"))?;
    Ok(Person::Address(canonical(address.as_str()).into_owned()))
}

fn topic(topic: Option<String>) -> Option<Arc<str>> {
    topic.filter(|topic| !topic.is_empty()).map(Into::into)
}

async fn add(args: AddArgs) -> Result<ExitCode, String> {
    let at_ms = jiff::Timestamp::now().as_millisecond();
    let (namespace, topic): (Arc<str>, _) = (args.namespace.into(), topic(args.topic));
    let entries = args.addresses.iter().map(|address| {
        let (namespace, topic, detail) = (namespace.clone(), topic.clone(), String::new());
        Ok(Suppression { namespace, person: person(address)?, topic, reason: args.reason, at_ms, source: "command line".into(), detail })
    });
    let entries = entries.collect::<Result<Vec<_>, String>>()?;
    let count = entries.len() as u64;
    let Answer::Changed(added) = control::ask(&args.state.location()?, None, Asked::Suppress(entries)).await? else {
        return Ok(ExitCode::SUCCESS);
    };
    text::report(&format!("{} added to the suppression list of {namespace}{}", counted(added, "person", "people"), known(count - added)));
    Ok(ExitCode::SUCCESS)
}

fn known(count: u64) -> String {
    if count == 0 { String::new() } else { format!("; {count} on it already") }
}

async fn remove(args: RemoveArgs) -> Result<ExitCode, String> {
    let people = args.addresses.iter().map(|address| person(address)).collect::<Result<Vec<_>, String>>()?;
    let wanted = topic(args.topic);
    let reader = LedgerReader::open(args.state.location()?).map_err(|error| error.to_string())?;
    let mut entries = Vec::new();
    for person in &people {
        entries.extend(reader.suppressions_of(&args.namespace, person).map_err(|error| error.to_string())?);
    }
    drop(reader);
    entries.retain(|entry| args.reason.is_none_or(|reason| reason == entry.reason) && (wanted.is_none() || wanted == entry.topic));
    let missing: Vec<String> =
        people.iter().filter(|person| !entries.iter().any(|entry| entry.person == **person)).map(ToString::to_string).collect();
    if !entries.is_empty() {
        for entry in &entries {
            let of = entry.topic.as_ref().map(|topic| format!(", topic {topic}")).unwrap_or_default();
            text::report(&format!("{}: {}{of}, by {}: removed", entry.person, entry.reason, entry.source));
        }
        control::ask(&args.state.location()?, None, Asked::Unsuppress(entries)).await?;
    }
    if missing.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    text::report(&format!(
        "not on the list of {}: {}. `mailfleet suppressions list` shows all; a person who was forgotten is listed only as a hash.",
        args.namespace,
        missing.join(", ")
    ));
    Ok(ExitCode::FAILURE)
}

async fn import(args: ImportArgs) -> Result<ExitCode, String> {
    let location = if args.file.as_os_str() == "-" {
        let mut bytes = Vec::new();
        io::stdin().lock().take(INPUT_MAX).read_to_end(&mut bytes).map_err(|error| format!("standard input cannot be read: {error}"))?;
        Location::Bytes(bytes.into())
    } else {
        let path = args.file.clone();
        Location::File(NamedFile::new(args.file.clone(), move || Ok(path.clone())))
    };
    let runtime = tokio::runtime::Handle::current();
    let mut reader = Reader::open(&Input::csv(location), &runtime).map_err(|blocker| blocker.message)?;
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let (mut bad, mut total, mut added, mut waiting) = (Vec::new(), 0_u64, 0_u64, Vec::new());
    let mut bad_count = 0_u64;
    loop {
        // On a thread that may block; a row at a time is too little for a switch of threads.
        let (back, rows) = tokio::task::spawn_blocking(move || {
            let rows: Vec<_> = reader.by_ref().take(ENTRIES_AT_A_TIME).collect();
            (reader, rows)
        })
        .await
        .map_err(|error| error.to_string())?;
        reader = back;
        let is_over = rows.len() < ENTRIES_AT_A_TIME;
        for row in rows {
            let why = match row.map_err(|blocker| blocker.message)? {
                Row::Recipient(recipient) => match entry(&args, &recipient, now_ms) {
                    Ok(entry) => {
                        waiting.push(entry);
                        continue;
                    }
                    Err(why) => format!("{}: {why}", recipient.address.as_str()),
                },
                Row::Bad { line, why } => format!("line {line}: {why}"),
            };
            bad_count += 1;
            if bad.len() < BAD_ROWS_NAMED {
                bad.push(why);
            }
        }
        if !waiting.is_empty() {
            total += waiting.len() as u64;
            if let Answer::Changed(count) =
                control::ask(&args.state.location()?, None, Asked::Suppress(std::mem::take(&mut waiting))).await?
            {
                added += count;
            }
        }
        if is_over {
            break;
        }
    }
    text::report(&format!("{} added to the suppression list{}", counted(added, "entry", "entries"), known(total - added)));
    for why in &bad {
        text::report(why);
    }
    if bad_count == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    text::report(&format!("{} could not be used", counted(bad_count, "row", "rows")));
    Ok(ExitCode::FAILURE)
}

fn entry(args: &ImportArgs, recipient: &crate::audience::Recipient, now_ms: i64) -> Result<Suppression, String> {
    let field = |name: &str| recipient.fields.get(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    let at_ms = match field("time") {
        Some(time) => time.parse::<jiff::Timestamp>().map_err(|_| format!("`{time}` is not a valid time (RFC 3339)"))?.as_millisecond(),
        None => now_ms,
    };
    Ok(Suppression {
        namespace: field("namespace").unwrap_or_else(|| args.namespace.clone()).into(),
        person: Person::Address(canonical(recipient.address.as_str()).into_owned()),
        topic: topic(field("topic").or_else(|| args.topic.clone())),
        reason: field("reason").map_or(Ok(args.reason), |reason| reason.parse())?,
        at_ms,
        source: field("source").unwrap_or_else(|| "import".to_owned()).into(),
        detail: field("detail").unwrap_or_default(),
    })
}

fn export(args: &ExportArgs) -> Result<ExitCode, String> {
    let reader = LedgerReader::open(args.state.location()?).map_err(|error| error.to_string())?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut printed = writeln!(out, "{}", COLUMNS.join(","));
    let mut forgotten = 0;
    let read = reader.suppressions(args.namespace.as_deref(), |entry| {
        let Person::Address(address) = &entry.person else {
            forgotten += 1;
            return ControlFlow::Continue(());
        };
        let time = jiff::Timestamp::from_millisecond(entry.at_ms).map(|time| time.to_string()).unwrap_or_default();
        let topic = entry.topic.as_deref().unwrap_or_default();
        let row = [&*entry.namespace, address, topic, entry.reason.as_str(), &time, &*entry.source, &*entry.detail];
        printed = writeln!(out, "{}", row.map(quoted).join(","));
        if printed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    read.map_err(|error| error.to_string())?;
    if forgotten > 0 {
        text::report(&format!(
            "{} not exported: only a hash of the address is known",
            counted(forgotten, "person who was forgotten is", "people who were forgotten are")
        ));
    }
    text::printed(printed.and_then(|()| out.flush()), "the list")?;
    Ok(ExitCode::SUCCESS)
}

/// A field of CSV (RFC 4180). One that a spreadsheet would take for a formula is quoted like any other: its content is data.
fn quoted(field: &str) -> String {
    if field.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field.to_owned() }
}
