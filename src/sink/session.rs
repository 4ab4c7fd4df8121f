//! One SMTP conversation without a socket: bytes in, replies and log lines out.
//!
//! Everything that one read brought is processed at once, so that pipelined messages cost one write. Bodies are skipped in place;
//! only the header is copied, and only when there is a log.

use std::{io::Write, sync::atomic::Ordering};

use super::{Behaviour, Shared};

/// The longest command line, far above RFC 5321's 512 for long addresses and parameters.
const LINE_MAX: usize = 8192;
/// Bytes of a message that are searched for its Message-ID.
const HEADER_MAX: usize = 32 * 1024;
/// Recipients of one message.
const RECIPIENTS_MAX: usize = 1000;
/// The largest message, as offered with SIZE.
const SIZE_MAX: u64 = 64 * 1024 * 1024;
const END_OF_DATA: &[u8] = b"\r\n.\r\n";

/// What a turn of the conversation produced.
#[derive(Default)]
pub(super) struct Output {
    /// Replies for the client.
    pub replies: Vec<u8>,
    /// For the log; empty without one.
    pub log: Vec<u8>,
    /// Messages that were accepted.
    pub messages: u32,
}

/// How the connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// After the replies, in good order.
    Orderly,
    /// At once after the replies.
    Abrupt,
}

#[derive(Clone, Copy)]
enum Phase {
    Command,
    /// After 354. `start`: nothing of the message was consumed yet.
    Data {
        start: bool,
    },
    Chunk(Chunk),
}

/// Within a BDAT chunk (RFC 3030).
#[derive(Clone, Copy)]
struct Chunk {
    /// Bytes that are still to come.
    left: u64,
    /// Whether the message ends with it.
    last: bool,
    /// Whether it belongs to a transaction with a recipient.
    valid: bool,
}

/// A conversation.
pub(super) struct Session {
    phase: Phase,
    has_sender: bool,
    /// The accepted recipients of the message.
    recipients: Vec<Box<[u8]>>,
    /// A chunk of this message has come: only BDAT and RSET may follow (RFC 3030).
    in_chunks: bool,
    /// The beginning of the message, up to the blank line at least.
    header: Vec<u8>,
    /// The bytes of the message so far.
    size: u64,
    /// A reply was held back: whatever followed would answer the wrong command, so nothing is ever answered again.
    pub silent: bool,
    /// The conversation is over.
    pub end: Option<End>,
}

impl Session {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Command,
            has_sender: false,
            recipients: Vec::new(),
            in_chunks: false,
            header: Vec::new(),
            size: 0,
            silent: false,
            end: None,
        }
    }

    /// The greeting, or what comes in its place.
    pub(super) fn greet(&mut self, shared: &Shared, output: &mut Output) {
        if self.may_answer(shared.behaviour(), output) {
            output.replies.extend_from_slice(b"220 localhost ESMTP Mailfleet sink\r\n");
        }
    }

    /// Processes as much of `input` as possible and returns how much that was.
    pub(super) fn feed(&mut self, input: &[u8], shared: &Shared, output: &mut Output) -> usize {
        let mut at = 0;
        while at < input.len() && self.end.is_none() {
            let rest = &input[at..];
            let consumed = match self.phase {
                Phase::Command => self.command(rest, shared, output),
                Phase::Data { start } => self.data(rest, start, shared, output),
                Phase::Chunk(chunk) => self.chunk(rest, chunk, shared, output),
            };
            at += consumed;
            if consumed == 0 {
                break;
            }
            // Without the offer a client waits for each reply: what follows one already is a fault of the client.
            let answered = matches!(self.phase, Phase::Command | Phase::Data { start: true });
            if !shared.options.pipelining && answered && at < input.len() && self.end.is_none() && !self.silent {
                output.replies.extend_from_slice(b"503 5.5.1 Commands came ahead of their replies, and PIPELINING is not offered\r\n");
                self.end = Some(End::Orderly);
            }
        }
        at
    }

    /// Whether a reply may be sent under this behaviour; does what the behaviour asks for instead where not.
    fn may_answer(&mut self, behaviour: Option<Behaviour>, output: &mut Output) -> bool {
        match behaviour {
            _ if self.silent => {}
            Some(Behaviour::Ok) => return true,
            Some(Behaviour::Hang) => self.silent = true,
            Some(Behaviour::Answer421) => {
                output.replies.extend_from_slice(b"421 4.3.2 Service not available, closing the connection\r\n");
                self.end = Some(End::Orderly);
            }
            Some(Behaviour::Close | Behaviour::Refuse) | None => self.end = Some(End::Abrupt),
        }
        false
    }

    fn command(&mut self, input: &[u8], shared: &Shared, output: &mut Output) -> usize {
        let Some(line_feed) = memchr::memchr(b'\n', &input[..input.len().min(LINE_MAX)]) else {
            if input.len() >= LINE_MAX {
                output.replies.extend_from_slice(b"500 5.5.2 Line too long\r\n");
                self.end = Some(End::Orderly);
            }
            return 0;
        };
        let line = input[..line_feed].strip_suffix(b"\r").unwrap_or(&input[..line_feed]);
        let consumed = line_feed + 1;
        let verb_len = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
        let (verb, argument) = line.split_at(verb_len);
        if verb.eq_ignore_ascii_case(b"BDAT") && shared.options.chunking {
            // Its reply comes after the chunk, even when it is a refusal.
            return match self.begin_chunk(argument) {
                // An empty chunk has no byte that could end it.
                Some(chunk) if chunk.left == 0 => self.end_chunk(chunk, shared, output, consumed),
                Some(_) => consumed,
                None => self.refuse_line(output, consumed),
            };
        }
        if !self.may_answer(shared.behaviour(), output) {
            self.follow_in_silence(verb, argument);
            return consumed;
        }
        let mut verb_upper = [0; 4];
        if let (4, Some(verb)) = (verb.len(), verb.get(..4)) {
            verb_upper.copy_from_slice(verb);
            verb_upper.make_ascii_uppercase();
        }
        let reply: &[u8] = match &verb_upper {
            b"MAIL" if self.has_sender => b"503 5.5.1 Nested MAIL command\r\n",
            b"MAIL" if path(argument).is_none() => b"501 5.5.4 Write MAIL FROM:<address>\r\n",
            b"MAIL" => {
                self.has_sender = true;
                b"250 2.1.0 Ok\r\n"
            }
            b"RCPT" => self.recipient(argument, shared, output),
            b"DATA" if self.in_chunks => b"503 5.5.1 DATA after BDAT\r\n",
            b"DATA" if self.recipients.is_empty() => b"554 5.5.1 No valid recipients\r\n",
            b"DATA" => {
                self.phase = Phase::Data { start: true };
                b"354 End data with <CR><LF>.<CR><LF>\r\n"
            }
            b"EHLO" => {
                self.reset();
                b"250-localhost\r\n"
            }
            b"HELO" => {
                self.reset();
                b"250 localhost\r\n"
            }
            b"RSET" => {
                self.reset();
                b"250 2.0.0 Ok\r\n"
            }
            b"NOOP" => b"250 2.0.0 Ok\r\n",
            b"QUIT" => {
                self.end = Some(End::Orderly);
                b"221 2.0.0 Bye\r\n"
            }
            _ => b"502 5.5.2 Command not recognized\r\n",
        };
        output.replies.extend_from_slice(reply);
        if &verb_upper == b"EHLO" {
            extensions(shared, output);
        }
        consumed
    }

    /// Follows the envelope of a client which gets no answers, so that what it sends regardless is counted.
    fn follow_in_silence(&mut self, verb: &[u8], argument: &[u8]) {
        if verb.eq_ignore_ascii_case(b"MAIL") {
            self.reset();
            self.has_sender = true;
        } else if verb.eq_ignore_ascii_case(b"RCPT")
            && let Some(recipient) = path(argument)
        {
            self.add_recipient(recipient);
        } else if verb.eq_ignore_ascii_case(b"RSET") {
            self.reset();
        }
    }

    fn recipient(&mut self, argument: &[u8], shared: &Shared, output: &mut Output) -> &'static [u8] {
        let Some(recipient) = path(argument) else { return b"501 5.5.4 Write RCPT TO:<address>\r\n" };
        if !self.has_sender {
            return b"503 5.5.1 Need MAIL command\r\n";
        }
        if self.recipients.len() >= RECIPIENTS_MAX {
            return b"452 4.5.3 Too many recipients\r\n";
        }
        if let Some(code) = shared.refusal(recipient) {
            // Writing to a Vec cannot fail.
            let _ = write!(output.replies, "{code} {}.1.0 Refused by a rule of the sink\r\n", code / 100);
            return b"";
        }
        self.add_recipient(recipient);
        b"250 2.1.5 Ok\r\n"
    }

    fn add_recipient(&mut self, recipient: &[u8]) {
        if self.recipients.len() < RECIPIENTS_MAX {
            self.recipients.push(recipient.into());
        }
    }

    fn refuse_line(&mut self, output: &mut Output, consumed: usize) -> usize {
        // Nobody can tell where the chunk ends, so nothing behind it can be read.
        if !self.silent {
            output.replies.extend_from_slice(b"501 5.5.4 Write BDAT <size> [LAST]\r\n");
        }
        self.end = Some(End::Orderly);
        consumed
    }

    /// `argument` is what follows BDAT: a size and perhaps LAST.
    fn begin_chunk(&mut self, argument: &[u8]) -> Option<Chunk> {
        let mut words = argument.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let size = words.next().and_then(|word| std::str::from_utf8(word).ok()).and_then(|word| word.parse::<u64>().ok());
        let last = match words.next() {
            None => false,
            Some(word) if word.eq_ignore_ascii_case(b"LAST") => true,
            Some(_) => return None,
        };
        let (left, valid) = (size.filter(|size| *size <= SIZE_MAX)?, !self.recipients.is_empty());
        let chunk = Chunk { left, last, valid };
        self.phase = Phase::Chunk(chunk);
        self.in_chunks = true;
        Some(chunk)
    }

    fn chunk(&mut self, input: &[u8], mut chunk: Chunk, shared: &Shared, output: &mut Output) -> usize {
        let consumed = usize::try_from(chunk.left).unwrap_or(usize::MAX).min(input.len());
        self.keep(&input[..consumed], shared);
        chunk.left -= consumed as u64;
        self.phase = Phase::Chunk(chunk);
        if chunk.left == 0 {
            return self.end_chunk(chunk, shared, output, consumed);
        }
        consumed
    }

    fn end_chunk(&mut self, Chunk { last, valid, .. }: Chunk, shared: &Shared, output: &mut Output, consumed: usize) -> usize {
        self.phase = Phase::Command;
        if valid && last {
            self.end_message(shared, output);
            return consumed;
        }
        if self.may_answer(shared.behaviour(), output) {
            output.replies.extend_from_slice(if valid { b"250 2.0.0 Ok\r\n" } else { b"554 5.5.1 No valid recipients\r\n" });
        }
        if last {
            self.reset();
        }
        consumed
    }

    fn data(&mut self, input: &[u8], start: bool, shared: &Shared, output: &mut Output) -> usize {
        // An empty message ends with the dot alone: the line break before it is that of DATA.
        if start && input.starts_with(&END_OF_DATA[2..]) {
            self.phase = Phase::Command;
            self.end_message(shared, output);
            return END_OF_DATA.len() - 2;
        }
        if start && input.len() < END_OF_DATA.len() - 2 {
            return 0;
        }
        if let Some(at) = memchr::memmem::find(input, END_OF_DATA) {
            self.keep(&input[..at + 2], shared);
            self.phase = Phase::Command;
            self.end_message(shared, output);
            return at + END_OF_DATA.len();
        }
        // What may be the beginning of the end stays in the buffer.
        let consumed = input.len().saturating_sub(END_OF_DATA.len() - 1);
        if consumed > 0 {
            self.keep(&input[..consumed], shared);
            self.phase = Phase::Data { start: false };
        }
        consumed
    }

    /// Takes a part of the message.
    fn keep(&mut self, bytes: &[u8], shared: &Shared) {
        self.size += bytes.len() as u64;
        if shared.log.is_some() && self.header.len() < HEADER_MAX {
            let room = HEADER_MAX - self.header.len();
            self.header.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    /// A message has come whole: it is counted, logged and answered.
    fn end_message(&mut self, shared: &Shared, output: &mut Output) {
        let behaviour = if self.silent { Some(Behaviour::Hang) } else { shared.take() };
        if self.may_answer(behaviour, output) {
            self.log(b"accepted", shared, output);
            output.messages += 1;
            shared.bytes.fetch_add(self.size, Ordering::Relaxed);
            // Writing to a Vec cannot fail.
            let _ = write!(output.replies, "250 2.0.0 Ok: taken as {}\r\n", shared.accepted.load(Ordering::Relaxed));
        } else if self.silent {
            shared.unanswered.fetch_add(1, Ordering::AcqRel);
            self.log(b"unanswered", shared, output);
        }
        self.reset();
    }

    fn log(&self, word: &[u8], shared: &Shared, output: &mut Output) {
        if shared.log.is_none() {
            return;
        }
        let id = message_id(&self.header);
        for recipient in &self.recipients {
            for part in [word, b"\t", recipient.as_ref(), b"\t", id, b"\n"] {
                output.log.extend_from_slice(part);
            }
        }
    }

    fn reset(&mut self) {
        self.has_sender = false;
        self.recipients.clear();
        self.in_chunks = false;
        self.header.clear();
        self.size = 0;
    }
}

fn extensions(shared: &Shared, output: &mut Output) {
    for (offered, line) in [(shared.options.pipelining, &b"250-PIPELINING\r\n"[..]), (shared.options.chunking, b"250-CHUNKING\r\n")] {
        if offered {
            output.replies.extend_from_slice(line);
        }
    }
    // Writing to a Vec cannot fail.
    let _ = write!(output.replies, "250-SIZE {SIZE_MAX}\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n");
}

/// What stands between the angle brackets of `FROM:<...>` or `TO:<...>`.
fn path(argument: &[u8]) -> Option<&[u8]> {
    let open = memchr::memchr(b'<', argument)?;
    let close = memchr::memrchr(b'>', argument)?;
    // A tab or control character would make two fields or lines of one in the log.
    argument.get(open + 1..close).filter(|address| !address.iter().any(u8::is_ascii_control))
}

/// The value of the Message-ID field; empty when there is none.
fn message_id(header: &[u8]) -> &[u8] {
    const NAME: &[u8] = b"message-id:";
    let mut rest = header;
    while let Some(line_feed) = memchr::memchr(b'\n', rest) {
        let line = rest[..line_feed].trim_ascii();
        if line.is_empty() {
            break;
        }
        if line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)) {
            let value = line[NAME.len()..].trim_ascii();
            if !value.is_empty() {
                return value;
            }
            // Folded right after the name.
            let next = &rest[line_feed + 1..];
            return next[..memchr::memchr(b'\n', next).unwrap_or(next.len())].trim_ascii();
        }
        rest = &rest[line_feed + 1..];
    }
    b""
}
