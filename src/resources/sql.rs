//! A query of a database as an audience.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Duration, KeyRef, pattern,
    rule::Rule,
    sending_server::{NeededSecret, SecretPurpose},
    table::{Place, columns},
};

/// How long a query may take where the spec does not say.
const TIMEOUT: std::time::Duration = std::time::Duration::from_mins(5);

/// A query for recipients, asked of exactly one of `urlRef` and `path`. It runs in a transaction that only reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    Rule::new("has(self.urlRef) != has(self.path)", "exactly one of `urlRef` and `path` is needed"),
    Rule::new("!has(self.caRef) || has(self.urlRef)", "TLS does not apply to a file; remove this, or give a `urlRef`").at(".caRef").forbidden(),
    Rule::new(
        "!has(self.timeout) || (duration(self.timeout) >= duration('1s') && duration(self.timeout) <= duration('1h'))",
        "must be between 1s and 1h",
    ).at(".timeout"),
]))]
pub struct SqlAudience {
    /// The URL of a PostgreSQL, MySQL or MariaDB, in a Secret: `postgres://user:password@host/database`, `mysql://user:password@host/database`. The connection is encrypted, and the certificate is checked, unless the host is this machine or the URL says `sslmode=disable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_ref: Option<KeyRef>,
    /// CA certificates (PEM) to trust, in a Secret; the system's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<KeyRef>,
    /// An SQLite database: a file, relative to the campaign's own and inside the folder. Only for campaigns that are read from files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096), regex(pattern = pattern::RELATIVE_PATH))]
    pub path: Option<String>,
    /// The query, one SELECT; its columns are the fields, and one of them is `email`. Parameters are `$1` in PostgreSQL, and `?` elsewhere.
    #[schemars(length(min = 1, max = 65_536))]
    pub query: String,
    /// The values of its parameters in their order, as text, which the database converts to the types that it expects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(max = 4096)))]
    pub parameters: Vec<String>,
    /// Columns whose name is not that of the field: `{email: mail_address}`. A column that has the name already is then not read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "columns")]
    pub columns: BTreeMap<String, String>,
    /// How long the query may take, 1s to 1h; 5m when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

impl SqlAudience {
    /// The file that it names.
    #[must_use]
    pub fn place(&self) -> Option<Place<'_>> {
        self.path.as_deref().map(|path| Place { path: Some(path), url: None, auth: None, config_map_ref: None })
    }

    /// How long the query may take.
    #[must_use]
    pub fn timeout(&self) -> std::time::Duration {
        self.timeout.map_or(TIMEOUT, Duration::std)
    }

    /// Every key of a Secret that it needs; `field` is its own path.
    #[must_use]
    pub fn secrets(&self, field: &str) -> Vec<NeededSecret> {
        let needed = |name: &str, key: &KeyRef| NeededSecret {
            path: format!("{field}.{name}"),
            key: key.clone(),
            optional: false,
            purpose: SecretPurpose::Audience,
        };
        let url = self.url_ref.iter().map(|key| needed("urlRef", key));
        url.chain(self.ca_ref.iter().map(|key| needed("caRef", key))).collect()
    }
}
