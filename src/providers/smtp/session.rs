//! Messages over one connection: the mail transactions of a session (RFC 5321, 3.3). No I/O of its own.
//!
//! `writing` says what is written when, `replies` what each reply means. Replies come in the order of commands, so a queue of
//! what is awaited is all that ties the two together.

mod replies;
mod writing;

use std::{collections::VecDeque, sync::Arc, task::Context, time::Instant};

use super::{
    extensions::{Extensions, Mode},
    line::Line,
};
use crate::meta::Pieces;
use crate::providers::{
    Blocker,
    diagnose::Endpoint,
    gate::{Gate, Pass},
    owed::Owed,
};

/// What is written next.
enum Writer {
    /// The next message, or nothing.
    Idle,
    /// RCPT, once MAIL is answered (plain).
    Recipient,
    /// DATA, once RCPT is answered (plain).
    Data,
    /// Nothing until DATA is answered.
    AwaitsGo,
    /// BDAT, once anything is answered: a connection that was idle for long may be dead.
    Held,
    /// BDAT, or the signature and the content that DATA asked for, once the gate lets it pass.
    Gated(Option<(Arc<[u8]>, Pieces)>),
    /// The rest of a content, which may outlive its message when the server refuses early.
    Content(Pieces, usize),
}

/// What the next reply answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Awaited {
    Reset,
    Mail,
    Recipient,
    Data,
    Content,
}

/// What a session notes of a message that is begun.
#[derive(Default)]
pub struct Flight {
    /// The line's count of bytes at which the message is wholly written; none while its end is not yet gathered.
    end_at: Option<u64>,
    written_at: Option<Instant>,
    /// Its content may be written.
    pass: Option<Pass>,
    is_recipient_accepted: bool,
}

/// Messages over one connection, from when it is taken until it is given back or breaks.
pub struct Session<'a> {
    owed: &'a mut Owed<Flight>,
    /// Where the server is, for people.
    endpoint: &'a Endpoint,
    /// Holds contents back; none where nothing does.
    gate: Option<&'a Arc<Gate>>,
    mode: Mode,
    extensions: Extensions,
    /// Messages that may still be begun on this connection.
    quota: u32,
    writer: Writer,
    awaited: VecDeque<Awaited>,
    /// Why no further message is begun.
    stopped: Option<Blocker>,
    /// Whether the connection is of no more use.
    is_over: bool,
    is_answered: bool,
    /// The connection had been used before.
    is_reused: bool,
    /// Hold back contents until the first answer.
    is_cautious: bool,
    /// The connection has refused recipients or messages for their own sake.
    pub has_refused: bool,
    /// Messages begun over the connection, in all sessions over it.
    begun: u32,
    /// Messages that the connection has taken, in all sessions over it.
    pub taken: u32,
    /// When something was last gathered.
    now: Option<Instant>,
    /// When to ask the gate again.
    gate_opens_at: Option<Instant>,
    /// The connection is used up, after this many messages.
    used_up_at: Option<u32>,
}

impl<'a> Session<'a> {
    /// A session of at most `quota` messages over the line.
    #[must_use]
    pub fn new(
        owed: &'a mut Owed<Flight>,
        endpoint: &'a Endpoint,
        gate: Option<&'a Arc<Gate>>,
        line: &Line,
        quota: u32,
        is_reused: bool,
        is_cautious: bool,
    ) -> Self {
        let (mode, awaited) = (line.extensions.mode(), VecDeque::with_capacity(16));
        let (extensions, writer) = (line.extensions, Writer::Idle);
        Self {
            owed,
            endpoint,
            gate,
            mode,
            extensions,
            quota,
            writer,
            awaited,
            stopped: None,
            is_over: false,
            is_answered: false,
            is_reused,
            is_cautious,
            has_refused: line.has_refused,
            begun: line.messages,
            taken: line.taken,
            now: None,
            gate_opens_at: None,
            used_up_at: None,
        }
    }

    /// Takes over the messages that came while it was under way.
    pub fn take_more(&mut self, cx: &mut Context<'_>) {
        self.owed.take_more(cx);
    }

    /// Whether nothing is left to write or to await.
    #[must_use]
    pub fn is_done(&self, line: &Line) -> bool {
        let has_next = self.owed.waiting(0).is_some() && self.quota > 0 && self.stopped.is_none();
        self.is_over || self.awaited.is_empty() && matches!(self.writer, Writer::Idle) && line.out.is_empty() && !has_next
    }

    /// Whether the connection can be used again.
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        !self.is_over && self.stopped.is_none() && self.used_up_at.is_none()
    }

    /// Whether what was certainly not taken may be retried on a fresh connection: this one died while idle.
    #[must_use]
    pub fn died_idle(&self) -> bool {
        self.is_reused && !self.is_answered
    }

    /// How many messages a connection can carry, where this one was used up before its quota was.
    #[must_use]
    pub fn used_up_at(&self) -> Option<u32> {
        self.used_up_at
    }

    /// Settles what may not be begun any more.
    pub fn close(self) {
        if let Some(failure) = self.stopped {
            self.owed.fail_waiting(&failure);
        }
    }

    /// Settles what is left after the line broke.
    pub fn break_off(self, failure: &Blocker) {
        let retries = self.died_idle() || self.used_up_at.is_some();
        self.owed.break_off(failure, retries);
    }

    /// Notes how much is written.
    pub fn note_written(&mut self, written: u64, now: Instant) {
        // What is not wholly written is at the back.
        for flying in self.owed.begun_mut().rev().take_while(|flying| !flying.is_sent) {
            if flying.note.end_at.is_some_and(|end| end <= written) {
                flying.is_sent = true;
                flying.note.written_at = Some(now);
                if let Some(pass) = flying.note.pass.take() {
                    pass.written(now);
                }
            }
        }
    }

    /// When to ask the gate again; none while nothing is held back.
    #[must_use]
    pub fn gate_opens_at(&self) -> Option<Instant> {
        self.gate_opens_at
    }
}
