//! `mailfleet get`: what is, from the status files and the ledger.

use std::{
    io::{self, Write},
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

mod types;

use super::{
    output::{LongTable, OutputFormat, print_markdown, print_table},
    text,
};
use crate::{
    ledger::{LedgerReader, RunKey},
    resources::{Campaign, DEFAULT_NAMESPACE, Kind, Plan, SendingServer, fate::Fate},
    source::status,
};

/// Shows servers, plans or campaigns as they are, or the types of servers that there are.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes:\n  0  found\n  1  nothing of that name, or the state cannot be read\n  2  usage error\n\nExamples:\n  mailfleet get servers -o wide\n  mailfleet get campaigns spring -o markdown      the table of picks, for a pull request\n  mailfleet get campaigns spring --recipients --only Unknown\n  mailfleet get types                             the types of servers, and what each needs"
)]
pub struct GetArgs {
    /// servers, plans or campaigns; or types, of sending servers.
    #[arg(value_enum)]
    pub kind: GetKind,
    /// The name; all when absent.
    pub name: Option<String>,
    /// The namespace; all when absent (with a name: `default`).
    #[arg(long, short)]
    pub namespace: Option<String>,
    /// Where the ledger and the status files are.
    #[arg(long, value_name = "DIR", default_value = ".mailfleet", env = "MAILFLEET_STATE")]
    pub state: PathBuf,
    /// The form of the output.
    #[arg(long, short, value_enum, default_value_t = OutputFormat::Table)]
    pub output: OutputFormat,
    /// A campaign's recipients, from the ledger.
    #[arg(long, requires = "name")]
    pub recipients: bool,
    /// With --recipients: only those in this state.
    #[arg(long, value_name = "STATE", requires = "recipients", value_parser = parse_state)]
    pub only: Option<Fate>,
    /// A campaign's unusable audience rows, from the ledger.
    #[arg(long, requires = "name", conflicts_with = "recipients")]
    pub problems: bool,
    /// With --recipients or --problems: the run; the one of the newest status when absent.
    #[arg(long)]
    pub run: Option<String>,
}

/// The kinds that can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GetKind {
    /// Sending servers.
    #[value(alias = "server", alias = "sendingservers", alias = "sendingserver")]
    Servers,
    /// Plans.
    #[value(alias = "plan")]
    Plans,
    /// Campaigns.
    #[value(alias = "campaign")]
    Campaigns,
    /// The types of sending servers that there are, and what each needs.
    #[value(alias = "type")]
    Types,
}

fn parse_state(text: &str) -> Result<Fate, String> {
    Fate::ALL
        .into_iter()
        .find(|state| state.as_str().eq_ignore_ascii_case(text))
        .ok_or_else(|| format!("one of {}", Fate::ALL.map(Fate::as_str).join(", ")))
}

/// Runs the command.
#[must_use]
pub fn get(args: &GetArgs) -> ExitCode {
    match show(args, &mut io::stdout().lock()) {
        Ok(()) | Err(Trouble::Closed) => ExitCode::SUCCESS,
        Err(Trouble::Told(message)) => {
            text::tell(&message);
            ExitCode::FAILURE
        }
    }
}

enum Trouble {
    /// The reader of our output went away.
    Closed,
    Told(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::Closed } else { Self::Told(error.to_string()) }
    }
}

fn show(args: &GetArgs, out: &mut impl Write) -> Result<(), Trouble> {
    let view = match args.kind {
        GetKind::Servers => SERVERS,
        GetKind::Plans => PLANS,
        GetKind::Campaigns => CAMPAIGNS,
        GetKind::Types => return types::show(args.name.as_deref(), args.output, out),
    };
    let kind = view.kind;
    if args.recipients || args.problems {
        if args.kind != GetKind::Campaigns {
            return Err(Trouble::Told("--recipients and --problems apply to campaigns only".to_owned()));
        }
        return show_ledger(args, out);
    }
    let objects = objects(&args.state, kind, args.namespace.as_deref(), args.name.as_deref()).map_err(Trouble::Told)?;
    if objects.is_empty() {
        let what = args.name.as_ref().map_or_else(|| format!("no {kind}"), |name| format!("no {kind} {name}"));
        let message = format!("{what} in {}. Was `mailfleet run` started with this --state?", args.state.join("status").display());
        return Err(Trouble::Told(message));
    }
    match args.output {
        OutputFormat::Json => {
            let value = if args.name.is_some() && objects.len() == 1 {
                objects[0].clone()
            } else {
                json!({"apiVersion": "v1", "kind": "List", "items": objects})
            };
            writeln!(out, "{value:#}")?;
        }
        OutputFormat::Yaml => {
            for (position, object) in objects.iter().enumerate() {
                if position > 0 {
                    writeln!(out, "---")?;
                }
                write!(out, "{}", status::to_yaml(object)?)?;
            }
        }
        OutputFormat::Table | OutputFormat::Wide | OutputFormat::Markdown => show_tables(args, &view, &objects, out)?,
    }
    Ok(())
}

fn show_tables(args: &GetArgs, view: &View, objects: &[Value], out: &mut impl Write) -> Result<(), Trouble> {
    let wide = args.output != OutputFormat::Table;
    let rows: Vec<Vec<String>> = objects.iter().map(view.row).collect();
    print_form(args.output, out, view.headings, &rows, wide)?;
    // A single campaign or plan comes with the table of its servers: why each was or was not picked.
    if let ([object], true) = (objects, args.name.is_some()) {
        let details = view.details.map(|(headings, rows)| (headings, rows(object)));
        if let Some((headings, rows)) = details.filter(|(_, rows)| !rows.is_empty()) {
            writeln!(out)?;
            print_form(args.output, out, headings, &rows, true)?;
        }
        writeln!(out)?;
        let conditions = object.pointer("/status/conditions").and_then(Value::as_array).map_or(&[][..], |conditions| &conditions[..]);
        let rows: Vec<Vec<String>> = conditions
            .iter()
            .map(|c| ["type", "status", "reason", "message"].iter().map(|field| word(c, &format!("/{field}"))).collect())
            .collect();
        print_form(args.output, out, &["condition", "status", "reason", "message"], &rows, true)?;
    }
    Ok(())
}

/// Prints the columns; the narrow form leaves out the last one.
fn print_form(format: OutputFormat, out: &mut impl Write, headings: &[&str], rows: &[Vec<String>], wide: bool) -> io::Result<()> {
    let columns = if wide { headings.len() } else { headings.len() - 1 };
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row[..columns].to_vec()).collect();
    if format == OutputFormat::Markdown {
        print_markdown(out, &headings[..columns], &rows)
    } else {
        print_table(out, &headings[..columns], &rows)
    }
}

/// How objects of a kind are shown in tables.
struct View {
    kind: &'static str,
    headings: &'static [&'static str],
    row: fn(&Value) -> Vec<String>,
    /// What a single one is followed by.
    details: Option<Details>,
}

/// Headings, and rows from an object.
type Details = (&'static [&'static str], fn(&Value) -> Vec<Vec<String>>);

const SERVERS: View = View {
    kind: SendingServer::KIND,
    headings: &["namespace", "name", "type", "state", "reason", "message"],
    row: server_row,
    details: None,
};
const PLANS: View = View {
    kind: Plan::KIND,
    headings: &["namespace", "name", "active", "granted", "campaigns", "reason", "message"],
    row: plan_row,
    details: Some((&["server", "weight", "state"], grant_rows)),
};
const CAMPAIGNS: View = View {
    kind: Campaign::KIND,
    headings: &[
        "namespace",
        "name",
        "state",
        "run",
        "accepted",
        "total",
        "rejected",
        "expired",
        "unknown",
        "deferred",
        "held",
        "withdrawn",
        "failed",
        "reason",
        "message",
    ],
    row: campaign_row,
    details: Some((
        &["server", "granted", "chosen", "enabled", "active", "weight", "share", "limit left", "warm-up left", "accepted", "why not"],
        pick_rows,
    )),
};

fn server_row(object: &Value) -> Vec<String> {
    let mut row = named(object);
    row.extend(["/status/provider", "/status/state"].iter().map(|path| word(object, path)));
    row.extend(ready(object));
    row
}

fn plan_row(object: &Value) -> Vec<String> {
    let mut row = named(object);
    row.extend(["/status/serversActive", "/status/serversGranted", "/status/campaigns"].iter().map(|path| word(object, path)));
    row.extend(ready(object));
    row
}

fn campaign_row(object: &Value) -> Vec<String> {
    let mut row = named(object);
    let paths = [
        "state",
        "run",
        "recipients/accepted",
        "recipients/total",
        "recipients/rejected",
        "recipients/expired",
        "recipients/unknown",
        "recipients/deferred",
        "recipients/held",
        "recipients/withdrawn",
        "recipients/renderFailed",
    ];
    row.extend(paths.iter().map(|path| word(object, &format!("/status/{path}"))));
    row.extend(ready(object));
    row
}

fn pick_rows(object: &Value) -> Vec<Vec<String>> {
    let fields =
        ["server", "granted", "chosen", "enabled", "active", "weight", "sharePercent", "limitLeft", "warmupLeft", "accepted", "whyNot"];
    let servers = object.pointer("/status/servers").and_then(Value::as_array).map_or(&[][..], |servers| &servers[..]);
    servers.iter().map(|server| fields.iter().map(|field| cell(field, &word(server, &format!("/{field}")))).collect()).collect()
}

fn cell(field: &str, value: &str) -> String {
    match (field, value) {
        ("sharePercent", share) => format!("{share}%"),
        (_, "true") => "yes".to_owned(),
        (_, "false") => "no".to_owned(),
        ("limitLeft" | "warmupLeft", "") => "-".to_owned(),
        (_, other) => other.to_owned(),
    }
}

fn grant_rows(object: &Value) -> Vec<Vec<String>> {
    let servers = object.pointer("/status/servers").and_then(Value::as_array).map_or(&[][..], |servers| &servers[..]);
    servers.iter().map(|server| ["name", "weight", "state"].iter().map(|field| word(server, &format!("/{field}"))).collect()).collect()
}

fn named(object: &Value) -> Vec<String> {
    vec![word(object, "/metadata/namespace"), word(object, "/metadata/name")]
}

/// Reason and message of the condition Ready.
fn ready(object: &Value) -> [String; 2] {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let ready = conditions.and_then(|conditions| conditions.iter().find(|condition| condition["type"] == "Ready"));
    ready.map_or_else(Default::default, |ready| [word(ready, "/reason"), word(ready, "/message")])
}

fn word(value: &Value, path: &str) -> String {
    match value.pointer(path) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

/// The objects of a kind as their status files hold them, by namespace and name.
fn objects(state_dir: &Path, kind: &str, namespace: Option<&str>, name: Option<&str>) -> Result<Vec<Value>, String> {
    let root = state_dir.join("status");
    let mut objects = Vec::new();
    let namespaces = match (namespace, name) {
        (Some(namespace), _) => vec![namespace.to_owned()],
        (None, Some(_)) => vec![DEFAULT_NAMESPACE.to_owned()],
        (None, None) => names_in(&root)?,
    };
    for namespace in namespaces {
        let folder = root.join(&namespace).join(kind);
        for file in names_in(&folder)? {
            if file.strip_suffix(".yaml").is_none() || name.is_some_and(|name| file != status::file_name(name)) {
                continue;
            }
            let path = folder.join(&file);
            let text = std::fs::read_to_string(&path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
            objects.push(serde_saphyr::from_str(&text).map_err(|error| format!("{} cannot be read: {error}", path.display()))?);
        }
    }
    Ok(objects)
}

/// The names in a folder, in order; none when it is not there.
fn names_in(folder: &Path) -> Result<Vec<String>, String> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{} cannot be read: {error}", folder.display())),
    };
    let mut names: Vec<String> = entries.filter_map(Result::ok).filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

fn show_ledger(args: &GetArgs, out: &mut impl Write) -> Result<(), Trouble> {
    let told = |error: crate::ledger::LedgerError| Trouble::Told(error.to_string());
    let name = args.name.clone().unwrap_or_default();
    let namespace = args.namespace.clone().unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
    let run = args.run.clone().unwrap_or_else(|| {
        let status =
            objects(&args.state, Campaign::KIND, Some(&namespace), Some(&name)).ok().and_then(|objects| objects.into_iter().next());
        status.map(|status| word(&status, "/status/run")).filter(|run| !run.is_empty()).unwrap_or_else(|| "first".to_owned())
    });
    let reader = LedgerReader::open(&args.state).map_err(told)?;
    let key = RunKey::new(namespace, name, run);
    let Some(summary) = reader.run(&key).map_err(told)? else {
        return Err(Trouble::Told(format!("the ledger knows no {key}. --run and --namespace choose others.")));
    };
    if args.problems {
        let problems = reader.bad_rows(summary.record.id).map_err(told)?;
        let rows: Vec<Vec<Value>> = problems.into_iter().map(|problem| vec![problem.line.into(), problem.what.into()]).collect();
        return Ok(LongTable::new(args.output, &["line", "problem"]).print(out, &rows)?);
    }
    // A million recipients are not held in memory: they go out by the thousand.
    let mut table = LongTable::new(args.output, &["recipient", "state", "tries", "server", "time", "reply"]);
    let (mut rows, mut failed) = (Vec::new(), None);
    reader
        .recipients(summary.record.id, args.only.as_slice(), |row| {
            let at = jiff::Timestamp::from_millisecond(row.updated_at_ms).map(|at| at.to_string()).unwrap_or_default();
            rows.push(vec![
                row.recipient.clone().into(),
                row.fate.to_string().into(),
                row.attempt.into(),
                row.server.clone().unwrap_or_default().into(),
                at.into(),
                row.reply.clone().unwrap_or_default().into(),
            ]);
            if rows.len() >= 1000 {
                failed = table.print(out, &rows).err();
                rows.clear();
            }
            if failed.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
        .map_err(told)?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    table.print(out, &rows)?;
    Ok(())
}
