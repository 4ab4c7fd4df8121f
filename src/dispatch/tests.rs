//! The scheduler in a simulated world: a seed decides how servers fail, how the ledger fails, and when; time is simulated.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{
    Order, RouteServer, Routing,
    campaign::{Opened, Phase},
    limits::Limiter,
    prepared::{End, Prepared},
    route::jitter,
    scheduler::{Action, Planned, Scheduler},
};
use crate::{
    audience::{Input, Recipient},
    message::{Content, Template},
    providers::{Delivered, Failure, Outcome, Outgoing},
    resources::{
        Key, Rate, Reason,
        campaign::{EffectiveRetry, Mailbox, RecipientCounts, WhenOutcomeIsUnknown},
    },
};

const START_MS: i64 = 1_764_000_000_000;

/// What the world has done with a recipient.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    taken: u32,
    unknown: u32,
    ended: bool,
}

/// Chances of a message's fate, in percent; the rest is taken.
#[derive(Clone, Copy, Default)]
struct Chances {
    rejected: u64,
    deferred: u64,
    server_failed: u64,
    unknown: u64,
    commit_fails: u64,
}

struct Simulation {
    seed: u64,
    draws: u64,
    now_ms: i64,
    chances: Chances,
    scheduler: Scheduler,
    routing: Routing,
    /// The audience that is not fed yet, by campaign index.
    left: BTreeMap<usize, VecDeque<u64>>,
    fates: BTreeMap<(usize, String), Fate>,
    by_server: BTreeMap<String, u64>,
    /// The ledger: state by (campaign, seq); `true` while claimed.
    claimed: BTreeMap<(usize, u64), bool>,
    deferred: BTreeMap<(usize, u64), (i64, u32, String)>,
    leased: Vec<(usize, u64)>,
    /// Every row of the ledger, and whose it is.
    rows: BTreeMap<(usize, u64), String>,
    ended_runs: Vec<usize>,
    /// Messages that the ledger has as sent again.
    resent: u64,
    /// Recipients by campaign index.
    audience: BTreeMap<usize, u64>,
    next_seq: u64,
    wire: Vec<(i64, usize, Vec<Outgoing>)>,
    /// A commit under way, and when it is durable.
    committing: Option<(i64, Planned)>,
    /// Feeders that start once no commit is under way.
    to_feed: Vec<usize>,
    /// Fetches under way: when they are answered, the campaign and the feeding they are for.
    fetches: Vec<(i64, usize, u64)>,
    /// Looks at whether a run can be closed, under way.
    closes: Vec<(i64, usize)>,
    /// Answers that have to be given back before a feeder starts.
    releasing: usize,
    out_since: BTreeMap<Key, i64>,
    closed: usize,
    most_claimed: usize,
    order: Vec<(i64, String)>,
}

fn address(number: u64) -> String {
    format!("user{number}@example.com")
}

fn work() -> Order {
    let content = Content {
        from: Mailbox { name: None, address: "news@example.com".to_owned() },
        reply_to: None,
        subject: "Hello".to_owned(),
        html: None,
        text: Some("Hi".to_owned()),
        mjml: None,
        headers: BTreeMap::new(),
        unsubscribe_url: None,
        one_click: false,
    };
    Order {
        run: "first".to_owned(),
        fingerprint: 1,
        hold: false,
        servers: Vec::new(),
        input: Input::Inline(Vec::new()),
        template: Arc::new(Template::compile(&content).unwrap_or_else(|_| unreachable!("a good template"))),
        from_address: "news@example.com".into(),
        retry: EffectiveRetry { attempts: 4, initial_delay: crate::resources::Duration::from_secs(1) },
        when_outcome_is_unknown: WhenOutcomeIsUnknown::Skip,
        max_render_errors: 100,
        plan_limits: None,
    }
}

fn server(rates: &[Rate]) -> RouteServer {
    RouteServer {
        server: None,
        routed: true,
        acknowledged_failures: 0,
        rates: rates.to_vec(),
        limits_fingerprint: 1,
        warmup_today: None,
        connections: 4,
        return_path: None,
        stall_after: crate::resources::Duration::from_secs(10),
    }
}

impl Simulation {
    fn new(seed: u64, chances: Chances, servers: &[(&str, u32, &[Rate])], campaigns: &[(&str, &str, u64)], policy: WhenOutcomeIsUnknown) -> Self {
        let mut routing = Routing::default();
        for (name, _, rates) in servers {
            routing.servers.insert(Key::new("default", *name), server(rates));
        }
        for (namespace, name, _) in campaigns {
            let mut order = work();
            order.when_outcome_is_unknown = policy;
            order.servers = servers.iter().map(|(name, weight, _)| (Key::new("default", *name), *weight)).collect();
            routing.campaigns.insert(Key::new(*namespace, *name), Arc::new(order));
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
            claimed: BTreeMap::new(),
            deferred: BTreeMap::new(),
            leased: Vec::new(),
            rows: BTreeMap::new(),
            ended_runs: Vec::new(),
            resent: 0,
            audience: BTreeMap::new(),
            next_seq: 0,
            wire: Vec::new(),
            committing: None,
            to_feed: Vec::new(),
            fetches: Vec::new(),
            closes: Vec::new(),
            releasing: 0,
            out_since: BTreeMap::new(),
            closed: 0,
            most_claimed: 0,
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
        self.scheduler.apply(&routing, self.now_ms, |_, rates| Limiter::new(rates));
    }

    /// Runs until every campaign is closed; panics when that takes a simulated day.
    fn run(&mut self) {
        while self.closed < self.audience.len() {
            self.step();
            assert!(self.now_ms < START_MS + 86_400_000, "it does not end: {:?}", self.scheduler.report(self.now_ms, None));
        }
    }

    fn step(&mut self) {
        self.scheduler.tick(self.now_ms);
        if self.committing.as_ref().is_some_and(|(at, _)| *at <= self.now_ms)
            && let Some((_, planned)) = self.committing.take()
        {
            self.commit(planned);
        }
        if self.committing.is_none() {
            self.start_feeders();
            if let Some(planned) = self.scheduler.plan(self.now_ms) {
                self.committing = Some((self.now_ms + i64::try_from(self.draw(4)).unwrap_or(0), planned));
            }
        }
        for action in self.scheduler.take_actions() {
            self.act(action);
        }
        self.answer();
        self.arrive();
        self.mend();
        self.now_ms += 1;
    }

    fn start_feeders(&mut self) {
        if self.releasing > 0 {
            return;
        }
        for index in std::mem::take(&mut self.to_feed) {
            if !self.scheduler.may_start_feeder(index) {
                self.to_feed.push(index);
                continue;
            }
            // A feeder reads the audience anew and leaves out who is in the ledger.
            let claimed: std::collections::BTreeSet<&String> = self.rows.iter().filter(|((campaign, _), _)| *campaign == index).map(|(_, who)| who).collect();
            let count = self.audience.get(&index).copied().unwrap_or(0);
            let left = (0..count).filter(|i| !claimed.contains(&address(*i))).collect();
            self.left.insert(index, left);
            self.scheduler.feeder_started(index);
        }
    }

    /// What the ledger was asked for in the background.
    fn answer(&mut self) {
        for (at, index, feeding) in std::mem::take(&mut self.fetches) {
            if at > self.now_ms {
                self.fetches.push((at, index, feeding));
            } else {
                self.fetch_due(index, feeding);
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

    fn commit(&mut self, planned: Planned) {
        if self.draw(100) < self.chances.commit_fails {
            self.scheduler.commit_failed(planned, self.now_ms);
            return;
        }
        for ended in &planned.outcomes {
            let Some(seq) = ended.seq else { continue };
            let id = (ended.campaign, seq);
            assert_eq!(self.claimed.insert(id, false), Some(true), "an outcome without a claim");
            let fate = self.fates.entry((ended.campaign, ended.recipient.to_string())).or_default();
            match &ended.end {
                End::Deferred { at_ms, unknown, .. } => {
                    self.resent += u64::from(*unknown);
                    self.deferred.insert(id, (*at_ms, ended.attempt, ended.recipient.to_string()));
                }
                End::Returned { .. } => {
                    self.deferred.insert(id, (self.now_ms, ended.attempt - 1, ended.recipient.to_string()));
                }
                _ => {
                    assert!(!fate.ended, "two ends for {}", ended.recipient);
                    fate.ended = true;
                }
            }
        }
        let mut seqs = Vec::new();
        for claim in &planned.claims {
            let seq = claim.message.seq.unwrap_or_else(|| {
                self.next_seq += 1;
                self.next_seq
            });
            let id = (claim.campaign, seq);
            assert_ne!(self.claimed.insert(id, true), Some(true), "claimed twice");
            assert!(!self.ended_runs.contains(&claim.campaign), "claimed in a closed run");
            self.rows.insert(id, claim.message.recipient.to_string());
            self.deferred.remove(&id);
            self.leased.retain(|leased| *leased != id);
            seqs.push(seq);
        }
        self.most_claimed = self.most_claimed.max(self.claimed.values().filter(|claimed| **claimed).count());
        self.scheduler.committed(planned, &seqs, Duration::from_millis(1), self.now_ms);
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Open(index) => self.scheduler.opened(index, Opened { counts: RecipientCounts::default(), started_ms: self.now_ms, ..Opened::default() }),
            Action::Feed(index) => self.to_feed.push(index),
            Action::Unfeed(index, fetching) => {
                self.leased.retain(|(campaign, _)| *campaign != index);
                self.releasing += usize::from(fetching);
            }
            Action::More(index, count) => self.feed(index, count),
            Action::FetchDue(index) => {
                let feeding = self.scheduler.campaign(index).map_or(0, |campaign| campaign.feeding);
                let at = self.now_ms + i64::try_from(self.draw(4)).unwrap_or(0);
                self.fetches.push((at, index, feeding));
            }
            Action::Deliver(lane, batch) => {
                let trip = 1 + i64::try_from(self.draw(20)).unwrap_or(0);
                self.wire.push((self.now_ms + trip, lane, batch));
            }
            Action::ServerFailed(key, _, count) => {
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

    fn close(&mut self, index: usize) {
        let open = self.claimed.iter().any(|((campaign, _), claimed)| *campaign == index && *claimed);
        let due = self.deferred.iter().filter(|((campaign, _), _)| *campaign == index).map(|(_, (at, _, _))| *at).min();
        if open || due.is_some() {
            self.scheduler.not_closed(index, due.or(Some(self.now_ms + 1000)));
        } else {
            self.scheduler.closed(index, self.now_ms);
            self.ended_runs.push(index);
            self.closed += 1;
        }
    }

    fn prepare(recipient: &str, seq: Option<u64>, attempt: u32) -> Prepared {
        let fields = Recipient::from_json(&format!("{{\"email\":\"{recipient}\"}}")).expect("good fields").fields;
        Prepared { seq, was_deferred: seq.is_some(), attempt, recipient: recipient.into(), envelope_to: recipient.into(), fields, content: Arc::from(&b"x"[..]), needs_8bit: false, needs_smtputf8: false }
    }

    fn feed(&mut self, index: usize, count: usize) {
        let left = self.left.get_mut(&index).expect("a campaign");
        let take = count.min(left.len());
        let messages: Vec<Prepared> = left.drain(..take).map(|i| Self::prepare(&address(i), None, 1)).collect();
        let end = left.is_empty();
        self.scheduler.prepared(index, messages, take, 0);
        if end && let Some(campaign) = self.scheduler.campaign_mut(index) {
            campaign.audience_done = true;
            campaign.requested = 0;
        }
    }

    fn fetch_due(&mut self, index: usize, feeding: u64) {
        if !self.scheduler.is_current(index, feeding) {
            self.releasing -= 1;
            return;
        }
        let now_ms = self.now_ms;
        let free: Vec<(u64, i64, u32, String)> = self
            .deferred
            .iter()
            .filter(|(id, _)| id.0 == index && !self.leased.contains(id))
            .map(|((_, seq), (at, attempt, recipient))| (*seq, *at, *attempt, recipient.clone()))
            .collect();
        let due: Vec<_> = free.iter().filter(|(_, at, _, _)| *at <= now_ms).take(64).cloned().collect();
        let next = free.iter().filter(|(seq, _, _, _)| !due.iter().any(|(taken, _, _, _)| taken == seq)).map(|(_, at, _, _)| *at).min();
        self.leased.extend(due.iter().map(|(seq, _, _, _)| (index, *seq)));
        self.scheduler.due_fetched(index, due.len(), next);
        let messages = due.iter().map(|(seq, _, attempt, recipient)| Self::prepare(recipient, Some(*seq), attempt + 1)).collect();
        self.scheduler.prepared(index, messages, 0, due.len());
    }

    fn arrive(&mut self) {
        let mut waiting = Vec::new();
        for (at, lane, batch) in std::mem::take(&mut self.wire) {
            if at > self.now_ms {
                waiting.push((at, lane, batch));
                continue;
            }
            for message in batch {
                let outcome = self.outcome(lane, &message);
                self.scheduler.outcome(Delivered { message, outcome, round_trip: Some(Duration::from_millis(5)) }, self.now_ms);
            }
            self.scheduler.delivery_ended(lane, 8);
        }
        self.wire.extend(waiting);
    }

    fn outcome(&mut self, lane: usize, message: &Outgoing) -> Outcome {
        let name = self.scheduler.lanes[lane].lane.name.to_string();
        let campaign = self.scheduler.in_flight_campaign(message.token);
        let fate_key = (campaign, message.recipient.to_string());
        self.order.push((self.now_ms, self.scheduler.campaign(campaign).map(|c| c.key.to_string()).unwrap_or_default()));
        let chances = self.chances;
        let drawn = self.draw(100);
        let failure = || Failure { reason: Reason::ConnectionLost, message: "lost".to_owned(), needs_person: false };
        let mut bound = chances.rejected;
        if drawn < bound {
            return Outcome::RecipientRejected { reply: "550".to_owned() };
        }
        bound += chances.deferred;
        if drawn < bound {
            return Outcome::Deferred { reply: "450".to_owned(), retry_after: None };
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
        self.fates.entry(fate_key).or_default().taken += 1;
        *self.by_server.entry(name).or_default() += 1;
        Outcome::Accepted { reply: "250".to_owned() }
    }

    /// The control plane puts a server back after a while.
    fn mend(&mut self) {
        let back: Vec<Key> = self.out_since.iter().filter(|(_, since)| self.now_ms - **since > 200).map(|(key, _)| key.clone()).collect();
        if back.is_empty() {
            return;
        }
        for key in back {
            self.out_since.remove(&key);
            if let Some(route) = self.routing.servers.get_mut(&key) {
                route.routed = true;
            }
        }
        self.apply();
    }
}

const WILD: Chances = Chances { rejected: 2, deferred: 10, server_failed: 5, unknown: 2, commit_fails: 5 };

#[test]
fn nobody_is_lost_and_nobody_doubled_whatever_fails() {
    for seed in 0..25 {
        let mut simulation =
            Simulation::new(seed, WILD, &[("a", 3, &[]), ("b", 1, &[])], &[("default", "spring", 1500), ("other", "summer", 500)], WhenOutcomeIsUnknown::Skip);
        simulation.run();
        assert_eq!(simulation.fates.len(), 2000, "seed {seed}: everybody was tried");
        for ((_, recipient), fate) in &simulation.fates {
            assert!(fate.ended, "seed {seed}: {recipient} has no end");
            assert!(fate.taken <= 1, "seed {seed}: {recipient} was mailed {} times", fate.taken);
        }
        let report = simulation.scheduler.report(simulation.now_ms, None);
        let unknown: u64 = report.campaigns.values().map(|campaign| campaign.counts.unknown).sum();
        assert_eq!(unknown, simulation.fates.values().map(|fate| u64::from(fate.unknown)).sum::<u64>(), "seed {seed}: every unknown is counted");
        assert!(report.campaigns.values().all(|campaign| campaign.phase == Phase::Closed && campaign.counts.deferred == 0 && campaign.counts.sending == 0));
        let ended: u64 = report.campaigns.values().map(|campaign| campaign.counts.ended()).sum();
        assert_eq!(ended, 2000, "seed {seed}: {:?}", report.campaigns);
        assert!(simulation.most_claimed <= 64, "seed {seed}: {} claims without an outcome", simulation.most_claimed);
        assert_eq!(simulation.scheduler.unsettled(), 0);
    }
}

#[test]
fn resend_loses_nobody_and_counts_what_may_be_double() {
    for seed in 0..10 {
        let chances = Chances { unknown: 20, ..Chances::default() };
        let mut simulation = Simulation::new(seed, chances, &[("a", 1, &[]), ("b", 1, &[])], &[("default", "spring", 1000)], WhenOutcomeIsUnknown::Resend);
        simulation.run();
        let lost = simulation.fates.values().filter(|fate| fate.taken == 0 && fate.unknown < 4).count();
        let doubled: u32 = simulation.fates.values().map(|fate| fate.taken.saturating_sub(1)).sum();
        let resent = simulation.scheduler.report(simulation.now_ms, None).campaigns.values().map(|campaign| campaign.counts.resent).sum::<u64>();
        assert_eq!(lost, 0, "seed {seed}");
        assert_eq!(resent, simulation.resent, "seed {seed}: as the ledger has it");
        assert!(u64::from(doubled) <= resent, "seed {seed}: {doubled} doubled, {resent} told");
    }
}

#[test]
fn shares_hold_though_one_server_is_paced() {
    let slow = [Rate { messages: 50, per: crate::resources::Duration::from_secs(1) }];
    let mut simulation = Simulation::new(5, Chances::default(), &[("fast", 20, &[]), ("slow", 80, &slow)], &[("default", "spring", 3000)], WhenOutcomeIsUnknown::Skip);
    simulation.run();
    let slow = simulation.by_server["default/slow"];
    assert!((2300..2500).contains(&slow), "{:?}", simulation.by_server);
    assert!(simulation.now_ms - START_MS > 45_000, "the slow server paces the whole");
}

#[test]
fn an_exhausted_window_passes_its_share_on_and_reopens() {
    let hourly = [Rate { messages: 100, per: crate::resources::Duration::from_secs(3600) }];
    let mut simulation = Simulation::new(5, Chances::default(), &[("a", 1, &[]), ("b", 1, &hourly)], &[("default", "spring", 1000)], WhenOutcomeIsUnknown::Skip);
    simulation.run();
    assert_eq!((simulation.by_server["default/a"], simulation.by_server["default/b"]), (900, 100));
    let mut alone = Simulation::new(5, Chances::default(), &[("b", 1, &hourly)], &[("default", "spring", 150)], WhenOutcomeIsUnknown::Skip);
    alone.run();
    assert!(alone.now_ms - START_MS > 3_500_000, "it waits for the hour");
}

#[test]
fn namespaces_take_turns_before_campaigns_do() {
    let paced = [Rate { messages: 100, per: crate::resources::Duration::from_secs(1) }];
    let campaigns = [("big", "a", 1000), ("big", "b", 1000), ("small", "c", 500)];
    let mut simulation = Simulation::new(5, Chances::default(), &[("s", 1, &paced)], &campaigns, WhenOutcomeIsUnknown::Skip);
    for _ in 0..8000 {
        simulation.step();
    }
    let count = |name: &str| simulation.order.iter().filter(|(_, campaign)| campaign == name).count();
    let (a, b, c) = (count("big/a"), count("big/b"), count("small/c"));
    assert!(c.abs_diff(a + b) < 40, "half for each namespace: {a} {b} {c}");
    assert!(a.abs_diff(b) < 40, "half for each campaign of one: {a} {b}");
}

#[test]
fn suspended_edited_and_resumed_at_any_moment_everybody_has_one_end() {
    for seed in 0..25 {
        let chances = Chances { deferred: 20, server_failed: 5, commit_fails: 10, ..Chances::default() };
        let mut simulation = Simulation::new(seed, chances, &[("a", 1, &[]), ("b", 1, &[])], &[("default", "spring", 600)], WhenOutcomeIsUnknown::Skip);
        let key = Key::new("default", "spring");
        while simulation.closed == 0 {
            simulation.step();
            assert!(simulation.now_ms < START_MS + 3_600_000, "seed {seed}: it does not end: {:?}", simulation.scheduler.report(simulation.now_ms, None));
            if simulation.now_ms < START_MS + 20_000 && simulation.draw(60) == 0 {
                let mut order = (*simulation.routing.campaigns[&key]).clone();
                order.hold = simulation.draw(2) == 0;
                order.fingerprint += simulation.draw(2);
                simulation.routing.campaigns.insert(key.clone(), Arc::new(order));
                simulation.apply();
            } else if simulation.now_ms == START_MS + 20_000 {
                let mut order = (*simulation.routing.campaigns[&key]).clone();
                order.hold = false;
                simulation.routing.campaigns.insert(key.clone(), Arc::new(order));
                simulation.apply();
            }
        }
        assert_eq!((simulation.rows.len(), simulation.fates.len()), (600, 600), "seed {seed}: one row each");
        assert!(simulation.fates.values().all(|fate| fate.ended && fate.taken <= 1), "seed {seed}");
        let counts = &simulation.scheduler.report(simulation.now_ms, None).campaigns[&key].counts.clone();
        assert_eq!((counts.ended(), counts.deferred, counts.sending), (600, 0, 0), "seed {seed}: {counts:?}");
    }
}

#[test]
fn a_message_that_moves_does_not_wait_for_the_end_of_the_audience() {
    for seed in 0..20 {
        let mut simulation = Simulation::new(seed, Chances::default(), &[("a", 1, &[]), ("b", 1, &[])], &[("default", "spring", 3000)], WhenOutcomeIsUnknown::Skip);
        let (mut longest, mut incidents) = (0, 0);
        while simulation.closed == 0 {
            // One incident.
            let failing = simulation.now_ms > START_MS + 100 && incidents == 0;
            simulation.chances.server_failed = if failing { 100 } else { 0 };
            simulation.step();
            incidents += simulation.out_since.len();
            let oldest = simulation.deferred.values().map(|(at, _, _)| *at).min();
            longest = oldest.map_or(longest, |at| longest.max(simulation.now_ms - at));
        }
        let all = simulation.now_ms - START_MS;
        assert!(incidents > 0 && longest < 1000 && all > 2500, "seed {seed}: one waited {longest} ms of {all}");
    }
}

#[test]
fn a_run_is_not_closed_while_its_last_claims_are_being_committed() {
    for seed in 0..200 {
        let mut simulation =
            Simulation::new(seed, Chances { commit_fails: 40, ..Chances::default() }, &[("a", 1, &[])], &[("default", "spring", 10)], WhenOutcomeIsUnknown::Skip);
        simulation.run();
        assert_eq!(simulation.fates.values().filter(|fate| fate.ended).count(), 10, "seed {seed}");
        assert!(simulation.now_ms < START_MS + 900, "seed {seed}: it does not wait for nothing: {} ms", simulation.now_ms - START_MS);
    }
}

#[test]
fn a_flood_of_due_messages_stays_in_the_ledger_until_there_is_room() {
    let paced = [Rate { messages: 50, per: crate::resources::Duration::from_secs(1) }];
    let mut simulation = Simulation::new(3, Chances { deferred: 100, ..Chances::default() }, &[("a", 1, &[])], &[("default", "spring", 1500)], WhenOutcomeIsUnknown::Skip);
    for _ in 0..1000 {
        simulation.step();
    }
    // All are deferred and due; now the server is slow.
    simulation.chances.deferred = 0;
    if let Some(route) = simulation.routing.servers.get_mut(&Key::new("default", "a")) {
        (route.rates, route.limits_fingerprint) = (paced.to_vec(), 2);
    }
    simulation.apply();
    let mut most = 0;
    while simulation.closed == 0 {
        simulation.step();
        most = most.max(simulation.scheduler.lanes[0].turns.len());
    }
    assert!(most <= 320, "{most} messages in memory");
}

#[test]
fn a_deleted_campaign_is_forgotten_though_others_go_on() {
    let mut simulation = Simulation::new(3, Chances::default(), &[("a", 1, &[])], &[("default", "spring", 100_000), ("default", "summer", 100_000)], WhenOutcomeIsUnknown::Skip);
    for _ in 0..500 {
        simulation.step();
    }
    let index = simulation.scheduler.campaign_index[&Key::new("default", "spring")];
    simulation.routing.campaigns.remove(&Key::new("default", "spring"));
    simulation.apply();
    for _ in 0..500 {
        simulation.step();
    }
    assert!(simulation.scheduler.campaign(index).is_none());
}

#[test]
fn a_server_that_failed_and_was_applied_again_is_used_again() {
    let key = Key::new("default", "a");
    let mut simulation = Simulation::new(3, Chances { server_failed: 100, ..Chances::default() }, &[("a", 1, &[])], &[("default", "spring", 50)], WhenOutcomeIsUnknown::Skip);
    while simulation.out_since.is_empty() {
        simulation.step();
    }
    simulation.chances.server_failed = 0;
    simulation.out_since.clear();
    let route = simulation.routing.servers.remove(&key).expect("the server");
    simulation.apply();
    // The control plane meets it as a new one.
    let report = simulation.scheduler.report(simulation.now_ms, None);
    let acknowledged_failures = crate::decide::Observations::default().server_mut(&key, &report).acknowledged_failures;
    simulation.routing.servers.insert(key, RouteServer { routed: true, acknowledged_failures, ..route });
    simulation.apply();
    simulation.run();
}

#[test]
fn failed_commits_use_up_no_limit() {
    let daily = [Rate { messages: 100, per: crate::resources::Duration::from_secs(86_400) }];
    let chances = Chances { commit_fails: 60, ..Chances::default() };
    let mut simulation = Simulation::new(3, chances, &[("a", 1, &daily)], &[("default", "spring", 100)], WhenOutcomeIsUnknown::Skip);
    simulation.run();
    assert!(simulation.now_ms < START_MS + 60_000);
}
