//! The observed state of a sending server.

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::EffectiveProbe;
use crate::resources::{Condition, Percent, Rate};

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
    /// The progress of the warm-up; absent without `warmup`, and once it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup: Option<WarmupStatus>,
    /// What came back for the messages that it was given, by which `feedback.pauseWhen` judges it; absent without that, unless something is paused.
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

/// What came back for a server's messages: within the window of `feedback.pauseWhen`, and since the last pause ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CameBack {
    /// Messages that it accepted. Those of paused namespaces are in none of these counts.
    pub accepted: u64,
    /// Messages whose recipient it rejected.
    pub rejected: u64,
    /// Accepted messages that bounced permanently.
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
    /// The share that it is given since a pause ended automatically, such as `about 6 a minute`; it grows while few messages come back. Absent otherwise.
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
    /// The numbers, and what to do.
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
    /// The day of the schedule that applies today, from 1.
    pub step: u32,
    /// Days of the schedule in all.
    pub steps: u32,
    /// Today's limit, messages.
    pub limit: u64,
    /// Messages sent today, UTC; absent before the server is used by a campaign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    /// Messages that must be sent today for tomorrow to be the next day of the schedule.
    pub needed: u64,
    /// UTC days since the first one that did not count: less than 80% of their limit was sent, or too much of it came back.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub days_not_counted: u32,
    /// The days ahead, if each of them counts; the first 30.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ahead: Vec<WarmupDay>,
    /// The first UTC day without a warm-up limit, if each day until then counts.
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
