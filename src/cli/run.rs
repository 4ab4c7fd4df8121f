//! `mailfleet run`: watches YAML, reconciles, dispatches.

mod dashboard;
mod dry;
mod files;
mod kubernetes;
mod public;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration as StdDuration};

use clap::{Args, ValueEnum};
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
};

use self::{
    dashboard::DashboardArgs,
    public::{Face, PublicArgs},
};
use super::{
    control,
    exit::{EXIT_CONFIGURATION, EXIT_SUPERSEDED},
    ledger_args::LedgerArgs,
    logs::LogFormat,
    progress::{self, Progress},
    text::{self, Commands},
};
use crate::{
    bounces::{Listener, Origin},
    dns::resolver_address,
    egress::Egress,
    engine::{self, CampaignNote, Ended, EngineError, EngineOptions, FailedCampaign, Returns, View},
    feedback::{Batch, Intake},
    ledger::{DATABASE_FILES, Ledger, LedgerError, LedgerErrorKind, LedgerOptions, LedgerPlace, LedgerReader, Synchronous},
    resources::{Duration, Key, fate::Fate},
    serve::{Admin, Health, admin},
    source::{Snapshot, StatusSink},
    token::unsubscribe::Tokens,
    traces::Traces,
};

/// Watches YAML, keeps probing servers, and sends campaigns.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes:\n  0  stopped by a signal; with --once: every campaign completed or is suspended\n  1  a campaign stopped or failed (--once), or messages were left on the wire\n  2  configuration, ledger or state folder cannot be used; nothing was sent\n  3  another process took over the ledger or the lead; this one sends no more"
)]
pub struct RunArgs {
    /// Files or folders with YAML or JSON. In folders, hidden names and what a .mailfleetignore excludes are skipped. Default: this folder.
    #[arg(conflicts_with = "kubernetes", value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Skip files and folders that match this gitignore pattern; repeatable.
    #[arg(long, value_name = "PATTERN", conflicts_with = "kubernetes")]
    pub exclude: Vec<String>,
    /// The state folder, with the ledger and the status files.
    #[arg(long, value_name = "DIR", default_value = text::STATE_DEFAULT, env = text::STATE_VARIABLE)]
    pub state: PathBuf,
    #[command(flatten)]
    pub ledger: LedgerArgs,
    /// Watch the three kinds in a cluster instead of files, as a controller.
    #[arg(long)]
    pub kubernetes: bool,
    /// Exit when every campaign has ended. With a fault in the configuration, nothing is sent.
    #[arg(long, conflicts_with = "kubernetes")]
    pub once: bool,
    /// Write all messages into Maildirs below STATE/dry-run instead, and exit. Start times, suspension and limits do not apply,
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
    /// Fetch audiences from public addresses only, and connect to customers' servers (those outside --plan-namespace) at no
    /// others: no loopback, private, link-local or other special address, whether by name or by redirect. Default: true with
    /// --kubernetes, false without.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub deny_private_networks: Option<bool>,
    /// The resolver for the DNS records of servers' identities: an IP address, with `:PORT` if it is not 53. Default: this machine's
    /// (/etc/resolv.conf). Nothing else is resolved through it.
    #[arg(long, value_name = "ADDRESS", env = "MAILFLEET_RESOLVER", value_parser = resolver_address)]
    pub resolver: Option<SocketAddr>,
    /// Allow the operator's servers of type sendmail to run this program; repeatable.
    #[arg(long, value_name = "PATH")]
    pub allow_sendmail: Vec<PathBuf>,
    /// Serve /livez, /readyz and /metrics over HTTP, without authentication, and the dashboard. Without an address: 127.0.0.1:9091.
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, require_equals = true, default_missing_value = admin::DEFAULT_ADDRESS)]
    pub admin_address: Option<SocketAddr>,
    /// Who may see the dashboard.
    #[command(flatten)]
    pub dashboard: DashboardArgs,
    /// Accept bounces at this address, over SMTP or LMTP, for servers with `feedback.bounces: Listener`: from a mail server in front, or
    /// as the host of the return path's MX record. It accepts mail to return paths of Mailfleet's own messages and nothing else.
    #[arg(long, value_name = "ADDRESS", env = "MAILFLEET_BOUNCE_ADDRESS", conflicts_with_all = ["once", "dry_run"])]
    pub bounce_address: Option<SocketAddr>,
    /// How people, mailbox providers and vendors reach this process, behind a proxy that terminates TLS.
    #[command(flatten)]
    pub public: PublicArgs,
    /// Send traces of turns, probes and batches to this OpenTelemetry collector, by OTLP over HTTP: `http://localhost:4318`. Its other
    /// variables (OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER, …) apply.
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT", hide_env_values = true)]
    pub otlp_endpoint: Option<String>,
    /// The form of what is written to standard error: `json` is one object a line.
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text", env = "MAILFLEET_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// The only namespace whose plans count; campaigns and servers in any other belong to customers. Default: all namespaces.
    #[arg(long, value_name = "NAMESPACE")]
    pub plan_namespace: Option<String>,
    /// How long messages on the wire may take to finish after a stop signal.
    #[arg(long, default_value = "30s", value_name = "DURATION")]
    pub grace: Duration,
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
    /// How long a leader that died keeps the Lease: 3s to 5m.
    #[arg(long, value_name = "DURATION", default_value = "15s")]
    pub lease_duration: Duration,
}

/// See [`Synchronous`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SynchronousArg {
    /// An fsync before messages leave.
    Full,
    /// An fsync at checkpoints only.
    Normal,
}

pub async fn run(args: RunArgs) -> ExitCode {
    let location = match args.ledger.location(&args.state) {
        Ok(location) => location,
        Err(message) => return refuse(&message),
    };
    if args.expect_ledger && LedgerReader::open(location.clone()).is_err_and(|error| error.kind == LedgerErrorKind::Missing) {
        return refuse(&missing(&location));
    }
    let traces = match Traces::begin(args.otlp_endpoint.as_deref()) {
        Ok(traces) => traces,
        Err(message) => return refuse(&message),
    };
    let ended = if args.kubernetes { kubernetes::run(args).await } else { files::run(args).await };
    let code = ended.unwrap_or_else(|message| refuse(&message));
    if let Some(traces) = traces {
        traces.end().await;
    }
    code
}

/// Said where there should be a ledger, and is none.
fn missing(location: &LedgerPlace) -> String {
    const WHY: &str = "and --expect-ledger is given. Nothing was sent, because everybody might be mailed twice.";
    const ELSE: &str = "leave out --expect-ledger only if nothing was ever sent.";
    if location.database().is_some() {
        return format!("There is no ledger at {location}, {WHY} Restore the database, or name the one that has it with --ledger; {ELSE}");
    }
    let state = location.state_dir().display();
    format!("There is no ledger in {state}, {WHY} Restore {state}/ledger.db, or name the folder that has it with --state; {ELSE}")
}

/// A process that sends, from whichever source: its endpoints, its ledger, the engine and its progress.
struct Process {
    args: RunArgs,
    state_dir: PathBuf,
    ledger: LedgerPlace,
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
        // A dry run has a ledger of its own.
        let ledger = if args.dry_run { (&state_dir).into() } else { args.ledger.location(&state_dir)? };
        let files: &[&str] = if ledger.database().is_some() { &[] } else { &DATABASE_FILES };
        let health = Health::new(seen.clone()).with_disk(state_dir.clone(), files);
        if let Some(address) = args.admin_address {
            let admin = Admin::bind(address)
                .await
                .map_err(|error| format!("--admin-address {address} cannot be used: {error}. Choose another."))?;
            let address = admin.address().unwrap_or(address);
            let commands = if args.kubernetes { Commands::in_cluster(None) } else { Commands::with_state(&state_dir) };
            let options = args.dashboard.options(&ledger, commands)?;
            text::report(&format!("http://{address} serves the dashboard, /livez, /readyz and /metrics"));
            tokio::spawn(admin.serve(health.clone(), options));
        }
        // What comes back before this process leads waits there, or is told to come again.
        let (intake, batches) = Intake::new();
        let face = args.public.open(&state_dir, args.dry_run, intake.clone(), seen.clone()).await?;
        Ok(Self { args, state_dir, ledger, face, intake, batches, health, view, seen })
    }

    async fn open_ledger(&self) -> Result<Ledger, LedgerError> {
        let synchronous = if self.args.synchronous == SynchronousArg::Full { Synchronous::Full } else { Synchronous::Normal };
        let (location, options) = (self.ledger.clone(), LedgerOptions { synchronous, ..LedgerOptions::default() });
        match tokio::task::spawn_blocking(move || Ledger::open(location, options)).await {
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
        let Self { args, state_dir, ledger: location, face, intake, batches, view, seen, .. } = self;
        let Face { keys, links, listening } = face;
        let commands = Commands::with_state(&state_dir);
        let shown = if args.quiet {
            None
        } else {
            let before = sent_before(location.clone()).await;
            // Of a process that goes on, they are soon out of sight.
            let findings =
                if args.once { files::told(&snapshots.borrow()).map(|finding| finding.message.clone()).collect() } else { Vec::new() };
            let options = progress::Options { before, commands: commands.clone(), findings, once: args.once };
            Some(tokio::spawn(progress::show(seen.clone(), options)))
        };
        let is_quiet = args.quiet || args.kubernetes;
        if let Some(keys) = &keys
            && !ledger.adopt_keys(keys.clone()).await?
        {
            text::report(
                "People were removed by `mailfleet forget` with a key that this process does not have: they may be mailed again. Add the old key to the file (docs/unsubscribe.md, \"Keys\").",
            );
        }
        let (came_back, recording) = engine::record(ledger.clone(), batches);
        let history = (!args.dry_run).then(|| tokio::spawn(engine::record_history(ledger.clone(), location, seen.clone())));
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
            && let Ok(Ok(shown)) = tokio::time::timeout(StdDuration::from_secs(2), shown).await
        {
            said = shown;
        }
        // What was brought before is recorded.
        drop((intake, listening, control));
        let _ = tokio::time::timeout(StdDuration::from_secs(2), recording).await;
        if let Some(mut history) = history
            && tokio::time::timeout(StdDuration::from_secs(2), &mut history).await.is_err()
        {
            history.abort();
        }
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
        return Err(cannot("feedback is not recorded in this version. Leave the option out.".to_owned()));
    };
    let listener = Listener::bind(address).await.map_err(|error| cannot(format!("{error}. Choose another.")))?;
    text::report(&format!("{} accepts bounces over SMTP and LMTP", listener.address().unwrap_or(address)));
    let (keys, unsubscribe) = (returns.keys.clone(), returns.unsubscribe.clone());
    let origin = Origin { keys, unsubscribe, server: None, source: "bounce listener".into(), unread: Arc::default() };
    Ok(Some(tokio::spawn(listener.serve(origin, intake)).abort_handle()))
}

/// What earlier processes sent, for the last line of this one. Only for people: without an answer the line does not say it.
async fn sent_before(location: LedgerPlace) -> progress::Before {
    let runs = tokio::task::spawn_blocking(move || LedgerReader::open(location).and_then(|reader| reader.runs())).await;
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
