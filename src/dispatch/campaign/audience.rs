//! How far a run has read its audience. Pure.

use crate::report::{Expected, WithoutVariant, WithoutZone};

/// What is known of the audience beside the recipients who were found in it.
#[derive(Clone, Debug, Default)]
pub struct AudienceProgress {
    /// Whether the feeder has read the whole of it.
    pub is_read: bool,
    /// Its rows, once they are counted.
    rows: Option<u64>,
    /// Its recipients, estimated from what was read of it.
    estimate: Option<u64>,
    /// Rows read so far that bring nobody: bad ones and duplicates.
    useless: u64,
    /// Of those that were read, recipients who are not in the sample of the rollout's step.
    pub outside: u64,
    /// Rows that were added after completion; `None` until they are counted.
    pub added_later: Option<u64>,
    /// The first unusable rows, in words.
    pub bad_rows_named: String,
    /// Who has no time zone of their own, where each should have one.
    pub without_zone: Option<WithoutZone>,
    /// Whose value matches no variant of the content.
    pub without_variant: Option<WithoutVariant>,
}

impl AudienceProgress {
    /// The feeder got on.
    pub fn progress(&mut self, estimate: Option<u64>, useless: u64) {
        (self.estimate, self.useless) = (estimate, useless);
    }

    /// All rows are counted.
    pub fn counted(&mut self, rows: u64) {
        self.rows = Some(rows);
    }

    /// It was read to its end; who has no zone, and whose value matches no variant.
    pub fn ended(&mut self, outside: u64, bad_rows_named: String, (zone, variant): (Option<WithoutZone>, Option<WithoutVariant>)) {
        self.is_read = true;
        self.outside = outside;
        self.bad_rows_named = bad_rows_named;
        (self.without_zone, self.without_variant) = (zone, variant);
    }

    /// The number of recipients that it should have, while it is being read.
    #[must_use]
    pub fn expected(&self) -> Option<Expected> {
        let counted = self.rows.map(|rows| (rows.saturating_sub(self.useless), false));
        let (recipients, is_estimate) = counted.or(self.estimate.map(|estimate| (estimate, true)))?;
        Some(Expected { recipients, is_estimate })
    }
}
