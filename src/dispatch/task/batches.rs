//! The traces of batches: claimed in a commit, handed to a server in a call, and their outcomes in a later commit. Empty without a collector.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use super::{CallId, Delivered, Outgoing};
use crate::{
    dispatch::{index::LaneIx, lane::Lane},
    providers::Outcome,
    traces::{Link, Span},
};

/// The calls whose traces are recorded.
#[derive(Default)]
pub(super) struct Batches {
    open: BTreeMap<(LaneIx, CallId), Batch>,
    /// Those whose calls are over, and whose outcomes wait for a commit.
    ended: Vec<Batch>,
    /// Those whose outcomes are in the commit that is under way.
    committing: Vec<Batch>,
    /// When the last commit began, and how long it took.
    claimed: Option<(SystemTime, Duration)>,
}

/// A call that is recorded.
struct Batch {
    key: (LaneIx, CallId),
    /// From the end of the call until its outcomes are durable. It ends before the whole, which is dropped after it.
    outcomes: Span,
    span: Span,
    messages: i64,
    accepted: i64,
    refused: i64,
    failed: i64,
    unknown: i64,
}

impl Drop for Batch {
    fn drop(&mut self) {
        for (name, count) in [
            ("messaging.batch.message_count", self.messages),
            ("mailfleet.accepted", self.accepted),
            ("mailfleet.refused", self.refused),
            ("mailfleet.failed", self.failed),
            ("mailfleet.unknown", self.unknown),
        ] {
            self.span.note(name, count);
        }
    }
}

impl Batches {
    /// A commit is durable: what it claimed is about to be handed over, and outcomes in it are recorded.
    pub(super) fn committed(&mut self, took: Duration) {
        self.claimed = SystemTime::now().checked_sub(took).map(|began| (began, took));
        self.committing.clear();
    }

    /// A commit begins, with every outcome that is known.
    pub(super) fn commits(&mut self) {
        self.committing.append(&mut self.ended);
    }

    /// A commit failed: its outcomes are in the next one.
    pub(super) fn commit_failed(&mut self) {
        self.ended.append(&mut self.committing);
    }

    /// A call begins; returns the span in which the server is asked.
    pub(super) fn begin(&mut self, key: (LaneIx, CallId), lane: Option<&Lane>, batch: &[Outgoing]) -> Span {
        let span = Span::root("batch");
        if !span.is_recorded() {
            return Span::default();
        }
        if let Some((began, took)) = self.claimed {
            span.past("claim", began, took);
        }
        let call = span.call_within("deliver");
        span.note("messaging.operation.type", "send");
        for span in [&span, &call] {
            if let Some(lane) = lane {
                span.note("mailfleet.server", lane.reference.name.to_string());
                span.note("mailfleet.provider", lane.provider);
                span.note("server.address", lane.host.to_string());
            }
        }
        if let Some(first) = batch.first().filter(|first| batch.iter().all(|message| message.run.campaign == first.run.campaign)) {
            span.note("mailfleet.campaign", first.run.campaign.clone());
        }
        let outcomes = Span::default();
        let messages = i64::try_from(batch.len()).unwrap_or(i64::MAX);
        // A call that begins again under its id goes on in a trace of its own.
        self.end(key);
        self.open.insert(key, Batch { key, span, outcomes, messages, accepted: 0, refused: 0, failed: 0, unknown: 0 });
        call
    }

    /// A message goes ahead in a call that is under way.
    pub(super) fn ahead(&mut self, key: (LaneIx, CallId)) {
        if let Some(batch) = self.open.get_mut(&key) {
            batch.messages += 1;
        }
    }

    /// Whether no call is recorded.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// A message of a call has its outcome.
    pub(super) fn note(&mut self, key: (LaneIx, CallId), delivered: &Delivered) {
        let Some(batch) = self.open.get_mut(&key) else { return };
        match delivered.outcome {
            Outcome::Accepted { .. } => batch.accepted += 1,
            Outcome::Refused(_) => batch.refused += 1,
            Outcome::ServerFailed(_) => batch.failed += 1,
            Outcome::Unknown(_) => batch.unknown += 1,
        }
        if let Outcome::ServerFailed(failure) | Outcome::Unknown(failure) = &delivered.outcome {
            batch.span.fail(failure.reason.as_str());
        }
    }

    /// A call is over.
    pub(super) fn end(&mut self, key: (LaneIx, CallId)) {
        let Some(mut batch) = self.open.remove(&key) else { return };
        batch.outcomes = batch.span.part("outcomes");
        self.ended.push(batch);
    }

    /// The trace of a call to this server that is recorded, of those in which a message failed.
    pub(super) fn link(&self, lane: LaneIx) -> Link {
        let mut calls = self.open.iter().filter(|((of, _), batch)| *of == lane && batch.failed + batch.unknown > 0);
        let open = calls.next().map(|(_, batch)| batch.span.link());
        let ended = || self.ended.iter().rev().find(|batch| batch.key.0 == lane).map(|batch| batch.span.link());
        open.or_else(ended).unwrap_or_default()
    }

    /// The sizes of what is kept, by name.
    #[cfg(test)]
    pub(super) fn kept(&self) -> Vec<(&'static str, usize)> {
        let Self { open, ended, committing, claimed: _ } = self;
        vec![("batches", open.len() + ended.len() + committing.len())]
    }
}
