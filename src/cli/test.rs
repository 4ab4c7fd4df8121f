//! `mailfleet test`: one probe by hand, and one real message when an address is given.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::{Args, ValueEnum};
use serde_json::json;
use tokio::sync::mpsc;

use super::text;
use crate::{
    audience::{Address, Recipient},
    decide::ProbeResult,
    engine::{lookup, probe_once},
    message::{self, Content, RenderContext, Template},
    providers::{Outcome, Outgoing, Permissions, Server},
    resources::{Key, Kind as _, SendingServer, campaign::Mailbox},
    source::{Files, Options, SecretStore},
};

/// Tests servers: connect, TLS, log in. Sends nothing unless --send-to is given.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes:\n  0  every server passed\n  1  a server failed\n  2  wrong use, or the configuration has faults\n\nA NAME is looked up in the status files below --state; its Secrets then come from --secrets-dir and the environment."
)]
pub struct TestArgs {
    /// A file or folder with YAML, or the name of a server that `mailfleet run` knows (NAME or NAMESPACE/NAME).
    #[arg(value_name = "PATH|NAME")]
    pub target: String,
    /// Only this server (NAME or NAMESPACE/NAME).
    #[arg(long, value_name = "NAME")]
    pub server: Option<String>,
    /// Send one real message to this address through each tested server.
    #[arg(long, value_name = "ADDRESS")]
    pub send_to: Option<String>,
    /// The sender of that message; the receiver's own address when absent.
    #[arg(long, value_name = "ADDRESS", requires = "send_to")]
    pub from: Option<String>,
    /// Where the status files are.
    #[arg(long, value_name = "DIR", default_value = ".mailfleet", env = "MAILFLEET_STATE")]
    pub state: PathBuf,
    /// Secrets as NAMESPACE/NAME/KEY files.
    #[arg(long, value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
    /// A program that servers of type sendmail may run; can be given several times.
    #[arg(long, value_name = "PATH")]
    pub allow_sendmail: Vec<PathBuf>,
    /// The form of the output.
    #[arg(long, short, value_enum, default_value_t = TestOutput::Text)]
    pub output: TestOutput,
}

/// The forms of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TestOutput {
    /// A line a server.
    Text,
    /// One JSON object a line.
    Json,
}

/// Runs the command.
pub async fn run(args: TestArgs) -> ExitCode {
    let refuse = |message: &str| {
        text::tell(message);
        ExitCode::from(super::run::EXIT_CONFIGURATION)
    };
    let (servers, secrets) = match servers(&args) {
        Ok(found) => found,
        Err(message) => return refuse(&message),
    };
    let addresses = match (parse_address(args.send_to.as_deref()), parse_address(args.from.as_deref())) {
        (Ok(to), Ok(from)) => to.map(|to| (from.unwrap_or_else(|| to.clone()), to)),
        (Err(why), _) | (_, Err(why)) => return refuse(&why),
    };
    let mut all_passed = true;
    for (key, server) in servers {
        let verdict = test(&key, &server, &secrets, addresses.as_ref(), &args).await;
        all_passed &= verdict.passed;
        print(&key, &server, &verdict, args.output);
    }
    if all_passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse_address(text: Option<&str>) -> Result<Option<Address>, String> {
    text.map(Address::parse).transpose()
}

/// What a test found.
struct Verdict {
    passed: bool,
    reason: String,
    message: String,
}

impl Verdict {
    fn failed(reason: impl ToString, message: impl Into<String>) -> Self {
        Self { passed: false, reason: reason.to_string(), message: message.into() }
    }
}

fn print(key: &Key, server: &SendingServer, verdict: &Verdict, output: TestOutput) {
    use crate::providers::Provider as _;
    use std::io::Write as _;
    let provider = &server.spec.provider;
    let line = match output {
        TestOutput::Text => {
            let word = if verdict.passed { "ok    " } else { "failed" };
            format!("{word}  {key} ({}, {}): {}", provider.type_name(), provider.address(), verdict.message)
        }
        TestOutput::Json => {
            json!({"server": key.to_string(), "type": provider.type_name(), "address": provider.address(), "passed": verdict.passed, "reason": verdict.reason, "message": verdict.message}).to_string()
        }
    };
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

type Found = (Vec<(Key, SendingServer)>, SecretStore);

/// The servers to test, and where their secrets are.
fn servers(args: &TestArgs) -> Result<Found, String> {
    let path = PathBuf::from(&args.target);
    let (mut servers, secrets): Found = if path.exists() {
        let snapshot = Files::load_once(&[path], &Options::of_process(args.secrets_dir.clone(), Some(args.state.clone())));
        if snapshot.faults().next().is_some() {
            let faults = snapshot.faults().map(ToString::to_string).collect::<Vec<_>>().join("\n");
            return Err(format!("the configuration has faults:\n{faults}"));
        }
        (snapshot.servers.iter().map(|(key, sourced)| (key.clone(), (*sourced.object).clone())).collect(), snapshot.secrets.clone())
    } else {
        let snapshot = Files::load_once(&[], &Options::of_process(args.secrets_dir.clone(), None));
        (vec![known_server(args)?], snapshot.secrets.clone())
    };
    if let Some(wanted) = &args.server {
        servers.retain(|(key, _)| key.to_string() == *wanted || key.name == *wanted);
    }
    if servers.is_empty() {
        return Err(args.server.as_ref().map_or_else(
            || format!("there is no SendingServer in {}", args.target),
            |name| format!("there is no SendingServer {name} in {}", args.target),
        ));
    }
    Ok((servers, secrets))
}

/// A server that a run has written a status of.
fn known_server(args: &TestArgs) -> Result<(Key, SendingServer), String> {
    let (namespace, name) = args.target.split_once('/').unwrap_or((crate::resources::DEFAULT_NAMESPACE, &args.target));
    let path = args.state.join("status").join(namespace).join(SendingServer::KIND).join(format!("{name}.yaml"));
    let text = std::fs::read_to_string(&path).map_err(|_| {
        format!(
            "{} is neither a path nor a server that is known in {} (no {}). Give a file or folder, or --state.",
            args.target,
            args.state.display(),
            path.display()
        )
    })?;
    let value: serde_json::Value = serde_saphyr::from_str(&text).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let server: SendingServer = serde_json::from_value(value).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    Ok((server.key(), server))
}

async fn test(
    key: &Key,
    server: &SendingServer,
    secrets: &SecretStore,
    addresses: Option<&(Address, Address)>,
    args: &TestArgs,
) -> Verdict {
    use crate::providers::Provider as _;
    // Whoever runs this is the operator of this machine.
    let permissions = Permissions { ambient_credentials: true, sendmail: args.allow_sendmail.clone().into() };
    let handle = match lookup::build_server(key, server, secrets, &args.state, permissions) {
        Ok(handle) => handle,
        Err(problem) => return Verdict::failed(problem.reason, problem.message),
    };
    let (probed, _) = probe_once(handle.clone(), &server.spec.probe(), &server.spec.provider.address()).await;
    let (reason, message) = match probed {
        ProbeResult::Failed(failure) => return Verdict::failed(failure.reason, failure.message),
        ProbeResult::Succeeded => ("ProbeSucceeded", "Connection successful."),
        ProbeResult::NotProbeable => ("NotProbeable", "This type cannot be tested without sending."),
    };
    let verdict = match addresses {
        None => Verdict { passed: true, reason: reason.to_owned(), message: message.to_owned() },
        Some((from, to)) => send(key, handle.as_ref(), from, to).await,
    };
    handle.close().await;
    verdict
}

/// One real message.
async fn send(key: &Key, server: &dyn Server, from: &Address, to: &Address) -> Verdict {
    let message = match compose(key, from, to) {
        Ok(message) => message,
        Err(why) => return Verdict::failed("InvalidContent", why),
    };
    let (outcomes, mut received) = mpsc::unbounded_channel();
    server.deliver(vec![message], outcomes).await;
    match received.recv().await.map(|delivered| delivered.outcome) {
        Some(Outcome::Accepted { reply }) => Verdict {
            passed: true,
            reason: "Accepted".to_owned(),
            message: format!("Connection successful; the message to {} was accepted: {reply}", to.as_str()),
        },
        Some(Outcome::RecipientRejected { reply }) => {
            Verdict::failed("RecipientRejected", format!("Connection successful, but the message to {} was refused: {reply}", to.as_str()))
        }
        Some(Outcome::Deferred { reply, .. }) => Verdict::failed(
            "Deferred",
            format!("Connection successful, but the message to {} was deferred; try again later: {reply}", to.as_str()),
        ),
        Some(Outcome::ServerFailed(failure)) => Verdict::failed(failure.reason, failure.message),
        Some(Outcome::Unknown(failure)) => {
            Verdict::failed(failure.reason, format!("It is not known whether the message was taken: {}", failure.message))
        }
        None => Verdict::failed("ProtocolError", "The server gave no outcome."),
    }
}

fn compose(key: &Key, from: &Address, to: &Address) -> Result<Outgoing, String> {
    let content = Content {
        from: Mailbox { name: Some("Mailfleet".to_owned()), address: from.as_str().to_owned() },
        reply_to: None,
        subject: format!("Test of sending server {key}"),
        html: None,
        text: Some(format!("This message was sent by `mailfleet test` through the sending server {key}.\nIt works.\n")),
        mjml: None,
        headers: Vec::new(),
        unsubscribe_url: None,
        one_click: false,
    };
    let told = |faults: Vec<message::Fault>| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let template = Template::compile(&content).map_err(told)?;
    let fields = serde_json::json!({"email": to.as_str()}).to_string();
    let recipient = Recipient::from_json(&fields)?;
    let now = jiff::Timestamp::now();
    let run = now.as_millisecond().to_string();
    let message_id = message::message_id(0, &key.namespace, &key.name, &run, to.as_str(), from.domain());
    let context = RenderContext { message_id: &message_id, date: now, campaign: "test" };
    let rendered = template.render(&recipient, &context).map_err(|error| error.to_string())?;
    Ok(Outgoing {
        token: 0,
        mail_from: Arc::from(from.to_wire()),
        recipient: Arc::from(to.to_wire()),
        content: rendered.content.into(),
        needs_8bit: rendered.needs_8bit,
        needs_smtputf8: rendered.needs_smtputf8,
        run: Arc::default(),
    })
}
