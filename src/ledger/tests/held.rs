//! Held messages stay held across a kill, and a person has the last word.

use super::*;
use crate::resources::{Bar, Reason};

fn held(refusals: &str) -> Disposition {
    Disposition::Held { fields: "{\"name\":\"Ann\"}".to_owned(), refusals: refusals.to_owned() }
}

fn bar() -> Bar {
    Bar { reason: Reason::RefusedAlike, message: "no".to_owned(), work_hash: 7 }
}

#[tokio::test]
async fn what_is_held_is_not_final_and_outlives_a_kill() {
    let folder = Folder::new();
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
    let server = ledger.server_id("shop/one").await.expect("a server");
    let seqs = claim_all(&ledger, run, &["a@x.org", "b@x.org", "c@x.org"]).await;
    let mut commit = outcomes(seqs[..2].iter().map(|seq| outcome(run, *seq, held("[1]"))).collect());
    commit.bars.push(NewBar { run_id: run, server, bar: bar() });
    commit.outcomes.push(outcome(run, seqs[2], Disposition::Accepted));
    ledger.commit(commit).await.expect("held");
    assert_eq!(kind(ledger.close_run(run, 0, 5).await), Some(LedgerErrorKind::Conflict), "two have no final outcome");
    let killed = folder.killed_copy();
    let again = killed.open();
    begin(&again, WhenOutcomeIsUnknown::Skip).await;
    assert_eq!(again.bars(run).await, Ok(BTreeMap::from([("shop/one".into(), bar())])));
    let found = again.held(run, 10).await.expect("held");
    assert_eq!(
        found.iter().map(|h| (h.seq, h.recipient.as_str(), h.refusals.as_str())).collect::<Vec<_>>(),
        [(seqs[0], "a@x.org", "[1]"), (seqs[1], "b@x.org", "[1]")]
    );
    assert_eq!(again.due(run, 1_000_000, 9).await.expect("due"), [], "nobody is retried automatically");
    assert_eq!(again.recipient_index(run).expect("an index").look_up("a@x.org"), Ok(Lookup::Claimed));
    // Its attempt did not count unless it was the last one, and a message that goes to another server keeps its refusals.
    again
        .commit(outcomes(vec![outcome(run, seqs[0], Disposition::Released), outcome(run, seqs[1], Disposition::Rejected)]))
        .await
        .expect("ends");
    let due = again.due(run, 1_000_000, 9).await.expect("due");
    assert_eq!((due.len(), due[0].attempt, due[0].refusals.as_deref(), due[0].fields.is_some()), (1, 0, Some("[1]"), true));
    for impossible in [Disposition::Released, Disposition::Withdrawn, Disposition::Accepted] {
        let result = again.commit(outcomes(vec![outcome(run, seqs[1], impossible.clone())])).await;
        assert_eq!(kind(result), Some(LedgerErrorKind::Conflict), "{impossible:?} of one that is rejected");
    }
    assert_eq!(
        killed.ask("SELECT recipient, state, attempt FROM recipients ORDER BY recipient"),
        ["a@x.org Deferred 0", "b@x.org Rejected 1", "c@x.org Accepted 1"]
    );
}

#[tokio::test]
async fn a_person_retries_or_rejects_what_is_held_once() {
    for (fate, expected) in [(Some(ResumeHeld::Retry), "Deferred 0"), (Some(ResumeHeld::Reject), "Rejected 1")] {
        let folder = Folder::new();
        let ledger = folder.open();
        let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
        let server = ledger.server_id("shop/one").await.expect("a server");
        let seqs = claim_all(&ledger, run, &["a@x.org"]).await;
        let mut commit = outcomes(vec![outcome(run, seqs[0], held("[1]"))]);
        commit.bars.push(NewBar { run_id: run, server, bar: bar() });
        ledger.commit(commit).await.expect("held");
        let resumption = Resumption { token: Some("t1".to_owned()), held: fate, resends_unknown: false };
        let changes = ledger.resume(run, resumption, 9).await.expect("resumed");
        assert_eq!(changes.counts.iter().map(|change| change.by).sum::<i64>(), 0);
        assert_eq!(folder.ask("SELECT state, attempt FROM recipients"), [expected]);
        assert_eq!(ledger.bars(run).await, Ok(BTreeMap::new()));
        let record = begin(&ledger, WhenOutcomeIsUnknown::Skip).await;
        assert_eq!((record.resume_handled.newest(), record.is_reopened), (Some("t1"), false));
        let again = Resumption { token: Some("t2".to_owned()), held: fate, resends_unknown: false };
        ledger.resume(run, again, 9).await.expect("resumed again");
        let handled = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.resume_handled;
        assert_eq!((handled.newest(), handled.has("t1")), (Some("t2"), true), "those of before are remembered");
        let due = ledger.due(run, 10, 9).await.expect("due");
        assert_eq!(due.iter().map(|m| m.refusals.clone()).collect::<Vec<_>>(), vec![None; due.len()], "every server may be tried");
    }
}

#[tokio::test]
async fn unknown_recipients_are_mailed_again_on_purpose_and_nobody_else() {
    let folder = Folder::new();
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
    let server = ledger.server_id("shop/one").await.expect("a server");
    let seqs = claim_all(&ledger, run, &["a@x.org", "b@x.org", "gone@x.org"]).await;
    let ends = [Disposition::Unknown, Disposition::Accepted, Disposition::Unknown];
    ledger.commit(outcomes(seqs.iter().zip(ends).map(|(seq, end)| outcome(run, *seq, end)).collect())).await.expect("ends");
    ledger.close_run(run, 0, 5).await.expect("closed");
    let resumption = Resumption { token: Some("t1".to_owned()), held: Some(ResumeHeld::Retry), resends_unknown: true };
    ledger.resume(run, resumption, 9).await.expect("resumed");
    // Even across a kill, whatever the policy: it was requested on purpose.
    let killed = folder.killed_copy();
    let ledger = killed.open();
    let record = begin(&ledger, WhenOutcomeIsUnknown::Skip).await;
    assert_eq!((record.closed_at_ms, record.is_reopened), (None, true));
    assert_eq!(ledger.due(run, 1_000_000, 9).await.expect("due"), [], "their fields come from the audience");
    assert_eq!(ledger.next_due(run).await, Ok(None));
    let mut index = ledger.recipient_index(run).expect("an index");
    assert_eq!(index.look_up("a@x.org"), Ok(Lookup::Resend { seq: seqs[0], attempt: 0 }));
    assert_eq!(index.look_up("b@x.org"), Ok(Lookup::Claimed));
    ledger.commit(claims(vec![again(run, server, seqs[0], 1)])).await.expect("claimed");
    ledger.commit(outcomes(vec![outcome(run, seqs[0], Disposition::Accepted)])).await.expect("accepted");
    ledger.audience_read(run, AudienceRead::default(), index.unmatched(), 10).await.expect("read");
    ledger.close_run(run, 0, 11).await.expect("closed");
    assert_eq!(
        killed.ask("SELECT recipient, state, resent FROM recipients ORDER BY recipient"),
        ["a@x.org Accepted 1", "b@x.org Accepted 0", "gone@x.org Unknown 1"]
    );
    let counts = ledger.counts(run).await.expect("counts");
    assert_eq!((counts.fates[Fate::Accepted], counts.fates[Fate::Unknown], counts.resent), (2, 1, 2));
}

#[tokio::test]
async fn a_run_begins_with_its_request_as_carried_out() {
    let folder = Folder::new();
    let ledger = folder.open();
    let record = ledger.begin_run(&key(), RunStart { resume: Some("old".to_owned()), ..RunStart::default() }, 1).await.expect("begun");
    assert_eq!(record.resume_handled.newest(), Some("old"), "a restored object resumes nothing");
    let record =
        ledger.begin_run(&key(), RunStart { resume: Some("new".to_owned()), ..RunStart::default() }, 2).await.expect("begun before");
    assert_eq!(record.resume_handled.newest(), Some("old"), "a new one is still to be carried out");
}

#[tokio::test]
async fn recipients_removed_from_the_audience_are_withdrawn() {
    let folder = Folder::new();
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
    let seqs = claim_all(&ledger, run, &["a@x.org", "b@x.org"]).await;
    let deferred = || Disposition::Deferred { at_ms: 1, fields: "{}".to_owned() };
    ledger.commit(outcomes(seqs.iter().map(|seq| outcome(run, *seq, deferred())).collect())).await.expect("deferred");
    let mut index = ledger.recipient_index(run).expect("an index");
    assert_eq!((index.was_read("a@x.org"), index.was_read("new@x.org")), (Ok(Some(false)), Ok(None)));
    assert_eq!(index.look_up("a@x.org"), Ok(Lookup::Claimed));
    assert_eq!((index.was_read("a@x.org"), index.was_read("b@x.org")), (Ok(Some(true)), Ok(Some(false))));
    ledger.commit(outcomes(vec![outcome(run, seqs[1], Disposition::Withdrawn)])).await.expect("withdrawn");
    assert_eq!(folder.ask("SELECT recipient, state FROM recipients ORDER BY recipient"), ["a@x.org Deferred", "b@x.org Withdrawn"]);
    assert_eq!(folder.ask("SELECT withdrawn, deferred, held FROM campaigns"), ["1 1 0"]);
}
