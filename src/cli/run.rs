//! `mailfleet run`: watch, reconcile, dispatch.

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::{Args, ValueEnum};
use tokio::sync::watch;

use super::{progress, text};
use crate::{
    engine::{self, EngineOptions, View},
    ledger::{Ledger, LedgerOptions, Synchronous},
    resources::Duration as Span,
    source::{Files, Options, Snapshot},
};

/// Watches YAML, keeps servers tested, and sends campaigns.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes:\n  0  told to stop; with --once: every campaign completed (or is suspended)\n  1  with --once: a campaign stopped or failed; or something was left on the wire\n  2  the configuration, the ledger or the state folder cannot be used; nothing was sent"
)]
pub struct RunArgs {
    /// Files or folders with YAML or JSON.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Where the ledger and the status files are.
    #[arg(long, value_name = "DIR", default_value = ".mailfleet", env = "MAILFLEET_STATE")]
    pub state: PathBuf,
    /// End when every campaign has ended. A fault in the configuration then sends nothing.
    #[arg(long)]
    pub once: bool,
    /// Send everything into Maildirs below STATE/dry-run instead; the real ledger is neither read nor written.
    #[arg(long)]
    pub dry_run: bool,
    /// Secrets as NAMESPACE/NAME/KEY files.
    #[arg(long, value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
    /// When a line of the ledger counts as durable: `full` survives a loss of power, `normal` a crash of the process.
    #[arg(long, value_enum, default_value_t = SynchronousArg::Full)]
    pub synchronous: SynchronousArg,
    /// How long what is on the wire may take when told to stop.
    #[arg(long, default_value = "30s", value_name = "DURATION")]
    pub grace: Span,
    /// No progress, only warnings and errors.
    #[arg(long, short)]
    pub quiet: bool,
}

/// See [`Synchronous`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SynchronousArg {
    /// Fsync before every message.
    Full,
    /// Fsync at checkpoints.
    Normal,
}

/// The exit code for a configuration that cannot be used.
pub const EXIT_CONFIGURATION: u8 = 2;

/// Runs the command.
pub async fn run(args: RunArgs) -> ExitCode {
    let (state_dir, removed) = match state_dir(&args) {
        Ok(state_dir) => state_dir,
        Err(message) => return refuse(&message),
    };
    if removed {
        text::tell("the messages of the last dry run were removed");
    }
    let options = Options::of_process(args.secrets_dir.clone(), Some(state_dir.clone()));
    let snapshots = match snapshots(&args, &options) {
        Ok(snapshots) => snapshots,
        Err(message) => return refuse(&message),
    };
    for warning in super::validate::renamed(&snapshots.borrow(), &state_dir) {
        text::tell(&warning.to_string());
    }
    if !report_findings(&snapshots.borrow(), args.once) {
        return refuse("The configuration has faults, and nothing was sent. Mend them; `mailfleet validate` shows the same.");
    }
    let synchronous = if args.synchronous == SynchronousArg::Full { Synchronous::Full } else { Synchronous::Normal };
    let opening = state_dir.clone();
    let ledger =
        tokio::task::spawn_blocking(move || Ledger::open(&opening, LedgerOptions { synchronous, ..LedgerOptions::default() })).await;
    let ledger = match ledger {
        Ok(Ok(ledger)) => ledger,
        Ok(Err(error)) => return refuse(&error.to_string()),
        Err(error) => return refuse(&error.to_string()),
    };
    let (view, seen) = watch::channel(View::default());
    let shown = (!args.quiet).then(|| tokio::spawn(progress::show(seen)));
    let engine = EngineOptions { state_dir, once: args.once, dry_run: args.dry_run, grace: args.grace.std() };
    let result = engine::run(engine, ledger.clone(), snapshots, view, told_to_stop()).await;
    if let Some(shown) = shown {
        // The channel is closed now: the last line comes out, then the task ends.
        let _ = tokio::time::timeout(Duration::from_secs(2), shown).await;
    }
    // The last handle waits for the database.
    let _ = tokio::task::spawn_blocking(move || drop(ledger)).await;
    match result {
        Err(error) => refuse(&error.to_string()),
        Ok(ended) => {
            for (key, state, why) in &ended.failed {
                text::tell(&format!("campaign {key}: {state:?}: {why}"));
            }
            if !ended.clean {
                text::tell("something was still on the wire when the time was over; its outcome is settled at the next start");
            }
            if ended.failed.is_empty() && ended.clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}

fn refuse(message: &str) -> ExitCode {
    text::tell(message);
    ExitCode::from(EXIT_CONFIGURATION)
}

/// The state folder; a dry run has one of its own, made anew each time.
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

fn snapshots(args: &RunArgs, options: &Options) -> Result<watch::Receiver<Arc<Snapshot>>, String> {
    if args.once {
        // The sender is dropped: one snapshot is all there is.
        return Ok(watch::channel(Arc::new(Files::load_once(&args.paths, options))).1);
    }
    Files::watch(&args.paths, options).map(|(_, receiver)| receiver).map_err(|error| format!("the files cannot be watched: {error}"))
}

/// Tells what is wrong; false when that forbids to start.
fn report_findings(snapshot: &Snapshot, once: bool) -> bool {
    for finding in snapshot.findings.iter().filter(|finding| finding.severity != crate::source::Severity::Note) {
        text::tell(&finding.to_string());
    }
    !(once && snapshot.faults().next().is_some())
}

/// Resolves on SIGTERM or Ctrl-C.
pub(crate) async fn told_to_stop() {
    let interrupt = tokio::signal::ctrl_c();
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => {
            let _ = interrupt.await;
        }
    }
}
