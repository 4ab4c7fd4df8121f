//! The dashboard: what there is and how it does, for people with a browser. Read only: the truth is in git.
//!
//! Pages are pure functions of plain data: [`moment::Moment`], what the engine shows, and [`moment::Past`], what the ledger knows
//! (`archive` reads it, beside the process that writes). `query` says which page is asked for, `parts` and `charts` are what pages are
//! made of. A page is made when somebody asks, on a thread that may block, once a second at most for all who ask for the same;
//! `live` tells open pages what changed, and `access` says who may look.

mod access;
mod archive;
mod audit;
mod campaigns;
mod charts;
mod live;
mod moment;
mod numbers;
mod overview;
mod parts;
mod plans;
mod query;
mod servers;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use aws_lc_rs::digest;
use axum::{body::Body, response::Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use maud::{Markup, html};
use tokio::{
    sync::{OnceCell, Semaphore},
    time::Instant,
};

pub use self::access::Token;
use self::{
    access::{Access, Verdict, no_cookie},
    live::{LIVE_MAX, Seat},
    moment::{Moment, Past},
    parts::{Frame, Tone, badge},
    query::Route,
};
use super::Health;
use crate::{clock::SteadyClock, ledger::LedgerPlace, present::words::Commands};

/// Pages that are made at a time; others wait.
const MAKERS_MAX: usize = 4;
/// Different pages that are kept for those who ask for the same within a second.
const KEPT_MAX: usize = 128;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("live.js");
const ICON: &str = include_str!("icon.svg");

/// What a browser may do with a page: show it with our style and script, and ask for nothing of anybody else.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// How the dashboard is served.
#[derive(Clone, Debug, Default)]
pub struct DashboardOptions {
    /// The state folder, with the ledger.
    pub ledger: LedgerPlace,
    /// The commands that messages name, as they have to be typed.
    pub commands: Commands,
    /// What lets in whoever has it.
    pub token: Option<Token>,
    /// The header that a proxy in front sets for whom it let in.
    pub proxy_header: Option<HeaderName>,
    /// Whether addresses of recipients are shown.
    pub shows_recipients: bool,
}

/// The content of a page.
pub(crate) struct Made {
    status: StatusCode,
    title: String,
    content: String,
    version: String,
}

/// The pages that were made within a second.
#[derive(Default)]
struct Kept {
    second: u64,
    pages: HashMap<String, Arc<OnceCell<Arc<Made>>>>,
}

/// The dashboard.
pub(crate) struct Dashboard {
    options: DashboardOptions,
    access: Access,
    health: Health,
    assets: String,
    began: Instant,
    kept: Mutex<Kept>,
    makers: Arc<Semaphore>,
    live: Arc<AtomicUsize>,
}

impl Dashboard {
    /// The dashboard of a process that listens at `address`.
    pub(super) fn new(options: DashboardOptions, address: SocketAddr, health: Health) -> Self {
        let access = Access::of(address, options.token.clone(), options.proxy_header.clone());
        Self {
            options,
            access,
            health,
            assets: short_hash(&[STYLE, SCRIPT, ICON].concat()),
            began: Instant::now(),
            kept: Mutex::default(),
            makers: Arc::new(Semaphore::new(MAKERS_MAX)),
            live: Arc::default(),
        }
    }

    /// How many pages are live.
    fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// A page, or what stands in its way. `target` is path and query.
    pub(super) async fn page(self: Arc<Self>, target: &str, headers: &HeaderMap) -> Response {
        if let Some(refusal) = self.refusal(target, headers) {
            return refusal;
        }
        let Some(route) = Route::read(target) else {
            return self.notice(
                StatusCode::NOT_FOUND,
                "Not found",
                &html! { p { "There is no such page. " a href="/" { "The overview" } " leads to all that there are." } },
            );
        };
        let made = self.content(&route).await;
        let frame = Frame {
            title: &made.title,
            target: &route.target(),
            version: &made.version,
            assets: &self.assets,
            has_login: self.access.token().is_some(),
        };
        response(made.status, "text/html; charset=utf-8", parts::page(&frame, &made.content).into())
    }

    /// News for an open page; its query names the page and the version of the content that it has. `None` in place of a seat is a refusal.
    pub(super) fn events(self: Arc<Self>, query: &str, headers: &HeaderMap) -> (Response, bool) {
        if self.access.judge(headers) != Verdict::Allowed {
            return (plain(StatusCode::FORBIDDEN, "this page may not be seen any more: load it again"), false);
        }
        let (mut target, mut version) = (String::new(), String::new());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "page" => target = value.into_owned(),
                "version" => version = value.into_owned(),
                _ => {}
            }
        }
        let Some(route) = Route::read(&target) else { return (plain(StatusCode::NOT_FOUND, "there is no such page"), false) };
        let Some(seat) = Seat::take(&self.live, LIVE_MAX) else {
            let words = format!("{LIVE_MAX} pages are live, and no more can be; load the page again to see what changed");
            return (plain(StatusCode::SERVICE_UNAVAILABLE, &words), false);
        };
        (response(StatusCode::OK, "text/event-stream; charset=utf-8", live::events(self, route, version, seat)), true)
    }

    /// The page on which the token is shown.
    pub(super) fn login_page(&self, target: &str) -> Response {
        self.login(StatusCode::OK, target, false)
    }

    /// Takes the token of a form.
    pub(super) fn sign_in(&self, form: &[u8]) -> Response {
        let (mut given, mut next) = (String::new(), String::new());
        for (name, value) in form_urlencoded::parse(form) {
            match &*name {
                "token" => given = value.into_owned(),
                "next" => next = value.into_owned(),
                _ => {}
            }
        }
        match self.access.token() {
            Some(token) if token.is(&given) => to(&next, Some(&token.cookie())),
            Some(_) => self.login(StatusCode::FORBIDDEN, &next, true),
            None => to("/", None),
        }
    }

    /// Ends a session.
    pub(super) fn sign_out() -> Response {
        to("/login", Some(&no_cookie()))
    }

    /// Style, script and icon: the same for everybody, and so for whoever asks.
    pub(super) fn asset(name: &str) -> Response {
        let (kind, text) = match name {
            "style.css" => ("text/css; charset=utf-8", STYLE),
            "live.js" => ("text/javascript; charset=utf-8", SCRIPT),
            "icon.svg" => ("image/svg+xml", ICON),
            _ => return plain(StatusCode::NOT_FOUND, "there is no such file"),
        };
        let mut response = response(StatusCode::OK, kind, text.into());
        // Its address changes with it.
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
        response
    }

    fn refusal(&self, target: &str, headers: &HeaderMap) -> Option<Response> {
        let (title, what) = match self.access.judge(headers) {
            Verdict::Allowed => return None,
            Verdict::NeedsToken => {
                let next = form_urlencoded::byte_serialize(target.as_bytes()).collect::<String>();
                return Some(to(&format!("/login?next={next}"), None));
            }
            Verdict::NeedsProxy => (
                "Through the proxy only",
                html! { p { "This dashboard is reached through the proxy in front of it, which says who asks (" code { "--admin-proxy-header" } ")." } },
            ),
            Verdict::Closed => (
                "The dashboard is closed here",
                html! {
                    p { "The admin address is not on loopback, so anybody could reach it. To open the dashboard, start " code { "mailfleet run" } " with one of these:" }
                    ul {
                        li { code { "--admin-token-file FILE" } ": whoever has the token in it may look" }
                        li { code { "--admin-proxy-header NAME" } ": whoever comes through a proxy that sets this header may look" }
                        li { code { "--admin-address=127.0.0.1:9091" } ": whoever is on this machine, or forwards the port, may look" }
                    }
                    p { "Health checks and metrics are served all the same." }
                },
            ),
            Verdict::OtherHost => (
                "Another host",
                html! { p { "The request names a host that is not this machine. Open the dashboard as " code { "http://localhost" } " or " code { "http://127.0.0.1" } ", with its port." } },
            ),
        };
        Some(self.notice(StatusCode::FORBIDDEN, title, &what))
    }

    fn login(&self, status: StatusCode, target: &str, was_wrong: bool) -> Response {
        let what = html! {
            form.login method="post" action="/login" {
                @if was_wrong { p.notice role="alert" { (badge(Tone::Bad, "Refused")) " This is not the token." } }
                label { span { "Token" } input type="password" name="token" autocomplete="current-password" required autofocus; }
                input type="hidden" name="next" value=(target);
                button type="submit" { "Sign in" }
                p.sub { "It is in the file that " code { "--admin-token-file" } " names. Programs send it as " code { "Authorization: Bearer" } "." }
            }
        };
        self.notice(status, "Sign in", &what)
    }

    fn notice(&self, status: StatusCode, title: &str, what: &Markup) -> Response {
        let frame = Frame { title, target: "/login", version: "", assets: &self.assets, has_login: false };
        let content = html! { h1 { (title) } (what) };
        response(status, "text/html; charset=utf-8", parts::page(&frame, &content.into_string()).into())
    }

    /// The content of a page: the one that was made within this second, or a new one.
    async fn content(self: &Arc<Self>, route: &Route) -> Arc<Made> {
        let cell = {
            let second = self.began.elapsed().as_secs();
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.second != second {
                *kept = Kept { second, pages: HashMap::new() };
            }
            let target = route.target();
            match kept.pages.get(&target) {
                Some(cell) => cell.clone(),
                None if kept.pages.len() < KEPT_MAX => kept.pages.entry(target).or_default().clone(),
                None => Arc::default(),
            }
        };
        cell.get_or_init(|| self.make(route)).await.clone()
    }

    async fn make(self: &Arc<Self>, route: &Route) -> Arc<Made> {
        // It is never closed. Who goes away leaves the work behind, so the permit stays with that.
        let permit = self.makers.clone().acquire_owned().await;
        let (route, ledger) = (route.clone(), self.options.ledger.clone());
        let moment = Moment {
            phase: self.health.phase(),
            view: self.health.view(),
            now_ms: SteadyClock::of_process().now_ms(),
            commands: self.options.commands.clone(),
            shows_recipients: self.options.shows_recipients,
        };
        let made = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let past = archive::read(ledger, &route, &moment);
            made(&route, &moment, &past)
        });
        let failed = || {
            made_of(
                StatusCode::INTERNAL_SERVER_ERROR,
                "Failed".to_owned(),
                html! { h1 { "Failed" } p { "The page could not be made; the log says more." } },
            )
        };
        Arc::new(made.await.unwrap_or_else(|_| failed()))
    }
}

/// Makes a page.
fn made(route: &Route, moment: &Moment, past: &Past) -> Made {
    let found = |title: String, content: Option<Markup>| {
        content.map_or_else(
            || {
                let what = html! { h1 { "Not found" } p { "There is no " (title) ", or not any more." } (overview::notices(moment, past)) p { a href="/audit" { "The audit" } " says what became of it." } };
                made_of(StatusCode::NOT_FOUND, "Not found".to_owned(), what)
            },
            |content| made_of(StatusCode::OK, title.clone(), content),
        )
    };
    match route {
        Route::Overview => found("Overview".to_owned(), Some(overview::page(moment, past))),
        Route::Servers(list) => found("Servers".to_owned(), Some(servers::list(moment, list))),
        Route::Server(key) => found(format!("server {key}"), servers::one(moment, key, past)),
        Route::Plans(list) => found("Plans".to_owned(), Some(plans::list(moment, list))),
        Route::Plan(key) => found(format!("plan {key}"), plans::one(moment, key, past)),
        Route::Campaigns(list) => found("Campaigns".to_owned(), Some(campaigns::list(moment, list))),
        Route::Campaign(key) => found(format!("campaign {key}"), campaigns::one(moment, key, past)),
        Route::Audit(list) => found("Audit".to_owned(), Some(audit::page(moment, list, past))),
    }
}

fn made_of(status: StatusCode, title: String, content: Markup) -> Made {
    let content = content.into_string();
    let version = short_hash(&content);
    Made { status, title, content, version }
}

fn short_hash(text: &str) -> String {
    digest::digest(&digest::SHA256, text.as_bytes()).as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// A redirection to a page of ours, and to nothing else.
fn to(target: &str, cookie: Option<&str>) -> Response {
    let is_ours = target.starts_with("/login") || Route::read(target).is_some();
    let mut response = plain(StatusCode::SEE_OTHER, "see other");
    let location = HeaderValue::from_str(if is_ours { target } else { "/" }).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(header::LOCATION, location);
    if let Some(cookie) = cookie.and_then(|cookie| HeaderValue::from_str(cookie).ok()) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

fn plain(status: StatusCode, text: &str) -> Response {
    response(status, "text/plain; charset=utf-8", format!("{text}\n").into())
}

fn response(status: StatusCode, kind: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let fixed = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("x-robots-tag"), "noindex"),
    ];
    response.headers_mut().extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}
