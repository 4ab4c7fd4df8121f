//! Which variant of a message a recipient gets: the value of a field is looked up among the names of the variants.

use std::collections::{BTreeMap, HashMap};

use crate::audience::Fields;

/// The longest value that is looked up, bytes: longer than any tag of a language.
const VALUE_MAX: usize = 100;
/// Characters of a value that matches nothing, as it is shown.
const SHOWN_MAX: usize = 40;
/// Values that match nothing and are kept apart.
const VALUES_MAX: usize = 1_000;
/// Values that match nothing and are named, the most frequent ones.
const NAMED_MAX: usize = 3;

/// The variant of a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice<'a> {
    /// The variant of this name.
    Variant(&'a str),
    /// The content itself: there are no variants, or the recipient's field is missing or empty.
    Content,
    /// The content itself, since no variant has the value of the recipient's field.
    Unmatched(String),
}

impl<'a> Choice<'a> {
    /// The name of the variant; `None` for the content itself.
    #[must_use]
    pub fn variant(&self) -> Option<&'a str> {
        match self {
            Self::Variant(name) => Some(name),
            Self::Content | Self::Unmatched(_) => None,
        }
    }
}

/// Chooses the variant of each recipient.
#[derive(Clone, Debug, Default)]
pub struct Chooser {
    /// The field of the audience.
    field: Option<String>,
    names: Vec<String>,
    /// Where each name stands, by its form for comparison.
    places: HashMap<String, usize>,
}

impl Chooser {
    /// Chooses among variants of these names by a field of the audience.
    #[must_use]
    pub fn new<'a>(field: Option<&str>, names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut chooser = Self { field: field.map(str::to_owned), ..Self::default() };
        for name in names {
            chooser.places.entry(compared(name)).or_insert(chooser.names.len());
            chooser.names.push(name.to_owned());
        }
        chooser
    }

    /// The field of the audience by which it chooses, where there are variants.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref().filter(|_| !self.names.is_empty())
    }

    /// The names of the variants.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Whether two names would be the same variant.
    #[must_use]
    pub fn are_same(one: &str, other: &str) -> bool {
        compared(one) == compared(other)
    }

    /// The variant of a recipient.
    #[must_use]
    pub fn choose(&self, fields: &Fields) -> Choice<'_> {
        let value = self.field().and_then(|field| fields.get(field));
        let value = value.as_deref().map(str::trim).unwrap_or_default();
        if value.is_empty() {
            return Choice::Content;
        }
        match self.place(value).and_then(|place| self.names.get(place)) {
            Some(name) => Choice::Variant(name),
            None => Choice::Unmatched(value.chars().filter(|c| !c.is_control()).take(SHOWN_MAX).collect()),
        }
    }

    /// Where the variant of a value stands: that of its name, or else of the value without its last part, and so on (lookup of RFC 4647,
    /// 3.4).
    pub(super) fn place(&self, value: &str) -> Option<usize> {
        if value.len() > VALUE_MAX {
            return None;
        }
        let mut range = compared(value);
        loop {
            if let Some(place) = self.places.get(&range) {
                return Some(*place);
            }
            range.truncate(range.rfind('-')?);
            // A letter or digit alone says what kind of part follows it, and goes with that.
            let last = range.rfind('-').map_or(0, |at| at + 1);
            if range.len() - last == 1 {
                range.truncate(last.checked_sub(1)?);
            }
        }
    }
}

/// A name as names are compared: capitals do not matter, and `_` is `-`, as in the locales of many systems.
fn compared(name: &str) -> String {
    name.to_lowercase().replace('_', "-")
}

/// How many recipients get which variant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Recipients by variant.
    variants: BTreeMap<String, u64>,
    /// Recipients without a value.
    without: u64,
    /// Recipients whose value matches nothing.
    unmatched: u64,
    /// How many have which of these values.
    values: BTreeMap<String, u64>,
}

impl Census {
    /// Counts a recipient.
    pub fn add(&mut self, choice: &Choice<'_>) {
        match choice {
            Choice::Variant(name) => {
                if let Some(count) = self.variants.get_mut(*name) {
                    *count += 1;
                } else {
                    self.variants.insert((*name).to_owned(), 1);
                }
            }
            Choice::Content => self.without += 1,
            Choice::Unmatched(value) => {
                self.unmatched += 1;
                if let Some(count) = self.values.get_mut(value) {
                    *count += 1;
                } else if self.values.len() < VALUES_MAX {
                    self.values.insert(value.clone(), 1);
                }
            }
        }
    }

    /// Recipients who get the variant of this name.
    #[must_use]
    pub fn of(&self, variant: &str) -> u64 {
        self.variants.get(variant).copied().unwrap_or(0)
    }

    /// Recipients who get a variant.
    #[must_use]
    pub fn of_variants(&self) -> u64 {
        self.variants.values().sum()
    }

    /// Recipients who get the content itself.
    #[must_use]
    pub fn of_content(&self) -> u64 {
        self.without + self.unmatched
    }

    /// Recipients whose value matches nothing.
    #[must_use]
    pub fn unmatched(&self) -> u64 {
        self.unmatched
    }

    /// Values that match nothing in words, the most frequent first: ``"`it` (12), `Deutsch` (3)"``.
    #[must_use]
    pub fn values_named(&self) -> String {
        let mut values: Vec<(&String, &u64)> = self.values.iter().collect();
        values.sort_by_key(|(value, count)| (std::cmp::Reverse(**count), *value));
        let mut named: Vec<String> =
            values.iter().take(NAMED_MAX).map(|(value, count)| format!("`{value}` ({})", crate::meta::bound::grouped(**count))).collect();
        if values.len() > NAMED_MAX {
            named.push("others".to_owned());
        }
        named.join(", ")
    }
}
