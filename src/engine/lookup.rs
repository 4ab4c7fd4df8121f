//! Looks up what objects refer to: Secrets, ConfigMaps, files, generations, runs. The I/O before a decision.

use std::{
    collections::BTreeMap,
    hash::Hasher as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use siphasher::sip::SipHasher13;

use super::{EngineOptions, Handles, LOOK_AGAIN, statuses::Statuses};
use crate::{
    audience::{Address, AudienceError, Input, Location, NamedFile},
    decide::{CampaignInput, InLedger, PlanInput, Problem, Recorded, ServerInput, World},
    dispatch::sender::recorded_counts,
    egress::Egress,
    ledger::{Ledger, LedgerError, ObservedObject, RunKey, RunRecord},
    message::{Content, Fault, Template},
    providers::{Context, Permissions, Provider as _, Secrets, Server, http::Clients, outbox::Outbox},
    resources::{
        Campaign, CampaignSpec, Key, Kind, Reason, SendingServer,
        campaign::{AudienceSource, BodySource, EffectiveRetry, WhenOutcomeIsUnknown},
        fate::Fate,
        resume::{ANNOTATION, Handled},
        sending_server::SendingServerSpec,
    },
    source::{
        Origin, Purpose, SETTLED_AFTER, SecretStore, Snapshot, Sourced, read_bounded, resolve_path,
        resume::{self, Requests},
        settles_in, written_at,
    },
};

#[cfg(test)]
mod tests;

/// The longest body template, bytes.
const BODY_MAX: u64 = 1 << 20;

/// What the messages of a campaign are made of.
#[derive(Clone)]
pub struct Work {
    /// The run's name.
    pub run: String,
    /// Changes when anything here does.
    pub fingerprint: u64,
    /// To whom.
    pub input: Input,
    /// What.
    pub template: Arc<Template>,
    /// The From address.
    pub from_address: Arc<str>,
    /// Further tries.
    pub retry: EffectiveRetry,
    /// See the spec.
    pub when_outcome_is_unknown: WhenOutcomeIsUnknown,
    /// See the spec.
    pub max_render_errors: u64,
}

/// The lookups, and what was found last.
pub struct Lookup {
    ledger: Ledger,
    options: EngineOptions,
    servers: Handles,
    /// What each handle was made from.
    made_from: BTreeMap<Key, (Arc<SendingServer>, Secrets, u64)>,
    works: BTreeMap<Key, Work>,
    /// What content cannot be sent, by its fingerprint: it is not compiled again until it changes.
    unsendable: BTreeMap<Key, (u64, Problem)>,
    /// Generation and creation time as they were noted last.
    known: BTreeMap<(&'static str, Key), (i64, i64)>,
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
            works: BTreeMap::new(),
            unsendable: BTreeMap::new(),
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
        self.works.get(key)
    }

    /// Why the ledger could not be asked at the last look.
    pub fn ledger_problem(&self) -> Option<&LedgerError> {
        self.ledger_problem.as_ref()
    }

    /// How long after the last look it is worth another one without a change of any object: something was missing that may appear.
    pub fn looks_again_after(&self) -> Option<Duration> {
        if self.is_waiting { Some(SETTLED_AFTER) } else { (self.failed || !self.requests.is_empty()).then_some(LOOK_AGAIN) }
    }

    /// Closes idle connections.
    pub async fn close(&self) {
        for server in self.servers.values() {
            server.close().await;
        }
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
            let built = self.build(&key, &object, snapshot).await;
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
        for ((key, (object, sourced)), run) in campaigns.into_iter().zip(runs) {
            let work = self.work_of(&key, &object, sourced, snapshot).await;
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
            let previous = statuses
                .campaign(&key)
                .or_else(|| sourced.previous_status.as_ref().and_then(|status| serde_json::from_value((**status).clone()).ok()));
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
        self.forget(&world).await;
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

    async fn forget(&mut self, world: &World) {
        let gone: Vec<Key> = self.servers.keys().filter(|key| !world.servers.contains_key(*key)).cloned().collect();
        for key in gone {
            if let Some(server) = self.servers.remove(&key) {
                server.close().await;
            }
            self.made_from.remove(&key);
        }
        self.works.retain(|key, _| world.campaigns.contains_key(key));
        self.unsendable.retain(|key, _| world.campaigns.contains_key(key));
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
        let observed = objects.iter().map(|(key, sourced)| ObservedObject {
            kind: K::KIND.to_owned(),
            key: key.clone(),
            spec_hash: hash(&sourced.object.spec_json()),
        });
        let known = match self.ledger.observe_objects(observed.collect(), now_ms).await {
            Ok(known) => known,
            Err(error) => {
                tracing::error!(%error, "generations could not be noted in the ledger");
                self.failed = true;
                self.ledger_problem = Some(error);
                // What was handled last, and not a generation that never was: Stopped holds for one.
                let of_status = |sourced: &Sourced<K>| sourced.previous_status.as_ref()?.get("observedGeneration")?.as_i64();
                let known = |(key, sourced)| {
                    self.known.get(&(K::KIND, Key::clone(key))).copied().unwrap_or_else(|| (of_status(sourced).unwrap_or(1), now_ms))
                };
                objects.iter().map(known).collect()
            }
        };
        self.known.retain(|(kind, key), _| *kind != K::KIND || objects.contains_key(key));
        self.known.extend(objects.keys().zip(&known).map(|(key, known)| ((K::KIND, key.clone()), *known)));
        objects
            .iter()
            .zip(known)
            .map(|((key, sourced), (generation, created_ms))| {
                let mut object = (*sourced.object).clone();
                let metadata = object.metadata_mut();
                metadata.generation = Some(generation);
                metadata.creation_timestamp = jiff::Timestamp::from_millisecond(created_ms - created_ms.rem_euclid(1000)).ok();
                (key.clone(), (Arc::new(object), sourced))
            })
            .collect()
    }

    async fn build(&mut self, key: &Key, object: &Arc<SendingServer>, snapshot: &Snapshot) -> Result<u64, Problem> {
        let made = self.make(key, object, snapshot);
        let old = match made {
            Ok((fingerprint, None)) => return Ok(fingerprint),
            Ok((_, Some(ref server))) => self.servers.insert(key.clone(), server.clone()),
            Err(_) => {
                self.made_from.remove(key);
                self.servers.remove(key)
            }
        };
        if let Some(old) = old {
            old.close().await;
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

    async fn work_of(&mut self, key: &Key, object: &Campaign, sourced: &Sourced<Campaign>, snapshot: &Snapshot) -> Result<u64, Problem> {
        let found = Find { key, origin: &sourced.origin, snapshot, egress: self.options.egress };
        if let Some(problem) = found.being_written(&object.spec) {
            self.is_waiting = true;
            // What was read whole before holds until then.
            return self.works.get(key).map(|work| work.fingerprint).ok_or(problem);
        }
        match found.work(&object.spec, object.generation(), self.works.get(key), &mut self.unsendable).await {
            Ok(work) => {
                let fingerprint = work.fingerprint;
                self.works.insert(key.clone(), work);
                Ok(fingerprint)
            }
            Err(problem) => {
                self.failed = true;
                self.works.remove(key);
                Err(problem)
            }
        }
    }
}

/// What a handle is made of: a server's spec without what only the dispatcher looks at.
fn without_rates(spec: &SendingServerSpec) -> SendingServerSpec {
    let mut spec = SendingServerSpec { warmup: None, ..spec.clone() };
    if let Some(limits) = &mut spec.limits {
        (limits.rates, limits.in_flight) = (Vec::new(), None);
    }
    spec
}

/// A server from its spec and its secrets.
///
/// # Errors
/// When a secret is missing or cannot be used.
pub(crate) fn build_server(
    key: &Key,
    object: &SendingServer,
    store: &SecretStore,
    state_dir: &Path,
    permissions: Permissions,
) -> Result<Arc<dyn Server>, Problem> {
    let secrets = secrets(key, object, store)?;
    let surroundings = Surroundings { state_dir, egress: Egress::Everywhere, permissions, http: Clients::default() };
    object.spec.provider.build(surroundings.context(key, object, secrets)).map_err(|failure| Problem::new(failure.reason, failure.message))
}

fn secrets(key: &Key, object: &SendingServer, store: &SecretStore) -> Result<Secrets, Problem> {
    let mut secrets = Secrets::new();
    for needed in object.spec.provider.secrets() {
        match store.get(&key.namespace, &needed.key.name, &needed.key.key) {
            Ok(value) => {
                secrets.insert(needed.key, value);
            }
            Err(_) if needed.optional => {}
            Err(missing) => {
                let reason = if missing.secret_exists { Reason::SecretKeyNotFound } else { Reason::SecretNotFound };
                return Err(Problem::new(reason, format!("{}: {missing}.", needed.path)));
            }
        }
    }
    Ok(secrets)
}

/// What a server gets from where it runs.
struct Surroundings<'a> {
    state_dir: &'a Path,
    egress: Egress,
    permissions: Permissions,
    http: Clients,
}

impl Surroundings<'_> {
    fn context(self, key: &Key, object: &SendingServer, secrets: Secrets) -> Context {
        let limits = object.spec.limits();
        Context {
            name: key.to_string(),
            secrets,
            connections: limits.connections_max(),
            messages_per_connection: limits.messages_per_connection(),
            // Below the timeout of the whole probe, so that the step that hangs is named.
            connect_timeout: object.spec.probe().timeout.std().mul_f64(0.8),
            state_dir: self.state_dir.to_owned(),
            egress: self.egress,
            permissions: self.permissions,
            http: self.http,
        }
    }
}

/// The lookups of one campaign.
pub(crate) struct Find<'a> {
    /// The campaign.
    pub key: &'a Key,
    /// Where it stands.
    pub origin: &'a Origin,
    /// Where Secrets and ConfigMaps are.
    pub snapshot: &'a Snapshot,
    /// Where an audience may be fetched from.
    pub egress: Egress,
}

impl Find<'_> {
    /// The content with the bodies that lie elsewhere.
    pub fn content(&self, spec: &CampaignSpec) -> Result<Content, Problem> {
        Ok(Content {
            from: spec.from.clone(),
            reply_to: spec.reply_to.clone(),
            subject: spec.subject.clone(),
            html: self.body("spec.content.htmlFrom", spec.content.html.as_ref(), spec.content.html_from.as_ref())?,
            text: self.body("spec.content.textFrom", spec.content.text.as_ref(), spec.content.text_from.as_ref())?,
            mjml: self.body("spec.content.mjmlFrom", spec.content.mjml.as_ref(), spec.content.mjml_from.as_ref())?,
            headers: spec.headers.clone(),
            unsubscribe_url: spec.unsubscribe.as_ref().and_then(|unsubscribe| unsubscribe.url.clone()),
            one_click: spec.unsubscribe.as_ref().is_some_and(|unsubscribe| unsubscribe.one_click.is_some()),
        })
    }

    /// What the campaign's messages are made of, for one generation (every edit is a new try); an unchanged template is taken over from `old`.
    pub async fn work(
        &self,
        spec: &CampaignSpec,
        generation: i64,
        old: Option<&Work>,
        unsendable: &mut BTreeMap<Key, (u64, Problem)>,
    ) -> Result<Work, Problem> {
        let content = self.content(spec)?;
        let input = self.input(spec)?;
        let retry = spec.retry();
        let described = format!(
            "{generation} {content:?} {input:?} {retry:?} {:?} {}",
            spec.when_outcome_is_unknown(),
            spec.content.max_render_errors()
        );
        let fingerprint = hash(&described);
        let template = match old.filter(|old| old.fingerprint == fingerprint) {
            Some(old) => old.template.clone(),
            None => match unsendable.get(self.key).filter(|(known, _)| *known == fingerprint) {
                Some((_, problem)) => return Err(problem.clone()),
                None => compiled(content).await.inspect_err(|problem| {
                    unsendable.insert(self.key.clone(), (fingerprint, problem.clone()));
                })?,
            },
        };
        unsendable.remove(self.key);
        Ok(Work {
            run: spec.run().to_owned(),
            fingerprint,
            input,
            template,
            from_address: from_address(&spec.from.address)?,
            retry,
            when_outcome_is_unknown: spec.when_outcome_is_unknown(),
            max_render_errors: spec.content.max_render_errors(),
        })
    }

    fn path(&self, field: &str, path: &str, purpose: Purpose) -> Result<PathBuf, Problem> {
        resolve_path(self.origin, path, purpose).map_err(|problem| Problem::new(Reason::FileNotFound, format!("{field}: {problem}.")))
    }

    /// A file under the name that it has beside its document, so that it is found anew when a symlink on the way is swapped.
    fn named_file(&self, field: &str, path: &str, purpose: Purpose) -> Result<NamedFile, Problem> {
        self.path(field, path, purpose)?;
        let beside = self.origin.file().and_then(|place| place.file.parent()).unwrap_or(Path::new(""));
        let (origin, field, path) = (self.origin.clone(), field.to_owned(), path.to_owned());
        Ok(NamedFile::new(beside.join(&path), move || {
            resolve_path(&origin, &path, purpose).map_err(|problem| AudienceError {
                reason: Reason::FileNotFound,
                transient: false,
                message: format!("{field}: {problem}"),
            })
        }))
    }

    /// A body whose file is being written now: half of it would be mailed.
    fn being_written(&self, spec: &CampaignSpec) -> Option<Problem> {
        let content = &spec.content;
        let bodies = [("htmlFrom", &content.html_from), ("textFrom", &content.text_from), ("mjmlFrom", &content.mjml_from)];
        bodies.into_iter().find_map(|(name, from)| {
            let path = from.as_ref()?.path.as_ref()?;
            let file = resolve_path(self.origin, path, Purpose::Body).ok()?;
            settles_in(written_at(&file)?)?;
            let message = format!(
                "spec.content.{name}: `{path}` is being written; it is read when nobody has written it for {} s.",
                SETTLED_AFTER.as_secs()
            );
            Some(Problem::passing(Reason::FileNotFound, message))
        })
    }

    fn config_map(&self, field: &str, reference: &crate::resources::KeyRef) -> Result<Arc<[u8]>, Problem> {
        self.snapshot.config_maps.get(&self.key.namespace, &reference.name, &reference.key).map_err(|missing| {
            let reason = if missing.map_exists { Reason::ConfigMapKeyNotFound } else { Reason::ConfigMapNotFound };
            Problem::new(reason, format!("{field}: {missing}."))
        })
    }

    /// A body that is written in place, or the one that `field` says the place of.
    fn body(&self, field: &str, text: Option<&String>, source: Option<&BodySource>) -> Result<Option<String>, Problem> {
        let bytes = match (text, source) {
            (Some(text), _) => return Ok(Some(text.clone())),
            (None, None) => return Ok(None),
            (None, Some(source)) => match (&source.path, &source.config_map_ref) {
                (Some(path), _) => {
                    let path = self.path(field, path, Purpose::Body)?;
                    body_of(&path).map_err(|cause| Problem::new(Reason::FileNotFound, format!("{field}: {cause}")))?
                }
                (None, Some(reference)) => self.config_map(field, reference)?.to_vec(),
                (None, None) => return Err(Problem::new(Reason::InvalidSpec, format!("{field}: give a path or a configMapRef."))),
            },
        };
        let text = String::from_utf8(bytes)
            .map_err(|_| Problem::new(Reason::InvalidContent, format!("{field}: the file is not UTF-8. Save it as UTF-8.")))?;
        Ok(Some(text))
    }

    fn input(&self, spec: &CampaignSpec) -> Result<Input, Problem> {
        let audience = &spec.audience;
        if let Some(rows) = &audience.inline {
            return Ok(Input::Inline(rows.clone()));
        }
        if let Some(csv) = &audience.csv {
            return Ok(Input::Csv(self.location("spec.audience.csv", csv, Purpose::Csv)?));
        }
        if let Some(json_lines) = &audience.json_lines {
            return Ok(Input::JsonLines(self.location("spec.audience.jsonLines", json_lines, Purpose::JsonLines)?));
        }
        Err(Problem::new(Reason::AudienceUnreadable, "spec.audience.sql has no effect in this version. Use csv, jsonLines or inline."))
    }

    fn location(&self, field: &str, source: &AudienceSource, purpose: Purpose) -> Result<Location, Problem> {
        if let Some(path) = &source.path {
            return Ok(Location::File(self.named_file(field, path, purpose)?));
        }
        if let Some(url) = &source.url {
            return Ok(Location::Url(url.clone(), self.egress));
        }
        if let Some(reference) = &source.config_map_ref {
            return Ok(Location::Bytes(self.config_map(field, reference)?));
        }
        Err(Problem::new(Reason::InvalidSpec, format!("{field}: give a path, a url or a configMapRef.")))
    }
}

/// A customer's templates, compiled where nothing else waits for it.
async fn compiled(content: Content) -> Result<Arc<Template>, Problem> {
    let compiled = tokio::task::spawn_blocking(move || Template::compile(&content)).await;
    let told = |faults: Vec<Fault>| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    match compiled {
        Ok(compiled) => compiled.map(Arc::new).map_err(|faults| Problem::new(Reason::InvalidContent, told(faults))),
        Err(error) => Err(Problem::new(
            Reason::InvalidContent,
            format!(
                "spec.content: compiling it ended with a fault of Mailfleet itself ({error}; see the log). Report it, with the template."
            ),
        )),
    }
}

/// The From address as it goes into the envelope.
fn from_address(text: &str) -> Result<Arc<str>, Problem> {
    let address = Address::parse(text).map_err(|why| Problem::new(Reason::InvalidContent, format!("spec.from.address: {why}.")))?;
    Ok(Arc::from(address.to_wire()))
}

fn body_of(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = read_bounded(path, BODY_MAX).map_err(|error| format!("{} cannot be read: {error}.", path.display()))?;
    bytes.ok_or_else(|| format!("{} is larger than 1 MiB.", path.display()))
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
