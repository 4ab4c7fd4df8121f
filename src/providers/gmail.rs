//! Gmail and Google Workspace with OAuth 2.0, over SMTP or the Gmail API.
//!
//! Sources: developers.google.com/gmail/imap/xoauth2-protocol, the vendor's discovery document (`gmail.v1`), "Resolve errors",
//! support.google.com/a/answer/166852 (limits).

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use mail_parser::MessageParser;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Blocker, BoxFuture, Context, Holds, Outgoing, Probed, Provider, Scope, SecretUse, Server, ServerType, Signing, TypeInfo,
    api::{self, ApiServer, Vendor},
    http::{Call, Purpose, Reply},
    smtp::{Encryption, Smtp},
    token::{self, Grant, Tokens},
    verdict::{Judge, NotTaken, Word},
};
use crate::dkim::Fields;
use crate::meta::{Duration, KeyRef, LocalRef, Rate, Reason, pattern, secret::SecretValue};

/// Gmail or Google Workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [api::TIMEOUT_RULE]))]
pub struct Gmail {
    /// The mailbox that sends.
    #[schemars(length(min = 3, max = 254), regex(pattern = pattern::ADDRESS))]
    pub user: String,
    /// The Secret: `clientId`, `clientSecret` and `refreshToken` of a user's consent, or `serviceAccount`, the JSON key file of a service account with domain-wide delegation.
    pub secret_ref: LocalRef,
    /// `Smtp` when absent (scope `https://mail.google.com/`); `Api` needs the scopes gmail.send and gmail.metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
    /// The kind of account, which decides how much it may send: 2,000 messages in 24h for `Workspace` (when absent), 500 for `Consumer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Account>,
    /// Where access tokens are fetched; Google's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::ENDPOINT))]
    pub token_url: Option<String>,
    /// The API's address; Google's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::ENDPOINT))]
    pub endpoint: Option<String>,
    /// The SMTP server; smtp.gmail.com when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::HOST))]
    pub host: Option<String>,
    /// Its port; 465 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Its encryption; `Tls` when absent. `None` is for localhost only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// Its CA certificates (PEM), in a Secret; the system's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<KeyRef>,
    /// How long to wait for an answer; 1s to 10m, 60s when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

/// How messages are handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Via {
    /// SMTP with XOAUTH2.
    #[default]
    Smtp,
    /// The Gmail API.
    Api,
}

/// What kind of account it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Account {
    /// Google Workspace.
    #[default]
    Workspace,
    /// An account at gmail.com.
    Consumer,
}

const PATH: &str = "spec.provider.gmail";
const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";
const KEYS: [&str; 4] = ["clientId", "clientSecret", "refreshToken", "serviceAccount"];

impl Gmail {
    fn via(&self) -> Via {
        self.via.unwrap_or_default()
    }

    fn base(&self) -> &str {
        self.endpoint.as_deref().unwrap_or("https://gmail.googleapis.com")
    }

    fn smtp(&self) -> Smtp {
        Smtp {
            preset: None,
            region: None,
            host: Some(self.host.clone().unwrap_or_else(|| "smtp.gmail.com".to_owned())),
            port: self.port,
            encryption: Some(self.encryption.unwrap_or(Encryption::Tls)),
            auth: None,
            ca_ref: self.ca_ref.clone(),
            tls_server_name: None,
            helo_name: None,
            reply_timeout: self.timeout,
        }
    }

    fn tokens(&self, context: &Context) -> Result<Tokens, Blocker> {
        let address = self.address();
        let has = |key: &str| context.has_secret(&self.secret_ref, key);
        let text = |key: &str| context.secret_text(&self.secret_ref, key, &address);
        let url = self.token_url.as_deref().unwrap_or(TOKEN_URL);
        if has("serviceAccount") && !has("refreshToken") {
            // A whole file of many lines.
            let reference = KeyRef { name: self.secret_ref.name.clone(), key: "serviceAccount".to_owned() };
            let file = context.secrets.get(&reference).and_then(SecretValue::expose_text).unwrap_or_default();
            let scope = match self.via() {
                Via::Smtp => "https://mail.google.com/",
                Via::Api => "https://www.googleapis.com/auth/gmail.send https://www.googleapis.com/auth/gmail.metadata",
            };
            let grant = Grant::of_service_account(file, &self.user, scope)
                .map_err(|what| super::secret_failure(Reason::SecretInvalid, &reference, what, &address))?;
            return Tokens::new(context, url, grant, token::private_keys(file));
        }
        let (client_id, client_secret, refresh_token) = (text("clientId")?, text("clientSecret")?, text("refreshToken")?);
        let hidden = vec![client_secret.clone(), refresh_token.clone()];
        let client_id = client_id.expose_text().unwrap_or_default().to_owned();
        Tokens::new(context, url, Grant::Refresh { client_id, client_secret, refresh_token }, hidden)
    }
}

impl ServerType for Gmail {
    const INFO: TypeInfo = TypeInfo {
        title: "Gmail and Google Workspace, OAuth 2.0",
        secret_keys: &[
            ("clientId", "the OAuth client's id"),
            ("clientSecret", "its secret"),
            ("refreshToken", "a user's consent"),
            ("serviceAccount", "or, instead of those three, the JSON key file of a service account with domain-wide delegation"),
        ],
        probe: "fetches an access token, then logs in over SMTP or reads the mailbox's profile through the API",
        carries: "each message unchanged (MIME); Google rewrites From unless it is the user or one of their aliases",
        signs: "Mailfleet, with `identity.dkim`, but for Date and Message-ID, since Google replaces the latter; Google adds a signature of its own",
    };
}

impl Provider for Gmail {
    fn secrets(&self) -> Vec<SecretUse> {
        let keys =
            KEYS.iter().map(|key| SecretUse { optional: true, ..SecretUse::of(&format!("{PATH}.secretRef"), &self.secret_ref, key) });
        let ca = self.ca_ref.iter().map(|key| SecretUse { path: format!("{PATH}.caRef"), key: key.clone(), optional: false });
        keys.chain(ca).collect()
    }

    fn address(&self) -> String {
        match self.via() {
            Via::Smtp => format!("{}, {}", self.smtp().address(), self.user),
            Via::Api => format!("{}, {}", api::address(self.base()), self.user),
        }
    }

    fn known_limits(&self) -> Vec<Rate> {
        let messages = if self.account == Some(Account::Consumer) { 500 } else { 2000 };
        let mut limits = vec![Rate { messages, per: Duration::from_secs(24 * 3600) }];
        if self.via() == Via::Api {
            // A send costs 100 of a user's 15,000 units per minute.
            limits.push(Rate { messages: 150, per: Duration::from_secs(60) });
        }
        limits
    }

    fn signing(&self) -> Signing {
        Signing::Ours(&Fields::REDATED)
    }

    fn holds(&self) -> Holds {
        // developers.google.com/gmail/api, "users.messages.send": 35 MB; smtp.gmail.com says the same.
        Holds::megabytes(35)
    }

    fn build(&self, context: Context) -> Result<Arc<dyn Server>, Blocker> {
        let tokens = Arc::new(self.tokens(&context)?);
        if self.via() == Via::Smtp {
            return self.smtp().build_with_tokens(&context, &self.user, tokens);
        }
        let scrubber = tokens.scrubber().clone();
        ApiServer::open(GmailApi { tokens }, &context, self.base(), self.timeout, scrubber)
    }
}

struct GmailApi {
    tokens: Arc<Tokens>,
}

impl Vendor for GmailApi {
    type Item = Bytes;

    const SAID: &'static [&'static str] = &["/error/message"];

    fn token<'a>(&'a self, refused: Option<&'a SecretValue>, purpose: Purpose) -> BoxFuture<'a, Result<Option<SecretValue>, Blocker>> {
        Box::pin(async move { self.tokens.token(refused, purpose).await.map(Some) })
    }

    fn probe(&self) -> Call {
        Call::get("gmail/v1/users/me/profile")
    }

    fn judge_probe(&self, reply: &Reply<'_>) -> Result<Probed, Blocker> {
        match reply.status() {
            200 => Ok(Probed::default()),
            403 if reply.mentions("scope") => Err(reply
                .fail(Reason::PermissionDenied, "Grant gmail.metadata besides gmail.send, so that it can be probed without sending.")
                .for_person()),
            403 if reply.mentions("has not been used") || reply.mentions("disabled") => {
                Err(reply.fail(Reason::PermissionDenied, "Enable the Gmail API for the project in Google's console.").for_person())
            }
            _ => Err(api::probe_failure(reply)),
        }
    }

    fn prepare(&self, message: &Outgoing) -> Result<Bytes, String> {
        // Google sends to whom the header fields name and has no envelope: a message addressed to others would go to them.
        let read = MessageParser::default().parse_headers(message.content.own());
        let fields = read.iter().flat_map(|read| [read.to(), read.cc(), read.bcc()]).flatten();
        let named: Vec<String> = fields.flat_map(|field| field.iter()).map(whole_address).collect();
        match &named[..] {
            [one] if one.eq_ignore_ascii_case(&message.rcpt_to) => Ok(message.whole().into_owned().into()),
            _ => {
                Err("550 5.6.0 not sent: the Gmail API sends to everybody in To, Cc and Bcc, and they name more than the recipient"
                    .to_owned())
            }
        }
    }

    fn call(&self, items: &[Bytes]) -> Call {
        let content = items.first().cloned().unwrap_or_default();
        Call::post("upload/gmail/v1/users/me/messages/send?uploadType=media", HeaderValue::from_static("message/rfc822"), content)
    }
}

impl Judge for GmailApi {
    const PERMISSION: &'static str = "the scope gmail.send";

    fn taken(&self, reply: &Reply<'_>, _asked: &[&Outgoing]) -> Option<Word> {
        if reply.json.get("error").is_some() {
            return None;
        }
        reply.taken_as("/id").map(Word::Together)
    }

    fn refused(&self, reply: &Reply<'_>, asked: &[&Outgoing]) -> Option<NotTaken> {
        let used_up = || reply.failed(Reason::QuotaExceeded, "Google counts over 24 hours: wait, or send through other servers.");
        let reason = reply.text("/error/errors/0/reason").unwrap_or_default();
        match (reply.status(), reason.as_str()) {
            (403 | 429, "dailyLimitExceeded" | "quotaExceeded") => used_up(),
            (400 | 403 | 429, _) if reply.mentions("sending limit") => used_up(),
            (403 | 429, "rateLimitExceeded" | "userRateLimitExceeded") => {
                reply.failed(Reason::Throttled, "Lower limits.rates or limits.connections.")
            }
            (403, _) if reply.mentions("scope") || reason == "insufficientPermissions" => {
                reply.failed_for_person(Reason::PermissionDenied, "Grant the scope gmail.send.")
            }
            (400, "failedPrecondition") => {
                reply.failed_for_person(Reason::AccountSuspended, "Gmail is not enabled for this user: check the Workspace, and user.")
            }
            (400, _) if reply.mentions_any(&["from header", "reply-to header", "sender"]) => {
                Some(reply.refuse_sender("Correct the campaign's from.address and replyTo."))
            }
            (400, _) if reply.mentions_any(&["invalid to header", "invalid recipient"]) || reply.names_recipient(asked) => {
                Some(reply.refuse(Scope::Recipient))
            }
            _ => None,
        }
    }

    fn is_own_error(&self, reply: &Reply<'_>) -> bool {
        reply.json["error"]["code"].as_u64() == Some(u64::from(reply.status())) && reply.json["error"]["message"].is_string()
    }
}

/// An address as the message has it. The parser takes a quoted local part outside angle brackets for a name.
fn whole_address(one: &mail_parser::Addr<'_>) -> String {
    match (one.address().unwrap_or_default(), one.name()) {
        (domain, Some(local)) if domain.starts_with('@') => format!("\"{local}\"{domain}"),
        (address, _) => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_local_part_is_read_as_an_address() {
        for to in ["\"a,b\"@example.com", "Bob <\"a,b\"@example.com>", "\"Bob\" <\"a,b\"@example.com>"] {
            let content = format!("From: a@b.example\r\nTo: {to}\r\n\r\nHi\r\n");
            let read = MessageParser::default().parse_headers(content.as_bytes()).expect("a message");
            let named: Vec<String> = read.to().into_iter().flat_map(mail_parser::Address::iter).map(whole_address).collect();
            assert_eq!(named, ["\"a,b\"@example.com"], "{to}");
        }
    }
}
