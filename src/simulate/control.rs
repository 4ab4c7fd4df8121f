//! The control plane in simulated time: the decision over the objects, probes of servers that are away for a while, and what judges
//! servers by what came of their messages. Pure.

use std::{collections::BTreeMap, sync::Arc};

use super::{Assumptions, TURN_MAX_MS};
use crate::{
    decide::{Decision, InLedger, Observations, ProbeResult, ServerObservation, World, decide, pauses},
    feedback::{Change, Judged, PauseChange},
    ledger::{LedgerError, Results, StandingOf},
    report::Report,
    resources::{Blocker, Key, Reason},
};

const DAY_MS: i64 = 86_400_000;

/// What decides.
pub(super) struct Control {
    world: World,
    observed: Observations,
    results: Results,
    /// Probes under way: when they end, and of which servers.
    probes: Vec<(i64, i64, Key)>,
    /// What came of servers' messages since the last turn, by server, namespace and minute.
    lately: BTreeMap<(Key, Arc<str>, i64), Judged>,
    /// How often a person's word was given.
    promotions: u64,
}

impl Control {
    pub(super) fn new(world: World, seed: u64, from_ms: i64) -> Result<Self, LedgerError> {
        let mut observed = Observations { seed, ..Observations::default() };
        for (key, input) in &world.servers {
            let server_hash = input.built.clone().unwrap_or_default();
            observed.servers.insert(key.clone(), ServerObservation { server_hash, ..ServerObservation::default() });
        }
        let results = known(&world, from_ms)?;
        Ok(Self { world, observed, results, probes: Vec::new(), lately: BTreeMap::new(), promotions: 0 })
    }

    /// A server accepted or rejected a message of a namespace's campaign.
    pub(super) fn note(&mut self, server: &Key, namespace: &Arc<str>, is_accepted: bool, at_ms: i64) {
        let minute = at_ms.div_euclid(60_000);
        let judged = self.lately.entry((server.clone(), namespace.clone(), minute)).or_default();
        *(if is_accepted { &mut judged.accepted } else { &mut judged.rejected }) += 1;
    }

    /// The data plane took a server out of use.
    pub(super) fn server_failed(&mut self, server: &Key, failure: Blocker, failures: u64, accepted: u64, now_ms: i64) {
        if let Some(observation) = self.observed.servers.get_mut(server) {
            observation.note_send_failure(failure, failures, accepted, now_ms);
        }
    }

    /// When a probe ends next.
    pub(super) fn probed_at_ms(&self) -> Option<i64> {
        self.probes.iter().map(|(ends_ms, ..)| *ends_ms).min()
    }

    /// From when on no server changes by itself any more: none is away or paused, and each was probed since.
    pub(super) fn settles_at_ms(&self, assumed: &Assumptions) -> i64 {
        let servers = || self.world.servers.iter();
        let back = assumed.outages.iter().filter_map(|outage| {
            let probe = self.world.servers.get(&outage.server)?.object.spec.probe();
            // Failed probes are repeated less and less often, but no less than these.
            Some(outage.to_ms + probe.interval.as_millis() * 2)
        });
        let pauses = servers().flat_map(|(_, input)| &input.past.standing.pauses).filter_map(|pause| pause.ends_at_ms);
        back.chain(pauses.map(|ends_ms| ends_ms + TURN_MAX_MS)).max().unwrap_or(i64::MIN)
    }

    /// A turn of the engine.
    pub(super) fn turn(&mut self, report: Arc<Report>, assumed: &Assumptions, now_ms: i64) -> Result<Decision, LedgerError> {
        self.end_probes(assumed, now_ms);
        self.judge(now_ms)?;
        for (key, run) in &report.campaigns {
            let Some(input) = self.world.campaigns.get_mut(key) else { continue };
            if run.started_ms.is_some() {
                input.in_ledger = InLedger::Begun;
            }
            input.has_sent = run.has_sent;
            input.rollout.clone_from(&run.rollout);
            input.resume_handled = run.resume_handled.clone();
        }
        self.observed.report = report;
        self.observed.readmit(&self.world.servers, now_ms);
        let mut decision = decide(&self.world, &self.observed, now_ms);
        if self.promote(&decision, assumed) {
            decision = decide(&self.world, &self.observed, now_ms);
        }
        for (key, campaign) in &decision.campaigns {
            if let Some(input) = self.world.campaigns.get_mut(key) {
                input.previous = Some(Arc::new(campaign.status.clone()));
            }
        }
        self.begin_probes(&decision, assumed, now_ms);
        Ok(decision)
    }

    /// Gives a person's word where a rollout waits for it, if that is assumed.
    fn promote(&mut self, decision: &Decision, assumed: &Assumptions) -> bool {
        let waits: Vec<&Key> = decision
            .campaigns
            .iter()
            .filter(|(_, campaign)| assumed.promotes && campaign.waits_for_person && campaign.status.rollout.is_some())
            .map(|(key, _)| key)
            .collect();
        for key in &waits {
            self.promotions += 1;
            if let Some(input) = self.world.campaigns.get_mut(*key) {
                input.promote = Some(format!("simulated-{}", self.promotions));
            }
        }
        !waits.is_empty()
    }

    fn begin_probes(&mut self, decision: &Decision, assumed: &Assumptions, now_ms: i64) {
        for (key, server) in &decision.servers {
            if server.probe_at_ms.is_none_or(|at| at > now_ms) {
                continue;
            }
            if let Some(observation) = self.observed.servers.get_mut(key) {
                observation.probing = true;
                self.probes.push((now_ms + assumed.round_trip_ms, now_ms, key.clone()));
            }
        }
    }

    fn end_probes(&mut self, assumed: &Assumptions, now_ms: i64) {
        let (ended, open) = std::mem::take(&mut self.probes).into_iter().partition(|(ends_ms, ..)| *ends_ms <= now_ms);
        self.probes = open;
        let ended: Vec<(i64, i64, Key)> = ended;
        for (ends_ms, began_ms, key) in ended {
            let (Some(input), Some(observation)) = (self.world.servers.get(&key), self.observed.servers.get_mut(&key)) else { continue };
            let result = match assumed.outage(&key, ends_ms) {
                Some(failure) => ProbeResult::Failed(failure),
                None => ProbeResult::Succeeded,
            };
            observation.note_probe(result, began_ms, now_ms, &input.object.spec.probe());
        }
    }

    /// Judges servers by what came of their messages, and begins and ends their pauses.
    fn judge(&mut self, now_ms: i64) -> Result<(), LedgerError> {
        for ((server, namespace, minute), judged) in std::mem::take(&mut self.lately) {
            self.results.note(&server, &namespace, judged, minute * 60_000)?;
        }
        let is_judged = |input: &crate::decide::ServerInput| {
            let spec = &input.object.spec;
            spec.pause_when().is_some() || spec.warmup.is_some() || input.past.standing.returned.is_some()
        };
        if !self.world.servers.values().any(is_judged) {
            return Ok(());
        }
        self.read(now_ms)?;
        let changes = pauses::changes(&self.world, now_ms);
        for change in &changes {
            self.results.change(change, now_ms)?;
        }
        if changes.is_empty() { Ok(()) } else { self.read(now_ms) }
    }

    fn read(&mut self, now_ms: i64) -> Result<(), LedgerError> {
        let asked: Vec<StandingOf> =
            self.world.servers.iter().map(|(key, input)| StandingOf::new(key, pauses::asks_for(&input.object.spec, now_ms))).collect();
        let mut known = self.results.standings(&asked)?;
        for (key, input) in &mut self.world.servers {
            input.past.standing = known.remove(&key.to_string()).unwrap_or_default().standing;
        }
        Ok(())
    }
}

/// What the ledger knew of servers: their pauses, and what came of their messages.
fn known(world: &World, from_ms: i64) -> Result<Results, LedgerError> {
    let results = Results::new()?;
    for (key, input) in &world.servers {
        let standing = &input.past.standing;
        for (day, judged) in &standing.days {
            results.note(key, "", *judged, day * DAY_MS)?;
        }
        // The same messages, where whole days are not asked for.
        for (namespace, judged) in standing.results.iter().filter(|_| standing.days.is_empty()) {
            results.note(key, namespace, *judged, from_ms)?;
        }
        for pause in &standing.pauses {
            results.change(&PauseChange { server: key.clone(), what: Change::Begins(pause.clone()) }, from_ms)?;
        }
    }
    Ok(results)
}

impl Assumptions {
    /// Why a server is away at this time, if it is.
    pub(super) fn outage(&self, server: &Key, at_ms: i64) -> Option<Blocker> {
        let is_away = self.outages.iter().any(|outage| outage.server == *server && (outage.from_ms..outage.to_ms).contains(&at_ms));
        is_away.then(|| Blocker::passing(Reason::ConnectionRefused, "The server is away, as the simulation was told."))
    }
}
