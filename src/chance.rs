//! Randomness as a function of a seed, so that runs are reproducible. Pure.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

/// The `count`th number in 0..1 that a seed yields for `what`.
#[must_use]
pub fn jitter(seed: u64, what: &str, count: u64) -> f64 {
    let mut hasher = SipHasher13::new_with_keys(seed, count);
    hasher.write(what.as_bytes());
    // 53 bits fill a double.
    #[allow(clippy::cast_precision_loss)]
    let unit = (hasher.finish() >> 11) as f64 / (1_u64 << 53) as f64;
    unit
}
