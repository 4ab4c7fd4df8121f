//! The receiving domains that some server limits, and which of them count as one. Pure.
//!
//! A message is of the receiver that its recipient's domain belongs to: a domain that a limit names, or a mailbox provider of which a
//! limit names another domain. What no server limits has no receiver, and costs one look into a table.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use crate::{
    audience::canonical,
    resources::mailbox_providers::{MailboxProvider, provider_of},
    routing::DomainIntent,
};

/// A receiver: the domain that stands for it.
pub type Receiver = Arc<str>;

/// The receivers of all domains that some server limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receivers {
    by_domain: Arc<HashMap<Arc<str>, Receiver>>,
}

impl Receivers {
    /// The receivers that these limits tell apart.
    pub fn new<'a>(limits: impl Iterator<Item = &'a DomainIntent>) -> Self {
        let named: BTreeSet<&Arc<str>> = limits.flat_map(|limit| &limit.domains).collect();
        let mut by_domain: HashMap<Arc<str>, Receiver> = HashMap::new();
        for provider in named.iter().filter_map(|domain| provider_of(domain)) {
            let Some(first) = provider.domains.first() else { continue };
            let receiver: Receiver = (*first).into();
            for domain in provider.domains {
                by_domain.entry((*domain).into()).or_insert_with(|| receiver.clone());
            }
        }
        by_domain.extend(named.into_iter().map(|domain| (domain.clone(), domain.clone())));
        Self { by_domain: Arc::new(by_domain) }
    }

    /// The receiver of each domain.
    #[must_use]
    pub fn by_domain(&self) -> Arc<HashMap<Arc<str>, Receiver>> {
        self.by_domain.clone()
    }

    /// Whether no server limits any domain.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_domain.is_empty()
    }

    /// The receiver of an address; `None` if no server limits its domain.
    #[must_use]
    pub fn of(&self, address: &str) -> Option<Receiver> {
        if self.by_domain.is_empty() {
            return None;
        }
        let address = canonical(address);
        self.by_domain.get(address.rsplit_once('@')?.1).cloned()
    }

    /// All receivers that these limits are about, each with the index of its limit: the one that names it, or another domain of its
    /// provider.
    #[must_use]
    pub fn limited_by(&self, limits: &[DomainIntent]) -> BTreeMap<Receiver, usize> {
        let naming = |domain: &str| limits.iter().position(|limit| limit.domains.iter().any(|named| **named == *domain));
        let of_provider = |provider: &MailboxProvider| provider.domains.iter().find_map(|domain| naming(domain));
        let receivers: BTreeSet<&Receiver> = self.by_domain.values().collect();
        let limit = |receiver: &str| naming(receiver).or_else(|| provider_of(receiver).and_then(of_provider));
        receivers.into_iter().filter_map(|receiver| Some((receiver.clone(), limit(receiver)?))).collect()
    }
}

/// Receivers whose people a feeder passes over, because enough messages for them wait already.
#[derive(Debug, PartialEq, Eq)]
pub struct Passing {
    /// Tells whose people an address is of.
    pub receivers: Arc<Receivers>,
    /// The receivers without room.
    pub over: BTreeSet<Receiver>,
}

impl Passing {
    /// The receiver of an address, if its people are passed over.
    #[must_use]
    pub fn passes(&self, address: &str) -> Option<Receiver> {
        self.receivers.of(address).filter(|receiver| self.over.contains(receiver))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(domains: &[&str]) -> DomainIntent {
        DomainIntent { domains: domains.iter().map(|domain| (*domain).into()).collect(), rates: Vec::new() }
    }

    #[test]
    fn a_domain_stands_for_its_provider_unless_another_entry_names_it() {
        let (all, own) = ([limit(&["gmail.com", "example.org"])], [limit(&["gmail.com"]), limit(&["googlemail.com"])]);
        let receivers = Receivers::new(all.iter());
        let of = |receivers: &Receivers, address| receivers.of(address).as_deref().map(str::to_owned);
        assert_eq!(of(&receivers, "a@googlemail.com").as_deref(), Some("gmail.com"));
        assert_eq!(of(&receivers, "A@GMail.com").as_deref(), Some("gmail.com"));
        assert_eq!(of(&receivers, "a@example.org").as_deref(), Some("example.org"));
        assert_eq!(of(&receivers, "a@sub.example.org"), None);
        // Two servers tell them apart, and for the one that does not they are one.
        let receivers = Receivers::new(all.iter().chain(&own));
        assert_eq!(of(&receivers, "a@googlemail.com").as_deref(), Some("googlemail.com"));
        let limited = |limits| receivers.limited_by(limits).into_iter().map(|(name, at)| (name.to_string(), at)).collect::<Vec<_>>();
        let named = |names: &[(&str, usize)]| names.iter().map(|(name, at)| ((*name).to_owned(), *at)).collect::<Vec<_>>();
        assert_eq!(limited(&all[..]), named(&[("example.org", 0), ("gmail.com", 0), ("googlemail.com", 0)]));
        assert_eq!(limited(&own[..]), named(&[("gmail.com", 0), ("googlemail.com", 1)]));
        let receivers = Receivers::new([limit(&["hotmail.com"])].iter());
        assert_eq!(of(&receivers, "a@live.com").as_deref(), Some("outlook.com"));
        assert_eq!(receivers.limited_by(&[limit(&["hotmail.com"])]).len(), 2);
    }
}
