//! The scheduler in a simulated world: a seed decides how servers fail, how the ledger fails, and when; time is simulated.

mod domains;
mod headroom;
mod hours;
mod leaving;
mod ledger;
mod month;
mod properties;
mod refusals;
mod rollout;
mod storm;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{
    calls::CallId,
    campaign::{CampaignRun, record::Opened},
    guard::domain_of,
    index::{CampaignIx, LaneIx},
    receivers::Passing,
    refusals::Refusals,
    scheduler::{Action, CountChanges, FateChange, Mutant, Planned, PlannedBar, Scheduler},
    stages::{Asleep, Disposition, Later, ReadyMessage, Window},
};
use crate::{
    audience::Recipient,
    chance::jitter,
    hours::Zone,
    ledger::{HeldMessage, Resumption},
    providers::{Carriage, Delivered, Outcome, Outgoing, Refusal, Scope},
    report::Phase,
    resources::{
        Blocker, Key, Rate, Reason,
        campaign::{Weighting, WhenOutcomeIsUnknown},
        fate::Fate as RowFate,
        resume::{Resume, ResumeHeld},
    },
    routing::{CampaignIntent, DomainIntent, Routing, ServerIntent, SharedLimits, Work},
    test_support::{campaign_intent, server_intent, work},
};

const START_MS: i64 = 1_764_000_000_000;

/// Plain SMTP, PIPELINING, CHUNKING, and a vendor's batch call.
const CARRIAGES: [Carriage; 4] = [
    Carriage { batch: 1, ahead: 0, is_windowed: false },
    Carriage { batch: 1, ahead: 1, is_windowed: false },
    Carriage { batch: 32, ahead: 0, is_windowed: true },
    Carriage { batch: 8, ahead: 0, is_windowed: false },
];

/// What has happened to a recipient in the world.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    taken: u32,
    unknown: u32,
    ended: bool,
}

/// Chances of a message's fate, in percent; the rest is accepted.
#[derive(Clone, Copy, Default)]
struct Chances {
    rejected: u64,
    deferred: u64,
    server_failed: u64,
    unknown: u64,
    commit_fails: u64,
    /// Recipients who turn out to be suppressed when they are to be claimed.
    suppressed: u64,
}

/// A row of the simulated ledger.
#[derive(Clone, Debug)]
struct Row {
    recipient: String,
    fate: RowFate,
    attempt: u32,
    at_ms: i64,
    refusals: Option<String>,
    claimed_ms: i64,
    since_ms: Option<i64>,
    server: String,
    /// It is sent again though the outcome of an attempt is unknown.
    was_resent: bool,
}

/// A test's decision on a message, by server, recipient and time.
type Decides = Box<dyn FnMut(&str, &str, i64) -> Option<Outcome>>;

struct Simulation {
    seed: u64,
    draws: u64,
    now_ms: i64,
    chances: Chances,
    scheduler: Scheduler,
    routing: Routing,
    /// The part of the audience that is not fed yet, by campaign index.
    left: BTreeMap<CampaignIx, VecDeque<u64>>,
    fates: BTreeMap<(CampaignIx, String), Fate>,
    by_server: BTreeMap<String, u64>,
    /// The ledger: every row by (campaign, seq).
    rows: BTreeMap<(CampaignIx, u64), Row>,
    leased: Vec<(CampaignIx, u64)>,
    /// Servers that are out of use according to the ledger, by campaign.
    bars: BTreeMap<(CampaignIx, String), crate::resources::Bar>,
    ended_runs: Vec<CampaignIx>,
    /// How many campaigns, and how many servers, the task was told to forget.
    forgotten: (u64, u64),
    /// The test's decision on the outcome of a message, by server and recipient.
    decides: Option<Decides>,
    /// Addresses of the audience, if they are not `userN@example.com`.
    addresses: Vec<String>,
    /// The time zones of recipients, in turn.
    zones: Vec<Zone>,
    /// Whose message was claimed, and when.
    claims: Vec<(String, i64)>,
    /// How far rollouts have come, by campaign index.
    rollouts: BTreeMap<CampaignIx, crate::resources::rollout::Reached>,
    /// Messages that the ledger counts as resent.
    resent: u64,
    suppressed: u64,
    /// Recipients by campaign index.
    audience: BTreeMap<CampaignIx, u64>,
    next_seq: u64,
    /// Messages on the wire: when they are answered, the server, the call, and the messages.
    wire: Vec<(i64, LaneIx, CallId, Vec<Outgoing>)>,
    /// How messages are handed to servers.
    carriage: Carriage,
    /// A commit in progress, and when it is durable.
    committing: Option<(i64, Planned)>,
    /// Fetches in progress: when they are answered, the campaign, and the feeder epoch that they are for.
    fetches: Vec<(i64, CampaignIx, u64, usize)>,
    /// Checks in progress whether a run can be closed.
    closes: Vec<(i64, CampaignIx)>,
    /// When leases that are being returned have been returned.
    releases: Vec<i64>,
    out_since: BTreeMap<Key, i64>,
    closed: usize,
    /// The round trip, milliseconds; random if it is 0.
    latency_ms: i64,
    /// The longest time that servers hold a message before they let its content be written, milliseconds.
    hold_ms: u64,
    /// When contents were written, by server.
    written: BTreeMap<String, Vec<i64>>,
    /// The same by server and the recipient's domain.
    written_to: BTreeMap<(String, String), Vec<i64>>,
    /// Messages by server and minute, as the ledger keeps them.
    usage: BTreeMap<String, BTreeMap<i64, u64>>,
    most_claimed: usize,
    /// Rows of audiences that were read.
    read: u64,
    failed_commits: i64,
    /// Something happened in the last millisecond after the scheduler was asked.
    has_news: bool,
    order: Vec<(i64, String)>,
}

fn address(number: u64) -> String {
    format!("user{number}@example.com")
}

impl Simulation {
    fn new(
        seed: u64,
        chances: Chances,
        servers: &[(&str, u32, &[Rate])],
        campaigns: &[(&str, &str, u64)],
        policy: WhenOutcomeIsUnknown,
    ) -> Self {
        let mut routing = Routing::default();
        for (name, _, rates) in servers {
            routing
                .servers
                .insert(Key::new("default", *name), ServerIntent { host: format!("{name}.example").into(), ..server_intent(rates) });
        }
        for (namespace, name, _) in campaigns {
            let mut intent = campaign_intent(Work { when_outcome_is_unknown: policy, ..work(1) });
            intent.servers = servers.iter().map(|(name, weight, _)| (Key::new("default", *name), *weight)).collect();
            intent.candidates = intent.servers.iter().map(|(key, _)| key.clone()).collect();
            routing.campaigns.insert(Key::new(*namespace, *name), Arc::new(intent));
        }
        let mut simulation = Self {
            seed,
            draws: 0,
            now_ms: START_MS,
            chances,
            scheduler: Scheduler::new(seed),
            routing,
            left: BTreeMap::new(),
            fates: BTreeMap::new(),
            by_server: BTreeMap::new(),
            rows: BTreeMap::new(),
            leased: Vec::new(),
            bars: BTreeMap::new(),
            ended_runs: Vec::new(),
            forgotten: (0, 0),
            decides: None,
            addresses: Vec::new(),
            zones: Vec::new(),
            claims: Vec::new(),
            rollouts: BTreeMap::new(),
            resent: 0,
            suppressed: 0,
            audience: BTreeMap::new(),
            next_seq: 0,
            wire: Vec::new(),
            carriage: CARRIAGES[usize::try_from(seed % 4).unwrap_or(0)],
            committing: None,
            fetches: Vec::new(),
            closes: Vec::new(),
            releases: Vec::new(),
            out_since: BTreeMap::new(),
            closed: 0,
            latency_ms: 0,
            hold_ms: 0,
            written: BTreeMap::new(),
            written_to: BTreeMap::new(),
            usage: BTreeMap::new(),
            most_claimed: 0,
            read: 0,
            failed_commits: 0,
            has_news: false,
            order: Vec::new(),
        };
        simulation.apply();
        for (namespace, name, count) in campaigns {
            let index = simulation.scheduler.campaign_index[&Key::new(*namespace, *name)];
            simulation.audience.insert(index, *count);
        }
        simulation
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.draws += 1;
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let drawn = (jitter(self.seed, "simulation", self.draws) * below as f64) as u64;
        drawn
    }

    fn apply(&mut self) {
        let routing = self.routing.clone();
        let (usage, now_ms) = (&self.usage, self.now_ms);
        self.scheduler
            .apply(&routing, now_ms, |name| usage.get(name).into_iter().flatten().map(|(minute, count)| (*minute, *count)).collect());
        for lane in self.scheduler.lanes.keys().copied().collect::<Vec<_>>() {
            self.scheduler.set_carriage(lane, self.carriage);
        }
    }

    /// Runs until every campaign is closed; panics if that takes a simulated day.
    fn run(&mut self) {
        while self.closed < self.audience.len() {
            self.step();
            assert!(self.now_ms < START_MS + 86_400_000, "it does not end: {:?}", self.scheduler.report(self.now_ms, None));
        }
    }

    fn step(&mut self) {
        if self.committing.as_ref().is_some_and(|(at, _)| *at <= self.now_ms)
            && let Some((_, planned)) = self.committing.take()
        {
            self.commit(planned);
        }
        for action in self.scheduler.step(self.now_ms) {
            self.act(action);
        }
        let waiting =
            |world: &Self| world.fetches.len() + world.releases.len() + world.closes.len() + world.wire.len() + world.out_since.len();
        let before = waiting(self);
        self.answer();
        self.arrive();
        self.fix();
        self.has_news |= waiting(self) != before;
        self.now_ms += 1;
    }

    /// Skips the time in which nothing happens.
    fn skip_idle(&mut self, until: i64) {
        if std::mem::take(&mut self.has_news) {
            return;
        }
        let on_wire = self.wire.iter().map(|(at, ..)| *at);
        let asked = self.fetches.iter().map(|(at, ..)| *at).chain(self.closes.iter().map(|(at, _)| *at));
        let back = self.out_since.values().map(|since| since + 201);
        let commit = self.committing.as_ref().map(|(at, _)| *at);
        let next = on_wire.chain(asked).chain(back).chain(commit).fold(self.scheduler.wake_at(self.now_ms), i64::min);
        let next = self.releases.iter().copied().fold(next, i64::min);
        self.now_ms = self.now_ms.max(next.min(until));
    }

    /// A feeder reads the audience again and leaves out recipients who are in the ledger.
    fn start_feeder(&mut self, index: CampaignIx) {
        assert!(self.committing.is_none() && self.releases.is_empty(), "a feeder reads what is not all there");
        let claimed: BTreeSet<&String> =
            self.rows.iter().filter(|((campaign, _), _)| *campaign == index).map(|(_, row)| &row.recipient).collect();
        let count = self.audience.get(&index).copied().unwrap_or(0);
        let sample = self.scheduler.campaign(index).and_then(CampaignRun::sample);
        let left = (0..count).filter(|i| !claimed.contains(&self.address(*i)));
        let (left, outside): (VecDeque<u64>, VecDeque<u64>) = left.partition(|i| sample.is_none_or(|sample| sample.has(&self.address(*i))));
        if let Some(campaign) = self.scheduler.campaign_mut(index) {
            campaign.audience.outside = outside.len() as u64;
        }
        self.left.insert(index, left);
        self.scheduler.feeder_started(index);
    }

    /// Answers what the ledger was asked for in the background.
    fn answer(&mut self) {
        for (at, index, feeding, most) in std::mem::take(&mut self.fetches) {
            if at > self.now_ms {
                self.fetches.push((at, index, feeding, most));
            } else {
                self.fetch_due(index, feeding, most);
            }
        }
        for at in std::mem::take(&mut self.releases) {
            if at > self.now_ms {
                self.releases.push(at);
            } else {
                self.scheduler.released();
            }
        }
        for (at, index) in std::mem::take(&mut self.closes) {
            if at > self.now_ms {
                self.closes.push((at, index));
            } else {
                self.close(index);
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Open(index) => {
                self.has_news = true;
                let opened = self.opened(index);
                self.scheduler.opened(index, opened, self.now_ms);
            }
            Action::StartFeeder(index) => self.start_feeder(index),
            Action::Commit(planned) => {
                assert!(self.committing.is_none(), "two commits at a time");
                self.committing = Some((self.now_ms + i64::try_from(self.draw(4)).unwrap_or(0), planned));
            }
            Action::StopFeeder(index) => {
                self.leased.retain(|(campaign, _)| *campaign != index);
                let at = self.now_ms + i64::try_from(self.draw(4)).unwrap_or(0);
                self.releases.push(at);
            }
            Action::RequestRows { campaign: index, count, passing } => {
                self.has_news = true;
                self.feed(index, count, passing.as_deref());
            }
            Action::CountAdded(_) | Action::WatchAudience(_) => {}
            Action::Forget(_) => self.forgotten.0 += 1,
            Action::ForgetServer(_) => self.forgotten.1 += 1,
            Action::Seek { campaign: index, domain } => self.seek(index, &domain),
            Action::Resume { campaign: index, resumption } => self.resume(index, &resumption),
            Action::ChangeRollout { campaign: index, change } => self.change_rollout(index, &change),
            Action::FetchDue { campaign: index, most } => {
                let feeding = self.scheduler.campaign(index).map_or(0, |campaign| campaign.feeder.epoch);
                let at = self.now_ms + i64::try_from(self.draw(4)).unwrap_or(0);
                self.fetches.push((at, index, feeding, most));
            }
            Action::Deliver { lane, call, batch } => {
                self.assert_claimed(&batch);
                let trip = self.trip();
                self.wire.push((self.now_ms + trip, lane, call, batch));
            }
            Action::Ahead { lane, call, message } => {
                self.assert_claimed(std::slice::from_ref(&message));
                // It is answered after the messages that were there before it.
                let before = self.wire.iter().filter(|(_, of, on, _)| (*of, *on) == (lane, call)).map(|(at, ..)| *at).max();
                let trip = self.trip();
                self.wire.push((before.unwrap_or(self.now_ms) + trip, lane, call, vec![message]));
            }
            Action::ServerFailed { server: key, failures: count, .. } => {
                if let Some(route) = self.routing.servers.get_mut(&key) {
                    route.routed = false;
                    route.acknowledged_failures = count;
                }
                self.out_since.insert(key, self.now_ms);
                self.apply();
            }
            Action::Close(index) => {
                let at = self.now_ms + i64::try_from(self.draw(4)).unwrap_or(0);
                self.closes.push((at, index));
            }
        }
    }

    fn trip(&mut self) -> i64 {
        let held = if self.hold_ms > 0 { i64::try_from(self.draw(self.hold_ms)).unwrap_or(0) } else { 0 };
        let more = if self.latency_ms > 0 { 0 } else { i64::try_from(self.draw(16)).unwrap_or(0) };
        held + self.answer_ms() + more
    }

    /// How long a server takes from the last byte of a message to its answer. No message is answered sooner than this after it was
    /// handed over: it would have been written before.
    fn answer_ms(&self) -> i64 {
        if self.latency_ms > 0 { self.latency_ms } else { 5 }
    }

    /// Nothing leaves before its claim is durable.
    fn assert_claimed(&self, messages: &[Outgoing]) {
        for message in messages {
            let row = self.scheduler.in_flight_row(message.token).and_then(|id| self.rows.get(&id));
            assert!(
                row.is_some_and(|row| *row.recipient == *message.rcpt_to && row.fate == RowFate::Claimed),
                "{} leaves before its claim is durable",
                message.rcpt_to
            );
        }
    }

    /// Finds somebody in another domain, out of turn.
    fn seek(&mut self, index: CampaignIx, domain: &str) {
        let addresses: Vec<(u64, String)> = self.left[&index].iter().map(|i| (*i, self.address(*i))).collect();
        let found = addresses.iter().position(|(_, address)| *domain_of(address) != *domain);
        match found {
            Some(at) => {
                self.left.get_mut(&index).expect("a campaign").remove(at);
                self.scheduler.sought(index);
                let message = Self::prepare(&addresses[at].1, None, 1, None);
                self.scheduler.prepared(index, vec![message], 0, 0, self.now_ms);
            }
            None => self.scheduler.nobody_else(index, self.now_ms),
        }
    }

    fn prepare(recipient: &str, seq: Option<u64>, attempt: u32, refusals: Option<&str>) -> ReadyMessage {
        let fields = Recipient::from_json(&format!("{{\"email\":\"{recipient}\"}}")).expect("good fields").fields;
        ReadyMessage {
            seq,
            attempt,
            recipient: recipient.into(),
            rcpt_to: recipient.into(),
            since_ms: None,
            fields,
            refusals: Refusals::from_json(refusals),
            receiver: None,
            window: None,
            content: b"x"[..].into(),
            needs_8bit: false,
            needs_smtputf8: false,
        }
    }

    fn feed(&mut self, index: CampaignIx, count: usize, passing: Option<&Passing>) {
        let mut left = self.left.remove(&index).expect("a campaign");
        let (mut messages, mut passed, mut rows) = (Vec::new(), BTreeSet::new(), 0);
        while messages.len() < count && rows < 1000 {
            let Some(number) = left.pop_front() else { break };
            let address = self.address(number);
            self.read += 1;
            let Ok(window) = self.window_or_pass(index, &address) else {
                rows += 1;
                continue;
            };
            if let Some(receiver) = passing.and_then(|passing| passing.passes(&address)) {
                passed.insert(receiver);
                rows += 1;
                continue;
            }
            messages.push(ReadyMessage { window, ..Self::prepare(&address, None, 1, None) });
        }
        let end = left.is_empty();
        self.left.insert(index, left);
        if !passed.is_empty() {
            self.scheduler.passed_over(index, passed);
        }
        self.scheduler.prepared(index, messages, count, 0, self.now_ms);
        if end && let Some(campaign) = self.scheduler.campaign_mut(index) {
            campaign.audience.is_read = true;
            campaign.feeder.requested = 0;
        }
    }

    fn fetch_due(&mut self, index: CampaignIx, feeder_epoch: u64, most: usize) {
        if !self.scheduler.is_current(index, feeder_epoch) {
            self.scheduler.released();
            return;
        }
        let now_ms = self.now_ms;
        let free: Vec<(u64, Row)> = self
            .rows
            .iter()
            .filter(|(id, row)| id.0 == index && row.fate == RowFate::Deferred && !self.leased.contains(id))
            .map(|((_, seq), row)| (*seq, row.clone()))
            .collect();
        let due: Vec<_> = free.iter().filter(|(_, row)| row.at_ms <= now_ms).take(most).cloned().collect();
        let next = free.iter().filter(|(seq, _)| !due.iter().any(|(taken, _)| taken == seq)).map(|(_, row)| row.at_ms).min();
        self.leased.extend(due.iter().map(|(seq, _)| (index, *seq)));
        self.scheduler.due_fetched(index, due.len(), next);
        let mut messages = Vec::new();
        for (seq, row) in &due {
            let prepared = Self::prepare(&row.recipient, Some(*seq), row.attempt + 1, row.refusals.as_deref());
            match self.window(index, &row.recipient) {
                Ok(window) => messages.push(ReadyMessage { since_ms: row.since_ms, window, ..prepared }),
                Err(asleep) => self.put_off(index, *seq, prepared, asleep.first_ms),
            }
        }
        self.scheduler.prepared(index, messages, 0, due.len(), now_ms);
    }

    fn arrive(&mut self) {
        let mut waiting = Vec::new();
        let mut ended = BTreeSet::new();
        for (at, lane, call, batch) in std::mem::take(&mut self.wire) {
            if at > self.now_ms {
                waiting.push((at, lane, call, batch));
                continue;
            }
            ended.insert((lane, call));
            for message in batch {
                let outcome = self.outcome(lane, &message);
                let back = self.answer_ms();
                let name = self.scheduler.lanes[&lane].reference.name.to_string();
                self.note_written(&name, &message.rcpt_to, at - back);
                let round_trip = Some(Duration::from_millis(back.unsigned_abs()));
                self.scheduler.outcome(Delivered { message, outcome, round_trip, signing: Duration::ZERO }, self.now_ms);
            }
        }
        self.wire.extend(waiting);
        for (lane, call) in ended {
            if !self.wire.iter().any(|(_, of, on, _)| (*of, *on) == (lane, call)) {
                self.scheduler.call_ended(lane, call);
            }
        }
    }

    fn note_written(&mut self, server: &str, recipient: &str, at_ms: i64) {
        self.written.entry(server.to_owned()).or_default().push(at_ms);
        let domain = recipient.rsplit_once('@').map_or("", |(_, domain)| domain);
        self.written_to.entry((server.to_owned(), domain.to_owned())).or_default().push(at_ms);
    }

    fn outcome(&mut self, lane: LaneIx, message: &Outgoing) -> Outcome {
        let name = self.scheduler.lanes[&lane].reference.name.to_string();
        let campaign = self.scheduler.in_flight_campaign(message.token);
        let fate_key = (campaign, message.rcpt_to.to_string());
        self.order.push((self.now_ms, self.scheduler.campaign(campaign).map(|c| c.key.to_string()).unwrap_or_default()));
        let now_ms = self.now_ms;
        if let Some(outcome) = self.decides.as_mut().and_then(|decides| decides(&name, &message.rcpt_to, now_ms)) {
            let fate = self.fates.entry(fate_key).or_default();
            match &outcome {
                Outcome::Accepted { .. } => {
                    fate.taken += 1;
                    *self.by_server.entry(name).or_default() += 1;
                }
                Outcome::Unknown(_) => fate.unknown += 1,
                _ => {}
            }
            return outcome;
        }
        let chances = self.chances;
        let drawn = self.draw(100);
        let failure = || Blocker::passing(Reason::ConnectionLost, "lost".to_owned());
        let mut bound = chances.rejected;
        if drawn < bound {
            return Outcome::rejected("550".to_owned());
        }
        bound += chances.deferred;
        if drawn < bound {
            return Outcome::deferred("450".to_owned(), None);
        }
        bound += chances.server_failed;
        if drawn < bound {
            return Outcome::ServerFailed(failure());
        }
        bound += chances.unknown;
        if drawn < bound {
            let taken = u32::from(self.draw(2) == 0);
            let fate = self.fates.entry(fate_key).or_default();
            fate.unknown += 1;
            fate.taken += taken;
            return Outcome::Unknown(failure());
        }
        let fate = self.fates.entry(fate_key).or_default();
        fate.taken += 1;
        *self.by_server.entry(name).or_default() += 1;
        Outcome::Accepted { reply: "250".to_owned() }
    }
}
