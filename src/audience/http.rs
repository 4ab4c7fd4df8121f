//! The body of a URL, read from a thread that may block.
//!
//! Where it may go is the caller's [`Egress`]: names are resolved by it, literal addresses and each redirect are checked,
//! and a proxy, which would resolve names by itself, is not used when only public addresses may be contacted.

use std::{
    io::{self, Read},
    net::{IpAddr, SocketAddr},
    sync::atomic::Ordering,
    time::Duration,
};

use reqwest::{
    Client, ClientBuilder, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect::{Attempt, Policy},
};
use tokio::runtime::Handle;

use super::{AudienceError, Progress};
use crate::{
    egress::{Egress, NotAllowed},
    resources::Reason,
};

/// For name lookup, connection and TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Without any byte arriving.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Redirects that are followed.
const REDIRECTS_MAX: usize = 5;

/// A response's body.
pub(super) struct Body {
    response: reqwest::Response,
    chunk: bytes::Bytes,
    runtime: Handle,
}

/// Asks for a URL. Gives the URL as people may see it, and the body of a good answer.
pub(super) fn open(url: &str, egress: Egress, runtime: &Handle, progress: &Progress) -> Result<(String, Body), AudienceError> {
    let url = Url::parse(url).map_err(|error| AudienceError::unreadable(format!("the audience's URL is not a URL: {error}")))?;
    let place = shown(&url);
    let fail = |reason: Reason, transient: bool, what: String| AudienceError { reason, transient, message: format!("{place}: {what}") };
    if !matches!(url.scheme(), "http" | "https") {
        return Err(fail(Reason::AudienceUnreadable, false, "only http and https URLs are read".to_owned()));
    }
    if !permits(egress, &url) {
        return Err(fail(Reason::AddressNotAllowed, false, NotAllowed.to_string()));
    }
    let is_local = url.host_str().is_some_and(|host| matches!(host, "localhost" | "127.0.0.1" | "[::1]"));
    let client = builder(egress, is_local).build().map_err(|error| fail(Reason::AudienceUnreadable, false, told(error)))?;
    // Within the future: the timer of the client needs the runtime from the first call on.
    let sent = runtime.block_on(async { client.get(url.clone()).send().await });
    let response = sent.map_err(|error| {
        let transient = !error.is_redirect() && !error.is_builder();
        if is_not_allowed(&error) {
            return fail(Reason::AddressNotAllowed, transient, NotAllowed.to_string());
        }
        fail(Reason::AudienceUnreadable, transient, told(error))
    })?;
    let status = response.status();
    if !status.is_success() {
        let transient = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
        let advice = if transient { "" } else { "; check the URL" };
        return Err(fail(Reason::AudienceUnreadable, transient, format!("the server answered {status}{advice}")));
    }
    progress.total.store(response.content_length().unwrap_or(0), Ordering::Relaxed);
    let body = Body { response, chunk: bytes::Bytes::new(), runtime: runtime.clone() };
    Ok((place, body))
}

/// How URLs are asked for.
pub(super) fn builder(egress: Egress, is_local: bool) -> ClientBuilder {
    let client = Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .user_agent(concat!("mailfleet/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::custom(move |attempt| redirect(egress, attempt)));
    match egress {
        Egress::PublicOnly => client.no_proxy().dns_resolver(Resolver(egress)),
        // A proxy would look for it on its own machine.
        Egress::Everywhere if is_local => client.no_proxy(),
        Egress::Everywhere => client,
    }
}

fn redirect(egress: Egress, attempt: Attempt) -> reqwest::redirect::Action {
    let downgrade = attempt.previous().iter().any(|url| url.scheme() == "https") && attempt.url().scheme() != "https";
    if attempt.previous().len() > REDIRECTS_MAX {
        attempt.error(format!("it redirects more than {REDIRECTS_MAX} times"))
    } else if downgrade {
        attempt.error("it redirects from https to http")
    } else if !permits(egress, attempt.url()) {
        attempt.error(NotAllowed)
    } else {
        attempt.follow()
    }
}

/// Judges literal addresses, which are not resolved; names are left to the [`Resolver`].
fn permits(egress: Egress, url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    literal.parse::<IpAddr>().map_or(true, |address| egress.permits(address))
}

/// Hands only those addresses to the connection that may be contacted.
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

/// Whether an address that may not be contacted is the cause.
pub(super) fn is_not_allowed(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if inner.is::<NotAllowed>() {
            return true;
        }
        cause = inner.source();
    }
    false
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.runtime.block_on(self.response.chunk()) {
                Ok(Some(chunk)) => self.chunk = chunk,
                Ok(None) => return Ok(0),
                Err(error) => return Err(io::Error::other(told(error))),
            }
        }
        let length = buffer.len().min(self.chunk.len());
        buffer[..length].copy_from_slice(&self.chunk.split_to(length));
        Ok(length)
    }
}

/// A URL for people: without credentials, query and fragment.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Neither can fail for http and https, the only ones that are read.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

/// An HTTP error by its innermost cause, without its URL.
fn told(error: reqwest::Error) -> String {
    if error.is_timeout() {
        let (connect, read) = (CONNECT_TIMEOUT.as_secs(), READ_TIMEOUT.as_secs());
        return if error.is_connect() { format!("no connection within {connect} s") } else { format!("no byte arrived for {read} s") };
    }
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    // The layers above only say which of them it went through.
    if error.is_connect() {
        format!("no connection: {cause}")
    } else if error.is_request() {
        format!("no answer: {cause}")
    } else {
        cause.to_string()
    }
}
