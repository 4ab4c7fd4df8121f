//! Carries a session over a line: writes and reads at once in one task, so that neither side waits forever for the other to read.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::time::Sleep;

use super::{failure::Break, line::Line, session::Session};

/// After a failed write, how long to wait for replies that are still on their way.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(5);

/// Writes what a session has to send and gives it what the server answers, until it has nothing left to do.
///
/// # Errors
/// When the line breaks, what the server says is no reply, or no whole reply comes within `reply_timeout`.
pub async fn carry(line: &mut Line, session: &mut Session<'_>, reply_timeout: Duration) -> Result<(), Break> {
    let timer = pin!(tokio::time::sleep(reply_timeout));
    let mut carrying = Carrying { line, session, reply_timeout, timer, moved_at: Instant::now(), write_broken: None, gate_opens: None };
    poll_fn(|cx| carrying.poll(cx)).await
}

struct Carrying<'c, 's> {
    line: &'c mut Line,
    session: &'c mut Session<'s>,
    reply_timeout: Duration,
    /// Set once and only moved when it fires: most replies come long before.
    timer: Pin<&'c mut Sleep>,
    /// When either side last got on.
    moved_at: Instant,
    /// Why nothing more is written.
    write_broken: Option<Break>,
    /// Wakes the task when the gate opens.
    gate_opens: Option<Pin<Box<Sleep>>>,
}

impl Carrying<'_, '_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Break>> {
        loop {
            let now = Instant::now();
            let has_taken = self.take_replies(now)?;
            self.session.take_more(cx);
            if self.session.is_done(self.line) {
                return Poll::Ready(Ok(()));
            }
            let has_moved = self.write(cx, now) || has_taken;
            let has_read = self.read(cx)?;
            if has_moved {
                self.moved_at = now;
            }
            // Bytes alone are no progress: the timeout covers a whole reply, however slowly it arrives.
            if has_moved || has_read {
                continue;
            }
            self.line.stream.acknowledge_at_once();
            if self.gate_has_opened(cx, now) {
                continue;
            }
            ready!(self.timer.as_mut().poll(cx));
            self.check_time()?;
        }
    }

    /// Gives the session every whole reply that is there; returns whether there was one.
    fn take_replies(&mut self, now: Instant) -> Result<bool, Break> {
        let (line, session) = (&mut *self.line, &mut *self.session);
        let mut has_taken = false;
        loop {
            let mut is_dirty = line.is_dirty;
            let taken = match line.replies.next_reply() {
                Ok(None) => return Ok(has_taken),
                Ok(Some(reply)) => session.take(reply, &mut is_dirty, now),
                Err(garbage) => Err(garbage),
            };
            line.is_dirty = is_dirty;
            (line.has_refused, line.taken) = (session.has_refused, session.taken);
            taken.map_err(Break::Garbage)?;
            has_taken = true;
        }
    }

    /// Writes what can be written; returns whether there may be more to write now, or never will be.
    fn write(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if self.write_broken.is_some() {
            return false;
        }
        let has_gathered = self.session.gather(self.line, now);
        let before = self.line.written;
        let has_moved = match self.line.poll_write_out(cx) {
            // What waited for room is gone: the content may go on, and nothing else would say so.
            Poll::Ready(Ok(())) => has_gathered || self.line.written != before,
            Poll::Ready(Err(broken)) => {
                self.write_broken = Some(broken);
                self.timer.as_mut().reset(tokio::time::Instant::now() + LAST_WORDS_TIMEOUT.min(self.reply_timeout));
                true
            }
            Poll::Pending => false,
        };
        if self.line.written != before {
            self.session.note_written(self.line.written, now);
            self.moved_at = now;
        }
        has_moved
    }

    /// Reads what has come; returns whether something had.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, Break> {
        match self.line.poll_read_in(cx) {
            Poll::Ready(Ok(())) => Ok(true),
            Poll::Ready(Err(broken)) => Err(broken),
            Poll::Pending => Ok(false),
        }
    }

    /// While the gate keeps the server waiting, the time is not the server's. Returns whether it has opened by now.
    fn gate_has_opened(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Some(at) = self.session.gate_opens_at().filter(|_| self.write_broken.is_none()) else { return false };
        self.moved_at = now;
        let opens = self.gate_opens.insert(Box::pin(tokio::time::sleep_until(at.into())));
        opens.as_mut().poll(cx).is_ready()
    }

    /// When the timer has fired: sets it again, unless nothing has moved for too long.
    fn check_time(&mut self) -> Result<(), Break> {
        if let Some(broken) = self.write_broken.take() {
            return Err(broken);
        }
        let left = (self.moved_at + self.reply_timeout).saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Break::TimedOut(self.reply_timeout));
        }
        self.timer.as_mut().reset(tokio::time::Instant::now() + left);
        Ok(())
    }
}
