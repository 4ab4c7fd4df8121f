//! The control plane of the month: the decision over its objects, and what the ledger knows of its servers.

use std::{collections::BTreeMap, sync::Arc};

use super::{DAY_MS, HOUR_MS, SERVERS, schedule, server};
use crate::{
    decide::{CampaignInput, InLedger, Observations, PlanInput, ProbeResult, ServerInput, ServerObservation, World, decide, pauses},
    feedback::{Change, Judged},
    ledger::{Results, StandingOf},
    meta::Reason,
    report::{DayUsed, Report},
    resources::Key,
    routing::Routing,
    test_support::{object, work},
};

/// The days of a schedule that each server has behind it.
pub(super) const BEHIND: [usize; SERVERS] = [0, 10, 12, 4];
/// After how many hours a pause of each server ends by itself.
pub(super) const RESUME_AFTER_HOURS: [i64; SERVERS] = [6, 6, 6, 24];
/// What each server may be given in an hour for these domains, in percent of an even share of its largest day: enough for a day's limit,
/// but not at once.
pub(super) const PER_DOMAIN: [(&[&str], u64); 3] = [(&["gmail.com"], 130), (&["yahoo.com", "icloud.com"], 110), (&["outlook.com"], 110)];
/// The same for all domains.
pub(super) const PER_SERVER: u64 = 200;

/// A pause: of which server, why, and from when to when it held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Paused {
    pub(super) server: usize,
    pub(super) reason: Reason,
    pub(super) began_ms: i64,
    pub(super) ended_ms: Option<i64>,
}

pub(super) struct Control {
    world: World,
    observed: Observations,
    results: Results,
    /// All pauses that were recorded.
    pub(super) paused: Vec<Paused>,
}

/// The largest limit of a day that a server may come to within the month.
fn most(at: usize, people: u64) -> u64 {
    schedule(at, people).into_iter().take(BEHIND[at] + 31).max().unwrap_or(1)
}

/// The messages an hour that are a part of an even share of a server's largest day.
pub(super) fn hourly(at: usize, people: u64, percent: u64) -> u64 {
    (most(at, people) * percent / 100 / 24).max(1)
}

/// From how many messages on a server is judged.
pub(super) fn judged_from(people: u64) -> u64 {
    (people / 1_000).max(40)
}

fn server_spec(at: usize, people: u64, start_ms: i64) -> String {
    let first = start_ms - i64::try_from(BEHIND[at]).expect("small") * DAY_MS;
    let first = jiff::Timestamp::from_millisecond(first).expect("a time").to_zoned(jiff::tz::TimeZone::UTC).date();
    let domains = PER_DOMAIN
        .map(|(domains, percent)| format!("{{domains: {domains:?}, rates: [{{messages: {}, per: 1h}}]}}", hourly(at, people, percent)));
    format!(
        "{{provider: {{smtp: {{host: relay{at}.example.com, encryption: None}}}},
          limits: {{connections: 20, rates: [{{messages: 100000, per: 1s}}, {{messages: {}, per: 1h}}], perDomain: [{}]}},
          warmup: {{startDate: {first}, schedule: {:?}}},
          feedback: {{pauseWhen: {{afterMessages: {}, resumeAfter: {}h}}}}}}",
        hourly(at, people, PER_SERVER),
        domains.join(", "),
        schedule(at, people),
        judged_from(people),
        RESUME_AFTER_HOURS[at],
    )
}

impl Control {
    pub(super) fn new(people: u64, start_ms: i64) -> Self {
        let mut world = World::default();
        let mut report = Report::default();
        for (at, behind) in BEHIND.into_iter().enumerate() {
            let spec = server_spec(at, people, start_ms);
            world.servers.insert(server(at), ServerInput::new(Arc::new(object("SendingServer", &server(at).name, &spec)), Ok(1)));
            let first = start_ms / DAY_MS - i64::try_from(behind).expect("small");
            let days = schedule(at, people).into_iter().take(behind).zip(first..);
            let days = days.map(|(messages, day)| DayUsed { day, messages }).collect();
            Arc::make_mut(&mut report.days).insert(server(at), days);
        }
        let names: Vec<String> = world.servers.keys().map(|key| format!("{{name: {}}}", key.name)).collect();
        let plan = Arc::new(object("Plan", "all", &format!("{{servers: [{}]}}", names.join(", "))));
        world.plans.insert(Key::new("default", "all"), PlanInput { object: plan, stale: None });
        let spec = "{planRef: {name: all}, from: {address: news@example.com}, subject: Hi, content: {text: Hi}, audience: {inline: [{email: u@gmail.com}]}}";
        let campaign = CampaignInput::new(Arc::new(object("Campaign", "month", spec)), Ok(Arc::new(work(1))));
        world.campaigns.insert(Key::new("default", "month"), campaign);
        let mut control =
            Self { world, observed: Observations::default(), results: Results::new().expect("a database"), paused: Vec::new() };
        control.observed.report = Arc::new(report);
        control.restart(start_ms);
        control
    }

    /// A new process: of what it knew, what the ledger knows is left, and servers are probed.
    pub(super) fn restart(&mut self, now_ms: i64) {
        for (key, input) in &mut self.world.servers {
            input.past = crate::decide::ServerPast::default();
            let good = ServerObservation {
                server_hash: 1,
                last_probe: Some(ProbeResult::Succeeded),
                last_probe_ms: now_ms,
                probes_good: true,
                ..ServerObservation::default()
            };
            self.observed.servers.insert(key.clone(), good);
        }
    }

    /// What came of messages that a server took at this time.
    pub(super) fn note(&self, at: usize, judged: Judged, at_ms: i64) {
        self.results.note(&server(at), "default", judged, at_ms).expect("noted");
    }

    /// A day is over, on which each server sent so many.
    pub(super) fn end_day(&mut self, day: i64, messages: [u64; SERVERS]) {
        let days = &mut Arc::make_mut(&mut self.observed.report).days;
        for (at, messages) in messages.into_iter().enumerate() {
            Arc::make_mut(days).get_mut(&server(at)).expect("a server").push(DayUsed { day, messages });
        }
    }

    /// Reads what the ledger knows, as the engine does before it judges.
    fn read(&mut self, now_ms: i64) {
        let asked: Vec<StandingOf> =
            self.world.servers.iter().map(|(key, input)| StandingOf::new(key, pauses::asks_for(&input.object.spec, now_ms))).collect();
        let mut known: BTreeMap<_, _> = self.results.standings(&asked).expect("read");
        for (key, input) in &mut self.world.servers {
            input.past.standing = known.remove(&key.to_string()).unwrap_or_default().standing;
        }
    }

    /// A turn of the engine: what comes back is judged, pauses begin and end, and the data plane is told.
    pub(super) fn turn(&mut self, has_begun: bool, now_ms: i64) -> Routing {
        let campaign = self.world.campaigns.values_mut().next().expect("the campaign");
        campaign.has_sent = has_begun;
        campaign.in_ledger = if has_begun { InLedger::Begun } else { InLedger::Absent };
        self.read(now_ms);
        loop {
            let changes = pauses::changes(&self.world, now_ms);
            if changes.is_empty() {
                break;
            }
            for change in changes {
                self.results.change(&change, now_ms).expect("changed");
                let at = super::number_of(&change.server.name);
                match change.what {
                    Change::Begins(pause) => {
                        assert_eq!(pause.namespace, None, "nobody else uses it");
                        self.paused.push(Paused { server: at, reason: pause.reason, began_ms: now_ms, ended_ms: None });
                    }
                    Change::End => {
                        let open = self.paused.iter_mut().find(|pause| pause.server == at && pause.ended_ms.is_none());
                        open.expect("a pause that ends has begun").ended_ms = Some(now_ms);
                    }
                    Change::Resumes { .. } => panic!("nobody asked"),
                }
            }
            self.read(now_ms);
        }
        decide(&self.world, &self.observed, now_ms).routing
    }
}

/// How long a pause of a server lasts, milliseconds.
pub(super) fn resumes_after_ms(at: usize) -> i64 {
    RESUME_AFTER_HOURS[at] * HOUR_MS
}
