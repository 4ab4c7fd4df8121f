//! What changes of objects is recorded, beside the turns: for people who ask later what happened, and when. Nothing is decided by it.
//!
//! What the engine shows is compared with what was recorded last, so whatever comes and goes within a moment is left out, and no more is
//! written than the ledger takes in passing.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::de::{DeserializeOwned, IntoDeserializer, value::Error};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Objects, View};
use crate::{
    clock::SteadyClock,
    compare::{
        FieldChange, Identity, ObjectKind,
        objects::{Documents, compare},
    },
    decide::Decision,
    ledger::{Ledger, LedgerPlace, LedgerReader, Transition},
    resources::{
        Campaign, Condition, ConditionStatus, ConditionType, Key, Kind as _, Object, Plan, Reason, SendingServer, campaign::CampaignState,
        sending_server::ServerState,
    },
    source::is_secret,
};

/// The shortest time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Transitions that are written at a time; the rest follows at the next look.
const BATCH_MAX: usize = 256;
/// Fields of a changed spec that are listed.
const FIELDS_MAX: usize = 40;
/// The characters of a value of a changed field.
const VALUE_MAX: usize = 120;
/// A part of the world that is told by others: kstatus reads them, and `Ready` says the same.
const MIRRORS: [ConditionType; 2] = [ConditionType::Reconciling, ConditionType::Stalled];

/// An object: its kind and its name.
type Id = (&'static str, Key);

/// Records what changes until the engine has ended, and then what changed last.
pub(crate) async fn record_history(ledger: Ledger, location: LedgerPlace, mut view: watch::Receiver<View>) {
    let read = tokio::task::spawn_blocking(move || LedgerReader::open(location).and_then(|reader| reader.newest_of_all())).await;
    let mut recorded = match read {
        Ok(Ok(rows)) => Recorded::of(rows),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the history of objects cannot be read, and is not recorded");
            return;
        }
        Err(_) => return,
    };
    loop {
        let has_ended = view.changed().await.is_err();
        let seen = view.borrow_and_update().clone();
        if seen.turned_at.is_some() {
            loop {
                // Long texts take their time to compare, and nobody who sends waits for that.
                let (decision, objects) = (seen.decision.clone(), seen.objects.clone());
                let looked = tokio::task::spawn_blocking(move || {
                    let changes = recorded.changes(&decision, &objects, SteadyClock::of_process().now_ms());
                    (recorded, changes)
                });
                let Ok((back, (transitions, is_all))) = looked.await else { return };
                recorded = back;
                // What cannot be written now is found again at the next look.
                if transitions.is_empty() || ledger.note_transitions(transitions.clone()).await.is_err() {
                    break;
                }
                recorded.note(transitions, &seen.objects);
                if is_all {
                    break;
                }
                if !has_ended {
                    rest(&mut view).await;
                }
            }
        }
        if has_ended {
            return;
        }
        rest(&mut view).await;
    }
}

/// Waits between two looks; no longer once the engine has ended, since the process ends with what is recorded then.
async fn rest(view: &mut watch::Receiver<View>) {
    let mut has_changed = false;
    let until_ended = async {
        while view.changed().await.is_ok() {
            has_changed = true;
        }
    };
    let _ = tokio::time::timeout(LOOK_EVERY, until_ended).await;
    if has_changed {
        view.mark_changed();
    }
}

/// What was recorded of a condition last.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    status: ConditionStatus,
    reason: String,
    state: String,
}

/// What was recorded of an object last.
#[derive(Default)]
struct Known {
    generation: i64,
    conditions: BTreeMap<ConditionType, Seen>,
    /// Its spec of that generation, if this process saw it.
    spec: Option<Spec>,
    /// Nothing of it was looked at yet by this process.
    is_of_before: bool,
}

/// What was recorded of all objects last.
#[derive(Default)]
struct Recorded(BTreeMap<Id, Known>);

/// The spec of an object, shared with the source.
#[derive(Clone)]
enum Spec {
    Server(Arc<SendingServer>),
    Plan(Arc<Plan>),
    Campaign(Arc<Campaign>),
}

impl Spec {
    fn of((kind, key): &Id, objects: &Objects) -> Option<Self> {
        match *kind {
            SendingServer::KIND => objects.servers.get(key).map(|found| Self::Server(found.object.clone())),
            Plan::KIND => objects.plans.get(key).map(|found| Self::Plan(found.object.clone())),
            _ => objects.campaigns.get(key).map(|found| Self::Campaign(found.object.clone())),
        }
    }

    fn document(&self) -> Value {
        fn spec<S: serde::Serialize, T>(object: &Object<S, T>) -> Value {
            json!({"spec": object.spec})
        }
        match self {
            Self::Server(object) => spec(object),
            Self::Plan(object) => spec(object),
            Self::Campaign(object) => spec(object),
        }
    }
}

/// What of an object is compared.
struct Now<'a> {
    generation: i64,
    state: &'static str,
    conditions: &'a [Condition],
}

impl Recorded {
    /// What earlier processes recorded; rows in their order.
    fn of(rows: Vec<Transition>) -> Self {
        let mut recorded = Self::default();
        for row in rows {
            let Some(kind) = [SendingServer::KIND, Plan::KIND, Campaign::KIND].into_iter().find(|kind| *kind == row.kind) else { continue };
            let id = (kind, row.key.clone());
            match (&*row.what, &*row.status) {
                ("Object", "Removed") => {
                    recorded.0.remove(&id);
                }
                ("Object", _) => {
                    let known = Known { generation: row.generation, is_of_before: true, ..Known::default() };
                    recorded.0.insert(id, known);
                }
                _ => {
                    let known = recorded.0.entry(id).or_default();
                    known.is_of_before = true;
                    known.generation = known.generation.max(row.generation);
                    if let (Some(what), Some(seen)) = (word(&row.what), seen(&row)) {
                        known.conditions.insert(what, seen);
                    }
                }
            }
        }
        recorded
    }

    /// What differs from what is recorded, and whether that is all of it.
    fn changes(&mut self, decision: &Decision, objects: &Objects, now_ms: i64) -> (Vec<Transition>, bool) {
        let mut found = Vec::new();
        let servers = decision.servers.iter().map(|(key, server)| {
            let status = &server.status;
            ((SendingServer::KIND, key), of_server(status.state), status.observed_generation, &*status.conditions)
        });
        let plans = decision.plans.iter().map(|(key, status)| ((Plan::KIND, key), "", status.observed_generation, &*status.conditions));
        let campaigns = decision.campaigns.iter().map(|(key, campaign)| {
            let status = &campaign.status;
            ((Campaign::KIND, key), of_campaign(status.state), status.observed_generation, &*status.conditions)
        });
        for ((kind, key), state, generation, conditions) in servers.chain(plans).chain(campaigns) {
            self.of_object(&(kind, key.clone()), &Now { generation, state, conditions }, objects, now_ms, &mut found);
            if found.len() >= BATCH_MAX {
                return (found, false);
            }
        }
        let is_there = |(kind, key): &Id| match *kind {
            SendingServer::KIND => decision.servers.contains_key(key),
            Plan::KIND => decision.plans.contains_key(key),
            _ => decision.campaigns.contains_key(key),
        };
        let gone = self.0.iter().filter(|(id, _)| !is_there(id)).take(BATCH_MAX - found.len());
        found.extend(gone.map(|(id, known)| transition(id, "Object", "Removed", known.generation, now_ms)));
        let is_all = found.len() < BATCH_MAX;
        (found, is_all)
    }

    fn of_object(&mut self, id: &Id, now: &Now<'_>, objects: &Objects, now_ms: i64, found: &mut Vec<Transition>) {
        let ready = now.conditions.iter().find(|condition| condition.kind == ConditionType::Ready);
        let Some(known) = self.0.get_mut(id) else {
            let (reason, message) = ready.map_or_else(Default::default, |ready| (ready.reason.as_str(), &*ready.message));
            let (state, reason, message) = (now.state.to_owned(), reason.to_owned(), message.to_owned());
            found.push(Transition { state, reason, message, ..transition(id, "Object", "Added", now.generation, now_ms) });
            found.extend(now.conditions.iter().filter(|one| !MIRRORS.contains(&one.kind)).map(|one| of_condition(id, one, now, now_ms)));
            return;
        };
        if known.generation != now.generation {
            let message = match (&known.spec, Spec::of(id, objects)) {
                (Some(old), Some(new)) => changed_fields(id, old, &new),
                _ => "Changed while this process did not run: git has the change.".to_owned(),
            };
            let state = now.state.to_owned();
            found.push(Transition { state, message, ..transition(id, "Spec", "Changed", now.generation, now_ms) });
        }
        for condition in now.conditions.iter().filter(|one| !MIRRORS.contains(&one.kind)) {
            let state = if condition.kind == ConditionType::Ready { now.state } else { "" };
            match known.conditions.get(&condition.kind) {
                Some(seen)
                    if seen.status == condition.status
                        && seen.reason == condition.reason.as_str()
                        && (state.is_empty() || seen.state == state) => {}
                // Rows of long ago may be gone: that is no change.
                None if known.is_of_before => {
                    let seen = Seen { status: condition.status, reason: condition.reason.as_str().to_owned(), state: now.state.to_owned() };
                    known.conditions.insert(condition.kind, seen);
                }
                _ => found.push(of_condition(id, condition, now, now_ms)),
            }
        }
        let is_there = |kind: &ConditionType| now.conditions.iter().any(|condition| condition.kind == *kind);
        let over = known.conditions.iter().filter(|(kind, seen)| !is_there(kind) && !seen.reason.is_empty());
        found.extend(over.map(|(kind, _)| {
            let state = now.state.to_owned();
            Transition { state, ..transition(id, &format!("{kind:?}"), "Unknown", now.generation, now_ms) }
        }));
        known.is_of_before = false;
        if known.generation == now.generation && known.spec.is_none() {
            known.spec = Spec::of(id, objects);
        }
    }

    /// Takes over what is recorded now.
    fn note(&mut self, transitions: Vec<Transition>, objects: &Objects) {
        for row in transitions {
            let Some(kind) = [SendingServer::KIND, Plan::KIND, Campaign::KIND].into_iter().find(|kind| *kind == row.kind) else { continue };
            let id = (kind, row.key.clone());
            if (&*row.what, &*row.status) == ("Object", "Removed") {
                self.0.remove(&id);
                continue;
            }
            let known = self.0.entry(id.clone()).or_default();
            if known.generation != row.generation {
                (known.generation, known.spec) = (row.generation, Spec::of(&id, objects));
            }
            if let (Some(what), Some(seen)) = (word(&row.what), seen(&row)) {
                known.conditions.insert(what, seen);
            }
        }
    }
}

fn transition((kind, key): &Id, what: &str, status: &str, generation: i64, now_ms: i64) -> Transition {
    Transition {
        at_ms: now_ms,
        kind: (*kind).to_owned(),
        key: key.clone(),
        generation,
        what: what.to_owned(),
        status: status.to_owned(),
        state: String::new(),
        reason: String::new(),
        message: String::new(),
    }
}

fn of_condition(id: &Id, condition: &Condition, now: &Now<'_>, now_ms: i64) -> Transition {
    let Condition { kind, status, reason, message, .. } = condition;
    let transition = transition(id, &format!("{kind:?}"), &format!("{status:?}"), now.generation, now_ms);
    Transition { state: now.state.to_owned(), reason: reason.as_str().to_owned(), message: message.to_string(), ..transition }
}

/// What a row says of a condition.
fn seen(row: &Transition) -> Option<Seen> {
    let is_known = row.reason.is_empty() || Reason::from_name(&row.reason).is_some();
    Some(Seen { status: word(&row.status).filter(|_| is_known)?, reason: row.reason.clone(), state: row.state.clone() })
}

/// A value by the word that documents write for it.
fn word<T: DeserializeOwned>(text: &str) -> Option<T> {
    T::deserialize(IntoDeserializer::<Error>::into_deserializer(text)).ok()
}

/// The fields that differ, one a line.
fn changed_fields((kind, key): &Id, old: &Spec, new: &Spec) -> String {
    let identity = Identity { kind: ObjectKind::of_ours(kind), key: key.clone() };
    let side = |spec: &Spec| Documents::from([(identity.clone(), spec.document())]);
    let changes = compare(&side(old), &side(new), is_secret);
    let fields: Vec<&FieldChange> = changes.iter().flat_map(|change| &change.fields).collect();
    let mut lines: Vec<String> = fields.iter().take(FIELDS_MAX).map(|field| in_words(field)).collect();
    if fields.len() > FIELDS_MAX {
        lines.push(format!("and {} more fields", fields.len() - FIELDS_MAX));
    }
    lines.join("\n")
}

/// `spec.limits.rates[1h].messages: 100 → 200`
fn in_words(field: &FieldChange) -> String {
    let shown = |value: &Value| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let cut = crate::meta::bound::shortened(&text, VALUE_MAX);
        if cut.len() < text.len() { format!("{cut}…") } else { text }
    };
    let FieldChange { field: name, old, new, summary, .. } = field;
    match (summary, old, new) {
        (Some(summary), ..) => format!("{name}: {summary}"),
        (None, Some(old), Some(new)) => format!("{name}: {} → {}", shown(old), shown(new)),
        (None, None, Some(new)) => format!("{name}: added: {}", shown(new)),
        (None, Some(old), None) => format!("{name}: removed: {}", shown(old)),
        (None, None, None) => name.clone(),
    }
}

const fn of_server(state: ServerState) -> &'static str {
    match state {
        ServerState::Active => "Active",
        ServerState::Inactive => "Inactive",
    }
}

const fn of_campaign(state: CampaignState) -> &'static str {
    match state {
        CampaignState::Scheduled => "Scheduled",
        CampaignState::Sending => "Sending",
        CampaignState::Waiting => "Waiting",
        CampaignState::Suspended => "Suspended",
        CampaignState::Stopped => "Stopped",
        CampaignState::Completed => "Completed",
    }
}

#[cfg(test)]
mod tests {
    use std::{
        path::Path,
        sync::atomic::{AtomicU64, Ordering},
    };

    use super::*;
    use crate::{
        decide::{Observations, ServerInput, World, decide},
        resources::Reason,
        source::{Files, Options, Snapshot},
    };

    /// So that each test has folders of its own.
    static NUMBER: AtomicU64 = AtomicU64::new(0);

    const SERVER: &str = "apiVersion: mailfleet.dev/v1alpha1\nkind: SendingServer\nmetadata: {name: relay}\nspec: {provider: {smtp: {host: mail.example.com, port: PORT}}}\n";

    /// A server with this port, as the source reads it and as it is decided.
    fn decided(port: u16, generation: i64) -> (Decision, Objects) {
        let folder =
            std::env::temp_dir().join(format!("mailfleet-history-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)));
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("relay.yaml"), SERVER.replace("PORT", &port.to_string())).expect("a file");
        let snapshot = Files::load_once(&[Path::new(&folder).to_owned()], &Options::default());
        std::fs::remove_dir_all(&folder).expect("it was there");
        let mut world = World::default();
        for (key, sourced) in snapshot.servers.iter() {
            world.servers.insert(key.clone(), ServerInput::new(sourced.object.clone(), Ok(1)));
        }
        let mut decision = decide(&world, &Observations::default(), 0);
        for server in decision.servers.values_mut() {
            server.status.observed_generation = generation;
        }
        let Snapshot { servers, plans, campaigns, .. } = snapshot;
        (decision, Objects { servers, plans, campaigns })
    }

    /// What is recorded by one look: what, and what it is now.
    fn look(recorded: &mut Recorded, (decision, objects): &(Decision, Objects)) -> Vec<(String, String)> {
        let (transitions, is_all) = recorded.changes(decision, objects, 1000);
        assert!(is_all);
        recorded.note(transitions.clone(), objects);
        let (again, _) = recorded.changes(decision, objects, 2000);
        assert_eq!(again, [], "what is recorded is not recorded again");
        transitions.into_iter().map(|row| (row.what, row.status)).collect()
    }

    fn pair(what: &str, status: &str) -> (String, String) {
        (what.to_owned(), status.to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_rest_ends_with_the_engine_and_misses_nothing() {
        let (engine, mut view) = watch::channel(View::default());
        let begin = tokio::time::Instant::now();
        rest(&mut view).await;
        assert_eq!((begin.elapsed(), view.has_changed().expect("open")), (LOOK_EVERY, false));
        engine.send_modify(|_| {});
        rest(&mut view).await;
        assert!(view.has_changed().expect("open"), "what came meanwhile is looked at");
        let begin = tokio::time::Instant::now();
        drop(engine);
        rest(&mut view).await;
        assert_eq!(begin.elapsed(), std::time::Duration::ZERO);
    }

    #[test]
    fn what_changes_is_recorded_once_and_a_restart_changes_nothing() {
        let mut recorded = Recorded::default();
        let first = decided(25, 1);
        let (rows, _) = recorded.changes(&first.0, &first.1, 1000);
        let added = look(&mut recorded, &first);
        assert_eq!(added[0], pair("Object", "Added"));
        assert!(added.contains(&pair("Ready", "Unknown")) || added.contains(&pair("Ready", "False")), "{added:?}");
        assert!(!added.iter().any(|(what, _)| what == "Reconciling"), "{added:?}");

        let mut failed = decided(25, 1);
        for server in failed.0.servers.values_mut() {
            let message = "nobody answers";
            server.status.conditions.retain(|condition| condition.kind != ConditionType::Ready);
            server.status.conditions.push(Condition::new(ConditionType::Ready, ConditionStatus::False, Reason::TimedOut, message));
        }
        assert_eq!(look(&mut recorded, &failed), [pair("Ready", "False")]);
        // Another process reads what this one wrote.
        let mut later = Recorded::of(rows);
        assert_eq!(look(&mut later, &first), []);
        assert_eq!(look(&mut later, &failed), [pair("Ready", "False")]);
    }

    #[test]
    fn a_change_of_a_spec_says_which_fields() {
        let mut recorded = Recorded::default();
        look(&mut recorded, &decided(25, 1));
        let changed = decided(2525, 2);
        let (rows, _) = recorded.changes(&changed.0, &changed.1, 1000);
        assert_eq!((&*rows[0].what, rows[0].generation), ("Spec", 2));
        assert_eq!(rows[0].message, "spec.provider.smtp.port: 25 → 2525");
        look(&mut recorded, &changed);
        let (gone, _) = recorded.changes(&Decision::default(), &Objects::default(), 3000);
        assert_eq!((&*gone[0].what, &*gone[0].status), ("Object", "Removed"));
        recorded.note(gone, &Objects::default());
        assert!(recorded.0.is_empty());
    }
}
