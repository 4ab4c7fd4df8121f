//! The ledger of the simulation: the same rules as the real one's, in memory.

use super::*;

impl Simulation {
    pub(super) fn commit(&mut self, planned: Planned) {
        if self.draw(100) < self.chances.commit_fails {
            self.failed_commits += 1;
            self.scheduler.commit_failed(planned, self.now_ms);
            return;
        }
        let mut changes = CountChanges::default();
        for ended in &planned.outcomes {
            let Some(seq) = ended.seq else { continue };
            let id = (ended.campaign, seq);
            let row = self.rows.get_mut(&id).expect("an outcome without a row");
            assert!(ended.lane.is_none_or(|lane| self.scheduler.lanes.contains_key(&lane)), "an outcome of a server that was forgotten");
            assert!(ended.disposition.may_follow(row.fate), "{:?} of a message that is {}", ended.disposition, row.fate);
            let fate = ended.disposition.fate();
            changes.fates.push(FateChange { campaign: ended.campaign, fate: row.fate, lane: None, by: -1 });
            changes.fates.push(FateChange { campaign: ended.campaign, fate, lane: ended.lane, by: 1 });
            let was = std::mem::replace(&mut row.fate, fate);
            if !fate.is_final() {
                row.since_ms.get_or_insert(row.claimed_ms);
            }
            match &ended.disposition {
                Disposition::Deferred { at_ms, .. } => row.at_ms = *at_ms,
                Disposition::Resend { at_ms, .. } => {
                    row.at_ms = *at_ms;
                    row.was_resent = true;
                    self.resent += 1;
                    changes.resent.push((ended.campaign, 1));
                }
                Disposition::Returned { at_ms, refusals, .. } => {
                    row.at_ms = *at_ms;
                    row.attempt -= u32::from(was == RowFate::Claimed);
                    row.refusals.clone_from(refusals);
                }
                Disposition::Held { refusals, .. } => {
                    row.attempt -= u32::from(was == RowFate::Claimed);
                    row.refusals = Some(refusals.clone());
                }
                Disposition::Released => row.at_ms = self.now_ms,
                _ => {}
            }
            if fate.is_final() {
                let told = self.fates.entry((ended.campaign, ended.recipient.to_string())).or_default();
                assert!(!told.ended, "two ends for {}", ended.recipient);
                told.ended = true;
            }
            self.leased.retain(|leased| *leased != id);
        }
        let mut seqs = Vec::new();
        for claim in &planned.claims {
            let seq = claim.message.seq.unwrap_or_else(|| {
                self.next_seq += 1;
                self.next_seq
            });
            let id = (claim.campaign, seq);
            let recipient = claim.message.recipient.to_string();
            let is_suppressed = self.chances.suppressed > 0 && self.draw(100) < self.chances.suppressed;
            let old = self.rows.get(&id).map(|row| row.fate);
            assert!(matches!(old, None | Some(RowFate::Deferred)), "a claim of a message that is {old:?}");
            assert!(!self.ended_runs.contains(&claim.campaign), "claimed in a closed run");
            if old.is_some() {
                changes.fates.push(FateChange { campaign: claim.campaign, fate: RowFate::Deferred, lane: None, by: -1 });
            }
            // One that may have been mailed before stays unknown.
            let was_resent = self.rows.get(&id).is_some_and(|row| row.was_resent);
            let fate = match is_suppressed {
                false => RowFate::Claimed,
                true if was_resent => RowFate::Unknown,
                true => RowFate::Suppressed,
            };
            changes.fates.push(FateChange { campaign: claim.campaign, fate, lane: None, by: 1 });
            let row = Row {
                recipient,
                fate,
                was_resent,
                attempt: claim.message.attempt,
                at_ms: 0,
                refusals: claim.message.refusals.to_json(),
                claimed_ms: planned.at_ms,
                since_ms: claim.message.since_ms,
                server: self.scheduler.lanes[&claim.lane].reference.name.to_string(),
            };
            self.claims.push((row.recipient.clone(), planned.at_ms));
            self.rows.insert(id, row);
            self.leased.retain(|leased| *leased != id);
            if is_suppressed {
                self.suppressed += 1;
                seqs.push(None);
                continue;
            }
            let name = self.scheduler.lanes[&claim.lane].reference.name.to_string();
            let domain = claim.domain.as_ref().map(|domain| domain.key.to_string());
            for key in std::iter::once(name).chain(domain) {
                self.add_usage(key, planned.at_ms.div_euclid(60_000), 1);
            }
            seqs.push(Some(seq));
        }
        for moved in &planned.usage_moves {
            let name = self.scheduler.lanes[&moved.lane].reference.name.to_string();
            for key in std::iter::once(name).chain(moved.domain.as_ref().map(ToString::to_string)) {
                self.add_usage(key.clone(), moved.from_minute, -1);
                if let Some(to) = moved.to_minute {
                    self.add_usage(key, to, 1);
                }
            }
        }
        for PlannedBar { campaign, lane, bar } in &planned.bars {
            let name = self.scheduler.lanes[lane].reference.name.to_string();
            self.bars.insert((*campaign, name), bar.clone());
        }
        self.most_claimed = self.most_claimed.max(self.rows.values().filter(|row| row.fate == RowFate::Claimed).count());
        self.scheduler.committed(planned, &seqs, &changes, Duration::from_millis(1), self.now_ms);
    }

    fn add_usage(&mut self, server: String, minute: i64, by: i64) {
        let count = self.usage.entry(server).or_default().entry(minute).or_default();
        *count = count.saturating_add_signed(by);
    }

    /// The number of rows with this fate.
    pub(super) fn count(&self, fate: RowFate) -> usize {
        self.rows.values().filter(|row| row.fate == fate).count()
    }

    pub(super) fn address(&self, number: u64) -> String {
        usize::try_from(number).ok().and_then(|at| self.addresses.get(at).cloned()).unwrap_or_else(|| address(number))
    }

    /// The process is killed and starts again: what it knew is gone, the ledger is not.
    pub(super) fn restart(&mut self) {
        let mut scheduler = Scheduler::new(self.seed);
        scheduler.mutant = self.scheduler.mutant;
        std::mem::swap(&mut self.scheduler, &mut scheduler);
        // What was claimed may have been written as late as now, and counts so; what is on the wire in the world does get written.
        let claimed: Vec<Row> = self.rows.values().filter(|row| row.fate == RowFate::Claimed).cloned().collect();
        for row in claimed {
            let domain = scheduler.receivers.of(&row.recipient).map(|receiver| crate::ledger::domain_key(&row.server, &receiver));
            for key in std::iter::once(row.server.clone()).chain(domain) {
                self.add_usage(key.clone(), row.claimed_ms.div_euclid(60_000), -1);
                self.add_usage(key, self.now_ms.div_euclid(60_000), 1);
            }
        }
        let back = self.answer_ms();
        for (at, lane, _, batch) in std::mem::take(&mut self.wire) {
            let name = scheduler.lanes[&lane].reference.name.to_string();
            if at - back <= self.now_ms {
                for message in &batch {
                    self.note_written(&name, &message.rcpt_to, at - back);
                    let campaign = scheduler.in_flight_campaign(message.token);
                    self.fates.entry((campaign, message.rcpt_to.to_string())).or_default().taken += 1;
                }
            }
        }
        let old: BTreeMap<Key, CampaignIx> = scheduler.campaign_index.clone();
        (self.wire, self.committing, self.fetches, self.closes) = (Vec::new(), None, Vec::new(), Vec::new());
        (self.leased, self.releases) = (Vec::new(), Vec::new());
        for row in self.rows.values_mut().filter(|row| row.fate == RowFate::Claimed) {
            row.fate = RowFate::Unknown;
        }
        self.apply();
        for (key, was) in old {
            let is = self.scheduler.campaign_index[&key];
            let moved = |(index, rest): (CampaignIx, u64)| (if index == was { is } else { index }, rest);
            self.rows = std::mem::take(&mut self.rows).into_iter().map(|(id, row)| (moved(id), row)).collect();
            self.fates =
                std::mem::take(&mut self.fates).into_iter().map(|((i, who), fate)| ((if i == was { is } else { i }, who), fate)).collect();
            self.bars =
                std::mem::take(&mut self.bars).into_iter().map(|((i, name), bar)| ((if i == was { is } else { i }, name), bar)).collect();
            self.ended_runs.iter_mut().filter(|index| **index == was).for_each(|index| *index = is);
            if let Some(reached) = self.rollouts.remove(&was) {
                self.rollouts.insert(is, reached);
            }
            if let Some(count) = self.audience.remove(&was) {
                self.audience.insert(is, count);
            }
        }
    }

    pub(super) fn opened(&self, index: CampaignIx) -> Opened {
        let closed_ms = self.ended_runs.contains(&index).then_some(self.now_ms);
        let rollout = self.rollouts.get(&index).cloned();
        let mut opened = Opened { started_ms: START_MS, closed_ms, rollout, ..Opened::default() };
        for ((campaign, seq), row) in self.rows.iter().filter(|((campaign, _), _)| *campaign == index) {
            debug_assert_eq!(*campaign, index);
            *opened.counts.of_mut(row.fate) += 1;
            if row.fate == RowFate::Held {
                let refusals = row.refusals.clone().unwrap_or_default();
                opened.held.push(HeldMessage { seq: *seq, recipient: row.recipient.clone(), refusals });
            }
        }
        let due = self.rows.iter().filter(|((campaign, _), row)| *campaign == index && row.fate == RowFate::Deferred);
        opened.next_due_ms = due.map(|(_, row)| row.at_ms).min();
        opened.bars = self
            .bars
            .iter()
            .filter(|((campaign, _), _)| *campaign == index)
            .map(|((_, name), bar)| (name.as_str().into(), bar.clone()))
            .collect();
        opened
    }

    pub(super) fn resume(&mut self, index: CampaignIx, resumption: &Resumption) {
        let mut changes = CountChanges::default();
        for ((campaign, _), row) in self.rows.iter_mut().filter(|((campaign, _), row)| *campaign == index && row.fate == RowFate::Held) {
            row.fate = if resumption.held == Some(ResumeHeld::Retry) { RowFate::Deferred } else { RowFate::Rejected };
            (row.at_ms, row.refusals) = (self.now_ms, None);
            changes.fates.extend([(RowFate::Held, -1), (row.fate, 1)].map(|(fate, by)| FateChange {
                campaign: *campaign,
                fate,
                lane: None,
                by,
            }));
        }
        self.bars.retain(|(campaign, _), _| *campaign != index);
        self.scheduler.apply_changes(&changes);
        self.scheduler.resumed(index, resumption, true, self.now_ms);
    }

    pub(super) fn close(&mut self, index: CampaignIx) {
        let of_run = || self.rows.iter().filter(|((campaign, _), _)| *campaign == index).map(|(_, row)| row);
        let due = of_run().filter(|row| row.fate == RowFate::Deferred).map(|row| row.at_ms).min();
        if of_run().any(|row| !row.fate.is_final()) {
            self.scheduler.not_closed(index, due.or(Some(self.now_ms + 1000)));
        } else {
            self.scheduler.closed(index, self.now_ms);
            self.ended_runs.push(index);
            self.closed += 1;
        }
    }
}
