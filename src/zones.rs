//! Time zones by their names: in the database of the machine, and where it has none or lacks the name, in the one that is built in.
//!
//! The machine's comes first, since governments change their clocks more often than programs are replaced.

use std::sync::{Arc, LazyLock};

use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{Offset, TimeZoneDatabase, db},
};

use crate::{
    hours::{Hours, Span, Start, When, Zone},
    meta::nearest,
    resources::{
        CampaignSpec,
        hours::{Day, SendingHours, StartAt},
    },
};

/// The database that is built in.
static BUILT_IN: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// What is wrong with a zone or a time, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The field.
    pub field: &'static str,
    /// What is wrong, and what to write.
    pub message: String,
}

/// The zone of this name, whatever its case.
#[must_use]
pub fn named(name: &str) -> Option<Zone> {
    let rules = db().get(name).or_else(|_| BUILT_IN.get(name)).ok().filter(|rules| !rules.is_unknown())?;
    let known = rules.iana_name().unwrap_or(name).to_owned();
    Some(Zone::new(&known, rules))
}

/// When a campaign is sent.
///
/// # Errors
/// When a zone is not known, or a time contradicts its zone.
pub fn when(spec: &CampaignSpec) -> Result<When, Fault> {
    let start = spec.start_at.as_ref().map(start).transpose()?;
    let hours = spec.sending_hours.as_ref().map(hours).transpose()?.map(Arc::new);
    Ok(When { start, hours })
}

fn start(at: &StartAt) -> Result<Start, Fault> {
    const FIELD: &str = "spec.startAt";
    let fault = |message: String| Fault { field: FIELD, message };
    let unreadable = |_| fault(format!("`{}` is not a time; write it like 2026-12-01T08:00:00Z or 2026-12-01T08:00[Europe/Berlin]", at.0));
    let (time, zone) = at.parts();
    let Some(name) = zone else {
        let at: Timestamp = time.parse().map_err(unreadable)?;
        return Ok(Start { at_ms: at.as_millisecond(), words: at.to_string() });
    };
    let zone = named(name).ok_or_else(|| fault(unknown(name)))?;
    let local: DateTime = time.parse().map_err(unreadable)?;
    let has_offset = time.get("2026-12-01T".len()..).is_some_and(|clock| clock.contains(['+', '-']));
    let at = if has_offset {
        let at: Timestamp = time.parse().map_err(unreadable)?;
        let there = zone.rules().to_datetime(at);
        if there != local {
            let by_rules = zone.rules().to_ambiguous_timestamp(local).compatible().map_err(unreadable)?;
            let offset = in_words(zone.rules().to_offset(by_rules));
            return Err(fault(format!(
                "`{}` contradicts itself: {} is at {offset} then. Write only the local time and the zone",
                at_words(local),
                zone.name()
            )));
        }
        at
    } else {
        // In a gap of summer time, as much later as the clock is put forward; where a time comes twice, the first of the two.
        zone.rules().to_ambiguous_timestamp(local).compatible().map_err(unreadable)?
    };
    Ok(Start { at_ms: at.as_millisecond(), words: zone.words(at.as_millisecond()) })
}

fn at_words(local: DateTime) -> String {
    local.strftime("%Y-%m-%dT%H:%M").to_string()
}

/// `+01:00`.
fn in_words(offset: Offset) -> String {
    let minutes = offset.seconds() / 60;
    format!("{}{:02}:{:02}", if minutes < 0 { '-' } else { '+' }, minutes.abs() / 60, minutes.abs() % 60)
}

fn hours(spec: &SendingHours) -> Result<Hours, Fault> {
    let zone = named(&spec.zone).ok_or_else(|| Fault { field: "spec.sendingHours.zone", message: unknown(&spec.zone) })?;
    let minutes = |field, text: &str| {
        let clock = text.split_once(':').and_then(|(hours, minutes)| Some((hours.parse::<u16>().ok()?, minutes.parse::<u16>().ok()?)));
        let minutes = clock.map(|(hours, minutes)| hours * 60 + minutes).filter(|minutes| *minutes <= 24 * 60);
        minutes.ok_or_else(|| Fault { field, message: format!("`{text}` is not a time of day; write it like \"08:00\"") })
    };
    let (from, to) = (minutes("spec.sendingHours.from", &spec.from)?, minutes("spec.sendingHours.to", &spec.to)?);
    let days = spec
        .days
        .as_ref()
        .map_or([true; 7], |days| [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun].map(|day| days.contains(&day)));
    Ok(Hours { span: Span { days, from, to }, zone, zone_field: spec.zone_field.as_deref().map(Into::into) })
}

/// That a zone is not known, and which one may be meant.
#[must_use]
pub fn unknown(name: &str) -> String {
    let near = nearest_to(name).map_or_else(|| "write it like Europe/Berlin".to_owned(), |near| format!("did you mean `{near}`?"));
    format!("`{name}` is not a time zone of the IANA database; {near}")
}

/// The zone that is meant by a name that is none: one that is written alike, or one of that city.
fn nearest_to(name: &str) -> Option<String> {
    let names: Vec<String> = BUILT_IN.available().map(|known| known.as_str().to_owned()).collect();
    let plain = |text: &str| text.replace([' ', '-'], "_").to_lowercase();
    let city = plain(name.rsplit('/').next().unwrap_or(name));
    let of_city = names.iter().find(|known| plain(known.rsplit('/').next().unwrap_or(known)) == city);
    of_city.cloned().or_else(|| nearest(name, names.iter().map(String::as_str)).map(str::to_owned))
}

#[cfg(test)]
mod tests;
