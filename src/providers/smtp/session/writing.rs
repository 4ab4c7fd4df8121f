//! What is written when: commands and contents, as far ahead of the replies as the server's extensions allow.

use std::time::Instant;

use super::{Awaited, Flight, Mode, Session, Writer};
use crate::meta::Pieces;
use crate::providers::smtp::{
    line::Line,
    verdict,
    write::{write_dot_stuffed, write_mail, write_number},
};

/// Bytes that are gathered before they are written.
const OUT_BYTES_MAX: usize = 64 * 1024;

impl Session<'_> {
    /// Gathers what can be written now, and says whether there was anything.
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
            Writer::Gated(asked_for) if !self.may_pass() => {
                self.writer = Writer::Gated(asked_for);
                false
            }
            Writer::Gated(None) => {
                self.write_bdat(line);
                true
            }
            Writer::Gated(Some((signature, content))) => {
                // None of its lines begins with a dot.
                line.out.extend_from_slice(&signature);
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
        if self.stopped.is_some() || self.quota == 0 || self.mode == Mode::Pipelining && self.owed.begun().len() > 1 {
            return false;
        }
        if self.owed.waiting(0).is_none() {
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
        let Some(message) = self.owed.waiting(0) else { return false };
        if let Some(outcome) = verdict::unsendable(message, &self.extensions) {
            self.owed.refuse(0, outcome);
            return true;
        }
        self.quota -= 1;
        self.begun += 1;
        line.messages += 1;
        write_mail(&mut line.out, message, &self.extensions);
        self.awaited.push_back(Awaited::Mail);
        self.owed.begin(0, Flight::default());
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
        if let Some(flying) = self.owed.last_mut() {
            line.out.extend_from_slice(b"RCPT TO:<");
            line.out.extend_from_slice(flying.message().rcpt_to.as_bytes());
            line.out.extend_from_slice(b">\r\n");
            self.awaited.push_back(Awaited::Recipient);
        }
    }

    /// Whether the content of the message that was begun last may be written now.
    fn may_pass(&mut self) -> bool {
        self.gate_opens_at = None;
        let Some(gate) = self.gate else { return true };
        let Some(now) = self.now else { return false };
        match gate.try_pass(1, now) {
            Ok(pass) => {
                if let Some(flying) = self.owed.last_mut() {
                    flying.note.pass = Some(pass);
                }
                true
            }
            Err(at) => {
                self.gate_opens_at = Some(at);
                false
            }
        }
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
        if let Some(flying) = self.owed.last_mut() {
            let message = flying.message();
            let content = message.content.clone();
            line.out.extend_from_slice(b"BDAT ");
            write_number(&mut line.out, message.size() as u64);
            line.out.extend_from_slice(b" LAST\r\n");
            line.out.extend_from_slice(message.signature_fields());
            self.awaited.push_back(Awaited::Content);
            self.write_content(line, content, 0);
        }
    }

    /// Gathers a piece of the content, and its end once that is reached.
    fn write_content(&mut self, line: &mut Line, content: Pieces, offset: usize) {
        let space = OUT_BYTES_MAX.saturating_sub(line.out.len()).max(1);
        let rest = content.at(offset);
        let piece = &rest[..rest.len().min(space)];
        let end = offset + piece.len();
        if self.mode == Mode::Chunking {
            line.out.extend_from_slice(piece);
        } else {
            write_dot_stuffed(&mut line.out, piece, offset == 0 || content.at(offset - 1).first() == Some(&b'\n'));
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
        // A message that was refused before its end is gone; no other is begun before this point.
        if let Some(flying) = self.owed.last_mut().filter(|flying| flying.note.end_at.is_none()) {
            flying.note.end_at = Some(end_at);
        }
    }
}
