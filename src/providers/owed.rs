//! Exactly one outcome for each message of a call of `deliver`, whatever happens (invariant 6): kept here, for every type of server.
//!
//! A message stays inside [`Owed`] until its outcome is sent. What is still inside when the call ends, is dropped half way or
//! is never polled gets its outcome from `drop`: unknown where the message was sent, and otherwise a failure, so that it may
//! move to another server.

use std::{
    collections::VecDeque,
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::mpsc;

use super::{Blocker, Delivered, Outcome, Outgoing, diagnose::Endpoint};
use crate::meta::Reason;

/// The messages that are owed an outcome: some wait, then some are begun. `N` is what a type notes of each that is begun.
pub struct Owed<N = ()> {
    waiting: VecDeque<Outgoing>,
    /// In the order in which the server answers.
    begun: VecDeque<Begun<N>>,
    /// Messages that come while the call lasts.
    more: Option<mpsc::UnboundedReceiver<Outgoing>>,
    endpoint: Endpoint,
    outcomes: mpsc::UnboundedSender<Delivered>,
}

/// A message that is begun.
pub struct Begun<N> {
    message: Outgoing,
    /// All of it may have reached the server: without an answer it may have been taken.
    pub is_sent: bool,
    /// Its outcome, where that is known before the server has answered everything.
    pub decided: Option<Outcome>,
    /// However this attempt ends, the message waits again.
    pub waits_again: bool,
    /// What the type of server notes of it.
    pub note: N,
}

impl<N> Begun<N> {
    pub const fn message(&self) -> &Outgoing {
        &self.message
    }
}

impl<N> Owed<N> {
    /// The messages of a call, all waiting.
    pub fn new(messages: Vec<Outgoing>, endpoint: &Endpoint, outcomes: mpsc::UnboundedSender<Delivered>) -> Self {
        Self { waiting: messages.into(), begun: VecDeque::new(), more: None, endpoint: endpoint.clone(), outcomes }
    }

    /// The same, with messages that come while the call lasts.
    pub fn with_more(mut self, more: mpsc::UnboundedReceiver<Outgoing>) -> Self {
        self.more = Some(more);
        self
    }

    /// The message that waits at this position.
    pub fn waiting(&self, at: usize) -> Option<&Outgoing> {
        self.waiting.get(at)
    }

    /// The messages that are begun.
    pub fn begun(&self) -> impl DoubleEndedIterator<Item = &Begun<N>> + ExactSizeIterator {
        self.begun.iter()
    }

    /// The messages that are begun.
    pub fn begun_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut Begun<N>> + ExactSizeIterator {
        self.begun.iter_mut()
    }

    /// The message that was begun first.
    pub fn first_mut(&mut self) -> Option<&mut Begun<N>> {
        self.begun.front_mut()
    }

    /// The message that was begun last.
    pub fn last_mut(&mut self) -> Option<&mut Begun<N>> {
        self.begun.back_mut()
    }

    /// Gives the message that waits first to somebody else, who owes its outcome from now on.
    pub fn hand_over(&mut self) -> Option<Outgoing> {
        self.waiting.pop_front()
    }

    /// Takes a message back that could not be handed over; it waits before the others.
    pub fn take_back(&mut self, message: Outgoing) {
        self.waiting.push_front(message);
    }

    /// Begins the message that waits at this position, behind those that are begun.
    pub fn begin(&mut self, at: usize, note: N) -> Option<&mut Begun<N>> {
        let message = self.waiting.remove(at)?;
        self.begun.push_back(Begun { message, is_sent: false, decided: None, waits_again: false, note });
        self.begun.back_mut()
    }

    /// Settles the message that waits at this position: it is not sent at all.
    pub fn refuse(&mut self, at: usize, outcome: Outcome) {
        if let Some(message) = self.waiting.remove(at) {
            self.give(message, outcome, None);
        }
    }

    /// Settles the message that was begun first, or lets it wait again.
    pub fn settle(&mut self, outcome: Outcome, round_trip: Option<Duration>) {
        if let Some(begun) = self.begun.pop_front() {
            if begun.waits_again {
                self.waiting.push_back(begun.message);
            } else {
                self.give(begun.message, outcome, round_trip);
            }
        }
    }

    /// None of those that are begun was taken: they wait again, before the others.
    pub fn put_back(&mut self) {
        while let Some(begun) = self.begun.pop_back() {
            self.waiting.push_front(begun.message);
        }
    }

    /// The server failed before anything was begun of those that wait.
    pub fn fail_waiting(&mut self, failure: &Blocker) {
        while let Some(message) = self.waiting.pop_front() {
            self.give(message, Outcome::ServerFailed(failure.clone()), None);
        }
    }

    /// No answer comes any more: what was sent is unknown, the rest was not taken. With `retries` the rest waits again.
    pub fn break_off(&mut self, failure: &Blocker, retries: bool) {
        let mut back = VecDeque::new();
        while let Some(begun) = self.begun.pop_front() {
            match begun.decided {
                _ if begun.waits_again => back.push_back(begun.message),
                Some(outcome) => self.give(begun.message, outcome, None),
                None if begun.is_sent => self.give(begun.message, Outcome::Unknown(failure.clone()), None),
                None if retries => back.push_back(begun.message),
                None => self.give(begun.message, Outcome::ServerFailed(failure.clone()), None),
            }
        }
        back.append(&mut self.waiting);
        self.waiting = back;
        if !retries {
            self.fail_waiting(failure);
        }
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

    /// Whether any message is left. When none is, no more are taken over: what comes then goes back to its sender.
    pub async fn is_left(&mut self) -> bool {
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
        self.waiting.is_empty() && self.begun.is_empty()
    }

    fn give(&self, mut message: Outgoing, outcome: Outcome, round_trip: Option<Duration>) {
        // Another server signs with other keys, or not at all.
        let signing = message.signature.take().map_or(Duration::ZERO, |signature| signature.took);
        // When nobody listens any more, nobody is left to tell.
        let _ = self.outcomes.send(Delivered { message, outcome, round_trip, signing });
    }
}

impl<N> Drop for Owed<N> {
    fn drop(&mut self) {
        if let Some(mut more) = self.more.take() {
            more.close();
            while let Ok(message) = more.try_recv() {
                self.waiting.push_back(message);
            }
        }
        if !self.is_empty() {
            let to_do = "Messages that were not sent are retried.";
            let failure = self.endpoint.sending(Reason::Unresponsive, "the delivery was interrupted", to_do);
            self.break_off(&failure, false);
        }
    }
}

#[cfg(test)]
mod tests;
