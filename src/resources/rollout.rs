//! The rollout of a campaign in steps: what people write, how far a run has come, and what status says. Plain data. Pure.

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Duration, Percent, pattern, resume::Handled, rule::Rule};
use crate::{feedback::Judged, meta::whole::near_integer};

/// The annotation of a Campaign that begins the next step. Each value is acted on once; a new value is a new request.
pub const ANNOTATION: &str = "mailfleet.dev/promote";

/// The steps in which a run reaches its audience: a random share of it first, then larger ones, then everybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    Rule::new(
        "self.steps.all(step, double(step.percent) > 0.0 && double(step.percent) < 100.0)",
        "a step has more than 0 and less than 100 percent; everybody else is mailed after the last one",
    ).at(".steps"),
    Rule::new(
        "[0, 1, 2, 3, 4, 5, 6, 7, 8].all(at, at + 1 >= size(self.steps) || double(self.steps[at].percent) < double(self.steps[at + 1].percent))",
        "each step must have more percent than the one before, since it contains it",
    ).at(".steps"),
]))]
pub struct Rollout {
    /// The steps, with rising shares; after the last one everybody is mailed.
    #[schemars(length(min = 1, max = 10))]
    pub steps: Vec<RolloutStep>,
}

/// One step of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RolloutStep {
    /// The share of the audience that is mailed once this step is over, those of earlier steps included: a whole number, or a text such as `"0.1"`.
    pub percent: StepPercent,
    /// With fewer outcomes than this in the step, a person decides whether the next one begins; `stopWhen.afterMessages` when absent. From that number on (or from `stopWhen.afterMessages` on, if that is less), `stopWhen` judges the step on its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub min_messages: Option<u64>,
    /// How long to wait once the step is sent, while bounces and complaints come in; not at all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
}

/// A pause after a step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [Rule::new(
    "!has(self.duration) || duration(self.duration) >= duration('1s') && duration(self.duration) <= duration('720h')",
    "this must be from 1s to 720h (30 days)",
).at(".duration")]))]
pub struct Pause {
    /// How long it lasts, from when the step was sent; 1s to 720h, until a person promotes the campaign when absent. `mailfleet promote`, or the annotation `mailfleet.dev/promote`, ends any pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
}

/// The share of a step: more than 0 and less than 100 percent. A whole number, since that is what people write, or a text as everywhere
/// else: a tenth of a percent of a million people is a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StepPercent(pub Percent);

impl Serialize for StepPercent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.to_string().parse::<u8>() {
            Ok(whole) => serializer.serialize_u8(whole),
            Err(_) => self.0.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for StepPercent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = StepPercent;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a whole number from 1 to 99, or a text such as \"0.1\"")
            }

            fn visit_u64<E: de::Error>(self, whole: u64) -> Result<Self::Value, E> {
                let percent = u32::try_from(whole).ok().filter(|whole| (1..100).contains(whole));
                let percent = percent.ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(whole), &self))?;
                Ok(StepPercent(Percent::of_thousandths(percent * 1_000)))
            }

            fn visit_i64<E: de::Error>(self, whole: i64) -> Result<Self::Value, E> {
                u64::try_from(whole)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(whole), &self))
                    .and_then(|whole| self.visit_u64(whole))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self::Value, E> {
                near_integer(number)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Float(number), &self))
                    .and_then(|whole| self.visit_i64(whole))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                let percent = Percent::parse(text).map_err(E::custom)?;
                let is_within = percent > Percent::of_thousandths(0) && percent < Percent::ALL;
                if is_within { Ok(StepPercent(percent)) } else { Err(E::invalid_value(de::Unexpected::Str(text), &self)) }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for StepPercent {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "StepPercent".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "minimum": 1,
            "maximum": 99,
            "maxLength": 7,
            "pattern": pattern::PERCENT,
        })
    }
}

/// How far a run has come, as the ledger keeps it. It never goes back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// The share of the audience that may be mailed.
    pub share: Percent,
    /// Since when, milliseconds.
    pub began_ms: i64,
    /// When everybody of it was mailed once, or was to be tried again later, milliseconds.
    pub sent_ms: Option<i64>,
    /// Messages that were accepted or rejected before.
    pub ended_before: u64,
    /// What the run had when the step began, or when a person resumed it last, whichever was later: accepted and rejected.
    pub judged_from: Judged,
    /// Messages since then that bounced for good.
    pub bounced: u64,
    /// Complaints about messages since then.
    pub complained: u64,
    /// Requests to promote that were carried out, or that the run began with.
    pub promote_handled: Handled,
}

impl Reached {
    /// Whether everybody may be mailed.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.share >= Percent::ALL
    }

    /// Whether the data plane and the ledger mean the same step, at the same point of it.
    #[must_use]
    pub fn is_at(&self, other: &Self) -> bool {
        self.share == other.share && self.sent_ms == other.sent_ms && self.promote_handled.newest() == other.promote_handled.newest()
    }
}

/// The beginning of a step that is due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NextStep {
    /// The share that was reached.
    pub from: Percent,
    /// The share of the step.
    pub to: Percent,
    /// Bounces of the step before, as they were judged: the step begins only if there are no more by then.
    pub bounced: u64,
    /// Complaints about the step before, as they were judged.
    pub complained: u64,
    /// The person's request that it follows, if there was one.
    pub promote: Option<String>,
}

/// Where a rollout is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RolloutState {
    /// The step is being sent.
    Sending,
    /// The step was sent, and Mailfleet waits for bounces and complaints; the next step begins automatically.
    Paused,
    /// The step was sent, and a person decides whether the next one begins.
    WaitingForPromotion,
    /// The campaign is stopped, because too much of the step came back or for what else its conditions say; nobody else is mailed.
    Stopped,
    /// All steps are over: everybody is mailed.
    Finished,
}

/// What the guards of `stopWhen` say of a step, by its own messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StepVerdict {
    /// Too few messages have an outcome.
    Undecided,
    /// No threshold is exceeded.
    Passing,
    /// A threshold is exceeded.
    Failed,
}

/// The rollout of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// The step and its share: `1/2 (1%)`, or `done`.
    pub progress: String,
    /// The number of the step, from 1; one more than there are once all are over.
    pub step: u32,
    /// How many steps there are.
    pub steps: u32,
    /// The share of the audience that may be mailed now, in percent.
    pub percent: Percent,
    /// Where the step is.
    pub state: RolloutState,
    /// What `stopWhen` says of it.
    pub verdict: StepVerdict,
    /// Messages of the step that were accepted or rejected.
    pub messages: u64,
    /// Messages of the step that bounced permanently, of those that are judged.
    pub bounced: u64,
    /// Complaints about the messages that are judged.
    pub complained: u64,
    /// When the step began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub began_at: Option<Timestamp>,
    /// Until when it pauses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub pauses_until: Option<Timestamp>,
    /// The value of the annotation `mailfleet.dev/promote` that was acted on last, or that the run began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_promote: Option<String>,
    /// The same in words, and what happens next.
    pub message: String,
}

impl RolloutStatus {
    /// The same but for what changes with every message.
    #[must_use]
    pub fn without_counters(&self) -> Self {
        Self { messages: 0, message: String::new(), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_whole_numbers_or_texts_and_written_as_they_are_read() {
        for (json, thousandths) in [("1", 1_000), ("99", 99_000), ("\"0.1\"", 100), ("\"12.125\"", 12_125)] {
            let percent: StepPercent = serde_json::from_str(json).expect(json);
            assert_eq!((percent.0, &*serde_json::to_string(&percent).expect("JSON")), (Percent::of_thousandths(thousandths), json));
        }
        assert_eq!(serde_json::from_str::<StepPercent>("\"5\"").expect("a text").0, Percent::of_thousandths(5_000));
        for json in ["0", "100", "-1", "0.5", "\"0\"", "\"100\"", "\"1%\"", "true", "\"\""] {
            assert!(serde_json::from_str::<StepPercent>(json).is_err(), "{json}");
        }
    }
}
