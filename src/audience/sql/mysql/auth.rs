//! How MySQL and MariaDB are told the password without its being sent. Pure.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

/// A way to prove that the password is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// `mysql_native_password`: MariaDB, and MySQL before version 8.
    Native,
    /// `caching_sha2_password`: MySQL from version 8 on.
    CachingSha2,
}

impl Method {
    /// The one of this name.
    pub fn named(name: &[u8]) -> Option<Self> {
        [Self::Native, Self::CachingSha2].into_iter().find(|method| method.name().as_bytes() == name)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "mysql_native_password",
            Self::CachingSha2 => "caching_sha2_password",
        }
    }

    /// The answer to the server's challenge; empty for an empty password.
    pub fn answer(self, password: &[u8], challenge: &[u8]) -> Vec<u8> {
        if password.is_empty() {
            return Vec::new();
        }
        let (algorithm, challenge_first) = match self {
            Self::Native => (&SHA1_FOR_LEGACY_USE_ONLY, true),
            Self::CachingSha2 => (&SHA256, false),
        };
        let once = digest(algorithm, password);
        let twice = digest(algorithm, once.as_ref());
        let mixed = if challenge_first { [challenge, twice.as_ref()].concat() } else { [twice.as_ref(), challenge].concat() };
        once.as_ref().iter().zip(digest(algorithm, &mixed).as_ref()).map(|(one, other)| one ^ other).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the servers check it: they know the hash of the hash, get back the hash, and hash that.
    fn is_proven(method: Method, password: &[u8], challenge: &[u8], answer: &[u8]) -> bool {
        let (algorithm, challenge_first) = match method {
            Method::Native => (&SHA1_FOR_LEGACY_USE_ONLY, true),
            Method::CachingSha2 => (&SHA256, false),
        };
        let stored = digest(algorithm, digest(algorithm, password).as_ref());
        let mixed = if challenge_first { [challenge, stored.as_ref()].concat() } else { [stored.as_ref(), challenge].concat() };
        let once: Vec<u8> = answer.iter().zip(digest(algorithm, &mixed).as_ref()).map(|(one, other)| one ^ other).collect();
        digest(algorithm, &once).as_ref() == stored.as_ref()
    }

    #[test]
    fn servers_are_convinced_by_the_right_password_alone() {
        let challenge = b"01234567890123456789";
        for method in [Method::Native, Method::CachingSha2] {
            assert_eq!(Method::named(method.name().as_bytes()), Some(method));
            let answer = method.answer(b"secret", challenge);
            assert!(is_proven(method, b"secret", challenge, &answer), "{method:?}");
            assert!(!is_proven(method, b"other", challenge, &answer) && !is_proven(method, b"secret", b"another challenge...", &answer));
            assert!(method.answer(b"", challenge).is_empty());
        }
        assert_eq!(Method::named(b"mysql_clear_password"), None, "never");
    }
}
