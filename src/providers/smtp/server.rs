//! A server in use: its connections, its probe, and the way of a batch.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use tokio::sync::{Semaphore, mpsc};

use super::{batch::Batch, failure::Break, line::Line, open::Target, passage::Passage};
use crate::providers::{Along, BoxFuture, Carriage, Delivered, Failure, Outgoing, Probed, Server};

/// How long a connection is kept without work.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Idle for longer than this, a connection has to answer before a content is entrusted to it.
const TRUSTED_IDLE_MAX: Duration = Duration::from_millis(100);
/// After a failed write, how long replies that are still on their way are waited for.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(5);

/// An SMTP server in use.
pub struct SmtpServer {
    target: Target,
    reply_timeout: Duration,
    /// The spec's, or what the server turned out to take over a connection.
    messages_per_connection: AtomicU32,
    connections: Semaphore,
    /// As the last connection offered it.
    carriage: Mutex<Carriage>,
    /// Connections over which messages are being sent.
    open: AtomicUsize,
    idle: Arc<Mutex<Idle>>,
}

/// Connections without work, the longest idle first.
#[derive(Default)]
struct Idle {
    lines: VecDeque<(Line, Instant)>,
    is_swept: bool,
    is_closed: bool,
}

fn lock<T>(guarded: &Mutex<T>) -> MutexGuard<'_, T> {
    // A list of connections is whole whatever happened to its last holder.
    guarded.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SmtpServer {
    /// A server to which nothing is open yet.
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

    async fn open(&self) -> Result<Line, Failure> {
        let line = self.target.open().await?;
        *lock(&self.carriage) = line.extensions.mode().carriage();
        Ok(line)
    }

    /// The connection that was used last, if it still lives, and how long it was idle.
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

    /// Keeps a connection for the next batch, or closes it when it has done its share.
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

    /// A connection for a batch, and how long it was idle; a fresh one was not.
    async fn take(&self, needs_fresh: bool) -> Result<(Line, Option<Duration>), Failure> {
        let idle = || self.take_idle().map(|(line, idle_for)| (line, Some(idle_for)));
        if !needs_fresh && let Some(taken) = idle() {
            return Ok(taken);
        }
        match self.open().await {
            Ok(line) => Ok((line, None)),
            // Another batch may have ended in the meantime, and what it leaves is as good.
            Err(failure) if failure.is_connection_limit() => idle().ok_or(failure),
            Err(failure) => Err(failure),
        }
    }

    async fn deliver_batch(&self, batch: &mut Batch) {
        let Ok(_permit) = self.connections.acquire().await else { return };
        let mut needs_fresh = false;
        while batch.has_more().await {
            let (mut line, idle_for) = match self.take(needs_fresh).await {
                Ok(taken) => taken,
                Err(failure) => return batch.fail_waiting(&failure),
            };
            let _in_use = InUse::new(&self.open);
            let quota = self.messages_per_connection.load(Ordering::Relaxed).saturating_sub(line.messages);
            let is_cautious = idle_for.is_some_and(|idle_for| idle_for > TRUSTED_IDLE_MAX);
            let mut passage = Passage::new(batch, &line, quota, idle_for.is_some(), is_cautious);
            // Where one connection died while it was idle, the others have as well.
            match carry(&mut line, &mut passage, self.reply_timeout).await {
                Ok(()) => {
                    needs_fresh = passage.died_idle();
                    let is_reusable = passage.is_reusable() && line.replies.is_empty();
                    let used_up_at = passage.used_up_at();
                    passage.close();
                    if let Some(most) = used_up_at {
                        self.messages_per_connection.fetch_min(most, Ordering::Relaxed);
                        line.quit().await;
                    } else if is_reusable {
                        self.keep(line).await;
                    }
                }
                Err(broken) => {
                    needs_fresh = passage.died_idle();
                    if let Some(most) = passage.used_up_at() {
                        self.messages_per_connection.fetch_min(most, Ordering::Relaxed);
                    }
                    passage.break_off(&self.target.place.broken_sending(broken));
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

/// Writes what a passage has to say and reads what the server answers, both at once in one task, so that neither side
/// waits for ever for the other to read.
async fn carry(line: &mut Line, passage: &mut Passage<'_>, reply_timeout: Duration) -> Result<(), Break> {
    let mut timer = pin!(tokio::time::sleep(reply_timeout));
    let mut moved_at = Instant::now();
    let mut write_broken: Option<Break> = None;
    let mut gate_opens = None;
    poll_fn(|cx| {
        loop {
            let now = Instant::now();
            let mut has_moved = false;
            loop {
                let mut is_dirty = line.is_dirty;
                let taken = match line.replies.next_reply() {
                    Ok(None) => break,
                    Ok(Some(reply)) => passage.take(reply, &mut is_dirty, now),
                    Err(garbage) => Err(garbage),
                };
                line.is_dirty = is_dirty;
                (line.has_refused, line.taken) = (passage.has_refused, passage.taken);
                if let Err(garbage) = taken {
                    return Poll::Ready(Err(Break::Garbage(garbage)));
                }
                has_moved = true;
            }
            passage.take_more(cx);
            if passage.is_done(line) {
                return Poll::Ready(Ok(()));
            }
            if write_broken.is_none() {
                let gathered = passage.gather(line, now);
                let before = line.written;
                match line.poll_write_out(cx) {
                    Poll::Ready(Ok(())) => has_moved |= gathered,
                    Poll::Ready(Err(broken)) => {
                        write_broken = Some(broken);
                        has_moved = true;
                        timer.as_mut().reset(tokio::time::Instant::now() + LAST_WORDS_TIMEOUT.min(reply_timeout));
                    }
                    Poll::Pending => {}
                }
                if line.written != before {
                    passage.note_written(line.written, now);
                    moved_at = now;
                }
            }
            let has_read = match line.poll_read_in(cx) {
                Poll::Ready(Ok(())) => true,
                Poll::Ready(Err(broken)) => return Poll::Ready(Err(broken)),
                Poll::Pending => false,
            };
            if has_moved {
                moved_at = now;
            }
            // Bytes alone are no progress: a whole reply has one bound, however slowly it comes.
            if has_moved || has_read {
                continue;
            }
            line.stream.acknowledge_at_once();
            if let Some(at) = passage.gate_opens_at().filter(|_| write_broken.is_none()) {
                // It is we who keep the server waiting.
                moved_at = now;
                let opens = gate_opens.insert(Box::pin(tokio::time::sleep_until(at.into())));
                if opens.as_mut().poll(cx).is_ready() {
                    continue;
                }
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            // The timer is set once and moved on only when it rings: most replies come long before.
            let left = (moved_at + reply_timeout).saturating_duration_since(Instant::now());
            if let Some(broken) = write_broken {
                return Poll::Ready(Err(broken));
            } else if left.is_zero() {
                return Poll::Ready(Err(Break::TimedOut(reply_timeout)));
            }
            timer.as_mut().reset(tokio::time::Instant::now() + left);
        }
    })
    .await
}

/// Closes connections that were idle for long; ends when there are none, or when the server is gone.
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
    fn probe(&self) -> BoxFuture<'_, Option<Result<Probed, Failure>>> {
        Box::pin(async move {
            // The probe's own connection must not be the one too many for a server that counts them: it takes the place of one
            // that has no work, and leaves its own there.
            let spare = lock(&self.idle).lines.pop_front();
            let is_in_place = spare.is_some();
            if let Some((line, _)) = spare {
                line.quit().await;
            }
            let has_others = || is_in_place || self.open.load(Ordering::Relaxed) > 0 || !lock(&self.idle).lines.is_empty();
            let had_others = has_others();
            Some(match self.open().await {
                Ok(line) if is_in_place => {
                    self.keep(line).await;
                    Ok(Probed::default())
                }
                Ok(line) => {
                    line.quit().await;
                    Ok(Probed::default())
                }
                // The server is well: it has as many connections of ours as it wants.
                Err(failure) if failure.is_connection_limit() && (had_others || has_others()) => Ok(Probed::default()),
                Err(failure) => Err(failure),
            })
        })
    }

    fn deliver(&self, batch: Vec<Outgoing>, outcomes: mpsc::UnboundedSender<Delivered>) -> BoxFuture<'_, ()> {
        // Made here and not within the future, so that a future which is never polled gives outcomes as well.
        let mut batch = Batch::new(batch, self.target.place.clone(), outcomes);
        Box::pin(async move { self.deliver_batch(&mut batch).await })
    }

    fn deliver_with(&self, batch: Vec<Outgoing>, along: Along, outcomes: mpsc::UnboundedSender<Delivered>) -> BoxFuture<'_, ()> {
        let mut batch = Batch::new(batch, self.target.place.clone(), outcomes).with(along);
        Box::pin(async move { self.deliver_batch(&mut batch).await })
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
