//! Turns the scheduler's plans into commits of the ledger.

use std::sync::Arc;

use super::{
    Changes, Claim, Commit, CommitResult, Committing, CountChanges, DispatchTask, FateChange, Guard, LedgerError, OutcomeRecord, Past,
    Planned, PlannedBar, RunId, Settled, USAGE_MINUTES, UsageMove,
};
use crate::{
    dispatch::index::{CampaignIx, LaneIx},
    routing::SharedLimits,
};

impl DispatchTask {
    pub(super) async fn commit(&mut self, planned: Planned) -> Committing {
        let lanes = planned.claims.iter().map(|claim| claim.lane).chain(planned.bars.iter().map(|bar| bar.lane));
        for lane in lanes.collect::<std::collections::BTreeSet<_>>() {
            if let Err(error) = self.know_server(lane).await {
                return Box::pin(std::future::ready(CommitResult { planned, receipt: Err(error) }));
            }
        }
        let mut commit = Commit {
            outcomes: Vec::with_capacity(planned.outcomes.len()),
            claims: Vec::with_capacity(planned.claims.len()),
            now_ms: planned.at_ms,
            ..Commit::default()
        };
        for PlannedBar { campaign, lane, bar } in &planned.bars {
            let (Some(run_id), Some(server)) = (self.runs.get(campaign).copied(), self.server_ids.get(lane).copied()) else { continue };
            commit.guards.push(Guard {
                run_id,
                server,
                reason: bar.reason.to_string(),
                message: bar.message.clone(),
                spec_hash: bar.work_hash,
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
            let usage_keys = self.usage_keys(claim.campaign, claim.lane, claim.domain.as_ref().map(|domain| &domain.key));
            let (recipient, attempt) = (claim.message.recipient.clone(), claim.message.attempt);
            let topic = self.scheduler.campaign(claim.campaign).and_then(|campaign| campaign.intent.work.topic.clone());
            commit.claims.push(Claim { run_id, seq: claim.message.seq, recipient, attempt, server, topic, usage_keys });
        }
        for moved in &planned.usage_moves {
            let usage_keys = self.usage_keys(moved.campaign, moved.lane, moved.domain.as_ref());
            commit.usage_moves.push(UsageMove { usage_keys, from_minute: moved.from_minute, to_minute: moved.to_minute });
        }
        let ledger = self.ledger.clone();
        Box::pin(async move { CommitResult { planned, receipt: ledger.commit(commit).await } })
    }

    /// Looks up the ledger's id of a server, unless it is known.
    async fn know_server(&mut self, lane: LaneIx) -> Result<(), LedgerError> {
        if self.server_ids.contains_key(&lane) {
            return Ok(());
        }
        let Some(name) = self.scheduler.lanes.get(&lane).map(|lane| lane.reference.name.clone()) else { return Ok(()) };
        let id = self.ledger.server_id(&name).await?;
        self.server_ids.insert(lane, id);
        self.lanes.insert(id, lane);
        Ok(())
    }

    /// Translates the changes of a write into the scheduler's indices.
    pub(super) fn translate(&self, changes: &Changes) -> CountChanges {
        let campaign = |run: RunId| self.campaigns.get(&run).into_iter().flatten().copied();
        let fates = changes.counts.iter().flat_map(|change| {
            let lane = change.server.and_then(|server| self.lanes.get(&server).copied());
            campaign(change.run_id).map(move |campaign| FateChange { campaign, fate: change.fate, lane, by: change.by })
        });
        let resent = changes.resent.iter().flat_map(|(run, by)| campaign(*run).map(move |index| (index, *by)));
        CountChanges { fates: fates.collect(), resent: resent.collect() }
    }

    pub(super) fn usage_keys(&mut self, campaign: CampaignIx, lane: LaneIx, domain: Option<&Arc<str>>) -> Arc<[Arc<str>]> {
        let intent = self.scheduler.campaign(campaign).map(|campaign| &campaign.intent);
        let key = |limits: &Option<SharedLimits>| limits.as_ref().map(|limits| limits.key.clone());
        let (plan, own) = intent.map_or((None, None), |intent| (key(&intent.plan_limits), key(&intent.own_limits)));
        if let Some(own) = &own {
            self.campaigns_own_limits.entry(campaign).or_insert_with(|| own.clone());
        }
        let name = self.scheduler.lanes.get(&lane).map(|lane| lane.reference.name.clone()).unwrap_or_default();
        let more = [plan, own, domain.cloned()];
        self.usage_keys
            .entry((lane, more.clone()))
            .or_insert_with(|| std::iter::once(name).chain(more.into_iter().flatten()).collect())
            .clone()
    }

    /// Forgets the keys of a campaign with limits of its own, which is still there.
    pub(super) fn forget_usage_keys(&mut self, campaign: CampaignIx) {
        let campaign = self.campaigns_own_limits.remove(&campaign);
        if let Some(own) = campaign {
            self.usage_keys.retain(|(_, [_, known, _]), _| known.as_ref() != Some(&own));
        }
    }

    /// Remembers what this process sent and when, for limiters that are rebuilt after an edit.
    pub(super) fn note_usage(&mut self, planned: &Planned, seqs: &[Option<u64>]) {
        let minute = planned.at_ms.div_euclid(60_000);
        for (claim, _) in planned.claims.iter().zip(seqs).filter(|(_, seq)| seq.is_some()) {
            let keys = self.usage_keys(claim.campaign, claim.lane, claim.domain.as_ref().map(|domain| &domain.key));
            self.note_minute(&keys, minute, 1);
        }
        for moved in &planned.usage_moves {
            let keys = self.usage_keys(moved.campaign, moved.lane, moved.domain.as_ref());
            self.note_minute(&keys, moved.from_minute, -1);
            if let Some(to) = moved.to_minute {
                self.note_minute(&keys, to, 1);
            }
        }
    }

    fn note_minute(&mut self, keys: &[Arc<str>], minute: i64, by: i64) {
        for key in keys {
            add_usage(&mut self.past, key, minute, by);
        }
        // The first is the server.
        if let Some(server) = keys.first() {
            self.days.note(server, minute, by);
        }
    }

    pub(super) fn record(&self, ended: &Settled) -> Option<OutcomeRecord> {
        Some(OutcomeRecord {
            run_id: *self.runs.get(&ended.campaign)?,
            seq: ended.seq,
            recipient: ended.recipient.clone(),
            disposition: ended.disposition.map(crate::audience::Fields::to_json),
            server: ended.lane.and_then(|lane| self.server_ids.get(&lane).copied()),
            reply: ended.reply.clone(),
            suppresses: ended.suppresses,
        })
    }

    /// The ledger answered. Once a commit has failed, only the next commit shows whether it can be written too.
    pub(super) fn ledger_works(&mut self) {
        if !self.scheduler.is_ledger_failing() {
            self.ledger_problem = None;
        }
    }

    pub(super) fn committed(&mut self, CommitResult { planned, receipt }: CommitResult) {
        match receipt {
            Ok(receipt) => {
                if self.ledger_problem.take().is_some() {
                    tracing::info!("the ledger can be written again; sending resumes");
                }
                let now_ms = self.clock.now_ms();
                self.note_usage(&planned, &receipt.seqs);
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

/// Adds to the counts of a key, which are ordered by minute except for messages that were written earlier; a count is never below
/// 0.
pub(super) fn add_usage(past: &mut Past, key: &str, minute: i64, by: i64) {
    if !past.contains_key(key) {
        // Keys come and go with servers, campaigns and receiving domains. Looking at all of them whenever their number has doubled
        // costs little for each that is added.
        if past.len().is_power_of_two() {
            past.retain(|_, counts| counts.iter().rev().any(|(known, _)| *known > minute - USAGE_MINUTES));
        }
        past.insert(key.to_owned(), Vec::new());
    }
    let Some(counts) = past.get_mut(key) else { return };
    if let Some((_, count)) = counts.iter_mut().rev().find(|(known, _)| *known == minute) {
        *count = count.saturating_add_signed(by);
    } else if by > 0 {
        // Once a minute, drop what no window reaches any more.
        counts.retain(|(old, _)| *old > minute - USAGE_MINUTES);
        counts.push((minute, by.unsigned_abs()));
    }
}
