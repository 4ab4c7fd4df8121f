//! Listens for bounces: SMTP and LMTP, for a mail server in front (a transport of Postfix) or as the host of a return path's MX record.
//!
//! It takes mail to return paths of ours and nothing else, answers 250 once what a mail says is durable, and never sends any. What it
//! cannot read is counted, logged and dropped: whoever wrote it would be sent a bounce of a bounce otherwise.
//!
//! Plain text, without TLS and without a login: what it takes is authenticated by the token in its address.

pub mod session;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
    time::Instant,
};

use self::session::{Answer, ReceivedMail, Session};
use super::{
    Origin,
    reading::{self, READ_MAX},
};
use crate::feedback::Intake;

/// Connections at a time. Postfix opens 20 to one destination.
const CONNECTIONS_MAX: usize = 128;
/// Connections of one address at a time.
const CONNECTIONS_OF_ONE_MAX: usize = 32;
/// A connection that has said nothing for this long makes room when there is none.
const IDLE_FOR_ROOM: Duration = Duration::from_secs(5);
/// For the next command or piece of a mail, and for a reply to be written.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);
/// For a whole connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// For the events of a mail to become durable.
const TAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// Mails of one connection.
const MAILS_MAX: u32 = 1000;
/// Mails a second, of all connections: each costs a reading of up to a few milliseconds, and a place in a commit.
const LETTERS_A_SECOND: u64 = 500;
/// After a connection could not be accepted (no file descriptor is left, for instance).
const ACCEPT_RETRY: Duration = Duration::from_millis(200);
/// Bytes that are read at a time.
const BLOCK: usize = 16 * 1024;

/// The listener, bound.
pub struct Listener {
    listener: TcpListener,
    host: String,
}

/// What connections share.
struct Shared {
    origin: Origin,
    intake: Intake,
    host: String,
    pace: Pace,
    started: Instant,
}

/// An open connection.
struct Open {
    from: IpAddr,
    /// When it last said something, milliseconds since the start; in the future while a mail is on its way.
    heard_ms: Arc<AtomicU64>,
    task: AbortHandle,
}

impl Listener {
    /// Listens at an address.
    ///
    /// # Errors
    /// When the address is not this machine's, or in use.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        Ok(Self { listener: TcpListener::bind(address).await?, host })
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Takes mail for as long as the process lives; events go to the intake.
    pub async fn serve(self, origin: Origin, intake: Intake) {
        let (started, pace) = (Instant::now(), Pace::default());
        let shared = Arc::new(Shared { origin, intake, host: self.host, pace, started });
        let mut open: Vec<Open> = Vec::new();
        loop {
            let (stream, from) = match self.listener.accept().await {
                Ok((stream, from)) => (stream, from.ip()),
                Err(error) => {
                    tracing::debug!(%error, "the bounce listener could not accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            open.retain(|connection| !connection.task.is_finished());
            if !make_room(&mut open, from, started) {
                tokio::spawn(turn_away(stream, shared.host.clone()));
                continue;
            }
            let heard_ms = Arc::new(AtomicU64::new(since(started)));
            let task =
                tokio::spawn(tokio::time::timeout(CONNECTION_TIMEOUT, converse(stream, shared.clone(), heard_ms.clone()))).abort_handle();
            open.push(Open { from, heard_ms, task });
        }
    }
}

fn since(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Whether there is room for one more: the one that has been silent for longest goes, if it has been for a while.
fn make_room(open: &mut Vec<Open>, from: IpAddr, started: Instant) -> bool {
    let of_one = open.iter().filter(|connection| connection.from == from).count();
    if open.len() < CONNECTIONS_MAX && of_one < CONNECTIONS_OF_ONE_MAX {
        return true;
    }
    let is_candidate = |connection: &Open| of_one < CONNECTIONS_OF_ONE_MAX || connection.from == from;
    let silent = (0..open.len()).filter(|at| is_candidate(&open[*at])).min_by_key(|at| open[*at].heard_ms.load(Ordering::Relaxed));
    let idle_ms = u64::try_from(IDLE_FOR_ROOM.as_millis()).unwrap_or(u64::MAX);
    match silent {
        Some(at) if since(started).saturating_sub(open[at].heard_ms.load(Ordering::Relaxed)) >= idle_ms => {
            open.swap_remove(at).task.abort();
            true
        }
        _ => false,
    }
}

async fn turn_away(mut stream: TcpStream, host: String) {
    let line = format!("421 4.3.2 {host} has too many connections; try again\r\n");
    let _ = tokio::time::timeout(Duration::from_secs(2), stream.write_all(line.as_bytes())).await;
}

/// How many mails are read a second, by all connections.
#[derive(Default)]
struct Pace(Mutex<Option<(Instant, u64)>>);

impl Pace {
    /// Waits for this mail's turn.
    async fn turn(&self) {
        loop {
            let wait = {
                let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                let now = Instant::now();
                match &mut *window {
                    Some((since, count)) if now.duration_since(*since) < Duration::from_secs(1) => {
                        if *count < LETTERS_A_SECOND {
                            *count += 1;
                            return;
                        }
                        Duration::from_secs(1).saturating_sub(now.duration_since(*since))
                    }
                    window => {
                        *window = Some((now, 1));
                        return;
                    }
                }
            };
            tokio::time::sleep(wait.max(Duration::from_millis(1))).await;
        }
    }
}

async fn converse(mut stream: TcpStream, shared: Arc<Shared>, heard_ms: Arc<AtomicU64>) {
    let mut session = Session::new(&shared.host, READ_MAX);
    let (mut buffer, mut block) = (Vec::new(), vec![0; BLOCK]);
    let mut mails = 0;
    let is_ours = |address: &str| shared.origin.is_ours(address);
    loop {
        // What is there is read before it is answered, so that pipelined commands cost one write.
        let (read, mail) = session.feed(&buffer, &is_ours);
        buffer.drain(..read);
        if let Some(mail) = mail {
            mails += 1;
            shared.pace.turn().await;
            session.answer(take(&shared, mail).await);
            if mails >= MAILS_MAX {
                session.end("enough for one connection");
            } else {
                continue;
            }
        }
        let replies = std::mem::take(&mut session.replies);
        if !replies.is_empty() && !matches!(tokio::time::timeout(STEP_TIMEOUT, stream.write_all(&replies)).await, Ok(Ok(()))) {
            return;
        }
        if session.is_over() {
            let _ = tokio::time::timeout(STEP_TIMEOUT, stream.shutdown()).await;
            return;
        }
        match tokio::time::timeout(STEP_TIMEOUT, stream.read(&mut block)).await {
            Ok(Ok(count)) if count > 0 => buffer.extend_from_slice(&block[..count]),
            Ok(_) => return,
            Err(_) => {
                session.end("nothing was said for too long");
                buffer.clear();
            }
        }
        let now = since(shared.started);
        heard_ms.store(if session.is_busy() { now + 1000 } else { now }, Ordering::Relaxed);
    }
}

/// Reads a mail, and has its events recorded.
async fn take(shared: &Shared, mail: ReceivedMail) -> Answer {
    // As a system that delivers a mail notes it (RFC 5321, 4.4).
    let mut raw = format!("Return-Path: <{}>\r\n", mail.sender).into_bytes();
    raw.extend_from_slice(&mail.content);
    let recipients: Vec<&str> = mail.recipients.iter().map(String::as_str).collect();
    let reading = reading::read(&raw, &recipients);
    let events = shared.origin.events(&reading, &mail.content);
    if events.is_empty() {
        shared.origin.note_unread(reading.kind);
        return Answer::Taken;
    }
    match tokio::time::timeout(TAKE_TIMEOUT, shared.intake.take(events)).await {
        Ok(Ok(())) => Answer::Taken,
        Ok(Err(error)) => {
            tracing::warn!("a bounce was not accepted, and will be sent again: {error}");
            Answer::NotNow
        }
        Err(_) => {
            tracing::warn!("a bounce was not recorded within {} s, and will be sent again", TAKE_TIMEOUT.as_secs());
            Answer::NotNow
        }
    }
}

#[cfg(test)]
mod tests;
