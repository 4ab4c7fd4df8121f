//! The listener on loopback: those who are slow, many, large or quick, beside somebody who is not.

use std::sync::atomic::AtomicUsize;

use axum::{
    body::Bytes,
    routing::{get, post},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// A listener with a route that answers at once, one that takes a long body, one that never answers.
async fn listener(proxies: &[&str]) -> SocketAddr {
    let large = post(async |body: Bytes| body.len().to_string()).layer(DefaultBodyLimit::max(100_000));
    let router = Router::new()
        .route(
            "/quick",
            get(async || "quick").post(async |body: Bytes| {
                TAKEN.fetch_add(body.len(), Ordering::Relaxed);
                "taken"
            }),
        )
        .route("/large", large)
        .route(
            "/never",
            get(async || {
                std::future::pending::<()>().await;
                ""
            }),
        );
    let proxies = proxies.iter().map(|proxy| proxy.parse().unwrap()).collect();
    let public = Public::bind("127.0.0.1:0".parse().unwrap(), router, proxies).await.unwrap();
    let address = public.address().unwrap();
    tokio::spawn(public.serve());
    address
}

/// Sends bytes, and reads to the end of the connection.
async fn send(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A refused body may be cut off while it is still on its way.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn get_quick(address: SocketAddr) -> String {
    send(address, b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n").await
}

fn posted(path: &str, length: usize) -> Vec<u8> {
    let mut request = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n").into_bytes();
    request.resize(request.len() + length, b'a');
    request
}

/// The status of an answer.
fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

/// Whether the other side has closed a connection.
async fn is_closed(stream: &mut TcpStream) -> bool {
    !matches!(tokio::time::timeout(Duration::from_millis(200), stream.read(&mut [0; 64])).await, Err(_) | Ok(Ok(1..)))
}

#[tokio::test]
async fn a_body_has_the_bound_of_its_route() {
    let address = listener(&[]).await;
    assert_eq!(status(&send(address, &posted("/quick", BODY_MAX)).await), "200");
    assert_eq!(status(&send(address, &posted("/quick", BODY_MAX + 1)).await), "413");
    assert_eq!(status(&send(address, &posted("/large", 100_000)).await), "200", "a route may take more");
    assert_eq!(status(&send(address, &posted("/large", 100_001)).await), "413");
    // Without a length, in chunks without an end.
    let mut endless = b"POST /quick HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    (0..40).for_each(|_| endless.extend([&b"400\r\n"[..], &[b'a'; 1024], b"\r\n"].concat()));
    assert_eq!(status(&send(address, &endless).await), "413");
    let head = format!("GET /quick HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(HEAD_MAX));
    assert_eq!(status(&send(address, head.as_bytes()).await), "431");
    let answer = send(address, b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(status(&answer) == "404" && answer.contains("This link does not work"), "{answer}");
    assert_eq!(TAKEN.load(Ordering::Relaxed), BODY_MAX, "nothing of what was refused was taken");
}

/// Connections that say nothing, a little at a time, or have a body that does not come: from one client, and from everybody.
#[tokio::test]
async fn those_who_are_slow_keep_nobody_out() {
    let address = listener(&["127.0.0.0/8"]).await;
    let mut slow = Vec::new();
    for number in 0..CONNECTIONS_MAX + 40 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let said: &[u8] = match number % 3 {
            0 => b"",
            1 => b"GET /quick HTTP/1.1\r\nHost: x\r\nX-Slow: ",
            _ => b"POST /quick HTTP/1.1\r\nHost: x\r\n",
        };
        stream.write_all(said).await.unwrap();
        slow.push(stream);
    }
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(status(&get_quick(address).await), "200");
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(is_closed(&mut slow[0]).await, "the one that said nothing for longest made room");
    let last = slow.len() - 1;
    assert!(!is_closed(&mut slow[last]).await, "and others did not");
}

#[tokio::test]
async fn a_client_has_a_bound_of_its_own() {
    let address = listener(&[]).await;
    let mut open = Vec::new();
    for _ in 0..=CLIENT_CONNECTIONS_MAX {
        open.push(TcpStream::connect(address).await.unwrap());
    }
    assert_eq!(status(&get_quick(address).await), "200", "its own older ones make room");
    assert!(is_closed(&mut open[0]).await && is_closed(&mut open[1]).await);
    assert!(!is_closed(&mut open[CLIENT_CONNECTIONS_MAX]).await);
}

#[tokio::test]
async fn an_answer_that_takes_long_makes_room_after_a_while() {
    let address = listener(&["127.0.0.0/8"]).await;
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /never HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.").await.unwrap();
        stream.write_all(format!("{}\r\n\r\n", open.len() % 200).as_bytes()).await.unwrap();
        open.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(status(&get_quick(address).await), "none", "all are being answered");
    tokio::time::sleep(Duration::from_millis(PATIENCE_MS)).await;
    assert_eq!(status(&get_quick(address).await), "200");
}

#[tokio::test]
async fn a_client_that_asks_too_often_waits_and_others_do_not() {
    let address = listener(&["127.0.0.1"]).await;
    let ask = async |client: &str| {
        let answer = send(address, format!("GET /quick HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {client}\r\n\r\n").as_bytes()).await;
        (status(&answer).to_owned(), answer)
    };
    let mut refused = 0;
    for _ in 0..400 {
        let (status, answer) = ask("1.1.1.1, 198.51.100.7").await;
        if status == "429" {
            assert!(answer.to_ascii_lowercase().contains("\r\nretry-after: 1\r\n"), "{answer}");
            refused += 1;
        } else {
            assert_eq!(status, "200");
        }
    }
    assert!(refused > 0, "400 requests in a moment");
    assert_eq!(ask("198.51.100.8").await.0, "200", "another client behind the same proxy");
}

/// A head or a body that does not end, and an answer that does not come, end the connection in time.
#[tokio::test]
async fn every_step_has_a_time() {
    let address = listener(&[]).await;
    let head = async { send(address, b"GET /quick HTTP/1.1\r\nHost: x\r\nX-Slow: ").await };
    let body = async { send(address, b"POST /quick HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\na").await };
    let answer = async { send(address, b"GET /never HTTP/1.1\r\nHost: x\r\n\r\n").await };
    let began = Instant::now();
    let (head, body, answer) = tokio::join!(
        async {
            let said = head.await;
            (said, began.elapsed())
        },
        async {
            let said = body.await;
            (said, began.elapsed())
        },
        async {
            let said = answer.await;
            (said, began.elapsed())
        },
    );
    assert!(head.1 >= HEAD_TIMEOUT && head.1 < HEAD_TIMEOUT + Duration::from_secs(3), "{head:?}");
    for slow in [body, answer] {
        assert_eq!(status(&slow.0), "503", "{slow:?}");
        assert!(slow.1 >= ANSWER_TIMEOUT && slow.1 < ANSWER_TIMEOUT + Duration::from_secs(3), "{slow:?}");
    }
}
