//! A share as text: `"0.3"` is three in a thousand. Text, since YAML and JSON read numbers with a fraction in more than one way. Pure.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::pattern;

/// Parts of one percent.
const PARTS: u64 = 1_000;

/// A share of 0 to 100 percent, in thousandths of a percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(u32);

impl Percent {
    /// 100 percent.
    pub const ALL: Self = Self(100_000);

    /// So many thousandths of a percent; 100,000 at most.
    #[must_use]
    pub const fn of_thousandths(thousandths: u32) -> Self {
        Self(if thousandths > 100_000 { 100_000 } else { thousandths })
    }

    /// The same in thousandths of a percent.
    #[must_use]
    pub const fn thousandths(self) -> u32 {
        self.0
    }

    /// So many of `all`, rounded up.
    #[must_use]
    pub fn part_of(self, all: u64) -> u64 {
        let part = (u128::from(all) * u128::from(self.0)).div_ceil(u128::from(100 * PARTS));
        u64::try_from(part).unwrap_or(u64::MAX)
    }

    /// Reads a text such as `0.3`.
    ///
    /// # Errors
    /// What is asked for.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fault = || {
            format!("`{text}` is not a valid percentage: write a text such as \"5\" or \"0.3\", from 0 to 100, with at most three decimals")
        };
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |digits: &str| (1..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        let has_zero = whole.len() > 1 && whole.starts_with('0');
        if !is_number(whole) || !is_number(fraction) || has_zero {
            return Err(fault());
        }
        let parts = |digits: &str| digits.parse::<u32>().map_err(|_| fault());
        let places = 10_u32.pow(3 - u32::try_from(fraction.len()).unwrap_or(3));
        let thousandths = parts(whole)? * 1_000 + parts(fraction)? * places;
        if thousandths > 100_000 { Err(fault()) } else { Ok(Self(thousandths)) }
    }

    /// Whether `count` of `all` is more than this share.
    #[must_use]
    pub const fn is_exceeded(self, count: u64, all: u64) -> bool {
        count.saturating_mul(100 * PARTS) > all.saturating_mul(self.0 as u64)
    }

    /// The share of `count` in `all`, rounded.
    #[must_use]
    pub fn share(count: u64, all: u64) -> Self {
        let parts = (u128::from(count) * u128::from(100 * PARTS) + u128::from(all) / 2) / u128::from(all.max(1));
        Self::of_thousandths(u32::try_from(parts).unwrap_or(u32::MAX))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / 1_000, self.0 % 1_000);
        if fraction == 0 {
            return write!(f, "{whole}");
        }
        f.write_str(format!("{whole}.{fraction:03}").trim_end_matches('0'))
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl JsonSchema for Percent {
    fn schema_name() -> Cow<'static, str> {
        "Percent".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": 7, "pattern": pattern::PERCENT})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_read_written_and_compared() {
        for (text, thousandths, written) in [
            ("0", 0, "0"),
            ("0.3", 300, "0.3"),
            ("5", 5_000, "5"),
            ("12.125", 12_125, "12.125"),
            ("99.50", 99_500, "99.5"),
            ("100.000", 100_000, "100"),
        ] {
            let percent = Percent::parse(text).expect(text);
            assert_eq!((percent, percent.to_string().as_str()), (Percent::of_thousandths(thousandths), written), "{text}");
        }
        for bad in ["", ".", "5%", "-1", "1.", ".5", "05", "100.001", "101", "1.2345", "1e1", " 5", "1,5"] {
            let error = Percent::parse(bad).unwrap_err();
            assert!(error.contains("\"0.3\""), "{bad}: {error}");
        }
        let tenth = Percent::of_thousandths(10_000);
        assert!(tenth.is_exceeded(21, 200) && !tenth.is_exceeded(20, 200) && !tenth.is_exceeded(0, 0));
        assert!(!Percent::of_thousandths(100_000).is_exceeded(7, 7));
        assert_eq!(Percent::share(1, 300).to_string(), "0.333");
        assert_eq!(Percent::share(5, 0).to_string(), "100");
        assert_eq!([0, 1, 100, 1_000, u64::MAX].map(|all| Percent::of_thousandths(1_000).part_of(all)), [0, 1, 1, 10, u64::MAX / 100 + 1]);
    }
}
