//! Looks up what objects refer to: Secrets, ConfigMaps, files, generations, runs. The I/O before a decision.

use std::{collections::BTreeMap, hash::Hasher as _, sync::Arc, time::Duration};

use siphasher::sip::SipHasher13;

pub(crate) use content::Find;
pub use content::Work;
pub(crate) use prepare::Done;
use prepare::{Contents, withdrawn};
use queue::Rank;
pub(crate) use servers::build_server;
use servers::{Surroundings, secrets, without_rates};

use super::{EngineOptions, Handles, LOOK_AGAIN, statuses::Statuses};
use crate::{
    decide::{CampaignInput, Decision, InLedger, PlanInput, Problem, Recorded, ServerInput, World},
    dispatch::sender::recorded_counts,
    egress::Egress,
    ledger::{Generation, Ledger, LedgerError, RunKey, RunRecord, SpecHash},
    message::Template,
    providers::{Permissions, Provider as _, Secrets, Server, http::Clients, outbox::Outbox},
    resources::{
        Campaign, Key, Kind, Reason, SendingServer,
        fate::Fate,
        resume::{ANNOTATION, Handled},
        sending_server::SendingServerSpec,
    },
    source::{
        SETTLED_AFTER, Snapshot, Sourced,
        resume::{self, Requests},
    },
};

mod content;
mod prepare;
mod queue;
mod servers;
mod share;
#[cfg(test)]
mod tests;

/// The lookups, and what was found last.
pub struct Lookup {
    ledger: Ledger,
    options: EngineOptions,
    servers: Handles,
    /// What each handle was made from.
    made_from: BTreeMap<Key, (Arc<SendingServer>, Secrets, u64)>,
    contents: Contents,
    /// What an order has that is held and has no template.
    withdrawn: Arc<Template>,
    /// How long the last look waited for contents.
    waited: Duration,
    /// Generation and creation time as they were noted last.
    known: BTreeMap<(&'static str, Key), Generation>,
    failed: bool,
    /// Whether a file is being written that is read in a moment.
    is_waiting: bool,
    /// Why the ledger could not be asked at the last look.
    ledger_problem: Option<LedgerError>,
    http: Clients,
    requests: Requests,
    requests_changed_at: Option<std::time::SystemTime>,
}

/// A hash that is the same in every process.
pub fn hash(text: &str) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

impl Lookup {
    /// Nothing is looked up yet.
    pub fn new(ledger: Ledger, options: EngineOptions) -> Self {
        Self {
            ledger,
            options,
            servers: BTreeMap::new(),
            made_from: BTreeMap::new(),
            contents: Contents::new(),
            withdrawn: withdrawn(),
            waited: Duration::ZERO,
            known: BTreeMap::new(),
            failed: false,
            is_waiting: false,
            ledger_problem: None,
            http: Clients::default(),
            requests: Requests::new(),
            requests_changed_at: None,
        }
    }

    /// The handle of a server whose spec and secrets are good.
    pub fn server(&self, key: &Key) -> Option<Arc<dyn Server>> {
        self.servers.get(key).cloned()
    }

    /// What a campaign's messages are made of, when all of it is there.
    pub fn work(&self, key: &Key) -> Option<&Work> {
        self.contents.work(key)
    }

    /// The template of a work; where it is withdrawn for now, one that renders nothing, for an order that is held.
    pub fn template(&self, work: &Work) -> Arc<Template> {
        work.template.as_ref().unwrap_or(&self.withdrawn).clone()
    }

    /// The next content that was prepared beside the turns; [`Lookup::prepared`] follows.
    pub async fn next_prepared(&mut self) -> Option<Done> {
        self.contents.next().await
    }

    /// Takes it into the world; whether that changes anything.
    pub fn prepared(&mut self, done: Done, world: &mut World) -> bool {
        let Some(key) = self.contents.take(done) else { return false };
        self.renew(&key, world);
        true
    }

    /// Learns from a decision which campaigns send, since templates of others make room for theirs; whether that changes what can be sent.
    pub fn note(&mut self, decision: &Decision, world: &mut World) -> bool {
        let order = |key: &Key| decision.campaigns.get(key).and_then(|campaign| campaign.order.as_ref());
        let changed = self.contents.note(|key| order(key).is_some_and(|order| !order.hold));
        changed.iter().for_each(|key| self.renew(key, world));
        !changed.is_empty()
    }

    fn renew(&mut self, key: &Key, world: &mut World) {
        let Some(input) = world.campaigns.get_mut(key) else { return };
        input.work = self.contents.result(key);
        self.judge_work(&input.work);
    }

    /// How long the last look waited for contents, without doing anything.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Why the ledger could not be asked at the last look.
    pub fn ledger_problem(&self) -> Option<&LedgerError> {
        self.ledger_problem.as_ref()
    }

    /// How long after the last look it is worth another one without a change of any object: something was missing that may appear.
    pub fn looks_again_after(&self) -> Option<Duration> {
        if self.is_waiting { Some(SETTLED_AFTER) } else { (self.failed || !self.requests.is_empty()).then_some(LOOK_AGAIN) }
    }

    /// Closes idle connections, of all servers at once: a server may keep each goodbye waiting.
    pub async fn close(&self) {
        let mut closing = tokio::task::JoinSet::new();
        for server in self.servers.values() {
            let server = server.clone();
            closing.spawn(async move { server.close().await });
        }
        closing.join_all().await;
    }

    /// The world of a snapshot.
    pub async fn world(&mut self, snapshot: &Snapshot, statuses: &Statuses, now_ms: i64) -> World {
        (self.failed, self.is_waiting) = (false, false);
        self.ledger_problem = None;
        self.requests_changed_at = resume::changed_at(&self.options.state_dir);
        self.requests = resume::read(&self.options.state_dir);
        let mut world =
            World { namespaces: snapshot.namespaces.clone(), plan_namespace: self.options.plan_namespace.clone(), ..World::default() };
        let servers = self.observe(&snapshot.servers, now_ms).await;
        let plans = self.observe(&snapshot.plans, now_ms).await;
        let campaigns = self.observe(&snapshot.campaigns, now_ms).await;
        for (key, (object, sourced)) in servers {
            let built = self.build(&key, &object, snapshot);
            world.servers.insert(key, ServerInput { object, built, stale: sourced.stale.clone() });
        }
        for (key, (object, sourced)) in plans {
            world.plans.insert(key, PlanInput { object, stale: sourced.stale.clone() });
        }
        let runs = campaigns.iter().map(|(key, (object, _))| RunKey::new(&*key.namespace, &*key.name, object.spec.run())).collect();
        let runs = match self.ledger.find_runs(runs).await {
            Ok(runs) => runs.into_iter().map(Ok).collect(),
            Err(error) => {
                tracing::warn!(%error, "the ledger could not be asked for the runs of campaigns");
                self.failed = true;
                self.ledger_problem = Some(error);
                vec![Err(()); campaigns.len()]
            }
        };
        let lasting = self.ledger_problem.as_ref().filter(|problem| problem.needs_person()).map(|problem| problem.message.clone());
        let known: Vec<Option<Result<u64, Problem>>> = campaigns
            .iter()
            .zip(&runs)
            .map(|((key, (object, sourced)), run)| {
                let is_new = !matches!(run, Ok(Some(run)) if run.closed_at_ms.is_none());
                self.want(key, object, sourced, snapshot, is_new)
            })
            .collect();
        self.waited = self.contents.wait().await;
        for (((key, (object, sourced)), run), known) in campaigns.into_iter().zip(runs).zip(known) {
            let work = known.unwrap_or_else(|| self.contents.result(&key));
            self.judge_work(&work);
            let mut recorded = None;
            let resume_handled = run.as_ref().ok().and_then(|run| Some(run.as_ref()?.resume_handled.clone())).unwrap_or_default();
            let resume = self.resume_of(&key, &object, &resume_handled);
            let in_ledger = match run {
                Ok(None) => InLedger::Absent,
                Ok(Some(run)) if run.closed_at_ms.is_some() => {
                    recorded = self.recorded(&run).await;
                    InLedger::Closed
                }
                Ok(Some(_)) => InLedger::Begun,
                Err(()) => InLedger::Unasked,
            };
            let previous = statuses.campaign(&key).or_else(|| {
                sourced.previous_status.as_ref().and_then(|status| serde_json::from_value((**status).clone()).ok().map(Arc::new))
            });
            world.campaigns.insert(
                key,
                CampaignInput {
                    object,
                    work,
                    stale: sourced.stale.clone(),
                    in_ledger,
                    ledger_problem: lasting.clone(),
                    recorded,
                    previous,
                    resume,
                    resume_handled,
                    deleting: sourced.origin.is_deleting(),
                },
            );
        }
        self.forget(&world);
        world
    }

    /// What a person asks of a campaign: by the command line, or by the object's annotation.
    fn resume_of(&self, key: &Key, object: &Campaign, handled: &Handled) -> Option<String> {
        if let Some((value, path)) = self.requests.get(key) {
            if !handled.has(value) {
                return Some(value.clone());
            }
            resume::remove(path);
        }
        object.metadata.annotations.get(ANNOTATION).cloned()
    }

    /// Whether the command line has left a request since the last look.
    pub fn has_new_requests(&self) -> bool {
        resume::changed_at(&self.options.state_dir) != self.requests_changed_at
    }

    /// How a closed run ended.
    async fn recorded(&self, run: &RunRecord) -> Option<Recorded> {
        let counts = self.ledger.counts(run.id).await.ok()?;
        let accepted = counts.per_server.iter().filter_map(|server| {
            let (namespace, name) = server.server.split_once('/')?;
            Some((Key::new(namespace, name), server.fates[Fate::Accepted]))
        });
        Some(Recorded {
            accepted: accepted.collect(),
            counts: recorded_counts(run, &counts),
            started_ms: run.started_at_ms,
            closed_ms: run.closed_at_ms,
        })
    }

    fn forget(&mut self, world: &World) {
        let gone: Vec<Key> = self.servers.keys().filter(|key| !world.servers.contains_key(*key)).cloned().collect();
        for key in gone {
            if let Some(server) = self.servers.remove(&key) {
                close_beside(server);
            }
            self.made_from.remove(&key);
        }
        self.contents.retain(|key| world.campaigns.contains_key(key));
    }

    /// The objects with generation and creation time: those of files get them from the ledger, since files have neither.
    async fn observe<'a, K: Kind + HasSpec>(
        &mut self,
        objects: &'a BTreeMap<Key, Sourced<K>>,
        now_ms: i64,
    ) -> BTreeMap<Key, (Arc<K>, &'a Sourced<K>)> {
        if objects.values().all(|sourced| sourced.origin.file().is_none()) {
            return objects.iter().map(|(key, sourced)| (key.clone(), (sourced.object.clone(), sourced))).collect();
        }
        let observed = objects.iter().map(|(key, sourced)| SpecHash {
            kind: K::KIND.to_owned(),
            key: key.clone(),
            spec_hash: hash(&sourced.object.spec_json()),
        });
        let known = match self.ledger.record_generations(observed.collect(), now_ms).await {
            Ok(known) => known,
            Err(error) => {
                tracing::error!(%error, "generations could not be noted in the ledger");
                self.failed = true;
                self.ledger_problem = Some(error);
                // What was handled last, and not a generation that never was: Stopped holds for one.
                let of_status = |sourced: &Sourced<K>| sourced.previous_status.as_ref()?.get("observedGeneration")?.as_i64();
                let known = |(key, sourced)| {
                    let last = || Generation { number: of_status(sourced).unwrap_or(1), created_at_ms: now_ms };
                    self.known.get(&(K::KIND, Key::clone(key))).copied().unwrap_or_else(last)
                };
                objects.iter().map(known).collect()
            }
        };
        self.known.retain(|(kind, key), _| *kind != K::KIND || objects.contains_key(key));
        self.known.extend(objects.keys().zip(&known).map(|(key, known)| ((K::KIND, key.clone()), *known)));
        objects
            .iter()
            .zip(known)
            .map(|((key, sourced), Generation { number, created_at_ms })| {
                let mut object = (*sourced.object).clone();
                let metadata = object.metadata_mut();
                metadata.generation = Some(number);
                metadata.creation_timestamp = jiff::Timestamp::from_millisecond(created_at_ms - created_at_ms.rem_euclid(1000)).ok();
                (key.clone(), (Arc::new(object), sourced))
            })
            .collect()
    }

    fn build(&mut self, key: &Key, object: &Arc<SendingServer>, snapshot: &Snapshot) -> Result<u64, Problem> {
        let made = self.make(key, object, snapshot);
        let old = match made {
            Ok((fingerprint, None)) => return Ok(fingerprint),
            Ok((_, Some(ref server))) => self.servers.insert(key.clone(), server.clone()),
            Err(_) => {
                self.made_from.remove(key);
                self.servers.remove(key)
            }
        };
        if let Some(server) = old {
            close_beside(server);
        }
        made.map(|(fingerprint, _)| fingerprint)
    }

    /// A new handle when spec or secrets changed, and the fingerprint of what a probe says something of. An edit of limits changes
    /// neither: the server goes on with its connections, and is not probed anew.
    fn make(&mut self, key: &Key, object: &Arc<SendingServer>, snapshot: &Snapshot) -> Result<(u64, Option<Arc<dyn Server>>), Problem> {
        let secrets = if self.options.dry_run { Secrets::new() } else { secrets(key, object, &snapshot.secrets)? };
        if let Some((known, old_secrets, fingerprint)) = self.made_from.get_mut(key)
            && (Arc::ptr_eq(known, object) || known.spec == object.spec || without_rates(&known.spec) == without_rates(&object.spec))
            && *old_secrets == secrets
        {
            known.clone_from(object);
            return Ok((*fingerprint, None));
        }
        let mut hasher = SipHasher13::new();
        let probed = SendingServerSpec { limits: None, ..without_rates(&object.spec) };
        hasher.write(serde_json::to_string(&probed).unwrap_or_default().as_bytes());
        for (reference, value) in &secrets {
            hasher.write(reference.key.as_bytes());
            hasher.write(value.expose());
        }
        let fingerprint = hasher.finish();
        // With one namespace for plans, servers in any other are customers'.
        let is_operators = self.options.plan_namespace.as_ref().is_none_or(|namespace| **namespace == *key.namespace);
        let surroundings = Surroundings {
            state_dir: &self.options.state_dir,
            egress: if is_operators { Egress::Everywhere } else { self.options.egress },
            permissions: if is_operators {
                Permissions { ambient_credentials: true, sendmail: self.options.allow_sendmail.clone() }
            } else {
                Permissions::default()
            },
            http: self.http.clone(),
        };
        let context = surroundings.context(key, object, secrets.clone());
        let server = if self.options.dry_run { Ok(Outbox::for_dry_run(&context)) } else { object.spec.provider.build(context) };
        let server = server.map_err(|failure| Problem::new(failure.reason, failure.message))?;
        self.made_from.insert(key.clone(), (object.clone(), secrets, fingerprint));
        Ok((fingerprint, Some(server)))
    }

    /// Sees to it that a campaign's content is prepared; what is known of it at once.
    fn want(
        &mut self,
        key: &Key,
        object: &Campaign,
        sourced: &Sourced<Campaign>,
        snapshot: &Snapshot,
        is_new: bool,
    ) -> Option<Result<u64, Problem>> {
        let find = Find {
            key: key.clone(),
            origin: sourced.origin.clone(),
            config_maps: snapshot.config_maps.clone(),
            egress: self.options.egress,
        };
        if let Some(problem) = find.being_written(&object.spec) {
            self.is_waiting = true;
            // What was read whole before holds until then.
            let is_of_now = self.contents.work(key).is_some_and(|work| work.generation == object.generation());
            return Some(if is_of_now { self.contents.result(key) } else { Err(problem) });
        }
        match find.stamp(&sourced.object, object.generation()) {
            Ok(stamp) => {
                let created_ms = object.metadata.creation_timestamp.map_or(0, jiff::Timestamp::as_millisecond);
                self.contents.want(find, stamp, Rank { is_new, created_ms, name: key.name.clone() });
                None
            }
            Err(problem) => {
                self.contents.forget(key);
                Some(Err(problem))
            }
        }
    }

    /// What cannot be sent now may be mended without a change of any object.
    fn judge_work(&mut self, work: &Result<u64, Problem>) {
        match work {
            Err(problem) if !problem.is_passing => self.failed = true,
            Err(problem) if problem.reason == Reason::FileNotFound => self.is_waiting = true,
            _ => {}
        }
    }
}

/// Closes a handle that is used no more, beside the look: a server may keep each goodbye waiting.
fn close_beside(server: Arc<dyn Server>) {
    tokio::spawn(async move { server.close().await });
}

/// Objects whose spec can be hashed.
pub(crate) trait HasSpec {
    /// The spec as JSON, the same for the same parsed spec.
    fn spec_json(&self) -> String;
}

impl<S: serde::Serialize, T> HasSpec for crate::resources::Object<S, T> {
    fn spec_json(&self) -> String {
        serde_json::to_string(&self.spec).unwrap_or_default()
    }
}
