//! The command line; wiring only.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use mailfleet::cli::screen;
use tracing_subscriber::EnvFilter;

/// The default log filter: the Kubernetes client would log each failed request, and we report what it means.
const QUIET: &str = "warn,kube_client=off,kube_runtime=off";

fn main() -> ExitCode {
    let asked = std::env::var("MAILFLEET_LOG").ok().and_then(|asked| EnvFilter::try_new(asked).ok());
    let filter = asked.unwrap_or_else(|| EnvFilter::new(QUIET));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| screen::Above)
        .with_target(false)
        .with_ansi(screen::has_colours())
        .init();
    mailfleet::cli::run(mailfleet::cli::Cli::parse())
}
