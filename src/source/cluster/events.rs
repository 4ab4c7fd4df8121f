//! Events for people (`kubectl describe`): one for each transition, none while nothing changes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        core::v1::ObjectReference,
        events::v1::{Event as EventObject, EventSeries},
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    runtime::events::{Event, EventType},
};
use serde_json::json;
use tokio::time::Instant;

use super::request::REQUEST_TIMEOUT;
use crate::resources::{
    API_VERSION, Condition, ConditionStatus, ConditionType, Key, Reason,
    bound::{EVENT_WORD_MAX, NOTE_MAX, bounded},
    condition,
};

/// The `reportingController` of our events.
const CONTROLLER: &str = "mailfleet.dev/controller";
/// Equal events of one object within this time are one event with a count, as in client-go.
const SERIES: Duration = Duration::from_secs(6 * 60);
/// The longest name of an object, bytes.
const NAME_MAX: usize = 253;

/// What events announce: whether the object is ready and why, and whether only a person can fix it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Readiness {
    status: ConditionStatus,
    reason: Reason,
    stalled: Option<Reason>,
}

impl Readiness {
    /// As the conditions say; none before there are any.
    pub fn of(conditions: &[Condition]) -> Option<Self> {
        let ready = condition::find(conditions, ConditionType::Ready)?;
        let stalled = condition::find(conditions, ConditionType::Stalled).map(|condition| condition.reason);
        Some(Self { status: ready.status, reason: ready.reason, stalled })
    }

    /// Whether nothing has happened yet.
    const fn is_quiet(self) -> bool {
        self.reason.is_of_start() || matches!(self.reason, Reason::Scheduled | Reason::Suspended | Reason::Disabled)
    }

    const fn is_well(self) -> bool {
        matches!(self.status, ConditionStatus::True) && self.stalled.is_none()
    }

    /// Whether a rollout waits after a step, as its spec says.
    const fn waits_for_a_step(self) -> bool {
        matches!(self.reason, Reason::RolloutPaused | Reason::RolloutWaiting)
    }

    /// Whether another object is missing, perhaps only for now: objects that are applied together arrive one after the other.
    pub const fn depends_on_others(self) -> bool {
        matches!(
            self.reason,
            Reason::NotAllowedByPlan
                | Reason::OverMaximum
                | Reason::PlanNotFound
                | Reason::NoServers
                | Reason::NoActiveServer
                | Reason::ServerNotFound
                | Reason::ServerNotGranted
                | Reason::ServersActive
                | Reason::SecretNotFound
                | Reason::ConfigMapNotFound
        )
    }
}

/// Whether a change is announced in an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announce {
    Never,
    Now,
    /// Once it has lasted a while.
    IfItLasts,
}

/// Whether a change is announced, after what was announced last.
///
/// A server whose first probe succeeds is not announced, nor is a campaign before it begins. What new objects lack may come
/// with the next ones.
pub(super) fn announce(last: Option<Readiness>, now: Readiness) -> Announce {
    let was_quiet = last.is_none_or(Readiness::is_quiet);
    let is_expected = now.is_quiet() || (now.is_well() && matches!(now.reason, Reason::Active | Reason::ServersActive | Reason::NoServers));
    if last == Some(now) || (was_quiet && is_expected) {
        Announce::Never
    } else if now.depends_on_others() && (was_quiet || !now.is_well()) {
        Announce::IfItLasts
    } else {
        Announce::Now
    }
}

/// The event of these conditions.
pub(super) fn event(now: Readiness, conditions: &[Condition]) -> Event {
    let message = condition::find(conditions, ConditionType::Ready).map_or("", |ready| &*ready.message);
    Event {
        type_: if now.is_well() || now.waits_for_a_step() { EventType::Normal } else { EventType::Warning },
        reason: now.reason.as_str().to_owned(),
        note: Some(message.to_owned()),
        action: "Reconcile".to_owned(),
        secondary: None,
    }
}

/// Events that are counted as one.
#[derive(PartialEq, Eq, Hash)]
struct Series {
    uid: String,
    reason: String,
    is_warning: bool,
}

struct Counted {
    name: String,
    count: i32,
    at: Instant,
}

/// Writes events. kube's own recorder appends to the object's whole name, which exceeds the limit for a name of 237 characters:
/// such an object would have no events.
#[derive(Clone)]
pub(super) struct Publisher {
    client: Client,
    instance: String,
    told: Arc<Mutex<HashMap<Series, Counted>>>,
}

impl Publisher {
    /// A publisher; `instance` is named in its events.
    pub fn new(client: Client, instance: &str) -> Self {
        Self { client, instance: bounded(instance.into(), EVENT_WORD_MAX).into_owned(), told: Arc::default() }
    }

    /// Writes an event, or counts it when an equal one was written recently.
    ///
    /// # Errors
    /// What the API server answered, when it refuses the event.
    pub async fn publish(&self, event: &Event, regarding: &ObjectReference) -> Result<(), String> {
        let namespace = regarding.namespace.as_deref().unwrap_or("default");
        let api = Api::<EventObject>::namespaced(self.client.clone(), namespace);
        let is_warning = matches!(event.type_, EventType::Warning);
        let series = Series { uid: regarding.uid.clone().unwrap_or_default(), reason: event.reason.clone(), is_warning };
        let now = Timestamp::now();
        let again = {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            told.retain(|_, counted| counted.at.elapsed() < SERIES);
            told.get(&series).map(|counted| (counted.name.clone(), counted.count + 1))
        };
        if let Some((name, count)) = again {
            let patch = json!({"note": note(event), "series": {"count": count, "lastObservedTime": MicroTime(now)}});
            let (parameters, patch) = (PatchParams::default(), Patch::Merge(&patch));
            // If it was deleted, a new one is created.
            if bounded_by_time(api.patch(&name, &parameters, &patch)).await.is_ok() {
                self.note_told(series, name, count);
                return Ok(());
            }
        }
        let created = self.object(event, regarding, now);
        bounded_by_time(api.create(&PostParams::default(), &created)).await?;
        self.note_told(series, created.metadata.name.unwrap_or_default(), 1);
        Ok(())
    }

    fn note_told(&self, series: Series, name: String, count: i32) {
        let counted = Counted { name, count, at: Instant::now() };
        self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(series, counted);
    }

    fn object(&self, event: &Event, regarding: &ObjectReference, now: Timestamp) -> EventObject {
        let word = |text: &str| Some(bounded(text.into(), EVENT_WORD_MAX).into_owned());
        EventObject {
            action: word(&event.action),
            event_time: Some(MicroTime(now)),
            metadata: ObjectMeta {
                name: Some(event_name(regarding.name.as_deref().unwrap_or_default(), now)),
                namespace: regarding.namespace.clone(),
                ..ObjectMeta::default()
            },
            note: Some(note(event)),
            reason: word(&event.reason),
            regarding: Some(regarding.clone()),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            series: None::<EventSeries>,
            type_: Some(if matches!(event.type_, EventType::Warning) { "Warning" } else { "Normal" }.to_owned()),
            ..EventObject::default()
        }
    }
}

async fn bounded_by_time<T>(request: impl Future<Output = kube::Result<T>>) -> Result<(), String> {
    match tokio::time::timeout(REQUEST_TIMEOUT, request).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the API server does not answer".to_owned()),
    }
}

fn note(event: &Event) -> String {
    bounded(event.note.as_deref().unwrap_or_default().into(), NOTE_MAX).into_owned()
}

/// The name of an event: its object's, as far as there is room, and the time, as is usual.
fn event_name(object: &str, now: Timestamp) -> String {
    let time = format!("{:x}", now.as_nanosecond());
    let room = NAME_MAX.saturating_sub(time.len() + 1);
    // Names of objects are ASCII; a prefix must not end in punctuation.
    let prefix = object.get(..room.min(object.len())).unwrap_or_default().trim_end_matches(['.', '-']);
    format!("{prefix}.{time}")
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
            (None, &fresh, Announce::Never),
            (None, &active, Announce::Never),
            (Some(&fresh), &active, Announce::Never),
            (Some(&active), &active, Announce::Never),
            (None, &foreign, Announce::IfItLasts),
            (Some(&active), &foreign, Announce::IfItLasts),
            (Some(&foreign), &active, Announce::Now),
            (Some(&fresh), &refused, Announce::Now),
            (Some(&active), &refused, Announce::Now),
            (Some(&refused), &active, Announce::Now),
            (Some(&ready(True, Reason::Scheduled)), &ready(True, Reason::Sending), Announce::Now),
            (Some(&ready(True, Reason::Sending)), &ready(True, Reason::Completed), Announce::Now),
        ] {
            let of = |conditions: &Vec<Condition>| Readiness::of(conditions).expect("a Ready condition");
            assert_eq!(announce(before.map(of), of(now)), wanted, "{before:?} {now:?}");
        }
        assert_eq!(event(Readiness::of(&refused).expect("a condition"), &refused).type_, EventType::Warning);
    }

    #[test]
    fn every_text_of_an_event_is_bounded() {
        let now = Timestamp::from_second(1_800_000_000).expect("in range");
        for name in
            ["a".repeat(253), format!("{}.{}", "a".repeat(234), "b".repeat(18)), format!("{}-c", "a".repeat(251)), "short".to_owned()]
        {
            let named = event_name(&name, now);
            let (prefix, time) = named.rsplit_once('.').expect("two parts");
            assert!(named.len() <= NAME_MAX && name.starts_with(prefix) && !time.is_empty(), "{named}");
            assert!(prefix.ends_with(|last: char| last.is_ascii_alphanumeric()), "{named}");
        }
        assert!(event_name("short", now).starts_with("short."));
        let event = |note: &str| Event {
            type_: EventType::Normal,
            reason: String::new(),
            note: Some(note.to_owned()),
            action: String::new(),
            secondary: None,
        };
        assert!(note(&event(&"ä".repeat(2000))).len() <= NOTE_MAX);
        assert_eq!(note(&event("as it is")), "as it is");
    }
}
