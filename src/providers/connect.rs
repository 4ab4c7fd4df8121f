//! Connections to mail servers: resolved where egress permits, with a time for each step, with TLS where it is asked for.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
    time::Duration,
};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{Blocker, diagnose::Endpoint, scrub::Scrubber};
use crate::{
    egress::{Egress, ResolveError},
    meta::Reason,
};

/// Addresses of a host that are tried.
const ADDRESSES_MAX: usize = 8;

/// The other side.
#[derive(Clone, Copy)]
pub struct Peer<'a> {
    /// The host, a name or an address, with or without brackets.
    pub host: &'a str,
    pub port: u16,
    /// Host and port for people.
    pub endpoint: &'a Endpoint,
    /// The name that the certificate must carry.
    pub tls_name: &'a str,
    /// An own authority; the system's when absent.
    pub own_tls: Option<&'a Arc<ClientConfig>>,
    /// Keeps the login out of what the server says.
    pub scrubber: &'a Scrubber,
    /// How long each step may take.
    pub step_timeout: Duration,
    /// Which addresses it may have.
    pub egress: Egress,
}

/// A TLS configuration that trusts the CAs of this PEM text and no others.
///
/// # Errors
/// In words after the name of the text, when it is not possible.
pub fn own_tls(pem: &[u8]) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let is_added = certificate.ok().is_some_and(|certificate| roots.add(certificate).is_ok());
        if !is_added {
            return Err("is not a PEM certificate".to_owned());
        }
    }
    if roots.is_empty() {
        return Err("contains no PEM certificate".to_owned());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("cannot be used: {error}"))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// The TLS configuration that trusts what this machine trusts. Read once: the store is large, and there are many servers.
fn system_tls() -> Result<Arc<ClientConfig>, String> {
    static SYSTEM: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = SYSTEM.get() {
        return Ok(Arc::clone(config));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(BuilderVerifierExt::with_platform_verifier)
        .map_err(|error| error.to_string())?;
    Ok(Arc::clone(SYSTEM.get_or_init(|| Arc::new(config.with_no_client_auth()))))
}

impl Peer<'_> {
    async fn resolve(&self) -> Result<Vec<SocketAddr>, Blocker> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let not_allowed = || {
            let to_do = "Use a host with a public address, or ask the operator (--deny-private-networks).";
            self.endpoint.connection_for_person(Reason::AddressNotAllowed, "the host has no address that may be contacted", to_do)
        };
        if let Ok(address) = host.parse::<IpAddr>() {
            return if self.egress.permits(address) { Ok(vec![SocketAddr::new(address, self.port)]) } else { Err(not_allowed()) };
        }
        let not_resolved = |what: &str| self.endpoint.connection(Reason::NameNotResolved, what, "Check the spelling of host, and DNS.");
        match tokio::time::timeout(self.step_timeout, self.egress.resolve(host, self.port)).await {
            Err(_) => Err(not_resolved("the DNS lookup timed out")),
            Ok(Err(ResolveError::NotAllowed(_))) if self.egress == Egress::PublicOnly => Err(not_allowed()),
            Ok(Err(_)) => Err(not_resolved("the host name does not resolve")),
            Ok(Ok(mut found)) => {
                found.truncate(ADDRESSES_MAX);
                Ok(found)
            }
        }
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// With the reason of the step that failed.
    pub async fn connect(&self) -> Result<TcpStream, Blocker> {
        let addresses = self.resolve().await?;
        // A share of the time each, so that an address that drops packets does not keep us from the next.
        let share = self.step_timeout / u32::try_from(addresses.len()).unwrap_or(1);
        let mut failure: Option<Blocker> = None;
        for address in addresses {
            let failed = match tokio::time::timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => self.endpoint.not_connected(&error),
                Err(_) => self.endpoint.not_connected(&io::ErrorKind::TimedOut.into()),
            };
            // A machine without IPv6 finds those addresses unreachable, which is the least informative error.
            if failure.as_ref().is_none_or(|earlier| earlier.reason == Reason::Unreachable) {
                failure = Some(failed);
            }
        }
        Err(failure.unwrap_or_else(|| self.endpoint.not_connected(&io::ErrorKind::HostUnreachable.into())))
    }

    /// Sets TLS up on a connection.
    ///
    /// # Errors
    /// With words for people.
    pub async fn encrypt(&self, tcp: TcpStream) -> Result<TlsStream<TcpStream>, Blocker> {
        let unusable = |what: &str, to_do: &str| self.endpoint.connection_for_person(Reason::TlsFailed, what, to_do);
        let config = match self.own_tls {
            Some(config) => Arc::clone(config),
            None => system_tls().map_err(|error| {
                unusable(
                    &format!("this machine's CA certificates cannot be read: {error}"),
                    "Install ca-certificates, or name a CA with caRef.",
                )
            })?,
        };
        let name = ServerName::try_from(self.tls_name.to_owned()).map_err(|_| {
            unusable(
                &format!("`{}` cannot be the name in a certificate", self.tls_name),
                "Set tlsServerName to the name in the certificate.",
            )
        })?;
        match tokio::time::timeout(self.step_timeout, TlsConnector::from(config).connect(name, tcp)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(self.endpoint.tls(&error, self.tls_name, self.scrubber)),
            Err(_) => Err(self.endpoint.silent(self.step_timeout, "the TLS handshake")),
        }
    }
}
