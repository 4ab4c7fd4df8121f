//! Rows of an audience that cannot be used: they are counted, the first are kept, and beyond the campaign's bound reading stops.

use super::{Fed, Feeder};
use crate::{
    ledger::BadRow,
    resources::{Blocker, Reason, bound::grouped},
};

/// The most bad rows that are named; all are counted.
const PROBLEMS_MAX: usize = 1000;
/// The most bad rows that an error message names.
const BAD_ROWS_NAMED: usize = 3;

impl Feeder {
    /// Sends the bad rows, the first time; returns the first of them in words.
    pub(super) fn send_problems(&mut self) -> String {
        // The end of the audience is met again by each request that was made before it was known.
        if let Some(named) = &self.bad_rows_named {
            return named.clone();
        }
        let problems = std::mem::take(&mut self.problems);
        let named =
            listed_with(self.bad_rows, problems.iter().take(BAD_ROWS_NAMED).map(|row| format!("{}: {}", self.unit.at(row.line), row.what)));
        self.send(Fed::Problems(problems));
        self.bad_rows_named.insert(named).clone()
    }

    /// Notes a row that cannot be used.
    pub(super) fn note_bad(&mut self, line: u64, what: String) -> Result<(), Blocker> {
        self.bad_rows += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(BadRow { line, what });
        }
        self.judge_rows()
    }

    /// More rows than the campaign allows cannot be used.
    pub(super) fn judge_rows(&mut self) -> Result<(), Blocker> {
        if self.bad_rows == 0 {
            return Ok(());
        }
        let (bad, max) = (self.bad_rows, self.spec.intent.work.max_bad_rows);
        let all = self.total + self.duplicates + self.not_added + self.excluded_rows + bad;
        if !max.is_exceeded_so_far(bad, all) {
            return Ok(());
        }
        let message = format!(
            "{}: {} of the first {} rows cannot be used, and audience.maxBadRows is {max}: {}. Fix them, or raise audience.maxBadRows; they and the rest are then mailed.",
            self.place(),
            grouped(bad),
            grouped(all),
            self.send_problems()
        );
        Err(Blocker::lasting(Reason::TooManyBadRows, message))
    }
}

/// The first of `count` things in words, and how many more there are.
fn listed_with(count: u64, first: impl Iterator<Item = String>) -> String {
    let first: Vec<String> = first.collect();
    match count.saturating_sub(first.len() as u64) {
        0 => first.join("; "),
        more => format!("{}; and {} more", first.join("; "), grouped(more)),
    }
}
