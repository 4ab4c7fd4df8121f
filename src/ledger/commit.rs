//! The hot path: one group commit of outcomes and claims.
//!
//! New claims are appended, so that 64 of them touch two or three pages; counts and usage are summed up first and written
//! once for each group commit.

use std::{collections::HashMap, sync::Arc, time::Instant};

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::{
    Claim, Commit, CommitReceipt, EndState, MessageState, OutcomeRecord, RunId,
    error::{Fault, LedgerError},
    writer::{RunState, Writer, not_begun},
};

/// Characters of a server's reply that are kept.
const REPLY_CHARS: usize = 250;

const APPEND: &str = "INSERT INTO messages (run_id, seq, recipient, state, attempt, server_id, updated_at_ms, unknowns, reply, boot)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8, ?9)";
const END_CLAIMED: &str = "UPDATE messages SET state = ?3, updated_at_ms = ?4, next_attempt_at_ms = ?5, reply = ?6, fields = ?7,
    server_id = ?8, unknowns = unknowns + ?9, attempt = max(attempt - ?10, 0) WHERE run_id = ?1 AND seq = ?2 AND state = 0";
const END_DEFERRED: &str = "UPDATE messages SET state = ?3, updated_at_ms = ?4, next_attempt_at_ms = ?5, reply = ?6, fields = ?7
    WHERE run_id = ?1 AND seq = ?2 AND state = 2";
const RECLAIM: &str = "UPDATE messages SET state = 0, attempt = ?3, server_id = ?4, updated_at_ms = ?5, next_attempt_at_ms = NULL,
    unknowns = unknowns + ?6, boot = ?7 WHERE run_id = ?1 AND seq = ?2";
const ROW: &str = "SELECT state, server_id, boot FROM messages WHERE run_id = ?1 AND seq = ?2";

/// Changes of the table `counts`, summed up.
#[derive(Default)]
pub(super) struct Tally {
    changes: Vec<(RunId, MessageState, i64, i64)>,
    resent: Vec<(RunId, i64)>,
}

impl Tally {
    /// Adds `change` messages in a state; the server counts only for an end.
    pub(super) fn add(&mut self, run: RunId, state: MessageState, server: Option<i64>, change: i64) {
        let server = if state.is_end() { server.unwrap_or(0) } else { 0 };
        match self.changes.iter_mut().find(|c| c.0 == run && c.1 == state && c.2 == server) {
            Some(found) => found.3 += change,
            None => self.changes.push((run, state, server, change)),
        }
    }

    /// Adds one message that is sent again though its outcome is unknown.
    pub(super) fn add_resent(&mut self, run: RunId) {
        match self.resent.iter_mut().find(|r| r.0 == run) {
            Some(found) => found.1 += 1,
            None => self.resent.push((run, 1)),
        }
    }

    /// Writes the sums.
    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        if self.changes.iter().any(|c| c.3 != 0) {
            let mut statement = connection.prepare_cached(
                "INSERT INTO counts (run_id, state, server_id, count) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (run_id, state, server_id) DO UPDATE SET count = count + excluded.count",
            )?;
            for (run, state, server, change) in self.changes.iter().filter(|c| c.3 != 0) {
                statement.execute(params![run.0, state.number(), server, change])?;
            }
        }
        for (run, count) in &self.resent {
            connection.prepare_cached("UPDATE runs SET resent = resent + ?2 WHERE id = ?1")?.execute([run.0, *count])?;
        }
        Ok(())
    }
}

/// One list of usage keys and how many claims of a commit count for it.
type UsageCount<'a> = (&'a Arc<[Arc<str>]>, i64);

/// A group commit while it is written.
struct Page<'a> {
    runs: &'a mut HashMap<RunId, RunState>,
    epoch: i64,
    now_ms: i64,
    tally: Tally,
    seqs: Vec<u64>,
    /// Messages that are not leased and not waiting for their recipient any more once this is durable.
    taken_up: Vec<(RunId, u64)>,
}

impl Writer {
    /// Writes a group commit. When this returns an error, nothing of it is in the ledger.
    pub(super) fn commit(&mut self, commit: &Commit) -> Result<CommitReceipt, LedgerError> {
        let started = Instant::now();
        self.now_ms = self.now_ms.max(commit.now_ms);
        let mut page = Page {
            runs: &mut self.runs,
            epoch: self.book.epoch,
            now_ms: commit.now_ms,
            tally: Tally::default(),
            seqs: Vec::with_capacity(commit.claims.len()),
            taken_up: Vec::new(),
        };
        self.book.transaction(|connection| {
            page.write_outcomes(connection, &commit.outcomes)?;
            page.write_claims(connection, &commit.claims)?;
            page.tally.write(connection)?;
            write_usage(connection, &commit.claims, commit.now_ms.div_euclid(60_000))?;
            Ok(())
        })?;
        let Page { seqs, taken_up, .. } = page;
        for (run, seq) in taken_up {
            if let Some(state) = self.runs.get_mut(&run) {
                state.leased.remove(&seq);
                state.to_resend.remove(&seq);
            }
        }
        Ok(CommitReceipt { seqs, took: started.elapsed() })
    }
}

impl Page<'_> {
    fn run(&mut self, run: RunId) -> Result<&mut RunState, Fault> {
        self.runs.get_mut(&run).ok_or_else(|| Fault::Told(not_begun(run)))
    }

    fn next_seq(&mut self, run: RunId) -> Result<u64, Fault> {
        let state = self.run(run)?;
        let seq = state.next_seq;
        // Not taken back when the commit fails: a gap does no harm.
        state.next_seq += 1;
        Ok(seq)
    }

    fn write_outcomes(&mut self, connection: &Connection, outcomes: &[OutcomeRecord]) -> Result<(), Fault> {
        if outcomes.is_empty() {
            return Ok(());
        }
        let mut end_claimed = connection.prepare_cached(END_CLAIMED)?;
        for outcome in outcomes {
            match outcome.seq {
                Some(seq) => self.write_outcome(connection, &mut end_claimed, outcome, seq)?,
                None => self.append_failed(connection, outcome)?,
            }
        }
        Ok(())
    }

    fn write_outcome(
        &mut self,
        connection: &Connection,
        end_claimed: &mut CachedStatement<'_>,
        outcome: &OutcomeRecord,
        seq: u64,
    ) -> Result<(), Fault> {
        let run = outcome.run_id;
        let mut state = outcome.state.state();
        let to_resend = &self.run(run)?.to_resend;
        if state == MessageState::RenderFailed && !to_resend.is_empty() && to_resend.contains(&seq) {
            // An earlier process may have sent it: that its template fails now does not change that.
            state = MessageState::Unknown;
        }
        let (next_attempt, fields, unknowns, uncounted) = match &outcome.state {
            EndState::Deferred { next_attempt_at_ms, fields } => (Some(*next_attempt_at_ms), Some(fields.as_str()), 0, 0),
            EndState::UnknownResend { next_attempt_at_ms, fields } => (Some(*next_attempt_at_ms), Some(fields.as_str()), 1, 0),
            EndState::Returned { fields } => (Some(self.now_ms), Some(fields.as_str()), 0, 1),
            _ => (None, None, 0, 0),
        };
        let server = match outcome.server {
            Some(server) => Some(server.0),
            None => row(connection, run, seq)?.and_then(|row| row.server),
        };
        let reply = outcome.reply.as_deref().map(|reply| shortened(reply, REPLY_CHARS));
        let (number, now) = (state.number(), self.now_ms);
        let ended = end_claimed.execute(params![
            run.0,
            seq.cast_signed(),
            number,
            now,
            next_attempt,
            reply,
            fields,
            server,
            unknowns,
            uncounted
        ])?;
        if ended == 1 {
            self.tally.add(run, MessageState::Claimed, None, -1);
        } else {
            let possible =
                matches!(outcome.state, EndState::Deferred { .. } | EndState::Returned { .. } | EndState::Expired | EndState::RenderFailed);
            let mut end_deferred = connection.prepare_cached(END_DEFERRED)?;
            if !possible || end_deferred.execute(params![run.0, seq.cast_signed(), number, now, next_attempt, reply, fields])? != 1 {
                return Err(refused(connection, run, seq, &format!("to end as {state}")));
            }
            self.tally.add(run, MessageState::Deferred, None, -1);
        }
        self.tally.add(run, state, server, 1);
        if unknowns > 0 {
            self.tally.add_resent(run);
        }
        if !self.run(run)?.is_idle() {
            self.taken_up.push((run, seq));
        }
        Ok(())
    }

    /// A recipient whose template failed before anything was claimed.
    fn append_failed(&mut self, connection: &Connection, outcome: &OutcomeRecord) -> Result<(), Fault> {
        if outcome.state != EndState::RenderFailed {
            return Err(Fault::conflict(format_args!("run {}: a message that was never claimed cannot end this way", outcome.run_id.0)));
        }
        let seq = self.next_seq(outcome.run_id)?;
        let state = MessageState::RenderFailed;
        let server = outcome.server.map(|server| server.0);
        let reply = outcome.reply.as_deref().map(|reply| shortened(reply, REPLY_CHARS));
        connection.prepare_cached(APPEND)?.execute(params![
            outcome.run_id.0,
            seq.cast_signed(),
            outcome.recipient.as_ref(),
            state.number(),
            0,
            server,
            self.now_ms,
            reply,
            self.epoch
        ])?;
        self.tally.add(outcome.run_id, state, server, 1);
        Ok(())
    }

    fn write_claims(&mut self, connection: &Connection, claims: &[Claim]) -> Result<(), Fault> {
        if claims.is_empty() {
            return Ok(());
        }
        let mut append = connection.prepare_cached(APPEND)?;
        for claim in claims {
            let seq = if let Some(seq) = claim.seq {
                self.claim_again(connection, claim, seq)?;
                seq
            } else {
                let seq = self.next_seq(claim.run_id)?;
                append.execute(params![
                    claim.run_id.0,
                    seq.cast_signed(),
                    claim.recipient.as_ref(),
                    MessageState::Claimed.number(),
                    claim.attempt,
                    claim.server.0,
                    self.now_ms,
                    None::<&str>,
                    self.epoch
                ])?;
                self.tally.add(claim.run_id, MessageState::Claimed, None, 1);
                seq
            };
            self.seqs.push(seq);
        }
        Ok(())
    }

    /// A further try, a move to another server, or the claim of an earlier process that is sent again.
    fn claim_again(&mut self, connection: &Connection, claim: &Claim, seq: u64) -> Result<(), Fault> {
        let run = claim.run_id;
        self.run(run)?;
        let row = row(connection, run, seq)?;
        let resent = match row {
            Some(Row { state: MessageState::Deferred, .. }) => {
                self.tally.add(run, MessageState::Deferred, None, -1);
                self.tally.add(run, MessageState::Claimed, None, 1);
                false
            }
            Some(Row { state: MessageState::Claimed, boot, .. }) => boot != self.epoch,
            _ => return Err(refused(connection, run, seq, "to be claimed again")),
        };
        if resent {
            self.tally.add_resent(run);
        }
        connection.prepare_cached(RECLAIM)?.execute(params![
            run.0,
            seq.cast_signed(),
            claim.attempt,
            claim.server.0,
            self.now_ms,
            i64::from(resent),
            self.epoch
        ])?;
        self.taken_up.push((run, seq));
        Ok(())
    }
}

impl RunState {
    fn is_idle(&self) -> bool {
        self.leased.is_empty() && self.to_resend.is_empty()
    }
}

struct Row {
    state: MessageState,
    server: Option<i64>,
    boot: i64,
}

fn row(connection: &Connection, run: RunId, seq: u64) -> Result<Option<Row>, Fault> {
    let mut statement = connection.prepare_cached(ROW)?;
    let found = statement
        .query_row(params![run.0, seq.cast_signed()], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?, row.get::<_, i64>(2)?))
        })
        .optional()?;
    Ok(found.and_then(|(state, server, boot)| Some(Row { state: MessageState::from_number(state)?, server, boot })))
}

fn refused(connection: &Connection, run: RunId, seq: u64, what: &str) -> Fault {
    let state = match row(connection, run, seq) {
        Ok(Some(row)) => row.state.as_str(),
        Ok(None) => "not there",
        Err(fault) => return fault,
    };
    Fault::conflict(format_args!("message {seq} of run {} is {state} and was {what}", run.0))
}

fn write_usage(connection: &Connection, claims: &[Claim], minute: i64) -> Result<(), Fault> {
    let mut lists: Vec<UsageCount<'_>> = Vec::new();
    for claim in claims.iter().filter(|claim| !claim.usage_keys.is_empty()) {
        match lists.iter_mut().find(|list| Arc::ptr_eq(list.0, &claim.usage_keys)) {
            Some(list) => list.1 += 1,
            None => lists.push((&claim.usage_keys, 1)),
        }
    }
    if lists.is_empty() {
        return Ok(());
    }
    let mut statement = connection.prepare_cached(
        "INSERT INTO usage (minute, key, count) VALUES (?1, ?2, ?3) ON CONFLICT (minute, key) DO UPDATE SET count = count + excluded.count",
    )?;
    for (keys, count) in lists {
        for key in keys.iter() {
            statement.execute(params![minute, key.as_ref(), count])?;
        }
    }
    Ok(())
}

/// The first `chars` characters.
pub(super) fn shortened(text: &str, chars: usize) -> &str {
    if text.len() <= chars {
        return text;
    }
    text.char_indices().nth(chars).map_or(text, |(end, _)| text.get(..end).unwrap_or(text))
}
