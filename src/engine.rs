//! The loop: snapshot, decide, act, report. Read this first.
//!
//! Every turn of the loop is the same straight line, whatever woke it: look up what the snapshot refers to (I/O), have pauses of servers
//! recorded that begin or end (I/O), decide over the
//! whole world (pure), then act: start probes, hand the routing table to the dispatcher, write statuses (I/O).

mod contents;
mod ending;
mod facts;
mod feedback;
mod handles;
mod history;
mod identities;
mod lookup;
mod mailboxes;
mod options;
mod pace;
mod probes;
mod standings;
mod statuses;
mod view;
mod webhooks;
mod world;

use std::{
    hash::Hasher as _,
    sync::Arc,
    time::{Duration, SystemTime},
};

use siphasher::sip::SipHasher13;
use tokio::{sync::watch, time::Instant};

pub(crate) use contents::{ContentResolver, NewestSecrets};
pub use ending::{CampaignNote, Ended, FailedCampaign};
use ending::{are_probed, ended, notes, without_ledger};
pub(crate) use facts::{renamed, sends_alike};
pub(crate) use feedback::record;
pub(crate) use handles::build_server;
pub(crate) use history::record_history;
pub(crate) use identities::subject;
pub use lookup::{offline_world_of, world_of};
pub use options::{EngineOptions, Returns};
pub(crate) use probes::probe_once;
pub use view::{ConfigRead, Measured, Objects, ProbeOutcome, View};
pub use webhooks::Webhooks;

use crate::{
    clock::{SteadyClock, processor_time},
    decide::{self, CampaignInput, Decision, Observations, ProbeResult, ServerObservation, World},
    dispatch::{Dispatch, Event, Handover},
    ledger::{Ledger, LedgerError, LedgerErrorKind},
    report::{CampaignReport, Phase},
    resources::Key,
    source::{Snapshot, StatusSink},
    token::return_path::ReturnPaths,
    traces::Span,
};
use identities::{LookDone, Looks};
use lookup::{HandlesVersion, Lookup};
use mailboxes::Mailboxes;
use pace::Pace;
use probes::{ProbeDone, Probes};
use standings::Standings;
use statuses::Statuses;

/// How long the last statuses may take to be written.
const STATUS_GRACE: Duration = Duration::from_secs(5);
/// The interval between two looks at files that were missing; also the longest pause between two turns.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Why the engine cannot run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The ledger cannot be opened, read or written.
    #[error("{0}")]
    Ledger(#[from] LedgerError),
    /// The ledger, as a campaign reports it.
    #[error("{0}")]
    LedgerUnusable(String),
    /// An address cannot be listened at.
    #[error("{0}")]
    CannotListen(String),
}

/// Runs until told to stop, or, with `once`, until every campaign has ended.
///
/// # Errors
/// When the ledger cannot be used, or another process has taken it over.
pub async fn run(
    options: EngineOptions,
    ledger: Ledger,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    sink: StatusSink,
    view: watch::Sender<View>,
    stop: impl Future<Output = ()>,
) -> Result<Ended, EngineError> {
    let (once, grace) = (options.once, options.grace);
    let mut engine = Engine::start(options, ledger, snapshots, sink, view).await?;
    let mut stop = std::pin::pin!(stop);
    loop {
        let (began, busy) = (Instant::now(), processor_time());
        let turn = Span::root("turn");
        let step = turn.part("look up");
        let waited = step.around(engine.look_up()).await;
        step.around(engine.judge_servers()).await;
        drop(step);
        let decision = turn.part("decide").within(|| engine.decide());
        turn.part("act").within(|| engine.act(&decision, began));
        turn.note("mailfleet.servers", i64::try_from(decision.servers.len()).unwrap_or(i64::MAX));
        turn.note("mailfleet.campaigns", i64::try_from(decision.campaigns.len()).unwrap_or(i64::MAX));
        drop(turn);
        if let Some(end) = engine.end(&decision, once) {
            return engine.stop(end, grace).await;
        }
        // On a busy machine a turn also waits for a processor, which is no work.
        let worked = began.elapsed().saturating_sub(waited).min(processor_time().saturating_sub(busy));
        let mut pace = engine.pace(&decision, worked);
        while Instant::now() < pace.due().into() {
            tokio::select! {
                biased;
                () = &mut stop => return engine.stop(End::Told, grace).await,
                is_news = engine.happens(pace.due().into()) => pace.note(std::time::Instant::now(), is_news),
            }
        }
    }
}

/// Why the loop ends.
enum End {
    /// It was told to stop.
    Told,
    /// With `once`: every campaign has ended; holds those that failed.
    Done(Vec<FailedCampaign>),
    /// The ledger cannot be used. Messages in flight are not waited for.
    NoLedger(EngineError),
    /// With `once`: only the ledger stops what is left; holds the message.
    LedgerUnusable(String),
}

struct Engine {
    clock: SteadyClock,
    lookup: Lookup,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    /// Whether the source still sends snapshots.
    is_watching: bool,
    snapshot: Arc<Snapshot>,
    /// When the snapshot was looked up; `None` until it is.
    looked_at: Option<Instant>,
    world: World,
    observed: Observations,
    statuses: Statuses,
    dispatch: Dispatch,
    probes: Probes,
    looks: Looks,
    standings: Standings,
    /// Grows whenever something came back.
    came_back: watch::Receiver<u64>,
    mailboxes: Mailboxes,
    /// The last handover to the data plane.
    handed_over: Handover,
    /// What it was compared with.
    handed_version: HandlesVersion,
    measured: Measured,
    config: ConfigRead,
    view: watch::Sender<View>,
}

impl Engine {
    async fn start(
        options: EngineOptions,
        ledger: Ledger,
        mut snapshots: watch::Receiver<Arc<Snapshot>>,
        sink: StatusSink,
        view: watch::Sender<View>,
    ) -> Result<Self, EngineError> {
        let (looks, came_back) = (Looks::new(options.resolver), options.came_back.clone());
        let return_paths = options.returns.keys.as_deref().and_then(ReturnPaths::new).map(Arc::new);
        let mailboxes = Mailboxes::new(&options);
        let (clock, snapshot) = (SteadyClock::of_process(), snapshots.borrow_and_update().clone());
        let config = ConfigRead::default().after(&snapshot, SystemTime::now());
        Ok(Self {
            clock,
            lookup: Lookup::new(ledger.clone(), options),
            snapshots,
            snapshot,
            is_watching: true,
            looked_at: None,
            world: World::default(),
            observed: Observations { seed: ledger.seed(), ..Observations::default() },
            statuses: Statuses::new(sink),
            dispatch: Dispatch::start(ledger, clock, return_paths).await?,
            probes: Probes::new(),
            looks,
            standings: Standings::default(),
            came_back,
            mailboxes,
            handed_over: Handover::default(),
            handed_version: HandlesVersion::default(),
            measured: Measured::default(),
            config,
            view,
        })
    }

    /// Looks up what the objects refer to (I/O), if anything may have changed, and starts observing new versions of servers afresh.
    /// Returns how long it was idle, waiting.
    async fn look_up(&mut self) -> Duration {
        let is_due = |at: Instant| self.lookup.looks_again_after().is_some_and(|pause| at.elapsed() >= pause);
        let came_back = |at: Instant| at.elapsed() >= LOOK_AGAIN && self.came_back.has_changed().unwrap_or(false);
        if !(self.looked_at.is_none_or(|at| is_due(at) || came_back(at)) || self.lookup.has_new_requests()) {
            return Duration::ZERO;
        }
        self.came_back.mark_unchanged();
        let snapshot = self.snapshot.clone();
        self.statuses.forget_replaced(&snapshot);
        self.world = self.lookup.world(&snapshot, &self.statuses, self.clock.now_ms()).await;
        self.statuses.note_objects(&snapshot, &self.world);
        self.observed.servers.retain(|key, _| self.world.servers.contains_key(key));
        let has_identity = |key: &Key| self.world.servers.get(key).is_some_and(|input| input.identity.is_some());
        self.observed.identities.retain(|key, _| has_identity(key));
        let report = self.dispatch.report.borrow().clone();
        for (key, input) in &self.world.servers {
            if let Some(subject) = &input.identity {
                self.observed.identities.entry(key.clone()).or_default().renew(subject);
            }
            let observation = self.observed.server_mut(key, &report);
            if let Ok(server_hash) = input.built
                && observation.server_hash != server_hash
            {
                *observation = observation.renewed(server_hash);
            }
        }
        self.looked_at = Some(Instant::now());
        self.lookup.waited()
    }

    /// Decides over the whole world.
    fn decide(&mut self) -> Arc<Decision> {
        let now_ms = self.clock.now_ms();
        self.observed.readmit(&self.world.servers, now_ms);
        self.observed.webhooks = self.lookup.webhooks().1;
        for (key, input) in &mut self.world.campaigns {
            input.previous = self.statuses.campaign(key);
        }
        let mut decision = decide::decide(&self.world, &self.observed, now_ms);
        if self.lookup.note(&decision, &mut self.world) {
            decision = decide::decide(&self.world, &self.observed, now_ms);
        }
        self.statuses.date(&self.snapshot, &mut decision, now_ms);
        Arc::new(decision)
    }

    /// Acts on a decision: starts probes, updates the data plane, writes statuses and publishes the view.
    fn act(&mut self, decision: &Arc<Decision>, began: Instant) {
        let now_ms = self.clock.now_ms();
        self.start_probes(decision, now_ms);
        self.start_looks(decision, now_ms);
        self.mailboxes.follow(&self.snapshot, decision, &mut self.observed.mailboxes);
        self.hand_over(decision);
        self.statuses.write(&self.snapshot, decision, now_ms, false);
        self.measured.turned(began.elapsed());
        self.show(decision.clone());
    }

    fn show(&self, decision: Arc<Decision>) {
        let (report, webhooks) = (self.observed.report.clone(), self.lookup.webhooks().0);
        let (measured, config) = (self.measured.clone(), self.config.clone());
        let Snapshot { servers, plans, campaigns, .. } = &*self.snapshot;
        let objects = Objects { servers: servers.clone(), plans: plans.clone(), campaigns: campaigns.clone() };
        self.view.send_replace(View { decision, report, turned_at: Some(Instant::now()), measured, config, webhooks, objects });
    }

    /// Why the loop ends now, if it does.
    fn end(&self, decision: &Decision, once: bool) -> Option<End> {
        if once && let Some(error) = self.ledger_problem().filter(LedgerError::needs_person) {
            return Some(End::NoLedger(EngineError::Ledger(error)));
        }
        // With nothing left to send, status still says of each server what holds now.
        if once
            && are_probed(decision)
            && let Some(failed) = ended(decision, &self.observed.report, self.clock.now_ms())
        {
            return Some(without_ledger(decision).map_or(End::Done(failed), End::LedgerUnusable));
        }
        self.lost_ledger().map(|error| End::NoLedger(EngineError::Ledger(error)))
    }

    /// How the next turn is paced, after one that took so long.
    fn pace(&self, decision: &Decision, worked: Duration) -> Pace {
        let wake = decision.wake_at_ms.min(self.statuses.wake_at_ms()) - self.clock.now_ms();
        let wake = Duration::from_millis(u64::try_from(wake).unwrap_or(0).max(5));
        let wake = wake.min(self.lookup.looks_again_after().unwrap_or(LOOK_AGAIN));
        Pace::after(std::time::Instant::now(), worked, wake)
    }

    /// Waits until something happens, or until `due`; returns whether it may change a decision.
    async fn happens(&mut self, due: Instant) -> bool {
        tokio::select! {
            biased;
            changed = self.snapshots.changed(), if self.is_watching => {
                self.is_watching = changed.is_ok();
                self.snapshot = self.snapshots.borrow_and_update().clone();
                self.config = self.config.after(&self.snapshot, SystemTime::now());
                self.looked_at = None;
                true
            }
            Some(done) = self.probes.next() => self.probed(done),
            Some(done) = self.looks.next() => self.looked(done),
            Some(told) = self.mailboxes.next() => self.mailboxes.note(told, &mut self.observed.mailboxes),
            Some(done) = self.lookup.next_prepared() => self.lookup.prepared(done, &mut self.world),
            Some(event) = self.dispatch.events.recv() => {
                self.noticed(event);
                true
            }
            changed = self.dispatch.report.changed() => {
                if changed.is_ok() {
                    self.reported();
                }
                true
            }
            () = tokio::time::sleep_until(due) => false,
        }
    }

    // ── probes ──

    fn start_probes(&mut self, decision: &Decision, now_ms: i64) {
        for (key, server) in &decision.servers {
            if server.probe_at_ms.is_none_or(|at| at > now_ms) {
                continue;
            }
            let (Some(input), Some(handle)) = (self.world.servers.get(key), self.lookup.server(key)) else { continue };
            let Some(observation) = self.observed.servers.get_mut(key) else { continue };
            observation.probing = true;
            self.probes.start(key, observation.server_hash, &input.object.spec, handle, self.clock);
        }
    }

    /// Takes the result of a probe; returns whether it is news.
    fn probed(&mut self, done: ProbeDone) -> bool {
        if let Some(outcome) = ProbeOutcome::of(&done.result) {
            self.measured.probes.entry((done.provider, outcome)).or_default().note(done.took);
        }
        let Some(input) = self.world.servers.get(&done.key) else { return false };
        let Some(observation) = self.observed.servers.get_mut(&done.key) else { return false };
        // The result of a probe of an older version says nothing about this one.
        if observation.server_hash != done.server_hash {
            return false;
        }
        let seen = |observation: &ServerObservation| {
            (
                observation.last_probe.clone(),
                observation.probes_good,
                observation.send_failure.is_some(),
                observation.quotas.clone(),
                observation.size_max,
            )
        };
        let before = seen(observation);
        if done.result == ProbeResult::Succeeded {
            let report = self.observed.report.servers.get(&done.key);
            observation.size_max = done.probed.size_max.or(observation.size_max);
            observation.note_quotas(&done.probed.quotas, |per| report.map_or(0, |server| server.used_in(per)));
        }
        observation.note_probe(done.result, done.began_ms, self.clock.now_ms(), &input.object.spec.probe());
        before != seen(observation)
    }

    // ── the DNS records of identities ──

    fn start_looks(&mut self, decision: &Decision, now_ms: i64) {
        for (key, server) in &decision.servers {
            if server.look_at_ms.is_none_or(|at| at > now_ms) {
                continue;
            }
            let subject = self.world.servers.get(key).and_then(|input| input.identity.as_ref());
            let (Some(subject), Some(observation)) = (subject, self.observed.identities.get_mut(key)) else { continue };
            observation.looking = true;
            self.looks.start(key, subject.clone());
        }
    }

    /// Takes the result of a look; returns whether it is news.
    fn looked(&mut self, done: LookDone) -> bool {
        let LookDone { key, subject, looked } = done;
        // What was found for an older identity says nothing about this one.
        let Some(observation) = self.observed.identities.get_mut(&key).filter(|known| known.is_of(&subject)) else { return false };
        observation.note(&looked.checks, looked.valid_for, &key, self.observed.seed, self.clock.now_ms())
    }

    // ── the data plane ──

    /// Why the ledger can no longer be written, if another process has taken it over.
    fn lost_ledger(&self) -> Option<LedgerError> {
        let problems = [self.lookup.ledger_problem(), self.observed.report.ledger_problem.as_ref()];
        problems.into_iter().flatten().find(|problem| problem.kind == LedgerErrorKind::Superseded).cloned()
    }

    /// Why the ledger cannot be read or written now, if it cannot.
    fn ledger_problem(&self) -> Option<LedgerError> {
        self.lookup.ledger_problem().or(self.observed.report.ledger_problem.as_ref()).cloned()
    }

    fn noticed(&mut self, event: Event) {
        let Event::ServerFailed { server, failure, failures, trace } = event;
        let accepted = self.dispatch.report.borrow().servers.get(&server).map_or(0, |server| server.accepted);
        trace.within(|| tracing::warn!(%server, reason = %failure.reason, "a send failed: {failure}"));
        if let Some(observation) = self.observed.servers.get_mut(&server) {
            observation.note_send_failure(failure, failures, accepted, self.clock.now_ms());
        }
    }

    fn reported(&mut self) {
        self.observed.report = self.dispatch.report.borrow_and_update().clone();
        // What a resumed run, or a new step, is judged from is in the ledger.
        let is_resumed = |(key, report): (&Key, &CampaignReport)| {
            let known = self.world.campaigns.get(key).filter(|_| report.phase != Phase::Opening);
            let is_at = |input: &CampaignInput| match (&input.rollout, &report.rollout) {
                (Some(known), Some(reached)) => known.is_at(reached),
                (known, reached) => known.is_none() == reached.is_none(),
            };
            known.is_some_and(|input| input.resume_handled.newest() != report.resume_handled.newest() || !is_at(input))
        };
        if self.observed.report.campaigns.iter().any(is_resumed) {
            self.looked_at = None;
        }
    }

    /// Hands over the desired state. The data plane is woken only by a change.
    fn hand_over(&mut self, decision: &Decision) {
        let (version, is_same) = (self.lookup.version(), *self.handed_over.routing == decision.routing);
        if is_same && version == self.handed_version {
            return;
        }
        self.handed_version = version;
        let handles = self.lookup.handles(&decision.routing);
        // Most servers of a large fleet are used by no campaign, and do not concern the data plane.
        if is_same && handles.is_same(&self.handed_over.handles) {
            return;
        }
        self.handed_over = Handover { routing: Arc::new(decision.routing.clone()), handles: Arc::new(handles) };
        self.dispatch.handover.send_replace(self.handed_over.clone());
    }

    /// Shuts the data plane down in good order, and writes the last statuses.
    async fn stop(&mut self, end: End, grace: Duration) -> Result<Ended, EngineError> {
        let grace = if matches!(end, End::NoLedger(_)) { Duration::ZERO } else { grace };
        let clean = self.dispatch.stop(grace).await;
        self.observed.report = self.dispatch.report.borrow().clone();
        for (key, input) in &mut self.world.campaigns {
            input.previous = self.statuses.campaign(key);
        }
        let now_ms = self.clock.now_ms();
        let mut decision = decide::decide(&self.world, &self.observed, now_ms);
        if matches!(end, End::Told) && !self.statuses.are_in_cluster() {
            // In a cluster another process takes over.
            decision.rest();
        }
        self.statuses.date(&self.snapshot, &mut decision, now_ms);
        let notes = notes(&decision);
        let decision = Arc::new(decision);
        self.statuses.write(&self.snapshot, &decision, now_ms, true);
        self.statuses.flush(STATUS_GRACE).await;
        self.show(decision);
        self.lookup.close().await;
        match end {
            End::Told => Ok(Ended { failed: Vec::new(), notes: Vec::new(), clean }),
            End::Done(failed) => Ok(Ended { failed, notes, clean }),
            End::NoLedger(error) => Err(error),
            End::LedgerUnusable(message) => Err(EngineError::LedgerUnusable(message)),
        }
    }
}

/// A hash that is the same in every process.
fn hash(text: &str) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}
