//! `mailfleet forget`: removes what is known of a person.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use super::{control, exit::EXIT_CONFIGURATION, ledger_args::LedgerArgs, text};
use crate::{
    audience::{Address, canonical},
    meta::bound::counted,
    serve::control::{Answer, Asked, Forget, Forgotten},
};

/// The folders of the state folder that hold messages: those of servers of type outbox, and of dry runs.
const OUTBOXES: [&str; 2] = ["outbox", "dry-run"];
/// How deep they are searched.
const DEPTH_MAX: usize = 8;
/// How much of a message is searched: its header.
const HEAD_MAX: u64 = 64 * 1024;

/// Removes what is known of a person: the address, replies, template fields, events, bad rows and messages in outboxes.
#[derive(Args, Debug)]
#[command(
    after_help = "What stays is a keyed hash of the address, so that the person is not mailed again; the key is in the file `keys` of the state folder (or --keys), not in the ledger. Remove the address from your audiences too. The ledger is rewritten, which takes some seconds per million messages; a process that sends waits meanwhile. Backups, logs, and what servers and vendors keep are not affected.\n\nExit codes:\n  0  removed\n  1  something is left: messages still in progress\n  2  usage error, or nothing could be removed\n\nExamples:\n  mailfleet forget ann@example.com\n  mailfleet forget ann@example.com -n shop"
)]
pub struct ForgetArgs {
    /// The address, in any spelling.
    pub address: String,
    /// Only in this namespace. Default: all namespaces, and outboxes.
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
}

pub async fn run(args: ForgetArgs) -> ExitCode {
    match forget(&args).await {
        Ok(code) => code,
        Err(message) => {
            text::report(&message);
            ExitCode::from(EXIT_CONFIGURATION)
        }
    }
}

async fn forget(args: &ForgetArgs) -> Result<ExitCode, String> {
    let address = Address::parse(&args.address).map_err(|why| format!("`{}` is not a valid address: {why}", args.address))?;
    let asked = Forget { address: address.as_str().to_owned(), namespace: args.namespace.clone() };
    let Answer::Forgotten(Forgotten { told, is_left }) =
        control::ask(&args.ledger.location(&args.state)?, args.keys.as_deref(), Asked::Forget(asked)).await?
    else {
        return Err("the process that sends did not answer; it may be a different version".to_owned());
    };
    text::report(&told);
    if args.namespace.is_none() {
        let person = canonical(address.as_str());
        let mut removed = 0;
        for name in OUTBOXES {
            remove_messages(&args.state.join(name), &person, 0, &mut removed)
                .map_err(|error| format!("messages below {} could not all be removed: {error}", args.state.join(name).display()))?;
        }
        text::report(&format!("removed from outboxes: {}", counted(removed, "message", "messages")));
    }
    Ok(if is_left { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Removes the messages below a folder that are addressed to a person.
fn remove_messages(folder: &Path, person: &str, depth: usize, removed: &mut u64) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() && depth < DEPTH_MAX {
            remove_messages(&entry.path(), person, depth + 1, removed)?;
        } else if kind.is_file() && is_to(&entry.path(), person)? {
            fs::remove_file(entry.path())?;
            *removed += 1;
        }
    }
    Ok(())
}

/// Whether a message names the person among its recipients.
fn is_to(path: &Path, person: &str) -> io::Result<bool> {
    let mut head = Vec::new();
    fs::File::open(path)?.take(HEAD_MAX).read_to_end(&mut head)?;
    let head = String::from_utf8_lossy(&head);
    let header = head.split("\r\n\r\n").next().and_then(|header| header.split("\n\n").next()).unwrap_or_default();
    let recipients = header.lines().filter(|line| {
        let name = line.split(':').next().unwrap_or_default();
        ["to", "delivered-to", "x-original-to", "x-rcpt-to"].iter().any(|known| name.eq_ignore_ascii_case(known))
    });
    let addresses = recipients.flat_map(|line| line.split(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | ',' | ';')));
    Ok(addresses.into_iter().any(|word| word.contains('@') && canonical(word) == person))
}
