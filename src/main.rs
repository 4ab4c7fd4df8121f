//! The command line; wiring only.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = mailfleet::cli::Cli::parse();
    mailfleet::cli::logs::begin(cli.log_format());
    mailfleet::cli::run(cli)
}
