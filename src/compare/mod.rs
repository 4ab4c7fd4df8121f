//! What a change of the objects would mean: two sides, field by field and decision by decision. Pure.
//!
//! [`objects`] compares documents, [`assume`] fills in what only the process that sends will know, [`meaning`] compares the decisions over
//! both sides, and [`danger`] says which of it hurts. What comes of it is plain data, which the command line prints.

pub mod assume;
pub mod danger;
mod lines;
pub mod meaning;
pub mod objects;
#[cfg(test)]
mod tests;
mod weakened;

use std::{borrow::Cow, collections::BTreeMap};

use serde::Serialize;
use serde_json::Value;

use crate::{
    decide::{Decision, World},
    resources::{Key, Kind as _, Plan, SendingServer},
};

/// The kinds that are compared, in the order in which they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum ObjectKind {
    /// A server.
    SendingServer,
    /// A plan.
    Plan,
    /// A campaign.
    Campaign,
    /// A namespace and its labels.
    Namespace,
    /// Texts that campaigns name.
    ConfigMap,
    /// Passwords and keys.
    Secret,
}

impl ObjectKind {
    /// The kind as documents write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SendingServer => "SendingServer",
            Self::Plan => "Plan",
            Self::Campaign => "Campaign",
            Self::Namespace => "Namespace",
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }

    /// The kind of an object of ours, by the name that documents write.
    #[must_use]
    pub fn of_ours(kind: &str) -> Self {
        match kind {
            SendingServer::KIND => Self::SendingServer,
            Plan::KIND => Self::Plan,
            _ => Self::Campaign,
        }
    }
}

/// An object's identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its namespace and name.
    pub key: Key,
}

/// What happens to an object, or to a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Change {
    /// It is only on the new side.
    Added,
    /// It is on both, and differs.
    Changed,
    /// It is only on the old side.
    Removed,
}

impl Change {
    /// The sign before it.
    #[must_use]
    pub const fn sign(self) -> char {
        match self {
            Self::Added => '+',
            Self::Changed => '~',
            Self::Removed => '-',
        }
    }
}

/// An object that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectChange {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What happens to it.
    pub change: Change,
    /// Its fields that differ; of one that is on one side only, the fields of its spec.
    pub fields: Vec<FieldChange>,
}

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldChange {
    /// The field: `spec.servers[ses-eu].weight`.
    pub field: String,
    /// What happens to it.
    pub change: Change,
    /// The value on the old side; absent where there is none, and where `summary` stands for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<Value>,
    /// The value on the new side; absent where there is none, and where `summary` stands for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<Value>,
    /// What is said instead of long texts and of lists of people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
}

/// How many recipients an audience has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// So many, each counted once.
    Counted(u64),
    /// More than so many: the rest was not counted.
    MoreThan(u64),
    /// Not known here, and why: a URL, a database, a file that is elsewhere.
    NotKnown(String),
}

/// What the ledger knows of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunPast {
    /// Whether a message of it may have left.
    pub has_sent: bool,
    /// Whether every recipient has a final outcome.
    pub is_closed: bool,
    /// Recipients by fate.
    pub counts: crate::resources::campaign::RecipientCounts,
    /// When it began, milliseconds.
    pub started_ms: i64,
}

/// What the ledger knows of campaigns, by campaign and run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// Whether there is a ledger.
    pub is_known: bool,
    /// The runs that have begun.
    pub runs: BTreeMap<(Key, String), RunPast>,
}

impl Past {
    /// A run, if it has begun.
    #[must_use]
    pub fn run(&self, campaign: &Key, run: &str) -> Option<&RunPast> {
        self.runs.get(&(campaign.clone(), run.to_owned()))
    }
}

/// One side, decided on.
pub struct Side {
    /// The objects, with what they refer to.
    pub world: World,
    /// What is decided on them.
    pub decision: Decision,
    /// How many recipients each campaign has.
    pub audiences: BTreeMap<Key, Audience>,
}

/// What must be there before the change takes effect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Need {
    /// `Secret`, `ConfigMap`, `File` or `DnsRecord`.
    pub what: &'static str,
    /// The name, and the key of a Secret or ConfigMap; of a record its line in a zone file, or its name and type.
    pub name: String,
    /// What needs it: kind, namespace and name, and the field.
    pub needed_by: String,
}

/// A change that hurts, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Danger {
    /// The rule that finds it.
    pub rule: Rule,
    /// The kind of the object.
    pub kind: ObjectKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Why, in a sentence.
    pub why: String,
}

/// The rules by which a change is dangerous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Rule {
    /// A campaign is left with one server, or with none.
    FewServers,
    /// A campaign may be another one under a new name.
    Renamed,
    /// Everybody is mailed again.
    NewRun,
    /// A campaign is removed before everybody was mailed.
    RemovedWhileSending,
    /// A guard is weakened or removed.
    GuardWeakened,
    /// People are mailed who were left out, or can no longer leave.
    SuppressionWeakened,
    /// A plan is opened to all namespaces.
    PlanOpened,
    /// A domain that was allowed is not any more, or all are.
    DomainRemoved,
    /// A server that carries half of a campaign is switched off.
    ServerSwitchedOff,
    /// An audience grows tenfold.
    AudienceGrows,
}

/// A text without control characters, on one line and no longer than people read.
#[must_use]
pub fn one_line(text: &str, chars: usize) -> Cow<'_, str> {
    let is_plain = !text.chars().any(char::is_control) && text.chars().count() <= chars;
    if is_plain {
        return Cow::Borrowed(text);
    }
    let mut short: String = text.chars().take(chars).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().count() > chars {
        short.push('…');
    }
    Cow::Owned(short)
}
