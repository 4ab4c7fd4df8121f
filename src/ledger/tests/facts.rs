//! The facts for decisions: the ledger that sends and a reader beside it give the same answers.

use super::*;

fn spec(name: &str, spec_hash: u64) -> SpecHash {
    SpecHash { kind: "Campaign".to_owned(), key: crate::resources::Key::new("shop", name), spec_hash }
}

async fn generations(facts: &impl Facts, specs: &[SpecHash], now_ms: i64) -> Vec<(i64, i64)> {
    let generations = facts.generations(specs.to_vec(), now_ms).await.expect("an answer");
    generations.into_iter().map(|generation| (generation.number, generation.created_at_ms)).collect()
}

/// The facts about the run of `key()`, and about one that never began.
async fn runs(facts: &impl Facts) -> (Option<RunRecord>, RunCounts) {
    let found = facts.runs(vec![RunKey::new("shop", "other", "first"), key()]).await.expect("an answer");
    let [None, run] = &found[..] else { panic!("two answers, in order: {found:?}") };
    let counts = match run {
        Some(run) => facts.counts(run.id).await.expect("an answer"),
        None => RunCounts::default(),
    };
    (run.clone(), counts)
}

#[tokio::test]
async fn a_reader_predicts_the_generations_that_the_ledger_then_records() {
    let folder = Folder::new();
    let absent = RecordedFacts::open(folder.location()).expect("no ledger is no error");
    let before = [spec("a", 1), spec("b", u64::MAX)];
    assert_eq!(generations(&absent, &before, 10).await, [(1, 10), (1, 10)]);
    assert_eq!(fs::read_dir(&folder.0).expect("a folder").count(), 0, "asking makes nothing");

    let ledger = folder.open();
    assert_eq!(generations(&ledger, &before, 10).await, [(1, 10), (1, 10)]);
    let reader = RecordedFacts::open(folder.location()).expect("it opens beside the ledger that sends");
    let after = [spec("c", 5), spec("b", u64::MAX), spec("a", 2)];
    for round in 0..2 {
        assert_eq!(generations(&reader, &after, 20).await, [(1, 20), (1, 10), (2, 10)], "round {round}: nothing was recorded");
    }
    assert_eq!(folder.ask("SELECT name, generation FROM objects ORDER BY 1"), ["a 1", "b 1"]);
    let predicted = generations(&reader, &after, 20).await;
    assert_eq!(generations(&ledger, &after, 20).await, predicted);
    assert_eq!(generations(&reader, &after, 30).await, predicted, "what is recorded stays");
}

#[tokio::test]
async fn a_reader_knows_runs_and_counts_and_leaves_the_ledger_to_its_holder() {
    let folder = Folder::new();
    assert_eq!(runs(&RecordedFacts::open(folder.location()).expect("no ledger is no error")).await, (None, RunCounts::default()));
    let ledger = folder.open();
    let reader = RecordedFacts::open(folder.location()).expect("it opens");
    assert_eq!(runs(&reader).await, runs(&ledger).await);
    let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
    let seqs = claim_all(&ledger, run, &["a@x.org", "b@x.org", "c@x.org"]).await;
    ledger.commit(outcomes(vec![outcome(run, seqs[0], Disposition::Accepted)])).await.expect("an outcome");
    let (found, counts) = runs(&ledger).await;
    assert_eq!(counts.fates[Fate::Accepted] + counts.fates[Fate::Claimed], 3);
    assert_eq!(runs(&reader).await, (found, counts));
    // The reader has neither raised the epoch nor left a transaction open.
    assert_eq!(folder.ask("SELECT value FROM meta WHERE key = 'epoch'"), ["1"]);
    ledger.commit(outcomes(vec![outcome(run, seqs[1], Disposition::Rejected)])).await.expect("the holder still writes");
    ledger.audience_read(run, AudienceRead { total: 3, ..AudienceRead::default() }, Vec::new(), 9).await.expect("noted");
    assert_eq!(runs(&reader).await, runs(&ledger).await);
}
