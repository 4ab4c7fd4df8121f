//! One run of a campaign as the scheduler sees it. Pure.
//!
//! Its state is in parts, each with its own rules; what the scheduler decides over several of them is in [`super::scheduler`].

pub mod audience;
pub mod backlog;
pub mod blocked;
pub mod feeder;
pub mod guards;
pub mod hours;
pub mod picking;
pub mod record;
pub mod tally;
mod unfinished;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use self::{
    audience::AudienceProgress,
    backlog::Backlog,
    blocked::Blocked,
    feeder::FeederState,
    guards::Guards,
    hours::HoursState,
    record::{Opened, RecordState},
    tally::Tally,
};
use super::{
    index::LaneIx,
    lane::LaneRef,
    rendered::Feeding,
    route::{EligibleSet, RunSeed},
    stages::{Disposition, InFlight},
};
use crate::{
    providers::RunLabel,
    report::{Expected, Phase},
    resources::Key,
    routing::CampaignIntent,
};

/// One run of a campaign.
pub struct CampaignRun {
    /// The campaign's key.
    pub key: Key,
    /// Its namespace, for fair queueing.
    pub namespace: Arc<str>,
    /// The campaign and the run with which its messages are labelled.
    pub label: Arc<RunLabel>,
    /// The desired state of the campaign.
    pub intent: Arc<CampaignIntent>,
    /// See [`RunSeed`].
    pub seed: RunSeed,
    /// How far the run has come.
    pub phase: Phase,
    /// The control plane no longer has this campaign.
    pub is_retired: bool,
    /// The servers that may be picked now.
    pub eligible: EligibleSet<LaneRef>,
    /// What is counted of it.
    pub tally: Tally,
    /// The run in the ledger.
    pub record: RecordState,
    /// How far its audience was read.
    pub audience: AudienceProgress,
    /// What is still to come from its feeder.
    pub feeder: FeederState,
    /// The rendered messages that wait.
    pub backlog: Backlog,
    /// Where it is by its sending hours.
    pub hours: HoursState,
    /// What servers think of it.
    pub guards: Guards,
    /// What stops it.
    pub blocked: Blocked,
    /// The envelope sender by server.
    mail_from: BTreeMap<LaneIx, Arc<str>>,
}

impl CampaignRun {
    /// A run that has not been opened in the ledger yet.
    #[must_use]
    pub fn new(key: &Key, intent: Arc<CampaignIntent>, ledger_seed: u64) -> Self {
        Self {
            key: key.clone(),
            namespace: key.namespace.clone(),
            label: Arc::new(RunLabel { campaign: key.to_string(), run: intent.work.run.clone() }),
            seed: RunSeed::new(ledger_seed, &key.namespace, &key.name, &intent.work.run),
            intent,
            phase: Phase::Opening,
            is_retired: false,
            eligible: EligibleSet::new([]),
            tally: Tally::default(),
            record: RecordState::default(),
            audience: AudienceProgress::default(),
            feeder: FeederState::default(),
            backlog: Backlog::default(),
            hours: HoursState::default(),
            guards: Guards::default(),
            blocked: Blocked::default(),
            mail_from: BTreeMap::new(),
        }
    }

    /// Adopts what the ledger knows; `lane_of` finds a server by its name.
    pub fn open(&mut self, opened: Opened, lane_of: impl Fn(&str) -> Option<LaneIx>) {
        self.record.adopt(&opened);
        self.feeder.next_due_ms = opened.next_due_ms;
        for (name, count) in &opened.accepted {
            if let Some(lane) = lane_of(name) {
                self.guards.of_mut(lane).has_accepted = *count > 0;
            }
        }
        self.tally.adopt(opened.counts, opened.accepted);
        self.guards.adopt(opened.bars, opened.held, lane_of);
        self.phase = if opened.closed_ms.is_some() { Phase::Closed } else { Phase::Resting };
    }

    /// The number of recipients that the audience should have, until it has been read to its end.
    #[must_use]
    pub fn expected(&self) -> Option<Expected> {
        if self.tally.counts.total.is_some() { None } else { self.audience.expected() }
    }

    /// What becomes of a message whose attempt failed: it is retried after `delay`, or that was its last attempt.
    #[must_use]
    pub fn defer(flight: &InFlight, delay: Option<Duration>, now_ms: i64, is_unknown: bool) -> Disposition {
        let fields = flight.fields.clone();
        match delay.map(|delay| now_ms + i64::try_from(delay.as_millis()).unwrap_or(i64::MAX / 2)) {
            Some(at_ms) if is_unknown => Disposition::Resend { at_ms, fields },
            Some(at_ms) => Disposition::Deferred { at_ms, fields },
            None if is_unknown => Disposition::Unknown,
            None => Disposition::Expired,
        }
    }

    /// Its part in the shared budget of rendered messages, with `held` messages waiting or requested.
    pub(super) fn as_feeding(&self, held: usize) -> Feeding<'_> {
        let (namespace, servers) = (&self.namespace, self.eligible.set_hash());
        let (asked, aside, message_bytes) = (self.feeder.asked(), self.backlog.aside(), self.feeder.message_bytes);
        Feeding { namespace, servers, held, asked, aside, message_bytes }
    }

    /// Whether nothing new comes from the audience: it was read to its end, and nobody was passed over, for lack of room or because it
    /// is not their hours.
    pub(super) fn has_met_everybody(&self) -> bool {
        self.audience.is_read && self.backlog.passed_over.is_empty() && self.hours.asleep.is_none()
    }

    /// Whether nothing of it is in memory, on the wire, or not durable yet.
    pub(super) fn has_nothing_under_way(&self) -> bool {
        self.backlog.messages == 0 && self.feeder.owes_nothing() && self.tally.unsettled == 0
    }

    /// Whether only held messages are left: nothing else is in memory, and the ledger has nothing deferred.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.phase == Phase::Feeding && self.has_met_everybody() && self.has_nothing_under_way() && self.feeder.next_due_ms.is_none()
    }

    /// The envelope sender: the From address, with the domain of the server's own return path if it has one.
    pub fn mail_from(&mut self, lane: LaneIx, return_path: Option<&str>) -> Arc<str> {
        let from = &self.intent.work.from_address;
        self.mail_from
            .entry(lane)
            .or_insert_with(|| match (return_path, from.rsplit_once('@')) {
                (Some(domain), Some((local, _))) => format!("{local}@{domain}").into(),
                _ => from.clone(),
            })
            .clone()
    }

    /// The spec changed: envelope senders are made anew.
    pub fn forget_senders(&mut self) {
        self.mail_from.clear();
    }

    /// A server is in the routing no more.
    pub fn lane_went(&mut self, lane: LaneIx, key: &Key) {
        self.mail_from.remove(&lane);
        self.guards.lane_went(lane, key);
    }
}
