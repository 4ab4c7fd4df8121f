-- A ledger as the seventh version of the schema was written: that of the sixth, migrated, with results and a pause.
BEGIN TRANSACTION;
CREATE TABLE bad_rows (
    run_id INTEGER NOT NULL,
    line INTEGER NOT NULL,
    what TEXT NOT NULL,
    PRIMARY KEY (run_id, line, what)
) WITHOUT ROWID;
CREATE TABLE counts (
    run_id INTEGER NOT NULL,
    state INTEGER NOT NULL,
    server_id INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (run_id, state, server_id)
) WITHOUT ROWID;
INSERT INTO "counts" VALUES(1,0,0,4);
INSERT INTO "counts" VALUES(1,1,1,94);
INSERT INTO "counts" VALUES(1,2,0,11);
INSERT INTO "counts" VALUES(1,3,1,1);
INSERT INTO "counts" VALUES(1,6,0,2);
INSERT INTO "counts" VALUES(1,7,0,0);
INSERT INTO "counts" VALUES(2,0,0,0);
INSERT INTO "counts" VALUES(2,1,1,2);
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
INSERT INTO "events" VALUES(1,0,3,2,'',1,1795938524324,'webhook of default/relay','550 5.1.1 no such user');
INSERT INTO "events" VALUES(1,0,4,2,'',1,1795938524324,'webhook of default/relay','550 5.1.1 no such user');
INSERT INTO "events" VALUES(1,0,6,3,'',1,1795938524324,'webhook of default/relay','550 5.1.1 no such user');
CREATE TABLE feedback (
        hour INTEGER NOT NULL,
        run_id INTEGER NOT NULL,
        server_id INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        count INTEGER NOT NULL,
        PRIMARY KEY (hour, run_id, server_id, kind)
    ) WITHOUT ROWID;
INSERT INTO "feedback" VALUES(498871,1,1,2,2);
INSERT INTO "feedback" VALUES(498871,1,1,3,1);
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
INSERT INTO "messages" VALUES(1,0,1,'p7@example.com',6,0,NULL,1795938521521,NULL,0,'spec.content.text: line 1: invalid operation: unable to calculate 1 // 0, at `1 // 0`',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,2,'p17@example.com',6,0,NULL,1795938521521,NULL,0,'spec.content.text: line 1: invalid operation: unable to calculate 1 // 0, at `1 // 0`',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,3,'p1@example.com',1,1,1,1795938521559,NULL,0,'250 2.0.0 Ok: taken as 3',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,4,'p2@example.com',1,1,1,1795938521589,NULL,0,'250 2.0.0 Ok: taken as 4',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,5,'p3@example.com',2,1,1,1795938521557,1795942074668,0,'451 4.1.0 Refused by a rule of the sink','{"email":"p3@example.com","name":"n3"}',NULL,1,1795938521555);
INSERT INTO "messages" VALUES(1,0,6,'p4@example.com',1,1,1,1795938521589,NULL,0,'250 2.0.0 Ok: taken as 5',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,7,'p5@example.com',3,0,1,1795938521777,NULL,0,'550 5.1.0 Refused by a rule of the sink',NULL,NULL,1,1795938521559);
INSERT INTO "messages" VALUES(1,0,8,'p6@example.com',1,1,1,1795938521591,NULL,0,'250 2.0.0 Ok: taken as 6',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,9,'p8@example.com',1,1,1,1795938521654,NULL,0,'250 2.0.0 Ok: taken as 7',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,10,'p9@example.com',1,1,1,1795938521654,NULL,0,'250 2.0.0 Ok: taken as 8',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,11,'p10@example.com',1,1,1,1795938521654,NULL,0,'250 2.0.0 Ok: taken as 9',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,12,'p11@example.com',1,1,1,1795938521654,NULL,0,'250 2.0.0 Ok: taken as 10',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,13,'p12@example.com',1,1,1,1795938521777,NULL,0,'250 2.0.0 Ok: taken as 11',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,14,'p13@example.com',1,1,1,1795938521777,NULL,0,'250 2.0.0 Ok: taken as 12',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,15,'p14@example.com',1,1,1,1795938521777,NULL,0,'250 2.0.0 Ok: taken as 13',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,16,'p15@example.com',1,1,1,1795938521777,NULL,0,'250 2.0.0 Ok: taken as 14',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,17,'p16@example.com',1,1,1,1795938521901,NULL,0,'250 2.0.0 Ok: taken as 15',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,18,'p18@example.com',1,1,1,1795938521901,NULL,0,'250 2.0.0 Ok: taken as 16',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,19,'p19@example.com',1,1,1,1795938521901,NULL,0,'250 2.0.0 Ok: taken as 17',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,20,'p20@example.com',1,1,1,1795938521901,NULL,0,'250 2.0.0 Ok: taken as 18',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,21,'p21@example.com',1,1,1,1795938522025,NULL,0,'250 2.0.0 Ok: taken as 19',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,22,'p22@example.com',1,1,1,1795938522025,NULL,0,'250 2.0.0 Ok: taken as 20',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,23,'p23@example.com',1,1,1,1795938522025,NULL,0,'250 2.0.0 Ok: taken as 21',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,24,'p24@example.com',1,1,1,1795938522025,NULL,0,'250 2.0.0 Ok: taken as 22',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,25,'p25@example.com',1,1,1,1795938522149,NULL,0,'250 2.0.0 Ok: taken as 23',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,26,'p26@example.com',1,1,1,1795938522149,NULL,0,'250 2.0.0 Ok: taken as 24',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,27,'p27@example.com',1,1,1,1795938522149,NULL,0,'250 2.0.0 Ok: taken as 25',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,28,'p28@example.com',1,1,1,1795938522149,NULL,0,'250 2.0.0 Ok: taken as 26',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,29,'p29@example.com',1,1,1,1795938522184,NULL,0,'250 2.0.0 Ok: taken as 27',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,30,'p30@example.com',2,1,1,1795938522184,1795942673551,0,'451 4.1.0 Refused by a rule of the sink','{"email":"p30@example.com","name":"n30"}',NULL,1,1795938522149);
INSERT INTO "messages" VALUES(1,0,31,'p31@example.com',2,1,1,1795938522184,1795942183603,0,'451 4.1.0 Refused by a rule of the sink','{"email":"p31@example.com","name":"n31"}',NULL,1,1795938522149);
INSERT INTO "messages" VALUES(1,0,32,'p32@example.com',2,1,1,1795938522184,1795942351728,0,'451 4.1.0 Refused by a rule of the sink','{"email":"p32@example.com","name":"n32"}',NULL,1,1795938522149);
INSERT INTO "messages" VALUES(1,0,33,'p33@example.com',2,1,1,1795938522188,1795941810173,0,'451 4.1.0 Refused by a rule of the sink','{"email":"p33@example.com","name":"n33"}',NULL,1,1795938522184);
INSERT INTO "messages" VALUES(1,0,34,'p34@example.com',2,1,1,1795938522188,1795942494514,0,'451 4.1.0 Refused by a rule of the sink','{"email":"p34@example.com","name":"n34"}',NULL,1,1795938522184);
INSERT INTO "messages" VALUES(1,0,35,'p35@example.com',2,1,1,1795938522188,1795942002481,0,'451 4.1.0 Refused by a rule of the sink','{"email":"p35@example.com","name":"n35"}',NULL,1,1795938522184);
INSERT INTO "messages" VALUES(1,0,36,'p36@example.com',2,1,1,1795938522188,1795941553114,0,'451 4.1.0 Refused by a rule of the sink','{"email":"p36@example.com","name":"n36"}',NULL,1,1795938522184);
INSERT INTO "messages" VALUES(1,0,37,'p37@example.com',2,1,1,1795938522222,1795941422390,0,'451 4.1.0 Refused by a rule of the sink','{"email":"p37@example.com","name":"n37"}',NULL,1,1795938522188);
INSERT INTO "messages" VALUES(1,0,38,'p38@example.com',2,1,1,1795938522222,1795942614756,0,'451 4.1.0 Refused by a rule of the sink','{"email":"p38@example.com","name":"n38"}',NULL,1,1795938522188);
INSERT INTO "messages" VALUES(1,0,39,'p39@example.com',2,1,1,1795938522222,1795942248837,0,'451 4.1.0 Refused by a rule of the sink','{"email":"p39@example.com","name":"n39"}',NULL,1,1795938522188);
INSERT INTO "messages" VALUES(1,0,40,'p40@example.com',1,1,1,1795938522222,NULL,0,'250 2.0.0 Ok: taken as 28',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,41,'p41@example.com',1,1,1,1795938522344,NULL,0,'250 2.0.0 Ok: taken as 29',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,42,'p42@example.com',1,1,1,1795938522344,NULL,0,'250 2.0.0 Ok: taken as 30',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,43,'p43@example.com',1,1,1,1795938522344,NULL,0,'250 2.0.0 Ok: taken as 31',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,44,'p44@example.com',1,1,1,1795938522344,NULL,0,'250 2.0.0 Ok: taken as 32',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,45,'p45@example.com',1,1,1,1795938522468,NULL,0,'250 2.0.0 Ok: taken as 33',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,46,'p46@example.com',1,1,1,1795938522468,NULL,0,'250 2.0.0 Ok: taken as 34',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,47,'p47@example.com',1,1,1,1795938522468,NULL,0,'250 2.0.0 Ok: taken as 35',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,48,'p48@example.com',1,1,1,1795938522468,NULL,0,'250 2.0.0 Ok: taken as 36',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,49,'p49@example.com',1,1,1,1795938522591,NULL,0,'250 2.0.0 Ok: taken as 37',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,50,'p50@example.com',1,1,1,1795938522591,NULL,0,'250 2.0.0 Ok: taken as 38',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,51,'p51@example.com',1,1,1,1795938522591,NULL,0,'250 2.0.0 Ok: taken as 39',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,52,'p52@example.com',1,1,1,1795938522591,NULL,0,'250 2.0.0 Ok: taken as 40',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,53,'p53@example.com',1,1,1,1795938522715,NULL,0,'250 2.0.0 Ok: taken as 41',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,54,'p54@example.com',1,1,1,1795938522715,NULL,0,'250 2.0.0 Ok: taken as 42',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,55,'p55@example.com',1,1,1,1795938522715,NULL,0,'250 2.0.0 Ok: taken as 43',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,56,'p56@example.com',1,1,1,1795938522715,NULL,0,'250 2.0.0 Ok: taken as 44',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,57,'p57@example.com',1,1,1,1795938522838,NULL,0,'250 2.0.0 Ok: taken as 45',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,58,'p58@example.com',1,1,1,1795938522838,NULL,0,'250 2.0.0 Ok: taken as 46',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,59,'p59@example.com',1,1,1,1795938522838,NULL,0,'250 2.0.0 Ok: taken as 47',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,60,'p60@example.com',1,1,1,1795938522838,NULL,0,'250 2.0.0 Ok: taken as 48',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,61,'p61@example.com',1,1,1,1795938522962,NULL,0,'250 2.0.0 Ok: taken as 49',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,62,'p62@example.com',1,1,1,1795938522962,NULL,0,'250 2.0.0 Ok: taken as 50',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,63,'p63@example.com',1,1,1,1795938522962,NULL,0,'250 2.0.0 Ok: taken as 51',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,64,'p64@example.com',1,1,1,1795938522962,NULL,0,'250 2.0.0 Ok: taken as 52',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,65,'p65@example.com',1,1,1,1795938523087,NULL,0,'250 2.0.0 Ok: taken as 53',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,66,'p66@example.com',1,1,1,1795938523087,NULL,0,'250 2.0.0 Ok: taken as 54',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,67,'p67@example.com',1,1,1,1795938523087,NULL,0,'250 2.0.0 Ok: taken as 55',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,68,'p68@example.com',1,1,1,1795938523087,NULL,0,'250 2.0.0 Ok: taken as 56',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,69,'p69@example.com',1,1,1,1795938523209,NULL,0,'250 2.0.0 Ok: taken as 57',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,70,'p70@example.com',1,1,1,1795938523209,NULL,0,'250 2.0.0 Ok: taken as 58',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,71,'p71@example.com',1,1,1,1795938523209,NULL,0,'250 2.0.0 Ok: taken as 59',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,72,'p72@example.com',1,1,1,1795938523209,NULL,0,'250 2.0.0 Ok: taken as 60',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,73,'p73@example.com',1,1,1,1795938523334,NULL,0,'250 2.0.0 Ok: taken as 61',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,74,'p74@example.com',1,1,1,1795938523334,NULL,0,'250 2.0.0 Ok: taken as 62',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,75,'p75@example.com',1,1,1,1795938523334,NULL,0,'250 2.0.0 Ok: taken as 63',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,76,'p76@example.com',1,1,1,1795938523334,NULL,0,'250 2.0.0 Ok: taken as 64',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,77,'p77@example.com',1,1,1,1795938523458,NULL,0,'250 2.0.0 Ok: taken as 65',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,78,'p78@example.com',1,1,1,1795938523458,NULL,0,'250 2.0.0 Ok: taken as 66',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,79,'p79@example.com',1,1,1,1795938523458,NULL,0,'250 2.0.0 Ok: taken as 67',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,80,'p80@example.com',1,1,1,1795938523458,NULL,0,'250 2.0.0 Ok: taken as 68',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,81,'p81@example.com',1,1,1,1795938523581,NULL,0,'250 2.0.0 Ok: taken as 69',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,82,'p82@example.com',1,1,1,1795938523581,NULL,0,'250 2.0.0 Ok: taken as 70',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,83,'p83@example.com',1,1,1,1795938523581,NULL,0,'250 2.0.0 Ok: taken as 71',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,84,'p84@example.com',1,1,1,1795938523581,NULL,0,'250 2.0.0 Ok: taken as 72',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,85,'p85@example.com',1,1,1,1795938523705,NULL,0,'250 2.0.0 Ok: taken as 73',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,86,'p86@example.com',1,1,1,1795938523705,NULL,0,'250 2.0.0 Ok: taken as 74',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,87,'p87@example.com',1,1,1,1795938523705,NULL,0,'250 2.0.0 Ok: taken as 75',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,88,'p88@example.com',1,1,1,1795938523705,NULL,0,'250 2.0.0 Ok: taken as 76',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,89,'p89@example.com',1,1,1,1795938523830,NULL,0,'250 2.0.0 Ok: taken as 77',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,90,'p90@example.com',1,1,1,1795938523830,NULL,0,'250 2.0.0 Ok: taken as 78',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,91,'p91@example.com',1,1,1,1795938523830,NULL,0,'250 2.0.0 Ok: taken as 79',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,92,'p92@example.com',1,1,1,1795938523830,NULL,0,'250 2.0.0 Ok: taken as 80',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,93,'p93@example.com',1,1,1,1795938523952,NULL,0,'250 2.0.0 Ok: taken as 81',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,94,'p94@example.com',1,1,1,1795938523952,NULL,0,'250 2.0.0 Ok: taken as 82',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,95,'p95@example.com',1,1,1,1795938523952,NULL,0,'250 2.0.0 Ok: taken as 83',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,96,'p96@example.com',1,1,1,1795938523952,NULL,0,'250 2.0.0 Ok: taken as 84',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,97,'p97@example.com',1,1,1,1795938524077,NULL,0,'250 2.0.0 Ok: taken as 85',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,98,'p98@example.com',1,1,1,1795938524077,NULL,0,'250 2.0.0 Ok: taken as 86',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,99,'p99@example.com',1,1,1,1795938524077,NULL,0,'250 2.0.0 Ok: taken as 87',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,100,'p100@example.com',1,1,1,1795938524077,NULL,0,'250 2.0.0 Ok: taken as 88',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,101,'p101@example.com',1,1,1,1795938524199,NULL,0,'250 2.0.0 Ok: taken as 89',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,102,'p102@example.com',1,1,1,1795938524199,NULL,0,'250 2.0.0 Ok: taken as 90',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,103,'p103@example.com',1,1,1,1795938524199,NULL,0,'250 2.0.0 Ok: taken as 91',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,104,'p104@example.com',1,1,1,1795938524199,NULL,0,'250 2.0.0 Ok: taken as 92',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,105,'p105@example.com',1,1,1,1795938524324,NULL,0,'250 2.0.0 Ok: taken as 93',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,106,'p106@example.com',1,1,1,1795938524324,NULL,0,'250 2.0.0 Ok: taken as 94',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,107,'p107@example.com',1,1,1,1795938524324,NULL,0,'250 2.0.0 Ok: taken as 95',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,108,'p108@example.com',1,1,1,1795938524324,NULL,0,'250 2.0.0 Ok: taken as 96',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,109,'p109@example.com',0,1,1,1795938524324,NULL,0,NULL,NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,110,'p110@example.com',0,1,1,1795938524324,NULL,0,NULL,NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,111,'p111@example.com',0,1,1,1795938524324,NULL,0,NULL,NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(1,0,112,'p112@example.com',0,1,1,1795938524324,NULL,0,NULL,NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,1,'zoe@example.com',1,1,1,1795938521555,NULL,0,'250 2.0.0 Ok: taken as 1',NULL,NULL,1,NULL);
INSERT INTO "messages" VALUES(2,0,2,'yan@example.com',1,1,1,1795938521555,NULL,0,'250 2.0.0 Ok: taken as 2',NULL,NULL,1,NULL);
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value
) WITHOUT ROWID;
INSERT INTO "meta" VALUES('epoch',2);
INSERT INTO "meta" VALUES('fates',10);
INSERT INTO "meta" VALUES('schema',7);
INSERT INTO "meta" VALUES('seed',6658575909235500934);
CREATE TABLE objects (
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    spec_hash INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (kind, namespace, name)
) WITHOUT ROWID;
INSERT INTO "objects" VALUES('Campaign','default','small',-6172878083118355776,1,1795938521456);
INSERT INTO "objects" VALUES('Campaign','default','spring',-3520995685066849117,1,1795938521456);
INSERT INTO "objects" VALUES('Message','default','small',4744367347363903813,1,0);
INSERT INTO "objects" VALUES('Message','default','spring',8448386371133837414,1,0);
INSERT INTO "objects" VALUES('Plan','default','p',3103737207650944360,1,1795938521456);
INSERT INTO "objects" VALUES('SendingServer','default','one',-4050107387580673403,1,1795938521456);
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
INSERT INTO "pauses" VALUES(1,'',1795939200000,'BounceRateTooHigh','2.2% of 91 bounced',1795942800000,NULL,0);
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
INSERT INTO "results" VALUES(1,1795935600000,'default',90,1,2,1);
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
    reopen INTEGER NOT NULL DEFAULT 0,
    first_claimed_at_ms INTEGER, topic TEXT, delivered INTEGER NOT NULL DEFAULT 0, soft_bounced INTEGER NOT NULL DEFAULT 0, bounced INTEGER NOT NULL DEFAULT 0, complained INTEGER NOT NULL DEFAULT 0, unsubscribed INTEGER NOT NULL DEFAULT 0, judged_accepted INTEGER NOT NULL DEFAULT 0, judged_rejected INTEGER NOT NULL DEFAULT 0, judged_bounced INTEGER NOT NULL DEFAULT 0, judged_complained INTEGER NOT NULL DEFAULT 0, excluded INTEGER NOT NULL DEFAULT 0,
    UNIQUE (namespace, campaign, run)
);
INSERT INTO "runs" VALUES(1,'default','spring','first',1795938521513,NULL,NULL,0,0,0,NULL,NULL,NULL,0,1795938521557,NULL,0,0,2,1,0,0,0,0,0,0);
INSERT INTO "runs" VALUES(2,'default','small','first',1795938521513,1795938521556,2,0,0,0,1795938521556,NULL,NULL,0,1795938521555,NULL,0,0,0,0,0,0,0,0,0,0);
CREATE TABLE servers (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
, resume_handled TEXT);
INSERT INTO "servers" VALUES(1,'default/one',NULL);
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
INSERT INTO "suppressions" VALUES('default','gone@example.com','','Listed',1795951765763,'command line','');
CREATE TABLE usage (
    minute INTEGER NOT NULL,
    key TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (minute, key)
) WITHOUT ROWID;
INSERT INTO "usage" VALUES(29932308,'default/one',112);
CREATE INDEX messages_due ON messages (run_id, partition, next_attempt_at_ms) WHERE state = 2;
CREATE INDEX messages_held ON messages (run_id, partition) WHERE state = 7;
CREATE VIEW feedback_events AS
SELECT r.namespace, r.campaign, r.run, coalesce(m.recipient, e.person) AS recipient, CASE e.kind WHEN 0 THEN 'Delivered' WHEN 1 THEN 'SoftBounce' WHEN 2 THEN 'HardBounce' WHEN 3 THEN 'Complaint' WHEN 4 THEN 'Unsubscribed' END AS event, s.name AS server,
    strftime('%Y-%m-%dT%H:%M:%fZ', e.at_ms / 1000.0, 'unixepoch') AS time, e.source, e.detail
FROM events e
JOIN runs r ON r.id = e.run_id
LEFT JOIN messages m ON m.run_id = e.run_id AND m.partition = e.partition AND m.seq = e.seq
LEFT JOIN servers s ON s.id = e.server_id;
CREATE INDEX objects_by_hash ON objects (spec_hash);
CREATE VIEW recipients AS
SELECT r.namespace, r.campaign, r.run, m.recipient, CASE m.state WHEN 0 THEN 'Claimed' WHEN 1 THEN 'Accepted' WHEN 2 THEN 'Deferred' WHEN 3 THEN 'Rejected' WHEN 4 THEN 'Expired' WHEN 5 THEN 'Unknown' WHEN 6 THEN 'RenderFailed' WHEN 7 THEN 'Held' WHEN 8 THEN 'Withdrawn' WHEN 9 THEN 'Suppressed' END AS state, m.attempt, s.name AS server,
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
    coalesce(sum(c.count) FILTER (WHERE c.state = 9), 0) AS suppressed,
    r.resent, r.delivered, r.soft_bounced, r.bounced, r.complained, r.unsubscribed, r.total, r.duplicates, r.excluded, r.bad_rows,
    strftime('%Y-%m-%dT%H:%M:%fZ', r.started_at_ms / 1000.0, 'unixepoch') AS started,
    strftime('%Y-%m-%dT%H:%M:%fZ', r.closed_at_ms / 1000.0, 'unixepoch') AS completed
FROM runs r
LEFT JOIN counts c ON c.run_id = r.id
GROUP BY r.id;
COMMIT;
