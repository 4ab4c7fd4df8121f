//! `mailfleet diff`: what a change of the objects would do, read as `terraform plan` is.
//!
//! The sides are found and read (`side`, `git`), the ledger is asked and audiences are counted (`past`), and all else is decided by the code
//! that decides in a process that sends. `compare` says what differs; `print` shows it.

mod cluster;
mod documents;
mod git;
mod needs;
mod past;
mod print;
pub(super) mod side;
mod words;

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    exit::EXIT_CONFIGURATION,
    ledger_args::LedgerArgs,
    look::{Stop, blocking},
    text, validate,
};
use crate::{
    compare::{
        Audience, Change, Danger, Identity, Need, ObjectChange, ObjectKind, Side, assume, danger,
        meaning::{self, CampaignMeaning, ConditionChange},
        objects,
    },
    decide::{World, decide},
    engine::{EngineOptions, offline_world_of, sends_alike},
    ledger::RecordedFacts,
    resources::{Key, Reason},
    source::{Finding, Options, Severity, Snapshot, is_secret},
};
use cluster::ClusterArgs;
use side::{Loaded, Source};

/// The exit code with `--exit-code` where something differs.
const EXIT_CHANGES: u8 = 10;
/// The same where something dangerous does.
const EXIT_DANGEROUS: u8 = 11;

/// Compares two versions of the objects, and says what the change would mean. Nothing is sent, fetched or changed.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
A side is a folder or a file; `git:REV` or `git:REV:PATH`, a path from the root of \
the repository as it was at a branch, a tag or a commit (without PATH, that of the \
other side); or `-`, standard input:

  mailfleet diff git:main objects
  kustomize build overlays/production | mailfleet diff git:main:rendered -
  mailfleet diff --kubernetes objects

With --kubernetes the cluster is the old side, and what an apply leaves alone is on \
both. Who was mailed is known by the statuses there, and no state folder is read.

The state folder's ledger says who was mailed; without it, as in CI, the diff says \
what holds by the documents alone. Each server is taken to pass its test, and each \
Secret and file that is not here to be there; what is new among these is listed.

Exit codes:
  0   the comparison could be made
  2   a usage error, or nothing can be compared
With --exit-code:
  0   nothing differs
  2   the same, or a document of NEW is broken
  10  something differs
  11  something dangerous does")]
pub struct DiffArgs {
    /// The objects as they are; with --kubernetes not given.
    #[arg(value_name = "OLD")]
    old: Source,
    /// The objects as they would be.
    #[arg(value_name = "NEW", required_unless_present = "kubernetes", conflicts_with = "kubernetes")]
    new: Option<Source>,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Exclude from folders what matches this gitignore pattern; repeatable.
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// A folder with Secrets as NAMESPACE/NAME/KEY files: what is in it is there.
    #[arg(long, value_name = "DIR")]
    secrets_dir: Option<PathBuf>,
    /// The state folder of `mailfleet run`: its ledger says who was mailed. It is only read, beside a process that sends.
    #[arg(long, value_name = "DIR", default_value = text::STATE_DEFAULT, env = text::STATE_VARIABLE)]
    state: PathBuf,
    #[command(flatten)]
    ledger: LedgerArgs,
    /// The only namespace whose plans count, as for `mailfleet run`.
    #[arg(long, value_name = "NAMESPACE")]
    plan_namespace: Option<String>,
    /// Say by the exit code whether something differs, and whether that is dangerous.
    #[arg(long)]
    exit_code: bool,
    /// The output format.
    #[arg(short, long, value_enum, default_value_t = DiffOutput::Text)]
    output: DiffOutput,
}

/// The output formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DiffOutput {
    /// For a terminal.
    Text,
    /// For a pull request.
    Markdown,
    /// One JSON object, for scripts.
    Json,
}

/// All that is said of a change.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    old: SideReport,
    new: SideReport,
    summary: Summary,
    dangers: Vec<Danger>,
    objects: Vec<ObjectChange>,
    campaigns: Vec<CampaignMeaning>,
    conditions: Vec<ConditionChange>,
    needs: Vec<Need>,
    /// The assumptions.
    assumed: Vec<String>,
}

/// What was read of a side.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SideReport {
    name: String,
    documents: usize,
    findings: Vec<Finding>,
}

/// How much differs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    added: usize,
    changed: usize,
    removed: usize,
    dangerous: usize,
    /// Campaigns whose shares or state change, whether or not their documents do.
    campaigns: usize,
}

impl Summary {
    fn is_empty(self) -> bool {
        self == Self::default()
    }
}

pub async fn run(args: DiffArgs) -> ExitCode {
    let report = match report(&args).await {
        Ok(report) => report,
        Err(stop) => return stop.report(),
    };
    let mut out = io::stdout().lock();
    let printed = match args.output {
        DiffOutput::Text => print::text(&report, &mut out),
        DiffOutput::Markdown => print::markdown(&report, &mut out),
        DiffOutput::Json => serde_json::to_writer_pretty(&mut out, &report).map_err(io::Error::from).and_then(|()| writeln!(out)),
    };
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            text::report(&format!("the comparison cannot be printed: {error}"));
            return ExitCode::from(EXIT_CONFIGURATION);
        }
        _ => {}
    }
    // What a broken document would change is not known, and a check in CI must not pass for that.
    let is_broken = report.new.findings.iter().any(|finding| finding.severity == Severity::Fault);
    ExitCode::from(match report.summary.dangerous {
        _ if !args.exit_code => 0,
        1.. => EXIT_DANGEROUS,
        0 if is_broken => EXIT_CONFIGURATION,
        0 if report.summary.is_empty() => 0,
        0 => EXIT_CHANGES,
    })
}

/// Reads both sides, off the threads of the runtime; in a cluster there is no old one here.
fn load(args: &DiffArgs) -> Result<(Option<Loaded>, Loaded), Stop> {
    if args.old == Source::Input && args.new == Some(Source::Input) {
        return Err(Stop::configuration("standard input can be one side only; give the other one as a folder, a file or git:REV"));
    }
    let options = Options {
        exclude: args.exclude.clone(),
        plan_namespace: args.plan_namespace.clone(),
        pipes: true,
        // What was written just now is used when it is whole, as in a process that sends.
        settles: true,
        ..Options::of_process(args.secrets_dir.clone(), Some(args.state.clone()))
    };
    let load = |found: side::Found| {
        let name = found.name.clone();
        side::load(found, &options).map_err(|findings| Stop::with_findings(findings, format!("nothing of {name} can be read")))
    };
    let find = |source: &Source, other: &Source| side::find(source, other).map_err(Stop::configuration);
    let Some(new) = &args.new else { return Ok((None, load(find(&args.old, &Source::Input)?)?)) };
    let found = (find(&args.old, new)?, find(new, &args.old)?);
    Ok((Some(load(found.0)?), load(found.1)?))
}

/// Compares both sides.
///
/// # Errors
/// When they cannot be compared.
pub(super) async fn report(args: &DiffArgs) -> Result<Report, Stop> {
    let for_loading = args.clone();
    let (old, mut new) = blocking(move || load(&for_loading)).await?;
    let in_cluster = old.is_none();
    let old = match old {
        Some(old) => old,
        None => cluster::load(&args.cluster, &mut new).await.map_err(Stop::configuration)?,
    };
    let kept = side::keep_what_was_good(&old.snapshot, &mut new.snapshot);

    let location = args.ledger.location(&args.state).map_err(Stop::configuration)?;
    let state = location.clone();
    let (before, after) = (old.snapshot.clone(), new.snapshot.clone());
    let unreadable = |error: crate::ledger::LedgerError| Stop::configuration(error.to_string());
    // The ledger of this machine knows nothing of what a cluster has sent.
    let (past, facts) = if in_cluster {
        (cluster::past(&before), RecordedFacts::none())
    } else {
        let past = blocking(move || past::past(state, [&before, &after])).await.map_err(unreadable)?;
        (past, RecordedFacts::open(location).map_err(unreadable)?)
    };

    let now_ms = Timestamp::now().as_millisecond();
    let options = EngineOptions::offline(args.state.clone(), args.plan_namespace.clone());
    let mut worlds = Vec::new();
    for side in [&old, &new] {
        let mut world = offline_world_of(&side.snapshot, facts.clone(), &options, now_ms).await;
        if in_cluster {
            cluster::note_runs(&mut world, &past);
        }
        let missing = assume::fill(&mut world);
        let (snapshot, counted) = (side.snapshot.clone(), world.clone());
        let runtime = tokio::runtime::Handle::current();
        let audiences = blocking(move || past::audiences(&snapshot, &counted, &runtime)).await;
        worlds.push((world, missing, audiences));
    }
    let (Some((new_world, new_missing, mut new_people)), Some((old_world, old_missing, mut old_people))) = (worlds.pop(), worlds.pop())
    else {
        return Err(Stop::failed("the sides were not read"));
    };
    assume::share_audiences((&old_world, &mut old_people), (&new_world, &mut new_people));

    let decided = |world: World, audiences: BTreeMap<Key, Audience>, loaded: &Loaded| {
        let observed = assume::observations(&world, &audiences, &past, now_ms);
        let mut decision = decide(&world, &observed, now_ms);
        let takes = assume::times(&world, &decision, &observed);
        let servers = decision.servers.values_mut().map(|server| &mut server.status.conditions);
        let plans = decision.plans.values_mut().map(|plan| &mut plan.conditions);
        let campaigns = decision.campaigns.values_mut().map(|campaign| &mut campaign.status.conditions);
        for condition in servers.chain(plans).chain(campaigns).flatten() {
            condition.message = loaded.without_folder(&condition.message).into();
        }
        (Side { world, decision, audiences }, takes)
    };
    let (before, took) = decided(old_world, old_people, &old);
    let (after, takes) = decided(new_world, new_people, &new);

    let (old_documents, new_documents) = documents::documents(&old.snapshot, &new.snapshot);
    let objects = objects::compare(&old_documents, &new_documents, is_secret);
    let changed: BTreeMap<Identity, Change> = objects
        .iter()
        .map(|object| {
            let key = Key::new(object.namespace.as_str(), object.name.as_str());
            (Identity { kind: object.kind, key }, object.change)
        })
        .collect();
    let campaigns = meaning::campaigns(&before, &after, &changed, &past, (&took, &takes));
    let renamed = renamed(&old.snapshot, &new.snapshot);
    let dangers = danger::dangers(&before, &after, &campaigns, &renamed, &past);
    let missing: Vec<(Key, String)> = new_missing
        .iter()
        .filter(|(key, blocker)| blocker.reason == Reason::FileNotFound && old_missing.get(*key) != Some(blocker))
        .map(|(key, blocker)| (key.clone(), new.without_folder(&blocker.message)))
        .collect();
    let needs = needs::needs(&old.snapshot, &new.snapshot, &missing);
    let count = |change: Change| objects.iter().filter(|object| object.change == change).count();
    let summary = Summary {
        added: count(Change::Added),
        changed: count(Change::Changed),
        removed: count(Change::Removed),
        dangerous: dangers.len(),
        campaigns: campaigns.len(),
    };
    let known = if in_cluster { words::Known::ByStatuses } else { words::Known::ByLedger(&args.state) };
    let assumed = words::assumed(&past, known, &kept, [&old, &new], !new_missing.is_empty());
    Ok(Report {
        old: of_side(old),
        new: of_side(new),
        summary,
        dangers,
        objects,
        campaigns,
        conditions: meaning::conditions(&before, &after),
        needs,
        assumed,
    })
}

fn of_side(side: Loaded) -> SideReport {
    let Loaded { name, snapshot, .. } = side;
    SideReport { name, documents: snapshot.counts.documents, findings: snapshot.findings }
}

/// Campaigns that are gone, each with one that is new and sends the same.
fn renamed(old: &Snapshot, new: &Snapshot) -> Vec<(Key, Key)> {
    let is_there = |key: &Key| new.campaigns.contains_key(key) || new.broken.iter().any(|broken| broken.key == *key);
    let gone = || old.campaigns.iter().filter(|(key, _)| !is_there(key));
    let added = new.campaigns.iter().filter(|(key, _)| !old.campaigns.contains_key(*key));
    let pair = |(key, campaign): (&Key, &crate::source::Sourced<crate::resources::Campaign>)| {
        let is_it = |(was, before): &(&Key, &crate::source::Sourced<crate::resources::Campaign>)| {
            was.namespace == key.namespace && sends_alike(&before.object, &campaign.object)
        };
        gone().find(is_it).map(|(was, _)| (was.clone(), key.clone()))
    };
    added.filter_map(pair).collect()
}

impl DiffArgs {
    /// A comparison of a folder with what it was, without a cluster.
    pub(super) fn of_review(old: Source, new: Source, options: &Options, (state, ledger): (PathBuf, LedgerArgs)) -> Self {
        Self {
            old,
            new: Some(new),
            cluster: ClusterArgs::none(),
            exclude: options.exclude.clone(),
            secrets_dir: options.secrets_dir.clone(),
            state,
            ledger,
            plan_namespace: options.plan_namespace.clone(),
            exit_code: false,
            output: DiffOutput::Markdown,
        }
    }
}

impl Report {
    /// The change in Markdown; its documents' findings are told elsewhere.
    pub(super) fn markdown(&self, has_fields: bool) -> String {
        let mut out = Vec::new();
        // Nothing fails that is written into memory.
        let _ = print::comment(self, print::Detail { title: "What the merge would do", has_fields, has_findings: false }, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// The change in a line.
    pub(super) fn line(&self) -> String {
        print::summary(self.summary)
    }

    /// How many changes are dangerous.
    pub(super) const fn dangerous(&self) -> usize {
        self.summary.dangerous
    }

    /// The campaigns that are added or changed.
    pub(super) fn campaigns(&self) -> Vec<Key> {
        let is_it = |object: &&ObjectChange| object.kind == ObjectKind::Campaign && object.change != Change::Removed;
        self.objects.iter().filter(is_it).map(|object| Key::new(object.namespace.as_str(), object.name.as_str())).collect()
    }

    /// What is wrong with the documents: faults of both sides, and warnings that only the new one has.
    fn findings(&self) -> impl Iterator<Item = &Finding> {
        let is_known = |finding: &Finding| {
            let is_it = |old: &&Finding| (&old.resource, &old.field, &old.message) == (&finding.resource, &finding.field, &finding.message);
            self.old.findings.iter().any(|old| is_it(&old))
        };
        let of_old = self.old.findings.iter().filter(|finding| finding.severity == Severity::Fault);
        of_old.chain(self.new.findings.iter().filter(move |finding| match finding.severity {
            Severity::Fault => true,
            Severity::Warning => !is_known(finding),
            Severity::Note => false,
        }))
    }
}

/// Prints what is wrong with the documents.
fn print_findings(report: &Report, out: &mut impl io::Write) -> io::Result<()> {
    report.findings().try_for_each(|finding| validate::print_finding(out, &Finding { excerpt: None, ..finding.clone() }))
}
