//! A server whose messages are signed (DKIM) when they are handed to it: the keys are the server's, and which server a message goes
//! through is known only now.
//!
//! What is costly is signed on threads of its own ([`pool`]), and the hash of a body that many messages share is made once
//! ([`bodies`]). A message waits in [`Owed`] until it is signed, and then is the server's; it comes back as it came, since another
//! server signs otherwise. What the signature took is part of the round trip: the flight window must know of it.

mod bodies;
mod pool;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::{Instant, SystemTime},
};

use tokio::sync::{mpsc, oneshot};

use super::{
    Along, Blocker, BoxFuture, Carriage, Delivered, Gate, Outcome, Outgoing, Probed, Server, Unsigned, diagnose::Endpoint, owed::Owed,
};
use crate::{
    dkim::{Algorithm, Content, Fields, Signer, key::SigningFailed},
    meta::Reason,
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

/// A key of a server.
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
        let mut at_once = 0;
        while let Some(message) = owed.waiting(queue.0.len()) {
            if at_once == AT_ONCE_MAX {
                return true;
            }
            let (content, keys, fields, bodies) = (message.content.clone(), self.chosen(), self.fields, self.signatory.bodies.clone());
            let is_quick = content.len() <= AT_ONCE_BYTES_MAX && keys.iter().all(|key| key.algorithm() == Algorithm::Ed25519Sha256);
            let begun_at = Instant::now();
            let made = if is_quick {
                at_once += 1;
                Made::Done(sign(&content, &keys, fields, &bodies))
            } else {
                let (sender, receiver) = oneshot::channel();
                self.signatory.pool.run(Box::new(move || {
                    // Where nobody waits for it any more, it is not needed.
                    if !sender.is_closed() {
                        let _ = sender.send(sign(&content, &keys, fields, &bodies));
                    }
                }));
                Made::Waits(receiver)
            };
            queue.0.push_back(Signature { begun_at, made });
        }
        false
    }

    /// The message that waits first, once it is signed; none when no signature is begun.
    fn poll_first(&self, owed: &mut Owed, queue: &mut Queue, cx: &mut Context<'_>) -> Poll<Option<Outgoing>> {
        loop {
            let Some(first) = queue.0.front_mut() else { return Poll::Ready(None) };
            let result = ready!(first.poll(cx));
            let took = first.begun_at.elapsed();
            queue.0.pop_front();
            match result {
                Err(failed) => owed.refuse(0, Outcome::ServerFailed(self.failed(failed))),
                Ok(None) => return Poll::Ready(owed.hand_over()),
                Ok(Some(content)) => {
                    let Some(mut message) = owed.hand_over() else { continue };
                    message.unsigned = Some(Unsigned { content: std::mem::replace(&mut message.content, content), took });
                    return Poll::Ready(Some(message));
                }
            }
        }
    }

    fn failed(&self, failed: SigningFailed) -> Blocker {
        self.endpoint.sending(Reason::SecretInvalid, &failed.to_string(), "Check the keys of identity.dkim, and this machine's memory.")
    }

    /// All messages that wait, once each is signed.
    fn poll_all(&self, owed: &mut Owed, queue: &mut Queue, batch: &mut Batch<'_>, cx: &mut Context<'_>) -> Poll<()> {
        let is_more = self.begin(owed, queue);
        while let Some(message) = ready!(self.poll_first(owed, queue, cx)) {
            batch.messages.push(message);
        }
        if is_more {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
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
            let mut batch = Batch { messages: Vec::new(), endpoint: &self.endpoint, outcomes: &outcomes };
            poll_fn(|cx| self.poll_all(&mut owed, &mut queue, &mut batch, cx)).await;
            let batch = std::mem::take(&mut batch.messages);
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
    let unsigned = message.unsigned.take();
    let begun_at = unsigned.as_ref().and_then(|unsigned| Instant::now().checked_sub(unsigned.took)).unwrap_or_else(Instant::now);
    let signed = unsigned.map(|unsigned| std::mem::replace(&mut message.content, unsigned.content));
    queue.0.push_front(Signature { begun_at, made: Made::Done(Ok(signed)) });
    owed.take_back(message);
}

/// Messages that are signed before the server has them: when this is dropped, they get their outcomes.
struct Batch<'a> {
    messages: Vec<Outgoing>,
    endpoint: &'a Endpoint,
    outcomes: &'a mpsc::UnboundedSender<Delivered>,
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if !self.messages.is_empty() {
            // It gives each its outcome as soon as it is dropped itself.
            drop(Owed::<()>::new(std::mem::take(&mut self.messages), self.endpoint, self.outcomes.clone()));
        }
    }
}

/// The signatures of the messages that wait, in their order, as far as they are begun.
#[derive(Default)]
struct Queue(VecDeque<Signature>);

struct Signature {
    begun_at: Instant,
    made: Made,
}

/// A message with its signature; none where no key fits it.
type SignedContent = Result<Option<Arc<[u8]>>, SigningFailed>;

enum Made {
    Done(SignedContent),
    Waits(oneshot::Receiver<SignedContent>),
}

impl Signature {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<SignedContent> {
        match &mut self.made {
            Made::Done(done) => Poll::Ready(done.clone()),
            Made::Waits(receiver) => Pin::new(receiver).poll(cx).map(|made| made.unwrap_or(Err(SigningFailed))),
        }
    }
}

/// Signs a message with the keys of the longest domain that fits its From address.
fn sign(content: &Arc<[u8]>, keys: &[Arc<Signer>], fields: &Fields, bodies: &Bodies) -> SignedContent {
    let read = Content::read(content);
    let Some(from) = read.from_domain() else { return Ok(None) };
    let domain = keys.iter().filter(|key| key.fits(&from)).map(|key| key.domain()).max_by_key(|domain| domain.len());
    let Some(domain) = domain else { return Ok(None) };
    let hash = bodies.hash(content, read.body);
    let mut covered = read.covered(fields);
    let at_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut head = Vec::with_capacity(1024);
    for key in keys.iter().filter(|key| key.domain() == domain) {
        key.write(&mut covered, &hash, at_s, &mut head)?;
    }
    // Filled in place, so that the message is copied once.
    let mut signed: Arc<[u8]> = std::iter::repeat_n(0, head.len() + content.len()).collect();
    if let Some(signed) = Arc::get_mut(&mut signed) {
        signed[..head.len()].copy_from_slice(&head);
        signed[head.len()..].copy_from_slice(content);
    }
    Ok(Some(signed))
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
