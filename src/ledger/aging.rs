//! What is old is kept in less detail, or no longer.

use super::{book::Book, error::LedgerError, standing};

/// Usage is kept by minute for two days, and by hour for the longest window (31 days) plus an hour.
const USAGE_BY_MINUTE: i64 = 2 * 24 * 60;
const USAGE_KEPT: i64 = 31 * 24 * 60 + 60;
/// Days of servers are kept for five years, in minutes: a warm-up has up to a year of days that count.
const DAYS_KEPT: i64 = 5 * 366 * DAY_MINUTES;
const DAY_MINUTES: i64 = 24 * 60;

impl Book {
    /// Sums up the usage of limits by the hour, and that of servers by the day, and forgets what no limit or warm-up looks at.
    pub(super) fn roll_usage(&mut self, minute: i64) -> Result<(), LedgerError> {
        let by_minute = (minute - USAGE_BY_MINUTE) / 60 * 60;
        self.transaction(|connection| {
            // Of servers, whole days are kept for warm-up, in the day's last minute.
            let by_day = (minute - USAGE_KEPT) / DAY_MINUTES * DAY_MINUTES;
            connection.execute(
                "INSERT INTO usage (minute, key, count) SELECT minute / 1440 * 1440 + 1439, key, CAST(sum(count) AS BIGINT) FROM usage
                 WHERE minute < ?1 AND minute % 1440 <> 1439 AND key NOT LIKE '% %' GROUP BY 1, 2
                 ON CONFLICT (minute, key) DO UPDATE SET count = usage.count + excluded.count",
                [by_day],
            )?;
            connection.execute("DELETE FROM usage WHERE minute < ?1 AND (minute % 1440 <> 1439 OR key LIKE '% %')", [by_day])?;
            connection.execute("DELETE FROM usage WHERE minute < ?1", [minute - DAYS_KEPT])?;
            let kept = (minute - DAYS_KEPT) / DAY_MINUTES * DAY_MINUTES;
            standing::roll(connection, by_day * 60_000, kept * 60_000)?;
            // In the hour's last minute, so that it leaves a window late rather than early.
            connection.execute(
                "INSERT INTO usage (minute, key, count) SELECT minute / 60 * 60 + 59, key, CAST(sum(count) AS BIGINT) FROM usage
                 WHERE minute < ?1 AND minute % 60 <> 59 GROUP BY 1, 2
                 ON CONFLICT (minute, key) DO UPDATE SET count = usage.count + excluded.count",
                [by_minute],
            )?;
            connection.execute("DELETE FROM usage WHERE minute < ?1 AND minute % 60 <> 59", [by_minute])?;
            Ok(())
        })
    }
}
