//! Which content is prepared next: round robin by namespace, so that one with hundreds of new campaigns does not hold up the
//! others. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use crate::resources::Key;

/// The most contents that are prepared at a time.
pub(super) const WORKERS_MAX: usize = 2;

/// The place of a campaign in its namespace's queue: runs that have begun come first, then older campaigns. The order is the same
/// after a restart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// Whether the run has not begun.
    pub is_new: bool,
    /// When the object was created, milliseconds.
    pub created_ms: i64,
    /// The campaign's name.
    pub name: Arc<str>,
}

/// The campaigns that wait, and those being prepared: one of each namespace at a time, [`WORKERS_MAX`] in all.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: BTreeMap<Arc<str>, BTreeSet<Rank>>,
    /// The place of each campaign.
    ranks: BTreeMap<Key, Rank>,
    busy: BTreeSet<Arc<str>>,
    /// The namespace that had the last turn.
    last: Option<Arc<str>>,
}

impl Queue {
    /// Puts a campaign into its namespace's queue; one that already waits gets the new place.
    pub fn push(&mut self, key: &Key, rank: Rank) {
        self.remove(key);
        self.waiting.entry(key.namespace.clone()).or_default().insert(rank.clone());
        self.ranks.insert(key.clone(), rank);
    }

    /// Takes a campaign out of the queue.
    pub fn remove(&mut self, key: &Key) {
        let Some(rank) = self.ranks.remove(key) else { return };
        if let Some(line) = self.waiting.get_mut(&key.namespace) {
            line.remove(&rank);
            if line.is_empty() {
                self.waiting.remove(&key.namespace);
            }
        }
    }

    /// The campaign to prepare now; `None` while all that may be prepared are busy. [`Queue::ended`] must follow.
    pub fn next(&mut self) -> Option<Key> {
        if self.busy.len() >= WORKERS_MAX {
            return None;
        }
        let is_free = |namespace: &&Arc<str>| !self.busy.contains(*namespace);
        let after = self.last.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let later = self.waiting.range::<Arc<str>, _>((after, Bound::Unbounded)).map(|(namespace, _)| namespace);
        let namespace = later.chain(self.waiting.keys()).find(is_free)?.clone();
        let name = self.waiting.get(&namespace)?.first()?.name.clone();
        let key = Key { namespace: namespace.clone(), name };
        self.remove(&key);
        self.busy.insert(namespace.clone());
        self.last = Some(namespace);
        Some(key)
    }

    /// The namespace's campaign has been prepared.
    pub fn ended(&mut self, namespace: &str) {
        self.busy.remove(namespace);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        let (namespace, name) = text.split_once('/').unwrap_or(("", text));
        Key::new(namespace, name)
    }

    fn push(queue: &mut Queue, text: &str, is_new: bool, created_ms: i64) {
        let key = key(text);
        let name = key.name.clone();
        queue.push(&key, Rank { is_new, created_ms, name });
    }

    /// The order of all campaigns, where one ends as soon as two are in progress.
    fn order(queue: &mut Queue) -> Vec<String> {
        let (mut order, mut under_way) = (Vec::new(), std::collections::VecDeque::new());
        loop {
            while let Some(key) = queue.next() {
                order.push(key.to_string());
                under_way.push_back(key.namespace);
            }
            assert!(under_way.len() <= WORKERS_MAX);
            let Some(namespace) = under_way.pop_front() else { return order };
            queue.ended(&namespace);
        }
    }

    #[test]
    fn namespaces_take_turns() {
        let mut queue = Queue::default();
        (0..500).for_each(|number| push(&mut queue, &format!("many/c{number:03}"), true, 0));
        assert_eq!(queue.next(), Some(key("many/c000")));
        assert_eq!(queue.next(), None, "one of a namespace at a time");
        push(&mut queue, "one/news", true, 9);
        push(&mut queue, "zoo/news", true, 9);
        assert_eq!(queue.next(), Some(key("one/news")), "it waits for nobody of another namespace");
        assert_eq!(queue.next(), None, "two in all");
        queue.ended("many");
        assert_eq!(queue.next(), Some(key("zoo/news")));
        queue.ended("one");
        let rest = order(&mut queue);
        assert_eq!((rest.len(), &*rest[0], &*rest[498]), (499, "many/c001", "many/c499"));
    }

    #[test]
    fn within_a_namespace_what_has_begun_and_then_what_is_oldest_comes_first() {
        let mut queue = Queue::default();
        for (text, is_new, created_ms) in
            [("a/new", true, 5), ("a/older", true, 4), ("a/begun", false, 9), ("a/gone", false, 1), ("a/moved", true, 1)]
        {
            push(&mut queue, text, is_new, created_ms);
        }
        queue.remove(&key("a/gone"));
        push(&mut queue, "a/moved", true, 7);
        assert_eq!(order(&mut queue), ["a/begun", "a/older", "a/new", "a/moved"]);
        assert!(queue.waiting.is_empty() && queue.ranks.is_empty() && queue.busy.is_empty());
    }
}
