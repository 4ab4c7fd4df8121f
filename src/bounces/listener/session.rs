//! One conversation in SMTP (RFC 5321) or LMTP (RFC 2033), by its greeting, without a socket: bytes in, replies and mails out. Pure.
//!
//! Only return paths and addresses of links are recipients, so that nothing can be relayed. A mail is answered after its last dot by
//! whoever takes it (`Session::answer`), and nothing that follows is read before that. Only CRLF ends a line of a mail: a lone LF
//! smuggles nothing in.

use std::{borrow::Cow, io::Write as _};

use memchr::memmem;

/// The longest command line, bytes, above the 512 of RFC 5321 (4.5.3.1.4) for parameters and long addresses.
pub const LINE_MAX: usize = 2048;
/// Recipients of one mail, the least that RFC 5321 (4.5.3.1.8) allows.
const RECIPIENTS_MAX: usize = 100;
/// The largest mail, bytes, as offered with SIZE. A bounce holds what was sent.
pub const SIZE_MAX: u64 = 64 * 1024 * 1024;
/// Refused commands of one connection.
const FAULTS_MAX: u32 = 20;
const END: &[u8] = b"\r\n.\r\n";

/// A mail that has come whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedMail {
    /// The envelope sender; empty for the null sender.
    pub sender: String,
    /// The envelope recipients, all of them ours.
    pub recipients: Vec<String>,
    /// Its beginning, as much as is read of a mail, with its dots.
    pub content: Vec<u8>,
}

/// What became of a mail that was handed over, which decides whether the client sends it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What it says is durable, or it says nothing.
    Taken,
    /// It could not be recorded, and is to be sent again.
    NotNow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Smtp,
    Lmtp,
}

#[derive(Debug)]
enum Phase {
    Command,
    Data {
        size: u64,
        content: Vec<u8>,
        tail: Vec<u8>,
    },
    /// A mail waits for its answer.
    Waiting {
        recipients: usize,
    },
    Over,
}

/// A conversation.
pub struct Session {
    host: String,
    keep: usize,
    protocol: Option<Protocol>,
    phase: Phase,
    sender: Option<String>,
    recipients: Vec<String>,
    faults: u32,
    /// What is to be written.
    pub replies: Vec<u8>,
}

impl Session {
    /// A conversation that begins with our greeting. `keep` is how many bytes of a mail are kept.
    #[must_use]
    pub fn new(host: &str, keep: usize) -> Self {
        let replies = format!("220 {host} Mailfleet bounce listener\r\n").into_bytes();
        Self {
            host: host.to_owned(),
            keep,
            protocol: None,
            phase: Phase::Command,
            sender: None,
            recipients: Vec::new(),
            faults: 0,
            replies,
        }
    }

    /// Whether the connection is to be closed once the replies are written.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// Whether a mail is on its way in, or waits for its answer.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        matches!(self.phase, Phase::Data { .. } | Phase::Waiting { .. })
    }

    /// Ends the conversation from our side (RFC 5321, 3.8).
    pub fn end(&mut self, why: &str) {
        let _ = write!(self.replies, "421 4.3.2 {} {why}\r\n", self.host);
        self.phase = Phase::Over;
    }

    /// Answers the mail that came last.
    pub fn answer(&mut self, answer: Answer) {
        let Phase::Waiting { recipients } = self.phase else { return };
        let line: &[u8] = match answer {
            Answer::Taken => b"250 2.0.0 Taken\r\n",
            Answer::NotNow => b"451 4.3.0 It could not be recorded; send it again\r\n",
        };
        // LMTP answers for each recipient (RFC 2033, 4.2).
        let times = if self.protocol == Some(Protocol::Lmtp) { recipients } else { 1 };
        (0..times).for_each(|_| self.replies.extend_from_slice(line));
        self.phase = Phase::Command;
    }

    /// Reads as much of the input as can be, and says how much that was, and the mail that it completed. Nothing is read while a mail
    /// waits for its answer. `is_ours` says whether an address is one that mail comes back to.
    pub fn feed(&mut self, input: &[u8], is_ours: &dyn Fn(&str) -> bool) -> (usize, Option<ReceivedMail>) {
        let mut at = 0;
        while at < input.len() {
            match &self.phase {
                Phase::Command => {
                    let rest = &input[at..];
                    let Some(end) = memchr::memchr(b'\n', &rest[..rest.len().min(LINE_MAX)]) else {
                        if rest.len() >= LINE_MAX {
                            self.replies.extend_from_slice(b"500 5.5.2 Line too long\r\n");
                            self.phase = Phase::Over;
                        }
                        break;
                    };
                    let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
                    at += end + 1;
                    self.command(&String::from_utf8_lossy(line), is_ours);
                }
                Phase::Data { .. } => {
                    let (read, mail) = self.data(&input[at..]);
                    at += read;
                    if mail.is_some() {
                        return (at, mail);
                    }
                }
                Phase::Waiting { .. } | Phase::Over => break,
            }
        }
        (at, None)
    }

    fn command(&mut self, line: &str, is_ours: &dyn Fn(&str) -> bool) {
        let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
        let verb = verb.trim_end().to_ascii_uppercase();
        let reply: Cow<'static, str> = match verb.as_str() {
            "EHLO" | "LHLO" | "HELO" => self.greeted(&verb, argument).into(),
            "MAIL" if self.protocol.is_none() => self.fault("503 5.5.1 Say EHLO or LHLO first"),
            "MAIL" if self.sender.is_some() => self.fault("503 5.5.1 There is a sender already"),
            "MAIL" => match path(argument, "FROM:") {
                Some((_, parameters)) if size(parameters).is_some_and(|size| size > SIZE_MAX) => self.fault("552 5.3.4 Too large"),
                Some((sender, _)) => {
                    self.sender = Some(sender.to_owned());
                    "250 2.1.0 Ok".into()
                }
                None => self.fault("501 5.5.4 Write MAIL FROM:<address>"),
            },
            "RCPT" if self.sender.is_none() => self.fault("503 5.5.1 Say MAIL first"),
            "RCPT" => match path(argument, "TO:") {
                None => self.fault("501 5.5.4 Write RCPT TO:<address>"),
                Some(_) if self.recipients.len() >= RECIPIENTS_MAX => self.fault("452 4.5.3 Too many recipients"),
                Some((recipient, _)) if is_ours(recipient) => {
                    self.recipients.push(recipient.to_owned());
                    "250 2.1.5 Ok".into()
                }
                Some(_) => self.fault("550 5.1.1 Not a return path of ours"),
            },
            "DATA" if self.recipients.is_empty() => self.fault("554 5.5.1 No valid recipients"),
            "DATA" => {
                // The line end of DATA is the first of the mail: an empty one ends at once.
                self.phase = Phase::Data { size: 0, content: Vec::new(), tail: b"\r\n".to_vec() };
                "354 End data with <CR><LF>.<CR><LF>".into()
            }
            "RSET" => {
                self.reset();
                "250 2.0.0 Ok".into()
            }
            "NOOP" => "250 2.0.0 Ok".into(),
            "VRFY" => "252 2.5.0 Cannot verify".into(),
            "QUIT" => {
                self.phase = Phase::Over;
                "221 2.0.0 Bye".into()
            }
            _ => self.fault("502 5.5.1 Not known here"),
        };
        let _ = write!(self.replies, "{reply}\r\n");
        if self.faults >= FAULTS_MAX && !self.is_over() {
            self.end("too many faults");
        }
    }

    fn greeted(&mut self, verb: &str, argument: &str) -> String {
        if argument.trim().is_empty() {
            return self.fault(&format!("501 5.5.4 Write {verb} and your name")).into_owned();
        }
        self.reset();
        self.protocol = Some(if verb == "LHLO" { Protocol::Lmtp } else { Protocol::Smtp });
        let host = &self.host;
        if verb == "HELO" {
            return format!("250 {host}");
        }
        format!("250-{host}\r\n250-PIPELINING\r\n250-SIZE {SIZE_MAX}\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250 SMTPUTF8")
    }

    fn fault(&mut self, reply: &str) -> Cow<'static, str> {
        self.faults += 1;
        Cow::Owned(reply.to_owned())
    }

    fn reset(&mut self) {
        self.sender = None;
        self.recipients.clear();
    }

    /// `tail` are the last bytes that may be the beginning of the end.
    fn data(&mut self, input: &[u8]) -> (usize, Option<ReceivedMail>) {
        let keep = self.keep;
        let Phase::Data { size, content, tail } = &mut self.phase else { return (0, None) };
        let held = tail.len();
        // No more is looked at than is new, and the end may lie across the border.
        let border = input.len().min(END.len());
        tail.extend_from_slice(&input[..border]);
        let (read, is_end) = if let Some(found) = memmem::find(tail, END).filter(|found| found + END.len() > held) {
            let end = found + END.len();
            tail.truncate(end - 3);
            (end - held, true)
        } else if let Some(found) = memmem::find(input, END) {
            tail.truncate(held);
            tail.extend_from_slice(&input[..found + 2]);
            (found + END.len(), true)
        } else {
            tail.truncate(held);
            tail.extend_from_slice(input);
            (input.len(), false)
        };
        let rest = if is_end { Vec::new() } else { tail.split_off(tail.len().saturating_sub(END.len() - 1)) };
        *size += tail.len() as u64;
        let room = (keep + 2).saturating_sub(content.len());
        content.extend_from_slice(&tail[..tail.len().min(room)]);
        *tail = rest;
        let is_too_large = *size > SIZE_MAX;
        if !is_end {
            if is_too_large {
                self.replies.extend_from_slice(b"552 5.3.4 Too large\r\n");
                self.phase = Phase::Over;
            }
            return (read, None);
        }
        let content = unstuffed(content.get(2..).unwrap_or_default());
        let recipients = std::mem::take(&mut self.recipients);
        let sender = self.sender.take().unwrap_or_default();
        self.phase = Phase::Waiting { recipients: recipients.len() };
        (read, Some(ReceivedMail { sender, recipients, content }))
    }
}

/// Without the dot that was put before each line that begins with one (RFC 5321, 4.5.2).
fn unstuffed(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len());
    let mut rest = content.strip_prefix(b".").unwrap_or(content);
    while let Some(at) = memmem::find(rest, b"\r\n.") {
        out.extend_from_slice(&rest[..at + 2]);
        rest = &rest[at + 3..];
    }
    out.extend_from_slice(rest);
    out
}

/// The address of `FROM:<address> PARAMETERS` or `TO:<address>`, and the parameters.
fn path<'a>(argument: &'a str, word: &str) -> Option<(&'a str, &'a str)> {
    let argument = argument.trim_start();
    let is_word = argument.get(..word.len())?.eq_ignore_ascii_case(word);
    let (inner, rest) = argument.get(word.len()..).filter(|_| is_word)?.trim_start().strip_prefix('<')?.split_once('>')?;
    // A source route is ignored (RFC 5321, appendix C).
    let inner = if inner.starts_with('@') { inner.split_once(':').map_or(inner, |(_, address)| address) } else { inner };
    (inner.len() <= 320 && !inner.chars().any(char::is_control)).then_some((inner, rest))
}

/// The size that a client announces (RFC 1870).
fn size(parameters: &str) -> Option<u64> {
    parameters
        .split_whitespace()
        .find_map(|word| word.get(..5).filter(|name| name.eq_ignore_ascii_case("SIZE=")).and_then(|_| word[5..].parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds a conversation in pieces of this size; mails are answered at once. Gives the replies and the mails.
    fn talk(input: &[u8], piece: usize, answer: Answer) -> (String, Vec<ReceivedMail>) {
        let mut session = Session::new("mx.example", 100);
        let (mut mails, mut buffer) = (Vec::new(), Vec::new());
        for part in input.chunks(piece) {
            buffer.extend_from_slice(part);
            loop {
                let (read, mail) = session.feed(&buffer, &|address| address.starts_with("bounce-"));
                buffer.drain(..read);
                let Some(mail) = mail else { break };
                mails.push(mail);
                session.answer(answer);
            }
        }
        (String::from_utf8(session.replies).expect("text"), mails)
    }

    const MAIL: &[u8] = b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<bounce-x@b.example>\r\nRCPT TO:<u@c.example>\r\nDATA\r\n..a\r\nb\r\n..\r\n.c\n.\nd\r\n.\r\nQUIT\r\n";

    #[test]
    fn a_mail_comes_in_whatever_its_pieces() {
        for piece in 1..MAIL.len() {
            let (replies, mails) = talk(MAIL, piece, Answer::Taken);
            let codes: Vec<&str> = replies.lines().filter(|line| line.as_bytes().get(3) == Some(&b' ')).map(|line| &line[..3]).collect();
            assert_eq!(codes, ["220", "250", "250", "250", "550", "354", "250", "221"], "{piece}");
            let content = b".a\r\nb\r\n.\r\nc\n.\nd\r\n".to_vec();
            let mail = ReceivedMail { sender: String::new(), recipients: vec!["bounce-x@b.example".to_owned()], content };
            assert_eq!(mails, [mail], "{piece}");
        }
    }

    #[test]
    fn lmtp_answers_for_each_recipient_and_no_is_said_for_now() {
        let two = b"LHLO a\r\nMAIL FROM:<x@y>\r\nRCPT TO:<bounce-1@b>\r\nRCPT TO:<bOunce-2@b>\r\nRCPT TO:<@r,@s:bounce-3@b>\r\nDATA\r\n.\r\nNOOP\r\n";
        let (replies, mails) = talk(two, 7, Answer::NotNow);
        assert_eq!(mails.len(), 1);
        assert_eq!((mails[0].recipients.len(), mails[0].content.len()), (2, 0));
        let not_now = "451 4.3.0 It could not be recorded; send it again\r\n";
        assert!(replies.ends_with(&format!("{not_now}{not_now}250 2.0.0 Ok\r\n")), "{replies}");
    }

    #[test]
    fn what_is_out_of_order_or_too_much_is_refused() {
        for (input, last) in [
            ("MAIL FROM:<a@b>\r\n", "503"),
            ("EHLO\r\n", "501"),
            ("EHLO a\r\nRCPT TO:<bounce-x@b>\r\n", "503"),
            ("EHLO a\r\nMAIL FROM:a@b\r\n", "501"),
            ("EHLO a\r\nMAIL FROM:<a@b> SIZE=99999999999\r\n", "552"),
            ("EHLO a\r\nMAIL FROM:<a@b>\r\nMAIL FROM:<a@b>\r\n", "503"),
            ("EHLO a\r\nMAIL FROM:<a@b>\r\nDATA\r\n", "554"),
            ("EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<u@b>\r\n", "550"),
            ("EHLO a\r\nMAIL FROM:<a@b>\r\nRSET\r\nRCPT TO:<bounce-x@b>\r\n", "503"),
            ("STARTTLS\r\n", "502"),
            ("EXPN all\r\n", "502"),
            ("VRFY bounce-x@b\r\n", "252"),
        ] {
            let (replies, mails) = talk(input.as_bytes(), 5, Answer::Taken);
            assert!(mails.is_empty() && replies.lines().last().is_some_and(|line| line.starts_with(last)), "{input}: {replies}");
        }
        let (replies, _) = talk("x\r\n".repeat(50).as_bytes(), 10, Answer::Taken);
        assert_eq!((replies.matches("502").count(), replies.matches("421").count()), (20, 1), "{replies}");
        let (replies, _) = talk("x".repeat(LINE_MAX + 1).as_bytes(), 100, Answer::Taken);
        assert!(replies.ends_with("500 5.5.2 Line too long\r\n"), "{replies}");
        let many = format!("EHLO a\r\nMAIL FROM:<>\r\n{}", "RCPT TO:<bounce-x@b>\r\n".repeat(101));
        assert!(talk(many.as_bytes(), 1000, Answer::Taken).0.ends_with("452 4.5.3 Too many recipients\r\n"));
    }

    /// A conversation of good and bad lines, cut in pieces, the same for the same seed.
    fn conversation(seed: u64) -> Vec<u8> {
        const PIECES: &[&[u8]] = &[
            b"EHLO a\r\n",
            b"LHLO a\r\n",
            b"MAIL FROM:<>\r\n",
            b"MAIL FROM:<a@b> SIZE=12\r\n",
            b"RCPT TO:<bounce-x@b>\r\n",
            b"RCPT TO:<@r:bounce-y@b>\r\n",
            b"RCPT TO:<u@b>\r\n",
            b"DATA\r\n",
            b"a\r\n.b\r\n",
            b"\r\n.\r\n",
            b".\r\n",
            b".\n",
            b"\r",
            b"\n",
            b"\0",
            b"\xff\xc3",
            b"MAIL FROM:\xc3\xa4<",
            b"BDAT 4 LAST\r\n",
            b"RSET\r\n",
            b" SIZE=",
            b"<",
            b">",
            &[b'x'; 700],
        ];
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let piece = |count| (crate::chance::jitter(seed, "session", count) * PIECES.len() as f64) as usize;
        let begun: &[u8] = if seed.is_multiple_of(2) { &MAIL[..MAIL.len() - 40] } else { b"" };
        (0..40).fold(begun.to_vec(), |mut input, count| {
            input.extend_from_slice(PIECES[piece(count).min(PIECES.len() - 1)]);
            input
        })
    }

    #[test]
    fn whatever_a_client_says_is_bounded_and_read_the_same_in_all_pieces() {
        let mut mails = 0;
        for seed in 0..3_000_u64 {
            let input = conversation(seed);
            let (replies, letters) = talk(&input, input.len(), Answer::Taken);
            for letter in &letters {
                assert!(letter.content.len() <= 100 && (1..=RECIPIENTS_MAX).contains(&letter.recipients.len()), "seed {seed}");
                assert!(letter.recipients.iter().all(|one| one.starts_with("bounce-")), "seed {seed}: {:?}", letter.recipients);
            }
            // One reply for each line at most, but for what greets, and LMTP's for each recipient.
            let lines = input.iter().filter(|byte| **byte == b'\n').count();
            assert!(replies.lines().count() <= 10 * (lines + 2), "seed {seed}: {replies}");
            assert!(
                replies.lines().all(|line| line.len() > 3 && line.as_bytes()[..3].iter().all(u8::is_ascii_digit)),
                "seed {seed}: {replies}"
            );
            for piece in [1, 7, 64] {
                assert_eq!(talk(&input, piece, Answer::Taken), (replies.clone(), letters.clone()), "seed {seed} in pieces of {piece}");
            }
            mails += letters.len();
        }
        assert!(mails > 200, "{mails} mails: what is said reaches nothing");
    }

    #[test]
    fn no_more_of_a_mail_is_kept_than_is_read() {
        let mail = format!("EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<bounce-x@b>\r\nDATA\r\n{}.\r\n", "0123456789\r\n".repeat(100));
        let (_, mails) = talk(mail.as_bytes(), 64, Answer::Taken);
        assert_eq!(mails[0].content.len(), 100);
        // Beyond the largest size the connection ends.
        let mut session = Session::new("mx.example", 10);
        session.feed(b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<bounce-x@b>\r\nDATA\r\n", &|_| true);
        let block = vec![b'x'; 1024 * 1024];
        for _ in 0..=64 {
            session.feed(&block, &|_| true);
        }
        assert!(session.is_over() && session.replies.ends_with(b"552 5.3.4 Too large\r\n"));
    }
}
