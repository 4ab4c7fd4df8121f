//! Whether a ledger agrees with itself: what is written twice must be the same, and what refers to something must find it.

use super::{
    LedgerPlace,
    database::{Connection, params},
    error::{Fault, LedgerError},
    hash_file::AddressSet,
    schema,
};
use crate::resources::fate::Fate;

/// Rows that are read at a time.
const PAGE: i64 = 4096;

/// What was checked, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What was compared.
    pub what: &'static str,
    /// How many rows are wrong.
    pub wrong: u64,
    /// The first of them.
    pub example: Option<String>,
    /// What wrong ones mean, and what to do.
    pub then: &'static str,
}

/// A comparison by one query, which gives the number of rows that are wrong and the first of them.
struct Check {
    what: &'static str,
    sql: String,
    then: &'static str,
}

/// Compares everything that can be compared; a process may be sending. `told` hears of each comparison.
///
/// # Errors
/// When the ledger cannot be read.
pub fn check_ledger(location: &LedgerPlace, mut told: impl FnMut(Checked)) -> Result<(), LedgerError> {
    let connection = schema::open_at(location)?;
    let mut work = || {
        connection.allow_long_questions()?;
        if let Some(checked) = file(&connection)? {
            told(checked);
        }
        connection.execute_batch(match connection {
            Connection::Sqlite(_) => "BEGIN",
            Connection::Postgres(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        })?;
        for Check { what, sql, then } in checks() {
            let (wrong, example) = connection
                .row(&sql, (), |row| Ok((row.count(0)?, row.get::<Option<String>>(1)?)))?
                .ok_or_else(|| Fault::conflict(format_args!("a query without an answer: {what}")))?;
            told(Checked { what, wrong, example, then });
        }
        connection.execute_batch("COMMIT")?;
        // Rows are only added, so that this needs no moment of its own, which would hold up the log of a process that sends.
        told(people(&connection)?);
        Ok(())
    };
    work().map_err(|fault: Fault| fault.at(location))
}

/// What SQLite says of its file.
fn file(connection: &Connection) -> Result<Option<Checked>, Fault> {
    if !matches!(connection, Connection::Sqlite(_)) {
        return Ok(None);
    }
    let said: Vec<String> = connection.all("PRAGMA integrity_check(100)", (), |row| row.get(0))?;
    let wrong: Vec<String> = said.into_iter().filter(|line| line != "ok").collect();
    Ok(Some(Checked {
        what: "pages and indexes of the file",
        wrong: wrong.len() as u64,
        example: wrong.into_iter().next(),
        then: "the file is damaged: stop sending, and restore it from a backup",
    }))
}

/// The numbers of fates, as SQL lists them.
fn numbers(is_wanted: impl Fn(Fate) -> bool) -> String {
    let numbers: Vec<String> = Fate::ALL.into_iter().filter(|fate| is_wanted(*fate)).map(|fate| fate.number().to_string()).collect();
    numbers.join(", ")
}

fn checks() -> Vec<Check> {
    let (all, open) = (numbers(|_| true), numbers(|fate| !fate.is_final()));
    // Who is suppressed or withdrawn was not mailed by the server of the attempt before.
    let by_server = numbers(|fate| fate.is_final() && !matches!(fate, Fate::Suppressed | Fate::Withdrawn));
    let run = "r.namespace || '/' || r.campaign || ' run ' || r.run";
    // The messages of a completed run may be deleted, all of them.
    let is_kept = "(r.closed_at_ms IS NULL OR EXISTS (SELECT 1 FROM messages WHERE run_id = r.id))";
    vec![
        Check {
            what: "counts of runs, and their messages",
            sql: format!(
                "SELECT count(*), min({run} || ', state ' || d.state || ', server ' || d.server || ': ' || d.off || ' more messages than counted')
                 FROM (SELECT run_id, state, server, sum(n) AS off FROM (
                    SELECT run_id, state, CASE WHEN state IN ({by_server}) THEN coalesce(server_id, 0) ELSE 0 END AS server, count(*) AS n
                    FROM messages GROUP BY 1, 2, 3
                    UNION ALL SELECT run_id, state, CASE WHEN state IN ({by_server}) THEN server_id ELSE 0 END, -count FROM counts) AS b
                    GROUP BY run_id, state, server HAVING sum(n) <> 0) AS d
                 JOIN runs r ON r.id = d.run_id WHERE {is_kept}"
            ),
            then: "statuses show wrong numbers; nobody is mailed twice by it. Please report it",
        },
        Check {
            what: "messages, and the runs that they are of",
            sql: "SELECT count(*), min('message ' || m.seq || ' of run ' || m.run_id) FROM messages m
                  WHERE NOT EXISTS (SELECT 1 FROM runs WHERE id = m.run_id)"
                .to_owned(),
            then: "a run is gone whose people were mailed: stop sending, and restore a backup",
        },
        Check {
            what: "messages, and the servers that took them",
            sql: format!(
                "SELECT count(*), min({run} || ', message ' || m.seq) FROM messages m JOIN runs r ON r.id = m.run_id
                 WHERE m.server_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM servers WHERE id = m.server_id)"
            ),
            then: "tables name no server for them; nobody is mailed twice by it. Please report it",
        },
        Check {
            what: "states of messages",
            sql: format!(
                "SELECT count(*), min({run} || ', message ' || m.seq || ' has state ' || m.state) FROM messages m
                 JOIN runs r ON r.id = m.run_id WHERE m.state NOT IN ({all})"
            ),
            then: "a newer version wrote them: use that one",
        },
        Check {
            what: "runs that are completed",
            sql: format!(
                "SELECT count(*), min({run}) FROM runs r WHERE r.closed_at_ms IS NOT NULL
                 AND EXISTS (SELECT 1 FROM messages m WHERE m.run_id = r.id AND m.state IN ({open}))"
            ),
            then: "people wait there whom nobody mails: resume the campaign with `mailfleet resume`",
        },
        Check {
            what: "events, and the messages that they are about",
            sql: format!(
                "SELECT count(*), min({run} || ', an event of message ' || e.seq) FROM events e JOIN runs r ON r.id = e.run_id
                 WHERE e.seq <> 0 AND {is_kept}
                    AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.run_id = e.run_id AND m.partition = e.partition AND m.seq = e.seq)"
            ),
            then: "messages are gone to which something came back: restore a backup",
        },
    ]
}

/// Whether any person was, or may have been, mailed twice by a run.
fn people(connection: &Connection) -> Result<Checked, Fault> {
    let (mut wrong, mut example) = (0, None);
    let runs: Vec<(i64, String)> =
        connection.all("SELECT id, namespace || '/' || campaign || ' run ' || run FROM runs ORDER BY id", (), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let may_have_been_mailed = numbers(|fate| matches!(fate, Fate::Claimed | Fate::Accepted | Fate::Unknown));
    let mut page = connection.prepare(&format!(
        "SELECT partition, seq, recipient FROM messages WHERE run_id = ?1 AND (partition, seq) > (?2, ?3)
         AND state IN ({may_have_been_mailed}) ORDER BY partition, seq LIMIT ?4"
    ))?;
    for (run, name) in runs {
        // Hashes only; the state folder may not be there, or not be ours to write.
        let mut set = AddressSet::new(&std::env::temp_dir())?;
        let mut after = (-1_i64, 0_i64);
        loop {
            let mut rows = page.query(params![run, after.0, after.1, PAGE])?;
            let mut is_empty = true;
            while let Some(row) = rows.next()? {
                is_empty = false;
                after = (row.get(0)?, row.get(1)?);
                if !set.add(row.text(2)?)? {
                    wrong += 1;
                    example.get_or_insert_with(|| format!("{name}, message {}", after.1));
                }
            }
            if is_empty {
                break;
            }
        }
    }
    Ok(Checked {
        what: "people, each of whom is mailed once by a run",
        wrong,
        example,
        then: "somebody was, or may have been, mailed twice: please report it",
    })
}
