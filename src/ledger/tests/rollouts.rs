//! How far a rollout has come: what begins it, what judges its steps, and that it never goes back.

use super::*;
use crate::{
    feedback::{EventKind, MessageIdentity, MessageReference},
    resources::{
        Percent,
        rollout::{NextStep, Reached},
    },
};

fn percent(text: &str) -> Percent {
    Percent::parse(text).expect("good")
}

fn start(promote: Option<&str>) -> RunStart {
    RunStart { rollout: Some(percent("1")), promote: promote.map(str::to_owned), ..RunStart::default() }
}

fn next(from: &str, to: &str) -> NextStep {
    NextStep { from: percent(from), to: percent(to), bounced: 0, complained: 0, promote: None }
}

async fn reached(ledger: &Ledger) -> Option<Reached> {
    ledger.find_run(&key()).await.expect("a read").expect("a run").rollout
}

async fn accept(ledger: &Ledger, run: RunId, names: &[&str]) {
    let seqs = claim_all(ledger, run, names).await;
    let ends = seqs.iter().map(|seq| outcome(run, *seq, Disposition::Accepted)).collect();
    ledger.commit(outcomes(ends)).await.expect("outcomes");
}

async fn told(ledger: &Ledger, run: RunId, seq: u32, kind: EventKind) {
    let reference =
        MessageReference { ledger: MessageReference::ledger_of(ledger.seed()), run: run.number().expect("small"), partition: 0, seq };
    let event = Event {
        kind,
        message: MessageIdentity::Reference { reference, server: None },
        recipient: None,
        at_ms: None,
        source: "a test".into(),
        id: None,
        detail: String::new(),
    };
    ledger.record_events(vec![event], 5_000).await.expect("recorded");
}

#[tokio::test]
async fn a_rollout_rises_step_by_step_and_survives_each_restart() {
    let folder = Folder::new();
    let ledger = folder.open();
    let record = ledger.begin_run(&key(), start(Some("old  value")), 1_000).await.expect("begun");
    let begun = Reached { share: percent("1"), began_ms: 1_000, ..Reached::default() };
    let first = record.rollout.clone().expect("a rollout");
    assert_eq!(Reached { promote_handled: begun.promote_handled.clone(), ..first.clone() }, begun);
    assert!(first.promote_handled.has("old value"), "a request from before the run begins nothing");
    accept(&ledger, record.id, &["a@example.com", "b@example.com"]).await;
    told(&ledger, record.id, 1, EventKind::HardBounce).await;
    told(&ledger, record.id, 1, EventKind::Delivered).await;
    told(&ledger, record.id, 2, EventKind::Complaint).await;
    let at = reached(&ledger).await.expect("a rollout");
    assert_eq!((at.bounced, at.complained), (1, 1));

    // Of another step, and one that was judged before something came back: nothing happens.
    for stale in [RolloutChange::Sent(percent("2")), RolloutChange::Next(next("2", "10")), RolloutChange::Next(next("1", "10"))] {
        assert_eq!(ledger.change_rollout(record.id, stale, 6_000).await.expect("asked"), Some(at.clone()));
    }
    let sent = ledger.change_rollout(record.id, RolloutChange::Sent(percent("1")), 6_000).await.expect("sent").expect("a rollout");
    assert_eq!(sent.sent_ms, Some(6_000));
    ledger.change_rollout(record.id, RolloutChange::Sent(percent("1")), 7_000).await.expect("again");
    drop(ledger);
    let ledger = folder.open();
    assert_eq!(reached(&ledger).await, Some(sent.clone()), "when it was sent is kept");
    let again =
        ledger.begin_run(&key(), RunStart { rollout: Some(percent("50")), ..RunStart::default() }, 8_000).await.expect("it goes on");
    assert_eq!(again.rollout, Some(sent), "an edited first step changes nothing by itself");

    let due = NextStep { bounced: 1, complained: 1, promote: Some("now".to_owned()), ..next("1", "10") };
    let second = ledger.change_rollout(again.id, RolloutChange::Next(due.clone()), 9_000).await.expect("begun").expect("a rollout");
    assert_eq!((second.share, second.began_ms, second.sent_ms, second.ended_before), (percent("10"), 9_000, None, 2));
    assert_eq!((second.judged_from.accepted, second.bounced, second.complained), (2, 0, 0), "the step is judged by its own messages");
    assert!(second.promote_handled.has("now") && second.promote_handled.has("old value"));
    assert_eq!(ledger.change_rollout(again.id, RolloutChange::Next(due), 9_500).await.expect("asked"), Some(second.clone()), "once");
    let back = RolloutChange::Next(next("10", "5"));
    assert_eq!(ledger.change_rollout(again.id, back, 9_600).await.expect("asked"), Some(second), "never back");

    // What comes back late of the first step is not the second's; a resumption begins anew.
    told(&ledger, again.id, 2, EventKind::HardBounce).await;
    accept(&ledger, again.id, &["c@example.com"]).await;
    told(&ledger, again.id, 3, EventKind::HardBounce).await;
    assert_eq!(reached(&ledger).await.map(|at| at.bounced), Some(1));
    let resumption = Resumption { token: Some("t".to_owned()), held: Some(ResumeHeld::Retry), resends_unknown: false };
    ledger.resume(again.id, resumption, 10_000).await.expect("resumed");
    let resumed = reached(&ledger).await.expect("a rollout");
    assert_eq!((resumed.bounced, resumed.judged_from.accepted, resumed.ended_before, resumed.share), (0, 3, 2, percent("10")));
}

#[tokio::test]
async fn a_run_that_has_mailed_somebody_gets_no_steps() {
    let folder = Folder::new();
    let ledger = folder.open();
    let run = ledger.begin_run(&key(), RunStart::default(), 1_000).await.expect("begun").id;
    assert_eq!(reached(&ledger).await, None);
    assert!(ledger.begin_run(&key(), start(None), 2_000).await.expect("begun again").rollout.is_some(), "nobody was mailed yet");
    drop((run, ledger));

    let folder = Folder::new();
    let ledger = folder.open();
    let run = ledger.begin_run(&key(), RunStart::default(), 1_000).await.expect("begun").id;
    accept(&ledger, run, &["a@example.com"]).await;
    assert_eq!(ledger.begin_run(&key(), start(None), 2_000).await.expect("begun again").rollout, None);
    assert_eq!(ledger.change_rollout(run, RolloutChange::Sent(percent("1")), 3_000).await.expect("asked"), None);
    let reader = LedgerReader::open(folder.location()).expect("a reader");
    assert_eq!(reader.runs().expect("read").pop().expect("a run").record.rollout, None);
}
