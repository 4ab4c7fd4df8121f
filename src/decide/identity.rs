//! Whether the DNS records of a server's identity are published, and what follows from it. Pure.

use std::{collections::BTreeSet, sync::Arc, time::Duration as StdDuration};

use crate::{
    backoff::{Backoff, spread_ms},
    chance::jitter,
    dns::{Check, Purpose, Subject, Verdict},
    resources::{Blocker, Condition, ConditionStatus, ConditionType, Key, Reason},
};

/// Between two looks at records that are known, whatever their TTLs.
const LOOK_MIN: StdDuration = StdDuration::from_secs(15);
const LOOK_MAX: StdDuration = StdDuration::from_secs(3600);
/// After a look that could not know everything; it doubles.
const RETRY: Backoff = Backoff { first: StdDuration::from_secs(10), max: StdDuration::from_secs(300) };

/// What DNS says of one identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityObservation {
    /// The identity that it is about.
    subject: Option<Arc<Subject>>,
    /// Whether its records are being looked up.
    pub looking: bool,
    /// What the last look found.
    last: Option<Summary>,
    /// The fault that the last look which knew everything found: while DNS does not answer, it stays what it was.
    fault: Option<Summary>,
    /// The names of DKIM records that are as they must be; what could not be looked up since stays.
    published: BTreeSet<String>,
    /// The records that are needed, as the last look found them.
    records: Vec<Record>,
    /// Looks in a row that could not know everything.
    failures: u32,
    /// Looks so far, for jitter.
    looks: u64,
    /// When the next look is due, milliseconds.
    next_at_ms: i64,
}

/// How a record that is needed was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it is needed for.
    pub purpose: Purpose,
    /// The name that is looked up in DNS.
    pub name: Box<str>,
    /// How it was found.
    pub verdict: Verdict,
    /// What is wrong, as a sentence without its full stop; empty where it is good.
    pub what: Box<str>,
}

impl Record {
    fn of(check: &Check) -> Self {
        let what = check.words.split_once(". ").map_or(check.words.trim_end_matches('.'), |(first, _)| first);
        Self { purpose: check.purpose, name: check.name.as_str().into(), verdict: check.verdict, what: what.into() }
    }
}

/// The records of an identity in one condition.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Summary {
    status: ConditionStatus,
    reason: Reason,
    message: String,
}

impl IdentityObservation {
    /// Begins afresh if the identity is another.
    pub fn renew(&mut self, subject: &Arc<Subject>) {
        if self.subject.as_ref() != Some(subject) {
            *self = Self { subject: Some(subject.clone()), ..Self::default() };
        }
    }

    /// Whether it is about this identity.
    #[must_use]
    pub fn is_of(&self, subject: &Subject) -> bool {
        self.subject.as_deref() == Some(subject)
    }

    /// Notes the result of a look; returns whether it is news.
    pub fn note(&mut self, checks: &[Check], valid_for: StdDuration, key: &Key, seed: u64, now_ms: i64) -> bool {
        let summary = summary(checks);
        self.looking = false;
        self.looks += 1;
        let pause = if summary.status == ConditionStatus::Unknown {
            self.failures = self.failures.saturating_add(1);
            RETRY.delay(self.failures)
        } else {
            self.failures = 0;
            self.fault = (summary.status == ConditionStatus::False).then(|| summary.clone());
            valid_for.clamp(LOOK_MIN, LOOK_MAX)
        };
        let pause = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
        self.next_at_ms = now_ms.saturating_add(spread_ms(pause, jitter(seed, &key.to_string(), self.looks)));
        let records: Vec<Record> = checks.iter().filter(|check| check.is_needed).map(Record::of).collect();
        let is_news = self.note_keys(checks) || self.last.as_ref() != Some(&summary) || self.records != records;
        self.records = records;
        self.last = Some(summary);
        is_news
    }

    /// Notes which keys' records are published; returns whether that is news.
    fn note_keys(&mut self, checks: &[Check]) -> bool {
        let mut is_news = false;
        for check in checks.iter().filter(|check| check.purpose == Purpose::Dkim) {
            is_news |= match check.verdict {
                Verdict::Good => self.published.insert(check.name.clone()),
                Verdict::Missing | Verdict::Wrong => self.published.remove(&check.name),
                Verdict::NotKnown => false,
            };
        }
        is_news
    }

    /// Whether the record of a key was seen, and is as it must be.
    #[must_use]
    pub fn is_published(&self, record: &str) -> bool {
        self.published.contains(record)
    }

    /// The records that are needed, as the last look found them.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Whether no look has ended yet.
    #[must_use]
    pub fn is_unseen(&self) -> bool {
        self.last.is_none()
    }

    /// When the records are to be looked up, milliseconds.
    #[must_use]
    pub fn look_at_ms(&self) -> Option<i64> {
        (!self.looking).then_some(self.next_at_ms)
    }

    /// What the last lookup found, for the status.
    #[must_use]
    pub fn condition(&self) -> Condition {
        match &self.last {
            Some(summary) => Condition::new(ConditionType::IdentityReady, summary.status, summary.reason, summary.message.clone()),
            None => Condition::new(ConditionType::IdentityReady, ConditionStatus::Unknown, Reason::NotLookedUpYet, NOT_YET),
        }
    }

    /// What keeps the server from being used, where its identity is required.
    #[must_use]
    pub fn blocker(&self, subject: &Subject) -> Option<Blocker> {
        if !subject.is_required {
            return None;
        }
        if self.last.is_none() {
            return Some(Blocker::passing(Reason::NotLookedUpYet, NOT_YET));
        }
        let fault = self.fault.as_ref()?;
        let message = format!(
            "The server is not used, because identity.requireDns is true and its DNS records are missing or wrong. {}",
            fault.message
        );
        Some(Blocker::lasting(fault.reason, message))
    }
}

const NOT_YET: &str = "The DNS records are being looked up for the first time.";

/// All records in one condition: a fault outweighs what is not known.
fn summary(checks: &[Check]) -> Summary {
    let of = |wanted: &dyn Fn(Verdict) -> bool| checks.iter().filter(|check| check.is_needed && wanted(check.verdict)).collect::<Vec<_>>();
    let faults = of(&|verdict| matches!(verdict, Verdict::Missing | Verdict::Wrong));
    let unknown = of(&|verdict| verdict == Verdict::NotKnown);
    let (status, found) = match (&faults[..], &unknown[..]) {
        ([], []) => {
            let waiting: Vec<&Check> = checks.iter().filter(|check| !check.is_needed && check.verdict != Verdict::Good).collect();
            let mut message = "All DNS records of the identity are published.".to_owned();
            if !waiting.is_empty() {
                message.push_str(&format!(" Not needed yet: {}", words(&waiting)));
            }
            return Summary { status: ConditionStatus::True, reason: Reason::RecordsPublished, message };
        }
        ([], _) => (ConditionStatus::Unknown, &unknown),
        _ => (ConditionStatus::False, &faults),
    };
    Summary { status, reason: found[0].reason, message: words(found) }
}

fn words(checks: &[&Check]) -> String {
    let mut told: Vec<&str> = checks.iter().map(|check| check.words.as_str()).collect();
    told.dedup();
    told.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        dns::{Answers, Origin, judge},
        egress::Egress,
    };

    /// A subject that needs one DMARC record, and what is found for it.
    fn subject(is_required: bool) -> Arc<Subject> {
        let domains = vec!["news.test".to_owned()];
        let (keys, envelopes, egress) = (Vec::new(), Vec::new(), Egress::Everywhere);
        Arc::new(Subject { domains, keys, envelopes, origin: Origin::Unknown, host: None, is_required, egress })
    }

    fn checks(verdict: Verdict, reason: Reason, words: &str) -> Vec<Check> {
        let mut checks = judge(&subject(true), &mut Answers::offline("offline"));
        assert_eq!(checks.len(), 1);
        (checks[0].verdict, checks[0].reason, checks[0].words) = (verdict, reason, words.to_owned());
        checks
    }

    #[test]
    fn a_resolver_that_is_away_changes_nothing() {
        let (required, key, mut known) = (subject(true), Key::new("default", "relay"), IdentityObservation::default());
        known.renew(&required);
        let mut now = 0;
        let mut note = |known: &mut IdentityObservation, checks: &[Check], seconds| {
            now += 1_000_000;
            known.looking = true;
            let is_news = known.note(checks, StdDuration::from_secs(seconds), &key, 7, now);
            assert!(!known.looking);
            (is_news, (known.look_at_ms().expect("a look is due") - now) / 1000)
        };
        let good = checks(Verdict::Good, Reason::RecordsPublished, "");
        let missing = checks(Verdict::Missing, Reason::DmarcRecordMissing, "There is none.");
        let away = checks(Verdict::NotKnown, Reason::LookupFailed, "No answer.");
        let gate = |known: &IdentityObservation| known.blocker(&required).map(|blocker| (blocker.reason, blocker.needs_person));
        let said = |known: &IdentityObservation| (known.condition().status, known.condition().reason);

        assert_eq!(gate(&known), Some((Reason::NotLookedUpYet, false)), "the first look is waited for");
        assert!(note(&mut known, &away, 5).0);
        assert_eq!((gate(&known), said(&known)), (None, (ConditionStatus::Unknown, Reason::LookupFailed)), "nothing was ever known");
        assert!(!note(&mut known, &away, 5).0, "the same is no news");
        assert!(note(&mut known, &missing, 60).0);
        assert_eq!(
            (gate(&known), said(&known)),
            (Some((Reason::DmarcRecordMissing, true)), (ConditionStatus::False, Reason::DmarcRecordMissing))
        );
        note(&mut known, &away, 5);
        assert_eq!(
            (gate(&known), said(&known)),
            (Some((Reason::DmarcRecordMissing, true)), (ConditionStatus::Unknown, Reason::LookupFailed))
        );
        note(&mut known, &good, 60);
        assert_eq!((gate(&known), said(&known)), (None, (ConditionStatus::True, Reason::RecordsPublished)));
        note(&mut known, &away, 5);
        assert_eq!(gate(&known), None, "it was good");
        note(&mut known, &missing, 60);
        assert_eq!(known.blocker(&subject(false)), None, "it is not required");
        // Another identity is judged afresh.
        known.renew(&required);
        assert!(gate(&known).is_some_and(|(reason, _)| reason == Reason::DmarcRecordMissing));
        known.renew(&subject(false));
        assert_eq!(said(&known), (ConditionStatus::Unknown, Reason::NotLookedUpYet));
    }

    #[test]
    fn the_next_look_follows_the_records_lifetime_within_bounds() {
        let (key, mut known) = (Key::new("default", "relay"), IdentityObservation::default());
        let good = checks(Verdict::Good, Reason::RecordsPublished, "");
        let away = checks(Verdict::NotKnown, Reason::LookupFailed, "No answer.");
        for (found, seconds, from, to) in [
            (&good, 1, 13, 17),
            (&good, 600, 540, 660),
            (&good, 86_400, 3_240, 3_960),
            (&away, 3_600, 9, 11),
            (&away, 3_600, 18, 22),
            (&away, 3_600, 36, 44),
            (&good, 60, 54, 66),
            (&away, 3_600, 9, 11),
        ] {
            known.note(found, StdDuration::from_secs(seconds), &key, 7, 5_000_000);
            let pause = (known.look_at_ms().expect("a look is due") - 5_000_000) / 1000;
            assert!((from..=to).contains(&pause), "{seconds} s: {pause}, not {from} to {to}");
        }
    }

    #[test]
    fn a_fault_outweighs_what_is_not_known_and_what_is_not_needed_says_so() {
        let all = |parts: &[Vec<Check>]| parts.concat();
        let missing = checks(Verdict::Missing, Reason::DmarcRecordMissing, "There is none.");
        let away = checks(Verdict::NotKnown, Reason::LookupFailed, "No answer.");
        let both = summary(&all(&[away.clone(), missing.clone(), missing.clone()]));
        assert_eq!(
            (both.status, both.reason, both.message.as_str()),
            (ConditionStatus::False, Reason::DmarcRecordMissing, "There is none.")
        );
        let mut next = missing;
        next[0].is_needed = false;
        let good = summary(&next);
        assert_eq!(good.status, ConditionStatus::True);
        assert!(good.message.ends_with("Not needed yet: There is none."), "{}", good.message);
        assert_eq!(summary(&all(&[next, away])).status, ConditionStatus::Unknown);
    }
}
