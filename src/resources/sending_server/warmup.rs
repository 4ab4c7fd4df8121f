//! Warm-up: a daily limit that grows.

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::resources::{pattern, rule::Rule};

const TARGET_IS_ABOVE: Rule =
    Rule::new("self.target >= self.firstDay", "the target is less than `firstDay`; warm-up grows, so make it at least that").at(".target");

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
    /// After a UTC day on which at least 80% of the limit was sent, and of which no more came back than `feedback.pauseWhen` allows (by its defaults when absent): reputation follows the volume actually sent, not the calendar.
    WhenUsed,
    /// Each UTC day, whatever was sent.
    Daily,
}

/// Schedules for warm-up that vendors use or advise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum WarmupPreset {
    /// From 50 a day to 50,000 a day within 45 days, as Amazon SES warms up its dedicated addresses; the growth is even (17%), since SES publishes no table.
    Cautious,
    /// From 1,000 a day to 250,000 a day in 30 days, as AcelleMail advises for new sending servers; between the days that it names, the limit stays the same.
    Balanced,
    /// From 480 a day (20 an hour), growing by 40% each day, to 10 million a day in 30 days, as SendGrid warms up dedicated addresses. For lists of people who are known to want the mail.
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
