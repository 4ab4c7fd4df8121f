//! Signatures of messages (DKIM, RFC 6376 and RFC 8463): `relaxed/relaxed`, the whole body, `rsa-sha256` and `ed25519-sha256`.
//!
//! `key` reads private keys, `canonical` is what is hashed, `cover` which header fields a signature covers, and `signer` writes
//! the field. The time of a signature is an argument. Pure.

pub(crate) mod canonical;
pub(crate) mod cover;
pub(crate) mod key;
pub(crate) mod signer;
#[cfg(test)]
pub(crate) mod tests;

pub use canonical::{body_hash, body_hash_of};
pub use cover::{Cover, Fields};
pub use key::{Algorithm, PrivateKey, Ring};
pub use signer::{Content, Covered, Signer};
