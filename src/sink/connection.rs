//! A connection of a sink: reads in large pieces, lets the session work them off, writes the log and then the replies.

use std::{
    io::{self, Write},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{
    Behaviour, Shared,
    session::{End, Output, Session},
};

/// One read; some fifty messages of 5 KB.
const BUFFER: usize = 256 * 1024;
/// RFC 5321, 4.5.3.2.7: a server waits at least 5 minutes for the next command.
const READ_TIMEOUT: Duration = Duration::from_secs(600);
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long what a client still sends is read after the last reply.
const LINGER: Duration = Duration::from_secs(1);

pub(super) async fn serve(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut changed = shared.changed.subscribe();
    let mut session = Session::new();
    let mut output = Output::default();
    let mut buffer = vec![0; BUFFER];
    let mut filled = 0;
    session.greet(shared, &mut output);
    loop {
        flush(&mut stream, shared, &mut output).await?;
        match session.end {
            None => {}
            Some(End::Abrupt) => return Ok(()),
            Some(End::Orderly) => return close(stream, buffer).await,
        }
        let read = tokio::select! {
            read = timeout(READ_TIMEOUT, stream.read(&mut buffer[filled..])) => read??,
            _ = changed.changed() => {
                interrupt(&mut session, shared, &mut output);
                continue;
            }
        };
        if read == 0 {
            return Ok(());
        }
        filled += read;
        let consumed = session.feed(&buffer[..filled], shared, &mut output);
        buffer.copy_within(consumed..filled, 0);
        filled -= consumed;
    }
}

/// The behaviour has changed while the connection waited for its client.
fn interrupt(session: &mut Session, shared: &Shared, output: &mut Output) {
    match shared.behaviour() {
        // A held back reply cannot be made good: only a new connection is answered again.
        Some(Behaviour::Ok) if session.silent => session.end = Some(End::Abrupt),
        Some(Behaviour::Ok | Behaviour::Hang) => {}
        // A client in the middle of a command or a body reads the 421 as the answer to it.
        Some(Behaviour::Answer421 | Behaviour::Close | Behaviour::Refuse) | None => {
            session.silent = false;
            session.greet(shared, output);
        }
    }
}

async fn flush(stream: &mut TcpStream, shared: &Shared, output: &mut Output) -> io::Result<()> {
    if let Some(mut log) = shared.log.as_ref()
        && !output.log.is_empty()
    {
        // One write(2) in append mode, before any 250: what a client was told is in the log, whoever dies next.
        log.write_all(&output.log)?;
        output.log.clear();
    }
    if output.messages > 0 && !shared.options.delay.is_zero() {
        sleep(shared.options.delay * output.messages).await;
    }
    output.messages = 0;
    if !output.replies.is_empty() {
        timeout(WRITE_TIMEOUT, stream.write_all(&output.replies)).await??;
        output.replies.clear();
    }
    Ok(())
}

/// Closes so that the last reply arrives: closing with unread input would make the kernel throw it away.
async fn close(mut stream: TcpStream, mut buffer: Vec<u8>) -> io::Result<()> {
    stream.shutdown().await?;
    let drain = async {
        while stream.read(&mut buffer).await? > 0 {}
        io::Result::Ok(())
    };
    timeout(LINGER, drain).await?
}
