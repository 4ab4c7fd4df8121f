//! Servers and campaigns that leave: what is under way ends as it would have, and then nothing is kept of them.

use super::{domains::limit, *};

const CHANCES: Chances = Chances { rejected: 2, deferred: 15, server_failed: 5, unknown: 2, commit_fails: 5, suppressed: 2 };
/// How many servers, and how many campaigns, there are at a time at most.
const AT_A_TIME: usize = 4;
/// All that is under way has ended within this time, milliseconds.
const ENDS_WITHIN_MS: i64 = 60_000;

impl Simulation {
    /// The control plane puts a server back after a while.
    pub(super) fn fix(&mut self) {
        let back: Vec<Key> = self.out_since.iter().filter(|(_, since)| self.now_ms - **since > 200).map(|(key, _)| key.clone()).collect();
        if back.is_empty() {
            return;
        }
        for key in back {
            self.out_since.remove(&key);
            if let Some(route) = self.routing.servers.get_mut(&key) {
                route.routed = true;
            }
        }
        self.apply();
    }

    /// A server comes, and a campaign that may be sent through it and those that are there; each of both kinds has limits.
    fn come(&mut self, number: u64) {
        let rates = |messages| vec![Rate { messages, per: crate::resources::Duration::from_secs(1) }];
        let intent = ServerIntent { host: format!("s{number}.example").into(), ..server_intent(&rates(50 + self.draw(100))) };
        self.routing.servers.insert(Key::new("default", format!("s{number}")), intent);
        self.limit_domains(&format!("s{number}"), &[limit(&["two.example"], 20, 1)]);
        let mut intent = campaign_intent(work(number));
        intent.servers = self.routing.servers.keys().map(|key| (key.clone(), 1)).collect();
        intent.candidates = self.routing.servers.keys().cloned().collect();
        intent.plan_limits = Some(SharedLimits { key: format!("plan {}", number / 2).into(), rates: rates(100) });
        intent.own_limits = number.is_multiple_of(2).then(|| SharedLimits { key: format!("campaign {number}").into(), rates: rates(80) });
        let key = Key::new("default", format!("c{number}"));
        self.routing.campaigns.insert(key.clone(), Arc::new(intent));
        self.apply();
        let recipients = 20 + self.draw(40);
        self.audience.insert(self.scheduler.campaign_index[&key], recipients);
    }

    /// One of the servers, and one of the campaigns, leaves where there are more than `most`.
    fn leave(&mut self, most: usize) {
        while self.routing.servers.len() > most {
            let at = usize::try_from(self.draw(self.routing.servers.len() as u64)).expect("small");
            let key = self.routing.servers.keys().nth(at).cloned().expect("a server");
            self.routing.servers.remove(&key);
        }
        while self.routing.campaigns.len() > most {
            let at = usize::try_from(self.draw(self.routing.campaigns.len() as u64)).expect("small");
            let key = self.routing.campaigns.keys().nth(at).cloned().expect("a campaign");
            self.routing.campaigns.remove(&key);
        }
        self.apply();
    }
}

/// A thousand in all: each seed has another carriage, and every fifth server refuses all that it is given.
#[test]
fn nothing_is_kept_of_a_thousand_servers_and_campaigns_that_left_at_any_moment() {
    for seed in 0..4 {
        let mut simulation = Simulation::new(seed, CHANCES, &[], &[], WhenOutcomeIsUnknown::Skip);
        simulation.addresses = (0..100).map(|i| format!("u{i}@{}.example", ["one", "two", "three"][i % 3])).collect();
        simulation.decides = Some(Box::new(|server, _, _| {
            server.ends_with(['3', '8']).then(|| Refusal::permanent(Scope::Sender, "554 5.7.1 sender refused").into())
        }));
        let empty = simulation.scheduler.kept();
        for number in 0..250 {
            simulation.come(number);
            for _ in 0..simulation.draw(60) {
                simulation.step();
            }
            simulation.leave(AT_A_TIME);
        }
        simulation.leave(0);
        let until = simulation.now_ms + ENDS_WITHIN_MS;
        while simulation.scheduler.kept() != empty {
            simulation.step();
            assert!(simulation.now_ms < until, "seed {seed}: still there is {:?}", simulation.scheduler.kept());
        }
        simulation.step();
        assert_eq!(simulation.forgotten, (250, 250), "seed {seed}: the task was told of each campaign and each server once");
        assert!(!simulation.bars.is_empty() && simulation.failed_commits > 0, "seed {seed}: the test can fail");
        let still_claimed = simulation.rows.values().filter(|row| row.fate == RowFate::Claimed).count();
        assert_eq!(still_claimed, 0, "seed {seed}: claims that never had an outcome");
    }
}
