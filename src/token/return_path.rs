//! Return paths: the local part of an envelope sender that says, authenticated, which message a bounce is about (VERP). Pure.
//!
//! `bounce-TOKEN`, where TOKEN is, in base32: the version, the number of the key, the message's row, and the first 80 bits of an
//! HMAC-SHA-256. That is 49 letters of the 64 that a local part may have (RFC 5321, 4.5.3.1.1), and its case does not matter.

use std::sync::Arc;

use aws_lc_rs::hmac;
use data_encoding::BASE32_NOPAD;

use super::Keys;
use crate::feedback::MessageReference;

/// What stands before the token.
pub const PREFIX: &str = "bounce-";
/// For what the key is derived.
const PURPOSE: &str = "return path";
const VERSION: u8 = 1;
/// The bytes of the authentication code: 80 bits.
const CODE_BYTES: usize = 10;
/// Version and number of the key.
const HEAD_BYTES: usize = 2;
const BYTES: usize = HEAD_BYTES + MessageReference::BYTES + CODE_BYTES;
/// The letters of a token: five bits each.
const LETTERS: usize = (BYTES * 8).div_ceil(5);

/// Makes return paths with the current key; a message costs one HMAC of 16 bytes.
pub struct ReturnPaths {
    key: hmac::Key,
    id: u8,
}

impl ReturnPaths {
    /// Those of the current key; `None` without a key.
    #[must_use]
    pub fn new(keys: &Keys) -> Option<Self> {
        let id = keys.current();
        Some(Self { key: hmac::Key::new(hmac::HMAC_SHA256, &keys.derived(id, PURPOSE)?), id })
    }

    /// The envelope sender of a message.
    #[must_use]
    pub fn address(&self, reference: MessageReference, domain: &str) -> Arc<str> {
        let mut bytes = [0; BYTES];
        (bytes[0], bytes[1]) = (VERSION, self.id);
        bytes[HEAD_BYTES..BYTES - CODE_BYTES].copy_from_slice(&reference.to_bytes());
        let code = hmac::sign(&self.key, &bytes[..BYTES - CODE_BYTES]);
        bytes[BYTES - CODE_BYTES..].copy_from_slice(&code.as_ref()[..CODE_BYTES]);
        format!("{PREFIX}{}@{domain}", BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()).into()
    }
}

/// The message of a return path of ours: of its local part, or of the whole address, whose domain is not looked at.
#[must_use]
pub fn reference_of(address: &str, keys: &Keys) -> Option<MessageReference> {
    let local = address.rsplit_once('@').map_or(address, |(local, _)| local);
    let (prefix, token) = (local.get(..PREFIX.len())?, local.get(PREFIX.len()..)?);
    if !prefix.eq_ignore_ascii_case(PREFIX) || token.len() != LETTERS {
        return None;
    }
    let bytes = BASE32_NOPAD.decode(token.to_ascii_uppercase().as_bytes()).ok()?;
    let (data, code) = bytes.split_at_checked(BYTES - CODE_BYTES)?;
    let (head, row) = data.split_at_checked(HEAD_BYTES)?;
    let is_ours = head[0] == VERSION && keys.verify(head[1], PURPOSE, data, code);
    is_ours.then(|| row.try_into().ok().map(MessageReference::from_bytes)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(numbers: &[u8]) -> Keys {
        let lines = numbers.iter().map(|number| Keys::of([*number; 32]).to_text().replacen('1', &number.to_string(), 1));
        Keys::parse(&lines.collect::<String>()).expect("keys")
    }

    const LAST: MessageReference = MessageReference { ledger: u32::MAX, run: u32::MAX, partition: u16::MAX, seq: u32::MAX };

    #[test]
    fn a_return_path_fits_and_comes_back_in_any_case_and_after_a_rotation() {
        let (old, rotated) = (keys(&[1]), keys(&[2, 1]));
        for reference in [MessageReference { ledger: 7, run: 1, partition: 0, seq: 0 }, LAST] {
            let address = ReturnPaths::new(&old).expect("a key").address(reference, "bounces.shop.example");
            let local = address.split('@').next().expect("a local part");
            assert!(local.len() == 49 && local.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{local}");
            for form in [address.to_string(), address.to_uppercase(), local.to_owned()] {
                assert_eq!(reference_of(&form, &rotated), Some(reference), "{form}");
            }
            assert_eq!(reference_of(&address, &keys(&[2])), None, "the key was thrown away");
            let new = ReturnPaths::new(&rotated).expect("a key").address(reference, "bounces.shop.example");
            assert!(new != address && reference_of(&new, &rotated) == Some(reference));
        }
    }

    #[test]
    fn no_other_letter_anywhere_is_accepted() {
        let keys = keys(&[1]);
        let address = ReturnPaths::new(&keys).expect("a key").address(LAST, "x.example");
        let local = address.split('@').next().expect("a local part");
        for at in 0..local.len() {
            for letter in "abcdefghijklmnopqrstuvwxyz234567-=+.@ä".chars().filter(|letter| !local[at..].starts_with(*letter)) {
                let altered = format!("{}{letter}{}", &local[..at], &local[at + 1..]);
                assert_eq!(reference_of(&altered, &keys), None, "{altered}");
            }
        }
        for bad in ["", "bounce-", "bounce", "unsubscribe-abc", "ä", &local[..48], &format!("{local}a")] {
            assert_eq!(reference_of(bad, &keys), None, "{bad}");
        }
    }

    #[test]
    fn random_and_cut_local_parts_are_no_return_paths() {
        let keys = keys(&[1]);
        let address = ReturnPaths::new(&keys).expect("a key").address(LAST, "x.example");
        let good = address.split('@').next().expect("a local part");
        let letters: Vec<char> = "abcdefghijklmnopqrstuvwxyz234567".chars().collect();
        for seed in 0..50_000_u64 {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let chance = |count: u64, below: usize| (crate::chance::jitter(seed, "local", count) * below as f64) as usize;
            let mut local: Vec<char> = good.chars().collect();
            // Some letters in a row are others, moved, missing or doubled.
            let (at, length) = (chance(0, local.len()), 1 + chance(1, 20));
            let end = (at + length).min(local.len());
            let others: Vec<char> = match seed % 4 {
                0 => (at..end).map(|place| letters[chance(place as u64 + 10, letters.len())]).collect(),
                1 => local[at..end].iter().rev().copied().collect(),
                2 => Vec::new(),
                _ => local[at..end].iter().chain(&local[at..end]).copied().collect(),
            };
            local.splice(at..end, others).for_each(drop);
            let altered: String = local.into_iter().collect();
            if altered != good {
                assert_eq!(reference_of(&altered, &keys), None, "seed {seed}: {altered}");
            }
            let bytes: String = (0..49).map(|place| letters[chance(place + 100, letters.len())]).collect();
            assert_eq!(reference_of(&format!("bounce-{bytes}"), &keys), None, "seed {seed}");
        }
        assert_eq!(reference_of(&"bounce-a".repeat(100_000), &keys), None);
    }
}
