//! Events for people (`kubectl describe`): one for each transition, none for what stays as it is.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType};

use crate::resources::{API_VERSION, Condition, ConditionStatus, ConditionType, Key, Reason, condition};

/// The longest note that the API server takes, bytes.
const NOTE_MAX: usize = 1024;

/// What an event can be about: whether the object is ready and why, and whether only a person can mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    status: ConditionStatus,
    reason: Reason,
    stalled: Option<Reason>,
}

impl Told {
    /// What conditions say; none before there are any.
    pub fn of(conditions: &[Condition]) -> Option<Self> {
        let ready = condition::find(conditions, ConditionType::Ready)?;
        let stalled = condition::find(conditions, ConditionType::Stalled).map(|condition| condition.reason);
        Some(Self { status: ready.status, reason: ready.reason, stalled })
    }

    /// Nothing has happened yet.
    const fn is_quiet(self) -> bool {
        matches!(self.reason, Reason::NotProbedYet | Reason::Scheduled | Reason::Suspended | Reason::Disabled)
    }

    const fn is_well(self) -> bool {
        matches!(self.status, ConditionStatus::True) && self.stalled.is_none()
    }

    /// Something else is not there (yet): what is applied together comes one after the other.
    pub const fn waits_for_others(self) -> bool {
        matches!(
            self.reason,
            Reason::NotAllowedByPlan
                | Reason::OverMaximum
                | Reason::PlanNotFound
                | Reason::NoServers
                | Reason::NoServerActive
                | Reason::ServerNotFound
                | Reason::ServerNotGranted
                | Reason::ServersActive
                | Reason::SecretNotFound
                | Reason::ConfigMapNotFound
        )
    }
}

/// When a change is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// Not at all.
    Never,
    /// At once.
    Now,
    /// Once it has lasted a while.
    IfItLasts,
}

/// When the change from what was told last is told.
///
/// A server that is tested for the first time and is well is no news, and no campaign is news before it begins. What new
/// objects lack may come with the next ones.
pub(super) fn when(told: Option<Told>, now: Told) -> When {
    let was_quiet = told.is_none_or(Told::is_quiet);
    let is_expected = now.is_quiet() || (now.is_well() && matches!(now.reason, Reason::Active | Reason::ServersActive | Reason::NoServers));
    if told == Some(now) || (was_quiet && is_expected) {
        When::Never
    } else if now.waits_for_others() && (was_quiet || !now.is_well()) {
        When::IfItLasts
    } else {
        When::Now
    }
}

/// The event of these conditions.
pub(super) fn event(now: Told, conditions: &[Condition]) -> Event {
    let message = condition::find(conditions, ConditionType::Ready).map_or("", |ready| &*ready.message);
    Event {
        type_: if now.is_well() { EventType::Normal } else { EventType::Warning },
        reason: now.reason.as_str().to_owned(),
        note: Some(cut(message)),
        action: "Reconcile".to_owned(),
        secondary: None,
    }
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
        namespace: Some(key.namespace.to_string()),
        name: Some(key.name.to_string()),
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

    #[test]
    fn tells_transitions_and_nothing_else() {
        use ConditionStatus::{False, True};
        let fresh = ready(False, Reason::NotProbedYet);
        let active = ready(True, Reason::Active);
        let refused = ready(False, Reason::ConnectionRefused);
        let foreign = ready(False, Reason::NotAllowedByPlan);
        for (before, now, wanted) in [
            (None, &fresh, When::Never),
            (None, &active, When::Never),
            (Some(&fresh), &active, When::Never),
            (Some(&active), &active, When::Never),
            (None, &foreign, When::IfItLasts),
            (Some(&active), &foreign, When::IfItLasts),
            (Some(&foreign), &active, When::Now),
            (Some(&fresh), &refused, When::Now),
            (Some(&active), &refused, When::Now),
            (Some(&refused), &active, When::Now),
            (Some(&ready(True, Reason::Scheduled)), &ready(True, Reason::Sending), When::Now),
            (Some(&ready(True, Reason::Sending)), &ready(True, Reason::Completed), When::Now),
        ] {
            let of = |conditions: &Vec<Condition>| Told::of(conditions).expect("a Ready condition");
            assert_eq!(when(before.map(of), of(now)), wanted, "{before:?} {now:?}");
        }
        assert_eq!(event(Told::of(&refused).expect("a condition"), &refused).type_, EventType::Warning);
        assert!(cut(&"ä".repeat(2000)).len() <= NOTE_MAX);
    }
}
