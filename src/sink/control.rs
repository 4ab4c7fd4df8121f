//! A sink's behaviour, changed from outside while it runs: one line in, one line out.
//!
//! `ok`, `hang`, `421`, `close` and `refuse` are answered with the same word, `count` with
//! `accepted N unanswered M bytes B`. Loopback only.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::{Behaviour, SinkHandle, bind};

const LINE_MAX: u64 = 256;
const TIMEOUT: Duration = Duration::from_secs(60);

/// Binds the control port of a sink.
///
/// # Errors
/// When `listen` is not loopback or taken.
pub async fn listen(listen: SocketAddr) -> io::Result<TcpListener> {
    bind(listen).await
}

/// Serves the control port, one connection after the other, until the future is dropped.
pub async fn serve(listener: TcpListener, sink: Arc<SinkHandle>) {
    loop {
        match listener.accept().await {
            // A controller that vanishes in mid-line has said nothing.
            Ok((stream, _)) => drop(timeout(TIMEOUT, converse(stream, &sink)).await),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn converse(stream: TcpStream, sink: &SinkHandle) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if (&mut stream).take(LINE_MAX).read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let answer = answer(line.trim(), sink);
        stream.write_all(answer.as_bytes()).await?;
    }
}

fn answer(word: &str, sink: &SinkHandle) -> String {
    if word == "count" {
        return format!("accepted {} unanswered {} bytes {}\n", sink.accepted(), sink.unanswered(), sink.bytes());
    }
    match Behaviour::from_word(word) {
        Some(behaviour) => {
            sink.set_behaviour(behaviour);
            format!("{word}\n")
        }
        None => "? ok, hang, 421, close, refuse or count\n".to_owned(),
    }
}
