//! `mailfleet test`: one probe by hand, of all servers or of those that a change adds or alters; and real messages when an address is given.

mod changed;
mod messages;
mod tried;

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, ValueEnum};
use futures::{StreamExt as _, stream};

pub(super) use self::{
    changed::{Changes, changes},
    tried::{Asked, TestResult, Tried, markdown, summary, try_server},
};
use super::{
    diff::side::{self, Loaded, Source},
    exit::EXIT_CONFIGURATION,
    look::blocking,
    text,
};
use crate::{
    providers::Permissions,
    resources::{DEFAULT_NAMESPACE, Key, Kind as _, SendingServer},
    source::{Files, Options, SecretStore, Snapshot},
};

/// The exit code when no server failed, and one could not be tried.
const EXIT_NOT_TRIED: u8 = 3;
/// Servers that are tried at a time; each has a connection of its own.
const SERVERS_AT_A_TIME: usize = 8;

/// Tests servers: connect, TLS, log in. Sends nothing unless --send-to is given.
#[derive(Args, Debug)]
#[command(after_help = "\
A NAME is looked up in the status files of --state; its Secrets then come from \
--secrets-dir and the environment.

With --changed-since only the servers are tried that PATH adds, or of which it \
changes the spec or a Secret; a server that is switched off is not. OLD is a side as \
for `mailfleet diff`: git:REV, git:REV:PATH, a folder or a file.

  mailfleet test objects --changed-since git:origin/main -o markdown

Exit codes:
  0  every server passed, or none was to be tried
  1  a server failed
  2  usage error, or the configuration has faults
  3  no server failed, and one could not be tried, since its Secret is not here")]
pub struct TestArgs {
    /// A file or folder with YAML, or a server known to `mailfleet run` (NAME or NAMESPACE/NAME).
    #[arg(default_value = ".", value_name = "PATH|NAME")]
    pub target: String,
    /// Test only this server (NAME or NAMESPACE/NAME).
    #[arg(long, value_name = "NAME")]
    pub server: Option<String>,
    /// Test only servers that differ from those of OLD: git:REV, git:REV:PATH, a folder or a file.
    #[arg(long, value_name = "OLD")]
    pub changed_since: Option<Source>,
    /// Send one real message to this address through each tested server; repeatable, and the messages are then sent together.
    #[arg(long, value_name = "ADDRESS")]
    pub send_to: Vec<String>,
    /// The sender of that message. Default: that of --message, or the recipient's own address.
    #[arg(long, value_name = "ADDRESS", requires = "send_to")]
    pub from: Option<String>,
    /// Send this file, a complete message (RFC 5322), as it is; repeatable, and then each goes to each address.
    #[arg(long, value_name = "FILE", requires = "send_to")]
    pub message: Vec<PathBuf>,
    /// The state folder, with the status files.
    #[arg(long, value_name = "DIR", default_value = text::STATE_DEFAULT, env = text::STATE_VARIABLE)]
    pub state: PathBuf,
    /// Secrets as NAMESPACE/NAME/KEY files.
    #[arg(long, value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
    /// Allow servers of type sendmail to run this program; repeatable.
    #[arg(long, value_name = "PATH")]
    pub allow_sendmail: Vec<PathBuf>,
    /// The output format.
    #[arg(long, short, value_enum, default_value_t = TestOutput::Text)]
    pub output: TestOutput,
}

/// The output formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TestOutput {
    /// One line per server.
    Text,
    /// One JSON object per line.
    Json,
    /// YAML.
    Yaml,
    /// A table in Markdown, for a pull request.
    Markdown,
}

pub async fn run(args: TestArgs) -> ExitCode {
    let refuse = |message: &str| {
        text::report(message);
        ExitCode::from(EXIT_CONFIGURATION)
    };
    let chosen = match chosen(&args).await {
        Ok(chosen) => chosen,
        Err(message) => return refuse(&message),
    };
    let messages = match messages::messages(&args) {
        Ok(messages) => messages,
        Err(why) => return refuse(&why),
    };
    // The operator runs this command.
    let permissions = Permissions { ambient_credentials: true, sendmail: args.allow_sendmail.clone().into() };
    let asked = Asked { secrets: &chosen.secrets, state: &args.state, permissions, messages: &messages };
    // What is sent goes through one server after the other, as its lines are printed.
    let at_a_time = if messages.is_empty() { SERVERS_AT_A_TIME } else { 1 };
    let mut tests = stream::iter(&chosen.servers).map(|(key, server)| try_server(key, server, &asked)).buffered(at_a_time);
    let mut tried = Vec::new();
    while let Some(one) = tests.next().await {
        print_one(&one, args.output);
        tried.push(one);
    }
    print_all(&tried, &chosen, args.output);
    ExitCode::from(exit_code(&tried))
}

/// Tries servers, several at a time, and sends nothing.
pub(super) async fn try_all(servers: &[(Key, SendingServer)], secrets: &SecretStore, state: &Path, permissions: Permissions) -> Vec<Tried> {
    let asked = Asked { secrets, state, permissions, messages: &[] };
    stream::iter(servers).map(|(key, server)| try_server(key, server, &asked)).buffered(SERVERS_AT_A_TIME).collect().await
}

/// The exit code that results of servers make.
pub(super) fn exit_code(tried: &[Tried]) -> u8 {
    let has = |result: TestResult| tried.iter().any(|one| one.result == result);
    match (has(TestResult::Failed), has(TestResult::NotTried)) {
        (true, _) => 1,
        (false, true) => EXIT_NOT_TRIED,
        (false, false) => 0,
    }
}

/// Prints a server as soon as its result is there, where the format has a line for each. A closed standard output does not undo what was
/// tested.
fn print_one(one: &Tried, output: TestOutput) {
    match output {
        TestOutput::Text => text::say(&one.line()),
        TestOutput::Json => {
            let _ = writeln!(io::stdout().lock(), "{}", one.as_json());
        }
        TestOutput::Yaml | TestOutput::Markdown => {}
    }
}

/// Prints what stands behind all servers, or around them.
fn print_all(tried: &[Tried], chosen: &Chosen, output: TestOutput) {
    let mut out = io::stdout().lock();
    let _ = match output {
        TestOutput::Text => {
            drop(out);
            chosen.notes().iter().for_each(|note| text::say(note));
            Ok(())
        }
        TestOutput::Json => Ok(()),
        TestOutput::Yaml => {
            let all: Vec<serde_json::Value> = tried.iter().map(Tried::as_json).collect();
            match serde_saphyr::to_string(&all) {
                Ok(text) => out.write_all(text.as_bytes()),
                Err(error) => Err(io::Error::other(error.to_string())),
            }
        }
        TestOutput::Markdown => out.write_all(markdown("###", tried, &chosen.notes()).as_bytes()),
    };
}

/// The servers to test, and where their secrets are.
struct Chosen {
    servers: Vec<(Key, SendingServer)>,
    secrets: SecretStore,
    /// What was compared, where only changes are tested.
    changes: Option<(String, Changes)>,
}

impl Chosen {
    fn notes(&self) -> Vec<String> {
        self.changes.as_ref().map(|(old, changes)| changes.notes(old)).unwrap_or_default()
    }
}

/// Finds the servers.
async fn chosen(args: &TestArgs) -> Result<Chosen, String> {
    let mut chosen = match &args.changed_since {
        Some(old) => of_change(args, old.clone()).await?,
        None => of_target(args)?,
    };
    if let Some(wanted) = &args.server {
        chosen.servers.retain(|(key, _)| key.to_string() == *wanted || *key.name == **wanted);
    }
    if chosen.servers.is_empty() && (chosen.changes.is_none() || args.server.is_some()) {
        let whose = args.server.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        let which = if chosen.changes.is_some() { " that is added or changed" } else { "" };
        return Err(format!("there is no SendingServer{whose}{which} in {}", args.target));
    }
    Ok(chosen)
}

fn of_target(args: &TestArgs) -> Result<Chosen, String> {
    let path = PathBuf::from(&args.target);
    if !path.exists() {
        let snapshot = Files::load_once(&[], &Options::of_process(args.secrets_dir.clone(), None));
        return Ok(Chosen { servers: vec![known_server(args)?], secrets: snapshot.secrets, changes: None });
    }
    let snapshot = Files::load_once(&[path], &Options::of_process(args.secrets_dir.clone(), Some(args.state.clone())));
    without_faults(&snapshot)?;
    let servers = snapshot.servers.iter().map(|(key, sourced)| (key.clone(), (*sourced.object).clone())).collect();
    Ok(Chosen { servers, secrets: snapshot.secrets, changes: None })
}

async fn of_change(args: &TestArgs, old: Source) -> Result<Chosen, String> {
    let new: Source = args.target.parse()?;
    let options = Options::of_process(args.secrets_dir.clone(), Some(args.state.clone()));
    let (old, new) = sides(old, new, options).await?;
    without_faults(&new.snapshot)?;
    let changes = changes(&old.snapshot, &new.snapshot);
    let servers = changes.servers(&new.snapshot);
    Ok(Chosen { servers, secrets: new.snapshot.secrets.clone(), changes: Some((old.name, changes)) })
}

/// Reads both sides of a change.
///
/// # Errors
/// When one of them is not there, or nothing of it can be read.
pub(super) async fn sides(old: Source, new: Source, options: Options) -> Result<(Loaded, Loaded), String> {
    let options = Options { pipes: true, settles: true, ..options };
    let loaded = blocking(move || {
        let found = (side::find(&old, &new)?, side::find(&new, &old)?);
        let load = |found: side::Found| {
            let name = found.name.clone();
            side::load(found, &options).map_err(|findings| {
                let findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
                format!("nothing of {name} can be read:\n{}", findings.join("\n"))
            })
        };
        Ok::<_, String>((load(found.0)?, load(found.1)?))
    });
    loaded.await
}

fn without_faults(snapshot: &Snapshot) -> Result<(), String> {
    let faults: Vec<String> = snapshot.faults().map(ToString::to_string).collect();
    if faults.is_empty() { Ok(()) } else { Err(format!("the configuration has faults:\n{}", faults.join("\n"))) }
}

/// A server whose status a run has written.
fn known_server(args: &TestArgs) -> Result<(Key, SendingServer), String> {
    let (namespace, name) = args.target.split_once('/').unwrap_or((DEFAULT_NAMESPACE, &args.target));
    let path = args.state.join("status").join(namespace).join(SendingServer::KIND).join(format!("{name}.yaml"));
    let text = std::fs::read_to_string(&path).map_err(|_| {
        format!(
            "{} is neither a path nor a server known in {} (no {}). Give a file or folder, or --state.",
            args.target,
            args.state.display(),
            path.display()
        )
    })?;
    let value: serde_json::Value = serde_saphyr::from_str(&text).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let server: SendingServer = serde_json::from_value(value).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    Ok((server.key(), server))
}
