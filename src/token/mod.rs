//! What authenticates texts that Mailfleet gives away and gets back: return paths and links for unsubscribing.
//!
//! Keys have numbers, so that what an older key made still holds after a rotation. Pure.

mod public_url;
pub mod return_path;
pub mod unsubscribe;

use std::fmt;

use aws_lc_rs::{constant_time, hmac};
use base64::{Engine as _, engine::general_purpose::STANDARD};

pub use public_url::PublicUrl;

/// The length of a key, bytes.
pub const KEY_BYTES: usize = 32;
/// The most keys.
const KEYS_MAX: usize = 16;

/// The keys of this installation, the first of which makes what is new; the others only check.
#[derive(Clone)]
pub struct Keys {
    keys: Vec<(u8, [u8; KEY_BYTES])>,
}

impl Keys {
    /// One key, numbered 1, of these random bytes.
    #[must_use]
    pub fn of(bytes: [u8; KEY_BYTES]) -> Self {
        Self { keys: vec![(1, bytes)] }
    }

    /// What everybody knows: what it authenticates is only to be looked at. No file can hold it.
    #[must_use]
    pub fn sample() -> Self {
        Self::of([0; KEY_BYTES])
    }

    /// Reads keys: one on each line, a number from 1 to 255 and 32 bytes in base64, the key for what is new first. Empty lines and
    /// those that begin with `#` are skipped.
    ///
    /// # Errors
    /// The line, and what is wrong with it; never the key.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut keys: Vec<(u8, [u8; KEY_BYTES])> = Vec::new();
        let lines = text.lines().map(str::trim).zip(1..).filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
        for (line, number) in lines {
            let wrong = |what: &str| format!("line {number}: {what}; a line is a number from 1 to 255, a space, and 32 bytes in base64");
            let (id, key) = line.split_once(char::is_whitespace).ok_or_else(|| wrong("there is no key"))?;
            let id: u8 = id.parse().ok().filter(|id| *id > 0).ok_or_else(|| wrong("the number is not one from 1 to 255"))?;
            let key = STANDARD.decode(key.trim()).map_err(|_| wrong("the key is not base64"))?;
            let key = key.try_into().map_err(|key: Vec<u8>| wrong(&format!("the key has {} bytes", key.len())))?;
            if key == [0; KEY_BYTES] {
                return Err(wrong("the key is all zeros, which is insecure"));
            }
            if keys.iter().any(|(known, _)| *known == id) {
                return Err(wrong(&format!("the number {id} is used twice")));
            }
            keys.push((id, key));
        }
        match keys.len() {
            0 => Err("there is no key".to_owned()),
            1..=KEYS_MAX => Ok(Self { keys }),
            count => Err(format!("there are {count} keys; at most {KEYS_MAX} are allowed")),
        }
    }

    /// The text that [`Keys::parse`] reads.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.keys.iter().map(|(id, key)| format!("{id} {}\n", STANDARD.encode(key))).collect()
    }

    /// The number of the key that makes what is new.
    #[must_use]
    pub fn current(&self) -> u8 {
        self.keys.first().map_or(0, |(id, _)| *id)
    }

    /// The numbers of all keys, first that of the key for what is new.
    pub fn ids(&self) -> impl Iterator<Item = u8> + '_ {
        self.keys.iter().map(|(id, _)| *id)
    }

    /// A key for one purpose, derived from the numbered one (HMAC-SHA-256 as a pseudorandom function), so that what was made for one
    /// purpose is never taken for another; `None` when there is no key of this number.
    #[must_use]
    pub fn derived(&self, id: u8, purpose: &str) -> Option<[u8; KEY_BYTES]> {
        let (_, key) = self.keys.iter().find(|(known, _)| *known == id)?;
        Some(tag(key, purpose.as_bytes()))
    }

    /// The authentication code (HMAC-SHA-256) of data for one purpose; `None` when there is no key of this number. It may be
    /// shortened to its first bytes.
    #[must_use]
    pub fn mac(&self, id: u8, purpose: &str, data: &[u8]) -> Option<[u8; KEY_BYTES]> {
        self.derived(id, purpose).map(|key| tag(&key, data))
    }

    /// Whether `code`, of at least 8 bytes, is the beginning of the authentication code of the data; in constant time.
    #[must_use]
    pub fn verify(&self, id: u8, purpose: &str, data: &[u8], code: &[u8]) -> bool {
        let Some(expected) = self.mac(id, purpose, data) else { return false };
        code.len() >= 8 && expected.get(..code.len()).is_some_and(|expected| constant_time::verify_slices_are_equal(expected, code).is_ok())
    }
}

/// Never the keys.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.keys.len())
    }
}

fn tag(key: &[u8], data: &[u8]) -> [u8; KEY_BYTES] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data);
    let mut bytes = [0; KEY_BYTES];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_are_written_and_faults_are_told_without_the_key() {
        let keys = Keys::parse(&format!("# made by hand\n\n7 {}\n3 {}\n", STANDARD.encode([7; 32]), STANDARD.encode([3; 32]))).unwrap();
        assert_eq!(keys.current(), 7);
        assert_eq!(Keys::parse(&keys.to_text()).unwrap().to_text(), keys.to_text());
        assert_eq!(format!("{keys:?}"), "Keys(2)");
        let long = STANDARD.encode([9; 33]);
        for (text, told) in [
            ("", "there is no key"),
            ("1", "line 1: there is no key"),
            ("0 AAAA", "line 1: the number is not one from 1 to 255"),
            ("\n256 AAAA", "line 2: the number"),
            ("1 AAA?", "line 1: the key is not base64"),
            (&format!("1 {long}"), "line 1: the key has 33 bytes"),
            (&Keys::sample().to_text(), "line 1: the key is all zeros"),
            (&format!("{0}{0}", keys.to_text()), "line 3: the number 7 is used twice"),
        ] {
            let error = Keys::parse(text).unwrap_err();
            assert!(error.starts_with(told) && !error.contains(&long), "{text}: {error}");
        }
    }

    #[test]
    fn a_code_holds_for_its_key_purpose_and_data_alone() {
        let keys = Keys::parse(&format!("2 {}\n1 {}\n", STANDARD.encode([2; 32]), STANDARD.encode([1; 32]))).unwrap();
        let code = keys.mac(2, "return path", b"data").unwrap();
        assert!(keys.verify(2, "return path", b"data", &code) && keys.verify(2, "return path", b"data", &code[..10]));
        assert!(!keys.verify(1, "return path", b"data", &code), "another key");
        assert!(!keys.verify(2, "link", b"data", &code), "another purpose");
        assert!(!keys.verify(2, "return path", b"date", &code), "other data");
        assert!(!keys.verify(3, "return path", b"data", &code), "no such key");
        assert!(!keys.verify(2, "return path", b"data", &code[..7]), "too short to be safe");
        assert!(!keys.verify(2, "return path", b"data", &[code.as_slice(), &[0]].concat()), "too long");
    }
}
