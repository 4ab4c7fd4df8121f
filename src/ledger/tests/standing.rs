//! What came of a server's messages, and its pauses: by when they were sent, over a kill, and each request once.

use super::*;
use crate::{
    feedback::{Change, EventKind, Judged, MessageIdentity, MessageReference, Pause},
    meta::{Key, Reason},
};

const HOUR_MS: i64 = 3_600_000;

async fn known(ledger: &Ledger, since_ms: i64) -> ServerRecord {
    let asked = StandingOf { server: "shop/one".to_owned(), since_ms: Some(since_ms), since_day: Some(0) };
    ledger.standings(vec![asked]).await.expect("a read").remove("shop/one").unwrap_or_default()
}

async fn results(ledger: &Ledger, since_ms: i64) -> Judged {
    known(ledger, since_ms).await.standing.results.get("shop").copied().unwrap_or_default()
}

/// Messages of run `first` that are claimed and get these outcomes at this time; returns their numbers.
async fn send(ledger: &Ledger, run: RunId, people: &[(&str, Disposition)], at_ms: i64) -> Vec<u64> {
    let names: Vec<&str> = people.iter().map(|(name, _)| *name).collect();
    let seqs = claim_all(ledger, run, &names).await;
    let ends = seqs.iter().zip(people).map(|(seq, (_, disposition))| outcome(run, *seq, disposition.clone()));
    ledger.commit(Commit { outcomes: ends.collect(), now_ms: at_ms, ..Commit::default() }).await.expect("outcomes");
    seqs
}

async fn tell(ledger: &Ledger, run: RunId, seq: u64, kind: EventKind, now_ms: i64) {
    let (ledger_of, run) = (MessageReference::ledger_of(ledger.seed()), run.number().expect("small"));
    let reference = MessageReference { ledger: ledger_of, run, partition: 0, seq: u32::try_from(seq).expect("small") };
    let message = MessageIdentity::Reference { reference, server: None };
    let event = Event { kind, message, recipient: None, at_ms: None, source: "a test".into(), id: None, detail: String::new() };
    ledger.record_events(vec![event], now_ms).await.expect("recorded");
}

fn begins(namespace: Option<&str>, ends_at_ms: Option<i64>) -> PauseChange {
    let pause =
        Pause { namespace: namespace.map(Into::into), reason: Reason::BounceRateTooHigh, message: "because".to_owned(), ends_at_ms };
    PauseChange { server: Key::new("shop", "one"), what: Change::Begins(pause) }
}

fn change(what: Change) -> Vec<PauseChange> {
    vec![PauseChange { server: Key::new("shop", "one"), what }]
}

fn resumes(token: &str, namespace: Option<&str>) -> Vec<PauseChange> {
    change(Change::Resumes { token: token.to_owned(), namespace: namespace.map(str::to_owned) })
}

#[tokio::test]
async fn what_came_back_counts_in_the_hour_of_its_message_and_once() {
    let folder = Folder::new();
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
    let (first, second) = (100 * HOUR_MS + 7, 130 * HOUR_MS);
    let seqs = send(
        &ledger,
        run,
        &[
            ("a@x.org", Disposition::Accepted),
            ("b@x.org", Disposition::Accepted),
            ("c@x.org", Disposition::Rejected),
            ("d@x.org", Disposition::Unknown),
        ],
        first,
    )
    .await;
    send(&ledger, run, &[("e@x.org", Disposition::Accepted)], second).await;
    for _ in 0..2 {
        tell(&ledger, run, seqs[0], EventKind::HardBounce, second).await;
        tell(&ledger, run, seqs[1], EventKind::Complaint, second).await;
        tell(&ledger, run, seqs[1], EventKind::SoftBounce, second).await;
        // What was not accepted was not counted either.
        tell(&ledger, run, seqs[2], EventKind::HardBounce, second).await;
        tell(&ledger, run, seqs[3], EventKind::HardBounce, second).await;
    }
    assert_eq!(results(&ledger, 0).await, Judged { accepted: 3, rejected: 1, bounced: 1, complained: 1 });
    assert_eq!(results(&ledger, first).await.accepted, 3, "whole hours");
    assert_eq!(
        results(&ledger, 101 * HOUR_MS).await,
        Judged { accepted: 1, ..Judged::default() },
        "its bounces are as old as its messages"
    );
    let days = known(&ledger, 0).await.standing.days;
    assert_eq!(days[&4], Judged { accepted: 2, rejected: 1, bounced: 1, complained: 1 });
    assert_eq!(days[&5], Judged { accepted: 1, ..Judged::default() });
    assert_eq!(folder.ask("SELECT count(*) FROM results"), ["2"], "a row for each hour, server and namespace");
}

#[tokio::test]
async fn a_pause_outlives_a_kill_and_ends_once() {
    let folder = Folder::new();
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
    let at = 500 * HOUR_MS + 1_000;
    send(&ledger, run, &[("a@x.org", Disposition::Rejected), ("b@x.org", Disposition::Accepted)], at).await;
    // Twice, as by a process that did not learn that the first was written.
    for _ in 0..2 {
        ledger.change_pauses(vec![begins(None, None), begins(Some("shop"), Some(at + 10))], at + 1).await.expect("begun");
    }
    let copy = folder.killed_copy();
    let after = copy.open();
    let standing = known(&after, 0).await.standing;
    assert_eq!(standing.pauses.len(), 2);
    assert_eq!((standing.whole().map(|pause| &*pause.message), standing.paused_on.len()), (Some("because"), 1));
    assert!(standing.of_namespace("shop").is_some_and(|pause| pause.ends_at_ms == Some(at + 10)));
    // In its time the one, and not the other.
    after.change_pauses(change(Change::End), at + 9).await.expect("too early");
    assert_eq!(known(&after, 0).await.standing.pauses.len(), 2);
    after.change_pauses(change(Change::End), at + 10).await.expect("ended");
    assert!(known(&after, 0).await.standing.of_namespace("shop").is_none());
    after.change_pauses(resumes("again", None), at + 20).await.expect("resumed");
    let record = known(&after, 0).await;
    assert_eq!((record.standing.pauses.len(), record.resume_handled.has("again")), (0, true));
    assert_eq!(record.standing.returned, None, "a person has said so");
    assert_eq!(record.standing.paused_on.len(), 1, "for warm-up");
}

#[tokio::test]
async fn messages_are_judged_anew_from_the_end_of_a_pause() {
    let folder = Folder::new();
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
    let at = 500 * HOUR_MS + 1_000;
    let before = send(&ledger, run, &[("a@x.org", Disposition::Rejected), ("b@x.org", Disposition::Accepted)], at).await;
    ledger.change_pauses(vec![begins(None, Some(at + 5))], at + 1).await.expect("begun");
    assert_eq!(results(&ledger, 0).await.rejected, 1, "it is not over");
    ledger.change_pauses(change(Change::End), at + 5).await.expect("ended");
    assert_eq!(results(&ledger, 0).await, Judged::default());
    // In the same hour; and what comes back of a message from before says nothing of now.
    send(&ledger, run, &[("c@x.org", Disposition::Accepted), ("d@x.org", Disposition::Rejected)], at + 6).await;
    tell(&ledger, run, before[1], EventKind::HardBounce, at + 7).await;
    assert_eq!(results(&ledger, 0).await, Judged { accepted: 1, rejected: 1, ..Judged::default() });
    let returned = known(&ledger, 0).await.standing.returned.expect("it ended by itself");
    assert_eq!((returned.at_ms, returned.taken), (at + 5, 2));
    // A person's word ends the small share too; of one namespace it does not.
    ledger.change_pauses(resumes("1 namespace=shop", Some("shop")), at + 8).await.expect("resumed");
    assert!(known(&ledger, 0).await.standing.returned.is_some());
    ledger.change_pauses(resumes("2", None), at + 8).await.expect("resumed");
    assert!(known(&ledger, 0).await.standing.returned.is_none());
    assert_eq!(results(&ledger, 0).await.rejected, 1, "there was nothing to forgive");
    // Of a namespace alone.
    ledger.change_pauses(vec![begins(Some("shop"), None)], at + 9).await.expect("begun");
    ledger.change_pauses(resumes("3", Some("shop")), at + 10).await.expect("resumed");
    assert_eq!(results(&ledger, 0).await, Judged::default());
    assert_eq!(known(&ledger, 0).await.standing.days[&20].rejected, 2, "a day is what it was");
}

#[tokio::test]
async fn old_hours_become_days() {
    let folder = Folder::new();
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
    for (hour, person) in [(1, "a@x.org"), (30, "b@x.org"), (40, "c@x.org"), (24 * 60, "d@x.org")] {
        send(&ledger, run, &[(person, Disposition::Accepted)], hour * HOUR_MS + 5).await;
    }
    // Paused and back, again and again.
    for (began, ended) in [(1, 2), (3, 4), (30, 31), (24 * 60, 24 * 60 + 1)] {
        ledger.change_pauses(vec![begins(None, Some(ended * HOUR_MS))], began * HOUR_MS).await.expect("begun");
        ledger.change_pauses(change(Change::End), ended * HOUR_MS).await.expect("ended");
    }
    // The housekeeping is done once an hour, after a commit.
    send(&ledger, run, &[("e@x.org", Disposition::Accepted)], 24 * 61 * HOUR_MS).await;
    let rows = "SELECT from_ms / 3600000, CAST(from_ms % 86400000 = 0 AS INTEGER), accepted FROM results ORDER BY 1";
    ledger.counts(run).await.expect("whatever waits is done");
    assert_eq!(folder.ask(rows), ["0 1 1", "24 1 2", &format!("{} 1 1", 24 * 60), &format!("{} 1 1", 24 * 61)]);
    let pauses = folder.ask("SELECT since_ms / 3600000 FROM pauses ORDER BY 1");
    assert_eq!(pauses, ["3", "30", "1440"], "one of each old day");
    let days = known(&ledger, 0).await.standing.days;
    assert_eq!(days.iter().map(|(day, judged)| (*day, judged.accepted)).collect::<Vec<_>>(), [(0, 1), (1, 2), (60, 1), (61, 1)]);
}
