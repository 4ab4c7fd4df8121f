//! Servers that take so many messages over a connection, or so many connections at a time.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{
    CHUNKING, PIPELINING, PLAIN, context,
    deliver::{deliver_all, message, word, words},
    script,
    script::{Act, Act::*, ScriptedServer},
    server,
};
use crate::providers::{Context, Outcome, Probed, Server};

const MODES: [(&str, &[&str]); 3] = [("chunking", CHUNKING), ("pipelining", PIPELINING), ("plain", PLAIN)];

async fn start(extensions: &[&'static str], recipients_max: Option<(usize, Act)>, connections_max: usize) -> ScriptedServer {
    let mut script = script(extensions, &[]);
    (script.recipients_max, script.connections_max) = (recipients_max, connections_max);
    ScriptedServer::start(script).await
}

fn smtp(scripted: &ScriptedServer, connections: u32) -> Arc<dyn Server> {
    let yaml = format!("{{host: 127.0.0.1, port: {}, encryption: None, heloName: me.example.com}}", scripted.address.port());
    server(&yaml, Context { connections, ..context(&[]) })
}

fn connections(scripted: &ScriptedServer) -> usize {
    scripted.seen.lock().unwrap().connections
}

#[tokio::test]
async fn a_connection_that_is_used_up_is_followed_by_a_fresh_one() {
    for act in [
        Say("452 4.5.3 Too many recipients in this session"),
        SayAndClose("421 4.7.0 Too many messages in this session"),
        SayAndClose("452 4.5.3 Error: too many recipients"),
        Say("451 4.3.0 Too many messages on this connection"),
    ] {
        for (mode, extensions) in MODES {
            // What was wholly written before the line broke without 421 may have been taken.
            if mode == "chunking" && matches!(act, SayAndClose(text) if !text.starts_with("421")) {
                continue;
            }
            let scripted = start(extensions, Some((10, act)), 0).await;
            let server = smtp(&scripted, 1);
            let all = deliver_all(&*server, (0..25).map(message).collect()).await;
            assert!(all.iter().all(|one| word(&one.outcome) == "accepted"), "{mode} {act:?}: {:?}", words(&all));
            assert_eq!(connections(&scripted), 3, "{mode} {act:?}");
            // What the server takes is known from now on: no recipient too many.
            let refused = scripted.count("RCPT") - 25;
            assert!(refused > 0 && refused <= 16, "{mode} {act:?}: {refused}");
            let all = deliver_all(&*server, (25..100).map(message).collect()).await;
            assert!(all.iter().all(|one| word(&one.outcome) == "accepted"), "{mode} {act:?}: {:?}", words(&all));
            assert_eq!((connections(&scripted), scripted.count("RCPT") - 100), (10, refused), "{mode} {act:?}");
            assert_eq!(scripted.taken().iter().map(|one| one.to.clone()).collect::<BTreeSet<_>>().len(), 100);
            assert_eq!(scripted.taken().len(), 100);
        }
    }
}

#[tokio::test]
async fn a_fresh_connection_that_takes_nothing_is_too_fast() {
    for (mode, extensions) in MODES {
        let scripted = start(extensions, Some((0, Say("452 4.5.3 Too many recipients in this session"))), 0).await;
        let all = deliver_all(&*smtp(&scripted, 1), (0..3).map(message).collect()).await;
        assert_eq!(words(&all), ["failed:Throttled"; 3], "{mode}");
        assert_eq!(connections(&scripted), 1, "{mode}");
    }
}

#[tokio::test]
async fn fewer_connections_than_configured_carry_everything() {
    let scripted = start(PLAIN, None, 3).await;
    let server = smtp(&scripted, 10);
    let mut waiting: Vec<_> = (0..2000).map(message).collect();
    let mut tasks = tokio::task::JoinSet::new();
    let probing = tokio::spawn({
        let server = Arc::clone(&server);
        async move {
            for _ in 0..20 {
                assert_eq!(server.probe().await, Some(Ok(Probed::default())), "the server is well");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    });
    // The first has opened its connection: from now on the server is known to be well.
    assert_eq!(words(&deliver_all(&*server, vec![message(5000)]).await), ["accepted"]);
    while !waiting.is_empty() || !tasks.is_empty() {
        while tasks.len() < 10
            && let Some(next) = waiting.pop()
        {
            let server = Arc::clone(&server);
            tasks.spawn(async move { deliver_all(&*server, vec![next]).await });
        }
        for delivered in tasks.join_next().await.into_iter().flat_map(Result::unwrap) {
            match &delivered.outcome {
                Outcome::Accepted { .. } => {}
                Outcome::ServerFailed(failure) if failure.is_connection_limit() => {
                    assert!(failure.message.contains("limits.connections"), "{failure}");
                    waiting.insert(0, delivered.message);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    probing.await.unwrap();
    assert_eq!(scripted.taken().len(), 2001);
    assert_eq!(scripted.taken().iter().map(|one| one.to.clone()).collect::<BTreeSet<_>>().len(), 2001);
    assert!(scripted.seen.lock().unwrap().refused_connections > 0, "the limit was met");
}

#[tokio::test]
async fn a_probe_opens_no_connection_too_many() {
    // One connection at a time, and it is kept idle: the probe takes its place, and leaves its own there.
    let scripted = start(PLAIN, None, 1).await;
    let server = smtp(&scripted, 10);
    for token in 0..5 {
        assert_eq!(words(&deliver_all(&*server, vec![message(token)]).await), ["accepted"]);
        assert_eq!(server.probe().await, Some(Ok(Probed::default())));
    }
    assert!(connections(&scripted) <= 6, "{}", connections(&scripted));
    // While nothing of ours is open, it is others who have the connections, and the server takes none of us.
    let scripted = start(PLAIN, None, 1).await;
    let _other = tokio::net::TcpStream::connect(scripted.address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let failure = smtp(&scripted, 10).probe().await.unwrap().unwrap_err();
    assert!(failure.is_connection_limit(), "{failure}");
}
