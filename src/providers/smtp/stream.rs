//! A TCP connection, with or without TLS.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

/// The connection, in plain text or TLS.
#[derive(Debug)]
pub enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Reads into the buffer; 0 is the end.
    pub fn poll_read_some(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        let poll = match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
        };
        poll.map_ok(|()| buffer.filled().len())
    }

    /// Writes some of the bytes.
    pub fn poll_write_some(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    /// Hands what TLS still holds to the kernel.
    pub fn poll_flush_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    /// Acknowledges received data at once instead of some 40 ms later; lasts until something is written.
    ///
    /// A server without TCP_NODELAY (Postfix) holds its next replies back until then (Nagle), and loses them when it
    /// closes with our bytes unread: messages that it has taken would be unknown after a 421.
    pub fn acknowledge_at_once(&self) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            let tcp = match self {
                Self::Plain(stream) => stream,
                Self::Tls(stream) => stream.get_ref().0,
            };
            // Only timing depends on it.
            let _ = tcp.set_quickack(true);
        }
    }

    /// How many bytes of a failed write may have been sent all the same: with TLS a record may have left before the error.
    pub const fn bytes_in_doubt(&self, attempted: usize) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Tls(_) => attempted,
        }
    }

    /// Whether the server has neither closed the connection nor said anything while it was idle.
    pub fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        self.poll_read_some(&mut Context::from_waker(Waker::noop()), &mut byte).is_pending()
    }
}
