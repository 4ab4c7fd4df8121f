//! A lane: one server's queue within the scheduler, with fair queueing of campaigns and the server's limits. Pure.

use std::{sync::Arc, time::Duration};

use super::index::LaneIx;
use super::{
    calls::Calls,
    connections::Connections,
    domains::DomainLimits,
    limits::Limiter,
    pace::Pace,
    receivers::Receiver,
    turns::Turns,
    window::{CLAIMS_MAX, FlightWindow},
};
use crate::{
    providers::Carriage,
    report::Answers,
    resources::{Key, Rate},
};

/// A reference to a lane; ordering by name keeps the order and the pick stable across restarts.
#[derive(Clone, Debug)]
pub struct LaneRef {
    /// The server's `namespace/name`.
    pub name: Arc<str>,
    /// Its index in this process.
    pub id: LaneIx,
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
        // A server that was deleted and applied again has its predecessor's name.
        self.name.cmp(&other.name).then(self.id.cmp(&other.id))
    }
}
impl std::fmt::Display for LaneRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

/// One server's queue, limits and state within the scheduler.
pub struct Lane {
    /// The server's key.
    pub key: Key,
    /// Its name and index.
    pub reference: LaneRef,
    /// Its type.
    pub provider: &'static str,
    /// Its host: refusals by two servers with the same host count as one opinion of a recipient.
    pub host: Arc<str>,
    /// The messages that wait for it.
    pub turns: Turns,
    /// How many messages it may have in flight.
    pub window: FlightWindow,
    /// How many connections it may have at a time.
    pub connections: Connections,
    /// The domain of the envelope sender, if the server requires its own.
    pub return_path: Option<Arc<str>>,
    /// Whether the envelope sender names the message.
    pub names_messages: bool,
    /// Whether the control plane routes through it.
    pub routed: bool,
    /// The server is Inactive because sending failed; a single message is sent to find out whether it still does.
    pub is_on_trial: bool,
    /// The number of failures that the dispatcher has seen.
    pub failures: u64,
    /// The number of `failures` that the control plane knew of when it last routed.
    pub acknowledged: u64,
    /// When it last returned to routing; failures of messages claimed before that do not take it out again.
    pub readmitted_ms: i64,
    /// Its rate limits and warm-up.
    pub limiter: Limiter,
    /// Its limits for receiving domains, if it has any.
    pub domains: Option<DomainLimits>,
    /// The rate that it has been observed to take.
    pub pace: Pace,
    /// The number of messages that its limits have room for in addition to those that wait, as of the last look at the limits.
    pub headroom: u64,
    /// Nothing is claimed before this time, milliseconds, because a window or the pace says so.
    pub not_before_ms: i64,
    /// Set by an unknown outcome; cleared when the server accepts or refuses a message.
    pub caution: Option<Caution>,
    /// Messages claimed for it that have no outcome yet.
    pub in_flight: usize,
    /// The most of them at a time; `usize::MAX` if the spec sets no bound.
    pub in_flight_max: usize,
    /// Calls of `deliver` in progress.
    pub calls: Calls,
    /// When the last outcome arrived, or messages were last handed over with no call in progress, milliseconds.
    pub last_sign_of_life_ms: i64,
    /// After this long without an answer it is treated as failed, milliseconds.
    pub stall_after_ms: i64,
    /// Messages that it has accepted since the process started.
    pub accepted: u64,
    /// What else it answered since the process started.
    pub answers: Answers,
    /// Campaigns that may use it now.
    pub users: usize,
    /// How messages are handed over.
    pub carriage: Carriage,
    /// The rates that `limiter` was built from; a change builds a new one.
    pub rates: Option<Vec<Rate>>,
}

/// After an unknown outcome a server rests, and is then tried with a single message: each unreadable answer leaves a recipient who
/// may or may not have been mailed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caution {
    /// The end of the rest, milliseconds; `None` once it is over.
    pub until_ms: Option<i64>,
    /// The length of the rest, milliseconds: doubled each time.
    pub rest_ms: i64,
    /// What came instead of an answer, for display.
    pub cause: Arc<str>,
}

/// The first and the longest rest after an unknown outcome, milliseconds.
const CAUTION_MS: i64 = 10_000;
const CAUTION_MAX_MS: i64 = 300_000;
/// Enough waiting messages to keep a server busy while more are rendered.
const READY_MAX: usize = 16;
/// The most messages that may wait for a server that is sent one at a time.
const CAREFUL_QUEUE: u64 = 1;

impl Lane {
    /// The lane of a server about which nothing is known yet.
    #[must_use]
    pub fn new(key: &Key, id: LaneIx, now_ms: i64) -> Self {
        Self {
            key: key.clone(),
            reference: LaneRef { name: key.to_string().into(), id },
            provider: "",
            host: "".into(),
            turns: Turns::default(),
            window: FlightWindow::default(),
            connections: Connections::default(),
            return_path: None,
            names_messages: false,
            routed: false,
            is_on_trial: false,
            failures: 0,
            acknowledged: 0,
            readmitted_ms: now_ms,
            limiter: Limiter::default(),
            domains: None,
            pace: Pace::default(),
            headroom: u64::MAX,
            not_before_ms: 0,
            caution: None,
            in_flight: 0,
            in_flight_max: usize::MAX,
            calls: Calls::default(),
            last_sign_of_life_ms: now_ms,
            stall_after_ms: 10_000,
            accepted: 0,
            answers: Answers::default(),
            users: 0,
            carriage: Carriage::default(),
            rates: None,
        }
    }

    /// Whether it may be picked, limits aside.
    #[must_use]
    pub fn is_eligible(&self) -> bool {
        self.routed && self.acknowledged == self.failures && self.resting_until().is_none()
    }

    /// Looks at its limits and updates `headroom`: how many more messages may wait for it.
    pub fn look_at_limits(&mut self, now_ms: i64) {
        self.headroom = if self.pace.rests_until_ms().is_some() {
            0
        } else if self.is_careful() {
            // It is sent one at a time, and one is ready behind: more would wait here although other servers could take them.
            CAREFUL_QUEUE.saturating_sub(self.turns.len() as u64)
        } else if self.limiter.is_limiting() || self.pace.rate().is_some() {
            let most = self.limiter.headroom(now_ms).min(self.limiter.queue_max()).min(self.pace.queue_max());
            most.saturating_sub(self.turns.len() as u64)
        } else {
            u64::MAX
        };
        if let Some(domains) = &mut self.domains {
            domains.look(self.turns.messages(), now_ms);
        }
    }

    /// Whether one more message for a receiver may wait for it, as of the last look at its limits.
    #[must_use]
    pub fn has_room_for(&self, receiver: Option<&Receiver>) -> bool {
        self.headroom > 0 && self.domains.as_ref().is_none_or(|domains| domains.headroom(receiver) > 0)
    }

    /// The messages for a receiver that its limit for that has room for; `u64::MAX` without one.
    #[must_use]
    pub fn domain_room(&self, receiver: &Receiver) -> u64 {
        self.domains.as_ref().map_or(u64::MAX, |domains| domains.headroom(Some(receiver)))
    }

    /// A message begins to wait for it.
    pub fn placed(&mut self, receiver: Option<&Receiver>) {
        self.headroom = self.headroom.saturating_sub(u64::from(self.headroom != u64::MAX));
        if let Some(domains) = &mut self.domains {
            domains.placed(receiver);
        }
    }

    /// Until when nothing is claimed for it, milliseconds, because its limits or those of all receivers that wait say so.
    #[must_use]
    pub fn waits_until_ms(&self) -> i64 {
        self.domains.as_ref().map_or(self.not_before_ms, |domains| self.not_before_ms.max(domains.waits_until_ms))
    }

    /// How many more messages it could soon take, as of the last look at its limits.
    #[must_use]
    pub fn room(&self) -> usize {
        usize::try_from(self.headroom).unwrap_or(usize::MAX).min(READY_MAX.saturating_sub(self.turns.len()))
    }

    /// When its limits let a message wait for it again; `None` if they all do now.
    pub fn reopens_at_ms(&mut self, now_ms: i64) -> Option<i64> {
        self.limiter.reopens_at(now_ms).max(self.pace.rests_until_ms())
    }

    /// Until when it takes nothing, for display: a longer window or the warm-up is used up, or it asked for a rest.
    pub fn exhausted_until_ms(&mut self, now_ms: i64) -> Option<i64> {
        self.limiter.exhausted_until(now_ms).max(self.pace.rests_until_ms())
    }

    /// Whether it is sent one message at a time, to show that it works.
    #[must_use]
    pub fn is_careful(&self) -> bool {
        self.caution.is_some() || self.is_on_trial || self.pace.is_trying()
    }

    /// The end of its rest after an unknown outcome; [`Lane::wake`] ends the rest.
    fn resting_until(&self) -> Option<i64> {
        self.caution.as_ref().and_then(|caution| caution.until_ms)
    }

    /// Why it rests after an unknown outcome; `None` if it does not.
    #[must_use]
    pub fn rests_since(&self) -> Option<Arc<str>> {
        self.caution.as_ref().filter(|caution| caution.until_ms.is_some()).map(|caution| caution.cause.clone())
    }

    /// Notes an unknown outcome and what came instead of an answer: the server rests, whatever probes say.
    pub fn note_unknown(&mut self, asked_ms: i64, cause: &str, now_ms: i64) {
        let rest_ms = match self.caution {
            // One incident: the other messages in flight follow.
            Some(Caution { until_ms: Some(until), .. }) if until > now_ms => return,
            Some(Caution { rest_ms, .. }) => (rest_ms * 2).min(CAUTION_MAX_MS),
            None => CAUTION_MS,
        };
        self.caution = Some(Caution { until_ms: Some(now_ms + rest_ms.max(asked_ms)), rest_ms, cause: cause.into() });
    }

    /// Ends a rest that is over by now; returns whether there was one.
    pub fn wake(&mut self, now_ms: i64) -> bool {
        let has_slept = self.pace.wake(now_ms);
        match &mut self.caution {
            Some(caution) if caution.until_ms.is_some_and(|until| until <= now_ms) => {
                caution.until_ms = None;
                true
            }
            _ => has_slept,
        }
    }

    /// When its next rest ends.
    #[must_use]
    pub fn wakes_at_ms(&self) -> Option<i64> {
        self.resting_until().into_iter().chain(self.pace.rests_until_ms()).min()
    }

    /// Whether most of its capacity is free and enough messages wait to fill it: their claims need not wait to be committed with
    /// others.
    #[must_use]
    pub fn is_mostly_idle(&self, now_ms: i64) -> bool {
        if self.carriage.is_windowed || self.carriage.batch > 1 {
            return false;
        }
        let carried = self.carried();
        let free = carried.saturating_sub(self.in_flight);
        free * 4 >= carried * 3 && self.turns.len() >= free && now_ms >= self.waits_until_ms() && self.is_eligible()
    }

    /// The number of messages that it may have without an outcome, given its fair `share` of the windows.
    #[must_use]
    pub fn window_size(&self, commit: Duration, share: usize) -> usize {
        if self.is_careful() {
            1
        } else if self.carriage.is_windowed {
            self.window.size(commit, share).min(self.in_flight_max)
        } else {
            self.in_flight_max
        }
    }

    /// The most messages that it has without an outcome at a time, for display: the number that a crash may leave unknown. A
    /// measured bound is rounded up, so that it does not keep changing.
    #[must_use]
    pub fn bound(&self, commit: Duration) -> usize {
        if self.carriage.is_windowed {
            self.window.probing(commit).max(CLAIMS_MAX).next_power_of_two().min(self.in_flight_max)
        } else {
            self.carried()
        }
    }

    /// The number of messages that its connections carry at a time.
    fn carried(&self) -> usize {
        self.connections.now().saturating_mul(self.carriage.each()).min(self.in_flight_max)
    }
}
