//! The listener over TCP, with an intake that takes or refuses.

use tokio::{io::AsyncBufReadExt as _, io::BufReader, net::TcpStream, sync::mpsc};

use super::*;
use crate::{
    feedback::{Batch, EventKind, MessageReference, NotTaken},
    token::{Keys, return_path::ReturnPaths},
};

const ROW: MessageReference = MessageReference { ledger: 1, run: 2, partition: 0, seq: 3 };

async fn start() -> (SocketAddr, mpsc::Receiver<Batch>, Arc<str>) {
    let keys = Arc::new(Keys::of([9; 32]));
    let path = ReturnPaths::new(&keys).expect("a key").address(ROW, "b.shop.example");
    let (intake, arriving) = Intake::new();
    let listener = Listener::bind("127.0.0.1:0".parse().expect("an address")).await.expect("a port");
    let address = listener.address().expect("an address");
    let origin = Origin { keys: Some(keys), unsubscribe: None, server: None, source: "bounce listener".into(), unread: Arc::default() };
    tokio::spawn(listener.serve(origin, intake));
    (address, arriving, path)
}

/// Says lines, and gives the last line of each reply.
async fn say(stream: &mut BufReader<TcpStream>, text: &str) -> String {
    stream.get_mut().write_all(text.as_bytes()).await.expect("written");
    reply(stream).await
}

async fn reply(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    loop {
        line.clear();
        stream.read_line(&mut line).await.expect("a line");
        if line.as_bytes().get(3) != Some(&b'-') {
            return line;
        }
    }
}

const BOUNCE: &str = "From: MAILER-DAEMON@mta.example\r\nSubject: failure notice\r\n\r\nI wasn't able to deliver your message.\r\n\r\n<u@example.com>:\r\n550 5.1.1 no such user\r\n.\r\n";

async fn envelope(stream: &mut BufReader<TcpStream>, path: &str) {
    for (line, code) in [
        ("EHLO mta.example".to_owned(), "250"),
        ("MAIL FROM:<>".to_owned(), "250"),
        (format!("RCPT TO:<{path}>"), "250"),
        ("DATA".to_owned(), "354"),
    ] {
        let reply = say(stream, &format!("{line}\r\n")).await;
        assert!(reply.starts_with(code), "{line}: {reply}");
    }
}

#[tokio::test]
async fn a_mail_is_answered_once_its_events_are_durable() {
    let (address, mut arriving, path) = start().await;
    let mut stream = BufReader::new(TcpStream::connect(address).await.expect("a connection"));
    assert!(reply(&mut stream).await.starts_with("220 "));
    for (result, code) in [(Err(NotTaken("the disk is full".to_owned())), "451"), (Ok(()), "250")] {
        envelope(&mut stream, &path).await;
        stream.get_mut().write_all(BOUNCE.as_bytes()).await.expect("written");
        let batch = arriving.recv().await.expect("a batch");
        assert_eq!((batch.events.len(), batch.events[0].kind), (1, EventKind::HardBounce));
        // Nothing is answered before.
        let early = tokio::time::timeout(Duration::from_millis(100), reply(&mut stream)).await;
        assert!(early.is_err(), "{early:?}");
        batch.done.send(result).expect("heard");
        let answer = reply(&mut stream).await;
        assert!(answer.starts_with(code), "{answer}");
    }
    // A mail that says nothing of a message is taken, and brings no event.
    envelope(&mut stream, &path).await;
    assert!(say(&mut stream, "Subject: hello\r\n\r\nhello\r\n.\r\n").await.starts_with("250"));
    assert!(arriving.try_recv().is_err());
    assert!(say(&mut stream, "RSET\r\n").await.starts_with("250"));
    assert!(say(&mut stream, "MAIL FROM:<x@y.example>\r\n").await.starts_with("250"));
    assert!(say(&mut stream, "RCPT TO:<u@example.com>\r\n").await.starts_with("550"));
    assert!(say(&mut stream, "QUIT\r\n").await.starts_with("221"));
}

#[tokio::test]
async fn one_address_has_a_bounded_number_of_connections_and_silent_ones_make_room() {
    let (address, _arriving, _) = start().await;
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS_OF_ONE_MAX {
        let mut stream = BufReader::new(TcpStream::connect(address).await.expect("a connection"));
        assert!(reply(&mut stream).await.starts_with("220 "));
        open.push(stream);
    }
    let mut further = BufReader::new(TcpStream::connect(address).await.expect("a connection"));
    assert!(reply(&mut further).await.starts_with("421 "));
    tokio::time::sleep(IDLE_FOR_ROOM + Duration::from_millis(200)).await;
    let mut later = BufReader::new(TcpStream::connect(address).await.expect("a connection"));
    assert!(reply(&mut later).await.starts_with("220 "));
}
