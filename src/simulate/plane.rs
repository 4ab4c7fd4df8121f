//! The data plane in simulated time: the scheduler itself, with servers that answer after a round trip. Pure.

mod commits;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{Assumptions, Past, Start, ledger::Rows, people::Crowd};
use crate::{
    chance::jitter,
    dispatch::{
        calls::CallId,
        campaign::{CampaignRun, record::Opened},
        clocks::Clocks,
        days::Days,
        index::{CampaignIx, LaneIx},
        receivers::Passing,
        refusals::Refusals,
        sample::Sample,
        scheduler::{Action, CountChanges, FateChange, Scheduler},
        stages::{Asleep, Later, ReadyMessage, Window},
        usage::UsageBook,
    },
    ledger::{AudienceRead, Resumption, RolloutChange},
    meta::Pieces,
    providers::{Carriage, Delivered, Outcome, Outgoing},
    resources::{Blocker, Key, Reason, rollout::Reached},
    routing::{CampaignIntent, Routing},
};

/// A connection to a relay: a message, and the envelope of the next behind it.
const RELAY: Carriage = Carriage { batch: 1, ahead: 1, is_windowed: false };
/// People who are passed over for one request, as in a feeder.
const PASSED_ROWS_MAX: usize = 10_000;
/// People among whom somebody at another domain is sought.
const SOUGHT_ROWS_MAX: usize = 100_000;

/// A run of a campaign.
pub(super) struct Run {
    pub(super) key: Key,
    pub(super) crowd: Crowd,
    pub(super) rows: Rows,
    /// What the ledger keeps of it beside its people.
    known: Opened,
    clocks: Option<Clocks>,
    /// Where the audience is read.
    at: usize,
    /// Of those that were read, who is not in the sample of the rollout's step.
    outside: u64,
}

/// A server failed.
pub(super) struct Failed {
    pub(super) server: Key,
    pub(super) failure: Blocker,
    pub(super) failures: u64,
    pub(super) accepted: u64,
}

/// A message on its way, in a call.
struct OnWire {
    lane: LaneIx,
    call: CallId,
    messages: Vec<Outgoing>,
}

/// A call under way: when its last message is answered, and how many answers are owed.
#[derive(Clone, Copy)]
struct Open {
    until_ms: i64,
    answers: usize,
}

/// The data plane.
pub(super) struct Plane {
    pub(super) scheduler: Scheduler,
    pub(super) usage: UsageBook,
    pub(super) runs: BTreeMap<CampaignIx, Run>,
    /// The runs that are not open yet.
    starts: BTreeMap<Key, Start>,
    wire: BTreeMap<(i64, u64), OnWire>,
    calls: BTreeMap<(LaneIx, CallId), Open>,
    /// Parts of calls that were sent so far.
    sent: u64,
    /// The seed of whom servers reject.
    seed: u64,
    /// Servers that failed since the control plane last looked.
    pub(super) failed: Vec<Failed>,
    /// Whether something happened of which the control plane is told at once.
    pub(super) has_news: bool,
}

impl Plane {
    pub(super) fn new(starts: BTreeMap<Key, Start>, past: Past, seed: u64) -> Self {
        Self {
            scheduler: Scheduler::new(seed),
            usage: UsageBook::new(past.usage, Days::new(past.days)),
            runs: BTreeMap::new(),
            starts,
            wire: BTreeMap::new(),
            calls: BTreeMap::new(),
            sent: 0,
            seed,
            failed: Vec::new(),
            has_news: false,
        }
    }

    /// Adopts what the control plane wants.
    pub(super) fn apply(&mut self, routing: &Routing, now_ms: i64) {
        let usage = &self.usage;
        self.scheduler.apply(routing, now_ms, |key| usage.past(key));
        for lane in self.scheduler.servers().collect::<Vec<_>>() {
            self.scheduler.set_carriage(lane, RELAY);
        }
    }

    /// When the next message is answered.
    pub(super) fn answered_at_ms(&self) -> Option<i64> {
        self.wire.keys().next().map(|(at_ms, _)| *at_ms)
    }

    /// Takes the answers that are there by now, and does what the scheduler says; returns whether that was anything.
    pub(super) fn step(&mut self, assumed: &Assumptions, mut note: impl FnMut(super::ledger::Noted<'_>), now_ms: i64) -> bool {
        self.arrive(assumed, now_ms);
        let actions = self.scheduler.step(now_ms);
        let has_acted = !actions.is_empty();
        for action in actions {
            self.act(action, assumed, &mut note, now_ms);
        }
        has_acted
    }

    fn act(&mut self, action: Action, assumed: &Assumptions, note: &mut impl FnMut(super::ledger::Noted<'_>), now_ms: i64) {
        match action {
            Action::Open(index) => self.open(index, now_ms),
            Action::StartFeeder(index) => self.start_feeder(index),
            Action::Commit(planned) => self.commit(planned, note, now_ms),
            Action::StopFeeder(index) => {
                if let Some(run) = self.runs.get_mut(&index) {
                    run.rows.release_all();
                }
                self.scheduler.released();
            }
            Action::RequestRows { campaign, count, passing } => self.feed(campaign, count, passing.as_deref(), now_ms),
            Action::Seek { campaign, domain } => self.seek(campaign, &domain, now_ms),
            Action::FetchDue { campaign, most } => self.fetch_due(campaign, most, now_ms),
            Action::Deliver { lane, call, batch } => self.send(lane, call, batch, assumed.round_trip_ms, now_ms),
            Action::Ahead { lane, call, message } => self.send(lane, call, vec![message], assumed.round_trip_ms, now_ms),
            Action::ServerFailed { server, failure, failures } => {
                let accepted = self.scheduler.accepted_by(&server);
                self.failed.push(Failed { server, failure, failures, accepted });
            }
            Action::Close(index) => self.close(index, now_ms),
            Action::ChangeRollout { campaign, change } => self.change_rollout(campaign, &change, now_ms),
            Action::Resume { campaign, resumption } => self.resume(campaign, &resumption, now_ms),
            // Nothing of the audience changes, and what is kept goes with the simulation.
            Action::CountAdded(_) | Action::WatchAudience(_) | Action::Forget(_) | Action::ForgetServer(_) => {}
        }
    }

    fn open(&mut self, index: CampaignIx, now_ms: i64) {
        let Some(campaign) = self.scheduler.campaign(index) else { return };
        let (key, intent, seed) = (campaign.key.clone(), campaign.intent.clone(), campaign.seed);
        let start = self.starts.remove(&key);
        let run = self.runs.entry(index).or_insert_with(|| {
            let Start { people: crowd, begun } = start.unwrap_or_default();
            let known = begun.unwrap_or_else(|| begins(&intent, now_ms));
            // Who was mailed is in the sample of the step.
            let sample = known.rollout.as_ref().filter(|reached| !reached.is_all()).map(|reached| Sample::new(seed, reached.share));
            let is_in_step = |person: usize| sample.is_none_or(|sample| sample.has(&crowd.address(person)));
            let rows = Rows::new(crowd.len(), &known.counts, is_in_step);
            let clocks = Clocks::of(intent.hours.as_ref());
            Run { key, crowd, rows, known, clocks, at: 0, outside: 0 }
        });
        let opened = run.rows.opened(&run.known);
        self.scheduler.opened(index, opened, now_ms);
        self.has_news = true;
    }

    fn start_feeder(&mut self, index: CampaignIx) {
        let Some(run) = self.runs.get_mut(&index) else { return };
        (run.at, run.outside) = (0, 0);
        self.scheduler.feeder_started(index);
        self.scheduler.audience_counted(index, run.crowd.len() as u64);
    }

    /// Reads on in the audience.
    fn feed(&mut self, index: CampaignIx, count: usize, passing: Option<&Passing>, now_ms: i64) {
        let Some(run) = self.runs.get_mut(&index) else { return };
        let campaign = self.scheduler.campaign(index);
        let sample = campaign.and_then(CampaignRun::sample);
        // A run that was closed and resumed adds nobody.
        if campaign.is_some_and(|campaign| campaign.record.is_reopened) {
            run.at = run.crowd.len();
        }
        let (mut messages, mut passed, mut asleep, mut rows) = (Vec::with_capacity(count), BTreeSet::new(), None::<Asleep>, 0);
        while messages.len() < count && run.at < run.crowd.len() && rows < PASSED_ROWS_MAX {
            let person = run.at;
            run.at += 1;
            if !run.rows.is_new(person) {
                continue;
            }
            let address = run.crowd.address(person);
            if sample.is_some_and(|sample| !sample.has(&address)) {
                run.outside += 1;
                continue;
            }
            if let Some(later) = run.asleep(person, now_ms) {
                match &mut asleep {
                    Some(asleep) => asleep.add(later),
                    None => asleep = Some(later),
                }
                rows += 1;
                continue;
            }
            if let Some(receiver) = passing.and_then(|passing| passing.passes(&address)) {
                passed.insert(receiver);
                rows += 1;
                continue;
            }
            messages.extend(run.message(person, address, None, now_ms));
        }
        let is_read = run.at == run.crowd.len();
        let (total, outside) = (run.crowd.len() as u64, run.outside);
        if let Some(asleep) = asleep {
            self.scheduler.passed_asleep(index, asleep);
        }
        self.scheduler.passed_over(index, passed);
        self.scheduler.prepared(index, messages, count, 0, now_ms);
        if is_read {
            let read = AudienceRead { total, duplicates: 0, excluded: 0, bad_rows: 0 };
            self.scheduler.audience_ended(index, read, outside, String::new(), (None, None));
        }
    }

    /// Carries out a resumption, as the ledger does.
    fn resume(&mut self, index: CampaignIx, resumption: &Resumption, now_ms: i64) {
        let Some(run) = self.runs.get_mut(&index) else { return };
        let change = |fate, by| FateChange { campaign: index, fate, lane: None, by };
        let mut changes = CountChanges::default();
        for (from, to, count) in run.rows.resume(resumption, now_ms) {
            changes.fates.extend([change(from, -count), change(to, count)]);
        }
        if resumption.held.is_some() {
            run.known.bars.clear();
        }
        let is_open = run.rows.has_open();
        self.scheduler.apply_changes(&changes);
        self.scheduler.resumed(index, resumption, is_open, now_ms);
        self.has_news = true;
    }

    /// Finds somebody at another domain, out of turn.
    fn seek(&mut self, index: CampaignIx, domain: &str, now_ms: i64) {
        let Some(run) = self.runs.get_mut(&index) else { return };
        let sample = self.scheduler.campaign(index).and_then(CampaignRun::sample);
        let is_it = |address: &str| {
            let is_elsewhere = address.rsplit_once('@').is_some_and(|(_, other)| other != domain);
            is_elsewhere && sample.is_none_or(|sample| sample.has(address))
        };
        let found = (run.at..run.crowd.len())
            .filter(|person| run.rows.is_new(*person))
            .take(SOUGHT_ROWS_MAX)
            .map(|person| (person, run.crowd.address(person)))
            .find(|(_, address)| is_it(address));
        match found.and_then(|(person, address)| run.message(person, address, None, now_ms)) {
            Some(message) => {
                self.scheduler.sought(index);
                self.scheduler.prepared(index, vec![message], 0, 0, now_ms);
            }
            None => self.scheduler.nobody_else(index, now_ms),
        }
    }

    fn fetch_due(&mut self, index: CampaignIx, most: usize, now_ms: i64) {
        let Some(run) = self.runs.get_mut(&index) else { return };
        let due = run.rows.fetch(now_ms, most);
        self.scheduler.due_fetched(index, due.len(), run.rows.next_due_ms());
        let mut messages = Vec::with_capacity(due.len());
        let mut later = Vec::new();
        for person in &due {
            let address = run.crowd.address(*person);
            match (run.asleep(*person, now_ms), run.crowd.fields(*person)) {
                (Some(asleep), Some(fields)) => later.push(Later {
                    seq: *person as u64,
                    recipient: address,
                    fields: fields.clone(),
                    refusals: run.rows.refusals(*person),
                    at_ms: asleep.first_ms,
                }),
                _ => messages.extend(run.message(*person, address, Some(*person as u64), now_ms)),
            }
        }
        for later in later {
            self.scheduler.later(index, later, now_ms);
        }
        self.scheduler.prepared(index, messages, 0, due.len(), now_ms);
    }

    fn send(&mut self, lane: LaneIx, call: CallId, messages: Vec<Outgoing>, round_trip_ms: i64, now_ms: i64) {
        let open = self.calls.entry((lane, call)).or_insert(Open { until_ms: now_ms, answers: 0 });
        // It is answered after those that went before it.
        open.until_ms = open.until_ms.max(now_ms) + round_trip_ms;
        open.answers += 1;
        self.sent += 1;
        self.wire.insert((open.until_ms, self.sent), OnWire { lane, call, messages });
    }

    fn arrive(&mut self, assumed: &Assumptions, now_ms: i64) {
        while let Some(first) = self.wire.first_entry().filter(|first| first.key().0 <= now_ms) {
            let at_ms = first.key().0;
            let OnWire { lane, call, messages } = first.remove();
            let server = self.scheduler.server_of(lane).cloned();
            for message in messages {
                let outcome = server.as_ref().map_or_else(
                    || Outcome::ServerFailed(Blocker::passing(Reason::InvalidSpec, "The server was removed.")),
                    |server| outcome(&message, server, assumed, self.seed, at_ms),
                );
                let round_trip = Some(Duration::from_millis(assumed.round_trip_ms.unsigned_abs()));
                self.scheduler.outcome(Delivered { message, outcome, round_trip, signing: Duration::ZERO }, now_ms);
            }
            let is_over = self.calls.get_mut(&(lane, call)).is_some_and(|open| {
                open.answers -= 1;
                open.answers == 0
            });
            if is_over {
                self.calls.remove(&(lane, call));
                self.scheduler.call_ended(lane, call);
            }
        }
    }

    fn close(&mut self, index: CampaignIx, now_ms: i64) {
        let Some(run) = self.runs.get_mut(&index) else { return };
        if run.rows.has_open() {
            let next = run.rows.next_due_ms().unwrap_or(now_ms + 1_000);
            self.scheduler.not_closed(index, Some(next));
        } else {
            run.known.closed_ms = Some(now_ms);
            self.scheduler.closed(index, now_ms);
        }
        self.has_news = true;
    }

    fn change_rollout(&mut self, index: CampaignIx, change: &RolloutChange, now_ms: i64) {
        let Some(run) = self.runs.get_mut(&index) else { return };
        let (accepted, rejected) = run.rows.judged();
        if let Some(reached) = &mut run.known.rollout {
            match change {
                RolloutChange::Sent(share) if *share == reached.share => {
                    reached.sent_ms.get_or_insert(now_ms);
                }
                RolloutChange::Next(next) if next.from == reached.share && next.to > reached.share => {
                    if let Some(token) = &next.promote {
                        reached.promote_handled.note(token);
                    }
                    (reached.share, reached.began_ms, reached.sent_ms) = (next.to, now_ms, None);
                    (reached.judged_from.accepted, reached.judged_from.rejected) = (accepted, rejected);
                    reached.ended_before = accepted + rejected;
                }
                RolloutChange::Sent(_) | RolloutChange::Next(_) => {}
            }
        }
        let reached = run.known.rollout.clone();
        self.scheduler.rollout_changed(index, reached);
        self.has_news = true;
    }
}

impl Run {
    /// When the sending hours of a person begin, if it is outside of them.
    fn asleep(&mut self, person: usize, now_ms: i64) -> Option<Asleep> {
        self.clocks.as_mut()?.asleep(self.crowd.fields(person)?, now_ms)
    }

    fn window(&mut self, person: usize, now_ms: i64) -> Option<Window> {
        Some(self.clocks.as_mut()?.window(self.crowd.fields(person)?, now_ms))
    }

    /// A message for somebody.
    fn message(&mut self, person: usize, address: Arc<str>, seq: Option<u64>, now_ms: i64) -> Option<ReadyMessage> {
        let window = self.window(person, now_ms);
        Some(ReadyMessage {
            seq,
            attempt: self.rows.attempts(person) + 1,
            rcpt_to: address.clone(),
            recipient: address,
            since_ms: self.rows.since_ms(person),
            fields: self.crowd.fields(person)?.clone(),
            refusals: Refusals::from_json(self.rows.refusals(person).as_deref()),
            receiver: None,
            window,
            content: Pieces::from(&b"x"[..]),
            needs_8bit: false,
            needs_smtputf8: false,
        })
    }
}

/// A run that begins: a person's words that are there already are taken as carried out, as the ledger takes them.
fn begins(intent: &CampaignIntent, now_ms: i64) -> Opened {
    let mut opened = Opened { started_ms: now_ms, reopen: intent.work.reopen, ..Opened::default() };
    if let Some(resume) = &intent.resume {
        opened.resume_handled.note(&resume.token);
    }
    opened.rollout = intent.rollout.first.map(|share| Reached { share, began_ms: now_ms, ..Reached::default() });
    if let (Some(reached), Some(promote)) = (&mut opened.rollout, &intent.rollout.promote) {
        reached.promote_handled.note(promote);
    }
    opened
}

/// What a server says to a message.
fn outcome(message: &Outgoing, server: &Key, assumed: &Assumptions, seed: u64, at_ms: i64) -> Outcome {
    if let Some(failure) = assumed.outage(server, at_ms) {
        return Outcome::ServerFailed(failure);
    }
    let rcpt_to = &message.rcpt_to;
    let is_drawn = |of: &str, percent: f64| jitter(seed, &format!("{of} {rcpt_to}"), 0) * 100.0 < percent;
    for rejection in &assumed.rejections {
        // Without a server, the address is dead wherever it is tried.
        let is_rejected = match &rejection.server {
            None => is_drawn("anywhere", rejection.percent),
            Some(of) if of == server => is_drawn(&server.to_string(), rejection.percent),
            Some(_) => false,
        };
        if is_rejected {
            return Outcome::rejected(format!("550 5.1.1 <{rcpt_to}>: user unknown, as the simulation was told"));
        }
    }
    Outcome::Accepted { reply: "250 2.0.0 Ok".to_owned() }
}
