//! The pages: a few sentences each, in one file, without a script, and for nobody else's frame, cache or index.

use std::{fmt::Write as _, sync::LazyLock, time::Duration};

use aws_lc_rs::digest;
use axum::{body::Body, response::Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::token::unsubscribe::Subscription;

/// After how many seconds something that failed here is worth another try.
const RETRY_AFTER_S: u64 = 60;

const STYLE: &str = "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:12vh auto;padding:0 1rem}\
    button{font:inherit;padding:.5rem 1rem}:root{color-scheme:light dark}";

/// What a browser may do with a page: show it with its one style, and send its one form back.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()));
    format!("default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
});

/// Asks whether to end a subscription; only a person's click on the button does.
pub(super) fn confirm(subscription: &Subscription) -> Response {
    let form = "<form method=\"post\"><input type=\"hidden\" name=\"List-Unsubscribe\" value=\"One-Click\">\
        <button type=\"submit\">Unsubscribe</button></form>";
    let what = format!("<p>{} will no longer get {}.</p>{form}", who(subscription), which(subscription));
    page(StatusCode::OK, "Unsubscribe?", &what)
}

/// A subscription has ended.
pub(super) fn done(subscription: &Subscription) -> Response {
    let what = format!(
        "<p>{} will no longer get {}. A message that is on its way already may still arrive.</p><p>You can close this page.</p>",
        who(subscription),
        which(subscription)
    );
    page(StatusCode::OK, "You are unsubscribed", &what)
}

/// The same for every address that leads nowhere, whatever is wrong with it.
#[must_use]
pub fn not_found() -> Response {
    let what = "<p>It may be cut off: a link from an email works when all of it is copied. If it still does not, reply to the email and \
        ask to be removed.</p>";
    page(StatusCode::NOT_FOUND, "This link does not work", what)
}

/// The request does not say what it wants.
pub(super) fn not_understood(status: StatusCode) -> Response {
    page(status, "Nothing was changed", "<p>This was not a request to unsubscribe. Open the link from the email, and press the button.</p>")
}

/// Nothing was recorded; the other side is to try again.
#[must_use]
pub fn try_again() -> Response {
    let what = "<p>Your request could not be recorded just now. Please try again in a minute.</p>";
    later(page(StatusCode::SERVICE_UNAVAILABLE, "Please try again", what), RETRY_AFTER_S)
}

/// The client asked too often.
pub(super) fn too_often(wait: Duration) -> Response {
    let what = "<p>There were too many requests from your network. Please try again in a minute.</p>";
    later(page(StatusCode::TOO_MANY_REQUESTS, "Please try again", what), wait.as_secs() + 1)
}

fn later(mut response: Response, seconds: u64) -> Response {
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

fn page(status: StatusCode, title: &str, what: &str) -> Response {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><meta name=\"robots\" content=\"noindex\"><style>{STYLE}</style></head>\
         <body><main><h1>{title}</h1>{what}</main></body></html>\n"
    );
    let mut response = Response::new(Body::from(html));
    *response.status_mut() = status;
    let policy = HeaderValue::from_str(&POLICY).unwrap_or(HeaderValue::from_static("default-src 'none'"));
    let fixed = |name: HeaderName, value| (name, HeaderValue::from_static(value));
    let fields = [
        (header::CONTENT_SECURITY_POLICY, policy),
        fixed(header::CONTENT_TYPE, "text/html; charset=utf-8"),
        fixed(header::CACHE_CONTROL, "no-store"),
        fixed(header::REFERRER_POLICY, "no-referrer"),
        fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        fixed(HeaderName::from_static("x-robots-tag"), "noindex"),
    ];
    response.headers_mut().extend(fields);
    response
}

/// The address as whoever has it knows it, and nobody else: a link may be forwarded or end up in a log.
fn who(Subscription { address, .. }: &Subscription) -> String {
    let (local, domain) = address.rsplit_once('@').unwrap_or(("", address));
    let first: String = local.chars().take(1).collect();
    format!("<b>{}…@{}</b>", escaped(&first), escaped(domain))
}

fn which(subscription: &Subscription) -> String {
    subscription.topic.as_deref().map_or_else(
        || "any mail of this kind from this sender".to_owned(),
        |topic| format!("mail about <b>{}</b> from this sender", escaped(topic)),
    )
}

/// Text in HTML.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' | '<' | '>' | '"' | '\'' => {
                // Writing to a text cannot fail.
                let _ = write!(out, "&#{};", u32::from(c));
            }
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_whom_and_what_and_holds_nothing_of_others() {
        let of = |address: &str, topic: Option<&str>| {
            let subscription = Subscription { namespace: "shop".into(), topic: topic.map(Into::into), address: address.into(), run: None };
            (who(&subscription), which(&subscription))
        };
        assert_eq!(of("ann@example.com", None), ("<b>a…@example.com</b>".into(), "any mail of this kind from this sender".into()));
        let (who, what) = of("\"<script>@\"@x\"y.example", Some("<b>'\"&\n"));
        assert_eq!(who, "<b>&#34;…@x&#34;y.example</b>");
        assert_eq!(what, "mail about <b>&#60;b&#62;&#39;&#34;&#38;\u{fffd}</b> from this sender");
    }
}
