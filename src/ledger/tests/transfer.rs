//! A ledger that moves, and one that is compared with itself.

use super::{reading::filled, *};
use crate::feedback::{Person, SuppressionReason};

/// A ledger with something in most tables, of which 20 messages wait for another attempt and one has no outcome.
async fn used(folder: &Folder) -> u64 {
    let ledger = filled(folder, 3_000).await;
    let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
    let more: Vec<String> = (0..20).map(|n| format!("später{n}@x.org")).collect();
    let seqs = claim_all(&ledger, run, &more.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let later = Disposition::Deferred { at_ms: 200_000, fields: "{\"name\":\"Zoë\"}".to_owned() };
    ledger.commit(outcomes(seqs.iter().map(|seq| outcome(run, *seq, later.clone())).collect())).await.expect("outcomes");
    let gone = Suppression {
        namespace: "shop".into(),
        person: Person::Address("gone@x.org".to_owned()),
        topic: None,
        reason: SuppressionReason::Listed,
        at_ms: 5,
        source: "test".into(),
        detail: String::new(),
    };
    ledger.suppress(vec![gone]).await.expect("suppressed");
    ledger.record_bad_rows(run, vec![BadRow { line: 3, what: "no address".to_owned() }]).await.expect("kept");
    ledger.seed()
}

fn moved(from: &LedgerPlace, to: &LedgerPlace) -> Result<Moved, LedgerError> {
    let (from, to) = (from.clone(), to.clone());
    std::thread::spawn(move || move_ledger(&from, &to, |_, _| {})).join().expect("no panic")
}

/// What a person is told of a place.
fn name(folder: &Folder) -> String {
    folder.1.as_ref().map_or_else(|| folder.0.display().to_string(), ToString::to_string)
}

fn wrong(place: &LedgerPlace) -> Vec<(&'static str, u64, Option<String>)> {
    let place = place.clone();
    let check = move || {
        let mut wrong = Vec::new();
        check_ledger(&place, |checked| {
            if checked.wrong > 0 {
                wrong.push((checked.what, checked.wrong, checked.example));
            }
        })
        .expect("it can be read");
        wrong
    };
    std::thread::spawn(check).join().expect("no panic")
}

#[tokio::test]
async fn a_moved_ledger_knows_everybody_and_the_old_one_sends_nothing() {
    let (old, new) = (Folder::new(), Folder::new());
    let seed = used(&old).await;
    let rows = |place: &LedgerPlace| {
        let tables = sizes(place).expect("sizes").tables;
        tables.into_iter().map(|size| (size.table, size.rows)).collect::<BTreeMap<_, _>>()
    };
    let before = rows(&old.location());
    assert_eq!((before["messages"], before["suppressions"], before["bad_rows"]), (3_020, 1, 1));
    let moved = moved(&old.location(), &new.location()).expect("it moves");
    assert_eq!(moved.rows(), before.values().sum::<u64>());
    assert_eq!(rows(&new.location()), before);
    assert_eq!(wrong(&new.location()), []);
    // The old one says where it is, to whoever sends and to whoever reads.
    let location = old.location();
    let refused = [old.try_open().map(drop).expect_err("moved"), LedgerReader::open(location).map(drop).expect_err("moved")];
    for error in refused {
        assert_eq!(error.kind, LedgerErrorKind::Moved);
        assert!(error.message.contains(&name(&new)), "{error}");
    }
    // The new one goes on where the old one was.
    let ledger = new.open();
    assert_eq!(ledger.seed(), seed);
    let record = begin(&ledger, WhenOutcomeIsUnknown::Skip).await;
    assert_eq!(record.left_without_outcome, 1);
    let due = ledger.due(record.id, 1_000_000, 100).await.expect("due");
    assert_eq!((due.len(), due[0].fields.as_deref()), (20, Some("{\"name\":\"Zoë\"}")));
    let mut index = ledger.recipient_index(record.id).expect("an index");
    let lookup = |index: &mut RecipientIndex, address: &str| index.look_up(address).expect("looked up");
    assert_ne!(lookup(&mut index, "P2999@x.org"), Lookup::New);
    assert_eq!(lookup(&mut index, "other@x.org"), Lookup::New);
    // What is added gets numbers of its own.
    let server = ledger.server_id("shop/two").await.expect("another server");
    assert_eq!(server, ServerId(2));
    let other = RunKey::new("shop", "news", "second");
    assert_ne!(ledger.begin_run(&other, RunStart::default(), 1_000).await.expect("another run").id, record.id);
    let seqs = claim_all(&ledger, record.id, &["other@x.org"]).await;
    assert_eq!(seqs, [3_021]);
}

#[tokio::test]
async fn a_move_never_makes_one_ledger_of_two() {
    let (old, new) = (Folder::new(), Folder::new());
    used(&old).await;
    drop(filled(&new, 3).await);
    let error = moved(&old.location(), &new.location()).expect_err("both know somebody");
    assert_eq!(error.kind, LedgerErrorKind::Conflict);
    drop(old.open());
    assert_eq!(kind(moved(&old.location(), &old.location())), Some(LedgerErrorKind::Conflict));
    let nowhere = Folder::new();
    assert_eq!(kind(moved(&nowhere.location(), &old.location())), Some(LedgerErrorKind::Missing));
    // While somebody sends, nothing moves.
    let ledger = old.open();
    let empty = Folder::new();
    assert_eq!(kind(moved(&old.location(), &empty.location())), Some(LedgerErrorKind::InUse));
    drop(ledger);
}

#[tokio::test]
async fn a_move_that_was_interrupted_is_repeated() {
    let (old, new, other) = (Folder::new(), Folder::new(), Folder::new());
    used(&old).await;
    // As a kill leaves them between the marks and the rows.
    drop(new.open());
    new.call_sql(&format!("INSERT INTO meta (key, value) VALUES ('arriving_from', '{}')", name(&old)));
    assert_eq!(kind(new.try_open()), Some(LedgerErrorKind::Moved), "it knows nobody");
    drop(old.open());
    old.call_sql(&format!("INSERT INTO meta (key, value) VALUES ('moved_to', '{}')", name(&new)));
    for place in [&old, &new] {
        let refused = place.try_open().map(drop).expect_err("nothing is sent from either");
        assert!(refused.kind == LedgerErrorKind::Moved && refused.message.contains("repeat"), "{refused}");
        assert_eq!(kind(LedgerReader::open(place.location())), Some(LedgerErrorKind::Moved));
    }
    assert_eq!(kind(moved(&old.location(), &other.location())), Some(LedgerErrorKind::Conflict), "it may have arrived there");
    assert!(!moved(&old.location(), &new.location()).expect("it is completed").is_repeated);
    assert!(moved(&old.location(), &new.location()).expect("it was completed").is_repeated);
    // As a kill leaves it between the rows and the note that they have arrived.
    old.call_sql("DELETE FROM meta WHERE key = 'moved_at'");
    assert!(moved(&old.location(), &new.location()).expect("it was completed").is_repeated);
    let _ = begin(&new.open(), WhenOutcomeIsUnknown::Skip).await;
    // What was sent from the new one since is not to be sent again from a copy of the old one.
    new.call_sql("DELETE FROM runs");
    new.call_sql("DELETE FROM suppressions");
    let gone = moved(&old.location(), &new.location()).expect_err("the new one was lost");
    assert!(gone.message.contains("knows nobody now"), "{gone}");
}

#[tokio::test]
async fn a_place_that_was_tried_often_before_takes_a_ledger() {
    let (old, new) = (Folder::new(), Folder::new());
    used(&old).await;
    for _ in 0..4 {
        drop(new.open());
    }
    moved(&old.location(), &new.location()).expect("it moves");
    drop(new.open());
    drop(new.open());
    let ledger = new.open();
    let _ = begin(&ledger, WhenOutcomeIsUnknown::Skip).await;
}

#[tokio::test]
async fn people_who_are_suppressed_before_a_retry_agree() {
    let folder = Folder::new();
    used(&folder).await;
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
    let late = |number: usize| Suppression {
        namespace: "shop".into(),
        person: Person::Address(format!("später{number}@x.org")),
        topic: None,
        reason: SuppressionReason::Unsubscribed,
        at_ms: 5,
        source: "test".into(),
        detail: String::new(),
    };
    ledger.suppress((0..5).map(late).collect()).await.expect("suppressed");
    let server = ledger.server_id("shop/two").await.expect("a server");
    let due = ledger.due(run, 1_000_000, 10).await.expect("due");
    let again_all = due.iter().map(|message| Claim { recipient: message.recipient.as_str().into(), ..again(run, server, message.seq, 2) });
    let receipt = ledger.commit(claims(again_all.collect())).await.expect("claimed or suppressed");
    assert_eq!(receipt.seqs.iter().filter(|seq| seq.is_none()).count(), 5);
    drop(ledger);
    assert_eq!(wrong(&folder.location()), []);
}

#[tokio::test]
async fn what_does_not_agree_is_found() {
    let breaks = [
        ("UPDATE counts SET count = count + 1 WHERE state = 1", "counts of runs, and their messages"),
        ("UPDATE messages SET server_id = 77 WHERE seq = 5", "messages, and the servers that took them"),
        ("UPDATE messages SET state = 77 WHERE seq = 5", "states of messages"),
        ("UPDATE runs SET closed_at_ms = 7", "runs that are completed"),
        ("UPDATE messages SET recipient = 'P7@X.org' WHERE seq = 5", "people, each of whom is mailed once by a run"),
        ("UPDATE messages SET run_id = 77 WHERE seq = 5", "messages, and the runs that they are of"),
        (
            "INSERT INTO events (run_id, partition, seq, kind, person, at_ms, source, detail) VALUES (1, 0, 99, 1, '', 1, '', '')",
            "events, and the messages that they are about",
        ),
    ];
    for (sql, what) in breaks {
        let folder = Folder::new();
        drop(filled(&folder, 10).await);
        assert_eq!(wrong(&folder.location()), []);
        folder.call_sql(sql);
        let found = wrong(&folder.location());
        assert!(found.iter().any(|(found, wrong, example)| *found == what && *wrong == 1 && example.is_some()), "{what}: {found:?}");
    }
}

#[tokio::test]
async fn the_messages_of_a_completed_run_may_be_deleted() {
    let folder = Folder::new();
    drop(filled(&folder, 10).await);
    let run = folder.ask("SELECT id FROM runs");
    folder.call_sql("DELETE FROM messages");
    assert_eq!(wrong(&folder.location()).len(), 1, "it is not completed");
    folder.call_sql(&format!("UPDATE runs SET closed_at_ms = 7 WHERE id = {}", run[0]));
    assert_eq!(wrong(&folder.location()), []);
}

#[tokio::test]
#[ignore = "needs a database in MAILFLEET_TEST_POSTGRES"]
async fn a_state_folder_moves_into_a_database_and_back() {
    let (folder, there, back) = (Folder::new(), Folder::new(), Folder::new());
    let file = Folder(folder.0.clone(), None);
    used(&file).await;
    // A database is not begun with while people are known beside it.
    let beside = LedgerPlace::in_database(there.1.clone().expect("a database"), &folder.0);
    let refused = std::thread::spawn({
        let beside = beside.clone();
        move || Ledger::open(beside, LedgerOptions::default()).map(drop).expect_err("left behind")
    });
    let refused = refused.join().expect("no panic");
    assert!(refused.message.contains("mailfleet ledger move"), "{refused}");
    let rows = moved(&file.location(), &beside).expect("it moves").rows();
    assert_eq!(wrong(&beside), []);
    drop(there.open());
    let returned = Folder(back.0.clone(), None);
    assert_eq!(moved(&beside, &returned.location()).expect("and back").rows(), rows);
    assert_eq!(wrong(&returned.location()), []);
    assert_eq!(kind(there.try_open()), Some(LedgerErrorKind::Moved));
    let record = begin(&returned.open(), WhenOutcomeIsUnknown::Skip).await;
    assert_eq!(record.left_without_outcome, 1);
    std::mem::forget((file, returned));
}
