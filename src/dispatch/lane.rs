//! One server as the scheduler sees it: who waits for it, whose turn it is, and how much it may take now. Pure.

use std::{collections::VecDeque, sync::Arc};

use super::{prepared::Prepared, window::FlightWindow};
use crate::resources::Key;

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

    /// The next message that `may` go now, by its campaign and by itself; the turn passes to the next namespace.
    pub fn pop(&mut self, mut may: impl FnMut(usize) -> bool, fits: impl Fn(usize, &Prepared) -> bool) -> Option<(usize, Prepared)> {
        for at in 0..self.namespaces.len() {
            let queues = &mut self.namespaces[at].1;
            let found = queues.iter().enumerate().find_map(|(turn, queue)| {
                may(queue.campaign)
                    .then(|| queue.messages.iter().position(|message| fits(queue.campaign, message)))
                    .flatten()
                    .map(|m| (turn, m))
            });
            let Some((turn, position)) = found else { continue };
            let Some(mut queue) = queues.remove(turn) else { continue };
            let campaign = queue.campaign;
            let message = if position == 0 { queue.messages.pop_front() } else { queue.messages.remove(position) };
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

    /// Whether a message of a campaign waits that fits.
    #[must_use]
    pub fn has(&self, campaign: usize, fits: impl Fn(&Prepared) -> bool) -> bool {
        let mut queues = self.namespaces.iter().flat_map(|(_, queues)| queues);
        queues.any(|queue| queue.campaign == campaign && queue.messages.iter().any(&fits))
    }

    /// Campaigns whose messages wait.
    pub fn campaigns(&self) -> impl Iterator<Item = usize> + '_ {
        self.namespaces.iter().flat_map(|(_, queues)| queues).map(|queue| queue.campaign)
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
    /// The server's key.
    pub key: Key,
    /// Its name and index.
    pub lane: LaneRef,
    /// The host behind it: two servers of one host are one opinion of a recipient.
    pub host: Arc<str>,
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
    /// The control plane has no such server any more: it goes when its wire is empty.
    pub is_gone: bool,
    /// It is Inactive since its sends fail, and one message alone is to show whether they still do.
    pub is_on_trial: bool,
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
    /// Since an outcome was unknown, until one is known again.
    pub caution: Option<Caution>,
    /// Fewer connections than configured, since the server refused more.
    pub connections_known: Option<KnownConnections>,
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

/// After an unknown outcome a server rests, and is then tried with one message alone: each answer that nobody can read costs a
/// recipient, who may or may not have been mailed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caution {
    /// It rests until then, milliseconds; none once that is over.
    pub until_ms: Option<i64>,
    /// How long it rests, milliseconds: doubled each time.
    pub rest_ms: i64,
}

/// The first rest after an unknown outcome, and the longest, milliseconds.
const CAUTION_MS: i64 = 10_000;
const CAUTION_MAX_MS: i64 = 300_000;

/// Connections that a server took when it refused one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownConnections {
    /// So many.
    pub count: usize,
    /// When one more is tried, milliseconds.
    pub more_at_ms: i64,
}

/// Between two tries whether a server takes one more connection than it did, milliseconds.
const MORE_CONNECTIONS_MS: i64 = 60_000;

impl Lane {
    /// A server of which nothing is known.
    #[must_use]
    pub fn new(key: &Key, id: usize, now_ms: i64) -> Self {
        Self {
            key: key.clone(),
            lane: LaneRef { name: key.to_string().into(), id },
            host: "".into(),
            turns: Turns::default(),
            window: FlightWindow::default(),
            connections: 1,
            return_path: None,
            routed: false,
            is_gone: false,
            is_on_trial: false,
            failures: 0,
            acknowledged: 0,
            readmitted_ms: now_ms,
            exhausted_until: None,
            not_before_ms: 0,
            caution: None,
            connections_known: None,
            in_flight: 0,
            deliveries: 0,
            last_sign_of_life_ms: now_ms,
            stall_after_ms: 10_000,
            accepted: 0,
            users: 0,
            batch_max: 1,
            fingerprint: 0,
        }
    }

    /// Whether it may be picked.
    #[must_use]
    pub fn is_eligible(&self) -> bool {
        self.routed && self.acknowledged == self.failures && self.exhausted_until.is_none() && self.resting_until().is_none()
    }

    /// Whether one message alone is to show that it works.
    #[must_use]
    pub fn is_careful(&self) -> bool {
        self.caution.is_some() || self.is_on_trial
    }

    /// Until when it rests since an outcome was unknown; the end is noticed by [`Lane::wake`].
    fn resting_until(&self) -> Option<i64> {
        self.caution.and_then(|caution| caution.until_ms)
    }

    /// An outcome is unknown: it rests, whatever probes say.
    pub fn note_unknown(&mut self, asked_ms: i64, now_ms: i64) {
        let rest_ms = match self.caution {
            // One incident, of which the rest of the wire follows.
            Some(Caution { until_ms: Some(until), .. }) if until > now_ms => return,
            Some(Caution { rest_ms, .. }) => (rest_ms * 2).min(CAUTION_MAX_MS),
            None => CAUTION_MS,
        };
        self.caution = Some(Caution { until_ms: Some(now_ms + rest_ms.max(asked_ms)), rest_ms });
    }

    /// A rest that is over at this time; true when there was one.
    pub fn wake(&mut self, now_ms: i64) -> bool {
        match &mut self.caution {
            Some(caution) if caution.until_ms.is_some_and(|until| until <= now_ms) => {
                caution.until_ms = None;
                true
            }
            _ => false,
        }
    }

    /// When a rest ends.
    #[must_use]
    pub fn wakes_at_ms(&self) -> Option<i64> {
        self.resting_until()
    }

    /// Connections that it may have at a time now.
    #[must_use]
    pub fn connections_now(&self) -> usize {
        self.connections_known.map_or(self.connections, |known| known.count.min(self.connections))
    }

    /// The server refused one connection more than are open. False when none was.
    pub fn note_too_many_connections(&mut self, now_ms: i64) -> bool {
        // The one that was refused is among them.
        let open = self.deliveries.saturating_sub(1).min(self.connections_now());
        if open == 0 {
            return false;
        }
        self.connections_known = Some(KnownConnections { count: open, more_at_ms: now_ms + MORE_CONNECTIONS_MS });
        true
    }

    /// Tries one connection more, after a while.
    pub fn try_more_connections(&mut self, now_ms: i64) {
        if let Some(known) = &mut self.connections_known
            && known.more_at_ms <= now_ms
        {
            *known = KnownConnections { count: known.count + 1, more_at_ms: now_ms + MORE_CONNECTIONS_MS };
            if known.count >= self.connections {
                self.connections_known = None;
            }
        }
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
