//! `mailfleet run` with files: once, as a dry run, or for as long as nobody ends it.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use tokio::sync::watch;

use super::{Process, RunArgs, dry, finish};
use crate::{
    cli::{signals::told_to_stop, text},
    ledger::has_ledger,
    meta::bound::counted,
    serve::ProcessPhase,
    source::{Files, Finding, Options, Severity, Snapshot, StatusSink},
};

/// New findings that are told at a time.
const NEW_FINDINGS_MAX: usize = 10;

/// Sends from files. An error is why nothing was sent.
pub(super) async fn run(args: RunArgs) -> Result<ExitCode, String> {
    let mut args = RunArgs { once: args.once || args.dry_run, ..args };
    if args.paths.is_empty() {
        args.paths.push(PathBuf::from("."));
    }
    let (state_dir, removed) = state_dir(&args)?;
    if removed {
        text::report("removed the messages of the last dry run");
    }
    let options = Options {
        exclude: args.exclude.clone(),
        settles: true,
        plan_namespace: args.plan_namespace.clone(),
        ..Options::of_process(args.secrets_dir.clone(), Some(state_dir.clone()))
    };
    let mut snapshots = snapshots(&args, &options)?;
    if args.once && snapshots.borrow().is_empty() {
        let paths = args.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        return Err(format!("There is no document in {paths}, so there is nothing to send. Name the folder with your YAML files."));
    }
    if !report_findings(&snapshots.borrow(), args.once) {
        return Err("The configuration has faults, and nothing was sent. Fix them; `mailfleet validate` lists them too.".to_owned());
    }
    let is_dry = args.dry_run;
    if !is_dry && args.ledger.ledger.is_none() {
        ledger_elsewhere(&args.paths, &state_dir)?;
        if args.once && is_ci(std::env::var("CI").ok().as_deref()) && !has_ledger(&state_dir) {
            text::report(&format!(
                "CI is set, and there is no ledger in {}: a new one begins, and whoever an earlier job mailed is mailed again. Keep this folder between jobs, and give --expect-ledger after the first one (docs/gitops.md, \"Sending from CI\").",
                state_dir.display()
            ));
        }
    }
    if !args.once {
        if snapshots.borrow().is_empty() {
            text::report("There is nothing to send yet: documents that appear are read. Ctrl-C ends it.");
        }
        tokio::spawn(tell_new_findings(snapshots.clone()));
    }
    let outbox = state_dir.join("outbox");
    if is_dry {
        for key in dry::excluding_runs(&snapshots.borrow()) {
            text::report(&format!(
                "Dry run: campaign {key} excludes people of other runs. A dry run has a ledger of its own, so they are written as well."
            ));
        }
        snapshots = hurried(&args, &snapshots).await;
        text::report(&format!(
            "Dry run: nothing leaves this machine. Messages are written below {}; start times, suspension and limits do not apply.",
            outbox.display()
        ));
    }
    let told = told_to_stop();
    let process = Process::start(args, state_dir.clone()).await?;
    let sink = StatusSink::open_folder(&process.state_dir)?;
    let ledger = process.open_ledger().await.map_err(|error| error.message)?;
    process.health.enter(ProcessPhase::Leading);
    let health = process.health.clone();
    let stop = async move {
        told.await;
        health.enter(ProcessPhase::Stopping);
    };
    let ended = finish(process.send(ledger, snapshots, sink, stop).await);
    if is_dry {
        let written = counted(dry::messages(&state_dir), "message", "messages");
        text::report(&format!("Dry run: nothing left this machine; {written} written to {}", outbox.display()));
    }
    Ok(ended)
}

/// The state folder, and whether an old one was removed: a dry run has its own, made anew each time.
fn state_dir(args: &RunArgs) -> Result<(PathBuf, bool), String> {
    if !args.dry_run {
        return Ok((args.state.clone(), false));
    }
    let state_dir = args.state.join("dry-run");
    match std::fs::remove_dir_all(&state_dir) {
        Ok(()) => Ok((state_dir, true)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok((state_dir, false)),
        Err(error) => Err(format!("the folder of the last dry run, {}, cannot be removed: {error}", state_dir.display())),
    }
}

/// The snapshot of a dry run.
async fn hurried(args: &RunArgs, snapshots: &watch::Receiver<Arc<Snapshot>>) -> watch::Receiver<Arc<Snapshot>> {
    let snapshot = (**snapshots.borrow()).clone();
    let (first, egress) = (args.first.and_then(|first| usize::try_from(first).ok()), args.egress());
    let runtime = tokio::runtime::Handle::current();
    let hurried = tokio::task::spawn_blocking(move || dry::without_waits(snapshot, first, egress, &runtime)).await;
    watch::channel(Arc::new(hurried.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())))).1
}

fn snapshots(args: &RunArgs, options: &Options) -> Result<watch::Receiver<Arc<Snapshot>>, String> {
    if args.once {
        // The sender is dropped: there is only this one snapshot.
        return Ok(watch::channel(Arc::new(Files::load_once(&args.paths, options))).1);
    }
    Files::watch(&args.paths, options).map(|(_, receiver)| receiver).map_err(|error| format!("the files cannot be watched: {error}"))
}

/// Reports findings; false when they forbid starting.
fn report_findings(snapshot: &Snapshot, once: bool) -> bool {
    told(snapshot).for_each(|finding| text::report(&finding.to_string()));
    !(once && snapshot.faults().next().is_some())
}

/// Tells what is newly wrong with the files while the process runs; what went and comes back is told again.
async fn tell_new_findings(mut snapshots: watch::Receiver<Arc<Snapshot>>) {
    let mut before: HashSet<String> = told(&snapshots.borrow_and_update()).map(ToString::to_string).collect();
    while snapshots.changed().await.is_ok() {
        let now: Vec<String> = told(&snapshots.borrow_and_update()).map(ToString::to_string).collect();
        let new: Vec<&String> = now.iter().filter(|text| !before.contains(*text)).collect();
        new.iter().take(NEW_FINDINGS_MAX).for_each(|text| tracing::warn!("{text}"));
        if new.len() > NEW_FINDINGS_MAX {
            tracing::warn!("{} more; `mailfleet validate` lists them", new.len() - NEW_FINDINGS_MAX);
        }
        before = now.into_iter().collect();
    }
}

/// The findings that people are told without asking: faults and warnings.
pub(super) fn told(snapshot: &Snapshot) -> impl Iterator<Item = &Finding> {
    snapshot.findings.iter().filter(|finding| finding.severity != Severity::Note)
}

/// Whether the value of `CI`, which every CI system sets, says that this is a job of one.
fn is_ci(value: Option<&str>) -> bool {
    value.is_some_and(|value| !matches!(value, "" | "0" | "false"))
}

/// Refuses to begin a ledger while a folder that is read has one: whoever was mailed from there would be mailed again.
fn ledger_elsewhere(paths: &[PathBuf], state_dir: &Path) -> Result<(), String> {
    if has_ledger(state_dir) {
        return Ok(());
    }
    let other = paths.iter().map(|path| path.join(text::STATE_DEFAULT)).find(|folder| has_ledger(folder));
    other.map_or(Ok(()), |other| {
        Err(format!(
            "{0} has a ledger, and {1} has none: whoever was mailed from there would be mailed again, so nothing was sent. The state folder lies in the current folder; use --state {0}, or run in its folder. If that ledger is not needed any more, move {0} away.",
            other.display(),
            state_dir.display()
        ))
    })
}
