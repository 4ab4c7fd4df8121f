//! `SendingServer`: one way to send messages, with its limits and its probe.

mod status;
mod warmup;

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    status::{CameBack, DomainUsed, EffectiveServer, PausedNamespace, SendingServerStatus, ServerState, WarmupDay, WarmupStatus},
    warmup::{Advance, ExponentialWarmup, Warmup, WarmupPreset},
};
use super::{
    Duration, KeyRef, Object, Rate,
    dkim::{FOUR_OF_A_DOMAIN, SigningKey},
    feedback::Feedback,
    pattern,
    pause_when::{EffectivePauseWhen, PauseWhen},
    rule::Rule,
    webhook::{self, WebhookSpec},
};
use crate::providers::{Provider as _, ProviderSpec, SecretUse, Signing};

/// Two windows of one length are one too many: only the smaller limit would apply.
pub(super) const RATES_DIFFER: Rule = Rule::new(
    "!has(self.rates) || self.rates.all(a, self.rates.exists_one(b, duration(a.per) == duration(b.per)))",
    "two limits have the same `per`; keep the smaller of them",
)
.at(".rates");

/// Two entries with the same domain contradict each other.
const DOMAINS_DIFFER: Rule = Rule::new(
    "!has(self.perDomain) || self.perDomain.all(a, a.domains.all(domain, self.perDomain.exists_one(b, domain in b.domains)))",
    "a domain is in two entries; put it into one of them, with all of its windows",
)
.at(".perDomain");

/// A sending server.
pub type SendingServer = Object<SendingServerSpec, SendingServerStatus>;

/// The desired state of a sending server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = webhook::RULES))]
pub struct SendingServerSpec {
    /// Whether the server is used; true when absent. False makes it Inactive: nothing is probed or sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// The server's type and its settings: exactly one key, which is the type.
    pub provider: ProviderSpec,
    /// How much may be sent through the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ServerLimits>,
    /// A daily limit that grows, for a new server or address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup: Option<Warmup>,
    /// Which domains it sends for, and how it signs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// How bounces, complaints and other feedback are received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feedback: Option<Feedback>,
    /// How the server is probed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
}

impl SendingServerSpec {
    /// Whether a person lets it send.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled.unwrap_or(true)
    }

    /// Every key of a Secret that the server needs.
    #[must_use]
    pub fn secrets(&self) -> Vec<NeededSecret> {
        let needed = |SecretUse { path, key, optional }| NeededSecret { path, key, optional, purpose: SecretPurpose::Provider };
        let of_key = |(index, key): (usize, &SigningKey)| NeededSecret {
            path: format!("spec.identity.dkim[{index}].privateKeyRef"),
            key: key.private_key_ref.clone(),
            optional: false,
            purpose: SecretPurpose::Dkim,
        };
        let dkim = self.signing_keys().iter().enumerate().map(of_key);
        let feedback = |path: &str, name: &str, key: &str| NeededSecret {
            path: format!("spec.feedback.mailbox.imap.{path}"),
            key: KeyRef { name: name.to_owned(), key: key.to_owned() },
            optional: false,
            purpose: SecretPurpose::Feedback,
        };
        let imap = self.feedback.as_ref().and_then(|feedback| feedback.mailbox.as_ref()).map(|mailbox| &mailbox.imap);
        let login = imap
            .into_iter()
            .flat_map(|imap| ["username", "password"].map(|key| feedback("auth.secretRef", &imap.auth.secret_ref.name, key)));
        let ca = imap.and_then(|imap| imap.ca_ref.as_ref()).map(|ca| feedback("caRef", &ca.name, &ca.key));
        let webhook = self.webhook().and_then(|webhook| webhook.secret_ref.as_ref()).map(|key| NeededSecret {
            path: "spec.feedback.webhook.secretRef".to_owned(),
            key: key.clone(),
            optional: false,
            purpose: SecretPurpose::Webhook,
        });
        self.provider.secrets().into_iter().map(needed).chain(dkim).chain(webhook).chain(login).chain(ca).collect()
    }

    /// How the vendor's webhook requests are authenticated.
    #[must_use]
    pub fn webhook(&self) -> Option<&WebhookSpec> {
        self.feedback.as_ref()?.webhook.as_ref()
    }

    /// When it is paused, with defaults; `None` if never.
    #[must_use]
    pub fn pause_when(&self) -> Option<EffectivePauseWhen> {
        self.feedback.as_ref()?.pause_when.as_ref().map(PauseWhen::effective)
    }

    /// The keys that sign; none for a server that signs by itself.
    #[must_use]
    pub fn signing_keys(&self) -> &[SigningKey] {
        match (&self.identity, self.provider.signing()) {
            (Some(identity), Signing::Ours(_)) => &identity.dkim,
            _ => &[],
        }
    }

    /// The limits with their defaults.
    #[must_use]
    pub fn limits(&self) -> ServerLimits {
        self.limits.clone().unwrap_or_default()
    }

    /// The probe with its defaults.
    #[must_use]
    pub fn probe(&self) -> EffectiveProbe {
        let probe = self.probe.clone().unwrap_or_default();
        EffectiveProbe {
            interval: probe.interval.unwrap_or(Duration::from_secs(300)),
            timeout: probe.timeout.unwrap_or(Duration::from_secs(10)),
            retry_after: probe.retry_after.unwrap_or(Duration::from_secs(10)),
            failure_threshold: probe.failure_threshold.unwrap_or(3),
            success_threshold: probe.success_threshold.unwrap_or(1),
        }
    }
}

/// A key of a Secret that an object needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeededSecret {
    /// The field that names it, relative to the object: `spec.provider.smtp.auth.secretRef`.
    pub path: String,
    /// The Secret, in the object's namespace, and the key.
    pub key: KeyRef,
    /// Whether it may be absent.
    pub optional: bool,
    /// Who reads it, which decides how its absence shows.
    pub purpose: SecretPurpose,
}

/// What a Secret is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretPurpose {
    /// To connect and log in: without it the server is Inactive.
    Provider,
    /// To sign messages: without it the server is Inactive.
    Dkim,
    /// To check the calls of the vendor: without it they are refused, and sending is not affected.
    Webhook,
    /// To read what comes back: without it the server sends, and its bounces wait.
    Feedback,
    /// To fetch an audience: without it the campaign does not send.
    Audience,
}

/// The most concurrent connections where the spec sets none.
pub const CONNECTIONS_MAX: u32 = 20;
/// Connections that a server begins with where the spec sets none.
pub const CONNECTIONS_AT_FIRST: u32 = 4;

/// How much may be sent through a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [RATES_DIFFER, DOMAINS_DIFFER]))]
pub struct ServerLimits {
    /// Windows that all apply, for example 14 per second and 50,000 per 24h; each of a different length.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub rates: Vec<Rate>,
    /// Windows for recipients at some domains. Messages beyond them go to another server or wait, without delaying others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub per_domain: Vec<DomainLimits>,
    /// Concurrent connections. When absent, the number adapts: it grows up to 20 while that makes the server faster, and shrinks when
    /// the server refuses more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub connections: Option<u32>,
    /// Messages in flight at a time, whose outcome a crash would leave unknown. When absent, as many as the connections carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub in_flight: Option<u32>,
    /// Messages after which a connection is closed; 1,000 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub messages_per_connection: Option<u32>,
}

impl ServerLimits {
    /// The most concurrent connections.
    #[must_use]
    pub fn connections_max(&self) -> u32 {
        self.connections.unwrap_or(CONNECTIONS_MAX)
    }

    /// Messages after which a connection is closed.
    #[must_use]
    pub fn messages_per_connection(&self) -> u32 {
        self.messages_per_connection.unwrap_or(1000)
    }
}

/// How much may be sent through a server to some receiving domains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [RATES_DIFFER]))]
pub struct DomainLimits {
    /// Domains of recipients, which share these windows. One of Gmail, Outlook, Yahoo or iCloud covers all domains of that provider: `gmail.com` includes `googlemail.com`. Subdomains are not included.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 253), regex(pattern = pattern::DOMAIN)), extend("x-kubernetes-list-type" = "set"))]
    pub domains: Vec<String>,
    /// Windows that all apply, each of a different length.
    #[schemars(length(min = 1, max = 8))]
    pub rates: Vec<Rate>,
}

/// Which domains a server sends for, and how it signs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [FOUR_OF_A_DOMAIN]))]
pub struct Identity {
    /// The domains of From addresses that it may send for; all when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 253), regex(pattern = pattern::DOMAIN)), extend("x-kubernetes-list-type" = "set"))]
    pub domains: Vec<String>,
    /// The keys that sign messages (DKIM, RFC 6376 and 8463). Of a domain's keys, those sign whose record is published: of each
    /// algorithm, the first in this list. While none of them is known to be published, all sign.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["domain", "selector"]))]
    pub dkim: Vec<SigningKey>,
    /// The domain of the envelope sender (MAIL FROM); the From address when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::DOMAIN))]
    pub return_path: Option<String>,
    /// The addresses that its mail comes from, as receivers see them: SPF must permit them, and each needs a name in DNS. When absent,
    /// those of an SMTP `host` that is a public address or a name below one of these domains; others are not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>", length(max = 64), inner(length(min = 2, max = 45), regex(pattern = pattern::IP)), extend("x-kubernetes-list-type" = "set"))]
    pub sending_addresses: Vec<IpAddr>,
    /// Whether a DNS record of this identity that is missing or wrong makes the server Inactive; false when absent. Records that
    /// cannot be looked up change nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require_dns: Option<bool>,
}

/// How a server is probed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    Rule::new(
        "!has(self.interval) || duration(self.interval) >= duration('1s') && duration(self.interval) <= duration('744h')",
        "this must be from 1s to 744h (31 days)",
    ).at(".interval"),
    Rule::new(
        "!has(self.timeout) || duration(self.timeout) >= duration('100ms') && duration(self.timeout) <= duration('10m')",
        "this must be from 100ms to 10m",
    ).at(".timeout"),
    Rule::new(
        "!has(self.retryAfter) || duration(self.retryAfter) >= duration('100ms') && duration(self.retryAfter) <= duration('24h')",
        "this must be from 100ms to 24h",
    ).at(".retryAfter"),
]))]
pub struct Probe {
    /// The interval between probes of a healthy server, with 10% jitter; 1s to 744h, 5m when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// The timeout of a whole probe; 100ms to 10m, 10s when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// The delay after a failed probe; 100ms to 24h, 10s when absent. It doubles with each failure once the server is Inactive, up to `interval`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Duration>,
    /// Consecutive failed probes that make an Active server Inactive; 3 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub failure_threshold: Option<u32>,
    /// Consecutive successful probes that make an Inactive server Active; 1 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub success_threshold: Option<u32>,
}

/// A probe with its defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveProbe {
    /// The interval between probes of a healthy server.
    pub interval: Duration,
    /// The timeout of a whole probe.
    pub timeout: Duration,
    /// The delay after a failed probe.
    pub retry_after: Duration,
    /// Consecutive failed probes that make an Active server Inactive.
    pub failure_threshold: u32,
    /// Consecutive successful probes that make an Inactive server Active.
    pub success_threshold: u32,
}
