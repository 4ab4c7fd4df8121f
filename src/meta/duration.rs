//! Durations as people write them in YAML: `10s`, `5m`, `1h30m`, `250ms` (GEP-2257).
//!
//! [`Duration`] has the name of Kubernetes' `metav1.Duration`, whose form it has in YAML; where the standard library's is needed
//! beside it, that one is imported as `StdDuration`.

use std::{fmt, str::FromStr, time::Duration as StdDuration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::pattern;

/// Numbers with units in one duration (GEP-2257).
const PARTS_MAX: usize = 4;
/// Digits of each number (GEP-2257).
const DIGITS_MAX: usize = 5;

/// A span of time, at millisecond resolution.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(StdDuration);

impl Duration {
    /// A duration of whole seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(StdDuration::from_secs(secs))
    }

    /// A duration of milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(StdDuration::from_millis(millis))
    }

    /// The same as the standard library's type.
    #[must_use]
    pub const fn std(self) -> StdDuration {
        self.0
    }

    /// A time that is still to pass, no finer than a person needs: whole seconds up to a minute, then minutes up to two hours, then
    /// hours; rounded up.
    #[must_use]
    pub fn rough(secs: f64) -> Self {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let secs = secs.ceil() as u64;
        let unit = match secs {
            0..60 => 1,
            60..7200 => 60,
            _ => 3600,
        };
        Self::from_secs(secs.div_ceil(unit) * unit)
    }

    /// For people: as in YAML, and from two days on in days, rounded up: `45s`, `3m`, `47h`, `6 days`.
    #[must_use]
    pub fn in_words(self) -> String {
        match self.0.as_secs() {
            0..172_800 => self.to_string(),
            secs => format!("{} days", secs.div_ceil(86_400)),
        }
    }

    /// The same in milliseconds.
    #[must_use]
    pub fn as_millis(self) -> i64 {
        i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX)
    }
}

/// Rounded down to milliseconds.
impl From<StdDuration> for Duration {
    fn from(duration: StdDuration) -> Self {
        Self::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }
}

impl From<Duration> for StdDuration {
    fn from(duration: Duration) -> Self {
        duration.0
    }
}

impl FromStr for Duration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let problem =
            || format!("`{text}` is not a duration; write a whole number and a unit (h, m, s or ms), for example `30s` or `1h30m`");
        let mut rest = text;
        let mut millis: u64 = 0;
        for part in 0.. {
            if part > 0 && rest.is_empty() {
                break;
            }
            let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|digits| (1..=DIGITS_MAX).contains(digits) && part < PARTS_MAX);
            let (number, after) = rest.split_at(digits.ok_or_else(problem)?);
            let unit = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
            let size: u64 = match &after[..unit] {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                _ => return Err(problem()),
            };
            millis += number.parse::<u64>().map_err(|_| problem())? * size;
            rest = &after[unit..];
        }
        Ok(Self(StdDuration::from_millis(millis)))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut millis = self.0.as_millis();
        if millis == 0 {
            return f.write_str("0s");
        }
        // Hours stay hours (24h, not 1d): it is how limits are spoken of.
        for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            if millis >= size {
                write!(f, "{}{unit}", millis / size)?;
                millis %= size;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": pattern::DURATION, "maxLength": 28})
    }
}

#[cfg(test)]
mod tests {
    use super::Duration;

    #[test]
    fn times_are_no_finer_than_a_person_needs() {
        let told = |secs: f64| Duration::rough(secs).in_words();
        assert_eq!([0.0, 0.2, 59.1, 61.0, 7199.0, 7201.0].map(told), ["0s", "1s", "1m", "2m", "2h", "3h"]);
        assert_eq!([172_799.0, 172_800.0, 500_000.0].map(told), ["2 days", "2 days", "6 days"]);
        assert_eq!(Duration::from_secs(169_200).in_words(), "47h");
    }

    #[test]
    fn reads_and_prints_as_people_write() {
        for (text, printed, millis) in [
            ("10s", "10s", 10_000),
            ("1h30m", "1h30m", 5_400_000),
            ("24h", "24h", 86_400_000),
            ("168h", "168h", 604_800_000),
            ("99999h99999h1s1ms", "199998h1s1ms", 719_992_801_001),
            ("250ms", "250ms", 250),
            ("0s", "0s", 0),
        ] {
            let duration: Duration = text.parse().expect(text);
            assert_eq!((duration.to_string().as_str(), duration.as_millis()), (printed, millis));
        }
        for text in ["", "10", "s", "1x", "-1s", "1.5h", "7d", "100000s", "1s1s1s1s1s", "1", "1h30"] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
    }
}
