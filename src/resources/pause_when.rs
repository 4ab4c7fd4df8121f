//! When a server is paused because too much of what it took comes back. Plain data. Pure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Duration, Percent, rule::Rule};

/// Thresholds at which a server is paused. What comes back is judged by namespace first: a namespace with too much may no longer use
/// the server, and does not count against the others. The server itself is paused when too much of what the others sent comes back as
/// well, and no namespace stands out, or when no other namespace uses it. No edit ends a pause.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    Rule::new(
        "!has(self.window) || duration(self.window) >= duration('1h') && duration(self.window) <= duration('720h')",
        "this must be from 1h to 720h (30 days)",
    ).at(".window"),
    Rule::new(
        "!has(self.resumeAfter) || duration(self.resumeAfter) >= duration('10s') && duration(self.resumeAfter) <= duration('720h')",
        "this must be from 10s to 720h (30 days)",
    ).at(".resumeAfter"),
]))]
pub struct PauseWhen {
    /// Messages whose address does not accept mail (rejected at once, or bounced later), in percent of those that were accepted or rejected, as text; `"10"` when absent, and `"100"` never pauses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounce_percent: Option<Percent>,
    /// Complaints, in percent of accepted messages, as text; `"0.3"` when absent, as mailbox providers require, and `"100"` never pauses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complaint_percent: Option<Percent>,
    /// Minimum number of messages before the thresholds apply; 200 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub after_messages: Option<u64>,
    /// How far back messages are judged, by the hour in which they were sent; 1h to 720h (30 days), 24h when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Duration>,
    /// After this long a pause ends automatically, and the server then sends a small share that grows while few messages come back; 10s to 720h. When absent, a person ends it: `mailfleet resume server/NAME`, or a new value of the annotation `mailfleet.dev/resume`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_after: Option<Duration>,
}

/// Thresholds, with their defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectivePauseWhen {
    /// Rejected and bounced messages, in percent of accepted and rejected ones.
    pub bounce_percent: Percent,
    /// Complaints, in percent of accepted messages.
    pub complaint_percent: Percent,
    /// Minimum number of messages before they apply.
    pub after_messages: u64,
    /// How far back.
    pub window: Duration,
    /// After how long a pause ends automatically, if it does.
    pub resume_after: Option<Duration>,
}

impl Default for EffectivePauseWhen {
    fn default() -> Self {
        PauseWhen::default().effective()
    }
}

impl PauseWhen {
    /// The thresholds with their defaults.
    #[must_use]
    pub fn effective(&self) -> EffectivePauseWhen {
        EffectivePauseWhen {
            bounce_percent: self.bounce_percent.unwrap_or(Percent::of_thousandths(10_000)),
            complaint_percent: self.complaint_percent.unwrap_or(Percent::of_thousandths(300)),
            after_messages: self.after_messages.unwrap_or(200),
            window: self.window.unwrap_or(Duration::from_secs(86_400)),
            resume_after: self.resume_after,
        }
    }
}
