//! One object's policy, by the times that it gives.

use serde_json::json;

use super::*;
use crate::resources::{ConditionStatus, Key, Reason, SendingServer};

fn conditions(reason: Reason) -> [Condition; 1] {
    [Condition::new(ConditionType::Ready, ConditionStatus::False, reason, "words")]
}

fn put(policy: &mut StatusPolicy, reason: Reason, now: Instant) {
    policy.on_status(SendingServer::KIND, Arc::new(json!({"state": "Inactive"})), None, &conditions(reason), now);
}

fn end(policy: &mut StatusPolicy, status: Option<StatusVersion>, result: Result<(), Failed>, now: Instant) {
    let written = Written { id: (SendingServer::KIND, Key::new("shop", "a")), uid: String::new(), status, finalizer: None, result };
    policy.on_written(&written, now, 0.5);
}

#[test]
fn each_event_gives_the_time_of_the_next_write() {
    let begin = Instant::now();
    let at = |millis: u64| begin + Duration::from_millis(millis);
    let mut policy = StatusPolicy::new("");
    assert_eq!(policy.due_at(), None, "nothing is known yet");

    put(&mut policy, Reason::NotProbedYet, at(0));
    assert_eq!(policy.due_at(), Some(at(0)));
    assert!(policy.take(at(0)).is_some_and(|due| due.status.is_some()));
    assert_eq!((policy.due_at(), policy.is_due()), (None, false), "it is being written");

    // Failures in a row: the delay doubles up to its bound, and what the API server says comes first.
    let mut now = 0;
    for delay in [250, 500, 1000, 2000, 4000, 5000, 5000] {
        end(&mut policy, None, Err(Failed::away("away".to_owned())), at(now));
        assert_eq!(policy.due_at(), Some(at(now + delay)), "after {delay} ms");
        now += delay;
        assert!(policy.take(at(now - 1)).is_none() && policy.take(at(now)).is_some());
    }
    let said = Some(Duration::from_secs(7));
    end(&mut policy, None, Err(Failed::Later { after: said, why: "busy".to_owned(), is_internal: false }), at(now));
    assert_eq!(policy.due_at(), Some(at(now + 7000)));
    now += 7000;
    assert!(policy.take(at(now)).is_some());
    end(&mut policy, None, Err(Failed::Refused { why: "no".to_owned(), is_invalid: true }), at(now));
    assert_eq!(policy.due_at(), Some(at(now) + REFUSED_RETRY));

    // A new status is written at once all the same.
    put(&mut policy, Reason::ConnectionRefused, at(now + 1));
    assert!(policy.due_at() <= Some(at(now + 1)));
    let due = policy.take(at(now + 1)).expect("a write");
    assert_eq!(due.events.len(), 1, "a refused connection is announced");
    end(&mut policy, Some(StatusVersion { hash: 1, resource_version: 10 }), Ok(()), at(now + 2));
    assert_eq!(policy.due_at(), None);
}

#[test]
fn what_may_pass_waits_and_what_lasts_is_announced() {
    let begin = Instant::now();
    let mut policy = StatusPolicy::new("");
    put(&mut policy, Reason::PlanNotFound, begin);
    assert_eq!(policy.due_at(), Some(begin + SETTLING));
    assert!(policy.take(begin + SETTLING).is_some_and(|due| due.events.is_empty()));
    end(&mut policy, Some(StatusVersion { hash: 1, resource_version: 10 }), Ok(()), begin + SETTLING);
    assert_eq!(policy.due_at(), Some(begin + LASTING));
    let due = policy.take(begin + LASTING).expect("an event");
    assert!(due.status.is_none() && due.events.len() == 1, "the status stands there already");
}
