//! What stands in the way: the reason, the message, and what happens next. Pure.
//!
//! The one type for it, from a server's answer, a file or the ledger up to the condition that people read.

use std::{fmt, time::Duration};

use super::{ConditionType, Reason};

/// Why something cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocker {
    /// The condition's reason.
    pub reason: Reason,
    /// What failed, where, and what to do. Stable: no ports that change, ids or times in it.
    pub message: String,
    /// Whether only a person can fix it (a wrong password, a broken template): the object is `Stalled`. Otherwise it is tried again,
    /// and the object is `Reconciling`.
    pub needs_person: bool,
    /// It is not tried again before, as the other side said or the case demands.
    pub retry_after: Option<Duration>,
}

/// Why a server is out of use for a run of a campaign, until a person acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    /// The condition's reason.
    pub reason: Reason,
    /// The condition's message.
    pub message: String,
    /// The hash of the work that was refused: a change of the spec lifts the bar.
    pub work_hash: u64,
}

impl Blocker {
    /// Something that may pass: it is tried again.
    #[must_use]
    pub fn passing(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), needs_person: false, retry_after: None }
    }

    /// Something that only a person can fix.
    #[must_use]
    pub fn lasting(reason: Reason, message: impl Into<String>) -> Self {
        Self { needs_person: true, ..Self::passing(reason, message) }
    }

    /// The same, when only a person can fix it.
    #[must_use]
    pub fn for_person(self) -> Self {
        Self { needs_person: true, ..self }
    }

    /// The same, not tried again before so long.
    #[must_use]
    pub fn after(self, retry_after: Option<Duration>) -> Self {
        Self { retry_after, ..self }
    }

    /// An error in Mailfleet itself; `doing` says what it was doing, as a gerund: `compiling its templates`.
    #[must_use]
    pub fn internal(reason: Reason, doing: &str) -> Self {
        Self::lasting(reason, format!("Internal error while {doing} (see the log). Please report it."))
    }

    /// The condition that is true while it stands in the way.
    #[must_use]
    pub fn condition(&self) -> ConditionType {
        if self.needs_person { ConditionType::Stalled } else { ConditionType::Reconciling }
    }

    /// Whether a server takes no further connection while others are open.
    #[must_use]
    pub fn is_connection_limit(&self) -> bool {
        self.reason == Reason::TooManyConnections
    }

    /// Whether a server is well and only takes no more for now, by the reason or since it says when to come again: it rests, and
    /// does not count as broken.
    #[must_use]
    pub fn is_pause(&self) -> bool {
        matches!(self.reason, Reason::Throttled | Reason::TooManyConnections | Reason::QuotaExceeded)
            || self.retry_after.is_some() && !self.needs_person
    }
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Blocker {}
