//! The data plane as it is in a process (task, scheduler, feeders and the ledger's own rules in a real SQLite), in simulated time: a seed
//! decides how servers fail, what people edit, when the ledger is locked, and when the process is killed.
//! `make simulate SEEDS=10000` runs more than usual.
//!
//! Nothing happens beside anything else, so that a seed is a run: one thread, a clock that stands still while there is work, and the
//! ledger and the feeders on that thread. A kill drops everything at once, wherever it was waiting.

mod world;

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    time::Instant as StdInstant,
};

use tokio::time::Instant;

use self::world::{Chances, START_MS, SimulatedServer, World};
use super::*;
use crate::{
    feedback::{Person, Suppression, SuppressionReason},
    ledger::check_ledger,
    resources::campaign::{Weighting, WhenOutcomeIsUnknown},
    test_support::Chance,
};

/// Seeds that are tried, unless `SEEDS` says otherwise; the first of them, unless `SEED` does.
const SEEDS: u64 = 40;
const SERVERS: [&str; 4] = ["a", "b", "c", "d"];
const CAMPAIGNS: [&str; 2] = ["spring", "summer"];
const NAMESPACE: &str = "default";
/// What people do, and what else befalls a run, before it is left alone.
const ACTIONS_MAX: u64 = 60;
/// A run takes no longer than this.
const END_MS: i64 = START_MS + 40 * 3_600_000;

/// The time that went by in the runtime of this thread.
fn simulated() -> Duration {
    static FIRST: LazyLock<StdInstant> = LazyLock::new(StdInstant::now);
    Instant::now().into_std().saturating_duration_since(*FIRST)
}

fn key(name: &str) -> Key {
    Key::new(NAMESPACE, name)
}

/// What the life of a process ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Every run is closed.
    Over,
    Killed,
    /// It was told to stop, and did.
    Stopped,
    /// It goes on and on.
    Late,
}

/// Figures of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Figures {
    people: u64,
    taken: u64,
    unknown: u64,
    resent: u64,
    kills: u64,
    stops: u64,
    locks: u64,
    edits: u64,
    digest: u64,
}

impl std::ops::Add for Figures {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            people: self.people + other.people,
            taken: self.taken + other.taken,
            unknown: self.unknown + other.unknown,
            resent: self.resent + other.resent,
            kills: self.kills + other.kills,
            stops: self.stops + other.stops,
            locks: self.locks + other.locks,
            edits: self.edits + other.edits,
            digest: self.digest ^ other.digest,
        }
    }
}

/// What the ledger says of a person in a run.
struct Row {
    campaign: String,
    recipient: String,
    state: String,
    resent: u32,
    server: Option<String>,
}

struct Storm {
    chance: Chance,
    world: Arc<Mutex<World>>,
    folder: PathBuf,
    routing: Routing,
    handles: Handles,
    /// Campaigns that were deleted, until they are applied again.
    deleted: BTreeMap<Key, Arc<CampaignIntent>>,
    people: usize,
    policy: WhenOutcomeIsUnknown,
    now_ms: i64,
    actions: u64,
    may_kill: bool,
    /// Claims without an outcome that kills left behind.
    left: u64,
    figures: Figures,
    /// Holds the ledger's lock, until then.
    lock: Option<(rusqlite::Connection, Instant)>,
}

impl Storm {
    fn new(seed: u64) -> Self {
        // Its beginning comes before that of any runtime.
        let _ = simulated();
        let mut chance = Chance(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x5bd1_e995);
        let folder = std::env::temp_dir().join(format!("mailfleet-simulated-{}-{seed}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let chances = Chances {
            rejected: chance.below(4),
            deferred: chance.below(10),
            server_failed: chance.below(4),
            cut: chance.below(3),
            hang: chance.below(2),
        };
        let policy = if chance.below(2) == 0 { WhenOutcomeIsUnknown::Skip } else { WhenOutcomeIsUnknown::Resend };
        let mut storm = Self {
            world: Arc::new(Mutex::new(World::new(seed, chances))),
            folder,
            routing: Routing::default(),
            handles: Handles::default(),
            deleted: BTreeMap::new(),
            people: 30 + chance.below(120),
            policy,
            now_ms: START_MS,
            actions: 0,
            may_kill: chance.below(4) > 0,
            left: 0,
            figures: Figures::default(),
            lock: None,
            chance,
        };
        storm.make_ledger(seed);
        storm.add_servers();
        storm.add_campaigns();
        storm
    }

    /// A ledger with this seed.
    fn make_ledger(&self, seed: u64) {
        drop(Ledger::open(&self.folder, options()).expect("a ledger"));
        let database = rusqlite::Connection::open(self.folder.join("ledger.db")).expect("it opens");
        let changed = database.execute("UPDATE meta SET value = ?1 WHERE key = 'seed'", [seed.cast_signed().to_string()]);
        assert_eq!(changed.expect("good SQL"), 1);
    }

    fn add_servers(&mut self) {
        let count = 1 + self.chance.below(SERVERS.len());
        let carriage = [
            Carriage { batch: 1, ahead: 0, is_windowed: false },
            Carriage { batch: 1, ahead: 1, is_windowed: false },
            Carriage { batch: 32, ahead: 0, is_windowed: true },
            Carriage { batch: 8, ahead: 0, is_windowed: false },
        ][self.chance.below(4)];
        for name in &SERVERS[..count] {
            let rates = match self.chance.below(4) {
                0 => vec![Rate { messages: 5 + self.chance.below(50) as u64, per: crate::resources::Duration::from_secs(1) }],
                1 => vec![Rate {
                    messages: 20 + self.chance.below(60) as u64,
                    per: crate::resources::Duration::from_secs(11 + self.chance.below(80) as u64),
                }],
                _ => Vec::new(),
            };
            let latency_ms = [1, 20, 80][self.chance.below(3)];
            let server = SimulatedServer { name, world: Arc::clone(&self.world), carriage, latency_ms };
            let intent = ServerIntent { host: format!("{name}.example").into(), ..server_intent(&rates) };
            self.handles.servers.insert(key(name), Arc::new(server));
            self.routing.servers.insert(key(name), intent);
        }
    }

    fn add_campaigns(&mut self) {
        let weights: Vec<(Key, u32)> = self.routing.servers.keys().map(|key| (key.clone(), 1)).collect();
        let row = |i: usize| BTreeMap::from([("email".to_owned(), serde_json::Value::from(address(i)))]);
        let input = Input::Inline((0..self.people).map(row).collect());
        let people = Arc::new(People { input, exclude: Vec::new() });
        for name in CAMPAIGNS {
            let work = Work { when_outcome_is_unknown: self.policy, ..work(1) };
            let mut intent = campaign_intent(work);
            intent.servers =
                weights.iter().map(|(key, _)| (key.clone(), 1 + u32::try_from(self.chance.below(9)).expect("small"))).collect();
            intent.candidates = weights.iter().map(|(key, _)| key.clone()).collect();
            intent.weighting = if self.chance.below(3) == 0 { Weighting::Strict } else { Weighting::Overflow };
            self.handles.contents.insert(key(name), Content { people: Arc::clone(&people), template: Some(template()) });
            self.routing.campaigns.insert(key(name), Arc::new(intent));
        }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs process after process until everybody has a final outcome, and checks what must hold.
    fn run(mut self) -> Result<Figures, String> {
        loop {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
            let end = runtime.block_on(self.live());
            drop(runtime);
            match end {
                End::Over => break,
                End::Late => {
                    return Err(format!("it does not end: {:?}", self.rows()?.iter().map(|row| &row.state).collect::<BTreeSet<_>>()));
                }
                End::Killed => {
                    self.figures.kills += 1;
                    self.left += self.rows()?.iter().filter(|row| row.state == "Claimed").count() as u64;
                }
                End::Stopped => self.figures.stops += 1,
            }
            self.now_ms += 1 + [0, 500, 90_000][self.chance.below(3)];
        }
        self.check()?;
        let _ = std::fs::remove_dir_all(&self.folder);
        Ok(self.figures)
    }

    /// The life of a process.
    async fn live(&mut self) -> End {
        self.world().begin(self.now_ms);
        let clock = SteadyClock::at(self.now_ms, simulated);
        let pauses = Mutex::new(Chance(1 + self.chance.below(1 << 30) as u64));
        let pause = move || Duration::from_millis(pauses.lock().unwrap_or_else(PoisonError::into_inner).below(4) as u64);
        let ledger = Ledger::simulated(&self.folder, options(), Box::new(pause)).expect("the ledger opens");
        let mut dispatch = Dispatch::start_with(0, ledger.clone(), clock, None).await.expect("a data plane");
        // The control plane of this process knows of no failures yet.
        for server in self.routing.servers.values_mut() {
            (server.routed, server.acknowledged_failures) = (true, 0);
        }
        self.hand_over(&dispatch);
        let (mut back, mut next) = (Vec::new(), self.soon());
        let end = loop {
            let due = back.iter().map(|(at, _)| *at).chain(self.lock.as_ref().map(|(_, until)| *until)).fold(next, Instant::min);
            tokio::select! {
                biased;
                Some(Event::ServerFailed { server, failures, .. }) = dispatch.events.recv() => {
                    let intent = self.routing.servers.get_mut(&server).expect("a server");
                    (intent.routed, intent.acknowledged_failures) = (false, failures);
                    back.push((Instant::now() + Duration::from_millis(200 + self.chance.below(5_000) as u64), server));
                    self.hand_over(&dispatch);
                }
                changed = dispatch.report.changed() => {
                    changed.expect("the data plane runs");
                    let report = dispatch.report.borrow_and_update().clone();
                    if self.is_over(&report) {
                        self.compare(&report, &ledger).await;
                        break End::Over;
                    }
                }
                () = tokio::time::sleep_until(due) => {
                    let now = Instant::now();
                    drop(self.lock.take_if(|(_, until)| *until <= now));
                    let is_back = |(at, _): &(Instant, Key)| *at <= now;
                    for (_, server) in back.iter().filter(|one| is_back(one)) {
                        self.routing.servers.get_mut(server).expect("a server").routed = true;
                    }
                    back.retain(|one| !is_back(one));
                    if now >= next {
                        next = self.soon();
                        if let Some(end) = self.act(&ledger).await {
                            break end;
                        }
                    }
                    self.hand_over(&dispatch);
                    if self.world().now_ms() > END_MS {
                        break End::Late;
                    }
                }
            }
        };
        self.lock = None;
        if end == End::Stopped {
            assert!(dispatch.stop(Duration::from_secs(300)).await, "it does not stop");
        }
        let mut world = self.world();
        world.note(&format!("{end:?}"));
        let now_ms = world.now_ms();
        drop(world);
        self.now_ms = now_ms;
        end
    }

    fn soon(&mut self) -> Instant {
        Instant::now() + Duration::from_millis(1 + self.chance.below(if self.actions < ACTIONS_MAX { 3_000 } else { 60_000 }) as u64)
    }

    fn hand_over(&self, dispatch: &Dispatch) {
        let campaigns = self.routing.campaigns.iter();
        let granted: Vec<(String, BTreeSet<&'static str>)> = campaigns
            .map(|(key, intent)| {
                let may_use = |name: &&str| !intent.hold && intent.servers.iter().any(|(server, _)| *server.name == **name);
                (key.to_string(), SERVERS.into_iter().filter(may_use).collect())
            })
            .chain(self.deleted.keys().map(|key| (key.to_string(), BTreeSet::new())))
            .collect();
        let mut world = self.world();
        for (campaign, servers) in granted {
            world.grant(&campaign, servers);
        }
        drop(world);
        dispatch.handover.send_replace(Handover { routing: Arc::new(self.routing.clone()), handles: Arc::new(self.handles.clone()) });
    }

    fn is_over(&self, report: &Report) -> bool {
        let is_closed = |name: &str| report.campaigns.get(&key(name)).is_some_and(|campaign| campaign.phase == Phase::Closed);
        self.deleted.is_empty() && CAMPAIGNS.into_iter().all(is_closed)
    }

    /// Something happens to the run.
    async fn act(&mut self, ledger: &Ledger) -> Option<End> {
        self.actions += 1;
        if self.actions >= ACTIONS_MAX {
            // Everything is mended, and left alone.
            self.routing.campaigns.extend(std::mem::take(&mut self.deleted));
            for intent in self.routing.campaigns.values_mut() {
                let intent = Arc::make_mut(intent);
                intent.hold = false;
                if intent.servers.is_empty() {
                    intent.servers = intent.candidates.iter().map(|key| (key.clone(), 1)).collect();
                }
            }
            return None;
        }
        self.figures.edits += 1;
        let name = CAMPAIGNS[self.chance.below(CAMPAIGNS.len())];
        let campaign = key(name);
        let drawn = self.chance.below(100);
        self.world().note(&format!("{drawn} {name}"));
        match drawn {
            0..15 => self.edit(&campaign, |chance, intent| {
                intent.servers =
                    intent.servers.iter().map(|(key, _)| (key.clone(), 1 + u32::try_from(chance.below(9)).expect("small"))).collect();
            }),
            // Narrowed, or widened again.
            15..40 => self.edit(&campaign, |chance, intent| {
                let chosen: Vec<(Key, u32)> =
                    intent.candidates.iter().filter(|_| chance.below(2) == 0).map(|key| (key.clone(), 1)).collect();
                intent.servers = chosen.into();
            }),
            40..50 => self.edit(&campaign, |_, intent| intent.hold = !intent.hold),
            50..55 => self.edit(&campaign, |_, intent| Arc::make_mut(&mut intent.work).work_hash += 1),
            55..65 => match self.deleted.remove(&campaign) {
                Some(intent) => drop(self.routing.campaigns.insert(campaign, intent)),
                None => self.deleted.extend(self.routing.campaigns.remove(&campaign).map(|intent| (campaign, intent))),
            },
            65..80 => self.suppress(ledger).await,
            80..88 if self.lock.is_none() => self.lock_ledger(),
            88..92 => return Some(End::Stopped),
            92..100 if self.may_kill => return Some(End::Killed),
            _ => {}
        }
        None
    }

    fn edit(&mut self, campaign: &Key, change: impl FnOnce(&mut Chance, &mut CampaignIntent)) {
        if let Some(intent) = self.routing.campaigns.get_mut(campaign) {
            change(&mut self.chance, Arc::make_mut(intent));
        }
    }

    async fn suppress(&mut self, ledger: &Ledger) {
        let address = address(self.chance.below(self.people));
        let at_ms = self.world().now_ms();
        let suppression = Suppression {
            namespace: NAMESPACE.into(),
            person: Person::Address(address.clone()),
            topic: None,
            reason: SuppressionReason::Listed,
            at_ms,
            source: "people".into(),
            detail: String::new(),
        };
        // While the ledger is locked nobody can be added, and whoever asked is told so.
        if ledger.suppress(vec![suppression]).await.is_ok() {
            let mut world = self.world();
            let since_ms = world.now_ms();
            world.suppressed.entry(address).or_insert(since_ms);
        }
    }

    /// Somebody else writes to the ledger for a while.
    fn lock_ledger(&mut self) {
        let other = rusqlite::Connection::open(self.folder.join("ledger.db")).expect("it opens");
        if other.execute_batch("BEGIN IMMEDIATE").is_ok() {
            self.figures.locks += 1;
            self.lock = Some((other, Instant::now() + Duration::from_millis(self.chance.below(5_000) as u64)));
        }
    }

    /// Compares what is reported with the ledger.
    async fn compare(&self, report: &Report, ledger: &Ledger) {
        for name in CAMPAIGNS {
            let run = ledger.find_run(&RunKey::new(NAMESPACE, name, "first")).await.expect("it can be read").expect("a run");
            let counts = ledger.counts(run.id).await.expect("it can be read");
            let (told, kept) = (&report.campaigns[&key(name)].counts, run.recipients(&counts));
            if *told != kept {
                self.world().breaches.push(format!("{name}: reported {told:?}, and the ledger has {kept:?}"));
            }
        }
    }

    fn rows(&self) -> Result<Vec<Row>, String> {
        let database = rusqlite::Connection::open(self.folder.join("ledger.db")).map_err(|error| error.to_string())?;
        let sql = "SELECT campaign, recipient, state, resent, server FROM recipients";
        let mut statement = database.prepare(sql).map_err(|error| error.to_string())?;
        let rows = statement.query_map([], |row| {
            Ok(Row { campaign: row.get(0)?, recipient: row.get(1)?, state: row.get(2)?, resent: row.get(3)?, server: row.get(4)? })
        });
        rows.and_then(Iterator::collect).map_err(|error| error.to_string())
    }

    /// What must hold at the end.
    fn check(&mut self) -> Result<(), String> {
        let rows = self.rows()?;
        let world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(breach) = world.breaches.first() {
            return Err(breach.clone());
        }
        let people: BTreeSet<(String, String)> = rows.iter().map(|row| (row.campaign.clone(), row.recipient.clone())).collect();
        if people.len() != rows.len() || rows.len() != self.people * CAMPAIGNS.len() {
            return Err(format!("{} rows of {} people in {} campaigns", rows.len(), self.people, CAMPAIGNS.len()));
        }
        for row in &rows {
            let taken = world.taken.get(&(key(&row.campaign).to_string(), row.recipient.clone())).map_or(&[][..], Vec::as_slice);
            check_row(row, taken, self.policy)?;
        }
        let unknown = rows.iter().filter(|row| row.state == "Unknown").count() as u64;
        if unknown > world.unknown + self.left {
            return Err(format!("{unknown} unknown, of {} whose answer was not heard and {} that kills left", world.unknown, self.left));
        }
        // A gate knows what was written in the life of its process alone.
        if self.figures.kills + self.figures.stops == 0 {
            limits_hold(&self.routing, &world, Duration::ZERO)?;
        } else {
            limits_hold(&self.routing, &world, crate::providers::gate::GATED_MAX)?;
        }
        let mut wrong = Vec::new();
        check_ledger(&self.folder.clone().into(), |checked| {
            if checked.wrong > 0 {
                wrong.push(format!("{}: {} wrong, {:?}", checked.what, checked.wrong, checked.example));
            }
        })
        .map_err(|error| error.to_string())?;
        if let Some(wrong) = wrong.first() {
            return Err(wrong.clone());
        }
        self.figures = Figures {
            people: rows.len() as u64,
            taken: world.taken.values().map(|taken| taken.len() as u64).sum(),
            unknown,
            resent: rows.iter().map(|row| u64::from(row.resent)).sum(),
            digest: world.digest,
            ..self.figures
        };
        Ok(())
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn options() -> LedgerOptions {
    LedgerOptions { synchronous: Synchronous::Normal, busy_timeout: Duration::from_millis(1) }
}

fn address(number: usize) -> String {
    format!("user{number}@example.com")
}

/// What the ledger says of a person, against what servers took.
fn check_row(row: &Row, taken: &[world::Taken], policy: WhenOutcomeIsUnknown) -> Result<(), String> {
    let Row { campaign, recipient, state, resent, server } = row;
    let complain = |what: String| Err(format!("{campaign} {recipient}: {what}; {state}, sent again {resent} times, taken {taken:?}"));
    if policy == WhenOutcomeIsUnknown::Skip && *resent > 0 {
        return complain("sent again, and nobody wanted that".to_owned());
    }
    if taken.len() as u64 > 1 + u64::from(*resent) {
        return complain("mailed more often than it says".to_owned());
    }
    match state.as_str() {
        "Accepted" if !taken.iter().any(|taken| server.as_deref() == Some(&key(taken.server).to_string())) => {
            complain(format!("accepted by {server:?}, which did not take it"))
        }
        "Accepted" | "Unknown" => Ok(()),
        "Rejected" | "Expired" | "Suppressed" if taken.is_empty() || *resent > 0 => Ok(()),
        "Rejected" | "Expired" | "Suppressed" => complain("not mailed, it says".to_owned()),
        _ => complain("no final outcome".to_owned()),
    }
}

/// No server took more than a window allows, for windows longer than this.
fn limits_hold(routing: &Routing, world: &World, longer_than: Duration) -> Result<(), String> {
    for (key, server) in &routing.servers {
        let mut times: Vec<i64> =
            world.taken.values().flatten().filter(|taken| *key.name == *taken.server).map(|taken| taken.at_ms).collect();
        times.sort_unstable();
        for rate in server.rates.iter().filter(|rate| rate.per.std() > longer_than) {
            let (per, most) = (rate.per.as_millis(), usize::try_from(rate.messages).expect("small"));
            if let Some(stretch) = times.windows(most + 1).find(|stretch| stretch[most] - stretch[0] < per) {
                return Err(format!("{key}: {} messages in {} ms, {rate:?}", most + 1, stretch[most] - stretch[0]));
            }
        }
    }
    Ok(())
}

fn number_of(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|value| value.parse().ok())
}

fn storm(seed: u64) -> Result<Figures, String> {
    std::panic::catch_unwind(|| Storm::new(seed).run()).unwrap_or_else(|_| Err("it panicked, see above".to_owned()))
}

#[test]
fn whatever_happens_nobody_is_lost_or_mailed_twice_in_silence() {
    let first = number_of("SEED").unwrap_or(1);
    let seeds = first..first + number_of("SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(first);
    // Each on a thread of its own.
    let work = || {
        let mut all = Figures::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if !seeds.contains(&seed) {
                return Ok(all);
            }
            match storm(seed) {
                Ok(figures) => all = all + figures,
                Err(what) => {
                    // The others end too.
                    next.store(seeds.end, Ordering::Relaxed);
                    return Err(format!("SEED={seed}: {what}"));
                }
            }
        }
    };
    let all: Vec<Result<Figures, String>> = std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("it reports panics itself")).collect()
    });
    let all = all.into_iter().collect::<Result<Vec<Figures>, String>>().unwrap_or_else(|what| panic!("{what}"));
    let all = all.into_iter().fold(Figures::default(), std::ops::Add::add);
    println!("{all:?}");
    assert!(all.kills > 0 && all.stops > 0 && all.locks > 0 && all.resent > 0 && all.unknown > 0, "too little happened: {all:?}");
}

#[test]
fn a_seed_is_a_run() {
    for seed in 1..6 {
        assert_eq!(storm(seed), storm(seed), "seed {seed}");
    }
}
