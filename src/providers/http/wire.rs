//! One exchange on the wire: bounded in time and size, and certain of whether the request may have arrived.

use std::{
    convert::Infallible,
    io::Read as _,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};
use reqwest::{Client, Request};

/// Bytes that are read of an answer, and to which it may unpack.
const ANSWER_MAX: usize = 1 << 20;
/// How often a request is made that the other side declined unread.
const TRIES: u32 = 3;

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// The body, 1 MiB at most.
    pub body: Bytes,
    /// Whether the body arrived completely: neither cut off nor too long.
    pub is_whole: bool,
}

/// An exchange without an answer.
#[derive(Debug)]
pub struct Lost {
    pub error: reqwest::Error,
    /// Whether the request may have arrived; false where there was no connection to write to.
    pub may_have_arrived: bool,
}

/// Sends a request, whose body is `body`, and reads the whole answer.
///
/// # Errors
/// When no answer came, or a 2xx only in part: only a complete answer says what was taken.
pub async fn fetch(client: &Client, request: Request, body: Option<Bytes>, timeout: Duration) -> Result<Answer, Lost> {
    let begun = Instant::now();
    let mut tries = 0;
    loop {
        tries += 1;
        let (attempt, is_handed_over) = prepared(&request, body.clone(), timeout.saturating_sub(begun.elapsed()));
        match exchange(client, attempt).await {
            Err(error) if tries < TRIES && is_declined(&error) => {}
            Err(error) => {
                let is_unsent = error.is_builder() || error.is_connect() || is_declined(&error) || !is_handed_over.load(Ordering::Acquire);
                return Err(Lost { error, may_have_arrived: !is_unsent });
            }
            Ok(answer) => return Ok(answer),
        }
    }
}

/// The request with its body and timeout, and whether the transport has taken the body.
fn prepared(request: &Request, body: Option<Bytes>, timeout: Duration) -> (Request, Arc<AtomicBool>) {
    let mut attempt = Request::new(request.method().clone(), request.url().clone());
    *attempt.headers_mut() = request.headers().clone();
    *attempt.timeout_mut() = Some(timeout);
    let bytes = body.filter(|bytes| !bytes.is_empty());
    // Without a body there is no sign of when the transport takes the request.
    let is_handed_over = Arc::new(AtomicBool::new(bytes.is_none()));
    if let Some(bytes) = bytes {
        *attempt.body_mut() = Some(reqwest::Body::wrap(Watched { bytes: Some(bytes), is_handed_over: is_handed_over.clone() }));
    }
    (attempt, is_handed_over)
}

async fn exchange(client: &Client, request: Request) -> Result<Answer, reqwest::Error> {
    let mut response = client.execute(request).await?;
    let (status, headers) = (response.status().as_u16(), std::mem::take(response.headers_mut()));
    let mut body = Vec::new();
    let is_whole = loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= ANSWER_MAX => body.extend_from_slice(&chunk),
            Ok(Some(chunk)) => {
                body.extend_from_slice(&chunk[..ANSWER_MAX - body.len()]);
                break false;
            }
            Ok(None) => break true,
            // A refusal is one even without its words; only a complete answer says what was taken.
            Err(_) if (400..500).contains(&status) => break false,
            Err(error) => return Err(error),
        }
    };
    Ok(unpacked(Answer { status, headers, body: body.into(), is_whole }))
}

/// The same, decompressed where something gzipped it unasked, whether or not a header says so.
fn unpacked(answer: Answer) -> Answer {
    if !answer.body.starts_with(&[0x1f, 0x8b]) {
        return answer;
    }
    let mut body = Vec::new();
    let limit = ANSWER_MAX as u64 + 1;
    match MultiGzDecoder::new(&answer.body[..]).take(limit).read_to_end(&mut body) {
        Ok(_) => {
            let is_whole = answer.is_whole && body.len() <= ANSWER_MAX;
            let mut headers = answer.headers;
            headers.remove(header::CONTENT_ENCODING);
            Answer { headers, body: body.into(), is_whole, ..answer }
        }
        Err(_) => Answer { is_whole: false, ..answer },
    }
}

/// Whether the other side says that it did not process the request (RFC 9113, 8.7): it may be made again.
fn is_declined(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if let Some(error) = inner.downcast_ref::<h2::Error>() {
            return error.is_remote()
                && (error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM)
                    || error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR));
        }
        cause = inner.source();
    }
    false
}

/// A request's body that notes when the transport takes it. Before that there is no connection, or nothing written that
/// could be acted on: a server waits for an announced body.
struct Watched {
    bytes: Option<Bytes>,
    is_handed_over: Arc<AtomicBool>,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.is_handed_over.store(true, Ordering::Release);
        Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
