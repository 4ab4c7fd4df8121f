//! Where a server is, and what went wrong on the way there, for people: what, where, what to do.
//!
//! The words are the same on every attempt, since they become a condition's message: no ephemeral port, id or time.

use std::{io, sync::Arc, time::Duration as StdDuration};

use rustls::CertificateError;

use super::{Blocker, sanitize, scrub::Scrubber};
use crate::meta::{Duration, Reason};

/// Where the server is, as the spec names it: `smtp.example.com:587`. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Endpoint(Arc<str>);

impl Endpoint {
    /// Host and port of the spec.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Self {
        Self(if host.contains(':') && !host.starts_with('[') { format!("[{host}]:{port}").into() } else { format!("{host}:{port}").into() })
    }

    /// An endpoint described otherwise: a URL without its secrets, a program.
    #[must_use]
    pub fn named(words: impl Into<Arc<str>>) -> Self {
        Self(words.into())
    }

    /// `host:port`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A connection that could not be set up, where trying again may help.
    #[must_use]
    pub fn connection(&self, reason: Reason, what: &str, to_do: &str) -> Blocker {
        Blocker::passing(reason, format!("Connection failed: {what} ({}). {to_do}", self.0))
    }

    /// A connection that could not be set up, and which only a person can fix.
    #[must_use]
    pub fn connection_for_person(&self, reason: Reason, what: &str, to_do: &str) -> Blocker {
        self.connection(reason, what, to_do).for_person()
    }

    /// A message that could not be sent through the server.
    #[must_use]
    pub fn sending(&self, reason: Reason, what: &str, to_do: &str) -> Blocker {
        Blocker::passing(reason, format!("Sending failed: {what} ({}). {to_do}", self.0))
    }

    /// A server that said nothing for too long while the connection was set up; `step` follows "during".
    #[must_use]
    pub fn silent(&self, limit: StdDuration, step: &str) -> Blocker {
        let limit = Duration::from(limit);
        let what = format!("the server did not answer within {limit} during {step}");
        self.connection(Reason::TimedOut, &what, "Check host, port and encryption, and whether the server is overloaded.")
    }

    /// A TCP connection that did not come about.
    #[must_use]
    pub fn not_connected(&self, error: &io::Error) -> Blocker {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => self.connection(
                Reason::ConnectionRefused,
                "nothing listens there (connection refused)",
                "Check host and port, and that the server is running.",
            ),
            io::ErrorKind::TimedOut => {
                self.connection(Reason::TimedOut, "the host did not answer", "Check host and port, and any firewall in between.")
            }
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => self.connection(
                Reason::ConnectionLost,
                "the connection was reset as soon as it was made",
                "Check the port, and that the server accepts this machine.",
            ),
            kind => self.connection(
                Reason::Unreachable,
                &format!("no route to host ({kind})"),
                "Check the host, this machine's network and firewalls.",
            ),
        }
    }

    /// A TLS handshake that failed. Text in a certificate is the other side's as well, and is scrubbed.
    #[must_use]
    pub fn tls(&self, error: &io::Error, name: &str, scrubber: &Scrubber) -> Blocker {
        let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
            return match error.kind() {
                io::ErrorKind::UnexpectedEof => self.connection(
                    Reason::ConnectionLost,
                    "the server closed the connection during the TLS handshake",
                    "Its log may say why.",
                ),
                _ => self.connection(
                    Reason::ConnectionLost,
                    "the connection was lost during the TLS handshake",
                    "Check the server and the network in between.",
                ),
            };
        };
        let (what, to_do) = match error {
            rustls::Error::InvalidCertificate(certificate) => certificate_words(certificate, name, scrubber),
            rustls::Error::InvalidMessage(_) | rustls::Error::InappropriateMessage { .. } => (
                "the server did not answer with TLS".to_owned(),
                "Check port and encryption: Tls is usual on port 465, StartTls on 587.".to_owned(),
            ),
            rustls::Error::PeerIncompatible(_) | rustls::Error::AlertReceived(_) => (
                format!("the TLS handshake failed: {}", scrubber.scrub(&error.to_string())),
                "The server must speak TLS 1.2 or 1.3 with a current cipher suite.".to_owned(),
            ),
            other => (
                format!("the TLS handshake failed: {}", scrubber.scrub(&other.to_string())),
                "Check the server's TLS configuration.".to_owned(),
            ),
        };
        self.connection_for_person(Reason::TlsFailed, &what, &to_do)
    }
}

/// A name like `RequiredEkuNotFound` in words; anything else as it is.
fn in_words(said: &str) -> String {
    if !said.chars().all(|c| c.is_ascii_alphanumeric()) || said.chars().all(|c| !c.is_ascii_lowercase()) {
        return said.to_owned();
    }
    let mut words = String::new();
    for c in said.chars() {
        if c.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}

fn certificate_words(error: &CertificateError, name: &str, scrubber: &Scrubber) -> (String, String) {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            ("the server's certificate has expired".to_owned(), "Renew it, and check this machine's clock.".to_owned())
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            ("the server's certificate is not valid yet".to_owned(), "Check this machine's clock and the certificate.".to_owned())
        }
        // The latter two: a CA of the same name with another key.
        CertificateError::UnknownIssuer
        | CertificateError::BadSignature
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => (
            "the server's certificate is not signed by a trusted CA".to_owned(),
            "Use a certificate from a public CA, or name your own CA with caRef.".to_owned(),
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            format!("the server's certificate is not for `{name}`"),
            "Set host or tlsServerName to the name in the certificate.".to_owned(),
        ),
        CertificateError::Revoked => ("the server's certificate has been revoked".to_owned(), "Renew it.".to_owned()),
        CertificateError::Other(other) if other.0.to_string() == "CaUsedAsEndEntity" => (
            "the server's certificate is that of a CA and not of a server".to_owned(),
            "Give the server a certificate that the CA has signed, and name the CA with caRef.".to_owned(),
        ),
        other => {
            let said = if let CertificateError::Other(other) = other { other.0.to_string() } else { other.to_string() };
            let words: String = sanitize::readable(&scrubber.scrub(&in_words(&said))).take(200).collect();
            (format!("the server's certificate cannot be used: {words}"), "Replace the certificate, or name its CA with caRef.".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::secret::SecretValue;

    #[test]
    fn no_value_is_printed_as_rust_prints_it() {
        let endpoint = Endpoint::new("smtp.example.com", 465);
        let told = |words: &'static str| {
            let other = CertificateError::Other(rustls::OtherError(std::sync::Arc::new(io::Error::other(words))));
            endpoint.tls(&io::Error::other(rustls::Error::InvalidCertificate(other)), "smtp.example.com", &Scrubber::default()).message
        };
        assert!(told("CaUsedAsEndEntity").contains("that of a CA and not of a server"), "{}", told("CaUsedAsEndEntity"));
        let words = told("RequiredEkuNotFound");
        assert!(words.contains("cannot be used: required eku not found"), "{words}");
        assert!(told("no idea: 7").contains("no idea: 7"));
    }

    #[test]
    fn a_certificate_does_not_leak_the_login() {
        let endpoint = Endpoint::new("smtp.example.com", 465);
        let scrubber = Scrubber::from(vec![SecretValue::new("correct-Horse7")]);
        for error in [
            rustls::Error::General("no correct-Horse7 here".to_owned()),
            rustls::Error::PeerIncompatible(rustls::PeerIncompatible::EcPointsExtensionRequired),
            rustls::Error::InvalidCertificate(CertificateError::InvalidOcspResponse),
            rustls::Error::InvalidCertificate(CertificateError::Other(rustls::OtherError(std::sync::Arc::new(io::Error::other(
                "for Y29ycmVjdC1Ib3JzZTc= alone",
            ))))),
        ] {
            let told = endpoint.tls(&io::Error::other(error), "smtp.example.com", &scrubber).message;
            assert!(told.contains("smtp.example.com") && !told.contains("Horse") && !told.contains("Y29y"), "{told}");
        }
    }
}
