//! A server that takes one message at a time.

use std::{sync::Arc, time::Instant};

use tokio::sync::{Semaphore, mpsc};

use super::{
    Blocker, BoxFuture, Carriage, Context, Delivered, Outcome, Outgoing, Probed, Server, diagnose::Endpoint, envelope, owed::Owed,
};

/// What differs from type to type.
pub trait Single: Send + Sync + 'static {
    /// Where messages go, for people.
    fn endpoint(&self) -> &Endpoint;

    /// See [`Server::probe`].
    fn probe(&self) -> BoxFuture<'_, Option<Result<Probed, Blocker>>>;

    /// Sends a message, and waits for what becomes of it.
    fn send<'a>(&'a self, message: &'a Outgoing) -> BoxFuture<'a, Outcome>;
}

/// A server of single messages; as many at a time as it may have connections.
pub struct SingleServer<S> {
    of: S,
    at_once: Semaphore,
}

impl<S: Single> SingleServer<S> {
    /// A server without a connection yet.
    pub fn open(of: S, context: &Context) -> Arc<dyn Server> {
        Arc::new(Self { of, at_once: context.permits() })
    }

    async fn deliver_all(&self, owed: &mut Owed) {
        let Ok(_permit) = self.at_once.acquire().await else { return };
        while let Some(message) = owed.waiting(0) {
            if let Some(outcome) = envelope::unsendable(message) {
                owed.refuse(0, outcome);
                continue;
            }
            let Some(begun) = owed.begin(0, ()) else { return };
            begun.is_sent = true;
            let begun_at = Instant::now();
            let outcome = self.of.send(begun.message()).await;
            let round_trip = (!matches!(outcome, Outcome::Unknown(_))).then(|| begun_at.elapsed());
            let failed = match &outcome {
                Outcome::Unknown(failure) | Outcome::ServerFailed(failure) => Some(failure.clone()),
                _ => None,
            };
            owed.settle(outcome, round_trip);
            if let Some(failure) = failed {
                // The others would fare no better.
                return owed.fail_waiting(&failure);
            }
        }
    }
}

impl<S: Single> Server for SingleServer<S> {
    fn probe(&self) -> BoxFuture<'_, Option<Result<Probed, Blocker>>> {
        self.of.probe()
    }

    fn deliver(&self, batch: Vec<Outgoing>, outcomes: mpsc::UnboundedSender<Delivered>) -> BoxFuture<'_, ()> {
        let mut owed = Owed::new(batch, self.of.endpoint(), outcomes);
        Box::pin(async move { self.deliver_all(&mut owed).await })
    }

    fn carriage(&self) -> Carriage {
        Carriage::default()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        // No connection stays open.
        Box::pin(std::future::ready(()))
    }
}
