//! Where a run is by its sending hours. Pure.

use crate::{dispatch::stages::Asleep, hours::Hours};

/// Whether the campaign as a whole may send, and who of its audience may not yet.
#[derive(Clone, Debug)]
pub struct HoursState {
    /// People who were passed over in this reading of the audience because it is not within their own sending hours.
    pub asleep: Option<Asleep>,
    /// Whether it is outside the hours of the campaign as a whole.
    pub is_shut: bool,
    /// When the hours of the campaign as a whole begin or end next, milliseconds.
    change_ms: i64,
}

impl Default for HoursState {
    fn default() -> Self {
        Self { asleep: None, is_shut: false, change_ms: i64::MIN }
    }
}

impl HoursState {
    /// Learns whether the hours of the campaign as a whole are open, once that may have changed.
    pub fn look(&mut self, hours: Option<&Hours>, now_ms: i64) {
        if now_ms < self.change_ms {
            return;
        }
        let moment = hours.and_then(|hours| hours.of_all(now_ms));
        self.change_ms = moment.map_or(i64::MAX, |moment| moment.until_ms);
        self.is_shut = moment.is_some_and(|moment| !moment.is_open);
    }

    /// The hours may be others than before.
    pub fn renew(&mut self, hours: Option<&Hours>, now_ms: i64) {
        self.change_ms = i64::MIN;
        self.look(hours, now_ms);
    }

    /// Somebody is not mailed before their hours begin.
    pub fn note_asleep(&mut self, asleep: Asleep) {
        match &mut self.asleep {
            Some(known) => known.add(asleep),
            None => self.asleep = Some(asleep),
        }
    }

    /// Whether the hours of somebody who was passed over have begun.
    #[must_use]
    pub fn has_woken(&self, now_ms: i64) -> bool {
        self.asleep.as_ref().is_some_and(|asleep| asleep.first_ms <= now_ms)
    }

    /// When something is to be done, milliseconds.
    #[must_use]
    pub fn wake_ms(&self) -> i64 {
        self.asleep.as_ref().map_or(i64::MAX, |asleep| asleep.first_ms).min(self.change_ms)
    }
}
