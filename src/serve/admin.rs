//! The admin endpoint: `/livez` and `/readyz` for probes, `/metrics` for Prometheus, and the dashboard. Plain HTTP, read only.
//!
//! Probes and metrics need no login; who may see the dashboard is its own affair. A connection carries one request, has a time, and its
//! headers have a bound; no more than some are open at once: the one that is silent for longest makes room. Pages that stay open for
//! news are counted apart from these, by the dashboard.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Path, Request, State},
    response::Response,
    routing::{get, post},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::AbortHandle,
    time::Instant,
};
use tower_service::Service as _;

use super::{
    Health,
    dashboard::{Dashboard, DashboardOptions},
    metrics,
};

/// Where it listens when only asked to.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:9091";

/// Connections at a time; for one more, the oldest is closed.
const CONNECTIONS_MAX: usize = 128;
/// For a whole connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// For a page that is live.
const LIVE_TIMEOUT: Duration = Duration::from_hours(1);
/// For the request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// The request's head, bytes; hyper takes no less.
const HEAD_MAX: usize = 8192;
/// The body of a request, bytes: a form with a token.
const BODY_MAX: usize = 8192;
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
    pub async fn serve(self, health: Health, options: DashboardOptions) {
        let address = self.address().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
        let dashboard = Arc::new(Dashboard::new(options, address, health.clone()));
        let router = router(health, dashboard);
        let mut open: VecDeque<(AbortHandle, Live)> = VecDeque::new();
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "the admin endpoint could not accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            open.retain(|(connection, live)| !connection.is_finished() && !live.is());
            // An answer takes no time: whoever is there for longest is one who says nothing.
            if open.len() >= CONNECTIONS_MAX
                && let Some((longest, _)) = open.pop_front()
            {
                longest.abort();
            }
            let live = Live::default();
            open.push_back((tokio::spawn(converse(stream, router.clone(), live.clone())).abort_handle(), live));
        }
    }
}

/// Whether a connection is that of a page that stays open for news.
#[derive(Clone, Default)]
struct Live(Arc<AtomicBool>);

impl Live {
    fn is(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

async fn converse(stream: TcpStream, router: Router, live: Live) {
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_MAX).keep_alive(false);
    let connection = server.serve_connection(
        TokioIo::new(stream),
        service_fn(|request: http::Request<Incoming>| {
            let (mut router, live) = (router.clone(), live.clone());
            async move {
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(live);
                router.call(request).await
            }
        }),
    );
    let mut connection = std::pin::pin!(connection);
    // What went wrong is the other side's affair: it went away, or spoke no HTTP.
    let has_ended = tokio::time::timeout(CONNECTION_TIMEOUT, &mut connection).await.is_ok();
    if !has_ended && live.is() {
        // A browser that still looks asks again.
        let _ = tokio::time::timeout(LIVE_TIMEOUT, connection).await;
    }
}

fn router(health: Health, dashboard: Arc<Dashboard>) -> Router {
    let probes = Router::new()
        .route("/livez", get(async |State(health): State<Health>| state(health.live(Instant::now()))))
        .route("/readyz", get(async |State(health): State<Health>| state(health.ready())))
        .route("/metrics", get(metrics_page))
        .method_not_allowed_fallback(not_allowed)
        .with_state(health);
    let pages = Router::new()
        .route("/live", get(live_page))
        .route("/login", get(login_page).post(sign_in))
        .route("/logout", post(async || Dashboard::sign_out()))
        .route("/assets/{name}", get(async |Path(name): Path<String>| Dashboard::asset(&name)))
        .method_not_allowed_fallback(not_allowed)
        .fallback(page)
        .with_state(dashboard);
    probes.merge(pages)
}

async fn not_allowed() -> Response {
    let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered");
    refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    refused
}

async fn page(State(dashboard): State<Arc<Dashboard>>, request: Request) -> Response {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return not_allowed().await;
    }
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    dashboard.page(target, request.headers()).await
}

async fn live_page(State(dashboard): State<Arc<Dashboard>>, request: Request) -> Response {
    let (answer, is_live) = dashboard.events(request.uri().query().unwrap_or_default(), request.headers());
    if let (true, Some(live)) = (is_live, request.extensions().get::<Live>()) {
        live.0.store(true, Ordering::Relaxed);
    }
    answer
}

async fn login_page(State(dashboard): State<Arc<Dashboard>>, request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let next =
        form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "next").map_or_else(String::new, |(_, next)| next.into_owned());
    dashboard.login_page(&next)
}

async fn sign_in(State(dashboard): State<Arc<Dashboard>>, request: Request) -> Response {
    match to_bytes(request.into_body(), BODY_MAX).await {
        Ok(form) => dashboard.sign_in(&form),
        Err(_) => plain(StatusCode::PAYLOAD_TOO_LARGE, "this is no form with a token"),
    }
}

async fn metrics_page(State(health): State<Health>, headers: HeaderMap) -> Response {
    metrics::answer(&headers, &health).await.map(Body::new)
}

fn state(state: Result<(), impl AsRef<str>>) -> Response {
    match state {
        Ok(()) => plain(StatusCode::OK, "ok"),
        Err(why) => plain(StatusCode::SERVICE_UNAVAILABLE, why.as_ref()),
    }
}

fn plain(status: StatusCode, text: &str) -> Response {
    response(status, "text/plain; charset=utf-8", format!("{text}\n"))
}

fn response(status: StatusCode, kind: &'static str, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
