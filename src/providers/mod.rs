//! How a server is spoken to: one file per type holds its YAML, its probe, its delivery and its tests.
//!
//! Only this room opens sockets to mail servers. Every type maps its own answers to [`Outcome`] and
//! [`Failure`]; nothing downstream reads error text. A new type is one file and one line in the table below.

mod api;
mod envelope;
pub mod gate;
pub mod http;
mod literal;
mod place;
mod quote;
mod refusal;
pub mod replies;
mod scrub;
mod single;
mod structured;
mod token;
mod verdict;

pub use api::unique;
pub use gate::Gate;
pub use quote::stable;
pub use refusal::{Answer, Fault, Meaning, Refusal, Scope, Stage};
pub use replies::{meaning, unknown_of_mail};

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use ::http::HeaderValue;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};

use crate::{
    egress::Egress,
    resources::{KeyRef, LocalRef, Rate, Reason, secret::SecretValue},
};

/// One message, ready to leave.
#[derive(Debug)]
pub struct Outgoing {
    /// The caller's token; it comes back with the outcome.
    pub token: u64,
    /// The envelope sender (RFC 5321 reverse-path), without angle brackets; empty for the null sender.
    pub mail_from: Arc<str>,
    /// The envelope recipient, without angle brackets.
    pub recipient: Arc<str>,
    /// The whole message (RFC 5322), lines ended by CRLF, not dot-stuffed.
    pub content: Arc<[u8]>,
    /// The content has bytes above 127: 8BITMIME (RFC 6152) is needed.
    pub needs_8bit: bool,
    /// An address or a header field is not ASCII: SMTPUTF8 (RFC 6531) is needed.
    pub needs_smtputf8: bool,
    /// The run that it belongs to, for a vendor's tags or metadata, so that what comes back can be matched.
    pub run: Arc<RunLabel>,
}

/// A campaign's run, as messages are labelled with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunLabel {
    /// `namespace/name` of the campaign.
    pub campaign: String,
    /// The run's name.
    pub run: String,
}

/// What became of one message. The four answers to "what happens next".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server has taken it. The reply is kept in the ledger (250 characters at most).
    Accepted {
        /// The server's reply, for example `250 2.0.0 Ok: queued as 4F1`.
        reply: String,
    },
    /// The server refuses the message, which was certainly not taken, and is itself well.
    Refused(Box<Refusal>),
    /// The server itself failed, and the message was certainly not taken: it may move to another server.
    ServerFailed(Failure),
    /// The message was wholly written and the answer never came: it may have been taken.
    Unknown(Failure),
}

/// Why a server failed: a reason for conditions and a message for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The condition's reason.
    pub reason: Reason,
    /// What failed, where, and what to do. Stable: no ports that change, ids or times in it.
    pub message: String,
    /// Whether only a person can fix it (wrong password, bad certificate): the server is Stalled.
    pub needs_person: bool,
    /// The server's own word on when to try again; it is not used before.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure that may pass by itself.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), needs_person: false, retry_after: None }
    }

    /// The same, when only a person can fix it.
    #[must_use]
    pub fn for_person(self) -> Self {
        Self { needs_person: true, ..self }
    }

    /// The same, with the server's own word on when to try again.
    #[must_use]
    pub fn after(self, retry_after: Option<Duration>) -> Self {
        Self { retry_after, ..self }
    }

    /// Whether the server takes no further connection while others are open.
    #[must_use]
    pub fn is_connection_limit(&self) -> bool {
        self.reason == Reason::TooManyConnections
    }

    /// Whether the server is well and only takes no more for now, by its reason or since it says when to come again: it rests,
    /// and is not held for broken.
    #[must_use]
    pub fn is_pause(&self) -> bool {
        matches!(self.reason, Reason::Throttled | Reason::TooManyConnections | Reason::QuotaExceeded)
            || self.retry_after.is_some() && !self.needs_person
    }
}

/// What a good probe found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probed {
    /// The windows that the vendor itself sets for the account, with what is used of them.
    pub quotas: Vec<Quota>,
}

/// A window of a vendor's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// So many messages in so long.
    pub rate: Rate,
    /// Messages that left in it already, by anybody who uses the account.
    pub used: u64,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The outcome of one message of a batch.
#[derive(Debug)]
pub struct Delivered {
    /// The message, given back so that it can be sent through another server.
    pub message: Outgoing,
    /// What became of it.
    pub outcome: Outcome,
    /// From the writing of the message's end to its reply, for the size of the window; none when there was no reply.
    pub round_trip: Option<Duration>,
}

/// How messages are handed to a server: how many a connection carries at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carriage {
    /// Messages that one call of `deliver` uses well, 1 at least.
    pub batch: usize,
    /// Messages that a call under way takes beside those it has: their envelope goes with the content before it.
    pub ahead: usize,
    /// A batch is on the wire all at once, so that what is in flight is bounded by the measured rate and round trip, and not by
    /// the connections.
    pub is_windowed: bool,
}

impl Carriage {
    /// A call carries so many, and is then over.
    #[must_use]
    pub const fn batches(batch: usize) -> Self {
        Self { batch, ahead: 0, is_windowed: false }
    }

    /// Messages that a connection carries at a time.
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

/// What comes along with a batch.
#[derive(Debug)]
pub struct Along {
    /// Messages that come while the call lasts. What cannot be put there any more comes back to whoever tried; what can has exactly
    /// one outcome as well. For servers whose [`Carriage::ahead`] is 0 nothing is put there.
    pub more: mpsc::UnboundedReceiver<Outgoing>,
    /// Lets contents pass; none where nothing holds them back.
    pub gate: Option<Arc<Gate>>,
}

/// A boxed future, since a server is a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A server as the engine and the dispatcher see it. One value for each version of spec and secrets.
pub trait Server: Send + Sync {
    /// A real conversation without a message: connect, TLS, authenticate. `None` where that cannot be done without sending.
    /// The caller puts the timeout of `spec.probe` around it.
    fn probe(&self) -> BoxFuture<'_, Option<Result<Probed, Failure>>>;

    /// Sends a batch over one connection and yields each outcome as soon as it is known. Exactly one outcome for each
    /// message, whatever happens; the future ends when all are given.
    fn deliver(&self, batch: Vec<Outgoing>, outcomes: mpsc::UnboundedSender<Delivered>) -> BoxFuture<'_, ()>;

    /// The same, with what comes along: contents are written as the gate lets them pass, and messages that come while the call
    /// lasts go over the same connection.
    fn deliver_with(&self, batch: Vec<Outgoing>, along: Along, outcomes: mpsc::UnboundedSender<Delivered>) -> BoxFuture<'_, ()> {
        let count = batch.len();
        // Made here, so that a future which is never polled gives outcomes as well.
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

    /// Closes idle connections in good order.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// What a provider gets beside its own spec.
#[derive(Clone)]
pub struct Context {
    /// `namespace/name` of the server, for messages and logs.
    pub name: String,
    /// The values of the Secrets that [`Provider::secrets`] named, all present.
    pub secrets: Secrets,
    /// Connections at a time.
    pub connections: u32,
    /// Messages after which a connection is closed.
    pub messages_per_connection: u32,
    /// For each step of a probe and of opening a connection.
    pub connect_timeout: Duration,
    /// The folder that relative paths of the spec start at (files mode), where the state is.
    pub state_dir: PathBuf,
    /// Where it may connect to.
    pub egress: Egress,
    /// What the operator lets this server do.
    pub permissions: Permissions,
    /// For types that are spoken to over HTTP.
    pub http: http::Clients,
}

/// What an operator lets a server do on the machine that Mailfleet runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Use the credentials of this machine or pod (an instance's role, the environment) where the spec names no Secret.
    pub ambient_credentials: bool,
    /// The programs that it may run as sendmail.
    pub sendmail: Arc<[PathBuf]>,
}

impl Context {
    /// A server on its own: no Secrets, one connection, 10 seconds a step, everywhere, and nothing that an operator permits.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            secrets: Secrets::new(),
            connections: 1,
            messages_per_connection: 100,
            connect_timeout: Duration::from_secs(10),
            state_dir: PathBuf::new(),
            egress: Egress::Everywhere,
            permissions: Permissions::default(),
            http: http::Clients::default(),
        }
    }

    /// How many things may go on at a time.
    fn permits(&self) -> Semaphore {
        Semaphore::new(usize::try_from(self.connections.max(1)).unwrap_or(1).min(Semaphore::MAX_PERMITS))
    }

    /// Whether a Secret has a key that need not be there.
    fn has_secret(&self, secret: &LocalRef, key: &str) -> bool {
        self.secrets.contains_key(&KeyRef { name: secret.name.clone(), key: key.to_owned() })
    }

    /// A header that holds a key of a Secret in some form, not to be shown; and the key, to be struck out of what is quoted.
    ///
    /// # Errors
    /// When the key is missing, or cannot be sent.
    fn secret_header(
        &self,
        secret: &LocalRef,
        key: &str,
        address: &str,
        form: impl FnOnce(&str) -> String,
    ) -> Result<(SecretValue, HeaderValue), Failure> {
        let text = self.secret_text(secret, key, address)?;
        let header = http::sensitive(&form(text.expose_text().unwrap_or_default()));
        let reference = KeyRef { name: secret.name.clone(), key: key.to_owned() };
        Ok((text, header.map_err(|_| secret_failure(Reason::SecretInvalid, &reference, UNFIT, address))?))
    }

    /// A key of a Secret as one line of text; `address` says for which server.
    ///
    /// # Errors
    /// When it is missing, empty, or more than a line.
    pub fn secret_text(&self, secret: &LocalRef, key: &str, address: &str) -> Result<SecretValue, Failure> {
        let reference = KeyRef { name: secret.name.clone(), key: key.to_owned() };
        match self.secrets.get(&reference) {
            None => Err(secret_failure(Reason::SecretKeyNotFound, &reference, "is missing", address)),
            Some(value) => match value.expose_text() {
                Some(text) if !text.is_empty() && !text.contains(['\0', '\r', '\n']) => {
                    if scrub::is_too_short(text) {
                        return Err(secret_failure(Reason::SecretInvalid, &reference, TOO_SHORT, address));
                    }
                    Ok(SecretValue::new(text))
                }
                _ => Err(secret_failure(Reason::SecretInvalid, &reference, UNFIT, address)),
            },
        }
    }
}

/// Of a key that holds what cannot be sent.
const UNFIT: &str = "is empty, or not one line of text";
/// Of a key that holds what no vendor issues.
const TOO_SHORT: &str = "has fewer than 4 characters, too few to be kept out of what the server answers; replace it by a longer one";

/// What is wrong with a key of a Secret.
fn secret_failure(reason: Reason, reference: &KeyRef, what: &str, address: &str) -> Failure {
    let message = format!("Key `{}` of Secret `{}` {what} ({address}). Put it right in the Secret.", reference.key, reference.name);
    Failure::new(reason, message).for_person()
}

/// Secret values by their reference.
pub type Secrets = BTreeMap<KeyRef, SecretValue>;

/// A key of a Secret that a provider needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretUse {
    /// The field that names it, relative to the object: `spec.provider.smtp.auth.secretRef`.
    pub path: String,
    /// The Secret and the key.
    pub key: KeyRef,
    /// Whether it may be absent.
    pub optional: bool,
}

impl SecretUse {
    /// A key that must be there.
    #[must_use]
    pub fn of(path: &str, secret: &LocalRef, key: &str) -> Self {
        Self { path: path.to_owned(), key: KeyRef { name: secret.name.clone(), key: key.to_owned() }, optional: false }
    }
}

/// What a type is, for those who choose one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeInfo {
    /// Vendor and way, for people.
    pub title: &'static str,
    /// The keys of its Secret, and what each is.
    pub secret_keys: &'static [(&'static str, &'static str)],
    /// What a probe asks.
    pub probe: &'static str,
    /// How messages go.
    pub carries: &'static str,
}

/// A type of server, known before there is one.
pub trait ServerType {
    /// What it is.
    const INFO: TypeInfo;
}

/// A type of server: its YAML and what follows from it.
pub trait Provider {
    /// What every schema accepts and will hardly work: fields, and what is wrong with them. A warning, no fault.
    fn doubts(&self) -> Vec<(String, String)> {
        Vec::new()
    }
    /// The Secrets that it needs.
    fn secrets(&self) -> Vec<SecretUse>;
    /// Where it is, in words: `smtp.example.com:587, StartTls`.
    fn address(&self) -> String;
    /// Windows that the vendor is known to set, whatever the spec says: the spec can only be stricter.
    fn known_limits(&self) -> Vec<Rate> {
        Vec::new()
    }
    /// A server from the spec and its secrets. Opens nothing yet.
    ///
    /// # Errors
    /// When a secret cannot be used as it is.
    fn build(&self, context: Context) -> Result<Arc<dyn Server>, Failure>;
}

macro_rules! providers {
    ($($key:ident: $module:ident::$spec:ident, $about:literal;)*) => {
        $(pub mod $module;)*

        /// How a server is spoken to: exactly one key, which is its type.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[allow(non_camel_case_types)]
        pub enum ProviderSpec {
            $(#[doc = $about] $key($module::$spec)),*
        }

        impl ProviderSpec {
            /// Every type, what it is for, and what it needs.
            pub const TYPES: &'static [(&'static str, &'static str, TypeInfo)] =
                &[$((stringify!($key), $about, <$module::$spec as ServerType>::INFO)),*];

            /// The key in the YAML.
            #[must_use]
            pub fn type_name(&self) -> &'static str {
                match self { $(Self::$key(_) => stringify!($key)),* }
            }

            fn provider(&self) -> &dyn Provider {
                match self { $(Self::$key(spec) => spec),* }
            }
        }

        impl JsonSchema for ProviderSpec {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                "Provider".into()
            }

            // By hand instead of `oneOf`: a fault within a type is told as that type's fault.
            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                let mut properties = serde_json::Map::new();
                $(
                    let mut schema = generator.subschema_for::<$module::$spec>();
                    schema.insert("description".to_owned(), $about.into());
                    properties.insert(stringify!($key).to_owned(), schema.to_value());
                )*
                let types: Vec<&str> = properties.keys().map(String::as_str).collect();
                let given: Vec<String> = types.iter().map(|name| format!("has(self.{name})")).collect();
                let rule = serde_json::json!({
                    "message": format!("exactly one key is needed, which is the server's type: `{}`", types.join("`, `")),
                    "rule": format!("[{}].exists_one(given, given)", given.join(", ")),
                });
                schemars::json_schema!({
                    "type": "object",
                    "description": "How the server is spoken to: exactly one key, which is its type.",
                    "properties": properties,
                    "additionalProperties": false,
                    "x-kubernetes-validations": [rule],
                })
            }
        }
    };
}

providers! {
    smtp: smtp::Smtp, "Any SMTP relay (RFC 5321), with StartTls, Tls or None.";
    ses: ses::Ses, "Amazon SES by its API v2.";
    sendgrid: sendgrid::SendGrid, "SendGrid by its Web API v3.";
    mailgun: mailgun::Mailgun, "Mailgun by its API.";
    sparkpost: sparkpost::SparkPost, "SparkPost by its Transmissions API.";
    elasticEmail: elastic_email::ElasticEmail, "Elastic Email by its API v4.";
    postmark: postmark::Postmark, "Postmark by its API.";
    brevo: brevo::Brevo, "Brevo by its API v3.";
    gmail: gmail::Gmail, "Gmail and Google Workspace with OAuth 2.0, by SMTP or the Gmail API.";
    sendmail: sendmail::Sendmail, "A local program in the manner of sendmail, where the operator allows it.";
    plugin: plugin::Plugin, "Any other provider, as an HTTP service that keeps our contract.";
    outbox: outbox::Outbox, "A Maildir on this machine: previews and dry runs, nothing is sent.";
}

impl Provider for ProviderSpec {
    fn doubts(&self) -> Vec<(String, String)> {
        self.provider().doubts()
    }

    fn secrets(&self) -> Vec<SecretUse> {
        self.provider().secrets()
    }

    fn address(&self) -> String {
        self.provider().address()
    }

    fn known_limits(&self) -> Vec<Rate> {
        self.provider().known_limits()
    }

    fn build(&self, context: Context) -> Result<Arc<dyn Server>, Failure> {
        self.provider().build(context)
    }
}
