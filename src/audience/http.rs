//! The body of a URL, read from a thread that may block.
//!
//! The caller's [`Egress`] decides where it may go; each redirect is checked. Credentials go to the URL's own origin (scheme, host and
//! port) only: a redirect elsewhere is followed without them.

use std::{
    io::{self, Read},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use http::{
    HeaderMap,
    header::{LOCATION, RETRY_AFTER},
};
use jiff::Timestamp;
use reqwest::{
    ClientBuilder, Url,
    redirect::{Attempt, Policy},
};
use tokio::runtime::Handle;

use super::{Blocker, Credential, Login, Progress, Remote, unreadable};
use crate::{
    egress::{Egress, NotAllowed, client},
    providers::{http::of_retry_after, scrub::Scrubber},
    resources::Reason,
};

/// For the DNS lookup, connecting and TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Without any byte arriving.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Before a URL that was refused is asked for again.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(5);
/// For all of a file that is fetched as a whole.
const FETCH_MAX: Duration = Duration::from_secs(120);
/// Redirects that are followed.
const REDIRECTS_MAX: usize = 5;

/// The body of a response, read on a thread that may block.
pub(super) struct Body {
    response: reqwest::Response,
    chunk: bytes::Bytes,
    runtime: Handle,
}

/// A successful answer whose body is still to be read.
pub(super) struct Answer {
    /// The URL as it may be shown.
    pub place: String,
    /// The URL that answered, after redirects.
    pub url: Url,
    /// The header.
    pub header: HeaderMap,
    /// The bytes of its body, where the server says how many they are.
    length: Option<u64>,
    /// The body.
    pub body: Body,
}

/// Why a URL has no answer that can be read.
pub(super) struct Refused {
    /// The same for people.
    pub blocker: Blocker,
    /// Whether the server may answer in a moment: it does not do so now, or is asked too often.
    pub may_pass: bool,
    /// How long the server wants to be left alone.
    pub pause: Option<Duration>,
}

impl From<Blocker> for Refused {
    fn from(blocker: Blocker) -> Self {
        Self { may_pass: false, blocker, pause: None }
    }
}

/// Requests a URL. Returns the URL as it may be shown, and the body of a successful answer. `scrubber` learns what must not be quoted.
pub(super) fn open(remote: &Remote, runtime: &Handle, progress: &Progress, scrubber: &Scrubber) -> Result<(String, Body), Blocker> {
    let answer = ask(remote, &parsed(&remote.url)?, runtime, scrubber).map_err(|refused| refused.blocker)?;
    progress.total.store(answer.length.unwrap_or(0), Ordering::Relaxed);
    Ok((answer.place, answer.body))
}

/// A URL, read.
pub(super) fn parsed(url: &str) -> Result<Url, Blocker> {
    Url::parse(url).map_err(|error| unreadable(format!("the URL is invalid: {error}")))
}

/// Requests the URL of an audience, or one that its answers lead to. Only where that is of the same origin it gets the credentials, and
/// it must be one that may be contacted all the same.
pub(super) fn ask(remote: &Remote, url: &Url, runtime: &Handle, scrubber: &Scrubber) -> Result<Answer, Refused> {
    let (place, egress, own) = (shown(url), remote.egress, parsed(&remote.url)?);
    let fail = |reason: Reason, transient: bool, what: String| Blocker {
        needs_person: !transient,
        ..Blocker::passing(reason, format!("{place}: {what}"))
    };
    if !matches!(url.scheme(), "http" | "https") {
        return Err(fail(Reason::AudienceUnreadable, false, "only http and https URLs are supported".to_owned()).into());
    }
    if own.scheme() == "https" && url.scheme() != "https" {
        return Err(fail(Reason::AudienceUnreadable, false, "an https URL redirects or links to it, and it is http".to_owned()).into());
    }
    if !client::permits_url(egress, url) {
        return Err(fail(Reason::AddressNotAllowed, false, NotAllowed.to_string()).into());
    }
    let login = remote.login.as_ref().filter(|_| own.origin() == url.origin());
    let credential = login.map(Login::credential).transpose()?;
    if let Some(credential) = &credential {
        if url.scheme() != "https" && !client::is_local(url) {
            let what = "credentials are not sent over http; give an https URL".to_owned();
            return Err(fail(Reason::AudienceUnreadable, false, what).into());
        }
        credential.hide(scrubber);
    }
    let request = |url: &Url, credential: Option<&Credential>| {
        let confined = credential.map(|_| url.clone());
        let client = builder(egress, client::is_local(url), confined).build();
        let client = client.map_err(|error| fail(Reason::AudienceUnreadable, false, told(error)))?;
        let mut request = client.get(url.clone());
        if let Some((name, value)) = credential.map(Credential::field) {
            request = request.header(name, value);
        }
        // Inside the future: the client's timer needs the runtime from the first call on.
        runtime.block_on(async { request.send().await }).map_err(|error| {
            let transient = !error.is_redirect() && !error.is_builder();
            if client::is_not_allowed(&error) {
                return fail(Reason::AddressNotAllowed, transient, NotAllowed.to_string()).into();
            }
            Refused { blocker: fail(Reason::AudienceUnreadable, transient, told(error)), may_pass: transient, pause: None }
        })
    };
    let mut response = request(url, credential.as_ref())?;
    if credential.is_some()
        && let Some(elsewhere) = redirected_to(&response)
    {
        response = request(&elsewhere, None)?;
    }
    let status = response.status();
    if !status.is_success() {
        let transient = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
        let advice = match (status.as_u16(), &credential) {
            _ if transient => "",
            (401 | 403, Some(_)) => "; check the Secret that `auth` names. It is read as soon as the server provides it",
            (401 | 403, None) => "; check the URL, or give credentials in `auth`. It is read as soon as the server provides it",
            _ => "; check the URL. It is read as soon as the server provides it",
        };
        let refused = fail(Reason::AudienceUnreadable, transient, format!("the server answered {status}{advice}"));
        let value = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let pause = value.and_then(|value| of_retry_after(value, Timestamp::now()));
        return Err(Refused { blocker: refused.after((!transient).then_some(ASK_AGAIN)), may_pass: transient, pause });
    }
    let (length, url, header) = (response.content_length(), response.url().clone(), response.headers().clone());
    let body = Body { response, chunk: bytes::Bytes::new(), runtime: runtime.clone() };
    Ok(Answer { place, url, header, length, body })
}

/// The bytes of a URL that is not an audience, within [`FETCH_MAX`]; none when there are more than `max`. It blocks.
///
/// # Errors
/// When it cannot be fetched now.
pub(crate) fn fetch(remote: &Remote, runtime: &Handle, max: u64) -> Result<Option<Vec<u8>>, Blocker> {
    let scrubber = Scrubber::default();
    let (begun_at, progress) = (Instant::now(), Progress::default());
    let (place, mut body) = open(remote, runtime, &progress, &scrubber)?;
    if progress.total.load(Ordering::Relaxed) > max {
        return Ok(None);
    }
    let failed = |what: &str| Blocker::passing(Reason::AudienceUnreadable, scrubber.scrub(&format!("{place}: {what}")));
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        match body.read(&mut buffer).map_err(|error| failed(&error.to_string()))? {
            0 => return Ok(Some(bytes)),
            length => bytes.extend_from_slice(&buffer[..length]),
        }
        if bytes.len() as u64 > max {
            return Ok(None);
        }
        if begun_at.elapsed() > FETCH_MAX {
            return Err(failed(&format!("it took longer than {} s", FETCH_MAX.as_secs())));
        }
    }
}

/// The client that requests URLs. Redirects that leave the origin of the URL it is `confined` to are checked, and not followed.
pub(super) fn builder(egress: Egress, is_local: bool, confined: Option<Url>) -> ClientBuilder {
    client::builder(egress, is_local)
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        // It would hold the query, which may be a signature.
        .referer(false)
        .redirect(Policy::custom(move |attempt| redirect(egress, confined.as_ref(), attempt)))
}

fn redirect(egress: Egress, confined: Option<&Url>, attempt: Attempt) -> reqwest::redirect::Action {
    let downgrade = attempt.previous().iter().any(|url| url.scheme() == "https") && attempt.url().scheme() != "https";
    if attempt.previous().len() > REDIRECTS_MAX {
        attempt.error(format!("it redirects more than {REDIRECTS_MAX} times"))
    } else if downgrade {
        attempt.error("it redirects from https to http")
    } else if !client::permits_url(egress, attempt.url()) {
        attempt.error(NotAllowed)
    } else if confined.is_some_and(|url| url.origin() != attempt.url().origin()) {
        attempt.stop()
    } else {
        attempt.follow()
    }
}

/// Where an answer redirects to that was not followed.
fn redirected_to(response: &reqwest::Response) -> Option<Url> {
    let location = response.headers().get(LOCATION).filter(|_| response.status().is_redirection())?;
    response.url().join(location.to_str().ok()?).ok()
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
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Neither can fail for http and https, the only schemes that are supported.
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
    // The layers above only say that it passed through them.
    if error.is_connect() {
        format!("no connection: {cause}")
    } else if error.is_request() {
        format!("no answer: {cause}")
    } else {
        cause.to_string()
    }
}
