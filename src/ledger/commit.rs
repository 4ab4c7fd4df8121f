//! The hot path: one group commit of outcomes and claims.
//!
//! New claims are appended, so that 64 of them touch only two or three pages; counts and usage are summed first and written once
//! per group commit.

mod rows;
mod usage;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tokio::time::Instant;

pub(super) use self::usage::add_usage;
use self::{
    rows::{EndedRow, NewRow},
    usage::{write_bars, write_usage},
};
use super::{
    Changes, Claim, Commit, CommitReceipt, CountChange, Disposition, OutcomeRecord, RunId, ServerId,
    database::{self, Connection, params},
    error::{Fault, LedgerError, LedgerErrorKind},
    standing,
    suppressions::{self, NotMailed},
    writer::{RunState, Undecided, Writer, Written, not_begun},
};
use crate::{
    audience::canonical,
    feedback::{Person, Suppression, SuppressionReason},
    meta::bound::shortened,
    resources::fate::Fate,
    token::Keys,
};

/// The most characters of a server's reply that are kept.
const REPLY_CHARS: usize = 250;

const APPEND: &str = "INSERT INTO messages
    (run_id, partition, seq, recipient, state, attempt, server_id, updated_at_ms, resent, reply, epoch)
    VALUES (?1, 0, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8, ?9)";
const END_CLAIMED: &str = "UPDATE messages SET state = ?3, updated_at_ms = ?4, next_attempt_at_ms = ?5, reply = ?6, fields = ?7,
    server_id = ?8, resent = resent + ?9, attempt = CASE WHEN attempt > ?10 THEN attempt - ?10 ELSE 0 END,
    refusals = CASE WHEN ?7 IS NULL THEN NULL ELSE coalesce(?11, refusals) END,
    since_ms = CASE WHEN ?7 IS NULL THEN since_ms ELSE coalesce(since_ms, updated_at_ms) END
    WHERE run_id = ?1 AND partition = 0 AND seq = ?2 AND state = 0";
// The attempts of messages that were returned or held did not count; once they are rejected (3), the last one was refused after all.
const END_WAITING: &str = "UPDATE messages SET state = ?3, updated_at_ms = ?4, next_attempt_at_ms = ?5, reply = coalesce(?6, reply),
    attempt = CASE WHEN ?3 = 3 AND (?8 = 7 OR attempt = 0) THEN attempt + 1 ELSE attempt END,
    fields = ?7, refusals = CASE WHEN ?7 IS NULL THEN NULL ELSE coalesce(?9, refusals) END WHERE run_id = ?1 AND partition = 0 AND seq = ?2 AND state = ?8";
const RELEASE: &str = "UPDATE messages SET state = 2, updated_at_ms = ?3, next_attempt_at_ms = ?3
    WHERE run_id = ?1 AND partition = 0 AND seq = ?2 AND state = 7";
const RECLAIM: &str = "UPDATE messages SET state = 0, attempt = ?3, server_id = ?4, updated_at_ms = ?5, next_attempt_at_ms = NULL,
    resent = resent + ?6, epoch = ?7 WHERE run_id = ?1 AND partition = 0 AND seq = ?2";
const SUPPRESS: &str = "UPDATE messages SET state = ?3, updated_at_ms = ?4, next_attempt_at_ms = NULL, reply = ?5, fields = NULL,
    refusals = NULL, recipient = coalesce(?6, recipient) WHERE run_id = ?1 AND partition = 0 AND seq = ?2";
const ROW: &str = "SELECT state, server_id, epoch, resent FROM messages WHERE run_id = ?1 AND partition = 0 AND seq = ?2";

impl Changes {
    /// Adds `by` messages of a fate; the server is recorded only for a final one.
    pub(super) fn add(&mut self, run_id: RunId, fate: Fate, server: Option<i64>, by: i64) {
        let server = server.filter(|_| fate.is_final()).map(ServerId);
        match self.counts.iter_mut().find(|c| c.run_id == run_id && c.fate == fate && c.server == server) {
            Some(found) => found.by += by,
            None => self.counts.push(CountChange { run_id, fate, server, by }),
        }
    }

    /// Adds messages that are resent although their outcome is unknown.
    pub(super) fn add_resent(&mut self, run: RunId, by: i64) {
        match self.resent.iter_mut().find(|r| r.0 == run) {
            Some(found) => found.1 += by,
            None => self.resent.push((run, by)),
        }
    }

    /// Adds all changes of another.
    pub(super) fn extend(&mut self, other: Self) {
        for change in other.counts {
            self.add(change.run_id, change.fate, change.server.map(|server| server.0), change.by);
        }
        for (run, by) in other.resent {
            self.add_resent(run, by);
        }
    }

    /// Writes the sums.
    pub(super) fn write(&self, connection: &Connection) -> Result<(), Fault> {
        let sums = self.counts.iter().filter(|c| c.by != 0);
        let sums: Vec<_> = sums.map(|c| (c.run_id.0, c.fate.number(), c.server.map_or(0, |server| server.0), c.by)).collect();
        if matches!(connection, Connection::Postgres(_)) && !sums.is_empty() {
            rows::add_counts(connection, &sums)?;
        } else if !sums.is_empty() {
            let mut statement = connection.prepare(
                "INSERT INTO counts (run_id, state, server_id, count) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (run_id, state, server_id) DO UPDATE SET count = counts.count + excluded.count",
            )?;
            for (run, state, server, by) in sums {
                statement.execute([run, state, server, by])?;
            }
        }
        for (run, count) in &self.resent {
            connection.post("UPDATE runs SET resent = resent + ?2 WHERE id = ?1", [run.0, *count])?;
        }
        Ok(())
    }
}

/// A group commit while it is being written.
struct Page<'a> {
    runs: &'a mut HashMap<RunId, RunState>,
    epoch: i64,
    now_ms: i64,
    changes: Changes,
    keys: Option<&'a Keys>,
    seqs: Vec<Option<u64>>,
    /// Addresses of which a server said that there is no such mailbox.
    dead: Vec<Suppression>,
    /// Messages that are no longer leased, or no longer wait for their recipient, once this is durable.
    taken_up: Vec<(RunId, u64)>,
    /// Runs whose first claim is in this commit.
    begun: Vec<RunId>,
    /// Messages that were read before they are looked at.
    read_ahead: HashMap<(RunId, u64), Row>,
}

impl Writer {
    /// Writes a group commit. If this returns an error, nothing of it is in the ledger, unless that is undecided: then the same commit
    /// is repeated, and no other one may come before.
    pub(super) fn commit(&mut self, commit: &Arc<Commit>) -> Result<CommitReceipt, LedgerError> {
        let started = Instant::now();
        self.now_ms = self.now_ms.max(commit.now_ms);
        if let Some(undecided) = self.undecided.take_if(|undecided| Arc::ptr_eq(&undecided.commit, commit)) {
            match self.book.was_applied(undecided.transaction) {
                Ok(true) => return Ok(self.committed(undecided.written, started)),
                Ok(false) => {}
                Err(error) => {
                    self.undecided = Some(undecided);
                    let kind = if error.is_transient() { LedgerErrorKind::Undecided } else { error.kind };
                    return Err(LedgerError { kind, ..error });
                }
            }
        }
        self.undecided = None;
        let mut page = Page {
            runs: &mut self.runs,
            epoch: self.book.epoch,
            now_ms: commit.now_ms,
            keys: self.keys.as_ref(),
            dead: Vec::new(),
            changes: Changes::default(),
            seqs: Vec::with_capacity(commit.claims.len()),
            taken_up: Vec::new(),
            begun: Vec::new(),
            read_ahead: HashMap::new(),
        };
        let done = self.book.transaction(|connection| {
            page.write_outcomes(connection, &commit.outcomes)?;
            page.write_claims(connection, &commit.claims)?;
            page.changes.write(connection)?;
            standing::note_outcomes(connection, &page.changes, page.runs, commit.now_ms)?;
            write_bars(connection, &commit.bars, commit.now_ms)?;
            write_usage(connection, commit, &page.seqs)?;
            for suppression in &page.dead {
                suppressions::add(connection, suppression)?;
            }
            Ok(())
        });
        let Page { seqs, taken_up, changes, begun, dead, .. } = page;
        let written = Written { seqs, changes, dead, taken_up, begun };
        match done {
            Ok(()) => Ok(self.committed(written, started)),
            Err(error) => {
                if error.kind == LedgerErrorKind::Undecided {
                    self.undecided =
                        self.book.undecided().map(|transaction| Undecided { commit: Arc::clone(commit), written, transaction });
                }
                Err(error)
            }
        }
    }

    /// What follows once a commit is durable.
    fn committed(&mut self, written: Written, started: Instant) -> CommitReceipt {
        let Written { seqs, taken_up, changes, begun, dead } = written;
        self.note_suppressed(dead.iter());
        for run in begun {
            if let Some(state) = self.runs.get_mut(&run) {
                state.has_sent = true;
            }
        }
        for (run, seq) in taken_up {
            if let Some(state) = self.runs.get_mut(&run) {
                state.leased.remove(&seq);
                state.to_resend.remove(&seq);
            }
        }
        CommitReceipt { seqs, changes, took: started.elapsed() }
    }
}

/// What an outcome writes of a message that is claimed, and what becomes of the message.
struct End<'o> {
    row: EndedRow<'o>,
    fate: Fate,
}

impl Page<'_> {
    /// Reads messages ahead by one statement, where each has its price.
    fn look_up(&mut self, connection: &Connection, messages: impl Iterator<Item = (RunId, u64)>) -> Result<(), Fault> {
        if matches!(connection, Connection::Postgres(_)) {
            self.read_ahead = rows::read(connection, messages)?;
        }
        Ok(())
    }

    /// A message as it is now. What was read ahead holds once: it may be written then.
    fn row(&mut self, connection: &Connection, run: RunId, seq: u64) -> Result<Option<Row>, Fault> {
        self.read_ahead.remove(&(run, seq)).map_or_else(|| row(connection, run, seq), |row| Ok(Some(row)))
    }

    fn run(&mut self, run: RunId) -> Result<&mut RunState, Fault> {
        self.runs.get_mut(&run).ok_or_else(|| Fault::Ledger(not_begun(run)))
    }

    fn next_seq(&mut self, run: RunId) -> Result<u64, Fault> {
        let state = self.run(run)?;
        let seq = state.next_seq;
        // Not reset if the commit fails: a gap does no harm.
        state.next_seq += 1;
        Ok(seq)
    }

    fn write_outcomes(&mut self, connection: &Connection, outcomes: &[OutcomeRecord]) -> Result<(), Fault> {
        if outcomes.is_empty() {
            return Ok(());
        }
        if matches!(connection, Connection::Postgres(_)) {
            return self.write_outcomes_together(connection, outcomes);
        }
        let mut end_claimed = connection.prepare(END_CLAIMED)?;
        for outcome in outcomes {
            let Some(end) = self.end_of(connection, outcome)? else { continue };
            let EndedRow { run, seq, state, at_ms, reply, fields, server, resent, uncounted, refusals } = end.row;
            let is_ended = outcome.disposition.may_follow(Fate::Claimed)
                && end_claimed.execute(params![
                    run.0,
                    seq.cast_signed(),
                    state,
                    self.now_ms,
                    at_ms,
                    reply,
                    fields,
                    server,
                    resent,
                    uncounted,
                    refusals
                ])? == 1;
            self.settle(connection, outcome, &end, is_ended)?;
        }
        Ok(())
    }

    /// Writes the first outcome of each message that is claimed by one statement, and the others one by one.
    fn write_outcomes_together(&mut self, connection: &Connection, outcomes: &[OutcomeRecord]) -> Result<(), Fault> {
        let mut ends = Vec::with_capacity(outcomes.len());
        for outcome in outcomes {
            if let Some(end) = self.end_of(connection, outcome)? {
                ends.push((outcome, end));
            }
        }
        let mut seen = HashSet::with_capacity(ends.len());
        let is_first: Vec<bool> = ends
            .iter()
            .map(|(outcome, end)| outcome.disposition.may_follow(Fate::Claimed) && seen.insert((end.row.run, end.row.seq)))
            .collect();
        let first: Vec<EndedRow<'_>> = ends.iter().zip(&is_first).filter(|(_, first)| **first).map(|((_, end), _)| end.row).collect();
        let ended = rows::end(connection, &first, self.now_ms)?;
        let ended = |end: &End<'_>, is_first| is_first && ended.contains(&(end.row.run, end.row.seq));
        let waiting = ends.iter().zip(&is_first).filter(|((_, end), is_first)| !ended(end, **is_first));
        self.look_up(connection, waiting.map(|((_, end), _)| (end.row.run, end.row.seq)))?;
        for ((outcome, end), is_first) in ends.iter().zip(is_first) {
            let is_ended = ended(end, is_first);
            self.settle(connection, outcome, end, is_ended)?;
        }
        Ok(())
    }

    /// What an outcome writes of a message that is claimed; `None` where it is that of a recipient who never was, and is added.
    fn end_of<'o>(&mut self, connection: &Connection, outcome: &'o OutcomeRecord) -> Result<Option<End<'o>>, Fault> {
        let Some(seq) = outcome.seq else {
            self.append_ended(connection, outcome)?;
            return Ok(None);
        };
        let run = outcome.run_id;
        let mut fate = outcome.disposition.fate();
        let to_resend = &self.run(run)?.to_resend;
        let is_left = fate == Fate::RenderFailed && !to_resend.is_empty() && to_resend.contains(&seq);
        if is_left && row(connection, run, seq)?.is_some_and(|row| row.may_have_been_mailed()) {
            // A template that fails now does not change that.
            fate = Fate::Unknown;
        }
        let columns = Columns::of(&outcome.disposition, self.now_ms);
        let server = match outcome.server {
            Some(server) => Some(server.0),
            None => row(connection, run, seq)?.and_then(|row| row.server),
        };
        let reply = outcome.reply.as_deref().map(|reply| shortened(reply, REPLY_CHARS));
        let Columns { at_ms, fields, refusals, resent, uncounted } = columns;
        let row = EndedRow { run, seq, state: fate.number(), at_ms, reply, fields, server, resent, uncounted, refusals };
        Ok(Some(End { row, fate }))
    }

    /// Notes an outcome that ended a claim, or writes that of a message that was not claimed.
    fn settle(&mut self, connection: &Connection, outcome: &OutcomeRecord, end: &End<'_>, is_ended: bool) -> Result<(), Fault> {
        let End { row: EndedRow { run, seq, server, resent, .. }, fate } = *end;
        if is_ended && !matches!(outcome.disposition, Disposition::Returned { .. }) {
            self.note_first_sent(connection, run)?;
        }
        let from = if is_ended { Fate::Claimed } else { self.end_waiting(connection, outcome, seq, fate)? };
        self.changes.add(run, from, None, -1);
        self.changes.add(run, fate, server, 1);
        if resent > 0 {
            self.changes.add_resent(run, 1);
        }
        if !self.run(run)?.is_idle() {
            self.taken_up.push((run, seq));
        }
        if outcome.suppresses && fate == Fate::Rejected {
            self.note_dead(connection, outcome, seq, server)?;
        }
        Ok(())
    }

    /// Has the recipient suppressed, of whom the server said that there is no such mailbox.
    fn note_dead(&mut self, connection: &Connection, outcome: &OutcomeRecord, seq: u64, server: Option<i64>) -> Result<(), Fault> {
        let mut statement = connection.prepare(
            "SELECT recipient, (SELECT name FROM servers WHERE id = ?3) FROM messages WHERE run_id = ?1 AND partition = 0 AND seq = ?2",
        )?;
        let found = statement.row(params![outcome.run_id.0, seq.cast_signed(), server], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let Some((recipient, server)): Option<(String, Option<String>)> = found else { return Ok(()) };
        let namespace = self.run(outcome.run_id)?.namespace.clone();
        self.dead.push(Suppression {
            namespace,
            person: Person::Address(canonical(&recipient).into_owned()),
            topic: None,
            reason: SuppressionReason::HardBounce,
            at_ms: self.now_ms,
            source: server.map_or_else(|| "a server".to_owned(), |server| format!("reply of {server}")).into(),
            detail: shortened(outcome.reply.as_deref().unwrap_or_default(), REPLY_CHARS).to_owned(),
        });
        Ok(())
    }

    /// Writes the outcome of a message that was deferred or held; returns which of the two it was.
    fn end_waiting(&mut self, connection: &Connection, outcome: &OutcomeRecord, seq: u64, fate: Fate) -> Result<Fate, Fault> {
        let (run, id) = (outcome.run_id, seq.cast_signed());
        let found = self.row(connection, run, seq)?.map(|row| row.fate);
        let Some(from) = found.filter(|from| *from != Fate::Claimed && outcome.disposition.may_follow(*from)) else {
            return Err(refused(connection, run, seq, &format!("to become {fate}")));
        };
        if outcome.disposition == Disposition::Released {
            connection.post(RELEASE, params![run.0, id, self.now_ms])?;
            return Ok(from);
        }
        let columns = Columns::of(&outcome.disposition, self.now_ms);
        let reply = outcome.reply.as_deref().map(|reply| shortened(reply, REPLY_CHARS));
        let (number, was, now) = (fate.number(), from.number(), self.now_ms);
        connection.post(END_WAITING, params![run.0, id, number, now, columns.at_ms, reply, columns.fields, was, columns.refusals])?;
        Ok(from)
    }

    /// Adds a recipient who has an outcome without ever having been claimed.
    fn append_ended(&mut self, connection: &Connection, outcome: &OutcomeRecord) -> Result<(), Fault> {
        if !outcome.disposition.may_begin() {
            return Err(Fault::conflict(format_args!(
                "run {}: a message that was never claimed cannot have this outcome",
                outcome.run_id.0
            )));
        }
        let seq = self.next_seq(outcome.run_id)?;
        let fate = outcome.disposition.fate();
        let server = outcome.server.map(|server| server.0);
        let reply = outcome.reply.as_deref().map(|reply| shortened(reply, REPLY_CHARS));
        let (run, recipient, state, epoch) = (outcome.run_id.0, outcome.recipient.as_ref(), fate.number(), self.epoch);
        connection.post(APPEND, params![run, seq.cast_signed(), recipient, state, 0, server, self.now_ms, reply, epoch])?;
        self.changes.add(outcome.run_id, fate, server, 1);
        Ok(())
    }

    fn write_claims(&mut self, connection: &Connection, claims: &[Claim]) -> Result<(), Fault> {
        if claims.is_empty() {
            return Ok(());
        }
        let mut append = connection.prepare(APPEND)?;
        let is_together = matches!(connection, Connection::Postgres(_));
        let mut new = Vec::with_capacity(if is_together { claims.len() } else { 0 });
        let not_mailed = suppressions::why(connection, self.runs, self.keys, claims)?;
        self.look_up(connection, claims.iter().filter_map(|claim| Some((claim.run_id, claim.seq?))))?;
        for (claim, not_mailed) in claims.iter().zip(&not_mailed) {
            if let Some(NotMailed { why, hash }) = not_mailed {
                self.end_suppressed(connection, claim, why, hash.as_deref())?;
                self.seqs.push(None);
                continue;
            }
            let seq = if let Some(seq) = claim.seq {
                self.claim_again(connection, claim, seq)?;
                seq
            } else {
                let seq = self.next_seq(claim.run_id)?;
                let (run, state) = (claim.run_id, Fate::Claimed.number());
                if is_together {
                    let (recipient, attempt, server) = (&*claim.recipient, claim.attempt, Some(claim.server.0));
                    new.push(NewRow { run, seq, recipient, state, attempt, server, reply: None });
                } else {
                    append.execute(params![
                        run.0,
                        seq.cast_signed(),
                        claim.recipient.as_ref(),
                        state,
                        claim.attempt,
                        claim.server.0,
                        self.now_ms,
                        None::<&str>,
                        self.epoch
                    ])?;
                }
                self.changes.add(claim.run_id, Fate::Claimed, None, 1);
                seq
            };
            self.seqs.push(Some(seq));
        }
        rows::append(connection, &new, self.now_ms, self.epoch)
    }

    /// Ends the message of a recipient who is suppressed, instead of claiming it. `hash` stands for one who was forgotten.
    fn end_suppressed(&mut self, connection: &Connection, claim: &Claim, why: &str, hash: Option<&str>) -> Result<(), Fault> {
        let (run, why) = (claim.run_id, shortened(why, REPLY_CHARS));
        let Some(seq) = claim.seq else {
            let seq = self.next_seq(run)?;
            let (state, recipient) = (Fate::Suppressed.number(), hash.unwrap_or(&claim.recipient));
            let (seq, server) = (seq.cast_signed(), None::<i64>);
            connection.post(APPEND, params![run.0, seq, recipient, state, 0, server, self.now_ms, why, self.epoch])?;
            self.changes.add(run, Fate::Suppressed, None, 1);
            return Ok(());
        };
        let Some(row) = self.row(connection, run, seq)?.filter(|row| row.may_be_claimed(self.epoch)) else {
            return Err(refused(connection, run, seq, "to be suppressed"));
        };
        // That it is not sent again does not tell whether it was sent before.
        let fate = if row.may_have_been_mailed() { Fate::Unknown } else { Fate::Suppressed };
        connection.post(SUPPRESS, params![run.0, seq.cast_signed(), fate.number(), self.now_ms, why, hash])?;
        self.changes.add(run, row.fate, None, -1);
        self.changes.add(run, fate, row.server.filter(|_| fate == Fate::Unknown), 1);
        self.taken_up.push((run, seq));
        Ok(())
    }

    /// Notes the first claim that did not come back unsent: from then on, a message of the run may have left, whatever is claimed.
    fn note_first_sent(&mut self, connection: &Connection, run: RunId) -> Result<(), Fault> {
        if self.run(run)?.has_sent || self.begun.contains(&run) {
            return Ok(());
        }
        let note = "UPDATE runs SET first_claimed_at_ms = coalesce(first_claimed_at_ms, ?2) WHERE id = ?1";
        connection.post(note, [run.0, self.now_ms])?;
        self.begun.push(run);
        Ok(())
    }

    /// Another attempt, a move to another server, or the resending of a claim of an earlier process.
    fn claim_again(&mut self, connection: &Connection, claim: &Claim, seq: u64) -> Result<(), Fault> {
        let run = claim.run_id;
        self.run(run)?;
        let row = self.row(connection, run, seq)?;
        let resent = match row {
            Some(Row { fate: Fate::Deferred, .. }) => {
                self.changes.add(run, Fate::Deferred, None, -1);
                self.changes.add(run, Fate::Claimed, None, 1);
                false
            }
            Some(Row { fate: Fate::Claimed, epoch, .. }) => epoch != self.epoch,
            _ => return Err(refused(connection, run, seq, "to be claimed again")),
        };
        if resent {
            self.changes.add_resent(run, 1);
        }
        let (attempt, server, resent) = (claim.attempt, claim.server.0, i64::from(resent));
        connection.post(RECLAIM, params![run.0, seq.cast_signed(), attempt, server, self.now_ms, resent, self.epoch])?;
        self.taken_up.push((run, seq));
        Ok(())
    }
}

impl RunState {
    fn is_idle(&self) -> bool {
        self.leased.is_empty() && self.to_resend.is_empty()
    }
}

/// The current state of a message.
pub(super) struct Row {
    pub fate: Fate,
    pub server: Option<i64>,
    epoch: i64,
    resent: i64,
}

impl Row {
    /// What a query found: state, `server_id`, epoch, resent, from this column on. `None` for a state of a newer version.
    fn read(row: &database::Row<'_>, from: usize) -> Result<Option<Self>, Fault> {
        let (number, server, epoch, resent) = (row.get(from)?, row.get(from + 1)?, row.get(from + 2)?, row.get(from + 3)?);
        Ok(Fate::from_number(number).map(|fate| Self { fate, server, epoch, resent }))
    }

    /// Whether it may be claimed by the process of this epoch: it waits for an attempt, or a process before left it claimed.
    fn may_be_claimed(&self, epoch: i64) -> bool {
        self.fate == Fate::Deferred || (self.fate == Fate::Claimed && self.epoch != epoch)
    }

    /// Whether a message that waits for its row of the audience has had an attempt without a known outcome.
    pub fn may_have_been_mailed(&self) -> bool {
        self.fate == Fate::Claimed || self.resent > 0
    }
}

pub(super) fn row(connection: &Connection, run: RunId, seq: u64) -> Result<Option<Row>, Fault> {
    let mut statement = connection.prepare(ROW)?;
    Ok(statement.row(params![run.0, seq.cast_signed()], |row| Row::read(row, 0))?.flatten())
}

fn refused(connection: &Connection, run: RunId, seq: u64, what: &str) -> Fault {
    let state = match row(connection, run, seq) {
        Ok(Some(row)) => row.fate.as_str(),
        Ok(None) => "not there",
        Err(fault) => return fault,
    };
    Fault::conflict(format_args!("message {seq} of run {} is {state} and was {what}", run.0))
}

/// The columns that a disposition writes besides the fate.
#[derive(Default)]
struct Columns<'a> {
    at_ms: Option<i64>,
    fields: Option<&'a str>,
    refusals: Option<&'a str>,
    resent: i64,
    /// The number of attempts that do not count after all.
    uncounted: i64,
}

impl<'a> Columns<'a> {
    fn of(disposition: &'a Disposition, now_ms: i64) -> Self {
        match disposition {
            Disposition::Deferred { at_ms, fields } => Self { at_ms: Some(*at_ms), fields: Some(fields), ..Self::default() },
            Disposition::Resend { at_ms, fields } => Self { at_ms: Some(*at_ms), fields: Some(fields), resent: 1, ..Self::default() },
            Disposition::Returned { at_ms, fields, refusals } => {
                let at_ms = Some((*at_ms).max(now_ms));
                Self { at_ms, fields: Some(fields), refusals: refusals.as_deref(), uncounted: 1, ..Self::default() }
            }
            Disposition::Held { fields, refusals } => {
                Self { fields: Some(fields), refusals: Some(refusals), uncounted: 1, ..Self::default() }
            }
            _ => Self::default(),
        }
    }
}
