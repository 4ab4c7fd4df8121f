//! Whom a refusal is about, and what a known answer means. Pure.

use std::time::Duration;

use super::{Blocker, Outcome, replies};
use crate::meta::Reason;

/// Whom a refusal is about. The server itself is not among them: that is [`Outcome::ServerFailed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// This recipient (5.1.1, a full mailbox, greylisting): no other server would do better.
    Recipient,
    /// This message needs what the server does not have (SMTPUTF8, 8BITMIME, its size): another server may take it.
    Message,
    /// The content of the campaign at this server (spam, policy).
    Content,
    /// The From address or reverse-path at this server.
    Sender,
    /// Unknown: a refusal whose words are in no table.
    Unclear,
}

/// A message that was certainly not taken, while the server itself is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Whom it is about.
    pub scope: Scope,
    /// Permanently refused (5yz), and not for now (4yz).
    pub is_permanent: bool,
    /// The server's reply, as the ledger keeps it (250 characters at most).
    pub reply: String,
    /// For [`Scope::Content`] and [`Scope::Sender`]: reason and words for the campaign's condition, with what to do.
    pub cause: Option<Blocker>,
    /// When to try again, according to the server.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal that another attempt would not change.
    #[must_use]
    pub fn permanent(scope: Scope, reply: impl Into<String>) -> Self {
        Self { scope, is_permanent: true, reply: reply.into(), cause: None, retry_after: None }
    }

    /// A temporary refusal.
    #[must_use]
    pub fn transient(scope: Scope, reply: impl Into<String>) -> Self {
        Self { is_permanent: false, ..Self::permanent(scope, reply) }
    }

    /// Whether it says that the address takes no mail and will not, so that it is not to be mailed again. A full mailbox, a policy or
    /// an account that is suspended say less.
    #[must_use]
    pub fn is_of_no_mailbox(&self) -> bool {
        if self.scope != Scope::Recipient || !self.is_permanent {
            return false;
        }
        let (code, enhanced, words) = replies::codes_before(&self.reply);
        let answer = Answer { stage: Stage::Recipient, code, enhanced, words, sender: "", recipient: "" };
        replies::says_takes_none(&answer) == Some(true)
    }

    /// Scope and finality in one word, for tables: `RecipientRejected`, `SenderDeferred`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match (self.scope, self.is_permanent) {
            (Scope::Recipient, true) => "RecipientRejected",
            (Scope::Recipient, false) => "RecipientDeferred",
            (Scope::Message, true) => "MessageRejected",
            (Scope::Message, false) => "MessageDeferred",
            (Scope::Content, true) => "ContentRejected",
            (Scope::Content, false) => "ContentDeferred",
            (Scope::Sender, true) => "SenderRejected",
            (Scope::Sender, false) => "SenderDeferred",
            (Scope::Unclear, true) => "UnclearRejected",
            (Scope::Unclear, false) => "UnclearDeferred",
        }
    }

    /// The same with the reason and the words for a condition.
    #[must_use]
    pub fn because(self, cause: Blocker) -> Self {
        Self { cause: Some(cause), ..self }
    }

    /// The same with the time to wait that the server named.
    #[must_use]
    pub fn after(self, retry_after: Option<Duration>) -> Self {
        Self { retry_after, ..self }
    }
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl Outcome {
    /// This recipient is permanently refused.
    #[must_use]
    pub fn rejected(reply: impl Into<String>) -> Self {
        Refusal::permanent(Scope::Recipient, reply).into()
    }

    /// This recipient is temporarily refused.
    #[must_use]
    pub fn deferred(reply: impl Into<String>, retry_after: Option<Duration>) -> Self {
        Refusal::transient(Scope::Recipient, reply).after(retry_after).into()
    }
}

/// The stage of the conversation at which an answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Before the first command: the connection itself is refused.
    Greeting,
    /// EHLO or HELO.
    Hello,
    /// AUTH.
    Login,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Recipient,
    /// DATA, BDAT or the content.
    Content,
    /// A vendor's HTTP API, which judges everything at once.
    Api,
}

/// An answer to be understood.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The command that it answers.
    pub stage: Stage,
    /// The SMTP code, 400 to 599; 0 where there is none (a vendor's API).
    pub code: u16,
    /// The enhanced status code (RFC 3463), where the answer has one.
    pub enhanced: Option<&'a str>,
    /// The text, lines joined by spaces.
    pub words: &'a str,
    /// The reverse-path or From address of the message, which servers quote.
    pub sender: &'a str,
    /// The recipient of the message, which servers quote.
    pub recipient: &'a str,
}

/// Whether an answer is about the message or about the server, which decides who is tried next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The message is refused, and the server is healthy.
    Refused(Scope),
    /// The server: login, our EHLO name or address, quota, rate, connections, outage.
    Server,
}

/// What a known answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// What it is about.
    pub fault: Fault,
    /// Becomes the reason of a condition.
    pub reason: Reason,
    /// What to do, as a sentence; it names the cause.
    pub advice: &'static str,
    /// Only a person can fix it.
    pub needs_person: bool,
    /// When to try again, where that is known for all such answers.
    pub retry_after: Option<Duration>,
    /// The connection is used up (RFC 5321, 4.5.3.1.10): a fresh one may be taken, if this one has taken anything.
    pub ends_session: bool,
    /// Where the answer is permanent: the recipient's address takes no mail and will not. No such mailbox, no such domain; not a full
    /// one, and nothing that the recipient or their provider may think better of.
    pub takes_none: bool,
}
