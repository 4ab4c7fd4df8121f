//! A server that is an HTTP API: how a batch becomes calls, and how answers become outcomes.
//!
//! What differs from vendor to vendor is a [`Vendor`], pure: which request, and what an answer means. Here is the I/O.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use ::http::header::AUTHORIZATION;
use bytes::Bytes;
use reqwest::{Request, Url};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};

use super::{
    Blocker, BoxFuture, Carriage, Context, Delivered, Outcome, Outgoing, Probed, Refusal, Scope, Server, envelope,
    http::{self, Answer, ApiClient, Call, NoAnswer, Purpose, Reply},
    owed::{Begun, Owed},
    room::room,
    scrub::Scrubber,
    verdict::{self, Judge, Verdict},
};
use crate::meta::{Duration, Reason, rule::Rule, secret::SecretValue};

/// What differs between vendors. Pure. [`Judge`] says what answers to deliveries mean.
pub trait Vendor: Judge + Send + Sync + 'static {
    /// A message as its call needs it.
    type Item: Send;

    /// Where the vendor's words for people stand in an answer: JSON pointers, joined where there are several.
    const SAID: &'static [&'static str];

    /// Whether the vendor executes a repeated request only once: a request whose answer was lost is then repeated.
    const IS_IDEMPOTENT: bool = false;

    /// A bearer token for the next call, where the vendor's credentials are tokens that expire; never the one that was `refused`. The
    /// client's scrubber knows it.
    ///
    /// # Errors
    /// Why there is none.
    fn token<'a>(&'a self, _refused: Option<&'a SecretValue>, _purpose: Purpose) -> BoxFuture<'a, Result<Option<SecretValue>, Blocker>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Adds the headers of every call, such as the key; a token is added by whoever makes the call.
    fn authorize(&self, call: Call) -> Call {
        call
    }

    /// Signs a request that is complete except for the signature, where the vendor's credentials are keys that sign.
    ///
    /// # Errors
    /// Why it cannot be signed.
    fn sign<'a>(&'a self, _request: &'a mut Request, _body: Option<&'a Bytes>, _purpose: Purpose) -> BoxFuture<'a, Result<(), Blocker>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// A failure without an answer, as the vendor's users need it worded.
    fn unanswered(&self, failure: Blocker) -> Blocker {
        failure
    }

    /// A read that needs the credentials; it sends nothing.
    fn probe(&self) -> Call;

    /// What the answer to the probe says.
    ///
    /// # Errors
    /// When the server cannot send.
    fn judge_probe(&self, reply: &Reply<'_>) -> Result<Probed, Blocker>;

    /// Messages that one call can carry.
    fn batch_max(&self) -> usize {
        1
    }

    /// Bytes that one call can carry, as [`Vendor::size`] counts them.
    fn size_max(&self) -> usize {
        usize::MAX
    }

    /// What a message adds to a call, bytes.
    fn size(&self, _item: &Self::Item) -> usize {
        0
    }

    /// Reads a message.
    ///
    /// # Errors
    /// Why it can never be sent this way, as a reply for the ledger; another server may be able to.
    fn prepare(&self, message: &Outgoing) -> Result<Self::Item, String>;

    /// Whether a message can share a call with another.
    fn fits(&self, _first: &Self::Item, _next: &Self::Item) -> bool {
        true
    }

    /// The request for messages that fit together; one at least.
    fn call(&self, items: &[Self::Item]) -> Call;
}

/// Why an answered probe failed, where nothing is special about the vendor.
#[must_use]
pub fn probe_failure(reply: &Reply<'_>) -> Blocker {
    reply.usual_failure("access to what the probe reads").unwrap_or_else(|| {
        reply.fail(Reason::ProtocolError, "Check the endpoint; the vendor's API may have changed, or something else may be answering.")
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

/// A base URL for people: its host, and the port unless it is the default.
#[must_use]
pub fn address(base: &str) -> String {
    Url::parse(base).map_or_else(|_| base.to_owned(), |url| http::host_and_port(&url))
}

/// A server that is an HTTP API.
pub struct ApiServer<V> {
    vendor: V,
    api: ApiClient,
    connections: Semaphore,
}

impl<V: Vendor> ApiServer<V> {
    /// A server at `base`, without a connection yet; `hidden` is struck out of quotes.
    ///
    /// # Errors
    /// When the base is not a URL that may be called.
    pub fn open(
        vendor: V,
        context: &Context,
        base: &str,
        timeout: Option<Duration>,
        hidden: impl Into<Scrubber>,
    ) -> Result<Arc<dyn Server>, Blocker> {
        Ok(Self::at(vendor, context, ApiClient::new(context, base, timeout, hidden)?))
    }

    /// A server with an API client of its own.
    pub fn at(vendor: V, context: &Context, api: ApiClient) -> Arc<dyn Server> {
        Arc::new(Self { vendor, api, connections: context.permits() })
    }

    /// One call, with a token where one is needed; a refused token is replaced once.
    async fn ask(&self, call: Call, purpose: Purpose) -> Result<Answer, NoAnswer> {
        let call = self.vendor.authorize(call);
        let Some(token) = self.vendor.token(None, purpose).await.map_err(not_sent)? else { return self.exchange(call, purpose).await };
        let with = |token: &SecretValue| {
            let bearer = http::sensitive(&format!("Bearer {}", token.expose_text().unwrap_or_default()));
            bearer.map_or_else(|_| call.clone(), |bearer| call.clone().with(AUTHORIZATION, bearer))
        };
        let answer = self.exchange(with(&token), purpose).await?;
        if answer.status != 401 {
            return Ok(answer);
        }
        match self.vendor.token(Some(&token), purpose).await.map_err(not_sent)? {
            Some(fresh) if fresh != token => self.exchange(with(&fresh), purpose).await,
            _ => Ok(answer),
        }
    }

    async fn exchange(&self, call: Call, purpose: Purpose) -> Result<Answer, NoAnswer> {
        let (mut request, body) = self.api.request(call)?;
        self.vendor.sign(&mut request, body.as_ref(), purpose).await.map_err(not_sent)?;
        let answer = self.api.send(request, body, purpose).await;
        answer.map_err(|lost| NoAnswer { failure: self.vendor.unanswered(lost.failure), ..lost })
    }

    async fn deliver_batch(&self, batch: &mut Batch<V>) {
        let Ok(_permit) = self.connections.acquire().await else { return };
        batch.prepare(&self.vendor);
        while batch.take(&self.vendor) {
            let _room = room(batch.owed.begun().map(|begun| begun.message().size()).sum()).await;
            let call = self.vendor.call(&batch.asked);
            batch.owed.begun_mut().for_each(|begun| begun.is_sent = true);
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
                Err(no_answer) => {
                    let may_be_taken = no_answer.may_have_arrived || is_again;
                    batch.owed.begun_mut().for_each(|begun| begun.is_sent = may_be_taken);
                    return batch.owed.break_off(&no_answer.failure, false);
                }
            };
            let round_trip = Some(asked_at.elapsed());
            let reply = self.api.read(&answer, Purpose::Delivery, V::SAID);
            let asked: Vec<&Outgoing> = batch.owed.begun().map(Begun::message).collect();
            let outcomes = match verdict::judge(&self.vendor, &reply, &asked, is_again) {
                Verdict::All(outcome) => vec![outcome; asked.len()],
                Verdict::Each(outcomes) => outcomes,
                Verdict::Singly => {
                    batch.split();
                    continue;
                }
            };
            let failed = failure_of(&outcomes);
            outcomes.into_iter().for_each(|outcome| batch.owed.settle(outcome, round_trip));
            if let Some(failure) = failed {
                // The next call would fare no better.
                return batch.owed.fail_waiting(&failure);
            }
        }
    }
}

fn not_sent(failure: Blocker) -> NoAnswer {
    NoAnswer { failure, may_have_arrived: false }
}

/// The first failure among outcomes.
fn failure_of(outcomes: &[Outcome]) -> Option<Blocker> {
    outcomes.iter().find_map(|outcome| match outcome {
        Outcome::ServerFailed(failure) | Outcome::Unknown(failure) => Some(failure.clone()),
        _ => None,
    })
}

impl<V: Vendor> Server for ApiServer<V> {
    fn probe(&self) -> BoxFuture<'_, Option<Result<Probed, Blocker>>> {
        Box::pin(async move {
            let answer = match self.ask(self.vendor.probe(), Purpose::Probe).await {
                Ok(answer) => answer,
                Err(no_answer) => return Some(Err(no_answer.failure)),
            };
            Some(self.vendor.judge_probe(&self.api.read(&answer, Purpose::Probe, V::SAID)))
        })
    }

    fn deliver(&self, batch: Vec<Outgoing>, outcomes: mpsc::UnboundedSender<Delivered>) -> BoxFuture<'_, ()> {
        // Made here and not within the future, so that a future that is never polled gives outcomes as well.
        let mut batch = Batch::new(Owed::new(batch, &self.api.endpoint, outcomes));
        Box::pin(async move { self.deliver_batch(&mut batch).await })
    }

    fn carriage(&self) -> Carriage {
        Carriage::batches(self.vendor.batch_max())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        // Connections are shared, and close when they are idle.
        Box::pin(std::future::ready(()))
    }
}

/// The messages of one call of `deliver`, and what the vendor's calls need of each.
struct Batch<V: Vendor> {
    owed: Owed,
    /// Of the messages that wait, in their order.
    items: VecDeque<V::Item>,
    /// Of the messages of the call that is made.
    asked: Vec<V::Item>,
    is_singly: bool,
}

impl<V: Vendor> Batch<V> {
    const fn new(owed: Owed) -> Self {
        Self { owed, items: VecDeque::new(), asked: Vec::new(), is_singly: false }
    }

    /// Reads the messages, and settles those that cannot be sent.
    fn prepare(&mut self, vendor: &V) {
        let refused = |reply| Refusal::permanent(Scope::Message, reply).into();
        while let Some(message) = self.owed.waiting(self.items.len()) {
            match envelope::unsendable(message).map_or_else(|| vendor.prepare(message).map_err(refused), Err) {
                Ok(item) => self.items.push_back(item),
                Err(outcome) => self.owed.refuse(self.items.len(), outcome),
            }
        }
    }

    /// Takes the messages of the next call: the first that waits, and those that can share a call with it. False when none waits.
    fn take(&mut self, vendor: &V) -> bool {
        self.asked.clear();
        let max = if self.is_singly { 1 } else { vendor.batch_max() };
        let (mut at, mut size) = (0, 0);
        while let Some(item) = self.items.get(at) {
            let own = vendor.size(item);
            let is_taken = match self.asked.first() {
                None => true,
                Some(first) => self.asked.len() < max && size + own <= vendor.size_max() && vendor.fits(first, item),
            };
            if is_taken {
                size += own;
                self.asked.extend(self.items.remove(at));
                self.owed.begin(at, ());
            } else {
                at += 1;
            }
        }
        !self.asked.is_empty()
    }

    /// Puts the messages of the call back, to be asked for one by one.
    fn split(&mut self) {
        self.is_singly = true;
        self.owed.put_back();
        while let Some(item) = self.asked.pop() {
            self.items.push_front(item);
        }
    }
}
