//! Campaigns in simulated time, for `mailfleet simulate`: the decision and the scheduler are those of a process that sends, and the
//! ledger, the servers and the clock are simulated. Pure.
//!
//! What happens on the way is assumed: how long servers take to answer, when they are away, and whom they reject. Everything else
//! follows: weights, limits, warm-up, sending hours, retries, guards and rollouts.

mod control;
mod ledger;
mod people;
mod plane;
mod record;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc};

pub use people::{Crowd, PEOPLE_MAX};
pub use record::{CampaignResult, HOUR_MS, Happening, MINUTE_MS, ServerResult, Simulated};

/// What the ledger knows of a run that has begun.
pub use crate::dispatch::campaign::record::Opened as Begun;

use self::{control::Control, plane::Plane};
use crate::{
    decide::{CampaignDecision, Decision, World},
    ledger::{LedgerError, ServerDay, Usage},
    report::{Phase, Report},
    resources::{ConditionType, Key, campaign::CampaignState, condition},
};

/// The longest time between two turns of the control plane, milliseconds of simulated time.
const TURN_MAX_MS: i64 = 60_000;
/// The shortest time between two turns of which nothing but counts is new.
const TURN_MIN_MS: i64 = 1_000;
/// So many outcomes are worth a turn.
const OUTCOMES_WORTH_A_TURN: u64 = 100;
/// Nothing is due for the scheduler to do later than this: it looks again.
const LOOK_AGAIN_MS: i64 = 10_000;
/// How often, in simulated turns, the caller is told how far it is.
const TOLD_EVERY: u64 = 64;

/// A run that is simulated.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// Its audience.
    pub people: Crowd,
    /// What the ledger knows of it, if it has begun.
    pub begun: Option<Begun>,
}

/// What servers sent before.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// On each UTC day, for warm-up.
    pub days: Vec<ServerDay>,
    /// In each minute, for limits.
    pub usage: Vec<Usage>,
}

/// A time in which a server is away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// The server.
    pub server: Key,
    /// From when on, milliseconds since 1970.
    pub from_ms: i64,
    /// When it is back, milliseconds since 1970.
    pub to_ms: i64,
}

/// Recipients who are rejected.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejection {
    /// By which server; by all when absent: the addresses are dead.
    pub server: Option<Key>,
    /// How many of a hundred.
    pub percent: f64,
}

/// What is assumed.
#[derive(Clone, Debug, PartialEq)]
pub struct Assumptions {
    /// When it begins, milliseconds since 1970.
    pub from_ms: i64,
    /// When it ends at the latest.
    pub until_ms: i64,
    /// How long a server takes to answer a message, milliseconds.
    pub round_trip_ms: i64,
    /// When servers are away.
    pub outages: Vec<Outage>,
    /// Whom servers reject.
    pub rejections: Vec<Rejection>,
    /// Whether a rollout that waits for a person is promoted at once.
    pub promotes: bool,
    /// The seed of picks and of all chance.
    pub seed: u64,
}

/// How far a simulation is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The simulated time, milliseconds.
    pub now_ms: i64,
    /// People with a final outcome.
    pub done: u64,
    /// All people.
    pub people: u64,
}

/// Runs the campaigns of a world until nothing happens any more. `starts` are their runs, and `past` is what counts towards limits;
/// `look` is told how far it is, and may end it.
///
/// # Errors
/// When there is no memory for it.
pub fn simulate(
    world: World,
    starts: BTreeMap<Key, Start>,
    past: Past,
    assumed: &Assumptions,
    look: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<Simulated, LedgerError> {
    let mut found = Simulated { from_ms: assumed.from_ms, to_ms: assumed.from_ms, ..Simulated::default() };
    for (key, start) in &starts {
        found.campaigns.insert(key.clone(), CampaignResult { people: start.people.len() as u64, ..CampaignResult::default() });
    }
    let control = Control::new(world, assumed.seed, assumed.from_ms)?;
    let plane = Plane::new(starts, past, assumed.seed);
    Simulation { assumed, control, plane, found, shown: Shown::default(), outcomes: 0, turned_at: 0, turns: 0 }.run(look)
}

/// What was last shown of objects, to tell what happens.
#[derive(Default)]
struct Shown {
    servers: BTreeMap<Key, bool>,
    campaigns: BTreeMap<Key, CampaignState>,
}

struct Simulation<'a> {
    assumed: &'a Assumptions,
    control: Control,
    plane: Plane,
    found: Simulated,
    shown: Shown,
    /// Final outcomes so far.
    outcomes: u64,
    /// How many there were at the last turn.
    turned_at: u64,
    turns: u64,
}

impl Simulation<'_> {
    fn run(mut self, mut look: impl FnMut(Progress) -> ControlFlow<()>) -> Result<Simulated, LedgerError> {
        let people = self.found.campaigns.values().map(|campaign| campaign.people).sum();
        let mut now_ms = self.assumed.from_ms;
        let (mut decision, mut report) = self.turn(now_ms)?;
        let mut turned_ms = now_ms;
        while !self.is_over((&decision, &report), now_ms) {
            let has_acted = self.step(now_ms);
            self.found.steps += 1;
            let wake_ms = self.plane.scheduler.wake_at(now_ms);
            let mut next_ms = if has_acted { now_ms } else { wake_ms.min(now_ms + LOOK_AGAIN_MS) };
            next_ms = next_ms.min(self.plane.answered_at_ms().unwrap_or(i64::MAX));
            // Without anything on its way and without news, the next thing is what the control plane waits for.
            let turn_ms = self.turn_at_ms(&decision, turned_ms, now_ms);
            now_ms = next_ms.min(turn_ms).max(now_ms + 1);
            if now_ms >= turn_ms {
                (decision, report) = self.turn(now_ms)?;
                turned_ms = now_ms;
                if now_ms >= self.assumed.until_ms || self.told(people, now_ms, &mut look).is_break() {
                    self.found.is_cut = true;
                    break;
                }
            }
        }
        self.found.to_ms = now_ms;
        self.conclude(&decision, &report);
        Ok(self.found)
    }

    /// Whether nothing happens any more: what is not over is stalled, and no server will change that by itself.
    fn is_over(&self, (decision, report): (&Decision, &Report), now_ms: i64) -> bool {
        let is_stalled = |campaign: &CampaignDecision| condition::find(&campaign.status.conditions, ConditionType::Stalled).is_some();
        let mut left = decision.campaigns.iter().filter(|(key, campaign)| !has_ended(key, campaign, report)).peekable();
        left.peek().is_none() || now_ms >= self.control.settles_at_ms(self.assumed) && left.all(|(_, campaign)| is_stalled(campaign))
    }

    fn told(&self, people: u64, now_ms: i64, look: &mut impl FnMut(Progress) -> ControlFlow<()>) -> ControlFlow<()> {
        if self.turns.is_multiple_of(TOLD_EVERY) {
            look(Progress { now_ms, done: self.outcomes, people })
        } else {
            ControlFlow::Continue(())
        }
    }

    /// When the control plane has its next turn.
    fn turn_at_ms(&self, decision: &Decision, turned_ms: i64, now_ms: i64) -> i64 {
        if self.plane.has_news || !self.plane.failed.is_empty() {
            return now_ms;
        }
        let is_worth_it = self.outcomes >= self.turned_at + OUTCOMES_WORTH_A_TURN;
        let soon = if is_worth_it { turned_ms + TURN_MIN_MS } else { i64::MAX };
        let wake = decision.wake_at_ms.max(turned_ms + 1).min(turned_ms + TURN_MAX_MS);
        wake.min(soon).min(self.control.probed_at_ms().unwrap_or(i64::MAX))
    }

    fn step(&mut self, now_ms: i64) -> bool {
        let (control, found, outcomes) = (&mut self.control, &mut self.found, &mut self.outcomes);
        let note = |noted: ledger::Noted<'_>| {
            *outcomes += 1;
            control.note(noted.server, &noted.campaign.namespace, noted.is_accepted, noted.at_ms);
            if noted.is_accepted {
                found.accepted(noted.campaign, noted.server, noted.at_ms);
            }
        };
        self.plane.step(self.assumed, note, now_ms)
    }

    /// A turn of the control plane, and what follows from it.
    fn turn(&mut self, now_ms: i64) -> Result<(Decision, Arc<Report>), LedgerError> {
        self.turns += 1;
        (self.turned_at, self.plane.has_news) = (self.outcomes, false);
        for failed in std::mem::take(&mut self.plane.failed) {
            self.control.server_failed(&failed.server, failed.failure, failed.failures, failed.accepted, now_ms);
        }
        let days = self.plane.usage.completed_days(now_ms);
        let report = Arc::new(Report { days, ..self.plane.scheduler.report(now_ms, None) });
        let decision = self.control.turn(report.clone(), self.assumed, now_ms)?;
        self.plane.apply(&decision.routing, now_ms);
        self.tell(&decision, now_ms);
        Ok((decision, report))
    }

    /// Notes what changed.
    fn tell(&mut self, decision: &Decision, now_ms: i64) {
        for (key, server) in decision.servers.iter().filter(|(_, server)| !server.is_pending()) {
            let was = self.shown.servers.insert(key.clone(), server.active);
            // That a server is Active is told only if it was not.
            if was.unwrap_or(true) == server.active {
                continue;
            }
            let state = if server.active { "Active" } else { "Inactive" };
            let happening = Happening {
                at_ms: now_ms,
                kind: "SendingServer",
                object: key.to_string(),
                state: state.to_owned(),
                why: server.why_inactive.clone(),
            };
            self.found.happened(happening);
        }
        for (key, campaign) in &decision.campaigns {
            let state = campaign.status.state;
            self.note_weights(key, campaign);
            if self.shown.campaigns.insert(key.clone(), state) != Some(state) {
                let why = why(campaign);
                let happening = Happening { at_ms: now_ms, kind: "Campaign", object: key.to_string(), state: format!("{state:?}"), why };
                self.found.happened(happening);
            }
        }
    }

    /// The shares by weight, as they are when a campaign has its servers for the first time.
    fn note_weights(&mut self, key: &Key, campaign: &CampaignDecision) {
        let Some(intent) = campaign.intent.as_ref().filter(|intent| !intent.hold && !intent.servers.is_empty()) else { return };
        let Some(result) = self.found.campaigns.get_mut(key) else { return };
        if result.servers.values().any(|server| server.weight_percent.is_some()) {
            return;
        }
        let total: f64 = intent.servers.iter().map(|(_, weight)| f64::from(*weight)).sum();
        for (server, weight) in intent.servers.iter().filter(|_| total > 0.0) {
            result.servers.entry(server.clone()).or_default().weight_percent = Some(f64::from(*weight) * 100.0 / total);
        }
    }

    fn conclude(&mut self, decision: &Decision, report: &Report) {
        for (key, campaign) in &decision.campaigns {
            let Some(result) = self.found.campaigns.get_mut(key) else { continue };
            (result.state, result.why) = (Some(campaign.status.state), why(campaign));
            result.waits_for_person = campaign.waits_for_person;
            if let Some(run) = report.campaigns.get(key) {
                (result.started_ms, result.completed_ms) = (run.started_ms, run.completed_ms);
                result.counts = run.counts.clone();
            }
        }
    }
}

/// Why a campaign is in its state: what stalls it, or else its condition Ready.
fn why(campaign: &CampaignDecision) -> String {
    let conditions = &campaign.status.conditions;
    let found = condition::find(conditions, ConditionType::Stalled).or_else(|| condition::find(conditions, ConditionType::Ready));
    found.map(|condition| condition.message.to_string()).unwrap_or_default()
}

/// Whether a campaign is over, or goes on by a person's word alone.
fn has_ended(key: &Key, campaign: &CampaignDecision, report: &Report) -> bool {
    let is_closed = report.campaigns.get(key).is_some_and(|run| run.phase == Phase::Closed);
    let is_still = matches!(campaign.status.state, CampaignState::Completed | CampaignState::Suspended | CampaignState::Stopped);
    is_closed || is_still || campaign.waits_for_person
}
