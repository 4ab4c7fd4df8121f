//! Limits for receiving domains: they hold, and nobody waits behind them.

use super::*;

pub(super) fn limit(domains: &[&str], messages: u64, secs: u64) -> DomainIntent {
    let rates = vec![Rate { messages, per: crate::resources::Duration::from_secs(secs) }];
    DomainIntent { domains: domains.iter().map(|domain| (*domain).into()).collect(), rates }
}

impl Simulation {
    /// Gives a server limits for receiving domains.
    pub(super) fn limit_domains(&mut self, server: &str, limits: &[DomainIntent]) {
        self.routing.servers.get_mut(&Key::new("default", server)).expect("a server").per_domain = limits.into();
    }

    /// No window for receiving domains was exceeded by what was written.
    pub(super) fn domains_hold(&self) -> Result<(), String> {
        for (server, route) in &self.routing.servers {
            for limit in &*route.per_domain {
                let stands_for = |domain: &str| {
                    let of_provider = crate::resources::mailbox_providers::provider_of(domain);
                    limit
                        .domains
                        .iter()
                        .any(|named| **named == *domain || of_provider.is_some_and(|provider| provider.domains.contains(&&**named)))
                };
                let mine = self.written_to.iter().filter(|((of, domain), _)| *of == server.to_string() && stands_for(domain));
                let mut written: Vec<i64> = mine.flat_map(|(_, at)| at.iter().copied()).collect();
                written.sort_unstable();
                for rate in &limit.rates {
                    let (per, most) = (rate.per.as_millis(), usize::try_from(rate.messages).expect("small"));
                    if let Some(stretch) = written.windows(most + 1).find(|stretch| stretch[most] - stretch[0] < per) {
                        return Err(format!(
                            "{server}: {} messages to {:?} in {} ms, {rate:?}",
                            most + 1,
                            limit.domains,
                            stretch[most] - stretch[0]
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    fn accepted_at(&self, domain: &str) -> u64 {
        self.written_to.iter().filter(|((_, to), _)| to == domain).map(|(_, at)| at.len() as u64).sum()
    }
}

/// One campaign to `count` people, of whom each `every`th is at the first domain and so on.
fn world(seed: u64, servers: &[&str], domains: &[&str], count: u64) -> Simulation {
    let servers: Vec<(&str, u32, &[Rate])> = servers.iter().map(|name| (*name, 1, &[][..])).collect();
    let mut simulation = Simulation::new(seed, Chances::default(), &servers, &[("default", "spring", count)], WhenOutcomeIsUnknown::Skip);
    simulation.addresses =
        (0..count).map(|number| format!("u{number}@{}", domains[usize::try_from(number).expect("small") % domains.len()])).collect();
    simulation
}

/// Runs until the campaign is closed, in simulated time; returns the steps that it took.
fn run_to_end(simulation: &mut Simulation, days: i64) -> u64 {
    let mut steps = 0;
    while simulation.closed == 0 {
        simulation.step();
        let until = simulation.now_ms + 60_000;
        simulation.skip_idle(until);
        steps += 1;
        assert!(
            simulation.now_ms < START_MS + days * 86_400_000,
            "it does not end: {:?}",
            simulation.scheduler.report(simulation.now_ms, None)
        );
    }
    steps
}

/// The first half of the audience is at a domain with room for a few, and the rest is mailed at once all the same.
fn nobody_waits(seed: u64, mutant: Option<Mutant>, is_strict: bool) -> Result<(), String> {
    let mut simulation = world(seed, &["a", "b"], &["other.example"], 6000);
    for number in 0..3000 {
        simulation.addresses[number] = format!("u{number}@{}", ["gmail.com", "googlemail.com"][number % 2]);
    }
    for server in ["a", "b"] {
        simulation.limit_domains(server, &[limit(&["gmail.com"], 40, 3600)]);
    }
    if is_strict {
        simulation = simulation.strict();
    }
    simulation.scheduler.mutant = mutant;
    simulation.apply();
    let mut most = 0;
    while simulation.now_ms < START_MS + 60_000 {
        simulation.step();
        let until = simulation.now_ms + 1_000;
        simulation.skip_idle(until);
        most = most.max(simulation.scheduler.campaigns.values().map(|campaign| campaign.backlog.messages).sum());
    }
    let (capped, others) =
        (simulation.accepted_at("gmail.com") + simulation.accepted_at("googlemail.com"), simulation.accepted_at("other.example"));
    if others < 3000 || capped > 80 || (!is_strict && capped < 80) {
        return Err(format!("after a minute {capped} of 80 and {others} of 3000 others are mailed"));
    }
    if most > 256 {
        return Err(format!("{most} messages in memory"));
    }
    simulation.domains_hold()
}

#[test]
fn nobody_waits_behind_a_domain_without_room() {
    for seed in 0..8 {
        for is_strict in [false, true] {
            nobody_waits(seed, None, is_strict).unwrap_or_else(|what| panic!("seed {seed}, strict {is_strict}: {what}"));
        }
    }
    let found = (0..8).find(|seed| nobody_waits(*seed, Some(Mutant::DomainBlocksTheQueue), true).is_err());
    assert!(found.is_some(), "the mistake on purpose was not found");
}

#[test]
fn a_campaign_of_one_capped_domain_reads_its_audience_twice_and_sleeps() {
    for seed in 0..4 {
        let mut simulation = world(seed, &["a"], &["gmail.com"], 5000);
        simulation.limit_domains("a", &[limit(&["gmail.com"], 100, 3600)]);
        simulation.apply();
        let steps = run_to_end(&mut simulation, 3);
        let hours = (simulation.now_ms - START_MS) / 3_600_000;
        assert_eq!((hours, simulation.fates.len()), (49, 5000), "seed {seed}");
        assert!(simulation.read < 3 * 5000, "seed {seed}: {} rows were read", simulation.read);
        // Each message is some five steps: a window of an hour reopens bit by bit. The rest is a look each second at the most.
        assert!(steps < 5000 * 10 + 50 * 3600, "seed {seed}: {steps} steps");
        simulation.domains_hold().unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    }
}

#[test]
fn two_capped_domains_do_not_wait_for_each_other() {
    for seed in 0..4 {
        let mut simulation = world(seed, &["a"], &["gmail.com", "yahoo.com", "other.example"], 3000);
        simulation.limit_domains("a", &[limit(&["gmail.com"], 50, 3600), limit(&["yahoo.com"], 500, 3600)]);
        simulation.apply();
        while simulation.now_ms < START_MS + 3_500_000 {
            simulation.step();
            let until = simulation.now_ms + 10_000;
            simulation.skip_idle(until);
        }
        let of = |domain| simulation.accepted_at(domain);
        assert_eq!((of("gmail.com"), of("yahoo.com"), of("other.example")), (50, 500, 1000), "seed {seed}");
        while simulation.now_ms < START_MS + 7_100_000 {
            simulation.step();
            let until = simulation.now_ms + 10_000;
            simulation.skip_idle(until);
        }
        assert!(
            simulation.accepted_at("yahoo.com") >= 990 && simulation.accepted_at("gmail.com") >= 98,
            "seed {seed}: {:?}",
            simulation.written_to.keys()
        );
        run_to_end(&mut simulation, 2);
        assert_eq!(simulation.fates.values().filter(|fate| fate.taken == 1).count(), 3000, "seed {seed}");
        assert!((simulation.now_ms - START_MS) / 3_600_000 <= 20, "seed {seed}");
        assert!(simulation.read < 5 * 3000, "seed {seed}: {} rows were read", simulation.read);
        simulation.domains_hold().unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    }
}

#[test]
fn what_a_domain_deferred_waits_in_the_ledger_for_its_turn() {
    for seed in 0..4 {
        let mut simulation = world(seed, &["a"], &["gmail.com", "other.example"], 2000);
        simulation.limit_domains("a", &[limit(&["gmail.com"], 5000, 3600)]);
        simulation.apply();
        // Everybody at Gmail is greylisted once; then its limit is small.
        simulation.decides = Some(Box::new(|_, recipient, now_ms| {
            (recipient.ends_with("gmail.com") && now_ms < START_MS + 20_000).then(|| Outcome::deferred("450 later".to_owned(), None))
        }));
        while simulation.accepted_at("other.example") < 200 {
            simulation.step();
        }
        simulation.limit_domains("a", &[limit(&["gmail.com"], 300, 3600)]);
        simulation.apply();
        let mut most = 0;
        while simulation.now_ms < START_MS + 40_000 {
            simulation.step();
            let until = simulation.now_ms + 1_000;
            simulation.skip_idle(until);
            most = most.max(simulation.scheduler.campaigns.values().map(|campaign| campaign.backlog.messages).sum());
        }
        assert_eq!(simulation.accepted_at("other.example"), 1000, "seed {seed}: they wait for nobody");
        assert!(most <= 320, "seed {seed}: {most} messages in memory");
        run_to_end(&mut simulation, 3);
        assert_eq!(simulation.fates.values().filter(|fate| fate.taken == 1).count(), 2000, "seed {seed}");
        let commits = simulation.next_seq;
        assert_eq!(commits, 2000, "seed {seed}: a row for each");
    }
}

#[test]
fn another_server_with_room_takes_what_does_not_fit() {
    for seed in 0..4 {
        let mut simulation = world(seed, &["a", "b"], &["gmail.com"], 1000);
        simulation.limit_domains("a", &[limit(&["gmail.com"], 100, 3600)]);
        simulation.apply();
        run_to_end(&mut simulation, 1);
        assert_eq!((simulation.by_server["default/a"], simulation.by_server["default/b"]), (100, 900), "seed {seed}");
        assert!(simulation.now_ms < START_MS + 60_000, "seed {seed}");
    }
}

#[test]
fn a_domain_window_holds_over_kills_whatever_was_held() {
    for seed in 0..30 {
        let mut simulation = world(seed, &["a"], &["gmail.com", "googlemail.com"], 100_000);
        simulation.limit_domains("a", &[limit(&["gmail.com"], 10, 70)]);
        simulation.apply();
        (simulation.latency_ms, simulation.hold_ms) = (20, 80_000);
        simulation.pass(81_000 + 200 * i64::try_from(seed).expect("small"));
        for _ in 0..2 {
            simulation.restart();
            simulation.hold_ms = 0;
            simulation.pass(100);
        }
        simulation.pass(150_000);
        simulation.domains_hold().unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    }
}

#[test]
fn edits_of_limits_forget_nothing() {
    for seed in 0..8 {
        let mut simulation = world(seed, &["a", "b"], &["gmail.com", "other.example"], 4000);
        for server in ["a", "b"] {
            simulation.limit_domains(server, &[limit(&["gmail.com"], 60, 61)]);
        }
        simulation.apply();
        for turn in 0..40 {
            simulation.pass(2_500);
            let domains: &[&str] = if turn % 3 == 0 { &["googlemail.com"] } else { &["gmail.com", "shop.example"] };
            simulation.limit_domains("a", &[limit(domains, 60, 61)]);
            simulation.apply();
        }
        simulation.domains_hold().unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        run_to_end(&mut simulation, 1);
        assert_eq!(simulation.fates.values().filter(|fate| fate.taken == 1).count(), 4000, "seed {seed}");
    }
}

#[test]
fn a_campaigns_own_limit_holds_it_alone() {
    let (spring, summer) = (Key::new("default", "spring"), Key::new("default", "summer"));
    let campaigns = [("default", "spring", 200), ("default", "summer", 200)];
    let mut simulation = Simulation::new(3, Chances::default(), &[("a", 1, &[])], &campaigns, WhenOutcomeIsUnknown::Skip);
    let rates = vec![Rate { messages: 30, per: crate::resources::Duration::from_secs(3600) }];
    let own = CampaignIntent {
        own_limits: Some(SharedLimits { key: "campaign default/spring".into(), rates }),
        ..(*simulation.routing.campaigns[&spring]).clone()
    };
    simulation.routing.campaigns.insert(spring.clone(), Arc::new(own));
    simulation.apply();
    simulation.pass(20_000);
    let report = simulation.scheduler.report(simulation.now_ms, None);
    let accepted = |key: &Key| report.campaigns[key].counts.accepted;
    assert_eq!((accepted(&spring), accepted(&summer)), (30, 200));
    assert!(matches!(report.campaigns[&spring].waiting, crate::report::Waiting::ForLimits(until) if until > START_MS + 3_600_000));
    assert!(simulation.scheduler.wake_at(simulation.now_ms) > simulation.now_ms + 500, "it is not asked again before");
}
