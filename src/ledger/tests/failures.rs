//! Failures: kills, and calls that contradict the ledger. Nothing is half applied, and every message says what to do.

use super::*;

/// Both a claim and an outcome, so that half of it would show.
pub(super) async fn started(ledger: &Ledger) -> (RunId, Arc<Commit>) {
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

pub(super) const BEFORE: [&str; 1] = ["a@x.org Claimed"];
pub(super) const AFTER: [&str; 2] = ["a@x.org Accepted", "b@x.org Claimed"];

pub(super) fn states(folder: &Folder) -> Vec<String> {
    folder.ask("SELECT recipient, state FROM recipients ORDER BY recipient")
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
