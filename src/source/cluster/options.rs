//! Which namespaces are watched, and under which Lease.

use std::time::Duration;

/// The namespaces that are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    Cluster,
    /// These.
    Namespaces(Vec<String>),
}

impl Scope {
    /// The scope of `--namespace` and `--plan-namespace`: where plans count is watched too.
    #[must_use]
    pub fn new(namespaces: &[String], plan_namespace: Option<&str>) -> Self {
        if namespaces.is_empty() {
            return Self::Cluster;
        }
        let mut all: Vec<String> = namespaces.iter().cloned().chain(plan_namespace.map(str::to_owned)).collect();
        all.sort();
        all.dedup();
        Self::Namespaces(all)
    }

    /// As a Lease tells it: `*`, or names with commas.
    pub(super) fn as_annotation(&self) -> String {
        match self {
            Self::Cluster => "*".to_owned(),
            Self::Namespaces(namespaces) => namespaces.join(","),
        }
    }
}

/// What the Lease is called, and how long it holds.
#[derive(Clone, Debug)]
pub struct LeaseOptions {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// How long it holds without being renewed.
    pub duration: Duration,
    /// Who we are: different for every process.
    pub identity: String,
    /// What is watched.
    pub scope: Scope,
}
