//! The keys with which a server signs messages (DKIM, RFC 6376).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{KeyRef, pattern, rule::Rule};
use crate::meta::net::ascii;

/// Two of each algorithm are enough to replace one by the other.
pub(super) const FOUR_OF_A_DOMAIN: Rule = Rule::new(
    "!has(self.dkim) || self.dkim.all(a, size(self.dkim.filter(b, b.domain == a.domain)) <= 4)",
    "a domain has more than 4 keys; keep two of each algorithm at most",
)
.at(".dkim");

/// A key that signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SigningKey {
    /// The domain that signs (`d=`): that of From addresses, or one above it. Of several that fit, the longest signs.
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::DOMAIN))]
    pub domain: String,
    /// The selector: `s1` for the record `s1._domainkey.example.com`.
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::SELECTOR))]
    pub selector: String,
    /// The private key in a Secret: RSA of 2,048 to 4,096 bits or Ed25519, in PEM without a passphrase.
    pub private_key_ref: KeyRef,
}

impl SigningKey {
    /// The domain as DNS has it.
    #[must_use]
    pub fn ascii_domain(&self) -> String {
        ascii(&self.domain)
    }

    /// The selector as DNS has it.
    #[must_use]
    pub fn ascii_selector(&self) -> String {
        self.selector.to_ascii_lowercase()
    }

    /// The name of its record, by which it is known.
    #[must_use]
    pub fn record(&self) -> String {
        record(&self.ascii_domain(), &self.ascii_selector())
    }
}

/// The name of a key's record (RFC 6376, 3.6.2.1).
#[must_use]
pub fn record(domain: &str, selector: &str) -> String {
    format!("{selector}._domainkey.{domain}")
}
