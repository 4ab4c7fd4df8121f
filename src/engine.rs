//! The loop: snapshot, decide, act, report. Read this first.
//!
//! Every turn is the same straight line, whatever woke it: look up what the snapshot refers to (I/O), decide over the
//! whole world (pure), then act: start probes, hand the routing table to the dispatcher, write statuses (I/O).

pub(crate) mod lookup;
mod statuses;

use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::Instant,
};

use crate::{
    decide::{self, Decision, Observations, ProbeResult, ServerObservation, World},
    dispatch::{Dispatch, Event, Order, Report, RouteServer, Routing, report::SteadyClock, warmup},
    ledger::{Ledger, LedgerError},
    providers::{Failure, Provider as _, Server},
    resources::{Duration as Span, Key, Reason, campaign::CampaignState, sending_server::EffectiveProbe},
    source::{Snapshot, StatusFolder},
};
use lookup::Lookup;
use statuses::Statuses;

/// Probes at a time.
const PROBES_MAX: usize = 64;
/// Between two looks at files that were missing.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

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
}

/// What can be seen of the engine from outside, for progress.
#[derive(Clone, Default)]
pub struct View {
    /// The newest decision.
    pub decision: Arc<Decision>,
    /// The newest counts.
    pub report: Arc<Report>,
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
    /// The folder for status files.
    #[error("the status folder below {} cannot be used: {cause}. Check its owner and mode, and the space on the disk.", .state_dir.display())]
    Status {
        /// The state folder.
        state_dir: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

struct ProbeDone {
    key: Key,
    fingerprint: u64,
    began_ms: i64,
    result: ProbeResult,
}

/// Runs until told to stop, or, with `once`, until every campaign has ended.
///
/// # Errors
/// When ledger or status folder cannot be used.
pub async fn run(
    options: EngineOptions,
    ledger: Ledger,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    view: watch::Sender<View>,
    stop: impl Future<Output = ()>,
) -> Result<Ended, EngineError> {
    let folder =
        StatusFolder::open(&options.state_dir).map_err(|cause| EngineError::Status { state_dir: options.state_dir.clone(), cause })?;
    let dispatch = Dispatch::start(ledger.clone()).await?;
    let (probe_sender, mut probes) = mpsc::unbounded_channel();
    let mut engine = Engine {
        clock: SteadyClock::default(),
        lookup: Lookup::new(ledger.clone(), options.state_dir.clone(), options.dry_run),
        world: World::default(),
        observed: Observations { seed: ledger.seed(), ..Observations::default() },
        statuses: Statuses::new(folder),
        dispatch,
        probe_sender,
        probe_permits: Arc::new(Semaphore::new(PROBES_MAX)),
        routing_fingerprint: String::new(),
        view,
    };
    let mut stop = std::pin::pin!(stop);
    let mut snapshot = snapshots.borrow_and_update().clone();
    engine.look_up(&snapshot).await;
    let mut looked_at = Instant::now();
    let mut watching = true;
    loop {
        let decision = engine.turn();
        if options.once
            && let Some(failed) = ended(&decision)
        {
            let clean = engine.stop(options.grace).await;
            return Ok(Ended { failed, clean });
        }
        let wake = decision.wake_at_ms.min(engine.statuses.wake_at_ms()) - engine.clock.now_ms();
        let sleep = Duration::from_millis(u64::try_from(wake).unwrap_or(0).max(5)).min(LOOK_AGAIN);
        tokio::select! {
            biased;
            () = &mut stop => {
                let clean = engine.stop(options.grace).await;
                return Ok(Ended { failed: Vec::new(), clean });
            }
            changed = snapshots.changed(), if watching => {
                watching = changed.is_ok();
                snapshot = snapshots.borrow_and_update().clone();
                engine.look_up(&snapshot).await;
                looked_at = Instant::now();
            }
            Some(done) = probes.recv() => engine.probed(done),
            Some(event) = engine.dispatch.events.recv() => engine.noticed(event),
            changed = engine.dispatch.report.changed() => {
                if changed.is_ok() {
                    engine.reported();
                }
            }
            () = tokio::time::sleep(sleep) => {}
        }
        if looked_at.elapsed() >= LOOK_AGAIN && engine.lookup.wants_another_look() {
            engine.look_up(&snapshot).await;
            looked_at = Instant::now();
        }
    }
}

/// With `once`: whether every campaign has ended, and those that failed.
fn ended(decision: &Decision) -> Option<Vec<(Key, CampaignState, String)>> {
    let mut failed = Vec::new();
    for (key, campaign) in &decision.campaigns {
        let status = &campaign.status;
        let stalled = status.conditions.iter().find(|condition| condition.kind == crate::resources::ConditionType::Stalled);
        match (status.state, stalled) {
            (CampaignState::Completed | CampaignState::Suspended, _) => {}
            (state, Some(condition)) => failed.push((key.clone(), state, condition.message.clone())),
            _ => return None,
        }
    }
    Some(failed)
}

struct Engine {
    clock: SteadyClock,
    lookup: Lookup,
    world: World,
    observed: Observations,
    statuses: Statuses,
    dispatch: Dispatch,
    probe_sender: mpsc::UnboundedSender<ProbeDone>,
    probe_permits: Arc<Semaphore>,
    routing_fingerprint: String,
    view: watch::Sender<View>,
}

impl Engine {
    /// Looks up what the objects refer to (I/O), and starts the observation of new versions of servers afresh.
    async fn look_up(&mut self, snapshot: &Snapshot) {
        self.world = self.lookup.world(snapshot, &self.statuses, self.clock.now_ms()).await;
        self.statuses.note_objects(snapshot, &self.world);
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

    /// One turn: decide, then act.
    fn turn(&mut self) -> Arc<Decision> {
        let now_ms = self.clock.now_ms();
        self.readmit(now_ms);
        for (key, input) in &mut self.world.campaigns {
            input.previous = self.statuses.campaign(key);
        }
        let decision = Arc::new(decide::decide(&self.world, &self.observed, now_ms));
        self.start_probes(&decision, now_ms);
        self.hand_over(&decision, now_ms);
        self.statuses.write(&self.world, &decision, now_ms, false);
        self.view.send_replace(View { decision: decision.clone(), report: self.observed.report.clone() });
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
                let result = probe_once(handle, &probe, &address).await;
                let _ = done.send(ProbeDone { key, fingerprint, began_ms, result });
            });
        }
    }

    fn probed(&mut self, done: ProbeDone) {
        let Some(input) = self.world.servers.get(&done.key) else { return };
        let Some(observation) = self.observed.servers.get_mut(&done.key) else { return };
        // The end of a probe of an older version says nothing of this one.
        if observation.fingerprint == done.fingerprint {
            observation.note_probe(done.result, done.began_ms, self.clock.now_ms(), &input.object.spec.probe());
        }
    }

    // ── the data plane ──

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
        let fingerprint = fingerprint(&routing);
        if fingerprint != self.routing_fingerprint {
            self.routing_fingerprint = fingerprint;
            self.dispatch.routing.send_replace(Arc::new(routing));
        }
    }

    fn routing(&self, decision: &Decision, now_ms: i64) -> Routing {
        let today = jiff::Timestamp::from_millisecond(now_ms).unwrap_or_default().to_zoned(jiff::tz::TimeZone::UTC).date();
        let mut routing = Routing::default();
        for (key, server) in &decision.servers {
            let Some(input) = self.world.servers.get(key) else { continue };
            let (spec, limits) = (&input.object.spec, input.object.spec.limits());
            let observation = self.observed.servers.get(key);
            routing.servers.insert(
                key.clone(),
                RouteServer {
                    server: self.lookup.server(key),
                    routed: server.routed,
                    acknowledged_failures: observation.map_or(0, |observation: &ServerObservation| observation.acknowledged_failures),
                    limits_fingerprint: lookup::hash(&format!("{:?}", limits.rates)),
                    rates: limits.rates.clone(),
                    warmup_today: spec.warmup.as_ref().and_then(|warmup| warmup::limit_on(warmup, today)),
                    connections: limits.connections(),
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
                hold: intent.hold,
                servers: intent.servers.clone(),
                input: work.input.clone(),
                template: work.template.clone(),
                from_address: work.from_address.clone(),
                retry: work.retry.clone(),
                when_outcome_is_unknown: work.when_outcome_is_unknown,
                max_render_errors: work.max_render_errors,
                plan_limits: intent.plan_limits.as_ref().map(|(key, rates)| (Arc::from(key.as_str()), rates.clone())),
            };
            routing.campaigns.insert(key.clone(), Arc::new(order));
        }
        routing
    }

    /// Ends the data plane in good order, and writes the last statuses. True when nothing was left on the wire.
    async fn stop(self, grace: Duration) -> bool {
        let Self { dispatch, mut observed, mut statuses, mut world, lookup, clock, view, .. } = self;
        let report = dispatch.report.clone();
        let clean = dispatch.stop(grace).await;
        observed.report = report.borrow().clone();
        for (key, input) in &mut world.campaigns {
            input.previous = statuses.campaign(key);
        }
        let decision = Arc::new(decide::decide(&world, &observed, clock.now_ms()));
        statuses.write(&world, &decision, clock.now_ms(), true);
        view.send_replace(View { decision, report: observed.report.clone() });
        lookup.close().await;
        clean
    }
}

/// What of a routing table the dispatcher has to know of.
fn fingerprint(routing: &Routing) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for (key, server) in &routing.servers {
        let handle = server.server.as_ref().map(|server| Arc::as_ptr(server).cast::<()>() as usize);
        let _ = write!(
            text,
            "{key} {handle:?} {} {} {} {:?} {} {:?} {};",
            server.routed,
            server.acknowledged_failures,
            server.limits_fingerprint,
            server.warmup_today,
            server.connections,
            server.return_path,
            server.stall_after
        );
    }
    for (key, order) in &routing.campaigns {
        let _ = write!(text, "{key} {} {} {} {:?} {:?};", order.run, order.fingerprint, order.hold, order.servers, order.plan_limits);
    }
    text
}

/// One probe, within its timeout.
pub(crate) async fn probe_once(server: Arc<dyn Server>, probe: &EffectiveProbe, address: &str) -> ProbeResult {
    match tokio::time::timeout(probe.timeout.std(), server.probe()).await {
        Ok(None) => ProbeResult::NotProbeable,
        Ok(Some(Ok(()))) => ProbeResult::Succeeded,
        Ok(Some(Err(failure))) => ProbeResult::Failed(failure),
        Err(_) => ProbeResult::Failed(Failure {
            reason: Reason::TimedOut,
            message: format!(
                "Connection failed: {address} gave no answer within {}. Check the host, the port and any firewall between, or raise probe.timeout.",
                probe.timeout
            ),
            needs_person: false,
        }),
    }
}

/// Names of servers to their handles.
pub(crate) type Handles = BTreeMap<Key, Arc<dyn Server>>;
