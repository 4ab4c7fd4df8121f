-- A ledger as the second version of the schema was written, by a process that was killed (`sqlite3 ledger.db .dump`).
BEGIN TRANSACTION;
CREATE TABLE counts (
    run_id INTEGER NOT NULL,
    state INTEGER NOT NULL,
    server_id INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (run_id, state, server_id)
) WITHOUT ROWID;
INSERT INTO "counts" VALUES(1,0,0,0);
INSERT INTO "counts" VALUES(1,1,1,2);
INSERT INTO "counts" VALUES(2,0,0,2);
INSERT INTO "counts" VALUES(2,1,1,24);
INSERT INTO "counts" VALUES(2,2,0,24);
INSERT INTO "counts" VALUES(2,3,1,24);
INSERT INTO "counts" VALUES(3,0,0,0);
INSERT INTO "counts" VALUES(3,7,0,10);
CREATE TABLE guards (
    run_id INTEGER NOT NULL,
    server_id INTEGER NOT NULL,
    reason TEXT NOT NULL,
    message TEXT NOT NULL,
    spec_hash INTEGER NOT NULL,
    since_ms INTEGER NOT NULL,
    PRIMARY KEY (run_id, server_id)
) WITHOUT ROWID;
INSERT INTO "guards" VALUES(3,1,'RefusedAlike','Server default/relay refused 10 recipients of this campaign alike: `550 njet odd4@two.example 1567`. It is not used for this run until a person has looked: fix what it says, then `mailfleet resume` the campaign with --held Retry, or with --held Reject when the recipients are at fault.',3960871864978843549,1795861980116);
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
INSERT INTO "messages" VALUES(1,0,1,'eva@one.example',1,1,1,1795861980113,NULL,0,'250 2.0.0 queued',NULL,NULL,1);
INSERT INTO "messages" VALUES(1,0,2,'max@two.example',1,1,1,1795861980113,NULL,0,'250 2.0.0 queued',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,1,'ann0@one.example',1,1,1,1795861980112,NULL,0,'250 2.0.0 queued',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,2,'ann0@two.example',1,1,1,1795861980113,NULL,0,'250 2.0.0 queued',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,3,'gone0@one.example',3,1,1,1795861980113,NULL,0,'550 5.1.1 no such user',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,4,'gone0@two.example',3,1,1,1795861980113,NULL,0,'550 5.1.1 no such user',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,5,'later0@one.example',2,1,1,1795861980114,1795862033395,0,'450 4.2.1 mailbox busy','{"email":"later0@one.example","name":"later 0"}',NULL,1);
INSERT INTO "messages" VALUES(2,0,6,'later0@two.example',2,1,1,1795861980114,1795862035276,0,'450 4.2.1 mailbox busy','{"email":"later0@two.example","name":"later 0"}',NULL,1);
INSERT INTO "messages" VALUES(2,0,7,'ann1@one.example',1,1,1,1795861980115,NULL,0,'250 2.0.0 queued',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,8,'ann1@two.example',1,1,1,1795861980115,NULL,0,'250 2.0.0 queued',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,9,'gone1@one.example',3,1,1,1795861980116,NULL,0,'550 5.1.1 no such user',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,10,'gone1@two.example',3,1,1,1795861980116,NULL,0,'550 5.1.1 no such user',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,11,'later1@one.example',2,1,1,1795861980116,1795862051138,0,'450 4.2.1 mailbox busy','{"email":"later1@one.example","name":"later 1"}',NULL,1);
INSERT INTO "messages" VALUES(2,0,12,'later1@two.example',2,1,1,1795861980117,1795862042600,0,'450 4.2.1 mailbox busy','{"email":"later1@two.example","name":"later 1"}',NULL,1);
INSERT INTO "messages" VALUES(2,0,13,'ann2@one.example',1,1,1,1795861980117,NULL,0,'250 2.0.0 queued',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,14,'ann2@two.example',1,1,1,1795861980117,NULL,0,'250 2.0.0 queued',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,15,'gone2@one.example',3,1,1,1795861980117,NULL,0,'550 5.1.1 no such user',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,16,'gone2@two.example',3,1,1,1795861980117,NULL,0,'550 5.1.1 no such user',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,17,'later2@one.example',2,1,1,1795861980117,1795862047494,0,'450 4.2.1 mailbox busy','{"email":"later2@one.example","name":"later 2"}',NULL,1);
INSERT INTO "messages" VALUES(2,0,18,'later2@two.example',2,1,1,1795861980117,1795862034798,0,'450 4.2.1 mailbox busy','{"email":"later2@two.example","name":"later 2"}',NULL,1);
INSERT INTO "messages" VALUES(2,0,19,'ann3@one.example',1,1,1,1795861980117,NULL,0,'250 2.0.0 queued',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,20,'ann3@two.example',1,1,1,1795861980118,NULL,0,'250 2.0.0 queued',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,21,'gone3@one.example',3,1,1,1795861980118,NULL,0,'550 5.1.1 no such user',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,22,'gone3@two.example',3,1,1,1795861980118,NULL,0,'550 5.1.1 no such user',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,23,'later3@one.example',2,1,1,1795861980118,1795862050896,0,'450 4.2.1 mailbox busy','{"email":"later3@one.example","name":"later 3"}',NULL,1);
INSERT INTO "messages" VALUES(2,0,24,'later3@two.example',2,1,1,1795861980119,1795862034117,0,'450 4.2.1 mailbox busy','{"email":"later3@two.example","name":"later 3"}',NULL,1);
INSERT INTO "messages" VALUES(2,0,25,'ann4@one.example',1,1,1,1795861980119,NULL,0,'250 2.0.0 queued',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,26,'ann4@two.example',1,1,1,1795861980119,NULL,0,'250 2.0.0 queued',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,27,'gone4@one.example',3,1,1,1795861980119,NULL,0,'550 5.1.1 no such user',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,28,'gone4@two.example',3,1,1,1795861980120,NULL,0,'550 5.1.1 no such user',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,29,'later4@one.example',2,1,1,1795861980120,1795862037361,0,'450 4.2.1 mailbox busy','{"email":"later4@one.example","name":"later 4"}',NULL,1);
INSERT INTO "messages" VALUES(2,0,30,'later4@two.example',2,1,1,1795861980120,1795862050667,0,'450 4.2.1 mailbox busy','{"email":"later4@two.example","name":"later 4"}',NULL,1);
INSERT INTO "messages" VALUES(2,0,31,'ann5@one.example',1,1,1,1795861980120,NULL,0,'250 2.0.0 queued',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,32,'ann5@two.example',1,1,1,1795861980120,NULL,0,'250 2.0.0 queued',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,33,'gone5@one.example',3,1,1,1795861980120,NULL,0,'550 5.1.1 no such user',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,34,'gone5@two.example',3,1,1,1795861980120,NULL,0,'550 5.1.1 no such user',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,35,'later5@one.example',2,1,1,1795861980120,1795862028317,0,'450 4.2.1 mailbox busy','{"email":"later5@one.example","name":"later 5"}',NULL,1);
INSERT INTO "messages" VALUES(2,0,36,'later5@two.example',2,1,1,1795861980121,1795862047310,0,'450 4.2.1 mailbox busy','{"email":"later5@two.example","name":"later 5"}',NULL,1);
INSERT INTO "messages" VALUES(2,0,37,'ann6@one.example',1,1,1,1795861980121,NULL,0,'250 2.0.0 queued',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,38,'ann6@two.example',1,1,1,1795861980121,NULL,0,'250 2.0.0 queued',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,39,'gone6@one.example',3,1,1,1795861980121,NULL,0,'550 5.1.1 no such user',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,40,'gone6@two.example',3,1,1,1795861980121,NULL,0,'550 5.1.1 no such user',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,41,'later6@one.example',2,1,1,1795861980121,1795862049466,0,'450 4.2.1 mailbox busy','{"email":"later6@one.example","name":"later 6"}',NULL,1);
INSERT INTO "messages" VALUES(2,0,42,'later6@two.example',2,1,1,1795861980121,1795862045850,0,'450 4.2.1 mailbox busy','{"email":"later6@two.example","name":"later 6"}',NULL,1);
INSERT INTO "messages" VALUES(2,0,43,'ann7@one.example',1,1,1,1795861980121,NULL,0,'250 2.0.0 queued',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,44,'ann7@two.example',1,1,1,1795861980122,NULL,0,'250 2.0.0 queued',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,45,'gone7@one.example',3,1,1,1795861980122,NULL,0,'550 5.1.1 no such user',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,46,'gone7@two.example',3,1,1,1795861980122,NULL,0,'550 5.1.1 no such user',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,47,'later7@one.example',2,1,1,1795861980122,1795862039891,0,'450 4.2.1 mailbox busy','{"email":"later7@one.example","name":"later 7"}',NULL,1);
INSERT INTO "messages" VALUES(2,0,48,'later7@two.example',2,1,1,1795861980123,1795862029593,0,'450 4.2.1 mailbox busy','{"email":"later7@two.example","name":"later 7"}',NULL,1);
INSERT INTO "messages" VALUES(2,0,49,'ann8@one.example',1,1,1,1795861980123,NULL,0,'250 2.0.0 queued',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,50,'ann8@two.example',1,1,1,1795861980123,NULL,0,'250 2.0.0 queued',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,51,'gone8@one.example',3,1,1,1795861980123,NULL,0,'550 5.1.1 no such user',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,52,'gone8@two.example',3,1,1,1795861980123,NULL,0,'550 5.1.1 no such user',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,53,'later8@one.example',2,1,1,1795861980123,1795862028542,0,'450 4.2.1 mailbox busy','{"email":"later8@one.example","name":"later 8"}',NULL,1);
INSERT INTO "messages" VALUES(2,0,54,'later8@two.example',2,1,1,1795861980123,1795862045746,0,'450 4.2.1 mailbox busy','{"email":"later8@two.example","name":"later 8"}',NULL,1);
INSERT INTO "messages" VALUES(2,0,55,'ann9@one.example',1,1,1,1795861980123,NULL,0,'250 2.0.0 queued',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,56,'ann9@two.example',1,1,1,1795861980124,NULL,0,'250 2.0.0 queued',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,57,'gone9@one.example',3,1,1,1795861980124,NULL,0,'550 5.1.1 no such user',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,58,'gone9@two.example',3,1,1,1795861980124,NULL,0,'550 5.1.1 no such user',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,59,'later9@one.example',2,1,1,1795861980124,1795862034042,0,'450 4.2.1 mailbox busy','{"email":"later9@one.example","name":"later 9"}',NULL,1);
INSERT INTO "messages" VALUES(2,0,60,'later9@two.example',2,1,1,1795861980124,1795862036534,0,'450 4.2.1 mailbox busy','{"email":"later9@two.example","name":"later 9"}',NULL,1);
INSERT INTO "messages" VALUES(2,0,61,'ann10@one.example',1,1,1,1795861980124,NULL,0,'250 2.0.0 queued',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,62,'ann10@two.example',1,1,1,1795861980125,NULL,0,'250 2.0.0 queued',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,63,'gone10@one.example',3,1,1,1795861980125,NULL,0,'550 5.1.1 no such user',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,64,'gone10@two.example',3,1,1,1795861980125,NULL,0,'550 5.1.1 no such user',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,65,'later10@one.example',2,1,1,1795861980125,1795862048105,0,'450 4.2.1 mailbox busy','{"email":"later10@one.example","name":"later 10"}',NULL,1);
INSERT INTO "messages" VALUES(2,0,66,'later10@two.example',2,1,1,1795861980126,1795862037422,0,'450 4.2.1 mailbox busy','{"email":"later10@two.example","name":"later 10"}',NULL,1);
INSERT INTO "messages" VALUES(2,0,67,'ann11@one.example',1,1,1,1795861980126,NULL,0,'250 2.0.0 queued',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,68,'ann11@two.example',1,1,1,1795861980126,NULL,0,'250 2.0.0 queued',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,69,'gone11@one.example',3,1,1,1795861980126,NULL,0,'550 5.1.1 no such user',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,70,'gone11@two.example',3,1,1,1795861980127,NULL,0,'550 5.1.1 no such user',NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,71,'later11@one.example',2,1,1,1795861980127,1795862032903,0,'450 4.2.1 mailbox busy','{"email":"later11@one.example","name":"later 11"}',NULL,1);
INSERT INTO "messages" VALUES(2,0,72,'later11@two.example',2,1,1,1795861980127,1795862040038,0,'450 4.2.1 mailbox busy','{"email":"later11@two.example","name":"later 11"}',NULL,1);
INSERT INTO "messages" VALUES(2,0,73,'slow0@one.example',0,1,1,1795861980126,NULL,0,NULL,NULL,NULL,1);
INSERT INTO "messages" VALUES(2,0,74,'slow1@one.example',0,1,1,1795861980127,NULL,0,NULL,NULL,NULL,1);
INSERT INTO "messages" VALUES(3,0,1,'odd0@one.example',7,0,1,1795861980113,NULL,0,'550 njet odd0@one.example 1539','{"email":"odd0@one.example","name":"o"}','[{"server":"default/relay","host":"127.0.0.1","ground":"unclear","reply":"550 njet odd0@one.example 1539"}]',1);
INSERT INTO "messages" VALUES(3,0,2,'odd0@two.example',7,0,1,1795861980113,NULL,0,'550 njet odd0@two.example 1563','{"email":"odd0@two.example","name":"o"}','[{"server":"default/relay","host":"127.0.0.1","ground":"unclear","reply":"550 njet odd0@two.example 1563"}]',1);
INSERT INTO "messages" VALUES(3,0,3,'odd1@one.example',7,0,1,1795861980113,NULL,0,'550 njet odd1@one.example 1540','{"email":"odd1@one.example","name":"o"}','[{"server":"default/relay","host":"127.0.0.1","ground":"unclear","reply":"550 njet odd1@one.example 1540"}]',1);
INSERT INTO "messages" VALUES(3,0,4,'odd1@two.example',7,0,1,1795861980114,NULL,0,'550 njet odd1@two.example 1564','{"email":"odd1@two.example","name":"o"}','[{"server":"default/relay","host":"127.0.0.1","ground":"unclear","reply":"550 njet odd1@two.example 1564"}]',1);
INSERT INTO "messages" VALUES(3,0,5,'odd2@one.example',7,0,1,1795861980114,NULL,0,'550 njet odd2@one.example 1541','{"email":"odd2@one.example","name":"o"}','[{"server":"default/relay","host":"127.0.0.1","ground":"unclear","reply":"550 njet odd2@one.example 1541"}]',1);
INSERT INTO "messages" VALUES(3,0,6,'odd2@two.example',7,0,1,1795861980115,NULL,0,'550 njet odd2@two.example 1565','{"email":"odd2@two.example","name":"o"}','[{"server":"default/relay","host":"127.0.0.1","ground":"unclear","reply":"550 njet odd2@two.example 1565"}]',1);
INSERT INTO "messages" VALUES(3,0,7,'odd3@one.example',7,0,1,1795861980115,NULL,0,'550 njet odd3@one.example 1542','{"email":"odd3@one.example","name":"o"}','[{"server":"default/relay","host":"127.0.0.1","ground":"unclear","reply":"550 njet odd3@one.example 1542"}]',1);
INSERT INTO "messages" VALUES(3,0,8,'odd3@two.example',7,0,1,1795861980116,NULL,0,'550 njet odd3@two.example 1566','{"email":"odd3@two.example","name":"o"}','[{"server":"default/relay","host":"127.0.0.1","ground":"unclear","reply":"550 njet odd3@two.example 1566"}]',1);
INSERT INTO "messages" VALUES(3,0,9,'odd4@one.example',7,0,1,1795861980116,NULL,0,'550 njet odd4@one.example 1543','{"email":"odd4@one.example","name":"o"}','[{"server":"default/relay","host":"127.0.0.1","ground":"unclear","reply":"550 njet odd4@one.example 1543"}]',1);
INSERT INTO "messages" VALUES(3,0,10,'odd4@two.example',7,0,1,1795861980116,NULL,0,'550 njet odd4@two.example 1567','{"email":"odd4@two.example","name":"o"}','[{"server":"default/relay","host":"127.0.0.1","ground":"unclear","reply":"550 njet odd4@two.example 1567"}]',1);
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value
) WITHOUT ROWID;
INSERT INTO "meta" VALUES('epoch',1);
INSERT INTO "meta" VALUES('schema',2);
INSERT INTO "meta" VALUES('seed',8034993979380279411);
CREATE TABLE objects (
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    spec_hash INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (kind, namespace, name)
) WITHOUT ROWID;
INSERT INTO "objects" VALUES('Campaign','default','done',4080332167513470236,1,1795861980048);
INSERT INTO "objects" VALUES('Campaign','default','odd',-8935804187620342670,1,1795861980048);
INSERT INTO "objects" VALUES('Campaign','default','spring',8396376307435704426,1,1795861980048);
INSERT INTO "objects" VALUES('Plan','default','pro',-1440978504453765405,1,1795861980048);
INSERT INTO "objects" VALUES('SendingServer','default','relay',955012624850058949,1,1795861980048);
CREATE TABLE problems (
    run_id INTEGER NOT NULL,
    line INTEGER NOT NULL,
    what TEXT NOT NULL,
    PRIMARY KEY (run_id, line, what)
) WITHOUT ROWID;
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
INSERT INTO "runs" VALUES(1,'default','done','first',1795861980105,1795861980114,2,0,0,0,1795861980114,NULL,NULL);
INSERT INTO "runs" VALUES(2,'default','spring','first',1795861980105,NULL,NULL,0,0,0,NULL,NULL,NULL);
INSERT INTO "runs" VALUES(3,'default','odd','first',1795861980105,NULL,NULL,0,0,0,NULL,NULL,NULL);
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
INSERT INTO "usage" VALUES(29931033,'default/relay',86);
CREATE INDEX messages_due ON messages (run_id, partition, next_attempt_at_ms) WHERE state = 2;
CREATE INDEX messages_held ON messages (run_id, partition) WHERE state = 7;
CREATE VIEW recipients AS
SELECT r.namespace, r.campaign, r.run, m.recipient, CASE m.state WHEN 0 THEN 'Claimed' WHEN 1 THEN 'Accepted' WHEN 2 THEN 'Deferred' WHEN 3 THEN 'Rejected' WHEN 4 THEN 'Expired' WHEN 5 THEN 'Unknown' WHEN 6 THEN 'RenderFailed' WHEN 7 THEN 'Held' WHEN 8 THEN 'Withdrawn' END AS state, m.attempt, s.name AS server,
    strftime('%Y-%m-%dT%H:%M:%fZ', m.updated_at_ms / 1000.0, 'unixepoch') AS time,
    strftime('%Y-%m-%dT%H:%M:%fZ', m.next_attempt_at_ms / 1000.0, 'unixepoch') AS next_attempt,
    m.unknowns AS resent, m.reply
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
