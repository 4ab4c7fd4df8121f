//! What a commit changes in simulated time.

use std::{sync::Arc, time::Duration};

use super::Plane;
use crate::{
    dispatch::{
        index::{CampaignIx, LaneIx},
        scheduler::{CountChanges, FateChange, Planned, PlannedBar},
    },
    resources::fate::Fate,
    simulate::{ledger::Noted, people::Crowd},
};

impl Plane {
    /// Writes what the scheduler planned, as the ledger would in one transaction.
    pub(super) fn commit(&mut self, planned: Planned, note: &mut impl FnMut(Noted<'_>), now_ms: i64) {
        let mut changes = CountChanges::default();
        for ended in &planned.outcomes {
            let Some(run) = self.runs.get_mut(&ended.campaign) else { continue };
            let Some(person) = ended.seq.and_then(|seq| usize::try_from(seq).ok()) else { continue };
            let Some(was) = run.rows.end(person, &ended.disposition, now_ms) else { continue };
            let fate = ended.disposition.fate();
            let change = |fate, lane, by| FateChange { campaign: ended.campaign, fate, lane, by };
            changes.fates.extend([change(was, None, -1), change(fate, ended.lane, 1)]);
            let is_accepted = fate == Fate::Accepted;
            let server = ended.lane.and_then(|lane| self.scheduler.server_of(lane));
            if let Some(server) = server.filter(|_| is_accepted || fate == Fate::Rejected) {
                note(Noted { campaign: &run.key, server, is_accepted, at_ms: now_ms });
            }
        }
        let minute = planned.at_ms.div_euclid(60_000);
        let mut seqs = Vec::with_capacity(planned.claims.len());
        for claim in &planned.claims {
            let person = claim.message.seq.and_then(|seq| usize::try_from(seq).ok());
            let person = person.or_else(|| Crowd::person(&claim.message.recipient));
            let claimed = person.and_then(|person| Some((person, self.runs.get_mut(&claim.campaign)?.rows.claim(person, planned.at_ms)?)));
            let Some((person, waited)) = claimed else {
                seqs.push(None);
                continue;
            };
            let change = |fate, by| FateChange { campaign: claim.campaign, fate, lane: None, by };
            if waited {
                changes.fates.push(change(Fate::Deferred, -1));
            }
            changes.fates.push(change(Fate::Claimed, 1));
            let keys = self.usage_keys(claim.campaign, claim.lane, claim.domain.as_ref().map(|domain| &domain.key));
            self.usage.note(&keys, minute, 1);
            seqs.push(Some(person as u64));
        }
        for moved in &planned.usage_moves {
            let keys = self.usage_keys(moved.campaign, moved.lane, moved.domain.as_ref());
            self.usage.note(&keys, moved.from_minute, -1);
            if let Some(to) = moved.to_minute {
                self.usage.note(&keys, to, 1);
            }
        }
        for PlannedBar { campaign, lane, bar } in &planned.bars {
            let server = self.scheduler.server_of(*lane).cloned();
            if let (Some(run), Some(server)) = (self.runs.get_mut(campaign), server) {
                run.known.bars.insert(server.to_string().into(), bar.clone());
            }
        }
        self.scheduler.committed(planned, &seqs, &changes, Duration::from_millis(1), now_ms);
    }

    fn usage_keys(&mut self, campaign: CampaignIx, lane: LaneIx, domain: Option<&Arc<str>>) -> Arc<[Arc<str>]> {
        let (name, [plan, own]) = self.scheduler.limit_keys(campaign, lane);
        self.usage.keys(campaign, (lane, name), [plan, own, domain.cloned()])
    }
}
