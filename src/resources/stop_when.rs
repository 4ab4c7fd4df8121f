//! When a campaign stops because too much of it comes back. Plain data. Pure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Percent;

/// Thresholds at which a campaign stops until a person resumes it. They apply to every campaign, with these defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StopWhen {
    /// Recipients whose address does not accept mail (rejected at once, or bounced later), in percent of those who have an outcome, as text; `"10"` when absent, and `"100"` never stops it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounce_percent: Option<Percent>,
    /// Complaints, in percent of accepted messages, as text; `"0.3"` when absent, as mailbox providers require, and `"100"` never stops it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complaint_percent: Option<Percent>,
    /// Minimum number of outcomes before the thresholds apply; 200 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub after_messages: Option<u64>,
}

/// Thresholds, with their defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveStopWhen {
    /// Rejected and bounced recipients, in percent of those with an outcome.
    pub bounce_percent: Percent,
    /// Complaints, in percent of accepted messages.
    pub complaint_percent: Percent,
    /// Minimum number of outcomes before they apply.
    pub after_messages: u64,
}

impl Default for EffectiveStopWhen {
    fn default() -> Self {
        StopWhen::default().effective()
    }
}

impl StopWhen {
    /// The thresholds with their defaults.
    #[must_use]
    pub fn effective(&self) -> EffectiveStopWhen {
        EffectiveStopWhen {
            bounce_percent: self.bounce_percent.unwrap_or(Percent::of_thousandths(10_000)),
            complaint_percent: self.complaint_percent.unwrap_or(Percent::of_thousandths(300)),
            after_messages: self.after_messages.unwrap_or(200),
        }
    }
}
