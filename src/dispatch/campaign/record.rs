//! What the ledger keeps about a run beside its recipients, and what it is being asked to change. Pure.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    feedback::MessageReference,
    ledger::HeldMessage,
    resources::{Bar, campaign::RecipientCounts, resume::Handled, rollout::Reached},
};

/// What the ledger knew about the run when it was opened.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    /// Recipients by fate.
    pub counts: RecipientCounts,
    /// Messages that each server accepted, by the server's name.
    pub accepted: BTreeMap<Arc<str>, u64>,
    /// When the run began, milliseconds.
    pub started_ms: i64,
    /// When it was closed, milliseconds.
    pub closed_ms: Option<i64>,
    /// When the next deferred message is due, milliseconds.
    pub next_due_ms: Option<i64>,
    /// The run was closed and then resumed: no recipients are added.
    pub is_reopened: bool,
    /// The requests to resume that were carried out.
    pub resume_handled: Handled,
    /// Servers that are out of use for it, by name.
    pub bars: BTreeMap<Arc<str>, Bar>,
    /// The messages that are held.
    pub held: Vec<HeldMessage>,
    /// Claims that an earlier process left without an outcome: they may have been written as late as now.
    pub left: u64,
    /// How often it was reopened on purpose.
    pub reopen: u64,
    /// Whether a message of it may have left.
    pub has_sent: bool,
    /// How far its rollout has come.
    pub rollout: Option<Reached>,
    /// The run's number in the ledger, for references to its messages; absent if it is too large for one.
    pub number: Option<u32>,
}

/// The run in the ledger.
#[derive(Clone, Debug, Default)]
pub struct RecordState {
    /// The run's number, once it is open.
    number: Option<u32>,
    /// When the run began, milliseconds.
    pub started_ms: Option<i64>,
    /// When every recipient had a final outcome, milliseconds.
    pub completed_ms: Option<i64>,
    /// How often it was reopened on purpose.
    pub reopen: u64,
    /// The run was closed and then resumed: no recipients are added.
    pub is_reopened: bool,
    /// Whether a message of it may have left; what is in flight is not counted here.
    pub has_sent: bool,
    /// The requests to resume that were carried out.
    pub resume_handled: Handled,
    /// How far its rollout has come; `None` for a run without one.
    pub rollout: Option<Reached>,
    /// The ledger is being asked to resume it.
    pub is_resuming: bool,
    /// The ledger is being asked to change its rollout.
    pub is_stepping: bool,
    /// The ledger is being asked to close it.
    pub is_closing: bool,
}

impl RecordState {
    /// Adopts what the ledger knows.
    pub fn adopt(&mut self, opened: &Opened) {
        self.number = opened.number;
        self.started_ms = Some(opened.started_ms);
        self.completed_ms = opened.closed_ms;
        self.reopen = opened.reopen;
        self.is_reopened = opened.is_reopened;
        self.has_sent = opened.has_sent;
        self.resume_handled = opened.resume_handled.clone();
        self.rollout.clone_from(&opened.rollout);
    }

    /// It is closed, and was reopened `reopen` times.
    pub fn closed(&mut self, reopen: u64, now_ms: i64) {
        self.is_closing = false;
        self.completed_ms = Some(now_ms);
        self.reopen = self.reopen.max(reopen);
    }

    /// A resumption opened it again after it was closed.
    pub fn reopened(&mut self) {
        self.is_reopened = true;
        self.completed_ms = None;
    }

    /// Whether a step of its rollout is under way that was not sent to its end.
    #[must_use]
    pub fn is_within_step(&self) -> bool {
        self.rollout.as_ref().is_some_and(|reached| !reached.is_all() && reached.sent_ms.is_none())
    }

    /// The row of a message in the ledger with this identity.
    #[must_use]
    pub fn reference(&self, ledger: u32, seq: u64) -> Option<MessageReference> {
        Some(MessageReference { ledger, run: self.number?, partition: 0, seq: u32::try_from(seq).ok()? })
    }
}
