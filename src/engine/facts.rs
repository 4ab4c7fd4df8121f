//! What the ledger knows about the objects of a snapshot: generations and runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

mod hashes;

use crate::{
    decide::{InLedger, Recorded, pauses},
    feedback::{Complaints, FeedbackCounts, Judged},
    ledger::{Facts, Generation, LedgerError, RunKey, RunRecord, SentAlike, ServerRecord, SpecHash, StandingOf},
    resources::{Campaign, Key, Kind, SendingServer, resume::Handled, rollout::Reached},
    source::{Snapshot, Sourced},
};
pub(crate) use hashes::sends_alike;
use hashes::{HasSpec, MESSAGES, Sent, SpecHashes};

/// What the ledger knows about a campaign's run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFacts {
    /// Whether it has begun, or is over.
    pub in_ledger: InLedger,
    /// How it ended, for a closed run.
    pub recorded: Option<Recorded>,
    /// Requests to resume that were carried out.
    pub resume_handled: Handled,
    /// How often it was reopened on purpose.
    pub reopen: u64,
    /// Whether a message of it may have left.
    pub has_sent: bool,
    /// What came back of it.
    pub feedback: FeedbackCounts,
    /// What it had when a person resumed it last.
    pub judged_from: Judged,
    /// How far its rollout has come; `None` for a run without one.
    pub rollout: Option<Reached>,
    /// For a run that has not begun: a campaign that is gone and had the same audience and message, or a part of it, so that this may be it, renamed.
    pub renamed_from: Option<String>,
}

impl RunFacts {
    /// Whether a request to promote was carried out, or asks for what the run has no more: it is over, or without steps.
    pub fn needs_no_promotion(&self, value: &str) -> bool {
        match &self.rollout {
            Some(reached) => self.in_ledger == InLedger::Closed || reached.is_all() || reached.promote_handled.has(value),
            None => matches!(self.in_ledger, InLedger::Begun | InLedger::Closed),
        }
    }
}

/// What the ledger knows about the objects of a snapshot.
#[derive(Debug, Default)]
pub struct LedgerFacts {
    /// The generations of objects that come from files and have none of their own.
    pub generations: BTreeMap<(&'static str, Key), Generation>,
    /// The servers of which more is known than their messages.
    pub servers: BTreeMap<Key, ServerRecord>,
    /// The run of each campaign.
    pub runs: BTreeMap<Key, RunFacts>,
    /// What was reported as spam of each namespace's last runs.
    pub complaints: Arc<BTreeMap<String, Complaints>>,
    /// Why the ledger could not be read, in whole or in part.
    pub problem: Option<LedgerError>,
}

/// Reads the facts from the ledger, and falls back to the generations that it last read while the ledger fails.
pub(super) struct FactFinder<F> {
    ledger: F,
    known: BTreeMap<(&'static str, Key), Generation>,
    spec_hashes: SpecHashes,
    /// What campaigns send, as they were read last.
    messages: BTreeMap<Key, Sent>,
    /// The campaigns whose documents were broken at the last look.
    broken: BTreeSet<Key>,
    /// What was known of servers when that could be read last; `None` if it never could.
    known_servers: Option<BTreeMap<Key, ServerRecord>>,
    /// When complaints were last asked for, milliseconds, and the answer.
    complaints: Option<(i64, Arc<BTreeMap<String, Complaints>>)>,
}

/// How far back complaints are counted, milliseconds.
const COMPLAINTS_OF_MS: i64 = 7 * 24 * 3_600_000;
/// How often they are asked for, milliseconds: the question reads every run of the ledger.
const COMPLAINTS_EVERY_MS: i64 = 60_000;

impl<F: Facts> FactFinder<F> {
    pub fn new(ledger: F) -> Self {
        Self {
            ledger,
            known: BTreeMap::new(),
            spec_hashes: SpecHashes::default(),
            messages: BTreeMap::new(),
            broken: BTreeSet::new(),
            known_servers: None,
            complaints: None,
        }
    }

    /// The ledger that is asked.
    pub fn ledger(&self) -> &F {
        &self.ledger
    }

    /// The facts about a snapshot. New and changed specs are recorded with their generation.
    pub async fn of(&mut self, snapshot: &Snapshot, now_ms: i64) -> LedgerFacts {
        let mut facts = LedgerFacts::default();
        self.record_generations(&snapshot.servers, now_ms, &mut facts).await;
        self.record_generations(&snapshot.plans, now_ms, &mut facts).await;
        self.record_generations(&snapshot.campaigns, now_ms, &mut facts).await;
        self.known.clone_from(&facts.generations);
        self.find_runs(&snapshot.campaigns, &mut facts).await;
        self.find_renamed(snapshot, now_ms, &mut facts).await;
        self.record_edited(&facts).await;
        let servers = snapshot.servers.iter().map(|(key, sourced)| (key, &*sourced.object));
        if let Err(error) = self.renew_servers(servers, now_ms).await {
            tracing::warn!(%error, "pauses of servers could not be read from the ledger");
            facts.problem = Some(error);
            if self.known_servers.is_none() {
                // Nothing is sent through a server that may be paused.
                facts.runs = snapshot.campaigns.keys().map(|key| (key.clone(), RunFacts::default())).collect();
            }
        }
        facts.servers = self.servers().clone();
        facts.complaints = self.complaints(now_ms).await;
        facts
    }

    /// Reads what is known of servers beside their messages.
    ///
    /// # Errors
    /// Then what was known before stays: no pause ends since it cannot be read.
    pub async fn renew_servers(&mut self, servers: impl Iterator<Item = (&Key, &SendingServer)>, now_ms: i64) -> Result<(), LedgerError> {
        let asked = servers.map(|(key, server)| StandingOf::new(key, pauses::asks_for(&server.spec, now_ms)));
        let records = self.ledger.standings(asked.collect()).await?;
        self.known_servers = Some(records.into_iter().filter_map(|(name, record)| Some((Key::parse(&name)?, record))).collect());
        Ok(())
    }

    /// What was known of servers when that could be read last.
    pub fn servers(&self) -> &BTreeMap<Key, ServerRecord> {
        static NONE: BTreeMap<Key, ServerRecord> = BTreeMap::new();
        self.known_servers.as_ref().unwrap_or(&NONE)
    }

    /// What was reported as spam; nothing before the ledger has answered once.
    async fn complaints(&mut self, now_ms: i64) -> Arc<BTreeMap<String, Complaints>> {
        let is_old = |at: i64| now_ms < at || now_ms - at >= COMPLAINTS_EVERY_MS;
        if self.complaints.as_ref().is_none_or(|(at, _)| is_old(*at)) {
            match self.ledger.complaints(now_ms - COMPLAINTS_OF_MS).await {
                Ok(found) => self.complaints = Some((now_ms, Arc::new(found))),
                // What needs the ledger has said so already, and nothing waits for this.
                Err(error) => tracing::debug!(%error, "complaints could not be read from the ledger"),
            }
        }
        self.complaints.as_ref().map(|(_, found)| found.clone()).unwrap_or_default()
    }

    async fn record_generations<K: Kind + HasSpec>(&mut self, objects: &BTreeMap<Key, Sourced<K>>, now_ms: i64, facts: &mut LedgerFacts) {
        if objects.values().all(|sourced| sourced.origin.file().is_none()) {
            return;
        }
        let observed = objects.iter().map(|(key, sourced)| SpecHash {
            kind: K::KIND.to_owned(),
            key: key.clone(),
            spec_hash: self.spec_hashes.of(key, &sourced.object),
        });
        let observed = observed.collect();
        self.spec_hashes.retain::<K>(|key| objects.contains_key(key));
        let known = match self.ledger.generations(observed, now_ms).await {
            Ok(known) => known,
            Err(error) => {
                tracing::error!(%error, "generations could not be recorded in the ledger");
                facts.problem = Some(error);
                objects.iter().map(|(key, sourced)| self.known_or_of_status(key, sourced, now_ms)).collect::<Vec<_>>()
            }
        };
        facts.generations.extend(objects.keys().zip(known).map(|(key, known)| ((K::KIND, key.clone()), known)));
    }

    /// The generation that was handled last, rather than one that never was: the state Stopped applies to one generation.
    fn known_or_of_status<K: Kind>(&self, key: &Key, sourced: &Sourced<K>, now_ms: i64) -> Generation {
        let of_status = || sourced.previous_status.as_ref()?.get("observedGeneration")?.as_i64();
        let known = self.known.get(&(K::KIND, key.clone())).copied();
        known.unwrap_or_else(|| Generation { number: of_status().unwrap_or(1), created_at_ms: now_ms })
    }

    async fn find_runs(&self, campaigns: &BTreeMap<Key, Sourced<Campaign>>, facts: &mut LedgerFacts) {
        let keys = campaigns.iter().map(|(key, sourced)| RunKey::new(&*key.namespace, &*key.name, sourced.object.spec.run()));
        let records = match self.ledger.runs(keys.collect()).await {
            Ok(records) => records,
            Err(error) => {
                tracing::warn!(%error, "the runs of campaigns could not be read from the ledger");
                facts.problem = Some(error);
                facts.runs = campaigns.keys().map(|key| (key.clone(), RunFacts::default())).collect();
                return;
            }
        };
        for (key, record) in campaigns.keys().zip(records) {
            let run = match record {
                None => RunFacts { in_ledger: InLedger::Absent, ..RunFacts::default() },
                Some(record) => {
                    let is_closed = record.closed_at_ms.is_some();
                    RunFacts {
                        in_ledger: if is_closed { InLedger::Closed } else { InLedger::Begun },
                        recorded: if is_closed { self.recorded(&record).await } else { None },
                        resume_handled: record.resume_handled,
                        reopen: record.reopen,
                        has_sent: record.has_sent,
                        feedback: record.feedback,
                        judged_from: record.judged_from,
                        rollout: record.rollout,
                        renamed_from: None,
                    }
                }
            };
            facts.runs.insert(key.clone(), run);
        }
    }

    /// Of runs that have not begun: whether they may be others under a new name. What they would send is recorded, to know them again
    /// should they be renamed later.
    async fn find_renamed(&mut self, snapshot: &Snapshot, now_ms: i64, facts: &mut LedgerFacts) {
        self.note_messages(snapshot);
        let asked: Vec<SentAlike> = self
            .messages
            .iter()
            .filter(|(key, sent)| !sent.is_unlike && is_absent(facts, key))
            .flat_map(|(key, sent)| {
                let run = RunKey::new(&*key.namespace, &*key.name, sent.object.spec.run());
                sent.messages(key).map(move |(message, within_ms)| {
                    let since_ms = now_ms.saturating_sub(within_ms);
                    SentAlike { run: run.clone(), message, since_ms }
                })
            })
            .collect();
        if asked.is_empty() {
            return;
        }
        let keys: Vec<Key> = asked.iter().map(|asked| asked.message.key.clone()).collect();
        let found = match self.ledger.alike(asked).await {
            Ok(alike) => self.record_messages(|key| is_absent(facts, key)).await.map(|()| alike),
            Err(error) => Err(error),
        };
        match found {
            Ok(alike) => {
                let is_here = |key: &Key| snapshot.campaigns.contains_key(key) || self.broken.contains(key);
                for (key, alike) in keys.iter().step_by(MESSAGES.len()).zip(alike.chunks(MESSAGES.len())) {
                    let mut names = alike.iter().flat_map(|names| names.iter());
                    let gone = names.find(|name| !is_here(&Key::new(&*key.namespace, name.as_str())));
                    if let Some(run) = facts.runs.get_mut(key) {
                        run.renamed_from = gone.cloned();
                    }
                    if let Some(sent) = self.messages.get_mut(key) {
                        sent.is_unlike = alike.iter().all(|names| names.is_empty());
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "renamed campaigns could not be looked for in the ledger");
                facts.problem = Some(error);
                facts.runs.extend(keys.into_iter().map(|key| (key, RunFacts::default())));
            }
        }
    }

    /// Keeps what campaigns send; it is hashed again only for those that were read anew.
    fn note_messages(&mut self, snapshot: &Snapshot) {
        let campaigns = &snapshot.campaigns;
        let broken = snapshot.broken.iter().filter(|broken| broken.kind == Campaign::KIND).map(|broken| broken.key.clone());
        let broken = std::mem::replace(&mut self.broken, broken.collect());
        let is_gone = |key: &Key| !campaigns.contains_key(key) && !self.broken.contains(key);
        if self.messages.keys().chain(&broken).any(is_gone) {
            self.messages.values_mut().for_each(|sent| sent.is_unlike = false);
        }
        self.messages.retain(|key, sent| campaigns.get(key).is_some_and(|sourced| Arc::ptr_eq(&sourced.object, &sent.object)));
        for (key, sourced) in campaigns.iter() {
            self.messages.entry(key.clone()).or_insert_with(|| Sent::new(sourced.object.clone()));
        }
    }

    /// Records what campaigns send, where that is new.
    async fn record_messages(&mut self, is_meant: impl Fn(&Key) -> bool) -> Result<(), LedgerError> {
        let is_new = |key: &Key, sent: &Sent| !sent.is_recorded && is_meant(key);
        let new = self.messages.iter().filter(|(key, sent)| is_new(key, sent));
        let messages: Vec<SpecHash> = new.flat_map(|(key, sent)| sent.messages(key).map(|(message, _)| message)).collect();
        if messages.is_empty() {
            return Ok(());
        }
        self.ledger.generations(messages, 0).await?;
        self.messages.iter_mut().filter(|(key, _)| is_meant(key)).for_each(|(_, sent)| sent.is_recorded = true);
        Ok(())
    }

    /// Records what campaigns send whose run has begun, where that was edited: they are known again by what they say now.
    async fn record_edited(&mut self, facts: &LedgerFacts) {
        let has_begun = |key: &Key| facts.runs.get(key).is_some_and(|run| run.in_ledger != InLedger::Absent);
        if let Err(error) = self.record_messages(has_begun).await {
            tracing::warn!(%error, "edited campaigns could not be recorded in the ledger");
        }
    }

    /// How a closed run ended.
    async fn recorded(&self, run: &RunRecord) -> Option<Recorded> {
        let counts = self.ledger.counts(run.id).await.ok()?;
        let accepted = counts.accepted_by_server().filter_map(|(name, count)| Some((Key::parse(name)?, count)));
        Some(Recorded {
            accepted: accepted.collect(),
            counts: run.recipients(&counts),
            started_ms: run.started_at_ms,
            closed_ms: run.closed_at_ms,
        })
    }
}

/// The campaigns that may be others, renamed, each with the old name; nothing is recorded.
pub(crate) async fn renamed(snapshot: &Snapshot, ledger: impl Facts, now_ms: i64) -> Vec<(Key, String)> {
    let (mut finder, mut facts) = (FactFinder::new(ledger), LedgerFacts::default());
    finder.find_runs(&snapshot.campaigns, &mut facts).await;
    finder.find_renamed(snapshot, now_ms, &mut facts).await;
    facts.runs.into_iter().filter_map(|(key, run)| Some((key, run.renamed_from?))).collect()
}

/// Whether the run of a campaign is known not to have begun.
fn is_absent(facts: &LedgerFacts, key: &Key) -> bool {
    facts.runs.get(key).is_some_and(|run| run.in_ledger == InLedger::Absent)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rusqlite::Connection;

    use super::{hashes::EDITED_WITHIN_MS, *};
    use crate::{
        ledger::{Ledger, LedgerOptions, RecordedFacts, RunStart, Synchronous},
        resources::SendingServer,
        source::Origin,
    };

    fn server(host: &str) -> Sourced<SendingServer> {
        let yaml = format!(
            "{{apiVersion: mailfleet.dev/v1alpha1, kind: SendingServer, metadata: {{name: relay}}, spec: {{provider: {{smtp: {{host: {host}, encryption: None}}}}}}}}"
        );
        let origin = Origin::File(std::sync::Arc::new(crate::source::FilePlace {
            file: "relay.yaml".into(),
            line: 1,
            root: ".".into(),
            closed: std::sync::Arc::default(),
        }));
        Sourced { object: Arc::new(serde_saphyr::from_str(&yaml).expect("a server")), origin, stale: None, previous_status: None }
    }

    /// A ledger whose servers can be read only while that is allowed.
    struct Moody(RecordedFacts, std::sync::atomic::AtomicBool);

    impl Facts for Moody {
        async fn generations(&self, specs: Vec<SpecHash>, now_ms: i64) -> Result<Vec<Generation>, LedgerError> {
            self.0.generations(specs, now_ms).await
        }

        async fn runs(&self, keys: Vec<RunKey>) -> Result<Vec<Option<RunRecord>>, LedgerError> {
            self.0.runs(keys).await
        }

        async fn alike(&self, asked: Vec<SentAlike>) -> Result<Vec<Arc<[String]>>, LedgerError> {
            self.0.alike(asked).await
        }

        async fn counts(&self, run: crate::ledger::RunId) -> Result<crate::ledger::RunCounts, LedgerError> {
            self.0.counts(run).await
        }

        async fn complaints(&self, since_ms: i64) -> Result<BTreeMap<String, Complaints>, LedgerError> {
            self.0.complaints(since_ms).await
        }

        async fn standings(&self, asked: Vec<StandingOf>) -> Result<BTreeMap<String, ServerRecord>, LedgerError> {
            if self.1.load(std::sync::atomic::Ordering::Relaxed) {
                return Err(RecordedFacts::open(std::path::Path::new("/dev/null")).expect_err("no folder"));
            }
            self.0.standings(asked).await
        }
    }

    #[tokio::test]
    async fn no_pause_ends_since_the_ledger_cannot_be_read() {
        let folder = std::env::temp_dir().join(format!("mailfleet-moody-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let ledger =
            Ledger::open(&folder, LedgerOptions { synchronous: Synchronous::Normal, ..LedgerOptions::default() }).expect("a ledger");
        let key = Key::new("default", "relay");
        let pause = crate::feedback::Pause {
            namespace: None,
            reason: crate::resources::Reason::BounceRateTooHigh,
            message: String::new(),
            ends_at_ms: None,
        };
        let change = crate::feedback::PauseChange { server: key.clone(), what: crate::feedback::Change::Begins(pause) };
        ledger.change_pauses(vec![change], 1).await.expect("recorded");
        let snapshot = Snapshot {
            servers: BTreeMap::from([(key.clone(), server("a.example.com"))]).into(),
            campaigns: BTreeMap::from([campaign("spring", "One", "first")]).into(),
            ..Snapshot::default()
        };
        let facts = RecordedFacts::open(&folder).expect("a reader");
        let mut finder = FactFinder::new(Moody(facts, true.into()));
        let found = finder.of(&snapshot, 2).await;
        assert!(found.problem.is_some());
        assert_eq!(found.runs[&Key::new("default", "spring")].in_ledger, InLedger::Unasked, "nothing is sent before it is known");
        for is_moody in [false, true] {
            finder.ledger.1.store(is_moody, std::sync::atomic::Ordering::Relaxed);
            let found = finder.of(&snapshot, 3).await;
            assert_eq!((found.problem.is_some(), found.servers[&key].standing.whole().is_some()), (is_moody, true));
            assert_eq!(found.runs[&Key::new("default", "spring")].in_ledger, InLedger::Absent);
        }
        let _ = std::fs::remove_dir_all(&folder);
    }

    /// Campaigns by name, subject and run.
    type Campaigns = &'static [(&'static str, &'static str, &'static str)];

    fn campaign(name: &str, subject: &str, run: &str) -> (Key, Sourced<Campaign>) {
        let yaml = format!(
            "{{apiVersion: mailfleet.dev/v1alpha1, kind: Campaign, metadata: {{name: {name}}}, spec: {{planRef: {{name: p}}, run: {run}, from: {{address: a@example.com}}, subject: {subject}, content: {{text: Hi}}, audience: {{csv: {{path: people.csv}}}}}}}}"
        );
        let object: Campaign = serde_saphyr::from_str(&yaml).expect("a campaign");
        let origin = Origin::Cluster(Arc::default());
        (object.key(), Sourced { object: Arc::new(object), origin, stale: None, previous_status: None })
    }

    #[tokio::test]
    async fn a_renamed_campaign_is_known_by_what_it_sends_and_to_whom() {
        let folder = std::env::temp_dir().join(format!("mailfleet-renamed-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let ledger =
            Ledger::open(&folder, LedgerOptions { synchronous: Synchronous::Normal, ..LedgerOptions::default() }).expect("a ledger");
        let reader = || RecordedFacts::open(&folder).expect("a reader");
        let snapshot = |campaigns: &[(&str, &str, &str)]| Snapshot {
            campaigns: campaigns.iter().map(|(name, subject, run)| campaign(name, subject, run)).collect::<BTreeMap<_, _>>().into(),
            ..Snapshot::default()
        };
        let mut facts = FactFinder::new(ledger.clone());
        assert!(renamed(&snapshot(&[("spring", "Hi", "first")]), reader(), 1000).await.is_empty(), "nothing was sent yet");
        facts.of(&snapshot(&[("spring", "Hi", "first")]), 1000).await;
        // It was never begun: nobody was mailed under that name.
        assert!(renamed(&snapshot(&[("summer", "Hi", "first")]), reader(), 1500).await.is_empty());
        ledger.begin_run(&RunKey::new("default", "spring", "first"), RunStart::default(), 2000).await.expect("a run");
        let (soon, a_day_later) = (3000, 2000 + EDITED_WITHIN_MS + 1);
        let cases: [(Campaigns, i64, bool); 10] = [
            (&[("spring", "Hi", "first")], soon, false),
            (&[("summer", "Hi", "first")], soon, true),
            (&[("summer", "Hi", "first"), ("spring", "Hi", "first")], soon, false),
            (&[("summer", "Hi", "first"), ("spring", "Other", "first")], soon, false),
            // It was edited after it had begun, and then renamed.
            (&[("summer", "Hi", "first")], soon, true),
            (&[("summer", "Other", "first")], soon, true),
            // It was renamed and edited at once.
            (&[("summer", "Another", "first")], soon, true),
            (&[("summer", "Hi", "again")], soon, false),
            // The next newsletter has the same bodies, which are in a file. It is the old one only with the same subject too.
            (&[("summer", "Next", "first")], a_day_later, false),
            (&[("summer", "Other", "first")], a_day_later, true),
        ];
        for (campaigns, now_ms, is_renamed) in cases {
            let wanted: Vec<_> = is_renamed.then(|| (Key::new("default", "summer"), "spring".to_owned())).into_iter().collect();
            assert_eq!(renamed(&snapshot(campaigns), reader(), now_ms).await, wanted, "{campaigns:?}");
            let known = facts.of(&snapshot(campaigns), now_ms).await.runs.into_iter();
            let known: Vec<_> = known.filter_map(|(key, run)| Some((key, run.renamed_from?))).collect();
            assert_eq!(known, wanted, "{campaigns:?}, by the process that sends");
        }
        let _ = std::fs::remove_dir_all(&folder);
    }

    #[tokio::test]
    async fn a_campaign_that_waits_is_asked_about_once_another_like_it_has_begun_and_is_gone() {
        let folder = std::env::temp_dir().join(format!("mailfleet-waits-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let ledger =
            Ledger::open(&folder, LedgerOptions { synchronous: Synchronous::Normal, ..LedgerOptions::default() }).expect("a ledger");
        let mut facts = FactFinder::new(ledger.clone());
        let both: BTreeMap<_, _> = ["spring", "summer"].map(|name| campaign(name, "Hi", "first")).into();
        let summer = Key::new("default", "summer");
        let alone = BTreeMap::from([(summer.clone(), both[&summer].clone())]);
        let broken = crate::source::Broken {
            kind: Campaign::KIND,
            key: Key::new("default", "spring"),
            message: String::new(),
            document: Arc::default(),
            origin: Origin::Cluster(Arc::default()),
            previous_status: None,
        };
        let mut seen = Vec::new();
        for (campaigns, broken) in [(&both, vec![]), (&both, vec![]), (&alone, vec![broken]), (&alone, vec![]), (&alone, vec![])] {
            let snapshot = Snapshot { campaigns: campaigns.clone().into(), broken, ..Snapshot::default() };
            let run = facts.of(&snapshot, 3000).await.runs.remove(&summer).expect("its run");
            seen.push((run.renamed_from, facts.messages[&summer].is_unlike));
            if seen.len() == 1 {
                ledger.begin_run(&RunKey::new("default", "spring", "first"), RunStart::default(), 2000).await.expect("a run");
            }
        }
        let gone = || (Some("spring".to_owned()), false);
        // A document that is broken is there, and the ledger is not asked.
        assert_eq!(seen, [(None, true), (None, true), (None, true), gone(), gone()]);
        let _ = std::fs::remove_dir_all(&folder);
    }

    #[tokio::test]
    async fn a_generation_stays_what_it_was_while_the_ledger_cannot_be_written() {
        let folder = std::env::temp_dir().join(format!("mailfleet-lookup-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let options = LedgerOptions { synchronous: Synchronous::Normal, busy_timeout: std::time::Duration::from_millis(20) };
        let ledger = Ledger::open(&folder, options).expect("a ledger");
        let mut facts = FactFinder::new(ledger);
        let key = Key::new("default", "relay");
        let mut generations = Vec::new();
        for (host, locked) in [("a.example.com", false), ("b.example.com", false), ("c.example.com", true), ("c.example.com", false)] {
            let snapshot = Snapshot { servers: BTreeMap::from([(key.clone(), server(host))]).into(), ..Snapshot::default() };
            let other = Connection::open(folder.join("ledger.db")).expect("another client");
            if locked {
                other.execute_batch("BEGIN IMMEDIATE").expect("a lock");
            }
            let facts = facts.of(&snapshot, 1_764_000_000_000).await;
            generations.push((facts.generations[&(SendingServer::KIND, key.clone())].number, facts.problem.is_some()));
        }
        assert_eq!(generations, [(1, false), (2, false), (2, true), (3, false)]);
        let _ = std::fs::remove_dir_all(&folder);
    }
}
