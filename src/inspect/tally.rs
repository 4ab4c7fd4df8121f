//! Counts over many messages what was found in each. Pure.

use std::collections::BTreeMap;

use super::{Check, Concern};

/// Different things that are shown of one check; the rest is counted.
const SHOWN_MAX: usize = 10;
/// Different things that are kept apart of one check.
const KEPT_MAX: usize = 1_000;

/// In how many messages something was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// What was looked for.
    pub check: Check,
    /// What was found.
    pub what: String,
    /// In how many messages.
    pub messages: u64,
    /// The first recipient of one; absent where it stands for several.
    pub example: Option<String>,
}

#[derive(Debug, Default)]
struct Found {
    messages: u64,
    example: String,
    largest: Option<(usize, String)>,
}

/// What was found in messages so far.
#[derive(Debug, Default)]
pub struct Tally {
    messages: u64,
    found: BTreeMap<(Check, String), Found>,
    kinds: BTreeMap<Check, usize>,
    /// Findings beyond those that are kept apart.
    beyond: BTreeMap<Check, u64>,
}

impl Tally {
    /// Adds a recipient's message, or the reason why there is none.
    pub fn add(&mut self, recipient: &str, concerns: Vec<Concern>) {
        self.messages += 1;
        for Concern { check, what, size } in concerns {
            let key = (check, what);
            if !self.found.contains_key(&key) {
                let kinds = self.kinds.entry(check).or_default();
                if *kinds >= KEPT_MAX {
                    *self.beyond.entry(check).or_default() += 1;
                    continue;
                }
                *kinds += 1;
            }
            let found = self.found.entry(key).or_default();
            found.messages += 1;
            if found.messages == 1 {
                recipient.clone_into(&mut found.example);
            }
            if let Some(size) = size.filter(|size| found.largest.as_ref().is_none_or(|(largest, _)| largest < size)) {
                found.largest = Some((size, recipient.to_owned()));
            }
        }
    }

    /// Messages that were added.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// What was found, the gravest first, and of each check the most frequent first.
    #[must_use]
    pub fn counted(&self) -> Vec<Counted> {
        let mut counted: Vec<Counted> = self.found.iter().map(|((check, what), found)| one(*check, what, found)).collect();
        counted.sort_by(|one, other| (one.check, other.messages, &one.what).cmp(&(other.check, one.messages, &other.what)));
        let mut shown = Vec::new();
        let mut of_check: BTreeMap<Check, usize> = BTreeMap::new();
        let mut left: BTreeMap<Check, (usize, u64)> = BTreeMap::new();
        for item in counted {
            let seen = of_check.entry(item.check).or_default();
            *seen += 1;
            if *seen <= SHOWN_MAX {
                shown.push(item);
            } else {
                let (kinds, messages) = left.entry(item.check).or_default();
                *kinds += 1;
                *messages += item.messages;
            }
        }
        for (check, (kinds, messages)) in left {
            let beyond = self.beyond.get(&check).copied().unwrap_or(0);
            let at_least = if beyond > 0 { "at least " } else { "" };
            let what = format!("and {at_least}{kinds} more of this kind");
            let at = shown.partition_point(|item| item.check <= check);
            shown.insert(at, Counted { check, what, messages: messages + beyond, example: None });
        }
        shown
    }
}

fn one(check: Check, what: &str, found: &Found) -> Counted {
    let (what, example) = match &found.largest {
        Some((size, recipient)) => {
            let size = if check == Check::Clipped { format!("{} KB", size.div_ceil(1024)) } else { format!("{size} characters") };
            (format!("{what} ({size}{})", if found.messages > 1 { " at the most" } else { "" }), recipient)
        }
        None => (what.to_owned(), &found.example),
    };
    Counted { check, what, messages: found.messages, example: Some(example.clone()) }
}
