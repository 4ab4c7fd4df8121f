//! How an audience's URL is authenticated: what a request carries, and the Secrets that hold it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    KeyRef, LocalRef, pattern,
    rule::Rule,
    sending_server::{NeededSecret, SecretPurpose},
};

/// What requests of a URL carry: exactly one of the keys. It is read from Secrets in the campaign's namespace for each request, sent over
/// https only (over http to this machine), and not to another host that the URL redirects to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [Rule::new(
    "[has(self.bearer), has(self.basic), has(self.header)].exists_one(given, given)",
    "exactly one of `bearer`, `basic` and `header` is needed",
)]))]
pub struct UrlAuth {
    /// A bearer token (RFC 6750).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer: Option<BearerAuth>,
    /// Username and password (RFC 7617).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicAuth>,
    /// A header field of another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderAuth>,
}

/// A bearer token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BearerAuth {
    /// The token, in a Secret.
    pub token_ref: KeyRef,
}

/// Username and password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BasicAuth {
    /// The Secret with `username` and `password`.
    pub secret_ref: LocalRef,
}

/// A header field that authenticates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [Rule::new(
    "!(self.name.lowerAscii() in ['connection', 'content-length', 'expect', 'host', 'te', 'trailer', 'transfer-encoding', 'upgrade'])",
    "this header belongs to the connection; name the one that authenticates, for example X-Api-Key",
).at(".name").forbidden()]))]
pub struct HeaderAuth {
    /// The name of the field, for example `X-Api-Key`.
    #[schemars(length(min = 1, max = 60), regex(pattern = pattern::HTTP_HEADER))]
    pub name: String,
    /// The whole value of the field, in a Secret.
    pub value_ref: KeyRef,
}

impl UrlAuth {
    /// Every key of a Secret that it needs; `field` is its own path.
    #[must_use]
    pub fn secrets(&self, field: &str) -> Vec<NeededSecret> {
        let needed = |path: &str, key: KeyRef| NeededSecret {
            path: format!("{field}.{path}"),
            key,
            optional: false,
            purpose: SecretPurpose::Audience,
        };
        let bearer = self.bearer.iter().map(|bearer| needed("bearer.tokenRef", bearer.token_ref.clone()));
        let basic = self.basic.iter().flat_map(|basic| {
            [USERNAME, PASSWORD].map(|key| needed("basic.secretRef", KeyRef { name: basic.secret_ref.name.clone(), key: key.to_owned() }))
        });
        let header = self.header.iter().map(|header| needed("header.valueRef", header.value_ref.clone()));
        bearer.chain(basic).chain(header).collect()
    }
}

/// The keys of a Secret for [`BasicAuth`], as those of type `kubernetes.io/basic-auth` have them.
pub const USERNAME: &str = "username";
/// See [`USERNAME`].
pub const PASSWORD: &str = "password";
