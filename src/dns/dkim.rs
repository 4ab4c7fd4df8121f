//! DKIM records (RFC 6376, 3.6.1; RFC 8463). Pure.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::dkim::key::ED25519;

/// What an RSA key of 2,048 bits or more begins with in DER, behind the length of the whole: its algorithm (RFC 3279, 2.3.1).
const RSA: &[u8] = &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// The text to publish for a public key, given in DER as `SubjectPublicKeyInfo`.
#[must_use]
pub fn record(public: &[u8]) -> String {
    let (kind, key) = public.strip_prefix(ED25519).map_or(("rsa", public), |key| ("ed25519", key));
    format!("v=DKIM1; k={kind}; p={}", STANDARD.encode(key))
}

/// What is wrong with a published text, for the key that signs.
///
/// # Errors
/// What is wrong, as the rest of a sentence about the record.
pub fn judge(text: &str, public: &[u8]) -> Result<(), String> {
    let tags = tags(text)?;
    let get = |name: &str| tags.iter().find(|(tag, _)| tag == name).map(|(_, value)| &**value);
    if let Some(position) = tags.iter().position(|(tag, _)| tag == "v")
        && (position > 0 || tags[0].1 != "DKIM1")
    {
        return Err("does not begin with v=DKIM1".to_owned());
    }
    let is_listed = |list: &str, word: &str| list.split(':').any(|item| item.trim() == word);
    if get("h").is_some_and(|hashes| !is_listed(hashes, "sha256")) {
        return Err("does not allow SHA-256 (h=)".to_owned());
    }
    if get("s").is_some_and(|services| !is_listed(services, "*") && !is_listed(services, "email")) {
        return Err("is not for email (s=)".to_owned());
    }
    let (wanted, key) = public.strip_prefix(ED25519).map_or(("rsa", public), |key| ("ed25519", key));
    let kind = get("k").unwrap_or("rsa");
    let published: String = get("p").ok_or("has no key (p=)")?.split_ascii_whitespace().collect();
    if published.is_empty() {
        return Err("revokes the key (p= is empty)".to_owned());
    }
    if kind != wanted {
        return Err(format!("is for a key of another type (k={kind}, but the key is {wanted})"));
    }
    let published = STANDARD.decode(published).map_err(|_| "contains a key that is not valid base64 (p=)".to_owned())?;
    if published == key || rsa_key(key).is_some_and(|bare| bare == published) {
        return Ok(());
    }
    Err("contains another key (p=)".to_owned())
}

/// The tags of a list, in their order (RFC 6376, 3.2).
fn tags(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut tags: Vec<(String, String)> = Vec::new();
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let (tag, value) = part.split_once('=').ok_or("is not a list of tags")?;
        let tag = tag.trim().to_owned();
        if tags.iter().any(|(known, _)| *known == tag) {
            return Err(format!("has the tag {tag}= twice"));
        }
        tags.push((tag, value.trim().to_owned()));
    }
    if tags.is_empty() { Err("is empty".to_owned()) } else { Ok(tags) }
}

/// The bare RSA key in a `SubjectPublicKeyInfo`, which RFC 6376 asks for in its text and nobody publishes.
fn rsa_key(public: &[u8]) -> Option<&[u8]> {
    // The outer sequence, the algorithm, then a bit string: its tag, two octets of length and no unused bits.
    let bits = public.get(4..)?.strip_prefix(RSA)?;
    bits.get(5..)
}
