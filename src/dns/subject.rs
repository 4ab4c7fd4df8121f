//! What a server's identity says that DNS must confirm. Pure.

use std::net::IpAddr;

use crate::{
    dkim::Algorithm,
    egress::{Egress, is_public},
    meta::{
        Reason,
        net::{ascii, is_at_or_below},
    },
    providers::{ProviderSpec, smtp::Preset},
    resources::{KeyRef, SendingServerSpec, dkim::record},
};

/// What is judged of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The domains of From addresses.
    pub domains: Vec<String>,
    /// The keys that sign.
    pub keys: Vec<DkimKey>,
    /// The domains of the envelope senders that are ours to publish for.
    pub envelopes: Vec<String>,
    /// Where its mail comes from.
    pub origin: Origin,
    /// The name that is proposed for the host it comes from.
    pub host: Option<String>,
    /// Whether a fault makes the server Inactive.
    pub is_required: bool,
    /// Which addresses count: a customer must not learn which names the inside of our network has.
    pub egress: Egress,
}

/// A key that signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DkimKey {
    /// The domain that signs (`d=`).
    pub domain: String,
    /// The selector (`s=`).
    pub selector: String,
    /// The public key in DER (`SubjectPublicKeyInfo`), or why it is not known.
    pub public: Result<Vec<u8>, (Reason, String)>,
}

impl DkimKey {
    /// The name of its record.
    #[must_use]
    pub fn record(&self) -> String {
        record(&self.domain, &self.selector)
    }

    /// How it signs; none while the key is not known.
    #[must_use]
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.public.as_ref().ok().map(|public| Algorithm::of(public))
    }
}

/// Where a server's mail comes from, as its receivers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From these addresses.
    Addresses(Vec<IpAddr>),
    /// From the public addresses of a host of ours.
    Host(String),
    /// From addresses that only the vendor, or the relay's operator, knows.
    Unknown,
}

impl Subject {
    /// What is judged of a server; `None` without an identity, or where its identity says nothing that DNS could confirm. `public`
    /// gives the public key of a private one, or why it is not known.
    pub fn of(spec: &SendingServerSpec, egress: Egress, public: impl Fn(&KeyRef) -> Result<Vec<u8>, (Reason, String)>) -> Option<Self> {
        let identity = spec.identity.as_ref()?;
        let mut domains: Vec<String> = identity.domains.iter().map(|domain| ascii(domain)).collect();
        domains.sort();
        domains.dedup();
        let keys: Vec<DkimKey> = spec
            .signing_keys()
            .iter()
            .map(|key| DkimKey { domain: key.ascii_domain(), selector: key.ascii_selector(), public: public(&key.private_key_ref) })
            .collect();
        // Vendors have return paths of their own unless they are told another.
        let envelopes = match &identity.return_path {
            Some(domain) => vec![ascii(domain)],
            None if is_relay(spec) => domains.clone(),
            None => Vec::new(),
        };
        let relay = relay_host(spec).map(|host| ascii(&host));
        let is_ours = |host: &str| domains.iter().chain(&envelopes).any(|domain| is_at_or_below(host, domain));
        let origin = match (&relay, identity.sending_addresses.is_empty()) {
            (_, false) => Origin::Addresses(identity.sending_addresses.clone()),
            (Some(host), true) => match host.parse::<IpAddr>() {
                Ok(address) if is_public(address) => Origin::Addresses(vec![address]),
                Err(_) if is_ours(host) => Origin::Host(host.clone()),
                _ => Origin::Unknown,
            },
            (None, true) => Origin::Unknown,
        };
        let named = relay.filter(|host| host.parse::<IpAddr>().is_err() && host.contains('.'));
        let of_domain = || envelopes.first().or_else(|| domains.first()).map(|domain| format!("mail.{domain}"));
        let host = if origin == Origin::Unknown { None } else { named.or_else(of_domain) };
        let subject = Self { domains, keys, envelopes, origin, host, is_required: identity.require_dns.unwrap_or(false), egress };
        (!subject.domains.is_empty() || !subject.envelopes.is_empty() || !subject.keys.is_empty()).then_some(subject)
    }
}

/// Whether it hands messages to a relay with the envelope sender that we choose.
#[must_use]
pub fn is_relay(spec: &SendingServerSpec) -> bool {
    relay_host(spec).is_some() || matches!(spec.provider, ProviderSpec::sendmail(_))
}

/// The host of a relay that is no known vendor's.
fn relay_host(spec: &SendingServerSpec) -> Option<String> {
    let ProviderSpec::smtp(smtp) = &spec.provider else { return None };
    let host = smtp.host.clone().filter(|_| smtp.preset.is_none())?;
    Preset::of_host(&host).is_none().then_some(host)
}
