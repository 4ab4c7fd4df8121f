//! How much memory compiled templates may take: each namespace has its share, and all namespaces share one budget. Pure.

use std::{collections::BTreeMap, sync::Arc};

/// The most that the templates of all namespaces hold beyond [`OWN`], bytes.
pub(super) const ALL_MAX: usize = 256 << 20;
/// The most that the templates of one namespace hold, bytes.
pub(super) const NAMESPACE_MAX: usize = 128 << 20;
/// What a namespace may always hold, whatever the others do, bytes.
const OWN: usize = 4 << 20;

/// How much each namespace holds.
#[derive(Debug, Default)]
pub(super) struct Shares {
    of: BTreeMap<Arc<str>, usize>,
    all: usize,
}

impl Shares {
    /// Whether a namespace may hold this much more.
    pub fn has_room(&self, namespace: &str, bytes: usize) -> bool {
        let with_it = self.of(namespace).saturating_add(bytes);
        with_it <= OWN || (with_it <= NAMESPACE_MAX && self.all.saturating_add(bytes) <= ALL_MAX)
    }

    /// The namespace whose idle templates make room for `namespace`: itself if its share is used up, otherwise the one that holds
    /// most.
    pub fn makes_room(&self, namespace: &str, bytes: usize, has_idle: impl Fn(&str) -> bool) -> Option<Arc<str>> {
        let is_own = self.of(namespace).saturating_add(bytes) > NAMESPACE_MAX;
        let idle = self.of.iter().filter(|(name, _)| (!is_own || &***name == namespace) && has_idle(name));
        idle.max_by_key(|(_, held)| **held).map(|(name, _)| name.clone())
    }

    /// Adds to what a namespace holds.
    pub fn add(&mut self, namespace: &Arc<str>, bytes: usize) {
        *self.of.entry(namespace.clone()).or_default() += bytes;
        self.all += bytes;
    }

    /// Takes from what a namespace holds.
    pub fn remove(&mut self, namespace: &str, bytes: usize) {
        self.all -= bytes.min(self.all);
        if let Some(held) = self.of.get_mut(namespace) {
            *held -= bytes.min(*held);
            if *held == 0 {
                self.of.remove(namespace);
            }
        }
    }

    fn of(&self, namespace: &str) -> usize {
        self.of.get(namespace).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn a_namespace_that_has_its_share_takes_nothing_of_another() {
        let mut shares = Shares::default();
        let (one, two): (Arc<str>, Arc<str>) = ("one".into(), "two".into());
        assert!(!shares.has_room("one", NAMESPACE_MAX + 1), "alone too large");
        shares.add(&one, NAMESPACE_MAX);
        assert!(!shares.has_room("one", 1) && shares.has_room("two", NAMESPACE_MAX));
        shares.add(&two, NAMESPACE_MAX);
        assert!(shares.has_room("three", OWN) && !shares.has_room("three", OWN + 1), "it has some of its own when all is used up");
        shares.remove("two", 10 * MIB);
        assert!(shares.has_room("three", 10 * MIB) && !shares.has_room("one", 1));
        shares.remove("two", NAMESPACE_MAX - 10 * MIB);
        assert_eq!((shares.all, shares.of.len()), (NAMESPACE_MAX, 1));
    }

    #[test]
    fn room_is_made_by_the_own_idle_ones_or_by_who_holds_most() {
        let mut shares = Shares::default();
        for (name, bytes) in [("full", NAMESPACE_MAX), ("large", 100 * MIB), ("small", 28 * MIB)] {
            shares.add(&name.into(), bytes);
        }
        assert_eq!(shares.makes_room("full", 1, |_| true).as_deref(), Some("full"));
        assert_eq!(shares.makes_room("full", 1, |name| name != "full"), None, "others keep theirs");
        assert_eq!(shares.makes_room("small", 5 * MIB, |_| true).as_deref(), Some("full"));
        assert_eq!(shares.makes_room("new", 5 * MIB, |name| name != "full").as_deref(), Some("large"));
    }
}
