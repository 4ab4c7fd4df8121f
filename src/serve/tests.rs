//! The admin endpoint over a real socket.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
    time::Instant,
};

use super::{Admin, DashboardOptions, Health, ProcessPhase};
use crate::{
    decide::{CampaignDecision, CampaignInput, Decision, Observations, ServerDecision, ServerInput, World, decide},
    engine::View,
    report::{Report, ServerReport},
    resources::{
        Key,
        campaign::{CampaignState, RecipientCounts},
        sending_server::ServerState,
    },
    test_support::work,
};

pub(super) async fn start(view: watch::Receiver<View>) -> (SocketAddr, Health) {
    start_at("127.0.0.1:0", view, DashboardOptions::default()).await
}

pub(super) async fn start_at(address: &str, view: watch::Receiver<View>, options: DashboardOptions) -> (SocketAddr, Health) {
    let health = Health::new(view);
    let admin = Admin::bind(address.parse().expect("an address")).await.expect("a port");
    let address = admin.address().expect("bound");
    tokio::spawn(admin.serve(health.clone(), options));
    (address, health)
}

/// What comes back for these bytes, until the other side closes, as text.
pub(super) async fn exchange(address: SocketAddr, sent: &[u8]) -> String {
    String::from_utf8(exchange_bytes(address, sent).await).expect("UTF-8")
}

/// The same, whatever it is.
async fn exchange_bytes(address: SocketAddr, sent: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    // It may close before it has read all of it.
    let _ = stream.write_all(sent).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let answer = exchange(address, format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status"), body.to_owned())
}

const SERVER: &str =
    "{apiVersion: mailfleet.dev/v1alpha1, kind: SendingServer, metadata: {name: x}, spec: {provider: {smtp: {host: mail.example.com}}}}";
const CAMPAIGN: &str = "{apiVersion: mailfleet.dev/v1alpha1, kind: Campaign, metadata: {name: x}, spec: {planRef: {name: p}, from: {address: a@example.com}, subject: s, content: {text: t}, audience: {inline: [{email: b@example.com}]}}}";

/// A server and a campaign as they are decided.
fn decided() -> (ServerDecision, CampaignDecision) {
    let mut world = World::default();
    let (server, campaign) = (serde_saphyr::from_str(SERVER).expect("a server"), serde_saphyr::from_str(CAMPAIGN).expect("a campaign"));
    let key = Key::new("x", "x");
    world.servers.insert(key.clone(), ServerInput::new(Arc::new(server), Ok(1)));
    let campaign = CampaignInput::new(Arc::new(campaign), Ok(Arc::new(work(1))));
    world.campaigns.insert(key.clone(), campaign);
    let decision = decide(&world, &Observations::default(), 0);
    (decision.servers[&key].clone(), decision.campaigns[&key].clone())
}

pub(super) fn view(servers: usize, campaigns: usize) -> View {
    let (mut decision, mut report) = (Decision::default(), Report::default());
    let (server, campaign) = decided();
    for i in 0..servers {
        let key = Key::new("ops", format!("server-{i:05}"));
        let mut server = server.clone();
        server.active = i > 0;
        server.status.state = if server.active { ServerState::Active } else { ServerState::Inactive };
        decision.servers.insert(key.clone(), server);
        let (accepted, limit_left) = (10 * i as u64, (i == 1).then_some(7));
        report.servers.insert(key, ServerReport { accepted, in_flight: i, failures: 1, limit_left, ..ServerReport::default() });
    }
    for i in 0..campaigns {
        let mut campaign = campaign.clone();
        campaign.status.recipients =
            RecipientCounts { total: Some(100), accepted: 60, rejected: 1, sending: 4, ..RecipientCounts::default() };
        // The last one alone has not ended.
        campaign.status.state = if i + 1 == campaigns { CampaignState::Sending } else { CampaignState::Completed };
        decision.campaigns.insert(Key::new("shop", format!("campaign-{i:05}")), campaign);
    }
    report.unresolved = 4;
    report.commits.note(Duration::from_micros(2500));
    View { decision: Arc::new(decision), report: Arc::new(report), turned_at: Some(Instant::now()), ..View::default() }
}

#[tokio::test]
async fn answers_probes_as_the_process_stands() {
    let (sender, receiver) = watch::channel(View::default());
    let (address, health) = start(receiver).await;
    let states = || async { (get(address, "/livez").await.0, get(address, "/readyz").await.0) };
    assert_eq!(states().await, (200, 503));
    assert_eq!(get(address, "/readyz").await.1, "starting\n");
    health.enter(ProcessPhase::StandingBy);
    assert_eq!(states().await, (200, 200));
    health.enter(ProcessPhase::Leading);
    assert_eq!(states().await, (200, 503));
    sender.send_replace(View { turned_at: Some(Instant::now()), ..View::default() });
    assert_eq!(states().await, (200, 200));
    let past = Instant::now().checked_sub(Duration::from_secs(61)).expect("the machine is up for longer");
    sender.send_replace(View { turned_at: Some(past), ..View::default() });
    assert_eq!(states().await, (503, 200));
    assert_eq!(get(address, "/livez").await.1, "the engine has not decided anything for more than 60 s\n");
    health.enter(ProcessPhase::Stopping);
    assert_eq!(states().await, (200, 503));
}

#[tokio::test]
async fn scrapers_get_the_form_that_they_ask_for() {
    let (_sender, receiver) = watch::channel(view(30, 2));
    let (address, health) = start(receiver).await;
    health.enter(ProcessPhase::Leading);
    let scrape = |headers: &'static str| async move {
        let answer = exchange_bytes(address, format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes()).await;
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head");
        (String::from_utf8_lossy(&answer[..end]).to_lowercase(), answer[end + 4..].to_vec())
    };
    let (head, plain) = scrape("").await;
    assert!(head.starts_with("http/1.1 200 ") && head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    assert!(head.contains("vary: accept, accept-encoding"), "{head}");
    let plain = String::from_utf8(plain).expect("text");
    for line in ["# TYPE mailfleet_build_info gauge", "# TYPE mailfleet_server_failures_total counter", "mailfleet_leader 1"] {
        assert!(plain.lines().any(|found| found == line), "{line} is not in\n{plain}");
    }
    assert!(!plain.contains("# UNIT") && !plain.contains("# EOF"), "{plain}");
    let (head, open) = scrape("Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2\r\n").await;
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"), "{head}");
    let open = String::from_utf8(open).expect("text");
    for line in
        ["# TYPE mailfleet_build info", "# TYPE mailfleet_server_failures counter", "# UNIT mailfleet_turn_duration_seconds seconds"]
    {
        assert!(open.lines().any(|found| found == line), "{line} is not in\n{open}");
    }
    assert!(open.ends_with("# EOF\n"), "{open}");
    let (head, packed) = scrape("Accept-Encoding: gzip\r\n").await;
    assert!(head.contains("content-encoding: gzip"), "{head}");
    let mut unpacked = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&*packed), &mut unpacked).expect("gzip");
    assert!(unpacked.contains("mailfleet_leader 1\n") && packed.len() * 4 < unpacked.len(), "{} of {}", packed.len(), unpacked.len());
}

#[tokio::test]
async fn bad_requests_do_no_harm() {
    let (_sender, receiver) = watch::channel(view(1, 1));
    let (address, _) = start(receiver).await;
    // The dashboard answers to names of this machine alone.
    assert_eq!(get(address, "/nothing").await.0, 403);
    assert_eq!(get(address, "/../../etc/passwd").await.0, 403);
    assert_eq!(get(address, "/metrics?x=y").await.0, 200);
    let posted = exchange(address, b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc").await;
    assert!(posted.starts_with("HTTP/1.1 405 ") && posted.to_lowercase().contains("allow: get, head"), "{posted}");
    let head = exchange(address, b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(head.contains("text/plain; version=0.0.4; charset=utf-8"), "{head}");
    for garbage in [&b"\x16\x03\x01\x00\xa5\r\n\r\n"[..], b"GET\r\n\r\n", &b"a".repeat(20_000)] {
        let answer = exchange(address, garbage).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    let long = format!("GET /livez HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(20_000));
    assert!(!exchange(address, long.as_bytes()).await.starts_with("HTTP/1.1 200"));
    assert_eq!(get(address, "/livez").await.0, 200);
}

#[tokio::test]
async fn those_who_say_nothing_are_sent_away() {
    let (_sender, receiver) = watch::channel(view(1, 1));
    let (address, _) = start(receiver).await;
    // Many more than are taken at a time, and none of them says anything.
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(address).await.expect("it listens"));
    }
    // Far less than a kubelet waits, and than the silent ones are given to speak.
    let answer = tokio::time::timeout(Duration::from_secs(2), get(address, "/livez")).await;
    assert_eq!(answer.expect("those who were silent for longest are gone").0, 200);
}
