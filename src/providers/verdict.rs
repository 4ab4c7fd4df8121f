//! What an answer to a delivery means for its messages, decided here for every vendor's API. Pure.
//!
//! A vendor says what its own words mean, in types that cannot say more than the vendor did:
//! - [`Taken`] is made from a 2xx with the vendor's name for the message, and from nothing else.
//! - [`NotTaken`] is asked for only where it is certain that nothing was taken: a first request that was answered 4xx, and a
//!   500, 501 or 503 in the vendor's own format.
//! - Everything else may have been taken: a page, an empty or truncated answer, a redirect, a gateway's error, and any answer to a
//!   repeated request, since it says nothing about the first.

use std::collections::BTreeSet;

use super::{
    Blocker, Outcome, Outgoing,
    http::Reply,
    refusal::{Answer, Fault, Refusal, Scope, Stage},
    replies::meaning,
    sanitize,
};
use crate::meta::Reason;

/// How a vendor's answers are interpreted.
pub trait Judge {
    /// What the key needs for sending, in words after "Give the key".
    const PERMISSION: &'static str;

    /// What a 2xx says about the messages, in the vendor's documented format; none where it does not have that format.
    fn taken(&self, reply: &Reply<'_>, asked: &[&Outgoing]) -> Option<Word>;

    /// Why messages that were not taken were refused, by the vendor's own codes and words; none where these are unknown.
    fn refused(&self, reply: &Reply<'_>, asked: &[&Outgoing]) -> Option<NotTaken>;

    /// Whether the body is an error in the vendor's own format, and not a page from something in between.
    fn is_own_error(&self, reply: &Reply<'_>) -> bool;

    /// Whether the vendor says that it has already seen the request's idempotency key.
    fn is_duplicate(&self, _reply: &Reply<'_>) -> bool {
        false
    }
}

/// A message that a vendor says it has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The vendor's name for it: no two messages of a call share one.
    id: String,
    /// What the ledger keeps.
    reply: String,
}

impl Taken {
    /// From an answer's status and the vendor's name for the message, as it is and as it may be shown; none when there is no name.
    #[must_use]
    pub fn named(status: u16, id: &str, shown: &str) -> Option<Self> {
        let shown: String = sanitize::readable(shown.trim()).take(200).collect();
        let is_taken = (200..300).contains(&status) && !shown.is_empty();
        is_taken.then(|| Self { id: id.trim().to_owned(), reply: format!("{status} {shown}") })
    }

    /// From a bare 202 without a body, for vendors that document no more than that.
    #[must_use]
    pub fn bare(reply: &Reply<'_>) -> Option<Self> {
        (reply.status() == 202 && reply.is_empty()).then(|| Self { id: String::new(), reply: "202 accepted".to_owned() })
    }

    /// From an answer that names the message by our own id, with any text.
    #[must_use]
    pub fn answered(reply: &Reply<'_>, id: Option<&str>, message: &Outgoing, said: &str) -> Option<Self> {
        let own = message.token.to_string();
        let is_named = id == Some(own.as_str()) && (200..300).contains(&reply.status());
        is_named.then(|| Self { id: own, reply: format!("{} {}", reply.status(), reply.shown(said)).trim_end().to_owned() })
    }
}

/// Why a message was certainly not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// The message is refused, and the server is healthy.
    Refused(Refusal),
    /// The server is at fault.
    Failed(Blocker),
}

impl From<NotTaken> for Outcome {
    fn from(not_taken: NotTaken) -> Self {
        match not_taken {
            NotTaken::Refused(refusal) => refusal.into(),
            NotTaken::Failed(failure) => Self::ServerFailed(failure),
        }
    }
}

/// What an answer says about one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Taken(Taken),
    NotTaken(NotTaken),
    /// It may have been taken.
    Unknown(Blocker),
}

impl From<Said> for Outcome {
    fn from(said: Said) -> Self {
        match said {
            Said::Taken(taken) => Self::Accepted { reply: taken.reply },
            Said::NotTaken(not_taken) => not_taken.into(),
            Said::Unknown(failure) => Self::Unknown(failure),
        }
    }
}

/// What a 2xx says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// All are taken, under one name: for vendors that document no more.
    Together(Taken),
    /// One for each message, in their order.
    Each(Vec<Said>),
}

/// What an answer means for the messages of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The same for all.
    All(Outcome),
    /// One for each, in their order.
    Each(Vec<Outcome>),
    /// One of them may be at fault and none was taken: each gets a call of its own.
    Singly,
}

/// What an answer means. `is_again`: an earlier request with the same key may have arrived, so that only a statement that
/// the messages are taken changes anything.
#[must_use]
pub fn judge<J: Judge>(judge: &J, reply: &Reply<'_>, asked: &[&Outgoing], is_again: bool) -> Verdict {
    let verdict = match reply.status() {
        200..=299 => taken(judge, reply, asked),
        408 | 409 | 499 => uncertain(reply),
        400.. if judge.is_duplicate(reply) => Verdict::All(Outcome::Unknown(reply.fail_with(
            Reason::ConnectionLost,
            &format!("the vendor has seen the request before (`{}`)", sanitize::stable(&reply.kept())),
            "The vendor's log says what became of it.",
        ))),
        400..=499 => refused(judge, reply, asked),
        500 | 501 | 503 if reply.is_whole() && judge.is_own_error(reply) && !speaks_of_gateways(reply) => {
            Verdict::All(Outcome::ServerFailed(broken(judge, reply, asked)))
        }
        _ => uncertain(reply),
    };
    if is_again { only_good_news(verdict, reply) } else { verdict }
}

fn taken<J: Judge>(judge: &J, reply: &Reply<'_>, asked: &[&Outgoing]) -> Verdict {
    // Only a complete answer says what was taken, even where a header says it.
    match judge.taken(reply, asked).filter(|_| reply.is_whole()) {
        Some(Word::Together(taken)) => Verdict::All(Said::Taken(taken).into()),
        Some(Word::Each(said)) if is_each_once(&said, asked.len()) => Verdict::Each(said.into_iter().map(Outcome::from).collect()),
        Some(Word::Each(_)) => Verdict::All(Outcome::Unknown(reply.fail_with(
            Reason::ProtocolError,
            "the answer does not name each message once",
            "The vendor's API may have changed, or something else may be answering.",
        ))),
        None => uncertain(reply),
    }
}

/// Whether there is one for each message, and no two are taken under one name.
fn is_each_once(said: &[Said], count: usize) -> bool {
    let mut names = BTreeSet::new();
    said.len() == count && said.iter().all(|one| if let Said::Taken(taken) = one { names.insert(&taken.id) } else { true })
}

/// An answer that does not tell whether the messages were taken.
fn uncertain(reply: &Reply<'_>) -> Verdict {
    let failure = match reply.status() {
        200..=299 => reply.fail_with(
            Reason::ProtocolError,
            &format!("the answer did not come from the vendor (`{}`)", sanitize::stable(&reply.kept())),
            "Check the endpoint; something else may be answering.",
        ),
        408 | 499 | 500..=599 => {
            reply.fail(Reason::ServiceNotAvailable, "The vendor's log says whether it was accepted; if this lasts, check its status page.")
        }
        300..=399 => reply.fail(Reason::ProtocolError, "It redirects, and credentials are not sent on: check the endpoint.").for_person(),
        _ => reply.fail(Reason::ProtocolError, "The vendor's log says whether it was accepted; check the endpoint."),
    };
    Verdict::All(Outcome::Unknown(failure))
}

/// A call that was refused as a whole.
fn refused<J: Judge>(judge: &J, reply: &Reply<'_>, asked: &[&Outgoing]) -> Verdict {
    let not_taken = match reply.status() {
        413 => NotTaken::Refused(Refusal::permanent(Scope::Message, reply.kept())),
        _ => judge.refused(reply, asked).unwrap_or_else(|| fallback(reply, J::PERMISSION, asked)),
    };
    match not_taken {
        // Whether it is about the others too, only one call for each can tell. A call has one sender.
        NotTaken::Refused(refusal) if asked.len() > 1 && refusal.scope != Scope::Sender => Verdict::Singly,
        not_taken => Verdict::All(not_taken.into()),
    }
}

/// The meaning of a refusal without a known vendor code: by the table of known words, then by the status.
fn fallback(reply: &Reply<'_>, permission: &str, asked: &[&Outgoing]) -> NotTaken {
    let kept = || reply.kept();
    let is_of_the_server = matches!(reply.status(), 401 | 402 | 404 | 405 | 429);
    if let Some(known) =
        known(reply, reply.words(), &kept(), asked).filter(|known| !is_of_the_server || matches!(known, NotTaken::Failed(_)))
    {
        return known;
    }
    reply.usual_failure(permission).map_or_else(|| unclear(reply, reply.words(), kept()), NotTaken::Failed)
}

/// What a vendor's words mean by the table that all types share; none where they are not in it. `kept` is what the ledger stores
/// of the refusal. A recipient is refused only where it is the only one of the call.
#[must_use]
pub fn known(reply: &Reply<'_>, words: &str, kept: &str, asked: &[&Outgoing]) -> Option<NotTaken> {
    let (sender, recipient) = match asked {
        [only] => (&*only.mail_from, &*only.rcpt_to),
        [first, ..] => (&*first.mail_from, ""),
        [] => ("", ""),
    };
    let found = meaning(&Answer { stage: Stage::Api, code: 0, enhanced: None, words, sender, recipient })?;
    let failure = || {
        let failure = reply.fail_saying(kept, found.reason, found.advice);
        if found.needs_person { failure.for_person() } else { failure }
    };
    Some(match found.fault {
        Fault::Server => NotTaken::Failed(failure()),
        Fault::Refused(scope @ (Scope::Content | Scope::Sender)) => NotTaken::Refused(Refusal::permanent(scope, kept).because(failure())),
        Fault::Refused(scope) => NotTaken::Refused(Refusal::permanent(scope, kept)),
    })
}

/// A refusal that is in no table. It is not blamed on the recipient: a configuration mistake would be final for every recipient of
/// a campaign.
#[must_use]
pub fn unclear(reply: &Reply<'_>, words: &str, kept: String) -> NotTaken {
    let said = if words.is_empty() { reply.kept() } else { kept.clone() };
    let cause = reply.fail_saying(&said, Reason::SendFailed, "Fix what it names; meanwhile messages go to other servers.");
    NotTaken::Refused(Refusal::permanent(Scope::Unclear, kept).because(cause))
}

/// The vendor's own 5xx error. Whatever else its words say, the server is at fault.
fn broken<J: Judge>(judge: &J, reply: &Reply<'_>, asked: &[&Outgoing]) -> Blocker {
    match judge.refused(reply, asked) {
        Some(NotTaken::Failed(failure)) => failure,
        _ => reply.fail(Reason::ServiceNotAvailable, "It is retried; if this lasts, check the vendor's status page."),
    }
}

/// Whether an error was reported by a part of the vendor in front of another, which may have executed the request.
fn speaks_of_gateways(reply: &Reply<'_>) -> bool {
    ["timeout", "timed out", "time-out", "upstream", "gateway"].iter().any(|word| reply.mentions(word))
}

/// What remains of a verdict when an earlier request may have arrived: only that messages are taken.
fn only_good_news(verdict: Verdict, reply: &Reply<'_>) -> Verdict {
    let unknown = |outcome: Outcome| match outcome {
        Outcome::Accepted { .. } => outcome,
        Outcome::Unknown(failure) | Outcome::ServerFailed(failure) => Outcome::Unknown(failure),
        Outcome::Refused(_) => first_lost(reply),
    };
    match verdict {
        Verdict::All(outcome) => Verdict::All(unknown(outcome)),
        Verdict::Each(outcomes) => Verdict::Each(outcomes.into_iter().map(unknown).collect()),
        Verdict::Singly => Verdict::All(first_lost(reply)),
    }
}

fn first_lost(reply: &Reply<'_>) -> Outcome {
    Outcome::Unknown(reply.fail_with(
        Reason::ConnectionLost,
        &format!("the first answer was lost, and the repeated request got `{}`", sanitize::stable(&reply.kept())),
        "The vendor's log says whether it was accepted.",
    ))
}
