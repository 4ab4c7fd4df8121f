//! Where vendors call: `/feedback/NAMESPACE/SERVER`, for a listener that strangers can reach.
//!
//! A call is answered with 200 once its events are durable, all of them, and with 503 where they are not, so that the vendor repeats
//! it. To a stranger every server looks alike, whether there is one of that name or not: the answer is the same, and comes after the
//! same time.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, Method, Response, StatusCode, Uri, header},
    response::IntoResponse as _,
    routing::any,
};
use http_body_util::BodyExt as _;
use percent_encoding::percent_decode_str;
use tokio::{
    sync::{Semaphore, SemaphorePermit, watch},
    time::{Instant, timeout_at},
};

use crate::{
    engine::View,
    feedback::Intake,
    providers::webhook::{BODY_MAX, Endpoint, Refused, WebhookCall},
    resources::Key,
};

/// For the whole body of a call to arrive; with the time to take it less than the listener gives to an answer.
const BODY_TIMEOUT: Duration = Duration::from_secs(6);
/// For events to become durable; vendors wait 10 to 15 seconds for an answer.
const TAKE_TIMEOUT: Duration = Duration::from_secs(8);
/// KiB of the bodies of all calls together.
const BODIES_MAX: usize = 64 << 10;
/// How long a refusal takes at least, whatever had to be computed for it.
const REFUSAL_PAUSE: Duration = Duration::from_millis(100);
/// When a vendor is asked to repeat a call, seconds.
const RETRY_AFTER: &str = "30";
/// Bytes of a name in the path.
const NAME_MAX: usize = 253;

/// The routes. `view` shows the servers' webhooks; what they say goes to `intake`.
pub fn router(view: watch::Receiver<View>, intake: Intake) -> Router {
    let door = Door { view, intake, bodies: Arc::new(Semaphore::new(BODIES_MAX)) };
    Router::new().route("/feedback/{*path}", any(answer)).with_state(door)
}

#[derive(Clone)]
struct Door {
    view: watch::Receiver<View>,
    intake: Intake,
    bodies: Arc<Semaphore>,
}

async fn answer(State(door): State<Door>, request: Request) -> Response<Body> {
    let view = door.view.borrow().clone();
    // Another process may lead, or this one has not read its servers yet: nothing can be said of any of them.
    if view.turned_at.is_none() {
        return later();
    }
    let (head, body) = request.into_parts();
    let path = Path::of(&head.uri);
    let endpoint = path.as_ref().and_then(|path| view.webhooks.get(&path.server)).cloned();
    let body = match read(body, &door.bodies).await {
        Ok(body) => body,
        Err(Unread::Busy) => return later(),
        Err(Unread::Lost) => return told(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"),
        Err(Unread::TooLong) => return refused(Instant::now()).await,
    };
    let judged_at = Instant::now();
    let (Some(endpoint), Some(path)) = (endpoint, path) else { return refused(judged_at).await };
    match take(&door.intake, &endpoint, &head.method, &head.headers, &head.uri, &path, &body.bytes).await {
        Ok(()) => told(StatusCode::OK, "taken"),
        Err(Refused::Forged(_)) => refused(judged_at).await,
        // Mailgun gives up after this status alone, and SNS after any of its class; nothing would come of repeating it.
        Err(Refused::Late) => told(StatusCode::NOT_ACCEPTABLE, "this call is too old, or from the future"),
        Err(Refused::Replayed) => told(StatusCode::NOT_ACCEPTABLE, "this call was received before"),
        Err(Refused::Unreadable(why)) => told(StatusCode::BAD_REQUEST, why),
        Err(Refused::NotNow(_) | Refused::NeedsCertificate(_)) => later(),
    }
}

/// Takes a call: judged, its events durable, and its subscription confirmed.
async fn take(
    intake: &Intake,
    endpoint: &Arc<Endpoint>,
    method: &Method,
    headers: &HeaderMap,
    uri: &Uri,
    path: &Path,
    body: &[u8],
) -> Result<(), Refused> {
    let is_of_method = method == Method::POST || (method == Method::GET && endpoint.takes_get());
    if !is_of_method || headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(endpoint.refuse("only an uncompressed POST is expected"));
    }
    if body.len() > endpoint.body_max() {
        return Err(endpoint.refuse("it is larger than any request of the vendor"));
    }
    let call = WebhookCall {
        headers,
        path_secret: path.secret.as_deref(),
        query: uri.query().unwrap_or_default(),
        body,
        now_ms: jiff::Timestamp::now().as_millisecond(),
    };
    let mut taking = endpoint.receive(&call).await?;
    let events = std::mem::take(&mut taking.events);
    let count = events.len();
    match tokio::time::timeout(TAKE_TIMEOUT, intake.take(events)).await {
        Ok(Ok(())) => {}
        Ok(Err(not_taken)) => {
            tracing::warn!(server = %endpoint.server(), events = count, "{not_taken}");
            return Err(Refused::NotNow("the events could not be recorded"));
        }
        // They may become durable all the same; when they come again, they count once.
        Err(_) => return Err(Refused::NotNow("the events could not be recorded in time")),
    }
    taking.confirm().await?;
    taking.taken();
    Ok(())
}

/// What a path names.
struct Path {
    server: Key,
    /// What follows the name.
    secret: Option<String>,
}

impl Path {
    fn of(uri: &Uri) -> Option<Self> {
        let mut parts = uri.path().strip_prefix("/feedback/")?.split('/');
        let decoded = |part: &str| percent_decode_str(part).decode_utf8().ok().map(std::borrow::Cow::into_owned);
        let name = |part: &str| decoded(part).filter(|name| (1..=NAME_MAX).contains(&name.len()));
        let server = Key::new(name(parts.next()?)?, name(parts.next()?)?);
        let secret = match parts.next() {
            None | Some("") => None,
            Some(part) => Some(decoded(part)?),
        };
        parts.next().is_none().then_some(Self { server, secret })
    }
}

/// A body, and its part of the memory for all of them.
struct Read<'a> {
    bytes: Vec<u8>,
    /// Given back with the body.
    room: Option<SemaphorePermit<'a>>,
}

enum Unread {
    /// There is no room for it now.
    Busy,
    /// It did not arrive, or not in time.
    Lost,
    /// It is longer than any vendor's.
    TooLong,
}

/// Reads a body; it takes room only for what has arrived.
async fn read(mut body: Body, bodies: &Semaphore) -> Result<Read<'_>, Unread> {
    let due = Instant::now() + BODY_TIMEOUT;
    let mut read = Read { bytes: Vec::new(), room: None };
    let mut taken_kib = 0;
    while let Some(frame) = timeout_at(due, body.frame()).await.map_err(|_| Unread::Lost)? {
        let frame = frame.map_err(|_| Unread::Lost)?;
        let chunk: Bytes = frame.into_data().unwrap_or_default();
        let length = read.bytes.len() + chunk.len();
        if length > BODY_MAX {
            return Err(Unread::TooLong);
        }
        let wanted = length.div_ceil(1024);
        let more = u32::try_from(wanted.saturating_sub(taken_kib)).map_err(|_| Unread::TooLong)?;
        let permit = bodies.try_acquire_many(more).map_err(|_| Unread::Busy)?;
        match &mut read.room {
            Some(held) => held.merge(permit),
            none => *none = Some(permit),
        }
        taken_kib = wanted.max(taken_kib);
        read.bytes.extend_from_slice(&chunk);
    }
    Ok(read)
}

/// The answer to whoever is not the vendor. It says the same of every server, and takes the same time.
async fn refused(since: Instant) -> Response<Body> {
    tokio::time::sleep_until(since + REFUSAL_PAUSE).await;
    let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"feedback\"")];
    (StatusCode::UNAUTHORIZED, challenge, "refused\n").into_response()
}

/// The vendor is to repeat the call.
fn later() -> Response<Body> {
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, RETRY_AFTER)], "not now\n").into_response()
}

fn told(status: StatusCode, words: &str) -> Response<Body> {
    (status, format!("{words}\n")).into_response()
}
