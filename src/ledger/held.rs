//! Held messages, servers that are out of use for a run, and how an operator resumes it.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Changes, HeldMessage, Resumption, RunId,
    database::{Connection, params},
    error::{Fault, LedgerError},
    writer::Writer,
};
use crate::resources::{
    Bar, Reason,
    fate::Fate,
    resume::{Handled, ResumeHeld},
};

/// A person has resumed the run: what came before is no longer held against it.
const JUDGE_ANEW: &str = "UPDATE runs SET judged_bounced = bounced, judged_complained = complained,
        judged_accepted = (SELECT CAST(coalesce(sum(count), 0) AS BIGINT) FROM counts WHERE run_id = ?1 AND state = 1),
        judged_rejected = (SELECT CAST(coalesce(sum(count), 0) AS BIGINT) FROM counts WHERE run_id = ?1 AND state = 3)
    WHERE id = ?1";

impl Writer {
    pub(super) fn resume(&mut self, run: RunId, resumption: &Resumption, now_ms: i64) -> Result<Changes, LedgerError> {
        self.run(run)?;
        let (changes, awaiting) = self.book.transaction(|connection| {
            let mut changes = Changes::default();
            if let Some(held) = resumption.held {
                connection.execute("DELETE FROM guards WHERE run_id = ?1", [run.0])?;
                end_held(connection, &mut changes, run, held, now_ms)?;
            }
            changes.extend(super::runs::retry_failed_templates(connection, run, now_ms)?);
            if resumption.resends_unknown {
                resend_unknown(connection, &mut changes, run, now_ms)?;
            }
            if let Some(token) = &resumption.token {
                let known: Option<String> = connection.value("SELECT resume_handled FROM runs WHERE id = ?1", [run.0])?;
                let mut handled = Handled::read(known.as_deref().unwrap_or_default());
                handled.note(token);
                connection.execute("UPDATE runs SET resume_handled = ?2 WHERE id = ?1", params![run.0, handled.text()])?;
            }
            if super::runs::counts(connection, run)?.fates.open() > 0 || changes.counts.iter().any(|c| !c.fate.is_final() && c.by > 0) {
                connection.execute(
                    "UPDATE runs SET closed_at_ms = NULL, reopened_at_ms = ?2 WHERE id = ?1 AND closed_at_ms IS NOT NULL",
                    [run.0, now_ms],
                )?;
            }
            changes.write(connection)?;
            if resumption.token.is_some() {
                connection.execute(JUDGE_ANEW, [run.0])?;
                super::rollouts::judge_anew(connection, run)?;
            }
            Ok((changes, super::runs::awaiting_their_row(connection, run)?))
        })?;
        self.run(run)?.to_resend.extend(awaiting);
        Ok(changes)
    }
}

/// Retries held messages through any server, or rejects them.
fn end_held(connection: &Connection, changes: &mut Changes, run: RunId, held: ResumeHeld, now_ms: i64) -> Result<(), Fault> {
    let mut statement =
        connection.prepare("SELECT server_id, count(*) FROM messages WHERE run_id = ?1 AND partition = 0 AND state = 7 GROUP BY 1")?;
    let by_server: Vec<(Option<i64>, i64)> = statement.all([run.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for (server, count) in by_server {
        changes.add(run, Fate::Held, None, -count);
        match held {
            ResumeHeld::Retry => changes.add(run, Fate::Deferred, None, count),
            ResumeHeld::Reject => changes.add(run, Fate::Rejected, server, count),
        }
    }
    let sql = match held {
        ResumeHeld::Retry => {
            "UPDATE messages SET state = 2, updated_at_ms = ?2, next_attempt_at_ms = ?2, refusals = NULL, since_ms = ?2
             WHERE run_id = ?1 AND partition = 0 AND state = 7"
        }
        ResumeHeld::Reject => {
            "UPDATE messages SET state = 3, updated_at_ms = ?2, fields = NULL, refusals = NULL, attempt = attempt + 1
             WHERE run_id = ?1 AND partition = 0 AND state = 7"
        }
    };
    connection.execute(sql, [run.0, now_ms])?;
    Ok(())
}

/// Schedules messages of unknown outcome to be resent once their row of the audience is read, since their fields were not kept.
fn resend_unknown(connection: &Connection, changes: &mut Changes, run: RunId, now_ms: i64) -> Result<(), Fault> {
    let mut statement = connection.prepare("SELECT server_id, count FROM counts WHERE run_id = ?1 AND state = ?2 AND count <> 0")?;
    let by_server: Vec<(i64, i64)> = statement.all([run.0, Fate::Unknown.number()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for (server, count) in by_server {
        changes.add(run, Fate::Unknown, (server != 0).then_some(server), -count);
        changes.add(run, Fate::Deferred, None, count);
        changes.add_resent(run, count);
    }
    connection.execute(
        "UPDATE messages SET state = 2, updated_at_ms = ?2, next_attempt_at_ms = NULL, fields = NULL, attempt = 0, resent = resent + 1,
            since_ms = ?2
         WHERE run_id = ?1 AND partition = 0 AND state = 5",
        [run.0, now_ms],
    )?;
    Ok(())
}

pub(super) fn bars(connection: &Connection, run: RunId) -> Result<BTreeMap<Arc<str>, Bar>, Fault> {
    let mut statement = connection.prepare(
        "SELECT s.name, g.reason, g.message, g.spec_hash FROM guards g JOIN servers s ON s.id = g.server_id WHERE g.run_id = ?1 ORDER BY s.name",
    )?;
    statement.all([run.0], |row| {
        // One that another version wrote may have a reason that is unknown here.
        let reason = Reason::from_name(row.text(1)?).unwrap_or(Reason::RefusedAlike);
        Ok((row.get::<String>(0)?.into(), Bar { reason, message: row.get(2)?, work_hash: row.get::<i64>(3)?.cast_unsigned() }))
    })
}

pub(super) fn held(connection: &Connection, run: RunId, limit: usize) -> Result<Vec<HeldMessage>, Fault> {
    let mut statement = connection.prepare(
        "SELECT seq, recipient, coalesce(refusals, '') FROM messages WHERE run_id = ?1 AND partition = 0 AND state = 7 ORDER BY seq LIMIT ?2",
    )?;
    statement.all(params![run.0, i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
        Ok(HeldMessage { seq: row.get::<i64>(0)?.cast_unsigned(), recipient: row.get(1)?, refusals: row.get(2)? })
    })
}
