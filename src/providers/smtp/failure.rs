//! What went wrong, in words for people: what, where, what to do.
//!
//! The words are stable from try to try, since they become a condition's message: no ephemeral port, id or time.

use std::{io, time::Duration};

use rustls::CertificateError;

use super::reply::{Garbage, Reply};
use crate::{
    providers::Failure,
    resources::{Duration as Span, Reason},
};

/// How a conversation broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// The server closed the connection.
    Closed,
    /// The line was lost.
    Lost,
    /// No answer within this time.
    TimedOut(Duration),
    /// The answer was not SMTP.
    Garbage(Garbage),
}

/// Where the server is, as the spec names it: `smtp.example.com:587`.
#[derive(Clone, Debug)]
pub struct Place(String);

impl Place {
    /// Host and port of the spec.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Self {
        Self(if host.contains(':') && !host.starts_with('[') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
    }

    /// `host:port`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A connection that could not be set up, where trying again may help.
    #[must_use]
    pub fn connection(&self, reason: Reason, what: &str, to_do: &str) -> Failure {
        Failure { reason, message: format!("Connection failed: {what} ({}). {to_do}", self.0), needs_person: false }
    }

    /// A connection that could not be set up, and which only a person can mend.
    #[must_use]
    pub fn connection_for_person(&self, reason: Reason, what: &str, to_do: &str) -> Failure {
        Failure { needs_person: true, ..self.connection(reason, what, to_do) }
    }

    /// A message that could not be sent through the server.
    #[must_use]
    pub fn sending(&self, reason: Reason, what: &str, to_do: &str) -> Failure {
        Failure { reason, message: format!("Sending failed: {what} ({}). {to_do}", self.0), needs_person: false }
    }

    /// A conversation that broke off while the connection was set up; `step` follows "during".
    #[must_use]
    pub fn broken_connection(&self, broken: Break, step: &str) -> Failure {
        let (reason, what, to_do) = broken_words(broken);
        self.connection(reason, &format!("{what} during {step}"), to_do)
    }

    /// A conversation that broke off while messages were sent.
    #[must_use]
    pub fn broken_sending(&self, broken: Break) -> Failure {
        let (reason, what, to_do) = broken_words(broken);
        self.sending(reason, &what, to_do)
    }

    /// A greeting, EHLO or other command that the server does not want now.
    #[must_use]
    pub fn not_available(&self, reply: Reply<'_>, step: &str) -> Failure {
        let what = format!("the server answered {step} with `{}`", reply.quoted());
        if reply.code / 100 == 4 && is_throttling(reply) {
            return self.connection(Reason::Throttled, &what, "It limits connections or rate: lower limits.connections or limits.rates.");
        }
        let to_do = if reply.is_permanent() {
            "It refuses this machine: check that it may connect there, and heloName."
        } else {
            "It is tried again; if this lasts, ask the server's operator."
        };
        self.connection(Reason::ServiceNotAvailable, &what, to_do)
    }

    /// A TCP connection that did not come about.
    #[must_use]
    pub fn not_connected(&self, error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => self.connection(
                Reason::ConnectionRefused,
                "nothing listens there (connection refused)",
                "Check host and port, and that the server runs.",
            ),
            io::ErrorKind::TimedOut => {
                self.connection(Reason::TimedOut, "the network gave no answer", "Check host and port, and firewalls in between.")
            }
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => self.connection(
                Reason::ConnectionLost,
                "the connection was reset as soon as it was made",
                "Check the port, and that the server accepts this machine.",
            ),
            kind => self.connection(
                Reason::Unreachable,
                &format!("the network has no way there ({kind})"),
                "Check the host, this machine's network and firewalls.",
            ),
        }
    }

    /// A TLS handshake that failed.
    #[must_use]
    pub fn tls(&self, error: &io::Error, name: &str) -> Failure {
        let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
            let broken = if error.kind() == io::ErrorKind::UnexpectedEof { Break::Closed } else { Break::Lost };
            return self.broken_connection(broken, "the TLS handshake");
        };
        let (what, to_do) = match error {
            rustls::Error::InvalidCertificate(certificate) => certificate_words(certificate, name),
            rustls::Error::InvalidMessage(_) | rustls::Error::InappropriateMessage { .. } => (
                "the server did not answer with TLS".to_owned(),
                "Check port and encryption: Tls is usual on port 465, StartTls on 587.".to_owned(),
            ),
            rustls::Error::PeerIncompatible(_) | rustls::Error::AlertReceived(_) => (
                format!("the TLS handshake failed: {error}"),
                "The server must speak TLS 1.2 or 1.3 with a current cipher suite.".to_owned(),
            ),
            other => (format!("the TLS handshake failed: {other}"), "Check the server's TLS set-up.".to_owned()),
        };
        self.connection_for_person(Reason::TlsFailed, &what, &to_do)
    }
}

/// Whether the server says that we are too many or too fast.
#[must_use]
pub fn is_throttling(reply: Reply<'_>) -> bool {
    ["too many", "too fast", "rate", "throttl", "concurren"].iter().any(|word| reply.mentions(word))
}

fn broken_words(broken: Break) -> (Reason, String, &'static str) {
    match broken {
        Break::Closed => (Reason::ConnectionLost, "the server closed the connection".to_owned(), "Its log may say why."),
        Break::Lost => (Reason::ConnectionLost, "the connection was lost".to_owned(), "Check the server and the network in between."),
        Break::TimedOut(limit) => (
            Reason::TimedOut,
            format!("the server gave no answer within {}", Span::from_millis(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX))),
            "Check host, port and encryption, and whether the server is overloaded.",
        ),
        Break::Garbage(garbage) => {
            (Reason::ProtocolError, format!("the server {}", garbage.as_str()), "Check that host and port are those of an SMTP server.")
        }
    }
}

fn certificate_words(error: &CertificateError, name: &str) -> (String, String) {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            ("the server's certificate has expired".to_owned(), "Renew it, and check this machine's clock.".to_owned())
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            ("the server's certificate is not valid yet".to_owned(), "Check this machine's clock and the certificate.".to_owned())
        }
        // The latter two: an authority of the same name, with another key.
        CertificateError::UnknownIssuer
        | CertificateError::BadSignature
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => (
            "the server's certificate is not signed by an authority that is trusted here".to_owned(),
            "Use a certificate of a public authority, or name your own with caRef.".to_owned(),
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            format!("the server's certificate is not for `{name}`"),
            "Write the certificate's name as host, or as tlsServerName.".to_owned(),
        ),
        CertificateError::Revoked => ("the server's certificate has been revoked".to_owned(), "Renew it.".to_owned()),
        other => {
            let words: String = other.to_string().chars().filter(|c| !c.is_control()).take(200).collect();
            (
                format!("the server's certificate cannot be used: {words}"),
                "Replace the certificate, or name its authority with caRef.".to_owned(),
            )
        }
    }
}
