//! The address that vendors call, as a program for tests/webhooks.py: webhook-door TYPE CREDENTIALS [REFUSE]
//!
//! It prints where it listens, and then each event that was taken, one a line, as JSON. CREDENTIALS is JSON (`secret`, `topicArn`,
//! `publicKey`); with REFUSE, the first so many calls with events are answered as if the ledger could not record them.

#![allow(clippy::expect_used, clippy::print_stdout)] // a program of the tests

use std::{collections::BTreeMap, sync::Arc};

use axum::body::Body;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use mailfleet::{
    egress::Egress,
    engine::{View, Webhooks},
    feedback::{Intake, NotTaken},
    meta::{Key, secret::SecretValue},
    providers::{
        Clients, Provider as _, ProviderSpec,
        webhook::{Amazon, Endpoint, WebhookCredentials},
    },
    serve::feedback::router,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, time::Instant};
use tower_service::Service as _;

fn spec_of(kind: &str) -> ProviderSpec {
    let spec = match kind {
        "ses" => json!({"region": "eu-west-1"}),
        "mailgun" => json!({"secretRef": {"name": "x"}, "domain": "mg.example.com"}),
        "plugin" => json!({"url": "http://localhost:1"}),
        _ => json!({"secretRef": {"name": "x"}}),
    };
    serde_json::from_value(json!({kind: spec})).expect("a type with webhooks")
}

#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().collect();
    let given: Value = serde_json::from_str(&words[2]).expect("credentials as JSON");
    let mut refuse: u32 = words.get(3).map_or(0, |count| count.parse().expect("a number"));
    let text = |name: &str| given[name].as_str().map(str::to_owned);
    let credentials =
        WebhookCredentials { secret: text("secret").map(SecretValue::new), topic_arn: text("topicArn"), public_key: text("publicKey") };
    let server = Key::new("shop", "vendor");
    let webhook = spec_of(&words[1]).webhook(&server, &credentials).expect("it has a webhook").expect("its credentials are good");
    let endpoint = Endpoint::new(server.clone(), webhook, Amazon::default(), Clients::default(), Egress::Everywhere);
    let webhooks: Webhooks = BTreeMap::from([(server, Arc::new(endpoint))]);
    let (_view, shown) = watch::channel(View { turned_at: Some(Instant::now()), webhooks: Arc::new(webhooks), ..View::default() });
    let (intake, mut arriving) = Intake::new();
    tokio::spawn(async move {
        while let Some(batch) = arriving.recv().await {
            let answer = if refuse > 0 {
                refuse -= 1;
                Err(NotTaken("it was told to refuse".to_owned()))
            } else {
                for event in &batch.events {
                    let (kind, message) = (event.kind.as_str(), format!("{:?}", event.message));
                    println!("{}", json!({"kind": kind, "message": message, "recipient": event.recipient.as_deref(), "id": event.id}));
                }
                Ok(())
            };
            let _ = batch.done.send(answer);
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("{}", listener.local_addr().expect("an address").port());
    let router = router(shown, intake);
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let router = router.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: hyper::Request<Incoming>| router.clone().call(request.map(Body::new)));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
