//! Real replies, each played to the client by the scripted server, and what becomes of them.

use std::sync::Arc;

use serde::Deserialize;

use super::{
    CHUNKING, PIPELINING, PLAIN, context,
    deliver::{deliver_all, message},
    script,
    script::{Act, ScriptedServer},
    server,
};
use crate::providers::{Outcome, Outgoing, Scope};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    at: String,
    reply: String,
    is: String,
    reason: Option<String>,
    source: String,
}

/// What became of it: the outcome, the reason, and the words for people.
async fn play(row: &Row, extensions: &[&'static str]) -> (String, Option<String>, String) {
    let event: &'static str = ["CONNECT", "EHLO", "AUTH", "MAIL", "RCPT", "CONTENT"].into_iter().find(|event| *event == row.at).unwrap();
    let is_opening = ["CONNECT", "EHLO", "AUTH"].contains(&event);
    let reply: &'static str = Box::leak(row.reply.clone().into_boxed_str());
    let act = if is_opening || reply.starts_with("421") { Act::SayAndClose(reply) } else { Act::Say(reply) };
    let offered = [extensions, &["AUTH PLAIN"]].concat();
    let scripted = ScriptedServer::start(script(&offered, &[(event, 0, act)])).await;
    let auth = if event == "AUTH" { ", auth: {secretRef: {name: login}}" } else { "" };
    let yaml = format!("{{host: 127.0.0.1, port: {}, encryption: None, heloName: me.example.com{auth}}}", scripted.address.port());
    let server = server(&yaml, context(&[("login", "username", "user"), ("login", "password", "hunter2")]));
    let one = Outgoing { mail_from: Arc::from("news@example.com"), rcpt_to: Arc::from("u0@example.com"), ..message(0) };
    let outcome = deliver_all(&*server, vec![one]).await.remove(0).outcome;
    assert_eq!(scripted.taken(), [], "nothing is taken");
    if is_opening {
        // A probe meets the same.
        let failure = server.probe().await.unwrap().unwrap_err();
        assert_eq!(Outcome::ServerFailed(failure), outcome);
    }
    match outcome {
        Outcome::Refused(refusal) => {
            assert_eq!(refusal.cause.is_some(), matches!(refusal.scope, Scope::Sender | Scope::Content), "{reply}");
            let (reason, words) = refusal.cause.as_ref().map_or((None, String::new()), |c| (Some(c.reason.to_string()), c.message.clone()));
            (refusal.name().to_owned(), reason, words)
        }
        Outcome::ServerFailed(failure) => ("ServerFailed".to_owned(), Some(failure.reason.to_string()), failure.message),
        Outcome::Accepted { .. } => ("Accepted".to_owned(), None, String::new()),
        Outcome::Unknown(failure) => ("Unknown".to_owned(), Some(failure.reason.to_string()), failure.message),
    }
}

#[tokio::test]
async fn real_replies_have_their_meaning() {
    let rows: Vec<Row> = serde_saphyr::from_str(include_str!("replies.yaml")).unwrap();
    assert!(rows.len() > 100);
    let mut wrong = Vec::new();
    for row in &rows {
        assert!(!row.source.is_empty());
        for (mode, extensions) in [("chunking", CHUNKING), ("pipelining", PIPELINING), ("plain", PLAIN)] {
            let (is, reason, words) = play(row, extensions).await;
            if (&is, &reason) != (&row.is, &row.reason) {
                wrong.push(format!("{mode} {} `{}`: {is} {reason:?}, and not {} {:?}", row.at, row.reply, row.is, row.reason));
            } else if reason.as_deref() == Some("StartTlsRequired") {
                assert!(words.contains("encryption") && words.contains("StartTls") && !words.contains("Secret"), "{words}");
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
