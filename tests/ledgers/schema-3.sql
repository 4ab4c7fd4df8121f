-- A ledger as the third version of the schema was written, by a process that was killed (`sqlite3 ledger.db .dump`).
BEGIN TRANSACTION;
CREATE TABLE counts (
    run_id INTEGER NOT NULL,
    state INTEGER NOT NULL,
    server_id INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (run_id, state, server_id)
) WITHOUT ROWID;
INSERT INTO "counts" VALUES(1,0,0,4);
INSERT INTO "counts" VALUES(1,1,1,24);
INSERT INTO "counts" VALUES(1,2,0,12);
INSERT INTO "counts" VALUES(1,3,1,10);
INSERT INTO "counts" VALUES(1,7,0,2);
INSERT INTO "counts" VALUES(2,0,0,0);
INSERT INTO "counts" VALUES(2,1,1,2);
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
INSERT INTO "guards" VALUES(3,1,'RefusedAlike','Server default/relay refused 10 recipients of this campaign alike: `554 5.1.0 Refused by a rule of the sink`. It is not used for this run until a person has looked: fix what it says, then `mailfleet resume` the campaign with --held Retry, or with --held Reject when the recipients are at fault.',643853272076773990,1795897217461);
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
    since_ms INTEGER,
    PRIMARY KEY (run_id, partition, seq)
) WITHOUT ROWID;
INSERT INTO "messages" VALUES(1,0,1,'ann0@one.example',1,1,1,1795897217446,NULL,0,'250 2.0.0 Ok: taken as 2',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,2,'ann0@two.example',1,1,1,1795897217449,NULL,0,'250 2.0.0 Ok: taken as 4',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,3,'gone0@one.example',3,0,1,1795897217459,NULL,0,'550 5.1.0 Refused by a rule of the sink',NULL,NULL,1,1795897217446);
INSERT INTO "messages" VALUES(1,0,4,'gone0@two.example',3,0,1,1795897217459,NULL,0,'550 5.1.0 Refused by a rule of the sink',NULL,NULL,1,1795897217447);
INSERT INTO "messages" VALUES(1,0,5,'later0@one.example',2,1,1,1795897217452,1795897273151,0,'450 4.1.0 Refused by a rule of the sink','{"email":"later0@one.example","name":"later 0"}',NULL,1,1795897217449);
INSERT INTO "messages" VALUES(1,0,6,'later0@two.example',2,1,1,1795897217452,1795897284571,0,'450 4.1.0 Refused by a rule of the sink','{"email":"later0@two.example","name":"later 0"}',NULL,1,1795897217449);
INSERT INTO "messages" VALUES(1,0,7,'hurt0@one.example',1,1,1,1795897217459,NULL,0,'250 2.0.0 Ok: taken as 5',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,8,'hurt0@two.example',1,1,1,1795897217468,NULL,0,'250 2.0.0 Ok: taken as 6',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,9,'ann1@one.example',1,1,1,1795897217468,NULL,0,'250 2.0.0 Ok: taken as 7',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,10,'ann1@two.example',1,1,1,1795897217468,NULL,0,'250 2.0.0 Ok: taken as 8',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,11,'gone1@one.example',3,0,1,1795897217518,NULL,0,'550 5.1.0 Refused by a rule of the sink',NULL,NULL,1,1795897217468);
INSERT INTO "messages" VALUES(1,0,12,'gone1@two.example',3,0,1,1795897217518,NULL,0,'550 5.1.0 Refused by a rule of the sink',NULL,NULL,1,1795897217468);
INSERT INTO "messages" VALUES(1,0,13,'later1@one.example',2,1,1,1795897217470,1795897287374,0,'450 4.1.0 Refused by a rule of the sink','{"email":"later1@one.example","name":"later 1"}',NULL,1,1795897217468);
INSERT INTO "messages" VALUES(1,0,14,'later1@two.example',2,1,1,1795897217470,1795897286140,0,'450 4.1.0 Refused by a rule of the sink','{"email":"later1@two.example","name":"later 1"}',NULL,1,1795897217468);
INSERT INTO "messages" VALUES(1,0,15,'hurt1@one.example',1,1,1,1795897217492,NULL,0,'250 2.0.0 Ok: taken as 9',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,16,'hurt1@two.example',1,1,1,1795897217492,NULL,0,'250 2.0.0 Ok: taken as 10',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,17,'ann2@one.example',1,1,1,1795897217492,NULL,0,'250 2.0.0 Ok: taken as 11',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,18,'ann2@two.example',1,1,1,1795897217492,NULL,0,'250 2.0.0 Ok: taken as 12',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,19,'gone2@one.example',3,0,1,1795897217544,NULL,0,'550 5.1.0 Refused by a rule of the sink',NULL,NULL,1,1795897217492);
INSERT INTO "messages" VALUES(1,0,20,'gone2@two.example',3,0,1,1795897217544,NULL,0,'550 5.1.0 Refused by a rule of the sink',NULL,NULL,1,1795897217492);
INSERT INTO "messages" VALUES(1,0,21,'later2@one.example',2,1,1,1795897217496,1795897283352,0,'450 4.1.0 Refused by a rule of the sink','{"email":"later2@one.example","name":"later 2"}',NULL,1,1795897217492);
INSERT INTO "messages" VALUES(1,0,22,'later2@two.example',2,1,1,1795897217496,1795897276937,0,'450 4.1.0 Refused by a rule of the sink','{"email":"later2@two.example","name":"later 2"}',NULL,1,1795897217492);
INSERT INTO "messages" VALUES(1,0,23,'hurt2@one.example',1,1,1,1795897217518,NULL,0,'250 2.0.0 Ok: taken as 13',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,24,'hurt2@two.example',1,1,1,1795897217518,NULL,0,'250 2.0.0 Ok: taken as 14',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,25,'ann3@one.example',1,1,1,1795897217518,NULL,0,'250 2.0.0 Ok: taken as 15',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,26,'ann3@two.example',1,1,1,1795897217518,NULL,0,'250 2.0.0 Ok: taken as 16',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,27,'gone3@one.example',3,0,1,1795897217570,NULL,0,'550 5.1.0 Refused by a rule of the sink',NULL,NULL,1,1795897217518);
INSERT INTO "messages" VALUES(1,0,28,'gone3@two.example',3,0,1,1795897217570,NULL,0,'550 5.1.0 Refused by a rule of the sink',NULL,NULL,1,1795897217518);
INSERT INTO "messages" VALUES(1,0,29,'later3@one.example',2,1,1,1795897217521,1795897278349,0,'450 4.1.0 Refused by a rule of the sink','{"email":"later3@one.example","name":"later 3"}',NULL,1,1795897217518);
INSERT INTO "messages" VALUES(1,0,30,'later3@two.example',2,1,1,1795897217521,1795897271139,0,'450 4.1.0 Refused by a rule of the sink','{"email":"later3@two.example","name":"later 3"}',NULL,1,1795897217518);
INSERT INTO "messages" VALUES(1,0,31,'hurt3@one.example',1,1,1,1795897217544,NULL,0,'250 2.0.0 Ok: taken as 17',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,32,'hurt3@two.example',1,1,1,1795897217544,NULL,0,'250 2.0.0 Ok: taken as 18',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,33,'ann4@one.example',1,1,1,1795897217544,NULL,0,'250 2.0.0 Ok: taken as 19',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,34,'ann4@two.example',1,1,1,1795897217544,NULL,0,'250 2.0.0 Ok: taken as 20',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,35,'gone4@one.example',3,0,1,1795897217585,NULL,0,'550 5.1.0 Refused by a rule of the sink',NULL,NULL,1,1795897217544);
INSERT INTO "messages" VALUES(1,0,36,'gone4@two.example',3,0,1,1795897217585,NULL,0,'550 5.1.0 Refused by a rule of the sink',NULL,NULL,1,1795897217544);
INSERT INTO "messages" VALUES(1,0,37,'later4@one.example',2,1,1,1795897217547,1795897268822,0,'450 4.1.0 Refused by a rule of the sink','{"email":"later4@one.example","name":"later 4"}',NULL,1,1795897217544);
INSERT INTO "messages" VALUES(1,0,38,'later4@two.example',2,1,1,1795897217547,1795897266163,0,'450 4.1.0 Refused by a rule of the sink','{"email":"later4@two.example","name":"later 4"}',NULL,1,1795897217544);
INSERT INTO "messages" VALUES(1,0,39,'hurt4@one.example',1,1,1,1795897217570,NULL,0,'250 2.0.0 Ok: taken as 21',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,40,'hurt4@two.example',1,1,1,1795897217570,NULL,0,'250 2.0.0 Ok: taken as 22',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,41,'ann5@one.example',1,1,1,1795897217570,NULL,0,'250 2.0.0 Ok: taken as 23',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,42,'ann5@two.example',1,1,1,1795897217570,NULL,0,'250 2.0.0 Ok: taken as 24',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,43,'gone5@one.example',7,0,1,1795897217573,NULL,0,'550 5.1.0 Refused by a rule of the sink','{"email":"gone5@one.example","name":"gone 5"}','[{"server":"default/relay","host":"127.0.0.1","ground":"unclear","reply":"550 5.1.0 Refused by a rule of the sink"}]',1,1795897217570);
INSERT INTO "messages" VALUES(1,0,44,'gone5@two.example',7,0,1,1795897217573,NULL,0,'550 5.1.0 Refused by a rule of the sink','{"email":"gone5@two.example","name":"gone 5"}','[{"server":"default/relay","host":"127.0.0.1","ground":"unclear","reply":"550 5.1.0 Refused by a rule of the sink"}]',1,1795897217570);
INSERT INTO "messages" VALUES(1,0,45,'later5@one.example',2,1,1,1795897217573,1795897279598,0,'450 4.1.0 Refused by a rule of the sink','{"email":"later5@one.example","name":"later 5"}',NULL,1,1795897217570);
INSERT INTO "messages" VALUES(1,0,46,'later5@two.example',2,1,1,1795897217573,1795897279538,0,'450 4.1.0 Refused by a rule of the sink','{"email":"later5@two.example","name":"later 5"}',NULL,1,1795897217570);
INSERT INTO "messages" VALUES(1,0,47,'hurt5@one.example',1,1,1,1795897217585,NULL,0,'250 2.0.0 Ok: taken as 25',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,48,'hurt5@two.example',1,1,1,1795897217585,NULL,0,'250 2.0.0 Ok: taken as 26',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,49,'ann6@one.example',0,1,1,1795897217573,NULL,0,NULL,NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,50,'ann6@two.example',0,1,1,1795897217573,NULL,0,NULL,NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,51,'gone6@one.example',0,1,1,1795897217586,NULL,0,NULL,NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,52,'gone6@two.example',0,1,1,1795897217586,NULL,0,NULL,NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,1,'eva@one.example',1,1,1,1795897217446,NULL,0,'250 2.0.0 Ok: taken as 1',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,2,'max@two.example',1,1,1,1795897217449,NULL,0,'250 2.0.0 Ok: taken as 3',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(3,0,1,'odd0@one.example',7,0,1,1795897217441,NULL,0,'554 5.1.0 Refused by a rule of the sink','{"email":"odd0@one.example","name":"odd 0"}','[{"server":"default/relay","host":"127.0.0.1","ground":"unclear","reply":"554 5.1.0 Refused by a rule of the sink"}]',1,1795897217433);
INSERT INTO "messages" VALUES(3,0,2,'odd0@two.example',7,0,1,1795897217441,NULL,0,'554 5.1.0 Refused by a rule of the sink','{"email":"odd0@two.example","name":"odd 0"}','[{"server":"default/relay","host":"127.0.0.1","ground":"unclear","reply":"554 5.1.0 Refused by a rule of the sink"}]',1,1795897217433);
INSERT INTO "messages" VALUES(3,0,3,'odd1@one.example',7,0,1,1795897217447,NULL,0,'554 5.1.0 Refused by a rule of the sink','{"email":"odd1@one.example","name":"odd 1"}','[{"server":"default/relay","host":"127.0.0.1","ground":"unclear","reply":"554 5.1.0 Refused by a rule of the sink"}]',1,1795897217446);
INSERT INTO "messages" VALUES(3,0,4,'odd1@two.example',7,0,1,1795897217449,NULL,0,'554 5.1.0 Refused by a rule of the sink','{"email":"odd1@two.example","name":"odd 1"}','[{"server":"default/relay","host":"127.0.0.1","ground":"unclear","reply":"554 5.1.0 Refused by a rule of the sink"}]',1,1795897217447);
INSERT INTO "messages" VALUES(3,0,5,'odd2@one.example',7,0,1,1795897217452,NULL,0,'554 5.1.0 Refused by a rule of the sink','{"email":"odd2@one.example","name":"odd 2"}','[{"server":"default/relay","host":"127.0.0.1","ground":"unclear","reply":"554 5.1.0 Refused by a rule of the sink"}]',1,1795897217449);
INSERT INTO "messages" VALUES(3,0,6,'odd2@two.example',7,0,1,1795897217456,NULL,0,'554 5.1.0 Refused by a rule of the sink','{"email":"odd2@two.example","name":"odd 2"}','[{"server":"default/relay","host":"127.0.0.1","ground":"unclear","reply":"554 5.1.0 Refused by a rule of the sink"}]',1,1795897217449);
INSERT INTO "messages" VALUES(3,0,7,'odd3@one.example',7,0,1,1795897217456,NULL,0,'554 5.1.0 Refused by a rule of the sink','{"email":"odd3@one.example","name":"odd 3"}','[{"server":"default/relay","host":"127.0.0.1","ground":"unclear","reply":"554 5.1.0 Refused by a rule of the sink"}]',1,1795897217452);
INSERT INTO "messages" VALUES(3,0,8,'odd3@two.example',7,0,1,1795897217456,NULL,0,'554 5.1.0 Refused by a rule of the sink','{"email":"odd3@two.example","name":"odd 3"}','[{"server":"default/relay","host":"127.0.0.1","ground":"unclear","reply":"554 5.1.0 Refused by a rule of the sink"}]',1,1795897217452);
INSERT INTO "messages" VALUES(3,0,9,'odd4@one.example',7,0,1,1795897217459,NULL,0,'554 5.1.0 Refused by a rule of the sink','{"email":"odd4@one.example","name":"odd 4"}','[{"server":"default/relay","host":"127.0.0.1","ground":"unclear","reply":"554 5.1.0 Refused by a rule of the sink"}]',1,1795897217456);
INSERT INTO "messages" VALUES(3,0,10,'odd4@two.example',7,0,1,1795897217461,NULL,0,'554 5.1.0 Refused by a rule of the sink','{"email":"odd4@two.example","name":"odd 4"}','[{"server":"default/relay","host":"127.0.0.1","ground":"unclear","reply":"554 5.1.0 Refused by a rule of the sink"}]',1,1795897217460);
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value
) WITHOUT ROWID;
INSERT INTO "meta" VALUES('epoch',1);
INSERT INTO "meta" VALUES('schema',3);
INSERT INTO "meta" VALUES('seed',3657780334991755223);
CREATE TABLE objects (
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    spec_hash INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (kind, namespace, name)
) WITHOUT ROWID;
INSERT INTO "objects" VALUES('Campaign','default','done',6791201152113889325,1,1795897217395);
INSERT INTO "objects" VALUES('Campaign','default','odd',-6057442535795577361,1,1795897217395);
INSERT INTO "objects" VALUES('Campaign','default','spring',-8201470424398288310,1,1795897217395);
INSERT INTO "objects" VALUES('Plan','default','plan',-1440978504453765405,1,1795897217395);
INSERT INTO "objects" VALUES('SendingServer','default','relay',6764567924715242769,1,1795897217395);
CREATE TABLE problems (
    run_id INTEGER NOT NULL,
    line INTEGER NOT NULL,
    what TEXT NOT NULL,
    PRIMARY KEY (run_id, line, what)
) WITHOUT ROWID;
INSERT INTO "problems" VALUES(2,5,'there is no `@` in it');
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
INSERT INTO "runs" VALUES(1,'default','spring','first',1795897217428,NULL,NULL,0,0,0,NULL,NULL,NULL);
INSERT INTO "runs" VALUES(2,'default','done','first',1795897217428,1795897217450,2,1,1,0,1795897217450,NULL,NULL);
INSERT INTO "runs" VALUES(3,'default','odd','first',1795897217428,NULL,NULL,0,0,0,NULL,NULL,NULL);
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
INSERT INTO "usage" VALUES(29931620,'default/relay',64);
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
