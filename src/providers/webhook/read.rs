//! Calls into events: JSON as a stream, fields of any type, times in any form. Pure.

use std::{fmt, marker::PhantomData, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

use super::{EVENTS_MAX, Refused};
use crate::{
    feedback::{Event, EventKind, MessageIdentity},
    meta::Key,
    providers::sanitize,
};

/// The name under which a message's row in the ledger stands in a vendor's metadata. Postmark takes no more than 20 characters.
pub const REFERENCE: &str = "mailfleet_reference";
/// Characters of an address that are kept (RFC 5321, 4.5.3.1: 64 and 255 octets, and the sign between them).
const ADDRESS_MAX: usize = 320;
/// Bytes of a vendor's id that are kept as they are; of a longer one, a hash.
const ID_MAX: usize = 128;
/// A number above this counts milliseconds, and not seconds (the year 5138).
const SECONDS_MAX: f64 = 1e11;

/// A text, number or truth value of a vendor, as text; empty where it is absent or has another form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word(String);

impl Word {
    /// A text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// As it was read.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Word;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_str<E>(self, text: &str) -> Result<Word, E> {
                Ok(Word(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<Word, E> {
                Ok(Word(text))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Word, E> {
                Ok(Word(number.to_string()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Word, E> {
                Ok(Word(number.to_string()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Word, E> {
                Ok(Word(number.to_string()))
            }

            fn visit_bool<E>(self, yes: bool) -> Result<Word, E> {
                Ok(Word(yes.to_string()))
            }

            fn visit_unit<E>(self) -> Result<Word, E> {
                Ok(Word::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Word, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Word::default())
            }

            /// The first of several: SES has lists of one.
            fn visit_seq<A: SeqAccess<'de>>(self, mut several: A) -> Result<Word, A::Error> {
                let first = several.next_element::<Word>()?.unwrap_or_default();
                while several.next_element::<IgnoredAny>()?.is_some() {}
                Ok(first)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// Reads a body that is one object or a list of objects, one by one, and gives each to `event`.
///
/// # Errors
/// When it is no JSON of that form, or has too many events.
pub fn each<T: DeserializeOwned>(body: &[u8], event: impl FnMut(T) -> Option<Event>) -> Result<Vec<Event>, Refused> {
    struct Each<T, F>(F, PhantomData<T>);
    impl<'de, T: DeserializeOwned, F: FnMut(T) -> Option<Event>> Visitor<'de> for Each<T, F> {
        type Value = Option<Vec<Event>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object or a list of objects")
        }

        fn visit_map<A: MapAccess<'de>>(mut self, map: A) -> Result<Self::Value, A::Error> {
            Ok(Some((self.0)(T::deserialize(MapAccessDeserializer::new(map))?).into_iter().collect()))
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut events = Vec::new();
            while let Some(one) = list.next_element()? {
                events.extend((self.0)(one));
                if events.len() > EVENTS_MAX {
                    return Ok(None);
                }
            }
            Ok(Some(events))
        }
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = (&mut reader).deserialize_any(Each(event, PhantomData)).map_err(|_| NOT_READ)?;
    let events = read.ok_or(Refused::Unreadable("it has more than 10,000 events"))?;
    reader.end().map_err(|_| NOT_READ)?;
    Ok(events)
}

/// Reads a body that is one object.
///
/// # Errors
/// When it is no JSON of that form.
pub fn one<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|_| NOT_READ)
}

const NOT_READ: Refused = Refused::Unreadable("the body is not the JSON that the vendor documents");

/// An event, as a vendor tells it.
pub struct Told<'a> {
    /// The server whose vendor it is.
    pub server: &'a Key,
    /// What happened.
    pub kind: EventKind,
    /// What stands under [`REFERENCE`] in the message's metadata.
    pub reference: &'a str,
    /// The vendor's id of the message, as its reply had it when it was accepted.
    pub vendor_id: &'a str,
    /// The Message-ID, with or without angle brackets.
    pub message_id: &'a str,
    /// The recipient's address.
    pub recipient: &'a str,
    /// When it happened, in any form.
    pub at: &'a str,
    /// The vendor's id of the event; where it has none, what tells the event from others.
    pub id: &'a [&'a str],
    /// Words about it, in their order.
    pub detail: &'a [&'a str],
}

impl Told<'_> {
    /// The event; none where neither a message nor a recipient is named.
    #[must_use]
    pub fn event(&self) -> Option<Event> {
        let server = || self.server.clone();
        let (vendor_id, message_id) = (self.vendor_id.trim(), bare(self.message_id));
        let recipient = address(self.recipient);
        let message = if let Ok(reference) = self.reference.trim().parse() {
            MessageIdentity::Reference { reference, server: Some(server()) }
        } else if !vendor_id.is_empty() {
            MessageIdentity::VendorId { server: server(), id: short(vendor_id) }
        } else if !message_id.is_empty() {
            MessageIdentity::MessageId { server: server(), id: message_id.chars().take(998).collect() }
        } else {
            recipient.as_ref()?;
            MessageIdentity::Recipient { server: server() }
        };
        Some(Event {
            kind: self.kind,
            message,
            recipient,
            at_ms: time(self.at),
            source: format!("webhook of {}", self.server).into(),
            id: Some(self.unique()),
            detail: detail(self.detail),
        })
    }

    /// What the ledger tells events apart by: no other server's vendor, who may be a stranger, can give the same.
    fn unique(&self) -> String {
        let id = match self.id {
            several if several.iter().all(|id| id.is_empty()) => {
                hash(&[self.reference, self.vendor_id, self.message_id, self.recipient, self.at, &self.detail.join(" ")])
            }
            [only] => short(only),
            several => hash(several),
        };
        format!("{}:{}:{id}", self.server, self.kind)
    }
}

/// An address as it is kept; none where there is none.
fn address(text: &str) -> Option<Arc<str>> {
    let text = text.trim();
    // A name may stand before it: `Ann <ann@example.com>`.
    let text = text.rsplit_once('<').map_or(text, |(_, rest)| rest.trim_end_matches('>')).trim();
    let fits = text.contains('@') && text.len() <= ADDRESS_MAX && !text.chars().any(|c| c.is_control() || c == ' ');
    fits.then(|| text.into())
}

/// A Message-ID without its angle brackets.
fn bare(id: &str) -> &str {
    let id = id.trim();
    id.strip_prefix('<').and_then(|id| id.strip_suffix('>')).unwrap_or(id)
}

fn short(id: &str) -> String {
    if id.len() <= ID_MAX && !id.chars().any(char::is_control) { id.to_owned() } else { hash(&[id]) }
}

/// A hash of several texts, which no other texts have.
fn hash(texts: &[&str]) -> String {
    let joined: Vec<u8> = texts.iter().flat_map(|text| [&text.len().to_be_bytes()[..], text.as_bytes()].concat()).collect();
    digest(&SHA256, &joined).as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn detail(parts: &[&str]) -> String {
    let joined = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    sanitize::readable(&joined).take(sanitize::KEPT_CHARS_MAX).collect()
}

/// A time in milliseconds since 1970: seconds or milliseconds as a number, RFC 3339, or a date and time in UTC.
#[must_use]
pub fn time(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        let ms = if number.abs() > SECONDS_MAX { number } else { number * 1000.0 };
        // No time is negative, and none is beyond what a number in JSON holds exactly.
        #[allow(clippy::cast_possible_truncation)]
        return (0.0..9e15).contains(&ms).then_some(ms as i64);
    }
    let civil = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    text.parse::<Timestamp>().ok().or_else(civil).map(Timestamp::as_millisecond).filter(|ms| *ms >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_every_form_are_read() {
        for (text, ms) in [
            ("1454442600", Some(1_454_442_600_000)),
            ("1534108637.153125", Some(1_534_108_637_153)),
            ("1520363423000", Some(1_520_363_423_000)),
            ("2016-01-27T14:59:38.237Z", Some(1_453_906_778_237)),
            ("2016-04-27T16:28:50.3963933-04:00", Some(1_461_788_930_396)),
            ("2018-10-11T23:24:45.000+00:00", Some(1_539_300_285_000)),
            ("2020-10-09 00:00:00", Some(1_602_201_600_000)),
            ("", None),
            ("yesterday", None),
            ("-5", None),
            ("NaN", None),
            ("1e300", None),
        ] {
            assert_eq!(time(text), ms, "{text}");
        }
    }

    #[test]
    fn ids_of_different_texts_differ() {
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
        assert_eq!(short("a"), "a");
        assert_eq!(short(&"a".repeat(200)).len(), 32);
    }

    #[test]
    fn only_addresses_are_addresses() {
        assert_eq!(address("Ann <ann@example.com>").as_deref(), Some("ann@example.com"));
        assert_eq!(address(" ann@example.com ").as_deref(), Some("ann@example.com"));
        for bad in ["", "ann", "a@\nb", "a @b", &format!("{}@example.com", "a".repeat(400))] {
            assert_eq!(address(bad), None, "{bad}");
        }
    }
}
