//! Events for people (`kubectl describe`): one for each transition, none for what stays as it is.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType};

use crate::resources::{API_VERSION, Condition, ConditionStatus, ConditionType, Key, Reason, condition};

/// The longest note that the API server takes, bytes.
const NOTE_MAX: usize = 1024;

/// What is told of a change of conditions; none when nothing flipped.
///
/// A server that is tested for the first time and is well is no news, and no campaign is news before it begins.
pub(super) fn transition(before: Option<&[Condition]>, now: &[Condition]) -> Option<Event> {
    let ready = condition::find(now, ConditionType::Ready)?;
    let was = before.and_then(|before| condition::find(before, ConditionType::Ready));
    let stalled = |conditions: &[Condition]| condition::find(conditions, ConditionType::Stalled).map(|condition| condition.reason);
    let is_same = was.is_some_and(|was| was.status == ready.status && was.reason == ready.reason)
        && before.and_then(stalled) == stalled(now);
    let is_quiet = |reason: Reason| matches!(reason, Reason::NotProbedYet | Reason::Scheduled | Reason::Suspended | Reason::Disabled);
    let was_quiet = was.is_none_or(|was| is_quiet(was.reason));
    let is_well = ready.status == ConditionStatus::True && stalled(now).is_none();
    // A plan is ready as its servers are; they tell.
    let is_expected = matches!(ready.reason, Reason::Active | Reason::ServersActive | Reason::NoServers) && is_well;
    if is_same || (is_quiet(ready.reason) && was_quiet) || (is_expected && was_quiet) {
        return None;
    }
    Some(Event {
        type_: if is_well { EventType::Normal } else { EventType::Warning },
        reason: ready.reason.as_str().to_owned(),
        note: Some(cut(&ready.message)),
        action: "Reconcile".to_owned(),
        secondary: None,
    })
}

fn cut(text: &str) -> String {
    if text.len() <= NOTE_MAX {
        return text.to_owned();
    }
    let mut end = NOTE_MAX - 4;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

/// What an event is about.
pub(super) fn regarding(kind: &str, key: &Key, uid: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some(API_VERSION.to_owned()),
        kind: Some(kind.to_owned()),
        namespace: Some(key.namespace.clone()),
        name: Some(key.name.clone()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(status: ConditionStatus, reason: Reason) -> Vec<Condition> {
        vec![Condition::new(ConditionType::Ready, status, reason, "words")]
    }

    fn told(before: Option<&[Condition]>, now: &[Condition]) -> Option<(EventType, String)> {
        transition(before, now).map(|event| (event.type_, event.reason))
    }

    #[test]
    fn tells_transitions_and_nothing_else() {
        use ConditionStatus::{False, True};
        let fresh = ready(False, Reason::NotProbedYet);
        let active = ready(True, Reason::Active);
        let refused = ready(False, Reason::ConnectionRefused);
        for (before, now, wanted) in [
            (None, &fresh, None),
            (None, &active, None),
            (Some(&fresh), &active, None),
            (Some(&active), &active, None),
            (Some(&fresh), &refused, Some((EventType::Warning, "ConnectionRefused"))),
            (Some(&active), &refused, Some((EventType::Warning, "ConnectionRefused"))),
            (Some(&refused), &active, Some((EventType::Normal, "Active"))),
            (Some(&ready(True, Reason::Scheduled)), &ready(True, Reason::Sending), Some((EventType::Normal, "Sending"))),
            (Some(&ready(True, Reason::Sending)), &ready(True, Reason::Completed), Some((EventType::Normal, "Completed"))),
        ] {
            let told = told(before.map(Vec::as_slice), now);
            assert_eq!(told.as_ref().map(|(type_, reason)| (*type_, reason.as_str())), wanted);
        }
        assert!(cut(&"ä".repeat(2000)).len() <= NOTE_MAX);
    }
}
