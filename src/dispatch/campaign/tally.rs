//! What is counted of a run. Pure.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    dispatch::rate::Rate,
    ledger::AudienceRead,
    resources::{campaign::RecipientCounts, fate::Fate},
};

/// The recipients of a run in numbers.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Recipients by fate, as far as it is durable.
    pub counts: RecipientCounts,
    /// Messages that each server accepted, by the server's name.
    accepted: BTreeMap<Arc<str>, u64>,
    /// Messages in flight.
    pub in_flight: usize,
    /// Messages that are not settled in the ledger: their claim is planned, they are in flight, or their outcome is not durable
    /// yet.
    pub unsettled: usize,
    /// Recipients whose template failed and who are not in the ledger yet.
    render_failures: u64,
    /// The error of the last template that failed.
    pub last_render_error: String,
    /// How fast it gets on in this process.
    rate: Rate,
}

impl Tally {
    /// Adopts what the ledger has counted.
    pub fn adopt(&mut self, counts: RecipientCounts, accepted: BTreeMap<Arc<str>, u64>) {
        (self.counts, self.accepted) = (counts, accepted);
    }

    /// A write changed the number of recipients of one fate, who were accepted by `server` if there is one.
    pub fn change(&mut self, fate: Fate, by: i64, server: Option<&Arc<str>>) {
        let count = self.counts.of_mut(fate);
        *count = count.saturating_add_signed(by);
        if fate == Fate::Accepted
            && let Some(server) = server
        {
            let accepted = self.accepted.entry(server.clone()).or_default();
            *accepted = accepted.saturating_add_signed(by);
        }
    }

    /// Messages were resent though the outcome of the previous attempt is unknown.
    pub fn resend(&mut self, by: i64) {
        self.counts.resent = self.counts.resent.saturating_add_signed(by);
    }

    /// The audience was read to its end.
    pub fn audience_ended(&mut self, read: AudienceRead) {
        let (AudienceRead { total, duplicates, excluded, bad_rows }, counts) = (read, &mut self.counts);
        (counts.total, counts.duplicates, counts.excluded, counts.bad_rows) = (Some(total), duplicates, excluded, bad_rows);
    }

    /// Messages that each server accepted, by the server's name.
    pub fn accepted(&self) -> impl Iterator<Item = (&Arc<str>, u64)> {
        self.accepted.iter().map(|(server, count)| (server, *count))
    }

    /// Whether a server accepted anybody.
    #[must_use]
    pub fn was_accepted_by(&self, server: &str) -> bool {
        self.accepted.get(server).is_some_and(|count| *count > 0)
    }

    /// A template failed. `is_new`: the recipient is not in the ledger yet.
    pub fn render_failed(&mut self, is_new: bool, error: &str) {
        self.render_failures += u64::from(is_new);
        error.clone_into(&mut self.last_render_error);
    }

    /// The failure of a template is in the ledger.
    pub fn render_failure_recorded(&mut self) {
        self.render_failures = self.render_failures.saturating_sub(1);
    }

    /// Recipients whose template failed.
    #[must_use]
    pub fn render_failed_so_far(&self) -> u64 {
        self.counts.render_failed + self.render_failures
    }

    /// Recipients found so far, whatever their fate.
    #[must_use]
    pub fn met(&self) -> u64 {
        Fate::ALL.into_iter().map(|fate| self.counts.of(fate)).sum::<u64>() + self.render_failures
    }

    /// Whether nobody can have been claimed.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.unsettled == 0 && self.in_flight == 0 && self.counts.ended() + self.counts.deferred + self.counts.held == 0
    }

    /// The recent rate, recipients with a final outcome per second; one that rests (`is_sending` is false) begins anew.
    pub fn per_second(&mut self, is_sending: bool, now_ms: i64) -> Option<f64> {
        if !is_sending {
            self.rate = Rate::default();
            return None;
        }
        self.rate.now(now_ms, self.counts.ended())
    }
}
