//! A server in use: its connections, its probe, and deliveries.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Semaphore, mpsc};

use super::{
    carry::carry,
    line::Line,
    open::Target,
    session::{Flight, Session},
};
use crate::providers::{Along, Blocker, BoxFuture, Carriage, Delivered, Gate, Outgoing, Probed, Server, owed::Owed};

/// How long an idle connection is kept.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// After being idle for longer than this, a connection has to answer before a content is sent over it.
const TRUSTED_IDLE_MAX: Duration = Duration::from_millis(100);

/// An SMTP server in use.
pub struct SmtpServer {
    target: Target,
    reply_timeout: Duration,
    /// The spec's limit, or what the server turned out to accept over a connection.
    messages_per_connection: AtomicU32,
    connections: Semaphore,
    /// As the last connection offered it.
    carriage: Mutex<Carriage>,
    /// Connections over which messages are being sent.
    open: AtomicUsize,
    idle: Arc<Mutex<Idle>>,
}

/// Idle connections, the longest idle first.
#[derive(Default)]
struct Idle {
    lines: VecDeque<(Line, Instant)>,
    is_swept: bool,
    is_closed: bool,
}

fn lock<T>(guarded: &Mutex<T>) -> MutexGuard<'_, T> {
    // The list is consistent whatever happened to the last holder of the lock.
    guarded.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SmtpServer {
    /// A server without a connection yet.
    #[must_use]
    pub fn new(target: Target, reply_timeout: Duration, connections: u32, messages_per_connection: u32) -> Self {
        let connections_max = usize::try_from(connections.max(1)).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        Self {
            target,
            reply_timeout,
            messages_per_connection: AtomicU32::new(messages_per_connection.max(1)),
            connections: Semaphore::new(connections_max),
            carriage: Mutex::default(),
            open: AtomicUsize::new(0),
            idle: Arc::default(),
        }
    }

    async fn open(&self) -> Result<Line, Blocker> {
        let line = self.target.open().await?;
        *lock(&self.carriage) = line.extensions.mode().carriage();
        Ok(line)
    }

    /// The connection that was used last, if it is still alive, and how long it was idle.
    fn take_idle(&self) -> Option<(Line, Duration)> {
        let mut idle = lock(&self.idle);
        while let Some((mut line, since)) = idle.lines.pop_back() {
            let idle_for = since.elapsed();
            if idle_for < IDLE_MAX && line.stream.is_quiet() {
                return Some((line, idle_for));
            }
        }
        None
    }

    /// Keeps a connection for the next delivery, or closes it when it has carried its share.
    async fn keep(&self, line: Line) {
        let rest = {
            let mut idle = lock(&self.idle);
            if idle.is_closed || line.messages >= self.messages_per_connection.load(Ordering::Relaxed) {
                Some(line)
            } else {
                idle.lines.push_back((line, Instant::now()));
                if !std::mem::replace(&mut idle.is_swept, true) {
                    tokio::spawn(sweep(Arc::downgrade(&self.idle)));
                }
                None
            }
        };
        if let Some(line) = rest {
            line.quit().await;
        }
    }

    /// A connection for a delivery, and how long it was idle; none for a fresh one.
    async fn take(&self, needs_fresh: bool) -> Result<(Line, Option<Duration>), Blocker> {
        let idle = || self.take_idle().map(|(line, idle_for)| (line, Some(idle_for)));
        if !needs_fresh && let Some(taken) = idle() {
            return Ok(taken);
        }
        match self.open().await {
            Ok(line) => Ok((line, None)),
            // Another delivery may have ended in the meantime, and its connection is as good.
            Err(failure) if failure.is_connection_limit() => idle().ok_or(failure),
            Err(failure) => Err(failure),
        }
    }

    async fn deliver_all(&self, owed: &mut Owed<Flight>, gate: Option<Arc<Gate>>) {
        let Ok(_permit) = self.connections.acquire().await else { return };
        let mut needs_fresh = false;
        while owed.is_left().await {
            let (mut line, idle_for) = match self.take(needs_fresh).await {
                Ok(taken) => taken,
                Err(failure) => return owed.fail_waiting(&failure),
            };
            let _in_use = InUse::new(&self.open);
            let quota = self.messages_per_connection.load(Ordering::Relaxed).saturating_sub(line.messages);
            let is_cautious = idle_for.is_some_and(|idle_for| idle_for > TRUSTED_IDLE_MAX);
            let mut session = Session::new(owed, &self.target.endpoint, gate.as_ref(), &line, quota, idle_for.is_some(), is_cautious);
            // Where one connection died while idle, the others have as well.
            match carry(&mut line, &mut session, self.reply_timeout).await {
                Ok(()) => {
                    needs_fresh = session.died_idle();
                    let is_reusable = session.is_reusable() && line.replies.is_empty();
                    let used_up_at = session.used_up_at();
                    session.close();
                    if let Some(most) = used_up_at {
                        self.messages_per_connection.fetch_min(most, Ordering::Relaxed);
                        line.quit().await;
                    } else if is_reusable {
                        self.keep(line).await;
                    }
                }
                Err(broken) => {
                    needs_fresh = session.died_idle();
                    if let Some(most) = session.used_up_at() {
                        self.messages_per_connection.fetch_min(most, Ordering::Relaxed);
                    }
                    session.break_off(&self.target.endpoint.broken_sending(broken));
                }
            }
        }
    }
}

/// Counts a connection while messages are sent over it.
struct InUse<'a>(&'a AtomicUsize);

impl<'a> InUse<'a> {
    fn new(open: &'a AtomicUsize) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(open)
    }
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Closes connections that were idle for too long; ends when there are none left, or when the server is gone.
async fn sweep(idle: Weak<Mutex<Idle>>) {
    let mut wait = IDLE_MAX;
    loop {
        tokio::time::sleep(wait).await;
        let Some(idle) = idle.upgrade() else { return };
        let due = {
            let mut idle = lock(&idle);
            match idle.lines.front() {
                None => {
                    idle.is_swept = false;
                    return;
                }
                Some((_, since)) if since.elapsed() >= IDLE_MAX => idle.lines.pop_front(),
                Some((_, since)) => {
                    wait = IDLE_MAX.saturating_sub(since.elapsed()) + Duration::from_millis(10);
                    None
                }
            }
        };
        if let Some((line, _)) = due {
            wait = Duration::ZERO;
            line.quit().await;
        }
    }
}

impl Server for SmtpServer {
    fn probe(&self) -> BoxFuture<'_, Option<Result<Probed, Blocker>>> {
        Box::pin(async move {
            // The probe must not open one connection too many for a server that counts them: it takes the place of one
            // that is idle, and leaves its own there.
            let spare = lock(&self.idle).lines.pop_front();
            let is_in_place = spare.is_some();
            if let Some((line, _)) = spare {
                line.quit().await;
            }
            let has_others = || is_in_place || self.open.load(Ordering::Relaxed) > 0 || !lock(&self.idle).lines.is_empty();
            let had_others = has_others();
            Some(match self.open().await {
                Ok(mut line) => {
                    let usable = self.target.needs_no_login(&mut line).await;
                    let size_max = line.extensions.size_max;
                    if is_in_place && usable == Ok(true) {
                        self.keep(line).await;
                    } else {
                        line.quit().await;
                    }
                    usable.map(|_| Probed { size_max, ..Probed::default() })
                }
                // The server is healthy: it has as many of our connections as it wants.
                Err(failure) if failure.is_connection_limit() && (had_others || has_others()) => Ok(Probed::default()),
                Err(failure) => Err(failure),
            })
        })
    }

    fn deliver(&self, batch: Vec<Outgoing>, outcomes: mpsc::UnboundedSender<Delivered>) -> BoxFuture<'_, ()> {
        let mut owed = Owed::new(batch, &self.target.endpoint, outcomes);
        Box::pin(async move { self.deliver_all(&mut owed, None).await })
    }

    fn deliver_with(&self, batch: Vec<Outgoing>, along: Along, outcomes: mpsc::UnboundedSender<Delivered>) -> BoxFuture<'_, ()> {
        let mut owed = Owed::new(batch, &self.target.endpoint, outcomes).with_more(along.more);
        Box::pin(async move { self.deliver_all(&mut owed, along.gate).await })
    }

    fn carriage(&self) -> Carriage {
        *lock(&self.carriage)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let lines = {
                let mut idle = lock(&self.idle);
                idle.is_closed = true;
                std::mem::take(&mut idle.lines)
            };
            let mut goodbyes = tokio::task::JoinSet::new();
            for (line, _) in lines {
                goodbyes.spawn(line.quit());
            }
            goodbyes.join_all().await;
        })
    }
}
