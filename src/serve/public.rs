//! The public listener: what people and mailbox providers reach from the internet, through a proxy that ends TLS.
//!
//! A connection carries one request. Its head, its answer and the whole of it have a time, head and body have a bound, each client has
//! a rate and a number of connections, and all together have one: for one more, that makes room which has been waiting for longest, so
//! that those who say nothing, or say it slowly, keep nobody out. What is answered is a [`Router`]; each route may bound its body
//! otherwise, by a `DefaultBodyLimit` of its own.

pub mod client;
pub mod page;
mod rate;
#[cfg(test)]
mod tests;
pub mod unsubscribe;

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::DefaultBodyLimit, response::Response};
use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::AbortHandle,
    time::Instant,
};
use tower_service::Service as _;

use self::{
    client::{Client, Network},
    rate::Rates,
};

/// Connections at a time.
const CONNECTIONS_MAX: usize = 512;
/// Connections of one client at a time; a proxy that is trusted brings many clients, and has no such bound.
const CLIENT_CONNECTIONS_MAX: usize = 32;
/// For a whole connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// For the request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// For the request's body and the answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// An answer that has taken this long may be given up for somebody else; what is asked again is answered again.
const PATIENCE_MS: u64 = 2_000;
/// The request's head, bytes.
const HEAD_MAX: usize = 16 << 10;
/// The request's body, bytes, where the route does not say otherwise.
const BODY_MAX: usize = 16 << 10;
/// After a connection could not be accepted (no file descriptor is left, for instance).
const ACCEPT_RETRY: Duration = Duration::from_millis(200);

/// The public listener, bound.
pub struct Public {
    listener: TcpListener,
    door: Arc<Door>,
}

/// What all connections share.
struct Door {
    router: Router,
    rates: Mutex<Rates>,
    /// Whose word on the client's address is taken.
    proxies: Vec<Network>,
    began: Instant,
}

/// A connection.
struct Open {
    client: Client,
    phase: Arc<Phase>,
    task: AbortHandle,
}

/// What a connection is doing, and since when: milliseconds since the listener began, twice, and one more while it is answered.
struct Phase(AtomicU64);

impl Phase {
    fn enter(&self, now_ms: u64, is_answered: bool) {
        self.0.store(2 * now_ms + u64::from(is_answered), Ordering::Relaxed);
    }

    /// Since when it waits for the other side; `None` while an answer is made that has not taken long.
    fn waits_since(&self, now_ms: u64) -> Option<u64> {
        let value = self.0.load(Ordering::Relaxed);
        let since = value / 2;
        (value.is_multiple_of(2) || now_ms.saturating_sub(since) > PATIENCE_MS).then_some(since)
    }
}

impl Public {
    /// Listens at an address. `proxies` are the networks of the proxies in front, whose `X-Forwarded-For` is believed.
    ///
    /// # Errors
    /// When the address is not this machine's, or in use.
    pub async fn bind(address: SocketAddr, router: Router, proxies: Vec<Network>) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let router = router.fallback(async || page::not_found()).layer(DefaultBodyLimit::max(BODY_MAX));
        Ok(Self { listener, door: Arc::new(Door { router, rates: Mutex::default(), proxies, began: Instant::now() }) })
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers for as long as the process lives.
    pub async fn serve(self) {
        let mut open: Vec<Open> = Vec::new();
        loop {
            let (stream, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::debug!(%error, "the public listener could not accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            let now_ms = self.door.now_ms();
            open.retain(|connection| !connection.task.is_finished());
            let client = Client::of(peer.ip());
            let is_proxy = self.door.proxies.iter().any(|proxy| proxy.has(peer.ip()));
            let has_room = (is_proxy || make_room(&mut open, CLIENT_CONNECTIONS_MAX, now_ms, |one| one.client == client))
                && make_room(&mut open, CONNECTIONS_MAX, now_ms, |_| true);
            if !has_room {
                // All are being answered, which takes no time: whoever is turned away comes again.
                continue;
            }
            let phase = Arc::new(Phase(AtomicU64::new(2 * now_ms)));
            let task = tokio::spawn(self.door.clone().converse(stream, peer.ip(), phase.clone())).abort_handle();
            open.push(Open { client, phase, task });
        }
    }
}

/// Whether there is room for one more of those that `counts`, after the one of them that has waited for longest was closed.
fn make_room(open: &mut Vec<Open>, most: usize, now_ms: u64, counts: impl Fn(&Open) -> bool) -> bool {
    if open.iter().filter(|one| counts(one)).count() < most {
        return true;
    }
    let waiting = open.iter().enumerate().filter(|(_, one)| counts(one));
    let longest = waiting.filter_map(|(at, one)| Some((one.phase.waits_since(now_ms)?, at))).min();
    let Some((_, at)) = longest else { return false };
    open.remove(at).task.abort();
    true
}

impl Door {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX / 4)
    }

    async fn converse(self: Arc<Self>, stream: TcpStream, peer: IpAddr, phase: Arc<Phase>) {
        let mut server = http1::Builder::new();
        // A connection that is kept for a proxy's next request is closed at some time, perhaps just as that request comes.
        server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_MAX).keep_alive(false);
        let connection = server.serve_connection(
            TokioIo::new(stream),
            service_fn(|request| {
                let (door, phase) = (self.clone(), phase.clone());
                async move { Ok::<_, Infallible>(door.answer(request, peer, &phase).await) }
            }),
        );
        // What went wrong is the other side's affair: it went away, or spoke no HTTP.
        let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await;
    }

    async fn answer(&self, request: Request<Incoming>, peer: IpAddr, phase: &Phase) -> Response {
        let client = client::of(peer, request.headers(), &self.proxies);
        phase.enter(self.now_ms(), true);
        let every_ms = if request.uri().path().starts_with("/feedback/") { rate::VENDOR_EVERY_MS } else { rate::EVERY_MS };
        let wait = self.rates.lock().unwrap_or_else(PoisonError::into_inner).take(client, every_ms, self.now_ms());
        let answer = match wait {
            Err(wait) => page::too_often(wait),
            Ok(()) => match tokio::time::timeout(ANSWER_TIMEOUT, self.router.clone().call(request.map(Body::new))).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(never)) => match never {},
                Err(_) => page::try_again(),
            },
        };
        phase.enter(self.now_ms(), false);
        answer
    }
}
