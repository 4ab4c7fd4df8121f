//! When the control plane is told what, and what is the matter with the ledger.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{Event, LedgerError, Report};

/// The interval between two reports, unless something important happens.
const REPORT_EVERY: Duration = Duration::from_millis(200);
/// Events of many campaigns are collected for this long and reported together.
const REPORT_SOON: Duration = Duration::from_millis(20);

/// The way up.
pub(super) struct Reporting {
    events: mpsc::UnboundedSender<Event>,
    reports: watch::Sender<Arc<Report>>,
    reported_at: Instant,
    /// Whether something happened that is to be reported soon.
    is_wanted: bool,
    /// Why the ledger cannot be used now, if it cannot.
    pub(super) ledger_problem: Option<LedgerError>,
}

impl Reporting {
    pub(super) fn new(events: mpsc::UnboundedSender<Event>, reports: watch::Sender<Arc<Report>>) -> Self {
        Self { events, reports, reported_at: Instant::now(), is_wanted: false, ledger_problem: None }
    }

    /// Something happened that is to be reported soon.
    pub(super) fn want(&mut self) {
        self.is_wanted = true;
    }

    /// Whether enough events were collected, or enough time went by without one.
    pub(super) fn is_due(&self) -> bool {
        self.reported_at.elapsed() >= if self.is_wanted { REPORT_SOON } else { REPORT_EVERY }
    }

    /// How long the task may sleep that has nothing else to do for this time.
    pub(super) fn sleep(&self, at_most: Duration) -> Duration {
        if self.is_wanted { at_most.min(REPORT_SOON) } else { at_most }
    }

    /// Reports; who waits for news is woken only by news.
    pub(super) fn publish(&mut self, report: Report) {
        self.reported_at = Instant::now();
        self.is_wanted = false;
        self.reports.send_if_modified(|old| {
            let changed = **old != report;
            if changed {
                *old = Arc::new(report);
            }
            changed
        });
    }

    /// Tells the control plane at once.
    pub(super) fn raise(&self, event: Event) {
        let _ = self.events.send(event);
    }
}
