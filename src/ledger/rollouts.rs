//! How far the rollouts of runs have come: the share of the audience that may be mailed, which never falls.

use super::{
    RolloutChange, RunId,
    database::{Connection, Row, params},
    error::{Fault, LedgerError},
    writer::Writer,
};
use crate::{
    feedback::Judged,
    resources::{Percent, resume::Handled, rollout::Reached},
};

/// What the run has now: accepted, rejected, and the number of its newest message.
const NOW: &str = "(SELECT CAST(coalesce(sum(count), 0) AS BIGINT) FROM counts WHERE run_id = ?1 AND state = 1) AS accepted,
    (SELECT CAST(coalesce(sum(count), 0) AS BIGINT) FROM counts WHERE run_id = ?1 AND state = 3) AS rejected,
    (SELECT coalesce(max(seq), 0) FROM messages WHERE run_id = ?1 AND partition = 0) AS newest";

/// The columns of [`reached`], beside the run's record.
pub(super) const COLUMNS: &str = "share, share_began_at_ms, share_sent_at_ms, ended_before, step_accepted, step_rejected, step_bounced,
    step_complained, promote_handled";

/// Begins the rollout of a run that has mailed nobody, and has none.
pub(super) fn begin(connection: &Connection, run: RunId, first: Percent, promote: Option<&str>, now_ms: i64) -> Result<(), Fault> {
    let mut handled = Handled::default();
    if let Some(token) = promote {
        handled.note(token);
    }
    connection
        .prepare(
            "INSERT INTO rollouts (run_id, share, share_began_at_ms, ended_before, newest_before, step_accepted, step_rejected,
                step_bounced, step_complained, promote_handled)
             SELECT ?1, ?2, ?3, 0, 0, 0, 0, 0, 0, ?4 WHERE NOT EXISTS (SELECT 1 FROM messages WHERE run_id = ?1)
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![run.0, first.thousandths(), now_ms, handled.text()])?;
    Ok(())
}

/// A person has resumed the run: its step is judged by what comes from now on.
pub(super) fn judge_anew(connection: &Connection, run: RunId) -> Result<(), Fault> {
    let update = format!(
        "UPDATE rollouts SET (step_accepted, step_rejected, newest_before) = (SELECT {NOW}), step_bounced = 0, step_complained = 0
         WHERE run_id = ?1"
    );
    connection.prepare(&update)?.execute([run.0])?;
    Ok(())
}

/// Counts what came back of a message, if it is one of the step that is judged; `seq` is 0 where the message is not known.
pub(super) fn count(connection: &Connection, run: i64, seq: i64, is_bounce: bool) -> Result<(), Fault> {
    let update = if is_bounce {
        "UPDATE rollouts SET step_bounced = step_bounced + 1 WHERE run_id = ?1 AND (?2 = 0 OR ?2 > newest_before)"
    } else {
        "UPDATE rollouts SET step_complained = step_complained + 1 WHERE run_id = ?1 AND (?2 = 0 OR ?2 > newest_before)"
    };
    connection.prepare(update)?.execute([run, seq])?;
    Ok(())
}

/// What a row has from column `at` on; none where the run has no rollout.
pub(super) fn reached(row: &Row<'_>, at: usize) -> Result<Option<Reached>, Fault> {
    let Some(share) = row.get::<Option<u32>>(at)? else { return Ok(None) };
    let number = |index| Ok::<_, Fault>(row.get::<i64>(at + index)?.cast_unsigned());
    Ok(Some(Reached {
        share: Percent::of_thousandths(share),
        began_ms: row.get(at + 1)?,
        sent_ms: row.get(at + 2)?,
        ended_before: number(3)?,
        judged_from: Judged { accepted: number(4)?, rejected: number(5)?, ..Judged::default() },
        bounced: number(6)?,
        complained: number(7)?,
        promote_handled: row.get::<Option<String>>(at + 8)?.as_deref().map(Handled::read).unwrap_or_default(),
    }))
}

fn find(connection: &Connection, run: RunId) -> Result<Option<Reached>, Fault> {
    let mut statement = connection.prepare(&format!("SELECT {COLUMNS} FROM rollouts WHERE run_id = ?1"))?;
    let mut rows = statement.query([run.0])?;
    Ok(rows.next()?.map(|row| reached(&row, 0)).transpose()?.flatten())
}

impl Writer {
    /// Changes a rollout, unless it is no longer where the change leads away from; returns where it is then.
    pub(super) fn change_rollout(&mut self, run: RunId, change: &RolloutChange, now_ms: i64) -> Result<Option<Reached>, LedgerError> {
        self.run(run)?;
        self.book.transaction(|connection| {
            match change {
                RolloutChange::Sent(share) => {
                    connection
                        .prepare("UPDATE rollouts SET share_sent_at_ms = ?3 WHERE run_id = ?1 AND share = ?2 AND share_sent_at_ms IS NULL")?
                        .execute(params![run.0, share.thousandths(), now_ms])?;
                }
                RolloutChange::Next(next) => {
                    let mut handled = find(connection, run)?.map(|reached| reached.promote_handled).unwrap_or_default();
                    if let Some(token) = &next.promote {
                        handled.note(token);
                    }
                    let update = format!(
                        "UPDATE rollouts SET share = ?3, share_began_at_ms = ?6, share_sent_at_ms = NULL, promote_handled = ?7,
                            (step_accepted, step_rejected, newest_before) = (SELECT {NOW}), step_bounced = 0, step_complained = 0
                         WHERE run_id = ?1 AND share = ?2 AND share < ?3 AND step_bounced = ?4 AND step_complained = ?5"
                    );
                    let begun = connection.prepare(&update)?.execute(params![
                        run.0,
                        next.from.thousandths(),
                        next.to.thousandths(),
                        next.bounced.cast_signed(),
                        next.complained.cast_signed(),
                        now_ms,
                        handled.text()
                    ])?;
                    if begun > 0 {
                        connection
                            .prepare("UPDATE rollouts SET ended_before = step_accepted + step_rejected WHERE run_id = ?1")?
                            .execute([run.0])?;
                    }
                }
            }
            find(connection, run)
        })
    }
}
