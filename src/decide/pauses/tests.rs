//! Who is paused, for how long, and what follows.

use std::sync::Arc;

use super::*;
use crate::{
    decide::{CampaignInput, PlanInput},
    feedback::Returned,
    resources::Campaign,
    test_support::{object_in, work},
};

const NOW_MS: i64 = 1_764_000_000_000;

/// A server of namespace `ops` with this guard, and a campaign of each namespace that may use it.
fn world(pause_when: &str, namespaces: &[&str]) -> World {
    let mut world = World::default();
    let spec = format!("{{provider: {{smtp: {{host: relay.example.com, encryption: None}}}}, feedback: {{{pause_when}}}}}");
    world.servers.insert(relay(), ServerInput::new(Arc::new(object_in("SendingServer", "ops", "relay", &spec)), Ok(1)));
    let plan = Arc::new(object_in("Plan", "ops", "all", "{servers: [{name: relay}], allowedNamespaces: {from: All}}"));
    world.plans.insert(Key::new("ops", "all"), PlanInput { object: plan, stale: None });
    for namespace in namespaces {
        let spec = "{planRef: {name: all, namespace: ops}, from: {address: a@example.com}, subject: Hi, content: {text: Hi}, audience: {inline: [{email: b@example.com}]}}";
        let campaign: Arc<Campaign> = Arc::new(object_in("Campaign", namespace, "spring", spec));
        world.campaigns.insert(Key::new(*namespace, "spring"), CampaignInput::new(campaign, Ok(Arc::new(work(1)))));
    }
    world
}

fn relay() -> Key {
    Key::new("ops", "relay")
}

fn past(world: &mut World) -> &mut crate::decide::ServerPast {
    &mut world.servers.get_mut(&relay()).expect("a server").past
}

/// Accepted, rejected, bounced, complained.
type Counts = (u64, u64, u64, u64);

fn judged((accepted, rejected, bounced, complained): Counts) -> Judged {
    Judged { accepted, rejected, bounced, complained }
}

fn paused(namespace: Option<&str>) -> Pause {
    Pause { namespace: namespace.map(Into::into), reason: Reason::BounceRateTooHigh, message: "because".to_owned(), ends_at_ms: None }
}

/// The pauses that begin, in order: a namespace, or `*` for the server, and why.
fn begun(world: &World) -> Vec<String> {
    let begun = changes(world, NOW_MS).into_iter().map(|change| match change.what {
        Change::Begins(pause) => format!("{} {}", pause.namespace.as_deref().unwrap_or("*"), pause.reason),
        other => format!("{other:?}"),
    });
    begun.collect()
}

/// What it is, who has campaigns, what came of whose messages, who is paused already, and the pauses that begin.
type Case<'a> = (&'a str, &'a [&'a str], &'a [(&'a str, Counts)], &'a [&'a str], &'a [&'a str]);

#[test]
fn those_who_bring_too_much_go_before_the_server_does() {
    let (good, bad): (Counts, Counts) = ((1_000, 10, 5, 1), (800, 150, 60, 0));
    let crowd: Vec<(String, Counts)> = (0..30).map(|number| (format!("n{number}"), (8, 1, 1, 0))).collect();
    let crowd: Vec<(&str, Counts)> = crowd.iter().map(|(name, counts)| (&**name, *counts)).collect();
    let cases: [Case<'_>; 13] = [
        ("nothing was sent", &["a"], &[], &[], &[]),
        ("all is well", &["a", "b"], &[("a", good), ("b", good)], &[], &[]),
        ("too few of all", &["a", "b"], &[("a", (50, 49, 0, 0)), ("b", (100, 0, 0, 0))], &[], &[]),
        ("too few of one, who stands out", &["a", "b"], &[("a", (50, 49, 0, 0)), ("b", (101, 0, 0, 0))], &[], &["a BounceRateTooHigh"]),
        ("nobody else uses it", &["a"], &[("a", bad)], &[], &["* BounceRateTooHigh"]),
        ("another one may use it", &["a", "b"], &[("a", bad)], &[], &["a BounceRateTooHigh"]),
        ("the others are well", &["a", "b"], &[("a", bad), ("b", good)], &[], &["a BounceRateTooHigh"]),
        ("what is paused is not counted", &["a", "b"], &[("a", bad), ("b", good)], &["a"], &[]),
        (
            "both are bad, one is worse",
            &["a", "b"],
            &[("a", (500, 500, 0, 0)), ("b", bad)],
            &[],
            &["a BounceRateTooHigh", "* BounceRateTooHigh"],
        ),
        (
            "of three, two are bad",
            &["a", "b", "c"],
            &[("a", (500, 500, 0, 0)), ("b", bad), ("c", good)],
            &[],
            &["a BounceRateTooHigh", "b BounceRateTooHigh"],
        ),
        ("the last one is bad", &["a", "b"], &[("a", bad), ("b", bad)], &["a"], &["* BounceRateTooHigh"]),
        ("nobody stands out", &["a"], &crowd, &[], &["* BounceRateTooHigh"]),
        ("complaints", &["a", "b"], &[("a", (1_000, 0, 0, 4)), ("b", (1_000, 0, 0, 3))], &[], &["a ComplaintRateTooHigh"]),
    ];
    for (what, namespaces, results, already, wanted) in cases {
        let mut world = world("pauseWhen: {}", namespaces);
        let standing = &mut past(&mut world).standing;
        standing.results = results.iter().map(|(namespace, counts)| ((*namespace).into(), judged(*counts))).collect();
        standing.pauses = already.iter().map(|one| paused(Some(one))).collect();
        assert_eq!(begun(&world), wanted, "{what}");
    }
    let mut without = world("webhook: {secretRef: {name: hook, key: secret}}", &["a"]);
    past(&mut without).standing.results.insert("a".into(), judged(bad));
    assert_eq!(begun(&without), Vec::<String>::new(), "there is no guard without pauseWhen");
    let mut whole = world("pauseWhen: {}", &["a"]);
    past(&mut whole).standing.results.insert("a".into(), judged(bad));
    past(&mut whole).standing.pauses.push(paused(None));
    assert_eq!(begun(&whole), Vec::<String>::new(), "it is paused already");
}

#[test]
fn a_campaign_that_is_over_uses_no_server() {
    let mut world = world("pauseWhen: {}", &["a", "b"]);
    past(&mut world).standing.results.insert("a".into(), judged((100, 100, 0, 0)));
    assert_eq!(begun(&world), ["a BounceRateTooHigh"]);
    world.campaigns.get_mut(&Key::new("b", "spring")).expect("a campaign").in_ledger = InLedger::Closed;
    assert_eq!(begun(&world), ["* BounceRateTooHigh"]);
}

#[test]
fn a_pause_says_figures_what_they_mean_and_what_to_do() {
    let mut world = world("pauseWhen: {resumeAfter: 6h}", &["a"]);
    past(&mut world).standing.results.insert("a".into(), judged((1_700, 200, 100, 0)));
    let told = |world: &World| match changes(world, NOW_MS).remove(0).what {
        Change::Begins(pause) => pause,
        other => panic!("{other:?}"),
    };
    let pause = told(&world);
    assert_eq!(
        pause.message,
        "15.789% of what it sent in 24h came back (1,900 messages: 200 rejected, 100 bounced); feedback.pauseWhen.bouncePercent is 10. Nothing more is sent through it, because mailbox providers block servers that ignore this. Clean the audience that bounces (`mailfleet get runs -o wide` counts them); `mailfleet resume server/relay -n ops` resumes it; what came back before then no longer counts. Otherwise it resumes automatically at 2025-11-24T22:00:00Z."
    );
    assert_eq!(pause.ends_at_ms, Some(NOW_MS + 6 * 3_600_000));
    past(&mut world).standing.results.insert("b".into(), judged((1_000, 0, 0, 40)));
    past(&mut world).standing.results.insert("a".into(), judged((1_000, 0, 0, 0)));
    let pause = told(&world);
    assert!(pause.message.starts_with("4% of what namespace b sent through server ops/relay in 24h was reported as spam (1,000 accepted, 40 complaints); feedback.pauseWhen.complaintPercent is 0.3."), "{}", pause.message);
    assert!(pause.message.contains("`mailfleet resume server/relay -n ops --for b`"), "{}", pause.message);
}

#[test]
fn a_pause_ends_by_a_person_or_in_time_and_by_nothing_else() {
    let mut world = world("pauseWhen: {bouncePercent: '100'}", &["a"]);
    past(&mut world).standing.pauses.push(Pause { ends_at_ms: Some(NOW_MS + 1), ..paused(None) });
    assert_eq!(begun(&world), Vec::<String>::new(), "higher thresholds do not end it");
    past(&mut world).standing.pauses[0].ends_at_ms = Some(NOW_MS);
    assert_eq!(begun(&world), ["End"]);
    past(&mut world).resume = Some("again  namespace=a".to_owned());
    let wanted = Change::Resumes { token: "again namespace=a".to_owned(), namespace: Some("a".to_owned()) };
    assert_eq!(changes(&world, NOW_MS), [PauseChange { server: relay(), what: wanted }]);
    past(&mut world).resume_handled.note("again namespace=a");
    assert_eq!(begun(&world), ["End"], "a request is carried out once");
    past(&mut world).resume = Some("held=Retry".to_owned());
    assert_eq!(begun(&world), ["End"], "what cannot be understood resumes nothing");
    // A request that is older than any pause is noted, so that it ends none of them.
    past(&mut world).standing.pauses.clear();
    past(&mut world).resume = Some("long ago".to_owned());
    assert!(begun(&world)[0].starts_with("Resumes"), "{:?}", begun(&world));
}

#[test]
fn a_server_that_comes_back_by_itself_is_given_more_and_more() {
    let mut world = world("pauseWhen: {afterMessages: 1000}", &[]);
    let spec = world.servers[&relay()].object.spec.clone();
    let share = |world: &mut World, taken, now_ms| {
        past(world).standing.returned = Some(Returned { at_ms: NOW_MS, taken });
        first_share(&past(world).standing, &spec, now_ms).map(|rate| rate.messages)
    };
    // Of 1,000 an hour, a tenth of a minute.
    for (taken, wanted) in [(0, Some(3)), (999, Some(3)), (1_000, Some(6)), (3_000, Some(12)), (15_000, Some(48)), (31_000, None)] {
        assert_eq!(share(&mut world, taken, NOW_MS + 1), wanted, "after {taken}");
    }
    assert_eq!(share(&mut world, 0, NOW_MS + 86_400_000), None, "a whole window went well");
    let shown = came_back(&Standing::default(), &spec, Some(Rate { messages: 3, per: Duration::from_secs(10) })).expect("it is judged");
    assert_eq!(shown.share.as_deref(), Some("about 18 a minute"));
    past(&mut world).standing.returned = None;
    assert_eq!(first_share(&past(&mut world).standing, &spec, NOW_MS), None, "a person has resumed it");
}

#[test]
fn a_day_on_which_too_much_came_back_does_not_count_for_warm_up() {
    let mut world = world("pauseWhen: {bouncePercent: '5', afterMessages: 50}", &[]);
    let spec = world.servers[&relay()].object.spec.clone();
    let standing = &mut past(&mut world).standing;
    standing.days =
        [(10, judged((100, 0, 5, 0))), (11, judged((100, 0, 6, 0))), (12, judged((10, 5, 0, 0))), (13, judged((1_000, 0, 0, 4)))].into();
    standing.paused_on.insert(15);
    assert_eq!(held_days(standing, &spec), BTreeSet::from([11, 13, 15]));
    let without: SendingServerSpec = serde_saphyr::from_str("{provider: {outbox: {}}}").expect("a spec");
    assert_eq!(held_days(standing, &without), BTreeSet::from([13, 15]), "by the defaults");
}

#[test]
fn what_a_namespace_may_not_use_its_campaigns_are_not_sent_through() {
    let mut world = world("pauseWhen: {}", &["a", "b"]);
    let good = crate::decide::ServerObservation {
        server_hash: 1,
        last_probe: Some(crate::decide::ProbeResult::Succeeded),
        last_probe_ms: NOW_MS,
        probes_good: true,
        ..Default::default()
    };
    let observed = crate::decide::Observations { servers: [(relay(), good)].into(), ..Default::default() };
    past(&mut world).standing.pauses.push(paused(Some("a")));
    past(&mut world).standing.results = [("a".into(), judged((1, 99, 0, 0))), ("b".into(), judged((200, 0, 1, 0)))].into();
    let decision = crate::decide::decide(&world, &observed, NOW_MS);
    let server = &decision.servers[&relay()];
    assert!(server.active && server.routed);
    let back = server.status.came_back.as_ref().expect("it is judged");
    assert_eq!((back.accepted, back.rejected, back.bounce_percent.to_string().as_str()), (200, 0, "0.5"), "without those of a");
    assert_eq!(back.paused.iter().map(|paused| &*paused.namespace).collect::<Vec<_>>(), ["a"]);
    for (namespace, uses) in [("a", false), ("b", true)] {
        let campaign = &decision.campaigns[&Key::new(namespace, "spring")];
        let told = crate::resources::condition::find(&campaign.status.conditions, ConditionType::NamespacePaused);
        assert_eq!(told.is_none(), uses, "{namespace}: {:?}", campaign.status.conditions);
        let row = campaign.status.servers.iter().next().expect("a row");
        assert_eq!(row.why_not.is_empty(), uses, "{namespace}: {}", row.why_not);
        let is_routed = decision.routing.campaigns.get(&Key::new(namespace, "spring")).is_some_and(|intent| !intent.servers.is_empty());
        assert_eq!(is_routed, uses, "{namespace}");
    }
    // A pause of the server is one for all, and outlives the guard.
    past(&mut world).standing.pauses.push(paused(None));
    world.servers.get_mut(&relay()).expect("a server").object =
        Arc::new(object_in("SendingServer", "ops", "relay", "{provider: {smtp: {host: relay.example.com, encryption: None}}}"));
    let decision = crate::decide::decide(&world, &observed, NOW_MS);
    let server = &decision.servers[&relay()];
    assert!(!server.active && !server.routed && !server.on_trial);
    let ready = crate::resources::condition::find(&server.status.conditions, ConditionType::Ready).expect("it says why");
    assert_eq!((ready.reason, &*ready.message), (Reason::BounceRateTooHigh, "because"));
}
