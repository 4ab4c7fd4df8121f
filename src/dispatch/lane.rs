//! One server as the scheduler sees it: who waits for it, whose turn it is, and how much it may take now. Pure.

use std::{sync::Arc, time::Duration};

use super::index::LaneIx;
use super::{
    calls::Calls,
    connections::Connections,
    limits::Limiter,
    pace::Pace,
    turns::Turns,
    window::{CLAIMS_MAX, FlightWindow},
};
use crate::{
    providers::Carriage,
    resources::{Key, Rate},
};

/// A server within a scheduler; its name makes the order and the pick stable over restarts.
#[derive(Clone, Debug)]
pub struct LaneRef {
    /// `namespace/name`.
    pub name: Arc<str>,
    /// The index in this process.
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
        // One that was applied again has the name of the one before.
        self.name.cmp(&other.name).then(self.id.cmp(&other.id))
    }
}
impl std::fmt::Display for LaneRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

/// A server within the scheduler.
pub struct Lane {
    /// The server's key.
    pub key: Key,
    /// Its name and index.
    pub reference: LaneRef,
    /// The host behind it: two servers of one host are one opinion of a recipient.
    pub host: Arc<str>,
    /// Who waits for it.
    pub turns: Turns,
    /// How many messages it may have on the wire.
    pub window: FlightWindow,
    /// Connections at a time.
    pub connections: Connections,
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
    /// Its windows.
    pub limiter: Limiter,
    /// What it turned out to take.
    pub pace: Pace,
    /// Messages that its limits have room for beside those that wait for it, as they were looked at last.
    pub headroom: u64,
    /// Nothing before this time, since a window or the pace says so.
    pub not_before_ms: i64,
    /// Since an outcome was unknown, until one is known again.
    pub caution: Option<Caution>,
    /// Messages claimed for it that have no outcome.
    pub in_flight: usize,
    /// The most of them at a time, where the spec bounds them.
    pub in_flight_max: usize,
    /// Calls of `deliver` under way.
    pub calls: Calls,
    /// When the last outcome came, or the wire was last empty.
    pub last_sign_of_life_ms: i64,
    /// After so long without an answer it is suspected.
    pub stall_after_ms: i64,
    /// Messages that it took since the process began.
    pub accepted: u64,
    /// Campaigns that may use it now.
    pub users: usize,
    /// How messages are handed over.
    pub carriage: Carriage,
    /// Its windows as they were set last; a change makes a new limiter.
    pub rates: Option<Vec<Rate>>,
}

/// After an unknown outcome a server rests, and is then tried with one message alone: each answer that nobody can read costs a
/// recipient, who may or may not have been mailed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caution {
    /// It rests until then, milliseconds; none once that is over.
    pub until_ms: Option<i64>,
    /// How long it rests, milliseconds: doubled each time.
    pub rest_ms: i64,
    /// What came instead of an answer, for people.
    pub cause: Arc<str>,
}

/// The first rest after an unknown outcome, and the longest, milliseconds.
const CAUTION_MS: i64 = 10_000;
const CAUTION_MAX_MS: i64 = 300_000;
/// Messages that are enough to keep a server busy while more are rendered.
const READY_MAX: usize = 16;
/// Messages that may wait for a server to which one alone goes.
const CAREFUL_QUEUE: u64 = 1;

impl Lane {
    /// A server of which nothing is known.
    #[must_use]
    pub fn new(key: &Key, id: LaneIx, now_ms: i64) -> Self {
        Self {
            key: key.clone(),
            reference: LaneRef { name: key.to_string().into(), id },
            host: "".into(),
            turns: Turns::default(),
            window: FlightWindow::default(),
            connections: Connections::default(),
            return_path: None,
            routed: false,
            is_gone: false,
            is_on_trial: false,
            failures: 0,
            acknowledged: 0,
            readmitted_ms: now_ms,
            limiter: Limiter::default(),
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
            users: 0,
            carriage: Carriage::default(),
            rates: None,
        }
    }

    /// Whether it may be picked, as far as limits do not say otherwise.
    #[must_use]
    pub fn is_eligible(&self) -> bool {
        self.routed && self.acknowledged == self.failures && self.resting_until().is_none()
    }

    /// Looks at its limits: how many messages may wait for it beside those that do.
    pub fn look_at_limits(&mut self, now_ms: i64) {
        self.headroom = if self.pace.rests_until_ms().is_some() {
            0
        } else if self.is_careful() {
            // One alone goes to it, and one is ready behind: more would wait here for what others could take.
            CAREFUL_QUEUE.saturating_sub(self.turns.len() as u64)
        } else if self.limiter.is_limiting() || self.pace.rate().is_some() {
            let most = self.limiter.headroom(now_ms).min(self.limiter.queue_max()).min(self.pace.queue_max());
            most.saturating_sub(self.turns.len() as u64)
        } else {
            u64::MAX
        };
    }

    /// How many more messages it could soon take, as of the last look at its limits.
    #[must_use]
    pub fn room(&self) -> usize {
        usize::try_from(self.headroom).unwrap_or(usize::MAX).min(READY_MAX.saturating_sub(self.turns.len()))
    }

    /// When a limit lets a message wait for it again; none where all do.
    pub fn reopens_at_ms(&mut self, now_ms: i64) -> Option<i64> {
        self.limiter.reopens_at(now_ms).max(self.pace.rests_until_ms())
    }

    /// Until when it takes nothing, for display: a longer window or warm-up is used up, or it asked for a rest.
    pub fn exhausted_until_ms(&mut self, now_ms: i64) -> Option<i64> {
        self.limiter.exhausted_until(now_ms).max(self.pace.rests_until_ms())
    }

    /// Whether one message alone is to show that it works.
    #[must_use]
    pub fn is_careful(&self) -> bool {
        self.caution.is_some() || self.is_on_trial || self.pace.is_trying()
    }

    /// Until when it rests since an outcome was unknown; the end is noticed by [`Lane::wake`].
    fn resting_until(&self) -> Option<i64> {
        self.caution.as_ref().and_then(|caution| caution.until_ms)
    }

    /// Why it rests since an outcome was unknown, while it does.
    #[must_use]
    pub fn rests_since(&self) -> Option<Arc<str>> {
        self.caution.as_ref().filter(|caution| caution.until_ms.is_some()).map(|caution| caution.cause.clone())
    }

    /// An outcome is unknown, since this came instead of an answer: it rests, whatever probes say.
    pub fn note_unknown(&mut self, asked_ms: i64, cause: &str, now_ms: i64) {
        let rest_ms = match self.caution {
            // One incident, of which the rest of the wire follows.
            Some(Caution { until_ms: Some(until), .. }) if until > now_ms => return,
            Some(Caution { rest_ms, .. }) => (rest_ms * 2).min(CAUTION_MAX_MS),
            None => CAUTION_MS,
        };
        self.caution = Some(Caution { until_ms: Some(now_ms + rest_ms.max(asked_ms)), rest_ms, cause: cause.into() });
    }

    /// A rest that is over at this time; true when there was one.
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

    /// When a rest ends.
    #[must_use]
    pub fn wakes_at_ms(&self) -> Option<i64> {
        self.resting_until().into_iter().chain(self.pace.rests_until_ms()).min()
    }

    /// Whether most of what its connections carry is free for messages that wait: a commit for so many need not wait for more.
    #[must_use]
    pub fn is_mostly_idle(&self, now_ms: i64) -> bool {
        if self.carriage.is_windowed || self.carriage.batch > 1 {
            return false;
        }
        let carried = self.carried();
        let free = carried.saturating_sub(self.in_flight);
        free * 4 >= carried * 3 && self.turns.len() >= free && now_ms >= self.not_before_ms && self.is_eligible()
    }

    /// Messages that it may have without an outcome, where its fair share of the windows is `share`.
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

    /// The most messages that it has without an outcome at a time, for display: what a crash may leave unknown. Where it follows
    /// what is measured, it is rounded up so that it does not change all the time.
    #[must_use]
    pub fn bound(&self, commit: Duration) -> usize {
        if self.carriage.is_windowed {
            self.window.probing(commit).max(CLAIMS_MAX).next_power_of_two().min(self.in_flight_max)
        } else {
            self.carried()
        }
    }

    /// Messages that its connections carry at a time.
    fn carried(&self) -> usize {
        self.connections.now().saturating_mul(self.carriage.each()).min(self.in_flight_max)
    }
}
