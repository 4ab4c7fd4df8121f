//! Failures: kills, locks, full disks, damaged files. Nothing is half applied, and every message says what to do.

use rusqlite::Connection;

use super::*;

/// Both a claim and an outcome, so that half of it would show.
async fn started(ledger: &Ledger) -> (RunId, Arc<Commit>) {
    let run = begin(ledger, WhenOutcomeIsUnknown::Skip).await.id;
    let seqs = claim_all(ledger, run, &["a@x.org"]).await;
    let server = ledger.server_id("shop/one").await.expect("a server");
    let commit = Commit {
        outcomes: vec![outcome(run, seqs[0], Disposition::Accepted)],
        claims: vec![claim(run, server, "b@x.org")],
        now_ms: 120_000,
        ..Commit::default()
    };
    (run, Arc::new(commit))
}

const BEFORE: [&str; 1] = ["a@x.org Claimed"];
const AFTER: [&str; 2] = ["a@x.org Accepted", "b@x.org Claimed"];

fn states(folder: &Folder) -> Vec<String> {
    folder.ask("SELECT recipient, state FROM recipients")
}

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
    let room = |pages: &'static str| ledger.call(move |writer| writer.book.read(|c| Ok(c.execute_batch(pages)?)));
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
async fn after_a_kill_everything_that_was_promised_is_there() {
    let folder = Folder::new();
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
    let server = ledger.server_id("shop/one").await.expect("a server");
    let mut last = Vec::new();
    for round in 0..40_usize {
        let commit = Commit {
            outcomes: last.iter().map(|seq| outcome(run, *seq, Disposition::Accepted)).collect(),
            claims: (0..8).map(|n| claim(run, server, &format!("r{round}n{n}@x.org"))).collect(),
            now_ms: 1,
            ..Commit::default()
        };
        last = numbers(ledger.commit(commit).await.expect("a commit"));
        if round % 8 != 7 {
            continue;
        }
        let copy = folder.killed_copy();
        let other = copy.open();
        assert_eq!(begin(&other, WhenOutcomeIsUnknown::Skip).await.left_without_outcome, 8, "round {round}");
        let counts = other.counts(run).await.expect("counts");
        assert_eq!(
            (counts.fates[Fate::Accepted], counts.fates[Fate::Unknown], counts.fates.open()),
            (round as u64 * 8, 8, 0),
            "round {round}"
        );
        let mut index = other.recipient_index(run).expect("an index");
        for earlier in 0..=round + 1 {
            let expected = if earlier <= round { Lookup::Claimed } else { Lookup::New };
            assert_eq!(index.look_up(&format!("r{earlier}n3@x.org")), Ok(expected), "round {round}, {earlier}");
        }
    }
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

#[tokio::test]
async fn what_contradicts_the_ledger_is_refused_whole() {
    let folder = Folder::new();
    let ledger = folder.open();
    let (run, good) = started(&ledger).await;
    let server = ledger.server_id("shop/one").await.expect("a server");
    ledger.commit(Arc::clone(&good)).await.expect("it works");
    let with_outcome =
        |outcome| Commit { outcomes: vec![outcome], claims: vec![claim(run, server, "c@x.org")], now_ms: 1, ..Commit::default() };
    let with_claim =
        |wrong| Commit { outcomes: vec![], claims: vec![claim(run, server, "c@x.org"), wrong], now_ms: 1, ..Commit::default() };
    let unknown_run = RunId(99);
    let never = OutcomeRecord { seq: None, ..outcome(run, 0, Disposition::Accepted) };
    let cases = [
        ("a second end", with_outcome(outcome(run, 1, Disposition::Unknown))),
        ("a message that was never claimed", with_outcome(outcome(run, 77, Disposition::Accepted))),
        ("an outcome without a claim", with_outcome(never)),
        ("a claim of one that has its end", with_claim(again(run, server, 1, 2))),
        ("another attempt of nobody", with_claim(again(run, server, 77, 2))),
        ("a run that did not begin", with_claim(claim(unknown_run, server, "d@x.org"))),
        ("an outcome of a run that was not begun", with_outcome(outcome(unknown_run, 1, Disposition::Accepted))),
    ];
    for (what, commit) in cases {
        let error = ledger.commit(commit).await.expect_err(what);
        assert_eq!((error.kind, error.is_transient()), (LedgerErrorKind::Conflict, false), "{what}: {error}");
        assert_eq!(states(&folder), AFTER, "{what}");
    }
    assert_eq!(ledger.counts(run).await.expect("counts").fates[Fate::Claimed], 1);
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
        for error in [folder.try_open().map(|_| ()).expect_err(what), LedgerReader::open(&folder.0).map(|_| ()).expect_err(what)] {
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
