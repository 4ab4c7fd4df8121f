//! The data plane with a real ledger, and servers that accept everything.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use super::{super::Content, *};
use crate::{
    audience::Input,
    feedback::MessageReference,
    ledger::{LedgerOptions, Synchronous},
    people::People,
    providers::{BoxFuture, Carriage, Outcome, Probed, Server},
    report::Waiting,
    resources::Rate,
    routing::{CampaignIntent, DomainIntent, Routing, ServerIntent, Work},
    test_support::{campaign_intent, server_intent, template, work},
    token::{Keys, return_path::reference_of},
};

mod forgetting;
mod simulated;

const KEY: [u8; 32] = [7; 32];

struct Taker {
    taken: AtomicU64,
    /// Envelope senders, and the rows of their messages.
    senders: std::sync::Mutex<Vec<(Arc<str>, Option<MessageReference>)>>,
}

impl Server for Taker {
    fn probe(&self) -> BoxFuture<'_, Option<Result<Probed, Blocker>>> {
        Box::pin(async { Some(Ok(Probed::default())) })
    }

    fn deliver(&self, batch: Vec<Outgoing>, outcomes: mpsc::UnboundedSender<Delivered>) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            for message in batch {
                self.taken.fetch_add(1, Ordering::Relaxed);
                self.senders.lock().expect("no panic").push((message.mail_from.clone(), message.reference));
                let _ = outcomes.send(Delivered {
                    message,
                    outcome: Outcome::Accepted { reply: "250".to_owned() },
                    round_trip: Some(Duration::from_micros(50)),
                    signing: Duration::ZERO,
                });
            }
        })
    }

    fn carriage(&self) -> Carriage {
        Carriage::batches(8)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// A running data plane in its own folder, with one server.
struct Plane {
    folder: std::path::PathBuf,
    dispatch: Dispatch,
    routing: Routing,
    handles: Handles,
    server: Arc<Taker>,
}

impl Plane {
    async fn start(name: &str, rates: &[Rate]) -> Self {
        let folder = std::env::temp_dir().join(format!("mailfleet-dispatch-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let ledger =
            Ledger::open(&folder, LedgerOptions { synchronous: Synchronous::Normal, ..LedgerOptions::default() }).expect("a ledger");
        let dispatch =
            Dispatch::start(ledger, SteadyClock::of_process(), ReturnPaths::new(&Keys::of(KEY)).map(Arc::new)).await.expect("a data plane");
        let server = Arc::new(Taker { taken: AtomicU64::new(0), senders: std::sync::Mutex::default() });
        let mut plane = Self { folder, dispatch, routing: Routing::default(), handles: Handles::default(), server };
        plane.limit(rates);
        plane
    }

    fn limit(&mut self, rates: &[Rate]) {
        let intent = ServerIntent { connections: Some(2), ..server_intent(rates) };
        self.handles.servers.insert(Key::new("default", "relay"), self.server.clone());
        self.routing.servers.insert(Key::new("default", "relay"), intent);
        self.route();
    }

    fn limit_domains(&mut self, messages: u64) {
        let rates = vec![Rate { messages, per: crate::resources::Duration::from_secs(3600) }];
        let relay = self.routing.servers.get_mut(&Key::new("default", "relay")).expect("the server");
        relay.per_domain = [DomainIntent { domains: vec!["gmail.com".into()], rates }].into();
        self.route();
    }

    fn campaign(&mut self, name: &str, recipients: u64) {
        self.campaign_to(name, recipients, |i| format!("user{i}@example.com"));
    }

    fn campaign_to(&mut self, name: &str, recipients: u64, address: impl Fn(u64) -> String) {
        let row = |i: u64| BTreeMap::from([("email".to_owned(), serde_json::Value::from(address(i)))]);
        let relay = Key::new("default", "relay");
        let intent = CampaignIntent {
            mail_domain: None,
            servers: [(relay.clone(), 1)].into(),
            candidates: [relay].into(),
            ..campaign_intent(Work { max_render_errors: crate::resources::CountOrPercent::Count(0), ..work(recipients) })
        };
        let input = Input::Inline((0..recipients).map(row).collect());
        let content = Content { people: Arc::new(People { input, exclude: Vec::new() }), template: Some(template()) };
        self.handles.contents.insert(Key::new("default", name), content);
        self.routing.campaigns.insert(Key::new("default", name), Arc::new(intent));
        self.route();
    }

    fn route(&self) {
        self.dispatch.handover.send_replace(Handover { routing: Arc::new(self.routing.clone()), handles: Arc::new(self.handles.clone()) });
    }

    /// Waits for a report; panics after 20 s.
    async fn until(&mut self, what: &str, mut holds: impl FnMut(&Report) -> bool) -> Arc<Report> {
        let waited = tokio::time::timeout(Duration::from_secs(20), self.dispatch.report.wait_for(|report| holds(report))).await;
        waited.unwrap_or_else(|_| panic!("never {what}")).expect("a report").clone()
    }

    async fn stop(self) {
        let mut dispatch = self.dispatch;
        assert!(dispatch.stop(Duration::from_secs(10)).await);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn accepted(report: &Report, name: &str) -> u64 {
    report.campaigns.get(&Key::new("default", name)).map_or(0, |campaign| campaign.counts.accepted)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_further_campaign_starts_while_the_first_is_busy() {
    let mut plane = Plane::start("turns", &[]).await;
    plane.campaign("large", 30_000);
    plane.until("begun", |report| accepted(report, "large") > 500).await;
    plane.campaign("small", 20);
    let report = plane.until("sent", |report| accepted(report, "small") == 20).await;
    assert!(accepted(&report, "large") < 20_000, "the large one was at {}", accepted(&report, "large"));
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edited_limit_remembers_what_this_process_sent() {
    let daily = |messages| [Rate { messages, per: crate::resources::Duration::from_secs(86_400) }];
    let mut plane = Plane::start("limits", &daily(50)).await;
    plane.campaign("spring", 200);
    plane.until("used up", |report| accepted(report, "spring") == 50).await;
    plane.limit(&daily(60));
    let key = Key::new("default", "spring");
    let waits = |report: &Report| report.campaigns.get(&key).is_some_and(|campaign| matches!(campaign.waiting, Waiting::ForLimits(_)));
    plane.until("used up again", |report| accepted(report, "spring") >= 60 && waits(report)).await;
    assert_eq!(plane.server.taken.load(Ordering::Relaxed), 60);
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_added_to_a_completed_run_are_told_and_not_mailed() {
    let mut plane = Plane::start("added", &[]).await;
    let key = Key::new("default", "spring");
    plane.campaign("spring", 5);
    plane.until("completed", |report| report.campaigns.get(&key).is_some_and(|campaign| campaign.completed_ms.is_some())).await;
    plane.campaign("spring", 7);
    plane.until("told", |report| report.campaigns[&key].added_later == Some(2)).await;
    assert_eq!(plane.server.taken.load(Ordering::Relaxed), 5);
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_and_applied_again_in_mid_run_nobody_is_mailed_twice_and_the_counts_are_right() {
    let mut plane = Plane::start("again", &[]).await;
    let key = Key::new("default", "spring");
    for sent in [100, 700, 1300] {
        plane.campaign("spring", 3000);
        plane.until("begun", |report| accepted(report, "spring") > sent).await;
        plane.routing.campaigns.clear();
        plane.route();
    }
    plane.campaign("spring", 3000);
    let report =
        plane.until("completed", |report| report.campaigns.get(&key).is_some_and(|campaign| campaign.completed_ms.is_some())).await;
    assert_eq!((accepted(&report, "spring"), plane.server.taken.load(Ordering::Relaxed)), (3000, 3000));
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_envelope_sender_names_the_message_where_bounces_are_read() {
    let mut plane = Plane::start("senders", &[]).await;
    for names_messages in [true, false] {
        let intent = plane.routing.servers.get_mut(&Key::new("default", "relay")).expect("a server");
        (intent.return_path, intent.names_messages) = (Some("b.shop.example".into()), names_messages);
        let name = if names_messages { "named" } else { "plain" };
        plane.campaign(name, 100);
        plane.until("sent", |report| accepted(report, name) == 100).await;
        let senders = std::mem::take(&mut *plane.server.senders.lock().expect("no panic"));
        let keys = Keys::of(KEY);
        if names_messages {
            let named: std::collections::BTreeSet<_> = senders.iter().map(|(sender, _)| sender.clone()).collect();
            assert_eq!(named.len(), 100);
            assert!(
                senders
                    .iter()
                    .all(|(sender, row)| row.is_some() && reference_of(sender, &keys) == *row && sender.ends_with("@b.shop.example"))
            );
        } else {
            assert!(senders.iter().all(|(sender, row)| row.is_some() && **sender == *"news@b.shop.example"), "{:?}", senders[0]);
        }
    }
}

/// More of them than the feeder passes over at a time, or renders at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_without_room_are_passed_over_and_met_again() {
    let mut plane = Plane::start("domains", &[]).await;
    plane.limit_domains(100);
    let (all, others) = (6_000, 6_000 / 10);
    let domain = |i: u64| ["gmail.com", "googlemail.com", "example.com"][if i % 10 == 9 { 2 } else { usize::from(i % 2 == 1) }];
    plane.campaign_to("spring", all, |i| format!("user{i}@{}", domain(i)));
    let key = Key::new("default", "spring");
    let waiting = |report: &Report| report.campaigns.get(&key).map(|campaign| campaign.waiting.clone());
    let waits = |report: &Report| matches!(waiting(report), Some(Waiting::ForDomains { .. }));
    let report = plane.until("only theirs were left", |report| accepted(report, "spring") == others + 100 && waits(report)).await;
    assert!(
        matches!(waiting(&report), Some(Waiting::ForDomains { until_ms, domains }) if until_ms > 0 && domains.len() == 1 && *domains[0] == *"gmail.com")
    );
    let counts = &report.campaigns[&key].counts;
    assert_eq!((counts.total, counts.duplicates, counts.deferred), (Some(all), 0, 0));
    let used = &report.servers[&Key::new("default", "relay")].domains[0].used;
    assert_eq!(used.first().map(|(_, used)| *used), Some(100));
    // Room for a few more, and then no limit at all.
    plane.limit_domains(200);
    plane.until("more were mailed", |report| accepted(report, "spring") == others + 200).await;
    plane.limit(&[]);
    let report =
        plane.until("completed", |report| report.campaigns.get(&key).is_some_and(|campaign| campaign.completed_ms.is_some())).await;
    assert_eq!((accepted(&report, "spring"), plane.server.taken.load(Ordering::Relaxed)), (all, all));
    plane.stop().await;
}
