//! Where connections may go: everywhere, or to public addresses only.
//!
//! In a shared cluster customers choose host names, and Mailfleet is inside the network. With [`Egress::PublicOnly`] names
//! are resolved here and only public addresses are passed on, so that a name that resolves differently the second time
//! (DNS rebinding) gains nothing. A refused host and one that does not exist give the same error.

pub(crate) mod client;

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use crate::meta::net::is_within;

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;

/// Where connections may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Egress {
    /// Any address, this machine included.
    #[default]
    Everywhere,
    /// To public addresses only.
    PublicOnly,
}

/// A host that may not be contacted, or that does not exist; the two give the same error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAllowed;

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the host has no public address, and only public addresses may be contacted. Check its spelling, put the data where the internet can reach it, or ask the operator (--deny-private-networks=false)",
        )
    }
}

impl std::error::Error for NotAllowed {}

/// Why a name gave no address.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// No address of the host may be contacted, or there is no such host.
    #[error("{0}")]
    NotAllowed(#[from] NotAllowed),
    /// The name service gave no answer, or knows no such host.
    #[error("{0}")]
    Lookup(#[source] io::Error),
}

impl Egress {
    /// Whether an address may be contacted.
    #[must_use]
    pub fn permits(self, address: IpAddr) -> bool {
        self == Self::Everywhere || is_public(address)
    }

    /// The addresses of a host that may be contacted, 16 at most; `host` is a name or a literal address without brackets.
    ///
    /// It has no timeout of its own: the caller's, for the whole connection, applies.
    ///
    /// # Errors
    /// When there is none.
    pub async fn resolve(self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ResolveError> {
        let found = match tokio::net::lookup_host((host, port)).await {
            Ok(found) => found,
            Err(error) if self == Self::Everywhere => return Err(ResolveError::Lookup(error)),
            // Whether an internal name exists must not be revealed.
            Err(_) => return Err(NotAllowed.into()),
        };
        let allowed: Vec<SocketAddr> = found.filter(|address| self.permits(address.ip())).take(ADDRESSES_MAX).collect();
        if allowed.is_empty() { Err(NotAllowed.into()) } else { Ok(allowed) }
    }
}

/// Whether an address belongs to the public internet, by IANA's registries of special-purpose addresses
/// (RFC 6890, RFC 8190): what is not certainly public is not.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// The networks of IPv4 that are not public: first address, and bits of the prefix.
const SPECIAL_V4: &[([u8; 4], u32)] = &[
    // This network.
    ([0, 0, 0, 0], 8),
    // Private use (RFC 1918).
    ([10, 0, 0, 0], 8),
    ([172, 16, 0, 0], 12),
    ([192, 168, 0, 0], 16),
    // Shared by carriers (RFC 6598); clouds put services there.
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    // Link-local (RFC 3927): among them the metadata services of clouds.
    ([169, 254, 0, 0], 16),
    // Azure's platform service: a public address that gives every machine there access to credentials.
    ([168, 63, 129, 16], 32),
    // Protocol assignments (RFC 6890), relays of 6to4 (RFC 7526).
    ([192, 0, 0, 0], 24),
    ([192, 88, 99, 0], 24),
    // Documentation (RFC 5737), benchmarks (RFC 2544).
    ([192, 0, 2, 0], 24),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([198, 18, 0, 0], 15),
    // Multicast; reserved and broadcast.
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

fn is_public_v4(address: Ipv4Addr) -> bool {
    !SPECIAL_V4.iter().any(|(network, bits)| is_within(address.into(), (*network).into(), *bits))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let last = (u32::from(segments[6]) << 16) | u32::from(segments[7]);
    match segments {
        // An IPv4 address in another form, or through NAT64 (RFC 6052): judged as that address.
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => is_public_v4(Ipv4Addr::from(last)),
        // Protocol assignments, Teredo, ORCHID (2001::/23); documentation (RFC 3849, RFC 9637); 6to4 (RFC 3056).
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0x0fff, ..] | [0x2002, ..] => false,
        // Global unicast (RFC 4291). All else is loopback, unspecified, local, multicast, or not yet assigned.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_public_addresses_from_others() {
        let public = [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "168.63.129.15",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.0.3.0",
            "192.88.98.1",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.101.0",
            "203.0.112.255",
            "223.255.255.255",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2606:4700:4700::1111",
            "2a00:1450::1",
            "3ffe::1",
            "3fff:1000::1",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
        ];
        let not_public = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.0",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::8.8.8.8",
            "::ffff:0.0.0.0",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0:8.8.8.8",
            "64:ff9b::10.0.0.1",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::8.8.8.8",
            "100::1",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:808:808::1",
            "3fff::1",
            "3fff:fff:ffff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
        ];
        for (addresses, wanted) in [(&public[..], true), (&not_public[..], false)] {
            for text in addresses {
                let address: IpAddr = text.parse().expect(text);
                assert_eq!(is_public(address), wanted, "{text}");
                assert!(Egress::Everywhere.permits(address));
                assert_eq!(Egress::PublicOnly.permits(address), wanted, "{text}");
                if let IpAddr::V4(v4) = address {
                    assert_eq!(is_public(v4.to_ipv6_mapped().into()), wanted, "{text}, mapped");
                }
            }
        }
    }

    #[tokio::test]
    async fn resolves_to_what_may_be_contacted() {
        for host in ["localhost", "127.0.0.1", "::1", "169.254.169.254", "no-such-name.invalid", ""] {
            let error = Egress::PublicOnly.resolve(host, 80).await.expect_err(host);
            assert!(matches!(error, ResolveError::NotAllowed(_)), "{host}: {error}");
        }
        let found = Egress::PublicOnly.resolve("2001:4860:4860::8888", 443).await.expect("public");
        assert_eq!(found, ["[2001:4860:4860::8888]:443".parse().expect("an address")]);
        let found = Egress::Everywhere.resolve("localhost", 25).await.expect("here");
        assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 25), "{found:?}");
        assert!(matches!(Egress::Everywhere.resolve("no-such-name.invalid", 80).await, Err(ResolveError::Lookup(_))));
    }
}
