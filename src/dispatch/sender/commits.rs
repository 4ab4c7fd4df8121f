//! The scheduler's plans become commits of the ledger.

use std::sync::Arc;

use super::{
    Changes, Claim, Commit, CommitReceipt, Committing, CountChanges, Ended, Guard, LedgerError, OutcomeRecord, Planned, RunId, Sending,
    USAGE_MINUTES,
};

impl Sending {
    pub(super) async fn commit(&mut self, planned: Planned, now_ms: i64) -> Committing {
        let lanes = planned.claims.iter().map(|claim| claim.lane).chain(planned.bars.iter().map(|(_, lane, _)| *lane));
        for lane in lanes.collect::<std::collections::BTreeSet<_>>() {
            if let Err(error) = self.know_server(lane).await {
                return Box::pin(std::future::ready((planned, Err(error))));
            }
        }
        let mut commit = Commit {
            outcomes: Vec::with_capacity(planned.outcomes.len()),
            claims: Vec::with_capacity(planned.claims.len()),
            now_ms,
            ..Commit::default()
        };
        for (campaign, lane, bar) in &planned.bars {
            let (Some(run_id), Some(server)) = (self.runs.get(campaign).copied(), self.server_ids.get(lane).copied()) else { continue };
            commit.guards.push(Guard {
                run_id,
                server,
                reason: bar.reason.to_string(),
                message: bar.message.clone(),
                spec_hash: bar.fingerprint,
            });
        }
        for ended in &planned.outcomes {
            if let Some(record) = self.record(ended) {
                commit.outcomes.push(record);
            }
        }
        for claim in &planned.claims {
            let (Some(server), Some(run_id)) = (self.server_ids.get(&claim.lane).copied(), self.runs.get(&claim.campaign).copied()) else {
                continue;
            };
            let usage_keys = self.usage_keys(claim.campaign, claim.lane);
            let recipient = claim.message.recipient.clone();
            commit.claims.push(Claim { run_id, seq: claim.message.seq, recipient, attempt: claim.message.attempt, server, usage_keys });
        }
        let ledger = self.ledger.clone();
        Box::pin(async move { (planned, ledger.commit(commit).await) })
    }

    /// The number of a server in the ledger is known from here on.
    async fn know_server(&mut self, lane: usize) -> Result<(), LedgerError> {
        if self.server_ids.contains_key(&lane) {
            return Ok(());
        }
        let Some(name) = self.scheduler.lanes.get(&lane).map(|lane| lane.lane.name.clone()) else { return Ok(()) };
        let id = self.ledger.server_id(&name).await?;
        self.server_ids.insert(lane, id);
        self.lanes.insert(id, lane);
        Ok(())
    }

    /// What a write changed, in the scheduler's numbers.
    pub(super) fn translate(&self, changes: &Changes) -> CountChanges {
        let campaign = |run: RunId| self.campaigns.get(&run).into_iter().flatten().copied();
        let fates = changes.counts.iter().flat_map(|change| {
            let lane = change.server.and_then(|server| self.lanes.get(&server).copied());
            campaign(change.run_id).map(move |index| (index, change.fate, lane, change.by))
        });
        let resent = changes.resent.iter().flat_map(|(run, by)| campaign(*run).map(move |index| (index, *by)));
        CountChanges { fates: fates.collect(), resent: resent.collect() }
    }

    pub(super) fn usage_keys(&mut self, campaign: usize, lane: usize) -> Arc<[Arc<str>]> {
        let plan = self.scheduler.campaign(campaign).and_then(|c| c.order.plan_limits.as_ref()).map(|(key, _)| key.clone());
        let name = self.scheduler.lanes.get(&lane).map(|lane| lane.lane.name.clone()).unwrap_or_default();
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
        Some(OutcomeRecord {
            run_id: *self.runs.get(&ended.campaign)?,
            seq: ended.seq,
            recipient: ended.recipient.clone(),
            disposition: ended.end.map(crate::audience::Fields::to_json),
            server: ended.lane.and_then(|lane| self.server_ids.get(&lane).copied()),
            reply: ended.reply.clone(),
        })
    }

    /// The ledger answered. Whether it can be written as well, only a commit tells once one has failed.
    pub(super) fn ledger_works(&mut self) {
        if !self.scheduler.is_ledger_failing() {
            self.ledger_problem = None;
        }
    }

    pub(super) fn committed(&mut self, planned: Planned, result: Result<CommitReceipt, LedgerError>) {
        match result {
            Ok(receipt) => {
                if self.ledger_problem.take().is_some() {
                    tracing::info!("the ledger can be written again; sending goes on");
                }
                let now_ms = self.clock.now_ms();
                self.note_usage(&planned, now_ms);
                let changes = self.translate(&receipt.changes);
                self.scheduler.committed(planned, &receipt.seqs, &changes, receipt.took, now_ms);
            }
            Err(error) => {
                if self.ledger_problem.is_none() {
                    tracing::error!(%error, "the ledger cannot be written; nothing is sent until it can");
                }
                self.ledger_problem = Some(error);
                self.scheduler.commit_failed(planned, self.clock.now_ms());
                self.report(true);
            }
        }
    }
}
