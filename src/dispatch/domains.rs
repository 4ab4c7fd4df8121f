//! A server's limits for receiving domains. Pure.
//!
//! Each has its own windows beside those of the server. A message for a domain without room is left where it waits, and those behind it
//! are claimed.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    limits::{Allowance, Limiter},
    receivers::{Receiver, Receivers},
    stages::{DomainUse, ReadyMessage},
};
use crate::{ledger::domain_key, report::DomainReport, routing::DomainIntent};

/// The limits of a server.
#[derive(Debug)]
pub struct DomainLimits {
    intent: Arc<[DomainIntent]>,
    limits: Vec<Limit>,
    /// The limit of each receiver, and what its claims count towards.
    by_receiver: BTreeMap<Receiver, (usize, DomainUse)>,
    /// Every message that waits is for a domain without room until then, milliseconds; 0 if one may be claimed.
    pub waits_until_ms: i64,
}

#[derive(Debug)]
struct Limit {
    limiter: Limiter,
    /// Messages that it has room for beside those that wait, as of the last look.
    headroom: u64,
    /// Messages that may still be claimed in this plan.
    allowed: u64,
    /// When more may be claimed, milliseconds.
    again_ms: i64,
    /// Whether a longer window is used up.
    is_exhausted: bool,
}

impl DomainLimits {
    /// The limits by a new intent, which know what was sent already: `past` returns it by minute, by key. `None` if nothing is limited.
    pub fn renewed(
        before: Option<Self>,
        (server, intent): (&str, &Arc<[DomainIntent]>),
        receivers: &Receivers,
        now_ms: i64,
        past: impl Fn(&str) -> Vec<(i64, u64)>,
    ) -> Option<Self> {
        if intent.is_empty() {
            return None;
        }
        let by_receiver: BTreeMap<Receiver, (usize, DomainUse)> = receivers
            .limited_by(intent)
            .into_iter()
            .map(|(receiver, at)| (receiver.clone(), (at, DomainUse { key: domain_key(server, &receiver).into(), receiver })))
            .collect();
        if let Some(known) = &before
            && known.intent == *intent
            && known.by_receiver == by_receiver
        {
            return before;
        }
        let none = Limiter::default();
        let limits = (0..).zip(intent.iter()).map(|(at, domain)| {
            let mine = || by_receiver.iter().filter(move |(_, (limit, _))| *limit == at);
            let mut minutes: BTreeMap<i64, u64> = BTreeMap::new();
            for (minute, count) in mine().flat_map(|(_, (_, counts))| past(&counts.key)) {
                *minutes.entry(minute).or_default() += count;
            }
            // The finer counts of its predecessor, if that was about the same domains.
            let same = before.as_ref().and_then(|before| {
                let known: Vec<usize> = mine().filter_map(|(receiver, _)| Some(before.by_receiver.get(receiver)?.0)).collect();
                let first = *known.first()?;
                let of_it = before.by_receiver.values().filter(|(limit, _)| *limit == first).count();
                let is_same = known.len() == mine().count() && of_it == known.len() && known.iter().all(|at| *at == first);
                before.limits.get(first).filter(|_| is_same)
            });
            let minutes: Vec<(i64, u64)> = minutes.into_iter().collect();
            let limiter = Limiter::ungated(&domain.rates).knowing(&minutes, same.map_or(&none, |limit| &limit.limiter), now_ms);
            Limit { limiter, headroom: 0, allowed: 0, again_ms: 0, is_exhausted: false }
        });
        let limits = limits.collect();
        Some(Self { intent: intent.clone(), limits, by_receiver, waits_until_ms: 0 })
    }

    fn at(&self, receiver: Option<&Receiver>) -> Option<usize> {
        self.by_receiver.get(receiver?).map(|(at, _)| *at)
    }

    fn of(&self, receiver: Option<&Receiver>) -> Option<&Limit> {
        self.limits.get(self.at(receiver)?)
    }

    fn of_mut(&mut self, receiver: Option<&Receiver>) -> Option<&mut Limit> {
        let at = self.at(receiver)?;
        self.limits.get_mut(at)
    }

    /// Looks at the windows; `waiting` are the messages that wait for the server.
    pub fn look<'a>(&mut self, waiting: impl Iterator<Item = &'a ReadyMessage>, now_ms: i64) {
        for limit in &mut self.limits {
            limit.headroom = limit.limiter.headroom(now_ms).min(limit.limiter.queue_max());
        }
        for message in waiting {
            if let Some(limit) = self.of_mut(message.receiver.as_ref()) {
                limit.headroom = limit.headroom.saturating_sub(1);
            }
        }
    }

    /// The messages for a receiver that there is room for beside those that wait, as of the last look; `u64::MAX` without a limit.
    #[must_use]
    pub fn headroom(&self, receiver: Option<&Receiver>) -> u64 {
        self.of(receiver).map_or(u64::MAX, |limit| limit.headroom)
    }

    /// A message begins to wait.
    pub fn placed(&mut self, receiver: Option<&Receiver>) {
        self.waits_until_ms = 0;
        if let Some(limit) = self.of_mut(receiver) {
            limit.headroom = limit.headroom.saturating_sub(1);
        }
    }

    /// Begins a plan: how many messages each may claim. True if a longer window is used up.
    pub fn begin(&mut self, now_ms: i64) -> bool {
        for limit in &mut self.limits {
            let allowance = limit.limiter.allowance(now_ms);
            limit.is_exhausted = matches!(allowance, Allowance::ExhaustedUntil(_));
            if limit.is_exhausted {
                limit.headroom = 0;
            }
            (limit.allowed, limit.again_ms) = match allowance {
                Allowance::Now(count) => (count, now_ms),
                Allowance::At(at) | Allowance::ExhaustedUntil(at) => (0, at),
            };
        }
        self.limits.iter().any(|limit| limit.is_exhausted)
    }

    /// Whether a longer window of a receiver is used up, as of the beginning of the plan.
    #[must_use]
    pub fn is_exhausted(&self, receiver: Option<&Receiver>) -> bool {
        self.of(receiver).is_some_and(|limit| limit.is_exhausted)
    }

    /// Whether a message for a receiver may be claimed in this plan.
    #[must_use]
    pub fn allows(&self, receiver: Option<&Receiver>) -> bool {
        self.of(receiver).is_none_or(|limit| limit.allowed > 0)
    }

    /// When more may be claimed for a receiver that has none allowed in this plan.
    #[must_use]
    pub fn again_ms(&self, receiver: Option<&Receiver>) -> Option<i64> {
        self.of(receiver).filter(|limit| limit.allowed == 0).map(|limit| limit.again_ms)
    }

    /// Counts a message that is claimed now, and returns what it counts towards.
    pub fn claim(&mut self, receiver: Option<&Receiver>, now_ms: i64) -> Option<DomainUse> {
        let (at, counts) = self.by_receiver.get(receiver?)?;
        let limit = self.limits.get_mut(*at)?;
        limit.allowed = limit.allowed.saturating_sub(1);
        limit.limiter.claim(now_ms, 1);
        Some(counts.clone())
    }

    /// Notes when a claimed message was written; `None` if certainly none of its content was.
    pub fn settle(&mut self, counts: &DomainUse, written_ms: Option<i64>, now_ms: i64) {
        self.waits_until_ms = 0;
        if let Some(limit) = self.of_mut(Some(&counts.receiver)) {
            limit.limiter.settle(written_ms, now_ms);
        }
    }

    /// Takes back a message that was claimed last and did not leave.
    pub fn put_back(&mut self, counts: &DomainUse, now_ms: i64) {
        self.waits_until_ms = 0;
        if let Some(limit) = self.of_mut(Some(&counts.receiver)) {
            limit.limiter.put_back(now_ms, 1);
        }
    }

    /// Until when a longer window of a receiver is used up, if one is.
    pub fn exhausted_until(&mut self, receiver: &Receiver, now_ms: i64) -> Option<i64> {
        self.of_mut(Some(receiver))?.limiter.exhausted_until(now_ms)
    }

    /// When the first of those without room has room again.
    pub fn next_reopening(&mut self, now_ms: i64) -> Option<i64> {
        self.limits.iter_mut().filter_map(|limit| limit.limiter.reopens_at(now_ms)).min()
    }

    /// The average time between two messages for a receiver, milliseconds; `None` without a limit.
    #[must_use]
    pub fn gap_ms(&self, receiver: &Receiver) -> Option<f64> {
        let intent = self.intent.get(self.at(Some(receiver))?)?;
        #[allow(clippy::cast_precision_loss)]
        let gaps = intent.rates.iter().map(|rate| rate.per.as_millis() as f64 / rate.messages.max(1) as f64);
        gaps.max_by(f64::total_cmp)
    }

    #[cfg(test)]
    pub(super) fn set_forgets_in_flight(&mut self, forgets: bool) {
        self.limits.iter_mut().for_each(|limit| limit.limiter.set_forgets_in_flight(forgets));
    }

    /// For the report, in the order of the intent.
    pub fn report(&mut self, now_ms: i64) -> Vec<DomainReport> {
        let of =
            |limit: &mut Limit| DomainReport { used: limit.limiter.used(now_ms), exhausted_until: limit.limiter.exhausted_until(now_ms) };
        self.limits.iter_mut().map(of).collect()
    }
}
