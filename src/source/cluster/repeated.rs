//! Logs a recurring fault once, and counts it afterwards.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::resources::Key;

/// A lasting fault is logged again after this time, with its count.
const REMIND: Duration = Duration::from_secs(3600);
/// A fault that was over and returns within this time is the same one, and is only counted.
const FLAPPING: Duration = Duration::from_secs(60);
/// Different refusals that are remembered, so that each is logged once.
const CAUSES_MAX: usize = 64;

/// One fault, and how often it occurred.
#[derive(Debug, Default)]
pub(super) struct Repeated {
    words: String,
    told_at: Option<Instant>,
    times: u32,
    is_open: bool,
}

/// Whether a line is written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It is, with how often this occurred since the previous line.
    Now { times: u32 },
    /// It was logged already, and is counted.
    Before,
}

impl Repeated {
    /// Something is wrong, as described.
    pub fn say(&mut self, words: &str, now: Instant) -> Said {
        let is_same = self.words == words;
        self.times = if is_same { self.times.saturating_add(1) } else { 1 };
        let quiet = if self.is_open { REMIND } else { FLAPPING };
        if is_same && self.told_at.is_some_and(|at| now < at + quiet) {
            return Said::Before;
        }
        words.clone_into(&mut self.words);
        self.told_at = Some(now);
        self.is_open = true;
        Said::Now { times: std::mem::take(&mut self.times) }
    }

    /// Whether it was logged and is not over.
    pub const fn is_open(&self) -> bool {
        self.is_open
    }

    /// It is over: how often it occurred since it was logged, if it was.
    pub fn over(&mut self) -> Option<u32> {
        std::mem::take(&mut self.is_open).then(|| std::mem::take(&mut self.times))
    }
}

/// The logged faults of writes.
#[derive(Default)]
pub(super) struct WriteErrors {
    /// The API server cannot be reached, or fails.
    pub away: Repeated,
    /// Its refusals, by kind and cause: a missing permission is one cause for thousands of objects.
    refused: BTreeMap<String, Repeated>,
}

impl WriteErrors {
    /// The API server refuses a status.
    pub fn refusal(&mut self, kind: &str, key: &Key, why: &str, now: Instant) -> Said {
        if self.refused.len() >= CAUSES_MAX {
            self.refused.clear();
        }
        let cause = format!("{kind} {}", why.replace(&*key.name, "…").replace(&*key.namespace, "…"));
        self.refused.entry(cause.clone()).or_default().say(&cause, now)
    }

    /// Whether any was logged and is not over.
    pub fn are_open(&self) -> bool {
        self.away.is_open() || !self.refused.is_empty()
    }

    /// Everything can be written again.
    pub fn over(&mut self) {
        self.refused.clear();
        if let Some(times) = self.away.over() {
            tracing::warn!(times, "statuses can be written again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_told_once_and_counted() {
        let (mut trouble, begin) = (Repeated::default(), Instant::now());
        let at = |secs: u64| begin + Duration::from_secs(secs);
        assert_eq!(trouble.over(), None);
        assert_eq!(trouble.say("away", at(0)), Said::Now { times: 1 });
        for secs in 1..3600 {
            assert_eq!(trouble.say("away", at(secs)), Said::Before);
        }
        assert_eq!(trouble.say("away", at(3600)), Said::Now { times: 3600 });
        assert_eq!(trouble.say("forbidden", at(3601)), Said::Now { times: 1 }, "another fault is logged at once");
        assert_eq!(trouble.say("forbidden", at(3602)), Said::Before);
        assert_eq!(trouble.over(), Some(1));
        assert_eq!(trouble.over(), None, "its end is told once");
        // It comes back at once, and goes, and comes: no line for any of it.
        assert_eq!((trouble.say("forbidden", at(3603)), trouble.over()), (Said::Before, None));
        assert_eq!(trouble.say("forbidden", at(3663)), Said::Now { times: 2 });
    }

    #[test]
    fn one_cause_is_told_once_for_all_objects() {
        let mut errors = WriteErrors::default();
        let why = |name: &str| {
            format!("sendingservers.mailfleet.dev \"{name}\" is forbidden: User \"mailfleet\" cannot patch it in the namespace \"shop\"")
        };
        let mut say = |name: &str, why: &str| errors.refusal("SendingServer", &Key::new("shop", name), why, Instant::now());
        assert_eq!(say("relay-0", &why("relay-0")), Said::Now { times: 1 });
        for number in 1..5000 {
            let name = format!("relay-{number}");
            assert_eq!(say(&name, &why(&name)), Said::Before);
        }
        assert_eq!(say("relay-0", "another cause"), Said::Now { times: 1 });
        for number in 0..200 {
            say("relay-0", &format!("cause {number}"));
        }
        assert!(errors.are_open() && errors.refused.len() <= CAUSES_MAX);
        errors.over();
        assert!(!errors.are_open());
    }
}
