//! A batch's way over one connection: what is written when, and what each reply means. No I/O of its own.
//!
//! Replies come in the order of commands, so a queue of what is awaited is all that ties them together.

use std::{collections::VecDeque, sync::Arc, task::Context, time::Instant};

use super::{
    batch::{Batch, Flying},
    extensions::{Extensions, Mode},
    line::Line,
    reply::{Garbage, Reply},
    verdict::{self, Verdict},
    write::{write_dot_stuffed, write_mail, write_number},
};
use crate::providers::{Failure, Outcome};

/// Bytes that are gathered before they are written.
const OUT_BYTES_MAX: usize = 64 * 1024;

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
    /// BDAT, or the content that DATA asked for, once the gate lets it pass.
    Gated(Option<Arc<[u8]>>),
    /// The rest of a content, which may outlive its message when the server refuses early.
    Content(Arc<[u8]>, usize),
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

/// A batch's way over one connection.
pub struct Passage<'a> {
    batch: &'a mut Batch,
    mode: Mode,
    extensions: Extensions,
    /// Messages that may still be begun on this connection.
    quota: u32,
    writer: Writer,
    awaited: VecDeque<Awaited>,
    /// Why no further message is begun.
    stopped: Option<Failure>,
    /// Whether the connection is of no more use.
    is_over: bool,
    is_answered: bool,
    /// The connection had been used before.
    is_reused: bool,
    /// Hold back contents until the first answer.
    is_cautious: bool,
    /// The connection has refused recipients or messages of their own account.
    pub has_refused: bool,
    /// Messages begun over the connection, in all passages.
    begun: u32,
    /// Messages that the connection has taken, in all passages.
    pub taken: u32,
    /// When something was last gathered.
    now: Option<Instant>,
    /// When to ask the gate again.
    gate_opens_at: Option<Instant>,
    /// The connection is used up, and took so many messages before it was.
    used_up_at: Option<u32>,
}

impl<'a> Passage<'a> {
    /// A passage of at most `quota` messages over the line.
    #[must_use]
    pub fn new(batch: &'a mut Batch, line: &Line, quota: u32, is_reused: bool, is_cautious: bool) -> Self {
        (batch.written, batch.marked) = (line.written, 0);
        let (mode, awaited) = (line.extensions.mode(), VecDeque::with_capacity(16));
        let (extensions, writer) = (line.extensions, Writer::Idle);
        Self {
            batch,
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
        self.batch.take_more(cx);
    }

    /// Whether nothing is left to write or to await.
    #[must_use]
    pub fn is_done(&self, line: &Line) -> bool {
        let has_next = !self.batch.waiting.is_empty() && self.quota > 0 && self.stopped.is_none();
        self.is_over || self.awaited.is_empty() && matches!(self.writer, Writer::Idle) && line.out.is_empty() && !has_next
    }

    /// Whether the connection can be used again.
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        !self.is_over && self.stopped.is_none() && self.used_up_at.is_none()
    }

    /// Whether what was certainly not taken may be tried on a fresh connection: this one died while it was idle.
    #[must_use]
    pub fn died_idle(&self) -> bool {
        self.is_reused && !self.is_answered
    }

    /// How many messages a connection can carry, where this one was used up before its quota was.
    #[must_use]
    pub fn used_up_at(&self) -> Option<u32> {
        self.used_up_at
    }

    /// Ends what may not be begun any more.
    pub fn close(self) {
        if let Some(failure) = self.stopped {
            self.batch.fail_waiting(&failure);
        }
    }

    /// The line broke.
    pub fn break_off(self, failure: &Failure) {
        let retries = self.died_idle() || self.used_up_at.is_some();
        self.batch.break_off(failure, retries);
    }

    /// Notes how much is written.
    pub fn note_written(&mut self, written: u64, now: Instant) {
        self.batch.written = written;
        while let Some(flying) = self.batch.flying.get_mut(self.batch.marked)
            && flying.end_at.is_some_and(|end| end <= written)
        {
            flying.written_at = Some(now);
            if let Some(pass) = flying.pass.take() {
                pass.written(now);
            }
            self.batch.marked += 1;
        }
    }

    /// Gathers what can be written now; whether there was anything.
    pub fn gather(&mut self, line: &mut Line, now: Instant) -> bool {
        self.now = Some(now);
        let mut has_gathered = false;
        while line.out.len() < OUT_BYTES_MAX && self.gather_one(line) {
            has_gathered = true;
        }
        has_gathered
    }

    fn gather_one(&mut self, line: &mut Line) -> bool {
        // Plain: one command at a time, and each answer first. The content is begun by DATA's answer.
        if self.mode == Mode::Plain && !self.awaited.is_empty() && !matches!(self.writer, Writer::Content(..) | Writer::Gated(_)) {
            return false;
        }
        match std::mem::replace(&mut self.writer, Writer::Idle) {
            Writer::Idle => self.begin(line),
            Writer::Recipient => {
                self.write_recipient(line);
                self.writer = Writer::Data;
                true
            }
            Writer::Data => {
                line.out.extend_from_slice(b"DATA\r\n");
                self.awaited.push_back(Awaited::Data);
                self.writer = Writer::AwaitsGo;
                true
            }
            Writer::AwaitsGo => {
                self.writer = Writer::AwaitsGo;
                false
            }
            Writer::Held if !self.is_answered => {
                self.writer = Writer::Held;
                false
            }
            Writer::Held => self.write_bdat_when_let(line),
            Writer::Gated(content) if !self.may_pass() => {
                self.writer = Writer::Gated(content);
                false
            }
            Writer::Gated(None) => {
                self.write_bdat(line);
                true
            }
            Writer::Gated(Some(content)) => {
                self.write_content(line, content, 0);
                true
            }
            Writer::Content(content, offset) => {
                self.write_content(line, content, offset);
                true
            }
        }
    }

    /// Begins the next message that can be sent.
    fn begin(&mut self, line: &mut Line) -> bool {
        let is_in_flight = !self.awaited.is_empty();
        // Only the next message's envelope goes with a content, not two.
        if self.stopped.is_some() || self.quota == 0 || self.mode == Mode::Pipelining && self.batch.flying.len() > 1 {
            return false;
        }
        if self.batch.waiting.is_empty() {
            return false;
        }
        // After a failed BDAT the server's state is open until RSET (RFC 3030, 2), and what is in flight may yet fail.
        if line.is_dirty || self.mode == Mode::Chunking && is_in_flight {
            line.out.extend_from_slice(b"RSET\r\n");
            self.awaited.push_back(Awaited::Reset);
            line.is_dirty = false;
            if self.mode == Mode::Plain {
                return true;
            }
        }
        let Some(message) = self.batch.waiting.pop_front() else { return false };
        if let Some(outcome) = verdict::unsendable(&message, &self.extensions) {
            self.batch.give(message, outcome, None);
            return true;
        }
        self.quota -= 1;
        self.begun += 1;
        line.messages += 1;
        write_mail(&mut line.out, &message, &self.extensions);
        self.awaited.push_back(Awaited::Mail);
        self.batch.flying.push_back(Flying {
            message,
            end_at: None,
            written_at: None,
            pass: None,
            is_recipient_accepted: false,
            verdict: None,
            waits_again: false,
        });
        match self.mode {
            Mode::Plain => self.writer = Writer::Recipient,
            Mode::Pipelining => {
                self.write_recipient(line);
                line.out.extend_from_slice(b"DATA\r\n");
                self.awaited.push_back(Awaited::Data);
                self.writer = Writer::AwaitsGo;
            }
            Mode::Chunking => {
                self.write_recipient(line);
                if self.is_cautious && !self.is_answered {
                    self.writer = Writer::Held;
                } else {
                    self.write_bdat_when_let(line);
                }
            }
        }
        true
    }

    fn write_recipient(&mut self, line: &mut Line) {
        if let Some(flying) = self.batch.flying.back() {
            line.out.extend_from_slice(b"RCPT TO:<");
            line.out.extend_from_slice(flying.message.recipient.as_bytes());
            line.out.extend_from_slice(b">\r\n");
            self.awaited.push_back(Awaited::Recipient);
        }
    }

    /// Whether the content of the message that was begun last may be written now.
    fn may_pass(&mut self) -> bool {
        self.gate_opens_at = None;
        let Some(gate) = &self.batch.gate else { return true };
        let Some(now) = self.now else { return false };
        match gate.try_pass(1, now) {
            Ok(pass) => {
                if let Some(flying) = self.batch.flying.back_mut() {
                    flying.pass = Some(pass);
                }
                true
            }
            Err(at) => {
                self.gate_opens_at = Some(at);
                false
            }
        }
    }

    /// When to ask the gate again; none while nothing is held back.
    #[must_use]
    pub fn gate_opens_at(&self) -> Option<Instant> {
        self.gate_opens_at
    }

    fn write_bdat_when_let(&mut self, line: &mut Line) -> bool {
        let may_pass = self.may_pass();
        if may_pass {
            self.write_bdat(line);
        } else {
            self.writer = Writer::Gated(None);
        }
        may_pass
    }

    fn write_bdat(&mut self, line: &mut Line) {
        if let Some(flying) = self.batch.flying.back() {
            let content = Arc::clone(&flying.message.content);
            line.out.extend_from_slice(b"BDAT ");
            write_number(&mut line.out, content.len() as u64);
            line.out.extend_from_slice(b" LAST\r\n");
            self.awaited.push_back(Awaited::Content);
            self.write_content(line, content, 0);
        }
    }

    /// Gathers a piece of the content, and its end when that is reached.
    fn write_content(&mut self, line: &mut Line, content: Arc<[u8]>, offset: usize) {
        let space = OUT_BYTES_MAX.saturating_sub(line.out.len()).max(1);
        let end = content.len().min(offset + space);
        if self.mode == Mode::Chunking {
            line.out.extend_from_slice(&content[offset..end]);
        } else {
            write_dot_stuffed(&mut line.out, &content, offset, end);
        }
        if end < content.len() {
            self.writer = Writer::Content(content, end);
            return;
        }
        if self.mode != Mode::Chunking {
            line.out.extend_from_slice(if content.is_empty() || content.ends_with(b"\r\n") { b".\r\n" } else { b"\r\n.\r\n" });
        }
        self.writer = Writer::Idle;
        let end_at = line.written + (line.out.len() - line.sent) as u64;
        // Refused before its end, the message is no longer there; no other is begun before this point.
        if let Some(flying) = self.batch.flying.back_mut().filter(|flying| flying.end_at.is_none()) {
            flying.end_at = Some(end_at);
        }
    }

    /// Takes the next reply.
    ///
    /// # Errors
    /// When it does not fit what was asked.
    pub fn take(&mut self, reply: Reply<'_>, is_dirty: &mut bool, now: Instant) -> Result<(), Garbage> {
        if reply.code == 421 {
            let (failure, ends_session) = verdict::closing(reply, &self.batch.place);
            // Servers end a session after so many refused recipients (Postfix: smtpd_hard_error_limit, 20). That says nothing
            // of the server, and each session gets further by at least one recipient.
            // The same holds for one that ends a session after so many messages.
            let is_used_up = ends_session && self.use_up();
            let retries = self.died_idle() || (self.has_refused || is_used_up) && self.stopped.is_none();
            self.batch.refuse_all(self.stopped.as_ref().unwrap_or(&failure), retries);
            (self.stopped, self.is_over) = (None, true);
            return Ok(());
        }
        self.is_answered = true;
        let awaited = self.awaited.pop_front().ok_or(Garbage::OutOfTurn)?;
        let is_go = reply.code / 100 == 3;
        if is_go != (awaited == Awaited::Data && !reply.is_permanent() && reply.code / 100 != 4) {
            return Err(Garbage::OutOfTurn);
        }
        *is_dirty |= !reply.is_positive() && !is_go;
        match awaited {
            Awaited::Reset => {}
            Awaited::Mail => {
                if !reply.is_positive()
                    && let Some(front) = self.batch.flying.front()
                {
                    let verdict = verdict::mail(reply, &front.message, &self.batch.place);
                    let outcome = self.judge(verdict);
                    self.refuse_front(outcome, now);
                }
            }
            Awaited::Recipient => {
                if reply.is_positive() {
                    if let Some(front) = self.batch.flying.front_mut() {
                        front.is_recipient_accepted = true;
                    }
                } else if let Some(front) = self.batch.flying.front() {
                    let verdict = verdict::recipient(reply, &front.message, &self.batch.place);
                    let outcome = self.judge(verdict);
                    self.refuse_front(outcome, now);
                }
            }
            Awaited::Data => self.take_go(reply, is_go, now)?,
            Awaited::Content => self.take_end(reply, now)?,
        }
        Ok(())
    }

    /// MAIL or RCPT was refused. What was sent with it is still answered, and only then is the message settled.
    fn refuse_front(&mut self, refusal: Outcome, now: Instant) {
        let Some(front) = self.batch.flying.front_mut() else { return };
        // RCPT after a refused MAIL is refused as a matter of course.
        let verdict = front.verdict.get_or_insert(refusal).clone();
        if !front.waits_again {
            self.stop_for(&verdict);
        }
        if self.mode == Mode::Plain {
            self.writer = Writer::Idle;
            self.batch.settle(verdict, now);
        }
    }

    /// DATA is answered.
    fn take_go(&mut self, reply: Reply<'_>, is_go: bool, now: Instant) -> Result<(), Garbage> {
        let Some(front) = self.batch.flying.front_mut() else { return Err(Garbage::OutOfTurn) };
        self.writer = Writer::Idle;
        if !is_go {
            let outcome = if let Some(outcome) = front.verdict.take() {
                outcome
            } else {
                let verdict = verdict::content(reply, &front.message, &self.batch.place);
                self.judge(verdict)
            };
            self.settle_front(outcome, now);
            return Ok(());
        }
        let content = match front.verdict {
            None => Arc::clone(&front.message.content),
            // The server took a recipient, and would send an empty message.
            Some(_) if front.is_recipient_accepted => return Err(Garbage::OutOfTurn),
            // No recipient was taken, yet content is asked for: an empty one ends it (RFC 2920, 3.1).
            Some(_) => Arc::from([]),
        };
        self.awaited.push_back(Awaited::Content);
        // An empty one ends what the server asked for, and is no message.
        self.writer = if content.is_empty() { Writer::Content(content, 0) } else { Writer::Gated(Some(content)) };
        Ok(())
    }

    /// The content is answered.
    fn take_end(&mut self, reply: Reply<'_>, now: Instant) -> Result<(), Garbage> {
        let Some(front) = self.batch.flying.front_mut() else { return Err(Garbage::OutOfTurn) };
        let is_written = front.end_at.is_some_and(|end| end <= self.batch.written);
        let outcome = match front.verdict.take() {
            // Nobody can have taken a message whose end was not written.
            None if reply.is_positive() && !is_written => return Err(Garbage::OutOfTurn),
            _ if reply.is_positive() && is_written && front.is_recipient_accepted => {
                self.taken += 1;
                front.waits_again = false;
                Outcome::Accepted { reply: reply.kept() }
            }
            Some(outcome) => outcome,
            None => {
                let verdict = verdict::content(reply, &front.message, &self.batch.place);
                self.judge(verdict)
            }
        };
        self.settle_front(outcome, now);
        Ok(())
    }

    fn settle_front(&mut self, outcome: Outcome, now: Instant) {
        if self.batch.flying.front().is_some_and(|front| !front.waits_again) {
            self.stop_for(&outcome);
        }
        self.batch.settle(outcome, now);
    }

    /// The outcome of the message at the front; it waits for a fresh connection if this one is used up.
    fn judge(&mut self, verdict: Verdict) -> Outcome {
        if verdict.ends_session
            && self.use_up()
            && let Some(front) = self.batch.flying.front_mut().filter(|front| front.verdict.is_none())
        {
            front.waits_again = true;
        }
        verdict.outcome
    }

    /// Begins nothing more, if the connection has taken anything: each connection gets further by one message at least.
    fn use_up(&mut self) -> bool {
        if self.taken == 0 {
            return false;
        }
        let before = self.begun.saturating_sub(u32::try_from(self.batch.flying.len()).unwrap_or(u32::MAX));
        self.used_up_at.get_or_insert(before.max(1));
        self.quota = 0;
        true
    }

    fn stop_for(&mut self, outcome: &Outcome) {
        self.has_refused |= matches!(outcome, Outcome::Refused(_));
        if let Outcome::ServerFailed(failure) = outcome {
            self.stopped.get_or_insert_with(|| failure.clone());
        }
    }
}
