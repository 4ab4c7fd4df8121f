//! The desk of writes, without an API server.

use serde_json::json;

use super::*;
use crate::{
    resources::{ConditionStatus, Reason, SendingServer},
    source::cluster::tests::client_to_nowhere,
};

/// A desk whose own task writes nothing: the tests take what is due.
fn desk() -> ClusterStatuses {
    let client = client_to_nowhere();
    let publisher = Publisher::new(client.clone(), "test");
    ClusterStatuses { shared: Arc::new(Shared { client, publisher, desk: Mutex::default(), news: Notify::new(), idle: Notify::new() }) }
}

fn put(desk: &ClusterStatuses, uid: &str, state: &str, reason: Reason) {
    let now = [Condition::new(ConditionType::Ready, ConditionStatus::False, reason, "words")];
    desk.put(SendingServer::KIND, &key(), uid, Arc::new(json!({"state": state})), None, &now);
}

fn put_about(desk: &ClusterStatuses, name: &str, reason: Reason) {
    let now = [Condition::new(ConditionType::Ready, ConditionStatus::False, reason, "words")];
    desk.put(SendingServer::KIND, &Key::new("shop", name), "u2", Arc::new(json!({"state": "Inactive"})), None, &now);
}

fn key() -> Key {
    Key::new("shop", "a")
}

fn written(write: &Write, status: Option<(u64, u64)>, result: Result<(), Failed>) -> Written {
    Written { id: write.id.clone(), uid: write.uid.clone(), status, finalizer: None, result }
}

fn status(write: &Write) -> Value {
    write.status.as_ref().map(|status| status.as_json()).unwrap_or_default()
}

#[tokio::test]
async fn only_the_newest_status_is_written_and_a_failed_one_again() {
    let desk = desk();
    put(&desk, "u1", "Inactive", Reason::NotProbedYet);
    put(&desk, "u1", "Active", Reason::NotProbedYet);
    let (writes, _) = take_due(&desk.shared, 8);
    assert_eq!(writes.iter().map(status).collect::<Vec<_>>(), [json!({"state": "Active"})]);
    assert!(take_due(&desk.shared, 8).0.is_empty(), "one write of an object at a time");

    note(&desk.shared, written(&writes[0], None, Err(Failed::away("away".to_owned()))), &mut Troubles::default());
    let (none, next) = take_due(&desk.shared, 8);
    assert!(none.is_empty() && next.is_some(), "it is tried again later");
    // Something new is tried at once.
    put(&desk, "u1", "Stalled", Reason::NotProbedYet);
    let (writes, _) = take_due(&desk.shared, 8);
    assert_eq!(writes.iter().map(status).collect::<Vec<_>>(), [json!({"state": "Stalled"})]);
    note(&desk.shared, written(&writes[0], Some((1, 10)), Ok(())), &mut Troubles::default());
    assert!(take_due(&desk.shared, 8).0.is_empty());
}

#[tokio::test]
async fn a_foreign_status_is_put_right_once_and_our_own_is_not() {
    let desk = desk();
    put(&desk, "u1", "Active", Reason::NotProbedYet);
    let (writes, _) = take_due(&desk.shared, 8);
    let own = json!({"state": "Active"});
    note(&desk.shared, written(&writes[0], Some((hash_of(Some(&own)), 10)), Ok(())), &mut Troubles::default());
    let seen = |version, status: &Value| desk.seen(SendingServer::KIND, &key(), "u1", version, Some(status), false);
    seen(9, &json!({"state": "Old"}));
    seen(10, &own);
    seen(12, &own);
    assert!(take_due(&desk.shared, 8).0.is_empty(), "older versions and our own status are no reason to write");
    seen(13, &json!({"state": "Foreign"}));
    assert_eq!(take_due(&desk.shared, 8).0.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_quarrel_is_answered_each_time_and_ever_more_slowly() {
    let desk = desk();
    put(&desk, "u1", "Active", Reason::NotProbedYet);
    let (own, foreign) = (json!({"state": "Active"}), json!({"state": "Foreign"}));
    let hash = hash_of(Some(&own));
    let (writes, _) = take_due(&desk.shared, 8);
    note(&desk.shared, written(&writes[0], Some((hash, 10)), Ok(())), &mut Troubles::default());
    let mut version = 10;
    for delay in [0, 2, 4, 8, 16, 30, 30] {
        version += 1;
        desk.seen(SendingServer::KIND, &key(), "u1", version, Some(&foreign), false);
        if delay > 0 {
            tokio::time::advance(Duration::from_millis(delay * 1000 - 200)).await;
            assert!(take_due(&desk.shared, 8).0.is_empty(), "before {delay} s");
            tokio::time::advance(Duration::from_millis(200)).await;
        }
        let (writes, _) = take_due(&desk.shared, 8);
        assert_eq!(writes.iter().map(status).collect::<Vec<_>>(), std::slice::from_ref(&own), "after {delay} s");
        version += 1;
        note(&desk.shared, written(&writes[0], Some((hash, version)), Ok(())), &mut Troubles::default());
    }
    tokio::time::advance(QUARREL).await;
    desk.seen(SendingServer::KIND, &key(), "u1", version + 1, Some(&foreign), false);
    assert_eq!(take_due(&desk.shared, 8).0.len(), 1, "the next quarrel begins afresh");
}

#[tokio::test]
async fn what_was_overwritten_while_it_was_written_is_put_right() {
    let desk = desk();
    put(&desk, "u1", "Active", Reason::NotProbedYet);
    let (writes, _) = take_due(&desk.shared, 8);
    // Somebody wrote after us, and that is seen before our own write is known to be done.
    desk.seen(SendingServer::KIND, &key(), "u1", 11, Some(&json!({"state": "Foreign"})), false);
    assert!(take_due(&desk.shared, 8).0.is_empty());
    let hash = hash_of(Some(&json!({"state": "Active"})));
    note(&desk.shared, written(&writes[0], Some((hash, 10)), Ok(())), &mut Troubles::default());
    assert_eq!(take_due(&desk.shared, 8).0.len(), 1);
}

#[tokio::test]
async fn what_an_earlier_process_wrote_is_put_right_too() {
    let desk = desk();
    let own = json!({"state": "Active"});
    desk.seen(SendingServer::KIND, &key(), "u1", 7, Some(&own), false);
    desk.note_standing(SendingServer::KIND, &key(), "u1", Arc::new(own.clone()));
    assert!(take_due(&desk.shared, 8).0.is_empty(), "what is right is not written");
    desk.seen(SendingServer::KIND, &key(), "u1", 8, Some(&json!({"state": "Foreign"})), false);
    let (writes, _) = take_due(&desk.shared, 8);
    assert_eq!(writes.iter().map(status).collect::<Vec<_>>(), [own]);
}

#[tokio::test]
async fn another_object_of_the_same_name_starts_afresh() {
    let desk = desk();
    put(&desk, "u1", "Active", Reason::NotProbedYet);
    put(&desk, "u2", "Inactive", Reason::NotProbedYet);
    let (writes, _) = take_due(&desk.shared, 8);
    assert_eq!(writes.iter().map(|write| write.uid.as_str()).collect::<Vec<_>>(), ["u2"]);
    desk.gone(SendingServer::KIND, &key());
    note(&desk.shared, written(&writes[0], None, Err(Failed::Gone)), &mut Troubles::default());
    assert!(take_due(&desk.shared, 8).0.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_others_may_mend_is_told_only_when_it_lasts() {
    let desk = desk();
    put(&desk, "u1", "Inactive", Reason::NotAllowedByPlan);
    tokio::time::advance(COMING).await;
    let (writes, _) = take_due(&desk.shared, 8);
    assert!(writes[0].events.is_empty());
    note(&desk.shared, written(&writes[0], Some((1, 1)), Ok(())), &mut Troubles::default());
    tokio::time::advance(LASTING.saturating_sub(COMING)).await;
    let (writes, _) = take_due(&desk.shared, 8);
    assert_eq!(writes[0].events.iter().map(|event| event.reason.as_str()).collect::<Vec<_>>(), ["NotAllowedByPlan"]);
}

#[tokio::test]
async fn a_finalizer_on_another_kind_is_somebody_elses() {
    let desk = desk();
    desk.seen(SendingServer::KIND, &key(), "u1", 1, None, true);
    assert!(take_due(&desk.shared, 8).0.is_empty());
    // On a campaign that does not send it came out of an export.
    desk.seen(Campaign::KIND, &key(), "u1", 1, None, true);
    assert_eq!(take_due(&desk.shared, 8).0[0].finalizer, Some(false));
}

#[tokio::test]
async fn a_finalizer_is_there_while_it_is_wanted() {
    let desk = desk();
    desk.seen(Campaign::KIND, &key(), "u1", 1, None, false);
    desk.note_sending(&key(), "u1", true);
    let (writes, _) = take_due(&desk.shared, 8);
    assert_eq!(writes[0].finalizer, Some(true));
    note(&desk.shared, Written { finalizer: Some(true), ..written(&writes[0], None, Ok(())) }, &mut Troubles::default());
    desk.note_sending(&key(), "u1", false);
    assert_eq!(take_due(&desk.shared, 8).0[0].finalizer, Some(false));
}

#[tokio::test(start_paused = true)]
async fn what_is_true_for_a_moment_only_is_not_written() {
    let desk = desk();
    let put = |state: &str, reconciling: bool| {
        let kind = if reconciling { ConditionType::Reconciling } else { ConditionType::Ready };
        let now = [Condition::new(kind, ConditionStatus::True, Reason::NotProbedYet, "words")];
        desk.put(SendingServer::KIND, &key(), "u1", Arc::new(json!({"state": state})), None, &now);
    };
    put("Inactive", true);
    assert!(take_due(&desk.shared, 8).0.is_empty());
    put("Active", false);
    let (writes, _) = take_due(&desk.shared, 8);
    assert_eq!(writes.iter().map(status).collect::<Vec<_>>(), [json!({"state": "Active"})]);
    note(&desk.shared, written(&writes[0], Some((1, 10)), Ok(())), &mut Troubles::default());

    // So may what the next objects bring, but only at first.
    put_about(&desk, "b", Reason::PlanNotFound);
    assert!(take_due(&desk.shared, 8).0.is_empty());
    tokio::time::advance(COMING).await;
    let (writes, _) = take_due(&desk.shared, 8);
    assert_eq!(writes.len(), 1);
    note(&desk.shared, written(&writes[0], Some((1, 10)), Ok(())), &mut Troubles::default());
    put_about(&desk, "b", Reason::NoServers);
    assert_eq!(take_due(&desk.shared, 8).0.len(), 1);

    // What lasts is written, however often it is said again meanwhile.
    put("Inactive", true);
    assert!(take_due(&desk.shared, 8).0.is_empty());
    tokio::time::advance(PASSING / 2).await;
    put("Inactive", true);
    assert!(take_due(&desk.shared, 8).0.is_empty());
    tokio::time::advance(PASSING / 2).await;
    let (writes, _) = take_due(&desk.shared, 8);
    assert_eq!(writes.iter().map(status).collect::<Vec<_>>(), [json!({"state": "Inactive"})]);
}
