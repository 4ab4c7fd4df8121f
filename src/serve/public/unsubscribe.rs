//! Where people and mailbox providers end a subscription: `/u/v1/TOKEN`.
//!
//! POST ends it (RFC 8058), and is answered with 200 once that is durable. GET and HEAD show a page and change nothing: whatever scans
//! mail follows its links. There is no way back from here: somebody else may have the link.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{
        DefaultBodyLimit, Path, State,
        rejection::{BytesRejection, PathRejection},
    },
    response::Response,
    routing::get,
};
use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use mail_parser::{MessageParser, MimeHeaders as _};

use super::page;
use crate::{
    feedback::{Event, EventKind, Intake, MessageIdentity},
    token::unsubscribe::{PATH, Subscription, Tokens},
};

/// The body, bytes: one pair of a form.
const BODY_MAX: usize = 2 << 10;
/// The pair that the body holds (RFC 8058, 3.1).
const PAIR: (&str, &str) = ("List-Unsubscribe", "One-Click");
/// Who told it, as the ledger names it.
const SOURCE: &str = "one-click";

/// What the page needs.
struct PageState {
    tokens: Tokens,
    intake: Intake,
}

/// The routes of the page.
pub fn router(tokens: Tokens, intake: Intake) -> Router {
    let route = get(show).post(end).layer(DefaultBodyLimit::max(BODY_MAX));
    Router::new().route(&format!("{PATH}{{token}}"), route).with_state(Arc::new(PageState { tokens, intake }))
}

/// What stands in the path.
type Token = Result<Path<String>, PathRejection>;

impl PageState {
    fn subscription(&self, token: Token) -> Option<Subscription> {
        self.tokens.read(&token.ok()?)
    }
}

async fn show(State(state): State<Arc<PageState>>, token: Token) -> Response {
    state.subscription(token).map_or_else(page::not_found, |subscription| page::confirm(&subscription))
}

async fn end(State(state): State<Arc<PageState>>, token: Token, headers: HeaderMap, body: Result<Bytes, BytesRejection>) -> Response {
    let Some(subscription) = state.subscription(token) else { return page::not_found() };
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return page::not_understood(rejection.status()),
    };
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !is_one_click(kind, &body) {
        return page::not_understood(StatusCode::BAD_REQUEST);
    }
    match state.intake.take(vec![event(&subscription, Timestamp::now())]).await {
        Ok(()) => page::done(&subscription),
        Err(error) => {
            tracing::warn!(%error, "a request to unsubscribe was not recorded");
            page::try_again()
        }
    }
}

fn event(Subscription { namespace, topic, address, run }: &Subscription, at: Timestamp) -> Event {
    Event {
        kind: EventKind::Unsubscribed,
        message: MessageIdentity::Subscription { namespace: namespace.clone(), topic: topic.clone(), run: *run },
        recipient: Some(address.clone()),
        at_ms: Some(at.as_millisecond()),
        source: SOURCE.into(),
        // The token is the same each time, and somebody may subscribe again and leave again.
        id: None,
        detail: String::new(),
    }
}

/// Whether a form says so, in either of the two ways in which forms are sent (RFC 8058, 3.1).
fn is_one_click(kind: &str, body: &[u8]) -> bool {
    let is_multipart = kind.get(..10).is_some_and(|start| start.eq_ignore_ascii_case("multipart/"));
    if !is_multipart {
        return form_urlencoded::parse(body).any(|(name, value)| (&*name, &*value) == PAIR);
    }
    let message = [b"Content-Type: ", kind.as_bytes(), b"\r\n\r\n", body].concat();
    let Some(message) = MessageParser::default().parse(&message) else { return false };
    message.parts.iter().any(|part| {
        let name = part.content_disposition().and_then(|disposition| disposition.attribute("name"));
        name == Some(PAIR.0) && part.text_contents().is_some_and(|text| text.trim_ascii() == PAIR.1)
    })
}

#[cfg(test)]
mod tests;
