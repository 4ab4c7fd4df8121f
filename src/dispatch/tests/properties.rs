//! What must hold whatever fails.

use super::*;

const WILD: Chances = Chances { rejected: 2, deferred: 10, server_failed: 5, unknown: 2, commit_fails: 5, suppressed: 0 };

#[test]
fn nobody_is_lost_and_nobody_doubled_whatever_fails() {
    for seed in 0..25 {
        let mut simulation = Simulation::new(
            seed,
            WILD,
            &[("a", 3, &[]), ("b", 1, &[])],
            &[("default", "spring", 1500), ("other", "summer", 500)],
            WhenOutcomeIsUnknown::Skip,
        );
        simulation.run();
        assert_eq!(simulation.fates.len(), 2000, "seed {seed}: everybody was tried");
        for ((_, recipient), fate) in &simulation.fates {
            assert!(fate.ended, "seed {seed}: {recipient} has no end");
            assert!(fate.taken <= 1, "seed {seed}: {recipient} was mailed {} times", fate.taken);
        }
        let report = simulation.scheduler.report(simulation.now_ms, None);
        let unknown: u64 = report.campaigns.values().map(|campaign| campaign.counts.unknown).sum();
        assert_eq!(
            unknown,
            simulation.fates.values().map(|fate| u64::from(fate.unknown)).sum::<u64>(),
            "seed {seed}: every unknown is counted"
        );
        assert!(
            report
                .campaigns
                .values()
                .all(|campaign| campaign.phase == Phase::Closed && campaign.counts.deferred == 0 && campaign.counts.sending == 0)
        );
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
        let mut simulation =
            Simulation::new(seed, chances, &[("a", 1, &[]), ("b", 1, &[])], &[("default", "spring", 1000)], WhenOutcomeIsUnknown::Resend);
        simulation.run();
        let lost = simulation.fates.values().filter(|fate| fate.taken == 0 && fate.unknown < 4).count();
        let doubled: u32 = simulation.fates.values().map(|fate| fate.taken.saturating_sub(1)).sum();
        let resent =
            simulation.scheduler.report(simulation.now_ms, None).campaigns.values().map(|campaign| campaign.counts.resent).sum::<u64>();
        assert_eq!(lost, 0, "seed {seed}");
        assert_eq!(resent, simulation.resent, "seed {seed}: as the ledger has it");
        assert!(u64::from(doubled) <= resent, "seed {seed}: {doubled} doubled, {resent} told");
    }
}

#[test]
fn an_exhausted_window_passes_its_share_on_and_reopens() {
    let hourly = [Rate { messages: 100, per: crate::resources::Duration::from_secs(3600) }];
    let mut simulation = Simulation::new(
        5,
        Chances::default(),
        &[("a", 1, &[]), ("b", 1, &hourly)],
        &[("default", "spring", 1000)],
        WhenOutcomeIsUnknown::Skip,
    );
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
        let mut simulation =
            Simulation::new(seed, chances, &[("a", 1, &[]), ("b", 1, &[])], &[("default", "spring", 600)], WhenOutcomeIsUnknown::Skip);
        let key = Key::new("default", "spring");
        while simulation.closed == 0 {
            simulation.step();
            assert!(
                simulation.now_ms < START_MS + 3_600_000,
                "seed {seed}: it does not end: {:?}",
                simulation.scheduler.report(simulation.now_ms, None)
            );
            if simulation.now_ms < START_MS + 20_000 && simulation.draw(60) == 0 {
                let mut intent = (*simulation.routing.campaigns[&key]).clone();
                intent.hold = simulation.draw(2) == 0;
                Arc::make_mut(&mut intent.work).work_hash += simulation.draw(2);
                simulation.routing.campaigns.insert(key.clone(), Arc::new(intent));
                simulation.apply();
            } else if simulation.now_ms == START_MS + 20_000 {
                let mut intent = (*simulation.routing.campaigns[&key]).clone();
                intent.hold = false;
                simulation.routing.campaigns.insert(key.clone(), Arc::new(intent));
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
        let mut simulation = Simulation::new(
            seed,
            Chances::default(),
            &[("a", 1, &[]), ("b", 1, &[])],
            &[("default", "spring", 6000)],
            WhenOutcomeIsUnknown::Skip,
        );
        let (mut longest, mut incidents) = (0, 0);
        while simulation.closed == 0 {
            // One incident.
            let failing = simulation.now_ms > START_MS + 100 && incidents == 0;
            simulation.chances.server_failed = if failing { 100 } else { 0 };
            simulation.step();
            incidents += simulation.out_since.len();
            let oldest = simulation.rows.values().filter(|row| row.fate == RowFate::Deferred).map(|row| row.at_ms).min();
            longest = oldest.map_or(longest, |at| longest.max(simulation.now_ms - at));
        }
        let all = simulation.now_ms - START_MS;
        assert!(incidents > 0 && longest * 3 < all, "seed {seed}: one waited {longest} ms of {all}");
    }
}

#[test]
fn a_run_is_not_closed_while_its_last_claims_are_being_committed() {
    for seed in 0..200 {
        let mut simulation = Simulation::new(
            seed,
            Chances { commit_fails: 40, ..Chances::default() },
            &[("a", 1, &[])],
            &[("default", "spring", 10)],
            WhenOutcomeIsUnknown::Skip,
        );
        simulation.run();
        assert_eq!(simulation.fates.values().filter(|fate| fate.ended).count(), 10, "seed {seed}");
        // A second after each commit that failed.
        let expected = 900 + 1000 * simulation.failed_commits;
        assert!(simulation.now_ms < START_MS + expected, "seed {seed}: it does not wait for nothing: {} ms", simulation.now_ms - START_MS);
    }
}

#[test]
fn a_flood_of_due_messages_stays_in_the_ledger_until_there_is_room() {
    let paced = [Rate { messages: 50, per: crate::resources::Duration::from_secs(1) }];
    let mut simulation = Simulation::new(
        3,
        Chances { deferred: 100, ..Chances::default() },
        &[("a", 1, &[])],
        &[("default", "spring", 1500)],
        WhenOutcomeIsUnknown::Skip,
    );
    for _ in 0..1000 {
        simulation.step();
    }
    // All are deferred and due; now the server is slow.
    simulation.chances.deferred = 0;
    if let Some(route) = simulation.routing.servers.get_mut(&Key::new("default", "a")) {
        route.rates = paced.to_vec();
    }
    simulation.apply();
    let mut most = 0;
    while simulation.closed == 0 {
        simulation.step();
        most = most.max(simulation.scheduler.lanes.values().map(|lane| lane.turns.len()).sum());
    }
    assert!(most <= 320, "{most} messages in memory");
}

#[test]
fn a_deleted_campaign_is_forgotten_though_others_go_on() {
    let mut simulation = Simulation::new(
        3,
        Chances::default(),
        &[("a", 1, &[])],
        &[("default", "spring", 100_000), ("default", "summer", 100_000)],
        WhenOutcomeIsUnknown::Skip,
    );
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
    let mut simulation = Simulation::new(
        3,
        Chances { server_failed: 100, ..Chances::default() },
        &[("a", 1, &[])],
        &[("default", "spring", 50)],
        WhenOutcomeIsUnknown::Skip,
    );
    while simulation.out_since.is_empty() {
        simulation.step();
    }
    simulation.chances.server_failed = 0;
    simulation.out_since.clear();
    let route = simulation.routing.servers.remove(&key).expect("the server");
    simulation.apply();
    // The control plane sees it as a new one.
    let report = simulation.scheduler.report(simulation.now_ms, None);
    let acknowledged_failures = crate::decide::Observations::default().server_mut(&key, &report).acknowledged_failures;
    simulation.routing.servers.insert(key, ServerIntent { routed: true, acknowledged_failures, ..route });
    simulation.apply();
    simulation.run();
    assert_eq!(simulation.fates.values().map(|fate| fate.taken).sum::<u32>(), 50);
}

#[test]
fn failed_commits_use_up_no_limit() {
    let daily = [Rate { messages: 100, per: crate::resources::Duration::from_secs(86_400) }];
    let chances = Chances { commit_fails: 60, ..Chances::default() };
    let mut simulation = Simulation::new(3, chances, &[("a", 1, &daily)], &[("default", "spring", 100)], WhenOutcomeIsUnknown::Skip);
    simulation.run();
    assert!(simulation.now_ms < START_MS + 60_000);
}

#[test]
fn a_plans_limit_holds_and_is_not_asked_again_before_it_reopens() {
    let limits = [Rate { messages: 30, per: crate::resources::Duration::from_secs(3600) }];
    let mut simulation = Simulation::new(3, Chances::default(), &[("a", 1, &[])], &[("default", "spring", 40)], WhenOutcomeIsUnknown::Skip);
    let key = Key::new("default", "spring");
    let mut intent = (*simulation.routing.campaigns[&key]).clone();
    intent.plan_limits = Some(SharedLimits { key: "plan".into(), rates: limits.to_vec() });
    simulation.routing.campaigns.insert(key, Arc::new(intent));
    simulation.apply();
    for _ in 0..2000 {
        simulation.step();
    }
    assert_eq!(simulation.fates.len(), 30);
    assert!(simulation.scheduler.wake_at(simulation.now_ms) > simulation.now_ms + 500);
    simulation.run();
    assert!(simulation.now_ms > START_MS + 3_600_000);
}

/// Time advances only to when the scheduler asks to be woken: whatever it forgets to ask for waits for a whole second.
#[test]
fn a_campaign_begins_and_ends_at_once() {
    for seed in 0..8 {
        let mut simulation =
            Simulation::new(seed, Chances::default(), &[("a", 1, &[])], &[("default", "spring", 20)], WhenOutcomeIsUnknown::Skip);
        while simulation.closed < 1 {
            simulation.step();
            let until = simulation.now_ms + 5_000;
            simulation.skip_idle(until);
        }
        let took = simulation.now_ms - START_MS;
        assert!(took < 300, "seed {seed}: 20 messages took {took} ms");
    }
}

#[test]
fn a_run_has_sent_nothing_while_every_message_came_back_unsent() {
    let mut simulation = Simulation::new(4, Chances::default(), &[("a", 1, &[])], &[("default", "spring", 50)], WhenOutcomeIsUnknown::Skip);
    simulation.decides = Some(Box::new(|_, _, _| Some(Outcome::ServerFailed(Blocker::passing(Reason::ConnectionLost, "lost")))));
    let has_sent = |simulation: &mut Simulation| {
        let report = simulation.scheduler.report(simulation.now_ms, None);
        report.campaigns[&Key::new("default", "spring")].has_sent
    };
    let mut in_flight = false;
    while simulation.out_since.is_empty() {
        simulation.step();
        in_flight |= has_sent(&mut simulation);
    }
    assert!(in_flight, "a claimed message may have left");
    (0..100).for_each(|_| {
        simulation.out_since.entry(Key::new("default", "a")).and_modify(|since| *since = i64::MAX);
        simulation.step();
    });
    assert!(!has_sent(&mut simulation));
    simulation.decides = None;
    simulation.out_since.clear();
    simulation.routing.servers.values_mut().for_each(|server| server.routed = true);
    simulation.apply();
    simulation.run();
    assert!(has_sent(&mut simulation));
}
