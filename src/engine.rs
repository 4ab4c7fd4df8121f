//! The loop: snapshot, decide, act, report. Read this first.
//!
//! Every turn is the same straight line, whatever woke it: look up what the snapshot refers to (I/O), decide over the
//! whole world (pure), then act: start probes, hand the routing table to the dispatcher, write statuses (I/O).

pub(crate) mod lookup;
mod statuses;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::Instant,
};

use crate::{
    decide::{self, Decision, Observations, ProbeResult, ServerObservation, World},
    dispatch::{Dispatch, Event, Order, Report, RouteServer, Routing, report::SteadyClock, warmup},
    egress::Egress,
    ledger::{HeldFate, Ledger, LedgerError, LedgerErrorKind, Resumption},
    providers::{Failure, Provider as _, Quota, Server},
    resources::{
        Condition, ConditionType, Duration as Span, Key, Reason,
        campaign::CampaignState,
        resume::{Resume, ResumeHeld},
        sending_server::EffectiveProbe,
    },
    source::{Snapshot, StatusSink},
};
use lookup::Lookup;
use statuses::Statuses;

/// For the last statuses.
const STATUS_GRACE: Duration = Duration::from_secs(5);
/// Probes at a time.
const PROBES_MAX: usize = 64;
/// Between two looks at files that were missing; the longest pause between two turns.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// After a turn the loop rests for so many times as long as the turn took, within these bounds.
const REST_FACTOR: u32 = 14;
const REST_MIN: Duration = Duration::from_millis(5);
const REST_MAX: Duration = Duration::from_secs(2);
/// What changes nothing but the time of the next probe waits so long to be taken with others.
const UNHURRIED: Duration = Duration::from_secs(1);

/// How the engine runs.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Where ledger and status are.
    pub state_dir: PathBuf,
    /// End when every campaign has ended.
    pub once: bool,
    /// Send everything into outboxes.
    pub dry_run: bool,
    /// How long what is on the wire may take when the process is told to stop.
    pub grace: Duration,
    /// In a cluster: the only namespace whose plans count.
    pub plan_namespace: Option<String>,
    /// Where audiences may be fetched from, and where customers' servers may be.
    pub egress: Egress,
    /// The programs that servers of the operator may run as sendmail.
    pub allow_sendmail: Arc<[PathBuf]>,
}

/// What can be seen of the engine from outside, for progress.
#[derive(Clone, Default)]
pub struct View {
    /// The newest decision.
    pub decision: Arc<Decision>,
    /// The newest counts.
    pub report: Arc<Report>,
    /// When it was decided.
    pub turned_at: Option<Instant>,
    /// How long that turn took, with its look.
    pub turn: Duration,
    /// How long the longest turn took since the process began.
    pub longest_turn: Duration,
}

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Campaigns that did not complete: key, state, and why.
    pub failed: Vec<(Key, CampaignState, String)>,
    /// Whether everything on the wire had an end before the process stopped.
    pub clean: bool,
}

/// Why the engine cannot run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The ledger.
    #[error("{0}")]
    Ledger(#[from] LedgerError),
    /// The ledger, as a campaign met it: in words.
    #[error("{0}")]
    LedgerUnusable(String),
}

struct ProbeDone {
    key: Key,
    fingerprint: u64,
    began_ms: i64,
    result: ProbeResult,
    quotas: Vec<Quota>,
}

/// Runs until told to stop, or, with `once`, until every campaign has ended.
///
/// # Errors
/// When the ledger cannot be used, or another process has taken it over.
pub async fn run(
    options: EngineOptions,
    ledger: Ledger,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    sink: StatusSink,
    view: watch::Sender<View>,
    stop: impl Future<Output = ()>,
) -> Result<Ended, EngineError> {
    let dispatch = Dispatch::start(ledger.clone()).await?;
    let (probe_sender, mut probes) = mpsc::unbounded_channel();
    let (once, grace) = (options.once, options.grace);
    let mut engine = Engine {
        clock: SteadyClock::default(),
        lookup: Lookup::new(ledger.clone(), options),
        snapshot: snapshots.borrow_and_update().clone(),
        world: World::default(),
        observed: Observations { seed: ledger.seed(), ..Observations::default() },
        statuses: Statuses::new(sink),
        dispatch,
        probe_sender,
        probe_permits: Arc::new(Semaphore::new(PROBES_MAX)),
        routing: None,
        longest_turn: Duration::ZERO,
        view,
    };
    let mut stop = std::pin::pin!(stop);
    let mut looked_at = None::<Instant>;
    let mut watching = true;
    loop {
        let began = Instant::now();
        let is_due = |at: Instant| engine.lookup.looks_again_after().is_some_and(|pause| at.elapsed() >= pause);
        let look_again = looked_at.is_none_or(is_due) || engine.lookup.has_new_requests();
        if look_again {
            engine.look_up().await;
            looked_at = Some(Instant::now());
        }
        let decision = engine.turn(began);
        if once && let Some(error) = engine.ledger_problem().filter(LedgerError::needs_person) {
            engine.stop(Duration::ZERO).await;
            return Err(EngineError::Ledger(error));
        }
        if once && let Some(failed) = ended(&decision) {
            let clean = engine.stop(grace).await;
            return match without_ledger(&decision) {
                Some(message) => Err(EngineError::LedgerUnusable(message)),
                None => Ok(Ended { failed, clean }),
            };
        }
        if let Some(error) = engine.lost_ledger() {
            engine.stop(Duration::ZERO).await;
            return Err(EngineError::Ledger(error));
        }
        let wake = decision.wake_at_ms.min(engine.statuses.wake_at_ms()) - engine.clock.now_ms();
        let wake =
            Duration::from_millis(u64::try_from(wake).unwrap_or(0).max(5)).min(engine.lookup.looks_again_after().unwrap_or(LOOK_AGAIN));
        // A large world takes longer to decide; what happens meanwhile is decided together.
        let worked = began.elapsed().saturating_sub(if look_again { engine.lookup.waited() } else { Duration::ZERO });
        let not_before = Instant::now() + (worked * REST_FACTOR).clamp(REST_MIN, REST_MAX);
        let mut turn_at = Instant::now() + wake;
        while Instant::now() < turn_at.max(not_before) {
            let soon = tokio::select! {
                biased;
                () = &mut stop => {
                    let clean = engine.stop(grace).await;
                    return Ok(Ended { failed: Vec::new(), clean });
                }
                changed = snapshots.changed(), if watching => {
                    watching = changed.is_ok();
                    engine.snapshot = snapshots.borrow_and_update().clone();
                    looked_at = None;
                    true
                }
                Some(done) = probes.recv() => engine.probed(done),
                Some(done) = engine.lookup.next_prepared() => engine.lookup.prepared(done, &mut engine.world),
                Some(event) = engine.dispatch.events.recv() => {
                    engine.noticed(event);
                    true
                }
                changed = engine.dispatch.report.changed() => {
                    if changed.is_ok() {
                        engine.reported();
                    }
                    true
                }
                () = tokio::time::sleep_until(turn_at.max(not_before)) => false,
            };
            turn_at = turn_at.min(Instant::now() + if soon { Duration::ZERO } else { UNHURRIED });
        }
    }
}

/// With `once`: whether every campaign has ended, and those that failed.
fn ended(decision: &Decision) -> Option<Vec<(Key, CampaignState, String)>> {
    let mut failed = Vec::new();
    for (key, campaign) in &decision.campaigns {
        let status = &campaign.status;
        let stalled = status.conditions.iter().find(|condition| condition.kind == ConditionType::Stalled);
        match (status.state, stalled) {
            (CampaignState::Completed, None) | (CampaignState::Suspended, _) => {}
            (state, Some(condition)) => failed.push((key.clone(), state, condition.message.to_string())),
            _ => return None,
        }
    }
    Some(failed)
}

/// What a campaign says that only the ledger stops.
fn without_ledger(decision: &Decision) -> Option<String> {
    let mut conditions = decision.campaigns.values().flat_map(|campaign| &campaign.status.conditions);
    let is_it = |condition: &&Condition| condition.kind == ConditionType::Stalled && condition.reason == Reason::LedgerUnavailable;
    conditions.find(is_it).map(|condition| condition.message.to_string())
}

struct Engine {
    clock: SteadyClock,
    lookup: Lookup,
    snapshot: Arc<Snapshot>,
    world: World,
    observed: Observations,
    statuses: Statuses,
    dispatch: Dispatch,
    probe_sender: mpsc::UnboundedSender<ProbeDone>,
    probe_permits: Arc<Semaphore>,
    /// What the dispatcher was told last.
    routing: Option<Arc<Routing>>,
    longest_turn: Duration,
    view: watch::Sender<View>,
}

impl Engine {
    /// Looks up what the objects refer to (I/O), and starts the observation of new versions of servers afresh.
    async fn look_up(&mut self) {
        let snapshot = self.snapshot.clone();
        self.statuses.forget_replaced(&snapshot);
        self.world = self.lookup.world(&snapshot, &self.statuses, self.clock.now_ms()).await;
        self.statuses.note_objects(&snapshot, &self.world);
        self.observed.servers.retain(|key, _| self.world.servers.contains_key(key));
        let report = self.dispatch.report.borrow().clone();
        for (key, input) in &self.world.servers {
            let observation = self.observed.server_mut(key, &report);
            if let Ok(fingerprint) = input.built
                && observation.fingerprint != fingerprint
            {
                *observation = observation.renewed(fingerprint);
            }
        }
    }

    /// One turn, which began with the look: decide, then act.
    fn turn(&mut self, began: Instant) -> Arc<Decision> {
        let now_ms = self.clock.now_ms();
        self.readmit(now_ms);
        for (key, input) in &mut self.world.campaigns {
            input.previous = self.statuses.campaign(key);
        }
        let mut decision = decide::decide(&self.world, &self.observed, now_ms);
        if self.lookup.note(&decision, &mut self.world) {
            decision = decide::decide(&self.world, &self.observed, now_ms);
        }
        let decision = Arc::new(decision);
        self.start_probes(&decision, now_ms);
        self.hand_over(&decision, now_ms);
        self.statuses.write(&self.snapshot, &decision, now_ms, false);
        let turn = began.elapsed();
        self.longest_turn = self.longest_turn.max(turn);
        self.view.send_replace(View {
            decision: decision.clone(),
            report: self.observed.report.clone(),
            turned_at: Some(Instant::now()),
            turn,
            longest_turn: self.longest_turn,
        });
        decision
    }

    fn readmit(&mut self, now_ms: i64) {
        for (key, observation) in &mut self.observed.servers {
            let Some(input) = self.world.servers.get(key) else { continue };
            let accepted = self.observed.report.servers.get(key).map_or(0, |server| server.accepted);
            observation.readmit(&input.object.spec.probe(), accepted, now_ms);
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
            let fingerprint = observation.fingerprint;
            let (probe, address) = (input.object.spec.probe(), input.object.spec.provider.address());
            let (done, permits, key, clock) = (self.probe_sender.clone(), self.probe_permits.clone(), key.clone(), self.clock);
            tokio::spawn(async move {
                // The permits are never closed.
                let _permit = permits.acquire_owned().await;
                let began_ms = clock.now_ms();
                let (result, quotas) = probe_once(handle, &probe, &address).await;
                let _ = done.send(ProbeDone { key, fingerprint, began_ms, result, quotas });
            });
        }
    }

    /// Takes the result of a probe; whether it says anything new.
    fn probed(&mut self, done: ProbeDone) -> bool {
        let Some(input) = self.world.servers.get(&done.key) else { return false };
        let Some(observation) = self.observed.servers.get_mut(&done.key) else { return false };
        // The end of a probe of an older version says nothing of this one.
        if observation.fingerprint != done.fingerprint {
            return false;
        }
        let seen = |observation: &ServerObservation| {
            (observation.last_probe.clone(), observation.probes_good, observation.send_failure.is_some(), observation.quotas.clone())
        };
        let before = seen(observation);
        if done.result == ProbeResult::Succeeded {
            let report = self.observed.report.servers.get(&done.key);
            observation.note_quotas(&done.quotas, |per| report.map_or(0, |server| server.used_in(per)));
        }
        observation.note_probe(done.result, done.began_ms, self.clock.now_ms(), &input.object.spec.probe());
        before != seen(observation)
    }

    // ── the data plane ──

    /// Why nothing can be written to the ledger any more: another process has it.
    fn lost_ledger(&self) -> Option<LedgerError> {
        self.observed.report.ledger_problem.clone().filter(|problem| problem.kind == LedgerErrorKind::Superseded)
    }

    /// Why the ledger cannot be asked or written now.
    fn ledger_problem(&self) -> Option<LedgerError> {
        self.lookup.ledger_problem().or(self.observed.report.ledger_problem.as_ref()).cloned()
    }

    fn noticed(&mut self, event: Event) {
        let Event::ServerFailed(key, failure, count) = event;
        let accepted = self.dispatch.report.borrow().servers.get(&key).map_or(0, |server| server.accepted);
        tracing::warn!(server = %key, reason = %failure.reason, "a send failed: {failure}");
        if let Some(observation) = self.observed.servers.get_mut(&key) {
            observation.note_send_failure(failure, count, accepted, self.clock.now_ms());
        }
    }

    fn reported(&mut self) {
        self.observed.report = self.dispatch.report.borrow_and_update().clone();
    }

    fn hand_over(&mut self, decision: &Decision, now_ms: i64) {
        let routing = self.routing(decision, now_ms);
        // The dispatcher is woken only by a change.
        if self.routing.as_ref().is_none_or(|told| !is_same(told, &routing)) {
            let routing = Arc::new(routing);
            self.routing = Some(routing.clone());
            self.dispatch.routing.send_replace(routing);
        }
    }

    fn routing(&self, decision: &Decision, now_ms: i64) -> Routing {
        let today = jiff::Timestamp::from_millisecond(now_ms).unwrap_or_default().to_zoned(jiff::tz::TimeZone::UTC).date();
        let mut routing = Routing::default();
        let orders = decision.campaigns.values().filter_map(|campaign| campaign.order.as_ref());
        // Campaigns of one plan have one list.
        let lists: BTreeMap<*const Key, &[Key]> = orders.map(|order| (order.candidates.as_ptr(), &*order.candidates)).collect();
        let used: BTreeSet<&Key> = lists.into_values().flatten().collect();
        for (key, server) in &decision.servers {
            // A server that no campaign has used costs the dispatcher nothing; one that was used keeps its counts.
            if !used.contains(key) && !self.observed.report.servers.contains_key(key) {
                continue;
            }
            let Some(input) = self.world.servers.get(key) else { continue };
            let (spec, limits) = (&input.object.spec, input.object.spec.limits());
            let observation = self.observed.servers.get(key);
            routing.servers.insert(
                key.clone(),
                RouteServer {
                    server: self.lookup.server(key),
                    routed: server.routed,
                    is_on_trial: server.on_trial,
                    host: host_of(&spec.provider.address()).into(),
                    acknowledged_failures: observation.map_or(0, |observation: &ServerObservation| observation.acknowledged_failures),
                    limits_fingerprint: lookup::hash(&format!("{:?}", server.status.effective.rates)),
                    rates: server.status.effective.rates.clone(),
                    warmup_today: spec.warmup.as_ref().and_then(|warmup| warmup::limit_on(warmup, today)),
                    connections: limits.connections,
                    in_flight_max: limits.in_flight,
                    return_path: spec.identity.as_ref().and_then(|identity| identity.return_path.as_deref()).map(Arc::from),
                    stall_after: Span::from_millis(u64::try_from(spec.probe().timeout.as_millis().max(1000)).unwrap_or(10_000)),
                },
            );
        }
        for (key, campaign) in &decision.campaigns {
            let (Some(intent), Some(work)) = (&campaign.order, self.lookup.work(key)) else { continue };
            let order = Order {
                run: work.run.clone(),
                fingerprint: work.fingerprint,
                // Nothing is made of a template that was withdrawn; it is about to be made again.
                hold: intent.hold || work.template.is_none(),
                servers: intent.servers.clone(),
                weighting: intent.weighting,
                candidates: intent.candidates.clone(),
                resume: intent.resume.as_ref().map(resumption),
                input: work.input.clone(),
                template: self.lookup.template(work),
                from_address: work.from_address.clone(),
                retry: work.retry.clone(),
                when_outcome_is_unknown: work.when_outcome_is_unknown,
                max_render_errors: work.max_render_errors,
                plan_limits: intent.plan_limits.as_ref().map(|(key, rates)| (Arc::from(key.as_str()), rates.clone())),
                senders: intent.senders.clone(),
            };
            routing.campaigns.insert(key.clone(), Arc::new(order));
        }
        routing
    }

    /// Ends the data plane in good order, and writes the last statuses. True when nothing was left on the wire.
    async fn stop(self, grace: Duration) -> bool {
        let Self { dispatch, snapshot, mut observed, mut statuses, mut world, lookup, clock, view, longest_turn, .. } = self;
        let report = dispatch.report.clone();
        let clean = dispatch.stop(grace).await;
        observed.report = report.borrow().clone();
        for (key, input) in &mut world.campaigns {
            input.previous = statuses.campaign(key);
        }
        let decision = Arc::new(decide::decide(&world, &observed, clock.now_ms()));
        statuses.write(&snapshot, &decision, clock.now_ms(), true);
        statuses.flush(STATUS_GRACE).await;
        let turn = view.borrow().turn;
        view.send_replace(View { decision, report: observed.report.clone(), turned_at: Some(Instant::now()), turn, longest_turn });
        lookup.close().await;
        clean
    }
}

/// The host of an address for people: `smtp.example.com` of `smtp.example.com:587, StartTls`.
fn host_of(address: &str) -> &str {
    let host = address.split([',', ' ', '/']).next().unwrap_or(address);
    host.rsplit_once(':').map_or(host, |(host, port)| if port.bytes().all(|byte| byte.is_ascii_digit()) { host } else { address })
}

fn resumption(resume: &Resume) -> Resumption {
    let held = match resume.held {
        ResumeHeld::Retry => HeldFate::Retry,
        ResumeHeld::Reject => HeldFate::Reject,
    };
    Resumption { token: Some(resume.token.clone()), held, resends_unknown: resume.resends_unknown }
}

/// Whether a routing table says nothing new to the dispatcher.
fn is_same(old: &Routing, new: &Routing) -> bool {
    let handle = |server: &RouteServer| server.server.as_ref().map(|server| Arc::as_ptr(server).cast::<()>() as usize);
    // The windows are in their fingerprint, and what messages are made of is in that of the order.
    let of_server = |server: &RouteServer| {
        (
            (handle(server), server.routed, server.is_on_trial, server.host.clone(), server.acknowledged_failures),
            (server.limits_fingerprint, server.warmup_today, server.connections, server.in_flight_max),
            (server.return_path.clone(), server.stall_after),
        )
    };
    let is_same_order = |old: &Order, new: &Order| {
        (&old.run, old.fingerprint, old.hold, &old.plan_limits) == (&new.run, new.fingerprint, new.hold, &new.plan_limits)
            && (&old.resume, old.weighting, &old.senders) == (&new.resume, new.weighting, &new.senders)
            && (&old.servers, &old.candidates) == (&new.servers, &new.candidates)
            && Arc::ptr_eq(&old.template, &new.template)
    };
    old.servers.len() == new.servers.len()
        && old.campaigns.len() == new.campaigns.len()
        && old.servers.iter().zip(&new.servers).all(|(old, new)| old.0 == new.0 && of_server(old.1) == of_server(new.1))
        && old.campaigns.iter().zip(&new.campaigns).all(|(old, new)| old.0 == new.0 && is_same_order(old.1, new.1))
}

/// One probe, within its timeout, and the quotas that it found.
pub(crate) async fn probe_once(server: Arc<dyn Server>, probe: &EffectiveProbe, address: &str) -> (ProbeResult, Vec<Quota>) {
    let result = match tokio::time::timeout(probe.timeout.std(), server.probe()).await {
        Ok(None) => ProbeResult::NotProbeable,
        Ok(Some(Ok(probed))) => return (ProbeResult::Succeeded, probed.quotas),
        Ok(Some(Err(failure))) => ProbeResult::Failed(failure),
        Err(_) => ProbeResult::Failed(Failure::new(
            Reason::TimedOut,
            format!(
                "Connection failed: {address} gave no answer within {}. Check the host, the port and any firewall between, or raise probe.timeout.",
                probe.timeout
            ),
        )),
    };
    (result, Vec::new())
}

/// Names of servers to their handles.
pub(crate) type Handles = BTreeMap<Key, Arc<dyn Server>>;
