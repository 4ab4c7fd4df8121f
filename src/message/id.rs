//! The Message-ID: a function of who and what is mailed, so that every attempt of a message has the same one.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher24};

/// The second half of the hash's key. It must never change, or a restart in mid-campaign would change Message-IDs.
const KEY: u64 = u64::from_le_bytes(*b"mailflee");

/// The Message-ID of a message (RFC 5322, 3.6.4), without angle brackets. `seed` is the ledger's, `recipient` the
/// address, `domain` the sender's. Stable forever.
#[must_use]
pub fn message_id(seed: u64, namespace: &str, campaign: &str, run: &str, recipient: &str, domain: &str) -> String {
    let mut hasher = SipHasher24::new_with_keys(seed, KEY);
    for part in [namespace, campaign, run, recipient] {
        // The length first, so that no two lists of parts read the same.
        hasher.write(&(part.len() as u64).to_le_bytes());
        hasher.write(part.as_bytes());
    }
    let id = hasher.finish128().as_u128();
    if domain.is_ascii() {
        return format!("{id:032x}@{domain}");
    }
    format!("{id:032x}@{}", idna::domain_to_ascii(domain).unwrap_or_else(|_| "localhost".to_owned()))
}

/// A boundary that is the same for everybody and on every attempt (RFC 2046, 5.1.1), so that what is the same for everybody has the
/// same body: the hash of one signs all. `=_` never occurs in quoted-printable.
pub(super) fn boundary(content: u64, attempt: u64) -> String {
    let mut hasher = SipHasher24::new_with_keys(attempt, KEY);
    hasher.write_u64(content);
    format!("=_{:032x}", hasher.finish128().as_u128())
}
