//! Looks for somebody in another domain, out of turn.

use super::{Blocker, Fed, Feeder, Met, RecipientIndex, Refusals, Rows, Step};
use crate::dispatch::guard::domain_of;

/// Recipients that are kept in memory while somebody of another domain is looked for.
const AHEAD_MAX: usize = 10_000;
/// The most rows that are read while somebody in another domain is looked for.
const SEEK_ROWS_MAX: usize = 1_000_000;

impl Feeder {
    /// Searches the audience for somebody outside `domain`, and keeps the recipients that it passes.
    pub(super) fn seek(&mut self, domain: &str, audience: &mut Option<Rows>, seen: &mut RecipientIndex) -> Result<(), Blocker> {
        let is_other = |met: &Met| *domain_of(met.recipient.address.as_str()) != *domain;
        let mut found = None;
        for met in std::mem::take(&mut self.ahead) {
            // Since it was read, its hours may have ended.
            if let Some(asleep) = self.asleep(&met.recipient) {
                self.pass_asleep(asleep);
            } else if found.is_none() && is_other(&met) {
                found = Some(met);
            } else {
                self.ahead.push_back(met);
            }
        }
        let mut steps = 0;
        while found.is_none() && self.ahead.len() < AHEAD_MAX && steps < SEEK_ROWS_MAX {
            steps += 1;
            match self.step(audience, seen)? {
                Step::Met(met) => match self.asleep(&met.recipient) {
                    Some(asleep) => self.pass_asleep(asleep),
                    None if is_other(&met) => found = Some(*met),
                    None => self.ahead.push_back(*met),
                },
                Step::Nobody | Step::Outside => {}
                Step::End => break,
            }
        }
        if let Some(asleep) = self.slept.take() {
            self.send(Fed::PassedAsleep(asleep));
        }
        self.send(Fed::Sought(found.is_some()));
        if let Some(met) = found {
            let mut chunk = Vec::new();
            match self.render(&met.recipient, met.seq, met.attempt, Refusals::default()) {
                Ok(message) => chunk.push(message),
                Err(message) => self.failed(&met, message),
            }
            self.send(Fed::Messages { messages: chunk, requested: 0, due: 0 });
        }
        Ok(())
    }
}
