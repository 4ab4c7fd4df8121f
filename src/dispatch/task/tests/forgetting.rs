//! What is kept of servers and campaigns is gone when they are.

use super::{
    super::answers::{Due, OpenedRun},
    *,
};
use crate::{
    audience::{Location, NamedFile},
    dispatch::index::CampaignIx,
    ledger::RunStart,
    resources::campaign::WhenOutcomeIsUnknown,
    routing::SharedLimits,
};

/// How often servers and campaigns come and go, and how many of each at a time.
const ROUNDS: usize = 25;
const AT_A_TIME: usize = 40;

/// A task that can be looked at, and both of its ends.
struct Bare {
    folder: std::path::PathBuf,
    task: DispatchTask,
    handover: watch::Sender<Handover>,
    handover_receiver: watch::Receiver<Handover>,
    report: watch::Receiver<Arc<Report>>,
}

impl Bare {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("mailfleet-forgetting-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let options = LedgerOptions { synchronous: Synchronous::Normal, ..LedgerOptions::default() };
        let ledger = Ledger::open(&folder, options).expect("a ledger");
        let (handover, handover_receiver) = watch::channel(Handover::default());
        let (report_sender, report) = watch::channel(Arc::new(Report::default()));
        let (event_sender, _) = mpsc::unbounded_channel();
        let usage = UsageBook::new(Vec::new(), Days::new(Vec::new()));
        let task =
            DispatchTask::new(feeders::THREADS, ledger, SteadyClock::of_process(), usage, Reporting::new(event_sender, report_sender));
        Self { folder, task, handover, handover_receiver, report }
    }

    /// All that is kept, by name, as far as it is not empty.
    fn kept(&self) -> BTreeMap<&'static str, usize> {
        let DispatchTask { scheduler, ids, usage, clients, audiences, batches, .. } = &self.task;
        let all = [scheduler.kept(), ids.kept(), usage.kept(), clients.kept(), audiences.kept(), batches.kept()];
        all.into_iter().flatten().filter(|(_, size)| *size > 0).collect()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// What goes down: servers, and campaigns with the server that each is sent through.
struct Table {
    server: Arc<Taker>,
    people: Arc<People>,
    routing: Routing,
    handles: Handles,
}

impl Table {
    fn new(server: &Arc<Taker>, people: &Arc<People>, servers: &[&str]) -> Self {
        let mut table = Self { server: server.clone(), people: people.clone(), routing: Routing::default(), handles: Handles::default() };
        servers.iter().for_each(|name| table.server(name));
        table
    }

    fn server(&mut self, name: &str) {
        let key = Key::new("default", name);
        let rates = [Rate { messages: 1000, per: crate::resources::Duration::from_secs(1) }];
        self.handles.servers.insert(key.clone(), self.server.clone());
        self.routing.servers.insert(key, server_intent(&rates));
    }

    /// A campaign on a plan with limits; also with some of its own if they have a key.
    fn campaign(&mut self, name: &str, server: &str, plan: &str, own: Option<String>) {
        let (key, server) = (Key::new("default", name), Key::new("default", server));
        let limits = |key: &str| {
            let rates = vec![Rate { messages: 10_000, per: crate::resources::Duration::from_secs(1) }];
            SharedLimits { key: key.into(), rates }
        };
        let intent = CampaignIntent {
            servers: [(server.clone(), 1)].into(),
            candidates: [server].into(),
            plan_limits: Some(limits(plan)),
            own_limits: own.as_deref().map(limits),
            ..campaign_intent(work(1))
        };
        self.handles.contents.insert(key.clone(), Content { people: self.people.clone(), template: Some(template()) });
        self.routing.campaigns.insert(key, Arc::new(intent));
    }

    fn into_handover(self) -> Handover {
        Handover { routing: Arc::new(self.routing), handles: Arc::new(self.handles) }
    }
}

/// Half of the campaigns have limits of their own and go through a server that stays; the others go through one that comes with them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_kept_of_a_thousand_servers_and_campaigns_that_came_and_went() {
    let mut bare = Bare::new("thousand");
    let file = bare.folder.join("people.csv");
    std::fs::write(&file, "email,name,number\nann@example.com,Ann,1\nbob@example.com,Bob,2\n").expect("a file");
    let named = NamedFile::new("people.csv".into(), move || Ok(file.clone()));
    let people = Arc::new(People { input: Input::csv(Location::File(named)), exclude: Vec::new() });
    let server = Arc::new(Taker { taken: AtomicU64::new(0), senders: std::sync::Mutex::default() });
    let (_stop, stopped) = oneshot::channel();
    let (handover, mut report) = (bare.handover.clone(), bare.report.clone());
    let come_and_go = async {
        let mut until = async |what: &str, holds: &dyn Fn(&Report) -> bool| {
            let waited = tokio::time::timeout(Duration::from_secs(60), report.wait_for(|report| holds(report))).await;
            waited.unwrap_or_else(|_| panic!("never {what}")).expect("a report").clone()
        };
        for round in 0..ROUNDS {
            let mut table = Table::new(&server, &people, &["steady"]);
            for number in 0..AT_A_TIME {
                let (name, plan) = (format!("{round}-{number}"), format!("plan {round}"));
                table.server(&name);
                if number.is_multiple_of(2) {
                    table.campaign(&name, "steady", &plan, Some(format!("own {name}")));
                } else {
                    table.campaign(&name, &name, &plan, None);
                }
            }
            handover.send_replace(table.into_handover());
            let is_completed = |report: &Report| {
                report.campaigns.len() == AT_A_TIME && report.campaigns.values().all(|campaign| campaign.completed_ms.is_some())
            };
            until("completed", &is_completed).await;
            handover.send_replace(Table::new(&server, &people, &["steady"]).into_handover());
            until("gone", &|report| report.campaigns.is_empty() && report.servers.len() == 1).await;
        }
        let last = Key::new("default", "last");
        handover.send_replace(Table::new(&server, &people, &["last"]).into_handover());
        until("the last", &|report| report.servers.len() == 1 && report.servers.contains_key(&last)).await;
    };
    let handover_receiver = bare.handover_receiver.clone();
    tokio::select! {
        () = bare.task.run(handover_receiver, stopped) => panic!("it ended"),
        () = come_and_go => {}
    }
    // What the last look left to do.
    let now_ms = bare.task.clock.now_ms();
    for action in bare.task.scheduler.step(now_ms) {
        bare.task.act(action);
    }
    assert_eq!(server.taken.load(Ordering::Relaxed), 2 * (ROUNDS * AT_A_TIME) as u64);
    let last_alone = BTreeMap::from(["lanes", "lane_index", "clients", "gates"].map(|name| (name, 1)));
    assert_eq!(bare.kept(), last_alone);
}

/// Feeders start once everything that was fetched is with the ledger again, whether or not its campaign is still there.
#[tokio::test]
async fn what_comes_for_a_campaign_that_was_deleted_is_given_back_and_not_kept() {
    let mut bare = Bare::new("deleted");
    let start = RunStart { when_outcome_is_unknown: WhenOutcomeIsUnknown::Skip, ..RunStart::default() };
    let record = bare.task.ledger.begin_run(&RunKey::new("default", "spring", "first"), start, 0).await.expect("a run");
    let (campaign, run_id) = (CampaignIx::new(7), record.id);
    let opened = Ok(Box::new(OpenedRun { record, opened: Opened::default() }));
    bare.task.answered(Answer::Opened { campaign, opened });
    let due = Ok(Due { messages: Vec::new(), next_ms: None });
    bare.task.answered(Answer::Due { campaign, run_id, feeder_epoch: 1, due });
    let answer = tokio::time::timeout(Duration::from_secs(60), bare.task.inbox.answers.receiver.recv()).await;
    assert!(matches!(answer, Ok(Some(Answer::Released))), "no feeder would ever start again");
    assert_eq!(bare.kept(), BTreeMap::new());
}
