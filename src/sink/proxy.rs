//! A TCP connection with latency: each direction is delayed by the same time, at full bandwidth.
//!
//! Threads and not tasks: a runtime's timers round up to whole milliseconds, a tenth of what is measured.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::check_loopback;

/// One read.
const PIECE: usize = 64 * 1024;
/// Pieces on their way in one direction: 64 MiB at most, so that memory is bounded and the line is not what is slow.
const PIECES_MAX: usize = 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// A running proxy. It takes no new connection once this is dropped.
pub struct Proxy {
    addr: SocketAddr,
    stopped: Arc<AtomicBool>,
}

impl Proxy {
    /// Starts a proxy from `listen` to `forward`, both loopback, late by `delay` in each direction.
    ///
    /// # Errors
    /// When an address is not loopback, or `listen` is taken.
    pub fn start(listen: SocketAddr, forward: SocketAddr, delay: Duration) -> io::Result<Self> {
        check_loopback(listen)?;
        check_loopback(forward)?;
        let listener = TcpListener::bind(listen)?;
        let addr = listener.local_addr()?;
        let stopped = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stopped);
        thread::Builder::new().name("proxy".to_owned()).spawn(move || {
            for stream in listener.incoming() {
                if seen.load(Ordering::Acquire) {
                    return;
                }
                // A client whose server is gone is closed; it sees what it would see without the proxy.
                let _ = stream.and_then(|client| join(client, forward, delay));
            }
        })?;
        Ok(Self { addr, stopped })
    }

    /// The address that it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        // Wakes the thread that waits for connections.
        let _ = TcpStream::connect_timeout(&self.addr, CONNECT_TIMEOUT);
    }
}

fn join(client: TcpStream, forward: SocketAddr, delay: Duration) -> io::Result<()> {
    let server = TcpStream::connect_timeout(&forward, CONNECT_TIMEOUT)?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(IDLE_TIMEOUT))?;
        stream.set_write_timeout(Some(IDLE_TIMEOUT))?;
    }
    carry(client.try_clone()?, server.try_clone()?, delay)?;
    carry(server, client, delay)
}

/// Carries one direction on two threads: one reads and stamps, one waits and writes.
fn carry(from: TcpStream, to: TcpStream, delay: Duration) -> io::Result<()> {
    let (sender, receiver) = sync_channel(PIECES_MAX);
    thread::Builder::new().name("proxy-read".to_owned()).spawn(move || read(from, &sender))?;
    thread::Builder::new().name("proxy-write".to_owned()).spawn(move || write(to, &receiver, delay))?;
    Ok(())
}

fn read(mut from: TcpStream, sender: &SyncSender<(Instant, Box<[u8]>)>) {
    let mut buffer = vec![0; PIECE];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if sender.send((Instant::now(), buffer[..length].into())).is_err() {
            break;
        }
    }
}

fn write(mut to: TcpStream, receiver: &Receiver<(Instant, Box<[u8]>)>, delay: Duration) {
    while let Ok((stamp, piece)) = receiver.recv() {
        thread::sleep((stamp + delay).saturating_duration_since(Instant::now()));
        if to.write_all(&piece).is_err() {
            // The other side has closed: the reader of this direction must not wait forever.
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
    }
    // The end of the input is late as well.
    thread::sleep(delay);
    let _ = to.shutdown(Shutdown::Write);
}
