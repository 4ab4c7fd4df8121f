//! Everything at once, by seed: latency, windows, servers that hold, refuse, slow down or lie, failed commits, edits and kills.
//! `SEEDS=2000 cargo test --lib storm` runs more than usual.

use super::*;

/// Seeds that are tried, unless `SEEDS` says otherwise.
const SEEDS: u64 = 300;

fn seeds() -> u64 {
    std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS)
}

/// A long window, which is strict whatever a server does: the writes in the world are checked against it.
fn long_rate(simulation: &mut Simulation) -> Rate {
    Rate { messages: 20 + simulation.draw(60), per: crate::resources::Duration::from_secs(11 + simulation.draw(80)) }
}

fn world(seed: u64, mutant: Option<Mutant>) -> Simulation {
    let names = ["a", "b", "c", "d"];
    let mut chance = Simulation::new(seed, Chances::default(), &[("x", 1, &[])], &[], WhenOutcomeIsUnknown::Skip);
    let count = 1 + usize::try_from(chance.draw(4)).expect("small");
    let rates: Vec<Vec<Rate>> = (0..count)
        .map(|_| match chance.draw(4) {
            0 => vec![Rate { messages: 5 + chance.draw(50), per: crate::resources::Duration::from_secs(1) }],
            1 => vec![long_rate(&mut chance)],
            _ => Vec::new(),
        })
        .collect();
    let servers: Vec<(&str, u32, &[Rate])> =
        names.iter().zip(&rates).map(|(name, rates)| (*name, 1 + u32::try_from(chance.draw(9)).expect("small"), &rates[..])).collect();
    let policy = if chance.draw(2) == 0 { WhenOutcomeIsUnknown::Skip } else { WhenOutcomeIsUnknown::Resend };
    let chances = Chances {
        rejected: chance.draw(4),
        deferred: chance.draw(10),
        server_failed: chance.draw(4),
        unknown: chance.draw(3),
        commit_fails: chance.draw(10),
        suppressed: if seed.is_multiple_of(3) { 5 } else { 0 },
    };
    let campaigns = [("default", "spring", 60 + chance.draw(140)), ("other", "summer", 40 + chance.draw(60))];
    let mut simulation = Simulation::new(seed, chances, &servers, &campaigns, policy);
    simulation.scheduler.mutant = mutant;
    simulation.latency_ms = [0, 20, 80][usize::try_from(chance.draw(3)).expect("small")];
    simulation.hold_ms = [0, 200, 15_000][usize::try_from(chance.draw(3)).expect("small")];
    if chance.draw(3) == 0 {
        // It slows down now and then, and says so.
        simulation.decides = Some(Box::new(move |server, recipient, now_ms| {
            let is_slow = (now_ms / 3000) % 3 == 0 && server == "default/a" && recipient.len() % 2 == 0;
            is_slow.then(|| Outcome::ServerFailed(Blocker::passing(Reason::Throttled, "450 too fast")))
        }));
    }
    if chance.draw(3) == 0 {
        simulation = simulation.strict();
    }
    if chance.draw(2) == 0 {
        limit_domains(&mut simulation, &mut chance);
    }
    simulation.apply();
    simulation
}

/// People of five domains, two of which are one provider's, and limits for some of them at some servers.
fn limit_domains(simulation: &mut Simulation, chance: &mut Simulation) {
    let domains = ["gmail.com", "googlemail.com", "yahoo.com", "shop.example", "example.com"];
    let weights = [3, 1, 2, 2, 4];
    let spread: Vec<&str> = domains.iter().zip(weights).flat_map(|(domain, weight)| std::iter::repeat_n(*domain, weight)).collect();
    simulation.addresses = (0..300)
        .map(|number| format!("user{number}@{}", spread[usize::try_from(chance.draw(spread.len() as u64)).expect("small")]))
        .collect();
    for server in simulation.routing.servers.values_mut() {
        let of_google =
            [vec!["gmail.com"], vec!["gmail.com", "yahoo.com"], vec!["yahoo.com"]][usize::try_from(chance.draw(3)).expect("small")].clone();
        server.per_domain = [(of_google, chance.draw(3)), (vec!["shop.example"], chance.draw(3))]
            .into_iter()
            .filter(|(_, drawn)| *drawn > 0)
            .map(|(domains, drawn)| {
                let rate = if drawn == 1 {
                    Rate { messages: 3 + chance.draw(9), ..long_rate(chance) }
                } else {
                    Rate { messages: 2 + chance.draw(8), per: crate::resources::Duration::from_secs(1) }
                };
                DomainIntent { domains: domains.into_iter().map(Into::into).collect(), rates: vec![rate] }
            })
            .collect();
    }
}

/// Runs to the end with edits and kills, and checks what must hold. An `Err` says what did not.
fn storm(seed: u64, mutant: Option<Mutant>) -> Result<(), String> {
    let mut simulation = world(seed, mutant);
    let audience: u64 = simulation.audience.values().sum();
    let kills = [0, 0, 1, 2, 4][usize::try_from(simulation.draw(5)).expect("small")];
    let mut killed = 0;
    let key = Key::new("default", "spring");
    while simulation.closed < simulation.audience.len() {
        simulation.step();
        let until = simulation.now_ms + 1_000;
        simulation.skip_idle(until);
        if simulation.now_ms > START_MS + 40 * 3_600_000 {
            return Err(format!("it does not end: {:?}", simulation.scheduler.report(simulation.now_ms, None)));
        }
        let is_over = simulation.closed == simulation.audience.len();
        if !is_over && killed < kills && simulation.draw(300) == 0 {
            simulation.restart();
            killed += 1;
        } else if simulation.draw(500) == 0 {
            let mut intent = (*simulation.routing.campaigns[&key]).clone();
            Arc::make_mut(&mut intent.work).work_hash += 1;
            simulation.routing.campaigns.insert(key.clone(), Arc::new(intent));
            simulation.apply();
        }
    }
    let rows = simulation.rows.len() as u64;
    if rows != audience || simulation.rows.values().any(|row| !row.fate.is_final()) {
        return Err(format!("{rows} rows of {audience} recipients, or one without a final outcome"));
    }
    let resends = simulation.routing.campaigns[&key].work.when_outcome_is_unknown == WhenOutcomeIsUnknown::Resend;
    if let Some(((_, who), fate)) = simulation.fates.iter().find(|(_, fate)| fate.taken > 1 && !resends) {
        return Err(format!("{who} was mailed {} times", fate.taken));
    }
    let report = simulation.scheduler.report(simulation.now_ms, None);
    for (key, campaign) in &report.campaigns {
        let index = simulation.scheduler.campaign_index[key];
        for fate in RowFate::ALL {
            let counted = campaign.counts.of(fate);
            let there = simulation.rows.iter().filter(|((of, _), row)| *of == index && row.fate == fate).count() as u64;
            if fate != RowFate::Claimed && counted != there {
                return Err(format!("{key}: {counted} counted as {fate}, and there are {there}"));
            }
        }
    }
    for (server, route) in &simulation.routing.servers {
        let mut written = simulation.written.get(&server.to_string()).cloned().unwrap_or_default();
        written.sort_unstable();
        for rate in route.rates.iter().filter(|rate| rate.per.std() > crate::providers::gate::GATED_MAX) {
            let (per, most) = (rate.per.as_millis(), usize::try_from(rate.messages).expect("small"));
            if let Some(stretch) = written.windows(most + 1).find(|stretch| stretch[most] - stretch[0] < per) {
                return Err(format!("{server}: {} messages in {} ms, {rate:?}", most + 1, stretch[most] - stretch[0]));
            }
        }
    }
    simulation.domains_hold()?;
    strict_shares(&simulation, killed)
}

/// With strict shares and nothing that fails, a server that is slowed by its window keeps its share.
fn strict_shares(simulation: &Simulation, killed: u64) -> Result<(), String> {
    let intent = &simulation.routing.campaigns[&Key::new("default", "spring")];
    let has_failed = simulation.chances.server_failed > 0 || simulation.chances.unknown > 0 || simulation.decides.is_some();
    if intent.weighting != Weighting::Strict || killed > 0 || has_failed {
        return Ok(());
    }
    let total: u64 = simulation.by_server.values().sum();
    let weights: u32 = intent.servers.iter().map(|(_, weight)| *weight).sum();
    for (server, weight) in &*intent.servers {
        #[allow(clippy::cast_precision_loss)]
        let (took, share) =
            (simulation.by_server.get(&server.to_string()).copied().unwrap_or(0) as f64, f64::from(*weight) / f64::from(weights));
        #[allow(clippy::cast_precision_loss)]
        let (expected, deviation) = (total as f64 * share, (total as f64 * share * (1.0 - share)).sqrt());
        // Five standard deviations: once in two million.
        if (took - expected).abs() > 5.0 * deviation + 1.0 {
            return Err(format!("{server} took {took} of {total}, and its share is {expected:.0}"));
        }
    }
    Ok(())
}

#[test]
fn whatever_happens_what_must_hold_does() {
    for seed in 0..seeds() {
        let stormed = std::panic::catch_unwind(|| storm(seed, None));
        if let Err(what) = stormed.unwrap_or_else(|_| Err("see above".to_owned())) {
            panic!("seed {seed}: {what}");
        }
    }
}

/// Every deliberate mistake is found; otherwise the tests above are worth nothing.
#[test]
fn mistakes_on_purpose_are_found() {
    let mutants = [
        Mutant::ContentBeforeCommit,
        Mutant::LeaseGivenBackTwice,
        Mutant::CountAppliedTwice,
        Mutant::WindowForgetsInFlight,
        Mutant::OverflowIgnoresStrict,
        Mutant::DomainForgetsInFlight,
        Mutant::PassedOverAreForgotten,
    ];
    for mutant in mutants {
        let found = (0..200).find(|seed| std::panic::catch_unwind(|| storm(*seed, Some(mutant))).map_or(true, |result| result.is_err()));
        println!("{mutant:?}: found by seed {found:?}");
        assert!(found.is_some(), "{mutant:?} was not found within 200 seeds");
    }
}
