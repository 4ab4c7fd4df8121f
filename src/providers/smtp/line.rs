//! The line to a server: what to write, what was read, and one command at a time for setting it up.
//! Messages in bulk go through [`super::session`].

use std::{
    future::poll_fn,
    task::{Context, Poll, ready},
    time::Duration,
};

use super::{
    extensions::Extensions,
    failure::Break,
    reply::{Replies, Reply},
    stream::Stream,
};
use crate::providers::scrub::Scrubber;

/// A connection to a server.
#[derive(Debug)]
pub struct Line {
    pub stream: Stream,
    /// What the server has sent and nobody has read yet.
    pub replies: Replies,
    /// What the server offers.
    pub extensions: Extensions,
    /// Messages begun over it.
    pub messages: u32,
    /// Messages that the server took over it.
    pub taken: u32,
    /// What to write, from `sent` on.
    pub out: Vec<u8>,
    /// How much of `out` is written.
    pub sent: usize,
    /// How many bytes may have reached the server since the connection was made; doubtful ones count.
    pub written: u64,
    /// Whether TLS may still hold bytes.
    pub needs_flush: bool,
    /// Whether a transaction may be open, so that RSET is needed before the next MAIL.
    pub is_dirty: bool,
    /// Whether it refused recipients or messages for their own sake: a server may end a session for that alone.
    pub has_refused: bool,
}

impl Line {
    /// A line over a fresh stream; `scrubber` cleans what is quoted of the server.
    #[must_use]
    pub fn new(stream: Stream, scrubber: Scrubber) -> Self {
        let (replies, extensions) = (Replies::new(scrubber), Extensions::default());
        Self {
            stream,
            replies,
            extensions,
            messages: 0,
            taken: 0,
            out: Vec::new(),
            sent: 0,
            written: 0,
            needs_flush: false,
            is_dirty: false,
            has_refused: false,
        }
    }

    /// Writes as much as possible of what waits. Ready when all is written and flushed, or the line broke.
    pub fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Break>> {
        while self.sent < self.out.len() {
            let waiting = &self.out[self.sent..];
            match ready!(self.stream.poll_write_some(cx, waiting)) {
                Ok(0) => return Poll::Ready(Err(Break::Lost)),
                Ok(bytes) => {
                    self.sent += bytes;
                    self.written += bytes as u64;
                    self.needs_flush = true;
                }
                Err(_) => {
                    self.written += self.stream.bytes_in_doubt(waiting.len()) as u64;
                    return Poll::Ready(Err(Break::Lost));
                }
            }
        }
        self.out.clear();
        self.sent = 0;
        if self.needs_flush {
            ready!(self.stream.poll_flush_all(cx)).map_err(|_| Break::Lost)?;
            self.needs_flush = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads what has come. Ready when something came, or the line broke.
    pub fn poll_read_in(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Break>> {
        match ready!(self.stream.poll_read_some(cx, self.replies.space())) {
            Ok(0) => Poll::Ready(Err(Break::Closed)),
            Ok(bytes) => {
                self.replies.filled(bytes);
                Poll::Ready(Ok(()))
            }
            // A TLS server that closes without close_notify has closed the connection all the same.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Poll::Ready(Err(Break::Closed)),
            Err(_) => Poll::Ready(Err(Break::Lost)),
        }
    }

    /// Writes one line and reads its reply.
    ///
    /// # Errors
    /// When the line breaks, or no whole reply comes in time.
    pub async fn command(&mut self, line: &str, timeout: Duration) -> Result<Reply<'_>, Break> {
        self.out.extend_from_slice(line.as_bytes());
        self.out.extend_from_slice(b"\r\n");
        self.reply(timeout).await
    }

    /// Writes what waits and reads one reply.
    ///
    /// # Errors
    /// When the line breaks, or no whole reply comes in time.
    pub async fn reply(&mut self, timeout: Duration) -> Result<Reply<'_>, Break> {
        // A server that refuses and hangs up answers before it has read everything: read its reply in any case.
        let waiting = poll_fn(|cx| {
            let written = self.poll_write_out(cx);
            loop {
                // Peeked at in two steps, since a borrowed reply cannot leave this closure.
                if self.replies.has_reply() {
                    return Poll::Ready(Ok(()));
                }
                match self.poll_read_in(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(broken)) => return Poll::Ready(Err(broken)),
                    Poll::Pending => match written {
                        Poll::Ready(Err(broken)) => return Poll::Ready(Err(broken)),
                        _ => return Poll::Pending,
                    },
                }
            }
        });
        tokio::time::timeout(timeout, waiting).await.map_err(|_| Break::TimedOut(timeout))??;
        match self.replies.next_reply() {
            Ok(Some(reply)) => Ok(reply),
            Ok(None) => Err(Break::Lost),
            Err(garbage) => Err(Break::Garbage(garbage)),
        }
    }

    /// Sends QUIT and waits briefly for the answer, as RFC 5321, 4.1.1.10 asks; then the connection is closed.
    pub async fn quit(mut self) {
        let _ = self.command("QUIT", QUIT_TIMEOUT).await;
    }
}

/// How long to wait for the answer to QUIT.
pub const QUIT_TIMEOUT: Duration = Duration::from_secs(2);
