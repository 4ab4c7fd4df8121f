//! What a reply means for the message and for the server: by the table of replies, and by default where it has no line. Pure.

use super::{extensions::Extensions, failure::Endpoint, reply::Reply};
use crate::{
    meta::Reason,
    providers::{Answer, Blocker, Fault, Meaning, Outcome, Outgoing, Refusal, Scope, Stage, envelope, meaning, unknown_of_mail},
};

const NO_LOGIN: &str = "It accepts no mail without a login: set auth.secretRef to a Secret with username and password.";
const LATER: &str = "It is retried; if this lasts, ask the server's operator.";

/// The refusal of a message that cannot be sent to a server with these extensions; none when it can. Another server may have
/// what it needs, and this one is not at fault.
#[must_use]
pub fn unsendable(message: &Outgoing, extensions: &Extensions) -> Option<Outcome> {
    if let Some(outcome) = envelope::unsendable(message) {
        return Some(outcome);
    }
    let lacks = |reply: String| Some(Refusal::permanent(Scope::Message, reply).into());
    if needs_smtputf8(message) && !extensions.has_smtputf8 {
        return lacks("550 5.6.7 not sent: the address needs SMTPUTF8, which the server does not offer".to_owned());
    }
    if message.needs_8bit && !extensions.has_8bitmime {
        return lacks("550 5.6.3 not sent: the content needs 8BITMIME, which the server does not offer".to_owned());
    }
    match extensions.size_max {
        Some(max) if message.size() as u64 > max => {
            lacks(format!("552 5.3.4 not sent: {} bytes, and the server accepts {max} at most", message.size()))
        }
        _ => None,
    }
}

/// Whether the message must be announced with SMTPUTF8 (RFC 6531, 3.4).
#[must_use]
pub fn needs_smtputf8(message: &Outgoing) -> bool {
    message.needs_smtputf8 || !message.rcpt_to.is_ascii() || !message.mail_from.is_ascii()
}

/// What became of a message that was refused.
pub struct Verdict {
    pub outcome: Outcome,
    /// The connection is used up: if it has taken anything, the message may go over a fresh one.
    pub ends_session: bool,
}

/// MAIL was refused: unless the table knows better, that is about the sender.
#[must_use]
pub fn mail(reply: Reply<'_>, message: &Outgoing, endpoint: &Endpoint) -> Verdict {
    let meaning = meaning_of(reply, Stage::Mail, message).unwrap_or_else(|| match reply.code {
        400..=499 => service(Reason::ServiceNotAvailable, LATER),
        500..=504 | 555 => protocol(),
        552 => refused(Scope::Message),
        _ => unknown_of_mail(),
    });
    verdict(reply, "MAIL FROM", meaning, endpoint)
}

/// RCPT was refused: that may be about anything that the server held back until now.
#[must_use]
pub fn recipient(reply: Reply<'_>, message: &Outgoing, endpoint: &Endpoint) -> Verdict {
    let meaning = meaning_of(reply, Stage::Recipient, message).unwrap_or_else(|| match reply.code {
        400..=499 | 552 => refused(Scope::Recipient),
        500 | 502 | 503 => protocol(),
        530 | 534 | 535 | 538 => login(),
        _ => refused(Scope::Unclear),
    });
    verdict(reply, "RCPT TO", meaning, endpoint)
}

/// DATA, BDAT or the content was refused.
#[must_use]
pub fn content(reply: Reply<'_>, message: &Outgoing, endpoint: &Endpoint) -> Verdict {
    let meaning = meaning_of(reply, Stage::Content, message).unwrap_or_else(|| match reply.code {
        400..=499 => refused(Scope::Recipient),
        500..=504 => protocol(),
        530 | 534 | 535 | 538 => login(),
        552 => refused(Scope::Message),
        _ => refused(Scope::Unclear),
    });
    verdict(reply, "the content", meaning, endpoint)
}

/// 421: the server closes the connection, and takes nothing that it has not accepted (RFC 5321, 3.8). Also whether it does so
/// because the connection is used up.
#[must_use]
pub fn closing(reply: Reply<'_>, endpoint: &Endpoint) -> (Blocker, bool) {
    let what = format!("the server closed the session with `{}`", reply.quoted());
    let meaning = of_server(reply, Stage::Greeting).unwrap_or_else(|| service(Reason::ServiceNotAvailable, LATER));
    (failure(&meaning, &what, endpoint), meaning.ends_session)
}

/// The greeting, EHLO or HELO was refused; `step` says which.
#[must_use]
pub fn opening(reply: Reply<'_>, stage: Stage, step: &str, endpoint: &Endpoint) -> Blocker {
    let what = format!("the server answered {step} with `{}`", reply.quoted());
    let meaning = of_server(reply, stage).unwrap_or_else(|| {
        let refuses = "It rejects this machine: check heloName, and whether this machine may connect.";
        service(Reason::ServiceNotAvailable, if reply.is_permanent() { refuses } else { LATER })
    });
    connection(&meaning, &what, endpoint)
}

/// MAIL without a login was refused for want of one, or of TLS; none for any other reply.
#[must_use]
pub fn without_login(reply: Reply<'_>, endpoint: &Endpoint) -> Option<Blocker> {
    let is_wanted =
        |meaning: &Meaning| meaning.needs_person && matches!(meaning.reason, Reason::AuthenticationFailed | Reason::StartTlsRequired);
    // 530 says it, whatever the words: Postfix puts some about the sender before those of its operator.
    let by_code = || (reply.code == 530).then(login);
    let meaning = of_server(reply, Stage::Mail).filter(|_| reply.is_permanent()).filter(is_wanted).or_else(by_code)?;
    let what = format!("the server answered MAIL FROM without a login with `{}`", reply.quoted());
    let advice = if meaning.reason == Reason::AuthenticationFailed { NO_LOGIN } else { meaning.advice };
    Some(endpoint.connection_for_person(meaning.reason, &what, advice))
}

/// What a reply outside of messages means, where it is known and about the server or the account.
#[must_use]
pub fn of_server(reply: Reply<'_>, stage: Stage) -> Option<Meaning> {
    let is_about_it = |fault: Fault| matches!(fault, Fault::Server | Fault::Refused(Scope::Unclear));
    meaning(&answer(&reply, stage, "", "", &words(reply))).filter(|meaning| is_about_it(meaning.fault))
}

/// A connection that could not be set up, for a reason in the table.
#[must_use]
pub fn connection(meaning: &Meaning, what: &str, endpoint: &Endpoint) -> Blocker {
    let failure = endpoint.connection(meaning.reason, what, meaning.advice).after(meaning.retry_after);
    if meaning.needs_person { failure.for_person() } else { failure }
}

fn verdict(reply: Reply<'_>, step: &str, meaning: Meaning, endpoint: &Endpoint) -> Verdict {
    Verdict { outcome: outcome(reply, step, meaning, endpoint), ends_session: meaning.ends_session }
}

fn outcome(reply: Reply<'_>, step: &str, meaning: Meaning, endpoint: &Endpoint) -> Outcome {
    let what = || format!("the server answered {step} with `{}`", reply.quoted());
    let scope = match meaning.fault {
        Fault::Server => return Outcome::ServerFailed(failure(&meaning, &what(), endpoint)),
        Fault::Refused(scope) => scope,
    };
    let refusal = if reply.is_permanent() { Refusal::permanent(scope, reply.kept()) } else { Refusal::transient(scope, reply.kept()) };
    let refusal = refusal.after(meaning.retry_after);
    match scope {
        Scope::Sender | Scope::Content => refusal.because(failure(&meaning, &what(), endpoint)).into(),
        Scope::Recipient | Scope::Message | Scope::Unclear => refusal.into(),
    }
}

fn failure(meaning: &Meaning, what: &str, endpoint: &Endpoint) -> Blocker {
    let failure = endpoint.sending(meaning.reason, what, meaning.advice).after(meaning.retry_after);
    if meaning.needs_person { failure.for_person() } else { failure }
}

fn meaning_of(reply: Reply<'_>, stage: Stage, message: &Outgoing) -> Option<Meaning> {
    meaning(&answer(&reply, stage, &message.mail_from, &message.rcpt_to, &words(reply)))
}

fn words(reply: Reply<'_>) -> String {
    String::from_utf8_lossy(reply.text).replace('\n', " ")
}

fn answer<'a>(reply: &'a Reply<'_>, stage: Stage, sender: &'a str, recipient: &'a str, words: &'a str) -> Answer<'a> {
    Answer { stage, code: reply.code, enhanced: reply.enhanced(), words, sender, recipient }
}

const fn refused(scope: Scope) -> Meaning {
    Meaning {
        fault: Fault::Refused(scope),
        reason: Reason::SendFailed,
        advice: "",
        needs_person: false,
        retry_after: None,
        ends_session: false,
        takes_none: false,
    }
}

const fn service(reason: Reason, advice: &'static str) -> Meaning {
    Meaning { fault: Fault::Server, reason, advice, needs_person: false, retry_after: None, ends_session: false, takes_none: false }
}

const fn protocol() -> Meaning {
    service(Reason::ProtocolError, "The server violates SMTP; ask its operator.")
}

const fn login() -> Meaning {
    Meaning { needs_person: true, ..service(Reason::AuthenticationFailed, "Set auth to a Secret that the server accepts.") }
}
