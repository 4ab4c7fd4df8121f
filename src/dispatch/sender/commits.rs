//! The scheduler's plans become commits of the ledger.

use std::sync::Arc;

use super::{
    Claim, Commit, CommitReceipt, CommitResult, End, EndState, Ended, Instant, LEDGER_RETRY, LedgerError, OutcomeRecord, Planned, Sending,
    USAGE_MINUTES, mpsc,
};

impl Sending {
    pub(super) async fn commit(&mut self, planned: Planned, now_ms: i64, done: mpsc::Sender<CommitResult>) {
        let mut commit =
            Commit { outcomes: Vec::with_capacity(planned.outcomes.len()), claims: Vec::with_capacity(planned.claims.len()), now_ms };
        for ended in &planned.outcomes {
            if let Some(record) = self.record(ended) {
                commit.outcomes.push(record);
            }
        }
        for claim in &planned.claims {
            if !self.server_ids.contains_key(&claim.lane) {
                let name = self.scheduler.lane_keys[claim.lane].to_string();
                match self.ledger.server_id(&name).await {
                    Ok(id) => {
                        self.server_ids.insert(claim.lane, id);
                    }
                    Err(error) => {
                        let _ = done.send((planned, Err(error))).await;
                        return;
                    }
                }
            }
            let (Some(server), Some(run_id)) = (self.server_ids.get(&claim.lane).copied(), self.runs.get(&claim.campaign).copied()) else {
                continue;
            };
            let usage_keys = self.usage_keys(claim.campaign, claim.lane);
            let recipient = claim.message.recipient.clone();
            commit.claims.push(Claim { run_id, seq: claim.message.seq, recipient, attempt: claim.message.attempt, server, usage_keys });
        }
        let ledger = self.ledger.clone();
        tokio::spawn(async move {
            let result = ledger.commit(commit).await;
            let _ = done.send((planned, result)).await;
        });
    }

    pub(super) fn usage_keys(&mut self, campaign: usize, lane: usize) -> Arc<[Arc<str>]> {
        let plan = self.scheduler.campaign(campaign).and_then(|c| c.order.plan_limits.as_ref()).map(|(key, _)| key.clone());
        let name = self.scheduler.lanes[lane].lane.name.clone();
        self.usage_keys.entry((lane, plan.clone())).or_insert_with(|| std::iter::once(name).chain(plan).collect()).clone()
    }

    /// Remembers what this process claimed, for limiters that are made anew after an edit.
    pub(super) fn note_usage(&mut self, planned: &Planned, now_ms: i64) {
        let minute = now_ms.div_euclid(60_000);
        for claim in &planned.claims {
            for key in self.usage_keys(claim.campaign, claim.lane).iter() {
                if !self.past.contains_key(&**key) {
                    self.past.insert(key.to_string(), Vec::new());
                }
                match self.past.get_mut(&**key) {
                    Some(counts) if counts.last().is_some_and(|(last, _)| *last == minute) => {
                        if let Some((_, count)) = counts.last_mut() {
                            *count += 1;
                        }
                    }
                    Some(counts) => {
                        // Once a minute: what no window reaches any more.
                        counts.retain(|(old, _)| *old > minute - USAGE_MINUTES);
                        counts.push((minute, 1));
                    }
                    None => {}
                }
            }
        }
    }

    pub(super) fn record(&self, ended: &Ended) -> Option<OutcomeRecord> {
        let state = match &ended.end {
            End::Accepted => EndState::Accepted,
            End::Rejected => EndState::Rejected,
            End::Expired => EndState::Expired,
            End::Unknown => EndState::Unknown,
            End::RenderFailed => EndState::RenderFailed,
            End::Deferred { at_ms, fields, unknown: false } => EndState::Deferred { next_attempt_at_ms: *at_ms, fields: fields.to_json() },
            End::Deferred { at_ms, fields, unknown: true } => {
                EndState::UnknownResend { next_attempt_at_ms: *at_ms, fields: fields.to_json() }
            }
            End::Returned { fields } => EndState::Returned { fields: fields.to_json() },
        };
        Some(OutcomeRecord {
            run_id: *self.runs.get(&ended.campaign)?,
            seq: ended.seq,
            recipient: ended.recipient.clone(),
            state,
            server: ended.lane.and_then(|lane| self.server_ids.get(&lane).copied()),
            reply: ended.reply.clone(),
        })
    }

    /// The ledger answered. Whether it can be written as well, only a commit tells once one has failed.
    pub(super) fn ledger_works(&mut self) {
        if self.retry_at.is_none() {
            self.ledger_problem = None;
        }
    }

    pub(super) fn committed(&mut self, planned: Planned, result: Result<CommitReceipt, LedgerError>) {
        match result {
            Ok(receipt) => {
                if self.ledger_problem.take().is_some() {
                    tracing::info!("the ledger can be written again; sending goes on");
                }
                self.retry_at = None;
                let now_ms = self.clock.now_ms();
                self.note_usage(&planned, now_ms);
                self.scheduler.committed(planned, &receipt.seqs, receipt.took, now_ms);
            }
            Err(error) => {
                if self.ledger_problem.is_none() {
                    tracing::error!(%error, "the ledger cannot be written; nothing is sent until it can");
                }
                self.ledger_problem = Some(error);
                self.retry_at = Some(Instant::now() + LEDGER_RETRY);
                self.scheduler.commit_failed(planned, self.clock.now_ms());
                self.report(true);
            }
        }
    }
}
