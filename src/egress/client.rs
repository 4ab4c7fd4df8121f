//! HTTP clients that connect only where their [`Egress`] permits.
//!
//! Names are resolved by it, literal addresses are judged by [`permits_url`], and a proxy, which would resolve names by
//! itself, is not used when only public addresses may be contacted.

use std::net::{IpAddr, SocketAddr};

use reqwest::{
    Client, ClientBuilder, Url,
    dns::{Addrs, Name, Resolve, Resolving},
};

use super::{Egress, NotAllowed};

/// A builder of clients for requests to this machine (`is_local`) or elsewhere. Timeouts and redirects are up to the caller.
pub fn builder(egress: Egress, is_local: bool) -> ClientBuilder {
    let client = Client::builder().user_agent(concat!("mailfleet/", env!("CARGO_PKG_VERSION")));
    match egress {
        Egress::PublicOnly => client.no_proxy().dns_resolver(Resolver(egress)),
        // A proxy would resolve it to its own machine.
        Egress::Everywhere if is_local => client.no_proxy(),
        Egress::Everywhere => client,
    }
}

/// Whether a URL's host is this machine by its name.
#[must_use]
pub fn is_local(url: &Url) -> bool {
    url.host_str().is_some_and(|host| matches!(host, "localhost" | "127.0.0.1" | "[::1]"))
}

/// Judges literal addresses, which are not resolved; names are judged by the client's resolver.
#[must_use]
pub fn permits_url(egress: Egress, url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    literal.parse::<IpAddr>().map_or(true, |address| egress.permits(address))
}

/// Whether the cause is an address that may not be contacted.
#[must_use]
pub fn is_not_allowed(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if inner.is::<NotAllowed>() {
            return true;
        }
        cause = inner.source();
    }
    false
}

/// Passes only permitted addresses to the connection.
struct Resolver(Egress);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let egress = self.0;
        Box::pin(async move {
            // The port comes from the URL, later.
            let found: Vec<SocketAddr> = egress.resolve(name.as_str(), 0).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
