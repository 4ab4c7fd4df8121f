//! Reads the audience of a campaign, skips recipients who are in the ledger, and renders, on the threads of `feeders`.
//!
//! It works on request, so that no more is in memory than the scheduler asked for. It owns the run's index of recipients.

mod bad_rows;
mod exchange;
mod opening;
mod rendering;
mod rows;
mod seek;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc::UnboundedSender;

use self::rows::Rows;
pub use self::{
    exchange::{Fed, FeederEvent, FeederSpec, Request},
    rows::count_added,
};
use super::{
    clocks::Clocks,
    feeders::{Asked, Asking, Threads},
    receivers::Passing,
    refusals::Refusals,
    stages::{Asleep, Later, ReadyMessage, RenderFailure},
    unread::TRY_AGAIN,
};
use crate::{
    audience::{Recipient, Row, Unit, Useless, canonical, endless},
    feedback::MessageReference,
    ledger::{BadRow, DueMessage, Ledger, Lookup, RecipientIndex},
    message::{self, Choice, Link, RenderContext},
    people::{Excluded, Versions, of_ledger},
    report::WithoutVariant,
    resources::{Blocker, Reason, bound::grouped},
    token::unsubscribe::Subscription,
};

/// Messages in one event.
const CHUNK: usize = 32;
/// After a request for fewer messages than this, the campaign is taken for one of many, and its templates are not kept compiled.
const FEW: usize = 8;
/// The wait before an audience that changed while it was read is read again.
const CHANGED_AGAIN: Duration = Duration::from_millis(200);
/// How often it is looked whether the lists of people who are not mailed are still those that were read.
const LOOK_AT_LISTS_EVERY: Duration = Duration::from_secs(5);
/// People who are passed over for one request.
const PASSED_ROWS_MAX: usize = 10_000;
/// Deferred messages that wait in memory for their row; no more are fetched then.
const PARKED_MAX: usize = 10_000;

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
        clocks: Clocks::of(spec.intent.hours.as_ref()),
        slept: None,
        without_variant: None,
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
        versions: Versions::new(),
        excluded: None,
        excluded_rows: 0,
        lists_looked_at: Instant::now(),
        useless: Useless::default(),
        unit: Unit::default(),
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
    /// What the audience, and then the lists beside it, are read with or from.
    versions: Versions,
    /// Who is not mailed, where the campaign excludes anybody.
    excluded: Option<Arc<Excluded>>,
    /// Rows of people who are excluded.
    excluded_rows: u64,
    lists_looked_at: Instant,
    /// Rows that repeat an address, beside those that do not.
    useless: Useless,
    /// What the numbers of rows count.
    unit: Unit,
    /// The clocks of recipients, where each has sending hours of their own.
    clocks: Option<Clocks>,
    /// People who were passed over because of these hours.
    slept: Option<Asleep>,
    /// Whose value matches no variant, so far.
    without_variant: Option<WithoutVariant>,
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

/// Ends the message of a problem that is retried.
pub const RETRIED: &str = "; it is retried automatically";

/// A problem of the audience, as the campaign reports it.
fn of_audience(blocker: Blocker) -> Blocker {
    let after = if blocker.reason == Reason::AudienceChanged { Some(CHANGED_AGAIN) } else { blocker.retry_after };
    let message = if blocker.needs_person { blocker.message } else { format!("{}{RETRIED}", blocker.message) };
    Blocker { message, retry_after: after, ..blocker }
}

impl Asked for Feeder {
    type Request = Request;

    fn answer(&mut self, request: Request) -> bool {
        // A panic in a parser must not leave a campaign that seems to send forever.
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.work(request)));
        let blocker = worked.unwrap_or_else(|_| Err(Blocker::internal(Reason::AudienceUnreadable, "reading the audience")));
        let Err(blocker) = blocker else { return true };
        self.send(Fed::Failed { blocker, versions: self.versions.clone() });
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
            Request::More { count, .. } => *count < FEW,
            Request::Due(due) => due.len() < FEW,
        };
        match request {
            Request::Open => {}
            Request::Due(due) => self.take_due(due, &seen, audience.is_none())?,
            Request::Seek(domain) => self.seek(&domain, &mut audience, &mut seen)?,
            Request::More { count, passing } => self.read(count, passing.as_deref(), &mut audience, &mut seen)?,
        }
        self.pass = Some((seen, audience));
        if is_of_many {
            self.spec.template.rest();
        }
        Ok(())
    }

    fn progress(&self, rows: Option<&Rows>) {
        let estimate = rows.and_then(|rows| rows.estimate(self.total));
        self.send(Fed::Progress { estimate, useless: self.bad_rows + self.duplicates });
    }

    /// The audience is read. One without anybody in it is a mistake, and withdraws nobody.
    fn end(&mut self, seen: &RecipientIndex) -> Result<(), Blocker> {
        let first = self.problems.first().map(|problem| format!("; the first, {}: {}", self.unit.at(problem.line), problem.what));
        let bad_rows_named = self.send_problems();
        if self.total == 0 && self.duplicates == 0 && self.not_added == 0 && self.excluded_rows == 0 {
            let place = self.place();
            let why = match self.bad_rows {
                0 => "it has no rows".to_owned(),
                count => format!("none of its {} rows can be used{}", grouped(count), first.unwrap_or_default()),
            };
            let message = format!("{place}: {why}. Fix it; it is read again as soon as it changes.");
            let again = (!self.spec.people.input.is_local()).then(|| TRY_AGAIN.delay(1));
            return Err(Blocker::lasting(Reason::AudienceUnreadable, message).after(again));
        }
        let unmatched = seen.unmatched();
        // Another file may have taken this one's place, which was read to its end all the same: with people whom only it has.
        self.check_version()?;
        for message in std::mem::take(&mut self.parked).into_values() {
            self.withdraw(&message);
        }
        let owed = std::mem::take(&mut self.owed);
        self.render_due(Vec::new(), owed);
        let without_zone = self.clocks.as_mut().and_then(Clocks::take_without);
        let without_variant = self.without_variant.take();
        self.send(Fed::AudienceEnd {
            total: self.total,
            outside: self.outside,
            duplicates: self.duplicates,
            excluded: self.excluded_rows,
            bad_rows: self.bad_rows,
            bad_rows_named,
            without_zone,
            without_variant,
            unmatched,
            versions: self.versions.clone(),
        });
        Ok(())
    }

    /// The name of what is read, for messages.
    fn place(&self) -> String {
        self.spec.people.input.file().map_or_else(|| "the audience".to_owned(), |file| file.name().display().to_string())
    }

    fn withdraw(&self, message: &DueMessage) {
        self.send(Fed::Withdrawn { seq: message.seq, recipient: message.recipient.as_str().into() });
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
        // Whoever was added to a list in the meantime is not mailed either, however long the audience is read.
        if self.lists_looked_at.elapsed() >= LOOK_AT_LISTS_EVERY {
            self.check_lists()?;
            self.lists_looked_at = Instant::now();
        }
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
            if let Some(asleep) = self.asleep(&met.recipient) {
                self.pass_asleep(asleep);
                passed_rows += 1;
                continue;
            }
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
        if let Some(asleep) = self.slept.take() {
            self.send(Fed::PassedAsleep(asleep));
        }
        if is_short {
            // Those that were asked for and are not brought are asked for again.
            self.send(Fed::Messages { messages: Vec::new(), requested: count - found, due: 0 });
        }
        if is_over {
            self.end(seen)?;
        } else {
            self.progress(audience.as_ref());
        }
        Ok(())
    }

    fn bring(&mut self, met: Met, chunk: &mut Vec<ReadyMessage>) {
        match self.render(&met.recipient, met.seq, met.attempt, Refusals::default()) {
            Ok(message) => chunk.push(message),
            Err(message) => {
                // Asked for and brought, though not as a message.
                self.send(Fed::Messages { messages: Vec::new(), requested: 1, due: 0 });
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
        // As if it were not in the audience: what is left of an earlier claim is withdrawn.
        if let Some(excluded) = &self.excluded
            && excluded.has(recipient.address.as_str())?
        {
            self.excluded_rows += 1;
            // Those beyond the number of people repeat some.
            if self.excluded_rows > excluded.count() && self.useless.is_too_much(0) {
                return Err(of_audience(endless(self.place(), "repeat people who are excluded")));
            }
            if self.excluded_rows.is_multiple_of(10_000) {
                self.progress(Some(reader));
            }
            return Ok(Step::Nobody);
        }
        let looked_up = seen.look_up(recipient.address.as_str()).map_err(|e| of_ledger(&e))?;
        if let Some(clocks) = self.clocks.as_mut().filter(|_| looked_up != Lookup::Duplicate) {
            clocks.note(&recipient.fields, self.spec.clock.now_ms());
        }
        if looked_up != Lookup::Duplicate
            && let Choice::Unmatched(example) = self.spec.template.chooser().choose(&recipient.fields)
        {
            self.without_variant.get_or_insert(WithoutVariant { recipients: 0, example }).recipients += 1;
        }
        let (seq, attempt) = match looked_up {
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

    /// When the sending hours of a recipient begin, if it is outside of them.
    fn asleep(&mut self, recipient: &Recipient) -> Option<Asleep> {
        self.clocks.as_mut()?.asleep(&recipient.fields, self.spec.clock.now_ms())
    }

    fn pass_asleep(&mut self, asleep: Asleep) {
        match &mut self.slept {
            Some(slept) => slept.add(asleep),
            None => self.slept = Some(asleep),
        }
    }

    fn flush(&self, chunk: &mut Vec<ReadyMessage>) {
        if !chunk.is_empty() {
            let messages = std::mem::take(chunk);
            let count = messages.len();
            self.send(Fed::Messages { messages, requested: count, due: 0 });
        }
    }
}
