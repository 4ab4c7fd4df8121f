//! The command line: one file for each command, and what they share.

pub mod crds;
pub mod demo;
pub mod get;
pub mod plugin;
pub mod present;
pub mod progress;
pub mod resume;
pub mod run;
pub mod schema;
pub mod sink;
pub mod test;
pub mod text;
pub mod validate;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

/// The number of the signal of a file beyond the process's limit, on Linux and macOS.
const SIGXFSZ: i32 = 25;

/// Declarative email sending over many servers.
#[derive(Parser, Debug)]
#[command(
    name = "mailfleet",
    version,
    about,
    long_about = "Declarative email sending over many servers.\n\nPeople commit SendingServer, Plan and Campaign as YAML. Mailfleet tests every server, sets it Active or Inactive with status conditions, and sends campaigns through the servers that the plan grants, in the configured weights."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Watch YAML, keep servers tested, and send campaigns.
    Run(run::RunArgs),
    /// Check YAML, offline: every fault with file, line and column.
    Validate(validate::ValidateArgs),
    /// Test servers by hand: connect, TLS, log in; one real message on request.
    Test(test::TestArgs),
    /// Show servers, plans or campaigns as they are, or the types of servers.
    Get(get::GetArgs),
    /// Let a campaign that was stopped go on, or mail recipients of unknown outcome again.
    Resume(resume::ResumeArgs),
    /// All of it in one minute, on this machine; nothing leaves it.
    Demo(demo::DemoArgs),
    /// A local SMTP server that takes everything, for tries, tests and benchmarks.
    Sink(sink::SinkArgs),
    /// Test whether a plugin keeps the contract.
    Plugin(plugin::PluginArgs),
    /// Print the CustomResourceDefinitions for Kubernetes.
    Crds(crds::CrdsArgs),
    /// Print the JSON Schema for editors.
    Schema(schema::SchemaArgs),
}

/// Runs a command.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Validate(args) => validate::validate(&args),
        Command::Get(args) => get::get(&args),
        Command::Crds(args) => crds::crds(&args),
        Command::Schema(args) => schema::schema(&args),
        Command::Resume(args) => on_runtime(resume::run(args)),
        Command::Demo(args) => on_runtime(demo::run(args)),
        Command::Test(args) => on_runtime(test::run(args)),
        Command::Sink(args) => on_runtime(sink::run(args)),
        Command::Plugin(args) => on_runtime(plugin::run(args)),
        Command::Run(args) => on_runtime(run::run(args)),
    }
}

fn on_runtime(command: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            {
                let _guard = runtime.enter();
                // A handler stays when its receiver goes. Without it, a file that grows beyond the limit of the process (`ulimit -f`) ends
                // it at once; with it, the write fails, and says so.
                if let Err(error) = signal(SignalKind::from_raw(SIGXFSZ)) {
                    text::tell(&format!("a file that is too large may end the process: its signal cannot be handled: {error}"));
                }
            }
            let code = runtime.block_on(command);
            // A feeder that waits for a slow URL must not hold the process.
            runtime.shutdown_timeout(std::time::Duration::from_secs(1));
            code
        }
        Err(error) => {
            text::tell(&format!("the runtime cannot be started: {error}"));
            ExitCode::from(run::EXIT_CONFIGURATION)
        }
    }
}
