//! A ledger of each previous version is migrated: counts are equal, and nobody is mailed again.
//!
//! `tests/ledgers/schema-N.sql` are dumps of ledgers that those versions wrote.

use super::*;

/// What each version before wrote, from version 1 on.
const DUMPS: [&str; 7] = [
    include_str!("../../../tests/ledgers/schema-1.sql"),
    include_str!("../../../tests/ledgers/schema-2.sql"),
    include_str!("../../../tests/ledgers/schema-3.sql"),
    include_str!("../../../tests/ledgers/schema-4.sql"),
    include_str!("../../../tests/ledgers/schema-5.sql"),
    include_str!("../../../tests/ledgers/schema-6.sql"),
    include_str!("../../../tests/ledgers/schema-7.sql"),
];

fn of_dump(dump: &str) -> Folder {
    let folder = Folder::new();
    let connection = rusqlite::Connection::open(folder.database()).expect("a database");
    connection.execute_batch(dump).expect("the dump");
    connection.execute_batch("PRAGMA application_id = 1296460916; PRAGMA journal_mode = WAL;").expect("a mark");
    folder
}

#[tokio::test]
async fn a_ledger_of_each_version_before_is_migrated() {
    for (dump, version) in DUMPS.into_iter().zip(1..) {
        is_migrated(dump, version).await;
    }
}

async fn is_migrated(dump: &str, version: i64) {
    let folder = of_dump(dump);
    assert_eq!(folder.ask("SELECT value FROM meta WHERE key = 'schema'"), [version.to_string()]);
    let rows = "SELECT namespace, campaign, run, recipient, state, attempt, server, next_attempt, resent, reply FROM recipients ORDER BY 1, 2, 3, 4";
    let sums = "SELECT namespace, campaign, run, state, accepted, rejected, expired, unknown, render_failed, deferred, claimed, resent,
        total, duplicates, bad_rows, started, completed FROM campaigns ORDER BY 1, 2, 3";
    let (rows_before, sums_before) = (folder.ask(rows), folder.ask(sums));
    assert!(rows_before.len() > 50, "the dump holds something");
    let reader = LedgerReader::open(folder.location()).expect_err("a reader cannot migrate");
    assert_eq!(reader.kind, LedgerErrorKind::OlderVersion);

    let ledger = folder.open();
    assert_eq!(folder.ask("SELECT value FROM meta WHERE key = 'schema'"), [crate::ledger::migrations::VERSION.to_string()]);
    assert_eq!((folder.ask(rows), folder.ask(sums)), (rows_before.clone(), sums_before), "the views say the same");
    assert_eq!(
        LedgerReader::open(folder.location()).expect("it opens").runs().expect("a read").len(),
        folder.ask("SELECT id FROM runs").len()
    );
    for row in folder.ask("SELECT namespace, campaign, run FROM runs") {
        let parts: Vec<&str> = row.split(' ').collect();
        let key = RunKey::new(parts[0], parts[1], parts[2]);
        let record = ledger.begin_run(&key, RunStart::default(), 1_000).await.expect("it goes on");
        let mut index = ledger.recipient_index(record.id).expect("an index");
        let of_run = format!("run_id = (SELECT id FROM runs WHERE campaign = '{}')", parts[1]);
        // Failed templates of a run that is not over are retried.
        for again in folder.ask(&format!("SELECT recipient, state = 2 AND next_attempt_at_ms IS NULL FROM messages WHERE {of_run}")) {
            let (recipient, is_again) = again.split_once(' ').expect("two columns");
            let found = index.look_up(recipient).expect("checked");
            assert_eq!(matches!(found, Lookup::Resend { .. }), is_again == "1", "{recipient} of {key}");
            assert!(is_again == "1" || found == Lookup::Claimed, "{recipient} of {key}: {found:?}");
        }
    }
    drop(ledger);
    // The deadline of waiting messages counts from now on.
    let without = folder.ask("SELECT count(*) FROM messages WHERE state = 2 AND since_ms IS NULL AND next_attempt_at_ms IS NOT NULL");
    assert_eq!(without, ["0"], "version {version}");
    // The tables are those of a new ledger.
    let fresh = Folder::new();
    drop(fresh.open());
    let columns = "SELECT m.name, p.name, p.type, p.\"notnull\", p.pk FROM sqlite_schema m JOIN pragma_table_info(m.name) p WHERE m.type IN ('table', 'view') ORDER BY 1, 2";
    assert_eq!(folder.ask(columns), fresh.ask(columns));
    let indices = "SELECT name, tbl_name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL ORDER BY 1";
    assert_eq!(folder.ask(indices), fresh.ask(indices));
}

#[tokio::test]
async fn a_migration_that_breaks_off_has_not_happened() {
    let folder = of_dump(DUMPS[0]);
    let connection = rusqlite::Connection::open(folder.database()).expect("a database");
    // In the way of the second half of the step.
    connection.execute_batch("CREATE TABLE guards (x)").expect("in the way");
    drop(connection);
    assert!(folder.try_open().is_err());
    assert_eq!(folder.ask("SELECT value FROM meta WHERE key = 'schema'"), ["1"]);
    assert!(folder.ask("SELECT count(*) FROM recipients")[0].parse::<u32>().is_ok_and(|count| count > 50), "all is as before");
    rusqlite::Connection::open(folder.database()).expect("a database").execute_batch("DROP TABLE guards").expect("out of the way");
    drop(folder.open());
    assert_eq!(folder.ask("SELECT value FROM meta WHERE key = 'schema'"), [crate::ledger::migrations::VERSION.to_string()]);
}

#[tokio::test]
async fn views_follow_the_table_of_fates() {
    let folder = Folder::new();
    drop(folder.open());
    let views = "SELECT name, sql FROM sqlite_schema WHERE type = 'view' ORDER BY 1";
    let written = folder.ask(views);
    // As a version with fewer fates would leave it.
    let older = "DROP VIEW recipients; DROP VIEW campaigns; CREATE VIEW recipients AS SELECT 1; UPDATE meta SET value = value - 1 WHERE key = 'fates'";
    rusqlite::Connection::open(folder.database()).expect("a database").execute_batch(older).expect("an older ledger");
    assert_ne!(folder.ask(views), written);
    drop(folder.open());
    assert_eq!(folder.ask(views), written);
    assert_eq!(folder.ask("SELECT value FROM meta WHERE key = 'fates'"), [Fate::ALL.len().to_string()]);
}

#[test]
fn every_version_has_the_step_that_leads_to_it() {
    assert_eq!(super::migrations_of_the_ledger().len(), DUMPS.len(), "a dump for each");
    assert_eq!(i64::try_from(super::migrations_of_the_ledger().len()), Ok(crate::ledger::migrations::VERSION - 1));
}

/// People as older versions wrote them, one message for each spelling: its fate, and whether it is still to be sent.
const SPELLINGS: &[(&str, Fate, bool)] = &[
    ("ann@münchen.example", Fate::Deferred, true),
    ("ann@xn--mnchen-3ya.example", Fate::Deferred, false),
    ("Ann@example.com", Fate::Deferred, false),
    ("ann@example.com", Fate::Accepted, false),
    ("\"bob\"@example.com", Fate::Accepted, false),
    ("bob@example.com", Fate::Deferred, false),
    ("Cy@example.com", Fate::Claimed, true),
    ("cy@example.com", Fate::Claimed, false),
    ("CY@example.com", Fate::Deferred, false),
    ("Di@example.com", Fate::Expired, false),
    ("di@example.com", Fate::Claimed, false),
    ("Eve@example.com", Fate::RenderFailed, true),
    ("eve@example.com", Fate::Deferred, false),
    ("fay@example.com", Fate::Deferred, true),
];

#[tokio::test]
async fn of_a_person_in_several_spellings_one_message_is_sent() {
    let folder = of_dump(DUMPS[0]);
    let connection = rusqlite::Connection::open(folder.database()).expect("a database");
    let run = "INSERT INTO runs (id, namespace, campaign, run, started_at_ms) VALUES (77, 'default', 'spellings', 'first', 1)";
    connection.execute_batch(run).expect("a run");
    for (seq, (recipient, fate, _)) in (1_i64..).zip(SPELLINGS) {
        let due = (*fate == Fate::Deferred).then_some(5);
        connection
            .execute(
                "INSERT INTO messages VALUES (77, ?1, ?2, ?3, 1, 1, 1, ?4, 0, NULL, CASE ?3 WHEN 2 THEN '{}' END, 1)",
                rusqlite::params![seq, recipient, fate.number(), due],
            )
            .expect("a message");
        let count = "INSERT INTO counts VALUES (77, ?1, 1, 1) ON CONFLICT DO UPDATE SET count = count + 1";
        connection.execute(count, [fate.number()]).expect("counted");
    }
    drop(connection);
    let ledger = folder.open();
    let run = ledger
        .begin_run(
            &RunKey::new("default", "spellings", "first"),
            RunStart { when_outcome_is_unknown: WhenOutcomeIsUnknown::Resend, ..RunStart::default() },
            10,
        )
        .await
        .expect("a run")
        .id;
    let due = ledger.due(run, 100, 50).await.expect("due");
    // In either order: it does not matter which spelling the audience has.
    for is_reversed in [false, true] {
        let mut index = ledger.recipient_index(run).expect("an index");
        let mut sent: Vec<u64> = due.iter().filter(|message| !index.is_duplicate(message.seq)).map(|message| message.seq).collect();
        let mut order: Vec<&str> = SPELLINGS.iter().map(|(recipient, ..)| *recipient).collect();
        if is_reversed {
            order.reverse();
        }
        for recipient in order {
            if let Lookup::Resend { seq, .. } = index.look_up(recipient).expect("checked") {
                sent.push(seq);
            }
        }
        sent.sort_unstable();
        let wanted: Vec<u64> = (1..).zip(SPELLINGS).filter(|(_, (.., is_sent))| *is_sent).map(|(seq, _)| seq).collect();
        assert_eq!(sent, wanted, "reversed: {is_reversed}");
        // These get an outcome once the audience has been read.
        assert_eq!(index.unmatched(), [8, 11], "claims of people who have another message");
    }
}
