//! `mailfleet test`: one probe by hand, and real messages when an address is given.

use std::{io::Write as _, path::PathBuf, process::ExitCode, sync::Arc};

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{
    deliver::{Verdict, deliver, judge},
    text,
};
use crate::{
    audience::{Address, Recipient},
    decide::ProbeResult,
    engine::{build_server, probe_once},
    message::{self, Content, RenderContext, Template},
    providers::{Outgoing, Permissions, Server},
    resources::{Key, Kind as _, SendingServer, campaign::Mailbox},
    source::{Files, Options, SecretStore},
};

/// Tests servers: connect, TLS, log in. Sends nothing unless --send-to is given.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes:\n  0  every server passed\n  1  a server failed\n  2  usage error, or the configuration has faults\n\nA NAME is looked up in the status files of --state; its Secrets then come from --secrets-dir and the environment."
)]
pub struct TestArgs {
    /// A file or folder with YAML, or a server known to `mailfleet run` (NAME or NAMESPACE/NAME).
    #[arg(default_value = ".", value_name = "PATH|NAME")]
    pub target: String,
    /// Test only this server (NAME or NAMESPACE/NAME).
    #[arg(long, value_name = "NAME")]
    pub server: Option<String>,
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
    #[arg(long, value_name = "DIR", default_value = ".mailfleet", env = "MAILFLEET_STATE")]
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
}

pub async fn run(args: TestArgs) -> ExitCode {
    let refuse = |message: &str| {
        text::report(message);
        ExitCode::from(super::exit::EXIT_CONFIGURATION)
    };
    let (servers, secrets) = match servers(&args) {
        Ok(found) => found,
        Err(message) => return refuse(&message),
    };
    let messages = match messages(&args) {
        Ok(messages) => messages,
        Err(why) => return refuse(&why),
    };
    let mut all_passed = true;
    for (key, server) in servers {
        let tested = test(&key, &server, &secrets, &messages, &args).await;
        all_passed &= tested.verdict.passed;
        print(&key, &server, &tested, args.output);
    }
    if all_passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A message to send: to whom, from whom, and its bytes; without bytes, one is written for the server.
struct TestMessage {
    from: Address,
    to: Address,
    content: Option<Arc<[u8]>>,
}

/// The largest message that is read from a file, in bytes.
const MESSAGE_MAX: u64 = 64 << 20;

fn messages(args: &TestArgs) -> Result<Vec<TestMessage>, String> {
    let from = args.from.as_deref().map(Address::parse).transpose()?;
    let to = args.send_to.iter().map(|to| Address::parse(to)).collect::<Result<Vec<_>, _>>()?;
    if args.message.is_empty() {
        return Ok(to.into_iter().map(|to| TestMessage { from: from.clone().unwrap_or_else(|| to.clone()), to, content: None }).collect());
    }
    let mut messages = Vec::new();
    for path in &args.message {
        let cannot = |why: &dyn std::fmt::Display| format!("{} cannot be sent: {why}", path.display());
        let length = std::fs::metadata(path).map_err(|error| cannot(&error))?.len();
        if length > MESSAGE_MAX {
            return Err(cannot(&"it is larger than 64 MiB"));
        }
        let text = std::fs::read(path).map_err(|error| cannot(&error))?;
        let content = with_crlf(&text);
        let sender = mail_parser::MessageParser::default().parse_headers(&content[..]).and_then(|message| {
            let first = message.from()?.first()?.address.as_deref().map(Address::parse);
            first?.ok()
        });
        let from = from.clone().or(sender).ok_or_else(|| cannot(&"it has no From address; give --from"))?;
        let content: Arc<[u8]> = content.into();
        messages.extend(to.iter().map(|to| TestMessage { from: from.clone(), to: to.clone(), content: Some(content.clone()) }));
    }
    Ok(messages)
}

/// The text with CRLF line endings, whatever the file has.
fn with_crlf(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 32);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let bare = line.strip_suffix(b"\n").map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line));
        out.extend_from_slice(bare);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// The result of a test, and for each message sent its recipient and its outcome.
struct Tested {
    verdict: Verdict,
    outcomes: Vec<serde_json::Value>,
}

impl Tested {
    fn of(verdict: Verdict) -> Self {
        Self { verdict, outcomes: Vec::new() }
    }
}

fn print(key: &Key, server: &SendingServer, tested: &Tested, output: TestOutput) {
    use crate::providers::Provider as _;
    let (provider, verdict) = (&server.spec.provider, &tested.verdict);
    let line = match output {
        TestOutput::Text => {
            let word = if verdict.passed { "ok    " } else { "failed" };
            return text::say(&format!("{word}  {key} ({}, {}): {}", provider.type_name(), provider.address(), verdict.message));
        }
        TestOutput::Json => {
            let mut line = json!({"server": key.to_string(), "type": provider.type_name(), "address": provider.address(), "passed": verdict.passed, "reason": verdict.reason, "message": verdict.message});
            if !tested.outcomes.is_empty() {
                line["outcomes"] = tested.outcomes.clone().into();
            }
            line
        }
    };
    // A closed standard output does not undo what was tested.
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
        servers.retain(|(key, _)| key.to_string() == *wanted || *key.name == **wanted);
    }
    if servers.is_empty() {
        return Err(args.server.as_ref().map_or_else(
            || format!("there is no SendingServer in {}", args.target),
            |name| format!("there is no SendingServer {name} in {}", args.target),
        ));
    }
    Ok((servers, secrets))
}

/// A server whose status a run has written.
fn known_server(args: &TestArgs) -> Result<(Key, SendingServer), String> {
    let (namespace, name) = args.target.split_once('/').unwrap_or((crate::resources::DEFAULT_NAMESPACE, &args.target));
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

async fn test(key: &Key, server: &SendingServer, secrets: &SecretStore, messages: &[TestMessage], args: &TestArgs) -> Tested {
    use crate::providers::Provider as _;
    // The operator runs this command.
    let permissions = Permissions { ambient_credentials: true, sendmail: args.allow_sendmail.clone().into() };
    let handle = match build_server(key, server, secrets, &args.state, permissions) {
        Ok(handle) => handle,
        Err(problem) => return Tested::of(Verdict::failed(problem.reason, problem.message)),
    };
    let (probed, _) = probe_once(handle.clone(), &server.spec.probe(), &server.spec.provider.address()).await;
    let (reason, message) = match probed {
        ProbeResult::Failed(failure) => return Tested::of(Verdict::failed(failure.reason, failure.message)),
        ProbeResult::Succeeded => ("ProbeSucceeded", "Connection successful."),
        ProbeResult::NotProbeable => ("NotProbeable", "This type cannot be probed without sending."),
    };
    let tested = if messages.is_empty() {
        Tested::of(Verdict::of(true, reason, message))
    } else {
        send(key, handle.as_ref(), messages).await.unwrap_or_else(Tested::of)
    };
    handle.close().await;
    tested
}

/// Sends real messages together.
async fn send(key: &Key, server: &dyn Server, messages: &[TestMessage]) -> Result<Tested, Verdict> {
    let composed = messages.iter().map(|message| compose(key, message)).collect::<Result<Vec<_>, _>>();
    let batch = composed.map_err(|why| Verdict::failed("InvalidContent", why))?;
    let outcomes = deliver(server, batch).await?;
    let verdicts: Vec<Verdict> = messages.iter().zip(outcomes).map(|(message, outcome)| judge(message.to.as_str(), outcome)).collect();
    let outcomes = verdicts.iter().zip(messages);
    let outcomes =
        outcomes.map(|(verdict, message)| json!({"to": message.to.as_str(), "reason": verdict.reason, "message": verdict.message}));
    let outcomes: Vec<_> = outcomes.collect();
    let passed = verdicts.iter().filter(|verdict| verdict.passed).count();
    let mut verdicts = verdicts.into_iter();
    let first = if passed == messages.len() { verdicts.next() } else { verdicts.find(|verdict| !verdict.passed) };
    let first = first.ok_or_else(|| Verdict::failed("ProtocolError", "The server gave no outcome."))?;
    let message = match messages.len() {
        1 => first.message,
        all => format!("{passed} of {all} messages were accepted. {}", first.message),
    };
    Ok(Tested { verdict: Verdict { message, ..first }, outcomes })
}

fn compose(key: &Key, message: &TestMessage) -> Result<Outgoing, String> {
    let TestMessage { from, to, content } = message;
    if let Some(content) = content {
        return Ok(Outgoing {
            token: 0,
            mail_from: Arc::from(from.to_wire()),
            rcpt_to: Arc::from(to.to_wire()),
            needs_8bit: !content.is_ascii(),
            needs_smtputf8: false,
            content: content.clone().into(),
            run: Arc::default(),
            signature: None,
            reference: None,
        });
    }
    let content = Content {
        from: Mailbox { name: Some("Mailfleet".to_owned()), address: from.as_str().to_owned() },
        reply_to: None,
        subject: format!("Test of sending server {key}"),
        html: None,
        text: Some(format!("This message was sent by `mailfleet test` through the sending server {key}.\nIt works.\n").into()),
        mjml: None,
        headers: Vec::new(),
        unsubscribe_url: None,
        one_click: false,
        attachments: Vec::new(),
        parts: None,
        preheader: None,
        variant_field: None,
        variants: Vec::new(),
    };
    let joined = |faults: Vec<message::Fault>| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let template = Template::compile(&content).map_err(joined)?;
    let fields = serde_json::json!({"email": to.as_str()}).to_string();
    let recipient = Recipient::from_json(&fields)?;
    let now = jiff::Timestamp::now();
    let run = now.as_millisecond().to_string();
    let message_id = message::message_id(0, &key.namespace, &key.name, &run, to.as_str(), from.domain());
    let context = RenderContext { message_id: &message_id, date: now, campaign: "test", senders: None, link: None };
    let rendered = template.render(&recipient, &context).map_err(|error| error.to_string())?;
    Ok(Outgoing {
        token: 0,
        mail_from: Arc::from(from.to_wire()),
        rcpt_to: Arc::from(to.to_wire()),
        content: rendered.content,
        needs_8bit: rendered.needs_8bit,
        needs_smtputf8: rendered.needs_smtputf8,
        run: Arc::default(),
        signature: None,
        reference: None,
    })
}
