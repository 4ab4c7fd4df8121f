//! A Maildir on this machine.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Context, Failure, Provider, SecretUse, Server};
use crate::resources::check::Fault;

/// A Maildir: each message becomes a file in `new/`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Outbox {
    /// The folder, relative to the state folder and inside it; `outbox/<namespace>/<name>` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub path: Option<String>,
}

impl Provider for Outbox {
    fn check(&self, _faults: &mut Vec<Fault>) {}

    fn secrets(&self) -> Vec<SecretUse> {
        Vec::new()
    }

    fn address(&self) -> String {
        "outbox".to_owned()
    }

    fn build(&self, _context: Context) -> Result<Arc<dyn Server>, Failure> {
        unimplemented!()
    }
}
