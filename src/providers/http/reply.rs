//! What an answer says, and what it means with every vendor.

use std::{cell::OnceCell, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use super::{Answer, ApiClient, Purpose, pause};
use crate::{
    meta::Reason,
    providers::{
        Blocker, Outgoing,
        refusal::{Refusal, Scope},
        sanitize,
        verdict::{NotTaken, Taken},
    },
};

/// Headers other than `Retry-After` that say when a limit resets: those of SendGrid and Mailgun, of Brevo, of the IETF's drafts, and
/// of services written in .NET.
const RESETS: &[&str] = &["x-ratelimit-reset", "x-sib-ratelimit-reset", "ratelimit-reset", "x-rate-limit-reset"];
/// Headers with a pause in milliseconds: of AWS, and of others.
const MILLIS: &[&str] = &["x-amz-retry-after", "retry-after-ms"];

/// An answer, ready to be judged.
#[derive(Debug)]
pub struct Reply<'a> {
    answer: &'a Answer,
    /// The body; null when it is not JSON.
    pub json: Value,
    said: &'static [&'static str],
    api: &'a ApiClient,
    purpose: Purpose,
    words: OnceCell<String>,
}

impl<'a> Reply<'a> {
    pub(super) fn new(answer: &'a Answer, json: Value, said: &'static [&'static str], api: &'a ApiClient, purpose: Purpose) -> Self {
        Self { answer, json, said, api, purpose, words: OnceCell::new() }
    }

    #[must_use]
    pub fn status(&self) -> u16 {
        self.answer.status
    }

    /// The value of a header, where it is ASCII.
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

    /// The vendor's own words, or the start of the body when it is plain text; on one line, without our secrets.
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

    /// Whether the vendor's words contain this, ignoring case.
    #[must_use]
    pub fn mentions(&self, words: &str) -> bool {
        self.words().to_ascii_lowercase().contains(&words.to_ascii_lowercase())
    }

    /// Whether they contain one of these.
    #[must_use]
    pub fn mentions_any(&self, words: &[&str]) -> bool {
        words.iter().any(|words| self.mentions(words))
    }

    /// Whether they name the recipient, where it is the only one of the call and is not the sender as well.
    #[must_use]
    pub fn names_recipient(&self, asked: &[&Outgoing]) -> bool {
        let [only] = asked else { return false };
        let (words, address) = (self.words().to_lowercase(), only.rcpt_to.to_lowercase());
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '+' | '@');
        let is_alone = |at: usize| {
            let (before, after) = (&words[..at], &words[at + address.len()..]);
            let mut after = after.chars();
            // A full stop ends a sentence, or continues a name.
            let goes_on = match after.next() {
                Some('.') => after.next().is_some_and(is_part),
                next => next.is_some_and(is_part),
            };
            !goes_on && !before.ends_with(|c: char| is_part(c) || c == '.')
        };
        !only.rcpt_to.eq_ignore_ascii_case(&only.mail_from) && words.match_indices(&address).any(|(at, _)| is_alone(at))
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

    /// Whether the body arrived completely.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.answer.is_whole
    }

    /// Whether there is no body.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.answer.body.is_empty()
    }

    /// A message that was taken, named by the text in the body at this JSON pointer; none where that
    /// is missing.
    #[must_use]
    pub fn taken_as(&self, pointer: &str) -> Option<Taken> {
        self.taken_under(self.json.pointer(pointer)?.as_str()?)
    }

    /// The same with a name from elsewhere.
    #[must_use]
    pub fn taken_under(&self, id: &str) -> Option<Taken> {
        Taken::named(self.status(), id, &self.shown(id))
    }

    /// The message is refused.
    #[must_use]
    pub fn refuse(&self, scope: Scope) -> NotTaken {
        NotTaken::Refused(Refusal::permanent(scope, self.kept()))
    }

    /// The From address, or another sender field of the campaign, is refused.
    #[must_use]
    pub fn refuse_sender(&self, to_do: &str) -> NotTaken {
        let cause = self.fail(Reason::SenderRefused, to_do).for_person();
        NotTaken::Refused(Refusal::permanent(Scope::Sender, self.kept()).because(cause))
    }

    /// The content is refused.
    #[must_use]
    pub fn refuse_content(&self, to_do: &str) -> NotTaken {
        let cause = self.fail(Reason::ContentRefused, to_do);
        NotTaken::Refused(Refusal::permanent(Scope::Content, self.kept()).because(cause))
    }

    /// The server failed, and may recover by itself.
    #[must_use]
    pub fn failed(&self, reason: Reason, to_do: &str) -> Option<NotTaken> {
        Some(NotTaken::Failed(self.fail(reason, to_do)))
    }

    /// The server failed, and only a person can fix it.
    #[must_use]
    pub fn failed_for_person(&self, reason: Reason, to_do: &str) -> Option<NotTaken> {
        Some(NotTaken::Failed(self.fail(reason, to_do).for_person()))
    }

    /// How long the vendor asks us to wait, by a header or in its words; a day at most.
    #[must_use]
    pub fn pause(&self) -> Option<Duration> {
        let now = Timestamp::now();
        let asked = self.header("retry-after").and_then(|value| pause::of_retry_after(value, now));
        let asked = asked.or_else(|| MILLIS.iter().find_map(|name| pause::of_millis(self.header(name)?)));
        // Vendors send it with every answer: it matters where a limit is the cause.
        let reset = || RESETS.iter().find_map(|name| pause::of_reset(self.header(name)?, now)).filter(|_| self.status() != 503);
        asked.or_else(|| pause::in_words(self.words(), now)).or_else(reset)
    }

    /// A failure of the server, with the vendor's words and what to do.
    #[must_use]
    pub fn fail(&self, reason: Reason, to_do: &str) -> Blocker {
        self.fail_saying(&self.kept(), reason, to_do)
    }

    /// The same with one of several words of the vendor.
    #[must_use]
    pub fn fail_saying(&self, said: &str, reason: Reason, to_do: &str) -> Blocker {
        let failure = self.fail_with(reason, &format!("the vendor answered `{}`", sanitize::stable(said)), to_do);
        if failure.is_pause() || matches!(self.status(), 429 | 503) { failure.after(self.pause()) } else { failure }
    }

    /// The same with other words on what went wrong.
    #[must_use]
    pub fn fail_with(&self, reason: Reason, what: &str, to_do: &str) -> Blocker {
        self.api.fail(self.purpose, reason, what, to_do)
    }

    /// Words of the vendor, made safe to show: on one line, without our secrets.
    #[must_use]
    pub fn shown(&self, words: &str) -> String {
        self.api.shown(words)
    }

    /// The same for a condition's message: identical on every attempt.
    #[must_use]
    pub fn stable(&self, words: &str) -> String {
        sanitize::stable(&self.shown(words))
    }

    /// The failure that a status means with every vendor; none for those whose meaning depends on the vendor. `permission` is what the
    /// key needs.
    #[must_use]
    pub fn usual_failure(&self, permission: &str) -> Option<Blocker> {
        let mentions = |words: &[&str]| words.iter().any(|word| self.mentions(word));
        Some(match self.status() {
            300..=399 => {
                self.fail(Reason::ProtocolError, "It redirects, and credentials are not sent on: check the endpoint.").for_person()
            }
            401..=403 if mentions(&["suspended", "deactivated", "disabled", "terminated", "banned", "under review"]) => {
                self.fail(Reason::AccountSuspended, "Ask the vendor why the account may not send.").for_person()
            }
            402 => self.fail(Reason::QuotaExceeded, "Pay or raise the limit at the vendor, or wait."),
            401 | 403 if mentions(&["credits", "quota", "limit exceeded"]) => {
                self.fail(Reason::QuotaExceeded, "Raise the limit at the vendor, or wait.")
            }
            401 => self.fail(Reason::AuthenticationFailed, "Correct the key in the Secret; it may have been revoked.").for_person(),
            403 => self.fail(Reason::PermissionDenied, &format!("Give the key {permission}.")).for_person(),
            404 | 405 => self.fail(Reason::NotFoundAtVendor, "Check region and endpoint.").for_person(),
            429 => self.fail(Reason::Throttled, "Lower limits.rates or limits.connections."),
            408 | 500..=599 => self.fail(Reason::ServiceNotAvailable, "It is retried; if this lasts, check the vendor's status page."),
            _ => return None,
        })
    }
}
