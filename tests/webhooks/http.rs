//! The address that vendors call: what is answered when, and what strangers learn.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use http_body_util::BodyExt as _;
use mailfleet::{
    egress::Egress,
    engine::{View, Webhooks},
    feedback::{Batch, Intake, NotTaken},
    providers::{
        Clients,
        webhook::{Amazon, Certificate, Endpoint, Refused},
    },
    serve::feedback::router,
};
use tokio::sync::{mpsc, watch};
use tower_service::Service as _;

use super::{
    delivered,
    sign::{CERTIFICATE_URL, Payload, SECRET, Sent, TYPES, Vendor, server},
};

/// The address, what arrives behind it, and the server's own endpoint.
struct Door {
    router: Router,
    arriving: mpsc::Receiver<Batch>,
    endpoint: Arc<Endpoint>,
    view: watch::Sender<View>,
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn door(kind: &'static str) -> (Door, Vendor) {
    let (vendor, amazon) = (Vendor::new(kind), Amazon::default());
    amazon.keep(CERTIFICATE_URL, Certificate::from_pem(super::sign::amazon_pem().as_bytes()).unwrap());
    let own = Vendor { ecdsa: vendor.ecdsa, ..Vendor::new(kind) };
    let endpoint = Arc::new(Endpoint::new(server(), vendor.webhook, amazon, Clients::default(), Egress::Everywhere));
    let webhooks: Webhooks = BTreeMap::from([(server(), endpoint.clone())]);
    let view = View { turned_at: Some(tokio::time::Instant::now()), webhooks: Arc::new(webhooks), ..View::default() };
    let (view, shown) = watch::channel(view);
    let (intake, arriving) = Intake::new();
    (Door { router: router(shown, intake), arriving, endpoint, view }, own)
}

/// Calls a path, and returns the answer's status, headers and body.
async fn call(router: &Router, method: &str, path: &str, sent: &Sent) -> (StatusCode, HeaderMap, String) {
    let query = if sent.query.is_empty() { String::new() } else { format!("?{}", sent.query) };
    let secret = sent.path_secret.as_ref().map(|secret| format!("/{secret}")).unwrap_or_default();
    let mut request = Request::builder().method(method).uri(format!("{path}{secret}{query}")).body(Body::from(sent.body.clone())).unwrap();
    *request.headers_mut() = sent.headers.clone();
    let response = router.clone().call(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
}

async fn post(router: &Router, sent: &Sent) -> StatusCode {
    call(router, "POST", "/feedback/shop/vendor", sent).await.0
}

/// Answers the batches that arrive, and returns how many events each had.
fn ledger(mut arriving: mpsc::Receiver<Batch>, answers: Vec<Result<(), NotTaken>>) -> tokio::task::JoinHandle<Vec<usize>> {
    tokio::spawn(async move {
        let mut counts = Vec::new();
        for answer in answers {
            let batch = arriving.recv().await.unwrap();
            counts.push(batch.events.len());
            let _ = batch.done.send(answer);
        }
        counts
    })
}

#[tokio::test]
async fn an_answer_waits_until_the_events_are_durable_and_a_call_that_was_not_taken_may_come_again() {
    for kind in TYPES {
        let (door, vendor) = door(kind);
        let taken = ledger(door.arriving, vec![Err(NotTaken("the disk is full".to_owned())), Ok(())]);
        let sent = vendor.sign(&delivered(kind, 1), now_ms(), 1);
        let (status, headers, _) = call(&door.router, "POST", "/feedback/shop/vendor", &sent).await;
        assert_eq!((status, headers["retry-after"].to_str().unwrap()), (StatusCode::SERVICE_UNAVAILABLE, "30"), "{kind}");
        assert_eq!(post(&door.router, &sent).await, StatusCode::OK, "{kind}");
        assert_eq!(taken.await.unwrap(), [1, 1], "{kind}");
        let tally = door.endpoint.tally();
        assert_eq!((tally.taken, tally.refused), (1, 0), "{kind}");
        // The ledger is gone: nothing would take what does not get that far.
        let again = post(&door.router, &sent).await;
        let is_signed = matches!(kind, "ses" | "sendgrid" | "mailgun");
        assert_eq!(again, if is_signed { StatusCode::NOT_ACCEPTABLE } else { StatusCode::SERVICE_UNAVAILABLE }, "{kind}, the same again");
    }
}

#[tokio::test]
async fn what_says_nothing_that_counts_is_taken_without_a_ledger() {
    let (door, vendor) = door("sendgrid");
    drop(door.arriving);
    let opens = Payload::Body(br#"[{"event":"open","email":"ann@example.com","sg_event_id":"1"}]"#.to_vec());
    assert_eq!(post(&door.router, &vendor.sign(&opens, now_ms(), 1)).await, StatusCode::OK);
}

#[tokio::test]
async fn two_of_the_same_call_at_once_are_taken_once() {
    let (mut door, vendor) = door("mailgun");
    let sent = vendor.sign(&delivered("mailgun", 1), now_ms(), 1);
    let (router, first) = (door.router.clone(), sent.clone());
    let first = tokio::spawn(async move { post(&router, &first).await });
    let batch = door.arriving.recv().await.unwrap();
    assert_eq!(post(&door.router, &sent).await, StatusCode::SERVICE_UNAVAILABLE);
    // Whoever saw the call puts another event under its signature.
    let other = vendor.sign(&delivered("mailgun", 1), now_ms(), 2);
    let body = String::from_utf8(sent.body.clone()).unwrap().replace("delivered", "complained");
    batch.done.send(Ok(())).unwrap();
    assert_eq!(first.await.unwrap(), StatusCode::OK);
    assert_eq!(post(&door.router, &Sent { body: body.into_bytes(), ..other }).await, StatusCode::NOT_ACCEPTABLE);
}

#[tokio::test]
async fn strangers_do_not_learn_which_servers_there_are() {
    for kind in TYPES {
        let (door, vendor) = door(kind);
        let good = vendor.sign(&delivered(kind, 1), now_ms(), 1);
        // Another vendor's key and another secret.
        let mut forged = Vendor::new(kind).sign(&delivered(kind, 1), now_ms(), 1);
        forged.path_secret = forged.path_secret.map(|secret| secret.replace('0', "1"));
        if forged.headers.contains_key("authorization") {
            forged.set("authorization", "Bearer 1111111111111111");
        }
        forged.body = String::from_utf8(forged.body)
            .unwrap()
            .replace("\"signature\":\"", "\"signature\":\"0")
            .replace("Signature\":\"", "Signature\":\"B")
            .into_bytes();
        let mut answers = Vec::new();
        for (path, sent) in [
            ("/feedback/shop/vendor", &forged),
            ("/feedback/shop/nothing", &good),
            ("/feedback/other/vendor", &good),
            ("/feedback/shop", &good),
        ] {
            let began = Instant::now();
            answers.push(call(&door.router, "POST", path, sent).await);
            assert!(began.elapsed() >= Duration::from_millis(100), "{kind}: {path}");
        }
        assert_eq!(answers[0].0, StatusCode::UNAUTHORIZED, "{kind}");
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{kind}: {answers:?}");
        for method in ["GET", "PUT", "HEAD", "DELETE"] {
            let empty = Sent { body: Vec::new(), ..forged.clone() };
            assert_eq!(call(&door.router, method, "/feedback/shop/vendor", &empty).await.0, StatusCode::UNAUTHORIZED, "{kind}: {method}");
        }
        assert!(door.endpoint.tally().refused > 0, "{kind}: the operator learns of it");
    }
}

#[tokio::test]
async fn bodies_have_a_bound_and_no_coding() {
    let (door, vendor) = door("postmark");
    drop(door.arriving);
    let long = vendor.sign(&Payload::Body(vec![b' '; (5 << 20) + 1]), now_ms(), 1);
    assert_eq!(post(&door.router, &long).await, StatusCode::UNAUTHORIZED);
    let mut packed = vendor.sign(&Payload::Body(b"[]".to_vec()), now_ms(), 1);
    assert_eq!(post(&door.router, &packed).await, StatusCode::OK);
    packed.set("content-encoding", "gzip");
    assert_eq!(post(&door.router, &packed).await, StatusCode::UNAUTHORIZED);
    let unreadable = vendor.sign(&Payload::Body(b"{".to_vec()), now_ms(), 1);
    assert_eq!(post(&door.router, &unreadable).await, StatusCode::BAD_REQUEST);
    assert_eq!(door.endpoint.tally().refused_why, Some("the body is not the JSON that the vendor documents"));
}

#[tokio::test]
async fn elastic_email_calls_with_get() {
    let (door, vendor) = door("elasticEmail");
    let taken = ledger(door.arriving, vec![Ok(())]);
    let sent = vendor.sign(&Payload::Query("to=ann%40example.com&status=Sent&messageid=m1".to_owned()), now_ms(), 1);
    assert_eq!(call(&door.router, "GET", "/feedback/shop/vendor", &sent).await.0, StatusCode::OK);
    assert_eq!(taken.await.unwrap(), [1]);
    assert_eq!(sent.path_secret.as_deref(), Some(SECRET));
}

#[tokio::test]
async fn a_process_that_does_not_lead_takes_nothing_and_loses_nothing() {
    let (door, vendor) = door("ses");
    door.view.send_modify(|view| view.turned_at = None);
    let sent = vendor.sign(&delivered("ses", 1), now_ms(), 1);
    assert_eq!(post(&door.router, &sent).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(call(&door.router, "POST", "/feedback/shop/nothing", &sent).await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_call_that_is_given_up_may_come_again() {
    let (door, vendor) = door("sendgrid");
    let sent = vendor.sign(&delivered("sendgrid", 1), now_ms(), 1);
    let taking = door.endpoint.receive(&Sent { now_ms: now_ms(), ..sent.clone() }.call()).await.unwrap();
    assert!(matches!(door.endpoint.receive(&Sent { now_ms: now_ms(), ..sent.clone() }.call()).await, Err(Refused::NotNow(_))));
    drop(taking);
    let taken = ledger(door.arriving, vec![Ok(())]);
    assert_eq!(post(&door.router, &sent).await, StatusCode::OK);
    assert_eq!(taken.await.unwrap(), [1]);
}

#[tokio::test]
async fn bodies_of_all_calls_have_a_bound() {
    let (door, vendor) = door("sendgrid");
    drop(door.arriving);
    let (router, mut slow) = (&door.router, Vec::new());
    // Fourteen bodies that do not end take all the memory that there is for bodies.
    for _ in 0..14 {
        let parts = futures::stream::iter((0..5).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1 << 20])));
        let body = Body::from_stream(futures::StreamExt::chain(parts, futures::stream::pending()));
        let request = Request::builder().method("POST").uri("/feedback/shop/vendor").body(body).unwrap();
        slow.push(tokio::spawn(router.clone().call(request)));
    }
    let opens = vendor.sign(&Payload::Body([b"[".to_vec(), vec![b' '; (5 << 20) - 2], b"]".to_vec()].concat()), now_ms(), 1);
    let mut status = StatusCode::OK;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        status = post(router, &opens).await;
        if status == StatusCode::SERVICE_UNAVAILABLE {
            break;
        }
    }
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    slow.iter().for_each(tokio::task::JoinHandle::abort);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(post(router, &vendor.sign(&Payload::Body(b"[]".to_vec()), now_ms(), 2)).await, StatusCode::OK);
}
