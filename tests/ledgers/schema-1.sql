-- A ledger as the first version of the schema was written, by a process that was killed (`sqlite3 ledger.db .dump`).
BEGIN TRANSACTION;
CREATE TABLE counts (
    run_id INTEGER NOT NULL,
    state INTEGER NOT NULL,
    server_id INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (run_id, state, server_id)
) WITHOUT ROWID;
INSERT INTO "counts" VALUES(1,0,0,1);
INSERT INTO "counts" VALUES(1,1,1,8);
INSERT INTO "counts" VALUES(1,1,2,18);
INSERT INTO "counts" VALUES(1,2,0,1);
INSERT INTO "counts" VALUES(2,6,0,2);
INSERT INTO "counts" VALUES(3,0,0,0);
INSERT INTO "counts" VALUES(3,1,1,7);
INSERT INTO "counts" VALUES(3,1,2,20);
INSERT INTO "counts" VALUES(3,2,0,1);
INSERT INTO "counts" VALUES(3,3,1,1);
INSERT INTO "counts" VALUES(3,5,1,1);
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
INSERT INTO "messages" VALUES(1,1,'person5@example.org',1,1,1,1795845367934,NULL,0,'250 2.0.0 Ok: taken as 1',NULL,1);
INSERT INTO "messages" VALUES(1,2,'late2@example.org',2,1,2,1795845367934,1795845426044,0,'450 4.1.0 Refused by a rule of the sink','{"email":"late2@example.org","name":"L"}',1);
INSERT INTO "messages" VALUES(1,3,'person7@example.org',1,1,1,1795845368027,NULL,0,'250 2.0.0 Ok: taken as 2',NULL,1);
INSERT INTO "messages" VALUES(1,4,'person1@example.org',1,1,2,1795845368027,NULL,0,'250 2.0.0 Ok: taken as 3',NULL,1);
INSERT INTO "messages" VALUES(1,5,'person10@example.org',1,1,1,1795845368131,NULL,0,'250 2.0.0 Ok: taken as 4',NULL,1);
INSERT INTO "messages" VALUES(1,6,'person2@example.org',1,1,2,1795845368131,NULL,0,'250 2.0.0 Ok: taken as 5',NULL,1);
INSERT INTO "messages" VALUES(1,7,'person14@example.org',1,1,1,1795845368226,NULL,0,'250 2.0.0 Ok: taken as 6',NULL,1);
INSERT INTO "messages" VALUES(1,8,'person3@example.org',1,1,2,1795845368226,NULL,0,'250 2.0.0 Ok: taken as 7',NULL,1);
INSERT INTO "messages" VALUES(1,9,'person16@example.org',1,1,1,1795845368326,NULL,0,'250 2.0.0 Ok: taken as 8',NULL,1);
INSERT INTO "messages" VALUES(1,10,'person4@example.org',1,1,2,1795845368326,NULL,0,'250 2.0.0 Ok: taken as 9',NULL,1);
INSERT INTO "messages" VALUES(1,11,'person17@example.org',1,1,1,1795845368427,NULL,0,'250 2.0.0 Ok: taken as 10',NULL,1);
INSERT INTO "messages" VALUES(1,12,'person6@example.org',1,1,2,1795845368427,NULL,0,'250 2.0.0 Ok: taken as 11',NULL,1);
INSERT INTO "messages" VALUES(1,13,'person18@example.org',1,1,1,1795845368530,NULL,0,'250 2.0.0 Ok: taken as 12',NULL,1);
INSERT INTO "messages" VALUES(1,14,'person8@example.org',1,1,2,1795845368530,NULL,0,'250 2.0.0 Ok: taken as 13',NULL,1);
INSERT INTO "messages" VALUES(1,15,'person19@example.org',1,1,1,1795845368631,NULL,0,'250 2.0.0 Ok: taken as 14',NULL,1);
INSERT INTO "messages" VALUES(1,16,'person9@example.org',1,1,2,1795845368631,NULL,0,'250 2.0.0 Ok: taken as 15',NULL,1);
INSERT INTO "messages" VALUES(1,17,'person20@example.org',1,2,2,1795845372237,NULL,1,'250 2.0.0 Ok: taken as 2',NULL,2);
INSERT INTO "messages" VALUES(1,18,'person11@example.org',1,1,2,1795845368735,NULL,0,'250 2.0.0 Ok: taken as 17',NULL,1);
INSERT INTO "messages" VALUES(1,19,'person25@example.org',1,2,2,1795845372343,NULL,1,'250 2.0.0 Ok: taken as 4',NULL,2);
INSERT INTO "messages" VALUES(1,20,'person12@example.org',1,1,2,1795845368839,NULL,0,'250 2.0.0 Ok: taken as 19',NULL,1);
INSERT INTO "messages" VALUES(1,21,'person13@example.org',1,1,2,1795845368943,NULL,0,'250 2.0.0 Ok: taken as 21',NULL,1);
INSERT INTO "messages" VALUES(1,22,'person15@example.org',1,1,2,1795845369050,NULL,0,'250 2.0.0 Ok: taken as 23',NULL,1);
INSERT INTO "messages" VALUES(1,23,'person21@example.org',1,1,2,1795845369150,NULL,0,'250 2.0.0 Ok: taken as 25',NULL,1);
INSERT INTO "messages" VALUES(1,24,'person22@example.org',1,1,2,1795845369246,NULL,0,'250 2.0.0 Ok: taken as 27',NULL,1);
INSERT INTO "messages" VALUES(1,25,'person23@example.org',1,1,2,1795845369354,NULL,0,'250 2.0.0 Ok: taken as 29',NULL,1);
INSERT INTO "messages" VALUES(1,26,'person24@example.org',1,1,2,1795845369447,NULL,0,'250 2.0.0 Ok: taken as 31',NULL,1);
INSERT INTO "messages" VALUES(1,27,'person27@example.org',0,1,2,1795845369538,NULL,0,NULL,NULL,1);
INSERT INTO "messages" VALUES(1,28,'person26@example.org',1,1,2,1795845372438,NULL,0,'250 2.0.0 Ok: taken as 6',NULL,2);
INSERT INTO "messages" VALUES(2,1,'ann@example.com',6,0,NULL,1795845367902,NULL,0,'spec.content.text: line 1: `missing.deep` needs a field that the recipient does not have; where it may be missing write `{{ … | default("…") }}`',NULL,1);
INSERT INTO "messages" VALUES(2,2,'dead9@example.com',6,0,NULL,1795845367902,NULL,0,'spec.content.text: line 1: `missing.deep` needs a field that the recipient does not have; where it may be missing write `{{ … | default("…") }}`',NULL,1);
INSERT INTO "messages" VALUES(3,1,'dead1@example.com',3,1,1,1795845367906,NULL,0,'550 5.1.0 Refused by a rule of the sink',NULL,1);
INSERT INTO "messages" VALUES(3,2,'rené@münchen.example',1,1,2,1795845367906,NULL,0,'250 2.0.0 Ok: taken as 1',NULL,1);
INSERT INTO "messages" VALUES(3,3,'late1@example.com',2,1,1,1795845367976,1795845424463,0,'450 4.1.0 Refused by a rule of the sink','{"email":"late1@example.com","name":"L"}',1);
INSERT INTO "messages" VALUES(3,4,'user1@example.com',1,1,2,1795845367976,NULL,0,'250 2.0.0 Ok: taken as 2',NULL,1);
INSERT INTO "messages" VALUES(3,5,'user7@example.com',1,1,1,1795845368077,NULL,0,'250 2.0.0 Ok: taken as 3',NULL,1);
INSERT INTO "messages" VALUES(3,6,'user2@example.com',1,1,2,1795845368077,NULL,0,'250 2.0.0 Ok: taken as 4',NULL,1);
INSERT INTO "messages" VALUES(3,7,'user10@example.com',1,1,1,1795845368176,NULL,0,'250 2.0.0 Ok: taken as 5',NULL,1);
INSERT INTO "messages" VALUES(3,8,'user3@example.com',1,1,2,1795845368176,NULL,0,'250 2.0.0 Ok: taken as 6',NULL,1);
INSERT INTO "messages" VALUES(3,9,'user13@example.com',1,1,1,1795845368276,NULL,0,'250 2.0.0 Ok: taken as 7',NULL,1);
INSERT INTO "messages" VALUES(3,10,'user4@example.com',1,1,2,1795845368276,NULL,0,'250 2.0.0 Ok: taken as 8',NULL,1);
INSERT INTO "messages" VALUES(3,11,'user14@example.com',1,1,1,1795845368376,NULL,0,'250 2.0.0 Ok: taken as 9',NULL,1);
INSERT INTO "messages" VALUES(3,12,'user5@example.com',1,1,2,1795845368376,NULL,0,'250 2.0.0 Ok: taken as 10',NULL,1);
INSERT INTO "messages" VALUES(3,13,'user17@example.com',1,1,1,1795845368476,NULL,0,'250 2.0.0 Ok: taken as 11',NULL,1);
INSERT INTO "messages" VALUES(3,14,'user6@example.com',1,1,2,1795845368476,NULL,0,'250 2.0.0 Ok: taken as 12',NULL,1);
INSERT INTO "messages" VALUES(3,15,'user19@example.com',1,1,1,1795845368578,NULL,0,'250 2.0.0 Ok: taken as 13',NULL,1);
INSERT INTO "messages" VALUES(3,16,'user8@example.com',1,1,2,1795845368578,NULL,0,'250 2.0.0 Ok: taken as 14',NULL,1);
INSERT INTO "messages" VALUES(3,17,'user20@example.com',1,1,1,1795845368681,NULL,0,'250 2.0.0 Ok: taken as 15',NULL,1);
INSERT INTO "messages" VALUES(3,18,'user9@example.com',1,1,2,1795845368681,NULL,0,'250 2.0.0 Ok: taken as 16',NULL,1);
INSERT INTO "messages" VALUES(3,19,'user21@example.com',5,1,1,1795845370287,NULL,0,'Mailfleet ended before the server''s answer arrived',NULL,1);
INSERT INTO "messages" VALUES(3,20,'user11@example.com',1,1,2,1795845368791,NULL,0,'250 2.0.0 Ok: taken as 18',NULL,1);
INSERT INTO "messages" VALUES(3,21,'user12@example.com',1,1,2,1795845368919,NULL,0,'250 2.0.0 Ok: taken as 20',NULL,1);
INSERT INTO "messages" VALUES(3,22,'user15@example.com',1,1,2,1795845369002,NULL,0,'250 2.0.0 Ok: taken as 22',NULL,1);
INSERT INTO "messages" VALUES(3,23,'user16@example.com',1,1,2,1795845369102,NULL,0,'250 2.0.0 Ok: taken as 24',NULL,1);
INSERT INTO "messages" VALUES(3,24,'user18@example.com',1,1,2,1795845369202,NULL,0,'250 2.0.0 Ok: taken as 26',NULL,1);
INSERT INTO "messages" VALUES(3,25,'user22@example.com',1,1,2,1795845369298,NULL,0,'250 2.0.0 Ok: taken as 28',NULL,1);
INSERT INTO "messages" VALUES(3,26,'user25@example.com',1,1,2,1795845369398,NULL,0,'250 2.0.0 Ok: taken as 30',NULL,1);
INSERT INTO "messages" VALUES(3,27,'user26@example.com',1,1,2,1795845369498,NULL,0,'250 2.0.0 Ok: taken as 32',NULL,1);
INSERT INTO "messages" VALUES(3,28,'user23@example.com',1,1,2,1795845372219,NULL,0,'250 2.0.0 Ok: taken as 1',NULL,2);
INSERT INTO "messages" VALUES(3,29,'user24@example.com',1,1,2,1795845372288,NULL,0,'250 2.0.0 Ok: taken as 3',NULL,2);
INSERT INTO "messages" VALUES(3,30,'user27@example.com',1,1,2,1795845372391,NULL,0,'250 2.0.0 Ok: taken as 5',NULL,2);
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value
) WITHOUT ROWID;
INSERT INTO "meta" VALUES('epoch',2);
INSERT INTO "meta" VALUES('schema',1);
INSERT INTO "meta" VALUES('seed',9018850732696972063);
CREATE TABLE objects (
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    spec_hash INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (kind, namespace, name)
) WITHOUT ROWID;
INSERT INTO "objects" VALUES('Campaign','default','autumn',-4825293238689870456,1,1795845367415);
INSERT INTO "objects" VALUES('Campaign','default','spring',3789698727325319277,1,1795845367415);
INSERT INTO "objects" VALUES('Campaign','default','summer',6972529640299405858,1,1795845367415);
INSERT INTO "objects" VALUES('Plan','default','basic',6956183695307169898,1,1795845367415);
INSERT INTO "objects" VALUES('SendingServer','default','other',-8841330272596346978,1,1795845367415);
INSERT INTO "objects" VALUES('SendingServer','default','relay',8900204193824281202,1,1795845367415);
CREATE TABLE problems (
    run_id INTEGER NOT NULL,
    line INTEGER NOT NULL,
    what TEXT NOT NULL,
    PRIMARY KEY (run_id, line, what)
) WITHOUT ROWID;
INSERT INTO "problems" VALUES(3,46,'there is no `@` in it');
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
INSERT INTO "runs" VALUES(1,'default','summer','first',1795845367885,NULL,NULL,0,0,2,NULL,NULL,NULL,NULL);
INSERT INTO "runs" VALUES(2,'default','autumn','first',1795845367885,1795845367906,2,0,0,0,1795845367906,NULL,NULL,NULL);
INSERT INTO "runs" VALUES(3,'default','spring','first',1795845367885,NULL,NULL,0,0,0,NULL,NULL,NULL,NULL);
CREATE TABLE servers (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);
INSERT INTO "servers" VALUES(1,'default/other');
INSERT INTO "servers" VALUES(2,'default/relay');
CREATE TABLE usage (
    minute INTEGER NOT NULL,
    key TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (minute, key)
) WITHOUT ROWID;
INSERT INTO "usage" VALUES(29930756,'default/other',20);
INSERT INTO "usage" VALUES(29930756,'default/relay',40);
CREATE INDEX messages_due ON messages (run_id, next_attempt_at_ms) WHERE state = 2;
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
COMMIT;
