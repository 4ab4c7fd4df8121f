//! Opening a connection: resolve, connect, greet, EHLO, TLS, log in. Each step has its timeout and its reason.

use std::{net::IpAddr, sync::Arc, time::Duration};

use rustls::ClientConfig;
use tokio::net::TcpStream;

use super::{
    Encryption, Mechanism,
    auth::{self, Login},
    extensions::Extensions,
    failure::{Break, Endpoint},
    line::Line,
    stream::Stream,
    verdict,
};
use crate::{
    egress::Egress,
    meta::{Reason, secret::SecretValue},
    providers::{Blocker, Stage, connect::Peer, http::Purpose, scrub::Scrubber, token::Tokens},
};

/// How to log in, if at all.
pub enum Credentials {
    /// No login.
    None,
    /// With credentials that do not expire.
    Fixed(Login),
    /// This user, by XOAUTH2, with access tokens that expire.
    Tokens(String, Arc<Tokens>),
}

/// Everything that is needed to open a connection.
pub struct Target {
    /// The host, a name or an address.
    pub host: String,
    pub port: u16,
    /// Host and port for people.
    pub endpoint: Endpoint,
    /// How it is encrypted.
    pub encryption: Encryption,
    /// The name that the certificate must carry.
    pub tls_name: String,
    /// An own authority; the system's when absent.
    pub own_tls: Option<Arc<ClientConfig>>,
    /// The name for EHLO; this machine's when absent.
    pub helo_name: Option<String>,
    /// How to log in.
    pub login: Credentials,
    /// Keeps the login out of what the server says.
    pub scrubber: Scrubber,
    /// How long each step may take.
    pub step_timeout: Duration,
    /// Which addresses it may have.
    pub egress: Egress,
}

impl Credentials {
    /// Keeps them out of what a server says.
    #[must_use]
    pub fn scrubber(&self) -> Scrubber {
        match self {
            Self::None => Scrubber::default(),
            Self::Fixed(login) => vec![login.secret.clone()].into(),
            Self::Tokens(_, tokens) => tokens.scrubber().clone(),
        }
    }
}

impl Target {
    /// Opens a connection, ready for messages.
    ///
    /// # Errors
    /// With the reason of the step that failed.
    pub async fn open(&self) -> Result<Line, Blocker> {
        let tcp = self.peer().connect().await?;
        // Every write is complete in itself: waiting for more would cost one delayed acknowledgement per message.
        tcp.set_nodelay(true).map_err(|error| self.endpoint.not_connected(&error))?;
        let helo = self.helo(&tcp);
        let advise = |failure| advised(failure, self.encryption, self.port);
        let stream = if self.encryption == Encryption::Tls { self.encrypt(tcp).await.map_err(advise)? } else { Stream::Plain(tcp) };
        let mut line = Line::new(stream, self.scrubber.clone());
        self.greet(&mut line).await.map_err(advise)?;
        self.ehlo(&mut line, &helo).await?;
        if self.encryption == Encryption::StartTls {
            line = self.start_tls(line).await?;
            // What was offered before TLS may have been said by anybody (RFC 3207, 4.2).
            self.ehlo(&mut line, &helo).await?;
        }
        match &self.login {
            Credentials::None => {}
            Credentials::Fixed(login) => auth::log_in(&mut line, login, &self.endpoint, self.step_timeout).await?,
            Credentials::Tokens(user, tokens) => self.log_in_with_token(&mut line, user, tokens).await?,
        }
        Ok(line)
    }

    /// Asks a server that offers a login, where none is configured, whether it takes mail without one: MAIL, and RSET in place of a
    /// recipient. Relays that know this machine by its address may offer a login as well, so that only a refusal counts. Returns
    /// whether the line can be used further.
    ///
    /// # Errors
    /// When the server wants a login, or TLS, first.
    pub async fn needs_no_login(&self, line: &mut Line) -> Result<bool, Blocker> {
        if !matches!(self.login, Credentials::None) || !line.extensions.has_auth {
            return Ok(true);
        }
        // The empty sender is subject to no policy for domains of senders.
        let Ok(reply) = line.command("MAIL FROM:<>", self.step_timeout).await else { return Ok(false) };
        if let Some(refused) = verdict::without_login(reply, &self.endpoint) {
            return Err(refused);
        }
        Ok(line.command("RSET", self.step_timeout).await.is_ok_and(|reply| reply.is_positive()))
    }

    /// Logs in with a token; a refused one may have expired, and is replaced once.
    async fn log_in_with_token(&self, line: &mut Line, user: &str, tokens: &Tokens) -> Result<(), Blocker> {
        let login = |token: &SecretValue| Login {
            username: user.to_owned(),
            secret: token.clone(),
            is_token: true,
            mechanism: Some(Mechanism::XOAuth2),
        };
        let token = tokens.token(None, Purpose::Probe).await?;
        match auth::log_in(line, &login(&token), &self.endpoint, self.step_timeout).await {
            Err(failure) if failure.reason == Reason::AuthenticationFailed && failure.needs_person => {
                let fresh = tokens.token(Some(&token), Purpose::Probe).await?;
                if fresh == token { Err(failure) } else { auth::log_in(line, &login(&fresh), &self.endpoint, self.step_timeout).await }
            }
            ended => ended,
        }
    }

    fn peer(&self) -> Peer<'_> {
        Peer {
            host: &self.host,
            port: self.port,
            endpoint: &self.endpoint,
            tls_name: &self.tls_name,
            own_tls: self.own_tls.as_ref(),
            scrubber: &self.scrubber,
            step_timeout: self.step_timeout,
            egress: self.egress,
        }
    }

    async fn greet(&self, line: &mut Line) -> Result<(), Blocker> {
        let greeting = line.reply(self.step_timeout).await.map_err(|broken| self.endpoint.broken_connection(broken, "the greeting"))?;
        if greeting.code == 220 { Ok(()) } else { Err(verdict::opening(greeting, Stage::Greeting, "the connection", &self.endpoint)) }
    }

    async fn ehlo(&self, line: &mut Line, name: &str) -> Result<(), Blocker> {
        let broken = |broken| self.endpoint.broken_connection(broken, "EHLO");
        let reply = line.command(&format!("EHLO {name}"), self.step_timeout).await.map_err(broken)?;
        if reply.is_positive() {
            line.extensions = Extensions::read(reply.text);
            return Ok(());
        }
        let refused = verdict::opening(reply, Stage::Hello, "EHLO", &self.endpoint);
        // A server that predates EHLO has neither TLS nor AUTH, and does not know the command.
        let needs_ehlo = self.encryption != Encryption::None || !matches!(self.login, Credentials::None);
        if needs_ehlo || !reply.is_permanent() || verdict::of_server(reply, Stage::Hello).is_some() {
            return Err(refused);
        }
        // Where the server hangs up, its answer to EHLO says more.
        let Ok(reply) = line.command(&format!("HELO {name}"), self.step_timeout).await else { return Err(refused) };
        if reply.is_positive() { Ok(()) } else { Err(verdict::opening(reply, Stage::Hello, "HELO", &self.endpoint)) }
    }

    async fn start_tls(&self, mut line: Line) -> Result<Line, Blocker> {
        if !line.extensions.has_starttls {
            return Err(self.endpoint.connection_for_person(
                Reason::StartTlsNotOffered,
                "the server does not offer STARTTLS",
                "Check the port (usually 587), or use encryption Tls (port 465); None is for a server on this machine, such as `mailfleet sink`. Mailfleet does not fall back to plain text.",
            ));
        }
        let broken = |broken| self.endpoint.broken_connection(broken, "STARTTLS");
        let reply = line.command("STARTTLS", self.step_timeout).await.map_err(broken)?;
        if reply.code != 220 {
            let what = format!("the server answered STARTTLS with `{}`", reply.quoted());
            return Err(self.endpoint.connection(
                Reason::TlsFailed,
                &what,
                "It is retried; if this lasts, check the server's TLS configuration.",
            ));
        }
        // Bytes that came before TLS would be taken for replies within it (CVE-2011-0411).
        if !line.replies.is_empty() {
            return Err(self.endpoint.connection_for_person(
                Reason::ProtocolError,
                "unencrypted data followed the answer to STARTTLS",
                "Somebody may be tampering with the connection; if not, the server is broken.",
            ));
        }
        let Stream::Plain(tcp) = line.stream else { return Err(broken(Break::Lost)) };
        Ok(Line::new(self.encrypt(tcp).await?, self.scrubber.clone()))
    }

    async fn encrypt(&self, tcp: TcpStream) -> Result<Stream, Blocker> {
        self.peer().encrypt(tcp).await.map(|stream| Stream::Tls(Box::new(stream)))
    }

    /// Our name for EHLO: a full name, or an address literal (RFC 5321, 4.1.4).
    fn helo(&self, tcp: &TcpStream) -> String {
        if let Some(name) = &self.helo_name {
            return name.clone();
        }
        let name = gethostname::gethostname();
        match (name.to_str().filter(|name| is_full_name(name)), tcp.local_addr().map(|address| address.ip())) {
            (Some(name), _) => name.to_owned(),
            (None, Ok(IpAddr::V6(address))) => format!("[IPv6:{address}]"),
            (None, Ok(address)) => format!("[{address}]"),
            (None, Err(_)) => "localhost".to_owned(),
        }
    }
}

/// The failure, with what to write instead where the port usually expects another encryption: neither side then understands the other.
pub(super) fn advised(mut failure: Blocker, encryption: Encryption, port: u16) -> Blocker {
    let is_misunderstood = matches!(failure.reason, Reason::TimedOut | Reason::ConnectionLost | Reason::ProtocolError | Reason::TlsFailed);
    if let Some(advice) = encryption.advice_at(port).filter(|_| is_misunderstood) {
        failure.message = format!("{} {}{}.", failure.message, advice[..1].to_uppercase(), &advice[1..]);
    }
    failure
}

/// Whether a name is a domain for EHLO: at least two labels of letters, digits and hyphens.
#[must_use]
pub fn is_full_name(name: &str) -> bool {
    let is_label = |label: &str| !label.is_empty() && label.len() <= 63 && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    name.contains('.') && name.len() <= 253 && name.split('.').all(is_label)
}
