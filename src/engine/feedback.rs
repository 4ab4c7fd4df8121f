//! Writes what comes back into the ledger: batches that wait together become one transaction.

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use crate::{
    clock::SteadyClock,
    feedback::{Batch, Event, NotTaken},
    ledger::{EventsReceipt, Ledger},
};

/// Events in one transaction, unless a single batch has more.
const EVENTS_TOGETHER: usize = 1_000;
/// How long whoever brought a batch waits for a ledger that cannot be written, before being told to come again.
const PATIENCE: Duration = Duration::from_secs(10);

/// Takes batches until nobody can bring any more, and then ends. The number that is watched grows with each transaction that recorded
/// something.
#[must_use]
pub fn record(ledger: Ledger, mut batches: mpsc::Receiver<Batch>) -> (watch::Receiver<u64>, JoinHandle<()>) {
    let (recorded, seen) = watch::channel(0);
    let task = tokio::spawn(async move {
        let clock = SteadyClock::of_process();
        while let Some(first) = batches.recv().await {
            let (mut events, mut waiting) = (first.events, vec![first.done]);
            while events.len() < EVENTS_TOGETHER
                && let Ok(next) = batches.try_recv()
            {
                events.extend(next.events);
                waiting.push(next.done);
            }
            // A write that has begun is not abandoned: what is recorded after all counts once, however often it is brought.
            let writing = tokio::spawn(write(ledger.clone(), events, waiting, clock.now_ms(), recorded.clone()));
            if tokio::time::timeout(PATIENCE, writing).await.is_err() {
                tracing::warn!("recording feedback in the ledger is slow; further feedback waits");
            }
        }
    });
    (seen, task)
}

async fn write(
    ledger: Ledger,
    events: Vec<Event>,
    waiting: Vec<oneshot::Sender<Result<(), NotTaken>>>,
    now_ms: i64,
    recorded: watch::Sender<u64>,
) {
    let count = events.len();
    let answer = match ledger.record_events(events, now_ms).await {
        Ok(receipt) => {
            note(count, &receipt);
            if receipt.recorded + receipt.suppressed > 0 {
                recorded.send_modify(|number| *number += 1);
            }
            Ok(())
        }
        Err(error) => {
            tracing::warn!(%error, "feedback could not be recorded; whoever sent it will retry");
            Err(NotTaken(error.to_string()))
        }
    };
    for done in waiting {
        // Whoever brought it may have gone.
        let _ = done.send(answer.clone());
    }
}

fn note(count: usize, receipt: &EventsReceipt) {
    let EventsReceipt { recorded, repeated, unmatched, suppressed } = *receipt;
    tracing::debug!(count, recorded, repeated, unmatched, suppressed, "what came back is recorded");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        feedback::{EventKind, Intake, MessageIdentity},
        ledger::{LedgerOptions, Synchronous},
    };

    fn left(address: &str) -> Event {
        Event {
            kind: EventKind::Unsubscribed,
            message: MessageIdentity::Subscription { namespace: "shop".into(), topic: None, run: None },
            recipient: Some(address.into()),
            at_ms: None,
            source: "a test".into(),
            id: None,
            detail: String::new(),
        }
    }

    #[tokio::test]
    async fn what_is_taken_is_durable_and_what_is_not_is_told() {
        let folder = std::env::temp_dir().join(format!("mailfleet-feedback-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let options = LedgerOptions { synchronous: Synchronous::Normal, busy_timeout: Duration::from_millis(20) };
        let ledger = Ledger::open(&folder, options).expect("a ledger");
        let (intake, batches) = Intake::new();
        let (seen, _task) = record(ledger.clone(), batches);
        let many: Vec<_> = (0..20).map(|n| intake.take(vec![left(&format!("p{n}@x.org")), left(&format!("q{n}@x.org"))])).collect();
        for taken in futures::future::join_all(many).await {
            assert_eq!(taken, Ok(()));
        }
        let database = folder.join("ledger.db");
        let count = || {
            let connection = rusqlite::Connection::open(&database).expect("another client");
            connection.query_row("SELECT count(*) FROM suppressions", [], |row| row.get::<_, i64>(0)).expect("a count")
        };
        assert_eq!((count(), *seen.borrow() > 0), (40, true));
        // While the ledger cannot be written, nobody is told that it was.
        let other = rusqlite::Connection::open(&database).expect("another client");
        other.execute_batch("BEGIN IMMEDIATE").expect("a lock");
        let refused = intake.take(vec![left("late@x.org")]).await.expect_err("it cannot be written");
        assert!(refused.to_string().contains("must be sent again"), "{refused}");
        other.execute_batch("ROLLBACK").expect("unlocked");
        assert_eq!(intake.take(vec![left("late@x.org")]).await, Ok(()));
        assert_eq!(count(), 41);
        let _ = std::fs::remove_dir_all(&folder);
    }
}
