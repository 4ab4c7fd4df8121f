//! The admin endpoint: `/livez` and `/readyz` for probes, `/metrics` for Prometheus. Plain HTTP, without a login, read only.
//!
//! A connection carries one request, has a time, and its headers have a bound; no more than some are open at once: the one that is silent for longest makes room.

use std::{collections::VecDeque, convert::Infallible, io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::AbortHandle,
    time::Instant,
};

use super::{Health, metrics};

/// Where it listens when only asked to.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:9091";

/// Connections at a time; for one more, the oldest is closed.
const CONNECTIONS_MAX: usize = 32;
/// For a whole connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// For the request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// The request's head, bytes; hyper takes no less.
const HEAD_MAX: usize = 8192;
/// After a connection could not be accepted (no file descriptor is left, for instance).
const ACCEPT_RETRY: Duration = Duration::from_millis(200);

/// The admin endpoint, bound.
pub struct Admin {
    listener: TcpListener,
}

impl Admin {
    /// Listens at an address.
    ///
    /// # Errors
    /// When the address is not this machine's, or in use.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await? })
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers for as long as the process lives.
    pub async fn serve(self, health: Health) {
        let mut open: VecDeque<AbortHandle> = VecDeque::new();
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "the admin endpoint could not accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            open.retain(|connection| !connection.is_finished());
            // An answer takes no time: whoever is there for longest is one who says nothing.
            if open.len() >= CONNECTIONS_MAX
                && let Some(longest) = open.pop_front()
            {
                longest.abort();
            }
            open.push_back(tokio::spawn(converse(stream, health.clone())).abort_handle());
        }
    }
}

async fn converse(stream: TcpStream, health: Health) {
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_MAX).keep_alive(false);
    let connection = server.serve_connection(
        TokioIo::new(stream),
        service_fn(move |request: Request<Incoming>| {
            let health = health.clone();
            async move { Ok::<_, Infallible>(answer(&request, &health).await) }
        }),
    );
    // What went wrong is the other side's affair: it went away, or spoke no HTTP.
    let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await;
}

async fn answer<B>(request: &Request<B>, health: &Health) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered");
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match request.uri().path() {
        "/livez" => state(health.live(Instant::now())),
        "/readyz" => state(health.ready()),
        "/metrics" => metrics::answer(request.headers(), health).await,
        "/" => plain(StatusCode::OK, "/livez\n/readyz\n/metrics"),
        _ => plain(StatusCode::NOT_FOUND, "there are /livez, /readyz and /metrics"),
    }
}

fn state(state: Result<(), impl AsRef<str>>) -> Response<Full<Bytes>> {
    match state {
        Ok(()) => plain(StatusCode::OK, "ok"),
        Err(why) => plain(StatusCode::SERVICE_UNAVAILABLE, why.as_ref()),
    }
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", format!("{text}\n"))
}

fn response(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
