//! A line of the table: what must hold of an answer; and a cause: what all its lines mean.

use std::time::Duration;

use super::words::Words;
use crate::{
    providers::{Answer, Fault, Meaning, Scope, Stage},
    resources::Reason,
};

/// What several answers mean alike.
#[derive(Clone, Copy, Debug)]
pub struct Cause {
    /// In a few words, for the documentation.
    pub title: &'static str,
    /// Whose fault it is.
    pub fault: Fault,
    /// The condition's reason.
    pub reason: Reason,
    /// What to do, as a sentence; it names the cause.
    pub advice: &'static str,
    /// Only a person can fix it.
    pub needs_person: bool,
    /// When to try again, where that is known of all such answers.
    pub retry_after: Option<Duration>,
    /// The connection is used up, and a fresh one may be taken.
    pub ends_session: bool,
    /// The answers; any of them will do.
    pub lines: &'static [Line],
}

impl Cause {
    const fn new(title: &'static str, fault: Fault, reason: Reason, advice: &'static str, lines: &'static [Line]) -> Self {
        Self { title, fault, reason, advice, needs_person: false, retry_after: None, ends_session: false, lines }
    }

    /// Of the server.
    pub(super) const fn server(title: &'static str, reason: Reason, advice: &'static str, lines: &'static [Line]) -> Self {
        Self::new(title, Fault::Server, reason, advice, lines)
    }

    /// Of the sender at this server.
    pub(super) const fn sender(title: &'static str, advice: &'static str, lines: &'static [Line]) -> Self {
        Self::new(title, Fault::Refused(Scope::Sender), Reason::SenderRefused, advice, lines).for_person()
    }

    /// Of the content at this server.
    pub(super) const fn content(title: &'static str, advice: &'static str, lines: &'static [Line]) -> Self {
        Self::new(title, Fault::Refused(Scope::Content), Reason::ContentRefused, advice, lines).for_person()
    }

    /// Of this one message, for which the server is not made.
    pub(super) const fn message(title: &'static str, lines: &'static [Line]) -> Self {
        let advice = "Another server of the campaign may take it.";
        Self::new(title, Fault::Refused(Scope::Message), Reason::SendFailed, advice, lines)
    }

    /// Of the recipient.
    pub(super) const fn recipient(title: &'static str, lines: &'static [Line]) -> Self {
        let advice = "No server would do better; clean the audience.";
        Self::new(title, Fault::Refused(Scope::Recipient), Reason::SendFailed, advice, lines)
    }

    /// Of nobody for sure, though the words are known.
    pub(super) const fn unclear(title: &'static str, reason: Reason, advice: &'static str, lines: &'static [Line]) -> Self {
        Self::new(title, Fault::Refused(Scope::Unclear), reason, advice, lines)
    }

    pub(super) const fn for_person(self) -> Self {
        Self { needs_person: true, ..self }
    }

    pub(super) const fn after(self, seconds: u64) -> Self {
        Self { retry_after: Some(Duration::from_secs(seconds)), ..self }
    }

    pub(super) const fn of_session(self) -> Self {
        Self { ends_session: true, ..self }
    }

    /// What its lines mean.
    #[must_use]
    pub const fn meaning(&self) -> Meaning {
        Meaning {
            fault: self.fault,
            reason: self.reason,
            advice: self.advice,
            needs_person: self.needs_person,
            retry_after: self.retry_after,
            ends_session: self.ends_session,
        }
    }
}

/// What must hold of an answer, all of it.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// When it may come; at any time, and from a vendor's API, when empty.
    pub stages: &'static [Stage],
    /// SMTP codes, or 4 and 5 for their classes; any when empty.
    pub codes: &'static [u16],
    /// Enhanced codes, as `1.8` for both classes or `5.1.8` for one; any when empty.
    pub enhanced: &'static [&'static str],
    /// Words that must all occur, in lower case, at borders of words.
    ///
    /// `*` at the end lets the word go on, `!` before it forbids it. What has a dot or a slash is looked for in links and names of
    /// hosts as well. `{sender}`, `{recipient}` and `{address}` stand for the sender's, the recipient's and any other address.
    pub words: &'static [&'static str],
    /// Who says so, and where that is written.
    pub source: &'static str,
}

/// At every stage of SMTP, and not from a vendor's API.
pub const SMTP: &[Stage] = &[Stage::Greeting, Stage::Hello, Stage::Login, Stage::Mail, Stage::Recipient, Stage::Content];
/// While a connection is set up.
pub const OPENING: &[Stage] = &[Stage::Greeting, Stage::Hello, Stage::Login];
/// Before any message.
pub const CONNECTING: &[Stage] = &[Stage::Greeting, Stage::Hello];
/// MAIL and what follows.
pub const MESSAGE: &[Stage] = &[Stage::Mail, Stage::Recipient, Stage::Content];
/// Where a recipient is judged.
pub const DELIVERY: &[Stage] = &[Stage::Recipient, Stage::Content];
/// MAIL or the content, where a size or form is judged.
pub const LETTER: &[Stage] = &[Stage::Mail, Stage::Recipient, Stage::Content, Stage::Api];

/// A line of words.
pub const fn said(words: &'static [&'static str], source: &'static str) -> Line {
    Line { stages: &[], codes: &[], enhanced: &[], words, source }
}

/// A line of enhanced codes.
pub const fn coded(enhanced: &'static [&'static str], source: &'static str) -> Line {
    Line { stages: SMTP, codes: &[], enhanced, words: &[], source }
}

impl Line {
    pub(super) const fn at(self, stages: &'static [Stage]) -> Self {
        Self { stages, ..self }
    }

    pub(super) const fn with(self, codes: &'static [u16]) -> Self {
        Self { codes, ..self }
    }

    pub(super) const fn and(self, enhanced: &'static [&'static str]) -> Self {
        Self { enhanced, ..self }
    }

    /// Whether the line is about this answer.
    pub(super) fn fits(&self, answer: &Answer<'_>, words: &Words) -> bool {
        let has_class = |class: u16| class == answer.code || class == answer.code / 100;
        (self.stages.is_empty() || self.stages.contains(&answer.stage))
            && (self.codes.is_empty() || self.codes.iter().copied().any(has_class))
            && (self.enhanced.is_empty() || self.enhanced.iter().any(|code| words.has_code(code)))
            && self.words.iter().all(|fragment| match fragment.strip_prefix('!') {
                Some(forbidden) => !words.have(forbidden),
                None => words.have(fragment),
            })
    }
}
