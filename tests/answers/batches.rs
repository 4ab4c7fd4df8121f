//! Several messages in a call: which messages share one, and what happens when it is refused, lost, slow or dropped.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use mailfleet::{
    egress::Egress,
    providers::{Context, Delivered, Outcome, Outgoing, Permissions, Provider as _, ProviderSpec, Server},
    resources::{Reason, secret::SecretValue},
};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpListener, sync::mpsc};

use super::{Request, message};

/// What the server does with a request, by the request's number from 0.
type Script = Arc<dyn Fn(usize, &Value) -> Act + Send + Sync>;

enum Act {
    Answer(u16, Value),
    Close,
    Hang,
    /// A response of that many bytes.
    Flood(usize),
}

struct Fake {
    port: u16,
    bodies: Arc<Mutex<Vec<Value>>>,
}

async fn fake(script: Script) -> Fake {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let bodies: Arc<Mutex<Vec<Value>>> = Arc::default();
    let seen = bodies.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (script, seen) = (script.clone(), seen.clone());
            tokio::spawn(async move {
                let Some(request) = Request::read(&mut stream).await else { return };
                let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
                let number = {
                    let mut seen = seen.lock().expect("nobody panics");
                    seen.push(body.clone());
                    seen.len() - 1
                };
                let (status, text) = match script(number, &body) {
                    Act::Answer(status, Value::Null) => (status, String::new()),
                    Act::Answer(status, value) => (status, value.to_string()),
                    Act::Flood(bytes) => (400, "x".repeat(bytes)),
                    Act::Close => return,
                    Act::Hang => {
                        tokio::time::sleep(Duration::from_secs(30)).await;
                        return;
                    }
                };
                let head = format!("HTTP/1.1 {status} Status\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", text.len());
                let _ = stream.write_all(format!("{head}{text}").as_bytes()).await;
            });
        }
    });
    Fake { port, bodies }
}

fn context(egress: Egress, provider: &ProviderSpec) -> Context {
    let secrets = provider.secrets().into_iter().map(|needed| (needed.key, SecretValue::new("a-secret-key"))).collect();
    Context { secrets, connections: 2, connect_timeout: Duration::from_secs(2), egress, ..Context::new("shop/server") }
}

fn server(kind: &str, port: u16, more: Value) -> Arc<dyn Server> {
    let mut spec = json!({"secretRef": {"name": "key"}, "endpoint": format!("http://127.0.0.1:{port}"), "timeout": "1s"});
    spec.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    let provider: ProviderSpec = serde_json::from_value(json!({kind: spec})).expect("a spec");
    let context = context(Egress::Everywhere, &provider);
    provider.build(context).unwrap_or_else(|failure| panic!("{failure}"))
}

async fn deliver(server: &Arc<dyn Server>, batch: Vec<Outgoing>) -> BTreeMap<u64, Outcome> {
    let count = batch.len();
    let (sender, mut outcomes) = mpsc::unbounded_channel();
    server.deliver(batch, sender).await;
    let mut found = BTreeMap::new();
    while let Some(Delivered { message, outcome, .. }) = outcomes.recv().await {
        assert!(found.insert(message.token, outcome).is_none(), "two outcomes of message {}", message.token);
    }
    assert_eq!(found.len(), count, "{found:?}");
    found
}

fn is_accepted(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Accepted { .. })
}

#[tokio::test]
async fn equal_bodies_share_a_call_and_keep_what_is_their_own() {
    let fake = fake(Arc::new(|_, _| Act::Answer(202, Value::Null))).await;
    let server = server("sendgrid", fake.port, json!({}));
    let batch = vec![message(1, "a", "Hi"), message(2, "b", "Hi"), message(3, "c", "Other"), message(4, "d", "Hi")];
    assert!(deliver(&server, batch).await.values().all(is_accepted));
    let bodies = fake.bodies.lock().expect("nobody panics");
    let to: Vec<Vec<&str>> = bodies
        .iter()
        .map(|body| {
            body["personalizations"].as_array().expect("a list").iter().map(|one| one["to"][0]["email"].as_str().expect("text")).collect()
        })
        .collect();
    assert_eq!(to, [vec!["a@example.com", "b@example.com", "d@example.com"], vec!["c@example.com"]]);
    let second = &bodies[0]["personalizations"][1];
    assert_eq!(second["subject"], "Hello b");
    assert_eq!(second["headers"]["List-Unsubscribe"], "<https://shop.example/u/b>");
    assert_eq!(second["headers"]["Message-ID"], "<b@shop.example>");
    assert_eq!(second["custom_args"]["mailfleet_campaign"], "shop/spring");
}

#[tokio::test]
async fn a_refused_call_is_asked_for_one_by_one() {
    let fake = fake(Arc::new(|_, body| {
        let people = body["personalizations"].as_array().map_or(0, Vec::len);
        if body.to_string().contains("bad@example.com") {
            let field = if people > 1 { "personalizations.1.to.0.email" } else { "personalizations.0.to.0.email" };
            return Act::Answer(400, json!({"errors": [{"message": "Does not contain a valid address.", "field": field}]}));
        }
        Act::Answer(202, Value::Null)
    }))
    .await;
    let server = server("sendgrid", fake.port, json!({}));
    let found = deliver(&server, vec![message(1, "a", "Hi"), message(2, "bad", "Hi"), message(3, "c", "Hi")]).await;
    assert!(is_accepted(&found[&1]) && is_accepted(&found[&3]), "{found:?}");
    assert!(matches!(found[&2], Outcome::Refused(_)), "{found:?}");
    assert_eq!(fake.bodies.lock().expect("nobody panics").len(), 4);
}

#[tokio::test]
async fn each_of_a_batch_has_its_own_answer() {
    let fake = fake(Arc::new(|_, body| {
        let answers = body.as_array().expect("a batch").iter().enumerate().map(|(number, _)| match number {
            1 => json!({"ErrorCode": 406, "Message": "inactive"}),
            2 => json!({"ErrorCode": 10, "Message": "bad token"}),
            _ => json!({"ErrorCode": 0, "Message": "OK", "MessageID": format!("id-{number}")}),
        });
        Act::Answer(200, answers.collect())
    }))
    .await;
    let server = server("postmark", fake.port, json!({"batchSize": 3}));
    let found = deliver(&server, (1..=3).map(|token| message(token, &format!("p{token}"), &format!("Hi {token}"))).collect()).await;
    assert_eq!(found[&1], Outcome::Accepted { reply: "200 id-0".to_owned() });
    assert!(matches!(found[&2], Outcome::Refused(_)));
    assert!(matches!(&found[&3], Outcome::ServerFailed(failure) if failure.reason == Reason::AuthenticationFailed && failure.needs_person));
    assert_eq!(server.carriage().batch, 3);
}

#[tokio::test]
async fn an_answer_that_misses_messages_leaves_them_unknown() {
    let fake = fake(Arc::new(|_, _| Act::Answer(200, json!([{"ErrorCode": 0, "MessageID": "only one"}])))).await;
    let server = server("postmark", fake.port, json!({}));
    let found = deliver(&server, vec![message(1, "a", "Hi"), message(2, "b", "Hi")]).await;
    let is_unknown = |outcome: &Outcome| matches!(outcome, Outcome::Unknown(failure) if failure.reason == Reason::ProtocolError);
    assert!(found.values().all(is_unknown), "{found:?}");
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_only_where_that_doubles_nothing() {
    let lose_first: Script = Arc::new(|number, _| if number == 0 { Act::Close } else { Act::Answer(201, json!({"messageId": "<1>"})) });
    let fake_brevo = fake(lose_first.clone()).await;
    let found = deliver(&server("brevo", fake_brevo.port, json!({})), vec![message(1, "a", "Hi")]).await;
    assert!(is_accepted(&found[&1]), "{found:?}");
    let bodies = fake_brevo.bodies.lock().expect("nobody panics").clone();
    assert_eq!(bodies.len(), 2);
    assert!(bodies[0]["headers"]["idempotencyKey"].as_str().is_some_and(|key| key.len() == 36));
    assert_eq!(bodies[0], bodies[1]);

    let fake_sendgrid = fake(lose_first).await;
    let found = deliver(&server("sendgrid", fake_sendgrid.port, json!({})), vec![message(1, "a", "Hi"), message(2, "b", "Other")]).await;
    // There is no request for the second: a server that breaks the connection is probed first.
    assert!(matches!(&found[&1], Outcome::Unknown(failure) if failure.reason == Reason::ConnectionLost), "{found:?}");
    assert!(matches!(&found[&2], Outcome::ServerFailed(_)), "{found:?}");
    assert_eq!(fake_sendgrid.bodies.lock().expect("nobody panics").len(), 1);
}

#[tokio::test]
async fn a_vendor_that_hangs_or_floods_is_bounded() {
    let hanging = fake(Arc::new(|_, _| Act::Hang)).await;
    let begin = std::time::Instant::now();
    let found = deliver(&server("mailgun", hanging.port, json!({"domain": "mg.example.com"})), vec![message(1, "a", "Hi")]).await;
    assert!(matches!(&found[&1], Outcome::Unknown(failure) if failure.reason == Reason::TimedOut), "{found:?}");
    assert!(begin.elapsed() < Duration::from_secs(10));

    let flooding = fake(Arc::new(|_, _| Act::Flood(8 << 20))).await;
    let found = deliver(&server("mailgun", flooding.port, json!({"domain": "mg.example.com"})), vec![message(1, "a", "Hi")]).await;
    assert!(matches!(&found[&1], Outcome::Refused(refusal) if refusal.reply.len() <= 260), "{found:?}");
}

#[tokio::test]
async fn who_gives_up_gets_every_outcome() {
    let hanging = fake(Arc::new(|_, _| Act::Hang)).await;
    let server = server("sendgrid", hanging.port, json!({"timeout": "1m"}));
    let (sender, mut outcomes) = mpsc::unbounded_channel();
    // One that is never polled, and one that is dropped during a call.
    drop(server.deliver(vec![message(1, "a", "Hi")], sender.clone()));
    let under_way = server.deliver(vec![message(2, "b", "Hi"), message(3, "c", "Other")], sender);
    assert!(tokio::time::timeout(Duration::from_millis(300), under_way).await.is_err());
    let mut found = BTreeMap::new();
    while let Some(delivered) = outcomes.recv().await {
        found.insert(delivered.message.token, delivered.outcome);
    }
    assert!(matches!(found[&1], Outcome::ServerFailed(_)), "{found:?}");
    assert!(matches!(found[&2], Outcome::Unknown(_)), "{found:?}");
    assert!(matches!(found[&3], Outcome::ServerFailed(_)), "{found:?}");
}

#[tokio::test]
async fn customers_reach_public_addresses_only() {
    let fake = fake(Arc::new(|_, _| Act::Answer(200, json!({"scopes": ["mail.send"]})))).await;
    for host in ["127.0.0.1", "localhost", "[::1]"] {
        let provider: ProviderSpec =
            serde_json::from_value(json!({"sendgrid": {"secretRef": {"name": "key"}, "endpoint": format!("http://{host}:{}", fake.port)}}))
                .expect("a spec");
        let failure = match provider.build(context(Egress::PublicOnly, &provider)) {
            Err(failure) => failure,
            Ok(server) => server.probe().await.expect("it can be probed").expect_err("it is not allowed"),
        };
        assert_eq!((failure.reason, failure.needs_person), (Reason::AddressNotAllowed, true), "{host}: {failure}");
    }
    for host in ["127.0.0.1", "localhost"] {
        let provider: ProviderSpec =
            serde_json::from_value(json!({"smtp": {"host": host, "port": fake.port, "encryption": "None"}})).expect("a spec");
        let server = provider.build(context(Egress::PublicOnly, &provider)).unwrap_or_else(|failure| panic!("{failure}"));
        let failure = server.probe().await.expect("it can be probed").expect_err("it is not allowed");
        assert_eq!((failure.reason, failure.needs_person), (Reason::AddressNotAllowed, true), "{host}: {failure}");
    }
    assert!(fake.bodies.lock().expect("nobody panics").is_empty(), "a connection was made");
}

#[tokio::test]
async fn what_cannot_be_sent_this_way_is_told_without_a_call() {
    let fake = fake(Arc::new(|_, _| Act::Answer(202, Value::Null))).await;
    let server = server("sendgrid", fake.port, json!({}));
    let empty = Outgoing { content: b"From: a@b.example\r\nTo: c@d.example\r\n\r\n".as_slice().into(), ..message(1, "a", "") };
    let forged = Outgoing { rcpt_to: "a@example.com\r\nBcc: b@example.com".into(), ..message(2, "a", "Hi") };
    let found = deliver(&server, vec![empty, forged, message(3, "c", "Hi")]).await;
    assert!(matches!(found[&1], Outcome::Refused(_)), "{found:?}");
    assert!(matches!(found[&2], Outcome::Refused(_)), "{found:?}");
    assert!(is_accepted(&found[&3]));
    assert_eq!(fake.bodies.lock().expect("nobody panics").len(), 1);
}

#[tokio::test]
async fn without_a_token_nothing_was_sent() {
    for (status, body, reason, person) in [
        (200, json!({"x": 1}), Reason::ProtocolError, false),
        (200, json!("<html></html>"), Reason::ProtocolError, false),
        (200, json!({"access_token": "two words"}), Reason::ProtocolError, false),
        (500, json!({"error": "internal_failure"}), Reason::ServiceNotAvailable, false),
        (429, json!({"error": "rate"}), Reason::Throttled, false),
        (400, json!({"error": "strange"}), Reason::ServiceNotAvailable, false),
        (400, json!({"error": "invalid_grant"}), Reason::AuthenticationFailed, true),
        (401, json!({"error": "invalid_client"}), Reason::AuthenticationFailed, true),
        (401, json!({"error": "unauthorized_client"}), Reason::AuthenticationFailed, true),
    ] {
        let answer = body.clone();
        let fake = fake(Arc::new(move |_, _| Act::Answer(status, answer.clone()))).await;
        let token_url = format!("http://127.0.0.1:{}/token", fake.port);
        let server = server("gmail", fake.port, json!({"user": "ann@shop.example", "via": "Api", "tokenUrl": token_url}));
        let probed = server.probe().await.expect("it can be probed").expect_err("there is no token");
        assert_eq!((probed.reason, probed.needs_person), (reason, person), "{status} {body}: {probed}");
        let found = deliver(&server, vec![message(1, "a", "Hi"), message(2, "b", "Hi")]).await;
        let is_it = |outcome: &Outcome| matches!(outcome, Outcome::ServerFailed(failure) if failure.reason == reason);
        assert!(found.values().all(is_it), "{status} {body}: {found:?}");
    }
}

#[tokio::test]
async fn gmail_sends_to_whom_the_message_names_so_that_must_be_the_recipient() {
    let fake = fake(Arc::new(|number, _| {
        Act::Answer(200, if number == 0 { json!({"access_token": "token-of-the-test"}) } else { json!({"id": "1"}) })
    }))
    .await;
    let token_url = format!("http://127.0.0.1:{}/token", fake.port);
    let server = server("gmail", fake.port, json!({"user": "ann@shop.example", "via": "Api", "tokenUrl": token_url}));
    let with = |token: u64, recipient: &str, fields: &str| {
        let content = format!("From: Ann <ann@shop.example>\r\n{fields}Subject: Hello\r\n\r\nHi\r\n");
        Outgoing { rcpt_to: recipient.into(), content: content.into_bytes().into(), ..message(token, "bob", "Hi") }
    };
    let batch = vec![
        with(1, "bob@example.com", "To: \"Bob, of us\" <BOB@example.com>\r\n"),
        with(2, "bob@example.com", "To: customer@example.net\r\n"),
        with(3, "bob@example.com", "To: bob@example.com\r\nCc: carol@example.com\r\n"),
        with(4, "bob@example.com", "To: bob@example.com\r\nBcc: carol@example.com\r\n"),
        with(5, "bob@example.com", "To: bob@example.com\r\nTo: carol@example.com\r\n"),
        with(6, "bob@example.com", "To: Us: bob@example.com, carol@example.com;\r\n"),
        with(7, "bob@example.com", ""),
    ];
    let outcomes = deliver(&server, batch).await;
    assert!(is_accepted(&outcomes[&1]), "{outcomes:?}");
    let refused = |token: u64| matches!(&outcomes[&token], Outcome::Refused(refusal) if refusal.reply.contains("To, Cc and Bcc"));
    assert!((2..=7).all(refused), "{outcomes:?}");
}

#[test]
fn the_machines_credentials_are_the_operators_to_allow() {
    let provider: ProviderSpec = serde_json::from_value(json!({"ses": {"region": "eu-west-1"}})).expect("a spec");
    let context = |ambient_credentials| Context {
        permissions: Permissions { ambient_credentials, ..Permissions::default() },
        ..context(Egress::Everywhere, &provider)
    };
    let failure = provider.build(context(false)).err().expect("it is refused");
    assert_eq!((failure.reason, failure.needs_person), (Reason::NotAllowedByOperator, true));
    assert!(failure.message.contains("secretRef"), "{failure}");
    assert!(provider.build(context(true)).is_ok());
}
