//! Moving in: what other programs keep about servers, lists and campaigns, as objects of our own kinds. Pure.
//!
//! Each program has a file that understands its facts; all of them give an [`Imported`], which is printed by our own types, so that no
//! document is written that `validate` would refuse for its form. What could not be carried over is in the [`Report`], and a campaign
//! that would be sent with a wrong text is one that cannot start.

pub mod acellemail;
mod facts;
pub mod gotemplate;
pub mod kumomta;
pub mod listmonk;
pub mod mautic;
mod names;
mod print;
mod report;
mod tables;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::Value;

pub use self::{
    names::Names,
    print::{REPORT_FILE, SUPPRESSIONS_FILE, files, secrets_document},
    report::{Outcome, Report},
    tables::{Tables, columns_query},
};
use crate::{
    meta::secret::SecretValue,
    resources::{CampaignSpec, PlanSpec, SendingServerSpec},
};

/// The most rows that are kept of a database, suppressed people included.
pub const ROWS_MAX: usize = if cfg!(test) { 100 } else { 2_000_000 };
/// The most bytes that are kept of a database.
pub const BYTES_MAX: usize = if cfg!(test) { 1 << 20 } else { 256 << 20 };

/// One document of ours.
#[derive(Clone, Debug)]
pub struct Document<S> {
    /// Its name.
    pub name: String,
    /// Where it comes from: a line above it.
    pub origin: String,
    /// Its spec.
    pub spec: S,
}

/// A Secret that the documents refer to.
#[derive(Clone, Debug)]
pub struct NeededSecret {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub purpose: String,
    /// Its keys, each with its value where the source holds it.
    pub keys: BTreeMap<String, Option<SecretValue>>,
}

/// A person who is not mailed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppressed {
    /// The address.
    pub email: String,
    /// What they are not mailed about; everything when absent.
    pub topic: Option<String>,
    /// The reason, as `mailfleet suppressions` names it.
    pub reason: &'static str,
    /// Since when (RFC 3339); empty when it is not known.
    pub time: String,
    /// The words of the source.
    pub detail: String,
}

/// What came of a source.
#[derive(Debug, Default)]
pub struct Imported {
    /// Servers.
    pub servers: Vec<Document<SendingServerSpec>>,
    /// Plans.
    pub plans: Vec<Document<PlanSpec>>,
    /// Campaigns, none of which sends before a person says so.
    pub campaigns: Vec<Document<CampaignSpec>>,
    /// Templates and queries, by their path.
    pub texts: BTreeMap<String, String>,
    /// People who are not mailed, by the file that lists them.
    pub suppressed: BTreeMap<&'static str, Vec<Suppressed>>,
    /// The Secrets that are needed.
    pub secrets: Vec<NeededSecret>,
    /// What was carried over, and what not.
    pub report: Report,
}

impl Imported {
    /// Adds a document, whose spec is written as YAML has it; a spec that is none becomes a finding.
    fn add<S: serde::de::DeserializeOwned>(report: &mut Report, to: &mut Vec<Document<S>>, name: &str, origin: &str, spec: Value) -> bool {
        match serde_json::from_value(spec) {
            Ok(spec) => {
                to.push(Document { name: name.to_owned(), origin: origin.to_owned(), spec });
                true
            }
            Err(error) => {
                report.lost(origin, format!("it cannot be written as an object of ours: {error}"), "write it by hand");
                false
            }
        }
    }

    /// Adds a server.
    pub fn add_server(&mut self, name: &str, origin: &str, spec: Value) -> bool {
        Self::add(&mut self.report, &mut self.servers, name, origin, spec)
    }

    /// Adds a plan.
    pub fn add_plan(&mut self, name: &str, origin: &str, spec: Value) -> bool {
        Self::add(&mut self.report, &mut self.plans, name, origin, spec)
    }

    /// Adds a campaign; it is suspended.
    pub fn add_campaign(&mut self, name: &str, origin: &str, mut spec: Value) -> bool {
        spec["suspend"] = true.into();
        Self::add(&mut self.report, &mut self.campaigns, name, origin, spec)
    }

    /// Adds a Secret that is needed, with what the source holds of it.
    pub fn add_secret(&mut self, name: &str, purpose: &str, keys: &[(&str, Option<&str>)]) {
        let keys =
            keys.iter().map(|(key, value)| ((*key).to_owned(), value.filter(|value| !value.is_empty()).map(SecretValue::new))).collect();
        self.secrets.push(NeededSecret { name: name.to_owned(), purpose: purpose.to_owned(), keys });
    }
}
