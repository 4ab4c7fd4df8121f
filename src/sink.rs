//! A local SMTP server that accepts everything, for the demo, the tests and the benchmarks. Loopback only.
//!
//! It is fast enough not to be what is measured, counts exactly (a message is in the log before its 250 leaves),
//! and misbehaves on demand: hang, 421, close, refuse. [`proxy`] adds a delay to a line.

mod connection;
pub mod control;
pub mod proxy;
mod rules;
mod session;
#[cfg(test)]
mod tests;

use std::{
    fs::{File, OpenOptions},
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::timeout,
};

pub use rules::ReplyRule;
use rules::Rules;

/// Connections served at a time; further ones wait in the listener's queue.
const CONNECTIONS_MAX: usize = 4096;
/// How long `stop` waits for the connections to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a port that was given up may take to be bound again.
const REBIND_ATTEMPTS: u32 = 100;
const REBIND_PAUSE: Duration = Duration::from_millis(50);

/// The behaviour of a sink.
#[derive(Clone, Debug)]
pub struct SinkOptions {
    /// Where it listens; loopback only. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether it offers CHUNKING (RFC 3030).
    pub chunking: bool,
    /// Whether it offers PIPELINING (RFC 2920). A client that pipelines without the offer is told 503 and cut off.
    pub pipelining: bool,
    /// A file that gets a line for each recipient of each message: `accepted`, tab, recipient, tab, Message-ID. The line is
    /// written before the 250 is sent. A complete message that got no reply has `unanswered` instead.
    pub log: Option<PathBuf>,
    /// Recipients that are refused. The first rule that matches applies.
    pub rules: Vec<ReplyRule>,
    /// After so many messages the sink behaves differently, until [`SinkHandle::set_behaviour`].
    pub fail_after: Option<(u64, Behaviour)>,
    /// How long each message takes, on its connection.
    pub delay: Duration,
}

impl Default for SinkOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            chunking: true,
            pipelining: true,
            log: None,
            rules: Vec::new(),
            fail_after: None,
            delay: Duration::ZERO,
        }
    }
}

/// How a sink answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// It accepts everything.
    Ok,
    /// It reads everything and never answers, not even with a greeting.
    Hang,
    /// It answers 421 to the next command and closes cleanly.
    Answer421,
    /// It closes every connection at once.
    Close,
    /// It closes every connection and its port.
    Refuse,
}

impl Behaviour {
    /// Every behaviour and the word for it on the command line and in the control protocol.
    pub const ALL: [(&'static str, Behaviour); 5] =
        [("ok", Self::Ok), ("hang", Self::Hang), ("421", Self::Answer421), ("close", Self::Close), ("refuse", Self::Refuse)];

    /// The behaviour that a word means.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(name, _)| *name == word).map(|(_, behaviour)| *behaviour)
    }
}

/// What the connections share.
struct Shared {
    options: SinkOptions,
    log: Option<File>,
    rules: Mutex<Rules>,
    /// An index into [`Behaviour::ALL`], or [`STOPPED`]. Read for every command, so not behind the watch's lock.
    mode: AtomicU8,
    /// Wakes connections that wait for input; its value says nothing that `mode` does not.
    changed: watch::Sender<()>,
    accepted: AtomicU64,
    unanswered: AtomicU64,
    /// Of the accepted messages, as they came over the line.
    bytes: AtomicU64,
    /// Messages after which `options.fail_after` comes into force; `u64::MAX` when it never does, or did.
    fail_after: AtomicU64,
}

/// The mode beyond the behaviours: the sink ends.
const STOPPED: u8 = u8::MAX;

impl Shared {
    fn new(options: SinkOptions) -> io::Result<Self> {
        let log = options.log.as_ref().map(|path| OpenOptions::new().create(true).append(true).open(path)).transpose()?;
        Ok(Self {
            log,
            rules: Mutex::new(Rules::default()),
            mode: AtomicU8::new(0),
            changed: watch::Sender::new(()),
            accepted: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            fail_after: AtomicU64::new(options.fail_after.map_or(u64::MAX, |(messages, _)| messages)),
            options,
        })
    }

    /// The behaviour now; `None` once stopped.
    fn behaviour(&self) -> Option<Behaviour> {
        Behaviour::ALL.get(usize::from(self.mode.load(Ordering::Acquire))).map(|(_, behaviour)| *behaviour)
    }

    fn set(&self, behaviour: Behaviour) {
        let mode = (0_u8..).zip(Behaviour::ALL).find(|(_, (_, b))| *b == behaviour).map_or(STOPPED, |(index, _)| index);
        // A stopped sink stays stopped.
        let _ = self.mode.try_update(Ordering::AcqRel, Ordering::Acquire, |old| (old != STOPPED).then_some(mode));
        self.changed.send_replace(());
    }

    fn stop(&self) {
        self.mode.store(STOPPED, Ordering::Release);
        self.changed.send_replace(());
    }

    /// Counts a whole message, and says how it is to be answered: the switch of `fail_after` falls exactly between two messages.
    fn take(&self) -> Option<Behaviour> {
        let behaviour = self.behaviour();
        if behaviour != Some(Behaviour::Ok) {
            return behaviour;
        }
        let number = self.accepted.fetch_add(1, Ordering::AcqRel) + 1;
        if number > self.fail_after.load(Ordering::Acquire)
            && let Some((_, behaviour)) = self.options.fail_after
        {
            self.accepted.fetch_sub(1, Ordering::AcqRel);
            self.set(behaviour);
            return Some(behaviour);
        }
        Some(Behaviour::Ok)
    }

    /// The reply to a recipient; `None` for a plain 250.
    fn refusal(&self, recipient: &[u8]) -> Option<u16> {
        if self.options.rules.is_empty() {
            return None;
        }
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).refusal(&self.options.rules, recipient)
    }
}

/// A running sink. It stops when this is dropped.
pub struct SinkHandle {
    addr: SocketAddr,
    shared: Arc<Shared>,
    task: Option<tokio::task::JoinHandle<()>>,
}

impl SinkHandle {
    /// The address that it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Messages that were answered with 250.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Acquire)
    }

    /// Messages that came whole and got no answer.
    #[must_use]
    pub fn unanswered(&self) -> u64 {
        self.shared.unanswered.load(Ordering::Acquire)
    }

    /// The size of the accepted messages together, as they came over the line.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Acquire)
    }

    /// How it answers from now on. `fail_after` does not fall again.
    pub fn set_behaviour(&self, behaviour: Behaviour) {
        self.shared.fail_after.store(u64::MAX, Ordering::Release);
        self.shared.set(behaviour);
    }

    /// Ends it: the port and all connections are closed when this returns.
    pub async fn stop(mut self) {
        self.shared.stop();
        if let Some(task) = self.task.take()
            && timeout(STOP_TIMEOUT, task).await.is_err()
        {
            tracing::warn!("the sink's connections did not end within {STOP_TIMEOUT:?}");
        }
    }
}

impl Drop for SinkHandle {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

/// Starts a sink on the current tokio runtime.
///
/// # Errors
/// When `listen` is not loopback or taken, or the log cannot be opened.
pub async fn start(options: SinkOptions) -> io::Result<SinkHandle> {
    let listener = bind(options.listen).await?;
    let addr = listener.local_addr()?;
    let shared = Arc::new(Shared::new(options)?);
    let task = tokio::spawn(accept(listener, addr, Arc::clone(&shared)));
    Ok(SinkHandle { addr, shared, task: Some(task) })
}

/// Binds a loopback address. Nobody outside this machine may ever reach a server that takes everything.
async fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    check_loopback(addr)?;
    TcpListener::bind(addr).await
}

fn check_loopback(addr: SocketAddr) -> io::Result<()> {
    if addr.ip().is_loopback() {
        return Ok(());
    }
    let message = format!("{addr} is not a loopback address: the sink listens on this machine only, for example on 127.0.0.1:2525");
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

/// Accepts connections until the sink stops; gives the port up while it refuses.
async fn accept(listener: TcpListener, addr: SocketAddr, shared: Arc<Shared>) {
    let mut changed = shared.changed.subscribe();
    let mut connections = JoinSet::new();
    let mut listener = Some(listener);
    while let Some(behaviour) = shared.behaviour() {
        while connections.try_join_next().is_some() {}
        if behaviour == Behaviour::Refuse {
            listener = None;
        } else if listener.is_none() {
            listener = rebind(addr).await;
        }
        let has_room = connections.len() < CONNECTIONS_MAX;
        let accepting = async {
            match &listener {
                Some(listener) if has_room => listener.accept().await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = accepting => match accepted {
                Ok((stream, _)) => serve(&mut connections, stream, &shared),
                // Out of descriptors or a connection gone already: the next turn tries again, and not in a hot loop.
                Err(_) => tokio::time::sleep(REBIND_PAUSE).await,
            },
            _ = changed.changed() => {}
            Some(_) = connections.join_next(), if !has_room => {}
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

fn serve(connections: &mut JoinSet<()>, stream: TcpStream, shared: &Arc<Shared>) {
    let shared = Arc::clone(shared);
    connections.spawn(async move {
        // A line that breaks is the client's business: the sink has no one to tell.
        let _ = connection::serve(stream, &shared).await;
    });
}

async fn rebind(addr: SocketAddr) -> Option<TcpListener> {
    for _ in 0..REBIND_ATTEMPTS {
        match bind(addr).await {
            Ok(listener) => return Some(listener),
            Err(_) => tokio::time::sleep(REBIND_PAUSE).await,
        }
    }
    tracing::error!("{addr} was released while the sink refused, and cannot be bound again: another process has taken it");
    None
}
