//! The rendered messages of a run that wait for a claim, and how many of them may be for receiving domains without room. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::dispatch::{
    receivers::{Passing, Receiver, Receivers},
    rendered,
    stages::ReadyMessage,
};

/// The most messages for a receiver without room that wait.
const WAITING_MAX: usize = 32;

/// What waits in memory, and whom the feeder passes over so that nobody waits behind them.
#[derive(Clone, Debug)]
pub struct Backlog {
    /// Rendered messages that are not claimed yet.
    pub messages: usize,
    /// When the first sending hours of those end for whom messages wait, milliseconds, where each recipient has their own.
    pub closes_ms: i64,
    /// Those of them that count towards limits for receiving domains, by receiver.
    by_receiver: BTreeMap<Receiver, usize>,
    /// How many may wait, as of the last look.
    most: usize,
    /// Receivers of whom enough wait without room: the feeder passes over their people.
    passing: BTreeSet<Receiver>,
    /// Receivers of whom somebody was passed over in this reading of the audience: it is read again for them.
    pub passed_over: BTreeSet<Receiver>,
    /// The only receivers of whom anybody is left in the audience, once it was read to its end; `None` before.
    pub only: Option<BTreeSet<Receiver>>,
    /// How many of them may wait beside those that do, as of the last look.
    pub only_room: usize,
    /// When a deferred message for a receiver without room is looked at again, the last one, milliseconds.
    slots: BTreeMap<Receiver, i64>,
}

impl Default for Backlog {
    fn default() -> Self {
        Self {
            messages: 0,
            closes_ms: i64::MAX,
            by_receiver: BTreeMap::new(),
            most: rendered::WAITING_MAX,
            passing: BTreeSet::new(),
            passed_over: BTreeSet::new(),
            only: None,
            only_room: usize::MAX,
            slots: BTreeMap::new(),
        }
    }
}

impl Backlog {
    /// A rendered message begins to wait.
    pub fn add(&mut self, message: &ReadyMessage) {
        self.messages += 1;
        if let Some(window) = &message.window {
            self.closes_ms = self.closes_ms.min(window.closes_ms);
        }
        if let Some(receiver) = &message.receiver {
            *self.by_receiver.entry(receiver.clone()).or_default() += 1;
        }
    }

    /// A rendered message waits no more.
    pub fn remove(&mut self, message: &ReadyMessage) {
        self.messages = self.messages.saturating_sub(1);
        if let Some(receiver) = &message.receiver
            && let Some(count) = self.by_receiver.get_mut(receiver)
        {
            *count -= 1;
            if *count == 0 {
                self.by_receiver.remove(receiver);
            }
        }
    }

    /// The feeder is stopped: what waited is dropped, and is met again.
    pub fn clear(&mut self) {
        self.messages = 0;
        self.closes_ms = i64::MAX;
        self.by_receiver.clear();
        self.passing.clear();
        self.passed_over.clear();
        self.only = None;
    }

    /// Other domains are limited: what waits is counted anew. Whoever was passed over is met again all the same.
    pub fn forget_receivers(&mut self) {
        self.messages = 0;
        self.by_receiver.clear();
        self.passing.clear();
        self.only = None;
        self.slots.clear();
    }

    /// The number of messages for a receiver that wait.
    #[must_use]
    pub fn of(&self, receiver: &Receiver) -> usize {
        self.by_receiver.get(receiver).copied().unwrap_or(0)
    }

    /// How many may wait from now on.
    pub fn set_most(&mut self, most: usize) {
        self.most = most;
    }

    /// Whether half of those that may wait do.
    #[must_use]
    pub const fn is_half_full(&self) -> bool {
        self.messages > self.most / 2
    }

    /// How many messages for each receiver without room may wait: of all receivers no more than half of those that may wait at all.
    #[must_use]
    pub fn quota(&self) -> usize {
        let others = self.passing.iter().filter(|receiver| !self.by_receiver.contains_key(*receiver)).count();
        (self.most / 2 / (self.by_receiver.len() + others).max(1)).min(WAITING_MAX)
    }

    /// Whether every message that waits is for a limited receiver.
    #[must_use]
    pub fn is_for_receivers_alone(&self) -> bool {
        self.messages == self.by_receiver.values().sum::<usize>()
    }

    /// The messages that wait for receivers whose people are passed over.
    #[must_use]
    pub fn aside(&self) -> usize {
        self.passing.iter().filter_map(|receiver| self.by_receiver.get(receiver)).sum()
    }

    /// The limited receivers that matter to it: somebody waits, is passed over, or is left in the audience.
    #[must_use]
    pub fn receivers(&self) -> BTreeSet<Receiver> {
        let known = self.by_receiver.keys().chain(&self.passing).chain(&self.passed_over);
        known.chain(self.only.iter().flatten()).cloned().collect()
    }

    /// The limited receivers of whom anybody waits or is left in the audience, as far as that is known.
    #[must_use]
    pub fn receivers_left(&self) -> BTreeSet<Receiver> {
        self.by_receiver.keys().chain(&self.passed_over).chain(self.only.iter().flatten()).cloned().collect()
    }

    // ── whom the feeder passes over ──

    /// The people of a receiver are passed over from now on, or no more.
    pub fn pass(&mut self, receiver: &Receiver, is_passed: bool) {
        if is_passed {
            self.passing.insert(receiver.clone());
        } else {
            self.passing.remove(receiver);
        }
    }

    /// Whether the people of a receiver are passed over.
    #[must_use]
    pub fn passes(&self, receiver: &Receiver) -> bool {
        self.passing.contains(receiver)
    }

    /// A new recipient is left in the audience, as others of the receiver are.
    pub fn leave(&mut self, receiver: &Receiver) {
        self.passed_over.insert(receiver.clone());
        self.pass(receiver, true);
    }

    /// Whose people the feeder passes over.
    #[must_use]
    pub fn passing(&self, receivers: &Arc<Receivers>) -> Option<Arc<Passing>> {
        (!self.passing.is_empty()).then(|| Arc::new(Passing { receivers: receivers.clone(), over: self.passing.clone() }))
    }

    /// Whether anybody may be left in the audience who is not passed over.
    #[must_use]
    pub fn has_others(&self) -> bool {
        self.only.as_ref().is_none_or(|only| only.iter().any(|receiver| !self.passing.contains(receiver)))
    }

    /// Whether somebody who was passed over may wait now.
    #[must_use]
    pub fn wants_passed_over(&self) -> bool {
        self.passed_over.iter().any(|receiver| !self.passing.contains(receiver))
    }

    /// The receivers for whom alone the audience is read again; `None` if it has others too.
    #[must_use]
    pub fn only_for_another_reading(&self) -> Option<BTreeSet<Receiver>> {
        self.is_for_receivers_alone().then(|| self.passed_over.iter().chain(self.by_receiver.keys()).cloned().collect())
    }

    /// When a deferred message for a receiver is looked at again: one after the other, `gap_ms` apart, none before `opens_ms` and none
    /// later than `latest_ms`.
    pub fn slot(&mut self, receiver: &Receiver, opens_ms: i64, gap_ms: i64, latest_ms: i64) -> i64 {
        let before = self.slots.get(receiver).copied().unwrap_or(0);
        let at_ms = (before.max(opens_ms) + gap_ms).min(latest_ms);
        self.slots.insert(receiver.clone(), at_ms);
        at_ms
    }
}
