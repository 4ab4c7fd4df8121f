//! The outcome of a recipient: the one table that numbers, words, sums and views are generated from.

use std::{
    fmt,
    ops::{Index, IndexMut},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! fates {
    ($($(#[doc = $doc:literal])* $name:ident = $number:literal, $json:literal, $heading:literal, $is_final:literal;)*) => {
        /// What became of one recipient of a run.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum Fate { $($(#[doc = $doc])* $name = $number),* }

        impl Fate {
            /// Every fate, in the order of its number.
            pub const ALL: [Self; [$(stringify!($name)),*].len()] = [$(Self::$name),*];

            /// The word in tables and views: `RenderFailed`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }

            /// The name in a status and in JSON: `renderFailed`.
            #[must_use]
            pub const fn json_name(self) -> &'static str {
                match self { $(Self::$name => $json),* }
            }

            /// Within a sentence: `2 with a failed template`.
            #[must_use]
            pub const fn in_words(self) -> &'static str {
                match self { $(Self::$name => $heading),* }
            }

            /// Whether only a person can change it.
            #[must_use]
            pub const fn is_final(self) -> bool {
                match self { $(Self::$name => $is_final),* }
            }

            /// What it means, for documents.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),*)),* }
            }
        }
    };
}

// The ledger stores the number, whose meaning never changes.
fates! {
    /// On the wire, or left there by an earlier process and about to be resolved.
    Claimed = 0, "sending", "on the wire", false;
    /// Accepted by a server.
    Accepted = 1, "accepted", "accepted", true;
    /// Waiting for the next attempt.
    Deferred = 2, "deferred", "deferred", false;
    /// Permanently refused.
    Rejected = 3, "rejected", "rejected", true;
    /// Given up after `retry.attempts`.
    Expired = 4, "expired", "given up after all attempts", true;
    /// It may or may not have been mailed, and is not sent again (`Skip`).
    Unknown = 5, "unknown", "unknown (may or may not have been mailed; not sent again)", true;
    /// Its template failed.
    RenderFailed = 6, "renderFailed", "with a failed template", true;
    /// Refused by a server that seems to refuse the whole campaign; not mailed. It goes to the campaign's other servers, or waits for `mailfleet resume`.
    Held = 7, "held", "held", false;
    /// Removed from the audience before the next attempt; not mailed.
    Withdrawn = 8, "withdrawn", "withdrawn from the audience", true;
}

impl Fate {
    /// The number in the ledger.
    #[must_use]
    pub const fn number(self) -> i64 {
        self as i64
    }

    /// The fate of a number in the ledger.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        usize::try_from(number).ok().and_then(|number| Self::ALL.get(number)).copied()
    }

    /// The column in SQL views: `render_failed`.
    #[must_use]
    pub fn column(self) -> String {
        let mut column = String::new();
        for letter in self.as_str().chars() {
            if letter.is_ascii_uppercase() && !column.is_empty() {
                column.push('_');
            }
            column.push(letter.to_ascii_lowercase());
        }
        column
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How many recipients have each fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FateCounts([u64; Fate::ALL.len()]);

impl FateCounts {
    /// Recipients with a final outcome.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.sum(true)
    }

    /// Recipients without one.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.sum(false)
    }

    fn sum(&self, is_final: bool) -> u64 {
        Fate::ALL.into_iter().filter(|fate| fate.is_final() == is_final).map(|fate| self[fate]).sum()
    }

    /// Adds a change, never below zero.
    pub fn change(&mut self, fate: Fate, by: i64) {
        self[fate] = self[fate].saturating_add_signed(by);
    }
}

impl Index<Fate> for FateCounts {
    type Output = u64;
    fn index(&self, fate: Fate) -> &u64 {
        &self.0[fate as usize]
    }
}

impl IndexMut<Fate> for FateCounts {
    fn index_mut(&mut self, fate: Fate) -> &mut u64 {
        &mut self.0[fate as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_fate_is_its_place() {
        for (place, fate) in Fate::ALL.into_iter().enumerate() {
            assert_eq!(usize::try_from(fate.number()), Ok(place), "{fate}");
            assert_eq!(Fate::from_number(fate.number()), Some(fate));
        }
        assert_eq!((Fate::from_number(-1), Fate::from_number(99)), (None, None));
        assert_eq!(Fate::RenderFailed.column(), "render_failed");
    }

    #[test]
    fn sums_are_of_the_table() {
        let mut counts = FateCounts::default();
        for fate in Fate::ALL {
            counts.change(fate, 1);
        }
        assert_eq!(counts.ended() + counts.open(), Fate::ALL.len() as u64);
        assert_eq!(counts.open(), 3, "claimed, deferred, held");
        counts.change(Fate::Held, -5);
        assert_eq!(counts[Fate::Held], 0);
    }
}
