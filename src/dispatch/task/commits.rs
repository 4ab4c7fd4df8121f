//! Turns the scheduler's plans into commits of the ledger.

use std::sync::Arc;

use super::{
    Claim, Commit, CommitResult, Committing, DispatchTask, LedgerError, LedgerErrorKind, NewBar, OutcomeRecord, Planned, PlannedBar,
    Settled, UsageMove,
};
use crate::dispatch::index::{CampaignIx, LaneIx};

impl DispatchTask {
    pub(super) async fn commit(&mut self, planned: Planned) -> Committing {
        let lanes = planned.claims.iter().map(|claim| claim.lane).chain(planned.bars.iter().map(|bar| bar.lane));
        for lane in lanes.collect::<std::collections::BTreeSet<_>>() {
            if let Err(error) = self.know_server(lane).await {
                // Nothing of this commit was written, whatever became of the server's name.
                let kind = if error.kind == LedgerErrorKind::Undecided { LedgerErrorKind::Unreachable } else { error.kind };
                let error = LedgerError { kind, ..error };
                let commit = Arc::default();
                return Box::pin(std::future::ready(CommitResult { planned, commit, receipt: Err(error) }));
            }
        }
        let mut commit = Commit {
            outcomes: Vec::with_capacity(planned.outcomes.len()),
            claims: Vec::with_capacity(planned.claims.len()),
            now_ms: planned.at_ms,
            ..Commit::default()
        };
        for PlannedBar { campaign, lane, bar } in &planned.bars {
            let (Some(run_id), Some(server)) = (self.ids.run(*campaign), self.ids.server(*lane)) else { continue };
            commit.bars.push(NewBar { run_id, server, bar: bar.clone() });
        }
        for ended in &planned.outcomes {
            if let Some(record) = self.record(ended) {
                commit.outcomes.push(record);
            }
        }
        for claim in &planned.claims {
            let (Some(server), Some(run_id)) = (self.ids.server(claim.lane), self.ids.run(claim.campaign)) else {
                continue;
            };
            let usage_keys = self.usage_keys(claim.campaign, claim.lane, claim.domain.as_ref().map(|domain| &domain.key));
            let (recipient, attempt) = (claim.message.recipient.clone(), claim.message.attempt);
            let topic = self.scheduler.campaign(claim.campaign).and_then(|campaign| campaign.intent.work.topic.clone());
            commit.claims.push(Claim { run_id, seq: claim.message.seq, recipient, attempt, server, topic, usage_keys });
        }
        for moved in &planned.usage_moves {
            let usage_keys = self.usage_keys(moved.campaign, moved.lane, moved.domain.as_ref());
            commit.usage_moves.push(UsageMove { usage_keys, from_minute: moved.from_minute, to_minute: moved.to_minute });
        }
        self.batches.commits();
        self.submit(planned, Arc::new(commit))
    }

    /// Hands a commit to the ledger, once it is awaited.
    fn submit(&self, planned: Planned, commit: Arc<Commit>) -> Committing {
        let ledger = self.ledger.clone();
        Box::pin(async move {
            let receipt = ledger.commit(Arc::clone(&commit)).await;
            CommitResult { planned, commit, receipt }
        })
    }

    /// Looks up the ledger's id of a server, unless it is known.
    async fn know_server(&mut self, lane: LaneIx) -> Result<(), LedgerError> {
        if self.ids.server(lane).is_some() {
            return Ok(());
        }
        let Some(name) = self.scheduler.lanes.get(&lane).map(|lane| lane.reference.name.clone()) else { return Ok(()) };
        let id = self.ledger.server_id(&name).await?;
        self.ids.add_server(lane, id);
        Ok(())
    }

    pub(super) fn usage_keys(&mut self, campaign: CampaignIx, lane: LaneIx, domain: Option<&Arc<str>>) -> Arc<[Arc<str>]> {
        let (name, [plan, own]) = self.scheduler.limit_keys(campaign, lane);
        self.usage.keys(campaign, (lane, name), [plan, own, domain.cloned()])
    }

    /// Remembers what this process sent and when, for limiters that are rebuilt after an edit.
    pub(super) fn note_usage(&mut self, planned: &Planned, seqs: &[Option<u64>]) {
        let minute = planned.at_ms.div_euclid(60_000);
        for (claim, _) in planned.claims.iter().zip(seqs).filter(|(_, seq)| seq.is_some()) {
            let keys = self.usage_keys(claim.campaign, claim.lane, claim.domain.as_ref().map(|domain| &domain.key));
            self.usage.note(&keys, minute, 1);
        }
        for moved in &planned.usage_moves {
            let keys = self.usage_keys(moved.campaign, moved.lane, moved.domain.as_ref());
            self.usage.note(&keys, moved.from_minute, -1);
            if let Some(to) = moved.to_minute {
                self.usage.note(&keys, to, 1);
            }
        }
    }

    pub(super) fn record(&self, ended: &Settled) -> Option<OutcomeRecord> {
        Some(OutcomeRecord {
            run_id: self.ids.run(ended.campaign)?,
            seq: ended.seq,
            recipient: ended.recipient.clone(),
            disposition: ended.disposition.map(crate::audience::Fields::to_json),
            server: ended.lane.and_then(|lane| self.ids.server(lane)),
            reply: ended.reply.clone(),
            suppresses: ended.suppresses,
        })
    }

    /// The ledger answered. Once a commit has failed, only the next commit shows whether it can be written too.
    pub(super) fn ledger_works(&mut self) {
        if !self.scheduler.is_ledger_failing() {
            self.reporting.ledger_problem = None;
        }
    }

    /// Takes what came of a commit; returns it again where that is not known, since no other one may come before it is.
    pub(super) fn committed(&mut self, CommitResult { planned, commit, receipt }: CommitResult) -> Option<Committing> {
        match receipt {
            Ok(receipt) => {
                if self.reporting.ledger_problem.take().is_some() {
                    tracing::info!("the ledger can be written again; sending resumes");
                }
                self.batches.committed(receipt.took);
                let now_ms = self.clock.now_ms();
                self.note_usage(&planned, &receipt.seqs);
                let changes = self.ids.translate(&receipt.changes);
                self.scheduler.committed(planned, &receipt.seqs, &changes, receipt.took, now_ms);
                None
            }
            Err(error) if error.kind == LedgerErrorKind::Undecided => {
                self.note_problem(error);
                let again = self.submit(planned, commit);
                Some(Box::pin(async move {
                    tokio::time::sleep(super::LEDGER_RETRY).await;
                    again.await
                }))
            }
            Err(error) => {
                self.batches.commit_failed();
                self.scheduler.commit_failed(planned, self.clock.now_ms());
                self.note_problem(error);
                None
            }
        }
    }

    fn note_problem(&mut self, error: LedgerError) {
        if self.reporting.ledger_problem.is_none() {
            tracing::error!(%error, "the ledger cannot be written; nothing is sent until it can");
        }
        self.reporting.ledger_problem = Some(error);
        self.report();
    }
}
