//! The command line: one file per command, and what they share.

mod check;
pub(crate) mod completions;
mod control;
pub mod crds;
mod deliver;
mod demo;
mod diff;
mod dns;
mod exit;
mod forget;
mod get;
mod import;
mod json_log;
mod keys;
mod kubectl;
mod ledger;
mod ledger_args;
pub mod logs;
mod look;
pub(crate) mod man;
mod objects;
mod plugin;
mod present;
mod preview;
mod progress;
mod promote;
mod resume;
mod review;
mod run;
pub mod schema;
pub(crate) mod screen;
mod send;
mod signals;
mod simulate;
mod sink;
mod suppressions;
mod test;
mod text;
pub mod validate;
mod wait;
mod why;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

/// The signal for a file that exceeds the process's size limit, on Linux and macOS.
const SIGXFSZ: i32 = 25;

/// Declarative email sending over many servers.
#[derive(Parser, Debug)]
#[command(
    name = "mailfleet",
    version,
    about,
    long_about = "Declarative email sending over many servers.\n\nSendingServer, Plan and Campaign are YAML under version control. Mailfleet probes every server, marks it Active or Inactive with status conditions, and sends campaigns through the servers that their plan grants, by the configured weights."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The command line of this process; as kubectl's plugin, `get` and `wait` look at the cluster. Ends the process where it is wrong.
    #[must_use]
    pub fn of_process() -> Self {
        let words: Vec<std::ffi::OsString> = std::env::args_os().collect();
        if !kubectl::is_plugin(&words) {
            return Self::parse();
        }
        let matches = Self::command().bin_name(kubectl::NAME).get_matches_from(kubectl::in_cluster(words));
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Watch YAML, keep probing servers, and send campaigns.
    Run(Box<run::RunArgs>),
    /// Check YAML offline: every fault with file, line and column.
    Validate(validate::ValidateArgs),
    /// Compare two versions of the objects: what a change would mean, for a pull request.
    Diff(diff::DiffArgs),
    /// Run campaigns in simulated time: who sends how much on which day, and when it ends.
    Simulate(simulate::SimulateArgs),
    /// Review a pull request: validate, try the servers that change, compare, preview; as one comment on GitHub, GitLab or Forgejo.
    Review(review::ReviewArgs),
    /// Show the messages of a campaign, as they would be sent, without any server.
    Preview(preview::PreviewArgs),
    /// Check a campaign's messages for problems: placeholders, size, links, images, styles, and bulk sender requirements.
    Check(check::CheckArgs),
    /// Send one message of a campaign to yourself, without a run.
    Send(send::SendArgs),
    /// Test servers: connect, set up TLS, log in; on request, send one real message.
    Test(test::TestArgs),
    /// Show the DNS records that senders' domains need, and whether they are published; or print them as a zone file.
    Dns(dns::DnsArgs),
    /// Show servers, plans, campaigns and runs, or the types of servers.
    Get(get::GetArgs),
    /// Wait until the objects of a folder are ready, and optionally set a commit status.
    Wait(wait::WaitArgs),
    /// Resume a stopped campaign, or mail recipients of unknown outcome again.
    Resume(resume::ResumeArgs),
    /// Begin the next step of a campaign's rollout.
    Promote(promote::PromoteArgs),
    /// Show, add, remove, import or export who is not mailed.
    Suppressions(suppressions::SuppressionsArgs),
    /// Show everything the ledger knows about one person: every run, server, reply and event.
    Why(why::WhyArgs),
    /// Remove what is known about a person; a keyed hash stays, so that the person is not mailed again.
    Forget(forget::ForgetArgs),
    /// Check the ledger, show its size, bring it up to date, or move it to another folder or database.
    Ledger(ledger::LedgerCommandArgs),
    /// Move in from listmonk, Mautic, AcelleMail or KumoMTA: write what they keep as a folder of YAML.
    Import(Box<import::ImportArgs>),
    /// Run a tour of some seconds on this machine; no mail leaves it.
    Demo(demo::DemoArgs),
    /// Run a local SMTP server that accepts everything, for trials, tests and benchmarks.
    Sink(sink::SinkArgs),
    /// Check whether a plugin conforms to the contract.
    Plugin(plugin::PluginArgs),
    /// Print the CustomResourceDefinitions for Kubernetes.
    Crds(crds::CrdsArgs),
    /// Print the JSON Schema for editors.
    Schema(schema::SchemaArgs),
    /// Print a script that completes commands and options in a shell.
    Completions(completions::CompletionsArgs),
    /// Print the manual page, or write those of all commands into a folder.
    Man(man::ManArgs),
}

impl Cli {
    /// How what happens is logged.
    #[must_use]
    pub fn log_format(&self) -> logs::LogFormat {
        match &self.command {
            Command::Run(args) => args.log_format,
            _ => logs::LogFormat::Text,
        }
    }
}

/// Runs a command.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Validate(args) => validate::validate(&args),
        Command::Get(args) => on_runtime(get::run(args)),
        Command::Crds(args) => crds::crds(&args),
        Command::Schema(args) => schema::schema(&args),
        Command::Completions(args) => completions::completions(args),
        Command::Man(args) => man::man(&args),
        Command::Resume(args) => on_runtime(resume::run(args)),
        Command::Promote(args) => on_runtime(promote::run(args)),
        Command::Suppressions(args) => on_runtime(suppressions::run(args)),
        Command::Forget(args) => on_runtime(forget::run(args)),
        Command::Why(args) => why::why(&args),
        Command::Ledger(args) => ledger::ledger(args),
        Command::Diff(args) => on_runtime(diff::run(args)),
        Command::Simulate(args) => on_runtime(simulate::run(args)),
        Command::Review(args) => on_runtime(review::run(args)),
        Command::Preview(args) => on_runtime(preview::run(args)),
        Command::Check(args) => on_runtime(check::run(args)),
        Command::Send(args) => on_runtime(send::run(args)),
        Command::Import(args) => on_runtime(import::run(*args)),
        Command::Dns(args) => on_runtime(dns::run(args)),
        Command::Wait(args) => on_runtime(wait::run(args)),
        Command::Demo(args) => on_runtime(demo::run(args)),
        Command::Test(args) => on_runtime(test::run(args)),
        Command::Sink(args) => on_runtime(sink::run(args)),
        Command::Plugin(args) => on_runtime(plugin::run(args)),
        Command::Run(args) => on_runtime(run::run(*args)),
    }
}

fn on_runtime(command: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            {
                let _guard = runtime.enter();
                // A handler outlives its receiver. Without it, a file that grows beyond `ulimit -f` ends the process at once; with it,
                // the write fails with an error.
                if let Err(error) = signal(SignalKind::from_raw(SIGXFSZ)) {
                    text::report(&format!(
                        "the signal for files beyond `ulimit -f` cannot be handled, so that such a file would end the process: {error}"
                    ));
                }
            }
            let code = runtime.block_on(command);
            // A feeder that waits for a slow URL must not hold up the exit.
            runtime.shutdown_timeout(std::time::Duration::from_secs(1));
            code
        }
        Err(error) => {
            text::report(&format!("the runtime cannot be started: {error}"));
            ExitCode::from(exit::EXIT_CONFIGURATION)
        }
    }
}
