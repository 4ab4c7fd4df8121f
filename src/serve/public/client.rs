//! Who asks: an address, that of the connection or, behind a proxy that is trusted, the one that the proxy tells. Pure.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use http::HeaderMap;

use crate::meta::net::is_within;

/// The bits of an IPv6 address that one client shares: a household or a machine has the other half to itself (RFC 6177).
const V6_BITS: u32 = 64;

/// What counts as one client: an IPv4 address, or 64 bits of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client(IpAddr);

impl Client {
    /// The client at an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let bits = address.to_bits() >> V6_BITS << V6_BITS;
                Self(IpAddr::V6(bits.into()))
            }
            address @ IpAddr::V4(_) => Self(address),
        }
    }
}

/// A network: `10.0.0.0/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    /// Whether an address is in it.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        is_within(address.to_canonical(), self.address, self.bits)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a network; write it like 10.0.0.0/8 or 2001:db8::/32, or as one address");
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse).ok().filter(|bits| *bits <= most).ok_or_else(wrong)?;
        Ok(Self { address, bits })
    }
}

/// Who asks. Each proxy adds the address that it sees to the end of `X-Forwarded-For`, so that the last one that is no proxy of ours
/// is the client; what stands before it anybody could have written.
pub(super) fn of(peer: IpAddr, headers: &HeaderMap, proxies: &[Network]) -> Client {
    let is_proxy = |address: IpAddr| proxies.iter().any(|proxy| proxy.has(address));
    let mut client = peer;
    let lines = headers.get_all("x-forwarded-for").iter().rev().map(|line| line.to_str().unwrap_or("-"));
    for told in lines.flat_map(|line| line.rsplit(',')) {
        if !is_proxy(client) {
            break;
        }
        let Some(address) = address(told.trim()) else { break };
        client = address;
    }
    Client::of(client)
}

/// An address, perhaps with a port.
fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(peer: &str, lines: &[&str], proxies: &[&str]) -> Client {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("X-Forwarded-For", line.parse().unwrap());
        }
        let proxies: Vec<Network> = proxies.iter().map(|proxy| proxy.parse().unwrap()).collect();
        of(peer.parse().unwrap(), &headers, &proxies)
    }

    fn at(address: &str) -> Client {
        Client::of(address.parse().unwrap())
    }

    #[test]
    fn the_client_is_who_the_last_proxy_saw() {
        let proxies = ["10.0.0.0/8", "192.0.2.1"];
        for (peer, lines, client) in [
            ("203.0.113.9", &["198.51.100.1"][..], "203.0.113.9"),
            ("10.1.2.3", &["198.51.100.1"], "198.51.100.1"),
            ("10.1.2.3", &["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
            ("10.1.2.3", &["1.1.1.1", "198.51.100.1, 192.0.2.1"], "198.51.100.1"),
            ("10.1.2.3", &["1.1.1.1, 10.9.9.9"], "1.1.1.1"),
            ("::ffff:10.1.2.3", &["198.51.100.1:4711"], "198.51.100.1"),
            ("10.1.2.3", &["[2001:db8::1]:4711"], "2001:db8::2"),
            ("10.1.2.3", &[], "10.1.2.3"),
            ("10.1.2.3", &["1.1.1.1, unknown"], "10.1.2.3"),
            ("10.1.2.3", &[""], "10.1.2.3"),
        ] {
            assert_eq!(told(peer, lines, &proxies), at(client), "{peer} {lines:?}");
        }
        assert_eq!(told("10.1.2.3", &["198.51.100.1"], &[]), at("10.1.2.3"), "nobody is trusted");
    }

    #[test]
    fn one_client_has_half_of_an_ipv6_address() {
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:ffff:ffff:ffff"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_ne!(at("203.0.113.1"), at("203.0.113.2"));
        assert_eq!(at("::ffff:203.0.113.1"), at("203.0.113.1"));
    }

    #[test]
    fn networks_are_read() {
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/-1", "10.0.0.0/", "example.com", "10.0.0.0/8/8"] {
            assert!(bad.parse::<Network>().unwrap_err().contains("is not a network"), "{bad}");
        }
        let has = |network: &str, address: &str| network.parse::<Network>().unwrap().has(address.parse().unwrap());
        assert!(has("0.0.0.0/0", "203.0.113.1") && has("::/0", "2001:db8::1") && has("10.0.0.1", "10.0.0.1") && has("::1", "::1"));
        assert!(!has("0.0.0.0/0", "2001:db8::1") && !has("10.0.0.1", "10.0.0.2"));
    }
}
