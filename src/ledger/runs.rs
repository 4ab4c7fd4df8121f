//! The writer's work besides the hot path: runs, due messages, counts, bad rows.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use super::{
    AudienceRead, BadRow, Changes, DueMessage, RunCounts, RunId, RunKey, RunRecord, RunStart, ServerCounts, ServerDay, ServerId,
    UnresolvedClaim, Usage,
    commit::{add_usage, row as row_of},
    database::{Connection, Row, params},
    domain_key,
    error::{Fault, LedgerError},
    rollouts,
    writer::{RunState, Suppressing, Writer},
};
use crate::{
    audience::canonical,
    feedback::{FeedbackCounts, Judged},
    meta::bound::shortened,
    resources::{campaign::WhenOutcomeIsUnknown, fate::Fate, resume::Handled},
};

/// The most bad rows of a run that are kept.
const BAD_ROWS_MAX: usize = 1000;
/// The most characters that are kept of what is wrong with a row.
const BAD_ROW_CHARS: usize = 500;
/// The reply of a message whose process ended before the server's answer.
const LEFT: &str = "Mailfleet ended before the server's answer arrived";

/// The columns of [`record`]; those of the rollout come last.
const RECORD: &str =
    "SELECT id, namespace, campaign, run, started_at_ms, audience_read_at_ms, total, duplicates, excluded, bad_rows, closed_at_ms,
    reopened_at_ms IS NOT NULL, resume_handled, reopen, first_claimed_at_ms IS NOT NULL
        OR EXISTS (SELECT 1 FROM counts WHERE run_id = runs.id AND state = 0 AND count > 0), delivered, soft_bounced, bounced, complained,
    unsubscribed, judged_accepted, judged_rejected, judged_bounced, judged_complained";
/// How many there are before those of the rollout.
const OF_RUN: usize = 24;
const FROM: &str = "FROM runs LEFT JOIN rollouts ON rollouts.run_id = runs.id";

impl Writer {
    pub(super) fn server_id(&mut self, name: &str) -> Result<ServerId, LedgerError> {
        let find = |connection: &Connection| connection.row("SELECT id FROM servers WHERE name = ?1", [name], |row| row.get(0));
        if let Some(id) = self.book.read(find)? {
            return Ok(ServerId(id));
        }
        self.book.transaction(|connection| {
            connection.execute("INSERT INTO servers (name) VALUES (?1) ON CONFLICT DO NOTHING", [name])?;
            Ok(ServerId(connection.value("SELECT id FROM servers WHERE name = ?1", [name])?))
        })
    }

    pub(super) fn begin_run(&mut self, key: &RunKey, start: &RunStart, now_ms: i64) -> Result<RunRecord, LedgerError> {
        let epoch = self.book.epoch;
        let (record, state) = self.book.transaction(|connection| {
            connection
                .prepare(
                    "INSERT INTO runs (namespace, campaign, run, started_at_ms, resume_handled, reopen) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                     ON CONFLICT DO NOTHING",
                )?
                .execute(params![key.namespace, key.campaign, key.run, now_ms, start.resume, start.reopen.cast_signed()])?;
            // Recipients are added even to a run that was only resumed before.
            connection
                .prepare(
                    "UPDATE runs SET reopen = ?4, closed_at_ms = NULL, reopened_at_ms = NULL
                     WHERE namespace = ?1 AND campaign = ?2 AND run = ?3 AND closed_at_ms IS NOT NULL AND reopen < ?4",
                )?
                .execute(params![key.namespace, key.campaign, key.run, start.reopen.cast_signed()])?;
            connection
                .prepare("UPDATE runs SET topic = ?4 WHERE namespace = ?1 AND campaign = ?2 AND run = ?3 AND topic IS DISTINCT FROM ?4")?
                .execute(params![key.namespace, key.campaign, key.run, start.topic.as_deref()])?;
            let found = || find_run(connection, key)?.ok_or_else(|| Fault::conflict(format_args!("{key} is not there")));
            let mut record = found()?;
            if let Some(first) = start.rollout.filter(|_| record.rollout.is_none()) {
                rollouts::begin(connection, record.id, first, start.promote.as_deref(), now_ms)?;
                record = found()?;
            }
            let left = left_claims(connection, record.id, epoch)?;
            record.left_without_outcome = left.len() as u64;
            count_as_written(connection, record.id, &left, start, now_ms)?;
            if record.has_sent {
                // Claims that were left are no longer claimed once they are resolved.
                connection
                    .prepare("UPDATE runs SET first_claimed_at_ms = ?2 WHERE id = ?1 AND first_claimed_at_ms IS NULL")?
                    .execute([record.id.0, now_ms])?;
            }
            if record.closed_at_ms.is_none() {
                retry_failed_templates(connection, record.id, now_ms)?.write(connection)?;
            }
            let mut to_resend = resolve(connection, record.id, start.when_outcome_is_unknown, &left, now_ms)?;
            to_resend.extend(awaiting_their_row(connection, record.id)?);
            let last: Option<i64> = connection.value("SELECT max(seq) FROM messages WHERE run_id = ?1 AND partition = 0", [record.id.0])?;
            let next_seq = last.unwrap_or(0).cast_unsigned() + 1;
            let namespace: Arc<str> = key.namespace.as_str().into();
            let suppressing = Suppressing::of(connection, &namespace)?;
            Ok((record, RunState { next_seq, leased: HashSet::new(), to_resend, has_sent: false, namespace, suppressing }))
        })?;
        self.runs.insert(record.id, RunState { has_sent: record.has_sent, ..state });
        Ok(record)
    }

    pub(super) fn audience_read(&mut self, run: RunId, read: AudienceRead, unmatched: &[u64], now_ms: i64) -> Result<Changes, LedgerError> {
        let state = self.run(run)?;
        // One that was matched or claimed in the meantime is left alone.
        let gone: Vec<u64> = unmatched.iter().copied().filter(|seq| state.to_resend.contains(seq)).collect();
        let changes = self.book.transaction(|connection| {
            connection
                .prepare(
                    "UPDATE runs SET audience_read_at_ms = ?2, total = ?3, duplicates = ?4, excluded = ?5, bad_rows = ?6 WHERE id = ?1",
                )?
                .execute([
                    run.0,
                    now_ms,
                    read.total.cast_signed(),
                    read.duplicates.cast_signed(),
                    read.excluded.cast_signed(),
                    read.bad_rows.cast_signed(),
                ])?;
            let mut changes = Changes::default();
            for seq in &gone {
                let Some(row) = row_of(connection, run, *seq)? else { continue };
                if row.may_have_been_mailed() {
                    end_as_unknown(connection, &mut changes, (run, *seq), row.fate, row.server, now_ms)?;
                } else {
                    withdraw(connection, &mut changes, (run, *seq), row.fate, now_ms)?;
                }
            }
            changes.write(connection)?;
            Ok(changes)
        })?;
        let state = self.run(run)?;
        for seq in &gone {
            state.to_resend.remove(seq);
        }
        Ok(changes)
    }

    pub(super) fn close_run(&mut self, run: RunId, reopen: u64, now_ms: i64) -> Result<(), LedgerError> {
        self.book.transaction(|connection| {
            let open = counts(connection, run)?.fates.open();
            if open > 0 {
                return Err(Fault::conflict(format_args!(
                    "run {} was to be closed while {open} of its messages have no final outcome",
                    run.0
                )));
            }
            connection.execute(
                "UPDATE runs SET closed_at_ms = coalesce(closed_at_ms, ?2), reopen = CASE WHEN reopen > ?3 THEN reopen ELSE ?3 END WHERE id = ?1",
                [run.0, now_ms, reopen.cast_signed()],
            )?;
            Ok(())
        })
    }

    pub(super) fn due(&mut self, run: RunId, now_ms: i64, limit: usize) -> Result<Vec<DueMessage>, LedgerError> {
        self.check_decided()?;
        let state = self.runs.get_mut(&run).ok_or_else(|| super::writer::not_begun(run))?;
        let due = self.book.read(|connection| {
            let mut statement = connection.prepare(
                "SELECT seq, recipient, attempt, fields, refusals, since_ms FROM messages
                 WHERE run_id = ?1 AND partition = 0 AND state = 2 AND next_attempt_at_ms <= ?2 ORDER BY next_attempt_at_ms, seq LIMIT ?3",
            )?;
            let mut rows = statement.query([run.0, now_ms, count(limit + state.leased.len())])?;
            let mut due = Vec::new();
            while let Some(row) = rows.next()? {
                let seq = row.get::<i64>(0)?.cast_unsigned();
                if due.len() < limit && !state.leased.contains(&seq) {
                    let (fields, refusals) = (row.get(3)?, row.get(4)?);
                    due.push(DueMessage { seq, recipient: row.get(1)?, attempt: row.get(2)?, fields, refusals, since_ms: row.get(5)? });
                }
            }
            Ok(due)
        })?;
        state.leased.extend(due.iter().map(|message| message.seq));
        Ok(due)
    }

    pub(super) fn next_due(&mut self, run: RunId) -> Result<Option<i64>, LedgerError> {
        self.check_decided()?;
        let state = self.runs.get(&run).ok_or_else(|| super::writer::not_begun(run))?;
        self.book.read(|connection| {
            let mut statement = connection.prepare(
                "SELECT seq, next_attempt_at_ms FROM messages
                 WHERE run_id = ?1 AND partition = 0 AND state = 2 AND next_attempt_at_ms IS NOT NULL ORDER BY next_attempt_at_ms, seq LIMIT ?2",
            )?;
            let mut rows = statement.query([run.0, count(state.leased.len() + 1)])?;
            while let Some(row) = rows.next()? {
                if !state.leased.contains(&row.get::<i64>(0)?.cast_unsigned()) {
                    return Ok(Some(row.get(1)?));
                }
            }
            Ok(None)
        })
    }

    pub(super) fn record_bad_rows(&mut self, run: RunId, rows: &[BadRow]) -> Result<(), LedgerError> {
        self.book.transaction(|connection| {
            // Rows that have been fixed since are no longer named.
            connection.execute("DELETE FROM bad_rows WHERE run_id = ?1", [run.0])?;
            let mut kept = BTreeSet::new();
            for row in rows {
                if kept.len() >= BAD_ROWS_MAX {
                    break;
                }
                let what = shortened(&row.what, BAD_ROW_CHARS);
                if kept.insert((row.line, what)) {
                    let insert = "INSERT INTO bad_rows (run_id, line, what) VALUES (?1, ?2, ?3)";
                    connection.post(insert, params![run.0, row.line.cast_signed(), what])?;
                }
            }
            Ok(())
        })
    }
}

/// Messages whose row of the audience has to be read first: to be resent on an operator's request, or to be retried after their
/// template failed.
pub(super) fn awaiting_their_row(connection: &Connection, run: RunId) -> Result<HashSet<u64>, Fault> {
    let mut statement =
        connection.prepare("SELECT seq FROM messages WHERE run_id = ?1 AND partition = 0 AND state = 2 AND next_attempt_at_ms IS NULL")?;
    statement.all([run.0], |row| Ok(row.get::<i64>(0)?.cast_unsigned()))
}

/// Schedules recipients whose template failed to be mailed once their row of the audience is read: the template or the row may have
/// been fixed.
pub(super) fn retry_failed_templates(connection: &Connection, run: RunId, now_ms: i64) -> Result<Changes, Fault> {
    let mut changes = Changes::default();
    let mut statement = connection.prepare("SELECT server_id, count FROM counts WHERE run_id = ?1 AND state = ?2 AND count <> 0")?;
    let by_server: Vec<(i64, i64)> = statement.all([run.0, Fate::RenderFailed.number()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for (server, count) in &by_server {
        changes.add(run, Fate::RenderFailed, (*server != 0).then_some(*server), -count);
        changes.add(run, Fate::Deferred, None, *count);
    }
    if !by_server.is_empty() {
        connection
            .prepare(
                "UPDATE messages SET state = 2, updated_at_ms = ?2, next_attempt_at_ms = NULL, fields = NULL
                 WHERE run_id = ?1 AND partition = 0 AND state = 6",
            )?
            .execute([run.0, now_ms])?;
    }
    Ok(changes)
}

/// A claim that an earlier process left without an outcome.
struct LeftClaim {
    seq: u64,
    has_fields: bool,
    server: Option<i64>,
    claimed_ms: i64,
    /// In canonical form.
    recipient: String,
}

/// There are at most as many claims as fit in flight, mostly the newest messages: the search goes backwards and stops at the last one.
fn left_claims(connection: &Connection, run: RunId, epoch: i64) -> Result<Vec<LeftClaim>, Fault> {
    let mut open = counts(connection, run)?.fates[Fate::Claimed];
    let mut left = Vec::new();
    if open == 0 {
        return Ok(left);
    }
    let mut statement = connection.prepare(
        "SELECT seq, fields IS NOT NULL, server_id, epoch, updated_at_ms, recipient FROM messages WHERE run_id = ?1 AND partition = 0 AND state = 0 ORDER BY seq DESC",
    )?;
    let mut rows = statement.query([run.0])?;
    while open > 0
        && let Some(row) = rows.next()?
    {
        open -= 1;
        if row.get::<i64>(3)? != epoch {
            left.push(LeftClaim {
                seq: row.get::<i64>(0)?.cast_unsigned(),
                has_fields: row.get(1)?,
                server: row.get(2)?,
                claimed_ms: row.get(4)?,
                recipient: canonical(&row.get::<String>(5)?).into_owned(),
            });
        }
    }
    Ok(left)
}

/// Counts messages that were in flight as written now: whenever they were claimed, they may have been written until just now.
fn count_as_written(connection: &Connection, run: RunId, left: &[LeftClaim], start: &RunStart, now_ms: i64) -> Result<(), Fault> {
    let to = now_ms.div_euclid(60_000);
    for claim in left {
        let name: Option<String> = connection.row("SELECT name FROM servers WHERE id = ?1", [claim.server], |row| row.get(0))?;
        let domain = claim.recipient.rsplit_once('@').and_then(|(_, domain)| start.receivers.get(domain));
        let of_domain = name.as_deref().zip(domain).map(|(name, receiver)| domain_key(name, receiver));
        let limits = start.limits.iter().map(|key| &**key);
        for key in name.as_deref().into_iter().chain(limits).chain(of_domain.as_deref()) {
            add_usage(connection, key, claim.claimed_ms.div_euclid(60_000), -1)?;
            add_usage(connection, key, to, 1)?;
        }
        // One that waits for its recipient to be read is counted from this time on.
        let touch = "UPDATE messages SET updated_at_ms = ?3 WHERE run_id = ?1 AND partition = 0 AND seq = ?2";
        connection.post(touch, [run.0, claim.seq.cast_signed(), now_ms])?;
    }
    Ok(())
}

/// Ends or defers the claims that were left; returns those that wait for their recipient to be read from the audience.
fn resolve(
    connection: &Connection,
    run: RunId,
    when_unknown: WhenOutcomeIsUnknown,
    left: &[LeftClaim],
    now_ms: i64,
) -> Result<HashSet<u64>, Fault> {
    let mut changes = Changes::default();
    let mut to_resend = HashSet::new();
    for claim in left {
        match when_unknown {
            WhenOutcomeIsUnknown::Skip => end_as_unknown(connection, &mut changes, (run, claim.seq), Fate::Claimed, claim.server, now_ms)?,
            WhenOutcomeIsUnknown::Resend if claim.has_fields => {
                connection.post(
                    "UPDATE messages SET state = 2, updated_at_ms = ?3, next_attempt_at_ms = ?3, resent = resent + 1
                     WHERE run_id = ?1 AND partition = 0 AND seq = ?2",
                    [run.0, claim.seq.cast_signed(), now_ms],
                )?;
                changes.add(run, Fate::Claimed, None, -1);
                changes.add(run, Fate::Deferred, None, 1);
                changes.add_resent(run, 1);
            }
            WhenOutcomeIsUnknown::Resend => {
                to_resend.insert(claim.seq);
            }
        }
    }
    changes.write(connection)?;
    Ok(to_resend)
}

fn end_as_unknown(
    connection: &Connection,
    changes: &mut Changes,
    (run, seq): (RunId, u64),
    from: Fate,
    server: Option<i64>,
    now_ms: i64,
) -> Result<(), Fault> {
    let seq = seq.cast_signed();
    connection.post(
        "UPDATE messages SET state = 5, updated_at_ms = ?3, reply = coalesce(reply, ?4), fields = NULL, refusals = NULL
         WHERE run_id = ?1 AND partition = 0 AND seq = ?2",
        params![run.0, seq, now_ms, LEFT],
    )?;
    changes.add(run, from, None, -1);
    changes.add(run, Fate::Unknown, server, 1);
    Ok(())
}

/// Withdraws a message whose row is gone from the audience, and which was certainly not mailed.
fn withdraw(connection: &Connection, changes: &mut Changes, (run, seq): (RunId, u64), from: Fate, now_ms: i64) -> Result<(), Fault> {
    connection.post(
        "UPDATE messages SET state = 8, updated_at_ms = ?3, fields = NULL, refusals = NULL
         WHERE run_id = ?1 AND partition = 0 AND seq = ?2",
        [run.0, seq.cast_signed(), now_ms],
    )?;
    changes.add(run, from, None, -1);
    changes.add(run, Fate::Withdrawn, None, 1);
    Ok(())
}

/// The record of a run.
pub(super) fn find_run(connection: &Connection, key: &RunKey) -> Result<Option<RunRecord>, Fault> {
    Ok(find_runs(connection, std::slice::from_ref(key))?.pop().flatten())
}

/// The records of runs, in the order of their keys.
pub(super) fn find_runs(connection: &Connection, keys: &[RunKey]) -> Result<Vec<Option<RunRecord>>, Fault> {
    let sql = format!("{RECORD}, {} {FROM} WHERE namespace = ?1 AND campaign = ?2 AND run = ?3", rollouts::COLUMNS);
    connection.row_of_each(&sql, keys.iter().map(|key| params![key.namespace, key.campaign, key.run].to_vec()), record)
}

/// The records of all runs, oldest first.
pub(super) fn all_runs(connection: &Connection) -> Result<Vec<RunRecord>, Fault> {
    let mut statement = connection.prepare(&format!("{RECORD}, {} {FROM} ORDER BY id", rollouts::COLUMNS))?;
    statement.all((), record)
}

fn record(row: &Row<'_>) -> Result<RunRecord, Fault> {
    let number = |index| Ok::<_, Fault>(row.get::<i64>(index)?.cast_unsigned());
    Ok(RunRecord {
        id: RunId(row.get(0)?),
        key: RunKey { namespace: row.get(1)?, campaign: row.get(2)?, run: row.get(3)? },
        started_at_ms: row.get(4)?,
        audience_read_at_ms: row.get(5)?,
        total: row.get::<Option<i64>>(6)?.map(i64::cast_unsigned),
        duplicates: number(7)?,
        excluded: number(8)?,
        bad_rows: number(9)?,
        closed_at_ms: row.get(10)?,
        is_reopened: row.get(11)?,
        resume_handled: row.get::<Option<String>>(12)?.as_deref().map(Handled::read).unwrap_or_default(),
        reopen: number(13)?,
        has_sent: row.get(14)?,
        feedback: FeedbackCounts {
            delivered: number(15)?,
            soft_bounced: number(16)?,
            bounced: number(17)?,
            complained: number(18)?,
            unsubscribed: number(19)?,
        },
        judged_from: Judged { accepted: number(20)?, rejected: number(21)?, bounced: number(22)?, complained: number(23)? },
        rollout: rollouts::reached(row, OF_RUN)?,
        left_without_outcome: 0,
    })
}

/// The counts of a run, from the table that is kept beside the messages.
pub(super) fn counts(connection: &Connection, run: RunId) -> Result<RunCounts, Fault> {
    let mut counts = RunCounts::default();
    let resent = connection.row("SELECT resent FROM runs WHERE id = ?1", [run.0], |row| row.get::<i64>(0))?;
    counts.resent = resent.unwrap_or(0).cast_unsigned();
    let mut statement = connection.prepare(
        "SELECT c.state, c.count, s.name FROM counts c LEFT JOIN servers s ON s.id = c.server_id WHERE c.run_id = ?1 ORDER BY s.name",
    )?;
    let mut rows = statement.query([run.0])?;
    while let Some(row) = rows.next()? {
        let number: u64 = row.get::<i64>(1)?.cast_unsigned();
        let Some(fate) = Fate::from_number(row.get(0)?) else { continue };
        counts.fates[fate] += number;
        let Some(server) = row.get::<Option<String>>(2)? else { continue };
        if counts.per_server.last().is_none_or(|last| last.server != server) {
            counts.per_server.push(ServerCounts { server, ..ServerCounts::default() });
        }
        if let Some(last) = counts.per_server.last_mut() {
            last.fates[fate] += number;
        }
    }
    Ok(counts)
}

/// A count as SQLite's number type; what does not fit is as good as no bound.
fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Every claim without an outcome of a run that is not closed.
pub(super) fn unresolved_claims(connection: &Connection) -> Result<Vec<UnresolvedClaim>, Fault> {
    let mut statement = connection.prepare(
        "SELECT servers.name, messages.recipient FROM runs
         JOIN messages ON messages.run_id = runs.id AND messages.partition = 0 AND messages.state = 0
         JOIN servers ON servers.id = messages.server_id
         WHERE runs.closed_at_ms IS NULL",
    )?;
    let domain = |recipient: &str| canonical(recipient).rsplit_once('@').map_or_else(String::new, |(_, domain)| domain.to_owned());
    statement.all((), |row| Ok(UnresolvedClaim { server: row.get(0)?, domain: domain(row.text(1)?) }))
}

/// Messages that each server sent on each UTC day.
pub(super) fn days(connection: &Connection) -> Result<Vec<ServerDay>, Fault> {
    let mut statement = connection
        .prepare("SELECT key, minute / 1440, CAST(sum(count) AS BIGINT) FROM usage WHERE key NOT LIKE '% %' GROUP BY 1, 2 ORDER BY 1, 2")?;
    statement.all((), |row| Ok(ServerDay { server: row.get(0)?, day: row.get(1)?, messages: row.count(2)? }))
}

pub(super) fn usage_since(connection: &Connection, minute: i64) -> Result<Vec<Usage>, Fault> {
    let mut statement = connection.prepare("SELECT key, minute, count FROM usage WHERE minute >= ?1 ORDER BY minute, key")?;
    statement.all([minute], |row| Ok(Usage { key: row.get(0)?, minute: row.get(1)?, messages: row.count(2)? }))
}
