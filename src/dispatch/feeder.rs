//! Reads the audience of a campaign, skips recipients who are in the ledger, and renders, on the threads of `feeders`.
//!
//! It works on request, so that no more is in memory than the scheduler asked for. It owns the run's index of recipients.

mod bad_rows;
mod rendering;
mod rows;
mod seek;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::sync::{Semaphore, mpsc::UnboundedSender};

use self::rows::Rows;
pub use self::rows::count_added;
use super::{
    feeders::{Asked, Asking, Threads},
    index::CampaignIx,
    receivers::{Passing, Receiver},
    refusals::Refusals,
    sample::Sample,
    stages::{ReadyMessage, RenderFailure},
};
use crate::{
    audience::{FileVersion, Input, Recipient, Row, Useless, Version, canonical, changed, count_rows, endless},
    feedback::MessageReference,
    ledger::{BadRow, DueMessage, Ledger, LedgerError, Lookup, RecipientIndex, RunId},
    message::{self, Link, RenderContext, Template},
    resources::{Blocker, Key, Reason, bound::grouped},
    routing::CampaignIntent,
    token::unsubscribe::{Links, Subscription},
};

/// Messages in one event.
const CHUNK: usize = 32;
/// After a request for fewer messages than this, the campaign is taken for one of many, and its templates are not kept compiled.
const FEW: usize = 8;
/// The wait before an audience that changed while it was read is read again.
const CHANGED_AGAIN: Duration = Duration::from_millis(200);
/// People who are passed over for one request.
const PASSED_ROWS_MAX: usize = 10_000;
/// Deferred messages that wait in memory for their row; no more are fetched then.
const PARKED_MAX: usize = 10_000;

/// Audiences that are counted ahead at a time.
static COUNTS: Semaphore = Semaphore::const_new(1);

/// What the feeder is asked for.
#[derive(Debug)]
pub enum Request {
    /// Begin to read: comes first, and once.
    Open,
    /// This many more recipients of the audience, and of whom nobody.
    More(usize, Option<Arc<Passing>>),
    /// Render these deferred messages again.
    Due(Vec<DueMessage>),
    /// One recipient outside this domain, out of turn.
    Seek(Arc<str>),
}

/// What the feeder brings.
#[derive(Debug)]
pub enum Fed {
    /// Rendered messages: how many of them had been asked for with `More`, and how many with `Due`.
    Messages(Vec<ReadyMessage>, usize, usize),
    /// A recipient whose template failed.
    RenderFailed(RenderFailure),
    /// A deferred recipient is gone from the audience: the row, and the address.
    Withdrawn(u64, Arc<str>),
    /// Whether somebody in another domain was found, who then comes as a message that was not requested.
    Sought(bool),
    /// Receivers of whom somebody was passed over.
    PassedOver(BTreeSet<Receiver>),
    /// How far the audience is read.
    Progress {
        /// Recipients in all, estimated from that.
        estimate: Option<u64>,
        /// Rows so far that bring nobody: bad ones and duplicates.
        useless: u64,
    },
    /// The rows of the audience, counted beside the reading.
    Counted(u64),
    /// The audience is read to its end.
    AudienceEnd {
        /// Usable recipients, each once.
        total: u64,
        /// How many of them are not in the sample yet.
        outside: u64,
        /// Rows that repeat an address.
        duplicates: u64,
        /// Rows that could not be used.
        bad_rows: u64,
        /// The first of them, in words.
        bad_rows_named: String,
        /// Claims of an earlier process, and recipients whose template failed, that match no row.
        unmatched: Vec<u64>,
        /// The version of the file that was read, if it is one.
        version: Option<Version>,
    },
    /// All rows that cannot be used, by line: of the whole audience, or up to where reading stopped.
    Problems(Vec<BadRow>),
    /// It cannot go on: why, and what the audience was read with or from, where that is known.
    Failed(Blocker, Option<Version>),
}

/// An event of a feeder.
#[derive(Debug)]
pub struct FeederEvent {
    /// The campaign's index.
    pub campaign: CampaignIx,
    /// Which feeder it is.
    pub feeder_epoch: u64,
    /// What it brings.
    pub fed: Fed,
}

/// What a feeder needs to know of its campaign.
pub struct FeederSpec {
    /// The campaign's index.
    pub campaign: CampaignIx,
    /// Which feeder it is.
    pub feeder_epoch: u64,
    /// The campaign's key.
    pub key: Key,
    /// The run in the ledger.
    pub run_id: RunId,
    /// What is sent.
    pub intent: Arc<CampaignIntent>,
    /// The audience.
    pub input: Arc<Input>,
    /// The compiled templates.
    pub template: Arc<Template>,
    /// The run was closed before: recipients who are not in the ledger are not mailed.
    pub adds_nobody: bool,
    /// The part of the audience that may be mailed; everybody when absent.
    pub sample: Option<Sample>,
    /// Makes the links by which people unsubscribe on our page.
    pub links: Option<Links>,
}

/// Starts a feeder. It ends when the handle is dropped.
///
/// # Errors
/// When the system cannot start a thread.
pub fn start(
    spec: FeederSpec,
    ledger: Ledger,
    runtime: tokio::runtime::Handle,
    events: UnboundedSender<FeederEvent>,
    threads: &Threads,
) -> std::io::Result<Asking<Feeder>> {
    let feeder = Feeder {
        spec,
        ledger,
        runtime,
        events,
        pass: None,
        total: 0,
        outside: 0,
        duplicates: 0,
        bad_rows: 0,
        problems: Vec::new(),
        bad_rows_named: None,
        ahead: VecDeque::new(),
        parked: HashMap::new(),
        not_added: 0,
        owed: 0,
        version: None,
        useless: Useless::default(),
    };
    threads.ensure()?;
    let asking = Asking::new(feeder, threads.clone());
    asking.ask(Request::Open);
    Ok(asking)
}

/// What reads and renders for one campaign.
pub struct Feeder {
    spec: FeederSpec,
    ledger: Ledger,
    runtime: tokio::runtime::Handle,
    events: UnboundedSender<FeederEvent>,
    /// The index of recipients, and the audience while it is read; `None` before it begins.
    pass: Option<(RecipientIndex, Option<Rows>)>,
    total: u64,
    /// People of the audience who are not in the sample.
    outside: u64,
    duplicates: u64,
    bad_rows: u64,
    problems: Vec<BadRow>,
    /// The first bad rows in words, once they were sent.
    bad_rows_named: Option<String>,
    /// Recipients that were read ahead, in the order of the audience.
    ahead: VecDeque<Met>,
    /// Deferred messages whose recipient has not been read in this pass, by person.
    parked: HashMap<String, DueMessage>,
    /// Rows of people who are not in the ledger of a run that adds nobody.
    not_added: u64,
    /// What the audience is read with or from.
    version: Option<Version>,
    /// Rows that repeat an address, beside those that do not.
    useless: Useless,
    /// Deferred messages that are not reported to the scheduler yet, so that it hands over no more.
    owed: usize,
}

/// A recipient who is to be mailed.
struct Met {
    recipient: Recipient,
    seq: Option<u64>,
    attempt: u32,
}

/// What reading one more row of the audience brought.
enum Step {
    /// Somebody to be mailed.
    Met(Box<Met>),
    /// Nobody to be mailed.
    Nobody,
    /// Somebody who is not in the sample yet.
    Outside,
    /// The audience is read.
    End,
}

fn of_ledger(error: &LedgerError) -> Blocker {
    let (reason, message) = (Reason::LedgerUnavailable, error.to_string());
    if error.needs_person() { Blocker::lasting(reason, message) } else { Blocker::passing(reason, message) }
}

/// A problem of the audience, as the campaign reports it.
fn of_audience(blocker: Blocker) -> Blocker {
    let after = (blocker.reason == Reason::AudienceChanged).then_some(CHANGED_AGAIN);
    let message = if blocker.needs_person { blocker.message } else { format!("{}; it is retried automatically", blocker.message) };
    Blocker { message, retry_after: after, ..blocker }
}

impl Asked for Feeder {
    type Request = Request;

    fn answer(&mut self, request: Request) -> bool {
        // A panic in a parser must not leave a campaign that seems to send forever.
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.work(request)));
        let blocker = worked.unwrap_or_else(|_| Err(Blocker::internal(Reason::AudienceUnreadable, "reading the audience")));
        let Err(blocker) = blocker else { return true };
        self.send(Fed::Failed(blocker, self.version.clone()));
        false
    }
}

impl Feeder {
    fn send(&self, fed: Fed) {
        // A closed channel means that the process is going down.
        let _ = self.events.send(FeederEvent { campaign: self.spec.campaign, feeder_epoch: self.spec.feeder_epoch, fed });
    }

    fn work(&mut self, request: Request) -> Result<(), Blocker> {
        let (mut seen, mut audience) = match self.pass.take() {
            Some(pass) => pass,
            None => self.open()?,
        };
        let is_of_many = match &request {
            Request::Open | Request::Seek(_) => true,
            Request::More(count, _) => *count < FEW,
            Request::Due(due) => due.len() < FEW,
        };
        match request {
            Request::Open => {}
            Request::Due(due) => self.take_due(due, &seen, audience.is_none())?,
            Request::Seek(domain) => self.seek(&domain, &mut audience, &mut seen)?,
            Request::More(count, passing) => self.read(count, passing.as_deref(), &mut audience, &mut seen)?,
        }
        self.pass = Some((seen, audience));
        if is_of_many {
            self.spec.template.rest();
        }
        Ok(())
    }

    fn open(&mut self) -> Result<(RecipientIndex, Option<Rows>), Blocker> {
        let seen = self.ledger.recipient_index(self.spec.run_id).map_err(|e| of_ledger(&e))?;
        self.version = self.spec.input.version();
        let FeederSpec { key, intent, input, template, .. } = &self.spec;
        let rows = Rows::open(key, input, intent.work.outcomes.as_ref(), &self.ledger, &self.runtime).map_err(of_audience)?;
        if let Some(version) = rows.version() {
            self.version = Some(Version::File(version));
        }
        rows.check_fields(input, template)?;
        if intent.work.outcomes.is_none() {
            self.count();
        }
        Ok((seen, Some(rows)))
    }

    /// Has the rows of the audience counted beside the reading, so that the total is known long before the end.
    fn count(&self) {
        let (input, events, runtime) = (self.spec.input.clone(), self.events.clone(), self.runtime.clone());
        let (campaign, feeder_epoch) = (self.spec.campaign, self.spec.feeder_epoch);
        self.runtime.spawn(async move {
            // The permits are never closed.
            let _permit = COUNTS.acquire().await;
            if let Ok(Some(rows)) = tokio::task::spawn_blocking(move || count_rows(&input, &runtime)).await {
                // A closed channel means that the process is going down.
                let _ = events.send(FeederEvent { campaign, feeder_epoch, fed: Fed::Counted(rows) });
            }
        });
    }

    fn progress(&self, rows: Option<&Rows>) {
        let estimate = rows.and_then(|rows| rows.estimate(self.total));
        self.send(Fed::Progress { estimate, useless: self.bad_rows + self.duplicates });
    }

    /// The audience is read. One without anybody in it is a mistake, and withdraws nobody.
    fn end(&mut self, seen: &RecipientIndex) -> Result<(), Blocker> {
        let first = self.problems.first().map(|problem| format!("; the first, line {}: {}", problem.line, problem.what));
        let bad_rows_named = self.send_problems();
        if self.total == 0 && self.duplicates == 0 && self.not_added == 0 {
            let place = self.place();
            let why = match self.bad_rows {
                0 => "it has no rows".to_owned(),
                count => format!("none of its {} rows can be used{}", grouped(count), first.unwrap_or_default()),
            };
            let message = format!("{place}: {why}. Fix it; it is read again as soon as it changes.");
            return Err(Blocker::lasting(Reason::AudienceUnreadable, message));
        }
        let unmatched = seen.unmatched();
        // Another file may have taken this one's place, which was read to its end all the same: with people whom only it has.
        self.check_version()?;
        for message in std::mem::take(&mut self.parked).into_values() {
            self.withdraw(&message);
        }
        let owed = std::mem::take(&mut self.owed);
        self.render_due(Vec::new(), owed);
        self.send(Fed::AudienceEnd {
            total: self.total,
            outside: self.outside,
            duplicates: self.duplicates,
            bad_rows: self.bad_rows,
            bad_rows_named,
            unmatched,
            version: self.version.clone(),
        });
        Ok(())
    }

    /// The name of what is read, for messages.
    fn place(&self) -> String {
        self.spec.input.file().map_or_else(|| "the audience".to_owned(), |file| file.name().display().to_string())
    }

    /// Checks that the file is still the one that is, or was, read.
    fn check_version(&self) -> Result<(), Blocker> {
        match self.spec.input.file() {
            Some(file) if FileVersion::of(file).map(Version::File) != self.version => Err(of_audience(changed(file.name().display()))),
            _ => Ok(()),
        }
    }

    fn withdraw(&self, message: &DueMessage) {
        self.send(Fed::Withdrawn(message.seq, message.recipient.as_str().into()));
    }

    /// Renders messages whose row has been read in this pass; the others wait for their row, and are withdrawn if none comes. So is
    /// a further message to somebody who has another one.
    fn take_due(&mut self, due: Vec<DueMessage>, seen: &RecipientIndex, is_read: bool) -> Result<(), Blocker> {
        let count = due.len();
        let mut met = Vec::with_capacity(count);
        // Somebody may have left since it was read: the file decides, in a new pass.
        if is_read {
            self.check_version()?;
        }
        for message in due {
            if seen.is_duplicate(message.seq) {
                self.withdraw(&message);
            } else if seen.was_read(&message.recipient).map_err(|e| of_ledger(&e))? == Some(true) {
                met.push(message);
            } else if is_read {
                self.withdraw(&message);
            } else {
                self.parked.insert(canonical(&message.recipient).into_owned(), message);
            }
        }
        let done = if self.parked.len() < PARKED_MAX { count } else { met.len() };
        self.owed += count - done;
        self.render_due(met, done);
        Ok(())
    }

    /// Renders what was waiting for this row.
    fn unpark(&mut self, address: &str) {
        if !self.parked.is_empty()
            && let Some(message) = self.parked.remove(&*canonical(address))
        {
            let owed = std::mem::take(&mut self.owed);
            self.render_due(vec![message], owed);
        }
    }

    /// Brings `count` recipients that are to be mailed, or as many as there are. Whom it passes over is met again when the audience is
    /// read again; after many of them it asks who is to be passed over now.
    fn read(
        &mut self,
        count: usize,
        passing: Option<&Passing>,
        audience: &mut Option<Rows>,
        seen: &mut RecipientIndex,
    ) -> Result<(), Blocker> {
        let mut chunk = Vec::new();
        let mut found = 0;
        let mut is_over = false;
        let mut passed = BTreeSet::new();
        let mut passed_rows = 0;
        while found < count && !is_over && passed_rows < PASSED_ROWS_MAX {
            let met = match self.ahead.pop_front() {
                Some(met) => met,
                None => match self.step(audience, seen)? {
                    Step::Met(met) => *met,
                    Step::Nobody => continue,
                    Step::Outside => {
                        passed_rows += 1;
                        continue;
                    }
                    Step::End => {
                        is_over = true;
                        continue;
                    }
                },
            };
            if let Some(receiver) = passing.and_then(|passing| passing.passes(met.recipient.address.as_str()))
                && met.seq.is_none()
            {
                passed.insert(receiver);
                passed_rows += 1;
                continue;
            }
            found += 1;
            self.bring(met, &mut chunk);
            if chunk.len() == CHUNK {
                self.flush(&mut chunk);
            }
        }
        self.flush(&mut chunk);
        let is_short = !passed.is_empty() || found < count && !is_over;
        if !passed.is_empty() {
            self.send(Fed::PassedOver(passed));
        }
        if is_short {
            // Those that were asked for and are not brought are asked for again.
            self.send(Fed::Messages(Vec::new(), count - found, 0));
        }
        if is_over {
            self.end(seen)?;
        } else {
            self.progress(audience.as_ref());
        }
        Ok(())
    }

    fn bring(&self, met: Met, chunk: &mut Vec<ReadyMessage>) {
        match self.render(&met.recipient, met.seq, met.attempt, Refusals::default()) {
            Ok(message) => chunk.push(message),
            Err(message) => {
                // Asked for and brought, though not as a message.
                self.send(Fed::Messages(Vec::new(), 1, 0));
                self.failed(&met, message);
            }
        }
    }

    fn failed(&self, met: &Met, message: String) {
        let recipient = met.recipient.address.as_str().into();
        self.send(Fed::RenderFailed(RenderFailure { seq: met.seq, was_deferred: false, recipient, message }));
    }

    /// One row of the audience.
    fn step(&mut self, audience: &mut Option<Rows>, seen: &mut RecipientIndex) -> Result<Step, Blocker> {
        let Some(reader) = audience else { return Ok(Step::End) };
        let Some(row) = reader.next() else {
            *audience = None;
            return Ok(Step::End);
        };
        let recipient = match row.map_err(of_audience)? {
            Row::Recipient(recipient) => recipient,
            Row::Bad { line, why } => {
                self.note_bad(line, why)?;
                return Ok(Step::Nobody);
            }
        };
        let (seq, attempt) = match seen.look_up(recipient.address.as_str()).map_err(|e| of_ledger(&e))? {
            Lookup::Duplicate => {
                self.duplicates += 1;
                if self.useless.is_too_much(0) {
                    return Err(of_audience(endless(self.place(), "repeat an address")));
                }
                return Ok(Step::Nobody);
            }
            Lookup::Claimed => {
                self.total += 1;
                self.useless.useful();
                // Passing over many recipients who are already mailed is shown as progress too.
                if self.total.is_multiple_of(10_000) {
                    self.progress(Some(reader));
                }
                self.unpark(recipient.address.as_str());
                return Ok(Step::Nobody);
            }
            Lookup::New if self.spec.adds_nobody => {
                self.not_added += 1;
                self.useless.useful();
                return Ok(Step::Nobody);
            }
            Lookup::New if self.spec.sample.is_some_and(|sample| !sample.has(recipient.address.as_str())) => {
                (self.total, self.outside) = (self.total + 1, self.outside + 1);
                self.useless.useful();
                self.judge_rows()?;
                return Ok(Step::Outside);
            }
            Lookup::Resend { seq, attempt } => (Some(seq), attempt + 1),
            Lookup::New => (None, 1),
        };
        self.total += 1;
        self.useless.useful();
        self.judge_rows()?;
        Ok(Step::Met(Box::new(Met { recipient, seq, attempt })))
    }

    fn flush(&self, chunk: &mut Vec<ReadyMessage>) {
        if !chunk.is_empty() {
            let messages = std::mem::take(chunk);
            let count = messages.len();
            self.send(Fed::Messages(messages, count, 0));
        }
    }
}
