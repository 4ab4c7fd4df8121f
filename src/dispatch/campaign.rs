//! One run of a campaign as the scheduler sees it. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::index::LaneIx;
use super::{
    guard::Guard,
    lane::LaneRef,
    rate::Rate,
    receivers::Receiver,
    refusals::Refusals,
    rendered::Feeding,
    route::{self, EligibleSet, RunSeed},
    stages::{Disposition, InFlight, ReadyMessage},
    unread::Unread,
};
use crate::{
    feedback::MessageReference,
    ledger::HeldMessage,
    providers::RunLabel,
    report::{Bar, Expected, Phase},
    resources::{
        Blocker, CountOrPercent, Key, Reason,
        bound::{counted, grouped},
        campaign::{RecipientCounts, Weighting, WhenRenderFails, WhenRowIsBad},
        fate::Fate,
        resume::Handled,
        rollout::Reached,
    },
    routing::CampaignIntent,
};

/// The cache is cleared when its sets hold more servers than this in all: the more servers, the fewer sets.
const IN_SETS_MAX: usize = 65_536;

/// A cache, shared by all campaigns, of the sets of servers whose limits have room. The key is the set of all servers that may be
/// picked, and those of them without room.
#[derive(Debug, Default)]
pub struct WithHeadroom {
    sets: BTreeMap<(u64, Vec<LaneIx>), EligibleSet<LaneRef>>,
    servers: usize,
}

impl WithHeadroom {
    /// The servers of `open` except those in `full`.
    fn of(&mut self, open: &EligibleSet<LaneRef>, full: Vec<LaneIx>) -> &EligibleSet<LaneRef> {
        if self.servers > IN_SETS_MAX {
            self.clear();
        }
        self.sets.entry((open.set_hash(), full)).or_insert_with_key(|(_, full)| {
            self.servers += open.servers().len();
            without(open, full)
        })
    }

    /// Forgets all sets: servers have come or gone.
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
    /// To no server for now.
    Waits,
    /// To no server: all that may be picked have refused it.
    Nobody,
}

/// What the ledger knew about the run when it was opened.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    /// Recipients by fate.
    pub counts: RecipientCounts,
    /// Messages that each server accepted, by the server's name.
    pub accepted: BTreeMap<Arc<str>, u64>,
    /// When the run began, milliseconds.
    pub started_ms: i64,
    /// When it was closed, milliseconds.
    pub closed_ms: Option<i64>,
    /// When the next deferred message is due, milliseconds.
    pub next_due_ms: Option<i64>,
    /// The run was closed and then resumed: no recipients are added.
    pub is_reopened: bool,
    /// The requests to resume that were carried out.
    pub resume_handled: Handled,
    /// Servers that are out of use for it, by name.
    pub bars: BTreeMap<Arc<str>, Bar>,
    /// The messages that are held.
    pub held: Vec<HeldMessage>,
    /// Claims that an earlier process left without an outcome: they may have been written as late as now.
    pub left: u64,
    /// How often it was reopened on purpose.
    pub reopen: u64,
    /// Whether a message of it may have left.
    pub has_sent: bool,
    /// How far its rollout has come.
    pub rollout: Option<Reached>,
    /// The run's number in the ledger, for references to its messages; absent if it is too large for one.
    pub number: Option<u32>,
}

/// A message that is held.
#[derive(Clone, Debug)]
pub struct Held {
    /// Whose message is held, as the ledger knows the address.
    pub recipient: Arc<str>,
    /// The server that refused it last.
    pub lane: Option<LaneIx>,
    /// All servers that refused it.
    pub refusals: Refusals,
}

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
    /// Counts the feeders, so that late events of a stopped one are recognized.
    pub feeder_epoch: u64,
    /// The servers that may be picked now.
    pub eligible: EligibleSet<LaneRef>,
    /// Rendered messages that are not claimed yet.
    pub waiting: usize,
    /// Those of them that count towards limits for receiving domains, by receiver.
    pub waiting_for: BTreeMap<Receiver, usize>,
    /// How many may wait, as of the last look.
    pub may_wait: usize,
    /// Receivers of whom enough wait without room: the feeder passes over their people.
    pub passing: BTreeSet<Receiver>,
    /// Receivers of whom somebody was passed over in this reading of the audience: it is read again for them.
    pub passed_over: BTreeSet<Receiver>,
    /// The only receivers of whom anybody is left in the audience, once it was read to its end; `None` before.
    pub only: Option<BTreeSet<Receiver>>,
    /// How many of them may wait beside those that do, as of the last look.
    pub only_room: usize,
    /// When a deferred message for a receiver without room is looked at again, the last one, milliseconds.
    pub slots: BTreeMap<Receiver, i64>,
    /// The size of the largest message that was rendered last, bytes; 0 before any was.
    pub message_bytes: usize,
    /// Messages that were requested from the feeder and have not arrived.
    pub requested: usize,
    /// Deferred messages that the feeder is rendering.
    pub preparing: usize,
    /// Whether its feeder is running: nothing is requested before.
    pub has_feeder: bool,
    /// Whether the feeder is looking for a recipient in another domain.
    pub is_seeking: bool,
    /// Whether deferred messages are being fetched.
    pub fetching: bool,
    /// When the next deferred message is due.
    pub next_due_ms: Option<i64>,
    /// Messages in flight.
    pub in_flight: usize,
    /// Messages that are not settled in the ledger: their claim is planned, they are in flight, or their outcome is not durable
    /// yet.
    pub unsettled: usize,
    /// Whether the feeder has read the whole audience.
    pub audience_done: bool,
    /// Rows of the audience, once they are counted.
    pub audience_rows: Option<u64>,
    /// Recipients of the audience, estimated from what was read of it.
    pub audience_estimate: Option<u64>,
    /// Rows read so far that bring nobody: bad ones and duplicates.
    pub audience_useless: u64,
    /// Of those that were read, recipients who are not in the sample of the rollout's step.
    pub outside: u64,
    /// How far its rollout has come; `None` for a run without one.
    pub rollout: Option<Reached>,
    /// The ledger is being asked to change it.
    pub is_stepping: bool,
    /// Recipients by fate.
    pub counts: RecipientCounts,
    /// Messages that each server accepted, by the server's name.
    pub accepted: BTreeMap<Arc<str>, u64>,
    /// The guard of each server for this campaign, by index.
    pub guards: BTreeMap<LaneIx, Guard>,
    /// Bars of servers that are not in the routing (yet), by name.
    pub bars_elsewhere: BTreeMap<Arc<str>, Bar>,
    /// Held messages, by row.
    pub held: BTreeMap<u64, Held>,
    /// The last temporary refusal of the whole campaign, for status.
    pub last_refusal: Option<(Reason, String)>,
    /// Recipients whose template failed and who are not in the ledger yet.
    pub render_failures: u64,
    /// The error of the last template that failed.
    pub last_render_error: String,
    /// The first unusable rows, in words.
    pub bad_rows_named: String,
    /// How often it was reopened on purpose.
    pub reopen: u64,
    /// Whether a message of it may have left; what is in flight is not counted here.
    pub has_sent: bool,
    /// The run was closed and then resumed: no recipients are added.
    pub is_reopened: bool,
    /// The run's number in the ledger, once it is open there.
    pub number: Option<u32>,
    /// The requests to resume that were carried out.
    pub resume_handled: Handled,
    /// The ledger is being asked to resume it.
    pub is_resuming: bool,
    /// What stops it, if anything.
    pub blocker: Option<Blocker>,
    /// When the campaign is retried after a transient blocker, milliseconds.
    pub try_again_ms: Option<i64>,
    /// How reading its audience has failed for now, if it has.
    pub unread: Option<Unread>,
    /// How fast it gets on in this process.
    pub rate: Rate,
    /// When the run began.
    pub started_ms: Option<i64>,
    /// When every recipient had a final outcome.
    pub completed_ms: Option<i64>,
    /// Rows that were added to the audience after completion; `None` until they are counted.
    pub added_later: Option<u64>,
    /// The ledger is being asked to close it.
    pub closing: bool,
    /// The control plane no longer has this campaign.
    pub retired: bool,
    /// The envelope sender by server.
    pub mail_from: BTreeMap<LaneIx, Arc<str>>,
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
            feeder_epoch: 0,
            eligible: EligibleSet::new([]),
            waiting: 0,
            waiting_for: BTreeMap::new(),
            may_wait: super::rendered::WAITING_MAX,
            passing: BTreeSet::new(),
            passed_over: BTreeSet::new(),
            only: None,
            only_room: usize::MAX,
            slots: BTreeMap::new(),
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
            outside: 0,
            rollout: None,
            is_stepping: false,
            counts: RecipientCounts::default(),
            accepted: BTreeMap::new(),
            guards: BTreeMap::new(),
            bars_elsewhere: BTreeMap::new(),
            held: BTreeMap::new(),
            last_refusal: None,
            render_failures: 0,
            last_render_error: String::new(),
            bad_rows_named: String::new(),
            reopen: 0,
            has_sent: false,
            is_reopened: false,
            number: None,
            resume_handled: Handled::default(),
            is_resuming: false,
            blocker: None,
            try_again_ms: None,
            unread: None,
            rate: Rate::default(),
            started_ms: None,
            completed_ms: None,
            added_later: None,
            closing: false,
            retired: false,
            mail_from: BTreeMap::new(),
        }
    }

    /// A rendered message begins to wait.
    pub fn begins_to_wait(&mut self, message: &ReadyMessage) {
        self.waiting += 1;
        if let Some(receiver) = &message.receiver {
            *self.waiting_for.entry(receiver.clone()).or_default() += 1;
        }
    }

    /// A rendered message waits no more.
    pub fn waits_no_more(&mut self, message: &ReadyMessage) {
        self.waiting = self.waiting.saturating_sub(1);
        if let Some(receiver) = &message.receiver
            && let Some(count) = self.waiting_for.get_mut(receiver)
        {
            *count -= 1;
            if *count == 0 {
                self.waiting_for.remove(receiver);
            }
        }
    }

    /// The number of recipients that the audience should have, until it has been read to its end.
    pub fn expected(&self) -> Option<Expected> {
        if self.counts.total.is_some() {
            return None;
        }
        let counted = self.audience_rows.map(|rows| (rows.saturating_sub(self.audience_useless), false));
        let (recipients, is_estimate) = counted.or(self.audience_estimate.map(|estimate| (estimate, true)))?;
        Some(Expected { recipients, is_estimate })
    }

    /// Adopts what the ledger knows; `lane_of` finds a server by its name.
    pub fn open(&mut self, opened: Opened, lane_of: impl Fn(&str) -> Option<LaneIx>) {
        self.counts = opened.counts;
        self.started_ms = Some(opened.started_ms);
        self.completed_ms = opened.closed_ms;
        self.next_due_ms = opened.next_due_ms;
        self.is_reopened = opened.is_reopened;
        self.resume_handled = opened.resume_handled;
        self.reopen = opened.reopen;
        self.has_sent = opened.has_sent;
        self.rollout = opened.rollout;
        self.number = opened.number;
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

    /// Whether a server may be picked for this campaign now.
    #[must_use]
    pub fn is_open_at(&self, lane: LaneIx, now_ms: i64) -> bool {
        self.guards.get(&lane).is_none_or(|guard| guard.is_open(now_ms))
    }

    /// Why a server is out of use for this campaign until a person acts, if it is.
    #[must_use]
    pub fn bar_at(&self, lane: LaneIx) -> Option<&Bar> {
        self.guards.get(&lane).and_then(|guard| guard.bar.as_ref())
    }

    /// Notes that a deferred message is due at this time.
    pub fn note_due(&mut self, at_ms: i64) {
        self.next_due_ms = Some(self.next_due_ms.map_or(at_ms, |due| due.min(at_ms)));
    }

    /// Picks the server of a message: one that may be picked and has not refused it, and, unless shares are strict, has room in its
    /// limits according to `has_headroom`.
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

    /// Its part in the shared budget of rendered messages, with `held` messages waiting or requested.
    pub(super) fn as_feeding(&self, held: usize) -> Feeding<'_> {
        let asked = self.requested + self.preparing;
        let aside = self.passing.iter().filter_map(|receiver| self.waiting_for.get(receiver)).sum();
        let (namespace, servers) = (&self.namespace, self.eligible.set_hash());
        Feeding { namespace, servers, held, asked, aside, message_bytes: self.message_bytes }
    }

    /// Recipients found so far, whatever their fate.
    fn met(&self) -> u64 {
        Fate::ALL.into_iter().map(|fate| self.counts.of(fate)).sum::<u64>() + self.render_failures
    }

    /// The blocker if more templates have failed so far than the campaign allows.
    #[must_use]
    pub fn too_many_render_errors(&self) -> Option<Blocker> {
        let failed = self.counts.render_failed + self.render_failures;
        if failed == 0 {
            return None;
        }
        let (met, max) = (self.met() + self.waiting as u64, self.intent.work.max_render_errors);
        max.is_exceeded_so_far(failed, met).then(|| self.render_errors_over(max, failed, met))
    }

    fn render_errors_over(&self, max: CountOrPercent, failed: u64, met: u64) -> Blocker {
        let message = format!(
            "The templates failed for {} of {} recipients, and content.maxRenderErrors is {max}; the last error: {}. Fix the template or the data, or raise content.maxRenderErrors; these recipients and the rest are then mailed.",
            grouped(failed),
            grouped(met),
            self.last_render_error
        );
        Blocker::lasting(Reason::TooManyRenderErrors, message)
    }

    /// Why a run does not complete though nothing of it is in progress: rows or templates that a person has to fix, or accept.
    #[must_use]
    pub fn unfinished(&self) -> Option<Blocker> {
        self.has_bad_rows().or_else(|| self.has_failed_templates())
    }

    fn has_bad_rows(&self) -> Option<Blocker> {
        let (work, bad) = (&self.intent.work, self.counts.bad_rows);
        if bad == 0 {
            return None;
        }
        let all = self.counts.total.unwrap_or(0) + self.counts.duplicates + self.counts.excluded + bad;
        let named = &self.bad_rows_named;
        let command = format!("`mailfleet get campaigns {} --problems`", self.key.as_arguments());
        if work.when_row_is_bad == WhenRowIsBad::Stop {
            let message = format!(
                "{} could not be used: {named}. All other recipients have an outcome. Fix the audience, and exactly these are mailed; or set audience.whenRowIsBad to Skip to complete without them. {command} names them.",
                counted(bad, "row of the audience", "rows of the audience")
            );
            return Some(Blocker::lasting(Reason::BadRows, message));
        }
        work.max_bad_rows.is_exceeded(bad, all).then(|| {
            let message = format!(
                "{} of {} rows of the audience could not be used, and audience.maxBadRows is {}: {named}. Fix them, or raise audience.maxBadRows; exactly their recipients are then mailed. {command} names them.",
                grouped(bad),
                grouped(all),
                work.max_bad_rows
            );
            Blocker::lasting(Reason::TooManyBadRows, message)
        })
    }

    fn has_failed_templates(&self) -> Option<Blocker> {
        let (work, failed) = (&self.intent.work, self.counts.render_failed);
        if failed == 0 {
            return None;
        }
        if work.when_render_fails == WhenRenderFails::Stop {
            let message = format!(
                "The template failed for {}, who got nothing; the last error: {}. All other recipients have an outcome. Fix the template or the data, and exactly these are mailed; or set content.whenRenderFails to Skip to complete without them. `mailfleet get campaigns {} --recipients` shows them as RenderFailed.",
                counted(failed, "recipient", "recipients"),
                self.last_render_error,
                self.key.as_arguments()
            );
            return Some(Blocker::lasting(Reason::RenderFailed, message));
        }
        let (met, max) = (self.met(), work.max_render_errors);
        max.is_exceeded(failed, met).then(|| self.render_errors_over(max, failed, met))
    }

    /// Whether only held messages are left: nothing else is in memory, and the ledger has nothing deferred.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.phase == Phase::Feeding
            && self.audience_done
            && self.passed_over.is_empty()
            && self.waiting == 0
            && self.requested == 0
            && self.preparing == 0
            && self.unsettled == 0
            && !self.fetching
            && self.next_due_ms.is_none()
    }

    /// The row of a message in the ledger with this identity.
    #[must_use]
    pub fn reference(&self, ledger: u32, seq: u64) -> Option<MessageReference> {
        Some(MessageReference { ledger, run: self.number?, partition: 0, seq: u32::try_from(seq).ok()? })
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
