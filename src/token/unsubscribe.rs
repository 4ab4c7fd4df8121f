//! Links by which people unsubscribe: who, and from what, in a text that only this installation can make and read.
//!
//! A token holds namespace, topic and address themselves, since the rows of the ledger may be gone when somebody follows a link of
//! years ago; the run is there to be counted by, where it is still known. It is sealed by AES-256-GCM-SIV (RFC 8452), with the version and the key's number as associated data. The nonce is
//! always the same, which that cipher allows: it makes each nonce a function of the text, so that all that can be told from two
//! tokens is whether they say the same. They should: a message that is rendered again, for a retry or in another process, has the
//! link that it had. A counter or chance would make rendering impure for nothing.
//!
//! Its letters are lowercase base32 without padding, and case does not matter: mail systems change the case of local parts. Pure.

use std::{fmt, sync::Arc};

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use data_encoding::BASE32_NOPAD;

use super::{Keys, PublicUrl};

/// Where the page is, before the token.
pub const PATH: &str = "/u/v1/";

/// The first byte of a token: how the rest is to be read.
const VERSION: u8 = 1;
/// What the sealing key is derived for.
const PURPOSE: &str = "unsubscribe 1";
/// The longest token that is looked at, characters: an address has at most 1,016 bytes in its own script.
const TOKEN_MAX: usize = 2500;
/// The longest local part, octets (RFC 5321, 4.5.3.1.1).
const LOCAL_MAX: usize = 64;
/// What a local part by which people unsubscribe begins with.
const LOCAL: &str = "unsubscribe";

/// One person's subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The namespace of the campaigns.
    pub namespace: Arc<str>,
    /// The topic; everything that the namespace sends when absent.
    pub topic: Option<Arc<str>>,
    /// Who unsubscribes.
    pub address: Arc<str>,
    /// The number of the run whose message has the link, and what stands for its ledger: so that who leaves is counted there.
    pub run: Option<(u32, u32)>,
}

impl Subscription {
    /// The run and its ledger, zeros where there is none (the ledger's numbers begin at 1), two names with their lengths, and the
    /// address as the rest.
    fn to_bytes(&self) -> Option<Vec<u8>> {
        let topic = self.topic.as_deref().unwrap_or_default();
        let (run, ledger) = self.run.unwrap_or_default();
        let mut bytes = Vec::with_capacity(10 + self.namespace.len() + topic.len() + self.address.len() + AES_256_GCM_SIV.tag_len());
        bytes.extend_from_slice(&run.to_be_bytes());
        bytes.extend_from_slice(&ledger.to_be_bytes());
        for name in [&*self.namespace, topic] {
            bytes.push(u8::try_from(name.len()).ok()?);
            bytes.extend_from_slice(name.as_bytes());
        }
        bytes.extend_from_slice(self.address.as_bytes());
        Some(bytes)
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (run, bytes) = number(bytes)?;
        let (ledger, bytes) = number(bytes)?;
        let run = (run > 0).then_some((run, ledger));
        let (namespace, bytes) = name(bytes)?;
        let (topic, bytes) = name(bytes)?;
        let address = std::str::from_utf8(bytes).ok()?;
        let topic = (!topic.is_empty()).then(|| topic.into());
        (!namespace.is_empty() && !address.is_empty()).then(|| Self { namespace: namespace.into(), topic, address: address.into(), run })
    }
}

/// A number, and what follows it.
fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*number), rest))
}

/// A name behind its length, and what follows it.
fn name(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, bytes) = bytes.split_first()?;
    let (name, rest) = bytes.split_at_checked(usize::from(*length))?;
    Some((std::str::from_utf8(name).ok()?, rest))
}

/// Makes and reads tokens. Cheap to clone.
#[derive(Clone)]
pub struct Tokens {
    /// By number; the first seals, all open.
    keys: Arc<[(u8, LessSafeKey)]>,
}

impl Tokens {
    /// Of these keys.
    #[must_use]
    pub fn new(keys: &Keys) -> Self {
        let sealing = |id| {
            // A key of another length is refused, and there is none.
            let key = UnboundKey::new(&AES_256_GCM_SIV, &keys.derived(id, PURPOSE)?).ok()?;
            Some((id, LessSafeKey::new(key)))
        };
        Self { keys: keys.ids().filter_map(sealing).collect() }
    }

    /// The token of a subscription, always the same one for the same key. `None` when a name has more than 255 bytes.
    #[must_use]
    pub fn make(&self, subscription: &Subscription) -> Option<String> {
        let (id, key) = self.keys.first()?;
        let head = [VERSION, *id];
        let mut sealed = subscription.to_bytes()?;
        key.seal_in_place_append_tag(nonce(), Aad::from(head), &mut sealed).ok()?;
        Some(BASE32_NOPAD.encode(&[&head[..], &sealed].concat()).to_ascii_lowercase())
    }

    /// The subscription of a token that this installation made; `None` for everything else.
    #[must_use]
    pub fn read(&self, token: &str) -> Option<Subscription> {
        if token.len() > TOKEN_MAX {
            return None;
        }
        let mut bytes = BASE32_NOPAD.decode(token.to_ascii_uppercase().as_bytes()).ok()?;
        let (head, sealed) = bytes.split_at_mut_checked(2)?;
        let head: [u8; 2] = [*head.first()?, *head.get(1)?];
        let (_, key) = self.keys.iter().find(|(id, _)| head == [VERSION, *id])?;
        let opened = key.open_in_place(nonce(), Aad::from(head), sealed).ok()?;
        Subscription::from_bytes(opened)
    }
}

/// Never the keys.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.keys.len())
    }
}

/// The same for all tokens: see the head of this file.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

/// The links of this installation. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Links {
    tokens: Tokens,
    url: PublicUrl,
}

impl Links {
    /// Links to the page at a public URL.
    #[must_use]
    pub fn new(keys: &Keys, url: PublicUrl) -> Self {
        Self { tokens: Tokens::new(keys), url }
    }

    /// Links for a look: they have the form of real ones, and unsubscribe nobody. Without a URL they lead nowhere.
    #[must_use]
    pub fn sample(url: Option<PublicUrl>) -> Self {
        Self::new(&Keys::sample(), url.unwrap_or_else(PublicUrl::nowhere))
    }

    /// The URL by which a person ends a subscription, and the `mailto:` URI that does the same where the mail of a domain is read.
    /// `None` when a name has more than 255 bytes.
    #[must_use]
    pub fn make(&self, subscription: &Subscription, mail_domain: Option<&str>) -> Option<(String, Option<String>)> {
        let token = self.tokens.make(subscription)?;
        Some((format!("{}{PATH}{token}", self.url), mail_domain.map(|domain| mailto(&token, domain))))
    }
}

/// The `mailto:` URI (RFC 6068) by which a mail to this domain ends a subscription. A local part has 64 octets, into which few
/// tokens fit; the others go into the subject.
#[must_use]
pub fn mailto(token: &str, domain: &str) -> String {
    if LOCAL.len() + 1 + token.len() <= LOCAL_MAX {
        format!("mailto:{LOCAL}-{token}@{domain}")
    } else {
        format!("mailto:{LOCAL}@{domain}?subject={token}")
    }
}

/// The token of a mail to such an address: from the local part, or from the subject's last word. Whether it is one, [`Tokens::read`]
/// says; `None` when the mail is to another address.
#[must_use]
pub fn token_of_mail<'a>(local_part: &'a str, subject: &'a str) -> Option<&'a str> {
    let (name, rest) = local_part.split_at_checked(LOCAL.len())?;
    if !name.eq_ignore_ascii_case(LOCAL) {
        return None;
    }
    if rest.is_empty() { subject.split_whitespace().next_back() } else { rest.strip_prefix('-') }
}

#[cfg(test)]
mod tests;
