//! Turns the scheduler's actions into calls of ledger, feeders and servers, in the background.

use std::time::{Duration, Instant};

use super::{
    Action, Along, AudienceRead, Blocker, CallEnded, CallId, DispatchTask, Event, Fate, FeederSpec, LOOK_AT_CLOSED_EVERY,
    LOOK_AT_FILE_EVERY, Opened, Outgoing, Phase, Reason, Request, Resumption, RolloutChange, RunId, RunKey, RunStart,
    answers::{Answer, Closing, Due, OpenedRun, Resumed},
    clients::NewCall,
    feeder, give_back,
};
use crate::{
    backoff::jittered,
    dispatch::{
        index::{CampaignIx, LaneIx},
        unread::TRY_AGAIN,
    },
    people::{Versions, is_another},
};

/// Held messages of a run that are looked at one by one; what is beyond waits for a person.
const HELD_MAX: usize = 10_000;

impl DispatchTask {
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Open(index) => self.open(index),
            Action::StartFeeder(index) => self.start_feeder(index),
            // Done by the caller, since it awaits the ledger.
            Action::Commit(_) => {}
            Action::RequestRows { campaign: index, count, passing } => {
                self.audiences.ask(index, Request::More { count, passing });
            }
            Action::Seek { campaign: index, domain } => {
                self.audiences.ask(index, Request::Seek(domain));
            }
            Action::StopFeeder(index) => {
                self.audiences.stop(index);
                let run_id = self.ids.run(index);
                let (ledger, answers) = (self.ledger.clone(), self.inbox.answers.sender());
                tokio::spawn(async move {
                    if let Some(run_id) = run_id
                        && let Err(error) = ledger.release_all(run_id).await
                    {
                        tracing::warn!(%error, "deferred messages could not be released; they are sent after the next start");
                    }
                    let _ = answers.send(Answer::Released);
                });
            }
            Action::FetchDue { campaign: index, most } => self.fetch_due(index, most),
            Action::Deliver { lane, call, batch } => self.deliver(lane, call, batch),
            Action::Ahead { lane, call, message } => self.hand_ahead(lane, call, message),
            Action::ServerFailed { server, failure, failures } => {
                // The report first: a receiver that missed the event finds the count there.
                self.report();
                let trace = self.scheduler.lane_index.get(&server).map(|lane| self.batches.link(*lane)).unwrap_or_default();
                self.reporting.raise(Event::ServerFailed { server, failure, failures, trace });
            }
            Action::CountAdded(index) => {
                if let Some(run_id) = self.ids.run(index) {
                    self.count_added(index, run_id);
                }
            }
            Action::WatchAudience(index) => {
                let Some(campaign) = self.scheduler.campaign(index) else { return };
                let every = if campaign.phase == Phase::Closed { LOOK_AT_CLOSED_EVERY } else { LOOK_AT_FILE_EVERY };
                // An audience that was not read to its end is compared with the file as it is now.
                let now = || self.handles.contents.get(&campaign.key).map(|content| content.people.versions());
                let versions = self.audiences.versions(index).or_else(now);
                self.await_another_version(index, versions, every);
            }
            Action::Close(index) => self.close(index),
            Action::Resume { campaign: index, resumption } => self.resume(index, resumption),
            Action::ChangeRollout { campaign: index, change } => self.change_rollout(index, change),
            Action::Forget(index) => {
                self.usage.forget_campaign(index);
                self.ids.forget_campaign(index);
                self.audiences.forget(index);
            }
            Action::ForgetServer(lane) => {
                self.usage.forget_server(lane);
                self.ids.forget_server(lane);
            }
        }
    }

    pub(super) fn open(&mut self, index: CampaignIx) {
        let Some(campaign) = self.scheduler.campaign(index) else { return };
        let key = RunKey::new(&*campaign.key.namespace, &*campaign.key.name, &campaign.intent.work.run);
        let when_outcome_is_unknown = campaign.intent.work.when_outcome_is_unknown;
        let resume = campaign.intent.resume.as_ref().map(|resume| resume.token.clone());
        let reopen = campaign.intent.work.reopen;
        let limits = campaign.intent.shared_limits().map(|limits| limits.key.clone()).collect();
        let receivers = self.scheduler.receivers.by_domain();
        let topic = campaign.intent.work.topic.clone();
        let (rollout, promote) = (campaign.intent.rollout.first, campaign.intent.rollout.promote.clone());
        let (ledger, answers, now_ms) = (self.ledger.clone(), self.inbox.answers.sender(), self.clock.now_ms());
        tokio::spawn(async move {
            let opened = async {
                let start = RunStart { when_outcome_is_unknown, resume, reopen, limits, receivers, topic, rollout, promote };
                let record = ledger.begin_run(&key, start, now_ms).await?;
                let counts = ledger.counts(record.id).await?;
                let opened = Opened {
                    bars: ledger.bars(record.id).await?,
                    held: ledger.held(record.id, HELD_MAX).await?,
                    is_reopened: record.is_reopened,
                    resume_handled: record.resume_handled.clone(),
                    accepted: counts.accepted_by_server().map(|(server, count)| (server.into(), count)).collect(),
                    counts: record.recipients(&counts),
                    started_ms: record.started_at_ms,
                    closed_ms: record.closed_at_ms,
                    next_due_ms: ledger.next_due(record.id).await?,
                    left: record.left_without_outcome,
                    reopen: record.reopen,
                    has_sent: record.has_sent,
                    rollout: record.rollout.clone(),
                    number: record.id.number(),
                };
                Ok(Box::new(OpenedRun { record, opened }))
            };
            let _ = answers.send(Answer::Opened { campaign: index, opened: opened.await });
        });
    }

    pub(super) fn start_feeder(&mut self, index: CampaignIx) {
        let (Some(campaign), Some(run_id)) = (self.scheduler.campaign(index), self.ids.run(index)) else { return };
        let content = self.handles.contents.get(&campaign.key);
        let Some((people, template)) = content.and_then(|content| Some((content.people.clone(), content.template.clone()?))) else {
            // It was dropped because others need the memory: the campaign is held, or about to be.
            let blocker = Blocker::passing(Reason::Preparing, "Its templates are being compiled.").after(Some(Duration::from_secs(1)));
            return self.scheduler.feeder_failed(index, blocker, self.clock.now_ms());
        };
        let spec = FeederSpec {
            campaign: index,
            feeder_epoch: campaign.feeder.epoch,
            key: campaign.key.clone(),
            run_id,
            intent: campaign.intent.clone(),
            people,
            template,
            adds_nobody: campaign.record.is_reopened,
            sample: campaign.sample(),
            links: self.handles.links.clone(),
            clock: self.clock,
        };
        if !self.scheduler.is_current(index, spec.feeder_epoch) {
            return;
        }
        match self.audiences.start(spec, self.ledger.clone(), self.inbox.feeders.sender()) {
            Ok(()) => self.scheduler.feeder_started(index),
            Err(error) => {
                let message = format!("No thread could be started to read the audience: {error}. It is retried automatically.");
                let blocker = Blocker::passing(Reason::AudienceUnreadable, message);
                self.scheduler.feeder_failed(index, blocker, self.clock.now_ms());
            }
        }
    }

    pub(super) fn fetch_due(&mut self, index: CampaignIx, most: usize) {
        let (Some(campaign), Some(run_id)) = (self.scheduler.campaign(index), self.ids.run(index)) else { return };
        let (ledger, answers, now_ms) = (self.ledger.clone(), self.inbox.answers.sender(), self.clock.now_ms());
        let feeder_epoch = campaign.feeder.epoch;
        tokio::spawn(async move {
            let due = async {
                let messages = ledger.due(run_id, now_ms, most).await?;
                Ok(Due { messages, next_ms: ledger.next_due(run_id).await? })
            };
            let _ = answers.send(Answer::Due { campaign: index, run_id, feeder_epoch, due: due.await });
        });
    }

    pub(super) fn deliver(&mut self, lane: LaneIx, call: CallId, batch: Vec<Outgoing>) {
        let NewCall { server, gate, more, begun } = self.clients.begin(lane, call);
        let (outcomes, ended) = (self.inbox.outcomes.sender(), self.inbox.ended_calls.sender());
        let span = self.batches.begin((lane, call), self.scheduler.lanes.get(&lane), &batch);
        tokio::spawn(async move {
            if let Some(server) = server {
                span.around(server.deliver_with(batch, Along { more, gate }, outcomes)).await;
            } else {
                give_back(batch, &outcomes);
            }
            drop(span);
            let _ = ended.send(CallEnded { lane, call, begun });
        });
    }

    /// Hands over a message for a connection that is waiting for an answer. If the call has ended by now, or the server has another
    /// client, the call begins again.
    fn hand_ahead(&mut self, lane: LaneIx, call: CallId, message: Outgoing) {
        match self.clients.hand_ahead(lane, call, message) {
            Some(message) => self.deliver(lane, call, vec![message]),
            None => self.batches.ahead((lane, call)),
        }
    }

    pub(super) fn call_ended(&mut self, ended: &CallEnded) {
        if self.clients.ended(ended) {
            self.batches.end((ended.lane, ended.call));
            self.scheduler.call_ended(ended.lane, ended.call);
        }
    }

    pub(super) fn close(&mut self, index: CampaignIx) {
        let (Some(run_id), Some(campaign)) = (self.ids.run(index), self.scheduler.campaign(index)) else { return };
        let (counts, reopen) = (&campaign.tally.counts, campaign.intent.work.reopen);
        let (total, excluded) = (counts.total.unwrap_or(0), counts.excluded);
        let read = AudienceRead { total, duplicates: counts.duplicates, excluded, bad_rows: counts.bad_rows };
        let unmatched = self.audiences.unmatched(index);
        let (ledger, answers, now_ms) = (self.ledger.clone(), self.inbox.answers.sender(), self.clock.now_ms());
        tokio::spawn(async move {
            let closed = async {
                let changes = ledger.audience_read(run_id, read, unmatched, now_ms).await?;
                let _ = answers.send(Answer::Changed(changes));
                // The ledger has the last word on whether everything has a final outcome.
                let counts = ledger.counts(run_id).await?;
                if counts.fates[Fate::Claimed] > 0 {
                    return Ok(Closing::Open { next_ms: None });
                }
                if counts.fates.open() > 0 {
                    return Ok(Closing::Open { next_ms: ledger.next_due(run_id).await? });
                }
                ledger.close_run(run_id, reopen, now_ms).await?;
                Ok(Closing::Done(read.recipients(&counts)))
            };
            let _ = answers.send(Answer::Closed { campaign: index, closing: closed.await });
        });
    }

    /// Waits until the file or the credential of an audience is another one: an audience that a person has to fix is then read again
    /// at once; for a completed campaign, added rows are counted.
    pub(super) fn await_another_version(&mut self, index: CampaignIx, versions: Option<Versions>, every: Duration) {
        let Some(campaign) = self.scheduler.campaign(index) else { return };
        let (feeder_epoch, answers) = (campaign.feeder.epoch, self.inbox.answers.sender());
        let Some(people) = self.handles.contents.get(&campaign.key).map(|content| content.people.clone()) else { return };
        // What is fetched has no version: it is asked for again, less and less often.
        let first = campaign.blocked.by.as_ref().filter(|blocker| blocker.needs_person).and_then(|blocker| blocker.retry_after);
        if first.is_none() && !people.has_versions() {
            return;
        }
        let runtime = tokio::runtime::Handle::current();
        let watch = tokio::spawn(async move {
            let (mut fetches, mut fetch_at) = (1, first.map(|pause| Instant::now() + jittered(pause)));
            while !answers.is_closed() {
                tokio::time::sleep(every).await;
                let fetches_now = fetch_at.is_some_and(|at| at <= Instant::now());
                let (asked, runtime, versions) = (people.clone(), runtime.clone(), versions.clone());
                let looks = move || is_another(&asked.versions(), versions.as_ref()) || fetches_now && asked.can_be_fetched(&runtime);
                if tokio::task::spawn_blocking(looks).await.unwrap_or(false) {
                    let _ = answers.send(Answer::AudienceTouched { campaign: index, feeder_epoch });
                    return;
                }
                if fetches_now {
                    fetches += 1;
                    fetch_at = Some(Instant::now() + jittered(TRY_AGAIN.delay(fetches)));
                }
            }
        });
        self.audiences.watch(index, watch.abort_handle());
    }

    fn resume(&self, index: CampaignIx, resumption: Resumption) {
        let Some(run_id) = self.ids.run(index) else { return };
        let (ledger, answers, now_ms) = (self.ledger.clone(), self.inbox.answers.sender(), self.clock.now_ms());
        tokio::spawn(async move {
            let resumed = async {
                let changes = ledger.resume(run_id, resumption.clone(), now_ms).await?;
                Ok(Resumed { changes, is_open: ledger.counts(run_id).await?.fates.open() > 0 })
            };
            let resumed = resumed.await;
            let _ = answers.send(Answer::Resumed { campaign: index, resumption, resumed });
        });
    }

    fn change_rollout(&self, index: CampaignIx, change: RolloutChange) {
        let Some(run_id) = self.ids.run(index) else { return };
        let (ledger, answers, now_ms) = (self.ledger.clone(), self.inbox.answers.sender(), self.clock.now_ms());
        tokio::spawn(async move {
            let reached = ledger.change_rollout(run_id, change, now_ms).await;
            let _ = answers.send(Answer::Rollout { campaign: index, reached });
        });
    }

    /// Returns deferred messages that were fetched for a feeder that has been stopped since.
    pub(super) fn give_back_due(&self, run_id: RunId, due: &[crate::ledger::DueMessage]) {
        let seqs: Vec<u64> = due.iter().map(|message| message.seq).collect();
        let (ledger, answers) = (self.ledger.clone(), self.inbox.answers.sender());
        tokio::spawn(async move {
            if let Err(error) = ledger.release(run_id, seqs).await {
                tracing::warn!(%error, "deferred messages could not be released; they are sent after the next start");
            }
            let _ = answers.send(Answer::Released);
        });
    }

    pub(super) fn count_added(&self, index: CampaignIx, run_id: RunId) {
        let Some(campaign) = self.scheduler.campaign(index) else { return };
        let Some(content) = self.handles.contents.get(&campaign.key) else {
            // Somebody may wait for the count.
            let _ = self.inbox.answers.sender().send(Answer::AddedLater { campaign: index, added: 0, versions: None });
            return;
        };
        let (people, ledger, answers) = (content.people.clone(), self.ledger.clone(), self.inbox.answers.sender());
        let (key, work) = (campaign.key.clone(), campaign.intent.work.clone());
        let runtime = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || {
            let versions = people.versions();
            // An audience that can no longer be read does not matter to a run that is over.
            let added = feeder::count_added((&key, work.outcomes.as_ref()), &people, &ledger, run_id, &runtime).unwrap_or(0);
            let _ = answers.send(Answer::AddedLater { campaign: index, added, versions: Some(versions) });
        });
    }
}
