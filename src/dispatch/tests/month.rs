//! A month of warm-up: four servers on different days of theirs, limits for receiving domains, and a kill. Bounces and complaints come
//! back by chance, more of two servers for some time; what decides and what judges servers are those of the program.
//! `MONTH=5000000 cargo test --release --lib month` sends more than usual.

mod control;
mod paper;

use super::*;
use crate::{chance::jitter as chance, feedback::Judged, resources::mailbox_providers::provider_of};
use control::{Control, PER_DOMAIN, PER_SERVER, hourly, judged_from};

/// People who are mailed, unless `MONTH` says otherwise.
const PEOPLE: u64 = 50_000;
/// The schedules are made for this many.
const PEOPLE_AT_FULL: u64 = 5_000_000;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const MINUTE_MS: i64 = 60_000;
/// How often the control plane looks.
const TURN_MS: i64 = 10 * MINUTE_MS;
const DAYS: i64 = 31;
const SERVERS: usize = 4;
/// When the process is killed: a server is paused then.
const KILLED_AT_MS: i64 = 15 * DAY_MS + 3 * HOUR_MS;
/// How many messages in a thousand bounce, whatever the server.
const BOUNCES: f64 = 2.0;
/// A server of which more comes back, on which day, until which hour of it, what, and of how many messages in a thousand.
const BAD: [(usize, i64, i64, Returning, f64); 2] = [(1, 15, 5, Returning::Bounce, 250.0), (3, 13, 24, Returning::Complaint, 40.0)];
/// Of a hundred people, how many are at which domain.
const SPREAD: [(&str, u64); 7] = [
    ("gmail.com", 36),
    ("googlemail.com", 4),
    ("yahoo.com", 12),
    ("outlook.com", 10),
    ("hotmail.com", 8),
    ("icloud.com", 5),
    ("shop.example", 25),
];

/// The limit of each day of a server's schedule.
fn schedule(server: usize, people: u64) -> Vec<u64> {
    let full = |day: u64| match server {
        0 => 2_000 * (day + 1),
        1 => (0..day).fold(1_000, |limit, _| limit * 115 / 100),
        2 => {
            [(20, 100_000), (13, 50_000), (9, 25_000), (0, 15_000)].into_iter().find(|(from, _)| day >= *from).map_or(0, |(_, limit)| limit)
        }
        _ => 5_000 + 4_000 * day,
    };
    (0..90).map(|day| (full(day) * people / PEOPLE_AT_FULL).max(1)).collect()
}

/// What comes back of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Returning {
    Bounce,
    Complaint,
}

/// Something that came back.
#[derive(Clone, Copy, Debug)]
struct Back {
    what: Returning,
    /// When the server took the message.
    taken_ms: i64,
    /// When it came.
    at_ms: i64,
}

struct Month {
    people: u64,
    control: Control,
    scheduler: Scheduler,
    routing: Routing,
    now_ms: i64,
    start_ms: i64,
    /// The ledger: attempts of each person, and whether one was accepted.
    attempts: Vec<u8>,
    accepted: Vec<bool>,
    in_flight: BTreeSet<u64>,
    due: BTreeSet<(i64, u64)>,
    /// Those of them that are in memory.
    leased: BTreeSet<u64>,
    usage: BTreeMap<String, BTreeMap<i64, u64>>,
    /// When each server took messages, in order.
    taken: Vec<Vec<i64>>,
    /// Messages that were taken since the last turn, by server and minute.
    taken_lately: BTreeMap<(usize, i64), u64>,
    /// All that comes back of each server's messages.
    came_back: Vec<Vec<Back>>,
    /// What is on its way back: when it comes, and of which server.
    returning: BTreeMap<(i64, u64), (usize, Back)>,
    /// The turns of the control plane.
    turns: Vec<i64>,
    /// Where the audience is read.
    at: u64,
    done: u64,
    wire: VecDeque<(i64, LaneIx, CallId, Vec<Outgoing>)>,
    /// When messages were written, by server and domain.
    written: Vec<BTreeMap<&'static str, Vec<i64>>>,
    is_closed: bool,
    steps: u64,
}

fn server(at: usize) -> Key {
    Key::new("default", format!("s{at}").as_str())
}

fn number_of(server: &str) -> usize {
    server[1..].parse().expect("a number")
}

fn domain(person: u64) -> &'static str {
    let mut left = person.wrapping_mul(2_654_435_761) % 100;
    SPREAD
        .into_iter()
        .find(|(_, percent)| {
            let is_it = left < *percent;
            left = left.saturating_sub(*percent);
            is_it
        })
        .map_or("shop.example", |(name, _)| name)
}

impl Month {
    fn new(people: u64) -> Self {
        let start_ms = START_MS.div_euclid(DAY_MS) * DAY_MS;
        let size = usize::try_from(people).expect("small");
        Self {
            people,
            control: Control::new(people, start_ms),
            scheduler: Scheduler::new(7),
            routing: Routing::default(),
            now_ms: start_ms,
            start_ms,
            attempts: vec![0; size],
            accepted: vec![false; size],
            in_flight: BTreeSet::new(),
            due: BTreeSet::new(),
            leased: BTreeSet::new(),
            usage: BTreeMap::new(),
            taken: vec![Vec::new(); SERVERS],
            taken_lately: BTreeMap::new(),
            came_back: vec![Vec::new(); SERVERS],
            returning: BTreeMap::new(),
            turns: Vec::new(),
            at: 0,
            done: 0,
            wire: VecDeque::new(),
            written: vec![BTreeMap::new(); SERVERS],
            is_closed: false,
            steps: 0,
        }
    }

    fn day(&self) -> i64 {
        (self.now_ms - self.start_ms).div_euclid(DAY_MS)
    }

    /// A turn of the control plane: it learns what was taken and what came back, and the data plane what it decides.
    fn turn(&mut self) {
        for ((at, minute), accepted) in std::mem::take(&mut self.taken_lately) {
            self.control.note(at, Judged { accepted, ..Judged::default() }, minute * MINUTE_MS);
        }
        let later = self.returning.split_off(&(self.now_ms + 1, 0));
        for (at, back) in std::mem::replace(&mut self.returning, later).into_values() {
            let judged = match back.what {
                Returning::Bounce => Judged { bounced: 1, ..Judged::default() },
                Returning::Complaint => Judged { complained: 1, ..Judged::default() },
            };
            self.control.note(at, judged, back.taken_ms.div_euclid(MINUTE_MS) * MINUTE_MS);
        }
        self.turns.push(self.now_ms);
        let routing = self.control.turn(self.at > 0, self.now_ms);
        if routing != self.routing {
            self.routing = routing;
            self.apply();
        }
    }

    /// Hands over what is decided.
    fn apply(&mut self) {
        let usage = &self.usage;
        self.scheduler.apply(&self.routing, self.now_ms, |key| {
            usage.get(key).into_iter().flatten().map(|(minute, count)| (*minute, *count)).collect()
        });
        for lane in self.scheduler.lanes.keys().copied().collect::<Vec<_>>() {
            self.scheduler.set_carriage(lane, CARRIAGES[3]);
        }
    }

    /// A server takes a message, of which something may come back.
    fn take(&mut self, at: usize, person: u64) {
        let taken_ms = self.now_ms;
        self.taken[at].push(taken_ms);
        *self.taken_lately.entry((at, taken_ms.div_euclid(MINUTE_MS))).or_default() += 1;
        let hour = (taken_ms - self.start_ms).rem_euclid(DAY_MS) / HOUR_MS;
        let bad = BAD.iter().find(|(server, day, until, ..)| *server == at && *day == self.day() && hour < *until);
        let (what, per_thousand) = bad.map_or((Returning::Bounce, BOUNCES), |(.., what, per_thousand)| (*what, *per_thousand));
        if chance(7, "comes back", person) * 1_000.0 < per_thousand {
            #[allow(clippy::cast_possible_truncation)]
            let after_ms = MINUTE_MS + (chance(7, "after", person) * 40.0) as i64 * MINUTE_MS;
            let back = Back { what, taken_ms, at_ms: taken_ms + after_ms };
            self.came_back[at].push(back);
            self.returning.insert((back.at_ms, person), (at, back));
        }
    }

    /// Messages that a server was sent on a day.
    fn on_day(&self, at: usize, day: i64) -> u64 {
        let from = self.start_ms + day * DAY_MS;
        self.written[at].values().flatten().filter(|at| **at >= from && **at < from + DAY_MS).count() as u64
    }

    fn add_usage(&mut self, lane: LaneIx, domain: Option<&str>, minute: i64, by: i64) {
        let name = self.scheduler.lanes[&lane].reference.name.to_string();
        for key in std::iter::once(name).chain(domain.map(ToOwned::to_owned)) {
            let count = self.usage.entry(key).or_default().entry(minute).or_default();
            *count = count.saturating_add_signed(by);
        }
    }

    fn run(&mut self) {
        self.turn();
        let mut turned_ms = self.now_ms;
        while !self.is_closed {
            self.steps += 1;
            self.arrive();
            let actions = self.scheduler.step(self.now_ms);
            let has_news = !actions.is_empty();
            actions.into_iter().for_each(|action| self.act(action));
            let on_wire = self.wire.front().map_or(i64::MAX, |(at, ..)| *at);
            let turn = (turned_ms.div_euclid(TURN_MS) + 1) * TURN_MS;
            // A second is the longest that it sleeps though nothing is due.
            let wake = Some(self.scheduler.wake_at(self.now_ms)).filter(|at| has_news || *at < self.now_ms + 1000);
            let next = wake.unwrap_or(self.now_ms + 10_000).min(if has_news { self.now_ms } else { on_wire }).min(turn);
            self.now_ms = next.max(self.now_ms + 1);
            if self.now_ms >= turn {
                let day = (turned_ms - self.start_ms).div_euclid(DAY_MS);
                if self.day() > day {
                    self.control.end_day(self.start_ms / DAY_MS + day, std::array::from_fn(|at| self.on_day(at, day)));
                }
                turned_ms = self.now_ms;
                let is_killed = self.now_ms - self.start_ms == KILLED_AT_MS;
                if is_killed {
                    self.kill();
                }
                self.turn();
                if is_killed {
                    assert!(self.control.paused.iter().any(|pause| pause.ended_ms.is_none()), "no server is paused where it is killed");
                    self.apply();
                }
            }
            assert!(self.day() < DAYS, "{} of {} are mailed: {:?}", self.done, self.people, self.scheduler.report(self.now_ms, None));
        }
    }

    /// Killed, and started again: what is on the wire is not known, and is sent again only if that is wanted; here nothing is.
    fn kill(&mut self) {
        while !self.wire.is_empty() {
            self.now_ms += 1;
            self.arrive();
        }
        // Outcomes that were not written are lost with the process: these people are asked for again, as `Resend` would.
        let open: Vec<u64> = std::mem::take(&mut self.in_flight).into_iter().collect();
        for person in open {
            if self.accepted[usize::try_from(person).expect("small")] {
                self.done += 1;
            } else {
                self.due.insert((self.now_ms, person));
            }
        }
        self.release();
        self.scheduler = Scheduler::new(7);
        self.control.restart(self.now_ms);
    }

    /// What was fetched and not sent is due again.
    fn release(&mut self) {
        let now_ms = self.now_ms;
        self.due.extend(std::mem::take(&mut self.leased).into_iter().map(|person| (now_ms, person)));
    }

    fn act(&mut self, action: Action) {
        let now_ms = self.now_ms;
        match action {
            Action::Open(index) => {
                let mut opened =
                    Opened { started_ms: self.start_ms, next_due_ms: self.due.first().map(|(at, _)| *at), ..Opened::default() };
                opened.counts.accepted = self.done;
                opened.counts.deferred = self.due.len() as u64;
                self.scheduler.opened(index, opened, now_ms);
            }
            Action::StartFeeder(index) => {
                self.at = 0;
                self.scheduler.feeder_started(index);
            }
            Action::Commit(planned) => self.commit(planned),
            Action::StopFeeder(_) => {
                self.release();
                self.scheduler.released();
            }
            Action::RequestRows { campaign, count, passing } => self.feed(campaign, count, passing.as_deref()),
            Action::FetchDue { campaign, most } => {
                let due: Vec<(i64, u64)> = self.due.iter().take_while(|(at, _)| *at <= now_ms).take(most).copied().collect();
                for one in &due {
                    self.due.remove(one);
                    self.leased.insert(one.1);
                }
                self.scheduler.due_fetched(campaign, due.len(), self.due.first().map(|(at, _)| *at));
                let messages = due.iter().map(|(_, person)| self.message(*person, Some(*person))).collect();
                self.scheduler.prepared(campaign, messages, 0, due.len(), now_ms);
            }
            Action::Deliver { lane, call, batch } => self.wire.push_back((now_ms + 40, lane, call, batch)),
            Action::Ahead { lane, call, message } => self.wire.push_back((now_ms + 40, lane, call, vec![message])),
            Action::Close(index) => {
                assert_eq!((self.done, self.in_flight.len(), self.due.len()), (self.people, 0, 0), "it is closed too early");
                self.scheduler.closed(index, now_ms);
                self.is_closed = true;
            }
            Action::WatchAudience(_) | Action::Forget(_) | Action::ForgetServer(_) | Action::CountAdded(_) | Action::Resume { .. } => {}
            Action::ChangeRollout { .. } => panic!("it has none"),
            Action::ServerFailed { .. } | Action::Seek { .. } => panic!("{action:?}"),
        }
    }

    fn message(&self, person: u64, seq: Option<u64>) -> ReadyMessage {
        let attempt = u32::from(self.attempts[usize::try_from(person).expect("small")]) + 1;
        let prepared = Simulation::prepare(&format!("u{person}@{}", domain(person)), seq, attempt, None);
        ReadyMessage { since_ms: seq.map(|_| self.now_ms), ..prepared }
    }

    fn feed(&mut self, index: CampaignIx, count: usize, passing: Option<&Passing>) {
        let (mut messages, mut passed, mut rows) = (Vec::new(), BTreeSet::new(), 0);
        while messages.len() < count && self.at < self.people && rows < 10_000 {
            let person = self.at;
            self.at += 1;
            if self.attempts[usize::try_from(person).expect("small")] > 0 {
                continue;
            }
            if let Some(receiver) = passing.and_then(|passing| passing.passes(&format!("u@{}", domain(person)))) {
                passed.insert(receiver);
                rows += 1;
                continue;
            }
            messages.push(self.message(person, None));
        }
        self.scheduler.passed_over(index, passed);
        self.scheduler.prepared(index, messages, count, 0, self.now_ms);
        if self.at == self.people
            && let Some(campaign) = self.scheduler.campaign_mut(index)
        {
            (campaign.audience.is_read, campaign.feeder.requested) = (true, 0);
        }
    }

    fn commit(&mut self, planned: Planned) {
        let mut changes = CountChanges::default();
        for ended in &planned.outcomes {
            let person = ended.seq.expect("a row");
            let fate = ended.disposition.fate();
            self.leased.remove(&person);
            if ended.is_of_claim {
                assert!(self.in_flight.remove(&person), "an outcome without a claim");
            }
            changes.fates.push(FateChange {
                campaign: ended.campaign,
                fate: if ended.is_of_claim { RowFate::Claimed } else { RowFate::Deferred },
                lane: None,
                by: -1,
            });
            changes.fates.push(FateChange { campaign: ended.campaign, fate, lane: ended.lane, by: 1 });
            match &ended.disposition {
                Disposition::Accepted => {
                    self.done += 1;
                    let lane = ended.lane.expect("a server took it");
                    self.take(number_of(&self.scheduler.lanes[&lane].key.name), person);
                }
                Disposition::Deferred { at_ms, .. } | Disposition::Returned { at_ms, .. } => {
                    self.due.insert((*at_ms, person));
                    if ended.is_of_claim && matches!(ended.disposition, Disposition::Returned { .. }) {
                        self.attempts[usize::try_from(person).expect("small")] -= 1;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        let mut seqs = Vec::new();
        for claim in &planned.claims {
            let person: u64 = claim.message.recipient[1..].split('@').next().expect("a name").parse().expect("a number");
            let attempts = &mut self.attempts[usize::try_from(person).expect("small")];
            assert!(claim.message.seq.is_some() || *attempts == 0, "claimed twice");
            *attempts += 1;
            assert!(self.in_flight.insert(person), "claimed while in flight");
            if claim.message.seq.is_some() {
                self.leased.remove(&person);
                changes.fates.push(FateChange { campaign: claim.campaign, fate: RowFate::Deferred, lane: None, by: -1 });
            }
            changes.fates.push(FateChange { campaign: claim.campaign, fate: RowFate::Claimed, lane: None, by: 1 });
            let key = claim.domain.as_ref().map(|domain| domain.key.to_string());
            self.add_usage(claim.lane, key.as_deref(), planned.at_ms.div_euclid(60_000), 1);
            seqs.push(Some(person));
        }
        for moved in &planned.usage_moves {
            self.add_usage(moved.lane, moved.domain.as_deref(), moved.from_minute, -1);
            if let Some(to) = moved.to_minute {
                self.add_usage(moved.lane, moved.domain.as_deref(), to, 1);
            }
        }
        self.scheduler.committed(planned, &seqs, &changes, Duration::from_millis(1), self.now_ms);
    }

    fn arrive(&mut self) {
        while self.wire.front().is_some_and(|(at, ..)| *at <= self.now_ms)
            && let Some((at_ms, lane, call, batch)) = self.wire.pop_front()
        {
            let server = number_of(&self.scheduler.lanes[&lane].key.name);
            for message in batch {
                let person: u64 = message.rcpt_to[1..].split('@').next().expect("a name").parse().expect("a number");
                self.written[server].entry(domain(person)).or_default().push(at_ms - 20);
                // One in a hundred is greylisted the first time.
                let is_first = self.attempts[usize::try_from(person).expect("small")] == 1;
                let outcome = if person % 100 == 3 && is_first {
                    Outcome::deferred("450 later".to_owned(), None)
                } else {
                    let accepted = &mut self.accepted[usize::try_from(person).expect("small")];
                    assert!(!*accepted, "{} was mailed twice", message.rcpt_to);
                    *accepted = true;
                    Outcome::Accepted { reply: "250".to_owned() }
                };
                self.scheduler.outcome(
                    Delivered { message, outcome, round_trip: Some(Duration::from_millis(20)), signing: Duration::ZERO },
                    self.now_ms,
                );
            }
            self.scheduler.call_ended(lane, call);
        }
    }

    /// When messages were written to a server, to these domains or to all.
    fn written_to(&self, at: usize, is_its: impl Fn(&str) -> bool) -> Vec<i64> {
        let mut times: Vec<i64> = self.written[at].iter().filter(|(domain, _)| is_its(domain)).flat_map(|(_, at)| at.clone()).collect();
        times.sort_unstable();
        times
    }
}

/// Whether more than so many of these times lie within some stretch of this length.
fn exceeds(times: &[i64], most: u64, window_ms: i64) -> bool {
    let most = usize::try_from(most).expect("small");
    times.windows(most + 1).any(|stretch| stretch[most] - stretch[0] < window_ms)
}

#[test]
fn a_month_of_warm_up_goes_as_on_paper() {
    let people = std::env::var("MONTH").ok().and_then(|people| people.parse().ok()).unwrap_or(PEOPLE);
    let mut month = Month::new(people);
    month.run();
    let last = month.day();
    assert!(last > 20, "it is over on day {last} already");
    assert!(month.accepted.iter().all(|accepted| *accepted), "somebody is lost");

    // The guards trip by what comes back, once for each bad time, and each pause ends by itself.
    let paused = &month.control.paused;
    assert_eq!(*paused, month.pauses_on_paper());
    let tripped: Vec<(usize, Reason, i64)> = paused.iter().map(|p| (p.server, p.reason, (p.began_ms - month.start_ms) / DAY_MS)).collect();
    assert_eq!(tripped, [(3, Reason::ComplaintRateTooHigh, 13), (1, Reason::BounceRateTooHigh, 15)]);
    for pause in paused {
        let (ended_ms, times) = (pause.ended_ms.expect("it ended"), month.written_to(pause.server, |_| true));
        // What was on the wire when it began is written all the same.
        let meanwhile = times.iter().filter(|time| (pause.began_ms + 100..ended_ms).contains(time)).count();
        assert_eq!(meanwhile, 0, "s{} was sent messages while it was paused", pause.server);
        let first = |time: &&i64| **time >= ended_ms;
        let returned: Vec<i64> = times.iter().filter(first).take(usize::try_from(judged_from(people)).expect("small")).copied().collect();
        assert!(!returned.is_empty(), "s{} is not used again", pause.server);
        assert!(!exceeds(&returned, judged_from(people).div_ceil(360), 10_000), "s{} is given too much at first", pause.server);
    }

    // Somebody who was greylisted took two places.
    let deferred = (0..people).filter(|person| person % 100 == 3).count() as u64;
    let mut total = 0;
    for at in 0..SERVERS {
        for (day, expected) in (0..).zip(month.days_on_paper(at, last)) {
            let sent = month.on_day(at, day);
            let expected = expected.unwrap_or(sent);
            // On the last day it runs out of people.
            assert!(if day == last { sent <= expected } else { sent == expected }, "s{at} on day {day}: {sent} of {expected}");
            total += if day == last { sent } else { expected };
        }
    }
    assert_eq!(total, people + deferred);

    for at in 0..SERVERS {
        assert!(!exceeds(&month.written_to(at, |_| true), hourly(at, people, PER_SERVER), HOUR_MS), "s{at}");
        for (domains, percent) in PER_DOMAIN {
            let is_its =
                |domain: &str| domains.iter().any(|named| provider_of(named).is_some_and(|provider| provider.domains.contains(&domain)));
            assert!(!exceeds(&month.written_to(at, is_its), hourly(at, people, percent), HOUR_MS), "s{at}: {domains:?}");
        }
    }
    let pauses: Vec<String> = paused.iter().map(|pause| format!("s{} {}", pause.server, pause.reason)).collect();
    println!("{people} people, {total} messages, {} days, {} steps, paused: {pauses:?}", last + 1, month.steps);
}
