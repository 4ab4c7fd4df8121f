//! Who is not mailed, and why. Pure.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// One reason not to mail one person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Suppression {
    /// The namespace whose campaigns do not mail the person.
    pub namespace: Arc<str>,
    /// Who is not mailed.
    pub person: Person,
    /// Only campaigns with this topic; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<Arc<str>>,
    /// Why.
    pub reason: SuppressionReason,
    /// Since when, milliseconds since 1970.
    pub at_ms: i64,
    /// Who told it: see [`super::Event::source`].
    pub source: Arc<str>,
    /// What was said, at most 250 characters.
    pub detail: String,
}

/// Somebody who is not mailed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Person {
    /// An address in its canonical form.
    Address(String),
    /// A keyed hash of an address that was removed on request.
    Forgotten(String),
}

impl Person {
    /// The mark of a forgotten person in the ledger; no address begins so, since each has an `@`.
    pub const MARK: &str = "forgotten:";

    /// The person of a text of the ledger.
    #[must_use]
    pub fn read(text: String) -> Self {
        match text.strip_prefix(Self::MARK) {
            Some(hash) if !text.contains('@') => Self::Forgotten(hash.to_owned()),
            _ => Self::Address(text),
        }
    }

    /// As the ledger keeps it.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Address(address) => address.clone(),
            Self::Forgotten(hash) => format!("{}{hash}", Self::MARK),
        }
    }
}

/// For people: the address, or that it is not known any more.
impl fmt::Display for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => f.write_str(address),
            Self::Forgotten(_) => f.write_str("(forgotten)"),
        }
    }
}

/// Why a person is not mailed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SuppressionReason {
    /// The address takes no mail and will not.
    HardBounce,
    /// The person, or their provider, reported a message as spam.
    Complaint,
    /// The person asked for no more mail.
    Unsubscribed,
    /// Somebody put the address on the list.
    Listed,
    /// The person's data was removed on request.
    Forgotten,
}

impl SuppressionReason {
    /// Every reason.
    pub const ALL: [Self; 5] = [Self::HardBounce, Self::Complaint, Self::Unsubscribed, Self::Listed, Self::Forgotten];

    /// The word in the ledger, in tables and in CSV.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HardBounce => "HardBounce",
            Self::Complaint => "Complaint",
            Self::Unsubscribed => "Unsubscribed",
            Self::Listed => "Listed",
            Self::Forgotten => "Forgotten",
        }
    }
}

impl fmt::Display for SuppressionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SuppressionReason {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let all = || Self::ALL.map(Self::as_str).join(", ");
        Self::ALL
            .into_iter()
            .find(|reason| reason.as_str().eq_ignore_ascii_case(word))
            .ok_or_else(|| format!("`{word}` is not a reason; the reasons are {}", all()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_comes_back_from_the_ledger() {
        for person in [Person::Address("ann@example.com".to_owned()), Person::Forgotten("1:00ff".to_owned())] {
            assert_eq!(Person::read(person.text()), person);
        }
        let named = Person::Address("forgotten:1@example.com".to_owned());
        assert_eq!(Person::read(named.text()), named, "an address that looks like one");
        for reason in SuppressionReason::ALL {
            assert_eq!(reason.as_str().to_lowercase().parse(), Ok(reason));
        }
        assert_eq!(
            "Gone".parse::<SuppressionReason>().unwrap_err(),
            "`Gone` is not a reason; the reasons are HardBounce, Complaint, Unsubscribed, Listed, Forgotten"
        );
    }
}
