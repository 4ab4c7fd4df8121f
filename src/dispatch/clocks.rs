//! The clocks on the walls of recipients: whether it is within their own sending hours.

use std::{collections::HashMap, sync::Arc};

use super::stages::{Asleep, Window};
use crate::{
    audience::Fields,
    hours::{Hours, Zone},
    report::WithoutZone,
    zones,
};

/// Values of the field that are remembered: more than there are zones.
const KNOWN_MAX: usize = 2_048;
/// The longest name of a zone, bytes; what is longer is none.
const NAME_MAX: usize = 64;
/// Characters of a value that is no zone, as it is shown.
const SHOWN_MAX: usize = 40;

/// The clocks of the recipients of a campaign.
pub struct Clocks {
    hours: Arc<Hours>,
    field: Arc<str>,
    /// By the value of the field.
    known: HashMap<String, Arc<Known>>,
    /// Who has no zone of their own, so far.
    without: Option<WithoutZone>,
}

/// What is known of a value of the field.
struct Known {
    zone: Zone,
    /// Whether it is the name of a zone.
    is_own: bool,
    is_open: bool,
    /// Until when that stays so, milliseconds.
    until_ms: i64,
    /// When the hours begin, if they are shut, or begin again, milliseconds.
    opens_ms: i64,
}

impl Clocks {
    /// The clocks for these hours; `None` where the campaign as a whole keeps to them.
    #[must_use]
    pub fn of(hours: Option<&Arc<Hours>>) -> Option<Self> {
        let hours = hours?.clone();
        let field = hours.zone_field.clone()?;
        Some(Self { hours, field, known: HashMap::new(), without: None })
    }

    /// When the hours of a recipient begin, if it is outside of them.
    pub fn asleep(&mut self, fields: &Fields, now_ms: i64) -> Option<Asleep> {
        let known = self.known(fields, now_ms);
        (!known.is_open).then(|| Asleep::new(known.opens_ms, known.zone.clone()))
    }

    /// The hours of a recipient for whom it is within them.
    pub fn window(&mut self, fields: &Fields, now_ms: i64) -> Window {
        let known = self.known(fields, now_ms);
        // If they ended just now, it is put aside at once.
        let closes_ms = if known.is_open { known.until_ms } else { i64::MIN };
        Window { closes_ms, opens_ms: known.opens_ms, zone: known.zone.clone() }
    }

    /// Counts a recipient of the audience who has no zone of their own.
    pub fn note(&mut self, fields: &Fields, now_ms: i64) {
        if self.known(fields, now_ms).is_own {
            return;
        }
        let value = fields.get(&self.field).map(|value| value.trim().chars().take(SHOWN_MAX).collect::<String>());
        let without = self.without.get_or_insert(WithoutZone { recipients: 0, example: None });
        without.recipients += 1;
        if without.example.is_none() {
            without.example = value.filter(|value| !value.is_empty());
        }
    }

    /// Who has no zone of their own, once the audience was read.
    pub fn take_without(&mut self) -> Option<WithoutZone> {
        self.without.take()
    }

    fn known(&mut self, fields: &Fields, now_ms: i64) -> Arc<Known> {
        let value = fields.get(&self.field).unwrap_or_default();
        let value = Some(value.trim()).filter(|value| value.len() <= NAME_MAX).unwrap_or_default();
        if let Some(known) = self.known.get(value).filter(|known| now_ms < known.until_ms) {
            return known.clone();
        }
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        let own = Some(value).filter(|value| !value.is_empty()).and_then(zones::named);
        let is_own = own.is_some();
        let zone = own.unwrap_or_else(|| self.hours.zone.clone());
        let moment = self.hours.span.look(&zone, now_ms);
        let opens_ms = self.hours.span.opens_at(&zone, moment.until_ms);
        let known = Arc::new(Known { zone, is_own, is_open: moment.is_open, until_ms: moment.until_ms, opens_ms });
        self.known.insert(value.to_owned(), known.clone());
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{audience::Recipient, hours::Span};

    fn clocks(span: Span) -> Clocks {
        let hours = Hours { span, zone: zones::named("UTC").expect("a zone"), zone_field: Some("zone".into()) };
        Clocks::of(Some(&Arc::new(hours))).expect("each has their own")
    }

    fn fields(zone: &str) -> Fields {
        let row = serde_json::json!({"email": "a@example.org", "zone": zone});
        Recipient::from_json(&row.to_string()).expect("a row").fields
    }

    #[test]
    fn what_is_remembered_of_zones_is_bounded() {
        let mut clocks = clocks(Span { days: [true; 7], from: 0, to: 24 * 60 });
        for number in 0..KNOWN_MAX * 2 {
            clocks.note(&fields(&format!("Nowhere/{number}")), 0);
        }
        clocks.note(&fields(&"x".repeat(1 << 20)), 0);
        assert!(clocks.known.len() <= KNOWN_MAX, "{}", clocks.known.len());
        assert!(clocks.known.keys().all(|value| value.len() <= NAME_MAX));
        let without = clocks.take_without().expect("some");
        assert_eq!((without.recipients, without.example.as_deref()), (KNOWN_MAX as u64 * 2 + 1, Some("Nowhere/0")));
    }

    #[test]
    fn each_is_judged_by_their_own_clock_and_others_by_that_of_the_campaign() {
        // Two hours around this one, in UTC.
        const NOW_MS: i64 = 1_764_000_000_000;
        let minute = u16::try_from(NOW_MS.rem_euclid(86_400_000) / 60_000).expect("of a day");
        let (from, to) = ((minute + 1380) % 1440, (minute + 60) % 1440);
        let mut clocks = clocks(Span { days: [true; 7], from, to });
        for (zone, is_open) in
            [("UTC", true), (" utc ", true), ("", true), ("Nowhere", true), ("Etc/GMT-6", false), ("Asia/Kolkata", false)]
        {
            let asleep = clocks.asleep(&fields(zone), NOW_MS);
            assert_eq!(asleep.is_none(), is_open, "{zone}: {asleep:?}");
            let window = clocks.window(&fields(zone), NOW_MS);
            assert_eq!(window.closes_ms > NOW_MS, is_open, "{zone}");
            assert!(window.opens_ms > NOW_MS && window.opens_ms > window.closes_ms, "{zone}");
        }
    }
}
