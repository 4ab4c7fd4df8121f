//! How a server does by what comes back, and the pauses that follow: facts of the ledger. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::Judged;
use crate::meta::{Key, Reason};

/// What is known of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// What came of the messages that it was given within the window, by the namespace of their campaigns, each from when the last
    /// pause of it, or of the whole server, ended.
    pub results: BTreeMap<Arc<str>, Judged>,
    /// The pauses that hold now.
    pub pauses: Vec<Pause>,
    /// The last pause of the whole server ended by itself, and no person has said since that all is well.
    pub returned: Option<Returned>,
    /// What came of the messages of each UTC day, counted since 1970, for warm-up.
    pub days: BTreeMap<i64, Judged>,
    /// UTC days on which a pause of the whole server began.
    pub paused_on: BTreeSet<i64>,
}

/// A server that is not used, or not by one namespace, because too much came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// The namespace whose campaigns are not sent through it; all when absent.
    pub namespace: Option<Arc<str>>,
    /// Bounces or complaints.
    pub reason: Reason,
    /// The figures, what they mean and what to do, in words.
    pub message: String,
    /// When it ends by itself, milliseconds since 1970; not when absent.
    pub ends_at_ms: Option<i64>,
}

/// A server that is used again without a person's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Returned {
    /// Since when, milliseconds since 1970.
    pub at_ms: i64,
    /// Messages accepted or rejected since.
    pub taken: u64,
}

/// Something that changes about pauses, to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PauseChange {
    /// The server that is paused, as a whole or for one namespace.
    pub server: Key,
    /// Whether it begins or ends, and how.
    pub what: Change,
}

/// What changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A pause begins.
    Begins(Pause),
    /// The pauses of the server whose time has come end by themselves.
    End,
    /// A person ends all pauses of the server, or those of one namespace.
    Resumes {
        /// The request, which is carried out once.
        token: String,
        /// The namespace; all when absent.
        namespace: Option<String>,
    },
}

impl Standing {
    /// The pause of the whole server.
    #[must_use]
    pub fn whole(&self) -> Option<&Pause> {
        self.pauses.iter().find(|pause| pause.namespace.is_none())
    }

    /// The pause of one namespace.
    #[must_use]
    pub fn of_namespace(&self, namespace: &str) -> Option<&Pause> {
        self.pauses.iter().find(|pause| pause.namespace.as_deref() == Some(namespace))
    }

    /// What came of the messages of all namespaces that are not paused.
    #[must_use]
    pub fn of_all(&self) -> Judged {
        let open = self.results.iter().filter(|(namespace, _)| self.of_namespace(namespace).is_none());
        open.fold(Judged::default(), |sum, (_, judged)| sum.plus(*judged))
    }
}
