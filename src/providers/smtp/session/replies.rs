//! What each reply means for its message, and for the connection.

use std::time::Instant;

use super::{Awaited, Mode, Session, Writer};
use crate::meta::Pieces;
use crate::providers::{
    Outcome,
    smtp::{
        reply::{Garbage, Reply},
        verdict::{self, Verdict},
    },
};

impl Session<'_> {
    /// Takes the next reply.
    ///
    /// # Errors
    /// When it does not fit what was asked.
    pub fn take(&mut self, reply: Reply<'_>, is_dirty: &mut bool, now: Instant) -> Result<(), Garbage> {
        if reply.code == 421 {
            let (failure, ends_session) = verdict::closing(reply, self.endpoint);
            // Servers end a session after a number of refused recipients (Postfix: smtpd_hard_error_limit, 20). That says nothing
            // about the server, and each session gets further by at least one recipient.
            // The same holds for one that ends a session after a number of messages.
            let is_used_up = ends_session && self.use_up();
            let retries = self.died_idle() || (self.has_refused || is_used_up) && self.stopped.is_none();
            // It takes nothing that it has not accepted.
            self.owed.begun_mut().for_each(|flying| flying.is_sent = false);
            self.owed.break_off(self.stopped.as_ref().unwrap_or(&failure), retries);
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
                    && let Some(front) = self.owed.first_mut()
                {
                    let verdict = verdict::mail(reply, front.message(), self.endpoint);
                    let outcome = self.judge(verdict);
                    self.refuse_front(outcome, now);
                }
            }
            Awaited::Recipient => {
                if reply.is_positive() {
                    if let Some(front) = self.owed.first_mut() {
                        front.note.is_recipient_accepted = true;
                    }
                } else if let Some(front) = self.owed.first_mut() {
                    let verdict = verdict::recipient(reply, front.message(), self.endpoint);
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
        let Some(front) = self.owed.first_mut() else { return };
        // RCPT after a refused MAIL is refused in any case.
        let verdict = front.decided.get_or_insert(refusal).clone();
        if !front.waits_again {
            self.stop_for(&verdict);
        }
        if self.mode == Mode::Plain {
            self.writer = Writer::Idle;
            self.settle(verdict, now);
        }
    }

    fn take_go(&mut self, reply: Reply<'_>, is_go: bool, now: Instant) -> Result<(), Garbage> {
        let Some(front) = self.owed.first_mut() else { return Err(Garbage::OutOfTurn) };
        self.writer = Writer::Idle;
        if !is_go {
            let outcome = if let Some(outcome) = front.decided.take() {
                outcome
            } else {
                let verdict = verdict::content(reply, front.message(), self.endpoint);
                self.judge(verdict)
            };
            self.settle_front(outcome, now);
            return Ok(());
        }
        self.writer = match front.decided {
            None => {
                let message = front.message();
                let signature = message.signature.as_ref().map(|signature| signature.fields.clone()).unwrap_or_default();
                Writer::Gated(Some((signature, message.content.clone())))
            }
            // The server accepted a recipient, and would send an empty message.
            Some(_) if front.note.is_recipient_accepted => return Err(Garbage::OutOfTurn),
            // No recipient was taken, yet content is asked for: an empty one ends it (RFC 2920, 3.1), and is no message.
            Some(_) => Writer::Content(Pieces::default(), 0),
        };
        self.awaited.push_back(Awaited::Content);
        Ok(())
    }

    /// The content is answered.
    fn take_end(&mut self, reply: Reply<'_>, now: Instant) -> Result<(), Garbage> {
        let Some(front) = self.owed.first_mut() else { return Err(Garbage::OutOfTurn) };
        let is_written = front.is_sent;
        let outcome = match front.decided.take() {
            // A message whose end was not written cannot have been taken.
            None if reply.is_positive() && !is_written => return Err(Garbage::OutOfTurn),
            _ if reply.is_positive() && is_written && front.note.is_recipient_accepted => {
                self.taken += 1;
                front.waits_again = false;
                Outcome::Accepted { reply: reply.kept() }
            }
            Some(outcome) => outcome,
            None => {
                let verdict = verdict::content(reply, front.message(), self.endpoint);
                self.judge(verdict)
            }
        };
        self.settle_front(outcome, now);
        Ok(())
    }

    fn settle_front(&mut self, outcome: Outcome, now: Instant) {
        if self.owed.first_mut().is_some_and(|front| !front.waits_again) {
            self.stop_for(&outcome);
        }
        self.settle(outcome, now);
    }

    fn settle(&mut self, outcome: Outcome, now: Instant) {
        let written_at = self.owed.first_mut().and_then(|front| front.note.written_at);
        self.owed.settle(outcome, written_at.map(|at| now.saturating_duration_since(at)));
    }

    /// The outcome of the message at the front; it waits for a fresh connection if this one is used up.
    fn judge(&mut self, verdict: Verdict) -> Outcome {
        if verdict.ends_session
            && self.use_up()
            && let Some(front) = self.owed.first_mut().filter(|front| front.decided.is_none())
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
        let before = self.begun.saturating_sub(u32::try_from(self.owed.begun().len()).unwrap_or(u32::MAX));
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
