//! Sending hours: whether the clock on the wall shows a time at which a campaign may send, and until when that stays so. Pure.
//!
//! The clock on the wall decides, also where it is put forward or back: hours that it leaves out do not exist on that day, and hours
//! that it shows twice are open twice. So nothing is ever sent while the clock shows another time than those that were named.

use std::sync::Arc;

use jiff::{Timestamp, tz::TimeZone};
use serde::{Serialize, Serializer};

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;
/// The next change is within this many days, unless hours are open or shut for good.
const DAYS_MAX: i64 = 8;
/// How many changes are looked at to find when a given time of sending is over.
const CHANGES_MAX: usize = 5_000;

/// A time zone with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    name: Arc<str>,
    rules: TimeZone,
}

impl Zone {
    /// A zone by the name under which it was found.
    #[must_use]
    pub fn new(name: &str, rules: TimeZone) -> Self {
        Self { name: name.into(), rules }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its rules.
    #[must_use]
    pub fn rules(&self) -> &TimeZone {
        &self.rules
    }

    /// A moment by its clock: `08:00 on Mon 2026-12-07 (Europe/Berlin)`.
    #[must_use]
    pub fn words(&self, at_ms: i64) -> String {
        // Rounded up: nothing happens before.
        let minute = at_ms.saturating_add(MINUTE_MS - 1).div_euclid(MINUTE_MS) * MINUTE_MS;
        let shown = timestamp(minute).to_zoned(self.rules.clone()).strftime("%H:%M on %a %Y-%m-%d").to_string();
        format!("{shown} ({})", self.name)
    }

    /// How far its clock is ahead of UTC, milliseconds, and when that changes next.
    fn segment(&self, at_ms: i64) -> (i64, i64) {
        let at = timestamp(at_ms);
        let ahead_ms = i64::from(self.rules.to_offset(at).seconds()) * 1000;
        let next = self.rules.following(at).next().map_or(i64::MAX, |change| change.timestamp().as_millisecond());
        (ahead_ms, next.max(at_ms + 1))
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
    }
}

/// A time, at the end of the calendar where it is beyond it.
fn timestamp(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(if ms < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// Hours of a day, on some days of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Span {
    /// The days on which they begin, Monday first.
    pub days: [bool; 7],
    /// When they begin, minutes after midnight.
    pub from: u16,
    /// When they end, minutes after midnight, up to 1440; on the next day if that is no later than `from`.
    pub to: u16,
}

/// Whether it is within the hours, and until when that stays so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Whether it is within the hours.
    pub is_open: bool,
    /// When that changes, milliseconds.
    pub until_ms: i64,
}

impl Span {
    /// Whether a clock that shows this shows a time within the hours; `wall_ms` as if it were UTC.
    fn covers(&self, wall_ms: i64) -> bool {
        let (day, minute) = (wall_ms.div_euclid(DAY_MS), wall_ms.rem_euclid(DAY_MS) / MINUTE_MS);
        let (from, to) = (i64::from(self.from), i64::from(self.to));
        if from < to {
            return self.begins_on(day) && (from..to).contains(&minute);
        }
        self.begins_on(day) && minute >= from || self.begins_on(day - 1) && minute < to
    }

    /// Whether they begin on this day, counted since 1970.
    fn begins_on(&self, day: i64) -> bool {
        // The first of January 1970 was a Thursday.
        usize::try_from((day + 3).rem_euclid(7)).is_ok_and(|weekday| self.days.get(weekday) == Some(&true))
    }

    /// When a clock that runs on from here first shows a time that is within the hours, or not within them, unlike now.
    fn changes_at(&self, wall_ms: i64) -> Option<i64> {
        let (is_open, today) = (self.covers(wall_ms), wall_ms.div_euclid(DAY_MS));
        let (first, second) = (self.from.min(self.to), self.from.max(self.to));
        let edges =
            (today - 1..=today + DAYS_MAX).flat_map(|day| [first, second].map(|minute| day * DAY_MS + i64::from(minute) * MINUTE_MS));
        edges.into_iter().find(|edge| *edge > wall_ms && self.covers(*edge) != is_open)
    }

    /// Whether it is within the hours by the clock of a zone, and until when.
    #[must_use]
    pub fn look(&self, zone: &Zone, now_ms: i64) -> Moment {
        let (mut at_ms, mut is_open) = (now_ms, None);
        let last_ms = now_ms.saturating_add(DAYS_MAX * DAY_MS);
        loop {
            let (ahead_ms, next_ms) = zone.segment(at_ms);
            let is_open_here = self.covers(at_ms + ahead_ms);
            let was_open = *is_open.get_or_insert(is_open_here);
            // The clock was put forward or back across an end of the hours.
            if was_open != is_open_here {
                return Moment { is_open: was_open, until_ms: at_ms };
            }
            let change = self.changes_at(at_ms + ahead_ms).map_or(i64::MAX, |wall_ms| wall_ms - ahead_ms);
            if change < next_ms {
                return Moment { is_open: was_open, until_ms: change };
            }
            if next_ms > last_ms {
                return Moment { is_open: was_open, until_ms: last_ms };
            }
            at_ms = next_ms;
        }
    }

    /// When the hours are open first, from this time on.
    #[must_use]
    pub fn opens_at(&self, zone: &Zone, from_ms: i64) -> i64 {
        let moment = self.look(zone, from_ms);
        if moment.is_open { from_ms } else { moment.until_ms }
    }

    /// When this much time within the hours is over, milliseconds; `None` where that is years ahead.
    #[must_use]
    pub fn over_at(&self, zone: &Zone, from_ms: i64, length_ms: i64) -> Option<i64> {
        let (mut at_ms, mut left_ms) = (from_ms, length_ms);
        for _ in 0..CHANGES_MAX {
            let moment = self.look(zone, at_ms);
            if moment.is_open {
                let stretch = moment.until_ms - at_ms;
                if left_ms <= stretch {
                    return Some(at_ms + left_ms);
                }
                left_ms -= stretch;
            }
            at_ms = moment.until_ms;
        }
        None
    }
}

/// The hours in which a campaign may send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hours {
    /// The hours.
    pub span: Span,
    /// The zone of whoever has none of their own.
    pub zone: Zone,
    /// The field that holds a recipient's own zone; without one the whole campaign keeps to `zone`.
    pub zone_field: Option<Arc<str>>,
}

impl Hours {
    /// Whether the campaign as a whole may send; `None` if that is judged for each recipient.
    #[must_use]
    pub fn of_all(&self, now_ms: i64) -> Option<Moment> {
        self.zone_field.is_none().then(|| self.span.look(&self.zone, now_ms))
    }
}

/// When a campaign is sent, with its zones looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct When {
    /// When it begins.
    pub start: Option<Start>,
    /// The hours in which it may send.
    pub hours: Option<Arc<Hours>>,
}

/// When a campaign begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// The same for people.
    pub words: String,
}

#[cfg(test)]
mod tests;
