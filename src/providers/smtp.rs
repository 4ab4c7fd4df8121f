//! Any SMTP relay: its YAML, and what follows from it.
//!
//! The client is our own, for the sake of few round trips and few system calls:
//!
//! - `server`: connections kept and reused, the probe, deliveries. Read this first.
//! - `open`, `auth`, `scram`: opening a connection, step by step.
//! - `session`: what is written when, and what each reply means, without I/O; `verdict`: the meaning of refusals.
//! - `line`, `stream`, `write`, `reply`, `extensions`: bytes, commands, replies, EHLO.
//! - `failure`: what went wrong, in words.

mod auth;
mod carry;
mod extensions;
mod failure;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod line;
mod open;
mod preset;
mod reply;
mod scram;
mod server;
mod session;
mod stream;
#[cfg(test)]
mod tests;
mod verdict;
mod write;

use std::sync::Arc;

use rustls_pki_types::ServerName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::preset::Preset;
use self::{
    auth::Login,
    failure::Endpoint,
    open::{Credentials, Target},
    server::SmtpServer,
};
use super::{
    Blocker, Context, Provider, SecretUse, Server, ServerType, Signing, TypeInfo,
    connect::own_tls,
    context::{TOO_SHORT, UNFIT},
    scrub,
    token::Tokens,
};
use crate::dkim::Fields;
use crate::meta::{Duration, KeyRef, LocalRef, Reason, pattern, rule::Rule, secret::SecretValue};

/// An SMTP relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    Rule::new("has(self.host) || has(self.preset)", "this is missing; or name a vendor with `preset`").at(".host").required(),
    Rule::new(
        "!has(self.preset) || has(self.auth)",
        "this is missing: a vendor requires a login; name the Secret",
    ).at(".auth").required(),
    Rule::new(
        "has(self.preset) && self.preset == 'Ses' ? has(self.host) || has(self.region) && self.region.matches('^[a-z]{2}(-[a-z]+)+-[0-9]$') : true",
        "SES needs a region, like eu-west-1; name it",
    ).at(".region"),
    Rule::new(
        "!has(self.region) || has(self.preset) && (self.preset == 'Ses' || self.preset in ['Mailgun', 'SparkPost'] && self.region in ['US', 'EU'])",
        "this is for the presets Ses (like eu-west-1), Mailgun and SparkPost (US or EU)",
    ).at(".region"),
    Rule::new(
        "!has(self.auth) || !has(self.encryption) || self.encryption != 'None' || has(self.host) && (self.host.lowerAscii() in ['localhost', '::1', '[::1]'] || self.host.matches('^127([.](25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])){3}$'))",
        "this would send the password unencrypted; use encryption StartTls or Tls (None only for localhost)",
    ).at(".auth").forbidden(),
    Rule::new(
        "!has(self.caRef) || !has(self.encryption) || self.encryption != 'None'",
        "this has no effect with encryption None; remove it, or use StartTls or Tls",
    ).at(".caRef").forbidden(),
    Rule::new(
        "!has(self.tlsServerName) || !has(self.encryption) || self.encryption != 'None'",
        "this has no effect with encryption None; remove it, or use StartTls or Tls",
    ).at(".tlsServerName").forbidden(),
    Rule::new(
        "!has(self.replyTimeout) || duration(self.replyTimeout) >= duration('1s') && duration(self.replyTimeout) <= duration('1h')",
        "this must be from 1s to 1h",
    ).at(".replyTimeout"),
]))]
pub struct Smtp {
    /// A vendor's SMTP endpoint: host, port, user name and more default to the vendor's, and each can be overridden.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// The vendor's region, for presets with regions: `eu-west-1` for Ses, `US` (when absent) or `EU` for Mailgun and SparkPost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32), regex(pattern = pattern::LABEL))]
    pub region: Option<String>,
    /// The host name or address; the vendor's with a preset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::HOST))]
    pub host: Option<String>,
    /// The port; when absent it follows the encryption: 587 (StartTls), 465 (Tls), 25 (None).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// `StartTls` when absent. There is no opportunistic mode: a server that offers no TLS fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// How to log in; no login when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// CA certificates (PEM) to trust, in a Secret; the system's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<KeyRef>,
    /// The name that the certificate must carry; the host when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::CERTIFICATE_NAME))]
    pub tls_server_name: Option<String>,
    /// The name given with EHLO; this machine's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::HELO))]
    pub helo_name: Option<String>,
    /// How long to wait for a reply (RFC 5321, 4.5.3.2); 1s to 1h, 5m when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_timeout: Option<Duration>,
}

/// How the connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Encryption {
    /// STARTTLS (RFC 3207), required.
    StartTls,
    /// TLS from the first byte (RFC 8314).
    Tls,
    /// No TLS; credentials are sent over it to loopback hosts only.
    None,
}

/// How to log in (RFC 4954).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Auth {
    /// The Secret with `username` and `password`, or `username` and `token` for XOAUTH2.
    pub secret_ref: LocalRef,
    /// The mechanism; the strongest that both sides support when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mechanism: Option<Mechanism>,
}

/// A SASL mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// The older mechanism, in two steps.
    Login,
    /// RFC 7677.
    ScramSha256,
    /// Google's and Microsoft's bearer token.
    XOAuth2,
}

impl Mechanism {
    const ALL: [Self; 4] = [Self::Plain, Self::Login, Self::ScramSha256, Self::XOAuth2];

    /// The mechanism's name in SASL.
    #[must_use]
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::XOAuth2 => "XOAUTH2",
        }
    }

    fn from_keyword(keyword: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.keyword() == keyword)
    }
}

impl Encryption {
    const fn port(self) -> u16 {
        match self {
            Self::StartTls => 587,
            Self::Tls => 465,
            Self::None => 25,
        }
    }

    /// What to write instead, where servers at this port usually expect another encryption.
    const fn advice_at(self, port: u16) -> Option<&'static str> {
        Some(match (port, self) {
            (465, Self::StartTls) => {
                "port 465 usually speaks TLS from the first byte, and a server that does never answers StartTls: write `encryption: Tls`, or use port 587"
            }
            (465, Self::None) => "port 465 usually speaks TLS from the first byte: write `encryption: Tls`",
            (587, Self::Tls) => {
                "port 587 usually begins without TLS and then switches to it: write `encryption: StartTls`, or use port 465"
            }
            (587, Self::None) => "port 587 usually switches to TLS: write `encryption: StartTls`",
            (25, Self::Tls) => "port 25 usually begins without TLS: write `encryption: StartTls`, or use port 465",
            _ => return None,
        })
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::StartTls => "StartTls",
            Self::Tls => "Tls",
            Self::None => "None",
        }
    }
}

impl Smtp {
    /// The effective host; empty where neither it nor a preset is given, which the schema rules out.
    #[must_use]
    pub fn host(&self) -> String {
        let of_preset = || self.preset.map(|preset| preset.host(self.region.as_deref())).unwrap_or_default();
        self.host.clone().unwrap_or_else(of_preset)
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::new(&self.host(), self.port())
    }

    /// The effective encryption.
    #[must_use]
    pub fn encryption(&self) -> Encryption {
        self.encryption.unwrap_or(Encryption::StartTls)
    }

    /// The effective port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or_else(|| self.encryption().port())
    }

    /// How long to wait for a reply.
    #[must_use]
    pub fn reply_timeout(&self) -> Duration {
        self.reply_timeout.unwrap_or(REPLY_TIMEOUT)
    }

    fn login(&self, context: &Context) -> Result<Option<Login>, Blocker> {
        let Some(auth) = &self.auth else { return Ok(None) };
        let get = |key: &str| context.secrets.get(&KeyRef { name: auth.secret_ref.name.clone(), key: key.to_owned() });
        let text = |key: &str| match get(key) {
            None => Ok(None),
            Some(value) => match value.expose_text() {
                Some(text) if !text.is_empty() && !text.contains(['\0', '\r', '\n']) => {
                    if key != "username" && scrub::is_too_short(text) {
                        return Err(self.secret_failure(Reason::SecretInvalid, &auth.secret_ref.name, key, TOO_SHORT));
                    }
                    Ok(Some((value, text)))
                }
                _ => Err(self.secret_failure(Reason::SecretInvalid, &auth.secret_ref.name, key, UNFIT)),
            },
        };
        let missing = |key: &str| self.secret_failure(Reason::SecretKeyNotFound, &auth.secret_ref.name, key, "is missing");
        if let Some(preset) = self.preset {
            let get = |key: &str| text(key).map(|found| found.map(|(_, text)| SecretValue::new(text)));
            return preset.login(self.region.as_deref(), auth.mechanism, get, missing).map(Some);
        }
        let (_, username) = text("username")?.ok_or_else(|| missing("username"))?;
        let token = if matches!(auth.mechanism, None | Some(Mechanism::XOAuth2)) { text("token")? } else { None };
        let (secret, is_token) = match (token, auth.mechanism) {
            (Some((token, _)), _) => (token, true),
            (None, Some(Mechanism::XOAuth2)) => return Err(missing("token")),
            (None, _) => (text("password")?.ok_or_else(|| missing("password"))?.0, false),
        };
        Ok(Some(Login { username: username.to_owned(), secret: secret.clone(), is_token, mechanism: auth.mechanism }))
    }

    fn own_tls(&self, context: &Context) -> Result<Option<Arc<rustls::ClientConfig>>, Blocker> {
        let Some(reference) = &self.ca_ref else { return Ok(None) };
        let failure = |reason, what: &str| self.secret_failure(reason, &reference.name, &reference.key, what);
        let pem = context.secrets.get(reference).ok_or_else(|| failure(Reason::SecretKeyNotFound, "is missing"))?;
        own_tls(pem.expose()).map(Some).map_err(|what| failure(Reason::SecretInvalid, &what))
    }

    fn secret_failure(&self, reason: Reason, name: &str, key: &str, what: &str) -> Blocker {
        let reference = KeyRef { name: name.to_owned(), key: key.to_owned() };
        super::secret_failure(reason, &reference, what, self.endpoint().as_str())
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether a host is on this machine or in a network of one's own, as far as its name says.
fn is_near(host: &str) -> bool {
    const OWN: &[&str] = &[".local", ".localdomain", ".internal", ".intranet", ".lan", ".svc", ".home.arpa", ".test"];
    let host = host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
    match host.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(address)) => address.is_loopback() || address.is_private() || address.is_link_local(),
        Ok(std::net::IpAddr::V6(address)) => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
        Err(_) => !host.contains('.') || OWN.iter().any(|end| host.ends_with(end)),
    }
}

impl Smtp {
    /// The host, where messages to it cross other people's networks in plain text.
    #[must_use]
    pub fn host_in_plain_text(&self) -> Option<String> {
        let host = self.host();
        (self.encryption() == Encryption::None && !is_near(&host)).then_some(host)
    }
}

/// How long to wait for a reply when the spec does not say.
const REPLY_TIMEOUT: Duration = Duration::from_secs(300);
const PATH: &str = "spec.provider.smtp";

impl ServerType for Smtp {
    const INFO: TypeInfo = TypeInfo {
        title: "SMTP relay",
        secret_keys: &[
            ("username", "the user name, where the server requires a login"),
            ("password", "the password"),
            ("token", "instead of the password, for XOAUTH2; a preset takes its vendor's own keys"),
        ],
        probe: "connects, negotiates TLS, logs in, and quits; without `auth`, a server that offers a login is asked whether it accepts mail without one (MAIL FROM, then RSET)",
        carries: "each message unchanged, pipelined over persistent connections",
        signs: "Mailfleet, with `identity.dkim`, over every field that matters and the whole body; behind the presets Ses, Mailgun and SparkPost as with those types; SendGrid, ElasticEmail, Postmark and Brevo write messages anew and sign them themselves, also over SMTP",
    };
}

impl Provider for Smtp {
    fn doubts(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let host = self.host();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if bare.contains(':') && bare.parse::<std::net::Ipv6Addr>().is_err() {
            found.push((format!("{PATH}.host"), format!("`{host}` is neither a host name nor an IPv6 address")));
        }
        let unencrypted = "messages and recipients would cross the network unencrypted; write `encryption: StartTls` if the server offers it, usually on port 587";
        let words = match (self.port(), self.encryption()) {
            (25, Encryption::None) if !is_loopback(&host) => unencrypted,
            (port, encryption) => encryption.advice_at(port).or_else(|| self.host_in_plain_text().map(|_| unencrypted)).unwrap_or_default(),
        };
        if !words.is_empty() {
            let field = if self.port.is_some() { "port" } else { "encryption" };
            found.push((format!("{PATH}.{field}"), words.to_owned()));
        }
        if let Some(name) = self.tls_server_name.as_ref().filter(|name| ServerName::try_from(name.as_str()).is_err()) {
            found.push((format!("{PATH}.tlsServerName"), format!("no certificate can carry `{name}`")));
        }
        found
    }

    fn secrets(&self) -> Vec<SecretUse> {
        let mut uses = Vec::new();
        if let Some(auth) = &self.auth {
            let keys: &[(&str, bool)] = match auth.mechanism {
                _ if self.preset.is_some() => self.preset.map_or(&[], Preset::secret_keys),
                None => &[("username", false), ("password", true), ("token", true)],
                Some(Mechanism::XOAuth2) => &[("username", false), ("token", false)],
                Some(_) => &[("username", false), ("password", false)],
            };
            uses.extend(keys.iter().map(|&(key, optional)| SecretUse {
                path: format!("{PATH}.auth.secretRef"),
                key: KeyRef { name: auth.secret_ref.name.clone(), key: key.to_owned() },
                optional,
            }));
        }
        uses.extend(self.ca_ref.iter().map(|key| SecretUse { path: format!("{PATH}.caRef"), key: key.clone(), optional: false }));
        uses
    }

    fn address(&self) -> String {
        format!("{}, {}", self.endpoint().as_str(), self.encryption().as_str())
    }

    fn has_envelope(&self) -> bool {
        true
    }

    fn signing(&self) -> Signing {
        self.preset.or_else(|| Preset::of_host(&self.host())).map_or(Signing::Ours(&Fields::UNTOUCHED), Preset::signing)
    }

    fn build(&self, context: Context) -> Result<Arc<dyn Server>, Blocker> {
        let login = self.login(&context)?.map_or(Credentials::None, Credentials::Fixed);
        self.build_with(&context, login)
    }
}

impl Smtp {
    /// A server where this user logs in by XOAUTH2, with tokens that expire.
    ///
    /// # Errors
    /// When a secret is unusable, or the token would be sent unencrypted.
    pub(super) fn build_with_tokens(&self, context: &Context, user: &str, tokens: Arc<Tokens>) -> Result<Arc<dyn Server>, Blocker> {
        let host = self.host();
        if self.encryption() == Encryption::None && !is_loopback(&host) {
            let what = "this would send the token unencrypted";
            return Err(self
                .endpoint()
                .connection(Reason::InvalidSpec, what, "Use encryption StartTls or Tls (None only for localhost).")
                .for_person());
        }
        self.build_with(context, Credentials::Tokens(user.to_owned(), tokens))
    }

    fn build_with(&self, context: &Context, login: Credentials) -> Result<Arc<dyn Server>, Blocker> {
        let target = Target {
            host: self.host(),
            port: self.port(),
            endpoint: self.endpoint(),
            encryption: self.encryption(),
            tls_name: self.tls_server_name.clone().unwrap_or_else(|| self.host().trim_matches(['[', ']']).trim_end_matches('.').to_owned()),
            own_tls: self.own_tls(context)?,
            helo_name: self.helo_name.clone(),
            scrubber: login.scrubber(),
            login,
            step_timeout: context.connect_timeout,
            egress: context.egress,
        };
        let reply_timeout = self.reply_timeout().std();
        let of_vendor = self.preset.and_then(Preset::messages_per_connection);
        let messages_per_connection = of_vendor.map_or(context.messages_per_connection, |max| context.messages_per_connection.min(max));
        Ok(Arc::new(SmtpServer::new(target, reply_timeout, context.connections, messages_per_connection)))
    }
}
