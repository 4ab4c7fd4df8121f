//! One run of a campaign as the scheduler sees it. Pure.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{
    Order,
    lane::LaneRef,
    prepared::{End, InFlight, Prepared},
    route::{EligibleSet, RunSeed},
};
use crate::{
    providers::RunLabel,
    resources::{Key, Reason, campaign::RecipientCounts},
};

/// Where a run stands within the dispatcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The ledger is asked for the run.
    Opening,
    /// Nothing is fed: held, stopped by a problem, or being changed.
    Resting,
    /// A feeder reads the audience.
    Feeding,
    /// Every recipient has an end.
    Closed,
}

/// Why a run cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The condition's reason.
    pub reason: Reason,
    /// The condition's message.
    pub message: String,
    /// Whether it is tried again by itself; otherwise the spec has to change.
    pub transient: bool,
}

/// What the ledger knew of the run when it was opened.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    /// The run's number in the ledger.
    pub run_id: i64,
    /// Recipients by what became of them.
    pub counts: RecipientCounts,
    /// Messages that each server took, by name.
    pub accepted: BTreeMap<String, u64>,
    /// When the run began, milliseconds.
    pub started_ms: i64,
    /// When it was closed, milliseconds.
    pub closed_ms: Option<i64>,
    /// When the next deferred message is due, milliseconds.
    pub next_due_ms: Option<i64>,
    /// Claims of an earlier process whose outcome is not known.
    pub unknown_at_start: u64,
}

/// One run.
pub struct CampaignRun {
    /// The campaign's key.
    pub key: Key,
    /// Its namespace, for the turns.
    pub namespace: Arc<str>,
    /// The campaign and its run, as messages are labelled with them.
    pub label: Arc<RunLabel>,
    /// What the control plane wants.
    pub order: Arc<Order>,
    /// See [`RunSeed`].
    pub seed: RunSeed,
    /// Where it stands.
    pub phase: Phase,
    /// Counts the feeders, so that what a stopped one still brings is known as such.
    pub feeding: u64,
    /// The run's number in the ledger.
    pub run_id: i64,
    /// The servers that may be picked now.
    pub eligible: EligibleSet<LaneRef>,
    /// Rendered messages for which no server is eligible.
    pub unassigned: VecDeque<Prepared>,
    /// Rendered messages that are not claimed yet.
    pub waiting: usize,
    /// Messages that the feeder was asked for and has not brought.
    pub requested: usize,
    /// Deferred messages that the feeder renders.
    pub preparing: usize,
    /// Whether its feeder runs: nothing is asked for before.
    pub has_feeder: bool,
    /// Whether deferred messages are being fetched.
    pub fetching: bool,
    /// When the next deferred message is due.
    pub next_due_ms: Option<i64>,
    /// Messages on the wire.
    pub in_flight: usize,
    /// Messages of which something is not durable yet: a claim that is planned or on the wire, or an outcome.
    pub unsettled: usize,
    /// Whether the feeder has read the whole audience.
    pub audience_done: bool,
    /// How much of the audience is read, 0 to 1, where that can be told.
    pub audience_progress: Option<f64>,
    /// Recipients that the audience has brought so far.
    pub audience_seen: u64,
    /// Recipients by what became of them.
    pub counts: RecipientCounts,
    /// Messages that each server took in this process, by index.
    pub accepted_by_lane: BTreeMap<usize, u64>,
    /// Messages that each server took before, by name.
    pub accepted_before: BTreeMap<String, u64>,
    /// What stops it, if anything.
    pub trouble: Option<Trouble>,
    /// When a transient trouble is tried again, milliseconds.
    pub try_again_ms: Option<i64>,
    /// When the run began.
    pub started_ms: Option<i64>,
    /// When every recipient had an end.
    pub completed_ms: Option<i64>,
    /// Rows that were added after completion.
    pub added_later: u64,
    /// Claims of an earlier process whose outcome is not known.
    pub unknown_at_start: u64,
    /// The ledger is being asked to close it.
    pub closing: bool,
    /// The control plane has no such campaign any more.
    pub retired: bool,
    /// The envelope sender by server.
    pub mail_from: BTreeMap<usize, Arc<str>>,
}

impl CampaignRun {
    /// A run that the ledger is still to be asked for.
    #[must_use]
    pub fn new(key: &Key, order: Arc<Order>, ledger_seed: u64) -> Self {
        Self {
            key: key.clone(),
            namespace: key.namespace.clone(),
            label: Arc::new(RunLabel { campaign: key.to_string(), run: order.run.clone() }),
            seed: RunSeed::new(ledger_seed, &key.namespace, &key.name, &order.run),
            order,
            phase: Phase::Opening,
            feeding: 0,
            run_id: 0,
            eligible: EligibleSet::new([]),
            unassigned: VecDeque::new(),
            waiting: 0,
            requested: 0,
            preparing: 0,
            has_feeder: false,
            fetching: false,
            next_due_ms: None,
            in_flight: 0,
            unsettled: 0,
            audience_done: false,
            audience_progress: None,
            audience_seen: 0,
            counts: RecipientCounts::default(),
            accepted_by_lane: BTreeMap::new(),
            accepted_before: BTreeMap::new(),
            trouble: None,
            try_again_ms: None,
            started_ms: None,
            completed_ms: None,
            added_later: 0,
            unknown_at_start: 0,
            closing: false,
            retired: false,
            mail_from: BTreeMap::new(),
        }
    }

    /// Takes over what the ledger knows.
    pub fn open(&mut self, opened: Opened) {
        self.run_id = opened.run_id;
        self.counts = opened.counts;
        self.accepted_before = opened.accepted;
        self.started_ms = Some(opened.started_ms);
        self.completed_ms = opened.closed_ms;
        self.next_due_ms = opened.next_due_ms;
        self.unknown_at_start = opened.unknown_at_start;
        self.phase = if opened.closed_ms.is_some() { Phase::Closed } else { Phase::Resting };
    }

    /// The end of a try that is to be repeated after `delay`, or that was the last.
    pub fn defer(&mut self, flight: &InFlight, delay: Option<Duration>, now_ms: i64, unknown: bool) -> End {
        match delay {
            Some(delay) => {
                let at_ms = now_ms + i64::try_from(delay.as_millis()).unwrap_or(i64::MAX / 2);
                self.counts.deferred += 1;
                End::Deferred { at_ms, fields: flight.fields.clone(), unknown }
            }
            None if unknown => {
                self.counts.unknown += 1;
                End::Unknown
            }
            None => {
                self.counts.expired += 1;
                End::Expired
            }
        }
    }

    /// A deferred message is due at this time.
    pub fn note_due(&mut self, at_ms: i64) {
        self.next_due_ms = Some(self.next_due_ms.map_or(at_ms, |due| due.min(at_ms)));
    }

    /// Whether nothing of it is left anywhere in memory, and the ledger has nothing deferred.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.phase == Phase::Feeding
            && self.audience_done
            && self.waiting == 0
            && self.requested == 0
            && self.preparing == 0
            && self.unsettled == 0
            && !self.fetching
            && self.next_due_ms.is_none()
    }

    /// The envelope sender: the From address, at the server's own return path where it has one.
    pub fn mail_from(&mut self, lane: usize, return_path: Option<&str>) -> Arc<str> {
        let from = &self.order.from_address;
        self.mail_from
            .entry(lane)
            .or_insert_with(|| match (return_path, from.rsplit_once('@')) {
                (Some(domain), Some((local, _))) => format!("{local}@{domain}").into(),
                _ => from.clone(),
            })
            .clone()
    }
}
