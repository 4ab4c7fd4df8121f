//! The command line; wiring only.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = mailfleet::cli::Cli::of_process();
    mailfleet::cli::logs::begin(cli.log_format());
    mailfleet::cli::run(cli)
}
