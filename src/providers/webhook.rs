//! Vendors' webhooks: calls that tell what became of messages after they were accepted.
//!
//! How a vendor proves that a call is its own, and what the call says, stands in the vendor's own file as a [`Webhook`], which is
//! pure. What must be kept between calls (which were taken, the certificates of SNS) is an [`Endpoint`].
//!
//! - `read`: calls into events; JSON is read as a stream, so that a body takes no more memory than its events.
//! - `bounce`: which bounce says that an address takes no mail.
//! - `secret`: for vendors that sign nothing.
//! - `replay`: calls that were taken.
//! - `certificate`: whose signature it is, for SNS.
//! - `endpoint`: all of it together, and the calls to Amazon.

mod bounce;
mod certificate;
mod endpoint;
pub(crate) mod read;
mod replay;
pub(crate) mod secret;

use http::HeaderMap;

pub use self::{
    bounce::{bounce, replied},
    certificate::{Certificate, Certificates},
    endpoint::{Amazon, Endpoint, Taking, Tally},
    replay::Once,
    secret::SECRET_MIN,
};
use crate::{feedback::Event, meta::secret::SecretValue};

/// Bytes of a body that are read where the vendor sends batches.
pub const BODY_MAX: usize = 5 << 20;
/// Events of one call; vendors send 1,000 at a time, SparkPost up to 10,000.
pub const EVENTS_MAX: usize = 10_000;
/// How far a vendor's clock may be ahead of ours, milliseconds.
pub const AHEAD_MAX_MS: i64 = 5 * 60 * 1000;

/// A call as it arrived.
#[derive(Clone, Copy, Debug)]
pub struct WebhookCall<'a> {
    /// As they came; signatures are in some of them.
    pub headers: &'a HeaderMap,
    /// The part of the path after the server's name, decoded; for vendors that can be given nothing but an address.
    pub path_secret: Option<&'a str>,
    /// The query, as it stands.
    pub query: &'a str,
    /// The body, unchanged.
    pub body: &'a [u8],
    /// Now, milliseconds since 1970.
    pub now_ms: i64,
}

impl<'a> WebhookCall<'a> {
    /// The value of a header, where it is there once and is ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        let mut values = self.headers.get_all(name).iter();
        let first = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(first)
    }
}

/// What a server's webhook is checked by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhookCredentials {
    /// The value that `secretRef` names.
    pub secret: Option<SecretValue>,
    /// The only topic of SNS whose messages are taken.
    pub topic_arn: Option<String>,
    /// The vendor's public key, base64 of DER.
    pub public_key: Option<String>,
}

/// What an authentic call says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// What happened; empty where nothing is said that counts, such as opens and clicks.
    pub events: Vec<Event>,
    /// What makes the call one that is taken once only; absent where the vendor signs nothing.
    pub once: Option<Once>,
    /// The address by which a subscription is confirmed; it has been checked to be Amazon's.
    pub confirm: Option<String>,
}

/// Why a call is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is not proved to be the vendor's: what failed, for the operator's eyes.
    Forged(&'static str),
    /// It is the vendor's, and older than the vendor repeats calls, or from the future.
    Late,
    /// It was taken before.
    Replayed,
    /// It is the vendor's, and cannot be read: what is wrong, for the operator's eyes.
    Unreadable(&'static str),
    /// It cannot be judged yet: it is being taken at this moment, or Amazon does not answer.
    NotNow(&'static str),
    /// It can be judged only with the certificate at this address, which has been checked to be Amazon's.
    NeedsCertificate(String),
}

/// What a vendor's calls mean, for one server. Pure.
pub trait Webhook: Send + Sync {
    /// Bytes of a body that are read.
    fn body_max(&self) -> usize {
        BODY_MAX
    }

    /// Whether events may come in the query of a GET.
    fn takes_get(&self) -> bool {
        false
    }

    /// Checks that a call is the vendor's, and reads it.
    ///
    /// # Errors
    /// Why it is not taken.
    fn receive(&self, call: &WebhookCall<'_>, certificates: &Certificates) -> Result<Received, Refused>;
}

/// Refuses a time of signing that is not within what the vendor may still send.
///
/// # Errors
/// When it is older than `age_max_ms`, or too far ahead.
pub fn check_age(signed_at_ms: i64, now_ms: i64, age_max_ms: i64) -> Result<(), Refused> {
    let age = now_ms.saturating_sub(signed_at_ms);
    if (-AHEAD_MAX_MS..=age_max_ms).contains(&age) { Ok(()) } else { Err(Refused::Late) }
}
