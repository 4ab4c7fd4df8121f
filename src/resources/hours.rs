//! When a campaign is sent: its start, and the hours of a day in which it may send. Plain data. Pure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{pattern, rule::Rule};

/// The longest name of a zone, characters.
const ZONE_MAX: u32 = 64;

/// The hours in which a campaign may send, in the local time of a time zone.
///
/// Outside of them no message is claimed; what a server was handed before gets its outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [Rule::new(
    "self.from != self.to",
    "from and to are the same, which leaves no hours; for whole days write from: \"00:00\" and to: \"24:00\"",
)]))]
pub struct SendingHours {
    /// The time zone, by its name in the IANA database, for example `Europe/Berlin`.
    #[schemars(length(min = 1, max = ZONE_MAX), regex(pattern = pattern::ZONE))]
    pub zone: String,
    /// The days on which the hours begin; every day when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 7), extend("x-kubernetes-list-type" = "set"))]
    pub days: Option<Vec<Day>>,
    /// When they begin, for example `"08:00"`.
    #[schemars(length(max = 5), regex(pattern = pattern::TIME_OF_DAY))]
    pub from: String,
    /// When they end, for example `"18:00"`, up to `"24:00"`; earlier than `from`, it is a time on the next day.
    #[schemars(length(max = 5), regex(pattern = pattern::END_OF_SPAN))]
    pub to: String,
    /// The field of the audience with each recipient's own time zone, in which the hours then apply; `zone` applies where it is missing, empty or not the name of a zone. Without this field, `zone` applies to everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = pattern::ONE_LINE))]
    pub zone_field: Option<String>,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// A moment as people write it: a time (RFC 3339), or a local time with its zone in brackets (RFC 9557).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StartAt(pub String);

impl StartAt {
    /// The local time, with its offset where one is written, and the name of the zone; the zone is absent where the time says all.
    #[must_use]
    pub fn parts(&self) -> (&str, Option<&str>) {
        let zoned = self.0.strip_suffix(']').and_then(|text| text.split_once('['));
        zoned.map_or((&*self.0, None), |(time, zone)| (time, Some(zone)))
    }
}
