//! A server that takes one message at a time, with the rule that each message has exactly one end, whatever happens.

use std::{sync::Arc, time::Instant};

use tokio::sync::{Semaphore, mpsc};

use super::{BoxFuture, Carriage, Context, Delivered, Failure, Outcome, Outgoing, Probed, Server, envelope};
use crate::resources::Reason;

/// What is a type's own.
pub trait Single: Send + Sync + 'static {
    /// See [`Server::probe`].
    fn probe(&self) -> BoxFuture<'_, Option<Result<Probed, Failure>>>;

    /// Sends a message.
    fn send<'a>(&'a self, message: &'a Outgoing) -> BoxFuture<'a, Outcome>;
}

/// A server of single messages; as many at a time as it may have connections.
pub struct SingleServer<S> {
    of: S,
    at_once: Semaphore,
}

impl<S: Single> SingleServer<S> {
    /// A server to which nothing is open yet.
    pub fn open(of: S, context: &Context) -> Arc<dyn Server> {
        Arc::new(Self { of, at_once: context.permits() })
    }
}

impl<S: Single> Server for SingleServer<S> {
    fn probe(&self) -> BoxFuture<'_, Option<Result<Probed, Failure>>> {
        self.of.probe()
    }

    fn deliver(&self, batch: Vec<Outgoing>, outcomes: mpsc::UnboundedSender<Delivered>) -> BoxFuture<'_, ()> {
        // Made here and not within the future, so that a future which is never polled gives outcomes as well.
        let mut waiting = Waiting { under_way: None, rest: batch.into_iter(), outcomes };
        Box::pin(async move {
            let Ok(_permit) = self.at_once.acquire().await else { return };
            while let Some(message) = waiting.rest.next() {
                if let Some(outcome) = envelope::unsendable(&message) {
                    waiting.give(message, outcome, None);
                    continue;
                }
                let begun = Instant::now();
                let outcome = self.of.send(waiting.under_way.insert(message)).await;
                let (failed, round_trip) = match &outcome {
                    Outcome::Unknown(failure) => (Some(failure.clone()), None),
                    Outcome::ServerFailed(failure) => (Some(failure.clone()), Some(begun.elapsed())),
                    _ => (None, Some(begun.elapsed())),
                };
                if let Some(message) = waiting.under_way.take() {
                    waiting.give(message, outcome, round_trip);
                }
                if let Some(failure) = failed {
                    waiting.fail_rest(&failure);
                }
            }
        })
    }

    fn carriage(&self) -> Carriage {
        Carriage::default()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        // Nothing stays open that has to be told.
        Box::pin(std::future::ready(()))
    }
}

/// The messages that still have no end; each gets one when the delivery is dropped.
struct Waiting {
    under_way: Option<Outgoing>,
    rest: std::vec::IntoIter<Outgoing>,
    outcomes: mpsc::UnboundedSender<Delivered>,
}

impl Waiting {
    fn give(&self, message: Outgoing, outcome: Outcome, round_trip: Option<std::time::Duration>) {
        // When nobody listens any more, nobody is left to tell.
        let _ = self.outcomes.send(Delivered { message, outcome, round_trip });
    }

    fn fail_rest(&mut self, failure: &Failure) {
        while let Some(message) = self.rest.next() {
            self.give(message, Outcome::ServerFailed(failure.clone()), None);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let failure = Failure::new(Reason::Unresponsive, "The delivery was interrupted; messages that were not sent are tried again.");
        if let Some(message) = self.under_way.take() {
            self.give(message, Outcome::Unknown(failure.clone()), None);
        }
        self.fail_rest(&failure);
    }
}
