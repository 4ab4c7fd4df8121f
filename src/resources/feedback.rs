//! `feedback` of a server: how bounces and complaints come back, and when they pause it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Duration, KeyRef, LocalRef, pattern, pause_when::PauseWhen, rule::Rule, webhook::WebhookSpec};
use crate::providers::smtp::Encryption;

/// How bounces and complaints come back, and what they do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [Rule::new(
    "!has(self.bounces) || !has(self.mailbox)",
    "bounces come to the listener or to a mailbox; keep one of `bounces` and `mailbox`",
).at(".bounces").forbidden()]))]
pub struct Feedback {
    /// Where mail to `identity.returnPath` arrives, if not in `mailbox`. `Listener`: at the listener of `mailfleet run
    /// --bounce-address`. Each message then has an envelope sender of its own, `bounce-TOKEN@RETURNPATH`, by which its bounce is
    /// matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounces: Option<Bounces>,
    /// A mailbox in which bounces and complaints arrive. With `identity.returnPath` each message has an envelope sender of its own,
    /// `bounce-TOKEN@RETURNPATH`, and all of them must arrive there; without it, bounces are matched by the Message-ID that they
    /// quote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mailbox: Option<Mailbox>,
    /// The vendor's calls about deliveries, bounces, complaints and unsubscriptions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookSpec>,
    /// When what comes back pauses the server; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_when: Option<PauseWhen>,
}

impl Feedback {
    /// Whether anything that comes back by mail is read.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.bounces.is_some() || self.mailbox.is_some()
    }
}

/// Where bounces arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Bounces {
    /// At the listener for bounces.
    Listener,
}

/// A mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mailbox {
    /// It is read over IMAP.
    pub imap: Imap,
}

/// A mailbox that is read over IMAP (RFC 9051, RFC 3501).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    Rule::new(
        "!has(self.encryption) || self.encryption != 'None' || self.host.lowerAscii() in ['localhost', '::1', '[::1]'] || self.host.matches('^127([.](25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])){3}$')",
        "this would send the password unencrypted; use encryption Tls or StartTls (None only for localhost)",
    ).at(".encryption"),
    Rule::new(
        "!has(self.caRef) || !has(self.encryption) || self.encryption != 'None'",
        "this has no effect with encryption None; remove it, or use Tls or StartTls",
    ).at(".caRef").forbidden(),
    Rule::new(
        "has(self.moveTo) == (has(self.whenRead) && self.whenRead == 'Move')",
        "`whenRead: Move` needs the folder in `moveTo`, and nothing else does",
    ).at(".moveTo"),
    Rule::new(
        "!has(self.moveTo) || self.moveTo != (has(self.folder) ? self.folder : 'INBOX')",
        "this is the folder that is read; name another",
    ).at(".moveTo"),
    Rule::new(
        "!has(self.interval) || duration(self.interval) >= duration('5s') && duration(self.interval) <= duration('1h')",
        "this must be from 5s to 1h",
    ).at(".interval"),
]))]
pub struct Imap {
    /// The host name or address.
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::HOST))]
    pub host: String,
    /// The port; when absent it follows the encryption: 993 (Tls), 143 (StartTls, None).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// `Tls` when absent. There is no opportunistic mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// How to log in.
    pub auth: ImapAuth,
    /// CA certificates (PEM) to trust, in a Secret; the system's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<KeyRef>,
    /// The folder, as the server lists it; `INBOX` when absent. Use a folder that nobody else reads: messages already marked as seen are skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = pattern::FOLDER_NAME))]
    pub folder: Option<String>,
    /// What becomes of a mail once what it says is recorded; `MarkSeen` when absent. Mail that is no bounce, report or automatic
    /// answer stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_read: Option<WhenRead>,
    /// The folder for `whenRead: Move`, as the server lists it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = pattern::FOLDER_NAME))]
    pub move_to: Option<String>,
    /// Polling interval when the server does not support IDLE (RFC 2177); 5s to 1h, 1m when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
}

impl Imap {
    /// The effective encryption.
    #[must_use]
    pub fn encryption(&self) -> Encryption {
        self.encryption.unwrap_or(Encryption::Tls)
    }

    /// The effective port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.encryption() == Encryption::Tls { 993 } else { 143 })
    }

    /// The effective folder.
    #[must_use]
    pub fn folder(&self) -> &str {
        self.folder.as_deref().unwrap_or("INBOX")
    }

    /// The effective interval.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval.unwrap_or(Duration::from_secs(60))
    }
}

/// How to log in to a mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImapAuth {
    /// The Secret with `username` and `password`.
    pub secret_ref: LocalRef,
}

/// What becomes of a mail that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WhenRead {
    /// It is marked as seen, and stays.
    MarkSeen,
    /// It is moved to the folder `moveTo`.
    Move,
    /// It is deleted.
    Delete,
}
