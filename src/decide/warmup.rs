//! Warm-up: the limit of a new server, today and on the days ahead. Pure.
//!
//! A day of the schedule is left behind by a UTC day on which most of its limit was sent, and that nothing held back. So the step of
//! today follows from the spec and from what the ledger says was sent on each day, and from nothing else: after a restart, and with a
//! restored ledger, it is the same.

use std::collections::BTreeSet;

use jiff::{Span, Timestamp, civil::Date, tz::TimeZone};

use crate::{
    report::DayUsed,
    resources::sending_server::{Advance, ExponentialWarmup, Warmup, WarmupDay, WarmupPreset, WarmupStatus},
};

/// A day counts when this share of its limit was sent, percent.
const COUNTS_AT_PERCENT: u64 = 80;
/// The most days of a schedule; a growth so small that it takes longer ends there.
const STEPS_MAX: usize = 3_660;
/// Days ahead that a status shows.
const AHEAD_MAX: usize = 30;

/// The days from which on AcelleMail's advice for new servers has these limits, from 1
/// (<https://acellemail.com/kb/articles/ip-warmup-schedule-for-new-sending-servers>).
const BALANCED: [(u32, u64); 9] =
    [(1, 1_000), (2, 2_000), (3, 4_000), (4, 8_000), (7, 15_000), (10, 25_000), (14, 50_000), (21, 100_000), (30, 250_000)];
/// 50,000 a day within 45 days (<https://docs.aws.amazon.com/ses/latest/dg/dedicated-ip-warming.html>).
const CAUTIOUS: ExponentialWarmup = ExponentialWarmup { first_day: 50, growth_percent: 17, target: 50_000 };
/// 20 an hour on the first day and 1.4 times as much on each further one, for whole days
/// (<https://www.twilio.com/docs/sendgrid/concepts/reputation/warm-up-ip-addresses>).
const FAST: ExponentialWarmup = ExponentialWarmup { first_day: 20 * 24, growth_percent: 40, target: 10_000_000 };

/// Where a warm-up is on some day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The limits of the schedule's days; warm-up ends after the last one.
    steps: Vec<u64>,
    /// The index of the one that holds today; their number once it is over.
    step: usize,
    today: Date,
    /// When the first step may be left behind: today, or the first day if that is later.
    first: Date,
    /// Days since the first one that did not count.
    not_counted: u32,
}

impl Progress {
    /// Where it is on the day of this time, given what was sent on the days before, and on which of them too much came back. Before the first day, the limit of the first day
    /// applies.
    #[must_use]
    pub fn of(warmup: &Warmup, history: &[DayUsed], held: &BTreeSet<i64>, now_ms: i64) -> Self {
        let today = Timestamp::from_millisecond(now_ms).unwrap_or_default().to_zoned(TimeZone::UTC).date();
        let steps = steps(warmup);
        let begun = usize::try_from(days_between(warmup.start_date, today)).unwrap_or(0);
        let step = match warmup.advance() {
            Advance::Daily => begun.min(steps.len()),
            Advance::WhenUsed => counted(&steps, warmup.start_date, today, (history, held)),
        };
        let not_counted = u32::try_from(begun.saturating_sub(step)).unwrap_or(u32::MAX);
        Self { steps, step, today, first: today.max(warmup.start_date), not_counted }
    }

    /// Today's limit; `None` once warm-up is over.
    #[must_use]
    pub fn limit(&self) -> Option<u64> {
        self.steps.get(self.step).copied()
    }

    /// The limits of the days ahead, from tomorrow on, if each of them counts; nothing limits afterwards.
    pub fn ahead(&self) -> impl Iterator<Item = WarmupDay> + '_ {
        let days = self.steps.iter().skip(self.step + 1).zip(1_i64..);
        days.filter_map(|(limit, after)| Some(WarmupDay { day: later(self.first, after)?, limit: *limit }))
    }

    /// For status; `None` once it is over.
    #[must_use]
    pub fn status(&self, left: Option<u64>) -> Option<WarmupStatus> {
        let limit = self.limit()?;
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Some(WarmupStatus {
            step: number(self.step + 1),
            steps: number(self.steps.len()),
            limit,
            used: left.map(|left| limit.saturating_sub(left)),
            needed: needed(limit),
            days_not_counted: self.not_counted,
            ahead: self.ahead().take(AHEAD_MAX).collect(),
            over_on: later(self.first, i64::try_from(self.steps.len() - self.step).unwrap_or(i64::MAX)).unwrap_or(Date::MAX),
        })
    }
}

/// The messages after which a day with this limit counts.
fn needed(limit: u64) -> u64 {
    limit.saturating_mul(COUNTS_AT_PERCENT).div_ceil(100)
}

/// How many days counted from the first one to yesterday.
fn counted(steps: &[u64], first: Date, today: Date, (history, held): (&[DayUsed], &BTreeSet<i64>)) -> usize {
    let mut step = 0;
    for day in history {
        let is_of_warmup = date_of(day.day).is_some_and(|date| date >= first && date < today);
        let Some(limit) = steps.get(step).filter(|_| is_of_warmup) else { continue };
        if !held.contains(&day.day) && day.messages >= needed(*limit) {
            step += 1;
        }
    }
    step
}

/// The limits of all days.
fn steps(warmup: &Warmup) -> Vec<u64> {
    if let Some(schedule) = &warmup.schedule {
        return schedule.clone();
    }
    if let Some(linear) = &warmup.linear {
        let limits = (0..STEPS_MAX as u64).map(|day| linear.first_day.saturating_add(linear.daily_increase.saturating_mul(day)));
        return limits.take_while(|limit| *limit < linear.target).collect();
    }
    if let Some(exponential) = &warmup.exponential {
        return growing(exponential);
    }
    match warmup.preset {
        Some(WarmupPreset::Cautious) => growing(&CAUTIOUS),
        Some(WarmupPreset::Balanced) => {
            let last = BALANCED.last().map_or(0, |(day, _)| *day);
            let limit = |day: u32| BALANCED.iter().rev().find(|(from, _)| *from <= day).map_or(0, |(_, limit)| *limit);
            (1..=last).map(limit).collect()
        }
        Some(WarmupPreset::Fast) => growing(&FAST),
        None => Vec::new(),
    }
}

/// The limits of an exponential warm-up.
fn growing(ExponentialWarmup { first_day, growth_percent, target }: &ExponentialWarmup) -> Vec<u64> {
    // Rounded up, so that even a small start grows.
    let grown = |limit: &u128| Some((limit * (100 + u128::from(*growth_percent))).div_ceil(100));
    let limits = std::iter::successors(Some(u128::from(*first_day)), grown).take_while(|limit| *limit < u128::from(*target));
    limits.take(STEPS_MAX).filter_map(|limit| u64::try_from(limit).ok()).collect()
}

fn date_of(day: i64) -> Option<Date> {
    later(Date::constant(1970, 1, 1), day)
}

fn later(date: Date, days: i64) -> Option<Date> {
    date.checked_add(Span::new().try_days(days).ok()?).ok()
}

fn days_between(from: Date, to: Date) -> i64 {
    from.until(to).map_or(0, |span| i64::from(span.get_days()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warmup(yaml: &str) -> Warmup {
        serde_saphyr::from_str(&format!("startDate: 2026-12-01\n{yaml}")).expect(yaml)
    }

    /// The number of a day since 1970, `after` days after the first.
    fn day(after: i64) -> i64 {
        days_between(Date::constant(1970, 1, 1), Date::constant(2026, 12, 1)) + after
    }

    fn at(after: i64) -> i64 {
        day(after) * 86_400_000 + 3_600_000
    }

    fn used(days: &[(i64, u64)]) -> Vec<DayUsed> {
        days.iter().map(|(after, messages)| DayUsed { day: day(*after), messages: *messages }).collect()
    }

    #[test]
    fn every_schedule_grows_from_its_first_day_to_its_end() {
        let cases = [
            (
                "exponential: {firstDay: 50, growthPercent: 30, target: 200}",
                vec![Some(50), Some(65), Some(85), Some(111), Some(145), Some(189), None, None],
            ),
            ("linear: {firstDay: 50, dailyIncrease: 50, target: 200}", vec![Some(50), Some(100), Some(150), None, None]),
            ("schedule: [10, 20, 0]", vec![Some(10), Some(20), Some(0), None]),
        ];
        for (yaml, limits) in cases {
            let warmup = warmup(&format!("advance: Daily\n{yaml}"));
            for (after, limit) in (0_i64..).zip(limits) {
                assert_eq!(Progress::of(&warmup, &[], &BTreeSet::new(), at(after)).limit(), limit, "{yaml} on day {after}");
            }
            let before = Progress::of(&warmup, &[], &BTreeSet::new(), at(-1));
            assert_eq!(before.limit(), Progress::of(&warmup, &[], &BTreeSet::new(), at(0)).limit(), "{yaml} before it starts");
        }
    }

    #[test]
    fn presets_meet_their_sources() {
        let of = |preset: &str| steps(&warmup(&format!("preset: {preset}")));
        let balanced = of("Balanced");
        assert_eq!((balanced.len(), balanced[3], balanced[5], balanced[6], balanced[29]), (30, 8_000, 8_000, 15_000, 250_000));
        // SendGrid's table, for hours: 20 × 1.4^day. Days 1, 10, 20 and 25 of it are 28, 579, 16,734 and 89,998.
        let fast = of("Fast");
        for (day, hourly) in [(0, 20), (1, 28), (10, 579), (20, 16_734), (25, 89_998)] {
            assert!(fast[day].abs_diff(hourly * 24) * 1000 <= hourly * 24 * 5, "day {day}: {} of {}", fast[day], hourly * 24);
        }
        assert_eq!(fast.len(), 30);
        // SES: within 45 days.
        let cautious = of("Cautious");
        assert!((40..=45).contains(&cautious.len()), "{}", cautious.len());
        assert!(cautious.last().is_some_and(|last| (40_000..50_000).contains(last)));
    }

    #[test]
    fn only_a_day_that_was_used_and_not_held_counts() {
        let warmup = warmup("schedule: [100, 200, 400]");
        let limit = |history: &[DayUsed], after| Progress::of(&warmup, history, &BTreeSet::new(), at(after)).limit();
        assert_eq!(limit(&[], 9), Some(100), "nothing was sent");
        assert_eq!(limit(&used(&[(0, 79)]), 1), Some(100));
        assert_eq!(limit(&used(&[(0, 80)]), 1), Some(200));
        assert_eq!(limit(&used(&[(0, 80)]), 0), Some(100), "today does not count before it is over");
        assert_eq!(limit(&used(&[(-3, 80)]), 1), Some(100), "before the first day");
        // A day between without enough, and none at all: the step holds, and is not lost.
        assert_eq!(limit(&used(&[(0, 100), (1, 100), (4, 160)]), 5), Some(400));
        assert_eq!(limit(&used(&[(0, 100), (4, 160), (5, 320)]), 6), None, "it is over");
        let held = Progress::of(&warmup, &used(&[(0, 100), (1, 200)]), &BTreeSet::from([day(0)]), at(2));
        assert_eq!(held.limit(), Some(200), "the second day made up for the first");
    }

    #[test]
    fn a_status_says_where_it_is_and_what_comes() {
        let warmup = warmup("schedule: [100, 200, 400]");
        let progress = Progress::of(&warmup, &used(&[(0, 100)]), &BTreeSet::new(), at(2));
        let status = progress.status(Some(150)).expect("it goes on");
        assert_eq!((status.step, status.steps, status.limit, status.used, status.needed), (2, 3, 200, Some(50), 160));
        assert_eq!((status.days_not_counted, status.over_on.to_string()), (1, "2026-12-05".to_owned()));
        let ahead: Vec<_> = status.ahead.iter().map(|day| (day.day.to_string(), day.limit)).collect();
        assert_eq!(ahead, [("2026-12-04".to_owned(), 400)]);
        let early = Progress::of(&warmup, &[], &BTreeSet::new(), at(-5)).status(None).expect("it is ahead");
        assert_eq!((early.step, early.ahead[0].day.to_string()), (1, "2026-12-02".to_owned()));
        assert_eq!(Progress::of(&warmup, &used(&[(0, 100), (1, 200), (2, 400)]), &BTreeSet::new(), at(3)).status(None), None);
    }
}
