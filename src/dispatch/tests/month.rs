//! A month of warm-up: four servers on different days of theirs, limits for receiving domains, two guards that trip, and a kill.
//! `MONTH=5000000 cargo test --release --lib month` sends more than usual.

use super::*;
use crate::{
    decide::warmup::Progress,
    report::DayUsed,
    resources::{mailbox_providers::provider_of, sending_server::Warmup},
};

/// People who are mailed, unless `MONTH` says otherwise.
const PEOPLE: u64 = 50_000;
/// The schedules are made for this many.
const PEOPLE_AT_FULL: u64 = 5_000_000;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const DAYS: i64 = 31;
/// The days of a schedule that a server has behind it.
const BEHIND: [usize; 4] = [0, 10, 12, 4];
/// The server that is taken out, on which day, and until which hour of it: bounces were over the line.
const TRIPS: [(usize, i64, i64); 2] = [(1, 6, 18), (3, 13, 24)];
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

struct Month {
    people: u64,
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
    history: Vec<Vec<DayUsed>>,
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
        let names: Vec<Key> = (0..BEHIND.len()).map(server).collect();
        let mut routing = Routing::default();
        let mut history = Vec::new();
        for (at, key) in names.iter().enumerate() {
            let most = schedule(at, people).iter().take(BEHIND[at] + 31).max().copied().unwrap_or(1);
            // Enough for a day's limit, but not at once.
            let hourly = |percent: u64| {
                vec![Rate { messages: (most * percent / 100 / 24).max(1), per: crate::resources::Duration::from_secs(3600) }]
            };
            let limit = |domains: &[&str], percent| DomainIntent {
                domains: domains.iter().map(|domain| (*domain).into()).collect(),
                rates: hourly(percent),
            };
            let mut intent = server_intent(&[Rate { messages: 100_000, per: crate::resources::Duration::from_secs(1) }]);
            intent.per_domain = [limit(&["gmail.com"], 130), limit(&["yahoo.com", "icloud.com"], 110), limit(&["outlook.com"], 110)].into();
            intent.connections = Some(20);
            routing.servers.insert(key.clone(), intent);
            let first = start_ms / DAY_MS - i64::try_from(BEHIND[at]).expect("small");
            let days = schedule(at, people).into_iter().take(BEHIND[at]).zip(first..);
            history.push(days.map(|(messages, day)| DayUsed { day, messages }).collect());
        }
        let mut campaign = campaign_intent(work(1));
        campaign.servers = names.iter().map(|key| (key.clone(), 1)).collect();
        campaign.candidates = names.into();
        routing.campaigns.insert(Key::new("default", "month"), Arc::new(campaign));
        let size = usize::try_from(people).expect("small");
        Self {
            people,
            scheduler: Scheduler::new(7),
            routing,
            now_ms: start_ms,
            start_ms,
            attempts: vec![0; size],
            accepted: vec![false; size],
            in_flight: BTreeSet::new(),
            due: BTreeSet::new(),
            leased: BTreeSet::new(),
            usage: BTreeMap::new(),
            history,
            at: 0,
            done: 0,
            wire: VecDeque::new(),
            written: vec![BTreeMap::new(); BEHIND.len()],
            is_closed: false,
            steps: 0,
        }
    }

    fn day(&self) -> i64 {
        (self.now_ms - self.start_ms).div_euclid(DAY_MS)
    }

    fn is_out(&self, at: usize) -> bool {
        let hour = (self.now_ms - self.start_ms).rem_euclid(DAY_MS) / HOUR_MS;
        TRIPS.iter().any(|(server, day, until)| *server == at && *day == self.day() && hour < *until)
    }

    /// What the control plane would hand over now.
    fn apply(&mut self) {
        for (at, behind) in BEHIND.into_iter().enumerate() {
            let first = jiff::Timestamp::from_millisecond(self.start_ms - i64::try_from(behind).expect("small") * DAY_MS).expect("a time");
            let (first, schedule) = (first.to_zoned(jiff::tz::TimeZone::UTC).date(), schedule(at, self.people));
            let warmup: Warmup =
                serde_json::from_value(serde_json::json!({"startDate": first.to_string(), "schedule": schedule})).expect("a warm-up");
            let tripped = TRIPS.iter().filter(|(server, ..)| *server == at);
            let held = tripped.map(|(_, day, _)| self.start_ms / DAY_MS + day).collect();
            let limit = Progress::of(&warmup, &self.history[at], &held, self.now_ms).limit();
            let is_out = self.is_out(at);
            let intent = self.routing.servers.get_mut(&server(at)).expect("a server");
            (intent.warmup_today, intent.routed) = (limit, !is_out);
        }
        let (usage, routing) = (&self.usage, self.routing.clone());
        self.scheduler
            .apply(&routing, self.now_ms, |key| usage.get(key).into_iter().flatten().map(|(minute, count)| (*minute, *count)).collect());
        for lane in self.scheduler.lanes.keys().copied().collect::<Vec<_>>() {
            self.scheduler.set_carriage(lane, CARRIAGES[3]);
        }
    }

    /// A day is over: what was sent on it is known.
    fn end_day(&mut self, day: i64) {
        for at in 0..BEHIND.len() {
            let messages = self.on_day(at, day);
            self.history[at].push(DayUsed { day: self.start_ms / DAY_MS + day, messages });
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
        self.apply();
        let mut applied_ms = self.now_ms;
        while !self.is_closed {
            self.steps += 1;
            self.arrive();
            let actions = self.scheduler.step(self.now_ms);
            let has_news = !actions.is_empty();
            actions.into_iter().for_each(|action| self.act(action));
            let on_wire = self.wire.front().map_or(i64::MAX, |(at, ..)| *at);
            let hour = (applied_ms.div_euclid(HOUR_MS) + 1) * HOUR_MS;
            // A second is the longest that it sleeps though nothing is due.
            let wake = Some(self.scheduler.wake_at(self.now_ms)).filter(|at| has_news || *at < self.now_ms + 1000);
            let next = wake.unwrap_or(self.now_ms + 10_000).min(if has_news { self.now_ms } else { on_wire }).min(hour);
            self.now_ms = next.max(self.now_ms + 1);
            if self.now_ms >= hour {
                if self.day() > (applied_ms - self.start_ms).div_euclid(DAY_MS) {
                    self.end_day(self.day() - 1);
                }
                applied_ms = self.now_ms;
                if self.now_ms - self.start_ms == 9 * DAY_MS + 7 * HOUR_MS {
                    self.kill();
                }
                self.apply();
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
            (campaign.audience_done, campaign.requested) = (true, 0);
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
                Disposition::Accepted => self.done += 1,
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
            let server: usize = self.scheduler.lanes[&lane].key.name[1..].parse().expect("a number");
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
                self.scheduler.outcome(Delivered { message, outcome, round_trip: Some(Duration::from_millis(20)) }, self.now_ms);
            }
            self.scheduler.call_ended(lane, call);
        }
    }

    /// What each server should have sent on each day, reckoned without any of the code above: the limit of its day, which comes once for
    /// each day before it that counted.
    fn on_paper(&self) -> Vec<Vec<u64>> {
        (0..BEHIND.len())
            .map(|at| {
                let limits = schedule(at, self.people);
                let mut step = BEHIND[at];
                let day = |day| {
                    let trip = TRIPS.iter().find(|(server, tripped, _)| *server == at && *tripped == day);
                    let sent = if trip.is_some_and(|(_, _, until)| *until == 24) { 0 } else { limits[step] };
                    step += usize::from(trip.is_none());
                    sent
                };
                (0..DAYS).map(day).collect()
            })
            .collect()
    }
}

#[test]
fn a_month_of_warm_up_goes_as_on_paper() {
    let people = std::env::var("MONTH").ok().and_then(|people| people.parse().ok()).unwrap_or(PEOPLE);
    let mut month = Month::new(people);
    month.run();
    let last = month.day();
    assert!(last > 20, "it is over on day {last} already");
    assert!(month.accepted.iter().all(|accepted| *accepted), "somebody is lost");
    // Somebody who was greylisted took two places.
    let deferred = (0..people).filter(|person| person % 100 == 3).count() as u64;
    let mut total = 0;
    for (at, paper) in month.on_paper().into_iter().enumerate() {
        for (day, expected) in (0..=last).zip(paper) {
            let sent = month.on_day(at, day);
            total += sent;
            // On its last day it runs out of people.
            assert!(if day == last { sent <= expected } else { sent == expected }, "s{at} on day {day}: {sent} of {expected}");
        }
    }
    assert_eq!(total, people + deferred);
    for (at, written) in month.written.iter().enumerate() {
        for limit in &*month.routing.servers[&server(at)].per_domain {
            let is_its = |domain: &str| {
                limit.domains.iter().any(|named| provider_of(named).is_some_and(|provider| provider.domains.contains(&domain)))
            };
            let mut times: Vec<i64> = written.iter().filter(|(domain, _)| is_its(domain)).flat_map(|(_, at)| at.iter().copied()).collect();
            times.sort_unstable();
            let most = usize::try_from(limit.rates[0].messages).expect("small");
            assert!(!times.windows(most + 1).any(|stretch| stretch[most] - stretch[0] < HOUR_MS), "s{at}: {:?}", limit.domains);
        }
    }
    println!("{people} people, {total} messages, {} days, {} steps", last + 1, month.steps);
}
