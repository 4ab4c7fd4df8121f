//! A server that is an HTTP API: how a batch becomes calls, and how answers become outcomes.
//!
//! What differs from vendor to vendor is a [`Vendor`], pure: which request, and what an answer means. Here is the I/O, and the
//! rule that each message has exactly one end, whatever happens.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use ::http::header::AUTHORIZATION;
use reqwest::Url;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};

use super::{
    BoxFuture, Carriage, Context, Delivered, Failure, Outcome, Outgoing, Probed, Refusal, Scope, Server, envelope,
    http::{self, Answer, Call, Endpoint, NoAnswer, Purpose, Reply},
    scrub::Scrubber,
    verdict::{self, Judge, Verdict},
};
use crate::resources::{Duration as Span, Reason, rule::Rule, secret::SecretValue};

/// What is a vendor's own. Pure. What its answers to deliveries mean is a [`Judge`]'s.
pub trait Vendor: Judge + Send + Sync + 'static {
    /// A message as its call needs it.
    type Item: Send;

    /// Where the vendor's words for people stand in an answer: JSON pointers, joined where there are several.
    const SAID: &'static [&'static str];

    /// Whether the same request, asked again, is taken once only: a lost answer is then asked for again.
    const IS_IDEMPOTENT: bool = false;

    /// A bearer token for the next call, where the vendor's credentials are tokens that end; another one than was `refused`. The
    /// endpoint's scrubber knows it.
    ///
    /// # Errors
    /// Why there is none.
    fn token<'a>(&'a self, _refused: Option<&'a SecretValue>, _purpose: Purpose) -> BoxFuture<'a, Result<Option<SecretValue>, Failure>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// A read that needs the credentials; it sends nothing.
    fn probe(&self) -> Call;

    /// What the answer to the probe says.
    ///
    /// # Errors
    /// When the server could not send.
    fn judge_probe(&self, reply: &Reply<'_>) -> Result<Probed, Failure>;

    /// Messages that one call can carry.
    fn batch_max(&self) -> usize {
        1
    }

    /// Bytes that one call can carry, as [`Vendor::weight`] counts them.
    fn weight_max(&self) -> usize {
        usize::MAX
    }

    /// What a message adds to a call, bytes.
    fn weight(&self, _item: &Self::Item) -> usize {
        0
    }

    /// Reads a message.
    ///
    /// # Errors
    /// Why it can never be sent this way, as a reply for the ledger; another server may send it.
    fn prepare(&self, message: &Outgoing) -> Result<Self::Item, String>;

    /// Whether a message can share a call with another.
    fn fits(&self, _first: &Self::Item, _next: &Self::Item) -> bool {
        true
    }

    /// The request for messages that fit together; one at least.
    fn call(&self, items: &[Self::Item]) -> Call;
}

/// Why a probe that was answered is no good, where nothing is special about the vendor.
#[must_use]
pub fn probe_failure(reply: &Reply<'_>) -> Failure {
    reply.usual_failure("what the probe reads").unwrap_or_else(|| {
        reply.fail(Reason::ProtocolError, "Check the endpoint; the vendor's API may have changed, or something stands in between.")
    })
}

/// The bounds of `timeout`.
pub const TIMEOUT_RULE: Rule = Rule::new(
    "!has(self.timeout) || duration(self.timeout) >= duration('1s') && duration(self.timeout) <= duration('10m')",
    "this must be from 1s to 10m",
)
.at(".timeout");

/// The two regions that several vendors have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Region {
    /// The United States.
    #[default]
    US,
    /// The European Union.
    EU,
}

/// A base URL for people: its host, and the port when it is not the usual one.
#[must_use]
pub fn address(base: &str) -> String {
    Url::parse(base).map_or_else(|_| base.to_owned(), |url| http::place_of(&url))
}

/// A key that no request has had before: a UUID (RFC 9562, version 4).
#[must_use]
pub fn unique() -> String {
    let mut bytes = [0; 16];
    if getrandom::fill(&mut bytes).is_err() {
        // Unique is enough; nothing is kept secret by it.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        bytes = now.to_be_bytes();
    }
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// A server that is an HTTP API.
pub struct ApiServer<V> {
    vendor: V,
    endpoint: Endpoint,
    connections: Semaphore,
}

impl<V: Vendor> ApiServer<V> {
    /// A server at `base`, to which nothing is open yet; `hidden` is struck out of what is quoted.
    ///
    /// # Errors
    /// When the base is no URL that may be called.
    pub fn open(
        vendor: V,
        context: &Context,
        base: &str,
        timeout: Option<Span>,
        hidden: impl Into<Scrubber>,
    ) -> Result<Arc<dyn Server>, Failure> {
        Ok(Self::at(vendor, context, Endpoint::new(context, base, timeout, hidden)?))
    }

    /// A server behind an endpoint of its own.
    pub fn at(vendor: V, context: &Context, endpoint: Endpoint) -> Arc<dyn Server> {
        Arc::new(Self { vendor, endpoint, connections: context.permits() })
    }

    /// One call, with a token where one is needed; one that is refused is replaced once.
    async fn ask(&self, call: Call, purpose: Purpose) -> Result<Answer, NoAnswer> {
        let not_sent = |failure| NoAnswer { failure, may_have_arrived: false };
        let Some(token) = self.vendor.token(None, purpose).await.map_err(not_sent)? else { return self.endpoint.ask(call, purpose).await };
        let with = |token: &SecretValue| {
            let bearer = http::sensitive(&format!("Bearer {}", token.expose_text().unwrap_or_default()));
            bearer.map_or_else(|_| call.clone(), |bearer| call.clone().with(AUTHORIZATION, bearer))
        };
        let answer = self.endpoint.ask(with(&token), purpose).await?;
        if answer.status != 401 {
            return Ok(answer);
        }
        match self.vendor.token(Some(&token), purpose).await.map_err(not_sent)? {
            Some(fresh) if fresh != token => self.endpoint.ask(with(&fresh), purpose).await,
            _ => Ok(answer),
        }
    }

    async fn deliver_batch(&self, batch: &mut Batch<V::Item>) {
        let Ok(_permit) = self.connections.acquire().await else { return };
        batch.prepare(|message| self.vendor.prepare(message));
        while batch.take(&self.vendor) {
            let call = self.vendor.call(&batch.items);
            batch.is_asked = true;
            let mut asked_at = Instant::now();
            let mut answer = self.ask(call.clone(), Purpose::Delivery).await;
            // From here on an earlier request with the same key may have arrived, whatever is known of the last.
            let is_again = V::IS_IDEMPOTENT && answer.as_ref().is_err_and(|no_answer| no_answer.may_have_arrived);
            if is_again {
                asked_at = Instant::now();
                answer = self.ask(call, Purpose::Delivery).await;
            }
            let answer = match answer {
                Ok(answer) => answer,
                Err(no_answer) if no_answer.may_have_arrived || is_again => {
                    batch.settle_all(&Outcome::Unknown(no_answer.failure.clone()), None);
                    return batch.fail_waiting(&no_answer.failure);
                }
                Err(no_answer) => return batch.fail(&no_answer.failure),
            };
            let round_trip = Some(asked_at.elapsed());
            let reply = self.endpoint.read(&answer, Purpose::Delivery, V::SAID);
            // The next call would fare no better after a failure.
            let failed = match verdict::judge(&self.vendor, &reply, &batch.flying, is_again) {
                Verdict::All(outcome) => {
                    let failed = failure_of([&outcome]);
                    batch.settle_all(&outcome, round_trip);
                    failed
                }
                Verdict::Each(outcomes) => {
                    let failed = failure_of(&outcomes);
                    batch.settle_each(outcomes, round_trip);
                    failed
                }
                Verdict::Singly => {
                    batch.split();
                    None
                }
            };
            if let Some(failure) = failed {
                return batch.fail_waiting(&failure);
            }
        }
    }
}

/// The first failure among outcomes.
fn failure_of<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>) -> Option<Failure> {
    outcomes.into_iter().find_map(|outcome| match outcome {
        Outcome::ServerFailed(failure) | Outcome::Unknown(failure) => Some(failure.clone()),
        _ => None,
    })
}

impl<V: Vendor> Server for ApiServer<V> {
    fn probe(&self) -> BoxFuture<'_, Option<Result<Probed, Failure>>> {
        Box::pin(async move {
            let answer = match self.ask(self.vendor.probe(), Purpose::Probe).await {
                Ok(answer) => answer,
                Err(no_answer) => return Some(Err(no_answer.failure)),
            };
            Some(self.vendor.judge_probe(&self.endpoint.read(&answer, Purpose::Probe, V::SAID)))
        })
    }

    fn deliver(&self, batch: Vec<Outgoing>, outcomes: mpsc::UnboundedSender<Delivered>) -> BoxFuture<'_, ()> {
        // Made here and not within the future, so that a future which is never polled gives outcomes as well.
        let mut batch = Batch::new(batch, outcomes);
        Box::pin(async move { self.deliver_batch(&mut batch).await })
    }

    fn carriage(&self) -> Carriage {
        Carriage::batches(self.vendor.batch_max())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        // Connections are shared, and close by themselves when they are idle.
        Box::pin(std::future::ready(()))
    }
}

/// The messages of one call of `deliver`; each has exactly one end.
struct Batch<I> {
    unread: Vec<Outgoing>,
    waiting: VecDeque<(Outgoing, I)>,
    /// The messages of the call that is made, and what it is made of.
    flying: Vec<Outgoing>,
    items: Vec<I>,
    /// Whether the call has begun.
    is_asked: bool,
    is_singly: bool,
    outcomes: mpsc::UnboundedSender<Delivered>,
}

impl<I> Batch<I> {
    fn new(unread: Vec<Outgoing>, outcomes: mpsc::UnboundedSender<Delivered>) -> Self {
        Self { unread, waiting: VecDeque::new(), flying: Vec::new(), items: Vec::new(), is_asked: false, is_singly: false, outcomes }
    }

    fn give(&self, message: Outgoing, outcome: Outcome, round_trip: Option<Duration>) {
        // When nobody listens any more, nobody is left to tell.
        let _ = self.outcomes.send(Delivered { message, outcome, round_trip });
    }

    fn prepare(&mut self, prepare: impl Fn(&Outgoing) -> Result<I, String>) {
        for message in std::mem::take(&mut self.unread) {
            let refused = |reply| Refusal::permanent(Scope::Message, reply).into();
            match envelope::unsendable(&message).map_or_else(|| prepare(&message).map_err(refused), Err) {
                Ok(item) => self.waiting.push_back((message, item)),
                Err(outcome) => self.give(message, outcome, None),
            }
        }
    }

    /// Takes the messages of the next call: the first that waits, and those that fit to it. False when none waits.
    fn take<V: Vendor<Item = I>>(&mut self, vendor: &V) -> bool {
        let max = if self.is_singly { 1 } else { vendor.batch_max() };
        self.is_asked = false;
        let mut weight = 0;
        let mut rest = VecDeque::new();
        for (message, item) in std::mem::take(&mut self.waiting) {
            let own = vendor.weight(&item);
            let is_taken = match self.items.first() {
                None => true,
                Some(first) => self.items.len() < max && weight + own <= vendor.weight_max() && vendor.fits(first, &item),
            };
            if is_taken {
                weight += own;
                self.flying.push(message);
                self.items.push(item);
            } else {
                rest.push_back((message, item));
            }
        }
        self.waiting = rest;
        !self.items.is_empty()
    }

    /// Puts the messages of the call back to be asked for one by one.
    fn split(&mut self) {
        self.is_singly = true;
        let back = std::mem::take(&mut self.flying).into_iter().zip(std::mem::take(&mut self.items));
        for pair in back.collect::<Vec<_>>().into_iter().rev() {
            self.waiting.push_front(pair);
        }
    }

    fn settle_all(&mut self, outcome: &Outcome, round_trip: Option<Duration>) {
        self.items.clear();
        for message in std::mem::take(&mut self.flying) {
            self.give(message, outcome.clone(), round_trip);
        }
    }

    fn settle_each(&mut self, outcomes: Vec<Outcome>, round_trip: Option<Duration>) {
        self.items.clear();
        for (message, outcome) in std::mem::take(&mut self.flying).into_iter().zip(outcomes) {
            self.give(message, outcome, round_trip);
        }
    }

    /// The server failed before it took any of them.
    fn fail(&mut self, failure: &Failure) {
        self.settle_all(&Outcome::ServerFailed(failure.clone()), None);
        self.fail_waiting(failure);
    }

    fn fail_waiting(&mut self, failure: &Failure) {
        for message in std::mem::take(&mut self.unread) {
            self.give(message, Outcome::ServerFailed(failure.clone()), None);
        }
        for (message, _) in std::mem::take(&mut self.waiting) {
            self.give(message, Outcome::ServerFailed(failure.clone()), None);
        }
    }
}

impl<I> Drop for Batch<I> {
    /// A dropped future still owes every message its end.
    fn drop(&mut self) {
        let failure = Failure::new(Reason::Unresponsive, "The delivery was interrupted; messages that were not sent are tried again.");
        let end = if self.is_asked { Outcome::Unknown } else { Outcome::ServerFailed };
        self.settle_all(&end(failure.clone()), None);
        self.fail_waiting(&failure);
    }
}
