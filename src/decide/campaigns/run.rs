//! What is known about the run that a campaign names. Pure.
//!
//! From the data plane once it has opened the run, otherwise from the ledger, otherwise from the status that was last written.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    decide::{CampaignInput, InLedger, Recorded},
    report::{CampaignReport, Expected, Phase},
    resources::{
        Key,
        campaign::{CampaignStatus, RecipientCounts},
        resume::{Handled, Resume},
    },
};

/// What is known about a run.
pub(super) struct Run<'a> {
    /// The data plane's report of it.
    pub report: Option<&'a CampaignReport>,
    /// The same once the ledger has answered it: before, it knows no counts.
    pub opened: Option<&'a CampaignReport>,
    /// How it ended, for a closed run.
    recorded: Option<&'a Recorded>,
    /// Its status that was last written.
    pub previous: Option<&'a CampaignStatus>,
    /// Whether the ledger has a record of it.
    pub has_begun: bool,
    /// Whether anybody may have been mailed.
    pub has_sent: bool,
    /// Whether every recipient has a final outcome, and `spec.reopen` does not ask for more.
    pub is_closed: bool,
    /// A request to resume it that is not carried out yet.
    pub resume: Option<Resume>,
    /// Why that request cannot be understood.
    pub resume_fault: Option<String>,
    /// Requests to resume that were carried out.
    pub handled: Handled,
}

impl<'a> Run<'a> {
    /// What is known about the run that the spec names.
    pub fn of(input: &'a CampaignInput, report: Option<&'a CampaignReport>) -> Self {
        let run = input.object.spec.run();
        let report = report.filter(|report| report.run == run);
        // The data plane knows best about a run that it has opened: a closed run may have been resumed.
        let opened = report.filter(|report| report.phase != Phase::Opening);
        let reopened = opened.map_or(input.reopened, |report| report.reopen);
        let handled = opened.map_or_else(|| input.resume_handled.clone(), |report| report.resume_handled.clone());
        let (resume, resume_fault) = match input.resume.as_deref().map(Resume::parse) {
            Some(Ok(resume)) => (Some(resume).filter(|resume| !handled.has(&resume.token)), None),
            Some(Err(fault)) => (None, Some(fault)),
            None => (None, None),
        };
        Self {
            report,
            opened,
            recorded: input.recorded.as_ref(),
            previous: input.previous.as_deref().filter(|previous| previous.run == run),
            has_begun: matches!(input.in_ledger, InLedger::Begun | InLedger::Closed)
                || report.is_some_and(|report| report.started_ms.is_some()),
            has_sent: input.has_sent || opened.is_some_and(|report| report.has_sent),
            is_closed: opened.map_or(input.in_ledger == InLedger::Closed, |report| report.phase == Phase::Closed)
                && input.object.spec.reopen() <= reopened,
            resume,
            resume_fault,
            handled,
        }
    }

    /// Recipients by fate, according to the data plane or the ledger.
    pub fn counts(&self) -> Option<&'a RecipientCounts> {
        self.opened.map(|report| &report.counts).or(self.recorded.map(|recorded| &recorded.counts))
    }

    /// The same, or those of the last status if neither knows them. Of a run that the data plane does not have, nothing is in flight,
    /// whatever the last status said.
    pub fn recipients(&self) -> RecipientCounts {
        let of_status = || self.previous.map(|previous| RecipientCounts { sending: 0, ..previous.recipients.clone() });
        self.counts().cloned().or_else(of_status).unwrap_or_default()
    }

    /// How many recipients the audience should have, before it has been read to its end.
    pub fn expected(&self) -> Option<Expected> {
        self.opened.and_then(|report| report.expected).filter(|_| self.recipients().total.is_none())
    }

    /// Recipients without a final outcome; `None` while the size of the audience is not known.
    pub fn left(&self) -> Option<u64> {
        let counts = self.recipients();
        let total = counts.total.or(self.expected().map(|expected| expected.recipients))?;
        Some(total.saturating_sub(counts.ended()))
    }

    /// Messages that each server accepted.
    pub fn accepted(&self) -> Option<&'a BTreeMap<Key, u64>> {
        self.opened.map(|report| &report.accepted).or(self.recorded.map(|recorded| &recorded.accepted))
    }

    /// When it began, milliseconds.
    pub fn started_ms(&self) -> Option<i64> {
        self.opened.and_then(|report| report.started_ms).or(self.recorded.map(|recorded| recorded.started_ms))
    }

    /// When it began, for status.
    pub fn started_at(&self) -> Option<Timestamp> {
        whole_second(self.started_ms()).or(self.previous.and_then(|previous| previous.started_at))
    }

    /// When every recipient had a final outcome, for status.
    pub fn completed_at(&self) -> Option<Timestamp> {
        let of_report = self.opened.and_then(|report| report.completed_ms);
        let completed_ms = of_report.or(self.recorded.and_then(|recorded| recorded.closed_ms));
        whole_second(completed_ms).or(self.previous.and_then(|previous| previous.completed_at))
    }

    /// Rows that were added to the audience after completion; `None` until they are counted.
    pub fn added_later(&self) -> Option<u64> {
        self.report.and_then(|report| report.added_later)
    }
}

fn whole_second(ms: Option<i64>) -> Option<Timestamp> {
    ms.and_then(|ms| Timestamp::from_millisecond(ms - ms.rem_euclid(1000)).ok())
}
