//! A connection to an IMAP server: opened, logged in, and asked one command at a time, each with a time and a bound.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::ClientConfig;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use super::reply::{Decoder, Response};
use crate::{
    bounces::reading::READ_MAX,
    egress::Egress,
    meta::{Blocker, Reason, secret::SecretValue},
    providers::{connect::Peer, diagnose::Endpoint, readable, scrub::Scrubber, smtp::Encryption},
    resources::feedback::Imap,
};

/// For each step of opening a connection, and for each command.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes that the server may send for one command.
const ANSWER_MAX: usize = 4 * 1024 * 1024;
/// Bytes that are read at a time.
const BLOCK: usize = 16 * 1024;

/// Plain text or TLS.
trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// Where a mailbox is, and how to log in.
pub struct Account {
    /// What the server's object says.
    pub imap: Imap,
    /// The user name.
    pub username: SecretValue,
    /// What it logs in with, beside the user name.
    pub password: SecretValue,
    /// An own authority; the system's when absent.
    pub own_tls: Option<Arc<ClientConfig>>,
    /// Which addresses it may have.
    pub egress: Egress,
}

/// A connection.
pub struct Client {
    io: Box<dyn Io>,
    decoder: Decoder,
    endpoint: Endpoint,
    scrubber: Scrubber,
    tags: u32,
    capabilities: Vec<String>,
    /// Whether the folder was said to hold another number of mails since this was last reset.
    pub has_news: bool,
}

/// How a command ended.
pub struct Ended {
    /// Whether the server did it.
    pub is_ok: bool,
    /// Its words.
    pub text: String,
    /// What it said before.
    pub responses: Vec<Response>,
}

/// A part of a command.
enum Part<'a> {
    Text(&'a str),
    /// Sent once the server waits for it.
    Literal(&'a [u8]),
}

impl Client {
    /// Opens a connection and logs in.
    ///
    /// # Errors
    /// With the reason of the step that failed.
    pub async fn open(account: &Account) -> Result<Self, Blocker> {
        let imap = &account.imap;
        let endpoint = Endpoint::new(&imap.host, imap.port());
        let scrubber = Scrubber::from(vec![account.password.clone()]);
        let tls_name = imap.host.trim_matches(['[', ']']).trim_end_matches('.').to_owned();
        let peer = Peer {
            host: &imap.host,
            port: imap.port(),
            endpoint: &endpoint,
            tls_name: &tls_name,
            own_tls: account.own_tls.as_ref(),
            scrubber: &scrubber,
            step_timeout: STEP_TIMEOUT,
            egress: account.egress,
        };
        let tcp = peer.connect().await?;
        if imap.encryption() == Encryption::StartTls {
            // Taken apart and put together again, so that nothing that was said before TLS counts behind it.
            let tcp = Self::start_tls(tcp, &endpoint, &scrubber).await?;
            let stream = peer.encrypt(tcp).await?;
            let mut client = Self::of(Box::new(stream), endpoint, scrubber);
            client.log_in(account, false).await?;
            return Ok(client);
        }
        let io: Box<dyn Io> = if imap.encryption() == Encryption::Tls { Box::new(peer.encrypt(tcp).await?) } else { Box::new(tcp) };
        let mut client = Self::of(io, endpoint, scrubber);
        let is_known = client.greeting().await?;
        client.log_in(account, is_known).await?;
        Ok(client)
    }

    fn of(io: Box<dyn Io>, endpoint: Endpoint, scrubber: Scrubber) -> Self {
        let decoder = Decoder::new(READ_MAX + 1024);
        Self { io, decoder, endpoint, scrubber, tags: 0, capabilities: Vec::new(), has_news: false }
    }

    async fn start_tls(mut tcp: TcpStream, endpoint: &Endpoint, scrubber: &Scrubber) -> Result<TcpStream, Blocker> {
        let mut decoder = Decoder::new(0);
        let mut is_greeted = false;
        let mut block = vec![0; 1024];
        let talk = async {
            loop {
                while let Some(response) = decoder.response().map_err(|why| unreadable(endpoint, &why.to_string()))? {
                    match response {
                        Response::Ended { is_ok: true, .. } if is_greeted => {
                            // Bytes that came before TLS would be taken for answers within it (CVE-2021-33515 and its like).
                            return if decoder.is_empty() {
                                Ok(tcp)
                            } else {
                                Err(unreadable(endpoint, "sent more before TLS than it was asked for"))
                            };
                        }
                        Response::Ended { text, .. } => return Err(no_tls(endpoint, scrubber, &text)),
                        Response::Bye(text) => return Err(turned_away(endpoint, scrubber, &text)),
                        _ if is_greeted => {}
                        _ => {
                            is_greeted = true;
                            tcp.write_all(b"t1 STARTTLS\r\n").await.map_err(|error| endpoint.not_connected(&error))?;
                        }
                    }
                }
                match tcp.read(&mut block).await {
                    Ok(count) if count > 0 => decoder.push(&block[..count]),
                    _ => return Err(lost(endpoint)),
                }
            }
        };
        tokio::time::timeout(STEP_TIMEOUT, talk).await.unwrap_or_else(|_| Err(endpoint.silent(STEP_TIMEOUT, "STARTTLS")))
    }

    /// Waits for the greeting; returns whether the server knows us already.
    async fn greeting(&mut self) -> Result<bool, Blocker> {
        match self.response(STEP_TIMEOUT, "the greeting").await? {
            Response::Bye(text) => Err(turned_away(&self.endpoint, &self.scrubber, &text)),
            Response::Known => Ok(true),
            Response::Ended { .. } | Response::GoOn => Err(unreadable(&self.endpoint, "does not speak IMAP")),
            response => {
                self.note(&response);
                Ok(false)
            }
        }
    }

    async fn log_in(&mut self, account: &Account, is_known: bool) -> Result<(), Blocker> {
        if self.capabilities.is_empty() {
            self.command(&[Part::Text("CAPABILITY")], "CAPABILITY").await?;
        }
        if is_known {
            return Ok(());
        }
        let (name, password) = (account.username.expose_text().unwrap_or_default(), account.password.expose_text().unwrap_or_default());
        let ended = if self.can("AUTH=PLAIN") {
            let proof = STANDARD.encode(format!("\0{name}\0{password}"));
            self.scrubber.learn(&SecretValue::new(proof.clone()));
            self.command(&[Part::Text("AUTHENTICATE PLAIN"), Part::Literal(proof.as_bytes())], "the login").await?
        } else if self.can("LOGINDISABLED") {
            return Err(self.endpoint.connection_for_person(
                Reason::AuthenticationNotOffered,
                "the server offers no password login",
                "Check encryption, or enable AUTH=PLAIN on the server.",
            ));
        } else {
            let (name_size, password_size) = (format!("LOGIN {{{}}}", name.len()), format!(" {{{}}}", password.len()));
            let parts =
                [Part::Text(&name_size), Part::Literal(name.as_bytes()), Part::Text(&password_size), Part::Literal(password.as_bytes())];
            self.command(&parts, "the login").await?
        };
        if !ended.is_ok {
            let what = format!("the login was refused: `{}`", quoted(&self.scrubber, &ended.text));
            let to_do = "Correct `username` and `password` in the Secret; vendors require a separate password for IMAP.";
            return Err(self.endpoint.connection_for_person(Reason::AuthenticationFailed, &what, to_do));
        }
        // What is offered may be more once it is known to whom.
        self.command(&[Part::Text("CAPABILITY")], "CAPABILITY").await?;
        Ok(())
    }

    /// Whether the server offers something, in upper case.
    pub fn can(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|known| known == capability)
    }

    /// Host and port, for messages.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The server's words, fit to be shown.
    pub fn quoted(&self, text: &str) -> String {
        quoted(&self.scrubber, text)
    }

    /// Sends a command of one line, and waits for its end.
    ///
    /// # Errors
    /// When the connection broke off; a refusal is none.
    pub async fn say(&mut self, line: &str, step: &str) -> Result<Ended, Blocker> {
        self.command(&[Part::Text(line)], step).await
    }

    async fn command(&mut self, parts: &[Part<'_>], step: &str) -> Result<Ended, Blocker> {
        self.tags += 1;
        let tag = format!("m{}", self.tags);
        let mut responses = Vec::new();
        let mut line = tag.clone().into_bytes();
        line.push(b' ');
        for part in parts {
            match part {
                Part::Text(text) => line.extend_from_slice(text.as_bytes()),
                Part::Literal(bytes) => {
                    line.extend_from_slice(b"\r\n");
                    self.write(&line, step).await?;
                    line = bytes.to_vec();
                    // Where the server refuses at once, that is its answer.
                    if let Some(ended) = self.until(&tag, step, &mut responses, true).await? {
                        return Ok(ended);
                    }
                }
            }
        }
        line.extend_from_slice(b"\r\n");
        self.write(&line, step).await?;
        let ended = self.until(&tag, step, &mut responses, false).await?;
        ended.ok_or_else(|| unreadable(&self.endpoint, "asked for more than a command has"))
    }

    /// Reads until the command ends, or, if `goes_on`, until the server waits for more: then there is no end yet.
    async fn until(&mut self, tag: &str, step: &str, responses: &mut Vec<Response>, goes_on: bool) -> Result<Option<Ended>, Blocker> {
        let mut room = ANSWER_MAX;
        loop {
            let response = self.response(STEP_TIMEOUT, step).await?;
            let size = if let Response::Mail { content: Some(content), .. } = &response { content.len() } else { 64 };
            room = room.checked_sub(size).ok_or_else(|| unreadable(&self.endpoint, "sent more than was asked for"))?;
            match response {
                Response::Ended { tag: of, is_ok, text } if of == tag => {
                    return Ok(Some(Ended { is_ok, text, responses: std::mem::take(responses) }));
                }
                Response::GoOn if goes_on => return Ok(None),
                Response::Bye(text) => return Err(turned_away(&self.endpoint, &self.scrubber, &text)),
                response => {
                    self.note(&response);
                    responses.push(response);
                }
            }
        }
    }

    /// Waits until the server tells of new mail (IDLE, RFC 2177), at most this long.
    ///
    /// # Errors
    /// When the connection broke off.
    pub async fn idle(&mut self, at_most: Duration) -> Result<(), Blocker> {
        self.tags += 1;
        let tag = format!("m{}", self.tags);
        self.write(format!("{tag} IDLE\r\n").as_bytes(), "IDLE").await?;
        let mut responses = Vec::new();
        if self.until(&tag, "IDLE", &mut responses, true).await?.is_some() {
            return Ok(());
        }
        let end = tokio::time::Instant::now() + at_most;
        while !self.has_news {
            let left = end.saturating_duration_since(tokio::time::Instant::now());
            match tokio::time::timeout(left, self.response(at_most + STEP_TIMEOUT, "IDLE")).await {
                Err(_) => break,
                Ok(response) => match response? {
                    Response::Bye(text) => return Err(turned_away(&self.endpoint, &self.scrubber, &text)),
                    response => self.note(&response),
                },
            }
        }
        self.write(b"DONE\r\n", "IDLE").await?;
        self.until(&tag, "IDLE", &mut responses, false).await.map(drop)
    }

    fn note(&mut self, response: &Response) {
        match response {
            Response::Capabilities(capabilities) => self.capabilities.clone_from(capabilities),
            Response::Exists(_) => self.has_news = true,
            _ => {}
        }
    }

    async fn write(&mut self, bytes: &[u8], step: &str) -> Result<(), Blocker> {
        let writing = async {
            self.io.write_all(bytes).await?;
            self.io.flush().await
        };
        match tokio::time::timeout(STEP_TIMEOUT, writing).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(lost(&self.endpoint)),
            Err(_) => Err(self.endpoint.silent(STEP_TIMEOUT, step)),
        }
    }

    async fn response(&mut self, at_most: Duration, step: &str) -> Result<Response, Blocker> {
        let mut block = vec![0; BLOCK];
        loop {
            match self.decoder.response() {
                Ok(Some(response)) => return Ok(response),
                Ok(None) => {}
                Err(why) => return Err(unreadable(&self.endpoint, &why.to_string())),
            }
            match tokio::time::timeout(at_most, self.io.read(&mut block)).await {
                Ok(Ok(count)) if count > 0 => self.decoder.push(&block[..count]),
                Ok(_) => return Err(lost(&self.endpoint)),
                Err(_) => return Err(self.endpoint.silent(at_most, step)),
            }
        }
    }
}

fn quoted(scrubber: &Scrubber, text: &str) -> String {
    let scrubbed = scrubber.scrub(text);
    readable(&scrubbed).take(200).collect()
}

fn lost(endpoint: &Endpoint) -> Blocker {
    endpoint.connection(Reason::ConnectionLost, "the server closed the connection", "Its log may say why; it is tried again.")
}

fn unreadable(endpoint: &Endpoint, what: &str) -> Blocker {
    let to_do = "Check that host and port are those of an IMAP server, and encryption: Tls is usual on port 993, StartTls on 143.";
    endpoint.connection(Reason::ProtocolError, &format!("the server {what}"), to_do)
}

fn no_tls(endpoint: &Endpoint, scrubber: &Scrubber, text: &str) -> Blocker {
    let what = format!("the server refused STARTTLS: `{}`", quoted(scrubber, text));
    endpoint.connection_for_person(
        Reason::StartTlsNotOffered,
        &what,
        "Use encryption Tls (port 993). Mailfleet does not fall back to plain text.",
    )
}

fn turned_away(endpoint: &Endpoint, scrubber: &Scrubber, text: &str) -> Blocker {
    let what = format!("the server ended the connection: `{}`", quoted(scrubber, text));
    endpoint.connection(Reason::ServiceNotAvailable, &what, "It is tried again; if it lasts, ask the server's operator.")
}
