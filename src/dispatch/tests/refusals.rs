//! Whose fault a refusal is: nobody but the recipient at fault is given up, and no campaign harms another.

use super::*;

fn unclear(words: &str) -> Outcome {
    Refusal::permanent(Scope::Unclear, words).into()
}

fn accepted() -> Outcome {
    Outcome::Accepted { reply: "250 ok".to_owned() }
}

/// One campaign with this many recipients, alternating between two domains.
fn simulation(seed: u64, servers: &[&str], recipients: u64) -> Simulation {
    let servers: Vec<(&str, u32, &[Rate])> = servers.iter().map(|name| (*name, 1, &[][..])).collect();
    let mut simulation =
        Simulation::new(seed, Chances::default(), &servers, &[("default", "spring", recipients)], WhenOutcomeIsUnknown::Skip);
    simulation.addresses = (0..recipients).map(|i| format!("user{i}@{}.example", if i % 2 == 0 { "one" } else { "two" })).collect();
    simulation
}

/// Runs for this long, or until the campaign is closed.
fn run_for(simulation: &mut Simulation, ms: i64) {
    let until = simulation.now_ms + ms;
    while simulation.now_ms < until && simulation.closed == 0 {
        simulation.step();
        simulation.skip_idle(until);
    }
}

fn blocker(simulation: &mut Simulation) -> Option<crate::resources::Blocker> {
    let report = simulation.scheduler.report(simulation.now_ms, None);
    report.campaigns[&Key::new("default", "spring")].blocker.clone()
}

fn tried(simulation: &Simulation) -> usize {
    simulation.rows.len()
}

/// Refusals in words that are in no table, each with what servers insert for the recipient.
const WORDS: [&str; 10] = [
    "550 Kunde 4711 gesperrt, <WHO> nicht angenommen",
    "554 5.7.1 WHO: policy violation 0x9F3A-NUM",
    "550 отказано: WHO, обратитесь к администратору",
    "553 对不起 WHO 您的账户 NUM 已被停用",
    "550 5.0.0 désolé, votre contrat nº NUM est terminé (WHO)",
    "571 Nachricht NUM abgelehnt",
    "550 WHO",
    "554 transaction failed, see https://errors.example/NUM",
    "550 5.7.999 rejected by rule [NUM] for WHO at 12:NUM",
    "599 nope",
];

fn worded(words: &str, who: &str) -> Outcome {
    let number: u32 = who.bytes().map(u32::from).sum();
    unclear(&words.replace("WHO", who).replace("NUM", &number.to_string()))
}

#[test]
fn ten_alike_put_a_server_out_of_use_and_give_nobody_up() {
    for (seed, words) in WORDS.iter().enumerate() {
        let mut simulation = simulation(seed as u64, &["a"], 1000);
        simulation.decides = Some(Box::new(move |_, who, _| Some(worded(words, who))));
        run_for(&mut simulation, 60_000);
        assert_eq!(blocker(&mut simulation).map(|t| (t.reason, t.needs_person)), Some((Reason::RefusedAlike, true)), "{words}");
        assert_eq!((simulation.count(RowFate::Held), tried(&simulation)), (10, 10), "{words}: no more than ten were out");
        assert!(simulation.fates.values().all(|fate| !fate.ended), "{words}");
        // Neither time nor a kill changes that.
        simulation.restart();
        run_for(&mut simulation, 600_000);
        assert_eq!((simulation.count(RowFate::Held), tried(&simulation)), (10, 10), "{words}: after a kill");
        assert!(blocker(&mut simulation).is_some(), "{words}: after a kill");
    }
}

#[test]
fn a_person_has_held_recipients_tried_again_or_rejected() {
    for held in [ResumeHeld::Retry, ResumeHeld::Reject] {
        let mut simulation = simulation(3, &["a"], 300);
        simulation.decides = Some(Box::new(|_, who, _| Some(worded(WORDS[0], who))));
        run_for(&mut simulation, 60_000);
        assert_eq!(simulation.count(RowFate::Held), 10);
        // The relay was fixed.
        simulation.decides = Some(Box::new(|_, _, _| Some(accepted())));
        let key = Key::new("default", "spring");
        let mut intent = (*simulation.routing.campaigns[&key]).clone();
        intent.resume = Some(Resume { token: "t1".to_owned(), held, resends_unknown: false });
        simulation.routing.campaigns.insert(key, Arc::new(intent));
        simulation.apply();
        run_for(&mut simulation, 60_000);
        let rejected = if held == ResumeHeld::Reject { 10 } else { 0 };
        assert_eq!((simulation.count(RowFate::Accepted), simulation.count(RowFate::Rejected)), (300 - rejected, rejected), "{held:?}");
        assert_eq!(simulation.closed, 1);
    }
}

#[test]
fn held_recipients_go_to_the_campaigns_other_servers() {
    for seed in 0..5 {
        let mut simulation = simulation(seed, &["a", "b"], 400);
        simulation.decides = Some(Box::new(|server, who, _| Some(if server == "default/a" { worded(WORDS[1], who) } else { accepted() })));
        run_for(&mut simulation, 120_000);
        assert_eq!((simulation.closed, simulation.count(RowFate::Accepted)), (1, 400), "seed {seed}");
        let report = simulation.scheduler.report(simulation.now_ms, None);
        let bars = &report.campaigns[&Key::new("default", "spring")].bars;
        assert_eq!(bars.keys().map(ToString::to_string).collect::<Vec<_>>(), ["default/a"]);
    }
}

#[test]
fn whom_two_unrelated_servers_refuse_is_rejected() {
    let mut simulation = simulation(1, &["a", "b", "c"], 600);
    // a refuses everybody; b refuses those whom a has refused first; c accepts all.
    let refused = std::rc::Rc::new(std::cell::RefCell::new(std::collections::BTreeSet::new()));
    let seen = refused.clone();
    simulation.decides = Some(Box::new(move |server, who, _| {
        Some(match server {
            "default/a" => {
                seen.borrow_mut().insert(who.to_owned());
                worded(WORDS[2], who)
            }
            "default/b" if seen.borrow().contains(who) => unclear("550 so not here either"),
            _ => accepted(),
        })
    }));
    run_for(&mut simulation, 240_000);
    assert_eq!(simulation.closed, 1);
    let rejected = simulation.count(RowFate::Rejected);
    assert!((1..10).contains(&rejected), "those that went from a to b: {rejected}");
    assert_eq!(simulation.count(RowFate::Accepted), 600 - rejected);
}

#[test]
fn one_relay_under_two_names_is_one_opinion() {
    let mut simulation = simulation(1, &["a", "b"], 200);
    for name in ["a", "b"] {
        simulation.routing.servers.get_mut(&Key::new("default", name)).expect("a server").host = "same.example".into();
    }
    simulation.apply();
    simulation.decides = Some(Box::new(|_, who, _| Some(worded(WORDS[0], who))));
    run_for(&mut simulation, 120_000);
    assert!(blocker(&mut simulation).is_some());
    assert_eq!(simulation.count(RowFate::Rejected), 0);
    assert!(simulation.count(RowFate::Held) <= 20, "{}", simulation.count(RowFate::Held));
}

#[test]
fn dead_addresses_among_living_ones_are_rejected_one_by_one() {
    for seed in 0..5 {
        let mut simulation = simulation(seed, &["a"], 500);
        simulation.decides = Some(Box::new(|_, who, _| {
            let number: u64 = who.trim_start_matches("user").split('@').next().and_then(|n| n.parse().ok()).unwrap_or(0);
            Some(if number.is_multiple_of(5) { worded("550 keine Ahnung wer WHO ist", who) } else { accepted() })
        }));
        run_for(&mut simulation, 120_000);
        assert_eq!((simulation.count(RowFate::Accepted), simulation.count(RowFate::Rejected)), (400, 100), "seed {seed}");
        assert_eq!(simulation.closed, 1, "seed {seed}");
    }
}

#[test]
fn a_list_of_known_dead_addresses_is_no_fault_of_the_server() {
    let mut simulation = simulation(1, &["a"], 12);
    simulation.decides = Some(Box::new(|_, _, _| Some(Outcome::rejected("550 5.1.1 no such user"))));
    run_for(&mut simulation, 60_000);
    assert_eq!((simulation.count(RowFate::Rejected), simulation.closed), (12, 1));
    assert!(blocker(&mut simulation).is_none());
}

#[test]
fn a_dead_domain_at_the_head_of_a_sorted_list_is_its_own_fault() {
    let mut simulation = simulation(1, &["a"], 700);
    simulation.addresses = (0..700).map(|i| format!("user{i}@{}.example", if i < 300 { "dead" } else { "living" })).collect();
    simulation.decides = Some(Box::new(|_, who, _| Some(if who.ends_with("@dead.example") { worded(WORDS[1], who) } else { accepted() })));
    run_for(&mut simulation, 300_000);
    assert_eq!((simulation.count(RowFate::Accepted), simulation.count(RowFate::Rejected)), (400, 300));
    assert_eq!(simulation.closed, 1);
}

#[test]
fn a_sorted_list_does_not_hide_a_server_that_refuses_all() {
    let mut simulation = simulation(1, &["a"], 700);
    simulation.addresses = (0..700).map(|i| format!("user{i}@{}.example", if i < 600 { "first" } else { "second" })).collect();
    simulation.decides = Some(Box::new(|_, who, _| Some(worded(WORDS[3], who))));
    run_for(&mut simulation, 300_000);
    assert!(blocker(&mut simulation).is_some());
    assert_eq!((simulation.count(RowFate::Held), tried(&simulation)), (11, 11), "ten, and one of the other domain");
}

#[test]
fn of_few_recipients_none_is_held_for_ever() {
    let mut alone = simulation(1, &["a"], 1);
    alone.decides = Some(Box::new(|_, who, _| Some(worded(WORDS[0], who))));
    run_for(&mut alone, 60_000);
    assert_eq!((alone.count(RowFate::Rejected), alone.closed), (1, 1));
    // Another server may know better than one that took nobody.
    for seed in 0..8 {
        let mut two = simulation(seed, &["a", "b"], 1);
        two.decides = Some(Box::new(|server, who, _| Some(if server == "default/a" { worded(WORDS[0], who) } else { accepted() })));
        run_for(&mut two, 60_000);
        assert_eq!((two.count(RowFate::Accepted), two.closed), (1, 1), "seed {seed}");
    }
}

#[test]
fn after_acceptances_ten_and_what_is_on_the_wire_are_held() {
    let mut simulation = simulation(1, &["a"], 5000);
    let mut count = 0;
    simulation.decides = Some(Box::new(move |_, who, _| {
        count += 1;
        Some(if count <= 1000 { accepted() } else { worded("550 Kontingent für heute erschöpft (WHO)", who) })
    }));
    run_for(&mut simulation, 120_000);
    let (accepted, held) = (simulation.count(RowFate::Accepted), simulation.count(RowFate::Held));
    assert!(blocker(&mut simulation).is_some());
    assert_eq!((accepted, simulation.count(RowFate::Rejected)), (1000, 0));
    assert!((10..=10 + 64).contains(&held), "{held}");
}

#[test]
fn a_refused_sender_leaves_other_campaigns_alone() {
    let mut simulation = Simulation::new(
        4,
        Chances::default(),
        &[("a", 1, &[])],
        &[("default", "spring", 200), ("other", "summer", 200)],
        WhenOutcomeIsUnknown::Skip,
    );
    let spring = simulation.scheduler.campaign_index[&Key::new("default", "spring")];
    // The campaigns have the same recipients: told apart by whose turn it was.
    let cause = || Blocker::passing(Reason::SenderRefused, "Server default/a refuses news@example.com. Verify it.").for_person();
    let refusal = move || Outcome::from(Refusal::permanent(Scope::Sender, "553 5.7.1 not owned by user").because(cause()));
    let mut refused = 0;
    for _ in 0..20_000 {
        simulation.step();
        // Every message of the campaign on the wire is refused for its sender.
        for (.., batch) in &mut simulation.wire {
            batch.retain(|message| {
                let is_refused = simulation.scheduler.in_flight_campaign(message.token) == spring;
                refused += usize::from(is_refused);
                !is_refused
            });
        }
        let now_ms = simulation.now_ms;
        let flights: Vec<u64> = simulation.scheduler.tokens_of(spring);
        for token in flights {
            let message = outgoing(token);
            simulation.scheduler.outcome(Delivered { message, outcome: refusal(), round_trip: None, signing: Duration::ZERO }, now_ms);
        }
    }
    assert!(refused > 0);
    let report = simulation.scheduler.report(simulation.now_ms, None);
    let of = |namespace: &str, name: &str| report.campaigns[&Key::new(namespace, name)].clone();
    assert_eq!(of("default", "spring").blocker.map(|t| t.reason), Some(Reason::SenderRefused));
    assert!(of("default", "spring").counts.held > 0 && of("default", "spring").counts.rejected == 0);
    assert_eq!(of("other", "summer").counts.accepted, 200, "the other customer is unharmed");
    assert_eq!(report.servers[&Key::new("default", "a")].failures, 0);
}

fn outgoing(token: u64) -> Outgoing {
    Outgoing {
        token,
        mail_from: "news@example.com".into(),
        rcpt_to: "x@example.com".into(),
        content: b"x"[..].into(),
        needs_8bit: false,
        needs_smtputf8: false,
        run: Arc::default(),
        signature: None,
        reference: None,
    }
}

#[test]
fn what_one_server_cannot_take_goes_to_one_that_can() {
    for seed in 0..5 {
        let mut simulation = simulation(seed, &["small", "large"], 200);
        simulation.decides = Some(Box::new(|server, _, _| {
            Some(if server == "default/small" { Refusal::permanent(Scope::Message, "552 5.3.4 too large").into() } else { accepted() })
        }));
        run_for(&mut simulation, 120_000);
        assert_eq!((simulation.count(RowFate::Accepted), simulation.closed), (200, 1), "seed {seed}");
        let mut none = super::refusals::simulation(seed, &["small", "smaller"], 20);
        none.decides = Some(Box::new(|_, _, _| Some(Refusal::permanent(Scope::Message, "552 5.3.4 too large").into())));
        run_for(&mut none, 120_000);
        assert_eq!((none.count(RowFate::Rejected), none.closed), (20, 1), "seed {seed}: no server can");
    }
}

#[test]
fn a_campaign_refused_for_now_rests_there_and_uses_up_no_try() {
    let mut simulation = simulation(1, &["a"], 50);
    let cause = || Blocker::passing(Reason::SenderRefused, "Server default/a refuses the sender for now.");
    let good_from = START_MS + 40_000;
    simulation.decides = Some(Box::new(move |_, _, now| {
        Some(if now < good_from {
            Refusal::transient(Scope::Sender, "450 4.1.8 domain not found").because(cause()).into()
        } else {
            accepted()
        })
    }));
    run_for(&mut simulation, 200_000);
    assert_eq!((simulation.count(RowFate::Accepted), simulation.closed), (50, 1));
}

#[test]
fn an_hour_of_pages_costs_what_was_on_the_wire_and_some_twenty() {
    let mut simulation = simulation(2, &["a"], 5000);
    let until = START_MS + 3_600_000;
    simulation.decides = Some(Box::new(move |_, _, now| {
        Some(if now < until { Outcome::Unknown(Blocker::passing(Reason::ServiceNotAvailable, "a gateway's page")) } else { accepted() })
    }));
    run_for(&mut simulation, 60_000);
    let mut cause = || simulation.scheduler.report(simulation.now_ms, None).servers[&Key::new("default", "a")].rests_since.clone();
    assert_eq!(cause().as_deref(), Some("a gateway's page"), "people are told why it rests");
    run_for(&mut simulation, 3_540_000);
    let unknown = simulation.count(RowFate::Unknown);
    assert!((10..=10 + 25).contains(&unknown), "{unknown} unknown in an hour");
    run_for(&mut simulation, 600_000);
    assert_eq!((simulation.closed, simulation.count(RowFate::Accepted)), (1, 5000 - simulation.count(RowFate::Unknown)));
    let report = simulation.scheduler.report(simulation.now_ms, None);
    assert_eq!(report.servers[&Key::new("default", "a")].rests_since, None);
}

#[test]
fn fewer_connections_are_no_failure() {
    let mut simulation = simulation(2, &["a"], 2000);
    simulation.routing.servers.values_mut().for_each(|server| server.connections = Some(10));
    simulation.apply();
    let mut count = 0;
    simulation.decides = Some(Box::new(move |_, _, _| {
        count += 1;
        // While many are open, one is refused now and then.
        Some(if count % 40 == 39 && count < 400 {
            Outcome::ServerFailed(Blocker::passing(Reason::TooManyConnections, "421 too many connections"))
        } else {
            accepted()
        })
    }));
    run_for(&mut simulation, 300_000);
    assert_eq!((simulation.closed, simulation.count(RowFate::Accepted)), (1, 2000));
}
