//! Who is in the sample of a rollout's step. Pure: the same ledger, campaign, run and person give the same answer, in whatever order
//! and however often the audience is read, and a larger share contains every smaller one.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use super::route::RunSeed;
use crate::{audience::canonical, resources::Percent};

/// Sets the order of samples apart from the picks of servers, so that a sample is no other mix of servers than the whole.
const KEY: u64 = u64::from_be_bytes(*b"rollout\0");
/// Thousandths of a percent in a whole.
const WHOLE: u128 = 100_000;

/// The part of a run's audience that may be mailed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    seed: RunSeed,
    share: Percent,
}

impl Sample {
    /// The sample of this share. The seed is the run's: another run begins with other people.
    #[must_use]
    pub const fn new(seed: RunSeed, share: Percent) -> Self {
        Self { seed, share }
    }

    /// Whether a person is in it, however the address is written.
    #[must_use]
    pub fn has(&self, address: &str) -> bool {
        let mut hasher = SipHasher13::new_with_keys(self.seed.number(), KEY);
        hasher.write(canonical(address).as_bytes());
        // Where the person stands in the run's order, from 0 to below 100,000.
        (u128::from(hasher.finish()) * WHOLE) >> 64 < u128::from(self.share.thousandths())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const PEOPLE: u64 = 4_000;

    fn sample(seed: u64, run: &str, percent: &str, people: impl Iterator<Item = String>) -> BTreeSet<String> {
        let sample = Sample::new(RunSeed::new(seed, "shop", "spring", run), Percent::parse(percent).expect("good"));
        people.filter(|person| sample.has(person)).collect()
    }

    fn people() -> impl DoubleEndedIterator<Item = String> {
        (0..PEOPLE).map(|number| format!("person{number}@example.com"))
    }

    #[test]
    fn a_sample_is_the_same_whatever_the_order_and_the_spelling_and_steps_are_nested() {
        let shares = ["0.1", "1", "10", "12.5", "50", "99.999", "100"];
        for seed in 0..4 {
            let samples: Vec<_> = shares.iter().map(|share| sample(seed, "first", share, people())).collect();
            for (share, known) in shares.iter().zip(&samples) {
                assert_eq!(sample(seed, "first", share, people().rev()), *known, "in another order");
                // With others in between, and some of them left out.
                let others = people().step_by(3).flat_map(|person| [format!("x{person}"), person]);
                let again = sample(seed, "first", share, others);
                let wanted: BTreeSet<_> = people().step_by(3).filter(|person| known.contains(person)).collect();
                assert_eq!(again.into_iter().filter(|person| !person.starts_with('x')).collect::<BTreeSet<_>>(), wanted);
                let shouted = sample(seed, "first", share, people().map(|person| person.to_uppercase()));
                assert_eq!(shouted.len(), known.len(), "one person, however written");
            }
            for pair in samples.windows(2) {
                assert!(pair[0].is_subset(&pair[1]), "each step contains the one before");
            }
            assert_eq!(samples[6].len() as u64, PEOPLE);
            assert!(sample(seed, "first", "0", people()).is_empty());
        }
    }

    #[test]
    fn a_share_is_right_within_the_bounds_of_chance_and_other_runs_begin_with_others() {
        for round in 0..40_u64 {
            let seed = round.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            for (percent, share) in [("0.5", 0.005), ("1", 0.01), ("10", 0.1), ("50", 0.5)] {
                let found = sample(seed, "first", percent, people());
                #[allow(clippy::cast_precision_loss)]
                let (count, all) = (found.len() as f64, PEOPLE as f64);
                // Five standard deviations of a binomial distribution: missed once in two million.
                let bound = 5.0 * (all * share * (1.0 - share)).sqrt();
                assert!((count - all * share).abs() <= bound, "seed {seed}: {count} of {all} for {percent}%");
                let other = sample(seed, "second", percent, people());
                #[allow(clippy::cast_precision_loss)]
                let (both, expected) = (found.intersection(&other).count() as f64, all * share * share);
                assert!((both - expected).abs() <= 5.0 * expected.sqrt() + 5.0, "seed {seed}: {both} in both runs for {percent}%");
            }
        }
    }
}
