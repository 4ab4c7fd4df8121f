//! The single task that does what the scheduler says: it ties together ledger, feeders, servers and time.

mod actions;
mod answers;
mod commits;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::Instant,
};

use answers::Answer;

use super::{
    Handles, Handover,
    calls::CallId,
    campaign::record::Opened,
    days::Days,
    feeder::{self, Fed, Feeder, FeederEvent, FeederSpec, Request},
    feeders::{self, Asking, Threads},
    index::{CampaignIx, LaneIx},
    scheduler::{Action, CountChanges, FateChange, Planned, PlannedBar, Scheduler},
    stages::Settled,
};
use crate::{
    clock::SteadyClock,
    ledger::{
        AudienceRead, Changes, Claim, Commit, CommitReceipt, Guard, Ledger, LedgerError, OutcomeRecord, Resumption, RolloutChange, RunId,
        RunKey, RunRecord, RunStart, ServerId, UnresolvedClaim, Usage, UsageMove, domain_key,
    },
    people::Versions,
    providers::{Along, BoxFuture, Delivered, Gate, Outgoing, Server},
    report::{Bar, Phase, Report},
    resources::{Blocker, Key, Reason, campaign::RecipientCounts, fate::Fate, mailbox_providers::provider_of, rollout::Reached},
    token::return_path::ReturnPaths,
};

#[cfg(test)]
mod tests;

/// The interval between two looks at a file that could not be read as an audience, or with rows that somebody has to fix.
const LOOK_AT_FILE_EVERY: Duration = Duration::from_millis(200);
/// The interval between two looks at the audience of a completed campaign.
const LOOK_AT_CLOSED_EVERY: Duration = Duration::from_secs(5);
/// The interval between two reports, unless something important happens.
const REPORT_EVERY: Duration = Duration::from_millis(200);
/// Events of many campaigns are collected for this long and reported together.
const REPORT_SOON: Duration = Duration::from_millis(20);
/// The wait before a failed request to the ledger is retried.
const LEDGER_RETRY: Duration = Duration::from_secs(1);
/// The longest window that a rate may have: 31 days, plus a minute.
const USAGE_MINUTES: i64 = 31 * 24 * 60 + 1;

/// Events of which the control plane is notified at once.
#[derive(Debug)]
pub enum Event {
    /// Sending through a server failed.
    ServerFailed {
        /// Which one; it is out of use until the failure is acknowledged.
        server: Key,
        /// The cause.
        failure: Blocker,
        /// The number of its failures, with this one.
        failures: u64,
    },
}

/// The running data plane.
pub struct Dispatch {
    /// The channel for the desired state.
    pub handover: watch::Sender<Handover>,
    /// The latest report.
    pub report: watch::Receiver<Arc<Report>>,
    /// Failures of servers.
    pub events: mpsc::UnboundedReceiver<Event>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Dispatch {
    /// Starts the data plane on the ledger. `return_paths` makes the envelope senders of servers whose bounces are read.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn start(ledger: Ledger, clock: SteadyClock, return_paths: Option<Arc<ReturnPaths>>) -> Result<Self, LedgerError> {
        let (handover, handover_receiver) = watch::channel(Handover::default());
        let (report_sender, report) = watch::channel(Arc::new(Report::default()));
        let (event_sender, events) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let usage = ledger.usage_since(clock.now_ms() / 60_000 - USAGE_MINUTES).await?;
        let mut past = Past::new();
        for Usage { key, minute, messages } in usage {
            past.entry(key).or_default().push((minute, messages));
        }
        // Messages that were in flight when the previous process ended may have been written just now. The ledger counts them so
        // when their run begins.
        let minute = clock.now_ms() / 60_000;
        for UnresolvedClaim { server, domain } in ledger.unresolved_claims().await? {
            commits::add_usage(&mut past, &server, minute, 1);
            // Which of them stands for the domain is known once the limits are.
            let provider = provider_of(&domain).and_then(|provider| provider.domains.first()).filter(|first| **first != domain);
            for receiver in provider.copied().into_iter().chain([&*domain]) {
                commits::add_usage(&mut past, &domain_key(&server, receiver), minute, 1);
            }
        }
        let mut days = Days::new(ledger.days().await?);
        report_sender.send_replace(Arc::new(Report { days: days.completed(clock.now_ms()), ..Report::default() }));
        let mut sender = DispatchTask::new(ledger, clock, (past, days), event_sender, report_sender);
        sender.scheduler.return_paths = return_paths;
        let task = tokio::spawn(sender.run(handover_receiver, stopped));
        Ok(Self { handover, report, events, stop: Some(stop), task })
    }

    /// Claims nothing more, waits for the outcomes of messages in flight, writes them, and ends. Takes at most `patience`; messages
    /// without an outcome by then are settled at the next start. Returns true if nothing was left.
    pub async fn stop(&mut self, patience: Duration) -> bool {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let ended = tokio::time::timeout(patience, &mut self.task).await.is_ok();
        if !ended {
            self.task.abort();
        }
        ended
    }
}

/// The messages that count towards limits, by key and minute.
type Past = BTreeMap<String, Vec<(i64, u64)>>;
/// The limiter keys that a claim counts towards, by server, plan, campaign with limits of its own, and receiving domain.
type UsageKeys = BTreeMap<(LaneIx, [Option<Arc<str>>; 3]), Arc<[Arc<str>]>>;
/// A call of `deliver` in progress.
struct CallUnderWay {
    /// The server's client when the call began.
    server: Option<Arc<dyn Server>>,
    /// Takes further messages for the same connection.
    more: mpsc::UnboundedSender<Outgoing>,
    /// How often it has begun again: a call that was over when a message came for it begins again under its id.
    begun: u64,
}

/// A call of `deliver` has ended.
struct CallEnded {
    lane: LaneIx,
    call: CallId,
    /// How often it had begun again.
    begun: u64,
}

struct DispatchTask {
    ledger: Ledger,
    clock: SteadyClock,
    /// Claims by limiter key and minute, of this process and previous ones.
    past: Past,
    days: Days,
    scheduler: Scheduler,
    handles: Arc<Handles>,
    /// The clients of servers, by index.
    servers: BTreeMap<LaneIx, Arc<dyn Server>>,
    /// The gates that enforce their short windows, by index.
    gates: BTreeMap<LaneIx, Arc<Gate>>,
    runs: BTreeMap<CampaignIx, RunId>,
    /// The reverse of `runs`; a campaign that was deleted and applied again has the run of its predecessor.
    campaigns: BTreeMap<RunId, Vec<CampaignIx>>,
    /// Claims of an earlier process that match no row of the audience.
    unmatched: BTreeMap<CampaignIx, Vec<u64>>,
    /// The versions of the audience that was read to its end, and of the lists beside it.
    versions: BTreeMap<CampaignIx, Versions>,
    server_ids: BTreeMap<LaneIx, ServerId>,
    /// The reverse of `server_ids`.
    lanes: BTreeMap<ServerId, LaneIx>,
    usage_keys: UsageKeys,
    /// The key of the own limits of each campaign that has some.
    campaigns_own_limits: BTreeMap<CampaignIx, Arc<str>>,
    feeders: BTreeMap<CampaignIx, Asking<Feeder>>,
    /// The threads on which feeders run.
    threads: Threads,
    feeder_events: mpsc::UnboundedSender<FeederEvent>,
    feeder_receiver: mpsc::UnboundedReceiver<FeederEvent>,
    outcomes: mpsc::UnboundedSender<Delivered>,
    outcome_receiver: mpsc::UnboundedReceiver<Delivered>,
    /// Calls of `deliver` in progress.
    calls: BTreeMap<(LaneIx, CallId), CallUnderWay>,
    ended_calls: mpsc::UnboundedSender<CallEnded>,
    ended_call_receiver: mpsc::UnboundedReceiver<CallEnded>,
    answers: mpsc::UnboundedSender<Answer>,
    answer_receiver: mpsc::UnboundedReceiver<Answer>,
    events: mpsc::UnboundedSender<Event>,
    reports: watch::Sender<Arc<Report>>,
    reported_at: Instant,
    /// Whether something happened that is to be reported soon.
    wants_report: bool,
    ledger_problem: Option<LedgerError>,
    /// The watches on audience files that could not be read, by campaign.
    file_watches: BTreeMap<CampaignIx, tokio::task::AbortHandle>,
}

struct CommitResult {
    planned: Planned,
    receipt: Result<CommitReceipt, LedgerError>,
}

/// A commit in progress. It is awaited where its result is needed: every thread and channel in between would add to the time for
/// which connections wait for their next message.
type Committing = BoxFuture<'static, CommitResult>;

/// The result of the commit in progress; never completes if there is none.
async fn result_of(committing: &mut Option<Committing>) -> CommitResult {
    match committing {
        Some(commit) => commit.await,
        None => std::future::pending().await,
    }
}

impl DispatchTask {
    fn new(
        ledger: Ledger,
        clock: SteadyClock,
        (past, days): (Past, Days),
        events: mpsc::UnboundedSender<Event>,
        reports: watch::Sender<Arc<Report>>,
    ) -> Self {
        let (feeder_events, feeder_receiver) = mpsc::unbounded_channel();
        let (outcomes, outcome_receiver) = mpsc::unbounded_channel();
        let (ended_calls, ended_call_receiver) = mpsc::unbounded_channel();
        let (answers, answer_receiver) = mpsc::unbounded_channel();
        Self {
            scheduler: Scheduler::new(ledger.seed()),
            ledger,
            clock,
            past,
            days,
            handles: Arc::default(),
            servers: BTreeMap::new(),
            gates: BTreeMap::new(),
            runs: BTreeMap::new(),
            campaigns: BTreeMap::new(),
            unmatched: BTreeMap::new(),
            versions: BTreeMap::new(),
            server_ids: BTreeMap::new(),
            lanes: BTreeMap::new(),
            usage_keys: BTreeMap::new(),
            campaigns_own_limits: BTreeMap::new(),
            feeders: BTreeMap::new(),
            threads: Threads::new(feeders::THREADS, tokio::runtime::Handle::current()),
            feeder_events,
            feeder_receiver,
            outcomes,
            outcome_receiver,
            calls: BTreeMap::new(),
            ended_calls,
            ended_call_receiver,
            answers,
            answer_receiver,
            events,
            reports,
            reported_at: Instant::now(),
            wants_report: false,
            ledger_problem: None,
            file_watches: BTreeMap::new(),
        }
    }

    async fn run(mut self, mut handover: watch::Receiver<Handover>, mut stopped: oneshot::Receiver<()>) {
        let mut committing: Option<Committing> = None;
        let mut stopping = false;
        loop {
            let now_ms = self.clock.now_ms();
            for action in self.scheduler.step(now_ms) {
                match action {
                    Action::Commit(planned) => committing = Some(self.commit(planned).await),
                    action => self.act(action),
                }
            }
            self.report(self.wants_report && self.reported_at.elapsed() >= REPORT_SOON);
            if self.scheduler.is_over() {
                self.report(true);
                return;
            }
            let wake = self.scheduler.wake_at(now_ms) - now_ms;
            let sleep = Duration::from_millis(u64::try_from(wake).unwrap_or(1));
            let sleep = if self.wants_report { sleep.min(REPORT_SOON) } else { sleep };
            tokio::select! {
                biased;
                result = result_of(&mut committing) => {
                    committing = None;
                    self.committed(result);
                }
                Some(delivered) = self.outcome_receiver.recv() => {
                    let now_ms = self.clock.now_ms();
                    self.scheduler.outcome(delivered, now_ms);
                    while let Ok(delivered) = self.outcome_receiver.try_recv() {
                        self.scheduler.outcome(delivered, now_ms);
                    }
                    self.drain_ended_calls();
                }
                Some(ended) = self.ended_call_receiver.recv() => {
                    self.call_ended(ended);
                    self.drain_ended_calls();
                }
                Some(event) = self.feeder_receiver.recv() => {
                    self.fed(event);
                    while let Ok(event) = self.feeder_receiver.try_recv() {
                        self.fed(event);
                    }
                }
                Some(answer) = self.answer_receiver.recv() => {
                    self.answered(answer);
                    while let Ok(answer) = self.answer_receiver.try_recv() {
                        self.answered(answer);
                    }
                }
                changed = handover.changed() => {
                    if changed.is_ok() {
                        let handover = handover.borrow_and_update().clone();
                        self.take_over(handover);
                    }
                }
                _ = &mut stopped, if !stopping => {
                    stopping = true;
                    self.scheduler.stop();
                    self.feeders.clear();
                }
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    fn drain_ended_calls(&mut self) {
        while let Ok(ended) = self.ended_call_receiver.try_recv() {
            self.call_ended(ended);
        }
        self.follow_carriages();
    }

    fn take_over(&mut self, Handover { routing, handles }: Handover) {
        let now_ms = self.clock.now_ms();
        let past = &self.past;
        self.scheduler.apply(&routing, now_ms, |key| past.get(key).cloned().unwrap_or_default());
        self.handles = handles;
        let lanes = &self.scheduler.lanes;
        self.servers.clear();
        self.gates.retain(|index, _| lanes.contains_key(index));
        for (index, lane) in lanes {
            let Some(intent) = routing.servers.get(&lane.key) else { continue };
            self.gates.entry(*index).or_default().set(&intent.rates);
            if let Some(server) = self.handles.servers.get(&lane.key) {
                server.sign_with(&intent.signing);
                self.servers.insert(*index, server.clone());
            }
        }
        self.follow_carriages();
    }

    /// Follows what servers offer, which is known once a connection is open.
    fn follow_carriages(&mut self) {
        for (lane, server) in &self.servers {
            self.scheduler.set_carriage(*lane, server.carriage());
        }
    }

    fn report(&mut self, at_once: bool) {
        if !at_once && self.reported_at.elapsed() < REPORT_EVERY {
            return;
        }
        self.reported_at = Instant::now();
        self.wants_report = false;
        let now_ms = self.clock.now_ms();
        let report = Report { days: self.days.completed(now_ms), ..self.scheduler.report(now_ms, self.ledger_problem.clone()) };
        self.reports.send_if_modified(|old| {
            let changed = **old != report;
            if changed {
                *old = Arc::new(report);
            }
            changed
        });
    }
}

/// Returns a batch unsent: the server no longer exists.
fn give_back(batch: Vec<Outgoing>, outcomes: &mpsc::UnboundedSender<Delivered>) {
    for message in batch {
        let failure = Blocker::passing(Reason::InvalidSpec, "The server was removed; the message goes to another.");
        let outcome = crate::providers::Outcome::ServerFailed(failure);
        let _ = outcomes.send(Delivered { message, outcome, round_trip: None, signing: Duration::ZERO });
    }
}
