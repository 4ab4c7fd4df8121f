//! Calls of a vendor's HTTP API: timed, bounded, never redirected, and honest about whether the request may have arrived.

mod pause;
mod reply;
mod wire;

use std::{
    io,
    sync::{Arc, OnceLock},
    time::Duration as StdDuration,
};

use bytes::Bytes;
pub use http::{HeaderName, HeaderValue};
use http::{Method, header};
use reqwest::{Client, Request, Url, redirect::Policy};
use serde_json::Value;

pub use self::{
    pause::{of_retry_after, of_seconds as pause},
    reply::Reply,
    wire::{Answer, Lost, fetch},
};
use super::{Blocker, Context, diagnose::Endpoint, sanitize, scrub::Scrubber};
use crate::{
    egress::{Egress, client},
    meta::{Duration, Reason},
};

/// For the DNS lookup, connecting and TLS.
const CONNECT_TIMEOUT: StdDuration = StdDuration::from_secs(10);
/// An idle connection is closed after this long: before the vendor closes it, so that no request races with the closing.
const IDLE_MAX: StdDuration = StdDuration::from_secs(4);
/// How long to wait for the answer to a delivery when the spec does not say.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// The clients of a process: one for each kind of egress, made when first needed, so that a thousand servers share connections.
#[derive(Clone, Debug, Default)]
pub struct Clients(Arc<[OnceLock<Client>; 3]>);

impl Clients {
    /// The client for a URL.
    ///
    /// # Errors
    /// When TLS cannot be set up on this machine.
    pub fn get(&self, egress: Egress, url: &Url) -> Result<Client, String> {
        let slot = match egress {
            Egress::PublicOnly => 0,
            Egress::Everywhere if client::is_local(url) => 1,
            Egress::Everywhere => 2,
        };
        if let Some(client) = self.0[slot].get() {
            return Ok(client.clone());
        }
        let made = own_client(egress, url, |builder| builder)?;
        Ok(self.0[slot].get_or_init(|| made).clone())
    }
}

/// A separate client, for what cannot be shared.
///
/// # Errors
/// When TLS cannot be set up on this machine.
pub fn own_client(
    egress: Egress,
    url: &Url,
    change: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> Result<Client, String> {
    let builder = client::builder(egress, client::is_local(url))
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_MAX)
        .tcp_nodelay(true)
        // A redirect would pass credentials on.
        .redirect(Policy::none());
    change(builder).build().map_err(|error| innermost(&error).to_string())
}

/// A request to a vendor's API.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: Method,
    /// The path below the API's base, with its query: `v3/mail/send`.
    pub path: String,
    /// Headers, credentials among them (marked sensitive).
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The type of the body, and the body.
    pub body: Option<(HeaderValue, Bytes)>,
}

impl Call {
    /// A request that changes nothing.
    #[must_use]
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), headers: Vec::new(), body: None }
    }

    /// A request with a JSON body.
    #[must_use]
    pub fn post_json(path: impl Into<String>, body: &Value) -> Self {
        Self::post(path, HeaderValue::from_static("application/json"), body.to_string().into())
    }

    /// A request with any body.
    #[must_use]
    pub fn post(path: impl Into<String>, content_type: HeaderValue, body: Bytes) -> Self {
        Self { method: Method::POST, path: path.into(), headers: Vec::new(), body: Some((content_type, body)) }
    }

    /// The same with one more header.
    #[must_use]
    pub fn with(self, name: HeaderName, value: HeaderValue) -> Self {
        self.with_some(name, Some(value))
    }

    /// The same with one more header, where it has a value.
    #[must_use]
    pub fn with_some(mut self, name: HeaderName, value: Option<HeaderValue>) -> Self {
        self.headers.extend(value.map(|value| (name, value)));
        self
    }
}

/// A call that got no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoAnswer {
    /// What went wrong, and what to do.
    pub failure: Blocker,
    /// Whether the request may have arrived, and been executed.
    pub may_have_arrived: bool,
}

/// What a call is for: it decides the first words of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Finding out whether the server can send.
    Probe,
    /// Handing messages over.
    Delivery,
}

/// The client of a vendor's API for one server.
#[derive(Clone, Debug)]
pub struct ApiClient {
    base: Url,
    client: Client,
    timeout: StdDuration,
    probe_timeout: StdDuration,
    scrubber: Scrubber,
    /// Where it is, for people.
    pub endpoint: Endpoint,
}

impl ApiClient {
    /// An API at `base`; `hidden` is struck out of quotes.
    ///
    /// # Errors
    /// When the base is not a URL that may be called.
    pub fn new(context: &Context, base: &str, timeout: Option<Duration>, hidden: impl Into<Scrubber>) -> Result<Self, Blocker> {
        let unfit =
            |why: String| Blocker::passing(Reason::InvalidSpec, format!("The endpoint `{base}` cannot be called: {why}.")).for_person();
        let base_url = if base.ends_with('/') { base.to_owned() } else { format!("{base}/") };
        let url = Url::parse(&base_url).map_err(|error| unfit(error.to_string()))?;
        let client =
            context.http.get(context.egress, &url).map_err(|error| unfit(format!("TLS cannot be set up on this machine: {error}")))?;
        Self::with_client(context, url, client, timeout, hidden)
    }

    /// The same with a given HTTP client.
    ///
    /// # Errors
    /// When the address may not be contacted, or credentials would be sent unencrypted.
    pub fn with_client(
        context: &Context,
        base: Url,
        client: Client,
        timeout: Option<Duration>,
        hidden: impl Into<Scrubber>,
    ) -> Result<Self, Blocker> {
        let endpoint = Endpoint::named(host_and_port(&base));
        if !client::permits_url(context.egress, &base) {
            return Err(endpoint.connection(Reason::AddressNotAllowed, "this address may not be contacted", NOT_ALLOWED).for_person());
        }
        if base.scheme() != "https" && !(base.scheme() == "http" && client::is_local(&base)) {
            let what = "this would send the credentials unencrypted";
            return Err(endpoint.connection(Reason::InvalidSpec, what, "Use https (http only for localhost).").for_person());
        }
        Ok(Self {
            base,
            client,
            timeout: timeout.unwrap_or(TIMEOUT).std(),
            probe_timeout: context.connect_timeout,
            scrubber: hidden.into(),
            endpoint,
        })
    }

    /// Makes a call, and reads the whole answer.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn ask(&self, call: Call, purpose: Purpose) -> Result<Answer, NoAnswer> {
        let (request, body) = self.request(call)?;
        self.send(request, body, purpose).await
    }

    /// A call as a request to the API's host, and its body.
    ///
    /// # Errors
    /// When its path is no path.
    pub fn request(&self, call: Call) -> Result<(Request, Option<Bytes>), NoAnswer> {
        let unfit = |why: String| NoAnswer {
            failure: Blocker::passing(Reason::InvalidSpec, format!("`{}` is not a valid API path: {why}.", call.path)).for_person(),
            may_have_arrived: false,
        };
        let url = self.base.join(&call.path).map_err(|error| unfit(error.to_string()))?;
        let mut request = Request::new(call.method, url);
        for (name, value) in call.headers {
            request.headers_mut().append(name, value);
        }
        let body = call.body.map(|(content_type, body)| {
            request.headers_mut().insert(header::CONTENT_TYPE, content_type);
            body
        });
        Ok((request, body))
    }

    /// Sends a request, complete except for its body, to the API's host, and reads the whole answer.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn send(&self, request: Request, body: Option<Bytes>, purpose: Purpose) -> Result<Answer, NoAnswer> {
        let timeout = if purpose == Purpose::Probe { self.probe_timeout } else { self.timeout };
        fetch(&self.client, request, body, timeout)
            .await
            .map_err(|lost| NoAnswer { failure: self.transport_failure(&lost, timeout, purpose), may_have_arrived: lost.may_have_arrived })
    }

    /// What an answer says.
    #[must_use]
    pub fn read<'a>(&'a self, answer: &'a Answer, purpose: Purpose, said: &'static [&'static str]) -> Reply<'a> {
        // Some servers begin with a byte order mark, which is not JSON.
        let body = answer.body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&answer.body);
        let json = serde_json::from_slice(body).unwrap_or(Value::Null);
        Reply::new(answer, json, said, self, purpose)
    }

    fn transport_failure(&self, lost: &Lost, timeout: StdDuration, purpose: Purpose) -> Blocker {
        let error = &lost.error;
        let fail = |reason: Reason, what: &str, to_do: &str| self.fail(purpose, reason, what, to_do);
        if client::is_not_allowed(error) {
            return fail(Reason::AddressNotAllowed, "this address may not be contacted", NOT_ALLOWED).for_person();
        }
        if error.is_timeout() {
            let limit = if error.is_connect() { timeout.min(CONNECT_TIMEOUT) } else { timeout };
            let limit = Duration::from(limit);
            let what = if lost.may_have_arrived { "the vendor did not answer" } else { "no connection was established" };
            let what = format!("{what} within {limit}");
            return fail(Reason::TimedOut, &what, "Check the network and any firewall in between, or raise the timeout.");
        }
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(inner) = cause {
            if inner.to_string() == "dns error" {
                return fail(Reason::NameNotResolved, "the host name does not resolve", "Check the spelling of the endpoint, and DNS.");
            }
            if let Some(io) = inner.downcast_ref::<io::Error>() {
                if io.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>) {
                    return self.endpoint.tls(io, self.base.host_str().unwrap_or_default(), &self.scrubber);
                }
                if error.is_connect() {
                    return self.endpoint.not_connected(io);
                }
            }
            cause = inner.source();
        }
        fail(Reason::ConnectionLost, "the connection was lost before the answer arrived", "Check the network in between.")
    }

    /// A failure, worded for the call's purpose.
    #[must_use]
    pub fn fail(&self, purpose: Purpose, reason: Reason, what: &str, to_do: &str) -> Blocker {
        match purpose {
            Purpose::Probe => self.endpoint.connection(reason, what, to_do),
            Purpose::Delivery => self.endpoint.sending(reason, what, to_do),
        }
    }

    /// Words from elsewhere as they may be shown: in one line, without our secrets, bounded.
    #[must_use]
    pub fn shown(&self, words: &str) -> String {
        sanitize::readable(&self.scrubber.scrub(words)).take(sanitize::KEPT_CHARS_MAX - 8).collect()
    }

    /// What keeps the session's secrets out of what is quoted.
    #[must_use]
    pub fn scrubber(&self) -> &Scrubber {
        &self.scrubber
    }
}

const NOT_ALLOWED: &str = "Only public addresses may be contacted: check the endpoint's spelling, or ask the operator.";

/// A header's value that must not be shown.
///
/// # Errors
/// When it cannot stand in a header.
pub fn sensitive(text: &str) -> Result<HeaderValue, http::header::InvalidHeaderValue> {
    let mut value = HeaderValue::from_str(text)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Host and port of a URL, the port only when it is not the usual one.
#[must_use]
pub fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn innermost(error: &reqwest::Error) -> &dyn std::error::Error {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause
}
