//! A bound as a number or as a share: `100`, or `"5%"`, as Kubernetes' `IntOrString` of `maxUnavailable`. Pure.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::whole::near_integer;

/// Below this number of cases a share says too little.
const JUDGED_FROM: u64 = 100;
/// The largest number.
const COUNT_MAX: u64 = 1_000_000_000;
/// What a text must look like.
const PERCENT: &str = "^(100|[1-9]?[0-9])%$";

/// How many of something are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CountOrPercent {
    /// This many, 0 to 1,000,000,000.
    Count(u64),
    /// This share of all, 0 to 100.
    Percent(u8),
}

impl CountOrPercent {
    /// Whether `count` of `all` is more than allowed, once all of them are known.
    #[must_use]
    pub const fn is_exceeded(self, count: u64, all: u64) -> bool {
        match self {
            Self::Count(max) => count > max,
            Self::Percent(percent) => count.saturating_mul(100) > all.saturating_mul(percent as u64),
        }
    }

    /// Whether `count` of `all` so far is more than allowed: a share is judged from 100 on.
    #[must_use]
    pub const fn is_exceeded_so_far(self, count: u64, all: u64) -> bool {
        match self {
            Self::Count(_) => self.is_exceeded(count, all),
            Self::Percent(_) => all >= JUDGED_FROM && self.is_exceeded(count, all),
        }
    }
}

impl fmt::Display for CountOrPercent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Serialize for CountOrPercent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u64(*count),
            Self::Percent(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for CountOrPercent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = CountOrPercent;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or a percentage such as \"5%\"")
            }

            fn visit_u64<E: de::Error>(self, count: u64) -> Result<Self::Value, E> {
                Ok(CountOrPercent::Count(count))
            }

            fn visit_i64<E: de::Error>(self, count: i64) -> Result<Self::Value, E> {
                u64::try_from(count).map(CountOrPercent::Count).map_err(|_| E::invalid_value(de::Unexpected::Signed(count), &self))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self::Value, E> {
                let count = near_integer(number).ok_or_else(|| E::invalid_value(de::Unexpected::Float(number), &self))?;
                self.visit_i64(count)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                let percent = text.strip_suffix('%').and_then(|number| number.parse().ok()).filter(|percent| *percent <= 100);
                percent.map(CountOrPercent::Percent).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for CountOrPercent {
    fn schema_name() -> Cow<'static, str> {
        "CountOrPercent".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "minimum": 0,
            "maximum": COUNT_MAX,
            "maxLength": 4,
            "pattern": PERCENT,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_judged_from_a_hundred_on_and_at_the_end() {
        let five = CountOrPercent::Percent(5);
        assert!(!five.is_exceeded_so_far(99, 99) && five.is_exceeded(99, 99));
        assert!(!five.is_exceeded_so_far(5, 100) && five.is_exceeded_so_far(6, 100));
        assert!(CountOrPercent::Count(2).is_exceeded_so_far(3, 3) && !CountOrPercent::Count(2).is_exceeded(2, 2));
        assert!(CountOrPercent::Percent(0).is_exceeded(1, 1_000_000) && !CountOrPercent::Percent(100).is_exceeded(7, 7));
    }

    #[test]
    fn it_is_written_as_it_is_read() {
        for (json, value) in [("0", CountOrPercent::Count(0)), ("100", CountOrPercent::Count(100)), ("\"5%\"", CountOrPercent::Percent(5))]
        {
            assert_eq!(serde_json::from_str::<CountOrPercent>(json).expect("valid"), value);
            assert_eq!(serde_json::to_string(&value).expect("JSON"), json);
        }
        for json in ["-1", "\"5\"", "\"101%\"", "\"-1%\"", "true", "\"\""] {
            assert!(serde_json::from_str::<CountOrPercent>(json).is_err(), "{json}");
        }
    }
}
