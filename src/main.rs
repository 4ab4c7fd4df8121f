//! The command line; wiring only.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    mailfleet::cli::logs::begin();
    mailfleet::cli::run(mailfleet::cli::Cli::parse())
}
