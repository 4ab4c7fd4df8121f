//! One run of a campaign as the scheduler sees it. Pure.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::index::LaneIx;
use super::{
    guard::Guard,
    lane::LaneRef,
    refusals::Refusals,
    rendered::Feeding,
    route::{self, EligibleSet, RunSeed},
    stages::{Disposition, InFlight, ReadyMessage},
};
use crate::{
    ledger::HeldMessage,
    providers::RunLabel,
    report::{Bar, Expected, Phase},
    resources::{
        Blocker, Key, Reason,
        campaign::{RecipientCounts, Weighting},
        resume::Handled,
    },
    routing::CampaignIntent,
};

/// Servers in all sets of those with room in their limits that are kept: with many servers there are fewer sets.
const IN_SETS_MAX: usize = 65_536;

/// The sets of servers whose limits have room, by all that may be picked and those of them whose limits have none: made once for all
/// campaigns.
#[derive(Debug, Default)]
pub struct WithHeadroom {
    sets: BTreeMap<(u64, Vec<LaneIx>), EligibleSet<LaneRef>>,
    servers: usize,
}

impl WithHeadroom {
    /// The servers of `open` without those that are `full`.
    fn of(&mut self, open: &EligibleSet<LaneRef>, full: Vec<LaneIx>) -> &EligibleSet<LaneRef> {
        if self.servers > IN_SETS_MAX {
            self.clear();
        }
        self.sets.entry((open.fingerprint(), full)).or_insert_with_key(|(_, full)| {
            self.servers += open.servers().len();
            without(open, full)
        })
    }

    /// Forgets them all: servers have come or gone.
    pub fn clear(&mut self) {
        (self.sets, self.servers) = (BTreeMap::new(), 0);
    }
}

fn without(open: &EligibleSet<LaneRef>, full: &[LaneIx]) -> EligibleSet<LaneRef> {
    EligibleSet::new(open.servers().iter().filter(|(lane, _)| !full.contains(&lane.id)).cloned())
}

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// To this server.
    Server(LaneIx),
    /// Nowhere now.
    Waits,
    /// Nowhere: all that may be picked have refused it.
    Nobody,
}

/// What the ledger knew of the run when it was opened.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    /// Recipients by what became of them.
    pub counts: RecipientCounts,
    /// Messages that each server took, by name.
    pub accepted: BTreeMap<Arc<str>, u64>,
    /// When the run began, milliseconds.
    pub started_ms: i64,
    /// When it was closed, milliseconds.
    pub closed_ms: Option<i64>,
    /// When the next deferred message is due, milliseconds.
    pub next_due_ms: Option<i64>,
    /// It was closed before and resumed: nobody is added.
    pub is_reopened: bool,
    /// The requests to resume that were carried out.
    pub resume_handled: Handled,
    /// Servers that may not be used for it, by name.
    pub bars: BTreeMap<Arc<str>, Bar>,
    /// What is held.
    pub held: Vec<HeldMessage>,
    /// Claims that an earlier process left without an outcome: they may have been written until now.
    pub left: u64,
}

/// A message that is held.
#[derive(Clone, Debug)]
pub struct Held {
    /// The recipient.
    pub recipient: Arc<str>,
    /// The server that refused it last.
    pub lane: Option<LaneIx>,
    /// All that refused it.
    pub refusals: Refusals,
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
    pub intent: Arc<CampaignIntent>,
    /// See [`RunSeed`].
    pub seed: RunSeed,
    /// Where it stands.
    pub phase: Phase,
    /// Counts the feeders, so that what a stopped one still brings is known as such.
    pub feeder_epoch: u64,
    /// The servers that may be picked now.
    pub eligible: EligibleSet<LaneRef>,
    /// Rendered messages that are not claimed yet.
    pub waiting: usize,
    /// The largest of the messages that were rendered last, bytes; 0 while none was.
    pub message_bytes: usize,
    /// Messages that the feeder was asked for and has not brought.
    pub requested: usize,
    /// Deferred messages that the feeder renders.
    pub preparing: usize,
    /// Whether its feeder runs: nothing is asked for before.
    pub has_feeder: bool,
    /// Whether the feeder looks for a recipient of another domain.
    pub is_seeking: bool,
    /// Whether deferred messages are being fetched.
    pub fetching: bool,
    /// When the next deferred message is due.
    pub next_due_ms: Option<i64>,
    /// Messages in flight.
    pub in_flight: usize,
    /// Messages of which something is not durable yet: a claim that is planned or on the wire, or an outcome.
    pub unsettled: usize,
    /// Whether the feeder has read the whole audience.
    pub audience_done: bool,
    /// Rows of the audience, once they are counted.
    pub audience_rows: Option<u64>,
    /// Recipients of the audience, estimated from what was read of it.
    pub audience_estimate: Option<u64>,
    /// Rows read so far that bring nobody: bad ones and duplicates.
    pub audience_useless: u64,
    /// Recipients by what became of them.
    pub counts: RecipientCounts,
    /// Messages that each server took, by name.
    pub accepted: BTreeMap<Arc<str>, u64>,
    /// What is known of each server's view of this campaign, by index.
    pub guards: BTreeMap<LaneIx, Guard>,
    /// Bars of servers that the routing does not have (yet), by name.
    pub bars_elsewhere: BTreeMap<Arc<str>, Bar>,
    /// Messages that are held, by row.
    pub held: BTreeMap<u64, Held>,
    /// The last refusal for now of the whole campaign, for status.
    pub last_refusal: Option<(Reason, String)>,
    /// Recipients whose template failed and who are not in the ledger yet.
    pub render_failures: u64,
    /// It was closed before and resumed: nobody is added.
    pub is_reopened: bool,
    /// The requests to resume that were carried out.
    pub resume_handled: Handled,
    /// The ledger is being asked to resume it.
    pub is_resuming: bool,
    /// What stops it, if anything.
    pub blocker: Option<Blocker>,
    /// When a transient blocker is tried again, milliseconds.
    pub try_again_ms: Option<i64>,
    /// When the run began.
    pub started_ms: Option<i64>,
    /// When every recipient had a final outcome.
    pub completed_ms: Option<i64>,
    /// Rows that were added after completion.
    pub added_later: u64,
    /// The ledger is being asked to close it.
    pub closing: bool,
    /// The control plane has no such campaign any more.
    pub retired: bool,
    /// The envelope sender by server.
    pub mail_from: BTreeMap<LaneIx, Arc<str>>,
}

impl CampaignRun {
    /// A run that the ledger is still to be asked for.
    #[must_use]
    pub fn new(key: &Key, intent: Arc<CampaignIntent>, ledger_seed: u64) -> Self {
        Self {
            key: key.clone(),
            namespace: key.namespace.clone(),
            label: Arc::new(RunLabel { campaign: key.to_string(), run: intent.work.run.clone() }),
            seed: RunSeed::new(ledger_seed, &key.namespace, &key.name, &intent.work.run),
            intent,
            phase: Phase::Opening,
            feeder_epoch: 0,
            eligible: EligibleSet::new([]),
            waiting: 0,
            message_bytes: 0,
            requested: 0,
            preparing: 0,
            has_feeder: false,
            is_seeking: false,
            fetching: false,
            next_due_ms: None,
            in_flight: 0,
            unsettled: 0,
            audience_done: false,
            audience_rows: None,
            audience_estimate: None,
            audience_useless: 0,
            counts: RecipientCounts::default(),
            accepted: BTreeMap::new(),
            guards: BTreeMap::new(),
            bars_elsewhere: BTreeMap::new(),
            held: BTreeMap::new(),
            last_refusal: None,
            render_failures: 0,
            is_reopened: false,
            resume_handled: Handled::default(),
            is_resuming: false,
            blocker: None,
            try_again_ms: None,
            started_ms: None,
            completed_ms: None,
            added_later: 0,
            closing: false,
            retired: false,
            mail_from: BTreeMap::new(),
        }
    }

    /// Takes over what the ledger knows; `lane_of` finds a server by its name.
    /// How many recipients the audience should have, until it has been read to its end.
    pub fn expected(&self) -> Option<Expected> {
        if self.counts.total.is_some() {
            return None;
        }
        let counted = self.audience_rows.map(|rows| (rows.saturating_sub(self.audience_useless), false));
        let (recipients, is_estimate) = counted.or(self.audience_estimate.map(|estimate| (estimate, true)))?;
        Some(Expected { recipients, is_estimate })
    }

    pub fn open(&mut self, opened: Opened, lane_of: impl Fn(&str) -> Option<LaneIx>) {
        self.counts = opened.counts;
        self.started_ms = Some(opened.started_ms);
        self.completed_ms = opened.closed_ms;
        self.next_due_ms = opened.next_due_ms;
        self.is_reopened = opened.is_reopened;
        self.resume_handled = opened.resume_handled;
        for (name, count) in &opened.accepted {
            if let Some(lane) = lane_of(name) {
                self.guards.entry(lane).or_default().has_accepted = *count > 0;
            }
        }
        self.accepted = opened.accepted;
        for (name, bar) in opened.bars {
            match lane_of(&name) {
                Some(lane) => self.guards.entry(lane).or_default().bar = Some(bar),
                None => drop(self.bars_elsewhere.insert(name, bar)),
            }
        }
        for HeldMessage { seq, recipient, refusals } in opened.held {
            let refusals = Refusals::from_json(Some(&refusals));
            let lane = refusals.last().and_then(|refused| lane_of(&refused.server));
            self.held.insert(seq, Held { recipient: recipient.into(), lane, refusals });
        }
        self.phase = if opened.closed_ms.is_some() { Phase::Closed } else { Phase::Resting };
    }

    /// What becomes of an attempt that is to be repeated after `delay`, or that was the last.
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

    /// Whether a server may be picked for this campaign now.
    #[must_use]
    pub fn is_open_at(&self, lane: LaneIx, now_ms: i64) -> bool {
        self.guards.get(&lane).is_none_or(|guard| guard.is_open(now_ms))
    }

    /// Why a server may not be used for it, if a person has to act.
    #[must_use]
    pub fn bar_at(&self, lane: LaneIx) -> Option<&Bar> {
        self.guards.get(&lane).and_then(|guard| guard.bar.as_ref())
    }

    /// A deferred message is due at this time.
    pub fn note_due(&mut self, at_ms: i64) {
        self.next_due_ms = Some(self.next_due_ms.map_or(at_ms, |due| due.min(at_ms)));
    }

    /// The server that a message is for: one of those that may be picked and have not refused it, and, unless shares are strict, whose
    /// limits have room, as `has_headroom` says of each.
    pub fn pick(&self, message: &ReadyMessage, with_headroom: &mut WithHeadroom, has_headroom: impl Fn(LaneIx) -> bool) -> Pick {
        let picked = |set: &EligibleSet<LaneRef>, seed| route::pick(seed, &message.recipient, message.attempt, set).map(|lane| lane.id);
        let refused: EligibleSet<LaneRef>;
        let open = if message.refusals.is_empty() {
            &self.eligible
        } else {
            let others = self.eligible.servers().iter().filter(|(lane, _)| !message.refusals.names(&lane.name));
            refused = EligibleSet::new(others.cloned());
            &refused
        };
        if open.is_empty() {
            return if self.eligible.is_empty() { Pick::Waits } else { Pick::Nobody };
        }
        let is_strict = self.intent.weighting == Weighting::Strict;
        let full: Vec<LaneIx> = open.servers().iter().map(|(lane, _)| lane.id).filter(|lane| !is_strict && !has_headroom(*lane)).collect();
        if full.is_empty() {
            return picked(open, self.seed).map_or(Pick::Waits, Pick::Server);
        }
        let found = if message.refusals.is_empty() {
            picked(with_headroom.of(open, full), self.seed)
        } else {
            picked(&without(open, &full), self.seed)
        };
        found.map_or(Pick::Waits, Pick::Server)
    }

    /// What the others' requests have to know of it, where `held` messages wait or are asked for.
    pub(super) fn as_feeding(&self, held: usize) -> Feeding<'_> {
        let asked = self.requested + self.preparing;
        Feeding { namespace: &self.namespace, servers: self.eligible.fingerprint(), held, asked, message_bytes: self.message_bytes }
    }

    /// Whether nothing of it is left anywhere in memory but what is held, and the ledger has nothing deferred.
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn campaigns_with_the_same_servers_share_their_sets() {
        let lane = |id: u64| (LaneRef { name: format!("ops/s{id:03}").into(), id: LaneIx::new(id) }, 1);
        let (open, alike) = (EligibleSet::new((0..200).map(lane)), EligibleSet::new((0..200).map(lane)));
        let mut sets = WithHeadroom::default();
        let first = sets.of(&open, vec![LaneIx::new(7)]).servers().as_ptr();
        assert!(
            sets.of(&alike, vec![LaneIx::new(7)]).servers().as_ptr() == first
                && sets.of(&alike, vec![LaneIx::new(7)]).servers().len() == 199
        );
        assert!(sets.of(&open, vec![LaneIx::new(8)]).servers().iter().all(|(lane, _)| lane.id != LaneIx::new(8)));
        for full in 0..200 * 199 {
            sets.of(&open, vec![LaneIx::new(full / 200), LaneIx::new(full % 200)]);
            let kept: usize = sets.sets.values().map(|set| set.servers().len()).sum();
            assert!(kept <= IN_SETS_MAX + 200, "{kept} after {full}");
            if sets.sets.len() == 1 {
                return;
            }
        }
        panic!("nothing was ever forgotten");
    }
}
