//! Small worlds in simulated time, of which one can reckon on paper what happens.

use std::sync::Arc;

use super::*;
use crate::{
    audience::Recipient,
    decide::{CampaignInput, PlanInput, ServerInput},
    resources::{Campaign, fate::Fate},
    routing::Work,
    test_support::object,
    zones,
};

/// 2026-12-01T00:00:00Z, a Tuesday.
const START_MS: i64 = 1_796_083_200_000;
const DAY_MS: i64 = 24 * HOUR_MS;

fn key(name: &str) -> Key {
    Key::new("default", name)
}

/// A world of servers, each with its weight and more of its spec, and of one campaign with more of its spec.
struct Small {
    servers: Vec<(&'static str, u32, &'static str)>,
    campaign: String,
    people: u64,
    assumed: Assumptions,
    start: Start,
    /// A server that is paused, and until when.
    paused: Option<(&'static str, i64)>,
    /// A person's word that the campaign goes on, in its annotation.
    resume: Option<&'static str>,
}

impl Small {
    fn new(servers: &[(&'static str, u32, &'static str)], campaign: &str, people: u64) -> Self {
        let assumed = Assumptions {
            from_ms: START_MS,
            until_ms: START_MS + 90 * DAY_MS,
            round_trip_ms: 50,
            outages: Vec::new(),
            rejections: Vec::new(),
            promotes: false,
            seed: 7,
        };
        Self {
            servers: servers.to_vec(),
            campaign: campaign.to_owned(),
            people,
            assumed,
            start: Start::default(),
            paused: None,
            resume: None,
        }
    }

    fn outage(mut self, server: &str, from_ms: i64, lasts_ms: i64) -> Self {
        let from_ms = START_MS + from_ms;
        self.assumed.outages.push(Outage { server: key(server), from_ms, to_ms: from_ms + lasts_ms });
        self
    }

    fn rejects(mut self, server: Option<&str>, percent: f64) -> Self {
        self.assumed.rejections.push(Rejection { server: server.map(key), percent });
        self
    }

    fn run(&self) -> (CampaignResult, Simulated) {
        let mut world = World::default();
        for (name, _, more) in &self.servers {
            let spec = format!("{{provider: {{smtp: {{host: {name}.example.com, encryption: None}}}}{more}}}");
            let mut input = ServerInput::new(Arc::new(object("SendingServer", name, &spec)), Ok(1));
            if let Some((_, ends_ms)) = self.paused.filter(|(paused, _)| paused == name) {
                let reason = crate::resources::Reason::BounceRateTooHigh;
                let pause = crate::feedback::Pause { namespace: None, reason, message: String::new(), ends_at_ms: Some(ends_ms) };
                input.past.standing.pauses.push(pause);
            }
            world.servers.insert(key(name), input);
        }
        let granted: Vec<String> = self.servers.iter().map(|(name, weight, _)| format!("{{name: {name}, weight: {weight}}}")).collect();
        let plan = Arc::new(object("Plan", "all", &format!("{{servers: [{}]}}", granted.join(", "))));
        world.plans.insert(key("all"), PlanInput { object: plan, stale: None });
        let spec = format!(
            "{{planRef: {{name: all}}, from: {{address: news@example.com}}, subject: Hi, content: {{text: Hi}}, audience: {{inline: [{{email: u@gmail.com}}]}}{}}}",
            self.campaign
        );
        let campaign: Arc<Campaign> = Arc::new(object("Campaign", "spring", &spec));
        let work = Work::of(&campaign.spec, 1, "news@example.com".into());
        let mut input = CampaignInput::new(campaign.clone(), Ok(Arc::new(work)));
        input.when = Ok(zones::when(&campaign.spec).expect("good times"));
        if let Some(begun) = &self.start.begun {
            input.in_ledger = crate::decide::InLedger::Begun;
            input.resume_handled = begun.resume_handled.clone();
            input.rollout.clone_from(&begun.rollout);
        }
        input.resume = self.resume.map(str::to_owned);
        world.campaigns.insert(key("spring"), input);
        let mut start = self.start.clone();
        if start.people.is_empty() {
            start.people = Crowd::new(None).expect("good");
            start.people.add_anybody(self.people);
        }
        let starts = BTreeMap::from([(key("spring"), start)]);
        let found = simulate(world, starts, Past::default(), &self.assumed, |_| ControlFlow::Continue(())).expect("memory");
        let result = found.campaigns[&key("spring")].clone();
        let ended: u64 = Fate::ALL.into_iter().map(|fate| result.counts.of(fate)).sum();
        assert!(ended <= result.people, "{ended} of {}", result.people);
        assert_eq!(found.taken.values().flat_map(BTreeMap::values).sum::<u64>(), result.accepted());
        (result, found)
    }
}

fn accepted(result: &CampaignResult, server: &str) -> u64 {
    result.servers.get(&key(server)).map_or(0, |server| server.accepted)
}

fn states(found: &Simulated, object: &str) -> Vec<String> {
    let of = found.happenings.iter().filter(|happening| happening.object == key(object).to_string());
    of.map(|happening| happening.state.clone()).collect()
}

#[test]
fn everybody_is_mailed_once_by_weights() {
    let world = Small::new(&[("one", 3, ""), ("two", 1, "")], "", 20_000);
    let (result, found) = world.run();
    assert_eq!((result.state, result.accepted(), result.counts.accepted), (Some(CampaignState::Completed), 20_000, 20_000));
    assert!(accepted(&result, "one").abs_diff(15_000) < 300, "{result:?}");
    assert_eq!(result.servers[&key("two")].weight_percent, Some(25.0));
    assert_eq!(states(&found, "spring").last().map(String::as_str), Some("Completed"));
    // The same seed gives the same picks, and another one others.
    assert_eq!(accepted(&world.run().0, "one"), accepted(&result, "one"));
    let other = Small { assumed: Assumptions { seed: 8, ..world.assumed.clone() }, ..world };
    assert_ne!(accepted(&other.run().0, "one"), accepted(&result, "one"));
}

#[test]
fn limits_say_how_long_it_takes() {
    let world = Small::new(&[("one", 1, ", limits: {rates: [{messages: 1000, per: 1h}]}")], "", 5_000);
    let (result, found) = world.run();
    let lasted = result.completed_ms.expect("it completed") - result.started_ms.expect("it began");
    // A thousand at once, and the fifth thousand four hours later.
    assert!((4 * HOUR_MS..4 * HOUR_MS + 5 * MINUTE_MS).contains(&lasted), "{lasted} ms");
    let by_hour: Vec<u64> = found.by_server(HOUR_MS).values().map(|counts| counts.values().sum()).collect();
    assert!(by_hour.iter().all(|count| *count <= 2_000), "{by_hour:?}");
}

#[test]
fn warm_up_allows_each_day_what_its_schedule_says() {
    let warmup = ", warmup: {startDate: 2026-12-01, schedule: [100, 200, 400, 800, 1600]}";
    let (result, found) = Small::new(&[("new", 1, warmup)], "", 3_100).run();
    let days: Vec<u64> = found.by_server(DAY_MS).values().map(|counts| counts.values().sum()).collect();
    assert_eq!((result.state, days), (Some(CampaignState::Completed), vec![100, 200, 400, 800, 1_600]));
}

#[test]
fn while_a_server_is_away_the_others_take_its_share_and_then_it_comes_back() {
    let limits = ", limits: {rates: [{messages: 10, per: 1s}]}";
    let world = Small::new(&[("one", 1, limits), ("two", 1, limits)], "", 20_000).outage("one", 2 * MINUTE_MS, 5 * MINUTE_MS);
    let (result, found) = world.run();
    assert_eq!((result.state, result.counts.accepted), (Some(CampaignState::Completed), 20_000));
    let minutes = found.by_server(MINUTE_MS);
    let in_minute = |minute: i64, server: &str| {
        minutes.get(&(START_MS + minute * MINUTE_MS)).and_then(|counts| counts.get(&key(server))).copied().unwrap_or(0)
    };
    assert!((3..7).all(|minute| in_minute(minute, "one") == 0 && in_minute(minute, "two") > 500), "{minutes:?}");
    assert!((0..2).chain(9..12).all(|minute| in_minute(minute, "one") > 500), "{minutes:?}");
    assert_eq!(states(&found, "one"), ["Inactive", "Active"]);
    assert_eq!(states(&found, "two"), Vec::<String>::new());
}

#[test]
fn a_narrowing_is_kept_though_its_only_server_is_away() {
    let world = Small::new(&[("one", 1, ""), ("two", 1, "")], ", servers: [{name: one}]", 500).outage("one", 0, HOUR_MS);
    let (result, _) = world.run();
    assert_eq!((accepted(&result, "two"), accepted(&result, "one")), (0, 500));
    assert!(result.started_ms.expect("it began") >= START_MS, "{result:?}");
    assert!(result.completed_ms.expect("it completed") >= START_MS + HOUR_MS, "{result:?}");
}

#[test]
fn dead_addresses_stop_a_campaign_by_its_guard() {
    let limits = ", limits: {rates: [{messages: 50, per: 1s}]}";
    let (result, _) = Small::new(&[("one", 1, limits)], "", 20_000).rejects(None, 15.0).run();
    assert_eq!(result.state, Some(CampaignState::Stopped), "{}", result.why);
    assert!((20..=200).contains(&result.counts.rejected), "{:?}", result.counts);
    assert!(result.why.contains("mailfleet resume"), "{}", result.why);
    // A share that no guard minds is rejected and no more.
    let (result, _) = Small::new(&[("one", 1, limits)], "", 20_000).rejects(None, 3.0).run();
    assert_eq!(result.state, Some(CampaignState::Completed), "{}", result.why);
    assert!(result.counts.rejected.abs_diff(600) < 120, "{:?}", result.counts);
    assert_eq!(result.counts.accepted + result.counts.rejected, 20_000);
}

#[test]
fn a_rollout_waits_for_a_person_unless_that_is_assumed() {
    let rollout = ", rollout: {steps: [{percent: 10, minMessages: 50, pause: {}}]}";
    let waits = Small::new(&[("one", 1, "")], rollout, 5_000);
    let (result, _) = waits.run();
    assert!(result.waits_for_person && result.accepted().abs_diff(500) < 100, "{result:?}");
    let promoted = Small { assumed: Assumptions { promotes: true, ..waits.assumed.clone() }, ..waits };
    let (result, _) = promoted.run();
    assert_eq!((result.state, result.counts.accepted), (Some(CampaignState::Completed), 5_000));
    // One with a time goes on by itself.
    let timed = ", rollout: {steps: [{percent: 10, minMessages: 50, pause: {duration: 2h}}]}";
    let (result, _) = Small::new(&[("one", 1, "")], timed, 5_000).run();
    assert_eq!(result.state, Some(CampaignState::Completed), "{}", result.why);
    assert!(result.completed_ms.expect("it completed") - START_MS >= 2 * HOUR_MS);
}

#[test]
fn a_run_that_has_begun_goes_on_from_where_it_is() {
    let mut world = Small::new(&[("one", 1, "")], "", 1_000);
    let mut begun = Begun { started_ms: START_MS - HOUR_MS, has_sent: true, ..Begun::default() };
    (begun.counts.accepted, begun.counts.rejected) = (400, 20);
    world.start.begun = Some(begun);
    let (result, _) = world.run();
    assert_eq!((result.counts.accepted, result.counts.rejected, result.accepted()), (980, 20, 580));
    assert_eq!(result.started_ms, Some(START_MS - HOUR_MS));
}

#[test]
fn what_failed_before_and_words_of_persons_hold_nothing_up() {
    // Recipients whose templates failed are tried again.
    let mut world = Small::new(&[("one", 1, "")], "", 1_000);
    let mut begun = Begun { started_ms: START_MS - HOUR_MS, has_sent: true, ..Begun::default() };
    (begun.counts.accepted, begun.counts.render_failed) = (400, 3);
    world.start.begun = Some(begun.clone());
    let (result, _) = world.run();
    assert_eq!(
        (result.state, result.counts.accepted, result.counts.render_failed),
        (Some(CampaignState::Completed), 1_000, 0),
        "{}",
        result.why
    );
    // A request to resume is carried out by a run that goes on, and was there before one that begins.
    world.resume = Some("now");
    assert_eq!(world.run().0.state, Some(CampaignState::Completed));
    begun.resume_handled.note("before");
    world.start.begun = Some(begun);
    assert_eq!(world.run().0.state, Some(CampaignState::Completed));
    let rollout = ", rollout: {steps: [{percent: 10, minMessages: 50, pause: {duration: 2h}}]}";
    let begins = Small { resume: Some("now"), ..Small::new(&[("one", 1, "")], rollout, 5_000) };
    let (result, _) = begins.run();
    assert_eq!((result.state, result.counts.accepted), (Some(CampaignState::Completed), 5_000), "{}", result.why);
}

#[test]
fn a_rollout_goes_on_from_its_step() {
    let rollout = ", rollout: {steps: [{percent: 10, minMessages: 50, pause: {}}]}";
    let mut world = Small::new(&[("one", 1, "")], rollout, 5_000);
    let at_ms = START_MS - HOUR_MS;
    let share = crate::resources::Percent::parse("10").expect("good");
    let mut begun = Begun { started_ms: at_ms, has_sent: true, ..Begun::default() };
    begun.counts.accepted = 480;
    begun.rollout = Some(crate::resources::rollout::Reached { share, began_ms: at_ms, ..Default::default() });
    world.start.begun = Some(begun);
    let (result, _) = world.run();
    // About a tenth of all, and not another tenth.
    assert!(result.waits_for_person && result.counts.accepted.abs_diff(500) < 100, "{result:?}");
}

#[test]
fn a_pause_of_before_holds_until_it_ends() {
    let feedback = ", feedback: {pauseWhen: {bouncePercent: \"5\", resumeAfter: 6h}}";
    let mut world = Small::new(&[("one", 1, feedback), ("two", 1, ", limits: {rates: [{messages: 100, per: 1h}]}")], "", 2_000);
    world.paused = Some(("one", START_MS + 6 * HOUR_MS));
    let (result, found) = world.run();
    assert_eq!((result.state, result.counts.accepted), (Some(CampaignState::Completed), 2_000), "{}", result.why);
    let hours = found.by_server(HOUR_MS);
    let took = |hour: i64| hours.get(&(START_MS + hour * HOUR_MS)).and_then(|counts| counts.get(&key("one"))).copied().unwrap_or(0);
    assert!((0..6).all(|hour| took(hour) == 0) && (6..48).any(|hour| took(hour) > 0), "{hours:?}");
}

#[test]
fn each_is_mailed_by_their_own_clock() {
    let hours = ", sendingHours: {from: \"09:00\", to: \"10:00\", zone: UTC, zoneField: zone}";
    let mut world = Small::new(&[("one", 1, "")], hours, 0);
    let mut crowd = Crowd::new(Some("zone".into())).expect("good");
    for number in 0..300 {
        let zone = ["Asia/Kolkata", "Europe/Berlin", "America/New_York"][number % 3];
        let row = serde_json::json!({"email": format!("u{number}@example.org"), "zone": zone});
        crowd.add(&Recipient::from_json(&row.to_string()).expect("a row"));
    }
    world.start.people = crowd;
    let (result, found) = world.run();
    assert_eq!((result.state, result.counts.accepted), (Some(CampaignState::Completed), 300));
    let minutes: Vec<(i64, u64)> =
        found.by_server(MINUTE_MS).into_iter().map(|(at, counts)| ((at - START_MS) / MINUTE_MS, counts.values().sum())).collect();
    // 03:30, 08:00 and 14:00 UTC.
    assert_eq!(minutes, [(210, 100), (480, 100), (840, 100)]);
}

#[test]
fn it_ends_where_it_is_told_to_and_when_nothing_happens() {
    let mut world = Small::new(&[("one", 1, ", limits: {rates: [{messages: 10, per: 1h}]}")], "", 5_000);
    world.assumed.until_ms = START_MS + 3 * HOUR_MS;
    let (result, found) = world.run();
    assert!(found.is_cut && result.state != Some(CampaignState::Completed), "{result:?}");
    assert!((30..=40).contains(&result.accepted()), "{result:?}");
    let (result, found) = Small::new(&[("one", 1, "")], ", suspend: true", 10).run();
    assert!(!found.is_cut && found.to_ms < START_MS + MINUTE_MS, "{} ms", found.to_ms - START_MS);
    assert_eq!((result.state, result.accepted()), (Some(CampaignState::Suspended), 0));
    // Without any server of its own it is stalled, and says why.
    let (result, found) = Small::new(&[("one", 1, "")], ", servers: [{name: other}]", 10).run();
    assert!(!found.is_cut && !result.why.is_empty() && result.accepted() == 0, "{result:?}");
}

#[test]
fn what_is_kept_of_what_happened_has_a_bound() {
    let mut found = Simulated::default();
    for at_ms in 0..200 {
        found.happened(Happening { at_ms, kind: "Campaign", object: String::new(), state: String::new(), why: String::new() });
    }
    assert_eq!((found.happenings.len(), found.more_happenings), (record::HAPPENINGS_MAX, 200 - record::HAPPENINGS_MAX as u64));
}
