//! `mailfleet run`: watch, reconcile, dispatch.

mod kubernetes;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::{Args, ValueEnum};
use tokio::sync::watch;

use super::{progress, text};
use crate::{
    egress::Egress,
    engine::{self, Ended, EngineError, EngineOptions, View},
    ledger::{Ledger, LedgerError, LedgerErrorKind, LedgerOptions, Synchronous},
    resources::Duration as Span,
    serve::{Admin, Health, ProcessPhase, admin},
    source::{Files, Options, Snapshot, StatusSink},
};

/// Watches YAML, keeps servers tested, and sends campaigns.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes:\n  0  told to stop; with --once: every campaign completed (or is suspended)\n  1  with --once: a campaign stopped or failed; or something was left on the wire\n  2  the configuration, the ledger or the state folder cannot be used; nothing was sent\n  3  another process has taken the ledger over, or leads; this one sends no more"
)]
pub struct RunArgs {
    /// Files or folders with YAML or JSON. In folders, hidden names are skipped, and so is what a .mailfleetignore leaves out.
    #[arg(required_unless_present = "kubernetes", conflicts_with = "kubernetes", value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Leave out of the folders what this pattern of gitignore fits; may be given several times.
    #[arg(long, value_name = "PATTERN", conflicts_with = "kubernetes")]
    pub exclude: Vec<String>,
    /// Where the ledger and the status files are.
    #[arg(long, value_name = "DIR", default_value = ".mailfleet", env = "MAILFLEET_STATE")]
    pub state: PathBuf,
    /// Watch the three kinds in a cluster instead of files, as a controller.
    #[arg(long)]
    pub kubernetes: bool,
    /// What belongs to --kubernetes.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// End when every campaign has ended. A fault in the configuration then sends nothing.
    #[arg(long, conflicts_with = "kubernetes")]
    pub once: bool,
    /// Send everything into Maildirs below STATE/dry-run instead; the real ledger is neither read nor written.
    #[arg(long, conflicts_with = "kubernetes")]
    pub dry_run: bool,
    /// Secrets as NAMESPACE/NAME/KEY files.
    #[arg(long, value_name = "DIR", conflicts_with = "kubernetes")]
    pub secrets_dir: Option<PathBuf>,
    /// When a line of the ledger counts as durable: `full` survives a loss of power, `normal` a crash of the process.
    #[arg(long, value_enum, default_value_t = SynchronousArg::Full)]
    pub synchronous: SynchronousArg,
    /// Fetch audiences from public addresses only, and connect customers' servers (those outside --plan-namespace) to such only:
    /// no loopback, private, link-local or other special address, also not by a name or a redirect. By default true with
    /// --kubernetes, and false without.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub deny_private_networks: Option<bool>,
    /// A program that the operator's servers of type sendmail may run; can be given several times.
    #[arg(long, value_name = "PATH")]
    pub allow_sendmail: Vec<PathBuf>,
    /// Answer /livez, /readyz and /metrics over HTTP there; without an address on 127.0.0.1:9091. It has no login.
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, require_equals = true, default_missing_value = admin::DEFAULT_ADDRESS)]
    pub admin_address: Option<SocketAddr>,
    /// The only namespace whose plans count; absent: every one. Campaigns and servers of any other are customers'.
    #[arg(long, value_name = "NAMESPACE")]
    pub plan_namespace: Option<String>,
    /// How long what is on the wire may take when told to stop.
    #[arg(long, default_value = "30s", value_name = "DURATION")]
    pub grace: Span,
    /// No progress, only warnings and errors.
    #[arg(long, short)]
    pub quiet: bool,
}

impl RunArgs {
    /// Where audiences and customers' servers may be: whoever writes files runs them, and in a cluster others write campaigns.
    fn egress(&self) -> Egress {
        if self.deny_private_networks.unwrap_or(self.kubernetes) { Egress::PublicOnly } else { Egress::Everywhere }
    }
}

/// What belongs to a cluster.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Kubernetes")]
pub struct ClusterArgs {
    /// The kubeconfig file; absent: KUBECONFIG, ~/.kube/config, or the service account of the pod.
    #[arg(long, value_name = "FILE", requires = "kubernetes")]
    pub kubeconfig: Option<PathBuf>,
    /// Watch this namespace only; may be given several times. Absent: the whole cluster.
    #[arg(long = "namespace", value_name = "NAMESPACE", requires = "kubernetes")]
    pub namespaces: Vec<String>,
    /// The namespace of the Lease by which one replica leads; absent: that of the pod, or `default`.
    #[arg(long, value_name = "NAMESPACE", requires = "kubernetes")]
    pub lease_namespace: Option<String>,
    /// The name of the Lease.
    #[arg(long, value_name = "NAME", default_value = "mailfleet")]
    pub lease_name: String,
    /// How long a leader that died keeps its place: 3s to 5m.
    #[arg(long, value_name = "DURATION", default_value = "15s")]
    pub lease_duration: Span,
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

/// The exit code of a process that another one replaced.
pub const EXIT_SUPERSEDED: u8 = 3;

/// Runs the command.
pub async fn run(args: RunArgs) -> ExitCode {
    if args.kubernetes {
        return kubernetes::run(args).await;
    }
    let (state_dir, removed) = match state_dir(&args) {
        Ok(state_dir) => state_dir,
        Err(message) => return refuse(&message),
    };
    if removed {
        text::tell("the messages of the last dry run were removed");
    }
    let options = Options {
        exclude: args.exclude.clone(),
        settles: true,
        plan_namespace: args.plan_namespace.clone(),
        ..Options::of_process(args.secrets_dir.clone(), Some(state_dir.clone()))
    };
    let snapshots = match snapshots(&args, &options) {
        Ok(snapshots) => snapshots,
        Err(message) => return refuse(&message),
    };
    for warning in super::validate::renamed(&snapshots.borrow(), &state_dir) {
        text::tell(&warning.to_string());
    }
    if !report_findings(&snapshots.borrow(), args.once) {
        return refuse("The configuration has faults, and nothing was sent. Fix them; `mailfleet validate` shows the same.");
    }
    let (view, seen) = watch::channel(View::default());
    let health = match serve_admin(&args, &seen).await {
        Ok(health) => health,
        Err(message) => return refuse(&message),
    };
    let sink = match StatusSink::open_folder(&state_dir) {
        Ok(sink) => sink,
        Err(message) => return refuse(&message),
    };
    let ledger = match open_ledger(&state_dir, args.synchronous).await {
        Ok(ledger) => ledger,
        Err(error) => return refuse(&error.to_string()),
    };
    let shown = (!args.quiet).then(|| tokio::spawn(progress::show(seen)));
    health.enter(ProcessPhase::Leading);
    let engine = EngineOptions {
        state_dir,
        once: args.once,
        dry_run: args.dry_run,
        grace: args.grace.std(),
        plan_namespace: args.plan_namespace.clone(),
        egress: args.egress(),
        allow_sendmail: args.allow_sendmail.clone().into(),
    };
    let stop = async {
        told_to_stop().await;
        health.enter(ProcessPhase::Stopping);
    };
    let result = engine::run(engine, ledger.clone(), snapshots, sink, view, stop).await;
    if let Some(shown) = shown {
        // The channel is closed now: the last line comes out, then the task ends.
        let _ = tokio::time::timeout(Duration::from_secs(2), shown).await;
    }
    close(ledger).await;
    finish(result)
}

/// How the process stands, which the admin endpoint answers when it is wanted.
async fn serve_admin(args: &RunArgs, seen: &watch::Receiver<View>) -> Result<Health, String> {
    let health = Health::new(seen.clone());
    if let Some(address) = args.admin_address {
        let admin =
            Admin::bind(address).await.map_err(|error| format!("--admin-address {address} cannot be used: {error}. Give another."))?;
        let address = admin.address().unwrap_or(address);
        text::tell(&format!("http://{address} answers /livez, /readyz and /metrics"));
        tokio::spawn(admin.serve(health.clone()));
    }
    Ok(health)
}

/// Opens the ledger of a state folder.
async fn open_ledger(state_dir: &Path, synchronous: SynchronousArg) -> Result<Ledger, LedgerError> {
    let synchronous = if synchronous == SynchronousArg::Full { Synchronous::Full } else { Synchronous::Normal };
    let opening = state_dir.to_owned();
    let options = LedgerOptions { synchronous, ..LedgerOptions::default() };
    match tokio::task::spawn_blocking(move || Ledger::open(&opening, options)).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// The last handle waits for the database.
async fn close(ledger: Ledger) {
    let _ = tokio::task::spawn_blocking(move || drop(ledger)).await;
}

/// Tells how it ended.
fn finish(result: Result<Ended, EngineError>) -> ExitCode {
    match result {
        Err(EngineError::Ledger(error)) if error.kind == LedgerErrorKind::Superseded => {
            text::tell(&error.to_string());
            ExitCode::from(EXIT_SUPERSEDED)
        }
        Err(error) => refuse(&error.to_string()),
        Ok(ended) => {
            for (key, state, why) in &ended.failed {
                text::tell(&format!("campaign {key}: {state:?}: {why}"));
            }
            if !ended.clean {
                text::tell("the grace period ended with messages on the wire; their outcome is resolved at the next start");
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
