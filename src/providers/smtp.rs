//! Any SMTP relay.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Context, Failure, Provider, SecretUse, Server};
use crate::resources::{Duration, KeyRef, LocalRef, check::Fault};

/// An SMTP relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Smtp {
    /// The host name or address.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// The port; when absent it follows the encryption: 587 (StartTls), 465 (Tls), 25 (None).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// `StartTls` when absent. There is no opportunistic mode: a server that offers no TLS fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// How to log in; not at all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// An own certificate authority (PEM), in a Secret; the system's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<KeyRef>,
    /// The name that the certificate must carry; the host when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub tls_server_name: Option<String>,
    /// The name given with EHLO; this machine's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub helo_name: Option<String>,
    /// How long to wait for a reply (RFC 5321, 4.5.3.2); 5m when absent, 1s at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_timeout: Option<Duration>,
}

/// How the connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Encryption {
    /// STARTTLS (RFC 3207), required.
    StartTls,
    /// TLS from the first byte (RFC 8314).
    Tls,
    /// No TLS; credentials are refused over it unless the host is loopback.
    None,
}

/// How to log in (RFC 4954).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Auth {
    /// The Secret with `username` and `password`, or `username` and `token` for XOAUTH2.
    pub secret_ref: LocalRef,
    /// The mechanism; the strongest that both sides have when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mechanism: Option<Mechanism>,
}

/// A SASL mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// The old one, in two steps.
    Login,
    /// RFC 7677.
    ScramSha256,
    /// Google's and Microsoft's bearer token.
    XOAuth2,
}

impl Provider for Smtp {
    fn check(&self, _faults: &mut Vec<Fault>) {}

    fn secrets(&self) -> Vec<SecretUse> {
        Vec::new()
    }

    fn address(&self) -> String {
        self.host.clone()
    }

    fn build(&self, _context: Context) -> Result<Arc<dyn Server>, Failure> {
        unimplemented!()
    }
}
