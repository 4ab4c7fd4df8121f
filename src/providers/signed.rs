//! A server whose messages are signed (DKIM) when they are handed to it: the keys are the server's, and which server a message goes
//! through is known only now.
//!
//! What is costly is signed on threads of its own ([`pool`]), and the hash of a body that many messages share is made once
//! ([`bodies`]). A message waits in [`Owed`] until it is signed, and then is the server's; it comes back without its signature, since
//! another server signs otherwise. What the signature took comes back as well: the flight window must know of it.

mod bodies;
mod pool;
#[cfg(test)]
mod tests;

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::{Instant, SystemTime},
};

use tokio::sync::{mpsc, oneshot};

use super::{
    Along, Blocker, BoxFuture, Carriage, Delivered, Gate, Outcome, Outgoing, Probed, Server, Signature, diagnose::Endpoint, owed::Owed,
};
use crate::{
    dkim::{Algorithm, Content, Covered, Fields, Signer, key::SigningFailed},
    meta::{Pieces, Reason},
};
use bodies::Bodies;
use pool::Pool;

/// A message up to this size that Ed25519 signs is signed at once: that takes some 30 microseconds, less than to wake a thread.
const AT_ONCE_BYTES_MAX: usize = 64 * 1024;
/// Messages that are signed at once before others get their turn.
const AT_ONCE_MAX: usize = 8;

/// What makes signatures: shared by all servers of a process, and cheap to clone.
#[derive(Clone, Default)]
pub struct Signatory {
    pool: Arc<Pool>,
    bodies: Arc<Bodies>,
}

/// A key with which a server signs, and the DNS record that publishes it.
#[derive(Clone, Debug)]
pub struct ServerKey {
    /// The name of its record: `s1._domainkey.example.com`.
    pub record: String,
    /// What signs with it.
    pub signer: Arc<Signer>,
}

/// A server whose messages are signed.
pub struct Signed {
    server: Arc<dyn Server>,
    endpoint: Endpoint,
    keys: Vec<ServerKey>,
    /// The keys that sign now.
    chosen: Mutex<Arc<[Arc<Signer>]>>,
    fields: &'static Fields,
    signatory: Signatory,
}

impl Signed {
    /// A server that signs with all of these keys until it is told with which; `address` is where it is, for people.
    #[must_use]
    pub fn new(server: Arc<dyn Server>, address: &str, keys: Vec<ServerKey>, fields: &'static Fields, signatory: Signatory) -> Self {
        let chosen = Mutex::new(keys.iter().map(|key| key.signer.clone()).collect());
        Self { server, endpoint: Endpoint::named(address), keys, chosen, fields, signatory }
    }

    fn chosen(&self) -> Arc<[Arc<Signer>]> {
        self.chosen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins the signatures of messages that wait; returns whether more are to be begun at once.
    fn begin(&self, owed: &Owed, queue: &mut Queue) -> bool {
        let keys = self.chosen();
        let is_quick = keys.iter().all(|key| key.algorithm() == Algorithm::Ed25519Sha256);
        let mut at_once = 0;
        while let Some(message) = owed.waiting(queue.0.len()) {
            if at_once == AT_ONCE_MAX {
                return true;
            }
            let begun_at = Instant::now();
            let made = if is_quick && message.content.len() <= AT_ONCE_BYTES_MAX {
                at_once += 1;
                Made::Done(sign(&message.content, &keys, self.fields, &self.signatory.bodies))
            } else {
                let (content, keys, fields, bodies) = (message.content.clone(), keys.clone(), self.fields, self.signatory.bodies.clone());
                let (sender, receiver) = oneshot::channel();
                self.signatory.pool.run(Box::new(move || {
                    // Where nobody waits for it any more, it is not needed.
                    if !sender.is_closed() {
                        let _ = sender.send(sign(&content, &keys, fields, &bodies));
                    }
                }));
                Made::Waits(receiver)
            };
            queue.0.push_back(Pending { begun_at, made });
        }
        false
    }

    /// The message that waits first, once it is signed; none when no signature is begun.
    fn poll_first(&self, owed: &mut Owed, queue: &mut Queue, cx: &mut Context<'_>) -> Poll<Option<Outgoing>> {
        loop {
            let Some(first) = queue.0.front_mut() else { return Poll::Ready(None) };
            let made = ready!(first.poll(cx)).clone();
            let took = first.begun_at.elapsed();
            queue.0.pop_front();
            match made {
                Err(failed) => owed.refuse(0, Outcome::ServerFailed(self.failed(failed))),
                Ok(fields) => {
                    let Some(mut message) = owed.hand_over() else { continue };
                    message.signature = fields.map(|fields| Signature { fields, took });
                    return Poll::Ready(Some(message));
                }
            }
        }
    }

    fn failed(&self, failed: SigningFailed) -> Blocker {
        self.endpoint.sending(Reason::SecretInvalid, &failed.to_string(), "Check the keys of identity.dkim, and this machine's memory.")
    }

    /// All messages that wait, once each is signed. Until then they are owed: whoever drops this loses none.
    fn poll_all(&self, owed: &mut Owed, queue: &mut Queue, cx: &mut Context<'_>) -> Poll<Vec<Outgoing>> {
        if self.begin(owed, queue) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // The last one is signed last, or nearly: to ask for it first saves waking up for each.
        for pending in queue.0.iter_mut().rev() {
            ready!(pending.poll(cx));
        }
        let mut batch = Vec::with_capacity(queue.0.len());
        while let Poll::Ready(Some(message)) = self.poll_first(owed, queue, cx) {
            batch.push(message);
        }
        Poll::Ready(batch)
    }

    /// Passes on what came while a call lasts, once each is signed; returns whether the call still takes it.
    fn pass_on(&self, owed: &mut Owed, queue: &mut Queue, more: &mpsc::UnboundedSender<Outgoing>, cx: &mut Context<'_>) -> bool {
        owed.take_more(cx);
        if self.begin(owed, queue) {
            cx.waker().wake_by_ref();
        }
        while let Poll::Ready(Some(message)) = self.poll_first(owed, queue, cx) {
            if let Err(mpsc::error::SendError(message)) = more.send(message) {
                // The call is over: it goes with the next one.
                put_back(owed, queue, message);
                return false;
            }
        }
        true
    }

    async fn carry(&self, mut owed: Owed, gate: Option<Arc<Gate>>, outcomes: mpsc::UnboundedSender<Delivered>) {
        let mut queue = Queue::default();
        while owed.is_left().await {
            let batch = poll_fn(|cx| self.poll_all(&mut owed, &mut queue, cx)).await;
            if batch.is_empty() {
                continue;
            }
            let (more, receiver) = mpsc::unbounded_channel();
            let mut call = self.server.deliver_with(batch, Along { more: receiver, gate: gate.clone() }, outcomes.clone());
            let mut is_open = true;
            poll_fn(|cx| {
                is_open = is_open && self.pass_on(&mut owed, &mut queue, &more, cx);
                call.as_mut().poll(cx)
            })
            .await;
        }
    }
}

/// Puts a message back that is signed, or needs no signature.
fn put_back(owed: &mut Owed, queue: &mut Queue, mut message: Outgoing) {
    let signature = message.signature.take();
    let begun_at = signature.as_ref().and_then(|signature| Instant::now().checked_sub(signature.took)).unwrap_or_else(Instant::now);
    queue.0.push_front(Pending { begun_at, made: Made::Done(Ok(signature.map(|signature| signature.fields))) });
    owed.take_back(message);
}

/// The signatures of the messages that wait, in their order, as far as they are begun.
#[derive(Default)]
struct Queue(VecDeque<Pending>);

struct Pending {
    begun_at: Instant,
    made: Made,
}

/// The header fields of a message's signatures; none where no key fits it.
type SignedFields = Result<Option<Arc<[u8]>>, SigningFailed>;

enum Made {
    Done(SignedFields),
    Waits(oneshot::Receiver<SignedFields>),
}

impl Pending {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<&SignedFields> {
        if let Made::Waits(receiver) = &mut self.made {
            let made = ready!(Pin::new(receiver).poll(cx)).unwrap_or(Err(SigningFailed));
            self.made = Made::Done(made);
        }
        match &self.made {
            Made::Done(made) => Poll::Ready(made),
            Made::Waits(_) => Poll::Pending,
        }
    }
}

thread_local! {
    /// What a thread signs in: asked for anew for each message, it would cost half as much as the hash.
    static SPACE: RefCell<(Covered, Vec<u8>)> = RefCell::default();
}

/// Signs a message with the keys of the longest domain that fits its From address.
fn sign(content: &Pieces, keys: &[Arc<Signer>], fields: &Fields, bodies: &Bodies) -> SignedFields {
    let read = Content::read(content.own());
    let Some(from) = read.from_domain() else { return Ok(None) };
    let domain = keys.iter().filter(|key| key.fits(&from)).map(|key| key.domain()).max_by_key(|domain| domain.len());
    let Some(domain) = domain else { return Ok(None) };
    let hash = bodies.hash(content, content.own().len() - read.body.len());
    let at_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    SPACE.with_borrow_mut(|(covered, head)| {
        read.cover(fields, covered);
        head.clear();
        for key in keys.iter().filter(|key| key.domain() == domain) {
            key.write(covered, &hash, at_s, head)?;
        }
        Ok(Some(head.as_slice().into()))
    })
}

impl Server for Signed {
    fn probe(&self) -> BoxFuture<'_, Option<Result<Probed, Blocker>>> {
        self.server.probe()
    }

    fn deliver(&self, batch: Vec<Outgoing>, outcomes: mpsc::UnboundedSender<Delivered>) -> BoxFuture<'_, ()> {
        let owed = Owed::new(batch, &self.endpoint, outcomes.clone());
        Box::pin(self.carry(owed, None, outcomes))
    }

    fn deliver_with(&self, batch: Vec<Outgoing>, along: Along, outcomes: mpsc::UnboundedSender<Delivered>) -> BoxFuture<'_, ()> {
        let owed = Owed::new(batch, &self.endpoint, outcomes.clone()).with_more(along.more);
        Box::pin(self.carry(owed, along.gate, outcomes))
    }

    fn carriage(&self) -> Carriage {
        self.server.carriage()
    }

    fn sign_with(&self, records: &[String]) {
        let chosen: Arc<[_]> = self.keys.iter().filter(|key| records.contains(&key.record)).map(|key| key.signer.clone()).collect();
        // What is about other keys says nothing about these: nothing leaves unsigned for that.
        if !chosen.is_empty() {
            *self.chosen.lock().unwrap_or_else(PoisonError::into_inner) = chosen;
        }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.server.close()
    }
}
