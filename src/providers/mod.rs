//! How to talk to a server: one file per type holds its YAML, its probe, its delivery and its tests.
//!
//! Only this room opens sockets to mail servers. Every type maps its own answers to [`Outcome`] and
//! [`Blocker`]; nothing downstream reads error text. A new type is one file and one line in the table below.

mod api;
pub(crate) mod connect;
mod context;
pub(crate) mod diagnose;
mod envelope;
pub(crate) mod gate;
pub(crate) mod http;
mod literal;
mod owed;
mod refusal;
pub mod replies;
mod room;
mod sanitize;
pub(crate) mod scrub;
mod signed;
mod signing;
mod single;
mod structured;
#[macro_use]
mod table;
mod token;
mod verdict;
pub mod webhook;

use context::secret_failure;
pub(crate) use context::secret_line;
pub use context::{Context, Permissions, SecretUse, Secrets};
pub use gate::Gate;
pub use http::Clients;
pub use refusal::{Answer, Fault, Meaning, Refusal, Scope, Stage};
pub use replies::{Status, meaning, says_takes_none, unknown_of_mail};
pub(crate) use sanitize::readable;
pub use sanitize::stable;
pub use signed::{ServerKey, Signatory, Signed};
pub use signing::Signing;

use std::{
    borrow::Cow,
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

pub use crate::meta::Blocker;
use crate::{
    dkim::Fields,
    feedback::MessageReference,
    meta::{Key, Pieces, Rate},
};

/// One message, ready to leave.
#[derive(Debug)]
pub struct Outgoing {
    /// The caller's token; it comes back with the outcome.
    pub token: u64,
    /// The envelope sender (RFC 5321 reverse-path), without angle brackets; empty for the null sender.
    pub mail_from: Arc<str>,
    /// The envelope recipient (RFC 5321 forward-path), without angle brackets.
    pub rcpt_to: Arc<str>,
    /// The message (RFC 5322) without this server's signature, lines ended by CRLF, not dot-stuffed.
    pub content: Pieces,
    /// The content has bytes above 127: 8BITMIME (RFC 6152) is needed.
    pub needs_8bit: bool,
    /// An address or a header field is not ASCII: SMTPUTF8 (RFC 6531) is needed.
    pub needs_smtputf8: bool,
    /// The run that it belongs to, for a vendor's tags or metadata, so that feedback can be matched.
    pub run: Arc<RunLabel>,
    /// What goes before the content; none where this server signs nothing.
    pub signature: Option<Signature>,
    /// Its row in the ledger, for a return path or a vendor's metadata, so that feedback finds it; absent for a message without a row.
    pub reference: Option<MessageReference>,
}

impl Outgoing {
    /// The header fields of the signature; empty without one.
    #[must_use]
    pub fn signature_fields(&self) -> &[u8] {
        self.signature.as_ref().map_or(&[], |signature| &signature.fields)
    }

    /// The size of the whole message, bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.signature_fields().len() + self.content.len()
    }

    /// The whole message: the signature and the content.
    #[must_use]
    pub fn whole(&self) -> Cow<'_, [u8]> {
        match &self.signature {
            Some(signature) => Cow::Owned([&signature.fields, &self.content.whole()[..]].concat()),
            None => self.content.whole(),
        }
    }
}

/// A server's DKIM signatures of a message, which goes back without them.
#[derive(Clone, Debug)]
pub struct Signature {
    /// The header fields, each with its line end.
    pub fields: Arc<[u8]>,
    /// How long they took, with the wait for their turn and for the rest of the batch.
    pub took: Duration,
}

/// A campaign's run, as messages are labelled with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunLabel {
    /// `namespace/name` of the campaign.
    pub campaign: String,
    /// The name of the run.
    pub run: String,
}

/// What became of one message: the four answers to "what happens next".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server has taken it. The reply is kept in the ledger (250 characters at most).
    Accepted {
        /// The server's reply, for example `250 2.0.0 Ok: queued as 4F1`.
        reply: String,
    },
    /// The server is healthy and refuses the message, which was certainly not taken.
    Refused(Box<Refusal>),
    /// The server itself failed, and the message was certainly not taken: it may move to another server.
    ServerFailed(Blocker),
    /// The message was wholly written and the answer never came: it may have been taken.
    Unknown(Blocker),
}

/// What a successful probe found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probed {
    /// The rate windows that the vendor itself sets for the account, and how much of each is used.
    pub quotas: Vec<Quota>,
    /// The largest message that it takes, bytes, where it says so.
    pub size_max: Option<u64>,
}

/// A rate window of a vendor's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The window's size and length.
    pub rate: Rate,
    /// Messages already sent in it, by anybody who uses the account.
    pub used: u64,
}

/// The outcome of one message of a batch.
#[derive(Debug)]
pub struct Delivered {
    /// The message, given back so that it can be sent through another server.
    pub message: Outgoing,
    /// What became of it.
    pub outcome: Outcome,
    /// From writing the end of the message to its reply, for the size of the flight window; none when there was no reply.
    pub round_trip: Option<Duration>,
    /// How long its signature took, for the size of the flight window; zero without one.
    pub signing: Duration,
}

/// How messages are handed to a server: how many a connection carries at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carriage {
    /// Messages that one call of `deliver` handles efficiently, 1 at least.
    pub batch: usize,
    /// Further messages that a call under way accepts: their envelope goes with the content before it.
    pub ahead: usize,
    /// A batch is on the wire all at once, so that what is in flight is bounded by the measured rate and round trip, and not by
    /// the connections.
    pub is_windowed: bool,
}

impl Carriage {
    /// A call carries this many and then ends.
    #[must_use]
    pub const fn batches(batch: usize) -> Self {
        Self { batch, ahead: 0, is_windowed: false }
    }

    /// Messages that are on one connection at a time.
    #[must_use]
    pub const fn each(self) -> usize {
        self.batch + self.ahead
    }
}

impl Default for Carriage {
    /// One message at a time.
    fn default() -> Self {
        Self::batches(1)
    }
}

/// What accompanies a batch.
#[derive(Debug)]
pub struct Along {
    /// Messages that come while the call lasts. What cannot be put there any more comes back to whoever tried; what can has exactly
    /// one outcome as well. For servers whose [`Carriage::ahead`] is 0 nothing is put there.
    pub more: mpsc::UnboundedReceiver<Outgoing>,
    /// Holds contents back; none where nothing does.
    pub gate: Option<Arc<Gate>>,
}

/// A boxed future: a server is a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A server as the engine and the dispatcher see it. Each version of spec and secrets has its own.
pub trait Server: Send + Sync {
    /// A real conversation without a message: connect, negotiate TLS, authenticate. `None` where that cannot be done without sending.
    /// The caller puts the timeout of `spec.probe` around it.
    fn probe(&self) -> BoxFuture<'_, Option<Result<Probed, Blocker>>>;

    /// Sends a batch over one connection and yields each outcome as soon as it is known. Exactly one outcome for each
    /// message, whatever happens; the future ends when all are given.
    fn deliver(&self, batch: Vec<Outgoing>, outcomes: mpsc::UnboundedSender<Delivered>) -> BoxFuture<'_, ()>;

    /// The same, with what comes along: contents are written as the gate lets them pass, and messages that come while the call
    /// lasts go over the same connection.
    fn deliver_with(&self, batch: Vec<Outgoing>, along: Along, outcomes: mpsc::UnboundedSender<Delivered>) -> BoxFuture<'_, ()> {
        let count = batch.len();
        // Made here, so that a future that is never polled gives outcomes as well.
        let delivery = self.deliver(batch, outcomes);
        Box::pin(async move {
            if let Some(gate) = along.gate {
                gate.pass(count).await.written(Instant::now());
            }
            delivery.await;
        })
    }

    /// How messages are handed over. It may change once the server's extensions are known.
    fn carriage(&self) -> Carriage;

    /// The DKIM keys that sign from now on, by the names of their records.
    fn sign_with(&self, _records: &[String]) {}

    /// Closes idle connections cleanly.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// What users need to know about a type to choose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeInfo {
    /// The vendor and the interface, for people.
    pub title: &'static str,
    /// The keys of its Secret, and what each holds.
    pub secret_keys: &'static [(&'static str, &'static str)],
    /// What a probe checks.
    pub probe: &'static str,
    /// In what form messages are handed over.
    pub carries: &'static str,
    /// Who signs messages (DKIM), and what the signature covers.
    pub signs: &'static str,
}

impl TypeInfo {
    /// The keys of its Secret in a sentence, each between two `quote`s; what stands in for those before it follows an "or".
    #[must_use]
    pub fn secret_keys_in_words(&self, quote: &str) -> String {
        let mut words = String::new();
        for (key, what) in self.secret_keys {
            let is_other = what.starts_with("or, instead") || what.starts_with("instead");
            words.push_str(match (words.is_empty(), is_other) {
                (true, _) => "",
                (false, true) => " or ",
                (false, false) => ", ",
            });
            words.push_str(&format!("{quote}{key}{quote}"));
        }
        words
    }
}

/// A type of server, described without an instance.
pub trait ServerType {
    /// What users need to know to choose it.
    const INFO: TypeInfo;
}

/// What the messages of a type of server can hold, by its vendor's documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holds {
    /// The largest message, in bytes as they are sent; none where only the server itself says so.
    pub bytes_max: Option<u64>,
    /// Whether HTML can show a file that goes with it (`cid:`).
    pub inline: bool,
}

impl Holds {
    /// Whatever the server itself says.
    pub const ANY: Self = Self { bytes_max: None, inline: true };

    /// Messages of so many megabytes, with images in them.
    #[must_use]
    pub const fn megabytes(max: u64) -> Self {
        Self { bytes_max: Some(max * 1_000_000), inline: true }
    }
}

/// A type of server: its YAML and what follows from it.
pub trait Provider {
    /// What the schema accepts but is unlikely to work: fields, and what is wrong with them. Warnings, not faults.
    fn doubts(&self) -> Vec<(String, String)> {
        Vec::new()
    }
    /// The Secrets that it needs.
    fn secrets(&self) -> Vec<SecretUse>;
    /// Where it is, in words: `smtp.example.com:587, StartTls`.
    fn address(&self) -> String;
    /// Who signs its messages.
    fn signing(&self) -> Signing {
        Signing::Ours(&Fields::UNTOUCHED)
    }
    /// Rate windows that the vendor is known to impose, whatever the spec says: the spec can only be stricter.
    fn known_limits(&self) -> Vec<Rate> {
        Vec::new()
    }
    /// What reads the vendor's calls about this server's messages; none where the type has no such calls.
    fn webhook(&self, _server: &Key, _credentials: &webhook::WebhookCredentials) -> Option<Result<Box<dyn webhook::Webhook>, Blocker>> {
        None
    }
    /// What its messages can hold: a campaign whose messages are more is not sent through it.
    fn holds(&self) -> Holds {
        Holds::ANY
    }
    /// Whether the envelope sender that we give is the one on the wire, so that bounces come to it: vendors set their own.
    fn has_envelope(&self) -> bool {
        false
    }
    /// A server from the spec and its secrets. Opens nothing yet.
    ///
    /// # Errors
    /// When a secret is unusable.
    fn build(&self, context: Context) -> Result<Arc<dyn Server>, Blocker>;
}

providers! {
    smtp: smtp::Smtp, "Any SMTP relay (RFC 5321), with StartTls, Tls or None.";
    ses: ses::Ses, "Amazon SES through its API v2.";
    sendgrid: sendgrid::SendGrid, "SendGrid through its Web API v3.";
    mailgun: mailgun::Mailgun, "Mailgun through its API.";
    sparkpost: sparkpost::SparkPost, "SparkPost through its Transmissions API.";
    elasticEmail: elastic_email::ElasticEmail, "Elastic Email through its API v4.";
    postmark: postmark::Postmark, "Postmark through its API.";
    brevo: brevo::Brevo, "Brevo through its API v3.";
    gmail: gmail::Gmail, "Gmail and Google Workspace with OAuth 2.0, over SMTP or the Gmail API.";
    sendmail: sendmail::Sendmail, "A local sendmail-compatible program, where the operator allows it.";
    plugin: plugin::Plugin, "Any other provider, as an HTTP service that implements our contract.";
    outbox: outbox::Outbox, "A Maildir on this machine, for previews and dry runs: nothing is sent.";
}
