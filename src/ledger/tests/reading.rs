//! Reading beside a writer, without one, and on copies.

use std::ops::ControlFlow;

use super::*;

async fn filled(folder: &Folder, messages: usize) -> Ledger {
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
    let names: Vec<_> = (0..messages).map(|n| format!("p{n}@x.org")).collect();
    let seqs = claim_all(&ledger, run, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let ends = |seqs: &[u64]| {
        seqs.iter().map(|seq| OutcomeRecord { reply: Some("250 Ok".to_owned()), ..outcome(run, *seq, Disposition::Accepted) }).collect()
    };
    ledger.commit(outcomes(ends(&seqs[1..]))).await.expect("outcomes");
    ledger
}

fn read(reader: &LedgerReader, states: &[Fate]) -> Vec<RecipientRow> {
    let mut rows = Vec::new();
    let run = reader.run(&key()).expect("a read").expect("a run");
    reader
        .recipients(run.record.id, states, |row| {
            rows.push(row);
            ControlFlow::Continue(())
        })
        .expect("a read");
    rows
}

#[tokio::test]
async fn a_reader_works_beside_a_writer_and_sees_what_comes() {
    let folder = Folder::new();
    let ledger = filled(&folder, 9_000).await;
    let reader = LedgerReader::open(&folder.0).expect("it opens");
    let runs = reader.runs().expect("a read");
    assert_eq!(runs.iter().map(|run| (run.record.key.clone(), run.counts.fates[Fate::Accepted])).collect::<Vec<_>>(), [(key(), 8_999)]);
    let rows = read(&reader, &[]);
    assert!(rows.iter().map(|row| row.seq).eq(1..=9_000), "all of them, in order, over several stretches");
    assert_eq!(
        read(&reader, &[Fate::Claimed, Fate::Unknown]),
        [RecipientRow {
            seq: 1,
            recipient: "p0@x.org".to_owned(),
            fate: Fate::Claimed,
            attempt: 1,
            server: Some("shop/one".to_owned()),
            updated_at_ms: 60_000,
            next_attempt_at_ms: None,
            resent: 0,
            reply: None,
        }]
    );
    let run = runs[0].record.id;
    ledger.record_bad_rows(run, vec![BadRow { line: 3, what: "no address".to_owned() }]).await.expect("kept");
    ledger.commit(outcomes(vec![outcome(run, 1, Disposition::Rejected)])).await.expect("an outcome");
    assert_eq!(reader.bad_rows(run).expect("a read"), [BadRow { line: 3, what: "no address".to_owned() }]);
    assert_eq!(read(&reader, &[Fate::Rejected]).len(), 1);
    let mut handed = 0;
    let enough = |_| {
        handed += 1;
        if handed == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    reader.recipients(run, &[], enough).expect("a read");
    assert_eq!(handed, 5);
}

#[tokio::test]
async fn a_reader_works_without_a_writer_and_on_copies() {
    let folder = Folder::new();
    let ledger = filled(&folder, 10).await;
    let killed = folder.killed_copy();
    drop(ledger);
    assert!(!folder.0.join("ledger.db-wal").exists(), "a good end leaves one file");
    for (what, place) in [("after a good end", &folder), ("after a kill", &killed)] {
        let reader = LedgerReader::open(&place.0).expect(what);
        assert_eq!(read(&reader, &[]).len(), 10, "{what}");
        // Reading does not stop the next process from sending.
        let ledger = place.open();
        assert_eq!(begin(&ledger, WhenOutcomeIsUnknown::Skip).await.left_without_outcome, 1, "{what}");
        assert_eq!(read(&reader, &[Fate::Unknown]).len(), 1, "{what}");
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
    let accepted: i64 = connection.query_row("SELECT accepted FROM campaigns", [], |row| row.get(0)).expect("a row");
    assert_eq!(accepted, 2);
}

#[test]
fn a_folder_without_a_ledger_is_an_error() {
    let folder = Folder::new();
    let missing = LedgerReader::open(&folder.0).expect_err("nothing is there");
    assert_eq!(missing.kind, LedgerErrorKind::Missing);
    assert!(missing.message.contains("--state"), "{missing}");
    assert_eq!(fs::read_dir(&folder.0).expect("a folder").count(), 0, "looking makes nothing");
    fs::write(folder.database(), "").expect("an empty file");
    assert_eq!(LedgerReader::open(&folder.0).expect_err("it is empty").kind, LedgerErrorKind::Missing);
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
