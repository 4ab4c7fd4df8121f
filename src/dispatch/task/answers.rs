//! What the ledger, files and feeders answer to what was asked of them in the background.

use super::{
    Blocker, Changes, DispatchTask, Fed, FeederEvent, LEDGER_RETRY, LOOK_AT_CLOSED_EVERY, LOOK_AT_FILE_EVERY, LedgerError, Opened, Reached,
    Reason, RecipientCounts, Request, Resumption, RunId, RunRecord, Versions,
};
use crate::{
    dispatch::index::CampaignIx,
    ledger::{AudienceRead, BadRow, DueMessage},
};

/// The wait before a run is looked at again that could not be fetched from, or closed.
const LOOK_AGAIN_MS: i64 = 1000;

/// The result of a request to the ledger, or to a file, in the background.
pub(super) enum Answer {
    /// The run of a campaign was found or begun.
    Opened { campaign: CampaignIx, opened: Result<Box<OpenedRun>, LedgerError> },
    /// A run that could not be opened is to be opened again.
    OpenAgain(CampaignIx),
    /// Deferred messages were fetched for a feeder.
    Due { campaign: CampaignIx, run_id: RunId, feeder_epoch: u64, due: Result<Due, LedgerError> },
    /// A run was to be closed.
    Closed { campaign: CampaignIx, closing: Result<Closing, LedgerError> },
    /// The number of rows that were added after completion, and the versions of the files in which they were.
    AddedLater { campaign: CampaignIx, added: u64, versions: Option<Versions> },
    /// The changes of a write that is not a commit.
    Changed(Changes),
    /// A resumption was carried out, or failed.
    Resumed { campaign: CampaignIx, resumption: Resumption, resumed: Result<Resumed, LedgerError> },
    /// A resumption that failed is to be requested again.
    ResumeAgain(CampaignIx),
    /// Where the rollout of a run is now, or why it could not be changed.
    Rollout { campaign: CampaignIx, reached: Result<Option<Reached>, LedgerError> },
    /// A rollout that could not be changed is to be changed again.
    RolloutAgain(CampaignIx),
    /// The file of an audience that could not be read has changed.
    AudienceTouched { campaign: CampaignIx, feeder_epoch: u64 },
    /// What a stopped feeder had leased is with the ledger again.
    Released,
}

/// A run, as the ledger has it.
pub(super) struct OpenedRun {
    pub(super) record: RunRecord,
    pub(super) opened: Opened,
}

/// Deferred messages that are due, and when the next one is.
pub(super) struct Due {
    pub(super) messages: Vec<DueMessage>,
    pub(super) next_ms: Option<i64>,
}

/// What a resumption changed, and whether the run is open now.
pub(super) struct Resumed {
    pub(super) changes: Changes,
    pub(super) is_open: bool,
}

/// The ledger's answer to closing a run.
pub(super) enum Closing {
    /// It is closed, with these counts.
    Done(RecipientCounts),
    /// Some messages have no final outcome yet; when the next deferred one is due.
    Open { next_ms: Option<i64> },
}

impl DispatchTask {
    /// Takes what was answered; what failed is asked again later.
    pub(super) fn answered(&mut self, answer: Answer) {
        let now_ms = self.clock.now_ms();
        match answer {
            Answer::Opened { campaign, opened: Ok(run) } => self.opened(campaign, *run, now_ms),
            Answer::Opened { campaign, opened: Err(error) } => self.ask_again(error, Answer::OpenAgain(campaign)),
            Answer::OpenAgain(campaign) => self.open(campaign),
            Answer::Due { campaign, run_id, feeder_epoch, due } => self.due(campaign, run_id, feeder_epoch, due, now_ms),
            Answer::Closed { campaign, closing } => self.closed(campaign, closing, now_ms),
            Answer::AddedLater { campaign, added, versions } => self.added_later(campaign, added, versions),
            Answer::Changed(changes) => self.note_changes(&changes),
            Answer::Resumed { campaign, resumption, resumed: Ok(resumed) } => self.resumed(campaign, &resumption, &resumed, now_ms),
            Answer::Resumed { campaign, resumed: Err(error), .. } => self.ask_again(error, Answer::ResumeAgain(campaign)),
            Answer::ResumeAgain(campaign) => self.scheduler.not_resumed(campaign),
            Answer::Rollout { campaign, reached: Ok(reached) } => self.rollout_changed(campaign, reached),
            Answer::Rollout { campaign, reached: Err(error) } => self.ask_again(error, Answer::RolloutAgain(campaign)),
            Answer::RolloutAgain(campaign) => self.scheduler.rollout_not_changed(campaign),
            Answer::AudienceTouched { campaign, feeder_epoch } => self.scheduler.audience_touched(campaign, feeder_epoch),
            Answer::Released => self.scheduler.released(),
        }
    }

    /// Notes that the ledger failed, and answers after the pause before it is asked again.
    fn ask_again(&mut self, error: LedgerError, answer: Answer) {
        self.reporting.ledger_problem = Some(error);
        let answers = self.inbox.answers.sender();
        tokio::spawn(async move {
            tokio::time::sleep(LEDGER_RETRY).await;
            let _ = answers.send(answer);
        });
    }

    fn opened(&mut self, index: CampaignIx, OpenedRun { record, opened }: OpenedRun, now_ms: i64) {
        self.ledger_works();
        // It may have been deleted meanwhile: the run stays in the ledger, for when it is applied again.
        let Some(campaign) = self.scheduler.campaign(index) else { return };
        self.ids.add_run(index, record.id);
        let is_closed = opened.closed_ms.is_some();
        // The usage of servers has been known since the start.
        for limits in campaign.intent.shared_limits() {
            self.usage.add(&limits.key, now_ms.div_euclid(60_000), opened.left.cast_signed());
        }
        self.scheduler.opened(index, opened, now_ms);
        if is_closed {
            self.count_added(index, record.id);
        }
        self.reporting.want();
    }

    fn due(&mut self, index: CampaignIx, run_id: RunId, feeder_epoch: u64, due: Result<Due, LedgerError>, now_ms: i64) {
        let is_current = self.scheduler.is_current(index, feeder_epoch);
        match due {
            Ok(Due { messages, next_ms }) if is_current => {
                self.ledger_works();
                self.scheduler.due_fetched(index, messages.len(), next_ms);
                if !messages.is_empty() {
                    self.audiences.ask(index, Request::Due(messages));
                }
            }
            // The feeder was stopped meanwhile, or the campaign was deleted.
            Ok(due) => self.give_back_due(run_id, &due.messages),
            Err(error) => {
                self.reporting.ledger_problem = Some(error);
                if is_current {
                    self.scheduler.due_fetched(index, 0, Some(now_ms + LOOK_AGAIN_MS));
                } else {
                    self.scheduler.released();
                }
            }
        }
    }

    fn closed(&mut self, index: CampaignIx, closing: Result<Closing, LedgerError>, now_ms: i64) {
        match closing {
            Ok(Closing::Done(counts)) => {
                self.ledger_works();
                if let Some(campaign) = self.scheduler.campaign_mut(index) {
                    // Messages that were in flight when this campaign was deleted and applied again may have been counted before it
                    // was opened.
                    campaign.tally.counts = counts;
                }
                self.scheduler.closed(index, now_ms);
                self.report();
            }
            Ok(Closing::Open { next_ms }) => self.scheduler.not_closed(index, next_ms.or(Some(now_ms + LOOK_AGAIN_MS))),
            Err(error) => {
                self.reporting.ledger_problem = Some(error);
                self.scheduler.not_closed(index, Some(now_ms + LOOK_AGAIN_MS));
            }
        }
    }

    fn added_later(&mut self, index: CampaignIx, added: u64, versions: Option<Versions>) {
        if let Some(campaign) = self.scheduler.campaign_mut(index) {
            campaign.audience.added_later = Some(added);
        }
        self.await_another_version(index, versions, LOOK_AT_CLOSED_EVERY);
        self.report();
    }

    fn note_changes(&mut self, changes: &Changes) {
        let changes = self.ids.translate(changes);
        self.scheduler.apply_changes(&changes);
    }

    fn resumed(&mut self, index: CampaignIx, resumption: &Resumption, resumed: &Resumed, now_ms: i64) {
        self.ledger_works();
        self.note_changes(&resumed.changes);
        self.scheduler.resumed(index, resumption, resumed.is_open, now_ms);
        self.report();
    }

    fn rollout_changed(&mut self, index: CampaignIx, reached: Option<Reached>) {
        self.ledger_works();
        self.scheduler.rollout_changed(index, reached);
        self.report();
    }

    /// Takes what a feeder brings, unless it has been stopped since.
    pub(super) fn fed(&mut self, event: FeederEvent) {
        let FeederEvent { campaign: index, feeder_epoch, fed } = event;
        if !self.scheduler.is_current(index, feeder_epoch) {
            return;
        }
        let now_ms = self.clock.now_ms();
        if !matches!(fed, Fed::Failed { .. } | Fed::Problems(_)) {
            self.scheduler.audience_opened(index);
        }
        match fed {
            Fed::Messages { messages, requested, due } => self.scheduler.prepared(index, messages, requested, due, now_ms),
            Fed::RenderFailed(failed) => {
                self.scheduler.render_failed(index, failed, now_ms);
            }
            Fed::Withdrawn { seq, recipient } => self.scheduler.withdrawn(index, seq, recipient, now_ms),
            Fed::PassedOver(receivers) => self.scheduler.passed_over(index, receivers),
            Fed::PassedAsleep(asleep) => self.scheduler.passed_asleep(index, asleep),
            Fed::Later(later) => self.scheduler.later(index, later, now_ms),
            Fed::Sought(true) => self.scheduler.sought(index),
            Fed::Sought(false) => self.scheduler.nobody_else(index, now_ms),
            Fed::Progress { estimate, useless } => {
                if let Some(campaign) = self.scheduler.campaign_mut(index) {
                    campaign.audience.progress(estimate, useless);
                }
            }
            Fed::Counted(rows) => self.scheduler.audience_counted(index, rows),
            Fed::AudienceEnd {
                total,
                outside,
                duplicates,
                excluded,
                bad_rows,
                bad_rows_named,
                without_zone,
                without_variant,
                unmatched,
                versions,
            } => {
                self.audiences.ended(index, unmatched, versions);
                let read = AudienceRead { total, duplicates, excluded, bad_rows };
                self.scheduler.audience_ended(index, read, outside, bad_rows_named, (without_zone, without_variant));
            }
            Fed::Problems(problems) => self.record_bad_rows(index, problems),
            Fed::Failed { blocker, versions } => self.feeder_failed(index, blocker, versions, now_ms),
        }
    }

    fn record_bad_rows(&self, index: CampaignIx, rows: Vec<BadRow>) {
        let Some(run_id) = self.ids.run(index) else { return };
        let ledger = self.ledger.clone();
        tokio::spawn(async move {
            if let Err(error) = ledger.record_bad_rows(run_id, rows).await {
                tracing::warn!(%error, "the bad rows of the audience could not be recorded in the ledger");
            }
        });
    }

    fn feeder_failed(&mut self, index: CampaignIx, blocker: Blocker, versions: Versions, now_ms: i64) {
        if blocker.reason == Reason::AudienceChanged
            && let Some(campaign) = self.scheduler.campaign(index)
        {
            // It passes so quickly that status may never show it.
            tracing::info!(campaign = %campaign.key, "{}", blocker.message);
        }
        let waits = blocker.needs_person;
        self.scheduler.feeder_failed(index, blocker, now_ms);
        if waits {
            self.await_another_version(index, Some(versions), LOOK_AT_FILE_EVERY);
        }
        self.report();
    }
}
