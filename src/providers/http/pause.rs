//! How long a vendor asks us to wait, in the forms that vendors use. Pure.

use std::time::Duration;

use jiff::{Timestamp, civil::DateTime, fmt::strtime, tz::TimeZone};

/// The longest pause that a vendor may ask for.
const MAX: Duration = Duration::from_secs(24 * 3600);

/// A pause of whole seconds, a day at most.
#[must_use]
pub fn of_seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds).min(MAX)
}

/// `Retry-After` (RFC 9110, 10.2.3): seconds, or a date in one of HTTP's three forms. None for what is neither, is past or is
/// zero.
#[must_use]
pub fn of_retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    of_number(value).or_else(|| until(http_date(value).or_else(|| value.parse().ok())?, now))
}

/// When a limit resets, as vendors' headers say it: seconds from now, seconds or milliseconds since 1970, or a
/// date.
#[must_use]
pub fn of_reset(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    match value.parse::<i64>() {
        Ok(millis) if millis >= 100_000_000_000 => until(Timestamp::from_millisecond(millis).ok()?, now),
        Ok(seconds) if seconds >= 1_000_000_000 => until(Timestamp::from_second(seconds).ok()?, now),
        _ => of_retry_after(value, now),
    }
}

/// A pause in milliseconds.
#[must_use]
pub fn of_millis(value: &str) -> Option<Duration> {
    value.trim().parse().ok().filter(|millis| *millis > 0).map(|millis| Duration::from_millis(millis).min(MAX))
}

/// A pause asked for in prose: `try again after 120 seconds`, `Retry after 2026-11-25T10:00:00.000Z`, `wait 5 minutes`.
#[must_use]
pub fn in_words(words: &str, now: Timestamp) -> Option<Duration> {
    const BEFORE: [&str; 6] = ["retry after ", "again after ", "again in ", "retry in ", "wait for ", "wait "];
    let lower = words.to_ascii_lowercase();
    let rest = BEFORE.iter().find_map(|before| lower.find(before).map(|at| &words[at + before.len()..]))?;
    let mut parts = rest.split_whitespace().map(|part| part.trim_end_matches(['.', ',', ';', ')', '!']));
    let first = parts.next()?;
    if let Ok(date) = first.to_ascii_uppercase().parse::<Timestamp>() {
        return until(date, now);
    }
    let digits = first.find(|c: char| !c.is_ascii_digit()).unwrap_or(first.len());
    let number: u64 = first[..digits].parse().ok()?;
    let unit = if digits < first.len() { &first[digits..] } else { parts.next().unwrap_or_default() };
    let millis = match unit.to_ascii_lowercase().as_str() {
        "ms" | "millisecond" | "milliseconds" => 1,
        "" | "s" | "sec" | "secs" | "second" | "seconds" => 1000,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000,
        "h" | "hour" | "hours" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.saturating_mul(millis)).min(MAX)).filter(|pause| !pause.is_zero())
}

/// Seconds; some vendors send fractions.
fn of_number(value: &str) -> Option<Duration> {
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds: f64 = if is_number { value.parse().ok()? } else { return None };
    Duration::try_from_secs_f64(seconds.ceil()).ok().or(Some(MAX)).map(|pause| pause.min(MAX)).filter(|pause| !pause.is_zero())
}

fn until(date: Timestamp, now: Timestamp) -> Option<Duration> {
    let pause: Duration = date.duration_since(now).try_into().ok()?;
    // Rounded up: within the last fraction of a second a request would be early.
    let pause = if pause.subsec_nanos() > 0 { Duration::from_secs(pause.as_secs() + 1) } else { pause };
    Some(pause.min(MAX)).filter(|pause| !pause.is_zero())
}

/// A date in one of the forms of RFC 9110, 5.6.7: IMF-fixdate, RFC 850, or C's asctime.
fn http_date(value: &str) -> Option<Timestamp> {
    if let Ok(date) = jiff::fmt::rfc2822::parse(value) {
        return Some(date.timestamp());
    }
    let in_form = |form: &str| strtime::parse(form, value).ok()?.to_datetime().ok();
    let date: DateTime = in_form("%A, %d-%b-%y %H:%M:%S GMT").or_else(|| in_form("%a %b %e %H:%M:%S %Y"))?;
    Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-28T10:00:00Z".parse().expect("a time")
    }

    fn seconds(pause: Option<Duration>) -> Option<u64> {
        pause.map(|pause| pause.as_secs())
    }

    #[test]
    fn a_pause_is_read_in_every_form_and_garbage_is_none() {
        for (value, wanted) in [
            ("8", Some(8)),
            (" 120 ", Some(120)),
            ("1.2", Some(2)),
            ("0", None),
            ("-5", None),
            ("soon", None),
            ("", None),
            ("1e9", None),
            ("NaN", None),
            ("99999999999999999999", Some(86400)),
            ("Sat, 28 Nov 2026 10:00:08 GMT", Some(8)),
            ("Saturday, 28-Nov-26 10:01:00 GMT", Some(60)),
            ("Sat Nov 28 10:00:30 2026", Some(30)),
            ("Sat, 28 Nov 2026 09:00:00 GMT", None),
            ("Mon, 30 Nov 2026 10:00:00 GMT", Some(86400)),
            ("2026-11-28T10:00:07Z", Some(7)),
        ] {
            assert_eq!(seconds(of_retry_after(value, now())), wanted, "{value}");
        }
        let unix = now().as_second();
        for (value, wanted) in [
            ((unix + 9).to_string(), Some(9)),
            (((unix + 9) * 1000 + 1).to_string(), Some(10)),
            ((unix - 9).to_string(), None),
            ("33".to_owned(), Some(33)),
            ("-33".to_owned(), None),
            (i64::MAX.to_string(), None),
            ("2026-11-28T10:00:07Z".to_owned(), Some(7)),
        ] {
            assert_eq!(seconds(of_reset(&value, now())), wanted, "{value}");
        }
        assert_eq!(of_millis("1500"), Some(Duration::from_millis(1500)));
        assert_eq!((of_millis("-1"), of_millis("0"), of_millis("x")), (None, None, None));
    }

    #[test]
    fn words_that_ask_for_a_pause_are_read() {
        for (words, wanted) in [
            ("recipient limit exceeded, try again after 120 seconds", Some(120)),
            ("User-rate limit exceeded.  Retry after 2026-11-28T10:00:12.345Z (Mail sending)", Some(13)),
            ("Too many requests. Try again in 5 minutes.", Some(300)),
            ("Please wait 30s", Some(30)),
            ("retry after 2 hours", Some(7200)),
            ("retry after 200 days", None),
            ("retry after 3", Some(3)),
            ("retry after -3 seconds", None),
            ("retry after 2020-01-01T00:00:00Z", None),
            ("retry after a while", None),
            ("wait for 9999999999999 hours", Some(86400)),
            ("nothing of the kind", None),
            ("İ retry after 4 s", Some(4)),
        ] {
            assert_eq!(seconds(in_words(words, now())), wanted, "{words}");
        }
    }
}
