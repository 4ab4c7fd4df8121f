//! The people of a campaign in simulated time: of each, the receiving domain, and the zone whose clock counts. Pure.

use std::{collections::HashMap, sync::Arc};

use crate::audience::{Fields, Recipient};

/// People of one campaign who are simulated.
pub const PEOPLE_MAX: u64 = if cfg!(test) { 20_000 } else { 10_000_000 };
/// Domains of a campaign that are told apart; people at further ones count as at one domain.
const DOMAINS_MAX: usize = 100_000;
/// Values of the field with the time zone that are told apart; further ones count as no zone.
const ZONES_MAX: usize = 2_048;
/// The domain of people of whom it is not known.
const ANY_DOMAIN: &str = "example.com";

/// The people of a campaign. They have numbers, and no names: nobody's address is kept.
#[derive(Clone, Debug, Default)]
pub struct Crowd {
    domains: Vec<Arc<str>>,
    domain_numbers: HashMap<Arc<str>, u32>,
    /// The fields of a message, by zone; the first are those of people without one.
    fields: Vec<Fields>,
    zone_numbers: HashMap<String, u32>,
    /// The field that holds the zone.
    zone_field: Option<Arc<str>>,
    members: Vec<Member>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Member {
    domain: u32,
    zone: u32,
}

impl Crowd {
    /// Nobody yet. `zone_field` is the field with each person's time zone, where the campaign names one.
    ///
    /// # Errors
    /// Never: what is read there is good.
    pub fn new(zone_field: Option<Arc<str>>) -> Result<Self, String> {
        let nobody = fields_of(None)?;
        let domain: Arc<str> = ANY_DOMAIN.into();
        Ok(Self {
            domains: vec![domain.clone()],
            domain_numbers: HashMap::from([(domain, 0)]),
            fields: vec![nobody],
            zone_numbers: HashMap::new(),
            zone_field,
            members: Vec::new(),
        })
    }

    /// Adds so many of whom nothing is known.
    pub fn add_anybody(&mut self, count: u64) {
        let count = usize::try_from(count.min(PEOPLE_MAX)).unwrap_or(usize::MAX);
        self.members.resize(self.members.len().saturating_add(count), Member::default());
    }

    /// Adds somebody.
    pub fn add(&mut self, recipient: &Recipient) {
        let address = recipient.address.as_str();
        let domain = address.rsplit_once('@').map_or(ANY_DOMAIN, |(_, domain)| domain);
        let domain = self.domain(domain);
        let zone = self.zone_field.clone().and_then(|field| self.zone(&field, recipient.fields.get(&field)?.trim()));
        self.members.push(Member { domain, zone: zone.unwrap_or(0) });
    }

    fn domain(&mut self, domain: &str) -> u32 {
        if let Some(number) = self.domain_numbers.get(domain) {
            return *number;
        }
        let domain = domain.to_ascii_lowercase();
        if let Some(number) = self.domain_numbers.get(domain.as_str()) {
            return *number;
        }
        if self.domains.len() >= DOMAINS_MAX {
            return 0;
        }
        let (number, domain) = (number(self.domains.len()), Arc::<str>::from(domain));
        self.domains.push(domain.clone());
        self.domain_numbers.insert(domain, number);
        number
    }

    fn zone(&mut self, field: &str, value: &str) -> Option<u32> {
        if let Some(number) = self.zone_numbers.get(value) {
            return Some(*number);
        }
        if self.fields.len() > ZONES_MAX {
            return None;
        }
        let fields = fields_of(Some((field, value))).ok()?;
        let number = number(self.fields.len());
        self.fields.push(fields);
        self.zone_numbers.insert(value.to_owned(), number);
        Some(number)
    }

    /// How many they are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// An address for a person, at their domain.
    pub(super) fn address(&self, person: usize) -> Arc<str> {
        let domain = self.members.get(person).and_then(|member| self.domains.get(member.domain as usize));
        format!("{person}@{}", domain.map_or(ANY_DOMAIN, |domain| domain)).into()
    }

    /// The fields of a person: the zone alone.
    pub(super) fn fields(&self, person: usize) -> Option<&Fields> {
        let zone = self.members.get(person).map_or(0, |member| member.zone);
        self.fields.get(zone as usize).or_else(|| self.fields.first())
    }

    /// Who has an address.
    pub(super) fn person(address: &str) -> Option<usize> {
        address.split('@').next()?.parse().ok()
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(0)
}

fn fields_of(zone: Option<(&str, &str)>) -> Result<Fields, String> {
    let mut row = serde_json::Map::from_iter([("email".to_owned(), format!("anybody@{ANY_DOMAIN}").into())]);
    row.extend(zone.map(|(field, value)| (field.to_owned(), value.into())));
    let row = serde_json::Value::Object(row).to_string();
    Recipient::from_json(&row).map(|recipient| recipient.fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipient(address: &str, zone: &str) -> Recipient {
        Recipient::from_json(&serde_json::json!({"email": address, "zone": zone}).to_string()).expect("a row")
    }

    #[test]
    fn people_keep_their_domain_and_zone_and_no_name() {
        let mut crowd = Crowd::new(Some("zone".into())).expect("good");
        crowd.add(&recipient("anna@Shop.example", "Europe/Berlin"));
        crowd.add(&recipient("bert@gmail.com", "Asia/Kolkata"));
        crowd.add(&recipient("carl@shop.example", " Europe/Berlin "));
        crowd.add_anybody(2);
        let addresses: Vec<String> = (0..crowd.len()).map(|person| crowd.address(person).to_string()).collect();
        assert_eq!(addresses, ["0@shop.example", "1@gmail.com", "2@shop.example", "3@example.com", "4@example.com"]);
        let zones: Vec<_> = (0..5).map(|person| crowd.fields(person).expect("fields").get("zone").map(|zone| zone.to_string())).collect();
        assert_eq!(
            zones.iter().map(|zone| zone.as_deref().unwrap_or("")).collect::<Vec<_>>(),
            ["Europe/Berlin", "Asia/Kolkata", "Europe/Berlin", "", ""]
        );
        assert_eq!(Crowd::person("4@example.com"), Some(4));
        assert_eq!(crowd.domains.len(), 3);
    }

    #[test]
    fn what_is_told_apart_has_bounds() {
        let mut crowd = Crowd::new(Some("zone".into())).expect("good");
        for number in 0..ZONES_MAX + 10 {
            crowd.add(&recipient("a@shop.example", &format!("Nowhere/{number}")));
        }
        assert!(crowd.fields.len() <= ZONES_MAX + 1, "{}", crowd.fields.len());
        crowd.add_anybody(u64::MAX);
        assert_eq!(crowd.len(), ZONES_MAX + 10 + usize::try_from(PEOPLE_MAX).expect("small"));
    }
}
