//! Sending hours over a year, minute by minute, compared with what a clock on the wall shows.

use jiff::{Timestamp, civil::Weekday};

use super::*;
use crate::zones::named;

/// 2025-11-24T16:00:00Z.
const START_MS: i64 = 1_764_000_000_000;
const YEAR_MS: i64 = 366 * DAY_MS;
/// Of the northern and the southern half, without summer time, half an hour of it, and where it begins at midnight.
const ZONES: [&str; 6] = ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland", "Australia/Lord_Howe", "Africa/Cairo"];

fn span(days: &str, from: (u16, u16), to: (u16, u16)) -> Span {
    let days: Vec<bool> = days.chars().map(|day| day != '-').collect();
    Span { days: days.try_into().expect("seven"), from: from.0 * 60 + from.1, to: to.0 * 60 + to.1 }
}

fn spans() -> [Span; 7] {
    [
        span("MTWTF--", (8, 0), (18, 0)),
        span("MTWTFSS", (22, 30), (6, 15)),
        span("-----SS", (0, 0), (24, 0)),
        span("----F-S", (23, 0), (0, 0)),
        span("MTWTFSS", (1, 30), (2, 30)),
        span("MTWTFSS", (2, 10), (2, 50)),
        span("M------", (0, 0), (0, 30)),
    ]
}

/// What the clock on the wall says, asked of jiff for each time anew.
fn is_shown(span: &Span, zone: &Zone, at_ms: i64) -> bool {
    let wall = timestamp(at_ms).to_zoned(zone.rules().clone());
    let minute = u16::try_from(wall.hour()).expect("small") * 60 + u16::try_from(wall.minute()).expect("small");
    let is_day = |day: Weekday| span.days[usize::try_from(day.to_monday_zero_offset()).expect("small")];
    if span.from < span.to {
        return is_day(wall.weekday()) && span.from <= minute && minute < span.to;
    }
    is_day(wall.weekday()) && minute >= span.from || is_day(wall.weekday().previous()) && minute < span.to
}

#[test]
fn over_a_year_they_are_open_exactly_while_the_clock_on_the_wall_says_so() {
    for name in ZONES {
        let zone = named(name).expect(name);
        for span in spans() {
            let (mut at_ms, mut changes, mut open_ms) = (START_MS, 0, 0);
            while at_ms < START_MS + YEAR_MS {
                let moment = span.look(&zone, at_ms);
                assert!(moment.until_ms > at_ms);
                let told = format!("{name} {span:?} {} to {}", timestamp(at_ms), timestamp(moment.until_ms));
                // Each half hour, both ends, and the last moment before the change.
                let halves = (at_ms..moment.until_ms).step_by(1_800_000);
                for at in halves.chain([at_ms, moment.until_ms - 1, moment.until_ms - MINUTE_MS]).filter(|at| *at >= at_ms) {
                    assert_eq!(is_shown(&span, &zone, at), moment.is_open, "{told}: {}", timestamp(at));
                }
                assert_ne!(is_shown(&span, &zone, moment.until_ms), moment.is_open, "{told}: nothing changes at its end");
                // Asked in between, it says the same.
                let middle = i64::midpoint(at_ms, moment.until_ms);
                assert_eq!(span.look(&zone, middle), moment, "{told}");
                changes += 1;
                open_ms += if moment.is_open { moment.until_ms - at_ms } else { 0 };
                at_ms = moment.until_ms;
            }
            assert!(changes > 100, "{name} {span:?}: {changes}");
            // Time of sending that is counted is the time for which they are open.
            let over = span.over_at(&zone, START_MS, open_ms).expect("within years");
            assert!((over - at_ms).abs() <= 8 * DAY_MS, "{name} {span:?}");
        }
    }
}

#[test]
fn on_the_days_of_a_change_the_clock_decides() {
    let berlin = named("Europe/Berlin").expect("a zone");
    let at = |text: &str| text.parse::<Timestamp>().expect(text).as_millisecond();
    let look = |span: Span, text: &str| {
        let moment = span.look(&berlin, at(text));
        (moment.is_open, timestamp(moment.until_ms).to_string())
    };
    // On 29 March 2026 the clock goes from 02:00 to 03:00, at 01:00 UTC: hours that begin at 02:30 begin then.
    let early = span("MTWTFSS", (2, 30), (4, 0));
    assert_eq!(look(early, "2026-03-29T00:59:59Z"), (false, "2026-03-29T01:00:00Z".to_owned()));
    assert_eq!(look(early, "2026-03-29T01:00:00Z"), (true, "2026-03-29T02:00:00Z".to_owned()));
    // Those that the clock leaves out do not exist on that day.
    let gone = span("MTWTFSS", (2, 10), (2, 50));
    assert_eq!(look(gone, "2026-03-28T02:00:00Z"), (false, "2026-03-30T00:10:00Z".to_owned()));
    // On 25 October 2026 it goes from 03:00 back to 02:00, at 01:00 UTC: 02:10 to 02:50 comes twice.
    assert_eq!(look(gone, "2026-10-25T00:10:00Z"), (true, "2026-10-25T00:50:00Z".to_owned()));
    assert_eq!(look(gone, "2026-10-25T00:50:00Z"), (false, "2026-10-25T01:10:00Z".to_owned()));
    assert_eq!(look(gone, "2026-10-25T01:10:00Z"), (true, "2026-10-25T01:50:00Z".to_owned()));
    // An ordinary day is an hour shorter or longer in between.
    let day = span("MTWTFSS", (8, 0), (18, 0));
    assert_eq!(look(day, "2026-03-28T17:00:00Z"), (false, "2026-03-29T06:00:00Z".to_owned()));
    assert_eq!(look(day, "2026-10-24T16:00:00Z"), (false, "2026-10-25T07:00:00Z".to_owned()));
    assert_eq!(berlin.words(at("2026-03-29T06:00:00Z")), "08:00 on Sun 2026-03-29 (Europe/Berlin)");
}

#[test]
fn hours_without_an_end_are_looked_at_again() {
    let utc = named("UTC").expect("a zone");
    let always = span("MTWTFSS", (0, 0), (24, 0));
    let moment = always.look(&utc, START_MS);
    assert!(moment.is_open && moment.until_ms == START_MS + DAYS_MAX * DAY_MS, "{moment:?}");
    assert_eq!(always.over_at(&utc, START_MS, 30 * DAY_MS), Some(START_MS + 30 * DAY_MS));
    assert_eq!(always.opens_at(&utc, START_MS), START_MS);
    assert_eq!(span("M------", (0, 0), (0, 30)).over_at(&utc, START_MS, 3_000_000 * DAY_MS), None);
}
