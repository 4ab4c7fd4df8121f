//! The line to a server: what is to be written, what was read, and one command at a time for setting it up.
//! Messages in bulk go through [`super::passage`].

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
    /// The bytes' way.
    pub stream: Stream,
    /// What came.
    pub replies: Replies,
    /// What the server offers.
    pub extensions: Extensions,
    /// Messages begun over it.
    pub messages: u32,
    /// Messages that the server took over it.
    pub taken: u32,
    /// What is to be written, from `sent` on.
    pub out: Vec<u8>,
    /// How much of `out` is written.
    pub sent: usize,
    /// How many bytes may have reached the server since the connection was made; when in doubt, they have.
    pub written: u64,
    /// Whether TLS may still hold bytes.
    pub needs_flush: bool,
    /// Whether a transaction may be open, so that RSET is due before the next MAIL.
    pub is_dirty: bool,
    /// Whether it refused recipients or messages of their own account: a server may hang up on a session for that alone.
    pub has_refused: bool,
}

impl Line {
    /// A line over a stream on which nothing has been said; what comes is quoted as `scrubber` leaves it.
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

    /// Writes what waits, as much as goes now. Ready when all is written and flushed, or the line broke.
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
            // A TLS server that leaves without close_notify has closed the connection as well.
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
        // A server that refuses and hangs up answers before it has read everything: look for its words in any case.
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

    /// Says goodbye and waits a little for the answer, as RFC 5321, 4.1.1.10 asks; then the connection is closed.
    pub async fn quit(mut self) {
        let _ = self.command("QUIT", QUIT_TIMEOUT).await;
    }
}

/// How long the answer to QUIT is waited for.
pub const QUIT_TIMEOUT: Duration = Duration::from_secs(2);
