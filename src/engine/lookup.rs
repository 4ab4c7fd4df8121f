//! Looks up what objects refer to, before a decision: the ledger, Secrets, files, and requests from the command line.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    EngineOptions, LOOK_AGAIN,
    contents::{Contents, Done},
    facts::FactFinder,
    handles::ServerHandles,
    identities::Subjects,
    statuses::Statuses,
    webhooks::{WebhookEndpoints, Webhooks},
    world::{Found, KnownWork, world},
};
use crate::{
    decide::{Decision, WebhookObservation, World},
    dispatch::Handles,
    feedback::PauseChange,
    hours::When,
    ledger::{Facts, Ledger, LedgerError},
    providers::Server,
    resources::{Blocker, CampaignSpec, Key, Reason},
    routing::Routing,
    source::{
        SETTLED_AFTER, Snapshot,
        requests::{self, Asked, Requests},
    },
    zones,
};

/// The world of a snapshot, for a read-only caller: with [`crate::ledger::RecordedFacts`] it works beside a process that sends,
/// without its lock, and records nothing. No server is contacted.
pub async fn world_of(snapshot: &Snapshot, facts: impl Facts, options: &EngineOptions, now_ms: i64) -> World {
    world_with(Contents::new(), snapshot, facts, options, now_ms).await
}

/// The same without the network: files that go with messages are not fetched from their URLs, and do not count.
pub async fn offline_world_of(snapshot: &Snapshot, facts: impl Facts, options: &EngineOptions, now_ms: i64) -> World {
    world_with(Contents::offline(), snapshot, facts, options, now_ms).await
}

async fn world_with(mut contents: Contents, snapshot: &Snapshot, facts: impl Facts, options: &EngineOptions, now_ms: i64) -> World {
    let servers = ServerHandles::new().make(snapshot, options);
    let facts = FactFinder::new(facts).of(snapshot, now_ms).await;
    contents.want_all(snapshot, &facts, options);
    contents.wait_for_all().await;
    let [resume, resume_servers, promote] =
        [Asked::Resume, Asked::ResumeServer, Asked::Promote].map(|asked| requests::read(&options.state_dir, asked));
    let found = Found {
        facts: &facts,
        servers,
        identities: BTreeMap::new(),
        work: &|key| KnownWork { now: contents.work(key), last: contents.last_work(key) },
        when: &when,
        status: &|_| None,
        resume: &|key| resume.get(key).map(|pending| pending.value.clone()),
        resume_server: &|key| resume_servers.get(key).map(|pending| pending.value.clone()),
        promote: &|key| promote.get(key).map(|pending| pending.value.clone()),
    };
    world(snapshot, options.plan_namespace.as_deref(), options.returns.listens, found)
}

/// When a campaign is sent.
fn when(spec: &CampaignSpec) -> Result<When, Blocker> {
    zones::when(spec)
        .map_err(|fault| Blocker::lasting(Reason::InvalidSpec, format!("{}: {}.", fault.field, fault.message.trim_end_matches('.'))))
}

/// Changes with any of the handles that the data plane is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HandlesVersion {
    servers: u64,
    contents: u64,
}

/// The lookups, and their latest results.
pub(super) struct Lookup {
    options: EngineOptions,
    facts: FactFinder<Ledger>,
    servers: ServerHandles,
    webhooks: WebhookEndpoints,
    subjects: Subjects,
    contents: Contents,
    /// Requests to resume, and to promote.
    resume: Requests,
    resume_servers: Requests,
    promote: Requests,
    requests_changed_at: [Option<SystemTime>; 3],
    /// Why the ledger could not be read at the last look, if it could not.
    ledger_problem: Option<LedgerError>,
    /// How long the last look was idle, waiting for contents.
    waited: Duration,
}

impl Lookup {
    /// A lookup that has found nothing yet.
    pub fn new(ledger: Ledger, options: EngineOptions) -> Self {
        Self {
            options,
            facts: FactFinder::new(ledger),
            servers: ServerHandles::new(),
            webhooks: WebhookEndpoints::default(),
            subjects: Subjects::default(),
            contents: Contents::new(),
            resume: Requests::new(),
            resume_servers: Requests::new(),
            promote: Requests::new(),
            requests_changed_at: [None; 3],
            ledger_problem: None,
            waited: Duration::ZERO,
        }
    }

    /// The world of a snapshot.
    pub async fn world(&mut self, snapshot: &Snapshot, statuses: &Statuses, now_ms: i64) -> World {
        self.requests_changed_at = requests::changed_at(&self.options.state_dir);
        self.resume = requests::read(&self.options.state_dir, Asked::Resume);
        self.resume_servers = requests::read(&self.options.state_dir, Asked::ResumeServer);
        self.promote = requests::read(&self.options.state_dir, Asked::Promote);
        let servers = self.servers.make(snapshot, &self.options);
        // A dry run takes no calls.
        if !self.options.dry_run {
            self.webhooks.make(snapshot, |key| self.options.egress_of(key));
        }
        // A dry run contacts nobody.
        let identities =
            if self.options.dry_run { BTreeMap::new() } else { self.subjects.of(snapshot, &self.options, self.servers.ring()) };
        let facts = self.facts.of(snapshot, now_ms).await;
        self.contents.want_all(snapshot, &facts, &self.options);
        self.waited = self.contents.wait().await;
        for (key, pending) in &self.resume {
            if facts.runs.get(key).is_some_and(|run| run.resume_handled.has(&pending.value)) {
                pending.remove();
            }
        }
        for (key, pending) in &self.resume_servers {
            if facts.servers.get(key).is_some_and(|server| server.resume_handled.has(&pending.value)) {
                pending.remove();
            }
        }
        for (key, pending) in &self.promote {
            if facts.runs.get(key).is_some_and(|run| run.needs_no_promotion(&pending.value)) {
                pending.remove();
            }
        }
        let found = Found {
            facts: &facts,
            servers,
            identities,
            work: &|key| KnownWork { now: self.contents.work(key), last: self.contents.last_work(key) },
            when: &when,
            status: &|key| statuses.campaign(key),
            resume: &|key| self.resume.get(key).map(|pending| pending.value.clone()),
            resume_server: &|key| self.resume_servers.get(key).map(|pending| pending.value.clone()),
            promote: &|key| self.promote.get(key).map(|pending| pending.value.clone()),
        };
        let world = world(snapshot, self.options.plan_namespace.as_deref(), self.options.returns.listens, found);
        self.ledger_problem = facts.problem;
        world
    }

    /// Reads anew how servers do by what comes back.
    ///
    /// # Errors
    /// Then what was known before stays.
    pub async fn renew_standings(&mut self, world: &mut World, now_ms: i64) -> Result<(), LedgerError> {
        self.facts.renew_servers(world.servers.iter().map(|(key, input)| (key, &*input.object)), now_ms).await?;
        for (key, input) in &mut world.servers {
            let record = self.facts.servers().get(key).cloned().unwrap_or_default();
            (input.past.standing, input.past.resume_handled) = (record.standing, record.resume_handled);
        }
        Ok(())
    }

    /// Records that pauses of servers begin or end.
    ///
    /// # Errors
    /// Then some of them may not be recorded.
    pub async fn change_pauses(&self, changes: Vec<PauseChange>, now_ms: i64) -> Result<(), LedgerError> {
        self.facts.ledger().change_pauses(changes, now_ms).await
    }

    /// The handle of a server with a valid spec and Secrets.
    pub fn server(&self, key: &Key) -> Option<Arc<dyn Server>> {
        self.servers.get(key).cloned()
    }

    /// The endpoints of webhooks, and what is known of each.
    pub fn webhooks(&self) -> (Arc<Webhooks>, BTreeMap<Key, WebhookObservation>) {
        (self.webhooks.shown(), self.webhooks.observe())
    }

    /// What the data plane needs in addition to plain data, for what it is to do.
    pub fn handles(&self, routing: &Routing) -> Handles {
        let servers = routing.servers.keys().filter_map(|key| Some((key.clone(), self.servers.get(key)?.clone())));
        let contents = routing.campaigns.keys().filter_map(|key| Some((key.clone(), self.contents.get(key)?)));
        Handles { servers: servers.collect(), contents: contents.collect(), links: self.options.links.clone() }
    }

    /// Changes whenever any handle or content does.
    pub fn version(&self) -> HandlesVersion {
        HandlesVersion { servers: self.servers.version(), contents: self.contents.version() }
    }

    /// The next content that was prepared in the background; pass it to [`Lookup::prepared`].
    pub async fn next_prepared(&mut self) -> Option<Done> {
        self.contents.next().await
    }

    /// Adds a prepared content to the world; returns whether that changes anything.
    pub fn prepared(&mut self, done: Done, world: &mut World) -> bool {
        let Some(key) = self.contents.take(done) else { return false };
        self.renew(&key, world);
        true
    }

    /// Learns from a decision which campaigns send, since the templates of others make room for theirs; returns whether that
    /// changes what can be sent.
    pub fn note(&mut self, decision: &Decision, world: &mut World) -> bool {
        let intent = |key: &Key| decision.campaigns.get(key).and_then(|campaign| campaign.intent.as_ref());
        let changed = self.contents.note(|key| intent(key).is_some_and(|intent| !intent.hold));
        changed.iter().for_each(|key| self.renew(key, world));
        !changed.is_empty()
    }

    fn renew(&mut self, key: &Key, world: &mut World) {
        if let Some(input) = world.campaigns.get_mut(key) {
            (input.work, input.last_work) = (self.contents.work(key), self.contents.last_work(key));
        }
    }

    /// How long the last look was idle, waiting for contents.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Why the ledger could not be read at the last look, if it could not.
    pub fn ledger_problem(&self) -> Option<&LedgerError> {
        self.ledger_problem.as_ref()
    }

    /// How long after the last look another one is worthwhile without a change of any object: something was missing that may
    /// appear.
    pub fn looks_again_after(&self) -> Option<Duration> {
        if self.contents.is_being_written() {
            return Some(SETTLED_AFTER);
        }
        let is_missing = self.ledger_problem.is_some() || self.contents.needs_another_look();
        (is_missing || !self.resume.is_empty() || !self.promote.is_empty()).then_some(LOOK_AGAIN)
    }

    /// Whether the command line has left a request since the last look.
    pub fn has_new_requests(&self) -> bool {
        requests::changed_at(&self.options.state_dir) != self.requests_changed_at
    }

    /// Closes idle connections.
    pub async fn close(&self) {
        self.servers.close().await;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        decide::{self, InLedger, Observations},
        ledger::{LedgerOptions, RecordedFacts, RunKey, RunStart, Synchronous},
        resources::{Campaign, campaign::CampaignState},
        source::{Origin, Sourced},
    };

    fn campaign(subject: &str) -> Sourced<Campaign> {
        let yaml = format!(
            "{{apiVersion: mailfleet.dev/v1alpha1, kind: Campaign, metadata: {{name: spring}}, spec: {{planRef: {{name: p}}, from: {{address: a@example.com}}, subject: {subject}, content: {{text: Hi}}, audience: {{inline: [{{email: b@example.com}}]}}}}}}"
        );
        let place = crate::source::FilePlace { file: "spring.yaml".into(), line: 1, root: ".".into(), closed: std::sync::Arc::default() };
        let object = Arc::new(serde_saphyr::from_str(&yaml).expect("a campaign"));
        Sourced { object, origin: Origin::File(Arc::new(place)), stale: None, previous_status: None }
    }

    #[tokio::test]
    async fn a_reader_asks_what_a_change_would_mean_beside_a_process_that_sends() {
        let folder = std::env::temp_dir().join(format!("mailfleet-meaning-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let ledger =
            Ledger::open(&folder, LedgerOptions { synchronous: Synchronous::Normal, ..LedgerOptions::default() }).expect("a ledger");
        let options = EngineOptions::new(folder.clone());
        let key = Key::new("default", "spring");
        let snapshot = |subject| Snapshot { campaigns: BTreeMap::from([(key.clone(), campaign(subject))]).into(), ..Snapshot::default() };
        FactFinder::new(ledger.clone()).of(&snapshot("One"), 1000).await;
        let run = RunKey::new("default", "spring", "first");
        ledger.begin_run(&run, RunStart::default(), 2000).await.expect("a run");

        // The ledger is open, and locked; the change is not recorded.
        let facts = RecordedFacts::open(&folder).expect("a reader");
        for (subject, generation) in [("Two", 2), ("One", 1), ("Two", 2)] {
            let world = world_of(&snapshot(subject), facts.clone(), &options, 3000).await;
            let input = &world.campaigns[&key];
            assert_eq!((input.object.generation(), input.in_ledger), (generation, InLedger::Begun), "{subject}");
            assert!(input.work.is_ok(), "its content was prepared");
            let decision = decide::decide(&world, &Observations::default(), 3000);
            assert_eq!(decision.campaigns[&key].status.state, CampaignState::Waiting, "its plan is not there");
        }
        let nowhere = RecordedFacts::open(folder.join("nowhere")).expect("no ledger is no error");
        assert_eq!(world_of(&snapshot("One"), nowhere, &options, 3000).await.campaigns[&key].in_ledger, InLedger::Absent);
        let _ = std::fs::remove_dir_all(&folder);
    }
}
