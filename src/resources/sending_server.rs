//! `SendingServer`: one way to hand messages over, with its limits and its probe.

use std::net::IpAddr;

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Condition, Duration, KeyRef, Object, Percent, Rate,
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

const TARGET_IS_ABOVE: Rule =
    Rule::new("self.target >= self.firstDay", "the target is less than `firstDay`; warm-up grows, so make it at least that").at(".target");

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
    /// Bounces, complaints and what else comes back.
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
    /// What it is needed for.
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
    /// Windows for the recipients of receiving domains. What has no room here goes to another server or waits, and holds up nobody else.
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
    /// Domains of recipients, which share these windows. One of Gmail, Outlook, Yahoo or iCloud stands for all of that provider's: `gmail.com` includes `googlemail.com`. Subdomains are not included.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 253), regex(pattern = pattern::DOMAIN)), extend("x-kubernetes-list-type" = "set"))]
    pub domains: Vec<String>,
    /// Windows that all apply, each of a different length.
    #[schemars(length(min = 1, max = 8))]
    pub rates: Vec<Rate>,
}

/// A daily limit that grows. Days are UTC days from `startDate` on; exactly one of the four schedules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [Rule::new(
    "[has(self.preset), has(self.exponential), has(self.linear), has(self.schedule)].exists_one(given, given)",
    "exactly one of `preset`, `exponential`, `linear` and `schedule` is needed",
)]))]
pub struct Warmup {
    /// The first day, UTC. Before it, the limit of the first day applies.
    #[schemars(with = "String", length(max = 10), regex(pattern = pattern::DATE))]
    pub start_date: Date,
    /// When the next day of the schedule begins; `WhenUsed` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advance: Option<Advance>,
    /// A schedule that a vendor uses or advises.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<WarmupPreset>,
    /// A limit that grows by a percentage each day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exponential: Option<ExponentialWarmup>,
    /// A limit that grows by a fixed number of messages each day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linear: Option<LinearWarmup>,
    /// The limit of each day; warm-up ends after the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 366), inner(range(min = 1, max = 1_000_000_000)))]
    pub schedule: Option<Vec<u64>>,
}

impl Warmup {
    /// When the next day of the schedule begins.
    #[must_use]
    pub fn advance(&self) -> Advance {
        self.advance.unwrap_or(Advance::WhenUsed)
    }
}

/// When the next day of a warm-up's schedule begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Advance {
    /// After a UTC day on which at least 80% of the limit was sent, and of which no more came back than `feedback.pauseWhen` allows (by its defaults when absent): receivers grow used to what they are sent, and not to a calendar.
    WhenUsed,
    /// Each UTC day, whatever was sent.
    Daily,
}

/// Schedules for warm-up that vendors use or advise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum WarmupPreset {
    /// From 50 a day to 50,000 a day within 45 days, as Amazon SES brings up its dedicated addresses; the growth is even (17%), since SES publishes no table.
    Cautious,
    /// From 1,000 a day to 250,000 a day in 30 days, as AcelleMail advises for new sending servers; between the days that it names the limit stays.
    Balanced,
    /// From 480 a day (20 an hour) by 40% each day to 10 million a day in 30 days, as SendGrid warms up dedicated addresses. For lists whose people are known to want the mail.
    Fast,
}

/// Exponential warm-up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [TARGET_IS_ABOVE]))]
pub struct ExponentialWarmup {
    /// Messages on the first day.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub first_day: u64,
    /// Growth from day to day, in percent.
    #[schemars(range(min = 1, max = 1000))]
    pub growth_percent: u32,
    /// The messages per day at which warm-up ends.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub target: u64,
}

/// Linear warm-up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [TARGET_IS_ABOVE]))]
pub struct LinearWarmup {
    /// Messages on the first day.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub first_day: u64,
    /// Growth from day to day, in messages.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub daily_increase: u64,
    /// The messages per day at which warm-up ends.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub target: u64,
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

/// The two states of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ServerState {
    /// It may be sent through.
    Active,
    /// It may not; the conditions say why.
    Inactive,
}

/// The observed state of a sending server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SendingServerStatus {
    /// The generation that this status is about.
    pub observed_generation: i64,
    /// Active or Inactive.
    pub state: ServerState,
    /// The type: the key under `spec.provider`.
    pub provider: String,
    /// Its address, for display (`smtp.example.com:587, StartTls`).
    pub address: String,
    /// Messages sent in the longest window of its limits, such as `1200/50000 per 24h`; absent without a window longer than a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<String>,
    /// Messages in the longest window of each entry of `limits.perDomain`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub per_domain: Vec<DomainUsed>,
    /// Where the warm-up is; absent without `warmup`, and once it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup: Option<WarmupStatus>,
    /// What came back of the messages that it was given, by which `feedback.pauseWhen` judges it; absent without that, unless something is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub came_back: Option<CameBack>,
    /// The rate at which it is sent messages since it reported too many, such as `about 130 a second`: the rate that it had accepted,
    /// slowly raised; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slowed_to: Option<String>,
    /// The effective values where the spec sets none.
    pub effective: EffectiveServer,
    /// Why, in detail.
    pub conditions: Vec<Condition>,
}

/// What came back of a server's messages: within the window of `feedback.pauseWhen`, and since the last pause ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CameBack {
    /// Messages that it accepted. Those of paused namespaces are in none of these counts.
    pub accepted: u64,
    /// Messages whose recipient it rejected.
    pub rejected: u64,
    /// Accepted messages that bounced for good.
    pub bounced: u64,
    /// Accepted messages that were reported as spam.
    pub complained: u64,
    /// Rejected and bounced messages, in percent of accepted and rejected ones.
    pub bounce_percent: Percent,
    /// Complaints, in percent of accepted messages.
    pub complaint_percent: Percent,
    /// Namespaces whose campaigns are not sent through it, because too much of what they sent came back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paused: Vec<PausedNamespace>,
    /// The share that it is given since a pause ended by itself, such as `about 6 a minute`; it grows while the server does well. Absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<String>,
}

impl CameBack {
    /// The same but for what changes with every message.
    #[must_use]
    pub fn without_counts(self) -> Self {
        let none = Percent::of_thousandths(0);
        let (bounce_percent, complaint_percent) = (none, none);
        Self { accepted: 0, rejected: 0, bounced: 0, complained: 0, bounce_percent, complaint_percent, ..self }
    }
}

/// A namespace whose campaigns are not sent through a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PausedNamespace {
    /// Its name.
    pub namespace: String,
    /// Why: `BounceRateTooHigh` or `ComplaintRateTooHigh`.
    pub reason: String,
    /// The figures, and what to do.
    pub message: String,
}

/// How much of a limit for receiving domains is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DomainUsed {
    /// The domains, as the spec names them.
    pub domains: Vec<String>,
    /// Messages sent in the longest window, such as `80/100 per 1h`; absent without a window longer than a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<String>,
}

/// Where a warm-up is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WarmupStatus {
    /// The day of the schedule that holds today, from 1.
    pub step: u32,
    /// Days of the schedule in all.
    pub steps: u32,
    /// Today's limit, messages.
    pub limit: u64,
    /// Messages sent today, UTC; absent before the server is used by a campaign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    /// Messages of today after which tomorrow is the next day of the schedule.
    pub needed: u64,
    /// UTC days since the first one that did not count: less than 80% of their limit was sent, or too much of it came back.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub days_not_counted: u32,
    /// The days ahead, if each of them counts; the first 30.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ahead: Vec<WarmupDay>,
    /// The first UTC day without a limit by the warm-up, if each day until then counts.
    #[schemars(with = "String")]
    pub over_on: Date,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// A day of a warm-up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WarmupDay {
    /// The UTC day.
    #[schemars(with = "String")]
    pub day: Date,
    /// Its limit, messages.
    pub limit: u64,
}

/// A server's effective values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveServer {
    /// Concurrent connections: as the spec says, or as many as increase the throughput; fewer when the server refuses more.
    pub connections: u32,
    /// The most messages in flight at a time, whose outcome a crash would leave unknown.
    pub in_flight: u32,
    /// Messages after which a connection is closed.
    pub messages_per_connection: u32,
    /// The windows that apply: the spec's, those that the vendor is known to set, and those of the account.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rates: Vec<Rate>,
    /// The probe.
    pub probe: EffectiveProbe,
}
