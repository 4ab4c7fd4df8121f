//! A line of the table: what must hold for an answer; and a cause: what all its lines mean.

use std::time::Duration;

use super::words::Words;
use crate::{
    meta::Reason,
    providers::{Answer, Fault, Meaning, Scope, Stage},
};

/// The common meaning of several answers.
#[derive(Clone, Copy, Debug)]
pub struct Cause {
    /// In a few words, for the documentation.
    pub title: &'static str,
    /// What each of them means.
    pub meaning: Meaning,
    /// The answers; any of them matches.
    pub lines: &'static [Line],
}

impl Cause {
    const fn new(title: &'static str, fault: Fault, reason: Reason, advice: &'static str, lines: &'static [Line]) -> Self {
        let meaning = Meaning { fault, reason, advice, needs_person: false, retry_after: None, ends_session: false, takes_none: false };
        Self { title, meaning, lines }
    }

    /// A cause that lies with the server.
    pub(super) const fn server(title: &'static str, reason: Reason, advice: &'static str, lines: &'static [Line]) -> Self {
        Self::new(title, Fault::Server, reason, advice, lines)
    }

    /// A cause that lies with the sender at this server.
    pub(super) const fn sender(title: &'static str, advice: &'static str, lines: &'static [Line]) -> Self {
        Self::new(title, Fault::Refused(Scope::Sender), Reason::SenderRefused, advice, lines).for_person()
    }

    /// A cause that lies with the content at this server.
    pub(super) const fn content(title: &'static str, advice: &'static str, lines: &'static [Line]) -> Self {
        Self::new(title, Fault::Refused(Scope::Content), Reason::ContentRefused, advice, lines).for_person()
    }

    /// A cause that lies with this one message, which the server cannot carry.
    pub(super) const fn message(title: &'static str, lines: &'static [Line]) -> Self {
        let advice = "Another server of the campaign may accept it.";
        Self::new(title, Fault::Refused(Scope::Message), Reason::SendFailed, advice, lines)
    }

    /// A cause that lies with the recipient.
    pub(super) const fn recipient(title: &'static str, lines: &'static [Line]) -> Self {
        let advice = "No server would do better; clean the audience.";
        Self::new(title, Fault::Refused(Scope::Recipient), Reason::SendFailed, advice, lines)
    }

    /// A cause that lies with nobody in particular, though the words are known.
    pub(super) const fn unclear(title: &'static str, reason: Reason, advice: &'static str, lines: &'static [Line]) -> Self {
        Self::new(title, Fault::Refused(Scope::Unclear), reason, advice, lines)
    }

    pub(super) const fn for_person(mut self) -> Self {
        self.meaning.needs_person = true;
        self
    }

    pub(super) const fn after(mut self, seconds: u64) -> Self {
        self.meaning.retry_after = Some(Duration::from_secs(seconds));
        self
    }

    /// The address takes no mail and will not.
    pub(super) const fn gone(mut self) -> Self {
        self.meaning.takes_none = true;
        self
    }

    pub(super) const fn of_session(mut self) -> Self {
        self.meaning.ends_session = true;
        self
    }
}

/// What must hold for an answer, all of it.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// The stages at which it may come; any stage, and a vendor's API, when empty.
    pub stages: &'static [Stage],
    /// SMTP codes, or 4 and 5 for their classes; any when empty.
    pub codes: &'static [u16],
    /// Enhanced codes, as `1.8` for both classes or `5.1.8` for one; any when empty.
    pub enhanced: &'static [&'static str],
    /// Words that must all occur, lowercased, at word boundaries.
    ///
    /// `*` at the end matches the rest of a word, `!` before it forbids it. What has a dot or a slash is looked for in links and host
    /// names as well. `{sender}`, `{recipient}` and `{address}` stand for the sender's, the recipient's and any other address.
    pub words: &'static [&'static str],
    /// Who says so, and where it is documented.
    pub source: &'static str,
}

/// Every stage of SMTP, and not a vendor's API.
pub const SMTP: &[Stage] = &[Stage::Greeting, Stage::Hello, Stage::Login, Stage::Mail, Stage::Recipient, Stage::Content];
/// Setting up a connection.
pub const OPENING: &[Stage] = &[Stage::Greeting, Stage::Hello, Stage::Login];
/// The stages before any message.
pub const CONNECTING: &[Stage] = &[Stage::Greeting, Stage::Hello];
/// MAIL and what follows.
pub const MESSAGE: &[Stage] = &[Stage::Mail, Stage::Recipient, Stage::Content];
/// Stages at which a recipient is judged.
pub const DELIVERY: &[Stage] = &[Stage::Recipient, Stage::Content];
/// MAIL or the content, where size or format is judged.
pub const FORMAT: &[Stage] = &[Stage::Mail, Stage::Recipient, Stage::Content, Stage::Api];

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
