use std::sync::Mutex;

use axum::body::Body;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use tower_service::Service as _;

use super::*;
use crate::{
    feedback::NotTaken,
    token::{KEY_BYTES, Keys},
};

const FORM: &str = "application/x-www-form-urlencoded";

fn keys() -> Keys {
    Keys::of([7; KEY_BYTES])
}

fn ann() -> Subscription {
    Subscription { namespace: "shop".into(), topic: Some("offers".into()), address: "ann@example.com".into(), run: Some((7, 9)) }
}

/// The page, with a ledger that takes everything, or nothing.
struct World {
    router: Router,
    taken: Arc<Mutex<Vec<Event>>>,
    token: String,
}

impl World {
    fn new(fails: bool) -> Self {
        let (intake, mut arriving) = Intake::new();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let events = taken.clone();
        tokio::spawn(async move {
            while let Some(batch) = arriving.recv().await {
                if !fails {
                    events.lock().unwrap().extend(batch.events);
                }
                let _ = batch.done.send(if fails { Err(NotTaken("the disk is full".to_owned())) } else { Ok(()) });
            }
        });
        let tokens = Tokens::new(&keys());
        let token = tokens.make(&ann()).unwrap();
        Self { router: router(tokens, intake), taken, token }
    }

    async fn ask(&self, method: Method, token: &str, kind: &str, body: &str) -> (StatusCode, HeaderMap, String) {
        let mut request = Request::builder().method(method).uri(format!("/u/v1/{token}"));
        if !kind.is_empty() {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let answer = self.router.clone().call(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        let (head, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    fn taken(&self) -> Vec<Event> {
        std::mem::take(&mut self.taken.lock().unwrap())
    }
}

#[tokio::test]
async fn a_post_ends_the_subscription_in_each_form_and_as_often_as_it_comes() {
    let world = World::new(false);
    let part = "--x\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--x--\r\n";
    let many = format!("--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n{part}");
    for (kind, body) in [
        (FORM, "List-Unsubscribe=One-Click"),
        (FORM, "List-Unsubscribe=One-Click"),
        ("application/x-www-form-urlencoded; charset=UTF-8", "a=b&List-Unsubscribe=One-Click"),
        ("", "List-Unsubscribe=One-Click"),
        ("multipart/form-data; boundary=x", part),
        ("Multipart/Form-Data; boundary=\"x\"", &many),
    ] {
        let (status, headers, page) = world.ask(Method::POST, &world.token, kind, body).await;
        assert_eq!(status, StatusCode::OK, "{kind}: {body}");
        assert!(page.contains("You are unsubscribed") && page.contains("a…@example.com") && page.contains("offers"), "{page}");
        assert!(!headers.contains_key(header::LOCATION) && !headers.contains_key(header::SET_COOKIE), "{headers:?}");
        let [event] = &world.taken()[..] else { panic!("not one event") };
        let subscription = MessageIdentity::Subscription { namespace: "shop".into(), topic: Some("offers".into()), run: Some((7, 9)) };
        assert_eq!((event.kind, &event.message), (EventKind::Unsubscribed, &subscription));
        assert_eq!(event.recipient.as_deref(), Some("ann@example.com"));
    }
}

#[tokio::test]
async fn what_is_no_request_to_unsubscribe_changes_nothing() {
    let world = World::new(false);
    let other = "--x\r\nContent-Disposition: form-data; name=\"List\"\r\n\r\nOne-Click\r\n--x--\r\n";
    let too_long = format!("{}&List-Unsubscribe=One-Click", "a".repeat(BODY_MAX));
    for (kind, body, wanted) in [
        (FORM, "", 400),
        (FORM, "List-Unsubscribe", 400),
        (FORM, "List-Unsubscribe=Two-Click", 400),
        (FORM, "One-Click=List-Unsubscribe", 400),
        ("text/plain", "hello", 400),
        ("multipart/form-data", "List-Unsubscribe=One-Click", 400),
        ("multipart/form-data; boundary=x", other, 400),
        ("multipart/form-data; boundary=y", other, 400),
        (FORM, &too_long, 413),
    ] {
        let (status, _, page) = world.ask(Method::POST, &world.token, kind, body).await;
        assert_eq!(status, wanted, "{kind}: {body}");
        assert!(page.contains("Nothing was changed"), "{page}");
    }
    for (method, wanted) in [(Method::PUT, 405), (Method::DELETE, 405), (Method::OPTIONS, 405), (Method::PATCH, 405)] {
        let (status, ..) = world.ask(method.clone(), &world.token, FORM, "List-Unsubscribe=One-Click").await;
        assert_eq!(status, wanted, "{method}");
    }
    assert_eq!(world.taken(), []);
}

#[tokio::test]
async fn a_look_shows_a_form_and_changes_nothing() {
    let world = World::new(false);
    for _ in 0..100 {
        let (status, headers, page) = world.ask(Method::GET, &world.token, "", "").await;
        assert_eq!(status, StatusCode::OK);
        assert!(page.contains("<form method=\"post\">") && page.contains("a…@example.com") && page.contains("offers"), "{page}");
        assert!(!page.contains("http") && !page.contains("<script") && !page.contains(&world.token), "{page}");
        for (name, value) in [
            ("referrer-policy", "no-referrer"),
            ("x-robots-tag", "noindex"),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(headers[name], value);
        }
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-") && policy.contains("frame-ancestors 'none'"), "{policy}");
        let (status, headers, page) = world.ask(Method::HEAD, &world.token, "", "").await;
        assert_eq!((status, &*page), (StatusCode::OK, ""));
        assert_eq!(headers["cache-control"], "no-store");
    }
    // A scanner that sends the body along with a GET.
    world.ask(Method::GET, &world.token, FORM, "List-Unsubscribe=One-Click").await;
    assert_eq!(world.taken(), []);
}

#[tokio::test]
async fn what_is_not_durable_is_not_confirmed() {
    for world in [World::new(true), {
        let mut world = World::new(false);
        let (nobody, _) = Intake::new();
        world.router = router(Tokens::new(&keys()), nobody);
        world
    }] {
        let (status, headers, page) = world.ask(Method::POST, &world.token, FORM, "List-Unsubscribe=One-Click").await;
        assert_eq!((status, &headers[header::RETRY_AFTER]), (StatusCode::SERVICE_UNAVAILABLE, &"60".parse().unwrap()));
        assert!(!page.contains("unsubscribed") && !page.contains("disk"), "{page}");
    }
}

/// Letters of valid tokens altered, cut off, another installation's, and nonsense; every answer is the same to the byte. That no
/// forged token is read at all, `token/unsubscribe` tests with more of them.
#[tokio::test]
async fn forged_tokens_unsubscribe_nobody() {
    let world = World::new(false);
    let foreign = Tokens::new(&Keys::of([8; KEY_BYTES])).make(&ann()).unwrap();
    let sample = Tokens::new(&Keys::sample()).make(&ann()).unwrap();
    let mut forged = vec![foreign, sample, "x".repeat(5_000), "%ff".into(), "%00".into(), "..%2f".into(), "%3Cscript%3E".into()];
    let letters = "abcdefghijklmnopqrstuvwxyz234567";
    let tokens = Tokens::new(&keys());
    let mut number = 0;
    while forged.len() < 4_000 {
        number += 1;
        let token = tokens.make(&Subscription { address: format!("p{number}@example.com").into(), ..ann() }).unwrap();
        for at in 0..token.len() {
            forged
                .extend(letters.chars().map(|letter| format!("{}{letter}{}", &token[..at], &token[at + 1..])).filter(|one| *one != token));
            forged.extend([token[..at].to_owned(), token[at + 1..].to_owned()].into_iter().filter(|cut| !cut.is_empty()));
        }
    }
    let (_, _, wanted) = world.ask(Method::GET, "a", "", "").await;
    assert!(wanted.contains("This link does not work"), "{wanted}");
    for token in &forged {
        let (status, _, page) = world.ask(Method::POST, token, FORM, "List-Unsubscribe=One-Click").await;
        assert!(status == StatusCode::NOT_FOUND && page == wanted, "{token}: {status} {page}");
    }
    assert_eq!(world.taken(), []);
}
