//! `mailfleet why`: everything that the ledger knows of one person.

use std::{io, path::PathBuf, process::ExitCode};

use clap::Args;

use super::{
    exit::EXIT_CONFIGURATION,
    keys,
    ledger_args::LedgerArgs,
    present::{OutputFormat, tables},
    text,
};
use crate::{audience::Address, ledger::LedgerReader};

/// Shows everything that the ledger knows of one person: each run with its outcome, server and reply, each event, and why the person is not mailed.
#[derive(Args, Debug)]
#[command(
    after_help = "It reads all messages in the ledger, about a second for three million, and does not disturb a process that sends.\n\nExit codes:\n  0  something is known\n  1  nothing is known about this address\n  2  usage error, or the ledger cannot be read\n\nExamples:\n  mailfleet why ann@example.com\n  mailfleet why ann@example.com -n shop -o json"
)]
pub struct WhyArgs {
    /// The address, in any spelling.
    pub address: String,
    /// Only this namespace. Default: all.
    #[arg(long, short)]
    pub namespace: Option<String>,
    /// The state folder, with the ledger.
    #[arg(long, value_name = "DIR", default_value = text::STATE_DEFAULT, env = text::STATE_VARIABLE)]
    pub state: PathBuf,
    #[command(flatten)]
    pub ledger: LedgerArgs,
    /// The keys of this installation, as `mailfleet run` has them. Default: STATE/keys.
    #[arg(long, value_name = "FILE", env = "MAILFLEET_KEYS")]
    pub keys: Option<PathBuf>,
    /// The output format.
    #[arg(long, short, value_enum, default_value_t = OutputFormat::Table)]
    pub output: OutputFormat,
}

pub fn why(args: &WhyArgs) -> ExitCode {
    match show(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            text::report(&format!("nothing is known about {} in {}", args.address, args.state.display()));
            ExitCode::FAILURE
        }
        Err(message) => {
            text::report(&message);
            ExitCode::from(EXIT_CONFIGURATION)
        }
    }
}

fn show(args: &WhyArgs) -> Result<bool, String> {
    let address = Address::parse(&args.address).map_err(|why| format!("`{}` is not a valid address: {why}", args.address))?;
    let reader = LedgerReader::open(args.ledger.location(&args.state)?).map_err(|error| error.to_string())?;
    let keys = keys::existing(args.keys.as_deref(), &args.state)?;
    let known = reader.known(address.as_str(), args.namespace.as_deref(), keys.as_ref()).map_err(|error| error.to_string())?;
    let is_known = !known.is_empty();
    if is_known || args.output != OutputFormat::Table {
        text::printed(tables::known().print(args.output, &mut io::stdout().lock(), known), "it")?;
    }
    Ok(is_known)
}
