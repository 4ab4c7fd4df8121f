//! `mailfleet run`: watches YAML, reconciles, dispatches.

mod dry;
mod kubernetes;
mod public;

use std::{
    collections::HashSet,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::{Args, ValueEnum};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
    task::AbortHandle,
};

use self::public::{Face, PublicArgs};
use super::{
    control,
    progress::{self, Progress},
    text::{self, Commands},
};
use crate::{
    bounces::{Listener, Origin},
    dns::resolver_address,
    egress::Egress,
    engine::{self, CampaignNote, Ended, EngineError, EngineOptions, FailedCampaign, Returns, View},
    feedback::{Batch, Intake},
    ledger::{Ledger, LedgerError, LedgerErrorKind, LedgerOptions, LedgerReader, Synchronous, has_ledger},
    meta::bound::counted,
    resources::{Duration as Span, Key, fate::Fate},
    serve::{Admin, Health, ProcessPhase, admin},
    source::{Files, Finding, Options, Severity, Snapshot, StatusSink},
    token::unsubscribe::Tokens,
};

/// New findings that are told at a time.
const NEW_FINDINGS_MAX: usize = 10;

/// Watches YAML, keeps probing servers, and sends campaigns.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes:\n  0  stopped by a signal; with --once: every campaign completed or is suspended\n  1  a campaign stopped or failed (--once), or messages were left on the wire\n  2  configuration, ledger or state folder cannot be used; nothing was sent\n  3  another process took over the ledger or the lead; this one sends no more"
)]
pub struct RunArgs {
    /// Files or folders with YAML or JSON. In folders, hidden names and what a .mailfleetignore excludes are skipped. Default: this folder.
    #[arg(conflicts_with = "kubernetes", value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Exclude from folders what matches this gitignore pattern; repeatable.
    #[arg(long, value_name = "PATTERN", conflicts_with = "kubernetes")]
    pub exclude: Vec<String>,
    /// The state folder, with the ledger and the status files.
    #[arg(long, value_name = "DIR", default_value = text::STATE_DEFAULT, env = text::STATE_VARIABLE)]
    pub state: PathBuf,
    /// Watch the three kinds in a cluster instead of files, as a controller.
    #[arg(long)]
    pub kubernetes: bool,
    /// Exit when every campaign has ended. With a fault in the configuration, nothing is sent.
    #[arg(long, conflicts_with = "kubernetes")]
    pub once: bool,
    /// Write all messages into Maildirs below STATE/dry-run instead, and exit. Start times, suspension and limits do not hold there,
    /// and the real ledger is neither read nor written.
    #[arg(long, conflicts_with = "kubernetes")]
    pub dry_run: bool,
    /// With --dry-run: only the first N recipients of each campaign.
    #[arg(long, value_name = "N", requires = "dry_run", value_parser = clap::value_parser!(u32).range(1..))]
    pub first: Option<u32>,
    /// Refuse to start without a ledger: in a CI job or a fresh checkout, a missing one means that everybody would be mailed again.
    #[arg(long, conflicts_with = "dry_run")]
    pub expect_ledger: bool,
    /// Secrets as NAMESPACE/NAME/KEY files.
    #[arg(long, value_name = "DIR", conflicts_with = "kubernetes")]
    pub secrets_dir: Option<PathBuf>,
    /// When a ledger entry counts as durable: `full` survives a power failure, `normal` a crash of the process.
    #[arg(long, value_enum, default_value_t = SynchronousArg::Full)]
    pub synchronous: SynchronousArg,
    /// Fetch audiences from public addresses only, and let customers' servers (those outside --plan-namespace) connect to no
    /// others: no loopback, private, link-local or other special address, whether by name or by redirect. Default: true with
    /// --kubernetes, false without.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub deny_private_networks: Option<bool>,
    /// The resolver for the DNS records of servers' identities: an IP address, with `:PORT` where it is not 53. Default: this machine's
    /// (/etc/resolv.conf). Nothing else is resolved through it.
    #[arg(long, value_name = "ADDRESS", env = "MAILFLEET_RESOLVER", value_parser = resolver_address)]
    pub resolver: Option<SocketAddr>,
    /// A program that the operator's servers of type sendmail may run; repeatable.
    #[arg(long, value_name = "PATH")]
    pub allow_sendmail: Vec<PathBuf>,
    /// Serve /livez, /readyz and /metrics over HTTP, without authentication. Without an address: 127.0.0.1:9091.
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, require_equals = true, default_missing_value = admin::DEFAULT_ADDRESS)]
    pub admin_address: Option<SocketAddr>,
    /// Take bounces at this address, by SMTP or LMTP, for servers with `feedback.bounces: Listener`: from a mail server in front, or as
    /// the host of the return path's MX record. It takes mail to return paths of Mailfleet's own messages and nothing else.
    #[arg(long, value_name = "ADDRESS", env = "MAILFLEET_BOUNCE_ADDRESS", conflicts_with_all = ["once", "dry_run"])]
    pub bounce_address: Option<SocketAddr>,
    /// How people, mailbox providers and vendors reach this process, behind a proxy that ends TLS.
    #[command(flatten)]
    pub public: PublicArgs,
    /// The only namespace whose plans count; campaigns and servers in any other belong to customers. Default: all namespaces.
    #[arg(long, value_name = "NAMESPACE")]
    pub plan_namespace: Option<String>,
    /// How long messages on the wire may take to finish after a signal to stop.
    #[arg(long, default_value = "30s", value_name = "DURATION")]
    pub grace: Span,
    /// Show no progress, only warnings and errors.
    #[arg(long, short)]
    pub quiet: bool,
    /// Options of --kubernetes. The last, since their heading holds for all options that follow.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

impl RunArgs {
    /// Where audiences and customers' servers may be: files are written by the person who runs them, campaigns in a cluster by others.
    fn egress(&self) -> Egress {
        if self.deny_private_networks.unwrap_or(self.kubernetes) { Egress::PublicOnly } else { Egress::Everywhere }
    }
}

/// Options of --kubernetes.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Kubernetes")]
pub struct ClusterArgs {
    /// The kubeconfig file. Default: KUBECONFIG, ~/.kube/config, or the pod's service account.
    #[arg(long, value_name = "FILE", requires = "kubernetes")]
    pub kubeconfig: Option<PathBuf>,
    /// Watch only this namespace; repeatable. Default: the whole cluster.
    #[arg(long = "namespace", value_name = "NAMESPACE", requires = "kubernetes")]
    pub namespaces: Vec<String>,
    /// The namespace of the Lease that elects the leader. Default: the pod's, or `default`.
    #[arg(long, value_name = "NAMESPACE", requires = "kubernetes")]
    pub lease_namespace: Option<String>,
    /// The name of the Lease.
    #[arg(long, value_name = "NAME", default_value = "mailfleet")]
    pub lease_name: String,
    /// How long a dead leader keeps the lead: 3s to 5m.
    #[arg(long, value_name = "DURATION", default_value = "15s")]
    pub lease_duration: Span,
}

/// See [`Synchronous`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SynchronousArg {
    /// An fsync before messages leave.
    Full,
    /// An fsync at checkpoints only.
    Normal,
}

/// The exit code for a configuration that cannot be used.
pub const EXIT_CONFIGURATION: u8 = 2;

/// The exit code of a process that was superseded by another.
pub const EXIT_SUPERSEDED: u8 = 3;

pub async fn run(args: RunArgs) -> ExitCode {
    if args.expect_ledger && LedgerReader::open(&args.state).is_err_and(|error| error.kind == LedgerErrorKind::Missing) {
        let state = args.state.display();
        return refuse(&format!(
            "There is no ledger in {state}, and --expect-ledger is given. Nothing was sent, because everybody might be mailed twice. Restore {state}/ledger.db, or give the folder that has it with --state; leave --expect-ledger out where nothing was ever sent."
        ));
    }
    let ended = if args.kubernetes { kubernetes::run(args).await } else { run_files(args).await };
    ended.unwrap_or_else(|message| refuse(&message))
}

/// Files mode. An error is why nothing was sent.
async fn run_files(args: RunArgs) -> Result<ExitCode, String> {
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
    if !is_dry {
        ledger_elsewhere(&args.paths, &state_dir)?;
        if args.once && is_ci(std::env::var("CI").ok().as_deref()) && !has_ledger(&state_dir) {
            text::report(&format!(
                "CI is set, and there is no ledger in {}: a new one begins, and whoever an earlier job mailed is mailed again. Keep this folder from job to job, and give --expect-ledger after the first one (docs/gitops.md, \"Sending from CI\").",
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
            "Dry run: nothing leaves this machine. Messages are written below {}; start times, suspension and limits do not hold.",
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

/// A process that sends, from whichever source: its endpoints, its ledger, the engine and its progress.
struct Process {
    args: RunArgs,
    state_dir: PathBuf,
    face: Face,
    intake: Intake,
    batches: mpsc::Receiver<Batch>,
    health: Health,
    view: watch::Sender<View>,
    seen: watch::Receiver<View>,
}

impl Process {
    /// Serves the endpoints that are wanted.
    async fn start(args: RunArgs, state_dir: PathBuf) -> Result<Self, String> {
        let (view, seen) = watch::channel(View::default());
        let health = Health::new(seen.clone());
        if let Some(address) = args.admin_address {
            let admin = Admin::bind(address)
                .await
                .map_err(|error| format!("--admin-address {address} cannot be used: {error}. Choose another."))?;
            let address = admin.address().unwrap_or(address);
            text::report(&format!("http://{address} serves /livez, /readyz and /metrics"));
            tokio::spawn(admin.serve(health.clone()));
        }
        // What comes back before this process leads waits there, or is told to come again.
        let (intake, batches) = Intake::new();
        let face = args.public.open(&state_dir, args.dry_run, intake.clone(), seen.clone()).await?;
        Ok(Self { args, state_dir, face, intake, batches, health, view, seen })
    }

    async fn open_ledger(&self) -> Result<Ledger, LedgerError> {
        let synchronous = if self.args.synchronous == SynchronousArg::Full { Synchronous::Full } else { Synchronous::Normal };
        let (state_dir, options) = (self.state_dir.clone(), LedgerOptions { synchronous, ..LedgerOptions::default() });
        match tokio::task::spawn_blocking(move || Ledger::open(&state_dir, options)).await {
            Ok(result) => result,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Runs the engine until it ends, and closes the ledger; returns what was said meanwhile, too.
    async fn send(
        self,
        ledger: Ledger,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        sink: StatusSink,
        stop: impl Future<Output = ()>,
    ) -> Result<(Ended, Progress), EngineError> {
        let Self { args, state_dir, face, intake, batches, view, seen, .. } = self;
        let Face { keys, links, listening } = face;
        let commands = Commands::with_state(&state_dir);
        let shown = if args.quiet {
            None
        } else {
            let before = sent_before(state_dir.clone()).await;
            // Of a process that goes on, they are soon out of sight.
            let findings = if args.once { told(&snapshots.borrow()).map(|finding| finding.message.clone()).collect() } else { Vec::new() };
            let options = progress::Options { before, commands: commands.clone(), findings, once: args.once };
            Some(tokio::spawn(progress::show(seen.clone(), options)))
        };
        let is_quiet = args.quiet || args.kubernetes;
        if let Some(keys) = &keys
            && !ledger.adopt_keys(keys.clone()).await?
        {
            text::report(
                "People were removed by `mailfleet forget` with a key that is not among the keys of this process: they may be mailed again. Add the old key to the file (docs/unsubscribe.md, \"Keys\").",
            );
        }
        let (came_back, recording) = engine::record(ledger.clone(), batches);
        let control = control::serve(&state_dir, &ledger, keys.clone());
        let returns = Returns {
            unsubscribe: keys.as_ref().map(Tokens::new),
            keys: keys.map(Arc::new),
            intake: Some(intake.clone()),
            listens: args.bounce_address.is_some(),
        };
        let listener = listen(args.bounce_address, &returns).await?;
        let options = EngineOptions {
            state_dir,
            once: args.once,
            dry_run: args.dry_run,
            grace: args.grace.std(),
            plan_namespace: args.plan_namespace.clone(),
            egress: args.egress(),
            resolver: args.resolver,
            allow_sendmail: args.allow_sendmail.into(),
            came_back,
            links,
            returns,
        };
        let result = engine::run(options, ledger.clone(), snapshots, sink, view, stop).await;
        if let Some(listener) = listener {
            listener.abort();
        }
        let mut said = Progress::silent(commands);
        if let Some(shown) = shown
            // The channel is closed now: the last line is printed, then the task ends.
            && let Ok(Ok(shown)) = tokio::time::timeout(Duration::from_secs(2), shown).await
        {
            said = shown;
        }
        // What was brought before is recorded.
        drop((intake, listening, control));
        let _ = tokio::time::timeout(Duration::from_secs(2), recording).await;
        // The last handle waits for the database.
        let _ = tokio::task::spawn_blocking(move || drop(ledger)).await;
        if !is_quiet && result.is_ok() {
            for line in progress::left_behind(&seen.borrow(), &command_line()) {
                text::report(&line);
            }
        }
        result.map(|ended| (ended, said))
    }
}

/// Takes bounces where it is wanted, once this process leads and has the ledger.
async fn listen(address: Option<SocketAddr>, returns: &Returns) -> Result<Option<AbortHandle>, EngineError> {
    let Some(address) = address else { return Ok(None) };
    let cannot = |why: String| EngineError::CannotListen(format!("--bounce-address {address} cannot be used: {why}"));
    let Some(intake) = returns.intake.clone() else {
        return Err(cannot("what comes back is not recorded in this version. Leave it out.".to_owned()));
    };
    let listener = Listener::bind(address).await.map_err(|error| cannot(format!("{error}. Choose another.")))?;
    text::report(&format!("{} takes bounces by SMTP and LMTP", listener.address().unwrap_or(address)));
    let (keys, unsubscribe) = (returns.keys.clone(), returns.unsubscribe.clone());
    let origin = Origin { keys, unsubscribe, server: None, source: "bounce listener".into(), unread: Arc::default() };
    Ok(Some(tokio::spawn(listener.serve(origin, intake)).abort_handle()))
}

/// What earlier processes sent, for the last line of this one. Only for people: without an answer the line does not say it.
async fn sent_before(state_dir: PathBuf) -> progress::Before {
    let runs = tokio::task::spawn_blocking(move || LedgerReader::open(&state_dir).and_then(|reader| reader.runs())).await;
    let runs = runs.ok().and_then(Result::ok).unwrap_or_default();
    let of_run = runs.into_iter().map(|run| {
        let key = run.record.key;
        ((Key::new(&*key.namespace, &*key.campaign), key.run), run.counts.fates[Fate::Accepted])
    });
    of_run.collect()
}

/// The command that starts this process again.
fn command_line() -> String {
    let words = std::env::args().skip(1).map(|word| text::quoted(&word));
    std::iter::once("mailfleet".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

/// Reports how it ended, but for what was said already.
fn finish(result: Result<(Ended, Progress), EngineError>) -> ExitCode {
    match result {
        Err(EngineError::Ledger(error)) if error.kind == LedgerErrorKind::Superseded => {
            text::report(&error.to_string());
            ExitCode::from(EXIT_SUPERSEDED)
        }
        Err(error) => refuse(&error.to_string()),
        Ok((ended, said)) => {
            for FailedCampaign { campaign, state, why } in
                ended.failed.iter().filter(|failed| !said.has_said(&failed.campaign, &failed.why))
            {
                text::report(&format!("campaign {campaign}: {state:?}: {}", said.told(why)));
            }
            for CampaignNote { campaign, message } in ended.notes.iter().filter(|note| !said.has_said(&note.campaign, &note.message)) {
                text::report(&format!("campaign {campaign}: {}", said.told(message)));
            }
            if !ended.clean {
                text::report("the grace period ended with messages still on the wire; the next start resolves their outcome");
            }
            if ended.failed.is_empty() && ended.clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}

fn refuse(message: &str) -> ExitCode {
    text::report(message);
    ExitCode::from(EXIT_CONFIGURATION)
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
fn told(snapshot: &Snapshot) -> impl Iterator<Item = &Finding> {
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

/// Resolves on SIGTERM, Ctrl-C, or SIGHUP when the terminal is closed, unless `nohup` had that ignored. From this call on, not from
/// the first poll, none of them ends the process at once.
pub(crate) fn told_to_stop() -> impl Future<Output = ()> + Send + 'static {
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let hang_up = (!is_hang_up_ignored()).then(|| signal(SignalKind::hangup()));
    async move {
        let told = |of: std::io::Result<Signal>| async {
            match of {
                Ok(mut signal) => drop(signal.recv().await),
                // It cannot be heard, and ends the process as ever.
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            () = told(interrupt) => {}
            () = told(terminate) => {}
            () = async { match hang_up {
                Some(hang_up) => told(hang_up).await,
                None => std::future::pending().await,
            } } => {}
        }
    }
}

/// Whether this process was started with SIGHUP ignored (`nohup`): it is to outlive its terminal then. As Linux tells it; elsewhere
/// it is taken for not ignored.
fn is_hang_up_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // Signal 1 is the lowest bit.
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
