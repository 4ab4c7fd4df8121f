//! SCRAM-SHA-256 (RFC 5802, RFC 7677), the client's side, without channel binding.
//!
//! Names and passwords outside ASCII are used unchanged, without SASLprep.

use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use base64::{Engine, engine::general_purpose::STANDARD};

/// The fewest rounds that a server may ask for (RFC 7677, 4).
const ROUNDS_MIN: u32 = 4096;
/// The most, so that a server cannot keep this machine busy: about half a second.
const ROUNDS_MAX: u32 = 1_000_000;

/// What the server sent does not fit the exchange, in words after "the server".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit(pub &'static str);

/// The first message; `nonce` is printable ASCII without commas.
#[must_use]
pub fn first(username: &str, nonce: &str) -> String {
    format!("n,,{}", first_bare(username, nonce))
}

fn first_bare(username: &str, nonce: &str) -> String {
    format!("n={},r={nonce}", username.replace('=', "=3D").replace(',', "=2C"))
}

/// The client's last message, and what the server's last one must be. Costs some milliseconds of CPU.
///
/// # Errors
/// When the server's first message is malformed, does not continue our nonce, or asks for too few or too many rounds.
pub fn last(username: &str, password: &[u8], nonce: &str, server_first: &str) -> Result<(String, String), Unfit> {
    let malformed = Unfit("sent a malformed SCRAM challenge");
    let mut parts = server_first.split(',');
    let whole_nonce = parts.next().and_then(|part| part.strip_prefix("r=")).ok_or(malformed)?;
    let salt = parts.next().and_then(|part| part.strip_prefix("s=")).ok_or(malformed)?;
    let rounds = parts.next().and_then(|part| part.strip_prefix("i=")).ok_or(malformed)?;
    if !whole_nonce.starts_with(nonce) || whole_nonce.len() == nonce.len() {
        return Err(Unfit("did not continue our SCRAM nonce"));
    }
    let salt = STANDARD.decode(salt).map_err(|_| malformed)?;
    let rounds: u32 = rounds.parse().map_err(|_| malformed)?;
    let rounds = NonZeroU32::new(rounds)
        .filter(|n| (ROUNDS_MIN..=ROUNDS_MAX).contains(&n.get()))
        .ok_or(Unfit("asks for an unusable number of SCRAM rounds"))?;

    let mut salted = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password, &mut salted);
    let client_key = sign(&salted, b"Client Key");
    let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
    let without_proof = format!("c=biws,r={whole_nonce}");
    let exchange = format!("{},{server_first},{without_proof}", first_bare(username, nonce));
    let signature = sign(stored_key.as_ref(), exchange.as_bytes());
    let proof: Vec<u8> = client_key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
    let server_key = sign(&salted, b"Server Key");
    let server_last = format!("v={}", STANDARD.encode(sign(server_key.as_ref(), exchange.as_bytes())));
    Ok((format!("{without_proof},p={}", STANDARD.encode(proof)), server_last))
}

/// Whether the server's last message proves that it knows the password.
#[must_use]
pub fn is_proven(expected: &str, server_last: &str) -> bool {
    let signature = server_last.split(',').next().unwrap_or_default();
    constant_time::verify_slices_are_equal(expected.as_bytes(), signature.as_bytes()).is_ok()
}

fn sign(key: &[u8], data: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data)
}

#[cfg(test)]
mod tests {
    use super::{first, is_proven, last};

    // RFC 7677, 3.
    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    #[test]
    fn meets_the_vectors_of_rfc_7677() {
        assert_eq!(first("user", NONCE), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let (client_last, server_last) = last("user", b"pencil", NONCE, SERVER_FIRST).unwrap();
        assert_eq!(
            client_last,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert!(is_proven(&server_last, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        assert!(!is_proven(&server_last, "v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        assert!(!is_proven(&server_last, "e=invalid-proof"));
        assert_eq!(first("a=b,c", "x"), "n,,n=a=3Db=2Cc,r=x");
    }

    #[test]
    fn refuses_unfit_challenges() {
        for challenge in [
            "",
            "r=abc",
            "r=xyz1,s=AA==,i=4096",
            "r=abc,s=AA==,i=4096",
            "r=abc1,s=!,i=4096",
            "r=abc1,s=AA==,i=1",
            "r=abc1,s=AA==,i=99999999",
        ] {
            assert!(last("user", b"pencil", "abc", challenge).is_err(), "{challenge}");
        }
        assert!(last("user", b"pencil", "abc", "r=abc1,s=AA==,i=4096").is_ok());
    }
}
