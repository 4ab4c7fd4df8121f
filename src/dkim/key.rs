//! Private keys that sign (RFC 8301, RFC 8463), each read once.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use aws_lc_rs::{
    digest::{Digest, SHA256, digest},
    encoding::AsDer as _,
    signature::{Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair},
};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject as _};

/// What an Ed25519 key begins with in DER (RFC 8410, 4); 32 octets of the key follow.
pub const ED25519: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// The largest RSA key, in bytes: receivers need not check larger ones (RFC 8301, 3.2).
const RSA_BYTES_MAX: usize = 4096 / 8;
/// How a key on an elliptic curve begins within PKCS#8: `id-ecPublicKey` (RFC 5480, 2.1.1).
const ELLIPTIC_CURVE: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const WANTED: &str = "DKIM needs an RSA key of 2,048 to 4,096 bits or an Ed25519 key, in PEM (PKCS#8 or PKCS#1) without a passphrase";

/// How a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RsaSha256,
    /// Ed25519 over a SHA-256 hash (RFC 8463).
    Ed25519Sha256,
}

impl Algorithm {
    /// The tag `a=` of a signature.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RsaSha256 => "rsa-sha256",
            Self::Ed25519Sha256 => "ed25519-sha256",
        }
    }

    /// That of a public key in DER (`SubjectPublicKeyInfo`).
    #[must_use]
    pub fn of(public: &[u8]) -> Self {
        if public.starts_with(ED25519) { Self::Ed25519Sha256 } else { Self::RsaSha256 }
    }
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

/// A private key. Its `Debug` names the algorithm alone.
pub struct PrivateKey {
    pair: Pair,
    public: Vec<u8>,
}

impl PrivateKey {
    /// Reads a key in PEM: RSA of 2,048 to 4,096 bits in PKCS#8 or PKCS#1, or Ed25519 in PKCS#8.
    ///
    /// # Errors
    /// What is wrong with it, as the rest of a sentence about the key, without anything of it.
    pub fn parse(pem: &[u8]) -> Result<Self, String> {
        let fault = |what: &str| format!("{what}; {WANTED}");
        let der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| fault(without_key(pem)))?;
        let rsa = match &der {
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Sec1(_) => return Err(fault("is a key on an elliptic curve (EC)")),
            _ => return Err(fault("is a key of another type")),
        };
        let unfit = match rsa {
            Ok(rsa) if rsa.public_modulus_len() > RSA_BYTES_MAX => return Err(fault("is an RSA key of more than 4,096 bits")),
            Ok(rsa) => {
                let public = rsa.public_key().as_der().map_err(|_| fault("is an RSA key that cannot be used"))?.as_ref().to_vec();
                return Ok(Self { pair: Pair::Rsa(Box::new(rsa)), public });
            }
            Err(rejected) => match rejected.to_string().as_str() {
                "TooSmall" => return Err(fault("is an RSA key of less than 2,048 bits")),
                "TooLarge" => return Err(fault("is an RSA key of more than 4,096 bits")),
                _ => fault("cannot be used"),
            },
        };
        let PrivateKeyDer::Pkcs8(der) = &der else { return Err(unfit) };
        let der = der.secret_pkcs8_der();
        if let Ok(ed25519) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            let public = [ED25519, ed25519.public_key().as_ref()].concat();
            return Ok(Self { pair: Pair::Ed25519(Box::new(ed25519)), public });
        }
        let is_elliptic = der.windows(ELLIPTIC_CURVE.len()).any(|window| window == ELLIPTIC_CURVE);
        Err(if is_elliptic { fault("is a key on an elliptic curve (EC)") } else { unfit })
    }

    /// The public key in DER (`SubjectPublicKeyInfo`).
    #[must_use]
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// How it signs.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self.pair {
            Pair::Rsa(_) => Algorithm::RsaSha256,
            Pair::Ed25519(_) => Algorithm::Ed25519Sha256,
        }
    }

    /// Signs the SHA-256 hash of what a signature covers.
    ///
    /// # Errors
    /// When the library cannot, for want of memory.
    pub fn sign(&self, hash: &Digest) -> Result<Vec<u8>, SigningFailed> {
        match &self.pair {
            Pair::Rsa(rsa) => {
                let mut signature = vec![0; rsa.public_modulus_len()];
                rsa.sign_digest(&RSA_PKCS1_SHA256, hash, &mut signature).map_err(|_| SigningFailed)?;
                Ok(signature)
            }
            // RFC 8463, 3: what Ed25519 signs is the hash.
            Pair::Ed25519(ed25519) => {
                ed25519.try_sign(hash.as_ref()).map(|signature| signature.as_ref().to_vec()).map_err(|_| SigningFailed)
            }
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.algorithm().as_str())
    }
}

/// The library could not make a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature could not be made")]
pub struct SigningFailed;

/// Why a text holds no key that can be read.
fn without_key(pem: &[u8]) -> &'static str {
    let has = |word: &str| memchr::memmem::find(pem, word.as_bytes()).is_some();
    if has("ENCRYPTED") {
        "is encrypted with a passphrase"
    } else if has("-----BEGIN OPENSSH PRIVATE KEY-----") {
        "is in OpenSSH's format"
    } else if has("PUBLIC KEY-----") {
        "is a public key, not the private key"
    } else if has("-----BEGIN CERTIFICATE-----") {
        "is a certificate, not a private key"
    } else {
        "is not a private key in PEM"
    }
}

/// The keys in use, each read once whoever uses it: by the hash of its text.
#[derive(Clone, Debug, Default)]
pub struct Ring {
    known: Arc<Mutex<BTreeMap<Vec<u8>, Weak<PrivateKey>>>>,
}

impl Ring {
    /// The key of a text, read if it is not known.
    ///
    /// # Errors
    /// Those of [`PrivateKey::parse`].
    pub fn get(&self, pem: &[u8]) -> Result<Arc<PrivateKey>, String> {
        let hash = digest(&SHA256, pem).as_ref().to_vec();
        // Whatever happened to the last holder of the lock, an entry is whole.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = known.get(&hash).and_then(Weak::upgrade) {
            return Ok(key);
        }
        let key = Arc::new(PrivateKey::parse(pem)?);
        known.retain(|_, key| key.strong_count() > 0);
        known.insert(hash, Arc::downgrade(&key));
        Ok(key)
    }
}
