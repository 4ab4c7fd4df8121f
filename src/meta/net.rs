//! Names and addresses of networks: what is part of what. Pure.

use std::net::IpAddr;

/// A name as DNS has it: in lowercase, other alphabets in ASCII (RFC 5890), no dot at the end.
#[must_use]
pub fn ascii(name: &str) -> String {
    let name = name.trim_end_matches('.');
    idna::domain_to_ascii(name).unwrap_or_else(|_| name.to_ascii_lowercase())
}

/// Whether a name is below a domain, and not the domain itself. Both are in lowercase, without a dot at the end.
#[must_use]
pub fn is_below(name: &str, domain: &str) -> bool {
    !domain.is_empty() && name.strip_suffix(domain).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

/// Whether a name is a domain or below it.
#[must_use]
pub fn is_at_or_below(name: &str, domain: &str) -> bool {
    name == domain || is_below(name, domain)
}

/// Whether an address is in a network, whose first `bits` bits all of its addresses share; an address of the other family is not.
#[must_use]
pub fn is_within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) if bits <= 32 => {
            (network.to_bits() ^ address.to_bits()).checked_shr(32 - bits).unwrap_or(0) == 0
        }
        (IpAddr::V6(address), IpAddr::V6(network)) if bits <= 128 => {
            (network.to_bits() ^ address.to_bits()).checked_shr(128 - bits).unwrap_or(0) == 0
        }
        _ => false,
    }
}
