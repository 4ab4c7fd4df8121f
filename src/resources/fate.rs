//! What became of a recipient: the one table from which numbers, words, sums, views and the counts of a status are made.
//!
//! A new fate is one line here and whatever gives it to a message. The ledger writes its views anew when it meets more fates than it knew.

use std::{
    fmt,
    ops::{Index, IndexMut},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! fates {
    ($($(#[doc = $doc:literal])* $name:ident = $number:literal, $field:ident, $words:literal, $is_final:literal;)*) => {
        /// What became of one recipient of a run.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fate { $($(#[doc = $doc])* $name = $number),* }

        impl Fate {
            /// Every fate, in the order of its number.
            pub const ALL: [Self; [$(stringify!($name)),*].len()] = [$(Self::$name),*];

            /// The word in tables and views: `RenderFailed`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }

            /// The field of [`RecipientCounts`] that counts it: `render_failed`.
            #[must_use]
            pub const fn field(self) -> &'static str {
                match self { $(Self::$name => stringify!($field)),* }
            }

            /// Within a sentence: `2 with a failed template`.
            #[must_use]
            pub const fn in_words(self) -> &'static str {
                match self { $(Self::$name => $words),* }
            }

            /// Whether only an operator can change it.
            #[must_use]
            pub const fn is_final(self) -> bool {
                match self { $(Self::$name => $is_final),* }
            }
        }

        /// Recipients by what became of them. The sum of those with a final outcome is `total` once the campaign is completed.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase")]
        pub struct RecipientCounts {
            /// Recipients in the audience, without duplicates, excluded people and bad rows; absent until it has been read to its end.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub total: Option<u64>,
            $(
                $(#[doc = $doc])*
                // A status of a version that did not know it has none.
                #[serde(default)]
                pub $field: u64,
            )*
            /// Sent again although the outcome of an earlier attempt is unknown (`Resend`): each may have received it twice.
            pub resent: u64,
            /// Rows that repeat an address.
            pub duplicates: u64,
            /// Rows of people in `audience.exclude`: not in `total`, and not mailed.
            #[serde(default)]
            pub excluded: u64,
            /// Rows that could not be used.
            pub bad_rows: u64,
        }

        impl RecipientCounts {
            /// The count of a fate.
            #[must_use]
            pub const fn of(&self, fate: Fate) -> u64 {
                match fate { $(Fate::$name => self.$field),* }
            }

            /// The count of a fate, to be changed.
            pub const fn of_mut(&mut self, fate: Fate) -> &mut u64 {
                match fate { $(Fate::$name => &mut self.$field),* }
            }
        }
    };
}

// The number is the ledger's, and never changes its meaning; the field is the one in a campaign's status.
fates! {
    /// In flight; after a crash, until it is resolved.
    Claimed = 0, sending, "on the wire", false;
    /// Accepted by a server.
    Accepted = 1, accepted, "accepted", true;
    /// Waiting for the next attempt: deferred by a server, returned by one that failed, or to be rendered again after a fix.
    Deferred = 2, deferred, "to be tried again", false;
    /// Permanently refused by a server.
    Rejected = 3, rejected, "rejected", true;
    /// Not accepted before `retry.attempts` or `retry.deadline` ran out.
    Expired = 4, expired, "given up after all attempts", true;
    /// May or may not have been mailed; not sent again (`Skip`).
    Unknown = 5, unknown, "unknown (may or may not have been mailed; not sent again)", true;
    /// The template failed for the recipient.
    RenderFailed = 6, render_failed, "with a failed template", true;
    /// Refused by a server that seems to refuse the whole campaign; not mailed. Goes to the campaign's other servers, or waits for `mailfleet resume`.
    Held = 7, held, "held", false;
    /// Removed from the audience before the next attempt; not mailed.
    Withdrawn = 8, withdrawn, "withdrawn from the audience", true;
    /// On the suppression list when the message was to be claimed: unsubscribed, bounced, complained or listed; not mailed.
    Suppressed = 9, suppressed, "suppressed", true;
}

impl RecipientCounts {
    /// Recipients with a final outcome.
    #[must_use]
    pub fn ended(&self) -> u64 {
        Fate::ALL.into_iter().filter(|fate| fate.is_final()).map(|fate| self.of(fate)).sum()
    }
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

    /// The field of a status that counts it: `renderFailed`.
    #[must_use]
    pub fn key(self) -> String {
        let mut words = self.field().split('_');
        let first = words.next().unwrap_or_default().to_owned();
        words.fold(first, |key, word| key + &word[..1].to_uppercase() + &word[1..])
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
        let counts = serde_json::to_value(RecipientCounts::default()).expect("JSON");
        assert!(Fate::ALL.into_iter().all(|fate| counts[fate.key()] == 0), "{counts}");
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
