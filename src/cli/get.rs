//! `mailfleet get`: the current state, from the status files and the ledger, or from the statuses of a cluster.

use std::{
    io::{self, Write},
    ops::ControlFlow,
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, ValueEnum};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

mod types;

use super::{
    ledger_args::LedgerArgs,
    objects::{self, Found, objects, objects_in_cluster},
    present::{
        OutputFormat, Table, markdown,
        tables::{self, Conditions, Shown},
    },
    text::{self, Commands, paragraph},
};
use crate::{
    ledger::{LedgerError, LedgerPlace, LedgerReader, RunKey, RunSummary},
    present::{promise::promise, words::told_once},
    resources::{
        Campaign, DEFAULT_NAMESPACE, Key, Kind, Plan, SendingServer, campaign::CampaignStatus, fate::Fate, plan::PlanStatus,
        sending_server::SendingServerStatus,
    },
    source::status,
};

/// Shows servers, plans and campaigns with their state, runs in the ledger, or the types of servers.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes:\n  0  found\n  1  nothing found, or the state cannot be read\n  2  usage error\n\nExamples:\n  mailfleet get servers -o wide\n  mailfleet get campaigns spring -o markdown     why servers are picked or not\n  mailfleet get campaigns spring --recipients --only Unknown\n  mailfleet get campaigns spring --recipients -o json-lines > again.jsonl\n  mailfleet get runs spring -o json              counts from the ledger\n  mailfleet get types                            what each type of server needs\n  mailfleet get campaigns --kubernetes -o wide   of all namespaces of a cluster"
)]
pub struct GetArgs {
    /// What to show.
    #[arg(value_enum)]
    pub kind: GetKind,
    /// Only the object with this name (for runs: the campaign's name).
    pub name: Option<String>,
    /// Only this namespace. Default: all; with a name, `default`.
    #[arg(long, short)]
    pub namespace: Option<String>,
    /// The state folder, with the ledger and the status files.
    #[arg(long, value_name = "DIR", default_value = text::STATE_DEFAULT, env = text::STATE_VARIABLE)]
    pub state: PathBuf,
    #[command(flatten)]
    pub ledger: LedgerArgs,
    /// Show objects of a cluster, with the status that the controller wrote. The ledger is where the controller runs.
    #[arg(long)]
    pub kubernetes: bool,
    /// With --kubernetes: the kubeconfig file. Default: KUBECONFIG, ~/.kube/config, or the pod's service account.
    #[arg(long, value_name = "FILE", requires = "kubernetes")]
    pub kubeconfig: Option<PathBuf>,
    /// The output format.
    #[arg(long, short, value_enum, default_value_t = OutputFormat::Table)]
    pub output: OutputFormat,
    /// Show a campaign's recipients, from the ledger.
    #[arg(long, requires = "name")]
    pub recipients: bool,
    /// With --recipients: only those in this state.
    #[arg(long, value_name = "STATE", requires = "recipients", value_parser = parse_state)]
    pub only: Option<Fate>,
    /// Show the rows of a campaign's audience that could not be used, from the ledger.
    #[arg(long, requires = "name", conflicts_with = "recipients")]
    pub problems: bool,
    /// With --recipients or --problems: the run. Default: the run in the campaign's status, else the latest in the ledger.
    #[arg(long)]
    pub run: Option<String>,
}

/// What can be shown.
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
    /// Runs of campaigns in the ledger, with their counts.
    #[value(alias = "run")]
    Runs,
    /// The types of sending servers, and what each needs.
    #[value(alias = "type")]
    Types,
}

fn parse_state(text: &str) -> Result<Fate, String> {
    Fate::ALL
        .into_iter()
        .find(|state| state.as_str().eq_ignore_ascii_case(text))
        .ok_or_else(|| format!("use one of {}", Fate::ALL.map(Fate::as_str).join(", ")))
}

pub async fn run(args: GetArgs) -> ExitCode {
    let found = if args.kubernetes { find_in_cluster(&args).await } else { find(&args) };
    match found.and_then(|found| show(&args, found, &mut io::stdout().lock())) {
        Ok(()) | Err(Stop::Closed) => ExitCode::SUCCESS,
        Err(Stop::Failed(message)) => {
            text::report(&args.commands().in_text(&message));
            ExitCode::FAILURE
        }
    }
}

impl GetArgs {
    /// A sentence below a table.
    fn paragraph(&self, text: &str) -> String {
        if self.output == OutputFormat::Markdown { markdown::escaped(text) } else { paragraph(text) }
    }

    /// The commands that texts name, as they work where these were given.
    fn commands(&self) -> Commands {
        if self.kubernetes { Commands::in_cluster(self.kubeconfig.as_deref()) } else { Commands::with_state(&self.state) }
    }

    /// The kind of the objects that are asked for, if any are.
    fn objects(&self) -> Option<&'static str> {
        match self.kind {
            _ if self.recipients || self.problems => None,
            GetKind::Servers => Some(SendingServer::KIND),
            GetKind::Plans => Some(Plan::KIND),
            GetKind::Campaigns => Some(Campaign::KIND),
            GetKind::Runs | GetKind::Types => None,
        }
    }
}

/// The objects that are asked for, from their status files.
fn find(args: &GetArgs) -> Result<Vec<Found>, Stop> {
    let Some(kind) = args.objects() else { return Ok(Vec::new()) };
    objects(&args.state, kind, args.namespace.as_deref(), args.name.as_deref()).map_err(Stop::Failed)
}

/// The same from a cluster.
async fn find_in_cluster(args: &GetArgs) -> Result<Vec<Found>, Stop> {
    if args.recipients || args.problems {
        return Err(Stop::Failed(
            "recipients and bad rows are in the ledger, in the controller's pod: `kubectl exec -n NAMESPACE deployment/mailfleet -- mailfleet get campaigns NAME --recipients`"
                .to_owned(),
        ));
    }
    match args.objects() {
        Some(kind) => {
            let found = objects_in_cluster(args.kubeconfig.as_deref(), kind, args.namespace.as_deref(), args.name.as_deref());
            found.await.map_err(Stop::Failed)
        }
        None if args.kind == GetKind::Runs => Err(Stop::Failed(
            "runs are in the ledger, in the state folder of the controller: ask there, without --kubernetes (`kubectl exec` into its pod)"
                .to_owned(),
        )),
        None => Ok(Vec::new()),
    }
}

/// Why no more is printed.
enum Stop {
    /// The reader of our output went away.
    Closed,
    Failed(String),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::Closed } else { Self::Failed(error.to_string()) }
    }
}

impl From<LedgerError> for Stop {
    fn from(error: LedgerError) -> Self {
        Self::Failed(error.message)
    }
}

fn show(args: &GetArgs, found: Vec<Found>, out: &mut impl Write) -> Result<(), Stop> {
    if args.recipients || args.problems {
        if args.kind != GetKind::Campaigns {
            return Err(Stop::Failed("--recipients and --problems apply to campaigns only".to_owned()));
        }
        return show_rows(args, out);
    }
    match args.kind {
        GetKind::Servers => {
            let details = |status: &SendingServerStatus, out: &mut dyn Write| {
                print_details(args, &tables::warmup(), status.warmup.as_ref().map(tables::warmup_rows).unwrap_or_default(), out)?;
                print_details(args, &tables::domains(), status.per_domain.clone(), out)?;
                let paused = status.came_back.as_ref().map(|back| back.paused.clone()).unwrap_or_default();
                print_details(args, &tables::paused(), paused, out)
            };
            show_objects(args, (SendingServer::KIND, found), &tables::servers(), |_| (), details, out)
        }
        GetKind::Plans => {
            let details = |status: &PlanStatus, out: &mut dyn Write| print_details(args, &tables::grants(), status.servers.clone(), out);
            show_objects(args, (Plan::KIND, found), &tables::plans(), |_| (), details, out)
        }
        GetKind::Campaigns => {
            let namespace = args.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
            let key = Key::new(namespace, args.name.as_deref().unwrap_or_default());
            let commands = args.commands();
            let details = |status: &CampaignStatus, out: &mut dyn Write| {
                let told = commands.in_text(&promise(status, &key.as_arguments()));
                writeln!(out, "\n{}", args.paragraph(&told))?;
                if let Some(rollout) = &status.rollout {
                    writeln!(out, "\n{}", args.paragraph(&commands.in_text(&format!("Rollout: {}", rollout.message))))?;
                }
                print_details(args, &tables::picks(), status.servers.iter().collect(), out)
            };
            let ledger = if args.kubernetes {
                None
            } else {
                args.ledger.location(&args.state).ok().and_then(|location| LedgerReader::open(location).ok())
            };
            let recount = |shown: &mut Shown<CampaignStatus>| recount(ledger.as_ref(), shown);
            show_objects(args, (Campaign::KIND, found), &tables::campaigns(), recount, details, out)
        }
        GetKind::Runs => show_runs(args, out),
        GetKind::Types => types::show(args.name.as_deref(), args.output, out),
    }
}

/// Counts the recipients anew: a status is written every few seconds, and the last one of a process that was killed stays behind.
fn recount(ledger: Option<&LedgerReader>, shown: &mut Shown<CampaignStatus>) {
    let key = RunKey::new(shown.namespace.as_str(), shown.name.as_str(), shown.status.run.as_str());
    if let Some(run) = ledger.and_then(|ledger| ledger.run(&key).ok().flatten()) {
        shown.status.count(run.record.recipients(&run.counts));
    }
}

/// Shows objects: whole ones to scripts, tables to people, `renew`ed by what is known beside the status. A single one is followed by its details and its conditions.
fn show_objects<S: DeserializeOwned + Conditions>(
    args: &GetArgs,
    (kind, objects): (&str, Vec<Found>),
    table: &Table<Shown<S>>,
    renew: impl Fn(&mut Shown<S>),
    details: impl Fn(&S, &mut dyn Write) -> io::Result<()>,
    mut out: &mut impl Write,
) -> Result<(), Stop> {
    if objects.is_empty() {
        return Err(Stop::Failed(not_found(args, kind)));
    }
    match args.output {
        OutputFormat::Json => {
            let value = match &objects[..] {
                [one] if args.name.is_some() => one.value.clone(),
                several => {
                    json!({"apiVersion": "v1", "kind": "List", "items": several.iter().map(|object| &object.value).collect::<Vec<_>>()})
                }
            };
            writeln!(out, "{value:#}")?;
        }
        OutputFormat::JsonLines => objects.iter().try_for_each(|object| writeln!(out, "{}", object.value))?,
        OutputFormat::Yaml => {
            for (position, object) in objects.iter().enumerate() {
                if position > 0 {
                    writeln!(out, "---")?;
                }
                write!(out, "{}", status::to_yaml(&object.value)?)?;
            }
        }
        OutputFormat::Table | OutputFormat::Wide | OutputFormat::Markdown => {
            let (mut shown, mut without): (Vec<Shown<S>>, Vec<String>) = (Vec::new(), Vec::new());
            for object in &objects {
                match object.shown() {
                    Ok(object) => shown.push(object),
                    Err(why) => without.push(why),
                }
            }
            if shown.is_empty() {
                return Err(Stop::Failed(without.join("\n")));
            }
            shown.iter_mut().for_each(renew);
            let single = if let ([one], true) = (&shown[..], args.name.is_some()) {
                let mut text = Vec::new();
                details(&one.status, &mut text)?;
                writeln!(text)?;
                let conditions = told_once(&one.status, &args.commands());
                tables::conditions().print(args.output, &mut text, conditions)?;
                text
            } else {
                Vec::new()
            };
            table.print(args.output, &mut out, shown)?;
            // The others are shown whatever is wrong with one.
            for why in &without {
                writeln!(out, "\n{}", args.paragraph(why))?;
            }
            if args.output != OutputFormat::Markdown
                && !args.kubernetes
                && let Some(note) = nobody_sends(&location(args)?, kind, &objects)
            {
                writeln!(out, "\n{}", paragraph(&note))?;
            }
            out.write_all(&single)?;
        }
    }
    Ok(())
}

/// Where else an object of this name is, if it is anywhere.
fn not_found(args: &GetArgs, kind: &str) -> String {
    if args.kubernetes {
        return match (&args.name, &args.namespace) {
            (Some(name), namespace) => {
                let namespace = namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
                format!("no {kind} {name} in namespace {namespace} of the cluster; `-n` chooses another namespace")
            }
            (None, Some(namespace)) => format!("no {kind} in namespace {namespace} of the cluster"),
            (None, None) => format!("no {kind} in the cluster"),
        };
    }
    let Some(name) = &args.name else {
        let place = args.state.join("status");
        return format!("no {kind} in {}. Was `mailfleet run` started with this --state?", place.display());
    };
    objects::not_found(&args.state, kind, name, args.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE))
}

/// Said of campaigns that would be sent if a process ran.
fn nobody_sends(location: &LedgerPlace, kind: &str, objects: &[Found]) -> Option<String> {
    let is_open = |found: &&Found| matches!(found.value["status"]["state"].as_str(), Some("Sending" | "Waiting" | "Scheduled"));
    let open: Vec<&Found> = objects.iter().filter(is_open).collect();
    if kind != Campaign::KIND || open.is_empty() || location.is_in_use() {
        return None;
    }
    let what = if location.database().is_some() { "ledger" } else { "state folder" };
    let seen = open.into_iter().filter_map(Found::written_at).max().map_or_else(String::new, |at| format!("; last seen {at}"));
    Some(format!("Not running: no process is using this {what}{seen}. Start `mailfleet run` to continue."))
}

/// Prints what follows a single object, if there is anything.
fn print_details<R>(args: &GetArgs, table: &Table<R>, rows: Vec<R>, mut out: &mut dyn Write) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    table.print(args.output, &mut out, rows)
}

fn location(args: &GetArgs) -> Result<LedgerPlace, Stop> {
    args.ledger.location(&args.state).map_err(Stop::Failed)
}

fn show_runs(args: &GetArgs, out: &mut impl Write) -> Result<(), Stop> {
    let runs = runs(&LedgerReader::open(location(args)?)?, args)?;
    if runs.is_empty() {
        let whose = args.name.as_ref().map_or_else(String::new, |name| format!(" of campaign {name}"));
        return Err(Stop::Failed(format!("no runs{whose} in the ledger of {}", location(args)?)));
    }
    Ok(tables::runs().print(args.output, out, runs)?)
}

/// The runs that name and namespace choose, oldest first.
fn runs(reader: &LedgerReader, args: &GetArgs) -> Result<Vec<RunSummary>, LedgerError> {
    let namespace = args.namespace.as_deref().or_else(|| args.name.as_ref().map(|_| DEFAULT_NAMESPACE));
    let mut runs = reader.runs()?;
    runs.retain(|run| {
        let key = &run.record.key;
        namespace.is_none_or(|namespace| key.namespace == namespace) && args.name.as_ref().is_none_or(|name| key.campaign == *name)
    });
    Ok(runs)
}

/// Shows the recipients of a run, or the rows of its audience that could not be used.
fn show_rows(args: &GetArgs, out: &mut impl Write) -> Result<(), Stop> {
    let name = args.name.clone().unwrap_or_default();
    let namespace = args.namespace.clone().unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
    let reader = LedgerReader::open(location(args)?)?;
    let run = match args.run.clone().or_else(|| run_of_status(args, &namespace, &name)) {
        Some(run) => Some(run),
        None => runs(&reader, args)?.pop().map(|run| run.record.key.run),
    };
    let key = RunKey::new(namespace, name, run.unwrap_or_else(|| "first".to_owned()));
    let Some(summary) = reader.run(&key)? else {
        let mut others: Vec<String> = reader
            .runs()?
            .into_iter()
            .map(|run| run.record.key)
            .filter(|other| other.campaign == key.campaign)
            .map(|other| other.namespace)
            .filter(|namespace| *namespace != key.namespace)
            .collect();
        others.dedup();
        let elsewhere =
            others.first().map_or_else(String::new, |one| format!("; namespace {one} has a campaign of this name: add `-n {one}`"));
        return Err(Stop::Failed(format!(
            "the ledger has no {key}; `mailfleet get runs` lists them, --run and --namespace choose another{elsewhere}"
        )));
    };
    if args.problems {
        let rows = reader.bad_rows(summary.record.id)?;
        if rows.is_empty() && matches!(args.output, OutputFormat::Table | OutputFormat::Wide) {
            return Ok(writeln!(out, "{}", paragraph(&format!("Every row read for {key} could be used.")))?);
        }
        return Ok(tables::bad_rows().print(args.output, out, rows)?);
    }
    let table = tables::recipients();
    let mut printer = table.printer(args.output, out);
    let mut printed = Ok(());
    reader.recipients(summary.record.id, args.only.as_slice(), |row| {
        printed = printer.row(&row);
        if printed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    printed?;
    Ok(printer.finish()?)
}

fn run_of_status(args: &GetArgs, namespace: &str, name: &str) -> Option<String> {
    let found = objects(&args.state, Campaign::KIND, Some(namespace), Some(name)).ok()?.into_iter().next()?;
    found.value.pointer("/status/run").and_then(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests;
