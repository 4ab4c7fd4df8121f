//! The real messages that `mailfleet test --send-to` sends.

use std::sync::Arc;

use serde_json::json;

use super::TestArgs;
use crate::{
    audience::{Address, Recipient},
    cli::deliver::{Verdict, deliver, judge, outgoing},
    message::{self, Content, RenderContext, Rendered, Template},
    providers::{Outgoing, Server},
    resources::{Key, campaign::Mailbox},
};

/// A message to send: to whom, from whom, and its bytes; without bytes, one is written for the server.
pub struct TestMessage {
    from: Address,
    to: Address,
    content: Option<Arc<[u8]>>,
}

/// The largest message that is read from a file, in bytes.
const MESSAGE_MAX: u64 = 64 << 20;

/// The messages that are asked for.
///
/// # Errors
/// When an address or a file cannot be used.
pub fn messages(args: &TestArgs) -> Result<Vec<TestMessage>, String> {
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

/// Sends real messages together.
///
/// # Errors
/// When they cannot be made, or the server failed.
pub async fn send(key: &Key, server: &dyn Server, messages: &[TestMessage]) -> Result<(Verdict, Vec<serde_json::Value>), Verdict> {
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
    Ok((Verdict { message, ..first }, outcomes))
}

fn compose(key: &Key, message: &TestMessage) -> Result<Outgoing, String> {
    let TestMessage { from, to, content } = message;
    let (mail_from, rcpt_to) = (Arc::from(from.to_wire()), Arc::from(to.to_wire()));
    if let Some(content) = content {
        let rendered = Rendered { needs_8bit: !content.is_ascii(), needs_smtputf8: false, content: content.clone().into() };
        return Ok(outgoing(rendered, mail_from, rcpt_to));
    }
    let content = Content {
        text: Some(format!("This message was sent by `mailfleet test` through the sending server {key}.\nIt works.\n").into()),
        ..Content::bare(
            Mailbox { name: Some("Mailfleet".to_owned()), address: from.as_str().to_owned() },
            format!("Test of sending server {key}"),
        )
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
    Ok(outgoing(rendered, mail_from, rcpt_to))
}
