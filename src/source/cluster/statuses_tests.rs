//! The queue of writes, without an API server.

use serde_json::json;

use super::*;
use crate::{
    resources::{ConditionStatus, ConditionType, Reason, SendingServer},
    source::cluster::{
        policy::{CONFLICT, LASTING, SETTLING, TRANSIENT},
        tests::client_to_nowhere,
    },
};

/// A queue whose own task writes nothing: the tests take what is due.
fn queue() -> ClusterStatuses {
    ClusterStatuses { shared: Shared::new(client_to_nowhere(), "test") }
}

fn take_due(queue: &ClusterStatuses) -> (Vec<Write>, Option<Instant>) {
    queue.shared.queue().take(8, Instant::now())
}

fn note(queue: &ClusterStatuses, written: Written) {
    queue.shared.queue().note(written, &mut WriteErrors::default(), Instant::now());
}

fn version(hash: u64, resource_version: u64) -> Option<StatusVersion> {
    Some(StatusVersion { hash, resource_version })
}

fn put(queue: &ClusterStatuses, uid: &str, state: &str, reason: Reason) {
    let now = [Condition::new(ConditionType::Ready, ConditionStatus::False, reason, "words")];
    queue.put(SendingServer::KIND, &key(), uid, Arc::new(json!({"state": state})), None, &now);
}

fn put_about(queue: &ClusterStatuses, name: &str, reason: Reason) {
    let now = [Condition::new(ConditionType::Ready, ConditionStatus::False, reason, "words")];
    queue.put(SendingServer::KIND, &Key::new("shop", name), "u2", Arc::new(json!({"state": "Inactive"})), None, &now);
}

fn key() -> Key {
    Key::new("shop", "a")
}

fn written(write: &Write, status: Option<StatusVersion>, result: Result<(), Failed>) -> Written {
    Written { id: write.id.clone(), uid: write.uid.clone(), status, finalizer: None, result }
}

fn status(write: &Write) -> Value {
    write.due.status.as_ref().map(|status| status.as_json()).unwrap_or_default()
}

#[tokio::test]
async fn only_the_newest_status_is_written_and_a_failed_one_again() {
    let queue = queue();
    put(&queue, "u1", "Inactive", Reason::NotProbedYet);
    put(&queue, "u1", "Active", Reason::NotProbedYet);
    let (writes, _) = take_due(&queue);
    assert_eq!(writes.iter().map(status).collect::<Vec<_>>(), [json!({"state": "Active"})]);
    assert!(take_due(&queue).0.is_empty(), "one write of an object at a time");

    note(&queue, written(&writes[0], None, Err(Failed::away("away".to_owned()))));
    let (none, next) = take_due(&queue);
    assert!(none.is_empty() && next.is_some(), "it is tried again later");
    // Something new is tried at once.
    put(&queue, "u1", "Stalled", Reason::NotProbedYet);
    let (writes, _) = take_due(&queue);
    assert_eq!(writes.iter().map(status).collect::<Vec<_>>(), [json!({"state": "Stalled"})]);
    note(&queue, written(&writes[0], version(1, 10), Ok(())));
    assert!(take_due(&queue).0.is_empty());
}

#[tokio::test]
async fn a_foreign_status_is_put_right_once_and_our_own_is_not() {
    let queue = queue();
    put(&queue, "u1", "Active", Reason::NotProbedYet);
    let (writes, _) = take_due(&queue);
    let own = json!({"state": "Active"});
    note(&queue, written(&writes[0], version(hash_of(Some(&own)), 10), Ok(())));
    let seen = |version, status: &Value| queue.seen(SendingServer::KIND, &key(), "u1", version, Some(status), false);
    seen(9, &json!({"state": "Old"}));
    seen(10, &own);
    seen(12, &own);
    assert!(take_due(&queue).0.is_empty(), "older versions and our own status are no reason to write");
    seen(13, &json!({"state": "Foreign"}));
    assert_eq!(take_due(&queue).0.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_answered_each_time_and_ever_more_slowly() {
    let queue = queue();
    put(&queue, "u1", "Active", Reason::NotProbedYet);
    let (own, foreign) = (json!({"state": "Active"}), json!({"state": "Foreign"}));
    let hash = hash_of(Some(&own));
    let (writes, _) = take_due(&queue);
    note(&queue, written(&writes[0], version(hash, 10), Ok(())));
    let mut current = 10;
    for delay in [0, 2, 4, 8, 16, 30, 30] {
        current += 1;
        queue.seen(SendingServer::KIND, &key(), "u1", current, Some(&foreign), false);
        if delay > 0 {
            tokio::time::advance(Duration::from_millis(delay * 1000 - 200)).await;
            assert!(take_due(&queue).0.is_empty(), "before {delay} s");
            tokio::time::advance(Duration::from_millis(200)).await;
        }
        let (writes, _) = take_due(&queue);
        assert_eq!(writes.iter().map(status).collect::<Vec<_>>(), std::slice::from_ref(&own), "after {delay} s");
        current += 1;
        note(&queue, written(&writes[0], version(hash, current), Ok(())));
    }
    tokio::time::advance(CONFLICT).await;
    queue.seen(SendingServer::KIND, &key(), "u1", current + 1, Some(&foreign), false);
    assert_eq!(take_due(&queue).0.len(), 1, "the next conflict begins anew");
}

#[tokio::test]
async fn what_was_overwritten_while_it_was_written_is_put_right() {
    let queue = queue();
    put(&queue, "u1", "Active", Reason::NotProbedYet);
    let (writes, _) = take_due(&queue);
    // Somebody wrote after us, and that is seen before our own write is known to be done.
    queue.seen(SendingServer::KIND, &key(), "u1", 11, Some(&json!({"state": "Foreign"})), false);
    assert!(take_due(&queue).0.is_empty());
    let hash = hash_of(Some(&json!({"state": "Active"})));
    note(&queue, written(&writes[0], version(hash, 10), Ok(())));
    assert_eq!(take_due(&queue).0.len(), 1);
}

#[tokio::test]
async fn what_an_earlier_process_wrote_is_put_right_too() {
    let queue = queue();
    let own = json!({"state": "Active"});
    queue.seen(SendingServer::KIND, &key(), "u1", 7, Some(&own), false);
    queue.note_standing(SendingServer::KIND, &key(), "u1", Arc::new(own.clone()));
    assert!(take_due(&queue).0.is_empty(), "what is right is not written");
    queue.seen(SendingServer::KIND, &key(), "u1", 8, Some(&json!({"state": "Foreign"})), false);
    let (writes, _) = take_due(&queue);
    assert_eq!(writes.iter().map(status).collect::<Vec<_>>(), [own]);
}

#[tokio::test]
async fn another_object_of_the_same_name_starts_afresh() {
    let queue = queue();
    put(&queue, "u1", "Active", Reason::NotProbedYet);
    put(&queue, "u2", "Inactive", Reason::NotProbedYet);
    let (writes, _) = take_due(&queue);
    assert_eq!(writes.iter().map(|write| write.uid.as_str()).collect::<Vec<_>>(), ["u2"]);
    queue.gone(SendingServer::KIND, &key());
    note(&queue, written(&writes[0], None, Err(Failed::Gone)));
    assert!(take_due(&queue).0.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_others_may_fix_is_announced_only_when_it_lasts() {
    let queue = queue();
    put(&queue, "u1", "Inactive", Reason::NotAllowedByPlan);
    tokio::time::advance(SETTLING).await;
    let (writes, _) = take_due(&queue);
    assert!(writes[0].due.events.is_empty());
    note(&queue, written(&writes[0], version(1, 1), Ok(())));
    tokio::time::advance(LASTING.saturating_sub(SETTLING)).await;
    let (writes, _) = take_due(&queue);
    assert_eq!(writes[0].due.events.iter().map(|event| event.reason.as_str()).collect::<Vec<_>>(), ["NotAllowedByPlan"]);
}

#[tokio::test]
async fn a_finalizer_on_another_kind_is_somebody_elses() {
    let queue = queue();
    queue.seen(SendingServer::KIND, &key(), "u1", 1, None, true);
    assert!(take_due(&queue).0.is_empty());
    // On a campaign that does not send it came out of an export.
    queue.seen(Campaign::KIND, &key(), "u1", 1, None, true);
    assert_eq!(take_due(&queue).0[0].due.finalizer, Some(false));
}

#[tokio::test]
async fn a_finalizer_is_there_while_it_is_wanted() {
    let queue = queue();
    queue.seen(Campaign::KIND, &key(), "u1", 1, None, false);
    queue.note_sending(&key(), "u1", true);
    let (writes, _) = take_due(&queue);
    assert_eq!(writes[0].due.finalizer, Some(true));
    note(&queue, Written { finalizer: Some(true), ..written(&writes[0], None, Ok(())) });
    queue.note_sending(&key(), "u1", false);
    assert_eq!(take_due(&queue).0[0].due.finalizer, Some(false));
}

#[tokio::test(start_paused = true)]
async fn what_is_true_for_a_moment_only_is_not_written() {
    let queue = queue();
    let put = |state: &str, reconciling: bool| {
        let kind = if reconciling { ConditionType::Reconciling } else { ConditionType::Ready };
        let now = [Condition::new(kind, ConditionStatus::True, Reason::NotProbedYet, "words")];
        queue.put(SendingServer::KIND, &key(), "u1", Arc::new(json!({"state": state})), None, &now);
    };
    put("Inactive", true);
    assert!(take_due(&queue).0.is_empty());
    put("Active", false);
    let (writes, _) = take_due(&queue);
    assert_eq!(writes.iter().map(status).collect::<Vec<_>>(), [json!({"state": "Active"})]);
    note(&queue, written(&writes[0], version(1, 10), Ok(())));

    // So may what the next objects bring, but only at first.
    put_about(&queue, "b", Reason::PlanNotFound);
    assert!(take_due(&queue).0.is_empty());
    tokio::time::advance(SETTLING).await;
    let (writes, _) = take_due(&queue);
    assert_eq!(writes.len(), 1);
    note(&queue, written(&writes[0], version(1, 10), Ok(())));
    put_about(&queue, "b", Reason::NoServers);
    assert_eq!(take_due(&queue).0.len(), 1);

    // What lasts is written, however often it is said again meanwhile.
    put("Inactive", true);
    assert!(take_due(&queue).0.is_empty());
    tokio::time::advance(TRANSIENT / 2).await;
    put("Inactive", true);
    assert!(take_due(&queue).0.is_empty());
    tokio::time::advance(TRANSIENT / 2).await;
    let (writes, _) = take_due(&queue);
    assert_eq!(writes.iter().map(status).collect::<Vec<_>>(), [json!({"state": "Inactive"})]);
}
