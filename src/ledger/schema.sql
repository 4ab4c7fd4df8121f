-- The ledger's tables, version 8; its views are made from the table of fates (schema.rs). docs/ledger.md explains them;
-- times are milliseconds since 1970-01-01 UTC.

-- schema: version of this schema; seed: random, feeds every pick; epoch: raised each time a process opens the ledger to send;
-- fates: how many fates the views know; keys: checks of the keys with which a process last sent, none of which can be learned from them.
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value
) WITHOUT ROWID;

-- Every object that was ever read, so that its generation outlives deletion.
CREATE TABLE objects (
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    spec_hash INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (kind, namespace, name)
) WITHOUT ROWID;

-- Which campaigns send the same to the same people: one of them may be another under a new name.
CREATE INDEX objects_by_hash ON objects (spec_hash);

-- name is namespace/name of a SendingServer. resume_handled: requests to resume it that were carried out: one a line, the newest first.
CREATE TABLE servers (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    resume_handled TEXT
);

-- A campaign sent once to its audience. closed_at_ms: every recipient has a final outcome, nobody is added any more.
-- reopened_at_ms: closed once, and resumed for its unknown recipients: nobody is added all the same.
-- reopen: how often it was reopened on purpose (spec.reopen), so that people who are not in it yet are added.
-- first_claimed_at_ms: when a message of it may first have left; absent before, and while claims only came back unsent.
-- topic: what its recipients may unsubscribe from (spec.unsubscribe.oneClick.topic), for unsubscriptions that a vendor tells.
-- delivered to unsubscribed: people of whom such an event came, beside the fate of their message, which it does not change.
-- judged_*: what the run had when a person resumed it last; stopWhen judges what came since.
-- resume_handled: requests to resume that were carried out, or that the run began with: one a line, the newest first.
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    campaign TEXT NOT NULL,
    run TEXT NOT NULL,
    started_at_ms INTEGER NOT NULL,
    audience_read_at_ms INTEGER,
    total INTEGER,
    duplicates INTEGER NOT NULL DEFAULT 0,
    excluded INTEGER NOT NULL DEFAULT 0,
    bad_rows INTEGER NOT NULL DEFAULT 0,
    resent INTEGER NOT NULL DEFAULT 0,
    closed_at_ms INTEGER,
    reopened_at_ms INTEGER,
    resume_handled TEXT,
    reopen INTEGER NOT NULL DEFAULT 0,
    first_claimed_at_ms INTEGER,
    topic TEXT,
    delivered INTEGER NOT NULL DEFAULT 0,
    soft_bounced INTEGER NOT NULL DEFAULT 0,
    bounced INTEGER NOT NULL DEFAULT 0,
    complained INTEGER NOT NULL DEFAULT 0,
    unsubscribed INTEGER NOT NULL DEFAULT 0,
    judged_accepted INTEGER NOT NULL DEFAULT 0,
    judged_rejected INTEGER NOT NULL DEFAULT 0,
    judged_bounced INTEGER NOT NULL DEFAULT 0,
    judged_complained INTEGER NOT NULL DEFAULT 0,
    UNIQUE (namespace, campaign, run)
);

-- How far the rollout of a run has come; absent for one that was begun without steps. It never goes back.
-- share: thousandths of a percent of the audience that may be mailed. share_sent_at_ms: when everybody of it was mailed, or was to be
-- tried again later.
-- ended_before: messages of the run that were accepted or rejected when the step began.
-- newest_before to step_complained: what the step is judged by, since it began or was resumed: the newest message before, what was
-- accepted and rejected before, and what bounced or was complained about since, of newer messages.
-- promote_handled: requests to promote that were carried out, or that the run began with: one a line, the newest first.
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

-- One row for each recipient of a run, in the order of claiming. state: the number of a fate.
-- partition: always 0; many senders of one run will each have their own, with its own order of claiming.
-- resent: how often it was sent again though the outcome of the attempt before is unknown.
-- fields: the recipient's template fields, only while another attempt is ahead; absent in one that waits for its row of the audience.
-- refusals: the servers that refused it and what they said (JSON), only while another attempt is ahead.
-- epoch: the epoch of the process that claimed it.
-- since_ms: when it was first claimed, once an attempt has left it without a final outcome.
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
    resent INTEGER NOT NULL,
    reply TEXT,
    fields TEXT,
    refusals TEXT,
    epoch INTEGER NOT NULL,
    since_ms INTEGER,
    PRIMARY KEY (run_id, partition, seq)
) WITHOUT ROWID;

CREATE INDEX messages_due ON messages (run_id, partition, next_attempt_at_ms) WHERE state = 2;
CREATE INDEX messages_held ON messages (run_id, partition) WHERE state = 7;

-- Servers that refuse a campaign whatever the recipient: out of use for this run until a person resumes it,
-- or changes the spec (spec_hash is that of what was sent).
CREATE TABLE guards (
    run_id INTEGER NOT NULL,
    server_id INTEGER NOT NULL,
    reason TEXT NOT NULL,
    message TEXT NOT NULL,
    spec_hash INTEGER NOT NULL,
    since_ms INTEGER NOT NULL,
    PRIMARY KEY (run_id, server_id)
) WITHOUT ROWID;

-- How many messages of a run are in which state, kept in the same transactions as the messages.
-- server_id is 0 while a message has no final outcome.
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
CREATE TABLE bad_rows (
    run_id INTEGER NOT NULL,
    line INTEGER NOT NULL,
    what TEXT NOT NULL,
    PRIMARY KEY (run_id, line, what)
) WITHOUT ROWID;

-- What came back after a message was accepted; the first event of each kind for a message. kind: the number of a kind of event.
-- seq is 0 and person an address (in its canonical form) where the event is of a run but of no message in particular.
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

-- The same events by the hour (since 1970) in which they arrived. server_id is 0 where no server is known.
CREATE TABLE feedback (
    hour INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    server_id INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (hour, run_id, server_id, kind)
) WITHOUT ROWID;

-- What came of the messages of a namespace that a server was given, by the time at which it took them: from the start of an hour, or from the
-- end of a pause within it; for guards and warm-up. After 31 days the hours of a day are one row, at its start.
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

-- Servers that were taken out of use because too much came back, for one namespace, or for all where that is empty. ends_at_ms: when it
-- ends by itself. ended_at_ms: when it ended; messages are judged anew from then on. by_person: whether a person ended it, or what
-- followed it.
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

-- Who is not mailed, by the namespace of the campaigns. person: the canonical form of an address, or a keyed hash of one that was
-- forgotten. topic: empty for everything. source: who told it.
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

-- What changed of objects, for people: the newest rows. what: the type of a condition, Spec or Object. status: that of the condition, or
-- Added, Changed or Removed. state: that of the object then. Nothing is decided by it.
CREATE TABLE history (
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

CREATE INDEX history_by_object ON history (kind, namespace, name, id);
