//! A rollout in the simulated world: whoever is not in the sample is not mailed, and in the end everybody is, once.

use super::*;
use crate::{
    dispatch::{route::RunSeed, sample::Sample},
    ledger::RolloutChange,
    resources::{
        Percent,
        rollout::{NextStep, Reached},
    },
    routing::RolloutIntent,
};

const PEOPLE: u64 = 300;
const STEPS: [&str; 3] = ["5", "30", "100"];
const KILLS: u32 = 9;

fn percent(text: &str) -> Percent {
    Percent::parse(text).expect("good")
}

impl Simulation {
    /// The ledger changes a rollout, or fails to.
    pub(super) fn change_rollout(&mut self, index: CampaignIx, change: &RolloutChange) {
        if self.draw(100) < self.chances.commit_fails {
            return self.scheduler.rollout_not_changed(index);
        }
        let now_ms = self.now_ms;
        let reached = self.rollouts.get_mut(&index).expect("a rollout");
        match change {
            RolloutChange::Sent(share) if *share == reached.share => {
                reached.sent_ms.get_or_insert(now_ms);
            }
            RolloutChange::Next(next) if next.from == reached.share => {
                *reached = Reached { share: next.to, began_ms: now_ms, sent_ms: None, ..reached.clone() };
            }
            RolloutChange::Sent(_) | RolloutChange::Next(_) => {}
        }
        self.scheduler.rollout_changed(index, Some(reached.clone()));
    }
}

/// A campaign with steps that begins at the first.
fn world(seed: u64, chances: Chances) -> (Simulation, Key) {
    let servers: [(&str, u32, &[Rate]); 2] = [("one", 1, &[]), ("two", 3, &[])];
    let mut world = Simulation::new(seed, chances, &servers, &[("default", "spring", PEOPLE)], WhenOutcomeIsUnknown::Skip);
    let key = Key::new("default", "spring");
    let index = world.scheduler.campaign_index[&key];
    world.rollouts.insert(index, Reached { share: percent(STEPS[0]), ..Reached::default() });
    want(&mut world, &key, None);
    (world, key)
}

fn want(world: &mut Simulation, key: &Key, next: Option<NextStep>) {
    let intent = world.routing.campaigns.get_mut(key).expect("the campaign");
    let wanted = RolloutIntent { first: Some(percent(STEPS[0])), promote: None, next };
    if intent.rollout != wanted {
        *intent = Arc::new(CampaignIntent { rollout: wanted, ..(**intent).clone() });
        world.apply();
    }
}

#[test]
fn nobody_outside_the_sample_is_mailed_and_everybody_once_in_the_end() {
    for seed in 0..16 {
        let chances = Chances { rejected: 3, deferred: 12, server_failed: 2, unknown: 2, commit_fails: 5, suppressed: 2 };
        let (mut world, key) = world(seed, chances);
        let (mut next, mut pauses_until) = (1, None);
        let (mut kills, mut known) = (0, 0);
        let mut kill_at = START_MS + i64::try_from(seed).expect("small") * 7 % 300;
        while world.closed == 0 {
            world.step();
            assert!(world.now_ms < START_MS + 3_600_000, "seed {seed}: it does not end: {:?}", world.scheduler.report(world.now_ms, None));
            let index = world.scheduler.campaign_index[&key];
            let reached = world.rollouts[&index].clone();
            let sample = Sample::new(RunSeed::new(seed, "default", "spring", "first"), reached.share);
            if world.rows.len() > known {
                known = world.rows.len();
                assert!(world.rows.values().all(|row| sample.has(&row.recipient)), "seed {seed}: beyond {}%", reached.share);
            }
            if reached.sent_ms.is_some() && pauses_until.is_none() {
                let known: BTreeSet<&String> = world.rows.values().map(|row| &row.recipient).collect();
                let missed = (0..PEOPLE).map(address).find(|person| sample.has(person) && !known.contains(person));
                assert_eq!(missed, None, "seed {seed}: {}% are not sent yet", reached.share);
                pauses_until = Some(world.now_ms + 50);
            }
            if pauses_until.is_some_and(|until| world.now_ms >= until) && next < STEPS.len() {
                let to = percent(STEPS[next]);
                if reached.share == to {
                    (next, pauses_until) = (next + 1, None);
                    want(&mut world, &key, None);
                } else {
                    want(&mut world, &key, Some(NextStep { from: reached.share, to, bounced: 0, complained: 0, promote: None }));
                }
            }
            // In each phase: while it sends, in the pause, and while the step changes.
            if world.now_ms >= kill_at && kills < KILLS {
                (kill_at, kills) = (world.now_ms + 61, kills + 1);
                world.restart();
                assert_eq!(world.rollouts[&world.scheduler.campaign_index[&key]], reached, "the ledger keeps it");
            }
            world.skip_idle(world.now_ms + 5);
        }
        assert_eq!((next, kills), (STEPS.len(), KILLS), "seed {seed}: every step was taken, and killed in");
        assert!(world.fates.values().all(|fate| fate.taken <= 1), "seed {seed}: twice");
        let known: BTreeSet<&String> = world.rows.values().map(|row| &row.recipient).collect();
        assert_eq!(known.len() as u64, PEOPLE, "seed {seed}: nobody is lost");
        assert!(world.rows.values().all(|row| row.fate.is_final()), "seed {seed}");
    }
}

#[test]
fn a_sample_with_everybody_in_it_completes_the_run() {
    let servers: [(&str, u32, &[Rate]); 1] = [("one", 1, &[])];
    let mut world = Simulation::new(7, Chances::default(), &servers, &[("default", "spring", 1)], WhenOutcomeIsUnknown::Skip);
    let key = Key::new("default", "spring");
    let index = world.scheduler.campaign_index[&key];
    world.rollouts.insert(index, Reached { share: percent("99.999"), ..Reached::default() });
    world.run();
    assert_eq!((world.rows.len(), world.rollouts[&index].sent_ms), (1, None));
}

#[test]
fn steps_hold_for_a_run_that_has_mailed_nobody() {
    let (mut world, key) = world(3, Chances::default());
    let index = world.scheduler.campaign_index[&key];
    // The run was opened without steps, while its servers were not Active.
    let first = world.rollouts.remove(&index).expect("a rollout");
    let intent = |world: &mut Simulation, steps: bool| {
        let intent = world.routing.campaigns.get_mut(&key).expect("the campaign");
        let rollout = RolloutIntent { first: steps.then(|| percent("5")), ..RolloutIntent::default() };
        *intent = Arc::new(CampaignIntent { hold: !steps, rollout, ..(**intent).clone() });
        world.apply();
    };
    intent(&mut world, false);
    (0..20).for_each(|_| world.step());
    assert_eq!(world.scheduler.campaign(index).map(|campaign| campaign.phase), Some(Phase::Resting));
    world.rollouts.insert(index, first);
    intent(&mut world, true);
    (0..5_000).for_each(|_| world.step());
    let sample = Sample::new(RunSeed::new(3, "default", "spring", "first"), percent("5"));
    assert_eq!(world.rows.len(), (0..PEOPLE).filter(|number| sample.has(&address(*number))).count());
    assert!(world.rollouts[&index].sent_ms.is_some() && world.closed == 0);
}
