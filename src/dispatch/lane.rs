//! One server as the scheduler sees it: who waits for it, whose turn it is, and how much it may take now. Pure.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::{prepared::Prepared, window::FlightWindow};

/// A server within a scheduler; its name makes the order and the pick stable over restarts.
#[derive(Clone, Debug)]
pub struct LaneRef {
    /// `namespace/name`.
    pub name: Arc<str>,
    /// The index in this process.
    pub id: usize,
}

impl PartialEq for LaneRef {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}
impl Eq for LaneRef {}
impl PartialOrd for LaneRef {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for LaneRef {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.name.cmp(&other.name)
    }
}
impl std::fmt::Display for LaneRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

/// The queue of one campaign at a server.
#[derive(Debug)]
struct CampaignQueue {
    campaign: usize,
    messages: VecDeque<Prepared>,
}

/// Messages that wait for a server, taken in turn: by namespace, and within it by campaign.
#[derive(Debug, Default)]
pub struct Turns {
    namespaces: VecDeque<(Arc<str>, VecDeque<CampaignQueue>)>,
    len: usize,
}

impl Turns {
    /// Messages that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a message at the end of its campaign's queue.
    pub fn push(&mut self, namespace: &Arc<str>, campaign: usize, message: Prepared) {
        self.queue(namespace, campaign).push_back(message);
        self.len += 1;
    }

    /// Puts a message back at the front of its campaign's queue.
    pub fn push_front(&mut self, namespace: &Arc<str>, campaign: usize, message: Prepared) {
        self.queue(namespace, campaign).push_front(message);
        self.len += 1;
    }

    fn queue(&mut self, namespace: &Arc<str>, campaign: usize) -> &mut VecDeque<Prepared> {
        let at = self.namespaces.iter().position(|(name, _)| name == namespace).unwrap_or_else(|| {
            self.namespaces.push_back((namespace.clone(), VecDeque::new()));
            self.namespaces.len() - 1
        });
        let queues = &mut self.namespaces[at].1;
        let at = queues.iter().position(|queue| queue.campaign == campaign).unwrap_or_else(|| {
            queues.push_back(CampaignQueue { campaign, messages: VecDeque::new() });
            queues.len() - 1
        });
        &mut queues[at].messages
    }

    /// The next message whose campaign `may` send now; the turn passes to the next namespace.
    pub fn pop(&mut self, mut may: impl FnMut(usize) -> bool) -> Option<(usize, Prepared)> {
        for at in 0..self.namespaces.len() {
            let queues = &mut self.namespaces[at].1;
            let Some(turn) = queues.iter().position(|queue| may(queue.campaign)) else { continue };
            let Some(mut queue) = queues.remove(turn) else { continue };
            let campaign = queue.campaign;
            let message = queue.messages.pop_front();
            if !queue.messages.is_empty() {
                queues.push_back(queue);
            }
            if let Some(namespace) = self.namespaces.remove(at)
                && !namespace.1.is_empty()
            {
                self.namespaces.push_back(namespace);
            }
            if let Some(message) = message {
                self.len -= 1;
                return Some((campaign, message));
            }
        }
        None
    }

    /// Takes all messages, or those of one campaign.
    pub fn drain(&mut self, only: Option<usize>) -> Vec<(usize, Prepared)> {
        let mut taken = Vec::new();
        for (_, queues) in &mut self.namespaces {
            queues.retain_mut(|queue| {
                let take = only.is_none_or(|campaign| campaign == queue.campaign);
                if take {
                    taken.extend(queue.messages.drain(..).map(|message| (queue.campaign, message)));
                }
                !take
            });
        }
        self.namespaces.retain(|(_, queues)| !queues.is_empty());
        self.len -= taken.len();
        taken
    }
}

/// A server within the scheduler.
pub struct Lane {
    /// Its name and index.
    pub lane: LaneRef,
    /// Who waits for it.
    pub turns: Turns,
    /// How many messages it may have on the wire.
    pub window: FlightWindow,
    /// Connections at a time.
    pub connections: usize,
    /// The domain of the envelope sender, when the server asks for its own.
    pub return_path: Option<Arc<str>>,
    /// Whether the control plane routes through it.
    pub routed: bool,
    /// Failures that the dispatcher saw, and how many of them the control plane knew of when it last routed.
    pub failures: u64,
    /// See `failures`.
    pub acknowledged: u64,
    /// When it was last put back into routing; failures of older messages do not take it out again.
    pub readmitted_ms: i64,
    /// Its longer windows or warm-up are used up until then.
    pub exhausted_until: Option<i64>,
    /// Pacing: nothing before this time.
    pub not_before_ms: i64,
    /// Messages on the wire.
    pub in_flight: usize,
    /// Calls of `deliver` under way.
    pub deliveries: usize,
    /// When the last outcome came, or the wire was last empty.
    pub last_sign_of_life_ms: i64,
    /// After so long without a sign of life it is suspected.
    pub stall_after_ms: i64,
    /// Messages that it took since the process began.
    pub accepted: u64,
    /// Campaigns that may use it now.
    pub users: usize,
    /// Messages that one call of `deliver` uses well.
    pub batch_max: usize,
    /// Of its rates; a change makes a new limiter.
    pub fingerprint: u64,
}

impl Lane {
    /// Whether it may be picked.
    #[must_use]
    pub fn is_eligible(&self) -> bool {
        self.routed && self.acknowledged == self.failures && self.exhausted_until.is_none()
    }
}

/// Splits so many messages into batches for the free connections: few and large, for pipelining.
#[must_use]
pub fn batches<T>(mut messages: Vec<T>, batch_max: usize) -> Vec<Vec<T>> {
    let mut batches = Vec::new();
    while messages.len() > batch_max {
        let rest = messages.split_off(batch_max);
        batches.push(std::mem::replace(&mut messages, rest));
    }
    if !messages.is_empty() {
        batches.push(messages);
    }
    batches
}

/// Counts by name, for reports.
pub type Tally = BTreeMap<Arc<str>, u64>;
