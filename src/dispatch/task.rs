//! The single task that does what the scheduler says: it ties together ledger, feeders, servers and time.

mod actions;
mod answers;
mod audiences;
mod batches;
mod clients;
mod commits;
mod ids;
mod inbox;
mod reporting;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use self::{answers::Answer, audiences::Audiences, batches::Batches, clients::Clients, ids::LedgerIds, inbox::Inbox, reporting::Reporting};
use super::{
    Handles, Handover,
    calls::CallId,
    campaign::record::Opened,
    days::Days,
    feeder::{self, Fed, Feeder, FeederEvent, FeederSpec, Request},
    feeders::{self, Asking, Threads},
    index::LaneIx,
    scheduler::{Action, CountChanges, FateChange, Planned, PlannedBar, Scheduler},
    stages::Settled,
    usage::{USAGE_MINUTES, UsageBook},
};
use crate::{
    clock::SteadyClock,
    ledger::{
        AudienceRead, Changes, Claim, Commit, CommitReceipt, Ledger, LedgerError, LedgerErrorKind, NewBar, OutcomeRecord, Resumption,
        RolloutChange, RunId, RunKey, RunRecord, RunStart, ServerId, UnresolvedClaim, UsageMove, domain_key,
    },
    people::Versions,
    providers::{Along, BoxFuture, Delivered, Gate, Outgoing, Server},
    report::{Phase, Report},
    resources::{Blocker, Key, Reason, campaign::RecipientCounts, fate::Fate, mailbox_providers::provider_of, rollout::Reached},
    token::return_path::ReturnPaths,
    traces::Link,
};

#[cfg(test)]
mod tests;

/// The interval between two looks at a file that could not be read as an audience, or with rows that somebody has to fix.
const LOOK_AT_FILE_EVERY: Duration = Duration::from_millis(200);
/// The interval between two looks at the audience of a completed campaign.
const LOOK_AT_CLOSED_EVERY: Duration = Duration::from_secs(5);
/// The wait before a failed request to the ledger is retried.
const LEDGER_RETRY: Duration = Duration::from_secs(1);

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
        /// The trace of the batch in which it failed.
        trace: Link,
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
        Self::start_with(feeders::THREADS, ledger, clock, return_paths).await
    }

    /// The same, with so many threads for feeders.
    async fn start_with(
        threads: usize,
        ledger: Ledger,
        clock: SteadyClock,
        return_paths: Option<Arc<ReturnPaths>>,
    ) -> Result<Self, LedgerError> {
        let (handover, handover_receiver) = watch::channel(Handover::default());
        let (report_sender, report) = watch::channel(Arc::new(Report::default()));
        let (event_sender, events) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let usage = ledger.usage_since(clock.now_ms() / 60_000 - USAGE_MINUTES).await?;
        let mut usage = UsageBook::new(usage, Days::new(ledger.days().await?));
        // Messages that were in flight when the previous process ended may have been written just now. The ledger counts them so
        // when their run begins.
        let minute = clock.now_ms() / 60_000;
        for UnresolvedClaim { server, domain } in ledger.unresolved_claims().await? {
            usage.add(&server, minute, 1);
            // Which of them stands for the domain is known once the limits are.
            let provider = provider_of(&domain).and_then(|provider| provider.domains.first()).filter(|first| **first != domain);
            for receiver in provider.copied().into_iter().chain([&*domain]) {
                usage.add(&domain_key(&server, receiver), minute, 1);
            }
        }
        report_sender.send_replace(Arc::new(Report { days: usage.completed_days(clock.now_ms()), ..Report::default() }));
        let mut task = DispatchTask::new(threads, ledger, clock, usage, Reporting::new(event_sender, report_sender));
        task.scheduler.return_paths = return_paths;
        let task = tokio::spawn(async move { task.run(handover_receiver, stopped).await });
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
    scheduler: Scheduler,
    handles: Arc<Handles>,
    ids: LedgerIds,
    usage: UsageBook,
    clients: Clients,
    audiences: Audiences,
    batches: Batches,
    inbox: Inbox,
    reporting: Reporting,
}

struct CommitResult {
    planned: Planned,
    commit: Arc<Commit>,
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
    fn new(threads: usize, ledger: Ledger, clock: SteadyClock, usage: UsageBook, reporting: Reporting) -> Self {
        Self {
            scheduler: Scheduler::new(ledger.seed()),
            ledger,
            clock,
            handles: Arc::default(),
            ids: LedgerIds::default(),
            usage,
            clients: Clients::default(),
            audiences: Audiences::new(threads),
            batches: Batches::default(),
            inbox: Inbox::default(),
            reporting,
        }
    }

    async fn run(&mut self, mut handover: watch::Receiver<Handover>, mut stopped: oneshot::Receiver<()>) {
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
            if self.reporting.is_due() {
                self.report();
            }
            if self.scheduler.is_over() {
                self.report();
                return;
            }
            let wake = self.scheduler.wake_at(now_ms) - now_ms;
            let sleep = self.reporting.sleep(Duration::from_millis(u64::try_from(wake).unwrap_or(1)));
            tokio::select! {
                biased;
                result = result_of(&mut committing) => {
                    committing = self.committed(result);
                }
                Some(delivered) = self.inbox.outcomes.receiver.recv() => self.delivered(Some(delivered), None),
                Some(ended) = self.inbox.ended_calls.receiver.recv() => self.delivered(None, Some(ended)),
                Some(event) = self.inbox.feeders.receiver.recv() => {
                    self.fed(event);
                    while let Ok(event) = self.inbox.feeders.receiver.try_recv() {
                        self.fed(event);
                    }
                }
                Some(answer) = self.inbox.answers.receiver.recv() => {
                    self.answered(answer);
                    while let Ok(answer) = self.inbox.answers.receiver.try_recv() {
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
                    self.audiences.stop_all();
                }
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    /// Takes every outcome and every end of a call that is known. A call sends its end after its outcomes, so those are here once its
    /// end is, and are counted before it.
    fn delivered(&mut self, first: Option<Delivered>, ended: Option<CallEnded>) {
        let mut over = Vec::from_iter(ended);
        while let Ok(ended) = self.inbox.ended_calls.receiver.try_recv() {
            over.push(ended);
        }
        let now_ms = self.clock.now_ms();
        if let Some(delivered) = first {
            self.outcome(delivered, now_ms);
        }
        while let Ok(delivered) = self.inbox.outcomes.receiver.try_recv() {
            self.outcome(delivered, now_ms);
        }
        for ended in &over {
            self.call_ended(ended);
        }
        self.follow_carriages();
    }

    fn outcome(&mut self, delivered: Delivered, now_ms: i64) {
        if !self.batches.is_empty()
            && let Some(call) = self.scheduler.call_of(&delivered)
        {
            self.batches.note(call, &delivered);
        }
        self.scheduler.outcome(delivered, now_ms);
    }

    fn take_over(&mut self, Handover { routing, handles }: Handover) {
        let usage = &self.usage;
        self.scheduler.apply(&routing, self.clock.now_ms(), |key| usage.past(key));
        self.clients.take_over(&self.scheduler.lanes, &routing, &handles);
        self.handles = handles;
        self.follow_carriages();
    }

    /// Follows what servers offer, which is known once a connection is open.
    fn follow_carriages(&mut self) {
        for (lane, server) in self.clients.iter() {
            self.scheduler.set_carriage(lane, server.carriage());
        }
    }

    fn report(&mut self) {
        let now_ms = self.clock.now_ms();
        let days = self.usage.completed_days(now_ms);
        self.reporting.publish(Report { days, ..self.scheduler.report(now_ms, self.reporting.ledger_problem.clone()) });
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
