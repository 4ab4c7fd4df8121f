//! The thread of a campaign that reads its audience, leaves out who is in the ledger, and renders.
//!
//! It works on request, so that no more is in memory than the scheduler asked for. It owns the run's index of recipients.

use std::sync::{
    Arc,
    mpsc::{self, Receiver, Sender},
};

use tokio::sync::mpsc::UnboundedSender;

use super::{
    Order,
    campaign::Trouble,
    prepared::{Prepared, RenderFailure},
};
use crate::{
    audience::{AudienceError, Reader, Recipient, Row},
    ledger::{DueMessage, Ledger, LedgerError, Problem, RunId, Seen, Sighting},
    message::{self, RenderContext},
    resources::{Key, Reason},
};

/// Messages in one event.
const CHUNK: usize = 32;
/// Bad rows that are named; all are counted.
const PROBLEMS_MAX: usize = 1000;

/// What the feeder is asked for.
#[derive(Debug)]
pub enum Request {
    /// So many more recipients of the audience.
    More(usize),
    /// Render these deferred messages again.
    Due(Vec<DueMessage>),
}

/// What the feeder brings.
#[derive(Debug)]
pub enum Fed {
    /// Rendered messages: how many of them had been asked for with `More`, and how many with `Due`.
    Messages(Vec<Prepared>, usize, usize),
    /// A recipient whose template failed.
    RenderFailed(RenderFailure),
    /// How much of the audience is read.
    Progress(Option<f64>, u64),
    /// The audience is read to its end.
    AudienceEnd {
        /// Usable recipients, each once.
        total: u64,
        /// Rows that repeat an address.
        duplicates: u64,
        /// Rows that could not be used.
        bad_rows: u64,
        /// Claims of an earlier process that no row came for.
        not_met: Vec<u64>,
        /// The first bad rows, by line.
        problems: Vec<Problem>,
    },
    /// It cannot go on.
    Failed(Trouble),
}

/// An event of a feeder.
#[derive(Debug)]
pub struct FeederEvent {
    /// The campaign's index.
    pub campaign: usize,
    /// Which feeder it is.
    pub feeding: u64,
    /// What it brings.
    pub fed: Fed,
}

/// What a feeder needs to know of its campaign.
pub struct FeederSpec {
    /// The campaign's index.
    pub campaign: usize,
    /// Which feeder it is.
    pub feeding: u64,
    /// The campaign's key.
    pub key: Key,
    /// The run in the ledger.
    pub run_id: RunId,
    /// What is sent, and to whom.
    pub order: Arc<Order>,
}

/// Starts the thread. It ends when the sender of requests is dropped.
///
/// # Errors
/// When the system gives no thread.
pub fn start(
    spec: FeederSpec,
    ledger: Ledger,
    runtime: tokio::runtime::Handle,
    events: UnboundedSender<FeederEvent>,
) -> std::io::Result<Sender<Request>> {
    let (requests, receiver) = mpsc::channel();
    std::thread::Builder::new().name(format!("feeder-{}", spec.campaign)).spawn(move || {
        let mut feeder = Feeder { spec, ledger, events, total: 0, duplicates: 0, bad_rows: 0, problems: Vec::new() };
        // A panic in a parser must not leave a campaign that seems to send for ever.
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| feeder.work(&receiver, &runtime)));
        let trouble = worked.unwrap_or_else(|_| {
            let message =
                "Reading the audience ended with a fault of Mailfleet itself (see the log). Report it, with the row that it stopped at.";
            Err(Trouble { reason: Reason::AudienceUnreadable, message: message.to_owned(), transient: false })
        });
        if let Err(trouble) = trouble {
            feeder.send(Fed::Failed(trouble));
        }
    })?;
    Ok(requests)
}

/// Counts the recipients of a closed run's audience who are not in the ledger: rows added later.
///
/// # Errors
/// When the audience or the ledger cannot be read.
pub fn count_added(order: &Order, ledger: &Ledger, run_id: RunId, runtime: &tokio::runtime::Handle) -> Result<u64, String> {
    let mut seen = ledger.seen(run_id).map_err(|e| e.to_string())?;
    let mut added = 0;
    for row in Reader::open(&order.input, runtime).map_err(|e| e.to_string())? {
        if let Row::Recipient(recipient) = row.map_err(|e| e.to_string())?
            && seen.check(recipient.address.as_str()).map_err(|e| e.to_string())? == Sighting::New
        {
            added += 1;
        }
    }
    Ok(added)
}

struct Feeder {
    spec: FeederSpec,
    ledger: Ledger,
    events: UnboundedSender<FeederEvent>,
    total: u64,
    duplicates: u64,
    bad_rows: u64,
    problems: Vec<Problem>,
}

fn ledger_trouble(error: &LedgerError) -> Trouble {
    Trouble { reason: Reason::LedgerUnavailable, message: error.to_string(), transient: true }
}

fn audience_trouble(error: AudienceError) -> Trouble {
    let message = if error.transient { format!("{}; it is tried again by itself", error.message) } else { error.message };
    Trouble { reason: error.reason, message, transient: error.transient }
}

impl Feeder {
    fn send(&self, fed: Fed) {
        // A closed channel means that the process is going down.
        let _ = self.events.send(FeederEvent { campaign: self.spec.campaign, feeding: self.spec.feeding, fed });
    }

    fn work(&mut self, requests: &Receiver<Request>, runtime: &tokio::runtime::Handle) -> Result<(), Trouble> {
        let mut seen = self.ledger.seen(self.spec.run_id).map_err(|e| ledger_trouble(&e))?;
        let mut audience = Some(Reader::open(&self.spec.order.input, runtime).map_err(audience_trouble)?);
        while let Ok(request) = requests.recv() {
            match request {
                Request::Due(due) => self.render_due(due),
                Request::More(count) => {
                    if let Some(reader) = &mut audience {
                        let ended = self.read(reader, &mut seen, count)?;
                        if ended {
                            audience = None;
                            self.end(seen.not_met());
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, not_met: Vec<u64>) {
        let problems = std::mem::take(&mut self.problems);
        self.send(Fed::AudienceEnd { total: self.total, duplicates: self.duplicates, bad_rows: self.bad_rows, not_met, problems });
    }

    /// Reads on until `count` recipients were found that are to be mailed; true at the end of the audience.
    fn read(&mut self, reader: &mut Reader, seen: &mut Seen, count: usize) -> Result<bool, Trouble> {
        let mut found = 0;
        let mut chunk = Vec::with_capacity(CHUNK);
        let mut skipped = 0_u32;
        while found < count {
            let Some(row) = reader.next() else {
                self.flush(&mut chunk);
                return Ok(true);
            };
            let recipient = match row.map_err(audience_trouble)? {
                Row::Recipient(recipient) => recipient,
                Row::Bad { line, why } => {
                    self.bad_rows += 1;
                    if self.problems.len() < PROBLEMS_MAX {
                        self.problems.push(Problem { line, what: why });
                    }
                    continue;
                }
            };
            let (seq, attempt) = match seen.check(recipient.address.as_str()).map_err(|e| ledger_trouble(&e))? {
                Sighting::Duplicate => {
                    self.duplicates += 1;
                    continue;
                }
                Sighting::AlreadyClaimed => {
                    self.total += 1;
                    skipped += 1;
                    // A long way over those already mailed is shown as progress too.
                    if skipped.is_multiple_of(10_000) {
                        self.send(Fed::Progress(reader.progress(), self.total));
                    }
                    continue;
                }
                Sighting::Resend { seq, attempt } => (Some(seq), attempt + 1),
                Sighting::New => (None, 1),
            };
            self.total += 1;
            found += 1;
            match self.render(&recipient, seq, false, attempt) {
                Ok(message) => chunk.push(message),
                Err(message) => {
                    // Asked for and brought, though not as a message.
                    self.send(Fed::Messages(Vec::new(), 1, 0));
                    self.send(Fed::RenderFailed(RenderFailure {
                        seq,
                        was_deferred: false,
                        recipient: recipient.address.as_str().into(),
                        attempt,
                        message,
                    }));
                }
            }
            if chunk.len() == CHUNK {
                self.flush(&mut chunk);
            }
        }
        self.flush(&mut chunk);
        self.send(Fed::Progress(reader.progress(), self.total));
        Ok(false)
    }

    fn flush(&self, chunk: &mut Vec<Prepared>) {
        if !chunk.is_empty() {
            let messages = std::mem::replace(chunk, Vec::with_capacity(CHUNK));
            let count = messages.len();
            self.send(Fed::Messages(messages, count, 0));
        }
    }

    fn render_due(&self, due: Vec<DueMessage>) {
        let count = due.len();
        let mut messages = Vec::with_capacity(count);
        for message in due {
            let attempt = message.attempt + 1;
            let rendered = match message.fields.as_deref().map(Recipient::from_json) {
                Some(Ok(recipient)) => self.render(&recipient, Some(message.seq), true, attempt),
                Some(Err(error)) => Err(format!("the fields kept in the ledger cannot be read: {error}")),
                None => Err("the ledger kept no fields for this recipient".to_owned()),
            };
            match rendered {
                Ok(prepared) => messages.push(prepared),
                Err(text) => {
                    self.send(Fed::RenderFailed(RenderFailure {
                        seq: Some(message.seq),
                        was_deferred: true,
                        recipient: message.recipient.into(),
                        attempt,
                        message: text,
                    }));
                }
            }
        }
        self.send(Fed::Messages(messages, 0, count));
    }

    fn render(&self, recipient: &Recipient, seq: Option<u64>, was_deferred: bool, attempt: u32) -> Result<Prepared, String> {
        let order = &self.spec.order;
        let address: Arc<str> = recipient.address.as_str().into();
        let envelope_to = match recipient.address.to_wire() {
            std::borrow::Cow::Borrowed(_) => address.clone(),
            std::borrow::Cow::Owned(wire) => wire.into(),
        };
        let domain = order.from_address.rsplit_once('@').map_or("localhost", |(_, domain)| domain);
        let message_id =
            message::message_id(self.ledger.seed(), &self.spec.key.namespace, &self.spec.key.name, &order.run, &address, domain);
        let context = RenderContext { message_id: &message_id, date: jiff::Timestamp::now(), campaign: &self.spec.key.name };
        let rendered = order.template.render(recipient, &context).map_err(|error| error.to_string())?;
        Ok(Prepared {
            seq,
            was_deferred,
            attempt,
            recipient: address.clone(),
            envelope_to,
            fields: recipient.fields.clone(),
            content: rendered.content.into(),
            needs_8bit: rendered.needs_8bit,
            needs_smtputf8: rendered.needs_smtputf8,
        })
    }
}
