-- The ledger's schema, version 1. docs/ledger.md explains it; times are milliseconds since 1970-01-01 UTC.

-- schema: version of this schema; seed: random, feeds every pick; epoch: raised each time a process opens the ledger to send.
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value
) WITHOUT ROWID;

-- Every object that was ever seen, so that its generation outlives deletion.
CREATE TABLE objects (
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    spec_hash INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (kind, namespace, name)
) WITHOUT ROWID;

-- name is namespace/name of a SendingServer.
CREATE TABLE servers (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

-- A campaign sent once to its audience. closed_at_ms: every recipient has an end, nobody is added any more.
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    campaign TEXT NOT NULL,
    run TEXT NOT NULL,
    started_at_ms INTEGER NOT NULL,
    audience_read_at_ms INTEGER,
    total INTEGER,
    duplicates INTEGER NOT NULL DEFAULT 0,
    bad_rows INTEGER NOT NULL DEFAULT 0,
    resent INTEGER NOT NULL DEFAULT 0,
    closed_at_ms INTEGER,
    stopped_generation INTEGER,
    stopped_reason TEXT,
    stopped_message TEXT,
    UNIQUE (namespace, campaign, run)
);

-- One row for each recipient of a run, in the order of claiming.
-- state: 0 claimed, 1 accepted, 2 deferred, 3 rejected, 4 expired, 5 unknown, 6 render failed.
-- unknowns: how often it was sent again though the outcome of the try before is unknown.
-- fields: the recipient's template fields, only while a further try is ahead. boot: the epoch of the process that claimed it.
CREATE TABLE messages (
    run_id INTEGER NOT NULL,
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
    boot INTEGER NOT NULL,
    PRIMARY KEY (run_id, seq)
) WITHOUT ROWID;

CREATE INDEX messages_due ON messages (run_id, next_attempt_at_ms) WHERE state = 2;

-- How many messages of a run are in which state, kept in the same transactions as the messages.
-- server_id is 0 while a message has no end.
CREATE TABLE counts (
    run_id INTEGER NOT NULL,
    state INTEGER NOT NULL,
    server_id INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (run_id, state, server_id)
) WITHOUT ROWID;

-- Claims per minute (since 1970) and key, for limits. After two days the minutes of an hour are one row, at its last minute.
CREATE TABLE usage (
    minute INTEGER NOT NULL,
    key TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (minute, key)
) WITHOUT ROWID;

-- Rows of an audience that could not be used; the first 1,000 of a run.
CREATE TABLE problems (
    run_id INTEGER NOT NULL,
    line INTEGER NOT NULL,
    what TEXT NOT NULL,
    PRIMARY KEY (run_id, line, what)
) WITHOUT ROWID;

CREATE VIEW recipients AS
SELECT r.namespace, r.campaign, r.run, m.recipient,
    CASE m.state WHEN 0 THEN 'Claimed' WHEN 1 THEN 'Accepted' WHEN 2 THEN 'Deferred' WHEN 3 THEN 'Rejected'
        WHEN 4 THEN 'Expired' WHEN 5 THEN 'Unknown' WHEN 6 THEN 'RenderFailed' END AS state,
    m.attempt, s.name AS server,
    strftime('%Y-%m-%dT%H:%M:%fZ', m.updated_at_ms / 1000.0, 'unixepoch') AS time,
    strftime('%Y-%m-%dT%H:%M:%fZ', m.next_attempt_at_ms / 1000.0, 'unixepoch') AS next_attempt,
    m.unknowns AS resent, m.reply
FROM messages m
JOIN runs r ON r.id = m.run_id
LEFT JOIN servers s ON s.id = m.server_id;

CREATE VIEW campaigns AS
SELECT r.namespace, r.campaign, r.run,
    CASE WHEN r.closed_at_ms IS NOT NULL THEN 'Completed' WHEN r.stopped_reason IS NOT NULL THEN 'Stopped' ELSE 'Open' END AS state,
    coalesce(sum(c.count) FILTER (WHERE c.state = 1), 0) AS accepted,
    coalesce(sum(c.count) FILTER (WHERE c.state = 3), 0) AS rejected,
    coalesce(sum(c.count) FILTER (WHERE c.state = 4), 0) AS expired,
    coalesce(sum(c.count) FILTER (WHERE c.state = 5), 0) AS unknown,
    coalesce(sum(c.count) FILTER (WHERE c.state = 6), 0) AS render_failed,
    coalesce(sum(c.count) FILTER (WHERE c.state = 2), 0) AS deferred,
    coalesce(sum(c.count) FILTER (WHERE c.state = 0), 0) AS claimed,
    r.resent, r.total, r.duplicates, r.bad_rows,
    strftime('%Y-%m-%dT%H:%M:%fZ', r.started_at_ms / 1000.0, 'unixepoch') AS started,
    strftime('%Y-%m-%dT%H:%M:%fZ', r.closed_at_ms / 1000.0, 'unixepoch') AS completed
FROM runs r
LEFT JOIN counts c ON c.run_id = r.id
GROUP BY r.id;
