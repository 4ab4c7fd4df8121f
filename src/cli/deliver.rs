//! Messages that a person sends by hand: handed to a server, and what became of each, in words.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::{
    message::Rendered,
    providers::{Outcome, Outgoing, Server},
};

/// What became of something that a person tried.
pub(super) struct Verdict {
    pub passed: bool,
    pub reason: String,
    pub message: String,
}

impl Verdict {
    pub fn failed(reason: impl ToString, message: impl Into<String>) -> Self {
        Self::of(false, reason, message)
    }

    pub fn of(passed: bool, reason: impl ToString, message: impl Into<String>) -> Self {
        Self { passed, reason: reason.to_string(), message: message.into() }
    }
}

/// A message that belongs to no run, as it is handed over.
pub(super) fn outgoing(rendered: Rendered, mail_from: Arc<str>, rcpt_to: Arc<str>) -> Outgoing {
    let Rendered { content, needs_8bit, needs_smtputf8 } = rendered;
    Outgoing { token: 0, mail_from, rcpt_to, content, needs_8bit, needs_smtputf8, run: Arc::default(), signature: None, reference: None }
}

/// Hands messages to a server, and gives the outcome of each in their order.
///
/// # Errors
/// When the server did not give each message one outcome.
pub(super) async fn deliver(server: &dyn Server, batch: Vec<Outgoing>) -> Result<Vec<Outcome>, Verdict> {
    let count = batch.len();
    let (sender, mut received) = mpsc::unbounded_channel();
    // As the dispatcher does: no more at a time than the server handles well.
    let mut rest = (0..).zip(batch).map(|(token, message)| Outgoing { token, ..message }).peekable();
    while rest.peek().is_some() {
        server.deliver(rest.by_ref().take(server.carriage().batch.max(1)).collect(), sender.clone()).await;
    }
    drop(sender);
    let mut outcomes = Vec::with_capacity(count);
    while let Some(delivered) = received.recv().await {
        outcomes.push((delivered.message.token, delivered.outcome));
    }
    if outcomes.len() != count {
        let message = format!("The server gave {} outcomes for {count} messages.", outcomes.len());
        return Err(Verdict::failed("ProtocolError", message));
    }
    outcomes.sort_by_key(|(token, _)| *token);
    Ok(outcomes.into_iter().map(|(_, outcome)| outcome).collect())
}

/// What became of a message to an address.
pub(super) fn judge(to: &str, outcome: Outcome) -> Verdict {
    match outcome {
        Outcome::Accepted { reply } => {
            Verdict::of(true, "Accepted", format!("Connection successful; the message to {to} was accepted: {reply}"))
        }
        Outcome::Refused(refusal) if refusal.is_permanent => {
            let reason = refusal.name();
            match refusal.cause {
                // It names the reply, and says what to do.
                Some(failure) => Verdict::failed(failure.reason, failure.message),
                None => Verdict::failed(reason, format!("Connection successful, but the message to {to} was refused: {}", refusal.reply)),
            }
        }
        Outcome::Refused(refusal) => {
            let reply = &refusal.reply;
            Verdict::failed(
                refusal.name(),
                format!("Connection successful, but the message to {to} was deferred; try again later: {reply}"),
            )
        }
        Outcome::ServerFailed(failure) => Verdict::failed(failure.reason, failure.message),
        Outcome::Unknown(failure) => {
            Verdict::failed(failure.reason, format!("It is not known whether the message was accepted: {}", failure.message))
        }
    }
}
