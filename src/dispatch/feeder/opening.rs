//! Opens what a feeder reads: the index of recipients, the lists of people who are not mailed, and the audience; and notices when they
//! change.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{Fed, Feeder, FeederEvent, FeederSpec, RecipientIndex, Rows, of_audience, rows::excluded};
use crate::{
    audience::{FileVersion, Version, changed, count_rows},
    people::{Excluded, People, of_ledger},
    resources::Blocker,
};

/// Audiences that are counted ahead at a time.
static COUNTS: Semaphore = Semaphore::const_new(1);

/// Counts the rows of an audience whose people are not excluded; `None` where that is not known.
fn count(people: &People, excluded: Option<&Excluded>, runtime: &tokio::runtime::Handle) -> Option<u64> {
    // A row that cannot be looked up stops the reading, which says so.
    count_rows(&people.input, excluded.map(|excluded| move |address: &str| excluded.has(address).unwrap_or(false)), runtime)
}

impl Feeder {
    pub(super) fn open(&mut self) -> Result<(RecipientIndex, Option<Rows>), Blocker> {
        let seen = self.ledger.recipient_index(self.spec.run_id).map_err(|e| of_ledger(&e))?;
        self.versions = self.spec.people.versions();
        let FeederSpec { key, intent, people, template, .. } = &self.spec;
        self.excluded = excluded(key, &people.exclude, &self.ledger, &self.runtime).map_err(of_audience)?.map(Arc::new);
        let rows = Rows::open(key, &people.input, intent.work.outcomes.as_ref(), &self.ledger, &self.runtime).map_err(of_audience)?;
        self.unit = rows.unit().clone();
        if let (Some(version), Some(of_audience)) = (rows.version(), self.versions.first_mut()) {
            *of_audience = Some(Version::File(version));
        }
        rows.check_fields(&people.input, template, intent.hours.as_ref().and_then(|hours| hours.zone_field.as_deref()))?;
        if intent.work.outcomes.is_none() {
            self.count();
        }
        Ok((seen, Some(rows)))
    }

    /// Has the rows of the audience counted beside the reading, without those of people who are excluded, so that the total is known
    /// long before the end.
    fn count(&self) {
        let (people, events, runtime) = (self.spec.people.clone(), self.events.clone(), self.runtime.clone());
        let excluded = self.excluded.clone();
        let (campaign, feeder_epoch) = (self.spec.campaign, self.spec.feeder_epoch);
        self.runtime.spawn(async move {
            // The permits are never closed.
            let _permit = COUNTS.acquire().await;
            if let Ok(Some(rows)) = tokio::task::spawn_blocking(move || count(&people, excluded.as_deref(), &runtime)).await {
                // A closed channel means that the process is going down.
                let _ = events.send(FeederEvent { campaign, feeder_epoch, fed: Fed::Counted(rows) });
            }
        });
    }

    /// Checks that the files are still those that are, or were, read.
    pub(super) fn check_version(&self) -> Result<(), Blocker> {
        match self.spec.people.input.file() {
            Some(file) if FileVersion::of(file).map(Version::File).as_ref() != self.versions.first().and_then(Option::as_ref) => {
                Err(of_audience(changed(file.name().display())))
            }
            _ => self.check_lists(),
        }
    }

    /// Checks the lists of people who are not mailed.
    pub(super) fn check_lists(&self) -> Result<(), Blocker> {
        match self.excluded.as_ref().and_then(|excluded| excluded.changed()) {
            Some(name) => Err(of_audience(changed(name))),
            None => Ok(()),
        }
    }
}
