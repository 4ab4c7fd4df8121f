//! Reading beside a writer, without one, and on copies.

use std::ops::ControlFlow;

use super::*;

pub(super) async fn filled(folder: &Folder, messages: usize) -> Ledger {
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
    let reader = LedgerReader::open(folder.location()).expect("it opens");
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
        let reader = LedgerReader::open(place.location()).expect(what);
        assert_eq!(read(&reader, &[]).len(), 10, "{what}");
        // Reading does not stop the next process from sending.
        let ledger = place.open();
        assert_eq!(begin(&ledger, WhenOutcomeIsUnknown::Skip).await.left_without_outcome, 1, "{what}");
        assert_eq!(read(&reader, &[Fate::Unknown]).len(), 1, "{what}");
    }
}
