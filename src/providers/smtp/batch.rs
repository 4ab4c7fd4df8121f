//! The messages of one call of `deliver`, and where each of them is.
//!
//! Each message has exactly one end: when its last reply is read, when the line breaks, or when the batch is dropped
//! half way.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::failure::Place;
use crate::{
    providers::{
        Along, Delivered, Failure, Outcome, Outgoing,
        gate::{Gate, Pass},
    },
    resources::Reason,
};

/// The messages of one call of `deliver`.
pub struct Batch {
    /// Not begun.
    pub(super) waiting: VecDeque<Outgoing>,
    /// Begun, in the order of their replies.
    pub(super) flying: VecDeque<Flying>,
    /// The line's count of bytes that may have reached the server.
    pub(super) written: u64,
    /// How many of `flying`, from the front, are known to be wholly written.
    pub(super) marked: usize,
    pub(super) place: Place,
    /// Messages that come while the batch is on its way.
    more: Option<mpsc::UnboundedReceiver<Outgoing>>,
    /// Lets contents pass; none where nothing holds them back.
    pub(super) gate: Option<Arc<Gate>>,
    outcomes: mpsc::UnboundedSender<Delivered>,
}

/// A message that is begun.
pub(super) struct Flying {
    pub(super) message: Outgoing,
    /// The line's count of bytes at which the message is wholly written; none while its end is not yet gathered.
    pub(super) end_at: Option<u64>,
    pub(super) written_at: Option<Instant>,
    /// Its content may be written.
    pub(super) pass: Option<Pass>,
    pub(super) is_recipient_accepted: bool,
    /// Decided by a refusal before the last reply.
    pub(super) verdict: Option<Outcome>,
    /// Refused because the connection is used up: it waits for a fresh one.
    pub(super) waits_again: bool,
}

impl Batch {
    /// A batch of which nothing is begun.
    #[must_use]
    pub fn new(messages: Vec<Outgoing>, place: Place, outcomes: mpsc::UnboundedSender<Delivered>) -> Self {
        Self { waiting: messages.into(), flying: VecDeque::new(), written: 0, marked: 0, place, more: None, gate: None, outcomes }
    }

    /// The same, with what comes along.
    #[must_use]
    pub fn with(mut self, along: Along) -> Self {
        (self.more, self.gate) = (Some(along.more), along.gate);
        self
    }

    /// Takes over what has come; wakes the task when more comes.
    pub fn take_more(&mut self, cx: &mut Context<'_>) {
        while let Some(more) = &mut self.more {
            match more.poll_recv(cx) {
                Poll::Ready(Some(message)) => self.waiting.push_back(message),
                Poll::Ready(None) => self.more = None,
                Poll::Pending => return,
            }
        }
    }

    /// Whether a message has no end yet. When none is left, none is taken over any more: what comes goes back to the sender.
    pub async fn has_more(&mut self) -> bool {
        if self.is_empty()
            && let Some(mut more) = self.more.take()
        {
            more.close();
            // Not `try_recv`: what is just being sent counts as well.
            while let Some(message) = more.recv().await {
                self.waiting.push_back(message);
            }
        }
        !self.is_empty()
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.flying.is_empty()
    }

    /// Ends what is not begun: the server failed.
    pub fn fail_waiting(&mut self, failure: &Failure) {
        for message in std::mem::take(&mut self.waiting) {
            self.give(message, Outcome::ServerFailed(failure.clone()), None);
        }
    }

    /// The line broke: what is wholly written is unknown, the rest was not taken. With `retries` the rest waits again.
    pub fn break_off(&mut self, failure: &Failure, retries: bool) {
        let mut back = VecDeque::new();
        for flying in std::mem::take(&mut self.flying) {
            let is_written = flying.end_at.is_some_and(|end| end <= self.written);
            match flying.verdict {
                _ if flying.waits_again => back.push_back(flying.message),
                Some(verdict) => self.give(flying.message, verdict, None),
                None if is_written => self.give(flying.message, Outcome::Unknown(failure.clone()), None),
                None if retries => back.push_back(flying.message),
                None => self.give(flying.message, Outcome::ServerFailed(failure.clone()), None),
            }
        }
        self.marked = 0;
        back.append(&mut self.waiting);
        self.waiting = back;
        if !retries {
            self.fail_waiting(failure);
        }
    }

    /// The server answered 421: nothing that it has not accepted was taken. With `retries` all of it waits again.
    pub(super) fn refuse_all(&mut self, failure: &Failure, retries: bool) {
        self.flying.iter_mut().for_each(|flying| flying.end_at = None);
        self.break_off(failure, retries);
    }

    /// Ends the message at the front, whose last reply came; or lets it wait again.
    pub(super) fn settle(&mut self, outcome: Outcome, now: Instant) {
        if let Some(flying) = self.flying.pop_front() {
            self.marked = self.marked.saturating_sub(1);
            if flying.waits_again {
                self.waiting.push_back(flying.message);
                return;
            }
            let round_trip = flying.written_at.map(|at| now.saturating_duration_since(at));
            self.give(flying.message, outcome, round_trip);
        }
    }

    pub(super) fn give(&self, message: Outgoing, outcome: Outcome, round_trip: Option<Duration>) {
        // When nobody listens any more, nobody is left to tell.
        let _ = self.outcomes.send(Delivered { message, outcome, round_trip });
    }
}

impl Drop for Batch {
    /// A dropped future still owes every message its end.
    fn drop(&mut self) {
        if let Some(mut more) = self.more.take() {
            more.close();
            while let Ok(message) = more.try_recv() {
                self.waiting.push_back(message);
            }
        }
        if !self.is_empty() {
            let failure =
                self.place.sending(Reason::Unresponsive, "the delivery was interrupted", "Messages that were not sent are tried again.");
            self.break_off(&failure, false);
        }
    }
}
