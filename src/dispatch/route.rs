//! The weighted random pick. Pure: the same seed, campaign, run, recipient, attempt and eligible set give the same server.
//!
//! Weights are those of the Gateway API: integers from 0 to 1,000,000; a server's share is its weight over the sum of the eligible
//! weights.

use std::{hash::Hasher, sync::Arc};

use siphasher::sip::SipHasher13;

/// The servers that may be picked now, with their weights. Servers of weight 0 are left out. Clones share the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EligibleSet<S> {
    servers: Arc<[(S, u32)]>,
    total: u64,
    set_hash: u64,
}

impl<S: Clone + Ord + std::fmt::Display> EligibleSet<S> {
    /// The set of these servers; their order does not matter.
    pub fn new(servers: impl IntoIterator<Item = (S, u32)>) -> Self {
        let mut servers: Vec<(S, u32)> = servers.into_iter().filter(|(_, weight)| *weight > 0).collect();
        servers.sort();
        let mut hasher = SipHasher13::new();
        for (server, weight) in &servers {
            write_part(&mut hasher, server.to_string().as_bytes());
            hasher.write_u32(*weight);
        }
        Self { total: servers.iter().map(|(_, weight)| u64::from(*weight)).sum(), set_hash: hasher.finish(), servers: servers.into() }
    }

    /// Whether nothing can be picked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// A hash that distinguishes sets with other servers or weights.
    #[must_use]
    pub fn set_hash(&self) -> u64 {
        self.set_hash
    }

    /// The servers and their weights, in order.
    #[must_use]
    pub fn servers(&self) -> &[(S, u32)] {
        &self.servers
    }
}

/// The part of the pick that is the same for all recipients of a run; computed once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunSeed(u64);

impl RunSeed {
    /// The seed of a run, from the ledger's seed and the run's key.
    #[must_use]
    pub fn new(ledger_seed: u64, namespace: &str, campaign: &str, run: &str) -> Self {
        let mut hasher = SipHasher13::new_with_keys(ledger_seed, 0);
        for part in [namespace, campaign, run] {
            write_part(&mut hasher, part.as_bytes());
        }
        Self(hasher.finish())
    }

    /// What other draws of the run are seeded with, so that they are the same after a restart.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// Picks a server for an attempt, or returns `None` if the set is empty.
#[must_use]
pub fn pick<'a, S>(seed: RunSeed, recipient: &str, attempt: u32, eligible: &'a EligibleSet<S>) -> Option<&'a S> {
    if eligible.total == 0 {
        return None;
    }
    let mut hasher = SipHasher13::new_with_keys(seed.0, eligible.set_hash);
    hasher.write_u32(attempt);
    hasher.write(recipient.as_bytes());
    // The sum is at most 10^9, so the bias of the remainder is below 10^-10.
    let mut ticket = hasher.finish() % eligible.total;
    for (server, weight) in &*eligible.servers {
        let weight = u64::from(*weight);
        if ticket < weight {
            return Some(server);
        }
        ticket -= weight;
    }
    None
}

/// Hashes a part with its length first, so that `ab` + `c` and `a` + `bc` differ.
fn write_part(hasher: &mut SipHasher13, part: &[u8]) {
    hasher.write_u64(part.len() as u64);
    hasher.write(part);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The upper 0.001 quantiles of chi-square for 1 and 2 degrees of freedom.
    const CRITICAL: [f64; 2] = [10.828, 13.816];

    fn chi_square(weights: &[(&'static str, u32)], ledger_seed: u64) -> f64 {
        let picks = 100_000_u32;
        let eligible = EligibleSet::new(weights.iter().copied());
        let seed = RunSeed::new(ledger_seed, "default", "spring", "first");
        let mut counts = std::collections::BTreeMap::new();
        for i in 0..picks {
            *counts.entry(*pick(seed, &format!("user{i}@example.com"), 1, &eligible).expect("not empty")).or_insert(0_u32) += 1;
        }
        weights
            .iter()
            .filter(|(_, weight)| *weight > 0)
            .map(|(name, weight)| {
                let total: u32 = weights.iter().map(|(_, weight)| weight).sum();
                let expected = f64::from(*weight) / f64::from(total) * f64::from(picks);
                (f64::from(counts.get(name).copied().unwrap_or(0)) - expected).powi(2) / expected
            })
            .sum()
    }

    #[test]
    fn shares_meet_the_weights() {
        for ledger_seed in 0..10 {
            for (weights, degrees) in [(&[("a", 80), ("b", 20)][..], 1), (&[("a", 1), ("b", 1), ("c", 1)][..], 2)] {
                let statistic = chi_square(weights, ledger_seed * 7919);
                println!("seed {ledger_seed} {weights:?}: chi-square {statistic:.3}, {degrees} degrees");
                assert!(statistic < CRITICAL[degrees - 1], "seed {ledger_seed} {weights:?}: {statistic}");
            }
        }
    }

    #[test]
    fn a_retry_picks_anew_and_a_repeat_does_not() {
        let eligible = EligibleSet::new([("a", 1), ("b", 1)]);
        let seed = RunSeed::new(1, "default", "spring", "first");
        let at =
            |attempt| (0..64).map(|i| *pick(seed, &format!("u{i}@example.com"), attempt, &eligible).expect("some")).collect::<String>();
        assert_eq!(at(1), at(1));
        assert_ne!(at(1), at(2));
    }

    #[test]
    fn weight_zero_gets_nothing_and_an_empty_set_picks_none() {
        let eligible = EligibleSet::new([("a", 0), ("b", 5)]);
        let seed = RunSeed::new(1, "default", "spring", "first");
        assert!((0..1000).all(|i| pick(seed, &format!("u{i}@example.com"), 1, &eligible) == Some(&"b")));
        assert_eq!(pick(seed, "u@example.com", 1, &EligibleSet::new([("a", 0)])), None);
    }
}
