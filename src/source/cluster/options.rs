//! Which namespaces are watched, and under which Lease.

use std::time::Duration;

/// The namespaces that are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All namespaces.
    Cluster,
    /// Only these.
    Namespaces(Vec<String>),
}

impl Scope {
    /// The scope of `--namespace` and `--plan-namespace`: the plans' namespace is always watched.
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

    /// What is watched here and by whoever left this annotation on a Lease, for people; none where nothing is.
    pub(super) fn shared_with(&self, annotation: &str) -> Option<String> {
        // A list that was cut off may have named anything.
        let is_known = annotation != "*" && !annotation.ends_with('…');
        let Self::Namespaces(own) = self else { return Some("this cluster".to_owned()) };
        if !is_known {
            return Some("this cluster".to_owned());
        }
        let both: Vec<&str> = annotation.split(',').filter(|name| own.iter().any(|own| own == name)).collect();
        (!both.is_empty()).then(|| format!("the namespace {}", both.join(", ")))
    }

    /// As annotated on a Lease: `*`, or names separated by commas.
    pub(super) fn as_annotation(&self) -> String {
        match self {
            Self::Cluster => "*".to_owned(),
            Self::Namespaces(namespaces) => namespaces.join(","),
        }
    }
}

/// Name, duration and holder of the Lease.
#[derive(Clone, Debug)]
pub struct LeaseOptions {
    /// Where the Lease is: the same for all processes of one installation.
    pub namespace: String,
    /// The name under which they compete for it.
    pub name: String,
    /// How long it is valid without renewal.
    pub duration: Duration,
    /// Our identity: different for every process.
    pub identity: String,
    /// The watched namespaces, which the Lease is annotated with.
    pub scope: Scope,
}
