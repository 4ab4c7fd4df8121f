//! What holds of a ledger in a state folder alone: locks, full disks, damaged and moved files, and what the documentation says of the file.

use rusqlite::Connection;

use super::{
    failures::{AFTER, BEFORE, started, states},
    reading::filled,
    *,
};

#[tokio::test]
async fn a_locked_database_fails_and_the_same_commit_works_later() {
    let folder = Folder::new();
    let ledger = folder.open();
    let (_, commit) = started(&ledger).await;
    let other = Connection::open(folder.database()).expect("another client");
    other.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    let error = ledger.commit(Arc::clone(&commit)).await.expect_err("it is locked");
    assert_eq!((error.kind, error.is_transient()), (LedgerErrorKind::Locked, true));
    assert!(error.message.contains("ledger.db is locked by another program"), "{error}");
    other.execute_batch("ROLLBACK").expect("the lock goes");
    assert_eq!(states(&folder), BEFORE);
    ledger.commit(commit).await.expect("it works");
    assert_eq!(states(&folder), AFTER);
}

#[tokio::test]
async fn a_full_disk_fails_and_the_same_commit_works_when_there_is_room() {
    let folder = Folder::new();
    let ledger = folder.open();
    let (run, commit) = started(&ledger).await;
    let room = |pages: &'static str| ledger.call(move |writer| writer.book.read(|c| c.execute_batch(pages)));
    // As full as it gets: SQLite uses the present size if the bound is smaller.
    room("PRAGMA max_page_count = 1").await.expect("a bound");
    let server = ledger.server_id("shop/one").await.expect("a server");
    let large = Commit { claims: (0..500).map(|n| claim(run, server, &format!("big{n}@x.org"))).collect(), ..(*commit).clone() };
    for _ in 0..3 {
        let error = ledger.commit(large.clone()).await.expect_err("it is full");
        assert_eq!((error.kind, error.is_transient()), (LedgerErrorKind::Full, true));
        assert!(error.message.contains("the disk is full") && error.message.contains("make room"), "{error}");
        assert_eq!(states(&folder), BEFORE);
    }
    room("PRAGMA max_page_count = 1000000").await.expect("room");
    let receipt = ledger.commit(large).await.expect("it works");
    assert_eq!(receipt.seqs.len(), 500);
    let counts = ledger.counts(run).await.expect("counts");
    assert_eq!((counts.fates[Fate::Accepted], counts.fates[Fate::Claimed]), (1, 500));
}

#[tokio::test]
async fn a_log_cut_off_in_the_middle_loses_only_what_was_not_promised() {
    let folder = Folder::new();
    let ledger = folder.open();
    let (_, commit) = started(&ledger).await;
    let promised = fs::metadata(folder.0.join("ledger.db-wal")).expect("a log").len();
    ledger.commit(commit).await.expect("it works");
    let whole = fs::metadata(folder.0.join("ledger.db-wal")).expect("a log").len();
    for (length, expected) in [(promised, &BEFORE[..]), (whole - 100, &BEFORE[..]), (whole, &AFTER[..])] {
        let copy = folder.killed_copy();
        let log = fs::OpenOptions::new().write(true).open(copy.0.join("ledger.db-wal")).expect("a log");
        log.set_len(length).expect("cut off");
        assert_eq!(states(&copy), expected, "{length} of {whole}");
    }
}

#[tokio::test]
async fn a_copy_elsewhere_mails_nobody_again() {
    let folder = Folder::new();
    let ledger = folder.open();
    let (run, commit) = started(&ledger).await;
    ledger.commit(commit).await.expect("it works");
    let seed = ledger.seed();
    drop(ledger);
    let copy = Folder::new();
    fs::copy(folder.database(), copy.database()).expect("the whole ledger is in one file after a good end");
    let ledger = copy.open();
    assert_eq!(ledger.seed(), seed, "picks stay the same");
    assert_eq!(begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id, run);
    let mut index = ledger.recipient_index(run).expect("an index");
    assert_eq!(
        ["a@x.org", "b@x.org", "c@x.org"].map(|r| index.look_up(r).expect("a look")),
        [Lookup::Claimed, Lookup::Claimed, Lookup::New]
    );
    assert_ne!(Folder::new().open().seed(), seed, "each ledger has its own seed");
}

#[tokio::test]
async fn two_processes_never_have_one_folder() {
    let folder = Folder::new();
    let ledger = folder.open();
    let error = folder.try_open().expect_err("it is in use");
    assert_eq!(error.kind, LedgerErrorKind::InUse);
    assert!(error.message.contains(&format!("in use by process {}:", std::process::id())), "{error}");
    let clone = ledger.clone();
    drop(ledger);
    assert_eq!(kind(folder.try_open()), Some(LedgerErrorKind::InUse), "a clone keeps it");
    drop(clone);
    folder.open();
}

#[tokio::test]
async fn a_superseded_process_writes_no_more() {
    let folder = Folder::new();
    let ledger = folder.open();
    let (_, commit) = started(&ledger).await;
    folder.ask("UPDATE meta SET value = value + 1 WHERE key = 'epoch'");
    let error = ledger.commit(commit).await.expect_err("it is taken over");
    assert_eq!((error.kind, error.is_transient()), (LedgerErrorKind::Superseded, false));
    assert_eq!(kind(ledger.begin_run(&key(), RunStart::default(), 1).await), Some(LedgerErrorKind::Superseded));
    assert_eq!(states(&folder), BEFORE);
}

#[tokio::test]
async fn a_file_that_is_gone_takes_no_claims() {
    let folder = Folder::new();
    let ledger = folder.open();
    let (_, commit) = started(&ledger).await;
    let away = folder.0.join("away.db");
    fs::rename(folder.database(), &away).expect("moved");
    let error = ledger.commit(Arc::clone(&commit)).await.expect_err("it is gone");
    assert_eq!(error.kind, LedgerErrorKind::Io);
    assert!(error.message.contains("moved, replaced or deleted"), "{error}");
    fs::copy(&away, folder.database()).expect("another file in its place");
    assert_eq!(ledger.commit(Arc::clone(&commit)).await.expect_err("it is another"), error);
    fs::rename(&away, folder.database()).expect("moved back");
    ledger.commit(commit).await.expect("it works");
    assert_eq!(states(&folder), AFTER);
}

#[test]
fn bad_files_have_clear_messages() {
    let good = Folder::new();
    drop(good.open());
    let whole = fs::read(good.database()).expect("a ledger");
    let garbage = {
        let mut bytes = whole.clone();
        bytes[100..4000].fill(0xa5);
        bytes
    };
    let with_sql = |sql: &str| {
        let folder = Folder::new();
        fs::write(folder.database(), &whole).expect("a ledger");
        Connection::open(folder.database()).expect("a client").execute_batch(sql).expect("good SQL");
        fs::read(folder.database()).expect("a ledger")
    };
    use LedgerErrorKind::{Corrupt, NewerVersion};
    let cases = [
        ("not a database", b"Dear diary, this is no database at all. ".repeat(40), Corrupt, "is not a ledger or is damaged"),
        ("a damaged page", garbage, Corrupt, "restore it from a backup"),
        ("another program's", with_sql("PRAGMA application_id = 77"), Corrupt, "a database of another program"),
        ("no version", with_sql("DELETE FROM meta"), Corrupt, "has no `schema`"),
        ("a newer one", with_sql("UPDATE meta SET value = 99 WHERE key = 'schema'"), NewerVersion, "(schema 99, this one knows 8)"),
        ("one with newer fates", with_sql("UPDATE meta SET value = 99 WHERE key = 'fates'"), NewerVersion, "knows more outcomes"),
    ];
    for (what, bytes, kind, words) in cases {
        let folder = Folder::new();
        fs::write(folder.database(), bytes).expect("a file");
        for error in [folder.try_open().map(|_| ()).expect_err(what), LedgerReader::open(folder.location()).map(|_| ()).expect_err(what)] {
            assert_eq!(error.kind, kind, "{what}: {error}");
            assert!(error.message.contains(words) && error.message.contains("ledger.db"), "{what}: {error}");
        }
        // A failed start holds no lock.
        assert_ne!(folder.try_open().map(|_| ()).expect_err(what).kind, LedgerErrorKind::InUse, "{what}");
    }
}

#[test]
fn a_folder_that_cannot_be_one_is_told() {
    let folder = Folder::new();
    let file = folder.0.join("file");
    fs::write(&file, "").expect("a file");
    for path in [file.clone(), file.join("state")] {
        let error = Ledger::open(&path, LedgerOptions::default()).expect_err("no folder");
        assert!(error.message.contains("file"), "{error}");
    }
}

#[tokio::test]
async fn the_ledger_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let state = folder.0.join("deep/state");
    let ledger = Ledger::open(&state, LedgerOptions::default()).expect("the ledger opens");
    begin(&ledger, WhenOutcomeIsUnknown::Skip).await;
    for (name, rights) in [("", 0o700), ("ledger.db", 0o600), ("ledger.db-wal", 0o600), ("ledger.db-shm", 0o600)] {
        let mode = fs::metadata(state.join(name)).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, rights, "{name}");
    }
}

#[tokio::test]
async fn a_log_that_is_deleted_while_it_is_used_is_noticed_and_loses_nobody() {
    for name in ["ledger.db-wal", "ledger.db-shm"] {
        for is_replaced in [false, true] {
            let folder = Folder::new();
            let ledger = folder.open();
            let (run, commit) = started(&ledger).await;
            ledger.commit(commit).await.expect("it works");
            fs::remove_file(folder.0.join(name)).expect("there is one");
            if is_replaced {
                fs::write(folder.0.join(name), "").expect("written");
            }
            let server = ledger.server_id("shop/one").await.expect("known");
            let next = Commit { claims: vec![claim(run, server, "c@x.org")], ..Commit::default() };
            for _ in 0..2 {
                let error = ledger.commit(next.clone()).await.expect_err("it is noticed before anything more is claimed");
                assert_eq!((error.kind, error.is_transient()), (LedgerErrorKind::LogLost, false), "{name}");
                assert!(error.message.contains(name) && error.message.contains("was saved"), "{error}");
            }
            // As after kill -9: of the files, only those in the folder are left.
            assert_eq!(states(&folder.killed_copy()), AFTER, "{name}");
        }
    }
}
#[tokio::test]
async fn a_folder_that_cannot_be_written_can_be_read() {
    let folder = Folder::new();
    drop(filled(&folder, 3).await);
    // A folder in which the log cannot be created, even by root: its name is taken by a folder.
    fs::create_dir(folder.0.join("ledger.db-shm")).expect("in the way");
    fs::create_dir(folder.0.join("ledger.db-wal")).expect("in the way");
    let connection = schema::open_immutable(&folder.database()).expect("it opens");
    let accepted: i64 = connection.value("SELECT accepted FROM campaigns", ()).expect("a row");
    assert_eq!(accepted, 2);
}

#[test]
fn a_folder_without_a_ledger_is_an_error() {
    let folder = Folder::new();
    let missing = LedgerReader::open(folder.location()).expect_err("nothing is there");
    assert_eq!(missing.kind, LedgerErrorKind::Missing);
    assert!(missing.message.contains("--state"), "{missing}");
    assert_eq!(fs::read_dir(&folder.0).expect("a folder").count(), 0, "looking makes nothing");
    fs::write(folder.database(), "").expect("an empty file");
    assert_eq!(LedgerReader::open(folder.location()).expect_err("it is empty").kind, LedgerErrorKind::Missing);
}

#[tokio::test]
async fn the_documentation_holds() {
    let documentation = include_str!("../../../docs/ledger.md");
    let folder = Folder::new();
    let ledger = filled(&folder, 4).await;
    let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
    ledger.commit(outcomes(vec![outcome(run, 1, Disposition::Rejected)])).await.expect("an outcome");
    ledger.close_run(run, 0, 1).await.expect("closed");
    for name in folder.ask("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')") {
        assert!(documentation.contains(&format!("`{name}`")), "{name} is not documented");
    }
    for column in
        folder.ask("SELECT p.name FROM pragma_table_info('recipients') p UNION SELECT p.name FROM pragma_table_info('campaigns') p")
    {
        assert!(documentation.contains(&format!("`{column}`")), "{column} is not documented");
    }
    for state in Fate::ALL {
        assert!(documentation.contains(&format!("| `{state}` | {} |", state.number())), "{state}");
    }
    drop(ledger);
    let blocks: Vec<_> = documentation.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 2);
    let connection = rusqlite::Connection::open(folder.database()).expect("the database opens");
    for block in blocks {
        connection.execute_batch(block).expect(block);
    }
    // What the page promises about runs whose messages were deleted.
    assert_eq!(folder.ask("SELECT count(*) FROM messages"), ["0"]);
    assert_eq!(begin(&folder.open(), WhenOutcomeIsUnknown::Skip).await.closed_at_ms, Some(1));
}
