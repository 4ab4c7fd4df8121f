//! The public half of a DKIM key. Pure.

use aws_lc_rs::{
    encoding::AsDer as _,
    signature::{Ed25519KeyPair, KeyPair as _, RsaKeyPair},
};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject as _};

use super::dkim::ED25519;

/// The public key of a private key in PEM, in DER as `SubjectPublicKeyInfo`: RSA of 2,048 bits or more, or Ed25519.
///
/// # Errors
/// Why it cannot be used, without anything of the key.
pub fn public_key(pem: &[u8]) -> Result<Vec<u8>, String> {
    const WANTED: &str = "it must be an RSA key of 2,048 bits or more, or an Ed25519 key, in PEM without a passphrase";
    let der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| format!("it holds no private key; {WANTED}"))?;
    let rsa = match &der {
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        _ => return Err(format!("its key is of another type; {WANTED}")),
    };
    if let Ok(rsa) = rsa {
        let public = rsa.public_key().as_der().map_err(|_| format!("its public key cannot be derived; {WANTED}"))?;
        return Ok(public.as_ref().to_vec());
    }
    let PrivateKeyDer::Pkcs8(der) = &der else { return Err(format!("its key cannot be used; {WANTED}")) };
    let ed25519 =
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der()).map_err(|_| format!("its key cannot be used; {WANTED}"))?;
    Ok([ED25519, ed25519.public_key().as_ref()].concat())
}
