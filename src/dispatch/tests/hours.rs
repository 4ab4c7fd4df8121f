//! Sending hours in the simulated world, over a year and in several zones: never outside of them, never later than they allow, and
//! nobody twice.

use super::*;
use crate::{
    hours::{Hours, Span},
    zones::named,
};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const ZONES: [&str; 5] = ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland", "Australia/Lord_Howe"];
const PEOPLE: u64 = 40;

/// On work days, over midnight, across the changes of summer time, and at weekends.
const SPANS: [Span; 4] = [
    Span { days: [true, true, true, true, true, false, false], from: 8 * 60, to: 18 * 60 },
    Span { days: [true; 7], from: 22 * 60 + 30, to: 60 },
    Span { days: [true; 7], from: 90, to: 3 * 60 + 15 },
    Span { days: [false, false, false, false, false, true, true], from: 0, to: 24 * 60 },
];

impl Simulation {
    /// The hours of a recipient; those of somebody for whom it is not the time are an error.
    pub(super) fn window(&self, index: CampaignIx, address: &str) -> Result<Option<Window>, Asleep> {
        let hours = self.scheduler.campaign(index).and_then(|campaign| campaign.intent.hours.clone());
        let Some(hours) = hours.filter(|hours| hours.zone_field.is_some()) else { return Ok(None) };
        let zone = self.zone_of(address);
        let moment = hours.span.look(zone, self.now_ms);
        let opens_ms = hours.span.opens_at(zone, moment.until_ms);
        if moment.is_open {
            Ok(Some(Window { closes_ms: moment.until_ms, opens_ms, zone: zone.clone() }))
        } else {
            Err(Asleep::new(opens_ms, zone.clone()))
        }
    }

    /// The hours of a recipient; whoever is outside of them is passed over.
    pub(super) fn window_or_pass(&mut self, index: CampaignIx, address: &str) -> Result<Option<Window>, ()> {
        self.window(index, address).map_err(|asleep| self.scheduler.passed_asleep(index, asleep))
    }

    /// A deferred message waits for the hours of its recipient.
    pub(super) fn put_off(&mut self, index: CampaignIx, seq: u64, message: ReadyMessage, at_ms: i64) {
        let ReadyMessage { recipient, fields, refusals, .. } = message;
        self.scheduler.later(index, Later { seq, recipient, fields, refusals: refusals.to_json(), at_ms }, self.now_ms);
    }

    fn zone_of(&self, address: &str) -> &Zone {
        let number: String = address.chars().filter(char::is_ascii_digit).collect();
        &self.zones[number.parse::<usize>().expect("a number") % self.zones.len()]
    }

    /// Whether nothing happens before hours begin or a message is due, and when that is.
    fn sleeps_until(&self) -> Option<i64> {
        let is_busy = self.has_news
            || !(self.wire.is_empty() && self.fetches.is_empty() && self.closes.is_empty() && self.releases.is_empty())
            || self.committing.is_some()
            || !self.out_since.is_empty();
        let mut until = i64::MAX;
        for campaign in self.scheduler.campaigns.values() {
            let is_quiet = campaign.has_nothing_under_way();
            let sleeps = campaign.hours.is_shut || campaign.audience.is_read && campaign.hours.asleep.is_some();
            if is_busy || !is_quiet || !sleeps {
                return None;
            }
            let due = campaign.feeder.next_due_ms.filter(|_| campaign.phase == Phase::Feeding).unwrap_or(i64::MAX);
            until = until.min(campaign.hours_wake_ms()).min(due);
        }
        (until > self.now_ms).then_some(until)
    }

    /// Runs until the campaign is closed, through nights at a bound; `each` is asked at every step.
    fn run_days(&mut self, days: i64, mut each: impl FnMut(&mut Self)) {
        let end = self.now_ms + days * DAY_MS;
        while self.closed == 0 {
            self.step();
            each(self);
            match self.sleeps_until() {
                // A moment before: nothing may happen too early.
                Some(until) => self.now_ms = self.now_ms.max(until - 2),
                None => self.skip_idle(self.now_ms + 1000),
            }
            assert!(self.now_ms < end, "it does not end: {:?}", self.scheduler.report(self.now_ms, None));
        }
    }

    /// No message was claimed while the clock of its recipient showed a time outside the hours.
    fn hours_hold(&self, hours: &Hours) -> Result<(), String> {
        for (address, at_ms) in &self.claims {
            let zone = if hours.zone_field.is_some() { self.zone_of(address) } else { &hours.zone };
            if !hours.span.look(zone, *at_ms).is_open {
                return Err(format!("{address} is claimed at {}", zone.words(*at_ms)));
            }
        }
        Ok(())
    }
}

/// One campaign that begins at this time.
fn world(seed: u64, chances: Chances, rates: &[Rate], (span, is_each): (Span, bool), start_ms: i64) -> (Simulation, Hours) {
    let mut world = Simulation::new(seed, chances, &[("one", 1, rates)], &[("default", "spring", PEOPLE)], WhenOutcomeIsUnknown::Skip);
    world.zones = ZONES.iter().map(|name| named(name).expect(name)).collect();
    world.now_ms = start_ms;
    let hours = Hours { span, zone: world.zones[0].clone(), zone_field: is_each.then(|| "zone".into()) };
    for intent in world.routing.campaigns.values_mut() {
        *intent = Arc::new(CampaignIntent { hours: Some(Arc::new(hours.clone())), ..(**intent).clone() });
    }
    world.apply();
    (world, hours)
}

/// The starts: every week at another hour, and the eves of the changes of summer time in these zones.
fn starts() -> Vec<i64> {
    let weeks = (0..52).map(|week| START_MS + week * 7 * DAY_MS + (week * 5 % 24) * HOUR_MS);
    let changes = ["2026-03-08", "2026-03-29", "2026-04-05", "2026-09-27", "2026-10-04", "2026-10-25", "2026-11-01"];
    let eve = |day: &str| format!("{day}T00:00:00Z").parse::<jiff::Timestamp>().expect(day).as_millisecond() - 18 * HOUR_MS;
    weeks.chain(changes.into_iter().map(eve)).collect()
}

#[test]
fn over_a_year_everybody_is_mailed_as_soon_as_their_own_hours_begin() {
    for (at, start_ms) in (0_u64..).zip(starts()) {
        for (is_each, span) in
            [(true, SPANS[usize::try_from(at % 4).expect("small")]), (false, SPANS[usize::try_from((at + 1) % 4).expect("small")])]
        {
            let (mut world, hours) = world(at, Chances::default(), &[], (span, is_each), start_ms);
            world.run_days(9, |_| ());
            world.hours_hold(&hours).unwrap_or_else(|what| panic!("start {start_ms}: {what}"));
            assert_eq!(world.claims.len() as u64, PEOPLE, "start {start_ms}: once each");
            for (address, at_ms) in &world.claims {
                let zone = if is_each { world.zone_of(address) } else { &hours.zone };
                let first_ms = span.opens_at(zone, start_ms);
                assert!(
                    at_ms - first_ms < 5_000,
                    "start {start_ms}: {address} at {} and not at {}",
                    zone.words(*at_ms),
                    zone.words(first_ms)
                );
            }
        }
    }
}

#[test]
fn with_failures_and_kills_it_stays_within_the_hours_and_mails_nobody_twice() {
    let chances = Chances { rejected: 3, deferred: 15, server_failed: 3, unknown: 2, commit_fails: 5, suppressed: 2 };
    for (at, start_ms) in (0_u64..).zip(starts()).step_by(2) {
        let (span, is_each) = (SPANS[usize::try_from(at % 4).expect("small")], at % 3 != 0);
        let rates = [Rate { messages: 4, per: crate::resources::Duration::from_secs(600) }];
        let (mut world, hours) = world(at, chances, &rates, (span, is_each), start_ms);
        let (mut kills, mut claimed) = (0, 0);
        world.run_days(30, |world| {
            if world.claims.len() >= claimed + 6 && kills < 5 {
                (kills, claimed) = (kills + 1, world.claims.len());
                world.restart();
            }
        });
        world.hours_hold(&hours).unwrap_or_else(|what| panic!("start {start_ms}: {what}"));
        assert!(kills > 2, "start {start_ms}: {kills} kills");
        assert!(world.fates.values().all(|fate| fate.taken <= 1), "start {start_ms}: twice");
        let known: BTreeSet<&String> = world.rows.values().map(|row| &row.recipient).collect();
        assert_eq!(known.len() as u64, PEOPLE, "start {start_ms}: nobody is lost");
        assert!(world.rows.values().all(|row| row.fate.is_final()), "start {start_ms}");
    }
}

/// Forty people, four messages an hour and one hour a day: they do not fit into one day, and some wait in memory when their hours end.
fn slowly(seed: u64, mutant: Option<Mutant>, is_each: bool) -> Result<(), String> {
    let rates = [Rate { messages: 2, per: crate::resources::Duration::from_secs(1800) }];
    let span = Span { days: [true; 7], from: 9 * 60, to: 10 * 60 };
    let (mut world, hours) = world(seed, Chances::default(), &rates, (span, is_each), START_MS);
    world.scheduler.mutant = mutant;
    world.run_days(15, |_| ());
    if world.claims.len() as u64 != PEOPLE {
        return Err(format!("{} claims", world.claims.len()));
    }
    // Four on each day for the whole campaign, and in each zone.
    let days: BTreeSet<i64> = world.claims.iter().map(|(_, at_ms)| (at_ms - START_MS) / DAY_MS).collect();
    if days.len() != if is_each { 2 } else { 10 } {
        return Err(format!("on {} days", days.len()));
    }
    world.hours_hold(&hours)
}

#[test]
fn what_waits_when_the_hours_end_is_sent_when_they_begin_again() {
    for seed in 0..2 {
        for is_each in [true, false] {
            slowly(seed, None, is_each).unwrap_or_else(|what| panic!("seed {seed}, each {is_each}: {what}"));
        }
    }
    let found = (0..4).find(|seed| slowly(*seed, Some(Mutant::HoursAreJudgedAtReading), true).is_err());
    assert!(found.is_some(), "the mistake on purpose was not found");
}

#[test]
fn other_hours_hold_at_once() {
    let span = |from, to| Span { days: [true; 7], from, to };
    // It is 16:00 in UTC, 17:00 in Berlin.
    let (mut world, hours) = world(1, Chances::default(), &[], (span(60, 120), false), START_MS);
    let want = |world: &mut Simulation, hours: Option<Hours>| {
        for intent in world.routing.campaigns.values_mut() {
            *intent = Arc::new(CampaignIntent { hours: hours.clone().map(Arc::new), ..(**intent).clone() });
        }
        world.apply();
    };
    (0..3_000).for_each(|_| world.step());
    assert_eq!(world.claims.len(), 0);
    want(&mut world, Some(Hours { span: span(60, 180), ..hours.clone() }));
    (0..3_000).for_each(|_| world.step());
    assert_eq!(world.claims.len(), 0, "still outside");
    want(&mut world, Some(Hours { span: span(16 * 60, 18 * 60), ..hours }));
    (0..3_000).for_each(|_| world.step());
    assert_eq!(world.claims.len() as u64, PEOPLE);
    assert!(world.fates.values().all(|fate| fate.taken == 1));
}
