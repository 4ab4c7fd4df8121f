//! Migrates the schema of an older version to this one's, step by step. Each step is one transaction: it is applied completely or
//! not at all.

use std::time::Instant;

use super::{database::Connection, error::Fault, meta};

/// The version of `schema.sql`, to which the last step leads.
pub(super) const VERSION: i64 = 8;

/// The step that leads away from each version, the first from version 1. A step drops the views it breaks: they are written afterwards.
pub(super) const STEPS: [&str; 7] = [
    // The key of messages gets the partition; held messages, guards and resumption are added. `stopped_*` was never written.
    "DROP VIEW recipients;
    DROP VIEW campaigns;
    DROP INDEX messages_due;
    ALTER TABLE messages RENAME TO messages_1;
    CREATE TABLE messages (
        run_id INTEGER NOT NULL,
        partition INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        recipient TEXT NOT NULL,
        state INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        server_id INTEGER,
        updated_at_ms INTEGER NOT NULL,
        next_attempt_at_ms INTEGER,
        unknowns INTEGER NOT NULL,
        reply TEXT,
        fields TEXT,
        refusals TEXT,
        boot INTEGER NOT NULL,
        PRIMARY KEY (run_id, partition, seq)
    ) WITHOUT ROWID;
    INSERT INTO messages SELECT run_id, 0, seq, recipient, state, attempt, server_id, updated_at_ms, next_attempt_at_ms, unknowns,
        reply, fields, NULL, boot FROM messages_1 ORDER BY run_id, seq;
    DROP TABLE messages_1;
    CREATE INDEX messages_due ON messages (run_id, partition, next_attempt_at_ms) WHERE state = 2;
    CREATE INDEX messages_held ON messages (run_id, partition) WHERE state = 7;
    CREATE TABLE guards (
        run_id INTEGER NOT NULL,
        server_id INTEGER NOT NULL,
        reason TEXT NOT NULL,
        message TEXT NOT NULL,
        spec_hash INTEGER NOT NULL,
        since_ms INTEGER NOT NULL,
        PRIMARY KEY (run_id, server_id)
    ) WITHOUT ROWID;
    ALTER TABLE runs DROP COLUMN stopped_generation;
    ALTER TABLE runs DROP COLUMN stopped_reason;
    ALTER TABLE runs DROP COLUMN stopped_message;
    ALTER TABLE runs ADD COLUMN reopened_at_ms INTEGER;
    ALTER TABLE runs ADD COLUMN resume_handled TEXT;",
    // A retried message has a deadline, which counts from its first claim. For messages that are already waiting it begins now.
    "DROP VIEW IF EXISTS recipients;
    DROP VIEW IF EXISTS campaigns;
    ALTER TABLE messages ADD COLUMN since_ms INTEGER;
    UPDATE messages SET since_ms = CAST(strftime('%s', 'now') AS INTEGER) * 1000 WHERE state = 2;",
    // One name for each thing: `boot` was an epoch, `unknowns` is called `resent` in the view and in runs.
    "DROP VIEW IF EXISTS recipients;
    DROP VIEW IF EXISTS campaigns;
    ALTER TABLE messages RENAME COLUMN boot TO epoch;
    ALTER TABLE messages RENAME COLUMN unknowns TO resent;
    ALTER TABLE problems RENAME TO bad_rows;
    INSERT INTO meta (key, value) VALUES ('fates', 0);",
    // Completed runs can be reopened, and a run knows whether any message may have left. 6 is the fate of a failed template.
    "ALTER TABLE runs ADD COLUMN reopen INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE runs ADD COLUMN first_claimed_at_ms INTEGER;
    UPDATE runs SET first_claimed_at_ms = started_at_ms
        WHERE EXISTS (SELECT 1 FROM counts c WHERE c.run_id = runs.id AND c.state <> 6 AND c.count > 0);",
    // What comes back, and who is not mailed.
    "DROP VIEW IF EXISTS recipients;
    DROP VIEW IF EXISTS campaigns;
    ALTER TABLE runs ADD COLUMN topic TEXT;
    ALTER TABLE runs ADD COLUMN delivered INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE runs ADD COLUMN soft_bounced INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE runs ADD COLUMN bounced INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE runs ADD COLUMN complained INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE runs ADD COLUMN unsubscribed INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE runs ADD COLUMN judged_accepted INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE runs ADD COLUMN judged_rejected INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE runs ADD COLUMN judged_bounced INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE runs ADD COLUMN judged_complained INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE events (
        run_id INTEGER NOT NULL,
        partition INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        person TEXT NOT NULL,
        server_id INTEGER,
        at_ms INTEGER NOT NULL,
        source TEXT NOT NULL,
        detail TEXT NOT NULL,
        PRIMARY KEY (run_id, partition, seq, kind, person)
    ) WITHOUT ROWID;
    CREATE TABLE feedback (
        hour INTEGER NOT NULL,
        run_id INTEGER NOT NULL,
        server_id INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        count INTEGER NOT NULL,
        PRIMARY KEY (hour, run_id, server_id, kind)
    ) WITHOUT ROWID;
    CREATE TABLE suppressions (
        namespace TEXT NOT NULL,
        person TEXT NOT NULL,
        topic TEXT NOT NULL,
        reason TEXT NOT NULL,
        at_ms INTEGER NOT NULL,
        source TEXT NOT NULL,
        detail TEXT NOT NULL,
        PRIMARY KEY (namespace, person, topic, reason)
    ) WITHOUT ROWID;
    UPDATE meta SET value = 0 WHERE key = 'fates';",
    // What came of a server's messages, and the pauses that follow; how far the rollouts of runs have come; rows of
    // people whom a campaign excludes; which campaigns send the same is looked up.
    "CREATE INDEX objects_by_hash ON objects (spec_hash);
    ALTER TABLE servers ADD COLUMN resume_handled TEXT;
    CREATE TABLE results (
        server_id INTEGER NOT NULL,
        from_ms INTEGER NOT NULL,
        namespace TEXT NOT NULL,
        accepted INTEGER NOT NULL,
        rejected INTEGER NOT NULL,
        bounced INTEGER NOT NULL,
        complained INTEGER NOT NULL,
        PRIMARY KEY (server_id, from_ms, namespace)
    ) WITHOUT ROWID;
    CREATE TABLE pauses (
        server_id INTEGER NOT NULL,
        namespace TEXT NOT NULL,
        since_ms INTEGER NOT NULL,
        reason TEXT NOT NULL,
        message TEXT NOT NULL,
        ends_at_ms INTEGER,
        ended_at_ms INTEGER,
        by_person INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (server_id, namespace, since_ms)
    ) WITHOUT ROWID;
    CREATE TABLE rollouts (
        run_id INTEGER PRIMARY KEY,
        share INTEGER NOT NULL,
        share_began_at_ms INTEGER NOT NULL,
        share_sent_at_ms INTEGER,
        ended_before INTEGER NOT NULL,
        newest_before INTEGER NOT NULL,
        step_accepted INTEGER NOT NULL,
        step_rejected INTEGER NOT NULL,
        step_bounced INTEGER NOT NULL,
        step_complained INTEGER NOT NULL,
        promote_handled TEXT
    );
    DROP VIEW IF EXISTS campaigns;
    ALTER TABLE runs ADD COLUMN excluded INTEGER NOT NULL DEFAULT 0;
    UPDATE meta SET value = 0 WHERE key = 'fates';",
    // What changed of objects, and when.
    "CREATE TABLE history (
        id INTEGER PRIMARY KEY,
        at_ms INTEGER NOT NULL,
        kind TEXT NOT NULL,
        namespace TEXT NOT NULL,
        name TEXT NOT NULL,
        generation INTEGER NOT NULL,
        what TEXT NOT NULL,
        status TEXT NOT NULL,
        state TEXT NOT NULL,
        reason TEXT NOT NULL,
        message TEXT NOT NULL
    );
    CREATE INDEX history_by_object ON history (kind, namespace, name, id);",
];

/// Migrates the database from `version` to this one's.
pub(super) fn migrate(connection: &Connection, version: i64) -> Result<(), Fault> {
    for from in version..VERSION {
        let Some(step) = usize::try_from(from - 1).ok().and_then(|at| STEPS.get(at)) else { continue };
        let began = Instant::now();
        tracing::info!("the ledger has schema {from}; migrating it to {}, which takes some seconds per million messages", from + 1);
        let applied = apply(connection, step, from);
        if applied.is_err() && !connection.is_autocommit() {
            connection.execute_batch("ROLLBACK")?;
        }
        applied?;
        tracing::info!("migrated the ledger in {:.1} s", began.elapsed().as_secs_f64());
    }
    Ok(())
}

fn apply(connection: &Connection, step: &str, from: i64) -> Result<(), Fault> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    // Another process may have been faster, between the check and the lock.
    if meta::number(connection, "schema")? == from {
        connection.execute_batch(step)?;
        connection.execute("UPDATE meta SET value = ?1 WHERE key = 'schema'", [from + 1])?;
    }
    connection.execute_batch("COMMIT")?;
    Ok(())
}
