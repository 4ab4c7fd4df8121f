//! Zones by name, and times with a zone.

use super::*;

fn starts(text: &str) -> Result<String, String> {
    start(&StartAt(text.to_owned()))
        .map(|start| format!("{} {}", Timestamp::from_millisecond(start.at_ms).expect("a time"), start.words))
        .map_err(|fault| fault.message)
}

#[test]
fn a_time_with_a_zone_is_that_of_the_clock_on_the_wall() {
    let cases = [
        ("2026-12-01T08:00:00Z", "2026-12-01T08:00:00Z 2026-12-01T08:00:00Z"),
        ("2026-12-01T08:00:00+02:00", "2026-12-01T06:00:00Z 2026-12-01T06:00:00Z"),
        ("2026-12-01T08:00[Europe/Berlin]", "2026-12-01T07:00:00Z 08:00 on Tue 2026-12-01 (Europe/Berlin)"),
        ("2026-07-01T08:00[Europe/Berlin]", "2026-07-01T06:00:00Z 08:00 on Wed 2026-07-01 (Europe/Berlin)"),
        ("2026-12-01T08:00:30[asia/kolkata]", "2026-12-01T02:30:30Z 08:01 on Tue 2026-12-01 (Asia/Kolkata)"),
        ("2026-12-01T08:00+01:00[Europe/Berlin]", "2026-12-01T07:00:00Z 08:00 on Tue 2026-12-01 (Europe/Berlin)"),
        // The clock goes from 02:00 to 03:00: as much later as it is put forward.
        ("2026-03-29T02:30[Europe/Berlin]", "2026-03-29T01:30:00Z 03:30 on Sun 2026-03-29 (Europe/Berlin)"),
        // 02:30 comes twice: the first, unless the offset says otherwise.
        ("2026-10-25T02:30[Europe/Berlin]", "2026-10-25T00:30:00Z 02:30 on Sun 2026-10-25 (Europe/Berlin)"),
        ("2026-10-25T02:30+01:00[Europe/Berlin]", "2026-10-25T01:30:00Z 02:30 on Sun 2026-10-25 (Europe/Berlin)"),
        ("2026-12-01T08:00[US/Eastern]", "2026-12-01T13:00:00Z 08:00 on Tue 2026-12-01 (US/Eastern)"),
    ];
    for (text, wanted) in cases {
        assert_eq!(starts(text).as_deref(), Ok(wanted), "{text}");
    }
}

#[test]
fn what_contradicts_itself_or_is_no_zone_is_told_with_what_to_write() {
    let cases = [
        (
            "2026-12-01T08:00+02:00[Europe/Berlin]",
            "`2026-12-01T08:00` contradicts itself: Europe/Berlin is at +01:00 then. Write only the local time and the zone",
        ),
        ("2026-12-01T08:00[Europe/Berln]", "`Europe/Berln` is not a time zone of the IANA database; did you mean `Europe/Berlin`?"),
        ("2026-12-01T08:00[Berlin]", "`Berlin` is not a time zone of the IANA database; did you mean `Europe/Berlin`?"),
        ("2026-12-01T08:00[new-york]", "`new-york` is not a time zone of the IANA database; did you mean `America/New_York`?"),
        ("2026-12-01T08:00[Somewhere]", "`Somewhere` is not a time zone of the IANA database; write it like Europe/Berlin"),
        ("2026-12-01T08:00[Etc/Unknown]", "`Etc/Unknown` is not a time zone of the IANA database; write it like Europe/Berlin"),
    ];
    for (text, wanted) in cases {
        assert_eq!(starts(text), Err(wanted.to_owned()), "{text}");
    }
}

#[test]
fn every_zone_that_is_built_in_is_known() {
    let names: Vec<_> = BUILT_IN.available().collect();
    assert!(names.len() > 400, "{}", names.len());
    for name in names.iter().filter(|name| !matches!(name.as_str(), "Factory" | "localtime" | "Etc/Unknown")) {
        assert!(named(name.as_str()).is_some(), "{}", name.as_str());
    }
    assert_eq!((named("").is_some(), named("Europe").is_some(), named("../../etc/passwd").is_some()), (false, false, false));
}
