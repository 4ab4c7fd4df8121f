//! Logging in (RFC 4954): PLAIN, LOGIN, SCRAM-SHA-256 and XOAUTH2.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    Mechanism,
    extensions::Extensions,
    failure::{Break, Endpoint},
    line::Line,
    reply::Reply,
    scram, verdict,
};
use crate::{
    meta::{Reason, secret::SecretValue},
    providers::{Blocker, Meaning, Stage},
};

/// The longest command line with an initial response that every server accepts (RFC 5321, 4.5.3.1.4), without its line end.
const COMMAND_CHARS_MAX: usize = 510;

/// Who we are, and how we prove it.
#[derive(Clone, Debug)]
pub struct Login {
    pub username: String,
    /// The password, or the token of XOAUTH2.
    pub secret: SecretValue,
    /// Whether `secret` is a token.
    pub is_token: bool,
    /// The mechanism that the spec requires.
    pub mechanism: Option<Mechanism>,
}

impl Login {
    /// The mechanisms to use with a server: the required one, else all that it offers, strongest first.
    fn choose(&self, extensions: &Extensions) -> impl Iterator<Item = Mechanism> + use<> {
        let extensions = *extensions;
        let wanted: [Option<Mechanism>; 3] = match (self.mechanism, self.is_token) {
            (Some(mechanism), _) => [Some(mechanism), None, None],
            (None, true) => [Some(Mechanism::XOAuth2), None, None],
            (None, false) => [Some(Mechanism::ScramSha256), Some(Mechanism::Plain), Some(Mechanism::Login)],
        };
        wanted.into_iter().flatten().filter(move |&mechanism| extensions.offers(mechanism))
    }

    fn secret(&self) -> &str {
        self.secret.expose_text().unwrap_or_default()
    }

    fn bearer(&self) -> String {
        format!("user={}\x01auth=Bearer {}\x01\x01", self.username, self.secret())
    }

    fn plain(&self) -> String {
        format!("\0{}\0{}", self.username, self.secret())
    }
}

/// How an exchange failed before it became a [`Blocker`].
enum Fault {
    Broken(Break),
    /// The server's reply.
    Refused {
        code: u16,
        /// Its words, scrubbed.
        words: String,
        /// What it means, where that is known.
        meaning: Option<Meaning>,
    },
    /// What the server sent makes no sense, in words after "the server".
    Unfit(&'static str),
}

impl From<Break> for Fault {
    fn from(broken: Break) -> Self {
        Self::Broken(broken)
    }
}

/// Logs in.
///
/// # Errors
/// When the server offers no suitable mechanism, refuses, or breaks off.
pub async fn log_in(line: &mut Line, login: &Login, endpoint: &Endpoint, timeout: Duration) -> Result<(), Blocker> {
    let mut mechanisms = login.choose(&line.extensions);
    let Some(mut mechanism) = mechanisms.next() else {
        let wanted = match (login.mechanism, login.is_token) {
            (Some(mechanism), _) => mechanism.keyword(),
            (None, true) => "XOAUTH2",
            (None, false) => "SCRAM-SHA-256, PLAIN or LOGIN",
        };
        return Err(not_offered(endpoint, &format!("the server does not offer AUTH {wanted}")));
    };
    loop {
        let ended = match mechanism {
            Mechanism::Plain => plain(line, login, timeout).await,
            Mechanism::Login => login_in_steps(line, login, timeout).await,
            Mechanism::ScramSha256 => scram_sha_256(line, login, timeout).await,
            Mechanism::XOAuth2 => xoauth2(line, login, timeout).await,
        };
        match (ended, mechanisms.next()) {
            (Ok(()), _) => return Ok(()),
            // It was offered but is not supported after all: the login itself has not been judged yet.
            (Err(Fault::Refused { code, .. }), Some(next)) if is_unknown_mechanism(code) => mechanism = next,
            (Err(fault), _) => return Err(failure(fault, mechanism, login, endpoint)),
        }
    }
}

/// Whether the mechanism was refused and not the login (RFC 4954, 4; RFC 5321, 4.2.4).
fn is_unknown_mechanism(code: u16) -> bool {
    matches!(code, 500..=502 | 504)
}

fn not_offered(endpoint: &Endpoint, what: &str) -> Blocker {
    let advice = "Check auth.mechanism and encryption, or omit auth if the server admits this machine by its address.";
    endpoint.connection_for_person(Reason::AuthenticationNotOffered, what, advice)
}

fn failure(fault: Fault, mechanism: Mechanism, login: &Login, endpoint: &Endpoint) -> Blocker {
    let keyword = mechanism.keyword();
    match fault {
        Fault::Broken(broken) => endpoint.broken_connection(broken, "AUTH"),
        Fault::Unfit(words) => endpoint.connection_for_person(
            Reason::AuthenticationFailed,
            &format!("the server {words}"),
            "Check host and port; `mechanism: Plain` does without SCRAM.",
        ),
        Fault::Refused { words, meaning: Some(meaning), .. } => {
            verdict::connection(&meaning, &format!("the server answered AUTH {keyword} with `{words}`"), endpoint)
        }
        Fault::Refused { code: 421, words, meaning: None } => endpoint.connection(
            Reason::ServiceNotAvailable,
            &format!("the server answered AUTH {keyword} with `{words}`"),
            "It is retried; if this lasts, ask the server's operator.",
        ),
        Fault::Refused { code, words, meaning: None } if code / 100 == 4 => endpoint.connection(
            Reason::AuthenticationFailed,
            &format!("the server cannot check the login at the moment: `{words}`"),
            "It is retried; if this lasts, ask the server's operator.",
        ),
        Fault::Refused { code, words, meaning: None } if is_unknown_mechanism(code) => {
            not_offered(endpoint, &format!("the server offers AUTH {keyword}, and answered it with `{words}`"))
        }
        Fault::Refused { words, meaning: None, .. } => endpoint.connection_for_person(
            Reason::AuthenticationFailed,
            &format!("the server rejected the login by {keyword}: `{words}`"),
            if login.is_token { "Renew username and token in the Secret." } else { "Check username and password in the Secret." },
        ),
    }
}

/// The challenge of a 334 reply, or what the reply says instead.
fn challenge(reply: Reply<'_>) -> Result<Vec<u8>, Fault> {
    if reply.code != 334 {
        return Err(refused(reply));
    }
    // LOGIN's prompts need not be base64; where it matters the exchange fails later.
    Ok(STANDARD.decode(reply.text.trim_ascii()).unwrap_or_default())
}

fn success(reply: Reply<'_>) -> Result<(), Fault> {
    if reply.is_positive() { Ok(()) } else { Err(refused(reply)) }
}

fn refused(reply: Reply<'_>) -> Fault {
    if reply.code / 100 < 4 {
        return Fault::Unfit("gave an unexpected answer to AUTH");
    }
    Fault::Refused { code: reply.code, words: reply.quoted(), meaning: verdict::of_server(reply, Stage::Login) }
}

async fn plain(line: &mut Line, login: &Login, timeout: Duration) -> Result<(), Fault> {
    let response = STANDARD.encode(login.plain());
    let command = format!("AUTH PLAIN {response}");
    if command.len() <= COMMAND_CHARS_MAX {
        return success(line.command(&command, timeout).await?);
    }
    challenge(line.command("AUTH PLAIN", timeout).await?)?;
    success(line.command(&response, timeout).await?)
}

async fn login_in_steps(line: &mut Line, login: &Login, timeout: Duration) -> Result<(), Fault> {
    challenge(line.command("AUTH LOGIN", timeout).await?)?;
    challenge(line.command(&STANDARD.encode(&login.username), timeout).await?)?;
    success(line.command(&STANDARD.encode(login.secret()), timeout).await?)
}

async fn scram_sha_256(line: &mut Line, login: &Login, timeout: Duration) -> Result<(), Fault> {
    let mut random = [0; 18];
    getrandom::fill(&mut random).map_err(|_| Fault::Unfit("cannot be logged in to: this machine provides no random numbers"))?;
    let nonce = STANDARD.encode(random);
    let first = STANDARD.encode(scram::first(&login.username, &nonce));
    let server_first = challenge(line.command(&format!("AUTH SCRAM-SHA-256 {first}"), timeout).await?)?;
    let server_first = String::from_utf8(server_first).map_err(|_| Fault::Unfit("sent a malformed SCRAM challenge"))?;
    let own = login.clone();
    let proof = tokio::task::spawn_blocking(move || scram::last(&own.username, own.secret().as_bytes(), &nonce, &server_first));
    let (last, expected) = tokio::time::timeout(timeout, proof)
        .await
        .map_err(|_| Break::TimedOut(timeout))?
        .map_err(|_| Fault::Unfit("cannot be logged in to: the proof was interrupted"))?
        .map_err(|unfit| Fault::Unfit(unfit.0))?;
    let server_last = challenge(line.command(&STANDARD.encode(last), timeout).await?)?;
    if !scram::is_proven(&expected, &String::from_utf8_lossy(&server_last)) {
        return Err(Fault::Unfit("could not prove that it knows the password"));
    }
    success(line.command("", timeout).await?)
}

async fn xoauth2(line: &mut Line, login: &Login, timeout: Duration) -> Result<(), Fault> {
    let response = STANDARD.encode(login.bearer());
    let reply = line.command(&format!("AUTH XOAUTH2 {response}"), timeout).await?;
    if reply.code != 334 {
        return success(reply);
    }
    // The challenge is the error, in JSON; an empty line asks for the final refusal.
    success(line.command("", timeout).await?)
}
