//! Who was mailed in simulated time: the rules of the ledger, with a few bytes for each person. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    dispatch::{campaign::record::Opened, stages::Disposition},
    ledger::{HeldMessage, Resumption},
    resources::{Key, campaign::RecipientCounts, fate::Fate, resume::ResumeHeld},
};

/// The people of a run, by number.
#[derive(Debug)]
pub(super) struct Rows {
    fates: Vec<Option<Fate>>,
    attempts: Vec<u8>,
    /// Those who wait, and what is known of them.
    waiting: BTreeMap<usize, Waiting>,
    /// When those who are deferred are tried again.
    due: BTreeSet<(i64, usize)>,
    /// When those in flight were claimed.
    claimed: BTreeMap<usize, i64>,
    counts: RecipientCounts,
}

#[derive(Clone, Debug, Default)]
struct Waiting {
    since_ms: Option<i64>,
    at_ms: i64,
    refusals: Option<String>,
}

/// What came of a message for good, for those who keep count.
pub(super) struct Noted<'a> {
    pub(super) campaign: &'a Key,
    pub(super) server: &'a Key,
    pub(super) is_accepted: bool,
    pub(super) at_ms: i64,
}

impl Rows {
    /// Of so many people, some of whom have a final outcome already: those who `may` have one, and others only where these do not suffice.
    pub(super) fn new(people: usize, before: &RecipientCounts, may: impl Fn(usize) -> bool) -> Self {
        let mut counts = RecipientCounts::default();
        let mut fates = vec![None; people];
        let (mut sure, mut rest) = ((0..people).filter(|person| may(*person)), (0..people).filter(|person| !may(*person)));
        for fate in Fate::ALL.iter().copied().filter(|fate| fate.is_final()) {
            let ended = usize::try_from(before.of(fate)).unwrap_or(people);
            for person in sure.by_ref().chain(rest.by_ref()).take(ended) {
                if let Some(known) = fates.get_mut(person) {
                    *known = Some(fate);
                }
                *counts.of_mut(fate) += 1;
            }
        }
        Self { fates, attempts: vec![0; people], waiting: BTreeMap::new(), due: BTreeSet::new(), claimed: BTreeMap::new(), counts }
    }

    /// Whether a person was never claimed.
    pub(super) fn is_new(&self, person: usize) -> bool {
        self.fates.get(person).is_some_and(Option::is_none)
    }

    pub(super) fn attempts(&self, person: usize) -> u32 {
        self.attempts.get(person).copied().unwrap_or(0).into()
    }

    pub(super) fn since_ms(&self, person: usize) -> Option<i64> {
        self.waiting.get(&person)?.since_ms
    }

    pub(super) fn refusals(&self, person: usize) -> Option<String> {
        self.waiting.get(&person)?.refusals.clone()
    }

    /// Accepted and rejected.
    pub(super) fn judged(&self) -> (u64, u64) {
        (self.counts.of(Fate::Accepted), self.counts.of(Fate::Rejected))
    }

    /// Whether somebody who was claimed has no final outcome.
    pub(super) fn has_open(&self) -> bool {
        !self.claimed.is_empty() || !self.waiting.is_empty()
    }

    /// When the next deferred message is due.
    pub(super) fn next_due_ms(&self) -> Option<i64> {
        self.due.first().map(|(at_ms, _)| *at_ms)
    }

    /// Takes those who are due.
    pub(super) fn fetch(&mut self, now_ms: i64, most: usize) -> Vec<usize> {
        let due: Vec<(i64, usize)> = self.due.iter().take_while(|(at_ms, _)| *at_ms <= now_ms).take(most).copied().collect();
        for one in &due {
            self.due.remove(one);
        }
        due.into_iter().map(|(_, person)| person).collect()
    }

    /// Those who were fetched and not claimed are due again.
    pub(super) fn release_all(&mut self) {
        let deferred = self.waiting.iter().filter(|(person, _)| self.fates.get(**person) == Some(&Some(Fate::Deferred)));
        let due: BTreeSet<(i64, usize)> = deferred.map(|(person, waiting)| (waiting.at_ms, *person)).collect();
        self.due = due;
    }

    /// Carries out a resumption: who waits or failed is due again; returns how many became what.
    pub(super) fn resume(&mut self, resumption: &Resumption, now_ms: i64) -> Vec<(Fate, Fate, i64)> {
        let held = resumption.held.map(|held| if held == ResumeHeld::Retry { Fate::Deferred } else { Fate::Rejected });
        let unknown = resumption.resends_unknown.then_some(Fate::Deferred);
        let becomes = [(Fate::RenderFailed, Some(Fate::Deferred)), (Fate::Held, held), (Fate::Unknown, unknown)];
        let becomes = becomes.into_iter().filter_map(|(from, to)| Some((from, to?)));
        becomes.map(|(from, to)| (from, to, self.change_all(from, to, now_ms))).filter(|(.., count)| *count > 0).collect()
    }

    fn change_all(&mut self, from: Fate, to: Fate, now_ms: i64) -> i64 {
        let mut count = 0;
        for (person, fate) in self.fates.iter_mut().enumerate().filter(|(_, fate)| **fate == Some(from)) {
            *fate = Some(to);
            count += 1;
            if to.is_final() {
                self.waiting.remove(&person);
            } else {
                self.waiting.insert(person, Waiting { since_ms: Some(now_ms), at_ms: now_ms, refusals: None });
                self.due.insert((now_ms, person));
            }
        }
        let number = u64::try_from(count).unwrap_or(0);
        *self.counts.of_mut(from) = self.counts.of(from).saturating_sub(number);
        *self.counts.of_mut(to) += number;
        count
    }

    /// The run as the ledger would open it, with what it keeps of it beside its people.
    pub(super) fn opened(&self, known: &Opened) -> Opened {
        let held = self.waiting.iter().filter(|(person, _)| self.fates.get(**person) == Some(&Some(Fate::Held)));
        let held = held.map(|(person, waiting)| HeldMessage {
            seq: *person as u64,
            recipient: person.to_string(),
            refusals: waiting.refusals.clone().unwrap_or_default(),
        });
        Opened {
            counts: RecipientCounts { resent: known.counts.resent, ..self.counts.clone() },
            next_due_ms: self.next_due_ms(),
            held: held.collect(),
            ..known.clone()
        }
    }

    /// Ends a claim or a wait; returns what the person was before.
    pub(super) fn end(&mut self, person: usize, disposition: &Disposition, now_ms: i64) -> Option<Fate> {
        let fate = disposition.fate();
        let was = self.fates.get_mut(person)?.replace(fate)?;
        let claimed_ms = self.claimed.remove(&person);
        *self.counts.of_mut(was) = self.counts.of(was).saturating_sub(1);
        *self.counts.of_mut(fate) += 1;
        if let Some(waiting) = self.waiting.get(&person) {
            self.due.remove(&(waiting.at_ms, person));
        }
        if fate.is_final() {
            self.waiting.remove(&person);
            return Some(was);
        }
        let waiting = self.waiting.entry(person).or_default();
        waiting.since_ms = waiting.since_ms.or(claimed_ms);
        let is_returned = matches!(disposition, Disposition::Returned { .. } | Disposition::Held { .. });
        if is_returned
            && was == Fate::Claimed
            && let Some(attempts) = self.attempts.get_mut(person)
        {
            *attempts = attempts.saturating_sub(1);
        }
        match disposition {
            Disposition::Deferred { at_ms, .. } | Disposition::Resend { at_ms, .. } => waiting.at_ms = *at_ms,
            Disposition::Returned { at_ms, refusals, .. } => {
                waiting.at_ms = *at_ms;
                waiting.refusals.clone_from(refusals);
            }
            Disposition::Held { refusals, .. } => waiting.refusals = Some(refusals.clone()),
            _ => waiting.at_ms = now_ms,
        }
        if fate == Fate::Deferred {
            self.due.insert((waiting.at_ms, person));
        }
        Some(was)
    }

    /// Claims a person; returns whether they waited before.
    pub(super) fn claim(&mut self, person: usize, now_ms: i64) -> Option<bool> {
        let was = self.fates.get_mut(person)?.replace(Fate::Claimed);
        if let Some(was) = was {
            *self.counts.of_mut(was) = self.counts.of(was).saturating_sub(1);
        }
        *self.counts.of_mut(Fate::Claimed) += 1;
        if let Some(attempts) = self.attempts.get_mut(person) {
            *attempts = attempts.saturating_add(1);
        }
        self.claimed.insert(person, now_ms);
        if let Some(waiting) = self.waiting.get(&person) {
            self.due.remove(&(waiting.at_ms, person));
        }
        Some(was.is_some())
    }
}
