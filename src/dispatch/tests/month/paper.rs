//! The month reckoned on paper: from when messages were taken and what came back when, by what the documents say of warm-up and
//! `pauseWhen`, with none of the code that decides it.

use super::{
    DAY_MS, HOUR_MS, Month, Returning, SERVERS,
    control::{BEHIND, Paused, judged_from, resumes_after_ms},
    schedule,
};
use crate::meta::Reason;

/// More than this many thousandths that bounce, of accepted messages, are too much.
const BOUNCES_MAX: u64 = 100;
/// The same of complaints.
const COMPLAINTS_MAX: u64 = 3;

impl Month {
    /// What came back of a server's messages that were taken within this time, as far as it is known by `now_ms`: bounces, complaints.
    fn came_back(&self, at: usize, taken_ms: std::ops::Range<i64>, now_ms: i64) -> (u64, u64) {
        let known = self.came_back[at].iter().filter(|back| taken_ms.contains(&back.taken_ms) && back.at_ms <= now_ms);
        known.fold((0, 0), |(bounced, complained), back| match back.what {
            Returning::Bounce => (bounced + 1, complained),
            Returning::Complaint => (bounced, complained + 1),
        })
    }

    /// Why so much of a server's messages that were taken within this time came back by `now_ms` that it is paused.
    fn too_much(&self, at: usize, taken_ms: std::ops::Range<i64>, now_ms: i64) -> Option<Reason> {
        let taken = &self.taken[at];
        let count = |until: i64| taken.partition_point(|time| *time < until);
        let accepted = (count(taken_ms.end) - count(taken_ms.start)) as u64;
        if accepted < judged_from(self.people) {
            return None;
        }
        let (bounced, complained) = self.came_back(at, taken_ms, now_ms);
        if bounced * 1_000 > accepted * BOUNCES_MAX {
            return Some(Reason::BounceRateTooHigh);
        }
        (complained * 1_000 > accepted * COMPLAINTS_MAX).then_some(Reason::ComplaintRateTooHigh)
    }

    /// The pauses that should have been: at each turn the last 24 hours are judged, from the hour that these began in, and from the
    /// end of the last pause.
    pub(super) fn pauses_on_paper(&self) -> Vec<Paused> {
        let mut paused: Vec<Paused> = Vec::new();
        for at in 0..SERVERS {
            let (mut open, mut judged_since): (Option<Paused>, i64) = (None, 0);
            for now_ms in self.turns.iter().copied() {
                if let Some(mut pause) = open.take_if(|pause| now_ms >= pause.began_ms + resumes_after_ms(at)) {
                    judged_since = now_ms;
                    pause.ended_ms = Some(now_ms);
                    paused.push(pause);
                }
                let since = ((now_ms - DAY_MS).div_euclid(HOUR_MS) * HOUR_MS).max(judged_since);
                if open.is_none()
                    && let Some(reason) = self.too_much(at, since..now_ms, now_ms)
                {
                    open = Some(Paused { server: at, reason, began_ms: now_ms, ended_ms: None });
                }
            }
            paused.extend(open);
        }
        paused.sort_by_key(|pause| pause.began_ms);
        paused
    }

    /// What each server should have sent on each day: the limit of its day of the schedule, which comes once for each day before it
    /// that counted. A day does not count on which the server was paused, or of which too much came back. On a day at whose end a server
    /// is paused, it sends what it had sent until then: `None`.
    pub(super) fn days_on_paper(&self, at: usize, last: i64) -> Vec<Option<u64>> {
        let limits = schedule(at, self.people);
        let mut step = BEHIND[at];
        let day = |day: i64| {
            let (from, to) = (self.start_ms + day * DAY_MS, self.start_ms + (day + 1) * DAY_MS);
            let began = |pause: &&Paused| pause.server == at && (from..to).contains(&pause.began_ms);
            let is_cut = self.control.paused.iter().filter(began).any(|pause| pause.ended_ms.is_none_or(|ended| ended >= to));
            let is_held = self.control.paused.iter().any(|pause| began(&pause)) || self.too_much(at, from..to, self.now_ms).is_some();
            let limit = limits[step];
            step += usize::from(!is_held);
            (!is_cut).then_some(limit)
        };
        (0..=last).map(day).collect()
    }
}
