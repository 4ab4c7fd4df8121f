//! Whether a server refuses a campaign, or some of its recipients: judged by counting, whatever the words. Pure.
//!
//! A permanent refusal of unknown meaning is not final for its recipient by itself: the recipient becomes a suspect. When the
//! server then accepts somebody, the suspects were at fault themselves. When it refuses ten alike, in at least two domains if the
//! audience has them, it refuses the campaign, and is taken out of use for it.

use std::{collections::BTreeSet, sync::Arc};

use super::likeness::Likeness;
use crate::audience::canonical;
use crate::resources::Bar;

/// Recipients that may be refused alike before the server is out of use; the most that are out at one that has accepted nobody.
pub const ALIKE_MAX: usize = 10;
/// Recipients that may be refused in any words, with nobody accepted in between.
const REFUSED_MAX: usize = 100;
/// Domains that are known to refuse their own people.
const SETTLED_MAX: usize = 1000;
/// The first and the longest rest after a temporary refusal of the campaign, milliseconds: doubled each time.
const REST_MS: i64 = 10_000;
const REST_MAX_MS: i64 = 300_000;

/// A recipient who was refused for an unknown reason.
#[derive(Clone, Debug)]
pub struct Suspect {
    /// The row in the ledger.
    pub seq: u64,
    /// The recipient's domain, as [`domain_of`] returns it.
    pub domain: Arc<str>,
    /// The refusal.
    pub likeness: Likeness,
    /// When it came, milliseconds.
    pub refused_ms: i64,
}

/// Whether a recipient of another domain is being looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Trial {
    /// No need.
    #[default]
    None,
    /// All suspects are of this domain: somebody of another one is wanted next, and nobody else.
    Wanted(Arc<str>),
    /// The audience has nobody of another domain.
    NobodyElse,
}

/// What a refusal leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Nothing yet.
    Waits,
    /// Somebody outside this domain is to be tried.
    Wants(Arc<str>),
    /// The server refuses the campaign: this many recipients were refused alike.
    Refuses(usize),
}

/// The guard of one campaign at one server, which may take the server out of use for the campaign.
#[derive(Debug, Default)]
pub struct Guard {
    /// The server has accepted somebody of this run.
    pub has_accepted: bool,
    /// Messages of the campaign in flight at the server.
    pub in_flight: usize,
    /// Refused since the last acceptance.
    suspects: Vec<Suspect>,
    /// Refused before an acceptance that was already on its way: only one that left later says that they were at fault.
    passed: Vec<Suspect>,
    trial: Trial,
    /// Domains whose people were refused while others were accepted.
    settled: BTreeSet<Arc<str>>,
    /// Why the server is out of use for this campaign until a person acts.
    pub bar: Option<Bar>,
    /// The campaign rests here until then, milliseconds.
    pub rests_until_ms: i64,
    rest_ms: i64,
}

impl Guard {
    /// How many more messages may be handed over now.
    #[must_use]
    pub fn room(&self) -> usize {
        let out = self.in_flight + self.suspects.len();
        match (&self.trial, self.has_accepted) {
            (Trial::Wanted(_), _) => 1_usize.saturating_sub(self.in_flight),
            (_, true) => usize::MAX,
            (_, false) if self.suspects.len() < ALIKE_MAX => ALIKE_MAX.saturating_sub(out),
            // Refused in ten different ways: it goes on, one by one.
            (_, false) => 1_usize.saturating_sub(self.in_flight),
        }
    }

    /// Whether messages go one by one, and not in a batch.
    #[must_use]
    pub fn is_careful(&self) -> bool {
        !self.has_accepted || self.trial != Trial::None
    }

    /// Whether a recipient of this domain may be handed over now.
    #[must_use]
    pub fn takes(&self, domain: &str) -> bool {
        !matches!(&self.trial, Trial::Wanted(other) if **other == *domain)
    }

    /// Whether somebody of another domain is wanted before anybody else.
    #[must_use]
    pub fn is_on_trial(&self) -> bool {
        matches!(self.trial, Trial::Wanted(_))
    }

    /// The domain of the suspects, while somebody of another one is wanted.
    #[must_use]
    pub fn trial_domain(&self) -> Option<Arc<str>> {
        match &self.trial {
            Trial::Wanted(domain) => Some(domain.clone()),
            _ => None,
        }
    }

    /// Whether it may be picked for the campaign at this time.
    #[must_use]
    pub fn is_open(&self, now_ms: i64) -> bool {
        self.bar.is_none() && self.rests_until_ms <= now_ms
    }

    /// Whether nobody waits for a judgement, and the server is known to accept.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.has_accepted && self.suspects.is_empty() && self.passed.is_empty() && self.trial == Trial::None && self.rest_ms == 0
    }

    /// Notes that somebody was accepted, whose message left at `claimed_ms`. Returns the suspects who were refused before that:
    /// they were at fault themselves.
    pub fn accepted(&mut self, claimed_ms: i64) -> Vec<u64> {
        self.has_accepted = true;
        self.rest_ms = 0;
        self.trial = Trial::None;
        let of_one = |suspect: &&Suspect| self.suspects.iter().filter(|other| other.domain == suspect.domain).count() >= ALIKE_MAX;
        let settled: Vec<Arc<str>> = self.suspects.iter().filter(of_one).map(|suspect| suspect.domain.clone()).collect();
        if self.settled.len() < SETTLED_MAX {
            self.settled.extend(settled);
        }
        self.passed.append(&mut self.suspects);
        let (at_fault, later) = std::mem::take(&mut self.passed).into_iter().partition(|suspect| suspect.refused_ms < claimed_ms);
        self.passed = later;
        let at_fault: Vec<Suspect> = at_fault;
        at_fault.into_iter().map(|suspect| suspect.seq).collect()
    }

    /// Clears the suspects and returns them.
    pub fn clear(&mut self) -> Vec<u64> {
        self.trial = Trial::None;
        let all = std::mem::take(&mut self.suspects).into_iter().chain(std::mem::take(&mut self.passed));
        all.map(|suspect| suspect.seq).collect()
    }

    /// Whether the people of this domain are known to be refused for themselves.
    #[must_use]
    pub fn is_settled(&self, domain: &str) -> bool {
        self.settled.contains(domain)
    }

    /// Somebody was refused for good, and nobody knows why.
    pub fn refused(&mut self, suspect: Suspect) -> Judgement {
        self.suspects.push(suspect);
        self.judge()
    }

    /// Takes over a suspect from before a restart, who is judged with the next refusal.
    pub fn know(&mut self, suspect: Suspect) {
        if self.suspects.iter().all(|known| known.seq != suspect.seq) {
            self.suspects.push(suspect);
        }
    }

    /// The newest suspect.
    #[must_use]
    pub fn last_seq(&self) -> Option<u64> {
        self.suspects.last().map(|suspect| suspect.seq)
    }

    /// The audience has nobody of another domain than the suspects'.
    pub fn nobody_else(&mut self) -> Judgement {
        if self.is_on_trial() {
            self.trial = Trial::NobodyElse;
        }
        self.judge()
    }

    fn judge(&mut self) -> Judgement {
        let Some(last) = self.suspects.last() else { return Judgement::Waits };
        let alike: Vec<&Suspect> = self.suspects.iter().filter(|suspect| suspect.likeness.is_like(&last.likeness)).collect();
        if self.suspects.len() >= REFUSED_MAX {
            return Judgement::Refuses(self.suspects.len());
        }
        if alike.len() < ALIKE_MAX {
            return Judgement::Waits;
        }
        let domain = last.domain.clone();
        if alike.iter().any(|suspect| suspect.domain != domain) || self.trial == Trial::NobodyElse {
            return Judgement::Refuses(alike.len());
        }
        self.trial = Trial::Wanted(domain.clone());
        Judgement::Wants(domain)
    }

    /// The campaign was temporarily refused: it rests here, each time for longer.
    pub fn rest(&mut self, asked_ms: i64, now_ms: i64) {
        if self.rests_until_ms > now_ms {
            return;
        }
        self.rest_ms = if self.rest_ms == 0 { REST_MS } else { (self.rest_ms * 2).min(REST_MAX_MS) };
        self.rests_until_ms = now_ms + self.rest_ms.max(asked_ms);
    }
}

/// The domain of an address, for [`Suspect::domain`]: one domain in its own script and in A-labels is the same.
#[must_use]
pub fn domain_of(address: &str) -> Arc<str> {
    canonical(address).rsplit_once('@').map_or("", |(_, domain)| domain).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suspect(seq: u64, domain: &str, reply: &str) -> Suspect {
        let recipient = format!("u{seq}@{domain}");
        Suspect { seq, domain: domain.into(), likeness: Likeness::of(&reply.replace("WHO", &recipient), &recipient), refused_ms: 5 }
    }

    #[test]
    fn ten_alike_over_two_domains_are_the_campaigns() {
        let mut guard = Guard::default();
        for seq in 0..9 {
            assert_eq!(guard.refused(suspect(seq, if seq % 2 == 0 { "a.example" } else { "b.example" }, "550 WHO njet")), Judgement::Waits);
            assert_eq!(guard.room(), 9 - usize::try_from(seq).expect("small"));
        }
        assert_eq!(guard.refused(suspect(9, "a.example", "550 WHO njet")), Judgement::Refuses(10));
        assert_eq!(guard.clear().len(), 10);
    }

    #[test]
    fn a_domain_is_one_however_it_is_written() {
        for address in ["a@münchen.example", "b@MÜNCHEN.example", "c@mu\u{308}nchen.example", "d@XN--mnchen-3ya.example"] {
            assert_eq!(&*domain_of(address), "xn--mnchen-3ya.example", "{address}");
        }
        assert_eq!(&*domain_of("\"a@b\"@Example.com"), "example.com");
        assert_eq!(&*domain_of("nobody"), "");
    }

    #[test]
    fn of_one_domain_somebody_else_is_tried_first() {
        let mut guard = Guard::default();
        for seq in 0..9 {
            assert_eq!(guard.refused(suspect(seq, "a.example", "550 WHO njet")), Judgement::Waits);
        }
        assert_eq!(guard.refused(suspect(9, "a.example", "550 WHO njet")), Judgement::Wants("a.example".into()));
        assert_eq!((guard.room(), guard.takes("a.example"), guard.takes("b.example")), (1, false, true));
        let mut accepts = Guard { has_accepted: false, ..Guard::default() };
        std::mem::swap(&mut accepts, &mut guard);
        assert_eq!(accepts.accepted(5), [0; 0], "that one had left before they were refused");
        assert_eq!(accepts.accepted(6), (0..10).collect::<Vec<_>>(), "the others were at fault themselves");
        assert!(accepts.is_settled("a.example") && accepts.takes("a.example") && accepts.room() == usize::MAX);
    }

    #[test]
    fn where_there_is_nobody_else_ten_are_enough() {
        let mut guard = Guard { has_accepted: true, ..Guard::default() };
        for seq in 0..10 {
            guard.refused(suspect(seq, "a.example", "550 WHO njet"));
        }
        assert!(guard.is_on_trial());
        assert_eq!(guard.nobody_else(), Judgement::Refuses(10));
    }

    #[test]
    fn different_words_are_different_people_up_to_a_bound() {
        let words = ["gone", "moved far away", "never heard of", "closed since spring"];
        let mut guard = Guard::default();
        let mut judged = Vec::new();
        for seq in 0..REFUSED_MAX as u64 {
            let reply = format!("5{:02} WHO {}", seq % 50, words[usize::try_from(seq % 4).expect("small")]);
            judged.push(guard.refused(suspect(seq, "a.example", &reply)));
        }
        assert!(judged[..99].iter().all(|judgement| *judgement == Judgement::Waits));
        assert_eq!(judged[99], Judgement::Refuses(100));
    }

    #[test]
    fn a_rest_doubles_until_somebody_is_accepted() {
        let mut guard = Guard::default();
        let mut now = 0;
        let mut rests = Vec::new();
        for _ in 0..7 {
            guard.rest(0, now);
            guard.rest(0, now);
            rests.push(guard.rests_until_ms - now);
            now = guard.rests_until_ms;
        }
        assert_eq!(rests, [10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000]);
        guard.accepted(now);
        guard.rest(60_000, now);
        assert_eq!(guard.rests_until_ms - now, 60_000, "the server's own word, where it is longer");
    }
}
