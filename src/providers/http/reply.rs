//! What an answer says, and what it means at every vendor.

use std::{cell::OnceCell, time::Duration};

use serde_json::Value;

use super::{Answer, Endpoint, Purpose, pause};
use crate::{
    providers::{Failure, Outcome, quote},
    resources::Reason,
};

/// A message that was taken by an answer of this status, with the vendor's name for it.
#[must_use]
pub fn accepted(status: u16, id: Option<&str>) -> Outcome {
    let id: String = id.map(|id| quote::readable(id).take(200).collect()).unwrap_or_default();
    Outcome::Accepted { reply: format!("{status} {}", if id.is_empty() { "accepted" } else { &id }) }
}

/// An answer, ready to be judged.
#[derive(Debug)]
pub struct Reply<'a> {
    answer: &'a Answer,
    /// The body; null when it is no JSON.
    pub json: Value,
    said: &'static [&'static str],
    endpoint: &'a Endpoint,
    purpose: Purpose,
    words: OnceCell<String>,
}

impl<'a> Reply<'a> {
    pub(super) fn new(answer: &'a Answer, json: Value, said: &'static [&'static str], endpoint: &'a Endpoint, purpose: Purpose) -> Self {
        Self { answer, json, said, endpoint, purpose, words: OnceCell::new() }
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.answer.status
    }

    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.answer.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// A text in the body, by JSON pointer (RFC 6901); numbers as well.
    #[must_use]
    pub fn text(&self, pointer: &str) -> Option<String> {
        match self.json.pointer(pointer)? {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// The vendor's own words, or the start of the body when it is plain text; in one line, without our secrets.
    #[must_use]
    pub fn words(&self) -> &str {
        self.words.get_or_init(|| {
            let own = self.said.iter().filter_map(|pointer| self.text(pointer)).collect::<Vec<_>>().join(": ");
            let body = || match std::str::from_utf8(&self.answer.body) {
                Ok(text) if self.json.is_null() && !text.trim_start().starts_with('<') => text.trim(),
                _ => "",
            };
            self.shown(if own.is_empty() { body() } else { &own })
        })
    }

    /// Whether the vendor's words hold this, whatever the case.
    #[must_use]
    pub fn mentions(&self, words: &str) -> bool {
        self.words().to_ascii_lowercase().contains(&words.to_ascii_lowercase())
    }

    /// Status and words, as the ledger keeps them: `422 Inactive recipient`.
    #[must_use]
    pub fn kept(&self) -> String {
        let words = self.words();
        if words.is_empty() {
            let name = http::StatusCode::from_u16(self.status()).ok().and_then(|status| status.canonical_reason()).unwrap_or_default();
            return format!("{} {name}", self.status()).trim_end().to_owned();
        }
        format!("{} {words}", self.status())
    }

    /// A message that was taken, with the vendor's name for it.
    #[must_use]
    pub fn accepted(&self, id: Option<String>) -> Outcome {
        accepted(self.status(), id.as_deref())
    }

    /// How long the vendor asks us to wait (RFC 9110, 10.2.3), a day at most; dates are not read.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.header("retry-after")?.trim().parse().ok().map(pause)
    }

    /// A failure of the server, with the vendor's words and what to do.
    #[must_use]
    pub fn fail(&self, reason: Reason, to_do: &str) -> Failure {
        let what = format!("the vendor answered `{}`", quote::stable(&self.kept()));
        let failure = self.fail_with(reason, &what, to_do);
        if failure.is_pause() { failure.after(self.retry_after()) } else { failure }
    }

    /// The same with other words on what went wrong.
    #[must_use]
    pub fn fail_with(&self, reason: Reason, what: &str, to_do: &str) -> Failure {
        self.endpoint.fail(self.purpose, reason, what, to_do)
    }

    /// Words of the vendor as they may be shown: in one line, without our secrets.
    #[must_use]
    pub fn shown(&self, words: &str) -> String {
        self.endpoint.shown(words)
    }

    /// The same for a condition's message, the same on every try.
    #[must_use]
    pub fn stable(&self, words: &str) -> String {
        quote::stable(&self.shown(words))
    }

    /// The failure that a status means at every vendor; none for those whose meaning is the vendor's. `permission` is what the
    /// key needs.
    #[must_use]
    pub fn usual_failure(&self, permission: &str) -> Option<Failure> {
        let mentions = |words: &[&str]| words.iter().any(|word| self.mentions(word));
        Some(match self.status() {
            300..=399 => {
                self.fail(Reason::ProtocolError, "It redirects, which is not followed with credentials: check the endpoint.").for_person()
            }
            401..=403 if mentions(&["suspended", "deactivated", "disabled", "terminated", "banned", "under review"]) => {
                self.fail(Reason::AccountSuspended, "Ask the vendor why the account may not send.").for_person()
            }
            402 => self.fail(Reason::QuotaExceeded, "Pay or raise the limit at the vendor, or wait."),
            401 | 403 if mentions(&["credits", "quota", "limit exceeded"]) => {
                self.fail(Reason::QuotaExceeded, "Raise the limit at the vendor, or wait.")
            }
            401 => self.fail(Reason::AuthenticationFailed, "Put the key in the Secret right; it may have been revoked.").for_person(),
            403 => self.fail(Reason::PermissionDenied, &format!("Give the key {permission}.")).for_person(),
            404 | 405 => self.fail(Reason::NotFoundAtVendor, "Check region and endpoint.").for_person(),
            429 => self.fail(Reason::Throttled, "Lower limits.rates or limits.connections."),
            408 | 500..=599 => {
                self.fail(Reason::ServiceNotAvailable, "It is tried again; if this lasts, look at the vendor's status page.")
            }
            _ => return None,
        })
    }

    /// What a status of 500 and above means for a message: the vendor's own refusal, or, from a gateway in between, nothing
    /// that is certain.
    #[must_use]
    pub fn is_uncertain(&self) -> bool {
        match self.status() {
            503 => false,
            500 => self.json.is_null(),
            501..=599 => true,
            _ => false,
        }
    }
}
