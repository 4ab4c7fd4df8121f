-- A ledger as the fourth version of the schema was written, by a process that was killed (`sqlite3 ledger.db .dump`).
BEGIN TRANSACTION;
CREATE TABLE bad_rows (
    run_id INTEGER NOT NULL,
    line INTEGER NOT NULL,
    what TEXT NOT NULL,
    PRIMARY KEY (run_id, line, what)
) WITHOUT ROWID;
INSERT INTO "bad_rows" VALUES(2,81,'there is no `@` in it');
CREATE TABLE counts (
    run_id INTEGER NOT NULL,
    state INTEGER NOT NULL,
    server_id INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (run_id, state, server_id)
) WITHOUT ROWID;
INSERT INTO "counts" VALUES(1,0,0,0);
INSERT INTO "counts" VALUES(1,1,1,1);
INSERT INTO "counts" VALUES(1,6,0,1);
INSERT INTO "counts" VALUES(2,0,0,3);
INSERT INTO "counts" VALUES(2,1,1,32);
INSERT INTO "counts" VALUES(2,2,0,10);
INSERT INTO "counts" VALUES(2,6,0,9);
CREATE TABLE guards (
    run_id INTEGER NOT NULL,
    server_id INTEGER NOT NULL,
    reason TEXT NOT NULL,
    message TEXT NOT NULL,
    spec_hash INTEGER NOT NULL,
    since_ms INTEGER NOT NULL,
    PRIMARY KEY (run_id, server_id)
) WITHOUT ROWID;
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
INSERT INTO "messages" VALUES(1,0,1,'b@example.org',6,0,NULL,1795911326292,NULL,0,'spec.content.text: line 1: `name` needs a field that the recipient does not have; where it may be missing, write `{{ … | default("…") }}`',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,2,'a@example.org',1,1,1,1795911326600,NULL,0,'250 2.0.0 Ok: taken as 1',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,1,'u0@example.org',6,0,NULL,1795911326294,NULL,0,'spec.content.text: line 1: `name` needs a field that the recipient does not have; where it may be missing, write `{{ … | default("…") }}`',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,2,'u9@example.org',6,0,NULL,1795911326294,NULL,0,'spec.content.text: line 1: `name` needs a field that the recipient does not have; where it may be missing, write `{{ … | default("…") }}`',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,3,'u18@example.org',6,0,NULL,1795911326294,NULL,0,'spec.content.text: line 1: `name` needs a field that the recipient does not have; where it may be missing, write `{{ … | default("…") }}`',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,4,'u27@example.org',6,0,NULL,1795911326294,NULL,0,'spec.content.text: line 1: `name` needs a field that the recipient does not have; where it may be missing, write `{{ … | default("…") }}`',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,5,'u36@example.org',6,0,NULL,1795911326294,NULL,0,'spec.content.text: line 1: `name` needs a field that the recipient does not have; where it may be missing, write `{{ … | default("…") }}`',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,6,'u45@example.org',6,0,NULL,1795911326294,NULL,0,'spec.content.text: line 1: `name` needs a field that the recipient does not have; where it may be missing, write `{{ … | default("…") }}`',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,7,'u54@example.org',6,0,NULL,1795911326294,NULL,0,'spec.content.text: line 1: `name` needs a field that the recipient does not have; where it may be missing, write `{{ … | default("…") }}`',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,8,'u63@example.org',6,0,NULL,1795911326294,NULL,0,'spec.content.text: line 1: `name` needs a field that the recipient does not have; where it may be missing, write `{{ … | default("…") }}`',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,9,'u72@example.org',6,0,NULL,1795911326294,NULL,0,'spec.content.text: line 1: `name` needs a field that the recipient does not have; where it may be missing, write `{{ … | default("…") }}`',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,10,'u1@example.org',1,1,1,1795911326600,NULL,0,'250 2.0.0 Ok: taken as 2',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,11,'u2@example.org',2,1,1,1795911326355,1795911375424,0,'450 4.1.0 Refused by a rule of the sink','{"email":"u2@example.org","name":"N2"}',NULL,1,1795911326350);
INSERT INTO "messages" VALUES(2,0,12,'u3@example.org',1,1,1,1795911326705,NULL,0,'250 2.0.0 Ok: taken as 3',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,13,'u4@example.org',1,1,1,1795911326904,NULL,0,'250 2.0.0 Ok: taken as 4',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,14,'u5@example.org',1,1,1,1795911326904,NULL,0,'250 2.0.0 Ok: taken as 5',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,15,'u6@example.org',1,1,1,1795911327009,NULL,0,'250 2.0.0 Ok: taken as 6',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,16,'u7@example.org',1,1,1,1795911327208,NULL,0,'250 2.0.0 Ok: taken as 7',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,17,'u8@example.org',1,1,1,1795911327211,NULL,0,'250 2.0.0 Ok: taken as 8',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,18,'u10@example.org',1,1,1,1795911327313,NULL,0,'250 2.0.0 Ok: taken as 9',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,19,'u11@example.org',1,1,1,1795911327513,NULL,0,'250 2.0.0 Ok: taken as 10',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,20,'u12@example.org',1,1,1,1795911327513,NULL,0,'250 2.0.0 Ok: taken as 11',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,21,'u13@example.org',1,1,1,1795911327617,NULL,0,'250 2.0.0 Ok: taken as 12',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,22,'u14@example.org',1,1,1,1795911327816,NULL,0,'250 2.0.0 Ok: taken as 13',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,23,'u15@example.org',1,1,1,1795911327816,NULL,0,'250 2.0.0 Ok: taken as 14',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,24,'u16@example.org',1,1,1,1795911327922,NULL,0,'250 2.0.0 Ok: taken as 15',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,25,'u17@example.org',1,1,1,1795911328120,NULL,0,'250 2.0.0 Ok: taken as 16',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,26,'u19@example.org',1,1,1,1795911328120,NULL,0,'250 2.0.0 Ok: taken as 17',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,27,'u20@example.org',2,1,1,1795911327925,1795911376825,0,'450 4.1.0 Refused by a rule of the sink','{"email":"u20@example.org","name":"N20"}',NULL,1,1795911327922);
INSERT INTO "messages" VALUES(2,0,28,'u21@example.org',2,1,1,1795911327930,1795911381725,0,'450 4.1.0 Refused by a rule of the sink','{"email":"u21@example.org","name":"N21"}',NULL,1,1795911327925);
INSERT INTO "messages" VALUES(2,0,29,'u22@example.org',2,1,1,1795911327982,1795911392434,0,'450 4.1.0 Refused by a rule of the sink','{"email":"u22@example.org","name":"N22"}',NULL,1,1795911327977);
INSERT INTO "messages" VALUES(2,0,30,'u23@example.org',2,1,1,1795911328034,1795911398414,0,'450 4.1.0 Refused by a rule of the sink','{"email":"u23@example.org","name":"N23"}',NULL,1,1795911328029);
INSERT INTO "messages" VALUES(2,0,31,'u24@example.org',2,1,1,1795911328081,1795911378935,0,'450 4.1.0 Refused by a rule of the sink','{"email":"u24@example.org","name":"N24"}',NULL,1,1795911328078);
INSERT INTO "messages" VALUES(2,0,32,'u25@example.org',2,1,1,1795911328128,1795911394762,0,'450 4.1.0 Refused by a rule of the sink','{"email":"u25@example.org","name":"N25"}',NULL,1,1795911328127);
INSERT INTO "messages" VALUES(2,0,33,'u26@example.org',2,1,1,1795911328179,1795911388234,0,'450 4.1.0 Refused by a rule of the sink','{"email":"u26@example.org","name":"N26"}',NULL,1,1795911328178);
INSERT INTO "messages" VALUES(2,0,34,'u28@example.org',2,1,1,1795911328231,1795911397986,0,'450 4.1.0 Refused by a rule of the sink','{"email":"u28@example.org","name":"N28"}',NULL,1,1795911328230);
INSERT INTO "messages" VALUES(2,0,35,'u29@example.org',2,1,1,1795911328280,1795911390364,0,'450 4.1.0 Refused by a rule of the sink','{"email":"u29@example.org","name":"N29"}',NULL,1,1795911328279);
INSERT INTO "messages" VALUES(2,0,36,'u30@example.org',1,1,1,1795911328633,NULL,0,'250 2.0.0 Ok: taken as 18',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,37,'u31@example.org',1,1,1,1795911328687,NULL,0,'250 2.0.0 Ok: taken as 19',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,38,'u32@example.org',1,1,1,1795911328739,NULL,0,'250 2.0.0 Ok: taken as 20',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,39,'u33@example.org',1,1,1,1795911328938,NULL,0,'250 2.0.0 Ok: taken as 21',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,40,'u34@example.org',1,1,1,1795911328990,NULL,0,'250 2.0.0 Ok: taken as 22',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,41,'u35@example.org',1,1,1,1795911329042,NULL,0,'250 2.0.0 Ok: taken as 23',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,42,'u37@example.org',1,1,1,1795911329243,NULL,0,'250 2.0.0 Ok: taken as 24',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,43,'u38@example.org',1,1,1,1795911329295,NULL,0,'250 2.0.0 Ok: taken as 25',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,44,'u39@example.org',1,1,1,1795911329347,NULL,0,'250 2.0.0 Ok: taken as 26',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,45,'u40@example.org',1,1,1,1795911329547,NULL,0,'250 2.0.0 Ok: taken as 27',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,46,'u41@example.org',1,1,1,1795911329598,NULL,0,'250 2.0.0 Ok: taken as 28',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,47,'u42@example.org',1,1,1,1795911329650,NULL,0,'250 2.0.0 Ok: taken as 29',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,48,'u43@example.org',1,1,1,1795911329852,NULL,0,'250 2.0.0 Ok: taken as 30',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,49,'u44@example.org',1,1,1,1795911329902,NULL,0,'250 2.0.0 Ok: taken as 31',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,50,'u46@example.org',1,1,1,1795911329954,NULL,0,'250 2.0.0 Ok: taken as 32',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,51,'u47@example.org',1,1,1,1795911330160,NULL,0,'250 2.0.0 Ok: taken as 33',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,52,'u48@example.org',0,1,1,1795911329902,NULL,0,NULL,NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,53,'u49@example.org',0,1,1,1795911329954,NULL,0,NULL,NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,54,'u50@example.org',0,1,1,1795911330160,NULL,0,NULL,NULL,NULL,1,NULL);
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value
) WITHOUT ROWID;
INSERT INTO "meta" VALUES('epoch',1);
INSERT INTO "meta" VALUES('fates',9);
INSERT INTO "meta" VALUES('schema',4);
INSERT INTO "meta" VALUES('seed',1637364039967908554);
CREATE TABLE objects (
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    spec_hash INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (kind, namespace, name)
) WITHOUT ROWID;
INSERT INTO "objects" VALUES('Campaign','default','closed',3703173343021558700,1,1795911326227);
INSERT INTO "objects" VALUES('Campaign','default','spring',5504106703134401906,1,1795911326227);
INSERT INTO "objects" VALUES('Plan','default','basic',-1440978504453765405,1,1795911326227);
INSERT INTO "objects" VALUES('SendingServer','default','relay',-7603808072031837130,1,1795911326227);
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
    reopened_at_ms INTEGER,
    resume_handled TEXT,
    UNIQUE (namespace, campaign, run)
);
INSERT INTO "runs" VALUES(1,'default','closed','first',1795911326288,1795911326601,2,0,0,0,1795911326601,NULL,NULL);
INSERT INTO "runs" VALUES(2,'default','spring','first',1795911326288,NULL,NULL,0,0,0,NULL,NULL,NULL);
CREATE TABLE servers (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);
INSERT INTO "servers" VALUES(1,'default/relay');
CREATE TABLE usage (
    minute INTEGER NOT NULL,
    key TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (minute, key)
) WITHOUT ROWID;
INSERT INTO "usage" VALUES(29931855,'default/relay',46);
CREATE INDEX messages_due ON messages (run_id, partition, next_attempt_at_ms) WHERE state = 2;
CREATE INDEX messages_held ON messages (run_id, partition) WHERE state = 7;
CREATE VIEW recipients AS
SELECT r.namespace, r.campaign, r.run, m.recipient, CASE m.state WHEN 0 THEN 'Claimed' WHEN 1 THEN 'Accepted' WHEN 2 THEN 'Deferred' WHEN 3 THEN 'Rejected' WHEN 4 THEN 'Expired' WHEN 5 THEN 'Unknown' WHEN 6 THEN 'RenderFailed' WHEN 7 THEN 'Held' WHEN 8 THEN 'Withdrawn' END AS state, m.attempt, s.name AS server,
    strftime('%Y-%m-%dT%H:%M:%fZ', m.updated_at_ms / 1000.0, 'unixepoch') AS time,
    strftime('%Y-%m-%dT%H:%M:%fZ', m.next_attempt_at_ms / 1000.0, 'unixepoch') AS next_attempt,
    m.resent, m.reply
FROM messages m
JOIN runs r ON r.id = m.run_id
LEFT JOIN servers s ON s.id = m.server_id;
CREATE VIEW campaigns AS
SELECT r.namespace, r.campaign, r.run, CASE WHEN r.closed_at_ms IS NULL THEN 'Open' ELSE 'Completed' END AS state,
    coalesce(sum(c.count) FILTER (WHERE c.state = 0), 0) AS claimed,
    coalesce(sum(c.count) FILTER (WHERE c.state = 1), 0) AS accepted,
    coalesce(sum(c.count) FILTER (WHERE c.state = 2), 0) AS deferred,
    coalesce(sum(c.count) FILTER (WHERE c.state = 3), 0) AS rejected,
    coalesce(sum(c.count) FILTER (WHERE c.state = 4), 0) AS expired,
    coalesce(sum(c.count) FILTER (WHERE c.state = 5), 0) AS unknown,
    coalesce(sum(c.count) FILTER (WHERE c.state = 6), 0) AS render_failed,
    coalesce(sum(c.count) FILTER (WHERE c.state = 7), 0) AS held,
    coalesce(sum(c.count) FILTER (WHERE c.state = 8), 0) AS withdrawn,
    r.resent, r.total, r.duplicates, r.bad_rows,
    strftime('%Y-%m-%dT%H:%M:%fZ', r.started_at_ms / 1000.0, 'unixepoch') AS started,
    strftime('%Y-%m-%dT%H:%M:%fZ', r.closed_at_ms / 1000.0, 'unixepoch') AS completed
FROM runs r
LEFT JOIN counts c ON c.run_id = r.id
GROUP BY r.id;
COMMIT;
